"""Documents of the store as what the engine reads, and what they say beyond it: passwords that were changed, second
factors that a policy asked for.

Source: Microsoft Graph, resources signIn, directoryAudit, user; activities of the audit log of
Microsoft Entra.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from bartizan.identity.events import Audit, audit, seconds
from bartizan.identity.shapes import OURS
from bartizan.identity.view import Account
from bartizan.odata.tree import Compare, Literal, Path
from bartizan.store.interface import Collection, Query, Stored, TenantStore

ROLES = "directoryRoles"
READ_ROWS = 1_000
MOST_ROLES = 1_000  # the directory itself has some hundred kinds


def passed_multifactor(body: Mapping[str, Any]) -> bool:
    """A second factor was given because a policy asked for it on account of risk."""
    status = body.get("status") or {}
    if status.get("errorCode") not in (0, None) or body.get("authenticationRequirement") != "multiFactorAuthentication":
        return False
    for policy in body.get("appliedConditionalAccessPolicies") or ():
        met = f"{policy.get('conditionsSatisfied') or ''}".casefold()
        controls = [str(each).casefold() for each in policy.get("enforcedGrantControls") or ()]
        if policy.get("result") == "success" and "mfa" in controls and ("signinrisk" in met or "userrisk" in met):
            return True
    return False


# Activities of the directory by which a risk ends.
PASSWORDS = {
    "reset password (self-service)": "securePasswordReset",
    "change password (self-service)": "securePasswordChange",
    "change user password": "securePasswordChange",
    "reset user password": "temporaryPassword",
    "reset password (by admin)": "temporaryPassword",
}


def directory_audit(body: Mapping[str, Any]) -> Audit | None:
    """None for the audit of this server itself: it tells of what people do here, not of the organisation."""
    return None if body.get("loggedByService") == OURS else audit(body)


async def roles_of(store: TenantStore, sets: Mapping[str, Collection]) -> frozenset[str] | None:
    """Ids of the directory's roles; None where they are too many to hold."""
    if ROLES not in sets:
        return frozenset()
    page = await store.page(ROLES, Query(MOST_ROLES, bare=True))
    return None if page.more else frozenset(row.id for row in page.rows)


async def account_of(store: TenantStore, roles: frozenset[str] | None, user: Mapping[str, Any]) -> Account:
    """`roles` as `roles_of` gives them."""
    activity = user.get("signInActivity") or {}
    last = activity.get("lastSuccessfulSignInDateTime") or activity.get("lastSignInDateTime")
    administrator = False
    if roles is None or roles:
        for group in await store.relating("members", "users", str(user["id"]), limit=200):
            if group in roles if roles is not None else await store.get(ROLES, group) is not None:
                administrator = True
                break
    created = user.get("createdDateTime")
    return Account(
        created=seconds(created) if created else 0.0,
        last=seconds(last) if last else 0.0,
        administrator=administrator,
    )


async def newer(store: TenantStore, collection: str, column: str, since: str) -> AsyncIterator[Stored]:
    later = Compare("ge", Path((column,), kind="instant"), Literal(since, "instant"))
    after: Any = None
    while True:
        page = await store.page(collection, Query(READ_ROWS, later, after=after, version="beta"))
        for row in page.rows:
            yield row
        if not page.more:
            return
        after = page.last
