"""Imported tables in the store, on both engines: whole or not at all, for all or for one tenant, on every process."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.intel.conftest import Opener, Writer

from bartizan.auth.keys import SYSTEM
from bartizan.errors import BadRequest, Conflict, NotFound
from bartizan.extend import collections
from bartizan.intel import Intel, Kind, Network, intel_of, kept
from bartizan.intel.kept import INDEX, Index
from bartizan.model.times import instant
from bartizan.store import Collection, Query, Store, Tx, draft

A, B = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"
NOW = 1_800_000_000.0
pytestmark = pytest.mark.anyio


def of(name: str) -> Collection:
    return next(each for each in collections() if each.name == name)


async def bring(store: Store, tenant: str, kind: str, path: Path, **how: Any) -> kept.Kept:
    table, _ = await kept.bring(store, tenant, kind, path, **{"source": "feed", "now": NOW, **how})
    return table


async def put(store: Store, tenant: str, collection: str, id: str, **inner: Any) -> None:
    made = draft(of(collection), {"id": id, **inner}, id)
    await store.tenant(tenant).write(lambda tx: tx.put(made), actor="test")


async def kinds(store: Store, tenant: str, address: str, at: float = NOW) -> Kind:
    return (await intel_of(store, tenant)).of(address, at).kinds


async def test_an_import_replaces_what_its_source_said(store: Store, written: Writer) -> None:
    """Of the same kind; another source's stays. The view changes, and only then."""
    await bring(store, SYSTEM, "tor", written("a.txt", "192.0.2.1\n"))
    await bring(store, SYSTEM, "tor", written("b.txt", "192.0.2.2\n"), source="other")
    first = await intel_of(store, A)
    assert await intel_of(store, A) is first
    table = await bring(store, SYSTEM, "tor", written("c.txt", "192.0.2.3\n192.0.2.0/30,2030-01-01\n"))
    assert (table.rows, table.kind, table.source, len(table.sha256)) == (2, "tor", "feed", 64)
    assert await intel_of(store, A) is not first
    found = (await intel_of(store, A)).of("192.0.2.2", NOW)
    assert found.kinds == Kind.TOR and set(found.sources) == {"tor: feed", "tor: other"}
    assert await kinds(store, A, "192.0.2.1", 4e9) == Kind(0)
    assert [each.source for each in await kept.tables(store.tenant(SYSTEM))] == ["other", "feed"]
    assert first.of("192.0.2.1", NOW).kinds == Kind.TOR  # who works with the old view goes on with it


async def test_a_bad_file_changes_nothing(store: Store, written: Writer) -> None:
    await bring(store, SYSTEM, "tor", written("a.txt", "192.0.2.1\n"))
    before = await store.tenant(SYSTEM).value(INDEX)
    with pytest.raises(BadRequest, match="line 2"):
        await bring(store, SYSTEM, "tor", written("b.txt", "192.0.2.2\nnope\n"))
    assert await store.tenant(SYSTEM).value(INDEX) == before
    assert await kinds(store, A, "192.0.2.1") == Kind.TOR


async def test_removed(store: Store, written: Writer) -> None:
    """With all of its pieces."""
    table = await bring(store, SYSTEM, "vpn", written("a.txt", "192.0.2.1\n"))
    assert await kinds(store, A, "192.0.2.1") == Kind.VPN
    await kept.remove(store, SYSTEM, "feed")
    assert await kinds(store, A, "192.0.2.1") == Kind(0)
    assert await store.tenant(SYSTEM).value(f"intel/{table.id}/0") is None
    with pytest.raises(NotFound):
        await kept.remove(store, SYSTEM, "feed")


async def test_large_tables_come_back_whole(store: Store, written: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """In more pieces than one."""
    monkeypatch.setattr(kept, "PIECE_BYTES", 1_000)
    rows = [f"10.{n // 256}.{n % 256}.0,10.{n // 256}.{n % 256}.255,{n + 1},Net {n * 7919}" for n in range(2_000)]
    table = await bring(store, SYSTEM, "asn", written("asn.csv", "\n".join(rows)))
    assert table.pieces > 10 and table.rows == 2_000
    known = await intel_of(store, A)
    assert known.of("10.5.7.9", NOW) == Network(5 * 256 + 8, f"Net {(5 * 256 + 7) * 7919}")


async def test_what_died_half_way_is_removed(store: Store, written: Writer) -> None:
    """An import that never ended leaves nothing behind once another one comes an hour later."""
    system = store.tenant(SYSTEM)

    def die(tx: Tx) -> None:
        index = Index(begun=[kept._Begun("dead", 2, NOW - 4_000), kept._Begun("alive", 1, NOW - 10)])
        tx.set_value(INDEX, msgspec.json.encode(index))
        tx.set_value("intel/dead/0", b"x")
        tx.set_value("intel/alive/0", b"x")

    await system.write(die, actor="test")
    await bring(store, SYSTEM, "tor", written("a.txt", "192.0.2.1\n"))
    assert await system.value("intel/dead/0") is None and await system.value("intel/alive/0") == b"x"
    index = msgspec.json.decode(await system.value(INDEX) or b"", type=Index)
    assert [each.id for each in index.begun] == ["alive"]
    with pytest.raises(Conflict):
        await system.write(lambda tx: kept._finish(tx, kept.Kept(**KEPT, id="dead"), []), actor="test")


KEPT: dict[str, Any] = {"kind": "tor", "source": "s", "imported": NOW, "rows": 1, "bytes": 1, "sha256": ""}


async def test_two_processes(opened: Opener, written: Writer) -> None:
    """What one imports the other knows, indicators too."""
    one, other = await opened(), await opened()
    assert await kinds(other, A, "192.0.2.1") == Kind(0)
    await bring(one, SYSTEM, "tor", written("a.txt", "192.0.2.1\n"))
    assert await kinds(other, A, "192.0.2.1") == Kind.TOR
    await put(one, A, "tiIndicators", "i1", **indicator("192.0.2.1"))
    assert await kinds(other, A, "192.0.2.1") == Kind.TOR | Kind.MALICIOUS


async def test_a_tenant_knows_only_its_own(store: Store, written: Writer) -> None:
    """Lists, leaked credentials, locations and indicators of one say nothing to another."""
    leak = {"foundDateTime": "2026-01-01", "userPrincipalName": "a@b.example"}
    await bring(store, A, "leaked-credentials", written("l.jsonl", json.dumps(leak)))
    await bring(store, A, "malicious", written("a.txt", "192.0.2.1\n"))
    await bring(store, A, "named-locations", written("n.json", json.dumps(OFFICES)))
    await put(store, A, "tiIndicators", "i1", **indicator("192.0.2.9"))
    mine, others = await intel_of(store, A), await intel_of(store, B)
    assert mine.leaked("a@b.example", NOW) and not others.leaked("a@b.example", NOW)
    for address in ("192.0.2.1", "198.51.100.1", "192.0.2.9"):
        assert mine.of(address, NOW).kinds and not others.of(address, NOW).kinds


async def test_of_two_places_the_more_specific_counts(store: Store, written: Writer) -> None:
    """Whichever was imported last; of two alike the tenant's own."""
    await bring(store, SYSTEM, "country", written("a.csv", "192.0.2.0/25,NL\n"), source="fine")
    await bring(store, SYSTEM, "country", written("b.csv", "192.0.0.0/16,DE\n"), source="coarse", now=NOW + 5)
    await bring(store, A, "country", written("c.csv", "192.0.0.0/16,FR\n"), now=NOW - 5)
    known = await intel_of(store, A)
    assert [known.of(each, NOW).country for each in ("192.0.2.1", "192.0.2.200")] == ["NL", "FR"]
    assert (await intel_of(store, B)).of("192.0.2.200", NOW).country == "DE"


# ---------------------------------------------------------------- named locations

OFFICES: list[dict[str, Any]] = [
    {"displayName": "office", "isTrusted": True, "ipRanges": ["198.51.100.0/28", "2001:db8::1"]},
    {"displayName": "guests", "ipRanges": ["203.0.113.0/24"]},
    {"displayName": "homelands", "countriesAndRegions": ["NL", "de"]},
]


async def test_named_locations_are_graph_objects(store: Store, written: Writer) -> None:
    """An import makes them, a later one replaces them with their ids, removal takes them; others' stay."""
    await put(store, A, "namedLocations", "own", **{"@odata.type": "#microsoft.graph.ipNamedLocation",
        "displayName": "own", "isTrusted": True, "ipRanges": [
            {"@odata.type": "#microsoft.graph.iPv4CidrRange", "cidrAddress": "192.0.2.0/24"}]})  # fmt: skip
    await bring(store, A, "named-locations", written("n.json", json.dumps(OFFICES)))
    rows = {row["displayName"]: row for row in await served(store, A)}
    assert rows["office"]["ipRanges"][1] == {
        "@odata.type": "#microsoft.graph.iPv6CidrRange",
        "cidrAddress": "2001:db8::1/128",
    }
    assert rows["office"]["isTrusted"] is True and rows["homelands"]["countriesAndRegions"] == ["NL", "DE"]
    trusted = Kind.TRUSTED | Kind.NAMED
    for address, said in (("198.51.100.9", trusted), ("203.0.113.9", Kind.NAMED), ("192.0.2.7", trusted)):
        assert await kinds(store, A, address) == said
    await bring(store, A, "named-locations", written("n.json", json.dumps({"value": [rows["office"]]})))
    after = {row["displayName"]: row for row in await served(store, A)}
    assert after.keys() == {"own", "office"} and after["office"]["id"] == rows["office"]["id"]
    assert await kinds(store, A, "203.0.113.9") == Kind(0)
    await kept.remove(store, A, "feed")
    assert [row["displayName"] for row in await served(store, A)] == ["own"]
    assert await kinds(store, A, "198.51.100.9") == Kind(0)


async def test_a_trusted_span_of_addresses_counts(store: Store) -> None:
    """As Graph has it: lowerAddress and upperAddress, both of them in it."""
    spans = [
        {"@odata.type": "#microsoft.graph.iPv4Range", "lowerAddress": "198.51.100.3", "upperAddress": "198.51.100.9"},
        {"@odata.type": "#microsoft.graph.iPv6Range", "lowerAddress": "2001:db8::5", "upperAddress": "2001:db8::f"},
    ]
    kind = "#microsoft.graph.ipNamedLocation"
    await put(store, A, "namedLocations", "own", **{"@odata.type": kind, "displayName": "own", "isTrusted": True,
                                                    "ipRanges": spans})  # fmt: skip
    for address in ("198.51.100.3", "198.51.100.9", "2001:db8::5", "2001:db8::f"):
        assert await kinds(store, A, address) == Kind.TRUSTED | Kind.NAMED, address
    for address in ("198.51.100.2", "198.51.100.10", "2001:db8::4", "2001:db8::10"):
        assert await kinds(store, A, address) == Kind(0), address


async def served(store: Store, tenant: str) -> list[dict[str, Any]]:
    page = await store.tenant(tenant).page("namedLocations", Query(top=100))
    return [json.loads(row.doc) for row in page.rows]


# ---------------------------------------------------------------- indicators


def at(seconds: float) -> str:
    return instant(datetime.fromtimestamp(seconds, UTC))


def indicator(address: str, **more: Any) -> dict[str, Any]:
    return {
        "action": "alert",
        "networkIPv4": address,
        "threatType": "C2",
        "targetProduct": "Azure Sentinel",
        "tlpLevel": "amber",
        "isActive": True,
        "ingestedDateTime": at(NOW),
        "expirationDateTime": at(NOW + 1_000),
        **more,
    }


async def test_an_indicator_counts_at_once_and_ends(store: Store) -> None:
    """Added: counted; expired: withdrawn by the time of the event; changed and deleted: withdrawn."""
    assert await kinds(store, A, "192.0.2.1") == Kind(0)
    await put(store, A, "tiIndicators", "i1", **indicator("192.0.2.1"))
    known = (await intel_of(store, A)).of("192.0.2.1", NOW)
    assert (known.kinds, known.sources) == (Kind.MALICIOUS, ("malicious: tiIndicator i1",))
    assert await kinds(store, A, "192.0.2.1", NOW + 999) == Kind.MALICIOUS
    assert await kinds(store, A, "192.0.2.1", NOW + 1_000) == Kind(0)
    assert await kinds(store, A, "192.0.2.1", NOW - 3_600) == Kind.MALICIOUS  # seen for what it was told after
    assert await kinds(store, A, "192.0.2.1", NOW - 31 * 86_400) == Kind(0)
    await put(store, A, "tiIndicators", "i1", **indicator("192.0.2.1", isActive=False))
    assert await kinds(store, A, "192.0.2.1") == Kind(0)
    await put(store, A, "tiIndicators", "i1", **indicator("192.0.2.1"))
    assert await kinds(store, A, "192.0.2.1") == Kind.MALICIOUS
    await store.tenant(A).write(lambda tx: tx.delete("tiIndicators", "i1"), actor="test")
    assert await kinds(store, A, "192.0.2.1") == Kind(0)


SAYS: list[tuple[dict[str, Any], str, Kind]] = [
    ({}, "192.0.2.1", Kind.MALICIOUS),
    ({"networkIPv4": None, "networkSourceIPv4": "192.0.2.7"}, "192.0.2.7", Kind.MALICIOUS),
    ({"networkIPv4": None, "networkIPv6": "2001:db8::7"}, "[2001:db8::7]:1", Kind.MALICIOUS),
    ({"networkIPv4": None, "networkSourceIPv6": "2001:db8::7"}, "2001:db8::7", Kind.MALICIOUS),
    ({"networkIPv4": None, "networkCidrBlock": "198.51.100.0/24"}, "198.51.100.200", Kind.MALICIOUS),
    ({"networkIPv4": None, "networkDestinationIPv4": "192.0.2.1"}, "192.0.2.1", Kind(0)),
    ({"threatType": "Proxy"}, "192.0.2.1", Kind.PROXY),
    ({"threatType": "Darknet"}, "192.0.2.1", Kind.TOR),
    ({"tags": ["Nation-State"]}, "192.0.2.1", Kind.MALICIOUS | Kind.NATION_STATE),
    ({"passiveOnly": True}, "192.0.2.1", Kind(0)),
    ({"knownFalsePositives": "high"}, "192.0.2.1", Kind(0)),
    ({"confidence": 10}, "192.0.2.1", Kind(0)),
    ({"confidence": 80}, "192.0.2.1", Kind.MALICIOUS),
    ({"action": "allow"}, "192.0.2.1", Kind(0)),
]


@pytest.mark.parametrize(("more", "address", "says"), SAYS)
async def test_what_an_indicator_says(more: dict[str, Any], address: str, says: Kind, store: Store) -> None:
    await put(store, A, "tiIndicators", "i1", **indicator("192.0.2.1", **more))
    assert await kinds(store, A, address) == says


async def test_allow_takes_suspicion(store: Store, written: Writer) -> None:
    """Of other indicators and of lists, as long as it lasts; what is no suspicion stays."""
    await bring(store, SYSTEM, "malicious", written("m.txt", "192.0.2.1\n"))
    await bring(store, SYSTEM, "tor", written("t.txt", "192.0.2.1\n"))
    await put(store, A, "tiIndicators", "i1", **indicator("192.0.2.1"))
    await put(store, A, "tiIndicators", "i2", **indicator("192.0.2.1", action="allow"))
    assert await kinds(store, A, "192.0.2.1") == Kind.TOR
    assert await kinds(store, A, "192.0.2.1", NOW + 1_000) == Kind.TOR | Kind.MALICIOUS


async def test_many_changes_are_read_as_all(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """And in pages of their own."""
    from bartizan.intel import views

    monkeypatch.setattr(views, "MAX_CHANGES", 10)
    monkeypatch.setattr(views, "READ", 7)
    assert await kinds(store, A, "10.0.0.1") == Kind(0)
    for n in range(30):
        await put(store, A, "tiIndicators", f"i{n}", **indicator(f"10.0.0.{n}"))
    assert [await kinds(store, A, f"10.0.0.{n}") for n in range(30)] == [Kind.MALICIOUS] * 30


async def test_the_memory_of_addresses_is_bounded() -> None:
    """And what it forgets it finds again."""
    known = Intel(remembered=10)
    for n in range(1_000):
        assert known.of(f"10.0.0.{n}", 0.0) == Network()
    assert len(known._young) + len(known._old) <= 10
