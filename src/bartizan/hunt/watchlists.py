"""Watchlists: lists that people keep beside the events, whose items queries read by `_GetWatchlist('alias')`.

A document says what it is; the items are its attachment, columns of texts as compressed JSON: the names of the columns,
the ids of the items, when each came (microseconds since 1970), the search key of each, then a column for each name. An
item is what it says: brought again it is the same item, and keeps its time.

Source: Microsoft Sentinel, "Watchlists in Microsoft Sentinel", "Watchlist schemas"; REST API, Watchlists.
"""

import csv
import hashlib
import io
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from bartizan.errors import BadRequest, Conflict, NotFound
from bartizan.extend.resources import collection
from bartizan.hunt.catalogue import ITEM_COLUMNS, MAX_ITEMS_BYTES
from bartizan.model.times import instant
from bartizan.store.draft import draft, inner
from bartizan.store.interface import Query, Stored, TenantStore, Tx

WATCHLISTS = collection(
    "watchlists",
    "microsoft.graph.security.watchlist",
    columns="displayName createdDateTime lastModifiedDateTime",
    unique="watchlistAlias",
    fold="watchlistAlias",
    order="createdDateTime desc",
    created="createdDateTime",
    updated="lastModifiedDateTime",
    versions=("beta",),
)
CONTENT = "items"  # the attachment
BYTES = "@bartizan.bytes"  # of it

MAX_WATCHLISTS = 100  # of a tenant
MAX_ITEMS = 100_000  # of one
MAX_COLUMNS = 100
MAX_NAME_CHARS = 128
MAX_VALUE_CHARS = 8_192
MAX_PACKED_BYTES = 128 * 2**20  # of all of a tenant, as they are stored
TRIES = 3  # of an upload that others overtake
ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_1970 = datetime(1970, 1, 1, tzinfo=UTC)

csv.field_size_limit(2**20)


class Rows(Struct, frozen=True):
    """What somebody brings: names of columns, and rows of as many texts."""

    columns: tuple[str, ...]
    rows: list[list[str]]


class Items(Struct):
    """All of a watchlist: the rows in the order in which they came, each with its id and its time."""

    columns: tuple[str, ...] = ()
    ids: list[str] = []
    times: list[int] = []
    rows: list[list[str]] = []


# ---------------------------------------------------------------- what is brought


def of_csv(text: str, skip: int = 0) -> Rows:
    """Comma-separated with a heading, behind `skip` lines. BadRequest with the line that is wrong."""
    lines = io.StringIO(text.removeprefix("\ufeff"), newline="")
    for _ in range(skip):
        lines.readline()
    reader = csv.reader(lines, strict=True)
    heading: tuple[str, ...] = ()
    rows: list[list[str]] = []
    try:
        for fields in reader:
            if not fields:
                continue
            if not heading:
                heading = _checked_names([each.strip() for each in fields])
                continue
            if len(fields) != len(heading):
                line = reader.line_num + skip
                raise BadRequest(f"line {line} has {len(fields)} fields; the heading has {len(heading)}.")
            _counted(rows)
            rows.append(fields)
    except csv.Error as problem:
        raise BadRequest(f"line {reader.line_num + skip}: {problem}.") from None
    if not heading:
        raise BadRequest("the CSV has no heading that names its columns.")
    return _checked(Rows(heading, rows))


def of_objects(given: Any) -> Rows:
    """A list of JSON objects with a text, number or truth value for each column; null is an empty text. BadRequest with
    the number of the item that is none."""
    if not isinstance(given, list):
        raise BadRequest('items: expected a list of objects, such as [{"User": "a@example.org"}].')
    names: dict[str, None] = {}
    for number, each in enumerate(given):
        if not isinstance(each, dict) or not each:
            raise BadRequest(f"items[{number}] is no object with columns.")
        names.update(dict.fromkeys(each))
        if len(names) > MAX_COLUMNS:
            break
    columns = _checked_names(list(names))
    rows: list[list[str]] = []
    for number, each in enumerate(given):
        _counted(rows)
        rows.append([_text(each.get(name), number, name) for name in columns])
    return _checked(Rows(columns, rows))


def _text(value: Any, number: int, name: str) -> str:
    match value:
        case None:
            return ""
        case str():
            return value
        case bool() | int() | float():
            return msgspec.json.encode(value).decode()
    raise BadRequest(f"items[{number}].{name[:100]}: expected a text, a number, true, false or null.")


def _counted(rows: Sequence[Any]) -> None:
    if len(rows) >= MAX_ITEMS:
        raise BadRequest(f"a watchlist has at most {MAX_ITEMS:,} items.")


def _checked_names(names: Sequence[str]) -> tuple[str, ...]:
    if not 0 < len(names) <= MAX_COLUMNS:
        raise BadRequest(f"a watchlist has 1 to {MAX_COLUMNS} columns.")
    for name in names:
        if not 0 < len(name) <= MAX_NAME_CHARS or _CONTROL.search(name):
            raise BadRequest(f"a column has a name of 1 to {MAX_NAME_CHARS} printable characters; got {name[:50]!r}.")
        if name in ITEM_COLUMNS:
            raise BadRequest(f"the column {name} is one that every watchlist has; call yours something else.")
    double = next((name for at, name in enumerate(names) if name in names[:at]), None)
    if double is not None:
        raise BadRequest(f"two columns are called {double[:100]}.")
    return tuple(names)


def _checked(rows: Rows) -> Rows:
    for number, row in enumerate(rows.rows, 1):
        for name, value in zip(rows.columns, row, strict=True):
            if len(value) > MAX_VALUE_CHARS or "\0" in value:
                raise BadRequest(
                    f"item {number}, {name[:100]}: a value has at most {MAX_VALUE_CHARS:,} characters, and no NUL."
                )
    return rows


# ---------------------------------------------------------------- items


def joined(before: Items, new: Rows, now: datetime, *, replace: bool) -> Items:
    """The items that were there (none of them, to `replace`) and the new ones, each once. BadRequest where they are too
    many."""
    known = dict(zip(before.ids, before.times, strict=True))
    columns = new.columns if replace else _checked_names(list(dict.fromkeys((*before.columns, *new.columns))))
    made = Items(columns=columns)
    seen: set[str] = set()
    came = (now - _1970) // timedelta(microseconds=1)
    parts = [(new.columns, new.rows)] if replace else [(before.columns, before.rows), (new.columns, new.rows)]
    for names, rows in parts:
        places = [columns.index(name) for name in names]
        for row in rows:
            whole = [""] * len(columns)
            for place, value in zip(places, row, strict=True):
                whole[place] = value
            id = _id(columns, whole)
            if id in seen:
                continue
            _counted(made.ids)
            seen.add(id)
            made.ids.append(id)
            made.times.append(known.get(id, came))
            made.rows.append(whole)
    return made


def _id(columns: Sequence[str], row: Sequence[str]) -> str:
    """Of what the item says, whatever the order of its columns."""
    said = sorted((name, value) for name, value in zip(columns, row, strict=True) if value)
    return str(UUID(bytes=hashlib.sha256(msgspec.json.encode(said)).digest()[:16], version=5))


def packed(items: Items, search_key: str) -> bytes:
    """BadRequest where they are too large, or none has the column of the search key."""
    if search_key not in items.columns:
        known = ", ".join(items.columns[:20])
        raise BadRequest(f"itemsSearchKey is '{search_key[:100]}', which is no column of the items: they have {known}.")
    every = list(zip(*items.rows, strict=True)) if items.rows else [()] * len(items.columns)
    keys = every[items.columns.index(search_key)]
    content = msgspec.json.encode([items.columns, items.ids, items.times, keys, *every])
    if len(content) > MAX_ITEMS_BYTES:
        raise BadRequest(f"the items take {len(content):,} bytes as JSON; a watchlist has at most {MAX_ITEMS_BYTES:,}.")
    return zlib.compress(content, 3)


def unpacked(content: bytes | None) -> Items:
    if content is None:
        return Items()
    columns, ids, times, _, *every = msgspec.json.decode(zlib.decompress(content), type=list[list[Any]])
    return Items(tuple(columns), ids, times, [list(row) for row in zip(*every, strict=True)])


# ---------------------------------------------------------------- in the store


def check(watchlist: Mapping[str, Any]) -> None:
    """BadRequest for a document that is none."""
    alias, key = str(watchlist.get("watchlistAlias") or ""), str(watchlist.get("itemsSearchKey") or "")
    if not ALIAS.fullmatch(alias):
        raise BadRequest(
            "watchlistAlias: expected 1 to 64 letters, digits, hyphens, points or underscores, a letter or digit first."
        )
    if not str(watchlist.get("displayName") or "").strip():
        raise BadRequest("displayName: a watchlist has one.")
    if not 0 < len(key) <= MAX_NAME_CHARS:
        raise BadRequest("itemsSearchKey: the name of the column by which items are looked up.")
    for name in ("displayName", "description", "provider", "source"):
        if len(str(watchlist.get(name) or "")) > MAX_VALUE_CHARS:
            raise BadRequest(f"{name} has more than {MAX_VALUE_CHARS:,} characters.")


def put(tx: Tx, watchlist: Mapping[str, Any], items: Items, content: bytes) -> Stored:
    """The document and its items. Conflict where a tenant would have too much."""
    id = str(watchlist["id"])
    others = [row for row in tx.find(WATCHLISTS.name, None, limit=MAX_WATCHLISTS + 1) if row.id != id]
    if len(others) >= MAX_WATCHLISTS:
        raise Conflict(f"a tenant has at most {MAX_WATCHLISTS} watchlists; delete one.")
    if sum(int(inner(row).get(BYTES) or 0) for row in others) + len(content) > MAX_PACKED_BYTES:
        raise Conflict(f"a tenant's watchlists take at most {MAX_PACKED_BYTES:,} bytes, compressed; delete one.")
    said = {**watchlist, "columns": list(items.columns), "watchlistItemsCount": len(items.ids), BYTES: len(content)}
    row = tx.put(draft(WATCHLISTS, said, id))
    assert row is not None
    tx.attach(WATCHLISTS.name, id, CONTENT, content)
    return row


async def named(store: TenantStore, alias: str) -> Stored | None:
    """By alias, in any case."""
    return await store.lookup(WATCHLISTS.name, "watchlistAlias", alias.lower())


async def aliases(store: TenantStore) -> list[str]:
    page = await store.page(WATCHLISTS.name, Query(top=MAX_WATCHLISTS, version="beta"))
    return sorted(str(inner(row)["watchlistAlias"]) for row in page.rows if inner(row).get("watchlistAlias"))


async def content(store: TenantStore, alias: str) -> bytes:
    """Its items as they are stored. NotFound where there is no such watchlist."""
    row = await named(store, alias)
    found = None if row is None else await store.attachment(WATCHLISTS.name, row.id, CONTENT)
    if found is None:
        raise NotFound(f"there is no watchlist '{alias[:100]}'")
    return found


async def items_of(store: TenantStore, id: str) -> Items:
    return unpacked(await store.attachment(WATCHLISTS.name, id, CONTENT))


def shown(items: Items, skip: int, top: int) -> list[dict[str, Any]]:
    """Some items as Graph's objects."""
    some: Iterable[int] = range(skip, min(skip + top, len(items.ids)))
    return [
        {
            "watchlistItemId": items.ids[at],
            "lastModifiedDateTime": instant(_1970 + timedelta(microseconds=items.times[at])),
            "itemsKeyValue": msgspec.json.encode(dict(zip(items.columns, items.rows[at], strict=True))).decode(),
        }
        for at in some
    ]
