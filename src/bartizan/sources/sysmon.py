"""Sysmon: what ran, connected, wrote and loaded on a host, as rows of Microsoft's tables for devices. All are events.

Source: Sysinternals, "Sysmon", events 1 to 29 and 255; Microsoft Defender XDR, tables Device*Events, their ActionTypes.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from bartizan.extend import Event, GraphObject, Record, Source
from bartizan.model import security as graph
from bartizan.model.alert import Alert
from bartizan.sources import pairs
from bartizan.sources.entities import account, addresses, file_name, hashes_in
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
from bartizan.sources.generic import unplaced
from bartizan.sources.tables import event
from bartizan.sources.times import when
from bartizan.sources.windows_log import WindowsEvent, read


class _Kind(NamedTuple):
    table: str
    action: str


_KINDS = {
    1: _Kind("DeviceProcessEvents", "ProcessCreated"),
    2: _Kind("DeviceEvents", "FileTimestampModificationEvent"),
    3: _Kind("DeviceNetworkEvents", "ConnectionSuccess"),
    4: _Kind("DeviceEvents", "SysmonServiceStateChanged"),
    5: _Kind("DeviceEvents", "ProcessTerminated"),
    6: _Kind("DeviceEvents", "DriverLoad"),
    7: _Kind("DeviceImageLoadEvents", "ImageLoaded"),
    8: _Kind("DeviceEvents", "CreateRemoteThreadApiCall"),
    9: _Kind("DeviceEvents", "RawAccessRead"),
    10: _Kind("DeviceEvents", "OpenProcessApiCall"),
    11: _Kind("DeviceFileEvents", "FileCreated"),
    12: _Kind("DeviceRegistryEvents", "RegistryKeyCreated"),
    13: _Kind("DeviceRegistryEvents", "RegistryValueSet"),
    14: _Kind("DeviceRegistryEvents", "RegistryKeyRenamed"),
    15: _Kind("DeviceFileEvents", "FileStreamCreated"),
    16: _Kind("DeviceEvents", "SysmonConfigChanged"),
    17: _Kind("DeviceEvents", "NamedPipeEvent"),
    18: _Kind("DeviceEvents", "NamedPipeEvent"),
    19: _Kind("DeviceEvents", "WmiFilterActivity"),
    20: _Kind("DeviceEvents", "WmiConsumerActivity"),
    21: _Kind("DeviceEvents", "WmiBindEventFilterToConsumer"),
    22: _Kind("DeviceEvents", "DnsQueryResponse"),
    23: _Kind("DeviceFileEvents", "FileDeleted"),
    24: _Kind("DeviceEvents", "GetClipboardData"),
    25: _Kind("DeviceEvents", "ProcessTampering"),
    26: _Kind("DeviceFileEvents", "FileDeleted"),
    27: _Kind("DeviceFileEvents", "FileCreationBlocked"),
    28: _Kind("DeviceFileEvents", "FileShreddingBlocked"),
    29: _Kind("DeviceFileEvents", "FileCreated"),
    255: _Kind("DeviceEvents", "SysmonError"),
}
_OTHER = _Kind("DeviceEvents", "SysmonEvent")
_REGISTRY = {
    "createkey": "RegistryKeyCreated",
    "deletekey": "RegistryKeyDeleted",
    "deletevalue": "RegistryValueDeleted",
    "setvalue": "RegistryValueSet",
    "renamekey": "RegistryKeyRenamed",
}
_CONSUMER = 20  # of WMI, which may run a command
_MAX_CONTENTS = 8_192
_CAME_FROM = re.compile(r"\b(?:HostUrl|ReferrerUrl)=(\S{1,2048})")  # of the stream that marks what was downloaded
_USED = frozenset(
    """
    utctime processid image user commandline hashes hash md5 sha1 sha256 parentimage parentprocessid parentcommandline
    parentuser integritylevel logonid company product productversion fileversion originalfilename description
    sourceip sourceport destinationip destinationport protocol targetfilename imageloaded queryname targetobject details
    """.split()
)


class Sysmon(Source):
    name = "sysmon"
    vendor = "Microsoft"
    product = "Sysmon"
    marks = (
        "EventID+Channel=Microsoft-Windows-Sysmon/Operational+UtcTime"
        " winlog.channel=Microsoft-Windows-Sysmon/Operational+winlog.event_id+winlog.event_data"
        " Event.System.Channel=Microsoft-Windows-Sysmon/Operational+Event.System+Event"
    )
    pattern = re.compile(
        r"<Event[ >].{0,200}<System>.{0,80}<Provider [^>]{0,20}[\"'](?:Microsoft-Windows|Linux)-Sysmon[\"']", re.DOTALL
    )
    sourcetypes = ("xmlwineventlog:microsoft-windows-sysmon/operational", "sysmon*")

    def normalise(self, record: Record) -> Iterator[Alert | Event | GraphObject]:
        events = read(record)
        for each in events:
            yield row(each)
        if not events:
            yield from unplaced(record, "GenericEvents")


def is_sysmon(each: WindowsEvent) -> bool:
    return "sysmon" in f"{each.channel} {each.provider}".lower()


def row(each: WindowsEvent, evidence: Evidence | None = None) -> Event:
    """The row of one event, with its entities, which `evidence` collects too where it is given."""
    # Agents that keep the message alone, or write over a field of the same name, leave the rest in there.
    said = pairs.labelled(each.message)[0] if each.message else {}
    data = Fields(each.data.data, said)
    kind = _KINDS.get(each.event_id or 0, _OTHER)
    evidence = Evidence() if evidence is None else evidence
    evidence.host(each.computer)
    user = _user(data.text("User", "SourceUser"), each, evidence)
    columns: dict[str, Any] = {
        "DeviceName": each.computer,
        "ActionType": _action(each, data, kind),
        "ReportId": Fields({"id": each.record_id}).integer("id"),
        "LogonId": data.integer("LogonId"),
    }
    columns |= _created(data, evidence, user) if each.event_id == 1 else _acting(data, evidence, user)
    columns |= _object(data, evidence, each.event_id)
    columns |= _network(data, evidence, each.event_id)
    for match in _CAME_FROM.finditer((data.text("Contents") or "")[:_MAX_CONTENTS]):
        evidence.url(match[1])
    if each.event_id == _CONSUMER and data.text("Type") == "Command Line":
        evidence.process(data.text("Destination"))
    rest = data.rest(_USED)
    rest["SysmonEventId"] = each.event_id
    return event(kind.table, when(data.raw("UtcTime")) or each.time, columns, evidence, rest)


def _action(each: WindowsEvent, data: Fields, kind: _Kind) -> str:
    if each.event_id == 12:
        return _REGISTRY.get((data.text("EventType") or "").lower(), kind.action)
    if each.event_id == 3 and data.flag("Initiated") is False:
        return "InboundConnectionAccepted"
    return kind.action


def _user(name: str | None, each: WindowsEvent, evidence: Evidence) -> graph.UserEvidence | None:
    """The account that acts; NXLog and Fluent Bit name the one that wrote the event, which is Sysmon's own."""
    evidence.observe("user", each.sid)
    if name is not None:
        return evidence.user(name)
    return evidence.user(each.raw.text("AccountName"), domain=each.raw.text("Domain"), sid=each.sid)


def _account(name: str | None, prefix: str) -> dict[str, Any]:
    read_name = account(name)
    return {f"{prefix}AccountName": read_name.name, f"{prefix}AccountDomain": read_name.domain}


def _hashes(data: Fields, prefix: str = "") -> dict[str, Any]:
    found = hashes_in(
        [data.text("Hashes"), data.text("Hash"), *(data.text(kind) for kind in ("SHA256", "SHA1", "MD5"))]
    )
    return {f"{prefix}{kind.upper()}": found.get(kind) for kind in ("sha1", "sha256", "md5")}


def _version(data: Fields, prefix: str = "") -> dict[str, Any]:
    return {
        f"{prefix}ProcessVersionInfoCompanyName": data.text("Company"),
        f"{prefix}ProcessVersionInfoProductName": data.text("Product"),
        f"{prefix}ProcessVersionInfoProductVersion": data.text("FileVersion"),
        f"{prefix}ProcessVersionInfoOriginalFileName": data.text("OriginalFileName"),
        f"{prefix}ProcessVersionInfoFileDescription": data.text("Description"),
    }


def _created(data: Fields, evidence: Evidence, user: graph.UserEvidence | None) -> dict[str, Any]:
    """Of event 1 the process is the new one, and its parent the one that acts."""
    image, parent = data.text("Image"), data.text("ParentImage")
    hashes = _hashes(data)
    evidence.process(
        data.text("CommandLine"),
        path=image,
        pid=data.integer("ProcessId"),
        hashes=hashes.values(),
        started=when(data.raw("UtcTime")),
        user=user,
        parent_path=parent,
        parent_pid=data.integer("ParentProcessId"),
    )
    evidence.user(data.text("ParentUser"))
    return {
        "FileName": file_name(image),
        "FolderPath": image,
        **hashes,
        **_version(data),
        "ProcessId": data.integer("ProcessId"),
        "ProcessCommandLine": data.text("CommandLine"),
        "ProcessIntegrityLevel": data.text("IntegrityLevel"),
        "ProcessCreationTime": when(data.raw("UtcTime")),
        **_account(data.text("User"), ""),
        "InitiatingProcessFileName": file_name(parent),
        "InitiatingProcessFolderPath": parent,
        "InitiatingProcessId": data.integer("ParentProcessId"),
        "InitiatingProcessCommandLine": data.text("ParentCommandLine"),
        **_account(data.text("ParentUser"), "InitiatingProcess"),
    }


def _acting(data: Fields, evidence: Evidence, user: graph.UserEvidence | None) -> dict[str, Any]:
    """Of all others Image is the process that acts."""
    image = data.text("Image", "SourceImage")
    pid = data.integer("ProcessId", "SourceProcessId")
    evidence.process(path=image, pid=pid, user=user)
    return {
        "InitiatingProcessFileName": file_name(image),
        "InitiatingProcessFolderPath": image,
        "InitiatingProcessId": pid,
        **_account(data.text("User", "SourceUser"), "InitiatingProcess"),
    }


def _object(data: Fields, evidence: Evidence, event_id: int | None) -> dict[str, Any]:
    """What was acted on: a file, a loaded image, a key of the registry, another process."""
    key = data.text("TargetObject")
    if key is not None:
        named = key if event_id == 12 and "key" in (data.text("EventType") or "").lower() else key.rpartition("\\")[0]
        value = key.rpartition("\\")[2] if named != key else None
        evidence.registry(named, value, data.text("Details"))
        return {"RegistryKey": named, "RegistryValueName": value, "RegistryValueData": data.text("Details")}
    other = data.text("TargetImage")
    if other is not None:
        evidence.process(path=other, pid=data.integer("TargetProcessId"), user=evidence.user(data.text("TargetUser")))
        return {"FileName": file_name(other), "FolderPath": other, "ProcessId": data.integer("TargetProcessId")}
    path = data.text("TargetFilename", "ImageLoaded", "ConfigurationFile", "Device")
    if event_id == 1 or (path is None and not data.has("Hashes", "Hash")):
        return {}
    hashes = _hashes(data)
    evidence.file(None, path, hashes.values())
    return {"FileName": file_name(path), "FolderPath": path, **hashes}


def _network(data: Fields, evidence: Evidence, event_id: int | None) -> dict[str, Any]:
    if event_id == 22:
        # "type:  5 cdn.example.net;::ffff:192.0.2.7;" gives names on the way and the addresses.
        answers = addresses([data.text("QueryResults")])
        evidence.domain(data.text("QueryName"), answers)
        return {"RemoteUrl": data.text("QueryName")}
    near = data.text("SourceIp"), data.integer("SourcePort")
    far = data.text("DestinationIp"), data.integer("DestinationPort")
    if near[0] is None and far[0] is None:
        return {}
    if evidence.flow(*near, *far, data.text("Protocol")) is None:
        evidence.ip(near[0], ("source",))
        evidence.ip(far[0], ("destination",))
    evidence.domain(data.text("DestinationHostname"))
    if data.flag("Initiated") is False:
        near, far = far, near
    return {
        "LocalIP": near[0],
        "LocalPort": near[1],
        "RemoteIP": far[0],
        "RemotePort": far[1],
        "RemoteUrl": data.text("DestinationHostname"),
        "Protocol": (data.text("Protocol") or "").capitalize() or None,
    }
