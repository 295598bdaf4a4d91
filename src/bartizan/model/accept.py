"""A client's JSON made inner: names, enum members and instants get one spelling, and what does not fit is named.

Source: OData JSON Format 4.01, sections 7 to 10; the primitive forms: OData 4.01 ABNF.
"""

import base64
import binascii
import math
import re
from collections.abc import Callable, Mapping
from datetime import date, time
from difflib import get_close_matches
from typing import Any

from bartizan.errors import BadRequest
from bartizan.model import times
from bartizan.model.schema import EnumType, Navigation, Property, Schema, StructuredType

MAX_DEPTH = 32  # of objects and arrays within one another; Graph's own bodies stay below 10
_NAMED_IN_ERRORS = 40  # members or properties listed in one message
_TYPE = "@odata.type"

Accept = Callable[[Any, int], Any]  # (value, depth that is left)


class Wrong(Exception):
    """What is wrong with a value; the path grows on the way out."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why
        self.path: list[str] = []

    def within(self, step: str) -> "Wrong":
        self.path.append(step)
        return self

    def message(self) -> str:
        path = ""
        for step in reversed(self.path):
            path += step if step.startswith("[") or not path else f".{step}"
        return f"{path}: {self.why}" if path else self.why


class Acceptor:
    """One version's bodies."""

    def __init__(self, schema: Schema, other: Schema) -> None:
        self._schema = schema
        self._other = other
        self._made: dict[tuple[str, bool], Accept] = {}

    def accept(self, type_name: str, body: Any, *, partial: bool = False) -> dict[str, Any]:
        if not isinstance(body, dict):
            raise BadRequest(f"the body must be a JSON object, not {_what(body)}")
        try:
            made: dict[str, Any] = self.value(type_name)(body, MAX_DEPTH)
        except Wrong as wrong:
            raise BadRequest(wrong.message()) from None
        if partial and made.get(_TYPE) and not any(key.casefold() == _TYPE for key in body):
            del made[_TYPE]
        return made

    def accept_value(self, type_name: str, value: Any, *, collection: bool, path: str) -> Any:
        if value is None:
            return None
        try:
            return self.value(type_name, collection=collection)(value, MAX_DEPTH)
        except Wrong as wrong:
            raise BadRequest(wrong.within(path).message()) from None

    def value(self, name: str, *, collection: bool = False) -> Accept:
        """For any type name: primitive, enum or structured. KeyError if it is not served."""
        found = self._made.get((name, collection))
        if found is None:
            if collection:
                found = _many(self.value(name))
            elif name in PRIMITIVES:
                found = _primitive(PRIMITIVES[name])
            else:
                enum = self._schema.enum(name)
                found = self._structured(self._schema.structured(name)) if enum is None else _enum(enum)
            self._made[name, collection] = found
        return found

    def _structured(self, declared: StructuredType) -> Accept:
        if declared.dictionary:
            return _dictionary

        def accept(value: Any, depth: int) -> Any:
            if not isinstance(value, dict):
                raise Wrong(f"expected an object of {declared.name}, not {_what(value)}")
            if depth <= 0:
                raise Wrong(f"nested deeper than {MAX_DEPTH} levels")
            kind, mark = self._kind(declared, value)
            if kind is None:
                return {_TYPE: mark, **{key: _json(item, depth - 1) for key, item in value.items() if key != _TYPE}}
            return self._object(kind, mark, value, depth)

        return accept

    def _kind(self, declared: StructuredType, value: Mapping[str, Any]) -> tuple[StructuredType | None, str | None]:
        """The type that the value is of, and its mark for the result.

        No type where nobody knows it: complex values of such a type (new evidence) are kept as they came, entities are
        read as the declared type.
        """
        mark = value.get(_TYPE)
        if mark is None:
            return declared, ("#" + declared.name if declared.family and not declared.abstract else None)
        if not isinstance(mark, str):
            raise Wrong(f"expected the name of a type, not {_what(mark)}").within(_TYPE)
        name = self._schema.type_name(mark)
        if name is not None:
            if name != declared.name and name not in declared.derived:
                raise Wrong(f"'{_short(mark)}' is not {declared.name} and does not derive from it").within(_TYPE)
            kind = self._schema.structured(name)
            return kind, ("#" + name if kind.family or name != declared.name else None)
        if declared.derived and not declared.entity:
            unknown = mark.rpartition("#")[2]
            if not re.fullmatch(r"[A-Za-z_][\w.]{0,199}", unknown):
                raise Wrong(f"expected the name of a type, not '{_short(mark)}'").within(_TYPE)
            return None, "#" + unknown
        return declared, ("#" + declared.name if declared.family and not declared.abstract else None)

    def _object(self, kind: StructuredType, mark: str | None, value: dict[str, Any], depth: int) -> dict[str, Any]:
        out: dict[str, Any] = {} if mark is None else {_TYPE: mark}
        for key, item in value.items():
            if "@" in key and "@odata." in key.casefold():
                if key.casefold().endswith("@odata.bind"):
                    raise Wrong("binding is not supported; add the reference by POST to .../$ref").within(key)
                continue
            what = kind.find(key)
            name = key
            if what is not None:
                name = what.name
            if name in out:
                raise Wrong("given twice, in different spellings").within(name)
            try:
                out[name] = self._open(kind, key, item, depth) if what is None else self._member(what, item, depth)
            except Wrong as wrong:
                raise wrong.within(name) from None
        return out

    def _member(self, what: Property | Navigation, item: Any, depth: int) -> Any:
        if item is None:
            return None
        return self.value(what.type, collection=what.collection)(item, depth - 1)

    def _open(self, kind: StructuredType, key: str, item: Any, depth: int) -> Any:
        there = self._elsewhere(kind, key)
        if there is not None:
            raise Wrong(f"{kind.name} has it only in {self._other.version}")
        if kind.open:
            return _json(item, depth - 1)
        names = [name for name, prop in kind.properties.items() if not prop.input]
        near = get_close_matches(key[:80], names, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise Wrong(f"no such property of {kind.name}; {hint}it has {_listed(sorted(names))}")

    def _elsewhere(self, kind: StructuredType, key: str) -> Property | Navigation | None:
        try:
            return self._other.structured(kind.name).find(key)
        except KeyError:
            return None


def merged(before: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """A change of accepted JSON: what is given of an object inside an object changes that alone, unless it gets another
    type; a list is replaced; null takes away.

    Source: OData Protocol 4.01, "Update a Complex Property".
    """
    after = dict(before)
    for name, value in given.items():
        known = before.get(name)
        if isinstance(value, Mapping) and isinstance(known, Mapping) and value.get(_TYPE) in (None, known.get(_TYPE)):
            after[name] = merged(known, value)
        else:
            after[name] = value
    return after


def _many(one: Accept) -> Accept:
    def accept(value: Any, depth: int) -> Any:
        if not isinstance(value, list):
            raise Wrong(f"expected an array, not {_what(value)}")
        if depth <= 0:
            raise Wrong(f"nested deeper than {MAX_DEPTH} levels")
        made = []
        for at, item in enumerate(value):
            try:
                made.append(one(item, depth - 1))
            except Wrong as wrong:
                raise wrong.within(f"[{at}]") from None
        return made

    return accept


def _dictionary(value: Any, depth: int) -> Any:
    if not isinstance(value, dict):
        raise Wrong(f"expected an object, not {_what(value)}")
    return _json(value, depth)


def _json(value: Any, depth: int) -> Any:
    """Content without a schema: kept as it is, bounded in depth, its numbers finite."""
    if isinstance(value, dict | list):
        if depth <= 0:
            raise Wrong(f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(value, list):
            return [_json(item, depth - 1) for item in value]
        return {key: _json(item, depth - 1) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        raise Wrong("expected a finite number")
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise Wrong(f"expected JSON, not {_what(value)}")


def _enum(enum: EnumType) -> Accept:
    def accept(value: Any, depth: int) -> Any:
        if enum.flags and isinstance(value, list) and value and all(isinstance(each, str) for each in value):
            value = ",".join(value)  # as an SDK's collection of members
        found = enum.find(value) if isinstance(value, str) else None
        if found is None:
            given = f"'{_short(value)}'" if isinstance(value, str) else _what(value)
            kind = "a comma list of members" if enum.flags else "a member"
            raise Wrong(f"expected {kind} of {enum.name}, not {given}; members: {_listed(list(enum.members))}")
        return found

    return accept


# ---------------------------------------------------------------- primitives


def _primitive(read: Callable[[Any], Any]) -> Accept:
    def accept(value: Any, depth: int) -> Any:
        return read(value)

    return accept


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Wrong(f"expected a string, not {_what(value)}")
    return value


def _boolean(value: Any) -> bool:
    """Also as text: connectors send `"passiveOnly": "false"`."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.casefold() in ("true", "false"):
        return value.casefold() == "true"
    raise Wrong(f"expected true or false, not {_what(value)}")


def _integer(lowest: int, highest: int, *, text: bool = False) -> Callable[[Any], int]:
    """`text`: Int64 may come as a string (IEEE754Compatible)."""

    def read(value: Any) -> int:
        if text and isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]{1,19}", value):
            value = int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise Wrong(f"expected an integer, not {_what(value)}")
        if not lowest <= value <= highest:
            raise Wrong(f"expected an integer from {lowest} to {highest}")
        return value

    return read


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Wrong(f"expected a number, not {_what(value)}")
    try:
        finite = math.isfinite(value)
    except OverflowError:
        finite = False
    if not finite:
        raise Wrong("expected a finite number that fits a double")
    return value


def _decimal(value: Any) -> Any:
    if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]{1,29}(\.[0-9]{1,29})?", value):
        return value
    return _number(value)


def _instant(value: Any) -> str:
    try:
        return times.parse(_text(value))
    except ValueError as error:
        raise Wrong(str(error)) from None


def _date(value: Any) -> str:
    text = _text(value)
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        try:
            return date.fromisoformat(text).isoformat()
        except ValueError:
            pass
    raise Wrong(f"not a date: '{_short(text)}'; expected such as 2026-11-23")


def _time(value: Any) -> str:
    text = _text(value)
    match = re.fullmatch(r"([0-9]{2}:[0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,12}))?)?", text)
    if match:
        second = match[2] or "00"
        try:
            time.fromisoformat(f"{match[1]}:{second}")
        except ValueError:
            pass
        else:
            return f"{match[1]}:{second}.{(match[3] or '')[:7].ljust(7, '0')}"
    raise Wrong(f"not a time of day: '{_short(text)}'; expected such as 08:30:00")


_DURATION = re.compile(r"-?P(?=.)([0-9]{1,9}D)?(T(?=.)([0-9]{1,9}H)?([0-9]{1,9}M)?([0-9]{1,9}(\.[0-9]{1,12})?S)?)?")


def _duration(value: Any) -> str:
    text = _text(value).upper()
    if _DURATION.fullmatch(text) is None:
        raise Wrong(f"not a duration: '{_short(text)}'; expected such as P1DT2H30M")
    return text


def _guid(value: Any) -> str:
    text = _text(value).lower()
    if re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", text) is None:
        raise Wrong(f"not a GUID: '{_short(text)}'; expected such as 1f0c2b3a-0000-4000-8000-000000000000")
    return text


def _binary(value: Any) -> str:
    """base64 or base64url; kept as it came."""
    text = _text(value)
    try:
        base64.b64decode(text.translate(_URL_SAFE).rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise Wrong(f"not base64: '{_short(text)}'") from None
    return text


_URL_SAFE = str.maketrans("-_", "+/")

PRIMITIVES: dict[str, Callable[[Any], Any]] = {
    "Edm.String": _text,
    "Edm.Boolean": _boolean,
    "Edm.Byte": _integer(0, 2**8 - 1),
    "Edm.SByte": _integer(-(2**7), 2**7 - 1),
    "Edm.Int16": _integer(-(2**15), 2**15 - 1),
    "Edm.Int32": _integer(-(2**31), 2**31 - 1),
    "Edm.Int64": _integer(-(2**63), 2**63 - 1, text=True),
    "Edm.Double": _number,
    "Edm.Single": _number,
    "Edm.Decimal": _decimal,
    "Edm.DateTimeOffset": _instant,
    "Edm.Date": _date,
    "Edm.TimeOfDay": _time,
    "Edm.Duration": _duration,
    "Edm.Guid": _guid,
    "Edm.Binary": _binary,
    "Edm.Stream": _text,
}


# ---------------------------------------------------------------- words of messages


def _what(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the string '{_short(value)}'"
    if isinstance(value, int | float):
        return f"the number {_short(repr(value))}" if abs(value) < 10**20 else "a number"
    if isinstance(value, list):
        return "an array"
    return "an object" if isinstance(value, dict) else type(value).__name__


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:40] + "..."


def _listed(names: list[str]) -> str:
    more = len(names) - _NAMED_IN_ERRORS
    return ", ".join(names[:_NAMED_IN_ERRORS]) + (f" and {more} more" if more > 0 else "")
