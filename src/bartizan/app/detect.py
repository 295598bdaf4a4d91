"""What detections need of other rooms: hunting to run their queries, the dispatch of actions."""

from collections.abc import Awaitable, Callable

from bartizan.app.assembly import rules_of
from bartizan.detect.match import IndicatorStage, Tenants
from bartizan.detect.stage import Queries, RuleStage
from bartizan.extend.connections import Connections
from bartizan.respond.dispatch import Dispatch
from bartizan.settings import Settings
from bartizan.store import Store


class Detecting:
    """The stages of the worker. Without `queries` no rule is run; indicators are matched all the same."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        connections: Connections,
        tenants: Tenants,
        queries: Queries | None = None,
    ) -> None:
        dispatch = Dispatch(connections, rules_of(settings))
        self._indicators = IndicatorStage(store, tenants, dispatch)
        self._rules = None if queries is None else RuleStage(store, tenants, queries, dispatch)

    async def register(self) -> None:
        """Before retention runs."""
        await self._indicators.register()

    def stages(self) -> dict[str, Callable[[], Awaitable[None]]]:
        found: dict[str, Callable[[], Awaitable[None]]] = {"indicators": self._indicators.run}
        return found if self._rules is None else {**found, "rules": self._rules.run}
