"""APIs of products that are asked with a token: a fixed one, or one of OAuth that is renewed in time.

Source: RFC 6749, section 4.4 (client credentials); RFC 7523 (a signed assertion instead of a secret); RFC 8288 (Link).
"""

import asyncio
import json as jsonlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey
from msgspec import Raw
from yarl import URL

from bartizan.auth.keys import b64
from bartizan.connectors.http import told
from bartizan.extend.connectors import Away, Denied, Outside, Rejected, Reply

EARLY_S = 120.0  # before its end that a token is renewed; half of its life where that is shorter
UNSAID_LIFE_S = 300.0  # of a token that does not say how long it holds
ASSERTION_S = 300
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_LINK = re.compile(r'<([^>]{1,4000})>\s*;[^,]{0,200}?\brel="?next"?')
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)

Params = Mapping[str, str | int] | Sequence[tuple[str, str]]
Proof = Callable[[], Mapping[str, str]]  # the fields of a request for a token; made anew for each


class Api:
    """One system at one address. `authorization` is the header's value, or a proof that gets tokens at `token_url`."""

    def __init__(self, outside: Outside, address: str, authorization: str | Proof, *, token_url: str = "") -> None:
        self.address = address.rstrip("/")
        self._outside = outside
        self._proof = None if isinstance(authorization, str) else authorization
        self._authorization = authorization if isinstance(authorization, str) else ""
        self._token_url = token_url
        self._renew_at = 0.0  # of the monotonic clock
        self._renewing = asyncio.Lock()

    async def ask(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        allow: tuple[int, ...] = (),
        timeout_s: float = 50.0,
    ) -> Reply:
        """`path` behind the address, or a whole URL there. A token that is refused before its end is renewed once."""
        url = self.same(path) if "://" in path else self.address + path
        for again in (True, False):
            authorization = await self._current()
            sent = {"Authorization": authorization, "Accept": "application/json", **(headers or {})}
            try:
                return await self._outside.ask(
                    method, url, headers=sent, params=params, json=json, allow=allow, timeout_s=timeout_s
                )
            except Denied as problem:
                if problem.status != 401 or not again or self._proof is None:
                    raise
                if authorization == self._authorization:
                    self._renew_at = 0.0
        raise AssertionError("unreachable")

    async def get(self, path: str, *, params: Params | None = None) -> dict[str, Any]:
        """One object. Away where the answer is none."""
        return an_object(await self.ask("GET", path, params=params), path)

    def same(self, link: str) -> str:
        """A link that stays at this address: the token goes nowhere else."""
        try:
            here, there = URL(self.address).origin(), URL(link, encoded=True).origin()
        except ValueError:
            here, there = None, None
        if here is None or here != there:
            raise Rejected(f"{self.address} goes on at another address, which is not followed")
        return link

    def is_same(self, link: str) -> bool:
        try:
            return bool(self.same(link))
        except Rejected:
            return False

    async def _current(self) -> str:
        if self._proof is None:
            return self._authorization
        async with self._renewing:
            if time.monotonic() >= self._renew_at:
                await self._renew(self._proof())
            return self._authorization

    async def _renew(self, form: Mapping[str, str]) -> None:
        reply = await self._outside.ask(
            "POST",
            self._token_url,
            form=form,
            headers={"Accept": "application/json"},
            allow=(308, 400, 401, 403, 404),
        )
        data = reply.data if isinstance(reply.data, dict) else {}
        if not 200 <= reply.status < 300:
            region = reply.headers.get("x-cs-region")
            why = _refusal(reply, form) if region is None else f"the client is of another cloud: {region}"
            raise Denied(f"no token from {self._token_url}: {reply.status} {why}".rstrip(), status=reply.status)
        token = data.get("access_token")
        if not isinstance(token, str) or not token:
            raise Away(f"{self._token_url}: the answer holds no token")
        try:
            life_s = float(UNSAID_LIFE_S if data.get("expires_in") is None else data["expires_in"])
        except (TypeError, ValueError):
            life_s = UNSAID_LIFE_S
        self._authorization = f"Bearer {token}"
        self._renew_at = time.monotonic() + life_s - min(EARLY_S, life_s / 2)


def _refusal(reply: Reply, form: Mapping[str, str]) -> str:
    """What the authority says, without what it was sent."""
    description = reply.data.get("error_description") if isinstance(reply.data, dict) else None
    said = told(reply)
    if isinstance(description, str) and description:
        said = f"{said}: {description.splitlines()[0][:300]}"
    for name in ("client_secret", "client_assertion"):
        said = said.replace(form.get(name) or "\0", "***")
    return said


# ---------------------------------------------------------------- proofs


def with_secret(client_id: str, secret: str, **more: str) -> Proof:
    form = {"client_id": client_id, "client_secret": secret, **more}
    return lambda: form


def with_key(
    client_id: str, key: str, token_url: str, *, algorithm: str, kid: str = "", certified: bool = False, **more: str
) -> Proof:
    """`key` is a private key as PEM or JWK; a certificate in the PEM is named by its hash (x5t#S256). Entra knows a key
    by that alone: `certified` keys have one.

    The proof raises Denied where the key cannot be read.
    """

    def proof() -> Mapping[str, str]:
        now = int(time.time())
        claims = {"aud": token_url, "iss": client_id, "sub": client_id, "jti": str(uuid4()), "iat": now, "nbf": now}
        try:
            private, header = _read_key(key, algorithm, kid)
            if certified and "x5t#S256" not in header:
                raise ValueError("no certificate")
            signed = jwt.encode(header, {**claims, "exp": now + ASSERTION_S}, private, algorithms=[algorithm])
        except (ValueError, TypeError, JoseError):
            form = "PEM, with its certificate" if certified else "PEM or JWK"
            raise Denied(
                f"the private key of {client_id[:100]} cannot be read: expected {form}, for {algorithm}"
            ) from None
        return {"client_assertion_type": ASSERTION_TYPE, "client_assertion": signed, "client_id": client_id, **more}

    return proof


def _read_key(key: str, algorithm: str, kid: str) -> tuple[RSAKey | ECKey, dict[str, Any]]:
    kind = ECKey if algorithm.startswith("ES") else RSAKey
    header: dict[str, Any] = {"alg": algorithm, "typ": "JWT"}
    if key.lstrip().startswith("{"):
        given = jsonlib.loads(key)
        kid = kid or str(given.get("kid") or "")
        private = kind.import_key(given)
    else:
        certificate = _CERTIFICATE.search(key)
        if certificate is not None:
            der = x509.load_pem_x509_certificate(certificate[0].encode()).public_bytes(Encoding.DER)
            header["x5t#S256"] = b64(sha256(der).digest())
        private = kind.import_key(_CERTIFICATE.sub("", key))
    return private, header | ({"kid": kid} if kid else {})


# ---------------------------------------------------------------- what answers hold


def an_object(reply: Reply, path: str) -> dict[str, Any]:
    if not isinstance(reply.data, dict):
        raise Away(f"{path}: the answer is no JSON object")
    return reply.data


def rows(reply: Reply, kind: Any, path: str) -> Any:
    """A page whose records stay bytes (`Raw`). Away where it is none: it is asked for again."""
    try:
        return msgspec.json.decode(reply.body, type=kind)
    except ValueError as error:
        raise Away(f"{path}: the answer is no page ({str(error)[:200]})") from None


def decoded(raw: Raw) -> dict[str, Any]:
    item = msgspec.json.decode(raw)
    return item if isinstance(item, dict) else {}


def next_link(reply: Reply) -> str | None:
    """Of the header Link, rel=next."""
    found = _LINK.search(reply.headers.get("link", ""))
    return None if found is None else found[1]


def segment(key: str) -> str:
    """As a segment of a path."""
    return quote(key, safe="@")
