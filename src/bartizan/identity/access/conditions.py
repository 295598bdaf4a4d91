"""Conditions of conditional access: a policy's `conditions` compiled once, then asked of one sign-in after another.

A sign-in is a `Facts`. What is not known of it is None (or empty): it matches `All`, and nothing that is named; it is
never taken for an exclusion. Exclusions beat inclusions. What a policy asks and nobody here can tell makes its
condition `Unreadable`: such a policy is not passed over, see `conditional_access`.

Source: Microsoft Graph, conditionalAccessConditionSet and what it holds; Microsoft Entra, "Building a Conditional
Access policy" and "Conditional Access: Conditions".
"""

import ipaddress
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from bartizan.identity.access import device_filter
from bartizan.intel.locations import range_of
from bartizan.intel.ranges import span

Inner: TypeAlias = Mapping[str, Any]  # inner form of a Graph object
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

# Kinds of conditionalAccessGuestOrExternalUserTypes
GUESTS = frozenset(
    "internalGuest b2bCollaborationGuest b2bCollaborationMember b2bDirectConnectUser otherExternalUser "
    "serviceProvider".split()
)
LEGACY_GUEST = "GuestsOrExternalUsers"
OFFICE = frozenset(
    {
        "00000002-0000-0ff1-ce00-000000000000",  # Exchange Online
        "00000003-0000-0ff1-ce00-000000000000",  # SharePoint Online
        "00000004-0000-0ff1-ce00-000000000000",  # Skype for Business Online
        "00000005-0000-0ff1-ce00-000000000000",  # Yammer
        "cc15fd57-2c6c-4117-a88c-83b1d56b4bbe",  # Teams
        "4765445b-32c6-49b0-83e6-1d93765276ca",  # the start page
        "c9a559d2-7aab-4f13-a6ed-e7e9c52aec87",  # Forms
        "09abbdfd-ed23-44ee-a2d9-a627aa1c90f3",  # Planner
        "22098786-6e16-43cc-a27d-191a01a1e3b5",  # To Do
        "905fcf26-4eb7-48a0-9ff0-8dcc7194b5ba",  # Sway
        "2634dd23-5e5a-431c-81ca-11710d9079f4",  # Stream
        "7df0a125-d3be-4c96-aa54-591f83ff541c",  # Power Automate
        "4787c7ff-7cea-43db-8d0d-919f15c6354b",  # Power Apps
        "94c63fef-13a3-47bc-8074-75af8c65887a",  # Delve
    }
)
ADMIN_PORTALS = frozenset(
    {
        "c44b4083-3bb0-49c1-b47d-974e53cbdf3c",  # Azure portal
        "00000006-0000-0ff1-ce00-000000000000",  # Microsoft 365 portal
        "497effe9-df71-4043-a8bb-14cf78c4b63b",  # Exchange
        "80ccca67-54bd-44ab-8625-4b79c4dc7775",  # compliance
    }
)
SUITES: Mapping[str, frozenset[str]] = {"office365": OFFICE, "microsoftadminportals": ADMIN_PORTALS}
USER_ACTIONS: Mapping[str, str] = {
    "urn:user:registersecurityinfo": "registerSecurityInformation",
    "urn:user:registerdevice": "registerOrJoinDevices",
}
OWN_WORKLOADS = "serviceprincipalsinmytenant"


class Facts(Struct, frozen=True, kw_only=True):
    """One sign-in, as conditions see it. Ids and names are in lower case."""

    user: str | None = None  # id; None where a service principal signs in, or somebody whose id nobody knows
    workload: str | None = None  # id of a service principal
    groups: frozenset[str] = frozenset()  # through any number of groups
    roles: frozenset[str] = frozenset()  # ids of roles and of their templates
    guest: frozenset[str] = frozenset()  # members of GUESTS
    home_tenant: str | None = None
    apps: frozenset[str] = frozenset()  # application ids of client and resource
    user_action: str | None = None
    contexts: frozenset[str] = frozenset()  # authentication contexts, such as c1
    address: Address | None = None
    country: str | None = None  # ISO 3166, upper case
    compliant_network: bool | None = None
    client: str | None = None  # a conditionalAccessClientApp
    platform: str | None = None  # a conditionalAccessDevicePlatform
    device: Mapping[str, Any] = msgspec.field(default_factory=dict)  # as `device_filter` has it
    sign_in_risk: str = "none"
    user_risk: str = "none"
    workload_risk: str = "none"
    insider_risk: str | None = None
    transfer: str | None = None  # deviceCodeFlow or authenticationTransfer


class Missed(Struct, frozen=True):
    """Why a policy does not apply: a member of whatIfAnalysisReasons, and in words."""

    reason: str
    says: str
    unknown: bool = False  # it is not known, rather than otherwise


class Unreadable(ValueError):
    """A condition that this server cannot tell of; the text names the property."""


Check: TypeAlias = Callable[[Facts], Missed | None]  # None: the condition holds


class Locations(Struct, frozen=True):
    """The named locations of a tenant, by id in lower case."""

    networks: Mapping[str, tuple[Network, ...]] = msgspec.field(default_factory=dict)
    countries: Mapping[str, tuple[frozenset[str], bool]] = msgspec.field(default_factory=dict)  # (codes, unknown too)
    by_app: frozenset[str] = frozenset()  # countries that only an authenticator's GPS tells
    compliant: frozenset[str] = frozenset()
    trusted: frozenset[str] = frozenset()

    def holds(self, id: str, facts: Facts) -> bool:
        """Whether the sign-in comes from there. A location that is not there (any more) holds nothing."""
        if id in self.networks:
            at = facts.address
            return at is not None and any(at in each for each in self.networks[id] if each.version == at.version)
        if id in self.countries:
            codes, unknown = self.countries[id]
            return unknown if facts.country is None else facts.country in codes
        return id in self.compliant and facts.compliant_network is True


def locations_of(rows: Iterable[Inner]) -> Locations:
    networks: dict[str, tuple[Network, ...]] = {}
    countries: dict[str, tuple[frozenset[str], bool]] = {}
    by_app, compliant, trusted = set(), set(), set()
    for row in rows:
        id, kind = str(row["id"]).lower(), str(row.get("@odata.type"))
        if row.get("isTrusted") is True:
            trusted.add(id)
        if kind.endswith(".countryNamedLocation"):
            codes = frozenset(str(each).upper() for each in row.get("countriesAndRegions") or ())
            countries[id] = codes, row.get("includeUnknownCountriesAndRegions") is True
            if row.get("countryLookupMethod") == "authenticatorAppGps":
                by_app.add(id)
        elif kind.endswith(".compliantNetworkNamedLocation"):
            compliant.add(id)
        else:
            networks[id] = tuple(net for each in row.get("ipRanges") or () for net in _networks(each))
    return Locations(networks, countries, frozenset(by_app), frozenset(compliant), frozenset(trusted))


def _networks(given: Inner) -> Iterator[Network]:
    """Those of one ipRange. ValueError."""
    at = span(range_of(given))
    if at.wide:
        return ipaddress.summarize_address_range(ipaddress.IPv6Address(at.first), ipaddress.IPv6Address(at.last))
    return ipaddress.summarize_address_range(ipaddress.IPv4Address(at.first), ipaddress.IPv4Address(at.last))


def compile_conditions(conditions: Inner, locations: Locations) -> tuple[list[Check], list[str]]:
    """The checks of every condition that can be told, and what could not be, each with its property."""
    checks: list[Check] = []
    unreadable: list[str] = []
    for make in _MAKERS:
        try:
            check = make(conditions, locations)
        except Unreadable as wrong:
            unreadable.append(str(wrong))
        else:
            if check is not None:
                checks.append(check)
    return checks, unreadable


def words(of: Inner, name: str) -> frozenset[str]:
    return frozenset(str(each).lower() for each in of.get(name) or ())


def flags(value: Any) -> frozenset[str]:
    """Members of an enum of flags, which is a comma list on the wire."""
    if not value:
        return frozenset()
    given = value if isinstance(value, list) else str(value).split(",")
    return frozenset(str(each).strip() for each in given if str(each).strip())


# ---------------------------------------------------------------- who


def _who(conditions: Inner, locations: Locations) -> Check:
    users = _users(conditions.get("users") or {})
    workloads = _workloads(conditions.get("clientApplications") or {})

    def check(facts: Facts) -> Missed | None:
        return users(facts) if facts.workload is None else workloads(facts)

    return check


def _users(of: Inner) -> Check:
    ids, without = words(of, "includeUsers"), words(of, "excludeUsers")
    groups, without_groups = words(of, "includeGroups"), words(of, "excludeGroups")
    roles, without_roles = words(of, "includeRoles"), words(of, "excludeRoles")
    legacy = LEGACY_GUEST.lower()
    guests, without_guests = (
        _guests(of.get(f"{side}GuestsOrExternalUsers"), all=legacy in named, sure=side == "exclude")
        for side, named in (("include", ids), ("exclude", without))
    )

    def check(facts: Facts) -> Missed | None:
        if (
            facts.user in without
            or not facts.groups.isdisjoint(without_groups)
            or not facts.roles.isdisjoint(without_roles)
            or without_guests(facts)
        ):
            return Missed("users", "the user is excluded")
        if (
            "all" in ids
            or facts.user in ids
            or not facts.groups.isdisjoint(groups)
            or not facts.roles.isdisjoint(roles)
            or guests(facts)
        ):
            return None
        return Missed("users", "the user is not included", facts.user is None)

    return check


def _guests(of: Inner | None, *, all: bool, sure: bool) -> Callable[[Facts], bool]:
    """Where a guest's home tenant is not known, an inclusion of some tenants holds and an exclusion does not."""
    kinds = GUESTS if all else flags((of or {}).get("guestOrExternalUserTypes")) & GUESTS
    tenants = (of or {}).get("externalTenants") or {}
    only = words(tenants, "members") if tenants.get("membershipKind") == "enumerated" and not all else None

    def test(facts: Facts) -> bool:
        if facts.guest.isdisjoint(kinds):
            return False
        return only is None or (not sure if facts.home_tenant is None else facts.home_tenant in only)

    return test


def _workloads(of: Inner) -> Check:
    if of.get("servicePrincipalFilter") or of.get("agentIdServicePrincipalFilter"):
        raise Unreadable("conditions.clientApplications: filters by custom security attributes are not evaluated")
    if of.get("includeAgentIdServicePrincipals") or of.get("excludeAgentIdServicePrincipals"):
        raise Unreadable("conditions.clientApplications: agent identities are not evaluated")
    ids, without = words(of, "includeServicePrincipals"), words(of, "excludeServicePrincipals")

    def check(facts: Facts) -> Missed | None:
        if facts.workload in without:
            return Missed("workloadIdentities", "the service principal is excluded")
        if OWN_WORKLOADS in ids or facts.workload in ids:
            return None
        return Missed("workloadIdentities", "the service principal is not included")

    return check


# ---------------------------------------------------------------- what it is signed in to


def _target(conditions: Inner, locations: Locations) -> Check:
    of: Inner = conditions.get("applications") or {}
    for name in ("applicationFilter", "globalSecureAccess", "networkAccess"):
        if of.get(name) is not None:
            raise Unreadable(f"conditions.applications.{name} is not evaluated")
    ids, without = _apps(words(of, "includeApplications")), _apps(words(of, "excludeApplications"))
    everything = "all" in ids
    actions = frozenset(USER_ACTIONS.get(each, each) for each in words(of, "includeUserActions"))
    contexts = words(of, "includeAuthenticationContextClassReferences")
    reason = "userActions" if actions else "authenticationContext" if contexts else "application"

    def check(facts: Facts) -> Missed | None:
        if facts.user_action in actions or not facts.contexts.isdisjoint(contexts):
            return None
        if not facts.apps.isdisjoint(without):
            return Missed("application", "the application is excluded")
        if (everything and facts.user_action is None) or not facts.apps.isdisjoint(ids):
            return None
        return Missed(reason, "the application, action or context is not included", not facts.apps)

    return check


def _apps(ids: frozenset[str]) -> frozenset[str]:
    return ids.union(*(apps for name, apps in SUITES.items() if name in ids))


# ---------------------------------------------------------------- where from, with what


def _location(conditions: Inner, locations: Locations) -> Check | None:
    of = conditions.get("locations")
    if not of:
        return None
    ids, without = words(of, "includeLocations"), words(of, "excludeLocations")
    if (ids | without) & locations.by_app:
        raise Unreadable("conditions.locations: the country that an authenticator's GPS tells is not evaluated")

    def inside(named: frozenset[str], facts: Facts) -> bool:
        among = named | locations.trusted if "alltrusted" in named else named
        return any(locations.holds(each, facts) for each in among)

    def check(facts: Facts) -> Missed | None:
        if "all" not in ids and not inside(ids, facts):
            return Missed("location", "the location is not included", facts.address is None)
        return Missed("location", "the location is excluded") if inside(without, facts) else None

    return check


def _client(conditions: Inner, locations: Locations) -> Check | None:
    kinds = frozenset(conditions.get("clientAppTypes") or ())
    if not kinds or "all" in kinds:
        return None
    if "easSupported" in kinds:
        kinds |= {"exchangeActiveSync"}

    def check(facts: Facts) -> Missed | None:
        return None if facts.client in kinds else Missed("clientApps", "other client apps", facts.client is None)

    return check


def _platform(conditions: Inner, locations: Locations) -> Check | None:
    of = conditions.get("platforms")
    if not of:
        return None
    kinds = frozenset(of.get("includePlatforms") or ())
    without = frozenset(of.get("excludePlatforms") or ())

    def check(facts: Facts) -> Missed | None:
        if facts.platform in without:
            return Missed("devicePlatform", "the platform is excluded")
        if "all" in kinds or facts.platform in kinds:
            return None
        return Missed("devicePlatform", "the platform is not included", facts.platform is None)

    return check


_STATES: Mapping[str, Callable[[Facts], bool]] = {
    "all": lambda facts: True,
    "compliant": lambda facts: facts.device.get("iscompliant") is True,
    "domainjoined": lambda facts: facts.device.get("trusttype") == "ServerAD",
}


def _device(conditions: Inner, locations: Locations) -> Check | None:
    of, old = conditions.get("devices") or {}, conditions.get("deviceStates") or {}
    kinds = words(of, "includeDevices") | words(of, "includeDeviceStates") | words(old, "includeStates")
    without = words(of, "excludeDevices") | words(of, "excludeDeviceStates") | words(old, "excludeStates")
    unknown = (kinds | without) - _STATES.keys()
    if unknown:
        raise Unreadable(f"conditions.devices: {', '.join(sorted(unknown))} is none of All, Compliant, DomainJoined")
    rule = _filter(of.get("deviceFilter"))
    if not kinds and not without and rule is None:
        return None

    def check(facts: Facts) -> Missed | None:
        if any(_STATES[each](facts) for each in without):
            return Missed("devices", "the device is excluded")
        if kinds and not any(_STATES[each](facts) for each in kinds):
            return Missed("devices", "the device is not included", not facts.device)
        if rule is not None and not rule(facts.device):
            return Missed("devices", "the filter leaves the device out", not facts.device)
        return None

    return check


def _filter(of: Inner | None) -> device_filter.Test | None:
    if not of:
        return None
    try:
        test = device_filter.parse(str(of.get("rule") or ""))
    except device_filter.NotReadable as wrong:
        raise Unreadable(f"conditions.devices.deviceFilter.rule: {wrong}") from None
    return (lambda device: not test(device)) if of.get("mode") == "exclude" else test


# ---------------------------------------------------------------- risk and flow


def _risks(conditions: Inner, locations: Locations) -> Check | None:
    in_sign_in = frozenset(conditions.get("signInRiskLevels") or ())
    of_user = frozenset(conditions.get("userRiskLevels") or ())
    of_workload = frozenset(conditions.get("servicePrincipalRiskLevels") or ())
    insider = flags(conditions.get("insiderRiskLevels"))

    def check(facts: Facts) -> Missed | None:
        if in_sign_in and facts.sign_in_risk not in in_sign_in:
            return Missed("signInRisk", f"the risk of the sign-in is {facts.sign_in_risk}")
        if of_user and facts.user_risk not in of_user:
            return Missed("userRisk", f"the risk of the user is {facts.user_risk}")
        if of_workload and facts.workload_risk not in of_workload:
            return Missed("workloadIdentities", f"the risk of the service principal is {facts.workload_risk}")
        if insider and facts.insider_risk not in insider:
            return Missed("insiderRisk", f"the insider risk is {facts.insider_risk}", facts.insider_risk is None)
        return None

    return check


def _flow(conditions: Inner, locations: Locations) -> Check | None:
    wanted = flags((conditions.get("authenticationFlows") or {}).get("transferMethods")) - {"none"}
    if not wanted:
        return None
    return lambda facts: (
        None if facts.transfer in wanted else Missed("authenticationFlow", f"the flow is {facts.transfer or 'none'}")
    )


def _agents(conditions: Inner, locations: Locations) -> Check | None:
    for name in ("agentContext", "agentIdRiskLevels", "agents"):
        asked = conditions.get(name)
        if any(asked.values()) if isinstance(asked, Mapping) else asked:
            raise Unreadable(f"conditions.{name}: agent identities are not evaluated")
    return None


_MAKERS: Sequence[Callable[[Inner, Locations], Check | None]] = (
    _who,
    _target,
    _client,
    _platform,
    _device,
    _location,
    _risks,
    _flow,
    _agents,
)
