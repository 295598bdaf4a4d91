"""What somebody does after a sign-in, and what that says of the sign-in: rules of mailboxes, new second factors and
devices, consents, mass requests.

Each is what people do, too; after a sign-in from a place that is new to them, within hours and from the same address,
it is what an attacker does first.

Source: MITRE ATT&CK T1557, T1114.003, T1098.005, T1556.006, T1528, T1087.004; Microsoft Entra ID Protection.
"""

import re
from statistics import median

from bartizan.extend.detections import Finding, detection
from bartizan.identity.changes import ChangeView, RequestView
from bartizan.identity.view import LEARNING_COUNT

WITHIN_S = 24 * 3600.0
FORWARDS = re.compile(r"forward|redirect|external|delete|rss|conversation history|archive", re.I)
RULE = re.compile(r"inbox ?rule|mailbox rule|set-mailbox|transport ?rule", re.I)
FACTOR = re.compile(
    r"security info|authentication method|strong authentication|register(ed)? device|add registered owner to device|"
    r"device registration|add device|consent to application|add delegated permission|app role assignment|"
    r"add (service principal|application) credential|update application . certificates",
    re.I,
)
MANY, OVER_MAD = 500, 6.0
BASELINE = 10  # hours of requests until they say what is usual
NOTED, RISKY = 1.5, 3.0  # scores of a sign-in: worth to be remembered; not learned from
KINDS, REFUSED = 5, 0.005  # kinds of resources; share of requests that were refused


@detection("suspiciousInboxForwarding", "mcasSuspiciousInboxManipulationRules", on="audit", timing="offline")
def inbox_rule(view: ChangeView) -> Finding | None:
    audit = view.audit
    if not audit.success or not RULE.search(audit.activity):
        return None
    hides = FORWARDS.search(" ".join(audit.targets))
    sign_in = view.strange_sign_in(WITHIN_S)
    if sign_in is None or not (hides or sign_in.score >= 2.0):
        return None
    said = {"activity": audit.activity, "rule": ", ".join(audit.targets), "ipAddress": audit.address}
    kind = "mcasSuspiciousInboxManipulationRules" if hides is None else "suspiciousInboxForwarding"
    return Finding(kind, 2.5 if hides else 1.5, said, subject=sign_in.id)


@detection("attackerinTheMiddle", on="audit", timing="offline")
def new_foothold(view: ChangeView) -> Finding | None:
    """A second factor, device or consent right after a strange sign-in: its session was somebody else's."""
    audit = view.audit
    if not audit.success or not FACTOR.search(audit.activity):
        return None
    sign_in = view.strange_sign_in(WITHIN_S / 6)
    # Who starts in a company does this on the first day, from a place that is new because every place is.
    starter = view.principal.count < LEARNING_COUNT
    if sign_in is None or sign_in.score < (RISKY if starter else NOTED):
        return None
    said = {"activity": audit.activity, "target": ", ".join(audit.targets), "ipAddress": audit.address}
    return Finding("attackerinTheMiddle", 2.0, said, subject=sign_in.id)


FILES = re.compile(r"drive|file|site|list|share|download", re.I)


@detection("mcasFinSuspiciousFileAccess", on="activity", timing="offline")
def mass_file_access(view: RequestView) -> Finding | None:
    """Far more requests than usual, for files alone. A backup reads alike, but does so usually."""
    activity = view.activity
    if not any(FILES.search(each) for each in activity.names) or _wide(view) or _refused(view):
        return None  # the detection of requests says those
    bound, middle = _bound(view)
    if activity.requests <= bound:
        return None
    sign_in = view.last_sign_in(WITHIN_S)
    if sign_in is None and len(view.principal.requests) < BASELINE:
        return None  # nobody knows what is usual
    said = {"fileRequests": activity.requests, "usualRequests": middle, "kinds": ", ".join(activity.names)}
    subject = sign_in.id if sign_in else ""
    return Finding("mcasFinSuspiciousFileAccess", 2.0 if sign_in else 1.0, said, subject=subject)


def _bound(view: RequestView) -> tuple[float, float]:
    """Requests an hour that are not unusual for the principal, and its median."""
    usual = view.principal.requests
    middle = median(usual) if usual else 0.0
    spread = median(abs(each - middle) for each in usual) if usual else 0.0
    return max(MANY, middle + OVER_MAD * max(spread, 0.1 * middle)), middle


def _wide(view: RequestView) -> bool:
    return view.activity.kinds >= KINDS


def _refused(view: RequestView) -> bool:
    return view.activity.denied / max(1, view.activity.requests) >= REFUSED


@detection("suspiciousAPITraffic", on="activity", timing="offline")
def api_traffic(view: RequestView) -> Finding | None:
    """Far more requests than this principal ever makes, of many kinds or with many refusals."""
    activity = view.activity
    bound, middle = _bound(view)
    if activity.requests <= bound:
        return None
    wide, refused = _wide(view), _refused(view)
    if not (wide or refused):
        return None
    said = {
        "requests": activity.requests,
        "usualRequests": middle,
        "kinds": ", ".join(activity.names),
        "refused": activity.denied,
        "ipAddress": activity.address,
    }
    sign_in = view.last_sign_in(WITHIN_S)
    log_odds = 2.0 + 0.75 * wide + 0.75 * refused
    return Finding("suspiciousAPITraffic", log_odds, said, subject=sign_in.id if sign_in else "")
