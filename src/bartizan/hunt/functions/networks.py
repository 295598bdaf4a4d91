"""Functions of addresses: IPv4 and IPv6, their ranges, and addresses in texts.

An IPv4 address is a number of 32 bits, one of IPv6 (in which IPv4 is ::ffff:a.b.c.d) a text of 32 hexadecimal digits.
`/n` behind an address is its prefix; what is no address is null.

Source: Kusto Query Language, "Scalar functions", groups "IPv4/IPv6 functions", "IP-prefix notation", "String operators
on IPv4", "ipv4_range_to_cidr_list()".
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, summarize_address_range
from re import compile as pattern

from bartizan.hunt.duckdb.literal import text
from bartizan.hunt.duckdb.macros import macro
from bartizan.hunt.functions import function, worked
from bartizan.hunt.plan import Apply, Value

# ------------------------------------------------------------------ IPv4

_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|0?0?[0-9]|0?[1-9][0-9])"
_FOUR = rf"{_OCTET}(?:\.{_OCTET}){{3}}"
_PREFIX = "(?:/(?:3[0-2]|[12]?[0-9]))?"
IPV4 = rf"\s*{_FOUR}{_PREFIX}\s*"

macro("kf_octet(t, n) := try_cast(split_part(t, '.', n) AS BIGINT)")
macro(
    "kf_ipv4_bits(t) := kf_octet(t, 1) * 16777216 + kf_octet(t, 2) * 65536 + kf_octet(t, 3) * 256 + kf_octet(t, 4)",
)
# The number of an address, without its prefix; null where the text is none.
macro(
    f"kf_ipv4(t) := CASE WHEN regexp_full_match(t, '{IPV4}') THEN kf_ipv4_bits(trim(split_part(t, '/', 1))) END",
)
macro(f"kf_ipv4_prefix(t) := CASE WHEN regexp_full_match(t, '{IPV4}') THEN "
      "coalesce(try_cast(trim(split_part(t, '/', 2)) AS BIGINT), 32) END")  # fmt: skip
macro("kf_masked(bits, prefix) := bits >> (32 - prefix) << (32 - prefix)")
macro(
    "kf_parse_ipv4(t) := CASE WHEN contains(t, '/') THEN kf_masked(kf_ipv4(t), kf_ipv4_prefix(t)) ELSE kf_ipv4(t) END",
)
macro("kf_prefix_32(n) := CASE WHEN n BETWEEN 0 AND 32 THEN n END")
macro(
    "kf_ipv4_compare(a, b, n) := list_transform([{'a': kf_ipv4(a), 'b': kf_ipv4(b), 'n': 32 - least(kf_ipv4_prefix(a), "
    "kf_ipv4_prefix(b), CASE WHEN n BETWEEN 0 AND 32 THEN n END)}], lambda v4: CASE WHEN n BETWEEN 0 AND 32 AND "
    "v4.a IS NOT NULL AND v4.b IS NOT NULL THEN sign((v4.a >> v4.n) - (v4.b >> v4.n))::BIGINT END)[1]"
)
macro(
    "kf_ipv4_in(t, r) := (kf_parse_ipv4(t) >> (32 - kf_ipv4_prefix(r))) = (kf_ipv4(r) >> (32 - kf_ipv4_prefix(r)))",
)
macro("kf_ipv4_text(b) := (b >> 24) || '.' || (b >> 16 & 255) || '.' || (b >> 8 & 255) || '.' || (b & 255)")
function("parse_ipv4", "string -> long", duckdb="kf_parse_ipv4({0})")
function(
    "parse_ipv4_mask",
    "string long -> long",
    duckdb="kf_masked(kf_ipv4({0}), CASE WHEN {1} BETWEEN 0 AND 32 THEN least(kf_ipv4_prefix({0}), {1}) END)",
)
function("ipv4_netmask_suffix", "string -> long", duckdb="kf_ipv4_prefix({0})")
function("ipv4_compare", "string string -> long", duckdb="kf_ipv4_compare({0}, {1}, 32)")
function("ipv4_compare", "string string long -> long", duckdb="kf_ipv4_compare({0}, {1}, {2})")
function("ipv4_is_match", "string string -> bool", duckdb="(kf_ipv4_compare({0}, {1}, 32) = 0)")
function("ipv4_is_match", "string string long -> bool", duckdb="(kf_ipv4_compare({0}, {1}, {2}) = 0)")
_REST = r"(?:\.[0-9]+)"
_PRIVATE = (
    rf"\s*0*(?:10{_REST}{{3}}(?:/(?:[89]|[12][0-9]|3[0-2]))?"
    rf"|172\.0*(?:1[6-9]|2[0-9]|3[01]){_REST}{{2}}(?:/(?:1[2-9]|2[0-9]|3[0-2]))?"
    rf"|192\.168{_REST}{{2}}(?:/(?:1[6-9]|2[0-9]|3[0-2]))?)\s*"
)
macro(
    f"kf_ipv4_private(t) := CASE WHEN regexp_full_match(t, '{IPV4}') THEN regexp_full_match(t, '{_PRIVATE}') END",
)
function("ipv4_is_private", "string -> bool", duckdb="kf_ipv4_private({0})")


def _any_of(said: str, args: Sequence[str]) -> str:
    """Whether it holds for one of the texts; null where it holds for none and is null for all."""
    return "(" + " OR ".join(said.format(args[0], each) for each in args[1:]) + ")"


def _items(one: object) -> list[str] | None:
    """The texts of a constant array."""
    if isinstance(one, Value) and isinstance(one.value, list) and all(isinstance(each, str) for each in one.value):
        return [text(each) for each in one.value]
    return None


def _in_any(said: str, args: Sequence[str], apply: Apply) -> str:
    items = _items(apply.args[1]) if apply.args[1].type == "dynamic" else list(args[1:])
    if items is not None:
        return _any_of(said, [args[0], *items]) if items else "FALSE"
    return f"list_bool_or(list_transform(kf_texts({args[1]}), lambda r: {said.format(args[0], 'r')}))"


def _in_ranges(args: Sequence[str], apply: Apply) -> str:
    """Constant ranges: the address is read once and shifted for each."""
    ranges = apply.args[1].value if isinstance(apply.args[1], Value) else None
    constants = [one.value for one in apply.args[1:] if isinstance(one, Value)]
    if apply.args[1].type == "dynamic":
        constants = ranges if isinstance(ranges, list) else []
    tests: list[str] = []
    for each in constants:
        found = _RANGE.fullmatch(str(each))
        octets = [] if found is None else [int(digits) for digits in found[1].split(".")]
        prefix = 32 if found is None or found[2] is None else int(found[2])
        if not octets or max(octets) > 255 or prefix > 32:
            break
        bits = int.from_bytes(bytes(octets), "big")
        tests.append(f"(b4 >> {32 - prefix}) = {bits >> (32 - prefix)}")
    wanted = len(constants) if apply.args[1].type == "dynamic" else len(args) - 1
    if not tests or len(tests) != wanted:
        return _in_any("kf_ipv4_in({0}, {1})", args, apply)
    return f"list_transform([kf_parse_ipv4({args[0]})], lambda b4: {' OR '.join(tests)})[1]"


_RANGE = pattern(r"\s*(\d{1,3}(?:\.\d{1,3}){3})(?:/(\d{1,2}))?\s*")
function("ipv4_is_in_range", "string string -> bool", duckdb=_in_ranges)
for _signature in ("string dynamic -> bool", "string string string* -> bool"):
    function("ipv4_is_in_any_range", _signature, duckdb=_in_ranges)
    function(
        "ipv6_is_in_any_range",
        _signature,
        duckdb=lambda args, apply: _in_any("kf_ipv6_in({0}, {1})", args, apply),
    )

macro(
    "kf_format_ipv4(b, n) := coalesce(CASE WHEN b BETWEEN 0 AND 4294967295 AND n BETWEEN 0 AND 32 "
    "THEN kf_ipv4_text(kf_masked(b, n)) END, '')"
)


def _format_ipv4(args: Sequence[str], apply: Apply) -> str:
    """An address of a number or a text; its own prefix counts too."""
    kind = apply.args[0].type
    bits = f"kf_ipv4({args[0]})" if kind == "string" else args[0]
    prefix = args[1] if len(args) > 1 else "32"
    if kind == "string":
        prefix = f"CASE WHEN {prefix} BETWEEN 0 AND 32 THEN least(kf_ipv4_prefix({args[0]}), {prefix}) END"
    return f"kf_format_ipv4({bits}, {prefix})"


def _format_mask(args: Sequence[str], apply: Apply) -> str:
    prefix = args[1] if len(args) > 1 else "32"
    if apply.args[0].type == "string":
        prefix = f"least(kf_ipv4_prefix({args[0]}), {prefix})"
    return f"coalesce(nullif({_format_ipv4(args, apply)}, '') || '/' || {prefix}, '')"


for _kind in ("string", "long"):
    function("format_ipv4", f"{_kind} long? -> string", duckdb=_format_ipv4)
    function("format_ipv4_mask", f"{_kind} long? -> string", duckdb=_format_mask)

# ------------------------------------------------------------------ IPv6

_GROUP = "[0-9A-Fa-f]{1,4}"
IPV6 = rf"\s*(?:{_GROUP}:|:)(?:{_GROUP}:|:)*(?:{_GROUP}|{_FOUR})?(?:/(?:12[0-8]|1[01][0-9]|[1-9]?[0-9]))?\s*"
macro(
    "kf_hex_of_ipv4(b) := '00000000000000000000ffff' || lpad(lower(to_hex(b)), 8, '0')",
)
# An IPv4 address at the end as two groups; then the groups of one side of ::.
macro("kf_pair(b) := to_hex(b >> 16) || ':' || to_hex(b & 65535)")
macro(
    "kf_tail(u) := CASE WHEN contains(u, '.') THEN regexp_replace(u, '[0-9.]+$', '') "
    "|| kf_pair(kf_ipv4_bits(regexp_extract(u, '[0-9.]+$'))) ELSE u END"
)
macro("kf_groups(t) := list_filter(string_split(t, ':'), lambda g: g <> '')")
macro("kf_padded(l) := array_to_string(list_transform(l, lambda g: lpad(lower(g), 4, '0')), '')")
macro(
    "kf_sides(head, tail, gap) := list_transform([{'head': head, 'tail': tail}], lambda v7: CASE "
    "WHEN gap AND length(v7.head || v7.tail) <= 28 "
    "THEN v7.head || repeat('0', 32 - length(v7.head) - length(v7.tail)) || v7.tail "
    "WHEN NOT gap AND length(v7.head) = 32 THEN v7.head END)[1]"
)
macro(
    "kf_expand(t) := CASE WHEN t NOT LIKE '%::%::%' AND t NOT LIKE '%:::%' AND NOT regexp_matches(t, "
    "'^:[^:]|[^:]:$') THEN "
    "kf_sides(kf_padded(kf_groups(split_part(t, '::', 1))), kf_padded(kf_groups(split_part(t, '::', 2))), "
    "contains(t, '::')) END"
)
# ::1.2.3.4 is the address of IPv4, as 1.2.3.4 is, and so is its prefix.
macro(
    "kf_bare(t) := CASE WHEN t LIKE '%::%.%' THEN regexp_replace(t, '^\\s*::([0-9.]+(?:/[0-9]+)?)\\s*$', '\\1') "
    "ELSE t END"
)
macro("kf_ipv6(t) := list_transform([kf_bare(t)], lambda v4: kf_ipv6_of(v4))[1]")
macro(
    f"kf_ipv6_of(t) := CASE WHEN regexp_full_match(t, '{IPV6}') "
    "THEN list_transform([kf_tail(trim(split_part(t, '/', 1)))], lambda v5: kf_expand(v5))[1] "
    f"WHEN regexp_full_match(t, '{IPV4}') THEN kf_hex_of_ipv4(kf_ipv4(t)) END"
)
macro(
    f"kf_ipv6_prefix(t) := CASE WHEN regexp_full_match(kf_bare(t), '{IPV4}') THEN 96 + kf_ipv4_prefix(kf_bare(t)) "
    "ELSE coalesce(try_cast(trim(split_part(t, '/', 2)) AS BIGINT), 128) END"
)
# The first n bits of 32 digits: whole digits, and of the next the upper bits.
macro(
    "kf_head(h, n) := left(h, n // 4) || CASE WHEN n % 4 = 0 THEN '' ELSE "
    "lower(to_hex((('0x' || substring(h, n // 4 + 1, 1))::BIGINT >> (4 - n % 4)) << (4 - n % 4))) END"
)
macro("kf_masked_hex(h, n) := rpad(kf_head(h, n), 32, '0')")
macro("kf_colons(h) := regexp_replace(regexp_replace(h, '(.{4})', '\\1:', 'g'), ':$', '')")
macro(
    "kf_ipv6_text(h, n) := coalesce(CASE WHEN n BETWEEN 0 AND 128 THEN kf_colons(kf_masked_hex(h, n::INTEGER)) END, "
    "'')",
)
macro(
    "kf_ipv6_compare(a, b, n) := list_transform([{'a': kf_ipv6(a), 'b': kf_ipv6(b), "
    "'n': least(kf_ipv6_prefix(a), kf_ipv6_prefix(b), greatest(n, 0))::INTEGER}], lambda v6: CASE WHEN n BETWEEN 0 "
    "AND 128 "
    "AND v6.a IS NOT NULL AND v6.b IS NOT NULL THEN kf_text_order(kf_head(v6.a, v6.n), kf_head(v6.b, v6.n)) END)[1]"
)
macro("kf_text_order(a, b) := (a > b)::BIGINT - (a < b)::BIGINT")
macro(
    "kf_ipv6_in(t, r) := list_transform([{'t': kf_ipv6(t), 'r': kf_ipv6(r), 'n': kf_ipv6_prefix(r)::INTEGER, "
    "'m': kf_ipv6_prefix(t)::INTEGER}], lambda v6: "
    "kf_head(rpad(kf_head(v6.t, v6.m), 32, '0'), v6.n) = kf_head(v6.r, v6.n))[1]"
)
function("parse_ipv6", "string -> string", duckdb="kf_ipv6_text(kf_ipv6({0}), kf_ipv6_prefix({0}))")
function(
    "parse_ipv6_mask",
    "string long -> string",
    duckdb="kf_ipv6_text(kf_ipv6({0}), CASE WHEN {1} BETWEEN 0 AND 128 THEN least(kf_ipv6_prefix({0}), {1}) END)",
)
function("ipv6_compare", "string string -> long", duckdb="kf_ipv6_compare({0}, {1}, 128)")
function("ipv6_is_match", "string string -> bool", duckdb="(kf_ipv6_compare({0}, {1}, 128) = 0)")
function("ipv6_compare", "string string long -> long", duckdb="kf_ipv6_compare({0}, {1}, {2})")
function("ipv6_is_match", "string string long -> bool", duckdb="(kf_ipv6_compare({0}, {1}, {2}) = 0)")
function("ipv6_is_in_range", "string string -> bool", duckdb="kf_ipv6_in({0}, {1})")

# ------------------------------------------------------------------ addresses in texts

_BEFORE = "(?:^|[^0-9A-Za-z])"
macro(
    f"kf_has_ipv4(s, ip) := kf_ipv4(ip) IS NOT NULL AND contains(s, ip) "
    f"AND regexp_matches(s, '{_BEFORE}' || regexp_escape(ip) || '(?:[^0-9A-Za-z.]|\\.?$|\\.[^0-9A-Za-z])')"
)
macro(
    "kf_has_ipv4_prefix(s, ip) := kf_is_ipv4_prefix(ip) AND contains(s, ip) AND list_bool_or(list_transform("
    rf"regexp_extract_all(s, '[0-9A-Za-z.]+'), lambda f: regexp_full_match(f, '{_FOUR}\.?') "
    "AND (rtrim(f, '.') = ip OR ends_with(ip, '.') AND starts_with(f, ip))))"
)
macro(rf"kf_is_ipv4_prefix(ip) := regexp_full_match(ip, '(?:{_OCTET}\.){{1,3}}(?:{_OCTET})?') AND "
      "(ends_with(ip, '.') OR kf_ipv4(ip) IS NOT NULL)")  # fmt: skip
function("has_ipv4", "string string -> bool", duckdb="coalesce(kf_has_ipv4({0}, {1}), FALSE)")
function("has_ipv4_prefix", "string string -> bool", duckdb="coalesce(kf_has_ipv4_prefix({0}, {1}), FALSE)")
for _name in ("has_ipv4", "has_ipv4_prefix"):
    for _signature in ("string dynamic -> bool", "string string string* -> bool"):
        function(
            _name.replace("has_", "has_any_"),
            _signature,
            duckdb=lambda args, apply, name=_name: (
                f"coalesce({_in_any(f'kf_{name}({{0}}, {{1}})', args, apply)}, FALSE)"
            ),  # type: ignore[misc]
        )

# ------------------------------------------------------------------ ranges


def _blocks(first: str, last: str) -> list[str] | None:
    """The fewest blocks that are the addresses from one to another."""
    try:
        start, end = IPv4Address(first), IPv4Address(last)
    except ValueError:
        return None
    return [str(each) for each in summarize_address_range(start, end)] if start <= end else None


worked("ipv4_range_to_cidr_list", "string string -> dynamic", _blocks)
