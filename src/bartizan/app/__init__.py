"""The program: assembled for one process (`build`), and as a group of processes (`serve`)."""

import contextlib
import ctypes
import gc
from typing import TYPE_CHECKING

NICENESS = 10  # of what works in the background: answers to people go first where processors are short
NICENESS_OF_INCIDENTS = 5  # a record is to be in its incident before the next ones are read
YOUNG = 50_000  # objects between two collections: a record makes thousands, and no cycles

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
