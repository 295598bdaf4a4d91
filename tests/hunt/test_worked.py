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


def test_of_no_rows() -> None:
    assert rows("T | extend p = punycode_from_string(a) | where p == 'x'") == []


def test_what_unpacks_to_too_much_is_refused() -> None:
    query = "print gzip_decompress_from_base64_string(gzip_compress_to_base64_string('{}'))"
    assert len(rows(query.format("x" * 50_000))[0][0]) == 50_000
    from bartizan.hunt.functions.packing import MOST_TEXT, _packed

    bomb = _packed("gzip", "x" * (MOST_TEXT + 1))
    with pytest.raises(KqlError, match="more than"):
        rows(f"print gzip_decompress_from_base64_string('{bomb}')")


def test_more_values_than_are_worked_out_are_refused() -> None:
    with pytest.raises(KqlError, match="at most 50,000"):
        rows("range x from 1 to 50001 step 1 | extend p = punycode_from_string(tostring(x))")


def test_where_it_cannot_stand_is_said() -> None:
    with pytest.raises(KqlError, match="extend a column by it before"):
        rows(f"{LETTERS} | top-hitters 2 of punycode_from_string(a)")
