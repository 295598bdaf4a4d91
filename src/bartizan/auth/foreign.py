"""Tokens of issuers that the operator named: who asks is read from them, what is allowed from our own accounts and
consents.

Source: OpenID Connect Discovery 1.0; RFC 7517 (JWK), RFC 8725 (JWT best current practices).
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
import structlog
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, KeySet, RSAKey
from msgspec import Struct

from bartizan.errors import Unavailable
from bartizan.settings import Issuer, Settings

_log = structlog.get_logger(__name__)
_FETCH_TIMEOUT_S = 10.0
_MAX_DOCUMENT_BYTES = 1_000_000
_FRESH_S = 3600.0  # a key set is fetched again after this
_UNKNOWN_S = 60.0  # and for a key that it lacks, but not more often than this
_FAILED_S = 15.0  # after a failure nobody asks again for this long


class _Fetched(Struct):
    """`problem` says why the last try failed; `keys` are those of the last that did not."""

    keys: dict[str, Key]
    at: float
    problem: str = ""


class Foreign:
    """The key sets of foreign issuers, fetched when first needed."""

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self._issuers = {issuer.issuer: issuer for issuer in settings.issuers}
        self._clock = clock
        self._sets: dict[str, _Fetched] = {}
        self._locks: dict[str, asyncio.Lock] = {name: asyncio.Lock() for name in self._issuers}

    def issuer(self, name: object) -> Issuer | None:
        return self._issuers.get(name) if isinstance(name, str) else None

    async def signed(self, token: str, header: dict[str, Any], issuer: Issuer) -> bool:
        """Whether the issuer's key that `kid` names signed it, by an allowed algorithm that fits the key."""
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in issuer.algorithms or not isinstance(kid, str):
            return False
        key = await self._key(issuer, kid)
        if key is None or not isinstance(key, ECKey if str(algorithm).startswith("ES") else RSAKey):
            return False
        try:
            registry = jws.JWSRegistry(algorithms=list(issuer.algorithms), strict_check_header=False)
            jws.deserialize_compact(token, key, registry=registry)
        except (JoseError, ValueError):
            return False
        return True

    async def _key(self, issuer: Issuer, kid: str) -> Key | None:
        """Unavailable (503) where the key is unknown and the issuer cannot be asked: the token may well be good. Keys
        that are known hold while it cannot."""
        known = self._sets.get(issuer.issuer)
        if known is None or self._clock() - known.at > _wait_s(known, kid):
            async with self._locks[issuer.issuer]:
                now = self._sets.get(issuer.issuer)
                if now is known:  # nobody else fetched meanwhile
                    now = self._sets[issuer.issuer] = await self._fetched(issuer, known)
                known = now
        assert known is not None
        if known.problem and kid not in known.keys:
            raise Unavailable(known.problem, retry_after_s=30)
        return known.keys.get(kid)

    async def _fetched(self, issuer: Issuer, before: _Fetched | None) -> _Fetched:
        try:
            return _Fetched(await self._fetch(issuer), self._clock())
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            problem = f"the keys of the issuer {issuer.issuer} cannot be read: {error}"
            _log.warning("issuer.keys", issuer=issuer.issuer, problem=str(error))
            return _Fetched(before.keys if before else {}, self._clock(), problem)

    async def _fetch(self, issuer: Issuer) -> dict[str, Key]:
        if issuer.jwks_file:
            return _keys(await asyncio.to_thread(Path(issuer.jwks_file).read_bytes))
        timeout = aiohttp.ClientTimeout(total=_FETCH_TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout, trust_env=True) as http:
            address = issuer.jwks_url
            if not address:
                found = await _get(http, issuer.issuer.rstrip("/") + "/.well-known/openid-configuration")
                document = msgspec.json.decode(found, type=dict[str, Any])
                if document.get("issuer") != issuer.issuer:
                    raise ValueError(f"its discovery document names {document.get('issuer')!r}")
                address = str(document.get("jwks_uri"))
            return _keys(await _get(http, address))


def _wait_s(known: _Fetched, kid: str) -> float:
    if known.problem:
        return _FAILED_S
    return _FRESH_S if kid in known.keys else _UNKNOWN_S


async def _get(http: aiohttp.ClientSession, address: str) -> bytes:
    parts = urlsplit(address)
    if parts.scheme != "https" and (parts.scheme, parts.hostname) not in (("http", "127.0.0.1"), ("http", "localhost")):
        raise ValueError(f"{address[:100]!r} is not https")
    async with http.get(address, allow_redirects=False) as answer:
        answer.raise_for_status()
        body = await answer.content.read(_MAX_DOCUMENT_BYTES + 1)
        while len(body) <= _MAX_DOCUMENT_BYTES and (more := await answer.content.read(_MAX_DOCUMENT_BYTES)):
            body += more
    if answer.status != 200 or len(body) > _MAX_DOCUMENT_BYTES:
        raise ValueError(f"{address} answered {answer.status} with {len(body)} bytes")
    return body


def _keys(document: bytes) -> dict[str, Key]:
    """The asymmetric keys with a kid; a symmetric one in a public set would let anybody sign."""
    try:
        keys = KeySet.import_key_set(msgspec.json.decode(document)).keys
    except (JoseError, KeyError, TypeError) as error:
        raise ValueError(f"not a key set: {error}") from None
    return {key.kid: key for key in keys if isinstance(key, RSAKey | ECKey) and key.kid and not key.is_private}
