"""Response actions of rules and indicators, on their way to securityActions: stored with the alert that asks for them,
ordered once each, whatever happens in between.

The id of an order is its idempotency key, so that ordering it again gives the action that is there.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import uuid4

import msgspec
import structlog
from msgspec import Struct
from msgspec.structs import replace

from bartizan.auth.caller import Caller
from bartizan.detect.rule import BY, ORDERS, By
from bartizan.errors import BartizanError, StorageFull, Timeout, TooManyRequests, Unavailable
from bartizan.extend import Context
from bartizan.model.edm import edm
from bartizan.model.ids import stable_id
from bartizan.model.times import instant
from bartizan.odata.tree import Compare, Literal, Path
from bartizan.store.alerts import ALERTS_V2, mark_alert, state_of
from bartizan.store.draft import draft
from bartizan.store.interface import Draft, Query, Store, Stored, Tx

ACTOR = "detect.orders"
ORDERED = "securityActionIds"  # in additionalData of the alert
NOT_ORDERED = "securityActionErrors"
AT_ONCE = 100  # of a tenant in one round
BACKOFF_S, BACKOFF_MAX_S = 5.0, 300.0
MAX_TOLD = 20  # on one alert
_PASSING = (Unavailable, StorageFull, Timeout, TooManyRequests)

log = structlog.get_logger(__name__)


class Ordering(Protocol):
    """Takes requests for securityActions, as the API does (`respond.dispatch.Dispatch`)."""

    async def create(self, ctx: Context, given: list[dict[str, Any]]) -> list[Stored]: ...


class Kept(Struct, kw_only=True):
    """A request that has not been placed yet."""

    id: str
    rule: str  # or the indicator
    alert: str | None  # that asks for it
    request: dict[str, Any]
    by: By
    due: str
    tries: int = 0


def kept(rule: Mapping[str, Any], alert: str, number: int, request: dict[str, Any], at: str) -> Draft:
    by = msgspec.convert(rule.get(BY) or {"app": ACTOR, "app_name": "Detection rules"}, By)
    return order(str(rule["id"]), alert, str(number), request, by, at)


def order(
    of: str, alert: str | None, mark: str, request: dict[str, Any], by: By, at: str, *, tell: str | None = None
) -> Draft:
    """`mark` tells it from the other orders of the same rule and alert. Where it is the same for several alerts,
    `alert` is None and the one to `tell` is said apart."""
    id = stable_id("ruleOrder", of, alert or "", mark)
    return _drafted(Kept(id=id, rule=of, alert=tell or alert, request=request, by=by, due=at))


def _drafted(kept: Kept) -> Draft:
    return draft(ORDERS, msgspec.to_builtins(kept), kept.id)


class Orders:
    """Places what is stored."""

    def __init__(self, store: Store, ordering: Ordering, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._ordering = ordering
        self._clock = clock

    async def round(self, tenant: str) -> int:
        """Places what is due; how many."""
        due = Compare("le", Path(("due",), kind="instant"), Literal(instant(self._clock()), "instant"))
        page = await self._store.tenant(tenant).page(ORDERS.name, Query(top=AT_ONCE, filter=due))
        for row in page.rows:
            await self._place(tenant, msgspec.json.decode(row.doc, type=Kept))
        return len(page.rows)

    async def _place(self, tenant: str, kept: Kept) -> None:
        try:
            (stored,) = await self._ordering.create(self._context(tenant, kept), [kept.request])
        except _PASSING as error:
            wait_s = min(BACKOFF_MAX_S, BACKOFF_S * 2**kept.tries)
            later = instant(self._clock() + timedelta(seconds=wait_s))
            log.warning("rule.order_waits", tenant=tenant, order=kept.id, error=error.message)
            again = _drafted(replace(kept, due=later, tries=kept.tries + 1))
            await self._store.tenant(tenant).write(lambda tx: tx.put(again), actor=ACTOR)
            return
        except BartizanError as error:  # it is not taken, and never will be
            log.error("rule.order_refused", tenant=tenant, order=kept.id, rule=kept.rule, error=error.message)
            await self._placed(tenant, kept, NOT_ORDERED, f"{kept.request.get('name')}: {error.message}"[:500])
            return
        await self._placed(tenant, kept, ORDERED, stored.id)

    async def _placed(self, tenant: str, kept: Kept, name: str, value: str) -> None:
        def work(tx: Tx) -> None:
            tx.delete(ORDERS.name, kept.id)
            row = None if kept.alert is None else tx.get(ALERTS_V2.name, kept.alert)
            if row is not None:
                told = list((state_of(row).v2.get("additionalData") or {}).get(name) or [])
                if value not in told and len(told) < MAX_TOLD:
                    mark_alert(tx, row.id, **{name: [*told, value]})

        await self._store.tenant(tenant).write(work, actor=ACTOR)

    def _context(self, tenant: str, kept: Kept) -> Context:
        by = kept.by
        return Context(
            caller=Caller(tenant, by.app, by.app_name, by.user, by.upn, by.name),
            store=self._store.tenant(tenant),
            engine=self._store,
            version="beta",
            edm=edm("beta"),
            root="",
            request_id=str(uuid4()),
            headers={b"idempotency-key": kept.id.encode()},
            clock=self._clock,
        )
