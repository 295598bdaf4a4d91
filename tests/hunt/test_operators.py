"""Operators as Kusto's engine works them out."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.hunt.duck import worked_out

from bartizan.hunt.tree import Scalar

DAY = 864_000_000_000
HOUR = DAY // 24
INSTANT = 637_134_336_000_000_000  # 2020-01-01
LAST = 3_155_378_975_999_999_990  # the last microsecond of 9999
GREATEST = 2**63 - 1
Given = tuple[Scalar, Any]


def long(number: int | None) -> Given:
    return ("long", number)


def real(number: float | None) -> Given:
    return ("real", number)


def string(content: str) -> Given:
    return ("string", content)


def span(ticks: int | None) -> Given:
    return ("timespan", ticks)


def instant(ticks: int | None) -> Given:
    return ("datetime", ticks)


NAN, INF = real(math.nan), real(math.inf)

ARITHMETIC: list[tuple[str, list[Given], Any]] = [
    ("+", [long(1), long(2)], 3),
    ("+", [long(GREATEST), long(1)], -(2**63)),
    ("-", [long(-(2**63)), long(1)], GREATEST),
    ("*", [long(4_294_967_296), long(4_294_967_296)], 0),
    ("*", [long(-(2**63)), long(-(2**63))], 0),
    ("+", [long(None), long(1)], None),
    ("/", [long(7), long(2)], 3),
    ("/", [long(-7), long(2)], -3),
    ("/", [long(7), long(0)], None),
    ("/", [long(-(2**63)), long(-1)], -(2**63)),
    ("%", [long(-5), long(3)], 1),
    ("%", [long(5), long(-3)], 2),
    ("%", [long(-5), long(-3)], 1),
    ("%", [long(-GREATEST), long(7)], 0),
    ("%", [long(7), long(0)], None),
    ("%", [long(-(2**63)), long(-(2**63))], 0),
    ("-", [long(-(2**63))], -(2**63)),
    ("+", [real(0.1), real(0.2)], 0.1 + 0.2),
    ("*", [real(1e308), real(10.0)], "Infinity"),
    ("/", [real(1.0), real(0.0)], "Infinity"),
    ("/", [real(-1.0), real(0.0)], "-Infinity"),
    ("/", [real(0.0), real(0.0)], "NaN"),
    ("-", [INF, INF], "NaN"),
    ("%", [real(-5.5), real(2.0)], 0.5),
    ("%", [real(5.5), real(-3.0)], 2.5),
    ("+", [("decimal", "0.1"), ("decimal", "0.2")], "0.3"),
    ("/", [("decimal", "10"), ("decimal", "4")], "2.5"),
    ("/", [("decimal", "10"), ("decimal", "0")], None),
    ("*", [("decimal", "1.5"), ("decimal", "-2")], "-3"),
    ("+", [instant(INSTANT), span(DAY)], "2020-01-02T00:00:00Z"),
    ("+", [span(5_000_000), instant(INSTANT)], "2020-01-01T00:00:00.5Z"),
    ("-", [instant(INSTANT), span(HOUR)], "2019-12-31T23:00:00Z"),
    ("-", [instant(0), span(DAY)], None),
    ("-", [instant(0), span(1)], None),
    ("-", [instant(INSTANT), span(1)], "2019-12-31T23:59:59.999999Z"),
    ("+", [instant(INSTANT), span(1)], "2020-01-01T00:00:00Z"),
    ("+", [instant(LAST), span(DAY)], None),
    ("+", [instant(INSTANT), span(GREATEST)], None),
    ("-", [instant(INSTANT + DAY), instant(INSTANT)], "1.00:00:00"),
    ("-", [instant(0), instant(LAST)], "-3652058.23:59:59.9999990"),
    ("+", [instant(None), span(1)], None),
    ("+", [span(DAY), span(HOUR)], "1.01:00:00"),
    ("*", [span(HOUR), long(2)], "02:00:00"),
    ("*", [long(2), span(HOUR)], "02:00:00"),
    ("*", [span(HOUR), real(0.5)], "00:30:00"),
    ("/", [span(DAY), span(HOUR)], 24.0),
    ("/", [span(DAY), span(0)], None),
    ("/", [span(DAY), long(2)], "12:00:00"),
    ("%", [span(DAY), span(5 * HOUR)], "04:00:00"),
    ("-", [span(-1)], "00:00:00.0000001"),
]

COMPARISONS: list[tuple[str, list[Given], Any]] = [
    ("==", [long(1), long(1)], True),
    ("==", [long(None), long(1)], False),
    ("!=", [long(None), long(1)], True),
    ("==", [long(None), long(None)], None),
    ("!=", [long(None), long(None)], None),
    ("<", [long(None), long(1)], None),
    ("==", [NAN, NAN], False),
    ("!=", [NAN, NAN], True),
    ("==", [NAN, real(1.0)], False),
    ("!=", [real(1.0), NAN], True),
    ("<", [NAN, real(1.0)], False),
    (">", [NAN, real(1.0)], False),
    ("<", [real(1.0), NAN], False),
    (">=", [NAN, NAN], False),
    ("<=", [real(1.0), INF], True),
    ("==", [string(""), string("")], True),
    ("==", [string("a"), string("A")], False),
    ("=~", [string("CAFÉ"), string("café")], True),
    ("!~", [string("a"), string("A")], False),
    ("between", [long(2), long(1), long(3)], True),
    ("!between", [long(1), long(1), long(3)], False),
    ("between", [NAN, real(-math.inf), INF], False),
    ("between", [instant(INSTANT + DAY), instant(INSTANT), span(DAY)], True),
    ("between", [instant(INSTANT + DAY + 10), instant(INSTANT), span(DAY)], False),
    ("and", [("bool", None), ("bool", False)], False),
    ("and", [("bool", None), ("bool", True)], None),
    ("or", [("bool", None), ("bool", True)], True),
    ("not", [("bool", None)], None),
    ("in", [long(2), long(1), long(2)], True),
    ("in", [long(None), long(1), long(2)], False),
    ("!in", [long(None), long(1), long(2)], True),
    ("in", [string("a"), ("dynamic", ["b", "a"])], True),
    ("in~", [string("A"), ("dynamic", ["b", "a"])], True),
    ("!in~", [string("A"), string("b"), string("a")], False),
    ("in", [long(2), ("dynamic", [1, 2])], True),
]

TERMS: list[tuple[str, str, str, bool]] = [
    ("co-op", "has", "co", True),
    ("coop", "has", "co", False),
    ("co_op", "has", "co", True),
    ("a cat", "has", "CAT", True),
    ("category", "has", "cat", False),
    ("category", "hasprefix", "cat", True),
    ("scat", "hasprefix", "cat", False),
    ("scat", "hassuffix", "cat", True),
    ("cats", "hassuffix", "cat", False),
    ("cat", "has_cs", "Cat", False),
    ("категория", "has", "кат", False),
    ("кот и кат", "has", "КАТ", True),
    ("naïveté", "has", "na", False),
    ("cmd.exe /c", "has", ".exe", True),
    ("cmd.exe /c", "has", "cmd.exe", True),
    ("xcmd.exe", "has", "cmd.exe", False),
    ("12.34.56", "has", "34", True),
    ("a\nb c\n", "has", "b c", True),
    ("it's", "has", "it's", True),
    ("a+b (c)", "has", "b (c)", True),
    ("x", "has", "", True),
    ("", "has", "", True),
    ("abc", "contains", "B", True),
    ("abc", "contains_cs", "B", False),
    ("100%", "contains", "%", True),
    ("abc", "contains", "_", False),
    ("Straße", "startswith", "sTRA", True),
    ("abc", "startswith_cs", "A", False),
    ("abc", "endswith", "BC", True),
    ("abc", "endswith_cs", "BC", False),
    ("x9y", "matches regex", r"\d", True),
]


@pytest.mark.parametrize(("name", "args", "wanted"), ARITHMETIC)
def test_arithmetic(name: str, args: list[Given], wanted: Any) -> None:
    assert worked_out(name, *args) == wanted


@pytest.mark.parametrize(("name", "args", "wanted"), COMPARISONS)
def test_comparisons(name: str, args: list[Given], wanted: Any) -> None:
    assert worked_out(name, *args) is wanted


@pytest.mark.parametrize(("content", "name", "needle", "wanted"), TERMS)
def test_searches(content: str, name: str, needle: str, wanted: bool) -> None:
    """The same for a text that is known and for one that comes with the row; the negative is the opposite."""
    assert worked_out(name, string(content), string(needle)) is wanted
    if name != "matches regex":
        assert worked_out(f"!{name}", string(content), string(needle)) is not wanted


@pytest.mark.parametrize(
    ("name", "needles", "wanted"),
    [
        ("has_any", ["zzz", "EXE"], True),
        ("has_any", ["zzz", "cm"], False),
        ("has_any", [], False),
        ("has_any", [".exe"], True),
        ("has_all", ["cmd", "exe"], True),
        ("has_all", ["cmd", "ex"], False),
        ("has_all", [], True),
    ],
)
def test_has_lists(name: str, needles: list[str], wanted: bool) -> None:
    assert worked_out(name, string("cmd.exe /c"), ("dynamic", needles)) is wanted
    if needles:
        assert worked_out(name, string("cmd.exe /c"), *map(string, needles)) is wanted


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1))
def test_whole_numbers_wrap(one: int, other: int) -> None:
    """Sums, differences and products are those of 64 bits."""
    for name, exact in (("+", one + other), ("-", one - other), ("*", one * other)):
        assert worked_out(name, long(one), long(other)) == (exact + 2**63) % 2**64 - 2**63


@given(st.text(max_size=12), st.text(max_size=4))
def test_contains_any_text(content: str, needle: str) -> None:
    """No character of a text means anything but itself."""
    content, needle = (each.encode("utf-8", "ignore").decode() for each in (content, needle))
    assert worked_out("contains_cs", string(content), string(needle)) is (needle in content)
    assert worked_out("==", string(content), string(needle)) is (needle == content)
    padded = f" {content} "
    if content[:1].isalnum() and content[-1:].isalnum():
        assert worked_out("has_cs", string(padded), string(content)) is True
