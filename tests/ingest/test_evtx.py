"""Event logs in binary form: every event a record, damage said and bounded."""

import contextlib
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ingest.event_log import event_log, logon

from bartizan.errors import BadRequest, TooLarge
from bartizan.extend import SOURCES
from bartizan.ingest import evtx, files, records
from bartizan.ingest.made import normalised

LOG = event_log([logon(number, f"user{number}", f"203.0.113.{number}") for number in range(1, 21)])


def test_each_event_is_a_record_that_its_source_reads() -> None:
    raws = records.split(LOG)
    assert len(raws) == 20
    rows = []
    for raw in raws:
        record = records.record(raw)
        source = SOURCES["auto"].chosen(record)
        assert source.name == "windows_event"
        rows += [event.row for event in normalised(source, record).events if event.table == "SecurityEvent"]
    assert [(row["TargetUserName"], row["IpAddress"], row["EventID"]) for row in rows] == [
        (f"user{number}", f"203.0.113.{number}", 4625) for number in range(1, 21)
    ]
    assert {row["Computer"] for row in rows} == {"dc1.contoso.example"}


def test_a_file_gives_the_same_however_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "Security.evtx"
    file.write_bytes(LOG)
    small = [raw for batch in files.raws_in(file) for raw in batch]
    monkeypatch.setattr(records, "MAX_BODY_BYTES", 10_000)
    assert [raw for batch in files.raws_in(file) for raw in batch] == small == records.split(LOG)


def test_a_damaged_event_is_said_and_hides_no_other() -> None:
    at = LOG.index(b"**\0\0", LOG.index(b"**\0\0") + 1)  # the second event
    broken = LOG[: at + 30] + b"\xee" * 8 + LOG[at + 38 :]
    raws = list(evtx.events(io.BytesIO(broken)))
    assert len(raws) == 20
    assert [raw.startswith(b"An event of the log is damaged") for raw in raws] == [n == 1 for n in range(20)]


def test_what_is_no_log_is_refused() -> None:
    for content in (b"ElfFile\0", b"ElfFile\0" + b"\xff" * 5_000):
        with pytest.raises(BadRequest, match="event log"):
            records.split(content)


def test_a_log_that_holds_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_EVTX_BYTES", 5_000)
    with pytest.raises(TooLarge):
        records.split(LOG)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(8, len(LOG) - 1), st.binary(min_size=1, max_size=4)), min_size=1, max_size=6))
def test_no_damage_does_more_than_refuse(damage: list[tuple[int, bytes]]) -> None:
    content = bytearray(LOG[:20_000])
    for at, put in damage:
        at %= len(content) - 4
        content[max(8, at) : max(8, at) + len(put)] = put
    with contextlib.suppress(BadRequest, TooLarge):
        records.split(bytes(content))
