"""Hashes of values: of a text its bytes in UTF-8, of another value its text.

xxHash64 (seed 0) is worked out in 128 bits: of a number or datetime it takes the eight bytes, the lowest first.

Source: Kusto Query Language, "hash_md5()", "hash_sha1()", "hash_sha256()", "hash_xxhash64()"; Collet, "xxHash fast
digest algorithm", "XXH64 algorithm description".
"""

from collections.abc import Sequence
from functools import partial

from bartizan.hunt.duckdb.macros import macro
from bartizan.hunt.fault import KqlError
from bartizan.hunt.functions import function
from bartizan.hunt.functions.conversions import text_of
from bartizan.hunt.plan import Apply


def _hash(name: str, args: Sequence[str], apply: Apply) -> str:
    if apply.args[0].type not in ("string", "datetime", "dynamic", "guid", "int", "long"):
        raise KqlError("plan", f"hash_{name}() of a {apply.args[0].type} is not supported; turn it into a string first")
    return f"{name}({text_of(args, apply, 0)})"


for _name in ("md5", "sha1", "sha256"):
    function(f"hash_{_name}", "any -> string", duckdb=partial(_hash, _name))

# ------------------------------------------------------------------ xxHash64

_P1, _P2, _P3, _P4, _P5 = (
    f"{each}::UHUGEINT"
    for each in (
        11_400_714_785_074_694_791,
        14_029_467_366_897_019_727,
        1_609_587_929_392_839_161,
        9_650_029_242_287_828_579,
        2_870_177_450_012_600_261,
    )
)
_MASK = f"{2**64 - 1}::UHUGEINT"
_TWICE = f"{2**64 + 1}::UHUGEINT"  # a number of 64 bits times this is the number, twice over
macro(f"kf_xx_rotate(x, n) := ((((x) * {_TWICE}) >> (64 - n)::UHUGEINT) & {_MASK})")
macro(f"kf_xx_round(a, word) := ((kf_xx_rotate(((a) + (word) * {_P2}) & {_MASK}, 31) * {_P1}) & {_MASK})")
# Steps of the digest, each a number: what it does (above the 64 bits of what it takes).
_WORD, _HALF, _BYTE, _LANE, _ADD, _SHIFT1, _SHIFT2, _SHIFT3 = (f"{each << 64}::UHUGEINT" for each in range(8))
_TAKEN = f"(s & {_MASK})"
macro(
    "kf_xx_step(h, s) := (CASE (s >> 64::UHUGEINT)::INTEGER "
    f"WHEN 0 THEN kf_xx_rotate(xor(h, kf_xx_round(0::UHUGEINT, {_TAKEN})), 27) * {_P1} + {_P4} "
    f"WHEN 1 THEN kf_xx_rotate(xor(h, {_TAKEN} * {_P1} & {_MASK}), 23) * {_P2} + {_P3} "
    f"WHEN 2 THEN kf_xx_rotate(xor(h, {_TAKEN} * {_P5} & {_MASK}), 11) * {_P1} "
    f"WHEN 3 THEN xor(h, kf_xx_round(0::UHUGEINT, {_TAKEN})) * {_P1} + {_P4} "
    f"WHEN 4 THEN h + {_TAKEN} "
    f"WHEN 5 THEN xor(h, h >> 33::UHUGEINT) * {_P2} "
    f"WHEN 6 THEN xor(h, h >> 29::UHUGEINT) * {_P3} "
    f"ELSE xor(h, h >> 32::UHUGEINT) END & {_MASK})"
)
macro(
    "kf_xx_digest(first, steps) := kql_wrap(list_reduce(list_concat([first], steps, "
    f"[{_SHIFT1}, {_SHIFT2}, {_SHIFT3}]), lambda h, s: kf_xx_step(h, s))::HUGEINT)"
)
# Bytes are a text of hexadecimal digits, the last byte first, so that a part of it is a number as the digest reads it.
macro(r"kf_bytes_back(t) := reverse(regexp_replace(hex(encode(t)), '(.)(.)', '\2\1', 'g'))")
macro("kf_bytes_at(x, n, i, size) := ('0x' || substring(x, 2 * (n - i - size) + 1, 2 * size))::UBIGINT::UHUGEINT")
macro(
    "kf_xx_lane(x, n, lane, first) := list_reduce(list_concat([first], list_transform(range(0, n // 32), lambda i: "
    "kf_bytes_at(x, n, 32 * i + 8 * lane, 8))), lambda a, w: kf_xx_round(a, w))"
)
macro(
    f"kf_xx_rest(x, n) := list_concat([{_ADD} + n::UHUGEINT], "
    f"list_transform(range(n // 32 * 32, n // 8 * 8, 8), lambda i: {_WORD} + kf_bytes_at(x, n, i, 8)), "
    f"list_transform(range(n // 8 * 8, n // 4 * 4, 4), lambda i: {_HALF} + kf_bytes_at(x, n, i, 4)), "
    f"list_transform(range(n // 4 * 4, n), lambda i: {_BYTE} + kf_bytes_at(x, n, i, 1)))"
)
macro(
    "kf_xx_lanes(x, n) := [kf_xx_lane(x, n, 0, ({p1} + {p2}) & {m}), kf_xx_lane(x, n, 1, {p2}), "
    "kf_xx_lane(x, n, 2, 0::UHUGEINT), kf_xx_lane(x, n, 3, {z} - {p1})]".format(
        p1=_P1, p2=_P2, m=_MASK, z=f"{2**64}::UHUGEINT"
    )
)
macro(
    "kf_xx_long(x, n) := list_transform([kf_xx_lanes(x, n)], lambda v: kf_xx_digest((kf_xx_rotate(v[1], 1) + "
    f"kf_xx_rotate(v[2], 7) + kf_xx_rotate(v[3], 12) + kf_xx_rotate(v[4], 18)) & {_MASK}, "
    f"list_concat(list_transform(v, lambda w: {_LANE} + w), kf_xx_rest(x, n))))[1]"
)
macro(
    "kf_xx_text(t) := list_transform([kf_bytes_back(t)], lambda x: CASE WHEN length(x) < 64 THEN "
    f"kf_xx_digest({_P5}, kf_xx_rest(x, length(x) // 2)) ELSE kf_xx_long(x, length(x) // 2) END)[1]"
)
macro(
    f"kf_xx_long_value(x) := CASE WHEN x IS NOT NULL THEN kf_xx_digest({_P5}, [{_ADD} + 8::UHUGEINT, "
    f"{_WORD} + (x::HUGEINT & {2**64 - 1}::HUGEINT)::UHUGEINT]) END"
)


def _xxhash(args: Sequence[str], apply: Apply) -> str:
    type_ = apply.args[0].type
    if type_ == "string":
        made = f"kf_xx_text({args[0]})"
    elif type_ == "datetime":
        made = f"kf_xx_long_value(epoch_us({args[0]}) * 10::HUGEINT + {_TICKS_1970})"
    elif type_ == "long":
        made = f"kf_xx_long_value({args[0]})"
    else:
        raise KqlError("plan", f"a hash of a {type_} is not supported; turn it into a string first")
    return made if len(args) == 1 else f"kf_hash_mod({made}, {args[1]})"


_TICKS_1970 = 621_355_968_000_000_000
macro(f"kf_hash_mod(h, n) := CASE WHEN n > 0 THEN ((h::HUGEINT & {2**64 - 1}::HUGEINT) % n)::BIGINT END")
for _name in ("hash", "hash_xxhash64"):
    function(_name, "any long? -> long", duckdb=_xxhash)
