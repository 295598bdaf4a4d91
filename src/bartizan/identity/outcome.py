"""What the engine and people say of risk, written: sign-ins, detections, risky users and workloads, history, alerts.

Everything here runs inside one write. What a person decided stays: the engine adds to it and changes nothing of it.

Source: Microsoft Graph, resources signIn, riskDetection, servicePrincipalRiskDetection, riskyUser,
riskyUserHistoryItem, riskyServicePrincipal.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from bartizan.extend.detections import Finding
from bartizan.identity.alerts import alert_of
from bartizan.identity.events import seconds
from bartizan.identity.risk import (
    AI_SAFE,
    LEVELS,
    RANK,
    STANDING,
    Active,
    Decision,
    Level,
    aggregate,
    decided,
    decision_of,
    detection_after,
    sign_in_after,
    user_after,
)
from bartizan.identity.shapes import (
    MARK,
    OLD,
    OURS,
    SIGN_INS,
    USERS,
    WORKLOADS,
    Said,
    Side,
    Told,
    add,
    aggregated,
    as_sent,
    at_most,
    during,
    facts_of,
    finding_of,
    mark_of,
    pairs_of,
    side_of,
    types_of,
    untold,
)
from bartizan.model.faces import provider_faces
from bartizan.model.ids import stable_id
from bartizan.model.times import instant
from bartizan.odata.tree import And, Compare, Expr, In, Literal, Path
from bartizan.store.alerts import prepare, store_alert
from bartizan.store.draft import draft, inner
from bartizan.store.interface import Collection, Stored, TenantStore, Tx
from bartizan.store.risk import put_detection

LEVEL = "@bartizan.level"  # of a risky principal: the level that we gave; another one is its provider's
MOST_STANDING = 500  # detections that make up one principal's risk; the newest
CHUNK = 50  # documents of one kind that a decision changes in one write: the writer's lock stays short
ALERTING = RANK["medium"]


class Outcome:
    """One write. `levels` gives the level of a score by itself, for the detections of one sign-in."""

    def __init__(self, tx: Tx, sets: Mapping[str, Collection], of_odds: Callable[[float], Level]) -> None:
        self.tx = tx
        self.sets = sets
        self._of_odds = of_odds
        self._moved: dict[tuple[bool, str], list[str]] = {}  # principals whose risk is to be reckoned, and types

    # ------------------------------------------------------------ what the engine says

    def tell(self, id: str, told: Sequence[Told], settled_to: float, *, keep: bool) -> None:
        """Of one sign-in. With `keep` it has no level given at once yet: the live word gives it."""
        row = self.tx.get(SIGN_INS, id)
        if row is None:
            return
        stored = inner(row)
        before = as_sent(stored) if keep else stored
        mark = mark_of(before)
        mark.sent = {}
        for each in told:
            add(mark, each)
        said = mark.effective(settled_to)
        if said is None:
            return
        changes: dict[str, Any] = {}
        if keep and mark.live is not None:
            changes.update(during(before, mark.live))
        if not decided(before) and not untold(before, said):
            changes.update(aggregated(before, said))
        changes = {name: value for name, value in changes.items() if before.get(name) != value}
        after = {**before, **changes}
        if (mark.live and (mark.live.findings or mark.live.level != "none")) or (
            mark.settled and mark.settled.findings
        ):
            after[MARK] = msgspec.to_builtins(mark)
        changed = {
            name: (stored.get(name), after.get(name))
            for name in stored.keys() | after.keys()
            if name != MARK and stored.get(name) != after.get(name)
        }
        if changed or after.get(MARK) != stored.get(MARK):
            self.tx.put(draft(self.sets[SIGN_INS], after, id), changed=changed)
        self._detections(after, said, new=any(each.raised for each in told))

    def _detections(self, sign_in: Mapping[str, Any], said: Said, *, new: bool) -> None:
        """One for each type; what is said no more is withdrawn."""
        side, principal = side_of(sign_in)
        state = sign_in.get("riskState")
        closed = decided(sign_in)
        types = types_of(said.findings) if said.telling() else {}
        strongest = max(types, key=lambda kind: (types[kind].log_odds, kind), default="")
        of = Compare("eq", Path(("requestId",), kind="text"), Literal(str(sign_in["id"]), "text"))
        here = {row.id: inner(row) for row in self.tx.find(side.detections, of, limit=MOST_STANDING)}
        foreign = {each.get("riskEventType") for each in here.values() if each.get("source") != OURS}
        moved: list[str] = []
        for kind, found in types.items():
            id = stable_id(side.detection_id, self.tx.tenant, str(sign_in["id"]), kind)
            known = here.get(id)
            if kind in foreign or (known is None and closed and not (new and state in ("dismissed", "remediated"))):
                continue
            if known is not None and decided(known):
                continue
            level = said.level if kind == strongest else at_most(self._of_odds(found.log_odds), said.level)
            if found.proven:
                level = "high"
            body = {**facts_of(side, sign_in, principal), **finding_of(sign_in, kind, found, said, level)}
            if known is None:
                body |= {"detectedDateTime": self.tx.now, "lastUpdatedDateTime": self.tx.now}
                self._put(side, id, body, None)
                here[id] = {**body, "id": id}
                moved.append(kind)
                continue
            body |= {"riskState": "atRisk", "riskDetail": "none", "detectionTimingType": known["detectionTimingType"]}
            changed = {name: (known.get(name), value) for name, value in body.items() if known.get(name) != value}
            if changed:
                here[id] = {**known, **body, "lastUpdatedDateTime": self.tx.now}
                self._put(side, id, here[id], changed)
                moved.append(kind)
        for id, known in here.items():
            if known.get("source") != OURS or known.get("riskEventType") in types or known.get("riskState") != "atRisk":
                continue
            if str(known.get("riskEventType", "")).startswith("adminConfirmed"):
                continue
            changes = {"riskState": "dismissed", "riskDetail": AI_SAFE}
            here[id] = {**known, **changes, "lastUpdatedDateTime": self.tx.now}
            self._put(side, id, here[id], {name: (known.get(name), value) for name, value in changes.items()})
            moved.append(str(known["riskEventType"]))
        if moved and principal:
            self._moved.setdefault((side is WORKLOADS, principal), []).extend(moved)
        if moved:
            self._alert(sign_in, [each for each in here.values() if each.get("source") == OURS], said.level)

    def found(self, side: Side, principal: str, name: str, key: str, finding: Finding, level: Level, at: float) -> None:
        """A detection of a principal that points to no sign-in: one for each `key`, which may rise."""
        id = stable_id(side.detection_id, self.tx.tenant, key, finding.type)
        row = self.tx.get(side.detections, id)
        known = {} if row is None else inner(row)
        if RANK[level] <= RANK.get(str(known.get("riskLevel")), 0) or decided(known):
            return
        when = instant(datetime.fromtimestamp(at, UTC))
        body = {
            **self._known(side, principal),
            "riskEventType": finding.type,
            "riskLevel": level,
            "riskState": "atRisk",
            "riskDetail": "none",
            "activity": side.activity,
            "detectionTimingType": finding.timing,
            "source": OURS,
            "activityDateTime": when,
            "detectedDateTime": self.tx.now,
            "lastUpdatedDateTime": self.tx.now,
            "additionalInfo": pairs_of(finding.reasons),
        }
        if side is USERS:
            body["userPrincipalName"] = body.get("userPrincipalName") or name
            body["riskType"] = finding.type if finding.type in OLD else None
        if known:
            body["detectedDateTime"] = known["detectedDateTime"]
        changed = {name: (known.get(name), value) for name, value in body.items() if known.get(name) != value}
        self._put(side, id, body, changed if known else None)
        self._moved.setdefault((side is WORKLOADS, principal), []).append(finding.type)
        self._alert(None, [{**body, "id": id}], level)

    def _known(self, side: Side, principal: str) -> dict[str, Any]:
        row = self.tx.get(side.of, principal)
        of = {} if row is None else inner(row)
        facts = {side.id: principal, side.name: of.get("displayName")}
        if side is USERS:
            facts["userPrincipalName"] = of.get("userPrincipalName")
        else:
            facts["appId"] = of.get("appId")
        return facts

    def _put(self, side: Side, id: str, body: Mapping[str, Any], changed: Mapping[str, tuple[Any, Any]] | None) -> None:
        put(self.tx, self.sets, side, id, body, changed)

    def _alert(self, sign_in: Mapping[str, Any] | None, detections: Sequence[Mapping[str, Any]], level: str) -> None:
        alert(self.tx, sign_in, detections, level)

    # ------------------------------------------------------------ whose risk it is

    def reckon(self) -> None:
        """At the end of the write: the risk of all whose detections have changed."""
        for (workload, principal), types in self._moved.items():
            side = WORKLOADS if workload else USERS
            reckon(self.tx, self.sets, side, principal, None, by=OURS, types=types)
        self._moved.clear()

    def moved(self, side: Side, principal: str, kind: str) -> None:
        """Its detections were changed by others."""
        self._moved.setdefault((side is WORKLOADS, principal), []).append(kind)


# ---------------------------------------------------------------- shared with what people decide


def put(
    tx: Tx,
    sets: Mapping[str, Collection],
    side: Side,
    id: str,
    body: Mapping[str, Any],
    changed: Mapping[str, tuple[Any, Any]] | None,
) -> None:
    if side is USERS:
        put_detection(tx, sets[side.detections], body, id, changed=changed)
    else:
        tx.put(draft(sets[side.detections], body, id), changed=changed)


def alert(tx: Tx, sign_in: Mapping[str, Any] | None, detections: Sequence[Mapping[str, Any]], level: str) -> None:
    """Raises, renews or resolves the alert of a risk that is, or was, medium or high."""
    if not detections:
        return
    key = str(sign_in["id"]) if sign_in is not None else str(detections[0]["id"])
    ordered = sorted(
        detections,
        key=lambda each: (each.get("riskState") not in STANDING, -RANK.get(str(each.get("riskLevel")), 0),
                          str(each.get("riskEventType"))),
    )  # fmt: skip
    made = prepare(provider_faces(alert_of(key, level, ordered, sign_in, tx.now), tx.tenant, tx.now))
    if RANK.get(level, 0) < ALERTING and tx.get("alerts_v2", made.id) is None:
        return
    store_alert(tx, made)


def reckon(
    tx: Tx,
    sets: Mapping[str, Collection],
    side: Side,
    principal: str,
    action: Decision | None,
    *,
    by: str | None,
    types: Sequence[str] = (),
    processing: bool = False,
) -> bool:
    """Sets the risk of a principal by the detections that stand, or by the decision, and adds to its history. False
    where it is so already."""
    row = tx.get(side.risky, principal)
    before = inner(row) if row is not None else _new(tx, side, principal)
    standing = standing_of(tx, side, principal) if action is None or action.user is None else "none"
    if before.get("riskState") == "atRisk" and before.get(LEVEL) != before.get("riskLevel"):
        standing = LEVELS[max(RANK[standing], RANK.get(str(before.get("riskLevel")), 0))]  # a provider said so much
    changes = user_after(action, before, standing)
    if not changes and (row is None or processing):
        return False
    if bool(before.get("isProcessing")) != processing:
        changes["isProcessing"] = processing
    if not changes:
        return False
    after = {**before, **changes, "riskLastUpdatedDateTime": tx.now}
    if "riskLevel" in changes:
        after[LEVEL] = changes["riskLevel"]
    changed = {name: (before.get(name), value) for name, value in after.items() if before.get(name) != value}
    tx.put(draft(sets[side.risky], after, principal), changed=changed)
    if set(changes) <= {"isProcessing"}:
        return False
    detail = action.detail if action is not None else "none"
    activity: dict[str, Any] = {"riskEventTypes": list(dict.fromkeys(types)), "detail": detail}
    if side is USERS:
        activity["eventTypes"] = []
    item = {
        **{name: value for name, value in after.items() if not name.startswith("@")},
        side.id: principal,
        "initiatedBy": by,
        "activity": activity,
    }
    tx.put(draft(sets[side.history], item, stable_id(side.history, tx.tenant, principal, tx.now, str(changes))))
    return True


def _new(tx: Tx, side: Side, principal: str) -> dict[str, Any]:
    row = tx.get(side.of, principal)
    of = {} if row is None else inner(row)
    if side is USERS:
        made = {"isDeleted": False, "userPrincipalName": of.get("userPrincipalName")}
        made["userDisplayName"] = of.get("displayName")
        if row is None:  # nobody brought the directory: a detection knows who it is
            last = tx.find(side.detections, _of(side.id, [principal]), limit=1)
            known = inner(last[0]) if last else {}
            made |= {name: known.get(name) for name in ("userPrincipalName", "userDisplayName")}
    else:
        made = {name: of.get(name) for name in ("appId", "displayName", "servicePrincipalType")}
        made["isEnabled"] = made["accountEnabled"] = of.get("accountEnabled")
        if row is None:
            last = tx.find(side.detections, _of(side.id, [principal]), limit=1)
            known = inner(last[0]) if last else {}
            made |= {"appId": known.get("appId"), "displayName": known.get("servicePrincipalDisplayName")}
    return {"id": principal, "isProcessing": False, **made}


def standing_of(tx: Tx, side: Side, principal: str) -> Level:
    rows = tx.find(side.detections, And((_states(STANDING), _of(side.id, [principal]))), limit=MOST_STANDING)
    active = []
    for row in rows:
        body = inner(row)
        at = body.get("activityDateTime") or body.get("detectedDateTime")
        level = str(body.get("riskLevel"))
        if body.get("riskState") == "confirmedCompromised":
            level = "high"
        active.append(Active(level, seconds(at) if at else 0.0, str(body.get("requestId") or "")))
    return aggregate(active, seconds(tx.now))


def close_detections(
    tx: Tx, sets: Mapping[str, Collection], side: Side, of: Expr, action: Decision, *, limit: int = CHUNK
) -> set[str]:
    """Gives detections what follows from a decision, at most `limit`; the principals that had some. Empty once none is
    left."""
    states = [state for state in (*STANDING, "confirmedSafe") if state != action.detections]
    if not action.name.startswith("confirmSignIn"):
        states = [state for state in STANDING if state != action.detections]
    moved: set[str] = set()
    for row in tx.find(side.detections, And((_states(states), of)), limit=limit):
        before = inner(row)
        changes = detection_after(action, before)
        if changes:
            changed = {name: (before.get(name), value) for name, value in changes.items()}
            put(tx, sets, side, row.id, {**before, **changes, "lastUpdatedDateTime": tx.now}, changed)
            moved.add(str(before.get(side.id) or ""))
    return moved


def close_sign_ins(
    tx: Tx, sets: Mapping[str, Collection], side: Side, principals: Sequence[str], action: Decision, limit: int = CHUNK
) -> list[str]:
    """The same for the risky sign-ins of principals, with their alerts; which."""
    if action.sign_in is None:
        return []
    states = [state for state in STANDING if state != action.sign_in]
    rows = tx.find(SIGN_INS, And((_states(states), _of(side.id, principals))), limit=limit)
    return [row.id for row in rows if decide(tx, sets, row, action)]


def decide(tx: Tx, sets: Mapping[str, Collection], row: Stored, action: Decision, done: Any = None) -> bool:
    """Does to one sign-in what a decision says. `done` merges the changes where a provider's word is to be kept."""
    before = inner(row)
    changes = sign_in_after(action, before)
    if not changes:
        return False
    changed = {name: (before.get(name), value) for name, value in changes.items()}
    after = {**before, **changes} if done is None else done(before, changes)
    tx.put(draft(sets[SIGN_INS], after, row.id), changed=changed)
    return True


def renew_alert(tx: Tx, sign_in: str) -> None:
    """After its detections were decided on: the alert follows."""
    row = tx.get(SIGN_INS, sign_in)
    if row is None:
        return
    body = inner(row)
    side, _ = side_of(body)
    of = Compare("eq", Path(("requestId",), kind="text"), Literal(sign_in, "text"))
    detections = [{**inner(each), "id": each.id} for each in tx.find(side.detections, of, limit=MOST_STANDING)]
    ours = [each for each in detections if each.get("source") == OURS]
    alert(tx, body, ours, str(body.get("riskLevelAggregated")))


def confirmed(
    tx: Tx, sets: Mapping[str, Collection], side: Side, principal: str, action: Decision, key: str,
    sign_in: Mapping[str, Any] | None = None,
) -> None:  # fmt: skip
    """The detection that a confirmation adds; once for each `key`."""
    id = stable_id(side.detection_id, tx.tenant, key, action.adds)
    if not action.adds or tx.get(side.detections, id) is not None:
        return
    row = tx.get(side.risky, principal)
    of = _new(tx, side, principal) if row is None else inner(row)
    body: dict[str, Any] = {
        "riskEventType": action.adds,
        "riskLevel": "high",
        "riskState": "confirmedCompromised",
        "riskDetail": action.detail,
        "activity": side.activity if sign_in is None else "signin",
        "detectionTimingType": "offline",
        "source": OURS,
        "activityDateTime": tx.now if sign_in is None else sign_in.get("createdDateTime"),
        "detectedDateTime": tx.now,
        "lastUpdatedDateTime": tx.now,
        side.id: principal,
    }
    if side is USERS:
        body |= {"riskType": action.adds, "userPrincipalName": of.get("userPrincipalName")}
        body["userDisplayName"] = of.get("userDisplayName")
    else:
        body |= {"servicePrincipalDisplayName": of.get("displayName"), "appId": of.get("appId")}
    if sign_in is not None:
        body = {**body, **{name: value for name, value in facts_of(side, sign_in, principal).items() if value}}
    put(tx, sets, side, id, body, None)
    alert(tx, sign_in, [{**body, "id": id}], "high")


def remediate_sign_in(tx: Tx, sets: Mapping[str, Collection], id: str, action: Decision) -> None:
    row = tx.get(SIGN_INS, id)
    if row is None or not decide(tx, sets, row, action):
        return
    of = Compare("eq", Path(("requestId",), kind="text"), Literal(id, "text"))
    for side in (USERS, WORKLOADS):
        for principal in close_detections(tx, sets, side, of, action):
            reckon(tx, sets, side, principal, action, by=OURS)
    renew_alert(tx, id)


def remediate_user(tx: Tx, sets: Mapping[str, Collection], user: str, action: Decision) -> None:
    """Nothing where the user is not at risk. What belongs to it follows in the next writes (`finish`)."""
    row = tx.get(USERS.risky, user)
    if row is not None and inner(row).get("riskState") in STANDING:
        reckon(tx, sets, USERS, user, action, by=OURS, processing=True)


async def finish(store: TenantStore, sets: Mapping[str, Collection], side: Side, principal: str, actor: str) -> None:
    """What a decision on a principal does to its detections, sign-ins and alerts, in bounded writes; then it is no
    more in processing. A second call, or one beside it, does no harm."""

    def work(tx: Tx) -> bool:
        row = tx.get(side.risky, principal)
        if row is None:
            return False
        before = inner(row)
        action = decision_of(before.get("riskDetail"))
        if before.get("isProcessing") is not True or action is None:
            return False  # what a provider has under way is the provider's
        of = In(Path((side.id,), kind="text"), (Literal(principal, "text"),))
        more = False
        if action is not None and action.user is not None:
            more = bool(close_detections(tx, sets, side, of, action))
            moved = close_sign_ins(tx, sets, side, [principal], action) if not more else []
            for id in moved:
                renew_alert(tx, id)
            more = more or bool(moved)
        if not more:
            reckon(tx, sets, side, principal, action, by=None, processing=False)
        return more

    while await store.write(work, actor=actor):
        pass


async def follow(
    store: TenantStore, sets: Mapping[str, Collection], ids: Sequence[str], action: Decision, *, by: str, actor: str
) -> None:
    """What a decision on sign-ins does to their detections, alerts and principals. Twice does no harm."""
    of = _of("requestId", ids)

    def close(tx: Tx) -> bool:
        moved = [close_detections(tx, sets, side, of, action) for side in (USERS, WORKLOADS)]
        return any(moved)

    while await store.write(close, actor=actor):
        pass

    def end(tx: Tx) -> None:
        whose: dict[tuple[bool, str], None] = {}
        for id in ids:
            row = tx.get(SIGN_INS, id)
            if row is None:
                continue
            body = inner(row)
            side, principal = side_of(body)
            if not principal:
                continue
            if action.adds and body.get("riskState") == action.sign_in:
                confirmed(tx, sets, side, principal, action, id, body)
            renew_alert(tx, id)
            whose[side is WORKLOADS, principal] = None
        for workload, principal in whose:
            reckon(tx, sets, WORKLOADS if workload else USERS, principal, action, by=by)

    await store.write(end, actor=actor)


def _of(column: str, values: Sequence[str]) -> Expr:
    return In(Path((column,), kind="text"), tuple(Literal(each, "text") for each in values))


def _states(states: Sequence[str]) -> Expr:
    return In(Path(("riskState",), kind="enum"), tuple(Literal(each, "enum") for each in states))
