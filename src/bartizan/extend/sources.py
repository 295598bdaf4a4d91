"""A source: one format of a vendor's records, made alerts, events or Graph objects."""

import re
from collections.abc import Iterator
from typing import Any, ClassVar

from msgspec import Struct

from bartizan.model.alert import Alert, Observed


class Said(Struct, frozen=True):
    """What the way by which a record came says of it, where the record itself may be silent."""

    at: str | None = None  # wire text
    host: str | None = None
    origin: str | None = None  # a file, a listener
    kind: str | None = None  # the sender's name of the format, such as Splunk's sourcetype
    apart: bool = False  # what it holds (the alerts of an incident) comes by itself as records of its own


class Record(Struct, frozen=True):
    """One raw record of a source: its bytes, its text, and its JSON where it is JSON (None otherwise)."""

    raw: bytes
    text: str
    data: Any
    said: Said | None = None


class Event(Struct, frozen=True):
    """What happened, as a source said: a row of a lake table, with the entities that it names."""

    table: str
    row: dict[str, Any]  # column -> value; unknown columns go to AdditionalFields
    entities: tuple[Observed, ...] = ()


class GraphObject(Struct, frozen=True):
    """A record that is a Graph document of its own (an Okta sign-in becomes a signIn): inner form, with its id."""

    collection: str  # "signIns"
    type: str  # "microsoft.graph.signIn"
    body: dict[str, Any]
    entities: tuple[Observed, ...] = ()


class Source:
    """A format. Subclass it in a file of `sources/`; `normalise` is pure and never raises on odd input that it can
    describe.

    A record that the source does not know becomes an Event of the table `name` guesses best, never nothing.
    """

    name: ClassVar[str]
    vendor: ClassVar[str]
    product: ClassVar[str]
    # How a record is recognised: sets of paths ("event_type+flow_id kind=audit*", spaces between sets) that its JSON
    # has, or what its text matches. The set with most paths wins (one with a value counts as two), of patterns the one
    # that fits most of the text.
    marks: ClassVar[str] = ""
    pattern: ClassVar[re.Pattern[str] | None] = None
    sourcetypes: ClassVar[tuple[str, ...]] = ()  # its names in Splunk, in lower case; "pan:*" stands for all of pan

    def __init_subclass__(cls) -> None:
        if "name" in vars(cls):  # a shape that several formats share has none
            SOURCES[cls.name] = cls()

    def chosen(self, record: Record) -> "Source":
        """The source that reads this record: itself, but for one that only recognises others' records."""
        return self

    def normalise(self, record: Record) -> Iterator[Alert | Event | GraphObject]:
        raise NotImplementedError


SOURCES: dict[str, Source] = {}
