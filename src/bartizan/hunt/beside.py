"""What a tenant's hunts may name beside its tables, and who hands its content to the process of a hunt."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from msgspec import Struct

from bartizan.auth.keys import SYSTEM
from bartizan.errors import BadRequest, NotFound
from bartizan.hunt import saved, watchlists
from bartizan.hunt.line import Known, Want
from bartizan.intel import kept
from bartizan.intel.kept import Kept
from bartizan.store import Store

PLACES = ("country", "city")  # kinds of imported tables that say where addresses are


class External(Protocol):
    """Reads files at the addresses that an operator allows."""

    @property
    def any(self) -> bool:
        """Whether some address is allowed."""
        ...

    async def get(self, tenant: str, url: str) -> bytes:
        """BartizanError where it is not allowed, or cannot be had."""
        ...

    async def close(self) -> None: ...


class Beside(Struct, frozen=True):
    """Of one store. Everything is looked for in the tenant that asks; tables of places also in the installation."""

    store: Store
    external: External | None = None

    async def known(self, tenant: str, now: datetime) -> Known:
        here = self.store.tenant(tenant)
        found = await saved.named(here)
        return Known(
            functions=found.functions,
            views=found.views,
            watchlists=tuple(await watchlists.aliases(here)),
            places=tuple(each.id for _, each in await self._places(tenant, now.timestamp())),
            external=self.external is not None and self.external.any,
        )

    async def lend(self, tenant: str, want: Want) -> bytes:
        """BartizanError where it is not given."""
        match want.kind:
            case "watchlist":
                return await watchlists.content(self.store.tenant(tenant), want.name)
            case "places":
                return await self._table(tenant, want.name)
        if self.external is None:
            raise BadRequest("externaldata is not allowed here")
        return await self.external.get(tenant, want.name)

    async def close(self) -> None:
        if self.external is not None:
            await self.external.close()

    async def _places(self, tenant: str, at: float | None = None) -> list[tuple[str, Kept]]:
        """(tenant, table) in order of rank: the tenant's own before those of all, the newest first; of those that count
        `at` that time."""
        return [
            (owner, each)
            for owner in (tenant, SYSTEM)
            for each in _newest(await kept.tables(self.store.tenant(owner)))
            if each.kind in PLACES and (at is None or each.expires is None or at < each.expires)
        ]

    async def _table(self, tenant: str, id: str) -> bytes:
        for owner, each in await self._places(tenant):
            if each.id == id:
                content = await kept.packed(self.store.tenant(owner), each)
                if content is not None:
                    return content
        raise NotFound("a table of where addresses are was replaced while the query began; run it again")


def _newest(tables: Sequence[Kept]) -> list[Kept]:
    return sorted((each for each in tables if each.pieces), key=lambda each: -each.imported)
