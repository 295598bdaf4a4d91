"""The formats: one file each, a vendor's record in, alerts, events or Graph objects out.

Importing this package imports every file of it, so that each `Source` stands in `bartizan.extend.SOURCES`.
"""

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
