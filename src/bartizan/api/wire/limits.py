"""Rate limits: token buckets per application and tenant; off unless a setting turns them on.

Of one API process they are kept in its memory. Several of one group share them in a mapped file, under a lock of the
bytes that one request touches: two system calls, about a thousandth of what the request costs. Groups on several
machines do not share.

Source: "Microsoft Graph service-specific throttling limits" for the preset `graph`.
"""

import fcntl
import hashlib
import mmap
import os
import struct
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from msgspec import Struct

from bartizan.auth.caller import Caller
from bartizan.errors import TooManyRequests

MAX_BUCKETS = 50_000  # the one used longest ago is forgotten first: it is full again by then


class Limit(Struct, frozen=True):
    """`requests` in `window_s` for each (application, tenant), or for each tenant or application."""

    requests: int
    window_s: float
    by: Literal["app+tenant", "tenant", "app"] = "app+tenant"


GRAPH: Mapping[str, Limit] = {
    "any": Limit(2000, 1, "app"),
    "alert": Limit(150, 60),
    "securityAction": Limit(150, 60),
    "secureScore": Limit(150, 60),
    "tiIndicator": Limit(1000, 60),
    "identityProtection": Limit(1, 1, "tenant"),
    "auditLogs": Limit(5, 10),
    "directory": Limit(3500, 10),
    "subscriptions": Limit(5000, 20),
    "hunting": Limit(45, 60, "tenant"),
}


def limits_of(text: str) -> Mapping[str, Limit]:
    """The setting: `off`, `graph`, `alert=600/60` (requests in seconds), several with commas; later ones win."""
    found: dict[str, Limit] = {}
    for part in text.split(","):
        area, own, rate = part.partition("=")
        if own:
            requests, _, seconds = rate.partition("/")
            found[area] = Limit(int(requests), float(seconds), GRAPH[area].by)
        else:
            found = dict(GRAPH) if part == "graph" else {}
    return found


Key: TypeAlias = tuple[str, str, str]  # area, application, tenant


class Buckets(Protocol):
    """Where the tokens are."""

    def take(self, key: Key, limit: Limit, now: float) -> float:
        """Takes one token and gives what was there before; under 1, none was taken."""
        ...


def _filled(tokens: float, when: float, limit: Limit, now: float) -> float:
    most = float(limit.requests)
    return min(most, tokens + (now - when) * most / limit.window_s)


class OwnBuckets:
    """Of this process alone."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[Key, tuple[float, float]] = OrderedDict()  # (tokens, when)

    def take(self, key: Key, limit: Limit, now: float) -> float:
        known = self._buckets.get(key)
        tokens = float(limit.requests) if known is None else _filled(*known, limit, now)
        if tokens >= 1:
            self._buckets[key] = (tokens - 1, now)
            self._buckets.move_to_end(key)
            if len(self._buckets) > MAX_BUCKETS:
                self._buckets.popitem(last=False)
        return tokens


_ROWS = 1 << 13
_WAYS = 8  # buckets that share a row; of more, the one used longest ago is forgotten
_BUCKET = struct.Struct("=8sdd")  # hash of the key, tokens, when
_ROW_BYTES = _BUCKET.size * _WAYS


class SharedBuckets:
    """Of all processes that map the same file (1.6 MB). Its clock is one for the machine, and starts anew with it."""

    def __init__(self, file: Path) -> None:
        self._handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.ftruncate(self._handle, _ROWS * _ROW_BYTES)
        self._map = mmap.mmap(self._handle, _ROWS * _ROW_BYTES)

    def take(self, key: Key, limit: Limit, now: float) -> float:
        # The limit belongs to the key: who changes the setting starts with full buckets.
        text = "\0".join((*key, str(limit.requests), str(limit.window_s)))
        digest = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).digest()
        own, start = digest[:8], int.from_bytes(digest[8:], "big") % _ROWS * _ROW_BYTES
        fcntl.lockf(self._handle, fcntl.LOCK_EX, _ROW_BYTES, start)
        try:
            place, oldest, tokens = start, float("inf"), float(limit.requests)
            for at in range(start, start + _ROW_BYTES, _BUCKET.size):
                name, kept, when = _BUCKET.unpack_from(self._map, at)
                if name == own and when <= now:
                    place, tokens = at, _filled(kept, when, limit, now)
                    break
                since = when if when <= now else 0.0  # from before the machine started
                if since < oldest:
                    place, oldest = at, since
            if tokens >= 1:
                _BUCKET.pack_into(self._map, place, own, tokens - 1, now)
            return tokens
        finally:
            fcntl.lockf(self._handle, fcntl.LOCK_UN, _ROW_BYTES, start)


class Limits:
    """Takes one token for a request, or raises TooManyRequests with the seconds until there is one."""

    def __init__(
        self, limits: Mapping[str, Limit], monotonic: Callable[[], float], buckets: Buckets | None = None
    ) -> None:
        self._limits = limits
        self._now = monotonic
        self._buckets = buckets or OwnBuckets()

    def take(self, area: str, caller: Caller) -> None:
        if not self._limits:
            return
        for name in ("any", area) if area != "any" else ("any",):
            limit = self._limits.get(name)
            if limit is not None:
                self._take(name, limit, caller)

    def _take(self, area: str, limit: Limit, caller: Caller) -> None:
        app = caller.app if limit.by != "tenant" else ""
        tenant = caller.tenant if limit.by != "app" else ""
        tokens = self._buckets.take((area, app, tenant), limit, self._now())
        if tokens < 1:
            wait_s = max(1, round((1 - tokens) * limit.window_s / limit.requests + 0.5))
            raise TooManyRequests(
                f"Too many requests: {limit.requests} in {limit.window_s:g} s for {area} by {limit.by}.",
                retry_after_s=wait_s,
            )
