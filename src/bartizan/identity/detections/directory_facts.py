"""What the directory and imported feeds add: leaked credentials, and accounts that nobody used for long."""

from bartizan.extend.detections import Finding, detection
from bartizan.identity.events import DAY
from bartizan.identity.view import OTHER_SYSTEM, OWN_PLACE, View

STAYS_S = 4 * DAY  # after waking, until it says least: who took an account acts soon, who works comes every day
STAYED = 0.2  # of the odds, then
AMONG_OURS = 1.5  # what it says of who wakes where they are: most who come back from a leave do


@detection("leakedCredentials")
def leaked_credentials(view: View) -> Finding | None:
    """A feed's entry, by name or by id, that matches the current password or secret, and a place that is new; or an
    address that is new, of the usual carrier, with another system."""
    event = view.event
    if not view.strange and (view.place <= OWN_PLACE or view.device < OTHER_SYSTEM):
        return None
    leak = view.intel.leaked(event.name, event.at) or view.intel.leaked(event.principal, event.at)
    if leak is None or leak.matches_current is not True:
        return None
    return Finding("leakedCredentials", 2.5, {"foundDateTime": leak.found, "source": leak.source})


@detection("unfamiliarFeatures")
def dormant_account(view: View) -> Finding | None:
    """An account that nobody used for two months, and that was not made lately, comes to life."""
    event, account = view.event, view.account
    if not view.dormant or view.known_device or event.managed:
        return None
    said = {"daysWithoutSignIn": round(view.idle_s() / DAY), "lastSignIn": max(view.principal.last, account.last)}
    odds = 0.5 if view.shared else 1.0 if event.device else 2.5  # an attacker has no registered device, at first
    if view.among_ours:
        odds = min(odds, AMONG_OURS)
    woke = min((each.at for each in view.principal.held), default=event.at)  # while it is risky nothing is learned
    odds *= max(STAYED, 1 - max(0.0, event.at - woke) / STAYS_S)
    return Finding("unfamiliarFeatures", odds, said)
