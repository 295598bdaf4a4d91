"""Following a system by the time of the last change of its objects, so that none is missed.

The rule: a look begins `late_s` before the newest time that was ever seen, and gives only versions (an id with its
time) that no look has given. What the system shows late, with an older time, is found for `late_s`. The cursor holds
the newest time and marks of the versions since `late_s` before it; where a mark is lost (more than MAX_SEEN), its
version comes again, which changes nothing: an alert is recognised by its id and content when it is taken in.

The newest time never passes the system's own clock: an object that changes while it is read, or whose clock is wrong,
must not carry the look over others.
"""

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import Struct

from bartizan.connectors.http import answered
from bartizan.extend.connectors import Reply
from bartizan.model import times

MAX_SEEN = 1_000  # marks in a cursor, which has at most 65,536 characters
SETTLED_S = 5  # younger times do not move the cursor: clocks of a system's machines differ


class _Place(Struct, kw_only=True, omit_defaults=True):
    at: str  # the newest time
    seen: dict[str, str] = {}  # mark of a version -> its time


class Followed:
    """One look. `since` is where it begins, included."""

    def __init__(self, cursor: str | None, *, since_days: float, late_s: int) -> None:
        self._late_s = late_s
        place = _read(cursor)
        self._kept = place or _Place(at=times.instant(datetime.now(UTC) - timedelta(days=since_days)))
        self.since = self._kept.at if place is None else ago(self._kept.at, late_s)
        self._at = self._kept.at
        self._last = ""
        self._seen = dict(self._kept.seen)
        self._ordered = True

    def fresh(self, id: Any, time: Any, reply: Reply) -> bool:
        """Whether this version is new. To be told of every one, in the order in which the system gave them."""
        at = instant_of(time)
        if at <= settled(reply):
            self._ordered = self._ordered and at >= self._last
            self._last = max(self._last, at)
            self._at = max(self._at, at)
        mark = sha256(f"{id}\0{at}".encode()).hexdigest()[:12]
        if mark in self._seen:
            return False
        self._seen[mark] = at
        return True

    @property
    def last(self) -> str:
        """The newest time of this look; "" before the first."""
        return self._last

    def cursor(self, *, done: bool) -> str:
        """Where the next look begins. Of pages that did not keep the order only the end moves it; `done` says that
        everything up to the newest time was read."""
        if self._ordered or done:
            since = ago(self._at, self._late_s)
            young = {mark: at for mark, at in self._seen.items() if at >= since}
            if len(young) > MAX_SEEN:
                young = dict(sorted(young.items(), key=lambda each: each[1])[-MAX_SEEN:])
            self._kept = _Place(at=self._at, seen=young)
        return msgspec.json.encode(self._kept).decode()


def _read(cursor: str | None) -> _Place | None:
    """None where there is none, or one that cannot be read: the look begins anew then."""
    with suppress(ValueError, TypeError):
        place = None if cursor is None else msgspec.json.decode(cursor, type=_Place)
        return place if place is not None and instant_of(place.at) else None
    return None


def settled(reply: Reply) -> str:
    """The instant up to which a reply is complete."""
    return times.instant(answered(reply.headers) - timedelta(seconds=SETTLED_S))


def ago(at: str, seconds: float) -> str:
    return times.instant(times.to_datetime(at) - timedelta(seconds=seconds))


def instant_of(value: Any) -> str:
    """In wire form; "" where it is none."""
    with suppress(ValueError, TypeError, AttributeError):
        return times.parse(value)
    return ""


def moved(there: Any, known: str | None) -> bool:
    """Whether an object has changed in its system since we saw it (both its own update times)."""
    return known is not None and instant_of(there) > (instant_of(known) or "9")


def overwritten(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Words that were set to something else than they were, as they were; both in Graph's words."""
    return {word: value for word, value in before.items() if word in after and after[word] != value}


def spoken(members: Mapping[str, str], there: Any) -> Any:
    """Graph's member for a system's, by the table that leads there (of several the last); the system's own word where
    the table has it not, None where it says nothing."""
    back = {own.lower(): member for member, own in members.items()}
    member = back.get(str(there or "").lower(), there or None)
    return None if member == "unknown" else member
