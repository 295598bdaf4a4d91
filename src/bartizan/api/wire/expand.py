"""`$expand`: what is related, written into the objects of a page.

Bounds: `query.MAX_EACH` related objects in one parent, behind which `x@odata.nextLink` leads on; MAX_ALL in one answer,
behind which the request is refused, since a shorter answer would be a wrong one.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec.structs import replace

from bartizan.api.wire import body as bodies
from bartizan.api.wire import query as queries
from bartizan.api.wire.find import behind, both, edges, fetched
from bartizan.api.wire.request import Request, encode
from bartizan.errors import BadRequest
from bartizan.extend import Context, Resource
from bartizan.odata.tree import In, Literal, Path
from bartizan.store.interface import Stored

MAX_ALL = 20_000
_PARENTS = 50  # parents whose related objects one query reads
_ROWS = 2_000  # rows of one such query
_KEPT = ("filter", "orderby", "select")  # options that hold for what follows too

Related = dict[str, list[Stored]]  # by parent


async def expanded(
    ctx: Context,
    request: Request,
    resource: Resource,
    parents: Sequence[Stored],
    documents: Sequence[bytes],
    wanted: Sequence[queries.Expanded],
) -> list[bytes]:
    """The documents with the related objects in them, in the same order."""
    result = list(documents)
    room = MAX_ALL
    for each in wanted:
        if each.navigation.column is not None:
            found = await _by_column(ctx, each, [row.id for row in parents], room)
        else:
            found = await _by_relation(ctx, each, [row.id for row in parents], room)
        room -= sum(len(rows) for rows in found.values())
        for at, parent in enumerate(parents):
            rows = found.get(parent.id, [])
            members = _members(ctx, request, resource, parent, each, rows)
            result[at] = bodies.spliced(result[at], members)
    return result


def _members(
    ctx: Context, request: Request, resource: Resource, parent: Stored, each: queries.Expanded, rows: list[Stored]
) -> list[tuple[str, bytes]]:
    navigation = each.navigation
    types = {to.name: to.type or navigation.type for to in navigation.to}
    items = [bodies.document(ctx, types[row.collection], row, request, each.select) for row in rows[: each.top]]
    if not navigation.many:
        return [(navigation.name, items[0] if items else b"null")]
    members = [(navigation.name, bodies.array(items))]
    if len(rows) > each.top:
        path = f"{ctx.root}/{resource.path}/{bodies.quoted(parent.id)}/{navigation.name}"
        same = "".join(f"${name}={quote(each.options[name])}&" for name in _KEPT if each.options.get(name))
        members.append((f"{navigation.name}@odata.nextLink", encode(f"{path}?{same}$skip={each.top}")))
    return members


def _too_many(each: queries.Expanded) -> BadRequest:
    return BadRequest(
        f"$expand={each.navigation.name} brings more than {MAX_ALL} objects into this answer; ask for fewer with $top.",
        code="tooManyResultsRequested",
    )


async def _by_column(ctx: Context, each: queries.Expanded, ids: list[str], room: int) -> Related:
    """One query for some parents at once; where that is more than a page, each parent is read on its own, no further
    than what is shown of it."""
    navigation = each.navigation
    assert navigation.column is not None
    (to,) = navigation.to
    path = Path((navigation.column,), kind="text")
    read = _reader(navigation.column).decode
    found: Related = {}
    for start in range(0, len(ids), _PARENTS):
        some = ids[start : start + _PARENTS]
        top = min(_ROWS, (each.top + 1) * len(some))
        query = replace(queries.FIRST, top=top, order=each.order, version=ctx.version)
        within = In(path, tuple(Literal(id, "text") for id in some))
        page = await ctx.store.page(to.name, replace(query, filter=both(within, each.filter)))
        counts: Related = {}
        if not page.more or len(some) == 1:
            for row in page.rows:
                counts.setdefault(read(row.wire(ctx.version)).value, []).append(row)
            room = _left(room, len(page.rows), each)
        else:
            for id in some:
                alone = replace(query, top=each.top + 1, filter=both(behind(navigation, id), each.filter))
                counts[id] = (await ctx.store.page(to.name, alone)).rows
                room = _left(room, len(counts[id]), each)
        found.update(counts)
    return found


def _left(room: int, rows: int, each: queries.Expanded) -> int:
    if rows > room:
        raise _too_many(each)
    return room - rows


@lru_cache(64)
def _reader(column: str) -> msgspec.json.Decoder[Any]:
    """Reads one property of a document and skips the rest."""
    kind = msgspec.defstruct("Holder", [("value", str | None, None)], rename={"value": column})
    return msgspec.json.Decoder(kind)


async def _by_relation(ctx: Context, each: queries.Expanded, ids: list[str], room: int) -> Related:
    found: Related = {}
    for id in ids:
        related = sorted(other for _, other in await edges(ctx, id, each.navigation))
        found[id] = await fetched(ctx, each.navigation, related[: each.top + 1])
        room -= len(found[id])
        if room < 0:
            raise _too_many(each)
    return found
