"""The lake as a reader sees it: a snapshot of the files of one tenant, and each table as SQL over them.

`source` gives what stands behind FROM: all columns of the table under their stored names, whatever files of older
catalogues lack. Which tables are the same rows under two products' names is said in `views`.

A snapshot holds for the manifest's grace: files that are replaced meanwhile stay for that long. Take one for each
query.

Source: DuckDB, "Reading and writing Parquet files" (the parameter `schema`); design of events in ARCHITECTURE.md.
"""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from msgspec import Struct

from bartizan.errors import BadRequest
from bartizan.lake.columns import ADDED, SQL, empty, literal, quoted
from bartizan.lake.manifest import Extent, File, Manifest, folder_of
from bartizan.lake.snapshots import SNAPSHOTS, shown
from bartizan.lake.tables import KustoType, Table, table
from bartizan.lake.views import VIEWS, View
from bartizan.model.times import ticks


class Storage(Struct, frozen=True):
    """What one tenant has in files, as of one moment. Pure: it asks nothing."""

    tenant: str
    folder: Path  # of the tenant: its reader needs no other
    root: Path
    through: int  # the number of the last flush that is in it
    expires: float  # monotonic seconds until which its files stay
    files: Mapping[str, Sequence[File]]  # by table

    @property
    def tables(self) -> list[str]:
        """Those that have rows, views too, by name."""
        views = [name for name, view in VIEWS.items() if view.of in self.files]
        return sorted({*self.files, *views})

    def columns(self, name: str) -> dict[str, KustoType]:
        """Columns of a table or view and their Kusto types, in order; BadRequest for a name that is neither."""
        of, view = _find(name)
        if view is None:
            return dict(of.columns)
        return {column: of.columns[stored] for column, stored in view.columns(of).items()}

    def column(self, table: str, name: str) -> str:
        """A column (its own spelling) as SQL, to be used with `source` of the same table. KeyError if it has none."""
        of, view = _find(table)
        if name in ADDED:
            return quoted(name)
        return quoted(of.stored(name if view is None else view.columns(of)[name]))

    def source(self, table: str, *, since: datetime | None = None, until: datetime | None = None) -> str:
        """What stands behind FROM: the rows of a table or view, none where it has none.

        `since` and `until` leave out files that hold nothing of that time; rows are still to be filtered.
        """
        of, _ = _find(table)
        paths = [str(self.root / file.path) for file in self.files.get(of.name, ()) if _overlaps(file, since, until)]
        kinds = of.kinds
        if not paths:
            none = [f"{empty(kind)} AS {quoted(column)}" for column, kind in kinds.items()]
            none += [f"NULL::{kind} AS {quoted(column)}" for column, kind in ADDED.items()]
            return f"(SELECT {', '.join(none)} WHERE false)"
        told = [_member(column, SQL[kind], "''" if kind == "string" else "NULL") for column, kind in kinds.items()]
        told += [_member(column, kind, "NULL") for column, kind in ADDED.items()]
        listed = ", ".join(literal(path) for path in paths)
        source = f"read_parquet([{listed}], schema = MAP {{{', '.join(told)}}})"
        return shown(source) if of.name in SNAPSHOTS else source

    def extents(self) -> list[Extent]:
        """Sizes by table."""
        return [
            Extent(name, len(files), sum(file.rows for file in files), sum(file.bytes for file in files))
            for name, files in sorted(self.files.items())
        ]


def _member(column: str, kind: str, default: str) -> str:
    name = literal(column)
    return f"{name}: {{name: {name}, type: '{kind}', default_value: {default}}}"


def _find(name: str) -> tuple[Table, View | None]:
    view = VIEWS.get(name)
    of = table(name if view is None else view.of)
    if of is None:
        raise BadRequest(f"there is no event table '{name[:100]}'")
    return of, view


def _overlaps(file: File, since: datetime | None, until: datetime | None) -> bool:
    """A file without times may hold anything."""
    if file.first_us is None or file.last_us is None:
        return True
    late = since is not None and file.last_us < ticks(since) // 10
    early = until is not None and file.first_us > ticks(until) // 10
    return not late and not early


async def view(manifest: Manifest, tenant: str) -> Storage:
    """What the tenant has now."""
    expires = time.monotonic() + manifest.grace_s
    through, found = await manifest.files(tenant)
    by_table: dict[str, list[File]] = {}
    for file in found:
        by_table.setdefault(file.table, []).append(file)
    root = manifest.folder.absolute()
    return Storage(tenant, root / folder_of(tenant), root, through, expires, by_table)
