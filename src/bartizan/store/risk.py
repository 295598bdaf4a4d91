"""A risk detection and the risk event of 2018 that it also is: one fact, two documents, put together.

Source: Microsoft Graph, resources riskDetection and (beta documentation of 2018) identityRiskEvent.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from bartizan.store.draft import draft
from bartizan.store.interface import Collection, Column, Stored, Tx

RISK_EVENTS = Collection(
    "identityRiskEvents",
    type="microsoft.graph.identityRiskEvent",
    columns=(
        Column("createdDateTime", "instant"),
        Column("riskEventDateTime", "instant"),
        Column("riskEventType"),
        Column("riskLevel", "enum"),
        Column("riskEventStatus", "enum"),
        Column("userId"),
        Column("userPrincipalName", fold=True),
    ),
    order=(("createdDateTime", True),),
)

# riskEventType of today -> the kind of risk event that it was then; what is not here is an identityRiskEvent as such.
_KINDS = {
    "anonymizedIPAddress": "anonymousIpRiskEvent",
    "unlikelyTravel": "impossibleTravelRiskEvent",
    "impossibleTravel": "impossibleTravelRiskEvent",
    "mcasImpossibleTravel": "impossibleTravelRiskEvent",
    "leakedCredentials": "leakedCredentialsRiskEvent",
    "malwareInfectedIPAddress": "malwareRiskEvent",
    "maliciousIPAddress": "suspiciousIpRiskEvent",
    "suspiciousIPAddress": "suspiciousIpRiskEvent",
    "riskyIPAddress": "suspiciousIpRiskEvent",
    "nationStateIP": "suspiciousIpRiskEvent",
    "unfamiliarFeatures": "unfamiliarLocationRiskEvent",
}
_STATUS = {
    "remediated": "remediated",
    "dismissed": "dismissedAsIgnore",
    "confirmedSafe": "dismissedAsFalsePositive",
}
_LEVELS = ("low", "medium", "high")
_MORE = {
    "impossibleTravelRiskEvent": ("userAgent", "deviceInformation"),
    "malwareRiskEvent": ("deviceInformation", "malwareName"),
}
_pairs = msgspec.json.Decoder(list[Any]).decode


def risk_event(detection: Mapping[str, Any]) -> dict[str, Any]:
    """The risk event (inner form) of a risk detection (inner form)."""
    kind = _KINDS.get(str(detection.get("riskEventType")), "identityRiskEvent")
    state = str(detection.get("riskState"))
    level = detection.get("riskLevel")
    event = {
        "@odata.type": f"#microsoft.graph.{kind}",
        "createdDateTime": detection.get("detectedDateTime"),
        "riskEventDateTime": detection.get("activityDateTime"),
        "closedDateTime": detection.get("lastUpdatedDateTime") if state in _STATUS else None,
        "riskEventStatus": _STATUS.get(state, "active"),
        "riskEventType": kind[0].upper() + kind[1:] if kind != "identityRiskEvent" else detection.get("riskEventType"),
        "riskLevel": level if level in _LEVELS else None,
        "userId": detection.get("userId"),
        "userDisplayName": detection.get("userDisplayName"),
        "userPrincipalName": detection.get("userPrincipalName"),
    }
    if kind not in ("identityRiskEvent", "leakedCredentialsRiskEvent"):
        event |= {"ipAddress": detection.get("ipAddress"), "location": detection.get("location")}
    more = _MORE.get(kind)
    if more:
        said = _said(detection.get("additionalInfo"))
        event |= {name: said[name] for name in more if name in said}
    return event


def _said(additional: Any) -> dict[str, str]:
    """The texts of a detection's additionalInfo: a JSON string of [{"Key": ..., "Value": ...}]; {} if it is not."""
    try:
        pairs = _pairs(additional) if isinstance(additional, str) else []
    except msgspec.DecodeError:
        return {}
    return {
        str(pair["Key"]): pair["Value"]
        for pair in pairs
        if isinstance(pair, dict) and "Key" in pair and isinstance(pair.get("Value"), str)
    }


def put_detection(
    tx: Tx,
    collection: Collection,
    detection: Mapping[str, Any],
    id: str,
    *,
    unless_exists: bool = False,
    changed: Mapping[str, tuple[Any, Any]] | None = None,
) -> Stored | None:
    """Stores a detection and its risk event under one id; None if it was there and `unless_exists`."""
    stored = tx.put(draft(collection, detection, id), unless_exists=unless_exists, changed=changed)
    if stored is not None:
        tx.put(draft(RISK_EVENTS, risk_event(detection), id))
    return stored
