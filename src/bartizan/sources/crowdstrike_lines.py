"""CrowdStrike's SIEM connector where it writes CEF or LEEF: its lines by the names of the event stream's JSON.

Source: CrowdStrike, "Falcon SIEM Connector Feature Guide" (CEF and LEEF mapping of DetectionSummaryEvent,
UserActivityAuditEvent, AuthActivityAuditEvent).
"""

from typing import Any

from bartizan.extend import Record
from bartizan.sources import attack, common_security_log
from bartizan.sources.fields import Fields

_DETECTION = "DetectionSummaryEvent"
# Kinds that are detections though their names do not say so.
_ALSO = frozenset({"incidentsummaryevent", "identityprotectionevent", "customeriocevent", "hashspreadingevent"})
# Sections of a detection, which LEEF sends as records of their own.
_SECTIONS = frozenset({"documentsaccessed", "networkaccesses", "scanresults", "quarantinefiles", "executableswritten"})
# Names of the event stream -> where CEF (or its labels) and LEEF say the same.
_NAMES = {
    "DetectId": "DetectId,detectId",
    "SensorId": "externalId,SensorId,sensorId",
    "ComputerName": "dhost,shost,dvchost,resource,computerName",
    "MachineDomain": "dntdom,domain",
    "UserName": "duser,suser,usrName",
    "DetectDescription": "msg,DetectDescription,detectDescription",
    "DetectName": "cat,DetectName,detectName",
    "FileName": "fname,fileName",
    "FilePath": "filePath",
    "CommandLine": "CommandLine,commandLine,cmdLine",
    "SHA256String": "fileHash,sha256,SHA256",
    "MD5String": "oldFileHash,md5,MD5",
    "ProcessId": "dpid,spid",
    "ProcessStartTime": "ProcessStartTime,processStartTime",
    "Severity": "deviceSeverity",
    "SeverityName": "SeverityName,severityName",
    "Tactic": "Tactic,tactic",
    "Technique": "Technique,technique,reason",
    "LocalIP": "src,dvc,LocalIP",
    "FalconHostLink": "FalconHostLink,falconHostLink,url",
    "UserId": "suser,usrName,duser",
    "UserIp": "src,dvc,UserIp",
    "OperationName": "OperationName,operationName,act,name,deviceEventClassId",
    "ServiceName": "ServiceName,serviceName,destinationServiceName",
}
_OF_AUDIT = frozenset({"UserId", "UserIp", "OperationName", "ServiceName"})


def said(record: Record) -> list[Fields]:
    """The events that a record says so, in the form of the event stream; none where it says none."""
    return [_event(line) for line in common_security_log.lines(record, _NAMES)]


def _event(line: Fields) -> Fields:
    kind = line.text("deviceEventClassId") or ""
    name = line.text("eventId", "name")
    word = (line.text("cat") or "").lower()
    detected = line.has("DetectId") or any(
        "detection" in one or one in _ALSO or one in _SECTIONS for one in (kind.lower(), word)
    )
    body: dict[str, Any] = {**line.data}
    body |= {
        each: value
        for each in _NAMES
        if (each not in _OF_AUDIT if detected else each in _OF_AUDIT) and (value := line.raw(each)) is not None
    }
    body.pop("url", None)  # a page of the console
    of_tactic = attack.tactic(word) is not None  # as some write the category; the technique is the reason then
    if of_tactic:
        body["Tactic"] = line.text("Tactic", "cat")
    if detected and "event" not in kind.lower() and name is not None:
        body["DetectName"] = name  # LEEF has it as the id of the event
    elif of_tactic:
        body["DetectName"] = line.text("Technique", "msg") or name
    return Fields(
        {
            "metadata": {
                "eventType": (kind if "Event" in kind else _DETECTION) if detected else kind,
                "eventCreationTime": line.raw("rt", "devTime", "start", "syslogTime"),
            },
            "event": body,
        }
    )
