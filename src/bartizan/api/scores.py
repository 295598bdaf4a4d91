"""Secure scores: one document a tenant, day and provider; the controls that they are made of, and who is affected.

Source: Microsoft Graph, resources secureScore and secureScoreControlProfile.
"""

from typing import Any

from bartizan.errors import BadRequest, NotFound
from bartizan.extend import Answer, Can, Context, resource
from bartizan.identity.posture import EVIDENCE
from bartizan.model.times import instant
from bartizan.store.draft import inner

_READ = "SecurityEvents.Read.All"
_WRITE = "SecurityEvents.ReadWrite.All"
_STATES = ("Default", "Ignored", "ThirdParty", "Reviewed")
_FLAT = ("assignedTo", "comment", "state", "tenantNote")  # the body of 2018

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

profiles.navigation("evidence", EVIDENCE, column="controlName", versions=("beta",))


@scores.prepare
def stamp_score(ctx: Context, inner: dict[str, Any]) -> dict[str, Any]:
    """One a day and provider: the id says so where the sender gives none, so that sending it again changes nothing."""
    day = str(inner["createdDateTime"])[:10]
    provider = (inner.get("vendorInformation") or {}).get("provider")
    named = "_".join(part for part in (ctx.caller.tenant, day, provider) if part)
    return {**inner, "id": inner.get("id") or named, "azureTenantId": ctx.caller.tenant}


@profiles.prepare
def stamp_profile(ctx: Context, inner: dict[str, Any]) -> dict[str, Any]:
    return {"lastModifiedDateTime": instant(ctx.clock()), **inner, "azureTenantId": ctx.caller.tenant}


@profiles.merge
def update_state(ctx: Context, before: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """A change of state becomes an entry of controlStateUpdates, in today's form and in the flat one of 2018 alike."""
    if not (given.get("vendorInformation") or {}).get("vendor"):
        raise BadRequest("PATCH of a control profile needs vendorInformation with vendor and provider")
    updates = list(before.get("controlStateUpdates") or [])
    flat = {name: given[name] for name in _FLAT if name in given}
    fresh = list(given.get("controlStateUpdates") or [])
    if flat:
        comment = flat.get("comment") or flat.get("tenantNote")
        fresh.append({"assignedTo": flat.get("assignedTo"), "comment": comment, "state": flat.get("state")})
    at = instant(ctx.clock())
    for entry in fresh:
        state = entry.get("state")
        if state is not None and state not in _STATES:
            raise BadRequest(f"state {state!r} of a control is none of {', '.join(_STATES)}")
        if entry in updates or (updates and _said(entry) == _said(updates[-1])):
            continue  # a client that sends the whole list back, or the same again, adds nothing
        updates.append({**entry, "updatedBy": entry.get("updatedBy") or ctx.caller.actor, "updatedDateTime": at})
    after = {**before, **flat, "controlStateUpdates": updates}
    same = all(before.get(name) == after[name] for name in flat) and len(updates) == len(
        before.get("controlStateUpdates") or []
    )
    return before if same else {**after, "lastModifiedDateTime": at}


def _said(entry: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(entry.get(name) for name in ("assignedTo", "comment", "state"))


@scores.action(
    "projection",
    parameters={"controlNames": "Collection(Edm.String)"},
    returns="microsoft.graph.secureScoreProjection",
    function=True,
    versions=("beta",),
)
async def project(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
    """The score as it would be with these controls met, or with all of it; 400 where the score has no such control, or
    one whose maxScore nobody told."""
    row = await ctx.store.get(scores.collection.name, id or "")
    if row is None:
        raise NotFound(f"There is no secure score '{(id or '')[:100]}'.")
    score = inner(row)
    known = {str(each["controlName"]): each for each in score.get("controlScores") or () if each.get("controlName")}
    chosen = list(dict.fromkeys(known if given["controlNames"] is None else given["controlNames"]))
    unknown = [name for name in chosen if name not in known]
    if unknown:
        raise BadRequest(f"this score has no control {unknown[0][:100]!r}; it has: {', '.join(sorted(known))}")
    gains = [await _gain(ctx, known[name]) for name in chosen]
    told = score.get("currentScore")  # a provider may leave it to the controls
    now = float(told if told is not None else sum(float(each.get("score") or 0.0) for each in known.values()))
    reached = round(now + sum(each["gain"] for each in gains), 2)
    most = score.get("maxScore")
    return Answer(200, {"currentScore": now, "projectedScore": reached, "maxScore": most, "gains": gains})


async def _gain(ctx: Context, control: dict[str, Any]) -> dict[str, Any]:
    name, now, most = str(control["controlName"]), float(control.get("score") or 0.0), control.get("maxScore")
    if most is None:
        row = await ctx.store.get(profiles.collection.name, name)
        most = None if row is None else inner(row).get("maxScore")
    if most is None:
        raise BadRequest(f"nobody told the maxScore of control {name[:100]!r}: bring in its profile")
    return {"controlName": name, "score": now, "maxScore": most, "gain": round(max(0.0, float(most) - now), 2)}
