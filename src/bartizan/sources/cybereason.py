"""Cybereason: malicious operations ("malops") and what is added to them, as JSON of the API or as CEF; malware alerts.

A malop's own records share its id. What is added to one (a suspicion, a file, a process, a connection, a machine, a
user) is an alert of its own, since a record is not told apart from a correction otherwise; it folds under the malop.
Source: Cybereason API, "Get Malops", "Malop details", "Query malware alerts", "Visual search";
Cybereason CEF forwarder, "Malop events".
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bartizan.extend import Event, GraphObject, Record
from bartizan.model.alert import Alert
from bartizan.sources import cef, common_security_log
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, as_text, objects_of
from bartizan.sources.severity import of_cef
from bartizan.sources.shape import Paths, Shape
from bartizan.sources.times import first_time

_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])")
_TAIL = re.compile(r"(?:Suspicion|Evidence|ByFileRootCause|RootCause)$")
_ENDS = re.compile(r"(\S{2,45}):\d{1,5} > (\S{2,45}):\d{1,5}")  # of a connection, as it is shown
_CATEGORIES: Mapping[str, str] = {
    "malicious_infection": "Malware",
    "extension_manipulation": "DefenseEvasion",
    "ransomware": "Ransomware",
    "known_malware": "Malware",
    "data_theft": "Exfiltration",
    "lateral_movement": "LateralMovement",
    "privilege_escalation": "PrivilegeEscalation",
    "scanning": "Discovery",
    "stolen_credentials": "CredentialAccess",
    "c&c": "CommandAndControl",
    "cnc": "CommandAndControl",
    "malicious_process": "Execution",
    "phishing": "Phishing",
    "credential_theft": "CredentialAccess",
    "malware": "Malware",
    "malicious_tool": "Malware",
    "fileless_malware": "Malware",
    "unwanted_program": "UnwantedSoftware",
    "exploit": "Exploit",
    "exploitation": "Exploit",
    "persistence": "Persistence",
    "reconnaissance": "Discovery",
}


class Cybereason(Shape):
    name = "cybereason"
    vendor = "Cybereason"
    product = "Cybereason"
    marks = (
        "@class+metadata.malopGuid guid+malopDetectionType simpleValues+elementValues "
        "malwareDataModel+machineName+detectionValueType data.resultIdToElementDataMap"
    )
    pattern = re.compile(r"CEF:\s?\d{1,2}\|Cybereason\|")
    sourcetypes = ("cybereason*",)
    table = "CybereasonEvents"
    columns = {  # of an element that a query found
        "Timestamp": "time calculatedCreationTime creationTime",
        "HostName": "ownerMachine.name",
        "UserName": "user.name calculatedUser.name ownerProcess.user.name",
        "ProcessName": "name ownerProcess.name",
        "ProcessCommandLine": "commandLine",
        "LogonType": "logonType",
        "RemoteHostName": "remoteMachine.name",
        "SourcePort": "int localPort",
        "DestinationPort": "int remotePort",
        "Protocol": "transportProtocol",
        "SourceIP": "localAddress",
        "DestinationIP": "remoteAddress",
    }
    wrappers = ("data.malops", "malops", "data.malwares", "malwares")
    alert = Paths(
        id="",
        title="malwareDataModel.detectionName displayName name elementDisplayName rootCauseElementNames",
        description="requestContext decisionStatuses malwareDataModel.description",
        severity="severity malopPriority priority deviceSeverity",
        score="deviceSeverity",
        scale=of_cef,
        vendor_category="malopDetectionType MalopDetectionType MalopActivityType malopActivityTypes detectionTypes "
        "detectionType decisionFeatures type",
        categories=_CATEGORIES,
        detector="DecisionFeatures primaryRootCauseName decisionFeature malopDetectionType deviceEventClassId @class "
        "malwareDataModel.detectionRule",
        first="firstTimestamp firstSeen creationTime malopStartTime malopCreationTime deviceCustomDate1 start rt "
        "metadata.timestamp timestamp",
        last="lastSeen lastUpdateTime malopLastUpdateTime ModifiedTime rt metadata.timestamp end timestamp",
        updated="lastUpdateTime ModifiedTime modifiedTime metadata.timestamp",
        status="investigationStatus managementStatus status malopStatus deviceFacility",
        statuses={
            "remediated": "resolved",
            "excluded": "resolved",
            "onhold": "inProgress",
            "todo": "new",
            "pending": "new",
        },
        url="IncidentLink linkToMalop",
        fold="metadata.malopGuid MalopId guid",
        detection_source="builtInMl",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        lines = cef.records(record)
        return [line.fields for line in lines] if lines else _elements(objects_of(record, *self.wrappers))

    def is_alert(self, fields: Fields) -> bool:
        if fields.has("deviceVendor"):
            return "malop" in (fields.text("name") or "").lower() or fields.has("MalopId")
        if fields.has("simpleValues"):
            return fields.has("malopActivityTypes", "malopLastUpdateTime") or bool(_suspicions(fields))
        return fields.has(
            "@class", "malopDetectionType", "rootCauseElementType", "metadata.malopGuid", "malwareDataModel"
        ) and fields.has("guid", "name", "metadata.malopGuid")

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        evidence.observe("resource", _malop(fields))
        common_security_log.entities(fields, evidence)
        machines = [fields, *fields.objects("machines", "affectedMachines", "ownerMachine")]
        for machine in machines[:100]:
            own = machine is fields
            evidence.host(
                machine.text("ownerMachineName", "machineName", "MachineName")
                if own
                else machine.text("displayName", "name"),
                addresses=machine.texts("ipAddress", "internalIp"),
                external=machine.text("externalIpAddress"),
                os=machine.text("osType", "platform", "OSType"),
                domain=machine.text("adDomain"),
            )
        for user in fields.objects("users", "affectedUsers", "calculatedUser", "user")[:100]:
            evidence.user(user.text("displayName", "name"), domain=user.text("domain"))
        kind = (fields.text("@class") or "").lower()
        shown = fields.text("displayName", "elementDisplayName", "name")
        if "machine" in kind:
            evidence.host(shown, os=fields.text("osType"))
        if "user" in kind or fields.has("MalopUserName", "userName"):
            evidence.user(fields.text("userName", "MalopUserName") or shown, domain=fields.text("domain"))
        if fields.has("simpleValues") and fields.has("commandLine", "parentProcess", "ownerProcess"):
            _of_process(fields, evidence)
        else:
            _programs(fields, evidence, kind)
        for machine in fields.objects("remoteMachine")[:100]:
            evidence.host(machine.text("name"))
        _network(fields, evidence)

    def finish(self, fields: Fields, alert: Alert) -> None:
        malop, kind = _malop(fields), fields.text("@class") or ""
        guid = fields.text("guid")
        if malop is not None and not _is_added(fields, kind):
            alert.provider_alert_id = malop
        elif malop is not None and guid is not None:
            alert.provider_alert_id = f"{malop}:{kind.strip('.')}:{guid}"
        alert.fingerprint = ("malop", malop) if malop is not None else alert.fingerprint
        alert.title = _title(fields, alert.title, kind)
        if alert.severity == "unknown":  # it has none: a malop is what the product is sure of
            alert.severity = "high" if malop == guid and malop is not None else "unknown"
        if fields.has("malwareDataModel"):
            alert.category, alert.categories = "Malware", ["Malware"]
            alert.provider_alert_id = guid or alert.provider_alert_id
            alert.severity = "high" if fields.flag("needsAttention") else "medium"
        if fields.has("simpleValues") and (found := _suspicions(fields)) and guid is not None:
            alert.provider_alert_id, alert.severity, alert.detector_id = guid, "medium", next(iter(found))
            alert.title = f"{fields.text('elementDisplayName') or 'Suspicion'}: {_said(alert.detector_id)}"
            since = Fields({"first": min(found.values()), "last": max(found.values())})
            alert.first_activity = first_time(since, "first") or alert.first_activity
            alert.last_activity = first_time(since, "last") or alert.last_activity
        common_security_log.acted(alert, (fields.text("detectionDecisionStatus") or "").removeprefix("DDS_"))

    def event(self, fields: Fields) -> Iterator[Event | GraphObject]:
        if fields.has("deviceVendor"):
            yield from common_security_log.told(fields, self.entities)
        else:
            yield from super().event(fields)


def _malop(fields: Fields) -> str | None:
    found = fields.text("metadata.malopGuid", "MalopId", "malopGuid", "malopId")
    if fields.has("malwareDataModel"):
        return found
    return found or (fields.text("guid") if "malop" in (fields.text("@class") or "malop").lower() else None)


def _is_added(fields: Fields, kind: str) -> bool:
    """Whether it is a part of a malop and not the malop itself."""
    if fields.has("deviceVendor"):
        return "added" in (fields.text("name") or "").lower()
    return fields.has("metadata.malopGuid") and "malop" not in kind.lower()


def _title(fields: Fields, title: str, kind: str) -> str:
    """In words: "shellOfNonShellRunnerSuspicion" says "Shell of non shell runner"."""
    if fields.has("deviceVendor"):
        why = fields.text("DecisionFeatures", "MalopDetectionType")
        return f"{title}: {_said(why)}" if why else title
    if "suspicion" in kind.lower():
        return f"Suspicion: {_said(title)}"
    if "." in kind and "malop" not in kind.lower():
        what = _said(kind.strip(".").removesuffix("Model").removesuffix("Details"))
        return f"{what}: {title}"
    why = fields.text("decisionFeature", "primaryRootCauseName", "malopDetectionType")
    if why and why not in title:
        return f"{title}: {_said(why)}"
    found = fields.text("malopDetectionType", "detectionType", "malopActivityTypes")  # the name is of a file or a user
    return f"{_said(found)}: {title}" if found and " " not in title else title


def _said(word: str) -> str:
    kept = word.removesuffix("(Malop decision)").removeprefix("Process.")  # "Process.maliciousByInjection(...)"
    text = _WORDS.sub(" ", _TAIL.sub("", kept.rpartition("(")[2].rstrip(")"))).replace("_", " ")
    return text.capitalize()


def _suspicions(fields: Fields) -> dict[str, float]:
    """What the product suspects of an element that a query found, each with the time (ms) since when."""
    if not (fields.flag("suspect") or fields.flag("malicious")):
        return {}
    found = fields.object("suspicions")
    return {name: at for name in found.data if (at := found.number(name)) is not None}


def _of_process(fields: Fields, evidence: Evidence) -> None:
    """A process that a query found, or the one whose connection it found."""
    owner, user = fields.object("ownerProcess"), fields.object("calculatedUser", "user", "ownerProcess.user")
    name = fields.text("elementDisplayName") if not owner else owner.text("name")
    evidence.process(
        fields.text("commandLine"),
        name=name,
        path=fields.text("imageFile.correctedPath"),
        pid=fields.integer("pid"),
        hashes=[fields.text(f"imageFile.{kind}String") for kind in ("sha256", "sha1", "md5")],
        started=None if owner else first_time(fields, "creationTime"),
        user=evidence.user(user.text("name")),
        parent_name=fields.object("parentProcess").text("name"),
    )


def _programs(fields: Fields, evidence: Evidence, kind: str) -> None:
    hashes = [
        fields.text(path)
        for path in (
            "sha256String", "sha1String", "md5String", "fileHash", "processSha1", "MalopHashList", "fileSha1", "sha256",
            "processMd5", "detectionValue", "rootCauseElementHashes", "imageFile.sha1String", "imageFile.md5String",
        )
    ]  # fmt: skip
    path = common_security_log.single_slashes(
        fields.text("correctedPath", "filePath", "path", "imageFilePath", "malwareDataModel.filePath")
    )
    request = common_security_log.single_slashes(fields.text("request"))
    command = fields.text("commandLine", "processCommandLine")
    if "process" in kind or fields.has("processSha1", "processName") or "Process" in (fields.text("name") or ""):
        evidence.process(
            command or request,
            name=fields.text("processName") or (fields.text("elementDisplayName") if "process" in kind else None),
            path=path or request,
            hashes=hashes,
            pid=fields.integer("processId", "pid"),
        )
    else:
        evidence.file(fields.text("elementDisplayName") if "file" in kind else None, path, hashes)
    evidence.process(name=fields.text("malwareDataModel.processName"))
    evidence.url(fields.text("malwareDataModel.url"))
    for part in fields.objects("filesToRemediate")[:50]:
        evidence.file(part.text("name"))
    for name in fields.texts("rootCauseElementNames", "primaryRootCauseName")[:50]:
        if (fields.text("rootCauseElementType") or "").lower() in ("process", "file", "fileextension"):
            evidence.file(name, None, fields.texts("rootCauseElementHashes"))


def _network(fields: Fields, evidence: Evidence) -> None:
    near = fields.text("localAddress", "localIp", "sourceAddress"), fields.integer("localPort")
    far = fields.text("remoteAddress", "remoteIp", "serverAddress"), fields.integer("remotePort", "serverPort")
    if evidence.flow(*near, *far, fields.text("transportProtocol")) is None:
        evidence.ip(near[0], ("source",))
        evidence.ip(far[0], ("destination",))
    evidence.domain(fields.text("domainName", "remoteAddressDomain"))


def _elements(found: Iterable[Fields]) -> list[Fields]:
    """The objects; of an answer to a query each element, whose values can be read by their names alone."""
    elements: list[Fields] = []
    for fields in found:
        results = fields.object("data.resultIdToElementDataMap").data
        parts = [Fields(part) for part in results.values()] if results else [fields]
        elements += [_named(part) for part in parts]
    return elements


def _named(fields: Fields) -> Fields:
    """{"simpleValues": {"md5": {"values": ["..."]}}} read as {"md5": ["..."]}; the elements that it names likewise."""
    simple, linked = fields.object("simpleValues").data, fields.object("elementValues").data
    if not simple and not linked:
        return fields
    names: dict[str, Any] = {name: Fields(value).raw("values") for name, value in simple.items()}
    names |= {name: Fields(value).raw("elementValues") for name, value in linked.items() if name not in names}
    ends = _ENDS.fullmatch(as_text(names.get("elementDisplayName")) or "")
    if ends is not None and "localAddress" not in names:
        names |= {"localAddress": ends[1], "remoteAddress": ends[2]}
    guid = fields.text("guidString")
    return fields.also(names | {"guid": guid} if guid is not None else names)
