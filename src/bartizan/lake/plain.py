"""JSON values made such that they can be written and read back whole: bounded depth, text that is Unicode, no NaN."""

import json
import math
from typing import Any, NamedTuple

import msgspec

MAX_DEPTH = 64  # of objects and arrays in one column; what lies deeper becomes its JSON text

encode = msgspec.json.Encoder().encode
_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode
_strict = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False).encode


def text(value: str) -> str:
    """The same text, or, where it holds lone surrogates, one with `\\udXXX` in their place."""
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "backslashreplace").decode()
    return value


def plain(value: Any) -> Any:
    """The same value where it is plain already, which nearly all are; a cleaned copy otherwise."""
    if isinstance(value, str):
        return text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict | list):
        try:
            written = encode(value)
        except (UnicodeEncodeError, RecursionError):
            return _cleaned(value, 0)
        # No more brackets than levels: not too deep. NaN and infinity would be written as null.
        if written.count(b"[") + written.count(b"{") > MAX_DEPTH or (b"null" in written and not _finite(value)):
            return _cleaned(value, 0)
    return value


def _finite(value: Any) -> bool:
    try:
        _strict(value)
    except ValueError:
        return False
    return True


def _cleaned(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict | list) and depth == MAX_DEPTH:
        return json_text(value)
    if isinstance(value, list):
        return [_cleaned(item, depth + 1) for item in value]
    if isinstance(value, dict):
        made: dict[str, Any] = {}
        for key, item in value.items():
            put(made, text(key), _cleaned(item, depth + 1))
        return made
    return value


def put(into: dict[str, Any], name: str, value: Any) -> None:
    """Adds a member; where the name is taken by another value, under the name with a number behind it."""
    free, number = name, 1
    while free in into:
        if same(into[free], value):
            return
        number += 1
        free = f"{name}_{number}"
    into[free] = value


def same(one: Any, other: Any) -> bool:
    """As JSON: 1, 1.0 and true are three values."""
    return one is other or json_text(one) == json_text(other)


class _Mark(NamedTuple):
    """A piece of JSON that is written as it is."""

    written: str


def json_text(value: Any) -> str:
    """Compact JSON, however deep; NaN and infinities by their names, lone surrogates escaped."""
    try:
        written = encode(value)
        # null may stand for NaN or infinity there; text with lone surrogates it would have refused
        return written.decode() if b"null" not in written else _dumps(value)
    except (UnicodeEncodeError, RecursionError):
        pass  # the slow way takes any value
    parts: list[str] = []
    stack: list[Any] = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, _Mark):
            parts.append(item.written)
        elif isinstance(item, dict):
            parts.append("{")
            stack.append(_Mark("}"))
            for number, (key, member) in reversed(list(enumerate(item.items()))):
                stack += [member, _Mark(("," if number else "") + _scalar(key) + ":")]
        elif isinstance(item, list):
            parts.append("[")
            stack.append(_Mark("]"))
            for number, member in reversed(list(enumerate(item))):
                stack += [member, _Mark("," if number else "")]
        else:
            parts.append(_scalar(item))
    return "".join(parts)


def _scalar(value: Any) -> str:
    if isinstance(value, str) and text(value) == value:
        return json.dumps(value, ensure_ascii=False)
    return json.dumps(value)
