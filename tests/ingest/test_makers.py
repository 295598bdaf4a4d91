"""Records that another process reads: the same as read here, whatever happens to that process."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bartizan.sources  # noqa: F401 - registers them
from bartizan.api import load
from bartizan.extend import SOURCES, Event, Record, Said, Source, collections
from bartizan.ingest import makers as module
from bartizan.ingest.made import Given, Made
from bartizan.ingest.makers import Makers, made_of
from bartizan.store import Collection

pytestmark = pytest.mark.anyio
HERE = Path(__file__).parent
COMMAND = (sys.executable, str(HERE / "maker.py"))
AT = "2026-01-01T00:00:00.0000000Z"
TENANT = "7d0a1c86-3a3f-4a4e-9f0f-0123456789ab"


class Fatal(Source):
    """Stands for the one of `maker.py`."""

    name = "fatal_test"
    vendor = product = "Test"

    def normalise(self, record: Record) -> Iterator[Event]:
        yield Event("GenericEvents", {"Message": record.text})


FATAL = SOURCES.pop("fatal_test")


def sets() -> dict[str, Collection]:
    load()
    return {each.name: each for each in collections() if each.type is not None}


@pytest.fixture
async def makers(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Makers]:
    monkeypatch.setitem(SOURCES, "fatal_test", FATAL)
    one = Makers(COMMAND, sets())
    one.ready(FATAL, module.BULK_RECORDS)
    await one.started()
    assert one.ready(FATAL, 1)
    yield one
    await one.close()


def cases(name: str) -> list[bytes]:
    """Records as the shared ones are, written for the tests of the source."""
    found = [json.loads(path.read_text("utf-8")) for path in sorted((HERE.parent / "sources" / name).glob("*.json"))]
    assert found
    return [(each["text"] if "text" in each else json.dumps(each["payload"])).encode() for each in found]


async def test_a_process_gives_what_this_one_gives(makers: Makers) -> None:
    """Alerts with their rendered faces, events, Graph objects, records that nobody can read; what the way said, too."""
    for name in ("wazuh", "crowdstrike_falcon", "okta", "entra_id_logs", "falco", "auto"):
        source = SOURCES[name]
        said = Said(at="2026-02-03T04:05:06Z", host="edge-1")
        records: list[Given] = [(raw, None) for raw in cases("wazuh" if name == "auto" else name)]
        records += [(b"no record of this kind", said), (b"{", None)]
        assert await makers.make(source, records, TENANT, AT) == made_of(source, records, TENANT, AT, sets()), name


ROWS = st.dictionaries(
    st.text(max_size=4),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8) | st.binary(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)


@given(st.lists(ROWS, max_size=30))
def test_a_frame_gives_what_went_into_it(rows: list[dict[str, Any]]) -> None:
    """Also what MessagePack cannot write."""
    made = [Made(source="s", raw=b"r", sha256="0", rows=[("GenericEvents", row)]) for row in rows]
    assert module.unpacked(module.packed(made)) == made


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, "half \ud800"])
async def test_what_messagepack_cannot_write_comes_too(value: object) -> None:
    made = [Made(source="s", raw=b"r", sha256="0", rows=[("GenericEvents", {"Message": [value]})])]
    assert module.unpacked(module.packed(made)) == made


async def test_a_process_that_is_killed_loses_nothing(makers: Makers) -> None:
    records = [(f"record {number}".encode(), None) for number in range(60)]
    (maker,) = makers._all
    assert maker._process is not None
    os.kill(maker._process.pid, signal.SIGKILL)
    made = await makers.make(FATAL, records, TENANT, AT)
    assert [one.raw for one in made] == [raw for raw, _ in records]
    assert all(one.warning is None for one in made)


@pytest.mark.parametrize("fatal", ["die", "hang", "odd"])
async def test_a_record_that_ends_the_process_or_its_answer_is_kept_as_text(
    makers: Makers, fatal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GROUP_S", 1.0)
    records = [(each.encode(), None) for each in ("a", "b", fatal, "c", "d")]
    made = await makers.make(FATAL, records, TENANT, AT)
    assert [one.raw for one in made] == [raw for raw, _ in records]
    assert [one.warning is not None for one in made] == [False, False, True, False, False]
    assert made[2].rows[0][1]["AdditionalFields"]["raw"] == fatal


async def test_it_ends_when_no_bulk_comes_and_starts_again(makers: Makers, monkeypatch: pytest.MonkeyPatch) -> None:
    (maker,) = makers._all
    process = maker._process
    assert process is not None
    monkeypatch.setattr(module, "IDLE_S", 0.0)
    makers._watch()
    assert process.poll() is not None
    assert (await makers.make(FATAL, [(b"alone", None)], TENANT, AT))[0].rows
    assert not makers.ready(FATAL, module.BULK_RECORDS - 1)
    monkeypatch.undo()
    assert SOURCES.get("fatal_test") is None
    wazuh = SOURCES["wazuh"]
    makers.ready(wazuh, module.BULK_RECORDS)
    await makers.started()
    records: list[Given] = [(raw, None) for raw in cases("wazuh")]
    assert await makers.make(wazuh, records, TENANT, AT) == made_of(wazuh, records, TENANT, AT, sets())


async def test_none_is_wanted_for_few_records_or_a_source_of_ones_own() -> None:
    none = Makers(COMMAND, sets())
    assert not none.ready(SOURCES["wazuh"], module.BULK_RECORDS - 1)
    assert not none.ready(FATAL, 1_000)
    assert not none._starting
    await none.close()


async def test_its_end_of_the_line_closed_it_ends(makers: Makers) -> None:
    """As when the process that began it was killed."""
    (maker,) = makers._all
    assert maker._line is not None and maker._process is not None
    maker._line.close()
    assert await asyncio.to_thread(maker._process.wait, 10) == 0
