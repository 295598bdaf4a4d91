"""Graph's own types from JSON that is nearly theirs: keys and members in any case, numbers as text, objects as JSON in
strings; what does not fit its place is left out.

Source: Microsoft Graph, metadata of the schema ($metadata).
"""

from collections.abc import Iterable
from functools import cache
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin

import msgspec
from msgspec import Struct

from bartizan.model import security as graph
from bartizan.sources.fields import MAX_ITEMS, Fields, as_integer, as_number, as_text, clean, inner_json
from bartizan.sources.times import when

TYPE = "@odata.type"
_S = TypeVar("_S", bound=Struct)


def lenient(cls: type[_S], data: Any) -> _S:
    """A struct of the schema, or of the type derived from it that the object names; instants in wire form."""
    return _struct(cls, clean(data))


def inner_form(item: Struct, said: Fields | None = None, used: Iterable[str] = ()) -> dict[str, Any]:
    """The object with what is set, without the type where its place says it.

    What else was `said`, and is not in `used` (lower case), stays under the vendor's names: no version of Graph shows
    it, the store and the lake keep it.
    """
    body: dict[str, Any] = msgspec.to_builtins(item)
    known = {name.lower() for name, _ in _members(type(item))}
    more = said.rest(frozenset({*known, *used})) if said is not None else {}
    return more | {name: value for name, value in body.items() if value is not None and value != [] and name != TYPE}


def graph_evidence(item: Any) -> graph.AlertEvidence | None:
    """Evidence in Graph's form; None where its type is not one that the schema has."""
    data = _typed(clean(item))
    name = as_text(data.get(TYPE)) if isinstance(data, dict) else None
    cls = _derived(graph.AlertEvidence).get(_last(name))
    found = None if cls is None else _struct(cls, data)
    return found if isinstance(found, graph.AlertEvidence) else None


def _typed(value: Any) -> Any:
    """With the type under its own name: normalised exports write "at_sign_odata_type"."""
    if isinstance(value, dict):
        names = {"at_sign_odata_type": TYPE, "odata.type": TYPE}
        return {names.get(key, key): _typed(item) for key, item in value.items()}
    return [_typed(item) for item in value] if isinstance(value, list) else value


def _struct(cls: type[_S], data: Any) -> _S:
    fields, given = Fields(data), {}
    chosen = _derived(cls).get(_last(fields.text(TYPE)), cls)
    for name, type_ in _members(chosen):
        value = fields.raw(name)
        if (
            value is not None
            and (kept := _read(when(value) if name.endswith("DateTime") else value, type_)) is not None
        ):
            given[name] = kept
    made = chosen(**given)
    assert isinstance(made, cls)
    return made


def _read(value: Any, type_: Any) -> Any:
    """The value as the type has it; None where it cannot be one."""
    if value is None:
        return None
    if type_ is str:  # also "none", which is a word of Graph's
        return value if isinstance(value, str) else None if isinstance(value, list) else as_text(value)
    if type_ is bool:
        return Fields({"it": value}).flag("it")
    if type_ is int:
        return as_integer(value)
    if type_ is float:
        return as_number(value)
    origin, inside = get_origin(type_), get_args(type_)
    if origin is Literal:
        return _members_of(inside).get(str(value).lower()) if isinstance(value, str | int) else None
    if origin is list:
        items = inner_json(value)
        each = items[:MAX_ITEMS] if isinstance(items, list) else [items]
        return [kept for item in each if (kept := _read(item, inside[0])) is not None]
    if isinstance(type_, type) and issubclass(type_, Struct):
        inner = inner_json(value)
        return _struct(type_, inner) if isinstance(inner, dict) else None
    choices = [choice for choice in inside if choice is not NoneType]
    if choices:
        return next((kept for choice in choices if (kept := _read(value, choice)) is not None), None)
    try:
        return msgspec.convert(value, type_, strict=False)
    except (msgspec.ValidationError, RecursionError):
        return None


def _last(name: str | None) -> str:
    return (name or "").rpartition(".")[2].lower()


@cache
def _members(cls: type[Struct]) -> tuple[tuple[str, Any], ...]:
    return tuple((field.name, field.type) for field in msgspec.structs.fields(cls))


@cache
def _members_of(words: tuple[str, ...]) -> dict[str, str]:
    return {word.lower(): word for word in words}


@cache
def _derived(cls: type[Struct]) -> dict[str, type[Struct]]:
    """The types derived from one, by the last part of their names in lower case."""
    found: dict[str, type[Struct]] = {}
    for each in cls.__subclasses__():
        found |= {_last(str(each.__struct_config__.tag)): each} | _derived(each)
    return found
