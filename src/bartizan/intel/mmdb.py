"""Operators' own databases in MaxMind's format -> places. They are read once, at import, into our own arrays: all
processes see them then, and a look-up costs less than the format's.

Source: MaxMind DB File Format Specification 2.0; GeoLite2/GeoIP2 and DB-IP databases of ASN, country and city.
"""

from math import inf
from pathlib import Path
from typing import Any

from bartizan.errors import BadRequest
from bartizan.intel.ranges import Span, folded
from bartizan.intel.tables import MAX_NAME_CHARACTERS, Places, plain

_MARK = b"\xab\xcd\xefMaxMind.com"
_TAIL_BYTES = 128 * 1024  # in which the mark of the metadata stands


def is_mmdb(path: Path) -> bool:
    """By the mark at its end."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        return _MARK in file.read(_TAIL_BYTES)


def places(path: Path, until: float = inf) -> tuple[Places, int]:
    """And the number of networks. BadRequest without the extra package, ValueError where the file is broken."""
    try:
        import maxminddb
    except ImportError:
        raise BadRequest(f"{path.name} is a MaxMind database: install bartizan[geo] to read it") from None
    made, rows = Places(until), 0
    try:
        with maxminddb.open_database(path) as reader:
            for network, record in reader:
                fields = _fields(record) if isinstance(record, dict) else {}
                if fields:
                    first, last = int(network.network_address), int(network.broadcast_address)
                    made.add(folded(Span(network.version == 6, first, last)), **fields)
                    rows += 1
    except (maxminddb.InvalidDatabaseError, UnicodeDecodeError) as error:
        raise ValueError(f"not a MaxMind database that can be read: {error}") from None
    return made, rows


def _fields(record: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    asn = record.get("autonomous_system_number")
    if isinstance(asn, int) and 0 < asn < 2**32:
        found["asn"] = asn
        found["organisation"] = _text(record.get("autonomous_system_organization"))
    country = record.get("country") or record.get("registered_country")
    code = country.get("iso_code") if isinstance(country, dict) else record.get("country_code")
    if isinstance(code, str) and len(code) == 2 and code.isascii() and code.isalpha():
        found["country"] = code.upper()
    city = record.get("city")
    names = city.get("names") if isinstance(city, dict) else None
    city_name = _text(names.get("en") if isinstance(names, dict) else city)
    if city_name:
        found["city"] = city_name
    parts = record.get("subdivisions")  # the largest first
    part = parts[0] if isinstance(parts, list) and parts else record.get("state1")
    part_names = part.get("names") if isinstance(part, dict) else None
    state = _text(part_names.get("en") if isinstance(part_names, dict) else part)
    if state:
        found["state"] = state
    place = record.get("location") if isinstance(record.get("location"), dict) else record
    assert isinstance(place, dict)
    latitude, longitude = place.get("latitude"), place.get("longitude")
    if _degrees(latitude, 90) and _degrees(longitude, 180):
        found["latitude"], found["longitude"] = repr(float(latitude or 0)), repr(float(longitude or 0))
    return found


def _degrees(value: Any, most: int) -> bool:
    return isinstance(value, int | float) and abs(value) <= most


def _text(value: Any) -> str:
    return plain(value)[:MAX_NAME_CHARACTERS] if isinstance(value, str) else ""
