"""Nothing that a user writes gets out of a literal, and the connection does only what it is made for."""

from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.hunt.duck import connection, run, value

from bartizan.hunt import plan as p
from bartizan.hunt.duckdb import literal
from bartizan.hunt.duckdb.open import connect
from bartizan.hunt.fault import KqlError
from bartizan.hunt.tree import Scalar

TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs"]))
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)


def given_back(type_: Scalar, content: Any) -> Any:
    return run(p.Project(p.Rows([], [[]]), [p.Column(1, value(type_, content))]))[0][0]


@given(TEXTS)
def test_texts_come_back(content: str) -> None:
    assert given_back("string", content) == content


@pytest.mark.parametrize(
    "content", ["'; DROP TABLE x; --", "\0", "a\0'b\0", "\\'", "''", "{0}", "$$", "\u00a0'\u2028", "'" * 99]
)
def test_texts_that_try(content: str) -> None:
    assert given_back("string", content) == content
    assert given_back("dynamic", {content: content}) == {content: content}


@given(JSON)
def test_dynamic_values_come_back(content: Any) -> None:
    assert given_back("dynamic", content) == content


@given(st.integers(-(2**63), 2**63 - 1), st.floats(), st.integers(0, 315_537_897_599_999_999))
def test_numbers_come_back(whole: int, number: float, microseconds: int) -> None:
    assert given_back("long", whole) == whole
    shown = given_back("real", number)
    assert shown == number or shown == {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[repr(number)]
    text = given_back("datetime", microseconds * 10)
    assert text.endswith("Z") and len(text) <= 27


@pytest.mark.parametrize("content", ["\ud800", "a\udfffb"])
def test_half_characters_are_refused(content: str) -> None:
    for write in (literal.text, literal.identifier):
        with pytest.raises(KqlError, match="surrogate"):
            write(content)
    with pytest.raises(KqlError, match="surrogate"):
        literal.value(value("dynamic", {"a": content}))


@given(TEXTS.filter(lambda each: "\0" not in each and each))
def test_names_of_the_storage_come_back(content: str) -> None:
    cursor = connection().cursor().execute(f"SELECT {literal.identifier(content)}.a FROM "
                                           f"(SELECT {{'a': 1}} AS {literal.identifier(content)})")  # fmt: skip
    assert cursor.fetchall() == [(1,)]


@given(TEXTS, TEXTS)
def test_members_are_found_by_any_name(name: str, other: str) -> None:
    held = value("dynamic", {other: 1, name: {name: 7}})
    assert given_path(held, [name, name]) == 7


def given_path(of: p.Value, steps: list[Any]) -> Any:
    return run(p.Project(p.Rows([], [[]]), [p.Column(1, p.Path("dynamic", of, steps))]))[0][0]


@pytest.mark.parametrize("digits", ["1e40", "100000000000000000000", "nonsense"])
def test_decimals_that_do_not_fit_are_refused(digits: str) -> None:
    with pytest.raises(KqlError):
        literal.value(value("decimal", digits))


@pytest.mark.parametrize(
    ("type_", "content", "wanted"),
    [
        ("timespan", 0, "00:00:00"),
        ("timespan", -1, "-00:00:00.0000001"),
        ("timespan", 864_000_000_000 * 400 + 36_000_000_000, "400.01:00:00"),
        ("timespan", -(2**63), "-10675199.02:48:05.4775808"),
        ("datetime", 0, "0001-01-01T00:00:00Z"),
        ("datetime", 637_134_336_012_345_670, "2020-01-01T00:00:01.234567Z"),
        ("decimal", "1.50", "1.5"),
        ("decimal", "100", "100"),
        ("guid", "74BE27DE-1E4E-49D9-B579-FE0B331D3642", "74be27de-1e4e-49d9-b579-fe0b331d3642"),
        ("bool", None, None),
        ("string", None, ""),
        ("dynamic", None, None),
    ],
)
def test_values_of_the_wire(type_: Scalar, content: Any, wanted: Any) -> None:
    assert given_back(type_, content) == wanted


def test_only_given_folders_are_read(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    for each in (inside, outside):
        each.mkdir()
        duckdb.connect().execute(f"COPY (SELECT 1 AS a) TO '{each}/t.parquet'")
    held = connect(folders=[inside])
    assert held.execute(f"SELECT a FROM '{inside}/t.parquet'").fetchall() == [(1,)]
    for refused in (f"SELECT a FROM '{outside}/t.parquet'", f"SELECT a FROM '{inside}/../out/t.parquet'",
                    "SELECT * FROM read_text('/etc/passwd')", f"COPY (SELECT 1) TO '{outside}/x.csv'"):  # fmt: skip
        with pytest.raises(duckdb.PermissionException):
            held.execute(refused)


@pytest.mark.parametrize(
    "statement",
    ["SET memory_limit = '8GB'", "SET enable_external_access = true", "INSTALL httpfs", "LOAD httpfs",
     "ATTACH '/tmp/x.db'", "SET threads = 8"],
)  # fmt: skip
def test_nothing_can_be_changed(statement: str) -> None:
    with pytest.raises(duckdb.Error):
        connection().cursor().execute(statement)
