"""The risk of sign-ins under way: what the engine says of them now, while the stage has not seen them yet.

It reads the rows of memory that the sign-ins name, steps the engine on a copy, and keeps nothing: the stage does all of
it again, and its word is the one that stays. What the stage has not taken yet is not counted.

Source: the two states of `identity.stage`; Microsoft Graph, riskLevelDuringSignIn.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import structlog
from msgspec import Struct, field

from bartizan.errors import BartizanError
from bartizan.identity.events import DAY, SignIn, sign_in
from bartizan.identity.levels import Levels
from bartizan.identity.memory import Memory, Whole, decode_day, decode_whole, kept_rows
from bartizan.identity.shapes import Said
from bartizan.identity.shards import counted_elsewhere
from bartizan.intel import Intel, intel_of
from bartizan.store.interface import Store, Stored

LIMIT_S = 0.25  # a sign-in waits no longer for its risk
INTEL_S = 0.5  # how long a view of the networks is used before it is asked for again
AT_ONCE = 20  # sign-ins of one part of a bulk: others are served between the parts
MAX_TENANTS = 64  # of which something is held

_log = structlog.get_logger(__name__)


class _Known(Struct):
    """Of a tenant. `whole` is that of the row with the number `seq`; `history`: all of its levels have been read."""

    intel: Intel
    looked: float
    seq: int = -1
    whole: Whole = field(default_factory=Whole)
    levels: Levels = field(default_factory=Levels)
    history: bool = False


class Evaluator:
    """Of one process."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, _Known] = OrderedDict()

    async def look(self, store: Store, tenant: str, body: Mapping[str, Any]) -> Said:
        """What is said of a sign-in (inner form of signIn with an id and a time). ValueError where it cannot be read;
        what the store raises."""
        (said,) = [said async for part in self._parts(store, tenant, [sign_in(body)]) for said in part]
        return said

    async def answer(
        self, store: Store, tenant: str, bodies: Sequence[Mapping[str, Any]], limit_s: float = LIMIT_S
    ) -> list[Said | None]:
        """What is said of each, the earlier of them counting for the later. None where that fails or would take longer
        than the limit, which is logged; nothing is said of a sign-in that cannot be read, such as one of nobody."""
        found: list[Said | None] = []
        try:
            async with asyncio.timeout(limit_s):
                async for part in self._parts(store, tenant, [_readable(each) for each in bodies]):
                    found += part
        except TimeoutError:
            _log.warning("evaluation.late", tenant=tenant, sign_ins=len(bodies), evaluated=len(found))
        except BartizanError as error:
            _log.warning("evaluation.failed", tenant=tenant, error=error.message)
        except Exception:  # noqa: BLE001 - the edge: a sign-in is stored whatever becomes of its evaluation
            _log.exception("evaluation.failed", tenant=tenant)
        return [*found, *(None for _ in range(len(bodies) - len(found)))]

    async def _parts(self, store: Store, tenant: str, events: Sequence[SignIn | None]) -> AsyncIterator[list[Said]]:
        known = await self._of(store, tenant)
        memory = Memory("l", known.intel)
        for start in range(0, len(events), AT_ONCE):
            part = events[start : start + AT_ONCE]
            wanted = memory.wanted(each for each in part if each is not None)
            days = {memory.day_id(day): day for day in {int(each.at // DAY) for each in part if each is not None}}
            whole = [] if start else [memory.whole_id]
            rows = await kept_rows(store.tenant(tenant), [*wanted, *whole, *days])
            if not start:
                _renew(known, rows.pop(memory.whole_id, None))
                memory.begin(_copy(known.whole))
                memory.levels = known.levels
            for id in days.keys() & rows.keys():
                memory.levels.take(days[id], decode_day(rows.pop(id).doc))
            if not known.history and not all(memory.levels.settled(day) for day in days.values()):
                await memory.remember(store.tenant(tenant), known.whole.days)
                await counted_elsewhere(store.tenant(tenant), memory, known.whole.days)
                known.history = known.levels is memory.levels  # others may have begun with a newer whole meanwhile
            memory.take(wanted, {id: row.doc for id, row in rows.items()})
            yield [_said(memory, each) for each in part]

    async def _of(self, store: Store, tenant: str) -> _Known:
        known = self._known.get(tenant)
        if known is None or time.monotonic() - known.looked >= INTEL_S:
            intel = await intel_of(store, tenant)
            known = self._known.get(tenant)
            if known is None:
                known = self._known[tenant] = _Known(intel, 0.0)
            known.intel, known.looked = intel, time.monotonic()
            while len(self._known) > MAX_TENANTS:
                self._known.popitem(last=False)
        self._known.move_to_end(tenant)
        return known


def _readable(body: Mapping[str, Any]) -> SignIn | None:
    try:
        return sign_in(body)
    except (ValueError, KeyError, TypeError):
        return None  # the stage tells of it


def _renew(known: _Known, row: Stored | None) -> None:
    if row is not None and row.seq != known.seq:
        known.whole, known.seq = decode_whole(row.doc), row.seq
        known.levels, known.history = Levels(), False


def _copy(whole: Whole) -> Whole:
    return Whole(
        dict(whole.countries), whole.country_sum, whole.hot, whole.steps, learned=whole.learned, tells=whole.tells
    )


def _said(memory: Memory, event: SignIn | None) -> Said:
    if event is None:
        return Said(0.0, "none")
    result = memory.state.step(event)[0]  # the event's own; others are what it says of earlier ones
    if result.kind != "signIn":
        return Said(0.0, "none")  # wrong credentials are nobody's risk
    return Said(round(result.score, 4), memory.levels.of(result), result.findings, result.parts)
