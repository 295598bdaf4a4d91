"""Documents of the store as rows of the tables in which Microsoft shows them. Pure.

A property without a column is kept in `_Extra` of the first row; the further rows repeat what their tables have columns
for.

Source: Azure Monitor reference, tables SigninLogs, AADNonInteractiveUserSignInLogs, AADServicePrincipalSignInLogs,
AADManagedIdentitySignInLogs and AuditLogs; advanced hunting, tables EntraIdSignInEvents, EntraIdSpnSignInEvents
(values of their int columns) and IdentityLogonEvents; Microsoft Graph, resources signIn and directoryAudit.
"""

from collections.abc import Mapping
from typing import Any

from bartizan.lake.coerce import find
from bartizan.lake.plain import json_text
from bartizan.lake.tables import EXTRA, Table

Inner = Mapping[str, Any]
TableRow = tuple[str, dict[str, Any]]

# Where a property's column is not its own name with a capital. None: said by other columns.
_SIGN_IN_NAMES: dict[str, str | None] = {
    "location": "LocationDetails",
    "appliedConditionalAccessPolicies": "ConditionalAccessPolicies",
    "processingTimeInMilliseconds": "ProcessingTimeInMilliseconds",
    "resourceId": "ResourceIdentity",
    "azureResourceId": "ResourceId",
}
_AUDIT_NAMES: dict[str, str | None] = {"operationType": "AADOperationType"}

_SIGN_INS = {  # table -> category of its rows
    "SigninLogs": "SignInLogs",
    "AADNonInteractiveUserSignInLogs": "NonInteractiveUserSignInLogs",
    "AADServicePrincipalSignInLogs": "ServicePrincipalSignInLogs",
    "AADManagedIdentitySignInLogs": "ManagedIdentitySignInLogs",
}
# Tables whose rows are documents of the store, and what is said of threats in general: nothing there is an event.
DOCUMENTED = frozenset(
    "SigninLogs AADNonInteractiveUserSignInLogs AADServicePrincipalSignInLogs AADManagedIdentitySignInLogs AuditLogs "
    "EntraIdSignInEvents EntraIdSpnSignInEvents AADSignInEventsBeta AADSpnSignInEventsBeta AlertInfo AlertEvidence "
    "SecurityAlert SecurityIncident AADUserRiskEvents AADRiskyUsers AADServicePrincipalRiskEvents "
    "AADRiskyServicePrincipals IdentityInfo IdentityAccountInfo ThreatIntelligenceIndicator ThreatIntelIndicators "
    "ThreatIntelObjects ExposureGraphNodes ExposureGraphEdges BehaviorEntities BehaviorInfo Watchlist HuntingBookmark "
    "LAQueryLogs".split()
)
_RISK_LEVELS = {"none": 1, "low": 10, "medium": 50, "high": 100}  # 0: not set
_RISK_STATES = {
    "none": 0,
    "confirmedSafe": 1,
    "remediated": 2,
    "dismissed": 3,
    "atRisk": 4,
    "confirmedCompromised": 5,
}
_RISK_DETAILS = {  # the numbers of Graph's enum
    "none": 0,
    "adminGeneratedTemporaryPassword": 1,
    "userPerformedSecuredPasswordChange": 2,
    "userPerformedSecuredPasswordReset": 3,
    "adminConfirmedSigninSafe": 4,
    "aiConfirmedSigninSafe": 5,
    "userPassedMFADrivenByRiskBasedPolicy": 6,
    "adminDismissedAllRiskForUser": 7,
    "adminConfirmedSigninCompromised": 8,
    "hidden": 9,
    "adminConfirmedUserCompromised": 10,
}
_ACCESS = {"success": 0, "failure": 1, "notApplied": 2}
_ISSUERS = {"AzureAD": 0, "ADFederationServices": 1}


def sign_in_rows(inner: Inner, tenant: str) -> list[TableRow]:
    """Of a signIn in inner form: a row of its log, and rows of the advanced hunting tables that show it too."""
    log = find(_log_of(inner))
    return [(log.name, _log_row(log, inner, tenant)), *_event_rows(inner)]


def audit_rows(inner: Inner, tenant: str) -> list[TableRow]:
    """Of a directoryAudit in inner form."""
    of = find("AuditLogs")
    initiator = object_of(inner, "initiatedBy")
    user, app = object_of(initiator, "user"), object_of(initiator, "app")
    columns = {
        "TimeGenerated": inner.get("activityDateTime"),
        "OperationName": inner.get("activityDisplayName"),
        "ResultDescription": inner.get("resultReason"),
        "Identity": first(user, "displayName", "userPrincipalName") or first(app, "displayName", "appId"),
        "AADTenantId": tenant,
        "TenantId": tenant,
        "Type": of.name,
    }
    return [(of.name, filled(of, columns, inner, _AUDIT_NAMES))]


def _log_of(inner: Inner) -> str:
    """What signInEventTypes says; without it who signed in, and whether interactively."""
    kinds = _kinds(inner)
    if "managedIdentity" in kinds:
        return "AADManagedIdentitySignInLogs"
    if "servicePrincipal" in kinds:
        return "AADServicePrincipalSignInLogs"
    if kinds:
        return "SigninLogs" if "interactiveUser" in kinds else "AADNonInteractiveUserSignInLogs"
    if inner.get("servicePrincipalId") and not first(inner, "userId", "userPrincipalName"):
        return "AADServicePrincipalSignInLogs"
    return "SigninLogs" if inner.get("isInteractive") is not False else "AADNonInteractiveUserSignInLogs"


def _kinds(inner: Inner) -> list[Any]:
    return list_of(inner.get("signInEventTypes"))


def _log_row(of: Table, inner: Inner, tenant: str) -> dict[str, Any]:
    status, location = object_of(inner, "status"), object_of(inner, "location")
    code = status.get("errorCode")
    columns = {
        "TimeGenerated": inner.get("createdDateTime"),
        "OperationName": "Sign-in activity",
        "Category": _SIGN_INS[of.name],
        "ResultType": None if code is None else str(code),  # "0": the sign-in succeeded
        "ResultDescription": status.get("failureReason"),
        "Identity": first(inner, "userDisplayName", "servicePrincipalName", "userPrincipalName"),
        "Location": location.get("countryOrRegion"),
        "AADTenantId": tenant,
        "TenantId": tenant,
        "ProcessingTimeInMs": inner.get("processingTimeInMilliseconds"),
        "AppliedConditionalAccessPolicies": inner.get("appliedConditionalAccessPolicies"),
        "Type": of.name,
    }
    return filled(of, columns, inner, _SIGN_IN_NAMES)


def filled(of: Table, columns: Inner, inner: Inner, names: Mapping[str, str | None]) -> dict[str, Any]:
    """`columns` as far as the table has them, then each property in its column, and what has none in `_Extra`.

    `names`: property -> column, where that is not its own name; None: it is left out.
    """
    row = fitting(of, columns)
    extra: dict[str, Any] = {}
    for name, value in inner.items():
        wanted = names.get(name, name)
        if value is None or value == [] or name.startswith("@") or wanted is None:
            continue
        column = of.column(wanted)
        if column is not None and column not in row:
            row[column] = value
        elif column is None or row[column] != value:
            extra[name] = value
    if extra:
        row[EXTRA] = extra
    return row


def _event_rows(inner: Inner) -> list[TableRow]:
    """Those of advanced hunting, with the columns that the catalogue has. AADSignInEventsBeta and
    AADSpnSignInEventsBeta are views of them (`views`)."""
    by_workload = _log_of(inner) in ("AADServicePrincipalSignInLogs", "AADManagedIdentitySignInLogs")
    if by_workload:
        return [documented("EntraIdSpnSignInEvents", {**_common(inner), **_workload(inner)})]
    columns = {**_common(inner), **_account(inner)}
    return [
        documented("EntraIdSignInEvents", columns),
        documented("IdentityLogonEvents", {**columns, **_logon(inner)}),
    ]


def documented(name: str, columns: Inner) -> TableRow:
    """As a row of the table, as far as it fits."""
    return name, fitting(find(name), columns)


def fitting(of: Table, columns: Inner) -> dict[str, Any]:
    """What has a value, and a column in the table."""
    return {name: value for name, value in columns.items() if value is not None and name in of.columns}


def _logon(inner: Inner) -> dict[str, Any]:
    """What IdentityLogonEvents says in another way than EntraIdSignInEvents."""
    status = object_of(inner, "status")
    code = status.get("errorCode")
    name, _, domain = str(inner.get("userPrincipalName") or "").partition("@")
    return {
        "ActionType": None if code is None else "LogonSuccess" if code == 0 else "LogonFailed",
        "LogonType": "NonInteractive" if _log_of(inner).startswith("AADNon") else "Interactive",
        "FailureReason": status.get("failureReason") if code else None,
        "AccountName": name or None,
        "AccountDomain": domain or None,
        "Location": object_of(inner, "location").get("countryOrRegion"),
    }


def _common(inner: Inner) -> dict[str, Any]:
    location = object_of(inner, "location")
    point = object_of(location, "geoCoordinates")
    return {
        "Timestamp": inner.get("createdDateTime"),
        "Application": inner.get("appDisplayName"),
        "ApplicationId": inner.get("appId"),
        "ErrorCode": object_of(inner, "status").get("errorCode"),
        "CorrelationId": inner.get("correlationId"),
        "ResourceDisplayName": inner.get("resourceDisplayName"),
        "ResourceId": inner.get("resourceId"),
        "ResourceTenantId": inner.get("resourceTenantId"),
        "IPAddress": inner.get("ipAddress"),
        "Country": location.get("countryOrRegion"),
        "State": location.get("state"),
        "City": location.get("city"),
        "Latitude": point.get("latitude"),
        "Longitude": point.get("longitude"),
        "RequestId": inner.get("id"),
        "ReportId": inner.get("id"),
    }


def _workload(inner: Inner) -> dict[str, Any]:
    return {
        "IsManagedIdentity": "managedIdentity" in _kinds(inner),
        "ServicePrincipalName": inner.get("servicePrincipalName"),
        "ServicePrincipalId": inner.get("servicePrincipalId"),
    }


def _account(inner: Inner) -> dict[str, Any]:
    device = object_of(inner, "deviceDetail")
    kinds = _kinds(inner) or ["nonInteractiveUser" if inner.get("isInteractive") is False else "interactiveUser"]
    home, there = inner.get("homeTenantId"), inner.get("resourceTenantId")
    user_type = inner.get("userType")
    return {
        "LogonType": json_text(kinds),
        "SessionId": inner.get("sessionId"),
        "AccountDisplayName": inner.get("userDisplayName"),
        "AccountObjectId": inner.get("userId"),
        "AccountUpn": inner.get("userPrincipalName"),
        "IsExternalUser": int(home != there) if home and there else -1,
        "IsGuestUser": None if user_type is None else user_type == "guest",
        "AlternateSignInName": inner.get("alternateSignInName"),
        "DeviceName": device.get("displayName"),
        "EntraIdDeviceId": device.get("deviceId"),
        "AadDeviceId": device.get("deviceId"),
        "OSPlatform": device.get("operatingSystem"),
        "DeviceTrustType": device.get("trustType"),
        "IsManaged": device.get("isManaged"),
        "IsCompliant": device.get("isCompliant"),
        "AuthenticationProcessingDetails": inner.get("authenticationProcessingDetails") or None,
        "AuthenticationRequirement": inner.get("authenticationRequirement"),
        "TokenIssuerType": _number(_ISSUERS, inner, "tokenIssuerType"),
        "RiskLevelAggregated": 0
        if inner.get("riskLevelAggregated") is None
        else _number(_RISK_LEVELS, inner, "riskLevelAggregated"),
        "RiskDetails": _number(_RISK_DETAILS, inner, "riskDetail"),
        "RiskState": _number(_RISK_STATES, inner, "riskState"),
        "UserAgent": inner.get("userAgent"),
        "ClientAppUsed": inner.get("clientAppUsed"),
        "Browser": device.get("browser"),
        "ConditionalAccessPolicies": inner.get("appliedConditionalAccessPolicies") or None,
        "ConditionalAccessStatus": _number(_ACCESS, inner, "conditionalAccessStatus"),
        "NetworkLocationDetails": inner.get("networkLocationDetails") or None,
    }


def object_of(of: Inner, name: str) -> Inner:
    """A property that is an object; an empty one if it is none."""
    value = of.get(name)
    return value if isinstance(value, dict) else {}


def list_of(value: Any) -> list[Any]:
    """A value that is a list; an empty one if it is none."""
    return value if isinstance(value, list) else []


def _number(numbers: Mapping[str, int], of: Inner, name: str) -> int | None:
    """None for a member that has no documented number; the log's row has its word."""
    value = of.get(name)
    return numbers.get(value) if isinstance(value, str) else None


def first(of: Inner, *names: str) -> Any:
    """The first of some properties that says something; None if none does."""
    for name in names:
        if value := of.get(name):
            return value
    return None
