"""A SELECT that is being put together: as many nodes of a plan as fit go into one, the rest into subqueries.

What it gives are columns by id, each an SQL text over its source. An order is kept as texts of keys, and said again by
whoever needs it: an ORDER BY stands in a subquery only where a LIMIT needs it.
"""

from collections.abc import Mapping, Sequence
from re import compile as pattern

from msgspec import Struct

from bartizan.hunt.duckdb.literal import atomic
from bartizan.hunt.plan import Id

_PLAIN = pattern(r'[a-z]+\d+(?:\.c\d+)?|"[^"]+"')
LONGEST_INLINE = 200  # characters of a made column that may be put in the place of its name


def name(id_: Id) -> str:
    return f"c{id_}"


class OrderKey(Struct, frozen=True):
    sql: str
    descending: bool = False
    nulls_first: bool = True

    def text(self) -> str:
        return f"{self.sql}{' DESC' if self.descending else ''} NULLS {'FIRST' if self.nulls_first else 'LAST'}"


class Select(Struct):
    source: str  # what stands after FROM; '' for one row of nothing
    columns: dict[Id, str]
    where: list[str] = []
    order: list[OrderKey] = []
    limit: str = ""

    def order_text(self) -> str:
        return ", ".join(each.text() for each in self.order)

    def text(self, hidden: Mapping[str, str] | None = None, *, ordered: bool = False) -> str:
        """The statement. `hidden`: more columns by name; `ordered`: whether the order is to be seen from outside."""
        given = [_as(sql, name(id_)) for id_, sql in self.columns.items()]
        given += [_as(sql, each) for each, sql in (hidden or {}).items()]
        parts = [f"SELECT {', '.join(given) or 'NULL AS nothing'}"]
        if self.source:
            parts.append(f"FROM {self.source}")
        if self.where:
            parts.append(f"WHERE {' AND '.join(self.where)}")
        if self.order and (ordered or self.limit):
            parts.append(f"ORDER BY {self.order_text()}")
        if self.limit:
            parts.append(f"LIMIT {self.limit}")
        return " ".join(parts)

    def may_inline(self, uses: Mapping[Id, int]) -> bool:
        """Whether texts of these columns may stand where their names do: none is worked out twice."""
        return not self.limit and all(
            plain(sql) or (uses.get(id_, 0) <= 1 and len(sql) <= LONGEST_INLINE) for id_, sql in self.columns.items()
        )

    def all_plain(self, used: Mapping[Id, int]) -> bool:
        return not self.limit and all(plain(self.columns[id_]) for id_ in used if id_ in self.columns)


def plain(sql: str) -> bool:
    """A name, or a short literal."""
    return _PLAIN.fullmatch(sql) is not None or (len(sql) <= 40 and "(" not in sql.rstrip(")") and atomic(sql))


def _as(sql: str, alias: str) -> str:
    return sql if sql == alias else f"{sql} AS {alias}"


def subquery(inner: Select, number: int, ids: Sequence[Id] | None = None) -> Select:
    """The same rows and columns as names of a subquery; an order goes on as hidden columns."""
    hidden = {f"o{number}_{index}": key.sql for index, key in enumerate(inner.order)}
    kept = inner.columns if ids is None else {id_: inner.columns[id_] for id_ in ids}
    named = Select(inner.source, dict(kept), inner.where, inner.order, inner.limit)
    order = [OrderKey(each, key.descending, key.nulls_first) for each, key in zip(hidden, inner.order, strict=True)]
    return Select(f"({named.text(hidden)}) AS s{number}", {id_: name(id_) for id_ in kept}, order=order)
