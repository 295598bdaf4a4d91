"""The controls, one file a family; a file of this folder is read by being here."""

import importlib
import pkgutil


def load() -> None:
    for found in sorted(pkgutil.iter_modules(__path__), key=lambda each: each.name):
        importlib.import_module(f"{__name__}.{found.name}")
