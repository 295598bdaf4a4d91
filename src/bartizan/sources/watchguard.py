"""WatchGuard Firebox: its lines of syslog, and what intrusion prevention, antivirus and APT Blocker found in them.

Source: WatchGuard, "Fireware Log Catalog"; WatchGuard Help Center, "Read a Log Message", "Configure Syslog Server
Settings" (IBM LEEF), "About Intrusion Prevention Service" (levels of threats).
"""

import re
from typing import Any

from bartizan.sources import pairs, syslog
from bartizan.sources.entities import domain
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
from bartizan.sources.severity import of_five, of_word
from bartizan.sources.verdict import Verdict

PATTERN = re.compile(r"\bmsg_id=\"[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}\"")
_HEAD = re.compile(r"\((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\) ([\w.-]{1,40})(?:\[(\d{1,7})\])?:", re.ASCII)
_DONE = re.compile(r"\bmsg_id=\"[^\"]{9}\"\s{1,4}([A-Z][A-Za-z]{1,15}) (\S{1,64}) (\S{1,64}) ")
_ENDS = re.compile(
    r"(?:\S{1,16}/)?\b(tcp|udp|icmp|igmp|gre|esp|ah|\d{1,3})\b (?:\d{1,5} \d{1,3} )?"
    r"([0-9A-Fa-f:.]{2,45}) ([0-9A-Fa-f:.]{2,45})(?: (\d{1,5}) (\d{1,5}))?(?= |$)"
)
_POLICY = re.compile(r"\(([^()]{1,120})\)\s*$")
_KEYS = {
    "src_user": "suser",
    "dst_user": "duser",
    "host": "destinationDnsDomain",
    "dstname": "destinationDnsDomain",
    "path": "request",
    "arg": "request",
    "op": "requestMethod",
    "app_name": "app",
    "md5": "fileHash",
    "filename": "fname",
    "file_name": "fname",
    "msg_id": "deviceEventClassId",
}
_MAX_MAILS = 50
_LEVELS = {5: "Critical", 4: "High", 3: "Medium", 2: "Low", 1: "Information"}
_VIRUS = re.compile(r"\bvirus (?:found|detected)|\bmalware (?:found|detected)", re.IGNORECASE)
_APT = re.compile(r"\bAPT (?:threat )?detected|\bAPT threat notified", re.IGNORECASE)
_PREVENTED = re.compile(r"\bIPS (?:detected|match)", re.IGNORECASE)


def read(text: str) -> list[dict[str, Any]]:
    if PATTERN.search(text) is None:
        return []
    line = syslog.read(text)
    own = pairs.read(text[text.index("msg_id=") :])
    named = {key: own[name] for name, key in reversed(_KEYS.items()) if name in own}
    head, done, policy = _HEAD.search(text), _DONE.search(text), _POLICY.search(text)
    if head is not None:
        named |= {"rt": f"{head[1]}Z", "deviceProcessName": head[2]}
    if done is not None:
        named |= {"act": done[1], "deviceInboundInterface": done[2], "deviceOutboundInterface": done[3]}
    if (ends := _ENDS.search(text, text.index("msg_id="))) is not None:
        named |= {"proto": ends[1], "src": ends[2], "dst": ends[3], "spt": ends[4], "dpt": ends[5]}
    if policy is not None:
        named["policy"] = policy[1]
    who, at, realm = str(named.get("suser") or "").partition("@")
    if at and "." not in realm:  # where the account is kept: a server for authentication, no domain of mail
        named["suser"] = f"{realm}\\{who}"
    return [
        {
            **own,
            **named,
            "deviceVendor": "WatchGuard",
            "deviceProduct": "Firebox",
            "name": own.get("msg") or own.get("msg_id"),
            "dvchost": line.host,
        }
    ]


def entities(fields: Fields, evidence: Evidence) -> None:
    """What its proxies say in names of their own: the address that was asked for, the mail that was scanned."""
    if not (fields.text("deviceVendor") or "").lower().startswith("watchguard"):
        return
    site, path = fields.text("dstname", "host"), fields.text("arg", "path")
    if path is not None and path.startswith("/") and domain(site) is not None:
        evidence.url(f"{'https' if fields.integer('dpt') == 443 else 'http'}://{site}{path}")
    sender = fields.text("sender")
    for to in (fields.text("recipients", "recipient") or "").split(",")[:_MAX_MAILS]:
        evidence.message(sender=sender, recipient=to.strip() or None, sender_ip=fields.text("src"))


def verdict(fields: Fields) -> Verdict | None:
    """Of what was let through as well, where a policy only says so."""
    said, virus = fields.text("msg", "message") or "", fields.text("virus", "virus_name")
    signature, number = fields.text("signature_name"), fields.text("signature_id")
    if _PREVENTED.search(said) is not None or number is not None:
        level = fields.number("severity", "sev")
        return Verdict(
            category="Exploit",
            vendor_category=fields.text("signature_cat"),
            title=signature or said or None,
            severity=of_five(level),
            word=_LEVELS.get(int(level)) if level is not None else None,
            detector=number,
            threat=signature,
        )
    if _APT.search(said) is not None:
        word = fields.text("threat_level")
        found = of_word(word)
        return Verdict(
            category="Malware",
            title=said,
            severity=found if found != "unknown" else "high",
            word=word,
            threat=virus,
        )
    if virus is not None or _VIRUS.search(said) is not None:
        title = f"{said}: {virus}" if said and virus else said or virus
        return Verdict(category="Malware", title=title, severity="high", detector=virus, threat=virus)
    return None
