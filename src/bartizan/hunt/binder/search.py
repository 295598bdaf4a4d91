"""search and find: rows of one or many tables where any column, or those that are named, hold what is looked for.

A word is looked for as a term; with a `*` before or behind as the end or the beginning of one, with both anywhere.

Source: Kusto Query Language, "search operator", "find operator".
"""

from collections.abc import Sequence

from msgspec.structs import replace

from bartizan.hunt import tree
from bartizan.hunt.binder.expressions import condition
from bartizan.hunt.binder.joins import option
from bartizan.hunt.binder.naming import bare, names_in
from bartizan.hunt.binder.parse import quoted
from bartizan.hunt.binder.scope import Field, Names, Relation, Rows, ScalarOf
from bartizan.hunt.binder.sources import sources, table
from bartizan.hunt.binder.unions import united
from bartizan.hunt.binder.work import Work, apply, convert, project
from bartizan.hunt.fault import KqlError
from bartizan.hunt.plan import Expression, Filter, Value
from bartizan.hunt.tree import Scalar


def search(work: Work, op: tree.Operator, names: Names, relation: Relation | None) -> Relation:
    assert isinstance(op.body, tree.Condition)
    cased = _cased(op)
    legs = [relation] if relation is not None else _legs(work, op.body.tables, names)
    wanted = _sought(op.body.expr, cased)
    made = []
    names = _absent(legs, names)
    for index, leg in enumerate(legs):
        found = _where(work, wanted, names, leg)
        told = work.field("$table", "string")
        name = Value("string", leg.source or f"search_arg{index}")
        made.append(project(found, [(told, name), *((each, each.ref) for each in found.fields)]))
    return made[0] if len(made) == 1 else united(work, made, False, "")


def _cased(op: tree.Operator) -> bool:
    kind = option(op, "kind", "case_insensitive").lower()
    if kind in ("default", "case_insensitive"):
        return False
    if kind == "case_sensitive":
        return True
    raise KqlError("bind", f"there is no kind '{kind}' of search", op.at)


def _legs(work: Work, tables: Sequence[tree.Node], names: Names) -> list[Relation]:
    """The tables that are named, or all."""
    if tables:
        return [leg for each in tables for leg in sources(work, each, names)]
    return [table(work, name, -1) for name in work.catalogue.every()]


def _absent(legs: Sequence[Relation], names: Names) -> Names:
    """A column that a table has not is null there."""
    absent = {each.name: Value(each.type, "" if each.type == "string" else None) for leg in legs for each in leg.fields}
    return Names({name: ScalarOf(value) for name, value in absent.items()}, names, names.depth)


def _where(work: Work, wanted: tree.Expr, names: Names, leg: Relation) -> Relation:
    """The rows of one table."""
    rows = Rows.of(leg)
    rows.windows = None
    return leg.over(Filter(leg.plan, condition(work, wanted, names, rows)))


def _sought(node: tree.Expr, cased: bool) -> tree.Expr:
    """The condition with words as searches of all columns."""
    inner = bare(node)
    match inner:
        case tree.Star():
            return tree.Constant("bool", True, at=node.at, end=node.end)
        case tree.Constant(type="string"):
            return _anywhere(tree.Star(at=inner.at, end=inner.end), inner, cased)
        case tree.Binary(op="and" | "or"):
            return replace(inner, left=_sought(inner.left, cased), right=_sought(inner.right, cased))
        case tree.Binary(op=":"):
            return _anywhere(inner.left, inner.right, cased)
        case tree.Call(name="not") if len(inner.args) == 1 and not isinstance(inner.args[0], tree.Pipe):
            return replace(inner, args=[_sought(inner.args[0], cased)])
    return node


def _anywhere(of: tree.Expr, word: tree.Expr, cased: bool) -> tree.Expr:
    """`of` has this word; of a star: any column."""
    word = bare(word)  # type: ignore[assignment]
    text = word.value if isinstance(word, tree.Constant) else None
    if not isinstance(text, str):
        return tree.Binary("has_cs" if cased else "has", of, word, at=of.at, end=word.end)
    op, needle = "has", text
    if text.startswith("*") and text.endswith("*") and len(text) > 1:
        op, needle = "contains", text[1:-1]
    elif text.endswith("*"):
        op, needle = "hasprefix", text[:-1]
    elif text.startswith("*"):
        op, needle = "hassuffix", text[1:]
    if "*" in needle:
        pattern = ".*".join(quoted(each) for each in text.split("*"))
        constant = tree.Constant("string", pattern if cased else f"(?i){pattern}", at=word.at, end=word.end)
        return tree.Binary("matches regex", of, constant, at=of.at, end=word.end)
    constant = tree.Constant("string", needle, at=word.at, end=word.end)
    return tree.Binary(f"{op}_cs" if cased else op, of, constant, at=of.at, end=word.end)


# ------------------------------------------------------------------ find


def find(work: Work, op: tree.Operator, names: Names, relation: Relation | None) -> Relation:
    """As an operator that begins a pipe."""
    if not isinstance(op.body, tree.Find) or relation is not None:
        raise KqlError("bind", "find begins a query", op.at)
    return found(work, op.body, names)


def found(work: Work, node: tree.Find, names: Names) -> Relation:
    """The source's name, then the columns that are asked for, or those that all tables have and the rest as a bag."""
    told = tree.Operator("find", node.options, at=node.at)
    source = option(told, "withsource", "source_")
    legs = _legs(work, node.tables, names)
    wanted = _sought(node.where, False)
    names = _absent(legs, names)
    rows = [_where(work, wanted, names, leg) for leg in legs]
    typed = _project(node, legs, wanted)
    named = list(typed)
    made = []
    for index, leg in enumerate(rows):
        by_name = leg.by_name()
        columns: list[tuple[Field, Expression]] = [
            (work.field(source, "string"), Value("string", legs[index].source or f"find_arg{index}"))
        ]
        columns += [
            (work.field(name, type_ or by_name[name].type), convert(by_name[name].ref, type_ or by_name[name].type, at))
            for name, (type_, at) in typed.items()
            if name in by_name
        ]
        if node.pack or node.project is None:
            rest = [each for each in leg.fields if each.name not in named]
            args: list[Expression] = [part for each in rest for part in (Value("string", each.name), each.ref)]
            bag = apply("pack_all", args, node.at) if args else Value("dynamic", {})
            columns.append((work.field("pack_", "dynamic"), bag))
        made.append(project(leg, columns))
    if len(made) == 1:
        return made[0]
    both = united(work, made, False, "")
    order = [source, *named]
    return both.over(both.plan, sorted(both.fields, key=lambda each: _place(order, each.name)))


def _place(order: Sequence[str], name: str) -> int:
    """Where a column is named, alone or, of several types, with its type behind it; else at the end."""
    for index, each in enumerate(order):
        if name == each or (name not in order and name.startswith(f"{each}_")):
            return index
    return len(order)


def _project(node: tree.Find, legs: Sequence[Relation], wanted: tree.Expr) -> "dict[str, tuple[Scalar | None, int]]":
    """The columns that are asked for, each with its type if that is told, and its place in the text."""
    if node.project is not None:
        return dict(_asked(each) for each in node.project)
    if len(legs) == 1:
        return dict.fromkeys(legs[0].names(), (None, node.at))
    common = set(legs[0].names())
    for leg in legs[1:]:
        common &= set(leg.names())
    mentioned = {each for leg in legs for each in leg.names()} & set(names_in(wanted))
    found = dict.fromkeys(name for leg in legs for name in leg.names())
    return {name: (None, node.at) for name in found if name in common | mentioned}


def _asked(one: tree.Named) -> "tuple[str, tuple[Scalar | None, int]]":
    column = bare(one.expr)
    if isinstance(column, tree.Call) and column.name == "typeof" and len(column.args) == 2:
        of, told = column.args
        if isinstance(of, tree.Name) and isinstance(told, tree.Typed):
            return of.name, (told.type, one.at)
    if not isinstance(column, tree.Name):
        raise KqlError("plan", "find projects names of columns only", one.at)
    return column.name, (None, one.at)
