"""Similar incidents in the sample organisation: a repeated attack finds the earlier ones, and not the noise."""

import itertools
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.api.conftest import A, World
from tests.api.test_correlated import correlated

from bartizan.app.assembly import fed
from bartizan.demo import posture, story, telemetry
from bartizan.demo.organisation import LOADER_SHA256, Organisation
from bartizan.ingest.pipeline import Pipeline

pytestmark = pytest.mark.anyio
START = datetime(2026, 11, 16, tzinfo=UTC)
DAYS = 2
ATTACKS = (timedelta(hours=9), timedelta(days=1, hours=14))


class Nowhere:
    """The events of the records, which nobody looks at here."""

    async def append(self, tenant: str, rows: Any, *, once: str) -> None: ...

    async def forget(self, tenant: str, stage: str) -> None: ...


async def play(world: World, organisation: Organisation, number: int = 2) -> list[list[str]]:
    """Days of ordinary life with attacks in them, in order of time; the alerts of each attack."""
    pipeline = Pipeline(world.store, Nowhere(), collections=fed())
    attacks = [list(story.attack(organisation, START + at, number)) for number, at in enumerate(ATTACKS[:number])]
    whose = {id(item): number for number, items in enumerate(attacks) for item in items}
    ordinary = telemetry.ordinary(organisation, START, START + timedelta(days=DAYS))
    found: list[list[str]] = [[] for _ in attacks]
    for item in sorted(itertools.chain(ordinary, *attacks), key=lambda item: item.at):
        if item.path.startswith("/ingest/"):
            body = json.dumps(item.body).encode()
            receipt = await pipeline.receive(A, item.path.removeprefix("/ingest/"), body, actor="feed")
            if id(item) in whose:
                found[whose[id(item)]] += receipt.ids
        elif item.path != posture.RISKY_USERS:
            await world.post(item.path, item.body)
    await correlated(world.store)
    return found


async def incident(world: World, alerts: list[str]) -> str:
    """The one that most of them are in."""
    found = [(await world.get(f"/v1.0/security/alerts_v2/{each}"))["incidentId"] for each in alerts]
    return str(max(set(found) - {None}, key=found.count))


async def test_a_repeated_attack_finds_the_earlier_ones(world: World) -> None:
    """Another victim on another host: what is left of the attacker is an address, a file, a domain, and his ways."""
    organisation = Organisation(people=24)
    first, second, noise = 0, 1, "SAMPLE POLICY Dropbox client traffic"
    attacks = [await incident(world, each) for each in await play(world, organisation)]
    assert len(set(attacks)) == 2
    done = {"status": "resolved", "classification": "truePositive", "determination": "compromisedAccount"}
    await world.patch(f"/v1.0/security/incidents/{attacks[first]}", {**done, "resolvingComment": "Reset, reimaged."})
    found = await world.get(f"/beta/security/incidents/{attacks[second]}/similar")
    best, *others = found["incidents"]
    assert best["incidentId"] == attacks[first] and best["similarity"] > 0.5
    assert {name: best[name] for name in done} == done and best["resolvingComment"] == "Reset, reimaged."
    told = {each["kind"]: each["value"] for each in reversed(best["reasons"])}
    assert told["technique"] in ("T1003", "T1059", "T1071.001", "T1078")
    assert told["detector"] in ("crowdstrike falcon/10197", "aws guardduty/exfiltration:s3/anomalousbehavior")
    shared = {each["value"]: each["incidentCount"] for each in best["reasons"] if each["kind"] == "entity"}
    assert shared[f"hash:{LOADER_SHA256}"] == 2 and shared["domain:cdn-sync.sample-c2.example"] == 2
    assert best["bits"] == pytest.approx(sum(each["bits"] for each in best["reasons"]), abs=0.1)
    assert all(each["similarity"] < best["similarity"] / 3 for each in others)
    assert not any(each["displayName"].startswith(noise) for each in others)
    back = await world.get(f"/beta/security/incidents/{attacks[first]}/similar")
    assert back["incidents"][0]["incidentId"] == attacks[second]


async def test_noise_finds_no_attack(world: World) -> None:
    organisation = Organisation(people=24)
    attacks = [await incident(world, each) for each in await play(world, organisation, 1)]
    noisy = [
        each["id"] for each in await world.every("/beta/security/incidents") if each["displayName"].startswith("SAM")
    ]
    assert len(noisy) > 3
    for each in noisy[:10]:
        found = await world.get(f"/beta/security/incidents/{each}/similar(top=40)")
        assert not {one["incidentId"] for one in found["incidents"]} & {each, *attacks}
