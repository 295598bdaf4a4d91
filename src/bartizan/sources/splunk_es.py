"""Splunk Enterprise Security: notable events (findings), as its webhooks, searches and exports write them.

Source: Splunk Enterprise Security documentation, "Notable event framework", "Using notable events in search"; Splunk
Common Information Model, "Alerts"; Splunk, "Use a webhook alert action".
"""

from collections.abc import Iterable

from bartizan.extend import Record
from bartizan.model.alert import Alert
from bartizan.sources import attack, common_security_log
from bartizan.sources.collector import Roles
from bartizan.sources.entities import address
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, objects_of
from bartizan.sources.shape import Paths, Shape, Status

# Numbers of its states and dispositions, as it ships; their labels say the same.
_STATUSES: dict[str, Status] = {"0": "new", "1": "new", "2": "inProgress", "3": "inProgress", "4": "resolved"}
_DISPOSITIONS = {
    "true": "truePositive",
    "benign": "informationalExpectedActivity",
    "false": "falsePositive",
    "disposition:1": "truePositive",
    "disposition:2": "informationalExpectedActivity",
    "disposition:3": "falsePositive",
    "disposition:4": "falsePositive",
}
_AROUND = ("search_name", "sid", "results_link")  # of a webhook, beside the result
_NOBODY = "unassigned"
_MAX = 50  # values of one field


class SplunkEs(Shape):
    name = "splunk_es"
    vendor = "Splunk"
    product = "Enterprise Security"
    marks = (
        "rule_title+urgency+security_domain rule_title+search_name+urgency rule_name+security_domain+urgency "
        "event_id=*@@notable@@* result.rule_title+search_name result.urgency+result.security_domain "
        "notable_xref+search_name"
    )
    sourcetypes = ("stash:notable", "notable", "splunk_es*", "splunk:es:*")
    table = "SplunkEsEvents"
    columns = {"SearchName": "search_name", "SecurityDomain": "security_domain", "Urgency": "urgency"}
    wrappers = ("results",)
    alert = Paths(
        id="event_id notable_id finding_id event_hash",
        title="rule_title rule_name search_name signature",
        description="rule_description savedsearch_description description",
        severity="urgency severity",
        vendor_category="security_domain category",
        techniques="annotations.mitre_attack.mitre_technique mitre_technique",
        detector="search_name rule_name rule_id",
        first="orig_time _time info_min_time time",
        last="_time info_max_time time",
        updated="review_time",
        status="status_label status_group status",
        statuses={**_STATUSES, "5": "resolved", "unassigned": "new"},
        assigned="owner_realname owner",
        url="results_link",
        tags="tag",
        cves="cve",
        fold="src dest user risk_object",
        detection_source="scheduledAlerts",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        """A webhook names the search beside its result."""
        said = Fields(record.data)
        around = {name: said.raw(name) for name in _AROUND if said.has(name)}
        inner = said.object("result")
        return [inner.also(around)] if inner and around else objects_of(record, *self.wrappers)

    def is_alert(self, fields: Fields) -> bool:
        return fields.has("rule_title", "rule_name", "search_name", "event_id") and fields.has(
            "urgency", "security_domain", "severity", "rule_title", "notable_xref"
        )

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        _end(fields.texts("src", "src_ip"), evidence, ("source",))
        _end(fields.texts("dest", "dest_ip"), evidence, ("destination",))
        for name in ("src_host", "src_nt_host", "dest_host", "dest_nt_host", "dvc", "orig_host"):
            _end(fields.texts(name), evidence)
        source, target = address(fields.text("src", "src_ip")), address(fields.text("dest", "dest_ip"))
        evidence.flow(
            source,
            fields.integer("src_port"),
            target,
            fields.integer("dest_port"),
            fields.text("transport", "protocol"),
        )
        for name in ("user", "src_user", "user_name"):
            for text in fields.texts(name)[:_MAX]:
                evidence.user(text, domain=fields.text("user_domain", "dest_nt_domain"))
        for text in fields.texts("risk_object")[:_MAX]:
            if (fields.text("risk_object_type") or "").lower() == "user":
                evidence.user(text)
            else:
                _end([text], evidence)
        hashes = fields.texts("file_hash", "hash")[:_MAX]
        evidence.file(fields.text("file_name"), fields.text("file_path"), hashes)
        evidence.process(
            fields.text("process"),
            name=fields.text("process_name"),
            path=fields.text("process_path"),
            pid=fields.integer("process_id"),
            parent_name=fields.text("parent_process_name"),
            parent_path=fields.text("parent_process_path"),
        )
        for text in fields.texts("url")[:_MAX]:
            evidence.url(text)
        for text in [*fields.texts("query"), *fields.texts("domain", "url_domain")][:_MAX]:
            evidence.domain(text)
        evidence.mailbox(fields.text("src_user_email", "sender"))
        evidence.mailbox(fields.text("recipient"))
        evidence.registry(fields.text("registry_path"), fields.text("registry_value_name"))

    def finish(self, fields: Fields, alert: Alert) -> None:
        verdict = (fields.text("disposition_label") or fields.text("disposition") or "").lower()
        alert.classification = _DISPOSITIONS.get(verdict) or _DISPOSITIONS.get(verdict.partition(" ")[0])
        if (alert.assigned_to or "").lower() == _NOBODY:
            alert.assigned_to = None
        names = fields.texts("annotations.mitre_attack.mitre_tactic", "annotations.mitre_attack.mitre_tactic_id")
        found = attack.tactics(*names, *fields.texts("mitre_tactic", "annotations.mitre_attack", "mitre_tactic_id"))
        if found:
            alert.category, alert.categories = found[0], found
        common_security_log.acted(alert, fields.text("action"))


def _end(texts: list[str], evidence: Evidence, roles: Roles = ()) -> None:
    """An end is an address or the name of a host."""
    for text in texts[:_MAX]:
        if evidence.ip(text, roles) is None:
            evidence.host(text, roles=roles)
