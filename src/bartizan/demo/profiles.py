"""What providers know of the sample organisation's hosts, users, files, addresses, domains and apps; its licences and
grants."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from bartizan.demo.organisation import DOMAIN, FAR, LOADER_SHA256, Organisation, sample_id
from bartizan.demo.posture import Batch
from bartizan.demo.telemetry import stamp

_VENDOR = {"vendor": "Northwall", "provider": "Sample inventory"}
_LICENSES = ("SPE_E5", "SPE_E3")


def profiles(org: Organisation, now: datetime) -> Iterator[Batch]:
    """The six sets of security profiles, and which providers the tenant has switched on."""
    seen = {"firstSeenDateTime": stamp(now - timedelta(days=40)), "lastSeenDateTime": stamp(now - timedelta(hours=1))}
    made = {"createdDateTime": seen["firstSeenDateTime"], "lastModifiedDateTime": seen["lastSeenDateTime"]}
    yield "/beta/security/hostSecurityProfiles", [_host(org, number, seen) for number in range(len(org.servers))]
    yield (
        "/beta/security/userSecurityProfiles",
        [
            _profile(
                "user",
                person.upn,
                userPrincipalName=person.upn,
                displayName=person.name,
                accounts=[
                    {"displayName": person.name, "service": DOMAIN, "signinName": person.account, "status": "active"}
                ],
                riskScore=str(number * 15),
                **made,
            )
            for number, person in enumerate(org.people[:5])
        ],
    )
    yield (
        "/beta/security/ipSecurityProfiles",
        [
            _profile("ip", FAR.address, address=FAR.address, countHits=14, countHosts=1, riskScore="85", **seen),
            _profile("ip", "203.0.113.99", address="203.0.113.99", countHits=3, countHosts=1, riskScore="95", **seen),
        ],
    )
    yield (
        "/beta/security/domainSecurityProfiles",
        [_profile("domain", name, name=name, countInOrg=1, riskScore="95", **seen) for name in _DOMAINS],
    )
    yield "/beta/security/fileSecurityProfiles", [_loader(seen)]
    yield (
        "/beta/security/cloudAppSecurityProfiles",
        [
            _profile("app", name, name=name, publisher="Northwall", type="web", riskScore="10", **made)
            for _, name in org.applications
        ],
    )
    yield (
        "/beta/security/providerTenantSettings",
        [
            {"id": sample_id("provider", vendor, provider), "vendor": vendor, "provider": provider, "enabled": True}
            for vendor, provider in (("OISF", "Suricata"), ("CrowdStrike", "Falcon"), ("Okta", "Okta"))
        ],
    )


_DOMAINS = ("cdn-sync.sample-c2.example", "login-northwall.sample-phish.example")


def _profile(kind: str, what: str, /, **more: Any) -> dict[str, Any]:
    return {"id": sample_id("profile", kind, what), "vendorInformation": _VENDOR, "tags": ["sample"], **more}


def _host(org: Organisation, number: int, seen: dict[str, str]) -> dict[str, Any]:
    machine = org.servers[number]
    return _profile(
        "host",
        machine.name,
        fqdn=machine.fqdn,
        netBiosName=machine.name,
        os=machine.system,
        osVersion=machine.version,
        isAzureAdJoined=True,
        riskScore=str(20 * number),
        networkInterfaces=[{"ipV4Address": machine.address}],
        **seen,
    )


def _loader(seen: dict[str, str]) -> dict[str, Any]:
    return _profile(
        "file",
        LOADER_SHA256,
        names=["sync.dll"],
        extensions=["dll"],
        fileType="PE",
        size=88_064,
        hashes=[{"hashType": "sha256", "hashValue": LOADER_SHA256}],
        riskScore="90",
        **seen,
    )


def entitlements(org: Organisation, now: datetime) -> Iterator[Batch]:
    """Licences, roles in applications and delegated grants; `licensed` says who has which licence."""
    yield (
        "/v1.0/licenseDetails",
        [
            {
                "id": sample_id("licence", name),
                "skuId": sample_id("sku", name),
                "skuPartNumber": name,
                "servicePlans": [
                    {
                        "servicePlanId": sample_id("plan", name),
                        "servicePlanName": f"{name}_SECURITY",
                        "provisioningStatus": "Success",
                        "appliesTo": "User",
                    }
                ],
            }
            for name in _LICENSES
        ],
    )
    yield from _grants(org, now)


def _grants(org: Organisation, now: datetime) -> Iterator[Batch]:
    (_, payroll), (_, control) = org.applications[:2]
    yield (
        "/v1.0/appRoleAssignments",
        [
            {
                "id": sample_id("assignment", person.id),
                "principalId": person.id,
                "principalType": "User",
                "principalDisplayName": person.name,
                "resourceId": sample_id("servicePrincipal", payroll),
                "resourceDisplayName": payroll,
                "appRoleId": sample_id("appRole", "clerk"),
                "createdDateTime": stamp(now - timedelta(days=200)),
            }
            for person in org.people
            if person.department == "Finance"
        ],
    )
    yield (
        "/v1.0/oauth2PermissionGrants",
        [
            {
                "id": sample_id("grant", control),
                "clientId": sample_id("servicePrincipal", control),
                "resourceId": sample_id("servicePrincipal", payroll),
                "consentType": "AllPrincipals",
                "scope": "openid profile User.Read",
            }
        ],
    )


def licensed(org: Organisation) -> Iterator[tuple[str, str]]:
    """As `posture.memberships`."""
    for number, person in enumerate(org.people):
        name = _LICENSES[number % len(_LICENSES)]
        yield f"/users/{person.id}/licenseDetails/$ref", f"licenseDetails/{sample_id('licence', name)}"
