"""An incident of very many alerts: what it costs to open goes with what is shown, not with what there is."""

from typing import Any

import pytest
from tests.api.conftest import Around, World

from bartizan.store.interface import Page, Query

pytestmark = pytest.mark.anyio
INCIDENTS = "/beta/security/incidents"


@pytest.fixture
def rows(world: World) -> list[int]:
    """Of each page that is read, how many."""
    read: list[int] = []

    async def page(real: Any, collection: str, query: Query) -> Page:
        found: Page = await real(collection, query)
        read.append(len(found.rows))
        return found

    world.graph.store = Around(world.store, page=page)
    return read


async def incident(world: World, size: int) -> str:
    id = str((await world.post(INCIDENTS, {"displayName": f"of {size}"}))["id"])
    for start in range(0, size, 500):
        some = range(start, min(size, start + 500))
        bodies = [{"title": f"alert {at}", "severity": ("low", "high")[at % 2], "incidentId": id} for at in some]
        await world.post("/v1.0/security/alerts_v2", bodies)
    return id


async def cost(world: World, rows: list[int], path: str) -> tuple[int, int]:
    """(pages, rows) that the store reads."""
    rows.clear()
    await world.get(path)
    return len(rows), sum(rows)


async def test_opening_goes_with_the_page(world: World, rows: list[int]) -> None:
    """Alone, in a list, expanded or followed: a tenth of the alerts costs as much."""
    small, large = await incident(world, 120), await incident(world, 1_200)
    for query in ("?$expand=alerts($top=20)", "/alerts?$top=20", "", "/graph(alerts=20)"):
        few, many = [await cost(world, rows, f"{INCIDENTS}/{id}{query}") for id in (small, large)]
        assert few == many and few[1] <= 22, query
    both = await cost(world, rows, f"{INCIDENTS}?$expand=alerts($top=20)")
    assert both == (4, 2 + 2 * 21 + 2 * 21)  # the incidents, what of both fills a page, and then of each


async def test_what_is_expanded_leads_on(world: World) -> None:
    """The link has the same filter, order and selection as what stands before it."""
    id = await incident(world, 60)
    wanted = "$filter=severity eq 'high';$orderby=title;$select=title"
    found = await world.get(f"{INCIDENTS}/{id}?$expand=alerts({wanted};$top=10)")
    link = found["alerts@odata.nextLink"]
    rest = await world.every(link)
    titles = [each["title"] for each in (*found["alerts"], *rest)]
    assert titles == sorted(f"alert {at}" for at in range(1, 60, 2))
    assert all("severity" not in each for each in rest)


async def test_two_large_ones_in_one_list(world: World) -> None:
    first, second = await incident(world, 30), await incident(world, 40)
    listed = (await world.get(f"{INCIDENTS}?$expand=alerts($top=5)"))["value"]
    assert {each["id"]: len(each["alerts"]) for each in listed} == {first: 5, second: 5}
    assert all({alert["incidentId"] for alert in each["alerts"]} == {each["id"]} for each in listed)
