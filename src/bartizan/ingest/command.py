"""The commands `bartizan ingest`, `bartizan tail`, `bartizan normalise` and `bartizan sources`.

Formats stand beside this room and are found by name: whoever calls has imported them, or they are imported here.
"""

import asyncio
import contextlib
import importlib
import logging
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol

import click
import msgspec
import structlog

from bartizan.auth.accounts import Accounts
from bartizan.errors import BartizanError, NotFound
from bartizan.extend import SOURCES, Source
from bartizan.ingest.files import BadFile, FilesReceipt, ingest_files, raws_in
from bartizan.ingest.health import MAX_SOURCES, Health
from bartizan.ingest.health import SOURCES as INGESTION
from bartizan.ingest.makers import Makers
from bartizan.ingest.normalise import normalise as shown
from bartizan.ingest.pipeline import MARKS, EventSink, Pipeline, find_source
from bartizan.ingest.tail import Tail
from bartizan.lake.buffer import open_lake
from bartizan.settings import BadSettings, Settings, load
from bartizan.store import open_store
from bartizan.store.alerts import COLLECTIONS
from bartizan.store.interface import Collection, Query, Store

ACTOR = "bartizan ingest"


class Around(Protocol):
    """What rooms above tell the commands (`cli.Surroundings`)."""

    def collections(self) -> tuple[Collection, ...]:
        """Of the whole program."""
        ...

    def maker(self) -> tuple[str, ...]:
        """The command of a process that reads records for another."""
        ...


def _quiet() -> None:
    """Standard output is for answers."""
    structlog.configure(
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
    )


def _load() -> None:
    """Every format, and the event tables that they fill."""
    importlib.import_module("bartizan.sources")


def _find(name: str) -> Source:
    _load()
    try:
        return find_source(name)
    except NotFound as error:
        raise click.BadParameter(error.message, param_hint="SOURCE") from None


_file = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
_field = click.option("--field", metavar="NAME", help="Take each record from this member of the line's JSON object.")


def _source_and_file(
    context: click.Context, parameter: click.Parameter, given: tuple[str, ...]
) -> tuple[str | None, Path]:
    """Arguments are filled from the left: one that may be left out before another is one with it."""
    if len(given) > 2:
        raise click.UsageError(f"there are {len(given)} arguments; say one SOURCE and one FILE")
    return given[0] if len(given) == 2 else None, _file.convert(given[-1], parameter, context)


@click.command()
@click.argument("source_and_file", nargs=-1, required=True, metavar="[SOURCE] FILE", callback=_source_and_file)
@_field
@click.option("--detect", is_flag=True, help="Only name the source of each record, by its content.")
def normalise(source_and_file: tuple[str | None, Path], field: str | None, detect: bool) -> None:
    """Show what SOURCE makes of the records in FILE (- for standard input), a JSON line each. Stores nothing.

    A line is {"record": n, "raw_sha256", "alerts", "events", "entities"}, or {"record": n, "error"}; with --detect,
    which needs no SOURCE, {"record": n, "source"}, null where no source knows the record.
    """
    _quiet()
    source, file = source_and_file
    if source is None and not detect:
        raise click.UsageError("say a SOURCE before the FILE, or --detect")
    known = _find(source or "auto")
    name = importlib.import_module("bartizan.sources.detect").detect if detect else None
    out, number = sys.stdout.buffer, 0
    try:
        for batch in raws_in(file):
            for line in shown(known, batch, field=field, start=number + 1, detect=name):
                out.write(line + b"\n")
            number += len(batch)
        out.flush()
    except BrokenPipeError:
        raise  # the reader of our output went away: main() knows
    except BadFile as error:
        raise click.ClickException(error.message) from None
    except OSError as error:
        raise click.ClickException(f"cannot write the answer: {error}") from None


@click.command()
@click.argument("source")
@click.argument("files", nargs=-1, required=True, type=_file)
@_field
@click.option("--data", metavar="DIR", help="Folder of the server's own files.")
@click.option("--store", metavar="DSN", help="postgresql:// address of the database; SQLite if not said.")
@click.option("--tenant", metavar="TENANT", help="Id, domain or name; the first one if not said.")
@click.pass_obj
def ingest(
    around: Around,
    source: str,
    files: tuple[Path, ...],
    field: str | None,
    data: str | None,
    store: str | None,
    tenant: str | None,
) -> None:
    """Store the records in FILES (- for standard input), one a line in the form of SOURCE, also while a server runs.

    Prints {"accepted", "repeats", "events", "ids"}; doing it twice changes nothing. Exit code 1 if a line gave no
    record or a file could not be read; the others are stored all the same.
    """
    _quiet()
    known = _find(source)
    try:
        done = asyncio.run(_ingest(around, load(data, store=store), known, files, field, tenant))
    except BadSettings as error:
        raise click.UsageError(str(error)) from None
    except (BartizanError, OSError) as error:
        raise click.ClickException(str(error)) from None
    for fault in done.faults:
        click.echo(str(fault), err=True)
    click.echo(msgspec.json.encode(done.total.answer()).decode())
    if done.faults:
        sys.exit(1)


@contextlib.asynccontextmanager
async def opened_store(settings: Settings, around: Around) -> AsyncIterator[Store]:
    sets = {each.name: each for each in (*around.collections(), *COLLECTIONS, MARKS, INGESTION)}
    store = open_store(settings.store or settings.folder, tuple(sets.values()))
    await store.start()
    try:
        yield store
    finally:
        await store.close()


@contextlib.asynccontextmanager
async def opened_lake(settings: Settings) -> AsyncIterator[EventSink]:
    lake = open_lake(settings.store or settings.folder)
    await lake.start()
    try:
        yield lake
    finally:
        await lake.close()


async def _ingest(
    around: Around, settings: Settings, source: Source, files: tuple[Path, ...], field: str | None, tenant: str | None
) -> FilesReceipt:
    async with opened_store(settings, around) as store, opened_lake(settings) as lake:
        health, sets = Health(store), _sets(around)
        makers = Makers(around.maker(), sets, most=settings.makers)
        pipeline = Pipeline(store, lake, collections=sets, arrived=health.arrived, makers=makers)
        try:
            return await ingest_files(pipeline, await _owner(store, tenant), source, files, field=field, actor=ACTOR)
        finally:
            await makers.close()
            await health.close()


@click.command()
@click.argument("source")
@click.argument("files", nargs=-1, required=True, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--data", metavar="DIR", help="Folder of the server's own files.")
@click.option("--store", metavar="DSN", help="postgresql:// address of the database; SQLite if not said.")
@click.option("--tenant", metavar="TENANT", help="Id, domain or name; the first one if not said.")
@click.option("--new-only", is_flag=True, help="Begin at the end of files that were not followed before.")
@click.pass_obj
def tail(
    around: Around,
    source: str,
    files: tuple[Path, ...],
    data: str | None,
    store: str | None,
    tenant: str | None,
    new_only: bool,
) -> None:
    """Follow FILES as they grow and store each line in the form of SOURCE (auto: by content), through rotation.

    How far each file is stored is kept in the database: the command goes on there when it starts again. Ctrl-C ends it.
    """
    _quiet()
    known = _find(source)
    try:
        settings = load(data, store=store)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_tail(around, settings, known, files, tenant, new_only))
    except BadSettings as error:
        raise click.UsageError(str(error)) from None
    except (BartizanError, OSError) as error:
        raise click.ClickException(str(error)) from None


async def _tail(
    around: Around, settings: Settings, source: Source, files: tuple[Path, ...], tenant: str | None, new_only: bool
) -> None:
    async with opened_store(settings, around) as store, opened_lake(settings) as lake:
        health = Health(store)
        pipeline = Pipeline(store, lake, collections=_sets(around), arrived=health.arrived)
        owner = await _owner(store, tenant)
        tails = [Tail(store, pipeline, owner, source, path, from_start=not new_only) for path in files]
        try:
            async with asyncio.TaskGroup() as group:
                for each in tails:
                    group.create_task(each.run())
        finally:
            for each in tails:
                each.close()
            await health.close()


async def _owner(store: Store, tenant: str | None) -> str:
    return (await Accounts(store).chosen(tenant)).id


def _sets(around: Around) -> dict[str, Collection]:
    return {each.name: each for each in around.collections()}


@click.group(invoke_without_command=True)
@click.pass_context
def sources(ctx: click.Context) -> None:
    """List the sources that are understood: name, vendor, product."""
    if ctx.invoked_subcommand is None:
        _load()
        for name, source in sorted(SOURCES.items()):
            click.echo(f"{name:24} {source.vendor}, {source.product}")


@sources.command()
@click.option("--data", metavar="DIR", help="Folder of the server's own files.")
@click.option("--store", metavar="DSN", help="postgresql:// address of the database; SQLite if not said.")
@click.option("--tenant", metavar="TENANT", help="Id, domain or name; the first one if not said.")
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each source.")
@click.pass_obj
def status(around: Around, data: str | None, store: str | None, tenant: str | None, as_json: bool) -> None:
    """How the records of each source arrive: state, last record, counts."""
    _quiet()
    try:
        found = asyncio.run(_status(around, load(data, store=store), tenant))
    except BadSettings as error:
        raise click.UsageError(str(error)) from None
    except (BartizanError, OSError) as error:
        raise click.ClickException(str(error)) from None
    if not found and not as_json:
        click.echo("No source has sent anything yet.")
    for row in found:
        if as_json:
            click.echo(msgspec.json.encode(row).decode())
        else:
            counts = ", ".join(f"{row[name]} {word}" for name, word in _SHOWN if row.get(name))
            click.echo(
                f"{row['source']:24} {row['state']:8} last {str(row.get('lastReceivedDateTime'))[:19]}Z  {counts}"
            )


_SHOWN = (
    ("recordsAccepted", "accepted"),
    ("recordsRepeated", "repeated"),
    ("recordsUnreadable", "unreadable"),
    ("recordsLost", "lost"),
    ("eventsStored", "events"),
)


async def _status(around: Around, settings: Settings, tenant: str | None) -> list[dict[str, Any]]:
    async with opened_store(settings, around) as store:
        page = await store.tenant(await _owner(store, tenant)).page(
            INGESTION.name, Query(top=MAX_SOURCES, version="beta")
        )
        return [msgspec.json.decode(row.wire("beta")) for row in page.rows]
