"""The served part of the Graph schema at run time: types, enums, navigation; per version.

`make generate` writes `edm.json` from `schema/`; this module answers what a name means. Two functions carry the wire:
`render` (inner object -> the documented shape of a version) and `accept` (a client's body -> inner object).

The **inner form** of an object is a dict of JSON values: the beta superset of properties plus what v1.0 alone has,
names and enum members as the schema spells them, instants as in `model.times`, `@odata.type` ("#microsoft.graph.x")
where a family has derived types. Properties that are absent are unset.

Source: OData CSDL 4.01; names and members as Microsoft Graph publishes them.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from bartizan.model.accept import Acceptor
from bartizan.model.render import Done, Masker, Renderer
from bartizan.model.schema import (
    EnumType,
    Navigation,
    Operation,
    Property,
    StructuredType,
    Version,
    schema,
)

__all__ = ["Edm", "EnumType", "Navigation", "Operation", "Property", "StructuredType", "Version", "edm"]


class Edm:
    """The types of one version. What names a type that is not served raises KeyError."""

    def __init__(self, version: Version) -> None:
        self.version: Version = version
        self._schema = schema(version)
        other = schema("beta" if version == "v1.0" else "v1.0")
        self._renderer = Renderer(self._schema, other)
        self._acceptor = Acceptor(self._schema, other)
        self._masker: Masker | None = None

    def structured(self, name: str) -> StructuredType:
        """KeyError if the name is not served."""
        return self._schema.structured(name)

    def enum(self, name: str) -> EnumType | None:
        return self._schema.enum(name)

    def type_names(self) -> list[str]:
        return self._schema.type_names()

    def enum_names(self) -> list[str]:
        return self._schema.enum_names()

    def operations(self) -> tuple[Operation, ...]:
        """The bound actions and functions that the metadata of the served types has; not all of them are served."""
        return self._schema.operations

    def type_name(self, text: str) -> str | None:
        """The type that an @odata.type names, in any case, with or without `#`; None if there is none."""
        return self._schema.type_name(text)

    def render(self, type_name: str, inner: Mapping[str, Any], done: Done | None = None) -> dict[str, Any]:
        """The documented shape: every property of the type, null (or [] for a collection) where unset, none that the
        version lacks (an open type keeps what neither version declares), `@odata.type` first in families, nested values
        alike. Enum members that the version lacks become unknownFutureValue. Navigation and annotations go out only
        where inner has them.

        The result shares what it does not change with `inner`: encode it, do not change it in place. Where the same
        object is rendered for both versions, one `done` ({}) for both spares the second what both show alike; where
        that is all, the results are one object.
        """
        rendered: dict[str, Any] = self._renderer.of(type_name)(inner, {} if done is None else done)
        return rendered

    def accept(self, type_name: str, body: Any, *, partial: bool = False) -> dict[str, Any]:
        """A client's JSON made inner: names and enum members in any case, instants in any ISO form. BadRequest names
        the path and what would be right: unknown property (kept where the type is open), wrong type, unknown member.

        An explicit null stays in the result as None, whatever the schema says of null. Annotations are left out, but
        for `@odata.type` in families; a complex value of a derived type that nobody knows is kept as it came. With
        `partial` only what is named is returned (PATCH).
        """
        return self._acceptor.accept(type_name, body, partial=partial)

    def accept_value(self, type_name: str, value: Any, *, collection: bool = False, path: str = "value") -> Any:
        """The same for one value of any type, such as a parameter of an action; `path` names it in errors."""
        return self._acceptor.accept_value(type_name, value, collection=collection, path=path)

    def evolvable(self, type_name: str, inner: Mapping[str, Any]) -> bool:
        """Whether some enum value is a member after unknownFutureValue."""
        return self._masks().late(type_name, inner)

    def mask(self, type_name: str, wire: dict[str, Any]) -> dict[str, Any]:
        """The same with such members replaced by unknownFutureValue; the same object where there are none."""
        masked: dict[str, Any] = self._masks().mask(type_name, wire)
        return masked

    def _masks(self) -> Masker:
        if self._masker is None:
            self._masker = Masker(self._schema)
        return self._masker


@cache
def edm(version: Version) -> Edm:
    """The one instance of a version."""
    return Edm(version)
