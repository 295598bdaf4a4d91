"""A tenant's events on their way out of a server and into another, as lines of JSON; and copies of files for a backup.

Source: design of events in ARCHITECTURE.md.
"""

import os
import shutil
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import UTC
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from bartizan.errors import BadRequest, Conflict
from bartizan.lake.buffer import Batch, Lake
from bartizan.lake.manifest import SUFFIX, File, Manifest
from bartizan.lake.scalars import span_text
from bartizan.lake.tables import TABLES, KustoType
from bartizan.model.times import instant

LINE_ROWS = 200  # of one line
APPEND_LINES = 10  # of one append
_BUFFER_ROWS, _BUFFER_BYTES = 10_000, 32 * 2**20  # of one read

_encode = msgspec.json.Encoder().encode


class _Events(Struct, tag_field="kind", tag="events"):
    table: str
    rows: list[dict[str, Any]]


class _End(Struct, tag_field="kind", tag="eventsEnd"):
    rows: int


async def export_events(lake: Lake, manifest: Manifest, tenant: str) -> AsyncIterator[bytes]:
    """Lines, the last of which says how many rows there are. What is appended meanwhile may be in it or not.

    The buffer is read before the manifest: what the flush drops between the two is in files by then.
    """
    buffered: list[Batch] = []
    after = 0
    while found := await lake.read_after(after, limit_rows=_BUFFER_ROWS, limit_bytes=_BUFFER_BYTES, tenant=tenant):
        buffered += found
        after = found[-1].seq
    position, files = await manifest.files(tenant)
    count = 0
    for line, rows in _lines(manifest.folder, files, [batch for batch in buffered if batch.seq > position]):
        count += rows
        yield line
    yield _encode(_End(count)) + b"\n"


def _lines(folder: Path, files: Sequence[File], batches: Sequence[Batch]) -> Iterator[tuple[bytes, int]]:
    if files:
        from bartizan.lake.duck import Duck  # DuckDB is loaded where there are files to read

        duck = Duck(folder, threads=1)
        try:
            for file in files:
                for rows in _of_file(duck, file):
                    yield _line(file.table, rows)
        finally:
            duck.close()
    for batch in batches:
        held = list(batch.rows())
        for first in range(0, len(held), LINE_ROWS):
            yield _line(batch.table, held[first : first + LINE_ROWS])


def _line(table: str, rows: list[dict[str, Any]]) -> tuple[bytes, int]:
    return _encode(_Events(table, rows)) + b"\n", len(rows)


def _of_file(duck: Any, file: File) -> Iterator[list[dict[str, Any]]]:
    """Rows as they were appended, but for the seventh digit of a second."""
    of = TABLES.get(file.table)
    names = {stored: name for name, stored in of.names.items()} if of is not None else {}
    kinds: dict[str, KustoType] = dict(of.kinds) if of is not None else {}
    for columns, rows in duck.stream(file.path, LINE_ROWS):
        known = [(n, names.get(column, column), kinds.get(column, "dynamic")) for n, column in columns]
        yield [
            {name: _value(row[n], kind) for n, name, kind in known if row[n] is not None and row[n] != ""}
            for row in rows
        ]


def _value(value: Any, kind: KustoType) -> Any:
    if kind == "datetime":
        return instant(value.replace(tzinfo=UTC))
    if kind == "timespan":
        return span_text(abs(value), negative=value < 0)
    if kind == "guid":
        return str(value)
    return msgspec.Raw(value.encode()) if kind == "dynamic" else value


async def restore_events(lake: Lake, tenant: str, lines: Iterable[bytes]) -> int:
    """Appends what `export_events` gave; returns the number of rows. 0 where there are no lines: exports of older
    programs have none. BadRequest for what is no such line or is cut off: erase the tenant then, and begin again.
    """
    count, told, held, waiting = 0, -1, 0, []
    for line in lines:
        try:
            read = msgspec.json.decode(line, type=_Events | _End)
        except msgspec.DecodeError as error:
            raise BadRequest(f"not a line of events of an export: {error}") from error
        if isinstance(read, _End):
            told = read.rows
            break
        waiting += [(read.table, row) for row in read.rows]
        held += 1
        if held == APPEND_LINES:
            count += await _append(lake, tenant, waiting)
            held, waiting = 0, []
    count += await _append(lake, tenant, waiting)
    if told not in (-1, count) or (told == -1 and count):
        raise BadRequest(f"the export is cut off: it holds {count} events and should end by saying so")
    return count


async def _append(lake: Lake, tenant: str, rows: list[tuple[str, dict[str, Any]]]) -> int:
    if rows:
        await lake.append(tenant, rows)
    return len(rows)


def copy_files(database_file: Path, folder: Path, into: Path) -> int:
    """Copies (or links, on one file system) the files that a copied buffer.db names; returns how many bytes they have.

    What lies there from an earlier copy and is named still is left as it is; what is not named any more is removed.
    Conflict where a file is missing: it has been put together with others since the database was copied.
    """
    import apsw

    database = apsw.Connection(str(database_file), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        known = database.execute("SELECT 1 FROM sqlite_schema WHERE name = 'lake_files'").fetchall()
        named = database.execute("SELECT path FROM lake_files").fetchall() if known else []
    finally:
        database.close()
    paths, size = {str(path) for (path,) in named}, 0
    if paths:
        into.mkdir(parents=True, exist_ok=True, mode=0o700)
    for path in sorted(paths):
        there, copy = folder / path, into / path
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            try:
                _link(there, copy)
            except FileNotFoundError:
                raise Conflict(f"{there} is not there (any more): make the copy again") from None
        size += copy.stat().st_size
    for copy in [each for each in into.rglob(f"*{SUFFIX}") if each.relative_to(into).as_posix() not in paths]:
        copy.unlink()
    return size


def _link(there: Path, copy: Path) -> None:
    """A file never changes, so that a link is as good as a copy."""
    try:
        os.link(there, copy)
    except FileNotFoundError:
        raise
    except OSError:
        partial = copy.with_name(copy.name + ".partial")
        shutil.copyfile(there, partial)
        partial.replace(copy)
