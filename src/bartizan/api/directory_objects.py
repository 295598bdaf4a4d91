"""Groups, devices, directory roles, applications and service principals, and how they hang together: what an
investigation walks.

All of it is evidence that connectors and operators bring in; membership here never grants anything on this server.

Source: Microsoft Graph, resources group, device, directoryRole, servicePrincipal, application, administrativeUnit.
"""

from typing import Any

from bartizan.api.directory import users
from bartizan.api.wire.derived import count_in_filters
from bartizan.extend import Can, Context, Resource, collection, not_yet, resource, scopes, unserved

_NOBODY = not_yet("nothing performs it: connect a directory that does, this server only records what it is told")
_UNWRITABLE = {"PATCH": _NOBODY, "DELETE": _NOBODY}
_INGEST = "Bartizan.Ingest.All"
_ALL = "Directory.Read.All Directory.ReadWrite.All"
_GROUPS = f"GroupMember.Read.All Group.ReadBasic.All Group.Read.All Group.ReadWrite.All {_ALL}"
MEMBERS = f"GroupMember.ReadBasic.All {_GROUPS}"  # who is in which group
_ASSIGNED = f"AppRoleAssignment.ReadWrite.All Application.Read.All {_ALL}"
_LICENSED = f"LicenseAssignment.Read.All User.Read.All User.ReadWrite.All {_ALL}"

groups = resource(
    "groups",
    "microsoft.graph.group",
    can=Can.READ | Can.CREATE,
    read=_GROUPS,
    create=_INGEST,
    columns="mailEnabled securityEnabled createdDateTime description visibility",
    fold="displayName mail mailNickname",
    order="displayName",
    entities={"mail": "mailbox"},
    search="displayName description mail mailNickname",
    advanced=True,
    required="displayName",
    throttle="directory",
    delta="members owners",
    unserved=_UNWRITABLE,
)

devices = resource(
    "devices",
    "microsoft.graph.device",
    can=Can.READ | Can.CREATE,
    read=f"Device.Read.All {_ALL}",
    create=_INGEST,
    columns="operatingSystem operatingSystemVersion accountEnabled isCompliant isManaged trustType",
    unique="deviceId",
    fold="displayName",
    order="displayName",
    entities={"displayName": "host"},
    search="displayName",
    advanced=True,
    keys="deviceId",
    required="deviceId displayName",
    throttle="directory",
    delta="",
    unserved=_UNWRITABLE,
)

roles = resource(
    "directoryRoles",
    "microsoft.graph.directoryRole",
    can=Can.READ | Can.CREATE,
    read=f"RoleManagement.Read.Directory {_ALL}",
    create=_INGEST,
    columns="displayName",
    unique="roleTemplateId",
    order="displayName",
    keys="roleTemplateId",
    required="displayName",
    throttle="directory",
    delta="members",
    unserved={"DELETE": _NOBODY},
)

service_principals = resource(
    "servicePrincipals",
    "microsoft.graph.servicePrincipal",
    can=Can.READ | Can.CREATE,
    read=f"Application.Read.All Application.ReadWrite.All {_ALL}",
    create=_INGEST,
    columns="accountEnabled servicePrincipalType appDisplayName",
    unique="appId",
    fold="displayName",
    order="displayName",
    search="displayName",
    advanced=True,
    keys="appId",
    required="appId",
    throttle="directory",
    delta="",
    unserved=_UNWRITABLE,
)

applications = resource(
    "applications",
    "microsoft.graph.application",
    can=Can.READ | Can.CREATE,
    read=f"Application.Read.All Application.ReadWrite.All {_ALL}",
    create=_INGEST,
    columns="createdDateTime signInAudience publisherDomain",
    unique="appId",
    fold="displayName",
    order="displayName",
    search="displayName",
    advanced=True,
    keys="appId",
    required="appId displayName",
    throttle="directory",
    inline="federatedIdentityCredentials",
    delta="owners",
    unserved=_UNWRITABLE,
)

units = resource(
    "directory/administrativeUnits",
    "microsoft.graph.administrativeUnit",
    aliases={"administrativeUnits": ("beta",)},  # as it was called before it moved to directory
    can=Can.READ | Can.CREATE,
    read=f"AdministrativeUnit.Read.All AdministrativeUnit.ReadWrite.All {_ALL}",
    create=_INGEST,
    columns="visibility",
    fold="displayName",
    order="displayName",
    search="displayName",
    advanced=True,
    required="displayName",
    throttle="directory",
    delta="members",
    unserved=_UNWRITABLE,
)

resource(
    "subscribedSkus",
    "microsoft.graph.subscribedSku",
    can=Can.READ | Can.CREATE,
    read=f"LicenseAssignment.Read.All Organization.Read.All {_ALL}",
    create=_INGEST,
    columns="skuId",
    order="skuPartNumber",
    required="skuId skuPartNumber",
    throttle="directory",
    unserved=_UNWRITABLE,
)

ROLE_ASSIGNMENTS = collection(
    "appRoleAssignments",
    "microsoft.graph.appRoleAssignment",
    columns="principalId resourceId appRoleId createdDateTime",
    order="createdDateTime desc",
)
LICENSES = collection(
    "licenseDetails", "microsoft.graph.licenseDetails", columns="skuPartNumber", order="skuPartNumber"
)
GRANTS = collection("oauth2PermissionGrants", "microsoft.graph.oAuth2PermissionGrant", columns="clientId principalId")

# What Graph contains in users and service principals comes in by sets of their own.
resource(
    "appRoleAssignments",
    "microsoft.graph.appRoleAssignment",
    collection=ROLE_ASSIGNMENTS,
    can=Can.READ | Can.CREATE,
    read=_ASSIGNED,
    create=_INGEST,
    required="principalId resourceId appRoleId",
    throttle="directory",
)
resource(
    "licenseDetails",
    "microsoft.graph.licenseDetails",
    collection=LICENSES,
    can=Can.READ | Can.CREATE,
    read=_LICENSED,
    create=_INGEST,
    required="skuId",
    throttle="directory",
)
resource(
    "oauth2PermissionGrants",
    "microsoft.graph.oAuth2PermissionGrant",
    collection=GRANTS,
    can=Can.READ | Can.CREATE,
    read=_ALL,
    create=_INGEST,
    required="clientId resourceId consentType",
    throttle="directory",
    unserved=_UNWRITABLE,
)


@groups.prepare
def new_group(ctx: Context, given: dict[str, Any]) -> dict[str, Any]:
    return {"securityEnabled": True, "mailEnabled": False, "groupTypes": [], **_set(given)}


@devices.prepare
@service_principals.prepare
def new_principal(ctx: Context, given: dict[str, Any]) -> dict[str, Any]:
    return {"accountEnabled": True, **_set(given)}


@applications.prepare
def new_application(ctx: Context, given: dict[str, Any]) -> dict[str, Any]:
    return _set(given)


def _set(given: dict[str, Any]) -> dict[str, Any]:
    """What is said; of a password only that there is one."""
    kept = {name: value for name, value in given.items() if value is not None}
    if "passwordCredentials" in kept:
        kept["passwordCredentials"] = [{**each, "secretText": None} for each in kept["passwordCredentials"]]
    return kept


def _member(of: Resource) -> None:
    """What may be a member of groups and roles."""
    access = scopes(MEMBERS) if of is groups else of.read
    of.navigation("memberOf", groups, roles, units, relation="members", reverse=True, expand=True, access=access)
    of.navigation(
        "transitiveMemberOf",
        groups,
        roles,
        units,
        relation="members",
        reverse=True,
        transitive=True,
        inside="groups directoryRoles",
        expand=True,
        access=access,
    )


for each in (users, groups, devices, service_principals):
    _member(each)
_PRINCIPALS = (users, groups, devices, service_principals)
groups.navigation("members", *_PRINCIPALS, relation="members", link=_INGEST, expand=True, access=MEMBERS)
groups.navigation(
    "transitiveMembers", *_PRINCIPALS, relation="members", transitive=True, inside="groups", expand=True, access=MEMBERS
)
groups.navigation("owners", users, service_principals, relation="owners", link=_INGEST, expand=True)
roles.navigation("members", users, groups, service_principals, relation="members", link=_INGEST, expand=True)
units.navigation("members", users, groups, devices, relation="members", link=_INGEST, expand=True)
applications.navigation("owners", users, service_principals, relation="owners", link=_INGEST, expand=True)
service_principals.navigation("owners", users, service_principals, relation="owners", link=_INGEST, expand=True)
service_principals.navigation("appRoleAssignedTo", ROLE_ASSIGNMENTS, column="resourceId", expand=True)
service_principals.navigation("oauth2PermissionGrants", GRANTS, column="clientId", expand=True)
devices.navigation(
    "registeredOwners", users, service_principals, relation="registeredOwners", link=_INGEST, expand=True
)
devices.navigation("registeredUsers", users, service_principals, relation="registeredUsers", link=_INGEST, expand=True)
users.navigation(
    "manager", users, type="microsoft.graph.directoryObject", many=False, relation="manager", link=_INGEST, expand=True
)
users.navigation(
    "directReports", users, type="microsoft.graph.directoryObject", relation="manager", reverse=True, expand=True
)
users.navigation("ownedDevices", devices, relation="registeredOwners", reverse=True, expand=True)
users.navigation("registeredDevices", devices, relation="registeredUsers", reverse=True, expand=True)
for each in (users, service_principals):
    each.navigation(
        "ownedObjects", groups, service_principals, applications, relation="owners", reverse=True, expand=True
    )
for each in (groups, applications, service_principals):
    count_in_filters(each, "owners")
users.navigation("licenseDetails", LICENSES, relation="licenseDetails", link=_INGEST, access=_LICENSED)
users.navigation("oauth2PermissionGrants", GRANTS, column="principalId", expand=True)
for each in (users, groups, service_principals):
    access = scopes(" ".join(dict.fromkeys([*_ASSIGNED.split(), *each.read.application])))
    each.navigation("appRoleAssignments", ROLE_ASSIGNMENTS, column="principalId", expand=True, access=access)

unserved("applications/**", _NOBODY)
unserved("directory/administrativeUnits/**", _NOBODY)
for name in ("users", "groups", "servicePrincipals"):
    unserved(f"{name}/{{}}/appRoleAssignments/**", _NOBODY, verbs="POST DELETE")
unserved("servicePrincipals/{}/appRoleAssignedTo/**", _NOBODY, verbs="POST DELETE")
unserved("users/{}/manager/$ref", _NOBODY, verbs="PUT DELETE")
