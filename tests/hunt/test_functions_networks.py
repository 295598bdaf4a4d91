"""Functions of addresses: cases of the Kusto documentation."""

from typing import Any

import pytest
from tests.hunt.calls import Given, call, dynamic, long, string

CASES: list[tuple[str, list[Any], Any]] = [
    ("parse_ipv4", ["192.168.1.1"], 3232235777),
    ("parse_ipv4", ["192.168.1.1/24"], 3232235776),
    ("parse_ipv4", ["255.255.255.255/31"], 4294967294),
    ("parse_ipv4", ["256.1.1.1"], None),
    ("parse_ipv4", ["1.2.3"], None),
    ("parse_ipv4", [""], None),
    ("parse_ipv4_mask", ["192.1.168.2", 24], 3221334016),
    ("parse_ipv4_mask", ["192.1.168.2", 33], None),
    ("ipv4_netmask_suffix", ["10.1.2.3"], 32),
    ("ipv4_netmask_suffix", ["192.168.1.1/24"], 24),
    ("ipv4_compare", ["192.168.1.1", "192.168.1.255"], -1),
    ("ipv4_compare", ["192.168.1.1/24", "192.168.1.255/24"], 0),
    ("ipv4_compare", ["192.168.1.1", "192.168.1.0", 31], 0),
    ("ipv4_compare", ["x", "192.168.1.0"], None),
    ("ipv4_is_match", ["192.168.1.1/24", "192.168.1.255", 31], True),
    ("ipv4_is_match", ["192.168.1.1", "192.168.1.255"], False),
    ("ipv4_is_private", ["192.168.1.1/24"], True),
    ("ipv4_is_private", ["10.1.2.3"], True),
    ("ipv4_is_private", ["172.15.0.1"], False),
    ("ipv4_is_private", ["172.31.255.255"], True),
    ("ipv4_is_private", ["10.0.0.0/7"], False),
    ("ipv4_is_private", ["nothing"], None),
    ("ipv4_is_in_range", ["192.168.1.1", "192.168.1.255/24"], True),
    ("ipv4_is_in_range", ["192.168.2.1", "192.168.1.255/24"], False),
    ("ipv4_is_in_range", ["1.1.1.1", "0.0.0.0/0"], True),
    ("ipv4_is_in_range", ["192.168.1.1", "x"], None),
    ("ipv4_is_in_any_range", ["10.1.2.3", ["192.168.1.1/16", "10.0.0.1/8"]], True),
    ("ipv4_is_in_any_range", ["123.1.11.21", "192.168.1.1/16", "10.0.0.1/8"], False),
    ("format_ipv4", ["192.168.1.255", 24], "192.168.1.0"),
    ("format_ipv4", [3232236031, 24], "192.168.1.0"),
    ("format_ipv4", [3232236031], "192.168.1.255"),
    ("format_ipv4", ["x"], ""),
    ("format_ipv4_mask", ["192.168.1.255", 24], "192.168.1.0/24"),
    ("parse_ipv6", ["127.0.0.1"], "0000:0000:0000:0000:0000:ffff:7f00:0001"),
    ("parse_ipv6", ["fe80::85d:e82c:9446:7994"], "fe80:0000:0000:0000:085d:e82c:9446:7994"),
    ("parse_ipv6", ["::1"], "0000:0000:0000:0000:0000:0000:0000:0001"),
    ("parse_ipv6", ["1::2::3"], ""),
    ("parse_ipv6", ["::192.168.255.255"], "0000:0000:0000:0000:0000:ffff:c0a8:ffff"),
    ("parse_ipv6_mask", ["192.168.255.255", 120], "0000:0000:0000:0000:0000:ffff:c0a8:ff00"),
    ("parse_ipv6_mask", ["fe80::85d:e82c:9446:7994/120", 124], "fe80:0000:0000:0000:085d:e82c:9446:7900"),
    ("parse_ipv6_mask", ["::192.168.255.255/24", 128], "0000:0000:0000:0000:0000:ffff:c0a8:ff00"),
    ("parse_ipv6", ["64:ff9b::192.0.2.33"], "0064:ff9b:0000:0000:0000:0000:c000:0221"),
    ("ipv6_is_match", ["fe80::85d:e82c:9446:7994", "fe80::85d:e82c:9446:7995", 127], True),
    ("ipv6_is_match", ["192.168.1.1", "::ffff:c0a8:0101"], True),
    ("ipv6_compare", ["fe80::85d:e82c:9446:7994", "fe80::85d:e82c:9446:7995"], -1),
    ("ipv6_is_in_range", ["a5e:f127:8a9d:146d:e102:b5d3:c755:abcd", "a5e:f127:8a9d:146d:e102:b5d3:c755:0/112"], True),
    ("ipv6_is_in_range", ["::1", "x"], None),
    ("ipv6_is_in_any_range", ["::1", ["fe80::/10", "::/64"]], True),
    ("has_ipv4", ["05:04:54 127.0.0.1 GET /favicon.ico 404", "127.0.0.1"], True),
    ("has_ipv4", ["05:04:54127.0.0.1 GET", "127.0.0.1"], False),
    ("has_ipv4", ["127.0.0.1", "127.0.0.256"], False),
    ("has_ipv4", ["x 127.0.0.12", "127.0.0.1"], False),
    ("has_ipv4_prefix", ["05:04:54 127.0.0.1 GET /favicon.ico 404", "127.0."], True),
    ("has_ipv4_prefix", ["05:04:54127.0.0.1 GET /favicon.ico 404", "127.0."], False),
    ("has_ipv4_prefix", ["05:04:54 127.0.0.1 GET /favicon.ico 404", "127.0"], False),
    ("has_ipv4_prefix", ["05:04:54 127.0.0.256 GET /favicon.ico 404", "127.0."], False),
    ("has_ipv4_prefix", ["from 10.0.0.1,10.0.0.20.", "10.0.0.20"], True),
    ("has_ipv4_prefix", ["from 10.0.0.1,10.0.0.20.", "10.0.0.2"], False),
    ("has_any_ipv4", ["05:04:54 127.0.0.1 GET", ["127.0.0.1", "127.0.0.2"]], True),
    ("has_any_ipv4", ["05:04:54127.0.0.1 GET", "127.0.0.1", "192.168.1.1"], False),
    ("has_any_ipv4_prefix", ["05:04:54 127.0.0.1 GET", ["127.0.", "192.168."]], True),
]  # fmt: skip


def given(content: Any) -> Given:
    if isinstance(content, int):
        return long(content)
    return string(content) if isinstance(content, str) else dynamic(content)


@pytest.mark.parametrize(("name", "args", "expected"), CASES)
def test_a_function_of_addresses(name: str, args: list[Any], expected: Any) -> None:
    assert call(name, *map(given, args)) == expected
