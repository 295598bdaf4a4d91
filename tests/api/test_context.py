"""Entities and what surrounds them, over the API: who sees what, within which limits, on both engines."""

from typing import Any

import pytest
from msgspec.structs import replace
from tests.api.conftest import World, on_both_engines
from tests.api.test_correlated import alert, attack, correlated, device, incident_of, ip, mailbox, user

from bartizan.api import context
from bartizan.correlate.context import HUB

pytestmark = pytest.mark.anyio
ENTITIES = "/beta/security/entities"
ALICE, BAD = "user:alice@contoso.example", "address:203.0.113.66"


async def sign_in(world: World, name: str, clock: str, address: str, error: int = 0, **more: Any) -> None:
    body = {
        "createdDateTime": f"2026-11-20T{clock}:00Z",
        "userPrincipalName": f"{name}@contoso.example",
        "userId": f"oid-{name}",
        "appDisplayName": "Mail",
        "ipAddress": address,
        "status": {"errorCode": error, "failureReason": "wrong password" if error else None},
        **more,
    }
    await world.post("/v1.0/auditLogs/signIns", body)


async def of(world: World, entity: str, what: str = "", **how: Any) -> dict[str, Any]:
    found: dict[str, Any] = await world.get(f"{ENTITIES}('{entity}'){what}", **how)
    return found


async def attacked(world: World) -> tuple[list[str], list[str]]:
    """The same address against two people, and sign-ins from it."""
    both = [
        await attack(world, "alice", "10", ip("203.0.113.66")),
        await attack(world, "bob", "20", ip("203.0.113.66")),
    ]
    await sign_in(world, "alice", "09:58", "203.0.113.66", 50126)
    await sign_in(world, "alice", "09:59", "203.0.113.66")
    await sign_in(world, "carol", "08:00", "198.51.100.7")
    await correlated(world.store)
    return both[0], both[1]


async def test_an_entity_by_all_of_its_names(world: World) -> None:
    """UPN, object id, SID, DOMAIN\\name, account name and mailbox are one person."""
    await attacked(world)
    alice = await of(world, ALICE)
    assert (alice["alertCount"], alice["signInCount"], alice["riskDetectionCount"]) == (4, 2, 0)
    assert (alice["hostCount"], alice["addressCount"], alice["incidentCount"]) == (1, 1, 1)
    assert (alice["firstSeenDateTime"], alice["lastSeenDateTime"]) == (
        "2026-11-20T09:58:00.0000000Z",
        "2026-11-20T10:40:00.0000000Z",
    )
    assert alice["severity"] == "high" and not alice["isTruncated"] and not alice["isHub"]
    for name in ("user:ALICE", "user:oid-alice", "mailbox:alice@contoso.example", r"user:contoso\alice"):
        assert await of(world, name) == alice, name
    assert set(alice["names"]) >= {"user:alice", "user:oid-alice", "mailbox:alice@contoso.example"}
    address = await of(world, BAD)
    assert (address["alertCount"], address["userCount"], address["hostCount"], address["incidentCount"]) == (8, 2, 2, 2)


async def test_the_count_alone_leads_to_no_page(world: World) -> None:
    await attacked(world)
    page = await world.get(f"{ENTITIES}?$filter=kind eq 'user'&$top=0&$count=true")
    assert page["@odata.count"] == 3 and page["value"] == [] and "@odata.nextLink" not in page


async def test_the_beginning_of_a_name_finds_whoever_is_listed_under_another(world: World) -> None:
    """Alice stands in the list under "alice", and is shown by her mail address."""
    await attacked(world)
    for beginning in ("alice@", "alice", "a"):
        page = await world.get(f"{ENTITIES}?$filter=kind eq 'user' and startswith(value,'{beginning}')")
        assert [each["id"] for each in page["value"]] == [ALICE], beginning


async def test_names_that_may_mean_two_are_not_joined(world: World) -> None:
    """An account name that two people have stands for itself."""
    for domain in ("one", "two"):
        mail = f"sam@{domain}.example"
        await alert(world, domain, "10:00", user(userPrincipalName=mail, azureAdUserId=f"oid-{domain}"))
        await alert(world, f"of {domain}", "10:01", user(accountName="sam", domainName=domain, userPrincipalName=mail))
    await correlated(world.store)
    one, bare = await of(world, "user:sam@one.example"), await of(world, "user:sam")
    assert (one["alertCount"], bare["alertCount"]) == (2, 4) and bare["id"] == "user:sam"
    assert "user:sam" not in one["names"] and "user:sam@two.example" not in one["names"]


async def test_neighbors(world: World) -> None:
    await attacked(world)
    near = await of(world, ALICE, "/neighbors")
    assert {node["id"]: node["distance"] for node in near["nodes"]} == {
        ALICE: 0,
        BAD: 1,
        "host:lap-alice.contoso.example": 1,
    }
    edge = near["edges"][0]
    assert (edge["source"], edge["target"], edge["observationCount"]) == (BAD, ALICE, 6)
    assert edge["firstObservedDateTime"] == "2026-11-20T09:58:00.0000000Z"
    assert edge["lastObservedDateTime"] == "2026-11-20T10:40:00.0000000Z" and len(edge["sampleObservations"]) == 5
    for sample in edge["sampleObservations"]:
        assert (await world.get(f"/v1.0/{sample}"))["id"]
    far = await of(world, ALICE, "/neighbors(depth=3,kinds='User, address')")
    assert {node["id"] for node in far["nodes"]} == {ALICE, BAD, "user:bob@contoso.example"}
    few = await of(world, ALICE, "/neighbors(top=1)")
    assert len(few["nodes"]) == 2 and few["isTruncated"] and few["truncatedBy"] == ["nodes"]


async def test_shortest_path(world: World) -> None:
    await attacked(world)
    path = await of(world, ALICE, "/shortestPath(to='user:bob')")
    assert [node["id"] for node in path["nodes"]] == [ALICE, BAD, "user:bob@contoso.example"]
    assert path["isFound"] and path["length"] == 2 and len(path["edges"]) == 2
    none = await of(world, ALICE, "/shortestPath(to='user:carol@contoso.example')")
    assert (none["isFound"], none["length"], none["isTruncated"]) == (False, None, False)
    short = await of(world, ALICE, "/shortestPath(to='host:lap-bob',longest=1)")
    assert not short["isFound"]
    itself = await of(world, ALICE, "/shortestPath(to='user:alice')")
    assert itself["isFound"] and itself["length"] == 0


async def test_timeline(world: World) -> None:
    """Alerts and sign-ins in one order, page by page; nothing is lost between the pages."""
    await attacked(world)
    whole = await of(world, ALICE, "/timeline")
    entries = whole["entries"]
    assert [each["kind"] for each in entries] == ["alert"] * 4 + ["signIn"] * 2 and not whole["isTruncated"]
    assert entries[-1]["title"] == "Sign-in to Mail failed: wrong password" and entries[-1]["status"] == "failure"
    assert entries[0]["title"] == "Access key created alice" and entries[0]["incidentId"]
    found: list[str] = []
    until = ""
    for _ in range(9):
        page = await of(world, ALICE, f"/timeline(top=2{until})")
        found += [each["id"] for each in page["entries"] if each["id"] not in found]
        if not page["isTruncated"]:
            break
        until = f",until={page['continueUntilDateTime']}"
    assert found == [each["id"] for each in entries]
    some = await of(world, ALICE, "/timeline(since=2026-11-20T09:59:00Z,until=2026-11-20T10:10:00Z)")
    assert some["entries"] == entries[2:5]


async def test_a_timeline_of_what_was_stored_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more than is read for one answer, the last that was read is shown, and paging ends."""
    await attacked(world)
    whole = [each["id"] for each in (await of(world, ALICE, "/timeline"))["entries"]]
    monkeypatch.setattr(context, "MAX_READ", 4)
    monkeypatch.setattr(context, "CHUNK", 2)
    found: list[str] = []
    until = ""
    for _ in range(9):
        page = await of(world, ALICE, f"/timeline(top=2{until})")
        found += [each["id"] for each in page["entries"] if each["id"] not in found]
        assert page["isTruncated"] and page["observationsRead"] == 4
        if page["continueUntilDateTime"] is None:
            break
        until = f",until={page['continueUntilDateTime']}"
    else:
        pytest.fail("no end")
    assert found == [each for each in whole if each in found] and len(found) == 4


async def test_blast_radius(world: World) -> None:
    """What was touched directly comes first; from `since` on."""
    await attacked(world)
    wide = await of(world, BAD, "/blastRadius")
    touched = {each["kind"]: each["entities"] for each in wide["touched"]}
    assert {each["id"] for each in touched["user"]} == {ALICE, "user:bob@contoso.example"}
    assert all(each["distance"] == 1 and each["via"] is None for each in touched["host"])
    assert wide["alertCount"] == 8 and len(wide["incidentIds"]) == 2
    late = await of(world, BAD, "/blastRadius(since=2026-11-20T15:00:00Z)")
    assert [each["id"] for kind in late["touched"] for each in kind["entities"]] == [
        "host:lap-bob.contoso.example",
        "user:bob@contoso.example",
    ]
    assert late["alertCount"] == 4 and late["touched"][0]["entities"][0]["prevalence"] == 2
    await sign_in(world, "dora", "21:00", "192.0.2.1", deviceDetail={"displayName": "lap-bob.contoso.example"})
    far = await of(world, BAD, "/blastRadius(since=2026-11-20T15:00:00Z)")
    (via,) = [each for kind in far["touched"] for each in kind["entities"] if each["id"].startswith("user:dora")]
    assert (via["distance"], via["via"]) == (2, "host:lap-bob.contoso.example")


async def test_the_graph_of_an_incident(world: World) -> None:
    """Its entities and which of them stand together; an alert says what is known of each of its own."""
    first, _ = await attacked(world)
    path = f"/beta/security/incidents/{await incident_of(world, first[0])}"
    graph = await world.get(f"{path}/graph")
    assert [node["id"] for node in graph["nodes"]] == [BAD, ALICE, "host:lap-alice.contoso.example"]
    edges = {(each["source"], each["target"]): each["observationCount"] for each in graph["edges"]}
    assert edges[BAD, ALICE] == 4 and edges[BAD, "host:lap-alice.contoso.example"] == 1
    few = await world.get(f"{path}/graph(alerts=2,top=1)")
    assert len(few["nodes"]) == 1 and few["edges"] == [] and few["truncatedBy"] == ["nodes", "observations"]
    around = (await world.get(f"/beta/security/alerts_v2/{first[0]}/context"))["value"]
    assert [each["id"] for each in around] == [ALICE, BAD]
    assert around[0] == {name: value for name, value in (await of(world, ALICE)).items() if name != "@odata.context"}


@on_both_engines
async def test_hubs_are_shown_and_not_gone_through(world: World) -> None:
    """Everybody goes through the gateway: nobody is anybody's neighbour for that, unless asked."""
    gate = ip("198.51.100.1")
    bodies = [{"title": f"n{at}", "evidence": [device(f"pc{at % 40}.x.example"), gate]} for at in range(HUB + 20)]
    await world.post("/v1.0/security/alerts_v2", bodies)
    near = await of(world, "host:pc1.x.example", "/neighbors(depth=2,kinds='host,address')")
    hub = "address:198.51.100.1"
    assert {node["id"]: node["isHub"] for node in near["nodes"]}[hub] and near["hubsNotExpanded"] == [hub]
    assert not near["isTruncated"] and "host:pc2.x.example" not in [node["id"] for node in near["nodes"]]
    through = await of(world, "host:pc1.x.example", "/neighbors(depth=2,hubs=true)")
    assert "host:pc2.x.example" in [node["id"] for node in through["nodes"]]
    assert through["truncatedBy"] == ["observations"]  # the last ones of the hub were read
    asked = "/shortestPath(to='host:pc2.x.example'"
    assert not (await of(world, "host:pc1.x.example", f"{asked})"))["isFound"]
    assert (await of(world, "host:pc1.x.example", f"{asked},hubs=true)"))["length"] == 2
    seen = await of(world, hub)
    assert seen["alertCount"] == HUB + 20 and seen["isHub"] and seen["isTruncated"]
    entries = (await of(world, hub, "/timeline(top=500)"))["entries"]
    assert len(entries) == 500


async def test_whoever_may_read_a_set_sees_it_in_the_graph(world: World) -> None:
    """A token for sign-ins alone sees no alert, also not by way of a path or a profile; another tenant sees nothing."""
    await attacked(world)
    for name, scope in (("signs", "AuditLog.Read.All"), ("alerts", "SecurityAlert.Read.All")):
        world.known[name] = replace(world.known["admin"], app=name, permissions=frozenset({scope}))
    alice = await of(world, ALICE, by="signs")
    assert (alice["signInCount"], alice["alertCount"], alice["severity"]) == (2, None, None)
    assert (await of(world, ALICE, "/timeline", by="signs"))["setsRead"] == ["auditLogs/signIns"]
    assert {each["kind"] for each in (await of(world, ALICE, "/timeline", by="alerts"))["entries"]} == {"alert"}
    path = await of(world, ALICE, "/shortestPath(to='user:bob@contoso.example')", by="alerts")
    assert path["length"] == 2
    await world.refused("GET", f"{ENTITIES}('user:bob@contoso.example')", by="signs", status=404)
    path = await of(world, ALICE, "/shortestPath(to='user:bob@contoso.example')", by="signs")
    assert not path["isFound"]
    await world.refused("GET", f"{ENTITIES}('{ALICE}')", by="other", status=404)
    await world.refused("GET", f"{ENTITIES}('{ALICE}')", by="none", status=403)
    assert (await world.get(ENTITIES, by="other"))["value"] == []


async def test_what_cannot_be_asked_is_refused(world: World) -> None:
    await attacked(world)
    for path, says in (
        ("('alice')", "kind:value"),
        ("('person:alice')", "host, user"),
        ("('user:')", "kind:value"),
        (f"('{ALICE}')/neighbors(depth=4)", "1 to 3"),
        (f"('{ALICE}')/neighbors(top=0)", "1 to 500"),
        (f"('{ALICE}')/neighbors(kinds='planet')", "kinds"),
        (f"('{ALICE}')/neighbors(nope=1)", "nope"),
        (f"('{ALICE}')/shortestPath", "to"),
        (f"('{ALICE}')/shortestPath(to='x')", "kind:value"),
        (f"('{ALICE}')/timeline(since='yesterday')", "since"),
        (f"('{ALICE}')/timeline(top=501)", "1 to 500"),
        ("?$top=21", "The limit of '20'"),
        ("?$skip=1", "nextLink"),
        ("?$filter=nope eq 1", "nope"),
    ):
        await world.refused("GET", f"{ENTITIES}{path}", status=400, says=says)
    await world.refused("GET", f"{ENTITIES}('host:lap-alice')/neighbors(depth='x')", status=400, says="depth")
    await world.refused("GET", f"{ENTITIES}('hash:{'0' * 64}')", status=404)
    await world.refused("GET", f"{ENTITIES}('hash:{'0' * 64}')/neighbors", status=404)
    await world.refused("GET", "/beta/security/incidents/none/similar", status=404)
    await world.refused("GET", "/beta/security/incidents/none/graph", status=404)
    await world.refused("GET", f"/v1.0/security/entities('{ALICE}')", status=404)
    await world.refused("POST", ENTITIES, {}, status=405)
    url = {"@odata.type": "#microsoft.graph.security.urlEvidence", "url": "https://evil.example/a?c=d'e%20f"}
    await alert(world, "a mail", "10:00", mailbox("x@y.example"), url)
    found = await world.every(f"{ENTITIES}?$filter=kind eq 'url' or kind eq 'mailbox'")
    for each in found:
        quoted = each["id"].replace("'", "''").replace("%", "%25").replace("/", "%2F").replace("?", "%3F")
        assert (await of(world, quoted))["id"] == each["id"]
    await world.refused("GET", f"{ENTITIES}('mailbox:x@y.example')/blastRadius", status=400, says="neighbors")


@on_both_engines
async def test_entities_are_listed_kind_by_kind(world: World) -> None:
    await attacked(world)
    every = [each["id"] for each in await world.every(f"{ENTITIES}?$top=2")]
    assert every == [
        "host:lap-alice.contoso.example",
        "host:lap-bob.contoso.example",
        ALICE,
        "user:bob@contoso.example",
        "user:carol@contoso.example",
        "address:198.51.100.7",
        BAD,
    ]
    assert (await world.get(f"{ENTITIES}?$count=true&$top=2"))["@odata.count"] == len(every)
    bad = await world.every(f"{ENTITIES}?$filter=riskScore gt 80 and kind in ('user','address')&$select=id")
    assert [each["id"] for each in bad] == [BAD]
    assert [each["id"] for each in await world.every(f"{ENTITIES}?$filter=value eq 'LAP-bob.contoso.example'")] == [
        "host:lap-bob.contoso.example"
    ]
    etag = (await of(world, BAD))["@odata.etag"]
    same = await world.call("GET", f"{ENTITIES}('{BAD}')", if_none_match=etag)
    assert same.status_code == 304
    await sign_in(world, "carol", "23:00", "203.0.113.66")
    assert (await world.call("GET", f"{ENTITIES}('{BAD}')", if_none_match=etag)).status_code == 200
