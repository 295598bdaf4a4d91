"""The served part of the Graph schema as data: types, enums and navigation of one version, read from `edm.json`.

Types are flattened on first use; an instance is shared by all threads and never changes.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

Version = Literal["v1.0", "beta"]

GRAPH = "microsoft.graph."
LATE_MARK = "unknownFutureValue"


class Property(Struct, frozen=True):
    name: str
    type: str  # "Edm.String", "microsoft.graph.security.alertStatus", ... without Collection()
    collection: bool = False
    nullable: bool = True
    input: bool = False  # read from bodies; written only where it is set


class Navigation(Struct, frozen=True):
    name: str
    type: str
    collection: bool = False
    contained: bool = False


class StructuredType(Struct, frozen=True):
    """An entity or complex type; `properties` and `navigation` hold the inherited ones first."""

    name: str
    entity: bool
    base: str | None
    abstract: bool
    open: bool
    properties: Mapping[str, Property]
    navigation: Mapping[str, Navigation]
    derived: tuple[str, ...]  # all types below it, at any depth
    family: bool  # @odata.type is written: it or an ancestor (entity, directoryObject and such aside) has derived types
    dictionary: bool  # complex, and neither it nor a type below declares properties: its content is kept as it is
    folded: Mapping[str, Property | Navigation]  # by name in lower case, names of the documents included

    def find(self, name: str) -> Property | Navigation | None:
        """By name in any case."""
        found: Property | Navigation | None = self.properties.get(name) or self.folded.get(name.casefold())
        return found

    def members(self) -> Iterator[Property | Navigation]:
        yield from self.properties.values()
        yield from self.navigation.values()


class EnumType(Struct, frozen=True):
    name: str
    flags: bool
    members: Mapping[str, int | None]
    late: frozenset[str]  # members after unknownFutureValue
    folded: Mapping[str, str]  # by member in lower case, words of the documents included
    late_mark: str | None  # unknownFutureValue as this enum spells it

    def find(self, member: str) -> str | None:
        """The schema's spelling of a member in any case; for flags also a comma list."""
        if member in self.members:
            return member
        if not self.flags:
            return self.folded.get(member.casefold())
        found = [self.folded.get(part.strip().casefold()) for part in member.split(",")]
        return None if None in found else ",".join(dict.fromkeys(part for part in found if part is not None))


class Operation(Struct, frozen=True, rename={"bound_collection": "boundCollection"}):
    """A bound action or function; parameter and result types are words such as `Collection(Edm.String)!`."""

    name: str
    kind: Literal["action", "function"]
    bound: str
    bound_collection: bool = False
    params: dict[str, str] = {}
    returns: str | None = None


class _TypeFact(Struct):
    props: dict[str, str]
    nav: dict[str, str] = {}
    base: str | None = None
    entity: bool = False
    abstract: bool = False
    open: bool = False
    family: bool = False
    also: dict[str, str] = {}


class _EnumFact(Struct):
    members: dict[str, int | None]
    flags: bool = False
    also: dict[str, str] = {}


class _VersionFacts(Struct):
    types: dict[str, _TypeFact]
    enums: dict[str, _EnumFact]
    operations: tuple[Operation, ...]


def parse_word(word: str) -> tuple[str, bool, bool, str]:
    """Of such as `Collection(Edm.String)! input`: type, whether a collection, whether nullable, the mark behind it."""
    name, _, mark = word.partition(" ")
    nullable = not name.endswith("!")
    name = name.removesuffix("!")
    collection = name.startswith("Collection(")
    return (name[11:-1] if collection else name), collection, nullable, mark


class Schema:
    """One version's types."""

    def __init__(self, version: Version, facts: _VersionFacts) -> None:
        self.version: Version = version
        self._facts = facts
        self._types: dict[str, StructuredType] = {}
        self._enums: dict[str, EnumType] = {}
        self._below: dict[str, list[str]] = {}
        for name, fact in facts.types.items():
            if fact.base is not None:
                self._below.setdefault(fact.base, []).append(name)
        self._folded = {name.casefold(): name for name in facts.types}

    @property
    def operations(self) -> tuple[Operation, ...]:
        return self._facts.operations

    def type_names(self) -> list[str]:
        return list(self._facts.types)

    def enum_names(self) -> list[str]:
        return list(self._facts.enums)

    def type_name(self, text: str) -> str | None:
        """The type that an @odata.type names, in any case, with or without `#` or what stands before it."""
        return self._folded.get(text.rpartition("#")[2].casefold())

    def own(self, name: str) -> tuple[frozenset[str], frozenset[str]]:
        """The names of the properties and navigation that a type declares itself, without inherited ones."""
        fact = self._facts.types[name]
        return frozenset(fact.props), frozenset(fact.nav)

    def structured(self, name: str) -> StructuredType:
        """KeyError if the name is not served."""
        found = self._types.get(name)
        if found is None:
            found = self._types[name] = self._flatten(name)
        return found

    def enum(self, name: str) -> EnumType | None:
        found = self._enums.get(name)
        if found is None and name in self._facts.enums:
            fact = self._facts.enums[name]
            members = list(fact.members)
            mark = next((member for member in members if member.casefold() == LATE_MARK.casefold()), None)
            late = [] if mark is None else members[members.index(mark) + 1 :]
            folded = {word.casefold(): means for word, means in fact.also.items()}
            folded |= {member.casefold(): member for member in reversed(members)}
            found = EnumType(name, fact.flags, fact.members, frozenset(late), folded, mark)
            self._enums[name] = found
        return found

    def _flatten(self, name: str) -> StructuredType:
        fact = self._facts.types[name]
        above = None if fact.base is None else self.structured(fact.base)
        properties = {} if above is None else dict(above.properties)
        navigation = {} if above is None else dict(above.navigation)
        for prop, word in fact.props.items():
            type_name, collection, nullable, mark = parse_word(word)
            properties[prop] = Property(prop, type_name, collection, nullable, mark == "input")
        for nav, word in fact.nav.items():
            type_name, collection, _, mark = parse_word(word)
            navigation[nav] = Navigation(nav, type_name, collection, mark == "contained")
        folded: dict[str, Property | Navigation] = {key.casefold(): value for key, value in navigation.items()}
        folded |= {word.casefold(): properties[means] for word, means in fact.also.items()}
        folded |= {key.casefold(): value for key, value in properties.items()}
        is_open = fact.open or (above is not None and above.open)
        below = self._all_below(name)
        declared = bool(properties) or any(self._facts.types[each].props for each in below)
        return StructuredType(
            name=name,
            entity=fact.entity,
            base=fact.base,
            abstract=fact.abstract,
            open=is_open,
            properties=properties,
            navigation=navigation,
            derived=tuple(below),
            family=fact.family,
            dictionary=not declared and not fact.entity and (is_open or name == GRAPH + "Json"),
            folded=folded,
        )

    def _all_below(self, name: str) -> list[str]:
        found = []
        for lower in self._below.get(name, []):
            found.append(lower)
            found += self._all_below(lower)
        return found


@cache
def _facts() -> dict[Version, _VersionFacts]:
    data = Path(__file__).with_name("edm.json").read_bytes()
    return msgspec.json.decode(data, type=dict[Version, _VersionFacts])


@cache
def schema(version: Version) -> Schema:
    """The one instance of a version."""
    return Schema(version, _facts()[version])
