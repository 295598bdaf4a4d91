"""Readers of text: syslog, CEF, LEEF, pairs, XML, CSV. They read what vendors write, and never raise."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bartizan.extend import Record
from bartizan.sources import cef, csv_records, leef, pairs, syslog, xml_records
from bartizan.sources.fields import Fields
from bartizan.sources.times import when

# Text in which the signs of the formats are frequent.
SIGNS = st.text(alphabet="<>|=\\\"'[]{}:;, \n\t\r%-1aZnCEFL&#!?/.\ufeff\0\ud800é", max_size=120)
HEADS = st.sampled_from(
    ["", "<13>", "<34>1 ", "CEF:0|", "LEEF:2.0|V|P|1|E|", "Mar  1 10:00:00 ", "<a>", "<?xml ", "a=", '"']
)
LINES = st.tuples(HEADS, SIGNS, HEADS, SIGNS).map("".join)


# ---------------------------------------------------------------- syslog


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            '<165>1 2026-03-01T10:15:00.5Z fw.example.org evntd 77 ID47 [ex@1 a="b\\"c" d="\\]"][o x="y"] \ufeffhello',
            {
                "priority": 165, "severity": 5, "time": "2026-03-01T10:15:00.5000000Z", "host": "fw.example.org",
                "app": "evntd", "pid": "77", "message_id": "ID47", "message": "hello",
                "structured": {"ex@1": {"a": 'b"c', "d": "]"}, "o": {"x": "y"}},
            },
        ),
        ("<34>1 - - - - - -", {"priority": 34, "time": None, "host": None, "message": ""}),
        (
            "<34>Oct 11 22:14:15 mymachine su: 'su root' failed",
            {"time": None, "host": "mymachine", "app": "su", "message": "'su root' failed", "severity": 2},
        ),
        ("Oct 11 22:14:15 web sshd[4711]: ok", {"priority": None, "host": "web", "app": "sshd", "pid": "4711"}),
        ("<30>Oct 11 22:14:15 sshd[1]: no host", {"host": None, "app": "sshd", "message": "no host"}),
        ("<30>Oct 11 22:14:15 2026 gw app: x", {"time": "2026-10-11T22:14:15.0000000Z", "host": "gw", "app": "app"}),
        ("<30>2026-10-11T22:14:15+02:00 gw app[9]: x", {"time": "2026-10-11T20:14:15.0000000Z", "host": "gw"}),
        ("<30>Oct 11 22:14:15 2001:db8::1 app: x", {"host": "2001:db8::1", "app": "app"}),
        ("<13>Oct 11 22:14:15 gw {\"a\": 1}", {"host": "gw", "app": None, "message": '{"a": 1}'}),
        ("<189>date=2026-03-01 time=10:00:00", {"priority": 189, "message": "date=2026-03-01 time=10:00:00"}),
        ("120 <13>Oct 11 22:14:15 gw a: x", {"priority": 13, "host": "gw"}),
        (
            "<189>4711: 000123: *Mar  1 2026 18:48:50.483 UTC: %SYS-5-CONFIG_I: Configured from console",
            {
                "time": "2026-03-01T18:48:50.4830000Z", "app": "SYS", "message_id": "CONFIG_I", "severity": 5,
                "message": "Configured from console",
            },
        ),
        (
            "<166>Mar 01 2026 10:00:00 asa1 : %ASA-6-302013: Built inbound",
            {"host": "asa1", "app": "ASA", "message_id": "302013", "severity": 6},
        ),
        ("<166>%ASA-4-106023: Deny tcp", {"app": "ASA", "message_id": "106023", "severity": 4, "message": "Deny tcp"}),
        ("2026-03-01 10:00:00,123 ERROR it broke", {"host": None, "app": None, "message": "ERROR it broke"}),
        ("no header at all", {"priority": None, "time": None, "host": None, "message": "no header at all"}),
        ("<999>Oct 11 22:14:15 x y: z", {"priority": None, "message": "<999>Oct 11 22:14:15 x y: z"}),
    ],
)  # fmt: skip
def test_syslog(text: str, expected: dict[str, Any]) -> None:
    """The header is taken off in every form in which devices write it."""
    line = syslog.read(text)
    assert {name: getattr(line, name) for name in expected} == expected


def test_syslog_names() -> None:
    """Facility and level by the names that syslogd uses."""
    line = syslog.read("<34>Oct 11 22:14:15 mymachine su: x")
    assert (line.facility, line.level, line.headed) == ("auth", "crit", True)
    assert (syslog.read("x").facility, syslog.read("x").level, syslog.read("x").headed) == (None, None, False)


@given(LINES)
@example('<13>1 - - - - - [a b="\\')
@example("<13>Mar  1 10:00:00" + " " * 3000)
def test_syslog_keeps_the_message(text: str) -> None:
    """Whatever comes, the message is a part of the text."""
    line = syslog.read(text)
    assert line.message in text
    assert line.severity is None or 0 <= line.severity <= 7


# ---------------------------------------------------------------- CEF, LEEF


def test_cef() -> None:
    """Escapes, spaces in values, labels, both names of a key; the header wins where a key of the extension is alike."""
    found = cef.read(
        "<13>Mar  1 10:00:00 fw01 CEF:0|Ven\\|dor|Pro\\\\duct|1.0|sig-1|A name|7|src=10.0.0.1 sourcePort=99 "
        "request=https://a.example/?x\\=1&y=2 msg=two\\nlines cs1Label=Rule Name cs1=Deny all cs2Label=src cs2=no "
        'fname=C:\\new\\table.txt filePath=C:\\\\Temp\\\\x severity=High name=other cn1=5 suser="ann"'
    )
    assert found is not None
    assert found[:6] == ("Ven|dor", "Pro\\duct", "1.0", "sig-1", "A name", "7")
    assert found.syslog.host == "fw01"
    fields = found.fields
    assert fields.data["Rule Name"] == "Deny all"
    assert "cs1" not in fields.data
    for path, value in {
        "cs1": "Deny all", "cs1Label": "Rule Name", "deviceCustomString1": "Deny all", "cs2": "no", "src": "10.0.0.1",
        "sourceAddress": "10.0.0.1", "spt": "99", "sourcePort": "99", "request": "https://a.example/?x=1&y=2",
        "msg": "two\nlines", "fname": "C:\\new\\table.txt", "filePath": "C:\\Temp\\x", "severity": "High",
        "deviceSeverity": "7", "name": "A name", "cn1": "5", "suser": "ann",
    }.items():  # fmt: skip
        assert fields.text(path) == value, path
    assert fields.texts("name") == ["A name", "other"]


def test_cef_keys_that_come_again() -> None:
    """Custom fields that a vendor writes twice keep each its label."""
    found = cef.read("CEF:0|V|P|1|s|n|3|cs2Label=Peer cs2=1.1.1.1 duser=a cs2Label=Rule cs2=Deny duser=b")
    assert found is not None
    assert (found.fields.text("Peer"), found.fields.text("Rule")) == ("1.1.1.1", "Deny")
    assert found.fields.texts("duser") == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("CEF:0|V|P|1|s|Name", "Name"),
        ("0|V|P|1|s|Name|3|src=1.2.3.4", "Name"),
        ("CEF: 1|V|P|1|s|Name|3|", "Name"),
        ("2026-03-01T10:00:00Z host CEF:0|V|P|1|s|Name|3|x=y", "Name"),
        ("CEF:0|V", ""),
    ],
)
def test_cef_headers(text: str, name: str) -> None:
    """Short headers, a missing prefix, a syslog header before."""
    found = cef.read(text)
    assert found is not None
    assert (found.vendor, found.name) == ("V", name)


def test_cef_in_a_record() -> None:
    """Several lines in one text, values with line breaks in them, and a line inside JSON."""
    text = "CEF:0|V|P|1|a|A|3|msg=one\ntwo\n<13>Mar  1 10:00:00 h CEF:0|V|P|1|b|B|3|"
    assert [each.name for each in cef.records(Record(b"", text, None))] == ["A", "B"]
    wrapped = {"agent": "x", "message": "CEF:0|V|P|1|a|A|3|src=1.2.3.4"}
    (found,) = cef.records(Record(b"", json.dumps(wrapped), wrapped))
    assert found.fields.text("src") == "1.2.3.4"
    assert not cef.records(Record(b"", "plain", None))
    assert not leef.records(Record(b"", "plain", None))


@pytest.mark.parametrize(
    "text",
    [
        "LEEF:1.0|V|P|1|E|a=1\tb=two words\t c=x=y",
        "LEEF:2.0|V|P|1|E|^|a=1^b=two words^c=x=y",
        "LEEF:2.0|V|P|1|E|x5E|a=1^b=two words^c=x=y",
        "LEEF:2.0|V|P|1|E|0x7C|a=1|b=two words|c=x=y",
        "LEEF:2.0|V|P|1|E|\\t|a=1\tb=two words\tc=x=y",
        "LEEF:2.0|V|P|1|E||a=1\tb=two words\tc=x=y",
        "LEEF:2.0|V|P|1|E|a=1\tb=two words\tc=x=y",
        "<13>Mar  1 10:00:00 gw LEEF:1.0|V|P|1|E|a=1 b=two words c=x\\=y",
    ],
)
def test_leef(text: str) -> None:
    """Every way to say the delimiter, or to leave it out, and tabs that were lost on the way."""
    found = leef.read(text)
    assert found is not None
    assert found[:4] == ("V", "P", "1", "E")
    assert {name: found.fields.text(name) for name in "abc"} == {"a": "1", "b": "two words", "c": "x=y"}


@pytest.mark.parametrize(
    ("said", "form", "expected"),
    [
        ("Aug 06 2026 14:13:16", "MMM dd yyyy HH:mm:ss", "2026-08-06T14:13:16.0000000Z"),
        ("06/08/26 02:13 PM", "dd/MM/yy hh:mm a", "2026-08-06T14:13:00.0000000Z"),
        ("2026-08-06T14:13:16.123+0200", "yyyy-MM-dd'T'HH:mm:ss.SSSZ", "2026-08-06T12:13:16.1230000Z"),
        ("Jun 06 2026 12:14:37.545 GMT-05:00", "MMM dd yyyy HH:mm:ss.SSS z", "2026-06-06T17:14:37.5450000Z"),
        ("1785000000000", None, "2026-07-25T17:20:00.0000000Z"),
        ("2026-08-06 14:13:16", "no such form", "2026-08-06T14:13:16.0000000Z"),
        ("2026-08-06 14:13:16", "yyyy-yyyy-yyyy", "2026-08-06T14:13:16.0000000Z"),
        ("Feb 31 2026 14:13:16", "MMM dd yyyy HH:mm:ss", None),
        (None, "MMM dd yyyy HH:mm:ss", None),
    ],
)
def test_leef_times(said: str | None, form: str | None, expected: str | None) -> None:
    """devTime is read by its own format; a format that says nothing does not spoil a time that speaks for itself."""
    assert leef.dev_time(said, form) == expected


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Jun 11 2026 12:34:56+01:00", "2026-06-11T11:34:56.0000000Z"),
        ("Nov 03 2026 08:58:03.25 GMT+00:00", "2026-11-03T08:58:03.2500000Z"),
        ("Wed Mar  4 19:02:03 2026", "2026-03-04T19:02:03.0000000Z"),
        ("Mar 04 2026 19:02:03 CET", "2026-03-04T18:02:03.0000000Z"),
        ("2026/02/11 10:35:09", "2026-02-11T10:35:09.0000000Z"),
        ("Mar  4 19:02:03", None),
    ],
)
def test_times_of_text_formats(said: str, expected: str | None) -> None:
    """The forms of CEF and of firewalls, with zones; without a year there is no time."""
    assert when(said) == expected


@given(LINES)
@example("CEF:0|" + "\\" * 50)
@example("CEF:0|a|b|c|d|e|f|" + "a=" * 50)
@example("LEEF:2.0|a|b|c|d|\\u0000|a=b")
def test_cef_and_leef_never_raise(text: str) -> None:
    """Any text gives an event or none; its keys and values are text."""
    for found in (cef.read(text), leef.read(text)):
        if found is not None:
            assert all(isinstance(key, str) for key in found.fields.data)
            found.fields.rest()


@given(st.text(max_size=40), st.text(alphabet="yMdHhmsSaEzZX'/: -.", max_size=40))
def test_any_time_format(said: str, form: str) -> None:
    """No format in Java's letters raises."""
    assert leef.dev_time(said, form) is None or "T" in str(leef.dev_time(said, form))


WORDS = st.text(alphabet="abcXYZ09_", min_size=1, max_size=8).map(lambda word: "k" + word)
VALUES = st.text(alphabet="ab \\|=.:/é", max_size=20).map(str.strip)


@given(st.dictionaries(WORDS, VALUES, max_size=8))
def test_cef_round_trip(said: dict[str, str]) -> None:
    """What is escaped as the standard says comes back as it was."""
    escaped = " ".join(f"{key}={_escaped(value)}" for key, value in said.items())
    found = cef.read(f"CEF:0|V|P|1|s|n|3|{escaped}")
    assert found is not None
    assert {key: found.fields.data[key] for key in said} == said


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("=", "\\=")


# ---------------------------------------------------------------- pairs


def test_pairs() -> None:
    """Quotes, escapes, quotes doubled, bare values with spaces, keys in quotes, empty values, paths."""
    text = (
        'x before devname="gw 1" type=utm msg="he said \\"no\\", a=b" dir="C:\\temp\\" unc="\\\\srv\\x" user="D\\\\u" '
        'doubled="a ""b"" c" empty="" list=one two, n=3;"Account Cn"=no "AccountCn"="Ann (x)" n=4'
    )
    assert pairs.read(text) == {
        "devname": "gw 1", "type": "utm", "msg": 'he said "no", a=b', "dir": "C:\\temp\\", "unc": "\\\\srv\\x",
        "user": "D\\u", "doubled": 'a "b" c', "empty": "", "list": "one two", "n": ['3;"Account Cn"=no', "4"],
        "AccountCn": "Ann (x)",
    }  # fmt: skip


def test_pairs_of_other_kinds() -> None:
    """Check Point's colons, Splunk's bars, Kaspersky's and Symantec's labels."""
    assert pairs.colons('s[action:"Accept"; tag:"p=[x;d\\]"; icmp:"Echo \\"1\\""]') == {
        "action": "Accept", "tag": "p=[x;d]", "icmp": 'Echo "1"',
    }  # fmt: skip
    assert pairs.read("time=1|host=a b|empty=|n=2") == {"time": "1", "host": "a b", "empty": "", "n": "2"}
    assert pairs.labelled("Event type: x: y\\r\\nUser: D\\ann\r\nnothing\nWhen: ") == (
        {"Event type": "x: y", "User": "D\\ann", "When": ""},
        ["nothing"],
    )


@given(LINES)
@example('a="\\')
@example('a="b=" c="' + '""' * 40)
def test_pairs_never_raise(text: str) -> None:
    """Any text gives texts by name."""
    for data in (pairs.read(text), pairs.colons(text), pairs.labelled(text)[0]):
        for value in data.values():
            assert all(isinstance(each, str) for each in (value if isinstance(value, list) else [value]))
    assert all(key and isinstance(value, str) for key, value in pairs.separated(text, ","))


@given(st.dictionaries(WORDS, st.text(alphabet='ab "=;,[é', max_size=20), max_size=8))
def test_pairs_round_trip(said: dict[str, str]) -> None:
    """Quoted values come back whole, whatever stands in them."""
    text = " ".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in said.items())
    assert pairs.read(text) == said


# ---------------------------------------------------------------- XML, CSV


def test_xml() -> None:
    """Attributes, repeated elements, text beside attributes, Windows' named data, namespaces, words before."""
    text = (
        "<13>gw agent: <?xml version='1.0' encoding='utf-16'?><!-- note --><e:Event xmlns:e='urn:x'><System>"
        "<Provider Name='P'/><EventID Qualifiers='0'>4625</EventID></System><EventData><Data Name='A'>1 &amp; 2</Data>"
        "<Data>x</Data><Data>y</Data></EventData></e:Event><Event>second</Event>"
    )
    first, second = xml_records.read(text)["Event"]
    assert second == "second"
    assert first == {
        "System": {"Provider": {"Name": "P"}, "EventID": {"Qualifiers": "0", "#text": "4625"}},
        "EventData": {"A": "1 & 2", "Data": ["x", "y"]},
    }


def test_xml_within_bounds() -> None:
    """No document type, no entities; depth and number of elements are bounded; a text cut off gives what came."""
    bomb = "<!DOCTYPE a [<!ENTITY b 'bb'><!ENTITY c '&b;&b;'>]><a>&c;</a>"
    assert xml_records.read(bomb) == {}
    assert xml_records.read("<a><b>x</b><c>cut o") == {"a": {"b": "x", "c": "cut o"}}
    assert xml_records.read("<a><b>x</b>&nbsp;<c/></a>")["a"]["b"] == "x"
    deep: Any = xml_records.read("<a>" * 500 + "x" + "</a>" * 500)
    depth = 0
    while isinstance(deep, dict):
        deep, depth = next(iter(deep.values())), depth + 1
    assert depth < xml_records.MAX_DEPTH
    many = xml_records.read("<a>" + "<b/>" * 50_000 + "</a>")
    assert 10_000 < len(many["a"]["b"]) <= xml_records.MAX_ELEMENTS


@given(LINES)
def test_xml_never_raises(text: str) -> None:
    """Any text gives a dict that fields can read."""
    assert isinstance(xml_records.read(text), dict)
    Fields(xml_records.read(f"<r>{text}</r>")).rest()


def test_csv() -> None:
    """Quoted cells, columns by name with some passed over, cells beyond them kept, a header in any delimiter."""
    assert csv_records.cells('1,"a ""b"", c", d ,"two\nlines",') == ["1", 'a "b", c', "d", "two\nlines", ""]
    assert csv_records.by_columns("a,b,c,d", ("x", "", "y")) == {"x": "a", "y": "c", csv_records.OTHERS: ["d"]}
    assert csv_records.table('\ufeffname;n\n"x;y";1\n\nz;2\n') == [{"name": "x;y", "n": "1"}, {"name": "z", "n": "2"}]
    assert csv_records.cells('a,"cut off,b') == ["a", "cut off", "b"]
    assert csv_records.cells("") == []
    assert csv_records.table("") == []


@given(LINES, st.sampled_from([",", ";", "\t", "|"]))
@example('a,"' + "x" * 200_000, ",")
def test_csv_never_raises(text: str, delimiter: str) -> None:
    """Any text gives cells of text."""
    assert all(isinstance(cell, str) for cell in csv_records.cells(text, delimiter))
    assert all(isinstance(row, dict) for row in csv_records.table(text))
