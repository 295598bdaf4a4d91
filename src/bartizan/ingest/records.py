"""A body or a file as records: bytes, text, JSON value; every size is bounded before anything is stored."""

import io
import json
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from bartizan.errors import BadRequest, TooLarge
from bartizan.extend import Record
from bartizan.ingest import evtx

MAX_BODY_BYTES = 64 * 2**20
MAX_RECORD_BYTES = 2**20
MAX_EVTX_BYTES = 4 * MAX_BODY_BYTES  # of the records of one body: events in binary form grow as text
MAX_RECORDS = 100_000  # of one body
MAX_ARRAY_VALUES = 5_000_000  # commas in an array, which is decoded whole; lines have no such bound
MAX_DEPTH = 64  # of a record's JSON; the deepest real one had 14

_BOM = b"\xef\xbb\xbf"
_FOREIGN_BOMS = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
_GZIP = b"\x1f\x8b"
_ARRAY = re.compile(rb"\[\s*(?:[\[{\"\]]|$)")
_LOOKED_AT = 4_096  # bytes in which binary shows
_SURROGATE = re.compile("[\ud800-\udfff]")

_decode = msgspec.json.Decoder().decode
_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode
_whole = msgspec.json.Decoder(msgspec.Raw).decode
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_string = msgspec.json.Decoder(str).decode
_BAD = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Unreadable(ValueError):
    """A line that gives no record: the member that holds it is missing, or it is too large."""


def gunzip(content: bytes, limit: int = MAX_BODY_BYTES) -> bytes:
    """All members of a gzip stream. BadRequest where it is broken, TooLarge above `limit`."""
    parts: list[bytes] = []
    left = limit
    while content:
        member = zlib.decompressobj(wbits=31)
        try:
            parts.append(member.decompress(content, left + 1))
        except zlib.error as error:
            raise BadRequest(f"the body is no valid gzip: {error}") from None
        left -= len(parts[-1])
        if left < 0:
            raise TooLarge(f"the body has more than {limit} bytes uncompressed: send it in parts")
        if not member.eof:
            raise BadRequest("the body is no valid gzip: it ends early")
        content = member.unused_data
    return b"".join(parts)


def is_gzip(content: bytes) -> bool:
    return content.startswith(_GZIP)


def split(body: bytes, *, max_record_bytes: int = MAX_RECORD_BYTES, max_records: int = MAX_RECORDS) -> list[bytes]:
    """The raw records of a body, in order. BadRequest where it cannot be read at all, TooLarge above a bound."""
    raws: list[bytes] = []
    left = MAX_EVTX_BYTES
    for raw in evtx.events(io.BytesIO(body)) if evtx.is_evtx(body) else _parts(_plain(body)):
        left -= len(raw)
        if left < 0:
            raise TooLarge(f"the body holds more than {MAX_EVTX_BYTES} bytes of records: send it in parts")
        if len(raw) > max_record_bytes:
            raise TooLarge(f"record {len(raws) + 1} has {len(raw)} bytes; the most is {max_record_bytes}")
        raws.append(raw)
        if len(raws) > max_records:
            raise TooLarge(f"the body has more than {max_records} records: send it in parts")
    return raws


def _plain(body: bytes) -> bytes:
    if body.startswith(_FOREIGN_BOMS):
        raise BadRequest("the body is UTF-16 or UTF-32: send UTF-8")
    body = body.removeprefix(_BOM)
    if b"\0" in body[:_LOOKED_AT]:
        raise BadRequest("the body is binary: send UTF-8 text, or gzip of it")
    return body


def _parts(body: bytes) -> Iterator[bytes]:
    begin = body[:_LOOKED_AT].lstrip()[:1]
    if begin == b"[" and (found := _array(body)) is not None:
        return iter(found)
    if begin == b"{":
        return iter(_objects(body))
    return lines(body)


def lines(body: bytes) -> Iterator[bytes]:
    """Lines that are not blank, without their end; an array in one line gives its elements."""
    start = 0
    while start < len(body):
        end = body.find(b"\n", start)
        end = len(body) if end < 0 else end
        line = body[start:end].rstrip(b"\r")
        start = end + 1
        if not line.strip():
            continue
        if line.lstrip()[:1] == b"[" and (found := _one_array(line)) is not None:
            yield from found
        else:
            yield line


def _array(body: bytes) -> list[bytes] | None:
    """None where the body is lines that begin with a bracket."""
    found = _one_array(body)
    if found is not None:
        return found
    first = body.strip().partition(b"\n")[0]
    if _ARRAY.match(body.lstrip()) and (first.strip() == b"[" or not _is_json(first)):
        raise BadRequest("the body begins as a JSON array and is no valid JSON; nothing was stored")
    return None


def _one_array(text: bytes) -> list[bytes] | None:
    if text.count(b",") > MAX_ARRAY_VALUES:
        raise TooLarge(f"the array holds more than {MAX_ARRAY_VALUES} values: send JSON lines")
    try:
        return [bytes(raw).strip() for raw in _elements(text)]
    except _BAD:
        return None


def objects(body: bytes) -> list[bytes]:
    """JSON values one after another, with or without space between them, as bytes. BadRequest where they are none."""
    found = list(lines(body))
    if all(_is_json(line) for line in found):
        return found
    values = _sequence(body.strip())
    if values is None:
        raise BadRequest("the body is no sequence of JSON objects")
    return values


def text_of(raw: bytes) -> bytes | None:
    """The text of a JSON string; None where the bytes are another value."""
    return _quoted(raw) if raw[:1] == b'"' else None


def _objects(body: bytes) -> list[bytes]:
    """One object, several that are printed over many lines, or lines of which most are JSON."""
    text = body.strip()
    if _is_json(text):
        return [text]
    found = list(lines(body))
    good = sum(1 for line in found if _is_json(line))
    if good == len(found) or len(found) == 1:
        return found
    values = _sequence(text)
    if values is None and good == 0:
        raise BadRequest("the body begins as a JSON object and is no valid JSON; nothing was stored")
    return found if values is None else values


def _sequence(text: bytes) -> list[bytes] | None:
    """Values one after another, with space between them."""
    try:
        shown = text.decode()
        scan, at, found = json.JSONDecoder().raw_decode, 0, []
        while at < len(shown):
            _, end = scan(shown, at)
            found.append(shown[at:end].encode())
            at = end
            while at < len(shown) and shown[at] in " \t\r\n":
                at += 1
    except (ValueError, RecursionError):
        return None
    return found


def _is_json(text: bytes) -> bool:
    try:
        _whole(text)
    except _BAD:
        return False
    return True


# ---------------------------------------------------------------- one record


def record(raw: bytes) -> Record:
    """What a line or an array element holds. JSON that is deeper than MAX_DEPTH stays text."""
    begin = raw.lstrip()[:1]
    data: Any = None
    if begin == b'"' and (quoted := _quoted(raw)) is not None and quoted.strip():
        return record(quoted) if quoted.lstrip()[:1] != b'"' else _text(quoted)
    if begin in (b"{", b"["):
        data = _json(raw)
    return Record(raw=raw, text=raw.decode("utf-8", "backslashreplace"), data=data)


def _text(raw: bytes) -> Record:
    return Record(raw=raw, text=raw.decode("utf-8", "backslashreplace"), data=None)


def _quoted(raw: bytes) -> bytes | None:
    try:
        return _string(raw).encode()
    except _BAD:
        return None


def _json(raw: bytes) -> Any:
    try:
        data = _decode(raw)
    except _BAD:
        data = _lenient(raw)
    return None if _too_deep(data, raw) else data


def _lenient(raw: bytes) -> Any:
    """What some take for JSON: NaN, half a surrogate pair, bytes that are no UTF-8, control characters."""
    try:
        return _clean(json.loads(raw.decode("utf-8", "replace"), strict=False, parse_constant=str, parse_float=_number))
    except (ValueError, RecursionError):
        return None


def _number(text: str) -> float | str:
    value = float(text)
    return value if abs(value) != float("inf") else text


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_clean(name): _clean(item) for name, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, list) else value


def _too_deep(data: Any, raw: bytes) -> bool:
    if raw.count(b"{") + raw.count(b"[") <= MAX_DEPTH:
        return False
    level: list[Any] = [data]
    for _ in range(MAX_DEPTH):
        level = [
            item
            for value in level
            for item in (value.values() if isinstance(value, dict) else value if isinstance(value, list) else ())
            if isinstance(item, dict | list)
        ]
        if not level:
            return False
    return True


def member(raw: bytes, field: str) -> bytes:
    """The record in a member of a line's object: the bytes of its JSON as they stand there, or a string's own text.

    Unreadable where the line is no object or has no such member.
    """
    try:
        found = _members(raw).get(field)
    except _BAD as error:
        raise Unreadable(f"the line is no JSON object: {error}") from None
    if found is None:
        raise Unreadable(f"the line has no member '{field}'")
    text = bytes(found).strip()
    if text[:1] == b'"':
        quoted = _quoted(text)
        return text if quoted is None else quoted
    return text


def checked(raw: bytes) -> bytes:
    """Unreadable above MAX_RECORD_BYTES."""
    if len(raw) > MAX_RECORD_BYTES:
        raise Unreadable(f"the record has {len(raw)} bytes; the most is {MAX_RECORD_BYTES}")
    return raw


def reader(field: str | None) -> Callable[[bytes], bytes]:
    """How a line gives its record."""
    return (lambda raw: raw) if field is None else (lambda raw: member(raw, field))
