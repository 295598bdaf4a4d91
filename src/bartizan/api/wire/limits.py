"""Rate limits: token buckets per application and tenant, in memory of one process; off unless a setting turns them on.

Source: "Microsoft Graph service-specific throttling limits" for the preset `graph`.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Literal

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


class Limits:
    """Takes one token for a request, or raises TooManyRequests with the seconds until there is one."""

    def __init__(self, limits: Mapping[str, Limit], monotonic: Callable[[], float]) -> None:
        self._limits = limits
        self._now = monotonic
        self._buckets: OrderedDict[tuple[str, str, str], tuple[float, float]] = OrderedDict()  # (tokens, when)

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
        key = (area, app, tenant)
        now = self._now()
        tokens, when = self._buckets.get(key, (float(limit.requests), now))
        rate = limit.requests / limit.window_s
        tokens = min(float(limit.requests), tokens + (now - when) * rate)
        if tokens < 1:
            wait_s = max(1, round((1 - tokens) / rate + 0.5))
            raise TooManyRequests(
                f"Too many requests: {limit.requests} in {limit.window_s:g} s for {area} by {limit.by}.",
                retry_after_s=wait_s,
            )
        self._buckets[key] = (tokens - 1, now)
        self._buckets.move_to_end(key)
        if len(self._buckets) > MAX_BUCKETS:
            self._buckets.popitem(last=False)
