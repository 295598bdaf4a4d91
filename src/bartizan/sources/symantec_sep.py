"""Broadcom Symantec Endpoint Protection: the logs that its manager forwards, `Name: value` between commas, or as CEF
where a collector wrote them so. Endpoint Security: events and incidents of its API.

Source: Broadcom, "External logging settings and log event severity levels for Symantec Endpoint Protection Manager";
Symantec Endpoint Security API, "Events", "Incidents"; ArcSight, "SmartConnector for Symantec Endpoint Protection DB"
(device event mapping to CEF).
"""

import re
from collections.abc import Iterable
from typing import Any, Literal

from bartizan.extend import Record
from bartizan.model.alert import Alert
from bartizan.sources import common_security_log, csv_records, pairs, syslog
from bartizan.sources.entities import addresses, domain, is_outside, is_path
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, lines_of, objects_of
from bartizan.sources.severity import of_cef, of_ocsf, of_word
from bartizan.sources.shape import Paths, Shape

# The labels of the log -> where CEF says the same.
_CEF = {
    "Risk_name": "Risk name,threatName,malwareName,virusName,Virus Name,Threat Name",
    "CIDS_Signature_string": "Signature Name,signatureName",
    "Actual_action": "act,Actual action",
    "Event_time": "start,rt,end,syslogTime",
    "End_Time": "end,rt",
    "host": "dhost,shost,dvchost",
    "Event_Description": "msg,reason",
    "kind": "name",
}
_NO_HASH = "0" * 64
_ACTIVITY = 3  # cells without labels
_PATH = re.compile(r"[A-Za-z]:[\\/]|/REGISTRY/", re.IGNORECASE)
_CALLER = re.compile(r"\bCaller MD5=([0-9a-fA-F]{32})\b")
_DUMPED = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,[A-Za-z]{1,20},")  # when and how grave, of a dump to a file
_OWN = frozenset({"begin", "scan id", "category"})
_MALWARE = ("virus found", "security risk found", "sonar", "potential risk found", "forced", "commercial")
_HANDLED = ("cleaned", "deleted", "quarantined", "blocked")


def _read(text: str) -> list[Fields]:
    """The log in a line; none where it is no such log."""
    line = syslog.read(text)
    message = _DUMPED.sub("", line.message)
    cells = csv_records.cells(message)
    named, rest = pairs.labelled(cells)
    if len(named) < 2:
        return []
    data: dict[str, Any] = {"_".join(name.replace("(", "").replace(")", "").split()): v for name, v in named.items()}
    words = [cell for cell in rest if cell]
    data["words"] = words
    return [Fields(data, {"syslogTime": line.time})]


def _of_cloud(fields: Fields, evidence: Evidence) -> None:
    """An event of Endpoint Security, whose objects have the names of its schema."""
    file, actor = fields.object("file"), fields.object("actor")
    if fields.has("incident_uid"):  # whose message begins with the device
        name, colon, _ = (fields.text("message") or "").partition(":")
        evidence.host(name if colon and " " not in name else None)
    user = evidence.user(
        fields.text("user.name", "actor.user.name", "user_name"), domain=fields.text("user.domain", "actor.user.domain")
    )
    evidence.file(file.text("name"), file.text("path"), [file.text("sha2"), file.text("sha256"), file.text("md5")])
    evidence.process(
        actor.text("cmd_line"),
        path=actor.text("file.path"),
        pid=actor.integer("pid"),
        hashes=[actor.text("file.sha2"), actor.text("file.md5")],
        user=user,
    )
    flow = fields.object("connection")
    evidence.flow(
        flow.text("src_ip"),
        flow.integer("src_port"),
        flow.text("dst_ip"),
        flow.integer("dst_port"),
        flow.text("protocol"),
    )
    evidence.url(flow.text("url.text", "url"))
    evidence.malware(fields.text("threat.name"))


_SECURITY = 1
_STATES: dict[int, Literal["new", "inProgress", "resolved"]] = {2: "inProgress", 3: "inProgress", 4: "resolved"}
_RESOLUTIONS = {2: "truePositive", 3: "falsePositive", 6: "informationalExpectedActivity"}


def _grade(fields: Fields, alert: Alert) -> None:
    """By the number of Endpoint Security's schema, with what it says of the threat."""
    alert.title = fields.text("message", "threat.name") or alert.title
    number = fields.integer("severity_id")
    if (level := of_ocsf(number)) != "unknown":
        alert.severity, alert.vendor_severity = level, str(number)
    if fields.has("incident_uid"):
        alert.title = fields.text("rule_name") or alert.title
        alert.description, alert.recommended_actions = fields.text("message"), fields.text("remediation")
        alert.detector_id, alert.url = fields.text("rule_name"), fields.text("incident_url")
        alert.status = _STATES.get(fields.integer("state_id") or 0, "new")
        alert.classification = _RESOLUTIONS.get(fields.integer("resolution_id") or 0)
    alert.threat_name = fields.text("threat.name")
    alert.product = fields.text("product_name") or alert.product
    if alert.threat_name is not None:
        alert.category, alert.categories = "Malware", ["Malware"]


def _controlled(words: list[str], evidence: Evidence) -> None:
    """Of application control: the program that called, its hash in the rule's text, and what it touched."""
    found = [word for word in words if _PATH.match(word)]
    caller = next((match[1] for word in words if (match := _CALLER.search(word)) is not None), None)
    for place, word in enumerate(found[:2]):
        if word.upper().startswith("/REGISTRY/"):
            evidence.registry(word.replace("/", "\\"))
        elif place == 0:
            evidence.process(None, path=word, hashes=[caller])
        else:
            evidence.file(None, word)


class SymantecSep(Shape):
    name = "symantec_sep"
    vendor = "Broadcom"
    product = "Symantec Endpoint Protection"
    pattern = re.compile(
        common_security_log.BEGINS + r"(?:Symantec|Broadcom)\|"
        r"(?:Symantec )?Endpoint (?:Protection|Security)[^|]{0,40}\|"
        r"|\bEvent Description: |(?:^|[,: ])(?:Virus|Security risk) found,IP Address: "
        r"|(?:^|[,: ])[\w ]{4,40} detected,IP Address: |\bScan ID: \d+,Begin: |,Local Host(?: IP)?: "
        r"|Risk name: |SymantecServer|\bAdmin: .{0,80},Domain(?: Name)?: |,End(?: Time)?: [\d: -]{19},Rule: "
    )
    marks = (
        "type_id+severity_id+device_name+product_name type_id+severity_id+device_uid incident_uid+rule_name+state_id"
    )
    sourcetypes = ("symantec:ep:*", "symantec:*", "sep:*")
    table = "SymantecEvents"
    columns = {"GroupName": "Group_Name", "ServerName": "Server_Name"}
    alert = Paths(
        id="incident_uid uuid",
        title="kind",
        description="detail",
        vendor_category="kind",
        detector="CIDS_Signature_ID Risk_name deviceEventClassId",
        first="Event_time device_time time Begin Event_Insert_Time syslogTime",
        last="End_Time End Event_time Begin syslogTime modified",
        created="created",
        updated="modified",
        threat="Risk_name CIDS_Signature_string",
        fold="host Risk_name Remote_Host_IP",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        if said := common_security_log.lines(record, _CEF):
            return said
        lines, objects = lines_of(record), objects_of(record)
        if lines and not any(one.has("type_id", "incident_uid") for one in objects):
            return [found for text in lines for found in _read(text)]
        return [one.also({"timestamp": one.raw("device_time", "time")}) for one in objects]

    def is_alert(self, fields: Fields) -> bool:
        if fields.has("type_id"):  # of Endpoint Security, whose other categories are of its own business
            return fields.has("incident_uid", "threat.name") or fields.integer("category_id") == _SECURITY
        return bool(fields.data) and (not fields.has("deviceVendor") or common_security_log.is_detection(fields))

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        if fields.has("deviceVendor"):
            common_security_log.entities(fields, evidence)
            evidence.malware(fields.text("Risk_name"), fields.text("cat"))
            return
        words = fields.texts("words")
        first = words[0] if words and " " not in words[0] else None
        if fields.has("Site") and len(words) >= _ACTIVITY and " " in words[0] and " " not in words[1]:
            first = words[1]  # of an agent's activity: what it did, its host and its user, without labels
            evidence.user(words[2])
        host = fields.text("Computer_name", "device_name", "Computer", "Local_Host_Name", "Host_Name") or first
        own = fields.text("IP_Address", "device_ip", "Local_Host_IP", "Local_Host", "Local") or next(
            iter(addresses(words)), None
        )
        evidence.host(host, addresses=[own])
        evidence.ip(own)
        if fields.has("type_id"):
            _of_cloud(fields, evidence)
        remote = (fields.text("Remote_Host_IP", "Source_Computer_IP", "Source_IP") or "").rstrip(".") or None
        here, there = (own, fields.integer("Local_Port")), (remote, fields.integer("Remote_Port"))
        comes = "Outbound" not in words
        start, end = (there, here) if comes else (here, there)
        if remote is not None:
            evidence.flow(*start, *end, next((word for word in words if word in ("TCP", "UDP")), None))
        evidence.ip(remote, ("source" if comes else "destination",))
        far = fields.text("Remote_Host_Name")
        if not is_outside(remote) or evidence.domain(far) is None:  # a name of the net
            evidence.host(far or fields.text("Source_Computer_Name"))
        # In the logs of risks and of the server it is a domain of the manager's own.
        place = fields.text("Domain_Name", "Domain") if fields.has("Rule", "CIDS_Signature_ID") else None
        for who in ("User_Name", "User1", "User2", "User", "Admin"):
            evidence.user(fields.text(who), domain=place)
        if fields.has("Site") and host is None:  # of the management server itself
            evidence.host(fields.text("Server", "Server_Name"))
        found = fields.has("Risk_name", "Application_hash")  # whose path stands among the words, without a label
        path = fields.text("File_path", "File_Path") or next(filter(is_path, words if found else ()), None)
        hashes = [fields.text("Application_hash"), fields.text("SHA-256"), fields.text("MD-5")]
        evidence.file(
            None if path else fields.text("Application_name"), path, [each for each in hashes if each != _NO_HASH]
        )
        if fields.has("Rule"):
            _controlled(words, evidence)
        program = fields.text("Application")
        evidence.process(None, path=None if (program or "").upper() == "SYSTEM" else program)
        evidence.malware(fields.text("Risk_name"), fields.text("Category_type"))
        for link in ("Intrusion_URL", "Intrusion_Payload_URL", "Download_site", "URL"):
            evidence.url(fields.text(link))
        evidence.domain(domain(fields.text("Web_domain")))

    def _of_cef(self, fields: Fields, alert: Alert) -> None:
        risk = fields.text("Risk_name", "CIDS_Signature_string")
        alert.description = fields.text("Event_Description")
        if risk is not None and risk not in alert.title:
            alert.title = f"{alert.title}: {risk}"
        word, number = fields.text("deviceSeverity"), fields.number("deviceSeverity")
        alert.severity, alert.vendor_severity = of_cef(number) if number is not None else of_word(word), word
        said = f"{alert.title} {fields.text('cat') or ''} {alert.detector_id or ''}".lower()
        if fields.has("Risk_name") or any(each in said for each in (*_MALWARE, "malware", "virus", "risk")):
            alert.category, alert.categories = "Malware", ["Malware"]
        elif "attack" in said or "intrusion" in said or "exploit" in said:
            alert.category, alert.categories = "Exploit", ["Exploit"]
        common_security_log.acted(alert, fields.text("Actual_action"))

    def finish(self, fields: Fields, alert: Alert) -> None:
        if fields.has("deviceVendor"):
            self._of_cef(fields, alert)
            return
        words = fields.texts("words")
        said = fields.text("Event_Description", "Event_Type", "Description")
        kind = next((word for word in words if " " in word), None)
        risk = fields.text("Risk_name", "CIDS_Signature_string")
        rule = fields.text("Rule")
        rule = f"Firewall rule: {rule}" if rule is not None else "Endpoint Protection event"
        alert.title = f"{kind or 'Detection'}: {risk}" if risk else kind or said or rule
        alert.description = said
        low = alert.title.lower()
        action = (fields.text("Actual_action") or "").lower()
        if fields.has("Risk_name") or any(word in low for word in _MALWARE):
            alert.severity = "medium" if action.startswith(_HANDLED) else "high"
            alert.category = "Malware"
        elif fields.has("CIDS_Signature_ID"):
            alert.severity, alert.category = "medium", "Exploit"
        else:
            alert.severity = "informational"
        blocked = "blocked" if "has been blocked" in (said or "") or "Blocked" in words else fields.text("Action")
        common_security_log.acted(alert, fields.text("Actual_action"), blocked)
        alert.categories = [alert.category] if alert.category else []
        if fields.has("type_id"):
            _grade(fields, alert)
