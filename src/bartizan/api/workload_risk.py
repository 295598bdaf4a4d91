"""Risk of workloads: risky service principals with history and decisions, and the detections behind them.

Source: Microsoft Graph, resources riskyServicePrincipal and servicePrincipalRiskDetection.
"""

from typing import Any

from bartizan.api.identity_protection import CHUNK, STANDING
from bartizan.api.wire.note import note
from bartizan.errors import BadRequest, NotFound
from bartizan.extend import Answer, Can, Context, collection, not_yet, resource, unserved
from bartizan.model.ids import stable_id
from bartizan.model.times import instant
from bartizan.odata.tree import And, In, Literal, Path
from bartizan.store.draft import draft, inner
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
principals.navigation("history", HISTORY, column="servicePrincipalId")

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


def _decision(name: str, level: str, state: str, detail: str) -> None:
    """Declares one decision: 204, all of them or none, twice changes nothing more."""
    risk = {"riskLevel": level, "riskState": state, "riskDetail": detail, "isProcessing": False}

    @principals.action(name, on="set", parameters={"servicePrincipalIds": "Collection(Edm.String)!"})
    async def decide(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
        ids = list(dict.fromkeys(given["servicePrincipalIds"]))
        if not 0 < len(ids) <= MOST_PRINCIPALS:
            raise BadRequest(f"servicePrincipalIds: expected 1 to {MOST_PRINCIPALS} ids; got {len(ids)}.")

        def work(tx: Tx) -> None:
            moved = [each for each in ids if _decided(ctx, tx, each, risk)]
            if moved:
                note(ctx, tx, principals, moved, activity=f"{name} service principal risk")
            for each in moved if level == "high" else ():
                _detected(tx, each, risk)

        await ctx.store.write(work, actor=ctx.caller.actor)
        if level == "none":
            await _close(ctx, ids, {"riskState": state, "riskDetail": detail})
        return Answer(204)


def _decided(ctx: Context, tx: Tx, id: str, risk: dict[str, Any]) -> bool:
    row = tx.get(principals.collection.name, id)
    if row is not None:
        before = inner(row)
    else:
        principal = tx.get("servicePrincipals", id)
        if principal is None:
            raise NotFound(f"There is no service principal '{id[:100]}'.")
        of = inner(principal)
        before = {"id": id, "isEnabled": of.get("accountEnabled"), "appId": of.get("appId"), "isProcessing": False}
        before["accountEnabled"] = before["isEnabled"]
        before |= {"displayName": of.get("displayName"), "servicePrincipalType": of.get("servicePrincipalType")}
    changed = {name: (before.get(name), value) for name, value in risk.items() if before.get(name) != value}
    if not changed:
        return False
    after = {**before, **risk, "riskLastUpdatedDateTime": tx.now}
    tx.put(draft(principals.collection, after, id), changed=changed)
    item = {
        **{name: value for name, value in after.items() if not name.startswith("@")},
        "servicePrincipalId": id,
        "initiatedBy": ctx.caller.user or ctx.caller.app,
        "activity": {"riskEventTypes": [], "detail": risk["riskDetail"]},
    }
    tx.put(draft(HISTORY, item, stable_id("riskyServicePrincipalHistory", tx.tenant, id, tx.now)))
    return True


def _detected(tx: Tx, id: str, risk: dict[str, Any]) -> None:
    """As for users: what an administrator confirms is a detection too."""
    row = tx.get(principals.collection.name, id)
    assert row is not None
    of = inner(row)
    body = {
        "riskEventType": "adminConfirmedServicePrincipalCompromised",
        **{name: risk[name] for name in ("riskLevel", "riskState", "riskDetail")},
        "activity": "servicePrincipal",
        "detectionTimingType": "offline",
        "source": "Bartizan",
        "activityDateTime": tx.now,
        "detectedDateTime": tx.now,
        "lastUpdatedDateTime": tx.now,
        "servicePrincipalId": id,
        "servicePrincipalDisplayName": of.get("displayName"),
        "appId": of.get("appId"),
    }
    tx.put(draft(detections.collection, body, stable_id("servicePrincipalRiskDetection", tx.tenant, id, tx.now)))


async def _close(ctx: Context, ids: list[str], risk: dict[str, Any]) -> None:
    """Gives the risk to the standing detections of these principals, some at a time."""
    standing = In(Path(("riskState",), kind="enum"), tuple(Literal(state, "enum") for state in STANDING))
    of = In(Path(("servicePrincipalId",), kind="text"), tuple(Literal(id, "text") for id in ids))

    def work(tx: Tx) -> int:
        rows = tx.find(detections.collection.name, And((standing, of)), limit=CHUNK)
        for row in rows:
            before = inner(row)
            changed = {name: (before.get(name), value) for name, value in risk.items() if before.get(name) != value}
            after = {**before, **risk, "lastUpdatedDateTime": tx.now}
            tx.put(draft(detections.collection, after, row.id), changed=changed)
        return len(rows)

    while await ctx.store.write(work, actor=ctx.caller.actor):
        pass


_decision("confirmCompromised", "high", "confirmedCompromised", "adminConfirmedServicePrincipalCompromised")
_decision("dismiss", "none", "dismissed", "adminDismissedAllRiskForServicePrincipal")

_NO_AGENTS = not_yet("risk of agents needs the identity engine")
unserved("identityProtection/riskyAgents/**", _NO_AGENTS, versions=("beta",))
unserved("identityProtection/agentRiskDetections/**", _NO_AGENTS, versions=("beta",))
