"""Passwords: argon2id, the same work for names that nobody has, and never more at once than the machine bears.

Source: RFC 9106, the second recommended option (64 MiB, 3 passes).
"""

import asyncio
import secrets
import unicodedata
from functools import cached_property

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import Type

_AT_ONCE = 2  # each takes 64 MiB and some 50 ms; the rest wait in line
MAX_PASSWORD_CHARS = 1024

_HASHER = PasswordHasher(time_cost=3, memory_cost=65_536, parallelism=4, type=Type.ID)


def hash_password(password: str) -> str:
    """Slow on purpose (some 50 ms): off the event loop, please."""
    return _HASHER.hash(_prepared(password))


def _prepared(password: str) -> bytes:
    """The same bytes however the keyboard composed the letters (RFC 8265 uses NFC)."""
    return unicodedata.normalize("NFC", password[:MAX_PASSWORD_CHARS]).encode("utf-8", "replace")


class Passwords:
    def __init__(self) -> None:
        self._line = asyncio.Semaphore(_AT_ONCE)

    @cached_property
    def _nobody(self) -> str:
        return hash_password(secrets.token_urlsafe(16))

    async def check(self, password: str, hash: str) -> bool:
        """An empty hash (no such account, or one that cannot sign in here) costs as much time as any and is never
        right."""
        async with self._line:
            return await asyncio.to_thread(self._check, password, hash)

    def _check(self, password: str, hash: str) -> bool:
        try:
            return _HASHER.verify(hash or self._nobody, _prepared(password)) and bool(hash)
        except (VerificationError, InvalidHashError):
            return False
