"""STIX 2.1: sightings, observed data, indicators and incidents, alone or in a bundle.

Source: OASIS STIX 2.1, sections 4 (domain objects), 5 (sighting), 6 (cyber-observable objects).
"""

import re
from collections.abc import Iterable, Mapping

from bartizan.extend import Record
from bartizan.model.alert import Alert
from bartizan.sources import attack
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, objects_of
from bartizan.sources.shape import Paths, Shape

_ALERTS = frozenset({"sighting", "incident", "observed-data", "indicator"})
_MAX_OBJECTS = 500
# "[ipv4-addr:value = '1.2.3.4']" of an indicator's pattern.
_COMPARED = re.compile(r"([a-z0-9-]+):([\w.'\"-]+?)\s*(?:=|LIKE)\s*'((?:[^'\\]|\\.){1,2048})'")
_MAX_PATTERN = 16_384
_KEPT = 100


class StixSighting(Shape):
    name = "stix_sighting"
    vendor = "STIX"
    product = "Sightings"
    marks = (
        "type=bundle+objects type=sighting+sighting_of_ref type=indicator+pattern+id=indicator--* "
        "type=observed-data+id=observed-data--* type=incident+id=incident--* "
        "sighting_of_ref+where_sighted_refs"
    )
    pattern = re.compile(r"\"type\"\s*:\s*\"bundle\"")
    sourcetypes = ("stix", "stix:*", "taxii:*")
    table = "StixEvents"
    columns = {"StixType": "type", "StixId": "id"}
    alert = Paths(
        id="id",
        title="name description sighting_of_ref type",
        description="description summary",
        severity="severity",
        vendor_category="type",
        detector="sighting_of_ref pattern name",
        first="first_seen first_observed valid_from created",
        last="last_seen last_observed modified",
        created="created",
        updated="modified",
        confidence="confidence",
        tags="labels",
        fold="sighting_of_ref where_sighted_refs",
        detection_source="customTi",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        """Of a bundle, the sightings with what they refer to; where it has none, its observed data and incidents."""
        for root in objects_of(record):
            inside = root.objects("objects") if root.text("type") == "bundle" else []
            known = {text: one for one in inside[:_MAX_OBJECTS] if (text := one.text("id")) is not None}
            chosen = [Fields({**one.data, "referred": _referred(one, known)}) for one in _chosen(list(known.values()))]
            if len(chosen) == 1:  # the patterns of attack beside it are its, too
                patterns = [one.data for one in inside[:_MAX_OBJECTS] if one.text("type") == "attack-pattern"]
                chosen = [Fields({**chosen[0].data, "patterns": patterns})]
            yield from chosen or [root]

    def is_alert(self, fields: Fields) -> bool:
        return fields.text("type") in _ALERTS and fields.has("id")

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        known = {
            **_observables(fields),
            **{one.text("id") or f"#{n}": one for n, one in enumerate(fields.objects("referred"))},
        }
        for one in [fields, *known.values()]:
            _observable(one, known, evidence)
        if not evidence.items:
            for path in ("sighting_of_ref", "where_sighted_refs"):
                for text in fields.texts(path):
                    evidence.app(text)

    def finish(self, fields: Fields, alert: Alert) -> None:
        about = [one for one in fields.objects("referred") if one.text("id") == fields.text("sighting_of_ref")]
        named = next((one.text("name", "value", "pattern") for one in about), None)
        if fields.text("type") == "sighting":
            alert.title = f"Sighting of {named or fields.text('sighting_of_ref') or 'an object'}"
        elif not fields.has("name"):
            alert.title = f"STIX {fields.text('type') or 'object'}"
        told = [*fields.objects("referred"), *fields.objects("patterns")]
        texts = [text for one in told for text in one.texts("external_references.external_id")]
        alert.techniques = sorted({*alert.techniques, *(t for text in texts for t in attack.techniques_in(text))})
        phases = [text for one in [fields, *told] for text in one.texts("kill_chain_phases.phase_name")]
        if found := attack.tactics(*(text.replace("-", " ") for text in phases)):
            alert.category, alert.categories = found[0], found
        if alert.confidence is not None:
            alert.tags = [*alert.tags, f"confidence:{alert.confidence}"]


def _chosen(objects: list[Fields]) -> list[Fields]:
    for kind in ("sighting", "incident", "observed-data", "indicator"):
        if found := [one for one in objects if one.text("type") == kind]:
            return found[:_KEPT]
    return []


def _referred(one: Fields, known: dict[str, Fields]) -> list[dict[str, object]]:
    """What an object names by reference, two steps deep, each once."""
    found: dict[str, Fields] = {}
    level: list[Fields] = [one]
    for _ in range(2):
        names = [text for each in level for text in _refs(each)]
        level = [known[name] for name in dict.fromkeys(names) if name in known and name not in found]
        found.update({str(each.text("id")): each for each in level})
    return [dict(each.data) for each in found.values()]


def _refs(one: Fields) -> Iterable[str]:
    for key in one.data:
        if key.endswith(("_ref", "_refs")):
            yield from one.texts(key)


def _observables(fields: Fields) -> dict[str, Fields]:
    """Of observed data in the form of STIX 2.0: objects under numbers."""
    inside = list(fields.object("objects").data.items())[:_MAX_OBJECTS]
    return {str(name): Fields(value) for name, value in inside if isinstance(value, dict)}


def _named(one: Fields, key: str, known: Mapping[str, Fields]) -> Fields:
    """The object that one refers to under a key."""
    return known.get(one.text(key) or "") or Fields(None)


def _hashes(one: Fields) -> list[str]:
    return [text for text in one.object("hashes").data.values() if isinstance(text, str)]


def _observable(one: Fields, known: Mapping[str, Fields], evidence: Evidence) -> None:
    kind, value = one.text("type") or "", one.text("value")
    if kind in ("ipv4-addr", "ipv6-addr"):
        evidence.ip(value)
    elif kind == "domain-name":
        evidence.domain(value)
    elif kind == "url":
        evidence.url(value)
    elif kind == "email-addr":
        evidence.mailbox(value, one.text("display_name"))
    elif kind == "file":
        evidence.file(one.text("name"), None, _hashes(one), size=one.integer("size"))
    elif kind == "process":
        image = _named(one, "image_ref", known) or _named(one, "binary_ref", known)
        who = _named(one, "creator_user_ref", known)
        evidence.process(
            one.text("command_line"),
            name=image.text("name") or one.text("name"),
            pid=one.integer("pid"),
            hashes=_hashes(image),
            user=evidence.user(who.text("account_login", "user_id", "display_name")),
        )
    elif kind == "network-traffic":
        ends = (_named(one, "src_ref", known).text("value"), _named(one, "dst_ref", known).text("value"))
        protocol = next(reversed(one.texts("protocols")), None)
        evidence.flow(ends[0], one.integer("src_port"), ends[1], one.integer("dst_port"), protocol)
    elif kind == "email-message":
        _mail(one, known, evidence)
    elif kind == "user-account":
        evidence.user(one.text("account_login", "user_id", "display_name"))
    elif kind == "malware":
        evidence.malware(one.text("name"))
    elif kind == "windows-registry-key":
        for held in one.objects("values")[:_KEPT] or [Fields(None)]:
            evidence.registry(one.text("key"), held.text("name"), held.text("data"))
    elif kind == "indicator":
        for match in list(_COMPARED.finditer((one.text("pattern") or "")[:_MAX_PATTERN]))[:_KEPT]:
            _compared(match[1], match[2], match[3], evidence)


def _mail(one: Fields, known: Mapping[str, Fields], evidence: Evidence) -> None:
    sender = (_named(one, "from_ref", known) or _named(one, "sender_ref", known)).text("value")
    for name in one.texts("to_refs")[:_KEPT]:
        evidence.message(
            internet_id=one.text("message_id"),
            sender=sender,
            recipient=(known.get(name) or Fields(None)).text("value"),
            subject=one.text("subject"),
        )


def _compared(kind: str, path: str, value: str, evidence: Evidence) -> None:
    if "hashes" in path:
        evidence.file(hashes=[value])
    elif kind == "file":
        evidence.file(value)
    elif path == "value":
        _observable(Fields({"type": kind, "value": value}), {}, evidence)
