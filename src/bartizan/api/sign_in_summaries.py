"""Sums of stored sign-ins: by who, from where, to what, in windows of time; by day; by application.

Made when they are asked for. The sums of windows read each sign-in of the time that is asked about, at most MAX_READ
of them: a filter by `firstSignInDateTime` or `aggregationDateTime` narrows the time, one by a property of the sum with
`eq` narrows what is read. Without, it is the last 30 days, as long as Graph keeps them.

Source: Microsoft Graph beta, auditLogRoot: getSummarizedNonInteractiveSignIns and its two likes; resources
summarizedSignIn, signInEventsActivity and signInEventsAppActivity.
"""

import asyncio
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct

from bartizan.api.audit_logs import sign_ins
from bartizan.api.directory_objects import applications
from bartizan.api.wire.find import both
from bartizan.api.wire.made import made, no_list, paged
from bartizan.errors import BadRequest, InvalidQuery
from bartizan.extend import Answer, Can, Context, collection, never, resource, scopes
from bartizan.extend.resources import OnList
from bartizan.model.edm import Version
from bartizan.model.ids import stable_id
from bartizan.model.times import instant, to_datetime
from bartizan.odata.tree import Any as AnyOf
from bartizan.odata.tree import Compare, Expr, Literal, Order, Path
from bartizan.store.interface import Page, Query, Stored
from bartizan.store.plan import conjuncts

BETA: tuple[Version, ...] = ("beta",)
READ = "AuditLog.Read.All"
KEPT = timedelta(days=30)  # how far back a sum goes where nothing else is asked, as documented
MAX_READ = 100_000  # sign-ins behind one list of sums
MAX_APPS = 1_000  # documented for the sums by application
CHUNK = 1_000
WINDOWS = {"h1": timedelta(hours=1), "h6": timedelta(hours=6), "d1": timedelta(days=1)}
_SUM = "microsoft.graph.summarizedSignIn"
_DAY = "microsoft.graph.signInEventsActivity"
_APP = "microsoft.graph.signInEventsAppActivity"
_FIXED = dict.fromkeys(("POST", "PATCH", "DELETE"), never("it is worked out of sign-ins: tell those"))
_TIME = Path(("createdDateTime",), kind="instant")

root = resource("auditLogs", "microsoft.graph.auditLogRoot", can=Can(0), read=READ, singleton=True, versions=BETA)
_sums = dataclasses.replace(  # of no path of its own: functions make it
    root,
    path="summarizedSignIns",
    type=_SUM,
    collection=collection("summarizedSignIns", _SUM, versions=BETA),
    can=Can.READ,
    singleton=False,
    any_case=frozenset({"userPrincipalName"}),
    default_top=1_000,
    max_top=1_000,
    actions={},
    navigations={},
)


# ---------------------------------------------------------------- sums of windows


class _Sum(Struct):
    """What is asked about, and what was counted."""

    said: dict[str, Any]
    first: str
    count: int = 0


# Properties that make a sum one: sign-ins that differ in one of them are not counted together.
_TOGETHER = (
    "userPrincipalName appId resourceId ipAddress conditionalAccessStatus servicePrincipalId servicePrincipalName"
).split()
_SHOWN = (*_TOGETHER, "appDisplayName", "resourceDisplayName", "status", "managedServiceIdentity", "agent")
_read = msgspec.json.Decoder(dict[str, Any]).decode


def _window(at: str, length: timedelta) -> str:
    """The start of the window that an instant is in; windows begin at midnight UTC."""
    return instant(_floor(to_datetime(at), length))


def _floor(when: datetime, length: timedelta) -> datetime:
    midnight = when.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (when - midnight) // length * length


def _take(sums: dict[tuple[Any, ...], _Sum], rows: Iterable[Stored], length: timedelta) -> None:
    for row in rows:
        body = _read(row.wire("beta"))
        at = str(body["createdDateTime"])
        user = str(body.get("userPrincipalName") or "").lower() or None
        code = (body.get("status") or {}).get("errorCode")
        kind = (body.get("managedServiceIdentity") or {}).get("msiType")
        agent = (body.get("agent") or {}).get("agentType")
        key = (_window(at, length), user, *(body.get(name) for name in _TOGETHER[1:]), code, kind, agent)
        found = sums.get(key)
        if found is None:
            said = {name: body.get(name) for name in _SHOWN}
            found = sums[key] = _Sum({**said, "userPrincipalName": user, "aggregationDateTime": key[0]}, at)
        found.first = min(found.first, at)
        found.count += 1


def _span(filter: Expr | None, now: datetime, length: timedelta) -> tuple[datetime, datetime]:
    """From when until before when sign-ins may count: whole windows, so that no sum is short."""
    lows, highs = list[datetime](), [datetime.max.replace(tzinfo=UTC) - timedelta(days=2)]
    for each in conjuncts(filter):
        match each:
            case Compare(op, Path(("firstSignInDateTime",) | ("aggregationDateTime",)), Literal(str() as value)):
                if op in ("ge", "gt", "eq"):
                    lows.append(to_datetime(value))
                if op in ("le", "lt", "eq"):
                    highs.append(to_datetime(value))
    since, until = max(lows, default=now - KEPT), min(highs)
    last = _floor(until, length)
    return _floor(since, length), last + length


def _pushed(filter: Expr | None) -> Expr | None:
    """What a filter says of properties that are the same of all sign-ins of a sum."""
    alike = [
        each
        for each in conjuncts(filter)
        if isinstance(each, Compare)
        and each.op == "eq"
        and isinstance(each.left, Path)
        and isinstance(each.right, Literal)
        and ("/".join(each.left.names) in _TOGETHER or each.left.names == ("status", "errorCode"))
    ]
    return both(*alike)


def _of_kind(kind: str) -> Expr:
    of = Path((), variable="t", kind="text", fold=True)
    types = Path(("signInEventTypes",), collection=True)
    return AnyOf(types, "t", Compare("eq", of, Literal(kind.lower(), "text")))


async def _summed(ctx: Context, kind: str, length: timedelta, filter: Expr | None) -> list[Stored]:
    since, until = _span(filter, ctx.clock(), length)
    time = (_at("ge", since), _at("lt", until))
    query = Query(CHUNK, both(_of_kind(kind), *time, _pushed(filter)), version="beta")
    sums: dict[tuple[Any, ...], _Sum] = {}
    read = 0
    while True:
        page = await ctx.store.page(sign_ins.collection.name, query)
        read += len(page.rows)
        if read > MAX_READ:
            raise InvalidQuery(
                f"More than {MAX_READ} sign-ins are to be summed; ask for less with $filter, such as "
                "firstSignInDateTime ge ... and firstSignInDateTime lt ..., or appId eq '...'."
            )
        await asyncio.to_thread(_take, sums, page.rows, length)
        if not page.more:
            return await asyncio.to_thread(_rows, ctx, sums)
        query = msgspec.structs.replace(query, after=page.last)


def _at(op: Any, when: datetime) -> Expr:
    return Compare(op, _TIME, Literal(instant(when), "instant"))


def _rows(ctx: Context, sums: Mapping[tuple[Any, ...], _Sum]) -> list[Stored]:
    """The last first."""
    rows = []
    for key, each in sorted(sums.items(), key=lambda item: item[1].first, reverse=True):
        counted = {"firstSignInDateTime": each.first, "signInCount": each.count, "tenantId": ctx.caller.tenant}
        id = stable_id("summarizedSignIn", *(str(part) for part in key))
        rows.append(made(ctx, _SUM, _sums.collection.name, id, {**each.said, **counted}))
    return rows


_NEWEST = Order(Path(("firstSignInDateTime",), kind="instant"), descending=True)


def _sums_of(name: str, kind: str) -> None:
    @root.action(
        name,
        function=True,
        parameters={"aggregationWindow": "Edm.String!"},
        returns=f"Collection({_SUM})",
        access=scopes(READ),
        makes=_sums,
    )
    async def summed(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
        length = WINDOWS.get(str(given["aggregationWindow"]).lower())
        if length is None:
            raise BadRequest(f"aggregationWindow: expected {', '.join(WINDOWS)}; got '{given['aggregationWindow']}'.")

        async def lists(ctx: Context, query: Query) -> Page:
            rows = await _summed(ctx, kind, length, query.filter)
            wanted = query if query.order else msgspec.structs.replace(query, order=(_NEWEST,))
            return await asyncio.to_thread(paged, wanted, rows)

        answer: OnList = lists
        return Answer(200, answer)


_sums_of("getSummarizedNonInteractiveSignIns", "nonInteractiveUser")
_sums_of("getSummarizedServicePrincipalSignIns", "servicePrincipal")
_sums_of("getSummarizedMSISignIns", "managedIdentity")


# ---------------------------------------------------------------- by day, by application

days = resource(
    "auditLogs/signInEventsSummary",
    _DAY,
    can=Can.READ,
    read=READ,
    collection=collection("signInEventsSummary", _DAY, versions=BETA),
    versions=BETA,
    default_top=1_000,
    max_top=1_000,
    unserved=_FIXED,
)


async def _by_day(ctx: Context) -> list[Stored]:
    """Of each of the last 30 days on which somebody signed in, today first."""
    today = _floor(ctx.clock(), timedelta(days=1))
    rows = []
    for back in range(KEPT.days + 1):
        day = today - timedelta(days=back)
        span = both(_at("ge", day), _at("lt", day + timedelta(days=1)))
        count = await ctx.store.count(sign_ins.collection.name, span)
        if count:
            said = {"activityDateTime": instant(day), "signInCount": count}
            rows.append(made(ctx, _DAY, days.collection.name, day.date().isoformat(), said))
    return rows


@days.on_list
async def list_days(ctx: Context, query: Query) -> Page:
    rows = await _by_day(ctx)
    newest = Order(Path(("activityDateTime",), kind="instant"), descending=True)
    return paged(query if query.order else msgspec.structs.replace(query, order=(newest,)), rows)


@days.on_get
async def get_day(ctx: Context, id: str) -> Stored | None:
    return next((row for row in await _by_day(ctx) if row.id == id), None)


apps = resource(
    "auditLogs/signInEventsAppSummary",
    _APP,
    can=Can.READ,
    read=READ,
    collection=collection("signInEventsAppSummary", _APP, versions=BETA),
    versions=BETA,
    default_top=MAX_APPS,
    max_top=MAX_APPS,
    unserved=_FIXED,
)


async def _of_app(ctx: Context, app: str) -> Stored | None:
    """None where nobody has signed in to it for 30 days."""
    same = Compare("eq", Path(("appId",), kind="text"), Literal(app, "text"))
    count = await ctx.store.count(sign_ins.collection.name, both(same, _at("ge", ctx.clock() - KEPT)))
    said = {"appId": app, "signInCount": count, "tenantId": ctx.caller.tenant}
    return made(ctx, _APP, apps.collection.name, app, said) if count else None


async def _apps(ctx: Context) -> Sequence[str]:
    """Every application that a stored sign-in names: one step of an index for each."""
    path, found = Path(("appId",), kind="text"), list[str]()
    by_app = (Order(path),)
    while True:
        behind = Compare("gt", path, Literal(found[-1] if found else "", "text"))
        page = await ctx.store.page(sign_ins.collection.name, Query(1, behind, by_app, version="beta"))
        if not page.rows:
            return found
        found.append(str(_read(page.rows[0].wire("beta"))["appId"]))
        if len(found) > MAX_APPS:
            raise InvalidQuery(
                f"More than {MAX_APPS} applications have sign-ins: ask for one, .../signInEventsAppSummary/ID."
            )


@apps.on_list
async def list_apps(ctx: Context, query: Query) -> Page:
    """Those of most sign-ins first."""
    rows = [row for app in await _apps(ctx) if (row := await _of_app(ctx, app)) is not None]
    most = Order(Path(("signInCount",), kind="int"), descending=True)
    return paged(query if query.order else msgspec.structs.replace(query, order=(most,)), rows)


@apps.on_get
async def get_app(ctx: Context, id: str) -> Stored | None:
    return await _of_app(ctx, id)


async def _registered(ctx: Context, parent: Stored, _: str) -> Stored | None:
    return await ctx.store.lookup(applications.collection.name, "appId", parent.id)


apps.navigation("application", applications, many=False, made=(no_list, _registered), access=applications.read)
