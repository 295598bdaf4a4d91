"""Each format that operators have, line by line; bad lines are told with number and reason, and never shown."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.intel.conftest import Writer
from tests.intel.mmdb_file import mmdb

from bartizan.errors import BadRequest
from bartizan.intel import Intel, Kind, Network
from bartizan.intel.formats import KINDS, PLACES, read
from bartizan.intel.tables import Places, pack, unpack

AMSTERDAM = Network(country="NL", city="Amsterdam", latitude=52.374, longitude=4.8897)
# kind, content, address, what is known of it
PLACED: list[tuple[str, str, str, Network]] = [
    ("asn", "192.0.2.0,192.0.2.255,64500,Example Net\n", "192.0.2.7", Network(64500, "Example Net")),
    ("asn", '192.0.2.0,192.0.2.255,64500,"Example, Net"\n', "192.0.2.7", Network(64500, "Example, Net")),
    ("asn", "192.0.2.0/24,AS64500,Example Net\r\n", "192.0.2.7", Network(64500, "Example Net")),
    ("asn", "192.0.2.0/24,64500\n", "192.0.2.255", Network(64500)),
    ("asn", "192.0.2.0/24,64500\n", "192.0.3.0", Network()),
    (
        "asn",
        "network,autonomous_system_number,autonomous_system_organization\n192.0.2.0/24,64500,Example\n",
        "192.0.2.7",
        Network(64500, "Example"),
    ),
    ("asn", "192.0.2.0\t192.0.2.255\t64500\tNL\tEXAMPLE\n", "192.0.2.7", Network(64500, "EXAMPLE")),
    ("asn", "192.0.2.0\t192.0.2.255\t0\tNone\tNot routed\n", "192.0.2.7", Network()),
    ("asn", "2001:db8::,2001:db8:ffff::,64501,Six\n", "[2001:DB8::1]:443", Network(64501, "Six")),
    ("asn", "::ffff:192.0.2.0/120,64500,Mapped\n", "192.0.2.9", Network(64500, "Mapped")),
    ("asn", "192.0.2.0/24,64500,Mapped\n", "::ffff:192.0.2.9", Network(64500, "Mapped")),
    ("country", "start,end,country\n192.0.2.0,192.0.2.255,nl\n", "192.0.2.7", Network(country="NL")),
    ("country", "192.0.2.0,192.0.2.255,ZZ\n", "192.0.2.7", Network()),
    ("country", "2001:db8::/32,DE\n", "2001:db8::1%eth0", Network(country="DE")),
    ("city", "192.0.2.0,192.0.2.255,NL,Amsterdam,52.374,4.8897\n", "192.0.2.7:1234", AMSTERDAM),
    ("city", "192.0.2.0,192.0.2.255,EU,NL,North Holland,Amsterdam,52.374,4.8897\n", "192.0.2.7", AMSTERDAM),
    ("city", "192.0.2.0,192.0.2.255,NL,North Holland,,Amsterdam,1012,52.374,4.8897,Europe/Amsterdam\n",
     "192.0.2.7", AMSTERDAM),
    ("city", "# comment\n\n192.0.2.0/24,NL,,,\n", "192.0.2.7", Network(country="NL")),
    ("city", "192.0.2.0/24,NL,Târgu\x02Jiu,1,2\n", "192.0.2.7", Network(0, "", "NL", "Târgu Jiu", 1.0, 2.0)),
]  # fmt: skip


def intel(kind: str, path: Path, **how: Any) -> Intel:
    """Of a table that was packed and unpacked, as all are in the store."""
    return Intel([unpack(pack(read(kind, path, source="test", **how).table))])


@pytest.mark.parametrize(("kind", "content", "address", "known"), PLACED)
def test_places(kind: str, content: str, address: str, known: Network, written: Writer) -> None:
    """A place table of each shape says the same of the same address."""
    assert intel(kind, written("table.csv", content)).of(address, 0.0) == known


# content of a list, address, time, whether it counts
LISTED: list[tuple[str, str, float, bool]] = [
    ("192.0.2.1\n", "192.0.2.1", 0, True),
    ("192.0.2.1\n", "192.0.2.2", 0, False),
    ("192.0.2.0/24 ; SBL1\n", "192.0.2.9", 0, True),
    ("192.0.2.77/24\n", "192.0.2.9", 0, True),
    ("# all of it\n192.0.2.1 # why\n", "192.0.2.1", 0, True),
    ("192.0.2.1-192.0.2.8\n", "192.0.2.8", 0, True),
    ("2001:db8::/48\n", "2001:db8:0:1::1", 0, True),
    ("192.0.2.1,1970-01-02\n", "192.0.2.1", 86_399, True),
    ("192.0.2.1,1970-01-02\n", "192.0.2.1", 86_400, False),
    ("192.0.2.1 1970-01-02T00:00:10Z\n", "192.0.2.1", 86_409, True),
    ("192.0.2.1,1970-01-03,1970-01-02\n", "192.0.2.1", 86_399, False),
    ("192.0.2.1,-,1970-01-02\n", "192.0.2.1", 1e12, True),
    ("192.0.2.1,1970-01-02\n192.0.2.0/24\n", "192.0.2.1", 1e12, True),
    ("192.0.2.1,1970-01-02\n192.0.2.1,1970-01-04,1970-01-03\n", "192.0.2.1", 86_400 * 1.5, False),
    ("192.0.2.1,1970-01-02\n192.0.2.1,1970-01-04,1970-01-03\n", "192.0.2.1", 86_400 * 2.5, True),
]


@pytest.mark.parametrize(("content", "address", "at", "counts"), LISTED)
def test_lists(content: str, address: str, at: float, counts: bool, written: Writer) -> None:
    """An entry counts for its addresses, from when it was first seen until it ends."""
    known = intel("tor", written("list.txt", content)).of(address, at)
    assert known.kinds == (Kind.TOR if counts else Kind(0))
    assert known.sources == (("tor: test",) if counts else ())


def test_an_end_of_the_file_ends_its_entries(written: Writer) -> None:
    """What ends earlier by itself does; what the time of one look says is not what another's is."""
    found = intel("vpn", written("list.txt", "192.0.2.1,1970-01-03\n192.0.2.2\n"), until=100_000.0)
    assert [found.of("192.0.2.1", at).kinds for at in (99_999, 100_000, 5)] == [Kind.VPN, Kind(0), Kind.VPN]
    assert not found.of("192.0.2.2", 100_000).kinds
    place = intel("country", written("c.csv", "192.0.2.0/24,NL\n"), until=100_000.0)
    assert [place.of("192.0.2.1", at).country for at in (99_999, 100_000, 5)] == ["NL", "", "NL"]


def test_kinds_of_an_autonomous_system(written: Writer) -> None:
    """A list names AS numbers too: they count for every address of theirs, and for records that bring the number."""
    asn = read("asn", written("asn.csv", "192.0.2.0/24,64500,Example\n"), source="a").table
    hosting = read("hosting", written("h.txt", "64500\nAS64501,1970-01-02\n"), source="h").table
    known = Intel([asn, hosting])
    assert known.of("192.0.2.1", 0).kinds == Kind.HOSTING
    assert known.asn_kinds(64500) == known.asn_kinds(64501) == Kind.HOSTING
    assert known.asn_kinds(64501, 86_400) == known.asn_kinds(1) == Kind(0)


# kind, content, what the error says
BAD: list[tuple[str, str, str]] = [
    ("asn", "192.0.2.0/24,64500,a\n192.0.2.0/33,64500,a\n", "line 2: not a CIDR block"),
    ("asn", "192.0.2.0/24,64500,a\n192.0.2.9,192.0.2.1,64500,a\n", "line 2: the last address lies before the first"),
    ("asn", "192.0.2.0,2001:db8::,64500,a\n", "line 1: the first and the last address are not of one family"),
    ("asn", "192.0.2.0/24,4294967296,a\n", "line 1: not an AS number"),
    ("asn", '192.0.2.0/24,64500,"a\n', "line 1: quotes that do not close"),
    ("asn", "192.0.2.0/24,64500,a,b,c\n", "line 1: 4 columns behind the range"),
    ("asn", "what,is,this\n", "line 1: neither an address nor a heading"),
    ("country", "192.0.2.0/24,Netherlands\n", "line 1: a country is not two letters"),
    ("city", "192.0.2.0/24,NL,x,91,0\n", "line 1: latitude or longitude goes from -90 to 90"),
    ("city", "192.0.2.0/24,NL,x,nan,0\n", "line 1: latitude or longitude goes from -90 to 90"),
    ("city", "192.0.2.0/24,NL,x,1,\n", "line 1: latitude and longitude go together"),
    ("tor", "192.0.2.256\n", "line 1: not an IP address"),
    ("tor", "192.0.2.1,tomorrow\n", "line 1: not a date"),
    ("tor", "192.0.2.1,1970-01-02,1970-01-02\n", "line 1: it ends before it was first seen"),
    ("tor", "x" * 70_000 + "\n192.0.2.1\n", "line 1: longer than"),
    ("tor", "\udcff", "line 1: not UTF-8"),
    ("leaked-credentials", "nope\n", "line 1: not a JSON object"),
    ("leaked-credentials", '{"foundDateTime": "2026-01-01"}\n', "line 1: says no principal"),
    ("leaked-credentials", '{"userPrincipalName": "a@b.example"}\n', "line 1: says no foundDateTime"),
    ("named-locations", "{}", "expected a JSON list"),
    ("named-locations", '[{"displayName": "x"}]', "named location 1: needs either ipRanges or countries"),
    (
        "named-locations",
        '[{"displayName": "x", "ipRanges": ["1.2.3.4/40"]}]',
        "named location 1: ipRanges[0]: not a CIDR block",
    ),
]


@pytest.mark.parametrize(("kind", "content", "reason"), BAD)
def test_bad_lines(kind: str, content: str, reason: str, written: Writer) -> None:
    """The error names file, line and reason."""
    path = written("file.any", content.encode("utf-8", "surrogateescape"))
    with pytest.raises(BadRequest) as caught:
        read(kind, path, source="test")
    assert caught.value.message.startswith("file.any") and reason in caught.value.message


def test_bad_lines_left_out(written: Writer) -> None:
    """They are counted and told; a file without a good line is refused all the same."""
    made = read("tor", written("t.txt", "192.0.2.1\nx\ny\n"), source="t", skip_bad=True)
    assert (made.rows, made.bad, made.reasons) == (1, 2, ["line 2: not an IP address", "line 3: not an IP address"])
    with pytest.raises(BadRequest, match="no line can be read as tor"):
        read("tor", written("t.txt", "x\n"), source="t", skip_bad=True)


def test_leaked(written: Writer) -> None:
    """By name and by object id, in any case: the newest that was found by then; no secret is kept."""
    lines = [
        {"foundDateTime": "1970-01-02", "userPrincipalName": "Ada@Contoso.example", "userId": "ID-1",
         "password": "hunter2", "hash": "$2b$10$abcdef", "matchesCurrentPassword": True},
        {"foundDateTime": "1970-01-03T00:00:00+00:00", "userPrincipalName": "ada@contoso.example"},
    ]  # fmt: skip
    content = "\n".join(json.dumps(line) for line in lines)
    made = read("leaked-credentials", written("l.jsonl", content), source="dump")
    packed = pack(made.table)
    known = Intel([unpack(packed)])
    assert known.leaked("ADA@contoso.example", 86_399) is None
    first, last = known.leaked("id-1", 86_400), known.leaked("ada@contoso.example", 1e12)
    assert first is not None and (first.found, first.matches_current, first.source) == (86_400.0, True, "dump")
    assert last is not None and (last.found, last.matches_current) == (172_800.0, None)
    import zlib

    kept = zlib.decompress(packed) + repr(known.leaked("id-1", 1e12)).encode()
    assert b"hunter2" not in kept and b"abcdef" not in kept


def test_errors_of_leaks_show_no_line(written: Writer) -> None:
    """What a bad line holds may be a secret."""
    with pytest.raises(BadRequest) as caught:
        read("leaked-credentials", written("l.jsonl", '{"user": "a@b.example", "found": "hunter2"}'), source="x")
    assert "hunter2" not in caught.value.message


MMDB = [
    ("192.0.2.0", 24, {"autonomous_system_number": 64500, "autonomous_system_organization": "Example"}),
    (
        "198.51.100.0",
        25,
        {
            "country": {"iso_code": "NL"},
            "city": {"names": {"en": "Amsterdam"}},
            "subdivisions": [{"names": {"en": "North Holland"}}, {"names": {"en": "Amsterdam"}}],
            "location": {"latitude": 52.374, "longitude": 4.8897},
        },
    ),
    ("2001:db8::", 32, {"country_code": "DE", "state1": "Land Berlin", "city": "Berlin", "latitude": 52.5,
                         "longitude": 13.4}),
]  # fmt: skip


def test_databases_of_maxmind(written: Writer) -> None:
    """Of systems and places, nested as GeoIP2 has it and flat as ip-location-db has it."""
    pytest.importorskip("maxminddb")
    known = intel("city", written("own.mmdb", mmdb(MMDB)))
    assert known.of("192.0.2.9", 0) == Network(64500, "Example")
    assert known.of("198.51.100.127", 0) == AMSTERDAM
    assert known.of("198.51.100.128", 0) == Network()
    assert known.of("2001:db8::9", 0) == Network(0, "", "DE", "Berlin", 52.5, 13.4)
    table = read("city", written("own.mmdb", mmdb(MMDB)), source="x").table
    assert isinstance(table, Places)
    assert [(each.city, each.state) for each in table.said() if each.city] == [
        ("Amsterdam", "North Holland"), ("Berlin", "Land Berlin"),
    ]  # fmt: skip


def test_a_broken_database_of_maxmind(written: Writer) -> None:
    pytest.importorskip("maxminddb")
    whole = mmdb(MMDB)
    for cut in range(20, 400, 20):
        with pytest.raises(BadRequest):
            read("city", written("own.mmdb", b"\xff" * 40 + whole[cut:]), source="x")


@pytest.mark.shared
@pytest.mark.parametrize("name", ["dev", "sample"])
def test_folders_of_streams(name: str, shared: Path) -> None:
    """The nine files of a recorded stream: every entry of every list counts."""
    folder = shared / "identity" / name / "intel"
    known = Intel.of_folder(folder)
    for file, kind in (
        ("tor-exits.txt", Kind.TOR),
        ("malicious-ips.txt", Kind.MALICIOUS),
        ("vpn-ranges.txt", Kind.VPN),
    ):
        entries = (folder / file).read_text().split()
        assert entries and all(kind in known.of(each.partition("/")[0], 0).kinds for each in entries)
    for line in (folder / "ip-geo.csv").read_text().splitlines():
        first, last, country, city, latitude, longitude = line.split(",")
        for address in (first, last):
            found = known.of(address, 0)
            assert (found.country, found.city) == (country, city)
            assert (found.latitude, found.longitude) == (float(latitude), float(longitude))
    for line in (folder / "leaked-credentials.jsonl").read_text().splitlines():
        assert known.leaked(json.loads(line)["userPrincipalName"].upper(), 1e12) is not None


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(KINDS),
    content=st.one_of(
        st.binary(max_size=300),
        st.text(alphabet='0123456789abcdf.:/-,;# \t\n"ASNL{}[]', max_size=200).map(str.encode),
    ),
    skip=st.booleans(),
)
def test_any_bytes_are_read_or_refused(kind: str, content: bytes, skip: bool, written: Writer) -> None:
    """A file is read or a BadRequest, whatever it holds; what was read comes back from the store."""
    path = written("fuzz", content)
    try:
        made = read(kind, path, source="fuzz", skip_bad=skip)
    except BadRequest:
        return
    known = Intel([unpack(pack(made.table))])
    for address in ("0.0.0.0", "1.2.3.4", "::", "2001:db8::1"):
        assert known.of(address, 0.0) == Intel([made.table]).of(address, 0.0)
    assert kind not in PLACES or not known.of("1.2.3.4", 0.0).kinds


@given(st.text(max_size=80))
def test_what_is_no_address_is_unknown(text: str) -> None:
    """No text is an error."""
    assert Intel().of(text, 0.0) == Network()
