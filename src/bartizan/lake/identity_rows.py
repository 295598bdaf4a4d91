"""Risk detections, risky users, users and threat indicators as rows of Microsoft's tables: a row with each change, as
the object is then; the latest by time is how it stands. Pure.

Source: Azure Monitor reference, tables AADUserRiskEvents, AADRiskyUsers, AADServicePrincipalRiskEvents,
AADRiskyServicePrincipals, IdentityInfo, ThreatIntelligenceIndicator and ThreatIntelIndicators; OASIS STIX 2.1;
advanced hunting, table IdentityInfo; Microsoft Graph, resources riskDetection, riskyUser, user and tiIndicator.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from bartizan.lake.coerce import find
from bartizan.lake.plain import json_text
from bartizan.lake.rows import Inner, TableRow, documented, filled, first, list_of

_INDICATOR_NAMES: Mapping[str, str | None] = {  # where a property's column is not its own name with a capital
    "azureTenantId": "TenantId",
    "confidence": "ConfidenceScore",
    "externalId": "ExternalIndicatorId",
    "isActive": "Active",
    "severity": "ThreatSeverity",
    "tlpLevel": "TrafficLightProtocolLevel",
    "malwareFamilyNames": "MalwareNames",
    "networkIPv4": "NetworkIP",
    "networkDestinationIPv4": "NetworkDestinationIP",
    "networkSourceIPv4": "NetworkSourceIP",
    "targetProduct": "IndicatorProvider",
    "killChain": None,
    "ingestedDateTime": None,
}
_SIXTH = {"NetworkIP": "networkIPv6", "NetworkDestinationIP": "networkDestinationIPv6"}
_SIXTH["NetworkSourceIP"] = "networkSourceIPv6"
_RISKS = {"low": "Low", "medium": "Medium", "high": "High", "none": "None"}


def risk_detection_rows(inner: Inner, tenant: str, at: str) -> list[TableRow]:
    """Of a riskDetection."""
    return _states("AADUserRiskEvents", inner, tenant, at, operation="User Risk Detection")


def risky_user_rows(inner: Inner, tenant: str, at: str) -> list[TableRow]:
    """Of a riskyUser."""
    return _states("AADRiskyUsers", inner, tenant, at, operation="Risky user")


def workload_detection_rows(inner: Inner, tenant: str, at: str) -> list[TableRow]:
    """Of a servicePrincipalRiskDetection."""
    return _states("AADServicePrincipalRiskEvents", inner, tenant, at, operation="Service Principal Risk Detection")


def risky_workload_rows(inner: Inner, tenant: str, at: str) -> list[TableRow]:
    """Of a riskyServicePrincipal."""
    return _states("AADRiskyServicePrincipals", inner, tenant, at, operation="Risky service principal")


def risky_user_gone(id: str, tenant: str, at: str) -> list[TableRow]:
    return [("AADRiskyUsers", {"TimeGenerated": at, "TenantId": tenant, "Id": id, "IsDeleted": True})]


def user_gone(id: str, tenant: str, at: str) -> list[TableRow]:
    row = {"Timestamp": at, "TenantId": tenant, "AccountObjectId": id, "DeletedDateTime": at, "IsAccountEnabled": False}
    return [("IdentityInfo", row)]


def indicator_gone(id: str, tenant: str, at: str) -> list[TableRow]:
    row = {"TimeGenerated": at, "TenantId": tenant, "IndicatorId": id, "Active": False}
    gone = {"TimeGenerated": at, "TenantId": tenant, "Id": id, "IsDeleted": True, "IsActive": False}
    return [("ThreatIntelligenceIndicator", row), ("ThreatIntelIndicators", gone)]


def _states(table: str, inner: Inner, tenant: str, at: str, *, operation: str) -> list[TableRow]:
    row = {"TimeGenerated": at, "TenantId": tenant, "OperationName": operation, "Type": table}
    return [(table, filled(find(table), row, inner, {}))]


def user_rows(inner: Inner, tenant: str, at: str, around: Mapping[str, Any] | None = None) -> list[TableRow]:
    """Of a user: both products' spellings of a column are filled. `around`: columns that other objects fill."""
    upn = inner.get("userPrincipalName")
    sid = first(inner, "onPremisesSecurityIdentifier")
    sam, proxies = inner.get("onPremisesSamAccountName"), inner.get("proxyAddresses")
    _, _, domain = str(upn or "").partition("@")
    sip = next((each[4:] for each in list_of(proxies) if isinstance(each, str) and each[:4].lower() == "sip:"), None)
    row = {
        "Timestamp": at,
        "TimeGenerated": at,
        "AccountObjectId": inner.get("id"),
        "AccountUpn": upn,
        "AccountUPN": upn,
        "AccountDisplayName": inner.get("displayName"),
        "AccountName": first(inner, "onPremisesSamAccountName", "mailNickname") or str(upn or "").partition("@")[0],
        "AccountDomain": first(inner, "onPremisesDomainName") or domain or None,
        "AccountTenantId": tenant,
        "TenantId": tenant,
        "OnPremSid": sid,
        "AccountSID": sid,
        "CloudSid": inner.get("securityIdentifier"),
        "AccountCloudSID": inner.get("securityIdentifier"),
        "SAMAccountName": sam,
        "DistinguishedName": inner.get("onPremisesDistinguishedName"),
        "EmailAddress": inner.get("mail"),
        "MailAddress": inner.get("mail"),
        "OtherMailAddresses": inner.get("otherMails") or None,
        "AdditionalMailAddresses": inner.get("otherMails") or None,
        "SipProxyAddress": sip,
        "IsAccountEnabled": inner.get("accountEnabled"),
        "Phone": next(iter(list_of(inner.get("businessPhones"))), None) or inner.get("mobilePhone"),
        "Address": inner.get("streetAddress"),
        "AccountCreationTime": inner.get("createdDateTime"),
        "OnPremisesExtensionAttributes": _text(inner.get("onPremisesExtensionAttributes")),
        "UserState": inner.get("externalUserState"),
        "UserStateChangedOn": inner.get("externalUserStateChangeDateTime"),
        "UserType": {"guest": "Guest", "member": "Member"}.get(str(inner.get("userType")).lower()),
        "ChangeSource": "AzureActiveDirectory",
        **{name: value for name, value in (around or {}).items() if value not in (None, [])},
        "Type": "User",  # in this table the kind of identity, not the name of the table
    }
    return [("IdentityInfo", filled(find("IdentityInfo"), row, inner, dict.fromkeys(_SAID_OF_USERS)))]


_SAID_OF_USERS = (
    "id userPrincipalName displayName mail otherMails accountEnabled securityIdentifier onPremisesSamAccountName "
    "onPremisesSecurityIdentifier mailNickname externalUserState externalUserStateChangeDateTime userType"
).split()


def indicator_rows(inner: Inner, tenant: str, at: str) -> list[TableRow]:
    """Of a tiIndicator. An address has one column, whether of version 4 or 6; lists are JSON in text columns."""
    chain = inner.get("killChain")
    steps = {str(each).lower() for each in chain} if isinstance(chain, list) else set()
    of = find("ThreatIntelligenceIndicator")
    row: dict[str, Any] = {"TimeGenerated": at, "TenantId": tenant, "IndicatorId": inner.get("id"), "Type": of.name}
    for step in ("Actions", "C2", "Delivery", "Exploitation", "Reconnaissance", "Weaponization"):
        row[f"KillChain{step}"] = step.lower() in steps
    for column, name in _SIXTH.items():
        row[column] = inner.get(name.replace("IPv6", "IPv4")) or inner.get(name)
    return [(of.name, filled(of, row, inner, _INDICATOR_NAMES)), *_stix_rows(inner, tenant, at)]


def _stix_rows(inner: Inner, tenant: str, at: str) -> list[TableRow]:
    """Of a tiIndicator as an indicator of STIX: a row for each of its observables."""
    expires, active = inner.get("expirationDateTime"), inner.get("isActive") is not False
    rows = []
    for key, value in _observables(inner):
        escaped = value.replace("\\", "\\\\").replace("'", "\\'")
        pattern = f"[{key} = '{escaped}']"
        row = {
            "TimeGenerated": at,
            "TenantId": tenant,
            "AzureTenantId": tenant,
            "Id": inner.get("id"),
            "SourceSystem": inner.get("targetProduct"),
            "LastUpdateMethod": "GraphSecurityAPI",
            "IsDeleted": False,
            "IsActive": active and (not isinstance(expires, str) or expires > at),
            "Revoked": not active,
            "Created": inner.get("ingestedDateTime"),
            "Modified": at,
            "ValidFrom": inner.get("ingestedDateTime"),
            "ValidUntil": expires,
            "Confidence": inner.get("confidence"),
            "Tags": _text(inner.get("tags") or None),
            "Pattern": pattern,
            "ObservableKey": key,
            "ObservableValue": value,
            "Data": _stix(inner, at, pattern),
            "Type": "ThreatIntelIndicators",
        }
        rows.append(documented("ThreatIntelIndicators", row))
    return rows


def _stix(inner: Inner, at: str, pattern: str) -> dict[str, Any]:
    told, threat, external = inner.get("ingestedDateTime"), inner.get("threatType"), inner.get("externalId")
    stix = {
        "type": "indicator",
        "spec_version": "2.1",
        "id": f"indicator--{inner.get('id')}",
        "created": told,
        "modified": at,
        "name": inner.get("description"),
        "description": inner.get("additionalInformation"),
        "indicator_types": [threat] if threat else None,
        "pattern": pattern,
        "pattern_type": "stix",
        "valid_from": told,
        "valid_until": inner.get("expirationDateTime"),
        "confidence": inner.get("confidence"),
        "labels": inner.get("tags") or None,
        "external_references": [{"source_name": "externalId", "external_id": external}] if external else None,
    }
    return {name: value for name, value in stix.items() if value is not None}


def _observables(inner: Inner) -> Iterator[tuple[str, str]]:
    """Object path of STIX and value, each once."""
    found: dict[tuple[str, str], None] = {}
    for name, path in _PATHS.items():
        value = inner.get(name)
        if isinstance(value, str) and value.strip():
            sixth = "6" if ":" in value and path == "ipv4-addr:value" else ""
            found.setdefault((path.replace("ipv4", "ipv6") if sixth else path, value.strip()))
    digest = inner.get("fileHashValue")
    if isinstance(digest, str) and digest.strip():
        algorithm = _ALGORITHMS.get(str(inner.get("fileHashType")).lower(), "SHA-256")
        found.setdefault((f"file:hashes.'{algorithm}'", digest.strip()))
    yield from found


_PATHS: Mapping[str, str] = {
    **dict.fromkeys("networkIPv4 networkSourceIPv4 networkDestinationIPv4".split(), "ipv4-addr:value"),
    **dict.fromkeys("networkIPv6 networkSourceIPv6 networkDestinationIPv6".split(), "ipv6-addr:value"),
    **dict.fromkeys("networkCidrBlock networkSourceCidrBlock networkDestinationCidrBlock".split(), "ipv4-addr:value"),
    "emailSourceIpAddress": "ipv4-addr:value",
    "domainName": "domain-name:value",
    "emailSourceDomain": "domain-name:value",
    "url": "url:value",
    "emailSenderAddress": "email-addr:value",
    "emailRecipient": "email-addr:value",
    "fileName": "file:name",
    "fileMutexName": "mutex:name",
    "userAgent": "network-traffic:extensions.'http-request-ext'.request_header.'User-Agent'",
}
_ALGORITHMS = {"md5": "MD5", "sha1": "SHA-1", "sha256": "SHA-256"}


def _text(value: Any) -> str | None:
    return None if value is None else value if isinstance(value, str) else json_text(value)
