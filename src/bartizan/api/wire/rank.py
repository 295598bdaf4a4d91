"""Ids in the order of values that were read beforehand, and places in that order: what a page goes on from."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bartizan.odata import Position, sort_key
from bartizan.odata.tree import Order, Path

Value = tuple[bool, Any]  # whether there is one, and which: nulls come first, and last when descending


def reader(path: Path) -> Callable[[dict[str, Any]], Value]:
    """The value of a path in an object, as it is ranked."""
    read = sort_key((Order(path),))
    return lambda item: read(item)[0]  # a key of one part


class Ranking:
    """`values` of each id, one for each key of the order; what is equal in all comes by id."""

    def __init__(self, order: Sequence[Order], values: Mapping[str, Sequence[Value]]) -> None:
        self._descending = [key.descending for key in order]
        self._values = values
        self.ids = sorted(values)
        for number in reversed(range(len(self._descending))):  # by the last key first: sorting keeps equals in order
            self.ids.sort(key=lambda id: self._values[id][number], reverse=self._descending[number])

    def place(self, id: str) -> Position:
        return (*(value if there else None for there, value in self._values[id]), id)

    def behind(self, place: Position | None) -> int:
        """Where the ids behind a place begin."""
        if place is None:
            return 0
        *said, last = place
        values = [(value is not None, 0 if value is None else value) for value in said]
        return next((at for at, id in enumerate(self.ids) if self._is_behind(id, values, str(last))), len(self.ids))

    def _is_behind(self, id: str, values: list[Value], last: str) -> bool:
        for descending, mine, theirs in zip(self._descending, self._values[id], values, strict=True):
            if mine != theirs:
                return (mine > theirs) is not descending
        return id > last
