"""Accounts that nobody needs, or that nobody answers for: stale, never used, shared.

Source: Microsoft Entra, "How to manage inactive user accounts".
"""

from datetime import timedelta

from bartizan.identity.posture.control import Limits, Plain, Verdict, control
from bartizan.identity.posture.facts import Tenant, User

SHARED_WITHIN = timedelta(hours=1)


@control(
    "BartizanStaleUsers",
    of="user",
    title="Accounts that are not used any more are disabled",
    max_score=5.0,
    remediation="Ask the manager, then disable the account; delete it once nobody has missed it.",
    impact="Somebody who comes back after a long time has to have the account enabled.",
    threats=("Account breach", "Dormant account takeover"),
    source="Microsoft Entra, How to manage inactive user accounts",
    action="Review",
    limits={"days": 90},
)
def stale(user: User, tenant: Tenant, limits: Limits) -> Verdict:
    """No successful sign-in for `days`, by the directory's own account or the sign-ins stored here. That none is stored
    says so only where sign-ins have been stored for as long."""
    if user.enabled is False or user.syncs:
        return Plain.APART
    if user.last is not None:
        age = tenant.age(user.last)
        return Plain.MET if age < limits["days"] else f"last signed in {age} days ago ({user.last:%Y-%m-%d})"
    if user.created is not None and (tenant.age(user.created) < limits["days"] or _never(user, tenant)):
        return Plain.APART  # new, or never used: a control of its own
    if tenant.seen_since is None or tenant.age(tenant.seen_since) < limits["days"]:
        return Plain.UNKNOWN
    return f"has not signed in since {tenant.seen_since:%Y-%m-%d}, when sign-ins began to be stored"


@control(
    "BartizanNeverUsedUsers",
    of="user",
    title="Accounts that were never used are disabled",
    max_score=4.0,
    remediation="Disable the account until its owner starts; its first password may lie in a mailbox or a ticket.",
    impact="A new starter has to have the account enabled on the first day.",
    threats=("Account breach", "Dormant account takeover"),
    source="Microsoft Entra, How to manage inactive user accounts",
    action="Review",
    limits={"days": 30},
)
def never_used(user: User, tenant: Tenant, limits: Limits) -> Verdict:
    """Made more than `days` ago and never signed in: the directory tells of the sign-ins of most users and of none of
    this one, or sign-ins have been stored since before it was made."""
    if user.enabled is False or user.syncs:
        return Plain.APART
    if user.last is not None:
        return Plain.MET
    if user.created is None:
        return Plain.UNKNOWN
    if tenant.age(user.created) < limits["days"]:
        return Plain.APART
    if not _never(user, tenant):
        return Plain.UNKNOWN
    return f"was made {tenant.age(user.created)} days ago and has never signed in"


def _never(user: User, tenant: Tenant) -> bool:
    assert user.created is not None
    return tenant.reports_activity or (tenant.seen_since is not None and tenant.seen_since <= user.created)


@control(
    "BartizanSharedAccounts",
    of="user",
    title="No account is used by many people at once",
    max_score=4.0,
    remediation="Give each person an account of their own; make the mailbox a shared one that they may open.",
    impact="Those who shared the account sign in as themselves.",
    user_impact="moderate",
    cost="moderate",
    tier="Defense in Depth",
    threats=("Account breach", "Data exfiltration"),
    source="This server's own rule",
    action="Behavior",
    limits={"devices": 3, "places": 3, "days": 2},
)
def shared(user: User, tenant: Tenant, limits: Limits) -> Verdict:
    """On `days` different days, successful sign-ins within one hour from `devices` registered devices in `places`
    cities. One person with a notebook, a telephone and a VPN has fewer; one takeover is one day. Who has no sign-ins
    with device and city is left out."""
    told = [each for each in user.recent if each.device and each.place]
    if user.enabled is False:
        return Plain.APART
    if not told:
        return Plain.APART if tenant.fresh_sign_ins or user.recent else Plain.UNKNOWN
    days: set[str] = set()
    most = (0, 0)
    for first in told:
        near = [each for each in told if timedelta(0) <= each.at - first.at <= SHARED_WITHIN]
        found = (len({each.device for each in near}), len({each.place for each in near}))
        if found[0] >= limits["devices"] and found[1] >= limits["places"]:
            days.add(f"{first.at:%Y-%m-%d}")
            most = max(most, found)
    if len(days) < limits["days"]:
        return Plain.MET
    return f"was used from {most[0]} devices in {most[1]} cities within one hour, on {len(days)} days"
