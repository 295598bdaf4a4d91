"""Identity protection: risky users with their history and the three decisions of an administrator, and risk detections.

Source: Microsoft Graph, resources riskyUser, riskyUserHistoryItem and riskDetection.
"""

from typing import Any
from uuid import uuid4

from bartizan.api.wire.note import note
from bartizan.errors import BadRequest, Conflict, NotFound
from bartizan.extend import Answer, Can, Context, collection, resource
from bartizan.model.ids import stable_id
from bartizan.model.times import instant
from bartizan.odata.tree import Expr, In, Literal, Path
from bartizan.store.draft import draft, inner
from bartizan.store.interface import Stored, Tx
from bartizan.store.risk import close_detections, put_detection

MAX_USERS = 1_000  # of one decision: one transaction
STANDING = ("atRisk", "confirmedCompromised")  # states of detections that a later decision changes
CHUNK = 50  # detections that one transaction closes: the writer's lock stays short

_MOVED = "riskLastUpdatedDateTime"
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
risky_users.navigation("history", HISTORY, column="userId")

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


def _decision(name: str, level: str, state: str, detail: str) -> None:
    """Declares one decision: 204, doing it twice changes nothing more, all of the users or none.

    A decision that takes the risk from users closes their standing detections after it, some at a time; a second call
    completes what a crash cut short.
    """

    @risky_users.action(name, on="set", parameters={"userIds": "Collection(Edm.String)!"})
    async def decide(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
        ids = list(dict.fromkeys(given["userIds"]))
        if not 0 < len(ids) <= MAX_USERS:
            raise BadRequest(f"userIds: expected 1 to {MAX_USERS} ids; got {len(ids)}.")
        risk = {"riskLevel": level, "riskState": state, "riskDetail": detail, "isProcessing": False}

        def work(tx: Tx) -> None:
            moved = [user for user in ids if decided(ctx, tx, user, risk)]
            if moved:
                note(ctx, tx, risky_users, moved, activity=f"{name} user risk")
            if moved and detail == "adminConfirmedUserCompromised":
                for user in moved:
                    _detected(tx, user)

        await ctx.store.write(work, actor=ctx.caller.actor)
        if level == "none":
            of = In(Path(("userId",), kind="text"), tuple(Literal(user, "text") for user in ids))
            await close(ctx, of, {"riskState": state, "riskDetail": detail})
        return Answer(204)


async def close(ctx: Context, of: Expr, risk: dict[str, Any], standing: tuple[str, ...] = STANDING) -> None:
    """Gives the risk to the detections that match `of` and stand in one of those states."""

    def work(tx: Tx) -> int:
        return close_detections(tx, risk_detections.collection, of, risk, standing, limit=CHUNK)

    while await ctx.store.write(work, actor=ctx.caller.actor):
        pass


_decision("confirmCompromised", "high", "confirmedCompromised", "adminConfirmedUserCompromised")
_decision("confirmSafe", "none", "confirmedSafe", "adminConfirmedAccountSafe")
_decision("dismiss", "none", "dismissed", "adminDismissedAllRiskForUser")


def decided(ctx: Context, tx: Tx, user: str, risk: dict[str, Any]) -> bool:
    """Sets the risk of a user and adds to its history; False if it is so already. NotFound if nobody has the id."""
    known = tx.get("riskyUsers", user)
    if known is not None:
        before = inner(known)
    else:
        account = tx.get("users", user)
        if account is None:
            raise NotFound(f"No user has the id '{user[:100]}'; nothing was changed.")
        of = inner(account)
        before = {"id": user, "isDeleted": False, "userPrincipalName": of.get("userPrincipalName")}
        before["userDisplayName"] = of.get("displayName")
    if all(before.get(name) == value for name, value in risk.items()):
        return False
    after = {**before, **risk, _MOVED: tx.now}
    changed = {name: (before.get(name), after[name]) for name in (*risk, _MOVED) if before.get(name) != after[name]}
    tx.put(draft(risky_users.collection, after, user), changed=changed)
    item = {
        **{name: value for name, value in after.items() if not name.startswith("@")},
        "userId": user,
        "initiatedBy": ctx.caller.user or ctx.caller.app,
        "activity": {"eventTypes": [], "riskEventTypes": [], "detail": risk["riskDetail"]},
    }
    tx.put(draft(HISTORY, item, stable_id("riskyUserHistory", tx.tenant, user, tx.now)))
    return True


def _detected(tx: Tx, user: str) -> None:
    """Microsoft's service adds a detection when an administrator confirms a user as compromised; so do we."""
    known = tx.get("riskyUsers", user)
    assert known is not None
    of = inner(known)
    body = {
        "riskEventType": "adminConfirmedUserCompromised",
        "riskType": "adminConfirmedUserCompromised",
        "riskLevel": "high",
        "riskState": "confirmedCompromised",
        "riskDetail": "adminConfirmedUserCompromised",
        "activity": "user",
        "detectionTimingType": "offline",
        "source": "Bartizan",
        "activityDateTime": tx.now,
        "detectedDateTime": tx.now,
        "lastUpdatedDateTime": tx.now,
        "userId": user,
        "userDisplayName": of.get("userDisplayName"),
        "userPrincipalName": of.get("userPrincipalName"),
    }
    put_detection(tx, risk_detections.collection, body, stable_id("riskDetection", tx.tenant, user, tx.now))
