"""What a match of an indicator brings about: alerts, orders to block, marks. Pure: no store, no clock.

Source: Microsoft Graph beta, resource tiIndicator (action, expirationDateTime, isActive, knownFalsePositives,
passiveOnly, severity).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from bartizan.detect import marks
from bartizan.detect.columns import evidence_of
from bartizan.detect.marks import Pair
from bartizan.detect.results import shown
from bartizan.model import entities
from bartizan.model import security as graph
from bartizan.model.alert import Alert, Observed, Severity
from bartizan.model.ids import stable_id
from bartizan.model.times import parse

VENDOR = "Bartizan"
PRODUCT = "Threat Indicators"
MAX_COPIED = 20  # evidence objects of the alert that was matched
_SEVERITIES: Sequence[Severity] = ("informational", "low", "low", "medium", "high", "high")
_CATEGORIES = {
    "botnet": "CommandAndControl",
    "c2": "CommandAndControl",
    "cryptomining": "Impact",
    "ddos": "Impact",
    "maliciousurl": "Malware",
    "malware": "Malware",
    "phishing": "Phishing",
    "pua": "UnwantedSoftware",
}
_BLOCKS = {"address": ("blockAddress", "ip"), "domain": ("blockDomain", "domain"), "url": ("blockUrl", "url")}
_HASHES = {32: "md5", 40: "sha1", 64: "sha256"}


class Sighting(Struct, frozen=True):
    """Something that was seen: an alert, a sign-in, or an event."""

    collection: str  # or the table of an event
    id: str
    body: Mapping[str, Any]  # as it is served; the row of an event
    entities: Sequence[tuple[str, str, str]]  # kind, value, role
    at: str  # when it happened, wire text
    subject: str  # whom or what it is about: one alert a day for each
    seen: Sequence[tuple[str, str, str]] | None = None  # of an event, the entities that indicators are asked of

    @property
    def asked(self) -> Sequence[tuple[str, str, str]]:
        return self.entities if self.seen is None else self.seen

    @property
    def is_event(self) -> bool:
        return self.seen is not None


class Hit(Struct, frozen=True):
    """A sighting that an indicator knows, by what."""

    indicator: Mapping[str, Any]
    pair: Pair  # the mark
    entity: tuple[str, str, str]  # of the sighting
    sighting: Sighting

    @property
    def action(self) -> str:
        return str(self.indicator.get("action") or "unknown")

    @property
    def passive(self) -> bool:
        return bool(self.indicator.get("passiveOnly")) or self.action == "unknown"


def sighting_of(collection: str, id: str, body: Mapping[str, Any], found: Sequence[tuple[str, str, str]]) -> Sighting:
    if collection == "signIns":
        subject = str(body.get("userId") or body.get("userPrincipalName") or body.get("servicePrincipalId") or id)
        return Sighting(collection, id, body, found, str(body.get("createdDateTime") or ""), subject)
    at = str(body.get("lastActivityDateTime") or body.get("createdDateTime") or "")
    subject = next((value for wanted in ("host", "user", "mailbox") for kind, value, _ in found if kind == wanted), id)
    return Sighting(collection, id, body, found, at, subject)


def counts(indicator: Mapping[str, Any], now: str) -> bool:
    """Whether it is in force now."""
    return indicator.get("isActive") is not False and str(indicator.get("expirationDateTime") or "") > now


def fits(hit: Hit) -> bool:
    """Checked again on what the index has found: of a sign-in only who comes from an address counts, of an event that
    says which end an address was only an indicator that speaks of this one."""
    end = hit.entity[2] if hit.sighting.is_event else "source" if hit.sighting.collection == "signIns" else ""
    addressed = hit.pair[0] in ("address", "network")
    return (not addressed or marks.speaks_of(hit.indicator, hit.pair, end)) and not _known_false(hit)


def _known_false(hit: Hit) -> bool:
    """Whether what the indicator says of its false positives names one of the sighting's entities."""
    said = str(hit.indicator.get("knownFalsePositives") or "").lower()
    if not said:
        return False
    words = {word.strip(".:!?") for word in re.split(r"[\s,;|()\[\]\"']+", said)}
    own = hit.pair[1]  # the observable itself says nothing of whom it is wrong for
    return any(value != own and value in words for _, value, _ in hit.sighting.entities)


def allowed(sighting: Sighting, hits: Sequence[Hit]) -> str | None:
    """The indicator that suppresses an alert: those that allow speak of all that it names from outside."""
    allowing = [hit for hit in hits if hit.action == "allow" and not hit.passive]
    named = {each[:2] for each in marks.of_interest(sighting.entities)}
    if not allowing or not named or not named <= {hit.entity[:2] for hit in allowing}:
        return None
    return str(allowing[0].indicator["id"])


def wanted(hits: Sequence[Hit]) -> list[Hit]:
    """Those that raise an alert: not of what another indicator allows."""
    fine = {hit.entity[:2] for hit in hits if hit.action == "allow" and not hit.passive}
    return [hit for hit in hits if hit.action in ("alert", "block") and not hit.passive and hit.entity[:2] not in fine]


def alert_key(hit: Hit) -> str:
    return stable_id("indicatorAlert", str(hit.indicator["id"]), hit.sighting.subject, hit.sighting.at[:10])


def alert_of(hits: Sequence[Hit]) -> Alert:
    """Of hits of one indicator on one subject and day."""
    first = hits[0]
    of = first.indicator
    times = sorted(at for hit in hits if (at := _instant(hit.sighting.at)) is not None)
    threat = str(of.get("threatType") or "")
    category = _CATEGORIES.get(threat.lower(), "SuspiciousActivity")
    kind, value = first.pair
    shown = of.get("description") or f"{kind} {value}"
    evidence: dict[str, graph.AlertEvidence] = {}
    for hit in hits:
        for item in (_observable(hit.entity), *_around(hit)):
            evidence.setdefault(repr(item), item)
    return Alert(
        vendor=VENDOR,
        product=PRODUCT,
        provider_alert_id=alert_key(first),
        title=f"Threat indicator matched: {shown}"[:256],
        description=f"{first.entity[0]} {first.entity[1]} is known as {threat or 'a threat'}: {shown}",
        severity=_SEVERITIES[min(5, max(0, int(of.get("severity") or 0)))],
        category=category,
        categories=[category],
        vendor_category=threat or None,
        detector_id=str(of["id"]),
        detection_source="customTi",
        service_source="microsoft365Defender",
        first_activity=times[0] if times else None,
        last_activity=times[-1] if times else None,
        source_updated=times[-1] if times else None,
        threat_name=threat or None,
        threat_family=next(iter(of.get("malwareFamilyNames") or []), None),
        actor=next(iter(of.get("activityGroupNames") or []), None),
        confidence=of.get("confidence"),
        tags=[str(each) for each in of.get("tags") or []],
        evidence=list(evidence.values())[: MAX_COPIED + len(hits)][: 2 * MAX_COPIED],
        entities=[Observed(*first.entity)],
        additional=_additional(first),
        fingerprint=(str(of["id"]), first.sighting.subject),
    )


def _additional(hit: Hit) -> dict[str, Any]:
    of = hit.indicator
    told = {"tiIndicatorId": of["id"], "observable": f"{hit.pair[0]} {hit.pair[1]}", "action": hit.action}
    names = ("externalId", "tlpLevel", "killChain", "knownFalsePositives", "additionalInformation")
    told |= {name: of[name] for name in names if of.get(name)}
    told |= {"matchedIn": hit.sighting.collection, "matchedId": hit.sighting.id}
    return {**told, "row": shown(hit.sighting.body)} if hit.sighting.is_event else told


def _instant(text: str) -> str | None:
    try:
        return parse(text)
    except ValueError:
        return None


def _observable(entity: tuple[str, str, str]) -> graph.AlertEvidence:
    kind, value, _ = entity
    if kind == "address":
        return graph.IpEvidence(ipAddress=value, verdict="suspicious")
    if kind == "domain":
        return graph.DnsEvidence(domainName=value, verdict="suspicious")
    if kind == "url":
        return graph.UrlEvidence(url=value, verdict="suspicious")
    if kind == "hash":
        return graph.FileHashEvidence(value=value, verdict="suspicious")
    return graph.MailboxEvidence(primaryAddress=value, verdict="suspicious")


def _around(hit: Hit) -> list[graph.AlertEvidence]:
    """Whom it concerns: of a sign-in its user, of an alert its devices, users and mailboxes, of an event all that its
    row names."""
    if hit.sighting.is_event:
        own = _observable(hit.entity)
        found, _ = evidence_of([hit.sighting.body], [])
        return [each for each in found[:MAX_COPIED] if not _is_same(each, own)]
    if hit.sighting.collection == "signIns":
        body = hit.sighting.body
        upn = body.get("userPrincipalName")
        account = graph.UserAccount(
            userPrincipalName=upn,
            accountName=str(upn).partition("@")[0] if upn else None,
            azureAdUserId=body.get("userId"),
            displayName=body.get("userDisplayName"),
        )
        request = graph.CloudLogonRequestEvidence(requestId=hit.sighting.id)
        return [graph.UserEvidence(userAccount=account), request] if upn or body.get("userId") else [request]
    named: list[graph.AlertEvidence] = []
    for kind, value, _ in hit.sighting.entities:
        if (kind, value) == hit.entity[:2] or len(named) >= MAX_COPIED:
            continue
        if kind == "host":
            dotted = value if "." in value else None
            named.append(graph.DeviceEvidence(hostName=value.partition(".")[0], deviceDnsName=dotted))
        elif kind == "user":
            named.append(graph.UserEvidence(userAccount=_account(value)))
    return named


def _is_same(item: graph.AlertEvidence, observable: graph.AlertEvidence) -> bool:
    """Whether it is what was matched, which the alert names already."""
    fields = ("ipAddress", "domainName", "url", "value", "primaryAddress")
    mine, its = ([str(getattr(of, name, None)).lower() for name in fields] for of in (item, observable))
    return type(item) is type(observable) and mine == its


def _account(value: str) -> graph.UserAccount:
    if "@" in value:
        return graph.UserAccount(userPrincipalName=value, accountName=value.partition("@")[0])
    if value.startswith("s-1-"):
        return graph.UserAccount(userSid=value.upper())
    return graph.UserAccount(accountName=value)


def block_of(hit: Hit) -> dict[str, Any] | None:
    """The securityAction that blocks what was seen; None where no action blocks its kind."""
    kind, value, _ = hit.entity
    name, parameter = _BLOCKS.get(kind, ("", ""))
    if kind == "hash" and len(value) in _HASHES:
        name, parameter = "blockFile", _HASHES[len(value)]
    if kind == "domain":
        value = hit.pair[1]  # what the indicator names, not the one host below it
    if not name or (kind == "domain" and entities.domain(value) is None):
        return None
    reason = f"Threat indicator {hit.indicator.get('description') or hit.indicator['id']}"[:1_000]
    return {"name": name, "actionReason": reason, "parameters": [{"name": parameter, "value": value}]}
