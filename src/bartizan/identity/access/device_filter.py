"""The rule of a filter for devices: text -> tree -> whether a device matches.

A bounded part of the language is read precisely: `device.PROPERTY OPERATOR VALUE`, `-not`, `-and`, `-or`, parentheses.
Whatever else a rule says is `NotReadable`, with what and where; it is never taken for a match or for none.

Source: Microsoft Entra, "Conditional Access: Filter for devices" (operators, properties, devices that are not
registered).
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from msgspec import Struct

MAX_CHARS = 3_072  # documented for a rule
MAX_TERMS = 200
MAX_DEPTH = 20

Test: TypeAlias = Callable[[Mapping[str, Any]], bool]  # properties by their names in lower case; absent: not known

_TEXTS = (
    "deviceId displayName deviceOwnership enrollmentProfileName manufacturer mdmAppId model operatingSystem "
    "operatingSystemVersion profileType trustType"
).split() + [f"extensionAttribute{n}" for n in range(1, 16)]
_LISTS = ("physicalIds", "systemLabels")
_FLAGS = ("isCompliant",)
_KINDS = {
    **{name.lower(): "text" for name in _TEXTS},
    **{name.lower(): "list" for name in _LISTS},
    **{name.lower(): "flag" for name in _FLAGS},
}
PROPERTIES = (*_TEXTS, *_LISTS, *_FLAGS)

_POSITIVE: Mapping[str, Callable[[str, str], bool]] = {
    "eq": lambda has, want: has == want,
    "startswith": lambda has, want: has.startswith(want),
    "endswith": lambda has, want: has.endswith(want),
    "contains": lambda has, want: want in has,
}
_NEGATIVE = {"ne": "eq", "notstartswith": "startswith", "notendswith": "endswith", "notcontains": "contains"}

_TOKEN = re.compile(
    r"""\s*(?:(?P<mark>[()\[\],])|"(?P<text>(?:[^"`]|`.)*)"|'(?P<single>[^']*)'|-(?P<word>[A-Za-z]+)|(?P<name>[A-Za-z][\w.]*))"""
)


class NotReadable(ValueError):
    """The rule is outside of what is read here."""


class _Token(Struct, frozen=True):
    kind: str  # mark, text, word, name
    value: str
    at: int


def parse(rule: str) -> Test:
    """The rule as a test of a device. NotReadable says what and where."""
    return _Parser(_tokens(rule)).whole()


def _tokens(rule: str) -> list[_Token]:
    if len(rule) > MAX_CHARS:
        raise NotReadable(f"longer than {MAX_CHARS} characters")
    rule = rule.rstrip()
    found: list[_Token] = []
    at = 0
    while at < len(rule):
        match = _TOKEN.match(rule, at)
        if match is None:
            raise NotReadable(f"cannot read {rule[at : at + 30].strip()!r} at {at}")
        kind = str(match.lastgroup)
        value = match[kind]
        if kind == "text":
            value = re.sub("`(.)", r"\1", value)
        found.append(_Token("text" if kind == "single" else kind, value, match.start(kind)))
        at = match.end()
    return found


class _Parser:
    """Precedence: parentheses, -not, -and, -or."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._terms = 0

    def whole(self) -> Test:
        made = self._either(0)
        if self._at < len(self._tokens):
            raise self._wrong("-and, -or or the end")
        return made

    def _wrong(self, wanted: str) -> NotReadable:
        if self._at >= len(self._tokens):
            return NotReadable(f"ends where {wanted} is expected")
        token = self._tokens[self._at]
        return NotReadable(f"{token.value[:30]!r} at {token.at} where {wanted} is expected")

    def _is(self, kind: str, *values: str) -> bool:
        if self._at >= len(self._tokens):
            return False
        token = self._tokens[self._at]
        return token.kind == kind and (not values or token.value.lower() in values)

    def _take(self, kind: str, wanted: str, *values: str) -> str:
        if not self._is(kind, *values):
            raise self._wrong(wanted)
        self._at += 1
        return self._tokens[self._at - 1].value

    def _either(self, depth: int) -> Test:
        if depth > MAX_DEPTH:
            raise NotReadable(f"nested deeper than {MAX_DEPTH} levels")
        parts = [self._both(depth)]
        while self._is("word", "or"):
            self._at += 1
            parts.append(self._both(depth))
        return parts[0] if len(parts) == 1 else lambda device: any(part(device) for part in parts)

    def _both(self, depth: int) -> Test:
        parts = [self._one(depth)]
        while self._is("word", "and"):
            self._at += 1
            parts.append(self._one(depth))
        return parts[0] if len(parts) == 1 else lambda device: all(part(device) for part in parts)

    def _one(self, depth: int) -> Test:
        if depth > MAX_DEPTH:
            raise NotReadable(f"nested deeper than {MAX_DEPTH} levels")
        if self._is("word", "not"):
            self._at += 1
            inside = self._one(depth + 1)
            return lambda device: not inside(device)
        if self._is("mark", "("):
            self._at += 1
            inside = self._either(depth + 1)
            self._take("mark", "')'", ")")
            return inside
        return self._term()

    def _term(self) -> Test:
        self._terms += 1
        if self._terms > MAX_TERMS:
            raise NotReadable(f"more than {MAX_TERMS} terms")
        name = self._take("name", "device.PROPERTY")
        of, _, own = name.partition(".")
        kind = _KINDS.get(own.lower())
        if of.lower() != "device" or kind is None:
            raise NotReadable(f"{name[:60]!r} is none of {', '.join(f'device.{each}' for each in PROPERTIES)}")
        word = self._take("word", "an operator").lower()
        wanted = self._values(several=word in ("in", "notin"))
        return _test(own.lower(), kind, word, wanted)

    def _values(self, *, several: bool) -> list[str]:
        if not several:
            return [self._value()]
        self._take("mark", "'['", "[")
        found = [self._value()]
        while self._is("mark", ","):
            self._at += 1
            found.append(self._value())
        self._take("mark", "']'", "]")
        return found

    def _value(self) -> str:
        if self._is("name", "true", "false"):
            return self._take("name", "a value")
        return self._take("text", "a text in quotes, True or False")


def _test(name: str, kind: str, word: str, wanted: list[str]) -> Test:
    """What is not known of a device matches no positive operator and every negative one."""
    folded = [each.casefold() for each in wanted]
    if word in ("in", "notin") and kind != "list":
        among = frozenset(folded)
        return _negated(lambda device: _folded(device.get(name)) in among, word == "notin")
    known = _NEGATIVE.get(word, word)
    if kind == "flag" and known != "eq":
        raise NotReadable(f"device.{name} takes -eq, -ne, -in and -notIn; got -{word[:30]}")
    if kind == "flag" and folded[0] not in ("true", "false"):
        raise NotReadable(f"device.{name} is True or False; got {wanted[0][:30]!r}")
    if kind == "list" and known != "contains":
        raise NotReadable(f"device.{name} takes -contains and -notContains; got -{word[:30]}")
    compare = _POSITIVE.get(known)
    if compare is None:
        raise NotReadable(f"-{word[:30]} is no operator that is read here")
    want = folded[0]
    if kind == "list":
        return _negated(
            lambda device: any(want in str(each).casefold() for each in device.get(name) or ()), known != word
        )

    def test(device: Mapping[str, Any]) -> bool:
        has = _folded(device.get(name))
        return has is not None and compare(has, want)

    return _negated(test, known != word)


def _negated(test: Test, turn: bool) -> Test:
    return (lambda device: not test(device)) if turn else test


def _folded(value: Any) -> str | None:
    return None if value is None else str(value).casefold()
