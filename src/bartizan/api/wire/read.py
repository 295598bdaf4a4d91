"""GET of any declared set: pages, counts, one object, a property, what is related."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from bartizan import odata
from bartizan.api.wire import body as bodies
from bartizan.api.wire import derived, federate
from bartizan.api.wire import query as queries
from bartizan.api.wire.expand import expanded
from bartizan.api.wire.find import behind, both, edges, fetched, found, lost, parent_of, rows_of
from bartizan.api.wire.listed import listed, sliced
from bartizan.api.wire.mixed import matching, ranked
from bartizan.api.wire.request import TEXT, Request, Response, encode
from bartizan.api.wire.route import Target
from bartizan.errors import NotFound
from bartizan.extend import Context, Navigation, Resource
from bartizan.extend.resources import OnList, OnRelated
from bartizan.odata import QueryOptions
from bartizan.odata.tree import Expr
from bartizan.store.interface import Page, Query, Stored

_decode = msgspec.json.Decoder(dict[str, Any]).decode


async def many(ctx: Context, target: Target, request: Request) -> Response:
    resource = target.resource
    assert resource is not None
    federation = federate.wanted(ctx, resource, request) if target.cast is None else None
    if federation is not None:
        response = await federate.many(ctx, target, request, federation)
        if response is not None:
            return response
    name = resource.name if target.cast is None else f"{resource.name}/{target.cast}"
    return await _page(ctx, request, target, resource, _scope(ctx, target, resource), None, name)


def _scope(ctx: Context, target: Target, resource: Resource) -> Expr | None:
    """Which rows of a set there are, of the type that a path casts it to."""
    if target.cast is None:
        return rows_of(ctx, resource)
    of_type = odata.bind(odata.parse_filter(f"isof('{target.cast}')"), ctx.edm, resource.type)
    return both(rows_of(ctx, resource), of_type)


async def part(ctx: Context, target: Target, request: Request, scope: Expr) -> Response:
    """What a function picks out of a set, as a list of it."""
    resource = target.resource
    assert resource is not None
    name = f"Collection({resource.type})"
    return await _page(ctx, request, target, resource, both(rows_of(ctx, resource), scope), None, name)


async def made_list(ctx: Context, target: Target, request: Request, resource: Resource, lists: OnList) -> Response:
    """What a function makes, as a list of that set."""
    name = f"Collection({resource.type})"
    return await _page(ctx, request, target, resource, None, None, name, lists=lists)


async def _page(
    ctx: Context,
    request: Request,
    target: Target,
    resource: Resource,
    scope: Expr | None,
    ids: tuple[str, ...] | None,
    name: str,
    mark: str | None = None,
    lists: OnList | None = None,
) -> Response:
    """One page of a set within `scope` and `ids`, as the query options ask for; each object says the type `mark`.
    `lists` makes the page where the set's own way does not."""
    asked, after = queries.asked(ctx, request, target, resource)
    query = asked.query
    if scope is not None or ids is not None:
        query = replace(query, filter=both(scope, query.filter), ids=ids)
    if after is not None:
        query = replace(query, after=after, skip=0)
    most = queries.page_size(request)
    if most is not None and most < query.top:
        query = replace(query, top=most)
    page = await (derived.page(ctx, resource, query, asked.select) if lists is None else lists(ctx, query))
    items = bodies.documents(ctx, resource.type, page.rows, request, asked.select)
    if mark is not None:
        items = [bodies.marked(item, mark) for item in items]
    if asked.expand:
        items = await expanded(ctx, request, resource, page.rows, items, asked.expand)
    link = None
    if page.more and page.last is not None:
        link = queries.next_link(ctx, request, target, asked, page.last)
    body = bodies.page(bodies.context(ctx, name, asked.select), items, page.count, link)
    return bodies.honoured(Response(200, body), request, most)


async def count(ctx: Context, target: Target, request: Request) -> Response:
    resource = target.resource
    assert resource is not None
    if resource.lists is not None:
        return await _counted_of(ctx, request, resource, resource.lists)
    return await _counted(ctx, request, resource, _scope(ctx, target, resource), None)


async def _counted_of(ctx: Context, request: Request, resource: Resource, lists: OnList) -> Response:
    filter = queries.counted(ctx, request, resource)
    wanted = replace(queries.FIRST, top=0, filter=filter, count=True, version=ctx.version)
    return Response(200, b"%d" % ((await lists(ctx, wanted)).count or 0), kind=TEXT)


async def _counted(
    ctx: Context, request: Request, resource: Resource, scope: Expr | None, ids: tuple[str, ...] | None
) -> Response:
    wanted = both(scope, queries.counted(ctx, request, resource))
    query = replace(queries.FIRST, filter=wanted, ids=ids, count=True, version=ctx.version)
    number = await derived.count(ctx, resource, query)
    if number is None and ids is None:
        number = await ctx.store.count(resource.collection.name, wanted)
    elif number is None:
        number = (await ctx.store.page(resource.collection.name, query)).count or 0
    return Response(200, b"%d" % number, kind=TEXT)


async def one(ctx: Context, target: Target, request: Request) -> Response:
    row = await federate.one(ctx, target, request)
    known = request.headers.get(b"if-none-match")
    if known is not None and _matches(known, row):
        return Response(304, headers=[(b"etag", row.etag.encode())])
    resource = target.resource
    if resource is None or target.navigation is not None:
        type, name = _type(target, row), _name(target)
    else:
        type, name = resource.type, resource.name
    select = None
    expand: Sequence[queries.Expanded] = ()
    if request.query:
        select, expand = queries.asked_of_one(ctx, request, resource, type)
        (row,) = await derived.shown(ctx, [row], select)
    if resource is None:
        document = _mixed_item(ctx, target, row, request, select)
    else:
        document = bodies.document(ctx, type, row, request, select)
        mark = _mark(ctx, target, resource)
        if mark is not None:
            document = bodies.marked(document, mark)
    if expand and resource is not None:
        (document,) = await expanded(ctx, request, resource, [row], [document], expand)
    response = Response(200, bodies.single(bodies.context(ctx, name, select, one=True), document))
    response.headers.append((b"etag", row.etag.encode()))
    return bodies.honoured(response, request)


def _matches(header: bytes, row: Stored) -> bool:
    tags = [tag.strip().removeprefix("W/") for tag in header.decode("latin-1").split(",")]
    return "*" in tags or row.etag.removeprefix("W/") in tags


def _type(target: Target, row: Stored) -> str:
    navigation = target.navigation
    assert navigation is not None
    for to in navigation.to:
        if to.name == row.collection and to.type is not None:
            return to.type
    return navigation.type


def _name(target: Target) -> str:
    navigation = target.navigation
    assert navigation is not None
    if navigation.type == "microsoft.graph.directoryObject":
        return "directoryObjects"
    return f"Collection({navigation.type})" if target.resource is None else target.resource.name


async def of_property(ctx: Context, target: Target, request: Request) -> Response:
    """204 where it is null; with /$value as plain text, with /$count how many a collection has."""
    row = await found(ctx, target)
    resource = target.resource
    assert resource is not None
    (row,) = await derived.shown(ctx, [row], target.path[:1])
    value: Any = _decode(bodies.document(ctx, resource.type, row, request))
    for name in target.path:
        if name == "$count":
            return Response(200, b"%d" % len(value or ()), kind=TEXT)
        if name.startswith("="):
            return Response(200, _contained(ctx, target, row, value, name[1:]))
        value = value.get(name) if isinstance(value, dict) else None
    if value is None:
        return Response(204)
    if target.raw:
        if isinstance(value, dict | list):
            raise NotFound(f"{target.path[-1]} has no $value, since it is not a single value.", code="BadRequest")
        text = value if isinstance(value, str) else encode(value).decode()
        return Response(200, text.encode(), kind=TEXT)
    key = bodies.quoted(row.id)
    where = bodies.context(ctx, f"{resource.name}('{key}')/{'/'.join(target.path)}")
    if isinstance(value, dict):
        return Response(200, bodies.single(where, encode(value)))
    if isinstance(value, list) and request.query:
        shown = listed(ctx, request, _held(ctx, resource, target.path), value)
        items = [encode(each if shown.select is None else bodies.picked(each, shown.select)) for each in shown.items]
        return Response(200, bodies.page(where, items, shown.count, shown.link))
    return Response(200, b'{"@odata.context":"%b","value":%b}' % (where.encode(), encode(value)))


def _held(ctx: Context, resource: Resource, path: Sequence[str]) -> str:
    """The type of what a property holds."""
    type = resource.type
    for name in path:
        found = ctx.edm.structured(type).find(name)
        assert found is not None
        type = found.type
    return type


def _contained(ctx: Context, target: Target, row: Stored, values: Any, id: str) -> bytes:
    """One of the objects that a property holds. Their ids are words of Graph's own, sent in any case."""
    assert target.resource is not None
    for value in values or ():
        if str(value.get("id")).lower() == id.lower():
            where = f"{target.resource.name}('{bodies.quoted(row.id)}')/{target.path[0]}"
            return bodies.single(bodies.context(ctx, where, one=True), encode(value))
    raise lost(id)


# ---------------------------------------------------------------- what is related


async def related(ctx: Context, target: Target, request: Request) -> Response:
    parent, navigation = await parent_of(ctx, target)
    resource = target.resource
    if resource is None:
        return await _mixed(ctx, target, request, parent, navigation)
    above = target.via.resource if target.via is not None else None
    name = f"{above.name}('{bodies.quoted(parent.id)}')/{navigation.name}" if above is not None else navigation.name
    mark = _mark(ctx, target, resource)
    if navigation.made is not None:
        lists = _made(navigation.made[0], parent)
        return await _page(ctx, request, target, resource, None, None, name, mark, lists)
    scope, ids = await _limits(ctx, parent, navigation)
    return await _page(ctx, request, target, resource, both(scope, rows_of(ctx, resource)), ids, name, mark)


def _made(lists: OnRelated, parent: Stored) -> OnList:
    async def of_parent(ctx: Context, query: Query) -> Page:
        return await lists(ctx, parent, query)

    return of_parent


def _mark(ctx: Context, target: Target, resource: Resource) -> str | None:
    above = target.via.resource if target.via is not None else None
    if above is None or target.navigation is None or target.cast is not None:
        return None
    return bodies.mark(ctx, above.type, target.navigation.name, resource.type)


async def _limits(ctx: Context, parent: Stored, navigation: Navigation) -> tuple[Expr | None, tuple[str, ...] | None]:
    if navigation.column is not None:
        return behind(navigation, parent.id), None
    return None, tuple(id for _, id in await edges(ctx, parent.id, navigation))


async def _mixed(ctx: Context, target: Target, request: Request, parent: Stored, navigation: Navigation) -> Response:
    """Objects of several sets, ordered by id unless $orderby says otherwise."""
    asked, after = queries.asked_of_mixed(ctx, request, target, navigation)
    most = queries.page_size(request)
    top = asked.query.top if most is None else min(asked.query.top, most)
    wanted = queries.of_each(ctx.edm, navigation, asked.options)
    ids = await matching(ctx, wanted, await _ids(ctx, target, parent, navigation))
    order = asked.options.orderby
    ranking = await ranked(ctx, navigation, odata.parse_orderby(order), ids) if order else None
    start = 0
    if ranking is not None:
        ids, start = ranking.ids, ranking.behind(after)
    elif after is not None:
        start = next((at for at, id in enumerate(ids) if id > str(after[0])), len(ids))
    here = ids[start : start + top]
    rows = await derived.shown(ctx, await fetched(ctx, navigation, here), asked.select)
    items = [_mixed_item(ctx, target, row, request, asked.select) for row in rows]
    link = None
    if start + top < len(ids) and here:
        last = (here[-1],) if ranking is None else ranking.place(here[-1])
        link = queries.next_link(ctx, request, target, asked, last)
    total = len(ids) if asked.query.count else None
    body = bodies.page(bodies.context(ctx, "directoryObjects", asked.select), items, total, link)
    return bodies.honoured(Response(200, body), request, most)


async def _ids(ctx: Context, target: Target, parent: Stored, navigation: Navigation) -> list[str]:
    """Of what is related; cast to a type of which no set is, there is nothing."""
    return [] if target.cast is not None else [id for _, id in await edges(ctx, parent.id, navigation)]


def _mixed_item(ctx: Context, target: Target, row: Stored, request: Request, select: bodies.Select | None) -> bytes:
    """Where objects of several types stand side by side, each says which it is."""
    kind = _type(target, row)
    return bodies.marked(bodies.document(ctx, kind, row, request, select), kind)


async def related_count(ctx: Context, target: Target, request: Request) -> Response:
    parent, navigation = await parent_of(ctx, target)
    resource = target.resource
    if resource is None:
        wanted = queries.of_each(ctx.edm, navigation, queries.counted_of_mixed(request))
        found = await matching(ctx, wanted, await _ids(ctx, target, parent, navigation))
        return Response(200, b"%d" % len(found), kind=TEXT)
    if navigation.made is not None:
        return await _counted_of(ctx, request, resource, _made(navigation.made[0], parent))
    scope, ids = await _limits(ctx, parent, navigation)
    return await _counted(ctx, request, resource, both(scope, rows_of(ctx, resource)), ids)


async def refs(ctx: Context, target: Target, request: Request) -> Response:
    """The addresses of what is related and matches, ordered by id; $select has nothing to choose. What is contained in
    the object (a history) has none."""
    parent, navigation = await parent_of(ctx, target)
    if navigation.relation is None:
        raise NotFound(f"{navigation.name} is part of the object; it has no references.", code="BadRequest")
    options = queries.read(request.query) if request.query else QueryOptions()
    queries.only(options, "filter", "search", "select", "top", "skip", "count")
    wanted = queries.of_each(ctx.edm, navigation, options, target.cast)
    ids = await matching(ctx, wanted, [id for _, id in await edges(ctx, parent.id, navigation)])
    if target.cast is not None:
        ids = [row.id for row in await fetched(ctx, navigation, ids, target.cast)]
    shown = sliced(request, options, ids)
    items = [encode({"@odata.id": f"{ctx.root}/directoryObjects/{id}"}) for id in shown.items]
    return Response(200, bodies.page(bodies.context(ctx, "Collection($ref)"), items, shown.count, shown.link))
