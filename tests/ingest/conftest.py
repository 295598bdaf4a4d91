"""A store, a lake that remembers, and a source made for the tests."""

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import bartizan.sources  # noqa: F401 - registers them
from bartizan.errors import TooLarge
from bartizan.extend import SOURCES, Event, GraphObject, Record, Source
from bartizan.ingest.pipeline import MARKS, Pipeline
from bartizan.lake.tables import declare
from bartizan.model import security as graph
from bartizan.model.alert import Alert, Observed
from bartizan.store import Collection, Store, open_store
from bartizan.store.alerts import COLLECTIONS, INCIDENTS

NOW = datetime(2026, 11, 23, 5, tzinfo=UTC)
SIGN_INS = Collection(name="signIns", type="microsoft.graph.signIn")
AUDITS = Collection(name="directoryAudits", type="microsoft.graph.directoryAudit")
FED = {each.name: each for each in (SIGN_INS, AUDITS, INCIDENTS)}  # what sources fill beside alerts
TENANT = "tenant-1"


class Plain(Source):
    """Records such as {"id", "title"} are alerts, {"event"} events, {"signin"} sign-ins; "bad" makes it fall over."""

    name = "plain_test"
    vendor = "Acme"
    product = "Plain"

    def normalise(self, record: Record) -> Iterator[Alert | Event | GraphObject]:
        data = record.data
        if not isinstance(data, dict):
            yield Event("PlainText", {"Message": record.text})
            return
        if "bad" in data:
            raise KeyError(data["bad"])
        for title in data.get("titles", [data["title"]] if "title" in data else []):
            yield Alert(
                vendor=self.vendor,
                product=self.product,
                provider_alert_id=f"{data.get('id')}:{title}" if "titles" in data else str(data.get("id")),
                title=title,
                severity=data.get("severity", "low"),
                status=data.get("status", "new"),
                description=data.get("text"),
                vendor_category=data.get("category"),
                first_activity=data.get("at"),
                evidence=[graph.DeviceEvidence(hostName=name) for name in data.get("hosts", [])],
            )
        if "event" in data:
            row = {"Kind": data["event"]} | ({"Timestamp": data["at"]} if "at" in data else {})
            yield Event(data.get("table", "PlainEvents"), row, (Observed("user", data.get("user", "-")),))
        if "signin" in data:
            body = {
                "id": data["signin"],
                "userPrincipalName": "ann@example.org",
                "createdDateTime": "2026-01-01T00:00:00Z",
            }
            yield GraphObject("signIns", "microsoft.graph.signIn", body, (Observed("user", "ann@example.org"),))


for name in ("PlainEvents", "PlainText"):
    declare(name, {"Timestamp": "datetime", "Kind": "string", "Message": "string", "AdditionalFields": "dynamic"})
PLAIN = SOURCES.pop("plain_test")  # of these tests only


class Lake:
    """Remembers what was appended; fails while `down` is set, and above `most` rows at once."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, dict[str, Any]]] = []
        self.named: set[tuple[str, str]] = set()
        self.down: Exception | None = None
        self.most = 100_000

    async def append(self, tenant: str, rows: Sequence[tuple[str, dict[str, Any]]], *, once: str) -> None:
        if self.down is not None:
            raise self.down
        if len(rows) > self.most:
            raise TooLarge(f"{len(rows)} events at once")
        stage, _, part = once.partition("/")
        assert part == "1"
        if (tenant, stage) not in self.named:
            self.named.add((tenant, stage))
            self.rows += [(tenant, table, row) for table, row in rows]

    async def forget(self, tenant: str, stage: str) -> None:
        self.named.discard((tenant, stage))


@pytest.fixture
async def any_store(target: str) -> AsyncIterator[Store]:
    """On each engine."""
    store = open_store(target, (*COLLECTIONS, MARKS, SIGN_INS, AUDITS))
    await store.start()
    yield store
    await store.close()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = open_store(tmp_path / "data", (*COLLECTIONS, MARKS, SIGN_INS, AUDITS))
    await store.start()
    yield store
    await store.close()


@pytest.fixture
def lake() -> Lake:
    return Lake()


@pytest.fixture
def pipeline(store: Store, lake: Lake) -> Pipeline:
    return Pipeline(store, lake, collections=FED, sources={"plain_test": PLAIN}, clock=lambda: NOW)
