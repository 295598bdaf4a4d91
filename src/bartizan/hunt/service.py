"""Hunts for those who ask over the API: what a tenant has now, and a process that searches it."""

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from bartizan.hunt.beside import Beside
from bartizan.hunt.hunters import Hunt, Hunters
from bartizan.hunt.line import Known
from bartizan.hunt.saved import Named
from bartizan.hunt.tree import Scalar
from bartizan.lake.manifest import Manifest
from bartizan.lake.storage import view

TOLD_CHARS = 2_000  # of a query, in the audit


class Head(Struct, frozen=True):
    """A column of a result."""

    name: str
    type: Scalar


class Found(Struct, frozen=True):
    """A result. Values are JSON's, as the wire has them: datetime, timespan and guid are texts."""

    schema: list[Head]
    results: list[list[Any]]
    notes: list[str] = []  # what a reader must know of the values


class Hunting:
    """Of one process. `close` it at the end."""

    def __init__(self, hunters: Hunters, manifest: Manifest, beside: Beside | None = None) -> None:
        self._hunters = hunters
        self._manifest = manifest
        self._beside = beside

    async def run(
        self, tenant: str, query: str, now: datetime, *, since: datetime | None = None, until: datetime | None = None
    ) -> bytes:
        """The body of Graph's answer. KqlError and what `Hunters.run` raises."""
        return await self._hunters.run(await self._hunt(tenant, query, now, since, until))

    async def table(
        self, tenant: str, query: str, now: datetime, *, since: datetime | None = None, until: datetime | None = None
    ) -> Found:
        """The same for this program's own use, with Kusto's types."""
        hunt = replace(await self._hunt(tenant, query, now, since, until), form="rows")
        return msgspec.json.decode(await self._hunters.run(hunt), type=Found)

    async def bound(self, tenant: str, query: str, now: datetime, also: Named) -> list[Head]:
        """The columns of a query that may also name these functions and views, in place of saved ones of their names;
        it is run over an empty span. KqlError and what `Hunters.run` raises."""
        hunt = await self._hunt(tenant, query, now, now, now)
        known = hunt.known
        functions = {name: each for name, each in known.functions.items() if name not in also.views}
        views = {name: each for name, each in known.views.items() if name not in also.functions}
        known = replace(known, functions={**functions, **also.functions}, views={**views, **also.views})
        found = await self._hunters.run(replace(hunt, known=known, form="rows"))
        return msgspec.json.decode(found, type=Found).schema

    async def _hunt(
        self, tenant: str, query: str, now: datetime, since: datetime | None, until: datetime | None
    ) -> Hunt:
        known = Known() if self._beside is None else await self._beside.known(tenant, now)
        files = await view(self._manifest, tenant)
        return Hunt(tenant=tenant, query=query, now=now, files=files, since=since, until=until, known=known)

    async def close(self) -> None:
        await self._hunters.close()
        if self._beside is not None:
            await self._beside.close()
