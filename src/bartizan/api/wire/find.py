"""The one object that a path names: by id, alternate key or as the caller's own; seen only where its set lets it be
seen.
"""

from functools import lru_cache
from typing import Any

import msgspec

from bartizan.api.wire.route import Key, Target
from bartizan.errors import BadRequest, NotFound
from bartizan.extend import Context, Navigation, Resource
from bartizan.odata.tree import And, Compare, Expr, Literal, Path
from bartizan.store.interface import Page, Query, Stored

EVERY_ROWS = 1_000  # that are read at once
MAX_RELATED = 20_000  # edges of one object that a filter, an order or a transitive walk looks at
_EDGES = 1_000  # edges read at once
_DEPTH = 32  # of a transitive walk; nested groups beyond are an error, not a shorter answer


def lost(what: str) -> NotFound:
    return NotFound(
        f"Resource '{what[:100]}' does not exist or one of its queried reference-property objects are not present.",
        code="ResourceNotFound",
    )


def rows_of(ctx: Context, resource: Resource) -> Expr | None:
    """Which rows of a set exist for this caller; None: all."""
    rows = resource.rows
    return rows(ctx) if callable(rows) else rows


async def rows_page(ctx: Context, resource: Resource, query: Query) -> Page:
    """What a list reads: rows that are stored, or those that the set makes."""
    return await (stored_page(ctx, resource, query) if resource.lists is None else resource.lists(ctx, query))


async def stored_page(ctx: Context, resource: Resource, query: Query) -> Page:
    if query.top == 0:  # only the count is asked for
        count = await ctx.store.count(resource.collection.name, query.filter) if query.count else None
        return Page([], False, None, count)
    return await ctx.store.page(resource.collection.name, query)


async def every_row(ctx: Context, resource: Resource, most: int) -> list[Stored]:
    """All that is stored of a set, for what is made of the whole; BadRequest where there are more than `most`."""
    rows: list[Stored] = []
    query = Query(top=EVERY_ROWS, version=ctx.version)
    while True:
        page = await ctx.store.page(resource.collection.name, query)
        rows += page.rows
        if len(rows) > most:
            raise BadRequest(f"There are more than {most} of {resource.path}, more than one answer is made of.")
        if not page.more:
            return rows
        query = Query(top=EVERY_ROWS, version=ctx.version, after=page.last)


def both(*filters: Expr | None) -> Expr | None:
    kept = tuple(each for each in filters if each is not None)
    return And(kept) if len(kept) > 1 else kept[0] if kept else None


def behind(navigation: Navigation, id: str) -> Expr:
    """The rows of a navigation by column."""
    assert navigation.column is not None
    return Compare("eq", Path(tuple(navigation.column.split("/")), kind="text"), Literal(id, "text"))


async def visible(ctx: Context, resource: Resource, row: Stored, more: Expr | None = None) -> bool:
    wanted = both(rows_of(ctx, resource), more)
    if wanted is None:
        return True
    page = await ctx.store.page(
        resource.collection.name, Query(top=1, filter=wanted, ids=(row.id,), version=ctx.version)
    )
    return bool(page.rows)


async def by_key(ctx: Context, resource: Resource, key: Key) -> Stored | None:
    """The row of a key, whether or not the caller may see it."""
    name = resource.collection.name
    if key.own:
        if ctx.caller.user is None:
            raise BadRequest("/me request is only valid with delegated authentication flow.")
        own = await ctx.store.get(name, ctx.caller.user)
        if own is None and ctx.caller.upn is not None and resource.keys:
            own = await ctx.store.lookup(name, resource.keys[0], ctx.caller.upn)
        return own
    if resource.gets is not None and key.name is None:
        return await resource.gets(ctx, key.value)
    if key.name is not None:
        return await ctx.store.lookup(name, key.name, key.value)
    row = await ctx.store.get(name, key.value)
    for column in resource.bare_keys if row is None else ():
        row = await ctx.store.lookup(name, column, key.value)
        if row is not None:
            break
    return row


async def found(ctx: Context, target: Target) -> Stored:
    """The row that an object's path names. NotFound where there is none, also where there is one that the caller
    may not see.
    """
    resource, key = target.resource, target.key
    if target.via is not None and key is None:  # users/x/manager
        return await only_related(ctx, target)
    assert key is not None
    if resource is None:  # groups/x/members/y
        return await _member(ctx, target, key)
    link = target.via
    if link is not None and link.navigation is not None and link.navigation.made is not None:
        parent, _ = await parent_of(ctx, link)
        row = await link.navigation.made[1](ctx, parent, key.value)
        if row is None:
            raise lost(key.value)
        return row
    row = await by_key(ctx, resource, key)
    what = "me" if key.own else key.value or resource.path
    if row is None:
        raise lost(what)
    scope = None
    if target.via is not None:
        parent, navigation = await parent_of(ctx, target.via)
        if navigation.column is not None:
            scope = behind(navigation, parent.id)
        elif row.id not in {id for _, id in await edges(ctx, parent.id, navigation)}:
            raise lost(what)
    if not await visible(ctx, resource, row, scope):
        raise lost(what)
    return row


async def _member(ctx: Context, target: Target, key: Key) -> Stored:
    """One of the objects of several sets that a relation leads to."""
    assert target.via is not None
    parent, navigation = await parent_of(ctx, target.via)
    if target.via.cast is None and key.value in {id for _, id in await edges(ctx, parent.id, navigation)}:
        for row in await fetched(ctx, navigation, [key.value]):
            return row
    raise lost(key.value)


async def parent_of(ctx: Context, link: Target) -> tuple[Stored, Navigation]:
    """The object that a navigation is behind."""
    here, navigation = link.via, link.navigation
    assert here is not None and navigation is not None
    if navigation.parent is None or here.key is None or here.via is not None:
        return await found(ctx, here), navigation
    row = await navigation.parent(ctx, here.key.value)
    if row is None:
        raise lost(here.key.value)
    return row, navigation


async def only_related(ctx: Context, target: Target) -> Stored:
    """The target of a navigation to one object."""
    parent, navigation = await parent_of(ctx, target)
    if navigation.made is not None:
        row = await navigation.made[1](ctx, parent, "")
        rows = [] if row is None else [row]
    elif navigation.key is not None:
        id = held_id(navigation, parent, ctx)
        rows = list((await by_id(ctx, navigation, [] if id is None else [id])).values())
    elif navigation.column is not None:
        (to,) = navigation.to
        page = await ctx.store.page(to.name, Query(top=1, filter=behind(navigation, parent.id), version=ctx.version))
        rows = page.rows
    else:
        rows = await fetched(ctx, navigation, [id for _, id in await edges(ctx, parent.id, navigation, limit=1)])
    if not rows:
        raise lost(navigation.name)
    return rows[0]


def held_id(navigation: Navigation, row: Stored, ctx: Context) -> str | None:
    """The id that an object says of what a navigation by key leads to."""
    assert navigation.key is not None
    found = value_reader(navigation.key).decode(row.wire(ctx.version)).value
    return found or None


@lru_cache(64)
def value_reader(name: str) -> msgspec.json.Decoder[Any]:
    """Reads one property of a document, a text, and skips the rest."""
    kind = msgspec.defstruct("Holder", [("value", str | None, None)], rename={"value": name})
    return msgspec.json.Decoder(kind)


async def by_id(ctx: Context, navigation: Navigation, ids: list[str]) -> dict[str, Stored]:
    """What a navigation by key leads to from some ids, by them; those of nobody known lead nowhere."""
    if navigation.fetch is not None:
        return await navigation.fetch(ctx, ids)
    return {row.id: row for row in await fetched(ctx, navigation, ids)}


async def edges(ctx: Context, id: str, navigation: Navigation, *, limit: int | None = None) -> list[tuple[str, str]]:
    """(collection, id) of what a relation leads to, ordered; the collection is empty where the edge does not say it.

    BadRequest above MAX_RELATED edges or _DEPTH levels.
    """
    if not navigation.transitive:
        return await _edges(ctx, id, navigation, limit)
    seen: dict[str, str] = {}
    level = [id]
    for _ in range(_DEPTH):
        following: list[str] = []
        for each in level:
            for name, other in await _edges(ctx, each, navigation, None):
                if other not in seen and other != id:
                    seen[other] = name
                    following.append(other)
                    _bound(len(seen), navigation)
        level = following
        if not level:
            return sorted((name, other) for other, name in seen.items())
    raise BadRequest(f"{navigation.name} of '{id[:100]}' goes deeper than {_DEPTH} levels.")


def _bound(count: int, navigation: Navigation) -> None:
    if count > MAX_RELATED:
        raise BadRequest(
            f"{navigation.name} leads to more than {MAX_RELATED} objects, which is more than one answer looks at."
        )


async def _edges(ctx: Context, id: str, navigation: Navigation, limit: int | None) -> list[tuple[str, str]]:
    assert navigation.relation is not None
    found: list[tuple[str, str]] = []
    if navigation.reverse:
        for source in navigation.of:
            after: str | None = None
            while True:
                ids = await ctx.store.relating(navigation.relation, source, id, limit=limit or _EDGES, after=after)
                found += [("", each) for each in ids]
                _bound(len(found), navigation)
                if limit is not None or len(ids) < _EDGES:
                    break
                after = ids[-1]
        return found
    last: tuple[str, str] | None = None
    while True:
        more = await ctx.store.related(navigation.relation, id, limit=limit or _EDGES, after=last)
        found += more
        _bound(len(found), navigation)
        if limit is not None or len(more) < _EDGES:
            return found
        last = more[-1]


async def fetched(ctx: Context, navigation: Navigation, ids: list[str], cast: str | None = None) -> list[Stored]:
    """The rows of these ids, in this order; edges to what is gone lead nowhere."""
    rows: dict[str, Stored] = {}
    if ids:
        for to in navigation.to:
            if cast is None or to.type == cast:
                page = await ctx.store.page(to.name, Query(top=len(ids), ids=tuple(ids), version=ctx.version))
                rows.update((row.id, row) for row in page.rows)
    return [rows[id] for id in ids if id in rows]
