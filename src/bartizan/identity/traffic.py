"""Requests to Microsoft Graph, summed up per principal and hour: from the lake's rows to records that the engine reads.

A stage follows the lake's table behind a place of its own. The sums of hours that go on are rows of an inner set; what
belongs to one step (sums and place of a tenant) is one transaction, so that a crash counts nothing twice. An hour that
is over becomes one record, which identity protection finds in the change feed. What comes later for it is not counted.

Source: Azure Monitor, table MicrosoftGraphActivityLogs; requests of the older Azure AD Graph have the same shape.
"""

import asyncio
import re
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import msgspec
import structlog
from msgspec import Struct

from bartizan.auth.keys import SYSTEM
from bartizan.errors import Conflict, StorageFull, Timeout, Unavailable
from bartizan.identity.events import seconds
from bartizan.lake.buffer import Batch, Lake
from bartizan.lake.readers import passed
from bartizan.model.ids import stable_id
from bartizan.model.times import instant
from bartizan.store.interface import FEED_PLACE, Collection, Column, Draft, Query, Store, TenantStore, Tx

TABLE = "MicrosoftGraphActivityLogs"
HOUR_S = 3_600.0
GRACE_S = 600.0  # after the hour, for records on their way
QUIET_S = 120.0  # without anything more for it: a file of old records comes in parts
KEEP = timedelta(days=4)  # the settled state is two days behind
REQUESTS = Collection(
    name="identityRequests",
    columns=(Column("timeGenerated", "instant"),),
    order=(("timeGenerated", False),),
    keep=KEEP,
)
COUNTS = Collection(
    name="identityRequestCounts", columns=(Column("hour", "int"),), order=(("hour", False),), feed=False, keep=KEEP
)
STEP_ROWS, STEP_BYTES = 5_000, 8 * 2**20  # of the lake that one step takes
CLOSE_AT_ONCE = 200  # hours that are closed in one write
PAUSE_S = 5.0  # after everything was read
MOST_KINDS, MOST_ADDRESSES = 32, 8  # of one hour and principal that are told apart
PLACE = f"{FEED_PLACE}identity/requests"
READER = "requests"  # of the lake's buffer, which waits for it: see `lake.readers`
ACTOR = "identity"

log = structlog.get_logger(__name__)


class Count(Struct):
    """Of one principal in one hour; `last` is the time of the latest request, `touched` when something was added."""

    hour: int  # since 1970
    principal: str
    workload: bool
    last: float = 0.0
    touched: float = 0.0
    requests: int = 0
    denied: int = 0
    kinds: dict[str, int] = {}
    addresses: dict[str, int] = {}
    apps: dict[str, int] = {}


_VERSION = re.compile(r"(v\d+\.\d+|beta|\d{4}-\d{2}-\d{2}|1\.\d+|[0-9a-f-]{36}|myorganization)", re.I)
_MAIL = frozenset({"messages", "mailfolders", "sendmail", "inferenceclassification"})
_FILES = frozenset({"drive", "drives"})


def kind_of(uri: str) -> str:
    """What a request is for: the set that its path begins with; what of a user, where that is mail, files or chats."""
    path = urlsplit(uri).path if "://" in uri else uri.partition("?")[0]
    parts = [part for part in path.split("/") if part]
    while parts and _VERSION.fullmatch(parts[0]):
        del parts[0]
    if not parts:
        return ""
    names = [re.split(r"[(:]", part)[0] for part in parts]
    of = names[2:3] if names[0].lower() == "users" and "(" not in parts[0] else names[1:2]
    inside = of[0].lower() if of and names[0].lower() in ("me", "users") else names[0].lower()
    if inside in _MAIL:
        return "mail"
    if inside in _FILES:
        return "drive"
    return "chats" if inside == "chats" else names[0]


def count(rows: Iterable[Mapping[str, Any]], into: "Counts") -> None:
    """Adds rows of the table to their counts. One without a time or a principal is nobody's doing."""
    for row in rows:
        user, workload = row.get("UserId"), row.get("ServicePrincipalId")
        principal, told = user or workload, row.get("TimeGenerated")
        if not principal or not told:
            continue
        at = seconds(str(told))
        key = int(at // HOUR_S), str(principal)
        of = into.get(key)
        if of is None:
            of = into[key] = Count(key[0], key[1], not user)
        of.last = max(of.last, at)
        of.requests += 1
        of.denied += row.get("ResponseStatusCode") == 403
        _add(of.kinds, kind_of(str(row.get("RequestUri") or "")), MOST_KINDS)
        _add(of.addresses, str(row.get("IPAddress") or ""), MOST_ADDRESSES)
        _add(of.apps, str(row.get("AppId") or ""), MOST_ADDRESSES)


def _add(of: dict[str, int], value: str, most: int, times: int = 1) -> None:
    if value and (value in of or len(of) < most):
        of[value] = of.get(value, 0) + times


def record_of(of: Count) -> dict[str, Any]:
    """As `events.activity` reads it."""

    def usual(values: Mapping[str, int]) -> str:
        return max(values, key=lambda each: (values[each], each), default="")

    return {
        "timeGenerated": _at(of),
        "principalId": of.principal,
        "isWorkload": of.workload,
        "appId": usual(of.apps),
        "ipAddress": usual(of.addresses),
        "requests": of.requests,
        "distinctResourceKinds": len(of.kinds),
        "resourceKinds": sorted(of.kinds, key=lambda each: (-of.kinds[each], each)),
        "denied403": of.denied,
    }


class Place(Struct):
    """How far a tenant is: the number of the last batch that is counted."""

    seq: int = 0


class Whole(Struct):
    """How far all are, and of which tenants hours go on."""

    seq: int = 0
    open: list[str] = []


class TrafficStage:
    """One at a time, under a lease; a second one counts nothing twice."""

    def __init__(self, store: Store, lake: Lake, *, clock: Callable[[], float] = time.time) -> None:
        self._store, self._lake, self._clock = store, lake, clock
        self._passed = 0

    async def run(self) -> None:
        """Until cancelled. Waits out what passes; other errors are raised."""
        while True:
            try:
                taken = await self.step()
            except (StorageFull, Unavailable, Timeout, Conflict) as error:
                log.warning("stage.waits", stage="traffic", error=error.message)
                taken = 0
            if not taken:
                await asyncio.sleep(PAUSE_S)

    async def step(self) -> int:
        """Takes one bounded part of the lake and, where nothing more is there, closes hours that are over; how many
        rows and hours."""
        system = self._store.tenant(SYSTEM)
        kept = await system.value(PLACE)
        whole = Whole() if kept is None else msgspec.json.decode(kept, type=Whole)
        head = await self._lake.head()
        if whole.seq > head:
            log.warning("traffic.lake_was_set_back", position=whole.seq, head=head)
            whole.seq = 0
        found = await self._lake.read_after(whole.seq, limit_rows=STEP_ROWS, limit_bytes=STEP_BYTES, table=TABLE)
        by_tenant: dict[str, list[Batch]] = {}
        for batch in found:
            by_tenant.setdefault(batch.tenant, []).append(batch)
        for tenant, batches in by_tenant.items():
            await self._take(tenant, batches, head)
        whole.seq = found[-1].seq if found else whole.seq
        whole.open = sorted({*whole.open, *by_tenant})
        closed = 0
        if not await self._lake.read_after(whole.seq, limit_rows=1, limit_bytes=1, table=TABLE):
            for tenant in [*whole.open]:
                done, left = await self._close(tenant)
                closed += done
                if not left:
                    whole.open.remove(tenant)
        made = msgspec.json.encode(whole)
        if made != kept:
            await system.write(lambda tx: tx.set_value(PLACE, made), actor=ACTOR)
        # What was there when it began to read, where it has read to the end of it.
        read = whole.seq if found else head
        if read > self._passed:
            await passed(self._lake, READER, read)
            self._passed = read
        return sum(batch.count for batch in found) + closed

    async def _take(self, tenant: str, batches: list[Batch], head: int) -> None:
        store = self._store.tenant(tenant)
        kept = await store.value(PLACE)
        place = Place() if kept is None else msgspec.json.decode(kept, type=Place)
        new = [batch for batch in batches if batch.seq > place.seq or place.seq > head]
        if not new:
            return  # counted before a crash
        added: Counts = {}
        for batch in new:
            count(await asyncio.to_thread(_rows, batch), added)
        known = await _known(store, added)
        touched = self._clock()
        for key, of in added.items():
            _merge(known.setdefault(key, Count(of.hour, of.principal, of.workload)), of, touched)
        drafts = [_draft(COUNTS, _id(of), of, {"hour": of.hour}) for of in known.values()]
        after = msgspec.json.encode(Place(new[-1].seq))

        def work(tx: Tx) -> None:
            if tx.value(PLACE) != kept:
                raise Conflict("the place of the requests has moved: another process is at work")
            for each in drafts:
                tx.put(each)
            tx.set_value(PLACE, after)

        await store.write(work, actor=ACTOR, bulk=True)

    async def _close(self, tenant: str) -> tuple[int, bool]:
        """Makes records of hours that are over; how many, and whether others go on."""
        store, now = self._store.tenant(tenant), self._clock()
        page = await store.page(COUNTS.name, Query(CLOSE_AT_ONCE))
        counts = [msgspec.json.decode(row.doc, type=Count) for row in page.rows]
        over = [of for of in counts if (of.hour + 1) * HOUR_S + GRACE_S <= now and of.touched + QUIET_S <= now]
        if not over:
            return 0, bool(page.rows)
        made = [(_id(of), _draft(REQUESTS, _id(of), record_of(of), {"timeGenerated": _at(of)})) for of in over]

        def work(tx: Tx) -> list[str]:
            late = [id for id, each in made if tx.put(each, unless_exists=True) is None]
            for id, _ in made:
                tx.delete(COUNTS.name, id)
            return late

        late = await store.write(work, actor=ACTOR, bulk=True)
        if late:
            log.warning("traffic.late", tenant=tenant, hours=len(late))  # they were told of without these requests
        return len(over), page.more or len(over) < len(counts)


Counts = dict[tuple[int, str], Count]


def _rows(batch: Batch) -> list[dict[str, Any]]:
    return list(batch.rows())


def _id(of: Count) -> str:
    return stable_id("identityRequests", str(of.hour), of.principal)


def _at(of: Count) -> str:
    return instant(datetime.fromtimestamp(of.last, UTC))


def _draft(collection: Collection, id: str, body: Any, columns: Mapping[str, str | int]) -> Draft:
    return Draft(collection.name, id, msgspec.json.encode(body), columns=columns)


async def _known(store: TenantStore, added: Counts) -> Counts:
    ids = [_id(of) for of in added.values()]
    found: Counts = {}
    for begin in range(0, len(ids), CLOSE_AT_ONCE):
        some = tuple(ids[begin : begin + CLOSE_AT_ONCE])
        for row in (await store.page(COUNTS.name, Query(len(some), ids=some))).rows:
            of = msgspec.json.decode(row.doc, type=Count)
            found[of.hour, of.principal] = of
    return found


def _merge(of: Count, more: Count, touched: float) -> None:
    of.touched, of.last = touched, max(of.last, more.last)
    of.requests, of.denied = of.requests + more.requests, of.denied + more.denied
    for into, values, most in (
        (of.kinds, more.kinds, MOST_KINDS),
        (of.addresses, more.addresses, MOST_ADDRESSES),
        (of.apps, more.apps, MOST_ADDRESSES),
    ):
        for value, times in values.items():
            _add(into, value, most, times)
