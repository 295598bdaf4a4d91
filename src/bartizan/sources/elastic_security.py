"""Elastic Security 8 and 9: detection alerts are alerts; building blocks of other alerts and documents of Elastic
Common Schema beside them, are events.

Source: Elastic Security documentation, "Alert schema"; Elastic Common Schema reference.
"""

from collections.abc import Iterable, Iterator

from bartizan.extend import Event, GraphObject, Record
from bartizan.model import security as graph
from bartizan.model.alert import Alert
from bartizan.sources import attack
from bartizan.sources.evidence import Evidence, Place
from bartizan.sources.fields import Fields, objects_of
from bartizan.sources.generic import guess_event
from bartizan.sources.severity import of_hundred
from bartizan.sources.shape import Paths, Shape
from bartizan.sources.tables import columns as read_columns

_MAX_ADDRESSES = 20
_CODES = {"ransomware": "Ransomware", "malicious_file": "Malware", "memory": "Malware", "behavior": "Execution"}
_HASHES = ("sha256", "sha1", "md5")


class ElasticSecurity(Shape):
    name = "elastic_security"
    vendor = "Elastic"
    product = "Elastic Security"
    marks = (
        "kibana.alert.uuid+kibana.alert.rule.uuid kibana.alert.rule.name _source.kibana.alert.rule.name "
        "context.alerts.kibana.alert.uuid signal.rule.name+signal.status _source.signal.rule.name "
        "event.kind=alert+event.module=endpoint Endpoint.policy+event.kind=alert "
        "kibana.alert.workflow_status+kibana.alert.severity"
    )
    sourcetypes = ("elastic:security", "elastic:alert")
    table = "ElasticEvents"
    columns = {"RuleName": "kibana.alert.rule.name", "Dataset": "event.dataset", "AgentId": "agent.id"}
    alert = Paths(
        id="kibana.alert.uuid",
        title="kibana.alert.rule.name",
        description="kibana.alert.reason kibana.alert.rule.description",
        severity="kibana.alert.severity kibana.alert.rule.severity",
        score="kibana.alert.risk_score kibana.alert.rule.risk_score",
        vendor_category="kibana.alert.rule.category",
        detector="kibana.alert.rule.rule_id kibana.alert.rule.uuid",
        first="kibana.alert.original_time kibana.alert.suppression.start kibana.alert.start @timestamp",
        last="kibana.alert.suppression.end kibana.alert.original_time @timestamp",
        created="@timestamp kibana.alert.start",
        updated="kibana.alert.workflow_status_updated_at kibana.alert.last_detected @timestamp",
        status="kibana.alert.workflow_status",
        verdict="kibana.alert.workflow_reason",
        actions="kibana.alert.rule.note",
        sub_provider="kibana.alert.original_event.module event.module",
        version="kibana.version",
        url="kibana.alert.url",
        tags="kibana.alert.rule.tags",
        cves="vulnerability.id",
        fold="host.id host.name user.name source.ip kibana.space_ids",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        for fields in objects_of(record, "hits.hits", "alerts"):
            inner = fields.object("_source") or fields
            for one in inner.each("context.alerts") or [inner]:  # of a rule's action
                yield _today(one)

    def is_alert(self, fields: Fields) -> bool:
        if (fields.text("event.kind") or "").lower() == "alert" and not fields.has("kibana.alert.uuid"):
            return (fields.text("event.module") or "").lower() == "endpoint" or fields.has("Endpoint.policy")
        return fields.has("kibana.alert.rule.name") and not fields.has("kibana.alert.building_block_type")

    def event(self, fields: Fields) -> Iterator[Event | GraphObject]:
        evidence = Evidence()
        self.entities(fields, evidence)
        yield guess_event(fields, self.table, evidence, read_columns(fields, self.columns))

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        host = fields.object("host")
        evidence.host(
            host.text("name", "hostname"),
            domain=host.text("domain"),
            addresses=host.texts("ip")[:_MAX_ADDRESSES],
            os=host.text("os.full", "os.name", "os.type"),
            version=host.text("os.version"),
        )
        user = _user(fields.object("user"), evidence)
        for path in ("user.target", "user.effective", "source.user", "destination.user"):
            _user(fields.object(path), evidence)
        _network(fields, evidence)
        process = fields.object("process")
        evidence.process(
            process.text("command_line"),
            name=process.text("name"),
            path=process.text("executable"),
            pid=process.integer("pid"),
            hashes=_hashes(process),
            user=user,
            parent_name=process.text("parent.name"),
            parent_path=process.text("parent.executable"),
            parent_pid=process.integer("parent.pid"),
            parent_hashes=_hashes(process.object("parent")),
        )
        for path in ("file", "dll"):
            file = fields.object(path)
            evidence.file(file.text("name"), file.text("path"), _hashes(file), size=file.integer("size"))
        registry = fields.object("registry")
        evidence.registry(registry.text("path", "key"), None, registry.text("data.strings"))
        evidence.url(fields.text("url.full", "url.original"))
        evidence.domain(fields.text("dns.question.name", "url.domain"))
        for path in ("email.from.address", "email.to.address"):
            for text in fields.texts(path)[:_MAX_ADDRESSES]:
                evidence.mailbox(text)

    def finish(self, fields: Fields, alert: Alert) -> None:
        if not fields.has("kibana.alert.rule.name"):
            _of_endpoint(fields, alert)
        threats = fields.objects("kibana.alert.rule.threat", "kibana.alert.rule.parameters.threat", "threat")
        tactics = attack.tactics(*(name for threat in threats for name in threat.texts("tactic.name")))
        if tactics:
            alert.category, alert.categories = tactics[0], tactics
        said = [technique for threat in threats for technique in threat.objects("technique")]
        alert.techniques = attack.with_named(alert.techniques, [name for each in said for name in _names(each)])


def _today(fields: Fields) -> Fields:
    """An alert of Elastic before 8.0, whose names begin with "signal", by today's names."""
    signal = fields.object("signal")
    if not signal or fields.has("kibana.alert.rule.name"):
        return fields
    rule = signal.object("rule")
    names = {
        "kibana.alert.rule.name": rule.raw("name"),
        "kibana.alert.rule.rule_id": rule.raw("rule_id", "id"),
        "kibana.alert.rule.threat": rule.raw("threat"),
        "kibana.alert.rule.description": rule.raw("description"),
        "kibana.alert.rule.tags": rule.raw("tags"),
        "kibana.alert.severity": rule.raw("severity"),
        "kibana.alert.risk_score": rule.raw("risk_score"),
        "kibana.alert.original_time": signal.raw("original_time"),
        "kibana.alert.workflow_status": signal.raw("status"),
        "kibana.alert.reason": signal.raw("reason"),
    }
    return fields.also({name: value for name, value in names.items() if value is not None})


def _of_endpoint(fields: Fields, alert: Alert) -> None:
    """What Elastic Defend says of itself, before a rule repeats it."""
    code = fields.text("event.code") or "alert"
    alert.product = "Elastic Defend"
    alert.title = fields.text("rule.name", "message") or code.replace("_", " ").capitalize()
    score = fields.number("event.risk_score", "event.severity")
    alert.severity, alert.vendor_severity = of_hundred(score), fields.text("event.severity")
    alert.provider_alert_id = fields.text("event.id") or alert.provider_alert_id
    alert.detector_id = fields.text("rule.id") or code
    alert.category = next((ours for word, ours in _CODES.items() if word in code), "SuspiciousActivity")
    alert.categories = [alert.category]
    alert.detection_source = "antivirus" if "malicious_file" in code else "unknown"


def _names(technique: Fields) -> list[str]:
    name = technique.text("name")
    parts = technique.texts("subtechnique.name")
    return [text for part in parts or (None,) for text in attack.apart(name, part)]


def _user(one: Fields, evidence: Evidence) -> graph.UserEvidence | None:
    name = one.text("name", "email")
    return evidence.user(name, domain=one.text("domain"), upn=one.text("email"), display=one.text("full_name"))


def _hashes(of: Fields) -> list[str | None]:
    return [of.text(f"hash.{kind}") for kind in _HASHES]


def _place(side: Fields) -> Place:
    geo = side.object("geo")
    return Place(
        country=geo.text("country_iso_code", "country_name"),
        city=geo.text("city_name"),
        latitude=geo.number("location.lat"),
        longitude=geo.number("location.lon"),
    )


def _network(fields: Fields, evidence: Evidence) -> None:
    start, end = fields.object("source", "client"), fields.object("destination", "server")
    evidence.flow(
        start.text("ip"),
        start.integer("port"),
        end.text("ip"),
        end.integer("port"),
        fields.text("network.transport"),
        places=(_place(start), _place(end)),
    )
    evidence.domain(start.text("domain"))
    evidence.domain(end.text("domain"))
