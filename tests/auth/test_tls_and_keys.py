"""Certificates that clients take, and keys: sealed, derived, rotated with overlap."""

import asyncio
import base64
import json
import os
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID
from hypothesis import given
from hypothesis import strategies as st
from tests.auth.conftest import World, key_pair, make_world

from bartizan.auth import audit, tls
from bartizan.auth.keys import SigningKeys, Vault, b64, unb64
from bartizan.errors import Conflict, Unauthenticated
from bartizan.settings import Secret, Settings

NOW = datetime.now(UTC)


def _leaf(file: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(file.read_bytes())


def _mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def test_authority_is_made_once(tmp_path: Path) -> None:
    settings = Settings(data=str(tmp_path))
    pem = tls.ca_pem(settings)
    assert pem == tls.ca_pem(settings) and b"PRIVATE" not in pem
    found = x509.load_pem_x509_certificate(pem)
    constraints = found.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical and constraints.value.ca
    assert not any(e.oid == ExtensionOID.NAME_CONSTRAINTS for e in found.extensions)
    assert timedelta(days=3640) < found.not_valid_after_utc - NOW < timedelta(days=3660)
    assert _mode(tmp_path / "tls" / "ca.pem") == 0o600 and _mode(tmp_path / "tls") == 0o700
    assert tls.ca_pem(Settings(data=str(tmp_path / "other"))) != pem


def test_server_certificate(tmp_path: Path) -> None:
    settings = Settings(
        data=str(tmp_path),
        address="https://graph.example.org",
        hosts=("graph.microsoft.com", "login.microsoftonline.com:443"),
    )
    file, key = tls.server_files(settings, NOW)
    found = _leaf(file)
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.DNSName)) == {
        "graph.example.org",
        "localhost",
        "graph.microsoft.com",
        "login.microsoftonline.com",
    }
    assert {str(ip) for ip in names.get_values_for_type(x509.IPAddress)} == {"127.0.0.1", "::1"}
    assert found.not_valid_after_utc - NOW <= timedelta(days=397)
    usage = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    for kind in (x509.SubjectKeyIdentifier, x509.AuthorityKeyIdentifier, x509.KeyUsage):
        assert found.extensions.get_extension_for_class(kind)
    assert _mode(file) == _mode(key) == 0o600
    assert tls.server_files(settings, NOW + timedelta(days=200)) == (file, key) and _leaf(file) == found
    tls.server_files(settings, NOW + timedelta(days=300))
    assert _leaf(file) != found
    renewed = _leaf(file)
    tls.server_files(Settings(data=str(tmp_path), hosts=("new.example.org",)), NOW + timedelta(days=300))
    assert _leaf(file) != renewed
    file.write_text("broken")
    tls.server_files(settings, NOW)
    assert _leaf(file)


def test_refresh_in_use(tmp_path: Path) -> None:
    settings = Settings(data=str(tmp_path))
    context = tls.server_context(settings)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    tls.refresh(context, settings)


def test_operators_certificate(tmp_path: Path) -> None:
    made, _ = tls.server_files(Settings(data=str(tmp_path)), NOW)
    other = Settings(data="x", tls="files", tls_certificate_file=str(made), tls_key_file=str(made))
    assert tls.server_files(other) == (made, made)
    with pytest.raises(ValueError, match="is not there"):
        tls.server_files(Settings(data="x", tls="files", tls_certificate_file="no.pem", tls_key_file="no.pem"))


def test_certificates_that_cannot_be_served(tmp_path: Path) -> None:
    """A server says at its start which file is wrong, and asks nobody for a password."""
    key, certificate = key_pair()
    other, _ = key_pair()
    pem = serialization.Encoding.PEM
    locked = serialization.BestAvailableEncryption(b"password")
    (tmp_path / "c.pem").write_bytes(certificate.public_bytes(pem))
    (tmp_path / "junk.pem").write_text("junk")
    for name, private, kept in (
        ("k.pem", key, serialization.NoEncryption()), ("o.pem", other, serialization.NoEncryption()),
        ("l.pem", key, locked),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(private.private_bytes(pem, serialization.PrivateFormat.PKCS8, kept))

    def context(certificate: str, key: str) -> ssl.SSLContext:
        chain, private = str(tmp_path / certificate), str(tmp_path / key)
        return tls.server_context(Settings(data="x", tls="files", tls_certificate_file=chain, tls_key_file=private))

    assert context("c.pem", "k.pem")
    for names, text in (
        (("c.pem", "o.pem"), "key values mismatch"),
        (("junk.pem", "k.pem"), "junk.pem cannot be used"),
        (("c.pem", "junk.pem"), "cannot be used"),
        (("c.pem", "l.pem"), "tls_key_file is encrypted"),
    ):
        with pytest.raises(ValueError, match=text):
            context(*names)


def test_private_keys_are_encrypted(tmp_path: Path) -> None:
    """Under the master key: without it neither the authority nor the server's certificate can be used."""
    settings = Settings(data=str(tmp_path), master_key=Secret("ab" * 32))
    tls.server_context(settings)
    files = [tmp_path / "tls" / name for name in ("ca.pem", "server.pem")]
    for file in files:
        assert b"BEGIN ENCRYPTED PRIVATE KEY" in file.read_bytes()
    ca = tls.ca_pem(settings)
    with pytest.raises(ValueError, match="another master key"):
        tls.ca_pem(Settings(data=str(tmp_path), master_key=Secret("cd" * 32)))
    key, certificate = key_pair()
    pem = serialization.Encoding.PEM
    plain = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    files[0].write_bytes(plain + certificate.public_bytes(pem))
    assert tls.ca_pem(settings) == certificate.public_bytes(pem) != ca
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in files[0].read_bytes() and _mode(files[0]) == 0o600


def test_master_key(tmp_path: Path) -> None:
    settings = Settings(data=str(tmp_path))
    vault = Vault.open(settings)
    assert _mode(tmp_path / "master.key") == 0o600
    sealed = vault.seal(b"secret", "connector")
    assert Vault.open(settings).unseal(sealed, "connector") == b"secret"
    assert b"secret" not in sealed and sealed != vault.seal(b"secret", "connector")
    assert vault.derive("skiptoken") == Vault.open(settings).derive("skiptoken") != vault.derive("other")
    given_key = Settings(data=str(tmp_path), master_key=Secret("ab" * 32))
    other = Vault.open(given_key)
    for box, purpose in ((other, "connector"), (vault, "other")):
        with pytest.raises(ValueError, match="another key"):
            box.unseal(sealed, purpose)
    (tmp_path / "master.key").write_text("garbage")
    with pytest.raises(ValueError, match="64 hex digits"):
        Vault.open(settings)


BOX = Vault(os.urandom(32))


@given(st.binary(max_size=200), st.text(max_size=10))
def test_sealing_gives_back_what_was_sealed(content: bytes, purpose: str) -> None:
    assert BOX.unseal(BOX.seal(content, purpose), purpose) == content


@given(st.binary(max_size=80), st.integers(0, 500), st.integers(1, 255))
def test_changed_or_made_up_values_do_not_unseal(content: bytes, at: int, flip: int) -> None:
    sealed = bytearray(BOX.seal(content))
    sealed[at % len(sealed)] ^= flip
    for bad in (bytes(sealed), content):
        with pytest.raises(ValueError):
            BOX.unseal(bad)


@given(st.binary(max_size=100))
def test_base64url(content: bytes) -> None:
    assert unb64(b64(content)) == content and "=" not in b64(content)


async def _kids(world: World) -> list[str]:
    return [k["kid"] for k in (await world.http.get("/common/discovery/v2.0/keys")).json()["keys"]]


def _kid(token: str) -> str:
    return str(json.loads(unb64(token.split(".")[0]))["kid"])


@pytest.mark.anyio
async def test_rotation_overlaps(world: World) -> None:
    """The next key is published before it signs; the old one stays until its tokens have ended."""
    keys = world.authority.keys
    first = await _kids(world)
    old = await world.app_token()
    kid = await keys.rotate()
    assert await _kids(world) == [*first, kid]
    assert _kid(await world.app_token()) == first[0]
    world.clock.skip(86_400)
    fresh = await world.app_token()
    assert _kid(fresh) == kid and await world.authority.verifier.authenticate(fresh)
    assert await _kids(world) == [*first, kid]
    world.clock.skip(3600 + 60 + 61)
    assert await _kids(world) == [kid]
    await keys.upkeep()
    assert len(keys._keys) == 1
    with pytest.raises(Unauthenticated):
        await world.authority.verifier.authenticate(old)


@pytest.mark.anyio
async def test_rotation_by_age(world: World) -> None:
    first = await _kids(world)
    world.clock.skip(88 * 86_400)
    await world.authority.keys.upkeep()
    assert await _kids(world) == first
    world.clock.skip(86_400 + 60)
    second = SigningKeys(world.authority.settings, world.authority.store, world.authority.vault, world.clock)
    await world.authority.keys.upkeep()
    await second.upkeep()
    kids = await _kids(world)
    assert len(kids) == 2 and kids[0] == first[0]


@pytest.mark.anyio
async def test_withdrawn_key(world: World) -> None:
    token = await world.app_token()
    kid = await world.authority.keys.rotate(withdraw=True)
    await world.authority.accounts.change(
        lambda tx: None, actor=audit.OPERATOR, activity="Rotate",
        category="KeyManagement", operation="Update", targets=[],
    )  # fmt: skip
    assert await _kids(world) == [kid]
    with pytest.raises(Unauthenticated):
        await world.authority.verifier.authenticate(token)
    assert await world.authority.verifier.authenticate(await world.app_token())


@pytest.mark.anyio
async def test_another_master_key(world: World) -> None:
    """Is found at the start, not by the first client."""
    authority = world.authority
    await authority.keys.check()
    stranger = Vault(os.urandom(32))
    with pytest.raises(ValueError, match="another master key"):
        await SigningKeys(authority.settings, authority.store, stranger, world.clock).check()
    changed = SigningKeys(authority.settings, authority.store, stranger, world.clock)
    await changed.rotate(withdraw=True)
    await changed.check()


@pytest.mark.anyio
async def test_keys_are_bounded(world: World) -> None:
    """None is ever left out of the set; those that tokens need no more make room."""
    keys = world.authority.keys
    for _ in range(63):
        await keys.rotate(at_once=True)
    with pytest.raises(Conflict):
        await keys.rotate(at_once=True)
    assert len(await _kids(world)) == 64 and await world.authority.verifier.authenticate(await world.app_token())
    world.clock.skip(4000)
    await keys.upkeep()
    assert await keys.rotate(at_once=True)


@pytest.mark.anyio
async def test_several_first_starts(tmp_path: Path) -> None:
    """Processes that start at once agree on one tenant and one key."""
    world = await make_world(tmp_path)
    authority = world.authority
    others = [SigningKeys(authority.settings, authority.store, authority.vault) for _ in range(3)]
    await asyncio.gather(*(o.upkeep() for o in others), *(authority.accounts.first_tenant() for _ in range(3)))
    assert len(await _kids(world)) == 1
    await world.http.aclose()
    await authority.store.close()


@pytest.mark.anyio
async def test_key_set(world: World) -> None:
    """What libraries read of a key, and nothing private."""
    (key,) = (await world.http.get(f"/{world.tenant.id}/discovery/v2.0/keys")).json()["keys"]
    assert key.keys() == {"kty", "use", "alg", "kid", "x5t", "n", "e", "x5c"}
    found: Any = x509.load_der_x509_certificate(base64.b64decode(key["x5c"][0])).public_key()
    assert found.public_numbers().n == int.from_bytes(unb64(key["n"]), "big")
    assert found.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
