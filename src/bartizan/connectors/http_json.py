"""Any system with a JSON API, by a description instead of code: how its records are asked for, how pages and the next
look follow, and which request writes a change back.

A description is data. Its texts may hold `{{name}}`, which is replaced by a value and by nothing else: no expressions,
no code. All of it is checked when the connection is set up.

Source: RFC 8288 (links to the next page), RFC 6749, section 4.4 (client credentials), RFC 7617 (Basic), RFC 6750
(Bearer), TOML 1.0.
"""

import tomllib
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeAlias, get_args
from urllib.parse import urljoin

import msgspec
from msgspec import Meta, Raw, Struct
from yarl import URL

from bartizan.connectors.oauth import Api, next_link, with_secret
from bartizan.connectors.template import Template, Values, every_text, shown_names, within
from bartizan.extend.connectors import (
    LOCAL,
    Batch,
    Connector,
    Outside,
    Pulled,
    Push,
    Pushed,
    Rejected,
    Reply,
    Secret,
    Stream,
)
from bartizan.model.times import from_ticks, instant, parse, ticks, to_datetime

MAX_DESCRIPTION_BYTES = 1_048_576
MAX_SECRETS = 20
MAX_MORE_STREAMS = 50
RECORDS = "records"  # name of the stream that every description has
_MS_FROM = 10**11  # numbers above it are milliseconds: as seconds they would be after the year 5138

Text: TypeAlias = Annotated[str, Meta(max_length=16_384)]
HeaderName: TypeAlias = Annotated[str, Meta(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}$")]
StreamName: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,62}$")]
ValuePath: TypeAlias = Annotated[str, Meta(pattern=r"^[^\s]{0,200}$")]  # names with dots between: "data.items"

_PULL = ("cursor", "rows", "token", "offset", "page")
Word: TypeAlias = Literal["status", "classification", "determination", "assignedTo", "comments", "tags"]
_WORDS: tuple[Word, ...] = get_args(Word)
_PUSH = ("id", "value", "by", "at", "key")


# ---------------------------------------------------------------- the description


class NoAuth(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="none"):
    """Whoever reaches the system may ask."""


class BasicAuth(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="basic"):
    user: Text
    password: Text


class BearerAuth(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="bearer"):
    token: Text


class HeaderAuth(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="header"):
    """An API key in a header."""

    name: HeaderName
    value: Text


class OAuth(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="oauth2"):
    """Client credentials."""

    token_url: Annotated[str, Meta(pattern="^https?://", max_length=2_000)]
    client_id: Text
    client_secret: Text
    scope: Text = ""


class Request(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`path` begins behind the address of the system. A parameter or a member of `json` that is nothing but one
    `{{name}}` which has no value is left out."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    path: Annotated[str, Meta(pattern="^/", max_length=4_000)]
    params: dict[str, Text] = {}
    headers: dict[HeaderName, Text] = {}
    json: Any = None


class Pages(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the next page is asked for: not at all, by a `link` in the answer or in its header Link, by a `token` of the
    answer, or by counting records (`offset`) or pages (`page`) until one is not full."""

    by: Literal["none", "link", "link_header", "token", "offset", "page"] = "none"
    at: ValuePath = ""  # where the link or token stands
    first: Annotated[int, Meta(ge=0, le=1)] = 0  # number of the first page


class Cursor(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What of a record says how far has been read. With `ordered` the system gives the lowest first, and the cursor
    moves with each page; otherwise only when all pages have been read."""

    at: Annotated[str, Meta(min_length=1, max_length=200)]
    type: Literal["time", "number"] = "time"
    form: Literal["iso", "iso_seconds", "epoch_s", "epoch_ms"] = "iso"  # as which a time is asked for
    since_days: Annotated[int, Meta(ge=0, le=3_650)] = 7  # where the first look begins, of a time
    overlap_s: Annotated[int, Meta(ge=0, le=86_400)] = 300  # how late a record may appear, of a time
    ordered: bool = False


class Records(Request, frozen=True, forbid_unknown_fields=True, kw_only=True):
    at: ValuePath = ""  # where the list of records stands; empty: the answer is the list
    lines: bool = False  # the answer is a JSON object a line
    source: Annotated[str, Meta(min_length=1, max_length=64)] = "auto"
    rows: Annotated[int, Meta(ge=1, le=10_000)] = 100
    max_pages: Annotated[int, Meta(ge=1, le=100_000)] = 1_000  # of one look
    pages: Pages = Pages()
    cursor: Cursor | None = None
    every_s: Annotated[float, Meta(ge=1, le=86_400)] = 60.0  # between two looks


class Description(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    url: Annotated[str, Meta(pattern="^https?://", max_length=2_000)]
    auth: NoAuth | BasicAuth | BearerAuth | HeaderAuth | OAuth = NoAuth()
    headers: dict[HeaderName, Text] = {}
    records: Records
    # further streams of the same system, by name, each with a path, pages, a cursor and a source of its own
    streams: Annotated[dict[StreamName, Records], Meta(max_length=MAX_MORE_STREAMS)] = {}
    check: Request | None = None  # something harmless; without it the first page of records
    # word of the alert -> its value, or "*" for any other -> the request
    push: dict[Word, dict[str, Request]] = {}


class HttpJsonSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    description: Annotated[Description | None, Meta(description="what the system's API is like")] = None
    file: Annotated[
        str, Meta(description="the same in a TOML or JSON file of the server", pattern="^(/|$)", extra=LOCAL)
    ] = ""
    secrets: Annotated[dict[str, Secret], Meta(description="by name, for {{secret.NAME}}", max_length=MAX_SECRETS)] = {}
    ca_file: Annotated[str, Meta(description="certificate authority of the system, as PEM", extra=LOCAL)] = ""
    verify: Annotated[bool, Meta(description="whether its certificate is checked")] = True

    def __post_init__(self) -> None:
        """ValueError says what in the description is wrong, and where."""
        if (self.description is None) == (not self.file):
            raise ValueError("either `description` or `file` says what the API is like")
        _verify(self.described(), self.secrets)

    def described(self) -> Description:
        if self.description is not None:
            return self.description
        path = Path(self.file)
        try:
            with path.open("rb") as file:
                data = file.read(MAX_DESCRIPTION_BYTES + 1)
        except OSError as error:
            raise ValueError(f"{path}: {error.strerror}") from None
        if len(data) > MAX_DESCRIPTION_BYTES:
            raise ValueError(f"{path} has more than {MAX_DESCRIPTION_BYTES} bytes")
        try:
            read = tomllib.loads(data.decode()) if path.suffix == ".toml" else msgspec.json.decode(data)
            return msgspec.convert(read, Description)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.MsgspecError) as error:
            raise ValueError(f"{path}: {error}"[:1_000]) from None


def _verify(of: Description, secrets: Mapping[str, str]) -> None:
    """That each `{{name}}` has a value where it stands."""
    hidden = tuple(f"secret.{name}" for name in secrets)
    _names("auth", msgspec.to_builtins(of.auth), hidden)
    _names("headers", of.headers, hidden)
    if of.check is not None:
        _request("check", of.check, hidden)
    for word, requests in of.push.items():
        for value, request in requests.items():
            _request(f"push.{word}.{value}", request, (*_PUSH, *_WORDS, *hidden))
    if RECORDS in of.streams:
        raise ValueError(f"streams: '{RECORDS}' is described by itself")
    for name, records in _streams(of).items():
        _records(name if name == RECORDS else f"streams.{name}", records, (*_PULL, *hidden))


def _streams(of: Description) -> dict[str, Records]:
    return {RECORDS: of.records, **of.streams}


def _records(where: str, of: Records, allowed: tuple[str, ...]) -> None:
    _request(where, of, allowed)
    pages = of.pages
    if pages.by in ("link", "token") and not pages.at:
        raise ValueError(f"{where}.pages.at: say where the {pages.by} stands")
    names = set(every_text([of.path, of.params, of.headers, of.json]))
    needed = {"token": "token", "offset": "offset", "page": "page"}.get(pages.by)
    if needed is not None and not any(needed in Template(text).names for text in names):
        raise ValueError(f"{where}: pages go by {needed}, but no {{{{{needed}}}}} is asked for")


def _request(where: str, request: Request, allowed: tuple[str, ...]) -> None:
    open_ones = tuple(name for name in allowed if not name.startswith("secret."))
    _names(f"{where}.path", request.path, open_ones)  # an address is shown in errors and logs: no secret in it
    _names(f"{where}.params", request.params, allowed)
    _names(f"{where}.headers", request.headers, allowed)
    _names(f"{where}.json", request.json, allowed)


def _names(where: str, value: Any, allowed: tuple[str, ...]) -> None:
    for text in every_text(value):
        for name in Template(text).names:
            if name not in allowed:
                raise ValueError(f"{where}: there is no {{{{{name}}}}} here; there are: {shown_names(allowed)}")


# ---------------------------------------------------------------- the connector


class HttpJson(Connector):
    name: ClassVar[str] = "http_json"
    vendor: ClassVar[str] = "Bartizan"
    product: ClassVar[str] = "HTTP JSON"
    doc: ClassVar[str] = "Any system with a JSON API, by a description of its requests."
    settings: ClassVar[type[Struct]] = HttpJsonSettings
    streams: ClassVar[Mapping[str, Stream]] = {RECORDS: Stream("The records that the description asks for.")}
    pushes: ClassVar[Mapping[Any, frozenset[str]]] = {"alert": frozenset(_WORDS)}

    def __init__(self, settings: HttpJsonSettings, outside: Outside) -> None:
        super().__init__(settings, outside)
        self._is = settings.described()
        self._push: Mapping[str, Mapping[str, Request]] = {str(word): each for word, each in self._is.push.items()}
        self._secrets: Values = {f"secret.{name}": value for name, value in settings.secrets.items()}
        self._api = self._by_token(self._is.auth) if isinstance(self._is.auth, OAuth) else None

    @classmethod
    def streams_of(cls, settings: HttpJsonSettings) -> Mapping[str, Stream]:
        described = _streams(settings.described())
        return {name: Stream(f"{of.method} {of.path}", of.every_s) for name, of in described.items()}

    async def check(self) -> str:
        if self._is.check is not None:
            reply = await self._ask(self._is.check, {})
            return f"{self._is.url} answers with {reply.status}"
        of = self._is.records
        reply = await self._ask(of, self._begin(of, None))
        return f"{self._is.url} gives {len(self._records(of, reply))} records on its first page"

    async def pull(self, stream: str, cursor: str | None) -> AsyncIterator[Batch]:
        of = _streams(self._is)[stream]
        last = cursor or ""
        highest = _Highest(of.cursor, cursor)
        async for records in self._pages(of, self._begin(of, cursor)):
            highest.see(records)
            if of.cursor is not None and of.cursor.ordered:
                last = highest.text()
            yield Batch(cursor=last, records=[Pulled(of.source, bytes(each)) for each in records])
        if highest.text() != last:
            yield Batch(cursor=highest.text())

    async def push(self, change: Push) -> Pushed:
        left_out = []
        for word, value in change.words.items():
            requests = self._push.get(word, {})
            several = value if word == "comments" and isinstance(value, list) else [value]
            for each in several:
                said = each.get("comment") if isinstance(each, dict) else each
                request = requests.get(str(said)) or requests.get("*")
                if request is None:
                    left_out.append(word)
                    break
                await self._ask(request, _change(change, word, said))
        return Pushed(left_out=tuple(left_out))

    # ------------------------------------------------------------ asking

    def _begin(self, of: Records, cursor: str | None) -> dict[str, Any]:
        """The values of the first page."""
        return {
            "cursor": None if of.cursor is None else _asked(of.cursor, cursor),
            "rows": of.rows,
            "token": None,
            "offset": 0,
            "page": of.pages.first,
        }

    async def _pages(self, of: Records, values: dict[str, Any]) -> AsyncIterator[list[Raw]]:
        """Rejected where pages go in a circle, or there are more than are allowed: nothing is cut off in silence."""
        link: str | None = None
        seen: set[str] = set()
        for _ in range(of.max_pages):
            reply = await self._ask(of, values) if link is None else await self._follow(of, values, link)
            records = self._records(of, reply)
            if records:
                yield records
            following = _next(of, reply, len(records))
            if following is None:
                return
            if of.pages.by in ("offset", "page"):
                values = {**values, "offset": values["offset"] + len(records), "page": values["page"] + 1}
                continue
            if following in seen:
                raise Rejected(f"{self._is.url}: its pages go in a circle")
            seen.add(following)
            if of.pages.by == "token":
                values = {**values, "token": following}
            else:
                link = self._same_origin(reply, following, link or of.path)
        raise Rejected(f"{self._is.url} has more than {of.max_pages} pages: raise max_pages or rows")

    def _same_origin(self, reply: Reply, link: str, base: str) -> str:
        """Credentials go to the system of the description alone."""
        whole = urljoin(urljoin(self._is.url.rstrip("/") + "/", base.lstrip("/")), link)
        try:
            alike = URL(whole).origin() == URL(self._is.url).origin()
        except ValueError:
            alike = False
        if not alike:
            raise Rejected(f"{self._is.url}: the link to the next page leads elsewhere")
        return whole

    async def _ask(self, request: Request, values: Values) -> Reply:
        known = {**self._secrets, **values}
        return await self._send(
            request,
            known,
            self._is.url.rstrip("/") + Template(request.path).in_path(known),
            dict(self._params(request, known)),
        )

    async def _follow(self, request: Request, values: Values, link: str) -> Reply:
        """The next page by its link, which has the parameters in it."""
        return await self._send(request, {**self._secrets, **values}, link, {})

    async def _send(self, request: Request, known: Values, url: str, params: dict[str, str]) -> Reply:
        headers = {
            **self._authorization(known),
            **{name: Template(text).in_header(known) for name, text in self._is.headers.items()},
            **{name: Template(text).in_header(known) for name, text in request.headers.items()},
        }
        body = within(request.json, known)
        asked = self.outside if self._api is None else self._api
        return await asked.ask(request.method, url, headers=headers, params=params or None, json=body)

    def _by_token(self, auth: OAuth) -> Api:
        asked = {"grant_type": "client_credentials", **({"scope": auth.scope} if auth.scope else {})}
        id, secret = (Template(text).in_header(self._secrets) for text in (auth.client_id, auth.client_secret))
        return Api(self.outside, self._is.url, with_secret(id, secret, **asked), token_url=auth.token_url)

    def _params(self, request: Request, known: Values) -> Iterator[tuple[str, str]]:
        for name, text in request.params.items():
            value = Template(text).value(known)
            if value is not None:
                yield name, str(value)

    def _authorization(self, known: Values) -> dict[str, str]:
        auth = self._is.auth
        if isinstance(auth, BasicAuth):
            pair = f"{Template(auth.user).in_header(known)}:{Template(auth.password).in_header(known)}"
            return {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}
        if isinstance(auth, BearerAuth):
            return {"Authorization": f"Bearer {Template(auth.token).in_header(known)}"}
        if isinstance(auth, HeaderAuth):
            return {auth.name: Template(auth.value).in_header(known)}
        return {}

    def _records(self, of: Records, reply: Reply) -> list[Raw]:
        if of.lines:
            return [Raw(line) for line in reply.body.splitlines() if line.strip()]
        found = _at(Raw(reply.body), of.at)
        if found is None:
            raise Rejected(f"{self._is.url}: the answer has nothing at '{of.at}'")
        try:
            return msgspec.json.decode(found, type=list[Raw] | None) or []
        except msgspec.DecodeError:
            raise Rejected(f"{self._is.url}: what is at '{of.at}' of the answer is not a list") from None


class _Highest:
    """How far the records of a look go."""

    def __init__(self, of: Cursor | None, cursor: str | None) -> None:
        self._of = of
        self._is: str | int | None = None
        if of is not None and cursor:
            self._is = cursor if of.type == "time" else int(cursor)

    def see(self, records: list[Raw]) -> None:
        if self._of is None:
            return
        found = [value for each in records if (value := _ordinal(self._of, _value(each, self._of.at))) is not None]
        if not found:
            raise Rejected(f"no record of the page has a {self._of.type} at '{self._of.at}'")
        known: list[Any] = [] if self._is is None else [self._is]
        self._is = max([*known, *found])
        if isinstance(self._is, str):
            self._is = min(self._is, instant(datetime.now(UTC)))  # a clock that is ahead must not take it along

    def text(self) -> str:
        return "" if self._is is None else str(self._is)


def _ordinal(of: Cursor, value: Any) -> str | int | None:
    """A time as wire instant, a number as it is; None where it is none."""
    if isinstance(value, bool):
        return None
    if of.type == "number":
        return value if isinstance(value, int) else int(value) if isinstance(value, str) and value.isdecimal() else None
    try:
        if isinstance(value, int | float):
            seconds = value / 1_000 if value > _MS_FROM else value
            return instant(datetime.fromtimestamp(seconds, UTC))
        return parse(value) if isinstance(value, str) else None
    except (ValueError, OverflowError, OSError):
        return None


def _asked(of: Cursor, cursor: str | None) -> str | int | None:
    """The cursor as the system is asked for it."""
    if of.type == "number":
        return int(cursor) if cursor else None
    if cursor:
        at = to_datetime(cursor) - timedelta(seconds=of.overlap_s)
    elif of.since_days:
        at = datetime.now(UTC) - timedelta(days=of.since_days)
    else:
        return None
    if of.form == "epoch_s":
        return int(at.timestamp())
    if of.form == "epoch_ms":
        return ticks(at) // 10_000
    text = from_ticks(ticks(at))
    return f"{text[:19]}Z" if of.form == "iso_seconds" else f"{text[:23]}Z"


def _change(change: Push, word: str, value: Any) -> dict[str, Any]:
    known: dict[str, Any] = {name: change.now.get(name) for name in _WORDS}
    return {
        **known,
        **change.words,
        word: value,
        "id": change.id,
        "value": value,
        "by": change.by,
        "at": change.at,
        "key": change.key,
    }


def _next(of: Records, reply: Reply, count: int) -> str | None:
    """The link or token of the next page, or that there is one; None behind the last."""
    by = of.pages.by
    if by in ("offset", "page"):
        return "" if count >= of.rows else None
    if by == "link_header":
        return next_link(reply)
    if by in ("link", "token"):
        found = _value(Raw(reply.body), of.pages.at)
        if found in (None, ""):
            return None
        if isinstance(found, bool) or not isinstance(found, str | int):
            raise Rejected(f"what is at '{of.pages.at}' of the answer is no {by}")
        return str(found)
    return None


def _at(data: Raw, path: str) -> Raw | None:
    """What stands at a path, as the bytes that it is."""
    for name in path.split(".") if path else ():
        try:
            data = msgspec.json.decode(data, type=dict[str, Raw])[name]
        except (msgspec.DecodeError, KeyError):
            return None
    return data


def _value(data: Raw, path: str) -> Any:
    found = _at(data, path)
    try:
        return None if found is None else msgspec.json.decode(found)
    except msgspec.DecodeError:
        return None
