"""The stage that writes the directory to the lake again and again: users as rows of IdentityInfo, so that a hunt over a
few days finds all of them, and the graph of objects and of what alerts name.

A snapshot that is cut off is not shown, and made anew when the stage starts again. Every part of it is bounded; what
does not fit is said in the log.

Source: Microsoft Defender XDR, table IdentityInfo; Microsoft Security Exposure Management, "Schemas and operators".
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import msgspec
import structlog
from msgspec import Struct

from bartizan.lake import graph_rows as graph
from bartizan.lake.buffer import Lake
from bartizan.lake.graph_rows import Node
from bartizan.lake.identity_rows import user_rows
from bartizan.lake.rows import TableRow
from bartizan.model.times import instant
from bartizan.odata.tree import Compare, Literal, Order, Path
from bartizan.store.follow import PASSING
from bartizan.store.interface import Query, Store, TenantStore, Tx

EVERY: Mapping[str, timedelta] = {"IdentityInfo": timedelta(hours=24), "ExposureGraph": timedelta(hours=6)}
YOUNG = timedelta(minutes=5)  # from the first that has rows to the next: a directory comes bit by bit
PLACE = "snapshots"  # of a tenant: what was made last
ACTOR = "snapshots"
LOOK_S = 60.0  # between two looks at what is due
PAGE = 500  # objects that are read, and rows that are appended, at a time
MOST_OBJECTS = 200_000  # of one set
MOST_OF_ONE = 10_000  # edges from one object
MOST_ALERTS = 5_000  # the newest
ALERT_DAYS = timedelta(days=30)

log = structlog.get_logger(__name__)

Tenants = Callable[[], Awaitable[Iterable[str]]]


class _Made(Struct):
    """The last snapshot: when it was made, with how many rows, and when the first was that had any."""

    at: float = 0.0
    rows: int = 0
    first: float | None = None

    def due(self, every: timedelta, now: float) -> bool:
        """Half as often each time, until it is as often as it is to be. A tenant without anything is looked at again
        in every round."""
        if not self.rows or self.first is None:
            return True
        return now - self.at >= min(every.total_seconds(), max(YOUNG.total_seconds(), self.at - self.first))


class SnapshotStage:
    """One at a time, under a lease."""

    def __init__(
        self,
        store: Store,
        lake: Lake,
        tenants: Tenants,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._lake = lake
        self._tenants = tenants
        self._clock = clock

    async def run(self) -> None:
        """Until cancelled. Waits out what passes; other errors are raised."""
        while True:
            for tenant in await self._tenants():
                try:
                    await self.round(tenant)
                except PASSING as error:
                    log.warning("stage.waits", stage=ACTOR, tenant=tenant, error=error.message)
            await asyncio.sleep(LOOK_S)

    async def round(self, tenant: str) -> list[str]:
        """Makes what is due; which that were."""
        store, now = self._store.tenant(tenant), self._clock()
        kept = await store.value(PLACE)
        done: dict[str, _Made] = {} if kept is None else msgspec.json.decode(kept, type=dict[str, _Made])
        due = [name for name, every in EVERY.items() if done.get(name, _Made()).due(every, now.timestamp())]
        made: list[str] = []
        for name in due:
            began, before = time.monotonic(), done.get(name, _Made())
            empty = before.rows == 0
            rows = await (self._identities(store, now) if name == "IdentityInfo" else self._graph(store, now, empty))
            if rows == 0 and empty:
                continue
            first = before.first if before.first is not None or not rows else now.timestamp()
            done[name] = _Made(now.timestamp(), rows, first)
            await store.write(partial(_keep, done=msgspec.json.encode(done)), actor=ACTOR)
            log.info("snapshot", tenant=tenant, of=name, rows=rows, seconds=round(time.monotonic() - began, 1))
            made.append(name)
        return made

    async def _identities(self, store: TenantStore, now: datetime) -> int:
        count, at, around = 0, instant(now), await _Around.read(store)
        async for users in _pages(store, "users"):
            rows: list[TableRow] = []
            for each in users:
                rows += user_rows(each, store.tenant, at, await around.of(str(each["id"])))
            await self._lake.append(store.tenant, rows)
            count += len(rows)
        return count

    async def _graph(self, store: TenantStore, now: datetime, empty: bool) -> int:
        made = _Graph(self._lake, store, int(now.timestamp() * 1_000))
        await made.objects()
        await made.relations()
        await made.grants()
        await made.alerts(now)
        return await made.end(marked=not empty)


def _keep(tx: Tx, done: bytes) -> None:
    tx.set_value(PLACE, done)


class _Around:
    """What else is known of a user: groups and roles, manager, risk, whether a second factor is registered."""

    def __init__(self, store: TenantStore, sets: Mapping[str, Mapping[str, dict[str, Any]]]) -> None:
        self._store = store
        self._sets = sets

    @classmethod
    async def read(cls, store: TenantStore) -> "_Around":
        sets: dict[str, dict[str, dict[str, Any]]] = {}
        for collection, names in _AROUND.items():
            of = sets[collection] = {}
            async for page in _pages(store, collection):
                of |= {str(each["id"]): {name: each.get(name) for name in names} for each in page}
        return cls(store, sets)

    async def of(self, user: str) -> dict[str, Any]:
        sources = await self._store.relating("members", "users", user, limit=MOST_OF_ONE)
        named = {
            each: [self._sets[each][id]["displayName"] for id in sources if id in self._sets[each]] for each in _IN
        }
        manager = next((id for _, id in await self._store.related("manager", user, limit=1)), None)
        risk = self._sets["riskyUsers"].get(user, {})
        second = self._sets["userRegistrationDetails"].get(user, {}).get("isMfaRegistered")
        return {
            "GroupMembership": named["groups"],
            "AssignedRoles": named["directoryRoles"],
            "Manager": self._sets["users"].get(manager or "", {}).get("userPrincipalName") or manager,
            "RiskLevel": risk.get("riskLevel"),
            "RiskState": risk.get("riskState"),
            "RiskLevelDetails": risk.get("riskDetail"),
            "IsMFARegistered": second,
        }


_IN = ("groups", "directoryRoles")
_AROUND: Mapping[str, Sequence[str]] = {
    "groups": ("displayName",),
    "directoryRoles": ("displayName",),
    "users": ("userPrincipalName",),
    "riskyUsers": ("riskLevel", "riskState", "riskDetail"),
    "userRegistrationDetails": ("isMfaRegistered",),
}


class _Graph:
    """A snapshot on its way into the lake."""

    def __init__(self, lake: Lake, store: TenantStore, number: int) -> None:
        self._lake = lake
        self._store = store
        self._number = number
        self._nodes: dict[str, Node] = {}  # by id of the object: ids of the directory are of one set each
        self._named: dict[tuple[str, str], Node] = {}  # by entity
        self._waiting: list[TableRow] = []
        self._count = 0

    async def objects(self) -> None:
        for collection in graph.KINDS:
            async for page in _pages(self._store, collection):
                for each in page:
                    node, row = graph.object_node(collection, each, self._store.tenant)
                    self._nodes[str(each["id"])] = node
                    for entity in graph.names_of(collection, each):
                        self._named.setdefault(entity, node)
                    await self._put(row)

    async def relations(self) -> None:
        for id, node in [*self._nodes.items()]:
            for relation, (label, back) in graph.RELATIONS.items():
                if relation not in _FROM.get(node.label, ()):
                    continue
                found = await self._store.related(relation, id, limit=MOST_OF_ONE)
                if len(found) == MOST_OF_ONE:
                    log.warning("snapshot.cut", tenant=self._store.tenant, of=id, relation=relation, most=MOST_OF_ONE)
                for _, target in found:
                    other = self._nodes.get(target)
                    if other is not None:
                        await self._put(graph.edge_row(*((other, node) if back else (node, other)), label))

    async def grants(self) -> None:
        for collection, (who, what, label) in graph.GRANTS.items():
            async for page in _pages(self._store, collection):
                for each in page:
                    source, target = self._nodes.get(str(each.get(who))), self._nodes.get(str(each.get(what)))
                    if source is not None and target is not None:
                        said = {name: each[name] for name in ("appRoleId", "scope", "consentType") if each.get(name)}
                        await self._put(graph.edge_row(source, target, label, said))

    async def alerts(self, now: datetime) -> None:
        """The newest, and what each names: objects of the directory where they are that."""
        since = Compare("ge", Path(("createdDateTime",), kind="instant"), Literal(instant(now - ALERT_DAYS), "instant"))
        async for page in _pages(self._store, "alerts_v2", since, newest=True, most=MOST_ALERTS):
            entities = await self._store.entities_of("alerts_v2", [str(each["id"]) for each in page])
            for each in page:
                node, row = graph.alert_node(each, self._store.tenant)
                await self._put(row)
                targets: dict[str, tuple[Node, str]] = {}
                for kind, value, _ in entities.get(str(each["id"]), ()):
                    other = await self._entity(kind, value)
                    if other is not None:
                        targets.setdefault(other.id, (other, graph.entity_label(kind)))
                for other, label in targets.values():
                    await self._put(graph.edge_row(node, other, label))

    async def _entity(self, kind: str, value: str) -> Node | None:
        known = self._named.get((kind, value.lower()))
        made = None if known is not None else graph.entity_node(kind, value, self._store.tenant)
        if made is None:
            return known
        self._named[kind, value.lower()] = made[0]
        await self._put(made[1])
        return made[0]

    async def end(self, *, marked: bool) -> int:
        """A snapshot of nothing is one too where it is `marked`: what was there is gone."""
        await self._flush()
        if self._count or marked:
            await self._lake.append(self._store.tenant, graph.last_rows(self._number))
        return self._count

    async def _put(self, row: TableRow) -> None:
        self._waiting.append(row)
        if len(self._waiting) >= PAGE:
            await self._flush()

    async def _flush(self) -> None:
        if self._waiting:
            await self._lake.append(self._store.tenant, graph.of_snapshot(self._waiting, self._number))
            self._count += len(self._waiting)
            self._waiting = []


_FROM: Mapping[str, Sequence[str]] = {  # label of a node -> relations that lead from it
    "user": ("manager",),
    "group": ("members", "owners"),
    "role": ("members",),
    "serviceprincipal": ("owners",),
    "device": ("registeredOwners", "registeredUsers"),
}


async def _pages(
    store: TenantStore,
    collection: str,
    filter: Any = None,
    *,
    newest: bool = False,
    most: int = MOST_OBJECTS,
) -> AsyncIterator[list[dict[str, Any]]]:
    """Objects in inner form, in order of their ids, or the newest."""
    count, after = 0, None
    order = (Order(Path(("createdDateTime",), kind="instant"), descending=True),) if newest else ()
    while count < most:
        query = Query(top=min(PAGE, most - count), filter=filter, order=order, after=after, version="beta")
        page = await store.page(collection, query)
        if page.rows:
            yield [{**msgspec.json.decode(row.wire("beta")), "id": row.id} for row in page.rows]
        count += len(page.rows)
        after = page.last
        if not page.more:
            return
    log.warning("snapshot.cut", tenant=store.tenant, of=collection, most=most)
