"""The detections: one file each, found by being there; its cases are beside the tests, in YAML."""

import importlib
import pkgutil

for _each in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_each.name}")
