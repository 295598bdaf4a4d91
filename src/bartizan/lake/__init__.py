"""Events: the catalogue of tables (`tables`), rows made to fit them (`coerce`), documents as rows (`rows`), and the
durable, sequenced buffer (`buffer`).

The names below are imported when they are asked for, so that whoever needs only the catalogue pays only for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bartizan.lake.buffer import Batch, Lake, Sizes, open_lake
    from bartizan.lake.tables import TABLES, Table, declare, table

__all__ = ["TABLES", "Batch", "Lake", "Sizes", "Table", "declare", "open_lake", "table"]

_MODULES = {
    **dict.fromkeys(("Batch", "Lake", "Sizes", "open_lake"), "buffer"),
    **dict.fromkeys(("TABLES", "Table", "declare", "table"), "tables"),
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
