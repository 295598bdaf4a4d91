"""Queries in Kusto's language: text to tree (`parser`), tree to plan (`binder`), plan to SQL (`duckdb`), all of it by
`translate`.

The names below are imported when they are asked for, so that whoever only hands queries on to a process that runs them
does not pay for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bartizan.hunt.fault import KqlError
    from bartizan.hunt.front import Translation, translate

__all__ = ["KqlError", "Translation", "translate"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{'fault' if name == 'KqlError' else 'front'}"), name)
