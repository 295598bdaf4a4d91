"""A session that goes on elsewhere: stolen cookies and refresh tokens.

One laptop that moves between networks of its user is no news; another kind of system or of network is.

Source: MITRE ATT&CK T1539, T1550.004; Microsoft Entra ID Protection (anomalousToken).
"""

from bartizan.extend.detections import Finding, detection
from bartizan.identity.state import Session
from bartizan.identity.view import FAR_KM, FAST_KMH, View, kilometres, kit_of
from bartizan.intel import Kind

HOSTING = 1.5  # a session that goes on in a data centre of which nobody else of the tenant comes


def _travelled(view: View, session: Session) -> bool:
    """Whether its device can have come here since it was last used, from where in its countries the person was; or the
    person at all, for a telephone that roams is told to be at home until it takes another network."""
    event = view.event
    if event.latitude is None or event.longitude is None:
        return False
    if view.moved() is None:
        return True
    left = [each for each in view.principal.places if each.country in session.countries]
    if not left:
        return False
    away = max(60.0, abs(event.at - session.last))
    far = min(kilometres(event.latitude, event.longitude, each.latitude, each.longitude) for each in left)
    return far <= FAR_KM or far / away * 3600 <= FAST_KMH


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
    hosting = elsewhere and bool(view.kinds & Kind.HOSTING) and view.tenant_asn < 2  # where nobody travels to
    elsewhere = elsewhere and not _travelled(view, session)
    other_country = elsewhere and bool(event.country) and event.country not in session.countries
    if not (other_system or other_country or hosting):
        return None
    log_odds = 2.5 * other_system + 1.0 * other_country + HOSTING * hosting
    said = {
        "sessionId": event.session,
        "kit": kit,
        "previousKits": ", ".join(session.kits),
        "previousCountries": ", ".join(session.countries),
        "previousNetworks": ", ".join(f"AS{each}" for each in session.asns),
    }
    return Finding("anomalousToken", min(3.5, log_odds), said)
