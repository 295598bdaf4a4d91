"""How well sign-ins are scored: labelled streams of tenants of several sizes, by an author of their own, replayed.

`python -m bench.bench_identity_risk [--streams NAME ...] [--seeds N] [--first SEED] [--without PART ...]
[--thefts N]`
"""

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from heapq import nlargest
from pathlib import Path

from bartizan.identity.replay import replay
from bench.tenants.make import Asked, tenant_of, written
from bench.tenants.rank import Found, Measured, measured
from bench.tenants.told import PARTS, through

# Of each stream: users, days, warm-up, share of the campaigns of a thousand users over sixty days.
STREAMS: dict[str, tuple[int, int, int, float]] = {
    "thousand": (1_000, 60, 21, 0.8),
    "threehundred": (300, 45, 21, 0.14),
    "hundred": (100, 60, 14, 0.06),
    "young": (1_000, 14, 3, 0.25),
    "fifty": (50, 30, 7, 0.04),
    "twentyfive": (25, 30, 7, 0.04),
}
UNIT, WIDE, EVENT, PRECISION, NAMED, FALSE = (
    "unit recall 0.1 %", "unit recall 1 %", "event recall 0.1 %", "average precision", "types named",
    "false alerts per 1,000 users a day at 0.1 %",
)  # fmt: skip
BARS = {UNIT: 0.65, WIDE: 0.95, EVENT: 0.50, PRECISION: 0.40, NAMED: 0.80, FALSE: 3.0}


def run(seed: int, name: str, without: Sequence[str] = (), thefts: int = 0) -> Measured:
    users, days, warmup, attacks = STREAMS[name]
    with tempfile.TemporaryDirectory(prefix="bartizan-bench-") as folder:
        of = written(tenant_of(Asked(seed, users, days, warmup, attacks, thefts)), Path(folder))
        through(of / "signins.jsonl", without)
        return measured(of, replay(of))


def _share(found: Sequence[Found], first: int, second: int) -> float:
    """The mean of the streams of one count by another."""
    shares = [
        sum(of[first] for of in each.units.values()) / max(1, sum(of[second] for of in each.units.values()))
        for each in found
    ]
    return sum(shares) / len(shares)


def figures(runs: Sequence[Measured]) -> dict[str, float]:
    narrow, wide = [each.within(0.001) for each in runs], [each.within(0.01) for each in runs]
    false = [(each.alerts - each.true) / of.users / of.days * 1_000 for each, of in zip(narrow, runs, strict=True)]
    return {
        UNIT: _share(narrow, 0, 1),
        WIDE: _share(wide, 0, 1),
        EVENT: _share(narrow, 2, 3),
        PRECISION: sum(each.precision() for each in runs) / len(runs),
        NAMED: sum(each.named for each in narrow) / max(1, sum(each.likely for each in narrow)),
        FALSE: sum(false) / len(runs),
    }


def _levels(runs: Sequence[Measured]) -> list[str]:
    lines = []
    every = sum(len(each.counted) for each in runs)
    for level in ("high", "medium"):
        true = sum(each.levels()[level][0] for each in runs)
        others = sum(each.levels()[level][1] for each in runs)
        lines.append(f"  {level}: {true} attacks, {others} others ({100 * others / every:.3f} % of sign-ins)")
    return lines


def _attacks(narrow: Sequence[Found], wide: Sequence[Found]) -> list[str]:
    sums: dict[str, list[float]] = {}
    for few, many in zip(narrow, wide, strict=True):
        for attack, of in few.units.items():
            row = sums.setdefault(attack, [0.0] * 5)
            for index, value in enumerate((of[1], of[0], many.units[attack][0], of[2], of[3])):
                row[index] += value
    return [
        f"  {attack:22} {units:4.0f} units: {few / units:.2f} at 0.1 %, {many / units:.2f} at 1 %, events "
        f"{events / every:.2f}"
        for attack, (units, few, many, events, every) in sorted(sums.items())
    ]


def shown(name: str, runs: Sequence[Measured]) -> list[str]:
    """The means of several streams, and their sums by attack and by cause."""
    narrow, wide = [each.within(0.001) for each in runs], [each.within(0.01) for each in runs]
    counted, attacks = sum(len(each.counted) for each in runs), sum(each.attacks for each in runs)
    lines = [f"{name}: {len(runs)} streams, {counted:,} sign-ins, {attacks} of an attack"]
    for what, value in figures(runs).items():
        kept = value <= BARS[what] if what == FALSE else value >= BARS[what]
        lines.append(f"  {what}: {value:.3f} (bar {BARS[what]}){'' if kept else ' MISSED'}")
    lines += [*_levels(runs), *_attacks(narrow, wide)]
    for what, found in (("0.1 %", narrow), ("1 %", wide)):
        causes = defaultdict[str, float](float)
        for each in found:
            for tag, many in each.causes.items():
                causes[tag] += many
        lines.append(
            f"  false at {what}: "
            + ", ".join(f"{tag} {causes[tag]:.0f}" for tag in nlargest(10, causes, key=causes.__getitem__))
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", nargs="*", choices=list(STREAMS), default=["thousand", "hundred", "young"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--without", nargs="*", choices=list(PARTS), default=[])
    parser.add_argument("--thefts", type=int, default=0, help="accounts of scripts whose password somebody uses")
    asked = parser.parse_args()
    for name in asked.streams:
        began = time.monotonic()
        seeds = range(asked.first, asked.first + asked.seeds)
        runs = [run(seed, name, asked.without, asked.thefts) for seed in seeds]
        print("\n".join(shown(name, runs)))
        print(f"  ({time.monotonic() - began:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
