"""Addresses by what else is told or seen of them: hidden networks, infected machines, neighbours that failed.

Source: Microsoft Entra ID Protection, "What are risk detections?" (riskyIPAddress, suspiciousIPAddress,
malwareInfectedIPAddress).
"""

import re

from bartizan.extend.detections import Finding, detection
from bartizan.identity.changes import ChangeView, RequestView
from bartizan.identity.detections.wrong_credentials import NEIGHBOURS
from bartizan.identity.view import View
from bartizan.intel import Kind, Network

WITHIN_S = 24 * 3600.0
# A list says what its machines have by its name: the kinds of networks know only "malicious".
INFECTED = re.compile(r"botnet|malware|infected|zombie|\bbots?\b|command.?and.?control|\bc2\b", re.I)


@detection("suspiciousIPAddress", strange=True, timing="offline")
def failing_neighbours(view: View) -> Finding | None:
    """Many failed at other addresses of the same /24 or /48, and one who was never there succeeds: somebody who changes
    the last part of the address with each try. An office or a carrier fails alike, but succeeds far more often."""
    event, prefix = view.event, view.prefix
    if view.shared or view.known_device or event.managed or view.kinds & (Kind.MOBILE | Kind.TRUSTED):
        return None
    failing = prefix.failing(event.principal, event.at)
    if failing < NEIGHBOURS or prefix.others(event.principal) * 2 > failing:
        return None
    if view.address.failing(event.principal, event.at) >= 2:
        return None  # the address tells by itself: a spray
    said = {"network": event.prefix, "principalsWithWrongCredentials": failing, "windowDays": 7}
    return Finding("suspiciousIPAddress", min(2.5, 0.5 + 0.3 * failing), said)


@detection("malwareInfectedIPAddress", strange=True, timing="offline")
def infected_address(view: View) -> Finding | None:
    """A list of infected machines or of a botnet names the address: told beside maliciousIPAddress, which weighs it."""
    if not view.kinds & Kind.MALICIOUS or view.kinds & Kind.TRUSTED:
        return None
    listed = [each for each in view.intel.of(view.event.address, view.event.at).sources if INFECTED.search(each)]
    if not listed:
        return None
    said = {"ipAddress": view.event.address, "infectedBy": ", ".join(listed)}
    return Finding("malwareInfectedIPAddress", 0.3, said)


def _hidden(network: Network, known: bool) -> tuple[float, str] | None:
    if network.kinds & Kind.TOR:
        return 2.0, "Tor"
    if network.kinds & Kind.PROXY and not known:
        return 0.8, "anonymising service"
    return None


@detection("riskyIPAddress", on="audit", timing="offline")
def hidden_change(view: ChangeView) -> Finding | None:
    """A change made through Tor or a proxy. Who always works through a proxy is no news; Tor always is."""
    audit = view.audit
    known = view.principal.known("address", audit.address, audit.at) is not None
    hidden = _hidden(view.network, known) if audit.address else None
    if hidden is None:
        return None
    sign_in = view.strange_sign_in(WITHIN_S)
    said = {"ipAddress": audit.address, "network": hidden[1], "activity": audit.activity}
    return Finding("riskyIPAddress", hidden[0], said, subject=sign_in.id if sign_in else "")


@detection("riskyIPAddress", on="activity", timing="offline")
def hidden_requests(view: RequestView) -> Finding | None:
    activity = view.activity
    known = view.principal.known("address", activity.address, activity.at) is not None
    hidden = _hidden(view.network, known) if activity.address else None
    if hidden is None:
        return None
    sign_in = view.last_sign_in(WITHIN_S)
    said = {"ipAddress": activity.address, "network": hidden[1], "requestCount": activity.requests}
    return Finding("riskyIPAddress", hidden[0], said, subject=sign_in.id if sign_in else "")
