"""CEF that a collector has taken apart: the line of CEF that its object was made of.

Source: Filebeat, processor "Decode CEF", "Decode CEF processor fields"; Logstash, "Cef codec plugin", table of fields
with and without the Elastic Common Schema; Fluentd, "fluent-plugin-parser_cef".
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

_HEADER = ("deviceVendor", "deviceProduct", "deviceVersion", "deviceEventClassId", "name", "severity")
_MAX_PAIRS = 500
_KEY = re.compile(r"[A-Za-z_][\w.-]{0,63}", re.ASCII)
_TIMES = frozenset({"rt", "start", "end", "deviceReceiptTime", "startTime", "endTime"})
_CUSTOM = re.compile(r"device_custom_(string|number|floating_point|ipv6_address|date)_(\d{1,2})", re.ASCII)
_SHORT = {"string": "cs", "number": "cn", "floating_point": "cfp", "ipv6_address": "c6a", "date": "deviceCustomDate"}

# Where Logstash says a key of CEF in the Elastic Common Schema; what means the device stands under either name.
_IN_ECS: Mapping[str, str] = {
    "act": "event.action",
    "app": "network.protocol",
    "cat": "cef.category",
    "cnt": "cef.base_event_count",
    "deviceDirection": "network.direction",
    "deviceExternalId": "observer.name",
    "deviceInboundInterface": "observer.ingress.interface.name",
    "deviceOutboundInterface": "observer.egress.interface.name",
    "deviceNtDomain": "cef.nt_domain",
    "deviceProcessName": "process.name",
    "dvc": "observer.ip host.ip",
    "dvchost": "observer.hostname host.name",
    "dvcmac": "observer.mac host.mac",
    "dvcpid": "process.pid",
    "end": "event.end",
    "eventId": "event.id",
    "externalId": "cef.external_id",
    "fileHash": "file.hash",
    "filePath": "file.path",
    "fname": "file.name",
    "fsize": "file.size",
    "in": "source.bytes",
    "msg": "message",
    "oldFileHash": "cef.old_file.hash",
    "oldFileName": "cef.old_file.name",
    "oldFilePath": "cef.old_file.path",
    "out": "destination.bytes",
    "outcome": "event.outcome",
    "proto": "network.transport",
    "reason": "event.reason",
    "request": "url.original",
    "requestClientApplication": "user_agent.original",
    "requestContext": "http.request.referrer",
    "requestCookies": "cef.request.cookies",
    "requestMethod": "http.request.method",
    "start": "event.start",
    **{
        key.format(letter): f"{end}.{path}"
        for letter, end in (("s", "source"), ("d", "destination"))
        for key, path in (
            ("{}host", "domain"),
            ("{}mac", "mac"),
            ("{}ntdom", "registered_domain"),
            ("{}pid", "process.pid"),
            ("{}priv", "user.group.name"),
            ("{}proc", "process.name"),
            ("{}pt", "port"),
            ("{}uid", "user.id"),
            ("{}user", "user.name"),
        )
    },
    "src": "source.ip",
    "dst": "destination.ip",
    "destinationServiceName": "destination.service.name",
    "destinationTranslatedAddress": "destination.nat.ip",
    "destinationTranslatedPort": "destination.nat.port",
    "sourceServiceName": "source.service.name",
    "sourceTranslatedAddress": "source.nat.ip",
    "sourceTranslatedPort": "source.nat.port",
}


def line(data: dict[str, Any]) -> str | None:
    """The line of CEF that an object says which a collector made of it; None of any other object."""
    if isinstance(held := data.get("cef"), dict):
        return _of_filebeat(data, held) if "extensions" in held or "device" in held else _of_logstash(data, held)
    if not all(isinstance(data.get(name), str) for name in _HEADER[:2]) or "deviceEventClassId" not in data:
        return None
    pairs = ((key, value) for key, value in data.items() if key not in _HEADER and not key.startswith("cef"))
    return written([data.get(name) for name in _HEADER], _dated(pairs, data))


def _of_filebeat(data: dict[str, Any], held: dict[str, Any]) -> str | None:
    device, said = held.get("device"), held.get("extensions")
    if not isinstance(device, dict) or not isinstance(device.get("vendor"), str):
        return None
    header = [device.get(name) for name in ("vendor", "product", "version", "event_class_id")]
    pairs = said.items() if isinstance(said, dict) else ()
    return written([*header, held.get("name"), held.get("severity")], _dated(pairs, data))


def _of_logstash(data: dict[str, Any], held: dict[str, Any]) -> str | None:
    if not isinstance(_at(data, "observer.vendor"), str):
        return None
    paths = ("observer.vendor", "observer.product", "observer.version", "event.code", "cef.name", "event.severity")
    pairs = [
        (key, found)
        for key, ways in _IN_ECS.items()
        if (found := next((one for way in ways.split() if (one := _at(data, way)) is not None), None)) is not None
    ]
    for name, custom in held.items():
        if (match := _CUSTOM.fullmatch(name)) is not None and isinstance(custom, dict):
            key = f"{_SHORT[match[1]]}{match[2]}"
            pairs += [(key, custom.get("value")), (f"{key}Label", custom.get("label"))]
    return written([_at(data, path) for path in paths], _dated(pairs, data))


def _at(data: Any, path: str) -> Any:
    for step in path.split("."):
        data = data.get(step) if isinstance(data, dict) else None
    return data


def _dated(pairs: Iterable[tuple[str, Any]], data: dict[str, Any]) -> list[tuple[str, Any]]:
    """With the time of the collector where the device told none."""
    said = list(pairs)[:_MAX_PAIRS]
    at = data.get("@timestamp")
    return said if at is None or any(key in _TIMES for key, _ in said) else [("rt", at), *said]


def written(header: Iterable[Any], pairs: Iterable[tuple[str, Any]]) -> str:
    """A line of CEF of its header's six parts and of what the extension says; what is no text or number is left out."""
    head = [str("" if part is None else part).replace("\\", "\\\\").replace("|", "\\|") for part in header]
    said = " ".join(
        f"{key}={_value(value)}"
        for key, value in pairs
        if isinstance(value, str | int | float) and value != "" and _KEY.fullmatch(key)
    )
    return f"CEF:0|{'|'.join(head)}|{said}"


def _value(value: Any) -> str:
    return str(value).replace("\\", "\\\\").replace("=", "\\=").replace("\n", "\\n").replace("\r", "")
