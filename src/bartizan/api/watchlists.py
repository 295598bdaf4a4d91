"""Watchlists: lists that people keep beside the events, for queries of hunts and of detection rules.

They are named as Microsoft Sentinel names them; the paths are this server's own. Items come with the watchlist or by
`uploadItems`, as CSV or as JSON.

Source: Microsoft Sentinel REST API, Watchlists and Watchlist Items.
"""

import asyncio
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import msgspec

from bartizan.api.hunting import READ, WRITE
from bartizan.api.wire.note import note
from bartizan.api.wire.write import check_match
from bartizan.errors import BadRequest, Conflict, NotFound
from bartizan.extend import Answer, Can, Context, resource
from bartizan.hunt.watchlists import (
    TRIES,
    WATCHLISTS,
    Items,
    Rows,
    check,
    items_of,
    joined,
    of_csv,
    of_objects,
    packed,
    put,
    shown,
)
from bartizan.store.draft import OWN, inner
from bartizan.store.interface import Stored, Tx

MAX_TOP = 1_000  # items of one answer
MAX_SKIPPED_LINES = 1_000
_BROUGHT = ("contentType", "numberOfLinesToSkip", "rawContent")  # items, in what a POST says of a watchlist
_STAMPED = "columns createdBy createdDateTime id lastModifiedBy lastModifiedDateTime watchlistItemsCount".split()
_UPLOADED = {*_BROUGHT, "items", "replace"}

watchlists = resource(
    "security/watchlists",
    WATCHLISTS.type or "",
    collection=WATCHLISTS,
    can=Can.READ | Can.CREATE | Can.PATCH | Can.DELETE,
    read=READ,
    write=WRITE,
    create=WRITE,
    delete=WRITE,
    patch="description displayName provider source",
    required="displayName itemsSearchKey watchlistAlias",
    filter="createdDateTime displayName id lastModifiedDateTime watchlistAlias",
    orderby="createdDateTime displayName lastModifiedDateTime watchlistAlias",
    bare_keys="watchlistAlias",
    versions=WATCHLISTS.versions,
)


@watchlists.on_create
async def create(ctx: Context, bodies: list[dict[str, Any]]) -> list[Stored]:
    """With the items that `rawContent` brings; without any it has none yet."""
    if len(bodies) != 1:
        raise BadRequest("POST takes one watchlist at a time.")
    given = {name: value for name, value in bodies[0].items() if name not in _STAMPED and not name.startswith(OWN)}
    brought = {name: given.pop(name) for name in _BROUGHT if given.get(name) is not None}
    check(given)
    key = str(given["itemsSearchKey"])
    rows = await asyncio.to_thread(_read, brought) if brought else Rows((key,), [])
    items = await asyncio.to_thread(joined, Items(), rows, ctx.clock(), replace=True)
    content = await asyncio.to_thread(packed, items, key)
    whole = {**given, "id": str(uuid4()), "createdBy": ctx.caller.actor, "lastModifiedBy": ctx.caller.actor}

    def work(tx: Tx) -> list[Stored]:
        row = put(tx, whole, items, content)
        note(ctx, tx, watchlists, [row.id], operation="Add", changed=_told(items))
        return [row]

    return await ctx.store.write(work, actor=ctx.caller.actor)


@watchlists.merge
def change(ctx: Context, before: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    after = {**before, **{name: value for name, value in given.items() if not name.startswith(OWN)}}
    check(after)
    return after if after == before else {**after, "lastModifiedBy": ctx.caller.actor}


@watchlists.action("uploadItems", parameters=None, returns=WATCHLISTS.type)
async def upload(ctx: Context, id: str | None, given: Any) -> Answer:
    """Adds items, or with `replace` puts them in place of those that are there. `{"items": [{column: value}]}`, or
    `{"rawContent": text}` with the `contentType` text/csv (as it is unless said) or application/json."""
    assert id is not None
    if not isinstance(given, dict) or (unknown := given.keys() - _UPLOADED):
        what = f"; got {', '.join(sorted(unknown))[:200]}" if isinstance(given, dict) else ""
        raise BadRequest(f"expected an object with {', '.join(sorted(_UPLOADED))}{what}.")
    replace = given.get("replace", False)
    if not isinstance(replace, bool):
        raise BadRequest("replace: expected true or false.")
    rows = await asyncio.to_thread(_read, given)
    for _ in range(TRIES):
        row = await ctx.store.get(WATCHLISTS.name, id)
        if row is None:
            raise NotFound(f"There is no watchlist '{id[:100]}'.")
        before = Items() if replace else await items_of(ctx.store, row.id)
        items = await asyncio.to_thread(joined, before, rows, ctx.clock(), replace=replace)
        content = await asyncio.to_thread(packed, items, str(inner(row)["itemsSearchKey"]))
        stored = await _stored(ctx, row, items, content)
        if stored is not None:
            return Answer(200, stored)
    raise Conflict("The watchlist was changed by others at the same time; try again.")


async def _stored(ctx: Context, before: Stored, items: Items, content: bytes) -> Stored | None:
    """None where somebody else has changed it meanwhile."""
    etag = ctx.header("if-match")

    def work(tx: Tx) -> Stored | None:
        row = tx.get(WATCHLISTS.name, before.id)
        if row is None:
            raise NotFound(f"There is no watchlist '{before.id[:100]}'.")
        check_match(row, etag)
        if row.seq != before.seq:
            return None
        whole = {**inner(row), "id": row.id, "lastModifiedBy": ctx.caller.actor}
        made = put(tx, whole, items, content)
        note(ctx, tx, watchlists, [row.id], activity="Upload watchlist items", changed=_told(items))
        return made

    return await ctx.store.write(work, actor=ctx.caller.actor)


def _told(items: Items) -> dict[str, tuple[Any, Any]]:
    return {"watchlistItemsCount": (None, len(items.ids))}


def _read(given: Mapping[str, Any]) -> Rows:
    raw, items = given.get("rawContent"), given.get("items")
    if (raw is None) == (items is None):
        raise BadRequest("expected either items or rawContent.")
    if items is not None:
        return of_objects(items)
    kind, skip = given.get("contentType") or "text/csv", given.get("numberOfLinesToSkip") or 0
    if not isinstance(raw, str):
        raise BadRequest("rawContent: expected a text.")
    if not isinstance(skip, int) or isinstance(skip, bool) or not 0 <= skip <= MAX_SKIPPED_LINES:
        raise BadRequest(f"numberOfLinesToSkip: expected 0 to {MAX_SKIPPED_LINES:,}.")
    if kind == "text/csv":
        return of_csv(raw, skip)
    if kind != "application/json":
        raise BadRequest(f"contentType is '{str(kind)[:50]}'; expected text/csv or application/json.")
    try:
        return of_objects(msgspec.json.decode(raw))
    except (msgspec.DecodeError, RecursionError) as problem:
        raise BadRequest(f"rawContent is no JSON: {problem}.") from None


@watchlists.action(
    "items",
    function=True,
    parameters={"top": "Edm.Int32", "skip": "Edm.Int32"},
    returns="Collection(microsoft.graph.security.watchlistItem)",
)
async def items(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
    """In the order in which they came; `top` of them (100 unless said) behind the first `skip`."""
    assert id is not None
    top, skip = 100 if given["top"] is None else given["top"], given["skip"] or 0
    if not 0 < top <= MAX_TOP or skip < 0:
        raise BadRequest(f"items: top goes from 1 to {MAX_TOP:,}, skip from 0.")
    if await ctx.store.get(WATCHLISTS.name, id) is None:
        raise NotFound(f"There is no watchlist '{id[:100]}'.")
    found = await items_of(ctx.store, id)
    return Answer(200, shown(found, skip, top))
