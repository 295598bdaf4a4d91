"""Audit queries: what is kept of who did what, asked for once and read page by page.

A query is answered from directoryAudits, from sign-ins and from what arrived as OfficeActivity, each time its records
are read: it has succeeded as soon as it is made, and what arrives late of its time is in it. Records tell no
administrative units.

A token that may read the audit of one service alone reads the records of that one, of whosever query.

Source: Microsoft Graph, resources auditLogQuery and auditLogRecord; auditCoreRoot: List and Create; auditLogQuery: List
records.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from bartizan.api.audit_logs import audits, sign_ins
from bartizan.api.audit_records import (
    AUDIT,
    ENTRA,
    SIGN_IN,
    Record,
    Sought,
    of_audit,
    of_office,
    of_sign_in,
    office_query,
    sought,
)
from bartizan.api.wire.find import EVERY_ROWS
from bartizan.api.wire.made import made
from bartizan.errors import BadRequest, Forbidden, InvalidQuery
from bartizan.extend import Can, Context, Resource, collection, never, resource, scopes
from bartizan.hunt.service import Hunting
from bartizan.model.times import instant, to_datetime
from bartizan.odata import bind, compile_predicate, parse_filter
from bartizan.store.draft import inner
from bartizan.store.interface import Page, Query, Stored

KEEP = timedelta(days=30)  # as Graph keeps what a query found
SPAN = timedelta(days=180)  # before its end, of a query that names no start
MAX_READ = 20_000  # entries of each log that one page looks at; a page with fewer records than asked for leads on
MAX_COUNTED = 50_000  # records that $count counts, fewer where most of what is looked at is none of them
MAX_FILTERS = 200  # of one kind

_TYPE = "microsoft.graph.security.auditLogRecord"
_EVERY = "AuditLogsQuery.Read.All"
_OF_ONE = {  # what lets somebody read the audit of one service -> its workload
    f"AuditLogsQuery-{name}.Read.All": workload
    for name, workload in (
        ("Entra", ENTRA),
        ("CRM", "CRM"),
        ("Endpoint", "Endpoint"),
        ("Exchange", "Exchange"),
        ("OneDrive", "OneDrive"),
        ("SharePoint", "SharePoint"),
    )
}
_READ = " ".join([*_OF_ONE, _EVERY])
_FIXED = never("a query stays as it was made, for 30 days or until it is deleted; make another")

queries = resource(
    "security/auditLog/queries",
    "microsoft.graph.security.auditLogQuery",
    collection=collection(
        "auditLogQueries",
        "microsoft.graph.security.auditLogQuery",
        columns="displayName status filterStartDateTime filterEndDateTime",
        keep=KEEP,
    ),
    can=Can.READ | Can.CREATE | Can.DELETE,
    read=_READ,
    create=scopes(_READ),
    delete=scopes(_READ, role="SecurityOperator"),
    throttle="hunting",
    unserved={"PATCH": _FIXED},
)
_RECORDS = collection("auditLogRecords", _TYPE)

_Place: TypeAlias = tuple[str, str]  # time and id: newest first, then by id


class _Part(Struct):
    """What one log has behind a place: records in order, and how far it was looked at (None: to its end)."""

    records: list[Record]
    until: _Place | None


# ---------------------------------------------------------------- the query


@queries.reshape
def without_empty(item: Any) -> Any:
    """Clients send every property, empty where they ask for nothing; what the server says they send back."""
    if not isinstance(item, dict):
        return item
    old = item.get("serviceFilter")  # as beta called it first
    kept = {name: value for name, value in item.items() if value not in (None, "", []) and name != "serviceFilter"}
    if old and "serviceFilters" not in kept:
        kept["serviceFilters"] = old if isinstance(old, list) else [old]
    return {name: value for name, value in kept.items() if name not in ("id", "status")}


@queries.prepare
def new_query(ctx: Context, given: dict[str, Any]) -> dict[str, Any]:
    for name, value in given.items():
        if isinstance(value, list) and len(value) > MAX_FILTERS:
            raise BadRequest(f"{name}: at most {MAX_FILTERS}; got {len(value)}.")
    if given.get("administrativeUnitIdFilters"):
        raise BadRequest("administrativeUnitIdFilters: records here do not tell units; leave it out.")
    end = given.get("filterEndDateTime") or instant(ctx.clock())
    start = given.get("filterStartDateTime") or _before(end)
    if start >= end:
        raise BadRequest(f"filterStartDateTime is {start}; expected an instant before filterEndDateTime, {end}.")
    may = _services(ctx)
    asked = given.get("serviceFilters")
    if may is not None and asked and not {each.lower() for each in asked} & {each.lower() for each in may}:
        raise Forbidden(f"The token may read the audit of: {', '.join(may)}.")
    told = {"approximateReturnedRecordCount": None, "isRecordCountLimitExceeded": False}
    return {**given, **told, "filterStartDateTime": start, "filterEndDateTime": end, "status": "succeeded"}


def _before(end: str) -> str:
    """The start of a query that names none."""
    try:
        return instant(to_datetime(end) - SPAN)
    except OverflowError:
        return instant(datetime.min.replace(tzinfo=UTC))


def _services(ctx: Context) -> list[str] | None:
    """Workloads whose audit the caller may read; None: all."""
    if _EVERY in ctx.caller.permissions:
        return None
    return [workload for name, workload in _OF_ONE.items() if name in ctx.caller.permissions]


# ---------------------------------------------------------------- its records


async def list_records(ctx: Context, query: Stored, asked: Query) -> Page:
    """Newest first."""
    newest_first = all(key.path.names == ("createdDateTime",) and key.descending for key in asked.order)
    if not newest_first or asked.skip:
        raise InvalidQuery("Records come newest first, page by page: leave out $skip, and $orderby but for that.")
    found = sought(inner(query), _services(ctx))
    if found is None:
        return Page([], False, None, 0 if asked.count else None)
    count = await _count(ctx, found, asked) if asked.count and asked.after is None else None  # of the first page
    if asked.top == 0:
        return Page([], False, None, count)
    after = None if asked.after is None else (str(asked.after[0]), str(asked.after[1]))
    page = await _page(ctx, found, asked, after, asked.top)
    return msgspec.structs.replace(page, count=count)


async def one_record(ctx: Context, query: Stored, id: str) -> Stored | None:
    """By its id, where it is one of the query's."""
    found = sought(inner(query), _services(ctx))
    if found is None:
        return None
    record: Record | None = None
    for of, make in ((audits, of_audit), (sign_ins, of_sign_in)):
        row = None if record is not None else await ctx.store.get(of.collection.name, id)
        if row is not None:
            record = make({**inner(row), "id": row.id}, ctx.caller.tenant)
    if record is None:
        record = next(iter(await _hunted(ctx, found, None, id)), None)
    if record is None or not found.start <= record["createdDateTime"] < found.end or not found.takes(record):
        return None
    return made(ctx, _TYPE, _RECORDS.name, id, record)


queries.navigation("records", _RECORDS, made=(list_records, one_record))


async def _count(ctx: Context, found: Sought, asked: Query) -> int:
    total, after = 0, None
    for _ in range(MAX_COUNTED // EVERY_ROWS):
        page = await _page(ctx, found, asked, after, EVERY_ROWS)
        total += len(page.rows)
        if not page.more or page.last is None:
            return total
        after = (str(page.last[0]), str(page.last[1]))
    raise InvalidQuery(
        f"More than {MAX_COUNTED} records, or than may be looked at for them, are not counted: leave out $count."
    )


async def _page(ctx: Context, found: Sought, asked: Query, after: _Place | None, top: int) -> Page:
    """What all logs have behind a place, as far as each was looked at."""
    parts = await asyncio.gather(*_parts(ctx, found, after, top))
    untils = [part.until for part in parts if part.until is not None]
    far = min(untils, key=_order) if untils else None
    merged = sorted((each for part in parts for each in part.records), key=lambda each: _order(_place(each)))
    near = [each for each in merged if far is None or _order(_place(each)) <= _order(far)]
    matches = None if asked.filter is None else compile_predicate(asked.filter)
    rows: list[Stored] = []
    for at, record in enumerate(near):
        row = made(ctx, _TYPE, _RECORDS.name, str(record["id"]), record)
        if matches is None or matches(msgspec.json.decode(row.doc)):
            rows.append(row)
        if len(rows) == top:
            return Page(rows, at + 1 < len(merged) or far is not None, _place(record))
    return Page(rows, far is not None, far)


def _place(record: Record) -> _Place:
    return str(record["createdDateTime"]), str(record["id"])


def _order(place: _Place) -> tuple[int, str]:
    return -int("".join(filter(str.isdigit, place[0]))), place[1]


def _parts(ctx: Context, found: Sought, after: _Place | None, top: int) -> Iterable[Awaitable[_Part]]:
    if found.of(ENTRA, AUDIT):
        yield _stored(ctx, audits, "activityDateTime", of_audit, found, after, top)
    if found.of(ENTRA, SIGN_IN):
        yield _stored(ctx, sign_ins, "createdDateTime", of_sign_in, found, after, top)
    yield _office(ctx, found, after, top)


async def _stored(
    ctx: Context,
    of: Resource,
    time: str,
    make: Callable[[dict[str, Any], str], Record],
    found: Sought,
    after: _Place | None,
    top: int,
) -> _Part:
    filter = bind(parse_filter(f"{time} ge {found.start} and {time} lt {found.end}"), ctx.edm, of.type)
    tenant, records, read = ctx.caller.tenant, list[Record](), 0
    query = Query(top=min(EVERY_ROWS, top), filter=filter, version=ctx.version, after=after)

    def taken(rows: list[Stored]) -> list[Record]:
        each = (make({**inner(row), "id": row.id}, tenant) for row in rows)
        return [record for record in each if found.takes(record)]

    while True:
        page = await ctx.store.page(of.collection.name, query)
        records += await asyncio.to_thread(taken, page.rows)
        read += len(page.rows)
        if not page.more or page.last is None:
            return _Part(records, None)
        if len(records) >= top or read >= MAX_READ:
            return _Part(records, (str(page.last[0]), str(page.last[-1])))
        query = msgspec.structs.replace(query, after=page.last, top=EVERY_ROWS)


async def _office(ctx: Context, found: Sought, after: _Place | None, top: int) -> _Part:
    records, read = list[Record](), 0
    while True:
        rows = await _hunted(ctx, found, after)
        records += [record for record in rows if found.takes(record)]
        read += len(rows)
        if len(rows) < EVERY_ROWS:
            return _Part(records, None)
        after = _place(rows[-1])
        if len(records) >= top or read >= MAX_READ:
            return _Part(records, after)


async def _hunted(ctx: Context, found: Sought, after: _Place | None, id: str | None = None) -> list[Record]:
    tenant = ctx.caller.tenant
    answer = await ctx.part(Hunting).table(tenant, office_query(found, after, EVERY_ROWS, id), ctx.clock())
    return [of_office(at, each, columns, tenant) for at, each, columns in answer.results]
