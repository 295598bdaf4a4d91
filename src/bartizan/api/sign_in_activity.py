"""When a user last signed in (`signInActivity`): what its directory told, or what the stored sign-ins say where that is
later.

Source: Microsoft Graph, resources user and signInActivity: lastSignInDateTime is of interactive sign-ins and
lastNonInteractiveSignInDateTime of the others, whether or not they succeeded; lastSuccessfulSignInDateTime is of both.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from bartizan.api.audit_logs import INTERACTIVE, sign_ins
from bartizan.api.directory import users
from bartizan.api.wire.derived import derive
from bartizan.api.wire.find import both
from bartizan.extend import Context
from bartizan.odata.tree import Any as AnyOf
from bartizan.odata.tree import Compare, Expr, Literal, Path
from bartizan.store.interface import Query

RECENT = 30  # sign-ins of a user that are looked at first: among them stand most often all that are sought
AT_ONCE = 8  # users whose sign-ins are asked for side by side

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_OTHERS = AnyOf(
    Path(("signInEventTypes",), collection=True),
    "t",
    Compare("eq", Path((), variable="t", kind="text", fold=True), Literal("noninteractiveuser", "text")),
)
_SOUGHT: dict[str, Expr] = {
    "lastSignIn": INTERACTIVE,
    "lastNonInteractiveSignIn": _OTHERS,
    "lastSuccessfulSignIn": Compare("eq", Path(("status", "errorCode"), kind="int"), Literal(0, "int")),
}


@derive(users, "signInActivity", sign_ins.read)
async def activity(ctx: Context, given: Sequence[dict[str, Any]]) -> list[Any]:
    """Null for a user of whom no sign-in is known."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def one(user: Mapping[str, Any]) -> dict[str, Any] | None:
        async with turn:
            return _together(user.get("signInActivity") or {}, await _seen(ctx, user))

    return list(await asyncio.gather(*(one(user) for user in given)))


async def _seen(ctx: Context, user: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The last sign-in of each kind: by the user's id; by name where the provider's ids are other ones."""
    same: Expr = Compare("eq", Path(("userId",), kind="text"), Literal(str(user["id"]), "text"))
    found, more = await _last(ctx, same, RECENT)
    name = str(user.get("userPrincipalName") or "").lower()
    if not found and name:
        same = Compare("eq", Path(("userPrincipalName",), kind="text", fold=True), Literal(name, "text"))
        found, more = await _last(ctx, same, RECENT)
    seen: dict[str, Mapping[str, Any]] = {}
    for each in found:
        for kind in _kinds(each):
            seen.setdefault(kind, each)
    for kind in _SOUGHT.keys() - seen.keys() if more else ():
        further, _ = await _last(ctx, both(same, _SOUGHT[kind]), 1)
        if further:
            seen[kind] = further[0]
    return seen


async def _last(ctx: Context, filter: Expr | None, top: int) -> tuple[list[dict[str, Any]], bool]:
    page = await ctx.store.page(sign_ins.collection.name, Query(top=top, filter=filter, version="beta"))
    return [_decode(row.wire("beta")) for row in page.rows], page.more


def _kinds(sign_in: Mapping[str, Any]) -> list[str]:
    types = {str(each).lower() for each in sign_in.get("signInEventTypes") or ()}
    kinds = [] if sign_in.get("isInteractive") is False else ["lastSignIn"]
    if "noninteractiveuser" in types:
        kinds.append("lastNonInteractiveSignIn")
    if (sign_in.get("status") or {}).get("errorCode") == 0:
        kinds.append("lastSuccessfulSignIn")
    return kinds


def _together(told: Mapping[str, Any], seen: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    result: dict[str, Any] = {}
    for kind in _SOUGHT:
        at, id = told.get(f"{kind}DateTime"), told.get(f"{kind}RequestId")
        sign_in = seen.get(kind)
        if sign_in is not None and (at is None or at < sign_in["createdDateTime"]):
            at, id = sign_in["createdDateTime"], sign_in["id"]
        result |= {f"{kind}DateTime": at, f"{kind}RequestId": id}
    return result if any(value is not None for value in result.values()) else None
