"""Prometheus Alertmanager: its webhook, one alert for each entry, and single alerts of Prometheus' rules.

Source: Prometheus documentation, "Alertmanager: webhook_config" (version 4), "Alerting rules".
"""

from collections.abc import Iterable
from typing import Any

from bartizan.extend import Record
from bartizan.model.alert import Alert, Severity
from bartizan.sources import attack
from bartizan.sources.entities import address
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, content_id, objects_of
from bartizan.sources.shape import Paths, Shape

_WORDS: dict[str, Severity] = {
    "page": "high",
    "p0": "high",
    "p1": "high",
    "p2": "medium",
    "p3": "low",
    "p4": "informational",
    "p5": "informational",
    "error": "high",
    "warn": "medium",
    "info": "informational",
    "debug": "informational",
    "none": "informational",
}
_SHARED = ("externalURL", "receiver", "groupKey")  # of the message, worth keeping on each alert


class Alertmanager(Shape):
    name = "alertmanager"
    vendor = "Prometheus"
    product = "Alertmanager"
    marks = (
        "labels.alertname labels.alertname+annotations+startsAt parameters+payload.labels "
        "receiver+groupKey+alerts commonLabels+groupLabels+alerts status=success+data.alerts"
    )
    sourcetypes = ("alertmanager", "alertmanager:*", "prometheus:alert*")
    table = "AlertmanagerEvents"
    columns = {"AlertName": "labels.alertname", "Instance": "labels.instance"}
    alert = Paths(
        id="fingerprint",
        title="annotations.summary summary labels.alertname annotations.title annotations.description",
        description="annotations.description annotations.message description summary",
        severity="labels.severity labels.priority severity",
        words=_WORDS,
        vendor_category="labels.category labels.alertname",
        tactics="labels.mitre_tactic labels.tactic",
        detector="labels.alertname",
        first="startsAt activeAt",
        last="endsAt startsAt",
        status="status.state status state",
        statuses={"firing": "new", "suppressed": "new", "inactive": "resolved"},
        url="generatorURL annotations.runbook_url",
        detection_source="scheduledAlerts",
        fold="labels.instance labels.host labels.pod labels.job",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        """Each alert of a message; labels that the group shares are in every alert already."""
        found = []
        for message in objects_of(record):
            shared = {name: message.raw(name) for name in _SHARED if message.has(name)}
            alerts = message.objects("alerts", "data.alerts")
            found += [Fields({**shared, **one.data}) for one in alerts] if alerts else [_inside(message)]
        return found

    def is_alert(self, fields: Fields) -> bool:
        return fields.has("labels") or fields.has("annotations")

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        labels = fields.object("labels")
        for path in ("host", "hostname", "node", "instance", "exported_instance", "nodename"):
            for text in labels.texts(path):
                name = text.removeprefix("http://").removeprefix("https://").partition("/")[0]
                host = name.rpartition(":")[0] if name.rpartition(":")[2].isdigit() else name
                if (known := address(name) or address(host)) is not None:
                    evidence.ip(known)
                else:
                    evidence.host(host)
        for text in labels.texts("pod"):
            evidence.pod(text, labels.text("namespace"), cluster=labels.text("cluster"))
        evidence.container(None, labels.text("container"))
        if not labels.has("pod"):
            evidence.kubernetes("namespace", labels.text("namespace"), cluster=labels.text("cluster"))
            for kind in ("deployment", "statefulset", "daemonset"):
                evidence.kubernetes(kind, labels.text(kind), labels.text("namespace"))
        evidence.user(labels.text("user", "username"))
        for path in ("src_ip", "source_ip", "client_ip", "ip"):
            evidence.ip(labels.text(path), ("source",))
        evidence.url(labels.text("url", "target"))
        for path in ("service", "job", "application", "app", "queue", "mq_manager", "database"):
            for text in labels.texts(path):
                evidence.app(text)

    def finish(self, fields: Fields, alert: Alert) -> None:
        if not fields.has("fingerprint"):  # what Alertmanager's own fingerprint is made of
            alert.provider_alert_id = content_id({"labels": fields.raw("labels"), "at": fields.raw("startsAt")})
        if alert.severity == "unknown" and fields.raw("labels.severity") == "none":  # of what fires always
            alert.severity, alert.vendor_severity = "informational", "none"
        if alert.status != "resolved":  # till then it says when the alert would end if nothing more came
            alert.last_activity = alert.first_activity
        words = fields.texts("labels.mitre", "labels.mitre_attack", "labels.technique")
        said = sorted({*alert.techniques, *(name for word in words for name in attack.techniques_in(word))})
        alert.techniques = attack.with_named(said, words)


def _inside(message: Fields) -> Fields:
    """A template of rules: the alert in `payload`, and under `parameters` the labels that it may have."""
    if not message.has("payload"):
        return message
    payload, labels = message.object("payload"), dict(message.object("payload.labels").data)
    for name, values in message.object("parameters").data.items():
        label = name.removeprefix("labels.")
        first: Any = values[0] if isinstance(values, list) and values else values
        if name.startswith("labels.") and label not in labels:
            labels[label] = first
    return Fields({**payload.data, "labels": labels})
