"""Prometheus metrics of the API: plain numbers while requests run, made metrics when they are asked for."""

from bisect import bisect_left
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
MAX_LABELS = 4_000  # label sets; shapes of paths are bounded by the declarations, this bounds what is left


class Meter:
    """Counts requests and their seconds by verb and shape of the path; the shape never holds a key."""

    kind = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(self)
        self._counts: dict[tuple[str, str, int], int] = {}
        self._buckets: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}

    def request(self, verb: str, shape: str, status: int, seconds: float) -> None:
        key = (verb, shape, status)
        counts = self._counts
        if key not in counts and len(counts) >= MAX_LABELS:
            key = (verb, "other", status)
        counts[key] = counts.get(key, 0) + 1
        buckets = self._buckets.get(verb)
        if buckets is None:
            buckets = self._buckets[verb] = [0] * (len(_SECONDS) + 1)
        buckets[bisect_left(_SECONDS, seconds)] += 1
        self._sums[verb] = self._sums.get(verb, 0.0) + seconds

    def collect(self) -> Iterable[Metric]:
        requests = CounterMetricFamily(
            "bartizan_requests", "Requests by verb, path and status.", labels=("verb", "path", "status")
        )
        for (verb, shape, status), count in list(self._counts.items()):
            requests.add_metric((verb, shape, str(status)), count)
        yield requests
        times = HistogramMetricFamily(
            "bartizan_request_seconds", "Seconds until the answer was handed over.", labels=("verb",)
        )
        for verb, buckets in list(self._buckets.items()):
            below, cumulated = 0, []
            for bound, count in zip([*map(str, _SECONDS), "+Inf"], buckets, strict=True):
                below += count
                cumulated.append((bound, below))
            times.add_metric((verb,), cumulated, self._sums[verb])
        yield times

    def text(self) -> bytes:
        return generate_latest(self.registry)
