"""Passwords: argon2id, the same work for everybody."""

import pytest

from bartizan.auth.passwords import Passwords, hash_password


@pytest.mark.anyio
async def test_check() -> None:
    """The right one only; letters count by what they are, not by how they were typed."""
    hash = hash_password("Pässword é")
    assert hash.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    passwords = Passwords()
    assert await passwords.check("Pässword é", hash) and await passwords.check("Pa\u0308ssword e\u0301", hash)
    for wrong in ("pässword é", "", "Pässword é "):
        assert not await passwords.check(wrong, hash)
    for nothing in ("", "not a hash"):
        assert not await passwords.check("Pässword é", nothing)
