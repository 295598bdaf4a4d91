"""How long a query may take before the engine has it."""

from time import monotonic

from bartizan.hunt.fault import KqlError


class Deadline:
    """From now on; `seconds` None: there is none."""

    def __init__(self, seconds: float | None = None) -> None:
        self._seconds = seconds
        self._end = None if seconds is None else monotonic() + seconds

    def check(self, at: int = -1) -> None:
        """KqlError, run: it is over."""
        if self._end is not None and monotonic() > self._end:
            raise KqlError("run", f"the query took longer than {self._seconds:g} s", at)
