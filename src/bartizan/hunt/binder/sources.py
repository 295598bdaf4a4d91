"""Where rows begin: stored tables, views, watchlists, values in the text, ranges, external data.

Source: Kusto Query Language, "datatable operator", "externaldata operator", "range operator", "print operator",
"table()", "materialize()", "database()"; Microsoft Sentinel, "Watchlists".
"""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from msgspec.structs import replace

from bartizan.hunt import tree
from bartizan.hunt.binder import calls, inline
from bartizan.hunt.binder.naming import Taken, chosen
from bartizan.hunt.binder.scope import Names, Relation, Rows
from bartizan.hunt.binder.work import UnknownTable, Work, apply, constant, convert, of_asim, project, ticks
from bartizan.hunt.catalogue import Stored
from bartizan.hunt.fault import KqlError, placed
from bartizan.hunt.functions import known
from bartizan.hunt.parser import parse
from bartizan.hunt.plan import Expression, Filter, Numbers, Out, Plan, Ref, Table, Value
from bartizan.hunt.plan import Rows as Values
from bartizan.hunt.tree import Scalar

NOT_ALLOWED = "the setting externaldata_allowed says which addresses queries may read, and names none"
MOST_TABLES = 500  # that a pattern of names may stand for


def source(work: Work, node: tree.Node, names: Names) -> Relation:
    """The rows with which a pipe begins."""
    match node:
        case tree.Pipe():
            return work.pipe(node, names, None)
        case tree.Source():
            return _named(work, node, names)
        case tree.Invocation():
            return _called(work, node, names)
        case tree.Datatable():
            return _datatable(work, node, names)
        case tree.Range():
            return _range(work, node, names)
        case tree.Print():
            return _print(work, node, names)
        case tree.Externaldata():
            return _external(work, node, names)
    raise KqlError("plan", f"{type(node).__name__.lower()} is not supported as a source", node.at)


def sources(work: Work, node: tree.Node, names: Names) -> list[Relation]:
    """As `source`, where a name may be a pattern for many."""
    if isinstance(node, tree.Source) and isinstance(node.name, tree.Wildcard):
        _within(work, node.within)
        found = chosen(node.name.pattern, work.catalogue.every()) or chosen(node.name.pattern, work.catalogue.named())
        views = [] if node.within else chosen(node.name.pattern, names.views())
        if not found and not views:
            raise UnknownTable("bind", f"no table is called like '{node.name.pattern}'", node.at)
        if len(found) > MOST_TABLES:
            raise KqlError("plan", f"'{node.name.pattern}' stands for more than {MOST_TABLES} tables", node.at)
        tables = [table(work, each, node.at) for each in found if each not in views]
        return [*tables, *(_named(work, _plain(each, node), names) for each in views)]
    return [source(work, node, names)]


def _plain(name: str, node: tree.Source) -> tree.Source:
    return tree.Source(tree.Name(name, at=node.at, end=node.end), at=node.at, end=node.end)


def _within(work: Work, within: Sequence[tree.Call]) -> None:
    """`database('x')` and its kin may only say the tenant's own."""
    for each in within:
        given = each.args[0] if each.args else None
        own = isinstance(given, tree.Constant) and given.value in work.catalogue.databases
        if not own or each.name.lower() not in ("database", "cluster"):
            raise UnknownTable("bind", f"{each.name}(): there is no such place that this query may read", each.at)


def _named(work: Work, node: tree.Source, names: Names) -> Relation:
    if not isinstance(node.name, tree.Name):
        raise KqlError("bind", "a pattern of names cannot stand here", node.at)
    name = node.name.name
    if node.within:
        _within(work, node.within)
    else:
        found = inline.of_variable(work, name, names, node.at)
        if isinstance(found, Relation):
            return found
        if found is not None:
            raise KqlError("bind", f"'{name}' is a value; a table is expected here", node.at)
    return table(work, name, node.at)


def table(work: Work, name: str, at: int) -> Relation:
    """A stored table, a view or a saved function without parameters."""
    stored = work.catalogue.tables.get(name)
    if stored is not None:
        return _stored(work, stored, name, at)
    if name in work.catalogue.views:
        return _view(work, name, at)
    if name == "_GetWatchlistAlias":
        return _aliases(work)
    if name in work.catalogue.functions:
        found = inline.invoked(work, tree.Call(name, [], at=at), work.globals, Rows())
        if isinstance(found, Relation):
            return found
    like = work.catalogue.like(name)
    hint = f"; did you mean {like}?" if like else of_asim(name)
    if work.function(name) is not None:
        hint = f"; it is a function: call {name}()"
    raise UnknownTable("bind", f"there is no table '{name}'{hint}", at)


def _stored(work: Work, stored: Stored, name: str, at: int) -> Relation:
    work.tables[stored.table] = None
    work.spend(at, len(stored.columns))
    fields = tuple(work.field(column, type_) for column, type_ in stored.columns.items())
    ingested = Ref("datetime", work.id())
    outs = [*(Out(each.id, each.type) for each in fields), Out(ingested.id, ingested.type)]
    plan: Plan = Table(outs, stored.table, [*stored.columns, stored.ingested])
    time = next((each for each in fields if each.name == stored.time), None)
    if time is not None:
        for instant, sign in ((work.since, ">="), (work.until, "<")):
            if instant is not None:
                plan = Filter(plan, apply(sign, [time.ref, Value("datetime", ticks(instant))], -1))
    return Relation(plan, fields, (), name, False, ingested)


def _view(work: Work, name: str, at: int) -> Relation:
    if name in work.opening:
        raise KqlError("bind", f"the view {name} reads itself", at)
    text = work.catalogue.views[name]
    work.opening.append(name)
    try:
        query = parse(text)
        work.reads(query)
        if len(query.results) != 1:
            raise KqlError("bind", "a view is one query")
        found = work.pipe(query.results[0], inline.with_lets(work, query.statements, work.globals), None)
    except KqlError as fault:
        if fault.saved:
            fault.at = at
            raise
        fault.locate(text)
        place = f", line {fault.line}, column {fault.column}" if fault.line else ""
        told = KqlError(fault.phase, f"in the view {name}{place}: {fault.message}", at)
        told.saved = True
        raise told from None
    finally:
        work.opening.pop()
    return replace(found, groups=(), source=name)


def _called(work: Work, node: tree.Invocation, names: Names) -> Relation:
    call = node.call
    _within(work, node.within)
    name = call.name.lower()
    if name == "materialize":
        return _materialize(work, call, names)
    if name == "table":
        return table(work, _text(work, call, names), call.at)
    if name == "_getwatchlist":
        return _watchlist(work, call, names)
    if name == "_getwatchlistalias" and not call.args:
        return _aliases(work)
    if not calls.is_own(work, call, names) and not known("scalar", name):
        told = f"there is no function {call.name}() that gives a table{of_asim(call.name)}"
        raise UnknownTable("bind", told, call.at)
    found = inline.whole(work, tree.Pipe(source=tree.Invocation(call, at=call.at), at=call.at), names, Rows())
    if isinstance(found, Relation):
        return found
    raise KqlError("bind", f"{call.name}() gives a value; a table is expected here", call.at)


def _watchlist(work: Work, call: tree.Call, names: Names) -> Relation:
    if len(call.args) != 1:
        raise KqlError("plan", f"{call.name}() is supported with one argument, the alias of a watchlist", call.at)
    alias = _text(work, call, names)
    with placed(call.at):
        stored = work.catalogue.watchlists.get(alias)
    if stored is None:
        like = get_close_matches(alias, list(work.catalogue.watchlists), n=1)
        hint = f"; did you mean '{like[0]}'?" if like else ""
        raise UnknownTable("bind", f"there is no watchlist '{alias}'{hint}", call.at)
    return _stored(work, stored, alias, call.at)


def _aliases(work: Work) -> Relation:
    field = work.field("WatchlistAlias", "string")
    rows: list[list[Expression]] = [[Value("string", each)] for each in work.catalogue.watchlists]
    return Relation(Values([Out(field.id, field.type)], rows), (field,))


def _text(work: Work, call: tree.Call, names: Names) -> str:
    given = call.args[0] if call.args else None
    if given is None or isinstance(given, tree.Pipe):
        raise KqlError("bind", f"{call.name}() takes a name", call.at)
    value = constant(work.bind(given, names, Rows()), f"the name of {call.name}()", call.at)
    return str(value.value)


def _materialize(work: Work, call: tree.Call, names: Names) -> Relation:
    if len(call.args) != 1:
        raise KqlError("bind", "materialize() takes one table", call.at)
    given = call.args[0]
    found = inline.whole(work, given, names, Rows())
    if not isinstance(found, Relation):
        raise KqlError("bind", "materialize() takes a table", call.at)
    return work.again(work.share(found, once=True))


def _once(names: Sequence[str], at: int) -> None:
    for index, name in enumerate(names):
        if name in names[:index]:
            raise KqlError("bind", f"there are two columns '{name}'", at)


def _datatable(work: Work, node: tree.Datatable, names: Names) -> Relation:
    fields = tuple(work.field(each.name, each.type or "string") for each in node.columns)
    _once([each.name for each in fields], node.at)
    width = len(fields)
    if not width or len(node.values) % width:
        raise KqlError("bind", f"{len(node.values)} values do not fill rows of {width} columns", node.at)
    values = [
        _cell(work.bind(each, names, Rows()), fields[index % width].type, each.at)
        for index, each in enumerate(node.values)
    ]
    rows = [values[index : index + width] for index in range(0, len(values), width)]
    return Relation(Values([Out(each.id, each.type) for each in fields], rows), fields)


def _cell(value: Expression, type_: Scalar, at: int) -> Expression:
    if isinstance(value, Value) and value.type == "dynamic" and isinstance(value.value, str) and type_ == "string":
        return Value("string", value.value)
    return convert(value, type_, at)


def _range(work: Work, node: tree.Range, names: Names) -> Relation:
    start, stop, step = (work.bind(each, names, Rows()) for each in (node.start, node.stop, node.step))
    type_ = start.type
    for each in (stop, *([] if type_ in ("datetime", "timespan") else [step])):
        if each.type == "real" and type_ in ("int", "long"):
            type_ = "real"
        elif each.type == "long" and type_ == "int":
            type_ = "long"
    if type_ not in ("int", "long", "real", "decimal", "datetime", "timespan"):
        raise KqlError("bind", f"range counts numbers, instants or spans, not {type_}", node.at)
    start, stop = convert(start, type_, node.at), convert(stop, type_, node.at)
    step = convert(step, "timespan" if type_ in ("datetime", "timespan") else type_, node.at)
    field = work.field(node.name, type_)
    return Relation(Numbers([Out(field.id, type_)], start, stop, step), (field,), ordered=True)


def _print(work: Work, node: tree.Print, names: Names) -> Relation:
    told = [name for each in node.columns for name in each.names]
    _once(told, node.at)
    taken, fields, values = Taken(told), [], []
    from bartizan.hunt.binder.columns import parts

    for index, each in enumerate(node.columns):
        found = parts(work, each, names, Rows())
        for part in found:
            own = part.name if len(found) > 1 else f"print_{index}"
            name = part.name if part.told and each.names else taken.free(own)
            fields.append(work.field(name, part.value.type))
            values.append(part.value)
    return Relation(Values([Out(each.id, each.type) for each in fields], [values]), tuple(fields))


def _external(work: Work, node: tree.Externaldata, names: Names) -> Relation:
    fields = tuple(work.field(each.name, each.type or "string") for each in node.columns)
    outs = [Out(each.id, each.type) for each in fields]
    uris = [str(constant(work.bind(each, names, Rows()), "an address", each.at).value) for each in node.uris]
    if work.fetch is None:
        if not work.empty:
            raise KqlError("plan", f"externaldata is not allowed here: {NOT_ALLOWED}", node.at)
        return Relation(Values(outs, []), fields)
    options: dict[str, Any] = {}
    for name, each in node.options.items():
        options[name] = each.name if isinstance(each, tree.Name) else constant(
            work.bind(each, names, Rows()), f"the option {name}", each.at
        ).value  # fmt: skip
    with placed(node.at):
        loading = work.fetch([(each.name, each.type) for each in fields], options)
    for uri, each in zip(uris, node.uris, strict=True):
        with placed(each.at):
            loading.add(uri)
    texts = _stored(work, loading.stored, "", node.at)
    made = [
        (field, apply("parse_json", [each.ref], node.at) if field.type == "dynamic"
         else convert(each.ref, field.type, node.at))
        for field, each in zip(fields, texts.fields, strict=True)
    ]  # fmt: skip
    return project(texts, made)
