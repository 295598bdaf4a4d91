"""Applications: what they may do, whether anybody uses them, how old their credentials are.

Source: Microsoft Graph permissions reference; Microsoft Entra, "Application registration security best practices".
"""

from bartizan.identity.posture.control import Limits, Plain, Verdict, control
from bartizan.identity.posture.facts import Tenant, Workload

# Application permissions by which an application can take over the tenant, or read or change everybody's data; by
# appRoleId, so that they are known where the resource's own appRoles were never told.
# Source: Microsoft Graph permissions reference (identifiers of application permissions).
HIGH_PRIVILEGES = {
    "9e3f62cf-ca93-4989-b6ce-bf83c28f9fe8": "RoleManagement.ReadWrite.Directory",
    "06b708a9-e830-4db3-a914-8e69da51d44f": "AppRoleAssignment.ReadWrite.All",
    "1bfefb4e-e0b5-418b-a88f-73c46d2cc8e9": "Application.ReadWrite.All",
    "19dbc75e-c2e2-444c-a770-ec69d8559fc7": "Directory.ReadWrite.All",
    "741f803b-c850-494e-b5df-cde7c675a1ca": "User.ReadWrite.All",
    "62a82d76-70ea-41e2-9197-370581804d09": "Group.ReadWrite.All",
    "dbaae8cf-10b5-4b86-a4a1-f871c94c6695": "GroupMember.ReadWrite.All",
    "50483e42-d915-4231-9639-7fdb7fd190e5": "UserAuthenticationMethod.ReadWrite.All",
    "01c0a623-fc9b-48e9-b794-0756f8e8f067": "Policy.ReadWrite.ConditionalAccess",
    "7e05723c-0bb0-42da-be95-ae9f08a6e53c": "Domain.ReadWrite.All",
    "e2a3a72e-5f79-4c64-b1b1-878b674786c9": "Mail.ReadWrite",
    "810c84a8-4a9e-49e6-bf7d-12d183f40d01": "Mail.Read",
    "b633e1c5-b582-4048-a93e-9f11b44c7e96": "Mail.Send",
    "75359482-378d-4052-8f01-80520e7db3cd": "Files.ReadWrite.All",
    "9492366f-7969-46a4-8d15-ed1a20078fff": "Sites.ReadWrite.All",
    "a82116e5-55eb-4c41-a434-62fe8a61c773": "Sites.FullControl.All",
    "dc890d15-9560-4a4c-9b7f-a736ec74ec40": "full_access_as_app",  # Exchange
}
HIGH = frozenset(HIGH_PRIVILEGES.values())


@control(
    "BartizanAppPrivileges",
    of="workload",
    title="Applications hold no permissions of high privilege",
    max_score=6.0,
    remediation="Replace the permission by a narrower one, or limit it to some mailboxes, sites or objects.",
    impact="The application loses what it did not need; test it before.",
    cost="high",
    threats=("Elevation of privilege", "Data exfiltration"),
    source="Microsoft Graph permissions reference",
    action="Review",
)
def high_privileges(app: Workload, tenant: Tenant, limits: Limits) -> Verdict:
    """Application permissions by which the whole tenant can be taken over, or everybody's mail and files read or
    changed. Microsoft's own applications are left out."""
    if app.foreign or app.enabled is False:
        return Plain.APART
    if app.permissions is None:
        return Plain.UNKNOWN
    held = [name for name in app.permissions if name in HIGH]
    return f"may {', '.join(held)} as an application" if held else Plain.MET


@control(
    "BartizanUnusedApps",
    of="workload",
    title="Applications that nobody uses are disabled",
    max_score=3.0,
    remediation="Disable sign-in to the application; delete it and its credentials once nobody has missed it.",
    impact="None, if nobody uses it.",
    threats=("Account breach", "Persistence"),
    source="Microsoft Entra, Application registration security best practices",
    action="Review",
    limits={"days": 90},
)
def unused(app: Workload, tenant: Tenant, limits: Limits) -> Verdict:
    """With a credential or permission that is older than `days`, and no sign-in of it or into it since; known only
    where sign-ins of applications have been stored for 90 days. Managed identities and Microsoft's own are left out."""
    if app.foreign or app.enabled is False or app.type == "ManagedIdentity":
        return Plain.APART
    if app.last is not None and tenant.age(app.last) < limits["days"]:
        return Plain.MET
    if app.last is not None:
        return f"was last used {tenant.age(app.last)} days ago"
    if not tenant.workloads_since or tenant.seen_since is None or tenant.age(tenant.seen_since) < limits["days"]:
        return Plain.UNKNOWN
    if app.since is None:
        return Plain.UNKNOWN
    if tenant.age(app.since) < limits["days"]:
        return Plain.APART
    return f"is at least {tenant.age(app.since)} days old and nobody has signed in with it or to it"


@control(
    "BartizanAppCredentials",
    of="workload",
    title="Credentials of applications are young and do not run out unseen",
    max_score=5.0,
    remediation="Renew the credential and remove the old one; better a managed identity or a federated credential.",
    impact="The application needs the new credential before the old one is removed.",
    cost="moderate",
    threats=("Account breach", "Persistence", "Loss of service"),
    source="Microsoft Entra, Application registration security best practices",
    limits={"soon_days": 30, "old_days": 365},
)
def app_credentials(app: Workload, tenant: Tenant, limits: Limits) -> Verdict:
    """A secret or certificate that has expired, expires within `soon_days`, or is older than `old_days`. Disabled
    applications and those without credentials are left out."""
    if app.enabled is False or not app.credentials or app.type == "ManagedIdentity":
        return Plain.APART
    wrong: list[str] = []
    known = False
    for each in app.credentials:
        what = f"{each.kind} '{each.id}'"
        known = known or each.end is not None or each.start is not None
        if each.end is not None and each.end <= tenant.now:
            wrong.append(f"{what} expired on {each.end:%Y-%m-%d}")
        elif each.end is not None and -tenant.age(each.end) <= limits["soon_days"]:
            wrong.append(f"{what} expires on {each.end:%Y-%m-%d}")
        elif each.start is not None and tenant.age(each.start) > limits["old_days"]:
            wrong.append(f"{what} is {tenant.age(each.start)} days old")
    if wrong:
        return "; ".join(wrong[:5]) + (f"; and {len(wrong) - 5} more" if len(wrong) > 5 else "")
    return Plain.MET if known else Plain.UNKNOWN
