"""From a request to orders: which connections are meant, whether they can, and whether somebody has to approve first.

`Dispatch` has the hooks that the resource securityActions and the actions on users are declared with. Everything is
checked before anything is stored; nothing outside is asked here (`carry` does that).

Source: Microsoft Graph beta, resource securityAction; the header Idempotency-Key of
draft-ietf-httpapi-idempotency-key-header.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

from msgspec import Struct
from msgspec.structs import replace

from bartizan.auth.caller import Caller
from bartizan.errors import BadRequest, Conflict, Forbidden, NotServed, Timeout, Unperformed
from bartizan.extend import Context
from bartizan.extend.actions import NAMED, OWNED, standard_name, usable
from bartizan.extend.connections import Connection, Connections
from bartizan.extend.connectors import Target
from bartizan.extend.ownership import brought_over
from bartizan.model.ids import stable_id
from bartizan.model.times import instant
from bartizan.odata.tree import Compare, Literal, Path
from bartizan.respond import orders
from bartizan.respond.asked import (
    Choice,
    To,
    check_standard,
    choice_of,
    fingerprint,
    listed,
    meant,
    nobody,
    offering,
    orders_to,
    pairs,
    read_request,
    targets_of,
    typed,
    undo_by,
)
from bartizan.respond.note import note
from bartizan.respond.orders import ENDED, SECURITY_ACTIONS, Kept, Own
from bartizan.store.draft import draft, inner
from bartizan.store.interface import Draft, Query, Stored, Tx

REPEAT = timedelta(minutes=10)  # in which the same request means the same action, until that has ended
MAX_REQUEST_ORDERS = 500  # of one POST: they are written in one transaction
MAX_KEY_CHARS = 256
_SETS: Mapping[Target, tuple[str, str, str]] = {  # set of the directory, its unique property, its folded name
    "user": ("users", "userPrincipalName", "mail"),
    "device": ("devices", "deviceId", "displayName"),
}
_GIVEN = ("actionReason", "clientContext", "name", "parameters", "vendorInformation")
_note = partial(note, kind="securityAction", category="Security")


class Rules(Struct, frozen=True):
    """What an operator has set."""

    limit_s: float = 14_400.0  # within which an order has to end
    approval_s: float = 86_400.0  # within which somebody has to approve
    wait_s: float = 20.0  # for which a request on a user waits for what comes of it
    approve: frozenset[str] = frozenset()  # names of actions; `*` all; `tenant/name` in one tenant

    @classmethod
    def of(cls, approve: Iterable[str], *, limit_s: float, approval_s: float, wait_s: float) -> "Rules":
        """`approve` as operators write it: names in any of their spellings."""
        parts = (each.rpartition("/") for each in approve)
        names = frozenset(f"{tenant}{slash}{standard_name(name)}" for tenant, slash, name in parts)
        return cls(limit_s, approval_s, wait_s, names)

    def held(self, tenant: str, name: str) -> bool:
        """Whether a second person has to approve."""
        wanted = {"*", name.lower(), f"{tenant}/*", f"{tenant}/{name.lower()}"}
        return not wanted.isdisjoint(each.lower() for each in self.approve)


class Plan(Struct, frozen=True):
    """A request that has been checked: its action as it begins, and its orders."""

    id: str
    action: dict[str, Any]
    own: Own
    orders: list[Kept]
    keyed: bool  # the client has named it by an Idempotency-Key


class Dispatch:
    """Lent to the API; `connections` are those of all tenants."""

    def __init__(self, connections: Connections, rules: Rules | None = None) -> None:
        self.connections = connections
        self._rules = rules or Rules()

    # ------------------------------------------------------------ POST

    async def create(self, ctx: Context, given: list[dict[str, Any]]) -> list[Stored]:
        """BadRequest where parameters or targets cannot be used, or several systems might be meant; an action that
        nobody performs is stored as Failed. The same request again gives the same action."""
        key = _key(ctx)
        known = None if key is None else await self._known(ctx, given, key)
        if known is not None:
            return known
        choices = await self._choices(ctx)
        plans = []
        for at, each in enumerate(given):
            try:
                plans.append(await self._plan(ctx, each, choices, None if key is None else f"{key}/{at}"))
            except BadRequest as problem:
                where = f"[{at}]: " if len(given) > 1 else ""
                raise BadRequest(f"{where}{problem.message}", code=problem.code) from None
        return await self._stored(ctx, plans)

    async def _known(self, ctx: Context, given: Sequence[Mapping[str, Any]], key: str) -> list[Stored] | None:
        """What the same request has made before; it is told as it stands, whatever would become of the request now."""
        rows = []
        for at, each in enumerate(given):
            read_request(each)
            id, request = _named(ctx, each, f"{key}/{at}")
            row = await ctx.store.get(SECURITY_ACTIONS.name, id)
            if row is None:
                return None
            rows.append(_same(row, request))
        return rows

    async def _stored(self, ctx: Context, plans: Sequence[Plan]) -> list[Stored]:
        total = sum(len(plan.orders) for plan in plans)
        if total > MAX_REQUEST_ORDERS:
            raise BadRequest(f"one request makes at most {MAX_REQUEST_ORDERS} orders; this would make {total}.")
        ready = [_ready(plan) for plan in plans]

        def work(tx: Tx) -> list[Stored]:
            return [self._place(ctx, tx, plan, drafts) for plan, drafts in zip(plans, ready, strict=True)]

        return await ctx.store.write(work, actor=ctx.caller.actor)

    def _place(self, ctx: Context, tx: Tx, plan: Plan, drafts: Sequence[Draft], activity: str | None = None) -> Stored:
        at, mine = str(plan.action["createdDateTime"]), plan.own
        known = tx.get(SECURITY_ACTIONS.name, plan.id if plan.keyed else orders.remembered(tx, mine.request, at) or "")
        if known is not None:
            return _same(known, mine.request)
        (stored, *_) = [tx.put(each) for each in drafts]
        assert stored is not None
        if plan.orders and not plan.keyed:
            orders.remember(tx, mine.request, plan.id, instant(ctx.clock() + REPEAT))
        _note(ctx, tx, [plan.id], operation="Add", activity=activity, reason=plan.action.get("actionReason"))
        return stored

    async def _choices(self, ctx: Context) -> list[Connection]:
        return [each for each in await self.connections.every(ctx.caller.tenant) if each.enabled and each.act]

    async def _plan(
        self, ctx: Context, given: Mapping[str, Any], connections: Sequence[Connection], key: str | None
    ) -> Plan:
        name, parameters = read_request(given)
        vendor = given.get("vendorInformation") or {}
        able = meant([choice for each in connections if (choice := choice_of(each, name))], vendor)
        if not able:
            check_standard(name, parameters)
            return self._begun(ctx, given, key, [], 501, nobody(name, vendor, connections))
        fitting = [each for each in able if targets_of(each.offer.target, parameters)[0]]
        if not fitting:
            names = dict.fromkeys(one for each in able for one in NAMED[each.offer.target])
            raise BadRequest(f"parameters: {name} needs its target, as one of: {', '.join(names)}.")
        owners = await self._owners(ctx, name, fitting, parameters)
        return self._begun(ctx, given, key, orders_to(fitting, parameters, owners), 0, "")

    async def _owners(
        self, ctx: Context, name: str, fitting: Sequence[Choice], parameters: Sequence[tuple[str, str]]
    ) -> dict[str, str] | None:
        """Target -> connection, where each target is of one system: of several that could be meant, it has to be known
        which one brought it, or said. None where every connection is meant."""
        kinds = {each.offer.target for each in fitting}
        if len(kinds) > 1:
            raise BadRequest(
                f"parameters: {name} is done to something else over each connection; say which by "
                f"vendorInformation.provider: {listed(fitting)}."
            )
        (kind,) = kinds
        if kind not in OWNED or len(fitting) == 1:
            return None
        able, found = frozenset(each.connection.id for each in fitting), {}
        for parameter, value in targets_of(kind, parameters)[0]:
            target = usable(kind, parameter, value)
            owners = await _brought(ctx, kind, target) & able
            if len(owners) != 1:
                raise BadRequest(
                    f"{name} of '{target[:100]}' could be meant for several connections, and a {kind} belongs to one: "
                    f"name it in vendorInformation.provider: {listed(fitting)}."
                )
            (found[target],) = owners
        return found

    def _begun(
        self, ctx: Context, given: Mapping[str, Any], key: str | None, to: list[To], code: int, why: str
    ) -> Plan:
        """The action as it begins: the server stamps who, when and how it stands."""
        at, caller = instant(ctx.clock()), ctx.caller
        name = standard_name(str(given.get("name") or ""))
        asked = {each: given[each] for each in _GIVEN if given.get(each) is not None}
        id, request = _named(ctx, asked, key)
        held = bool(to) and self._rules.held(caller.tenant, name)
        action = {
            **asked,
            "appId": caller.app,
            "azureTenantId": caller.tenant,
            "user": caller.upn,
            "createdDateTime": at,
            "lastActionDateTime": at,
            "status": "NotStarted",
            "approvalState": "required" if held else None,
            "undoAction": undo_by(to),
            "states": [orders.state("NotStarted", at, caller.app, caller.upn)],
        }
        if not to:
            action = orders.failed(action, at, code, why)
        until = instant(ctx.clock() + timedelta(seconds=self._rules.approval_s if held else self._rules.limit_s))
        made = [_kept(caller, each, id, given.get("actionReason"), at, until, held=held) for each in to]
        mine = Own(name=name, app=caller.app, user=caller.user, request=request)
        return Plan(id, action, mine, made, key is not None)

    # ------------------------------------------------------------ what happens to one that is there

    async def cancel(self, ctx: Context, id: str) -> None:
        """What has not begun ends; what runs is cancelled in its system if that can; what has ended stays."""

        def work(tx: Tx) -> None:
            action, its = _found(tx, id)
            if action["status"] in ENDED:
                return
            at = instant(ctx.clock())
            changed = [_cancelled(each, at, ctx.caller.upn or ctx.caller.app) for each in its if each.open]
            after = orders.show(tx, id, changed, at)
            _note(ctx, tx, [id], activity="Cancel securityAction", changed=_statuses(action, after))

        await ctx.store.write(work, actor=ctx.caller.actor)

    async def approve(self, ctx: Context, id: str) -> None:
        """Lets an action begin that waits for it. Forbidden for who asked for it, Conflict where none waits."""
        until = instant(ctx.clock() + timedelta(seconds=self._rules.limit_s))

        def work(tx: Tx) -> None:
            action, its = _awaiting(ctx, tx, id)
            at = instant(ctx.clock())
            begun = [replace(each, state="waiting", due=at, until=until, detail="") for each in its]
            self._decided(ctx, tx, action, begun, at, "approved", None)

        await ctx.store.write(work, actor=ctx.caller.actor)

    async def reject(self, ctx: Context, id: str, reason: str | None) -> None:
        """Ends an action that waits for approval."""

        def work(tx: Tx) -> None:
            action, its = _awaiting(ctx, tx, id)
            at = instant(ctx.clock())
            who = ctx.caller.upn or ctx.caller.app
            said = f"rejected by {who}" + (f": {reason}" if reason else "")
            over = [replace(each, state="failed", open=False, due=at, detail=said, code=403) for each in its]
            self._decided(ctx, tx, action, over, at, "rejected", reason)

        await ctx.store.write(work, actor=ctx.caller.actor)

    def _decided(
        self,
        ctx: Context,
        tx: Tx,
        action: Mapping[str, Any],
        its: Sequence[Kept],
        at: str,
        word: str,
        reason: str | None,
    ) -> None:
        who = ctx.caller
        history = orders.state(
            str(action["status"]), at, who.app, who.upn, message=word + (f": {reason}" if reason else "")
        )
        more = {"approvalState": word, "states": [*(action.get("states") or []), history]}
        orders.show(tx, str(action["id"]), its, at, more)
        _note(
            ctx,
            tx,
            [str(action["id"])],
            activity="Approve securityAction" if word == "approved" else "Reject securityAction",
            changed={"approvalState": (action.get("approvalState"), word)},
            reason=reason,
        )

    async def undo(self, ctx: Context, id: str, reason: str | None) -> Stored:
        """The action that takes this one back, where it has completed: a new one, or the one that does so already."""
        row = await ctx.store.get(SECURITY_ACTIONS.name, id)
        action = {} if row is None else inner(row)
        if action.get("status") not in ENDED:
            raise Conflict("the action has not ended: cancel it first (cancelSecurityAction).")
        done = [each for each in action.get("states") or [] if each.get("target") and each["status"] == "Completed"]
        if not done:
            raise Conflict("nothing of the action has completed, so there is nothing to take back.")
        name = action.get("undoAction")
        if name is None:
            raise Conflict(f"{action.get('name')} cannot be taken back over its connections: no undo is offered.")
        mine = orders.own(action)
        if mine.undone is not None:
            earlier = await ctx.store.get(SECURITY_ACTIONS.name, mine.undone)
            if earlier is not None and inner(earlier).get("status") != "Failed":
                return earlier
        to = await self._undoing(ctx, action, done, str(name))
        asked = {
            "name": name,
            "actionReason": reason or f"Takes back {id}",
            "parameters": action.get("parameters"),
            "vendorInformation": action.get("vendorInformation"),
        }
        plan = self._begun(ctx, asked, f"undo/{id}/{mine.undone or ''}", to, 0, "")
        plan.action["undoesActionId"] = id
        ready = _ready(plan)

        def work(tx: Tx) -> Stored:
            before, _ = _found(tx, id)
            if orders.own(before).undone != mine.undone:
                raise Conflict("somebody else is taking the action back: read it again.")
            stored = self._place(ctx, tx, plan, ready, f"Undo {action.get('name')}")
            after = orders.with_own(before, replace(mine, undone=plan.id))
            tx.put(draft(SECURITY_ACTIONS, after, id), changed={})
            return stored

        return await ctx.store.write(work, actor=ctx.caller.actor)

    async def _undoing(
        self, ctx: Context, action: Mapping[str, Any], done: Sequence[Mapping[str, Any]], name: str
    ) -> list[To]:
        able = {each.id: choice for each in await self._choices(ctx) if (choice := choice_of(each, name))}
        gone = sorted({str(each["connectionId"]) for each in done} - able.keys())
        if gone:
            raise Conflict(
                f"{name} cannot be carried out over {', '.join(gone)}: not there, not enabled, or may not act."
            )
        kind = able[str(done[0]["connectionId"])].offer.target
        rest = targets_of(kind, pairs(action.get("parameters") or []))[1]
        to = []
        for each in done:
            choice = able[str(each["connectionId"])]
            known = {one.lower() for one in choice.offer.parameters}
            given = [(one, value) for one, value in rest if one.lower() in known]
            to.append(To(choice, str(each["target"]), typed(choice, given)))
        return to

    # ------------------------------------------------------------ users

    async def on_user(self, ctx: Context, user: Stored, name: str) -> None:
        """Does it now, or says what happened instead: NotServed where nobody offers it, Unperformed where it has
        failed, Timeout with the action's id where it still runs, Conflict where it awaits approval."""
        what = inner(user)
        upn = str(what.get("userPrincipalName") or user.id)
        connections = await self._choices(ctx)
        able = [choice for each in connections if (choice := choice_of(each, name)) and choice.offer.target == "user"]
        if not able:
            raise NotServed(
                f"Not served: {name}: nothing performs it: this server only records what it is told. {offering(name)}"
            )
        if len(able) > 1:
            owners = await brought_over(ctx.store, "users", user.id)
            able = [each for each in able if each.connection.id in owners] or able
        if len(able) > 1:
            raise Conflict(
                f"{name} of '{upn}' could be meant for several connections: {listed(able)}; "
                "POST it to /beta/security/securityActions with vendorInformation.provider."
            )
        asked = {
            "name": name,
            "parameters": [{"name": "userPrincipalName", "value": upn}],
            "vendorInformation": {"vendor": able[0].kind.vendor, "provider": able[0].connection.id},
        }
        plan = await self._plan(ctx, asked, connections, _key(ctx))
        (stored,) = await self._stored(ctx, [plan])
        await self._awaited(ctx, name, upn, stored)

    async def _awaited(self, ctx: Context, name: str, upn: str, stored: Stored) -> None:
        ends = time.monotonic() + self._rules.wait_s
        action = inner(stored)
        while action["status"] not in ENDED:
            where = f"see /beta/security/securityActions/{stored.id}"
            if action.get("approvalState") == "required":
                raise Conflict(f"{name} of '{upn}' awaits approval, nothing has been done yet: {where}.")
            left_s = ends - time.monotonic()
            if left_s <= 0:
                raise Timeout(f"{name} of '{upn}' has been ordered and has not ended yet: {where}.")
            with contextlib.suppress(TimeoutError):  # then it is looked at once more
                async with asyncio.timeout(left_s):
                    await ctx.engine.changed()
            row = await ctx.store.get(SECURITY_ACTIONS.name, stored.id)
            action = action if row is None else inner(row)
        if action["status"] == "Failed":
            said = (action.get("errorInfo") or {}).get("message")
            raise Unperformed(f"{name} of '{upn}' has failed: {said}")


def _named(ctx: Context, asked: Mapping[str, Any], key: str | None) -> tuple[str, str]:
    """The id of an action, derived from the client's key where it gives one, and what tells its request from others."""
    caller = ctx.caller
    request = fingerprint(caller.app, caller.user, asked)
    if key is None:
        return str(uuid4()), request
    id = stable_id("securityAction", caller.tenant, caller.app, caller.user or "", key)
    return id, stable_id("key", id, request)


def _same(row: Stored, request: str) -> Stored:
    if orders.own(inner(row)).request != request:
        raise Conflict("the Idempotency-Key has been used for another request.")
    return row


async def _brought(ctx: Context, kind: Target, target: str) -> frozenset[str]:
    """The connections that the directory object came over, which a target names by its id or name."""
    if kind not in _SETS:
        return frozenset()
    collection, key, name = _SETS[kind]
    row = await ctx.store.get(collection, target)
    for value in (target, target.lower()) if row is None else ():
        row = row or await ctx.store.lookup(collection, key, value)
    if row is None:
        named = Compare("eq", Path((name,), kind="text", fold=True), Literal(target.lower(), "text"))
        page = await ctx.store.page(collection, Query(top=2, filter=named))
        row = page.rows[0] if len(page.rows) == 1 else None
    return frozenset() if row is None else await brought_over(ctx.store, collection, row.id)


# ---------------------------------------------------------------- one that is there


def _kept(caller: Caller, to: To, action: str, reason: str | None, at: str, until: str, *, held: bool) -> Kept:
    connection = to.choice.connection.id
    return Kept(
        id=orders.order_id(caller.tenant, action, connection, to.target),
        action=action,
        connection=connection,
        name=to.choice.name,
        kind=to.choice.offer.target,
        target=to.target,
        parameters=to.parameters,
        by=caller.upn or caller.name or caller.app_name or caller.app,
        reason=reason,
        app=caller.app,
        user=caller.upn,
        state="held" if held else "waiting",
        due=until if held else at,
        until=until,
        detail="awaits approval by a second person" if held else "",
    )


def _ready(plan: Plan) -> list[Draft]:
    """The action and its orders, rendered before the store's lock is taken."""
    action = orders.with_own(plan.action, plan.own)
    if plan.orders:
        action = orders.told(action, plan.orders, str(plan.action["createdDateTime"]))
    return [draft(SECURITY_ACTIONS, action, plan.id), *(orders.drafted(each) for each in plan.orders)]


def _key(ctx: Context) -> str | None:
    key = ctx.header("idempotency-key")
    if key is not None and not (0 < len(key) <= MAX_KEY_CHARS and key.isprintable()):
        raise BadRequest(f"Idempotency-Key: expected 1 to {MAX_KEY_CHARS} printable characters.")
    return key


def _found(tx: Tx, id: str) -> tuple[dict[str, Any], list[Kept]]:
    row = tx.get(SECURITY_ACTIONS.name, id)
    if row is None:
        raise Conflict("the action is gone.")
    return inner(row), orders.orders_of(tx, id)


def _cancelled(order: Kept, at: str, who: str) -> Kept:
    said = f"cancelled by {who}"
    if order.state in ("sent", "running"):
        return replace(order, stop=True, due=at, detail=f"{said}; the system is being asked")
    if order.unsure:
        said = f"{said} after an attempt without an answer: it may have been carried out ({order.detail})"
    return replace(order, state="failed", open=False, due=at, detail=said)


def _awaiting(ctx: Context, tx: Tx, id: str) -> tuple[dict[str, Any], list[Kept]]:
    action, its = _found(tx, id)
    held = [each for each in its if each.state == "held"]
    if action.get("approvalState") != "required" or not held:
        raise Conflict("the action awaits no approval.")
    mine, caller = orders.own(action), ctx.caller
    same = caller.user == mine.user if caller.user is not None else caller.app == mine.app
    if same:
        raise Forbidden("A second person has to decide: not the one who has asked for the action.")
    return action, held


def _statuses(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {"status": (before.get("status"), after.get("status"))}
