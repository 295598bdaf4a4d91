"""One address, new to the tenant, from which several people who share nothing sign in within a day.

A hotel or a conference looks alike, but people come there with devices that we know.

Source: Elastic detection rules, "several users from one address"; detection of shared infrastructure of attackers.
"""

from bartizan.extend.detections import Finding, detection
from bartizan.identity.events import DAY
from bartizan.identity.view import View

PEOPLE = 3
NEW_S = 3 * DAY  # the tenant knows the address for no longer


@detection("maliciousIPAddress", strange=True)
def shared_address(view: View) -> Finding | None:
    event, address = view.event, view.address
    if event.workload or view.shared or view.known_device or event.managed or event.at - address.first > NEW_S:
        return None
    if address.anchored:
        return None
    others = {who for _, who, at in address.strangers if who != event.principal and event.at - at < DAY}
    if len(others) < PEOPLE - 1:
        return None
    said = {"ipAddress": event.address, "principals": len(others) + 1, "windowHours": 24}
    return Finding("maliciousIPAddress", min(3.5, 1.0 + 0.5 * (len(others) + 1)), said, timing="offline")
