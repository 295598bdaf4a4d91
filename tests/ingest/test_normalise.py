"""`bartizan normalise` and `bartizan ingest`: lines out, files in."""

import asyncio
import gzip
import io
import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from tests.ingest.conftest import PLAIN, SIGN_INS

from bartizan.extend import SOURCES
from bartizan.ingest import command, files, records
from bartizan.ingest.files import raws_of
from bartizan.ingest.normalise import NO_TENANT, normalise
from bartizan.lake.buffer import open_lake
from bartizan.store import Collection

LINES = [
    b'{"id": 1, "title": "T", "at": "2026-01-01T00:00:00.0000000Z", "hosts": ["pc1"]}',
    b'{"event":"x","user":"ann"}',
]


def shown(*lines: bytes, **options: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in normalise(PLAIN, lines, **options)]


def test_a_line_shows_faces_events_and_entities() -> None:
    first, second, third = shown(*LINES, b'{"signin":"s1"}')
    assert list(first) == ["record", "raw_sha256", "alerts", "events", "entities"]
    assert (first["record"], second["record"]) == (1, 2)
    assert first["raw_sha256"] == sha256(LINES[0]).hexdigest()
    (alert,) = first["alerts"]
    assert list(alert) == ["v2", "legacy"]
    assert alert["v2"]["id"] == alert["legacy"]["id"]
    assert alert["v2"]["tenantId"] == NO_TENANT
    assert alert["v2"]["additionalData"] == {"rawSha256": first["raw_sha256"]}
    assert first["entities"] == [["host", "pc1", ""]]
    assert second["alerts"] == []
    assert second["events"] == [{"table": "PlainEvents", "row": {"Kind": "x"}}]
    assert second["entities"] == [["user", "ann", ""]]
    assert third["events"][0]["table"] == "signIns"
    assert third["events"][0]["row"]["userPrincipalName"] == "ann@example.org"


def test_what_the_store_stamps_is_null() -> None:
    (alert,) = shown(b'{"id":1,"title":"T"}')[0]["alerts"]
    for name in ("createdDateTime", "lastUpdateDateTime", "firstActivityDateTime"):
        assert alert["v2"][name] is None
    for name in ("createdDateTime", "lastModifiedDateTime", "eventDateTime"):
        assert alert["legacy"][name] is None


def test_the_same_input_gives_the_same_bytes() -> None:
    assert list(normalise(PLAIN, LINES)) == list(normalise(PLAIN, LINES))


def test_a_record_that_makes_the_source_fall_over_is_an_error_line() -> None:
    out = shown(b'{"bad":"x"}', b"{}", LINES[0], b'{"a":"' + b"x" * records.MAX_RECORD_BYTES + b'"}')
    assert [list(one) for one in (out[0], out[1], out[3])] == [["record", "error"]] * 3
    assert out[0] == {"record": 1, "error": "KeyError: 'x'"}
    assert "alerts" in out[2]


def test_field_takes_the_record_from_a_member() -> None:
    raw = '{"id": 1,   "title": "T"}'
    lines = [f'{{"n":1,"raw": {raw} }}'.encode(), json.dumps({"raw": raw}).encode(), b'{"other":1}', b"text"]
    one, two, three, four = shown(*lines, field="raw")
    assert one["raw_sha256"] == two["raw_sha256"] == sha256(raw.encode()).hexdigest()
    assert one["alerts"] == two["alerts"] != []
    assert "'raw'" in three["error"]
    assert "error" in four


# ---------------------------------------------------------------- files


def batches(content: bytes) -> list[bytes]:
    return [raw for batch in raws_of(io.BytesIO(content)) for raw in batch]


def test_a_file_may_be_lines_an_array_or_gzip() -> None:
    assert batches(b"\n".join(LINES)) == LINES
    assert batches(b"[" + b",".join(LINES) + b"]") == LINES
    assert batches(gzip.compress(b"\r\n".join(LINES))) == LINES


def test_a_large_file_is_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_BODY_BYTES", 1_000)
    monkeypatch.setattr(files, "_BLOCK_BYTES", 64)
    lines = [json.dumps({"n": number, "x": "y" * (number % 90)}).encode() for number in range(3_000)]
    assert batches(b"\n".join(lines)) == lines
    assert batches(b"\r\n".join(lines) + b"\r\n\n") == lines
    assert [len(batch) for batch in raws_of(io.BytesIO(b"\n".join(lines)))] == [1_000, 1_000, 1_000]


class Around:
    """What the command line hands down."""

    def collections(self) -> tuple[Collection, ...]:
        from bartizan.auth import authority

        return (*authority.COLLECTIONS, SIGN_INS)

    def maker(self) -> tuple[str, ...]:
        return ()


@pytest.fixture(autouse=True)
def known() -> Iterator[None]:
    SOURCES["plain_test"] = PLAIN
    yield
    del SOURCES["plain_test"]


def run(around: Around, *arguments: str | Path, of: click.Command = command.ingest, **more: Any) -> Any:
    return CliRunner().invoke(of, [str(one) for one in arguments], obj=around, **more)


def test_the_command_normalise_prints_a_line_a_record(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    file.write_bytes(b"\n".join(LINES))
    result = run(Around(), "plain_test", file, of=command.normalise)
    assert result.exit_code == 0, result.output
    assert result.stdout_bytes.splitlines() == list(normalise(PLAIN, LINES))


def test_the_command_normalise_names_sources_without_being_told_one(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    file.write_bytes(
        b'{"eventType":"user.session.start","uuid":"x","actor":{"id":"1"},"published":"2026-01-01"}\n{"a":1}\n'
    )
    named = [{"record": 1, "source": "okta"}, {"record": 2, "source": None}]
    for arguments in (("--detect", file), (file, "--detect"), ("auto", "--detect", file)):
        result = run(Around(), *arguments, of=command.normalise)
        assert [json.loads(line) for line in result.stdout.splitlines()] == named, result.output
    wrong: dict[str, tuple[str | Path, ...]] = {
        "say a SOURCE before the FILE": (file,),
        "there are 3 arguments": ("okta", file, file),
        "Missing argument '[SOURCE] FILE'": ("--detect",),
        "does not exist": ("--detect", tmp_path / "none"),
    }
    for why, given in wrong.items():
        result = run(Around(), *given, of=command.normalise)
        assert result.exit_code == 2 and why in result.stderr, result.output


def test_numbers_go_on_over_batches(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    file.write_bytes(b'{"event":"x"}\n' * (files.FILE_BATCH + 1))
    result = run(Around(), "plain_test", file, of=command.normalise)
    assert [json.loads(line)["record"] for line in result.stdout.splitlines()] == list(range(1, files.FILE_BATCH + 2))


def test_the_command_ingest_stores_files_once(tmp_path: Path) -> None:
    around, data = Around(), tmp_path / "data"
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl.gz"
    one.write_bytes(b"\n".join(LINES))
    two.write_bytes(gzip.compress(b'{"id":2,"title":"U"}\n'))
    first = run(around, "plain_test", one, two, "--data", data)
    assert first.exit_code == 0, first.output
    count = json.loads(first.stdout)
    assert (count["accepted"], count["repeats"], count["events"], len(count["ids"])) == (3, 0, 1, 2)
    assert asyncio.run(rows_of(data)) == [{"Kind": "x"}]
    again = json.loads(run(around, "plain_test", one, two, "--data", data).stdout)
    assert again == {"accepted": 0, "repeats": 3, "events": 0, "ids": count["ids"]}


async def rows_of(data: Path) -> list[dict[str, Any]]:
    """What the lake holds, without the times that it gave."""
    lake = open_lake(data)
    await lake.start()
    batches = await lake.read_after(0, limit_rows=10, limit_bytes=10_000)
    await lake.close()
    names = ("Kind", "Message")
    return [{name: row[name] for name in names if row.get(name)} for batch in batches for row in batch.rows()]


def test_a_line_without_the_field_fails_and_hinders_no_other(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    file.write_bytes(b'{"raw":{"id":1,"title":"T"}}\n{"other":1}\n{"raw":{"event":"x"}}\n')
    result = run(Around(), "plain_test", file, "--field", "raw", "--data", tmp_path / "data")
    assert result.exit_code == 1
    assert "record 2" in result.stderr
    assert json.loads(result.stdout)["accepted"] == 2


_CUT_OFF = gzip.compress(LINES[0] * 50)[:-12]
_UNREADABLE = {
    "cut.gz": (_CUT_OFF, "ends early"),
    "cut": (_CUT_OFF, "ends early"),
    "text.gz": (b"no gzip", "no valid gzip"),
    "rotten.gz": (gzip.compress(LINES[0])[:12] + b"\xff" * 20, "no valid gzip"),
    "binary": (b"\x7fELF\0\0", "binary"),
    "utf-16": ("{}".encode("utf-16"), "UTF-8"),
    "array": (b'[{"id":1},', "array"),
}


@pytest.mark.parametrize("name", _UNREADABLE)
@pytest.mark.parametrize("of", [command.ingest, command.normalise])
def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path, of: click.Command, name: str) -> None:
    content, why = _UNREADABLE[name]
    file = tmp_path / name
    file.write_bytes(content)
    more = ("--data", tmp_path / "data") if of is command.ingest else ()
    result = run(Around(), "plain_test", file, *more, of=of)
    assert result.exit_code == 1
    assert str(file) in result.stderr and why in result.stderr


def test_a_file_that_cannot_be_read_hinders_no_other(tmp_path: Path) -> None:
    """What was stored of the others is told; the exit code says that something was not."""
    for name, content in (("one", LINES[0]), ("cut.gz", _CUT_OFF), ("two", LINES[1])):
        (tmp_path / name).write_bytes(content)
    files = [tmp_path / name for name in ("one", "cut.gz", "two")]
    result = run(Around(), "plain_test", *files, "--data", tmp_path / "data")
    assert result.exit_code == 1
    assert "cut.gz" in result.stderr
    assert json.loads(result.stdout)["accepted"] == 2


@pytest.mark.parametrize("of", [command.ingest, command.normalise])
def test_wrong_calls_say_what_is_right(tmp_path: Path, of: click.Command) -> None:
    file = tmp_path / "x"
    file.write_bytes(b'[{"id":1},')
    unknown = run(Around(), "nothing", file, of=of)
    assert (unknown.exit_code, "plain_test" in unknown.output) == (2, True)
    assert run(Around(), "plain_test", tmp_path / "missing", of=of).exit_code == 2
    broken = run(Around(), "plain_test", file, of=of)
    assert (broken.exit_code, "array" in broken.output) == (1, True)


def test_an_unknown_tenant_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(LINES[0])
    result = run(Around(), "plain_test", file, "--data", tmp_path / "data", "--tenant", "nobody")
    assert (result.exit_code, "nobody" in result.output) == (1, True)


def test_sources_are_listed() -> None:
    assert "Acme, Plain" in run(Around(), of=command.sources).output
