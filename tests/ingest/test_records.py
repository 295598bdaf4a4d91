"""Bodies as records: every form that senders use, byte for byte, within bounds."""

import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bartizan.errors import BadRequest, TooLarge
from bartizan.ingest import records
from bartizan.ingest.records import MAX_DEPTH, Unreadable, gunzip, member, record, split


@pytest.mark.parametrize(
    ("body", "raws"),
    [
        (b"", []),
        (b"\n \r\n", []),
        (b'{"a":1}', [b'{"a":1}']),
        (b'{"a":1}\n{"a":2}\n', [b'{"a":1}', b'{"a":2}']),
        (b'\xef\xbb\xbf{"a":1}\r\n\r\n {"a": 2}\r\n', [b'{"a":1}', b' {"a": 2}']),
        (b'[ {"a" : 1} ,\n {"b":[2]}, "text" ]\n', [b'{"a" : 1}', b'{"b":[2]}', b'"text"']),
        (b"[]", []),
        (b'{\n "a": 1\n}\n', [b'{\n "a": 1\n}']),
        (b'{\n "a": 1\n}\n{\n "b": 2\n}', [b'{\n "a": 1\n}', b'{\n "b": 2\n}']),
        (b'[{"a":1},{"a":2}]\n[{"a":3}]', [b'{"a":1}', b'{"a":2}', b'{"a":3}']),
        (b"one\ntwo\r\n", [b"one", b"two"]),
        (b"[Mon Nov 23] text\nmore", [b"[Mon Nov 23] text", b"more"]),
        (b'{"a":1}\n{"a":\nplain', [b'{"a":1}', b'{"a":', b"plain"]),
        (b'{"a":', [b'{"a":']),
        (b"<14>Nov 23 host app: x", [b"<14>Nov 23 host app: x"]),
    ],
)
def test_a_body_gives_its_records_byte_for_byte(body: bytes, raws: list[bytes]) -> None:
    assert split(body) == raws


@pytest.mark.parametrize(
    "body",
    [b'[{"a":1},{"a":', b"[\n", b'{\n "a": 1,\n "b":\n', "{}".encode("utf-16"), b"\x00\x01\x02", b"PK\x03\x04\x00\x00"],
)
def test_a_body_that_cannot_be_read_at_all_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        split(body)


def test_bounds_hold_before_anything_is_stored() -> None:
    with pytest.raises(TooLarge, match="record 2 has"):
        split(b'{"a":1}\n{"a":"' + b"x" * 50 + b'"}', max_record_bytes=40)
    with pytest.raises(TooLarge, match="more than 3 records"):
        split(b"a\nb\nc\nd", max_records=3)
    with pytest.raises(TooLarge, match="JSON lines"):
        split(b"[" + b"1," * (records.MAX_ARRAY_VALUES + 1) + b"1]")


def test_gzip_is_read_whole_and_bounded() -> None:
    body = b'{"a":1}\n' * 1_000
    assert gunzip(gzip.compress(body)) == body
    assert gunzip(gzip.compress(b"a") + gzip.compress(b"b")) == b"ab"
    with pytest.raises(TooLarge):
        gunzip(gzip.compress(body), limit=len(body) - 1)
    for broken in (gzip.compress(body)[:-9], gzip.compress(body) + b"tail", b"\x1f\x8bno"):
        with pytest.raises(BadRequest, match="gzip"):
            gunzip(broken)


def test_a_record_is_bytes_text_and_value() -> None:
    found = record(b' {"a": "\xc3\xa4"}')
    assert (found.raw, found.text, found.data) == (b' {"a": "\xc3\xa4"}', ' {"a": "ä"}', {"a": "ä"})
    assert record(b"CEF:0|x").data is None
    assert record(b"[1]").data == [1]


def test_a_quoted_record_is_what_the_quotes_hold() -> None:
    assert record(b'"CEF:0|a\\\\b"') == record(b"CEF:0|a\\b")
    assert record(json.dumps('{"a": 1}').encode()) == record(b'{"a": 1}')


@pytest.mark.parametrize(
    ("raw", "data"),
    [
        (b'{"a": NaN, "b": -Infinity}', {"a": "NaN", "b": "-Infinity"}),
        (b'{"a": "\\ud800x"}', {"a": "\ufffdx"}),
        (b'{"a": "\xff"}', {"a": "\ufffd"}),
        (b'{"a": "x\ty"}', {"a": "x\ty"}),
        (b'{"a": 1e999}', {"a": "1e999"}),
        (b'{"a": 123456789012345678901234567890}', {"a": 123456789012345678901234567890}),
        (b'{"a": 1', None),
        (b"{'a': 1}", None),
    ],
)
def test_what_writers_take_for_json_is_read(raw: bytes, data: object) -> None:
    assert record(raw).data == data
    assert record(raw).raw == raw


def test_json_that_is_too_deep_stays_text() -> None:
    fits = b'{"a":' * MAX_DEPTH + b"1" + b"}" * MAX_DEPTH
    assert record(fits).data is not None
    assert record(b"[" + fits + b"]").data is None
    assert record(b"[" * 100_000).data is None
    wide = b"[" + b"[]," * 1_000 + b"[]]"
    assert record(wide).data is not None


@pytest.mark.parametrize(
    ("line", "raw"),
    [
        (b'{"x":0,"raw": {"b" : [1, 2]}, "y":1}', b'{"b" : [1, 2]}'),
        (b'{"raw":"CEF:0|a\\nb"}', b"CEF:0|a\nb"),
        (b'{"raw":"\\u00e4"}', "ä".encode()),
        (b'{"raw":7}', b"7"),
    ],
)
def test_a_member_gives_its_own_bytes(line: bytes, raw: bytes) -> None:
    assert member(line, "raw") == raw


@pytest.mark.parametrize("line", [b'{"other":1}', b"text", b"[1]", b'{"raw":'])
def test_a_line_without_the_member_says_so(line: bytes) -> None:
    with pytest.raises(Unreadable):
        member(line, "raw")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.dictionaries(st.text(max_size=4), JSON, max_size=3), max_size=5), st.sampled_from([None, 1]))
def test_objects_come_back_from_lines_arrays_and_pretty_printing(
    values: list[dict[str, object]], indent: int | None
) -> None:
    lines = "\n".join(json.dumps(value) for value in values).encode()
    pretty = "\n".join(json.dumps(value, indent=indent) for value in values).encode()
    for body in (lines, json.dumps(values, indent=indent).encode(), pretty):
        assert [record(raw).data for raw in split(body)] == values


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60) | st.text(alphabet='[]{}",:\\ \n\tau1\ufeff', max_size=40).map(str.encode))
def test_any_body_is_read_or_refused(body: bytes) -> None:
    try:
        raws = split(body)
    except BadRequest:
        return
    for raw in raws:
        assert record(raw).raw
        assert b"".join(raw.split()) in b"".join(body.split())
