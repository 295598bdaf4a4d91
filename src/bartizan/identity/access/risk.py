"""The risk that a decision is about: of the sign-in, as the engine sees it now, and of who signs in, as it is stored.

Source: Microsoft Graph, riskLevel, signIn, signInConditions.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from bartizan.errors import BadRequest
from bartizan.identity.access.conditions import Inner
from bartizan.identity.access.verdict import Risk
from bartizan.identity.evaluator import Evaluator
from bartizan.identity.risk import RANK
from bartizan.identity.shapes import Said
from bartizan.model.times import instant
from bartizan.store.draft import inner
from bartizan.store.interface import Store

_CLIENTS = {
    "browser": "Browser",
    "mobileAppsAndDesktopClients": "Mobile Apps and Desktop clients",
    "exchangeActiveSync": "Exchange ActiveSync",
    "other": "Other clients",
}


class LiveRisk:
    """What it raises fails the decision: an error, never a level."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator

    async def of(self, store: Store, tenant: str, sign_in: Mapping[str, Any]) -> Risk:
        """Of a sign-in under way (inner form of signIn). What its caller says of its risk counts where it is more."""
        level, reasons = await _stored(store, tenant, sign_in)
        said = await self.of_sign_in(store, tenant, sign_in)
        found, why = said.level, _why(said)
        told = str(sign_in.get("riskLevelDuringSignIn"))
        if RANK.get(told, 0) > RANK[found]:
            return Risk(told, level, (f"signIn: riskLevelDuringSignIn {told}", *why, *reasons))
        return Risk(found, level, (*why, *reasons))

    async def of_sign_in(self, store: Store, tenant: str, sign_in: Mapping[str, Any]) -> Said:
        given = {name: value for name, value in sign_in.items() if value is not None}
        body = {"createdDateTime": instant(datetime.now(UTC)), "isInteractive": True, **given, "id": str(uuid4())}
        try:
            return await self._evaluator.look(store, tenant, body)
        except ValueError as error:
            raise BadRequest(f"signIn: {error}") from None


def asked_sign_in(identity: Inner, conditions: Inner) -> dict[str, Any]:
    """signInIdentity and signInConditions, as far as the engine reads them, as a sign-in under way."""
    device = conditions.get("deviceInfo") or {}
    platform = conditions.get("devicePlatform")
    return {
        "userId": identity.get("userId"),
        "servicePrincipalId": identity.get("servicePrincipalId"),
        "ipAddress": conditions.get("ipAddress"),
        "location": {"countryOrRegion": conditions.get("country")},
        "clientAppUsed": _CLIENTS.get(str(conditions.get("clientAppType"))),
        "deviceDetail": {
            "deviceId": device.get("deviceId"),
            "operatingSystem": device.get("operatingSystem") or (None if platform == "all" else platform),
            "isCompliant": device.get("isCompliant"),
        },
    }


def _why(said: Said) -> tuple[str, ...]:
    """Types with their log-odds, the most telling first; what is only unfamiliar last, with its parts."""
    if said.level == "none":
        return ()
    found = []
    for each in sorted(said.findings, key=lambda each: (bool(each.parts), -each.log_odds, each.type)):
        parts = ", ".join(f"{name} {odds:+.1f}" for name, odds in each.parts.items())
        found.append(f"signIn: {each.type} {each.log_odds:+.1f}" + (f" ({parts})" if parts else ""))
    return tuple(found)


async def _stored(store: Store, tenant: str, sign_in: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    workload = sign_in.get("servicePrincipalId")
    id, kept = (workload, "riskyServicePrincipals") if workload else (sign_in.get("userId"), "riskyUsers")
    row = await store.tenant(tenant).get(kept, str(id)) if id else None
    if row is None:
        return "none", ()
    of = inner(row)
    level = str(of.get("riskLevel") or "none")
    return level, (f"{kept}: riskLevel {level}, riskState {of.get('riskState')}",) if level != "none" else ()
