"""How a page is reached: which index drives it and in which order its rows come.

The whole filter is checked on each row; beside it stand the conjuncts that an index can serve. Few candidates (a
bounded probe counts index entries) are read and sorted; otherwise rows come in the order of an index and are checked
until the page is full, so that a page costs the same at any number of documents. Where values go together, the first
that match may stand far behind in that order: after PATIENCE_S the candidates of the rarest conjunct are read and
sorted instead, if they are not too many. What is asked for in such an order repeatedly is learned (`learned`): then the
rows of one value lie in it.

Source: SQLite "The Query Planner"; keyset paging as in Markus Winand, "We need tool support for keyset pagination".
"""

import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from msgspec import Struct

from bartizan.errors import InvalidQuery
from bartizan.odata import tree
from bartizan.odata.tree import Expr, Order
from bartizan.store.compile import candidates, compile_scalar, compile_where
from bartizan.store.learned import Known, Pair, fits, parts_of
from bartizan.store.sql import Db, Index, Scalar, Table, entity_key

SMALL = 1_000  # candidates that are read and sorted rather than scanned in order: some ms at most
PATIENCE_S = 0.1  # for a page in the order of an index where other conjuncts could give candidates instead
GATHERED = 500_000  # candidates that are read and sorted where the order's index did not come to a full page by then
LARGE = 30_000  # how far a second probe counts, to tell a rather rare value from a common one
REMEMBER_S = 30.0  # for how long a probe's "not small" is believed
MAX_REMEMBERED = 2_048
MAX_IDS = 10_000  # of one page; SQLite takes 32,766 parameters
MAX_PAIRS = 64  # alternatives of one entity conjunct; more are not worth their probes

# Keeps PostgreSQL from making a join of a test on each row: without statistics it would begin at the wrong end.
FENCE = "LIMIT 1 OFFSET 0"
_PAIR = "tenant = $? AND collection = $? AND kind = $? AND value = $?"
_FLIPPED = {"eq": "eq", "lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}
_OPERATOR = {"eq": "=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}


class SortKey(NamedTuple):
    sql: str
    params: tuple[Any, ...]
    descending: bool
    nullable: bool
    path: str | None  # None: computed from the document


class Driver(Struct, frozen=True):
    """A conjunct that an index serves: a declared column's, or an entity's (then `pairs` are its kinds and values)."""

    path: str
    eq: bool  # fixes the index's first column
    sql: str
    params: tuple[Any, ...]
    index: Index
    size: int | None = None  # where it is known without a probe
    pairs: tuple[tuple[str, str], ...] = ()


class Plan(NamedTuple):
    """`source` is what stands behind FROM; `where` begins with the tenant."""

    source: str
    source_params: tuple[Any, ...]
    where: str
    params: tuple[Any, ...]
    keys: tuple[SortKey, ...]
    ordered: bool  # rows come in the order of the keys without a sort
    other: bool = False  # there is another way (`gather`) where this one does not come to a full page soon


class Planner:
    """One table's plans; remembers what probes found."""

    def __init__(self, table: Table, *, learns: bool = True) -> None:
        self.table = table
        self._learns = learns
        self.small = SMALL
        self.learned = Known(table)
        self._all = (*table.indexes, table.pk)
        self._large: dict[tuple[Any, ...], tuple[float, int]] = {}
        self._poor: dict[tuple[Any, ...], float] = {}  # plans that came to no full page in time, until when
        self._reached: dict[tuple[Any, ...], tuple[float, Any]] = {}

    # ------------------------------------------------------------ order

    def keys(self, order: Sequence[Order]) -> list[SortKey]:
        """All sort keys: the given ones, then what makes the order total, in the direction that an index gives."""
        given: list[SortKey] = []
        for item in order:
            path = self._declared(item.path)
            if path is None:
                sql, params = compile_scalar(item.path, self.table)
                given.append(SortKey(sql, tuple(params), item.descending, True, None))
            elif all(key.path != path for key in given):
                given.append(self._key(path, item.descending))
        if not order:
            given = [self._key(key.path, key.descending) for key in self.table.order]
        if not given:  # a collection without an order of its own: by id alone
            return [self._key("id", False)]
        if any(key.path == "id" for key in given):
            return given
        for index in self._all:
            for backwards in (False, True):
                rest = index.keys[len(given) :]
                if rest and self._matches(index.keys, given, backwards):
                    return [*given, *(self._key(key.path, key.descending != backwards) for key in rest)]
        return [*given, self._key("id", False)]

    @staticmethod
    def _matches(parts: Sequence[Any], keys: Sequence[SortKey], backwards: bool) -> bool:
        return len(keys) <= len(parts) and all(
            key.path == part.path and key.descending == (part.descending != backwards)
            for key, part in zip(keys, parts, strict=False)
        )

    def serves(self, index: Index, keys: Sequence[SortKey], fixed: int = 0) -> bool:
        """Whether the index, with its first `fixed` columns given by equality, yields the order."""
        parts = index.keys[fixed:]
        return self._matches(parts, keys, False) or self._matches(parts, keys, True)

    def _declared(self, path: tree.Path) -> str | None:
        text = "/".join(path.names)
        return text if path.variable is None and text in self.table.quoted else None

    def _key(self, path: str, descending: bool) -> SortKey:
        never_null = path in ("id", self.table.collection.created, self.table.collection.updated)
        return SortKey(self.table.quoted[path], (), descending, not never_null, path)

    # ------------------------------------------------------------ drivers

    def drivers(
        self, tenant: str, filter: Expr | None, ids: Sequence[str] | None
    ) -> tuple[list[Driver], list[tree.Expr]]:
        """And the conjuncts that remain to be checked: a column's driver is the conjunct itself, an entity's is not."""
        found: list[Driver] = []
        rest: list[Expr] = []
        for part in conjuncts(filter):
            driver = self._driver(part)
            if driver is None:
                rest.append(part)
            else:
                found.append(driver)
        if ids is not None:
            if len(ids) > MAX_IDS:
                raise InvalidQuery(f"{len(ids)} ids are asked for at once; the most is {MAX_IDS}")
            marks = ", ".join(["$?"] * len(ids)) or "NULL"
            found.append(Driver("id", False, f"t.id IN ({marks})", tuple(ids), self.table.pk, len(ids)))
        for alternatives in candidates(filter, self.table):
            pairs = tuple((kind, entity_key(value)) for kind, value in alternatives)
            if not pairs or len(pairs) > MAX_PAIRS:
                continue
            any_of = " UNION ALL ".join([f"SELECT id FROM entities WHERE {_PAIR}"] * len(pairs))
            params = tuple(value for pair in pairs for value in self._pair(tenant, pair))
            among = f"t.id IN ({any_of})" if self.table.dialect.hints else f"t.id = ANY(ARRAY({any_of}))"
            found.append(Driver("", True, among, params, self.table.pk, None, pairs))
        return found, rest

    def _pair(self, tenant: str, pair: tuple[str, str]) -> tuple[str, ...]:
        return (tenant, self.table.collection.name, *pair)

    def _driver(self, part: Expr) -> Driver | None:
        if isinstance(part, tree.In) and isinstance(part.left, tree.Path):
            values = [self._value(part.left, literal) for literal in part.values]
            path = self._declared(part.left)
            index = self.table.index_of(path) if path is not None else None
            if path is None or index is None or not values or None in values:
                return None
            marks = ", ".join(["$?"] * len(values))
            size = len(values) if path == "id" else None
            return Driver(path, False, f"{self.table.quoted[path]} IN ({marks})", tuple(values), index, size)
        if not isinstance(part, tree.Compare) or part.op not in _FLIPPED:
            return None
        left, op, right = part.left, str(part.op), part.right
        if isinstance(left, tree.Literal):
            left, op, right = right, _FLIPPED[op], left
        if not isinstance(left, tree.Path) or not isinstance(right, tree.Literal):
            return None
        path, value = self._declared(left), self._value(left, right)
        index = self.table.index_of(path) if path is not None else None
        if path is None or index is None or value is None:
            return None
        size = 1 if path == "id" and op == "eq" else None
        return Driver(path, op == "eq", f"{self.table.quoted[path]} {_OPERATOR[op]} $?", (value,), index, size)

    def _value(self, left: tree.Path, literal: tree.Literal) -> Scalar:
        """What to look for in the column; None unless SQL's comparison is sure to be the tree's."""
        column, value = self.table.by_path.get("/".join(left.names)), literal.value
        kind = column.kind if column is not None else "text"
        fold = column is not None and column.fold
        if isinstance(value, str):
            if left.fold != fold or "\0" in value or kind in ("int", "real", "bool"):
                return None
            return value.lower() if fold else value
        if isinstance(value, bool):
            return value if kind == "bool" else None
        if isinstance(value, int | float):
            return value if kind in ("int", "real") and abs(value) < 2**63 else None
        return None

    # ------------------------------------------------------------ plans

    def plan(
        self, db: Db, tenant: str, filter: Expr | None, keys: Sequence[SortKey] | None, ids: Sequence[str] | None = None
    ) -> Plan:
        """`keys` None: the order does not matter (a count)."""
        drivers, rest = self.drivers(tenant, filter, ids)
        way, pair = self._way(db, tenant, drivers, keys)
        if pair is not None and way is not None and keys is not None:
            plan = self._along(tenant, drivers, rest, way, pair, keys)
        else:
            plan = self._planned(tenant, drivers, rest, way, keys)
        other = plan.ordered and any(driver is not way for driver in drivers)
        if other and self._poor.get(_told(plan), 0.0) > time.monotonic():
            self._wish(db, tenant, drivers, way, keys)
            return self._gathered(db, tenant, drivers, rest, way, keys) or plan
        return plan._replace(other=other)

    def gather(
        self, db: Db, tenant: str, filter: Expr | None, keys: Sequence[SortKey], poor: Plan, ids: Sequence[str] | None
    ) -> Plan | None:
        """The candidates of the rarest conjunct, read and sorted, where `poor` came to no full page in time.

        None where there are too many, or where `poor` goes along them already.
        """
        drivers, rest = self.drivers(tenant, filter, ids)
        way, _ = self._way(db, tenant, drivers, keys)
        self._wish(db, tenant, drivers, way, keys)
        found = self._gathered(db, tenant, drivers, rest, way, keys)
        if found is not None:
            if len(self._poor) >= MAX_REMEMBERED:
                self._poor.clear()
            self._poor[_told(poor)] = time.monotonic() + REMEMBER_S
        return found

    def _gathered(
        self,
        db: Db,
        tenant: str,
        drivers: Sequence[Driver],
        rest: Sequence[Expr],
        chosen: Driver | None,
        keys: Sequence[SortKey] | None,
    ) -> Plan | None:
        least, size = self._least(db, tenant, drivers, GATHERED)
        if size > GATHERED or least is chosen:
            return None
        return self._planned(tenant, drivers, rest, least, keys, sort=True)

    def _planned(
        self,
        tenant: str,
        drivers: Sequence[Driver],
        rest: Sequence[Expr],
        chosen: Driver | None,
        keys: Sequence[SortKey] | None,
        *,
        sort: bool = False,
    ) -> Plan:
        if not sort and chosen is not None and keys is not None and self._streams(chosen, keys):
            others = [driver for driver in drivers if driver is not chosen]
            where, values = _joined(self._terms(tenant, others, rest, None))
            return self._stream(tenant, chosen.pairs[0], keys)._replace(where=where, params=values)
        where, values = _joined(self._terms(tenant, drivers, rest, chosen))
        index = chosen.index if chosen is not None else None
        if chosen is None and keys is not None:
            index = self._order_index(keys)
        fixed = 1 if chosen is not None and chosen.eq and not chosen.pairs else 0
        ordered = (
            not sort
            and keys is not None
            and index is not None
            and (self.serves(index, keys) or self.serves(index, keys, fixed))
        )
        hint = self.table.dialect.hint(index.name if index is not None else None)
        return Plan(f"{self.table.name} t{hint}", (), where, values, tuple(keys or ()), ordered)

    def _terms(
        self, tenant: str, drivers: Sequence[Driver], rest: Sequence[Expr], chosen: Driver | None
    ) -> list[tuple[str, Sequence[Any]]]:
        terms: list[tuple[str, Sequence[Any]]] = [("tenant = $?", (tenant,))]
        for driver in drivers:
            if not driver.pairs or driver is chosen:
                terms.append((driver.sql, driver.params))
            else:
                terms.append(self._touches(tenant, driver))
        return [*terms, *(compile_where(part, self.table) for part in rest)]

    def _order_index(self, keys: Sequence[SortKey]) -> Index | None:
        return next((index for index in self._all if self.serves(index, keys)), None)

    def _choose(self, db: Db, tenant: str, drivers: Sequence[Driver], keys: Sequence[SortKey] | None) -> Driver | None:
        """None: the order's own index, or none at all."""
        known = [driver for driver in drivers if driver.size is not None]
        if known:
            return min(known, key=lambda driver: driver.size or 0)
        usable = list(drivers)
        if keys:  # a range on the first sort key is served by the order's own index
            usable = [d for d in usable if d.eq or d.path != keys[0].path or self._order_index(keys) is None]
        if not usable:
            return None
        if keys is None:
            in_order = usable
        else:
            in_order = [d for d in usable if self._streams(d, keys) or (d.eq and self.serves(d.index, keys, 1))]
        if len(usable) == 1 and in_order:
            return usable[0]
        least, size = self._least(db, tenant, usable, self.small)
        if size <= self.small:
            return least
        if not in_order and keys is not None and self._order_index(keys) is not None:
            return None
        in_order = in_order or usable
        if len(in_order) == 1:
            return in_order[0]
        if keys is not None and in_order is not usable:
            return self._farthest(db, tenant, in_order, keys)
        return self._least(db, tenant, in_order, LARGE)[0]

    def _least(self, db: Db, tenant: str, drivers: Sequence[Driver], limit: int) -> tuple[Driver, int]:
        sizes = [self._probe(db, tenant, driver, limit) for driver in drivers]
        least = min(range(len(sizes)), key=sizes.__getitem__)
        return drivers[least], sizes[least]

    def _farthest(self, db: Db, tenant: str, drivers: Sequence[Driver], keys: Sequence[SortKey]) -> Driver:
        """Of drivers that all give the order, the one that comes farthest with the same number of rows: the rarest."""
        down = keys[0].descending
        reached = [self._reach(db, tenant, driver, keys) for driver in drivers]
        places = sorted(range(len(drivers)), key=lambda i: (reached[i] is not None, reached[i]), reverse=not down)
        return drivers[places[0]]

    def _reach(self, db: Db, tenant: str, driver: Driver, keys: Sequence[SortKey]) -> Any:
        """The first sort value of the driver's entry number SMALL."""
        direction = self.table.dialect.direction
        key = (tenant, driver.sql, driver.params, tuple((one.sql, one.descending) for one in keys))
        kept = self._reached.get(key)
        if kept is not None and kept[0] > time.monotonic():
            return kept[1]
        if driver.pairs:
            order = f"created {direction(keys[0].descending)}, id {direction(keys[1].descending)}"
            sql = f"SELECT created FROM entities WHERE {_PAIR} ORDER BY {order} LIMIT 1 OFFSET $?"
            rows = db.rows(sql, (*self._pair(tenant, driver.pairs[0]), SMALL))
        else:
            source = f"{self.table.name} t{self.table.dialect.hint(driver.index.name)}"
            order = ", ".join(f"{one.sql} {direction(one.descending)}" for one in keys)
            where = f"tenant = $? AND {driver.sql}"
            sql = f"SELECT {keys[0].sql} FROM {source} WHERE {where} ORDER BY {order} LIMIT 1 OFFSET $?"
            rows = db.rows(sql, (tenant, *driver.params, SMALL))
        value = rows[0][0] if rows else None
        if len(self._reached) >= MAX_REMEMBERED:
            self._reached.clear()
        self._reached[key] = (time.monotonic() + REMEMBER_S, value)
        return value

    def _probe(self, db: Db, tenant: str, driver: Driver, limit: int) -> int:
        """How many index entries, counted to no more than `limit` + 1 (for each alternative)."""
        key = (tenant, driver.sql, driver.params)
        kept = self._large.get(key)
        if kept is not None and kept[0] > time.monotonic() and kept[1] > limit:
            return kept[1]
        if driver.pairs:
            sql = f"SELECT count(*) FROM (SELECT 1 FROM entities WHERE {_PAIR} LIMIT $?) p"
            size = sum(int(db.rows(sql, (*self._pair(tenant, pair), limit + 1))[0][0]) for pair in driver.pairs)
        else:
            source = f"{self.table.name} t{self.table.dialect.hint(driver.index.name)}"
            sql = f"SELECT count(*) FROM (SELECT 1 FROM {source} WHERE tenant = $? AND {driver.sql} LIMIT $?) p"
            size = int(db.rows(sql, (tenant, *driver.params, limit + 1))[0][0])
        if size > limit:
            if len(self._large) >= MAX_REMEMBERED:
                self._large.clear()
            self._large[key] = (time.monotonic() + REMEMBER_S, size)
        return size

    # ------------------------------------------------------------ learned orders

    def _way(
        self, db: Db, tenant: str, drivers: Sequence[Driver], keys: Sequence[SortKey] | None
    ) -> tuple[Driver | None, Pair | None]:
        """What drives: as `_choose` says, unless that is the order's own index and a pair has less to go through."""
        chosen = self._choose(db, tenant, drivers, keys)
        if chosen is not None or not keys or keys[0].path is None:
            return chosen, None
        fixing = self._fixing(drivers, keys)
        pairs = self.learned.full(db, keys[0].path) if fixing else {}
        found = [driver for driver in fixing if driver.path in pairs]
        if not found:
            return None, None
        driver = found[0] if len(found) == 1 else self._least(db, tenant, found, LARGE)[0]
        pair = pairs[driver.path]
        return (driver, pair) if self.learned.still(db, pair) else (None, None)

    def _fixing(self, drivers: Sequence[Driver], keys: Sequence[SortKey]) -> list[Driver]:
        """Equalities of which a pair with the first sort key has, or would have, the rows in this order."""
        path = keys[0].path if self._learns else None
        index = None if path is None else self.table.index_of(path)
        if path is None or index is None or not self.serves(index, keys):
            return []
        equal = [driver for driver in drivers if driver.eq and not driver.pairs and self._fits(driver)]
        return [driver for driver in equal if parts_of(self.table, driver.path, path) is not None]

    def _fits(self, driver: Driver) -> bool:
        return fits(self.table.dialect, driver.params[0])

    def _along(
        self,
        tenant: str,
        drivers: Sequence[Driver],
        rest: Sequence[Expr],
        way: Driver,
        pair: Pair,
        keys: Sequence[SortKey],
    ) -> Plan:
        """Rows in the order of a learned pair."""
        columns = {part.column: name for part, name in zip(pair.parts[1:], pair.columns[1:], strict=True)}
        renamed = tuple(key._replace(sql=f"s.{columns[self._own(key.path)]}") for key in keys)
        terms = self._terms(tenant, drivers, rest, None)
        ordered = self.table.quoted[pair.ordered]
        for driver in drivers:  # where to begin and to end in it
            if driver.path == pair.ordered:
                terms.append((driver.sql.replace(ordered, renamed[0].sql, 1), driver.params))
        where, values = _joined(terms)
        dialect = self.table.dialect
        own, id = ", ".join(pair.columns[1:]), f"s.{columns['id']}"
        source = (
            f'(SELECT {own} FROM "{pair.name}"{dialect.hint(f"{pair.name}_i")} WHERE tenant = $? AND la = $?) s '
            f"{self.table.each(id)}"
        )
        return Plan(source, (tenant, way.params[0], tenant), where, values, renamed, True)

    def _own(self, path: str | None) -> str:
        """A declared path's column as its own table calls it."""
        return "id" if path is None or path == "id" else self.table.quoted[path]

    def _wish(
        self, db: Db, tenant: str, drivers: Sequence[Driver], way: Driver | None, keys: Sequence[SortKey] | None
    ) -> None:
        """Notes that a page took long for want of a pair: of the rarest equality, with the first sort key."""
        fixing = self._fixing(drivers, keys) if keys else []
        ordered = keys[0].path if keys else None
        if not fixing or ordered is None:
            return
        if self.learned.wished(tuple(sorted({driver.path for driver in fixing})), ordered):
            rarest = fixing[0] if len(fixing) == 1 else self._least(db, tenant, fixing, GATHERED)[0]
            if rarest is not way:
                self.learned.want(rarest.path, ordered)

    # ------------------------------------------------------------ entities

    def _streams(self, driver: Driver, keys: Sequence[SortKey]) -> bool:
        """Whether the entity index itself, which is by stamp of creation, gives the order."""
        created = self.table.collection.created
        return (
            len(driver.pairs) == 1
            and created is not None
            and [key.path for key in keys] == [created, "id"]
            and keys[0].descending != keys[1].descending
        )

    def _stream(self, tenant: str, pair: tuple[str, str], keys: Sequence[SortKey]) -> Plan:
        """Rows in the order of the entity index, each once (an entity may have several roles in one document)."""
        once = (
            "NOT EXISTS (SELECT 1 FROM entities d WHERE d.tenant = e.tenant AND d.collection = e.collection AND "
            "d.kind = e.kind AND d.value = e.value AND d.created = e.created AND d.id = e.id AND d.role < e.role "
            f"{FENCE})"
        )
        join = "CROSS JOIN" if self.table.dialect.hints else "JOIN"
        source = (
            f"(SELECT created AS entity_created, id AS entity_id FROM entities e WHERE {_PAIR} AND {once}) s "
            f"{join} {self.table.name} t ON t.id = s.entity_id"
        )
        renamed = (keys[0]._replace(sql="s.entity_created"), keys[1]._replace(sql="s.entity_id"))
        return Plan(source, self._pair(tenant, pair), "", (), renamed, True)

    def _touches(self, tenant: str, driver: Driver) -> tuple[str, tuple[Any, ...]]:
        """A cheap test on each row, before the filter has to open the document."""
        one = f"EXISTS (SELECT 1 FROM entities e WHERE {_PAIR} AND e.created = t.created AND e.id = t.id {FENCE})"
        params = tuple(value for pair in driver.pairs for value in self._pair(tenant, pair))
        return f"({' OR '.join([one] * len(driver.pairs))})", params


def _joined(terms: Sequence[tuple[str, Sequence[Any]]]) -> tuple[str, tuple[Any, ...]]:
    return " AND ".join(sql for sql, _ in terms), tuple(value for _, params in terms for value in params)


def _told(plan: Plan) -> tuple[Any, ...]:
    """What tells a plan from others of its table."""
    order = tuple((key.sql, key.params, key.descending) for key in plan.keys)
    return (plan.source, plan.source_params, plan.where, plan.params, order)


def conjuncts(filter: Expr | None) -> Iterator[Expr]:
    """The parts of a filter that all must be true."""
    if isinstance(filter, tree.And):
        for part in filter.operands:
            yield from conjuncts(part)
    elif filter is not None:
        yield filter
