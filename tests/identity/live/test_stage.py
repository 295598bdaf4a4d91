"""Identity protection on the feed, on both engines of the store: sign-ins come in, and risk with its reasons out."""

from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.identity.live.conftest import TENANT, bring, ended, evaluate, rows, run
from tests.identity.streams import DAY, MAC, START, quiet, sign_in, spray, written

from bartizan.app.assembly import declared, fed
from bartizan.correlate.stage import CorrelateStage
from bartizan.identity import outcome
from bartizan.identity.outcome import finish, follow, reckon
from bartizan.identity.replay import replay
from bartizan.identity.risk import ACTIONS
from bartizan.identity.shapes import OURS, USERS
from bartizan.identity.shards import POSITION
from bartizan.identity.stage import IdentityStage
from bartizan.store import Query, Store, Tx, open_store

pytestmark = pytest.mark.anyio

RISK = ("riskLevelDuringSignIn", "riskLevelAggregated", "riskState", "riskDetail")


def stream(days: int = 16, attack: float = 13.1) -> list[dict[str, Any]]:
    documents = [*quiet(8, days), *spray(8, attack)]
    return sorted(documents, key=lambda each: str(each["createdDateTime"]))


async def test_an_attack_becomes_risk_with_its_reasons(store: Store) -> None:
    await evaluate(store, stream())
    signs = await rows(store, "signIns")
    assert signs["a-right"]["riskLevelAggregated"] == signs["a-then-3"]["riskLevelAggregated"] == "high"
    assert signs["a-right"]["riskLevelDuringSignIn"] == "high"
    assert signs["a-right"]["riskState"] == "atRisk"
    assert "passwordSpray" in signs["a-right"]["riskEventTypes_v2"]
    assert all(
        each["riskLevelAggregated"] in (None, "none", "low") for id, each in signs.items() if id.startswith("q-")
    )
    detections = await rows(store, "riskDetections")
    mine = [each for each in detections.values() if each["requestId"] == "a-right"]
    assert {"passwordSpray", "unfamiliarFeatures"} <= {each["riskEventType"] for each in mine}
    spread = next(each for each in mine if each["riskEventType"] == "passwordSpray")
    told = {pair["Key"]: pair["Value"] for pair in msgspec.json.decode(spread["additionalInfo"])}
    assert told["principalsWithWrongCredentials"] == 6
    assert {"name": "place", "logOdds": 2.8} in told["contributions"]
    users = await rows(store, "riskyUsers")
    assert {(each["id"], each["riskLevel"], each["riskState"]) for each in users.values()} == {("u1", "high", "atRisk")}
    history = await rows(store, "riskyUserHistory")
    assert history and all(each["userId"] == "u1" for each in history.values())


async def test_a_risk_raises_one_alert_that_joins_an_incident(store: Store) -> None:
    await evaluate(store, stream())
    correlate = CorrelateStage(store)
    while await correlate.step():
        pass
    alerts = await rows(store, "alerts_v2")
    signs = await rows(store, "signIns")
    risky = {id for id, each in signs.items() if each["riskLevelAggregated"] in ("medium", "high")}
    assert sorted(each["additionalData"]["signInId"] for each in alerts.values()) == sorted(risky)
    assert all(each["incidentId"] for each in alerts.values())
    assert {each["detectionSource"] for each in alerts.values()} == {"azureAdIdentityProtection"}


async def test_what_comes_again_changes_nothing(store: Store) -> None:
    documents = stream()
    await evaluate(store, documents)
    before = [await rows(store, each) for each in ("signIns", "riskDetections", "riskyUsers", "riskyUserHistory")]
    await evaluate(store, documents)
    after = [await rows(store, each) for each in ("signIns", "riskDetections", "riskyUsers", "riskyUserHistory")]
    assert after == before


async def test_the_end_is_that_of_a_replay_whatever_the_order(store: Store, tmp_path: Path) -> None:
    """What is older than two days is settled, by the same engine as a replay."""
    documents = stream()
    late = {each["id"] for n, each in enumerate(documents) if n % 17 == 0}
    order = sorted(documents, key=lambda each: (_hour(each) + (30 if each["id"] in late else 0), each["id"]))
    await evaluate(store, order)
    signs = await rows(store, "signIns")
    ended = {line.id: line.level for line in replay(written(tmp_path / "replay", documents), 1)}
    until = max(_hour(each) for each in documents) - 48
    for each in documents:
        if _hour(each) <= until and each["status"]["errorCode"] == 0:
            assert (signs[each["id"]]["riskLevelAggregated"] or "none") == ended[each["id"]], each["id"]


async def test_who_had_mistyped_is_known_after_a_restart(store: Store, tmp_path: Path) -> None:
    """What an accepted sign-in takes from failures that others' rows hold is written with it: a stage that starts anew
    with each part ends as one that runs through."""
    documents: list[dict[str, Any]] = []
    for n in range(9):  # one carrier, one program, each at an address of his own; every other one comes in after it
        for turn, code in enumerate((50126, 0) if n % 2 else (50126,)):
            where = {"address": f"203.0.{n}.9", "asn": 65560, "country": "SE", "agent": MAC}
            documents.append(sign_in(f"m-{n}-{turn}", START + n * 60 + turn * 3_600, f"u{n}", code=code, **where))
    for n in range(40):  # so that all of it is settled
        documents.append(sign_in(f"z-{n}", START + (3 + n / 10) * DAY, "u0"))
    documents.sort(key=lambda each: str(each["createdDateTime"]))
    alone = open_store(tmp_path / "alone", declared())
    await alone.start()
    try:
        stage = IdentityStage(alone, fed())
        for begin in range(0, len(documents), 4):
            await bring(alone, documents[begin : begin + 4])
            await run(stage)
        expected = await ended(alone)
    finally:
        await alone.close()
    await evaluate(store, documents, at_once=4)
    found = await ended(store)
    assert found == expected
    left = {f"u{n}" for n in range(0, 9, 2)}
    for which in ("l", "s"):
        burst, cluster = (f"1/{which}/b/{MAC}", f"1/{which}/k/65560 macOS/Safari")
        assert set(msgspec.json.decode(found["memory"][burst])[1]["users"]) == left
        held = msgspec.json.decode(found["memory"][cluster])[1]
        assert set(held["failed"]) == left
        assert set(held["accepted"]) == {f"u{n}" for n in range(1, 9, 2)}


def _hour(document: dict[str, Any]) -> float:
    from bartizan.identity.events import seconds

    return seconds(document["createdDateTime"]) / 3600


async def test_tenants_do_not_touch_each_other(store: Store) -> None:
    await evaluate(store, stream())
    await evaluate(store, list(quiet(8, 14)), tenant="other")
    assert await rows(store, "riskyUsers", "other") == {}
    assert await rows(store, "riskDetections", "other") == {}


async def test_a_dismissal_stays_and_new_risk_counts(store: Store) -> None:
    documents = stream(days=18)
    await evaluate(store, [each for each in documents if _hour(each) < _hour(documents[0]) + 24 * 13.12 + 8])
    stage = IdentityStage(store, fed())
    await decide(store, "dismissUser")
    await run(stage)
    user = (await rows(store, "riskyUsers"))["u1"]
    assert (user["riskState"], user["riskLevel"], user["isProcessing"]) == ("dismissed", "none", False)
    signs = await rows(store, "signIns")
    assert signs["a-right"]["riskState"] == "dismissed"
    assert all(each["riskState"] == "dismissed" for each in (await rows(store, "riskDetections")).values()
               if each["userId"] == "u1")  # fmt: skip
    again = [{**each, "id": f"again-{each['id']}"} for each in spray(8, 16.2, address="203.0.113.88")]
    await bring(store, again)
    await run(stage)
    user = (await rows(store, "riskyUsers"))["u1"]
    assert (user["riskState"], user["riskLevel"]) == ("atRisk", "high")
    assert (await rows(store, "signIns"))["a-right"]["riskState"] == "dismissed"


async def test_the_alert_of_a_dismissed_risk_keeps_its_severity(store: Store) -> None:
    await evaluate(store, stream())
    before = await rows(store, "alerts_v2")
    assert {each["severity"] for each in before.values()} == {"high"}
    assert {each["status"] for each in before.values()} == {"new"}
    await decide(store, "dismissUser")
    after = await rows(store, "alerts_v2")
    assert after.keys() == before.keys()
    assert {each["severity"] for each in after.values()} == {"high"}
    assert {each["status"] for each in after.values()} == {"resolved"}


async def test_the_own_change_of_a_password_ends_risk_but_not_from_where_the_risk_is(store: Store) -> None:
    def changed(id: str, hour: int, address: str) -> dict[str, Any]:
        user = {"id": "u1", "userPrincipalName": "u1@northwall.example", "ipAddress": address}
        return {
            "id": id,
            "activityDateTime": f"2026-03-15T{hour:02}:00:00Z",
            "activityDisplayName": "Change password (self-service)",
            "result": "success",
            "loggedByService": "Core Directory",
            "initiatedBy": {"user": user},
            "targetResources": [{"id": "u1", "type": "User"}, {"id": "u2", "type": "User"}],
        }

    await evaluate(store, [each for each in stream() if each["createdDateTime"] < "2026-03-15T09"])
    stage = IdentityStage(store, fed())
    await bring(store, [changed("by-thief", 10, "203.0.113.99")], of="directoryAudits")
    await run(stage)
    assert (await rows(store, "riskyUsers"))["u1"]["riskState"] == "atRisk"
    await bring(store, [changed("by-owner", 11, "198.51.1.7")], of="directoryAudits")
    await run(stage)
    user = (await rows(store, "riskyUsers"))["u1"]
    assert (user["riskState"], user["riskDetail"]) == ("remediated", "userPerformedSecuredPasswordChange")
    await evaluate(store, list(quiet(8, 20))[8 * 3 * 15 :])  # what waits is settled, these words among it


async def test_a_providers_level_is_not_lowered(store: Store) -> None:
    given = {
        "id": "u1",
        "userPrincipalName": "u1@northwall.example",
        "riskLevel": "high",
        "riskState": "atRisk",
        "riskDetail": "none",
        "riskLastUpdatedDateTime": "2026-03-14T00:00:00Z",
        "isProcessing": True,
    }
    await bring(store, [given], of="riskyUsers")
    await evaluate(store, list(quiet(8, 3)))
    user = (await rows(store, "riskyUsers"))["u1"]
    assert (user["riskLevel"], user["riskState"], user["isProcessing"]) == ("high", "atRisk", True)


AWAY = {
    "address": "203.0.113.66", "asn": 65551, "country": "BR", "city": "Recife", "place": (-8.05, -34.9), "agent": MAC,
}  # fmt: skip


@pytest.mark.parametrize(
    ("action", "after"), [("confirmSignInSafe", ("none",)), ("dismissSignIn", ("low", "medium", "high"))]
)
async def test_the_same_sign_in_on_the_next_day(store: Store, action: str, after: tuple[str, ...]) -> None:
    """What a person has called safe is known; what he has only dismissed is not, at once and in the end."""
    first = sign_in("away", START + 13.4 * DAY, "u1", session="s-away", **AWAY)
    documents = sorted([*quiet(8, 14), first], key=lambda each: str(each["createdDateTime"]))
    await evaluate(store, documents)
    assert (await rows(store, "signIns"))["away"]["riskState"] == "atRisk"
    one, how = store.tenant(TENANT), ACTIONS[action]

    def work(tx: Tx) -> None:
        row = tx.get("signIns", "away")
        assert row is not None and outcome.decide(tx, fed(), row, how)

    await one.write(work, actor="admin")
    await follow(one, fed(), ["away"], how, by="admin", actor="admin")
    stage = IdentityStage(store, fed())
    await run(stage)
    next_day = sign_in("next", START + 14.5 * DAY, "u1", session="s-next", **AWAY)
    await bring(store, [next_day])
    await run(stage)
    assert ((await rows(store, "signIns"))["next"]["riskLevelDuringSignIn"] or "none") in after
    await bring(store, list(quiet(8, 18, seed=4))[8 * 3 * 15 :])
    await run(stage)
    assert ((await rows(store, "signIns"))["next"]["riskLevelAggregated"] or "none") in after


async def decide(store: Store, name: str) -> None:
    """As the API does it on a user."""

    def work(tx: Tx) -> None:
        reckon(tx, fed(), USERS, "u1", ACTIONS[name], by="admin", processing=True)

    one = store.tenant(TENANT)
    await one.write(work, actor="admin")
    await finish(one, fed(), USERS, "u1", "admin")


async def test_what_cannot_be_read_stops_nothing(store: Store) -> None:
    await bring(store, [{"id": "odd", "createdDateTime": "2026-03-02T10:00:00Z"}])
    await evaluate(store, stream())
    page = partial(store.tenant(TENANT).page, "riskyUsers")
    assert [row.id for row in (await page(Query(5))).rows] == ["u1"]


async def test_the_audit_of_this_server_costs_no_write(store: Store) -> None:
    """What analysts do here is no event of the organisation: the cursor passes it, and nothing else is written."""

    async def places() -> tuple[bytes | None, int | None]:
        return await store.tenant(TENANT).value(POSITION), await store.cursor("identity")

    await evaluate(store, list(quiet(2, 2)))
    before, cursor = await places()
    made = {"activityDateTime": "2026-03-04T10:00:00Z", "activityDisplayName": "Update alert"}
    await bring(store, [{"id": f"own-{n}", "loggedByService": OURS, **made} for n in range(3)], of="directoryAudits")
    await run(IdentityStage(store, fed()))
    position, passed = await places()
    assert position == before and passed is not None and cursor is not None and passed > cursor
    await bring(store, [{"id": "theirs", "loggedByService": "Core Directory", **made}], of="directoryAudits")
    await run(IdentityStage(store, fed()))
    assert await places() != (position, passed) and (await places())[0] != position
