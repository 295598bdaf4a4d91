"""Reads the facts of one tenant from the store, in pages: what is held at once does not grow with its users.

Held for the whole assessment are the holders of directory roles, the users of legacy clients and the policies; each is
bounded, and past its bound the fact is unknown, not wrong.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
import structlog
from msgspec import Struct

from bartizan.errors import Timeout
from bartizan.identity.events import LEGACY
from bartizan.identity.posture.controls.applications import HIGH_PRIVILEGES
from bartizan.identity.posture.facts import (
    GLOBAL_ADMINISTRATOR,
    Policy,
    Role,
    Tenant,
    User,
    Workload,
    at,
    policy_facts,
    user_facts,
    workload_facts,
)
from bartizan.model.times import instant
from bartizan.odata.tree import And, Compare, Expr, In, Kind, Literal, Order, Path
from bartizan.odata.tree import Any as Some
from bartizan.store.draft import DERIVED, inner
from bartizan.store.interface import Query, Stored, TenantStore

PAGE_ROWS = 200
RECENT = 40  # sign-ins of a user that are looked at: a week or more of most people
MAX_POLICIES = 500
MAX_HOLDERS = 20_000  # of directory roles: users, applications and the groups between
MAX_LEGACY = 200_000  # sign-ins by legacy clients that are read
LEGACY_DAYS = 90
FRESH = timedelta(days=30)
WORKLOAD_DAYS = timedelta(days=90)
REPORTS = ("userRegistrationDetails", "credentialUserRegistrationDetails")  # today's, then that of 2019

_log = structlog.get_logger(__name__)
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Row(Struct, frozen=True):
    """A user's facts with what the reports are made from."""

    user: User
    doc: Mapping[str, Any]
    reports: tuple[Mapping[str, Any] | None, ...]  # brought in, by the order of REPORTS
    derived: tuple[bool, ...]  # whether this server made the row that is there
    active: bool


class Gather:
    """The facts of one tenant as of one moment. `open` before the rest."""

    def __init__(self, store: TenantStore, now: datetime) -> None:
        self._store = store
        self._now = now
        self._roles: dict[str, set[Role]] | None = None
        self._legacy: dict[str, dict[str, datetime]] = {}
        self._resources: dict[str, dict[str, str]] = {}
        self._assigned = False
        self.tenant = Tenant(now)

    async def open(self) -> None:
        self._roles = await self._holders()
        whole = await self._read_legacy()
        oldest = await self._page("signIns", 1, order=(_order("createdDateTime"),))
        since = at(oldest[0].get("createdDateTime")) if oldest else None
        fresh = await self._page("signIns", 1, filter=_compare("ge", "createdDateTime", instant(self._now - FRESH)))
        policies = await self._page("policies", MAX_POLICIES + 1)
        self._assigned = bool(await self._page("appRoleAssignments", 1))
        self.tenant = Tenant(
            self._now,
            seen_since=since,
            fresh_sign_ins=bool(fresh),
            reports_activity=await self._reports_activity(),
            legacy_read=whole,
            workloads_since=await self._workloads_since(),
            policies=self._policies(policies),
            global_admins=await self._global_admins(),
        )

    def _policies(self, docs: Sequence[Mapping[str, Any]]) -> tuple[Policy, ...] | None:
        """None where there are none: then nobody has told of policies, or there are so many that some were not read."""
        if len(docs) > MAX_POLICIES:
            _log.warning("posture.cut", what="policies", most=MAX_POLICIES)
        return tuple(map(policy_facts, docs)) if 0 < len(docs) <= MAX_POLICIES else None

    # ------------------------------------------------------------ for the whole tenant

    async def _holders(self) -> dict[str, set[Role]] | None:
        """Ids of those who hold directory roles, directly or through groups."""
        found: dict[str, set[Role]] = defaultdict(set)
        members: dict[str, list[tuple[str, str]]] = {}
        count = 0
        told = False
        async for row in self._rows("directoryRoles"):
            told = True
            doc = _decode(row.wire("beta"))
            role = Role(str(doc.get("roleTemplateId") or row.id), str(doc.get("displayName") or row.id))
            reached, waiting = {row.id}, [row.id]
            while waiting:
                source = waiting.pop()
                if source not in members:
                    members[source] = await self._members(source)
                    count += len(members[source])
                if count > MAX_HOLDERS:
                    _log.warning("posture.cut", what="holders of roles", most=MAX_HOLDERS)
                    return None
                for collection, id in members[source]:
                    if collection == "groups" and id not in reached:
                        waiting.append(id)
                        reached.add(id)
                    elif collection != "groups":
                        found[id].add(role)
        return found if told else None

    async def _members(self, source: str) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        while len(found) <= MAX_HOLDERS:
            page = await self._store.related("members", source, limit=1_000, after=found[-1] if found else None)
            found += page
            if len(page) < 1_000:
                break
        return found

    async def _global_admins(self) -> tuple[tuple[str, str], ...] | None:
        if self._roles is None:
            return None
        ids = [id for id, roles in self._roles.items() if any(r.template == GLOBAL_ADMINISTRATOR for r in roles)]
        found: list[tuple[str, str]] = []
        for id in sorted(ids):
            row = await self._store.get("users", id)
            doc = {} if row is None else _decode(row.wire("beta"))
            if doc and doc.get("accountEnabled") is not False:
                found.append((id, str(doc.get("userPrincipalName") or id)))
        return tuple(found)

    async def _read_legacy(self) -> bool:
        """Successful sign-ins by legacy clients, by user id and name; False where there are more than are read."""
        since = instant(self._now - timedelta(days=LEGACY_DAYS))
        wanted = And(
            (
                In(_path("clientAppUsed"), tuple(Literal(name, "text") for name in sorted(LEGACY))),
                _compare("ge", "createdDateTime", since),
                _compare("eq", "status/errorCode", 0, "int"),
            )
        )
        read = 0
        async for row in self._rows("signIns", filter=wanted, rows=1_000):
            read += 1
            if read > MAX_LEGACY:
                _log.warning("posture.cut", what="sign-ins by legacy clients", most=MAX_LEGACY)
                return False
            doc = _decode(row.wire("beta"))
            when, client = at(doc.get("createdDateTime")), str(doc.get("clientAppUsed"))
            for key in _keys(doc.get("userId"), doc.get("userPrincipalName")):
                used = self._legacy.setdefault(key, {})
                if when is not None and (client not in used or used[client] < when):
                    used[client] = when
        return True

    async def _reports_activity(self) -> bool:
        """At least half of the users have a time of their last sign-in: then its absence means that there was none."""
        try:
            told = await self._store.count("users", Compare("ne", _path("signInActivity"), Literal(None, "null")))
            return told > 0 and await self._store.count("users") <= 2 * told
        except Timeout:
            _log.warning("posture.slow", what="signInActivity of users")
            return False

    async def _workloads_since(self) -> bool:
        before = _compare("le", "createdDateTime", instant(self._now - WORKLOAD_DAYS))
        kind = Compare("eq", Path((), variable="t", kind="text"), Literal("servicePrincipal", "text"))
        types = Some(Path(("signInEventTypes",), collection=True), "t", kind)
        try:
            return bool(await self._page("signIns", 1, filter=And((before, types))))
        except Timeout:
            _log.warning("posture.slow", what="sign-ins of applications")
            return False

    # ------------------------------------------------------------ users

    async def users(self) -> AsyncIterator[list[Row]]:
        """Every user, a page at a time."""
        async for rows in self._pages("users"):
            docs = [_decode(row.wire("beta")) for row in rows]
            reports = [await self._reports(name, [row.id for row in rows]) for name in REPORTS]
            yield [await self._user(doc, [each.get(str(doc["id"])) for each in reports]) for doc in docs]

    async def _reports(self, name: str, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """With their inner state, which says who made them; one read for a page tells which are there at all."""
        page = await self._store.page(name, Query(top=len(ids), ids=tuple(ids), version="beta"))
        found = {}
        for row in page.rows:
            whole = await self._store.get(name, row.id)
            if whole is not None:
                found[row.id] = inner(whole)
        return found

    async def _user(self, doc: Mapping[str, Any], reports: Sequence[Mapping[str, Any] | None]) -> Row:
        derived = tuple(bool(each and each.get(DERIVED)) for each in reports)
        brought = tuple(None if made else each for each, made in zip(reports, derived, strict=True))
        id, name = str(doc["id"]), str(doc.get("userPrincipalName") or "")
        legacy: dict[str, datetime] = {}
        for key in _keys(id, name):
            legacy.update(self._legacy.get(key, {}))
        roles = None if self._roles is None else sorted(self._roles.get(id, ()), key=lambda role: role.name)
        user = user_facts(doc, reports=brought, sign_ins=await self._recent(id, name), roles=roles, legacy=legacy)
        active = user.last is not None and self._now - user.last < FRESH
        return Row(user, doc, brought, derived, active)

    async def _recent(self, id: str, name: str) -> list[dict[str, Any]]:
        """The last successful sign-ins, by the user's id; by name where the provider's ids are other ones."""
        if self.tenant.seen_since is None:
            return []  # a directory came first: nobody's
        found = await self._succeeded(_compare("eq", "userId", id))
        if found or not name:
            return found
        path = Path(("userPrincipalName",), kind="text", fold=True)
        return await self._succeeded(Compare("eq", path, Literal(name.lower(), "text")))

    async def _succeeded(self, of: Compare) -> list[dict[str, Any]]:
        """Of the last sign-ins those that succeeded; all of them are asked for only where that leaves too few."""
        page = await self._page("signIns", RECENT, filter=of)
        found = [each for each in page if (each.get("status") or {}).get("errorCode") == 0]
        if len(page) < RECENT or len(found) == len(page):
            return found
        return await self._page("signIns", RECENT, filter=And((of, _compare("eq", "status/errorCode", 0, "int"))))

    # ------------------------------------------------------------ applications

    async def workloads(self) -> AsyncIterator[list[Workload]]:
        async for rows in self._pages("servicePrincipals"):
            yield [await self._workload(_decode(row.wire("beta"))) for row in rows]

    async def _workload(self, doc: Mapping[str, Any]) -> Workload:
        last = None
        if doc.get("appId"):
            succeeded = _compare("eq", "status/errorCode", 0, "int")
            used = await self._page("signIns", 1, filter=And((_compare("eq", "appId", str(doc["appId"])), succeeded)))
            last = at(used[0].get("createdDateTime")) if used else None
        granted = await self._granted(str(doc["id"])) if self._assigned else None
        return workload_facts(doc, granted=granted, last=last)

    async def _granted(self, id: str) -> list[tuple[str, str | None]]:
        """Application permissions by name, and when each was given; by their id where nobody told the name."""
        found = []
        async for row in self._rows("appRoleAssignments", filter=_compare("eq", "principalId", id)):
            doc = _decode(row.wire("beta"))
            role = str(doc.get("appRoleId") or "").lower()
            names = await self._app_roles(str(doc.get("resourceId") or ""))
            found.append((names.get(role) or HIGH_PRIVILEGES.get(role) or role, doc.get("createdDateTime")))
        return found

    async def _app_roles(self, resource: str) -> dict[str, str]:
        if resource not in self._resources:
            row = await self._store.get("servicePrincipals", resource) if resource else None
            roles = [] if row is None else _decode(row.wire("beta")).get("appRoles") or []
            if len(self._resources) >= 1_000:  # resources that are asked for again are few
                self._resources.clear()
            self._resources[resource] = {str(e.get("id")).lower(): str(e["value"]) for e in roles if e.get("value")}
        return self._resources[resource]

    # ------------------------------------------------------------ pages

    async def _page(
        self, collection: str, top: int, *, filter: Expr | None = None, order: tuple[Order, ...] = ()
    ) -> list[dict[str, Any]]:
        page = await self._store.page(collection, Query(top=top, filter=filter, order=order, version="beta"))
        return [_decode(row.wire("beta")) for row in page.rows]

    async def _pages(
        self, collection: str, *, filter: Expr | None = None, rows: int = PAGE_ROWS
    ) -> AsyncIterator[list[Stored]]:
        after = None
        while True:
            page = await self._store.page(collection, Query(top=rows, filter=filter, after=after, version="beta"))
            if page.rows:
                yield page.rows
            if not page.more:
                return
            after = page.last

    async def _rows(
        self, collection: str, *, filter: Expr | None = None, rows: int = PAGE_ROWS
    ) -> AsyncIterator[Stored]:
        async for page in self._pages(collection, filter=filter, rows=rows):
            for row in page:
                yield row


def _keys(*values: object) -> Iterable[str]:
    return {str(value).lower() for value in values if value}


def _path(names: str, kind: Kind | None = None) -> Path:
    return Path(tuple(names.split("/")), kind=kind)


def _compare(op: Any, path: str, value: str | int, kind: Kind | None = None) -> Compare:
    kind = kind or ("instant" if path.endswith("DateTime") else "text")
    return Compare(op, _path(path, kind), Literal(value, kind))


def _order(path: str) -> Order:
    return Order(_path(path, "instant"))
