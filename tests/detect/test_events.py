"""Indicators against events: as they arrive in the lake, and against what its files hold."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from tests.api.conftest import NOW, A, B, on_both_engines
from tests.detect.conftest import Hunt, Recording
from tests.detect.test_indicators import BAD, NOTHING, follow, found, read, sign_in, stage, tell

import bartizan.sources  # the tables that sources declare
from bartizan.app.assembly import hunting_of
from bartizan.detect.events import READER, EventStage
from bartizan.detect.lookback import LookBack
from bartizan.detect.marks import Networks, Pair, asked_of
from bartizan.detect.match import IndicatorStage
from bartizan.detect.named import columns_of, named
from bartizan.detect.sieve import Looks, Sieve, Sieves
from bartizan.hunt.service import Hunting
from bartizan.lake.buffer import Lake, open_lake
from bartizan.lake.coerce import find
from bartizan.lake.duck import Duck
from bartizan.lake.flush import Flusher
from bartizan.lake.manifest import Manifest
from bartizan.lake.readers import expected, position
from bartizan.lake.tables import declare
from bartizan.model.times import instant
from bartizan.settings import Settings
from bartizan.store.interface import TenantStore

pytestmark = pytest.mark.anyio
EMPTY = Networks([])
assert bartizan.sources


@dataclass
class Events:
    """A tenant whose lake takes events, which stages look at when they are told to."""

    hunt: Hunt
    lake: Lake
    manifest: Manifest
    duck: Duck
    queries: Hunting
    matching: IndicatorStage

    async def add(self, name: str, *, tenant: str = A, **row: Any) -> None:
        time = find(name).time
        row = {**({time: instant(NOW)} if time else {}), **row}
        await self.lake.append(tenant, [(name, row)])

    async def arrive(self) -> int:
        """What the buffer holds, matched."""
        taken = 0
        while count := await EventStage(self.lake, self.matching).step():
            taken += count
        return taken

    async def flush(self) -> None:
        while await Flusher(self.lake, self.manifest, self.duck).step():
            pass

    async def look_back(self) -> None:
        """With what is in files."""
        await follow(self.matching)
        await self.flush()
        back = LookBack(
            self.hunt.world.store, self.lake, self.manifest, self.matching, self.queries, clock=lambda: self.hunt.now
        )
        while await back.step():
            pass


@pytest.fixture
async def events(hunt: Hunt, tmp_path: Any, kept_at: str) -> AsyncIterator[Events]:
    lake = open_lake(kept_at)
    await lake.start()
    await expected(lake, [READER])
    settings = Settings(data=str(tmp_path))
    manifest = Manifest(lake, settings.lake_path)
    duck = Duck(settings.lake_path, threads=1, memory_mb=256)
    queries = hunting_of(settings, hunt.world.store, lake)
    yield Events(hunt, lake, manifest, duck, queries, stage(hunt))
    await queries.close()
    duck.close()
    await lake.close()


SEEN: list[tuple[str, dict[str, Any], dict[str, Any]]] = [  # what an indicator says, table, row
    ("DeviceNetworkEvents", {"networkIPv4": BAD}, {"RemoteIP": BAD}),
    ("DeviceNetworkEvents", {"networkCidrBlock": "203.0.113.0/24"}, {"RemoteIP": BAD}),
    ("DeviceNetworkEvents", {"networkCidrBlock": "2001:DB8:7::/48"}, {"RemoteIP": "2001:DB8:7::1"}),
    ("DeviceNetworkEvents", {"url": "http://bad.example/a?b=c'd"}, {"RemoteUrl": "http://bad.example:80/a/?b=c'd"}),
    ("DeviceNetworkEvents", {"networkIPv6": "2001:DB8::7"}, {"RemoteIP": "2001:db8:0::7"}),
    ("DeviceNetworkEvents", {"domainName": "bad.example"}, {"RemoteUrl": "https://a.b.Bad.example:8443/x?y=1"}),
    ("DeviceNetworkEvents", {"domainName": "bad.example"}, {"RemoteUrl": "bad.example"}),
    ("EmailUrlInfo", {"url": "bad.example?x"}, {"Url": "http://bad.example:80?x"}),
    ("EmailUrlInfo", {"url": "https://bad.example/a/b"}, {"Url": "HTTPS://bad.example:443/A/b/#c", "UrlDomain": ""}),
    ("DeviceProcessEvents", {"fileHashType": "sha1", "fileHashValue": "AB" * 20}, {"InitiatingProcessSHA1": "ab" * 20}),
    ("CommonSecurityLog", {"networkDestinationIPv4": BAD}, {"DestinationIP": BAD, "SourceIP": "10.0.0.9"}),
    ("CommonSecurityLog", {"fileHashType": "md5", "fileHashValue": "cd" * 16}, {"FileHash": "CD" * 16}),
    ("DnsEvents", {"domainName": "bad.example"}, {"Name": "www.bad.example", "ClientIP": "10.0.0.1"}),
    ("DnsEvents", {"networkIPv4": BAD}, {"Name": "fine.example", "IPAddresses": f"198.51.100.1,{BAD}"}),
    ("EmailEvents", {"emailSenderAddress": "X@bad.example"}, {"SenderFromAddress": "x@bad.example"}),
    ("EmailEvents", {"emailSourceDomain": "bad.example"}, {"SenderMailFromAddress": "y@bad.example"}),
    ("EmailEvents", {"emailSourceIpAddress": BAD}, {"SenderIPv4": BAD}),
    ("OfficeActivity", {"networkSourceIPv4": BAD}, {"ClientIP": f"{BAD}:55012", "UserId": "ada@contoso.example"}),
    ("W3CIISLog", {"networkIPv4": BAD}, {"cIP": BAD, "sIP": "10.0.0.1"}),
    ("SuricataEvents", {"domainName": "bad.example"}, {"DomainName": "bad.example"}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "says", "row"), SEEN)
async def test_an_event_is_matched(events: Events, name: str, says: dict[str, Any], row: dict[str, Any]) -> None:
    """As it arrives, and by an indicator that comes later: the same alert, with what the row names."""
    first = await tell(events.hunt.world, **{**NOTHING, **says})
    await follow(events.matching)
    await events.add(name, **row, DeviceName="pc7.contoso.example")
    await events.add(name, DeviceName="pc8.contoso.example")
    assert await events.arrive() == 2
    (alert,) = await found(events.hunt)
    told = alert["additionalData"]
    assert (alert["detectorId"], told["matchedIn"], told["tiIndicatorId"]) == (first, name, first)
    assert set(row.values()) - {""} <= set(told["row"].values())
    assert len(alert["evidence"]) == len({repr(each) for each in alert["evidence"]})
    later = await tell(events.hunt.world, **{**NOTHING, **says}, description="later")
    await events.look_back()
    every = await found(events.hunt)
    assert {each["detectorId"] for each in every} == {first, later}
    assert len(every) == 2, "it looks back once, and what was there is not raised again"


NOT_SEEN: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("DeviceNetworkEvents", {"networkIPv4": BAD}, {"LocalIP": BAD, "RemoteIP": "198.51.100.1"}),
    ("DeviceNetworkEvents", {"domainName": "bad.example"}, {"RemoteUrl": "https://notbad.example/bad.example"}),
    ("DeviceNetworkEvents", {"domainName": "www.bad.example"}, {"RemoteUrl": "bad.example"}),
    ("CommonSecurityLog", {"networkDestinationIPv4": BAD}, {"SourceIP": BAD}),
    ("CommonSecurityLog", {"networkSourceIPv4": BAD}, {"DestinationIP": BAD}),
    ("CommonSecurityLog", {"networkDestinationCidrBlock": "203.0.113.0/24"}, {"SourceIP": BAD}),
    ("EmailEvents", {"emailSourceDomain": "bad.example"}, {"RecipientEmailAddress": "y@bad.example"}),
    ("EmailUrlInfo", {"url": "https://bad.example/a"}, {"Url": "https://bad.example/ab"}),
    ("DeviceProcessEvents", {"networkIPv4": BAD}, {"ProcessCommandLine": f"ping {BAD}", "FileName": BAD}),
    ("AlertEvidence", {"networkIPv4": BAD}, {"RemoteIP": BAD}),
    ("ThreatIntelligenceIndicator", {"networkIPv4": BAD}, {"NetworkIP": BAD}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "says", "row"), NOT_SEEN)
async def test_what_is_no_match(events: Events, name: str, says: dict[str, Any], row: dict[str, Any]) -> None:
    """Another end, one's own address, a name that only looks alike, and what is no event."""
    await tell(events.hunt.world, **{**NOTHING, **says})
    await follow(events.matching)
    await events.add(name, **row)
    await events.arrive()
    await tell(events.hunt.world, **{**NOTHING, **says})
    await events.look_back()
    assert await found(events.hunt) == []


@on_both_engines
async def test_each_event_once(events: Events) -> None:
    """However often the buffer is read, one alert for each indicator, day and device; one order to block each thing."""
    id = await tell(events.hunt.world, **NOTHING, networkCidrBlock="203.0.113.0/24", action="block")
    await follow(events.matching)
    for number in range(6):
        await events.add("DeviceNetworkEvents", DeviceName=f"pc{number % 2}", RemoteIP=f"203.0.113.{7 + number // 3}")
    await events.arrive()
    before = {each["id"]: each["lastUpdateDateTime"] for each in await found(events.hunt)}
    assert len(before) == 2
    await events.lake.write(lambda db, clock: db.run("UPDATE lake_cursors SET position = 0 WHERE name = ?", (READER,)))
    events.matching = stage(events.hunt)
    assert await events.arrive() == 6
    assert {each["id"]: each["lastUpdateDateTime"] for each in await found(events.hunt)} == before
    recording = Recording(events.hunt.dispatch)
    placing = stage(events.hunt, recording)
    await placing._orders.round(A)
    assert sorted(each["parameters"][0]["value"] for each in recording.taken) == ["203.0.113.7", "203.0.113.8"]
    assert {each["detectorId"] for each in await found(events.hunt)} == {id}


async def test_which_count(events: Events) -> None:
    """Not one that has expired, sleeps, is passive, is of another tenant or whose false positives are named; what is
    allowed raises nothing."""
    world = events.hunt.world
    await tell(world, **NOTHING, networkIPv4=BAD, expirationDateTime="2020-01-01T00:00:00Z")
    asleep = await tell(world, **NOTHING, networkIPv4=BAD, isActive=False)
    await tell(world, **NOTHING, networkIPv4=BAD, passiveOnly=True)
    await tell(world, **NOTHING, networkIPv4=BAD, action="unknown")
    await tell(world, **NOTHING, networkIPv4=BAD, knownFalsePositives="The scanner pc7.")
    await follow(events.matching)
    await events.add("DeviceNetworkEvents", DeviceName="pc7.contoso.example", RemoteIP=BAD)
    await events.add("DeviceNetworkEvents", tenant=B, DeviceName="pc9", RemoteIP=BAD)
    await events.arrive()
    await events.look_back()
    assert await found(events.hunt) == []
    await world.patch(f"/beta/security/tiIndicators/{asleep}", {"isActive": True})
    await events.look_back()
    assert [each["detectorId"] for each in await found(events.hunt)] == [asleep], "awake, it looks back"
    await tell(world, **NOTHING, networkIPv4="203.0.113.8", action="allow")
    await tell(world, **NOTHING, networkIPv4="203.0.113.8")
    await follow(events.matching)
    await events.add("DeviceNetworkEvents", DeviceName="pc7", RemoteIP="203.0.113.8")
    await events.arrive()
    await events.look_back()
    assert len(await found(events.hunt)) == 1


async def test_it_looks_back_two_weeks(events: Events) -> None:
    await events.add("DeviceNetworkEvents", DeviceName="old", RemoteIP=BAD, Timestamp=instant(NOW - timedelta(days=15)))
    await events.add("DeviceNetworkEvents", DeviceName="new", RemoteIP=BAD, Timestamp=instant(NOW - timedelta(days=13)))
    await events.arrive()
    await tell(events.hunt.world, **NOTHING, networkIPv4=BAD)
    await events.look_back()
    (alert,) = await found(events.hunt)
    assert alert["additionalData"]["row"]["DeviceName"] == "new"
    assert alert["firstActivityDateTime"][:10] == instant(NOW - timedelta(days=13))[:10]


async def test_many_look_back_together(events: Events) -> None:
    """More marks than one query asks for, and more rows of them than one gives: none is forgotten."""
    rows = [
        ("DeviceNetworkEvents", {"Timestamp": instant(NOW), "DeviceName": f"pc{n}", "RemoteIP": f"203.0.113.{n % 3}"})
        for n in range(1_500)
    ]
    await events.lake.append(A, rows)
    await events.add("DeviceNetworkEvents", DeviceName="one", RemoteUrl="http://d1100.bad.example/")
    bodies = [{**NOTHING, "networkIPv4": f"203.0.113.{n}"} for n in range(3)]
    bodies += [{"domainName": f"d{n}.bad.example"} for n in range(1_200)]
    bodies += [{**NOTHING, "networkIPv4": f"198.18.{n // 250}.{n % 250}"} for n in range(900)]
    await events.add("CommonSecurityLog", SourceIP="198.18.3.149", DeviceVendor="V")  # a dozen columns of addresses
    for body in bodies:
        await tell(events.hunt.world, **body)
    await events.look_back()
    every = await events.hunt.world.every("/v1.0/security/alerts_v2?$top=999&$select=id,title")
    assert len(every) == 1_502


async def test_a_sign_in_and_its_event_are_one(events: Events) -> None:
    """Rows that show documents of the store are matched as these alone."""
    await tell(events.hunt.world, **NOTHING, networkIPv4=BAD)
    await follow(events.matching)
    await sign_in(events.hunt.world, "s1")
    await events.add("SigninLogs", IPAddress=BAD, UserId="id-of-ada")
    await events.add("EntraIdSignInEvents", IPAddress=BAD, AccountObjectId="id-of-ada")
    await events.add("IdentityLogonEvents", IPAddress=BAD, AccountObjectId="id-of-ada")
    await follow(events.matching)
    await events.arrive()
    (alert,) = await found(events.hunt)
    assert (await read(events.hunt, alert["id"]))["additionalData"]["matchedIn"] == "signIns"


async def test_rows_of_any_kind(events: Events) -> None:
    """Values that are no text, lists, and a table that a source declares with columns of its own."""
    declare(
        "GateLog", {"TimeGenerated": "datetime", "PeerAddress": "string", "ReferrerUrls": "dynamic", "Size": "long"}
    )
    names = {(each.name, each.kind) for each in columns_of(find("GateLog"))}
    assert names == {("PeerAddress", "address"), ("ReferrerUrls", "url")}
    id = await tell(events.hunt.world)
    await follow(events.matching)
    await events.add("GateLog", PeerAddress=7, ReferrerUrls={"a": [1, None, "https://www.bad.example/"]})
    await events.add("GateLog", PeerAddress="nonsense", ReferrerUrls=[])
    await events.arrive()
    (alert,) = await found(events.hunt)
    later = await tell(events.hunt.world)
    await events.look_back()
    assert {each["detectorId"] for each in await found(events.hunt)} == {id, later}
    assert alert["additionalData"]["matchedIn"] == "GateLog"


async def test_the_buffer_is_passed(events: Events) -> None:
    """Where a tenant has no indicators nothing is read, and the buffer does not wait."""
    await events.add("DeviceNetworkEvents", RemoteIP=BAD)
    assert await events.arrive() == 0
    assert await events.lake.read(lambda db: position(db, READER)) == await events.lake.head()


async def test_a_sieve_knows_all(hunt: Hunt) -> None:
    """Whatever is told of before, during or after it is read; one that is too full is made anew."""
    pairs = [("domain", f"d{n}.example") for n in range(5_000)]
    sieve = Sieve(0)
    sieve.add(pairs)
    assert sieve.full and all(sieve.may(pair) for pair in pairs)
    large = Sieve(5_000)
    large.add(pairs)
    strangers = sum(large.may(("domain", f"x{n}.example")) for n in range(10_000))
    assert not large.full and strangers < 300
    await tell(hunt.world)
    made = Sieves(hunt.world.store)
    first = await made.of(A)
    made.add(A, pairs)
    assert first.full
    again = await made.of(A)
    assert again is not first and again.may(("domain", "bad.example")) and not again.full


async def test_a_sieve_is_read_once(hunt: Hunt, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where two ask for it at once, and again where all is forgotten while it is read."""
    await tell(hunt.world)
    tenant = type(hunt.world.store.tenant(A))
    values = tenant.values

    async def slowly(self: TenantStore, *given: Any, **more: Any) -> list[str]:
        await asyncio.sleep(0)
        return await values(self, *given, **more)

    monkeypatch.setattr(tenant, "values", slowly)
    made = Sieves(hunt.world.store)
    begun = asyncio.create_task(made.of(A))
    await asyncio.sleep(0)
    made.forget()
    sieve = await made.of(A)
    assert sieve is await begun and sieve.may(("domain", "bad.example"))


@pytest.mark.parametrize(
    ("column", "text", "pair"),
    [
        ("RemoteUrl", "HTTPS://A.Example/x/?Q=1", ("url", "a.example/x?q=1")),
        ("RemoteUrl", "a.example/x/", ("url", "a.example/x")),
        ("RemoteUrl", "http://u@a.example:80/x#y", ("url", "a.example/x")),
        ("RemoteUrl", "http://x.y.A.example.:8080/", ("domain", "a.example")),
        ("RemoteUrl", "http://[2001:DB8::1]/x", ("address", "2001:db8::1")),
        ("RemoteUrl", "http://192.0.2.1/x", ("address", "192.0.2.1")),
        ("RemoteUrl", "http://q.a.example/", ("domain", "q.a.example")),
        ("RemoteUrl", "bücher.example/x", ("domain", "bücher.example")),
        ("RemoteIP", "192.0.2.1", ("address", "192.0.2.1")),
        ("RemoteIP", "::ffff:192.0.2.1", ("address", "192.0.2.1")),
        ("RemoteIP", "192.0.2.1:443", ("address", "192.0.2.1")),
        ("InitiatingProcessMD5", "AB" * 16, ("hash", "ab" * 16)),
    ],
)
def test_a_look_keeps_back_nothing(column: str, text: str, pair: Pair) -> None:
    """Written as most are or not, what bears a mark is let through; and what bears none is remembered as that."""
    of = next(each for each in columns_of(find("DeviceNetworkEvents")) if each.name == column)
    sieve = Sieve(10)
    sieve.add([pair, ("url", "other.example")])
    looks = Looks(sieve, EMPTY)
    assert pair in [mark for entity in named(of, text) for mark in asked_of(entity)]
    for _ in range(2):
        assert looks.known(of, {text, "192.0.2.99", "fine.example", "", "-"}) == {text}
    sieve.add([("domain", "fine.example")])
    assert not looks.still(sieve, EMPTY)


def test_a_list_says_more_than_a_value() -> None:
    """What says nothing in a column of one address may name two in a column of several."""
    one, several = (
        next(each for each in columns_of(find("DnsEvents")) if each.name == name)
        for name in ("ClientIP", "IPAddresses")
    )
    sieve = Sieve(10)
    sieve.add([("address", BAD)])
    looks, text = Looks(sieve, EMPTY), f"198.51.100.1,{BAD}"
    assert looks.known(one, {text}) == set()
    assert looks.known(several, {text}) == {text}


def test_what_columns_name() -> None:
    """Of Microsoft's tables: which columns, and in which role."""

    def roles(name: str) -> dict[str, tuple[str, str]]:
        return {each.name: (each.kind, each.role) for each in columns_of(find(name))}

    assert roles("DeviceLogonEvents").keys() == {
        "RemoteIP", "InitiatingProcessSHA1", "InitiatingProcessSHA256", "InitiatingProcessMD5",
        "InitiatingProcessRemoteSessionIP",
    }  # fmt: skip
    log = roles("CommonSecurityLog")
    assert log["SourceIP"] == ("address", "source") and log["DestinationHostName"] == ("domain", "destination")
    assert not {"DeviceAddress", "SourceMACAddress", "SourceNTDomain", "DeviceName"} & log.keys()
    assert roles("EmailEvents")["SenderIPv4"] == ("address", "sender")
    assert "AccountDomain" not in roles("DeviceEvents") and roles("SigninLogs") == {}
    (column,) = [each for each in columns_of(find("UrlClickEvents")) if each.name == "UrlChain"]
    assert named(column, '["https://a.example/x","https://b.example/"]')[:2] == [
        ("url", "https://a.example/x", ""), ("domain", "a.example", ""),
    ]  # fmt: skip
