"""evaluate: plugins over who was there when, each of which is a query itself.

A text of the query is made of the names of columns and bound over the rows: `_rows` are they, `_start` and its kin the
arguments.

Source: Kusto Query Language, "activity_counts_metrics plugin", "sliding_window_counts plugin",
"active_users_count plugin".
"""

from collections.abc import Callable, Sequence

from bartizan.hunt import tree
from bartizan.hunt.binder import calls
from bartizan.hunt.binder.inline import with_lets
from bartizan.hunt.binder.scope import Names, Relation, Rows, ScalarOf, TableOf
from bartizan.hunt.binder.work import Work
from bartizan.hunt.fault import KqlError
from bartizan.hunt.parser import parse

Write = Callable[[str, str, Sequence[str]], str]


def _counts(who: str, when: str, by: Sequence[str]) -> str:
    """In each window how many rows and who is there, who for the first time, and who was there up to then."""
    dims = "".join(f", {each}" for each in by)
    again = " or ".join([f"{each} != prev({each})" for each in by] or ["false"])
    return (
        f"let _in = materialize(_rows | where {when} between (_start .. _end) "
        f"| extend {when} = bin_at({when}, _window, _start)); _in "
        f"| summarize ['count'] = count(), dcount = dcount({who}) by {when}{dims} "
        f"| join kind=leftouter (_in | summarize {when} = min({when}) by {who}{dims} "
        f"| summarize _new = count() by {when}{dims}) on {when}{dims} "
        f"| project {when}{dims}, ['count'], dcount, new_dcount = coalesce(_new, 0) "
        f"| sort by {''.join(f'{each} asc, ' for each in by)}{when} asc "
        f"| extend aggregated_dcount = row_cumsum(new_dcount, {again})"
    )


def _sliding(who: str, when: str, by: Sequence[str]) -> str:
    """In each window how many rows and who is there, of what lies less than the lookback behind it."""
    dims = "".join(f", {each}" for each in by)
    return (
        f"_rows | where {when} between (_start - _lookback .. _end) | extend _at = bin_at({when}, _bin, _start) "
        f"| mv-expand _at = range(_at, _at + _lookback - _bin, _bin) to typeof(_type) "
        f"| where _at between (_start .. _end) | summarize Count = count(), Dcount = dcount({who}) by _at{dims} "
        f"| project {when} = _at{dims}, Count, Dcount | sort by {when} asc"
    )


def _active(who: str, when: str, by: Sequence[str]) -> str:
    """In each window who was there then, and in so many periods of the lookback up to then."""
    dims = "".join(f", {each}" for each in by)
    return (
        f"let _in = materialize(_rows | where {when} between (_start - _lookback .. _end) "
        f"| distinct {who}, {when}{dims}); _in | where {when} >= _start "
        f"| join kind=inner (_in | project {who}, _then = {when}{dims}) on {who}{dims} "
        f"| where _then <= {when} and _then > {when} - _lookback "
        f"| summarize _periods = dcount(bin_at(_then, _period, _start)) by {who}, {when}{dims} "
        f"| where _periods >= _least | summarize dcount = dcount({who}) by {when} = bin_at({when}, _bin, _start){dims} "
        f"| sort by {when} asc"
    )


WRITTEN: dict[str, tuple[Write, tuple[str, ...]]] = {
    "activity_counts_metrics": (_counts, ("_start", "_end", "_window")),
    "sliding_window_counts": (_sliding, ("_start", "_end", "_lookback", "_bin")),
    "active_users_count": (_active, ("_start", "_end", "_lookback", "_period", "_least", "_bin")),
}


def _plugin(work: Work, plugin: tree.Plugin, names: Names, relation: Relation) -> Relation:
    call = plugin.call
    write, told = WRITTEN[call.name.lower()]
    if len(call.args) < 2 + len(told):
        shown = ", ".join(each.removeprefix("_") for each in told)
        raise KqlError("bind", f"{call.name}() takes a column of ids, one of times, {shown}, and columns", call.at)
    columns = [_named(call, each, relation) for each in (*call.args[:2], *call.args[2 + len(told) :])]
    given = [calls.scalar_any(work, each, names, Rows()) for each in call.args[2 : 2 + len(told)]]
    type_ = relation.by_name()[_name(call.args[1])].type
    scope = Names({"_rows": TableOf(work.share(relation, once=True))}, None, names.depth)
    for name, value in zip(told, given, strict=True):
        scope = scope.with_(name, ScalarOf(value))
    query = parse(write(columns[0], columns[1], columns[2:]).replace("typeof(_type)", f"typeof({type_})"))
    try:
        found = work.whole(query.results[0], with_lets(work, query.statements, scope), Rows())
    except KqlError as fault:  # its place is one of the written text
        raise KqlError(fault.phase, f"{call.name}(): {fault.message}", call.at) from None
    assert isinstance(found, Relation)
    return found


def _name(node: "tree.Expr | tree.Pipe") -> str:
    return node.name if isinstance(node, tree.Name) else ""


def _named(call: tree.Call, node: "tree.Expr | tree.Pipe", relation: Relation) -> str:
    """A column as a query writes it, whatever its name."""
    name = _name(node)
    if name not in relation.by_name():
        raise KqlError("bind", f"{call.name}() needs the name of a column", node.at)
    escaped = name.replace("\\", "\\\\").replace("'", "\\'")
    return f"['{escaped}']"


PLUGINS = dict.fromkeys(WRITTEN, _plugin)
