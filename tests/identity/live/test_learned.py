"""What people's verdicts teach, through the stage: it outlives the process, shows its reasons, and is one tenant's."""

from typing import Any

import msgspec
import pytest
from tests.identity.live.conftest import TENANT, bring, rows, run
from tests.identity.streams import DAY, MAC, START, quiet, sign_in

from bartizan.app.assembly import fed
from bartizan.identity import outcome
from bartizan.identity.evaluator import Evaluator
from bartizan.identity.memory import MEMORY
from bartizan.identity.risk import ACTIONS
from bartizan.identity.stage import IdentityStage
from bartizan.store import Store, Tx

pytestmark = pytest.mark.anyio

AWAY: dict[str, Any] = {"asn": 65551, "country": "BR", "city": "Recife", "place": (-8.05, -34.9), "agent": MAC}
PEOPLE = 24
LAST = sign_in("last", START + 12.5 * DAY, f"u{PEOPLE}", address="203.0.200.9", session="x", **AWAY)


async def judged(store: Store, tenant: str, action: str) -> None:
    """Everybody but one has been away, and a person has said what that was."""
    away = [
        sign_in(f"away-{n}", START + 12 * DAY + n * 60, f"u{n}", address=f"203.0.{n}.66", session=f"b{n}", **AWAY)
        for n in range(PEOPLE)
    ]
    await bring(store, [*quiet(PEOPLE + 1, 12), *away], tenant=tenant)
    await run(IdentityStage(store, fed()))
    one, how = store.tenant(tenant), ACTIONS[action]

    def work(tx: Tx) -> None:
        for each in away:
            row = tx.get("signIns", each["id"])
            assert row is not None and outcome.decide(tx, fed(), row, how), each["id"]

    await one.write(work, actor="admin")
    await outcome.follow(one, fed(), [each["id"] for each in away], how, by="admin", actor="admin")
    await run(IdentityStage(store, fed()))


async def test_verdicts_teach_and_dismissals_do_not(store: Store) -> None:
    await judged(store, TENANT, "confirmSignInSafe")
    await judged(store, "other", "dismissSignIn")
    whole = {tenant: (await rows(store, MEMORY.name, tenant))["1/l/t/"]["learned"] for tenant in (TENANT, "other")}
    assert (whole[TENANT]["verdicts"], whole["other"]["verdicts"]) == (PEOPLE, 0)
    said = {tenant: await Evaluator().look(store, tenant, LAST) for tenant in (TENANT, "other")}
    assert said[TENANT].score < said["other"].score
    await bring(store, [LAST])
    await run(IdentityStage(store, fed()))
    found = [each for each in (await rows(store, "riskDetections")).values() if each["requestId"] == "last"]
    told = next(each for each in found if each["riskEventType"] == "unfamiliarFeatures")
    pairs = {pair["Key"]: pair["Value"] for pair in msgspec.json.decode(told["additionalInfo"])}
    assert pairs["learned"]["place"]["confirmedSafe"] == PEOPLE
    (part,) = [each for each in pairs["contributions"] if each["name"] == "learned"]
    assert part["logOdds"] < 0
    assert sum(each["logOdds"] for each in pairs["contributions"]) == pytest.approx(pairs["logOdds"], abs=0.1)


async def test_where_it_is_off_nothing_is_learned(store: Store) -> None:
    await judged(store, TENANT, "confirmSignInSafe")
    await bring(store, [LAST])
    await run(IdentityStage(store, fed(), learns=False))
    found = [each for each in (await rows(store, "riskDetections")).values() if each["requestId"] == "last"]
    assert found and not any("learned" in each["additionalInfo"] for each in found)
    assert (await rows(store, MEMORY.name))["1/l/t/"]["learned"] is None
