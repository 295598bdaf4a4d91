"""Splunk's HTTP Event Collector: what senders that know it (forwarders, Fluent Bit, Vector, Logstash) post to.

    POST /services/collector[/event[/1.0]]   JSON objects one after another, each with its "event"
    POST /services/collector/raw[/1.0]       lines; time, host, source and sourcetype stand in the query
    GET  /services/collector/health[/1.0]
    POST /services/collector/ack             {"acks": [n, ...]}

The token is one of `bartizan token add`, behind "Splunk", "Bearer" or as a Basic password. It says the tenant and the
sources; where it names one source, that one reads the events, else the sourcetype or the content says which.
An answer of 200 means durable, so that every acknowledgement that a client asks for is true at once.

Source: Splunk Enterprise, "Format events for HTTP Event Collector", "About HTTP Event Collector Indexer
Acknowledgment", "Troubleshoot HTTP Event Collector" (codes).
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bartizan.auth.caller import Caller
from bartizan.auth.turns import Turns
from bartizan.errors import (
    BadRequest,
    BartizanError,
    Forbidden,
    TooLarge,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)
from bartizan.extend import Said
from bartizan.ingest import records
from bartizan.ingest.pipeline import Pipeline, find_source
from bartizan.ingest.web import Flow, body_of
from bartizan.model.times import from_ticks

PATH = "/services/collector"
AUTO = "auto"
MAX_CHANNELS = 1_000  # of acknowledgements, in one process; the longest unused goes
MAX_ACKS = 100_000  # of one channel that are asked about at once
_TICKS = 10_000_000

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode

# (HTTP status, code, text) as Splunk answers.
SUCCESS = (200, 0, "Success")
NO_TOKEN = (401, 2, "Token is required")
BAD_AUTHORIZATION = (401, 3, "Invalid authorization")
BAD_TOKEN = (403, 4, "Invalid token")
NO_DATA = (400, 5, "No data")
BAD_FORMAT = (400, 6, "Invalid data format")
FAILED = (500, 8, "Internal server error")
BUSY = (503, 9, "Server is busy")
NO_CHANNEL = (400, 10, "Data channel is missing")
BAD_CHANNEL = (400, 11, "Invalid data channel")
NO_EVENT = (400, 12, "Event field is required")
BLANK_EVENT = (400, 13, "Event field cannot be blank")

Authenticate = Callable[[Request], Awaitable[tuple[Caller, Sequence[str]]]]


class _Refused(Exception):
    def __init__(self, answer: tuple[int, int, str], **more: Any) -> None:
        super().__init__(answer[2])
        self.answer = answer
        self.more = more


class Acknowledgements:
    """Numbers given to requests of a channel. Those of another process or of before a restart are unknown: their client
    sends again, which changes nothing."""

    def __init__(self) -> None:
        self._given: OrderedDict[tuple[str, str], int] = OrderedDict()

    def give(self, app: str, channel: str) -> int:
        key = (app, channel)
        number = self._given.pop(key, 0)
        self._given[key] = number + 1
        while len(self._given) > MAX_CHANNELS:
            self._given.popitem(last=False)
        return number

    def known(self, app: str, channel: str, number: int) -> bool:
        return 0 <= number < self._given.get((app, channel), 0)


def hec_routes(
    pipeline: Pipeline,
    authenticate: Authenticate,
    *,
    flow: Flow | None = None,
    turns: Turns | None = None,
    max_body_bytes: int = records.MAX_BODY_BYTES,
) -> list[Route]:
    """`authenticate` gives the caller and the sources that its token names, or raises Unauthenticated or Forbidden."""
    desk = _Desk(pipeline, authenticate, flow or Flow(), turns or Turns(), max_body_bytes)
    found = [
        Route(f"{PATH}{path}{version}", endpoint, methods=[method])
        for path, endpoint, method in (
            ("/event", desk.events, "POST"),
            ("/raw", desk.raw, "POST"),
            ("/ack", desk.ack, "POST"),
            ("/health", desk.health, "GET"),
        )
        for version in ("", "/1.0")
    ]
    return [*found, Route(PATH, desk.events, methods=["POST"])]


class _Desk:
    def __init__(
        self, pipeline: Pipeline, authenticate: Authenticate, flow: Flow, turns: Turns, max_body_bytes: int
    ) -> None:
        self._pipeline = pipeline
        self._authenticate = authenticate
        self._flow = flow
        self._turns = turns
        self._max_body_bytes = max_body_bytes
        self._acks = Acknowledgements()

    async def events(self, request: Request) -> Response:
        return await self._answered(request, self._events)

    async def raw(self, request: Request) -> Response:
        return await self._answered(request, self._raw)

    async def ack(self, request: Request) -> Response:
        return await self._answered(request, self._ack)

    async def health(self, request: Request) -> Response:
        return _reply((200, 17, "HEC is healthy"))

    async def _answered(
        self, request: Request, work: Callable[[Request, Caller, Sequence[str]], Awaitable[Mapping[str, Any]]]
    ) -> Response:
        """Splunk's own form of every answer, errors among them."""
        if not request.headers.get("authorization", "").strip():
            return _reply(NO_TOKEN)
        try:
            caller, sources = await self._authenticate(request)
            return _reply(SUCCESS, **await work(request, caller, sources))
        except _Refused as refused:
            return _reply(refused.answer, **refused.more)
        except (Unauthenticated, Forbidden):
            scheme = request.headers["authorization"].partition(" ")[0].lower()
            return _reply(BAD_TOKEN if scheme in ("splunk", "bearer", "basic") else BAD_AUTHORIZATION)
        except (TooManyRequests, Unavailable) as error:
            return _reply(BUSY, headers=error.headers)
        except TooLarge as error:
            return _reply((413, 27, error.message))
        except BadRequest as error:
            return _reply((400, 6, f"Invalid data format: {error.message}"))
        except BartizanError as error:
            return _reply((error.status, 8, error.message), headers=error.headers)

    async def _events(self, request: Request, caller: Caller, sources: Sequence[str]) -> Mapping[str, Any]:
        channel = _channel(request)
        with self._flow.request(caller.tenant) as reserve:
            body = await body_of(request, reserve, self._max_body_bytes)
            if not body.strip():
                raise _Refused(NO_DATA)
            events = await asyncio.to_thread(_read, body)
            await self._store(caller, sources, events)
        return self._receipt(caller, channel)

    async def _raw(self, request: Request, caller: Caller, sources: Sequence[str]) -> Mapping[str, Any]:
        channel = _channel(request)
        asked = request.query_params
        said = Said(_time(asked.get("time")), asked.get("host"), asked.get("source"), asked.get("sourcetype"))
        with self._flow.request(caller.tenant) as reserve:
            body = await body_of(request, reserve, self._max_body_bytes)
            if not body.strip():
                raise _Refused(NO_DATA)
            raws = await asyncio.to_thread(records.split, body)
            await self._store(caller, sources, [(raw, said) for raw in raws])
        return self._receipt(caller, channel)

    def _receipt(self, caller: Caller, channel: str | None) -> Mapping[str, Any]:
        return {} if channel is None else {"ackId": self._acks.give(caller.app, channel)}

    async def _store(self, caller: Caller, sources: Sequence[str], events: Sequence[tuple[bytes, Said]]) -> None:
        name = sources[0] if len(sources) == 1 and sources[0] != "*" else AUTO
        source = find_source(name, self._pipeline.sources)
        async with self._turns.of(caller.tenant, "ingest") as turn:
            raws, said = [raw for raw, _ in events], [one for _, one in events]
            await self._pipeline.take(caller.tenant, source, raws, actor=caller.actor, said=said, pace=turn)

    async def _ack(self, request: Request, caller: Caller, sources: Sequence[str]) -> Mapping[str, Any]:
        channel = _channel(request)
        if channel is None:
            raise _Refused(NO_CHANNEL)
        with self._flow.request(caller.tenant) as reserve:
            body = await body_of(request, reserve, self._max_body_bytes)
        try:
            asked = _decode(body)["acks"]
            numbers = [number for number in asked if isinstance(number, int) and not isinstance(number, bool)]
        except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
            raise _Refused(BAD_FORMAT) from None
        if len(numbers) > MAX_ACKS:
            raise BadRequest(f"more than {MAX_ACKS} acknowledgements are asked about")
        return {"acks": {str(number): self._acks.known(caller.app, channel, number) for number in numbers}}


def _reply(answer: tuple[int, int, str], headers: Mapping[str, str] | None = None, **more: Any) -> Response:
    status, code, text = answer
    body = more if "acks" in more else {"text": text, "code": code, **more}
    return Response(_encode(body), status, headers=dict(headers or {}), media_type="application/json")


def _channel(request: Request) -> str | None:
    """A GUID that a client which wants acknowledgements names."""
    text = request.headers.get("x-splunk-request-channel") or request.query_params.get("channel")
    if not text:
        return None
    try:
        return str(UUID(text.strip()))
    except ValueError:
        raise _Refused(BAD_CHANNEL) from None


def _read(body: bytes) -> list[tuple[bytes, Said]]:
    """The events of a body, in order; all of them are good or none is taken. Refused with the number of the bad one."""
    found: list[tuple[bytes, Said]] = []
    for number, raw in enumerate(records.objects(body)):
        try:
            one = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise _Refused(BAD_FORMAT, **{"invalid-event-number": number}) from None
        event = bytes(one.get("event", b"")).strip()
        if event in (b"", b"null"):
            raise _Refused(NO_EVENT, **{"invalid-event-number": number})
        if event == b'""':
            raise _Refused(BLANK_EVENT, **{"invalid-event-number": number})
        if len(event) > records.MAX_RECORD_BYTES:
            raise TooLarge(f"event {number} has {len(event)} bytes; the most is {records.MAX_RECORD_BYTES}")
        text = records.text_of(event)
        said = Said(
            _time(_scalar(one.get("time"))),
            _scalar(one.get("host")),
            _scalar(one.get("source")),
            _scalar(one.get("sourcetype")),
        )
        found.append((event if text is None else text, said))
        if len(found) > records.MAX_RECORDS:
            raise TooLarge(f"the body has more than {records.MAX_RECORDS} events: send it in parts")
    return found


def _scalar(raw: msgspec.Raw | None) -> str | None:
    """A text, or a number as text."""
    if raw is None:
        return None
    value = _decode(raw)
    return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) and value != "" else None


def _time(text: str | None) -> str | None:
    """Seconds since 1970, with a fraction or without, or milliseconds as some write them."""
    try:
        seconds = float(text or "")
        if seconds > 1e11:
            seconds /= 1000
        return from_ticks(round(seconds * _TICKS)) if 0 < seconds < 1e11 else None
    except (ValueError, OverflowError):
        return None
