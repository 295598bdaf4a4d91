"""`$expand`: what is related, written into the objects of a page.

Bounds: `query.MAX_EACH` related objects in one parent, behind which `x@odata.nextLink` leads on; MAX_ALL in one answer,
behind which the request is refused, since a shorter answer would be a wrong one.
"""

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import quote

from msgspec.structs import replace

from bartizan.api.wire import body as bodies
from bartizan.api.wire import query as queries
from bartizan.api.wire.find import behind, both, by_id, edges, fetched, held_id, value_reader
from bartizan.api.wire.mixed import matching, ranked
from bartizan.api.wire.request import Request, encode
from bartizan.api.wire.route import Key, Target
from bartizan.errors import BadRequest
from bartizan.extend import Context, Resource
from bartizan.odata import Position, QueryOptions, encode_token
from bartizan.odata.tree import In, Literal, Path
from bartizan.store.interface import Stored

MAX_ALL = 20_000
MAX_CHAIN = 100  # steps of $levels; a longer line is refused. One that closes to a ring ends where it would repeat
_PARENTS = 50  # parents whose related objects one query reads
_ROWS = 2_000  # rows of one such query
_LEAST = 100  # related objects of several sets that are looked up at once: some may be gone
_KEPT = ("filter", "orderby", "select")  # options that hold for what follows too


class Some(NamedTuple):
    """What is related to one parent: as many as are shown, and one more where there are more."""

    rows: list[Stored]
    total: int | None = None  # how many there are in all, where that was asked
    place: Position | None = None  # where the last that is shown stands among objects of several sets


Related = dict[str, Some]  # by parent


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
        if each.navigation.key is not None:
            found = await _by_key(ctx, each, parents, room)
        elif each.navigation.column is not None:
            found = await _by_column(ctx, each, [row.id for row in parents], room)
        else:
            found = await _by_relation(ctx, each, [row.id for row in parents], room)
        room -= sum(len(some.rows) for some in found.values())
        if each.levels > 1:
            lines = await _lines(ctx, each, found, room)
            for at, parent in enumerate(parents):
                nested, used = _nested(ctx, request, resource, each, parent.id, lines)
                room = _left(room, used, each)
                result[at] = bodies.spliced(result[at], [(each.navigation.name, nested)])
            continue
        for at, parent in enumerate(parents):
            members = _members(ctx, request, resource, parent, each, found.get(parent.id, _NOTHING))
            result[at] = bodies.spliced(result[at], members)
    return result


_NOTHING = Some([])


async def _lines(ctx: Context, each: queries.Expanded, first: Related, room: int) -> Related:
    """What all objects lead to that can be come by from the first ones; each is asked once."""
    known = dict(first)
    level = first
    for _ in range(min(each.levels - 1, MAX_CHAIN)):
        ids = sorted({row.id for some in level.values() for row in some.rows} - known.keys())
        if not ids:
            break
        level = await _by_relation(ctx, each, ids, room)
        known |= level
        room = _left(room, len(ids), each)
    return known


def _nested(
    ctx: Context, request: Request, resource: Resource, each: queries.Expanded, id: str, lines: Related
) -> tuple[bytes, int]:
    """The line from one object, each within the one before; and how long it is."""
    line: list[Stored] = []
    seen = {id}
    end: bytes | None = b"null"
    while rows := lines.get(line[-1].id if line else id, _NOTHING).rows:
        if rows[0].id in seen or len(line) == each.levels:
            end = None
            break
        if len(line) == MAX_CHAIN:
            raise BadRequest(f"$levels: the line from '{id[:100]}' is longer than {MAX_CHAIN}; ask for fewer levels.")
        line.append(rows[0])
        seen.add(rows[0].id)
    if len(line) == each.levels:
        end = None  # whether there is another was not asked
    for row in reversed(line):
        document = _document(ctx, request, resource, each, row)
        end = document if end is None else bodies.spliced(document, [(each.navigation.name, end)])
    return end or b"null", len(line)


def _document(ctx: Context, request: Request, resource: Resource, each: queries.Expanded, row: Stored) -> bytes:
    navigation = each.navigation
    type = next((to.type for to in navigation.to if to.name == row.collection and to.type), navigation.type)
    document = bodies.document(ctx, type, row, request, each.select)
    mark = bodies.mark(ctx, resource.type, navigation.name, type)
    return document if mark is None else bodies.marked(document, mark)


def _members(
    ctx: Context, request: Request, resource: Resource, parent: Stored, each: queries.Expanded, some: Some
) -> list[tuple[str, bytes]]:
    navigation, rows = each.navigation, some.rows
    items = [_document(ctx, request, resource, each, row) for row in rows[: each.top]]
    if not navigation.many:
        return [(navigation.name, items[0] if items else b"null")]
    members = [(navigation.name, bodies.array(items))]
    if each.count:
        members.insert(0, (f"{navigation.name}@odata.count", b"%d" % (some.total or len(rows))))
    if len(rows) > each.top:
        place = some.place or (rows[each.top - 1].id,)
        members.append((f"{navigation.name}@odata.nextLink", encode(_link(ctx, resource, parent, each, place))))
    return members


def _link(ctx: Context, resource: Resource, parent: Stored, each: queries.Expanded, place: Position) -> str:
    """To what is behind the last one that is shown."""
    navigation = each.navigation
    path = f"{ctx.root}/{resource.path}/{bodies.quoted(parent.id)}/{navigation.name}"
    kept = {name: each.options[name] for name in _KEPT if each.options.get(name)}
    if _mixed(each):
        hidden = f"{resource.path}/{{}}/{navigation.name}".lower()
        here = Target("object", ctx.version, resource, Key(parent.id))
        target = Target("related", ctx.version, navigation=navigation, via=here, hidden=hidden)
        options = QueryOptions(filter=kept.get("filter"), orderby=kept.get("orderby"), select=kept.get("select"))
        return f"{path}?$skiptoken={encode_token(ctx.token_key, queries.bound(ctx, target), options, place)}"
    path = f"{path}/{each.cast}" if each.cast else path
    same = "".join(f"${name}={quote(text)}&" for name, text in kept.items())
    if kept.keys() & {"filter", "orderby"} and navigation.relation is not None:
        same += "$count=true&ConsistencyLevel=eventual&"  # without which the directory may refuse them
    return f"{path}?{same}$skip={each.top}"


def _mixed(each: queries.Expanded) -> bool:
    """Of several sets, side by side."""
    return each.navigation.column is None and each.cast is None and len(each.navigation.to) > 1


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
    read = value_reader(navigation.column).decode
    found: dict[str, list[Stored]] = {}
    for start in range(0, len(ids), _PARENTS):
        some = ids[start : start + _PARENTS]
        top = min(_ROWS, (each.top + 1) * len(some))
        query = replace(queries.FIRST, top=top, order=each.order, version=ctx.version)
        within = In(path, tuple(Literal(id, "text") for id in some))
        page = await ctx.store.page(to.name, replace(query, filter=both(within, each.filter)))
        counts: dict[str, list[Stored]] = {}
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
    return {id: Some(rows, await _number(ctx, each, id, rows)) for id, rows in found.items()}


async def _number(ctx: Context, each: queries.Expanded, id: str, rows: list[Stored]) -> int | None:
    """How many there are behind a column; only where more than are shown must the store be asked."""
    if not each.count or len(rows) <= each.top:
        return None
    return await ctx.store.count(each.navigation.to[0].name, both(behind(each.navigation, id), each.filter))


def _left(room: int, rows: int, each: queries.Expanded) -> int:
    if rows > room:
        raise _too_many(each)
    return room - rows


async def _by_key(ctx: Context, each: queries.Expanded, parents: Sequence[Stored], room: int) -> Related:
    """The one object that each parent names, every one read once."""
    ids = {row.id: held_id(each.navigation, row, ctx) for row in parents}
    wanted = sorted({id for id in ids.values() if id is not None})
    rows = await by_id(ctx, each.navigation, wanted)
    _left(room, len(rows), each)
    return {parent: Some([rows[id]]) for parent, id in ids.items() if id is not None and id in rows}


async def _by_relation(ctx: Context, each: queries.Expanded, ids: list[str], room: int) -> Related:
    found: Related = {}
    for id in ids:
        found[id] = await _first(ctx, each, [other for _, other in await edges(ctx, id, each.navigation)])
        room -= len(found[id].rows)
        if room < 0:
            raise _too_many(each)
    return found


async def _first(ctx: Context, each: queries.Expanded, ids: list[str]) -> Some:
    """As many as are shown and one more, in the order of their own path: that of their set, or by id where they are of
    several, unless $orderby says otherwise."""
    if _mixed(each):
        return await _first_of_several(ctx, each, ids)
    most = each.top + 1
    (to,) = [to for to in each.navigation.to if each.cast in (None, to.type)]
    if not ids or (each.filters is not None and to.name not in each.filters):
        return _NOTHING
    filter = None if each.filters is None else each.filters[to.name]
    query = replace(queries.FIRST, top=most, ids=tuple(ids), filter=filter, order=each.order, count=each.count)
    page = await ctx.store.page(to.name, replace(query, version=ctx.version))
    return Some(page.rows, page.count)


async def _first_of_several(ctx: Context, each: queries.Expanded, ids: list[str]) -> Some:
    most = each.top + 1
    ordered, place = await matching(ctx, each.filters, ids), None
    if each.order:
        ranking = await ranked(ctx, each.navigation, each.order, ordered)
        ordered = ranking.ids
        place = ranking.place(ordered[each.top - 1]) if len(ordered) > each.top else None
    rows: list[Stored] = []
    step = max(most, _LEAST)
    for start in range(0, len(ordered), step):
        rows += await fetched(ctx, each.navigation, ordered[start : start + step])
        if len(rows) >= most:
            break
    return Some(rows[:most], len(ordered), place)
