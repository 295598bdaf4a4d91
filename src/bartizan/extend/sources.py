"""A source: one format of a vendor's records, made alerts, events or Graph objects."""

from collections.abc import Iterator
from typing import Any, ClassVar

from msgspec import Struct

from bartizan.model.alert import Alert, Observed


class Record(Struct, frozen=True):
    """One raw record of a source: its bytes, its text, and its JSON where it is JSON (None otherwise)."""

    raw: bytes
    text: str
    data: Any


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

    def __init_subclass__(cls) -> None:
        if "name" in vars(cls):  # a shape that several formats share has none
            SOURCES[cls.name] = cls()

    def normalise(self, record: Record) -> Iterator[Alert | Event | GraphObject]:
        raise NotImplementedError


SOURCES: dict[str, Source] = {}
