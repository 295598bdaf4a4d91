"""The command `bartizan hunt`: one query over what is stored, or many over the empty tables of a catalogue.

Source: JSON Lines (jsonlines.org).
"""

import asyncio
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import click
import msgspec
from rich.console import Console
from rich.table import Table as Grid

from bartizan.auth import audit
from bartizan.auth.accounts import Accounts
from bartizan.errors import BartizanError
from bartizan.hunt.beside import Beside, External
from bartizan.hunt.catalogue import Catalogue, catalogue, of_columns
from bartizan.hunt.duckdb.emit import Storage
from bartizan.hunt.duckdb.open import connect
from bartizan.hunt.fault import KqlError
from bartizan.hunt.lent import Give
from bartizan.hunt.line import Bounds, Want
from bartizan.hunt.places import SETUP
from bartizan.hunt.run import Result, Runner
from bartizan.hunt.service import TOLD_CHARS
from bartizan.hunt.timespan import between
from bartizan.hunt.tree import Scalar
from bartizan.lake import Lake
from bartizan.lake.columns import empty, quoted
from bartizan.lake.manifest import Manifest
from bartizan.lake.storage import Storage as Files
from bartizan.lake.storage import view
from bartizan.lake.tables import INGESTED
from bartizan.settings import BadSettings, Settings, load
from bartizan.store import Collection, Tx, open_store

ACTOR = "bartizan hunt"
LOCAL = Bounds(seconds=600.0, rows=1_000_000, bytes=2**30)  # whoever has the machine may wait
BATCH = Bounds(seconds=60.0)


class Around(Protocol):
    """What rooms above tell the command (`cli.Surroundings`)."""

    def collections(self) -> tuple[Collection, ...]:
        """Of the whole program."""
        ...

    def lake(self, settings: Settings) -> Lake:
        """Not started; it knows every table that sources fill."""
        ...

    def files(self, settings: Settings) -> External:
        """What queries may read at the addresses that are allowed."""
        ...


@click.command()
@click.argument("query", required=False)
@click.option("--data", metavar="DIR", help="Folder of the server's own files.")
@click.option("--store", metavar="DSN", help="postgresql:// address of the database; SQLite if not said.")
@click.option("--tenant", metavar="TENANT", help="Id, domain or name; the first one if not said.")
@click.option("--timespan", metavar="SPAN", help="Only rows of this time, such as P30D or 2026-11-01/2026-11-08.")
@click.option("--json", "as_json", is_flag=True, help="The answer as Graph gives it, instead of a table.")
@click.option(
    "--tables",
    "tables_file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="With --batch: the tables, empty, as JSON: names -> columns -> Kusto types.",
)
@click.option("--batch", "batch", metavar="IN OUT", nargs=2, help='Run the {"id", "query"} lines of IN, write OUT.')
@click.pass_obj
def hunt(
    around: Around,
    query: str | None,
    data: str | None,
    store: str | None,
    tenant: str | None,
    timespan: str | None,
    as_json: bool,
    tables_file: Path | None,
    batch: tuple[str, str] | None,
) -> None:
    """Search what is stored with QUERY in the Kusto query language (- reads it from standard input).

    With --batch the queries run on empty tables: those of --tables, or this program's.
    """
    try:
        if batch is not None:
            if query is not None:
                raise click.UsageError("give either a query or --batch")
            _batch(Path(batch[0]), Path(batch[1]), None if tables_file is None else _tables_of(tables_file))
            return
        if query is None or tables_file is not None:
            raise click.UsageError("a query is missing" if query is None else "--tables goes with --batch")
        text = sys.stdin.read() if query == "-" else query
        _show(asyncio.run(_one(around, load(data, store=store), text, tenant, timespan)), as_json)
    except BadSettings as error:
        raise click.UsageError(str(error)) from None
    except KqlError as fault:
        where = f"line {fault.line}, column {fault.column}: " if fault.line else ""
        raise click.ClickException(f"{where}{fault.message}") from None
    except (BartizanError, OSError) as error:
        raise click.ClickException(str(error)) from None


# ---------------------------------------------------------------- one query over what is stored


async def _one(around: Around, settings: Settings, query: str, tenant: str | None, timespan: str | None) -> Result:
    """That somebody hunts in a tenant is in its audit."""
    now = datetime.now(UTC)
    since, until = between(timespan, now)
    store, lake = open_store(settings.store or settings.folder, around.collections()), around.lake(settings)
    beside = Beside(store, around.files(settings))
    await store.start()
    try:
        owner = (await Accounts(store).chosen(tenant)).id
        await store.tenant(owner).write(lambda tx: _note(tx, query), actor=ACTOR)
        files, known = await _files(settings, lake, owner), await beside.known(owner, now)
        runner = Runner(connect(folders=[files.folder], setup=SETUP, macros=False), catalogue(), _give(beside, owner))
        run = partial(runner.run, query, files, now, LOCAL, filled=frozenset(files.files), known=known)
        return await asyncio.to_thread(run, since=since, until=until)
    finally:
        await beside.close()
        await store.close()


async def _files(settings: Settings, lake: Lake, tenant: str) -> Files:
    """What the tenant has in files now."""
    await lake.start()
    try:
        files = await view(Manifest(lake, settings.lake_path), tenant)
    finally:
        await lake.close()
    files.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return files


def _give(beside: Beside, tenant: str) -> Give:
    """What the query's thread is lent by this one."""
    loop = asyncio.get_running_loop()

    def give(want: Want) -> bytes:
        try:
            return asyncio.run_coroutine_threadsafe(beside.lend(tenant, want), loop).result()
        except BartizanError as problem:
            raise KqlError("plan", problem.message) from None

    return give


def _note(tx: Tx, query: str) -> None:
    told = {"query": (None, query[:TOLD_CHARS])}
    targets = [audit.Target("security", "bartizan hunt", modified=told)]
    audit.record(tx, actor=audit.OPERATOR, activity="Run hunting query", category="Security", targets=targets)


def _show(result: Result, as_json: bool) -> None:
    from bartizan.hunt.child import body

    for note in result.notes:
        click.echo(f"note: {note}", err=True)
    if as_json:
        click.echo(body(result, "graph"))
        return
    grid = Grid(*(name for name, _ in result.columns))
    for row in result.rows:
        grid.add_row(*(_text(value) for value in row))
    Console(width=None if sys.stdout.isatty() else 10_000).print(grid)
    click.echo(f"{len(result.rows):,} rows", err=True)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


# ---------------------------------------------------------------- many over empty tables


class EmptyTables:
    """A `Storage` whose tables hold nothing. Columns are numbered: names may differ only in case."""

    def __init__(self, tables: Mapping[str, Mapping[str, Scalar]]) -> None:
        self._tables = tables

    def source(self, table: str) -> str:
        columns = self._tables[table]
        none = [f"{_empty(kind)} AS {quoted(f'k{n}')}" for n, kind in enumerate(columns.values())]
        none.append(f"NULL::TIMESTAMP AS {quoted(INGESTED)}")
        return f"(SELECT {', '.join(none)} WHERE false)"

    def column(self, table: str, name: str) -> str:
        return quoted(name if name == INGESTED else f"k{list(self._tables[table]).index(name)}")


def _empty(kind: Scalar) -> str:
    return "NULL::DECIMAL(38, 18)" if kind == "decimal" else empty(kind)


def _tables_of(file: Path) -> dict[str, dict[str, Scalar]]:
    """`{"tables": {name: {"columns": {column: type}}}}`, or without the words between."""
    try:
        given = msgspec.json.decode(file.read_bytes())
        tables = given.get("tables", given)
        return msgspec.convert(
            {name: each.get("columns", each) for name, each in tables.items()}, dict[str, dict[str, Scalar]]
        )
    except (msgspec.DecodeError, msgspec.ValidationError, AttributeError) as error:
        raise click.ClickException(f"{file}: no catalogue of tables: {error}") from None


def _batch(source: Path, target: Path, tables: dict[str, dict[str, Scalar]] | None) -> None:
    known: Catalogue = catalogue() if tables is None else of_columns(tables)
    runner = Runner(connect(macros=False), known, empty=True)
    storage: Storage = EmptyTables({name: table.columns for name, table in known.tables.items()})
    with source.open("rb") as lines, target.open("wb") as out:
        for number, line in enumerate(_lines(lines), 1):
            out.write(_answered(runner, storage, line, number) + b"\n")


def _lines(file: BinaryIO) -> Iterator[bytes]:
    return (line for line in file if line.strip())


def _answered(runner: Runner, storage: Storage, line: bytes, number: int) -> bytes:
    try:
        given = msgspec.json.decode(line, type=dict[str, Any])
        id_, query = given.get("id"), given["query"]
    except (msgspec.DecodeError, msgspec.ValidationError, KeyError):
        return msgspec.json.encode({"id": None, "error": _error("parse", f"line {number} has no id and query")})
    try:
        result = runner.run(str(query), storage, datetime.now(UTC), BATCH)
    except KqlError as fault:
        return msgspec.json.encode({"id": id_, "error": _error(fault.phase, fault.message, fault.line, fault.column)})
    schema = [{"name": name, "type": type_} for name, type_ in result.columns]
    return msgspec.json.encode({"id": id_, "schema": schema, "results": result.rows})


def _error(phase: str, message: str, line: int = 0, column: int = 0) -> dict[str, Any]:
    return {"phase": phase, "message": message, "line": line, "column": column}
