"""Changes of the directory that their author does not usually make: of a kind that opens doors, or far too many.

Source: MITRE ATT&CK T1098, T1484, T1531; Microsoft Entra ID Protection (anomalousUserActivity).
"""

import re
from statistics import median

from bartizan.extend.detections import Finding, detection
from bartizan.identity.changes import ChangeView
from bartizan.identity.events import DAY

WITHIN_S = 24 * 3600.0
BASELINE, BASELINE_S = 10.0, 5 * DAY  # changes, and since when, until a baseline says anything
MANY, OVER_MAD = 20, 6.0  # changes within an hour
# Kinds that give power or take protection away.
OPENS = re.compile(
    r"add (eligible )?member to role|add (scoped )?member to role|federation|domain authentication|"
    r"verified domain|conditional access policy|add owner to (application|service principal)|"
    r"(application|service principal) credential|certificates and secrets|app role assignment|"
    r"disable strong authentication|delete.*(policy|authentication method)|reset (user )?password|"
    r"company information|security defaults|cross.tenant|authentication methods policy",
    re.I,
)


def _baseline(view: ChangeView) -> float:
    """Changes that the author made before, decayed; 0 where that is too short to tell."""
    seen = view.principal.seen.get("change")
    if not seen:
        return 0.0
    if view.audit.at - min(each.first for each in seen.values()) < BASELINE_S:
        return 0.0
    total = sum(each.weight for each in seen.values())
    return total if total >= BASELINE else 0.0


@detection("anomalousUserActivity", on="audit", timing="offline")
def unusual_change(view: ChangeView) -> Finding | None:
    """A change that opens doors, by somebody who never made one like it: an administrator with another routine, or a
    user who is no administrator. Of an administrator with too short a past nothing is said."""
    audit = view.audit
    if not audit.success or not OPENS.search(audit.activity):
        return None
    if view.principal.known("change", audit.activity, audit.at) is not None:
        return None
    baseline = _baseline(view)
    sign_in = view.strange_sign_in(WITHIN_S)
    if not baseline and (view.account.administrator or sign_in is None):
        return None
    usual = view.principal.seen.get("change", {})
    said = {
        "activity": audit.activity,
        "target": ", ".join(audit.targets),
        "usualActivities": ", ".join(sorted(usual)),
        "ipAddress": audit.address,
        "administrator": view.account.administrator,
    }
    odds = (1.0 if baseline else 0.5) + (1.5 if sign_in else 0.0)
    return Finding("anomalousUserActivity", odds, said, subject=sign_in.id if sign_in else "")


@detection("anomalousUserActivity", on="audit", timing="offline")
def many_changes(view: ChangeView) -> Finding | None:
    """Within an hour far more changes than this author makes in the busiest of the usual hours."""
    audit, hours = view.audit, view.principal.changes
    now = int(audit.at // 3600)
    within = 1 + (hours[-1][1] if hours and hours[-1][0] == now else 0)
    before = [count for hour, count in hours if hour != now]
    middle = median(before) if before else 0.0
    spread = median(abs(each - middle) for each in before) if before else 0.0
    bound = max(MANY, middle + OVER_MAD * max(spread, 0.5 * middle), 2.0 * max(before, default=0))
    if within <= bound:
        return None
    sign_in = view.strange_sign_in(WITHIN_S)
    said = {"changesWithinHour": within, "usualChangesPerHour": middle, "activity": audit.activity}
    odds = 1.0 + (1.5 if sign_in else 0.0)
    return Finding("anomalousUserActivity", odds, said, subject=sign_in.id if sign_in else "")
