"""Real records of every source: all accepted, the same bytes each time, faces that the contract accepts."""

import copy
import json
import random
from collections import Counter
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from tests.ingest.conftest import FED, NOW, TENANT, Lake
from tests.sources.test_real_records import UNRECORDED

import bartizan.sources
from bartizan.extend import SOURCES
from bartizan.ingest.made import GENERIC_TABLE, make
from bartizan.ingest.normalise import normalise
from bartizan.ingest.pipeline import Pipeline
from bartizan.ingest.records import member, split
from bartizan.model import faces
from bartizan.model.edm import Version, edm
from bartizan.model.entities import KINDS
from bartizan.store import Store
from bartizan.store.alerts import ALERTS, ALERTS_V2

pytestmark = pytest.mark.shared
assert bartizan.sources  # imported so that they stand in SOURCES
NAMES = sorted(set(SOURCES) - {"auto", "generic"} - UNRECORDED)
VERSIONS: tuple[Version, ...] = ("v1.0", "beta")
MUTANTS = 150  # of each source, in the default run
NO_LIMIT = 2**30


def lines(shared: Path, name: str) -> list[bytes]:
    found = split((shared / "alerts" / name / "events.jsonl").read_bytes(), max_record_bytes=NO_LIMIT)
    assert found
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_record_is_understood_and_twice_the_same(shared: Path, name: str) -> None:
    given = lines(shared, name)
    out = list(normalise(SOURCES[name], given, field="raw"))
    assert out == list(normalise(SOURCES[name], given, field="raw"))
    for number, (line, raw) in enumerate(zip(out, given, strict=True), start=1):
        shown = json.loads(line)
        assert "error" not in shown, shown
        assert shown["record"] == number
        assert shown["raw_sha256"] == sha256(member(raw, "raw")).hexdigest()
        assert shown["alerts"] or shown["events"]
        check_entities(shown["entities"])
        for alert in shown["alerts"]:
            check_faces(alert)


def check_entities(found: list[list[str]]) -> None:
    assert len({(kind, value.lower(), role) for kind, value, role in found}) == len(found)
    for kind, value, _ in found:
        assert kind in KINDS
        assert value not in ("", "-", "N/A", "null", "None")
        if kind == "address":
            assert str(ip_address(value)) == value
        if kind in ("host", "domain"):
            with pytest.raises(ValueError):
                ip_address(value)


def check_faces(alert: dict[str, Any]) -> None:
    today, old = alert["v2"], alert["legacy"]
    for version in VERSIONS:
        edm(version).accept(faces.TODAY, today)
        edm(version).accept(faces.LEGACY, old)
    for name, face in ((faces.TODAY, today), (faces.LEGACY, old)):
        assert set(face) - {"@odata.type"} == set(edm("v1.0").structured(name).properties)
    assert today["id"] == old["id"]
    for name in ("title", "severity", "status", "serviceSource", "detectionSource", "providerAlertId", "productName"):
        assert today[name]
    for name in ("vendor", "provider"):
        assert old["vendorInformation"][name]
    assert old["category"]
    assert today["category"]
    # Advice is prose in lines, and two of its lines may be the same.
    said = [value for name, value in old.items() if isinstance(value, list) and name != "recommendedActions"]
    for collection in (today["evidence"], *said):
        texts = [json.dumps(item) for item in collection]
        assert len(set(texts)) == len(texts)


@pytest.mark.anyio
@pytest.mark.parametrize("name", NAMES)
async def test_every_record_is_accepted_once_with_its_raw_bytes(
    shared: Path, store: Store, lake: Lake, name: str
) -> None:
    pipeline = Pipeline(store, lake, collections=FED, clock=lambda: NOW)
    raws = [member(line, "raw") for line in lines(shared, name)]
    first = await pipeline.take(TENANT, SOURCES[name], raws, actor="t")
    assert first.accepted + first.repeats == len(raws)
    assert first.repeats == len(raws) - len(set(raws))
    assert first.warnings == 0
    assert all(table != GENERIC_TABLE for _, table, row in lake.rows if "error" in row.get("AdditionalFields", {}))
    tenant = store.tenant(TENANT)
    assert await tenant.count(ALERTS_V2.name) == await tenant.count(ALERTS.name) == len(set(first.ids))
    for id in set(first.ids):
        kept = await tenant.attachment(ALERTS_V2.name, id, "raw")
        assert kept in raws
    rows, head = len(lake.rows), await store.head()
    again = await pipeline.take(TENANT, SOURCES[name], raws, actor="t")
    assert (again.accepted, again.repeats, again.events, again.ids) == (0, len(raws), 0, first.ids)
    assert (len(lake.rows), await store.head()) == (rows, head)


def _mutated(value: Any, draw: random.Random) -> Any:
    """One value somewhere replaced by one of another kind, a key dropped or doubled."""
    value = copy.deepcopy(value)
    node: Any = value
    strange: tuple[Any, ...] = (
        None,
        "",
        "-",
        0,
        -1,
        2**70,
        1.5,
        True,
        [],
        {},
        ["x"],
        {"a": 1},
        "\0",
        "é" * 50,
        "[1",
        "{}",
    )
    for _ in range(draw.randint(1, 6)):
        if isinstance(node, dict) and node:
            key = draw.choice(list(node))
            if draw.random() < 0.3 or not isinstance(node[key], dict | list) or not node[key]:
                what = draw.random()
                if what < 0.2:
                    del node[key]
                elif what < 0.3:
                    node[key.upper()] = node[key]
                else:
                    node[key] = draw.choice(strange)
                return value
            node = node[key]
        elif isinstance(node, list) and node:
            index = draw.randrange(len(node))
            if draw.random() < 0.3 or not isinstance(node[index], dict | list):
                node[index] = draw.choice(strange)
                return value
            node = node[index]
    return value


def _cut(text: str, draw: random.Random) -> bytes:
    start = draw.randrange(len(text))
    end = start + draw.choice((1, 5, 50, len(text)))
    instead = draw.choice(("", "|", "=", '"', "\\", "<", "]", "\n", "\u00e9", "99999999999999999999", "N/A", " x=y "))
    return (text[:start] + instead + text[end:]).encode()


@pytest.mark.parametrize("name", NAMES)
def test_mutated_records_are_never_lost(shared: Path, name: str) -> None:
    """Whatever a field holds, the record becomes something that can be stored, and mostly more than text."""
    draw = random.Random(name)
    raws = [member(line, "raw") for line in lines(shared, name)]
    # A text is mutated as text: a part of it is gone, or something else stands there.
    values = [json.loads(raw) if raw.lstrip()[:1] in b"{[" else raw.decode() for raw in raws]
    outcome: Counter[str] = Counter()
    reasons = set()
    for _ in range(MUTANTS):
        value = draw.choice(values)
        mutant = _cut(value, draw) if isinstance(value, str) else json.dumps(_mutated(value, draw)).encode()
        if draw.random() < 0.1:
            cut = draw.randrange(len(mutant))
            mutant = mutant[:cut] + bytes([draw.randrange(256)]) + mutant[cut + 1 :]
        (made,) = make(SOURCES[name], [(mutant, None)], TENANT, "2026-11-23T05:00:00.0000000Z", FED)
        assert made.alerts or made.rows or made.objects
        assert made.raw == mutant or mutant[:1] == b'"'
        if not isinstance(value, str):  # a damaged text may well not be the format any more
            outcome["text" if made.warning else "understood"] += 1
            reasons.add(made.warning)
    assert outcome["understood"] >= 0.97 * outcome.total(), reasons
