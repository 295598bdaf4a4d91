"""Network intelligence: what is known of an address at a time, for a tenant, and which credentials have leaked.

The names below are imported when they are asked for, so that whoever needs only the tables does not pay for the store.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bartizan.intel.networks import UNKNOWN, Intel, Network
    from bartizan.intel.tables import Kind, Leak
    from bartizan.intel.views import intel_of

__all__ = ["UNKNOWN", "Intel", "Kind", "Leak", "Network", "intel_of"]

_MODULES = {
    **dict.fromkeys(("UNKNOWN", "Intel", "Network"), "networks"),
    **dict.fromkeys(("Kind", "Leak"), "tables"),
    "intel_of": "views",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
