"""Risk of workloads: risky service principals with history and decisions, and the detections behind them.

Source: Microsoft Graph, resources riskyServicePrincipal and servicePrincipalRiskDetection.
"""

from typing import Any

from bartizan.api.identity_protection import sets
from bartizan.api.wire.note import note
from bartizan.errors import BadRequest, NotFound
from bartizan.extend import Answer, Can, Context, collection, resource
from bartizan.identity.outcome import confirmed, finish, reckon
from bartizan.identity.risk import ACTIONS, Decision
from bartizan.identity.shapes import WORKLOADS
from bartizan.model.times import instant
from bartizan.store.interface import Tx

MOST_PRINCIPALS = 1_000  # of one decision: one transaction

HISTORY = collection(
    "riskyServicePrincipalHistory",
    "microsoft.graph.riskyServicePrincipalHistoryItem",
    columns="servicePrincipalId riskLevel riskState",
    order="riskLastUpdatedDateTime desc",
)

principals = resource(
    "identityProtection/riskyServicePrincipals",
    "microsoft.graph.riskyServicePrincipal",
    can=Can.READ | Can.CREATE,
    read="IdentityRiskyServicePrincipal.Read.All",
    write="IdentityRiskyServicePrincipal.ReadWrite.All",
    create="Bartizan.Ingest.All",
    columns="riskLevel riskState riskDetail displayName appId isEnabled isProcessing",
    order="riskLastUpdatedDateTime desc",
    max_top=500,
    required="id",
    throttle="identityProtection",
)
principals.navigation("history", HISTORY, column="servicePrincipalId", expand=True)

detections = resource(
    "identityProtection/servicePrincipalRiskDetections",
    "microsoft.graph.servicePrincipalRiskDetection",
    can=Can.READ | Can.CREATE,
    read="IdentityRiskEvent.Read.All",
    create="Bartizan.Ingest.All",
    columns=(
        "activityDateTime riskEventType riskLevel riskState riskDetail servicePrincipalId appId ipAddress requestId "
        "lastUpdatedDateTime detectionTimingType activity source"
    ),
    order="detectedDateTime desc",
    entities={"ipAddress": "address"},
    max_top=500,
    required="riskEventType servicePrincipalId",
    throttle="identityProtection",
)


@principals.prepare
def new_principal(ctx: Context, given: dict[str, Any]) -> dict[str, Any]:
    stamped = {"isProcessing": False, "riskLastUpdatedDateTime": instant(ctx.clock())}
    kept = {name: value for name, value in given.items() if value is not None}
    enabled = kept.get("isEnabled", kept.get("accountEnabled", True))  # beta has both names
    return {"isEnabled": enabled, "accountEnabled": enabled, **stamped, **kept}


@detections.prepare
def new_detection(ctx: Context, given: dict[str, Any]) -> dict[str, Any]:
    now = instant(ctx.clock())
    stamped = {"activityDateTime": now, "detectedDateTime": now, "lastUpdatedDateTime": now}
    return {**stamped, **{name: value for name, value in given.items() if value is not None}}


def _decision(name: str, action: Decision) -> None:
    """Declares one decision: 204, all of them or none, twice changes nothing more. As for users."""

    @principals.action(name, on="set", parameters={"servicePrincipalIds": "Collection(Edm.String)!"})
    async def decide(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
        ids = list(dict.fromkeys(given["servicePrincipalIds"]))
        if not 0 < len(ids) <= MOST_PRINCIPALS:
            raise BadRequest(f"servicePrincipalIds: expected 1 to {MOST_PRINCIPALS} ids; got {len(ids)}.")
        every, by = sets(), ctx.caller.user or ctx.caller.app

        def work(tx: Tx) -> None:
            moved = []
            for each in ids:
                if tx.get(principals.collection.name, each) is None and tx.get("servicePrincipals", each) is None:
                    raise NotFound(f"There is no service principal '{each[:100]}'.")
                if reckon(tx, every, WORKLOADS, each, action, by=by, processing=not action.adds):
                    moved.append(each)
            if moved:
                note(ctx, tx, principals, moved, activity=f"{name} service principal risk")
            for each in moved if action.adds else ():
                confirmed(tx, every, WORKLOADS, each, action, f"{each}/{tx.now}")

        await ctx.store.write(work, actor=ctx.caller.actor)
        for each in ids if not action.adds else ():
            await finish(ctx.store, every, WORKLOADS, each, ctx.caller.actor)
        return Answer(204)


_decision("confirmCompromised", ACTIONS["confirmWorkloadCompromised"])
_decision("dismiss", ACTIONS["dismissWorkload"])
