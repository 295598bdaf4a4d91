"""Wazuh 3 and 4, and OSSEC: every record with a rule is an alert; archived records without one are events.

Source: Wazuh documentation, "Alert management", "Ruleset", "Data analysis"; OSSEC documentation, "jsonout",
"syslog_output".
"""

import re
from collections.abc import Iterator
from typing import Any

from bartizan.extend import Event, GraphObject, Record, Source
from bartizan.model.alert import Alert
from bartizan.sources import attack, cef, common_security_log, leftover, severity
from bartizan.sources.entities import address
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, content_id, joined, lines_of, objects_of
from bartizan.sources.generic import guess_event, unread
from bartizan.sources.suricata_eve import eve_evidence, fast_log
from bartizan.sources.tables import event
from bartizan.sources.times import first_time, when

# Groups of rules -> category, the first that fits; the tactic of the rule, where it has one, comes before.
_GROUPS = {
    "vulnerability-detector": "Vulnerability",
    "sca": "Misconfiguration",
    "oscap": "Misconfiguration",
    "ciscat": "Misconfiguration",
    "rootcheck": "Malware",
    "virus": "Malware",
    "malware": "Malware",
    "virustotal": "Malware",
    "yara": "Malware",
    "ransomware": "Ransomware",
    "exploit_attempt": "Exploit",
    "sql_injection": "InitialAccess",
    "web_attack": "InitialAccess",
    "web_scan": "Discovery",
    "recon": "Discovery",
    "authentication_failures": "CredentialAccess",
    "authentication_failed": "CredentialAccess",
    "invalid_login": "CredentialAccess",
    "win_authentication_failed": "CredentialAccess",
    "spam": "Phishing",
}
_WRAPPERS = ("_source", "all_fields", "parameters.alert", "data.parameters.alert")
_USED = frozenset("rule agent manager id timestamp @timestamp data syscheck decoder input full_log".split())
_NOBODY = "S-1-0-0"
_SOLVED = frozenset({"solved", "fixed", "obsolete"})  # states of a vulnerability that is no longer there
_MAX_LOG_CHARS = 8_192  # of the log line shown as description

_ARROW = re.compile(r"\((?P<host>[^)]{1,200})\) (?P<address>\S{1,60})->")
_LOG = re.compile(
    r"\*\* Alert (?P<id>\d+\.\d+):[^\n]{0,20}- ?(?P<groups>[^\n]{0,500})\n"
    r"(?P<time>\d{4} \w{3} \d\d \d\d:\d\d:\d\d) (?P<location>[^\n]{1,300})\n"
    r"Rule: (?P<rule>\d{1,9}) \(level (?P<level>\d{1,2})\) -> '(?P<text>[^\n]{0,500})'\n"
)
_SYSLOG = re.compile(r"ossec: Alert Level: (?P<level>\d{1,2}); Rule: (?P<rule>\d{1,9}) - (?P<text>[^;]{1,500});")
_PAIR = re.compile(
    r"(?:^|; ?|\n)(Src IP|Dst IP|Src Port|Dst Port|User|Location|srcip|dstip|user|classification): ?([^;\n]{1,500})"
)
_PAIR_NAMES = {"src ip": "srcip", "dst ip": "dstip", "src port": "srcport", "dst port": "dstport", "user": "dstuser"}


def text_alert(text: str) -> Fields | None:
    """An alert of alerts.log, or one line of OSSEC's syslog output, as the JSON record that it would be."""
    head = _LOG.search(text[:20_000]) or _SYSLOG.search(text[:20_000])
    if head is None:
        return None
    part = head.groupdict()
    pairs = {_PAIR_NAMES.get(name.lower(), name.lower()): value.strip() for name, value in _PAIR.findall(text[:20_000])}
    location = part.get("location") or pairs.pop("location", None)
    groups = [name for name in (part.get("groups") or pairs.pop("classification", "")).strip(" ,").split(",") if name]
    rule = {"id": part["rule"], "level": part["level"], "description": part["text"], "groups": groups}
    agent = _ARROW.match(location or "")
    host = agent["host"] if agent is not None else (location or "").partition("->")[0] or None
    log = text[head.end() :].rstrip("\n").rpartition("\n")[2] if "\n" in text else text
    return Fields(
        {"id": part.get("id"), "timestamp": part.get("time"), "rule": rule, "data": pairs, "location": location}
        | {"predecoder": {"hostname": host}, "full_log": log}
    )


class Wazuh(Source):
    name = "wazuh"
    vendor = "Wazuh"
    product = "Wazuh"
    marks = (
        "agent+full_log+decoder+location agent+rule.level+manager rule.level+rule.id+decoder "
        "rule.level+rule.description+location rule.level+full_log rule+manager.name+location "
        "manager+decoder+full_log _source.rule.level rule.level+agent.id manager.name+location "
        "agent.id+rule.level+timestamp"
    )
    pattern = re.compile(
        r"CEF:\s?\d{1,2}\|(?:Wazuh|Trend Micro|OSSEC)[^|]{0,20}\|(?:Wazuh|OSSEC)"
        r"|\*\* Alert \d{10}\.\d+|ossec: Alert Level: "
    )
    sourcetypes = ("wazuh", "wazuh:*", "ossec", "ossec:*", "wazuh-alerts*")

    def normalise(self, record: Record) -> Iterator[Alert | Event | GraphObject]:
        found = [_of_cef(event) for event in cef.records(record)]
        found = found or [_unwrapped(fields) for fields in objects_of(record, "alerts", "hits.hits")]
        lines = [read for text in lines_of(record) if (read := text_alert(text)) is not None]
        if lines and (not found or record.data is not None):  # as a collector carries it, too
            found = lines
        if not found:
            yield from unread(record, "WazuhEvents")
        for alert in found:
            if alert.object("rule") and alert.has("rule.id", "rule.sidid", "rule.description", "rule.comment"):
                yield leftover.proven(self._alert(record, alert), alert.data)
            elif alert.has("rule_id", "rule_description", "title") and alert.has("severity", "level", "rule_level"):
                yield leftover.proven(self._summary(record, alert), alert.data)
            elif alert.has("full_log", "decoder", "agent.id"):
                yield self._event(alert)
            else:
                yield guess_event(alert, "WazuhEvents")

    def _alert(self, record: Record, alert: Fields) -> Alert:
        rule = alert.object("rule")
        at = first_time(alert, "timestamp", "@timestamp", "TimeStamp", "data.timestamp")
        evidence = Evidence(at)
        seen = _entities(alert, evidence)
        level, number = rule.number("level"), rule.text("id", "sidid")
        groups = rule.texts("groups") or [part for part in (rule.text("group") or "").split(",") if part]
        tactics = attack.tactics(*rule.texts("mitre.tactic", "mitre.tactics"))
        fallback = next((_GROUPS[group] for group in groups if group in _GROUPS), "SuspiciousActivity")
        log = alert.text("full_log")
        flaw = alert.object("data.vulnerability", "vulnerability")
        threat = alert.text("data.win.eventdata.threat Name", "data.win.eventdata.threatName")
        fallback = "Malware" if threat and fallback == "SuspiciousActivity" else fallback
        made = Alert(
            vendor=self.vendor,
            product=self.product,
            sub_provider=alert.text("manager.name", "cluster.node"),
            provider_alert_id=_flaw(alert, flaw) or alert.text("id") or content_id(alert.data),
            status="resolved" if (flaw.text("status") or "").lower() in _SOLVED else "new",
            title=rule.text("description", "comment") or f"Wazuh rule {number or 'unknown'}",
            description=log[:_MAX_LOG_CHARS] if log else None,
            severity=severity.of_wazuh(level),
            vendor_severity=rule.text("level"),
            category=tactics[0] if tactics else fallback,
            categories=tactics or [fallback],
            vendor_category=groups[0] if groups else None,
            techniques=attack.with_named(attack.techniques(record, alert.data), rule.texts("mitre.technique")),
            detector_id=number,
            detection_source="antivirus" if "virus" in groups else "unknown",
            first_activity=at,
            last_activity=at,
            threat_name=threat,
            vulnerabilities=flaw.texts("cve", "id"),
            evidence=evidence.items,
            additional=_additional(alert, rule, groups) | evidence.unsaid,
            fingerprint=(number or "", alert.text("agent.id", "agentip", "hostname") or "", seen),
        )
        done = alert.text("data.action") if "firewall" in groups else alert.text("data.win.eventdata.action Name")
        common_security_log.acted(made, done)
        return made

    def _summary(self, record: Record, alert: Fields) -> Alert:
        """What an integration script made of an alert: flat, with a few names that most scripts share."""
        at = first_time(alert, "timestamp", "created_at", "time", "lastReceived")
        evidence = Evidence(at)
        agent = alert.text("agent_name", "agent.name", "hostname")
        evidence.host(agent, addresses=[alert.text("agent_ip", "agent.ip")])
        source, user = alert.text("srcip", "src_ip", "source_ip"), alert.text("dstuser", "srcuser", "user")
        evidence.ip(source, ("source",))
        evidence.user(user)
        level, number = alert.number("level", "rule_level", "severity"), alert.text("rule_id")
        word = alert.text("severity", "level", "rule_level")
        return Alert(
            vendor=self.vendor,
            product=self.product,
            provider_alert_id=alert.text("id", "alert_id") or content_id(alert.data),
            title=alert.text("title", "name", "rule_description", "description") or f"Wazuh rule {number or 'unknown'}",
            description=alert.text("full_log", "text", "description", "message"),
            severity=severity.of_wazuh(level) if level is not None else severity.of_word(word),
            vendor_severity=word,
            category="SuspiciousActivity",
            techniques=attack.techniques(record, alert.data),
            detector_id=number,
            first_activity=at,
            last_activity=at,
            evidence=evidence.items,
            additional=alert.rest(),
            fingerprint=(number or "", alert.text("agent_id", "agent_name") or "", source or user or ""),
        )

    def _event(self, alert: Fields) -> Event:
        evidence = Evidence()
        _entities(alert, evidence)
        data = alert.object("data")
        columns = {
            "EventId": alert.text("id"),
            "EventType": alert.text("decoder.name", "decoder", "predecoder.program_name"),
            "Message": alert.text("full_log"),
            "HostName": alert.text("predecoder.hostname", "agent.name", "hostname"),
            "UserName": data.text("dstuser", "srcuser", "user"),
            "SourceIP": data.text("srcip", "src_ip"),
            "SourcePort": data.integer("srcport", "src_port"),
            "DestinationIP": data.text("dstip", "dest_ip"),
            "DestinationPort": data.integer("dstport", "dest_port"),
            "Protocol": data.text("protocol", "proto"),
            "AgentId": alert.text("agent.id"),
            "Decoder": alert.text("decoder.name"),
            "Location": alert.text("location"),
        }
        at = first_time(alert, "timestamp", "@timestamp", "TimeStamp")
        return event("WazuhEvents", at, columns, evidence, alert.rest(_USED - {"data"}))


def _flaw(alert: Fields, flaw: Fields) -> str | None:
    """Which vulnerability of which package of an agent: what is said later of it, that it is solved, is of the same."""
    package = flaw.text("package.name") or alert.text("package.name")
    return joined(alert.text("agent.id"), flaw.text("cve", "id"), package) if flaw else None


def _unwrapped(fields: Fields) -> Fields:
    """The alert inside an index hit, an integration's message or an active response."""
    for path in _WRAPPERS:
        inner = fields.object(path)
        if inner.object("rule"):
            return inner
    return fields


def _entities(alert: Fields, evidence: Evidence) -> str:
    """Collects; the answer is the entity that a repeat shares: source or destination address, or the account."""
    data = alert.object("data") or alert  # OSSEC puts decoded fields beside the rest
    _hosts(alert, evidence)
    inner = fast_log(alert.text("full_log") or "")
    if data.has("event_type") or "src_ip" in data.data:  # spelt as Suricata does: decoders of Wazuh say "srcip"
        eve_evidence(data, evidence)
    elif inner is not None:
        eve_evidence(inner, evidence)
    source, target = data.text("srcip", "src_ip", "sourceip"), data.text("dstip", "dest_ip")
    ports = data.integer("srcport", "src_port"), data.integer("dstport", "dest_port") or _port_of(target)
    if inner is None and evidence.flow(source, ports[0], target, ports[1], data.text("protocol", "proto")) is None:
        evidence.ip(source, ("source",))
        evidence.ip(target, ("destination",))
    target_user = data.text("dstuser", "user")
    for name in (data.text("srcuser"), target_user, data.text("audit.auid_name")):
        evidence.user(name)
    evidence.url(data.text("url"))
    _audit(data.object("audit"), evidence)
    _syscheck(alert.object("syscheck", "SyscheckFile"), evidence)
    _windows(data.object("win"), evidence)
    _integrations(data, evidence)
    return address(source) or address(target) or target_user or ""


def _port_of(text: str | None) -> int | None:
    """Of "192.0.2.1:80", as the Snort decoder leaves it."""
    tail = (text or "").rpartition(":")[2]
    return int(tail) if text and text.count(":") == 1 and tail.isdecimal() and len(tail) <= 5 else None


def _hosts(alert: Fields, evidence: Evidence) -> None:
    """The agent, and the host that wrote the log where that is another one (the manager reads forwarded syslog)."""
    agent = alert.object("agent")
    name = agent.text("name") or alert.text("agent_name")
    match = _ARROW.match(alert.text("location") or "")
    if match is not None:
        evidence.host(match["host"], addresses=[match["address"]])
    evidence.host(name, addresses=[agent.text("ip"), alert.text("agentip")], os=agent.text("os.name", "os.platform"))
    logged = alert.text("predecoder.hostname", "hostname")
    if logged is not None and logged != name:
        evidence.host(logged)
    evidence.host(alert.text("data.win.system.computer"))


def _audit(audit: Fields, evidence: Evidence) -> None:
    """Linux audit: who ran what on which file."""
    if not audit:
        return
    line = " ".join(text for key in ("a0", "a1", "a2", "a3") if (text := audit.text(f"execve.{key}")) is not None)
    evidence.process(
        line or audit.text("command"),
        name=audit.text("command"),
        path=audit.text("exe"),
        pid=audit.integer("pid"),
        parent_pid=audit.integer("ppid"),
    )
    if (path := audit.text("file.name")) is not None:
        evidence.file(path=path)


def _syscheck(check: Fields, evidence: Evidence) -> None:
    if not check:
        return
    hashes = [check.text(f"{kind}_{when}") for kind in ("sha256", "sha1", "md5") for when in ("after", "before")]
    path = check.text("path")
    if path is not None and path.upper().startswith(("HKEY_", "HKLM", "HKCU")):
        evidence.registry(path, check.text("value_name"))
    else:
        evidence.file(None, path, hashes, size=check.integer("size_after", "size"))
    audit = check.object("audit")
    user = evidence.user(audit.text("user.name", "login_user.name", "effective_user.name"))
    for path in ("login_user.name", "effective_user.name"):
        evidence.user(audit.text(path))
    who = audit.object("process")
    evidence.process(name=None, path=who.text("name"), pid=who.integer("id"), user=user)


def _sid(data: Fields, *names: str) -> str | None:
    """None where it is that of nobody."""
    said = data.text(*names)
    return None if said == _NOBODY else said


def _windows(win: Fields, evidence: Evidence) -> None:
    """Event channel records: Security and Sysmon name the same things in their own ways."""
    data = win.object("eventdata")
    if not data:
        return
    subject = evidence.user(
        data.text("user", "subjectUserName"), domain=data.text("subjectDomainName"), sid=_sid(data, "subjectUserSid")
    )
    evidence.user(
        data.text("targetUserName"), domain=data.text("targetDomainName"), sid=_sid(data, "targetUserSid", "targetSid")
    )
    evidence.process(
        data.text("commandLine", "processCommandLine"),
        path=data.text("image", "newProcessName", "processName", "sourceImage"),
        pid=data.integer("processId", "newProcessId"),
        hashes=[data.text("hashes", "hash")],
        user=subject,
        parent_path=data.text("parentImage", "parentProcessName"),
        parent_pid=data.integer("parentProcessId"),
    )
    if (loaded := data.text("targetFilename", "imageLoaded")) is not None:
        evidence.file(path=loaded, hashes=[data.text("hashes")] if data.has("imageLoaded") else [])
    evidence.registry(data.text("targetObject"), None, data.text("details"))
    source, target = data.text("sourceIp"), data.text("destinationIp")
    ports = data.integer("sourcePort"), data.integer("destinationPort")
    evidence.flow(source, ports[0], target, ports[1], data.text("protocol"))
    evidence.ip(data.text("ipAddress", "sourceAddress"), ("source",))
    evidence.host(data.text("workstationName"))
    evidence.domain(data.text("queryName"))
    if (threat := data.text("threat Name", "threatName")) is not None:
        user = evidence.user(data.text("detection User", "detectionUser"))
        evidence.process(path=data.text("process Name"), user=user)
        evidence.malware(threat, data.text("category Name", "categoryName"))
        evidence.file(path=(data.text("path") or "").partition(":_")[2] or None)


def _integrations(data: Fields, evidence: Evidence) -> None:
    """What Wazuh's own modules bring in: AWS, Office 365, VirusTotal, Docker, GitHub, YARA."""
    if (path := data.text("yara_scanned_file", "YARA.scanned_file", "file")) is not None and "/" in path:
        evidence.file(None, path)
    if (module := data.text("integration")) is not None:
        leftover.collect(data.object(module).data, evidence)
        evidence.domain(data.text(f"{module}.jsonPayload.queryName"))
    if not data.has("aws", "office365", "docker", "github", "virustotal"):
        return
    aws, office, docker = data.object("aws"), data.object("office365"), data.object("docker")
    evidence.user(aws.text("userIdentity.userName", "userIdentity.principalId"))
    evidence.ip(
        aws.text(
            "sourceIPAddress",
            "source_ip_address",
            "service.action.portProbeAction.portProbeDetails.remoteIpDetails.ipAddressV4",
        ),
        ("source",),
    )
    evidence.amazon(
        aws.text("resource.instanceDetails.instanceId", "userIdentity.arn"),
        account=aws.text("accountId", "recipientAccountId"),
    )
    evidence.user(office.text("UserId"))
    evidence.ip(office.text("ClientIP", "ActorIpAddress"), ("source",))
    evidence.url(office.text("ObjectId"))  # of SharePoint and OneDrive
    evidence.file(office.text("SourceFileName"))
    evidence.malware(office.text("VirusInfo"))
    if office.has("P2Sender", "P1Sender"):
        for recipient in (office.texts("Recipients") or [""])[:50]:
            evidence.message(
                office.text("NetworkMessageId"),
                internet_id=office.text("InternetMessageId"),
                sender=office.text("P2Sender"),
                envelope_sender=office.text("P1Sender"),
                recipient=recipient or None,
                sender_ip=office.text("SenderIp"),
                subject=office.text("Subject"),
                threats=office.texts("Verdict"),
            )
    evidence.container(
        docker.text("Actor.ID", "id"),
        docker.text("Actor.Attributes.name"),
        docker.text("Actor.Attributes.image", "from"),
    )
    evidence.user(data.text("github.actor"))
    evidence.ip(data.text("github.actor_ip"), ("source",))
    evidence.repository(data.text("github.repo"))
    found = data.object("virustotal")
    evidence.file(None, found.text("source.file"), [found.text("source.sha1"), found.text("source.md5")])


def _additional(alert: Fields, rule: Fields, groups: list[str]) -> dict[str, Any]:
    kept = alert.rest(frozenset({"rule", "agent", "id", "timestamp", "full_log"}))
    parts: dict[str, Any] = {
        "rule": rule.rest(frozenset({"description", "comment", "id", "level"})) or None,
        "groups": groups or None,
        "agent": alert.object("agent").rest() or None,
        "sourceTimestamp": alert.text("predecoder.timestamp") if when(alert.raw("timestamp")) is None else None,
    }
    return kept | {name: value for name, value in parts.items() if value is not None}


def _of_cef(event: cef.Cef) -> Fields:
    """What the manager's syslog output writes as CEF, by the names of its JSON."""
    said = event.fields
    return Fields(
        {
            "timestamp": said.raw("rt", "start", "syslogTime"),
            "rule": {"id": event.signature, "description": event.name, "level": event.severity,
                     "groups": [part for part in (said.text("classification", "cat") or "").split(",") if part]},
            "agent": {"name": said.raw("dvc", "dvchost", "syslogHost")},
            "location": said.raw("Location", "cs1"),
            "data": {"srcip": said.raw("src"), "dstip": said.raw("dst"), "dstuser": said.raw("suser", "duser")},
            "full_log": said.raw("msg"),
        }
    )  # fmt: skip
