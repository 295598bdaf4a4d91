"""Suricata: EVE records, and the lines of fast.log. `alert` records become alerts, all others events.

Snort's alerts are read as well: its lines, also by syslog, and the JSON of Snort 3.
Source: Suricata User Guide, "EVE JSON Format"; classification.config of the Suricata distribution; Snort 3 User Manual,
"alert_json", "alert_syslog".
"""

import re
from collections.abc import Iterator
from typing import Any

from bartizan.extend import Event, GraphObject, Record, Source
from bartizan.model import security as graph
from bartizan.model.alert import Alert, Severity
from bartizan.sources import attack, severity, syslog
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, content_id, inner_json, joined, lines_of, objects_of
from bartizan.sources.generic import guess_event, unread
from bartizan.sources.tables import event
from bartizan.sources.times import carried, first_time

# The description of a class of rules -> category.
_CLASSES = {
    "attempted information leak": "Discovery",
    "information leak": "Exfiltration",
    "large scale information leak": "Exfiltration",
    "attempted denial of service": "Impact",
    "denial of service": "Impact",
    "detection of a denial of service attack": "Impact",
    "attempted user privilege gain": "PrivilegeEscalation",
    "unsuccessful user privilege gain": "PrivilegeEscalation",
    "successful user privilege gain": "PrivilegeEscalation",
    "attempted administrator privilege gain": "PrivilegeEscalation",
    "successful administrator privilege gain": "PrivilegeEscalation",
    "decode of an rpc query": "Discovery",
    "rpc portmap decode": "Discovery",
    "executable code was detected": "Execution",
    "a system call was detected": "Execution",
    "an attempted login using a suspicious username was detected": "CredentialAccess",
    "attempt to login by a default username and password": "CredentialAccess",
    "successful credential theft detected": "CredentialAccess",
    "a network trojan was detected": "Malware",
    "targeted malicious activity was detected": "Malware",
    "detection of a network scan": "Discovery",
    "device retrieving external ip address detected": "Discovery",
    "access to a potentially vulnerable web application": "InitialAccess",
    "web application attack": "InitialAccess",
    "exploit kit activity detected": "Exploit",
    "domain observed used for c2 detected": "CommandAndControl",
    "malware command and control activity detected": "CommandAndControl",
    "possibly unwanted program detected": "UnwantedSoftware",
    "possible social engineering attempted": "Phishing",
    "crypto currency mining activity detected": "Impact",
}
_SIGNATURE_SEVERITY: dict[str, Severity] = {
    "informational": "informational",
    "minor": "low",
    "major": "medium",
    "critical": "high",
}
# With the marks and the time of a file, or as syslog carries it.
_FAST = re.compile(
    r"(?:(?P<time>\d\d/\d\d(?:/\d{2,4})?-\d\d:\d\d:\d\d\.\d{1,6})\s+)?(?P<drop>\[Drop\]\s+)?(?:\[\*\*\]\s+)?"
    r"\[(?P<gid>\d{1,9}):(?P<sid>\d{1,10}):(?P<rev>\d{1,9})\]"
    r"\s(?P<signature>.{1,500}?)\s(?:\[\*\*\]\s+)?"
    r"(?:\[Classification: (?P<category>[^\]]{1,200})\]\s+)?\[Priority: (?P<severity>\d)\]:?"
    r"(?:\s+<[^>]{1,32}>)?\s+\{(?P<proto>[^}]{1,20})\}\s+(?P<source>\S{1,60})\s+->\s+(?P<target>\S{1,60})",
    re.ASCII,
)
_STOPPED = ("drop", "block", "reject", "reset")  # of Snort's actions
_HOST_PORT = re.compile(r"(.{2,45}?)(?::(\d{1,5}))?", re.ASCII)
_USED = frozenset(
    """
    timestamp event_type src_ip src_port dest_ip dest_port proto alert host in_iface agent input log ecs suricata
    """.split()
)


def fast_log(text: str) -> Fields | None:
    """A line of fast.log (Suricata's and Snort's) as the EVE record that it would be; None where it is none."""
    match = _FAST.search(text[:4_096])
    if match is None:
        return None
    source, target = _HOST_PORT.fullmatch(match["source"]), _HOST_PORT.fullmatch(match["target"])
    if source is None or target is None:
        return None
    alert = {
        "action": "blocked" if match["drop"] else "allowed",
        "gid": int(match["gid"]),
        "signature_id": int(match["sid"]),
        "rev": int(match["rev"]),
        "signature": match["signature"],
        "category": match["category"],
        "severity": int(match["severity"]),
    }
    line = syslog.read(text[:4_096]) if match["time"] is None else None
    eve = {
        "timestamp": match["time"] if line is None else line.time,
        "event_type": "alert",
        "proto": match["proto"],
        "alert": alert,
        "host": line.host if line else None,
        "program": line.app if line else None,
        "src_ip": source[1],
        "src_port": source[2],
        "dest_ip": target[1],
        "dest_port": target[2],
    }
    return Fields({name: value for name, value in eve.items() if value is not None})


def _of_snort(said: Fields) -> Fields:
    """An alert of Snort 3 (alert_json) as the EVE record that it would be."""
    gid, _, rest = (said.text("rule") or "").partition(":")
    sid, _, rev = rest.partition(":")
    alert = {
        "action": "blocked" if (said.text("action") or "").lower() in _STOPPED else "allowed",
        "gid": said.raw("gid") or gid,
        "signature_id": said.raw("sid") or sid,
        "rev": said.raw("rev") or rev,
        "signature": said.raw("msg"),
        "category": said.raw("class"),
        "severity": said.raw("priority"),
    }
    names = {"src_ip": "src_addr", "src_port": "src_port", "dest_ip": "dst_addr", "dest_port": "dst_port"}
    eve = {name: said.raw(key) for name, key in names.items()} | {
        "timestamp": said.raw("seconds", "timestamp"),
        "event_type": "alert",
        "program": "snort",
        "proto": said.raw("proto"),
        "alert": alert,
    }
    return said.also(eve)


def eve_severity(alert: Fields) -> Severity:
    word = alert.text("metadata.signature_severity") or ""
    return _SIGNATURE_SEVERITY.get(word.lower()) or severity.of_suricata(alert.number("severity"))


_SIDES: tuple[tuple[str, graph.EvidenceRole], ...] = (
    ("alert.source.ip", "attacker"),
    ("alert.target.ip", "attacked"),
)


def eve_evidence(eve: Fields, evidence: Evidence) -> None:
    """The connection and what was seen in it: names, URLs, files, accounts."""
    source, target = eve.text("src_ip", "source.ip"), eve.text("dest_ip", "destination.ip")
    source_port, target_port = eve.integer("src_port", "source.port"), eve.integer("dest_port", "destination.port")
    protocol = eve.text("proto", "network.transport")
    evidence.flow(source, source_port, target, target_port, protocol)
    for path, role in _SIDES:
        evidence.ip(eve.text(path), (role,))
    http = eve.object("http")
    evidence.domain(http.text("hostname"))
    evidence.url(_url(http))
    evidence.domain(eve.text("tls.sni", "quic.sni"))
    for name, answers in _resolved(eve.object("dns")):
        evidence.domain(name, answers)
    for file in [*eve.objects("files"), *eve.objects("fileinfo")]:
        _file(file, evidence)
    ntlm = eve.object("smb.ntlmssp")
    evidence.host(ntlm.text("host"), domain=ntlm.text("domain"))
    evidence.user(ntlm.text("user"), domain=ntlm.text("domain"))
    evidence.user(eve.text("krb5.cname"), domain=eve.text("krb5.realm"))
    evidence.host(eve.text("dhcp.hostname"), addresses=[eve.text("dhcp.assigned_ip")])
    mail = ("email.from", "email.to", "email.cc", "smtp.mail_from", "smtp.rcpt_to")
    for text in [text for path in mail for text in eve.texts(path)][:50]:
        evidence.mailbox(text)
    shared = eve.text("smb.filename")
    evidence.file((shared or "").rpartition("\\")[2] or None, shared)
    for text in eve.texts("email.url")[:50]:
        evidence.url(text)


def _url(http: Fields) -> str | None:
    host, path = http.text("hostname"), http.text("url")
    if path is None or "://" in path:
        return path
    return f"http://{host}{path}" if host and path.startswith("/") else None


def _file(file: Fields, evidence: Evidence) -> None:
    hashes = [file.text("sha256"), file.text("sha1"), file.text("md5")]
    name = (file.text("filename") or "").rpartition("/")[2] or None
    if name or any(hashes):
        evidence.file(name, file.text("filename"), hashes, size=file.integer("size"))


def _resolved(dns: Fields) -> Iterator[tuple[str | None, list[str]]]:
    """Names asked for and the addresses answered, in any of the three versions of the record."""
    answers = dns.objects("answers")
    found = [text for answer in answers if (text := answer.text("rdata")) and answer.text("rrtype") in ("A", "AAAA")]
    found += [*dns.texts("grouped.A"), *dns.texts("grouped.AAAA")]
    asked = [dns.text("rrname", "query.rrname"), *(query.text("rrname") for query in dns.objects("queries", "query"))]
    names = [name for name in dict.fromkeys(asked) if name is not None]
    for answer in answers[:50]:
        if (name := answer.text("rrname")) is not None and name not in names:
            names.append(name)
    for index, name in enumerate(names):
        yield name, found if index == 0 else []


class Suricata(Source):
    name = "suricata_eve"
    vendor = "OISF"
    product = "Suricata"
    marks = (
        "event_type+flow_id event_type+src_ip+timestamp event_type=alert+alert event_type=stats+stats "
        "event_type+src_ip+dest_ip event_type+src_ip+dest_ip+proto "
        "event_type=alert+alert.signature_id+flow_id event_type+timestamp+pcap_cnt "
        "alert.signature_id+src_ip flow_id+src_ip+alert rule+msg+src_addr+dst_addr "
        "suricata.eve+source.ip"
    )
    pattern = re.compile(
        r"\[\*\*\] \[\d+:\d+:\d+\] "
        r"|\b(?:suricata|snort)\S{0,20}: (?:\[Drop\] )?\[\d{1,9}:\d{1,10}:\d{1,9}\] .{1,500}\[Priority: \d\]"
    )
    sourcetypes = ("suricata", "suricata:*", "suricata_eve", "eve:*")

    def normalise(self, record: Record) -> Iterator[Alert | Event | GraphObject]:
        found = objects_of(record, taken=False)
        if not any(_inside(fields).has("event_type", "alert.signature") for fields in found):
            lines = [line for text in lines_of(record) if (line := fast_log(text)) is not None]
            found = lines or objects_of(record) or found
        if not found:
            yield from unread(record, "SuricataEvents")
        for fields in found:
            eve = _inside(fields)
            kind, signature = eve.text("event_type"), eve.text("alert.signature_id", "alert.signature")
            if signature is not None and kind in ("alert", None):
                yield self._alert(record, eve)
            elif kind is not None:
                yield self._event(eve)
            else:
                yield guess_event(eve, "SuricataEvents")

    def _alert(self, record: Record, eve: Fields) -> Alert:
        alert = eve.object("alert")
        at = first_time(eve, "timestamp", "@timestamp", "seconds") or carried(record)
        action = alert.text("action")
        status: graph.EvidenceRemediationStatus = "blocked" if action == "blocked" else "none"
        evidence = Evidence(at, remediation=status)
        eve_evidence(eve, evidence)
        number, metadata = alert.text("signature_id"), alert.object("metadata")
        tactics = attack.tactics(*metadata.texts("mitre_tactic_id"), *metadata.texts("mitre_tactic_name"))
        vendor_category = alert.text("category")
        fallback = _CLASSES.get((vendor_category or "").lower(), "SuspiciousActivity")
        sensor = eve.text("host", "host.name", "agent.hostname", "sensor_name")
        snort = (eve.text("program") or "").lower().startswith("snort")
        return Alert(
            vendor="Cisco" if snort else self.vendor,
            product="Snort" if snort else self.product,
            sub_provider=sensor,
            provider_alert_id=joined(eve.text("flow_id"), at, number) or content_id(eve.data),
            title=alert.text("signature") or f"Suricata signature {number or 'unknown'}",
            severity=eve_severity(alert),
            vendor_severity=alert.text("metadata.signature_severity", "severity"),
            category=tactics[0] if tactics else fallback,
            categories=tactics or [fallback],
            vendor_category=vendor_category,
            techniques=attack.techniques(record, alert.data),
            detector_id=joined(alert.text("gid") or "1", number, alert.text("rev") or "0"),
            first_activity=at,
            last_activity=at,
            vulnerabilities=[_cve(text) for text in metadata.texts("cve")],
            evidence=evidence.items,
            additional=_additional(eve, alert, sensor) | evidence.unsaid,
            fingerprint=(number or "", eve.text("src_ip") or "", eve.text("dest_ip") or ""),
        )

    def _event(self, eve: Fields) -> Event:
        evidence = Evidence()
        eve_evidence(eve, evidence)
        flow, http, tls, dns = eve.object("flow", "netflow"), eve.object("http"), eve.object("tls"), eve.object("dns")
        asked = next(_resolved(dns), (None, []))
        kind = eve.text("event_type")
        sensor = eve.text("host", "host.name", "agent.hostname")
        evidence.observe("host", sensor, "sensor")
        columns: dict[str, Any] = {
            "EventType": kind,
            "EventId": joined(eve.text("flow_id"), eve.text("tx_id")),
            "Message": eve.text("anomaly.event", "flow.reason", "ssh.client.software_version", "ftp.command"),
            "HostName": sensor,
            "SourceIP": eve.text("src_ip"),
            "SourcePort": eve.integer("src_port"),
            "DestinationIP": eve.text("dest_ip"),
            "DestinationPort": eve.integer("dest_port"),
            "Protocol": eve.text("proto"),
            "AppProtocol": eve.text("app_proto"),
            "FlowId": eve.integer("flow_id"),
            "CommunityId": eve.text("community_id"),
            "Interface": eve.text("in_iface"),
            "FileName": eve.text("fileinfo.filename", "smb.filename"),
            "SHA256": eve.text("fileinfo.sha256"),
            "Url": _url(http),
            "DomainName": asked[0] or tls.text("sni") or http.text("hostname"),
            "HttpMethod": http.text("http_method"),
            "HttpStatus": http.integer("status"),
            "UserAgent": http.text("http_user_agent"),
            "DnsType": dns.text("rrtype", "queries.rrtype"),
            "DnsAnswers": asked[1] or None,
            "TlsSubject": tls.text("subject"),
            "TlsIssuer": tls.text("issuerdn"),
            "Ja3": tls.text("ja3.hash"),
            "BytesToServer": flow.integer("bytes_toserver"),
            "BytesToClient": flow.integer("bytes_toclient"),
        }
        used = _USED | {"flow_id", "community_id", "app_proto"}
        return event("SuricataEvents", first_time(eve, "timestamp", "@timestamp"), columns, evidence, eve.rest(used))


def _inside(fields: Fields) -> Fields:
    """The EVE record inside what shippers wrap around it."""
    if fields.has("event_type"):
        return fields
    if fields.has("src_addr", "dst_addr") and fields.has("rule", "sid") and fields.has("msg"):
        return _of_snort(fields)
    inner = fields.object("suricata.eve")
    if inner:
        return Fields({**fields.data, **inner.data})
    for path in ("message", "event.original", "_source"):
        found = inner_json(fields.raw(path))
        if isinstance(found, dict) and "event_type" in found:
            return Fields({**fields.data, **found})
    return fields


def _cve(text: str) -> str:
    """Rules write CVE_2021_44228 or 2021-44228."""
    plain = text.upper().replace("_", "-")
    return plain if plain.startswith("CVE-") else f"CVE-{plain}"


def _additional(eve: Fields, alert: Fields, sensor: str | None) -> dict[str, Any]:
    kept = eve.rest(_USED)
    named = {"signature", "signature_id", "gid", "rev", "severity", "category"}
    parts = {
        "classtype": alert.text("category"),
        "sensor": sensor or eve.text("in_iface"),
        "interface": eve.text("in_iface"),
        "alert": alert.rest(frozenset(named)) or None,
    }
    return kept | {name: value for name, value in parts.items() if value is not None}
