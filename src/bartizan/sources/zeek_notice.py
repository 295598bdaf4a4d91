"""Zeek: notice.log and intel.log are alerts, weird.log and what else it writes are events.

Source: Zeek documentation, "notice.log", "intel.log", "weird.log", "Log formats", and the logs of protocols that name
people, machines, files and mails (kerberos, ntlm, ssh, smb_files, smtp, rdp, ftp, radius, dhcp, x509).
"""

import re
from collections.abc import Iterable, Iterator

from bartizan.extend import Event, GraphObject, Record
from bartizan.model.alert import Alert, Severity
from bartizan.sources import attack
from bartizan.sources.entities import address, domain
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, lines_of
from bartizan.sources.shape import Paths, Shape

# Notices that tell of an attack, by the beginning of their name -> (severity, category, technique).
_NOTICES: dict[str, tuple[Severity, str, str | None]] = {
    "heartbleed::ssl_heartbeat_attack_success": ("high", "InitialAccess", "T1190"),
    "heartbleed::": ("medium", "InitialAccess", "T1190"),
    "ssh::password_guessing": ("medium", "CredentialAccess", "T1110"),
    "ssh::login_by_password_guesser": ("high", "CredentialAccess", "T1110"),
    "ftp::bruteforcing": ("medium", "CredentialAccess", "T1110"),
    "http::sql_injection": ("medium", "InitialAccess", "T1190"),
    "scan::": ("low", "Discovery", "T1046"),
    "teamcymrumalwarehashregistry::match": ("high", "Malware", None),
    "intel::notice": ("medium", "CommandAndControl", None),
    "attack::": ("medium", "SuspiciousActivity", None),  # the tactic follows
    "signatures::": ("medium", "SuspiciousActivity", None),
    "software::vulnerable_version": ("low", "Vulnerability", None),
    "ssl::": ("low", "Misconfiguration", None),
}
# A line of notice.log as text, whose columns stand in one order unless a site changes it.
_LINE = re.compile(r"(?:^|\s)(\d{9,10}\.\d{1,6}\t(?:[^\t]*\t){9}[A-Z]\w{1,60}::\w{1,80}\t[^\n]*)", re.ASCII)
_COLUMNS = (
    "ts uid id.orig_h id.orig_p id.resp_h id.resp_p fuid file_mime_type file_desc proto note msg sub src dst p n "
    "peer_descr"
).split()
_HASH = re.compile(r"(?<![0-9a-f])(?:[0-9a-f]{64}|[0-9a-f]{40}|[0-9a-f]{32})(?![0-9a-f])", re.IGNORECASE)
_UNSET = frozenset({"-", "(empty)"})
_MAX_NAMES = 50  # of one record: recipients, names of a certificate
_INDICATORS = {
    "intel::addr": "address",
    "intel::url": "url",
    "intel::domain": "domain",
    "intel::email": "mail",
    "intel::user_name": "user",
    "intel::file_hash": "hash",
    "intel::file_name": "file",
}


class ZeekNotice(Shape):
    name = "zeek_notice"
    vendor = "Zeek"
    product = "Zeek"
    marks = (
        "_path+ts _path=notice+note _path=weird+name note+msg+ts seen.indicator+ts note=*::*+msg "
        "uid+id.orig_h+ts uids+client_addr+mac _path+uid+id.orig_h _path+ts+peer id.orig_h+id.resp_h+uid note+msg "
        "sig_id+event_msg+ts software_type+unparsed_version certificate.serial+certificate.issuer+ts"
    )
    pattern = re.compile(r"^#separator \\x09|^\{\"ts\":|^#fields\tts\tuid|" + _LINE.pattern, re.ASCII)
    sourcetypes = ("zeek", "zeek:*", "bro", "bro:*", "corelight*")
    table = "ZeekEvents"
    columns = {
        "Log": "_path",
        "Uid": "uid",
        "SourceIP": "id.orig_h src src_addr tx_hosts",
        "SourcePort": "int id.orig_p",
        "DestinationIP": "id.resp_h dst rx_hosts",
        "DestinationPort": "int id.resp_p p",
        "FileName": "filename",
        "DomainName": "query server_name request.name",
        "EventType": "name note",
        "Peer": "peer peer_descr",
    }
    alert = Paths(
        title="msg event_msg note seen.indicator",
        description="msg sub event_msg",
        vendor_category="note matched",
        detector="sig_id note matched",
        first="ts",
        sub_provider="peer_descr seen.node",
        fold="src dst id.orig_h id.resp_h seen.indicator",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        texts = (match[1].split("\t") for text in lines_of(record) if (match := _LINE.search(text)))
        lines = [
            Fields({name: value for name, value in zip(_COLUMNS, each, strict=False) if value not in _UNSET})
            for each in texts
        ]
        return lines or super().read(record)

    def is_alert(self, fields: Fields) -> bool:
        return fields.text("note", "seen.indicator") is not None

    def event(self, fields: Fields) -> Iterator[Event | GraphObject]:
        for each in super().event(fields):
            if isinstance(each, Event) and fields.has("uri"):  # of HTTP, whose `host` is what was asked for
                each.row.pop("HostName", None)
                if asked := domain(fields.text("host")):
                    each.row["DomainName"] = asked
            if isinstance(each, Event):
                each.row.update({name: value for name, value in _told(fields).items() if value is not None})
            yield each

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        start, end = fields.text("id.orig_h", "src_addr"), fields.text("id.resp_h", "dst_addr")
        ports = fields.integer("id.orig_p", "src_port"), fields.integer("id.resp_p", "dst_port")
        if start != end:
            evidence.flow(start, ports[0], end, ports[1], fields.text("proto"))
        evidence.ip(fields.text("src") or start, ("source",))
        evidence.ip(fields.text("dst") or end, ("destination",))
        _indicator(fields.text("seen.indicator_type"), fields.text("seen.indicator"), evidence)
        evidence.file(
            fields.text("file_name", "filename"), None, [fields.text("sha256"), fields.text("sha1"), fields.text("md5")]
        )
        if (fields.text("note") or "").startswith("TeamCymru") and (found := _HASH.search(fields.text("sub") or "")):
            evidence.file(hashes=[found[0]])  # of the file, in the address of a page about it
        evidence.url(fields.text("file_desc"))  # where a file of HTTP came from
        evidence.domain(fields.text("host", "server_name", "query", "request.name"))
        evidence.ip(fields.text("host"))  # whose software a log tells
        evidence.url(fields.text("arg"))  # of FTP
        _people(fields, evidence)
        _mail(fields, evidence)
        if (share := fields.text("path") or "").startswith("\\\\"):
            evidence.host(share[2:].partition("\\")[0] or None)
        if _is_of_share(fields):
            evidence.file(path="\\".join(part for part in (fields.text("path"), fields.text("name")) if part))
        for name in fields.texts("san.dns")[:_MAX_NAMES]:
            evidence.domain(name)
        if not evidence.items and fields.has("note"):
            evidence.host(fields.text("peer_descr"))  # the sensor: the notice names nobody else

    def finish(self, fields: Fields, alert: Alert) -> None:
        note = (fields.text("note") or "").lower()
        found = next((value for name, value in _NOTICES.items() if note.startswith(name)), None)
        alert.severity = "low"
        if fields.has("seen.indicator"):
            alert.title = f"Intelligence match: {fields.text('seen.indicator')}"
            alert.severity, alert.category, alert.detection_source = "medium", "CommandAndControl", "customTi"
        elif found is not None:
            alert.severity, alert.category = found[0], found[1]
            alert.techniques = sorted({*alert.techniques, *([found[2]] if found[2] else [])})
            if note.startswith("attack::"):
                alert.category = _tactic(note) or alert.category
        alert.categories = [alert.category] if alert.category else []


def _tactic(note: str) -> str | None:
    """What a name such as "attack::lateral_movement_extracted_file" begins with."""
    words = note.partition("::")[2].split("_")
    return next((word for size in range(len(words), 0, -1) if (word := attack.tactic(" ".join(words[:size])))), None)


def _is_of_share(fields: Fields) -> bool:
    return (fields.text("action") or "").startswith("SMB::FILE") and fields.has("name")


def _person(fields: Fields) -> tuple[str | None, str | None]:
    """The account that a protocol's log names, and where it is from: "ann/CORP.EXAMPLE" of Kerberos."""
    if fields.has("request_type") and (client := fields.text("client")) is not None:
        name, _, realm = client.partition("/")
        return name or None, realm or None
    return fields.text("username", "user", "cookie"), fields.text("domainname")


def _people(fields: Fields, evidence: Evidence) -> None:
    name, place = _person(fields)
    evidence.user(name, domain=place)
    evidence.host(fields.text("hostname", "client_name"), addresses=[fields.text("id.orig_h")])
    evidence.host(fields.text("server_dns_computer_name", "server_nb_computer_name"))
    leased = fields.text("assigned_addr", "client_addr")
    if leased is not None:
        evidence.host(fields.text("client_fqdn", "host_name"), addresses=[leased])
        evidence.ip(leased)


def _mail(fields: Fields, evidence: Evidence) -> None:
    if not fields.has("mailfrom", "rcptto"):
        return
    recipients: list[str | None] = [*fields.texts("rcptto", "to")[:_MAX_NAMES]]
    for to in recipients or [None]:
        evidence.message(
            internet_id=fields.text("msg_id"),
            sender=fields.text("from", "mailfrom"),
            envelope_sender=fields.text("mailfrom"),
            recipient=to,
            sender_ip=address(fields.text("x_originating_ip")),
            subject=fields.text("subject"),
        )


def _told(fields: Fields) -> dict[str, str | None]:
    """Columns that no one key has."""
    done = fields.flag("auth_success", "success")
    found = {
        "UserName": _person(fields)[0],
        "Outcome": fields.text("result") if done is None else "success" if done else "failure",
    }
    return found | ({"FileName": fields.text("name")} if _is_of_share(fields) else {})


def _indicator(kind: str | None, value: str | None, evidence: Evidence) -> None:
    word = _INDICATORS.get((kind or "").lower())
    if word == "address":
        evidence.ip(value, ("suspicious",))
    elif word == "domain":
        evidence.domain(value, roles=("suspicious",))
    elif word == "mail":
        evidence.mailbox(value)
    elif word == "user":
        evidence.user(value)
    elif word == "hash":
        evidence.file(hashes=[value], roles=("suspicious",))
    elif word == "file":
        evidence.file(value)
    elif word == "url" and value:
        evidence.url(value if "://" in value else f"http://{value}", ("suspicious",))
