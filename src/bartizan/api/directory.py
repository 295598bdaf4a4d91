"""The directory: users, and the signed-in user as `me`. What is kept here is evidence; it never grants anything.

Source: Microsoft Graph, resource user; "Advanced query capabilities on Microsoft Entra ID objects".
"""

from typing import Any

from bartizan.extend import Can, Context, not_yet, resource, unserved

_NOBODY = not_yet("nothing performs it: connect a directory that does, this server only records what it is told")

users = resource(
    "users",
    "microsoft.graph.user",
    can=Can.READ | Can.CREATE,
    read="User.Read.All User.ReadBasic.All Directory.Read.All User.ReadWrite.All Directory.ReadWrite.All",
    create="Bartizan.Ingest.All",
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
    unserved={"PATCH": _NOBODY, "DELETE": _NOBODY},
)


@users.prepare
def new_user(ctx: Context, given: dict[str, Any]) -> dict[str, Any]:
    """When the account was made is for its directory to say: createdDateTime stays null where nobody did."""
    stamped = {"accountEnabled": True, "userType": "Member"}
    kept = {name: value for name, value in given.items() if value is not None and name != "passwordProfile"}
    return {**stamped, **kept}


for one in ("users/{}", "me"):
    for action in ("revokeSignInSessions", "invalidateAllRefreshTokens", "changePassword", "assignLicense"):
        unserved(f"{one}/{action}", _NOBODY)
    unserved(f"{one}/authentication/**", not_yet("authentication methods come with a directory connector"))
    unserved(f"{one}/photo/**", not_yet("photos are not kept"))
