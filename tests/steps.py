"""Work counted in calls instead of seconds, so that a bound on it holds on every machine."""

import contextlib
import sys
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def calls_within(most: int) -> Iterator[None]:
    """Fails at once when this thread makes more than `most` calls, of Python's own or of C, before the block ends."""
    calls = 0

    def count(frame: FrameType, event: str, arg: object) -> None:
        nonlocal calls
        if event in {"call", "c_call"}:
            calls += 1
            if calls > most:
                sys.setprofile(before)
                raise AssertionError(f"more than {most:,} calls, the last in {frame.f_code.co_qualname}")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        yield
    finally:
        sys.setprofile(before)
