"""Addresses that somebody has listed: Tor and anonymous proxies, malicious ones, those of states' actors.

Source: Microsoft Entra ID Protection, "What are risk detections?" (anonymizedIPAddress, maliciousIPAddress,
nationStateIP).
"""

from bartizan.extend.detections import Finding, detection
from bartizan.identity.view import View
from bartizan.intel import Kind

# Codes of Entra with which conditional access refused a right first factor. 50053 (locked, or refused for the address)
# does not tell whether the password was right.
BLOCKED = frozenset({53000, 53001, 53003, 53004, 530032})


def _told(view: View) -> dict[str, str]:
    network = view.intel.of(view.event.address, view.event.at)
    return {"ipAddress": view.event.address, "listedBy": ", ".join(network.sources) or "imported lists"}


@detection("anonymizedIPAddress")
def anonymized_ip_address(view: View) -> Finding | None:
    if not view.kinds & (Kind.TOR | Kind.PROXY | Kind.VPN):
        return None
    if view.kinds & Kind.TOR:
        return Finding("anonymizedIPAddress", 3.0 if view.strange else 1.0, {**_told(view), "network": "Tor"})
    if not view.strange or view.known_device or view.hides:
        return None
    if view.principal.known("asn", str(view.event.asn), view.event.at):
        return None  # who always comes by a relay, and a device that we know, is no news
    return Finding("anonymizedIPAddress", 1.0, {**_told(view), "network": "anonymising service"})


@detection("maliciousIPAddress")
def malicious_ip_address(view: View) -> Finding | None:
    if not view.kinds & Kind.MALICIOUS or view.kinds & Kind.TRUSTED:
        return None
    return Finding("maliciousIPAddress", 3.0 if view.strange else 1.5, _told(view))


@detection("maliciousIPAddressValidCredentialsBlockedIP", strange=True, timing="offline")
def valid_credentials_blocked(view: View) -> Finding | None:
    """A policy blocked a listed address, but the password was right: it is known there. What the address weighs is said
    by the detections above; this adds that somebody must change a password."""
    if view.event.code not in BLOCKED or not view.kinds & (Kind.MALICIOUS | Kind.NATION_STATE | Kind.TOR):
        return None
    if view.kinds & Kind.TRUSTED:
        return None
    said = {**_told(view), "errorCode": view.event.code}
    return Finding("maliciousIPAddressValidCredentialsBlockedIP", 0.5, said)


@detection("nationStateIP")
def nation_state_ip(view: View) -> Finding | None:
    if not view.kinds & Kind.NATION_STATE:
        return None
    return Finding("nationStateIP", 6.0, _told(view), proven=True)
