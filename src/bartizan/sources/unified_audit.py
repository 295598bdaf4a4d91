"""Records of the Microsoft 365 unified audit log: alerts, or rows of OfficeActivity; their keys come in any case.

What Entra's token service says of logons is a Graph signIn besides, of the id that Entra's own log gives it.
Source: Office 365 Management Activity API schema; Azure Monitor reference, "OfficeActivity".
"""

import json
import re
from collections.abc import Iterator

from bartizan.extend import Event, GraphObject, Record
from bartizan.model.alert import Alert
from bartizan.sources.collector import Roles
from bartizan.sources.entities import address, is_sid
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, content_id
from bartizan.sources.microsoft_entities import read_entities
from bartizan.sources.shape import Paths, Shape
from bartizan.sources.sign_ins import Code, Kind, SignIn, sign_in
from bartizan.sources.tables import columns as read_columns
from bartizan.sources.tables import event
from bartizan.sources.times import first_time

# Who acts where nobody does: the services' own names.
_SERVICES = frozenset(
    """
    securitycompliancealerts securitycomplianceinsights threatintel airinvestigation app@sharepoint dlpagent
    """.split()
)
_COLUMNS = {
    "OfficeId": "Id",
    "OfficeWorkload": "Workload",
    "ClientIP": "ClientIP ClientIPAddress ActorIpAddress",
    "Client_IPAddress": "ClientIPAddress",
    "Client": "ClientInfoString",
    "OfficeObjectId": "ObjectId",
    "Site_Url": "SiteUrl",
    "Event_Data": "EventData",
    "Logon_Type": "LogonType",
    "InternalLogonType": "int InternalLogonType",
    **{
        name: name
        for name in """
        Operation RecordType UserId UserKey UserType ResultStatus OrganizationId OrganizationName OriginatingServer
        ExternalAccess UserAgent ItemType EventSource SourceRelativeUrl SourceFileName SourceFileExtension
        DestinationRelativeUrl DestinationFileName DestinationFileExtension MachineId MachineDomainInfo SharingType
        MailboxGuid MailboxOwnerUPN MailboxOwnerSid LogonUserSid LogonUserDisplayName ClientInfoString
        ClientMachineName ClientProcessName ClientVersion ActorIpAddress ActorContextId TargetContextId InterSystemsId
        IntraSystemId SupportTicketId
        """.split()
    },
}
_JSON_COLUMNS = "Parameters ModifiedProperties ExtendedProperties Actor Folder Folders AffectedItems Item".split()
_MAX_PARAMETERS = 200
_NAME, _UPN = 1, 5  # types of what Entra's records name: a display name, a user principal name
_MAILBOX_PARAMETERS = frozenset(
    """
    identity mailbox forwardto forwardingsmtpaddress forwardingaddress redirectto forwardasattachmentto user trustee
    ruleactions
    """.split()
)
_LOGONS = frozenset({"userloggedin", "userloginfailed"})
_STS = frozenset({"15", "azureactivedirectorystslogon"})  # types of the records of Entra's token service
_LOGON_ERRORS = {  # where the number is not there
    "invalidusernameorpassword": Code.WRONG_PASSWORD,
    "invalidpasswordexpiredpassword": Code.PASSWORD_EXPIRED,
    "useraccountnotfound": Code.UNKNOWN_USER,
    "useraccountnotindirectory": Code.UNKNOWN_USER,
    "userdisabled": Code.DISABLED,
    "idslocked": Code.LOCKED_OUT,
    "accountlocked": Code.LOCKED_OUT,
    "userstrongauthclientauthnrequired": Code.FACTOR_REQUIRED,
    "userstrongauthclientauthnrequiredinterrupt": Code.FACTOR_REQUIRED,
    "userstrongauthenrollmentrequiredinterrupt": Code.FACTOR_NOT_ENROLLED,
    "authenticationfailedsaserror": Code.FACTOR_FAILED,
    "devicenotcompliant": Code.WRONG_DEVICE,
    "blockedbyconditionalaccess": Code.BLOCKED,
}
_BY_GRANT = "oauth2:token"  # a request that no user stands behind: of a client that has a grant already
_STRONG = "sas:"  # what requests to the service of second factors begin with
_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_PUID = re.compile(r"[0-9A-F]{16}@")  # "1003000080000001@olprd.example": an id, however it looks
_ADDRESS = re.compile(r"[A-Za-z0-9._%+'-]{1,64}@[A-Za-z0-9.-]{1,190}\.[A-Za-z]{2,24}")


def is_audit(fields: Fields) -> bool:
    return fields.has("Operation") and fields.has("Workload", "RecordType", "UserKey", "OrganizationId")


def audit(record: Record, fields: Fields) -> Iterator[Alert | Event | GraphObject]:
    """A record that `is_audit` takes: an alert where Security & Compliance (or whose alerts it shows) made one."""
    if fields.has("AlertId") and fields.has("Name") and (fields.text("Operation") or "").startswith("Alert"):
        yield _ALERTS.made(record, fields)
        return
    made = audit_event(fields)
    if (fields.text("Operation") or "").lower() in _LOGONS and (fields.text("RecordType") or "").lower() in _STS:
        yield from sign_in(_logon(fields), tuple(made.entities))
    yield made


class _Alerts(Shape):
    """AlertTriggered, AlertEntityGenerated, AlertUpdated: each tells the alert's state; `Data` holds it once more, in
    short keys."""

    vendor = "Microsoft"
    product = "Microsoft 365"
    table = "GenericEvents"
    alert = Paths(
        id="AlertId",
        title="Name Data.an",
        description="Data.ad Comments",
        severity="Severity Data.sev",
        vendor_category="Category",
        categories={
            "threatmanagement": "SuspiciousActivity",
            "datalossprevention": "Exfiltration",
            "datagovernance": "SuspiciousActivity",
            "accessgovernance": "SuspiciousActivity",
            "mailflow": "SuspiciousActivity",
        },
        detector="PolicyId",
        first="Data.ts CreationTime",
        last="Data.te",
        created="CreationTime",
        status="Status",
        statuses={"investigating": "inProgress"},
        url="AlertLinks.AlertLinkHref Data.ail",
        sub_provider="Source",
    )

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        data = fields.object("Data")
        changed = (fields.text("Operation") or "").lower() == "alertupdated"  # by whom is no part of what happened
        for text, roles in ((data.text("f3u"), _NO_ROLE), (fields.text("UserId"), _CONTEXT if changed else _NO_ROLE)):
            if text is not None and ("@" in text or "\\" in text):
                evidence.user(text, roles=roles)
        kinds = (fields.text("EntityType"), fields.text("AlertEntityId")), (data.text("etype"), data.text("eid"))
        for kind, value in kinds:
            _alert_entity((kind or "").lower(), value, evidence)
        evidence.message(
            data.text("nmid"),
            internet_id=data.text("imsgid"),
            sender=data.text("tsd"),
            recipient=data.text("trc"),
            sender_ip=data.text("sip"),
            subject=data.text("ms"),
        )
        evidence.url(data.text("zu", "url"))
        read_entities(data.objects("Entities"), evidence)

    def finish(self, fields: Fields, alert: Alert) -> None:
        alert.source_updated = first_time(fields, "CreationTime")
        alert.fingerprint = (alert.provider_alert_id,)
        alert.service_source = "microsoftDefenderForOffice365" if "Office" in (alert.sub_provider or "") else "unknown"
        if (fields.text("Status") or "").lower() == "dismissed":
            alert.classification = "falsePositive"


_NO_ROLE: Roles = ()
_CONTEXT: Roles = ("contextual",)
_ALERTS = _Alerts()


def _alert_entity(kind: str, value: str | None, evidence: Evidence) -> None:
    if kind == "user":
        evidence.user(value)
    elif kind in ("recipients", "sender", "mailbox", "recipient"):
        for text in _ADDRESS.findall(value or "")[:20]:
            evidence.mailbox(text)
    elif kind == "malwarefamily":
        evidence.malware(value)
    elif kind in ("url", "maliciousurl"):
        evidence.url(value)
    elif kind in ("ip", "clientip"):
        evidence.ip(value)


def audit_event(fields: Fields) -> Event:
    evidence = Evidence()
    evidence.user(_user(fields.text("UserId")))
    evidence.ip(fields.text("ClientIP", "ClientIPAddress", "ActorIpAddress"), ("source",))
    evidence.user(_user(fields.text("UserKey")))
    _accounts(fields, evidence)
    _things(fields, evidence)
    columns = read_columns(fields, _COLUMNS)
    for name in _JSON_COLUMNS:
        value = fields.raw(name)
        if isinstance(value, list | dict) and value:
            columns[name] = json.dumps(Fields({name: value}).rest().get(name), separators=(",", ":"))
    at = first_time(fields, "CreationTime", "TimeGenerated")
    return event("OfficeActivity", at, columns, evidence, fields.rest())


def _logon(fields: Fields) -> SignIn:
    """The id is that of the request, by which Entra's own log names the same sign-in."""
    more, device = _properties(fields, "ExtendedProperties"), _properties(fields, "DeviceProperties")
    people = [fields.text("UserId"), fields.text("UserKey"), *fields.texts("Actor.ID"), *fields.texts("Target.ID")]
    upn = next((text for text in people if text and "@" in text and not _PUID.match(text)), None)
    request = (more.text("RequestType") or "").lower()
    kind: Kind = "nonInteractiveUser" if request == _BY_GRANT else "interactiveUser"
    code = _logon_code(fields)
    return SignIn(
        provider="microsoft_365_audit",
        id=fields.text("IntraSystemId", "Id") or content_id(fields.data),
        at=first_time(fields, "CreationTime", "TimeGenerated"),
        upn=upn,
        user_id=next((text for text in people[:2] if text and _GUID.fullmatch(text) and text.strip("0-")), None),
        kinds=(kind,),
        app_id=fields.text("ApplicationId"),
        address=fields.text("ActorIpAddress", "ClientIP"),
        user_agent=more.text("UserAgent"),
        browser=device.text("BrowserType"),
        os=device.text("OS"),
        device_id=device.text("Id"),
        device=device.text("DisplayName"),
        managed=device.flag("IsCompliantAndManaged"),
        compliant=device.flag("IsCompliant", "IsCompliantAndManaged"),
        code=code,
        reason=fields.text("LogonError") or (more.text("ResultStatusDetail") if code else None),
        factors=request.startswith(_STRONG),
        protocol="oauth" if request.startswith("oauth2:") else None,
        policy="failure" if code in (Code.BLOCKED, Code.WRONG_DEVICE) else "notApplied",
        correlation_id=fields.text("InterSystemsId"),
        session_id=device.text("SessionId"),
    )


def _logon_code(fields: Fields) -> int:
    number = fields.integer("ErrorNumber") or 0
    if (fields.text("Operation") or "").lower() == "userloggedin":
        return Code.OK
    return number or _LOGON_ERRORS.get((fields.text("LogonError") or "").lower(), Code.FAILED)


def _properties(fields: Fields, name: str) -> Fields:
    """A list of names and values as one object."""
    return Fields({item.text("Name"): item.raw("Value") for item in fields.objects(name) if item.has("Name")})


def _user(text: str | None) -> str | None:
    """Without the claim around it; None for the names of services."""
    if text is None or not text.strip("0") or text.lower() in _SERVICES or "spo:anon" in text:
        return None
    return text.rpartition("#")[2] if text.startswith("urn:spo:") else text.rpartition("|")[2]


def _accounts(fields: Fields, evidence: Evidence) -> None:
    evidence.mailbox(fields.text("MailboxOwnerUPN"))
    for name in ("LogonUserSid", "MailboxOwnerSid"):
        if is_sid(fields.text(name)):
            evidence.user(None, sid=fields.text(name))
    target = fields.text("ObjectId")
    if target is not None and "@" in target and "/" not in target and " " not in target:
        evidence.user(target)
    shared = fields.text("TargetUserOrGroupName")
    if (fields.text("TargetUserOrGroupType") or "").lower() in ("member", "guest", "partner"):
        evidence.user(_user(shared))
    else:
        evidence.group(shared)
    for item in fields.objects("Members")[:_MAX_PARAMETERS]:
        evidence.user(item.text("UPN"))
    for item in [*fields.objects("Actor")[:50], *fields.objects("Target")[:50]]:
        if item.integer("Type") == _UPN:
            evidence.user(item.text("ID"))
    for item in [*fields.objects("Parameters"), *fields.objects("OperationProperties")][:_MAX_PARAMETERS]:
        if (item.text("Name") or "").lower() in _MAILBOX_PARAMETERS:
            for text in _ADDRESS.findall(item.text("Value") or "")[:20]:
                evidence.mailbox(text)


def _things(fields: Fields, evidence: Evidence) -> None:
    """Sites, files, devices; and of the records of threat intelligence mails, links and investigations."""
    for name in ("SiteUrl", "ObjectId", "Url", "TargetUrl"):
        link = fields.text(name)
        evidence.url(link.replace(" ", "%20") if link is not None and "://" in link else link)
    for link in fields.texts("MessageURLs")[:_MAX_PARAMETERS]:  # of a message in Teams
        evidence.url(link)
    if "application" in (fields.text("Operation") or "").lower():
        named = next((item.text("ID") for item in fields.objects("Target") if item.integer("Type") == _NAME), None)
        evidence.oauth_app(named)
    device = fields.text("DeviceDisplayName")
    evidence.host(None if device is not None and address(device) else device)
    for item in fields.objects("DeviceProperties")[:50]:
        if (item.text("Name") or "").lower() == "displayname":
            evidence.host(item.text("Value"))
    for item in [*fields.objects("AttachmentData"), *fields.objects("FileData")][:_MAX_PARAMETERS]:
        evidence.file(item.text("FileName"), None, [item.text("SHA256")])
        evidence.url(item.text("FilePath"))
    recipients: list[str | None] = [*fields.texts("Recipients")[:_MAX_PARAMETERS]]
    for recipient in recipients or [None]:
        evidence.message(
            fields.text("NetworkMessageId"),
            internet_id=fields.text("InternetMessageId"),
            sender=fields.text("P2Sender"),
            envelope_sender=fields.text("P1Sender"),
            recipient=recipient,
            sender_ip=fields.text("SenderIp"),
        )
    evidence.ip(fields.text("SenderIp", "UserIp"), ("source",))
    for item in fields.objects("CopilotEventData.AccessedResources")[:50]:
        evidence.url(item.text("SiteUrl"))
    if (fields.text("Workload") or "").lower() == "endpoint":
        evidence.process(name=fields.text("Application"))
        evidence.domain(fields.text("TargetDomain"))
        evidence.file(path=fields.text("ObjectId"), hashes=[fields.text("Sha256"), fields.text("Sha1")])
        evidence.host(fields.text("DeviceName"))
    _protected(fields, evidence)
    read_entities(fields.objects("Data.Entities"), evidence)
    for action in fields.objects("Actions")[:50]:
        read_entities(action.objects("Entities"), evidence)


def _protected(fields: Fields, evidence: Evidence) -> None:
    """What a rule of data loss prevention matched: a mail, a file of a site or one on a device."""
    mail, site = fields.object("ExchangeMetaData"), fields.object("SharePointMetaData")
    device = fields.object("EndpointMetaData")
    for name in ("From", "To", "CC", "BCC"):
        for text in mail.texts(name)[:_MAX_PARAMETERS]:
            evidence.mailbox(text, roles=() if name != "From" else ("source",))
    evidence.user(_user(site.text("From")))
    evidence.url(site.text("FilePathUrl"))
    evidence.file(site.text("FileName"), hashes=[device.text("Sha256", "SHA256"), device.text("Sha1", "SHA1")])
    evidence.host(device.text("DeviceName"))
    for name in ("TargetUrl", "OriginatingDomain", "TargetDomain"):
        if evidence.url(device.text(name)) is None:
            evidence.domain(device.text(name))
