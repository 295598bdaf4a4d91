"""The group of processes: the API, further API processes by setting, and one that works on the feed; more by
setting that share what it evaluates.

The parent answers nothing and opens no database: it binds the port, imports what the others need while a first child
makes keys and tables, forks them (so that they share that memory, and one that ended is there again at once) and
waits. It has no threads, and neither loops nor connections that a fork would take along. A child ends when the pipe of
its parent closes: nothing of the group outlives it, however it ends.

Source: uvicorn (Server, Config); multiprocessing, start method fork; signal(7), proc_pid_comm(5).
"""

import asyncio
import contextlib
import errno
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib import import_module
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import structlog
import uvicorn
from msgspec.structs import replace
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from bartizan.app import logs, settle, share
from bartizan.app.handover import taken_over
from bartizan.auth import tls
from bartizan.errors import BartizanError, Unavailable
from bartizan.ingest.listeners import listener
from bartizan.settings import Settings

HEADERS_S = 30  # for a client to send the head of a request, and from connecting to its first
KEEP_ALIVE_S = 75
# Threads that make records of an ingest must not keep the event loop waiting for the interpreter, nor the event loop a
# writer, which holds the store's lock: it asks for the interpreter again after each statement.
SWITCH_S = 0.0001
GRACE_S = 10  # for running requests when the server stops
FAREWELL_S = 0.5  # for a client to close its side of TLS then; pooled connections, which nobody reads, never do
BIND_S = 5  # for the processes of a group whose parent was killed to let go of the port
STOP_S = 15  # for a child to stop before it is killed
CONNECTIONS = 4_096  # at once in one process; more get 503
RESTART_S = (0.2, 1.0, 5.0, 15.0)  # pauses before a child that ended is started again
STEADY_S = 60  # a child that ran this long starts again at once
NOT_STARTED = 3  # status of an API process that could not start
TLS_CHECK_S = 6 * 3600
SHARED = ("bartizan.app.work", "joserfc.jwe", "joserfc.jwt", "uvicorn.lifespan.on", "uvloop")  # which load late
STOPPING = (signal.SIGTERM, signal.SIGINT)

_fork = multiprocessing.get_context("fork")
_log = structlog.get_logger(__name__)


def serve(settings: Settings) -> None:
    """The parent. SystemExit says why the group cannot start."""
    sys.setswitchinterval(SWITCH_S)
    listener = _listen(settings)
    settings = replace(settings, port=listener.getsockname()[1])
    quiet = sys.stderr.isatty()
    logs.configure(quiet=quiet)
    group = _Group(settings, listener, quiet=quiet)
    try:
        status = group.run()
    finally:
        group.end()
    if status:
        raise SystemExit(status)


def _declare(settings: Settings) -> None:
    """Imports and makes what the first child needs. Nothing is opened: neither files nor threads would survive a
    fork."""
    from bartizan.app.assembly import lake_of, store_of

    store_of(settings)
    lake_of(settings)


def _share() -> None:
    """Imports what the others need besides."""
    from bartizan import connectors

    for name in SHARED:
        import_module(name)
    connectors.load()
    share()


@contextlib.contextmanager
def _saying_why() -> Iterator[None]:
    """SystemExit with the reason of what keeps a server from starting."""
    try:
        yield
    except (BartizanError, OSError, ValueError, ImportError) as problem:
        below = problem.__context__ if isinstance(problem, Unavailable) else None  # what the database said
        raise SystemExit("cannot start: " + " - ".join(str(each) for each in (problem, below) if each)) from None


def _prepare(settings: Settings) -> None:
    """Makes what the children look for: folder, certificate, schema. SystemExit says why that cannot be done."""
    from bartizan.app.assembly import lake_of, store_of
    from bartizan.auth.authority import Authority

    async def opened() -> None:
        store, lake = store_of(settings), lake_of(settings)
        await store.start()
        try:
            await Authority(settings, store).prepare()
        finally:
            await store.close()
        await lake.start()
        await lake.close()

    with _saying_why():
        settings.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if settings.tls != "off":
            tls.server_context(settings)
        for each in settings.listeners:
            listener(each)
        asyncio.run(opened())


def child(role: str) -> None:
    """A process that one of the group starts as a command, with its settings over standard input (they hold secrets,
    which command lines and environments show), until that is closed."""
    sys.setswitchinterval(SWITCH_S)
    settings = taken_over(sys.stdin.buffer.readline())
    logs.configure()
    threading.Thread(target=_until_orphaned, args=(0,), daemon=True).start()
    if role != "lake":
        raise SystemExit(f"no such role: {role}")
    from bartizan.app.lake import run

    run(settings)


def _until_orphaned(descriptor: int) -> None:
    while os.read(descriptor, 4096):  # not sys.stdin: its lock would be held when the interpreter ends
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(STOP_S)
    os._exit(1)


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    until = time.monotonic() + BIND_S
    while True:
        try:
            listener.bind((settings.host, settings.port))
            break
        except OSError as problem:
            if problem.errno == errno.EADDRINUSE and time.monotonic() < until:
                time.sleep(0.1)
                continue
            listener.close()
            raise SystemExit(f"cannot listen on {settings.host} port {settings.port}: {problem.strerror}") from None
    listener.listen(2048)
    listener.setblocking(False)
    return listener


class _Group:
    """The children, each started again whenever it ends, until the parent is told to stop or the API cannot start."""

    def __init__(self, settings: Settings, listener: socket.socket, *, quiet: bool) -> None:
        self._settings, self._listener, self._quiet = settings, listener, quiet
        self._life, self._held = os.pipe()  # closes on the children when this process ends
        self._told, self._woken = socket.socketpair()
        self._woken.setblocking(False)
        self._stopping = False
        self._answered: Any = _fork.RawValue("b", 0)  # by the first API process, once
        self._children = [_Child("api", 0), _Child("work"), _Child("correlate")]
        self._children += [_Child("api", number) for number in range(1, settings.processes)]
        self._children += [_Child("risk", shard) for shard in range(1, settings.identity_shards)]
        if settings.listeners:
            self._children.append(_Child("listen"))

    def run(self) -> int:
        """The group's status: 0 when it was told to stop."""
        with _saying_why():
            _declare(self._settings)
        prepared = self._forked("prepare", 0)
        try:
            with _saying_why():
                _share()
        finally:
            prepared.join()
        if prepared.exitcode:
            return NOT_STARTED if prepared.exitcode < 0 else int(prepared.exitcode)
        signal.set_wakeup_fd(self._woken.fileno(), warn_on_full_buffer=False)
        for each in STOPPING:
            signal.signal(each, self._stop)
        while not self._stopping:
            for child in self._children:
                if child.process is None and time.monotonic() >= child.due:
                    child.began = time.monotonic()
                    child.process = self._forked(child.role, child.number)
            self._wait()
            for child in self._children:
                if child.process is not None and child.process.exitcode is not None:
                    if child.role == "api" and not self._answered.value:
                        return NOT_STARTED
                    child.ended()
        return 0

    def _stop(self, number: int, frame: Any) -> None:
        self._stopping = True

    def _wait(self) -> None:
        """Until a child ends, one is due or a signal comes."""
        running = [child.process.sentinel for child in self._children if child.process is not None]
        due = [child.due for child in self._children if child.process is None]
        ready = wait([*running, self._told], max(0.0, min(due) - time.monotonic()) if due else None)
        if self._told in ready:
            self._told.recv(4096)

    def end(self) -> None:
        """Tells the children to stop, and ends those that do not."""
        self._listener.close()
        running = [child.process for child in self._children if child.process is not None]
        for process in running:
            process.terminate()
        until = time.monotonic() + STOP_S
        for process in running:
            process.join(max(0.0, until - time.monotonic()))
            if process.exitcode is None:
                process.kill()
                process.join()

    def _forked(self, role: str, number: int) -> Any:
        process = _fork.Process(target=self._born, args=(role, number), name=role)
        # A signal between the fork and the child's own handlers would be taken for one to the parent.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
        return process

    def _born(self, role: str, number: int) -> None:
        """The life of a child."""
        os.setsid()  # Ctrl-C is for the parent
        signal.set_wakeup_fd(-1)
        for each in STOPPING:
            signal.signal(each, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
        os.close(self._held)
        self._told.close()
        self._woken.close()
        if role != "api":
            self._listener.close()
        with contextlib.suppress(OSError):  # a system without /proc
            Path("/proc/self/comm").write_text(f"bartizan {role}")
        logs.configure(quiet=self._quiet)
        threading.Thread(target=_until_orphaned, args=(self._life,), daemon=True).start()
        settings = self._settings
        if role == "api":
            _serve_api(settings, self._listener, self._announced if number == 0 else None, quiet=self._quiet)
        elif role == "prepare":
            _prepare(settings)
        elif role == "work":
            from bartizan.app.work import run

            run(settings)
        elif role == "correlate":
            from bartizan.app.work import correlate

            correlate(settings)
        elif role == "risk":
            from bartizan.app.work import share

            share(settings, number)
        else:
            from bartizan.app.listen import run as listen

            listen(settings)

    def _announced(self) -> None:
        """In the first API process, when it answers."""
        if not self._answered.value:
            self._answered.value = 1
            print(f"Bartizan answers at {self._settings.root}", flush=True)  # noqa: T201 - the one line that is promised


class _Child:
    """One of the group; `process` is None while it waits to be started, until `due`."""

    def __init__(self, role: str, number: int = 0) -> None:
        self.role, self.number = role, number
        self.process: Any = None
        self.began = self.due = 0.0
        self._tries = 0

    def ended(self) -> None:
        self._tries = 0 if time.monotonic() - self.began > STEADY_S else self._tries + 1
        pause_s = RESTART_S[min(self._tries, len(RESTART_S) - 1)]
        _log.error("process.ended", role=self.role, status=self.process.exitcode, restart_s=pause_s)
        self.process.close()
        self.process, self.due = None, time.monotonic() + pause_s


class _Protocol(HttpToolsProtocol):
    """Closes connections whose request head does not arrive in time."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        self._arrived()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._expect()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._arrived()
        super().on_headers_complete()

    def shutdown(self) -> None:
        super().shutdown()
        self._part()

    def _part(self) -> None:
        """Ends the connection for good once its answer is out."""
        if self.transport.is_closing():
            self.loop.call_later(FAREWELL_S, self.transport.abort)
        else:
            self.loop.call_later(FAREWELL_S, self._part)

    def _expect(self) -> None:
        self._arrived()
        self._late = self.loop.call_later(HEADERS_S, self.transport.close)

    def _arrived(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


class _Server(uvicorn.Server):
    """Says when it answers."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        settle()
        if self.started:
            self._ready()


def _serve_api(
    settings: Settings, listener: socket.socket, announce: Callable[[], None] | None, *, quiet: bool
) -> None:
    from bartizan.app.assembly import build

    told = settings.access_log and not quiet
    access = logs.Access(logs.Out(sys.stderr.fileno()), lambda: datetime.now(UTC)) if told else None
    config = uvicorn.Config(
        build(settings, access=access),
        loop="uvloop",
        http=_Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=bool(settings.forwarded_from),
        forwarded_allow_ips=list(settings.forwarded_from),
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
        ssl_context_factory=None if settings.tls == "off" else lambda config, default: tls.server_context(settings),
    )
    if settings.tls == "off":
        config.ssl = None

    def ready() -> None:
        if announce is not None:
            announce()
        if config.ssl is not None:
            asyncio.get_running_loop().create_task(_keep_certificate(settings, config))

    server = _Server(config, ready)
    for each in STOPPING:
        signal.signal(each, lambda number, frame: None)  # uvicorn raises them again when it has stopped
    server.run(sockets=[listener])
    if not server.started:
        raise SystemExit(NOT_STARTED)


async def _keep_certificate(settings: Settings, config: uvicorn.Config) -> None:
    """A renewed certificate is taken up without a restart."""
    while True:
        await asyncio.sleep(TLS_CHECK_S)
        try:
            assert config.ssl is not None
            tls.refresh(config.ssl, settings)
        except (OSError, ValueError):
            _log.exception("tls.refresh failed")
