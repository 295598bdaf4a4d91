"""One meaning: the evaluator, SQLite and PostgreSQL select the same objects for any filter."""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from tests.odata.engines import Rows, bound, ordered, some
from tests.odata.objects import ALERT, EVIDENCE, MAKERS, SCORE, TEXTS, USER, filters

from bartizan.errors import InvalidQuery
from bartizan.model.edm import edm
from bartizan.odata import bind_search, parse_search, sort_key
from bartizan.odata.tree import Expr

TYPES = [ALERT, SCORE, EVIDENCE, USER]
CASES = st.sampled_from(TYPES).flatmap(lambda name: st.tuples(st.just(name), filters(name)))


@pytest.fixture(scope="module")
def held() -> dict[str, Rows]:
    return {name: Rows(name, some(name)) for name in TYPES}


@pytest.fixture
def both(held: dict[str, Rows], postgres_dsn: str) -> Iterator[dict[str, Rows]]:
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        for rows in held.values():
            rows.attach(connection)
        yield held


def agree(rows: Rows, text: str, ask: Callable[[Expr], list[str]]) -> None:
    try:
        asked = bound(text, rows.type_name)
    except InvalidQuery as refused:
        event(f"refused: {refused.message[:60]}")
        return
    wanted = rows.memory(asked)
    event("some" if 0 < len(wanted) < len(rows.objects) else "all or none")
    assert ask(asked) == wanted, text


@settings(max_examples=400, deadline=None)
@given(case=CASES)
def test_sqlite_selects_what_the_evaluator_selects(held: dict[str, Rows], case: tuple[str, str]) -> None:
    """SQLite and the evaluator agree on any filter over any object."""
    rows = held[case[0]]
    agree(rows, case[1], rows.by_sqlite)


@pytest.mark.postgres
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=CASES)
def test_postgres_selects_what_the_evaluator_selects(both: dict[str, Rows], case: tuple[str, str]) -> None:
    """PostgreSQL and the evaluator agree on any filter over any object."""
    rows = both[case[0]]
    agree(rows, case[1], rows.by_postgres)


@settings(max_examples=60, deadline=None)
@given(case=CASES, chance=st.randoms(use_true_random=False))
def test_fresh_objects(case: tuple[str, str], chance: Any) -> None:
    """The same holds over objects that are new each time."""
    rows = Rows(case[0], [MAKERS[case[0]](chance) for _ in range(5)])
    agree(rows, case[1], rows.by_sqlite)


WORDS = st.sampled_from(
    [
        *(t.strip() for t in TEXTS if t.strip(' "')),
        "q",
        "B",
        "y",
        "s",
        "ss",
        "contoso",
        "team",
        "7",
        "m",
        "b c",
        "\u00b2",
    ]
)
TERMS = st.tuples(st.sampled_from(["", "title:", "category:"]), WORDS).map(
    lambda t: '"' + (t[0] + t[1]).replace('"', '\\"') + '"'
)
SEARCHES = st.lists(TERMS, min_size=1, max_size=3).flatmap(
    lambda t: st.sampled_from([" AND ", " OR ", " ", " NOT "]).map(lambda op: op.join(t))
)


def found(text: str) -> Expr:
    return bind_search(parse_search(text), edm("beta"), ALERT, searchable=("title", "category"))


@settings(max_examples=150, deadline=None)
@given(text=SEARCHES)
def test_sqlite_searches_as_the_evaluator(held: dict[str, Rows], text: str) -> None:
    """$search finds the same objects."""
    rows, asked = held[ALERT], found(text)
    assert rows.by_sqlite(asked) == rows.memory(asked)


@pytest.mark.postgres
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=SEARCHES)
def test_postgres_searches_as_the_evaluator(both: dict[str, Rows], text: str) -> None:
    """$search finds the same objects on PostgreSQL, whose regular expressions find the words."""
    rows, asked = both[ALERT], found(text)
    assert rows.by_postgres(asked) == rows.memory(asked)


ORDERS = [
    (ALERT, "title"),
    (ALERT, "title desc, severity"),
    (ALERT, "vendorInformation/provider desc, assignedTo asc"),
    (ALERT, "confidence desc, eventDateTime"),
    (SCORE, "maxScore desc"),
    (SCORE, "activeUserCount, currentScore desc"),
    (USER, "accountEnabled desc, displayName"),
]


@pytest.mark.parametrize(("name", "text"), ORDERS)
def test_sqlite_sorts_as_the_evaluator(held: dict[str, Rows], name: str, text: str) -> None:
    """Rows come in the order that the key of the evaluator gives: nulls first ascending, last descending."""
    rows, order = held[name], ordered(text, name)
    assert rows.sorted_by(rows.sqlite, order) == in_order(rows, text)


@pytest.mark.postgres
def test_postgres_sorts_as_the_evaluator(both: dict[str, Rows]) -> None:
    """PostgreSQL sorts alike, whatever the collation of the database is."""
    for name, text in ORDERS:
        rows, order = both[name], ordered(text, name)
        assert rows.sorted_by(rows.postgres, order) == in_order(rows, text), text


def in_order(rows: Rows, text: str) -> list[str]:
    key = sort_key(ordered(text, rows.type_name))
    return sorted(rows.objects, key=lambda id: (key(rows.objects[id]), id))
