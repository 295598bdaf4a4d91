"""Columns of the lake's tables as SQL of DuckDB: their types in Parquet, and what stands where there is nothing.

| Kusto | Parquet |
|---|---|
| string | VARCHAR, '' where absent |
| bool, int, long, real, guid | BOOLEAN, INTEGER, BIGINT, DOUBLE, UUID |
| datetime | TIMESTAMP in microseconds, UTC (the seventh digit is cut) |
| timespan | BIGINT, ticks of 100 ns |
| dynamic | VARCHAR with JSON |

Source: Kusto scalar data types; DuckDB data types.
"""

from collections.abc import Mapping

from bartizan.lake.tables import FLUSH, INGESTED, KustoType

SQL: Mapping[KustoType, str] = {
    "bool": "BOOLEAN",
    "datetime": "TIMESTAMP",
    "dynamic": "VARCHAR",
    "guid": "UUID",
    "int": "INTEGER",
    "long": "BIGINT",
    "real": "DOUBLE",
    "string": "VARCHAR",
    "timespan": "BIGINT",
}
ADDED: Mapping[str, str] = {FLUSH: "BIGINT", INGESTED: "TIMESTAMP"}  # by the flush, to every row


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def empty(kind: KustoType) -> str:
    """What stands where a file lacks a column."""
    return "''" if kind == "string" else f"NULL::{SQL[kind]}"
