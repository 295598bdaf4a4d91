"""What is wrong with a query is told where it stands; nothing that is given to the parser breaks it."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bartizan.hunt.fault import KqlError
from bartizan.hunt.lexer import KEYWORDS, MAX_TEXT, tokens
from bartizan.hunt.parser import cursor, faults, parse


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("", 1, 1),
        ("// nothing", 1, 1),
        (".show tables", 1, 1),
        ("| where a", 1, 1),
        ("T | where", 1, 10),
        ("T | where a ==", 1, 15),
        ("T | where (a == 1", 1, 18),
        ("T | where a == 1)", 1, 17),
        ("T\n| wher a", 2, 3),
        ("T\n|\n| take 1", 3, 1),
        ("T | take 5;; U", 1, 12),
        ("T\nU", 2, 1),
        ("let x = 1\nT", 2, 1),
        ("let x 1; T", 1, 7),
        ("T | project a, , b", 1, 16),
        ("T | project a,", 1, 15),
        ("T | extend a b", 1, 14),
        ("T | where f(a,)", 1, 15),
        ("T | where a in (1, 2,)", 1, 22),
        ("T | where a in 1", 1, 16),
        ("T | where a between (1, 2)", 1, 23),
        ("T | where a == b == c", 1, 18),
        ("T | where a == - -1", 1, 18),
        ("T | summarize count() by", 1, 25),
        ("T | join kind=inner", 1, 20),
        ("T | lookup U", 1, 13),
        ("T | top 5", 1, 10),
        ("T | sort a", 1, 10),
        ("T | where and", 1, 11),
        ("T | mv-apply a (take 1)", 1, 22),
        ("T | make-series count() on t step", 1, 34),
        ("T | parse a with", 0, 0),
        ("T | take 5 take 6", 1, 12),
        ("datatable(a: text) [1]", 1, 14),
        ("datatable(a: long) [b]", 1, 21),
        ("print dynamic([1, 2,])", 1, 21),
        ("print dynamic({a: 1})", 1, 16),
        ("let f = (a) { a }; T", 1, 13),
        ("let f = (a: long) { a ; T", 1, 25),
        ("T | evaluate", 1, 13),
        ("T | render", 1, 11),
        ("T | count by a", 1, 11),
    ],
)
def test_where_it_is_wrong(text: str, line: int, column: int) -> None:
    """The fault stands at the token that cannot be there."""
    if not line:
        parse(text)
        return
    with pytest.raises(KqlError) as refused:
        parse(text)
    assert refused.value.phase == "parse"
    assert (refused.value.line, refused.value.column) == (line, column), str(refused.value)


@pytest.mark.parametrize(
    ("text", "phase", "at"),
    [
        ("T | where a = 1", "bind", 10),
        ("print datetime(yesterday)", "bind", 6),
        ("print int(3000000000)", "bind", 6),
        ("1 + 1", "bind", 0),
        ("1 | take 1", "bind", 0),
        ("where a == 1", "bind", 0),
        ("T | join 1 on a", "bind", 9),
        ("T | union kind=inner kind=outer U", "bind", 21),
        ("let f = () {}; T", "bind", 11),
        ("T | mv-apply a id b on (take 1)", "plan", 15),
        ("let g = entity_group [database('x')]; T", "plan", 8),
    ],
)
def test_well_formed_without_meaning(text: str, phase: str, at: int) -> None:
    """What is well formed, but can mean nothing or is not supported, is no fault of the parse."""
    with pytest.raises(KqlError) as refused:
        parse(text)
    assert (refused.value.phase, refused.value.at) == (phase, at), str(refused.value)


def test_several_faults() -> None:
    """One reading tells the faults of several operators, brackets and statements, in order."""
    text = "T | where | project a b | extend c = (U | take) | sort b;\nlet x = ;\nV | where a in 1 | count"
    found = [(fault.line, fault.column) for fault in faults(text)]
    assert found == [(1, 11), (1, 23), (1, 47), (1, 56), (2, 9), (3, 16)]
    assert len(faults("T" + " | where" * 100)) == cursor.MAX_FAULTS


BOMBS = [
    "T | where " + "(" * 30_000,
    "print " + "f(" * 15_000,
    "print dynamic(" + "[" * 30_000,
    "print dynamic(" + "{'a':" * 10_000,
    "print a" + ".b" * 19_000,
    "print a" + "[0]" * 12_000,
    "print 1" + "+1" * 19_000,
    "print " + "-(" * 15_000,
    "T | where x in (" * 5_000,
    "union (T | " * 8_000,
    "T | union (" * 8_000,
    "let f = () {" * 5_000,
    "T | fork (" + "fork (" * 9_000,
    "T | facet by a with " + "facet by a with " * 5_000,
    "T | mv-apply a on (" + "mv-apply a on (" * 5_000,
    "T | partition by a {" + "T | partition by a {" * 4_000,
    "macro-expand x as y (" * 4_000,
    "T | join (" * 8_000,
    "print " + "toscalar(" * 9_000,
    "x and (" * 10_000,
    "print " + "(a or b and c == d < e + f * -x[" * 3_000,
    "print decimal(" + "1" * 50_000 + ")",
    "print datetime(" + "1" * 50_000 + ")",
    "print 1" + "1" * 50_000,
    "print 1" + "1" * 50_000 + "d",
    "print '" + "\\" * 50_001,
    '"' + "a" * 90_000,
    "```" * 30_001,
]


@pytest.mark.parametrize("text", BOMBS, ids=lambda text: text[:20])
def test_bombs(text: str) -> None:
    """Depth, size and chains without end are refused, never by the interpreter's own limits."""
    with pytest.raises(KqlError) as refused:
        parse(text[:MAX_TEXT])
    assert "too deeply" not in str(refused.value)
    assert len(str(refused.value)) < 200


def test_long_is_no_bomb() -> None:
    """Long chains of conditions, operators and lists are taken, and their trees stay low."""
    parse("T | where " + " or ".join(f"a == {index}" for index in range(5_000)))
    parse("T" + " | where x" * 5_000)
    parse("T | where x in (" + ", ".join(map(str, range(10_000))) + ")")
    parse("union " + ", ".join(["(T | where x == (U | count))"] * 500))
    parse("print " + "iff(a, b, " * 60 + "c" + ")" * 60)


@pytest.mark.parametrize("query", ["T | summarize last=max(a)", "T | where first == 2", "T | project a, last"])
def test_a_name_that_is_a_keyword_is_told_how_it_is_written(query: str) -> None:
    with pytest.raises(KqlError, match=r"is a keyword; as a name it is written \['(last|first)'\]"):
        parse(query)


_WORDS = [*sorted(KEYWORDS), *"()[]{}|,;=.*+-:<>@!", "T", "a", "1", "'s'", "1d", "..", "==", "!in", "kind=inner", "\n"]


@given(st.lists(st.sampled_from(_WORDS), max_size=40).map(" ".join))
@settings(max_examples=300)
def test_any_words(text: str) -> None:
    """Words in any order are a query, or faults inside the text."""
    for fault in faults(text):
        assert 0 <= fault.at <= len(text)
        assert fault.line >= 1


def mutated(text: str, dice: random.Random) -> str:
    """The text with a token deleted, doubled, or swapped with its neighbour."""
    found = tokens(text)[:-1]
    index = dice.randrange(len(found) - 1)
    here, after = found[index], found[index + 1]
    what = dice.choice(["delete", "double", "swap"])
    if what == "delete":
        return text[: here.at] + text[here.end :]
    if what == "double":
        return f"{text[: here.end]} {here.text}{text[here.end :]}"
    return f"{text[: here.at]}{after.text} {here.text}{text[after.end :]}"


def test_mutations(shared: Path) -> None:
    """Public queries with a token changed: a tree or faults, nothing else."""
    dice = random.Random(20201122)
    for line in (shared / "hunting" / "hunting-examples.jsonl").read_text().splitlines():
        text = json.loads(line)["query"]
        for _ in range(2):
            changed = mutated(text, dice)
            for fault in faults(changed):
                assert 0 <= fault.at <= len(changed)
