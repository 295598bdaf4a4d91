"""Ranges of addresses in sorted arrays: which one an address is in, at some 13 bytes a range of IPv4.

A file may hold ranges inside ranges. They are laid out flat once, when the arrays are made: segments that do not
overlap, each with what holds in it. A look-up is one bisection then.

Source: RFC 4291 (section 2.5.5.2: IPv4-mapped addresses), RFC 4632 (the longest prefix wins).
"""

import heapq
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import NamedTuple

from msgspec import Struct

MAX_ADDRESS_CHARACTERS = 64  # the longest IPv6 address has 45; brackets, port and zone come on top
MAX_RANGES = 10_000_000  # of one table; city tables of the whole world have about half of it
MAX_OVERLAP = 1_000  # ranges that one address may be in: each is looked at where it begins and ends
_LOW = 2**64 - 1
_MAPPED = 0xFFFF << 32  # ::ffff:0:0/96
_V4_LAST = 2**32 - 1


class Address(NamedTuple):
    wide: bool  # IPv6
    number: int

    def __str__(self) -> str:
        return inet_ntop(AF_INET6 if self.wide else AF_INET, self.number.to_bytes(16 if self.wide else 4, "big"))


def address(text: str) -> Address:
    """Of dotted or colon form alone. ValueError where it is none."""
    try:
        if ":" not in text:
            return Address(False, int.from_bytes(inet_pton(AF_INET, text), "big"))
        number = int.from_bytes(inet_pton(AF_INET6, text), "big")
    except (OSError, ValueError):
        raise ValueError("not an IP address") from None
    return Address(False, number & _V4_LAST) if number >> 32 == 0xFFFF else Address(True, number)


def spoken(text: str) -> Address:
    """As records write it: with a port, in brackets, with a zone. ValueError where it is no address."""
    text = text.strip()
    if len(text) > MAX_ADDRESS_CHARACTERS:
        raise ValueError("not an IP address")
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    return address(text.partition("%")[0])


class Span(NamedTuple):
    """Addresses from first to last, both inside."""

    wide: bool
    first: int
    last: int

    @property
    def size(self) -> int:
        """Bits that are free in it: 0 for a single address, 8 for an IPv4 /24."""
        return (self.last - self.first).bit_length()


def span(text: str) -> Span:
    """Of an address, a CIDR block (bits of the host are ignored) or `first-last`. ValueError where it is none."""
    if "/" in text:
        head, _, bits = text.partition("/")
        if not (bits.isascii() and bits.isdigit() and len(bits) <= 3):
            raise ValueError("not a CIDR block")
        mapped = ":" in head
        at = address(head)
        length = int(bits)
        if mapped and not at.wide:
            if length < 96:  # wider than the mapped block itself
                return _block(True, _MAPPED | at.number, length)
            length -= 96
        return _block(at.wide, at.number, length)
    if "-" in text:
        head, _, tail = text.partition("-")
        return between(head.strip(), tail.strip())
    at = address(text)
    return Span(at.wide, at.number, at.number)


def _block(wide: bool, number: int, length: int) -> Span:
    free = (128 if wide else 32) - length
    if free < 0:
        raise ValueError("not a CIDR block: the prefix is too long")
    first = number >> free << free
    return Span(wide, first, first | (1 << free) - 1)


def between(first: str, last: str) -> Span:
    """ValueError where they are no addresses of one family, in order."""
    one, other = address(first), address(last)
    if one.wide != other.wide:
        raise ValueError("the first and the last address are not of one family")
    if other.number < one.number:
        raise ValueError("the last address lies before the first")
    return Span(one.wide, one.number, other.number)


def folded(where: Span) -> Span:
    """Addresses that IPv6 maps from IPv4 as IPv4."""
    if where.wide and where.first >> 32 == 0xFFFF and where.last >> 32 == 0xFFFF:
        return Span(False, where.first & _V4_LAST, where.last & _V4_LAST)
    return where


class Found(NamedTuple):
    value: int
    size: int  # free bits of the range that says so: the smaller, the more specific


class Packed(Struct, frozen=True, array_like=True):
    """The arrays as bytes, little-endian: of IPv4, then of IPv6."""

    narrow: list[bytes]
    wide: list[bytes]


class _Narrow:
    """IPv4."""

    types = "IIIB"

    def __init__(self) -> None:
        self.first, self.last, self.values, self.sizes = (array(code) for code in self.types)

    def arrays(self) -> tuple["array[int]", ...]:
        return (self.first, self.last, self.values, self.sizes)

    def append(self, first: int, last: int, value: int, size: int) -> None:
        self.first.append(first)
        self.last.append(last)
        self.values.append(value)
        self.sizes.append(size)

    def rows(self) -> Iterator[tuple[int, int, int, int]]:
        return zip(self.first, self.last, self.values, self.sizes, strict=True)

    def find(self, number: int) -> Found | None:
        at = bisect_right(self.first, number) - 1
        return Found(self.values[at], self.sizes[at]) if at >= 0 and number <= self.last[at] else None


class _Wide:
    """IPv6: no array holds 128 bits, so that each address is two halves."""

    types = "QQQQIB"

    def __init__(self) -> None:
        self.high, self.low, self.last_high, self.last_low, self.values, self.sizes = (
            array(code) for code in self.types
        )

    def arrays(self) -> tuple["array[int]", ...]:
        return (self.high, self.low, self.last_high, self.last_low, self.values, self.sizes)

    def append(self, first: int, last: int, value: int, size: int) -> None:
        self.high.append(first >> 64)
        self.low.append(first & _LOW)
        self.last_high.append(last >> 64)
        self.last_low.append(last & _LOW)
        self.values.append(value)
        self.sizes.append(size)

    def rows(self) -> Iterator[tuple[int, int, int, int]]:
        for high, low, last_high, last_low, value, size in zip(*self.arrays(), strict=True):
            yield high << 64 | low, last_high << 64 | last_low, value, size

    def find(self, number: int) -> Found | None:
        high, low = number >> 64, number & _LOW
        end = bisect_right(self.high, high)
        begin = bisect_left(self.high, high, 0, end)  # those that begin in the same /64
        at = bisect_right(self.low, low, begin, end) - 1
        if at < 0 or (self.last_high[at], self.last_low[at]) < (high, low):
            return None
        return Found(self.values[at], self.sizes[at])


class Ranges:
    """Ranges with a number each, such as the place of a record; at most MAX_RANGES."""

    def __init__(self) -> None:
        self._narrow, self._wide = _Narrow(), _Wide()
        self._ahead = {False: -1, True: -1}  # the last address so far, by family
        self._flat = {False: True, True: True}

    def __len__(self) -> int:
        return len(self._narrow.values) + len(self._wide.values)

    def add(self, where: Span, value: int) -> None:
        """ValueError above MAX_RANGES."""
        if len(self) >= MAX_RANGES:
            raise ValueError(f"more than {MAX_RANGES:,} ranges")
        side = self._wide if where.wide else self._narrow
        side.append(where.first, where.last, value, where.size)
        self._flat[where.wide] &= where.first > self._ahead[where.wide]
        self._ahead[where.wide] = max(self._ahead[where.wide], where.last)

    def most_specific(self) -> "Ranges":
        """Flat: of ranges that overlap the smaller counts, of two alike the later."""
        return self._laid_out(lambda rows: _smallest(rows))

    def joined(self, join: Callable[[frozenset[int]], int]) -> "Ranges":
        """Flat: where ranges overlap stands the number that `join` gives for all of theirs.
        ValueError where more than MAX_OVERLAP do."""
        return self._laid_out(lambda rows: _together(rows, join), always=join)

    def _laid_out(
        self,
        sweep: Callable[[list[tuple[int, int, int, int]]], Iterator[tuple[int, int, int, int]]],
        *,
        always: Callable[[frozenset[int]], int] | None = None,
    ) -> "Ranges":
        made = Ranges()
        sides: tuple[tuple[_Narrow | _Wide, _Narrow | _Wide, bool], ...] = (
            (self._narrow, made._narrow, self._flat[False]),
            (self._wide, made._wide, self._flat[True]),
        )
        for old, new, flat in sides:
            if not flat:
                for row in sweep(list(old.rows())):
                    new.append(*row)
            elif always is None:
                for one, other in zip(new.arrays(), old.arrays(), strict=True):
                    one.extend(other)
            else:
                for first, last, value, size in old.rows():
                    new.append(first, last, always(frozenset((value,))), size)
        return made

    def parts(self, most: int) -> Iterator[tuple[bool, list[list[int]]]]:
        """At most so many ranges at a time, as columns: of IPv4 first, last, value, size; of IPv6 (True) the halves of
        the first and of the last, value, size."""
        for side, wide in ((self._narrow, False), (self._wide, True)):
            for at in range(0, len(side.values), most):
                yield wide, [each[at : at + most].tolist() for each in side.arrays()]

    def find(self, at: Address) -> Found | None:
        """Of a flat one."""
        return self._wide.find(at.number) if at.wide else self._narrow.find(at.number)

    def pack(self) -> Packed:
        return Packed(*([_bytes(each) for each in side.arrays()] for side in (self._narrow, self._wide)))

    @classmethod
    def unpack(cls, packed: Packed) -> "Ranges":
        made = cls()
        for side, parts in ((made._narrow, packed.narrow), (made._wide, packed.wide)):
            for into, part in zip(side.arrays(), parts, strict=True):
                into.frombytes(part)
                if sys.byteorder == "big":
                    into.byteswap()
        return made

    def nbytes(self) -> int:
        """Memory of the arrays."""
        return sum(len(each) * each.itemsize for side in (self._narrow, self._wide) for each in side.arrays())


def _bytes(values: "array[int]") -> bytes:
    if sys.byteorder == "big":
        values = values[:]
        values.byteswap()
    return values.tobytes()


Row = tuple[int, int, int, int]  # first, last, value, size


def _smallest(rows: list[Row]) -> Iterator[Row]:
    """A sweep from the lowest address up; the heap has the range that counts on top, and forgets late what ended."""
    order = sorted(range(len(rows)), key=lambda n: rows[n][0])
    open_: list[tuple[int, int]] = []  # (size in addresses, minus the number of the row)
    held: Row | None = None  # a segment that may go on
    at, taken = 0, 0
    while taken < len(order) or open_:
        if not open_:
            at = rows[order[taken]][0]
        while taken < len(order) and rows[order[taken]][0] <= at:
            n = order[taken]
            heapq.heappush(open_, (rows[n][1] - rows[n][0], -n))
            taken += 1
        while open_ and rows[-open_[0][1]][1] < at:
            heapq.heappop(open_)
        if not open_:
            continue
        n = -open_[0][1]
        end = rows[n][1]
        if taken < len(order):
            end = min(end, rows[order[taken]][0] - 1)
        if held is not None and held[1] + 1 == at and held[2:] == rows[n][2:]:
            held = (held[0], end, *held[2:])
        else:
            if held is not None:
                yield held
            held = (at, end, *rows[n][2:])
        at = end + 1
    if held is not None:
        yield held


def _together(rows: list[Row], join: Callable[[frozenset[int]], int]) -> Iterator[Row]:
    """A sweep over the addresses where ranges begin and end."""
    edges = sorted([(row[0], 1, n) for n, row in enumerate(rows)] + [(row[1] + 1, 0, n) for n, row in enumerate(rows)])
    within: dict[int, None] = {}
    begin = 0
    at = 0
    while at < len(edges):
        place = edges[at][0]
        if within and place > begin:
            size = min(rows[n][3] for n in within)
            yield begin, place - 1, join(frozenset(rows[n][2] for n in within)), size
        while at < len(edges) and edges[at][0] == place:
            _, opens, n = edges[at]
            if opens:
                within[n] = None
            else:
                del within[n]
            at += 1
        if len(within) > MAX_OVERLAP:
            raise ValueError(f"more than {MAX_OVERLAP:,} ranges overlap at one address")
        begin = place
