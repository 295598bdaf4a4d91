"""What carries a record on its way hides nothing of it: the source is recognised, and reads the same out of it."""

import gzip
import json
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest

from bartizan.extend import Event, GraphObject, Record
from bartizan.model.alert import Alert
from bartizan.sources import envelopes
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
LEEF = "LEEF:2.0|Acme|Box|1|Scan|^|src=10.1.1.5^sev=8^cat=attack"
PAIRS = (
    "date=2026-03-03 time=10:00:00 devname=fw1 devid=FG1 logid=0419016384 type=utm subtype=ips level=alert "
    'severity=high srcip=10.1.1.4 dstip=203.0.113.9 action=dropped attack="Sample.Overflow" attackid=7'
)
RECORDS = {"falco": json.dumps(FALCO), "nozomi": CEF, "fortinet_fortigate": PAIRS}


# Two lines of each, of which no source makes one text.
LINES = {
    "fortinet_fortigate": (PAIRS, PAIRS.replace("Sample.Overflow", "Other.Overflow")),
    "suricata_eve": tuple(
        f"03/01/2026-10:15:30.123456  [**] [1:91000{n}:2] CASE probe {n} [**] [Classification: Detection of a Network "
        "Scan] [Priority: 3] {UDP} 192.0.2.7:40000 -> 198.51.100.2:161"
        for n in (1, 2)
    ),
    "zeek_notice": tuple(
        f"177261840{n}.500000\tC1\t10.0.0.5\t50000\t203.0.113.9\t80\t-\t-\t-\ttcp\tScan::Port_Scan\tprobe {n}\tsub\t"
        "10.0.0.5\t203.0.113.9\t80\t-\t-\tNotice::ACTION_LOG\t3600.0\tF\t-\t-\t-\t-\t-"
        for n in (1, 2)
    ),
    "wazuh": tuple(
        f"<132>Mar  3 10:11:12 relay ossec: Alert Level: 5; Rule: 571{n} - Failed login {n}; Location: "
        "db1->/var/log/secure; srcip: 198.51.100.77;"
        for n in (1, 2)
    ),
    "cef_generic": (CEF, CEF.replace("|Scan|", "|Sweep|")),
}


def _json(text: str) -> Any:
    return json.loads(text) if text.startswith("{") else text


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()


# CEF that a collector took apart -> source, title, severity, entities.
PARTED: dict[str, tuple[dict[str, Any], str, str, str, set[str]]] = {
    "Filebeat": (
        {
            "@timestamp": AT,
            "ecs": {"version": "8.17.0"},
            "cef": {
                "version": "0",
                "device": {"vendor": "Trend Micro", "product": "Deep Security Agent", "event_class_id": "4000000"},
                "name": "Ransom_CASE.A",
                "severity": "8",
                "extensions": {
                    "deviceHostName": "srv-9",
                    "filePath": "C:\\Temp\\a b.exe",
                    "deviceCustomNumber1": 7,
                    "deviceCustomNumber1Label": "Host ID",
                    "deviceAction": "Quarantine",
                },
            },
            "event": {"code": "4000000", "severity": 8, "dataset": "cef.log"},
            "host": {"name": "relay"},
        },
        "trend_deep_security",
        "Ransom_CASE.A",
        "high",
        {"srv-9"},
    ),
    "Logstash": (
        {
            "@timestamp": AT,
            "@version": "1",
            "cefVersion": "0",
            "deviceVendor": "Acme",
            "deviceProduct": "IDS Box",
            "deviceVersion": "1",
            "deviceEventClassId": "77",
            "name": "Exploit attempt",
            "severity": "5",
            "sourceAddress": "10.1.1.4",
            "sourceUserName": "ann",
            "deviceCustomString1": "a=b",
            "deviceCustomString1Label": "Rule Name",
        },
        "cef_generic",
        "Exploit attempt",
        "medium",
        {"10.1.1.4", "ann"},
    ),
    "Logstash in the Elastic Common Schema": (
        {
            "@timestamp": AT,
            "observer": {"vendor": "Acme", "product": "IDS Box", "version": "3", "hostname": "sensor4"},
            "cef": {"version": "0", "name": "Scan", "device_custom_string_1": {"value": "x=1 y", "label": "Rule Name"}},
            "event": {"code": "77", "severity": "7", "action": "blocked"},
            "source": {"ip": "10.1.1.4", "port": "4444", "user": {"name": "ann"}},
            "destination": {"ip": "203.0.113.9"},
        },
        "cef_generic",
        "Scan",
        "high",
        {"sensor4", "10.1.1.4", "203.0.113.9", "ann"},
    ),
}


@pytest.mark.parametrize("collector", PARTED)
def test_cef_taken_apart(normalise: Normalise, collector: str) -> None:
    """A line of CEF that a collector made an object of is read as the line, by the source of its device."""
    data, source, title, severity, named = PARTED[collector]
    record = Record(raw=json.dumps(data).encode(), text=json.dumps(data), data=data)
    assert detect(record) == source
    (alert,) = normalise(source, data)
    assert isinstance(alert, Alert)
    assert (alert.title, alert.severity, alert.first_activity) == (title, severity, "2026-03-03T10:11:12.1230000Z")
    assert {entity.value for entity in alert.entities} == named
    assert alert.additional.get("Rule Name") == {"Logstash": "a=b"}.get(collector, alert.additional.get("Rule Name"))
    assert not any("Label" in name for name in alert.additional)


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


def _gzip(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def _firehose(*held: bytes) -> dict[str, Any]:
    records = [{"recordId": str(number), "data": b64encode(data).decode()} for number, data in enumerate(held)]
    return {"deliveryStreamArn": "arn:aws:f", "records": records}


@pytest.mark.parametrize("bomb", [b" " * 1_048_575 + b"x", b"x" * 1_048_576, b"x" * 9_000_000], ids=len)
def test_bombs_share_one_bound(bomb: bytes, normalise: Normalise, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an envelope holds is bounded as a whole: of a hundred records no more is unpacked than of one."""
    unpacked: list[int] = []
    unpack = envelopes._unpacked

    def counted(text: Any, most: int) -> bytes | None:
        data = unpack(text, most)
        unpacked.append(len(data or b""))
        return data

    monkeypatch.setattr(envelopes, "_unpacked", counted)
    sent = _firehose(*[_gzip(bomb)] * 100)
    assert envelopes.inside(sent) is None
    assert sum(unpacked) <= envelopes.MAX_DECODED_BYTES
    outs = normalise("falco", sent)
    assert outs
    assert not any(isinstance(out, Alert) for out in outs)


def test_within_the_bound_all_is_unpacked() -> None:
    """Records that fit the bound together are read, packed and plain."""
    held = [_gzip(b"x" * 1_000_000)] * 8 + [b"y"]
    assert [len(text) for text in envelopes.inside(_firehose(*held))] == [1_000_000] * 8 + [1]


@pytest.mark.parametrize(
    "packed",
    [_gzip(json.dumps(FALCO).encode())[:-9], _gzip(json.dumps(FALCO).encode()) + _gzip(b"more"), _gzip(b"a") + b"more"],
    ids=["cut off", "two members", "something behind"],
)
def test_packed_otherwise_is_kept(packed: bytes, normalise: Normalise) -> None:
    """What is cut off, or holds more than one packing, stays packed rather than be read in part."""
    assert envelopes.inside(_firehose(packed)) is None
    assert normalise("falco", _firehose(packed))


@pytest.mark.parametrize("envelope", ["CloudWatch Logs", "Firehose"])
@pytest.mark.parametrize("source", LINES)
def test_each_line_is_a_record(source: str, envelope: str, normalise: Normalise) -> None:
    """Lines that come in one envelope are as many alerts, like those of each line alone."""
    lines = LINES[source]
    sent: dict[str, Any] = (
        _firehose(*(line.encode() for line in lines))
        if envelope == "Firehose"
        else {"messageType": "DATA_MESSAGE", "logGroup": "g", "logEvents": [{"message": line} for line in lines]}
    )
    alone = [told for line in lines for told in _told(normalise(source, line))]
    assert len(alone) == 2
    assert _told(normalise(source, sent)) == alone
    assert detect(_record(sent)) == detect(_record(lines[0]))


def test_as_many_lines_as_an_envelope_may_hold(normalise: Normalise) -> None:
    """An envelope of lines is read to its own bound."""
    events = [{"message": PAIRS}] * envelopes.MAX_HELD
    outs = normalise("fortinet_fortigate", {"messageType": "DATA_MESSAGE", "logGroup": "g", "logEvents": events})
    assert len(outs) == envelopes.MAX_HELD


@pytest.mark.parametrize(("line", "source"), [(CEF, "cef_generic"), (LEEF, "leef_generic")], ids=["CEF", "LEEF"])
def test_carried_lines_are_each_read(line: str, source: str, normalise: Normalise) -> None:
    """Lines of CEF or LEEF that a collector put into JSON are read where the source itself knows neither."""
    lines = [line, line.replace("10.1.1.", "10.1.2.")]
    alone = [told for one in lines for told in _told(normalise(source, one))]
    assert len(alone) == 2
    events = [{"message": one} for one in lines]
    sent = {"messageType": "DATA_MESSAGE", "logGroup": "g", "logEvents": events}
    assert _told(normalise("darktrace", sent)) == alone
    assert _told(normalise("darktrace", {"message": line})) == alone[:1]


def test_to_mention_a_format_is_not_to_carry_it(normalise: Normalise) -> None:
    """An object whose message only names CEF or LEEF is kept whole."""
    sent = {"message": "saw CEF: in page", "log": {"level": "warning"}, "host": {"name": "web-1"}, "tags": ["a"]}
    (out,) = normalise("darktrace", sent)
    assert isinstance(out, Event)
    assert out.row["HostName"] == "web-1"


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
        {"body": "[]"},
        {"message": {"data": [], "messageId": "1"}},
        {"messageType": "DATA_MESSAGE", "logGroup": "g", "logEvents": [{"message": "[]"}, {"message": "7"}]},
    ],
)
@pytest.mark.parametrize("source", RECORDS)
def test_odd_envelope(source: str, sent: Any, normalise: Normalise) -> None:
    """An envelope that holds nothing that it should is still a record, which is kept."""
    assert normalise(source, sent)
    detect(_record(sent))
