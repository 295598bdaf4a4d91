"""What is answered at sign-in time, and that the stage ends as if nobody had answered."""

from pathlib import Path
from typing import Any

import pytest
from tests.identity.live.conftest import TENANT, bring, ended, rows, run
from tests.identity.streams import START, quiet, sign_in, spray

from bartizan.app.assembly import declared, fed
from bartizan.identity.evaluator import Evaluator
from bartizan.identity.memory import MEMORY
from bartizan.identity.shapes import answered
from bartizan.identity.stage import IdentityStage
from bartizan.store import Store, open_store

pytestmark = pytest.mark.anyio

LEVELS = ("riskLevelDuringSignIn", "riskLevelAggregated", "riskState", "riskEventTypes_v2")
UNSET = {"riskDetail": "none", "riskLevelAggregated": "none", "riskLevelDuringSignIn": "none", "riskState": "none"}


def stream() -> list[dict[str, Any]]:
    late = sign_in("late", START + 11 * 86_400, "u1", address="203.0.113.5", country="SE", asn=65550)
    made = [*quiet(8, 16), *spray(8, 13.1)]
    made.sort(key=lambda each: str(each["createdDateTime"]))
    return [{**UNSET, **each} for each in [*made[:330], late, *made[330:]]]


async def with_answers(store: Store, documents: list[dict[str, Any]], at_once: int) -> dict[str, dict[str, Any]]:
    """Brings sign-ins as the API does, some before the stage has seen those before; the answers by id."""
    evaluator, stage = Evaluator(), IdentityStage(store, fed())
    found: dict[str, dict[str, Any]] = {}
    for begin in range(0, len(documents), at_once):
        part = documents[begin : begin + at_once]
        said = await evaluator.answer(store, TENANT, part, limit_s=60)
        made = [answered(body, each) for body, each in zip(part, said, strict=True)]
        found.update({each["id"]: each for each in made})
        await bring(store, made)
        if begin // at_once % 3 != 1:
            await run(stage)
    await run(stage)
    return found


@pytest.mark.parametrize("at_once", [1, 7])
async def test_the_stage_ends_as_if_nobody_had_been_answered(store: Store, tmp_path: Path, at_once: int) -> None:
    """To the byte of what is remembered, whatever was answered before it looked."""
    documents = stream()
    alone = open_store(tmp_path / "alone", declared())
    await alone.start()
    try:
        stage = IdentityStage(alone, fed())
        for begin in range(0, len(documents), at_once):
            await bring(alone, documents[begin : begin + at_once])
            if begin // at_once % 3 != 1:
                await run(stage)
        await run(stage)
        expected = await ended(alone)
    finally:
        await alone.close()
    answers = await with_answers(store, documents, at_once)
    found = await ended(store)
    for name, value in expected.items():
        assert found[name] == value, name
    assert answers["a-right"]["riskLevelDuringSignIn"] == "high"
    stored = await rows(store, "signIns")
    same = [id for id, each in answers.items() if all((each.get(name) or []) == (stored[id].get(name) or [])
            for name in LEVELS[:1])]  # fmt: skip
    assert len(same) >= len(documents) - 3, "but for what the stage had not seen before"


async def test_an_answer_is_what_the_stage_says_and_is_remembered_nowhere(store: Store) -> None:
    documents = stream()
    right = next(each for each in documents if each["id"] == "a-right")
    before = documents[: documents.index(right)]
    stage = IdentityStage(store, fed())
    await bring(store, before)
    await run(stage)
    kept = await rows(store, MEMORY.name)
    evaluator = Evaluator()
    said = await evaluator.look(store, TENANT, right)
    assert await rows(store, MEMORY.name) == kept
    assert await evaluator.look(store, TENANT, right) == said
    await bring(store, [right])
    await run(stage)
    found = (await rows(store, "signIns"))["a-right"]
    assert found["riskLevelDuringSignIn"] == said.level
    assert found["riskEventTypes_v2"] == [each.type for each in said.findings]


async def test_what_a_person_decides_before_the_stage_has_looked_stays(store: Store) -> None:
    documents = stream()
    right = next(each for each in documents if each["id"] == "a-right")
    stage = IdentityStage(store, fed())
    await bring(store, documents[: documents.index(right)])
    await run(stage)
    (said,) = await Evaluator().answer(store, TENANT, [right], limit_s=60)
    made = answered(right, said)
    decided = {"riskState": "confirmedSafe", "riskLevelAggregated": "none", "riskDetail": "adminConfirmedSigninSafe"}
    await bring(store, [{**made, **decided}])
    await run(stage)
    found = (await rows(store, "signIns"))["a-right"]
    assert {name: found[name] for name in decided} == decided
    assert found["riskLevelDuringSignIn"] == "high"
