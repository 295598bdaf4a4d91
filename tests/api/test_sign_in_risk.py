"""The decision at sign-in time: what a POST of sign-ins answers, and what the risk of a sign-in under way decides."""

import asyncio
import time
from typing import Any

import pytest
from tests.api.conftest import A, Around, World, on_both_engines
from tests.api.test_access_decisions import APP, DECIDE, ROOT, decide, policy
from tests.identity.live.conftest import bring, rows, run
from tests.identity.streams import DAY, MAC, START, instant, quiet, sign_in, spray

from bartizan.app.assembly import fed
from bartizan.errors import Unavailable
from bartizan.identity.events import seconds
from bartizan.identity.memory import MEMORY
from bartizan.identity.stage import IdentityStage
from bartizan.store import Query

pytestmark = pytest.mark.anyio
SIGN_INS = "/beta/auditLogs/signIns"
RISK = ("riskLevelDuringSignIn", "riskLevelAggregated", "riskState", "riskDetail", "riskEventTypes_v2")
BRAZIL = {
    "address": "203.0.113.66", "asn": 65551, "country": "BR", "city": "Recife", "place": (-8.05, -34.9), "agent": MAC,
}  # fmt: skip
NONE = ["none", "none", "none", "none", []]


def risk_of(body: dict[str, Any]) -> list[Any]:
    return [body[name] for name in RISK]


@pytest.fixture
async def known(world: World) -> World:
    """Eight people of whom two weeks are known; wrong passwords have come from one address."""
    failed = [each for each in spray(8, 13.7) if each["status"]["errorCode"]]
    await bring(world.store, [*quiet(8, 14), *failed], tenant=A)
    await run(IdentityStage(world.store, fed()))
    return world


RIGHT = sign_in("right", START + 13.8 * DAY, "u1", session="stolen", **BRAZIL)
HOME = sign_in("home", START + 13.8 * DAY, "u2", address="198.51.2.7", asn=64502, session="s-13-2")


@on_both_engines
async def test_a_posted_sign_in_is_answered_with_its_risk(known: World) -> None:
    """Which the stage, when it has seen it, says in the same words."""
    made = await known.post(SIGN_INS, RIGHT)
    assert made["riskLevelDuringSignIn"] == made["riskLevelAggregated"] == "high"
    assert (made["riskState"], made["riskDetail"]) == ("atRisk", "none")
    assert {"passwordSpray", "unfamiliarFeatures"} <= set(made["riskEventTypes_v2"])
    assert not [name for name in made if name.startswith("@bartizan")]
    assert risk_of(await known.post(SIGN_INS, HOME)) == NONE
    assert await rows(known.store, "riskDetections", A) == {}, "that is for the stage"
    await run(IdentityStage(known.store, fed()))
    assert risk_of(await known.get(f"{SIGN_INS}/right")) == risk_of(made)
    assert risk_of(await known.get(f"{SIGN_INS}/home")) == NONE
    assert {each["requestId"] for each in (await rows(known.store, "riskDetections", A)).values()} == {"right"}


async def test_a_bulk_is_answered_in_its_order(known: World) -> None:
    """What comes first counts for what follows: here the risk of the session."""
    then = sign_in("then", START + 13.9 * DAY, "u1", session="stolen", **{**BRAZIL, "address": "203.0.113.99"})
    nobody = {"id": "nobody", "createdDateTime": "2026-03-15T19:00:00Z"}
    answer = await known.post(SIGN_INS, [HOME, RIGHT, nobody, then])
    by_id = {each["id"]: each for each in answer["value"]}
    assert [by_id[id]["riskLevelDuringSignIn"] for id in ("home", "right", "nobody", "then")] == [
        "none",
        "high",
        "none",
        "high",
    ]
    assert "passwordSpray" in by_id["then"]["riskEventTypes_v2"]


async def test_what_is_sent_again_changes_nothing(known: World) -> None:
    unrisky = {**RIGHT, **dict(zip(RISK, NONE, strict=True))}
    first = await known.post(SIGN_INS, unrisky)
    assert await known.post(SIGN_INS, unrisky) == first
    await run(IdentityStage(known.store, fed()))
    before = await rows(known.store, "signIns", A)
    again = await known.post(SIGN_INS, unrisky)
    assert risk_of(again) == risk_of(first)
    await run(IdentityStage(known.store, fed()))
    assert await rows(known.store, "signIns", A) == before


async def test_a_providers_word_is_kept(known: World) -> None:
    given = {"riskLevelDuringSignIn": "medium", "riskLevelAggregated": "medium", "riskState": "atRisk",
             "riskEventTypes_v2": ["leakedCredentials"]}  # fmt: skip
    made = await known.post(SIGN_INS, {**HOME, **given})
    assert risk_of(made) == ["medium", "medium", "atRisk", "none", ["leakedCredentials"]]
    more = await known.post(SIGN_INS, {**RIGHT, **given})
    assert more["riskLevelAggregated"] == "high" and more["riskLevelDuringSignIn"] == "medium"
    assert more["riskEventTypes_v2"][0] == "leakedCredentials" and len(more["riskEventTypes_v2"]) > 1
    await run(IdentityStage(known.store, fed()))
    for each in (made, more):
        assert risk_of(await known.get(f"{SIGN_INS}/{each['id']}")) == risk_of(each)


@pytest.mark.parametrize("problem", ["fails", "takes long", "has a bug"])
async def test_without_an_evaluation_the_risk_is_hidden_until_the_stage_has_looked(known: World, problem: str) -> None:
    async def page(read: Any, collection: str, query: Query) -> Any:
        if collection == MEMORY.name:
            if problem == "fails":
                raise Unavailable("The store is away.")
            if problem == "has a bug":
                raise ZeroDivisionError
            await asyncio.sleep(5)
        return await read(collection, query)

    whole = known.store
    known.graph.store = Around(whole, page=page)
    made = await known.post(SIGN_INS, RIGHT)
    assert risk_of(made) == ["hidden", "none", "none", "hidden", []]
    known.graph.store = whole
    await run(IdentityStage(whole, fed()))
    found = await known.get(f"{SIGN_INS}/right")
    assert risk_of(found)[:4] == ["high", "high", "atRisk", "none"]


async def test_the_risk_of_a_sign_in_under_way_decides(known: World) -> None:
    """And nothing of it is stored or remembered."""
    block = {"operator": "OR", "builtInControls": ["block"]}
    await known.post(f"{ROOT}/policies", policy("Risky", block, conditions={"signInRiskLevels": ["high"]}))
    before = await rows(known.store, MEMORY.name, A)
    under_way = {name: value for name, value in RIGHT.items() if name != "id"}
    for _ in range(3):
        found = await decide(known, under_way)
        assert (found["decision"], found["signInRiskLevel"]) == ("block", "high")
        assert found["riskReasons"][0].startswith("signIn: passwordSpray +")
    home = await decide(known, HOME)
    assert (home["decision"], home["signInRiskLevel"], home["riskReasons"]) == ("allow", "none", [])
    said = await decide(known, {**HOME, "riskLevelDuringSignIn": "high"})
    assert (said["decision"], said["riskReasons"]) == ("block", ["signIn: riskLevelDuringSignIn high"])
    assert await rows(known.store, MEMORY.name, A) == before
    assert "right" not in await rows(known.store, "signIns", A)
    other = await decide(known, under_way, by="other")
    assert other["signInRiskLevel"] == "none", "another tenant knows nothing of it"
    await known.refused("POST", DECIDE, {"signIn": {**HOME, "createdDateTime": "yesterday"}}, status=400)


async def test_where_the_engine_cannot_be_asked_nothing_is_decided(known: World) -> None:
    async def page(read: Any, collection: str, query: Query) -> Any:
        if collection == MEMORY.name:
            raise Unavailable("The store is away.")
        return await read(collection, query)

    known.graph.store = Around(known.store, page=page)
    await known.refused("POST", DECIDE, {"signIn": {"appId": APP, **HOME}}, status=503)


async def test_the_what_if_asks_the_engine_where_no_risk_is_said(world: World) -> None:
    """Of such a sign-in now."""
    days = (time.time() - START) // DAY - 14
    documents = [*quiet(8, 14), *(each for each in spray(8, 13.7) if each["status"]["errorCode"])]
    for each in documents:
        each["createdDateTime"] = instant(seconds(each["createdDateTime"]) + days * DAY)
    await bring(world.store, documents, tenant=A)
    await run(IdentityStage(world.store, fed()))
    await world.post(f"{ROOT}/policies", policy("Risky", conditions={"signInRiskLevels": ["medium", "high"]}))
    for user, conditions, applies in (
        ("u1", {"ipAddress": "203.0.113.66", "country": "BR", "devicePlatform": "macOS"}, True),
        ("u1", {"ipAddress": "203.0.113.66", "country": "BR", "signInRiskLevel": "none"}, False),
        ("u2", {"ipAddress": "198.51.2.7", "country": "NL", "devicePlatform": "windows"}, False),
        ("u1", {"country": "BR"}, False),
    ):
        asked = {
            "signInIdentity": {"@odata.type": "#microsoft.graph.userSignIn", "userId": user},
            "signInContext": {"@odata.type": "#microsoft.graph.applicationContext", "includeApplications": [APP]},
            "signInConditions": conditions,
        }
        (found,) = (await world.post(f"{ROOT}/evaluate", asked))["value"]
        assert found["policyApplies"] is applies, conditions
