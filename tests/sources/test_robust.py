"""Whatever arrives: no source raises, each answers in bounded work with at least one output, the same one twice."""

import copy
import json
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sources.test_real_records import UNRECORDED
from tests.steps import calls_within

from bartizan.extend import SOURCES, Event, GraphObject, Record
from bartizan.model import security as graph
from bartizan.model.alert import Alert
from bartizan.model.edm import Version, edm
from bartizan.model.faces import provider_faces

Normalise = Callable[[str, Any], list[Alert | Event | GraphObject]]
HERE = Path(__file__).parent
ROUNDS = 150  # mutations of each case
SHARED_ROUNDS = 20  # of each real record
VERSIONS: tuple[Version, ...] = ("v1.0", "beta")
NOW = "2026-01-01T00:00:00.0000000Z"

ODD: list[Any] = [
    None, True, False, 0, -1, 2**63, 2**64, 10**40, 1e308, float("inf"), float("nan"), "", " ", "-", "N/A",
    "x" * 5000, "\x00", "\ud800", '{"a":', '{"a":{"b":[1,2]}}', "[[[[", '[1,2,"3"]', "1.2.3.4", "::1",
    "fe80::1%eth0", "999.1.1.1", "2026-01-01T00:00:00Z", "9999-12-31T23:59:59+00:01", "0000-00-00", "T1059", "a@b",
    "\\", "D\\u", "C:\\x\\", "http://[::1", "http://", [], {}, [None], [[]], [{}], {"a": None}, [1, "a", {"b": []}],
    "S-1-5-18", "0" * 64, "f" * 64, 1700000000, 133355377959700000, "٣", "99999999999999999999",
]  # fmt: skip

MOST_REPEATED = 20_000  # characters
# Some two seconds of a quick machine; 8 million are the most that a mutated case took, a list of 300 repeated inside
# each of 600 outputs. Counted only where a record took long, since counting takes longer still.
MOST_CALLS = 20_000_000
LONG_S = 0.3


def mutated(value: Any, rng: random.Random, share: float, depth: int = 0) -> Any:
    """A copy in which some parts are gone, renamed in case, wrapped, repeated or replaced by something odd."""
    if rng.random() < share:
        choice = rng.random()
        if choice < 0.15 and depth < 3:
            return [value]
        return {"x": value} if choice < 0.25 else str(value) if choice < 0.3 else copy.deepcopy(rng.choice(ODD))
    if isinstance(value, dict):
        kept = ((key, item) for key, item in value.items() if rng.random() > 0.04)
        return {
            (key.upper() if rng.random() < 0.02 else key): mutated(item, rng, share, depth + 1) for key, item in kept
        }
    if isinstance(value, list):
        items = [mutated(item, rng, share, depth + 1) for item in value if rng.random() > 0.04]
        many = rng.random() < 0.01 and len(repr(items)) < MOST_REPEATED  # of what is repeated inside, not again
        return items * (300 if many else 1)
    return value


def check(normalise: Normalise, source: str, raw: Any) -> None:
    begun = time.thread_time()
    outs = normalise(source, raw)
    if time.thread_time() - begun > LONG_S:
        with calls_within(MOST_CALLS):
            normalise(source, raw)
    assert outs, f"{source} gives nothing for {str(raw)[:500]}"
    assert repr(outs) == repr(normalise(source, raw))
    for out in outs:
        if isinstance(out, GraphObject):
            for version in VERSIONS:
                edm(version).accept(out.type, edm(version).render(out.type, out.body))
        if isinstance(out, Alert):
            provider_faces(out, "tenant", NOW)
            assert msgspec.json.encode(out.evidence)
            assert out.title
            for value, members in (
                (out.severity, graph.AlertSeverity),
                (out.status, graph.AlertStatus),
                (out.detection_source, graph.DetectionSource),
                (out.service_source, graph.ServiceSource),
                (out.classification or "unknown", graph.AlertClassification),
                (out.determination or "unknown", graph.AlertDetermination),
            ):
                assert value in get_args(members)


def cases() -> Iterator[tuple[str, Any]]:
    for path in sorted(HERE.glob("*/*.json")):
        case = json.loads(path.read_text(encoding="utf-8"))
        yield path.parent.name, case.get("text", case.get("payload"))


@pytest.mark.parametrize("source", sorted({name for name, _ in cases()}))
def test_mutated_cases(source: str, normalise: Normalise) -> None:
    """Deletions and changes of type anywhere in a case neither raise nor take long."""
    rng = random.Random(source)
    for name, raw in cases():
        if name == source:
            for _ in range(ROUNDS):
                share = rng.choice((0.01, 0.05, 0.2))
                check(
                    normalise,
                    source,
                    raw[: rng.randrange(len(raw))] if isinstance(raw, str) else mutated(raw, rng, share),
                )


@pytest.mark.shared
@pytest.mark.parametrize("source", sorted(SOURCES.keys() - UNRECORDED))
def test_mutated_records(shared: Path, source: str, normalise: Normalise) -> None:
    """The same of real records; the generic source takes those of all others."""
    rng = random.Random(source)
    every = source in ("auto", "generic")
    folders = sorted((shared / "alerts").glob("*/events.jsonl" if every else f"{source}/events.jsonl"))
    assert folders
    for path in folders:
        for line in path.read_text(encoding="utf-8").splitlines():
            for _ in range(1 if every else SHARED_ROUNDS):
                check(normalise, source, mutated(json.loads(line)["raw"], rng, rng.choice((0.01, 0.05, 0.2))))


@pytest.mark.parametrize("source", sorted(SOURCES))
@pytest.mark.parametrize(
    "raw",
    [
        "",
        "{",
        "\x00\x01",
        "<xml/>",
        {},
        [],
        [[]],
        [{}],
        [1, "a"],
        None,
        7,
        True,
        {"event_type": "alert", "alert": {}},
        {"data": []},
    ],
    ids=repr,
)
def test_foreign_records(source: str, raw: Any) -> None:
    """A record of another format, of none, or empty is an event and never lost."""
    text = raw if isinstance(raw, str) else json.dumps(raw)
    record = Record(raw=text.encode(), text=text, data=None if isinstance(raw, str) else raw)
    assert list(SOURCES[source].normalise(record))


@pytest.mark.parametrize("source", sorted(SOURCES))
def test_deep_and_wide(source: str, normalise: Normalise) -> None:
    """Nesting beyond any recursion limit and lists beyond any bound are cut, not followed."""
    deep: Any = "T1059"
    for _ in range(900):
        deep = {"event": deep, "data": [deep]} if len(str(deep)) < 2000 else {"event": deep}
    for key in ("event", "alert", "properties", "threatInfo", "service", "output_fields", "rule", "debugContext"):
        check(normalise, source, {key: deep, "eventType": "security.threat.detected", "type": "a:b/c", "severity": 5})
    many = [{"src_ip": f"10.0.{number // 250}.{number % 250}", "hostname": f"h{number}"} for number in range(3000)]
    check(
        normalise,
        source,
        {"metadata": {"eventType": "DetectionSummaryEvent"}, "event": {"NetworkAccesses": many, "hosts": many}},
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=5),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(data=JSON, text=st.text(max_size=300), name=st.sampled_from(sorted(SOURCES)))
def test_any_json_or_text(data: Any, text: str, name: str) -> None:
    """Any JSON value and any line of text gives at least one output."""
    assert list(SOURCES[name].normalise(Record(raw=b"", text=json.dumps(data), data=data)))
    assert list(SOURCES[name].normalise(Record(raw=text.encode("utf-8", "replace"), text=text, data=None)))
