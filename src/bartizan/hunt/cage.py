"""What a process that runs hunts may do: read its tenant's folder and what Python and DuckDB are made of; nothing else.

DuckDB's own settings come first (`duckdb.open`); this holds where those should fail. Landlock is Linux's, needs no
privilege and cannot be undone; a kernel without it leaves the limits of resources and DuckDB's settings.

Source: Linux "Landlock: unprivileged access control", landlock(7), setrlimit(2).
"""

import contextlib
import ctypes
import os
import resource
import struct
import sys
import sysconfig
from pathlib import Path

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # system calls, the same on every architecture
_VERSION = 1  # flag: asks which version of Landlock there is
_PATH_BENEATH = 1
_NO_NEW_PRIVS = 38
_EXECUTE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 2, 1 << 3
_READ = _READ_FILE | _READ_DIR
# Accesses to files that each version knows: what is handled and not allowed is refused.
_KNOWN = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
_TCP = 0b11  # bind and connect, from version 4
_TCP_FROM = 4
_SCOPES = 0b11  # abstract sockets and signals of other processes, from version 6
_SCOPES_FROM = 6
SYSTEM = ("/proc", "/sys", "/usr/share/zoneinfo", "/etc/localtime", "/dev/urandom", "/dev/null")
MAX_FILES = 4_096  # open at once: a hunt over many small files


def limit(memory_bytes: int) -> None:
    """Of this process: no core is written, memory ends before the machine's does."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(MAX_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    with contextlib.suppress(OSError):  # not Linux, or not allowed: the limit above stays
        Path("/proc/self/oom_score_adj").write_text("800", "ascii")  # before the server, where memory runs out


def enclose(folder: Path) -> int:
    """From here on only `folder` and the program's own files can be read, nothing written, no connection made.

    Returns the version of Landlock that holds this. Where the system has none it is 0, and no file can grow.
    """
    version = _landlock(folder)
    if not version:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    return version


def _landlock(folder: Path) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    version = int(libc.syscall(_CREATE, None, 0, _VERSION)) if sys.platform == "linux" else 0
    if version < 1:
        return 0
    handled = struct.pack("<QQQ", _KNOWN[min(version, 5)], _TCP if version >= _TCP_FROM else 0, _scopes(version))
    size = 8 if version < _TCP_FROM else 16 if version < _SCOPES_FROM else 24
    rules = int(libc.syscall(_CREATE, handled[:size], size, 0))
    if rules < 0:
        return 0
    try:
        for path in (folder, *_program(), *map(Path, SYSTEM)):
            _allow(libc, rules, path)
        if libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.syscall(_RESTRICT, rules, 0):
            raise OSError(ctypes.get_errno(), "the process cannot be restricted")
    finally:
        os.close(rules)
    return version


def _scopes(version: int) -> int:
    return _SCOPES if version >= _SCOPES_FROM else 0


def _program() -> list[Path]:
    """Python's library, packages, and this program."""
    paths = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    paths |= {str(Path(__file__).resolve().parents[1])}
    return [Path(each) for each in sorted(paths) if each]


def _allow(libc: ctypes.CDLL, rules: int, path: Path) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        access = _READ if path.is_dir() else _READ_FILE
        beneath = struct.pack("<Qi", access, handle)
        if libc.syscall(_ADD, rules, _PATH_BENEATH, beneath, 0):
            raise OSError(ctypes.get_errno(), f"no rule for {path}")
    finally:
        os.close(handle)
