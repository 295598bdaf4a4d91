"""Keys: the master key and what is derived from it, secrets sealed at rest, and the keys that sign tokens.

Source: NIST SP 800-38D (AES-GCM), RFC 5869 (HKDF), RFC 7515 and 7517 (JWS, JWK).
"""

import asyncio
import base64
import hashlib
import os
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.x509.oid import NameOID
from msgspec import Struct
from msgspec.structs import replace

from bartizan.auth.private import write_once
from bartizan.errors import Conflict
from bartizan.settings import Settings
from bartizan.store import Collection, Column, Draft, Query, Store, Tx

SYSTEM = "system"  # the store's tenant that holds what belongs to no tenant
KEYS = Collection("authKeys", columns=(Column("signsFrom", "int", index=False),), feed=False)

_KEY_BITS = 2048  # what every JWT library takes; longer ones cost clients more than they gain in 90 days
_RELOAD_S = 60.0  # other processes learn of a new key long before it signs
_UNKNOWN_RELOAD_S = 1.0  # and of a key at once, when a token names it, but not more often than this
_MAX_KEYS = 64


class Vault:
    """Encrypts what is secret at rest, and derives keys by purpose; both from the master key."""

    def __init__(self, master: bytes) -> None:
        if len(master) != 32:
            raise ValueError("the master key has 32 bytes")
        self._master = master
        self._box = AESGCM(self.derive("seal"))

    @classmethod
    def open(cls, settings: Settings) -> "Vault":
        """By setting, else from the file master.key (0600), which is made first where there is none."""
        if settings.master_key:
            return cls(bytes.fromhex(settings.master_key.reveal()))
        file = settings.folder / "master.key"
        if not file.exists():
            settings.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_once(file, os.urandom(32).hex().encode() + b"\n")
        text = file.read_text().strip()
        if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
            raise ValueError(
                f"{file} is not 64 hex digits; put the right file back, what it encrypted cannot be read without"
            )
        return cls(bytes.fromhex(text))

    def derive(self, purpose: str) -> bytes:
        """32 bytes that stay the same for a purpose ("skiptoken") and tell nothing of other purposes."""
        return HKDF(hashes.SHA256(), length=32, salt=b"bartizan", info=purpose.encode()).derive(self._master)

    def seal(self, content: bytes, purpose: str = "") -> bytes:
        nonce = os.urandom(12)
        return b"\x01" + nonce + self._box.encrypt(nonce, content, purpose.encode())

    def unseal(self, sealed: bytes, purpose: str = "") -> bytes:
        """ValueError unless it was sealed under this master key for this purpose."""
        if len(sealed) < 29 or sealed[0] != 1:
            raise ValueError("not a sealed value")
        try:
            return self._box.decrypt(sealed[1:13], sealed[13:], purpose.encode())
        except InvalidTag:
            raise ValueError("sealed under another key or for another purpose, or changed") from None


def b64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    """ValueError for anything that is not base64url without padding."""
    if not re.fullmatch(r"[A-Za-z0-9_-]*", text):
        raise ValueError("not base64url")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class SigningKey(Struct, frozen=True, rename="camel"):
    """A key pair. It signs in [signs_from, signs_until) and is published until `published_until`; seconds since
    1970."""

    kid: str
    sealed: bytes
    public: dict[str, Any]  # JWK
    signs_from: int
    signs_until: int = 0  # 0: no end yet
    published_until: int = 0


class SigningKeys:
    """The keys of all processes: read from the store, remembered for a minute."""

    def __init__(self, settings: Settings, store: Store, vault: Vault, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._system = store.tenant(SYSTEM)
        self._vault = vault
        self._clock = clock
        self._keys: dict[str, SigningKey] = {}
        self._private: dict[str, rsa.RSAPrivateKey] = {}
        self._loaded = float("-inf")
        self._lock = asyncio.Lock()

    async def load(self, *, older_s: float = 0.0) -> None:
        """Reads the keys again unless that was done within `older_s` seconds."""
        async with self._lock:
            if time.monotonic() - self._loaded < older_s:
                return
            page = await self._system.page(KEYS.name, Query(top=_MAX_KEYS))
            keys = [_decode(row.doc) for row in page.rows]
            self._keys = {key.kid: key for key in keys}
            self._private = {kid: private for kid, private in self._private.items() if kid in self._keys}
            self._loaded = time.monotonic()

    async def upkeep(self) -> None:
        """Makes the first key, the next one in time, and forgets those that no token needs. Safe in several
        processes at once."""
        await self.load()
        now = int(self._clock())
        rotation_s = self._settings.key_rotation_days * 86_400
        newest = max((k.signs_from for k in self._keys.values() if not k.signs_until), default=None)
        if newest is None:
            await self._add(signs_from=now, expect_newest=None)
        elif now >= newest + rotation_s - self._settings.key_lead_s:
            await self._add(signs_from=max(now, newest + rotation_s), expect_newest=newest)
        old = [k.kid for k in self._keys.values() if k.published_until and k.published_until <= now]
        if old:
            await self._system.write(lambda tx: [tx.delete(KEYS.name, kid) for kid in old], actor="upkeep")
            await self.load()

    async def rotate(self, *, at_once: bool = False, withdraw: bool = False) -> str:
        """The next key, published now and signing after `key_lead_s` (or `at_once`); its kid.

        `withdraw` ends all others this moment, with every token that they signed: for a key that was stolen.
        """
        now = int(self._clock())
        start = now if at_once or withdraw else now + self._settings.key_lead_s
        kid = await self._add(signs_from=start, expect_newest=-1, withdraw=withdraw)
        assert kid is not None
        return kid

    async def _add(self, *, signs_from: int, expect_newest: int | None, withdraw: bool = False) -> str | None:
        """Adds a key unless another process did so since (`expect_newest`; -1: in any case), and ends the others."""
        key, private = await asyncio.to_thread(_generate, self._vault, signs_from)
        keep_s = self._settings.access_token_s + self._settings.clock_skew_s + int(_RELOAD_S)

        def work(tx: Tx) -> str | None:
            known = [_decode(row.doc) for row in tx.find(KEYS.name, None, limit=_MAX_KEYS)]
            newest = max((k.signs_from for k in known if not k.signs_until), default=None)
            if expect_newest != -1 and newest != expect_newest:
                return None
            if len(known) >= _MAX_KEYS and not withdraw:
                raise Conflict(f"there are {_MAX_KEYS} signing keys that tokens still need; wait until some have ended")
            for other in known:
                if withdraw:
                    tx.delete(KEYS.name, other.kid)
                elif not other.signs_until:
                    end = max(signs_from, other.signs_from)
                    tx.put(_draft(replace(other, signs_until=end, published_until=end + keep_s)))
            tx.put(_draft(key))
            return key.kid

        added = await self._system.write(work, actor="upkeep")
        if added:
            self._private[key.kid] = private
        await self.load()
        return added

    async def jwks(self) -> dict[str, Any]:
        """The published keys; the next one is among them before it signs."""
        await self.load(older_s=_RELOAD_S)
        now = self._clock()
        keys = [k for k in self._keys.values() if not k.published_until or k.published_until > now]
        return {"keys": [k.public for k in sorted(keys, key=lambda k: k.signs_from)]}

    async def public(self, kid: str) -> rsa.RSAPublicKey | None:
        """The key that `kid` names, unless it is past its time; one that is unknown is looked for again, at most
        once a second."""
        await self.load(older_s=_RELOAD_S)
        if kid not in self._keys:
            await self.load(older_s=_UNKNOWN_RELOAD_S)
        key = self._keys.get(kid)
        if key is None or (key.published_until and key.published_until <= self._clock()):
            return None
        numbers = rsa.RSAPublicNumbers(
            int.from_bytes(unb64(key.public["e"]), "big"), int.from_bytes(unb64(key.public["n"]), "big")
        )
        return numbers.public_key()

    async def sign(self, claims: dict[str, Any]) -> str:
        """A JWT (RS256) under the key of the moment. About 0.7 ms of CPU."""
        await self.load(older_s=_RELOAD_S)
        key = self._current()
        if key is None:
            await self.upkeep()
            key = self._current()
            assert key is not None, "upkeep leaves a key that signs"
        private = self._opened(key)
        header = {"typ": "JWT", "alg": "RS256", "kid": key.kid, "x5t": key.kid}
        signed = b64(msgspec.json.encode(header)) + "." + b64(msgspec.json.encode(claims))
        return f"{signed}.{b64(private.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    async def check(self) -> None:
        """ValueError where the keys cannot be opened, so that a server says so at its start and not to its clients."""
        await self.load()
        for key in self._keys.values():
            try:
                self._opened(key)
            except ValueError:
                raise ValueError(
                    "the signing keys in the database were sealed under another master key; put the right master.key "
                    "back (servers that share a database share it), or end them with: bartizan key rotate --withdraw"
                ) from None

    def _opened(self, key: SigningKey) -> rsa.RSAPrivateKey:
        private = self._private.get(key.kid)
        if private is None:
            sealed = self._vault.unseal(key.sealed, "signing key")
            # it is as it was made, and the check costs 60 ms
            loaded = serialization.load_der_private_key(sealed, None, unsafe_skip_rsa_key_validation=True)
            assert isinstance(loaded, rsa.RSAPrivateKey)
            private = self._private[key.kid] = loaded
        return private

    def _current(self) -> SigningKey | None:
        now = self._clock()
        able = [k for k in self._keys.values() if k.signs_from <= now and not 0 < k.signs_until <= now]
        return max(able, key=lambda k: (k.signs_from, k.kid), default=None)


_decode = msgspec.json.Decoder(SigningKey).decode


def _draft(key: SigningKey) -> Draft:
    return Draft(KEYS.name, key.kid, msgspec.json.encode(key), columns={"signsFrom": key.signs_from})


def _generate(vault: Vault, signs_from: int) -> tuple[SigningKey, rsa.RSAPrivateKey]:
    private = rsa.generate_private_key(public_exponent=65537, key_size=_KEY_BITS)
    certificate = _self_signed(private)
    der = certificate.public_bytes(serialization.Encoding.DER)
    # kid equals x5t, as in the key sets that clients know.
    kid = b64(hashlib.sha1(der, usedforsecurity=False).digest())
    numbers = private.public_key().public_numbers()
    public = {
        "kty": "RSA",
        "use": "sig",
        "alg": "RS256",
        "kid": kid,
        "x5t": kid,
        "n": b64(numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")),
        "e": b64(numbers.e.to_bytes(3, "big")),
        "x5c": [base64.b64encode(der).decode()],
    }
    secret = private.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return SigningKey(kid, vault.seal(secret, "signing key"), public, signs_from), private


def _self_signed(key: rsa.RSAPrivateKey) -> x509.Certificate:
    """Clients of old read keys only from x5c; nobody checks its dates."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bartizan token signing")])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
