"""The `$metadata` document: the served types of one version and what the server makes reachable, as CSDL XML.

Source: OData CSDL XML Representation 4.01 (written as Version 4.0, which every client reads).
"""

from collections.abc import Iterable, Iterator, Sequence
from xml.sax.saxutils import quoteattr

from msgspec import Struct

from bartizan.model.schema import (
    EnumType,
    Navigation,
    Operation,
    Property,
    Schema,
    StructuredType,
    Version,
    parse_word,
    schema,
)

# The longer first: a name belongs to the first that fits.
NAMESPACES = ("microsoft.graph.agentic", "microsoft.graph.security", "microsoft.graph")
CONTAINER = "GraphService"


class EntitySet(Struct, frozen=True):
    """A set at the root of the service, such as ("users", "microsoft.graph.user")."""

    name: str
    type: str


class Singleton(Struct, frozen=True):
    """One object at the root, such as ("security", "microsoft.graph.security")."""

    name: str
    type: str


class EntityContainer(Struct, frozen=True):
    """What is reachable. `operations` are those that are served; their names carry the namespace."""

    sets: Sequence[EntitySet] = ()
    singletons: Sequence[Singleton] = ()
    operations: Sequence[Operation] = ()


def metadata_xml(version: Version, container: EntityContainer) -> bytes:
    """The document, UTF-8. ValueError where the container names a type that is not served; the same input gives the
    same bytes."""
    return "\n".join(_Document(schema(version), container).lines()).encode() + b"\n"


class _Document:
    def __init__(self, types: Schema, container: EntityContainer) -> None:
        self._schema = types
        self._container = container
        known = {*types.type_names(), *types.enum_names()}
        reachable = [(each.name, each.type) for each in container.sets]
        reachable += [(each.name, each.type) for each in container.singletons]
        for name, type_name in reachable:
            if type_name not in types.type_names():
                raise ValueError(f"{name}: {type_name} is not served in {types.version}")
        for operation in container.operations:
            words = [operation.bound, *operation.params.values(), *([operation.returns] if operation.returns else [])]
            for word in words:
                name = parse_word(word)[0]
                if name not in known and not name.startswith("Edm."):
                    raise ValueError(f"{operation.name}: {name} is not served in {types.version}")

    def lines(self) -> Iterator[str]:
        yield '<?xml version="1.0" encoding="utf-8"?>'
        yield '<edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx">'
        yield "<edmx:DataServices>"
        used = {_namespace(name) for name in self._schema.type_names()}
        for namespace in reversed(NAMESPACES):
            if namespace in used:
                yield from self._namespace(namespace)
        yield "</edmx:DataServices>"
        yield "</edmx:Edmx>"

    def _namespace(self, namespace: str) -> Iterator[str]:
        alias = ' Alias="graph"' if namespace == "microsoft.graph" else ""
        yield f'<Schema Namespace="{namespace}"{alias} xmlns="http://docs.oasis-open.org/odata/ns/edm">'
        for name in sorted(self._schema.enum_names()):
            enum = self._schema.enum(name)
            if _namespace(name) == namespace and enum is not None:
                yield from _enum(enum)
        for name in sorted(self._schema.type_names()):
            if _namespace(name) == namespace:
                yield from self._structured(self._schema.structured(name))
        for operation in sorted(self._container.operations, key=_order):
            if _namespace(operation.name) == namespace:
                yield from _operation(operation)
        if namespace == "microsoft.graph":
            yield from self._entity_container()
        yield "</Schema>"

    def _structured(self, kind: StructuredType) -> Iterator[str]:
        tag = "EntityType" if kind.entity else "ComplexType"
        base = None if kind.base is None else self._schema.structured(kind.base)
        flags = {"Abstract": kind.abstract, "OpenType": kind.open and not (base is not None and base.open)}
        yield _open(tag, Name=_short(kind.name), BaseType=kind.base, **{k: "true" for k, on in flags.items() if on})
        properties, navigation = self._schema.own(kind.name)
        if "id" in properties and kind.entity:
            yield '<Key><PropertyRef Name="id"/></Key>'
        held = {name for name in properties if self._is_entity(kind.properties[name].type)}
        for name in sorted(set(properties) - held):
            yield _property(kind.properties[name], nullable=kind.properties[name].nullable)
        for name in sorted(held):  # objects that are written inside: to CSDL a contained navigation
            prop = kind.properties[name]
            yield _navigation(Navigation(prop.name, prop.type, prop.collection, True))
        for name in sorted(navigation):
            yield _navigation(kind.navigation[name])
        yield f"</{tag}>"

    def _is_entity(self, name: str) -> bool:
        return not name.startswith("Edm.") and self._schema.enum(name) is None and self._schema.structured(name).entity

    def _entity_container(self) -> Iterator[str]:
        yield _open("EntityContainer", Name=CONTAINER)
        for entity_set in sorted(self._container.sets, key=lambda each: each.name):
            yield _empty("EntitySet", Name=entity_set.name, EntityType=entity_set.type)
        for singleton in sorted(self._container.singletons, key=lambda each: each.name):
            yield _empty("Singleton", Name=singleton.name, Type=singleton.type)
        yield "</EntityContainer>"


def _enum(enum: EnumType) -> Iterator[str]:
    """CSDL wants values for all members or for none, and for all of an enum of flags.

    Values are not on the wire, names are: where one is not known, it is left out with all the others of its enum, or
    the next free bit of an enum of flags.
    """
    numbered = enum.flags or None not in enum.members.values()
    free = 1 << max(value or 0 for value in enum.members.values()).bit_length()
    yield _open("EnumType", Name=_short(enum.name), IsFlags="true" if enum.flags else None)
    for member, value in enum.members.items():
        if value is None and enum.flags:
            value, free = free, free << 1
        yield _empty("Member", Name=member, Value=str(value) if numbered else None)
    yield "</EnumType>"


def _property(prop: Property, *, nullable: bool) -> str:
    return _empty(
        "Property", Name=prop.name, Type=_type(prop.type, prop.collection), Nullable=None if nullable else "false"
    )


def _navigation(nav: Navigation) -> str:
    contained = "true" if nav.contained else None
    return _empty("NavigationProperty", Name=nav.name, Type=_type(nav.type, nav.collection), ContainsTarget=contained)


def _operation(operation: Operation) -> Iterator[str]:
    tag = "Action" if operation.kind == "action" else "Function"
    yield _open(tag, Name=_short(operation.name), IsBound="true")
    yield _empty(
        "Parameter", Name="bindingParameter", Type=_type(operation.bound, operation.bound_collection), Nullable="false"
    )
    for name, word in operation.params.items():
        type_name, collection, nullable, _ = parse_word(word)
        yield _empty("Parameter", Name=name, Type=_type(type_name, collection), Nullable=None if nullable else "false")
    if operation.returns is not None:
        type_name, collection, _, _ = parse_word(operation.returns)
        yield _empty("ReturnType", Type=_type(type_name, collection))
    yield f"</{tag}>"


def _order(operation: Operation) -> tuple[str, str, bool, tuple[str, ...]]:
    return operation.name, operation.bound, operation.bound_collection, tuple(operation.params)


def _namespace(name: str) -> str:
    """`microsoft.graph.security` itself is a type of microsoft.graph."""
    return next(each for each in NAMESPACES if name.startswith(each + "."))


def _short(name: str) -> str:
    return name.removeprefix(_namespace(name) + ".")


def _type(name: str, collection: bool) -> str:
    return f"Collection({name})" if collection else name


def _attributes(pairs: Iterable[tuple[str, str | None]]) -> str:
    return "".join(f" {name}={quoteattr(value)}" for name, value in pairs if value is not None)


def _open(tag: str, **attributes: str | None) -> str:
    return f"<{tag}{_attributes(attributes.items())}>"


def _empty(tag: str, **attributes: str | None) -> str:
    return f"<{tag}{_attributes(attributes.items())}/>"
