"""Who holds directory roles: how many, from where, with which accounts.

Source: Microsoft Entra, "Best practices for Microsoft Entra roles".
"""

from collections.abc import Sequence

from bartizan.identity.posture.control import Affected, Limits, Plain, Verdict, control
from bartizan.identity.posture.facts import GLOBAL_ADMINISTRATOR, Tenant, User

_BEST = "Microsoft Entra, Best practices for Microsoft Entra roles"


@control(
    "BartizanGuestRoles",
    of="user",
    title="Guests hold no directory roles",
    max_score=5.0,
    remediation="Take the role away; who has to administer gets an account of this organisation.",
    impact="Partners lose what the role allowed.",
    threats=("Elevation of privilege", "Account breach"),
    source=_BEST,
    action="Review",
)
def guest_roles(user: User, tenant: Tenant, limits: Limits) -> Verdict:
    """Guests with a directory role that can change something, directly or through groups."""
    if user.guest is not True or user.enabled is False:
        return Plain.APART
    if user.roles is None:
        return Plain.UNKNOWN
    return f"is a guest and holds {user.holds()}" if any(role.privileged for role in user.roles) else Plain.MET


@control(
    "BartizanDisabledAdmins",
    of="user",
    title="Disabled accounts hold no directory roles",
    max_score=2.0,
    remediation="Take the roles away: whoever enables the account would otherwise make an administrator.",
    impact="None.",
    threats=("Elevation of privilege",),
    source=_BEST,
    action="Review",
)
def disabled_roles(user: User, tenant: Tenant, limits: Limits) -> Verdict:
    """Disabled accounts with a directory role that can change something."""
    if user.enabled is not False:
        return Plain.APART
    if user.roles is None:
        return Plain.UNKNOWN
    return f"is disabled and holds {user.holds()}" if any(role.privileged for role in user.roles) else Plain.MET


@control(
    "BartizanCloudOnlyAdmins",
    of="user",
    title="Administrators have cloud accounts, not synchronised ones",
    max_score=4.0,
    remediation="Give the administrator a cloud-only account for the role; take the role from the synchronised one.",
    impact="Administrators have a second account.",
    tier="Defense in Depth",
    threats=("Elevation of privilege", "Lateral movement"),
    source=_BEST,
)
def synchronised_admins(user: User, tenant: Tenant, limits: Limits) -> Verdict:
    """Whoever takes over the directory on premises takes over synchronised administrators with it. Where the directory
    says of nobody whether it is synchronised, nothing is known."""
    if user.enabled is False or user.syncs or user.admin is False:
        return Plain.APART
    if user.admin is None or user.synchronised is None:
        return Plain.UNKNOWN
    return f"is synchronised from a directory on premises and holds {user.holds()}" if user.synchronised else Plain.MET


@control(
    "BartizanAdminDailyAccount",
    of="user",
    title="Global administrators do not read mail with the account that administers",
    max_score=3.0,
    remediation="Use an account without a mailbox for the role, and another one for the day's work.",
    impact="Administrators have a second account.",
    tier="Defense in Depth",
    threats=("Phishing", "Elevation of privilege"),
    source=_BEST,
    action="Behavior",
)
def daily_admins(user: User, tenant: Tenant, limits: Limits) -> Verdict:
    """Global administrators whose account has licences and an address for mail. Without licences nothing is known."""
    if user.enabled is False:
        return Plain.APART
    if user.roles is None:
        return Plain.UNKNOWN
    if not any(role.template == GLOBAL_ADMINISTRATOR for role in user.roles):
        return Plain.APART
    if user.mailbox is None:
        return Plain.UNKNOWN
    return "is a global administrator with a licensed mailbox" if user.mailbox else Plain.MET


@control(
    "BartizanGlobalAdmins",
    of="tenant",
    title="There are between two and four global administrators",
    max_score=4.0,
    remediation="Give narrower roles to those who do not need all; keep two, one of them for emergencies.",
    impact="Some administrators have a narrower role.",
    threats=("Elevation of privilege", "Loss of access"),
    source=_BEST,
    action="Review",
    limits={"least": 2, "most": 4},
)
def global_admins(tenant: Tenant, same: Tenant, limits: Limits) -> Plain | Sequence[Affected]:
    """Enabled accounts that hold the role, directly or through groups. With more than `most` each of them is named."""
    if tenant.global_admins is None:
        return Plain.UNKNOWN
    count = len(tenant.global_admins)
    if count > limits["most"]:
        reason = f"is one of {count} global administrators; at most {limits['most']} are advised"
        return [Affected("user", id, name, reason) for id, name in tenant.global_admins]
    if count < limits["least"]:
        reason = f"has {count} global administrators; fewer than {limits['least']} may lock everybody out"
        return [Affected("tenant", "tenant", "the tenant", reason)]
    return Plain.MET
