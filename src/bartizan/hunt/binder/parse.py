"""parse, parse-where, parse-kv: a pattern becomes one regular expression, each column one of its groups.

simple: the whole text must fit, a column takes as little as it may and must be of its type; relaxed: a value of another
type is null; regex: the texts are regular expressions, and columns take as much as they may.

Source: Kusto Query Language, "parse operator", "parse-where operator", "parse-kv operator".
"""

import re
from collections.abc import Sequence

from bartizan.hunt import tree
from bartizan.hunt.binder.joins import option
from bartizan.hunt.binder.scope import Field, Names, Relation, Rows
from bartizan.hunt.binder.work import Work, apply, constant, convert, project
from bartizan.hunt.fault import KqlError
from bartizan.hunt.plan import Expression, Filter, Value, size
from bartizan.hunt.tree import Scalar

_SPECIAL = frozenset(r"\.+*?()|[]{}^$")
_WHOLE = r"[+-]?\d+"
_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
# What fits a type by its letters alone; the others are looked at once they are taken out.
_SHAPES: dict[Scalar, str] = {"int": _WHOLE, "long": _WHOLE, "real": _NUMBER, "decimal": _NUMBER}
_CHECKED = ("datetime", "timespan", "guid", "bool")
_FLAGS = frozenset("Uims")
TEXT_A_NODE = 100  # characters of a regular expression that weigh as much as an expression


def quoted(text: str) -> str:
    """A text as a regular expression that fits just it."""
    return "".join(f"\\{each}" if each in _SPECIAL else each for each in text)


def parse(work: Work, op: tree.Operator, names: Names, relation: Relation) -> Relation:
    assert isinstance(op.body, tree.Parse)
    kind = option(op, "kind", "simple").lower()
    if kind not in ("simple", "regex", "relaxed"):
        raise KqlError("bind", f"there is no kind '{kind}' of {op.name}", op.at)
    source = work.bind(op.body.of, names, Rows.of(relation))
    if source.type not in ("string", "dynamic"):
        raise KqlError("bind", f"{op.name} reads a string, not {source.type}", op.body.of.at)
    source = convert(source, "string", op.at)
    regex, groups = _pattern(op, op.body, kind)
    columns = [each.column for each in op.body.pieces if each.column is not None]
    texts = [_extracted(work, regex, group, source, op.at) for group in groups]
    values = [convert(text, each.type or "string", op.at) for text, each in zip(texts, columns, strict=True)]
    fits: list[Expression] = [apply("matches regex", [source, Value("string", regex)], op.at)]
    if kind == "simple":
        checked = [each for each in values if each.type in _CHECKED]
        if checked:
            fits += [apply("isnotnull", [each], op.at) for each in checked]
            whole = apply("and", fits, op.at)
            work.spend(op.at, size(whole) * len(values))
            values = [apply("iff", [whole, each, _none(each.type)], op.at) for each in values]
    if op.name == "parse-where":
        condition = fits[0] if len(fits) == 1 else apply("and", fits, op.at)
        if kind != "simple":
            nulls = [apply("isnotnull", [each], op.at) for each in values if each.type not in ("string", "dynamic")]
            condition = apply("and", [*fits, *nulls], op.at) if nulls else condition
        relation = relation.over(Filter(relation.plan, condition))
    return _with(work, relation, [(each.name, value) for each, value in zip(columns, values, strict=True)])


def _none(type_: Scalar) -> Value:
    return Value(type_, "" if type_ == "string" else None)


def _extracted(work: Work, regex: str, group: int, source: Expression, at: int) -> Expression:
    work.spend(at, size(source) + len(regex) // TEXT_A_NODE)
    return apply("extract", [Value("string", regex), Value("long", group), source], at)


def _with(work: Work, relation: Relation, values: Sequence[tuple[str, Expression]]) -> Relation:
    """The columns of the rows with these: in their place where the name is there already."""
    made: dict[str, tuple[Field, Expression]] = {each.name: (each, each.ref) for each in relation.fields}
    for name, value in values:
        made[name] = (work.field(name, value.type), value)
    return project(relation, list(made.values()))


def _pattern(op: tree.Operator, body: tree.Parse, kind: str) -> tuple[str, list[int]]:
    """The regular expression, and the number of each column's group."""
    flags = body.flags or ""
    if set(flags) - _FLAGS:
        raise KqlError("bind", f"flags of {op.name} are {', '.join(sorted(_FLAGS))}", op.at)
    some = ".*" if kind == "regex" else ".*?"
    parts, groups, count = [f"(?s{flags.replace('s', '')})^"], list[int](), 0
    for each in body.pieces:
        if each.star:
            parts.append(some)
        elif each.text is not None:
            parts.append(each.text if kind == "regex" else quoted(each.text))
            count += _groups(each.text, each.at) if kind == "regex" else 0
        elif each.column is not None:
            count += 1
            groups.append(count)
            shape = _SHAPES.get(each.column.type or "string", some)
            parts.append(f"({shape}|{some})" if kind == "relaxed" and shape != some else f"({shape})")
    return "".join([*parts, "$"]), groups


def _groups(regex: str, at: int) -> int:
    try:
        return re.compile(regex).groups
    except re.error as problem:
        raise KqlError("bind", f"no regular expression: {problem}", at) from None


# ------------------------------------------------------------------ parse-kv


def parse_kv(work: Work, op: tree.Operator, names: Names, relation: Relation) -> Relation:
    assert isinstance(op.body, tree.Pairs)
    source = convert(work.bind(op.body.of, names, Rows.of(relation)), "string", op.at)
    told = {
        name.lower(): each.name if isinstance(each, tree.Name) else constant(
            work.bind(each, names, Rows()), f"the option {name}", op.at
        ).value
        for name, each in op.options.items()
    }  # fmt: skip
    if _true(told.get("regex")):
        raise KqlError("plan", "parse-kv with regex=true is not supported", op.at)
    pair = told.get("pair_delimiter")
    kv = told.get("kv_delimiter")
    if not pair or not kv:
        raise KqlError("plan", "parse-kv is supported with pair_delimiter and kv_delimiter", op.at)
    quote = str(told.get("quote") or "")
    keys = "|".join(quoted(each.name) for each in op.body.columns)
    values = []
    for each in op.body.columns:
        regex, groups = _pair(each.name, keys, str(pair), str(kv), quote, _true(told.get("greedy")))
        texts = [_extracted(work, regex, group, source, op.at) for group in groups]
        text = texts[0] if len(texts) == 1 else apply("iff", [apply("isnotempty", texts[:1], op.at), *texts], op.at)
        values.append((each.name, convert(text, each.type or "string", op.at)))
    return _with(work, relation, values)


def _true(option_: object) -> bool:
    return option_ is True or str(option_).lower() == "true"


def _pair(key: str, keys: str, pair: str, kv: str, quote: str, greedy: bool) -> tuple[str, list[int]]:
    """What finds the value of a key, one of those that the expression `keys` finds: the groups of its quoted and its
    plain form."""
    end = f"{quoted(pair)}(?:{keys})\\s*{quoted(kv)}" if greedy else quoted(pair)
    plain = rf"(.*?)\s*(?:{end}|$)"
    begin, between = rf"(?s)(?:^|{quoted(pair)})\s*", rf"\s*{quoted(kv)}\s*"
    if not quote:
        return f"{begin}{quoted(key)}{between}{plain}", [1]
    opening, closing = quoted(quote[0]), quoted(quote[-1])
    named = f"(?:{quoted(key)}|{opening}{quoted(key)}{closing})"
    return f"{begin}{named}{between}(?:{opening}(.*?){closing}|{plain})", [1, 2]
