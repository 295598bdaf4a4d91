"""kill -9 while risk is evaluated: the end is that of a run that nobody disturbed, down to what is remembered."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.identity.live.conftest import bring, ended, run
from tests.identity.streams import START, quiet, sign_in, spray

from bartizan.app.assembly import declared, fed
from bartizan.identity.stage import IdentityStage
from bartizan.store import Store, open_store

ROOT = Path(__file__).resolve().parents[3]
STEP = 7
pytestmark = [pytest.mark.anyio, pytest.mark.slow]


def documents() -> list[dict[str, Any]]:
    """Of each hour all at the same moment, so that steps part what has one time."""
    made = sorted([*quiet(8, 8), *spray(8, 7.1)], key=lambda each: str(each["createdDateTime"]))
    for each in made:
        each["createdDateTime"] = each["createdDateTime"][:13] + ":00:00.000Z"
    late = [sign_in(f"late-{n}", START + 5.5 * 86_400, f"u{n}", address=f"198.51.{n}.7") for n in range(8)]
    return [*made[:180], *late, *made[180:]]


def killed_after(target: str, steps: int) -> bool:
    """Whether it came to the end; it is killed once it has said so many steps."""
    command = [sys.executable, "-m", "tests.identity.live.stage_process", target, str(STEP)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        for number, line in enumerate(process.stdout, 1):
            if line.strip() == "done":
                return True
            if number == steps:
                process.kill()
    assert process.returncode in (0, -9)
    return False


async def test_killed_again_and_again(store: Store, target: str, tmp_path: Path) -> None:
    calm = open_store(tmp_path / "calm", declared())
    await calm.start()
    try:
        for each in (store, calm):
            await bring(each, documents())
        await run(IdentityStage(calm, fed(), step_changes=STEP))
        expected = await ended(calm)
    finally:
        await calm.close()
    await store.close()
    kills = 0
    while not killed_after(target, 3 + kills):
        kills += 1
    assert kills >= 3
    again = open_store(target, declared())
    await again.start()
    try:
        found = await ended(again)
    finally:
        await again.close()
    assert found["signIns"]["a-right"][1] == "high"
    for name, value in expected.items():
        assert found[name] == value, name
