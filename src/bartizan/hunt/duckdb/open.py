"""A connection of DuckDB on which queries of users may run: it reads only the folders that it is given, loads nothing,
stays within its memory and its threads, and none of that can be changed any more.

Source: DuckDB manual, "Securing DuckDB".
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import duckdb

from bartizan.hunt.duckdb.literal import text
from bartizan.hunt.duckdb.macros import install

MEMORY_MB = 1024
THREADS = 2
SPILL_MB = 4096


def connect(
    *,
    folders: Iterable[Path] = (),
    memory_mb: int = MEMORY_MB,
    threads: int = THREADS,
    spill: Path | None = None,
    spill_mb: int = SPILL_MB,
    setup: Iterable[str] = (),
    macros: bool = True,
) -> duckdb.DuckDBPyConnection:
    """An in-memory database with the macros of hunting. `folders`: where Parquet files may be read; `spill`: a folder
    for what does not fit in the memory (none: such a query fails); `setup`: statements of our own, such as views, that
    run before the configuration is locked; `macros`: whether all are made now, or by whoever runs the statements."""
    connection = duckdb.connect(":memory:", config={"threads": threads, "allow_unsigned_extensions": "false"})
    settings: dict[str, str] = {
        "TimeZone": "'UTC'",
        "memory_limit": text(f"{memory_mb}MB"),
        "error_on_division_by_zero": "false",
        "preserve_insertion_order": "true",
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "allow_community_extensions": "false",
        "temp_directory": text("" if spill is None else str(spill)),
        "max_temp_directory_size": text(f"{spill_mb}MB"),
    }
    allowed = [str(each.resolve()) + "/" for each in folders]
    if allowed:
        settings["allowed_directories"] = f"[{', '.join(text(each) for each in allowed)}]"
    _set(connection, settings)
    if macros:
        install(connection)
    for each in setup:
        connection.execute(each)
    _set(connection, {"enable_external_access": "false", "lock_configuration": "true"})
    return connection


def _set(connection: duckdb.DuckDBPyConnection, settings: Mapping[str, str]) -> None:
    for name, value in settings.items():
        connection.execute(f"SET {name} = {value}")
