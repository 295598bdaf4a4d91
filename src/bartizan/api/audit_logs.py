"""Sign-ins and the audit of this server: who signed in where, and who did what here.

Source: Microsoft Graph, resources signIn and directoryAudit; the filterable properties as documented there.
"""

from typing import Any

from bartizan.api.identity_protection import STANDING, close
from bartizan.api.wire.note import note
from bartizan.auth import audit
from bartizan.auth.caller import Access
from bartizan.errors import BadRequest, NotFound
from bartizan.extend import Answer, Can, Context, never, resource
from bartizan.odata.tree import In, Literal, Path
from bartizan.store.draft import draft, inner
from bartizan.store.interface import Tx
from bartizan.store.said import done_here

MOST_REQUESTS = 1_000  # of one decision: one transaction

_DECIDE = Access(("IdentityRiskEvent.ReadWrite.All",), ("IdentityRiskyUser.ReadWrite.All",), "SecurityOperator")

sign_ins = resource(
    "auditLogs/signIns",
    "microsoft.graph.signIn",
    can=Can.READ | Can.CREATE,
    read="AuditLog.Read.All Directory.Read.All",
    create="Bartizan.Ingest.All",
    columns=(
        "userId userDisplayName appId appDisplayName ipAddress clientAppUsed conditionalAccessStatus correlationId "
        "resourceDisplayName resourceId riskDetail riskLevelAggregated riskLevelDuringSignIn riskState "
        "status/errorCode location/city location/countryOrRegion deviceDetail/browser deviceDetail/operatingSystem"
    ),
    fold="userPrincipalName",
    order="createdDateTime desc",
    entities={
        "userPrincipalName": "user",
        "userId": "user",
        "ipAddress": "address",
        "deviceDetail/displayName": "host",
    },
    default_top=1_000,
    max_top=1_000,
    required="createdDateTime",
    throttle="auditLogs",
)


@sign_ins.prepare
def new_sign_in(ctx: Context, given: dict[str, Any]) -> dict[str, Any]:
    unset: dict[str, Any] = {
        "riskDetail": "none",
        "riskLevelAggregated": "none",
        "riskLevelDuringSignIn": "none",
        "riskState": "none",
        "isInteractive": True,
    }
    kept = {name: value for name, value in given.items() if value is not None}
    types = kept.get("signInEventTypes")
    if types:
        unset["isInteractive"] = "interactiveUser" in types
    else:
        kept["signInEventTypes"] = ["interactiveUser" if kept.get("isInteractive", True) else "nonInteractiveUser"]
    return {**unset, **kept}


def _decision(name: str, risk: dict[str, str]) -> None:
    """Declares one decision on sign-ins: 204, all of them or none, twice changes nothing more.

    The risk detections of the sign-ins take its state after it, some at a time.
    """
    told = {"riskState": risk["riskState"], "riskDetail": risk["riskDetail"]}

    @sign_ins.action(name, on="set", parameters={"requestIds": "Collection(Edm.String)!"}, access=_DECIDE)
    async def decide(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
        ids = list(dict.fromkeys(given["requestIds"]))
        if not 0 < len(ids) <= MOST_REQUESTS:
            raise BadRequest(f"requestIds: expected 1 to {MOST_REQUESTS} ids; got {len(ids)}.")

        def work(tx: Tx) -> None:
            moved = []
            for each in ids:
                row = tx.get(sign_ins.collection.name, each)
                if row is None:
                    raise NotFound(f"There is no sign-in '{each[:100]}'.")
                before = inner(row)
                changed = {key: (before.get(key), value) for key, value in risk.items() if before.get(key) != value}
                if changed:
                    tx.put(draft(sign_ins.collection, done_here(before, risk), each), changed=changed)
                    moved.append(each)
            if moved:
                note(ctx, tx, sign_ins, moved, activity=f"{name} sign-in risk")

        await ctx.store.write(work, actor=ctx.caller.actor)
        of = In(Path(("requestId",), kind="text"), tuple(Literal(each, "text") for each in ids))
        await close(ctx, of, told, tuple(state for state in STANDING if state != risk["riskState"]))
        return Answer(204)


_decision(
    "confirmCompromised",
    {
        "riskState": "confirmedCompromised",
        "riskLevelAggregated": "high",
        "riskDetail": "adminConfirmedSigninCompromised",
    },
)
_decision(
    "confirmSafe",
    {"riskState": "confirmedSafe", "riskLevelAggregated": "none", "riskDetail": "adminConfirmedSigninSafe"},
)
_decision(
    "dismiss",
    {"riskState": "dismissed", "riskLevelAggregated": "none", "riskDetail": "adminDismissedRiskForSignIn"},
)

audits = resource(
    "auditLogs/directoryAudits",
    "microsoft.graph.directoryAudit",
    can=Can.READ,
    read="AuditLog.Read.All Directory.Read.All",
    columns="activityDisplayName category correlationId loggedByService operationType result",
    order="activityDateTime desc",
    default_top=1_000,
    max_top=1_000,
    throttle="auditLogs",
)
audit.declare(audits.collection)

provisioning = resource(
    "auditLogs/provisioning",
    "microsoft.graph.provisioningObjectSummary",
    can=Can.READ | Can.CREATE,
    read="ProvisioningLog.Read.All AuditLog.Read.All Directory.Read.All",
    create="Bartizan.Ingest.All",
    columns="jobId cycleId changeId provisioningAction tenantId",
    order="activityDateTime desc",
    default_top=1_000,
    max_top=1_000,
    required="activityDateTime",
    throttle="auditLogs",
    unserved={
        "PATCH": never("a record of what a provisioning service did"),
        "DELETE": never("a record of what a provisioning service did"),
    },
)
