"""The evaluator: three-valued logic, the order of objects, and documents that are not as the schema says."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.odata.objects import ALERT

from bartizan.model.edm import edm
from bartizan.odata import bind, compile_predicate, matches, parse_filter, sort_key
from bartizan.odata.functions import arithmetic, rounded, word_starts
from bartizan.odata.tree import And, Compare, Expr, Literal, Not, Or, Order, Path

NULL, TRUE, FALSE = Literal(None, "null"), Literal(True, "bool"), Literal(False, "bool")
TRUTHS = {True: TRUE, False: FALSE, None: NULL}


def known(expr: Expr) -> bool | None:
    """The value of a condition, told by asking for it and for its opposite."""
    if matches(expr, {}):
        return True
    return False if matches(Not(expr), {}) else None


@pytest.mark.parametrize("one", [True, False, None])
@pytest.mark.parametrize("other", [True, False, None])
def test_three_valued_logic(one: bool | None, other: bool | None) -> None:
    """Null is neither true nor false, and says nothing where the other side decides."""
    both = None if None in (one, other) and False not in (one, other) else bool(one and other)
    either = None if None in (one, other) and True not in (one, other) else bool(one or other)
    assert known(And((TRUTHS[one], TRUTHS[other]))) is both
    assert known(Or((TRUTHS[one], TRUTHS[other]))) is either
    assert known(Not(TRUTHS[one])) is (None if one is None else not one)
    assert known(Compare("eq", TRUTHS[one], TRUTHS[other])) is (one == other)


@pytest.mark.parametrize(
    ("text", "begins", "does_not"),
    [
        ("Oscar Ward", "oscar wa ward", "scar ard"),
        ("myContosoTeam", "my contoso team contosoteam mycon", "ontoso eam"),
        ("contosoAdmin1", "ad admin1 1", "dmin min1"),
        ("hello123world", "hello 123 world 123w", "23 orld"),
        ("hello.world", "world", "lo"),
        ("SFA Videos", "sfa video", "fa"),
        ("helloWORLD", "world", "orld"),
    ],
)
def test_words_of_a_search(text: str, begins: str, does_not: str) -> None:
    """A word begins behind what is no letter or digit, where the case rises, and where letters and digits meet."""
    assert all(word_starts(text, each) for each in begins.split())
    assert not any(word_starts(text, each) for each in does_not.split())


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
NAMES = st.sampled_from(["a", "fqdn", "provider"])
json = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)
PROPERTIES = ("title", "confidence", "severity", "createdDateTime", "vendorInformation", "hostStates", "tags")
FILTERS = [
    "title eq 'a' or contains(title,'a') or title gt 'a' or length(title) gt 1 or title in ('a','b')",
    "confidence gt 1 or confidence add 1 eq 2 or confidence mod 2 eq 1 or round(confidence) eq 1 or -confidence lt 1",
    "severity eq 'high' or severity ge 'low' or severity has 'low'",
    "createdDateTime gt 2026-01-01 or year(createdDateTime) eq 1 or createdDateTime add duration'P1D' gt now()",
    "vendorInformation/provider eq 'a' or vendorInformation ne null or endswith(vendorInformation/provider, 'a')",
    "hostStates/any(h: h/fqdn eq 'a') or hostStates/all(h: h/isAzureAdJoined) or hostStates/$count gt 1",
    "tags/any(t: t eq 'a' or length(t) eq 1)",
]
PREDICATES = [compile_predicate(bind(parse_filter(text), edm("beta"), ALERT)) for text in FILTERS]


@settings(deadline=None)
@given(item=st.fixed_dictionaries(dict.fromkeys(PROPERTIES, json)))
def test_values_of_other_types_count_as_null(item: dict[str, object]) -> None:
    """A document that is not as the schema says selects or does not; it never fails."""
    for predicate in PREDICATES:
        assert predicate(item) in (True, False)


def test_arithmetic() -> None:
    """Doubles, but for the rest of a division, which is that of the numbers as written; null where engines differ."""
    assert arithmetic("add", False, 0.1, 0.2) == 0.1 + 0.2
    assert arithmetic("mod", False, 1e100, 7.0) == 10**100 % 7
    assert arithmetic("mod", False, 5.5, 0.1) == 0
    assert arithmetic("mod", True, -7, 3) == -1
    assert arithmetic("div", True, -7, 2) == -3
    assert arithmetic("div", False, -7.0, 2.0) == arithmetic("divby", True, -7, 2) == -3.5
    for op in ("div", "divby", "mod"):
        assert arithmetic(op, True, 1, 0) is None
    for number in (None, 1e151, 1e-151, 10**400):
        assert arithmetic("mul", False, number, 1.0) is None
    assert [rounded("round", x) for x in (0.5, -0.5, 2.5, 0.49999999999999994, 1e300)] == [1, -1, 3, 0, 1e300]


def path(name: str, kind: str = "text") -> Path:
    return Path((name,), None, "Edm.String", kind)  # type: ignore[arg-type]


def test_order() -> None:
    """Nulls first when ascending and last when descending; texts by code point; keys one after the other."""
    items = [{"n": n, "t": t} for n in (2, None, 1) for t in ("b", None, "B", "é", "a")]
    key = sort_key([Order(path("n", "int"), True), Order(path("t"))])
    made = sorted(items, key=key)
    assert [item["n"] for item in made] == [2] * 5 + [1] * 5 + [None] * 5
    assert [item["t"] for item in made[:5]] == [None, "B", "a", "b", "é"]


def test_order_without_case() -> None:
    """A property that ignores case is sorted so too."""
    key = sort_key([Order(Path(("t",), None, "Edm.String", "text", False, True))])
    assert [item["t"] for item in sorted([{"t": "b"}, {"t": "A"}, {"t": "C"}], key=key)] == ["A", "b", "C"]


def test_now_is_now() -> None:
    """A predicate that is kept for long compares with the time at which it is asked."""
    predicate = compile_predicate(bind(parse_filter("createdDateTime lt now()"), edm("v1.0"), ALERT))
    assert predicate({"createdDateTime": "2020-01-01T00:00:00.0000000Z"})
    assert not predicate({"createdDateTime": "9999-01-01T00:00:00.0000000Z"})


def test_trees_made_by_hand() -> None:
    """A path that nobody bound takes the kind of what it is compared with."""
    bare = Path(("a",))
    assert matches(Compare("eq", bare, Literal("x", "text")), {"a": "x"})
    assert matches(Compare("gt", Literal(5, "int"), bare), {"a": 4})
    assert not matches(Compare("gt", bare, Literal(5, "int")), {"a": "x"})
    assert matches(bare, {"a": True})
