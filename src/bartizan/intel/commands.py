"""What operators do to network intelligence at the command line."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from msgspec import structs

from bartizan.auth.accounts import Tenant
from bartizan.auth.desk import Desk, command, shown_time
from bartizan.auth.keys import SYSTEM
from bartizan.errors import BadRequest, NotFound
from bartizan.intel import kept
from bartizan.intel.formats import KINDS, moment
from bartizan.intel.kept import OF_TENANTS, Kept
from bartizan.intel.ranges import spoken
from bartizan.intel.tables import Kind
from bartizan.intel.views import intel_of

MAX_DAYS = 36_500

_of_tenant = click.option("--tenant", "reference", metavar="TENANT", help="Id, domain or name of one tenant.")


@click.group()
def intel() -> None:
    """Network intelligence: what is known of addresses, and credentials that have leaked."""


def _view(table: Kept, tenant: str) -> dict[str, Any]:
    return {
        "kind": table.kind,
        "source": table.source,
        "tenantId": None if tenant == SYSTEM else tenant,
        "rows": table.rows,
        "skipped": table.skipped,
        "importedDateTime": shown_time(int(table.imported)),
        "expirationDateTime": None if table.expires is None else shown_time(int(table.expires)),
        "sha256": table.sha256,
    }


def _expiry(text: str | None, now: int) -> float | None:
    """Seconds since 1970 of a date, an instant or a number of days from now."""
    if text is None:
        return None
    if text.isascii() and text.isdigit():
        if not 0 < int(text) <= MAX_DAYS:
            raise BadRequest(f"--expires takes 1 to {MAX_DAYS:,} days")
        return now + int(text) * 86_400.0
    try:
        until = moment(text)
    except ValueError as error:
        raise BadRequest(f"--expires: {error}, or a number of days") from None
    if until <= now:
        raise BadRequest("--expires lies in the past")
    return until


async def _scope(desk: Desk, reference: str | None, kind: str | None = None) -> str:
    """The tenant of the store: one that is named, the first one where the kind is of tenants, else the system's."""
    if reference is None and kind not in OF_TENANTS:
        return SYSTEM
    return (await desk.tenant(reference)).id


@command(intel, "import")
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--source", metavar="NAME", help="Who says so; the file's name if not said.")
@click.option("--expires", metavar="DATE|DAYS", help="Until when it counts; for ever if not said.")
@_of_tenant
@click.option("--skip-bad", is_flag=True, help="Leave lines out that cannot be read, and count them.")
async def import_(
    desk: Desk, kind: str, file: Path, source: str | None, expires: str | None, reference: str | None, skip_bad: bool
) -> Any:
    """Import a file of a kind, in place of what the same source said before.

    Without --tenant it counts for all tenants; leaked credentials and named locations are of one tenant always, the
    first one if not said.
    """
    where = await _scope(desk, reference, kind)
    table, read = await kept.bring(
        desk.authority.store,
        where,
        kind,
        file,
        source=source or file.name,
        now=float(desk.now),
        expires=_expiry(expires, desk.now),
        skip_bad=skip_bad,
    )
    return _view(table, where) | ({"reasons": read.reasons} if read.reasons else {})


@command(intel, "list", existing=True)
@_of_tenant
async def list_(desk: Desk, reference: str | None) -> Any:
    """List what was imported, for all tenants and for each."""
    if reference:
        scopes = [SYSTEM, (await desk.tenant(reference)).id]
    else:
        scopes = [SYSTEM, *(each.id for each in await desk.accounts.every(Tenant))]
    store = desk.authority.store
    return [_view(table, scope) for scope in scopes for table in await kept.tables(store.tenant(scope))]


@command(intel, "remove", existing=True)
@click.argument("source")
@click.option("--kind", type=click.Choice(KINDS), help="What it said of this kind; of all if not said.")
@_of_tenant
async def remove(desk: Desk, source: str, kind: str | None, reference: str | None) -> Any:
    """Remove what a source said: for all tenants, or with --tenant for one.

    Where the kind is of tenants and no tenant is said, it is removed from the first one.
    """
    scopes = [await _scope(desk, reference, kind)]
    if reference is None and kind is None:
        scopes.append((await desk.tenant(None)).id)
    gone = []
    for scope in scopes:
        try:
            found = await kept.remove(desk.authority.store, scope, source, kind)
        except NotFound:
            continue
        gone += [_view(table, scope) for table in found]
    if not gone:
        raise NotFound(f"there is no table of {source}; see: bartizan intel list")
    return gone


@command(intel, "look-up", existing=True)
@click.argument("address")
@click.option("--at", metavar="TIME", help="Of which moment; now if not said.")
@_of_tenant
async def look_up(desk: Desk, address: str, at: str | None, reference: str | None) -> Any:
    """Show what is known of an address, and who says so."""
    try:
        spoken(address)
    except ValueError:
        raise BadRequest(f"{address[:100]!r} is not an IP address") from None
    when = datetime.now(UTC).timestamp() if at is None else moment(at)
    found = (await intel_of(desk.authority.store, (await desk.tenant(reference)).id)).of(address, when)
    names = [kind.name for kind in Kind if kind in found.kinds]
    return structs.asdict(found) | {"kinds": [name.lower().replace("_", "-") for name in names if name]}
