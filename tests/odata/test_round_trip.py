"""A tree written as text is read as the same tree, and whatever is written, the only error is a 400."""

from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.odata.objects import ALERT, EVIDENCE, SCORE, USER, filters
from tests.steps import calls_within

from bartizan.errors import BadRequest, InvalidQuery
from bartizan.model.edm import edm
from bartizan.odata import (
    bind,
    bind_order,
    bind_search,
    compile_predicate,
    parse_expand,
    parse_filter,
    parse_options,
    parse_orderby,
    parse_search,
    parse_select,
)
from bartizan.odata import tree as t
from bartizan.odata.functions import SIGNATURES
from bartizan.odata.tree import Expr, Literal, Path

NAMES = st.sampled_from(["a", "b", "severity", "any", "eq", "date", "Ünï", "ns.user", "x_1"])
RESERVED = {"eq", "any"}

# ---------------------------------------------------------------- trees to text


def write(expr: Expr) -> str:
    """Every operand in brackets, so that precedence cannot hide a fault of its own."""
    match expr:
        case Literal(None):
            return "null"
        case Literal(bool() as truth):
            return str(truth).lower()
        case Literal(str() as value, "enum"):
            return f"ns.kind'{value}'"
        case Literal(str() as value, "text"):
            return "'" + value.replace("'", "''") + "'"
        case Literal(value):
            return str(value)
        case Path(names, variable):
            return "/".join(names if variable is None else (variable, *names))
        case t.Size(path):
            return f"{write(path)}/$count"
        case t.Call(name, args):
            return f"{name}({', '.join(map(write, args))})"
        case t.Arithmetic(op, left, right) | t.Compare(op, left, right):
            return f"({write(left)}) {op} ({write(right)})"
        case t.Negative(operand):
            return f"-({write(operand)})"
        case t.In(left, values):
            return f"({write(left)}) in ({', '.join(map(write, values))})"
        case t.Not(operand):
            return f"not ({write(operand)})"
        case t.And(operands):
            return " and ".join(f"({write(each)})" for each in operands)
        case t.Or(operands):
            return " or ".join(f"({write(each)})" for each in operands)
        case t.Any(path, None, _):
            return f"{write(path)}/any()"
        case t.Any(path, variable, body) | t.All(path, variable, body):
            assert body is not None
            return f"{write(path)}/{type(expr).__name__.lower()}({variable}: {write(body)})"
    raise AssertionError(expr)


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
literals = st.one_of(
    st.builds(Literal, texts, st.just("text")),
    st.builds(Literal, st.integers(0, 2**63 - 1), st.just("int")),
    st.builds(Literal, st.floats(0, 1e300).filter(lambda f: "." in str(f) or "e" in str(f)), st.just("real")),
    st.sampled_from([Literal(None, "null"), Literal(True, "bool"), Literal(False, "bool"), Literal("m", "enum")]),
    st.builds(Literal, st.uuids().map(str), st.just("guid")),
    st.builds(Literal, st.dates().map(str), st.just("date")),
    st.builds(Literal, st.datetimes().map(lambda at: at.isoformat() + "Z"), st.just("instant")),
)
paths = st.lists(NAMES, min_size=1, max_size=3).map(lambda names: Path(tuple(names)))
leaves = st.one_of(literals, paths, st.builds(t.Size, paths))


def _inner(below: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    two = st.lists(below, min_size=2, max_size=3).map(tuple)
    calls = st.sampled_from([(name, len(known.arguments)) for name, known in SIGNATURES.items()])
    return st.one_of(
        st.builds(t.Compare, st.sampled_from(["eq", "ne", "lt", "le", "gt", "ge", "has"]), below, below),
        st.builds(t.Arithmetic, st.sampled_from(["add", "sub", "mul", "div", "divby", "mod"]), below, below),
        st.builds(t.In, below, st.lists(literals, max_size=3).map(tuple)),
        st.builds(t.Not, below),
        st.builds(t.And, two),
        st.builds(t.Or, two),
        st.builds(t.Any, paths),
        st.builds(t.Any, paths, st.just("v"), below),
        st.builds(t.All, paths, st.just("v"), below),
        calls.flatmap(
            lambda call: st.lists(below, min_size=call[1], max_size=call[1]).map(
                lambda args: t.Call(call[0], tuple(args))
            )
        ),
        below.filter(lambda expr: not isinstance(expr, Literal)).map(t.Negative),
    )


trees = st.recursive(leaves, _inner, max_leaves=12)


@settings(max_examples=300, deadline=None)
@given(expr=trees)
def test_written_trees_are_read_back(expr: Expr) -> None:
    """Nothing is lost or moved between a tree and its text."""
    assert parse_filter(write(expr)) == expr


# ---------------------------------------------------------------- fuzz

PIECES = st.sampled_from(
    (
        "( ) , / : ; = * - ' \" a eq ne and or not in has add mod any( all( any() x: x/ $it $count $top null true 5 "
        "1.5 -1 2026-11-23 2026-11-23T04:50:30Z 2026-11-23T04:50:30.1 00:00 12:30 "
        "8e881353-1735-45af-af21-ee1344582a4d "
        "severity title hostStates hostStates/any(h: h/fqdn evidence microsoft.graph.security.ipEvidence/ "
        "contains( tolower( now() isof( microsoft.graph.riskLevel'high' duration'P1D' guid' datetime'2026-01-01' "
        "'high' "
        '"b" AND OR NOT \\ \ud800 \0 Ω 9e99999 INF'
    ).split(" ")
)
MUTANTS = st.tuples(
    st.sampled_from([ALERT, SCORE, EVIDENCE, USER]).flatmap(filters),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 3), st.one_of(PIECES, st.characters())), max_size=4),
)
ANYTHING = st.one_of(
    st.text(max_size=60), st.lists(PIECES, max_size=25).map(" ".join), st.lists(PIECES, max_size=25).map("".join)
)


def mutated(given: tuple[str, list[tuple[int, int, str]]]) -> str:
    text, changes = given
    for at, removed, put in changes:
        at %= len(text) + 1
        text = text[:at] + put + text[at + removed :]
    return text


MOST_CALLS = 500_000


def survives(text: str) -> None:
    """Reads, binds and runs, or is a 400 with a message of some length; soon."""
    try:
        with calls_within(MOST_CALLS):
            asked = bind(parse_filter(text), edm("beta"), ALERT)
    except InvalidQuery as refused:
        assert refused.message.startswith("Invalid filter clause")
        assert len(refused.message) < 4_000
    else:
        with calls_within(MOST_CALLS):
            compile_predicate(asked)({"title": "a", "hostStates": [{"fqdn": None}, None, 5], "severity": []})


@settings(max_examples=600, deadline=None)
@given(text=ANYTHING)
@example("a/any(x: " * 40 + "1 eq 1" + ")" * 40)
@example("title eq 'x' and severity gt 'none'")
@example("$it eq 1")
@example("hostStates/any($it: $it/fqdn eq 'x')")
def test_any_text_as_filter(text: str) -> None:
    """Whatever is sent as $filter, the only refusal is a 400."""
    survives(text)


@settings(max_examples=400, deadline=None)
@given(parts=MUTANTS)
def test_mutated_filters(parts: tuple[str, list[tuple[int, int, str]]]) -> None:
    """The same for valid filters with some damage."""
    survives(mutated(parts))


@settings(max_examples=400, deadline=None)
@given(text=ANYTHING)
@example("alerts($filter=')')")
@example('"')
def test_any_text_as_other_options(text: str) -> None:
    """The same for the other options."""
    for read in (parse_select, parse_expand):
        try:
            read(text)
        except InvalidQuery as refused:
            assert len(refused.message) < 4_000
    try:
        bind_order(parse_orderby(text), edm("v1.0"), ALERT)
    except InvalidQuery as refused:
        assert len(refused.message) < 4_000
    try:
        bind_search(parse_search(text), edm("v1.0"), USER, searchable=("displayName", "mail"))
    except InvalidQuery as refused:
        assert len(refused.message) < 4_000


@settings(max_examples=400, deadline=None)
@given(
    text=st.one_of(
        ANYTHING,
        st.lists(st.one_of(PIECES, st.sampled_from(["&", "=", "%", "%41", "%ff", "+"])), max_size=20).map("".join),
    )
)
@example("$filter=%ff")
@example("\ud800=1&$top=\ud800")
def test_any_query_string(text: str) -> None:
    """The same for the whole query string."""
    try:
        parse_options(text)
    except BadRequest as refused:
        assert len(refused.message) < 600
