"""Files of network intelligence and of leaked credentials -> tables.

Each line is read for itself. One that cannot be read is an error with its number and its reason, never with its
content: lines may hold secrets. Of leaked credentials nothing is kept but who, when and whether it was the current one.

Source: CSV files of sapics/ip-location-db, GeoLite2 CSV (MaxMind), DB-IP lite CSV, iptoasn.com TSV; lists of one entry
a line as Tor, Spamhaus DROP and FireHOL publish; Microsoft Graph, resource namedLocation.
"""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from msgspec import Struct, field

from bartizan.errors import BadRequest
from bartizan.intel import mmdb
from bartizan.intel.locations import Location, locations
from bartizan.intel.ranges import Span, between, span
from bartizan.intel.tables import MAX_NAME_CHARACTERS, Kind, Leak, Leaks, Mark, Marks, Places, Table, plain
from bartizan.model.times import parse, to_datetime

MAX_FILE_BYTES = 2 * 2**30  # city tables of the whole world have half a GiB
MAX_LINE_BYTES = 65_536
MAX_LOCATIONS_BYTES = 16 * 2**20
_REASONS = 5  # bad lines that a report names

PLACES = ("asn", "country", "city")
LISTS: Mapping[str, Kind] = {
    "hosting": Kind.HOSTING,
    "mobile": Kind.MOBILE,
    "vpn": Kind.VPN,
    "tor": Kind.TOR,
    "proxy": Kind.PROXY,
    "malicious": Kind.MALICIOUS,
    "nation-state": Kind.NATION_STATE,
    "satellite": Kind.SATELLITE,
}
LEAKED, NAMED = "leaked-credentials", "named-locations"
KINDS = (*PLACES, *LISTS, LEAKED, NAMED)
FILES: Mapping[str, str] = {
    "ip-asn.csv": "asn",
    "ip-geo.csv": "city",
    "hosting-asns.txt": "hosting",
    "mobile-asns.txt": "mobile",
    "malicious-ips.txt": "malicious",
    "tor-exits.txt": "tor",
    "vpn-ranges.txt": "vpn",
    "named-locations.json": NAMED,
    "leaked-credentials.jsonl": LEAKED,
}


class Read(Struct):
    """What became of a file."""

    table: Table
    rows: int = 0  # lines that count
    bad: int = 0  # lines that could not be read
    reasons: list[str] = field(default_factory=list)  # of the first of them
    locations: list[Location] = field(default_factory=list)  # of named locations


def read(kind: str, path: Path, *, source: str, until: float = inf, skip_bad: bool = False) -> Read:
    """A table of one of KINDS, true until before `until` (seconds since 1970). `source` is how it is called.

    BadRequest where the file or, without `skip_bad`, a line of it cannot be read; OSError where it is not there.
    """
    if path.stat().st_size > MAX_FILE_BYTES:
        raise BadRequest(f"{path.name} has {path.stat().st_size:,} bytes; the most is {MAX_FILE_BYTES:,}")
    made = Read(Places(until))
    with path.open("rb") as file:
        try:
            if kind == NAMED:
                if path.stat().st_size > MAX_LOCATIONS_BYTES:
                    raise ValueError(f"more than {MAX_LOCATIONS_BYTES:,} bytes")
                made.locations = locations(file.read())
                made.rows = len(made.locations)
                made.table = marks_of(made.locations, until)
            elif kind in PLACES and mmdb.is_mmdb(path):
                made.table, made.rows = mmdb.places(path, until)
            else:
                _lines(kind, file, made, source=source, until=until, skip_bad=skip_bad)
            made.table.finish()
        except _Bad as bad:
            raise BadRequest(f"{path.name}, {bad}; nothing is imported (--skip-bad leaves bad lines out)") from None
        except ValueError as error:
            raise BadRequest(f"{path.name}: {error}; nothing is imported") from None
    if made.bad and not made.rows:
        raise BadRequest(f"{path.name}: no line can be read as {kind}; the first: {made.reasons[0]}")
    return made


class _Bad(Exception):
    pass


def _lines(kind: str, file: BinaryIO, made: Read, *, source: str, until: float, skip_bad: bool) -> None:
    take: Callable[[str], int]
    if kind in PLACES:
        places = Places(until)
        made.table, take = places, _Rows(kind, places).take
    elif kind in LISTS:
        marks = Marks()
        made.table, take = marks, _Entries(marks, LISTS[kind], f"{kind}: {source}", until).take
    elif kind == LEAKED:
        leaks = Leaks(until)
        made.table, take = leaks, _Leaked(leaks, source).take
    else:
        raise ValueError(f"{kind} is none of {', '.join(KINDS)}")
    for number, line in enumerate(_raw(file), 1):
        try:
            if len(line) > MAX_LINE_BYTES:
                raise ValueError(f"longer than {MAX_LINE_BYTES:,} bytes")
            made.rows += take(line.decode("utf-8-sig" if number == 1 else "utf-8"))
        except UnicodeDecodeError:
            _note(made, number, "not UTF-8", skip_bad)
        except ValueError as error:
            _note(made, number, str(error), skip_bad)


def _note(made: Read, number: int, reason: str, skip_bad: bool) -> None:
    told = f"line {number:,}: {reason}"
    if not skip_bad:
        raise _Bad(told)
    made.bad += 1
    if len(made.reasons) < _REASONS:
        made.reasons.append(told)


def _raw(file: BinaryIO) -> Iterator[bytes]:
    """Lines; of one that is too long its beginning, and the rest is passed over."""
    while line := file.readline(MAX_LINE_BYTES + 2):
        yield line
        while not line.endswith(b"\n") and len(line) == MAX_LINE_BYTES + 2:
            line = file.readline(MAX_LINE_BYTES + 2)


# ---------------------------------------------------------------- places

# What a column may be called in a heading -> what it holds.
_HEADINGS: Mapping[str, str] = {
    "network": "first", "cidr": "first", "start": "first", "start_ip": "first", "ip_range_start": "first",
    "range_start": "first", "first": "first",
    "end": "last", "end_ip": "last", "ip_range_end": "last", "range_end": "last", "last": "last",
    "asn": "asn", "as_number": "asn", "autonomous_system_number": "asn",
    "name": "organisation", "organisation": "organisation", "organization": "organisation", "as_name": "organisation",
    "as_description": "organisation", "as_organization": "organisation",
    "autonomous_system_organization": "organisation",
    "country": "country", "country_code": "country", "country_iso_code": "country",
    "city": "city", "city_name": "city", "latitude": "latitude", "longitude": "longitude", "lat": "latitude",
    "lon": "longitude", "state": "state", "state1": "state", "stateprov": "state", "region": "state",
    "region_name": "state", "subdivision_1_name": "state",
}  # fmt: skip
# Columns behind the range where there is no heading, by their number.
_COLUMNS: Mapping[str, Mapping[int, tuple[str, ...]]] = {
    "asn": {1: ("asn",), 2: ("asn", "organisation"), 3: ("asn", "country", "organisation")},
    "country": {1: ("country",)},
    "city": {
        1: ("country",),
        4: ("country", "city", "latitude", "longitude"),
        6: ("", "country", "state", "city", "latitude", "longitude"),  # DB-IP lite
        8: ("country", "state", "", "city", "", "latitude", "longitude", ""),  # ip-location-db
    },
}
_NOWHERE = ("", "-", "ZZ", "XX", "None")
_ADDRESS = re.compile(r"[0-9A-Fa-f:.]+(/\d{1,3})?", re.ASCII)


class _Rows:
    """Lines of a table of places: comma or tab between, a heading or none, a range as first and last or as CIDR."""

    def __init__(self, kind: str, places: Places) -> None:
        self._kind, self._places = kind, places
        self._between = ""
        self._columns: tuple[str, ...] | None = None  # with the range's own; None: by their number
        self._known: dict[str, str] = {}  # texts that are checked already

    def take(self, line: str) -> int:
        line = line.rstrip("\r\n")
        if not line or line.startswith("#"):
            return 0
        began = bool(self._between)
        if not began:
            self._between = "\t" if "\t" in line else ","
        cells = line.split(self._between) if '"' not in line else self._quoted(line)
        if not began and not _ADDRESS.fullmatch(cells[0].strip()):
            self._heading(cells)
            return 0
        given: dict[str, str] = {}
        if self._columns is not None:
            if len(cells) != len(self._columns):
                raise ValueError(f"{len(cells)} columns; the heading has {len(self._columns)}")
            given = dict(zip(self._columns, cells, strict=True))
            where = between(given["first"], given["last"]) if given.get("last") else span(given["first"])
        else:
            where, rest = self._range(cells)
            names = _COLUMNS[self._kind].get(len(rest))
            if names is None:
                known = " or ".join(str(n) for n in _COLUMNS[self._kind])
                raise ValueError(f"{len(rest)} columns behind the range; {self._kind} takes {known}, or a heading")
            given = dict(zip(names, rest, strict=True))
        return self._add(where, given)

    def _quoted(self, line: str) -> list[str]:
        try:
            return next(csv.reader([line], delimiter=self._between, strict=True))
        except (csv.Error, StopIteration):
            raise ValueError("quotes that do not close") from None

    def _heading(self, cells: list[str]) -> None:
        columns = tuple(_HEADINGS.get(cell.strip().lower(), "") for cell in cells)
        needed = {"asn": "asn", "country": "country", "city": "country"}[self._kind]
        if "first" not in columns or needed not in columns:
            raise ValueError(
                f"neither an address nor a heading with a range and {needed} "
                "(such as: network,asn,name or start,end,country)"
            )
        self._columns = columns

    def _range(self, cells: list[str]) -> tuple[Span, list[str]]:
        if "/" in cells[0]:
            return span(cells[0]), cells[1:]
        if len(cells) < 2:
            raise ValueError("expected first,last or CIDR, and what is there")
        if not _ADDRESS.fullmatch(cells[1]) or ("." not in cells[1] and ":" not in cells[1]):
            return span(cells[0]), cells[1:]
        return between(cells[0], cells[1]), cells[2:]

    def _add(self, where: Span, given: Mapping[str, str]) -> int:
        asn = as_number(given["asn"]) if given.get("asn") else 0
        country = self._country(given.get("country", ""))
        if self._kind == "asn":
            if not asn:  # announced by nobody
                return 0
            self._places.add(where, asn=asn, organisation=_name(given.get("organisation", "")))
            return 1
        if self._kind == "country":
            if not country:
                return 0
            self._places.add(where, country=country)
            return 1
        latitude, longitude = _degrees(given.get("latitude", ""), 90), _degrees(given.get("longitude", ""), 180)
        if bool(latitude) != bool(longitude):
            raise ValueError("latitude and longitude go together")
        city = _name(given.get("city", ""))
        if not (country or city or latitude):
            return 0
        state = _name(given.get("state", ""))
        self._places.add(where, country=country, city=city, latitude=latitude, longitude=longitude, state=state)
        return 1

    def _country(self, text: str) -> str:
        known = self._known.get(text)
        if known is None:
            known = country_code(text)
            if len(self._known) < 1_000:
                self._known[text] = known
        return known


def _name(text: str) -> str:
    text = text.strip()
    if len(text) > MAX_NAME_CHARACTERS:
        raise ValueError(f"a name of more than {MAX_NAME_CHARACTERS} characters")
    return plain(text)


def country_code(text: str) -> str:
    """Two letters of ISO 3166-1; empty for nowhere. ValueError where it is something else."""
    text = text.strip()
    if text in _NOWHERE:
        return ""
    if len(text) != 2 or not text.isascii() or not text.isalpha():
        raise ValueError("a country is not two letters of ISO 3166-1")
    return text.upper()


def as_number(text: str) -> int:
    """With or without AS before it. ValueError where it is none."""
    digits = text.strip()
    if digits[:2].upper() == "AS":
        digits = digits[2:]
    if not digits.isascii() or not digits.isdigit() or len(digits) > 10 or int(digits) >= 2**32:
        raise ValueError("not an AS number")
    return int(digits)


def _degrees(text: str, most: int) -> str:
    """As it is kept; empty where it is not said."""
    text = text.strip()
    if text in ("", "-", "None"):
        return ""
    try:
        value = float(text)
    except ValueError:
        raise ValueError("latitude or longitude is no number") from None
    if not -most <= value <= most:
        raise ValueError(f"latitude or longitude goes from -{most} to {most}")
    return repr(value)


# ---------------------------------------------------------------- lists

_COMMENT = re.compile(r"[#;]")
_PARTS = re.compile(r"\s*,\s*|\s+(?=\S)")


class _Entries:
    """An address, a CIDR block, first-last or an AS number a line; behind it, if said, when it ends and when it was
    first seen (ISO 8601; `-` for never). What follows # or ; is a comment."""

    def __init__(self, marks: Marks, kinds: Kind, source: str, until: float) -> None:
        self._marks, self._until = marks, until
        self._kinds, self._source = int(kinds), source
        self._plain = Mark(self._kinds, source, until=until)

    def take(self, line: str) -> int:
        line = _COMMENT.split(line, maxsplit=1)[0].strip()
        if not line:
            return 0
        parts = _PARTS.split(line)
        if len(parts) > 3:
            raise ValueError("more than an entry, when it ends and when it was first seen")
        bare = parts[0][2:] if parts[0][:2].upper() == "AS" else parts[0]
        where = as_number(parts[0]) if bare.isdigit() else span(parts[0])
        mark = self._plain
        if len(parts) > 1:
            ends = inf if parts[1] == "-" else moment(parts[1])
            since = moment(parts[2]) if len(parts) > 2 and parts[2] != "-" else -inf
            if ends <= since:
                raise ValueError("it ends before it was first seen")
            mark = Mark(self._kinds, self._source, since, min(ends, self._until))
        self._marks.add(where, mark)
        return 1


def moment(text: str) -> float:
    """Seconds since 1970 of a date or an ISO 8601 instant. ValueError where it is none."""
    text = text.strip()
    try:
        if len(text) == 10:
            return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
        return to_datetime(parse(text)).timestamp()
    except ValueError:
        raise ValueError("not a date such as 2026-11-23 or 2026-11-23T04:50:30Z") from None


# ---------------------------------------------------------------- leaked credentials

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_FOUND = ("foundDateTime", "found", "date")
_NAMES = ("userPrincipalName", "principal", "user", "email", "userId", "objectId", "id")


class _Leaked:
    """A JSON object a line: who, when it was found, and whether it was the current password. All else is dropped."""

    def __init__(self, leaks: Leaks, source: str) -> None:
        self._leaks, self._source = leaks, source

    def take(self, line: str) -> int:
        if not line.strip():
            return 0
        try:
            given = _decode(line)
        except (msgspec.DecodeError, RecursionError):
            raise ValueError("not a JSON object") from None
        who = [given[name] for name in _NAMES if given.get(name) not in (None, "")]
        if not who or not all(isinstance(each, str) and len(each) <= MAX_NAME_CHARACTERS for each in who):
            raise ValueError(f"says no principal; expected one of {', '.join(_NAMES)} as text")
        found = next((given[name] for name in _FOUND if isinstance(given.get(name), str)), None)
        if found is None:
            raise ValueError("says no foundDateTime")
        current = given.get("matchesCurrentPassword")
        if current is not None and not isinstance(current, bool):
            raise ValueError("matchesCurrentPassword is true, false or null")
        leak = Leak(moment(found), current, self._source)
        for name in dict.fromkeys(who):
            self._leaks.add(name, leak)
        return 1


# ---------------------------------------------------------------- named locations


def marks_of(named: Iterable[Location], until: float = inf) -> Marks:
    """Of the locations with addresses: TRUSTED where they are, and NAMED. To be finished."""
    made = Marks()
    for each in named:
        kinds = Kind.NAMED | Kind.TRUSTED if each.trusted else Kind.NAMED
        mark = Mark(int(kinds), f"named location: {each.name}", until=until)
        for block in each.ranges:
            made.add(span(block), mark)
    return made
