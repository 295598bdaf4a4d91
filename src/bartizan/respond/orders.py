"""Orders: one action on one target over one connection, kept until it has ended, and what its securityAction shows.

A securityAction is what Graph shows; each of its orders is a document of its own, whose id is the key that the system
is given. Whatever happens to an order, it and its action change in one transaction. `dispatch` makes orders of
requests, `carry` has them carried out.

Source: Microsoft Graph beta, resource securityAction.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal

import msgspec
from msgspec import Struct

from bartizan.auth import audit
from bartizan.auth.accounts import equals
from bartizan.extend.actions import STANDARD, standard_name
from bartizan.extend.connectors import Target
from bartizan.extend.ownership import may_have_brought
from bartizan.extend.resources import collection
from bartizan.model.ids import stable_id
from bartizan.odata.tree import And, Compare, Expr, Path
from bartizan.odata.tree import Literal as Value
from bartizan.store.draft import draft, inner
from bartizan.store.interface import Collection, Column, Draft, Stored, Tx

SECURITY_ACTIONS = collection(
    "securityActions",
    "microsoft.graph.securityAction",
    columns="status name appId user vendorInformation/provider vendorInformation/vendor lastActionDateTime",
    order="createdDateTime desc",
    versions=("beta",),
)
ORDERS = Collection(
    "actionOrders",
    columns=(Column("action"), Column("connection"), Column("open", "bool"), Column("due", "instant")),
    order=(("due", False),),
    keep=timedelta(days=30),  # what came of them stays in the action
)
COLLECTIONS = (SECURITY_ACTIONS, ORDERS)

MAX_ORDERS = 200  # of one action
_OWN = "@bartizan.action"
_MESSAGE_CHARS = 1_000
ENDED = ("Completed", "Failed")

State = Literal["held", "waiting", "sent", "running", "completed", "failed"]
_STATUS: Mapping[State, str] = {
    "held": "NotStarted",
    "waiting": "NotStarted",
    "sent": "Running",
    "running": "Running",
    "completed": "Completed",
    "failed": "Failed",
}


class Kept(Struct, kw_only=True):
    """An order on its way. `held`: until somebody approves; `sent`: the system is being asked, or was when we died;
    `running`: the system has taken it and is asked about it."""

    id: str  # begins with the connection, a dot behind it
    action: str
    connection: str
    name: str  # as the connector spells it
    kind: Target
    target: str
    parameters: dict[str, Any]
    by: str
    reason: str | None = None
    app: str | None = None  # of who asked, as Graph shows it in states
    user: str | None = None
    state: State = "waiting"
    open: bool = True
    due: str  # wire instant of what comes next
    until: str  # then it has failed
    tries: int = 0  # how often its system was asked to do it
    looks: int = 0  # how often it was asked how it stands
    unsure: bool = False  # an attempt had no answer, so it may have been carried out
    stop: bool = False  # somebody has cancelled it: its system is to be asked
    stopping: bool = False  # its system was asked, and is at it
    handle: str | None = None
    detail: str = ""
    code: int = 0  # of a failed one: the HTTP status that says why

    @property
    def ended(self) -> bool:
        return self.state in ("completed", "failed")


class Own(Struct, kw_only=True):
    """What an action knows beside what Graph shows."""

    name: str  # the standard name, or the connector's own
    app: str  # who asked
    user: str | None
    request: str  # the same for the same request of the same caller
    undone: str | None = None  # id of the action that takes it back


def order_id(tenant: str, action: str, connection: str, target: str) -> str:
    """The key that the system is given; the same however often it is tried."""
    return f"{connection}.{stable_id('order', tenant, action, connection, target)}"


def connection_of(id: str) -> str:
    return id.partition(".")[0]


def read(row: Stored) -> Kept:
    return msgspec.json.decode(row.doc, type=Kept)


def own(action: Mapping[str, Any]) -> Own:
    return msgspec.convert(action[_OWN], Own)


def with_own(action: Mapping[str, Any], mine: Own) -> dict[str, Any]:
    return {**action, _OWN: msgspec.to_builtins(mine)}


def orders_of(tx: Tx, action: str) -> list[Kept]:
    found = tx.find(ORDERS.name, equals(action=action), limit=MAX_ORDERS)
    return sorted((read(row) for row in found), key=lambda each: each.id)


def open_of(connection: str) -> Expr:
    """The orders of a connection that have not ended."""
    return And((equals(connection=connection), EVERY_OPEN))


EVERY_OPEN = Compare("eq", Path(("open",), kind="bool"), Value(True, "bool"))


# ---------------------------------------------------------------- an action as Graph shows it


def state(status: str, at: str, app: str | None, user: str | None, **more: Any) -> dict[str, Any]:
    return {"appId": app, "status": status, "updatedDateTime": at, "user": user, **more}


def failed(action: Mapping[str, Any], at: str, code: int, message: str) -> dict[str, Any]:
    """An action that nobody can perform, ended at once."""
    return {
        **action,
        "status": "Failed",
        "completedDateTime": at,
        "errorInfo": {"code": code, "message": message[:_MESSAGE_CHARS], "subcode": 0},
        "states": [
            *(action.get("states") or []),
            state("Failed", at, action.get("appId"), action.get("user"), message=message[:_MESSAGE_CHARS]),
        ],
    }


def told(action: Mapping[str, Any], orders: Sequence[Kept], at: str) -> dict[str, Any]:
    """The action, once these orders of it stand as they do: its history first, then one state for each target."""
    states = list(action.get("states") or [])
    places = {(each.get("connectionId"), each.get("target")): n for n, each in enumerate(states) if each.get("target")}
    for order in orders:
        entry = state(
            "Running" if order.state == "waiting" and order.tries else _STATUS[order.state],
            at,
            order.app,
            order.user,
            target=order.target,
            connectionId=order.connection,
            message=order.detail[:_MESSAGE_CHARS] or None,
        )
        place = places.setdefault((order.connection, order.target), len(states))
        states[place : place + 1] = [entry]
    before = action.get("status")
    each = [one for one in states if one.get("target")]
    status = _status({one["status"] for one in each})
    history = [one for one in states if not one.get("target")]
    if status != before:
        history.append(state(status, at, action.get("appId"), action.get("user")))
    after = {**action, "status": status, "lastActionDateTime": at, "states": [*history, *each]}
    if status in ENDED:
        after["completedDateTime"] = at
    if any(one["status"] == "Failed" for one in each):
        after["errorInfo"] = _error(each, orders, before=action.get("errorInfo"))
    return after


def _status(found: set[str]) -> str:
    if found <= set(ENDED):
        return "Failed" if "Failed" in found else "Completed"
    return "NotStarted" if found == {"NotStarted"} else "Running"


def _error(each: Sequence[Mapping[str, Any]], orders: Iterable[Kept], before: Any) -> dict[str, Any]:
    """`code` of the first that failed, `subcode` how many failed."""
    lost = [one for one in each if one["status"] == "Failed"]
    known = int((before or {}).get("code") or 0)
    code = known or next((order.code for order in orders if order.state == "failed" and order.code), 0)
    if len(each) == 1:
        text = str(lost[0].get("message") or "failed")
    else:
        said = "; ".join(
            f"{one['target']} over {one['connectionId']}: {one.get('message') or 'failed'}" for one in lost
        )
        text = f"{len(lost)} of {len(each)} failed: {said}"
    text = text if len(text) <= _MESSAGE_CHARS else text[: _MESSAGE_CHARS - 1] + "…"
    return {"code": code, "message": text, "subcode": len(lost)}


# ---------------------------------------------------------------- writing


def drafted(order: Kept) -> Draft:
    return draft(ORDERS, msgspec.to_builtins(order), order.id)


def put(tx: Tx, order: Kept) -> None:
    tx.put(drafted(order))


def show(tx: Tx, id: str, orders: Sequence[Kept], at: str, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Writes orders of one action, and the action. What it was named by for its repeats is free again once it has
    ended."""
    for order in orders:
        put(tx, order)
    row = tx.get(SECURITY_ACTIONS.name, id)
    if row is None:  # erased: its orders end alone
        return {}
    before = inner(row)
    after = told({**before, **(more or {})}, orders, at)
    changed = {
        name: (before.get(name), after.get(name))
        for name in ("status", "states", "errorInfo", "lastActionDateTime", "completedDateTime", *(more or {}))
        if before.get(name) != after.get(name) and not name.startswith("@")
    }
    tx.put(draft(SECURITY_ACTIONS, after, id), changed=changed)
    if after["status"] in ENDED:
        forget(tx, own(after).request, id)
    return after


def remembered(tx: Tx, request: str, at: str) -> str | None:
    """The action that the same request has made shortly before, and that has not ended."""
    value = tx.value(_place(request))
    known = None if value is None else msgspec.json.decode(value, type=tuple[str, str])
    return known[0] if known is not None and known[1] > at else None


def remember(tx: Tx, request: str, id: str, until: str) -> None:
    tx.set_value(_place(request), msgspec.json.encode((id, until)))


def forget(tx: Tx, request: str, id: str) -> None:
    value = tx.value(_place(request))
    if value is not None and msgspec.json.decode(value, type=tuple[str, str])[0] == id:
        tx.set_value(_place(request), None)


def _place(request: str) -> str:
    return f"action/{request}"


def effect(tx: Tx, order: Kept, directory: Mapping[str, Collection]) -> None:
    """What the system has done is true of the user here at once, not only when the directory is read again."""
    standard = STANDARD.get(standard_name(order.name))
    if order.state != "completed" or standard is None or not standard.sets or order.kind != "user":
        return
    users = directory.get("users")
    if users is None:
        return
    row = tx.get(users.name, order.target) or tx.lookup(users.name, "userPrincipalName", order.target.lower())
    if row is None or not may_have_brought(tx, order.connection, users.name, row.id):
        return
    before = inner(row)
    changed = {name: (before.get(name), value) for name, value in standard.sets.items() if before.get(name) != value}
    if changed:
        tx.put(draft(users, {**before, **standard.sets}, row.id), changed=changed)


def record(tx: Tx, order: Kept) -> None:
    """The end of an order in the audit log, beside the request that it came from."""
    audit.record(
        tx,
        actor=audit.Actor(app=f"connection:{order.connection}", app_name=f"Connection {order.connection}"),
        activity=f"Carry out {order.name}",
        category="Security",
        result="success" if order.state == "completed" else "failure",
        reason=order.detail or None,
        targets=[
            audit.Target("securityAction", order.action),
            audit.Target(order.kind, order.target, name=order.target),
        ],
        details={"connection": order.connection, "orderedBy": order.by, "attempts": str(order.tries)},
    )
