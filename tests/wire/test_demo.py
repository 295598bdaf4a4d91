"""The sample organisation of `bartizan demo`: lists have content, starting again changes nothing, attacks unfold."""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import httpx
import pytest
from click.testing import CliRunner
from tests.wire.conftest import Running, seeded

from bartizan import api as resources
from bartizan.demo import posture, story
from bartizan.demo.command import demo
from bartizan.demo.feed import Server, fill
from bartizan.demo.organisation import Organisation
from bartizan.extend import RESOURCES, Can
from bartizan.identity.posture.score import PROVIDER
from bartizan.settings import Settings

resources.load()
# Made by who tries it: whom to tell, and which systems to work with. Nothing provisions in the sample.
_OWN = (f"security/{each}" for each in ("connections", "connectionStreams", "writeBacks"))
# Parts of a directory that the sample organisation does not tell of.
_UNTOLD = ("applications", "directory/administrativeUnits", "administrativeUnits", "subscribedSkus")
_AGENTS = ("identityProtection/riskyAgents", "identityProtection/agentRiskDetections")  # the sample has no agents
_ASKED_OF_SOMEBODY = {"roleManagement/directory/transitiveRoleAssignments"}  # a list of one principal
EMPTY = frozenset({"subscriptions", "auditLogs/provisioning", *_ASKED_OF_SOMEBODY, *_OWN, *_UNTOLD, *_AGENTS})
LISTS = [
    f"/{version}/{each.path}"
    for each in RESOURCES
    for version in each.versions
    if Can.LIST in each.can and each.path not in EMPTY
]
GROWING = (
    *("security/alerts", "security/alerts_v2", "auditLogs/signIns", "auditLogs/directoryAudits"),
    *("security/incidents", "security/ingestionSources"),  # correlation and the counts go on meanwhile
    # of whatever is there
    *("security/entities", "SecurityProfiles", "security/threatIntelligence/hosts"),
    *("auditLogs/signInEventsSummary", "auditLogs/signInEventsAppSummary"),
)
PAST = ("secureScores", "riskDetections", "RiskEvents", "riskyUsers")
T = TypeVar("T")


def value(api: httpx.Client, path: str) -> list[dict[str, Any]]:
    answer = api.get(path)
    assert answer.status_code == 200, f"{path}: {answer.text}"
    found: list[dict[str, Any]] = answer.json()["value"]
    return found


@asynccontextmanager
async def feeding(running: Running) -> AsyncIterator[Server]:
    context = ssl.create_default_context(cafile=str(running.ca))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        yield Server(session, running.root, running.tenant, running.client_id, running.secret)


def fed(running: Running, work: Callable[[Server], Awaitable[T]]) -> T:
    async def main() -> T:
        async with feeding(running) as feed:
            return await work(feed)

    return asyncio.run(main())


@pytest.mark.parametrize("path", LISTS)
def test_every_list_has_content(api: httpx.Client, path: str) -> None:
    end = time.monotonic() + 30
    while not value(api, f"{path}?$top=1"):  # what arrived is counted a few seconds later
        assert time.monotonic() < end, path
        time.sleep(0.5)


def test_a_user_is_tied_to_what_surrounds_him(api: httpx.Client) -> None:
    """Groups, devices, manager, licence: what an investigation asks for."""
    person = Organisation(people=24).people[-1]
    for relation in ("memberOf", "ownedDevices", "registeredDevices", "licenseDetails"):
        assert value(api, f"/v1.0/users/{person.id}/{relation}"), relation
    manager = api.get(f"/v1.0/users/{person.id}/manager").json()
    assert manager["id"] in [each.id for each in Organisation(people=24).people]
    assert person.id in [each["id"] for each in value(api, f"/v1.0/users/{manager['id']}/directReports")]


def own(row: dict[str, Any]) -> bool:
    """Posture that the worker assesses meanwhile: of whatever is there at that moment."""
    return (row.get("vendorInformation") or {}).get("provider") == PROVIDER


def version(row: dict[str, Any]) -> str:
    """Of rules none: the worker runs them meanwhile, and notes it."""
    return "" if "lastRunDetails" in row else str(row["@odata.etag"])


def test_starting_again_changes_nothing(tmp_path: Path) -> None:
    """Nor does it a week later, but that there is another past and a score for each day since."""
    organisation = Organisation(people=24)

    def started(days_later: int) -> dict[str, dict[str, str]]:
        now = datetime.now(UTC) + timedelta(days=days_later)
        fed(server, lambda feed: fill(feed, organisation, now, days=2))
        return {path: {row["id"]: version(row) for row in value(api, path) if not own(row)} for path in LISTS}

    with seeded(tmp_path) as server, server.api() as api:
        before, after, late = started(0), started(0), started(7)
    for path in LISTS:
        if not path.endswith(GROWING):
            assert after[path] == before[path], path
            assert late[path].items() >= before[path].items(), path
            if not path.endswith(PAST):
                assert late[path] == before[path], path
    scores = "/v1.0/security/secureScores"
    assert len(late[scores].keys() - before[scores].keys()) == 7


def placed(api: httpx.Client, id: str) -> str:
    """The incident that correlation has put an alert into."""
    end = time.monotonic() + 30
    while not (found := api.get(f"/v1.0/security/alerts_v2/{id}").json()["incidentId"]):
        assert time.monotonic() < end, id
        time.sleep(0.2)
    return str(found)


def test_an_attack_unfolds(server: Running, api: httpx.Client) -> None:
    """Its incident opens with the first alert and grows with each that names the victim, by whichever name, also that
    of his user in a cloud account; he is at high risk by then."""
    organisation = Organisation(people=24)
    began = datetime.now(UTC) - timedelta(minutes=6)

    async def unfold(feed: Server) -> list[str]:
        ids: list[str] = []
        for step in story.attack(organisation, began, number=1):
            new = await feed.post_all(step.path, [step.body], renew=step.path == posture.RISKY_USERS)
            for id in new:
                await asyncio.to_thread(placed, api, id)
            ids += new
        return ids

    ids = fed(server, unfold)
    incidents = [placed(api, id) for id in ids]
    assert len(ids) == 5 and len(set(incidents)) == 1
    incident = api.get(f"/beta/security/incidents/{incidents[0]}?$expand=alerts").json()
    ours = {"riskDetectionIds", "tiIndicatorId"}  # what risk and indicators add to the story
    told = [each for each in incident["alerts"] if not ours & set(each["additionalData"] or {})]
    assert {each["id"] for each in told} == set(ids)
    assert len({each["productName"] for each in told}) == 4 and incident["severity"] == "high"
    victim = organisation.people[(13 + 4) % 24]
    assert victim.upn in incident["displayName"] and "Linked by" in incident["summary"]
    user = api.get(f"/v1.0/identityProtection/riskyUsers/{victim.id}").json()
    assert (user["userPrincipalName"], user["riskLevel"], user["riskState"]) == (victim.upn, "high", "atRisk")


def test_without_tls_the_sample_speaks_http(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy is in front of it, so what it prints and asks is where it answers."""
    served: list[Settings] = []
    monkeypatch.setattr("bartizan.app.serve", served.append)
    monkeypatch.setenv("BARTIZAN_TLS", "off")
    done = CliRunner().invoke(demo, ["--data", str(tmp_path / "data"), "--port", "18899", "--days", "0"])
    assert done.exit_code == 0, done.output
    assert served[0].root == "http://localhost:18899"
    assert json.loads((tmp_path / "data" / "demo.json").read_text())["address"] == served[0].root
