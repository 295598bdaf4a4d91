"""Rows of Log Analytics that hold a record in the names of a table: CommonSecurityLog, and custom logs.

A row of CommonSecurityLog is the line of CEF that it was made of; one of a custom log the object that was posted, whose
names end in a letter for the type.
Source: Azure Monitor reference, table CommonSecurityLog; Microsoft Sentinel, "CEF and CommonSecurityLog field mapping";
Azure Monitor, "Data Collector API: record type and properties".
"""

import re
from collections import Counter
from typing import Any

from bartizan.sources import cef_objects

# Columns of CommonSecurityLog -> how a value is read, and the key of CEF.
COLUMNS = {
    "DeviceVendor": "deviceVendor",
    "DeviceProduct": "deviceProduct",
    "DeviceVersion": "deviceVersion",
    "DeviceEventClassID": "deviceEventClassId",
    "Activity": "text name eventName EventMessage Action",
    "LogSeverity": "deviceSeverity",
    "OriginalLogSeverity": "severity",
    "DeviceAction": "act",
    "ApplicationProtocol": "app",
    "EventCount": "int cnt",
    "DestinationDnsDomain": "destinationDnsDomain",
    "DestinationServiceName": "destinationServiceName",
    "DestinationTranslatedAddress": "destinationTranslatedAddress",
    "DestinationTranslatedPort": "int destinationTranslatedPort",
    "CommunicationDirection": "deviceDirection",
    "DeviceDnsDomain": "deviceDnsDomain",
    "DeviceExternalID": "deviceExternalId",
    "DeviceFacility": "deviceFacility",
    "DeviceInboundInterface": "deviceInboundInterface",
    "DeviceNtDomain": "deviceNtDomain",
    "DeviceOutboundInterface": "deviceOutboundInterface",
    "DevicePayloadId": "devicePayloadId",
    "ProcessName": "deviceProcessName",
    "DeviceTranslatedAddress": "deviceTranslatedAddress",
    "DestinationHostName": "dhost",
    "DestinationMACAddress": "dmac",
    "DestinationNTDomain": "dntdom",
    "DestinationProcessId": "int dpid",
    "DestinationUserPrivileges": "dpriv",
    "DestinationProcessName": "dproc",
    "DestinationPort": "int dpt",
    "DestinationIP": "dst",
    "DeviceTimeZone": "dtz",
    "DestinationUserID": "duid",
    "DestinationUserName": "duser",
    "DeviceAddress": "dvc",
    "DeviceName": "dvchost",
    "DeviceMacAddress": "dvcmac",
    "ProcessID": "int dvcpid",
    "EndTime": "time end",
    "ExtID": "externalId",
    "FileCreateTime": "fileCreateTime",
    "FileHash": "fileHash",
    "FileID": "fileId",
    "FileModificationTime": "fileModificationTime",
    "FilePath": "filePath",
    "FilePermission": "filePermission",
    "FileType": "fileType",
    "FileName": "fname",
    "FileSize": "int fsize",
    "ReceivedBytes": "long in",
    "Message": "msg",
    "OldFileHash": "oldFileHash",
    "OldFileName": "oldFileName",
    "OldFilePath": "oldFilePath",
    "SentBytes": "long out",
    "EventOutcome": "outcome",
    "Protocol": "proto",
    "Reason": "reason",
    "RequestURL": "request",
    "RequestClientApplication": "requestClientApplication",
    "RequestContext": "requestContext",
    "RequestCookies": "requestCookies",
    "RequestMethod": "requestMethod",
    "ReceiptTime": "rt",
    "SourceHostName": "shost",
    "SourceMACAddress": "smac",
    "SourceNTDomain": "sntdom",
    "SourceDnsDomain": "sourceDnsDomain",
    "SourceServiceName": "sourceServiceName",
    "SourceTranslatedAddress": "sourceTranslatedAddress",
    "SourceTranslatedPort": "int sourceTranslatedPort",
    "SourceProcessId": "int spid",
    "SourceUserPrivileges": "spriv",
    "SourceProcessName": "sproc",
    "SourcePort": "int spt",
    "SourceIP": "src",
    "StartTime": "time start",
    "SourceUserID": "suid",
    "SourceUserName": "suser",
    "EventType": "int type",
    "DeviceEventCategory": "cat",
    **{f"DeviceCustomString{n}": f"cs{n}" for n in range(1, 7)},
    **{f"DeviceCustomString{n}Label": f"cs{n}Label" for n in range(1, 7)},
    **{f"DeviceCustomNumber{n}": f"int cn{n}" for n in range(1, 4)},
    **{f"DeviceCustomNumber{n}Label": f"cn{n}Label" for n in range(1, 4)},
    **{f"DeviceCustomFloatingPoint{n}": f"real cfp{n}" for n in range(1, 5)},
    **{f"DeviceCustomFloatingPoint{n}Label": f"cfp{n}Label" for n in range(1, 5)},
    **{f"DeviceCustomIPv6Address{n}": f"c6a{n}" for n in range(1, 5)},
    **{f"DeviceCustomIPv6Address{n}Label": f"c6a{n}Label" for n in range(1, 5)},
}

_HEADER = ("DeviceVendor", "DeviceProduct", "DeviceVersion", "DeviceEventClassID", "Activity", "LogSeverity")
_KEYS = {
    column: next(word for word in words.split() if word not in ("text", "int", "long", "real", "time"))
    for column, words in COLUMNS.items()
    if column not in _HEADER and column != "OriginalLogSeverity"
}
_PAIR = re.compile(r"(?<![^;])([A-Za-z][\w.\[\]]{0,60})=")
_MAX_EXTENSIONS = 200
_STEPS = re.compile(r"_\w*[a-z][A-Z]|[a-z][A-Z]\w*_|_[A-Z]")
_TYPED = re.compile(r"(.{1,200})_[sdgbt]", re.DOTALL)
# What the table adds to every row.
_OF_TABLE = frozenset(
    """
    TenantId SourceSystem MG ManagementGroupName Type _ResourceId _SubscriptionId _ItemId _BilledSize _IsBillable
    """.split()
)
_MIN_KEYS = 2


def cef_line(row: dict[str, Any]) -> str | None:
    """The line of CEF that a row of CommonSecurityLog says; None of any other object."""
    if row.get("Type") != "CommonSecurityLog" and "TimeGenerated" not in row:
        return None
    pairs = [(key, row[column]) for column, key in _KEYS.items() if isinstance(row.get(column), str | int | float)]
    known = {key for key, _ in pairs}
    if not known & {"rt", "start", "end"} and isinstance(row.get("TimeGenerated"), str):
        pairs.append(("rt", row["TimeGenerated"]))
    more = row.get("AdditionalExtensions")
    if isinstance(more, str):
        marks = list(_PAIR.finditer(more))[:_MAX_EXTENSIONS]
        ends = [*(mark.start() for mark in marks[1:]), len(more) + 1][: len(marks)]
        pairs += [(mark[1], more[mark.end() : end - 1]) for mark, end in zip(marks, ends, strict=True)]
    return cef_objects.written([row.get(name) or "" for name in _HEADER], pairs)


def custom_log(row: dict[str, Any]) -> dict[str, Any] | str | None:
    """The object or the text that a row of a custom log holds; None of any other object.

    Columns of objects within objects are named by the steps that lead there, "actor_alternateId", which nothing tells
    from words of one name. They are steps where words within a name are parted by capitals; else a name that begins as
    another is said in each way.
    """
    kind = row.get("Type")
    if not isinstance(kind, str) or not kind.endswith("_CL"):
        return None
    raw = row.get("RawData")
    if isinstance(raw, str) and raw.lstrip()[:1] == "{":
        return raw
    names = {key: match[1] for key in row if isinstance(key, str) and (match := _TYPED.fullmatch(key)) is not None}
    if len(names) < _MIN_KEYS:
        return raw if isinstance(raw, str) and raw else None
    sure = sum(_STEPS.search(name) is not None for name in names.values()) >= _MIN_KEYS
    begins = Counter(name.partition("_")[0] for name in names.values())
    held: dict[str, Any] = {}
    for key, value in row.items():
        if key in _OF_TABLE or value in (None, ""):
            continue
        name = names.get(key, key)
        parted = key in names and "_" in name[1:] and (sure or begins[name.partition("_")[0]] > 1)
        if parted:
            held.setdefault(name.replace("_", "."), value)
        if not parted or _STEPS.search(name) is None:
            held.setdefault(name, value)
            if parted:
                held.setdefault(name.replace("_", ".", 1), value)  # "context_ip_address": context, ip_address
    return held
