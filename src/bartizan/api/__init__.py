"""The Graph API: `wire` speaks it, `documents` describes it, each other file here declares one area of resources."""

import importlib
import pkgutil


def load() -> None:
    """Imports every area, so that its resources are declared; a file of this folder is an area by being here."""
    for found in sorted(pkgutil.iter_modules(__path__), key=lambda each: each.name):
        if not found.ispkg:
            importlib.import_module(f"{__name__}.{found.name}")
