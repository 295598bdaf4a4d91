"""Identity protection: risky users with their history and the three decisions of an administrator, and risk detections.

Source: Microsoft Graph, resources riskyUser, riskyUserHistoryItem and riskDetection.
"""

from typing import Any
from uuid import uuid4

from bartizan.api.wire.note import note
from bartizan.errors import BadRequest, Conflict, NotFound
from bartizan.extend import Answer, Can, Context, collection, collections, resource
from bartizan.identity.outcome import confirmed, finish, reckon
from bartizan.identity.risk import ACTIONS, Decision
from bartizan.identity.shapes import USERS
from bartizan.model.times import instant
from bartizan.store.draft import inner
from bartizan.store.interface import Collection, Stored, Tx
from bartizan.store.risk import put_detection

MAX_USERS = 1_000  # of one decision: one transaction

_READ = "IdentityRiskyUser.Read.All"
_WRITE = "IdentityRiskyUser.ReadWrite.All"
_INGEST = "Bartizan.Ingest.All"

HISTORY = collection(
    "riskyUserHistory",
    "microsoft.graph.riskyUserHistoryItem",
    columns="userId riskLevel riskState",
    order="riskLastUpdatedDateTime desc",
)

risky_users = resource(
    "identityProtection/riskyUsers",
    "microsoft.graph.riskyUser",
    can=Can.READ | Can.CREATE,
    read=_READ,
    write=_WRITE,
    create=_INGEST,
    columns="riskLevel riskState riskDetail userDisplayName isDeleted isProcessing",
    fold="userPrincipalName",
    order="riskLastUpdatedDateTime desc",
    entities={"userPrincipalName": "user", "id": "user"},
    search="userDisplayName userPrincipalName",
    max_top=500,
    required="id",
    aliases={"riskyUsers": ("beta",)},
    throttle="identityProtection",
)
risky_users.navigation("history", HISTORY, column="userId", expand=True)

risk_detections = resource(
    "identityProtection/riskDetections",
    "microsoft.graph.riskDetection",
    can=Can.READ | Can.CREATE,
    read="IdentityRiskEvent.Read.All IdentityRiskEvent.ReadWrite.All",
    create=_INGEST,
    columns=(
        "activityDateTime riskEventType riskLevel riskState riskDetail userId ipAddress requestId correlationId "
        "lastUpdatedDateTime detectionTimingType activity source"
    ),
    fold="userPrincipalName",
    order="detectedDateTime desc",
    entities={"userPrincipalName": "user", "userId": "user", "ipAddress": "address"},
    default_top=20,
    max_top=500,
    required="riskEventType",
    aliases={"riskDetections": ("beta",)},
    throttle="identityProtection",
)


@risky_users.prepare
def new_user(ctx: Context, given: dict[str, Any]) -> dict[str, Any]:
    stamped = {"isDeleted": False, "isProcessing": False, "riskLastUpdatedDateTime": instant(ctx.clock())}
    return {**stamped, **{name: value for name, value in given.items() if value is not None}}


@risk_detections.on_create
async def bring(ctx: Context, given: list[dict[str, Any]]) -> list[Stored]:
    """Each detection with its risk event of 2018. One that is there and says the same is left alone."""
    collection = risk_detections.collection
    now = instant(ctx.clock())
    stamped = {"activityDateTime": now, "detectedDateTime": now, "lastUpdatedDateTime": now}
    sent = [{name: value for name, value in each.items() if value is not None} for each in given]
    ids = [str(each.get("id") or uuid4()) for each in sent]
    if len(set(ids)) < len(ids):
        raise BadRequest("two objects of the array have the same id.")

    def work(tx: Tx) -> list[Stored]:
        rows: list[Stored] = []
        fresh: list[str] = []
        for id, each in zip(ids, sent, strict=True):
            row = put_detection(tx, collection, {**stamped, **each}, id, unless_exists=True)
            if row is not None:
                fresh.append(id)
            else:
                row = tx.get(collection.name, id)
                known = {} if row is None else inner(row)
                if row is None or any(known.get(name) != value for name, value in each.items()):
                    raise Conflict(f"risk detection '{id}' exists, with other values.", code="nameAlreadyExists")
            rows.append(row)
        if fresh:
            note(ctx, tx, risk_detections, fresh, operation="Add")
        return rows

    return await ctx.store.write(work, actor=ctx.caller.actor)


def sets() -> dict[str, Collection]:
    """All declared collections, by name."""
    return {each.name: each for each in collections()}


def _decision(name: str, action: Decision) -> None:
    """Declares one decision: 204, doing it twice changes nothing more, all of the users or none.

    What it does to their detections and sign-ins follows, some at a time; until then they are in processing. A second
    call completes what a crash cut short, and so does the stage of identity protection.
    """

    @risky_users.action(name, on="set", parameters={"userIds": "Collection(Edm.String)!"})
    async def decide(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
        ids = list(dict.fromkeys(given["userIds"]))
        if not 0 < len(ids) <= MAX_USERS:
            raise BadRequest(f"userIds: expected 1 to {MAX_USERS} ids; got {len(ids)}.")
        every, by = sets(), ctx.caller.user or ctx.caller.app

        def work(tx: Tx) -> None:
            moved = []
            for user in ids:
                if tx.get("riskyUsers", user) is None and tx.get("users", user) is None:
                    raise NotFound(f"No user has the id '{user[:100]}'; nothing was changed.")
                if reckon(tx, every, USERS, user, action, by=by, processing=not action.adds):
                    moved.append(user)
            if moved:
                note(ctx, tx, risky_users, moved, activity=f"{name} user risk")
            for user in moved if action.adds else ():
                confirmed(tx, every, USERS, user, action, f"{user}/{tx.now}")

        await ctx.store.write(work, actor=ctx.caller.actor)
        for user in ids if not action.adds else ():
            await finish(ctx.store, every, USERS, user, ctx.caller.actor)
        return Answer(204)


_decision("confirmCompromised", ACTIONS["confirmUserCompromised"])
_decision("confirmSafe", ACTIONS["confirmUserSafe"])
_decision("dismiss", ACTIONS["dismissUser"])
