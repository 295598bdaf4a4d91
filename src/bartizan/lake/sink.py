"""The lake as what takes events in sees it: rows go in, and are durable when that returns."""

from collections.abc import Sequence
from typing import Any

from bartizan.lake.buffer import Lake


class Sink:
    """Appends whatever comes; tables that are not Microsoft's are declared before."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake

    async def append(self, tenant: str, rows: Sequence[tuple[str, dict[str, Any]]]) -> None:
        """What `Lake.append` raises passes."""
        await self._lake.append(tenant, rows)
