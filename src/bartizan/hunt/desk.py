"""What operators do to watchlists at the command line.

Source: RFC 4180.
"""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import click

from bartizan.auth import audit
from bartizan.auth.desk import Desk, command
from bartizan.errors import BadRequest, Conflict, NotFound
from bartizan.hunt import watchlists
from bartizan.hunt.catalogue import MAX_ITEMS_BYTES
from bartizan.hunt.watchlists import MAX_WATCHLISTS, WATCHLISTS, Items
from bartizan.store.draft import inner
from bartizan.store.interface import Query, Stored, Tx

ACTOR = "bartizan watchlist"

_of_tenant = click.option("--tenant", "reference", metavar="TENANT", help="Id, domain or name; the first if not said.")


@click.group()
def watchlist() -> None:
    """Watchlists: lists beside the events, which queries read by _GetWatchlist('alias')."""


@command(watchlist, "import")
@click.argument("alias")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--key", metavar="COLUMN", help="By which items are looked up; the first column of a new one if not said."
)
@click.option("--name", metavar="NAME", help="How it is shown; the alias if not said.")
@click.option("--add", is_flag=True, help="Add to the items that are there instead of replacing them.")
@click.option("--skip-lines", type=click.IntRange(0, 1_000), default=0, help="Lines before the heading.")
@_of_tenant
async def import_(
    desk: Desk,
    alias: str,
    file: Path,
    key: str | None,
    name: str | None,
    add: bool,
    skip_lines: int,
    reference: str | None,
) -> Any:
    """Import a CSV file with a heading as the watchlist ALIAS, which is made where it is not there."""
    tenant = (await desk.tenant(reference)).id
    store, now = desk.authority.store.tenant(tenant), datetime.now(UTC)
    rows = await asyncio.to_thread(watchlists.of_csv, _text(file), skip_lines)
    row = await watchlists.named(store, alias)
    before = {} if row is None else inner(row)
    given = {
        **({"watchlistAlias": alias, "id": str(uuid4()), "createdBy": ACTOR} | before),
        "displayName": name or before.get("displayName") or alias,
        "itemsSearchKey": key or before.get("itemsSearchKey") or rows.columns[0],
        "source": before.get("source") or file.name,
        "lastModifiedBy": ACTOR,
    }
    watchlists.check(given)
    old = Items() if row is None else await watchlists.items_of(store, row.id)
    items = watchlists.joined(old, rows, now, replace=not add)
    content = watchlists.packed(items, given["itemsSearchKey"])

    def work(tx: Tx) -> Stored:
        there = tx.lookup(WATCHLISTS.name, "watchlistAlias", alias.lower())
        if (None if there is None else there.seq) != (None if row is None else row.seq):
            raise Conflict("the watchlist was changed by somebody else at the same time; try again")
        made = watchlists.put(tx, given, items, content)
        _note(tx, "Import watchlist", made.id, alias)
        return made

    return _shown(await store.write(work, actor=ACTOR))


@command(watchlist, "list", existing=True)
@_of_tenant
async def list_(desk: Desk, reference: str | None) -> Any:
    """List the watchlists of a tenant."""
    store = desk.authority.store.tenant((await desk.tenant(reference)).id)
    page = await store.page(WATCHLISTS.name, Query(top=MAX_WATCHLISTS, version="beta"))
    return [_shown(row) for row in page.rows]


@command(watchlist, "remove", existing=True)
@click.argument("alias")
@_of_tenant
async def remove(desk: Desk, alias: str, reference: str | None) -> Any:
    """Remove a watchlist with its items. Queries that name it fail from then on."""
    store = desk.authority.store.tenant((await desk.tenant(reference)).id)

    def work(tx: Tx) -> Stored:
        row = tx.lookup(WATCHLISTS.name, "watchlistAlias", alias.lower())
        if row is None:
            raise NotFound(f"there is no watchlist {alias[:100]}; see: bartizan watchlist list")
        tx.delete(WATCHLISTS.name, row.id)
        _note(tx, "Remove watchlist", row.id, alias)
        return row

    return _shown(await store.write(work, actor=ACTOR))


def _text(file: Path) -> str:
    if file.stat().st_size > MAX_ITEMS_BYTES:
        raise BadRequest(f"{file.name} has more than {MAX_ITEMS_BYTES:,} bytes, the most of a watchlist")
    try:
        return file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise BadRequest(f"{file.name} is not UTF-8 (byte {problem.start + 1})") from None


def _note(tx: Tx, activity: str, id: str, alias: str) -> None:
    targets = [audit.Target("watchlist", id, alias)]
    audit.record(tx, actor=audit.OPERATOR, activity=activity, category="Security", targets=targets)


def _shown(row: Stored) -> dict[str, Any]:
    said = inner(row)
    names = ("watchlistAlias", "displayName", "itemsSearchKey", "columns", "watchlistItemsCount")
    return {"id": row.id, **{name: said.get(name) for name in names}}
