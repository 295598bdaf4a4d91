"""Conditional access: policies and named locations, kept and served; their evaluation comes with identity protection.

Source: Microsoft Graph, resources conditionalAccessPolicy and namedLocation.
"""

from ipaddress import ip_network
from typing import Any

from bartizan.auth.caller import Access
from bartizan.errors import BadRequest
from bartizan.extend import Can, Context, not_yet, resource, unserved
from bartizan.model.times import instant

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
    throttle="identityProtection",
)


def _check_policy(inner: dict[str, Any]) -> None:
    conditions = inner.get("conditions") or {}
    applications, users = conditions.get("applications"), conditions.get("users")
    if not applications or not (users or conditions.get("clientApplications")):
        raise BadRequest("a policy needs conditions.applications and conditions.users (or clientApplications)")
    if inner.get("state") != "disabled" and not (inner.get("grantControls") or inner.get("sessionControls")):
        raise BadRequest("an enabled policy needs grantControls or sessionControls")


def _check_location(inner: dict[str, Any]) -> None:
    kind = inner.get("@odata.type", "")
    if kind.endswith(".ipNamedLocation"):
        ranges = inner.get("ipRanges") or []
        if not ranges:
            raise BadRequest("an ipNamedLocation needs at least one of ipRanges")
        for number, each in enumerate(ranges):
            cidr = each.get("cidrAddress")
            if cidr is None:
                continue
            try:
                ip_network(cidr, strict=False)
            except ValueError as error:
                raise BadRequest(f"ipRanges[{number}].cidrAddress: {error}") from None
    elif kind.endswith(".countryNamedLocation"):
        countries = inner.get("countriesAndRegions") or []
        wrong = [c for c in countries if not (isinstance(c, str) and len(c) == _COUNTRY_LETTERS and c.isalpha())]
        if wrong or not countries:
            raise BadRequest(f"countriesAndRegions takes two-letter codes of ISO 3166; got {wrong or 'none'}")
    elif not kind.endswith(".compliantNetworkNamedLocation"):
        raise BadRequest("say @odata.type: #microsoft.graph.ipNamedLocation or #microsoft.graph.countryNamedLocation")


@policies.prepare
def new_policy(ctx: Context, inner: dict[str, Any]) -> dict[str, Any]:
    _check_policy(inner)
    at = instant(ctx.clock())
    return {**inner, "createdDateTime": at, "modifiedDateTime": None}


@policies.merge
def change_policy(ctx: Context, before: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Complex values merge, as OData has it: PATCH of conditions/signInRiskLevels leaves conditions/users alone."""
    after = _merged(before, given)
    if after == before:
        return before
    _check_policy(after)
    return {**after, "modifiedDateTime": instant(ctx.clock())}


def _merged(before: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    after = dict(before)
    for name, value in given.items():
        known = before.get(name)
        both = isinstance(known, dict) and isinstance(value, dict)
        after[name] = _merged(known, value) if both and isinstance(known, dict) else value
    return after


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


_EVALUATION = not_yet("policies are kept and served; their evaluation needs the identity engine")
unserved("identity/conditionalAccess/evaluate", _EVALUATION)
_KEPT = not_yet("only policies and named locations are kept")
for name in ("authenticationContextClassReferences", "authenticationStrength", "templates"):
    unserved(f"identity/conditionalAccess/{name}/**", _KEPT)
_GONE = not_yet("a deleted policy or location is gone; there is no recycle bin")
unserved("identity/conditionalAccess/deletedItems/**", _GONE)
unserved("identity/conditionalAccess/policies/{}/restore", _GONE)
unserved("identity/conditionalAccess/namedLocations/{}/restore", _GONE)
