"""Alerts that clients send in Graph's own shape, as a body of either face; the other face is derived.

Source: `POST security/alerts_v2`, `createAlert`, `POST security/alerts` of Microsoft Graph (beta).
"""

import re
from collections.abc import Mapping
from typing import Any

from bartizan.errors import BadRequest
from bartizan.model import entities, evidence, from_legacy, legacy, workflow
from bartizan.model.faces import (
    LEGACY_WORDS,
    STAMPED,
    TODAY_WORDS,
    AlertState,
    common,
    content_key,
    product_name,
    provider_comment,
)
from bartizan.model.ids import stable_id
from bartizan.model.workflow import Words

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~:@$!+=-]{0,255}")
_TECHNIQUE = re.compile(r"T\d{4}(?:\.\d{3})?")

# What Microsoft's own services are called in vendorInformation.provider of the legacy alert.
_LEGACY_PROVIDERS = {
    "microsoftDefenderForEndpoint": "Microsoft Defender ATP",
    "microsoftDefenderForIdentity": "Azure Advanced Threat Protection",
    "microsoftDefenderForCloud": "ASC",
    "microsoftDefenderForCloudApps": "MCAS",
    "azureAdIdentityProtection": "IPC",
    "microsoftSentinel": "Azure Sentinel",
}
_SERVICES = {name.lower(): service for service, name in _LEGACY_PROVIDERS.items()}


def from_today(body: Mapping[str, Any], tenant: str, received: str) -> AlertState:
    """Of a body of `microsoft.graph.security.alert` (inner form): POST alerts_v2, createAlert. The legacy face is
    derived. An id that the client gives is kept; without one it derives from what the body says."""
    items = _checked_evidence(body)
    v2 = {name: value for name, value in body.items() if name not in (*TODAY_WORDS, *STAMPED, "id")}
    _default(v2, severity="unknown", serviceSource="unknown", detectionSource="unknown")
    first = body.get("firstActivityDateTime") or body.get("lastActivityDateTime")
    _more(v2, timeSource=None if first else "received", sourceCreatedDateTime=body.get("createdDateTime"))
    product = v2.get("productName") or v2["serviceSource"]
    key = body.get("providerAlertId") or body.get("id") or content_key(body)
    v2 |= {
        "evidence": evidence.complete(evidence.distinct(items), received),
        "firstActivityDateTime": first or received,
        "lastActivityDateTime": body.get("lastActivityDateTime") or first or received,
        "providerAlertId": key,
        "tenantId": tenant,
        "categories": v2.get("categories") or ([v2["category"]] if v2.get("category") else []),
    }
    old = {
        **common(v2),
        **legacy.states(v2["evidence"], _threat(v2)),
        "vendorInformation": _vendor(v2, str(product)),
    }
    techniques = v2.get("mitreTechniques") or []
    words = Words(
        status=body.get("status") or "new",
        classification=body.get("classification"),
        determination=body.get("determination"),
        assignedTo=body.get("assignedTo"),
        tags=list(dict.fromkeys([*(body.get("systemTags") or []), *techniques])),
        comments=[{"createdDateTime": received, **one} for one in body.get("comments") or []],
    )
    words.legacyStatus, words.feedback = workflow.to_legacy(words.status, words.classification)
    words.closed = body.get("resolvedDateTime") or (received if words.status == "resolved" else None)
    return _of_client(body, (tenant, "alerts_v2", str(product), str(key)), v2, old, words, body.get("incidentId"))


def from_old(body: Mapping[str, Any], tenant: str, received: str) -> AlertState:
    """Of a body of the legacy `microsoft.graph.alert` (inner form): POST alerts. Today's face is derived; what it has
    no place for stands in its additionalData."""
    _checked_states(body)
    old = {name: value for name, value in body.items() if name not in (*LEGACY_WORDS, *STAMPED, "id")}
    _default(old, severity="unknown")
    old["incidentIds"] = list(body.get("incidentIds") or [])
    vendor = dict(old.get("vendorInformation") or {})
    _default(vendor, provider="custom", vendor="custom")
    key = body.get("id") or content_key(body)
    first = body.get("eventDateTime")
    old |= {"azureTenantId": tenant, "vendorInformation": vendor, "eventDateTime": first or received}
    v2 = _today_of_legacy(old, tenant, str(key), received)
    _more(v2, timeSource=None if first else "received", sourceCreatedDateTime=body.get("createdDateTime"))
    tags = [str(tag) for tag in body.get("tags") or []]
    v2["mitreTechniques"] = [tag for tag in tags if _TECHNIQUE.fullmatch(tag)]
    words = Words(
        legacyStatus=body.get("status") or "newAlert",
        feedback=body.get("feedback"),
        assignedTo=body.get("assignedTo"),
        tags=tags,
        comments=[provider_comment(text, received) for text in body.get("comments") or []],
    )
    words.status, words.classification = workflow.to_today(words.legacyStatus, words.feedback)
    words.closed = body.get("closedDateTime") or (received if words.status == "resolved" else None)
    incident = next(iter(old["incidentIds"]), None)
    made = _of_client(
        body, (tenant, str(vendor["vendor"]), str(vendor["provider"]), str(key)), v2, old, words, incident
    )
    made.history = list(body.get("historyStates") or [])[-workflow.MAX_HISTORY :]
    return made


def _today_of_legacy(old: Mapping[str, Any], tenant: str, key: str, received: str) -> dict[str, Any]:
    vendor = old["vendorInformation"]
    items = evidence.complete(evidence.distinct(from_legacy.evidence(old)), received)
    malware = next((one for one in old.get("malwareStates") or [] if isinstance(one, dict)), {})
    materials = old.get("sourceMaterials") or []
    advice = old.get("recommendedActions") or []
    more = {name: old[name] for name in _UNMAPPED if old.get(name) not in (None, [])}
    cves = [one["cve"] for one in old.get("vulnerabilityStates") or [] if one.get("cve")]
    if cves:
        more["vulnerabilities"] = cves
    return {
        "actorDisplayName": old.get("activityGroupName"),
        "additionalData": more or None,
        "alertWebUrl": next(iter(materials), None),
        "categories": [old["category"]] if old.get("category") else [],
        "category": old.get("category"),
        "description": old.get("description"),
        "detectionSource": "unknown",
        "detectorId": next(iter(old.get("detectionIds") or []), None),
        "evidence": items,
        "firstActivityDateTime": old["eventDateTime"],
        "lastActivityDateTime": old.get("lastEventDateTime") or old["eventDateTime"],
        "productName": product_name(vendor["vendor"], vendor["provider"]),
        "providerAlertId": key,
        "recommendedActions": "\n".join(str(line) for line in advice) or None,
        "serviceSource": _SERVICES.get(str(vendor["provider"]).lower(), "unknown"),
        "severity": old["severity"],
        "tenantId": tenant,
        "threatDisplayName": malware.get("name"),
        "threatFamilyName": malware.get("family"),
        "title": old.get("title"),
    }


# Legacy properties that today's alert has no place for.
_UNMAPPED = (
    "activityGroupStates",
    "alertDetections",
    "applicationStates",
    "confidence",
    "investigationSecurityStates",
    "malwareWasRunning",
    "riskScore",
    "securityResources",
    "triggers",
    "type",
)


def _of_client(
    body: Mapping[str, Any],
    key: tuple[str, ...],
    v2: dict[str, Any],
    old: dict[str, Any],
    words: Words,
    incident: str | None,
) -> AlertState:
    given = body.get("id")
    if given is not None and not (isinstance(given, str) and _ID.fullmatch(given)):
        raise BadRequest(
            "'id' must be 1 to 256 letters, digits or any of . _ ~ : @ $ ! + = -, and begin with a letter or digit"
        )
    named = entities.of_alert([*v2["evidence"], *from_legacy.evidence(old)])
    return AlertState(
        id=given or stable_id(*key),
        v2=v2,
        legacy=old,
        provider=words,
        now=words,
        incident=incident,
        entities=named,
        seen=[content_key(body)],
    )


def _vendor(v2: Mapping[str, Any], product: str) -> dict[str, Any]:
    service = str(v2["serviceSource"])
    if service != "unknown":
        return {"vendor": "Microsoft", "provider": _LEGACY_PROVIDERS.get(service, v2.get("productName") or service)}
    return {"vendor": product.partition(" ")[0], "provider": product}


def _threat(v2: Mapping[str, Any]) -> dict[str, Any]:
    threat = {"name": v2.get("threatDisplayName"), "family": v2.get("threatFamilyName")}
    known = {key: value for key, value in threat.items() if value}
    more = v2.get("additionalData") or {}
    cves = more.get("vulnerabilities")
    return {
        "malwareStates": [known] if known else [],
        "vulnerabilityStates": [{"cve": cve} for cve in cves if isinstance(cve, str)] if isinstance(cves, list) else [],
    }


def _default(into: dict[str, Any], **values: Any) -> None:
    for name, value in values.items():
        if into.get(name) is None:
            into[name] = value


def _more(v2: dict[str, Any], **values: Any) -> None:
    """Into additionalData, what is not None and not there."""
    more = dict(v2.get("additionalData") or {})
    for name, value in values.items():
        if value is not None:
            more.setdefault(name, value)
    v2["additionalData"] = more or None


def _checked_evidence(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    items = body.get("evidence") or []
    if len(items) > evidence.MAX_EVIDENCE:
        raise BadRequest(f"'evidence' has {len(items)} objects; the most is {evidence.MAX_EVIDENCE}")
    return list(items)


def _checked_states(body: Mapping[str, Any]) -> None:
    for name in legacy.STATES:
        if len(body.get(name) or []) > evidence.MAX_EVIDENCE:
            raise BadRequest(f"'{name}' has {len(body[name])} objects; the most is {evidence.MAX_EVIDENCE}")
