"""The life of a process that runs hunts of one tenant: told over a socket what it may read, then query after query.

It encloses itself (`cage`) before the first query. Whoever asks may kill it at any moment. What it says is JSON and a
body: the process that asks never trusts it with more.
"""

from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec

from bartizan.hunt import cage
from bartizan.hunt.catalogue import catalogue
from bartizan.hunt.duckdb.open import connect
from bartizan.hunt.fault import KqlError
from bartizan.hunt.line import Ask, Form, Lent, Open, Said, Want
from bartizan.hunt.places import SETUP
from bartizan.hunt.run import Result, Runner
from bartizan.lake import declare
from bartizan.lake.storage import Storage

MEMORY_BESIDE_MB = 1_024  # what the process takes beside DuckDB's own limit


def serve(line: Connection) -> None:
    """Until the other side closes the line."""
    opened = msgspec.json.decode(line.recv_bytes(), type=Open)
    folder = Path(opened.folder)
    cage.limit((opened.memory_mb + MEMORY_BESIDE_MB) * 2**20)
    for name, columns in opened.tables.items():
        declare(name, columns)
    connection = connect(
        folders=[folder], memory_mb=opened.memory_mb, threads=opened.threads, setup=SETUP, macros=False
    )
    runner = Runner(connection, catalogue(), partial(_lent, line))
    cage.enclose(folder)
    line.send_bytes(b"{}")
    while True:
        try:
            asked = msgspec.json.decode(line.recv_bytes(), type=Ask)
        except (EOFError, ConnectionError):
            return
        files = msgspec.json.decode(asked.files, type=Storage, dec_hook=lambda kind, value: kind(value))
        try:
            result = runner.run(
                asked.query,
                files,
                asked.now,
                asked.bounds,
                since=asked.since,
                until=asked.until,
                filled=frozenset(files.files),
                known=asked.known,
            )
        except KqlError as fault:
            line.send_bytes(msgspec.json.encode(Said(fault.message, fault.phase, fault.line, fault.column)))
        else:
            line.send_bytes(msgspec.json.encode(Said()))
            line.send_bytes(body(result, asked.form))


def _lent(line: Connection, want: Want) -> bytes:
    """What whoever asked for the hunt gives. KqlError: it does not."""
    line.send_bytes(msgspec.json.encode(Said(want=want)))
    lent = msgspec.json.decode(line.recv_bytes(), type=Lent)
    if lent.fault:
        raise KqlError("plan", lent.fault)
    return line.recv_bytes()


_NET: dict[str, str] = {
    "bool": "SByte",
    "datetime": "DateTime",
    "decimal": "SqlDecimal",
    "dynamic": "Object",
    "guid": "Guid",
    "int": "Int32",
    "long": "Int64",
    "real": "Double",
    "string": "String",
    "timespan": "TimeSpan",
}
"""Names of types in Graph's answer.

Source: Graph, "security: runHuntingQuery"; Kusto, "ColumnType" of the query's HTTP response."""


def body(result: Result, form: Form) -> bytes:
    """`graph`: rows as objects and types by .NET's names, notes as an instance annotation where there are any; `rows`:
    rows as lists and Kusto's types.

    Source: OData JSON Format 4.01, "Instance Annotations": who does not know one passes it over."""
    if form == "rows":
        schema = [{"name": name, "type": type_} for name, type_ in result.columns]
        return msgspec.json.encode({"schema": schema, "results": result.rows, "notes": result.notes})
    names = [name for name, _ in result.columns]
    schema = [{"name": name, "type": _NET[type_]} for name, type_ in result.columns]
    rows = [dict(zip(names, row, strict=True)) for row in result.rows]
    noted = {"@bartizan.notes": result.notes} if result.notes else {}
    return msgspec.json.encode({**noted, "schema": schema, "results": rows})
