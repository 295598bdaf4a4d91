"""A federated issuer by which nobody of the tenant came before: a forged trust, or a stolen signing key (Golden SAML).

A company that changes its identity provider looks alike on the first days: so the weight is moderate where the person
is at home, and falls with the number of people who come by it.

Source: MITRE ATT&CK T1606.002, T1484.002; Microsoft Entra ID Protection (tokenIssuerAnomaly).
"""

from bartizan.extend.detections import Finding, detection
from bartizan.identity.view import View

ESTABLISHED = 5  # people who came by an issuer until it counts as the tenant's own


@detection("tokenIssuerAnomaly", timing="offline")
def token_issuer_anomaly(view: View) -> Finding | None:
    event = view.event
    if not event.issuer or event.workload:
        return None
    come = view.issuers.get(event.issuer, {})
    if len(come) >= ESTABLISHED or event.principal in come:
        return None
    established = sorted(issuer for issuer, people in view.issuers.items() if len(people) >= ESTABLISHED)
    if not established:
        return None  # nothing is known yet of how this tenant signs in
    said = {
        "tokenIssuer": event.issuer,
        "usualTokenIssuers": ", ".join(established),
        "principalsByThisIssuer": len(come),
        "incomingTokenType": event.token,
    }
    odds = (2.5 if view.strange else 1.2) - 0.3 * len(come)
    return Finding("tokenIssuerAnomaly", odds, said)
