"""Functions and views that people save for the queries of hunts and of detection rules: this server's own set.

Source: Kusto Query Language, "Stored functions".
"""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from bartizan.api.hunting import READ, WRITE
from bartizan.api.wire.note import note
from bartizan.api.wire.write import check_match
from bartizan.errors import BadRequest, Conflict, NotFound
from bartizan.extend import Can, Context, resource
from bartizan.hunt.fault import KqlError
from bartizan.hunt.saved import FUNCTIONS, MAX_CHARS, MAX_FUNCTIONS, checked, of, text_of
from bartizan.hunt.service import Hunting
from bartizan.store.draft import OWN, draft, inner
from bartizan.store.interface import Stored, Tx

_GIVEN = ("body", "description", "isView", "name", "parameters")
MAX_DESCRIPTION_CHARS = 8_192

functions = resource(
    "security/huntingFunctions",
    FUNCTIONS.type or "",
    collection=FUNCTIONS,
    can=Can.READ | Can.CREATE | Can.PATCH | Can.DELETE,
    read=READ,
    write=WRITE,
    create=WRITE,
    delete=WRITE,
    patch="body description isView parameters",
    required="body name",
    filter="createdDateTime id isView lastModifiedDateTime name",
    orderby="createdDateTime lastModifiedDateTime name",
    bare_keys="name",
    versions=FUNCTIONS.versions,
)


@functions.on_create
async def create(ctx: Context, bodies: list[dict[str, Any]]) -> list[Stored]:
    """It may call those that are saved already, and itself in no way."""
    if len(bodies) != 1:
        raise BadRequest("POST takes one function at a time.")
    made = {"isView": False, **_said(bodies[0])}
    await _check(ctx, made)
    whole = {**made, "id": str(uuid4()), "createdBy": ctx.caller.actor, "lastModifiedBy": ctx.caller.actor}

    def work(tx: Tx) -> list[Stored]:
        _room(tx, whole)
        row = tx.put(draft(FUNCTIONS, whole, whole["id"]))
        assert row is not None
        note(ctx, tx, functions, [row.id], operation="Add")
        return [row]

    return await ctx.store.write(work, actor=ctx.caller.actor)


@functions.on_patch
async def change(ctx: Context, id: str, given: dict[str, Any], if_match: str | None) -> Stored:
    """Checked before the write; where somebody else changes it meanwhile it is a Conflict."""
    row = await ctx.store.get(FUNCTIONS.name, id)
    if row is None:
        raise NotFound(f"There is no saved function '{id[:100]}'.")
    after = {**inner(row), **{name: value for name, value in given.items() if name in functions.patch}}
    await _check(ctx, after)

    def work(tx: Tx) -> Stored:
        now = tx.get(FUNCTIONS.name, id)
        if now is None:
            raise NotFound(f"There is no saved function '{id[:100]}'.")
        check_match(now, if_match)
        if now.seq != row.seq:
            raise Conflict("The function was changed by somebody else at the same time; read it again.")
        before = inner(now)
        changed = {name: (before.get(name), after.get(name)) for name in _GIVEN if before.get(name) != after.get(name)}
        if not changed:
            return now
        whole = {**after, "id": id, "lastModifiedBy": ctx.caller.actor}
        _room(tx, whole)
        put = tx.put(draft(FUNCTIONS, whole, id), changed=changed)
        assert put is not None
        note(ctx, tx, functions, [id], changed=changed)
        return put

    return await ctx.store.write(work, actor=ctx.caller.actor)


def _said(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: given[name] for name in _GIVEN if given.get(name) is not None and not name.startswith(OWN)}


def _room(tx: Tx, function: Mapping[str, Any]) -> None:
    """Conflict where a tenant would have too much of them."""
    every = tx.find(FUNCTIONS.name, None, limit=MAX_FUNCTIONS + 1)
    others = [inner(row) for row in every if row.id != function["id"]]
    if len(others) >= MAX_FUNCTIONS:
        raise Conflict(f"a tenant has at most {MAX_FUNCTIONS} saved functions; delete one.")
    if sum(len(text_of(each)) for each in (*others, function)) > MAX_CHARS:
        raise Conflict(f"a tenant's saved functions have at most {MAX_CHARS:,} characters; delete one.")


async def _check(ctx: Context, function: Mapping[str, Any]) -> None:
    """BadRequest with the place in its text where it is wrong, or calls itself over others."""
    if len(str(function.get("description") or "")) > MAX_DESCRIPTION_CHARS:
        raise BadRequest(f"description has more than {MAX_DESCRIPTION_CHARS:,} characters.")
    query = checked(function)
    hunting = ctx.parts.get(Hunting)
    if not query or not isinstance(hunting, Hunting):
        return
    try:
        await hunting.bound(ctx.caller.tenant, query, ctx.clock(), of([function]))
    except KqlError as fault:
        raise BadRequest(f"{fault.message}.") from None
