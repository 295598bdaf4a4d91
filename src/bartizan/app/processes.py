"""The group of processes: the API, further API processes by setting, and one that works on the feed; more by
setting that share what it evaluates.

A child gets its settings over standard input (they hold secrets, which command lines and environments show) and ends
when that is closed: nothing of the group outlives its parent, however that ends.

Source: uvicorn (Server, Config); signal(7).
"""

import asyncio
import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import structlog
import uvicorn
from msgspec.structs import replace
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from bartizan.app import logs, settle
from bartizan.app.handover import handover, taken_over
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
TLS_CHECK_S = 6 * 3600

_log = structlog.get_logger(__name__)


def serve(settings: Settings) -> None:
    """The parent: binds the port, starts the children, serves as the first API process."""
    sys.setswitchinterval(SWITCH_S)
    listener = _listen(settings)
    settings = replace(settings, port=listener.getsockname()[1])
    quiet = sys.stderr.isatty()
    logs.configure(quiet=quiet)
    _prepare(settings)
    group = [_Child("work", settings, None, quiet)]
    group += [_Child("api", settings, listener, quiet) for _ in range(settings.processes - 1)]
    group += [_Child(f"identity-{shard}", settings, None, quiet) for shard in range(1, settings.identity_shards)]
    if settings.listeners:
        group.append(_Child("listen", settings, None, quiet))
    for each in group:
        each.start()
    try:
        _serve_api(settings, listener, announce=True, quiet=quiet)
    finally:
        for each in group:
            each.stop()
        for each in group:
            each.join()


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

    try:
        settings.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if settings.tls != "off":
            tls.server_context(settings)
        for each in settings.listeners:
            listener(each)
        asyncio.run(opened())
    except (BartizanError, OSError, ValueError, ImportError) as problem:
        below = problem.__context__ if isinstance(problem, Unavailable) else None  # what the database said
        raise SystemExit("cannot start: " + " - ".join(str(each) for each in (problem, below) if each)) from None


def child(role: str) -> None:
    """A process of the group, until its parent closes its standard input."""
    sys.setswitchinterval(SWITCH_S)
    settings, handed = taken_over(sys.stdin.buffer.readline())
    logs.configure(quiet=handed.quiet)
    threading.Thread(target=_until_orphaned, daemon=True).start()
    if role == "api":
        assert handed.socket is not None
        _serve_api(settings, socket.socket(fileno=handed.socket), announce=False, quiet=handed.quiet)
    elif role == "work":
        from bartizan.app.work import run

        run(settings)
    elif role.startswith("identity-"):
        from bartizan.app.work import share

        share(settings, int(role.removeprefix("identity-")))
    elif role == "lake":
        from bartizan.app.lake import run as flush

        flush(settings)
    elif role == "listen":
        from bartizan.app.listen import run as listen

        listen(settings)
    else:
        raise SystemExit(f"no such role: {role}")


def _until_orphaned() -> None:
    while os.read(0, 4096):  # not sys.stdin: its lock would be held when the interpreter ends
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


class _Child:
    """One child, started again whenever it ends, until it is told to stop."""

    def __init__(self, role: str, settings: Settings, listener: socket.socket | None, quiet: bool) -> None:
        self.role = role
        self._listener = listener
        self._line = handover(settings, None if listener is None else listener.fileno(), quiet=quiet)
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._supervise, name=f"child-{role}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _supervise(self) -> None:
        tries = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            status = self._run()
            if self._stopping.is_set():
                return
            tries = 0 if time.monotonic() - began > STEADY_S else tries + 1
            pause_s = RESTART_S[min(tries, len(RESTART_S) - 1)]
            _log.error("process.ended", role=self.role, status=status, restart_s=pause_s)
            self._stopping.wait(pause_s)

    def _run(self) -> int:
        inherited = () if self._listener is None else (self._listener.fileno(),)
        command = [sys.executable, "-m", "bartizan.app", self.role]
        with subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=inherited, start_new_session=True) as process:
            self._process = process
            assert process.stdin is not None
            try:
                process.stdin.write(self._line)
                process.stdin.flush()
            except BrokenPipeError:
                pass  # it ended already; its status says so
            return process.wait()

    def stop(self) -> None:
        self._stopping.set()
        process = self._process
        if process is not None and process.poll() is None:
            process.terminate()

    def join(self) -> None:
        self._thread.join(STOP_S)
        process = self._process
        if process is not None and process.poll() is None:
            process.kill()


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


def _serve_api(settings: Settings, listener: socket.socket, *, announce: bool, quiet: bool) -> None:
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
    server = _Server(config, lambda: _announced(settings, config) if announce else None)
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda number, frame: None)  # uvicorn raises them again when it has stopped
    server.run(sockets=[listener])


def _announced(settings: Settings, config: uvicorn.Config) -> None:
    print(f"Bartizan answers at {settings.root}", flush=True)  # noqa: T201 - the one line that is promised
    if config.ssl is not None:
        asyncio.get_running_loop().create_task(_keep_certificate(settings, config))


async def _keep_certificate(settings: Settings, config: uvicorn.Config) -> None:
    """A renewed certificate is taken up without a restart."""
    while True:
        await asyncio.sleep(TLS_CHECK_S)
        try:
            assert config.ssl is not None
            tls.refresh(config.ssl, settings)
        except (OSError, ValueError):
            _log.exception("tls.refresh failed")
