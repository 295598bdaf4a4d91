"""Actions against a threat. Containment never lies: what nobody performs goes to Failed at once and says so.

Source: Microsoft Graph beta, resource securityAction.
"""

from typing import Any

from bartizan.api.wire.note import note
from bartizan.errors import BadRequest
from bartizan.extend import Answer, Can, Context, resource
from bartizan.model.times import instant
from bartizan.store.draft import draft, inner
from bartizan.store.interface import Tx

_ENDED = ("Completed", "Failed")
_NOBODY = 501  # resultInfo.code: the status that the same request has over HTTP

actions = resource(
    "security/securityActions",
    "microsoft.graph.securityAction",
    can=Can.READ | Can.CREATE,
    read="SecurityActions.Read.All",
    write="SecurityActions.ReadWrite.All",
    create="SecurityActions.ReadWrite.All",
    columns="status name appId user vendorInformation/provider vendorInformation/vendor lastActionDateTime",
    order="createdDateTime desc",
    required="parameters",
    versions=("beta",),
    throttle="securityAction",
)


@actions.prepare
def new_action(ctx: Context, given: dict[str, Any]) -> dict[str, Any]:
    """The server stamps who, when and how it stands; no connector performs actions yet, so it has failed."""
    parameters = given.get("parameters") or []
    if not parameters or not all(isinstance(each, dict) and each.get("name") for each in parameters):
        raise BadRequest("parameters: expected at least one {name, value}")
    at = instant(ctx.clock())
    name = given.get("name") or "The action"
    return {
        **given,
        "appId": ctx.caller.app,
        "azureTenantId": ctx.caller.tenant,
        "user": ctx.caller.upn,
        "createdDateTime": at,
        "lastActionDateTime": at,
        "completedDateTime": at,
        "status": "Failed",
        "errorInfo": {"code": _NOBODY, "message": f"{name} is not performed: no connector offers it.", "subcode": 0},
        "states": [
            {"appId": ctx.caller.app, "status": status, "updatedDateTime": at, "user": ctx.caller.upn}
            for status in ("NotStarted", "Failed")
        ],
    }


@actions.action("cancelSecurityAction", parameters={})
async def cancel(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
    """200 without a body. What has ended stays as it ended."""
    assert id is not None

    def work(tx: Tx) -> None:
        row = tx.get(actions.collection.name, id)
        known = inner(row) if row is not None else {}
        if not known or known.get("status") in _ENDED:
            return
        at = instant(ctx.clock())
        state = {"appId": ctx.caller.app, "status": "Failed", "updatedDateTime": at, "user": ctx.caller.upn}
        error = {"code": 0, "message": "cancelled", "subcode": 0}
        after = {
            **known,
            "status": "Failed",
            "errorInfo": error,
            "lastActionDateTime": at,
            "completedDateTime": at,
            "states": [*(known.get("states") or []), state],
        }
        tx.put(draft(actions.collection, after, id), changed={"status": (known.get("status"), "Failed")})
        note(ctx, tx, actions, [id], activity="Cancel securityAction")

    await ctx.store.write(work, actor=ctx.caller.actor)
    return Answer(200, b"")
