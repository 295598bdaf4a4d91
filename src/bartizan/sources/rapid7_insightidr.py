"""Rapid7 InsightIDR: alerts and investigations of its API and webhooks.

Source: Rapid7 InsightIDR API, "Alerts", "Investigations v2".
"""

from collections.abc import Iterable

from bartizan.extend import Record
from bartizan.model.alert import Alert
from bartizan.sources import attack
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, objects_of
from bartizan.sources.shape import Paths, Shape

_USERS = frozenset(
    "account user source_account destination_account username actor source_user destination_user "
    "process.username".split()
)
_ADDRESSES = frozenset({"source_ip", "destination_ip", "source_address", "destination_address", "ip", "remote_ip"})
_HOSTS = frozenset({"asset", "hostname", "source_asset", "destination_asset", "host", "computer_name"})
_DOMAINS = frozenset({"domain", "query", "top_private_domain", "destination_domain"})


class InsightIdr(Shape):
    name = "rapid7_insightidr"
    vendor = "Rapid7"
    product = "InsightIDR"
    marks = (
        "rrn+priority+responsibility rrn+disposition+title rrn=rrn:*+title rrn+rule_keys_of_interest "
        "external_source+rrn detection_rule_rrn.rule_rrn+title alert.rrn+alert.title "
        "investigation.rrn+investigation.title"
    )
    sourcetypes = ("rapid7:insightidr:*", "insightidr*", "rapid7:idr*")
    table = "InsightIdrEvents"
    columns = {"Organization": "organization.id organization_id", "Responsibility": "responsibility"}
    wrappers = ("data", "alerts", "investigations")
    alert = Paths(
        id="rrn id external_id",
        title="title name alert_type_description alert_type",
        description="description alert_type_description",
        severity="priority severity",
        vendor_category="type alert_type source",
        tactics="rule.mitre_tcodes",
        detector="rule.rrn detection_rule_rrn.rule_rrn alert_type title",
        first="alerted_at first_alert_time first_event_time created_time created_at",
        last="latest_alert_time latest_event_time updated_at last_accessed alerted_at",
        created="created_at created_time",
        updated="updated_at last_accessed",
        status="status",
        statuses={"waiting": "inProgress"},
        verdict="disposition",
        verdicts={"malicious": "truePositive", "notapplicable": "falsePositive", "securitytest": "truePositive"},
        assigned="assignee.email",
        sub_provider="external_source source",
        tags="tags",
        fold="organization.id rule_keys_of_interest.values",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        """Also the alert inside a webhook's message; an investigation that lists its alerts is no page of them."""
        whole = [one for one in objects_of(record) if one.has("rrn") and one.has("title")]
        for outer in whole or super().read(record):
            inner = outer.object("alert", "investigation")
            yield inner if inner.has("rrn", "title") and not outer.has("rrn") else outer

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        for pair in [*fields.objects("rule_keys_of_interest"), *fields.objects("fields")]:
            _named((pair.text("key") or "").lower(), pair.texts("values", "value"), evidence)
        for path in ("evidences.data", "actors", "actors.data", "users"):
            for one in fields.objects(path):
                if (one.text("type") or "").upper() == "ASSET":
                    evidence.host(one.text("hostname", "name"))
                else:
                    evidence.user(one.text("email", "name", "account"))
        for asset in fields.objects("assets"):
            evidence.host(asset.text("name", "hostname"), addresses=asset.texts("ip", "addresses"))
        if not evidence.items:  # an investigation that names nothing but who works on it
            evidence.user(fields.text("assignee.email"), display=fields.text("assignee.name"), roles=("contextual",))

    def finish(self, fields: Fields, alert: Alert) -> None:
        alert.techniques = sorted({*alert.techniques, *attack_codes(fields)})


def attack_codes(fields: Fields) -> list[str]:
    return [name for text in fields.texts("rule.mitre_tcodes") for name in attack.techniques_in(text)]


def _named(key: str, values: list[str], evidence: Evidence) -> None:
    for value in values:
        if key in _USERS:
            evidence.user(value)
        elif key in _ADDRESSES or key.endswith("_ip"):
            evidence.ip(value, ("destination",) if key.startswith(("dest", "remote")) else ("source",))
        elif key in _HOSTS:
            evidence.host(value)
        elif key in _DOMAINS:
            evidence.domain(value)
        elif key.endswith("url"):
            evidence.url(value)
        elif "hash" in key or key in ("md5", "sha1", "sha256"):
            evidence.file(hashes=[value])
        elif "cmd" in key or "command" in key:
            evidence.process(value)
        elif key in ("process", "process_name", "exe_path", "process.exe_file.path"):
            evidence.process(path=value)
