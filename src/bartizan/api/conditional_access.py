"""Conditional access: policies and named locations, what they would say (what-if), and what they say of a sign-in
under way, which is this server's own.

Source: Microsoft Graph, resources conditionalAccessPolicy, namedLocation, conditionalAccessRoot: evaluate.
"""

from typing import Any

from bartizan.auth.caller import Access
from bartizan.errors import BadRequest
from bartizan.extend import BOTH, Answer, Can, Context, not_yet, resource, scopes, unserved
from bartizan.identity.access.checks import check_policy
from bartizan.identity.access.facts import what_if_facts
from bartizan.identity.access.risk import asked_sign_in
from bartizan.identity.access.tenant import ConditionalAccess, Decided
from bartizan.identity.access.verdict import Outcome, evaluate
from bartizan.intel.locations import range_of
from bartizan.model.accept import merged
from bartizan.model.times import instant
from bartizan.store.draft import inner

_READ = "Policy.Read.All Policy.Read.ConditionalAccess"
_WRITE_SCOPES = ("Policy.ReadWrite.ConditionalAccess",)
_WRITE = Access(_WRITE_SCOPES, _WRITE_SCOPES, "SecurityAdministrator")
_COUNTRY_LETTERS = 2

policies = resource(
    "identity/conditionalAccess/policies",
    "microsoft.graph.conditionalAccessPolicy",
    can=Can.READ | Can.CREATE | Can.PATCH | Can.DELETE,
    read=_READ,
    write=_WRITE,
    columns="displayName state modifiedDateTime",
    order="createdDateTime",
    patch="displayName description state conditions grantControls sessionControls",
    patch_status=204,
    required="displayName state conditions",
    aliases={"policies/conditionalAccessPolicies": BOTH, "conditionalAccess/policies": ("beta",)},
    throttle="identityProtection",
)

locations = resource(
    "identity/conditionalAccess/namedLocations",
    "microsoft.graph.namedLocation",
    can=Can.READ | Can.CREATE | Can.PATCH | Can.PUT | Can.DELETE,
    read=_READ,
    write=_WRITE,
    columns="displayName modifiedDateTime",
    order="createdDateTime",
    patch="displayName isTrusted ipRanges countriesAndRegions includeUnknownCountriesAndRegions countryLookupMethod",
    patch_status=204,
    required="displayName",
    aliases={"conditionalAccess/namedLocations": ("beta",)},  # as it was called before it moved to identity
    throttle="identityProtection",
)


def _check_location(inner: dict[str, Any]) -> None:
    kind = inner.get("@odata.type", "")
    if kind.endswith(".ipNamedLocation"):
        ranges = inner.get("ipRanges") or []
        if not ranges:
            raise BadRequest("an ipNamedLocation needs at least one of ipRanges")
        for number, each in enumerate(ranges):
            try:
                range_of(each)
            except ValueError as error:
                raise BadRequest(f"ipRanges[{number}]: {error}") from None
    elif kind.endswith(".countryNamedLocation"):
        countries = inner.get("countriesAndRegions") or []
        wrong = [c for c in countries if not (isinstance(c, str) and len(c) == _COUNTRY_LETTERS and c.isalpha())]
        if wrong or not countries:
            raise BadRequest(f"countriesAndRegions takes two-letter codes of ISO 3166; got {wrong or 'none'}")
    elif not kind.endswith(".compliantNetworkNamedLocation"):
        raise BadRequest("say @odata.type: #microsoft.graph.ipNamedLocation or #microsoft.graph.countryNamedLocation")


@policies.prepare
def new_policy(ctx: Context, inner: dict[str, Any]) -> dict[str, Any]:
    check_policy(inner)
    at = instant(ctx.clock())
    return {**inner, "createdDateTime": at, "modifiedDateTime": None}


@policies.merge
def change_policy(ctx: Context, before: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Complex values merge, as OData has it: PATCH of conditions/signInRiskLevels leaves conditions/users alone."""
    after = merged(before, given)
    if after == before:
        return before
    check_policy(after)
    return {**after, "modifiedDateTime": instant(ctx.clock())}


@locations.prepare
def new_location(ctx: Context, inner: dict[str, Any]) -> dict[str, Any]:
    _check_location(inner)
    at = instant(ctx.clock())
    return {**_unset(inner), **_said(inner), "createdDateTime": at, "modifiedDateTime": at}


def _unset(inner: dict[str, Any]) -> dict[str, Any]:
    """What Graph puts where a client says nothing."""
    if inner["@odata.type"].endswith(".countryNamedLocation"):
        return {"includeUnknownCountriesAndRegions": False, "countryLookupMethod": "clientIpAddress"}
    return {"isTrusted": False}


def _said(inner: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in inner.items() if value is not None}


@locations.merge
def change_location(ctx: Context, before: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    kind = given.get("@odata.type")
    if kind is not None and kind != before.get("@odata.type"):
        raise BadRequest("the kind of a named location cannot change; create another")
    after = {**before, **given}
    _check_location(after)
    after = {**_unset(after), **_said(after)}
    if after == before:
        return before
    return {**after, "modifiedDateTime": instant(ctx.clock())}


# ---------------------------------------------------------------- evaluation

_OWN = "microsoft.graph.security"
_MAY_EVALUATE = scopes("Policy.Read.ConditionalAccess Policy.Read.All Policy.ReadWrite.ConditionalAccess")
_MAY_DECIDE = scopes("Bartizan.ConditionalAccess.Decide", role="SecurityOperator")

root = resource(
    "identity/conditionalAccess",
    "microsoft.graph.conditionalAccessRoot",
    can=Can(0),
    read=_MAY_EVALUATE,
    singleton=True,
    throttle="any",  # an identity provider asks at each sign-in
)


@root.action(
    "evaluate",
    parameters={
        "signInIdentity": "microsoft.graph.signInIdentity!",
        "signInContext": "microsoft.graph.signInContext!",
        "signInConditions": "microsoft.graph.signInConditions",
        "appliedPoliciesOnly": "Edm.Boolean",
    },
    returns="Collection(microsoft.graph.whatIfAnalysisResult)",
    access=_MAY_EVALUATE,
)
async def what_if(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
    """Each policy with whether it would apply to such a sign-in. The risk is the one that is asked about; where none of
    the sign-in is said, the engine's of such a sign-in from the address now."""
    identity, context = given["signInIdentity"], given["signInContext"]
    name = next((each for each in ("userId", "servicePrincipalId") if identity.get(each)), None)
    if name is None:
        raise BadRequest("signInIdentity: say @odata.type (userSignIn or servicePrincipalSignIn) and the id.")
    if not any(value for key, value in context.items() if key != "@odata.type"):
        raise BadRequest(
            "signInContext: say @odata.type (applicationContext, userActionContext or authContext) and its property."
        )
    access = ctx.part(ConditionalAccess)
    known = await access.of(ctx.engine, ctx.caller.tenant)
    who = await access.principal(ctx.store, known, identity)
    conditions = given["signInConditions"] or {}
    if conditions.get("signInRiskLevel") is None and conditions.get("ipAddress"):
        said = await access.risk.of_sign_in(ctx.engine, ctx.caller.tenant, asked_sign_in(identity, conditions))
        conditions = {**conditions, "signInRiskLevel": said.level}
    facts = what_if_facts(identity, context, conditions, who)
    outcomes = evaluate(known.policies.values(), facts)
    shown = [each for each in outcomes if each.applies or not given["appliedPoliciesOnly"]]
    return Answer(200, [await _analysed(ctx, each) for each in shown])


async def _analysed(ctx: Context, outcome: Outcome) -> dict[str, Any]:
    row = await ctx.store.get(policies.collection.name, outcome.policy.id)
    reasons = dict.fromkeys(each.reason for each in outcome.missed)
    if any(each.unknown for each in outcome.missed):
        reasons = {"notEnoughInformation": None, **reasons}
    if outcome.applies and outcome.policy.unreadable:
        reasons["invalidCondition"] = None
    return {
        **({} if row is None else inner(row)),
        "@odata.type": "#microsoft.graph.whatIfAnalysisResult",
        "id": outcome.policy.id,
        "policyApplies": outcome.applies,
        "analysisReasons": ",".join(reasons) or "notSet",
    }


@root.action(
    "decide",
    parameters={
        "signIn": "microsoft.graph.signIn!",
        "satisfiedControls": "Collection(Edm.String)",
        "userAction": "microsoft.graph.userAction",
        "insiderRiskLevel": "microsoft.graph.insiderRiskLevel",
        "appliedPoliciesOnly": "Edm.Boolean",
    },
    returns=f"{_OWN}.accessDecision",
    access=_MAY_DECIDE,
    versions=("beta",),
)
async def decide(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
    """Whether a sign-in under way may go on, and what it takes. Whatever fails is an error: it never reads as allow."""
    sign_in = given["signIn"]
    if not any(sign_in.get(name) for name in ("userId", "userPrincipalName", "servicePrincipalId")):
        raise BadRequest("signIn: say who signs in: userId, userPrincipalName or servicePrincipalId.")
    found = await ctx.part(ConditionalAccess).decide(
        ctx.engine,
        ctx.caller.tenant,
        sign_in,
        satisfied=given["satisfiedControls"],
        action=given["userAction"],
        insider=given["insiderRiskLevel"],
    )
    return Answer(200, _decision(found, instant(ctx.clock()), applied_only=bool(given["appliedPoliciesOnly"])))


def _decision(found: Decided, at: str, *, applied_only: bool) -> dict[str, Any]:
    said, who = found.verdict, found.who
    return {
        "decision": said.decision,
        "grantControls": [
            {"operator": each.operator, "controls": list(each.controls), "policyIds": list(each.policies)}
            for each in said.demands
        ],
        "sessionControls": dict(said.session) or None,
        "policies": [_shown(each) for each in said.outcomes if each.applies or not applied_only],
        "isComplete": said.complete,
        "isPrincipalKnown": who.known,
        "principalId": who.id or None,
        "signInRiskLevel": found.risk.sign_in_level,
        "userRiskLevel": found.risk.user_level,
        "riskReasons": list(found.risk.reasons),
        "evaluatedDateTime": at,
    }


def _shown(outcome: Outcome) -> dict[str, Any]:
    policy = outcome.policy
    told = [f"{each.reason}: {each.says}" for each in outcome.missed]
    return {
        "id": policy.id,
        "displayName": policy.name,
        "result": outcome.result,
        "reasons": told or [f"not evaluated: {each}" for each in policy.unreadable],
        "enforcedGrantControls": list(policy.controls) if outcome.enforced else [],
        "enforcedSessionControls": list(policy.session) if outcome.enforced else [],
    }


_KEPT = not_yet("policies, named locations, authentication strengths and contexts are kept")
for name in ("authenticationStrength", "templates"):
    unserved(f"identity/conditionalAccess/{name}/**", _KEPT)
_GONE = not_yet("a deleted policy or location is gone; there is no recycle bin")
unserved("identity/conditionalAccess/deletedItems/**", _GONE)
unserved("identity/conditionalAccess/policies/{}/restore", _GONE)
unserved("identity/conditionalAccess/namedLocations/{}/restore", _GONE)
