"""What is known of an address at a time, and whether a credential is known to have leaked.

All of it was imported by an operator or told by an indicator; nothing is downloaded. A question costs one bisection for
each table, or one look into a dict where the address was asked of lately.
"""

from collections.abc import Iterable, Sequence
from math import inf
from pathlib import Path

from msgspec import Struct

from bartizan.intel import formats
from bartizan.intel.ranges import MAX_ADDRESS_CHARACTERS, spoken
from bartizan.intel.tables import ALLOWED, Kind, Leak, Leaks, Mark, Marks, Place, Places, Table

REMEMBERED = 16_384  # addresses, some 400 bytes each


class Network(Struct, frozen=True):
    """What is known of one address; all empty for an unknown one."""

    asn: int = 0
    organisation: str = ""
    country: str = ""  # ISO 3166-1 alpha-2
    city: str = ""
    latitude: float | None = None
    longitude: float | None = None
    kinds: Kind = Kind(0)
    sources: tuple[str, ...] = ()  # who says each of the kinds: "tor: exits", "malicious: tiIndicator ID"


UNKNOWN = Network()
_HOSTILE = Kind.MALICIOUS | Kind.NATION_STATE
_Held = tuple[float, float, Network]  # true from the first instant until before the second


class Intel:
    """What one tenant may know. It does not change: another is made where something was imported or told.

    `tables` in order of rank: of two that say a place with ranges of one size, the first counts.
    """

    def __init__(self, tables: Iterable[Table] = (), *, remembered: int = REMEMBERED) -> None:
        every = list(tables)
        self._places = [each for each in every if isinstance(each, Places)]
        self._marks = [each for each in every if isinstance(each, Marks)]
        self._leaks = [each for each in every if isinstance(each, Leaks)]
        self._asns: dict[int, tuple[Mark, ...]] = {}
        for marks in self._marks:
            for asn, said in marks.asns.items():
                self._asns[asn] = (*self._asns.get(asn, ()), *said)
        # Two halves in place of an order by use: when the young one is full, it becomes the old one.
        self._half = max(1, remembered // 2)
        self._young: dict[str, _Held] = {}
        self._old: dict[str, _Held] = {}

    @classmethod
    def of_folder(cls, folder: Path) -> "Intel":
        """Of the files that are there: hosting-asns.txt, mobile-asns.txt, ip-asn.csv, ip-geo.csv, malicious-ips.txt,
        tor-exits.txt, vpn-ranges.txt, named-locations.json, leaked-credentials.jsonl.

        BadRequest that names file and line where one cannot be read.
        """
        found = []
        for name, kind in formats.FILES.items():
            path = folder / name
            if path.is_file():
                found.append(formats.read(kind, path, source=name).table)
        return cls(found)

    def of(self, address: str, at: float) -> Network:
        """At the time of an event, in seconds since 1970. A port, brackets and a zone do no harm; what is no address
        is unknown."""
        held = self._young.get(address)
        if held is None:
            held = self._old.get(address)
        if held is None or not held[0] <= at < held[1]:
            held = self._look(address, at)
        return held[2]

    def asn_kinds(self, asn: int, at: float | None = None) -> Kind:
        """What an autonomous system is known for, for records that bring its number themselves; at any time where none
        is said."""
        kinds = 0
        for mark in self._asns.get(asn, ()):
            if at is None or mark.since <= at < mark.until:
                kinds |= mark.kinds
        return _kinds(kinds)

    def leaked(self, principal: str, at: float) -> Leak | None:
        """The newest entry that was found at `at` or before. `principal` is a user principal name or an object id."""
        folded = principal.strip().casefold()
        newest: Leak | None = None
        for each in self._leaks:
            leak = each.find(folded, at)
            if leak is not None and (newest is None or leak.found > newest.found):
                newest = leak
        return newest

    def nbytes(self) -> int:
        """Memory of the tables, about."""
        every: list[Table] = [*self._places, *self._marks, *self._leaks]
        return sum(each.nbytes() for each in every)

    def _look(self, text: str, at: float) -> _Held:
        try:
            address = spoken(text)
        except ValueError:
            return self._remember(text, (-inf, inf, UNKNOWN))
        since, until = -inf, inf
        system = place = country = None
        system_size = place_size = country_size = 999
        for table in self._places:
            if at >= table.until:
                since = max(since, table.until)
                continue
            until = min(until, table.until)
            found = table.find(address)
            if found is None:
                continue
            said, size = found
            if said.asn and size < system_size:
                system, system_size = said, size
            if (said.city or said.latitude is not None) and size < place_size:
                place, place_size = said, size
            if said.country and size < country_size:
                country, country_size = said, size
        marks = [mark for each in self._marks for mark in each.find(address)]
        if system is not None:
            marks += self._asns.get(system.asn, ())
        kinds = 0
        sources: list[Mark] = []
        for mark in marks:
            if at < mark.since:
                until = min(until, mark.since)
            elif at >= mark.until:
                since = max(since, mark.until)
            else:
                since, until = max(since, mark.since), min(until, mark.until)
                kinds |= mark.kinds
                sources.append(mark)
        return self._remember(text, (since, until, _network(system, place or country, country, kinds, sources)))

    def _remember(self, text: str, held: _Held) -> _Held:
        if len(text) <= MAX_ADDRESS_CHARACTERS:
            if len(self._young) >= self._half:
                self._old, self._young = self._young, {}
            self._young[text] = held
        return held


def _network(
    system: Place | None, place: Place | None, country: Place | None, kinds: int, marks: Sequence[Mark]
) -> Network:
    if kinds & ALLOWED:
        kinds &= ~_HOSTILE
        marks = [mark for mark in marks if not mark.kinds & _HOSTILE]
    if system is None and place is None and not marks:
        return UNKNOWN
    return Network(
        asn=system.asn if system else 0,
        organisation=system.organisation if system else "",
        country=(place.country if place else "") or (country.country if country else ""),
        city=place.city if place else "",
        latitude=place.latitude if place else None,
        longitude=place.longitude if place else None,
        kinds=_kinds(kinds),
        sources=tuple(dict.fromkeys(mark.source for mark in marks)),
    )


def _kinds(bits: int) -> Kind:
    return Kind(bits & ~ALLOWED)
