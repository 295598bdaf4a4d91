"""Policies of the tenant beside those of conditional access: what guests and users may do, which ways to sign in there
are, who must approve, what other tenants may; and settings of the directory that auditors read with them.

They are evidence that connectors and operators bring in, as a directory says them; nothing here is enforced by this
server.

Most of them are one object for each tenant. Until somebody has told it there is none, and nothing is made up: 404.

Source: Microsoft Graph, resource policyRoot and the policies that it holds; their fixed ids are Graph's own.
"""

from typing import Any

from bartizan.errors import BadRequest, NotFound
from bartizan.extend import BOTH, Can, Context, Resource, collection, not_yet, resource
from bartizan.model.edm import Version
from bartizan.store.interface import Collection, Stored

_NOBODY = not_yet("nothing performs it: connect a directory that does, this server only records what it is told")
UNWRITABLE = {"PATCH": _NOBODY, "PUT": _NOBODY, "DELETE": _NOBODY}
INGEST = "Bartizan.Ingest.All"
READ = "Policy.Read.All Directory.Read.All Directory.ReadWrite.All"


# Sets of which a tenant has one object -> its id.
ONLY: dict[str, str] = {}


def _kept(type: str, versions: tuple[Version, ...] = BOTH) -> Collection:
    name = type.removesuffix("Policy").replace("PolicyConfiguration", "")
    return collection(name, f"microsoft.graph.{type}", versions=versions)


def _the_one(path: str, id: str, given: dict[str, Any]) -> dict[str, Any]:
    """What is told of a policy that a tenant has once."""
    if given.get("id") not in (None, id):
        raise BadRequest(f"id: a tenant has one {path}, whose id is '{id}'.")
    if not any(value is not None for name, value in given.items() if name != "id" and not name.startswith("@")):
        raise BadRequest(f"an empty {path} says nothing; send its properties.")
    return {**given, "id": id}


def _only(
    path: str,
    type: str,
    id: str,
    *,
    versions: tuple[Version, ...] = BOTH,
    read: str = READ,
    inline: str = "",
    collection: Collection | None = None,
) -> Resource:
    """A policy of which a tenant has one, under its fixed id."""
    kept = collection or _kept(type, versions)
    ONLY[kept.name] = id
    made = resource(
        path,
        f"microsoft.graph.{type}",
        collection=kept,
        can=Can.GET | Can.CREATE,
        read=read,
        create=INGEST,
        singleton=True,
        versions=versions,
        inline=inline,
        throttle="directory",
        unserved=UNWRITABLE,
    )

    @made.prepare
    def told(ctx: Context, given: dict[str, Any]) -> dict[str, Any]:
        return _the_one(path, id, given)

    @made.on_get
    async def known(ctx: Context, _: str) -> Stored | None:
        row = await ctx.store.get(kept.name, id)
        if row is None:
            raise NotFound(
                f"{path} is not known here: nobody has told it. POST it to this path, with the permission {INGEST}.",
                code="ResourceNotFound",
            )
        return row

    return made


_AUTHORIZATION = _kept("authorizationPolicy")

_only(
    "policies/authorizationPolicy",
    "authorizationPolicy",
    "authorizationPolicy",
    versions=("v1.0",),
    collection=_AUTHORIZATION,
)
in_beta = resource(  # the same policy as a set of one, as beta has it
    "policies/authorizationPolicy",
    "microsoft.graph.authorizationPolicy",
    collection=_AUTHORIZATION,
    can=Can.READ | Can.CREATE,
    read=READ,
    create=INGEST,
    versions=("beta",),
    throttle="directory",
    unserved=UNWRITABLE,
)


@in_beta.prepare
def told_in_beta(ctx: Context, given: dict[str, Any]) -> dict[str, Any]:
    return _the_one(in_beta.path, "authorizationPolicy", given)


_only(
    "policies/identitySecurityDefaultsEnforcementPolicy",
    "identitySecurityDefaultsEnforcementPolicy",
    "00000000-0000-0000-0000-000000000005",
)
_METHODS = f"Policy.Read.AuthenticationMethod {READ}"
_only(
    "policies/authenticationMethodsPolicy",
    "authenticationMethodsPolicy",
    "authenticationMethodsPolicy",
    read=_METHODS,
    inline="authenticationMethodConfigurations",
)
_only("policies/authenticationFlowsPolicy", "authenticationFlowsPolicy", "authenticationFlowsPolicy")
_only("policies/adminConsentRequestPolicy", "adminConsentRequestPolicy", "adminConsentRequestPolicy")
_only(
    "policies/deviceRegistrationPolicy",
    "deviceRegistrationPolicy",
    "deviceRegistrationPolicy",
    read=f"Policy.Read.DeviceConfiguration {READ}",
)
_only(
    "policies/externalIdentitiesPolicy",
    "externalIdentitiesPolicy",
    "externalIdentitiesPolicy",
    versions=("beta",),
    read=f"Policy.Read.ExternalIdentities {READ}",
)
_only(
    "policies/defaultAppManagementPolicy",
    "tenantAppManagementPolicy",
    "00000000-0000-0000-0000-000000000000",
)
_only("policies/crossTenantAccessPolicy", "crossTenantAccessPolicy", "crossTenantAccessPolicy")
_only("policies/crossTenantAccessPolicy/default", "crossTenantAccessPolicyConfigurationDefault", "default")


def _many(
    path: str,
    type: str,
    *,
    read: str = READ,
    versions: tuple[Version, ...] = BOTH,
    columns: str = "displayName",
    order: str = "displayName",
    required: str = "displayName",
    inline: str = "",
    aliases: dict[str, tuple[Version, ...]] | None = None,
) -> Resource:
    """Policies of which a tenant may have any number."""
    return resource(
        path,
        f"microsoft.graph.{type}",
        can=Can.READ | Can.CREATE,
        read=read,
        create=INGEST,
        columns=columns,
        order=order,
        required=required,
        versions=versions,
        inline=inline,
        aliases=aliases,
        throttle="directory",
        unserved=UNWRITABLE,
    )


partners = _many(
    "policies/crossTenantAccessPolicy/partners",
    "crossTenantAccessPolicyConfigurationPartner",
    columns="",
    order="",
    required="tenantId",
)


@partners.prepare
def partner(ctx: Context, given: dict[str, Any]) -> dict[str, Any]:
    """A partner is known by its tenant."""
    return {**given, "id": given["tenantId"]}


_many("policies/activityBasedTimeoutPolicies", "activityBasedTimeoutPolicy")
_many("policies/appManagementPolicies", "appManagementPolicy")
_many("policies/claimsMappingPolicies", "claimsMappingPolicy")
_many("policies/featureRolloutPolicies", "featureRolloutPolicy")
_many("policies/homeRealmDiscoveryPolicies", "homeRealmDiscoveryPolicy")
_many("policies/tokenIssuancePolicies", "tokenIssuancePolicy")
_many("policies/tokenLifetimePolicies", "tokenLifetimePolicy")
_many(
    "policies/permissionGrantPolicies",
    "permissionGrantPolicy",
    read=f"Policy.Read.PermissionGrant {READ}",
    inline="includes excludes",
)
_many(
    "policies/authenticationStrengthPolicies",
    "authenticationStrengthPolicy",
    read=_METHODS,
    columns="displayName policyType",
    inline="combinationConfigurations",
    aliases={
        "identity/conditionalAccess/authenticationStrength/policies": BOTH,
        "identity/conditionalAccess/authenticationStrengths/policies": ("beta",),
    },
)
_many(
    "identity/conditionalAccess/authenticationContextClassReferences",
    "authenticationContextClassReference",
    read="AuthenticationContext.Read.All Policy.Read.ConditionalAccess Policy.Read.All",
    columns="displayName isAvailable",
)
_SETTINGS = "GroupSettings.Read.All Directory.Read.All Directory.ReadWrite.All"
_many("groupSettings", "groupSetting", read=_SETTINGS, versions=("v1.0",))
_many("settings", "directorySetting", read=_SETTINGS, versions=("beta",))
_many(
    "directory/onPremisesSynchronization",
    "onPremisesDirectorySynchronization",
    read="OnPremDirectorySynchronization.Read.All OnPremDirectorySynchronization.ReadWrite.All Directory.Read.All",
    columns="",
    order="",
    required="id",
)
