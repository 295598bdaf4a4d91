"""What the directory says, and what is changed in it: roles, consent, passwords of an on-premises directory."""

import time
from typing import Any

import pytest
from tests.identity.live.conftest import TENANT, bring, evaluate, rows, run
from tests.identity.streams import DAY, instant, quiet, spray

from bartizan.app.assembly import fed
from bartizan.identity.stage import IdentityStage
from bartizan.store import Store, Tx, draft

pytestmark = pytest.mark.anyio

APP = "5e7d0c1e-0000-4000-8000-000000000001"


def consent(n: int, activity: str = "Consent to application", days_ago: int = 3) -> dict[str, Any]:
    """One of u{n}, at nine and n minutes. Of late: low risk ages."""
    at = (time.time() // DAY - days_ago) * DAY + 9 * 3600 + 60 * n
    return {
        "id": f"consent-{activity[:3]}-{days_ago}-{n}",
        "activityDateTime": instant(at),
        "activityDisplayName": activity,
        "result": "success",
        "loggedByService": "Core Directory",
        "initiatedBy": {"user": {"id": f"u{n}", "userPrincipalName": f"u{n}@northwall.example"}},
        "targetResources": [{"id": APP, "displayName": "Mail Helper", "type": "ServicePrincipal"}],
    }


async def given_role(store: Store, user: str) -> None:
    """As a directory's synchronisation brings it: the user's own record stays as it is."""
    role = draft(fed()["directoryRoles"], {"displayName": "Cloud Application Administrator"}, "role-1")

    def work(tx: Tx) -> None:
        tx.put(role)
        tx.relate("members", "role-1", "users", user)

    await store.tenant(TENANT).write(work, actor="test")


async def test_consent_of_many_is_one_risk_of_the_application_a_day(store: Store) -> None:
    await evaluate(store, list(quiet(8, 3)))
    stage = IdentityStage(store, fed())
    for activity in ("Consent to application", "Add delegated permission grant"):  # Entra tells of both
        for n in range(7):
            await bring(store, [consent(n, activity)], of="directoryAudits")
            await run(stage)
    (found,) = (await rows(store, "servicePrincipalRiskDetections")).values()
    assert (found["riskEventType"], found["servicePrincipalId"]) == ("suspiciousApplication", APP)
    assert await rows(store, "riskDetections") == {} == await rows(store, "riskyUsers")
    (risky,) = (await rows(store, "riskyServicePrincipals")).values()
    assert (risky["id"], risky["riskState"]) == (APP, "atRisk")
    again = [consent(n, days_ago=1) for n in range(7)]
    await bring(store, again, of="directoryAudits")
    await run(stage)
    assert len(await rows(store, "servicePrincipalRiskDetections")) == 2, "another day"


async def test_a_role_that_is_given_after_the_users_record_counts(store: Store) -> None:
    """What an administrator consents to is no risk, whenever he became one."""
    await bring(store, [{"id": "u0", "userPrincipalName": "u0@northwall.example"}], of="users")
    await evaluate(store, list(quiet(8, 3)))
    await given_role(store, "u0")
    stage = IdentityStage(store, fed())
    await bring(store, [consent(n) for n in range(8)], of="directoryAudits")
    await run(stage)
    assert await rows(store, "servicePrincipalRiskDetections") == {}


@pytest.mark.parametrize(("ends", "state"), [(True, "remediated"), (False, "atRisk")])
async def test_a_password_changed_on_premises_ends_risk_where_that_is_set(store: Store, ends: bool, state: str) -> None:
    user = {
        "id": "u1",
        "userPrincipalName": "u1@northwall.example",
        "onPremisesSyncEnabled": True,
        "lastPasswordChangeDateTime": "2026-01-01T00:00:00Z",
    }
    await bring(store, [user], of="users")
    documents = [*quiet(8, 14), *spray(8, 13.1)]
    await evaluate(store, sorted(documents, key=lambda each: str(each["createdDateTime"])))
    stage = IdentityStage(store, fed(), on_premises=ends)
    changed = {**user, "lastPasswordChangeDateTime": "2026-03-15T20:00:00Z"}
    of_user = draft(fed()["users"], changed, "u1")
    told = {"lastPasswordChangeDateTime": (user["lastPasswordChangeDateTime"], changed["lastPasswordChangeDateTime"])}
    await store.tenant(TENANT).write(lambda tx: tx.put(of_user, changed=told), actor="test")
    await run(stage)
    assert (await rows(store, "riskyUsers"))["u1"]["riskState"] == state
