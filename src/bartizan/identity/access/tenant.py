"""Conditional access of each tenant, in memory: its policies compiled, and who is in which groups and roles.

It is renewed by the change feed, which is asked at most every RENEW_S: what is committed counts that long afterwards
at the latest, on every process, while nothing is read where nothing changed. A role that a directory's synchronisation
takes away is not told in the feed: of it counts PRINCIPAL_S. Where the store cannot be read, that is raised: nothing is
decided by what was known before.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from bartizan.errors import Gone, NotServed
from bartizan.identity.access.conditions import Locations, locations_of
from bartizan.identity.access.facts import Principal, device_of, facts_of, guest_of, satisfied_by
from bartizan.identity.access.risk import LiveRisk
from bartizan.identity.access.verdict import Policy, Risk, Verdict, policy_of, verdict
from bartizan.store.draft import inner
from bartizan.store.interface import Query, Store, TenantStore

RENEW_S = 0.25
PRINCIPAL_S = 30.0
MAX_TENANTS = 64  # in memory; the one asked longest ago goes first
MAX_PRINCIPALS = 50_000  # of all tenants together, some 0.5 kB each
MAX_OBJECTS = 2_000  # policies, named locations, roles of a tenant
MAX_CONTAINERS = 5_000  # groups and roles of one principal
MAX_CHANGES = 1_000  # after more, all is read again
PAGE = 500

POLICIES, LOCATIONS = "policies", "namedLocations"
GROUPS, ROLES, USERS, WORKLOADS = "groups", "directoryRoles", "users", "servicePrincipals"
_FOLLOWED = (POLICIES, LOCATIONS, GROUPS, ROLES, USERS, WORKLOADS)
_MEMBERS = "members"


class Known(Struct):
    """What is in memory of one tenant; `seq` is the change up to which it is true."""

    seq: int
    checked: float
    policies: dict[str, Policy]
    places: Locations
    roles: Mapping[str, frozenset[str]]  # id -> what policies may call it
    principals: OrderedDict[str, tuple[Principal, float]]
    names: dict[str, str]  # userPrincipalName in lower case -> id
    above: dict[str, tuple[str, ...]]  # group -> groups and roles that it is in
    epoch: int = 0  # counts what became untrue: who reads meanwhile does not keep it


class Decided(Struct, frozen=True):
    verdict: Verdict
    who: Principal
    risk: Risk


class ConditionalAccess:
    """Of one process."""

    def __init__(self, risk: LiveRisk) -> None:
        self.risk = risk
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._locks: dict[str, asyncio.Lock] = {}

    async def decide(
        self,
        engine: Store,
        tenant: str,
        sign_in: Mapping[str, Any],
        *,
        satisfied: list[str] | None = None,
        action: str | None = None,
        insider: str | None = None,
    ) -> Decided:
        """What the policies say of a sign-in under way (inner form of signIn). Nothing is stored."""
        store = engine.tenant(tenant)
        known = await self.of(engine, tenant)
        who = await self.principal(store, known, sign_in)
        said: Mapping[str, Any] = sign_in.get("deviceDetail") or {}
        device = device_of(said, await _kept(store, said.get("deviceId")))
        met = satisfied_by(sign_in, satisfied, device)
        named = sign_in if sign_in.get("userId") or not who.id else {**sign_in, "userId": who.id}
        risk = await self.risk.of(engine, tenant, named)
        facts = facts_of(sign_in, who, device, risk, action=action, insider=insider)
        return Decided(verdict(known.policies.values(), facts, met), who, risk)

    # ------------------------------------------------------------ what is in memory

    async def of(self, engine: Store, tenant: str) -> Known:
        """As of RENEW_S ago or later."""
        known = self._known.get(tenant)
        if known is None or time.monotonic() - known.checked >= RENEW_S:
            async with self._locks.setdefault(tenant, asyncio.Lock()):
                known = self._known.get(tenant)
                if known is None or time.monotonic() - known.checked >= RENEW_S:
                    known = await self._renewed(engine, tenant, known)
                    self._keep(tenant, known)
        self._known.move_to_end(tenant)
        return known

    def _keep(self, tenant: str, known: Known) -> None:
        self._known[tenant] = known
        self._known.move_to_end(tenant)
        if len(self._known) > MAX_TENANTS:
            gone, _ = self._known.popitem(last=False)
            if not self._locks[gone].locked():
                del self._locks[gone]

    async def _renewed(self, engine: Store, tenant: str, known: Known | None) -> Known:
        began = time.monotonic()
        head = await engine.head()
        if known is None:
            return await _read(engine.tenant(tenant), head, began)
        if head > known.seq:
            try:
                changes = await engine.changes(known.seq, limit=MAX_CHANGES, collections=_FOLLOWED, tenant=tenant)
            except Gone:
                return await _read(engine.tenant(tenant), head, began)
            if len(changes) >= MAX_CHANGES:
                return await _read(engine.tenant(tenant), head, began)
            told = {change.collection for change in changes}
            store = engine.tenant(tenant)
            if told & {LOCATIONS, ROLES}:  # who is in which groups stays known
                fresh = await _read(store, head, began)
                known.policies, known.places, known.roles = fresh.policies, fresh.places, fresh.roles
            elif POLICIES in told:
                ids = {change.id for change in changes if change.collection == POLICIES}
                known.policies = await _changed(store, known, ids)
            if told & {GROUPS, ROLES}:
                _forget(known, None)
            elif told & {USERS, WORKLOADS}:
                _forget(known, {change.id for change in changes})
            known.seq = max(head, changes[-1].seq if changes else 0)
        known.checked = began
        return known

    async def principal(self, store: TenantStore, known: Known, sign_in: Mapping[str, Any]) -> Principal:
        """Who signs in; one whom the directory does not know has the id that the sign-in gives, if any."""
        workload = sign_in.get("servicePrincipalId")
        id, upn = str(workload or sign_in.get("userId") or ""), str(sign_in.get("userPrincipalName") or "").lower()
        held = known.principals.get(id or known.names.get(upn, ""))
        if held is not None and time.monotonic() - held[1] < PRINCIPAL_S:
            return held[0]
        began, epoch = time.monotonic(), known.epoch
        kept = WORKLOADS if workload else USERS
        row = await store.get(kept, id) if id else None
        if row is None and upn and not id:
            row = await store.lookup(USERS, "userPrincipalName", upn)
        if row is None:
            return Principal(id)
        of = inner(row)
        groups, roles = await _containers(store, known, kept, row.id)
        upn = str(of.get("userPrincipalName") or "").lower()
        found = Principal(row.id, True, upn, groups, roles, frozenset() if workload else guest_of(of))
        if epoch == known.epoch:
            known.principals[row.id] = found, began
            known.names.update({upn: row.id} if upn else {})
            self._bound()
        return found

    def _bound(self) -> None:
        """The tenant asked longest ago forgets first."""
        total = sum(len(each.principals) for each in self._known.values())
        for known in self._known.values():
            while total > MAX_PRINCIPALS and known.principals:
                _, (gone, _) = known.principals.popitem(last=False)
                known.names.pop(gone.upn, None)
                total -= 1


def _forget(known: Known, ids: Iterable[str] | None) -> None:
    """Some principals, or all of them and what leads from group to group."""
    known.epoch += 1
    if ids is None:
        known.principals.clear()
        known.names.clear()
        known.above.clear()
        return
    for id in ids:
        gone = known.principals.pop(id, None)
        if gone is not None:
            known.names.pop(gone[0].upn, None)


async def _read(store: TenantStore, head: int, began: float) -> Known:
    places = locations_of(await _objects(store, LOCATIONS))
    policies = {str(row["id"]): policy_of(row, places) for row in await _objects(store, POLICIES)}
    roles = {
        str(row["id"]): frozenset(str(each).lower() for each in (row["id"], row.get("roleTemplateId")) if each)
        for row in await _objects(store, ROLES)
    }
    return Known(head, began, policies, places, roles, OrderedDict(), {}, {})


async def _changed(store: TenantStore, known: Known, ids: Iterable[str]) -> dict[str, Policy]:
    """The policies with those that changed read again, as many as one tenant may have."""
    policies = dict(known.policies)
    for id in ids:
        row = await store.get(POLICIES, id)
        if row is None:
            policies.pop(id, None)
        else:
            policies[id] = policy_of({**inner(row), "id": id}, known.places)
    _bounded(POLICIES, len(policies))
    return policies


def _bounded(collection: str, count: int) -> None:
    """NotServed above MAX_OBJECTS: half of the policies would be a wrong answer."""
    if count > MAX_OBJECTS:
        raise NotServed(f"More than {MAX_OBJECTS} {collection}: conditional access is not evaluated over them.")


async def _objects(store: TenantStore, collection: str) -> list[dict[str, Any]]:
    """All of a set, as beta has them."""
    found: list[dict[str, Any]] = []
    after = None
    while True:
        page = await store.page(collection, Query(PAGE, after=after, version="beta"))
        found += [{**inner(row), "id": row.id} for row in page.rows]
        _bounded(collection, len(found))
        if not page.more:
            return found
        after = page.last


async def _containers(store: TenantStore, known: Known, kept: str, id: str) -> tuple[frozenset[str], frozenset[str]]:
    """Groups (through any number of groups) and roles."""
    epoch = known.epoch
    level = await _above(store, kept, id)
    seen = dict.fromkeys(level)
    while level:
        following: list[str] = []
        for each in level:
            if each in known.roles:
                continue
            above = known.above.get(each)
            if above is None:
                above = await _above(store, GROUPS, each)
                if epoch == known.epoch:
                    known.above[each] = above
            following += [one for one in above if one not in seen]
            seen.update(dict.fromkeys(above))
        if len(seen) > MAX_CONTAINERS:
            raise NotServed(f"'{id[:100]}' is in more than {MAX_CONTAINERS} groups; conditional access reads no more.")
        level = tuple(dict.fromkeys(following))
    roles = frozenset(name for each in seen if each in known.roles for name in known.roles[each])
    groups = await _there(store, [each for each in seen if each not in known.roles])
    return frozenset(each.lower() for each in groups), roles


async def _there(store: TenantStore, ids: list[str]) -> list[str]:
    """Edges from a group outlive it: those that are there still."""
    found: list[str] = []
    for start in range(0, len(ids), PAGE):
        page = await store.page(GROUPS, Query(PAGE, ids=tuple(ids[start : start + PAGE]), version="beta"))
        found += [row.id for row in page.rows]
    return found


async def _above(store: TenantStore, kept: str, id: str) -> tuple[str, ...]:
    found = await store.relating(_MEMBERS, kept, id, limit=MAX_CONTAINERS + 1)
    return tuple(found)


async def _kept(store: TenantStore, device: str | None) -> Mapping[str, Any]:
    """What the directory has of a device."""
    row = await store.lookup("devices", "deviceId", device) if device else None
    return {} if row is None else inner(row)
