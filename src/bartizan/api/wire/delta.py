"""Delta queries: a set as it stands, page by page, and behind its last page a link that gives what changed since.

The first round walks the set by id; what changes meanwhile comes with the second. Every later round reads the change
feed of the store, so an object comes once for all its changes in a page, as it is now.

Source: "Use delta query to track changes in Microsoft Graph data".
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any
from urllib.parse import quote

from msgspec import Struct
from msgspec.structs import replace

from bartizan import odata
from bartizan.api.wire import body as bodies
from bartizan.api.wire import query as queries
from bartizan.api.wire.expand import expanded
from bartizan.api.wire.find import edges
from bartizan.api.wire.request import Request, Response, encode
from bartizan.api.wire.route import Target
from bartizan.errors import Gone, InvalidQuery
from bartizan.extend import Context, Navigation, Resource
from bartizan.odata import Position, QueryOptions
from bartizan.odata.tree import Order, Path
from bartizan.store.interface import Change, Query, Stored

MAX_CHANGES = 1_000  # of the feed that are read at once
MAX_READS = 10  # of the feed for one page; behind them the page ends, empty if need be
_ALL = "all"  # the first round; position: (_ALL, change number at its start, last id)
_SINCE = "since"  # a later round; position: (_SINCE, change number read so far)
_BY_ID = (Order(Path(("id",), kind="text")),)


class _Asked(Struct, frozen=True):
    """What a delta query asks for, the same in each of its rounds."""

    resource: Resource
    options: QueryOptions
    select: bodies.Select | None
    ids: frozenset[str] | None  # only these objects
    top: int
    links: tuple[Navigation, ...]  # whose references come along
    expand: tuple[queries.Expanded, ...]  # what is written into each object that comes whole
    minimal: bool  # Prefer: return=minimal


class _Step(Struct):
    """All that happened to one object in a page of the feed."""

    names: set[str] | None = None  # properties that changed; None: it is new, or nobody said
    links: dict[str, dict[str, bool]] = {}  # navigation -> id -> whether it was added


async def changes(ctx: Context, target: Target, request: Request) -> Response:
    """Gone with a Location to begin again where the feed no longer reaches back to the token."""
    resource = target.resource
    assert resource is not None
    options, position = await _position(ctx, target, request)
    asked = _asked(ctx, request, resource, options)
    if position[0] == _ALL:
        items, following = await _all(ctx, request, asked, position)
    else:
        try:
            items, following = await _since(ctx, request, asked, position)
        except Gone:
            raise _expired(ctx, asked, "resyncRequired") from None
    more, where = following
    link = _link(ctx, target, request, asked, more, where)
    body = bodies.page(
        bodies.context(ctx, resource.name, asked.select),
        items,
        None,
        link if more else None,
        delta_link=None if more else link,
    )
    preferences = ["return=minimal"] if asked.minimal else []
    if queries.page_size(request) is not None:
        preferences.append(f"odata.maxpagesize={asked.top}")
    return bodies.applied(Response(200, body), *preferences)


# ---------------------------------------------------------------- the query and its tokens


async def _position(ctx: Context, target: Target, request: Request) -> tuple[QueryOptions, Position]:
    sent = queries.read(request.query)
    if sent.skiptoken is not None and sent.deltatoken is not None:
        raise InvalidQuery("$skiptoken and $deltatoken do not go together; follow the link unchanged.")
    if sent.deltatoken is not None and sent.deltatoken.lower() == "latest":
        return replace(sent, deltatoken=None), (_SINCE, await ctx.engine.head())
    for name in ("skiptoken", "deltatoken"):
        token = getattr(sent, name)
        if token is not None:
            return odata.decode_token(ctx.token_key, [*queries.bound(ctx, target), name], token)
    return sent, (_ALL, await ctx.engine.head(), "")


def _link(ctx: Context, target: Target, request: Request, asked: _Asked, more: bool, where: Position) -> str:
    name = "skiptoken" if more else "deltatoken"
    token = odata.encode_token(ctx.token_key, [*queries.bound(ctx, target), name], asked.options, where)
    return f"{request.base}{queries.link_path(request.path)}?${name}={token}"


def _asked(ctx: Context, request: Request, resource: Resource, options: QueryOptions) -> _Asked:
    queries.only(options, "select", "filter", "top", "expand")
    top = resource.default_top if options.top is None else options.top
    if not 0 < top <= resource.max_top:
        raise queries.too_large(resource.path, top, resource.max_top, directory=resource.throttle == "directory")
    most = queries.page_size(request)
    select = queries.selected(ctx, resource, options.select)
    links = [resource.navigations[name] for name in resource.delta or ()]
    return _Asked(
        resource,
        options,
        None if select is None else {"id": {}, **select},
        None if options.filter is None else queries.ids_of(ctx, resource, options.filter),
        top if most is None else min(top, most),
        tuple(each for each in links if select is None or each.name in select),
        queries.expansions(ctx, resource, options.expand),
        request.prefers.get("return", "").lower() == "minimal",
    )


def _expired(ctx: Context, asked: _Asked, code: str) -> Gone:
    """Location: the same query from its beginning."""
    again = "".join(
        f"${name}={quote(value, safe='')}&"
        for name in ("select", "expand", "filter")
        if (value := getattr(asked.options, name)) is not None
    )
    return Gone(
        "The changes since this token are no longer kept; begin again at Location.",
        code=code,
        headers={"Location": f"{ctx.root}/{asked.resource.path}/delta?{again}$deltatoken="},
    )


# ---------------------------------------------------------------- rounds


async def _all(
    ctx: Context, request: Request, asked: _Asked, position: Position
) -> tuple[list[bytes], tuple[bool, Position]]:
    _, head, last = position
    query = Query(
        top=asked.top,
        order=_BY_ID,
        after=(last,) if last else None,
        version=ctx.version,
        ids=None if asked.ids is None else tuple(asked.ids),
    )
    page = await ctx.store.page(asked.resource.collection.name, query)
    items = [await _whole(ctx, request, asked, row) for row in page.rows]
    items = await expanded(ctx, request, asked.resource, page.rows, items, asked.expand)
    if page.more:
        return items, (True, (_ALL, head, page.rows[-1].id))
    return items, (False, (_SINCE, head))


async def _since(
    ctx: Context, request: Request, asked: _Asked, position: Position
) -> tuple[list[bytes], tuple[bool, Position]]:
    at = int(position[1] or 0)
    head = await ctx.engine.head()
    if at > head:  # of a database that is no longer this one
        raise _expired(ctx, asked, "syncStateNotFound")
    steps: dict[str, _Step] = {}
    more = True
    for _ in range(MAX_READS):
        some = await ctx.engine.changes(
            at, limit=MAX_CHANGES, collections=(asked.resource.collection.name,), tenant=ctx.store.tenant
        )
        full = False
        for change in some:
            full = change.id not in steps and len(steps) >= asked.top
            if full:
                break
            at = change.seq
            if asked.ids is None or change.id in asked.ids:
                _add(steps, change)
        if full:
            break
        if len(some) < MAX_CHANGES:
            at, more = max(at, head), False
            break
    return await _items(ctx, request, asked, steps), (more, (_SINCE, at))


def _add(steps: dict[str, _Step], change: Change) -> None:
    known = change.op == "updated" and change.changed is not None
    step = steps.setdefault(change.id, _Step(set() if known else None))
    if not known or change.changed is None:
        step.names = None
        return
    for name, (before, after) in change.changed.items():
        if name.endswith("@delta"):
            of = step.links.setdefault(name.removesuffix("@delta"), {})
            of.update({str(id): added for id, added in ((before, False), (after, True)) if id is not None})
        if step.names is not None:
            step.names.add(name)


async def _items(ctx: Context, request: Request, asked: _Asked, steps: dict[str, _Step]) -> list[bytes]:
    rows: dict[str, Stored] = {}
    if steps:
        query = Query(top=len(steps), ids=tuple(steps), version=ctx.version)
        page = await ctx.store.page(asked.resource.collection.name, query)
        rows = {row.id: row for row in page.rows}
    items: list[bytes] = []
    for id, step in steps.items():
        row = rows.get(id)
        if row is None:
            items.append(encode({"id": id, "@removed": {"reason": "deleted"}}))
        elif step.names is None:
            whole = [await _whole(ctx, request, asked, row)]
            items += await expanded(ctx, request, asked.resource, [row], whole, asked.expand)
        elif asked.select is None or _touches(step.names, asked):
            select: bodies.Select | None = asked.select
            if asked.minimal:
                kept = step.names if select is None else step.names & select.keys()
                select = {"id": {}, **{name: {} for name in sorted(kept)}}
            document = bodies.document(ctx, asked.resource.type, row, request, select)
            moved = [bodies.spliced(document, await _moved(ctx, asked, step))]
            items += await expanded(ctx, request, asked.resource, [row], moved, () if asked.minimal else asked.expand)
    return items


def _touches(names: Collection[str], asked: _Asked) -> bool:
    assert asked.select is not None
    followed = asked.select.keys() | {f"{each.name}@delta" for each in asked.links}
    return not followed.isdisjoint(names)


# ---------------------------------------------------------------- references


async def _whole(ctx: Context, request: Request, asked: _Asked, row: Stored) -> bytes:
    document = bodies.document(ctx, asked.resource.type, row, request, asked.select)
    members: list[tuple[str, bytes]] = []
    for each in asked.links:
        found = await edges(ctx, row.id, each)
        if found:
            members.append((f"{each.name}@delta", _references(each, [(name, id, True) for name, id in found])))
    return bodies.spliced(document, members)


async def _moved(ctx: Context, asked: _Asked, step: _Step) -> list[tuple[str, bytes]]:
    members: list[tuple[str, bytes]] = []
    for each in asked.links:
        found: Sequence[tuple[str, str, bool]] = [
            (await _collection(ctx, each, id), id, added) for id, added in step.links.get(each.name, {}).items()
        ]
        if found:
            members.append((f"{each.name}@delta", _references(each, found)))
    return members


async def _collection(ctx: Context, navigation: Navigation, id: str) -> str:
    for to in navigation.to:
        if len(navigation.to) == 1 or await ctx.store.get(to.name, id) is not None:
            return to.name
    return ""


def _references(navigation: Navigation, found: Iterable[tuple[str, str, bool]]) -> bytes:
    types = {to.name: to.type or navigation.type for to in navigation.to}
    items: list[dict[str, Any]] = []
    for name, id, added in found:
        item: dict[str, Any] = {"@odata.type": f"#{types.get(name, navigation.type)}", "id": id}
        if not added:
            item["@removed"] = {"reason": "deleted"}
        items.append(item)
    return encode(items)
