"""Texts with `{{name}}` in them: a value takes its place, nothing else happens. No expressions, no code."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias
from urllib.parse import quote

from bartizan.extend.connectors import Rejected

MAX_DEPTH = 20  # of a body

Values: TypeAlias = Mapping[str, Any]

_NAME = re.compile(r"\{\{\s*([A-Za-z][A-Za-z0-9_.-]{0,99})\s*\}\}")


class Template:
    """One text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.names = tuple(_NAME.findall(text))
        rest = _NAME.sub("", text)
        if "{{" in rest or "}}" in rest:
            raise ValueError(f"'{text[:60]}': between {{{{ and }}}} stands one name")

    def value(self, known: Values) -> Any:
        """The value itself where the text is one name and nothing else, as in "{{cursor}}"; otherwise text."""
        alone = _NAME.fullmatch(self._text)
        return known.get(alone[1]) if alone is not None else self._with(known, str)

    def in_path(self, known: Values) -> str:
        """Percent-encoded, so that a value stays within its segment. Rejected where it would lead to another."""
        return self._with(known, _segment)

    def in_header(self, known: Values) -> str:
        """Rejected where a value would end the header."""
        made = self._with(known, str)
        if any(ord(letter) < 32 or ord(letter) == 127 for letter in made):
            raise Rejected("a value for a header has control characters")
        return made

    def _with(self, known: Values, form: Any) -> str:
        def one(match: re.Match[str]) -> str:
            value = known.get(match[1])
            return "" if value is None else str(form(value))

        return _NAME.sub(one, self._text)


def within(body: Any, known: Values) -> Any:
    """A JSON value with all its texts filled in; members and elements that are left without a value are left out."""
    if isinstance(body, str):
        return Template(body).value(known)
    if isinstance(body, dict):
        made = {name: (value, within(value, known)) for name, value in body.items()}
        return {name: new for name, (old, new) in made.items() if new is not None or old is None}
    if isinstance(body, list):
        pairs = [(value, within(value, known)) for value in body]
        return [new for old, new in pairs if new is not None or old is None]
    return body


def every_text(value: Any, depth: int = MAX_DEPTH) -> Iterator[str]:
    """All texts in a JSON value. ValueError where it is nested too deeply."""
    if depth == 0:
        raise ValueError(f"nested more than {MAX_DEPTH} deep")
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from every_text(each, depth - 1)


def shown_names(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def _segment(value: Any) -> str:
    text = str(value)
    if text in ("", ".", ".."):
        raise Rejected(f"'{text}' cannot stand in an address")
    return quote(text, safe="")
