"""The risk events of 2018: seven sets that old connectors read, rendered from today's risk detections.

Source: Microsoft Graph beta documentation of 2018-07 to 2021-07, resources identityRiskEvent and its kinds.
"""

from bartizan.extend import BOTH, Can, resource
from bartizan.odata.tree import In, Literal, Path
from bartizan.store.risk import RISK_EVENTS

_READ = "IdentityRiskEvent.Read.All"
_KINDS = ("anonymousIp", "impossibleTravel", "leakedCredentials", "malware", "suspiciousIp", "unfamiliarLocation")
_LOCATED = tuple(kind for kind in _KINDS if kind != "leakedCredentials")
_TYPE = Path(("riskEventType",), kind="text")


def _word(kind: str) -> str:
    """`anonymousIp` -> `AnonymousIpRiskEvent`, the riskEventType of those years."""
    return f"{kind[0].upper()}{kind[1:]}RiskEvent"


resource(
    "identityRiskEvents",
    "microsoft.graph.identityRiskEvent",
    collection=RISK_EVENTS,
    can=Can.READ,
    read=_READ,
    versions=BOTH,
    throttle="identityProtection",
)
for kind in _KINDS:
    resource(
        f"{kind}RiskEvents",
        f"microsoft.graph.{kind}RiskEvent",
        collection=RISK_EVENTS,
        can=Can.READ,
        read=_READ,
        rows=In(_TYPE, (Literal(_word(kind), "text"),)),
        throttle="identityProtection",
    )
resource(
    "locatedRiskEvents",
    "microsoft.graph.locatedRiskEvent",
    collection=RISK_EVENTS,
    can=Can.GET,
    read=_READ,
    rows=In(_TYPE, tuple(Literal(_word(kind), "text") for kind in _LOCATED)),
    throttle="identityProtection",
)
