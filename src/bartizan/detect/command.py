"""What operators do to detection rules at the command line."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import click
import msgspec

from bartizan.auth import audit
from bartizan.auth.desk import Desk, command, tenant_option
from bartizan.detect import sentinel, sigma
from bartizan.detect.brought import Brought, Left
from bartizan.detect.rule import BY, KEPT, MAX_RULES, RULES, RUNS, By, Runs, runs_of
from bartizan.detect.scheduled import SCHEDULED, every
from bartizan.detect.words import PERIODS
from bartizan.errors import BadRequest, Conflict
from bartizan.model.times import instant
from bartizan.store.draft import draft, inner
from bartizan.store.interface import Tx

ACTOR = "bartizan rules import"
CHUNK = 100  # rules of one transaction
_SHOWN = ("displayName", "description", "queryCondition", "schedule", "detectionAction")
_GIVEN = (*_SHOWN, KEPT, SCHEDULED)


@click.group()
def rules() -> None:
    """Detection rules: bring those of Sigma and of Microsoft Sentinel."""


@command(rules, "import")
@click.option(
    "--sigma", "of_sigma", metavar="DIR", type=click.Path(exists=True, path_type=Path),
    help="A folder with rules of Sigma, or one file.",
)  # fmt: skip
@click.option(
    "--sentinel", "of_sentinel", metavar="DIR", type=click.Path(exists=True, path_type=Path),
    help="A folder with analytics rules of Microsoft Sentinel as YAML, or one file.",
)  # fmt: skip
@click.option("--enable", is_flag=True, help="Enable them; else they are there, and are not run.")
@click.option(
    "--period", type=click.Choice(list(PERIODS)),
    help="How often those of Sigma run: 24H if not said. Those of Sentinel say it themselves.",
)  # fmt: skip
@tenant_option
async def import_(
    desk: Desk,
    of_sigma: Path | None,
    of_sentinel: Path | None,
    enable: bool,
    period: str | None,
    tenant_reference: str | None,
) -> Any:
    """Bring rules of Sigma or of Microsoft Sentinel as detection rules.

    A rule that is there already takes what has changed; whether it is enabled stays. What cannot be a rule here is
    listed with the reason. Needs the extra `sigma`.
    """
    if (of_sigma is None) == (of_sentinel is None):
        raise BadRequest("say one of --sigma and --sentinel")
    if of_sentinel is not None and period is not None:
        raise BadRequest("--period is for rules of Sigma; those of Sentinel say it themselves")
    tenant = await desk.tenant(tenant_reference)
    read = list(sentinel.read(of_sentinel) if of_sentinel else sigma.read(of_sigma or Path(), period or "24H"))
    brought = [each for each in read if isinstance(each, Brought)]
    store = desk.authority.store.tenant(tenant.id)
    now = datetime.now(UTC)
    fresh = 0
    for each in brought:
        fresh += await store.get(RULES.name, each.id) is None
    if await store.count(RULES.name) + fresh > MAX_RULES:
        raise Conflict(f"a tenant has at most {MAX_RULES} detection rules; this would add {fresh}")
    told: dict[str, int] = {"added": 0, "changed": 0, "unchanged": 0}
    for start in range(0, len(brought), CHUNK):
        part = brought[start : start + CHUNK]

        def work(tx: Tx, part: Sequence[Brought] = part) -> dict[str, int]:
            return _put(tx, part, now, enable=enable)

        for name, count in (await store.write(work, actor=ACTOR, bulk=True)).items():
            told[name] += count
    left = [msgspec.to_builtins(each) for each in read if isinstance(each, Left)]
    return {"tenantId": tenant.id, **told, "leftOut": left}


def _put(tx: Tx, part: Sequence[Brought], now: datetime, *, enable: bool) -> dict[str, int]:
    told = {"added": 0, "changed": 0, "unchanged": 0}
    targets = []
    for number, each in enumerate(part):
        row = tx.get(RULES.name, each.id)
        before = {} if row is None else inner(row)
        after = _after(before, each.rule, now, number, enable=enable)
        if after is None:
            told["unchanged"] += 1
            continue
        names = {name: (before.get(name), after.get(name)) for name in _SHOWN} if before else None
        tx.put(draft(RULES, after, each.id), changed=names)
        told["changed" if before else "added"] += 1
        targets.append(audit.Target("detectionRule", each.id, name=after["displayName"]))
    if targets:
        actor = audit.Actor(app=ACTOR, app_name=ACTOR)
        audit.record(tx, actor=actor, activity="Import detectionRules", category="Security", targets=targets)
    return told


def _after(
    before: Mapping[str, Any], rule: Mapping[str, Any], now: datetime, number: int, *, enable: bool
) -> dict[str, Any] | None:
    """The rule as it will be; None where that changes nothing. Enabled ones begin one after the other over their
    period, and not all at once."""
    enabled = bool(before["isEnabled"]) if before else enable
    given = {name: rule.get(name) for name in _GIVEN}
    if before and all(_bare(before.get(name)) == _bare(value) for name, value in given.items()):
        return None
    at = instant(now)
    begin = instant(now + every(rule) * ((number % CHUNK) / CHUNK) + timedelta(seconds=1))
    by = By(ACTOR, ACTOR)
    own = {"createdBy": ACTOR, "detectorId": str(uuid4()), **before}
    runs = runs_of(before)
    return {
        **own,
        **given,
        "isEnabled": enabled,
        "status": (before.get("status") if before else None) or ("enabled" if enabled else "disabled"),
        "queryCondition": {**rule["queryCondition"], "lastModifiedDateTime": at},
        "schedule": {**rule["schedule"], "nextRunDateTime": begin if enabled else None},
        "lastModifiedBy": ACTOR,
        "lastModifiedDateTime": at,
        BY: msgspec.to_builtins(by),
        RUNS: msgspec.to_builtins(Runs(number=runs.number, until=runs.until)),
    }


def _bare(value: Any) -> Any:
    """Without what the server stamps, and without what is not said."""
    if not isinstance(value, Mapping):
        return [_bare(each) for each in value] if isinstance(value, list) else value
    stamped = ("lastModifiedDateTime", "nextRunDateTime")
    return {
        name: _bare(each) for name, each in value.items() if name not in stamped and each is not None and each != []
    }
