"""Files that grow: what is appended is stored, through rotation, from where it was left.

How far a file has been stored stands in the store, under the file's path, with what tells one file of that path from
the next: its device and inode, and the hash of its beginning. Lines are stored before the checkpoint moves. After a
crash some of them come again and count as repeats; only events whose write was cut off between lake and store may then
be there twice, where the lines come again in other parts.

Source: logrotate(8): a file is renamed and a new one made (create), or copied and cut to nothing (copytruncate).
"""

import asyncio
import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

import msgspec
import structlog
from msgspec import Struct

from bartizan.errors import BartizanError
from bartizan.extend import Said, Source
from bartizan.ingest.pipeline import Pipeline
from bartizan.ingest.records import MAX_RECORD_BYTES
from bartizan.store.interface import Store

ACTOR = "bartizan tail"
BLOCK_BYTES = 4 * 2**20
HEAD_BYTES = 256  # of a file that are hashed
LOOK_S = 0.5  # between two looks at a file that does not grow
IDLE_S = 30.0  # after which a last line without an end is taken as it is
PAUSE_S = 2.0  # while the store does not take what was read

_log = structlog.get_logger(__name__)


class Checkpoint(Struct, frozen=True):
    device: int
    inode: int
    head: str  # SHA-256 of the first `head_bytes`
    head_bytes: int
    offset: int  # up to which whole lines are stored


class Tail:
    """One file. `run` follows it until cancelled; `step` takes what there is now."""

    def __init__(
        self, store: Store, pipeline: Pipeline, tenant: str, source: Source, path: Path, *, from_start: bool = True
    ) -> None:
        self._store = store.tenant(tenant)
        self._pipeline = pipeline
        self._tenant = tenant
        self._source = source
        self._path = path
        self._from_start = from_start
        self._key = f"tail/{sha256(f'{source.name} {path.absolute()}'.encode()).hexdigest()}"
        self._file: BinaryIO | None = None
        self._at: Checkpoint | None = None
        self._quiet_s = 0.0

    async def run(self) -> None:
        while True:
            try:
                taken = await self.step()
            except BartizanError as error:
                _log.warning("tail.waits", path=str(self._path), error=error.message)
                await asyncio.sleep(PAUSE_S)
                self._close()  # from the checkpoint again
                continue
            self._quiet_s = 0.0 if taken else self._quiet_s + LOOK_S
            if not taken:
                await asyncio.sleep(LOOK_S)

    async def step(self, *, last: bool = False) -> int:
        """Stores what has been appended, at most BLOCK_BYTES of it; how many bytes. With `last` also a line without an
        end. A file that is not there yet is nothing."""
        if self._file is None and not await self._open():
            return 0
        assert self._file is not None and self._at is not None
        data = await asyncio.to_thread(self._file.read, BLOCK_BYTES)
        end = data.rfind(b"\n") + 1
        gone = not data and self._is_another()
        if not end and data and (last or self._quiet_s >= IDLE_S or len(data) >= BLOCK_BYTES):
            end = len(data)
        if len(data) > end:
            self._file.seek(self._at.offset + end)
        if end:
            await self._stored(data[:end])
        elif gone:
            await self._leave()
        return end

    async def _open(self) -> bool:
        try:
            file = await asyncio.to_thread(self._path.open, "rb")
        except FileNotFoundError:
            return False
        known = await self._store.value(self._key)
        before = None if known is None else msgspec.json.decode(known, type=Checkpoint)
        self._at = _checkpoint(file, before, from_start=self._from_start or known is not None)
        file.seek(self._at.offset)
        self._file = file
        return True

    def _is_another(self) -> bool:
        """Whether the path leads to another file by now, or this one was cut."""
        assert self._file is not None and self._at is not None
        try:
            now = self._path.stat()
        except FileNotFoundError:
            return False  # between two steps of a rotation
        if (now.st_dev, now.st_ino) != (self._at.device, self._at.inode):
            return True
        return now.st_size < self._at.offset

    async def _leave(self) -> None:
        """The last of a file that was rotated away, then the next one from its start."""
        assert self._file is not None and self._at is not None
        if rest := await asyncio.to_thread(self._file.read):
            await self._stored(rest)
        self._close()
        self._from_start = True

    async def _stored(self, data: bytes) -> None:
        assert self._at is not None
        lines = [line.rstrip(b"\r") for line in data.split(b"\n") if line.strip()]
        parts = [line[at : at + MAX_RECORD_BYTES] for line in lines for at in range(0, len(line), MAX_RECORD_BYTES)]
        if len(parts) > len(lines):
            _log.warning("tail.long_line", path=str(self._path), most=MAX_RECORD_BYTES)
        said: Sequence[Said] = [Said(origin=str(self._path))] * len(parts)
        await self._pipeline.take(self._tenant, self._source, parts, actor=ACTOR, said=said)
        assert self._file is not None
        self._at = _moved(self._file, self._at, self._at.offset + len(data))
        value = msgspec.json.encode(self._at)
        await self._store.write(lambda tx: tx.set_value(self._key, value), actor=ACTOR)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = self._at = None

    def close(self) -> None:
        self._close()


def _checkpoint(file: BinaryIO, before: Checkpoint | None, *, from_start: bool) -> Checkpoint:
    """Where to go on: at the old place where it is the same file, else at the start (or the end)."""
    now = os.fstat(file.fileno())
    if before is not None and now.st_size >= before.offset and _head(file, before.head_bytes) == before.head:
        return _moved(file, before, before.offset)
    return _moved(file, None, 0 if from_start else now.st_size)


def _moved(file: BinaryIO, before: Checkpoint | None, offset: int) -> Checkpoint:
    now = os.fstat(file.fileno())
    if before is not None and before.head_bytes == HEAD_BYTES:
        return Checkpoint(now.st_dev, now.st_ino, before.head, HEAD_BYTES, offset)
    size = min(HEAD_BYTES, offset)
    return Checkpoint(now.st_dev, now.st_ino, _head(file, size), size, offset)


def _head(file: BinaryIO, size: int) -> str:
    return sha256(os.pread(file.fileno(), size, 0)).hexdigest()
