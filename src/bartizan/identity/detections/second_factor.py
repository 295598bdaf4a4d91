"""Second factors that are asked for again and again: MFA fatigue.

Source: MITRE ATT&CK T1621; Microsoft Entra error 500121.
"""

from bartizan.extend.detections import Finding, detection
from bartizan.identity.view import View

WINDOW_S = 900.0
DENIALS = 3
STRANGE = 1.0  # more where the place is new: whose telephone does not answer is where he always is


@detection("userReportedSuspiciousActivity")
def mfa_fatigue(view: View) -> Finding | None:
    event = view.event
    since = event.at - WINDOW_S
    denials = sum(at >= since for at in view.principal.denials)
    if denials < DENIALS or view.known_device:
        return None
    approved = event.success and event.multifactor
    said = {"deniedPrompts": denials, "windowMinutes": WINDOW_S / 60, "approved": approved}
    log_odds = min(3.5, 1.0 + 0.5 * denials + 0.5 * approved) + STRANGE * view.strange
    return Finding("userReportedSuspiciousActivity", log_odds, said)
