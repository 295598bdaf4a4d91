"""Arguments of the functions that are built in as texts: columns by their names, numbers within their bounds.

Source: Microsoft Defender XDR, advanced hunting, "FileProfile()".
"""

from typing import TypeAlias

from bartizan.hunt import tree
from bartizan.hunt.binder import calls
from bartizan.hunt.binder.naming import bare
from bartizan.hunt.binder.scope import FunctionOf, Names, Relation, Rows
from bartizan.hunt.binder.work import Work, constant
from bartizan.hunt.enrichments import ENRICHMENTS
from bartizan.hunt.fault import KqlError

Given: TypeAlias = "dict[str, tree.Expr | tree.Pipe | Relation]"


def check(work: Work, found: FunctionOf, call: tree.Call, given: Given, names: Names, rows: Relation | None) -> None:
    """What is `given` to a function of `ENRICHMENTS`, with columns told as texts. KqlError, bind: the rows have no such
    column, or a number is out of its bounds."""
    enriches = ENRICHMENTS[found.name]
    first = found.function.parameters[0]
    table = given.get(first.name)
    if first.columns is not None and table is not None and not isinstance(table, Relation):
        bound = calls.bound_any(work, table, names, Rows())
        if isinstance(bound, Relation):
            given[first.name] = rows = bound
    scope = Rows() if rows is None else Rows.of(rows)
    for parameter in found.function.parameters:
        value = given.get(parameter.name)
        if isinstance(value, Relation):
            continue
        if parameter.name in enriches.columns:
            default = None if parameter.default is None else parameter.default.value
            name = str(default) if value is None else _name(work, call, parameter.name, value, names, scope)
            at = call.at if value is None else value.at
            if name not in scope.fields and not scope.open:
                raise KqlError("bind", f"{call.name}(): the rows have no column '{name}'", at)
            given[parameter.name] = tree.Constant("string", name, at=at, end=call.end)
        elif value is not None and parameter.name in enriches.least_most:
            least, most = enriches.least_most[parameter.name]
            told = constant(
                calls.scalar_any(work, value, names, scope), f"'{parameter.name}' of {call.name}()", value.at
            )
            if not isinstance(told.value, int) or not least <= told.value <= most:
                message = f"{call.name}(): '{parameter.name}' is a number from {least:,} to {most:,}"
                raise KqlError("bind", message, value.at)


def _name(
    work: Work, call: tree.Call, parameter: str, value: "tree.Expr | tree.Pipe", names: Names, scope: Rows
) -> str:
    node = bare(value)
    if isinstance(node, tree.Name) and (node.name in scope.fields or names.find(node.name) is None):
        return node.name
    return calls.as_text(calls.scalar_any(work, value, names, scope), f"'{parameter}' of {call.name}()", value.at)
