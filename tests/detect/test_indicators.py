"""Indicators of clients: matched as things arrive, and against what was there; what each action brings about."""

from datetime import timedelta
from typing import Any

import pytest
from tests.api.conftest import NOW, A, B, World, on_both_engines
from tests.api.test_indicators import indicator
from tests.detect.conftest import Hunt, Recording

from bartizan.correlate.stage import CorrelateStage
from bartizan.detect import marks
from bartizan.detect.marks import Networks, marks_of, url_key
from bartizan.detect.match import SEEN_BY, IndicatorStage
from bartizan.detect.orders import ORDERED
from bartizan.model import security as graph
from bartizan.model.alert import Alert
from bartizan.model.faces import SUPPRESSION, provider_faces
from bartizan.model.times import instant
from bartizan.store.alerts import prepare, store_alerts

pytestmark = pytest.mark.anyio
SET = "/beta/security/tiIndicators"
BAD = "203.0.113.7"
NOTHING: dict[str, Any] = {"domainName": None}


async def tell(world: World, **more: Any) -> str:
    return str((await world.post(SET, indicator(**more)))["id"])


async def alert(world: World, key: str, *evidence: graph.AlertEvidence, tenant: str = A) -> str:
    made = Alert(
        vendor="V", product="P", provider_alert_id=key, title=f"Alert {key}", severity="low", evidence=list(evidence),
        first_activity=instant(NOW), detector_id=key,
    )  # fmt: skip
    ready = prepare(provider_faces(made, tenant, instant(NOW)))
    await world.store.tenant(tenant).write(lambda tx: store_alerts(tx, [ready]), actor="test")
    return ready.id


async def sign_in(world: World, id: str, ip: str = BAD, user: str = "ada") -> None:
    body = {"id": id, "createdDateTime": instant(NOW), "ipAddress": ip, "userId": f"id-of-{user}",
            "userPrincipalName": f"{user}@contoso.example", "userDisplayName": user.title()}  # fmt: skip
    await world.post("/v1.0/auditLogs/signIns", body)


def stage(hunt: Hunt, ordering: Any = None, **more: Any) -> IndicatorStage:
    async def tenants() -> list[str]:
        return [A, B]

    return IndicatorStage(hunt.world.store, tenants, ordering or hunt.dispatch, clock=lambda: hunt.now, **more)


async def follow(made: IndicatorStage) -> None:
    while await made.step():
        pass


async def found(hunt: Hunt) -> list[dict[str, Any]]:
    every = await hunt.world.every("/v1.0/security/alerts_v2?$top=200")
    return [each for each in every if each["productName"] == "Bartizan Threat Indicators"]


async def read(hunt: Hunt, id: str) -> dict[str, Any]:
    return dict(await hunt.world.get(f"/v1.0/security/alerts_v2/{id}"))


@on_both_engines
async def test_what_arrives_is_matched(hunt: Hunt) -> None:
    """A sign-in from a bad address and an alert that names a bad domain each raise an alert; read twice, no more."""
    world = hunt.world
    ip = await tell(world, **NOTHING, networkIPv4=BAD, severity=5, threatType="C2", tags=["apt"])
    domain = await tell(world, domainName="Bad.Example", severity=1)
    await follow(stage(hunt))
    assert await found(hunt) == []
    await sign_in(world, "s1")
    await sign_in(world, "s2")
    await sign_in(world, "s3", ip="198.51.100.1")
    host = graph.DeviceEvidence(hostName="pc7")
    source = await alert(world, "one", host, graph.UrlEvidence(url="https://www.bad.example/x"))
    await alert(world, "two", host)
    await follow(stage(hunt))
    by = {each["detectorId"]: each for each in await found(hunt)}
    assert set(by) == {ip, domain}
    first, second = by[ip], by[domain]
    assert (first["severity"], first["category"], first["detectionSource"]) == ("high", "CommandAndControl", "customTi")
    assert first["additionalData"]["tiIndicatorId"] == ip
    users = [each for each in first["evidence"] if each["@odata.type"].endswith("userEvidence")]
    assert users[0]["userAccount"]["userPrincipalName"] == "ada@contoso.example"
    assert [each["ipAddress"] for each in first["evidence"] if each["@odata.type"].endswith("ipEvidence")] == [BAD]
    assert (second["severity"], second["additionalData"]["matchedId"]) == ("low", source)
    assert "pc7" in [each.get("hostName") for each in second["evidence"]]
    assert (await read(hunt, source))["additionalData"][SEEN_BY] == [domain]
    again = stage(hunt, name="again")
    await world.store.advance("again", 0)
    await follow(again)
    assert {each["id"] for each in await found(hunt)} == {each["id"] for each in by.values()}


@on_both_engines
async def test_a_new_indicator_looks_back(hunt: Hunt) -> None:
    """At alerts and sign-ins of 14 days: by address, block, address of the web in another spelling, hash."""
    world = hunt.world
    await sign_in(world, "s1")
    await sign_in(world, "s2", ip="2001:db8:7::1", user="bob")
    evidence = graph.FileHashEvidence(value="AB" * 32)
    source = await alert(world, "one", graph.UrlEvidence(url="http://evil.example/Path/"), evidence)
    await follow(stage(hunt))
    told = [
        await tell(world, **NOTHING, networkIPv4=BAD),
        await tell(world, **NOTHING, networkCidrBlock="2001:DB8:7::/48"),
        await tell(world, **NOTHING, url="https://EVIL.example:443/path#x"),
        await tell(world, **NOTHING, fileHashType="sha256", fileHashValue="ab" * 32),
    ]
    await follow(stage(hunt))
    assert {each["detectorId"] for each in await found(hunt)} == set(told)
    assert sorted((await read(hunt, source))["additionalData"][SEEN_BY]) == sorted(told[2:])
    hunt.now = NOW + timedelta(days=10_000)
    late = await tell(world, **NOTHING, networkIPv4=BAD, expirationDateTime="2099-01-01T00:00:00Z")
    await follow(stage(hunt))
    assert late not in [each["detectorId"] for each in await found(hunt)]


async def test_which_count(hunt: Hunt) -> None:
    """Not one that has expired, is not active, is passive, names a false positive, or speaks of destinations of
    someone who signs in."""
    world = hunt.world
    await tell(world, **NOTHING, networkIPv4=BAD, expirationDateTime="2020-01-01T00:00:00Z")
    asleep = await tell(world, **NOTHING, networkIPv4=BAD, isActive=False)
    passive = await tell(world, **NOTHING, networkIPv4=BAD, passiveOnly=True)
    await tell(world, **NOTHING, networkIPv4=BAD, knownFalsePositives="Scans by ada@contoso.example, pc7.")
    await tell(world, **NOTHING, networkDestinationIPv4=BAD, knownFalsePositives="pc7")
    await follow(stage(hunt))
    await sign_in(world, "s1")
    source = await alert(world, "one", graph.DeviceEvidence(hostName="pc7"), graph.IpEvidence(ipAddress=BAD))
    await follow(stage(hunt))
    assert await found(hunt) == []
    assert (await read(hunt, source))["additionalData"][SEEN_BY] == [passive]
    await world.patch(f"{SET}/{asleep}", {"isActive": True})
    await follow(stage(hunt))
    assert {each["detectorId"] for each in await found(hunt)} == {asleep}, "awake, it looks back"


async def test_tenants_are_apart(hunt: Hunt) -> None:
    await tell(hunt.world, **NOTHING, networkIPv4=BAD)
    await follow(stage(hunt))
    await alert(hunt.world, "one", graph.IpEvidence(ipAddress=BAD), tenant=B)
    await follow(stage(hunt))
    assert await found(hunt) == []
    assert len((await hunt.world.get("/v1.0/security/alerts_v2", by="other"))["value"]) == 1


@on_both_engines
async def test_block_orders_once(hunt: Hunt) -> None:
    """However often it is seen, one securityAction of the application that submitted it, and an alert that names it."""
    await tell(hunt.world, **NOTHING, networkCidrBlock="203.0.113.0/24", action="block")
    await follow(stage(hunt))
    recording = Recording(hunt.dispatch)
    for number in range(3):
        await sign_in(hunt.world, f"s{number}", user=f"user{number}")
        made = stage(hunt, recording)
        await follow(made)
        await made._orders.round(A)
    (request,) = recording.taken
    assert (request["name"], request["parameters"]) == ("blockAddress", [{"name": "ip", "value": BAD}])
    assert recording.callers == ["app-a"]
    alerts = await found(hunt)
    assert len(alerts) == 3
    assert sum(ORDERED in each["additionalData"] for each in alerts) == 1


async def test_allow(hunt: Hunt) -> None:
    """What it allows raises nothing; an alert that names nothing else from outside is suppressed and in no incident."""
    world = hunt.world
    allowing = await tell(world, **NOTHING, networkIPv4=BAD, action="allow")
    await tell(world, **NOTHING, networkIPv4=BAD)
    await follow(stage(hunt))
    host, ip = graph.DeviceEvidence(hostName="pc7"), graph.IpEvidence(ipAddress=BAD)
    alone = await alert(world, "one", host, ip, graph.IpEvidence(ipAddress="10.0.0.9"))
    mixed = await alert(world, "two", host, ip, graph.DnsEvidence(domainName="other.example"))
    await sign_in(world, "s1")
    await follow(stage(hunt))
    correlate = CorrelateStage(world.store)
    while await correlate.step():
        pass
    assert await found(hunt) == []
    hidden, seen = await read(hunt, alone), await read(hunt, mixed)
    assert (hidden["additionalData"][SUPPRESSION], hidden["systemTags"]) == (allowing, ["suppressed"])
    assert hidden["incidentId"] is None
    assert SUPPRESSION not in seen["additionalData"]
    assert seen["incidentId"] is not None


async def test_marks_are_ours(hunt: Hunt) -> None:
    """No client sets what an indicator is known by, nor whose it is."""
    id = await tell(hunt.world, **{marks.MARKS: {"address": ["198.51.100.9"]}})
    path = f"{SET}/{id}"
    await hunt.world.call("PATCH", path, {marks.MARKS: {"address": ["198.51.100.9"]}, marks.OWNER: "app-b"})
    await follow(stage(hunt))
    await sign_in(hunt.world, "s1", ip="198.51.100.9")
    await follow(stage(hunt))
    assert await found(hunt) == []
    assert (await hunt.world.get(path))["id"] == id


def test_spellings() -> None:
    """One mark for what is the same; none for what is nothing."""
    given = {"networkIPv6": "2001:DB8::0:1", "networkCidrBlock": "10.1.2.3/24", "domainName": "A.Example."}
    assert marks_of(given) == {
        "address": ["2001:db8::1"], "network": ["10.1.2.0/24"], "domain": ["a.example"],
    }  # fmt: skip
    assert marks_of({"userAgent": "curl", "fileMutexName": "x"}) == {}
    same = ("http://a.example/b/", "https://A.example:443/b#c", "a.example/b")
    assert {url_key(each) for each in same} == {"a.example/b"}
    assert url_key("http://a.example:8080/?q=1") == "a.example:8080?q=1"
    blocks = Networks(["10.0.0.0/8", "10.1.0.0/16", "2001:db8::/32", "nonsense"])
    assert blocks.holding("10.1.2.3") == [("network", "10.0.0.0/8"), ("network", "10.1.0.0/16")]
    assert blocks.holding("2001:db8:1::") == [("network", "2001:db8::/32")]
    assert blocks.holding("11.0.0.1") == blocks.holding("x") == []
    assert marks.asked_of(("domain", "a.b.bad.example", ""))[:3] == [
        ("domain", "a.b.bad.example"), ("domain", "b.bad.example"), ("domain", "bad.example"),
    ]  # fmt: skip
    assert marks.asked_of(("mailbox", "x@bad.example", "sender")) == [
        ("mailbox", "x@bad.example"), ("sender", "bad.example"),
    ]  # fmt: skip
