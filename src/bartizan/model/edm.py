"""The served part of the Graph schema at run time: types, enums, navigation; per version.

`make generate` writes `edm.json` from `schema/`; this module reads it once and answers what a name means. Two
functions carry the wire: `render` (inner object -> the documented shape of a version) and `accept` (a client's body -> inner object).

The **inner form** of an object is a dict of JSON values: the beta superset of properties plus what v1.0 alone has, names
and enum members as the schema spells them, instants as in `model.times`, `@odata.type` ("#microsoft.graph.x") where a
family has derived types. Properties that are absent are unset.

Source: OData CSDL 4.01; names and members as Microsoft Graph publishes them.
"""

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

Version = Literal["v1.0", "beta"]


class Property(Struct, frozen=True):
    name: str
    type: str  # "Edm.String", "microsoft.graph.security.alertStatus", ... without Collection()
    collection: bool = False
    nullable: bool = True


class Navigation(Struct, frozen=True):
    name: str
    type: str
    collection: bool = False


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
    family: bool  # it or an ancestor (entity and directoryObject's root aside) has derived types: @odata.type is written

    def find(self, name: str) -> Property | Navigation | None:
        """By name in any case."""
        raise NotImplementedError


class EnumType(Struct, frozen=True):
    name: str
    flags: bool
    members: Mapping[str, int | None]
    late: frozenset[str]  # members after unknownFutureValue

    def find(self, member: str) -> str | None:
        """The schema's spelling of a member in any case; for flags also a comma list."""
        raise NotImplementedError


class Edm:
    """The types of one version."""

    version: Version

    def structured(self, name: str) -> StructuredType:
        """KeyError if the name is not served."""
        raise NotImplementedError

    def enum(self, name: str) -> EnumType | None:
        raise NotImplementedError

    def render(self, type_name: str, inner: Mapping[str, Any]) -> dict[str, Any]:
        """The documented shape: every property of the type, null (or [] for a collection) where unset, none that the version lacks
        (unless the type is open), `@odata.type` first in families, nested values alike."""
        raise NotImplementedError

    def accept(self, type_name: str, body: Any, *, partial: bool = False) -> dict[str, Any]:
        """A client's JSON made inner: names and enum members in any case, instants in any ISO form. BadRequest names the
        path and what would be right: unknown property (kept where the type is open), wrong type, unknown member.
        With `partial` only what is named is returned (PATCH)."""
        raise NotImplementedError

    def evolvable(self, type_name: str, inner: Mapping[str, Any]) -> bool:
        """Whether some enum value is a member after unknownFutureValue."""
        raise NotImplementedError

    def mask(self, type_name: str, wire: dict[str, Any]) -> dict[str, Any]:
        """The same with such members replaced by unknownFutureValue."""
        raise NotImplementedError


def edm(version: Version) -> Edm:
    """The one instance of a version."""
    raise NotImplementedError
