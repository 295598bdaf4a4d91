"""Functions that no engine works out: of constants and of columns, wherever an expression may stand."""

from functools import cache
from typing import Any

import pytest
from tests.hunt.harness import Harness

from bartizan.hunt.fault import KqlError

PACKED = "H4sIAAAAAAAA/wEUAOv/MTIzNDU2Nzg5MHF3ZXJ0eXVpb3A6m7f2FAAAAA=="  # of the documentation


@cache
def harness() -> Harness:
    return Harness({"T": {"a": "string", "d": "dynamic"}})


def rows(query: str) -> list[list[Any]]:
    return harness().run(query)[1]


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        (f"print gzip_decompress_from_base64_string('{PACKED}')", ["1234567890qwertyuiop"]),
        ("print gzip_decompress_from_base64_string('no Base64')", [""]),
        ("print gzip_decompress_from_base64_string(gzip_compress_to_base64_string('é\\n'))", ["é\n"]),
        ("print gzip_compress_to_base64_string('1234567890qwertyuiop')", [PACKED]),
        ("print zlib_compress_to_base64_string('1234567890qwertyuiop')",
         ["eAEBFADr/zEyMzQ1Njc4OTBxd2VydHl1aW9wOAkGdw=="]),
        ("print zlib_decompress_from_base64_string('eAEBFADr/zEyMzQ1Njc4OTBxd2VydHl1aW9wOAkGdw==')",
         ["1234567890qwertyuiop"]),
        ("print t = strrep('ab', 9) | extend p = zlib_compress_to_base64_string(t) | extend "
         "u = zlib_decompress_from_base64_string(p) | project u == t and strlen(p) < 30", [True]),
        ("print base64_encode_fromguid(toguid('ae3133f2-6e22-49ae-b06a-16e6a9b212eb'))", ["8jMxriJurkmwahbmqbIS6w=="]),
        ("print g = guid(ae3133f2-6e22-49ae-b06a-16e6a9b212eb) | project base64_encode_fromguid(g)",
         ["8jMxriJurkmwahbmqbIS6w=="]),
        ("print isempty(base64_encode_fromguid(toguid('x')))", [True]),
        ("print geo_s2cell_neighbors('89c259')",
         [["89c25d", "89c2f9", "89c251", "89c257", "89c25f", "89c25b", "89c2f7", "89c2f5"]]),
        ("print isnull(geo_s2cell_neighbors('a'))", [True]),
        ("print array_length(geo_s2cell_neighbors('1'))", [4]),
        ("print punycode_to_string('acadmie-franaise-npb1a')", ["académie-française"]),
        ("print punycode_from_string('académie-française')", ["acadmie-franaise-npb1a"]),
        ("print punycode_domain_to_string('www.académie-française.fr')", ["www.xn--acadmie-franaise-npb1a.fr"]),
        ("print punycode_domain_from_string('xn--Ry-lja8c.xn--Jng-uta63a.xn--Bng-9ka.com')", ["Rúyì.Jīngū.Bàng.com"]),
        ("print punycode_domain_from_string('www.xn--é.com')", [""]),
    ],
)  # fmt: skip
def test_of_constants(query: str, wanted: list[Any]) -> None:
    assert rows(query) == [wanted]


LETTERS = "datatable(n:long, a:string)[1,'é', 2,'', 3,'b', 4,'é']"


@pytest.mark.parametrize(
    ("steps", "wanted"),
    [
        ("extend p = punycode_from_string(a) | project n, p", [[1, "9ca"], [2, ""], [3, "b-"], [4, "9ca"]]),
        ("where punycode_from_string(a) == '9ca' | project n", [[1], [4]]),
        ("project p = strcat(n, punycode_to_string(punycode_from_string(a)))", [["1é"], ["2"], ["3b"], ["4é"]]),
        ("summarize c = count() by p = punycode_from_string(a) | where c > 1", [["9ca", 2]]),
        ("summarize dcount(punycode_from_string(a))", [[3]]),
        ("distinct p = punycode_from_string(a) | count", [[3]]),
        ("sort by punycode_from_string(a) desc, n asc | project n", [[3], [1], [4], [2]]),
        ("sort by n desc | extend p = punycode_from_string(a) | project n, b = prev(p)",
         [[4, ""], [3, "9ca"], [2, "b-"], [1, ""]]),
        ("parse punycode_from_string(a) with x '-' * | where isnotempty(x) | project n, x", [[3, "b"]]),
        ("parse-kv strcat('p=', punycode_from_string(a)) as (p: string) with (pair_delimiter=';', kv_delimiter='=') "
         "| where p == '9ca' | project n", [[1], [4]]),
        ("mv-expand p = pack_array(punycode_from_string(a), 'x') to typeof(string) | where p == '9ca' | project n",
         [[1], [4]]),
        ("mv-apply x = pack_array(a, 'x') to typeof(string) on (extend p = punycode_from_string(x) | "
         "summarize s = strcat_array(make_list(p), '')) | project n, s",
         [[1, "9cax-"], [2, "x-"], [3, "b-x-"], [4, "9cax-"]]),
    ],
)  # fmt: skip
def test_of_columns(steps: str, wanted: list[list[Any]]) -> None:
    found = rows(f"{LETTERS} | {steps}")
    assert (found if "sort" in steps else sorted(found)) == (wanted if "sort" in steps else sorted(wanted))


def test_a_cell_of_s2_is_its_neighbours_neighbour() -> None:
    """On each face and at its edges and corners."""
    found = rows(
        "datatable(x: real, y: real)[1.5, 2.5, -170.0, -80.0, 100.0, 85.0, -100.0, 3.0, 45.0, 35.0, 45.0, -10.0, "
        "0.0, 90.0] | mv-expand level = range(2, 30, 7) to typeof(long) | extend s = geo_point_to_s2cell(x, y, level)"
        " | mv-expand n = geo_s2cell_neighbors(s) to typeof(string)"
        " | mv-expand back = geo_s2cell_neighbors(n) to typeof(string) | summarize c = countif(back == s) by s, n"
        " | summarize count(), min(c), max(c), max(strlen(n) - strlen(s)) by s | summarize min(count_), max(count_), "
        "min(min_c), max(max_c)"
    )
    assert found == [[7, 8, 1, 1]]


def test_of_no_rows() -> None:
    assert rows("T | extend p = punycode_from_string(a) | where p == 'x'") == []


def test_what_unpacks_to_too_much_is_refused() -> None:
    query = "print gzip_decompress_from_base64_string(gzip_compress_to_base64_string('{}'))"
    assert len(rows(query.format("x" * 50_000))[0][0]) == 50_000
    from bartizan.hunt.functions.packing import MOST_TEXT, _packed

    bomb = _packed("gzip", "x" * (MOST_TEXT + 1))
    with pytest.raises(KqlError, match="more than"):
        rows(f"print gzip_decompress_from_base64_string('{bomb}')")


@pytest.mark.parametrize("name", ["punycode_from_string", "punycode_to_string", "punycode_domain_to_string"])
def test_coding_a_long_name_is_refused(name: str) -> None:
    with pytest.raises(KqlError, match="at most 1,000"):
        rows(
            f"print {name}(strcat('é', strrep('a', 1000)))"
            if name != "punycode_to_string"
            else f"print {name}(strrep('a', 1001))"
        )


def test_more_values_than_are_worked_out_are_refused() -> None:
    with pytest.raises(KqlError, match="at most 50,000"):
        rows("range x from 1 to 50001 step 1 | extend p = punycode_from_string(tostring(x))")


def test_where_it_cannot_stand_is_said() -> None:
    with pytest.raises(KqlError, match="extend a column by it before"):
        rows(f"{LETTERS} | top-hitters 2 of punycode_from_string(a)")
