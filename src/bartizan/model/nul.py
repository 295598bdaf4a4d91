"""The NUL character, which JSON can write and PostgreSQL's text cannot hold: U+FFFD stands in its place.

Source: PostgreSQL, "Character Types"; RFC 8259, section 7.
"""

from collections.abc import Mapping
from typing import Any

_NUL = b"\\u0000"


def has_nul(content: bytes) -> bool:
    """Of JSON as msgspec writes it. True also where its text says backslash, u0000, which does no harm.

    It is an escape, so it lies between the first backslash and the last one: they are found ten times as fast as it is,
    and most texts have none.
    """
    first = content.find(b"\\")
    return first >= 0 and content.find(_NUL, first, content.rfind(b"\\") + len(_NUL)) >= 0


def without_nul(value: Any) -> Any:
    """A JSON value with U+FFFD for each NUL, in names too."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, Mapping):
        return {without_nul(name): without_nul(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nul(item) for item in value]
    return value
