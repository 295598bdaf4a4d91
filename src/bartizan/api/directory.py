"""The directory: users, and the signed-in user as `me`. What is kept here is evidence; it never grants anything.

Source: Microsoft Graph, resource user; "Advanced query capabilities on Microsoft Entra ID objects".
"""

from typing import Any

from bartizan.api.wire.find import lost
from bartizan.api.wire.write import check_match
from bartizan.errors import BadRequest, NotServed
from bartizan.extend import Answer, Can, Context, not_yet, resource, scopes, unserved
from bartizan.respond.dispatch import Dispatch
from bartizan.store.interface import Stored

_NOBODY = not_yet("nothing performs it: connect a directory that does, this server only records what it is told")

_WRITE = "User.ReadWrite.All Directory.ReadWrite.All"

users = resource(
    "users",
    "microsoft.graph.user",
    can=Can.READ | Can.CREATE | Can.PATCH,
    read=scopes(f"User.Read.All User.ReadBasic.All Directory.Read.All {_WRITE}"),
    write=scopes(f"User.EnableDisableAccount.All {_WRITE}", role="SecurityOperator"),
    create="Bartizan.Ingest.All",
    patch="accountEnabled passwordProfile",
    patch_else=_NOBODY,
    patch_status=204,
    columns="accountEnabled createdDateTime employeeId userType",
    unique="userPrincipalName",
    fold="displayName department jobTitle surname givenName userPrincipalName mail onPremisesSamAccountName",
    order="displayName",
    entities={"userPrincipalName": "user", "mail": "mailbox", "id": "user"},
    search="displayName mail userPrincipalName givenName surname",
    max_top=999,
    advanced=True,
    bare_keys="userPrincipalName",
    own="me",
    own_scopes="User.Read User.ReadWrite User.ReadBasic.All User.Read.All",
    required="userPrincipalName",
    throttle="directory",
    delta="manager",
    unserved={"DELETE": _NOBODY},
)


@users.prepare
def new_user(ctx: Context, given: dict[str, Any]) -> dict[str, Any]:
    """When the account was made is for its directory to say: createdDateTime stays null where nobody did."""
    stamped = {"accountEnabled": True, "userType": "Member"}
    kept = {name: value for name, value in given.items() if value is not None and name != "passwordProfile"}
    return {**stamped, **kept}


@users.on_patch
async def change_user(ctx: Context, id: str, given: dict[str, Any], if_match: str | None) -> Stored:
    """Done by the system that has the account, before it is answered; nothing is only written down here."""
    if len(given) != 1:
        raise BadRequest("PATCH of a user takes one of accountEnabled, passwordProfile: each is an action of its own.")
    row = await _user(ctx, id)
    check_match(row, if_match)
    await ctx.part(Dispatch).on_user(ctx, row, _action(given))
    return await _user(ctx, id)


async def _user(ctx: Context, id: str) -> Stored:
    row = await ctx.store.get(users.collection.name, id)
    if row is None:
        raise lost(id)
    return row


def _action(given: dict[str, Any]) -> str:
    if "accountEnabled" in given:
        if given["accountEnabled"] is None:
            raise BadRequest("accountEnabled: expected true or false, not null.")
        return "enableUser" if given["accountEnabled"] else "disableUser"
    profile = {name: value for name, value in (given["passwordProfile"] or {}).items() if value is not None}
    if profile != {"forceChangePasswordNextSignIn": True}:
        raise NotServed(
            "Not served: passwordProfile: nothing performs it but forceChangePasswordNextSignIn: true alone; a "
            "password is never handed on."
        )
    return "expirePassword"


async def revoke(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
    """200 with true once the system that has the account has done it."""
    await ctx.part(Dispatch).on_user(ctx, await _user(ctx, id or ""), "revokeSignInSessions")
    return Answer(200, True)


_REVOKE = scopes(f"User.RevokeSessions.All {_WRITE}", role="SecurityOperator")
users.action("revokeSignInSessions", parameters={}, returns="Edm.Boolean", access=_REVOKE)(revoke)
users.action("invalidateAllRefreshTokens", parameters={}, returns="Edm.Boolean", access=_REVOKE, versions=("beta",))(
    revoke
)

for one in ("users/{}", "me"):
    unserved(f"{one}/invalidateAllRefreshTokens", _NOBODY, versions=("v1.0",))
    for action in ("changePassword", "assignLicense"):
        unserved(f"{one}/{action}", _NOBODY)
    unserved(f"{one}/authentication/**", not_yet("of authentication methods it is read what reports say, no more"))
    unserved(f"{one}/photo/**", not_yet("photos are not kept"), verbs="PATCH PUT DELETE")
