"""What a conditional access policy must say: bad and contradictory ones are refused when they are written.

Source: Microsoft Entra, "Building a Conditional Access policy", "Conditional Access: Grant", "Conditional Access:
Session", "Conditional Access for workload identities"; Microsoft Graph, conditionalAccessGrantControls,
signInFrequencySessionControl.
"""

from collections.abc import Iterator
from typing import Any

from bartizan.errors import BadRequest
from bartizan.identity.access.conditions import USER_ACTIONS, Inner, words
from bartizan.identity.access.device_filter import MAX_CHARS

MAX_NAMED = 2_000  # ids in one list of a policy
_MOST = {"hours": 23, "days": 365}  # of signInFrequency, documented for the portal
_WHO = "includeUsers includeGroups includeRoles includeGuestsOrExternalUsers".split()
_WHAT = "includeApplications includeUserActions includeAuthenticationContextClassReferences".split()


def check_policy(policy: Inner) -> None:
    """BadRequest that names the property and what would be right."""
    for wrong in _wrongs(policy):
        raise BadRequest(wrong)


def _wrongs(policy: Inner) -> Iterator[str]:
    conditions = policy.get("conditions") or {}
    users, workloads = conditions.get("users") or {}, conditions.get("clientApplications") or {}
    if not conditions.get("applications") or not (users or workloads):
        yield "a policy needs conditions.applications and conditions.users (or clientApplications)"
    if policy.get("state") != "disabled" and not (policy.get("grantControls") or policy.get("sessionControls")):
        yield "an enabled policy needs grantControls or sessionControls"
    yield from _lists("conditions", conditions)
    yield from _who(conditions, users, workloads)
    yield from _applications(conditions["applications"])
    yield from _parts(conditions)
    yield from _grant(policy, conditions)
    yield from _session(policy.get("sessionControls") or {}, conditions)


def _lists(path: str, of: Inner) -> Iterator[str]:
    for name, value in of.items():
        if isinstance(value, dict):
            yield from _lists(f"{path}.{name}", value)
        elif isinstance(value, list) and len(value) > MAX_NAMED:
            yield f"{path}.{name}: at most {MAX_NAMED} are taken; got {len(value)}"


def _who(conditions: Inner, users: Inner, workloads: Inner) -> Iterator[str]:
    named = words(users, "includeUsers")
    for word in ("All", "None"):
        if word.lower() in named and len(named) > 1:
            yield f"conditions.users.includeUsers: {word} stands alone"
    if "all" in words(users, "excludeUsers"):
        yield "conditions.users.excludeUsers: All would leave nobody; leave users out of includeUsers instead"
    included = any(workloads.get(name) for name in workloads if name.startswith("include"))
    if not included and not any(users.get(name) for name in _WHO):
        yield f"conditions.users: nobody is included; name some in {', '.join(_WHO)} (includeUsers takes All and None)"
    if included and named - {"none"}:
        yield "conditions.clientApplications: a policy is for users or for service principals, not both"
    if conditions.get("servicePrincipalRiskLevels") and not included:
        yield "conditions.servicePrincipalRiskLevels needs conditions.clientApplications"
    for name in ("signInRiskLevels", "userRiskLevels", "insiderRiskLevels"):
        if included and conditions.get(name):
            yield f"conditions.{name} is of users; for service principals there is servicePrincipalRiskLevels"


def _applications(of: Inner) -> Iterator[str]:
    given = [name for name in _WHAT if of.get(name)]
    if len(given) > 1:
        yield f"conditions.applications: one of {', '.join(_WHAT)}; got {', '.join(given)}"
    # an applicationFilter, and what beta has for network access, name what they are for themselves
    if not given and not any(of.get(name) for name in ("applicationFilter", "globalSecureAccess", "networkAccess")):
        yield f"conditions.applications: nothing is included; name some in one of {', '.join(_WHAT)}"
    named = words(of, "includeApplications")
    for word in ("All", "None"):
        if word.lower() in named and len(named) > 1:
            yield f"conditions.applications.includeApplications: {word} stands alone"
    unknown = words(of, "includeUserActions") - USER_ACTIONS.keys()
    if unknown:
        yield f"conditions.applications.includeUserActions takes {', '.join(USER_ACTIONS)}; got {sorted(unknown)}"


def _parts(conditions: Inner) -> Iterator[str]:
    for path, of, name, every in (
        ("conditions.clientAppTypes", conditions, "clientAppTypes", "all"),
        ("conditions.platforms.includePlatforms", conditions.get("platforms") or {}, "includePlatforms", "all"),
        ("conditions.locations.includeLocations", conditions.get("locations") or {}, "includeLocations", "all"),
    ):
        named = words(of, name)
        if every in named and len(named) > 1:
            yield f"{path}: {every} stands alone"
    for name in ("platforms", "locations"):
        of = conditions.get(name) or {}
        if any(of.values()) and not any(value for key, value in of.items() if key.startswith("include")):
            yield f"conditions.{name}: nothing is included that could be excluded from"
    rule = ((conditions.get("devices") or {}).get("deviceFilter")) or {}
    if rule and not (rule.get("rule") and rule.get("mode")):
        yield "conditions.devices.deviceFilter needs mode and rule"
    if len(rule.get("rule") or "") > MAX_CHARS:
        yield f"conditions.devices.deviceFilter.rule: at most {MAX_CHARS} characters are taken"


def _grant(policy: Inner, conditions: Inner) -> Iterator[str]:
    of = policy.get("grantControls") or {}
    if not of:
        return
    given = list(of.get("builtInControls") or ())
    others = [*(of.get("customAuthenticationFactors") or ()), *(of.get("termsOfUse") or ())]
    strength = of.get("authenticationStrength")
    count = len(given) + len(others) + bool(strength)
    if not count and not policy.get("sessionControls") and policy.get("state") != "disabled":
        yield "grantControls: no control is named; such as builtInControls: ['mfa']"
    operator = of.get("operator")
    if str(operator).upper() not in ("AND", "OR") and (operator is not None or count > 1):
        yield f"grantControls.operator is AND or OR; got {operator!r}"
    if "block" in given and count > 1:
        yield "grantControls.builtInControls: block stands alone: nothing can be demanded of who is blocked"
    if strength and "mfa" in given:
        yield "grantControls.authenticationStrength takes the place of mfa in builtInControls"
    workloads = conditions.get("clientApplications") or {}
    if workloads.get("includeServicePrincipals") and given != ["block"]:
        yield "grantControls.builtInControls: of service principals nothing but block can be demanded"
    if "passwordChange" in given:
        yield from _password_change(given, str(operator), conditions)


def _password_change(given: list[str], operator: str, conditions: Inner) -> Iterator[str]:
    if "mfa" not in given or operator.upper() != "AND":
        yield "grantControls.builtInControls: passwordChange goes with mfa and operator AND"
    if not conditions.get("userRiskLevels"):
        yield "conditions.userRiskLevels: passwordChange is for users at risk; name the levels"


def _session(of: Inner, conditions: Inner) -> Iterator[str]:
    frequency: dict[str, Any] = of.get("signInFrequency") or {}
    if frequency.get("isEnabled"):
        path, kind, value = "sessionControls.signInFrequency", frequency.get("type"), frequency.get("value")
        if frequency.get("frequencyInterval") == "everyTime":
            if kind is not None or value is not None:
                yield f"{path}: with everyTime there is no type and no value"
        elif kind not in _MOST or not isinstance(value, int) or not 0 < value <= _MOST[kind]:
            yield f"{path}: type hours with value 1 to 23 or days with 1 to 365; got {kind} with {value}"
    browser = of.get("persistentBrowser") or {}
    if browser.get("isEnabled"):
        if browser.get("mode") is None:
            yield "sessionControls.persistentBrowser.mode: always or never"
        if words(conditions.get("applications") or {}, "includeApplications") != {"all"}:
            yield "sessionControls.persistentBrowser needs conditions.applications.includeApplications: ['All']"
    if (of.get("cloudAppSecurity") or {}).get("isEnabled") and not of["cloudAppSecurity"].get("cloudAppSecurityType"):
        yield "sessionControls.cloudAppSecurity.cloudAppSecurityType: mcasConfigured, monitorOnly or blockDownloads"
