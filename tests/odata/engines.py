"""The same objects in memory, in SQLite and in PostgreSQL, asked the same question."""

import random
from collections.abc import Sequence
from typing import Any

import apsw
import psycopg
from tests.odata.objects import ALERT, EVIDENCE, MAKERS, SCORE, USER

from bartizan.model.edm import edm
from bartizan.odata import bind, bind_order, compile_predicate, parse_filter, parse_orderby
from bartizan.odata.tree import Expr, Order
from bartizan.store.compile import SQLITE_FUNCTIONS, compile_scalar, compile_where
from bartizan.store.draft import draft
from bartizan.store.interface import Collection, Column
from bartizan.store.sql import POSTGRES, SQLITE, Dialect, Table

COLUMNS: dict[str, tuple[Column, ...]] = {
    ALERT: (
        Column("category"),
        Column("assignedTo", fold=True),
        Column("severity", "enum"),
        Column("confidence", "int"),
        Column("lastModifiedDateTime", "instant"),
        Column("vendorInformation/vendor"),
    ),
    SCORE: (Column("currentScore", "real"), Column("activeUserCount", "int")),
    EVIDENCE: (Column("severity", "enum"),),
    USER: (Column("displayName", fold=True), Column("accountEnabled", "bool")),
}
FOLD: dict[str, frozenset[str]] = {
    ALERT: frozenset(("assignedTo", "vendorInformation/provider", "tags", "hostStates/os")),
    USER: frozenset(("displayName",)),
}
_NAMES = {ALERT: "alerts", SCORE: "scores", EVIDENCE: "alerts_v2", USER: "users"}


def collection(type_name: str) -> Collection:
    return Collection(_NAMES[type_name], type_name, COLUMNS[type_name])


def bound(text: str, type_name: str) -> Expr:
    return bind(parse_filter(text), edm("beta"), type_name, fold=FOLD.get(type_name, frozenset()))


def ordered(text: str, type_name: str) -> tuple[Order, ...]:
    return bind_order(parse_orderby(text), edm("beta"), type_name, fold=FOLD.get(type_name, frozenset()))


class Rows:
    """`objects` by id, and a table of each on an engine."""

    def __init__(self, type_name: str, objects: Sequence[dict[str, Any]]) -> None:
        self.type_name = type_name
        self.objects = {f"{n:03}": {"id": f"{n:03}", **each} for n, each in enumerate(objects)}
        self.collection = collection(type_name)
        self.sqlite = Table(self.collection, SQLITE)
        self.postgres = Table(self.collection, POSTGRES)
        self.lite = apsw.Connection(":memory:")
        for name, (function, arguments) in SQLITE_FUNCTIONS.items():
            self.lite.create_scalar_function(name, function, arguments, deterministic=True)
        self.lite.execute(self.sqlite.ddl()[0])
        for insert, values in self._inserts(self.sqlite):
            self.lite.execute(insert, values)
        self.pg: psycopg.Connection[tuple[Any, ...]] | None = None

    def attach(self, connection: psycopg.Connection[tuple[Any, ...]]) -> "Rows":
        self.pg = connection
        self.pg.execute(self.postgres.ddl()[0])
        for insert, values in self._inserts(self.postgres):
            self.pg.execute(insert, values)
        return self

    def _inserts(self, table: Table) -> list[tuple[str, list[Any]]]:
        made = []
        for id, item in self.objects.items():
            one = draft(self.collection, item, id)
            names = ["tenant", "id", "seq", "created", "updated", "evolvable", *table.names, "doc", "beta"]
            values = ["t", id, 1, "", "", 0, *(one.columns[column.path] for column in table.columns)]
            values += [one.doc.decode(), None if one.beta is None else one.beta.decode()]
            marks = ", ".join(["$?"] * len(names))
            made.append(
                (table.dialect.native(f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({marks})"), values)
            )
        return made

    def memory(self, asked: Expr) -> list[str]:
        predicate = compile_predicate(asked)
        return [id for id, item in self.objects.items() if predicate(item)]

    def by_sqlite(self, asked: Expr) -> list[str]:
        sql, params = self._statement(self.sqlite, asked)
        return [str(row[0]) for row in self.lite.execute(sql, params)]

    def by_postgres(self, asked: Expr) -> list[str]:
        assert self.pg is not None
        sql, params = self._statement(self.postgres, asked)
        return [str(row[0]) for row in self.pg.execute(sql, params).fetchall()]

    @staticmethod
    def _statement(table: Table, asked: Expr) -> tuple[str, list[Any]]:
        sql, params = compile_where(asked, table)
        return table.dialect.native(f"SELECT id FROM {table.name} t WHERE {sql} ORDER BY id"), params

    def sorted_by(self, table: Table, order: Sequence[Order]) -> list[str]:
        dialect: Dialect = table.dialect
        keys: list[str] = []
        values: list[Any] = []
        for item in order:
            sql, params = compile_scalar(item.path, table)
            keys.append(f"{sql} {dialect.direction(item.descending)}")
            values += params
        statement = dialect.native(f"SELECT id FROM {table.name} t ORDER BY {', '.join([*keys, 'id'])}")
        if dialect.name == "sqlite":
            return [str(row[0]) for row in self.lite.execute(statement, values)]
        assert self.pg is not None
        return [str(row[0]) for row in self.pg.execute(statement, values).fetchall()]


def some(type_name: str, count: int = 60, seed: int = 11) -> list[dict[str, Any]]:
    chance = random.Random(seed)
    return [MAKERS[type_name](chance) for _ in range(count)]
