"""Text to tree: precedence, literals, lambdas, what real clients write, and errors that say where and what."""

import pytest
from tests.steps import calls_within

from bartizan.errors import InvalidQuery
from bartizan.odata import parse_expand, parse_filter, parse_orderby, parse_search, parse_select
from bartizan.odata.parse import Expand
from bartizan.odata.tree import (
    All,
    And,
    Any,
    Arithmetic,
    Call,
    Compare,
    Expr,
    In,
    Literal,
    Negative,
    Not,
    Or,
    Order,
    Path,
    Search,
    Size,
)


def path(text: str, variable: str | None = None) -> Path:
    return Path(tuple(text.split("/")) if text else (), variable)


def text(value: str) -> Literal:
    return Literal(value, "text")


def number(value: int) -> Literal:
    return Literal(value, "int")


A, B, C = (Compare("eq", path(name), number(1)) for name in "abc")

TREES: list[tuple[str, Expr]] = [
    ("a eq 1", A),
    ("a EQ 1 AND b Eq 1", And((A, B))),
    ("a eq 1 or b eq 1 and c eq 1", Or((A, And((B, C))))),
    ("(a eq 1 or b eq 1) and c eq 1", And((Or((A, B)), C))),
    ("a eq 1 and b eq 1 and c eq 1", And((A, B, C))),
    ("not a eq 1", Not(A)),
    ("not(a eq 1) and b eq 1", And((Not(A), B))),
    ("NOT contains(a,'x')", Not(Call("contains", (path("a"), text("x"))))),
    ("  ( ( a  eq\t1 ) )  ", A),
    ("a eq -5", Compare("eq", path("a"), number(-5))),
    ("-a lt - 5", Compare("lt", Negative(path("a")), number(-5))),
    (
        "a add 2 mul 3 eq 7",
        Compare("eq", Arithmetic("add", path("a"), Arithmetic("mul", number(2), number(3))), number(7)),
    ),
    (
        "a sub 2 sub 3 eq b divby 2",
        Compare(
            "eq",
            Arithmetic("sub", Arithmetic("sub", path("a"), number(2)), number(3)),
            Arithmetic("divby", path("b"), number(2)),
        ),
    ),
    ("a eq 1 eq true", Compare("eq", A, Literal(True, "bool"))),
    ("a eq null", Compare("eq", path("a"), Literal(None, "null"))),
    ("a ne FALSE", Compare("ne", path("a"), Literal(False, "bool"))),
    ("a eq 'it''s'", Compare("eq", path("a"), text("it's"))),
    ('a eq "say ""x"""', Compare("eq", path("a"), text('say "x"'))),
    ("a eq ''", Compare("eq", path("a"), text(""))),
    ("a eq'x'", Compare("eq", path("a"), text("x"))),
    ("a eq 1.5e3", Compare("eq", path("a"), Literal(1500.0, "real"))),
    ("a eq 5L or a eq 2.5M", Or((Compare("eq", path("a"), number(5)), Compare("eq", path("a"), Literal(2.5, "real"))))),
    ("a eq 99999999999999999999", Compare("eq", path("a"), Literal(1e20, "real"))),
    ("a eq ns.level'high'", Compare("eq", path("a"), Literal("high", "enum"))),
    ("a has ns.sub.roles'x,y'", Compare("has", path("a"), Literal("x,y", "enum"))),
    (
        "a eq 8e881353-1735-45af-af21-ee1344582a4d",
        Compare("eq", path("a"), Literal("8e881353-1735-45af-af21-ee1344582a4d", "guid")),
    ),
    (
        "a eq guid'8e881353-1735-45af-af21-ee1344582a4d'",
        Compare("eq", path("a"), Literal("8e881353-1735-45af-af21-ee1344582a4d", "guid")),
    ),
    ("a ge 2026-11-21", Compare("ge", path("a"), Literal("2026-11-21", "date"))),
    ("a ge 2026-11-21T02:56:38Z", Compare("ge", path("a"), Literal("2026-11-21T02:56:38Z", "instant"))),
    (
        "a ge 2026-11-21T02:56:38.480823 00:00 and b eq 1",
        And((Compare("ge", path("a"), Literal("2026-11-21T02:56:38.480823 00:00", "instant")), B)),
    ),
    ("a ge datetime'2026-11-21T00:00:00'", Compare("ge", path("a"), Literal("2026-11-21T00:00:00", "instant"))),
    ("a lt 12:30", Compare("lt", path("a"), Literal("12:30", "time"))),
    ("a lt duration'PT1H'", Compare("lt", path("a"), Literal("PT1H", "duration"))),
    ("a in ('x', \"y\")", In(path("a"), (text("x"), text("y")))),
    ("a in (1,-2,null)", In(path("a"), (number(1), number(-2), Literal(None, "null")))),
    ("a in ()", In(path("a"), ())),
    ("in eq 1 and not/x eq 1", And((Compare("eq", path("in"), number(1)), Compare("eq", path("not/x"), number(1))))),
    ("a/b/c eq 1", Compare("eq", path("a/b/c"), number(1))),
    ("$it/a eq 1", A),
    ("a/$count gt 2", Compare("gt", Size(path("a")), number(2))),
    ("microsoft.graph.user/a eq 1", Compare("eq", path("microsoft.graph.user/a"), number(1))),
    ("a/any()", Any(path("a"))),
    ("a/any(x:x/b eq 1)", Any(path("a"), "x", Compare("eq", path("b", "x"), number(1)))),
    ("a/ALL(x : x eq 'v')", All(path("a"), "x", Compare("eq", path("", "x"), text("v")))),
    (
        "a/any(x: x/b/any(y: y eq 1 and x/c eq 1 and a eq 1))",
        Any(
            path("a"),
            "x",
            Any(
                path("b", "x"),
                "y",
                And(
                    (Compare("eq", path("", "y"), number(1)), Compare("eq", path("c", "x"), number(1)), A),
                ),
            ),
        ),
    ),
    ("a/any(x: x/b/$count eq 1)", Any(path("a"), "x", Compare("eq", Size(path("b", "x")), number(1)))),
    ("startsWith(a,'x') eq true", Compare("eq", Call("startswith", (path("a"), text("x"))), Literal(True, "bool"))),
    ("substringof('x',a)", Call("contains", (path("a"), text("x")))),
    ("substring(a,1,2) eq 'x'", Compare("eq", Call("substring", (path("a"), number(1), number(2))), text("x"))),
    ("a lt now()", Compare("lt", path("a"), Call("now", ()))),
    ("isof('ns.user')", Call("isof", (path(""), text("ns.user")))),
    ("a/any(x: isof(x, ns.user))", Any(path("a"), "x", Call("isof", (path("", "x"), text("ns.user"))))),
    (
        "date eq 1 and year(date) eq 1",
        And((Compare("eq", path("date"), number(1)), Compare("eq", Call("year", (path("date"),)), number(1)))),
    ),
]


@pytest.mark.parametrize(("given", "wanted"), TREES, ids=[given for given, _ in TREES])
def test_trees(given: str, wanted: Expr) -> None:
    """Each text becomes the tree that the standard, or the client that writes it, means."""
    assert parse_filter(given) == wanted


ERRORS = [
    ("", "position 0, found the end"),
    ("a eq", "position 4, found the end"),
    ("a eq 'x", "the string that begins at position 5 is not closed"),
    ("a eq ‘x’", "straight quotes"),
    ("a == 1", "position 2"),
    ("a eq 1 b", "position 7, found 'b'"),
    ("(a eq 1", "expected ')' at position 7"),
    ("a eq 1)", "position 6, found ')'"),
    ("a & b", "cannot read '& b' at position 2"),
    ("foo(a) eq 1", "unknown function 'foo' at position 0; known: contains, startswith"),
    ("contains(a)", "contains at position 0 takes 2 arguments, not 1"),
    ("a in (b)", "literal"),
    ("a in 'x'", "expected '('"),
    ("a/any(x eq 1)", "a variable and ':'"),
    ("a/all()", "a condition"),
    ("a/5 eq 1", "position 2, found '5"),
    ("a eq 5abc", "position 5"),
    ("a eq 1e999", "1.7e308"),
    ("a eq " + "1" * 5000, "1.7e308"),
    ("a eq 'x\0'", "NUL character at position 7"),
    ("a eq '\ud800'", "surrogate"),
    ("a eq xx'y'", "a qualified enum"),
    ("isof(a eq 1)", "isof('namespace.type')"),
    ("a eq 1 and", "found the end"),
    ("((((", "found the end"),
]


@pytest.mark.parametrize(
    ("given", "wanted"), ERRORS, ids=[given[:20].encode("unicode_escape").decode() for given, _ in ERRORS]
)
def test_errors(given: str, wanted: str) -> None:
    """An error begins with the words that connectors look for, and says where, what was found and what is right."""
    with pytest.raises(InvalidQuery) as refused:
        parse_filter(given)
    assert refused.value.status == 400
    assert refused.value.message.startswith("Invalid filter clause: ")
    assert wanted in refused.value.message
    assert len(refused.value.message) < 600


BOMBS = [
    "(" * 4000 + "a",
    "not " * 2000 + "a",
    "- " * 4000 + "1",
    "a eq " + " add ".join(["1"] * 1600),
    " eq ".join(["a"] * 1600),
    "a/any(x: " * 800 + "1 eq 1",
    "tolower(" * 1000 + "a",
    "a in (" + ",".join(["1"] * 4000) + ")",
    "a" * 9000,
    "'" * 8191,
    " " * 8000,
    "a eq 1 and " * 700 + "a eq 1",
]


MOST_CALLS = 200_000


@pytest.mark.parametrize("bomb", BOMBS, ids=[bomb[:10] for bomb in BOMBS])
def test_bounds(bomb: str) -> None:
    """Nothing is read without a bound: what is too long, too deep or too much is a 400, and soon."""
    try:
        with calls_within(MOST_CALLS):
            parse_filter(bomb)
    except InvalidQuery as refused:
        assert len(refused.message) < 600
    else:
        assert bomb.startswith("a eq 1 and ")  # long, and not deep


def test_orderby() -> None:
    """Keys in their order, with directions in any case."""
    assert parse_orderby("a desc, b/c ASC,d") == (Order(path("a"), True), Order(path("b/c")), Order(path("d")))


@pytest.mark.parametrize(
    "given", ["", "a,", "a up", "tolower(a)", "a/any()", "5", ",".join("abcdefghijklmnopqrstuvwxyz")]
)
def test_orderby_refused(given: str) -> None:
    """Only properties can be sorted by, and only some."""
    with pytest.raises(InvalidQuery, match=r"^Invalid \$orderby"):
        parse_orderby(given)


def test_select() -> None:
    """Paths as they are written, each once."""
    assert parse_select("id, a/b,id,*") == ("id", "a/b", "*")
    assert parse_select("ns.user/a") == ("ns.user/a",)


@pytest.mark.parametrize("given", ["", "a,", "a b", "a/", "'a'"])
def test_select_refused(given: str) -> None:
    """A list of names and nothing else."""
    with pytest.raises(InvalidQuery, match=r"^Invalid \$select"):
        parse_select(given)


def test_expand() -> None:
    """Options of an entry are handed on as text, brackets and quotes inside them included."""
    assert parse_expand("alerts") == (Expand("alerts", {}),)
    assert parse_expand("a($select=id,b;$top=5;$filter=x/any(y:y eq ')') and z eq 1), *") == (
        Expand("a", {"select": "id,b", "top": "5", "filter": "x/any(y:y eq ')') and z eq 1"}),
        Expand("*", {}),
    )
    assert parse_expand("a(expand=b($top=1))") == (Expand("a", {"expand": "b($top=1)"}),)


@pytest.mark.parametrize("given", ["", "a(", "a($top=1", "a($top)", "a($top=1;$top=2)", "a)", "a($x='"])
def test_expand_refused(given: str) -> None:
    """Each entry is a name and a closed list of options."""
    with pytest.raises(InvalidQuery, match=r"^Invalid \$expand"):
        parse_expand(given)


def term(prefix: str, name: str = "") -> Search:
    return Search(path(name), prefix)


SEARCHES: list[tuple[str, Expr]] = [
    ('"displayName:wa"', term("wa", "displayName")),
    ('"displayName:wa" OR "mail:ad"', Or((term("wa", "displayName"), term("ad", "mail")))),
    ('"a:x" AND ("b:y" OR z)', And((term("x", "a"), Or((term("y", "b"), term("z")))))),
    ("x y", And((term("x"), term("y")))),
    ('NOT "a:x"', Not(term("x", "a"))),
    ('"a:two words"', And((term("two", "a"), term("words", "a")))),
    ('"say \\"x\\""', And((term("say"), term('"x"')))),
    ('"http://x"', term("//x", "http")),
    ('"5:x"', term("5:x")),
    ('x or y', And((term("x"), term("or"), term("y")))),
]  # fmt: skip


@pytest.mark.parametrize(("given", "wanted"), SEARCHES, ids=[given for given, _ in SEARCHES])
def test_searches(given: str, wanted: Expr) -> None:
    """Terms with and without a property, joined by words in capitals; AND where nothing stands between."""
    assert parse_search(given) == wanted


@pytest.mark.parametrize(
    "given", ["", " ", '"', '"a', "(", "a)", "(a", "OR", "a OR", "AND a", "NOT", '""', '"a:"', "x " * 65, "a\0", ")("]
)
def test_searches_refused(given: str) -> None:
    """Terms, operators and brackets that do not fit, and too many of them."""
    with pytest.raises(InvalidQuery, match=r"^Invalid \$search"):
        parse_search(given)
