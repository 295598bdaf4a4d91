"""Hunts for those who ask over the API: what a tenant has now, and a process that searches it."""

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from bartizan.hunt.hunters import Hunt, Hunters
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


class Hunting:
    """Of one process. `close` it at the end."""

    def __init__(self, hunters: Hunters, manifest: Manifest) -> None:
        self._hunters = hunters
        self._manifest = manifest

    async def run(
        self, tenant: str, query: str, now: datetime, *, since: datetime | None = None, until: datetime | None = None
    ) -> bytes:
        """The body of Graph's answer. KqlError and what `Hunters.run` raises."""
        files = await view(self._manifest, tenant)
        return await self._hunters.run(Hunt(tenant=tenant, query=query, now=now, files=files, since=since, until=until))

    async def table(
        self, tenant: str, query: str, now: datetime, *, since: datetime | None = None, until: datetime | None = None
    ) -> Found:
        """The same for this program's own use, with Kusto's types."""
        files = await view(self._manifest, tenant)
        hunt = Hunt(tenant=tenant, query=query, now=now, files=files, since=since, until=until, form="rows")
        return msgspec.json.decode(await self._hunters.run(hunt), type=Found)

    async def close(self) -> None:
        await self._hunters.close()
