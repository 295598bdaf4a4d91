"""Records of bulks are read in processes of their own: Python reads one record after another, and what answers requests
is not to wait for it.

A process starts with the first bulk and ends when none has come for a while; until it is ready, and for a few records,
the caller's own process reads. What ends a process or holds it up is found by halves and kept as text; the records
beside it are not touched.

Over a socket, in frames: first the placeholders of the store's stamps, then the collections; then requests, each
answered by a frame for every GROUP of records. Answers are MessagePack, which takes a quarter of the time that pickle
takes; what that cannot write (a number beyond 64 bits, half a surrogate pair) comes as a pickle, as all the others do.

Source: MessagePack specification. A frame of it is an array, which begins with another byte than a pickle.
"""

import asyncio
import contextlib
import pickle
from collections.abc import Mapping, Sequence
from hashlib import sha256
from multiprocessing.connection import Connection
from typing import TypeAlias

import msgspec
import structlog

from bartizan.child import Child
from bartizan.extend import SOURCES, Record, Source
from bartizan.ingest.made import Given, Made, generic, make
from bartizan.model import stamps
from bartizan.store.interface import Collection

Request: TypeAlias = tuple[str, str, str, list[Given]]  # the source's name, the tenant, the time of receipt

BULK_RECORDS = 50  # of a bulk for which a process is started
GROUP = 24  # read step by step, and taken in at once, which holds the interpreter for less than a millisecond
GROUP_S = 20.0  # to read so many; beyond that the process is ended
START_S = 30.0
IDLE_S = 60.0

_PICKLE = b"\x80"  # how it begins; an array begins with 0x90 to 0x9f, 0xdc or 0xdd

_written = msgspec.msgpack.Encoder().encode
_read = msgspec.msgpack.Decoder(list[Made]).decode
_log = structlog.get_logger(__name__)


class Makers:
    """At most `most` processes, each started by `command` with the number of its socket behind it. Of one event loop;
    `close` it at the end."""

    def __init__(self, command: Sequence[str], collections: Mapping[str, Collection], *, most: int = 1) -> None:
        self._command = command
        self._collections = collections
        self._most = most
        self._all: set[_Maker] = set()
        self._free: asyncio.Queue[_Maker] = asyncio.Queue()
        self._starting: set[asyncio.Task[None]] = set()
        self._used = 0.0  # by the loop's clock
        self._closed = False

    def ready(self, source: Source, records: int) -> bool:
        """Whether a process may read a bulk of so many; starts one where that is worth while."""
        if SOURCES.get(source.name) is not source:
            return False
        if records >= BULK_RECORDS and len(self._all) + len(self._starting) < self._most and self._free.empty():
            task = asyncio.create_task(self._start())
            self._starting.add(task)
            task.add_done_callback(self._starting.discard)
        return bool(self._all)

    async def make(self, source: Source, chunk: Sequence[Given], tenant: str, received: str) -> list[Made]:
        """What `made.make` gives for each record, in order. Where no process runs, this one reads."""
        if not self._all:
            return await asyncio.to_thread(made_of, source, chunk, tenant, received, self._collections)
        self._used = asyncio.get_running_loop().time()
        maker = await self._free.get()
        try:
            return await asyncio.to_thread(self._asked, maker, source, chunk, tenant, received)
        finally:
            self._free.put_nowait(maker)

    def _asked(self, maker: "_Maker", source: Source, chunk: Sequence[Given], tenant: str, received: str) -> list[Made]:
        """In a thread. A process that ends is started again, and what it was asked comes again by halves."""
        try:
            return maker.ask((source.name, tenant, received, list(chunk)))
        except (EOFError, OSError, TimeoutError, msgspec.DecodeError) as problem:
            if self._closed:
                return made_of(source, chunk, tenant, received, self._collections)
            _log.error("ingest.maker_ended", source=source.name, records=len(chunk), error=repr(problem))
            maker.kill()
            maker.begin()
        if len(chunk) == 1:
            raw = chunk[0][0]
            record = Record(raw, raw.decode("utf-8", "backslashreplace"), None)
            why = "reading it took too long, ended the process that read it, or gave nothing that can be passed on"
            return [generic(record, sha256(raw).hexdigest(), source.name, received, why)]
        half = len(chunk) // 2
        return [
            *self._asked(maker, source, chunk[:half], tenant, received),
            *self._asked(maker, source, chunk[half:], tenant, received),
        ]

    async def _start(self) -> None:
        maker = _Maker(self._command, self._collections)
        try:
            await asyncio.to_thread(maker.begin)
        except (EOFError, OSError, TimeoutError):
            _log.exception("ingest.maker_did_not_start")
            return
        self._all.add(maker)
        self._free.put_nowait(maker)
        self._used = asyncio.get_running_loop().time()
        self._watch()

    def _watch(self) -> None:
        """Ends the processes when no bulk has come for a while."""
        loop = asyncio.get_running_loop()
        left = self._used + IDLE_S - loop.time()
        if left > 0 or self._free.qsize() < len(self._all):
            loop.call_later(max(left, 1.0), self._watch)
        else:
            self._end()

    def _end(self) -> None:
        while not self._free.empty():
            self._free.get_nowait()
        for maker in self._all:
            maker.kill()
        self._all.clear()

    async def started(self) -> None:
        """Returns when those that `ready` has begun read, or have failed."""
        await asyncio.gather(*self._starting)

    async def close(self) -> None:
        self._closed = True
        await self.started()
        self._end()


class _Maker(Child):
    """One process."""

    def __init__(self, command: Sequence[str], collections: Mapping[str, Collection]) -> None:
        super().__init__(command)
        self._collections = collections

    def begin(self) -> None:
        """Starts it, and returns when it reads."""
        self.start()
        self.send(pickle.dumps((stamps.CREATED, stamps.UPDATED, stamps.ETAG)))
        self.send(pickle.dumps(dict(self._collections)))
        self.take(limit_s=START_S)

    def ask(self, request: Request) -> list[Made]:
        self.send(pickle.dumps(request))
        made: list[Made] = []
        while len(made) < len(request[3]):
            made += unpacked(self.take(limit_s=GROUP_S))
        return made


def packed(made: Sequence[Made]) -> bytes:
    """A frame of them."""
    try:
        return _written(made)
    except (OverflowError, ValueError, TypeError):
        return pickle.dumps(made, pickle.HIGHEST_PROTOCOL)


def unpacked(frame: bytes) -> list[Made]:
    if frame.startswith(_PICKLE):
        return list(pickle.loads(frame))  # noqa: S301 - of our own process
    return _read(frame)


def answer(line: Connection, sources: Mapping[str, Source]) -> None:
    """The life of a process that has adopted the stamps: requests until the other side closes the line."""
    collections: dict[str, Collection] = pickle.loads(line.recv_bytes())  # noqa: S301 - of the process that began us
    line.send_bytes(pickle.dumps([]))
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            request: Request = pickle.loads(line.recv_bytes())  # noqa: S301 - as above
            name, tenant, received, chunk = request
            for start in range(0, len(chunk), GROUP):
                made = make(sources[name], chunk[start : start + GROUP], tenant, received, collections)
                line.send_bytes(packed(made))


def made_of(
    source: Source, chunk: Sequence[Given], tenant: str, received: str, collections: Mapping[str, Collection]
) -> list[Made]:
    starts = range(0, len(chunk), GROUP)
    return [one for at in starts for one in make(source, chunk[at : at + GROUP], tenant, received, collections)]
