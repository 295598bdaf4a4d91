"""An inner object made ready for the store: wire bytes per version, columns, entities, before the lock is taken."""

from collections.abc import Container, Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from bartizan.errors import BadRequest
from bartizan.model.edm import Version, edm
from bartizan.model.nul import has_nul, without_nul
from bartizan.model.render import Done
from bartizan.model.stamps import CREATED, ETAG, UPDATED
from bartizan.store.interface import Collection, Column, Draft, Entity, Stored

MAX_ENTITIES = 2_000  # index rows of one document; the longest real alert (a worm's victims) had some hundred

_ETAG_KEY = "@odata.etag"
_TYPE_KEY = "@odata.type"
OWN = "@bartizan."  # what keys of this server's own begin with: kept in the state, never rendered
DERIVED = f"{OWN}derived"  # of a document that this server made itself, where others bring such: theirs replaces it
_ETAG_VALUE = f'W/"{ETAG}"'
_MAX_INT = 2**63 - 1

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_decode_parts = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

Scalar = str | int | float | bool | None


def draft(
    collection: Collection,
    inner: Mapping[str, Any],
    id: str,
    *,
    state: bytes | None = b"",
    entities: Sequence[Entity] = (),
    columns: Mapping[str, Scalar] | None = None,
) -> Draft:
    """Renders `inner` for the collection's versions, with placeholders where the store puts stamps and ETag.

    `columns` adds to or replaces what the declared paths find; `entities` are kept beside those that
    `Collection.entities` finds. Without `state` what no version shows is kept in it; None: it is kept elsewhere.
    A state that is given has no NUL character.
    BadRequest above MAX_ENTITIES or where a value cannot be stored.
    The NUL character, which PostgreSQL's text cannot hold, becomes U+FFFD.
    """
    whole = dict(inner)
    whole.pop(_ETAG_KEY, None)
    if collection.created is not None:
        whole[collection.created] = CREATED
    if collection.updated is not None:
        whole[collection.updated] = UPDATED
    try:
        made = _rendered(collection, whole, id, state)
        if has_nul(made.doc) or (made.beta is not None and has_nul(made.beta)) or (not state and has_nul(made.state)):
            whole = without_nul(whole)
            made = _rendered(collection, whole, id, state)
        made.columns = {**column_values(collection, whole), **(columns or {})}
        made.entities = _unique([*entities, *found_entities(collection, whole)], id)
    except RecursionError:
        raise BadRequest(f"{collection.name} '{id}' is nested too deeply") from None
    except UnicodeEncodeError:
        raise BadRequest(f"{collection.name} '{id}' holds text that is not Unicode (a lone surrogate)") from None
    return made


def spliced(
    collection: Collection,
    stored: Stored,
    values: Mapping[str, Any],
) -> Draft | None:
    """As `draft` of what is stored with other `values` of some properties, the bytes, columns and entities of all
    others taken over: a fraction of the time. The properties must name no entity, and have the same form on the wire in
    every version that has them. None where a place for one of them is missing, or a text cannot be stored as it is:
    then it takes `draft`."""
    stamps = [(_ETAG_KEY, _ETAG_VALUE)]
    if collection.created is not None:
        stamps.append((collection.created, CREATED))
    if collection.updated is not None:
        stamps.append((collection.updated, UPDATED))
    given = {**values, **dict(stamps)}
    try:
        put = {name: msgspec.Raw(_encode(value)) for name, value in given.items()}
    except UnicodeEncodeError:
        return None  # `draft` says what is wrong with it
    if any(has_nul(bytes(raw)) for raw in put.values()):
        return None
    made: list[bytes] = []
    for text, version in ((stored.doc, collection.versions[0]), (stored.beta, collection.versions[-1])):
        parts = _decode_parts(text) if text else {}
        missing = values.keys() - parts.keys() if text else ()
        is_inner = not stored.state and text is stored.inner()
        if missing and (is_inner or any(_has(collection, version, name) for name in missing)):
            return None
        parts.update({name: value for name, value in put.items() if name in parts})
        made.append(_encode(parts) if text else b"")
    parts = _decode_parts(stored.state) if stored.state else {}
    parts.update({name: value for name, value in put.items() if name in parts or name in values})
    made.append(_encode(parts) if stored.state else b"")
    doc, beta, state = made
    return Draft(
        collection=collection.name,
        id=stored.id,
        doc=doc,
        beta=beta or None,
        state=state,
        columns=column_values(collection, given, only=given.keys()),
        evolvable=stored.evolvable,
        rest=True,
    )


def _has(collection: Collection, version: Version, name: str) -> bool:
    return collection.type is None or edm(version).structured(collection.type).find(name) is not None


def _rendered(collection: Collection, whole: dict[str, Any], id: str, state: bytes | None) -> Draft:
    if collection.type is None:
        return Draft(collection=collection.name, id=id, doc=_encode(whole))
    whole["id"] = id
    own = [key for key in whole if key.startswith(OWN)]
    shown = {key: value for key, value in whole.items() if key not in own} if own else whole
    done: Done = {}
    bodies = [edm(version).render(collection.type, shown, done) for version in collection.versions]
    alike = bodies[0] is bodies[-1]  # rendered once for both versions, and masked alike
    wire = _wire(bodies[-1], id)
    last = _encode(wire)
    doc = last if alike else _encode(_wire(bodies[0], id))
    if state == b"" and not covers(wire, whole):
        state = _encode(whole)
    asked = collection.versions[:1] if alike else collection.versions
    evolvable = any(edm(version).evolvable(collection.type, shown) for version in asked)
    beta = last if last != doc else None
    return Draft(collection=collection.name, id=id, doc=doc, beta=beta, state=state or b"", evolvable=evolvable)


def _wire(body: dict[str, Any], id: str) -> dict[str, Any]:
    """ETag, type and id before the rest."""
    wire = {_ETAG_KEY: _ETAG_VALUE}
    if _TYPE_KEY in body:
        wire[_TYPE_KEY] = body[_TYPE_KEY]
    wire["id"] = id
    wire.update(body)
    return wire


def inner(stored: Stored) -> dict[str, Any]:
    """The inner object of a stored document, a new dict; unset properties may be there as null or []."""
    whole = _decode(stored.inner())
    whole.pop(_ETAG_KEY, None)
    return whole


def covers(wire: Any, whole: Any) -> bool:
    """Whether `wire` gives back all of `whole`; null, [] and absent are alike in an object, and marks may be added."""
    if wire is whole:
        return True
    if isinstance(wire, dict) and isinstance(whole, dict):
        for key in wire.keys() | whole.keys():
            one, other = wire.get(key), whole.get(key)
            if _unset(one) and _unset(other):
                continue
            if key not in whole and key in (_TYPE_KEY, _ETAG_KEY):
                continue
            if not covers(one, other):
                return False
        return True
    if isinstance(wire, list) and isinstance(whole, list):
        return len(wire) == len(whole) and all(covers(one, other) for one, other in zip(wire, whole, strict=True))
    return type(wire) is type(whole) and bool(wire == whole)


def _unset(value: Any) -> bool:
    return value is None or value == []


def values_at(value: Any, names: Sequence[str]) -> list[Any]:
    """What a path finds, walking into lists."""
    for at, name in enumerate(names):
        if isinstance(value, list):
            return [found for item in value for found in values_at(item, names[at:])]
        if not isinstance(value, dict):
            return []
        value = value.get(name)
    return [found for item in value for found in values_at(item, ())] if isinstance(value, list) else [value]


def column_values(
    collection: Collection, whole: Mapping[str, Any], only: Container[str] | None = None
) -> dict[str, Scalar]:
    """The declared columns of an inner object; with `only` those of these properties."""
    found: dict[str, Scalar] = {}
    for column in collection.columns:
        head, tail = _steps(column.path)
        if only is not None and head not in only:
            continue
        value = whole.get(head)
        for name in tail:
            value = value.get(name) if isinstance(value, dict) else None
        found[column.path] = None if value is None else _scalar(column, value)
    return found


@lru_cache(maxsize=4_096)  # the declared paths
def _steps(path: str) -> tuple[str, tuple[str, ...]]:
    """The property of the object itself, and the way on from there."""
    head, *tail = path.split("/")
    return head, tuple(tail)


def _scalar(column: Column, value: Any) -> Scalar:
    if isinstance(value, str):
        if column.kind in ("int", "real", "bool"):
            return None
        return value.lower() if column.fold else value
    if isinstance(value, bool):
        return value if column.kind == "bool" else None
    return _number(column, value) if isinstance(value, int | float) else None


def _number(column: Column, value: float) -> Scalar:
    if column.kind == "real":
        return float(value)
    if column.kind != "int" or value != int(value):
        return None
    if not -_MAX_INT <= value <= _MAX_INT:
        raise BadRequest(f"'{column.path}' is out of range: {value}; whole numbers have 64 bits")
    return int(value)


def found_entities(collection: Collection, whole: Mapping[str, Any]) -> list[Entity]:
    """What the declared entity paths find."""
    found: list[Entity] = []
    for path, kind in collection.entities.items():
        head, tail = _steps(path)
        inside = whole.get(head)
        if not inside:
            continue
        if len(tail) == 1 and type(inside) is list:  # most are so, and the general way takes three times as long
            name = tail[0]
            for item in inside:
                value = item.get(name) if type(item) is dict else None
                if type(value) is str:
                    found.append(Entity(kind, value))
                elif value is not None:
                    found.extend(Entity(kind, one) for one in values_at(value, ()) if isinstance(one, str))
        else:
            found.extend(Entity(kind, one) for one in values_at(inside, tail) if isinstance(one, str))
    return found


def _unique(entities: Sequence[Entity], id: str) -> tuple[Entity, ...]:
    """Folded, each once, none empty."""
    found: dict[Entity, None] = {}
    for entity in entities:
        value = entity.value.replace("\0", "\ufffd").strip().lower()
        if value:
            found[entity if value == entity.value else Entity(entity.kind, value, entity.role)] = None
    if len(found) > MAX_ENTITIES:
        raise BadRequest(f"'{id}' names {len(found)} entities; the most is {MAX_ENTITIES}: split the record")
    return tuple(found)
