"""Requests to Graph, from the lake's rows to risk: summed up by principal and hour, each counted once."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest
from tests.identity.live.conftest import TENANT, bring, rows, run
from tests.identity.streams import DAY, MAC, START, instant, quiet, sign_in

from bartizan.app.assembly import fed
from bartizan.auth.keys import SYSTEM
from bartizan.identity.events import activity
from bartizan.identity.stage import IdentityStage
from bartizan.identity.traffic import COUNTS, PLACE, REQUESTS, TABLE, TrafficStage, kind_of
from bartizan.lake import Lake, open_lake
from bartizan.store import Store

pytestmark = pytest.mark.anyio

HOUR = 3600.0
GRAPH = "https://graph.microsoft.com"
BRAZIL = {
    "address": "203.0.113.66", "asn": 65551, "country": "BR", "city": "Recife", "place": (-8.05, -34.9), "agent": MAC,
}  # fmt: skip


@pytest.fixture
async def lake(target: str) -> AsyncIterator[Lake]:
    opened = open_lake(target)
    await opened.start()
    yield opened
    await opened.close()


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def requests(user: str, at: float, number: int, *paths: str, **more: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """So many within half an hour from the time on, of the paths in turn."""
    for n in range(number):
        yield (
            TABLE,
            {
                "TimeGenerated": instant(at + n * HOUR / 2 / number),
                "RequestUri": f"{GRAPH}/v1.0/{paths[n % len(paths)]}",
                "ResponseStatusCode": 403 if more.get("denied") and n % 4 == 0 else 200,
                "IPAddress": more.get("address", "198.51.1.7"),
                "AppId": "app-1",
                **({"ServicePrincipalId": user} if more.get("workload") else {"UserId": user}),
            },
        )


WIDE = ("users", "groups/1/members", "applications", "devices", "roleManagement/directory", "me/messages")


async def settle(stage: TrafficStage) -> None:
    while await stage.step():
        pass


@pytest.mark.parametrize(
    ("uri", "kind"),
    [
        (f"{GRAPH}/v1.0/users?$top=5", "users"),
        (f"{GRAPH}/beta/users/u1", "users"),
        (f"{GRAPH}/v1.0/users/u1/messages/m1/attachments", "mail"),
        (f"{GRAPH}/v1.0/me/mailFolders('inbox')/messages", "mail"),
        (f"{GRAPH}/v1.0/me", "me"),
        (f"{GRAPH}/v1.0/me/drive/root:/a.txt:/content", "drive"),
        (f"{GRAPH}/v1.0/drives/d1/items/i1", "drive"),
        (f"{GRAPH}/v1.0/users('u1')/chats", "chats"),
        (f"{GRAPH}/v1.0/groups/g1/members", "groups"),
        ("https://graph.windows.net/11111111-2222-4333-8444-555555555555/users?api-version=1.6", "users"),
        ("/v1.0/applications", "applications"),
        (GRAPH, ""),
        ("", ""),
    ],
)
def test_what_a_request_is_for(uri: str, kind: str) -> None:
    assert kind_of(uri) == kind


async def test_an_hour_is_one_record_once_it_is_over(store: Store, lake: Lake) -> None:
    """Each request once, whenever it comes, and whatever crashes in between."""
    at = START + 10 * HOUR
    clock = Clock(at + 1_000)
    first = [*requests("u1", at, 40, "users", "me/messages", denied=True)]
    await lake.append(TENANT, first)
    await settle(TrafficStage(store, lake, clock=clock))
    assert await rows(store, REQUESTS.name) == {}
    await lake.append(TENANT, [*requests("u1", at + 1_800, 20, "users", address="203.0.113.9")])
    await lake.append("other", [*requests("u1", at, 5, "users")])
    await settle(TrafficStage(store, lake, clock=clock))
    # As after a crash between the tenant's write and the one that keeps how far all are.
    await store.tenant(SYSTEM).write(lambda tx: tx.set_value(PLACE, None), actor="test")
    await settle(TrafficStage(store, lake, clock=clock))
    clock.now = at + HOUR + 601
    await settle(TrafficStage(store, lake, clock=clock))
    (record,) = (await rows(store, REQUESTS.name)).values()
    assert record == {
        "timeGenerated": instant(at + 1_800 + 19 * 90).replace("Z", "0000Z"),
        "principalId": "u1",
        "isWorkload": False,
        "appId": "app-1",
        "ipAddress": "198.51.1.7",
        "requests": 60,
        "distinctResourceKinds": 2,
        "resourceKinds": ["users", "mail"],
        "denied403": 10,
    }
    assert activity({"id": "x", **record}).requests == 60
    assert len(await rows(store, REQUESTS.name, "other")) == 1
    await lake.append(TENANT, [*requests("u1", at, 7, "users")])  # far too late
    for _ in range(2):
        clock.now += 1_000
        await settle(TrafficStage(store, lake, clock=clock))
    assert list((await rows(store, REQUESTS.name)).values()) == [record]
    assert await rows(store, COUNTS.name) == {}


async def test_a_file_of_old_requests_in_parts_is_counted_whole(store: Store, lake: Lake) -> None:
    at = START + 10 * HOUR
    clock = Clock(at + 20 * DAY)
    stage = TrafficStage(store, lake, clock=clock)
    for _ in range(3):
        await lake.append(TENANT, [*requests("u1", at, 30, "users")])
        await settle(stage)
        clock.now += 60
    clock.now += 120
    await settle(stage)
    (record,) = (await rows(store, REQUESTS.name)).values()
    assert record["requests"] == 90


@pytest.mark.parametrize(
    ("number", "paths", "risky"), [(1_500, WIDE, True), (1_500, ("users",), False), (90, WIDE, False)]
)
async def test_requests_raise_the_sign_in_that_they_go_on_from(
    store: Store, lake: Lake, number: int, paths: tuple[str, ...], risky: bool
) -> None:
    at = START + 14 * DAY + 10 * HOUR
    await bring(store, [*quiet(8, 14), sign_in("away", at - 300, "u1", session="s-away", **BRAZIL)])
    stage = IdentityStage(store, fed())
    await run(stage)
    before = (await rows(store, "signIns"))["away"]
    clock = Clock(at + 2 * HOUR)
    await lake.append(TENANT, [*requests("u1", at, number, *paths, address="203.0.113.66")])
    traffic = TrafficStage(store, lake, clock=clock)
    await settle(traffic)
    clock.now += 600
    await settle(traffic)
    await run(stage)
    after = (await rows(store, "signIns"))["away"]
    types = {each["riskEventType"] for each in (await rows(store, "riskDetections")).values()}
    assert ("suspiciousAPITraffic" in types) is risky
    assert ("suspiciousAPITraffic" in after["riskEventTypes_v2"]) is risky
    if risky:
        detections = (await rows(store, "riskDetections")).values()
        (found,) = [each for each in detections if each["riskEventType"] == "suspiciousAPITraffic"]
        told = {pair["Key"]: pair["Value"] for pair in msgspec.json.decode(found["additionalInfo"])}
        assert (told["requests"], found["detectionTimingType"], found["requestId"]) == (number, "offline", "away")
    else:
        assert after["riskEventTypes_v2"] == before["riskEventTypes_v2"]
    # What waits outlives the process: it is settled by another one, which ends alike.
    await bring(store, list(quiet(8, 18, seed=5))[8 * 3 * 16 :])
    await run(IdentityStage(store, fed()))
    settled = (await rows(store, "signIns"))["away"]
    assert ("suspiciousAPITraffic" in settled["riskEventTypes_v2"]) is risky


async def test_a_workload_that_reads_the_directory_is_a_risk_of_its_own(store: Store, lake: Lake) -> None:
    at = START + 14 * DAY + 10 * HOUR
    await bring(store, list(quiet(2, 2)))
    clock = Clock(at + 3 * HOUR)
    steady = [
        each for hour in range(12) for each in requests("sp-1", at - (hour + 1) * HOUR, 20, "users", workload=True)
    ]
    await lake.append(TENANT, steady)
    await lake.append(TENANT, [*requests("sp-1", at, 3_000, *WIDE, workload=True, denied=True)])
    traffic = TrafficStage(store, lake, clock=clock)
    await settle(traffic)
    clock.now += 600
    await settle(traffic)
    await run(IdentityStage(store, fed()))
    (found,) = (await rows(store, "servicePrincipalRiskDetections")).values()
    assert (found["riskEventType"], found["servicePrincipalId"]) == ("suspiciousAPITraffic", "sp-1")
    assert await rows(store, "riskDetections") == {}
