"""How operators and the statements beside `let` are written."""

from __future__ import annotations

from bartizan.hunt import tree
from bartizan.hunt.printer.values import Printer, column, columns, name, quoted

_ARROWS = {"out": ("-", "->"), "in": ("<-", "-"), "any": ("-", "-")}
_BARE_ARROWS = {"out": "-->", "in": "<--", "any": "--"}
_REDUCE = ("threshold", "characters")


def setting(to: Printer, of: tree.Let | tree.Declare | tree.Setting) -> str:
    match of:
        case tree.Let():
            return to.let(of)
        case tree.Declare():
            return f"declare query_parameters ({', '.join(map(to.parameter, of.parameters))})"
        case tree.Setting(kind="set"):
            return f"set {name(of.name)}" + (f" = {to.expr(of.value)}" if of.value is not None else "")
        case tree.Setting(kind="alias", value=value) if value is not None:
            return f"alias database {name(of.name)} = {to.expr(value)}"
        case tree.Setting(kind="restrict"):
            return f"restrict access to ({to.tables(of.tables)})"
        case tree.Setting(kind="pattern"):
            return f"declare pattern {name(of.name)}" + (_pattern(to, of.pattern) if of.pattern else "")
        case _:
            raise TypeError(f"no statement is of kind '{of.kind}'")


def _pattern(to: Printer, of: tree.Pattern) -> str:
    path = f" [{column(of.path)}]" if of.path else ""
    matches = []
    for match in of.matches:
        step = f".[{to.expr(match.path)}]" if match.path else ""
        matches.append(f"({to.list(match.values)}){step} = {to.body(match.statements, match.body)};")
    return f" = {columns(of.parameters)}{path} {{ {' '.join(matches)} }}"


def operator(to: Printer, of: tree.Operator) -> str:
    match of.body:
        case tree.Label():
            text = _render(to, of, of.body) if of.name == "render" else _usual(to, of, name(of.body.name))
        case tree.Columns():
            text = _columns(to, of, of.body)
        case tree.Order():
            text = _usual(to, of, _order(to, of.body))
        case tree.Pairs():
            told = to.properties(of.options, of.body.again)
            text = f"parse-kv {to.expr(of.body.of)} as {columns(of.body.columns)}{told}"
        case tree.Graph():
            text = _graph(to, of, of.body)
        case tree.Branch():
            text = _usual(to, of, _branch(to, of.body, of.name))
        case None:
            text = _bodiless(to, of)
        case body:
            text = _usual(to, of, _body(to, body))
    return text.rstrip()


def _usual(to: Printer, of: tree.Operator, body: str) -> str:
    return f"{of.name} {to.options(of.options)}{body}"


def _bodiless(to: Printer, of: tree.Operator) -> str:
    if of.name == "count" and "as" in of.options:
        return f"count as {to.expr(of.options['as'])}"
    return _usual(to, of, "")


def _columns(to: Printer, of: tree.Operator, body: tree.Columns) -> str:
    if of.name == "reduce":
        after = [f"{key}={to.option(of.options[key])}" for key in _REDUCE if key in of.options]
        column = to.nameds(body.columns)
        return f"reduce {to.options(of.options, _REDUCE)}by {column}{' with ' * bool(after)}{', '.join(after)}"
    written = [
        to.named(each) + (f" {body.orders[index]}" if index in body.orders else "")
        for index, each in enumerate(body.columns)
    ]
    return _usual(to, of, ", ".join(written))


def _key(to: Printer, of: tree.Key) -> str:
    order = "" if of.descending is None else " desc" if of.descending else " asc"
    nulls = "" if of.nulls_first is None else " nulls first" if of.nulls_first else " nulls last"
    return f"{to.expr(of.expr)}{order}{nulls}"


def _keys(to: Printer, of: list[tree.Key]) -> str:
    return ", ".join(_key(to, key) for key in of)


def _order(to: Printer, of: tree.Order) -> str:
    count = "" if of.count is None else f"{to.expr(of.count)} "
    columns = f"of {to.nameds(of.of)} " if of.of else ""
    return f"{count}{columns}" + (f"by {_keys(to, of.keys)}" if of.keys else "")


def _render(to: Printer, of: tree.Operator, body: tree.Label) -> str:
    def value(key: str, given: tree.Expr) -> str:
        if isinstance(given, tree.Constant) and given.type == "dynamic":
            return ", ".join(map(name, given.value))
        return to.option(given)

    text = f"render {body.name}"
    if "by" in of.options:
        text += f" by {value('by', of.options['by'])}"
    if "with" in of.options:
        text += f" with {to.option(of.options['with'])}"
    rest = [f"{key}={value(key, given)}" for key, given in of.options.items() if key not in ("by", "with")]
    return text + (f" with ({', '.join(rest)})" if rest else "")


def _body(to: Printer, of: tree.Body) -> str:
    match of:
        case tree.Condition():
            tables = f"in ({to.tables(of.tables)}) " if of.tables else ""
            return f"{tables}{to.expr(of.expr)}"
        case tree.Summary():
            aggregates = to.nameds(of.aggregates)
            return aggregates if of.by is None else f"{aggregates} by {to.nameds(of.by)}"
        case tree.Join():
            on = f" on {to.list(of.on)}" if of.on else ""
            return f"{to.pipe(of.right)}{on}"
        case tree.Union():
            return to.tables(of.tables)
        case tree.Parse():
            return _parse(to, of)
        case tree.Plugin():
            columns_of = [*(["*"] if of.open else []), *map(column, of.schema or [])]
            return to.call(of.call) + ("" if of.schema is None else f" : ({', '.join(columns_of)})")
        case tree.Find():
            return to.find(of)
        case tree.Schema():
            return columns(of.columns)
        case _:
            return _larger(to, of)


def _larger(to: Printer, of: tree.Body) -> str:
    match of:
        case tree.Expand():
            return _expand(to, of)
        case tree.Series():
            return _series(to, of)
        case tree.Levels():
            return ", top-nested ".join(_level(to, level) for level in of.levels)
        case tree.Scan():
            return _scan(to, of)
        case tree.Macro():
            scope = f" as {name(of.scope)}" if of.scope else ""
            groups = f"entity_group [{to.list(of.groups)}]" if of.listed else to.list(of.groups)
            return f"{groups}{scope} ({to.query(of.query, ' | ', '; ')})"
        case _:
            raise TypeError(f"{type(of).__name__} is no body of an operator")


def _parse(to: Printer, of: tree.Parse) -> str:
    pieces = [
        "*" if piece.star else column(piece.column) if piece.column else quoted(piece.text or "") for piece in of.pieces
    ]
    flags = "" if of.flags is None else f"flags={quoted(of.flags)} "
    return f"{flags}{to.expr(of.of)} with {' '.join(pieces)}"


def _expand(to: Printer, of: tree.Expand) -> str:
    written = [to.named(each.column) + (f" to typeof({each.type})" if each.type else "") for each in of.columns]
    limit = "" if of.limit is None else f" limit {to.expr(of.limit)}"
    on = "" if of.pipe is None else f" on {to.pipe(of.pipe)}"
    return f"{', '.join(written)}{limit}{on}"


def _series(to: Printer, of: tree.Series) -> str:
    aggregates = [
        to.named(each) + (f" default = {to.expr(of.defaults[index])}" if index in of.defaults else "")
        for index, each in enumerate(of.aggregates)
    ]
    text = f"{', '.join(aggregates)} on {to.named(of.on)}"
    if of.inclusive and of.start is not None and of.stop is not None:
        text += f" in range({to.expr(of.start)}, {to.expr(of.stop)}, {to.expr(of.step)})"
    else:
        text += "" if of.start is None else f" from {to.expr(of.start)}"
        text += "" if of.stop is None else f" to {to.expr(of.stop)}"
        text += f" step {to.expr(of.step)}"
    return text + (f" by {to.nameds(of.by)}" if of.by else "")


def _level(to: Printer, of: tree.Nested) -> str:
    count = "" if of.count is None else f"{to.expr(of.count)} "
    others = "" if of.others is None else f" with others = {to.expr(of.others)}"
    order = "" if of.descending is None else " desc" if of.descending else " asc"
    nulls = "" if of.nulls_first is None else " nulls first" if of.nulls_first else " nulls last"
    return f"{count}of {to.named(of.of)}{others} by {to.named(of.by)}{order}{nulls}"


def _scan(to: Printer, of: tree.Scan) -> str:
    text = f"order by {_keys(to, of.keys)} " if of.keys else ""
    text += f"partition by {to.list(of.partition)} " if of.partition else ""
    if of.declared:
        declared = [column(each) + (f" = {to.expr(value)}" if value else "") for each, value in of.declared]
        text += f"declare ({', '.join(declared)}) "
    return f"{text}with ({' '.join(_step(to, step) for step in of.steps)})"


def _step(to: Printer, of: tree.Step) -> str:
    output = f" output={of.output}" if of.output else ""
    assignments = f" => {to.nameds(of.assignments)}" if of.assignments else ""
    return f"step {name(of.name)}{' optional' * of.optional}{output}: {to.expr(of.condition)}{assignments};"


def _branch(to: Printer, of: tree.Branch, operator: str) -> str:
    labels = {index: f"{name(label)}=" for index, label in of.names.items()}
    pipes = [labels.get(index, "") + to.pipe(pipe) for index, pipe in enumerate(of.pipes)]
    if operator == "fork":
        return " ".join(pipes)
    by = f"by {to.list(of.by)}"
    if operator == "facet":
        return by + "".join(f" with {pipe}" for pipe in pipes)
    return f"{by} {pipes[0] if of.pipes[0].bracketed else f'{{ {pipes[0]} }}'}"


def _graph(to: Printer, of: tree.Operator, body: tree.Graph) -> str:
    if of.name == "graph-to-table":
        return f"graph-to-table {', '.join(_output(to, of, body, index) for index in range(len(body.outputs)))}"
    if body.source is not None and body.target is not None:
        arrow = "-->" if body.directed else "--"
        text = f"{to.expr(body.source)} {arrow} {to.expr(body.target)}"
        if body.nodes:
            text += " with " + ", ".join(f"{to.pipe(table)} on {to.expr(key)}" for table, key in body.nodes)
        text += f" with_node_id={name(body.node_id)}" if body.node_id else ""
        if body.partition:
            text += f" partitioned-by {to.expr(body.partition[0])} {to.pipe(body.partition[1])}"
        return _usual(to, of, text)
    text = ", ".join("".join(map(_edge, pattern)) for pattern in body.patterns)
    text += "" if body.where is None else f" where {to.expr(body.where)}"
    text += f" project {to.nameds(body.project)}" if body.project else ""
    return _usual(to, of, text)


def _output(to: Printer, of: tree.Operator, body: tree.Graph, index: int) -> str:
    """An output of graph-to-table; the options stand with the first of its kind."""
    what, label = body.outputs[index]
    text = what + (f" as {name(label)}" if label else "")
    if what in [kind for kind, _ in body.outputs[:index]]:
        return text
    own = ("with_node_id",) if what == "nodes" else ("with_source_id", "with_target_id")
    return text + "".join(f" {key}={to.option(of.options[key])}" for key in own if key in of.options)


def _edge(of: tree.Edge) -> str:
    label = name(of.name) if of.name else ""
    if of.kind == "node":
        return f"({label})"
    lengths = "" if of.least is None else f"*{of.least}..{of.most}"
    if not label and not lengths:
        return _BARE_ARROWS[of.kind]
    before, after = _ARROWS[of.kind]
    return f"{before}[{label}{lengths}]{after}"
