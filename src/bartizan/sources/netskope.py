"""Netskope: alerts of its platform; page, application and audit events.

Source: Netskope REST API v2, "Events and alerts": alert types and fields; Netskope Cloud Exchange, "Syslog plugin for
Log Shipper" (its CEF).
"""

import re
from collections.abc import Iterable

from bartizan.extend import Record
from bartizan.model.alert import Alert
from bartizan.sources import common_security_log
from bartizan.sources.evidence import Evidence, Place
from bartizan.sources.fields import Fields
from bartizan.sources.severity import of_cef, of_hundred
from bartizan.sources.shape import Paths, Shape

# The names of the JSON -> where the CEF of Cloud Exchange says the same.
_CEF = {
    "alert_type": "alertType,deviceEventClassId",
    "alert_name": "alertName,name",
    "severity": "deviceSeverity",
    "user": "suser,duser",
    "srcip": "src",
    "dstip": "dst",
    "srcport": "spt",
    "dstport": "dpt",
    "activity": "act",
    "app": "requestClientApplication,sourceServiceName,destinationServiceName",
    "url": "url,request",
    "file_name": "dlpFile,fname",
    "file_size": "fsize",
    "timestamp": "timestamp,rt,start,end,syslogTime",
    "md5": "md5,fileHash",
}
# What Cloud Exchange calls the classes of events; every other class of its CEF is a kind of alert.
_EVENT_CLASSES = frozenset(
    "application audit page infrastructure network incident connection endpoint clientstatus".split()
)
_MAX_PEOPLE = 20
_CATEGORIES = {
    "malware": "Malware",
    "malsite": "CommandAndControl",
    "compromised credential": "CredentialAccess",
    "uba": "SuspiciousActivity",
    "dlp": "Exfiltration",
    "quarantine": "Malware",
    "remediation": "Malware",
    "security assessment": "Misconfiguration",
    "ctep": "Exploit",
    "ips": "Exploit",
}


class Netskope(Shape):
    name = "netskope"
    vendor = "Netskope"
    product = "Security Cloud"
    marks = (
        "_id+ccl+organization_unit audit_log_event+severity_level ur_normalized+access_method+app "
        "alert_type+ur_normalized _id+app_session_id connection_id+access_method+app "
        "audit_log_event+supporting_data dlp_incident_id+dlp_file userkey+access_method+traffic_type "
        "_id+cci+ur_normalized _insertion_epoch_timestamp+type ur_normalized+userkey "
        "alert=yes+alert_type+alert_name alert=yes+alert_type+user _id+alert_type+alert_name _id+dlp_incident_id "
        "traffic_type+access_method+userip type=connection+domain+userip type=network+network_session_id "
        "type=page+domain+userip type=nspolicy+userip"
    )
    pattern = re.compile(r"CEF:\s?\d{1,2}\|Netskope\|")
    sourcetypes = ("netskope:*", "netskope")
    table = "NetskopeEvents"
    columns = {"EventType": "type alert_type", "Activity": "activity audit_log_event", "App": "app"}
    wrappers = ("result", "data")
    alert = Paths(
        id="_id alert_id transaction_id",
        title="alert_name policy dlp_match_info.dlp_policy malware_name alert_type type",
        description="breach_description other_categories threat_type",
        severity="severity malware_severity mal_sev dlp_rule_severity sa_rule_severity severity_level risk_level",
        score="severity_level_id risk_level_id",
        scale=of_cef,
        vendor_category="alert_type type",
        categories=_CATEGORIES,
        detector="alert_name policy malware_id",
        first="timestamp event_timestamp _insertion_epoch_timestamp",
        threat="malware_name",
        cves="cve",
        status="status",
        verdict="classification",
        assigned="assignee",
        fold="user userkey alert_name app",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        return common_security_log.lines(record, _CEF) or super().read(record)

    def is_alert(self, fields: Fields) -> bool:
        if fields.has("deviceVendor"):
            kind = (fields.text("deviceEventClassId") or "").lower()
            return kind.replace(" ", "").replace("_", "") not in _EVENT_CLASSES
        if fields.text("type") == "admin_audit_logs" or fields.has("audit_log_event"):
            return False
        return (
            fields.has("alert_name", "alert_type", "dlp_incident_id") or (fields.text("alert") or "").lower() == "yes"
        )

    def finish(self, fields: Fields, alert: Alert) -> None:
        common_security_log.acted(alert, fields.text("action", "act"))
        if alert.category == "SuspiciousActivity" and fields.has("dlp_incident_id"):
            alert.category, alert.categories = "Exfiltration", ["Exfiltration"]
        score = fields.number("breach_score")
        if alert.severity == "unknown" and score is not None:
            alert.severity, alert.vendor_severity = of_hundred(score), fields.text("breach_score")

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        evidence.user(fields.text("user", "ur_normalized", "userPrincipalName"), upn=fields.text("ur_normalized"))
        evidence.user(fields.text("acting_user"))
        for path in ("from_user", "to_user", "owner", "shared_with"):  # accounts of the application, the owner too
            for text in fields.texts(path)[:_MAX_PEOPLE]:
                evidence.mailbox(text)
        evidence.observe("user", (fields.text("user", "ur_normalized") or "").partition("@")[0])
        place = Place(
            country=fields.text("src_country"),
            city=fields.text("src_location"),
            state=fields.text("src_region"),
            latitude=fields.number("src_latitude"),
            longitude=fields.number("src_longitude"),
        )
        source, target = fields.text("srcip", "userip", "client_ip"), fields.text("dstip", "server_ip")
        evidence.flow(source, fields.integer("srcport"), target, fields.integer("dstport"), places=(place, None))
        evidence.ip(source, ("source",), place)
        evidence.ip(fields.text("userip"), ("source",))
        evidence.ip(target, ("destination",))
        evidence.host(fields.text("hostname", "device_name", "managed_app_host"), os=fields.text("os"))
        evidence.url(fields.text("url", "page"))
        evidence.observe("url", fields.text("url"))
        evidence.domain(fields.text("domain", "site"))
        evidence.domain(fields.text("dsthost"))
        evidence.file(
            fields.text("object", "file_name") if fields.has("md5", "file_type", "sha256") else None,
            fields.text("file_path"),
            [fields.text("sha256", "local_sha256"), fields.text("local_sha1"), fields.text("md5", "local_md5")],
            size=fields.integer("file_size"),
        )
        evidence.file(fields.text("quarantine_original_file_name"), fields.text("quarantine_original_file_path"))
        asset = fields.text("asset_object_id")  # of an account of a cloud that was assessed
        if (asset or "").startswith("arn:"):
            evidence.amazon(asset, kind=fields.text("resource_category"), account=fields.text("account_id"))
        evidence.app(fields.text("app", "appname"))
        evidence.malware(fields.text("malware_name"), fields.text("malware_type"))
        for value in fields.texts("supporting_data.data_values")[:20]:
            evidence.ip(value)
