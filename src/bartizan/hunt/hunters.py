"""Hunts from the outside: each in a process of its tenant, kept warm, that can be killed and can do no harm.

A process serves one tenant for all its life. So many may run in all and for each tenant; beyond that a hunt waits a
moment, or is told to come back. A hunt that its caller leaves, or that does not end in time, ends with its process.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

import msgspec
import structlog
from msgspec import Struct

from bartizan.child import Child
from bartizan.errors import BartizanError, TooManyRequests, Unavailable
from bartizan.hunt.fault import KqlError
from bartizan.hunt.line import Ask, Bounds, Form, Known, Lent, Open, Said, Want
from bartizan.lake.storage import Storage
from bartizan.lake.tables import TABLES

START_S = 30.0
GRACE_S = 3.0  # beyond its time, for a hunt to say so itself
WAIT_S = 10.0  # for a place
IDLE_S = 300.0  # a process that nobody asks ends
MAX_WAITING = 20  # hunts of a tenant that wait for a place
MAX_HEAD_BYTES = 2**20  # of what a process says beside the body of an answer
MAX_WANTS = 100  # that one hunt asks back

Lend: TypeAlias = Callable[
    [str, Want], Awaitable[bytes]
]  # (tenant, what its hunt wants); BartizanError: it is not given

_log = structlog.get_logger(__name__)


class Hunt(Struct, frozen=True, kw_only=True):
    """A query, and what it may see."""

    tenant: str
    query: str
    now: datetime
    files: Storage  # what the tenant has now
    since: datetime | None = None
    until: datetime | None = None
    form: Form = "graph"
    known: Known = Known()


class Limits(Struct, frozen=True):
    """Of each hunt, and of all of them."""

    bounds: Bounds = Bounds()
    memory_mb: int = 1_024
    threads: int = 2
    per_tenant: int = 2
    most: int = 4


class Hunters:
    """Of one event loop; `close` it at the end. `command` starts a process, with the number of its socket behind;
    `lend` answers what a hunt asks back."""

    def __init__(self, command: Sequence[str], limits: Limits | None = None, lend: Lend | None = None) -> None:
        self.limits = limits or Limits()
        self._lend = lend
        self._command = command
        self._idle: list[_Process] = []  # the one used longest ago first
        self._running: Counter[str] = Counter()
        self._waiting: Counter[str] = Counter()
        self._freed = asyncio.Condition()
        self._closed = False

    async def run(self, hunt: Hunt) -> bytes:
        """The body of the answer, as JSON. KqlError for what is wrong with the query, or more than a hunt may take;
        TooManyRequests where too many of the tenant run and wait; Unavailable where a process failed. Cancelled, it
        ends what it began."""
        async with self._place(hunt.tenant):
            process = self._kept(hunt.tenant) or _Process(self._command, hunt.tenant, hunt.files.folder)
            try:
                limit_s = self.limits.bounds.seconds + GRACE_S + (0 if process.ready else START_S)
                said, body = await asyncio.wait_for(self._asked(process, hunt), limit_s)
            except TimeoutError:
                process.kill()
                raise KqlError("run", f"the query took longer than {self.limits.bounds.seconds:g} s") from None
            except (EOFError, OSError, msgspec.DecodeError) as problem:
                process.kill()
                _log.error("hunt.process_ended", tenant=hunt.tenant, error=repr(problem))
                raise Unavailable("the process of the hunt ended: it may have needed too much memory") from None
            except BaseException:
                process.kill()
                raise
            self._keep(process)
        if body is None:
            raise _fault(said)
        return body

    async def _asked(self, process: "_Process", hunt: Hunt) -> "tuple[Said, bytes | None]":
        if not process.ready:
            await asyncio.to_thread(process.begin, self.limits)
        said, body = await asyncio.to_thread(process.ask, hunt, self.limits)
        left = MAX_WANTS
        while said.want is not None:
            left -= 1
            lent, content = await self._lent(process.tenant, said.want, left)
            said, body = await asyncio.to_thread(process.lend, lent, content, self.limits)
        return said, body

    async def _lent(self, tenant: str, want: Want, left: int) -> tuple[Lent, bytes]:
        """What the process of this tenant wants is looked for in this tenant alone."""
        if left < 0:
            return Lent(f"a query takes at most {MAX_WANTS} watchlists and addresses"), b""
        if self._lend is None:
            return Lent("there is nothing beside the tables here"), b""
        try:
            return Lent(), await self._lend(tenant, want)
        except BartizanError as problem:
            return Lent(problem.message), b""

    @contextlib.asynccontextmanager
    async def _place(self, tenant: str) -> AsyncIterator[None]:
        if self._waiting[tenant] >= MAX_WAITING:
            raise TooManyRequests(f"{MAX_WAITING} hunts of this tenant wait already.", retry_after_s=10)
        self._waiting[tenant] += 1
        try:
            async with asyncio.timeout(WAIT_S), self._freed:
                await self._freed.wait_for(lambda: self._free(tenant))
                self._running[tenant] += 1
        except TimeoutError:
            raise TooManyRequests(
                f"{self._running[tenant]} hunts of this tenant run, {self._running.total()} in all: come back later.",
                retry_after_s=10,
            ) from None
        finally:
            self._waiting[tenant] -= 1
        try:
            yield
        finally:
            self._running[tenant] -= 1
            self._running, self._waiting = +self._running, +self._waiting
            async with self._freed:
                self._freed.notify_all()

    def _free(self, tenant: str) -> bool:
        return self._running[tenant] < self.limits.per_tenant and self._running.total() < self.limits.most

    def _kept(self, tenant: str) -> "_Process | None":
        """A warm process of the tenant. Those of others make way."""
        for process in reversed(self._idle):
            if process.tenant == tenant:
                self._idle.remove(process)
                process.rest(None)
                return process
        while self._idle and len(self._idle) + self._running.total() > self.limits.most:
            self._idle.pop(0).kill()
        return None

    def _keep(self, process: "_Process") -> None:
        if self._closed:
            process.kill()
            return
        self._idle.append(process)
        process.rest(asyncio.get_running_loop().call_later(IDLE_S, self._tired, process))

    def _tired(self, process: "_Process") -> None:
        if process in self._idle:
            self._idle.remove(process)
            process.kill()

    async def close(self) -> None:
        self._closed = True
        while self._idle:
            self._idle.pop().kill()


def _fault(said: Said) -> KqlError:
    fault = KqlError(said.phase, said.fault)
    fault.line, fault.column = said.line, said.column
    return fault


class _Process(Child):
    """One process, of one tenant for all its life."""

    def __init__(self, command: Sequence[str], tenant: str, folder: Path) -> None:
        super().__init__(command)
        self.tenant = tenant
        self.ready = False
        self._folder = folder
        self._rest: asyncio.TimerHandle | None = None

    def begin(self, limits: Limits) -> None:
        """Starts it, and returns when it has enclosed itself."""
        self.start()
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # the process may read what comes there later
        tables: dict[str, dict[str, str]] = {name: {**each.columns} for name, each in TABLES.items()}
        self.send(msgspec.json.encode(Open(str(self._folder), tables, limits.memory_mb, limits.threads)))
        self.take(most=MAX_HEAD_BYTES)
        self.ready = True

    def ask(self, hunt: Hunt, limits: Limits) -> tuple[Said, bytes | None]:
        asked = Ask(
            query=hunt.query,
            files=msgspec.Raw(msgspec.json.encode(hunt.files, enc_hook=str)),
            now=hunt.now,
            bounds=limits.bounds,
            since=hunt.since,
            until=hunt.until,
            form=hunt.form,
            known=hunt.known,
        )
        self.send(msgspec.json.encode(asked))
        return self._said(limits)

    def lend(self, lent: Lent, content: bytes, limits: Limits) -> tuple[Said, bytes | None]:
        """As `ask`, for what it has asked back."""
        self.send(msgspec.json.encode(lent))
        if not lent.fault:
            self.send(content)
        return self._said(limits)

    def _said(self, limits: Limits) -> tuple[Said, bytes | None]:
        said = msgspec.json.decode(self.take(most=MAX_HEAD_BYTES), type=Said)
        ended = not said.fault and said.want is None
        return said, self.take(most=2 * limits.bounds.bytes + MAX_HEAD_BYTES) if ended else None

    def rest(self, timer: asyncio.TimerHandle | None) -> None:
        """Keeps the timer that ends an idle process, and stops the one before."""
        if self._rest is not None:
            self._rest.cancel()
        self._rest = timer

    def kill(self) -> None:
        self.rest(None)
        super().kill()
