"""Applications: credentials that were added to them and used, and ones that win the consent of many.

Source: MITRE ATT&CK T1098.001, T1528; Microsoft Entra ID Protection for workloads (anomalousServicePrincipalActivity,
suspiciousApplication).
"""

from bartizan.extend.detections import Finding, detection
from bartizan.identity.changes import CONSENT, ChangeView
from bartizan.identity.events import DAY, short
from bartizan.identity.view import View

FRESH_S = 7 * DAY  # since a credential was added
PEOPLE = 5  # who consented within a day
NEW_S = 7 * DAY  # since somebody consented first


@detection("anomalousServicePrincipalActivity", strange=True, timing="offline")
def new_credential_used(view: View) -> Finding | None:
    """A credential that was added within the week, used first from a network that the workload never used. A deployment
    rotates credentials, too, and then signs in from where it always does."""
    event = view.event
    if not event.workload or view.place < 0.5:
        return None
    if event.credential and view.principal.known("credential", short(event.credential), event.at) is not None:
        return None
    application = view.applications.get(event.principal) or view.applications.get(event.name.casefold())
    if application is None or not application.credential or not 0 <= event.at - application.credential <= FRESH_S:
        return None
    said = {
        "credentialAdded": application.credential,
        "addedBy": application.by,
        "auditId": application.audit,
        "keyId": event.credential,
        "ipAddress": event.address,
    }
    return Finding("anomalousServicePrincipalActivity", 2.0, said)


@detection("suspiciousApplication", on="audit", timing="offline")
def consent_of_many(view: ChangeView) -> Finding | None:
    """Several people consent within a day to an application that is new to the tenant, and no administrator did: how a
    phishing link for consent looks. A risk of the application."""
    audit, application = view.audit, view.application
    if application is None or application.approved or not audit.success or not CONSENT.search(audit.activity):
        return None
    if not audit.target_ids or audit.at - application.first > NEW_S:
        return None
    people = sum(audit.at - at < DAY for at in application.users.values())
    if people < PEOPLE:
        return None
    said = {"application": ", ".join(audit.targets[:1]), "principalsConsented": people, "windowHours": 24}
    odds = min(3.5, 1.0 + 0.3 * people)
    return Finding("suspiciousApplication", odds, said, principal=audit.target_ids[0])
