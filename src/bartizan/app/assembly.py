"""The program assembled: store, authority, API and ingestion in one ASGI callable.

`app.processes` starts it; tests run it in their own process.

Source: ASGI 3.0, lifespan protocol 2.0.
"""

import contextlib
import ipaddress
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import import_module
from time import monotonic
from typing import Any
from uuid import uuid4

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import Response as HttpResponse
from starlette.routing import BaseRoute, Route

from bartizan import api, connectors
from bartizan.api.documents.service import Documents
from bartizan.api.wire.federate import Federation
from bartizan.api.wire.graph import Bounds, Graph, Receive, Scope, Send
from bartizan.api.wire.limits import Limit, Limits, SharedBuckets, limits_of
from bartizan.api.wire.meter import Meter
from bartizan.api.wire.request import Request, Response, error
from bartizan.api.wire.route import Router
from bartizan.app.hunt import COMMAND as HUNT
from bartizan.app.logs import Access
from bartizan.app.make import COMMAND
from bartizan.auth import audit, web
from bartizan.auth.authority import COLLECTIONS as AUTHORITY_COLLECTIONS
from bartizan.auth.authority import Authority
from bartizan.auth.caller import Caller
from bartizan.auth.keys import Vault
from bartizan.auth.turns import Turns
from bartizan.connectors.http import http_of
from bartizan.correlate.known import Acquaintance
from bartizan.correlate.write import LINKS
from bartizan.detect.rule import COLLECTIONS as DETECT_COLLECTIONS
from bartizan.detect.rule import QueryCheck
from bartizan.detect.stage import columns_by
from bartizan.errors import BadRequest, BartizanError, MethodNotAllowed, NotFound, Unavailable
from bartizan.extend import RESOURCES, collections, permissions
from bartizan.extend.connections import BROUGHT, CONNECTION_STREAMS, CONNECTIONS, Connections
from bartizan.hunt.beside import Beside
from bartizan.hunt.hunters import Hunters
from bartizan.hunt.hunters import Limits as HuntLimits
from bartizan.hunt.line import Bounds as HuntBounds
from bartizan.hunt.service import Hunting
from bartizan.identity.access.risk import LiveRisk
from bartizan.identity.access.tenant import ConditionalAccess
from bartizan.identity.evaluator import Evaluator
from bartizan.identity.memory import MEMORY
from bartizan.identity.traffic import COUNTS, REQUESTS
from bartizan.ingest.health import SOURCES as INGESTION
from bartizan.ingest.health import Health
from bartizan.ingest.hec import hec_routes
from bartizan.ingest.makers import Makers
from bartizan.ingest.pipeline import MARKS, EventSink, Pipeline
from bartizan.ingest.web import ACCESS as INGEST_ACCESS
from bartizan.ingest.web import Flow, ingest_route
from bartizan.lake import Lake, gauges, open_lake
from bartizan.lake.manifest import Manifest
from bartizan.model.times import instant
from bartizan.respond import queue, tally
from bartizan.respond.addresses import Rules as EndpointRules
from bartizan.respond.dispatch import Dispatch, Rules
from bartizan.respond.files import Allowed, Files
from bartizan.respond.orders import COLLECTIONS as ORDER_COLLECTIONS
from bartizan.respond.outbound import Policy
from bartizan.respond.standing import Standing as Tenancy
from bartizan.respond.subscriptions import COLLECTIONS as RESPOND_COLLECTIONS
from bartizan.respond.subscriptions import Quota, Subscriptions
from bartizan.settings import Settings
from bartizan.store import Collection, Store, open_store
from bartizan.store.alerts import COLLECTIONS as ALERT_COLLECTIONS

EXTERNAL_S = 20.0  # for a file that a query reads

_log = structlog.get_logger(__name__)


def declared() -> tuple[Collection, ...]:
    """Every set of documents of the program, each once: what a store is opened with."""
    api.load()
    every: Iterable[Collection] = (
        *AUTHORITY_COLLECTIONS,
        audit.declared(),
        *ALERT_COLLECTIONS,
        MARKS,
        INGESTION,
        MEMORY,
        REQUESTS,
        COUNTS,
        LINKS,
        *RESPOND_COLLECTIONS,
        CONNECTIONS,
        CONNECTION_STREAMS,
        BROUGHT,
        *ORDER_COLLECTIONS,
        *DETECT_COLLECTIONS,
        *collections(),
    )
    return tuple({each.name: each for each in every}.values())


def store_of(settings: Settings, *, synced: bool = True) -> Store:
    """Not started yet; `synced` as in `store.engine.Limits`."""
    return open_store(settings.store or settings.folder, declared(), read_s=float(settings.query_s), synced=synced)


def fed() -> dict[str, Collection]:
    """The sets of Graph objects, which sources may fill."""
    return {each.name: each for each in declared() if each.type is not None}


def lake_of(settings: Settings) -> Lake:
    """Not started yet; knows the tables that sources fill."""
    import_module("bartizan.sources")
    return open_lake(settings.store or settings.folder)


class App:
    """An ASGI callable. Start it before the first request (its lifespan does), stop it after the last."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        limits: Mapping[str, Limit] | None = None,
        bounds: Bounds | None = None,
        sink: EventSink | None = None,
        access: Access | None = None,
    ) -> None:
        self.settings = settings
        self.store = store
        self._access = access
        self.authority = Authority(settings, store, permissions=permissions, clock=lambda: clock().timestamp())
        self.connections = connections_of(settings, store)
        self.lake = lake_of(settings) if sink is None else None
        self.hunting = None if self.lake is None else hunting_of(settings, store, self.lake)
        self.router = Router(RESOURCES)
        self.documents = Documents(self.router)
        self.meter = Meter()
        self.graph = Graph(
            self.router,
            store,
            self._authenticate,
            settings.base,
            clock=clock,
            limits=_limits(settings, limits or limits_of(settings.rate_limits)),
            bounds=bounds or Bounds(body_bytes=settings.body_bytes, answer_s=float(settings.answer_s)),
            meter=self.meter,
            token_key=self.authority.vault.derive("skiptoken"),
            documents=lambda graph, target, request: self.documents.answer(target, request),
            parts=parts_of(settings, self.connections, self.hunting, clock),
            tell=None if access is None else access.add,
            turns=Turns(share=settings.crowd_percent / 100),
        )
        self.health = Health(store, clock)
        sets = fed()
        self.makers = Makers(COMMAND, sets, most=settings.makers)
        arrived = self.health.arrived
        sink = sink or self.lake
        assert sink is not None
        self.pipeline = Pipeline(store, sink, collections=sets, clock=clock, arrived=arrived, makers=self.makers)
        self._rest = self._starlette()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = scope["path"].lstrip("/")[:5].lower()
            if path.startswith("v1.0") or path.startswith("beta"):
                await self.graph(scope, receive, send)
            else:
                await self._rest(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            raise RuntimeError(f"no {scope['type']} here")

    # ------------------------------------------------------------ life

    async def start(self) -> None:
        await self.store.start()
        if self.lake is not None:
            await self.lake.start()
        await self.authority.start()

    async def stop(self) -> None:
        if self._access is not None:
            self._access.flush()
        await self.makers.close()
        if self.hunting is not None:
            await self.hunting.close()
        await self.health.close()
        await self.connections.close()
        if self.lake is not None:
            await self.lake.close()
        await self.store.close()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["App"]:
        await self.start()
        try:
            yield self
        finally:
            await self.stop()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.start()
        except Exception as problem:  # noqa: BLE001 - told to the server, which ends
            _log.exception("start failed")
            await send({"type": "lifespan.startup.failed", "message": str(problem)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})

    # ------------------------------------------------------------ what is not Graph

    async def _authenticate(self, headers: Mapping[bytes, bytes]) -> Caller:
        sent, host = headers.get(b"authorization"), headers.get(b"host")
        return await self.authority.verifier.authenticate(
            None if sent is None else sent.decode("latin-1"), host=None if host is None else host.decode("latin-1")
        )

    async def _deliverer(self, request: HttpRequest) -> Caller:
        """Of a source token or of a Graph token with the ingestion scope."""
        source, host = request.path_params["source"], request.headers.get("host")
        sent = request.headers.get("authorization")
        return await self.authority.verifier.authenticate_source(sent, source, INGEST_ACCESS, host=host)

    async def _sender(self, request: HttpRequest) -> tuple[Caller, Sequence[str]]:
        """Of a source token, as Splunk's senders give it."""
        return await self.authority.verifier.source_token(request.headers.get("authorization"))

    def _starlette(self) -> Starlette:
        bounds: Any = {
            "turns": self.graph.turns,
            "flow": Flow(self.settings.ingest_in_flight_bytes, self.settings.ingest_tenant_bytes),
            "max_body_bytes": self.settings.ingest_body_bytes,
        }
        own: list[BaseRoute] = [
            ingest_route(self.pipeline, self._deliverer, **bounds),
            *hec_routes(self.pipeline, self._sender, **bounds),
            Route("/healthz", self._health, methods=["GET"]),
            Route("/metrics", self._metrics, methods=["GET"]),
            Route("/openapi", self._openapi, methods=["GET"]),
            Route("/openapi/{name:path}", self._openapi, methods=["GET"]),
        ]
        return Starlette(
            routes=[*own, *web.routes(self.authority)],
            exception_handlers={BartizanError: self._problem, HTTPException: self._problem, Exception: self._problem},
        )

    async def _health(self, request: HttpRequest) -> HttpResponse:
        if not await self.store.ready():
            raise Unavailable("The store does not answer.")
        return HttpResponse("ready\n", media_type="text/plain")

    async def _metrics(self, request: HttpRequest) -> HttpResponse:
        """To this machine only: what is asked for how often is nobody else's concern."""
        client = request.client
        if client is None or not _loopback(client.host):
            raise NotFound("There is nothing here.")
        tenants = await Tenancy(self.authority.accounts).tenants()
        now = instant(self.graph.clock())
        queues = {each: await queue.standing(self.store, each, now) for each in tenants}
        notified = tally.metrics(await tally.last_told(self.store), now)
        told = self.meter.text() + queue.metrics(queues) + notified
        if self.lake is not None:
            told += gauges.metrics(await gauges.held(self.lake, Manifest(self.lake, self.settings.lake_path)))
        return HttpResponse(told, media_type=self.meter.kind)

    async def _openapi(self, request: HttpRequest) -> HttpResponse:
        if request.url.path == "/openapi":  # relative addresses of the page need the slash
            return HttpResponse(status_code=307, headers={"location": "/openapi/"})
        return _http(self.documents.served(request.url.path))

    async def _problem(self, request: HttpRequest, problem: Exception) -> HttpResponse:
        """Outside Graph errors have its envelope too."""
        if isinstance(problem, HTTPException):
            problem = _of_starlette(problem)
        elif not isinstance(problem, BartizanError):
            _log.error("request failed", path=request.url.path[:500], exc_info=problem)
            problem = BartizanError("An internal error has occurred; the log has it under the request-id.")
        id = str(uuid4())
        inner = Request("", "", "", {}, b"", base="", id=id, client_id=id, ip=None)
        return _http(error(inner, problem, self.graph.clock()))


def _of_starlette(problem: HTTPException) -> BartizanError:
    headers = dict(problem.headers or {})
    if problem.status_code == 405:
        return MethodNotAllowed("This method is not served here.", headers=headers)
    if problem.status_code == 404:
        return NotFound("There is nothing here: the API is under /v1.0 and /beta, its reference at /openapi/.")
    return BadRequest(str(problem.detail), headers=headers)


def _http(response: Response) -> HttpResponse:
    headers = {name.decode(): value.decode("latin-1") for name, value in response.headers}
    return HttpResponse(response.body, response.status, headers=headers, media_type=response.kind.decode())


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _limits(settings: Settings, limits: Mapping[str, Limit]) -> Limits | None:
    """Held by all API processes of the group together."""
    if not limits:
        return None
    if settings.processes == 1:
        return Limits(limits, monotonic)
    settings.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Limits(limits, monotonic, SharedBuckets(settings.folder / "rate-limits"))


def connections_of(settings: Settings, store: Store) -> Connections:
    """Opens none yet."""
    connectors.load()
    return Connections(store, Vault.open(settings), http_of, over_api=settings.connections_over_api)


def hunting_of(settings: Settings, store: Store, lake: Lake) -> Hunting:
    """Searches what is in the lake's files, and what stands beside them in the store."""
    limits = HuntLimits(
        HuntBounds(float(settings.hunt_s), settings.hunt_rows, settings.hunt_mb * 2**20),
        settings.hunt_memory_mb,
        settings.hunt_threads,
        settings.hunts_per_tenant,
        settings.hunts,
    )
    beside = Beside(store, files_of(settings))
    return Hunting(Hunters(HUNT, limits, beside.lend), Manifest(lake, settings.lake_path), beside)


def files_of(settings: Settings) -> Files:
    """What queries may read at the addresses that are allowed."""
    rules = EndpointRules(allow_private=settings.allow_private_externaldata)
    return Files(
        Policy(rules),
        Allowed(settings.externaldata_allowed),
        most_bytes=settings.externaldata_mb * 2**20,
        limit_s=EXTERNAL_S,
    )


def parts_of(
    settings: Settings,
    connections: Connections,
    hunting: Hunting | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> dict[type, Any]:
    """What other rooms lend to areas of the API."""
    evaluator = Evaluator()
    quota = Quota(settings.subscriptions_per_app, settings.subscriptions_per_tenant)
    return {
        Subscriptions: Subscriptions(policy_of(settings), quota),
        Connections: connections,
        Dispatch: Dispatch(connections, rules_of(settings)),
        Acquaintance: Acquaintance(),
        **({} if hunting is None else {Hunting: hunting, QueryCheck: QueryCheck(columns_by(hunting, clock))}),
        Evaluator: evaluator,
        ConditionalAccess: ConditionalAccess(LiveRisk(evaluator)),
        Federation: Federation(connections, limit_s=float(settings.federation_s)),
    }


def rules_of(settings: Settings) -> Rules:
    """How actions against threats are treated."""
    return Rules.of(
        settings.approve_actions,
        limit_s=float(settings.action_limit_s),
        approval_s=float(settings.action_approval_s),
        wait_s=float(settings.action_wait_s),
    )


def policy_of(settings: Settings) -> Policy:
    """Which endpoints may be notified."""
    rules = EndpointRules(allow_private=settings.allow_private_notifications, networks=settings.notification_networks)
    return Policy(rules, ca_file=settings.notification_ca_file)


def build(
    settings: Settings,
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    limits: Mapping[str, Limit] | None = None,
    bounds: Bounds | None = None,
    sink: EventSink | None = None,
    access: Access | None = None,
) -> App:
    """The program of one process over its store; nothing is opened before `start`."""
    return App(settings, store_of(settings), clock=clock, limits=limits, bounds=bounds, sink=sink, access=access)
