"""Risk detections, risky users, users and threat indicators as rows of Microsoft's tables: a row with each change, as
the object is then; the latest by time is how it stands. Pure.

Source: Azure Monitor reference, tables AADUserRiskEvents, AADRiskyUsers, IdentityInfo and ThreatIntelligenceIndicator;
advanced hunting, table IdentityInfo; Microsoft Graph, resources riskDetection, riskyUser, user and tiIndicator.
"""

from collections.abc import Mapping
from typing import Any

from bartizan.lake.coerce import find
from bartizan.lake.plain import json_text
from bartizan.lake.rows import Inner, TableRow, filled, first, list_of

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


def risky_user_gone(id: str, tenant: str, at: str) -> list[TableRow]:
    return [("AADRiskyUsers", {"TimeGenerated": at, "TenantId": tenant, "Id": id, "IsDeleted": True})]


def user_gone(id: str, tenant: str, at: str) -> list[TableRow]:
    row = {"Timestamp": at, "TenantId": tenant, "AccountObjectId": id, "DeletedDateTime": at, "IsAccountEnabled": False}
    return [("IdentityInfo", row)]


def indicator_gone(id: str, tenant: str, at: str) -> list[TableRow]:
    row = {"TimeGenerated": at, "TenantId": tenant, "IndicatorId": id, "Active": False}
    return [("ThreatIntelligenceIndicator", row)]


def _states(table: str, inner: Inner, tenant: str, at: str, *, operation: str) -> list[TableRow]:
    row = {"TimeGenerated": at, "TenantId": tenant, "OperationName": operation, "Type": table}
    return [(table, filled(find(table), row, inner, {}))]


def user_rows(inner: Inner, tenant: str, at: str) -> list[TableRow]:
    """Of a user: both products' spellings of a column are filled."""
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
    return [(of.name, filled(of, row, inner, _INDICATOR_NAMES))]


def _text(value: Any) -> str | None:
    return None if value is None else value if isinstance(value, str) else json_text(value)
