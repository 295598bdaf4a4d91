"""What a tenant may know of networks now: tables of the installation, its own, its named locations and its indicators.

A view is made when something of it changed, away from the event loop, and is the same object until then. Tables are
held once for all tenants. An indicator counts from the first look after its write; its expiry ends it by the time of
the event, without a new view.

Source: Microsoft Graph beta, resource tiIndicator; Microsoft Graph, resource namedLocation.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from math import inf
from typing import Any
from weakref import WeakKeyDictionary

import structlog
from msgspec import Struct, field

from bartizan.auth.keys import SYSTEM
from bartizan.errors import Gone, Unavailable
from bartizan.intel.formats import marks_of, moment
from bartizan.intel.kept import INDEX, Kept, index_of, load
from bartizan.intel.locations import Location, location
from bartizan.intel.networks import Intel
from bartizan.intel.ranges import span
from bartizan.intel.tables import ALLOWED, Kind, Mark, Marks, Table
from bartizan.odata.tree import Order, Path
from bartizan.store.draft import inner
from bartizan.store.interface import Query, Store, Stored, TenantStore

MAX_TENANTS = 64  # whose views are in memory: some MB each where all addresses are remembered, tables not counted
MAX_INDICATORS = 200_000  # of one tenant
READ = 500  # documents of one read
MAX_CHANGES = 5_000  # more are read as all
TRIES = 5  # to read tables that are being replaced

INDICATORS, LOCATIONS = "tiIndicators", "namedLocations"
# An indicator may be told after what it was seen for: it counts for events of this time before it.
SEEN_BEFORE_S = 30 * 86_400.0
MIN_CONFIDENCE = 25  # of 100; below it an indicator is a rumour. One that says none counts
# Of who talks to us: an address that is only known as a destination says nothing of those who come from it.
_ADDRESSES = "networkIPv4 networkIPv6 networkSourceIPv4 networkSourceIPv6".split()
_BLOCKS = "networkCidrBlock networkSourceCidrBlock".split()
_THREATS = {"proxy": Kind.PROXY, "darknet": Kind.TOR}  # what is no attack by itself
_NATION_STATE = ("nation-state", "nationstate", "nation state")

_log = structlog.get_logger(__name__)
_Indicator = tuple[list[str], Mark]


class _Held(Struct):
    system: bytes | None = None  # the indexes that the view was made of
    own: bytes | None = None
    seq: int = 0  # up to which change
    indicators: dict[str, _Indicator] = field(default_factory=dict)
    locations: dict[str, Location] = field(default_factory=dict)
    told: Marks | None = None  # of the two
    intel: Intel = field(default_factory=Intel)


class _Views:
    """Of one store."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._tables: dict[str, Table] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def of(self, store: Store, tenant: str) -> Intel:
        lock = self._locks.setdefault(tenant, asyncio.Lock())
        async with lock:
            return await self._current(store, tenant)

    async def _current(self, store: Store, tenant: str) -> Intel:
        for _ in range(TRIES):
            head = await store.head()
            system = await store.tenant(SYSTEM).value(INDEX)
            own = await store.tenant(tenant).value(INDEX)
            held = self._held.get(tenant)
            if held is None:
                held = _Held(seq=-1)
            await self._follow(store, tenant, held, head)
            if held.told is not None and (system, own) == (held.system, held.own):
                self._held.move_to_end(tenant)
                return held.intel
            tables = await self._loaded(store, ((tenant, own), (SYSTEM, system)))
            if tables is None:
                continue
            if held.told is None:
                held.told = await asyncio.to_thread(
                    _marks, list(held.indicators.values()), list(held.locations.values())
                )
            held.system, held.own = system, own
            held.intel = await asyncio.to_thread(Intel, [held.told, *tables])
            self._hold(tenant, held)
            return held.intel
        raise Unavailable("tables of network intelligence are being replaced again and again; try later")

    def _hold(self, tenant: str, held: _Held) -> None:
        self._held[tenant] = held
        self._held.move_to_end(tenant)
        while len(self._held) > MAX_TENANTS:
            gone, _ = self._held.popitem(last=False)
            if (lock := self._locks.get(gone)) is not None and not lock.locked():
                del self._locks[gone]
        used = {
            kept.id
            for each in self._held.values()
            for content in (each.system, each.own)
            for kept in index_of(content).tables
        }
        for id in self._tables.keys() - used:
            del self._tables[id]

    # ------------------------------------------------------------ tables

    async def _loaded(self, store: Store, indexes: Iterable[tuple[str, bytes | None]]) -> list[Table] | None:
        """In order of rank: the tenant's own before those of all, the newest first. None where one is gone."""
        found = []
        for tenant, content in indexes:
            for kept in sorted(index_of(content).tables, key=lambda each: -each.imported):
                if not kept.pieces:
                    continue
                table = self._tables.get(kept.id) or await self._load(store, tenant, kept)
                if table is None:
                    return None
                self._tables[kept.id] = table
                found.append(table)
        return found

    async def _load(self, store: Store, tenant: str, kept: Kept) -> Table | None:
        try:
            return await load(store.tenant(tenant), kept)
        except ValueError as error:
            raise Unavailable(f"{kept.kind} of {kept.source}: {error}") from None

    # ------------------------------------------------------------ indicators and named locations

    async def _follow(self, store: Store, tenant: str, held: _Held, head: int) -> None:
        """Reads what changed since the last time."""
        if held.seq == head:
            return
        changed: dict[tuple[str, str], None] = {}
        after, whole = held.seq, held.seq < 0
        while not whole and after < head:
            try:
                found = await store.changes(after, limit=READ, collections=(INDICATORS, LOCATIONS), tenant=tenant)
            except Gone:
                whole = True
                break
            changed.update(((each.collection, each.id), None) for each in found)
            whole = len(changed) > MAX_CHANGES
            after = found[-1].seq if len(found) == READ else head
        if whole:
            held.seq = -1  # what fails half way is begun anew
            held.indicators, held.locations = {}, {}
            for collection in (LOCATIONS, INDICATORS):
                await self._read_all(store.tenant(tenant), collection, held)
        else:
            for collection, id in changed:
                _take(held, collection, id, await store.tenant(tenant).get(collection, id))
        held.seq = max(head, after)
        if whole or changed:
            held.told = None

    async def _read_all(self, store: TenantStore, collection: str, held: _Held) -> None:
        after = None
        while True:
            page = await store.page(
                collection, Query(top=READ, order=(Order(Path(("id",), kind="text")),), after=after, version="beta")
            )
            for row in page.rows:
                _take(held, collection, row.id, row)
            if not page.more:
                return
            after = page.last


def _take(held: _Held, collection: str, id: str, row: Stored | None) -> None:
    if collection == LOCATIONS:
        held.locations.pop(id, None)
        if row is not None and (said := _location(inner(row))) is not None:
            held.locations[id] = said
        return
    held.indicators.pop(id, None)
    if row is not None and (found := indicator(inner(row))) is not None:
        if len(held.indicators) >= MAX_INDICATORS:
            _log.warning("intel.indicators.full", most=MAX_INDICATORS, left_out=id)
        else:
            held.indicators[id] = found


def _location(given: Mapping[str, Any]) -> Location | None:
    """None where it names no addresses (countries, compliant networks)."""
    if not given.get("ipRanges"):
        return None
    try:
        return location({name: given.get(name) for name in ("displayName", "isTrusted", "ipRanges")})
    except ValueError as error:
        _log.warning("intel.location.unread", id=given.get("id"), reason=str(error))
        return None


def indicator(given: Mapping[str, Any]) -> _Indicator | None:
    """Addresses and CIDR blocks of an indicator, and what it says of them; None where it does not count.

    It does not where it is not active, only passive, known for many false alarms, or hardly believed. One whose action
    is allow takes the suspicion that others have.
    """
    where = [str(given[name]) for name in (*_ADDRESSES, *_BLOCKS) if given.get(name)]
    confidence = given.get("confidence")
    if (
        not where
        or given.get("isActive") is False
        or given.get("passiveOnly")
        or str(given.get("knownFalsePositives")).lower() == "high"
        or (isinstance(confidence, int) and 0 < confidence < MIN_CONFIDENCE)
    ):
        return None
    usable = []
    for each in where:
        try:
            span(each)
        except ValueError:
            continue  # the set refuses such; a tenant restored from elsewhere may have one
        usable.append(each)
    added, expires = given.get("ingestedDateTime"), given.get("expirationDateTime")
    since = moment(added) - SEEN_BEFORE_S if added else -inf
    until = moment(expires) if expires else inf
    kinds, label = _said(given)
    return usable, Mark(int(kinds), f"{label}: tiIndicator {given.get('id')}", since, until)


def _said(given: Mapping[str, Any]) -> tuple[int, str]:
    if str(given.get("action")).lower() == "allow":
        return ALLOWED, "allowed"
    threat = str(given.get("threatType")).lower()
    if threat in _THREATS:
        kind = _THREATS[threat]
        return kind, kind.name.lower() if kind.name else threat
    tags = given.get("tags") or []
    if any(str(tag).lower() in _NATION_STATE for tag in tags):
        return Kind.MALICIOUS | Kind.NATION_STATE, "nation-state"
    return Kind.MALICIOUS, "malicious"


def _marks(indicators: list[_Indicator], locations: list[Location]) -> Marks:
    made = marks_of(locations)
    for where, mark in indicators:
        for each in where:
            made.add(span(each), mark)
    return made.finish()


_views: WeakKeyDictionary[Store, _Views] = WeakKeyDictionary()


async def intel_of(store: Store, tenant: str) -> Intel:
    """What the tenant knows now, for questions at the times of events. Ask once for a batch of them: it reads three
    small values to see whether anything changed."""
    views = _views.get(store)
    if views is None:
        views = _views[store] = _Views()
    return await views.of(store, tenant)
