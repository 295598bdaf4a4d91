"""Named locations: read from files and from the tenant's own set.

Source: Microsoft Graph, resources ipNamedLocation, ipRange and countryNamedLocation.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from bartizan.intel.ranges import span

MAX_LOCATIONS = 1_000  # of one file; Entra takes 195 of a tenant
MAX_BLOCKS = 2_000  # of one location, as in Entra
MAX_NAME_CHARACTERS = 256
_IP, _COUNTRY = "#microsoft.graph.ipNamedLocation", "#microsoft.graph.countryNamedLocation"


class Location(Struct, frozen=True):
    name: str
    trusted: bool = False
    ranges: tuple[str, ...] = ()  # CIDR blocks, or first-last
    countries: tuple[str, ...] = ()
    unknown_countries: bool = False

    def graph(self) -> dict[str, Any]:
        """As the API serves it, without id and stamps."""
        if self.countries or self.unknown_countries:
            return {
                "@odata.type": _COUNTRY,
                "displayName": self.name,
                "countriesAndRegions": list(self.countries),
                "includeUnknownCountriesAndRegions": self.unknown_countries,
                "countryLookupMethod": "clientIpAddress",
            }
        ranges = [_graph_range(each) for each in self.ranges]
        return {"@odata.type": _IP, "displayName": self.name, "isTrusted": self.trusted, "ipRanges": ranges}


def _graph_range(text: str) -> dict[str, str]:
    version = "iPv6" if ":" in text else "iPv4"
    if "/" in text:
        return {"@odata.type": f"#microsoft.graph.{version}CidrRange", "cidrAddress": text}
    first, _, last = text.partition("-")
    return {"@odata.type": f"#microsoft.graph.{version}Range", "lowerAddress": first, "upperAddress": last}


def range_of(given: object) -> str:
    """An entry of ipRanges, or a text like it, as `ranges.span` reads it. ValueError where it is none."""
    text = given
    if isinstance(given, Mapping):
        text = given.get("cidrAddress")
        if text is None and given.get("lowerAddress") is not None:
            text = f"{given['lowerAddress']}-{given.get('upperAddress')}"
    if not isinstance(text, str):
        raise ValueError("neither text nor an object with cidrAddress, or with lowerAddress and upperAddress")
    text = text.strip()
    if "/" not in text and "-" not in text:
        text = f"{text}/{128 if ':' in text else 32}"
    span(text)
    return text


def locations(content: bytes) -> list[Location]:
    """A JSON list of locations or an answer of Graph (`value`); ipRanges as texts or as Graph has them. ValueError
    that says which is wrong."""
    try:
        given = msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise ValueError("not JSON") from None
    if isinstance(given, dict):
        given = given.get("value")
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
        raise ValueError("expected a JSON list of named locations, or an object with it as value")
    if len(given) > MAX_LOCATIONS:
        raise ValueError(f"{len(given):,} named locations; the most is {MAX_LOCATIONS:,}")
    found = []
    for number, each in enumerate(given, 1):
        try:
            found.append(location(each))
        except ValueError as error:
            raise ValueError(f"named location {number:,}: {error}") from None
    names = [each.name for each in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"two named locations are called {twice!r}")
    return found


def location(given: Mapping[str, Any]) -> Location:
    """ValueError where it is none."""
    name = given.get("displayName")
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_CHARACTERS:
        raise ValueError(f"needs a displayName of 1 to {MAX_NAME_CHARACTERS} characters")
    countries = given.get("countriesAndRegions") or []
    blocks = given.get("ipRanges") or []
    if not isinstance(blocks, list) or len(blocks) > MAX_BLOCKS:
        raise ValueError(f"ipRanges is a list of at most {MAX_BLOCKS:,}")
    ranges = []
    for number, each in enumerate(blocks):
        try:
            ranges.append(range_of(each))
        except ValueError as error:
            raise ValueError(f"ipRanges[{number}]: {error}") from None
    if not isinstance(countries, list) or not all(
        isinstance(each, str) and len(each) == 2 and each.isascii() and each.isalpha() for each in countries
    ):
        raise ValueError("countriesAndRegions takes two letters of ISO 3166-1 each")
    unknown = bool(given.get("includeUnknownCountriesAndRegions"))
    if bool(ranges) == bool(countries or unknown):
        raise ValueError("needs either ipRanges or countriesAndRegions")
    trusted = given.get("isTrusted") or False
    if not isinstance(trusted, bool):
        raise ValueError("isTrusted is true or false")
    return Location(name, trusted, tuple(ranges), tuple(each.upper() for each in countries), unknown)
