"""What becomes of changes that go back to other systems, as clients see it; and incidents that resolve their alerts."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.api.conftest import A, World, person
from tests.respond.ticketing import QUICK, RECEIVED, Desk, System, answering, connections_of, provider

from bartizan.api.identity_protection import risky_users
from bartizan.extend.connections import Connection
from bartizan.extend.ownership import note_pulled
from bartizan.model.faces import FOLDED_INTO
from bartizan.respond.queue import WRITE_BACKS
from bartizan.respond.writeback import Writeback
from bartizan.store.alerts import (
    FOLLOW_CHUNK,
    RESOLVE_CHUNK,
    fold_alerts,
    mark_alert,
    move_alert,
    prepare,
    store_alerts,
)
from bartizan.store.alerts import INCIDENTS as INCIDENTS_SET
from bartizan.store.interface import Query, Tx

pytestmark = pytest.mark.anyio
ALERTS = "/beta/security/alerts_v2"
INCIDENTS = "/beta/security/incidents"


@pytest.fixture
async def system() -> AsyncIterator[System]:
    async with answering() as made:
        yield made


async def connected(world: World, system: System) -> Connection:
    return await Desk(world.store).connect(system.url)


async def pulled(world: World, of: Connection, names: list[str], incident: str | None = None) -> list[str]:
    states = [provider(name) for name in names]

    def work(tx: Tx) -> list[str]:
        store_alerts(tx, [prepare(each) for each in states])
        note_pulled(tx, of, [each.id for each in states])
        for each in states:
            if incident is not None:
                move_alert(tx, each.id, incident)
        return [each.id for each in states]

    return await world.store.tenant(A).write(work, actor=of.actor)


def stage(world: World) -> Writeback:
    async def tenants() -> list[str]:
        return [A]

    return Writeback(world.store, connections_of(world.store), tenants, pace=QUICK)


async def followed(world: World) -> None:
    """The stage has seen everything so far; it asks no system."""
    of = stage(world)
    while await of.step():
        pass


async def test_write_backs_on_their_alert(world: World, system: System) -> None:
    """Each change is shown on its alert with where it goes and how it stands, by path and by $expand; in beta alone."""
    tickets = await connected(world, system)
    one, other = await pulled(world, tickets, ["a1", "a2"])
    await world.patch(f"{ALERTS}/{one}", {"status": "resolved", "determination": "malware"}, by="analyst")
    await world.post(f"{ALERTS}/{one}/comments", {"comment": "done"}, by="analyst")
    await world.patch(f"{ALERTS}/{other}", {"assignedTo": "ann@contoso.example"})
    await followed(world)
    found = (await world.get(f"{ALERTS}/{one}/writeBacks?$orderby=changeNumber"))["value"]
    assert [(each["words"], each["leftOut"], each["state"]) for each in found] == [
        (["status", "determination"], ["determination"], "waiting"),
        (["comments"], [], "waiting"),
    ]
    first = found[0]
    assert (first["subject"], first["subjectId"], first["sourceId"]) == ("alert", one, "a1")
    assert (first["connection"], first["changedBy"], first["content"]) == (
        "tickets",
        "Analyst",
        '{"status":"resolved"}',
    )
    assert not any("@bartizan" in name for name in first)
    expanded = await world.get(f"{ALERTS}/{one}?$expand=writeBacks")
    assert len(expanded["writeBacks"]) == 2
    listed = await world.get("/beta/security/writeBacks?$filter=state eq 'waiting' and connection eq 'tickets'")
    assert len(listed["value"]) == 3
    await world.refused("GET", f"/v1.0/security/alerts_v2/{one}/writeBacks", status=404)
    await world.refused("DELETE", f"/beta/security/writeBacks/{first['id']}", status=405)
    await world.refused("GET", "/beta/security/writeBacks", status=403, by="none")
    assert (await world.get("/beta/security/writeBacks", by="other"))["value"] == []


async def test_decisions_on_a_user_that_was_pulled(world: World, system: System) -> None:
    """Confirm and dismiss through the API go to the system that the user came from; who may not read risky users does
    not see them among the write-backs."""
    tickets = await connected(world, system)
    desk = Desk(world.store)
    (alert,) = await pulled(world, tickets, ["a1"])
    await desk.put(risky_users.collection, "u1", {"riskLevel": "low", "riskState": "atRisk"}, tickets.actor)
    await world.post(
        "/beta/identityProtection/riskyUsers", {"id": "u2", "riskLevel": "low", "riskState": "atRisk"}
    )  # not of the system
    await world.post("/v1.0/identityProtection/riskyUsers/confirmCompromised", {"userIds": ["u1", "u2"]})
    await world.post("/v1.0/identityProtection/riskyUsers/dismiss", {"userIds": ["u1", "u2"]})
    await world.patch(f"{ALERTS}/{alert}", {"status": "resolved"})
    await followed(world)
    found = (await world.get("/beta/identityProtection/riskyUsers/u1/writeBacks?$orderby=changeNumber"))["value"]
    assert [each["content"] for each in found] == [
        '{"riskState":"confirmedCompromised","riskDetail":"adminConfirmedUserCompromised"}',
        '{"riskState":"dismissed","riskDetail":"adminDismissedAllRiskForUser"}',
    ]
    assert (await world.get("/beta/identityProtection/riskyUsers/u2/writeBacks"))["value"] == []
    world.known["alerts-only"] = person("alerts", "SecurityReader", frozenset({"SecurityAlert.Read.All"}))
    assert len((await world.get("/beta/security/writeBacks"))["value"]) == 3
    some = (await world.get("/beta/security/writeBacks", by="alerts-only"))["value"]
    assert [each["subject"] for each in some] == ["alert"]


async def resolved_incident(world: World, of: Connection, alerts: int) -> tuple[str, list[str]]:
    incident = (await world.post(INCIDENTS, {"displayName": "A break-in"}))["id"]
    return incident, await pulled(world, of, [f"a{n:03}" for n in range(alerts)], incident)


async def statuses(world: World, incident: str) -> list[dict[str, Any]]:
    return await world.every(f"{INCIDENTS}/{incident}/alerts?$top=100")


async def test_an_incident_resolves_its_open_alerts(world: World, system: System) -> None:
    """With its verdict, where they have none of their own, and its resolving comment; each is written back. What is
    resolved already, and what is in another incident, stays as it is."""
    tickets = await connected(world, system)
    incident, (first, second, third) = await resolved_incident(world, tickets, 3)
    (elsewhere,) = await pulled(world, tickets, ["b1"])
    await world.patch(f"{ALERTS}/{first}", {"status": "resolved", "classification": "falsePositive"})
    await world.patch(f"{ALERTS}/{second}", {"classification": "informationalExpectedActivity"})
    said = {
        "status": "resolved",
        "classification": "truePositive",
        "determination": "malware",
        "resolvingComment": "The laptop was reimaged.",
    }
    answer = await world.patch(f"{INCIDENTS}/{incident}", said, by="analyst")
    assert answer["status"] == "resolved"
    assert (await world.get(f"{INCIDENTS}/{incident}"))["@odata.etag"] == answer["@odata.etag"]
    shown = {each["id"]: each for each in await statuses(world, incident)}
    assert {id: (each["status"], each["classification"], each["determination"]) for id, each in shown.items()} == {
        first: ("resolved", "falsePositive", None),
        second: ("resolved", "informationalExpectedActivity", None),
        third: ("resolved", "truePositive", "malware"),
    }
    assert [[one["comment"] for one in shown[id]["comments"]] for id in (first, second, third)] == [
        [],
        ["The laptop was reimaged."],
        ["The laptop was reimaged."],
    ]
    assert shown[third]["comments"][0]["createdByDisplayName"] == "Analyst"
    assert (await world.get(f"{ALERTS}/{elsewhere}"))["status"] == "new"
    await world.patch(f"{INCIDENTS}/{incident}", said)  # again
    await followed(world)
    sent = (await world.get(f"{ALERTS}/{third}/writeBacks"))["value"]
    assert [each["words"] for each in sent] == [["status", "classification", "determination", "comments"]]
    audit = await world.get(
        "/beta/auditLogs/directoryAudits?$filter=activityDisplayName eq 'Resolve alerts of incident'"
    )
    assert {each["id"] for each in audit["value"][0]["targetResources"]} == {second, third}


async def test_an_incident_with_many_alerts(world: World, system: System) -> None:
    """Those that are too many for one transaction follow behind the feed, also after a crash in between; not once the
    incident is open again."""
    tickets = await connected(world, system)
    many = 2 * RESOLVE_CHUNK + 7
    incident, _ = await resolved_incident(world, tickets, many)
    await world.patch(f"{INCIDENTS}/{incident}", {"status": "resolved"}, by="analyst")
    done = [each["status"] for each in await statuses(world, incident)]
    assert done.count("resolved") == RESOLVE_CHUNK
    await followed(world)
    await followed(world)
    shown = await statuses(world, incident)
    assert {each["status"] for each in shown} == {"resolved"}
    page = await world.store.tenant(A).page(WRITE_BACKS.name, Query(top=1000, version="beta"))
    assert len(page.rows) == many
    again, _ = await resolved_incident(world, tickets, 0)
    names = [f"c{n:03}" for n in range(RESOLVE_CHUNK + 5)]
    await pulled(world, tickets, names, again)
    await world.patch(f"{INCIDENTS}/{again}", {"status": "resolved"})
    await world.patch(f"{INCIDENTS}/{again}", {"status": "active"})
    await followed(world)
    done = [each["status"] for each in await statuses(world, again)]
    assert done.count("resolved") == RESOLVE_CHUNK


async def test_a_change_of_an_incident_minds_its_version(world: World, system: System) -> None:
    """If-Match names the version; a stale one resolves nothing."""
    tickets = await connected(world, system)
    incident, (alert,) = await resolved_incident(world, tickets, 1)
    body = {"status": "resolved"}
    await world.refused("PATCH", f"{INCIDENTS}/{incident}", body, status=412, if_match='W/"0000000000000001"')
    assert (await world.get(f"{ALERTS}/{alert}"))["status"] == "new"
    etag = (await world.get(f"{INCIDENTS}/{incident}"))["@odata.etag"]
    await world.patch(f"{INCIDENTS}/{incident}", body, if_match=etag)
    assert (await world.get(f"{ALERTS}/{alert}"))["status"] == "resolved"


async def test_an_incident_that_was_pulled_goes_back(world: World, system: System) -> None:
    """What analysts change in it goes to the system that it came from; one that was made here goes nowhere, and what
    the system says of its own is not sent to it."""
    tickets = await connected(world, system)
    desk = Desk(world.store)
    body = {"displayName": "Theirs", "status": "active", "severity": "high", "classification": "unknown"}
    await desk.put(INCIDENTS_SET, "924565", body, tickets.actor)
    own = (await world.post(INCIDENTS, {"displayName": "Ours"}))["id"]
    for id in ("924565", own):
        await world.patch(f"{INCIDENTS}/{id}", {"status": "resolved", "customTags": ["vip"]}, by="analyst")
        await world.post(f"{INCIDENTS}/{id}/comments", {"comment": "done"}, by="analyst")
    await desk.put(INCIDENTS_SET, "924565", {**body, "status": "active"}, tickets.actor, status=("resolved", "active"))
    await followed(world)
    found = (await world.get(f"{INCIDENTS}/924565/writeBacks?$orderby=changeNumber"))["value"]
    assert [(each["subject"], each["sourceId"], each["words"], each["changedBy"]) for each in found] == [
        ("incident", "924565", ["status", "tags"], "Analyst"),
        ("incident", "924565", ["comments"], "Analyst"),
    ]
    assert len((await world.get("/beta/security/writeBacks"))["value"]) == 2


async def test_a_folded_alert_resolves_all_that_is_in_it(world: World, system: System) -> None:
    """Each record that was folded into an alert is resolved with it, and in its source too: also where there are more
    than one transaction takes, and where the incident of the alert is what was resolved."""
    tickets = await connected(world, system)
    many = FOLLOW_CHUNK + 9
    incident, (head, other, *_) = await resolved_incident(world, tickets, 2)
    for of, letter, count in ((head, "r", many), (other, "s", 3)):
        repeats = await pulled(world, tickets, [f"{letter}{n:03}" for n in range(count)])

        def fold(tx: Tx, of: str = of, repeats: list[str] = repeats) -> None:
            fold_alerts(tx, of, len(repeats), RECEIVED, RECEIVED)
            for each in repeats:
                mark_alert(tx, each, **{FOLDED_INTO: of})

        await world.store.tenant(A).write(fold, actor="bartizan correlate")
    await world.patch(f"{ALERTS}/{head}", {"status": "resolved", "classification": "truePositive"}, by="analyst")
    await followed(world)
    await followed(world)
    shown = await world.every(f"{ALERTS}?$filter=status eq 'resolved' and classification eq 'truePositive'")
    assert len(shown) == many + 1
    found = await world.every("/beta/security/writeBacks")
    assert {each["sourceId"] for each in found} == {"a000", *(f"r{n:03}" for n in range(many))}
    await world.patch(f"{INCIDENTS}/{incident}", {"status": "resolved"}, by="analyst")
    await followed(world)
    await followed(world)
    found = await world.every("/beta/security/writeBacks")
    assert len(found) == many + 1 + 4
    assert {each["changedBy"] for each in found} == {"Analyst"}
