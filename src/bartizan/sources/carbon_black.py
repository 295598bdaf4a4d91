"""VMware Carbon Black Cloud: alerts of the Alerts API (v6 and v7); alerts, hits of watchlists and
events of endpoints from its forwarder; the audit log. Hits and events of the EDR server.

Source: Carbon Black Cloud API, "Alerts", "Alert Bulk Export", "Data Forwarder Data Guide", "Audit Log Events"; Carbon
Black EDR, "Event Forwarder".
"""

import re

from bartizan.model import security as graph
from bartizan.model.alert import Alert, Severity
from bartizan.sources import common_security_log
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
from bartizan.sources.severity import of_hundred
from bartizan.sources.shape import Paths, Shape

_FOUND = re.compile(r"(?<![A-Z])(?:KNOWN_MALWARE|MALWARE_APP|RUN_MALWARE_APP|T_REP_VIRUS|R_REP_VIRUS|RANSOMWARE)")
_CATEGORIES = {
    "cb_analytics": "SuspiciousActivity",
    "watchlist": "SuspiciousActivity",
    "device_control": "SuspiciousActivity",
    "host_based_firewall": "SuspiciousActivity",
    "intrusion_detection_system": "SuspiciousActivity",
    "container_runtime": "Execution",
}


def _is_hit(kind: str) -> bool:
    """An event of the EDR server (once Response) about what a watchlist or a feed found."""
    return kind.startswith(("watchlist.hit.", "watchlist.storage.hit.", "feed.")) and ".hit" in kind


def of_ten(level: float | None) -> Severity:
    """1 to 10, as the console colours it."""
    if level is None or not 0 < level <= 10:
        return "unknown"
    return "high" if level >= 7 else "medium" if level >= 4 else "low"


class CarbonBlack(Shape):
    name = "carbon_black"
    vendor = "VMware"
    product = "Carbon Black Cloud"
    marks = (
        "loginName+orgName+eventId+eventTime org_key+device_id+type+reason org_key+alert_url+type "
        "org_key+severity+id threatInfo+deviceInfo workflow+device_name+reason workflow+threat_id "
        "type=cb_analytics+id type=watchlist+id type=watchlist.hit+report_id type=endpoint.event.*+org_key "
        "type=alert.watchlist.hit.* type=watchlist.hit.*+cb_server type=feed.*+cb_server type=ingress.event.*+cb_server"
    )
    pattern = re.compile(common_security_log.BEGINS + r"(?:VMware )?Carbon ?Black", re.IGNORECASE)
    sourcetypes = ("vmware:cbc:*", "carbonblack:*", "cbc:*", "bit9:carbonblack:*")
    table = "CarbonBlackEvents"
    columns = {
        "Timestamp": "time device_timestamp backend_timestamp create_time eventTime event_timestamp timestamp",
        "OrgName": "orgName org_key",
        "RequestUrl": "requestUrl",
        "HostName": "device_name deviceInfo.deviceName hostname computer_name netconn_local_hostname",
        "UserName": "process_username device_username loginName username",
        "ProcessName": "name process_path process_name path",
        "ProcessCommandLine": "process_cmdline command_line",
        "SourcePort": "int netconn_local_port local_port",
        "Protocol": "netconn_protocol",
        "SourceIP": "netconn_local_ip local_ip clientIp device_internal_ip",
        "DestinationIP": "netconn_remote_ip remote_ip",
        "DestinationPort": "int netconn_remote_port remote_port",
        "DomainName": "netconn_domain netconn_remote_domain remote_domain",
    }
    wrappers = ("results", "notifications")
    alert = Paths(
        id="id alert_id unique_id+watchlist_id legacy_alert_id threatInfo.incidentId eventId ioc_id+process_guid",
        title="reason report_name threatInfo.summary rule_name watchlist_name description feed_name",
        description="reason description threat_notes_present report_description",
        score="severity threatInfo.score",
        scale=of_ten,
        vendor_category="type threat_cause_threat_category category",
        categories=_CATEGORIES,
        tactics="attack_tactic ttps mitre_tactics report_tags",
        detector="reason_code rule_id report_id watchlists.name type",
        first=(
            "first_event_timestamp first_event_time detection_timestamp backend_timestamp create_time eventTime "
            "created_time timestamp"
        ),
        last="last_event_timestamp last_event_time eventTime",
        created="backend_timestamp create_time",
        updated="backend_update_timestamp last_update_time workflow.change_timestamp",
        status="workflow.status workflow.state",
        statuses={"dismissed": "resolved"},
        verdict="determination.value workflow.closure_reason",
        verdicts={"resolvedbenignknowngood": "informationalExpectedActivity"},
        url="alert_url url",
        tags="tags",
        threat="threat_name",
        fold="device_id device_name process_sha256 loginName",
    )

    def is_alert(self, fields: Fields) -> bool:
        kind = (fields.text("type") or "").lower()
        if kind == "watchlist.hit" or kind.startswith("alert.") or _is_hit(kind):
            return True
        return fields.has("description", "reason", "threatInfo", "report_name") and fields.has(
            "id", "alert_id", "eventId", "threatInfo"
        )

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        device = fields.object("deviceInfo")
        name = (
            fields.text("device_name", "netconn_local_hostname", "hostname", "computer_name")
            or device.text("deviceName")
            or ""
        )
        home, _, bare = name.rpartition("\\")  # "DOMAIN\\name"
        evidence.host(
            bare or None,
            domain=home or None,
            addresses=[fields.text("device_internal_ip") or device.text("internalIpAddress")],
            external=fields.text("device_external_ip") or device.text("externalIpAddress"),
            os=fields.text("device_os") or device.text("deviceType"),
            version=fields.text("device_os_version") or device.text("deviceVersion"),
            device_id=fields.text("device_id") or device.text("deviceId"),
        )
        who = evidence.user(
            fields.text("loginName", "process_username", "device_username", "username")
            or device.text("email", "userName")
        )
        evidence.user(fields.text("device_username"))  # who was last seen there, beside whose process it is
        evidence.ip(fields.text("clientIp"), ("source",))
        _programs(fields, evidence, who)
        for each in fields.objects("threat_indicators", "threatInfo.indicators"):
            evidence.file(each.text("process_name", "applicationName"), None, [each.text("sha256", "sha256Hash")])
        evidence.flow(
            fields.text("netconn_local_ip", "netconn_local_ipv4", "local_ip"),
            fields.integer("netconn_local_port", "local_port"),
            fields.text("netconn_remote_ip", "netconn_remote_ipv4", "remote_ip"),
            fields.integer("netconn_remote_port", "remote_port"),
            (fields.text("netconn_protocol") or "").removeprefix("PROTO_"),
        )
        evidence.ip(fields.text("netconn_remote_ip", "remote_ip"), ("destination",))
        evidence.domain(fields.text("netconn_remote_domain", "remote_domain", "netconn_domain"))
        inside = fields.text("k8s_namespace"), fields.text("k8s_cluster")
        evidence.pod(fields.text("k8s_pod_name"), inside[0], cluster=inside[1])
        evidence.kubernetes(fields.text("k8s_kind"), fields.text("k8s_workload_name"), *inside)

    def finish(self, fields: Fields, alert: Alert) -> None:
        if (fields.text("sensor_action") or "").upper() in ("DENY", "TERMINATE") or fields.flag("blocked_threat"):
            common_security_log.acted(alert, "blocked")
        said = " ".join(
            (*fields.texts("ttps"), fields.text("reason_code") or "", fields.text("process_reputation") or "")
        )
        if alert.category == "SuspiciousActivity" and _FOUND.search(said.upper()) is not None:
            alert.category, alert.categories = "Malware", ["Malware"]
        score = fields.number("alert_severity", "report_score", "severity")
        if fields.has("cb_server") and score is not None:  # of the EDR server, 0 to 100
            alert.severity, alert.vendor_severity = of_hundred(score), f"{score:g}"
        if fields.has("loginName", "requestUrl") and alert.severity == "unknown":  # the audit log has no severity
            alert.severity = "medium" if fields.flag("flagged") else "informational"
            alert.title = alert.title[:200]


def _programs(fields: Fields, evidence: Evidence, who: graph.UserEvidence | None) -> None:
    """The process with its parent, and what it did that to: a child, a module, a file or a key of the registry."""
    evidence.process(
        fields.text("process_cmdline"),
        path=fields.text("process_path", "process_name", "threat_cause_actor_name"),
        pid=fields.integer("process_pid"),
        hashes=[
            fields.text("process_sha256", "threat_cause_actor_sha256"),
            fields.text("process_md5", "md5"),
            *fields.texts("process_hash"),
        ],
        user=who,
        parent_path=fields.text("parent_path", "parent_name"),
        parent_pid=fields.integer("parent_pid"),
        parent_hashes=[fields.text("parent_sha256"), fields.text("parent_md5"), *fields.texts("parent_hash")],
    )
    for kind in ("childproc", "crossproc", "target"):
        evidence.process(
            fields.text(f"{kind}_cmdline"),
            path=fields.text(f"{kind}_name", f"{kind}_path"),
            pid=fields.integer(f"{kind}_pid"),
            hashes=[fields.text(f"{kind}_sha256"), fields.text(f"{kind}_md5"), *fields.texts(f"{kind}_hash")],
        )
    for kind in ("filemod", "modload", "scriptload", "fileless_scriptload"):
        digests = [fields.text(f"{kind}_sha256"), fields.text(f"{kind}_md5"), *fields.texts(f"{kind}_hash")]
        evidence.file(None, fields.text(f"{kind}_name"), digests)
    evidence.registry(fields.text("regmod_name"))
