"""parse, parse-where, parse-kv: a pattern becomes one regular expression, each column one of its groups.

simple: the whole text must fit, a column takes as little as it may and must be of its type; relaxed: a value of another
type is null; regex: the texts are regular expressions, and columns take as much as they may.

Source: Kusto Query Language, "parse operator", "parse-where operator", "parse-kv operator".
"""

from collections.abc import Sequence

from bartizan.hunt import tree
from bartizan.hunt.binder.columns import numbered
from bartizan.hunt.binder.joins import option
from bartizan.hunt.binder.scope import Field, Names, Relation, Rows
from bartizan.hunt.binder.work import Work, apply, constant, convert, project
from bartizan.hunt.fault import KqlError
from bartizan.hunt.functions import VALUE_OF
from bartizan.hunt.functions.strings import regex_groups
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
    rows = Rows.collecting(relation)
    source = work.bind(op.body.of, names, rows)
    relation = numbered(work, relation, rows)
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
            count += len(regex_groups(each.text)) if kind == "regex" else 0
        elif each.column is not None:
            count += 1
            groups.append(count)
            shape = _SHAPES.get(each.column.type or "string", some)
            parts.append(f"({shape}|{some})" if kind == "relaxed" and shape != some else f"({shape})")
    return "".join([*parts, "$"]), groups


# ------------------------------------------------------------------ parse-kv


def parse_kv(work: Work, op: tree.Operator, names: Names, relation: Relation) -> Relation:
    assert isinstance(op.body, tree.Pairs)
    rows = Rows.collecting(relation)
    source = convert(work.bind(op.body.of, names, rows), "string", op.at)
    relation = numbered(work, relation, rows)
    told: dict[str, list[str]] = {}
    for name, each in [*op.options.items(), *op.body.again]:
        value = each.name if isinstance(each, tree.Name) else constant(
            work.bind(each, names, Rows()), f"the option {name}", op.at
        ).value  # fmt: skip
        told.setdefault(name.lower(), []).append("true" if value is True else str(value))
    if "regex" in told:
        values = _by_regex(work, op, op.body.columns, told, source)
    else:
        values = _by_delimiters(work, op, op.body.columns, told, source)
    return _with(work, relation, values)


def _by_regex(
    work: Work, op: tree.Operator, columns: Sequence[tree.Column], told: dict[str, list[str]], source: Expression
) -> list[tuple[str, Expression]]:
    """Its first group finds a key, the second the value."""
    [regex] = told.pop("regex")[:1]
    if told or len(regex_groups(regex)) != 2:
        raise KqlError("bind", "parse-kv with regex= takes an expression of two groups, and nothing beside it", op.at)
    found = apply("extract_all", [Value("string", regex), source], op.at)
    work.spend(op.at, size(found) * len(columns))
    texts = [apply(VALUE_OF, [found, Value("string", each.name)], op.at) for each in columns]
    return [(each.name, convert(text, each.type or "string", op.at)) for each, text in zip(columns, texts, strict=True)]


def _by_delimiters(
    work: Work, op: tree.Operator, columns: Sequence[tree.Column], told: dict[str, list[str]], source: Expression
) -> list[tuple[str, Expression]]:
    quotes, escapes = told.get("quote", []), told.get("escape", [])
    for each in (*quotes, *escapes):
        if not 1 <= len(each) <= (2 if each in quotes else 1):
            raise KqlError("bind", "a quote of parse-kv is one character or two, an escape is one", op.at)
    around = _around(op, [each.name for each in columns], told)
    values = []
    for column in columns:
        regex = _pair(column.name, around, quotes, escapes)
        found = [_extracted(work, regex, group, source, op.at) for group in range(1, len(quotes) + 2)]
        text = found.pop()
        for inner in found:
            given = apply("isnotempty", [inner], op.at)
            text = apply("iff", [given, _unescaped(inner, escapes, op.at), text], op.at)
        values.append((column.name, convert(text, column.type or "string", op.at)))
    return values


def _around(op: tree.Operator, keys: Sequence[str], told: dict[str, list[str]]) -> tuple[str, str, str]:
    """What finds the beginning of a pair, what stands between key and value, and a value without quotes. Where no
    delimiters are told, whatever is neither letter nor digit is one."""
    pair, kv = (quoted("".join(told.get(each, []))) for each in ("pair_delimiter", "kv_delimiter"))
    if not pair and not kv:
        opening = "".join(quoted(each[0]) for each in told.get("quote", []))
        return r"(?:^|[^\p{L}\p{N}])", rf"[^\p{{L}}\p{{N}}{opening}]+", r"([\p{L}\p{N}]+)"
    if not pair or not kv:
        raise KqlError("bind", "parse-kv takes pair_delimiter and kv_delimiter together", op.at)
    greedy = told.get("greedy", [""])[0].lower() == "true"
    end = rf"{pair}(?:{'|'.join(map(quoted, keys))})\s*{kv}" if greedy else pair
    return rf"(?:^|{pair})\s*", rf"\s*{kv}\s*", rf"(.*?)\s*(?:{end}|$)"


def _unescaped(text: Expression, escapes: Sequence[str], at: int) -> Expression:
    if not escapes:
        return text
    escape = Value("string", f"(?s)(?:{'|'.join(quoted(each) for each in escapes)})(.)")
    return apply("replace_regex", [text, escape, Value("string", r"\1")], at)


def _pair(key: str, around: tuple[str, str, str], quotes: Sequence[str], escapes: Sequence[str]) -> str:
    """What finds the value of a key: a group for each kind of quotes around it, and the last for none."""
    begin, between, bare = around
    named, forms = [quoted(key)], list[str]()
    for opening, closing in ((quoted(each[0]), quoted(each[-1])) for each in quotes):
        named.append(f"{opening}{quoted(key)}{closing}")
        passed = "".join(rf"{quoted(each)}.|" for each in escapes)
        barred = "".join(quoted(each) for each in escapes)
        forms.append(f"{opening}((?:{passed}[^{barred}{closing}])*){closing}")
    return f"(?s){begin}(?:{'|'.join(named)}){between}(?:{'|'.join([*forms, bare])})"
