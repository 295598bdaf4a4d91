"""A session that goes on elsewhere: stolen cookies and refresh tokens.

One laptop that moves between networks of its user is no news; another kind of system or of network is.

Source: MITRE ATT&CK T1539, T1550.004; Microsoft Entra ID Protection (anomalousToken).
"""

from bartizan.extend.detections import Finding, detection
from bartizan.identity.view import View, kit_of
from bartizan.intel import Kind


@detection("anomalousToken")
def anomalous_token(view: View) -> Finding | None:
    event = view.event
    session = view.principal.sessions.get(event.keys[3]) if event.session else None
    if session is None or view.known_device:
        return None
    kit = kit_of(event)
    systems = {each.partition("/")[0] for each in session.kits} - {""}
    other_system = bool(event.os and systems) and event.os not in systems
    elsewhere = event.asn not in session.asns and not view.shared and view.strange
    elsewhere = elsewhere and (event.latitude is None or view.moved() is not None)  # else it may have travelled
    other_country = elsewhere and bool(event.country) and event.country not in session.countries
    hosting = elsewhere and bool(view.kinds & Kind.HOSTING)
    if not (other_system or other_country or hosting):
        return None
    log_odds = 2.5 * other_system + 1.0 * other_country + 0.5 * hosting
    said = {
        "sessionId": event.session,
        "kit": kit,
        "previousKits": ", ".join(session.kits),
        "previousCountries": ", ".join(session.countries),
        "previousNetworks": ", ".join(f"AS{each}" for each in session.asns),
    }
    return Finding("anomalousToken", min(3.5, log_odds), said)
