"""Hunting: queries in KQL over the events of a tenant, and the tables that they may name.

Source: Microsoft Graph, "security: runHuntingQuery", "getHuntingSchema", "getHuntingSchemaTables",
"getRunHuntingQuery".
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from bartizan.api.wire.note import note
from bartizan.errors import BadRequest
from bartizan.extend import Answer, Can, Context, resource, scopes
from bartizan.hunt.fault import KqlError
from bartizan.hunt.saved import FUNCTIONS, MAX_FUNCTIONS, parameters_of
from bartizan.hunt.service import TOLD_CHARS, Hunting
from bartizan.hunt.timespan import between
from bartizan.lake.tables import TABLES
from bartizan.lake.views import VIEWS
from bartizan.store.draft import inner
from bartizan.store.interface import Query

_SPACE = "microsoft.graph.security"
READ, WRITE = "ThreatHunting.Read.All", "Bartizan.Hunting.ReadWrite.All"  # of hunts, and of what they may name beside
_MAY = scopes(READ)

T = TypeVar("T")

root = resource("security", "microsoft.graph.security", can=Can(0), read=_MAY, singleton=True, throttle="hunting")


async def _hunt(ctx: Context, given: Mapping[str, Any]) -> Answer:
    query, now = given["query"], ctx.clock()
    since, until = between(given["timespan"], now)
    told = {"query": (None, query[:TOLD_CHARS]), "timespan": (None, given["timespan"])}
    await ctx.store.write(
        lambda tx: note(ctx, tx, root, [ctx.request_id], activity="Run hunting query", changed=told),
        actor=ctx.caller.actor,
    )
    running = ctx.part(Hunting).run(ctx.caller.tenant, query, now, since=since, until=until)
    try:
        return Answer(200, await _while_there(running, ctx.gone))
    except KqlError as fault:
        where = f" (line {fault.line}, column {fault.column})" if fault.line else ""
        raise BadRequest(f"{fault.message}{where}.") from None


async def _while_there(running: Awaitable[T], gone: Callable[[], Awaitable[None]] | None) -> T:
    """What is awaited, unless the client goes away first: it is cancelled then."""
    task = asyncio.ensure_future(running)
    watch = None if gone is None else asyncio.ensure_future(gone())
    try:
        await asyncio.wait({task} if watch is None else {task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise BadRequest("The connection was closed before the hunt had ended.")
        return task.result()
    finally:
        for each in (task, watch):
            if each is not None:
                each.cancel()


_PARAMETERS = {"query": "Edm.String!", "timespan": "Edm.String", "workspaceId": "Edm.Guid"}


@root.action(
    "runHuntingQuery",
    parameters=_PARAMETERS,
    returns=f"{_SPACE}.huntingQueryResults",
    access=_MAY,
    namespace=_SPACE,
)
async def run_hunting_query(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
    return await _hunt(ctx, given)


@root.action(
    "getRunHuntingQuery",
    parameters=_PARAMETERS,
    returns=f"{_SPACE}.huntingQueryResults",
    access=_MAY,
    versions=("beta",),
    function=True,
    namespace=_SPACE,
)
async def get_run_hunting_query(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
    return await _hunt(ctx, given)


@root.action(
    "getHuntingSchema",
    returns=f"{_SPACE}.huntingSchemaResult",
    access=_MAY,
    versions=("beta",),
    function=True,
    namespace=_SPACE,
)
async def get_schema(ctx: Context, id: str | None, given: Any) -> Answer:
    page = await ctx.store.page(FUNCTIONS.name, Query(top=MAX_FUNCTIONS, version="beta"))
    functions = {"builtInFunctions": [], "savedFunctions": [_function(inner(row)) for row in page.rows]}
    return Answer(200, {"tables": _tables(), "functions": functions})


def _function(saved: Mapping[str, Any]) -> dict[str, Any]:
    told = ("createdBy", "description", "lastModifiedBy", "lastModifiedDateTime", "name")
    parameters = [
        {"name": each.name, "cslType": each.type, "defaultValue": each.default} for each in parameters_of(saved)
    ]
    return {**{name: saved.get(name) for name in told}, "inputParameters": parameters}


@root.action(
    "getHuntingSchemaTables",
    parameters={"workspaceId": "Edm.Guid"},
    returns=f"Collection({_SPACE}.huntingSchemaTable)",
    access=_MAY,
    versions=("beta",),
    function=True,
    namespace=_SPACE,
)
async def get_tables(ctx: Context, id: str | None, given: Any) -> Answer:
    return Answer(200, _tables())


def _tables() -> list[dict[str, Any]]:
    shown = {name: dict(table.columns) for name, table in TABLES.items()}
    for name, view in VIEWS.items():
        of = TABLES[view.of]
        shown[name] = {column: of.columns[stored] for column, stored in view.columns(of).items()}
    return [
        {"name": name, "columns": [{"name": each, "dataType": kind} for each, kind in shown[name].items()]}
        for name in sorted(shown)
    ]
