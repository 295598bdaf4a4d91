"""How Microsoft Graph is spoken to: tokens that are renewed in time, pages as bytes, objects made inner.

Source: Microsoft identity platform, "OAuth 2.0 client credentials", "Certificate credentials"; RFC 7523; OData JSON
Format 4.01, section 4.6; "Paging Microsoft Graph data".
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from hashlib import sha256
from typing import Any
from urllib.parse import quote, urlencode
from uuid import uuid4

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey
from msgspec import Raw, Struct, field
from yarl import URL

from bartizan.auth.keys import b64
from bartizan.connectors.http import told
from bartizan.errors import BadRequest
from bartizan.extend.connectors import Away, Denied, Outside, Rejected, Reply
from bartizan.model import times
from bartizan.model.edm import edm

MAX_PAGES = 2_000  # of one listing
EARLY_S = 300.0  # before its end that a token is renewed; half of its life where that is shorter
ASSERTION_S = 300
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_BEGUN = "-----BEGIN CERTIFICATE-----"
_ENDED = "-----END CERTIFICATE-----"


class Page(Struct, frozen=True):
    """`code` is set where the answer is an error that was allowed."""

    rows: list[bytes]
    next: str | None = None
    delta: str | None = None
    at: str | None = None  # when it was answered, by the system's clock
    status: int = 200
    code: str | None = None
    told: str = ""  # what the system says of the error


class _Value(Struct):
    value: list[Raw]
    next: str | None = field(name="@odata.nextLink", default=None)
    delta: str | None = field(name="@odata.deltaLink", default=None)


_page = msgspec.json.Decoder(_Value).decode


class Wire:
    """One application in one tenant. A token is held until it must be renewed, and given up when it is refused."""

    def __init__(
        self,
        outside: Outside,
        *,
        address: str,
        token_url: str,
        client_id: str,
        secret: str | None,
        key: str | None,
        scope: str,
    ) -> None:
        self._outside = outside
        self._address = address.rstrip("/")
        self._token_url = token_url
        self._form = {"grant_type": "client_credentials", "client_id": client_id, "scope": scope}
        self._secret = secret
        self._key = key
        self._token = ""
        self._renew_at = 0.0  # of the monotonic clock
        self._renewing = asyncio.Lock()

    # ------------------------------------------------------------ addresses

    def url(self, path: str, query: Mapping[str, str]) -> str:
        text = urlencode(query, quote_via=quote, safe="$,:()'")
        return f"{self._address}{path}?{text}" if text else f"{self._address}{path}"

    def is_same(self, link: str) -> bool:
        """Whether a link stays at the system's address: the token goes nowhere else."""
        try:
            return URL(link).origin() == URL(self._address).origin()
        except ValueError:
            return False

    def same(self, link: str, here: str = "") -> str:
        """Rejected where a link leads to another address, Away where the next page is the page itself."""
        if not self.is_same(link):
            raise Rejected(f"a page of {URL(here).path} goes on at another address, which is not followed")
        if link == here:
            raise Away(f"a page of {URL(here).path} goes on at itself")
        return link

    # ------------------------------------------------------------ requests

    async def get(self, path: str, query: Mapping[str, str] | None = None, *, maybe: bool = False) -> dict[str, Any]:
        """One object. With `maybe` {} where it is not there, not served or not allowed."""
        allow = (400, 403, 404, 405, 410, 501) if maybe else ()
        reply = await self._ask("GET", self.url(path, query or {}), allow=allow)
        if reply.status != 200:
            return {}
        if not isinstance(reply.data, dict):
            raise Away(f"GET {path}: the answer is no object")
        return reply.data

    async def post(self, path: str, body: Any) -> dict[str, Any]:
        reply = await self._ask("POST", self.url(path, {}), json=body)
        return reply.data if isinstance(reply.data, dict) else {}

    async def patch(self, path: str, body: Any, *, headers: Mapping[str, str] | None = None) -> bool:
        """False where If-Match names a version that is no longer there."""
        reply = await self._ask("PATCH", self.url(path, {}), json=body, headers=headers, allow=(412,))
        return reply.status != 412

    async def pages(self, path: str, query: Mapping[str, str]) -> AsyncIterator[Page]:
        url = self.url(path, query)
        for _ in range(MAX_PAGES):
            page = await self.page(url)
            yield page
            if page.next is None:
                return
            url = self.same(page.next, url)
        raise Rejected(f"{path} has more than {MAX_PAGES} pages")

    async def page(self, url: str, *, allow: tuple[int, ...] = (), single: bool = False) -> Page:
        """A page, or with `single` one object as the page's only row (none where it is not there)."""
        reply = await self._ask("GET", url, allow=allow)
        at = _answered(reply)
        if reply.status != 200:
            return Page([], at=at, status=reply.status, code=_code(reply), told=told(reply))
        if single:
            return Page([reply.body.strip()], at=at)
        try:
            found = _page(reply.body)
        except ValueError as error:
            raise Away(f"GET {URL(url).path}: the answer is no page of Graph ({str(error)[:200]})") from None
        return Page([bytes(raw) for raw in found.value], found.next, found.delta, at)

    async def _ask(
        self,
        method: str,
        url: str,
        *,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        allow: tuple[int, ...] = (),
    ) -> Reply:
        """A token that is refused before its end is renewed once."""
        for again in (True, False):
            token = await self._current()
            sent = {"Authorization": f"Bearer {token}", "Accept": "application/json", **(headers or {})}
            try:
                return await self._outside.ask(method, url, headers=sent, json=json, allow=allow)
            except Denied as problem:
                if problem.status != 401 or not again:
                    raise
                if token == self._token:
                    self._renew_at = 0.0
        raise AssertionError("unreachable")

    # ------------------------------------------------------------ tokens

    async def _current(self) -> str:
        async with self._renewing:
            if time.monotonic() >= self._renew_at:
                await self._renew()
            return self._token

    async def _renew(self) -> None:
        form = {**self._form, **self._proof()}
        reply = await self._outside.ask("POST", self._token_url, form=form, allow=(400, 401))
        data = reply.data if isinstance(reply.data, dict) else {}
        if reply.status != 200:
            number = next(iter(data.get("error_codes") or ()), "")
            raise Denied(f"POST {self._token_url}: {told(reply)} {number}".rstrip(), status=reply.status)
        token, life = data.get("access_token"), data.get("expires_in")
        if not isinstance(token, str) or not token:
            raise Away(f"POST {self._token_url}: the answer holds no token")
        try:
            life_s = float(life) if life is not None else 0.0
        except (TypeError, ValueError):
            life_s = 0.0
        self._token = token
        self._renew_at = time.monotonic() + life_s - min(EARLY_S, life_s / 2)

    def _proof(self) -> dict[str, str]:
        if self._key is None:
            return {"client_secret": self._secret or ""}
        return {
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": assertion(self._key, self._form["client_id"], self._token_url),
        }


def assertion(pem: str, client: str, audience: str) -> str:
    """A JWT that proves to hold the key of a certificate. Denied where the PEM is not both."""
    try:
        begin, end = pem.index(_BEGUN), pem.index(_ENDED) + len(_ENDED)
        certificate = x509.load_pem_x509_certificate(pem[begin:end].encode())
        key = RSAKey.import_key(pem[:begin] + pem[end:])
        print_ = b64(sha256(certificate.public_bytes(Encoding.DER)).digest())
        now = int(time.time())
        claims = {"aud": audience, "iss": client, "sub": client, "jti": str(uuid4()), "iat": now, "nbf": now}
        header = {"alg": "PS256", "typ": "JWT", "x5t#S256": print_}
        return jwt.encode(header, {**claims, "exp": now + ASSERTION_S}, key, algorithms=["PS256"])
    except (ValueError, TypeError, JoseError):
        raise Denied("client_key: expected a private key (RSA) and its certificate, both as PEM") from None


# ---------------------------------------------------------------- what answers hold


def quoted(key: str) -> str:
    """As a segment of a path."""
    return quote(key, safe="@")


def _code(reply: Reply) -> str:
    error = reply.data.get("error") if isinstance(reply.data, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, str) else str(reply.status)


def _answered(reply: Reply) -> str | None:
    with suppress(ValueError, TypeError, IndexError):
        return times.instant(parsedate_to_datetime(reply.headers.get("date", "")).astimezone(UTC))
    return None


def instant_of(value: Any) -> str:
    """In wire form; "" where it is none."""
    with suppress(ValueError, TypeError, AttributeError):
        return times.parse(value)
    return ""


def at_of(at: str | None = None, *, seconds: float = 0.0, days: float = 0.0) -> str:
    """The instant that lies so far before `at`, or before now."""
    begun = datetime.now(UTC) if at is None else times.to_datetime(at)
    return times.instant(begun - timedelta(seconds=seconds, days=days))


def body_of(type_name: str, item: Mapping[str, Any]) -> dict[str, Any]:
    """An object in inner form. What the schema does not take stays beside it in `asGiven`, which no version shows."""
    accept = edm("beta").accept
    given = {name: value for name, value in item.items() if "@" not in name and value is not None}
    try:
        return accept(type_name, given)
    except BadRequest:
        body: dict[str, Any] = {}
    odd: dict[str, Any] = {}
    for name, value in given.items():
        try:
            body |= accept(type_name, {name: value}, partial=True)
        except BadRequest:
            odd[name] = value
    return {**body, "asGiven": odd}
