"""Check Point: logs of gateways in every form of the Log Exporter, alerts of Harmony Email and Harmony Mobile.

The forms are CEF, LEEF, syslog, key and value, JSON and the legacy export. What a threat prevention blade detects or
prevents is an alert, the rest are events.

Source: Check Point, "Log Exporter", "Log fields description" (sk144192); Harmony Email & Collaboration, "Security
events", and its API, "Event query"; Harmony Mobile, "SIEM events".
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bartizan.extend import Event, GraphObject, Record
from bartizan.model.alert import Alert, Severity
from bartizan.sources import attack, cef, common_security_log, leef, pairs, syslog
from bartizan.sources.entities import account
from bartizan.sources.evidence import Evidence, Place
from bartizan.sources.fields import Fields, as_text, objects_of, opened, texts_of
from bartizan.sources.severity import of_cef, of_five
from bartizan.sources.shape import Paths, Shape
from bartizan.sources.times import first_time

_FIRST = "rt time start end syslogTime"
# The exporter's own names -> keys of CEF.
_CEF = {
    "action": "act",
    "rule_action": "act",
    "s_port": "spt",
    "service": "dpt",
    "origin": "dvc",
    "origin_ip": "dvc",
    "product": "deviceProduct",
    "ProductName": "deviceProduct",
    "svc": "dpt",
    "sport_svc": "spt",
    "src_user_name": "suser",
    "user": "suser",
    "user_name": "suser",
    "administrator": "suser",
    "src_machine_name": "shost",
    "dst_machine_name": "dhost",
    "dst_user_name": "duser",
    "xlatesrc": "sourceTranslatedAddress",
    "xlatedst": "destinationTranslatedAddress",
    "xlatesport": "sourceTranslatedPort",
    "xlatedport": "destinationTranslatedPort",
    "resource": "request",
    "file_name": "fname",
    "file_size": "fsize",
    "client_name": "shost",
    "src_ip": "src",
    "dst_ip": "dst",
    "client_ip": "src",  # of an administrator
    "machine": "shost",
    "appi_name": "app",
    "operation": "name",
    "service_id": "name",
    "audit_status": "outcome",
    "additional_info": "msg",
    "fieldschanges": "msg",
    "drop_reason": "reason",
    "hostname": "dvchost",
    "rule_name": "cs2",
    "from": "suser",
    "to": "duser",
    "loguid": "externalId",
}
# Of the legacy text export: cells in quotes, in this order.
_LEGACY = (
    "number", "date", "time_of_day", "interface", "origin", "type", "action", "service", "s_port", "src", "dst",
    "protocol_name", "rule", "rule_name", "policy", "user", "information", "product", "", "",
)  # fmt: skip
_CELLS = re.compile(r'"((?:[^"\\]|\\.)*+)"')
_BROKEN_HEADER = re.compile(r"(CEF:\s?\d)\|\|")

_BLADES = re.compile(
    r"threat|anti.?(?:bot|virus|malware|ransomware|exploit|phishing)|\bips\b|smart ?defense|forensics|phishing"
    r"|sandblast|malware|endpoint behavioral|\bwaf\b|harmony",
    re.IGNORECASE,
)
_LEVELS: Mapping[str, Severity] = {
    "0": "informational",
    "1": "low",
    "2": "medium",
    "3": "high",
    "4": "high",
    "very-high": "high",
}
_CATEGORIES: Mapping[str, str] = {
    "phishing": "Phishing",
    "suspected_phishing": "Phishing",
    "malicious_url": "Phishing",
    "malicious_url_click": "Phishing",
    "malware": "Malware",
    "suspected_malware": "Malware",
    "dlp": "Exfiltration",
    "anomaly": "SuspiciousActivity",
    "ips": "Exploit",
    "anti-bot": "CommandAndControl",
    "anti-virus": "Malware",
    "new anti virus": "Malware",
    "threat emulation": "Malware",
    "file reputation": "Malware",
    "file system emulation": "Malware",
    "anti-ransomware": "Ransomware",
}
# Words of a protection's type or action -> category, where the blade says less.
_IN_WORDS = (
    ("c&c", "CommandAndControl"),
    ("ransomware", "Ransomware"),
    ("phishing", "Phishing"),
    ("anti-bot", "CommandAndControl"),
    ("anti malware", "Malware"),
    ("anti-virus", "Malware"),
    ("smartdefense", "Exploit"),
    ("ips", "Exploit"),
)
_PERSON = re.compile(r"[^()]{1,200}\(([\w.@-]{2,100})\)")  # "Ann Other (aother)", as Identity Awareness names a user
_OF_MAIL = ("from", "to", "email_id", "email_message_id", "email_subject", "email_session_id", "email_control")
_WINDOWS = re.compile(r"[A-Za-z]:\\")
_DEFANGED = re.compile(r"\[\.\]|\(\.\)")
# Of packets that were dropped together: "<10.0.0.5,59912,192.0.2.7,445,6;eth0> <...".
_PACKET = re.compile(r"<([^,<>]{2,45}),(\d{1,5}),([^,<>]{2,45}),(\d{1,5}),(\d{1,3})[;>]")
MAX_PACKETS = 50  # of one record that become evidence
_ATTACK = "mitre_"  # begins the field of a tactic
_NAMED = re.compile(r"(Domain|URL|Url|IP|App|Package|SSID)\s?:\s?(\S{1,2048})")


class CheckPoint(Shape):
    name = "checkpoint"
    vendor = "Check Point"
    product = "Quantum"
    marks = (
        "loguid+product+action origin+product+action orig+product+product_family event.security_event "
        "saas+confidenceIndicator+eventId responseData.confidenceIndicator "
        "attack_vector+device_id+threat_factors "
        "product_family+product+blade product_family+product+src product=Harmony*+action"
    )
    pattern = re.compile(
        r"\bCEF:\s?\d\|{1,2}Check Point\||\[action:\"|\bloguid[=:]\"?\{0x|CheckPoint \d+ - |\A0\|Check Point\|"
        r"|\[Fields@1\.3\.6\.1\.4\.1\.2620 "
        r"|(?:\A|\|)product=(?:Anti-|Threat |SmartDefense|IPS|VPN-1|Application Control|URL Filtering|Forensics)"
        r"[^|]{0,60}\|.{0,2000}?\b(?:src|origin|action)="
        r"|\A\"\d+\" \"\d{1,2}[A-Z][a-z]{2}\d{4}\" \"\d\d:\d\d:\d\d\" "
    )
    sourcetypes = ("cp_log*", "checkpoint:*", "opsec*")
    alert = Paths(
        id="loguid externalId id",
        title="protection_name attack malware_family appi_name name",
        description="description attack_info malware_action message_info",
        severity="severity deviceSeverity",
        words=_LEVELS,
        vendor_category="protection_type product deviceProduct",
        categories=_CATEGORIES,
        tactics="mitre_tactics",
        detector="protection_id protection_name attack deviceEventClassId",
        first=_FIRST,
        threat="protection_name malware_family",
        confidence="",
        cves="industry_reference",
        fold="src dst src_user_name",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        record = opened(record)
        if isinstance(record.data, dict | list) and (
            found := [_flat(item) for item in objects_of(record, "responseData")]
        ):
            inside = [
                fields
                for fields in found
                if fields.has("event.security_event", "attack_vector", "src", "product", "confidenceIndicator")
            ]
            if inside:
                return inside
        return [fields for text in texts_of(record) for fields in _of_text(text)]

    def is_alert(self, fields: Fields) -> bool:
        if fields.has("event.security_event", "attack_vector") or _is_told(fields):
            return True
        action = (fields.text("act") or "").lower()
        blade = fields.text("product", "deviceProduct") or ""
        return _BLADES.search(blade) is not None and (
            action in ("prevent", "detect", "block", "quarantine", "inform user", "extract")
            or fields.has("protection_name", "malware_action", "attack")
        )

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        if fields.has("event.security_event"):
            _mail(fields.object("event"), evidence)
            return
        if fields.has("attack_vector"):
            _mobile(fields, evidence)
            return
        if _is_told(fields):
            evidence.message(None, sender=fields.text("senderAddress"), threats=fields.texts("type"))
            evidence.url(fields.text("entityUrl"))
            evidence.mailbox(fields.text("userAddress", "recipientAddress"), roles=("destination",))
            return
        program = fields.text("process_name")
        path = program if program is not None and _WINDOWS.match(program) else None
        hashes = [fields.text("process_md5", "process_sha1", "process_sha256")]
        evidence.process(fields.text("process_command_line"), name=None if path else program, path=path, hashes=hashes)
        mailed = _mailed(fields)
        common_security_log.entities(mailed, evidence)
        evidence.host(fields.text("machine"))
        for key in ("shost", "dhost"):
            machine = account(fields.text(key))  # "host@domain", as Identity Awareness names a machine
            if machine.upn is not None:
                evidence.host(machine.name)
                evidence.observe("host", machine.upn)
        for key in ("src_user_name", "user", "suser"):
            said = mailed.text(key)
            person = _PERSON.fullmatch(said or "")
            evidence.user(person[1] if person else said, sid=fields.text("user_sid"), display=said if person else None)
            evidence.observe("user", said if person else None)
        evidence.malware(fields.text("malware_family", "virus_name") or _threat(fields))
        evidence.domain(fields.text("tls_server_host_name", "sni", "domain_name", "dst_domain_name"))
        asked = fields.text("resource") or ""
        evidence.file(
            fields.text("file_name", "fname"),
            asked if _WINDOWS.match(asked) else None,  # of a blade on an endpoint
            [fields.text("file_sha256"), fields.text("file_sha1"), fields.text("file_md5")],
        )
        _message(fields, evidence)
        evidence.ip(fields.text("client_ip"), ("source",))
        if "/" not in asked and "\\" not in asked:  # the name that a bot looked up
            evidence.domain(asked or None)
        evidence.ip(fields.text("peer_gateway"), ("destination",))
        for here, port, there, other, number in _PACKET.findall(fields.text("packets") or "")[:MAX_PACKETS]:
            evidence.flow(here, int(port), there, int(other), number)

    def finish(self, fields: Fields, alert: Alert) -> None:
        if fields.has("event.security_event"):
            _of_mail(fields.object("event"), alert)
        elif fields.has("attack_vector"):
            _of_mobile(fields, alert)
        elif _is_told(fields):
            _of_event(fields, alert)
        else:
            blade, act = fields.text("product", "deviceProduct"), fields.text("act")
            alert.product = blade or self.product
            named = fields.text(
                "protection_name", "Protection Name", "attack", "malware_family", "name", "malware_action"
            )
            alert.title = f"{blade}: {act}" if named is None or named.lower() in (act or "").lower() else named
            if alert.severity == "unknown" and fields.has("eventId", "deviceEventClassId"):
                alert.severity = of_cef(fields.number("deviceSeverity", "sev"))  # of LEEF, 1 to 10
            if alert.category == "SuspiciousActivity":
                words = " ".join(fields.texts("malware_action") + fields.texts("protection_type") + [blade or ""])
                found = (ours for word, ours in _IN_WORDS if re.search(rf"(?<![a-z]){word}(?![a-z])", words.lower()))
                alert.category = next(found, alert.category)
                alert.categories = [alert.category]
            _of_attack(fields, alert)
            alert.vulnerabilities = [
                name for text in alert.vulnerabilities for name in re.findall(r"CVE-\d{4}-\d{4,7}", text)
            ]
            common_security_log.acted(alert, act)

    def event(self, fields: Fields) -> Iterator[Event | GraphObject]:
        yield from common_security_log.told(fields, self.entities, _FIRST.split())


def _of_attack(fields: Fields, alert: Alert) -> None:
    """Each tactic has a field of its own, in which techniques are named: mitre_execution="PowerShell"."""
    said = {name: key for key in fields.data if key.startswith(_ATTACK) and (name := attack.tactic(key)) is not None}
    found = {name: fields.texts(key) for name, key in said.items() if fields.texts(key)}
    if found:
        own = [name for name in alert.categories if name != "SuspiciousActivity"]
        alert.categories = list(dict.fromkeys([*own, *found]))
        alert.category = alert.categories[0]
        names = (name.strip() for texts in found.values() for text in texts for name in re.split(r"[,;|\n]", text))
        alert.techniques = attack.with_named(alert.techniques, names)


def _mailed(fields: Fields) -> Fields:
    """Of a record of a mail what is left without its sender and recipients, who are no accounts for that."""
    if not fields.has(*_OF_MAIL):
        return fields
    return fields.without(*(key for key in ("suser", "duser") if "@" in (fields.text(key) or "")))


def _message(fields: Fields, evidence: Evidence) -> None:
    if not fields.has(*_OF_MAIL):
        return
    sender, recipients = fields.text("from", "suser"), fields.texts("to") or fields.texts("duser")
    if any("@" in text for text in [sender or "", *recipients]):
        for to in common_security_log.people(recipients) or [""]:
            evidence.message(
                fields.text("email_id"),
                internet_id=fields.text("email_message_id"),
                sender=sender,
                recipient=to or None,
                subject=fields.text("email_subject"),
            )


def _threat(fields: Fields) -> str | None:
    blade = (fields.text("product", "deviceProduct") or "").lower()
    return fields.text("protection_name") if "bot" in blade or "virus" in blade or "emulation" in blade else None


def _flat(fields: Fields) -> Fields:
    """The exporter's names, which can be read by the keys of CEF as well."""
    names: dict[str, Any] = {}
    for name, key in _CEF.items():
        if fields.has(name) and not fields.has(key):
            names.setdefault(key, fields.raw(name))
    if not fields.has("deviceVendor"):
        names["deviceVendor"] = "Check Point"
    for key in ("suser", "duser"):
        if (person := _PERSON.fullmatch(as_text(names.get(key)) or "")) is not None:
            names[key] = person[1]
    return fields.also(names)


def _of_text(text: str) -> Iterator[Fields]:
    lines = [line.fields for line in cef.records(Record(b"", _BROKEN_HEADER.sub(r"\1|", text), None))]
    lines = lines or [line.fields for line in leef.records(Record(b"", text, None))]
    if lines:
        yield from map(_flat, lines)
        return
    line = syslog.read(text)
    data = pairs.colons(line.message) or _cells(line.message)
    if not data:
        data = pairs.read(line.message) or next(iter(line.structured.values()), {})
    if "action" in data or "src" in data or "product" in data:
        yield _flat(Fields(data, {"syslogTime": line.time, "syslogHost": line.host}))


def _cells(text: str) -> dict[str, Any]:
    """The legacy export: `"1832941" "20Dec2019" "12:04:05" ...`; its information cell is `name: value; name: value`."""
    cells = _CELLS.findall(text) if text.startswith('"') else []
    if len(cells) < 12:
        return {}
    data: dict[str, Any] = {name: cell for name, cell in zip(_LEGACY, cells, strict=False) if name and cell}
    data["time"] = f"{data.get('date', '')} {data.get('time_of_day', '')}".strip()
    said, _ = pairs.labelled(part for part in str(data.get("information", "")).split(";"))
    return said | data


# ---------------------------------------------------------------- Harmony Email, Harmony Mobile


def _mail(event: Fields, evidence: Evidence) -> None:
    mail, actor = event.object("entity.entity_payload"), event.object("security_event.saas_info.saas_actor_payload")
    found = event.object("security_event.entity_payload")
    recipients = mail.texts("recipients") or mail.texts("to") or mail.texts("orig_recipient")
    for recipient in (recipients or [""])[:100]:
        evidence.message(
            mail.text("network_message_id"),
            internet_id=mail.text("internet_message_id"),
            sender=mail.text("from_email") or found.text("event_metadata.sender_address"),
            envelope_sender=mail.text("envelope_from"),
            recipient=recipient or None,
            sender_ip=mail.text("sender_client_ip", "sender_server_ip"),
            subject=mail.text("subject"),
            received=mail.text("received_datetime", "sent_datetime"),
            threats=found.texts("event_metadata.malware_names", "category"),
        )
        evidence.mailbox(recipient, roles=("destination",))
    place = Place(country=mail.text("geo_country"), city=mail.text("geo_city"), state=mail.text("geo_region"))
    evidence.ip(mail.text("sender_client_ip"), ("source",), place)
    evidence.ip(mail.text("sender_server_ip"), ("source",))
    evidence.user(
        mail.text("from_email"),
        object_id=mail.text("from_id") if account(mail.text("from_email")).upn else None,
        display=mail.text("from_name"),
    )
    evidence.user(actor.text("email"), object_id=actor.text("entity_id"), display=actor.text("full_name"))
    for file in mail.objects("attachments")[:100]:
        evidence.file(file.text("name", "file_name"), None, [file.text("sha256"), file.text("md5"), file.text("sha1")])
    for link in mail.texts("links", "urls")[:100]:
        evidence.url(link)


def _of_mail(event: Fields, alert: Alert) -> None:
    found = event.object("security_event.entity_payload")
    info = event.object("security_event.entity_info")
    kind = found.text("type", "category") or info.text("entity_sub_type")
    tool, sub = found.text("matched_security_tool"), info.text("entity_sub_type")
    alert.product = "Harmony Email & Collaboration"
    alert.sub_provider = tool
    alert.provider_alert_id = event.text("security_event._id", "security_event.entity_info.entity_id") or (
        alert.provider_alert_id
    )
    alert.title = (found.text("description_text", "description") or f"Mail event: {kind}")[:256]
    alert.description = found.text("description_text")
    alert.severity = of_five(found.number("severity"))
    alert.vendor_severity = found.text("severity")
    alert.vendor_category = kind
    alert.category = _CATEGORIES.get((sub or "").lower()) or _CATEGORIES.get((kind or "").lower(), "SuspiciousActivity")
    alert.categories = [alert.category]
    alert.detector_id = found.text("policy_rule_id") or tool
    times = Fields({"at": event.raw("security_event.time"), "made": info.raw("entity_created")})
    alert.first_activity = first_time(times, "made", "at")
    alert.last_activity = first_time(times, "at", "made")
    state = (found.text("current_state") or "").lower()
    alert.status = "resolved" if state in ("remediated", "dismissed") else "new"
    sender = event.text("entity.entity_payload.from_email") or ""
    alert.fingerprint = (alert.detector_id or alert.title, sender, event.text("entity.entity_payload.subject") or "")
    common_security_log.acted(alert, state, as_text(event.raw("security_event.security_event_action.action_type")))


def _is_told(fields: Fields) -> bool:
    """Whether it is an event of Harmony Email's own API."""
    return fields.has("saas") and fields.has("confidenceIndicator", "eventCreated")


def _of_event(fields: Fields, alert: Alert) -> None:
    kind = fields.text("type") or "event"
    alert.product = "Harmony Email & Collaboration"
    alert.provider_alert_id = fields.text("eventId") or alert.provider_alert_id
    alert.title = fields.text("description") or f"Mail event: {kind}"
    alert.severity, alert.vendor_severity = of_five(fields.number("severity")), fields.text("severity")
    alert.vendor_category, alert.detector_id = kind, kind
    alert.category = _CATEGORIES.get(kind.lower(), "SuspiciousActivity")
    alert.categories = [alert.category]
    alert.first_activity = alert.last_activity = first_time(fields, "eventCreated")
    state = (fields.text("state") or "").lower()
    alert.status = "resolved" if state in ("remediated", "dismissed") else "new"
    common_security_log.acted(alert, state)
    alert.fingerprint = (kind, fields.text("senderAddress") or "", fields.text("entityId") or "")


def _mobile(fields: Fields, evidence: Evidence) -> None:
    evidence.host(
        fields.text("name", "device_name"),
        device_id=fields.text("mdm_uuid") or fields.text("device_id"),
        os=fields.text("device_type", "os_type", "device_model"),
        version=fields.text("os_version"),
    )
    evidence.user(fields.text("email") if "@" in (fields.text("email") or "") else None)
    for kind, text in _NAMED.findall(_DEFANGED.sub(".", fields.text("details") or "")):
        value = text.rstrip(".,;")
        evidence.domain(value if kind == "Domain" else None)
        evidence.url(value if kind.lower() == "url" else None)
        evidence.ip(value if kind == "IP" else None, ("destination",))
    evidence.malware(fields.text("malware_family", "threat_name"))


def _of_mobile(fields: Fields, alert: Alert) -> None:
    what = fields.text("threat_factors") or fields.text("event") or "Threat"
    alert.product = "Harmony Mobile"
    alert.title = f"{what} on {fields.text('name', 'device_name') or 'a device'}"
    alert.description = fields.text("details")
    alert.category = _CATEGORIES.get(what.lower(), "SuspiciousActivity")
    alert.categories = [alert.category]
    alert.vendor_category = fields.text("attack_vector")
    alert.detector_id = fields.text("threat_factors", "attack_vector")
    number = fields.text("id")
    alert.provider_alert_id = f"{fields.text('device_id') or ''}:{number}" if number else alert.provider_alert_id
    at = first_time(fields, "event_timestamp", "timestamp", "backend_last_updated", "time")
    alert.first_activity = alert.last_activity = at
    alert.fingerprint = (alert.detector_id or "", fields.text("device_id") or "")
