"""POST, PATCH and DELETE of any declared set: checked, merged in the writer, audited in the same transaction."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote
from uuid import uuid4

import msgspec

from bartizan.api.wire import body as bodies
from bartizan.api.wire.find import edges, found, lost
from bartizan.api.wire.note import note
from bartizan.api.wire.request import Request, Response
from bartizan.api.wire.route import Target
from bartizan.api.wire.same import same
from bartizan.api.wire.unserved import refusal
from bartizan.errors import BadRequest, BartizanError, Conflict, PreconditionFailed, TooLarge
from bartizan.extend import Context, Navigation, Resource
from bartizan.store.draft import DERIVED, OWN, draft, inner
from bartizan.store.interface import Draft, Stored, Tx

MAX_BULK = 1_000  # objects of one POST: one transaction, lock held under 50 ms with small documents
INGEST = "Bartizan.Ingest.All"
MAX_ID = 256  # characters of an id that a client chooses
MAX_BOUND = 20  # references of one new object, as documented for groups
_BIND = "@odata.bind"
_SENTINEL = "unknownFutureValue"

_decode = msgspec.json.Decoder(dict[str, Any]).decode

Bound = list[tuple[Navigation, list[str]]]  # what a new object refers to: ids


async def create(ctx: Context, target: Target, request: Request) -> Response:
    """201 with the object and its address; an array is all or nothing. What is there already and says the same is
    left alone (200).
    """
    resource = _resource(target)
    sent = request.json()
    many = isinstance(sent, list)
    if many and resource.singleton:
        raise BadRequest(f"{resource.path} is one object, not a set: send an object, not an array.")
    items = sent if isinstance(sent, list) else [sent]
    if resource.reshapes is not None:
        items = [resource.reshapes(item) for item in items]
    if not items or len(items) > MAX_BULK:
        raise (TooLarge if items else BadRequest)(f"POST takes 1 to {MAX_BULK} objects; got {len(items)}.")
    bound = [_bound(ctx, resource, item) for item in items]
    sent_items = [_accepted(ctx, resource, item, f"[{at}]" if many else "") for at, item in enumerate(items)]
    given = [_prepared(ctx, resource, item, f"[{at}]" if many else "") for at, item in enumerate(sent_items)]
    wanted = request.prefers.get("resolution", "").lower()
    merge = wanted == "merge-duplicates" and INGEST in resource.create.application
    if resource.creates is not None:
        rows, fresh, merge = await resource.creates(ctx, given), True, False
    else:
        done = given if resource.completes is None else await resource.completes(ctx, given)
        rows, fresh = await _create(ctx, resource, sent_items, given, done, bound, merge)
    if many:
        wires = bodies.documents(ctx, resource.type, rows, request)
        response = Response(201 if fresh else 200, bodies.page(bodies.context(ctx, resource.name), wires, None, None))
    else:
        response = bodies.answered(ctx, request, resource, rows[0], 201 if fresh else 200)
        response.headers.append((b"location", address(ctx, resource, rows[0].id).encode("latin-1")))
    return bodies.applied(response, *(["resolution=merge-duplicates"] if merge else []))


def address(ctx: Context, resource: Resource, id: str) -> str:
    place = f"{ctx.root}/{resource.path}"
    return place if resource.singleton else f"{place}/{quote(id, safe='')}"


def _resource(target: Target) -> Resource:
    assert target.resource is not None
    return target.resource


def _bound(ctx: Context, resource: Resource, item: Any) -> Bound:
    """Takes `members@odata.bind` and its like out of a new object. Where references cannot be added, it stays and is
    refused with what else is unknown.
    """
    found: Bound = []
    for name in [name for name in item if name.lower().endswith(_BIND)] if isinstance(item, dict) else []:
        navigation = resource.navigations.get(name[: -len(_BIND)].lower())
        if navigation is None or navigation.link is None or resource.creates is not None:
            continue
        ctx.caller.require(navigation.link)
        value = item.pop(name)
        addresses = value if navigation.many else [value]
        if not isinstance(addresses, list) or not all(isinstance(each, str) for each in addresses):
            raise BadRequest(f"{name}: expected {'addresses' if navigation.many else 'an address'} of objects.")
        found.append((navigation, [_id_of(each) for each in addresses]))
    if sum(len(ids) for _, ids in found) > MAX_BOUND:
        raise BadRequest(f"at most {MAX_BOUND} references come with a new object; add the others by POST to .../$ref.")
    return found


def _id_of(address: str) -> str:
    """`https://.../users/{id}`, or `.../users('{id}')`."""
    last = unquote(address.rstrip("/").partition("?")[0].rpartition("/")[2])
    return last.partition("('")[2].removesuffix("')") if last.endswith("')") else last


def _refuse_inside(ctx: Context, resource: Resource, given: Mapping[str, Any]) -> None:
    """What stands behind a navigation is an object of its own set, never part of this document."""
    kind = ctx.edm.structured(resource.type)
    inside = sorted(
        name
        for name, value in given.items()
        if name in kind.navigation and value is not None and name not in resource.inline
    )
    if inside:
        raise BadRequest(f"{', '.join(inside)}: objects of their own; send them to their own path.")


def _accepted(ctx: Context, resource: Resource, item: Any, where: str) -> dict[str, Any]:
    try:
        given = ctx.edm.accept(resource.type, item)
        _refuse_inside(ctx, resource, given)
        missing = sorted(name for name in resource.required if given.get(name) is None)
        if missing:
            raise BadRequest(
                f"missing: {', '.join(missing)}; a new {resource.path} needs {', '.join(sorted(resource.required))}."
            )
        id = given.get("id")
        if id is not None and not (isinstance(id, str) and 0 < len(id) <= MAX_ID and id.isprintable()):
            raise BadRequest(f"id: expected 1 to {MAX_ID} printable characters.")
    except BadRequest as problem:
        raise type(problem)(f"{where}: {problem.message}" if where else problem.message, code=problem.code) from None
    return given


def _prepared(ctx: Context, resource: Resource, given: dict[str, Any], where: str) -> dict[str, Any]:
    try:
        return given if resource.prepares is None else resource.prepares(ctx, given)
    except BartizanError as problem:
        problem.message = f"{where}: {problem.message}" if where else problem.message
        raise


async def _create(
    ctx: Context,
    resource: Resource,
    sent: list[dict[str, Any]],
    given: list[dict[str, Any]],
    done: list[dict[str, Any]],
    bound: list[Bound],
    merge: bool,
) -> tuple[list[Stored], bool]:
    """What is there already is compared with what was sent, not with what `prepare` stamped; with `merge` it takes the
    sent values. `done` is `given` completed: what is stored of a new object.
    """
    collection = resource.collection
    ids = [str(each.get("id") or uuid4()) for each in done]
    if len(set(ids)) < len(ids):
        raise BadRequest("two objects of the array have the same id.")
    drafts = [draft(collection, each, id) for each, id in zip(done, ids, strict=True)]

    def work(tx: Tx) -> tuple[list[Stored], bool]:
        rows: list[Stored] = []
        fresh: list[str] = []
        for one, asked, whole, links in zip(drafts, sent, given, bound, strict=True):
            row = tx.put(one, unless_exists=True) or _instead(tx, resource, one)
            if row is not None:
                fresh.append(one.id)
            else:
                asked = {name: whole[name] for name in asked if name in whole}
                row = _standing(ctx, tx, resource, one.id, asked, merge)
            rows.append(row)
            for navigation, targets in links:
                for target in targets:
                    if _linked(tx, navigation, one.id, target) and one.id not in fresh:
                        _touch(tx, resource, one.id, navigation.name, (None, target))
        if fresh:
            note(ctx, tx, resource, fresh, operation="Add")
        return rows, bool(fresh)

    return await ctx.store.write(work, actor=ctx.caller.actor)


def _instead(tx: Tx, resource: Resource, one: Draft) -> Stored | None:
    """In the place of an object that this server made itself until somebody brings it."""
    row = tx.get(resource.collection.name, one.id)
    return tx.put(one) if row is not None and inner(row).get(DERIVED) else None


def _linked(tx: Tx, navigation: Navigation, parent: str, id: str) -> bool:
    """Whether it is new; twice changes nothing more."""
    assert navigation.relation is not None
    to = next((to for to in navigation.to if tx.get(to.name, id) is not None), None)
    if to is None:
        raise BadRequest(f"{navigation.name}: there is no object '{id[:100]}'.")
    return tx.relate(navigation.relation, parent, to.name, id)


def _standing(ctx: Context, tx: Tx, resource: Resource, id: str, asked: dict[str, Any], merge: bool) -> Stored:
    """The object that has the id already, if it says what is asked, or with `merge` once it does."""
    collection = resource.collection
    row = tx.get(collection.name, id)
    before = {} if row is None else inner(row)
    if row is not None and _says(before, asked, collection.created, collection.updated):
        return row
    if row is None or not merge:
        raise Conflict(f"{resource.path} '{id}' exists, with other values.", code="nameAlreadyExists")
    changed = {name: (before.get(name), value) for name, value in asked.items() if before.get(name) != value}
    put = tx.put(draft(collection, {**before, **asked}, id), changed=changed)
    assert put is not None
    note(ctx, tx, resource, [id], changed=changed)
    return put


def _says(known: Any, given: Any, *stamps: str | None) -> bool:
    """Whether an object has every value that is given; what the server stamps aside."""
    if isinstance(given, Mapping):
        return isinstance(known, Mapping) and all(
            name in stamps or _says(known.get(name), value) for name, value in given.items()
        )
    if isinstance(given, list):
        return len(given) == len(known or []) and all(_says(k, g) for k, g in zip(known or [], given, strict=True))
    return bool(known == given)


async def patch(ctx: Context, target: Target, request: Request) -> Response:
    """The named fields merged inside the writer. 200 with the object or 204, as declared and preferred."""
    return await _change(ctx, target, request, whole=False)


async def put(ctx: Context, target: Target, request: Request) -> Response:
    """As PATCH, but what can be changed and is not named becomes unset."""
    return await _change(ctx, target, request, whole=True)


async def _change(ctx: Context, target: Target, request: Request, *, whole: bool) -> Response:
    resource = _resource(target)
    row = await found(ctx, target)
    given = changes(ctx, resource, row, request.json())
    missing = sorted(name for name in resource.required if whole and given.get(name) is None)
    if missing:
        raise BadRequest(f"PUT replaces the whole object; missing: {', '.join(missing)}.")
    if_match = _if_match(request)
    if resource.patches is not None:
        row = await resource.patches(ctx, row.id, given, if_match)
    else:
        row = await _patch(ctx, resource, row.id, given, if_match, whole=whole)
    wanted = request.prefers.get("return", "").lower()
    representation = wanted == "representation" or (resource.patch_status == 200 and wanted != "minimal")
    if representation:
        response = bodies.answered(ctx, request, resource, row, 200)
    else:
        response = Response(204, headers=[(b"etag", row.etag.encode())])
    return bodies.applied(response, *([f"return={wanted}"] if wanted in ("representation", "minimal") else []))


def changes(ctx: Context, resource: Resource, row: Stored, sent: Any) -> dict[str, Any]:
    """A PATCH body as inner form. BadRequest names what cannot be written and what can; what cannot and is sent as it
    stands there is no change."""
    if resource.reshapes is not None:
        sent = resource.reshapes(sent)
    given = ctx.edm.accept(resource.type, sent, partial=True)
    if given.get("id") in (row.id, None):
        given.pop("id", None)
    given = _without_unchanged(ctx, resource, row, given)
    sentinels = sorted(name for name, value in given.items() if value == _SENTINEL)
    if sentinels:
        raise BadRequest(f"{', '.join(sentinels)}: {_SENTINEL} stands for members that a reader does not know.")
    fixed = sorted(name for name in given if name not in resource.patch and not name.startswith("@"))
    if fixed:
        if resource.patch_else is not None:
            raise refusal(resource.patch_else, f"PATCH of {', '.join(fixed)} of {resource.path}")
        allowed = ", ".join(sorted(resource.patch))
        raise BadRequest(
            f"Cannot change {', '.join(fixed)} of {resource.path}; PATCH takes: {allowed}.",
            code="propertyNotUpdateable",
        )
    return given


def _without_unchanged(ctx: Context, resource: Resource, row: Stored, given: dict[str, Any]) -> dict[str, Any]:
    """What is fixed, or stands for a member that the reader does not know, left out where it is as it was shown."""
    doubtful = [
        name
        for name, value in given.items()
        if not name.startswith("@") and (name not in resource.patch or value == _SENTINEL)
    ]
    if not doubtful:
        return given
    shown = _decode(row.wire(ctx.version))
    masked = ctx.edm.mask(resource.type, shown)
    back = {name for name in doubtful if any(same(given[name], each.get(name)) for each in (shown, masked))}
    return {name: value for name, value in given.items() if name not in back}


async def _patch(
    ctx: Context,
    resource: Resource,
    id: str,
    named: dict[str, Any],
    if_match: tuple[str, ...] | str | None,
    *,
    whole: bool = False,
) -> Stored:
    collection = resource.collection

    def work(tx: Tx) -> Stored:
        row = tx.get(collection.name, id)
        if row is None:
            raise lost(id)
        check_match(row, if_match)
        before = inner(row)
        given = {**dict.fromkeys(before.keys() & resource.patch), **named} if whole else named
        after = {**before, **given} if resource.merges is None else resource.merges(ctx, before, given)
        changed = {
            name: (before.get(name), after.get(name))
            for name in before.keys() | after.keys()
            if before.get(name) != after.get(name) and not name.startswith(OWN)
        }
        if not changed:
            return row
        put = tx.put(draft(collection, after, id), changed=changed)
        assert put is not None
        note(ctx, tx, resource, [id], changed=changed)
        return put

    return await ctx.store.write(work, actor=ctx.caller.actor)


def _if_match(request: Request) -> str | None:
    header = request.headers.get(b"if-match")
    return None if header is None else header.decode("latin-1")


def check_match(row: Stored, if_match: Any) -> None:
    """PreconditionFailed unless the header names this version (`*`: any)."""
    if if_match is None or if_match.strip() == "*":
        return
    named = {tag.strip().removeprefix("W/") for tag in if_match.split(",")}
    if row.etag.removeprefix("W/") not in named:
        raise PreconditionFailed(
            f"The object has changed: its version is {row.etag}, If-Match asks for {if_match[:100]}."
        )


async def delete(ctx: Context, target: Target, request: Request) -> Response:
    resource = _resource(target)
    row = await found(ctx, target)
    if_match = _if_match(request)
    if resource.deletes is not None:
        await resource.deletes(ctx, row.id, if_match)
        return Response(204)

    def work(tx: Tx) -> None:
        here = tx.get(resource.collection.name, row.id)
        if here is None:
            raise lost(row.id)
        check_match(here, if_match)
        tx.delete(resource.collection.name, row.id)
        note(ctx, tx, resource, [row.id], operation="Delete")

    await ctx.store.write(work, actor=ctx.caller.actor)
    return Response(204)


async def link(ctx: Context, target: Target, request: Request) -> Response:
    """POST of {"@odata.id": address} to navigation/$ref: 204; Conflict where the edge is there already."""
    navigation, link = target.navigation, target.via
    assert navigation is not None and link is not None and link.resource is not None and navigation.relation is not None
    parent = await found(ctx, link)
    body = request.json()
    at = body.get("@odata.id") if isinstance(body, dict) else None
    if not isinstance(at, str):
        raise BadRequest('expected {"@odata.id": "https://.../users/{id}"}.')
    id = _id_of(at)
    for to in navigation.to:
        row = await ctx.store.get(to.name, id)
        if row is not None:
            break
    else:
        raise lost(id)
    relation, resource = navigation.relation, link.resource

    def work(tx: Tx) -> bool:
        if not navigation.many:  # a second manager takes the place of the first
            for name, other in tx.related(relation, parent.id, limit=MAX_BULK):
                if (name, other) != (to.name, id):
                    tx.unrelate(relation, parent.id, name, other)
        made = tx.relate(relation, parent.id, to.name, id)
        if made:
            _touch(tx, resource, parent.id, navigation.name, (None, id))
            note(ctx, tx, resource, [parent.id], operation="Assign", changed={navigation.name: (None, id)})
        return made

    if not await ctx.store.write(work, actor=ctx.caller.actor):
        raise Conflict(
            "One or more added object references already exist for the following modified properties: "
            f"'{navigation.name}'."
        )
    return Response(204)


def _touch(tx: Tx, resource: Resource, id: str, name: str, change: tuple[str | None, str | None]) -> None:
    """Its references are a part of an object: whoever watches it hears of the change."""
    row = tx.get(resource.collection.name, id)
    if row is not None:
        tx.put(draft(resource.collection, inner(row), id), changed={f"{name}@delta": change})


async def unlink(ctx: Context, target: Target, request: Request) -> Response:
    """DELETE of navigation/{id}/$ref: 204."""
    navigation, link, key = target.navigation, target.via, target.key
    assert navigation is not None and link is not None and link.resource is not None and key is not None
    assert navigation.relation is not None
    parent = await found(ctx, link)
    relation, resource = navigation.relation, link.resource
    names = [name for name, id in await edges(ctx, parent.id, navigation) if id == key.value]
    if not names:
        raise lost(key.value)

    def work(tx: Tx) -> None:
        if tx.unrelate(relation, parent.id, names[0], key.value):
            _touch(tx, resource, parent.id, navigation.name, (key.value, None))
            note(ctx, tx, resource, [parent.id], operation="Unassign", changed={navigation.name: (key.value, None)})

    await ctx.store.write(work, actor=ctx.caller.actor)
    return Response(204)
