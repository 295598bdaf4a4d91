"""What one file says, ready to be asked and to be kept: places of addresses, marks of addresses, leaked credentials."""

import re
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from enum import IntFlag
from math import inf

import msgspec
from msgspec import Struct

from bartizan.intel.ranges import Address, Packed, Ranges, Span

FORMAT = 1  # of packed tables; another one is told to be imported anew
MAX_LEAKS = 2_000_000  # entries of one table
MAX_NAME_CHARACTERS = 300  # of an organisation, a city, a principal
_BETWEEN = "\x1f"
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")


def plain(text: str) -> str:
    """Without control characters, of which one parts texts here."""
    return text if text.isprintable() else _CONTROLS.sub(" ", text)


class Kind(IntFlag):
    """What an address is known for."""

    HOSTING = 1
    MOBILE = 2
    VPN = 4
    TOR = 8
    PROXY = 16  # anonymising otherwise: a private relay, secure web egress, an open proxy
    MALICIOUS = 32
    NATION_STATE = 64
    SATELLITE = 128
    TRUSTED = 256  # in a named location that is trusted
    NAMED = 512  # in any named location of addresses


ALLOWED = 1 << 30  # beside Kind in a mark: who says so takes MALICIOUS and NATION_STATE from the address


class Mark(Struct, frozen=True, array_like=True):
    """One thing said of addresses, true from `since` until before `until` (seconds since 1970)."""

    kinds: int
    source: str  # as it is shown: "tor: exits-of-today"
    since: float = -inf
    until: float = inf


class Place(Struct, frozen=True):
    """What a place table says of a range; empty where it does not say."""

    asn: int = 0
    organisation: str = ""
    country: str = ""
    city: str = ""
    latitude: float | None = None
    longitude: float | None = None
    state: str = ""  # the largest part of the country, by name


class Leak(Struct, frozen=True):
    """A credential that is known to have leaked. The secret itself is not known here."""

    found: float  # seconds since 1970
    matches_current: bool | None  # whether it was the password of that moment; None: nobody compared
    source: str


class _PackedPlaces(Struct, frozen=True, array_like=True, tag="places"):
    format: int
    ranges: Packed
    texts: bytes
    ends: bytes
    until: float


class _PackedMarks(Struct, frozen=True, array_like=True, tag="marks"):
    format: int
    ranges: Packed
    sets: list[tuple[Mark, ...]]
    asns: dict[int, tuple[Mark, ...]]


class _PackedLeaks(Struct, frozen=True, array_like=True, tag="leaks"):
    format: int
    entries: list[tuple[str, float, bool | None, str]]
    until: float


class Places:
    """Autonomous systems, countries or cities by range. `add` all, then `finish`, then ask. Texts are kept once each
    and packed in one piece of memory: a world of AS ranges takes some 8 MB."""

    def __init__(self, until: float = inf) -> None:
        self.until = until
        self._ranges = Ranges()
        self._number: dict[tuple[str, ...], int] = {}
        self._texts = b""
        self._ends = array("I")

    def __len__(self) -> int:
        return len(self._ranges)

    def add(
        self,
        where: Span,
        *,
        asn: int = 0,
        organisation: str = "",
        country: str = "",
        city: str = "",
        latitude: str = "",
        longitude: str = "",
        state: str = "",
    ) -> None:
        fields = (str(asn or ""), organisation, country, city, latitude, longitude, *([state] if state else []))
        self._ranges.add(where, self._number.setdefault(fields, len(self._number)))

    def finish(self) -> "Places":
        self._ranges = self._ranges.most_specific()
        texts = bytearray()
        for fields in self._number:
            texts += _BETWEEN.join(fields).encode()
            self._ends.append(len(texts))
        self._texts = bytes(texts)
        self._number = {}
        return self

    def find(self, at: Address) -> tuple[Place, int] | None:
        """And how many bits are free in the range that says so."""
        found = self._ranges.find(at)
        if found is None:
            return None
        return self._place(found.value), found.size

    def _place(self, number: int) -> Place:
        begin = self._ends[number - 1] if number else 0
        text = self._texts[begin : self._ends[number]].decode()
        asn, organisation, country, city, latitude, longitude, *state = text.split(_BETWEEN)
        return Place(
            int(asn or 0),
            organisation,
            country,
            city,
            float(latitude) if latitude else None,
            float(longitude) if longitude else None,
            *state,
        )

    def said(self) -> Iterator[Place]:
        """Every place that is said of some range, by its number."""
        return (self._place(number) for number in range(len(self._ends)))

    def parts(self, most: int) -> Iterator[tuple[bool, list[list[int]]]]:
        """Which place holds where, by its number: as `Ranges.parts`."""
        return self._ranges.parts(most)

    def nbytes(self) -> int:
        return self._ranges.nbytes() + len(self._texts) + len(self._ends) * self._ends.itemsize

    def packed(self) -> _PackedPlaces:
        ends = msgspec.msgpack.encode(self._ends.tolist())
        return _PackedPlaces(FORMAT, self._ranges.pack(), self._texts, ends, self.until)

    @classmethod
    def of_packed(cls, packed: _PackedPlaces) -> "Places":
        made = cls(packed.until)
        made._ranges = Ranges.unpack(packed.ranges)
        made._texts = packed.texts
        made._ends = array("I", msgspec.msgpack.decode(packed.ends, type=list[int]))
        return made


class Marks:
    """Kinds of addresses and of autonomous systems, each from when until when. `add` all, then `finish`, then ask."""

    def __init__(self) -> None:
        self._ranges = Ranges()
        self._marks: dict[Mark, int] = {}
        self._sets: list[tuple[Mark, ...]] = []
        self._added: dict[int, list[Mark]] = {}
        self.asns: dict[int, tuple[Mark, ...]] = {}

    def __len__(self) -> int:
        return len(self._ranges) + len(self.asns)

    def add(self, where: Span | int, mark: Mark) -> None:
        """To addresses, or to an AS number."""
        if isinstance(where, int):
            self._added.setdefault(where, []).append(mark)
        else:
            self._ranges.add(where, self._marks.setdefault(mark, len(self._marks)))

    def finish(self) -> "Marks":
        """ValueError where too many ranges overlap."""
        marks = list(self._marks)
        number: dict[tuple[Mark, ...], int] = {}

        def join(members: frozenset[int]) -> int:
            return number.setdefault(_merged(marks[n] for n in members), len(number))

        self._ranges = self._ranges.joined(join)
        self._sets = list(number)
        self.asns = {asn: _merged(each) for asn, each in self._added.items()}
        self._marks, self._added = {}, {}
        return self

    def find(self, at: Address) -> tuple[Mark, ...]:
        found = self._ranges.find(at)
        return self._sets[found.value] if found is not None else ()

    def nbytes(self) -> int:
        return self._ranges.nbytes() + 100 * (len(self._sets) + len(self.asns))

    def packed(self) -> _PackedMarks:
        return _PackedMarks(FORMAT, self._ranges.pack(), self._sets, self.asns)

    @classmethod
    def of_packed(cls, packed: _PackedMarks) -> "Marks":
        made = cls()
        made._ranges, made._sets, made.asns = Ranges.unpack(packed.ranges), packed.sets, packed.asns
        return made


def _merged(marks: Iterable[Mark]) -> tuple[Mark, ...]:
    """In one order; of the same said for times that touch, one mark."""
    made: list[Mark] = []
    for mark in sorted(marks, key=lambda each: (each.source, each.kinds, each.since, each.until)):
        last = made[-1] if made else None
        if last is not None and (last.source, last.kinds) == (mark.source, mark.kinds) and mark.since <= last.until:
            made[-1] = Mark(mark.kinds, mark.source, last.since, max(last.until, mark.until))
        else:
            made.append(mark)
    return tuple(made)


class Leaks:
    """Leaked credentials by principal: its name or its object id, folded. `add` all, then `finish`, then ask."""

    def __init__(self, until: float = inf) -> None:
        self.until = until
        self._by: dict[str, list[Leak]] = {}
        self._entries = 0

    def __len__(self) -> int:
        return self._entries

    def add(self, principal: str, leak: Leak) -> None:
        """ValueError above MAX_LEAKS."""
        if self._entries >= MAX_LEAKS:
            raise ValueError(f"more than {MAX_LEAKS:,} entries")
        self._entries += 1
        self._by.setdefault(principal.strip().casefold(), []).append(leak)

    def finish(self) -> "Leaks":
        for each in self._by.values():
            each.sort(key=_found)
        return self

    def find(self, principal: str, at: float) -> Leak | None:
        """The newest that was found at `at` or before."""
        known = self._by.get(principal)
        if known is None or at >= self.until:
            return None
        place = bisect_right(known, at, key=_found)
        return known[place - 1] if place else None

    def _rows(self) -> Iterator[tuple[str, float, bool | None, str]]:
        for principal, leaks in self._by.items():
            for leak in leaks:
                yield principal, leak.found, leak.matches_current, leak.source

    def nbytes(self) -> int:
        return 250 * self._entries

    def packed(self) -> _PackedLeaks:
        return _PackedLeaks(FORMAT, list(self._rows()), self.until)

    @classmethod
    def of_packed(cls, packed: _PackedLeaks) -> "Leaks":
        made = cls(packed.until)
        for principal, found, current, source in packed.entries:
            made.add(principal, Leak(found, current, source))
        return made.finish()


def _found(leak: Leak) -> float:
    return leak.found


Table = Places | Marks | Leaks


def pack(table: Table) -> bytes:
    return zlib.compress(msgspec.msgpack.encode(table.packed()), 1)


def unpack(content: bytes) -> Table:
    """Of what `pack` made. ValueError where another format made it."""
    found = msgspec.msgpack.decode(zlib.decompress(content), type=_PackedPlaces | _PackedMarks | _PackedLeaks)
    if found.format != FORMAT:
        raise ValueError(f"the table has format {found.format}; this program reads {FORMAT}: import it again")
    if isinstance(found, _PackedPlaces):
        return Places.of_packed(found)
    return Marks.of_packed(found) if isinstance(found, _PackedMarks) else Leaks.of_packed(found)
