"""Indicators as a stage on the feed: what arrives is looked up among them, and a new one looks back at what was there.

Whatever comes of a match has an id of the indicator and of what was seen, so a part of the feed that is read again
changes nothing. Look-ups go to the entity index of the store: a batch of a hundred sightings asks it twice.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import structlog
from msgspec import Struct

from bartizan.detect import indicators, marks
from bartizan.detect.indicators import Hit, Sighting
from bartizan.detect.marks import INDICATORS, Networks, Pair
from bartizan.detect.orders import Ordering, Orders, order
from bartizan.detect.rule import By
from bartizan.detect.sieve import Sieves
from bartizan.errors import BadRequest, BartizanError
from bartizan.model.faces import FOLDED_INTO, provider_faces
from bartizan.model.times import instant
from bartizan.store.alerts import ALERTS_V2, Prepared, mark_alert, prepare, state_of, store_alerts, suppress_alert
from bartizan.store.draft import inner
from bartizan.store.follow import Follower
from bartizan.store.interface import Change, Draft, Query, Store, TenantStore, Tx

ACTOR = "detect.indicators"
SIGN_INS = "signIns"
SEEN_IN = (ALERTS_V2.name, SIGN_INS)
STEP_CHANGES = 500
GATHER_S = 0.5  # once it has caught up: each step is a commit, and others' commits wait less
LOOK_BACK = timedelta(days=14)
MAX_ASKED = 1_000  # pairs of one question to the index
MAX_OF_ONE = 200  # indicators that share one observable
MAX_BACK = 1_000  # newest sightings of one observable and set that a look back takes
ORDERS_S = 2.0  # between two looks at orders that wait
SEEN_BY = "tiIndicatorIds"  # in additionalData of an alert: the indicators that know what it names
MAX_SEEN_BY = 20
MAX_RAISED = 50_000  # that a process remembers
_OWN = f"{indicators.VENDOR} {indicators.PRODUCT}"
_LIFE = ("isActive", "expirationDateTime", "action", "passiveOnly", "knownFalsePositives")

log = structlog.get_logger(__name__)

Tenants = Callable[[], Awaitable[Iterable[str]]]
Place = tuple[str, str]  # collection and id
Entity = tuple[str, str, str]  # kind, value, role
Named = dict[Place, Sequence[Entity]]


class _Made(Struct):
    """What a batch of one tenant brings about."""

    alerts: list[Prepared] = []
    orders: list[Draft] = []
    known: dict[str, list[str]] = {}  # alert -> indicators
    allowed: dict[str, str] = {}  # alert -> the indicator that suppresses it


class IndicatorStage:
    """One process at a time, under a lease."""

    def __init__(
        self,
        store: Store,
        tenants: Tenants,
        ordering: Ordering,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        name: str = "indicators",
    ) -> None:
        self._store = store
        self._tenants = tenants
        self._orders = Orders(store, ordering, clock)
        self._clock = clock
        self._feed = Follower(store, name, (*SEEN_IN, INDICATORS), limit=STEP_CHANGES)
        self._networks: dict[str, Networks] = {}
        self._raised: dict[tuple[str, str], None] = {}  # alerts of events, and of what: not written again
        self.sieves = Sieves(store)

    async def register(self) -> int:
        return await self._feed.register()

    async def run(self) -> None:
        """Until cancelled."""
        self._networks.clear()
        self._raised.clear()
        self.sieves.forget()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._ordering())
            group.create_task(self._feed.run(self.step, gather_s=GATHER_S))

    async def _ordering(self) -> None:
        while True:
            for tenant in await self._tenants():
                try:
                    await self._orders.round(tenant)
                except BartizanError as error:
                    log.warning("stage.waits", stage=ACTOR, tenant=tenant, error=error.message)
            await asyncio.sleep(ORDERS_S)

    async def step(self) -> int:
        """Takes one bounded batch of changes; returns how many, 0 if there were none."""
        part = await self._feed.read()
        by_tenant: dict[str, list[Change]] = {}
        for change in part.changes:
            if change.actor != ACTOR:
                by_tenant.setdefault(change.tenant, []).append(change)
        for tenant, its in by_tenant.items():
            await self._taken(tenant, its)
        return await self._feed.taken(part)

    async def _taken(self, tenant: str, changes: Sequence[Change]) -> None:
        """One thing that cannot be worked on keeps no other from being so: it is stored and shown, only what indicators
        say of it is missing."""
        try:
            await self._take(tenant, changes)
        except (BadRequest, ValueError, KeyError, TypeError) as error:
            if len(changes) == 1:
                what = changes[0]
                log.error("indicators.unreadable", tenant=tenant, set=what.collection, id=what.id, exc_info=error)
                return
            for change in changes:
                await self._taken(tenant, [change])

    # ------------------------------------------------------------ one tenant

    async def _take(self, tenant: str, changes: Sequence[Change]) -> None:
        store = self._store.tenant(tenant)
        told = [change.id for change in changes if change.collection == INDICATORS and begins(change)]
        if any(change.collection == INDICATORS for change in changes):
            self._networks.pop(tenant, None)
        named = await _named(store, [change for change in changes if change.collection in SEEN_IN and _brings(change)])
        asked = await self._asked(store, named)
        wanted = {place for its in asked.values() for place, _ in its}
        hits = await self._hits(store, asked, await _sightings(store, {each: named[each] for each in wanted}))
        hits += await self._back(tenant, told, set(named))
        await self._write(store, hits)

    async def hits(self, tenant: str, sightings: Sequence[Sighting]) -> list[Hit]:
        """What indicators of the tenant that are in force know of these, which are no documents of the store."""
        store = self._store.tenant(tenant)
        by = {(each.collection, each.id): each for each in sightings}
        asked = await self._asked(store, {place: each.asked for place, each in by.items()})
        return await self._hits(store, asked, by)

    async def _asked(self, store: TenantStore, named: Named) -> dict[Pair, list[tuple[Place, Entity]]]:
        """Of which marks that some indicator bears these name something; most things name none, and cost no more."""
        asked: dict[Pair, list[tuple[Place, Entity]]] = {}
        addressed = any(kind == "address" for entities in named.values() for kind, _, _ in entities)
        networks = await self.networks(store.tenant) if addressed else None
        for place, entities in named.items():
            for entity in entities:
                pairs = marks.asked_of(entity)
                if entity[0] == "address" and networks is not None:
                    pairs += networks.holding(entity[1])
                for pair in pairs:
                    asked.setdefault(pair, []).append((place, entity))
        return {pair: asked[pair] for pair in await _there(store, list(asked), (INDICATORS,))}

    async def _hits(
        self,
        store: TenantStore,
        asked: Mapping[Pair, Sequence[tuple[Place, Entity]]],
        by: Mapping[Place, Sighting],
    ) -> list[Hit]:
        known = await self._known(store, asked)
        return _fitting(
            Hit(indicator, pair, entity, by[place])
            for pair, its in known.items()
            for indicator in its
            for place, entity in asked[pair]
            if place in by
        )

    def begun(self, tenant: str, pairs: Iterable[Pair]) -> None:
        """Indicators with these marks are in force from now on: what arrives is matched with them."""
        self.sieves.add(tenant, pairs)
        self._networks.pop(tenant, None)

    async def networks(self, tenant: str) -> Networks:
        """All blocks that indicators name. They are few: an address is looked up in memory."""
        known = self._networks.get(tenant)
        if known is None:
            store = self._store.tenant(tenant)
            texts: list[str] = []
            while page := await store.values(
                "network", collections=(INDICATORS,), after=texts[-1] if texts else "", limit=1_000
            ):
                texts += page
            known = self._networks[tenant] = Networks(texts)
        return known

    async def _known(self, store: TenantStore, pairs: Iterable[Pair]) -> dict[Pair, list[Mapping[str, Any]]]:
        """The indicators in force behind marks that are there."""
        now, ids = instant(self._clock()), dict[Pair, list[str]]()
        for kind, value in pairs:
            rows = await store.entity(kind, value, collection=INDICATORS, limit=MAX_OF_ONE)
            if len(rows) == MAX_OF_ONE:
                log.warning("indicators.many", tenant=store.tenant, kind=kind, value=value, newest=MAX_OF_ONE)
            ids[kind, value] = list(dict.fromkeys(row[1] for row in rows))
        bodies = await bodies_of(store, INDICATORS, [id for each in ids.values() for id in each])
        return {
            pair: [bodies[id] for id in its if id in bodies and indicators.counts(bodies[id], now)]
            for pair, its in ids.items()
        }

    # ------------------------------------------------------------ looking back

    async def _back(self, tenant: str, told: Sequence[str], new: set[tuple[str, str]]) -> list[Hit]:
        """What new indicators know of the last two weeks, beside what is `new` in this batch."""
        if not told:
            return []
        store, since = self._store.tenant(tenant), self._clock() - LOOK_BACK
        borne = await borne_by(store, told)
        self.begun(tenant, (pair for its in borne.values() for pair in its))
        by_entity: dict[Pair, list[tuple[str, Pair]]] = {}
        for id, its in borne.items():
            for pair in its:
                for entity in await self._spellings(store, pair):
                    by_entity.setdefault(entity, []).append((id, pair))
        there = await _there(store, list(by_entity), SEEN_IN)
        wanted = [id for entity in there for id, _ in by_entity[entity]]
        now = instant(self._clock())
        bodies = {
            id: it for id, it in (await bodies_of(store, INDICATORS, wanted)).items() if indicators.counts(it, now)
        }
        hits: list[Hit] = []
        for entity in there:
            its_own = [(bodies[id], pair) for id, pair in by_entity[entity] if id in bodies]
            for sighting in await _before(store, entity, since, new) if its_own else ():
                whole = next((each for each in sighting.entities if each[:2] == entity), (*entity, ""))
                hits += [Hit(body, pair, whole, sighting) for body, pair in its_own]
        return _fitting(hits)

    async def _spellings(self, store: TenantStore, pair: Pair) -> list[Pair]:
        if pair[0] != "network":
            return marks.spellings(pair)
        block, found, after = marks.network(pair[1]), list[Pair](), ""
        if block is None:
            return []
        holding = Networks([pair[1]])
        prefix = marks.prefix_of(block)
        while page := await store.values("address", collections=SEEN_IN, prefix=prefix, after=after, limit=1_000):
            found += [("address", each) for each in page if holding.holding(each)]
            after = page[-1]
        return found

    # ------------------------------------------------------------ writing

    async def raise_of_events(self, tenant: str, hits: Sequence[Hit]) -> None:
        """What comes of events that indicators know. An alert that is there says that it was seen; how often, the lake
        says."""
        fresh = [hit for hit in hits if (indicators.alert_key(hit), hit.entity[1]) not in self._raised]
        await self._write(self._store.tenant(tenant), fresh, again=False)
        if len(self._raised) > MAX_RAISED:
            self._raised.clear()
        self._raised.update(dict.fromkeys((indicators.alert_key(hit), hit.entity[1]) for hit in fresh))

    async def _write(self, store: TenantStore, hits: Sequence[Hit], *, again: bool = True) -> None:
        """With `again` an alert that is there takes what is new."""
        if not hits:
            return
        made = await self._made(store, hits)

        def work(tx: Tx) -> None:
            store_alerts(tx, [each for each in made.alerts if again or tx.get(ALERTS_V2.name, each.id) is None])
            for each in made.orders:
                if tx.value(_placed(each.id)) is None:
                    tx.put(each)
                    tx.set_value(_placed(each.id), b"1")
            for id, its in made.known.items():
                _tell(tx, id, its)
            for id, by in made.allowed.items():
                suppress_alert(tx, id, by)

        await store.write(work, actor=ACTOR, bulk=len(made.alerts) + len(made.known) > 20)

    async def _made(self, store: TenantStore, hits: Sequence[Hit]) -> _Made:
        made, now = _Made(), self._clock()
        groups: dict[str, list[Hit]] = {}
        by_sighting: dict[tuple[str, str], list[Hit]] = {}
        for hit in hits:
            by_sighting.setdefault((hit.sighting.collection, hit.sighting.id), []).append(hit)
        for (collection, id), its in by_sighting.items():
            if collection == ALERTS_V2.name:
                made.known[id] = list(dict.fromkeys(str(hit.indicator["id"]) for hit in its))
                by = indicators.allowed(its[0].sighting, its)
                if by is not None:
                    made.allowed[id] = by
            for hit in indicators.wanted(its):
                groups.setdefault(indicators.alert_key(hit), []).append(hit)
        for group in groups.values():
            alert = prepare(provider_faces(indicators.alert_of(group), store.tenant, instant(now)))
            made.alerts.append(alert)
            made.orders += await self._blocks(store, group, alert.id, instant(now))
        return made

    async def _blocks(self, store: TenantStore, group: Sequence[Hit], alert: str, at: str) -> list[Draft]:
        """One order for each thing that an indicator blocks, however often it is seen."""
        found: dict[str, Draft] = {}
        for hit in (each for each in group if each.action == "block"):
            request = indicators.block_of(hit)
            if request is None:
                log.warning("indicators.no_block", tenant=store.tenant, indicator=hit.indicator["id"], kind=hit.pair[0])
                continue
            id = str(hit.indicator["id"])
            row = await store.get(INDICATORS, id)
            app = str((inner(row) if row is not None else {}).get(marks.OWNER) or ACTOR)
            mark = str(request["parameters"][0]["value"])
            made = order(id, None, mark, request, By(app, "Threat indicators"), at, tell=alert)
            found.setdefault(made.id, made)
        return list(found.values())


def _placed(order: str) -> str:
    return f"indicators/ordered/{order}"


def _tell(tx: Tx, alert: str, by: Sequence[str]) -> None:
    row = tx.get(ALERTS_V2.name, alert)
    if row is None:
        return
    before = list((state_of(row).v2.get("additionalData") or {}).get(SEEN_BY) or [])
    after = list(dict.fromkeys([*before, *by]))[:MAX_SEEN_BY]
    if after != before:
        mark_alert(tx, alert, **{SEEN_BY: after})


def begins(change: Change) -> bool:
    """An indicator that is new, or in force in another way."""
    return change.op == "created" or (change.op == "updated" and any(name in (change.changed or {}) for name in _LIFE))


def _brings(change: Change) -> bool:
    """Something new, or an alert that names more than before."""
    return change.op == "created" or (change.op == "updated" and "evidence" in (change.changed or {}))


def _fitting(hits: Iterable[Hit]) -> list[Hit]:
    """Each indicator once for each thing and sighting."""
    found: dict[tuple[Any, ...], Hit] = {}
    for hit in hits:
        key = (hit.indicator["id"], hit.sighting.collection, hit.sighting.id, *hit.entity[:2])
        if key not in found and indicators.fits(hit):
            found[key] = hit
    return list(found.values())


async def _named(store: TenantStore, changes: Sequence[Change]) -> Named:
    """What things name; of a tenant without indicators, which knows none of it, that is not asked."""
    if not changes or not (await store.page(INDICATORS, Query(top=1, bare=True))).rows:
        return {}
    named: Named = {}
    for collection in SEEN_IN:
        ids = list(dict.fromkeys(change.id for change in changes if change.collection == collection))
        entities = await store.entities_of(collection, ids) if ids else {}
        named |= {(collection, id): its for id, its in entities.items()}
    return named


async def borne_by(store: TenantStore, ids: Sequence[str]) -> dict[str, set[Pair]]:
    """The marks of these indicators."""
    found: dict[str, set[Pair]] = {}
    unique = list(dict.fromkeys(ids))
    for start in range(0, len(unique), MAX_ASKED):
        part = await store.entities_of(INDICATORS, unique[start : start + MAX_ASKED])
        found |= {id: {(kind, value) for kind, value, _ in its if kind in marks.KINDS} for id, its in part.items()}
    return found


async def _there(store: TenantStore, pairs: Sequence[Pair], collections: Sequence[str]) -> list[Pair]:
    """Those of which the index has something."""
    found: list[Pair] = []
    for start in range(0, len(pairs), MAX_ASKED):
        part = pairs[start : start + MAX_ASKED]
        known = await store.there(part, collections=collections)
        found += [pair for pair in part if pair in known]
    return found


async def bodies_of(store: TenantStore, collection: str, ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    unique = list(dict.fromkeys(ids))
    for start in range(0, len(unique), MAX_ASKED):
        part = tuple(unique[start : start + MAX_ASKED])
        page = await store.page(collection, Query(top=len(part), ids=part, version="beta"))
        found |= {row.id: msgspec.json.decode(row.wire("beta")) for row in page.rows}
    return found


async def _sightings(store: TenantStore, named: Mapping[Place, Sequence[Entity]]) -> dict[Place, Sighting]:
    """This server's own alerts of indicators are none, nor are repeats."""
    found: dict[Place, Sighting] = {}
    for collection in SEEN_IN:
        bodies = await bodies_of(store, collection, [id for of, id in named if of == collection])
        for id, body in bodies.items():
            if body.get("productName") != _OWN and not (body.get("additionalData") or {}).get(FOLDED_INTO):
                found[collection, id] = indicators.sighting_of(collection, id, body, named[collection, id])
    return found


async def _before(store: TenantStore, entity: Pair, since: datetime, new: set[Place]) -> list[Sighting]:
    named: Named = {}
    for collection in SEEN_IN:
        rows = await store.entity(*entity, collection=collection, limit=MAX_BACK, since=instant(since))
        if len(rows) == MAX_BACK:
            log.warning("indicators.look_back", tenant=store.tenant, kind=entity[0], value=entity[1], newest=MAX_BACK)
        ids = list(dict.fromkeys(row[1] for row in rows if (collection, row[1]) not in new))
        entities = await store.entities_of(collection, ids) if ids else {}
        named |= {(collection, id): its for id, its in entities.items()}
    return list((await _sightings(store, named)).values())
