"""OData text to tokens, in linear time: literals in every spelling that clients send, names, punctuation.

Accepted beyond the standard, because clients send it: strings in double quotes, a date whose `+` was decoded to a
space, any number of fraction digits, operators in any case, the typed literals of OData 2 (`datetime'...'`, `5L`).

Source: OData 4.01 ABNF Construction Rules, section "literal"; OData 2 "Uri Conventions", section 6.
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
    end: int  # offset behind it


_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK = r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?"
_TOKEN = re.compile(
    rf"""\s*(?:
    (?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*")
  | (?P<guid>[0-9a-fA-F]{{8}}-[0-9a-fA-F]{{4}}-[0-9a-fA-F]{{4}}-[0-9a-fA-F]{{4}}-[0-9a-fA-F]{{12}}(?![\w-]))
  | (?P<instant>{_DATE}[Tt]{_CLOCK}(?:[Zz]|\ ?[+-][0-9]{{2}}:?[0-9]{{2}}|\ [0-9]{{2}}:[0-9]{{2}})?(?![\w:]))
  | (?P<date>{_DATE}(?![\w-]))
  | (?P<time>{_CLOCK}(?![\w:]))
  | (?P<real>[0-9]+(?:(?:\.[0-9]+)?[eE][+-]?[0-9]+|\.[0-9]+)[dDfFmM]?(?![\w.])|[0-9]+[dDfFmM](?![\w.]))
  | (?P<int>[0-9]+[lL]?(?![\w.]))
  | (?P<name>[@$]?[^\W\d]\w*(?:\.[^\W\d]\w*)*)
  | (?P<mark>[(),/:*=\-;])
  | (?P<end>\Z)
    )""",
    re.VERBOSE,
)


def checked(text: str, what: str) -> str:
    """The same text, within bounds and of characters that a document can hold; `what` names the option in the error."""
    if len(text) > MAX_CHARACTERS:
        raise InvalidQuery(f"{what}: {len(text)} characters are more than the {MAX_CHARACTERS} that are read.")
    if "\0" in text:
        raise InvalidQuery(f"{what}: a NUL character at position {text.index(chr(0))}; no property holds one.")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidQuery(f"{what}: half a surrogate pair at position {error.start}; send UTF-8.") from None
    return text


def tokens(text: str, what: str) -> list[Token]:
    """All tokens and an end mark. InvalidQuery with the position of what cannot be read; `what` names the option."""
    checked(text, what)
    found: list[Token] = []
    at = 0
    match_at = _TOKEN.match
    while True:
        match = match_at(text, at)
        if match is None:
            raise unreadable(text, at, what)
        kind: TokenKind = match.lastgroup  # type: ignore[assignment]  # a group's name is a TokenKind
        start, at = match.span(kind)
        value = text[start:at]
        if kind == "text":
            quote = value[0]
            value = value[1:-1].replace(quote * 2, quote)
        found.append(Token(kind, value, start, at))
        if kind == "end":
            return found


def unreadable(text: str, at: int, what: str) -> InvalidQuery:
    """The error for a character that starts no token."""
    while text[at].isspace():
        at += 1
    if text[at] in "'\"":
        return InvalidQuery(f"{what}: the string that begins at position {at} is not closed.")
    if text[at] in "‘’“”":
        return InvalidQuery(f"{what}: '{text[at]}' at position {at}; a string stands between straight quotes: 'text'.")
    return InvalidQuery(
        f"{what}: cannot read '{text[at : at + 20]}' at position {at}; expected a property, an operator or a literal."
    )
