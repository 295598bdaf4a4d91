"""Cybereason: malicious operations ("malops") and what is added to them, as JSON of the API or as CEF.

A malop's own records share its id. What is added to one (a suspicion, a file, a process, a connection, a machine, a
user) is an alert of its own, since a record is not told apart from a correction otherwise; it folds under the malop.
Source: Cybereason API, "Get Malops", "Malop details"; Cybereason CEF forwarder, "Malop events".
"""

import re
from collections.abc import Iterable, Iterator, Mapping

from bartizan.extend import Event, GraphObject, Record
from bartizan.model.alert import Alert
from bartizan.sources import cef, common_security_log
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, objects_of
from bartizan.sources.severity import of_cef
from bartizan.sources.shape import Paths, Shape

_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])")
_TAIL = re.compile(r"(?:Suspicion|Evidence|ByFileRootCause|RootCause)$")
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
}


class Cybereason(Shape):
    name = "cybereason"
    vendor = "Cybereason"
    product = "Cybereason"
    table = "CybereasonEvents"
    wrappers = ("data.malops", "malops")
    alert = Paths(
        id="",
        title="displayName name elementDisplayName",
        description="requestContext decisionStatuses",
        severity="severity malopPriority priority deviceSeverity",
        score="deviceSeverity",
        scale=of_cef,
        vendor_category="malopDetectionType MalopDetectionType MalopActivityType detectionTypes decisionFeatures",
        categories=_CATEGORIES,
        detector="DecisionFeatures primaryRootCauseName decisionFeature malopDetectionType deviceEventClassId @class",
        first="firstTimestamp firstSeen creationTime malopStartTime start rt metadata.timestamp",
        last="lastSeen lastUpdateTime malopLastUpdateTime ModifiedTime rt metadata.timestamp end",
        updated="lastUpdateTime ModifiedTime modifiedTime metadata.timestamp",
        status="status investigationStatus deviceFacility",
        statuses={"remediated": "resolved", "excluded": "resolved", "onhold": "inProgress", "todo": "new"},
        url="IncidentLink",
        fold="metadata.malopGuid MalopId guid",
        detection_source="builtInMl",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        lines = cef.records(record)
        return [line.fields for line in lines] if lines else objects_of(record, *self.wrappers)

    def is_alert(self, fields: Fields) -> bool:
        if fields.has("deviceVendor"):
            return "malop" in (fields.text("name") or "").lower() or fields.has("MalopId")
        return fields.has("@class", "malopDetectionType", "rootCauseElementType", "metadata.malopGuid") and fields.has(
            "guid", "name", "metadata.malopGuid"
        )

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        evidence.observe("resource", _malop(fields))
        common_security_log.entities(fields, evidence)
        machines = [fields, *fields.objects("machines", "affectedMachines")]
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
        for user in fields.objects("users", "affectedUsers")[:100]:
            evidence.user(user.text("displayName", "name"), domain=user.text("domain"))
        kind = (fields.text("@class") or "").lower()
        shown = fields.text("displayName", "elementDisplayName", "name")
        if "machine" in kind:
            evidence.host(shown, os=fields.text("osType"))
        if "user" in kind or fields.has("MalopUserName", "userName"):
            evidence.user(fields.text("userName", "MalopUserName") or shown, domain=fields.text("domain"))
        _programs(fields, evidence, kind)
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
        common_security_log.acted(alert, (fields.text("detectionDecisionStatus") or "").removeprefix("DDS_"))

    def event(self, fields: Fields) -> Iterator[Event | GraphObject]:
        if fields.has("deviceVendor"):
            yield from common_security_log.told(fields, self.entities)
        else:
            yield from super().event(fields)


def _malop(fields: Fields) -> str | None:
    found = fields.text("metadata.malopGuid", "MalopId", "malopGuid", "malopId")
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
    return f"{title}: {_said(why)}" if why and why not in title else title


def _said(word: str) -> str:
    text = _WORDS.sub(" ", _TAIL.sub("", word.rpartition("(")[2].rstrip(")"))).replace("_", " ")
    return text.capitalize()


def _programs(fields: Fields, evidence: Evidence, kind: str) -> None:
    hashes = [
        fields.text(path)
        for path in (
            "sha256String", "sha1String", "md5String", "fileHash", "processSha1", "MalopHashList", "fileSha1", "sha256",
            "processMd5",
        )
    ]  # fmt: skip
    path = common_security_log.single_slashes(fields.text("correctedPath", "filePath", "path", "imageFilePath"))
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
