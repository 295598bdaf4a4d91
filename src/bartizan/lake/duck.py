"""DuckDB as the lake writes with it: batches into rows, rows into files, files into one. Types: `columns`.

A column that no row of a file has is left out of the file, which makes writing three times as cheap; whoever reads
gives '' or NULL in its place (`storage`).

Source: DuckDB, "JSON loading", "Parquet", "Securing DuckDB"; Kusto scalar data types.
"""

import contextlib
import os
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import msgspec
from msgspec import Struct

from bartizan.errors import Unavailable
from bartizan.lake.buffer import Batch
from bartizan.lake.coerce import coerce
from bartizan.lake.columns import ADDED, SQL, literal, quoted
from bartizan.lake.manifest import PARTS, SUFFIX
from bartizan.lake.tables import EXTRA, TABLES, KustoType, Table

_READ = {**SQL, "dynamic": "JSON", "timespan": "VARCHAR"}
_SPAN = r"^(-?)(?:(\d+)\.)?(\d\d):(\d\d):(\d\d)(?:\.(\d{7}))?$"

CLOSE_S = 5.0  # for what another thread is at to end

_encode = msgspec.json.Encoder().encode

Ends = tuple[int | None, int | None]  # microseconds since 1970


class Written(Struct, frozen=True):
    """A file that is durable under its final name."""

    path: str  # below the lake's folder
    rows: int
    bytes: int
    first_us: int | None
    last_us: int | None


def _ticks(column: str) -> str:
    part = ", ".join(f"'{name}'" for name in "sdhmcf")
    return (
        f"(SELECT CASE WHEN p IS NULL OR p.c = '' THEN NULL ELSE (CASE p.s WHEN '-' THEN -1 ELSE 1 END) * "
        "(coalesce(try_cast(p.d AS HUGEINT), 0) * 864000000000 + p.h::HUGEINT * 36000000000 + p.m::HUGEINT * 600000000"
        " + p.c::HUGEINT * 10000000 + coalesce(try_cast(p.f AS HUGEINT), 0)) END::BIGINT "
        f"FROM (SELECT regexp_extract({column}, {literal(_SPAN)}, [{part}]) AS p))"
    )


def _expression(stored: str, kind: KustoType) -> str:
    name = quoted(stored)
    if kind == "string":
        return f"coalesce({name}, '')"
    if kind == "dynamic":
        return f"{name}::VARCHAR"
    return _ticks(name) if kind == "timespan" else name


class Duck:
    """One DuckDB in memory, for one thread, which may touch nothing but the lake's folder and reaches no network."""

    def __init__(self, folder: Path, *, threads: int = 2, memory_mb: int = 512) -> None:
        self.folder = folder.absolute()
        if any(each in str(self.folder) for each in "*?["):
            raise Unavailable(f"the lake cannot be in {self.folder}: a path with *, ? or [ is a pattern to DuckDB")
        parts = self.folder / PARTS
        for each in (self.folder, parts):  # events are for their owner alone
            each.mkdir(parents=True, exist_ok=True, mode=0o700)
        spill = parts / f"spill-{uuid.uuid4().hex}"
        self._db = duckdb.connect(
            ":memory:",
            config={
                "threads": threads,
                "memory_limit": f"{memory_mb}MB",
                "temp_directory": str(spill),
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            },
        )
        self._db.execute(f"SET allowed_directories = [{literal(str(self.folder))}]")
        self._db.execute("SET enable_external_access = false")
        self._db.execute("SET lock_configuration = true")

    def close(self) -> None:
        """Also while another thread works with it: what runs there ends with an error, and what comes next too."""
        until = time.monotonic() + CLOSE_S
        while True:
            self._db.interrupt()
            try:
                self._db.close()
            except duckdb.ResourceInUseException:
                if time.monotonic() > until:
                    raise
                time.sleep(0.01)
            else:
                return

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = self._db.execute(sql).fetchall()
        return found

    def stream(self, path: str, size: int) -> Iterator[tuple[list[tuple[int, str]], list[tuple[Any, ...]]]]:
        """Columns of a file, numbered, without those that the flush adds; with each some rows, `size` at most."""
        found = self._db.execute(f"FROM read_parquet({literal(str(self.folder / path))})")
        columns = [(n, name) for n, (name, *_) in enumerate(found.description) if name not in ADDED]
        while rows := found.fetchmany(size):
            yield columns, rows

    def run(self, sql: str) -> None:
        self._db.execute(sql)

    # ------------------------------------------------------------ batches into rows

    @contextlib.contextmanager
    def reading(self, table: str, batches: Sequence[Batch], added: str) -> Iterator[tuple[str, list[str]]]:
        """A SELECT of the rows of batches of one table, valid within the block, and the stored names of its columns:
        those that the rows have. `added`: further columns as SQL.

        What the catalogue does not know (another version of the program wrote it) is kept as the rest.
        """
        of = TABLES.get(table)
        if of is None:
            with self.reading_text(table, batches, added) as read:
                yield read
            return
        fields = _fields(of, batches)
        kinds = {name: kind for name, kind in of.kinds.items() if name in fields}
        spec = ", ".join(f"{quoted(name)}: '{_READ[kind]}'" for name, kind in kinds.items())
        made = [f"{_expression(name, kind)} AS {quoted(name)}" for name, kind in kinds.items()]
        with self._lines(_lines(of, batches)) as file:
            yield f"SELECT {', '.join([*made, added])} FROM {_read(file, spec)}", list(kinds)

    @contextlib.contextmanager
    def reading_text(self, table: str, batches: Sequence[Batch], added: str) -> Iterator[tuple[str, list[str]]]:
        """The same with rows as the text that they are, beside their time: nothing in them can be at odds."""
        of = TABLES.get(table)
        time = of.time if of is not None else None
        rest = quoted(of.stored(of.rest) if of is not None else EXTRA)
        wrapped = (
            ({EXTRA: row} | ({time: row.get(time)} if time else {})) for batch in batches for row in batch.rows()
        )
        named = f"try_cast({quoted(time)} AS TIMESTAMP) AS {quoted(time)}, " if time else ""
        spec = f"{quoted(EXTRA)}: 'JSON'" + (f", {quoted(time)}: 'VARCHAR'" if time else "")
        with self._lines(_encode(each) + b"\n" for each in wrapped) as file:
            select = f"SELECT {named}{quoted(EXTRA)}::VARCHAR AS {rest}, {added} FROM {_read(file, spec)}"
            yield select, [time] if time else []

    @contextlib.contextmanager
    def held(self, select: str) -> Iterator[str]:
        """The rows in memory, as a name for FROM, so that they can be asked more than once."""
        self.run(f"CREATE OR REPLACE TEMP TABLE held AS {select}")
        try:
            yield "held"
        finally:
            self.run("DROP TABLE held")

    @contextlib.contextmanager
    def _lines(self, pieces: Iterable[bytes]) -> Iterator[Path]:
        path = self.folder / PARTS / f"{uuid.uuid4().hex}.jsonl"
        try:
            with path.open("xb") as file:
                file.writelines(pieces)
            yield path
        finally:
            path.unlink(missing_ok=True)

    # ------------------------------------------------------------ rows into files

    def write(self, select: str, time: str | None, path: str, ends: Ends | None = None) -> Written:
        """`select` sorted by its time into a durable file; nothing has that name before it is whole.

        `ends`: the first and the last time, where they are known.
        """
        part = self.folder / PARTS / f"{uuid.uuid4().hex}{SUFFIX}"
        order = f" ORDER BY {quoted(time)}" if time else ""
        try:
            copied = self.rows(f"COPY ({select}{order}) TO {literal(str(part))} (FORMAT parquet, COMPRESSION zstd)")
            if ends is None:
                ends = self._ends(part, time)
            made = Written(path, int(copied[0][0]), part.stat().st_size, *ends)
            _settle(part, self.folder / path)
        finally:
            part.unlink(missing_ok=True)
        return made

    def _ends(self, part: Path, time: str | None) -> Ends:
        if time is None:
            return None, None
        name, file = quoted(time), literal(str(part))
        return self.rows(f"SELECT epoch_us(min({name})), epoch_us(max({name})) FROM read_parquet({file})")[0]

    def days(self, source: str, time: str) -> list[int]:
        """The days of rows, counted from 1970, the fullest first."""
        day = day_of(time)
        sql = f"SELECT {day} AS d FROM {source} WHERE {quoted(time)} IS NOT NULL GROUP BY d ORDER BY count(*) DESC, d"
        return [int(found) for (found,) in self.rows(sql)]

    def schema(self, paths: Sequence[str]) -> dict[str, str]:
        """Columns and SQL types of files together."""
        files = self.listed(paths)
        sql = f"DESCRIBE SELECT * FROM read_parquet({files}, union_by_name = true)"
        return {str(name): str(kind) for name, kind, *_ in self.rows(sql)}

    def listed(self, paths: Sequence[str]) -> str:
        return "[" + ", ".join(literal(str(self.folder / path)) for path in paths) + "]"


def day_of(time: str) -> str:
    """The day of a time, counted from 1970."""
    return f"date_diff('day', TIMESTAMP '1970-01-01', {quoted(time)})"


def _read(file: Path, spec: str) -> str:
    return f"read_json({literal(str(file))}, format = 'newline_delimited', auto_detect = false, columns = {{{spec}}})"


def _fields(of: Table, batches: Sequence[Batch]) -> set[str]:
    """Stored names of what the batches hold; the rest takes what the catalogue lacks."""
    fields: set[str] = set()
    for batch in batches:
        names = of.names if batch.fields is None else batch.fields.split(",")
        fields.update(of.stored(name if name in of.names else of.rest) for name in names)
    return fields


def _lines(of: Table, batches: Sequence[Batch]) -> Iterator[bytes]:
    """JSON lines under stored names; what a column was of another program's catalogue goes to the rest."""
    renamed = {name: stored for name, stored in of.names.items() if name != stored}
    for batch in batches:
        names = set(of.names) if batch.fields is None else set(batch.fields.split(","))
        if batch.fields is not None and names <= of.names.keys() and renamed.keys().isdisjoint(names):
            yield batch.lines()
            continue
        for row in batch.rows():
            made = row if row.keys() <= of.names.keys() else coerce(of, row)
            yield _encode({renamed.get(name, name): value for name, value in made.items()}) + b"\n"


def _settle(part: Path, path: Path) -> None:
    """Durable under its final name, its owner's alone. A sweep may remove the folder at any moment while it is
    empty."""
    part.chmod(0o600)
    with part.open("rb") as file:
        os.fsync(file.fileno())
    for last in (False, False, True):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            part.replace(path)
            for folder in list(path.parents)[:3]:
                _sync(folder)
            return
        except FileNotFoundError:
            if last:
                raise


def _sync(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
