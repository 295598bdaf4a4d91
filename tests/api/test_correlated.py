"""Alerts that come in by the API become incidents: the stage run by hand between the requests, as a worker runs it."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from math import isclose, log2
from pathlib import Path
from typing import Any

import pytest
from tests.api.conftest import A, Around, World

from bartizan.app.assembly import declared
from bartizan.correlate import stage as stages
from bartizan.correlate.facts import seconds
from bartizan.correlate.rank import score_of
from bartizan.correlate.stage import STATE, CorrelateStage, names_of
from bartizan.correlate.write import CHUNK
from bartizan.ingest.made import prepared
from bartizan.model.alert import Alert
from bartizan.sources.evidence import Evidence
from bartizan.store import Store, inner, open_store
from bartizan.store.alerts import ALERTS_V2, state_of, store_alerts

pytestmark = pytest.mark.anyio
DAY = "2026-11-20"
SECURITY = "#microsoft.graph.security."


def user(**account: str) -> dict[str, Any]:
    return {"@odata.type": f"{SECURITY}userEvidence", "userAccount": account}


def device(name: str, **more: Any) -> dict[str, Any]:
    return {"@odata.type": f"{SECURITY}deviceEvidence", "deviceDnsName": name, **more}


def ip(address: str) -> dict[str, Any]:
    return {"@odata.type": f"{SECURITY}ipEvidence", "ipAddress": address}


def mailbox(address: str) -> dict[str, Any]:
    return {"@odata.type": f"{SECURITY}mailboxEvidence", "primaryAddress": address}


async def alert(world: World, title: str, clock: str, *evidence: dict[str, Any], **more: Any) -> str:
    at = f"{DAY}T{clock}:00Z" if len(clock) == 5 else clock
    body = {
        "title": title,
        "severity": "medium",
        "detectorId": title,
        "productName": "Acme EDR",
        "firstActivityDateTime": at,
        "lastActivityDateTime": at,
        "evidence": list(evidence),
        **more,
    }
    return str((await world.post("/v1.0/security/alerts_v2", body))["id"])


async def correlated(store: Store, stage: CorrelateStage | None = None) -> CorrelateStage:
    stage = stage or CorrelateStage(store)
    while await stage.step():
        pass
    return stage


async def incident_of(world: World, id: str) -> str | None:
    found = (await world.get(f"/v1.0/security/alerts_v2/{id}"))["incidentId"]
    return None if found is None else str(found)


async def together(world: World, ids: Sequence[str]) -> bool:
    found = {await incident_of(world, each) for each in ids}
    return len(found) == 1 and None not in found


async def attack(world: World, name: str = "alice", clock: str = "10", *shared: dict[str, Any]) -> list[str]:
    """Over four products that name the person in four ways."""
    mail, sid = f"{name}@contoso.example", f"S-1-5-21-1-2-3-{int.from_bytes(name.encode())}"
    return [
        await alert(world, f"Impossible travel {name}", f"{clock}:00",
                    user(userPrincipalName=mail, azureAdUserId=f"oid-{name}"), *shared,
                    productName="Entra ID Protection", category="InitialAccess"),
        await alert(world, f"Suspicious inbox rule {name}", f"{clock}:10", mailbox(mail), *shared,
                    productName="Defender for Office", category="Collection", severity="low"),
        await alert(world, f"Credential dumping {name}", f"{clock}:20",
                    user(accountName=name, domainName="CONTOSO", userSid=sid),
                    device(f"lap-{name}.contoso.example"), *shared, category="CredentialAccess", severity="high"),
        await alert(world, f"New service {name}", f"{clock}:25", device(f"lap-{name}.contoso.example"),
                    category="Persistence"),
        await alert(world, f"Access key created {name}", f"{clock}:40", user(accountName=name), *shared,
                    productName="GuardDuty", category="Exfiltration"),
    ]  # fmt: skip


async def test_one_attack_over_four_products_is_one_incident(world: World) -> None:
    ids = await attack(world)
    await correlated(world.store)
    assert await together(world, ids)
    incident = await world.get(f"/v1.0/security/incidents/{await incident_of(world, ids[0])}?$expand=alerts")
    assert {each["id"] for each in incident["alerts"]} == set(ids)
    assert incident["severity"] == "high" and incident["status"] == "active"
    assert incident["displayName"] == (
        "Attack on alice@contoso.example and lap-alice.contoso.example: initial access to exfiltration"
    )
    summary = incident["summary"]
    assert "Users: alice@contoso.example." in summary
    assert "between 2026-11-20 10:00 and 2026-11-20 10:40 UTC" in summary
    assert "Tactics in order: initial access, collection, credential access, persistence, exfiltration." in summary
    assert "Linked by: sameActor, sameTargetedAsset, timeFrame." in summary


async def test_priority_and_links_can_be_recomputed(world: World) -> None:
    ids = await attack(world)
    await correlated(world.store)
    stored = await world.store.tenant(A).get("incidents", await incident_of(world, ids[0]) or "")
    assert stored is not None
    own = inner(stored)["@bartizan.correlation"]
    parts = own["priority"]
    bits = sum(each["bits"] for each in parts["detectors"]) + parts["severity"] + parts["company"]
    assert isclose(bits, parts["bits"]) and inner(stored)["priorityScore"] == score_of(bits)
    assert own["firstActivityDateTime"] == f"{DAY}T10:00:00.0000000Z"
    assert "@bartizan" not in stored.doc.decode()
    linked = 0
    for each in ids:
        row = await world.store.tenant(A).get(ALERTS_V2.name, each)
        assert row is not None
        link = state_of(row).link
        if link is not None:
            assert link["createdDateTime"] == json.loads(row.doc)["lastUpdateDateTime"]
            chance = 1 - (1 - link["popularity"]) ** link["gapHours"]
            assert isclose(link["bits"], -log2(chance) - link["strangers"], rel_tol=1e-9)
            assert set(link["correlationReason"].split(",")) <= {"sameActor", "sameTargetedAsset", "timeFrame"}
            linked += 1
    assert linked == len(ids) - 1


async def test_two_attacks_behind_one_address_stay_two(world: World) -> None:
    nat = ip("198.51.100.7")
    mine, theirs = await attack(world, "alice", "10", nat), await attack(world, "bob", "10", nat)
    await correlated(world.store)
    assert await together(world, mine) and await together(world, theirs)
    assert await incident_of(world, mine[0]) != await incident_of(world, theirs[0])


async def test_an_address_that_many_sign_in_from_links_nothing(world: World) -> None:
    """Learned from sign-ins, before there was an alert; one that nobody uses does link, over time."""

    async def linked(address: str, clock: str) -> bool:
        first = await alert(world, f"a {address}", f"{clock}:00", ip(address))
        second = await alert(world, f"b {address}", f"{clock}:20", ip(address))
        await correlated(world.store)
        return await together(world, [first, second])

    await alert(world, "long ago", "2026-11-10T00:00:00Z", ip("192.0.2.1"))
    for day in ("17", "18", "19"):
        for hour in range(24):
            body = {"id": f"s{day}-{hour}", "createdDateTime": f"2026-11-{day}T{hour:02}:30:00Z",
                    "ipAddress": "198.51.100.7", "userPrincipalName": f"u{hour}@c.example"}  # fmt: skip
            await world.post("/v1.0/auditLogs/signIns", body)
    assert not await linked("198.51.100.7", "10")
    assert await linked("203.0.113.9", "12")


async def test_an_ambiguous_name_links_nobody(world: World) -> None:
    """Two persons have this account name; a third product says the bare name only."""
    one = await alert(world, "t1", "10:00", user(userPrincipalName="sam@contoso.example", azureAdUserId="o1"))
    two = await alert(world, "t2", "10:01", user(userPrincipalName="sam@fabrikam.example", azureAdUserId="o2"))
    bare = await alert(world, "t3", "10:02", user(accountName="sam"))
    same = await alert(world, "t4", "10:03", user(azureAdUserId="O2"))
    nobody = [await alert(world, f"n{n}", "10:04", user(accountName="SYSTEM", userSid="S-1-5-18")) for n in (1, 2)]
    await correlated(world.store)
    assert await incident_of(world, one) != await incident_of(world, two)
    assert await incident_of(world, bare) not in {await incident_of(world, one), await incident_of(world, two)}
    assert await together(world, [two, same])
    assert not await together(world, nobody)


async def test_the_directory_tells_who_is_who(world: World) -> None:
    """A SID in one product is the mail address in another."""
    sid = "S-1-5-21-7-8-9-1001"
    person = {"id": "9f1", "userPrincipalName": "kim@contoso.example", "mail": "kim.lee@contoso.example",
              "onPremisesSecurityIdentifier": sid, "onPremisesSamAccountName": "klee",
              "onPremisesDomainName": "corp.contoso.example"}  # fmt: skip
    await world.post("/v1.0/users", person)
    ids = [
        await alert(world, "a", "10:00", user(userSid=sid)),
        await alert(world, "b", "10:05", user(accountName="CORP\\klee")),
        await alert(world, "c", "10:10", mailbox("kim.lee@contoso.example")),
        await alert(world, "d", "10:15", user(azureAdUserId="9F1")),
        await alert(world, "e", "10:20", user(accountName="klee", domainName="corp.contoso.example")),
    ]
    await correlated(world.store)
    assert await together(world, ids)


async def test_a_resolved_incident_never_grows(world: World) -> None:
    """A new one points back."""
    first = await alert(world, "x", "10:00", user(userPrincipalName="a@c.example"))
    stage = await correlated(world.store)
    old = await incident_of(world, first)
    await world.patch(f"/v1.0/security/incidents/{old}", {"status": "resolved"})
    second = await alert(world, "y", "10:05", user(userPrincipalName="a@c.example"))
    repeat = await alert(world, "x", "10:03", user(userPrincipalName="a@c.example"))
    await correlated(world.store, stage)
    new = await incident_of(world, second)
    assert new is not None and new != old
    assert await incident_of(world, repeat) == new
    assert f"Follows incident {old}" in (await world.get(f"/v1.0/security/incidents/{new}"))["summary"]
    assert (await world.get(f"/v1.0/security/incidents/{old}"))["status"] == "resolved"


async def test_what_an_analyst_says_of_an_incident_stays(world: World) -> None:
    ids = await attack(world)
    stage = await correlated(world.store)
    key = await incident_of(world, ids[0])
    said = {"displayName": "Alice's laptop", "severity": "low", "assignedTo": "me@c.example"}
    await world.patch(f"/v1.0/security/incidents/{key}", said)
    before = (await world.get(f"/v1.0/security/incidents/{key}"))["priorityScore"]
    await alert(world, "One more", "10:45", user(userPrincipalName="alice@contoso.example"), category="Impact")
    await correlated(world.store, stage)
    incident = await world.get(f"/v1.0/security/incidents/{key}")
    assert {name: incident[name] for name in said} == said
    assert "impact" in incident["summary"] and incident["priorityScore"] > before


async def test_moved_and_detached_alerts_stay_where_they_were_put(world: World) -> None:
    ids = await attack(world)
    stage = await correlated(world.store)
    key = await incident_of(world, ids[0])
    split = (await world.post("/beta/security/alerts_v2/moveAlerts",
                              {"alertIds": ids[:1]}))["targetIncidentId"]  # fmt: skip
    await correlated(world.store, stage)
    repeat = await alert(world, "Impossible travel alice", "10:02",
                         user(userPrincipalName="alice@contoso.example", azureAdUserId="oid-alice"),
                         productName="Entra ID Protection", category="InitialAccess")  # fmt: skip
    later = await alert(world, "Later", "10:50", device("lap-alice.contoso.example"))
    await correlated(world.store, stage)
    await stage.silence(seconds(f"{DAY}T20:00:00Z"))
    assert await incident_of(world, ids[0]) == split
    assert await incident_of(world, repeat) == split
    assert await together(world, [*ids[1:]]) and await incident_of(world, ids[1]) == key
    assert await incident_of(world, later) in (key, split)


async def test_an_alert_that_was_placed_before_it_was_seen_is_left(world: World) -> None:
    mine = (await world.post("/v1.0/security/incidents", {"displayName": "By hand", "severity": "low"}))["id"]
    first, second = await alert(world, "x", "10:00", user(userPrincipalName="a@c.example")), await alert(
        world, "y", "10:05", user(userPrincipalName="a@c.example"))  # fmt: skip
    await world.post("/beta/security/alerts_v2/moveAlerts", {"alertIds": [first], "incidentId": mine})
    stage = await correlated(world.store)
    assert await incident_of(world, first) == mine
    third = await alert(world, "z", "10:08", user(userPrincipalName="a@c.example"))
    await correlated(world.store, stage)
    assert await together(world, [second, third])
    assert (await world.get(f"/v1.0/security/incidents/{mine}"))["displayName"] == "By hand"


async def test_merged_incidents_stay_merged_and_grow_as_one(world: World) -> None:
    one, two = await attack(world, "alice"), await attack(world, "robert")
    stage = await correlated(world.store)
    keys = [await incident_of(world, one[0]), await incident_of(world, two[0])]
    answer = await world.post("/beta/security/incidents/mergeIncidents",
                              {"incidentIds": keys, "incidentComment": "", "mergeReasons": None})  # fmt: skip
    await correlated(world.store, stage)
    more = await alert(world, "More of robert", "10:45", user(userPrincipalName="robert@contoso.example"))
    await correlated(world.store, stage)
    assert await incident_of(world, more) == answer["targetIncidentId"]
    assert await together(world, [*one, *two])


async def test_a_story_that_comes_again_is_merged_after_some_quiet(world: World) -> None:
    """The later incident redirects to the first, with all its alerts, however many."""
    first = [await alert(world, f"s{n}", "10:00", device("web.c.example")) for n in range(3)]
    stage = await correlated(world.store)
    again = [await alert(world, f"s{n}", "16:00", device("web.c.example")) for n in range(3)]
    again += [await alert(world, "s0", f"{DAY}T16:01:{n % 60:02}Z", device("web.c.example"), severity="medium",
                          providerAlertId=f"r{n}") for n in range(CHUNK + 5)]  # fmt: skip
    await correlated(world.store, stage)
    old, new = await incident_of(world, first[0]), await incident_of(world, again[0])
    assert old != new
    await stage.silence(seconds(f"{DAY}T16:10:00Z"))
    assert await together(world, [*first, *again]) and await incident_of(world, first[0]) == old
    redirected = await world.get(f"/v1.0/security/incidents/{new}")
    assert (redirected["status"], redirected["redirectIncidentId"]) == ("redirected", old)
    assert "repeatedAlertOccurrence" in redirected["comments"][0]["comment"]


async def test_a_clock_that_is_ahead_ages_nothing(world: World) -> None:
    first = await alert(world, "x", "10:00", user(userPrincipalName="a@c.example"))
    await alert(world, "wrong", "2099-01-01T00:00:00Z", user(userPrincipalName="b@c.example"))
    stage = await correlated(world.store)
    second = await alert(world, "y", "10:30", user(userPrincipalName="a@c.example"))
    await correlated(world.store, stage)
    assert await together(world, [first, second])


async def test_alerts_that_are_closed_or_excluded_make_no_incident(world: World) -> None:
    closed = await alert(world, "closed", "10:00", user(userPrincipalName="a@c.example"), status="resolved")
    await correlated(world.store)
    assert await incident_of(world, closed) is None


class Crash(BaseException):
    """As if the process had died here."""


def dying(store: Store, at: int, *, durable: bool) -> Any:
    """A store whose nth write of a tenant does not come back, before or after it is durable."""
    left = at

    async def write(real: Any, *args: Any, **how: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0 and not durable:
            raise Crash
        made = await real(*args, **how)
        if left == 0:
            raise Crash
        return made

    return Around(store, write=write)


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("at", [1, 2, 5])
async def test_a_crash_at_any_write_changes_nothing_in_the_end(world: World, at: int, durable: bool) -> None:
    """The same incidents, with the same ids, as without it."""
    ids = [each for n in range(12) for each in await attack(world, f"user{chr(97 + n)}", f"{8 + n:02}")]
    with pytest.raises(Crash):
        await correlated(world.store, CorrelateStage(dying(world.store, at, durable=durable), step_changes=7))
    await correlated(world.store, CorrelateStage(world.store, step_changes=7))
    crashed = {each: await incident_of(world, each) for each in ids}
    assert None not in crashed.values()
    assert [await together(world, ids[n : n + 5]) for n in range(0, 60, 5)] == [True] * 12
    assert len(set(crashed.values())) == 12
    assert len(await world.every("/v1.0/security/incidents")) == 12


async def test_a_stage_that_starts_anew_goes_on_as_the_old_one_would(world: World) -> None:
    """Names, popularity and open incidents come back from the snapshot and the journal."""
    for n in range(45):  # more batches than a snapshot waits for
        await alert(world, f"noise {n % 7}", f"{DAY}T{n // 6:02}:{n % 6 * 10:02}:00Z", device(f"h{n % 5}.c.example"))
        await correlated(world.store)
    first = await alert(world, "x", "09:00", user(userPrincipalName="kim@c.example", userSid="S-1-5-21-7-8-9-1001"))
    await correlated(world.store)
    second = await alert(world, "y", "09:20", user(userSid="s-1-5-21-7-8-9-1001"))
    await correlated(world.store)
    assert await together(world, [first, second])


async def test_tenants_do_not_meet(world: World) -> None:
    evidence = user(userPrincipalName="a@c.example")
    mine = await alert(world, "x", "10:00", evidence)
    body = {"title": "y", "severity": "high", "detectorId": "y", "productName": "P", "evidence": [evidence],
            "firstActivityDateTime": f"{DAY}T10:01:00Z", "lastActivityDateTime": f"{DAY}T10:01:00Z"}  # fmt: skip
    theirs = (await world.post("/v1.0/security/alerts_v2", body, by="other"))["id"]
    await correlated(world.store)
    other = (await world.get(f"/v1.0/security/alerts_v2/{theirs}", by="other"))["incidentId"]
    assert other is not None and other != await incident_of(world, mine)
    assert len(await world.every("/v1.0/security/incidents", by="other")) == 1


async def test_a_tenant_that_moved_to_another_store_is_correlated_there(world: World, tmp_path: Path) -> None:
    """Its place in the old feed, which was further on, is no place in the new one."""
    for number in range(59):
        await alert(world, f"Noise {number % 3}", f"0{number // 6}:{number % 6}0", device(f"h{number % 3}.example"))
    await correlated(world.store)
    lines = [line async for line in world.store.export(A)]
    other = open_store(tmp_path / "other", declared())
    await other.start()
    try:
        await other.restore(A, lines)
        at = f"{DAY}T11:00:00.0000000Z"
        evidence = Evidence(at)
        evidence.host("lap-1.contoso.example")
        seen = Alert(
            vendor="Acme", product="EDR", provider_alert_id="1", title="Credential dumping", severity="high",
            category="CredentialAccess", detector_id="dump", first_activity=at, last_activity=at,
            evidence=evidence.items,
        )  # fmt: skip
        ready = prepared(seen, A, at, b"{}", "ab" * 32)
        await other.tenant(A).write(lambda tx: store_alerts(tx, [ready]), actor="test")
        assert await other.head() < await world.store.head()
        await correlated(other)
        row = await other.tenant(A).get(ALERTS_V2.name, ready.id)
        assert row is not None and json.loads(row.wire("beta"))["incidentId"]
    finally:
        await other.close()


async def test_names_are_whole_though_a_snapshot_is_written_while_they_are_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The snapshot takes the entries of the journal away that a reader was about to read."""
    stage = None
    for n in range(20):
        kim = user(userPrincipalName="kim@c.example", azureAdUserId="oid-kim") if n == 5 else device(f"h{n}.example")
        await alert(world, f"noise {n}", f"{n // 6:02}:{n % 6 * 10:02}", kim)
        stage = await correlated(world.store, stage)
    assert await world.store.tenant(A).value(STATE) is None

    async def value(real: Any, key: str) -> Any:
        found = await real(key)
        if key == STATE and found is None:
            monkeypatch.setattr(stages, "SNAPSHOT_BYTES", 0)
            await alert(world, "last", "12:00", device("last.example"))
            await correlated(world.store, stage)
        return found

    names = await names_of(Around(world.store, value=value).tenant(A))
    assert await world.store.tenant(A).value(STATE) is not None
    assert any({"addr:kim@c.example", "uid.acme edr:oid-kim"} <= set(each) for each in names.people.groups().values())


async def test_the_journal_is_swept_behind_snapshots(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few entries at a time; whatever is left of them, a restart has the same incidents and names."""
    monkeypatch.setattr(stages, "SNAPSHOT_BYTES", 0)
    monkeypatch.setattr(stages, "SWEPT", 2)
    stage = None
    for n in range(12):
        stage = await correlated(world.store, None if n == 7 else stage)
        await alert(world, f"noise {n}", f"{n // 6:02}:{n % 6 * 10:02}", device("h.example"))
    await correlated(world.store, stage)
    store = world.store.tenant(A)
    left = [n for n in range(64) if await store.value(f"{stages.JOURNAL}/{n}") is not None]
    assert len(left) < 8, left
    assert any("h.example" in str(each) for each in (await names_of(store)).hosts.groups().values())


async def test_what_retention_removed_is_passed_over_and_nothing_else(world: World) -> None:
    """Where it has passed the stage, that goes on with the first change that is still kept."""
    gone = await attack(world, "early", "01")
    await world.store.retain(datetime.now(UTC) + timedelta(days=30))
    kept = await attack(world, "later", "11")
    await correlated(world.store)
    assert await together(world, kept)
    assert {await incident_of(world, each) for each in gone} == {None}


async def test_retention_waits_for_a_stage_that_has_not_begun(world: World) -> None:
    stage = CorrelateStage(world.store)
    ids = await attack(world)
    await stage.register()
    await world.store.retain(datetime.now(UTC) + timedelta(days=30))
    await correlated(world.store, stage)
    assert await together(world, ids)
