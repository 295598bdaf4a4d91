"""The query options of one request, and the token that carries them on to the next page.

Names are read in any case, with or without `$` (Graph takes both); a system option that is unknown or given twice is
refused, other parameters are left alone. A field without `=` is no option, unless it is the name of one: a documented
request of Graph has such a stray field (`$orderbydisplayName`) and is answered.

Source: OData 4.01 Part 2, section 5.1; "Use query parameters to customize responses" of Microsoft Graph.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec import Struct

from bartizan.errors import InvalidQuery

MAX_QUERY_CHARACTERS = 16_384
MAX_TOKEN_CHARACTERS = 24_576  # a token repeats the query that it continues, in base64
MAX_NUMBER = 2**31 - 1
CONSISTENCY: Final = "consistencylevel"  # a header of Graph's that it takes as a parameter too
SYSTEM: Final = tuple("filter orderby select expand search top skip count skiptoken deltatoken format".split())
_MAC_BYTES = 16  # of the HMAC that a token carries
_JSON_FORMATS = ("json", "application/json")

Position = tuple[str | int | float | bool | None, ...]


class QueryOptions(Struct, frozen=True, omit_defaults=True, rename={"orderby": "o", "filter": "f"}):
    """The system options as text and numbers; None where they were not given."""

    filter: str | None = None
    orderby: str | None = None
    select: str | None = None
    expand: str | None = None
    search: str | None = None
    top: int | None = None
    skip: int | None = None
    count: bool | None = None
    skiptoken: str | None = None
    deltatoken: str | None = None
    consistency: str | None = None  # ConsistencyLevel, where it is a parameter


def parse_options(raw_query: str) -> QueryOptions:
    """The options of a raw query string (behind `?`). InvalidQuery names what is wrong and what is known."""
    if len(raw_query) > MAX_QUERY_CHARACTERS:
        raise InvalidQuery(f"The query has {len(raw_query)} characters; the most is {MAX_QUERY_CHARACTERS}.")
    found: dict[str, str] = {}
    for part in raw_query.split("&"):
        raw_name, equals, raw_value = part.partition("=")
        name = _decoded(raw_name).strip()
        bare = name.removeprefix("$").lower()
        if name.lower() == CONSISTENCY:
            found[CONSISTENCY] = _decoded(raw_value).strip()
            continue
        if bare not in SYSTEM:
            if name.startswith("$") and equals:
                known = ", ".join(f"${each}" for each in SYSTEM)
                raise InvalidQuery(f"Unknown query option '{name[:40]}'; known: {known}.", code="invalidQueryOption")
            continue
        if not equals:
            raise InvalidQuery(f"Query option ${bare} has no value.", code="invalidQueryOption")
        if bare in found:
            raise InvalidQuery(f"Query option ${bare} is given twice.", code="invalidQueryOption")
        found[bare] = _decoded(raw_value).strip()
    return _typed(found)


def _decoded(raw: str) -> str:
    """Percent-decoding; `+` is a space (a date whose offset lost its `+` so is read by `odata.lex`)."""
    try:
        return unquote_to_bytes(raw.replace("+", " ")).decode()
    except UnicodeError:
        raise InvalidQuery(f"The query is not UTF-8 at '{raw[:40]}'.") from None


def _typed(found: dict[str, str]) -> QueryOptions:
    count = found.get("count")
    if count is not None and count.lower() not in ("true", "false"):
        raise InvalidQuery(f"$count is '{count[:40]}'; it takes true or false.", code="invalidQueryOption")
    kind = found.get("format", "json").partition(";")[0].strip().lower()
    if kind not in _JSON_FORMATS:
        raise InvalidQuery(f"$format '{kind[:40]}' is not served; only json is.", code="invalidQueryOption")
    return QueryOptions(
        filter=found.get("filter") or None,
        orderby=found.get("orderby") or None,
        select=found.get("select") or None,
        expand=found.get("expand") or None,
        search=found.get("search") or None,
        top=_number("top", found.get("top")),
        skip=_number("skip", found.get("skip")),
        count=None if count is None else count.lower() == "true",
        skiptoken=found.get("skiptoken") or None,
        deltatoken=found.get("deltatoken") or None,
        consistency=found.get(CONSISTENCY) or None,
    )


def _number(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    if text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= MAX_NUMBER:
        return int(text)
    raise InvalidQuery(f"${name} is '{text[:40]}'; it takes a whole number from 0 to {MAX_NUMBER}.")


class _Token(Struct, frozen=True, array_like=True):
    options: QueryOptions
    position: Position


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Token).decode


def _mac(key: bytes, bound_to: Sequence[str], content: bytes) -> bytes:
    """Over what the token is bound to (tenant, path, version; each with its length) and what it says."""
    bound = b"".join(b"%d:%b" % (len(part.encode()), part.encode()) for part in bound_to)
    return hmac.new(key, bound + content, hashlib.sha256).digest()[:_MAC_BYTES]


def encode_token(key: bytes, bound_to: Sequence[str], options: QueryOptions, position: Position) -> str:
    """The text of `$skiptoken`: the whole query and where to go on, readable by whoever holds the key only in full.

    `bound_to` names what it is good for: tenant, path, version and whatever else must be the same next time.
    InvalidQuery where a sort value is too long to be carried.
    """
    content = _encode(_Token(options, position))
    text = base64.urlsafe_b64encode(_mac(key, bound_to, content) + content).rstrip(b"=").decode()
    if len(text) > MAX_TOKEN_CHARACTERS:
        raise InvalidQuery(
            "The sort values at the end of this page are too long to continue from; sort by other properties."
        )
    return text


def decode_token(key: bytes, bound_to: Sequence[str], text: str) -> tuple[QueryOptions, Position]:
    """Back from the text; InvalidQuery if it was changed, made for something else, or is none."""
    wrong = InvalidQuery("The $skiptoken is not valid for this request; follow @odata.nextLink unchanged.")
    if len(text) > MAX_TOKEN_CHARACTERS or not text.isascii():
        raise wrong
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise wrong from None
    mac, content = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
    if base64.urlsafe_b64encode(raw).rstrip(b"=") != text.encode():  # each token has one spelling
        raise wrong
    if not hmac.compare_digest(mac, _mac(key, bound_to, content)):
        raise wrong
    try:
        token = _decode(content)
    except msgspec.DecodeError:
        raise wrong from None
    return token.options, token.position
