"""Levels as a whole: quiet people stay within the budgets of alerts, and a campaign is never capped by them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bench.tenants.make import Asked, tenant_of, written
from bench.tenants.rank import measured
from tests.identity.streams import DAY, MAC, START, quiet, sign_in
from tests.identity.streams import written as kept

from bartizan.identity.levels import BUDGETS
from bartizan.identity.replay import replay

PEOPLE, DAYS = 100, 25
TAKEN = PEOPLE // 20


@pytest.fixture(scope="module")
def routine() -> list[dict[str, Any]]:
    return list(quiet(PEOPLE, DAYS))


def test_quiet_people_of_a_known_tenant_keep_to_the_budgets(tmp_path: Path) -> None:
    """With their trips, new devices, starters and carriers. Twice the share: of so few people, one who comes back from
    a long leave and travels is as much as the budget."""
    stream = written(tenant_of(Asked(8, users=250, days=45, warmup=21, attacks=0.0)), tmp_path / "quiet")
    found = measured(stream, replay(stream, 1))
    levels = {level: others for level, (_, others) in found.levels().items()}
    total = sum(levels.values())
    assert total > 20_000
    assert levels["high"] <= 2 * BUDGETS["high"].share * total
    assert levels["high"] + levels["medium"] <= 2 * BUDGETS["medium"].share * total


WAYS: dict[str, Callable[[int], dict[str, Any]]] = {
    "from one address": lambda n: {"address": "203.0.113.66", "asn": 65551},
    "each from another carrier": lambda n: {"address": f"203.{n}.113.66", "asn": 65551 + n},
}


@pytest.mark.parametrize("way", WAYS)
def test_each_of_a_campaign_that_takes_many_within_the_hour_is_at_medium_or_above(
    tmp_path: Path, routine: list[dict[str, Any]], way: str
) -> None:
    """One in twenty people, with the right password at once, on a day like any other."""
    at = START + (DAYS - 3) * DAY + 10 * 3600
    there = {"country": "BR", "city": "Recife", "place": (-8.05, -34.9), "agent": MAC}
    attack = [
        sign_in(f"c-{n}", at + n * 3_600 / TAKEN, f"u{n * 7}", session=f"taken-{n}", **there, **WAYS[way](n))
        for n in range(TAKEN)
    ]
    documents = sorted([*routine, *attack], key=lambda each: str(each["createdDateTime"]))
    lines = {line.id: line for line in replay(kept(tmp_path / "campaign", documents), 1)}
    assert {lines[each["id"]].level for each in attack} <= {"medium", "high"}
    quiet_ones = [lines[each["id"]].level for each in routine if each["status"]["errorCode"] == 0]
    risky = sum(level in ("medium", "high") for level in quiet_ones)
    assert risky <= BUDGETS["medium"].share * len(quiet_ones)
