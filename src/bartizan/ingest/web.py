"""`POST /ingest/{source}`: raw records over HTTP, for the tenant of the token.

Answers `{"accepted", "repeats", "events", "ids"}` with 200 once everything is durable; 400 and 413 store nothing; 404
names the sources; 503 with Retry-After when too much is in flight, 429 when one tenant has more than its share of
that.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from bartizan.auth.caller import Access, Caller
from bartizan.auth.turns import Turns
from bartizan.errors import (
    BadRequest,
    Timeout,
    TooLarge,
    TooManyRequests,
    Unavailable,
    UnsupportedMediaType,
)
from bartizan.ingest import records
from bartizan.ingest.pipeline import Pipeline, find_source

PERMISSION = "Bartizan.Ingest.All"
ACCESS = Access(application=(PERMISSION,), delegated=(PERMISSION,), role="SecurityAdministrator")
IN_FLIGHT_BYTES = 4 * records.MAX_BODY_BYTES  # of bodies that are being read or stored, in one process
TENANT_BYTES = 2 * records.MAX_BODY_BYTES  # of them, of one tenant
BODY_TIMEOUT_S = 60.0  # for a client to send its whole body
RETRY_AFTER_S = 2

Authenticate = Callable[[Request], Awaitable[Caller]]
_encode = msgspec.json.Encoder().encode


class Flow:
    """How many bytes are in flight. What is reserved is given back when the request ends."""

    def __init__(self, total_bytes: int = IN_FLIGHT_BYTES, tenant_bytes: int = TENANT_BYTES) -> None:
        self._total_bytes = total_bytes
        self._tenant_bytes = tenant_bytes
        self._total = 0
        self._by_tenant: dict[str, int] = {}

    @contextmanager
    def request(self, tenant: str) -> Iterator[Callable[[int], None]]:
        """Gives the function that reserves bytes; it raises Unavailable or TooManyRequests."""
        held = 0

        def reserve(count: int) -> None:
            nonlocal held
            mine = self._by_tenant.get(tenant, 0) + count
            if mine > self._tenant_bytes:
                raise TooManyRequests("too many records of this tenant are on their way", retry_after_s=RETRY_AFTER_S)
            if self._total + count > self._total_bytes:
                raise Unavailable("too many records are on their way", retry_after_s=RETRY_AFTER_S)
            self._by_tenant[tenant] = mine
            self._total += count
            held += count

        try:
            yield reserve
        finally:
            self._total -= held
            left = self._by_tenant.get(tenant, 0) - held
            if left > 0:
                self._by_tenant[tenant] = left
            else:
                self._by_tenant.pop(tenant, None)

    @property
    def in_flight(self) -> int:
        return self._total


async def body_of(request: Request, reserve: Callable[[int], None], limit: int) -> bytes:
    """The body, uncompressed, within the limits. BadRequest, TooLarge, Timeout, UnsupportedMediaType."""
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("identity", "gzip", "x-gzip"):
        raise UnsupportedMediaType(f"Content-Encoding '{coding[:40]}' is not read; gzip is")
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise TooLarge(f"the body has {declared} bytes; the most is {limit}: send it in parts")
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for part in request.stream():
                size += len(part)
                if size > limit:
                    raise TooLarge(f"the body has more than {limit} bytes: send it in parts")
                reserve(len(part))
                parts.append(part)
    except TimeoutError:
        raise Timeout(f"the body did not arrive within {BODY_TIMEOUT_S:g} s") from None
    except ClientDisconnect:
        raise BadRequest("the client left before its body had arrived") from None
    body = b"".join(parts)
    if coding == "identity" and not records.is_gzip(body):
        return body
    plain = await asyncio.to_thread(records.gunzip, body, limit)
    reserve(max(0, len(plain) - len(body)))
    return plain


def ingest_route(
    pipeline: Pipeline,
    authenticate: Authenticate,
    *,
    flow: Flow | None = None,
    turns: Turns | None = None,
    max_body_bytes: int = records.MAX_BODY_BYTES,
    actor: Callable[[Caller], str] = lambda caller: caller.actor,
) -> Route:
    """`authenticate` gives the caller of a source token, or of a Graph token with ACCESS, or raises Unauthenticated or
    Forbidden; the caller's tenant is the only one that it can write to. Errors are raised as BartizanError, for the
    application to answer."""
    bounds, queue = flow or Flow(), turns or Turns()

    async def receive(request: Request) -> Response:
        caller = await authenticate(request)
        name: Any = request.path_params["source"]
        find_source(str(name), pipeline.sources)
        with bounds.request(caller.tenant) as reserve:
            body = await body_of(request, reserve, max_body_bytes)
            async with queue.of(caller.tenant, "ingest") as turn:
                receipt = await pipeline.receive(caller.tenant, str(name), body, actor=actor(caller), pace=turn)
        return Response(_encode(receipt.answer()), media_type="application/json")

    return Route("/ingest/{source}", receive, methods=["POST"])
