"""Logs: one JSON object a line on standard error; plain text where that is a terminal."""

import asyncio
import logging
import sys
from collections.abc import Callable
from datetime import datetime
from io import FileIO
from typing import Any, BinaryIO, cast

import msgspec
import structlog


class Out:
    """Standard error as bytes. It may be a file on a full disk: what cannot be written is counted, and nobody fails
    for it; the next line that finds room says how many are missing.
    """

    def __init__(self, descriptor: int) -> None:
        self._file = FileIO(descriptor, "wb", closefd=False)
        self._lost = 0

    def write(self, data: bytes) -> int:
        lost = f'\n{{"event":"log lines lost","count":{self._lost}}}\n'.encode() if self._lost else b""
        left = memoryview(lost + data)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError:
            self._lost += 1
        else:
            self._lost = 0
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""


def _encode(value: Any, **_: Any) -> bytes:
    return msgspec.json.encode(value, enc_hook=str)


def configure(*, quiet: bool = False) -> None:
    """Call it once in a process, before anything logs. `quiet` leaves warnings and errors."""
    level = logging.WARNING if quiet else logging.INFO
    shared: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if sys.stderr.isatty():
        plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        structlog.configure(
            processors=[*shared, plain],
            wrapper_class=structlog.make_filtering_bound_logger(level),
            logger_factory=structlog.PrintLoggerFactory(sys.stderr),
            cache_logger_on_first_use=True,
        )
    else:
        structlog.configure(
            processors=[
                *shared,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(serializer=_encode),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(level),
            logger_factory=structlog.BytesLoggerFactory(cast("BinaryIO", Out(sys.stderr.fileno()))),
            cache_logger_on_first_use=True,
        )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")


class Access:
    """The access log: lines of JSON, written out a few times a second rather than one by one.

    `add` is called on the event loop. What a killed process had not written is lost; the audit log is no part of it.
    """

    FLUSH_S = 0.25
    MAX_LINES = 1_000

    def __init__(self, out: Out, now: Callable[[], datetime]) -> None:
        self._out = out
        self._now = now
        self._encoder = msgspec.json.Encoder()
        self._lines: list[dict[str, Any]] = []

    def add(self, line: dict[str, Any]) -> None:
        line["timestamp"] = self._now()
        if not self._lines:
            asyncio.get_running_loop().call_later(self.FLUSH_S, self.flush)
        self._lines.append(line)
        if len(self._lines) >= self.MAX_LINES:
            self.flush()

    def flush(self) -> None:
        lines, self._lines = self._lines, []
        if lines:
            self._out.write(self._encoder.encode_lines(lines))
            self._out.flush()
