"""A server with rules, and a hunting that answers what a test says."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.api.conftest import NOW, A, World, served
from tests.api.test_detection_rules import SET, rule

from bartizan.api.wire.graph import Bounds
from bartizan.detect.stage import RuleStage
from bartizan.errors import BadRequest
from bartizan.extend import Context
from bartizan.model.times import instant
from bartizan.respond.dispatch import Dispatch
from bartizan.store import Stored


@dataclass(frozen=True)
class Head:
    name: str


@dataclass(frozen=True)
class Found:
    schema: Sequence[Head]
    results: Sequence[Sequence[Any]]


class WrongQuery(BadRequest):
    """As hunting says that a query is wrong."""

    def __init__(self, message: str, phase: str = "bind") -> None:
        super().__init__(message)
        self.phase, self.line, self.column = phase, 1, 7


@dataclass
class Lake:
    """Events with a time and the moment when they arrived; a query gets those of its span that have arrived."""

    columns: tuple[str, ...] = ("Timestamp", "DeviceId", "DeviceName", "AccountUpn", "FileName")
    events: list[tuple[datetime, datetime, tuple[Any, ...]]] = field(default_factory=list)
    asked: list[tuple[str, str, datetime | None, datetime | None]] = field(default_factory=list)
    fault: Exception | None = None
    meanwhile: Callable[[], Any] | None = None

    def add(
        self, at: datetime, device: str, *, arrived: datetime | None = None, user: str = "ada@contoso.example"
    ) -> None:
        row = (instant(at), f"id-{device}", f"{device}.contoso.example", user, "evil.exe")
        self.events.append((at, arrived or at, row))

    async def table(
        self, tenant: str, query: str, now: datetime, *, since: datetime | None = None, until: datetime | None = None
    ) -> Found:
        self.asked.append((tenant, query, since, until))
        if self.meanwhile is not None:
            await self.meanwhile()
        if self.fault is not None:
            raise self.fault
        assert since is not None and until is not None
        rows = [row for at, arrived, row in self.events if since <= at <= until and arrived <= now]
        return Found([Head(name) for name in self.columns], rows)


@dataclass
class Hunt:
    """A tenant with rules, whose clock a test moves."""

    world: World
    lake: Lake
    now: datetime = NOW
    ordered: list[dict[str, Any]] = field(default_factory=list)

    def stage(self, ordering: Any = None) -> RuleStage:
        """Another each time: as after a restart."""

        async def tenants() -> list[str]:
            return [A]

        return RuleStage(self.world.store, tenants, self.lake, ordering or self.dispatch, clock=lambda: self.now)

    @property
    def dispatch(self) -> Dispatch:
        found: Dispatch = self.world.graph.parts[Dispatch]
        return found

    async def make(self, **more: Any) -> str:
        made = await self.world.post(SET, rule(**more), by="analyst")
        return str(made["id"])

    async def run(self, *, after: timedelta = timedelta(0)) -> int:
        self.now += after
        return await self.stage().round(A)

    async def rule(self, id: str) -> dict[str, Any]:
        found: dict[str, Any] = await self.world.get(f"{SET}/{id}")
        return found

    async def alerts(self, *, disabled: bool = False) -> list[dict[str, Any]]:
        found = await self.world.every("/v1.0/security/alerts_v2?$orderby=createdDateTime&$top=200")
        return [each for each in found if (each["detectorId"] == "detection-rule-disabled") == disabled]


class Recording:
    """Takes orders, and passes them on once it does not fail."""

    def __init__(self, within: Dispatch, *faults: Exception) -> None:
        self.within, self.faults = within, list(faults)
        self.taken: list[dict[str, Any]] = []
        self.callers: list[str] = []

    async def create(self, ctx: Context, given: list[dict[str, Any]]) -> list[Stored]:
        if self.faults:
            raise self.faults.pop(0)
        self.taken += given
        self.callers.append(ctx.caller.actor)
        return await self.within.create(ctx, given)


@pytest.fixture
async def hunt(tmp_path: Path, kept_at: str) -> AsyncIterator[Hunt]:
    async with served(tmp_path, Bounds(), {}, kept_at, hunts=False) as world:
        yield Hunt(world, Lake())


@pytest.fixture
def kept_at(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    postgres = getattr(request, "param", "") == "postgres"
    return str(request.getfixturevalue("declared_dsn")) if postgres else str(tmp_path)
