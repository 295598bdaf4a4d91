"""The formats: one file each, a vendor's record in, alerts, events or Graph objects out.

Importing this package imports every file of it, so that each `Source` stands in `bartizan.extend.SOURCES`, and each
table of events that they fill in the catalogue of the lake.
"""

from importlib import import_module
from pkgutil import iter_modules

from bartizan.lake import declare

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

for _table, _columns in import_module(f"{__name__}.tables").TABLES.items():
    declare(_table, _columns)
