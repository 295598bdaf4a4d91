"""Watchlists: what may be brought, what becomes of it, and what queries see."""

import re
from datetime import timedelta
from typing import Any

import pytest
from tests.hunt.beside import NOW, Bench, watchlist

from bartizan.errors import BadRequest
from bartizan.hunt import watchlists as module
from bartizan.hunt.fault import KqlError
from bartizan.hunt.line import Known
from bartizan.hunt.watchlists import Items, Rows, joined, of_csv, of_objects, packed, unpacked

KNOWN = Known(watchlists=("Vips", "empty"))
LENT = {
    ("watchlist", "Vips"): watchlist(("User", "tier", "Tier"), ["a@x", "1", "x"], ["b@x", "", 'q"u,o\u00e9']),
    ("watchlist", "empty"): watchlist(("User",)),
}


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench(LENT, KNOWN)


def test_a_query_sees_its_columns_and_sentinel_s(bench: Bench) -> None:
    columns, rows = bench.run("_GetWatchlist('Vips')")
    assert columns == [
        ("_DTItemId", "string"), ("LastUpdatedTimeUTC", "datetime"), ("SearchKey", "string"),
        ("WatchlistItem", "dynamic"), ("User", "string"), ("tier", "string"), ("Tier", "string"),
    ]  # fmt: skip
    assert [row[1:] for row in rows] == [
        ["2026-11-23T05:00:00Z", "a@x", {"User": "a@x", "tier": "1", "Tier": "x"}, "a@x", "1", "x"],
        ["2026-11-23T05:00:00Z", "b@x", {"User": "b@x", "tier": "", "Tier": 'q"u,o\u00e9'}, "b@x", "", 'q"u,o\u00e9'],
    ]
    assert len({row[0] for row in rows}) == 2


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("_GetWatchlist('vips') | where isempty(tier) | project Tier", [['q"u,o\u00e9']]),
        ("let w = _GetWatchlist('Vips') | project User; datatable(u: string)['a@x', 'c'] | where u in (w)", [["a@x"]]),
        ("datatable(u: string)['b@x'] | lookup kind=leftouter _GetWatchlist('Vips') on $left.u == $right.SearchKey "
         "| project u, WatchlistItem.Tier", [["b@x", 'q"u,o\u00e9']]),
        ("_GetWatchlist('empty') | count", [[0]]),
        ("_GetWatchlistAlias | sort by WatchlistAlias asc", [["Vips"], ["empty"]]),
        ("_GetWatchlistAlias() | count", [[2]]),
        ("let w = _GetWatchlist('Vips'); w | union w, (_GetWatchlist('vips')) | count", [[6]]),
    ],
)  # fmt: skip
def test_it_is_a_table_as_any(bench: Bench, query: str, rows: list[Any]) -> None:
    assert bench.rows(query) == rows


def test_it_is_asked_for_once_and_only_where_it_is_named(bench: Bench) -> None:
    bench.asked.clear()
    bench.rows("Events | count")
    assert bench.asked == []
    bench.rows("_GetWatchlist('vips') | union (_GetWatchlist('VIPS')) | count")
    assert [(each.kind, each.name) for each in bench.asked] == [("watchlist", "Vips")]


@pytest.mark.parametrize(
    ("query", "says", "column"),
    [
        ("Events | union (_GetWatchlist('Vipz'))", "there is no watchlist 'Vipz'; did you mean 'Vips'?", 17),
        ("_GetWatchlist()", "one argument", 1),
        ("_GetWatchlist('Vips', dynamic(['a']))", "one argument", 1),
        ("_GetWatchlist('Vips') | where nope == 1", "nope", 31),
    ],
)
def test_what_is_wrong_has_its_place(bench: Bench, query: str, says: str, column: int) -> None:
    with pytest.raises(KqlError, match=re.escape(says)) as caught:
        bench.rows(query)
    assert caught.value.column == column


# ---------------------------------------------------------------- what is brought


def test_csv_has_a_heading_behind_the_lines_that_are_skipped() -> None:
    text = '\ufeffexported today\nUser , Note\r\na@x,"two\nlines"\r\n\r\nb@x,"say ""no"""\r\n'
    assert of_csv(text, 1) == Rows(("User", "Note"), [["a@x", "two\nlines"], ["b@x", 'say "no"']])


def test_json_becomes_texts() -> None:
    given = [{"User": "a@x", "Tier": 3, "on": True}, {"Tier": 1.5, "User": None, "z": "q"}]
    assert of_objects(given) == Rows(("User", "Tier", "on", "z"), [["a@x", "3", "true", ""], ["", "1.5", "", "q"]])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no heading"),
        ("a,b\n1\n", "line 2 has 1 fields; the heading has 2"),
        ("a,a\n", "two columns are called a"),
        ("a,\n", "1 to 128 printable characters"),
        ("a,SearchKey\n", "SearchKey"),
        ('a\n"x', "line 2"),
        ("a\n" + "x" * 8_193, "item 1, a: a value has at most"),
        (",".join(map(str, range(101))), "1 to 100 columns"),
    ],
)
def test_csv_that_is_none(text: str, says: str) -> None:
    with pytest.raises(BadRequest, match=says):
        of_csv(text)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"a": 1}, "expected a list"),
        ([1], r"items\[0\] is no object"),
        ([{"a": 1}, {}], r"items\[1\] is no object"),
        ([{"a": {"b": 1}}], r"items\[0\].a"),
    ],
)
def test_json_that_is_none(given: Any, says: str) -> None:
    with pytest.raises(BadRequest, match=says):
        of_objects(given)


def test_an_item_is_what_it_says() -> None:
    """Brought again, with its columns in another order, it is the same and keeps its time; another comes behind."""
    first = joined(Items(), Rows(("User", "Tier"), [["a", "1"], ["b", "2"], ["a", "1"]]), NOW, replace=True)
    assert first.rows == [["a", "1"], ["b", "2"]]
    later = NOW + timedelta(hours=1)
    again = joined(first, Rows(("Tier", "User"), [["1", "a"], ["3", "c"]]), later, replace=False)
    assert (again.columns, again.rows) == (("User", "Tier"), [["a", "1"], ["b", "2"], ["3", "c"][::-1]])
    assert again.ids[:2] == first.ids and again.times[2] - again.times[0] == 3_600_000_000
    whole = joined(first, Rows(("Tier", "User", "New"), [["1", "a", ""]]), later, replace=True)
    assert whole.ids == first.ids[:1] and whole.rows == [["1", "a", ""]]
    assert unpacked(packed(again, "User")) == again


def test_what_is_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ITEMS", 2)
    with pytest.raises(BadRequest, match="at most 2 items"):
        of_csv("a\n1\n2\n3\n")
    two = joined(Items(), of_csv("a\n1\n2\n"), NOW, replace=True)
    with pytest.raises(BadRequest, match="at most 2 items"):
        joined(two, of_csv("a\n3\n"), NOW, replace=False)
    assert joined(two, of_csv("a\n2\n"), NOW, replace=False) == two
    monkeypatch.setattr(module, "MAX_ITEMS_BYTES", 20)
    with pytest.raises(BadRequest, match="at most 20"):
        packed(two, "a")


def test_the_search_key_is_a_column() -> None:
    with pytest.raises(BadRequest, match="no column of the items: they have a"):
        packed(joined(Items(), of_csv("a\n1\n"), NOW, replace=True), "b")
