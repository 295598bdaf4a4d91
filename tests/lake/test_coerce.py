"""Rows made to fit their tables: types, names, times; nothing is lost."""

import contextlib
import json
import math
import string
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bartizan.errors import BadRequest
from bartizan.lake.coerce import coerce
from bartizan.lake.plain import MAX_DEPTH, json_text, plain
from bartizan.lake.tables import declare

T = "2026-11-23T04:50:30.1234567Z"
RECEIVED = "2026-11-23T05:00:00.0000000Z"
KINDS = ("bool", "datetime", "dynamic", "guid", "int", "long", "real", "string", "timespan")

TYPED = declare(
    "LakeTyped", {"Timestamp": "datetime", **{f"A_{kind}": kind for kind in KINDS}, "AdditionalFields": "dynamic"}
)
BARE = declare("LakeBare", {"TimeGenerated": "datetime", **{f"A_{kind}": kind for kind in KINDS}})
STATES = declare("LakeStates", {"Name": "string", "name": "long", "Other": "dynamic"})


def one(kind: str, value: Any) -> Any:
    """What becomes of a value in a column of that type; the whole rest, where it does not fit."""
    row = coerce(TYPED, {"Timestamp": T, f"A_{kind}": value})
    return row[f"A_{kind}"] if f"A_{kind}" in row else row["AdditionalFields"]


def test_a_row_that_fits_stays_as_it_is() -> None:
    row = {
        "Timestamp": T,
        "A_bool": True,
        "A_datetime": T,
        "A_dynamic": {"a": [1, None, "x"]},
        "A_guid": "0f8fad5b-d9cb-469f-a165-70867728950e",
        "A_int": -7,
        "A_long": 2**63 - 1,
        "A_real": 1.5,
        "A_string": "text",
        "A_timespan": "1.02:03:04.0000005",
        "AdditionalFields": {"more": 1},
    }
    assert coerce(TYPED, row) == row


@pytest.mark.parametrize(
    ("kind", "value", "made"),
    [
        ("long", "12", 12),
        ("long", " -12 ", -12),
        ("long", "0x1F", 31),
        ("long", 3.0, 3),
        ("long", True, 1),
        ("int", 2**31 - 1, 2**31 - 1),
        ("real", "1.50", 1.5),
        ("real", 2, 2.0),
        ("real", "-2e3", -2000.0),
        ("bool", "True", True),
        ("bool", 0, False),
        ("string", 12, "12"),
        ("string", 1.0, "1.0"),
        ("string", True, "true"),
        ("string", [1, {"a": None}], '[1,{"a":null}]'),
        ("guid", "{0F8FAD5B-D9CB-469F-A165-70867728950E}", "0f8fad5b-d9cb-469f-a165-70867728950e"),
        ("guid", "0F8FAD5BD9CB469FA16570867728950E", "0f8fad5b-d9cb-469f-a165-70867728950e"),
        ("datetime", "2026-11-23T06:50:30.1234567+02:00", T),
        ("datetime", "2026-11-23 04:50", "2026-11-23T04:50:00.0000000Z"),
        ("datetime", "2026-11-23", "2026-11-23T00:00:00.0000000Z"),
        ("datetime", "2016-12-31T23:59:60.0000000Z", "2017-01-01T00:00:00.0000000Z"),
        ("datetime", 1_700_000_000, "2023-11-14T22:13:20.0000000Z"),
        ("datetime", 1_700_000_000.125, "2023-11-14T22:13:20.1250000Z"),
        ("datetime", 1_700_000_000_123, "2023-11-14T22:13:20.1230000Z"),
        ("datetime", 1_700_000_000_123_456, "2023-11-14T22:13:20.1234560Z"),
        ("datetime", 1_700_000_000_123_456_789, "2023-11-14T22:13:20.1234567Z"),
        ("datetime", "1700000000.5", "2023-11-14T22:13:20.5000000Z"),
        ("timespan", "02:03:04", "02:03:04"),
        ("timespan", "1.5h", "01:30:00"),
        ("timespan", "2d", "2.00:00:00"),
        ("timespan", "250ms", "00:00:00.2500000"),
        ("timespan", "3 ticks", "00:00:00.0000003"),
        ("timespan", "PT36H", "1.12:00:00"),
        ("timespan", "-P1DT0.5S", "-1.00:00:00.5000000"),
        ("dynamic", '{"a": [1, 2.5]}', {"a": [1, 2.5]}),
        ("dynamic", "[not json]", "[not json]"),
        ("dynamic", "12", "12"),
    ],
)
def test_values_become_of_their_columns_type(kind: str, value: Any, made: Any) -> None:
    got = one(kind, value)
    assert got == made and type(got) is type(made)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("long", 2**63),
        ("long", 1.5),
        ("long", "1.5"),
        ("long", "twelve"),
        ("long", [1]),
        ("int", 2**31),
        ("real", "nan"),
        ("real", "1e400"),
        ("real", "1e-400"),
        ("real", 2**53 + 1),
        ("real", "0.12345678901234567890"),
        ("real", True),
        ("bool", 2),
        ("bool", "maybe"),
        ("guid", "0f8fad5b"),
        ("datetime", "yesterday"),
        ("datetime", "2026-13-45T04:50:30.1234567Z"),
        ("datetime", "0001-01-01T00:00:00+01:00"),
        ("datetime", 12),
        ("datetime", True),
        ("timespan", 5),
        ("timespan", "25:00:00"),
        ("timespan", "P"),
        ("timespan", "0.5 tick"),
    ],
)
def test_what_does_not_fit_moves_to_the_rest(kind: str, value: Any) -> None:
    assert one(kind, value) == {f"A_{kind}": value}


def test_names_in_any_case_find_their_column() -> None:
    assert coerce(TYPED, {"TIMESTAMP": T, "a_String": "x"}) == {"Timestamp": T, "A_string": "x"}


def test_the_exact_name_wins_and_the_other_is_kept() -> None:
    row = coerce(TYPED, {"a_string": "other", "Timestamp": T, "A_string": "mine"})
    assert row == {"Timestamp": T, "A_string": "mine", "AdditionalFields": {"a_string": "other"}}


def test_columns_that_differ_only_in_case() -> None:
    assert coerce(STATES, {"name": "5", "Name": 5, "NAME": 6}) == {"name": 5, "Name": "5", "_Extra": {"NAME": 6}}


def test_unknown_columns_join_what_is_there() -> None:
    row = {"Timestamp": T, "AdditionalFields": {"b": 1}, "Foo": [2], "b": 3}
    assert coerce(TYPED, row)["AdditionalFields"] == {"b": 1, "Foo": [2], "b_2": 3}
    assert coerce(TYPED, {**row, "AdditionalFields": "text"})["AdditionalFields"] == {
        "value": "text",
        "Foo": [2],
        "b": 3,
    }
    assert coerce(BARE, {"TimeGenerated": T, "Foo": 1, "_Extra": {"x": 2}})["_Extra"] == {"x": 2, "Foo": 1}
    assert coerce(TYPED, {"Timestamp": T, "b": 1, "AdditionalFields": {"b": 1}})["AdditionalFields"] == {"b": 1}
    assert coerce(TYPED, {"Timestamp": T, "b": True, "AdditionalFields": {"b": 1}})["AdditionalFields"] == {
        "b": 1,
        "b_2": True,
    }


def test_a_row_without_time_gets_that_of_receipt_and_says_so() -> None:
    assert coerce(TYPED, {}, received=RECEIVED) == {
        "Timestamp": RECEIVED,
        "AdditionalFields": {"timeSource": "received"},
    }
    assert coerce(BARE, {"TimeGenerated": "soon"}, received=RECEIVED) == {
        "TimeGenerated": RECEIVED,
        "_Extra": {"TimeGenerated": "soon", "timeSource": "received"},
    }
    assert coerce(STATES, {"Name": "x"}) == {"Name": "x"}
    assert coerce(TYPED, {})["Timestamp"] > "2026"


def test_timestamp_and_timegenerated_stand_for_each_other() -> None:
    assert coerce(BARE, {"Timestamp": T}) == {"TimeGenerated": T}
    assert coerce("DeviceEvents", {"TimeGenerated": T}) == {"TimeGenerated": T, "Timestamp": T}
    assert coerce("DeviceEvents", {"Timestamp": T}) == {"TimeGenerated": T, "Timestamp": T}
    other = "2026-11-23T04:59:00.0000000Z"
    assert coerce(BARE, {"TimeGenerated": T, "Timestamp": other})["_Extra"] == {"Timestamp": other}


def test_a_table_that_is_not_there() -> None:
    with pytest.raises(BadRequest, match="NoSuchTable"):
        coerce("NoSuchTable", {})


def test_json_in_a_text_is_kept_as_text_where_it_says_more_than_its_value() -> None:
    for text in ('{"a":1,"a":2}', "[0.12345678901234567890]", "[1e400]", "[NaN]"):
        assert one("dynamic", text) == text


def test_depth_is_bounded_and_nothing_of_it_is_lost() -> None:
    deep: Any = "bottom"
    for _ in range(MAX_DEPTH * 3):
        deep = [deep]
    row = coerce(TYPED, {"Timestamp": T, "A_dynamic": deep, "Foo": {"x": deep}})
    for value in (row["A_dynamic"], row["AdditionalFields"]):
        assert depth(value) == MAX_DEPTH and '"bottom"' in str(list(leaves(value)))
    for _ in range(100_000):
        deep = {"d": [deep]}
    row = coerce(TYPED, {"Timestamp": T, "A_dynamic": deep, "A_string": deep, "Foo": deep})
    assert "bottom" in row["A_string"] and depth(row["A_dynamic"]) == MAX_DEPTH
    msgspec.json.encode(row)


def depth(value: Any) -> int:
    inside = value if isinstance(value, list) else value.values() if isinstance(value, dict) else None
    return 0 if inside is None else 1 + max((depth(item) for item in inside), default=0)


# ---------------------------------------------------------------- any JSON


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    else:
        yield value


def canonical(value: Any) -> str:
    """One text for each JSON value; numbers by what they are worth."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, int | float):
        return str(Decimal(repr(value)).normalize())
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    return "{" + ",".join(f"{json.dumps(key)}:{canonical(value[key])}" for key in sorted(value)) + "}"


def spellings(value: Any) -> set[str]:
    """The forms in which a value may stand in a row: itself, or in the type of its column."""
    forms = {canonical(value)}
    if isinstance(value, str):
        stripped = value.strip()
        forms.add(canonical(value.encode("utf-8", "backslashreplace").decode()))
        forms.add(canonical(stripped.strip("{}").replace("-", "").lower()))
        forms |= {canonical(stripped == "1")} if stripped in ("0", "1") else set()
        for read in (json.loads, int, float, lambda text: int(text, 16), lambda text: json.loads(text.lower())):
            try:
                forms.add(canonical(read(stripped)))
            except (ValueError, RecursionError):
                continue
    elif isinstance(value, int | float):
        forms |= {canonical(str(value)), canonical(json.dumps(value))}
        forms |= {canonical(bool(value)), canonical(int(value))} if value in (0, 1) else set()
    else:
        forms.add(canonical(msgspec.json.encode(value).decode()))
    return forms


def held(value: Any) -> Iterator[str]:
    """Every value at any place of a row, and what JSON texts in it say."""
    yield canonical(value)
    if isinstance(value, str):
        yield canonical(value.replace("-", ""))
        with contextlib.suppress(ValueError, RecursionError):
            yield canonical(json.loads(value))
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from held(item)


def members(value: Any) -> list[Any]:
    """What a value of the rest column brings into it: others join an object's members."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(value) if value.startswith("{") and value != DOUBLE else value
    return list(value.values()) if isinstance(value, dict) else [value]


DOUBLE = '{"a":1,"a":2}'  # no object holds it: it stays a text
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=20)
    | st.sampled_from(["12", "0x1f", " 7", "1e5", "true", "0.1", '{"a":1}', DOUBLE, "[1,2]", "\x00"])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
names = st.sampled_from(
    [*(f"A_{kind}" for kind in KINDS), "a_string", "A_LONG", "AdditionalFields", "_Extra", "Foo", "value", "timeSource"]
) | st.text(string.ascii_letters + "\u00e9\ud800", max_size=6)
TIMES = {"A_datetime", "A_timespan"}  # their texts change; see test_values_become_of_their_columns_type


@given(st.dictionaries(names, values, max_size=8), st.sampled_from([TYPED, BARE, STATES]))
@example({"AdditionalFields": "x", "value": "y", "Foo": {"value": 1}}, TYPED)
def test_no_value_is_lost(row: dict[str, Any], table: Any) -> None:
    """Whatever JSON comes in: no error, and each value stands somewhere in what comes out."""
    made = coerce(table, row, received=RECEIVED)
    found = set(held(made))
    for name, value in row.items():
        if name.lower() in ("a_datetime", "a_timespan") or value is None:
            continue
        for part in members(value) if name == table.rest or table.column(name) == table.rest else [value]:
            assert found & spellings(part), (name, part, made)


@given(st.dictionaries(names, values, max_size=8), st.sampled_from([TYPED, BARE, STATES]))
def test_coercing_again_changes_nothing_and_the_row_is_json(row: dict[str, Any], table: Any) -> None:
    made = coerce(table, row, received=RECEIVED)
    assert msgspec.json.decode(msgspec.json.encode(made)) == made
    assert coerce(table, made, received=T) == made
    assert set(made) <= {*table.columns, table.rest}


@given(st.dictionaries(names, values, max_size=8))
def test_columns_hold_their_type(row: dict[str, Any]) -> None:
    types = {
        "bool": bool,
        "datetime": str,
        "guid": str,
        "int": int,
        "long": int,
        "real": float,
        "string": str,
        "timespan": str,
    }
    for name, value in coerce(TYPED, row, received=RECEIVED).items():
        kind = TYPED.columns[name]
        assert value is None or kind == "dynamic" or type(value) is types[kind]


@given(st.text(), st.sampled_from(KINDS))
def test_any_text_in_any_column(text: str, kind: str) -> None:
    got = one(kind, text)
    assert got == {f"A_{kind}": text} or spellings(text) & set(held(got)) or kind in ("datetime", "timespan")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, [math.nan], {"a": {"b": math.inf}}])
def test_numbers_that_json_has_not(value: Any) -> None:
    """They do not come from JSON; a source that makes them loses nothing."""
    for kind in ("real", "dynamic", "string", "long"):
        row = coerce(TYPED, {"Timestamp": T, f"A_{kind}": value, "Foo": value})
        text = msgspec.json.encode(row).decode()
        assert ("nan" in text.lower()) or ("inf" in text.lower())
        assert "null" not in text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_any_value_is_written_and_read_back(value: Any) -> None:
    """NaN and infinity by their names, also beside nulls; of a column that is to hold JSON as texts."""
    assert same_json(json.loads(json_text(value)), value)
    told, finite = plain(value), "NaN" not in json_text(value) and "Infinity" not in json_text(value)
    json.dumps(told, allow_nan=False)
    assert not finite or json_text(told) == json_text(value)


def same_json(one: Any, other: Any) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_json, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(map(same_json, one.values(), other.values()))
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return type(one) is type(other) and bool(one == other)
