"""Graph's own types from JSON that is nearly theirs: keys and members in any case, numbers as text, objects as JSON in
strings; what does not fit its place is left out.

Source: Microsoft Graph, metadata of the schema ($metadata).
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from types import NoneType
from typing import Any, Literal, TypeVar, cast, get_args, get_origin

import msgspec
from msgspec import Struct

from bartizan.errors import BadRequest
from bartizan.model import security as graph
from bartizan.model.edm import edm
from bartizan.sources.fields import MAX_ITEMS, Fields, as_integer, as_number, as_text, clean, inner_json
from bartizan.sources.times import when

TYPE = "@odata.type"
_S = TypeVar("_S", bound=Struct)


def lenient(cls: type[_S], data: Any) -> _S:
    """A struct of the schema, or of the type derived from it that the object names; instants in wire form."""
    return _struct(cls, clean(data) if isinstance(data, dict) else {})


def inner_form(type_name: str, item: Struct, said: Fields, used: Iterable[str] = ()) -> dict[str, Any]:
    """An object of `type_name` for the store: what of the item the schema accepts.

    What else was `said`, and is not in `used` (lower case), stays beside it: under the vendor's names, or in `asGiven`
    where the name is the schema's and the value does not fit it. No version of Graph shows these; the store and the
    lake keep them.
    """
    found: dict[str, Any] = msgspec.to_builtins(item)
    found = {name: value for name, value in found.items() if value is not None and value != [] and name != TYPE}
    body = _accepted(type_name, found)
    known = _by_name(type(item))
    rest = said.rest(frozenset(used))
    odd = {name: value for name, value in rest.items() if (own := known.get(name.lower())) and own[0] not in body}
    more = {name: value for name, value in rest.items() if name.lower() not in known}
    return {**more, **({"asGiven": odd} if odd else {}), **body}


def _accepted(type_name: str, found: Mapping[str, Any]) -> dict[str, Any]:
    accept = edm("beta").accept
    try:
        return accept(type_name, dict(found))
    except BadRequest:
        body: dict[str, Any] = {}
    for name, value in found.items():
        with suppress(BadRequest):  # it stays in `asGiven`
            body |= accept(type_name, {name: value}, partial=True)
    return body


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


def _struct(cls: type[_S], data: dict[str, Any]) -> _S:
    chosen = _derived(cls).get(_last(as_text(data.get(TYPE))), cls)
    known = _by_name(chosen)
    given: dict[str, Any] = {}
    for key, value in data.items():
        member = known.get(key.lower())
        if member is None or value is None or (key != member[0] and data.get(member[0]) is not None):
            continue
        name, type_ = member
        kept = _read(when(value) if name.endswith("DateTime") else value, type_)
        if kept is not None:
            given.setdefault(name, kept)
    return cast(_S, chosen(**given))


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
def _by_name(cls: type[Struct]) -> dict[str, tuple[str, Any]]:
    """Name in lower case -> the member's name and type."""
    return {field.name.lower(): (field.name, field.type) for field in msgspec.structs.fields(cls)}


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
