"""What the lake holds and how far its readers are, for metrics. No tenant is named: only how many wait.

Source: Prometheus, "Exposition formats".
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from bartizan.lake.buffer import Lake, Sizes
from bartizan.lake.manifest import Extent, Manifest
from bartizan.lake.readers import FLUSHER
from bartizan.lake.writer import Db


class Behind(Struct, frozen=True):
    """What a reader of the buffer has not passed yet."""

    reader: str
    batches: int
    rows: int
    tenants: int


class Held(Struct, frozen=True):
    buffer: Sizes
    behind: Sequence[Behind]
    tables: Sequence[Extent]


async def held(lake: Lake, manifest: Manifest) -> Held:
    return Held(await lake.sizes(), await lake.read(_behind), await manifest.extents())


def _behind(db: Db) -> list[Behind]:
    """Of each reader that is known, and of the flush also before it has begun."""
    places = {FLUSHER: 0} | {str(name): int(at) for name, at in db.rows("SELECT name, position FROM lake_cursors")}
    sql = "SELECT count(*), coalesce(sum(row_count), 0), count(DISTINCT tenant) FROM lake_batches WHERE seq > ?"
    return [Behind(name, *(int(number) for number in db.rows(sql, (at,))[0])) for name, at in sorted(places.items())]


def metrics(found: Held) -> bytes:
    """In Prometheus' text form."""
    made = CollectorRegistry()
    made.register(_Collected(found))
    return generate_latest(made)


class _Collected:
    def __init__(self, found: Held) -> None:
        self._found = found

    def collect(self) -> Iterable[Metric]:
        for name, text in (("files", "Files"), ("rows", "Rows in files"), ("bytes", "Bytes of files")):
            gauge = GaugeMetricFamily(f"bartizan_lake_{name}", f"{text} of the lake.", labels=["table"])
            for each in self._found.tables:
                gauge.add_metric([each.table], getattr(each, name))
            yield gauge
        buffer = self._found.buffer
        for name, number, text in (
            ("batches", buffer.batches, "Batches"),
            ("rows", buffer.rows, "Rows"),
            ("bytes", buffer.stored_bytes, "Bytes, compressed,"),
        ):
            yield GaugeMetricFamily(f"bartizan_lake_buffer_{name}", f"{text} in the buffer.", number)
        for name, text in (
            ("batches", "Batches that a reader of the buffer has not passed."),
            ("rows", "Rows that a reader of the buffer has not passed."),
            ("tenants", "Tenants of which a reader of the buffer has something before it."),
        ):
            gauge = GaugeMetricFamily(f"bartizan_lake_behind_{name}", text, labels=["reader"])
            for reader in self._found.behind:
                gauge.add_metric([reader.reader], getattr(reader, name))
            yield gauge
