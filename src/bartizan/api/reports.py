"""The two reports on registration for multifactor authentication: today's, and the one of 2019 that connectors read;
and the sums of today's, by method and by feature. Beside them what a directory reports of applications: when they and
their credentials were used last.

What nobody brings in and sign-ins or the other report tell, the stage of posture fills in; rows that are brought in
take the place of those.

Source: Microsoft Graph, resources userRegistrationDetails, credentialUserRegistrationDetails,
servicePrincipalSignInActivity and appCredentialSignInActivity.
"""

from collections import Counter
from typing import Any

from bartizan.api.wire.find import every_row
from bartizan.extend import Answer, Can, Context, resource, scopes
from bartizan.store.draft import inner

MAX_SUMMED = 100_000  # rows of the report that one sum reads

details = resource(
    "reports/authenticationMethods/userRegistrationDetails",
    "microsoft.graph.userRegistrationDetails",
    can=Can.READ | Can.CREATE,
    read="AuditLog.Read.All",
    create="Bartizan.Ingest.All",
    columns="isAdmin isMfaCapable isMfaRegistered userDisplayName",
    fold="userPrincipalName",
    order="userPrincipalName",
    required="id userPrincipalName",
)

resource(
    "reports/credentialUserRegistrationDetails",
    "microsoft.graph.credentialUserRegistrationDetails",
    can=Can.READ | Can.CREATE,
    read="Reports.Read.All AuditLog.Read.All",
    create="Bartizan.Ingest.All",
    columns="isMfaRegistered isRegistered isEnabled isCapable userDisplayName",
    fold="userPrincipalName",
    order="userPrincipalName",
    versions=("beta",),
    required="id userPrincipalName",
)

# When applications, and their credentials, were used last: as a directory reports it.
for _name, _type, _columns in (
    ("servicePrincipalSignInActivities", "servicePrincipalSignInActivity", "appId"),
    (
        "appCredentialSignInActivities",
        "appCredentialSignInActivity",
        "appId appObjectId servicePrincipalObjectId expirationDateTime keyId",
    ),
):
    resource(
        f"reports/{_name}",
        f"microsoft.graph.{_type}",
        can=Can.READ | Can.CREATE,
        read="AuditLog.Read.All",
        create="Bartizan.Ingest.All",
        columns=_columns,
        order="appId",
        versions=("beta",),
        required="id appId",
    )


# ---------------------------------------------------------------- sums

root = resource(
    "reports/authenticationMethods",
    "microsoft.graph.authenticationMethodsRoot",
    can=Can(0),
    read="AuditLog.Read.All",
    singleton=True,
)
_INCLUDED = {
    "includedUserTypes": "microsoft.graph.includedUserTypes",
    "includedUserRoles": "microsoft.graph.includedUserRoles",
}
_FEATURES = {
    "ssprRegistered": "isSsprRegistered",
    "ssprEnabled": "isSsprEnabled",
    "ssprCapable": "isSsprCapable",
    "passwordlessCapable": "isPasswordlessCapable",
    "mfaCapable": "isMfaCapable",
}


async def _included(ctx: Context, given: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of the report of users of the types and roles that are asked for."""
    types, roles = given["includedUserTypes"] or "all", given["includedUserRoles"] or "all"
    said = map(inner, await every_row(ctx, details, MAX_SUMMED))
    return [each for each in said if _of(each, types, roles)]


def _of(said: dict[str, Any], types: str, roles: str) -> bool:
    """An administrator is one whichever role it holds: the report does not tell privileged ones from others."""
    return types in ("all", said.get("userType") or "member") and (
        roles == "all" or bool(said.get("isAdmin")) == (roles != "user")
    )


def _summed(given: dict[str, Any], rows: list[dict[str, Any]], name: str, counts: list[dict[str, Any]]) -> Answer:
    shown = {short: given[f"included{short[0].upper()}{short[1:]}"] or "all" for short in ("userTypes", "userRoles")}
    return Answer(200, {"totalUserCount": len(rows), **shown, name: counts})


@root.action(
    "usersRegisteredByMethod",
    function=True,
    parameters=_INCLUDED,
    returns="microsoft.graph.userRegistrationMethodSummary",
    access=scopes("AuditLog.Read.All"),
)
async def by_method(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
    rows = await _included(ctx, given)
    counts = Counter(str(method) for said in rows for method in set(said.get("methodsRegistered") or ()))
    shown = [{"authenticationMethod": method, "userCount": counts[method]} for method in sorted(counts)]
    return _summed(given, rows, "userRegistrationMethodCounts", shown)


@root.action(
    "usersRegisteredByFeature",
    function=True,
    parameters=_INCLUDED,
    returns="microsoft.graph.userRegistrationFeatureSummary",
    access=scopes("AuditLog.Read.All"),
)
async def by_feature(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
    rows = await _included(ctx, given)
    shown = [
        {"feature": feature, "userCount": sum(1 for said in rows if said.get(name))}
        for feature, name in _FEATURES.items()
    ]
    return _summed(given, rows, "userRegistrationFeatureCounts", shown)
