"""Streams that the engine was not made with: what is found, what is mistaken, and what if records say less."""

import json
import random
from pathlib import Path

import pytest
from bench.tenants.make import Asked, tenant_of, written
from bench.tenants.rank import Measured, measured
from bench.tenants.told import PARTS, through

from bartizan.identity.events import seconds
from bartizan.identity.replay import Scored, replay

SEED = 3


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tenant_of(Asked(SEED, users=60, days=18, warmup=7, attacks=0.2)), tmp_path_factory.mktemp("tenant"))


def copied(stream: Path, to: Path) -> Path:
    to.mkdir()
    for name in ("meta.json", "labels.jsonl", "benign.jsonl", "users.json", "signins.jsonl", "audits.jsonl",
                 "graphactivity.jsonl"):  # fmt: skip
        (to / name).write_bytes((stream / name).read_bytes())
    (to / "intel").symlink_to(stream / "intel")
    return to


def area(of: Measured) -> float:
    """How often an attack has the higher score of the two, with a sign-in that is none."""
    true = [each.score for each in of.counted if each.attack]
    false = [each.score for each in of.counted if not each.attack]
    return sum((one > other) + (one == other) / 2 for one in true for other in false) / len(true) / len(false)


def false_share(of: Measured) -> float:
    """Of sign-ins that are no attack: medium or high."""
    levels = of.levels()
    return (levels["high"][1] + levels["medium"][1]) / sum(others for _, others in levels.values())


def test_another_authors_stream_is_ranked_well(stream: Path) -> None:
    found = measured(stream, replay(stream, 1))
    assert found.attacks >= 20
    assert found.precision() >= 0.6
    assert false_share(found) <= 0.01
    within = found.within(found.attacks / len(found.counted) * 1.5)
    assert sum(of[0] for of in within.units.values()) >= 0.8 * sum(of[1] for of in within.units.values())
    assert within.named >= 0.8 * within.likely


def test_late_records_end_at_the_same_levels(stream: Path, tmp_path: Path) -> None:
    """Three in a hundred come late, by up to two days."""
    late = copied(stream, tmp_path / "late")
    rows = (stream / "signins.jsonl").read_text().splitlines()
    chance = random.Random(5)
    arrives = [
        seconds(json.loads(row)["createdDateTime"]) + (chance.random() * 48 * 3600 if chance.random() < 0.03 else 0)
        for row in rows
    ]
    shuffled = [row for _, row in sorted(zip(arrives, rows, strict=True))]
    assert shuffled != rows
    (late / "signins.jsonl").write_text("\n".join(shuffled) + "\n")

    def by_id(lines: list[Scored]) -> list[Scored]:
        return sorted(lines, key=lambda each: each.id)

    assert by_id(list(replay(late, 1))) == by_id(list(replay(stream, 1)))


@pytest.mark.parametrize("part", sorted(PARTS))
def test_less_is_told(stream: Path, tmp_path: Path, part: str) -> None:
    """Without one part of the records, or by another provider: attacks still stand out, and quiet people stay quiet."""
    less = copied(stream, tmp_path / part)
    through(less / "signins.jsonl", [part])
    found = measured(less, replay(less, 1))
    assert all(0 < each.score < 1 for each in found.counted)
    assert false_share(found) <= 0.02
    assert area(found) >= 0.85


def test_next_to_nothing_is_told(stream: Path, tmp_path: Path) -> None:
    """Who, when, and whether it went well: nobody can tell people apart by that, and nobody is blamed for it."""
    less = copied(stream, tmp_path / "less")
    through(less / "signins.jsonl", ["device", "carrier", "place", "agent", "session", "client"])
    rows = [json.loads(row) for row in (less / "signins.jsonl").read_text().splitlines()]
    bare = [{**row, "ipAddress": None, "isInteractive": None} for row in rows]
    (less / "signins.jsonl").write_text("".join(json.dumps(row) + "\n" for row in bare))
    found = measured(less, replay(less, 1))
    assert false_share(found) <= 0.02
