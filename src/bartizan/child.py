"""A process of this program that another starts and speaks with over a socket, in frames of bytes.

It ends when its starter closes the line or dies, and its starter may end it at any moment.

Source: socketpair(2); multiprocessing.connection, whose frames these are.
"""

import socket
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection


class Child:
    """`command` starts it, with the number of its socket behind. Methods block: for threads, one at a time, but for
    `kill`, which may come from elsewhere: who waits for the process then gets EOFError or OSError."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._line: Connection | None = None
        self._killed = False

    def start(self) -> None:
        """Also after `kill`, anew. One that comes while it is being started holds."""
        self._killed = False
        ours, theirs = socket.socketpair()
        with theirs:
            number = theirs.fileno()
            self._line = Connection(ours.detach())
            self._process = subprocess.Popen(
                [*self._command, str(number)], stdin=subprocess.DEVNULL, pass_fds=[number], start_new_session=True
            )
        if self._killed:
            self.kill()

    def send(self, frame: bytes) -> None:
        self._open().send_bytes(frame)

    def take(self, *, limit_s: float | None = None, most: int | None = None) -> bytes:
        """The next frame. TimeoutError after the limit, OSError where it is larger than `most` bytes."""
        line = self._open()
        if limit_s is not None and not line.poll(limit_s):
            raise TimeoutError(f"no answer within {limit_s:.0f} s")
        return line.recv_bytes(most)

    def kill(self) -> None:
        """The line is closed when nobody holds it any more: a thread may be waiting on it."""
        self._killed = True
        process = self._process
        if process is not None and process.poll() is None:
            process.kill()
            process.wait()

    def _open(self) -> Connection:
        if self._line is None:
            raise EOFError("the process has not been started")
        return self._line


def line_of_this_process() -> Connection:
    """In the process: its end of the line, by the number that stands last on its command line."""
    return Connection(int(sys.argv[-1]))
