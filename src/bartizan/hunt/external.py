"""Files of external data as records of texts, in the process of the hunt: nothing that was fetched is read elsewhere.

What a record lacks is an empty text, and what it has beyond the columns is left out, as in Kusto. Of JSON a column is
the property of its name.

Source: Kusto, "externaldata operator", "Data formats supported for ingestion"; RFC 4180; RFC 1952; RFC 8259.
"""

import csv
import io
import json
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from bartizan.hunt.fault import KqlError
from bartizan.hunt.tree import Scalar

AT_ONCE = 5_000  # records
MAX_FIELD_CHARS = 2**20
SEPARATED = {"csv": ",", "tsv": "\t", "psv": "|", "scsv": ";", "sohsv": "\x01"}
FORMATS = (*SEPARATED, "txt", "raw", "json", "multijson")
COMPRESSED = (".gz", ".zip")
_GZIP = 31  # zlib's word for a header of gzip and the largest window

csv.field_size_limit(MAX_FIELD_CHARS)


class Options(Struct, frozen=True):
    """What stands behind `with`."""

    format: str = ""  # empty: what the file's name ends with says it
    skip_first: bool = False

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "Options":
        """KqlError for one that is not known, or not supported."""
        made = cls()
        for name, value in given.items():
            match name.lower():
                case "format":
                    made = cls(_format(str(value)), made.skip_first)
                case "ignorefirstrecord":
                    made = cls(made.format, str(value).lower() == "true")
                case _:
                    raise KqlError("plan", f"externaldata: the option '{name}' is not supported")
        return made

    def of_file(self, uri: str) -> "Options":
        """With the format that the file's name says, where none was said."""
        return self if self.format else Options(_by_name(uri), self.skip_first)


def _format(name: str) -> str:
    if name.lower() not in FORMATS:
        raise KqlError("plan", f"externaldata: the format '{name}' is not supported; {', '.join(FORMATS)} are")
    return name.lower()


def _name(uri: str) -> str:
    return urlsplit(uri).path.rpartition("/")[2].lower()


def _by_name(uri: str) -> str:
    name = _name(uri)
    for each in COMPRESSED:
        name = name.removesuffix(each)
    end = name.rpartition(".")[2] if "." in name else ""
    return end if end in FORMATS else "csv"


def dynamics(columns: Sequence[tuple[str, Scalar]]) -> frozenset[int]:
    """The places of those whose values are JSON."""
    return frozenset(at for at, (_, type_) in enumerate(columns) if type_ == "dynamic")


# ------------------------------------------------------------------ bytes to text


def opened(uri: str, content: bytes, most: int) -> str:
    """The text of a file, unpacked where its name ends with .gz or .zip. KqlError: it is too large, broken, or no
    UTF-8."""
    name = _name(uri)
    try:
        if name.endswith(".gz"):
            content = _gunzipped(content, most)
        elif name.endswith(".zip"):
            content = _unzipped(content, most)
    except (zlib.error, zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as problem:
        raise KqlError("run", f"external data: {name} is no {name.rpartition('.')[2]} file: {problem}") from None
    if len(content) > most:
        raise _too_large()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise KqlError("run", f"external data: {name or uri} is not UTF-8 (byte {problem.start + 1})") from None


def _too_large() -> KqlError:
    return KqlError("run", "external data is larger, unpacked, than a query may take")


def _gunzipped(content: bytes, most: int) -> bytes:
    """Of one member or of several behind one another."""
    made = bytearray()
    while content:
        reader = zlib.decompressobj(_GZIP)
        made += reader.decompress(content, most + 1 - len(made))
        if len(made) > most:
            raise _too_large()
        if not reader.eof:
            raise EOFError("it ends early")
        content = reader.unused_data.lstrip(b"\0")
    return bytes(made)


def _unzipped(content: bytes, most: int) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = [each for each in archive.infolist() if not each.is_dir()]
        if len(files) != 1:
            raise KqlError("run", f"external data: the archive holds {len(files)} files; one is taken")
        with archive.open(files[0]) as file:
            return file.read(most + 1)


# ------------------------------------------------------------------ text to records


def records(text: str, names: Sequence[str], options: Options, *, wanted: frozenset[int]) -> Iterator[list[list[str]]]:
    """Some at a time, each with a text for each column; `wanted`: the columns that want JSON as it stands."""
    every = iter(_records(text, names, options.format, wanted))
    if options.skip_first:
        next(every, None)
    while part := list(islice(every, AT_ONCE)):
        yield part


def _records(text: str, names: Sequence[str], format: str, wanted: frozenset[int]) -> Iterable[list[str]]:
    width = len(names)
    match format:
        case "raw":
            return [_wide([text], width)]
        case "txt":
            return (_wide([line], width) for line in text.replace("\r\n", "\n").split("\n") if line)
        case "json":
            return _of_lines(text, names, wanted)
        case "multijson":
            return (_of_object(each, names, wanted, number) for number, each in enumerate(_objects(text), 1))
    return _separated(text, SEPARATED[format], width)


def _wide(fields: list[str], width: int) -> list[str]:
    return fields[:width] if len(fields) >= width else fields + [""] * (width - len(fields))


def _separated(text: str, separator: str, width: int) -> Iterator[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        for fields in reader:
            if fields:
                yield _wide(fields, width)
    except csv.Error as problem:
        raise KqlError("run", f"external data: line {reader.line_num}: {problem}") from None


def _of_lines(text: str, names: Sequence[str], wanted: frozenset[int]) -> Iterator[list[str]]:
    for number, line in enumerate(io.StringIO(text, newline="\n"), 1):
        if line.strip():
            yield _of_object(line, names, wanted, number)


_properties = msgspec.json.Decoder(dict[str, msgspec.Raw])


def _of_object(text: str, names: Sequence[str], wanted: frozenset[int], number: int) -> list[str]:
    try:
        found = _properties.decode(text)
        return [_text(bytes(found.get(name, b"null")), at in wanted) for at, name in enumerate(names)]
    except (msgspec.DecodeError, RecursionError) as problem:
        hint = "; JSON that is no object on each line has the format multijson" if number == 1 else ""
        raise KqlError("run", f"external data: record {number} is no JSON object: {problem}{hint}") from None


def _text(raw: bytes, as_json: bool) -> str:
    if raw == b"null":
        return ""
    if raw.startswith(b'"') and not as_json:
        return msgspec.json.decode(raw, type=str)
    return raw.decode()


def _objects(text: str) -> Iterator[str]:
    """The texts of the objects of a file: behind one another, or in one array."""
    decoder, text = json.JSONDecoder(), text.strip()
    try:
        if text.startswith("["):
            yield from (bytes(each).decode() for each in msgspec.json.decode(text, type=list[msgspec.Raw]))
            return
        at = 0
        while at < len(text):
            _, end = decoder.raw_decode(text, at)
            yield text[at:end]
            at = end + len(text[end:]) - len(text[end:].lstrip())
    except (ValueError, RecursionError) as problem:
        raise KqlError("run", f"external data: no JSON: {problem}") from None
