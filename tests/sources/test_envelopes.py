"""What carries a record on its way hides nothing of it: the source is recognised, and reads the same out of it."""

import gzip
import json
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest

from bartizan.extend import Event, GraphObject, Record
from bartizan.model.alert import Alert
from bartizan.sources.detect import detect

Normalise = Callable[[str, Any], list[Alert | Event | GraphObject]]

AT = "2026-03-03T10:11:12.123Z"
FALCO = {
    "output": "Shell in a container",
    "priority": "Warning",
    "rule": "Terminal shell in container",
    "time": "2026-03-03T10:00:00.5Z",
    "output_fields": {"container.id": "3ad7b26ded6d", "proc.cmdline": "bash", "user.name": "root"},
    "hostname": "node7",
}
CEF = "CEF:0|Nozomi Networks|N2OS|23.1|SIGN:SCADA|Scan|7|src=10.1.1.4 dst=10.1.1.9 start=1772532000000 msg=x"
PAIRS = (
    "date=2026-03-03 time=10:00:00 devname=fw1 devid=FG1 logid=0419016384 type=utm subtype=ips level=alert "
    'severity=high srcip=10.1.1.4 dstip=203.0.113.9 action=dropped attack="Sample.Overflow" attackid=7'
)
RECORDS = {"falco": json.dumps(FALCO), "nozomi": CEF, "fortinet_fortigate": PAIRS}


def _json(text: str) -> Any:
    return json.loads(text) if text.startswith("{") else text


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()


ENVELOPES: dict[str, Callable[[str], Any]] = {
    "header of RFC 3164": lambda text: f"<134>Mar  3 10:11:12 relay app: {text}",
    "header of RFC 5424": lambda text: f'<134>1 {AT} relay app 7 ID1 [meta sequenceId="1"] {text}',
    "cee": lambda text: f"<134>Mar  3 10:11:12 relay app: @cee: {text}",
    "carriage return as text": lambda text: f"<134>Mar  3 10:11:12 relay app: {text} #015",
    "nul": lambda text: f"<134>Mar  3 10:11:12 relay app: {text}\x00\n",
    "beats": lambda text: {"@timestamp": AT, "message": text, "agent": {"type": "filebeat"}, "host": {"name": "relay"}},
    "hec": lambda text: {"time": 1772532672.0, "host": "relay", "sourcetype": "any", "event": _json(text)},
    "search of Splunk": lambda text: {
        "preview": False,
        "result": {"_raw": text, "_time": AT, "sourcetype": "any", "splunk_server": "s1", "severity": "high"},
    },
    "SNS": lambda text: {"Type": "Notification", "TopicArn": "arn:aws:sns:a", "MessageId": "1", "Message": text},
    "SQS": lambda text: {"Records": [{"messageId": "1", "receiptHandle": "r", "body": text, "eventSource": "aws:sqs"}]},
    "CloudWatch Logs": lambda text: {
        "messageType": "DATA_MESSAGE",
        "logGroup": "g",
        "logEvents": [{"id": "1", "timestamp": 1772532672000, "message": text}],
    },
    "CloudEvents": lambda text: {"specversion": "1.0", "type": "t", "source": "s", "id": "1", "data": _json(text)},
    "search of Elasticsearch": lambda text: {
        "took": 1,
        "hits": {"hits": [{"_index": "i", "_source": FALCO if text.startswith("{") else {"message": text}}]},
    },
    "GELF": lambda text: {"version": "1.1", "host": "relay", "short_message": text, "level": 6},
    "rsyslog": lambda text: {"hostname": "relay", "programname": "app", "syslogtag": "app:", "msg": text},
    "syslog-ng": lambda text: {"PROGRAM": "app", "MESSAGE": text, "HOST": "relay", "FACILITY": "local0"},
    "Kafka": lambda text: {"topic": "t", "partition": 1, "offset": 5, "key": None, "value": text},
    "body": lambda text: {"body": _json(text)},
    "Elastic Common Schema": lambda text: {
        "@timestamp": AT,
        "ecs": {"version": "8.11.0"},
        "event": {"original": text, "dataset": "any", "kind": "alert"},
        "related": {"ip": ["198.51.100.200"]},
    },
    "push of Pub/Sub": lambda text: {
        "message": {"data": _base64(text), "messageId": "1", "publishTime": AT},
        "subscription": "projects/p/subscriptions/s",
    },
    "push of Pub/Sub, without subscription": lambda text: {"message": {"data": _base64(text), "messageId": "1"}},
    "message of Pub/Sub": lambda text: {"data": _base64(text), "messageId": "1", "publishTime": AT, "attributes": {}},
    "Kinesis": lambda text: {"Records": [{"kinesis": {"data": _base64(text)}, "eventSource": "aws:kinesis"}]},
    "Firehose": lambda text: {"deliveryStreamArn": "arn:aws:f", "records": [{"recordId": "1", "data": _base64(text)}]},
    "HTTP of Firehose": lambda text: {
        "requestId": "r",
        "timestamp": 1772532672000,
        "records": [{"data": _base64(text)}],
    },
    "CloudWatch Logs in Lambda": lambda text: {
        "awslogs": {
            "data": b64encode(
                gzip.compress(
                    json.dumps(
                        {"messageType": "DATA_MESSAGE", "logGroup": "g", "logEvents": [{"id": "1", "message": text}]}
                    ).encode(),
                    mtime=0,
                )
            ).decode()
        }
    },
    "CloudEvents in Base64": lambda text: {
        "specversion": "1.0",
        "type": "t",
        "source": "s",
        "id": "1",
        "data_base64": _base64(text),
    },
}
# Of objects alone.
HOOKS: dict[str, Callable[[Any], Any]] = {
    "data": lambda held: {"event_type": "alert.created", "created_at": AT, "data": held},
    "payload": lambda held: {"event": "alert", "id": "1", "timestamp": AT, "payload": held},
}


def _record(raw: Any) -> Record:
    text = raw if isinstance(raw, str) else json.dumps(raw)
    return Record(raw=text.encode(), text=text, data=None if isinstance(raw, str) else raw)


def _told(outs: list[Alert | Event | GraphObject]) -> list[tuple[Any, ...]]:
    return [
        (out.title, out.severity, out.first_activity, {(entry.kind, entry.value) for entry in out.entities})
        if isinstance(out, Alert)
        else (type(out).__name__, out)
        for out in outs
    ]


@pytest.mark.parametrize("envelope", ENVELOPES)
@pytest.mark.parametrize("source", RECORDS)
def test_envelope_hides_nothing(source: str, envelope: str, normalise: Normalise) -> None:
    """In each envelope the record is of the same source, and gives the same alert."""
    text = RECORDS[source]
    sent = ENVELOPES[envelope](text)
    expected = _told(normalise(source, _json(text)))
    assert len(expected) == 1
    assert detect(_record(sent)) == source
    found = _told(normalise(source, sent))
    assert len(found) == 1
    assert found[0][:3] == expected[0][:3]
    assert found[0][3] >= expected[0][3]


@pytest.mark.parametrize("hook", HOOKS)
def test_hook_hides_nothing(hook: str, normalise: Normalise) -> None:
    """A webhook that says of which kind the object is that it holds."""
    sent = HOOKS[hook](FALCO)
    assert detect(_record(sent)) == "falco"
    assert _told(normalise("falco", sent)) == _told(normalise("falco", FALCO))


def test_row_of_common_security_log(normalise: Normalise) -> None:
    """A row of the table is the line that it was made of."""
    row = {
        "TimeGenerated": AT,
        "Type": "CommonSecurityLog",
        "DeviceVendor": "Nozomi Networks",
        "DeviceProduct": "N2OS",
        "DeviceVersion": "23.1",
        "DeviceEventClassID": "SIGN:SCADA",
        "Activity": "Scan",
        "LogSeverity": "7",
        "SourceIP": "10.1.1.4",
        "DestinationIP": "10.1.1.9",
        "StartTime": "2026-03-03T10:00:00Z",
        "Message": "x",
        "AdditionalExtensions": "n2os_schema=2;risk=a\\b=c",
    }
    assert detect(_record(row)) == "nozomi"
    assert _told(normalise("nozomi", row)) == _told(normalise("nozomi", CEF))


def test_row_of_custom_log(normalise: Normalise) -> None:
    """A row of a custom log is the object that was posted, whose names have letters for the types behind them."""
    typed = {f"{key}_s": value if isinstance(value, str) else json.dumps(value) for key, value in FALCO.items()}
    row = {"TenantId": "t", "TimeGenerated": AT, "Type": "Falco_CL", **typed}
    assert detect(_record(row)) == "falco"
    assert _told(normalise("falco", row)) == _told(normalise("falco", FALCO))


def test_alert_of_elastic_is_no_envelope(normalise: Normalise) -> None:
    """An alert repeats the event that it was raised for; it is the alert that counts."""
    sent = {
        "@timestamp": AT,
        "ecs": {"version": "8.11.0"},
        "event": {"kind": "signal", "original": json.dumps(FALCO)},
        "kibana.alert.rule.name": "Shell",
        "kibana.alert.uuid": "u",
        "kibana.alert.severity": "low",
    }
    assert [out.title for out in normalise("elastic_security", sent) if isinstance(out, Alert)] == ["Shell"]


def test_packed_beyond_the_bound_is_kept(normalise: Normalise) -> None:
    """What unpacks to more than the bound stays packed, and the record is kept."""
    bomb = b64encode(gzip.compress(b" " * 9_000_000, mtime=0)).decode()
    outs = normalise("falco", {"awslogs": {"data": bomb}})
    assert outs
    assert not any(isinstance(out, Alert) for out in outs)


def test_queue_of_several(normalise: Normalise) -> None:
    """Each message of a queue is a record of its own."""
    bodies = [json.dumps({**FALCO, "rule": f"Rule {number}"}) for number in range(3)]
    sent = {"Records": [{"messageId": body[:9], "receiptHandle": "r", "body": body} for body in bodies]}
    titles = [out.title for out in normalise("falco", sent) if isinstance(out, Alert)]
    assert titles == ["Rule 0", "Rule 1", "Rule 2"]


@pytest.mark.parametrize(
    "sent",
    [
        {"Type": "Notification", "TopicArn": "a", "Message": None},
        {"Type": "Notification", "TopicArn": "a", "Message": {"Message": []}},
        {"specversion": "1.0", "type": "t", "source": "s", "data": 7},
        {"took": 1, "hits": {"hits": [{"_source": None}, 7]}},
        {"messageType": "DATA_MESSAGE", "logGroup": "g", "logEvents": [{"message": ""}]},
        {"topic": "t", "partition": 1, "offset": 5, "value": ["a", 7, {}]},
        {"Records": []},
        {"body": {"body": {"body": {"body": {"body": {}}}}}},
        {
            "TimeGenerated": AT,
            "DeviceVendor": 5,
            "DeviceProduct": None,
            "DeviceEventClassID": [],
            "AdditionalExtensions": "no pairs",
        },
        {"TimeGenerated": AT, "Type": "X_CL", "a_s": None, "b_d": {}, "c_g": [7]},
        {"ecs": {"version": 8}, "event": {"original": 7}},
        {"message": {"data": "%%", "messageId": 1}},
        {"awslogs": {"data": "H4sIAAAA"}},
        {"Records": [{"kinesis": {"data": None}}]},
    ],
)
@pytest.mark.parametrize("source", RECORDS)
def test_odd_envelope(source: str, sent: Any, normalise: Normalise) -> None:
    """An envelope that holds nothing that it should is still a record, which is kept."""
    assert normalise(source, sent)
