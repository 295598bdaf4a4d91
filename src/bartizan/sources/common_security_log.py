"""What CEF and LEEF share: the keys of their extension as entities, as a row of CommonSecurityLog, and whether the
device that speaks is a detector that reports a detection.

Source: ArcSight CEF, extension dictionary; Azure Monitor, "CommonSecurityLog" and "CEF and CommonSecurityLog field
mapping"; IBM i, "qualified job name".
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from bartizan.extend import Event, GraphObject, Record
from bartizan.model import security as graph
from bartizan.model.alert import Alert
from bartizan.sources import cef, device_lines, envelopes, leef, leftover, watchguard
from bartizan.sources.entities import account, address, domain, is_url
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, as_text, clean
from bartizan.sources.log_analytics import COLUMNS
from bartizan.sources.severity import of_cef, of_word
from bartizan.sources.shape import Shape
from bartizan.sources.tables import columns, event
from bartizan.sources.times import first_time

BEGINS = r"(?:CEF:\s?\d{1,2}|LEEF:\s?[012](?:\.\d)?)\|"  # a header of either, up to the vendor; for patterns of sources
MAX_NAMES = 50  # of one key: recipients, addresses
MAX_EXTENSIONS_CHARS = 16_384

_SAID = frozenset(path.lower() for words in COLUMNS.values() for path in words.split())

TIMES = (
    "rt", "start", "end", "deviceCustomDate1", "devTime", "eventTime", "startTime", "endTime", "timeStamp",
    "syslogTime",
)  # fmt: skip

_ADDRESSES = (
    "sourceTranslatedAddress", "destinationTranslatedAddress", "deviceTranslatedAddress", "c6a1", "c6a2", "c6a3",
    "c6a4", "sourceAddress", "destinationAddress", "agt", "vSrc",
)  # fmt: skip
_HASHES = re.compile(r"(?:^|[^a-z])(?:sha-?(?:1|2|256)|md5|.{0,40}hash)", re.IGNORECASE)
_NAMES_ADDRESS = re.compile(
    r"(?:^|_)ip(?:$|_)|(?i:x.?forwarded.?for)|(?:IP|Ip|[Aa]ddr(?:ess)?)$|Label$"
)  # or where a label should stand
_REQUESTS = ("full_request", "fullRequest", "request", "requestHeaders", "cs3")
_HOST_HEADER = re.compile(r"(?:^|\\r|\\n|[\r\n])\s*Host:\s?([\w.-]{1,253})", re.ASCII | re.IGNORECASE)
_JOB = re.compile(r"(\d{6})/([^\s/]{1,10}/[^\s/]{1,10})", re.ASCII)  # of IBM i: number/user/name


def lines(record: Record, names: Mapping[str, str]) -> list[Fields]:
    """The events that a record says in CEF or LEEF; none where it says none.

    They can be read by the names as well that the vendor has for the same elsewhere, in its JSON: name -> where CEF
    says it, paths (or labels of custom fields) with commas between, of which the first that is there counts.
    """
    text = record.text
    shown = "CEF:" in text or "LEEF:" in text or text.lstrip().startswith(("0|", "1|"))
    if not shown and not envelopes.packs(record.data):
        return []
    found = [event.fields for event in cef.records(record)] or [event.fields for event in leef.records(record)]
    ways = [(name, paths.split(",")) for name, paths in names.items()]
    return [event.also({name: event.raw(*paths) for name, paths in ways}) for event in found]


def entities(fields: Fields, evidence: Evidence) -> None:
    """Who and what the keys name; those that a vendor adds of its own are read by the vendor's source."""
    source, target = fields.text("src"), fields.text("dst")
    for name, addresses, place in (
        ("shost", "src", "sntdom"),
        ("dhost", "dst", "dntdom"),
        ("dvchost", "dvc", "deviceNtDomain"),
    ):
        said = fields.text(name)
        if address(said) is None and "@" not in (said or ""):
            before, _, said = (said or "").rpartition("\\")
            nt_domain = fields.text(place) or before or None
            evidence.host(said, addresses=[fields.text(addresses)], domain=None if domain(nt_domain) else nt_domain)
        evidence.ip(said)
    for key, uid, place in (("suser", "suid", "sntdom"), ("duser", "duid", "dntdom"), ("susr", "", "")):
        for who in people(fields.texts(key)):
            own = "@" in who or "\\" in who
            evidence.user(who, domain=None if own else fields.text(place), sid=_sid(fields.text(uid)))
    if evidence.flow(source, fields.integer("spt"), target, fields.integer("dpt"), protocol(fields)) is None:
        evidence.ip(source, ("source",))
        evidence.ip(target, ("destination",))
    for text in _split(fields.texts("dvc")):
        evidence.ip(text)
    for key, value in fields.data.items():
        if key in _ADDRESSES or _NAMES_ADDRESS.search(key):
            evidence.ip(as_text(value))
    for key in _ADDRESSES:
        evidence.ip(fields.text(key))
    _files(fields, evidence)
    leftover.hashes(fields.data, evidence)
    _process(fields, evidence, "sproc", "spid")
    _process(fields, evidence, "dproc", "dpid")
    evidence.url(web_address(fields))
    for key in ("destinationDnsDomain", "sourceDnsDomain", "dhost", "host", "destinationServiceName"):
        if key != "dhost" or fields.has("request", "requestMethod"):
            evidence.domain(fields.text(key))
    evidence.domain(asked(fields))


def people(texts: Iterable[str]) -> list[str]:
    """Names of accounts, or mail addresses of which some texts hold several."""
    found: list[str] = []
    for text in texts:
        text = " ".join(text.split())
        parts = re.split(r"[;,]\s*", text) if text.count("@") > 1 else [text]
        found += [part.strip().strip("'\"") for part in parts[:MAX_NAMES] if account(part).name or account(part).sid]
    return found


def _sid(text: str | None) -> str | None:
    return text if account(text).sid else None


def _split(texts: Iterable[str]) -> list[str]:
    return [part for text in texts for part in re.split(r"[,;\s]+", text)[:MAX_NAMES]]


def protocol(fields: Fields) -> str | None:
    """tcp of "tcp/https", the way some firewalls write the transport with the service."""
    return (fields.text("proto") or "").partition("/")[0] or None


def web_address(fields: Fields) -> str | None:
    """The URL; a path alone is put behind the host that was asked."""
    said = fields.text("request")
    if said is None or is_url(said):
        return said
    names = (fields.text(key) for key in ("host", "dhost", "destinationDnsDomain", "destinationServiceName"))
    host = next(filter(None, map(domain, names)), None) or asked(fields) or address(fields.text("dst"))
    if said.startswith("/") and host is not None:
        secure = fields.integer("dpt") == 443 or (fields.text("app") or "").lower() == "https"
        return f"{'https' if secure else 'http'}://{host}{said}"
    return None


def asked(fields: Fields) -> str | None:
    """The site that a request was for, by its header, where a device keeps the request whole."""
    for text in fields.texts(*_REQUESTS):
        if (found := _HOST_HEADER.search(text)) is not None:
            return domain(found[1])
    return None


def _files(fields: Fields, evidence: Evidence) -> None:
    hashes = [as_text(value) for key, value in fields.data.items() if _HASHES.match(key)]
    name, path = fields.text("fname"), single_slashes(fields.text("filePath"))
    if name is not None and re.search(r"[\\/]", name):
        name, path = None, name if path is None else path
    evidence.file(name, path, [fields.text("fileHash"), *hashes], size=fields.integer("fsize"))
    evidence.file(fields.text("oldFileName"), fields.text("oldFilePath"), [fields.text("oldFileHash")])


def single_slashes(path: str | None) -> str | None:
    """A Windows path whose backslashes were escaped once more than needed."""
    return re.sub(r"\\{2,}", r"\\", path) if path and re.match(r"[A-Za-z]:\\\\", path) else path


def _process(fields: Fields, evidence: Evidence, name: str, pid: str) -> None:
    said = single_slashes(fields.text(name))
    job = _JOB.fullmatch(said or "")
    if job is not None:
        evidence.process(name=job[2], pid=int(job[1]))
    elif said is not None:
        evidence.process(path=said, pid=fields.integer(pid))


class Device(Shape):
    """A device that speaks in these keys and says itself what it is."""

    def is_alert(self, fields: Fields) -> bool:
        found = device_lines.verdict(fields) is not None
        return found or (not device_lines.judged(fields) and is_detection(fields))

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        entities(fields, evidence)
        evidence.malware(fields.text("virus"))
        watchguard.entities(fields, evidence)

    def finish(self, fields: Fields, alert: Alert) -> None:
        alert.vendor = fields.text("deviceVendor") or self.vendor
        alert.product = fields.text("deviceProduct") or self.product
        acted(alert, fields.text("act", "disp"))
        if (verdict := device_lines.verdict(fields)) is not None:
            verdict.onto(alert)

    def event(self, fields: Fields) -> Iterator[Event | GraphObject]:
        yield from told(fields, self.entities)


def told(fields: Fields, entities: Callable[[Fields, Evidence], None], times: Iterable[str] = TIMES) -> Iterator[Event]:
    """What is no alert, as its row."""
    evidence = Evidence()
    entities(fields, evidence)
    evidence.host(fields.text("syslogHost"))
    leftover.observe(fields.data, evidence)
    yield row(fields, first_time(fields, *times), evidence)


def row(fields: Fields, at: str | None, evidence: Evidence) -> Event:
    """A row of CommonSecurityLog; what has no column stands in AdditionalExtensions as `key=value;`."""
    rest = {key: said for key, value in fields.data.items() if key.lower() not in _SAID and (said := _written(value))}
    labels = {str(fields.text(f"cs{n}Label")) for n in range(1, 7)}
    text = ";".join(f"{key}={said}" for key, said in rest.items() if key not in labels)
    found: dict[str, Any] = {**columns(fields, COLUMNS), "AdditionalExtensions": text[:MAX_EXTENSIONS_CHARS]}
    found["SourceIP"] = address(fields.text("src")) or fields.text("src")
    return event(
        "CommonSecurityLog",
        at,
        found,
        evidence,
        {"cutFields": ["AdditionalExtensions"]} if len(text) > MAX_EXTENSIONS_CHARS else None,
    )


def _written(value: Any) -> str | None:
    """Text or a number as text, anything else (of JSON) as JSON; None of what says nothing."""
    if (isinstance(value, list) and len(value) > 1) or isinstance(value, bool | dict):
        return json.dumps(clean(value), ensure_ascii=False, separators=(",", ":")) if value != {} else None
    return as_text(value)


_STOPPED = re.compile(r"block|sinkhol|prevent|den(?:y|ied)|drop|reject|reset|terminat|kill|refus", re.IGNORECASE)
_REPAIRED = re.compile(r"quarantin|delet|clean|disinfect|remov|remediat|repair|restor|rolled.?back", re.IGNORECASE)
_NOT = re.compile(r"\b(?:not|un|non|failed|failure|unable|allow\w*|pass\w*)", re.IGNORECASE)


def acted(alert: Alert, *words: str | None) -> None:
    """Says of the evidence what the device did about it, by its own word for that."""
    text = " ".join(word for word in words if word)
    if _NOT.search(text):
        return
    state: graph.EvidenceRemediationStatus = (
        "blocked" if _STOPPED.search(text) else "remediated" if _REPAIRED.search(text) else "none"
    )
    for item in alert.evidence:
        item.remediationStatus = state


# ---------------------------------------------------------------- is it a detection

# Products that exist to detect.
_DETECTOR = re.compile(
    r"\b(?:ASM|PSM|WAF|N?IDS|N?IPS|HIDS|HIPS|EDR|XDR|NDR|MDR|UEBA|DLP|MPS|ATA|ATP|PTA)\b"
    r"|web application firewall|advanced waf"
    r"|anti-?(?:virus|malware|bot|spyware)|intrusion|threat|attack|malware|sandbox|deep (?:security|discovery)"
    r"|endpoint (?:security|protection|detection)|deception|honeypot|breach|behaviou?r analytics",
    re.IGNORECASE,
)
# What an event that is a detection is called...
_DETECTION = re.compile(
    r"\b(?:threats?|malware|malicious|virus(?:es)?|attacks?|intrusions?|exploits?|ransomware|trojan|botnet|backdoor|worm"
    r"|phish(?:ing)?|brute.?force|spyware|rootkit|shellcode|suspicious|anomal(?:y|ies|ous)|violations?|compromised?"
    r"|command.and.control|c&c|callback|injection|xss|port.?scans?|password.spray(?:ing)?|exfiltration"
    r"|(?:syn|tcp|udp|icmp|http|dns) floods?|ddos"
    r"|impossible travel|alert|detection)\b",
    re.IGNORECASE,
)
# ...and what one is called that is the device's own business.
_BUSINESS = re.compile(
    r"\b(?:log.?(?:in|on|out|off)|audit|config(?:uration)?|updated?|heartbeat|license|health|status|started|stopped"
    r"|finished|completed|statistics|summary report|policy (?:change|install)|signature update|connection closed)\b",
    re.IGNORECASE,
)
_LURE = re.compile(r"honeypot|decept|decoy|\bcanary\b", re.IGNORECASE)  # whoever logs in there is found out...
_TOUCHED = re.compile(r"log.?in|log.?on|audit", re.IGNORECASE)
_LEVEL_OF_DETECTION = frozenset({"medium", "high"})


def is_detection(fields: Fields) -> bool:
    """Whether the record itself says so: by the name, class or category of the event, with a severity above low; or a
    detector by trade tells of something that is not its own business."""
    kind = (
        " ".join(text for key in ("name", "deviceEventClassId", "cat", "eventName") for text in fields.texts(key))
        .replace("_", " ")
        .replace("-", " ")
    )
    product = " ".join(fields.text(key) or "" for key in ("deviceVendor", "deviceProduct", "deviceFacility"))
    if _BUSINESS.search(kind) and not (_LURE.search(product) and _TOUCHED.search(kind)):
        return False
    said = fields.text("deviceSeverity")
    number = fields.number("deviceSeverity")
    serious = (of_cef(number) if number is not None else of_word(said)) in _LEVEL_OF_DETECTION
    if _DETECTION.search(kind):
        return serious
    return serious and (_DETECTOR.search(product) or _LURE.search(product)) is not None
