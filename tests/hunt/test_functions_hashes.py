"""xxHash64: examples of the Kusto documentation, the algorithm written a second time for texts of all lengths."""

import pytest
from tests.hunt.calls import boolean, call, dynamic, instant, long, string
from tests.hunt.duck import connection

from bartizan.hunt.fault import KqlError

MASK = 2**64 - 1
P1, P2, P3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
P4, P5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5


def _rotate(x: int, n: int) -> int:
    return (x << n | x >> (64 - n)) & MASK


def _round(a: int, word: int) -> int:
    return _rotate((a + word * P2) & MASK, 31) * P1 & MASK


def _hash(data: bytes) -> int:
    """As a signed number."""
    words = [int.from_bytes(data[i : i + 8], "little") for i in range(0, len(data) - 7, 8)]
    h, full = P5, len(data) // 32 * 4
    if full:
        lanes = [(P1 + P2) & MASK, P2, 0, -P1 & MASK]
        for i, word in enumerate(words[:full]):
            lanes[i % 4] = _round(lanes[i % 4], word)
        h = sum(_rotate(lane, n) for lane, n in zip(lanes, (1, 7, 12, 18), strict=True)) & MASK
        for lane in lanes:
            h = ((h ^ _round(0, lane)) * P1 + P4) & MASK
    h = (h + len(data)) & MASK
    for word in words[full:]:
        h = (_rotate(h ^ _round(0, word), 27) * P1 + P4) & MASK
    rest = data[len(words) * 8 :]
    if len(rest) >= 4:
        h = (_rotate(h ^ (int.from_bytes(rest[:4], "little") * P1 & MASK), 23) * P2 + P3) & MASK
        rest = rest[4:]
    for byte in rest:
        h = _rotate(h ^ (byte * P5 & MASK), 11) * P1 & MASK
    h = (h ^ h >> 33) * P2 & MASK
    h = (h ^ h >> 29) * P3 & MASK
    h ^= h >> 32
    return h - 2**64 if h >> 63 else h


@pytest.mark.parametrize("name", ["hash", "hash_xxhash64"])
def test_documented(name: str) -> None:
    assert call(name, string("World")) == 1846988464401551951
    assert call(name, string("Hello")) == 753694413698530628
    assert call(name, string("World"), long(100)) == 51
    assert call(name, instant("2015-01-01")) == 1380966698541616202
    assert call(name, instant(None)) is None
    assert call(name, string("World"), long(0)) is None


def test_texts_of_all_lengths() -> None:
    texts = [("aé😀'zy" * 200)[:size] for size in (*range(70), 127, 128, 129, 1000)]
    cursor = connection().cursor()
    found = [cursor.execute("SELECT kf_xx_text(?)", [each]).fetchone() for each in texts]
    assert found == [(_hash(each.encode()),) for each in texts]


@pytest.mark.parametrize("number", [0, 1, -1, 2**63 - 1, -(2**63)])
def test_numbers(number: int) -> None:
    full = _hash((number & MASK).to_bytes(8, "little"))
    assert call("hash", long(number)) == full
    assert call("hash", long(number), long(1000)) == (full & MASK) % 1000


def test_what_is_not_hashed() -> None:
    for given in (boolean(True), dynamic([1])):
        with pytest.raises(KqlError):
            call("hash", given)
