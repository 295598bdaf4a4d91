"""Which source a record is of, by its content or by the name that a sender gives its format.

Every source declares what marks its records (`Source.marks`, `Source.pattern`, `Source.sourcetypes`).
"""

from collections.abc import Iterator
from fnmatch import fnmatchcase

from bartizan.extend import SOURCES, Event, GraphObject, Record, Source
from bartizan.model.alert import Alert
from bartizan.sources.fields import Fields, objects_of

MAX_LOOKED_AT = 8_192  # characters of a line
# Keys under which products put lists of their records, so that the first of the list shows whose they are.
_PAGES = ("Records", "records", "value", "events", "alerts", "data", "items", "results", "findings", "logs")
_INSIDE = ("event", "raw", "message", "detail", "_source", "@raw", "log")


def detect(record: Record) -> str | None:
    """The name of the source whose marks fit best; None where none does."""
    best: tuple[int, str] | None = None
    for fields in _views(record):
        found = max(_scores(fields), default=None)
        if found is not None and (best is None or found > best):
            best = found
    if best is not None:
        return best[1]
    if record.data is None:
        return _of_text(record.text[:MAX_LOOKED_AT])
    inner = Fields(record.data).text(*_INSIDE) if isinstance(record.data, dict) else None
    return _of_text(inner[:MAX_LOOKED_AT]) if inner else None


def _views(record: Record) -> Iterator[Fields]:
    """The record itself, and the first of the records that it holds."""
    for fields in objects_of(record)[:1]:
        yield fields
        for name in _PAGES:
            inside = fields.objects(name)
            if inside:
                yield inside[0]
                break


def _scores(fields: Fields) -> Iterator[tuple[int, str]]:
    for name, source in SOURCES.items():
        for marks in source.marks.split():
            paths = marks.split("+")
            if all(_marked(fields, path) for path in paths):
                yield len(paths), name


def _marked(fields: Fields, path: str) -> bool:
    """A path that is there, or "path=value" that holds that text."""
    at, equals, value = path.partition("=")
    if equals:
        return (fields.text(at) or "").lower() == value.lower()
    return fields.has(at)


def _of_text(text: str) -> str | None:
    found = [
        (len(source.pattern.pattern), name)
        for name, source in SOURCES.items()
        if source.pattern is not None and source.pattern.search(text)
    ]
    return max(found)[1] if found else None


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
