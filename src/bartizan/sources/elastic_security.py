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
from bartizan.sources.shape import Paths, Shape
from bartizan.sources.tables import columns as read_columns

_MAX_ADDRESSES = 20
_HASHES = ("sha256", "sha1", "md5")


class ElasticSecurity(Shape):
    name = "elastic_security"
    vendor = "Elastic"
    product = "Elastic Security"
    marks = (
        "kibana.alert.uuid+kibana.alert.rule.uuid kibana.alert.rule.name _source.kibana.alert.rule.name "
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
            yield fields.object("_source") or fields

    def is_alert(self, fields: Fields) -> bool:
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
        threats = fields.objects("kibana.alert.rule.threat", "kibana.alert.rule.parameters.threat")
        tactics = attack.tactics(*(threat.text("tactic.name") for threat in threats))
        if tactics:
            alert.category, alert.categories = tactics[0], tactics


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
