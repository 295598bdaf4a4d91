"""How delivery goes, for metrics: what the process that delivers tells of it, and Prometheus' text of that.

The process that is asked is another one than the one that delivers; they meet in the store.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec
from msgspec import Struct
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from bartizan.auth.keys import SYSTEM
from bartizan.model.times import to_datetime
from bartizan.respond.lines import Watch
from bartizan.store import Store


class Tally(Struct, omit_defaults=True):
    """Of the notifications of one resource, in all tenants together."""

    delivered: int = 0
    failed: int = 0  # tries; each notification counts as often as it was sent in vain
    lost: int = 0  # dead letters
    waiting: int = 0  # in memory; lagging subscriptions have more in the feed
    subscriptions: int = 0
    lagging: int = 0
    oldest: str = ""  # when the change happened that waits longest


class Told(Struct):
    """What the process that delivers tells those that are asked for metrics."""

    at: str
    resources: dict[str, Tally]
    letters: int = 0  # lifecycle notifications that wait


TOLD = "notifications.told"


def told_now(at: str, tallies: Mapping[str, Tally], watches: Iterable[Watch], letters: int) -> Told:
    """Counted since the first start; what waits, as of now."""
    found = {name: Tally(tally.delivered, tally.failed, tally.lost) for name, tally in sorted(tallies.items())}
    for watch in watches:
        tally = found.setdefault(watch.of.what.set.collection, Tally())
        tally.subscriptions += 1
        tally.lagging += watch.lagging
        tally.waiting += len(watch.queue)
        if watch.queue and (not tally.oldest or watch.queue[0].at < tally.oldest):
            tally.oldest = watch.queue[0].at
    return Told(at, found, letters)


async def last_told(store: Store) -> Told | None:
    """None where nothing has delivered yet."""
    value = await store.tenant(SYSTEM).value(TOLD)
    return None if value is None else msgspec.json.decode(value, type=Told)


def metrics(found: Told | None, now: str) -> bytes:
    """In Prometheus' text form, by resource; no tenant, subscription or endpoint is named."""
    if found is None:
        return b""
    made = CollectorRegistry()
    made.register(_Collected(found, to_datetime(now)))
    return generate_latest(made)


class _Collected:
    def __init__(self, found: Told, now: datetime) -> None:
        self._found, self._now = found, now

    def _age(self, at: str) -> float:
        return max(0.0, (self._now - to_datetime(at)).total_seconds()) if at else 0.0

    def collect(self) -> Iterable[Metric]:
        counters = {
            "delivered": "Change notifications that arrived.",
            "failed": "Change notifications that were tried and did not arrive; each try counts.",
            "lost": "Change notifications that were given up: dead letters.",
        }
        gauges = {
            "waiting": "Change notifications in the queue.",
            "subscriptions": "Subscriptions that are served.",
            "lagging": "Subscriptions that are behind, with more in the feed than in the queue.",
        }
        resources = self._found.resources.items()
        for name, text in counters.items():
            counter = CounterMetricFamily(f"bartizan_notifications_{name}", text, labels=["resource"])
            for resource, tally in resources:
                counter.add_metric([resource], getattr(tally, name))
            yield counter
        for name, text in gauges.items():
            gauge = GaugeMetricFamily(f"bartizan_notifications_{name}", text, labels=["resource"])
            for resource, tally in resources:
                gauge.add_metric([resource], getattr(tally, name))
            yield gauge
        oldest = GaugeMetricFamily(
            "bartizan_notifications_oldest_seconds", "Age of the change that waits longest.", labels=["resource"]
        )
        for resource, tally in resources:
            oldest.add_metric([resource], self._age(tally.oldest))
        yield oldest
        yield GaugeMetricFamily(
            "bartizan_lifecycle_notifications_waiting", "Lifecycle notifications in the queue.", self._found.letters
        )
        yield GaugeMetricFamily(
            "bartizan_notifications_told_seconds",
            "Since the process that delivers told this.",
            self._age(self._found.at),
        )
