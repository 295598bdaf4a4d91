"""The logs of PAN-OS in their four forms: CSV by column, CEF, LEEF, and JSON of the Strata Logging Service.

Source: Palo Alto Networks, "Syslog field descriptions" (PAN-OS 10 and 11), "CEF-style log formats", "Strata Logging
Service: log fields".
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from bartizan.model.alert import Alert
from bartizan.sources import csv_records, leef, syslog
from bartizan.sources.entities import addresses_in, domain
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
from bartizan.sources.firewall import Firewall
from bartizan.sources.shape import Paths

_HEAD = "- receive_time deviceExternalId LogType Subtype - TimeGenerated".split()
_FLOW = (
    "src dst sourceTranslatedAddress destinationTranslatedAddress RuleName suser duser app VirtualSystem SourceZone "
    "DestinationZone deviceInboundInterface deviceOutboundInterface LogSetting - SessionID cnt spt dpt "
    "sourceTranslatedPort destinationTranslatedPort Flags proto act"
).split()
_DEVICE = "Category Profile Model Vendor OSFamily OSVersion Host Mac".split()
_SIDES = [f"{side}Device{what}" for side in ("Source", "Destination") for what in _DEVICE]
_POD = "ContainerID ContainerNameSpace ContainerName SourceEDL DestinationEDL".split()
_GROUPS = "SourceDynamicAddressGroup DestinationDynamicAddressGroup".split()
_PARENT = "TunnelID MonitorTag ParentSessionID ParentStartTime TunnelType".split()
_OF = "- - - - VirtualSystemName dvchost".split()  # the groups that the firewall is in, and its name
_EXACT = "TimeGeneratedHighResolution"  # the one time with its zone
_NEVER = ("1970-01-01", "1969-12-31")  # what stands there where nobody measured it
# Columns of a log type behind the head; "-" stands for one that is reserved or of no use here.
_COLUMNS: dict[str, list[str]] = {
    "TRAFFIC": [
        *_FLOW,
        *"Bytes out in Packets start SessionDuration URLCategory - SequenceNo ActionFlags SourceLocation".split(),
        *"DestinationLocation - PacketsSent PacketsReceived SessionEndReason".split(),
        *_OF,
        *"ActionSource SourceUUID DestinationUUID".split(),
        *_PARENT,
        *"EndpointAssociationID ChunksTotal ChunksSent ChunksReceived RuleUUID HTTP2Connection LinkChangeCount".split(),
        *"SDWANPolicyName LinkSwitches SDWANCluster SDWANDeviceType SDWANClusterType SDWANSite".split(),
        *["DynamicUserGroup", "XForwardedForIP", *_SIDES, *_POD, "HostID", "EndpointSN", *_GROUPS, "SessionOwner"],
        _EXACT,
    ],
    "THREAT": [
        *_FLOW,
        *"URL ThreatID URLCategory VendorSeverity Direction SequenceNo ActionFlags SourceLocation".split(),
        *"DestinationLocation - ContentType PcapID fileHash Cloud URLIndex requestClientApplication FileType".split(),
        *"XForwardedFor Referer EmailSender EmailSubject EmailRecipient ReportID".split(),
        *_OF,
        *"- SourceUUID DestinationUUID requestMethod".split(),
        *_PARENT,
        *"ThreatCategory ContentVersion - EndpointAssociationID PayloadProtocolID HTTPHeaders URLCategoryList".split(),
        *"RuleUUID HTTP2Connection DynamicUserGroup XForwardedForIP".split(),
        *[*_SIDES, *_POD, "HostID", "EndpointSN", "DomainEDL", *_GROUPS, "PartialHash", _EXACT],
        *"InlineMLVerdict Justification".split(),
    ],
    "DECRYPTION": [
        *_FLOW,
        *"TunnelType - - SourceUUID DestinationUUID RuleUUID ClientToFirewall FirewallToClient TLSVersion".split(),
        *"TLSKeyExchange TLSEncryptionAlgorithm TLSAuth PolicyName EllipticCurve ErrorIndex RootStatus".split(),
        *"ChainStatus ProxyType CertificateSerial Fingerprint TimeNotBefore TimeNotAfter CertificateVersion".split(),
        *"CertificateSize - - - - CertificateFlags CommonName IssuerCommonName RootCommonName".split(),
        *["ServerNameIndication", "ErrorMessage", *_POD, *_GROUPS, _EXACT, *_SIDES],
        *["SequenceNo", "ActionFlags", *_OF],
    ],
    "SYSTEM": [
        *"VirtualSystem EventName Object - - Module VendorSeverity EventDescription SequenceNo ActionFlags".split(),
        *[*_OF, "-", "-", _EXACT],
    ],
    "CONFIG": [
        *"src VirtualSystem Command suser Client Result ConfigurationPath SequenceNo ActionFlags".split(),
        *[*_OF, "-", "AuditComment", "-", _EXACT, "BeforeChangeDetail", "AfterChangeDetail"],
    ],
    "USERID": [
        *"VirtualSystem src suser DataSourceName EventID cnt Timeout spt dpt DataSource DataSourceType".split(),
        *["SequenceNo", "ActionFlags", *_OF, *"- FactorType FactorCompletedTime FactorNumber - -".split()],
        *["TagName", _EXACT],
    ],
    "GLOBALPROTECT": [
        *"VirtualSystem EventName Stage AuthMethod TunnelType suser SourceRegion EndpointDeviceName PublicIPv4".split(),
        *"PublicIPv6 PrivateIPv4 PrivateIPv6 HostID EndpointSN GlobalProtectClientVersion EndpointOSType".split(),
        *"EndpointOSVersion cnt QuarantineReason ConnectionError EventDescription EventStatus GPLocation".split(),
        *"LoginDuration ConnectionMethod ConnectionErrorID Portal SequenceNo ActionFlags".split(),
        *[_EXACT, *"GatewaySelectionType SSLResponseTime GatewayPriority AttemptedGateways Gateway".split(), *_OF],
    ],
    "CORRELATION": (
        "src suser VirtualSystem ThreatCategory VendorSeverity - - - - VirtualSystemName dvchost - ThreatName "
        "ThreatID EventDescription"
    ).split(),
    "HIPMATCH": [
        *"suser VirtualSystem EndpointDeviceName EndpointOSType src HIPMatchName cnt HIPMatchType - -".split(),
        *["SequenceNo", "ActionFlags", *_OF, *"- SourceIPv6 HostID EndpointSN EndpointMac".split(), _EXACT],
    ],
    "AUTHENTICATION": [
        *"VirtualSystem src suser NormalizeUser Object AuthenticationPolicy cnt AuthenticationID Vendor".split(),
        *"LogSetting ServerProfile EventDescription ClientType EventStatus FactorNumber SequenceNo".split(),
        *["ActionFlags", *_OF, *"- AuthenticationProtocol RuleUUID".split(), _EXACT, *_SIDES[: len(_DEVICE)]],
        *"SourceRegion - requestClientApplication SessionID".split(),
    ],
    "IPTAG": [
        *"VirtualSystem src TagName EventID cnt Timeout DataSourceName DataSource DataSourceType".split(),
        *["SequenceNo", "ActionFlags", *_OF, "-", _EXACT],
    ],
    "TUNNEL": [
        *[*_FLOW, *"VendorSeverity SequenceNo ActionFlags SourceLocation DestinationLocation".split(), *_OF, *_PARENT],
        *"Bytes out in Packets PacketsSent PacketsReceived".split(),
    ],
    "SCTP": [
        *"src dst - - RuleName - - - VirtualSystem SourceZone DestinationZone deviceInboundInterface".split(),
        *"deviceOutboundInterface LogSetting - SessionID cnt spt dpt - - - - proto act".split(),
        *[*_OF, *"SequenceNo - EndpointAssociationID PayloadProtocolID VendorSeverity ChunkType".split()],
    ],
    "GTP": [
        *_FLOW,
        *"EventType MSISDN AccessPointName RadioAccessTechnology MessageType EndUserIP TunnelEndpointID1".split(),
        *"TunnelEndpointID2 TunnelInterface CauseCode VendorSeverity MobileCountryCode MobileNetworkCode".split(),
        *"AreaCode CellID EventCode".split(),
    ],
}
_COLUMNS["START"] = _COLUMNS["END"] = _COLUMNS["TUNNEL"]  # which a log of a tunnel has for its type
_COLUMNS["AUTH"] = _COLUMNS["AUTHENTICATION"]
_COLUMNS["URL"] = _COLUMNS["DATA"] = _COLUMNS["WILDFIRE"] = _COLUMNS["THREAT"]

_KEYS = {
    "SourceAddress": "src",
    "SourceIP": "src",
    "SourcePort": "spt",
    "SourceUser": "suser",
    "SourceUserName": "suser",
    "EndpointUserName": "suser",
    "DestinationAddress": "dst",
    "DestinationPort": "dpt",
    "DestinationUser": "duser",
    "NATSource": "sourceTranslatedAddress",
    "NATDestination": "destinationTranslatedAddress",
    "Protocol": "proto",
    "Application": "app",
    "Action": "act",
    "URL": "request",
    "URLDomain": "dhost",
    "FileName": "fname",
    "FileSHA256": "fileHash",
    "FileHash": "fileHash",
    "LogSourceName": "dvchost",
    "DeviceName": "dvchost",
    "DeviceSN": "deviceExternalId",
    "LogSourceID": "deviceExternalId",
    "SequenceNo": "externalId",
    "VendorSeverity": "deviceSeverity",
    "Severity": "deviceSeverity",
    "EventDescription": "msg",
    "ErrorMessage": "msg",
    "EventName": "name",
    "ThreatName": "name",
    "BytesSent": "out",
    "BytesReceived": "in",
    "HTTPMethod": "requestMethod",
    "UserAgent": "requestClientApplication",
    "Subtype": "deviceEventClassId",
    "LogType": "cat",
    "FileDigest": "fileHash",
    "SerialNumber": "deviceExternalId",
    "sequence": "externalId",
}
_OF_DNS = frozenset({"DNS", "DNS_SECURITY", "DNSSECURITY"})
_THREATS = frozenset({"THREAT", "URL", "WILDFIRE", "CORRELATION"})
_CATEGORIES = {
    "virus": "Malware",
    "wildfire": "Malware",
    "wildfire-virus": "Malware",
    "spyware": "CommandAndControl",
    "vulnerability": "Exploit",
    "scan": "Discovery",
    "flood": "Impact",
    "data": "Exfiltration",
    "url": "SuspiciousActivity",
    "file": "SuspiciousActivity",
}
# Of the header of CEF, a number from 1 on.
_LEVELS = ("informational", "low", "medium", "high", "critical")
_NAMED = re.compile(r"^(.{1,500}?)\((\d{1,12})\)$")
_USER = re.compile(
    r"\buser(?: ?name:)? '?(?!(?:authentication|name|login|mapping|group|id|session|is|has|was|not|with|from)\b)"
    r"([^'\s,]{1,256})'?",
    re.IGNORECASE,
)
# What a system log of a sign-in tells in its text, under the keys that the log of GlobalProtect has for it.
_TOLD = {
    "suser": _USER,
    "src": re.compile(r"\bfrom:? '?([0-9A-Fa-f:.]{3,45}?)'?(?=[.,]?(?:\s|$))", re.IGNORECASE),
    "reason": re.compile(r"\bReason: (.{1,200}?)(?=\. |, (?:Auth type|Client|VPN)|$)"),
    "EndpointDeviceName": re.compile(r"\bDevice name: ([^,]{1,128})"),
    "PrivateIPv4": re.compile(r"\bPrivate IP: ([\d.]{7,15})"),
}
_SIGNED_IN = re.compile(
    r"(?:^|-)(?:auth|config)-(?:succ|(?P<bad>fail))|^(?P<failed>failed) (?:authentication|password)|\blogged in\b",
    re.IGNORECASE,
)
# Where the log of GlobalProtect says what CEF has a key for, whichever form it has.
_OF_PORTAL = {
    "name": "EventName EventIDValue EventID",
    "suser": "SourceUserName user",
    "src": "PublicIPv4 PublicIPv6",
    "shost": "EndpointDeviceName",
    "sourceTranslatedAddress": "PrivateIPv4 PrivateIPv6",
    "outcome": "EventStatus",
    "reason": "ConnectionError QuarantineReason",
    "msg": "EventDescription Description",
}
# What the cloud writes where a firewall writes its name, and what begins the names of the machines that pass logs on.
_SERVICE, _PASSES_ON = "GP cloud service", "stream-logfwd"
_OF_SOURCE = "PublicIPv4 PublicIPv6 PrivateIPv4 PrivateIPv6 XForwardedFor XForwardedForIP EndpointIP SourceIPv6".split()
_MONITOR = re.compile(r"\bserver monitor ([\w.-]{1,253})")
_MAX_TEXT = 8_192
_MAX_FOUND = 20
_HTTPS = 443


class PanOs(Firewall):
    """The shape that both products share."""

    vendor = "Palo Alto Networks"
    keys = _KEYS
    prefix = "PanOS"
    times = "TimeGeneratedHighResolution TimeGenerated EventTime start rt receive_time LogTime"
    alert: ClassVar[Paths | None] = Paths(
        id="externalId+deviceExternalId+TimeGenerated externalId+deviceExternalId+rt",
        title="ThreatName ThreatID name Subtype",
        description="msg URL",
        severity="VendorSeverity deviceSeverity Severity",
        vendor_category="Subtype ThreatCategory",
        categories=_CATEGORIES,
        detector="ThreatNumber ThreatID ThreatName name",
        first=times,
        sub_provider="dvchost",
        fold="src dst act",
    )

    def lines(self, text: str) -> Iterable[dict[str, Any]]:
        event = leef.read(text)
        if event is not None:
            said = event.fields
            names = {"LogType": said.text("Type", "cat"), "URL": (said.text("Miscellaneous") or "").strip('"') or None}
            return [_placed({**event.named(), **names, "VendorSeverity": said.text("Severity")})]
        message = syslog.read(text).message.replace('\\"', '"')
        cells = csv_records.cells(message)
        if len(cells) < len(_HEAD):
            return []
        cells[3] = cells[3].upper().replace("-", "")  # HIP-MATCH, USER-ID
        if cells[3] not in _COLUMNS:
            return []
        return [_placed(csv_records.by_columns(message, _named(cells[3], cells)))]

    def named(self, data: Mapping[str, Any]) -> Fields:
        fields = super().named(data)
        for key in ("suser", "duser"):
            if (name := fields.text(key)) is not None:
                fields.put(**{key: name.replace("\\\\", "\\")})
        if fields.has("deviceEventClassId", "name") and not fields.has("Subtype", "LogType"):  # CEF's header
            _of_header(fields)
            _of_threat(fields)
        if fields.integer("externalId") == 0:  # of a firewall that does not number its logs
            fields.put(externalId=None)
        if (fields.text(_EXACT) or "").startswith(_NEVER):
            fields.put(**{_EXACT: None})
        if fields.text("dvchost") == _SERVICE:
            fields.put(dvchost=None)
        if (fields.text("syslogHost") or "").startswith(_PASSES_ON):
            fields.put(syslogHost=None)
        kind = (fields.text("LogType") or "").upper()
        if kind == "GLOBALPROTECT":
            _say(fields, {key: fields.text(*paths.split()) for key, paths in _OF_PORTAL.items()})
        elif kind == "USERID":
            _say(fields, {"name": fields.text("Subtype"), "suser": fields.text("duser")})
        elif kind == "SYSTEM":
            _say(fields, _told(fields))
        said = fields.text("ThreatID", "ThreatName")
        match = _NAMED.match(said or "")
        if match is not None:
            fields.put(ThreatName=match[1].strip(), ThreatNumber=match[2])
        return fields

    def is_alert(self, fields: Fields) -> bool:
        return (fields.text("LogType") or fields.text("deviceEventClassId") or "").upper() in _THREATS

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        kind, file = (fields.text("Subtype") or "").lower(), fields.text("fname")
        asked = file if kind == "spyware" and domain(file) is not None else None  # the name that was looked up
        url = (fields.text("URL", "request") or "").strip('"')
        url = "" if url.startswith("-/") else url  # of a page whose host was not seen
        bare = "/" in url and "://" not in url
        super().entities(fields.without(*(["fname"] if asked else []), *(["request"] if bare else [])), evidence)
        evidence.domain(asked)
        evidence.host(
            fields.text("EndpointDeviceName"),
            addresses=[fields.text("PrivateIPv4"), fields.text("PrivateIPv6")],
            os=fields.text("EndpointOSType"),
        )
        for side, at in (("Source", "src"), ("Destination", "dst")):
            evidence.host(
                fields.text(f"{side}DeviceHost"),
                addresses=[fields.text(at)],
                os=fields.text(f"{side}DeviceOSFamily"),
                version=fields.text(f"{side}DeviceOSVersion"),
            )
        for path in _OF_SOURCE:
            evidence.ip(fields.text(path), ("source",))
        evidence.domain(fields.text("ServerNameIndication"))
        if (fields.text("LogType") or "").upper() in _OF_DNS:
            evidence.domain(fields.text("DomainName"))
        if "/" in url:
            evidence.observe("url", url)
        if url and "://" not in url:
            secure = (fields.text("app") or "").lower() == "ssl" or fields.integer("dpt") == _HTTPS
            evidence.url(f"{'https' if secure else 'http'}://{url}" if bare else None)
            evidence.domain(url.partition("/")[0].partition(":")[0] if "/" in url or not fields.has("fname") else None)
        if "@" in (fields.text("EmailSender", "EmailRecipient") or ""):
            evidence.message(
                None,
                sender=fields.text("EmailSender"),
                recipient=fields.text("EmailRecipient"),
                subject=fields.text("EmailSubject"),
            )
        told = "msg" if (fields.text("LogType") or "").upper() == "SYSTEM" else "EventDescription"  # of CEF
        text = (fields.text("EventDescription", told) or "")[:_MAX_TEXT]
        for match in list(_USER.finditer(text))[:_MAX_FOUND]:
            evidence.user(match[1].rstrip("."))
        for found in [*addresses_in(text), *fields.texts("DNSResponse")]:
            evidence.ip(found)
        said = _MONITOR.search(text)
        evidence.host(said[1] if said is not None else None)

    def finish(self, fields: Fields, alert: Alert) -> None:
        super().finish(fields, alert)
        if alert.severity == "unknown":
            alert.severity = "informational"
        if fields.text("Subtype") == "url":
            alert.title = f"URL {fields.text('act') or 'seen'}: {fields.text('URL', 'request') or alert.title}"
        elif (fields.text("Subtype") or "").lower() == "wildfire" and (file := fields.text("fname")) is not None:
            alert.title = f"WildFire {fields.text('URLCategory', 'Verdict') or 'verdict'}: {file}"


def _of_header(fields: Fields) -> None:
    """The type of a log and its kind: the logging service names the type first, a firewall second, before the kind or
    the threat."""
    first, second = fields.text("deviceEventClassId") or "", fields.text("name") or ""
    if second.upper() not in _COLUMNS:
        said = fields.text("VendorSeverity", "Severity")  # the header has the same number for all of a type
        fields.put(Subtype=fields.data.get("name"), VendorSeverity=said)
        return
    fields.put(LogType=second)
    if _NAMED.match(first):
        fields.put(ThreatID=first, Subtype=fields.data.get("subtype"))
    else:
        fields.put(Subtype=first)
        if _NAMED.match(fields.text("cat") or ""):
            fields.put(ThreatID=fields.text("cat"))
    level = fields.integer("deviceSeverity") or 0
    if second.upper() in _THREATS and 1 <= level <= len(_LEVELS):
        fields.put(VendorSeverity=fields.data.get("VendorSeverity", _LEVELS[level - 1]))


def _of_threat(fields: Fields) -> None:
    """What stands for the page that was asked for is a file's name where the threat is about none."""
    said = (fields.text("request") or "").strip('"')
    of_name = (fields.text("Subtype") or "").lower() in ("url", "spyware")
    if (fields.text("LogType") or "").upper() == "THREAT" and said and "/" not in said and not of_name:
        fields.put(request=None, fname=fields.text("fname") or said)


def _say(fields: Fields, said: Mapping[str, str | None]) -> None:
    """Under keys that say nothing yet."""
    fields.put(**{key: value for key, value in said.items() if value is not None and not fields.has(key)})


def _told(fields: Fields) -> dict[str, str | None]:
    """Who signed in from where, with what outcome, of a system log about that; nothing of others."""
    text = (fields.text("EventDescription", "msg") or "")[:_MAX_TEXT]
    signed = _SIGNED_IN.search(fields.text("EventName", "EventID", "name") or "") or _SIGNED_IN.search(text)
    if signed is None:
        return {}
    found = {key: match for key, words in _TOLD.items() if (match := words.search(text)) is not None}
    outcome = "failure" if signed["bad"] or signed["failed"] else "success"
    return {**{key: match[1].rstrip(".") for key, match in found.items()}, "outcome": outcome}


def _placed(data: dict[str, Any]) -> dict[str, Any]:
    """One column says the address of a page, a file or a domain, by the kind of the threat."""
    kind, said = str(data.get("Subtype") or "").lower(), data.get("URL")
    if kind == "url" or not isinstance(said, str) or "/" in said or (kind == "spyware" and domain(said)):
        return data
    return {**{name: value for name, value in data.items() if name != "URL"}, "FileName": said}


def _named(kind: str, cells: Sequence[str]) -> list[str]:
    names = [*_HEAD, *_COLUMNS[kind.upper()]]
    at = names.index("SequenceNo") if kind.upper() == "CONFIG" else len(cells)
    if at + 3 < len(cells) and not cells[at + 1].startswith("0x") and cells[at + 3].startswith("0x"):
        names[at:at] = ["BeforeChangeDetail", "AfterChangeDetail"]  # of which a format of the operator's has both
    return ["" if name == "-" else name for name in names]
