"""What the directory and imported feeds add: leaked credentials, and accounts that nobody used for long."""

from bartizan.extend.detections import Finding, detection
from bartizan.identity.events import DAY
from bartizan.identity.view import View

IDLE_S, AGE_S = 60 * DAY, 30 * DAY


@detection("leakedCredentials", strange=True)
def leaked_credentials(view: View) -> Finding | None:
    """A feed's entry, by name or by id, that matches the current password or secret, and a place that is new."""
    event = view.event
    leak = view.intel.leaked(event.name, event.at) or view.intel.leaked(event.principal, event.at)
    if leak is None or leak.matches_current is not True:
        return None
    return Finding("leakedCredentials", 2.5, {"foundDateTime": leak.found, "source": leak.source})


@detection("unfamiliarFeatures")
def dormant_account(view: View) -> Finding | None:
    """An account that nobody used for two months, and that was not made lately, comes to life."""
    event, account = view.event, view.account
    if event.workload or view.known_device or event.managed:
        return None
    if account.created and event.at - account.created < AGE_S:
        return None
    idle = view.idle_s()
    if idle < IDLE_S:
        return None
    said = {"daysWithoutSignIn": round(idle / DAY), "lastSignIn": max(view.principal.last, account.last)}
    return Finding("unfamiliarFeatures", 2.5 if not view.shared else 0.5, said)
