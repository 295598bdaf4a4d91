"""One address, new to the tenant, from which several people who share nothing sign in within a day.

A hotel or a conference looks alike, but people come there with devices that we know.

Source: Elastic detection rules, "several users from one address"; detection of shared infrastructure of attackers.
"""

from bartizan.extend.detections import Finding, detection
from bartizan.identity.changes import BackView
from bartizan.identity.events import DAY
from bartizan.identity.state import Address
from bartizan.identity.view import View

PEOPLE = 3
OWN_KIT = 0.4  # of it counts where the program is one that the principal uses: people travel together, too
UNTOLD = 0.7  # where nobody says the program, of who is known: it may be either
NEW_KIT = 1.0  # what another says at least: while one is learned it says less, and every program is new
NEW_S = 3 * DAY  # the tenant knows the address for no longer


def _people(address: Address, at: float) -> int:
    """Strangers within a day; 0 where somebody is there with a device that the tenant knows, or a third of them, or of
    all who were there, with sessions that they had before: they came there themselves, as to an office that moved."""
    if address.anchored or at - address.first > NEW_S or 3 * len(address.brought) >= max(PEOPLE, len(address.users)):
        return 0
    people = {who for _, who, then in address.strangers if at - then < DAY}
    return len(people) if 3 * len(people & address.brought.keys()) < len(people) else 0


def _found(address: str, people: int, device: float, less: float = OWN_KIT) -> Finding:
    said = {"ipAddress": address, "principals": people, "windowHours": 24}
    log_odds = min(3.5, 1.0 + 0.5 * people) * (1.0 if device >= NEW_KIT else less)
    return Finding("maliciousIPAddress", log_odds, said)


@detection("maliciousIPAddress", strange=True, timing="offline")
def shared_address(view: View) -> Finding | None:
    event, address = view.event, view.address
    if event.workload or view.shared or view.known_device or event.managed or view.starter:
        return None
    if event.session and event.keys[3] in view.principal.sessions:
        return None  # it goes on with a session: no password was given here
    people = _people(address, event.at)
    people += not any(who == event.principal for _, who, _ in address.strangers)
    told = view.learning or event.agent or event.os or event.browser
    return _found(event.address, people, view.device, OWN_KIT if told else UNTOLD) if people >= PEOPLE else None


@detection("maliciousIPAddress", on="address", timing="offline")
def address_shared_later(view: BackView) -> Finding | None:
    """The first ones, as soon as the third is there."""
    if view.sign_in.strange <= 0 or not view.event.valid or view.event.at - view.sign_in.at >= DAY:
        return None
    people = _people(view.address, view.event.at)
    return _found(view.event.address, people, view.sign_in.device) if people >= PEOPLE else None
