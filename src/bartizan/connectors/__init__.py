"""One file per system that Bartizan connects to; `load` imports them all, and each registers itself."""

import importlib
import pkgutil


def load() -> None:
    for found in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{found.name}")
