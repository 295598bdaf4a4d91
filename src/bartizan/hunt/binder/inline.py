"""What `let` has named, and calls of the user's functions, which are written out at each call.

A `let` sees only what stands before it, so nothing can call itself; the depth of calls and the size of the whole are
limited. What is not used is not bound.

Source: Kusto Query Language, "Let statement", "User-defined functions", "Query parameters declaration statement".
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

from msgspec.structs import replace

from bartizan.hunt import tree
from bartizan.hunt.binder import calls, enriched
from bartizan.hunt.binder.scope import FunctionOf, Later, Names, Relation, Rows, ScalarOf, TableOf
from bartizan.hunt.binder.work import MOST_CALLS, Bound, UnknownTable, Work, convert, of_asim
from bartizan.hunt.enrichments import ENRICHMENTS
from bartizan.hunt.fault import KqlError
from bartizan.hunt.parser import parse
from bartizan.hunt.plan import Value, size

TABULAR = frozenset(
    ("materialize", "table", "view", "_getwatchlist", "_getwatchlistalias", "external_table", "materialized_view")
)


def with_lets(work: Work, statements: Sequence[tree.Node], names: Names) -> Names:
    """The names after these statements."""
    for each in statements:
        match each:
            case tree.Let():
                names = names.with_(each.name, _variable(each, names))
            case tree.Declare():
                for parameter in each.parameters:
                    names = names.with_(parameter.name, _default(parameter))
            case tree.Setting(kind="set"):  # but for bin_auto's, it tells a cluster how to run, not what is asked
                work.settings[each.name.lower()] = each.value
            case tree.Setting():
                raise KqlError("plan", f"'{each.kind}' is not supported", each.at)
    return names


def _variable(let: tree.Let, names: Names) -> "FunctionOf | Later":
    if isinstance(let.value, tree.Function):
        return FunctionOf(let.name, let.value, names)
    return Later(let.value, names)


def _default(parameter: tree.Parameter) -> ScalarOf:
    if parameter.default is None:
        raise KqlError("bind", f"the query parameter '{parameter.name}' has no value", parameter.at)
    value = Value(parameter.default.type, parameter.default.value)
    return ScalarOf(convert(value, parameter.type or value.type, parameter.at))


def whole(work: Work, node: "tree.Expr | tree.Pipe", names: Names, rows: Rows) -> "Bound":
    """A table or a scalar: a bare name or call in a pipe may be either."""
    if not isinstance(node, tree.Pipe):
        return calls.bound_any(work, node, names, rows)
    if node.operators or node.source is None:
        return work.pipe(node, names, None)
    if isinstance(node.source, tree.Pipe):
        return whole(work, node.source, names, rows)
    if isinstance(node.source, tree.Source) and isinstance(node.source.name, tree.Name) and not node.source.within:
        found = of_variable(work, node.source.name.name, names, node.source.at)
        if found is not None:
            return found
        if node.source.name.name in rows.fields:
            return rows.fields[node.source.name.name].ref
    if isinstance(node.source, tree.Invocation) and not node.source.within:
        call = node.source.call
        if calls.is_own(work, call, names):
            return invoked(work, call, names, rows)
        if call.name.lower() not in TABULAR:
            return work.bind(call, names, rows)
    return work.pipe(node, names, None)


def of_variable(work: Work, name: str, names: Names, at: int) -> "Bound | None":
    """What a name stands for; None: it is no variable."""
    holder = names.holder(name)
    if holder is None:
        return None
    variable = holder.names[name]
    if isinstance(variable, Later):
        found = whole(work, variable.value, variable.scope, Rows())
        if isinstance(found, Relation):
            variable = TableOf(work.share(found) if found.graph is None else found)
        else:
            variable = ScalarOf(found)
        holder.names[name] = variable
    if isinstance(variable, ScalarOf):
        work.spend(at, size(variable.expression))
        return variable.expression
    if isinstance(variable, FunctionOf):
        return invoked(work, tree.Call(variable.name, [], at=at), names, Rows())
    return work.again(variable.relation)


def saved(work: Work, name: str, at: int) -> FunctionOf:
    """A function of the catalogue."""
    if name not in work.saved:
        text = work.function(name)
        if text is None:
            like = work.catalogue.like(name)
            hint = f"; did you mean {like}?" if like else of_asim(name)
            raise UnknownTable("bind", f"there is no function '{name}'{hint}", at)
        with _inside(work, name, at):
            query = parse(text_of_saved(text))
            let = query.statements[0] if len(query.statements) == 1 and len(query.results) == 1 else None
            if not isinstance(let, tree.Let) or not isinstance(let.value, tree.Function):
                raise KqlError("bind", "it is no function, or something stands behind it")
        work.reads(let)
        work.saved[name] = FunctionOf(name, let.value, work.globals)
    return work.saved[name]


def text_of_saved(text: str) -> str:
    """A query that gives a saved function the name f. Its body, behind `) {` and a line's end, begins on line 2."""
    text = text.strip()
    return f"let f = {text};\nprint 0" if text.startswith("(") else f"let f = () {{\n{text}\n}};\nprint 0"


@contextmanager
def _inside(work: Work, name: str, at: int) -> Iterator[None]:
    """What goes wrong in it is told with its place in the saved function, and stands at the call."""
    try:
        yield
    except KqlError as fault:
        if fault.saved:
            fault.at = at
            raise
        fault.locate(text_of_saved(work.function(name) or ""))
        place = f", line {fault.line - 1}, column {fault.column} of its body" if fault.line > 1 else ""
        told = KqlError(fault.phase, f"in the saved function {name}(){place}: {fault.message}", at)
        told.saved = True
        raise told from None


def invoked(work: Work, call: tree.Call, names: Names, rows: Rows, first: Relation | None = None) -> "Bound":
    """The body of a function with these arguments. `first`: the table that `invoke` hands in."""
    found = names.find(call.name)
    if found is None:
        found = saved(work, call.name, call.at)
    if not isinstance(found, FunctionOf):
        if call.args or first is not None:
            raise KqlError("bind", f"'{call.name}' is no function", call.at)
        bound = of_variable(work, call.name, names, call.at)
        assert bound is not None
        return bound
    if len(work.opening) >= MOST_CALLS:
        raise KqlError("plan", f"functions call one another more than {MOST_CALLS} deep", call.at)
    if found.scope is work.globals and call.name in work.opening:
        raise KqlError("bind", f"the saved function {call.name}() calls itself", call.at)
    scope = Names(_arguments(work, found, call, names, rows, first), found.scope)
    work.opening.append(call.name)
    try:
        with _inside(work, found.name, call.at) if found is work.saved.get(call.name) else nullcontext():
            inner = with_lets(work, found.function.statements, scope)
            bound = whole(work, found.function.body, inner, Rows())
        if not isinstance(bound, Relation):
            return bound
        source = found.name if found.function.view else ""
        return replace(bound, source=source)
    finally:
        work.opening.pop()


def _arguments(
    work: Work, found: FunctionOf, call: tree.Call, names: Names, rows: Rows, first: Relation | None
) -> "dict[str, ScalarOf | TableOf | FunctionOf | Later]":
    parameters = {each.name: each for each in found.function.parameters}
    given: dict[str, tree.Expr | tree.Pipe | Relation] = {}
    order = list(parameters)
    if first is not None and order:
        given[order[0]] = first
    for index, value in enumerate(call.args):
        place = index + (first is not None)
        name = call.named.get(index) or (order[place] if place < len(order) else "")
        if name not in parameters or name in given:
            what = f"has no parameter '{name}'" if name else f"takes {len(order)} arguments"
            raise KqlError("bind", f"{found.name}() {what}", call.at)
        given[name] = value
    if found.name in ENRICHMENTS and found.name not in work.catalogue.functions and found is work.saved.get(found.name):
        enriched.check(work, found, call, given, names, first)
    made: dict[str, ScalarOf | TableOf | FunctionOf | Later] = {}
    for name, parameter in parameters.items():
        if name in given:
            made[name] = _argument(work, parameter, given[name], names, rows, call)
        elif parameter.default is not None:
            made[name] = _default(parameter)
        else:
            raise KqlError("bind", f"{found.name}() needs the argument '{name}'", call.at)
    return made


def _argument(
    work: Work,
    parameter: tree.Parameter,
    value: "tree.Expr | tree.Pipe | Relation",
    names: Names,
    rows: Rows,
    call: tree.Call,
) -> "ScalarOf | TableOf":
    found = value if isinstance(value, Relation) else calls.bound_any(work, value, names, rows)
    if parameter.columns is not None:
        if not isinstance(found, Relation):
            raise KqlError("bind", f"{call.name}(): '{parameter.name}' must be a table", call.at)
        return TableOf(work.share(_checked(found, parameter, call)))
    if isinstance(found, Relation):
        raise KqlError("bind", f"{call.name}(): '{parameter.name}' must be a value, not a table", call.at)
    if parameter.type is None:
        return ScalarOf(found)
    return ScalarOf(convert(found, parameter.type, call.at))


def _checked(found: Relation, parameter: tree.Parameter, call: tree.Call) -> Relation:
    """A table that has the columns which a function declares. Those beside them go through it."""
    by_name = found.by_name()
    for each in parameter.columns or []:
        column = by_name.get(each.name)
        if column is None:
            raise KqlError("bind", f"{call.name}(): '{parameter.name}' must have a column '{each.name}'", call.at)
        if each.type is not None and each.type != column.type:
            raise KqlError(
                "bind", f"{call.name}(): column '{each.name}' must be a {each.type}, not {column.type}", call.at
            )  # fmt: skip
    return found
