"""Sign-ins and the audit of this server: who signed in where, and who did what here.

Source: Microsoft Graph, resources signIn and directoryAudit; the filterable properties as documented there.
"""

from typing import Any
from uuid import uuid4

from msgspec.structs import replace

from bartizan.api.identity_protection import sets
from bartizan.api.wire.derived import mentions
from bartizan.api.wire.find import both, stored_page
from bartizan.api.wire.note import note
from bartizan.auth import audit
from bartizan.auth.caller import Access
from bartizan.errors import BadRequest, NotFound
from bartizan.extend import Answer, Can, Context, collection, never, resource
from bartizan.identity.evaluator import Evaluator
from bartizan.identity.outcome import CHUNK, decide, follow
from bartizan.identity.risk import ACTIONS, Decision
from bartizan.identity.shapes import answered
from bartizan.odata.tree import Compare, Literal, Path
from bartizan.store.interface import Column, Page, Query, Tx
from bartizan.store.said import done_here

MOST_REQUESTS = 1_000  # of one decision: one transaction

_DECIDE = Access(("IdentityRiskEvent.ReadWrite.All",), ("IdentityRiskyUser.ReadWrite.All",), "SecurityOperator")

# What nobody has called anything else is interactive.
INTERACTIVE = Compare("ne", Path(("isInteractive",), kind="bool"), Literal(False, "bool"))

# Properties that only a filter for other kinds of sign-ins, or for one of them, names.
_SAYS_WHICH = ("signInEventTypes", "isInteractive", "servicePrincipalId", "servicePrincipalName", "id")

_SIGN_INS = collection(
    "signIns",
    "microsoft.graph.signIn",
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
)

sign_ins = resource(
    "auditLogs/signIns",
    "microsoft.graph.signIn",
    collection=replace(_SIGN_INS, columns=(*_SIGN_INS.columns, Column("isInteractive", "bool", index=False))),
    can=Can.READ | Can.CREATE,
    read="AuditLog.Read.All Directory.Read.All",
    create="Bartizan.Ingest.All",
    any_case="signInEventTypes riskEventTypes riskEventTypes_v2",  # words of Graph's own, though typed as texts
    default_top=1_000,
    max_top=1_000,
    required="createdDateTime",
    throttle="auditLogs",
)


@sign_ins.on_list
async def interactive(ctx: Context, query: Query) -> Page:
    """As in Graph: interactive sign-ins of users, unless the filter says which kinds are meant."""
    if not mentions(query.filter, *_SAYS_WHICH):
        query = replace(query, filter=both(INTERACTIVE, query.filter))
    return await stored_page(ctx, sign_ins, query)


_RISK = ("riskDetail riskLevelAggregated riskLevelDuringSignIn riskState riskEventTypes riskEventTypes_v2").split()


@sign_ins.reshape
def without_empty_risk(item: Any) -> Any:
    """That there is no risk is what every new sign-in says: it is no word of its sender's, when it comes again."""
    if not isinstance(item, dict):
        return item
    return {name: value for name, value in item.items() if name not in _RISK or value not in (None, "none", [])}


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


@sign_ins.complete
async def evaluated(ctx: Context, given: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """With the risk that the engine sees now. It is stored whether or not that can be said."""
    named = [each if each.get("id") else {**each, "id": str(uuid4())} for each in given]
    said = await ctx.part(Evaluator).answer(ctx.engine, ctx.caller.tenant, named)
    return [answered(body, each) for body, each in zip(named, said, strict=True)]


def _decision(name: str, action: Decision) -> None:
    """Declares one decision on sign-ins: 204, all of them or none, twice changes nothing more.

    The risk detections of the sign-ins take its state after it, some at a time, and the risk of their users and
    workloads is reckoned anew.
    """

    @sign_ins.action(name, on="set", parameters={"requestIds": "Collection(Edm.String)!"}, access=_DECIDE)
    async def on_requests(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
        ids = list(dict.fromkeys(given["requestIds"]))
        if not 0 < len(ids) <= MOST_REQUESTS:
            raise BadRequest(f"requestIds: expected 1 to {MOST_REQUESTS} ids; got {len(ids)}.")
        every, by = sets(), ctx.caller.user or ctx.caller.app

        def work(tx: Tx) -> None:
            moved = []
            for each in ids:
                row = tx.get(sign_ins.collection.name, each)
                if row is None:
                    raise NotFound(f"There is no sign-in '{each[:100]}'.")
                if decide(tx, every, row, action, done_here):
                    moved.append(each)
            if moved:
                note(ctx, tx, sign_ins, moved, activity=f"{name} sign-in risk")

        await ctx.store.write(work, actor=ctx.caller.actor)
        for part in range(0, len(ids), CHUNK):
            await follow(ctx.store, every, ids[part : part + CHUNK], action, by=by, actor=ctx.caller.actor)
        return Answer(204)


_decision("confirmCompromised", ACTIONS["confirmSignInCompromised"])
_decision("confirmSafe", ACTIONS["confirmSignInSafe"])
_decision("dismiss", ACTIONS["dismissSignIn"])

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
