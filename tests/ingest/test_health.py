"""How sources arrive: counts, silence against the own rhythm, floods, and the alerts that say so."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bartizan.auth import audit
from bartizan.auth.accounts import Accounts
from bartizan.auth.authority import COLLECTIONS as AUTHORITY
from bartizan.ingest import health
from bartizan.ingest.health import Arrivals, Health, look
from bartizan.store import Store, open_store
from bartizan.store.alerts import ALERTS_V2, COLLECTIONS
from bartizan.store.interface import Query

pytestmark = pytest.mark.anyio
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)


class Site:
    """A tenant, and a clock that is set."""

    def __init__(self, store: Store, tenant: str) -> None:
        self.store, self.tenant, self.now = store, tenant, MONDAY
        self.health = Health(store, lambda: self.now)

    async def sends(self, count: int, **more: int) -> None:
        self.health.note(self.tenant, "falco", Arrivals(accepted=count, **more))
        await self.health.flush()

    async def state(self) -> dict[str, Any]:
        row = await self.store.tenant(self.tenant).get(health.SOURCES.name, "falco")
        assert row is not None
        body: dict[str, Any] = json.loads(row.wire("beta"))
        return body

    async def alerts(self) -> list[tuple[str, str]]:
        page = await self.store.tenant(self.tenant).page(ALERTS_V2.name, Query(top=10))
        return [(body["title"], body["status"]) for body in (json.loads(row.doc) for row in page.rows)]

    async def office_hours(self, weeks: int) -> None:
        """60 records an hour from 8 to 18, Monday to Friday."""
        for hour in range(weeks * 168):
            self.now = MONDAY + timedelta(hours=hour, minutes=30)
            if self.now.weekday() < 5 and 8 <= self.now.hour < 18:
                await self.sends(60)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    store = open_store(tmp_path / "data", (*COLLECTIONS, *AUTHORITY, audit.declared(), health.SOURCES))
    await store.start()
    tenant = await Accounts(store).add_tenant("one", "one.example", actor=audit.OPERATOR)
    yield Site(store, tenant.id)
    await store.close()


async def test_counts(site: Site) -> None:
    await site.sends(3, repeats=2, events=1, unreadable=1)
    await site.sends(1)
    found = await site.state()
    assert {name: found[name] for name in found if name.startswith(("records", "events")) and found[name]} == {
        "recordsAccepted": 4,
        "recordsRepeated": 2,
        "recordsUnreadable": 1,
        "eventsStored": 1,
        "recordsInThisHour": 6,
    }
    assert (found["state"], found["lastReceivedDateTime"][:16]) == ("active", "2026-03-02T00:00")


async def test_silence_is_against_the_own_rhythm(site: Site) -> None:
    """Nights and weekends of an office are no silence; an hour without a record at its busy time is, once."""
    await site.office_hours(2)
    friday_evening = site.now = MONDAY + timedelta(days=11, hours=17, minutes=59)
    await site.sends(1)
    for passed in range(1, 62):
        assert await look(site.store, friday_evening + timedelta(hours=passed)) == [], passed
    monday = MONDAY + timedelta(days=14)
    assert await look(site.store, monday + timedelta(hours=8, minutes=10)) == []
    assert await look(site.store, monday + timedelta(hours=9)) == ["falco"]
    assert await look(site.store, monday + timedelta(hours=10)) == []
    assert (await site.state())["state"] == "silent"
    assert await site.alerts() == [("Source falco has fallen silent", "new")]


async def test_the_alert_ends_when_it_speaks_again(site: Site) -> None:
    await site.office_hours(2)
    site.now = MONDAY + timedelta(days=14, hours=9)
    assert await look(site.store, site.now) == ["falco"]
    await site.sends(1)
    assert (await site.state())["state"] == "active"
    assert await site.alerts() == [("Source falco has fallen silent", "resolved")]


async def test_a_new_or_rare_source_has_no_rhythm(site: Site) -> None:
    """Nothing is known in the first day; one record a week is never missed enough."""
    await site.sends(500)
    assert await look(site.store, site.now + timedelta(days=3)) == []
    for week in range(4):
        site.now = MONDAY + timedelta(weeks=week, hours=5)
        await site.sends(1)
    assert await look(site.store, site.now + timedelta(weeks=3)) == []


async def test_a_flood_is_told_once_a_day(site: Site) -> None:
    await site.sends(0, lost=5)
    await site.sends(0, lost=7)
    assert (await site.state())["recordsLost"] == 12
    assert await site.alerts() == [("Records of source falco were lost in a flood", "new")]
