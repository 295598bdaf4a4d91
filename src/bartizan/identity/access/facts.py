"""A sign-in under way, or one that is asked about, as conditions of conditional access see it.

Source: Microsoft Graph, signIn, signInIdentity, signInContext, signInConditions, deviceInfo; values of clientAppUsed
and operatingSystem as Entra's sign-in logs have them.
"""

import ipaddress
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from bartizan.errors import BadRequest
from bartizan.identity.access.conditions import Address, Facts, Inner, flags
from bartizan.identity.access.verdict import BUILT_IN, NAMED, Risk, kind_of
from bartizan.identity.events import os_of

_EXTERNAL = "#ext#"  # in the userPrincipalName of who belongs to another tenant
_CLIENTS = {
    "browser": "browser",
    "mobile apps and desktop clients": "mobileAppsAndDesktopClients",
    "exchange activesync": "exchangeActiveSync",
}
_PLATFORMS = {
    "Windows Phone": "windowsPhone",
    "Windows": "windows",
    "iOS": "iOS",
    "Android": "android",
    "macOS": "macOS",
    "Linux": "linux",
}
_TRUST = {
    "hybrid azure ad joined": "ServerAD",
    "microsoft entra hybrid joined": "ServerAD",
    "azure ad joined": "AzureAD",
    "microsoft entra joined": "AzureAD",
    "azure ad registered": "Workplace",
    "microsoft entra registered": "Workplace",
}
_PASSED = {"b2bDirectConnect": "b2bDirectConnectUser", "serviceProvider": "serviceProvider"}  # of crossTenantAccessType
_TRANSFERS = {"deviceCode": "deviceCodeFlow", "authenticationTransfer": "authenticationTransfer"}


class Principal(Struct, frozen=True):
    """Who signs in, as the directory has it; `known` says whether it has."""

    id: str
    known: bool = False
    upn: str = ""
    groups: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    guest: frozenset[str] = frozenset()


def guest_of(user: Inner) -> frozenset[str]:
    """Which kind of guest or external user a directory's user is; empty for an own member."""
    outside = (
        _EXTERNAL in str(user.get("userPrincipalName")).lower()
        or user.get("externalUserState") is not None
        or user.get("creationType") == "Invitation"
    )
    if str(user.get("userType")).lower() == "guest":
        return frozenset({"b2bCollaborationGuest" if outside else "internalGuest"})
    return frozenset({"b2bCollaborationMember"}) if outside else frozenset()


def address_of(text: str | None) -> Address | None:
    """BadRequest where it is none."""
    if not text:
        return None
    try:
        at = ipaddress.ip_address(text.strip().strip("[]").partition("%")[0])
    except ValueError:
        raise BadRequest(f"ipAddress: expected an IPv4 or IPv6 address; got '{text[:60]}'.") from None
    mapped = at.ipv4_mapped if isinstance(at, ipaddress.IPv6Address) else None
    return at if mapped is None else mapped


def country_of(text: str | None, path: str) -> str | None:
    if not text:
        return None
    if len(text) != 2 or not text.isalpha():
        raise BadRequest(f"{path}: expected a two-letter code of ISO 3166; got '{text[:60]}'.")
    return text.upper()


def platform_of(system: str | None, agent: str | None) -> str | None:
    return _PLATFORMS.get(os_of(system or "", agent or ""))


def client_of(used: str | None) -> str | None:
    """Whatever has no modern authentication is `other`."""
    return _CLIENTS.get(used.lower(), "other") if used else None


def device_of(said: Inner, kept: Inner) -> dict[str, Any]:
    """What the sign-in says of its device before what the directory has of it; names in lower case."""
    found = {name.lower(): value for name, value in kept.items() if value not in (None, [])}
    extensions = kept.get("extensionAttributes") or {}
    found |= {name.lower(): value for name, value in extensions.items() if value is not None}
    found |= {name.lower(): value for name, value in said.items() if value not in (None, "", [])}
    trust = found.get("trusttype")
    if isinstance(trust, str):
        found["trusttype"] = _TRUST.get(trust.lower(), trust)
    return {name: value for name, value in found.items() if value is not None}


def satisfied_by(sign_in: Inner, given: list[str] | None, device: Mapping[str, Any]) -> frozenset[str]:
    """Controls that are met: as the caller says, by steps of the sign-in, by the device. BadRequest for a word that is
    no control."""
    for each in given or ():
        kind = kind_of(each)
        if each == "block" or not (each in BUILT_IN or (kind in NAMED and each != kind)):
            known = [*sorted(BUILT_IN - {"block"}), *(f"{name}:ID" for name in NAMED)]
            raise BadRequest(f"satisfiedControls: '{each[:60]}' is none of {', '.join(known)}.")
    found = set(given or ())
    steps = {
        each.get("authenticationMethod")
        for each in sign_in.get("authenticationDetails") or ()
        if each.get("succeeded") is True and each.get("authenticationMethod")
    }
    if len(steps) > 1:  # two of one kind are one factor twice
        found.add("mfa")
    if device.get("iscompliant") is True:
        found.add("compliantDevice")
    if device.get("trusttype") == "ServerAD":
        found.add("domainJoinedDevice")
    return frozenset(found)


def facts_of(
    sign_in: Inner,
    who: Principal,
    device: Mapping[str, Any],
    risk: Risk,
    *,
    action: str | None = None,
    insider: str | None = None,
) -> Facts:
    """Of a sign-in under way (inner form of signIn)."""
    workload = bool(sign_in.get("servicePrincipalId"))
    passed = _PASSED.get(str(sign_in.get("crossTenantAccessType")))
    said = frozenset({passed}) if passed else frozenset()
    if not who.known and sign_in.get("userType") == "guest":
        said |= {"b2bCollaborationGuest"}
    transfers = flags(sign_in.get("authenticationProtocol")) | flags(sign_in.get("originalTransferMethod"))
    transfer = next((_TRANSFERS.get(each, each) for each in sorted(transfers) if _is_transfer(each)), None)
    place = sign_in.get("location") or {}
    through = sign_in.get("isThroughGlobalSecureAccess")
    contexts = sign_in.get("authenticationContextClassReferences") or ()
    apps = (sign_in.get(name) for name in ("appId", "resourceId"))
    return Facts(
        user=None if workload else who.id.lower() or None,
        workload=who.id.lower() if workload else None,
        groups=who.groups,
        roles=who.roles,
        guest=who.guest | said,
        home_tenant=str(sign_in.get("homeTenantId") or "").lower() or None,
        apps=frozenset(str(each).lower() for each in apps if each),
        user_action=action,
        contexts=frozenset(str(each.get("id")).lower() for each in contexts),
        address=address_of(sign_in.get("ipAddress")),
        country=country_of(place.get("countryOrRegion"), "location.countryOrRegion"),
        compliant_network=through if isinstance(through, bool) else None,
        client=client_of(sign_in.get("clientAppUsed")),
        platform=platform_of(device.get("operatingsystem"), sign_in.get("userAgent")),
        device=device,
        sign_in_risk=risk.sign_in_level,
        user_risk="none" if workload else risk.user_level,
        workload_risk=risk.user_level if workload else "none",
        insider_risk=insider,
        transfer=transfer,
    )


def _is_transfer(word: str) -> bool:
    return word in _TRANSFERS or word in _TRANSFERS.values()


def what_if_facts(identity: Inner, context: Inner, conditions: Inner, who: Principal) -> Facts:
    """Of a sign-in that somebody asks about: signInIdentity, signInContext and signInConditions."""
    workload = str(identity.get("@odata.type")).endswith(".servicePrincipalSignIn")
    kinds = flags(identity.get("externalUserType")) - {"none"}
    client, platform = conditions.get("clientAppType"), conditions.get("devicePlatform")
    device = device_of(conditions.get("deviceInfo") or {}, {})
    if "ownership" in device:  # deviceInfo's word for what rules call deviceOwnership
        device["deviceownership"] = device.pop("ownership")
    value = context.get("authenticationContextValue")
    transfer = (conditions.get("authenticationFlow") or {}).get("transferMethod")
    return Facts(
        user=None if workload else who.id.lower() or None,
        workload=who.id.lower() if workload else None,
        groups=who.groups,
        roles=who.roles,
        guest=who.guest | kinds,
        home_tenant=str(identity.get("externalTenantId") or "").lower() or None,
        apps=frozenset(str(each).lower() for each in context.get("includeApplications") or ()),
        user_action=context.get("userAction"),
        contexts=frozenset({str(value).lower()}) if value else frozenset(),
        address=address_of(conditions.get("ipAddress")),
        country=country_of(conditions.get("country"), "signInConditions.country"),
        client=None if client == "all" else client,
        platform=platform_of(device.get("operatingsystem"), None) if platform in (None, "all") else platform,
        device=device,
        sign_in_risk=conditions.get("signInRiskLevel") or "none",
        user_risk=conditions.get("userRiskLevel") or "none",
        workload_risk=conditions.get("servicePrincipalRiskLevel") or "none",
        insider_risk=conditions.get("insiderRiskLevel"),
        transfer=None if transfer == "none" else transfer,
    )
