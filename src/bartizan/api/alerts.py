"""Alerts through both faces, and the incidents that they belong to.

Source: Microsoft Graph, resources microsoft.graph.alert, microsoft.graph.security.alert and
microsoft.graph.security.incident.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from bartizan.api.wire.find import lost
from bartizan.api.wire.note import note
from bartizan.api.wire.write import changes, check_match
from bartizan.errors import BadRequest, NotFound
from bartizan.extend import Answer, Can, Context, never, resource
from bartizan.model import faces, posted
from bartizan.model.ids import stable_id
from bartizan.model.times import instant
from bartizan.model.workflow import MAX_COMMENTS, Who
from bartizan.odata.tree import Compare, Literal, Path
from bartizan.store.alerts import (
    ALERTS,
    ALERTS_V2,
    ANALYST,
    FOLLOW_CHUNK,
    INCIDENTS,
    Face,
    Resolve,
    change_alert,
    move_alert,
    prepare,
    resolve_members,
    store_alerts,
    unfold_alert,
)
from bartizan.store.draft import draft, inner
from bartizan.store.interface import Query, Stored, Tx
from bartizan.store.said import VERSION, done_here

MAX_MOVED = 1_000  # alerts of one moveAlerts
MAX_MERGED = 100  # incidents of one mergeIncidents
CHUNK = 50  # alerts that one transaction moves: the writer's lock stays short
MAX_UPDATED = 100  # alerts of one updateAlerts

_LINK = "linktoincident"
_EVIDENCE = never("alerts are evidence: they leave by retention only")
_COMMENT = "microsoft.graph.security.alertComment"
_MERGED = "microsoft.graph.security.mergeResponse"
_REASON = "microsoft.graph.security.correlationReason"

alerts_v2 = resource(
    "security/alerts_v2",
    "microsoft.graph.security.alert",
    collection=ALERTS_V2,
    can=Can.READ | Can.CREATE | Can.PATCH,
    read="SecurityAlert.Read.All",
    write="SecurityAlert.ReadWrite.All",
    create="SecurityAlert.Create.All SecurityAlert.ReadWrite.All Bartizan.Ingest.All",
    search="title description",
    patch="assignedTo classification determination status",
    required="title",
    max_top=2000,
    throttle="alert",
    federated="v2",
    unserved={"DELETE": _EVIDENCE},
)

alerts = resource(
    "security/alerts",
    "microsoft.graph.alert",
    collection=ALERTS,
    can=Can.READ | Can.CREATE | Can.PATCH,
    read="SecurityEvents.Read.All",
    write="SecurityEvents.ReadWrite.All",
    create="Bartizan.Ingest.All",
    search="title description",
    patch="assignedTo closedDateTime comments feedback status tags vendorInformation",
    patch_status=204,
    required="title vendorInformation",
    max_top=1000,
    max_skip=500,
    throttle="alert",
    federated="legacy",
    unserved={"DELETE": _EVIDENCE},
)

incidents = resource(
    "security/incidents",
    "microsoft.graph.security.incident",
    collection=INCIDENTS,
    can=Can.READ | Can.CREATE | Can.PATCH,
    read="SecurityIncident.Read.All",
    write="SecurityIncident.ReadWrite.All",
    create="Bartizan.Ingest.All",
    search="displayName description",
    patch=(
        "assignedTo classification customTags description determination displayName resolvingComment severity status "
        "summary"
    ),
    required="displayName",
    max_top=1000,
    throttle="alert",
    unserved={"DELETE": never("incidents leave by retention only; a merged one stays as redirected")},
)
incidents.navigation("alerts", alerts_v2, column="incidentId", expand=True)


def who(ctx: Context) -> Who:
    name = ctx.caller.app_name if ctx.caller.user is None else ctx.caller.name
    return Who(ctx.caller.app, ctx.caller.upn, name)


# ---------------------------------------------------------------- alerts


async def _store(ctx: Context, bodies: list[dict[str, Any]], face: Face) -> list[Stored]:
    read = posted.from_today if face == "v2" else posted.from_old
    now = instant(ctx.clock())
    ready = [prepare(read(body, ctx.caller.tenant, now)) for body in bodies]
    of = alerts_v2 if face == "v2" else alerts

    def work(tx: Tx) -> list[Stored]:
        kept = store_alerts(tx, ready)
        fresh = [one.v2.id for one in kept if not one.repeat]
        if fresh:
            note(ctx, tx, of, fresh, operation="Add")
        return [one.face(face) for one in kept]

    return await ctx.store.write(work, actor=ctx.caller.actor)


@alerts_v2.on_create
async def create_today(ctx: Context, bodies: list[dict[str, Any]]) -> list[Stored]:
    return await _store(ctx, bodies, "v2")


@alerts.on_create
async def create_legacy(ctx: Context, bodies: list[dict[str, Any]]) -> list[Stored]:
    return await _store(ctx, bodies, "legacy")


async def _change(ctx: Context, id: str, patch: Mapping[str, Any], face: Face, if_match: str | None) -> Stored:
    def work(tx: Tx) -> Stored:
        return _changed(ctx, tx, id, patch, face, if_match)

    return await ctx.store.write(work, actor=ctx.caller.actor)


def _changed(
    ctx: Context,
    tx: Tx,
    id: str,
    patch: Mapping[str, Any],
    face: Face,
    if_match: str | None = None,
    *,
    repeats: int = FOLLOW_CHUNK,
) -> Stored:
    kept = change_alert(tx, id, patch, face, who(ctx), if_match=if_match, repeats=repeats)
    if kept.changed or kept.changed_legacy:
        note(ctx, tx, alerts_v2 if face == "v2" else alerts, [id], changed=kept.changed or kept.changed_legacy)
    return kept.face(face)


@alerts_v2.on_patch
async def change_today(ctx: Context, id: str, given: dict[str, Any], if_match: str | None) -> Stored:
    return await _change(ctx, id, given, "v2", if_match)


@alerts.on_patch
async def change_legacy(ctx: Context, id: str, given: dict[str, Any], if_match: str | None) -> Stored:
    _vendor(given, id)
    return await _change(ctx, id, given, "legacy", if_match)


def _vendor(given: Mapping[str, Any], id: str) -> None:
    vendor = given.get("vendorInformation") or {}
    if not vendor.get("vendor") or not vendor.get("provider"):
        raise BadRequest(f"A change of alert '{id[:100]}' needs vendorInformation with vendor and provider.")


@alerts_v2.action("comments", returns=f"Collection({_COMMENT})")
async def comment(ctx: Context, id: str | None, body: Any) -> Answer:
    assert id is not None
    row = await _change(ctx, id, {"comments": _comments(ctx, body)}, "v2", None)
    full = await ctx.store.get(ALERTS_V2.name, row.id)
    assert full is not None
    return Answer(200, inner_comments(full))


def inner_comments(row: Stored) -> list[Any]:
    return list(inner(row).get("comments") or [])


def _comments(ctx: Context, body: Any) -> list[dict[str, Any]]:
    """One object or a bare array, as the SDK sends it."""
    given = body if isinstance(body, list) else [body]
    made = [ctx.edm.accept(_COMMENT, each) for each in given]
    if not made or len(made) > MAX_COMMENTS or not all(each.get("comment") for each in made):
        raise BadRequest('expected {"comment": "..."}, or an array of such.')
    return made


@alerts.action("updateAlerts", on="set", returns="Collection(microsoft.graph.alert)", versions=("beta",))
async def update_alerts(ctx: Context, id: str | None, body: Any) -> Answer:
    """All of them or none."""
    items = body.get("value") if isinstance(body, dict) else None
    if not isinstance(items, list) or not 0 < len(items) <= MAX_UPDATED:
        raise BadRequest(f'expected {{"value": [alert, ...]}} with 1 to {MAX_UPDATED} alerts.')
    patches: list[tuple[str, dict[str, Any]]] = []
    for item in items:
        key = item.get("id") if isinstance(item, dict) else None
        if not isinstance(key, str) or not key:
            raise BadRequest("each alert needs id and vendorInformation.")
        row = await ctx.store.get(alerts.collection.name, key)
        if row is None:
            raise lost(key)
        given = changes(ctx, alerts, row, item)
        _vendor(given, key)
        patches.append((key, given))

    def work(tx: Tx) -> list[Stored]:
        each = FOLLOW_CHUNK // len(patches)
        return [_changed(ctx, tx, key, given, "legacy", repeats=each) for key, given in patches]

    return Answer(200, await ctx.store.write(work, actor=ctx.caller.actor))


@alerts_v2.action(
    "createAlert",
    on="set",
    returns="microsoft.graph.security.alert",
    access="SecurityAlert.Create.All SecurityAlert.ReadWrite.All",
    versions=("beta",),
)
async def create_alert(ctx: Context, id: str | None, body: Any) -> Answer:
    """A provider's alert, as `{"createAlertInput": {...}}` or the input by itself."""
    if isinstance(body, dict) and len(body) == 1:
        ((name, value),) = body.items()
        body = value if name.lower() == "createalertinput" else body
    link = _link_of(body)
    if isinstance(link, str):  # the type has a number; ids of incidents made here are none
        body = {name: value for name, value in body.items() if name.lower() != _LINK}
    given = ctx.edm.accept("microsoft.graph.security.createAlertInput", body)
    if not given.get("title") or not given.get("severity"):
        raise BadRequest("createAlertInput needs title and severity.")
    kept = ("title", "severity", "category", "description", "recommendedActions", "mitreTechniques")
    more = ("entityDefinitions", "isExcludedFromCorrelation", "sentinelWorkspace")
    alert = {name: given[name] for name in kept if given.get(name) is not None}
    alert["detectionSource"] = "manual"
    alert["additionalData"] = {name: given[name] for name in more if given.get(name) is not None}
    alert["providerAlertId"] = stable_id("createAlert", ctx.request_id)
    if link is not None:
        alert["incidentId"] = (await _incident(ctx, str(link))).id
    (row,) = await _store(ctx, [alert], "v2")
    return Answer(200, row)


def _link_of(body: Any) -> Any:
    named = body.items() if isinstance(body, dict) else ()
    return next((value for name, value in named if name.lower() == _LINK), None)


# ---------------------------------------------------------------- incidents


async def _incident(ctx: Context, id: str) -> Stored:
    """The incident, or the one that it was merged into."""
    row = await ctx.store.get(INCIDENTS.name, id)
    for _ in range(MAX_MERGED):
        if row is None:
            break
        further = inner(row).get("redirectIncidentId")
        if not further:
            return row
        row = await ctx.store.get(INCIDENTS.name, further)
    raise NotFound(f"There is no incident '{id[:100]}'.")


@incidents.prepare
def new_incident(ctx: Context, given: dict[str, Any]) -> dict[str, Any]:
    if given.get("redirectIncidentId") or given.get("status") == "redirected":
        raise BadRequest("an incident becomes redirected by mergeIncidents only.")
    stamped = {"status": "active", "severity": "unknown", "classification": "unknown", "determination": "unknown"}
    kept = {name: value for name, value in given.items() if value is not None}
    return {**stamped, **kept, "tenantId": ctx.caller.tenant}


@incidents.on_patch
async def change_incident(ctx: Context, id: str, given: dict[str, Any], if_match: str | None) -> Stored:
    """Whoever resolves an incident resolves its open alerts: the first of them in this transaction, the others, where
    there are many, by the stage `writeback` after it."""

    def work(tx: Tx) -> Stored:
        row = tx.get(INCIDENTS.name, id)
        if row is None:
            raise NotFound(f"There is no incident '{id[:100]}'.")
        check_match(row, if_match)
        before = inner(row)
        after = _merged(ctx, before, given)
        changed = {name: (before.get(name), after[name]) for name in after if before.get(name) != after[name]}
        if not changed:
            return row
        put = tx.put(draft(INCIDENTS, after, id), changed={**changed, ANALYST: (before.get(VERSION), who(ctx).shown)})
        assert put is not None
        note(ctx, tx, incidents, [id], changed=changed)
        if changed.get("status", (None, None))[1] == "resolved":
            resolved = resolve_members(tx, Resolve(id, who(ctx)))
            if resolved:
                note(ctx, tx, alerts_v2, resolved, activity="Resolve alerts of incident", reason=f"Incident {id}")
                put = tx.get(INCIDENTS.name, id)
                assert put is not None
        return put

    return await ctx.store.write(work, actor=ctx.caller.actor)


def _merged(ctx: Context, before: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    if before.get("redirectIncidentId"):
        raise BadRequest(f"This incident was merged; change incident '{before['redirectIncidentId']}' instead.")
    if "displayName" in given and not given["displayName"]:
        raise BadRequest("displayName: an incident has a name.")
    if given.get("status") == "redirected" or ("status" in given and given["status"] is None):
        raise BadRequest("status: expected active, inProgress, resolved or awaitingAction; merging redirects.")
    if all(before.get(name) == value for name, value in given.items()):
        return before
    return {**done_here(before, given), "lastModifiedBy": ctx.caller.actor}


@incidents.action("comments", returns=f"Collection({_COMMENT})")
async def comment_incident(ctx: Context, id: str | None, body: Any) -> Answer:
    assert id is not None
    made = _comments(ctx, body)

    def work(tx: Tx) -> list[Any]:
        row = tx.get(INCIDENTS.name, id)
        if row is None:
            raise NotFound(f"There is no incident '{id[:100]}'.")
        return _commented(ctx, tx, row, [str(each["comment"]) for each in made])

    return Answer(200, await ctx.store.write(work, actor=ctx.caller.actor))


def _commented(ctx: Context, tx: Tx, row: Stored, texts: list[str], **also: Any) -> list[Any]:
    """Adds comments (and sets `also`); the whole list."""
    before = inner(row)
    new = [{"comment": text, "createdByDisplayName": who(ctx).shown, "createdDateTime": tx.now} for text in texts]
    whole = [*(before.get("comments") or []), *new]
    if len(whole) > MAX_COMMENTS:
        raise BadRequest(f"an incident has at most {MAX_COMMENTS} comments.")
    after = {**done_here(before, also), "comments": whole, "lastModifiedBy": ctx.caller.actor}
    changed = {name: (before.get(name), after[name]) for name in ("comments", *also)}
    tx.put(draft(INCIDENTS, after, row.id), changed={**changed, ANALYST: (before.get(VERSION), who(ctx).shown)})
    note(ctx, tx, incidents, [row.id], changed=changed)
    return whole


@incidents.action(
    "mergeIncidents",
    on="set",
    parameters={"incidentIds": "Collection(Edm.String)!", "incidentComment": "Edm.String", "mergeReasons": _REASON},
    returns=_MERGED,
)
async def merge_incidents(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
    """The oldest survives; the others are redirected to it first, then their alerts follow, so that a second call
    completes what a crash cut short.
    """
    ids = list(dict.fromkeys(given["incidentIds"]))
    if not 2 <= len(ids) <= MAX_MERGED:
        raise BadRequest(f"incidentIds: expected 2 to {MAX_MERGED} different ids; got {len(ids)}.")

    def work(tx: Tx) -> str:
        rows = [row for row in (tx.get(INCIDENTS.name, each) for each in ids) if row is not None]
        if len(rows) < len(ids):
            raise NotFound("Not every one of the incidents exists; nothing was changed.")
        states = {row.id: inner(row) for row in rows}
        standing = [row for row in rows if not states[row.id].get("redirectIncidentId")]
        if not standing:
            raise BadRequest("All of these incidents were merged into another one already.")
        target = min(standing, key=lambda row: (row.created, row.id))
        for row in rows:
            further = states[row.id].get("redirectIncidentId")
            if further not in (None, target.id):
                raise BadRequest(f"Incident '{row.id}' was merged into '{further}' already; name that one.")
            if row.id != target.id and further is None:
                also = {"status": "redirected", "redirectIncidentId": target.id}
                _commented(
                    ctx,
                    tx,
                    row,
                    [f"Merged into incident {target.id}. Reasons: {_reasons(given['mergeReasons'])}"],
                    **also,
                )
        if given["incidentComment"]:
            fresh = tx.get(INCIDENTS.name, target.id)
            assert fresh is not None
            _commented(ctx, tx, fresh, [given["incidentComment"]])
        return target.id

    target = await ctx.store.write(work, actor=ctx.caller.actor)
    for each in ids:
        if each != target:
            await _follow(ctx, each, target)
    return Answer(200, {"targetIncidentId": target})


def _reasons(given: str | None) -> str:
    return given or "none given"


async def _follow(ctx: Context, source: str, target: str) -> None:
    """Moves all alerts of an incident, some at a time."""
    of_source = Compare("eq", Path(("incidentId",), kind="text"), Literal(source, "text"))

    def work(tx: Tx) -> int:
        rows = tx.find(ALERTS_V2.name, of_source, limit=CHUNK)
        for row in rows:
            move_alert(tx, row.id, target)
        return len(rows)

    while await ctx.store.write(work, actor=ctx.caller.actor):
        pass


@alerts_v2.action(
    "moveAlerts",
    on="set",
    parameters={
        "alertIds": "Collection(Edm.String)!",
        "incidentId": "Edm.String",
        "alertComment": "Edm.String",
        "newCorrelationReasons": _REASON,
    },
    returns=_MERGED,
)
async def move_alerts(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
    """Into an incident, or, without incidentId, into a new one, with what is folded into them. All alerts must exist;
    doing it twice changes nothing.
    """
    reasons, into = given["newCorrelationReasons"], given["incidentId"]
    return Answer(
        200, {"targetIncidentId": await arrange(ctx, given["alertIds"], into, given["alertComment"], reasons)}
    )


async def arrange(
    ctx: Context,
    alerts: Sequence[str],
    into: str | None,
    comment: str | None,
    reasons: str | None,
    *,
    name: str | None = None,
) -> str:
    """Moves alerts, with what is folded into them, into an incident, or (None) into a new one of this name; which."""
    ids = await with_repeats(ctx, alerts)
    target = await _new_incident(ctx, alerts, name) if not into else (await _incident(ctx, into)).id
    for start in range(0, len(ids), CHUNK):
        await _move(ctx, ids[start : start + CHUNK], target, comment, reasons, together=frozenset(ids))
    return target


async def with_repeats(ctx: Context, given: Sequence[str]) -> list[str]:
    """These alerts, and those folded into them. NotFound where one does not exist."""
    ids = list(dict.fromkeys(given))
    if not 0 < len(ids) <= MAX_MOVED:
        raise BadRequest(f"alertIds: expected 1 to {MAX_MOVED} ids; got {len(ids)}.")
    found = dict.fromkeys(ids)
    for each in ids:
        row = await ctx.store.get(ALERTS_V2.name, each)
        if row is None:
            raise NotFound(f"There is no alert '{each[:100]}'; nothing was moved.")
        if faces.FOLDED not in (inner(row).get("additionalData") or {}):
            continue
        folded = Compare("eq", Path(("additionalData", faces.FOLDED_INTO), kind="text"), Literal(each, "text"))
        page = await ctx.store.page(ALERTS_V2.name, Query(top=MAX_MOVED, filter=folded))
        found.update((row.id, None) for row in page.rows)
        if page.more or len(found) > MAX_MOVED:
            raise BadRequest(f"with their repeats these are more than {MAX_MOVED} alerts; move fewer at a time.")
    return list(found)


async def _move(
    ctx: Context, ids: list[str], target: str, comment: str | None, reasons: str | None, *, together: frozenset[str]
) -> None:
    reason = f"Moved to incident {target}. Reasons: {_reasons(reasons)}"

    def work(tx: Tx) -> None:
        link = {"incidentId": target, "correlationReason": reasons, "createdBy": ctx.caller.actor}
        link["createdDateTime"] = tx.now
        moved = [each for each in ids if move_alert(tx, each, target, link).changed]
        for each in moved:
            unfold_alert(tx, each, unless=together)
        for each in moved if comment else ():
            change_alert(tx, each, {"comments": [{"comment": comment}]}, "v2", who(ctx))
        if moved:
            note(ctx, tx, alerts_v2, moved, activity="Move alert", reason=reason)

    await ctx.store.write(work, actor=ctx.caller.actor)


async def incident_made_of(ctx: Context, alerts: Sequence[str]) -> str:
    """The id of the incident that these alerts begin when somebody takes them out of theirs: the same again, unless
    that was merged into another meanwhile.
    """
    for time in range(MAX_MERGED):
        id = stable_id("incident", ctx.caller.tenant, *sorted(set(alerts)), *([f"#{time}"] if time else []))
        row = await ctx.store.get(INCIDENTS.name, id)
        if row is None or not inner(row).get("redirectIncidentId"):
            return id
    raise BadRequest(f"These alerts were split off and merged back {MAX_MERGED} times; move them into an incident.")


async def _new_incident(ctx: Context, alerts: Sequence[str], name: str | None) -> str:
    """Named after its first alert unless it has a name; the same alerts give the same incident."""
    first = await ctx.store.get(ALERTS_V2.name, alerts[0])
    assert first is not None
    of = inner(first)
    body = new_incident(ctx, {"displayName": name or of.get("title"), "severity": of.get("severity")})
    made = draft(INCIDENTS, body, await incident_made_of(ctx, alerts))

    def work(tx: Tx) -> None:
        if tx.put(made, unless_exists=True) is not None:
            note(ctx, tx, incidents, [made.id], operation="Add")

    await ctx.store.write(work, actor=ctx.caller.actor)
    return made.id
