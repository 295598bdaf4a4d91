"""What detections need of other rooms: hunting to run their queries, the dispatch of actions."""

import asyncio
from collections.abc import Awaitable, Callable

from bartizan.app.assembly import rules_of
from bartizan.detect.events import EventStage
from bartizan.detect.lookback import LookBack
from bartizan.detect.match import IndicatorStage, Tenants
from bartizan.detect.stage import Queries, RuleStage
from bartizan.extend.connections import Connections
from bartizan.lake.buffer import Lake
from bartizan.lake.manifest import Manifest
from bartizan.respond.dispatch import Dispatch
from bartizan.settings import Settings
from bartizan.store import Store


class Detecting:
    """The stages of the worker. Without `queries` no rule is run and no indicator looks back at events; they are
    matched as they arrive all the same."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        lake: Lake,
        connections: Connections,
        tenants: Tenants,
        queries: Queries | None = None,
    ) -> None:
        dispatch = Dispatch(connections, rules_of(settings))
        self._indicators = IndicatorStage(store, tenants, dispatch)
        self._events = EventStage(lake, self._indicators)
        manifest = Manifest(lake, settings.lake_path)
        self._back = None if queries is None else LookBack(store, lake, manifest, self._indicators, queries)
        self._rules = None if queries is None else RuleStage(store, tenants, queries, dispatch)

    async def register(self) -> None:
        """Before retention runs."""
        await self._indicators.register()
        if self._back is not None:
            await self._back.register()

    def stages(self) -> dict[str, Callable[[], Awaitable[None]]]:
        found: dict[str, Callable[[], Awaitable[None]]] = {"indicators": self._matched}
        return found if self._rules is None else {**found, "rules": self._rules.run}

    async def _matched(self) -> None:
        """In one process, under one lease: they share what is remembered of the indicators."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._indicators.run())
            group.create_task(self._events.run())
            if self._back is not None:
                group.create_task(self._back.run())
