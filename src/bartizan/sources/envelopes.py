"""What carries records on their way and puts them under keys of its own: queues, buses, log services, search engines.

Each is known by the keys that it alone sets. What it holds is the record as the vendor wrote it.
Source: Amazon SNS, "Message and JSON formats"; Amazon SQS, Lambda event; EventBridge, "Events"; CloudWatch Logs,
"Subscription filters"; CloudEvents 1.0, JSON format; Elasticsearch, "Search API"; Graylog, GELF 1.1; rsyslog,
"Properties"; syslog-ng, "Macros"; Kafka Connect, HTTP and S3 sinks.
"""

from collections.abc import Callable
from typing import Any

MAX_HELD = 1_000  # records of one envelope

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
    "source_type": (frozenset({"message", "timestamp", "appname"}), lambda data: data["message"]),
}
_MARKS = frozenset(_ENVELOPES)
_QUEUE = frozenset({"messageId", "receiptHandle", "body"})
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
        held = data.get(_LONE)
        return held if isinstance(held, dict | str) else None
    if _MARKS.isdisjoint(data):
        return None
    for mark, (needed, take) in _ENVELOPES.items():
        if mark in data and needed <= data.keys():
            held = take(data)
            return held if isinstance(held, str | dict | list) and held else None
    return None


def _of_partner(data: dict[str, Any]) -> Any:
    """Of EventBridge: what a partner put on the bus; events of AWS itself are read with what stands around them."""
    return None if str(data["source"]).startswith("aws.") else data["detail"]


def _of(data: Any, key: str) -> Any:
    return data.get(key) if isinstance(data, dict) else None


def _each(items: Any, key: str) -> list[Any] | None:
    """What stands under the key of each; None where one holds nothing there."""
    if not isinstance(items, list) or not items or len(items) > MAX_HELD:
        return None
    found = [_of(item, key) for item in items]
    return found if all(isinstance(one, str | dict) and one for one in found) else None
