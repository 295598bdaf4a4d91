"""The state of one alert, and the two faces that are rendered from it.

State is made from a provider's `Alert`, or from a client's body of either face; it changes by an analyst's PATCH
through either face, by a later record of the provider, and by moving to an incident. All functions are pure: state
in, state out.

As bytes (`encode`) it is the inner form of today's face with one member more, and one for why the alert is in
its incident (LINK), so that whoever reads the stored inner object finds the alert in it.

Source: shape of the state and rules of precedence in ARCHITECTURE.md, "One alert, two faces".
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from bartizan.model import entities, evidence, from_legacy, legacy, workflow
from bartizan.model.alert import Alert, Observed
from bartizan.model.ids import stable_id
from bartizan.model.nul import has_nul, without_nul
from bartizan.model.workflow import Who, Words

TODAY = "microsoft.graph.security.alert"
LEGACY = "microsoft.graph.alert"
MAX_SEEN = 256  # versions of one record whose repeats are recognised; a finding that changes hourly for 10 days

_OWN = "@bartizan"
_canonical = msgspec.json.Encoder(order="deterministic").encode
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode

# What this server says of an alert in its additionalData; clients and records cannot. (A property of beta alone would
# make the documents of the two versions differ, and each alert twice as large.)
FOLDED_INTO = "foldedIntoAlertId"
FOLDED, FOLDED_FIRST, FOLDED_LAST = "foldedAlertCount", "foldedFirstActivityDateTime", "foldedLastActivityDateTime"
SUPPRESSION = "suppressionId"
MARKS = (FOLDED_INTO, FOLDED, FOLDED_FIRST, FOLDED_LAST, SUPPRESSION)
EXCLUDED = "isExcludedFromCorrelation"  # Graph's, of createAlertInput; whoever detaches an alert says it too
SOURCE_INCIDENT = "sourceIncidentId"  # in additionalData: the incident of its source that the source has put it into
SUPPRESSED = "suppressed"  # a system tag
LINK = "@bartizan.link"  # in an alert's state: why it is in its incident
CORRELATION = "@bartizan.correlation"  # in an incident's state: what correlation said of it, the parts of its priority

STAMPED = ("createdDateTime", "lastUpdateDateTime", "lastModifiedDateTime")  # by the store, in both faces
TODAY_WORDS = (
    "status",
    "classification",
    "determination",
    "assignedTo",
    "resolvedDateTime",
    "systemTags",
    "comments",
    "incidentId",
)
LEGACY_WORDS = (
    "status",
    "feedback",
    "assignedTo",
    "closedDateTime",
    "tags",
    "comments",
    "historyStates",
    "incidentIds",
)


class AlertState(Struct, kw_only=True):
    """All that is known of one alert."""

    id: str
    v2: dict[str, Any]  # inner form of today's face as the provider has it, without what is in `now`
    legacy: dict[str, Any]  # of the legacy face alike
    provider: Words  # what the provider says of its handling
    now: Words  # what both faces show: the latest explicit change of each word
    analyst: dict[str, Any] = {}  # the latest word of an analyst, by the names of `Words`, with `by` and `at`
    history: list[dict[str, Any]] = []  # legacy historyStates
    changes: int = 0  # of analysts; more than `history` shows
    incident: str | None = None
    entities: list[Observed] = []
    seen: list[str] = []  # content hashes of the provider's records that are in here
    version: str | None = None  # when the source made the newest of them, where it says so
    fingerprint: list[str] = []
    link: dict[str, Any] | None = None  # why it is in its incident, where correlation or somebody has put it there


class _Own(Struct, kw_only=True, omit_defaults=True):
    """What the inner form of today's face does not say."""

    legacy: dict[str, Any]
    provider: Words
    now: Words
    analyst: dict[str, Any] = {}
    history: list[dict[str, Any]] = []
    changes: int = 0
    entities: list[tuple[str, str, str]] = []
    seen: list[str] = []
    version: str | None = None
    fingerprint: list[str] = field(default_factory=list)


def encode(state: AlertState, stamps: Mapping[str, str] | None = None) -> bytes:
    """`stamps` are what the store puts in beside: its own properties of today's face."""
    own = _Own(
        legacy=state.legacy,
        provider=state.provider,
        now=state.now,
        analyst=state.analyst,
        history=state.history,
        changes=state.changes,
        entities=[(one.kind, one.value, one.role) for one in state.entities],
        seen=state.seen,
        version=state.version,
        fingerprint=state.fingerprint,
    )
    whole = today(state)
    whole.update(stamps or {})
    whole[_OWN] = own
    if state.link is not None:
        whole[LINK] = state.link
    content = _encode(whole)
    if has_nul(content):
        content = _encode(without_nul(_decode(content)))
    return content


def decode(content: bytes) -> AlertState:
    """Back from `encode`; ValueError where the bytes are something else."""
    whole = _decode(content)
    own, link = msgspec.convert(whole.pop(_OWN, None), _Own), whole.pop(LINK, None)
    return AlertState(
        id=whole["id"],
        v2={name: value for name, value in whole.items() if name not in (*TODAY_WORDS, *STAMPED, "id")},
        legacy=own.legacy,
        provider=own.provider,
        now=own.now,
        analyst=own.analyst,
        history=own.history,
        changes=own.changes,
        incident=whole.get("incidentId"),
        entities=[Observed(*one) for one in own.entities],
        seen=own.seen,
        version=own.version,
        fingerprint=own.fingerprint,
        link=link,
    )


class _PlaceLegacy(Struct):
    incidentIds: Any = None


class _PlaceOwn(Struct):
    legacy: _PlaceLegacy


class Place(Struct):
    """The part of a state that tells which incident an alert is in, with its marks: a tenth of the time to decode."""

    own: _PlaceOwn = field(name=_OWN)
    incident: str | None = field(name="incidentId", default=None)
    marks: dict[str, Any] | None = field(name="additionalData", default=None)


class _Linked(Struct):
    link: dict[str, Any] | None = field(name=LINK, default=None)


place = msgspec.json.Decoder(Place).decode
_linked = msgspec.json.Decoder(_Linked).decode


def link_of(content: bytes) -> dict[str, Any] | None:
    """Why an alert is in its incident; `content` is the inner form of today's face, with or without the rest."""
    return _linked(content).link


# ---------------------------------------------------------------- the faces


def today(state: AlertState) -> dict[str, Any]:
    """`microsoft.graph.security.alert`, inner form, without the store's stamps."""
    words = workflow.today_face(state.now, _techniques(state))
    return {"id": state.id, **state.v2, **words, "incidentId": state.incident}


def of_old(state: AlertState, *, linked: bool = True) -> dict[str, Any]:
    """`microsoft.graph.alert`, inner form, without the store's stamps. Not `linked`: as it is stored, where it is read
    with the incident that today's face names, unless the provider named some itself."""
    given = state.legacy.get("incidentIds")
    incidents = _incidents(given, state.incident) if linked or given else []
    words = workflow.legacy_face(state.now)
    return {"id": state.id, **state.legacy, **words, "incidentIds": incidents, "historyStates": state.history}


def _incidents(given: Any, incident: str | None) -> list[str]:
    """Of the legacy face, which may have come with several."""
    found = given or []
    return found if incident in found else [incident] if incident else []


def _techniques(state: AlertState) -> list[str]:
    return state.v2.get("mitreTechniques") or []


# ---------------------------------------------------------------- from a source's alert


def provider_faces(alert: Alert, tenant: str, received: str | None, *, raw_sha256: str | None = None) -> AlertState:
    """Both faces of what a source made of a record. `received` (wire form) stands where the record has no time."""
    items = evidence.complete(evidence.distinct(evidence.inner(alert.evidence)), received)
    named = entities.of_alert(items, [*alert.entities, *_stated(alert.legacy)])
    v2 = _today_of(alert, tenant, received, items, raw_sha256)
    old = _legacy_of(alert, tenant, v2, items)
    words = _words_of(alert, received)
    return AlertState(
        id=stable_id(tenant, alert.vendor, alert.provider or alert.product, alert.provider_alert_id),
        v2=v2,
        legacy=old,
        provider=words,
        now=words,
        entities=named,
        seen=[content_key(alert)],
        version=alert.source_updated,
        fingerprint=list(alert.fingerprint),
    )


def content_key(alert: Any) -> str:
    """Equal for records that say the same, whatever their bytes and the time of receipt."""
    return sha256(_canonical(alert)).hexdigest()[:16]


def product_name(vendor: str, product: str) -> str:
    """ "Vendor Product", the vendor once."""
    return product if not vendor or product.lower().startswith(vendor.lower()) else f"{vendor} {product}"


def _today_of(
    alert: Alert, tenant: str, received: str | None, items: list[dict[str, Any]], raw_sha256: str | None
) -> dict[str, Any]:
    first = alert.first_activity or alert.last_activity
    more = {name.removeprefix("@odata."): value for name, value in alert.additional.items()}
    if alert.vendor_severity is not None:
        more["vendorSeverity"] = alert.vendor_severity
    if first is None:
        more["timeSource"] = "received"
    if alert.source_created is not None:
        more["sourceCreatedDateTime"] = alert.source_created
    if alert.vulnerabilities:
        more["vulnerabilities"] = alert.vulnerabilities
    if raw_sha256 is not None:
        more["rawSha256"] = raw_sha256
    return {
        "actorDisplayName": alert.actor,
        "additionalData": more or None,
        **({"customDetails": alert.custom_details} if alert.custom_details else {}),
        "alertWebUrl": alert.url,
        "categories": alert.categories or ([alert.category] if alert.category else []),
        "category": alert.category or next(iter(alert.categories), None),
        "description": alert.description,
        "detectionSource": alert.detection_source,
        "detectorId": alert.detector_id,
        "evidence": items,
        "firstActivityDateTime": first or received,
        "lastActivityDateTime": alert.last_activity or first or received,
        "mitreTechniques": alert.techniques,
        "productName": product_name(alert.vendor, alert.product),
        "providerAlertId": alert.provider_alert_id,
        "recommendedActions": alert.recommended_actions,
        "serviceSource": alert.service_source,
        "severity": alert.severity,
        "tenantId": tenant,
        "threatDisplayName": alert.threat_name,
        "threatFamilyName": alert.threat_family,
        "title": alert.title,
    }


def _legacy_of(alert: Alert, tenant: str, v2: Mapping[str, Any], items: list[dict[str, Any]]) -> dict[str, Any]:
    made = legacy.states(items, _extra_states(alert))
    vendor = {
        "provider": alert.product,
        "providerVersion": alert.product_version,
        "subProvider": alert.sub_provider,
        "vendor": alert.vendor,
    }
    own = {
        name: value for name, value in alert.legacy.items() if name not in legacy.STATES and name not in LEGACY_WORDS
    }
    return {
        **common(v2),
        "category": alert.vendor_category or alert.category,
        "confidence": alert.confidence,
        "detectionIds": [alert.detector_id] if alert.detector_id else [],
        "vendorInformation": vendor,
        **made,
        **own,
        "azureTenantId": tenant,
    }


def common(v2: Mapping[str, Any]) -> dict[str, Any]:
    """What the legacy face takes from today's as it is."""
    advice = v2.get("recommendedActions")
    return {
        "activityGroupName": v2.get("actorDisplayName"),
        "azureSubscriptionId": _subscription(v2.get("evidence") or []),
        "azureTenantId": v2.get("tenantId"),
        "category": v2.get("category"),
        "description": v2.get("description"),
        "detectionIds": [v2["detectorId"]] if v2.get("detectorId") else [],
        "eventDateTime": v2.get("firstActivityDateTime"),
        "lastEventDateTime": v2.get("lastActivityDateTime"),
        "recommendedActions": [line for line in str(advice).splitlines() if line.strip()] if advice else [],
        "severity": v2.get("severity"),
        "sourceMaterials": [v2["alertWebUrl"]] if v2.get("alertWebUrl") else [],
        "title": v2.get("title"),
    }


def _subscription(items: list[dict[str, Any]]) -> str | None:
    for item in items:
        parts = str(item.get("resourceId") or "").split("/")
        if len(parts) > 2 and parts[1].lower() == "subscriptions":
            return parts[2]
    return None


def _extra_states(alert: Alert) -> dict[str, list[Any]]:
    """The source's own states, with those that other fields of the alert give."""
    if not (alert.legacy or alert.vulnerabilities or alert.threat_name or alert.threat_family):
        return {}
    extras = {name: list(alert.legacy.get(name) or []) for name in legacy.STATES}
    extras["vulnerabilityStates"] += [
        {"cve": cve}
        for cve in alert.vulnerabilities
        if all(cve != one.get("cve") for one in extras["vulnerabilityStates"])
    ]
    if alert.threat_name or alert.threat_family:
        known = any(one.get("name") == alert.threat_name for one in extras["malwareStates"])
        threat = {"name": alert.threat_name, "family": alert.threat_family}
        extras["malwareStates"] += [] if known else [{key: value for key, value in threat.items() if value}]
    return extras


def _stated(given: Mapping[str, Any]) -> list[Observed]:
    """The entities of states that a source made itself."""
    states = {name: given[name] for name in legacy.STATES if isinstance(given.get(name), list)}
    return entities.of_alert(from_legacy.evidence(states)) if states else []


def _words_of(alert: Alert, received: str | None) -> Words:
    tags = list(alert.tags)
    if (alert.vendor_severity or "").lower() == "critical" and "vendorSeverity:critical" not in tags:
        tags.append("vendorSeverity:critical")
    tags += [technique for technique in alert.techniques if technique not in tags]
    given = {name: alert.legacy[name] for name in LEGACY_WORDS if alert.legacy.get(name) is not None}
    words = Words(
        status=alert.status,
        classification=alert.classification,
        determination=alert.determination,
        assignedTo=alert.assigned_to or given.get("assignedTo"),
        tags=list(dict.fromkeys([*tags, *given.get("tags", [])])),
        comments=[provider_comment(text, received) for text in given.get("comments", [])],
    )
    status, feedback = workflow.to_legacy(words.status, words.classification)
    words = replace(words, legacyStatus=given.get("status", status), feedback=given.get("feedback", feedback))
    words = workflow.settled(words, by_legacy="status" in given or "feedback" in given)
    closed = given.get("closedDateTime") or (received if words.status == "resolved" else None)
    return replace(words, closed=closed)


def provider_comment(text: Any, at: str | None) -> dict[str, Any]:
    return {"comment": str(text), "createdByDisplayName": None, "createdDateTime": at}


# ---------------------------------------------------------------- changes


def apply_v2(state: AlertState, patch: Mapping[str, Any], who: Who, at: str) -> AlertState:
    """After a PATCH through today's face: status, classification, determination, assignedTo, systemTags, and
    `comments` to add."""
    return _changed(state, workflow.changed_today(state.now, patch, who, at, _techniques(state)), who, at)


def apply_legacy(state: AlertState, patch: Mapping[str, Any], who: Who, at: str) -> AlertState:
    """After a PATCH through the legacy face: status, feedback, assignedTo, comments, tags, closedDateTime."""
    return _changed(state, workflow.changed_legacy(state.now, patch, who, at), who, at)


def _changed(state: AlertState, now: Words, who: Who, at: str) -> AlertState:
    said = workflow.said(state.now, now)
    if not said:
        return state
    return replace(
        state,
        now=now,
        analyst={**state.analyst, **said, "by": who.user or who.app, "at": at},
        history=[*state.history, workflow.history(said, who, at)][-workflow.MAX_HISTORY :],
        changes=state.changes + 1,
    )


def move(state: AlertState, incident: str | None, link: dict[str, Any] | None = None) -> AlertState:
    """`link` says why it is there; None: it has none, as where nobody says why."""
    return state if state.incident == incident else replace(state, incident=incident, link=link)


def mark(state: AlertState, **marks: Any) -> AlertState:
    """With what this server says of an alert in its additionalData, by the names of MARKS; None takes a mark away."""
    before = state.v2.get("additionalData") or {}
    after = remarked(before, marks)
    return state if after == before else replace(state, v2={**state.v2, "additionalData": after or None})


def remarked(before: Mapping[str, Any], marks: Mapping[str, Any]) -> dict[str, Any]:
    """The marks with others in their place, without those that are None."""
    return {name: value for name, value in {**before, **marks}.items() if value is not None}


def unmarked(state: AlertState) -> AlertState:
    """What a client or a record says, without marks: those are this server's."""
    return mark(state, **dict.fromkeys(MARKS)) if any(name in marks(state) for name in MARKS) else state


def tag(state: AlertState, name: str, *, on: bool) -> AlertState:
    """With or without one of the system's tags; it is nobody's change of the handling."""
    tags = [each for each in state.now.tags if each != name] + ([name] if on else [])
    return state if tags == state.now.tags else replace(state, now=replace(state.now, tags=tags))


def marks(state: AlertState) -> Mapping[str, Any]:
    return state.v2.get("additionalData") or {}


def revise(old: AlertState, new: AlertState, at: str | None) -> AlertState:
    """After a later record of the provider. `old` itself where the record is in it already (a repeat).

    Evidence and lists grow, the new record's values replace what they set, the handling follows `workflow.revised`. A
    record that the source made before the newest one that is here only fills gaps.
    """
    if set(new.seen) <= set(old.seen):
        return old
    late = old.version is not None and new.version is not None and new.version < old.version
    first, second = (new, old) if late else (old, new)
    v2 = _joined(first.v2, second.v2)
    v2["evidence"] = evidence.merged(first.v2.get("evidence") or [], second.v2.get("evidence") or [])
    return replace(
        old,
        v2=v2,
        legacy=_joined_legacy(first.legacy, second.legacy, v2),
        provider=old.provider if late else new.provider,
        now=old.now if late else workflow.revised(old.now, old.provider, new.provider, at),
        entities=entities.distinct([*old.entities, *new.entities]),
        seen=[*old.seen, *new.seen][-MAX_SEEN:],
        version=second.version or first.version,
        fingerprint=second.fingerprint or first.fingerprint,
        incident=old.incident or new.incident,
    )


def _joined(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    made = dict(old)
    for name, value in new.items():
        before = made.get(name)
        if value in (None, [], "unknown"):
            continue
        if isinstance(before, list) and isinstance(value, list):
            made[name] = before + [one for one in value if one not in before]
        elif isinstance(before, dict) and isinstance(value, dict):
            made[name] = {**before, **value}
        else:
            made[name] = value
    _join_times(made, old, new)
    return made


def _join_times(made: dict[str, Any], old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """From the earliest to the latest activity that a record names; a time of receipt gives way to one that was
    named."""
    named = [one for one in (old, new) if (one.get("additionalData") or {}).get("timeSource") != "received"]
    for name, pick in (("firstActivityDateTime", min), ("lastActivityDateTime", max)):
        times = [one[name] for one in named or (old,) if one.get(name)]
        if times:
            made[name] = pick(times)
    if named and (made.get("additionalData") or {}).get("timeSource") == "received":
        made["additionalData"] = {key: value for key, value in made["additionalData"].items() if key != "timeSource"}


def _joined_legacy(old: Mapping[str, Any], new: Mapping[str, Any], v2: Mapping[str, Any]) -> dict[str, Any]:
    made = dict(old)
    for name, value in new.items():
        if name in legacy.STATES:
            made[name] = legacy.joined(name, old.get(name) or [], value or [])
        elif value not in (None, [], "unknown"):
            made[name] = value
    made["eventDateTime"] = v2.get("firstActivityDateTime")
    made["lastEventDateTime"] = v2.get("lastActivityDateTime")
    return made


def observed(states: Sequence[AlertState]) -> list[Observed]:
    """The entities of several alerts, each once."""
    return entities.distinct(one for state in states for one in state.entities)
