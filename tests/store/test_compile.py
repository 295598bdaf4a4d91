"""The tree as SQL: parameters only, indexes where they can serve, candidates that miss nothing, odd documents."""

import json
from typing import Any

import apsw
import psycopg
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from tests.odata.engines import Rows, bound, some
from tests.odata.objects import ALERT, EVIDENCE, SCORE, USER, filters, quoted

from bartizan.errors import InvalidQuery
from bartizan.model.edm import edm
from bartizan.odata import bind, compile_predicate, parse_filter
from bartizan.odata.tree import Any as AnyOf
from bartizan.odata.tree import Compare, Expr, In, Literal, Path
from bartizan.store.compile import SQLITE_FUNCTIONS, candidates, compile_scalar, compile_where, only_v1
from bartizan.store.draft import found_entities
from bartizan.store.interface import Collection, Column
from bartizan.store.sql import POSTGRES, SQLITE, Dialect, Table, entity_key

ENTITIES = {
    "title": "process",
    "vendorInformation/provider": "resource",
    "tags": "domain",
    "hostStates/fqdn": "host",
    "hostStates/os": "hash",
    "processes/name": "process",
    "historyStates/comments": "user",
}
WATCHED = Collection("alerts", ALERT, (Column("severity", "enum"),), entities=ENTITIES)
TABLES = [Table(WATCHED, dialect) for dialect in (SQLITE, POSTGRES)]
OBJECTS = some(ALERT, 80, 5)


def keys(item: dict[str, Any]) -> set[tuple[str, str]]:
    """What the entity index holds of an object."""
    return {(one.kind, entity_key(one.value)) for one in found_entities(WATCHED, item) if one.value.strip()}


KEYS = [keys(item) for item in OBJECTS]


@settings(max_examples=500, deadline=None)
@given(text=filters(ALERT))
def test_candidates_miss_nothing(text: str) -> None:
    """Whatever a filter selects has, for each of its entity conditions, one of the entities."""
    try:
        asked = bind(parse_filter(text), edm("beta"), ALERT, fold=frozenset(("tags", "hostStates/os")))
    except InvalidQuery:
        return
    conditions = candidates(asked, TABLES[0])
    event(f"{len(conditions)} conditions")
    selects = compile_predicate(asked)
    for item, held in zip(OBJECTS, KEYS, strict=True):
        if selects(item):
            for pairs in conditions:
                assert any((kind, entity_key(value)) in held for kind, value in pairs), text


CANDIDATES = [
    ("hostStates/any(h: h/fqdn eq 'X')", [[("host", "x")]]),
    ("hostStates/any(h: 'X' eq h/fqdn)", [[("host", "x")]]),
    ("hostStates/any(h: tolower(h/fqdn) eq tolower('X'))", [[("host", "x")]]),
    ("hostStates/any(h: h/fqdn in ('X', 'y'))", [[("host", "x"), ("host", "y")]]),
    ("hostStates/any(h: h/fqdn eq 'x' or h/os eq 'y')", [[("host", "x"), ("hash", "y")]]),
    ("hostStates/any(h: h/fqdn eq 'x' and h/os eq 'y')", [[("host", "x")], [("hash", "y")]]),
    ("hostStates/any(h: h/fqdn eq 'x') and severity eq 'high'", [[("host", "x")]]),
    ("hostStates/any(h: h/fqdn eq 'x') or title eq 't'", [[("host", "x"), ("process", "t")]]),
    ("historyStates/any(h: h/comments/any(c: c eq 'U'))", [[("user", "u")]]),
    ("tags/any(t: t eq 'x')", [[("domain", "x")]]),
    ("title eq 'x'", [[("process", "x")]]),
    ("hostStates/any(h: h/fqdn eq 'x' or severity eq 'high')", []),
    ("not hostStates/any(h: h/fqdn eq 'x')", []),
    ("hostStates/all(h: h/fqdn eq 'x')", []),
    ("hostStates/any(h: h/fqdn ne 'x')", []),
    ("hostStates/any(h: not (h/fqdn eq 'x'))", []),
    ("hostStates/any(h: h/fqdn eq null)", []),
    ("hostStates/any(h: h/fqdn in ('x', null))", []),
    ("hostStates/any(h: h/fqdn eq '')", []),
    ("hostStates/any(h: h/fqdn eq ' ')", []),
    ("hostStates/any(h: toupper(h/fqdn) eq 'SS')", []),
    ("(hostStates/any(h: h/fqdn eq 'x')) eq false", []),
    ("hostStates/any(h: h/isAzureAdJoined eq true)", []),
    ("title eq category", []),
]


@pytest.mark.parametrize(("text", "wanted"), CANDIDATES, ids=[text for text, _ in CANDIDATES])
def test_candidates(text: str, wanted: list[list[tuple[str, str]]]) -> None:
    """Positive conditions on indexed properties, and only those, are asked of the entity index."""
    asked = bind(parse_filter(text), edm("beta"), ALERT)
    assert [list(pairs) for pairs in candidates(asked, TABLES[0])] == wanted


@settings(max_examples=200, deadline=None)
@given(
    case=st.sampled_from([ALERT, SCORE, EVIDENCE, USER]).flatmap(lambda name: st.tuples(st.just(name), filters(name)))
)
def test_values_are_parameters(case: tuple[str, str]) -> None:
    """As many marks as parameters, and no text of a client in a statement."""
    try:
        asked = bound(case[1], case[0])
    except InvalidQuery:
        return
    for dialect in (SQLITE, POSTGRES):
        sql, params = compile_where(asked, Table(Collection("any", case[0]), dialect))
        assert sql.count("$?") == len(params)
        assert "%" not in sql
        assert "ΑΣ" not in sql


HOSTILE = ["'; drop table x; --", "$?", "%s", "%", "\\", '"', "{0}", "a' or '1'='1", "]]>", "\U0001f600", "\n"]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_are_texts(text: str) -> None:
    """What means something to SQL means nothing in a value."""
    rows = Rows(ALERT, [{"title": text, "tags": [text], "vendorInformation": {"provider": text}}, {"title": "x"}])
    for each in (
        f"title eq {quoted(text)}",
        f"contains(title, {quoted(text)})",
        f"startswith(vendorInformation/provider, {quoted(text)})",
        f"tags/any(t: t in ({quoted(text)}))",
    ):
        assert rows.by_sqlite(bound(each, ALERT)) == ["000"]


def test_names_that_are_no_names() -> None:
    """A tree made by hand cannot bring SQL in by a property's name."""
    for dialect in (SQLITE, POSTGRES):
        for name in ("a'b", 'a"b', "a b", "a}b", "", "a$?"):
            with pytest.raises(InvalidQuery):
                compile_where(Compare("eq", Path((name,)), Literal("x", "text")), Table(WATCHED, dialect))


def test_properties_of_v1_alone() -> None:
    """What the beta document lacks is read in the other one."""
    type_name = "microsoft.graph.conditionalAccessPolicy"
    assert "templateId" in only_v1(type_name)
    asked = bind(parse_filter("templateId eq 'x' and displayName eq 'y'"), edm("v1.0"), type_name)
    for dialect in (SQLITE, POSTGRES):
        sql, _ = compile_where(asked, Table(Collection("policies", type_name), dialect))
        assert "t.doc" in sql.replace("coalesce(t.beta, t.doc)", "")


def test_the_object_inside_a_lambda() -> None:
    """Columns of the table are not taken for columns of the elements, whatever their names."""
    rows = Rows(ALERT, [{"tags": ["001"]}, {"tags": ["001"]}])
    assert rows.by_sqlite(bound("tags/any(t: t eq id)", ALERT)) == ["001"]
    assert rows.by_sqlite(bound("tags/any(t: t eq '001' and $it/id eq '000')", ALERT)) == ["000"]


def test_a_folded_column_is_not_asked_for_case() -> None:
    """A column that holds lower case answers only comparisons that ignore case; others read the document."""
    rows = Rows(ALERT, [{"assignedTo": "A"}, {"assignedTo": "a"}])
    assert rows.by_sqlite(bound("assignedTo eq 'A'", ALERT)) == ["000", "001"]
    assert rows.by_sqlite(bind(parse_filter("assignedTo eq 'A'"), edm("beta"), ALERT)) == ["000"]


def plan(connection: apsw.Connection, table: Table, asked: Expr) -> str:
    sql, params = compile_where(asked, table)
    statement = table.dialect.native(f"EXPLAIN QUERY PLAN SELECT id FROM {table.name} t WHERE tenant = 'x' AND {sql}")
    return " ".join(str(row) for row in connection.execute(statement, params))


@pytest.mark.parametrize(
    "text",
    [
        "severity eq 'high'",
        "severity in ('high', 'low')",
        "severity ge 'medium'",
        "severity eq 'high' and title eq 'x'",
    ],
)
def test_an_index_serves_a_declared_column(text: str) -> None:
    """Comparisons of declared columns are such that the engine finds its index by itself."""
    connection = apsw.Connection(":memory:")
    for name, (function, arguments) in SQLITE_FUNCTIONS.items():
        connection.create_scalar_function(name, function, arguments, deterministic=True)
    for statement in TABLES[0].ddl():
        connection.execute(statement)
    for index in TABLES[0].indexes:
        connection.execute(index.ddl(SQLITE, TABLES[0].name))
    assert "severity" in plan(connection, TABLES[0], bound(text, ALERT))


ODD = [
    None, True, 5, -1.5, 10**25, 1e308, "", "a", "x", "2026-02-30T00:00:00.0000000Z", "0000-01-01T00:00:00.0000000Z",
    "2026-11-21T02:56:38.4808230Z", "P1D", "PT0.5S", "5", [], ["a", None, 5, ["a"], {"a": "a"}], {}, {"a": "a"},
    {"a": {"a": 5}},
]  # fmt: skip
UNTYPED = Collection("notes")


def bare(name: str, kind: Any = None, variable: str | None = None) -> Path:
    return Path(tuple(name.split("/")) if name else (), variable, None, kind)


ASKED: list[Expr] = [
    Compare("eq", bare("v"), Literal("a", "text")),
    Compare("ne", bare("v"), Literal("a", "text")),
    Compare("lt", bare("v"), Literal("b", "text")),
    Compare("ge", bare("v"), Literal(5, "int")),
    Compare("eq", bare("v"), Literal(1e308, "real")),
    Compare("eq", bare("v"), Literal(True, "bool")),
    Compare("eq", bare("v"), Literal(None, "null")),
    Compare("lt", bare("v", "duration"), Literal(864_000_000_000, "duration")),
    Compare("eq", bare("v/a"), Literal("a", "text")),
    Compare("gt", bare("v/a/a"), Literal(1, "int")),
    In(bare("v"), (Literal("a", "text"), Literal(None, "null"))),
    bare("v"),
    AnyOf(bare("v")),
    AnyOf(bare("v"), "x", Compare("eq", bare("", None, "x"), Literal("a", "text"))),
    AnyOf(bare("v"), "x", Compare("eq", bare("a", None, "x"), Literal("a", "text"))),
    AnyOf(bare("v"), "x", Compare("lt", bare("", None, "x"), Literal(9, "int"))),
    *(
        bind(parse_filter(text), edm("beta"), USER)
        for text in (
            "x_v add 1 gt 0 or x_v mod 2 eq 1 or round(x_v) eq 5 or -x_v lt 0 or x_v div 0 eq 1",
            "contains(x_v, 'a') or length(x_v) gt 0 or toupper(x_v) eq 'A' or substring(x_v, 0, 1) eq '5'",
            "year(x_v) eq 2026 or second(x_v) eq 38 or date(x_v) eq 2026-11-21 or time(x_v) gt 00:00",
            "x_v/$count gt 0 or x_v/any(y: y/a/any(z: z eq 'a')) or x_v/all(y: y eq 'a')",
            "not (x_v/any(y: not (y ne 'a'))) and not (x_v gt 'a')",
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    "dialect", [SQLITE, pytest.param(POSTGRES, marks=pytest.mark.postgres)], ids=lambda d: str(d.name)
)
def test_odd_documents(dialect: Dialect, request: pytest.FixtureRequest) -> None:
    """Documents without a schema make no statement fail, and select as they do in memory."""
    table = Table(UNTYPED, dialect)
    documents = {f"{n:02}": {"v": value, "x_v": value} for n, value in enumerate(ODD)}
    if dialect.name == "sqlite":
        connection: Any = apsw.Connection(":memory:")
        for name, (function, arguments) in SQLITE_FUNCTIONS.items():
            connection.create_scalar_function(name, function, arguments, deterministic=True)
    else:
        connection = psycopg.connect(request.getfixturevalue("postgres_dsn"), autocommit=True)
    try:
        connection.execute(table.ddl()[0])
        names = "tenant, id, seq, created, updated, evolvable, doc"
        insert = f"INSERT INTO {table.name} ({names}) VALUES ('t', $?, 1, '', '', 0, $?)"
        for id, document in documents.items():
            connection.execute(dialect.native(insert), (id, json.dumps(document)))
        for asked in ASKED:
            sql, params = compile_where(asked, table)
            found = connection.execute(dialect.native(f"SELECT id FROM {table.name} t WHERE {sql} ORDER BY id"), params)
            selects = compile_predicate(asked)
            wanted = [id for id, document in documents.items() if selects(document)]
            assert [row[0] for row in found.fetchall()] == wanted, asked
        for kind in ("int", "real", "text", "duration"):
            sql, params = compile_scalar(bare("v", kind), table)
            connection.execute(dialect.native(f"SELECT id FROM {table.name} t ORDER BY {sql}"), params).fetchall()
    finally:
        connection.close()
