"""How Microsoft Graph is spoken to: pages as bytes, objects made inner.

Source: Microsoft identity platform, "OAuth 2.0 client credentials", "Certificate credentials"; OData JSON Format 4.01,
section 4.6; "Paging Microsoft Graph data".
"""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Raw, Struct, field
from yarl import URL

from bartizan.connectors.http import answered, told
from bartizan.connectors.oauth import Api, with_key, with_secret
from bartizan.errors import BadRequest
from bartizan.extend.connectors import Away, Outside, Rejected, Reply
from bartizan.model import times
from bartizan.model.edm import edm

MAX_PAGES = 2_000  # of one listing


class Page(Struct, frozen=True):
    """`code` is set where the answer is an error that was allowed."""

    rows: list[bytes]
    at: str  # when it was answered, by the system's clock; by ours where it does not say
    next: str | None = None
    delta: str | None = None
    status: int = 200
    code: str | None = None
    told: str = ""  # what the system says of the error


class _Value(Struct):
    value: list[Raw]
    next: str | None = field(name="@odata.nextLink", default=None)
    delta: str | None = field(name="@odata.deltaLink", default=None)


_page = msgspec.json.Decoder(_Value).decode


class Wire:
    """One application in one tenant."""

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
        more = {"grant_type": "client_credentials", "scope": scope}
        if key is None:
            proof = with_secret(client_id, secret or "", **more)
        else:
            proof = with_key(client_id, key, token_url, algorithm="PS256", certified=True, **more)
        self._api = Api(outside, address, proof, token_url=token_url)

    # ------------------------------------------------------------ addresses

    def url(self, path: str, query: Mapping[str, str]) -> str:
        text = urlencode(query, quote_via=quote, safe="$,:()'")
        return f"{self._api.address}{path}?{text}" if text else f"{self._api.address}{path}"

    def is_same(self, link: str) -> bool:
        """Whether a link stays at the system's address: the token goes nowhere else."""
        return self._api.is_same(link)

    def same(self, link: str, here: str = "") -> str:
        """Rejected where a link leads to another address, Away where the next page is the page itself."""
        if link == here:
            raise Away(f"a page of {URL(here).path} goes on at itself")
        return self._api.same(link)

    # ------------------------------------------------------------ requests

    async def get(self, path: str, query: Mapping[str, str] | None = None, *, maybe: bool = False) -> dict[str, Any]:
        """One object. With `maybe` {} where it is not there, not served or not allowed."""
        allow = (400, 403, 404, 405, 410, 501) if maybe else ()
        reply = await self._api.ask("GET", self.url(path, query or {}), allow=allow)
        if reply.status != 200:
            return {}
        if not isinstance(reply.data, dict):
            raise Away(f"GET {path}: the answer is no object")
        return reply.data

    async def post(self, path: str, body: Any) -> dict[str, Any]:
        reply = await self._api.ask("POST", self.url(path, {}), json=body)
        return reply.data if isinstance(reply.data, dict) else {}

    async def patch(self, path: str, body: Any, *, headers: Mapping[str, str] | None = None) -> bool:
        """False where If-Match names a version that is no longer there."""
        reply = await self._api.ask("PATCH", self.url(path, {}), json=body, headers=headers, allow=(412,))
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
        reply = await self._api.ask("GET", url, allow=allow)
        at = times.instant(answered(reply.headers))
        if reply.status != 200:
            return Page([], at, status=reply.status, code=_code(reply), told=told(reply))
        if single:
            return Page([reply.body.strip()], at)
        try:
            found = _page(reply.body)
        except ValueError as error:
            raise Away(f"GET {URL(url).path}: the answer is no page of Graph ({str(error)[:200]})") from None
        return Page([bytes(raw) for raw in found.value], at, found.next, found.delta)


# ---------------------------------------------------------------- what answers hold


def _code(reply: Reply) -> str:
    error = reply.data.get("error") if isinstance(reply.data, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, str) else str(reply.status)


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
