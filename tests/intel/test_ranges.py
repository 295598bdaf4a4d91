"""Look-ups against a scan of all ranges."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bartizan.intel.ranges import MAX_OVERLAP, Address, Ranges, Span, span, spoken

# Few distinct ends, so that ranges touch, nest and cross.
_ENDS = [0, 1, 2, 3, 5, 8, 13, 21, 2**16, 2**31, 2**32 - 2, 2**32 - 1]
_WIDE_ENDS = [*_ENDS, 2**64 - 1, 2**64, 2**64 + 1, 2**100, 2**127, 2**128 - 2, 2**128 - 1]


@st.composite
def spans(draw: st.DrawFn) -> Span:
    wide = draw(st.booleans())
    ends = st.sampled_from(_WIDE_ENDS) if wide else st.sampled_from(_ENDS)
    first, last = sorted((draw(ends), draw(ends)))
    return Span(wide, first, last)


def made(rows: list[Span]) -> Ranges:
    found = Ranges()
    for number, row in enumerate(rows):
        found.add(row, number)
    return found


def probes() -> list[Address]:
    wide = {near for end in _WIDE_ENDS for near in (end - 1, end, end + 1) if 0 <= near < 2**128}
    return [Address(True, n) for n in wide] + [Address(False, n) for n in wide if n < 2**32]


def covering(rows: list[Span], at: Address) -> list[int]:
    return [n for n, row in enumerate(rows) if row.wide == at.wide and row.first <= at.number <= row.last]


@given(st.lists(spans(), max_size=25))
def test_the_smallest_range_wins(rows: list[Span]) -> None:
    """Of ranges that hold an address the smallest counts, of two alike the later; packing changes nothing."""
    flat = Ranges.unpack(made(rows).most_specific().pack())
    for at in probes():
        found, here = flat.find(at), covering(rows, at)
        if not here:
            assert found is None
            continue
        best = min(here, key=lambda n: (rows[n].last - rows[n].first, -n))
        assert found is not None and (found.value, found.size) == (best, rows[best].size)


@given(st.lists(spans(), max_size=25))
def test_joined_ranges_say_all(rows: list[Span]) -> None:
    """Where ranges overlap, all of them count."""
    sets: dict[frozenset[int], int] = {}
    flat = Ranges.unpack(made(rows).joined(lambda members: sets.setdefault(members, len(sets))).pack())
    by = list(sets)
    for at in probes():
        found, here = flat.find(at), covering(rows, at)
        assert (by[found.value] if found else frozenset()) == frozenset(here)


@given(st.integers(0, 2**32 - 1), st.integers(0, 32))
def test_blocks_of_ipv4(number: int, length: int) -> None:
    """A block holds what shares its prefix; written as mapped it is the same."""
    text = f"{IPv4Address(number)}/{length}"
    found = span(text)
    assert found.size == 32 - length and found.first <= number <= found.last and not found.wide
    assert span(f"::ffff:{IPv4Address(number)}/{96 + length}") == found


@given(st.integers(0, 2**128 - 1), st.integers(1, 65_535))
def test_addresses_as_records_write_them(number: int, port: int) -> None:
    """With port, brackets, zone: one address."""
    six = str(IPv6Address(number))
    four = str(IPv4Address(number % 2**32))
    assert spoken(f"[{six}]:{port}") == spoken(f" {six}%eth0 ") == spoken(six)
    assert spoken(f"{four}:{port}") == spoken(f"::ffff:{four}") == spoken(four) == Address(False, number % 2**32)
    assert str(spoken(four)) == four


def test_too_many_overlap() -> None:
    """The work of laying out is bounded."""
    rows = [Span(False, n, 2**31) for n in range(MAX_OVERLAP + 1)]
    with pytest.raises(ValueError, match="overlap"):
        made(rows).joined(lambda members: 0)
