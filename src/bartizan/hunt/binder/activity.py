"""evaluate: plugins over who was there when and the like, each of which is a query itself.

A text of the query is made of the names of columns and bound over the rows: `_rows` are they, `_start` and its kin the
arguments.

Source: Kusto Query Language, "activity_counts_metrics plugin", "sliding_window_counts plugin",
"active_users_count plugin", "rolling_percentile plugin", "dcount_intersect plugin", "activity_metrics plugin",
"new_activity_metrics plugin", "activity_engagement plugin".
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bartizan.hunt import tree
from bartizan.hunt.binder import calls
from bartizan.hunt.binder.inline import with_lets
from bartizan.hunt.binder.scope import Names, Relation, Rows, ScalarOf, TableOf
from bartizan.hunt.binder.work import Work
from bartizan.hunt.fault import KqlError
from bartizan.hunt.parser import parse
from bartizan.hunt.plan import Value

Write = Callable[[Sequence[str], Sequence[str], Mapping[str, Any]], str]
"""Of the columns that are told first, those behind (dimensions), and what is constant, by its name."""


def _more(by: Sequence[str]) -> str:
    """The dimensions behind other columns."""
    return "".join(f", {each}" for each in by)


def _sorted(by: Sequence[str], *times: str) -> str:
    return "sort by " + ", ".join(f"{each} asc" for each in (*by, *times))


def _counts(of: Sequence[str], by: Sequence[str], _: Mapping[str, Any]) -> str:
    """In each window how many rows and who is there, who for the first time, and who was there up to then."""
    (who, when), dims = of, _more(by)
    again = " or ".join([f"{each} != prev({each})" for each in by] or ["false"])
    return (
        f"let _in = materialize(_rows | where {when} between (_start .. _end) "
        f"| extend {when} = bin_at({when}, _window, _start)); _in "
        f"| summarize ['count'] = count(), dcount = dcount({who}) by {when}{dims} "
        f"| join kind=leftouter (_in | summarize {when} = min({when}) by {who}{dims} "
        f"| summarize _new = count() by {when}{dims}) on {when}{dims} "
        f"| project {when}{dims}, ['count'], dcount, new_dcount = coalesce(_new, 0) "
        f"| {_sorted(by, when)} "
        f"| extend aggregated_dcount = row_cumsum(new_dcount, {again})"
    )


def _sliding(of: Sequence[str], by: Sequence[str], _: Mapping[str, Any]) -> str:
    """In each window how many rows and who is there, of what lies less than the lookback behind it."""
    (who, when), dims = of, _more(by)
    return (
        f"_rows | where {when} between (_start - _lookback .. _end) | extend _at = bin_at({when}, _bin, _start) "
        f"| mv-expand _at = range(_at, _at + _lookback - _bin, _bin) to typeof(_type) "
        f"| where _at between (_start .. _end) | summarize Count = count(), Dcount = dcount({who}) by _at{dims} "
        f"| project {when} = _at{dims}, Count, Dcount | sort by {when} asc"
    )


def _active(of: Sequence[str], by: Sequence[str], _: Mapping[str, Any]) -> str:
    """In each window who was there then, and in so many periods of the lookback up to then."""
    (who, when), dims = of, _more(by)
    return (
        f"let _in = materialize(_rows | where {when} between (_start - _lookback .. _end) "
        f"| distinct {who}, {when}{dims}); _in | where {when} >= _start "
        f"| join kind=inner (_in | project {who}, _then = {when}{dims}) on {who}{dims} "
        f"| where _then <= {when} and _then > {when} - _lookback "
        f"| summarize _periods = dcount(bin_at(_then, _period, _start)) by {who}, {when}{dims} "
        f"| where _periods >= _least | summarize dcount = dcount({who}) by {when} = bin_at({when}, _bin, _start){dims} "
        f"| sort by {when} asc"
    )


def _metrics(of: Sequence[str], by: Sequence[str], _: Mapping[str, Any]) -> str:
    """In each window who is there, who of them was not in the window before, what part of those before came again."""
    (who, when), dims = of, _more(by)
    return (
        f"let _in = materialize(_rows | where {when} between (_start .. _end) "
        f"| distinct {who}, _at = bin_at({when}, _window, _start){dims}); "
        f"let _before = _in | project {who}, _at = _at + _window{dims}; "
        f"_in | summarize dcount_values = count() by _at{dims} "
        f"| join kind=leftouter (_in | join kind=leftsemi _before on {who}, _at{dims} "
        f"| summarize _again = count() by _at{dims}) on _at{dims} "
        f"| join kind=leftouter (_before | summarize _were = count() by _at{dims}) on _at{dims} "
        f"| extend _again = coalesce(_again, 0), _were = coalesce(_were, 0) "
        f"| extend retention_rate = iff(_were == 0, real(nan), todouble(_again) / _were) "
        f"| project {when} = _at{dims}, dcount_values, dcount_newvalues = dcount_values - _again, retention_rate, "
        f"churn_rate = 1 - retention_rate | {_sorted(by, when)}"
    )


def _new_metrics(of: Sequence[str], by: Sequence[str], told: Mapping[str, Any]) -> str:
    """Of those who came first in one window: who of them is there in each from then on, and who came first later."""
    (who, when), dims = of, _more(by)
    cohort = "| where _from == bin_at(_cohort, _window, _start) " if "_cohort" in told else ""
    first, later = (f"['{end}_{when[2:-2]}']" for end in ("from", "to"))
    return (
        f"let _in = materialize(_rows | where {when} between (_start .. _end) "
        f"| distinct {who}, _to = bin_at({when}, _window, _start){dims}); "
        f"let _first = materialize(_in | summarize _from = min(_to) by {who}{dims}); "
        f"let _kept = materialize(_in | join kind=inner _first on {who}{dims} | summarize _kept = count() by _from, _to"
        f"{dims}); let _pairs = materialize(_first | summarize _size = count() by _from{dims} {cohort}| extend _k = 1 "
        f"| join kind=inner (range _to from _start to _end step _window | extend _k = 1) on _k | where _to >= _from "
        f"| project _from, _to{dims}, _size); "
        f"_pairs | join kind=leftouter _kept on _from, _to{dims} "
        f"| join kind=leftouter (_pairs | project _from, _to{dims} "
        f"| join kind=inner (_kept | project _later = _from, _to{dims}, _kept) on _to{dims} | where _later > _from "
        f"| summarize _new = sum(_kept) by _from, _to{dims}) on _from, _to{dims} "
        f"| extend dcount_new_values = iff(_from == _to, _size, coalesce(_new, 0)), "
        f"dcount_retained_values = coalesce(_kept, 0) "
        f"| extend dcount_churn_values = _size - dcount_retained_values "
        f"| project {first} = _from, {later} = _to{dims}, dcount_new_values, dcount_retained_values, "
        f"dcount_churn_values, retention_rate = todouble(dcount_retained_values) / _size, "
        f"churn_rate = todouble(dcount_churn_values) / _size "
        f"| {_sorted(by, first, later)}"
    )


def _engagement(of: Sequence[str], by: Sequence[str], _: Mapping[str, Any]) -> str:
    """In each inner window who is there, and who is in the outer window that ends with it."""
    (who, when), dims = of, _more(by)
    return (
        f"let _in = materialize(_rows | where {when} between (_start - _outer .. _end) "
        f"| distinct {who}, _at = bin_at({when}, _inner, _start){dims}); "
        f"_in | where _at >= _start | summarize dcount_activities_inner = count() by _at{dims} "
        f"| join kind=inner (_in | mv-expand _at = range(_at, _at + _outer - _inner, _inner) to typeof(_type) "
        f"| distinct {who}, _at{dims} | summarize dcount_activities_outer = count() by _at{dims}) on _at{dims} "
        f"| project {when} = _at{dims}, dcount_activities_inner, dcount_activities_outer, "
        f"activity_ratio = todouble(dcount_activities_inner) / dcount_activities_outer "
        f"| {_sorted(by, when)}"
    )


def _rolling(of: Sequence[str], by: Sequence[str], told: Mapping[str, Any]) -> str:
    """At the end of each window the percentile of what lies in it, where the last bin of it holds anything."""
    (value, when), dims = of, _more(by)
    count, percent = told["_count"], told["_percent"]
    if not isinstance(count, int) or not 1 <= count <= MOST_BINS:
        raise KqlError("bind", f"a window has from 1 to {MOST_BINS:,} bins, a constant number")
    plain = value[2:-2]
    return (
        f"let _in = materialize(_rows | extend {when} = bin({when}, _bin)); "
        f"_in | mv-expand _at = range({when}, {when} + {count - 1} * _bin, _bin) to typeof(_type) "
        f"| join kind=leftsemi (_in | distinct _at = {when}{dims}) on _at{dims} "
        f"| summarize ['rolling_{count}_percentile_{plain}_{percent}'] = percentile({value}, _percent) by _at{dims} "
        f"| project-rename {when} = _at | {_sorted(by, when)}"
    )


def _together(of: Sequence[str], by: Sequence[str], _: Mapping[str, Any]) -> str:
    """How many are in the first sketch, in the first two of them, and so on."""
    made, common = [], ""
    for index, each in enumerate((*of, *by)):
        common = f"set_intersect({common}, {each})" if common else f"set_union({each}, dynamic([]))"
        made.append(f"s{index} = array_length({common})")
    return f"_rows | project {', '.join(made)}"


MOST_BINS = 1_000  # of a window that rolls
# What stands in a call: columns, and from _ on what is reckoned with; behind it come columns.
WRITTEN: dict[str, tuple[Write, tuple[str, ...]]] = {
    "activity_counts_metrics": (_counts, ("who", "when", "_start", "_end", "_window")),
    "sliding_window_counts": (_sliding, ("who", "when", "_start", "_end", "_lookback", "_bin")),
    "active_users_count": (_active, ("who", "when", "_start", "_end", "_lookback", "_period", "_least", "_bin")),
    "rolling_percentile": (_rolling, ("value", "_percent", "when", "_bin", "_count")),
    "dcount_intersect": (_together, ("sketch", "sketch")),
    "activity_metrics": (_metrics, ("who", "when", "_start", "_end", "_window")),
    "new_activity_metrics": (_new_metrics, ("who", "when", "_start", "_end", "_window")),
    "activity_engagement": (_engagement, ("who", "when", "_start", "_end", "_inner", "_outer")),
}
# What may stand behind that, before the columns.
OPTIONAL = {"new_activity_metrics": "_cohort"}


def _plugin(work: Work, plugin: tree.Plugin, names: Names, relation: Relation) -> Relation:
    call = plugin.call
    write, told = WRITTEN[call.name.lower()]
    if len(call.args) < len(told):
        shown = ", ".join(each.removeprefix("_") for each in told)
        raise KqlError("bind", f"{call.name}() takes {shown}, and columns", call.at)
    more = OPTIONAL.get(call.name.lower())
    if more is not None and len(call.args) > len(told) and _name(call.args[len(told)]) not in relation.by_name():
        told = (*told, more)
    scope, values = Names({"_rows": TableOf(work.share(relation, once=True))}, None, names.depth), dict[str, Any]()
    columns, type_ = [], "datetime"
    for name, each in zip(told, call.args, strict=False):
        if not name.startswith("_"):
            columns.append(_named(call, each, relation))
            type_ = relation.by_name()[_name(each)].type if name == "when" else type_
            continue
        value = calls.scalar_any(work, each, names, Rows())
        scope = scope.with_(name, ScalarOf(value))
        values[name] = value.value if isinstance(value, Value) else None
    try:
        text = write(columns, [_named(call, each, relation) for each in call.args[len(told) :]], values)
        query = parse(text.replace("typeof(_type)", f"typeof({type_})"))
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
