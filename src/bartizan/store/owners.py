"""Owners of leases, named so that others can tell that one has ended and need not wait until its lease has run out.

Of a store in a file the name tells which byte of a file beside it the owner has locked: the kernel takes the lock away
when the process ends, however it does, and shows it to all who may have the database open, in containers too (its log
has the same need). Of a store that several machines share the name tells process and boot: who runs under the same
kernel, in the same namespaces, can see whether the process is still there. In all other cases nobody can tell, and the
owner counts as alive.

Source: fcntl(2), open file description locks; proc_pid_stat(5); pid_namespaces(7); time_namespaces(7); random(4),
boot_id; SQLite "Write-Ahead Logging" (all processes are on one host).
"""

import contextlib
import fcntl
import os
import re
import secrets
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import structlog
from msgspec import Struct

PLACES = 10**18  # bytes that may be locked, most of them behind the end of the file
_FLOCK = "hhqqi0q"  # struct flock: type, whence, start, length, pid
_LOCKED = re.compile(r".*:lock=(\d+),(\d{1,18})", re.DOTALL)
_PROCESS = re.compile(r".*:process=([^,]+),([^,]+),(\d{1,9}),(\d+)", re.DOTALL)

log = structlog.get_logger(__name__)


class Owners(Protocol):
    def new(self) -> str:
        """A name that nobody has had."""
        ...

    def ended(self, owner: str) -> bool:
        """Whether the owner cannot come back. False where nobody can tell."""
        ...

    def close(self) -> None:
        """All that were named here have ended, if anybody can tell."""
        ...


class LockedOwners:
    """Each holds the lock of a byte of the file at `path`, until it is closed or its process ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def new(self) -> str:
        name = _name()
        if not hasattr(fcntl, "F_OFD_SETLK"):
            return name
        place = secrets.randbelow(PLACES)
        try:
            if self._file is None:
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, _lock(fcntl.F_WRLCK, place))
        except OSError as error:  # no room for the file, or no such locks here: nobody will be able to tell
            log.warning("store.owner_without_lock", path=str(self._path), error=str(error))
            return name
        return f"{name}:lock={os.fstat(self._file).st_ino},{place}"

    def ended(self, owner: str) -> bool:
        told = _LOCKED.fullmatch(owner)
        if told is None:
            return False
        try:
            with _opened(self._path) as file:  # opened anew: what this process has locked shows as well
                if os.fstat(file).st_ino != int(told[1]):  # another file: a copy of the folder, or it was removed
                    return False
                found = fcntl.fcntl(file, fcntl.F_OFD_GETLK, _lock(fcntl.F_RDLCK, int(told[2])))
        except OSError:
            return False
        return bool(struct.unpack(_FLOCK, found)[0] == fcntl.F_UNLCK)

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            os.close(file)


def _lock(kind: int, place: int) -> bytes:
    return struct.pack(_FLOCK, kind, os.SEEK_SET, place, 1, 0)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield file
    finally:
        os.close(file)


class ProcessOwners:
    """Each is this process."""

    def new(self) -> str:
        world = _world()
        status = None if world is None else _status(os.getpid())
        if world is None or status is None:
            return _name()
        return f"{_name()}:process={world[0]},{world[1]},{os.getpid()},{status.started}"

    def ended(self, owner: str) -> bool:
        told = _PROCESS.fullmatch(owner)
        if told is None or (told[1], told[2]) != _world():
            return False
        pid, started = int(told[3]), int(told[4])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # somebody else's
            pass
        status = _status(pid)
        return status is not None and (status.started != started or status.over)

    def close(self) -> None:
        """Nothing ends before the process does."""


class _Status(Struct, frozen=True):
    """Of a process: when it was started, in ticks since the boot, and whether only its parent has not yet noticed its
    end."""

    started: int
    over: bool


def _status(pid: int) -> _Status | None:
    """None where it cannot be seen."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        state, threads, started = fields[0], int(fields[17]), int(fields[19])
    except (OSError, ValueError, IndexError):
        return None
    return _Status(started, over=state in "ZX" and threads <= 1)


def _world() -> tuple[str, str] | None:
    """Within which process numbers and times of start mean something: the boot, and host and namespaces. None where
    /proc does not say it, or shows another namespace's processes."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        own = Path("/proc/self")
        if own.readlink().name != str(os.getpid()):
            return None
        spaces = [own.joinpath("ns/pid").readlink().name]
        with contextlib.suppress(FileNotFoundError):  # before Linux 5.6
            spaces.append(own.joinpath("ns/time").readlink().name)
    except OSError:
        return None
    return boot, "/".join([socket.gethostname(), *spaces])


def _name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
