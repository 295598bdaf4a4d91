"""How users prove who they are: registration for multifactor authentication, legacy clients.

Source: Microsoft Entra, "Block legacy authentication with Conditional Access" and the client apps of sign-in logs.
"""

from bartizan.identity.posture.control import Limits, Plain, Verdict, control
from bartizan.identity.posture.facts import Tenant, User


@control(
    "BartizanUserMFA",
    of="user",
    title="Every user is registered for multifactor authentication",
    max_score=9.0,
    remediation="Ask each user to register an authenticator or a passkey, then require it by conditional access.",
    impact="Users register once and are asked for a second factor when a sign-in is new or risky.",
    user_impact="moderate",
    cost="moderate",
    threats=("Account breach", "Password cracking"),
    source="Microsoft Entra, userRegistrationDetails: isMfaRegistered",
)
def user_mfa(user: User, tenant: Tenant, limits: Limits) -> Verdict:
    """By the registration reports; a sign-in that multifactor authentication was given for proves it as well. Disabled
    accounts and those of a directory synchronisation are left out."""
    if user.enabled is False or user.syncs:
        return Plain.APART
    if user.mfa is None:
        return Plain.UNKNOWN
    return Plain.MET if user.mfa else "is not registered for multifactor authentication"


@control(
    "BartizanAdminMFA",
    of="user",
    title="Every administrator is registered for multifactor authentication",
    max_score=10.0,
    remediation="Register a phishing-resistant method for each administrator, and require it for their roles.",
    impact="Administrators are asked for a second factor at each sign-in.",
    threats=("Account breach", "Elevation of privilege"),
    source="Microsoft Entra, userRegistrationDetails; Microsoft Entra built-in roles",
)
def admin_mfa(user: User, tenant: Tenant, limits: Limits) -> Verdict:
    """As above, of those who hold a directory role that can change something, directly or through groups."""
    if user.enabled is False or user.syncs or user.admin is False:
        return Plain.APART
    if user.admin is None or user.mfa is None:
        return Plain.UNKNOWN
    return Plain.MET if user.mfa else f"is not registered for multifactor authentication; holds {user.holds()}"


@control(
    "BartizanLegacyAuthentication",
    of="user",
    title="Nobody signs in by legacy authentication",
    max_score=8.0,
    remediation="Move the clients to modern authentication, then block legacy authentication by conditional access.",
    impact="Old mail clients and scripts that send a password with each request stop working.",
    user_impact="moderate",
    cost="moderate",
    threats=("Password spray", "Account breach"),
    source="Microsoft Entra, sign-in logs: client app used",
    limits={"days": 30},
)
def legacy_authentication(user: User, tenant: Tenant, limits: Limits) -> Verdict:
    """Successful sign-ins by a legacy client within `days`: attempts that fail are somebody else's. Who has not signed
    in at all is left out."""
    used = [(name, when) for name, when in user.legacy if tenant.age(when) < limits["days"]]
    if used:
        name, when = max(used, key=lambda each: each[1])
        more = f" and {len(used) - 1} more" if len(used) > 1 else ""
        return f"signed in by {name}{more}, last on {when:%Y-%m-%d}"
    if not tenant.fresh_sign_ins or not tenant.legacy_read:
        return Plain.UNKNOWN
    return Plain.MET if user.recent and tenant.age(user.recent[0].at) < limits["days"] else Plain.APART
