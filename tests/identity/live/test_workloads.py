"""Risk of service principals through the stage: detections, who is at risk, history, alert, and what people decide."""

from collections.abc import Iterator
from typing import Any

import pytest
from tests.identity.live.conftest import TENANT, bring, evaluate, rows, run
from tests.identity.streams import DAY, START, quiet, sign_in

from bartizan.app.assembly import fed
from bartizan.identity.outcome import finish, reckon
from bartizan.identity.risk import ACTIONS
from bartizan.identity.shapes import WORKLOADS
from bartizan.identity.stage import IdentityStage
from bartizan.store import Store, Tx

pytestmark = pytest.mark.anyio

SYNC = "c0ffee00-0000-4000-8000-000000000001"


def workload(id: str, at: float, **given: Any) -> dict[str, Any]:
    body = sign_in(id, at, "", **{"agent": "sync/3.1", "address": "198.51.100.40", **given})
    return {
        **{name: value for name, value in body.items() if not name.startswith("user") or name == "userAgent"},
        "servicePrincipalId": SYNC,
        "servicePrincipalName": "Directory sync",
        "appId": "c0ffee00-0000-4000-8000-00000000000a",
        "servicePrincipalCredentialKeyId": given.get("key", "key-1"),
        "isInteractive": False,
        "signInEventTypes": ["servicePrincipal"],
        "resourceDisplayName": "Microsoft Graph",
    }


def nightly(days: int) -> Iterator[dict[str, Any]]:
    for day in range(days):
        for hour in (2, 14):
            yield workload(f"n-{day}-{hour}", START + day * DAY + hour * 3600)


STOLEN = {
    "address": "203.0.113.50", "asn": 65551, "country": "BR", "city": "Recife", "place": (-8.05, -34.9),
    "agent": "python-requests/2.31", "app": "Azure Portal", "key": "key-2",
}  # fmt: skip


async def test_a_stolen_secret_is_a_risk_of_the_workload(store: Store) -> None:
    documents = [*quiet(4, 14), *nightly(14), workload("theft", START + 13.9 * DAY, **STOLEN)]
    await evaluate(store, sorted(documents, key=lambda each: str(each["createdDateTime"])))
    theft = (await rows(store, "signIns"))["theft"]
    assert theft["riskState"] == "atRisk"
    assert "suspiciousSignins" in theft["riskEventTypes_v2"]
    found = await rows(store, "servicePrincipalRiskDetections")
    assert {each["requestId"] for each in found.values()} == {"theft"}
    told = next(each for each in found.values() if each["riskEventType"] == "suspiciousSignins")
    assert (told["servicePrincipalId"], told["servicePrincipalDisplayName"]) == (SYNC, "Directory sync")
    assert told["keyIds"] == ["key-2"]
    assert await rows(store, "riskDetections") == {} == await rows(store, "riskyUsers")
    (risky,) = (await rows(store, "riskyServicePrincipals")).values()
    assert (risky["id"], risky["riskState"], risky["riskLevel"]) == (SYNC, "atRisk", theft["riskLevelAggregated"])
    history = await rows(store, "riskyServicePrincipalHistory")
    assert [each["servicePrincipalId"] for each in history.values()] == [SYNC]
    (alert,) = (await rows(store, "alerts_v2")).values()
    assert alert["evidence"][0]["@odata.type"] == "#microsoft.graph.security.servicePrincipalEvidence"
    assert alert["evidence"][0]["servicePrincipalObjectId"] == SYNC


async def test_a_dismissed_workload_stays_so_until_new_risk(store: Store) -> None:
    documents = [*quiet(4, 14), *nightly(14), workload("theft", START + 13.9 * DAY, **STOLEN)]
    await evaluate(store, sorted(documents, key=lambda each: str(each["createdDateTime"])))
    one = store.tenant(TENANT)

    def work(tx: Tx) -> None:
        reckon(tx, fed(), WORKLOADS, SYNC, ACTIONS["dismissWorkload"], by="admin", processing=True)

    await one.write(work, actor="admin")
    await finish(one, fed(), WORKLOADS, SYNC, "admin")
    stage = IdentityStage(store, fed())
    await run(stage)
    risky = (await rows(store, "riskyServicePrincipals"))[SYNC]
    assert (risky["riskState"], risky["riskLevel"]) == ("dismissed", "none")
    assert (await rows(store, "signIns"))["theft"]["riskState"] == "dismissed"
    await bring(store, [workload("again", START + 15 * DAY, **{**STOLEN, "address": "192.0.2.77", "asn": 65552})])
    await run(stage)
    risky = (await rows(store, "riskyServicePrincipals"))[SYNC]
    assert risky["riskState"] == "atRisk" and risky["riskLevel"] != "none"
    assert (await rows(store, "signIns"))["theft"]["riskState"] == "dismissed"
