"""Conditional access that should be there: on risky sign-ins, on risky users, against legacy clients.

Source: Microsoft Entra, "Conditional Access templates" and "Risk-based access policies".
"""

from collections.abc import Callable, Sequence

from bartizan.identity.posture.control import Affected, Limits, Plain, control
from bartizan.identity.posture.facts import Policy, Tenant

_TEMPLATES = "Microsoft Entra, Conditional Access templates"
_MODERN = frozenset({"browser", "mobileAppsAndDesktopClients"})
_STOPS = frozenset({"mfa", "block"})
Answer = Plain | Sequence[Affected]


def _asked(tenant: Tenant, fits: Callable[[Policy], bool], missing: str) -> Answer:
    """Met by one policy that is on and for everybody; otherwise those that come near are named, or the tenant."""
    if tenant.policies is None:
        return Plain.UNKNOWN
    near = [each for each in tenant.policies if fits(each)]
    if any(each.state == "enabled" and each.everyone for each in near):
        return Plain.MET
    found = [
        Affected("conditionalAccessPolicy", each.id, each.name, "; ".join((missing, _short(each)))) for each in near
    ]
    return found or [Affected("tenant", "tenant", "the tenant", missing)]


def _modern(policy: Policy) -> bool:
    return policy.clients == {"all"} or policy.clients >= _MODERN or not policy.clients


def _short(policy: Policy) -> str:
    if policy.state == "enabled":
        return "this one is not for all users and applications"
    return "this one is disabled" if policy.state == "disabled" else "this one only reports what it would have done"


@control(
    "BartizanSignInRiskPolicy",
    of="tenant",
    title="Risky sign-ins are blocked or asked for multifactor authentication",
    max_score=7.0,
    remediation="Enable a conditional access policy for all users on high (and medium) sign-in risk that requires MFA.",
    impact="Who signs in under unusual circumstances is asked for a second factor.",
    user_impact="moderate",
    threats=("Account breach", "Password spray"),
    source=_TEMPLATES,
)
def sign_in_risk(tenant: Tenant, same: Tenant, limits: Limits) -> Answer:
    """An enabled policy for all users and applications on high sign-in risk that blocks or requires MFA."""

    def fits(policy: Policy) -> bool:
        stops = bool(policy.controls & _STOPS)
        return "high" in policy.sign_in_risk and not policy.user_risk and _modern(policy) and stops

    return _asked(tenant, fits, "no enabled policy for everybody acts on high sign-in risk")


@control(
    "BartizanUserRiskPolicy",
    of="tenant",
    title="Risky users have to change their password or are blocked",
    max_score=7.0,
    remediation="Enable a conditional access policy for all users on high user risk that requires a password change.",
    impact="A user whose account is likely in other hands has to prove who they are and change the password.",
    user_impact="moderate",
    threats=("Account breach", "Leaked credentials"),
    source=_TEMPLATES,
)
def user_risk(tenant: Tenant, same: Tenant, limits: Limits) -> Answer:
    """An enabled policy for all users and applications on high user risk that blocks, or requires a password change or
    MFA."""

    def fits(policy: Policy) -> bool:
        stops = bool(policy.controls & {"passwordChange", *_STOPS})
        return "high" in policy.user_risk and not policy.sign_in_risk and _modern(policy) and stops

    return _asked(tenant, fits, "no enabled policy for everybody acts on high user risk")


@control(
    "BartizanBlockLegacyAuthentication",
    of="tenant",
    title="Legacy authentication is blocked",
    max_score=8.0,
    remediation="Enable a conditional access policy for all users that blocks Exchange ActiveSync and other clients.",
    impact="Old mail clients and scripts that send a password with each request stop working.",
    user_impact="moderate",
    threats=("Password spray", "Account breach"),
    source=_TEMPLATES,
)
def block_legacy(tenant: Tenant, same: Tenant, limits: Limits) -> Answer:
    """An enabled policy for all users and applications that blocks the client types exchangeActiveSync and other."""

    def fits(policy: Policy) -> bool:
        risk = policy.sign_in_risk | policy.user_risk
        return policy.clients >= {"exchangeActiveSync", "other"} and not risk and "block" in policy.controls

    return _asked(tenant, fits, "no enabled policy for everybody blocks legacy authentication")
