"""Which source a record is of, by its content or by the name that a sender gives its format.

Every source declares what marks its records (`Source.marks`, `Source.pattern`, `Source.sourcetypes`).
"""

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from typing import Any, NamedTuple

from bartizan.extend import SOURCES, Event, GraphObject, Record, Source
from bartizan.model.alert import Alert
from bartizan.sources import common_security_log, envelopes
from bartizan.sources.fields import Fields, lines_of, object_in, objects_of, read_held

MAX_LOOKED_AT = 8_192  # characters of a line
# Keys under which products put lists of their records, so that the first of the list shows whose they are.
_PAGES = (
    "Records", "value", "events", "alerts", "data", "items", "results", "result", "findings", "logs", "entries",
    "resources", "listFindingsResults", "logEvents", "authlogs", "audits",
)  # fmt: skip
# Keys under which collectors put the record that they took, as an object or as the text that it was.
_INSIDE = ("event", "raw", "message", "detail", "_source", "@raw", "_raw", "log", "event.original")
_MAX_WRAPPED = 3  # texts within texts


def detect(record: Record) -> str | None:
    """The name of the source whose marks fit best; None where none does.

    What an envelope holds says more than the envelope, which some sources send themselves.
    """
    if record.data is None:
        return _of_line(record.text)
    held = envelopes.inside(record.data) if isinstance(record.data, dict) else None
    if held is not None and (name := _of_held(read_held(held))) is not None:
        return name
    for found in (objects_of(record, taken=False), objects_of(record)):
        for fields in found[:1]:
            if (name := _of_object(fields)) is not None:
                return name
    return next((name for text in lines_of(record)[:1] if (name := _of_line(text)) is not None), None)


def _of_held(held: Any) -> str | None:
    """By what an envelope holds: the first of its lines of text or of its objects, which may be wrapped in turn."""
    one = next(iter(held), None) if isinstance(held, list) else held
    if isinstance(one, str):
        return _of_line(one)
    if not isinstance(one, dict):
        return None
    found = (_of_object(fields) for fields in (Fields(one), *objects_of(Record(b"", "", one))[:1]))
    return next((name for name in found if name is not None), None)


def _of_object(fields: Fields, depth: int = 0) -> str | None:
    """By the object itself; else by what it holds, be it a list of records or one that a collector wrapped."""
    inside = list(_held(fields))
    if (best := _best([fields]) or _best(inside)) is not None:
        return best
    for view in (fields, *inside):
        for text in (view.text(key) for key in _INSIDE):
            if text is not None and depth < _MAX_WRAPPED and (found := _of_line(text, depth + 1)) is not None:
                return found
    return None


def _of_line(text: str, depth: int = 0) -> str | None:
    """By the object that stands in the line behind a header, else by the line's own form."""
    begin = text.find("{", 0, MAX_LOOKED_AT)
    inside = object_in(text[begin:]) if begin >= 0 else None
    found = _of_object(Fields(inside), depth) if isinstance(inside, dict) else None
    return found or _of_text(text[:MAX_LOOKED_AT])


def _held(fields: Fields) -> Iterator[Fields]:
    for name in _PAGES:
        yield from fields.objects(name)[:1]
    for name in _INSIDE:
        if inside := fields.object(name):
            yield inside


def _best(views: list[Fields]) -> str | None:
    found = max((score for view in views for score in _scores(view)), default=None)
    return found[1] if found is not None else None


class _Marks(NamedTuple):
    """One set of marks: its weight (a path counts one, a path and its value two), whose it is, paths and values."""

    weight: int
    name: str
    paths: tuple[tuple[str, str], ...]


@cache
def _by_key(sources: tuple[Source, ...]) -> dict[str, list[_Marks]]:
    """The sets by the keys, in lower case, of which an object must have one for the first path of the set."""
    index: dict[str, list[_Marks]] = {}
    for source in sources:
        for marks in source.marks.split():
            parts = [path.partition("=") for path in marks.split("+")]
            paths = tuple((at, value.lower()) for at, _, value in parts)
            weight = sum(2 if value else 1 for _, value in paths)
            for key in {paths[0][0].lower(), paths[0][0].partition(".")[0].lower()}:
                index.setdefault(key, []).append(_Marks(weight, source.name, paths))
    return index


def _scores(fields: Fields) -> Iterator[tuple[int, str]]:
    index = _by_key(tuple(SOURCES.values()))
    keys = {key.lower() for key in fields.data if isinstance(key, str)}
    keys |= {key.partition(".")[0] for key in keys if "." in key}  # of keys of several steps the first as well
    for key in keys & index.keys():
        for marks in index[key]:
            if all(_marked(fields, keys, at, value) for at, value in marks.paths):
                yield marks.weight, marks.name


def _marked(fields: Fields, keys: set[str], at: str, value: str) -> bool:
    """A path that is there, or one that holds that text ("*" stands for any)."""
    path = at.lower()
    if path not in keys and path.partition(".")[0] not in keys:
        return False
    return fnmatchcase((fields.text(at) or "").lower(), value) if value else fields.has(at)


def _of_text(text: str) -> str | None:
    """By the pattern that fits most of the text: a vendor's own says more than that of the form."""
    found = [
        (match.end() - match.start(), name)
        for name, source in SOURCES.items()
        if source.pattern is not None and (match := source.pattern.search(text)) is not None
    ]
    best = max(found)[1] if found else None
    return (_of_vendor(text) or best) if best in _FORMS else best


_FORMS = frozenset({"cef_generic", "leef_generic"})  # what a text is of that no vendor's own pattern fits
_MADE_BY = re.compile(common_security_log.BEGINS + r"([^|]{1,80})\|([^|]{0,80})\|")


def _of_vendor(text: str) -> str | None:
    """By the vendor in the header of CEF or LEEF, where one source alone is of it, or of it and the product."""
    if (made := _MADE_BY.search(text)) is None:
        return None
    vendor, product = _folded(made[1]), _folded(made[2])
    by = _vendors(tuple(SOURCES.values())).get(vendor, ())
    if len(by) > 1 or not all(name.startswith(vendor) for name in by):  # a vendor of more than the source is of
        by = [one for one in by if product and _folded(SOURCES[one].product) == product]
    return by[0] if len(by) == 1 else None


@cache
def _vendors(sources: tuple[Source, ...]) -> dict[str, list[str]]:
    """A vendor's name -> the sources of it."""
    found: dict[str, list[str]] = {}
    for source in sources:
        found.setdefault(_folded(source.vendor), []).append(source.name)
    return found


def _folded(word: str) -> str:
    """The first word, which is what the spellings of a company's name share: "Thinkst Applied Research"."""
    return "".join(letter for letter in word.lower().split(" ")[0] if letter.isalnum())


def of_sourcetype(word: str) -> str | None:
    """The source that a sender's name of the format means: our own name of it, or one that Splunk uses."""
    folded = word.strip().lower()
    if folded in SOURCES and folded != Auto.name:
        return folded
    for name, source in SOURCES.items():
        if any(fnmatchcase(folded, pattern) for pattern in source.sourcetypes):
            return name
    return None


class Auto(Source):
    """Each record by the source that its content shows; what none knows as the generic one reads it."""

    name = "auto"
    vendor = "Any"
    product = "recognised by content"

    def chosen(self, record: Record) -> Source:
        said = record.said.kind if record.said is not None else None
        return SOURCES[(of_sourcetype(said) if said else None) or detect(record) or "generic"]

    def normalise(self, record: Record) -> Iterator[Alert | Event | GraphObject]:
        yield from self.chosen(record).normalise(record)
