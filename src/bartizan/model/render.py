"""Inner objects made into the documented shape of a version, and enum members that not every client knows.

One closure per type, made on first use. A closure walks the keys that are set, not those that could be.
"""

from collections.abc import Callable, Mapping
from typing import Any

from bartizan.model.schema import LATE_MARK, EnumType, Property, Schema, StructuredType

Done = dict[int, tuple[str, Any, Any]]  # id of an inner value -> its type, itself (it must live on), what became of it
Render = Callable[[Any, Done], Any]
_TYPE = "@odata.type"


class Renderer:
    """What `other` (the other version) alone declares is left out, even of open types."""

    def __init__(self, schema: Schema, other: Schema) -> None:
        self._schema = schema
        self._other = other
        self._exact: dict[str, Render] = {}
        self._any: dict[str, Render] = {}
        self._alike: dict[str, bool] = {}

    def of(self, name: str) -> Render:
        """For a value that is declared as `name`: of it or, by its @odata.type, of a type below it."""
        found = self._any.get(name)
        if found is None:
            kind = self._schema.structured(name)
            mixed = (kind.derived or kind.family) and not kind.dictionary
            found = self._any[name] = self._polymorphic(kind) if mixed else self._one(kind)
        return found

    def _one(self, kind: StructuredType) -> Render:
        found = self._exact.get(kind.name)
        if found is None:
            found = self._exact[kind.name] = _keep if kind.dictionary else self._structured(kind)
        return found

    def _polymorphic(self, kind: StructuredType) -> Render:
        own = self._one(kind)
        by_mark: dict[Any, Render] = {None: own, "#" + kind.name: own}
        below = frozenset("#" + lower for lower in kind.derived)

        def render(value: Any, done: Done) -> Any:
            if not isinstance(value, dict):
                return value
            mark = value.get(_TYPE)
            found = by_mark.get(mark)
            if found is None:
                if mark not in below:
                    return self._unknown(kind, mark)(value, done)
                found = by_mark[mark] = self._one(self._schema.structured(mark[1:]))
            return found(value, done)

        return render

    def _unknown(self, kind: StructuredType, mark: Any) -> Render:
        """What only the other version has becomes the nearest type above it; what nobody has is kept as it came."""
        name = self._other.type_name(mark) if isinstance(mark, str) else None
        while name is not None:
            if name == kind.name or name in kind.derived:
                return self._replaced(name)
            name = self._other.structured(name).base
        return _keep

    def _replaced(self, name: str) -> Render:
        inner = self._one(self._schema.structured(name))
        mark = "#" + name

        def render(value: dict[str, Any], done: Done) -> Any:
            return inner({**value, _TYPE: mark}, done)

        return render

    def _structured(self, kind: StructuredType) -> Render:
        template: dict[str, Any] = {_TYPE: "#" + kind.name} if kind.family else {}
        template |= {prop.name: None for prop in kind.properties.values() if not prop.input}
        lists = tuple(prop.name for prop in kind.properties.values() if prop.collection and not prop.input)
        others = self._others(kind)
        family, is_open, mark = kind.family, kind.open, "#" + kind.name
        foreign, name, alike = self._foreign(kind), kind.name, self.alike(kind.name)
        declared = frozenset((*kind.properties, *kind.navigation))
        usual = declared | {_TYPE} if family else declared

        def goes_out(key: str) -> bool:
            if "@odata." in key:
                return key != _TYPE
            return key in declared or (is_open and key not in foreign)

        def render(value: Any, done: Done) -> Any:
            if not isinstance(value, dict):
                return value
            if alike and (found := done.get(id(value))) is not None and found[0] == name:
                return found[2]
            if value.keys() <= usual:
                out = template | value
            else:
                out = {_TYPE: value[_TYPE]} if _TYPE in value else {}
                out |= template
                out |= {key: item for key, item in value.items() if goes_out(key)}
            if family:
                out[_TYPE] = mark
            for key, how in others:
                item = out.get(key)
                if item is not None:
                    out[key] = how(item, done)
            for key in lists:
                if out[key] is None:
                    out[key] = []
            if alike:
                done[id(value)] = name, value, out
            return out

        return render

    def alike(self, name: str) -> bool:
        """Whether both versions render what is of this very type to the same, and have the same members to mask in
        it."""
        known = self._alike.get(name)
        if known is None:
            known = self._alike[name] = self._find_alike(name)
        return known

    def _find_alike(self, name: str) -> bool:
        """Looks at the type and at those of the values in it, at any depth."""
        seen, todo, declared = {name}, [name], set[str]()
        while todo:
            here = todo.pop()
            if not self._same(here):
                return False
            for prop in self._schema.structured(here).members():
                if prop.type in declared or prop.type.startswith("Edm.") or self._schema.enum(prop.type) is not None:
                    continue
                declared.add(prop.type)
                below = self._below(self._schema, prop.type)
                if below != self._below(self._other, prop.type):
                    return False
                todo += below - seen
                seen |= below
        return True

    @staticmethod
    def _below(schema: Schema, name: str) -> frozenset[str]:
        """The types that a value which is declared as `name` is rendered as; none where the version lacks it."""
        try:
            kind = schema.structured(name)
        except KeyError:
            return frozenset()
        return frozenset((name,) if kind.dictionary else (name, *kind.derived))

    def _same(self, name: str) -> bool:
        """Whether both versions declare the same of the type itself, as far as it shows."""
        kind = self._schema.structured(name)
        try:
            there = self._other.structured(name)
        except KeyError:
            return False
        if _shown(kind) != _shown(there):
            return False
        pairs = ((self._schema.enum(prop.type), self._other.enum(prop.type)) for prop in kind.properties.values())
        return all(
            one is None or (other is not None and list(one.members) == list(other.members)) for one, other in pairs
        )

    def _foreign(self, kind: StructuredType) -> frozenset[str]:
        """Properties that the other version declares and this one does not."""
        try:
            there = self._other.structured(kind.name)
        except KeyError:
            return frozenset()
        return frozenset({*there.properties, *there.navigation} - {*kind.properties, *kind.navigation})

    def _others(self, kind: StructuredType) -> tuple[tuple[str, Render], ...]:
        """The names whose value does not go out as it is, with what to do."""
        values = ((prop.name, self._value(prop)) for prop in kind.properties.values())
        navigation = ((nav.name, self._nested(nav.type, nav.collection)) for nav in kind.navigation.values())
        return (*((name, how) for name, how in values if how is not None), *navigation)

    def _value(self, prop: Property) -> Render | None:
        enum = self._schema.enum(prop.type)
        if enum is not None:
            return self._enum(enum, prop.collection)
        if prop.type.startswith("Edm."):
            return None
        if self._schema.structured(prop.type).dictionary:
            return None
        return self._nested(prop.type, prop.collection)

    def _nested(self, name: str, collection: bool) -> Render:
        made: list[Render] = []

        def one(value: Any, done: Done) -> Any:
            if not made:
                made.append(self.of(name))
            return made[0](value, done)

        def many(value: Any, done: Done) -> Any:
            if not made:
                made.append(self.of(name))
            render = made[0]
            return [render(item, done) for item in value] if isinstance(value, list) else value

        return many if collection else one

    def _enum(self, enum: EnumType, collection: bool) -> Render | None:
        """None where this version has every member that an inner object can hold."""
        other = self._other.enum(enum.name)
        if other is None or not other.members.keys() - enum.members.keys():
            return None
        return _over(_known_only(enum), collection)


def _shown(kind: StructuredType) -> Any:
    """What decides how values of a type are rendered, but for their properties' own types. The order counts."""
    properties = [(prop.name, prop.type, prop.collection, prop.input) for prop in kind.properties.values()]
    navigation = {(nav.name, nav.type, nav.collection) for nav in kind.navigation.values()}
    return properties, navigation, kind.family, kind.open, kind.dictionary


def _keep(value: Any, done: Done) -> Any:
    return value


def _over(one: Render, collection: bool) -> Render:
    def many(value: Any, done: Done) -> Any:
        return [one(item, done) for item in value] if isinstance(value, list) else value

    return many if collection else one


def _known_only(enum: EnumType) -> Render:
    """A member that this version lacks becomes unknownFutureValue, or null where the enum has no such member."""
    instead = enum.late_mark

    def known(value: Any, done: Done) -> Any:
        if value in enum.members:
            return value
        if enum.flags and isinstance(value, str):
            parts = [part if part in enum.members else instead for part in value.split(",")]
            return ",".join(dict.fromkeys(part for part in parts if part is not None)) or None
        return instead

    return known


class Masker:
    """Finds and replaces members after unknownFutureValue in rendered or inner objects of one version."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._late: dict[str, frozenset[str]] = {}
        self._plans: dict[str, dict[str, Any]] = {}
        self._touched = self._reaching()
        self._by_mark = {"#" + name: name for name in schema.type_names()}  # as it is written, but for odd clients

    def _reaching(self) -> frozenset[str]:
        """The types that hold such an enum at any depth; most do not and are skipped whole."""
        schema = self._schema
        direct: set[str] = set()
        users: dict[str, set[str]] = {}
        for name in schema.type_names():
            kind = schema.structured(name)
            if kind.base is not None:  # a value declared as the base may be of this type
                users.setdefault(name, set()).add(kind.base)
            for prop in kind.members():
                enum = schema.enum(prop.type)
                if enum is not None and enum.late:
                    direct.add(name)
                elif enum is None and not prop.type.startswith("Edm."):
                    users.setdefault(prop.type, set()).add(name)
        reached, todo = set(direct), list(direct)
        while todo:
            for user in users.get(todo.pop(), ()):
                if user not in reached:
                    reached.add(user)
                    todo.append(user)
        return frozenset(reached)

    def _plan(self, name: str) -> dict[str, Any]:
        """Property -> an EnumType with late members, or the name of a type to go into."""
        found = self._plans.get(name)
        if found is None:
            found = {}
            kind = self._schema.structured(name)
            for prop in kind.members():
                enum = self._schema.enum(prop.type)
                if enum is not None:
                    if enum.late:
                        found[prop.name] = enum
                elif prop.type in self._touched:
                    found[prop.name] = prop.type
            self._plans[name] = found
        return found

    def mask(self, name: str, value: Any) -> Any:
        """The same object where nothing is late; otherwise a copy along the changed paths."""
        if isinstance(value, list):
            made = [self.mask(name, item) for item in value]
            return made if any(new is not old for new, old in zip(made, value, strict=True)) else value
        if not isinstance(value, dict) or name not in self._touched:
            return value
        changed: dict[str, Any] = {}
        for key, what in self._plan(self._concrete(name, value)).items():
            item = value.get(key)
            if item is None:
                continue
            new = _mask_enum(what, item) if isinstance(what, EnumType) else self.mask(what, item)
            if new is not item:
                changed[key] = new
        return {**value, **changed} if changed else value

    def late(self, name: str, value: Any) -> bool:
        """Whether `mask` would replace something."""
        if name not in self._touched:
            return False
        if isinstance(value, list):
            return any(self.late(name, item) for item in value)
        if not isinstance(value, dict):
            return False
        for key, what in self._plan(self._concrete(name, value)).items():
            item = value.get(key)
            if item is not None and (_any_late(what, item) if isinstance(what, EnumType) else self.late(what, item)):
                return True
        return False

    def _concrete(self, name: str, value: Mapping[str, Any]) -> str:
        mark = value.get(_TYPE)
        if not isinstance(mark, str):
            return name
        found = self._by_mark.get(mark) or self._schema.type_name(mark)
        return name if found is None else found


def _mask_enum(enum: EnumType, value: Any) -> Any:
    if isinstance(value, list):
        return [_mask_enum(enum, item) for item in value] if any(_is_late(enum, item) for item in value) else value
    if not _is_late(enum, value):
        return value
    mark = enum.late_mark or LATE_MARK
    if not enum.flags:
        return mark
    return ",".join(dict.fromkeys(mark if part in enum.late else part for part in value.split(",")))


def _any_late(enum: EnumType, value: Any) -> bool:
    return any(_is_late(enum, item) for item in value) if isinstance(value, list) else _is_late(enum, value)


def _is_late(enum: EnumType, value: Any) -> bool:
    if not isinstance(value, str):
        return False
    return value in enum.late or (enum.flags and any(part in enum.late for part in value.split(",")))
