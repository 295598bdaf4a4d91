"""OData text to tokens: literals in every spelling that clients send, names, punctuation.

Accepted beyond the standard, because clients send it (`graph clients`): strings in double quotes, a date whose `+` was
decoded to a space, operators in any case, the `datetime'...'` of OData 2.

Source: OData 4.01 ABNF Construction Rules, section "literal".
"""

import re
from typing import Literal, NamedTuple

from bartizan.errors import InvalidQuery

MAX_CHARACTERS = 8_192  # longer text comes from no client that was seen; Graph's own URL limit is of this order

TokenKind = Literal["text", "instant", "date", "time", "guid", "int", "real", "name", "mark", "end"]


class Token(NamedTuple):
    kind: TokenKind
    value: str
    at: int  # offset in the text


_DATE = r"\d{4}-\d\d-\d\d"
_CLOCK = r"\d\d:\d\d(?::\d\d(?:\.\d+)?)?"
_TOKEN = re.compile(
    rf"""
    (?P<space>\s+)
  | (?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*")
  | (?P<guid>[0-9a-fA-F]{{8}}-[0-9a-fA-F]{{4}}-[0-9a-fA-F]{{4}}-[0-9a-fA-F]{{4}}-[0-9a-fA-F]{{12}}(?![\w-]))
  | (?P<instant>{_DATE}[Tt]{_CLOCK}(?:[Zz]|\s?[+-]\d\d:?\d\d|\s\d\d:\d\d)?(?![\w:]))
  | (?P<date>{_DATE}(?![\w-]))
  | (?P<time>\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?![\w:]))
  | (?P<real>\d+(?:\.\d+(?:[eE][+-]?\d+)?|[eE][+-]?\d+)[dDfFmM]?(?![\w.])|(?:INF|NaN)(?!\w))
  | (?P<int>\d+[lL]?(?![\w.]))
  | (?P<name>[@$]?[^\W\d]\w*(?:\.[^\W\d]\w*)*)
  | (?P<mark>[(),/:*=\-;])
    """,
    re.VERBOSE,
)


def tokens(text: str, what: str) -> list[Token]:
    """All tokens and an end mark. InvalidQuery with the position of what cannot be read; `what` names the option."""
    if len(text) > MAX_CHARACTERS:
        raise InvalidQuery(f"{what}: {len(text)} characters are more than the {MAX_CHARACTERS} that are read.")
    found: list[Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise unreadable(text, at, what)
        kind = match.lastgroup
        if kind == "text":
            quote = match[0][0]
            found.append(Token("text", match[0][1:-1].replace(quote * 2, quote), at))
        elif kind != "space":
            found.append(Token(kind, match[0], at))  # type: ignore[arg-type]  # a group's name is a TokenKind
        at = match.end()
    found.append(Token("end", "", len(text)))
    return found


def unreadable(text: str, at: int, what: str) -> InvalidQuery:
    """The error for a character that starts no token."""
    if text[at] in "'\"":
        return InvalidQuery(f"{what}: the string that begins at position {at} is not closed.")
    return InvalidQuery(f"{what}: cannot read '{text[at : at + 20]}' at position {at}.")
