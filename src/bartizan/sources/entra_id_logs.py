"""Microsoft Entra ID: sign-ins of all kinds become Graph signIns, directory audits directoryAudits, risks alerts.

They come from Graph, in the envelope of a diagnostic setting, or as rows of Log Analytics.
Source: Microsoft Graph, resources signIn and directoryAudit; Microsoft Entra, "Sign-in log schema", "Audit log schema",
"Options for integrating activity logs"; Azure Monitor reference, tables SigninLogs, AuditLogs,
MicrosoftGraphActivityLogs.
"""

from collections.abc import Iterator
from typing import Any

from bartizan.extend import Event, GraphObject, Record, Source
from bartizan.model import graph
from bartizan.model.alert import Alert
from bartizan.model.ids import stable_id
from bartizan.sources import entities as names
from bartizan.sources.entra_id_protection import EVENTS, is_risk, place_of, risk, unwrapped
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, content_id, objects_of
from bartizan.sources.generic import guess_entities, guess_event, unread
from bartizan.sources.graph_types import inner_form, lenient
from bartizan.sources.sign_ins import Kind
from bartizan.sources.tables import columns as read_columns
from bartizan.sources.tables import event
from bartizan.sources.times import first_time

# Categories of diagnostic settings, and tables of Log Analytics, in lower case.
_KINDS: dict[str, Kind] = {
    "signinlogs": "interactiveUser",
    "adfssigninlogs": "interactiveUser",
    "noninteractiveusersigninlogs": "nonInteractiveUser",
    "aadnoninteractiveusersigninlogs": "nonInteractiveUser",
    "serviceprincipalsigninlogs": "servicePrincipal",
    "aadserviceprincipalsigninlogs": "servicePrincipal",
    "microsoftserviceprincipalsigninlogs": "servicePrincipal",
    "managedidentitysigninlogs": "managedIdentity",
    "aadmanagedidentitysigninlogs": "managedIdentity",
}
# Bits of conditionsSatisfied, which the log gives as a number and Graph as words.
_CONDITIONS = (
    "application users devicePlatform location clientType signInRisk userRisk time deviceState client "
    "ipAddressSeenByAzureAD ipAddressSeenByResourceProvider unknownFutureValue servicePrincipals servicePrincipalRisk "
    "authenticationFlows insiderRisk"
).split()
_NO_RISK = {"riskLevelDuringSignIn": "none", "riskLevelAggregated": "none", "riskState": "none", "riskDetail": "none"}
_HERE = "Bartizan"  # the name under which this server writes its own chain of audits
_CHAIN = "chain."  # what the details of that chain begin with
_LONGEST_ID_CHARS = 200
# What stands in properties of Graph's.
_ELSEWHERE = frozenset(
    """
    locationdetails conditionalaccesspolicies resulttype resultdescription resourceidentity processingtimeinms
    timegenerated time calleripaddress identity category operationname operationversion type aadoperationtype level
    resultsignature durationms
    """.split()
)
_ACTIVITY_COLUMNS = {
    "RequestId": "requestId",
    "OperationId": "operationId",
    "ClientRequestId": "clientRequestId",
    "ApiVersion": "apiVersion",
    "RequestMethod": "requestMethod httpMethod",
    "ResponseStatusCode": "int responseStatusCode httpStatusCode",
    "AadTenantId": "AadTenantId tenantId",
    "IPAddress": "ipAddress callerIpAddress",
    "UserAgent": "userAgent",
    "RequestUri": "requestUri",
    "DurationMs": "int durationMs",
    "ResponseSizeBytes": "int responseSizeBytes",
    "SignInActivityId": "signInActivityId",
    "AppId": "appId",
    "UserId": "userId UserPrincipalObjectID",
    "ServicePrincipalId": "servicePrincipalId",
    "Scopes": "scopes",
    "Roles": "roles",
    "Wids": "wids",
    "Location": "location",
    "ClientAuthMethod": "int clientAuthMethod",
    "IdentityProvider": "identityProvider",
    "TokenIssuedAt": "time tokenIssuedAt issuedAt",
    "DeviceId": "deviceId",
    "SessionId": "sessionId C_Sid",
    "UniqueTokenId": "uniqueTokenIdentifier",
}


class EntraIdLogs(Source):
    name = "entra_id_logs"
    vendor = "Microsoft"
    product = "Microsoft Entra ID"
    marks = (
        "category=MicrosoftGraphActivityLogs+properties category=*SignInLogs+properties.createdDateTime "
        "Type=*SigninLogs+UserPrincipalName Type=*SigninLogs Type=AuditLogs+OperationName Type=AAD* "
        "activityDateTime+activityDisplayName+initiatedBy loggedByService+activityDisplayName "
        "category=SignInLogs+operationName+properties category=AuditLogs+properties.initiatedBy "
        "category=*SignInLogs+operationName+properties+time "
        "category=MicrosoftGraphActivityLogs+operationName category=AzureADGraphActivityLogs+operationName "
        "category=*Management+properties.activityDisplayName "
        "properties.activityDisplayName+properties.initiatedBy+operationName+category+time "
        "userPrincipalName+appId+conditionalAccessStatus "
        "createdDateTime+userId+appDisplayName+status+ipAddress "
        "category=ProvisioningLogs+properties+operationName operationName=Sign-in*+category+properties+time "
        "resourceId=/tenants/*+operationName+category+time category=ADFS*+operationName+properties "
        "properties.activityDateTime+properties.loggedByService+operationName+category "
        "p_log_type=azure.audit+operationName"
    )
    sourcetypes = ("azure:aad:*", "azure:monitor:aad", "ms:aad:*", "mscs:azure:aad:*")

    def normalise(self, record: Record) -> Iterator[Alert | Event | GraphObject]:
        found = objects_of(record, "records", "value")
        if not found:
            yield from unread(record, EVENTS)
        for fields in found:
            yield from self._one(record, unwrapped(fields), fields)

    def _one(self, record: Record, row: Fields, outer: Fields) -> Iterator[Alert | Event | GraphObject]:
        category = (outer.text("category", "Type") or "").lower()
        made: GraphObject | None = None
        if category in ("microsoftgraphactivitylogs", "azureadgraphactivitylogs") or row.has("requestUri"):
            yield _activity(row)
            return
        if is_risk(row):
            yield from risk(record, row)
            return
        if row.has("activityDisplayName"):
            made = _audit(row)
        elif category in _KINDS or (
            row.has("createdDateTime") and row.has("userPrincipalName", "userId", "servicePrincipalId")
        ):
            made = _sign_in(row, outer, category)
        yield _other(row) if made is None else made


def _other(row: Fields) -> Event:
    """What is neither a sign-in nor an audit; provisioning names whom it concerns on both sides."""
    evidence = guess_entities(row)
    for path in ("sourceIdentity", "targetIdentity"):
        side = row.object(path)
        if (side.text("identityType") or "").lower() == "user":
            evidence.user(side.text("details.UserPrincipalName", "displayName"), object_id=side.text("id"))
    return guess_event(row, EVENTS, evidence)


# ---------------------------------------------------------------- sign-ins


def _sign_in(row: Fields, outer: Fields, category: str) -> GraphObject | None:
    """None without a time."""
    at = first_time(row, "createdDateTime", "TimeGenerated") or first_time(outer, "time")
    if at is None:
        return None
    given = {**row.data, **_renamed(row, outer), "createdDateTime": at}
    kept = lenient(graph.SignIn, given)
    body = _NO_RISK | inner_form("microsoft.graph.signIn", kept, row, _ELSEWHERE)
    body["id"] = _id(row)
    body.setdefault("signInEventTypes", [_KINDS.get(category) or _kind(row)])
    body["isInteractive"] = "interactiveUser" in body["signInEventTypes"]
    if kept.riskEventTypes and not kept.riskEventTypes_v2:
        body["riskEventTypes_v2"] = list(kept.riskEventTypes)
    return GraphObject("signIns", "microsoft.graph.signIn", body, _people(kept, row).observed)


def _renamed(row: Fields, outer: Fields) -> dict[str, Any]:
    """Properties that the log and its tables call otherwise, or keep in the envelope."""
    where, status = row.object("location", "LocationDetails"), row.object("status")
    code = status.integer("errorCode")
    if code is None:
        code = row.integer("resultType") if row.has("resultType") else outer.integer("resultType")
    country = row.text("location") or outer.text("location")
    reason = status.text("failureReason") or row.text("resultDescription") or outer.text("resultDescription")
    named = {
        "location": where.data or ({"countryOrRegion": country} if country else None),
        "status": {**status.data, "errorCode": code, "failureReason": reason} if code is not None else None,
        "ipAddress": names.address(row.text("ipAddress", "callerIpAddress")),
        "resourceId": row.text("ResourceIdentity", "resourceId"),
        "userDisplayName": row.text("userDisplayName") or (row.text("identity") if row.has("userId") else None),
        "processingTimeInMilliseconds": row.integer("processingTimeInMilliseconds", "ProcessingTimeInMs"),
        "appliedConditionalAccessPolicies": [
            {**policy.data, **_conditions(policy)}
            for policy in row.objects("appliedConditionalAccessPolicies", "ConditionalAccessPolicies")
        ],
    }
    return {name: value for name, value in named.items() if value is not None}


def _conditions(policy: Fields) -> dict[str, str]:
    words: dict[str, str] = {}
    for name in ("conditionsSatisfied", "conditionsNotSatisfied"):
        bits = policy.integer(name)
        if bits is not None and bits >= 0:
            words[name] = ",".join(word for at, word in enumerate(_CONDITIONS) if bits >> at & 1) or "none"
    return words


def _kind(row: Fields) -> Kind:
    if row.has("servicePrincipalId", "servicePrincipalName") and row.text("userId", "userPrincipalName") is None:
        managed = (row.text("managedIdentityType") or "none").lower() != "none"
        return "managedIdentity" if managed else "servicePrincipal"
    return "nonInteractiveUser" if row.flag("isInteractive") is False else "interactiveUser"


def _id(row: Fields) -> str:
    """The log's own, by which decisions on the sign-in name it."""
    given = row.text("id")
    if given is None:
        return stable_id("entra_id_logs", content_id(row.data))
    return given if len(given) <= _LONGEST_ID_CHARS else stable_id("entra_id_logs", given)


def _people(kept: graph.SignIn, row: Fields) -> Evidence:
    evidence = Evidence()
    evidence.user(kept.userPrincipalName, object_id=kept.userId, display=kept.userDisplayName)
    if kept.servicePrincipalId or kept.servicePrincipalName:
        evidence.service_principal(
            kept.servicePrincipalName, app_id=kept.appId, object_id=kept.servicePrincipalId or None
        )
    evidence.ip(kept.ipAddress, ("source",), place_of(row))
    device = kept.deviceDetail or graph.DeviceDetail()
    evidence.host(device.displayName, directory_id=device.deviceId, os=device.operatingSystem)
    evidence.app(kept.appDisplayName)
    return evidence


# ---------------------------------------------------------------- directory audits


def _audit(row: Fields) -> GraphObject | None:
    """None without a time.

    An entry of another server cannot pass for one of this server's own chain: it takes neither its name nor its marks.
    """
    at = first_time(row, "activityDateTime", "time", "TimeGenerated")
    if at is None:
        return None
    details = [{**item.data, "key": item.text("key")} for item in row.objects("additionalDetails")]
    service = row.text("loggedByService") or "Core Directory"
    given = {
        **row.data,
        "activityDateTime": at,
        "loggedByService": f"{service} (other server)" if service == _HERE else service,
        "operationType": row.text("operationType", "AADOperationType"),
        "additionalDetails": [item for item in details if not (item["key"] or "").lower().startswith(_CHAIN)],
    }
    kept = lenient(graph.DirectoryAudit, given)
    body = {**inner_form("microsoft.graph.directoryAudit", kept, row, _ELSEWHERE), "id": _id(row)}
    return GraphObject("directoryAudits", "microsoft.graph.directoryAudit", body, _named(row).observed)


def _named(row: Fields) -> Evidence:
    evidence = Evidence()
    who, app = row.object("initiatedBy.user"), row.object("initiatedBy.app")
    evidence.user(who.text("userPrincipalName"), object_id=who.text("id"), display=who.text("displayName"))
    evidence.ip(who.text("ipAddress") or row.text("callerIpAddress"), ("source",))
    evidence.service_principal(
        app.text("displayName", "servicePrincipalName"),
        app_id=app.text("appId"),
        object_id=app.text("servicePrincipalId"),
    )
    for target in row.objects("targetResources")[:100]:
        kind, name, own_id = (target.text("type") or "").lower(), target.text("displayName"), target.text("id")
        if kind == "user" or target.has("userPrincipalName"):
            evidence.user(target.text("userPrincipalName"), object_id=own_id, display=name)
        elif kind == "device":
            evidence.host(name, directory_id=own_id)
        elif kind == "group":
            evidence.group(name, group_id=own_id)
        elif kind in ("application", "serviceprincipal"):
            evidence.service_principal(name, object_id=own_id)
        elif kind == "domain":
            evidence.domain(name)
        else:
            evidence.observe("resource", name)
    return evidence


def _activity(row: Fields) -> Event:
    """A request to Microsoft Graph."""
    evidence = Evidence()
    evidence.user(None, object_id=row.text("userId", "UserPrincipalObjectID"))
    evidence.service_principal(None, app_id=row.text("appId"), object_id=row.text("servicePrincipalId"))
    evidence.ip(row.text("ipAddress", "callerIpAddress"), ("source",))
    evidence.url(row.text("requestUri"))
    at = first_time(row, "timeGenerated", "time")
    return event("MicrosoftGraphActivityLogs", at, read_columns(row, _ACTIVITY_COLUMNS), evidence)
