"""Federated reads of alerts: what is stored here, together with what connected systems say at this moment.

A connection that an operator has told to `federate` is asked live, for an application that was given consent to it
(`bartizan consent add APP --provider CONNECTION`), unless `security/providerTenantSettings` switches the provider off.
All are asked at once, each within a limit. What they give is read by the ordinary sources, gets the id that it would
have if it were stored, and is not stored; what is stored under that id is answered as it is stored.

- A list is one order over both, in each of its pages: `$top` counts across providers. A nextLink carries the place in
  that order, and each page asks the providers again for what lies behind it: what is stored comes exactly once, and so
  does a live alert that is neither stored nor changed between two pages. A list that began without live alerts goes on
  without them.
- A provider is asked for so many of its newest alerts as the page may need, or MAX_LIVE where filter or order are
  not by time of creation. By time, newest first, a page ends before the oldest that such a provider gave, and goes on
  behind nextLink; where that does not help (another order, $count, $skip, too many of one instant) and older ones might
  belong to the answer, the provider is listed with 413: narrow by createdDateTime.
- Whoever failed is listed in `Warning`, and the answer is 206: `199 - "Vendor/Provider/Status/Milliseconds"`. 504 is no
  answer in time, 403 no consent or credentials that do not suffice, 500 an alert that could not be read.
- One alert that is not stored is asked for by its id here or its id there. Found with one is 200, found with none is
  404, with a `Warning` for those that failed.

Source: Microsoft Graph, "Use the Microsoft Graph security API" (federation), "Microsoft Graph Security API error
responses"; RFC 7234, section 5.5 (Warning).
"""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from time import monotonic
from typing import Any, TypeAlias

import msgspec
import structlog
from msgspec import Struct
from msgspec.structs import replace

from bartizan import odata
from bartizan.api.wire import body as bodies
from bartizan.api.wire import query as queries
from bartizan.api.wire.expand import expanded
from bartizan.api.wire.find import both, found, lost, rows_of, rows_page
from bartizan.api.wire.request import Request, Response
from bartizan.api.wire.route import Target
from bartizan.auth.accounts import Accounts
from bartizan.errors import BartizanError, InvalidQuery, NotFound
from bartizan.extend import SOURCES, Context, Resource
from bartizan.extend.connections import Connection, Connections, kind_of
from bartizan.extend.connectors import Away, Connector, ConnectorError, Denied, Pulled, Read, Rejected, fault
from bartizan.ingest import records
from bartizan.ingest.made import complete, normalised
from bartizan.model import faces
from bartizan.model.times import instant
from bartizan.odata.tree import Compare, Kind, Literal, Order, Path
from bartizan.store.alerts import ALERTS, ALERTS_V2, Face
from bartizan.store.draft import draft
from bartizan.store.interface import Collection, Page, Query, Stored
from bartizan.store.plan import conjuncts
from bartizan.store.tx import Fill

MAX_LIVE = 1_000  # alerts that one provider is asked for
MORE_LIVE = 50  # than the page needs: some are stored, or have been shown
MAX_SKIP = 1_000  # rows of both kinds that are passed over; nextLink goes further
LOOK_S = 5.0  # for so long the connections of a tenant are known, in each process
MAX_PLACES = 10_000  # live alerts whose provider is remembered for a read of one
MAX_LISTED = 50  # providers in Warning
_OURS = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")  # model.ids.stable_id
_ODD = re.compile(r"[^\x20-\x7e]|[\"\\/,]")

Rows: TypeAlias = list[tuple[Mapping[str, Any], Stored]]  # each with what it is sorted by
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_log = structlog.get_logger(__name__)


class Live(Struct, frozen=True):
    """An alert as a provider has it now: what it is filtered by, and the document that it would be."""

    inner: dict[str, Any]
    row: Stored
    own_id: str
    connection: str


class Failed(Struct, frozen=True):
    """One entry of Warning."""

    vendor: str
    provider: str
    status: int
    ms: int = 0

    def __str__(self) -> str:
        vendor, provider = (_ODD.sub("_", name) for name in (self.vendor, self.provider))
        return f'199 - "{vendor}/{provider}/{self.status}/{self.ms}"'


class Answer(Struct):
    """Of one provider. `given` are its records, as many as it was asked for where it may have more."""

    live: list[Live] = []
    failed: Failed | None = None
    given: int = 0
    vendor: str = ""
    provider: str = ""
    ms: int = 0

    def oldest(self) -> str:
        """When the oldest alert was made that it gave; "9" where none could be read: nothing is sure then."""
        return min((each.row.created for each in self.live), default="9")

    def unsure(self) -> Failed:
        """It has more than was looked at."""
        return Failed(self.vendor, self.provider, 413, self.ms)


class Federation:
    """Of one process."""

    def __init__(
        self,
        connections: Connections,
        *,
        limit_s: float = 10.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._connections = connections
        self._limit_s = limit_s
        self._clock = clock
        self._known: dict[str, tuple[float, tuple[Connection, ...]]] = {}
        self._places: dict[tuple[str, str], tuple[str, str]] = {}

    def off(self, tenant: str) -> bool:
        """Whether it is known that nothing is federated: no more than a look into a table."""
        known = self._known.get(tenant)
        return known is not None and not known[1] and self._clock() < known[0]

    async def providers(self, ctx: Context) -> tuple[Connection, ...]:
        """The connections of the tenant that are to be asked, whoever asks."""
        tenant = ctx.caller.tenant
        known = self._known.get(tenant)
        if known is not None and self._clock() < known[0]:
            return known[1]
        every = [each for each in await self._connections.every(tenant) if each.enabled and each.federate]
        if every:
            off = await _switched_off(ctx)
            every = [each for each in every if _reads(each) and _maker(each.connector) not in off]
        if len(self._known) > MAX_PLACES:
            self._known.clear()
        self._known[tenant] = (self._clock() + LOOK_S, tuple(every))
        return tuple(every)

    async def ask(self, ctx: Context, face: Face, read: Callable[[Connection, Connector], Any]) -> list[Answer]:
        """Every provider at once; `read` gives what it is asked (an awaitable of records)."""
        providers = await self.providers(ctx)
        allowed = await Accounts(ctx.engine).providers(ctx.caller.tenant, ctx.caller.app) if providers else frozenset()
        return list(await asyncio.gather(*(self._one(ctx, face, each, each.id in allowed, read) for each in providers)))

    async def _one(
        self, ctx: Context, face: Face, of: Connection, allowed: bool, read: Callable[[Connection, Connector], Any]
    ) -> Answer:
        kind = kind_of(of.connector)
        answer = Answer(vendor=kind.vendor, provider=kind.product)
        began, status = self._clock(), None
        if not allowed:
            status = 403
        else:
            try:
                async with asyncio.timeout(self._limit_s):
                    connector = await self._connections.live(ctx.caller.tenant, of)
                    pulled = await read(of, connector)
                    answer.given = len(pulled)
                    answer.live, unread = await asyncio.to_thread(_made, ctx, face, of.id, pulled)
                    status = 500 if unread else None
            except TimeoutError:
                status = 504
            except Exception as problem:  # noqa: BLE001 - the edge of the fan-out: one provider hinders no other
                status = _status(problem)
                _log.warning("federation.failed", connection=of.id, status=status, **_told(problem))
        answer.ms = round((self._clock() - began) * 1000)
        if status is not None:
            answer.failed = Failed(kind.vendor, kind.product, status, answer.ms)
        for each in answer.live:
            if len(self._places) >= MAX_PLACES:
                self._places.pop(next(iter(self._places)))
            self._places[ctx.caller.tenant, each.row.id] = (of.id, each.own_id)
        return answer

    def place(self, tenant: str, id: str) -> tuple[str, str] | None:
        """(connection, id there) of an alert that this process has answered lately."""
        return self._places.get((tenant, id))


def _reads(of: Connection) -> bool:
    try:
        return kind_of(of.connector).reads
    except NotFound:
        return False


def _maker(connector: str) -> tuple[str, str]:
    kind = kind_of(connector)
    return kind.vendor.casefold(), kind.product.casefold()


async def _switched_off(ctx: Context) -> set[tuple[str, str]]:
    """(vendor, provider) of the tenant's settings that are not enabled."""
    page = await ctx.store.page("providerTenantSettings", Query(top=1_000, version="beta"))
    rows = [_decode(row.wire("beta")) for row in page.rows]
    return {
        (str(row.get("vendor")).casefold(), str(row.get("provider")).casefold())
        for row in rows
        if row.get("enabled") is False
    }


def _status(problem: Exception) -> int | None:
    """None where it is no failure: 404 of a provider means that the alert is none of its own."""
    if isinstance(problem, Denied):
        return 403
    if isinstance(problem, Away):
        return problem.status or 503
    if isinstance(problem, Rejected):
        return None if problem.status == 404 else problem.status or 500
    return problem.status if isinstance(problem, BartizanError) else 500


def _told(problem: Exception) -> dict[str, str]:
    """For the log: words of ours; of what we do not expect kind and places alone, since its text may hold anything."""
    if isinstance(problem, BartizanError | ConnectorError):
        return {"kind": type(problem).__name__, "detail": problem.message[:500]}
    return fault(problem)


# ---------------------------------------------------------------- alerts as they would be stored


def _made(ctx: Context, face: Face, connection: str, pulled: Sequence[Pulled]) -> tuple[list[Live], int]:
    """And how many records could not be read."""
    received = instant(ctx.clock())
    made: list[Live] = []
    unread = 0
    for one in pulled:
        record = replace(records.record(one.raw), said=one.said)
        digest = sha256(record.raw).hexdigest()
        try:
            items = normalised(SOURCES[one.source].chosen(record), record)
            if one.said is not None:
                complete(items, one.said)
            unread += not items.alerts
            for alert in items.alerts:
                state = faces.provider_faces(alert, ctx.caller.tenant, received, raw_sha256=digest)
                made.append(_live(faces.unmarked(state), face, connection, received))
        except Exception as problem:  # noqa: BLE001 - the edge of a source: told as 500 of its provider
            unread += 1
            _log.debug("federation.record_unread", source=one.source, **_told(problem))
    return made, unread


def _live(state: faces.AlertState, face: Face, connection: str, received: str) -> Live:
    collection = ALERTS_V2 if face == "v2" else ALERTS
    body = faces.today(state) if face == "v2" else faces.of_old(state)
    more = state.v2.get("additionalData") or {}
    created = str(more.get("sourceCreatedDateTime") or state.v2.get("firstActivityDateTime") or received)
    updated = max(state.version or created, created)
    made = draft(collection, body, state.id, state=None)
    seq = int(sha256(made.doc + (made.beta or b"")).hexdigest()[:15], 16)
    fill = Fill(created, updated, seq)
    beta = None if made.beta is None else fill.text(made.beta)
    row = Stored(collection.name, state.id, seq, created, updated, fill.text(made.doc), beta, b"", made.evolvable)
    stamps = {str(collection.created): created, str(collection.updated): updated}
    return Live({**body, **stamps}, row, str(state.v2.get("providerAlertId")), connection)


async def _not_stored(ctx: Context, collection: Collection, answers: Sequence[Answer]) -> list[Live]:
    """Each alert once, its newest version, and none that is stored."""
    every: dict[str, Live] = {}
    for each in (live for answer in answers for live in answer.live):
        other = every.get(each.row.id)
        if other is None or other.row.updated < each.row.updated:
            every[each.row.id] = each
    ids = list(every)
    for start in range(0, len(ids), MAX_LIVE):
        part = tuple(ids[start : start + MAX_LIVE])
        page = await ctx.store.page(collection.name, Query(top=len(part), ids=part, version=ctx.version))
        for row in page.rows:
            del every[row.id]
    return list(every.values())


# ---------------------------------------------------------------- lists


def wanted(ctx: Context, resource: Resource, request: Request) -> Federation | None:
    """Who is to answer this list or object; None where nothing is federated, which costs no more than a look."""
    if resource.federated is None:
        return None
    federation: Federation | None = ctx.parts.get(Federation)
    if federation is None:
        return None
    if "skiptoken" in request.query:
        return federation if queries.is_live(request) else None
    return None if federation.off(ctx.caller.tenant) else federation


async def many(ctx: Context, target: Target, request: Request, federation: Federation) -> Response | None:
    """A page; None where the tenant federates nothing."""
    resource = target.resource
    assert resource is not None and resource.federated is not None
    live_already = queries.is_live(request)
    if not await federation.providers(ctx) and not live_already:
        return None
    asked, after = queries.asked(ctx, request, target, resource)
    if asked.query.top == 0 and not asked.query.count:
        return None
    most = queries.page_size(request)
    top = asked.query.top if most is None else min(asked.query.top, most)
    skip = 0 if after is not None else asked.query.skip
    if skip > MAX_SKIP:
        raise InvalidQuery(f"$skip is {skip}; over live alerts at most {MAX_SKIP} are passed over: follow nextLink.")
    order = total(resource, asked.query.order)
    query = replace(
        asked.query,
        top=skip + top,
        skip=0,
        order=order,
        after=after,
        filter=both(rows_of(ctx, resource), asked.query.filter),
    )
    read = _read(query, order)
    answers, stored = await asyncio.gather(
        federation.ask(ctx, resource.federated, lambda of, connector: connector.read(read)),
        rows_page(ctx, resource, query),
    )
    rows, count = await _merged(ctx, resource, query, answers, stored, order)
    shown, more = rows[skip : query.top], stored.more or len(rows) > query.top
    unsure = [each for each in answers if each.given >= read.top and each.failed is None]
    if unsure and _newest(order) and not query.count:
        shown, unsure = _before(shown, unsure, whole=bool(skip))
        more = True
    failures = [each.failed for each in answers if each.failed is not None] + [each.unsure() for each in unsure]
    on_page = [row for _, row in shown]
    items = bodies.documents(ctx, resource.type, on_page, request, asked.select)
    if asked.expand:
        items = await expanded(ctx, request, resource, on_page, items, asked.expand)
    link = None
    if more and shown:
        place = tuple(_at(shown[-1][0], each.path) for each in order)
        link = queries.next_link(ctx, request, target, asked, place, live=True)
    body = bodies.page(bodies.context(ctx, resource.name, asked.select), items, count, link)
    return bodies.honoured(_partial(Response(200, body), failures), request, most)


async def _merged(
    ctx: Context,
    resource: Resource,
    query: Query,
    answers: Sequence[Answer],
    stored: Page,
    order: tuple[Order, ...],
) -> tuple[Rows, int | None]:
    """All rows at hand behind the place of the query, in order; how many match."""
    live = await _not_stored(ctx, resource.collection, answers)
    if query.filter is not None:
        matches = odata.compile_predicate(query.filter)
        live = [each for each in live if matches(each.inner)]
    count = None if stored.count is None else stored.count + len(live)
    key = odata.sort_key(order)
    if query.after is not None:
        place = key(_object(order, query.after))
        live = [each for each in live if place < key(each.inner)]
    rows: Rows = [(_decode(row.wire(ctx.version)), row) for row in stored.rows]
    rows += [(each.inner, each.row) for each in live]
    rows.sort(key=lambda each: key(each[0]))
    return rows, count


def _before(shown: Rows, unsure: list[Answer], *, whole: bool) -> tuple[Rows, list[Answer]]:
    """The rows that are newer than the oldest of providers which have more; and those of whom that leaves nothing sure.
    With `whole` no row may be left to the next page."""
    horizon = max(each.oldest() for each in unsure)
    sure = [each for each in shown if each[1].created > horizon]
    if len(sure) == len(shown) and shown:
        return shown, []
    return (sure, []) if sure and not whole else (shown, unsure)


@lru_cache(256)
def total(resource: Resource, order: tuple[Order, ...]) -> tuple[Order, ...]:
    """The order made total, as the indexes of the store have it: the set's own order behind what was asked, and the id;
    backwards where the first key runs against its index."""
    collection = resource.collection
    natural = dict(collection.order)
    keys = list(order) or [_order(collection, path, down) for path, down in collection.order]
    named = {"/".join(each.path.names) for each in keys}
    first = keys[0] if keys else None
    backwards = first is not None and first.descending != natural.get("/".join(first.path.names), False)
    for path, down in [*collection.order, ("id", False)]:
        if path not in named:
            keys.append(_order(collection, path, down != backwards))
    return tuple(keys)


def _order(collection: Collection, path: str, descending: bool) -> Order:
    kind: Kind = next((each.kind for each in collection.columns if each.path == path), "text")
    return Order(Path(tuple(path.split("/")), kind=kind), descending)


def _at(item: Mapping[str, Any], path: Path) -> Any:
    value: Any = item
    for name in path.names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value.lower() if path.fold and isinstance(value, str) else value


def _object(order: tuple[Order, ...], place: Sequence[Any]) -> dict[str, Any]:
    """An object that stands at a place of the order."""
    made: dict[str, Any] = {}
    for each, value in zip(order, place, strict=True):
        here = made
        for name in each.path.names[:-1]:
            here = here.setdefault(name, {})
        here[each.path.names[-1]] = value
    return made


# ---------------------------------------------------------------- what a provider is asked


def _read(query: Query, order: tuple[Order, ...]) -> Read:
    """Within the times of creation that filter and page leave; so many as the page needs where time alone decides."""
    since, until, other = None, None, False
    for part in conjuncts(query.filter):
        match part:
            case Compare("ge" | "gt", Path(("createdDateTime",), None), Literal(str(at))):
                since = at if since is None else max(since, at)
            case Compare("le" | "lt", Path(("createdDateTime",), None), Literal(str(at))):
                until = at if until is None else min(until, at)
            case _:
                other = True
    newest = _newest(order) and not query.count
    place = query.after[0] if query.after and newest else None
    if isinstance(place, str):
        until = place if until is None else min(until, place)
    return Read(since=since, until=until, top=MAX_LIVE if other or not newest else min(query.top + MORE_LIVE, MAX_LIVE))


def _newest(order: tuple[Order, ...]) -> bool:
    return order[0].path.names == ("createdDateTime",) and order[0].descending


def warning(failures: Sequence[Failed]) -> str:
    listed = [str(each) for each in failures[:MAX_LISTED]]
    if len(failures) > MAX_LISTED:
        listed.append(str(Failed("Bartizan", f"and {len(failures) - MAX_LISTED} more", 500)))
    return ", ".join(listed)


def _partial(response: Response, failures: Sequence[Failed]) -> Response:
    if failures:
        response.status = 206
        response.headers.append((b"warning", warning(failures).encode("latin-1")))
    return response


# ---------------------------------------------------------------- one alert


async def one(ctx: Context, target: Target, request: Request) -> Stored:
    """The row that an object's path names, stored or live. NotFound where nobody has it."""
    try:
        return await found(ctx, target)
    except NotFound:
        resource, key = target.resource, target.key
        if resource is None or resource.federated is None or key is None or key.own or key.name or target.via:
            raise
        federation = wanted(ctx, resource, request)
        if federation is None or not await federation.providers(ctx):
            raise
    answers = await federation.ask(ctx, resource.federated, _reader(federation, ctx.caller.tenant, key.value))
    named = [each for answer in answers for each in answer.live if key.value in (each.row.id, each.own_id)]
    for each in sorted(named, key=lambda each: (each.row.id == key.value, each.row.updated), reverse=True):
        return await ctx.store.get(resource.collection.name, each.row.id) or each.row
    missing = lost(key.value)
    failures = [each.failed for each in answers if each.failed is not None]
    if failures:
        missing.headers = {**missing.headers, "Warning": warning(failures)}
    raise missing


def _reader(federation: Federation, tenant: str, id: str) -> Callable[[Connection, Connector], Any]:
    """By the id there, if it is known; an id of ours is also looked for among the newest."""
    place = federation.place(tenant, id)

    async def read(of: Connection, connector: Connector) -> Sequence[Pulled]:
        if place is not None and place[0] == of.id:
            return await connector.read(Read(id=place[1], top=1))
        try:
            direct = await connector.read(Read(id=id, top=1))
        except Rejected as problem:
            if problem.status not in (400, 404):
                raise
            direct = []
        if direct or _OURS.fullmatch(id) is None:
            return direct
        return await connector.read(Read(top=MAX_LIVE))

    return read
