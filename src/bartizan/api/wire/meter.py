"""Prometheus metrics of the API."""

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
MAX_LABELS = 4_000  # label sets; shapes of paths are bounded by the declarations, this bounds what is left


class Meter:
    """Counts requests and their seconds by verb and shape of the path; the shape never holds a key."""

    kind = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "bartizan_requests",
            "Requests by verb, path and status.",
            ("verb", "path", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "bartizan_request_seconds",
            "Seconds until the answer was sent.",
            ("verb",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._counters: dict[tuple[str, str, int], Counter] = {}
        self._timers: dict[str, Histogram] = {}

    def request(self, verb: str, shape: str, status: int, seconds: float) -> None:
        key = (verb, shape, status)
        counter = self._counters.get(key)
        if counter is None:
            if len(self._counters) >= MAX_LABELS:
                key = ("other", "other", status)
            counter = self._counters[key] = self._requests.labels(key[0], key[1], str(key[2]))
        counter.inc()
        timer = self._timers.get(verb)
        if timer is None:
            timer = self._timers[verb] = self._seconds.labels(verb if len(self._timers) < 16 else "other")
        timer.observe(seconds)

    def text(self) -> bytes:
        return generate_latest(self.registry)
