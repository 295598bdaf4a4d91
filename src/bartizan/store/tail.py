"""The newest part of the feed in memory, so that what all stages of a process read comes from the database once."""

import threading
from bisect import bisect_right
from collections.abc import Callable, Sequence
from operator import attrgetter

from bartizan.store.interface import Change

ROOM = 2_000  # change numbers that it reaches back

_seq = attrgetter("seq")


class Tail:
    """Every change behind `low`, up to `high`, by collection; grows when it is read. Changes of a tenant that is erased
    meanwhile stay until others have taken their place: whoever reads them finds no document any more, as of any object
    that was deleted since.
    """

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._lock = threading.Lock()
        self._by: dict[str, list[Change]] = {}
        self._low = self._high = 0

    def read(
        self,
        after: int,
        top: int,
        limit: int,
        collections: Sequence[str],
        between: Callable[[int, int], Sequence[Change]],
    ) -> list[Change] | None:
        """Those behind `after`, in order, at most `limit`; None where it does not reach back so far. `top` is the
        feed's head; `between` reads what lies behind one number, up to another.
        """
        with self._lock:
            self._reach(after, top, between)
            if after < self._low:
                return None
            found: list[Change] = []
            for name in set(collections):
                its = self._by.get(name, ())
                start = bisect_right(its, after, key=_seq)
                found += its[start : start + limit]
        found.sort(key=_seq)
        return found[:limit]

    def _reach(self, after: int, top: int, between: Callable[[int, int], Sequence[Change]]) -> None:
        low, high = max(self._low, top - self._room), self._high
        if top < high or low > high:  # the store was set back; or there is more that is new than there is room
            self._by.clear()
            self._low = self._high = low = high = min(max(after, top - self._room), top)
        if high < top:
            for change in between(high, top):
                self._by.setdefault(change.collection, []).append(change)
            self._high = top
        if low - self._low > self._room // 4:
            for its in self._by.values():
                del its[: bisect_right(its, low, key=_seq)]
            self._low = low
