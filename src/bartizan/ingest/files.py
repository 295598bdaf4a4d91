"""Records from files, for `bartizan ingest` and `bartizan normalise`."""

import gzip
import sys
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct

from bartizan.errors import BadRequest, TooLarge
from bartizan.extend import Source
from bartizan.ingest import evtx, records
from bartizan.ingest.pipeline import Pipeline, Receipt

FILE_BATCH = 1_000  # lines that are handed over at once
MAX_LINE_BYTES = 16 * records.MAX_RECORD_BYTES  # of a file: a record may stand in it as one member of many
_BLOCK_BYTES = 4 * 2**20


class BadFile(BadRequest):
    """A file that cannot be read, or not to its end; the message names it."""


class Fault(Struct, frozen=True):
    """A line of a file that gave no record; without `record`, a file that could not be read to its end."""

    file: str
    record: int | None
    error: str

    def __str__(self) -> str:
        return self.error if self.record is None else f"{self.file}, record {self.record}: {self.error}"


class FilesReceipt(Struct):
    """What became of files."""

    total: Receipt
    faults: list[Fault]


def raws_of(stream: BinaryIO) -> Iterator[list[bytes]]:
    """The lines or array elements of a file in batches. A file up to MAX_BODY_BYTES may be whatever a body may be, a
    larger one must be lines. TooLarge, BadRequest as for a body."""
    head = stream.read(records.MAX_BODY_BYTES + 1)
    if evtx.is_evtx(head) and len(head) > records.MAX_BODY_BYTES:
        if not stream.seekable():
            raise BadRequest("the file is a large event log: give it by its name")
        stream.seek(0)
        yield from _batched(evtx.events(stream))
        return
    if records.is_gzip(head):
        if len(head) > records.MAX_BODY_BYTES:
            raise BadRequest("the file is a large gzip: name it .gz so that it is read in parts")
        head = records.gunzip(head)
    if len(head) <= records.MAX_BODY_BYTES:
        found = records.split(head, max_record_bytes=MAX_LINE_BYTES, max_records=len(head) + 1)
        yield from (found[start : start + FILE_BATCH] for start in range(0, len(found), FILE_BATCH))
        return
    yield from _batched(_long_lines(head, stream))


def _batched(raws: Iterator[bytes]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    for raw in raws:
        batch.append(raw)
        if len(batch) == FILE_BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _long_lines(rest: bytes, stream: BinaryIO) -> Iterator[bytes]:
    while rest:
        more = stream.read(_BLOCK_BYTES)
        whole, newline, tail = rest.rpartition(b"\n") if more else (rest, b"", b"")
        if newline or not more:
            yield from records.lines(whole)
        if len(tail) > MAX_LINE_BYTES:
            raise TooLarge(f"a line has more than {MAX_LINE_BYTES} bytes")
        rest = tail + more


def raws_in(path: Path) -> Iterator[list[bytes]]:
    """The same of a file, of what is inside a .gz, or of standard input for `-`. BadFile where it cannot be read."""
    try:
        with _opened(path) as stream:
            yield from raws_of(stream)
    except (BadRequest, TooLarge) as error:
        raise BadFile(f"{path}: {error.message}") from None
    except EOFError:  # gzip's word for a file that was cut off
        raise BadFile(f"{path}: it is no valid gzip: it ends early") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise BadFile(f"{path}: it is no valid gzip: {error}") from None
    except OSError as error:
        raise BadFile(f"{path}: it cannot be read: {error.strerror or error}") from None


def _opened(path: Path) -> BinaryIO:
    if str(path) == "-":
        return sys.stdin.buffer
    if path.suffix == ".gz":
        return gzip.open(path, "rb")  # type: ignore[return-value]
    return path.open("rb")


async def ingest_files(
    pipeline: Pipeline, tenant: str, source: Source, paths: Sequence[Path], *, field: str | None = None, actor: str
) -> FilesReceipt:
    """Stores the records of files, in order. A line without the member `field`, or a file that cannot be read, is a
    fault and hinders no other."""
    done = FilesReceipt(Receipt(), [])
    read = records.reader(field)
    for path in paths:
        number = 0
        try:
            for batch in raws_in(path):
                raws: list[bytes] = []
                for line in batch:
                    number += 1
                    try:
                        raws.append(records.checked(read(line)))
                    except records.Unreadable as error:
                        done.faults.append(Fault(str(path), number, str(error)))
                done.total.add(await pipeline.take(tenant, source, raws, actor=actor))
        except BadFile as error:
            done.faults.append(Fault(str(path), None, error.message))
    return done
