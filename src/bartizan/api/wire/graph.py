"""The Graph API as one ASGI callable: HTTP in, a `Request` through authentication, routing and authorisation, bytes
out.

Nothing of a web framework is on this path; a page of stored documents costs little more than writing it.

Source: ASGI 3.0; OData 4.01 Part 1 (Protocol), sections 8 and 11.
"""

import asyncio
import gzip
import re
import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from os import urandom
from time import perf_counter
from typing import Any, Protocol

import structlog

from bartizan.api.wire import act, batch, delta, read, write
from bartizan.api.wire.federate import Federation
from bartizan.api.wire.limits import Limits
from bartizan.api.wire.meter import Meter
from bartizan.api.wire.request import Clock, Header, Request, Response, error, without_metadata
from bartizan.api.wire.route import Router, Target, unserved_verb, within
from bartizan.api.wire.unserved import refusal, why_not
from bartizan.auth.caller import Access, Caller
from bartizan.auth.turns import Kind as TurnKind
from bartizan.auth.turns import Turns
from bartizan.errors import (
    OF_DIRECTORY,
    BadRequest,
    BartizanError,
    Forbidden,
    MethodNotAllowed,
    Timeout,
    TooLarge,
    UnsupportedMediaType,
)
from bartizan.extend import Context, Verb, never
from bartizan.model.edm import Version, edm
from bartizan.store.interface import Store, TenantStore

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MAX_HOSTS = 256  # Host headers that are remembered
_QUICK = frozenset({"object", "set", "count", "property"})
# Browser apps of any origin may read what their token gives: no cookie is involved.
_CROSS_ORIGIN: list[Header] = [
    (b"access-control-allow-origin", b"*"),
    (
        b"access-control-expose-headers",
        b"ETag, Location, Preference-Applied, Retry-After, Warning, WWW-Authenticate, client-request-id, request-id",
    ),
]
_HEADER_NAMES = re.compile(rb"[\w\-, ]{1,1000}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one request may take."""

    body_bytes: int = 4 * 1024 * 1024  # of a JSON body, after decompression
    body_s: float = 30.0  # until it has arrived
    answer_s: float = 100.0  # until it is answered
    gzip_from_bytes: int = 1024  # smaller answers are not compressed
    query_chars: int = 16_384


class Authenticate(Protocol):
    """Unauthenticated where the headers carry no token that is good."""

    async def __call__(self, headers: Mapping[bytes, bytes]) -> Caller: ...


Code = Callable[[Context, Target, Request], Awaitable[Response]]


class Graph:
    """The API over one store. `base` gives scheme and host of links for a Host header."""

    def __init__(
        self,
        router: Router,
        store: Store,
        authenticate: Authenticate,
        base: Callable[[str | None], str],
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        limits: Limits | None = None,
        bounds: Bounds | None = None,
        meter: Meter | None = None,
        token_key: bytes = b"",
        documents: Callable[["Graph", Target, Request], Response] | None = None,
        parts: Mapping[type, Any] | None = None,
        tell: Callable[[dict[str, Any]], None] | None = None,
        turns: Turns | None = None,
    ) -> None:
        self.turns = turns or Turns()
        self.router = router
        self.store = store
        self.authenticate = authenticate
        self.base = base
        self.clock = clock
        self.limits = limits
        self.bounds = bounds or Bounds()
        self.meter = meter
        self.token_key = token_key
        self.documents = documents
        self.tell = tell  # takes a line of the access log
        self.parts: Mapping[type, Any] = parts or {}
        self._federation: Federation | None = self.parts.get(Federation)
        self._date = Clock(clock)
        self._tenants: dict[str, TenantStore] = {}
        self._bases: dict[bytes | None, str] = {}

    # ------------------------------------------------------------ HTTP

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = perf_counter()
        headers: dict[bytes, bytes] = dict(scope["headers"])
        id = new_id()
        raw = scope.get("raw_path")
        client = scope.get("client")
        host = headers.get(b"host")
        request = Request(
            _method(scope["method"], headers),
            raw.decode("latin-1") if raw is not None else scope["path"],
            scope["query_string"].decode("latin-1"),
            headers,
            b"",
            base=self._bases.get(host) or self._base(host),
            id=id,
            client_id=_plain(headers.get(b"client-request-id")) or id,
            ip=client[0] if client else None,
        )
        response, body, compressed = await self._answered(request, receive)
        size = len(body)
        out: list[Header] = [
            (b"request-id", id.encode()),
            (b"client-request-id", request.client_id.encode("latin-1")),
            (b"date", self._date.date()),
            (b"odata-version", b"4.0"),
            (b"cache-control", b"no-cache"),
            (b"vary", b"Accept-Encoding"),
            (b"strict-transport-security", b"max-age=31536000"),
            *response.headers,
        ]
        if size or response.status not in (204, 304):
            out.append((b"content-type", response.kind))
            out.append((b"content-length", b"%d" % size))
        if compressed:
            out.append((b"content-encoding", b"gzip"))
        if b"origin" in headers:
            out += _CROSS_ORIGIN
        await send({"type": "http.response.start", "status": response.status, "headers": out})
        await send({"type": "http.response.body", "body": b"" if request.method == "HEAD" else body})
        self._told(request, response, size, perf_counter() - began)

    def _base(self, host: bytes | None) -> str:
        """Scheme and host of links, remembered for each Host header that was seen."""
        found = self.base(None if host is None else host.decode("latin-1"))
        if len(self._bases) < MAX_HOSTS:
            self._bases[host] = found
        return found

    async def _answered(self, request: Request, receive: Receive) -> tuple[Response, bytes, bool]:
        """Authentication first, then the body: nobody without a token makes the server read one. With the body to send
        and whether it is compressed."""
        try:
            if request.method not in _METHODS:
                raise MethodNotAllowed(
                    f"{request.method[:20]} is not a method of this API.",
                    headers={"Allow": ", ".join(sorted(_METHODS))},
                )
            if request.method == "OPTIONS" and b"access-control-request-method" in request.headers:
                return _preflight(request.headers), b"", False
            if not self._open(request.path):
                request.caller = await self.authenticate(request.headers)
            if request.method in ("POST", "PATCH", "PUT"):
                request.body = await self._body(request.headers, receive)
                request.gone = lambda: _gone(receive)
            tenant = "" if request.caller is None else request.caller.tenant
            async with self.turns.of(tenant, self._kind(tenant, request)):
                response = await self.answer(request)
                return response, *await self._compressed(request, response)
        except BartizanError as problem:
            response = error(request, problem, self.clock())
        except Exception:  # noqa: BLE001 - the edge of the API; logged with its trace
            response = self._failed(request)
        return response, response.body, False

    def _kind(self, tenant: str, request: Request) -> TurnKind:
        """A read that may ask other systems waits for them, and holds up no other read meanwhile."""
        if request.method not in ("GET", "HEAD"):
            return "write"
        federation = self._federation
        if federation is None or federation.off(tenant) or "security/alerts" not in request.path.lower():
            return "read"
        return "live"

    def _open(self, path: str) -> bool:
        """What needs no token: metadata and the root document, as in Graph."""
        return path.strip("/").lower() in ("v1.0", "beta", "v1.0/$metadata", "beta/$metadata")

    async def _body(self, headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
        most = self.bounds.body_bytes
        said = headers.get(b"content-length", b"0")
        if said.isdigit() and int(said) > most:
            raise TooLarge(f"The body has {int(said)} bytes; at most {most} are taken.")
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self.bounds.body_s):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise BadRequest("The connection was closed before the body had arrived.")
                    part = message.get("body", b"")
                    size += len(part)
                    if size > most:
                        raise TooLarge(f"The body is larger than {most} bytes.")
                    parts.append(part)
                    if not message.get("more_body", False):
                        break
        except TimeoutError:
            raise BadRequest(
                f"The body did not arrive within {self.bounds.body_s:g} s.", code="RequestTimeout"
            ) from None
        return _inflated(b"".join(parts), headers.get(b"content-encoding"), most)

    async def _compressed(self, request: Request, response: Response) -> tuple[bytes, bool]:
        body = response.body
        accepted = request.headers.get(b"accept-encoding")
        if accepted is None or len(body) < self.bounds.gzip_from_bytes or not _takes_gzip(accepted):
            return body, False
        if len(body) < 65_536:
            return gzip.compress(body, 1, mtime=0), True
        return await asyncio.to_thread(gzip.compress, body, 1, mtime=0), True

    def _told(self, request: Request, response: Response, size: int, seconds: float) -> None:
        caller = request.caller
        method = request.method if request.method in _METHODS else "other"
        if self.meter is not None:
            self.meter.request(method, response.target, response.status, seconds)
        if self.tell is not None:
            self.tell(
                {
                    "event": "request",
                    "method": method,
                    "path": request.path[:500],
                    "status": response.status,
                    "ms": round(seconds * 1000, 2),
                    "bytes": size,
                    "tenant": None if caller is None else caller.tenant,
                    "app": None if caller is None else caller.app,
                    "user": None if caller is None else caller.user,
                    "ip": request.ip,
                    "request_id": request.id,
                }
            )

    # ------------------------------------------------------------ one request, HTTP or inside a batch

    async def answer(self, request: Request, *, inside: bool = False) -> Response:
        """Never raises: what goes wrong is an error body."""
        target: Target | None = None
        try:
            tenant = "" if request.caller is None else request.caller.tenant
            target = self.router.resolve(within(request.path, tenant))
            if inside and target.kind in ("batch", "metadata", "root"):
                raise BadRequest("A batch cannot hold a batch or the service documents.")
            if target.kind in _QUICK and request.method in ("GET", "HEAD") and "expand" not in request.query.lower():
                response = await self._served(target, request)  # the store bounds the time of a read
            else:
                async with asyncio.timeout(self.bounds.answer_s):
                    response = await self._served(target, request)
        except BartizanError as problem:
            problem.code = _code(target, problem.code)
            response = error(request, problem, self.clock())
        except TimeoutError:
            response = error(request, Timeout(f"No answer within {self.bounds.answer_s:g} s."), self.clock())
        except Exception:  # noqa: BLE001 - the edge of the API; logged with its trace
            response = self._failed(request)
        if target is not None:
            response.target = target.hidden
        return response

    def _failed(self, request: Request) -> Response:
        """The edge of the API: what nobody expected is logged whole and told as little as possible."""
        structlog.get_logger("bartizan.api").exception("request failed", request_id=request.id, path=request.path[:500])
        return error(
            request, BartizanError("An internal error has occurred; the log has it under the request-id."), self.clock()
        )

    async def _served(self, target: Target, request: Request) -> Response:
        method = request.method
        if target.kind in ("root", "metadata"):
            return self._document(target, request)
        caller = request.caller
        assert caller is not None
        verbs = target.served
        if method == "OPTIONS":
            return Response(204, headers=[(b"allow", _allow(verbs).encode())])
        verb: Verb = "GET" if method == "HEAD" else method  # type: ignore[assignment]
        if verb not in verbs:
            raise self._refused(target, verb)
        if verb == "GET" and target.shows is not None:
            target = target.shows
        if target.kind == "batch":
            return await batch.run(self, target, request)
        authorise(caller, target, verb)
        if self.limits is not None and target.resource is not None:
            self.limits.take(target.resource.throttle, caller)
        request.accepts(text=target.raw or target.kind in ("count", "related_count") or target.path[-1:] == ("$count",))
        response = await _CODE[target.kind, verb](self.context(target.version, request), target, request)
        if request.bare and target.kind != "refs":  # references are nothing but a word of OData's
            without_metadata(response)
        return response

    def _document(self, target: Target, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            raise MethodNotAllowed("Service documents are read only.", headers={"Allow": "GET, HEAD"})
        if self.documents is None:
            raise BadRequest("This server has no service documents.")
        return self.documents(self, target, request)

    def _refused(self, target: Target, verb: Verb) -> BartizanError:
        allow = tuple(_allow(target.served).split(", "))
        why = unserved_verb(target, verb) or why_not(target.hidden, target.version, verb)
        what = f"{verb} {target.hidden}"
        return refusal(why or never(f"allowed here: {', '.join(allow) or 'nothing'}"), what, allow)

    def context(self, version: Version, request: Request) -> Context:
        caller = request.caller
        assert caller is not None
        store = self._tenants.get(caller.tenant)
        if store is None:
            if len(self._tenants) > 10_000:
                self._tenants.clear()
            store = self._tenants[caller.tenant] = self.store.tenant(caller.tenant)
        return Context(
            caller,
            store,
            self.store,
            version,
            edm(version),
            f"{request.base}/{version}",
            request.id,
            request.headers,
            self.clock,
            self.token_key,
            request.ip,
            self.parts,
            request.gone,
        )


def _preflight(headers: Mapping[bytes, bytes]) -> Response:
    """What a browser asks before it sends another origin's request, without a token: anything may be sent.

    Source: Fetch standard, section "CORS protocol".
    """
    asked = headers.get(b"access-control-request-headers", b"")
    names = asked if _HEADER_NAMES.fullmatch(asked) else b"authorization, content-type"
    allow = [(b"access-control-allow-methods", ", ".join(sorted(_METHODS)).encode())]
    return Response(
        204, headers=[*allow, (b"access-control-allow-headers", names), (b"access-control-max-age", b"3600")]
    )


def _code(target: Target | None, code: str) -> str:
    """As the service says it that Graph has behind this path."""
    while target is not None and target.via is not None:
        target = target.via
    directory = target is not None and target.resource is not None and target.resource.throttle == "directory"
    return OF_DIRECTORY.get(code, code) if directory else code


def _method(sent: str, headers: Mapping[bytes, bytes]) -> str:
    """The verb that is meant: stacks that cannot send PATCH (Java's HttpURLConnection, and the older Graph SDKs on it)
    send POST and say so. It is authorised as what it becomes.
    """
    if sent == "POST":
        said = headers.get(b"x-http-method-override") or headers.get(b"x-http-method") or b""
        if said.strip().upper() in (b"PATCH", b"PUT", b"DELETE"):
            return said.strip().upper().decode()
    return sent


async def _gone(receive: Receive) -> None:
    """After the body nothing comes but the end of the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


def new_id() -> str:
    """A random UUID (version 4), at a fifth of what the standard library takes."""
    text = urandom(16).hex()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{'89ab'[int(text[16], 16) & 3]}{text[17:20]}-{text[20:]}"


def authorise(caller: Caller, target: Target, verb: Verb) -> None:
    """Forbidden unless the token suffices for this operation."""
    for access in needed(target, verb):
        if _own(caller, target, verb):
            continue
        caller.require(access)


def _own(caller: Caller, target: Target, verb: Verb) -> bool:
    """A signed-in user may read itself, and what is picked for it, without a directory role."""
    action = target.action
    if action is not None and action.mine:
        return caller.user is not None and not caller.permissions.isdisjoint(action.access.delegated)
    while target.via is not None:
        target = target.via
    key = target.key
    if key is None or not key.own or verb != "GET" or target.resource is None or caller.user is None:
        return False
    return not caller.permissions.isdisjoint(target.resource.own_scopes)


def needed(target: Target, verb: Verb) -> list[Access]:
    """What the operation asks for; each of them must be met."""
    resource, navigation = target.resource, target.navigation
    if target.kind == "action":
        assert target.action is not None
        return [target.action.access]
    if target.kind in ("refs", "ref") and verb != "GET":
        assert navigation is not None and navigation.link is not None
        return [navigation.link]
    if verb == "GET":
        links = _links(target)
        if links:
            return links
        assert resource is not None
        return [resource.read]
    assert resource is not None
    by_verb = {"POST": resource.create, "PATCH": resource.write, "PUT": resource.write, "DELETE": resource.delete}
    return [by_verb.get(verb) or _nobody()]


def _links(target: Target) -> list[Access]:
    """What the navigations of a path ask for."""
    found: list[Access] = []
    here: Target | None = target
    while here is not None:
        if here.navigation is not None:
            found.append(here.navigation.access)
        here = here.via
    return found


def _nobody() -> Access:
    raise Forbidden("This operation is not open to anybody.")


_CODE: Mapping[tuple[str, str], Code] = {
    ("set", "GET"): read.many,
    ("set", "POST"): write.create,
    ("count", "GET"): read.count,
    ("object", "GET"): read.one,
    ("object", "POST"): write.create,
    ("object", "PATCH"): write.patch,
    ("object", "PUT"): write.put,
    ("object", "DELETE"): write.delete,
    ("property", "GET"): read.of_property,
    ("related", "GET"): read.related,
    ("related_count", "GET"): read.related_count,
    ("delta", "GET"): delta.changes,
    ("refs", "GET"): read.refs,
    ("refs", "POST"): write.link,
    ("ref", "DELETE"): write.unlink,
    ("action", "GET"): act.act,
    ("action", "POST"): act.act,
}


def _allow(verbs: tuple[Verb, ...]) -> str:
    return ", ".join([*verbs, *(["HEAD"] if "GET" in verbs else []), "OPTIONS"])


def _plain(header: bytes | None) -> str | None:
    """A header that is echoed: at most 128 visible characters of ASCII."""
    if header is None or len(header) > 128 or not header.isascii():
        return None
    text = header.decode()
    return text if text.isprintable() else None


@lru_cache(256)
def _takes_gzip(header: bytes) -> bool:
    for item in header.lower().split(b","):
        name, _, weight = item.partition(b";")
        if name.strip() in (b"gzip", b"*") and weight.strip() not in (b"q=0", b"q=0.0", b"q=0.00", b"q=0.000"):
            return True
    return False


def _inflated(body: bytes, coding: bytes | None, most: int) -> bytes:
    if coding is None or coding.strip().lower() in (b"", b"identity"):
        return body
    if coding.strip().lower() != b"gzip":
        raise UnsupportedMediaType(
            f"Content-Encoding {coding[:20].decode('latin-1')!r} is not read here; send gzip or none."
        )
    reader = zlib.decompressobj(wbits=31)
    try:
        plain = reader.decompress(body, most + 1)
        if len(plain) <= most and not reader.eof:
            raise BadRequest("The gzip body is cut off.")
    except zlib.error:
        raise BadRequest("The body is not gzip, as Content-Encoding says.") from None
    if len(plain) > most:
        raise TooLarge(f"The body is larger than {most} bytes once decompressed.")
    return plain
