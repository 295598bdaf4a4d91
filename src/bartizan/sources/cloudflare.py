"""Cloudflare: logs of its edge, of Zero Trust and of accounts are events; what it calls an attack or a threat an alert.

Which data set a record is of, its fields say. A request to Access that signs somebody in, and a sign-in to the account,
are sign-ins as well. An alert is what the managed rules of the firewall stopped, what Gateway
blocked as a threat, hits of intrusion detection, findings of CASB, judged mails, requests to a sinkhole, and
notifications.
Source: Cloudflare Docs, "Log fields" (Logpush data sets), "WAF attack score", "Gateway: Domain categories",
"Configure webhooks" (notifications).
"""

from collections.abc import Iterator

from msgspec import Struct

from bartizan.extend import Event, GraphObject
from bartizan.model.alert import Alert, Severity
from bartizan.sources import common_security_log
from bartizan.sources.evidence import Evidence, Place
from bartizan.sources.fields import Fields, content_id
from bartizan.sources.severity import of_word
from bartizan.sources.shape import Paths, Shape
from bartizan.sources.sign_ins import Code, SignIn, sign_in
from bartizan.sources.times import first_time

_MAX_PARTS = 50
_ATTACK_SCORE = 20  # WAFAttackScore below it: Cloudflare calls the request an attack
_STOPPED = frozenset(
    "block drop challenge jschallenge managedchallenge managed_challenge js_challenge challengefailed jschallengefailed"
    " managedchallengefailed connectionclose blocked".split()
)
_MANAGED = frozenset("waf firewallmanaged managed l7ddos apishield".split())  # Source of a firewall event
_THREATS = (
    "malware", "phishing", "command and control", "botnet", "cryptomining", "spyware", "dga", "dns tunneling",
    "compromised domain", "scam", "typosquatting", "brand embedding", "security threats",
)  # fmt: skip
_CATEGORIES = {"phishing": "Phishing", "command": "CommandAndControl", "botnet": "CommandAndControl"}  # else Malware
_GATEWAY_BLOCKS = frozenset({"blockedbycategory", "blockedondnspolicy", "blockedrule", "blocked", "block"})
_MAILS: dict[str, tuple[Severity, str]] = {
    "MALICIOUS": ("high", "Phishing"),
    "SPOOF": ("medium", "Phishing"),
    "SUSPICIOUS": ("medium", "Phishing"),
}
_TIMES = (
    "Datetime EdgeStartTimestamp Timestamp When ActionTimestamp CreatedAt DetectedTimestamp ts SessionStartTime "
    "SessionStartDatetime"
)
_STARTS = (
    "ClientIP", "SourceIP", "SrcIP", "SrcAddr", "ActorIP", "ActorIPAddress", "IPAddress", "IPSourceAddress",
)  # fmt: skip
_APP = "AppDomain app_domain"  # what Access protects
_ALLOWED = ("Allowed", "allowed")
_DONE = ("ActionResult", "action.result")


class _Verdict(Struct, frozen=True):
    title: str
    severity: Severity
    category: str
    detector: str | None = None
    word: str | None = None
    closed: bool = False
    blocked: bool = False


class Cloudflare(Shape):
    name = "cloudflare"
    vendor = "Cloudflare"
    product = "Cloudflare"
    marks = (
        "QueryName+ResolverDecision AlertID+FinalDisposition+MessageID alert_correlation_id+alert_type "
        "alert_type+alert_event+account_id RayID+ClientIP+Action RayID+ClientRequestHost+EdgeResponseStatus "
        "ClientRequestHost+EdgeStartTimestamp+ClientIP PolicyID+PolicyName+DeviceID+Datetime "
        "PolicyID+DeviceID+SNI+SourceIP RayID+AppDomain+Email QueryName+ColoCode "
        "ActorEmail+ActionType+ResourceType+When policy_id+alert_type+account_id data.unsubscribe+text "
        "p_log_type=cloudflare.* ActionResult+ActionType+ActorID Source+ClientASN+RuleID+RayID "
        "ClientRequestMethod+ClientRequestHost+ClientASN QueryNameReversed+PolicyID "
        "HTTPHost+HTTPStatusCode+PolicyID FindingTypeID+FindingTypeSeverity SignatureID+SignatureMessage+ColoCode "
        "SinkholeID+SrcAddr BlockedFileHash+URL SourceIP+HTTPHost+PolicyName action.type+actor.email+when "
        "clientIP+rayName+ruleId "
        "CSPDirective+PageURL app_domain+ray_id+user_email SessionStartTime+DestinationTunnelID+Email "
        "PostureCheckName+PostureCheckType+DeviceID ClientMatchedIpFirewall+Application+Event "
        "SessionStartDatetime+TargetID+UserEmail ForensicCopyID+GatewayRequestID AuditLogID+ActionTimestamp+ActorID "
        "DeviceRegistrationID+Hostname+UserEmail DeviceRegistrationID+ISPIPv4Address "
        "IPSourceAddress+IPDestinationAddress+MitigationSystem IPSourceAddress+IPDestinationAddress+ColoCode "
        "Decision+DomainName+UserEmail+Type"
    )
    sourcetypes = ("cloudflare:*", "cloudflare")
    table = "CloudflareEvents"
    wrappers = ("result", "events", "_source")
    columns = {
        "Timestamp": f"time {_TIMES}",
        "EventId": "RayID rayName AlertID AuditLogID ID SessionID id",
        "EventType": "ActionType action.type Action action ResolverDecision Event ProgramType Type AttackVector",
        "Outcome": "ActionResult Allowed SecurityAction Action ResolverDecision Decision Outcome",
        "SourceIP": (
            "ClientIP SourceIP SrcIP SrcAddr ActorIP ActorIPAddress IPAddress actor.ip ClientAddress IPSourceAddress"
        ),
        "SourcePort": "int ClientSrcPort SourcePort SrcPort ClientPort",
        "DestinationIP": "DestinationIP DstIP DestAddr OriginIP IPDestinationAddress",
        "DestinationPort": "int DestinationPort DstPort OriginPort",
        "UserName": "Email ActorEmail actor.email user_email UserEmail",
        "HostName": "DeviceName TargetName",
        "DomainName": "QueryName ClientRequestHost clientRequestHTTPHost HTTPHost SNI DomainName",
        "Url": "URL",
        "HttpMethod": "ClientRequestMethod HTTPMethod",
        "HttpStatus": "int EdgeResponseStatus HTTPStatusCode",
        "UserAgent": "ClientRequestUserAgent UserAgent",
        "Country": "ClientCountry Country",
        "ProcessCommandLine": "Command",
        "Application": f"{_APP} Application",
        "AsNumber": "long ClientASN ClientAsn",
        "RuleId": "RuleID SecurityRuleID PolicyID",
        "RuleName": "Description SecurityRuleDescription PolicyName",
        "RuleSource": "Source",
    }
    alert = Paths(
        id="AlertID alert_correlation_id AttackID+IPSourceAddress RayID+RuleID RayID rayName QueryID FindingID",
        title="Description RuleID name",
        description="Description text FindingTypeDisplayName Subject",
        vendor_category="Source alert_type FinalDisposition",
        first=_TIMES,
        fold="ClientIP SrcIP SourceIP ClientRequestHost",
        sub_provider="Source",
    )

    def is_alert(self, fields: Fields) -> bool:
        return verdict(fields) is not None

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        place = Place(country=fields.text("ClientCountry", "Country", "SourceCountry"))
        start = fields.text(*_STARTS)
        end = fields.text("DestinationIP", "DstIP", "DestAddr", "IPDestinationAddress")
        ports = fields.integer("ClientSrcPort", "SourcePort", "SrcPort"), fields.integer("DestinationPort", "DstPort")
        protocol = fields.text("Transport", "Protocol", "IPProtocolName", "IPProtocol")
        if evidence.flow(start, ports[0], end, ports[1], protocol, places=(place, None)) is None:
            evidence.ip(start, ("source",), place)
            evidence.ip(end, ("destination",))
        for name in ("SourceInternalIP", "OriginIP", "EdgeServerIP"):
            evidence.ip(fields.text(name))
        evidence.user(
            fields.text("Email", "ActorEmail", "UserEmail"), object_id=fields.text("UserID", "ActorID", "UserUID")
        )
        evidence.host(fields.text("DeviceName"), device_id=fields.text("DeviceID"))
        if fields.has("TargetName"):  # of a session of SSH
            evidence.host(fields.text("TargetName"), addresses=[fields.text("TargetAddress")])
        _request(fields, evidence)
        evidence.domain(fields.text("QueryName"), fields.texts("ResolvedIPs"))
        evidence.domain(fields.text("SNI"))
        evidence.observe("resource", fields.text(*_APP.split()), "application")
        evidence.url(fields.text("PageURL"))  # what loaded a script
        evidence.file(fields.text("BlockedFileName"), hashes=[fields.text("BlockedFileHash")])
        for item in fields.objects("FileInfo.files")[:_MAX_PARTS]:
            evidence.file(item.text("file_name"), hashes=[item.text("file_hash")], size=item.integer("file_size"))
        _mail(fields, evidence)
        evidence.app(fields.text("IntegrationDisplayName"))
        evidence.observe("resource", fields.text("AssetDisplayName"), "asset")
        evidence.user(fields.text("AssetMetadata.Email", "AssetMetadata.primaryEmail"))
        if fields.has("SinkholeID"):
            evidence.user(fields.text("Username"))
            evidence.domain(fields.text("Host"))

    def event(self, fields: Fields) -> Iterator[Event | GraphObject]:
        for item in super().event(fields):
            if isinstance(item, Event) and (outcome := _outcome(fields)) is not None:
                item.row["Outcome"] = outcome
            yield item
            yield from sign_in(said, item.entities) if (said := _signed_in(fields)) is not None else ()

    def finish(self, fields: Fields, alert: Alert) -> None:
        if fields.has("SinkholeID"):
            alert.additional.pop("Password", None)  # somebody's own, sent to the wrong host
        said = verdict(fields)
        if said is None:
            return
        alert.title, alert.severity, alert.vendor_severity = said.title, said.severity, said.word
        alert.category, alert.categories = said.category, [said.category]
        alert.detector_id = said.detector
        if alert.fingerprint:
            alert.fingerprint = (said.detector or said.title, *alert.fingerprint[1:])
        elif said.category == "Impact":
            alert.fingerprint = (said.detector or said.title, fields.text("AttackID") or "")
        if said.closed:
            alert.status = "resolved"
        if said.blocked:
            common_security_log.acted(alert, "blocked")
        if fields.has("alert_type"):
            found = Evidence(alert.first_activity)
            for text in (*fields.texts("data.target_ip"), *fields.texts("data.target_hostname", "data.zones.name")):
                found.ip(text, ("destination",))
                found.domain(text)
            alert.evidence = alert.evidence or found.items
            alert.url = fields.text("data.dashboard_link")
        if not alert.evidence and fields.has("alert_type"):  # of a notification about the account as a whole
            found = Evidence(alert.first_activity)
            found.app(fields.text("account_name", "data.account_name") or "Cloudflare")
            alert.evidence = found.items


def verdict(fields: Fields) -> _Verdict | None:
    """What Cloudflare itself says is wrong."""
    if fields.has("alert_type") and fields.has("text", "name"):
        return _notification(fields)
    if fields.has("SignatureMessage", "SignatureID"):
        title = fields.text("SignatureMessage") or f"Signature {fields.text('SignatureID')}"
        blocked = (fields.text("Action") or "").lower() in _STOPPED
        return _Verdict(title, "medium", "SuspiciousActivity", fields.text("SignatureID"), blocked=blocked)
    if fields.has("FindingTypeSeverity") and fields.has("FindingTypeDisplayName"):
        word = fields.text("FindingTypeSeverity")
        title = fields.text("FindingTypeDisplayName") or "Finding"
        return _Verdict(title, of_word(word), "Misconfiguration", fields.text("FindingTypeID"), word)
    if fields.has("AttackVector") and fields.has("IPSourceAddress"):  # a packet of an attack that was known as such
        vector, blocked = fields.text("AttackVector"), (fields.text("Outcome") or "").lower() in _STOPPED
        return _Verdict(
            f"Packets of an attack: {vector}", "low" if blocked else "medium", "Impact", vector, blocked=blocked
        )
    if fields.has("SinkholeID"):  # what asks there is infected
        sinkhole = fields.text("SinkholeID")
        return _Verdict(f"Request to sinkhole {sinkhole}", "medium", "CommandAndControl", sinkhole)
    disposition = (fields.text("FinalDisposition") or "").upper()
    if disposition in _MAILS:
        severity, category = _MAILS[disposition]
        return _Verdict(f"Mail judged {disposition.lower()}", severity, category, disposition, disposition)
    return _firewall(fields) or _gateway(fields)


def _firewall(fields: Fields) -> _Verdict | None:
    action = (fields.text("Action", "SecurityAction", "WAFAction") or "").lower()
    source = (fields.text("Source") or next(iter(fields.texts("SecuritySources")), "")).lower()
    score = fields.number("WAFAttackScore")
    attack = score is not None and 0 < score < _ATTACK_SCORE
    stopped = action in _STOPPED
    if not fields.has("ClientIP") or not ((stopped and source in _MANAGED) or attack):
        return None
    rule = fields.text("RuleID", "SecurityRuleID", "WAFRuleID")
    told = fields.text("Description", "SecurityRuleDescription", "WAFRuleMessage")
    title = told or (f"Request matching rule {rule}" if rule else "Request scored as an attack")
    return _Verdict(title, "medium" if attack else "low", "Exploit", rule, blocked=stopped)


def _gateway(fields: Fields) -> _Verdict | None:
    action = (fields.text("ResolverDecision", "Action") or "").lower()
    file = fields.text("BlockedFileName", "BlockedFileHash")
    if file is not None:
        reason = fields.text("BlockedFileReason")
        return _Verdict(f"Download blocked: {file}", "medium", "Malware", reason or "BlockedFile", blocked=True)
    names = fields.texts("MatchedCategoryNames") or fields.texts("CategoryNames") or fields.texts("QueryCategoryNames")
    found = next((name for name in names if any(word in name.lower() for word in _THREATS)), None)
    if found is None or action not in _GATEWAY_BLOCKS:
        return None
    where = fields.text("QueryName", "HTTPHost", "SNI") or "destination"
    category = next((ours for word, ours in _CATEGORIES.items() if word in found.lower()), "Malware")
    return _Verdict(f"{found} blocked: {where}", "medium", category, found, blocked=True)


def _notification(fields: Fields) -> _Verdict:
    kind = fields.text("alert_type") or "notification"
    word = fields.text("data.severity", "severity")
    ended = (fields.text("alert_event") or "").upper().endswith("_END")
    name = fields.text("name")
    name = None if name == fields.text("policy_name") else name  # of the notification's policy
    title = name or (fields.text("text") or kind).partition("\n")[0][:200]
    attack = any(part in kind for part in ("ddos", "dos_attack", "fw_anomaly", "security", "credential", "malicious"))
    level = of_word(word) if word else "medium" if attack else "informational"
    return _Verdict(title, level, "SuspiciousActivity", kind, word, closed=ended)


def _outcome(fields: Fields) -> str | None:
    """Of Access, and of the audit log where it says true or false."""
    allowed, done = fields.flag(*_ALLOWED), fields.flag(*_DONE)
    if allowed is not None:
        return "allowed" if allowed else "denied"
    return None if done is None else "success" if done else "failure"


def _signed_in(fields: Fields) -> SignIn | None:
    """Who signed in to an application behind Access, or to the account itself; None of any other record."""
    who = fields.text("Email", "user_email", "ActorEmail", "actor.email")
    kind = (fields.text("ActionType", "action.type", "Action", "action") or "").lower()
    if who is None or kind != "login":
        return None
    through = fields.has(*_APP.split())
    allowed, done = fields.flag(*_ALLOWED), fields.flag(*_DONE)
    failed = allowed is False or done is False or (fields.text("ActionResult") or "").lower() == "failure"
    return SignIn(
        provider="cloudflare",
        id=fields.text("RayID", "ray_id", "AuditLogID", "ID", "id") or content_id(fields.data),
        at=first_time(fields, *_TIMES.split(), "created_at", "when"),
        upn=who,
        user_id=fields.text("UserUID", "ActorID", "actor.id"),
        app=fields.text(*_APP.split()) or "Cloudflare dashboard",
        app_id=fields.text("AppUUID", "app_uid"),
        resource="Cloudflare Access" if through else "Cloudflare",
        address=fields.text("IPAddress", "ip_address", "ActorIP", "ActorIPAddress", "actor.ip"),
        place=Place(country=fields.text("Country", "country")),
        code=Code.OK if not failed else Code.BLOCKED if through else Code.FAILED,
        protocol=fields.text("Connection", "connection"),
        policy="notApplied" if not through else "failure" if failed else "success",
    )


def _request(fields: Fields, evidence: Evidence) -> None:
    """The address of a web request, with its query, in which most attacks are."""
    host = fields.text("ClientRequestHost", "clientRequestHTTPHost", "HTTPHost")
    path = fields.text("ClientRequestURI", "ClientRequestPath", "clientRequestPath") or ""
    query = (fields.text("ClientRequestQuery", "clientRequestQuery") or "").lstrip("?")
    if "?" not in path and query:
        path = f"{path}?{query}"
    if fields.has("URL"):
        evidence.url(fields.text("URL"))
    elif host is not None and path.startswith("/"):
        evidence.url(f"{fields.text('ClientRequestScheme', 'clientRequestScheme') or 'https'}://{host}{path}")
    evidence.domain(host)


def _mail(fields: Fields, evidence: Evidence) -> None:
    if not fields.has("FinalDisposition"):
        return
    addressed = [text for path in ("To", "CC", "SMTPEnvelopeTo") for text in fields.texts(path)]
    recipients: list[str | None] = [*dict.fromkeys(addressed[:_MAX_PARTS])]
    for to in recipients or [None]:
        evidence.message(
            internet_id=fields.text("MessageID"),
            sender=fields.text("From"),
            envelope_sender=fields.text("SMTPEnvelopeFrom"),
            recipient=to,
            sender_ip=fields.text("SMTPHeloServerIP"),
            subject=fields.text("Subject"),
            urls=fields.texts("Links")[:_MAX_PARTS],
        )
    for item in fields.objects("Attachments")[:_MAX_PARTS]:
        evidence.file(item.text("Filename", "Name"), hashes=[item.text("SHA256"), item.text("SHA1"), item.text("MD5")])
    for path in ("ReplyTo", "OriginalSender"):
        evidence.mailbox(fields.text(path))
    evidence.domain(fields.text("SMTPHeloServerName"))
