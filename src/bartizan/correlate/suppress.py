"""Suppressions: filters whose alerts are stored and marked, and kept out of incidents, for a time and for a reason.

They are asked once for each new alert, in the order in which they were made; the first that matches is named on it.
An alert that was stored before its suppression was made, or after it ended, is not touched. What is suppressed teaches
the engine nothing: when a suppression ends, its alerts are as rare as they were, and are seen.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
import structlog
from msgspec import Struct

from bartizan.errors import BartizanError
from bartizan.model import faces
from bartizan.model.edm import edm
from bartizan.odata import bind, compile_predicate, parse_filter
from bartizan.odata.tree import Expr
from bartizan.store.interface import Collection, Column, Query, TenantStore

MAX_SUPPRESSIONS = 200  # of a tenant: each is asked for every new alert
MAX_FILTER_CHARS = 4_096

SUPPRESSIONS = Collection(
    "suppressions",
    type="microsoft.graph.security.suppression",
    columns=(
        Column("createdDateTime", "instant"),
        Column("displayName"),
        Column("isEnabled", "bool"),
        Column("expirationDateTime", "instant"),
        Column("owner"),
    ),
    order=(("createdDateTime", False),),
    versions=("beta",),
    created="createdDateTime",
)

_decode = msgspec.json.Decoder(dict[str, Any]).decode

log = structlog.get_logger(__name__)


class _Rule(Struct, frozen=True):
    id: str
    since: str
    until: str
    matches: Callable[[Mapping[str, Any]], bool]


def bound(text: str) -> Expr:
    """A filter exactly as `$filter` of alerts_v2 (beta) takes it. InvalidQuery, UnsupportedQuery."""
    return bind(parse_filter(text), edm("beta"), faces.TODAY)


class Suppressions:
    """Those of one tenant that are enabled, compiled."""

    def __init__(self, tenant: str, bodies: Iterable[Mapping[str, Any]]) -> None:
        self._rules: list[_Rule] = []
        for body in bodies:
            if not body.get("isEnabled"):
                continue
            try:
                matches = compile_predicate(bound(body["filter"]))
            except BartizanError as error:  # it was checked when it was made, by another schema than today's
                log.error("suppression.unreadable", tenant=tenant, id=body["id"], error=error.message)
                continue
            self._rules.append(_Rule(body["id"], body["createdDateTime"], body["expirationDateTime"], matches))

    def match(self, alert: Mapping[str, Any], stored: str) -> str | None:
        """The id of the first that hides this alert (as it is served, beta), which was stored then."""
        for rule in self._rules:
            if rule.since <= stored < rule.until and rule.matches(alert):
                return rule.id
        return None


async def suppressions(store: TenantStore) -> Suppressions:
    """As they are now."""
    page = await store.page(SUPPRESSIONS.name, Query(top=MAX_SUPPRESSIONS, version="beta"))
    return Suppressions(store.tenant, (_decode(row.wire("beta")) for row in page.rows))
