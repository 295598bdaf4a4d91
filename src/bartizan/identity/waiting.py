"""Events on their way from the answer at once to the last word.

What arrives is answered in the order of arrival; it waits here, and is settled in the order of the events' own times,
two days behind the newest. So late events change nothing of the end.
"""

import heapq

from bartizan.identity.engine import Feedback
from bartizan.identity.events import Event

SETTLED_S = 48 * 3600.0

Step = Event | Feedback
Position = tuple[float, str]  # time and id of an event


class Waiting:
    """Of one tenant. Beyond `most` the oldest are due early (None: however many there are)."""

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._heap: list[tuple[float, str, int, Step]] = []  # the number tells two of one id apart
        self._pushed = 0

    def push(self, event: Step) -> None:
        self._pushed += 1
        heapq.heappush(self._heap, (event.at, event.id, self._pushed, event))

    def drop(self, ids: set[str]) -> None:
        self._heap = [each for each in self._heap if each[1] not in ids]
        heapq.heapify(self._heap)

    def more(self, until: float) -> bool:
        """Whether something is due."""
        heap = self._heap
        return bool(heap) and (heap[0][0] <= until or (self._most is not None and len(heap) > self._most))

    def due(self, until: float, limit: int | None = None, after: Position = (0.0, "")) -> list[Step]:
        """Taken out, in the order of their times: what happened until then, and what comes before `after`, which the
        settled state has passed already."""
        found: list[Step] = []
        while self._heap and (limit is None or len(found) < limit):
            if not self.more(until) and self._heap[0][:2] > after:
                break
            event = heapq.heappop(self._heap)[3]
            found.append(event)
            after = max(after, (event.at, event.id))
        return found
