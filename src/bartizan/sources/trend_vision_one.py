"""Trend Vision One: workbench alerts, Observed Attack Techniques and detections.

Source: Trend Vision One API v3, "Workbench", "Observed Attack Techniques", "Search: detections"; Trend Vision One,
"Syslog content mapping - CEF", "eventId and eventSubId mapping".
"""

import re
from collections.abc import Iterable

from bartizan.extend import Record
from bartizan.model import security as graph
from bartizan.model.alert import Alert
from bartizan.sources import common_security_log
from bartizan.sources.entities import is_outside
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
from bartizan.sources.severity import of_cef
from bartizan.sources.shape import Paths, Shape
from bartizan.sources.times import when

_TECHNIQUE = re.compile(r"T\d{4}(?:\.\d{3})?$")  # behind the version of ATT&CK: "V9.T1059.001"
_CATEGORIES = {"web reputation": "Phishing", "malware": "Malware", "file": "Malware"}
# The names of the JSON -> where the CEF of the syslog connector says the same.
_CEF = {
    "model": "model,modelName,filterName,ruleName,name",
    "id": "workbenchId,uniqueId,unique_id,externalId",
    "riskLevel": "riskLevel,risk,severity,deviceSeverity",
    "description": "description,msg",
    "malName": "malName,malwareName,virusName",
    "eventTime": "rt,start,end,syslogTime",
    "endpointHostName": "endpointHostName,dvchost,dhost,shost",
    "endpointGuid": "endpointGuid,deviceExternalId",
    "mitreTacticIds": "mitreTacticIds,mitreTactic,tacticId,tactics",
    "alertProvider": "alertProvider,cat",
}
_TOLD = re.compile(r"audit|system log|response", re.IGNORECASE)  # kinds of CEF that are the product's own business
# Fields of indicators and of detections -> what they name.
_COMMANDS = frozenset({"command_line", "processcmd", "objectcmd", "parentcmd"})
_FILES = frozenset({"file_sha1", "file_sha256", "file_md5", "hash"})
_FILE_EVENT = 2  # of the ids of telemetry: its object is a file, of others the process that is started or opened
_PATHS = frozenset({"fullpath", "filename", "file_path"})


class TrendVisionOne(Shape):
    name = "trend_vision_one"
    vendor = "Trend Micro"
    product = "Vision One"
    marks = (
        "alertProvider+impactScope model+modelId+impactScope filters+detail+entityType workbenchLink+id "
        "eventName+productCode+endpointGUID eventName+pname+productCode matchedRules+indicators "
        "detectionType+eventName+pname filters+endpoint+detail uuid+productCode+eventName "
        "malName+endpointHostName+eventName endpointGuid+eventId+eventSubId "
        "eventName=SWG_ACTIVITY_LOG+principalName loggedDateTime+loggedUser+accessType"
    )
    pattern = re.compile(common_security_log.BEGINS + r"Trend ?Micro\|(?:Trend )?(?:Micro )?Vision One", re.IGNORECASE)
    sourcetypes = ("trendmicro:visionone:*", "trend_micro_vision_one*", "visionone:*", "tmv1*")
    table = "TrendVisionOneEvents"
    columns = {
        "ProductCode": "productCode pname",
        "EventName": "eventName activity",
        "HostName": "endpointHostName",
        "UserName": "loggedUser",
        "Outcome": "result",
    }
    wrappers = ("items",)
    alert = Paths(
        id="id uuid logKey",
        title="model filters.name ruleName eventSubName detectionType eventName malName description",
        description="description filters.description",
        severity="severity filters.riskLevel filterRiskLevel riskLevel",
        score="score",
        vendor_category="modelType detectionType eventName alertProvider",
        categories=_CATEGORIES,
        tactics="filters.mitreTacticIds matchedRules.matchedFilters.mitreTacticIds mitreTacticIds tacticId",
        detector="modelId filters.id ruleId ruleName filterName model",
        first="firstInvestigatedDateTime detectedDateTime createdDateTime eventTime rt_utc eventTimeDT",
        last="updatedDateTime detectedDateTime logReceivedTime",
        created="createdDateTime logReceivedTime ingestedDateTime",
        updated="updatedDateTime",
        status="status investigationStatus",
        statuses={"investigationstatus": "inProgress"},
        verdict="investigationResult",
        sub_provider="alertProvider productCode source",
        url="workbenchLink",
        threat="malName threatName",
        fold="endpoint.agentGuid endpointGuid impactScope.entities.entityId suid",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        return common_security_log.lines(record, _CEF) or super().read(record)

    def is_alert(self, fields: Fields) -> bool:
        if fields.has("deviceVendor"):
            said = (fields.text(key) or "" for key in ("cat", "deviceEventClassId", "name"))
            return not any(map(_TOLD.search, said))
        if (fields.text("eventName") or "").endswith("_ACTIVITY_LOG"):  # all that passes a gateway
            return fields.text("malName") is not None
        return fields.has("alertProvider", "impactScope", "filters", "eventName", "model", "detectionType")

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        for entity in fields.objects("impactScope.entities"):
            _impacted(entity, evidence)
        for indicator in fields.objects("indicators"):
            _indicator(indicator, evidence)
        host = fields.object("endpoint")
        evidence.host(host.text("endpointName", "name"), addresses=host.texts("ips"), device_id=host.text("agentGuid"))
        for event in [fields, fields.object("detail")]:
            _detected(event, evidence)
        if fields.has("deviceVendor"):
            common_security_log.entities(fields, evidence)
            evidence.malware(fields.text("malName"))

    def finish(self, fields: Fields, alert: Alert) -> None:
        if fields.has("deviceVendor"):
            if alert.severity == "unknown":
                alert.severity = of_cef(fields.number("deviceSeverity"))
            if alert.threat_name and alert.category == "SuspiciousActivity":
                alert.category, alert.categories = "Malware", ["Malware"]
        elif alert.severity == "unknown":
            alert.severity = of_cef(fields.number("severity"))
        elif fields.has("eventName") and alert.vendor_severity == fields.text("score"):
            alert.severity, alert.vendor_severity = "medium", None  # the score is of the site, low where it is bad
        if alert.title == fields.text("eventName"):
            alert.title = alert.title.replace("_", " ").capitalize()
        if alert.threat_name and fields.has("eventName") and alert.threat_name not in alert.title:
            alert.title = f"{alert.title}: {alert.threat_name}"
        if fields.has("malName") and alert.category == "SuspiciousActivity":
            alert.category, alert.categories = "Malware", ["Malware"]
        common_security_log.acted(alert, *fields.texts("act"), *fields.texts("actResult"))
        matched = [when(text) for text in fields.texts("matchedRules.matchedFilters.matchedDateTime")]
        if times := sorted(at for at in matched if at is not None):
            alert.first_activity, alert.last_activity = times[0], times[-1]
        filters = fields.objects("filters", "matchedRules.matchedFilters")
        if filters and not alert.vendor_category:
            alert.vendor_category = filters[0].text("type")
        said = fields.texts("matchedRules.matchedFilters.mitreTechniqueIds", "filters.mitreTechniqueIds")
        bare = [match[0] for text in said if (match := _TECHNIQUE.search(text)) is not None]
        alert.techniques = list(dict.fromkeys([*alert.techniques, *bare]))
        result = (fields.text("investigationResult") or "").lower()
        if "false" in result:
            alert.classification = "falsePositive"
        elif "true" in result:
            alert.classification = "truePositive"


def _impacted(entity: Fields, evidence: Evidence) -> None:
    kind, value = (entity.text("entityType") or "").lower(), entity.object("entityValue")
    text = entity.text("entityValue")
    if kind == "host":
        domain, _, name = (value.text("name") or text or "").rpartition("\\")
        evidence.host(
            name, domain=domain.rstrip("\\") or None, addresses=value.texts("ips"), device_id=value.text("guid")
        )
        for each in value.texts("ips"):
            evidence.ip(each)
    elif kind == "cloudidentity" and (text or "").startswith("arn:"):
        evidence.amazon(text)
        evidence.user((text or "").rpartition("/")[2] or None)
    elif kind in ("account", "cloudidentity"):
        evidence.user(text or value.text("name", "id"))
    elif kind == "emailaddress":
        evidence.mailbox(text or value.text("name"))
    elif kind == "container":
        evidence.container(value.text("id", "name") or text)


def _indicator(one: Fields, evidence: Evidence) -> None:
    kind, value = (one.text("type") or "").lower(), one.text("value")
    inner = one.object("value")
    if kind in _COMMANDS:
        evidence.process(value, path=_image(value))
    elif kind in _FILES:
        evidence.file(hashes=[value])
    elif kind in _PATHS:
        evidence.file(None, value)
    elif kind == "ip":
        for text in one.texts("value"):
            evidence.ip(text)
    elif kind == "domain":
        evidence.domain(value)
    elif kind == "url":
        evidence.url(value)
    elif kind in ("user_account", "account"):
        evidence.user(value)
    elif kind == "emailaddress" or kind.startswith("email_sender"):
        evidence.mailbox(value)
    elif kind == "host":
        evidence.host(inner.text("name") or value, addresses=inner.texts("ips"))
    elif kind == "detection_name":
        evidence.malware(value)
    elif kind.startswith("registry_key"):
        evidence.registry(value)


def _image(command: str | None) -> str | None:
    """The program of a command line, where it is quoted or ends in .exe."""
    if not command:
        return None
    if command.startswith('"'):
        return command[1:].partition('"')[0] or None
    head, dot, _ = command.partition(".exe")
    return f"{head}.exe" if dot and " " not in head.rpartition("\\")[2] else None


def _hashes(event: Fields, who: str) -> list[str | None]:
    return [event.text(f"{who}FileHash{kind}") for kind in ("Sha256", "Sha1", "Md5")]


def _detected(event: Fields, evidence: Evidence) -> None:
    """Fields of a detection, which an Observed Attack Technique holds under `detail`."""
    if not event:
        return
    evidence.host(
        event.text("endpointHostName", "shost", "dhost"),
        addresses=event.texts("endpointIp"),
        device_id=event.text("endpointGuid"),
        os=event.text("osName", "os"),
    )
    user = evidence.user(
        event.text("processUser", "objectUser", "logonUser", "suid", "duser" if event.has("dhost") else "suid"),
        upn=event.text("principalName"),
    )
    of_host = event.has("malName") and not event.has("mailMsgSubject", "mailbox")
    for name in [event.text("objectUser"), *event.texts("logonUser"), *(event.texts("suser") if of_host else [])]:
        evidence.user(name)
    _done(event, user, evidence)
    evidence.file(
        event.text("fileName"),
        event.text("fullPath", "filePath"),
        [event.text("fileHash"), event.text("fileHashSha256")],
    )
    source, target = event.text("src", "objectIp"), event.text("dst")
    evidence.flow(source, event.integer("spt"), target, event.integer("dpt"), event.text("proto"))
    evidence.ip(source, ("source",))
    evidence.ip(target, ("destination",))
    evidence.domain(event.text("dhost") if is_outside(target) else None)
    for path in ("peerIp", "interestedIp", "clientIp", "objectIps"):
        for text in event.texts(path):
            evidence.ip(text)
    evidence.url(event.text("request", "requests", "httpReferer"))
    evidence.malware(event.text("malName"), event.text("malType"))
    for text in event.texts("hostName"):
        evidence.domain(text)
    _mail(event, evidence)


def _done(event: Fields, user: graph.UserEvidence | None, evidence: Evidence) -> None:
    """Which process did it, its parent, and what it did it to: a process, a file, a value of the registry."""
    of_file = event.integer("eventId") == _FILE_EVENT
    for who in ("process",) if of_file else ("process", "object"):
        evidence.process(
            event.text(f"{who}Cmd"),
            path=event.text(f"{who}FilePath") or (event.text("processName") if who == "process" else None),
            pid=event.integer(f"{who}Pid"),
            hashes=_hashes(event, who),
            user=user,
            parent_path=event.text("parentFilePath") if who == "process" else None,
            parent_hashes=_hashes(event, "parent") if who == "process" else (),
        )
    if of_file:
        evidence.file(None, event.text("objectFilePath"), _hashes(event, "object"))
    key = event.text("objectRegistryKeyHandle")
    evidence.registry(key, event.text("objectRegistryValue"), event.text("objectRegistryData"))
    if event.has("parentCmd"):
        evidence.process(event.text("parentCmd"), path=event.text("parentFilePath"), hashes=_hashes(event, "parent"))


def _mail(event: Fields, evidence: Evidence) -> None:
    if not event.has("mailMsgSubject", "mailbox"):
        return
    evidence.message(
        event.text("mailUniqueId", "msgUuid"),
        internet_id=event.text("mailMsgId"),
        sender=event.text("suser"),
        recipient=event.text("mailbox", "duser"),
        subject=event.text("mailMsgSubject"),
        urls=[event.text("request")],
    )
    evidence.mailbox(event.text("mailbox"), roles=("attacked",))
