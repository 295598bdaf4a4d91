"""Darktrace: model breaches, AI Analyst's incident events and their groups, and system status alerts.

Source: Darktrace API, "/modelbreaches", "/aianalyst/incidentevents", "/aianalyst/groups", "/status"; its syslog JSON
alerts.
"""

import re
from collections.abc import Iterator
from ipaddress import ip_interface
from itertools import islice

from bartizan.model.alert import Alert, Severity
from bartizan.sources.entities import address
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
from bartizan.sources.shape import Paths, Shape

_CATEGORIES = {"compliance": "Misconfiguration", "informational": "SuspiciousActivity"}
_MAX_COMPONENTS = 100
_MAX_EVENTS = 50
_MAX_VALUES = 500  # of all events together
_MAX_TEXT = 4_096
_MAX_TITLES = 3  # of the events of a group
_ADDRESS = re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])", re.ASCII)
# Filters of a model's components whose displayed value is an entity.
_HOSTS = frozenset({"connection hostname", "hostname", "dns hostname", "destination hostname"})


def of_share(score: float | None) -> Severity:
    """0 to 1, or 0 to 100 as AI Analyst writes it."""
    if score is None or score < 0:
        return "unknown"
    share = score / 100 if score > 1 else score
    return "high" if share >= 0.8 else "medium" if share >= 0.5 else "low" if share >= 0.2 else "informational"


class Darktrace(Shape):
    name = "darktrace"
    vendor = "Darktrace"
    product = "DETECT"
    marks = (
        "pbid+model model.then.name+device model.now.name+triggeredComponents aiaScore+title+summariser "
        "aiaScore+breachDevices alert_name+priority_level+last_updated_status "
        "alert_name+last_updated_status modelbreaches incidentEventScore groupScore+incidentEvents"
    )
    pattern = re.compile(r"\bdarktrace\b.{0,60}\{")
    sourcetypes = ("darktrace", "darktrace:*")
    table = "DarktraceEvents"
    columns = {"ModelName": "model.name model.now.name model.then.name", "DeviceId": "device.did"}
    wrappers = ("modelbreaches",)
    alert = Paths(
        id="pbid id uuid alert_uuid",
        title="model.then.name model.now.name model.name title alert_name name incidentEvents.title",
        description="model.then.description model.now.description model.description summary message",
        severity="priority_level",
        score="score aiaScore groupScore incidentEventScore priority",
        scale=of_share,
        vendor_category="model.then.category model.now.category model.category category",
        categories=_CATEGORIES,
        tactics="model.then.mitre.tactics model.now.mitre.tactics model.mitre.tactics mitreTactics",
        detector="model.then.uuid model.now.uuid model.uuid model.then.pid pid alert_name summariser",
        first="time start periods.start createdAt triggeredComponents.time creationTime dtime last_updated_status",
        last="end periods.end lastUpdated time",
        created="creationTime createdAt",
        status="acknowledged.status currentGroupStatus status",
        url="breachUrl incidentEventUrl url",
        tags="model.then.tags model.now.tags model.tags",
        fold="device.did device.ip hostname",
    )

    def is_alert(self, fields: Fields) -> bool:
        return fields.has(
            "model", "pbid", "aiaScore", "summariser", "alert_name", "incidentEvents"
        ) or super().is_alert(fields)

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        watched: set[str | None] = set()
        for device in [*fields.objects("device"), *fields.objects("breachDevices"), *fields.objects("devices")]:
            own = [address(text.partition("/")[0]) for text in (*device.texts("ip"), *device.texts("ips.ip"))]
            name = device.text("hostname", "devicelabel", "identifier")
            evidence.host(name, addresses=own, os=device.text("os"))
            watched.update(own)
            for text in own:
                evidence.ip(text, ("source",))
            for credential in device.texts("credentials.credential") or device.texts("credentials"):
                evidence.user(credential)
        for component in fields.objects("triggeredComponents")[:_MAX_COMPONENTS]:
            evidence.ip((component.text("ip") or "").partition("/")[0] or None)
            for match in component.objects("triggeredFilters"):
                _shown(match, evidence)
        told = list(islice(_told(fields), _MAX_EVENTS))
        for value in islice((value for item in told for value in item.objects("values")), _MAX_VALUES):
            seen = _one_address(value.text("ip"))
            evidence.ip(seen, () if seen in watched else ("destination",))
            if value.has("did"):  # a device that it watches, by its own number
                evidence.host(value.text("hostname"), addresses=[seen])
            else:
                evidence.domain(value.text("hostname"))
        for item in told:
            if "username" in (item.text("key") or "").lower().partition(" of ")[0]:
                for name in item.texts("values"):
                    evidence.user(name)
            _named(item, evidence)
        _grouped(fields, evidence)
        host = fields.text("hostname")
        evidence.host(host, addresses=[fields.text("ip_address")])
        if not evidence.items and fields.has("model"):
            named = fields.text("device.did")
            evidence.host(None, device_id=None if named == "-1" else named)

    def finish(self, fields: Fields, alert: Alert) -> None:
        alert.tags = [tag for tag in alert.tags if tag]
        if fields.has("incidentEvents"):  # its events are alerts of their own, whose titles name it
            titles = list(dict.fromkeys(fields.texts("incidentEvents.title")))[:_MAX_TITLES]
            alert.title = f"AI Analyst incident: {', '.join(titles)}" if titles else "AI Analyst incident"
            alert.detector_id = "AI Analyst"
            alert.fingerprint = (alert.provider_alert_id,)
        if alert.severity == "unknown":
            alert.severity = of_share((fields.number("model.then.priority", "priority") or 0) / 5)
        seen = fields.object("acknowledged").has("time", "username") and alert.status == "new"
        if fields.flag("acknowledged") is True or seen:
            alert.status = "resolved"


def _one_address(text: str | None) -> str | None:
    """The address of "192.0.2.7" and "192.0.2.7/24"; None of "192.0.2.0/24", which is a range."""
    found, slash, _ = (text or "").partition("/")
    try:
        interface = ip_interface(text or "")
    except ValueError:
        return address(found)
    ranged = slash and interface.network.num_addresses > 1 and interface.ip == interface.network.network_address
    return None if ranged else address(found)


def _named(item: Fields, evidence: Evidence) -> None:
    """A value of an incident's section by its type, or by its name."""
    kind = f"{item.text('type') or ''} {item.text('key') or ''}".lower()
    for text in item.texts("values")[:_MAX_EVENTS]:
        if "sha1" in kind or "sha256" in kind or "md5" in kind:
            evidence.file(hashes=[text])
        elif kind.endswith((" uri", " url")):
            evidence.url(text)


def _grouped(fields: Fields, evidence: Evidence) -> None:
    """A group: devices by their own numbers, and what they spoke with."""
    if not fields.has("incidentEvents"):
        return
    for number in fields.texts("devices")[:_MAX_EVENTS]:
        evidence.host(None, device_id=number)
    for edge in fields.objects("edges")[:_MAX_EVENTS]:
        for end in (edge.object("source"), edge.object("target")):
            if (end.text("nodeType") or "").lower() == "externalhost":
                evidence.ip(end.text("value"), ("destination",))
                evidence.domain(end.text("value"))


def _told(fields: Fields) -> Iterator[Fields]:
    """What AI Analyst writes of an incident: a list of sections, or a list of such lists, each with its contents."""
    details = fields.raw("details")
    parts = details[:_MAX_EVENTS] if isinstance(details, list) else []
    sections = [each for part in parts for each in (part[:_MAX_EVENTS] if isinstance(part, list) else [part])]
    return (item for section in sections[:_MAX_EVENTS] for item in Fields(section).objects("contents"))


def _shown(match: Fields, evidence: Evidence) -> None:
    """The value that a filter saw, by the filter's name."""
    kind, value = (match.text("filterType") or "").lower(), match.text("trigger.value")
    if "ip" in kind.split() or kind.endswith(" ip"):
        evidence.ip(value, ("destination",))
    elif kind.endswith("device name"):  # of one that it watches
        evidence.host(value)
    elif kind in _HOSTS:
        evidence.domain(value)
    elif kind in ("username", "user", "credential"):
        evidence.user(value)
    elif "sha1" in kind or "sha256" in kind or "md5" in kind:
        evidence.file(hashes=[value])
    elif kind in ("uri", "url"):
        evidence.url(value)
    elif value is not None:
        for found in list(_ADDRESS.finditer(value[:_MAX_TEXT]))[:_MAX_EVENTS]:
            evidence.ip(found[0])
