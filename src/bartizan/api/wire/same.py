"""Whether a value that a client sends is the one that it was shown: whoever reads an object, changes a property and
sends all of it back has changed that one property.
"""

from collections.abc import Mapping
from typing import Any

from bartizan.model import times

_MILLISECONDS = len("2026-11-29T11:20:30.123")  # what JavaScript's dates keep of an instant; Python's keep three more


def same(given: Any, shown: Any) -> bool:
    """`given` in inner form, `shown` as a document has it. Properties that a client does not know and leaves out, and
    digits that its dates do not hold, are no difference; an explicit null is one."""
    if isinstance(given, Mapping):
        there = {} if shown is None else shown
        return isinstance(there, Mapping) and all(
            same(value, there.get(name)) for name, value in given.items() if not name.startswith("@")
        )
    if isinstance(given, list):
        items = [] if shown is None else shown
        if not isinstance(items, list) or len(given) != len(items):
            return False
        return all(same(one, other) for one, other in zip(given, items, strict=True))
    if isinstance(given, str) and isinstance(shown, str) and given != shown:
        return _instant(given) == _instant(shown) is not None
    return bool(given == shown) and isinstance(given, bool) == isinstance(shown, bool)


def _instant(text: str) -> str | None:
    try:
        return times.parse(text)[:_MILLISECONDS]
    except ValueError:
        return None
