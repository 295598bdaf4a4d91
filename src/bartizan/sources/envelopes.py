"""What carries records on their way and puts them under keys of its own: queues, buses, log services, search engines.

Each is known by the keys that it alone sets. What it holds is the record as the vendor wrote it.
Source: Amazon SNS, "Message and JSON formats"; Amazon SQS, Lambda event; EventBridge, "Events"; CloudWatch Logs,
"Subscription filters"; CloudEvents 1.0, JSON format; Elasticsearch, "Search API"; Elastic Common Schema,
"event.original"; Graylog, GELF 1.1; rsyslog, "Properties"; syslog-ng, "Macros"; Kafka Connect, HTTP and S3 sinks;
Google Pub/Sub, "PubsubMessage", "Push subscriptions"; AWS Lambda, events of Kinesis, Firehose and CloudWatch Logs;
Amazon Data Firehose, "HTTP endpoint delivery".
"""

import binascii
import zlib
from base64 import b64decode
from collections.abc import Callable
from typing import Any

from bartizan.sources import cef_objects, log_analytics

MAX_HELD = 1_000  # records of one envelope
MAX_DECODED_BYTES = 8_388_608  # of all that one envelope holds in Base64, unpacked
# Keys above such texts.
_PACKED = frozenset(
    {"message", "data", "data_base64", "records", "Records", "awslogs", "DeviceVendor", "cef", "deviceVendor"}
)
_GZIP = b"\x1f\x8b"

# A key that hardly anything else has -> all keys of the envelope, and what takes the record out of it.
_ENVELOPES: dict[str, tuple[frozenset[str], Callable[[dict[str, Any]], Any]]] = {
    "TopicArn": (frozenset({"Type", "Message"}), lambda data: data["Message"]),
    "logEvents": (frozenset({"messageType", "logGroup"}), lambda data: _each(data["logEvents"], "message")),
    "detail-type": (frozenset({"source", "detail"}), lambda data: _of_partner(data)),
    "specversion": (frozenset({"type", "source", "data"}), lambda data: data["data"]),
    "hits": (frozenset({"took"}), lambda data: _each(_of(data["hits"], "hits"), "_source")),
    "short_message": (
        frozenset({"version", "host"}),
        lambda data: data.get("full_message") or data["short_message"],
    ),
    "programname": (frozenset({"msg"}), lambda data: data["msg"]),
    "syslogtag": (frozenset({"msg"}), lambda data: data["msg"]),
    "PROGRAM": (frozenset({"MESSAGE", "HOST"}), lambda data: data["MESSAGE"]),
    "__REALTIME_TIMESTAMP": (frozenset({"MESSAGE", "_HOSTNAME"}), lambda data: data["MESSAGE"]),
    "partition": (frozenset({"topic", "offset", "value"}), lambda data: data["value"]),
    "subscription": (frozenset({"message"}), lambda data: _of_pushed(data["message"])),
    "publishTime": (frozenset({"data"}), lambda data: decoded(data["data"])),
    "publish_time": (frozenset({"data"}), lambda data: decoded(data["data"])),
    "deliveryStreamArn": (frozenset({"records"}), lambda data: _all(data["records"], "data")),
    "records": (frozenset({"requestId", "timestamp"}), lambda data: _all(data["records"], "data")),
    "data_base64": (frozenset({"specversion", "type", "source"}), lambda data: decoded(data["data_base64"])),
    "DeviceVendor": (frozenset({"DeviceProduct", "DeviceEventClassID"}), lambda data: log_analytics.cef_line(data)),
    "Type": (frozenset({"TimeGenerated"}), lambda data: log_analytics.custom_log(data)),
    "ecs": (frozenset({"event"}), lambda data: _of_elastic(data)),
    "cef": (frozenset(), lambda data: cef_objects.line(data)),
    "deviceVendor": (frozenset({"deviceProduct", "deviceEventClassId"}), lambda data: cef_objects.line(data)),
    "source_type": (frozenset({"message", "timestamp", "appname"}), lambda data: data["message"]),
}
_MARKS = frozenset(_ENVELOPES)
_QUEUE = frozenset({"messageId", "receiptHandle", "body"})
# Of a webhook: what tells of which kind the object is that it holds, and what else may stand beside that.
_TOLD = ("event_type", "eventType", "event_name", "eventName", "event", "topic")
_BESIDE = frozenset(
    (
        *_TOLD,
        "timestamp",
        "created_at",
        "createdAt",
        "time",
        "version",
        "id",
        "event_id",
        "eventId",
        "webhook_id",
        "type",
    )
)
_HELD = ("data", "payload")
_MIN_KEYS = 3  # of an object that may be a record
_LONE = "body"  # of an automation's HTTP request, where nothing stands beside it


def inside(data: dict[str, Any]) -> Any:
    """What an envelope holds: an object, a text, or a list of either; None where the object is no envelope."""
    if len(data) == 1:
        records = data.get("Records")
        if (
            isinstance(records, list)
            and records
            and all(isinstance(one, dict) and one.keys() >= _QUEUE for one in records)
        ):
            return _each(records, "body")
        if isinstance(records, list) and isinstance(_of(records[0] if records else None, "kinesis"), dict):
            return _all([_of(one, "kinesis") for one in records], "data")
        if isinstance(logs := data.get("awslogs"), dict):
            return decoded(logs.get("data"))
        if isinstance(pushed := data.get("message"), dict) and "messageId" in pushed:
            return _of_pushed(pushed)
        held = data.get(_LONE)
        return held if isinstance(held, dict | str) else None
    if _MARKS.isdisjoint(data):
        return _of_hook(data)
    for mark, (needed, take) in _ENVELOPES.items():
        if mark in data and needed <= data.keys():
            held = take(data)
            if isinstance(held, str | dict | list) and held:
                return held
    return None


def _of_partner(data: dict[str, Any]) -> Any:
    """Of EventBridge: what a partner put on the bus; events of AWS itself are read with what stands around them."""
    source = str(data["source"])
    return data["detail"] if source.startswith("aws.partner/") or not source.startswith("aws.") else None


def packs(data: Any) -> bool:
    """Whether an envelope holds text that its own does not show: in Base64, or parted into the columns of a row."""
    held = inside(data) if isinstance(data, dict) and not _PACKED.isdisjoint(data) else None
    return isinstance(next(iter(held), None) if isinstance(held, list) else held, str)


def _of_hook(data: dict[str, Any]) -> dict[str, Any] | None:
    """Of {"event_type": "alert.created", "data": {...}}: the object."""
    for name in _HELD:
        held = data.get(name)
        if isinstance(held, dict) and len(held) >= _MIN_KEYS and any(isinstance(data.get(key), str) for key in _TOLD):
            return held if data.keys() - {name} <= _BESIDE else None
    return None


def _of_elastic(data: dict[str, Any]) -> Any:
    """Of a document in the Elastic Common Schema: the record that it was made of, where that was kept; not of an
    alert, which repeats what it was raised for.
    """
    event = data["event"]
    if not isinstance(event, dict) or event.get("kind") == "signal" or any(key.startswith("kibana") for key in data):
        return None
    held = event.get("original")
    return held if isinstance(held, str) else None


def _of_pushed(message: Any) -> Any:
    """Of Pub/Sub: the data of a message, in Base64 or, of a push that is unwrapped, as it is."""
    data = _of(message, "data")
    return (decoded(data) or data) if isinstance(data, str) else data


def decoded(text: Any) -> str | None:
    """The text that is in Base64, also packed by gzip; None of anything else, and of what is larger than the bound."""
    return _text(_unpacked(text, MAX_DECODED_BYTES))


def _unpacked(text: Any, most: int) -> bytes | None:
    """At most so many bytes; None of more, and of gzip that is cut off or that something follows."""
    if most <= 0 or not isinstance(text, str) or not text or len(text) > most * 4 // 3:
        return None
    try:
        data = b64decode(text, validate=True)
        if not data.startswith(_GZIP):
            return data
        unpacking = zlib.decompressobj(16 + zlib.MAX_WBITS)
        data = unpacking.decompress(data, most)
        return data if unpacking.eof and not unpacking.unused_data else None
    except (binascii.Error, zlib.error, ValueError):
        return None


def _text(data: bytes | None) -> str | None:
    try:
        return data.decode().strip() or None if data is not None else None
    except UnicodeDecodeError:
        return None


def _all(items: Any, key: str) -> list[Any] | None:
    """What stands in Base64 under the key of each; None where one holds no such text, or all are beyond the bound."""
    if not isinstance(items, list) or not 0 < len(items) <= MAX_HELD:
        return None
    found: list[Any] = []
    left = MAX_DECODED_BYTES
    for item in items:
        data = _unpacked(_of(item, key), left)
        text = _text(data)
        if data is None or text is None:
            return None
        found.append(text)
        left -= len(data)
    return found


def _of(data: Any, key: str) -> Any:
    return data.get(key) if isinstance(data, dict) else None


def _each(items: Any, key: str) -> list[Any] | None:
    """What stands under the key of each; None where one holds nothing there."""
    if not isinstance(items, list) or not items or len(items) > MAX_HELD:
        return None
    found = [_of(item, key) for item in items]
    return found if all(isinstance(one, str | dict) and one for one in found) else None
