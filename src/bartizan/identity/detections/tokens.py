"""A session that goes on elsewhere: stolen cookies and refresh tokens.

One laptop that moves between networks of its user is no news; another kind of system or of network is.

Source: MITRE ATT&CK T1539, T1550.004; Microsoft Entra ID Protection (anomalousToken).
"""

from bartizan.extend.detections import Finding, detection
from bartizan.identity.view import View, kit_of
from bartizan.intel.networks import Kind


@detection("anomalousToken")
def anomalous_token(view: View) -> Finding | None:
    event = view.event
    session = view.principal.sessions.get(event.session) if event.session else None
    if session is None or view.known_device or view.shared or event.asn in session.asns:
        return None
    kit = kit_of(event)
    other_kit = not any(each.partition("/")[0] == event.os for each in session.kits)
    other_country = bool(event.country) and event.country not in session.countries
    hosting = bool(view.kinds & Kind.HOSTING)
    if not (other_kit or (view.strange and (other_country or hosting))):
        return None
    log_odds = 2.0 * other_kit + 1.0 * (view.strange and other_country) + 0.5 * (view.strange and hosting)
    said = {
        "sessionId": event.session,
        "kit": kit,
        "previousKits": ", ".join(session.kits),
        "previousCountries": ", ".join(session.countries),
        "previousNetworks": ", ".join(f"AS{each}" for each in session.asns),
    }
    return Finding("anomalousToken", min(3.5, log_odds), said)
