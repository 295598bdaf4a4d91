"""Detection rules: queries that are run on schedule, and the alerts and actions that come of what they find.

What a rule has found stands in `alerts_v2`; how its last run went in `lastRunDetails`.

In v1.0 they are as in beta: also clients that call the newer version send what has been deprecated since.

Source: Microsoft Graph v1.0 and beta, resource detectionRule.
"""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import msgspec

from bartizan.api.wire.note import note
from bartizan.api.wire.write import check_match
from bartizan.detect.rule import (
    BY,
    MAX_RULES,
    RULES,
    RUNS,
    By,
    QueryCheck,
    Runs,
    check_columns,
    checked,
    query_of,
    runs_of,
    template_of,
)
from bartizan.detect.seen import forget
from bartizan.detect.words import category
from bartizan.errors import BadRequest, Conflict, NotFound
from bartizan.extend import Can, Context, resource
from bartizan.model.accept import merged
from bartizan.model.times import instant
from bartizan.store.draft import OWN, draft, inner
from bartizan.store.interface import Stored, Tx

_WRITE = "CustomDetection.ReadWrite.All"
_NEVER_RUN = dict.fromkeys(("lastRunDateTime", "status", "errorCode", "failureReason"))
_STAMPED = "createdBy createdDateTime detectorId id lastModifiedBy lastModifiedDateTime lastRunDetails".split()

rules = resource(
    "security/rules/detectionRules",
    RULES.type or "",
    collection=RULES,
    can=Can.READ | Can.CREATE | Can.PATCH | Can.DELETE,
    read="CustomDetection.Read.All",
    write=_WRITE,
    create=_WRITE,
    delete=_WRITE,
    patch="description detectionAction displayName isEnabled queryCondition schedule status",
    required="detectionAction displayName queryCondition schedule",
    search="displayName",
)


@rules.on_create
async def create_rules(ctx: Context, bodies: list[dict[str, Any]]) -> list[Stored]:
    """Runs at once where it is enabled, as it is unless it says otherwise. Its id is ours, or the one that it brings:
    those who keep rules as code name them themselves."""
    made = []
    for body in bodies:
        given = {name: value for name, value in body.items() if name not in _STAMPED}
        rule = _checked_state({"isEnabled": True, **_said(given)}, given)
        own = {"createdBy": ctx.caller.actor, "detectorId": str(uuid4()), "lastRunDetails": _NEVER_RUN}
        made.append(_stamped(ctx, {**rule, **own}, {}))
    if await ctx.store.count(RULES.name) + len(made) > MAX_RULES:
        raise Conflict(f"a tenant has at most {MAX_RULES} detection rules; delete some.")
    for rule in made:
        await _check_query(ctx, rule)
    ids = [str(body.get("id") or uuid4()) for body in bodies]
    drafts = [draft(RULES, rule, id) for rule, id in zip(made, ids, strict=True)]

    def work(tx: Tx) -> list[Stored]:
        taken = next((id for at, id in enumerate(ids) if id in ids[:at] or tx.get(RULES.name, id) is not None), None)
        if taken is not None:
            raise Conflict(f"there is a detection rule '{taken[:100]}' already.", code="nameAlreadyExists")
        rows = [row for each in drafts if (row := tx.put(each)) is not None]
        note(ctx, tx, rules, [row.id for row in rows], operation="Add")
        return rows

    return await ctx.store.write(work, actor=ctx.caller.actor)


@rules.on_patch
async def change_rule(ctx: Context, id: str, given: dict[str, Any], if_match: str | None) -> Stored:
    """Merges what is given, also inside of objects. The query is checked before the write; where somebody else changes
    the rule meanwhile it is a Conflict."""
    row = await ctx.store.get(RULES.name, id)
    if row is None:
        raise NotFound(f"There is no detection rule '{id[:100]}'.")
    before = inner(row)
    after = _changed(before, given)
    if _differs(before, after):
        await _check_query(ctx, after)

    def work(tx: Tx) -> Stored:
        row = tx.get(RULES.name, id)
        if row is None:
            raise NotFound(f"There is no detection rule '{id[:100]}'.")
        check_match(row, if_match)
        now = inner(row)
        if now.get("lastModifiedDateTime") != before.get("lastModifiedDateTime"):
            raise Conflict("The rule was changed by somebody else at the same time; read it again.")
        whole = _changed(now, given)  # a run may have ended meanwhile
        if not _differs(now, whole):
            return row
        whole = _stamped(ctx, whole, now)
        changed = {
            name: (now.get(name), whole.get(name))
            for name in now.keys() | whole.keys()
            if now.get(name) != whole.get(name) and not name.startswith(OWN)
        }
        put = tx.put(draft(RULES, whole, id), changed=changed)
        assert put is not None
        note(ctx, tx, rules, [id], changed=changed)
        return put

    return await ctx.store.write(work, actor=ctx.caller.actor)


@rules.on_delete
async def delete_rule(ctx: Context, id: str, if_match: str | None) -> bool:
    """Its alerts stay, and what it has ordered is carried out."""

    def work(tx: Tx) -> bool:
        row = tx.get(RULES.name, id)
        if row is None:
            return False
        check_match(row, if_match)
        tx.delete(RULES.name, id)
        forget(tx, id)
        note(ctx, tx, rules, [id], operation="Delete")
        return True

    return await ctx.store.write(work, actor=ctx.caller.actor)


def _said(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None and not name.startswith(OWN)}


def _changed(before: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Of what says the same twice, that decides which is given and new: frequency beside period, tactics beside the
    category that follows from them."""
    after = merged(before, given)
    template, schedule = template_of(given), given.get("schedule") or {}
    now = before["schedule"]
    if schedule.get("frequency") not in (None, now.get("frequency")) and schedule.get("period") in (
        None,
        now["period"],
    ):
        after = merged(after, {"schedule": {"period": None}})
    if (
        "tactics" in template
        and "category" not in template
        and _first_tactic(before) == template_of(before)["category"]
    ):
        after = merged(after, {"detectionAction": {"alertTemplate": {"category": None}}})
    return _checked_state(after, given)


def _categorized(rule: dict[str, Any]) -> dict[str, Any]:
    """Where a template has tactics alone, as v1.0 has them, the first of them is its category."""
    if template_of(rule).get("category") or (first := _first_tactic(rule)) is None:
        return rule
    return merged(rule, {"detectionAction": {"alertTemplate": {"category": first}}})


def _first_tactic(rule: Mapping[str, Any]) -> str | None:
    """In the spelling that is kept."""
    return next((category(str(each.get("tactic"))) for each in template_of(rule).get("tactics") or []), None)


def _checked_state(rule: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """isEnabled and status say the same, each in its way; what is given of them decides."""
    state, enabled = given.get("status"), given.get("isEnabled")
    if state == "autoDisabled":
        raise BadRequest("status: the server alone disables by itself; expected enabled or disabled.")
    if state is not None and enabled is not None and (state == "enabled") != enabled:
        raise BadRequest("isEnabled and status contradict each other.")
    if state is not None:
        rule["isEnabled"] = state == "enabled"
    if rule.get("isEnabled") is None:
        raise BadRequest("isEnabled: expected true or false.")
    kept = rule.get("status") == "autoDisabled" and not rule["isEnabled"] and state is None
    rule["status"] = "autoDisabled" if kept else "enabled" if rule["isEnabled"] else "disabled"
    return checked(_categorized(rule))


def _differs(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    return any(before.get(name) != after.get(name) for name in rules.patch)


def _stamped(ctx: Context, rule: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """With who and when. A rule that is new, enabled anew, or asks something else runs at once, with a clean record."""
    now = instant(ctx.clock())
    caller = ctx.caller
    asked = query_of(rule) != query_of(before)
    period = rule["schedule"]["period"]
    fresh = asked or not before.get("isEnabled") or (before.get("schedule") or {}).get("period") != period
    runs = runs_of(rule)
    if fresh:
        runs = Runs(number=runs.number, until=runs.until)
    condition = {**rule["queryCondition"]}
    condition["lastModifiedDateTime"] = now if asked else (before["queryCondition"].get("lastModifiedDateTime"))
    due = now if fresh else (before.get("schedule") or {}).get("nextRunDateTime")
    by = By(caller.app, caller.app_name, caller.user, caller.upn, caller.name)
    return {
        **rule,
        "lastModifiedBy": caller.actor,
        "lastModifiedDateTime": now,
        "queryCondition": condition,
        "schedule": {**rule["schedule"], "nextRunDateTime": due if rule["isEnabled"] else None},
        BY: msgspec.to_builtins(by),
        RUNS: msgspec.to_builtins(runs),
    }


async def _check_query(ctx: Context, rule: Mapping[str, Any]) -> None:
    """Where hunting runs here: the query, and that the columns are there that the rule names."""
    check = ctx.parts.get(QueryCheck)
    if isinstance(check, QueryCheck):
        check_columns(rule, await check.columns(ctx.caller.tenant, query_of(rule)))
