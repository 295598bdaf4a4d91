"""Fortinet FortiGate: key=value and CEF. What its protection profiles (utm) report as an attack is an alert.

Source: Fortinet, "FortiOS Log Message Reference", "CEF support".
"""

import re
from typing import Any

from bartizan.model.alert import Alert, Severity
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
from bartizan.sources.firewall import Firewall, came_from
from bartizan.sources.severity import of_cef
from bartizan.sources.shape import Paths

KEYS = {
    "srcip": "src",
    "srcport": "spt",
    "srcname": "shost",
    "srcmac": "smac",
    "remip": "src",  # of a tunnel, which has no source
    "remport": "spt",
    "dstip": "dst",
    "dstport": "dpt",
    "dstname": "dhost",
    "locip": "dst",
    "locport": "dpt",
    "transip": "sourceTranslatedAddress",
    "transport": "sourceTranslatedPort",
    "user": "suser",
    "unauthuser": "suser",
    "dstuser": "duser",
    "hostname": "dhost",
    "url": "request",
    "service": "app",
    "action": "act",
    "devname": "dvchost",
    "devid": "deviceExternalId",
    "filename": "fname",
    "filehash": "fileHash",
    "analyticscksum": "fileHash",
    "sentbyte": "out",
    "rcvdbyte": "in",
    "sessionid": "externalId",
    "logid": "deviceEventClassId",
    "level": "deviceSeverity",
    "logdesc": "name",
}
_ATTACKS = frozenset({"ips", "virus", "anomaly", "waf", "file-filter", "dlp"})
# Entries of the virus log that tell what the scanner did, not what it found.
_NO_FINDINGS = frozenset({"analytics", "oversize", "scanerror", "switchproto", "content-disarm", "mimefragmented"})
_ELASTIC = {
    "srcip": "source.ip",
    "srcport": "source.port",
    "dstip": "destination.ip",
    "dstport": "destination.port",
    "devname": "observer.name",
    "devid": "observer.serial_number",
    "logid": "event.code",
    "user": "source.user.name",
    "url": "url.full",
    "hostname": "url.domain",
    "filename": "file.name",
    "msg": "message",
    "level": "log.level",
    "timestamp": "@timestamp",
}
_CALLBACKS = ("botnetdomain", "botnetip")
_TO_INDICATOR = "20214"  # message id of "Locally generated traffic goes to IoC location"
_WEB = frozenset({"webfilter", "dns"})
# FortiGuard's categories that are a verdict on the site: number and name -> title, ours. Its other security risks
# (spam, dynamic DNS, domains that are new) tell of what may be, and stay events.
_VERDICTS = {
    **dict.fromkeys(("26", "malicious websites"), ("Malicious website", "Malware")),
    **dict.fromkeys(("61", "phishing"), ("Phishing site", "Phishing")),
}
_WORDS: dict[str, Severity] = {
    "debug": "informational",
    "info": "informational",
    "notice": "low",
    "error": "medium",
    "alert": "high",
    "emergency": "high",
}


class FortiGate(Firewall):
    name = "fortinet_fortigate"
    vendor = "Fortinet"
    product = "FortiGate"
    marks = "fortinet.firewall devid+logid+subtype devname+logid+type devid+eventtime+subtype+type"
    pattern = re.compile(
        r"\bdevname=.{0,200}?\blogid=\"?\d{8,10}\"?|\blogid=\"?\d{8,10}\"?[ ,].{0,60}?\btype="
        r"|\bvd=\"?\w+\"?[ ,].{0,200}?\b(?:logdesc|eventtime)=|\|Fortigate\||Fortinet\|FortiGate"
    )
    sourcetypes = ("fgt_log", "fgt_utm", "fgt_traffic", "fgt_event", "fgt_*", "fortigate_*", "fortinet:fortigate*")
    keys = KEYS
    prefix = "FTNTFGT"
    times = "eventtime date+time rt timestamp"
    alert = Paths(
        title="attack virus botnetdomain botnetip msg name",
        description="msg",
        severity="severity crlevel level",
        score="sev",  # of LEEF
        scale=of_cef,
        words=_WORDS,
        vendor_category="subtype cat",
        categories={
            f"{before}{kind}": ours
            for before in ("", "utm:")
            for kind, ours in (("virus", "Malware"), ("ips", "Exploit"), ("waf", "Exploit"), ("dlp", "Exfiltration"))
        },
        detector="attackid virusid attack virus logid",
        first="eventtime rt date timestamp",
        url="ref",
        threat="attack virus",
        fold="src dst act",
    )

    def named(self, data: Any) -> Fields:
        """Also of a document in the Elastic Common Schema, which has its own names beside the vendor's."""
        outer = Fields(data)
        if outer.has("logdesc") and outer.has("name"):  # the name of a machine that the event is about, not the event's
            data = {**data, "name": outer.text("logdesc"), f"{self.prefix}name": outer.raw("name")}
        if own := outer.object("fortinet.firewall").data:
            said = {name: outer.raw(path) for name, path in _ELASTIC.items() if outer.has(path)}
            data = {**said, **own}
        fields = super().named(data)
        name, comma, rest = (fields.text("suser") or "").partition(",")
        if comma and rest.lower().startswith("cn="):  # an account of a directory with its distinguished name
            fields.put(suser=name)
        day, clock = fields.text("date"), fields.text("time")
        if day is not None and clock is not None and not fields.has("eventtime"):
            fields.put(eventtime=f"{day}T{clock}{fields.text('tz') or ''}")
        return fields

    def is_alert(self, fields: Fields) -> bool:
        kind = _subtype(fields)
        if (fields.text("eventtype") or "").lower() in _NO_FINDINGS:
            return False
        named = fields.has("attack", "virus", *_CALLBACKS) or _of(fields, _TO_INDICATOR) or _site(fields) is not None
        return named or (fields.text("type") in ("utm", "anomaly") and kind in _ATTACKS)

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        # The host that a URL names is a site's name, no machine that is known.
        site = fields.text("hostname") or (None if fields.has("dstname") else fields.text("dhost"))
        web = fields.text("type") == "utm" or (fields.text("cat") or "").startswith("utm")
        if site is not None and web:
            others = {key: value for key, value in fields.data.items() if key != "dhost"}
            super().entities(Fields({**others, "destinationDnsDomain": site}), evidence)
        else:
            super().entities(fields, evidence)
        for path in ("remip", "userip", "locip", "ip", "assignip", "tunnelip", "ipaddr", "forwardedfor"):
            evidence.ip(fields.text(path))
        evidence.ip(came_from(fields.text("ui")), ("source",))
        evidence.domain((fields.text("qname") or "").strip("[]") or None)
        for text in fields.texts("ipaddr"):
            for part in text.split(","):
                evidence.ip(part.strip())
        for path in ("login", "xauthuser", "eapuser", "initiator"):
            evidence.user(fields.text(path))
        for path in ("sender", "recipient", "from", "to"):
            if evidence.mailbox(fields.text(path)) is None:
                evidence.user(fields.text(path))
        if fields.has("fctuid"):  # of an endpoint's FortiClient
            evidence.host(fields.text(f"{self.prefix}name"))
        evidence.domain(fields.text("botnetdomain"))
        evidence.domain(fields.text("sni"))
        evidence.ip(fields.text("botnetip"), ("commandAndControl",))
        evidence.observe("url", fields.text("url", "request"))
        evidence.malware(fields.text("virus"))

    def finish(self, fields: Fields, alert: Alert) -> None:
        super().finish(fields, alert)
        if (verdict := _site(fields)) is not None:
            where = fields.text("hostname", "qname", "dhost", "dst")
            alert.title, alert.category = f"{verdict[0]}: {where}" if where else verdict[0], verdict[1]
            alert.categories = [alert.category]
        elif not fields.has("attack", "virus", "botnetdomain", "botnetip", "msg", "name"):
            what = fields.text("fname", "filtertype", "act")
            alert.title = f"FortiGate {fields.text('subtype')}: {what}"
        elif not fields.has("attack", "virus") and (where := fields.text(*_CALLBACKS)) is not None:
            alert.title = f"Contact with a botnet: {where}"
        if (
            fields.has(*_CALLBACKS)
            or _of(fields, _TO_INDICATOR)
            or (fields.text("eventtype") or "").lower() == "botnet"
        ):
            alert.category, alert.categories = "CommandAndControl", ["CommandAndControl"]


def _subtype(fields: Fields) -> str:
    return (fields.text("subtype") or (fields.text("cat") or "").partition(":")[2]).lower()


def _site(fields: Fields) -> tuple[str, str] | None:
    """What FortiGuard holds of the site that was asked for, where that is a verdict; whether it was let through or not.

    In CEF the key of the category holds the kind of log, and the category has the vendor's prefix.
    """
    if _subtype(fields) not in _WEB:
        return None
    said = fields.text("catdesc", "requestContext"), fields.text(f"{FortiGate.prefix}cat"), fields.text("cat")
    return next((_VERDICTS[text.lower()] for text in said if text is not None and text.lower() in _VERDICTS), None)


def _of(fields: Fields, message: str) -> bool:
    """Whether it is that message; the log id ends in it."""
    return (fields.text("logid", "deviceEventClassId") or "").endswith(message)
