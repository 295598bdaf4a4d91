"""geo_info_from_ip_address: of imported tables, as everything else here knows where addresses are."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.hunt.beside import Bench

from bartizan.hunt.fault import KqlError
from bartizan.hunt.line import Known
from bartizan.intel.formats import read
from bartizan.intel.networks import Intel
from bartizan.intel.ranges import Address
from bartizan.intel.tables import Places, Table, pack
from bartizan.model.countries import country_name

CITIES = '''network,country_code,state,city,latitude,longitude
10.0.0.0/8,DE,,,,
10.1.0.0/16,AU,New South Wales,Sydney,-33.8715,151.2006
10.1.2.0/24,AU,"A, ""B""",,1.5,2
2a03::/16,US,,,,
2a03:2880::/32,US,Florida,Boca Raton,26.3594,-80.0771
11.0.0.0/8,ZZ,,Nowhere,,
'''
COUNTRIES = "10.0.0.0/9,FR\n10.1.2.128/25,IT\n12.0.0.0/8,TR\n"


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Table]:
    folder = tmp_path_factory.mktemp("places")
    (folder / "cities").write_text(CITIES)
    (folder / "countries").write_text(COUNTRIES)
    return {"c1": read("city", folder / "cities", source="x").table,
            "c2": read("country", folder / "countries", source="x").table}  # fmt: skip


@pytest.fixture(scope="module")
def bench(tables: Mapping[str, Table]) -> Bench:
    return Bench({("places", id): pack(table) for id, table in tables.items()}, Known(places=("c1",)))


def place(country: str, state: str = "", city: str = "", latitude: Any = None, longitude: Any = None) -> dict[str, Any]:
    return {"country": country, "state": state, "city": city, "latitude": latitude, "longitude": longitude}


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("10.1.9.9", place("Australia", "New South Wales", "Sydney", -33.8715, 151.2006)),
        ("10.9.9.9", place("Germany")),
        ("10.1.2.3", place("Australia", 'A, "B"', "", 1.5, 2.0)),
        ("2a03:2880:f12c:83:face:b00c::25de", place("United States", "Florida", "Boca Raton", 26.3594, -80.0771)),
        ("2a03:1::", place("United States")),
        ("11.1.1.1", place("", "", "Nowhere")),
        ("9.9.9.9", None),
        ("10.1.9", None),
        ("", None),
        ("no address", None),
    ],
)
def test_it_has_kusto_s_shape(bench: Bench, address: str, said: Any) -> None:
    assert bench.rows(f"print geo_info_from_ip_address('{address}')") == [[said]]
    column = f"datatable(ip: string)['{address}'] | extend g = geo_info_from_ip_address(ip)"
    country = "" if said is None else said["country"]
    assert bench.rows(f"{column} | project g, tostring(g.country)") == [[said, country]]


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("where geo_info_from_ip_address(ip).country == 'Germany' | project ip", [["10.2.0.1"]]),
        ("summarize n = count() by c = tostring(geo_info_from_ip_address(ip).country) | sort by c asc",
         [["", 1], ["Australia", 1], ["Germany", 1]]),
        ("extend g = geo_info_from_ip_address(ip) | evaluate bag_unpack(g) | where city == 'Sydney' | project latitude",
         [[-33.8715]]),
        ("extend s = strcat(geo_info_from_ip_address(ip).state, '/', geo_info_from_ip_address(ip).city) "
         "| where isnotempty(trim('/', s)) | project s", [["New South Wales/Sydney"]]),
        ("join kind=inner (datatable(c: string)['Germany']) on $left.ip == $right.c | count", [[0]]),
    ],
)  # fmt: skip
def test_it_stands_wherever_a_value_does(bench: Bench, query: str, rows: list[Any]) -> None:
    assert bench.rows(f"datatable(ip: string)['10.1.0.1', '10.2.0.1', '1.1.1.1'] | {query}") == rows


@pytest.mark.parametrize("order", [("c1", "c2"), ("c2", "c1")])
def test_of_several_tables_the_smallest_range_counts(
    bench: Bench, tables: Mapping[str, Table], order: tuple[str, ...]
) -> None:
    """As for the risk of sign-ins, at every address where a range of one begins or ends."""
    intel = Intel([tables[id] for id in order])
    ends = {number for id in order for lo, hi in spans(tables[id]) for number in (lo - 1, lo, hi, hi + 1)}
    texts = sorted(text(number) for number in ends)
    listed = ", ".join(f"'{each}'" for each in texts)
    query = f"datatable(ip: string)[{listed}] | extend g = geo_info_from_ip_address(ip)"
    found = dict(bench.rows(query, Known(places=order)))
    assert len(found) > 20
    for each in texts:
        known = intel.of(each, 0.0)
        told = found[each]
        assert (told or place(""))["country"] == country_name(known.country), each
        assert (told or place(""))["city"] == known.city, each
        assert (told or place(""))["latitude"] == known.latitude, each


def spans(table: Table) -> Iterator[tuple[int, int]]:
    """First and last of each range, of IPv4 as IPv6 maps it."""
    assert isinstance(table, Places)
    for wide, columns in table.parts(2):
        if wide:
            yield from ((a << 64 | b, c << 64 | d) for a, b, c, d in zip(*columns[:4], strict=True))
        else:
            yield from ((0xFFFF << 32 | a, 0xFFFF << 32 | b) for a, b in zip(*columns[:2], strict=True))


def text(number: int) -> str:
    narrow = number >> 32 == 0xFFFF
    return str(Address(not narrow, number & 0xFFFF_FFFF if narrow else number))


def test_a_table_is_asked_for_once(bench: Bench) -> None:
    """A table that goes, and one that comes, are told apart."""
    query = "print tostring(geo_info_from_ip_address('10.1.2.200').country)"
    assert bench.rows(query, Known(places=("c1",))) == [["Australia"]]
    bench.asked.clear()
    assert bench.rows(query, Known(places=("c1",))) == [["Australia"]] and bench.asked == []
    assert bench.rows(query, Known(places=("c2",))) == [["Italy"]]
    assert [each.name for each in bench.asked] == ["c2"]


def test_where_nothing_was_imported_it_is_refused_by_name(bench: Bench) -> None:
    for query in (
        "Events | extend g = geo_info_from_ip_address(User)",
        "Events | where false\n| extend 1\n| extend g = geo_info_from_ip_address(User)",
    ):
        with pytest.raises(KqlError, match="bartizan intel import") as caught:
            bench.rows(query, Known())
        assert caught.value.phase == "plan" and caught.value.column > 1
    with pytest.raises(KqlError, match="at most 8"):
        bench.rows("print geo_info_from_ip_address('1.1.1.1')", Known(places=tuple("abcdefghi")))


def test_parts_of_countries_are_read(tmp_path: Path) -> None:
    """Of the columns of ip-location-db and of DB-IP lite, and by a heading."""
    rows = {
        "8": "10.0.0.0,10.0.0.255,DE,Hesse,Part,Frankfurt,60311,50.1,8.7,Europe/Berlin",
        "6": "10.0.0.0,10.0.0.255,EU,DE,Hesse,Frankfurt,50.1,8.7",
        "heading": "start_ip,end_ip,country,region,city,lat,lon\n10.0.0.0,10.0.0.255,DE,Hesse,Frankfurt,50.1,8.7",
    }
    for name, content in rows.items():
        (tmp_path / name).write_text(content + "\n")
        table = read("city", tmp_path / name, source=name).table
        bench = Bench({("places", "c"): pack(table)}, Known(places=("c",)))
        said = bench.rows("print geo_info_from_ip_address('10.0.0.9')")
        assert said == [[place("Germany", "Hesse", "Frankfurt", 50.1, 8.7)]], name
