"""A person who says that a prompt was not theirs: no odds, a fact.

Source: Microsoft Entra, "Report suspicious activity" (audit activities "Suspicious activity reported", "Fraud reported
- user is blocked for MFA", "Fraud reported - no action taken"); MITRE ATT&CK T1621.
"""

import re

from bartizan.extend.detections import Finding, detection
from bartizan.identity.changes import ChangeView

REPORTED = re.compile(r"suspicious activity reported|fraud reported", re.I)
WITHIN_S = 24 * 3600.0


@detection("userReportedSuspiciousActivity", on="audit", timing="offline")
def user_report(view: ChangeView) -> Finding | None:
    """Of whoever the record names as its author; it points at the riskiest sign-in of the day before, from anywhere:
    the report comes from the person's own phone, the prompt came from elsewhere."""
    audit = view.audit
    if not audit.success or not REPORTED.search(audit.activity):
        return None
    sign_in = view.last_sign_in(WITHIN_S)
    said = {"activity": audit.activity, "reportedBy": audit.name, "reportedSignIn": sign_in.id if sign_in else ""}
    subject = sign_in.id if sign_in else ""
    return Finding("userReportedSuspiciousActivity", 6.0, said, proven=True, subject=subject)
