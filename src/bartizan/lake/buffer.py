"""The durable, sequenced buffer of events: what every engine promises, and how rows are packed.

Rows that are appended together are stored as one batch for each tenant and table: JSON lines, compressed.

Promises, the same on SQLite and PostgreSQL (`tests/lake` runs one suite on both):

- What is appended is durable when `append` returns, and visible all at once or not at all.
- Batches are numbered in commit order, by all processes together: a reader who has read up to n never finds a batch
  numbered n or lower later.
- Every batch belongs to one tenant.

Source: design of events in ARCHITECTURE.md.
"""

import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec
from msgspec import Struct

from bartizan.errors import TooLarge
from bartizan.lake.coerce import coerce, find
from bartizan.lake.tables import Table
from bartizan.lake.writer import Clock, Db

T = TypeVar("T")
Row = Mapping[str, Any]

# Of one row as JSON. A record of 1 MiB that is kept as text grows by its escapes (up to six times): it must fit.
MAX_ROW_BYTES = 8 * 2**20
MAX_APPEND_ROWS = 100_000
MAX_APPEND_BYTES = 256 * 2**20  # of one append as JSON lines
BATCH_BYTES = 4 * 2**20  # of JSON lines, beyond which rows go into a further batch
CHUNK_ROWS = 256  # that are encoded in one go
LEVEL = 1  # of zlib: level 6 costs three times the CPU for a tenth less

_ONCE = re.compile(r"([A-Za-z][\w.:-]{0,99})/(\d{1,18})(?:-(\d{1,18}))?", re.ASCII)

_encode_lines = msgspec.json.Encoder().encode_lines
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Packed(Struct, frozen=True):
    """A batch on its way in. Times are the earliest and the latest of its rows; None in a table without time."""

    table: str
    count: int
    first: str | None
    last: str | None
    fields: str  # the names that its rows hold, with commas
    plain_bytes: int
    data: bytes


class Batch(Struct, frozen=True):
    """Rows of one tenant and table that were appended together."""

    seq: int
    tenant: str
    table: str
    count: int
    first: str | None  # earliest and latest time of the rows, wire form
    last: str | None
    fields: str | None  # the names that the rows hold, with commas; None: written before they were noted
    plain_bytes: int  # of the JSON lines
    data: bytes  # the JSON lines, compressed by zlib

    def lines(self) -> bytes:
        """JSON lines, each ended by a line feed."""
        return zlib.decompress(self.data, bufsize=self.plain_bytes)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Decoded one by one, in the order in which they were appended."""
        return (_decode(line) for line in self.lines().splitlines())


class Sizes(Struct, frozen=True):
    """What the buffer holds."""

    batches: int
    rows: int
    plain_bytes: int
    stored_bytes: int


class Span(Struct, frozen=True):
    """The part of a stage's input that an append stands for."""

    stage: str
    first: int
    last: int


class Lake(Protocol):
    """Start it before anything else; close it at the end."""

    async def start(self) -> None:
        """Creates the tables; refuses those of a newer program. Unavailable where there is no database to be had."""
        ...

    async def close(self) -> None: ...

    async def append(
        self, tenant: str, rows: Sequence[tuple[str, Row]], *, once: str | None = None, received: str | None = None
    ) -> int:
        """Stores (table, row) pairs, made to fit their tables by `coerce`; returns the number of the last batch.

        `once`, "stage/first-last" (or "stage/n"), says which part of a stage's ordered input the rows stand for: what
        the stage has appended for this tenant already is not appended again, and the number is that of then. Conflict
        where only a beginning of it was: ask `appended` and leave that out.

        BadRequest for a table that is not in the catalogue, TooLarge above the bounds, StorageFull, Unavailable;
        nothing is half there.
        """
        ...

    async def appended(self, tenant: str, stage: str) -> int:
        """The highest `last` of a stage's appends for a tenant; 0 if there was none."""
        ...

    async def forget(self, tenant: str, stage: str) -> None:
        """Drops what `once` remembers of a stage for a tenant: its input has been numbered anew."""
        ...

    async def read_after(
        self, seq: int, *, limit_rows: int, limit_bytes: int, tenant: str | None = None, table: str | None = None
    ) -> list[Batch]:
        """Whole batches behind `seq`, in order, within the limits (bytes as JSON lines), but one at least."""
        ...

    async def drop_through(self, seq: int) -> int:
        """Removes the batches up to and with `seq`; returns how many. Their numbers are never given again."""
        ...

    async def head(self) -> int:
        """The highest number that was given to a batch that is visible or was dropped."""
        ...

    async def erase(self, tenant: str) -> int:
        """Removes all of a tenant, the marks of `once` too, and takes its files out of the manifest; returns how many
        rows there were. `manifest.Manifest.erase` does that and removes the files."""
        ...

    async def sizes(self) -> Sizes: ...

    async def read(self, work: Callable[[Db], T]) -> T:
        """Runs statements on the buffer's database, where the manifest of files is kept too. Raises ours."""
        ...

    async def write(self, work: Callable[[Db, Clock], T], size: int = 0) -> T:
        """The same in a transaction, ordered with all appends. `work` may run more than once."""
        ...

    async def backup(self, path: str) -> None:
        """A consistent copy while serving (SQLite: online backup to `path`; PostgreSQL: NotServed, use pg_dump)."""
        ...


def span(once: str) -> Span:
    match = _ONCE.fullmatch(once)
    if match is None or int(match[2]) > int(match[3] or match[2]):
        raise ValueError(f"{once[:120]!r} names no part of a stage's input; expected such as copy/17-42")
    return Span(match[1], int(match[2]), int(match[3] or match[2]))


def pack(rows: Sequence[tuple[str, Row]], received: str | None) -> list[Packed]:
    """One batch a table, in the order in which the tables come; more where a batch would grow beyond BATCH_BYTES."""
    if len(rows) > MAX_APPEND_ROWS:
        raise TooLarge(f"{len(rows)} events at once; the most is {MAX_APPEND_ROWS}")
    groups: dict[str, list[Row]] = {}
    for name, row in rows:
        groups.setdefault(name, []).append(row)
    by_table: dict[str, tuple[Table, list[Row]]] = {}
    for name, group in groups.items():
        of = find(name)
        by_table.setdefault(of.name, (of, []))[1].extend(group)
    packed: list[Packed] = []
    total = 0
    for of, group in by_table.values():
        for one in _batches(of, group, received):
            packed.append(one)
            total += one.plain_bytes
            if total > MAX_APPEND_BYTES:
                raise TooLarge(f"more than {MAX_APPEND_BYTES} bytes of events at once")
    return packed


def _batches(of: Table, rows: Sequence[Row], received: str | None) -> Iterator[Packed]:
    held = _Held(of)
    for start in range(0, len(rows), CHUNK_ROWS):
        made = [coerce(of, row, received=received) for row in rows[start : start + CHUNK_ROWS]]
        text = _encode_lines(made)
        if len(text) < min(BATCH_BYTES, MAX_ROW_BYTES):
            if held.size + len(text) >= BATCH_BYTES:
                yield from held.packed()
            held.add(text, made)
            continue
        for row in made:  # large ones, each by itself
            line = _encode_lines([row])
            if len(line) > MAX_ROW_BYTES:
                raise TooLarge(f"a row of {of.name} has {len(line)} bytes; the most is {MAX_ROW_BYTES}")
            if held.size + len(line) >= BATCH_BYTES:
                yield from held.packed()
            held.add(line, [row])
    yield from held.packed()


class _Held:
    """Rows of a table on their way into a batch."""

    __slots__ = ("_count", "_fields", "_of", "_texts", "_times", "size")

    def __init__(self, of: Table) -> None:
        self._of = of
        self._clear()

    def _clear(self) -> None:
        self._texts: list[bytes] = []
        self._times: list[str] = []
        self._fields: set[str] = set()
        self._count = self.size = 0

    def add(self, text: bytes, rows: Sequence[Row]) -> None:
        self._texts.append(text)
        self.size += len(text)
        self._count += len(rows)
        self._fields.update(*rows)
        if (time := self._of.time) is not None:
            times = [row[time] for row in rows]
            self._times += [min(times), max(times)]

    def packed(self) -> Iterator[Packed]:
        """What is held, as a batch; none of nothing."""
        if self._count:
            text = b"".join(self._texts)
            first, last = (min(self._times), max(self._times)) if self._times else (None, None)
            fields = ",".join(sorted(self._fields))
            yield Packed(self._of.name, self._count, first, last, fields, len(text), zlib.compress(text, LEVEL))
            self._clear()


def open_lake(target: str | Path, **limits: Any) -> Lake:
    """A lake that has not been started. `target`: a PostgreSQL DSN or a folder (its buffer.db).

    `limits` are the fields of `engine.Limits`.
    """
    from bartizan.lake.engine import Limits

    bounds = Limits(**limits)
    if str(target).startswith(("postgresql://", "postgres://")):
        from bartizan.lake.postgres import PostgresLake

        return PostgresLake(str(target), bounds)
    from bartizan.lake.sqlite import FILE, SqliteLake

    return SqliteLake(Path(target) / FILE, bounds)
