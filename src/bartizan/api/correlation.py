"""Why alerts are where correlation put them, what analysts arrange otherwise, and suppressions: this server's own, in
Graph's style.

Source: microsoft.graph.security.correlationReason; docs/explanation/correlation.md.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import uuid4

import msgspec

from bartizan.api import alerts as area
from bartizan.api.wire.note import note
from bartizan.api.wire.write import check_match
from bartizan.correlate.rank import HALF_BITS
from bartizan.correlate.suppress import MAX_FILTER_CHARS, MAX_SUPPRESSIONS, SUPPRESSIONS, bound
from bartizan.correlate.write import LINKS
from bartizan.errors import BadRequest, Conflict, NotFound
from bartizan.extend import Answer, Can, Context, resource
from bartizan.model import faces
from bartizan.model.edm import Version
from bartizan.model.times import instant, parse, to_datetime
from bartizan.odata.tree import And, Compare, Expr, Literal, Order, Path
from bartizan.store.alerts import (
    ALERTS_V2,
    INCIDENTS,
    change_alert,
    mark_alert,
    move_alert,
    suppress_alert,
    unfold_alert,
)
from bartizan.store.draft import draft, inner
from bartizan.store.interface import Query, Stored, Tx

MAX_LINKS = 1_000  # of one incident in one answer: one that nobody arranged stops growing at half of that
MAX_DAYS = 365  # that a suppression lasts: what is to stay away longer is looked at again
MOST = 0.5  # share of the alerts of 30 days that a suppression may hide unless that is acknowledged
PREVIEW = timedelta(days=30)
EXAMINED = 5_000  # newest matches that are counted by severity and detector
NAMED = 50  # detectors that are counted by themselves
SAMPLES = 10
MAX_REOPENED = 1_000
MAX_TEXT = 1_000

_BETA: tuple[Version, ...] = ("beta",)
_LINK = "microsoft.graph.security.correlationLink"
_PARTS = "microsoft.graph.security.incidentPriorityParts"
_PREVIEW = "microsoft.graph.security.suppressionPreview"
_decode = msgspec.json.Decoder(dict[str, Any]).decode


# ---------------------------------------------------------------- why


area.alerts_v2.navigation("foldedAlerts", area.alerts_v2, column=f"additionalData/{faces.FOLDED_INTO}", versions=_BETA)


@area.alerts_v2.action("correlationLinks", returns=f"Collection({_LINK})", function=True, versions=_BETA)
async def links_of_alert(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
    """Why correlation put it where it is; none of the first of an incident, of repeats, and of what nobody placed."""
    assert id is not None
    return Answer(200, await _links(ctx, [id]))


@area.incidents.action("correlationLinks", returns=f"Collection({_LINK})", function=True, versions=_BETA)
async def links_of_incident(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
    """The links of its alerts, newest alerts first: the edges of its graph. Repeats have none."""
    assert id is not None
    within = Compare("eq", Path(("incidentId",), kind="text"), Literal(id, "text"))
    heads = Compare("eq", Path(("additionalData", faces.FOLDED_INTO)), Literal(None, "null"))
    page = await ctx.store.page(ALERTS_V2.name, Query(top=MAX_LINKS, filter=And((within, heads))))
    if page.more:
        raise BadRequest(
            f"This incident has more than {MAX_LINKS} alerts beside repeats; ask for the links of each alert."
        )
    return Answer(200, await _links(ctx, [row.id for row in page.rows]))


async def _links(ctx: Context, alerts: Sequence[str]) -> list[dict[str, Any]]:
    if not alerts:
        return []
    read = await ctx.store.ahead(ALERTS_V2.name, alerts)
    links = {id: faces.link_of(one.stored.inner()) for id, one in read.items() if one.stored is not None}
    without = tuple(id for id, link in links.items() if link is None)
    if without:
        page = await ctx.store.page(LINKS.name, Query(top=len(without), ids=without))
        links.update((row.id, _decode(row.doc)) for row in page.rows)
    return [_link(id, link) for id in alerts if (link := links.get(id)) is not None]


def _link(alert: str, kept: Mapping[str, Any]) -> dict[str, Any]:
    names = {"shared": "sharedEntities", "strangers": "strangerBits"}
    return {"alertId": alert, **{names.get(name, name): value for name, value in kept.items() if name != "id"}}


@area.incidents.action("priorityParts", returns=_PARTS, function=True, versions=_BETA)
async def priority_parts(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
    """priorityScore = round(100 * (1 - 2 ** (-bits / halfBits))), where bits = severityBits + companyBits + the sum of
    the detectors' bits * factor. 404 of an incident that correlation did not make.
    """
    assert id is not None
    row = await ctx.store.get(INCIDENTS.name, id)
    whole = {} if row is None else inner(row)
    told = whole.get(faces.CORRELATION)
    if not told:
        raise NotFound(f"Incident '{id[:100]}' was not made by correlation: its priorityScore has no parts.")
    parts = told["priority"]
    plain = {"factor": 1.0, "truePositives": 0, "notTruePositives": 0}
    return Answer(
        200,
        {
            "priorityScore": whole["priorityScore"],
            "bits": parts["bits"],
            "halfBits": HALF_BITS,
            "severityBits": parts["severity"],
            "companyBits": parts["company"],
            "classifications": parts.get("classifications", 0),
            "detectors": [{**plain, **each} for each in parts["detectors"]],
            "entities": told["entities"],
            "tactics": told["tactics"],
            "correlationReason": ",".join(told["reasons"]) or None,
            "followsIncidentId": told["follows"],
            "firstActivityDateTime": told["firstActivityDateTime"],
            "lastActivityDateTime": told["lastActivityDateTime"],
        },
    )


# ---------------------------------------------------------------- what analysts arrange


@area.incidents.action(
    "split",
    parameters={"alertIds": "Collection(Edm.String)!", "displayName": "Edm.String", "comment": "Edm.String"},
    returns="microsoft.graph.security.mergeResponse",
    versions=_BETA,
)
async def split(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
    """Some of its alerts, with what is folded into them, into a new incident. Doing it twice changes nothing."""
    assert id is not None
    target = await area.incident_made_of(ctx, given["alertIds"])
    for each in await area.with_repeats(ctx, given["alertIds"]):
        row = await ctx.store.get(ALERTS_V2.name, each)
        if row is None or inner(row).get("incidentId") not in (id, target):
            raise BadRequest(f"Alert '{each[:100]}' is not in incident '{id}'; nothing was changed.")
    await area.arrange(ctx, given["alertIds"], None, given["comment"], None, name=given["displayName"])
    return Answer(200, {"targetIncidentId": target})


@area.alerts_v2.action("detach", parameters={"comment": "Edm.String"}, versions=_BETA)
async def detach(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
    """Out of its incident, with what is folded into it, and left alone by correlation from now on. 204; twice changes
    nothing.
    """
    assert id is not None
    ids = await area.with_repeats(ctx, [id])
    for start in range(0, len(ids), area.CHUNK):
        part = ids[start : start + area.CHUNK]

        def work(tx: Tx, part: Sequence[str] = part) -> None:
            moved = [each for each in part if move_alert(tx, each, None).changed]
            marked = [each for each in part if mark_alert(tx, each, **{faces.EXCLUDED: True})]
            for each in part:
                unfold_alert(tx, each, unless=ids)
                tx.delete(LINKS.name, each)
            if given["comment"] and id in (*moved, *marked):
                change_alert(tx, id, {"comments": [{"comment": given["comment"]}]}, "v2", area.who(ctx))
            if moved or marked:
                note(ctx, tx, area.alerts_v2, list(dict.fromkeys([*moved, *marked])), activity="Detach alert")

        await ctx.store.write(work, actor=ctx.caller.actor)
    return Answer(204)


# ---------------------------------------------------------------- suppressions


suppressions = resource(
    "security/suppressions",
    "microsoft.graph.security.suppression",
    collection=SUPPRESSIONS,
    can=Can.READ | Can.CREATE | Can.PATCH | Can.DELETE,
    read="SecurityAlert.Read.All",
    write="SecurityAlert.ReadWrite.All",
    create="SecurityAlert.ReadWrite.All",
    delete="SecurityAlert.ReadWrite.All",
    patch="acknowledged displayName expirationDateTime filter isEnabled owner reason",
    required="displayName expirationDateTime filter reason",
    versions=_BETA,
    throttle="alert",
)
suppressions.navigation("alerts", area.alerts_v2, column=f"additionalData/{faces.SUPPRESSION}")


@suppressions.action("preview", on="set", parameters={"filter": "Edm.String!"}, returns=_PREVIEW)
async def preview(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
    """What a suppression with this filter would have hidden in the last 30 days. Stores nothing."""
    return Answer(200, await _preview(ctx, given["filter"]))


@suppressions.on_create
async def create_suppressions(ctx: Context, bodies: list[dict[str, Any]]) -> list[Stored]:
    made = []
    _check_room(await ctx.store.count(SUPPRESSIONS.name) + len(bodies))  # before each is previewed
    for body in bodies:
        stamped = {"createdBy": ctx.caller.actor, "suppressedAlerts": 0, **_modified(ctx)}
        defaults = {"isEnabled": True, "acknowledged": False, "owner": ctx.caller.upn or ctx.caller.actor}
        given = {name: body[name] for name in suppressions.patch if body.get(name) is not None}
        made.append(await _checked(ctx, {**defaults, **given, **stamped}))
    drafts = [draft(SUPPRESSIONS, body, str(uuid4())) for body in made]

    def work(tx: Tx) -> list[Stored]:
        known = len(tx.find(SUPPRESSIONS.name, None, limit=MAX_SUPPRESSIONS))
        _check_room(known + len(drafts))
        rows = [row for each in drafts if (row := tx.put(each)) is not None]
        note(ctx, tx, suppressions, [row.id for row in rows], operation="Add")
        return rows

    return await ctx.store.write(work, actor=ctx.caller.actor)


def _check_room(wanted: int) -> None:
    if wanted > MAX_SUPPRESSIONS:
        raise Conflict(f"a tenant has at most {MAX_SUPPRESSIONS} suppressions; delete some that have ended.")


@suppressions.on_patch
async def change_suppression(ctx: Context, id: str, given: dict[str, Any], if_match: str | None) -> Stored:
    """What it would hide is computed anew where the filter changes, or it is enabled."""
    row = await ctx.store.get(SUPPRESSIONS.name, id)
    if row is None:
        raise NotFound(f"There is no suppression '{id[:100]}'.")
    before = inner(row)
    after = {**before, **given}
    if all(before.get(name) == value for name, value in given.items()):
        check_match(row, if_match)
        return row
    anew = after["filter"] != before["filter"] or (after["isEnabled"] and not before["isEnabled"])
    if after["filter"] != before["filter"] and "acknowledged" not in given:
        given, after = {**given, "acknowledged": False}, {**after, "acknowledged": False}  # it was said of another one
    checked = await _checked(ctx, after, anew=anew, timed="expirationDateTime" in given or anew)
    told = {name: checked[name] for name in (*given, "preview")}

    def work(tx: Tx) -> Stored:
        row = tx.get(SUPPRESSIONS.name, id)
        if row is None:
            raise NotFound(f"There is no suppression '{id[:100]}'.")
        check_match(row, if_match)
        now = inner(row)
        if now["filter"] != before["filter"]:
            raise Conflict("The suppression was changed by somebody else at the same time; read it again.")
        changed = {name: (now.get(name), value) for name, value in told.items() if now.get(name) != value}
        put = tx.put(draft(SUPPRESSIONS, {**now, **told, **_modified(ctx)}, id), changed=changed)
        assert put is not None
        note(ctx, tx, suppressions, [id], changed=changed)
        return put

    return await ctx.store.write(work, actor=ctx.caller.actor)


def _modified(ctx: Context) -> dict[str, Any]:
    return {"lastModifiedBy": ctx.caller.actor, "lastModifiedDateTime": instant(ctx.clock())}


@suppressions.action(
    "reopen", on="set", parameters={"suppressionId": "Edm.String!", "count": "Edm.Int32!"}, returns="Edm.Int32"
)
async def reopen(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
    """The newest alerts that a suppression hid, be it there still or not, are seen again: the mark goes, and
    correlation takes them as it would have. Answers how many.
    """
    count = given["count"]
    if not 0 < count <= MAX_REOPENED:
        raise BadRequest(f"count: expected 1 to {MAX_REOPENED}; got {count}.")
    of = Compare(
        "eq", Path(("additionalData", faces.SUPPRESSION), kind="text"), Literal(given["suppressionId"], "text")
    )
    page = await ctx.store.page(ALERTS_V2.name, Query(top=count, filter=of))
    ids = [row.id for row in page.rows]
    seen = 0
    for start in range(0, len(ids), area.CHUNK):
        part = ids[start : start + area.CHUNK]

        def work(tx: Tx, part: Sequence[str] = part) -> int:
            changed = [each for each in part if suppress_alert(tx, each, None)]
            if changed:
                reason = f"Suppression {given['suppressionId']}"
                note(ctx, tx, area.alerts_v2, changed, activity="Reopen suppressed alert", reason=reason)
            return len(changed)

        seen += await ctx.store.write(work, actor=ctx.caller.actor)
    return Answer(200, seen)


async def _checked(ctx: Context, body: dict[str, Any], *, anew: bool = True, timed: bool = True) -> dict[str, Any]:
    """As it may be stored, with what it would have hidden. BadRequest, InvalidQuery."""
    for name in ("displayName", "reason", "owner"):
        text = body.get(name)
        if name != "owner" and not (text or "").strip():
            raise BadRequest(f"{name}: a suppression says it.")
        if text is not None and len(text) > MAX_TEXT:
            raise BadRequest(f"{name} has {len(text)} characters; the most is {MAX_TEXT}.")
    for name in ("isEnabled", "acknowledged"):
        if body.get(name) is None:
            raise BadRequest(f"{name}: expected true or false.")
    if body.get("filter") is None or body.get("expirationDateTime") is None:
        raise BadRequest("a suppression has a filter and an expirationDateTime.")
    if timed:
        left = to_datetime(parse(body["expirationDateTime"])) - ctx.clock()
        if not timedelta(0) < left <= timedelta(days=MAX_DAYS):
            raise BadRequest(f"expirationDateTime: expected a time within the next {MAX_DAYS} days.")
    if not anew:
        return body
    told = await _preview(ctx, body["filter"])
    if told["share"] > MOST and not body["acknowledged"]:
        raise BadRequest(
            f"This filter would have hidden {told['matched30Days']} of {told['ofTotal']} alerts of the last 30 days "
            f"({told['share']:.1%}), which is more than {MOST:.0%}: narrow it, or send acknowledged: true."
        )
    return {**body, "preview": told}


async def _preview(ctx: Context, text: str) -> dict[str, Any]:
    """Counts are of all; severities and detectors of the newest EXAMINED matches."""
    if len(text) > MAX_FILTER_CHARS:
        raise BadRequest(f"filter has {len(text)} characters; the most is {MAX_FILTER_CHARS}.")
    wanted, now = bound(text), ctx.clock()
    lately = Compare("ge", Path(("createdDateTime",), kind="instant"), Literal(instant(now - PREVIEW), "instant"))
    matching: Expr = And((lately, wanted))
    total = await ctx.store.count(ALERTS_V2.name, lately)
    matched = await ctx.store.count(ALERTS_V2.name, matching)
    severities: Counter[str] = Counter()
    detectors: Counter[str] = Counter()
    samples: list[str] = []
    after: Any = None
    examined = 0
    order = (Order(Path(("createdDateTime",), kind="instant"), True),)
    while examined < min(EXAMINED, matched):
        page = await ctx.store.page(ALERTS_V2.name, Query(top=500, filter=matching, order=order, after=after))
        for row in page.rows:
            body = _decode(row.doc)
            severities[str(body.get("severity") or "unknown")] += 1
            detectors[f"{body.get('productName') or ''}/{body.get('detectorId') or body.get('title')}"] += 1
        samples += [row.id for row in page.rows[: SAMPLES - len(samples)]]
        examined += len(page.rows)
        after = page.last
        if not page.more:
            break
    return {
        "matched30Days": matched,
        "ofTotal": total,
        "share": matched / total if total else 0.0,
        "examined": examined,
        "bySeverity": _counts(severities),
        "byDetector": _counts(detectors),
        "sampleAlertIds": samples,
        "createdDateTime": instant(now),
    }


def _counts(counts: Counter[str]) -> list[dict[str, Any]]:
    """The most frequent ones, and the others together."""
    named = [{"value": value, "alerts": number} for value, number in counts.most_common(NAMED)]
    rest = counts.total() - sum(number for _, number in counts.most_common(NAMED))
    return [*named, {"value": "(others)", "alerts": rest}] if rest else named
