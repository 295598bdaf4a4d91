"""Functions and views that a tenant has saved for its queries.

Source: Kusto Query Language, "Stored functions", "View statement"; Azure Monitor, "Functions in Azure Monitor log
queries".
"""

import re
from collections.abc import Mapping
from typing import Any, get_args

from msgspec import Struct

from bartizan.errors import BadRequest
from bartizan.extend.resources import collection
from bartizan.hunt import tree
from bartizan.hunt.fault import KqlError
from bartizan.hunt.parser import parse
from bartizan.lake.tables import TABLES
from bartizan.lake.views import VIEWS
from bartizan.store.draft import inner
from bartizan.store.interface import Query, TenantStore

FUNCTIONS = collection(
    "huntingFunctions",
    "microsoft.graph.security.huntingFunction",
    columns="createdDateTime lastModifiedDateTime isView",
    unique="name",
    order="createdDateTime desc",
    created="createdDateTime",
    updated="lastModifiedDateTime",
    versions=("beta",),
)
MAX_FUNCTIONS = 200  # of a tenant: each hunt is told all of them
MAX_BODY_CHARS = 32_768
MAX_PARAMETERS_CHARS = 4_096
MAX_CHARS = 2**20  # of all of a tenant
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_OPEN = "a table of any columns"


class Named(Struct, frozen=True):
    """As a catalogue has them, by name."""

    functions: dict[str, str] = {}
    views: dict[str, str] = {}


def text_of(given: Mapping[str, Any]) -> str:
    """A function as a catalogue has it."""
    return f"{str(given.get('parameters') or '()').strip()} {{\n{given.get('body') or ''}\n}}"


async def named(store: TenantStore) -> Named:
    page = await store.page(FUNCTIONS.name, Query(top=MAX_FUNCTIONS, version="beta"))
    return of(inner(row) for row in page.rows)


def of(every: Any) -> Named:
    """Of documents."""
    found = Named()
    for each in every:
        name = str(each.get("name") or "")
        if each.get("isView"):
            found.views[name] = str(each.get("body") or "")
        elif name:
            found.functions[name] = text_of(each)
    return found


def checked(given: Mapping[str, Any]) -> str:
    """A query that calls it, by which it is bound; '' where a table may be any, since its columns are not known before
    a call. BadRequest or KqlError with the place in the body where it is none."""
    name, body = str(given.get("name") or ""), str(given.get("body") or "")
    parameters = str(given.get("parameters") or "").strip()
    if not NAME.fullmatch(name):
        raise BadRequest("name: expected letters, digits and underscores, no digit first, at most 128.")
    _free(name)
    _callable(name)
    if not body.strip() or len(body) > MAX_BODY_CHARS:
        raise BadRequest(f"body: expected 1 to {MAX_BODY_CHARS:,} characters of a query or an expression.")
    if len(parameters) > MAX_PARAMETERS_CHARS or (parameters and not parameters.startswith("(")):
        raise BadRequest("parameters: expected such as (user: string, back: timespan = 1d).")
    if given.get("isView"):
        if parameters not in ("", "()"):
            raise BadRequest("parameters: a view has none.")
        if len(_parsed(body, 0).results) != 1:
            raise BadRequest("body: a view is one query.")
        return name
    function = _function(_parsed(f"let f = {text_of(given)};\nprint 0", 1))
    args = [_argument(each) for each in function.parameters if each.default is None]
    call = f"{name}({', '.join(args)})"
    return "" if _OPEN in args else call


class Shown(Struct, frozen=True):
    """A parameter as it was written."""

    name: str
    type: str
    default: str | None


def parameters_of(given: Mapping[str, Any]) -> list[Shown]:
    """Of a document that was checked when it was saved; none where it can no longer be read."""
    if given.get("isView"):
        return []
    try:
        function = _function(_parsed(f"let f = {text_of(given)};\nprint 0", 1))
    except BadRequest:
        return []
    return [
        Shown(
            each.name,
            each.type or ("dynamic" if each.columns is None and not each.open else "table"),
            None if each.default is None or each.default.value is None else str(each.default.value),
        )
        for each in function.parameters
    ]


def _callable(name: str) -> None:
    """BadRequest where the language reads something else in it."""
    try:
        query = parse(f"{name}()")
        source = query.results[0].source if query.results else None
        good = isinstance(source, tree.Invocation) and source.call.name == name
    except KqlError:
        good = False
    if not good:
        raise BadRequest(f"name: {name} is a word of the language.")


def _free(name: str) -> None:
    """BadRequest where the language or a table has the name."""
    from bartizan.hunt.binder.inline import TABULAR  # all functions with it: only who saves one pays for it
    from bartizan.hunt.functions import Kind, known

    if name in TABLES or name in VIEWS:
        raise BadRequest(f"name: there is a table {name}.")
    if name.lower() in TABULAR or any(known(kind, name) for kind in get_args(Kind)):
        raise BadRequest(f"name: {name} is a function of the language.")


def _parsed(text: str, before: int) -> tree.Query:
    """`before`: lines of ours in front of the body."""
    try:
        return parse(text)
    except KqlError as fault:
        inside = fault.line > before
        what = "body" if inside else "parameters"
        place = f" (line {fault.line - before}, column {fault.column})" if inside else ""
        raise BadRequest(f"{what}: {fault.message}{place}.") from None


def _function(query: tree.Query) -> tree.Function:
    let = query.statements[0] if len(query.statements) == 1 and len(query.results) == 1 else None
    if not isinstance(let, tree.Let) or not isinstance(let.value, tree.Function):
        raise BadRequest("body: brackets close what they did not open: it is more than one function.")
    return let.value


def _argument(parameter: tree.Parameter) -> str:
    """A value that may stand for it."""
    if parameter.open:
        return _OPEN
    if parameter.columns is not None:
        columns = ", ".join(f"['{_quoted(each.name)}']: {each.type or 'string'}" for each in parameter.columns)
        return f"datatable({columns})[]"
    if parameter.type is None or parameter.type == "string":
        return "''"
    return f"{parameter.type}(null)"


def _quoted(name: str) -> str:
    return name.replace("\\", "\\\\").replace("'", "\\'")
