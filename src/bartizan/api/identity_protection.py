"""Identity protection: risky users with their history and the three decisions of an administrator, and risk detections.

Source: Microsoft Graph, resources riskyUser, riskyUserHistoryItem and riskDetection.
"""

from typing import Any

from bartizan.api.wire.note import note
from bartizan.errors import BadRequest, NotFound
from bartizan.extend import Answer, Can, Context, collection, resource
from bartizan.model.ids import stable_id
from bartizan.model.times import instant
from bartizan.store.draft import draft, inner
from bartizan.store.interface import Tx

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


@risk_detections.prepare
def new_detection(ctx: Context, given: dict[str, Any]) -> dict[str, Any]:
    now = instant(ctx.clock())
    stamped = {"activityDateTime": now, "detectedDateTime": now, "lastUpdatedDateTime": now}
    return {**stamped, **{name: value for name, value in given.items() if value is not None}}


def _decision(name: str, level: str, state: str, detail: str) -> None:
    """Declares one decision: 204, doing it twice changes nothing more, all of the users or none."""

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
        return Answer(204)


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
    after = {**before, **risk, "riskLastUpdatedDateTime": tx.now}
    changed = {name: (before.get(name), value) for name, value in risk.items() if before.get(name) != value}
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
    tx.put(draft(risk_detections.collection, body, stable_id("riskDetection", tx.tenant, user, tx.now)))
