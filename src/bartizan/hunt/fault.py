"""What is wrong with a query, and where."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from bartizan.errors import BadRequest

Phase = Literal["parse", "bind", "plan", "run"]


class KqlError(BadRequest):
    """`at` is an offset of characters in the query; line and column, both from 1, are known once `locate` was called.

    parse: the text is no query; bind: a name, type or argument is wrong; plan: it is right, but is not supported here;
    run: an error of the values, or a limit was reached.
    """

    def __init__(self, phase: Phase, message: str, at: int = -1) -> None:
        super().__init__(message)
        self.phase = phase
        self.at = at
        self.line = 0
        self.column = 0
        self.saved = False  # it is one of a saved function, and the message says where in it

    def locate(self, text: str) -> "KqlError":
        """Fills in line and column from the text of the query."""
        if self.at >= 0 and not self.line:
            before = text[: self.at]
            self.line = before.count("\n") + 1
            self.column = self.at - (before.rfind("\n") + 1) + 1
        return self


@contextmanager
def placed(at: int) -> Iterator[None]:
    """What goes wrong in it and has no place gets this one."""
    try:
        yield
    except KqlError as fault:
        if fault.at < 0:
            fault.at = at
        raise
