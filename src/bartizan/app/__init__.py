"""The program: assembled for one process (`build`), and as a group of processes (`serve`)."""

import contextlib
import ctypes
import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING

NICENESS = 12  # of what works in the background: answers to people go first where processors are short
NICENESS_OF_RECORDS = 7  # of what reads them: who delivers waits for it
NICENESS_OF_INCIDENTS = 5  # a record is to be in its incident before the next ones are read
YOUNG = 50_000  # objects between two collections: a record makes thousands, and no cycles
SMALL_GAP = 1_024  # bytes; larger gaps of the heap hold what is put there on few pages

if TYPE_CHECKING:
    from bartizan.app.assembly import App as App
    from bartizan.settings import Settings


def build(settings: "Settings") -> "App":
    """An ASGI callable over the settings' store; see `assembly.build` for what tests may give it."""
    from bartizan.app.assembly import build as made

    return made(settings)


def serve(settings: "Settings") -> None:
    """Runs until SIGTERM or SIGINT. Prints one line with the address when it answers."""
    from bartizan.app.processes import serve as run

    run(settings)


def stand_back(niceness: int) -> None:
    """A process that holds no lock for which others wait gives way to them by so much. Where the system shares the
    processors among sessions first, niceness counts within a session alone: its own gives way as a whole.

    Source: nice(2); sched(7), "The autogroup feature".
    """
    os.nice(niceness)
    if os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):  # a system that does not, or a sandbox that hides it
            Path("/proc/self/autogroup").write_text(str(niceness))


def settle() -> None:
    """What a process has imported stays: from here on collections of garbage leave it out, and come less often. What
    the imports have freed goes back to the system.

    Source: gc.freeze(); malloc_trim(3).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG)
    with contextlib.suppress(OSError, AttributeError):  # a C library that is not glibc
        ctypes.CDLL(None).malloc_trim(0)


def share() -> None:
    """Before a fork: keeps collections of garbage from writing to the pages that the processes share, and takes the
    gaps that imports have left all over the heap. What a child puts there would make the pages around it its own:
    five megabytes for the half of one that opening the store takes.

    Source: gc.freeze(); mallinfo(3), malloc_trim(3); fork(2), copy-on-write.
    """
    gc.collect()
    gc.freeze()
    with contextlib.suppress(OSError, AttributeError):  # a C library that is not glibc 2.33 or later
        _take_gaps(ctypes.CDLL(None))


class _Heap(ctypes.Structure):
    """What mallinfo2 tells; keepcost is what is free at the top, behind all that was ever given."""

    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"
    )]  # fmt: skip


def _take_gaps(libc: ctypes.CDLL) -> None:
    libc.mallinfo2.restype = _Heap
    libc.malloc.argtypes, libc.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
    libc.free.argtypes = [ctypes.c_void_p]
    libc.sbrk.argtypes, libc.sbrk.restype = [ctypes.c_ssize_t], ctypes.c_void_p
    for size in range(SMALL_GAP, 0, -16):
        top = libc.sbrk(0) - libc.mallinfo2().keepcost
        while (taken := libc.malloc(size)) and taken < top:
            pass
        libc.free(taken)
