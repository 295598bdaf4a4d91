"""The entity index as it is read: documents of an entity, entities of documents, how often, and which there are.

Every statement runs along the index (tenant, collection, kind, value, created descending, id, role) or the primary key
of a collection, and reads no more rows than it is allowed.

Source: SQLite documentation, "The Query Planner" and "WITH clause" (a loose index scan is a recursive query).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from bartizan.errors import BadRequest
from bartizan.store.interface import Span
from bartizan.store.sql import Db, Dialect, Table, entity_key

MAX_ASKED = 1_000  # documents or entities of one question
MAX_VALUES = 1_000  # distinct values of one answer
_TERMS = 40  # of one compound statement: SQLite takes 500, PostgreSQL plans each

_PAIR = "tenant = $? AND collection = $? AND kind = $? AND value = $?"
_listed = msgspec.json.Decoder(list[tuple[str, str, str]]).decode


def entity(
    db: Db,
    dialect: Dialect,
    tenant: str,
    kind: str,
    value: str,
    collections: Sequence[str],
    limit: int,
    since: str | None = None,
    before: str | None = None,
) -> list[tuple[str, str, str, str]]:
    """Newest first; of one instant by collection, id and role."""
    bounds = "" if since is None else " AND created >= $?"
    bounds += "" if before is None else " AND created < $?"
    given = [each for each in (since, before) if each is not None]
    order = f"created {dialect.direction(True)}, id {dialect.direction(False)}, role"
    sql = f"SELECT collection, id, role, created FROM entities WHERE {_PAIR}{bounds} ORDER BY {order} LIMIT $?"
    key = entity_key(value)
    found: list[tuple[str, str, str, str]] = []
    for collection in collections:
        rows = db.rows(sql, (tenant, collection, kind, key, *given, limit))
        found += [(row[0], row[1], row[2], row[3]) for row in rows]
    found.sort()
    found.sort(key=lambda row: row[3], reverse=True)
    return found[:limit]


def entities_of(db: Db, table: Table, tenant: str, ids: Sequence[str]) -> dict[str, list[tuple[str, str, str]]]:
    """By id; a document that is not there, or names nothing, is left out."""
    found: dict[str, list[tuple[str, str, str]]] = {}
    if not ids:
        return found
    _bounded(len(ids), "documents")
    ids = list(dict.fromkeys(ids))
    marks = ", ".join(["($?)"] * len(ids))
    wanted = f"WITH w(id) AS (VALUES {marks}) SELECT t.id, t.entities FROM w"
    sql = f"{wanted} {table.each('w.id')} WHERE t.entities IS NOT NULL"
    for id, listed in db.rows(sql, (*ids, tenant)):
        found[id] = _listed(listed)
    return found


def spans(
    db: Db, dialect: Dialect, tenant: str, entities: Sequence[tuple[str, str]], collections: Sequence[str], most: int
) -> list[Mapping[str, Span]]:
    """Of each entity, by collection; collections without it are left out."""
    _bounded(len(entities), "entities")
    asked = [(at, kind, entity_key(value), name) for at, (kind, value) in enumerate(entities) for name in collections]
    found: list[dict[str, Span]] = [{} for _ in entities]
    down, up = dialect.direction(True), dialect.direction(False)
    for start in range(0, len(asked), _TERMS):
        terms: list[str] = []
        params: list[Any] = []
        some = asked[start : start + _TERMS]
        for at, (_, kind, value, name) in enumerate(some):
            pair = (tenant, name, kind, value)
            terms.append(
                f"SELECT {at} AS place, s.total, s.documents, s.last, "
                f"(SELECT created FROM entities WHERE {_PAIR} ORDER BY created {up} LIMIT 1) AS first FROM "
                "(SELECT count(*) AS total, count(DISTINCT id) AS documents, max(created) AS last FROM "
                f"(SELECT created, id FROM entities WHERE {_PAIR} ORDER BY created {down} LIMIT $?) r) s"
            )
            params += [*pair, *pair, most]
        for place, total, documents, last, first in db.rows(" UNION ALL ".join(terms), params):
            if total:
                at, _, _, name = some[place]
                found[at][name] = Span(documents, first, last, total >= most)
    return list(found)


def there(db: Db, tenant: str, entities: Sequence[tuple[str, str]], collections: Sequence[str]) -> set[tuple[str, str]]:
    """Of many entities those that there are: one step of the index for each, in one statement for each collection."""
    _bounded(len(entities), "entities")
    found: set[tuple[str, str]] = set()
    for collection in collections if entities else ():
        rest = [each for each in entities if each not in found]
        marks = ", ".join([f"({at}, $?, $?)" for at in range(len(rest))])
        if not rest:
            break
        sql = (
            f"WITH w(place, kind, value) AS (VALUES {marks}) SELECT w.place FROM w WHERE EXISTS "
            "(SELECT 1 FROM entities e WHERE e.tenant = $? "
            "AND e.collection = $? AND e.kind = w.kind AND e.value = w.value)"
        )
        keys = [text for kind, value in rest for text in (kind, entity_key(value))]
        found.update(rest[place] for (place,) in db.rows(sql, (*keys, tenant, collection)))
    return found


def values(
    db: Db, tenant: str, kind: str, collections: Sequence[str], prefix: str, after: str, limit: int
) -> list[str]:
    """Distinct values in order, behind `after`: one step of the index for each, however many documents have it."""
    if not 0 < limit <= MAX_VALUES:
        raise BadRequest(f"values of entities come 1 to {MAX_VALUES} at a time; asked for {limit}")
    prefix = entity_key(prefix) if prefix else ""
    among = "FROM entities e WHERE tenant = $? AND collection = $? AND kind = $? AND e.value"
    sql = (
        "WITH RECURSIVE v(value) AS ("
        f"SELECT * FROM (SELECT e.value {among} > $? AND e.value >= $? ORDER BY e.value LIMIT 1) f "
        f"UNION ALL SELECT (SELECT e.value {among} > v.value ORDER BY e.value LIMIT 1) "
        "FROM v WHERE v.value IS NOT NULL) SELECT value FROM v WHERE value IS NOT NULL LIMIT $?"
    )
    found: set[str] = set()
    for collection in collections:
        place = (tenant, collection, kind)
        for (value,) in db.rows(sql, (*place, after, prefix, *place, limit)):
            if not value.startswith(prefix):
                break
            found.add(value)
    return sorted(found, key=str.encode)[:limit]


def _bounded(number: int, what: str) -> None:
    if number > MAX_ASKED:
        raise BadRequest(f"{number} {what} are asked for at once; the most is {MAX_ASKED}")
