"""Secure scores: one document a tenant and day, and the controls that they are made of.

Source: Microsoft Graph, resources secureScore and secureScoreControlProfile.
"""

from typing import Any

from bartizan.errors import BadRequest
from bartizan.extend import Can, Context, resource
from bartizan.model.times import instant

_READ = "SecurityEvents.Read.All"
_WRITE = "SecurityEvents.ReadWrite.All"
_STATES = ("Default", "Ignored", "ThirdParty", "Reviewed")

scores = resource(
    "security/secureScores",
    "microsoft.graph.secureScore",
    can=Can.READ | Can.CREATE,
    read=_READ,
    write=_WRITE,
    create="Bartizan.Ingest.All",
    columns="currentScore vendorInformation/provider",
    order="createdDateTime desc",
    required="createdDateTime currentScore maxScore",
    throttle="secureScore",
)

profiles = resource(
    "security/secureScoreControlProfiles",
    "microsoft.graph.secureScoreControlProfile",
    can=Can.READ | Can.CREATE | Can.PATCH,
    read=_READ,
    write=_WRITE,
    create="Bartizan.Ingest.All",
    columns="controlCategory rank title deprecated",
    order="rank",
    patch="vendorInformation controlStateUpdates assignedTo comment state tenantNote",
    patch_status=204,
    required="title",
    throttle="secureScore",
)


@scores.prepare
def stamp_score(ctx: Context, inner: dict[str, Any]) -> dict[str, Any]:
    return {**inner, "azureTenantId": ctx.caller.tenant}


@profiles.prepare
def stamp_profile(ctx: Context, inner: dict[str, Any]) -> dict[str, Any]:
    return {"lastModifiedDateTime": instant(ctx.clock()), **inner, "azureTenantId": ctx.caller.tenant}


@profiles.merge
def update_state(ctx: Context, before: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """A change of state becomes an entry of controlStateUpdates, in today's form and in the flat one of 2018 alike."""
    if not (given.get("vendorInformation") or {}).get("vendor"):
        raise BadRequest("PATCH of a control profile needs vendorInformation with vendor and provider")
    updates = list(before.get("controlStateUpdates") or [])
    flat: dict[str, Any] = {
        name: given[name] for name in ("assignedTo", "comment", "state", "tenantNote") if name in given
    }
    fresh = list(given.get("controlStateUpdates") or [])
    if flat:
        comment = flat.get("comment") or flat.get("tenantNote")
        fresh.append({"assignedTo": flat.get("assignedTo"), "comment": comment, "state": flat.get("state")})
    at = instant(ctx.clock())
    for entry in fresh:
        if entry in updates:
            continue  # a client that sends the whole list back adds nothing
        state = entry.get("state")
        if state is not None and state not in _STATES:
            raise BadRequest(f"state {state!r} of a control is none of {', '.join(_STATES)}")
        updates.append({**entry, "updatedBy": entry.get("updatedBy") or ctx.caller.actor, "updatedDateTime": at})
    return {**before, **flat, "controlStateUpdates": updates, "lastModifiedDateTime": at}
