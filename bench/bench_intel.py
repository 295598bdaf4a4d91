"""Network intelligence against floors of the same run: a dict of answers for addresses that were asked of lately, a
bisection over a plain list of numbers (with the address parsed) for others, a loop that only splits lines for the load.

`python -m bench.bench_intel [--ranges N]`
"""

import argparse
import random
import resource
import tempfile
import time
from bisect import bisect_right
from collections.abc import Callable
from ipaddress import IPv4Address
from math import inf
from pathlib import Path
from socket import AF_INET, inet_pton

from bartizan.intel import Intel
from bartizan.intel.formats import read
from bartizan.intel.tables import Places, pack, unpack

ROUNDS = 3
ASKED = 60_000


def rate(work: Callable[[], int]) -> float:
    """Things done a second of CPU time, the best of some rounds."""
    best = 0.0
    for _ in range(ROUNDS):
        begun = time.process_time()
        count = work()
        best = max(best, count / (time.process_time() - begun))
    return best


def written(folder: Path, ranges: int) -> tuple[Path, list[int]]:
    """As a table of the routed world: neighbours, of many sizes, some 80,000 systems."""
    chance = random.Random(7)  # the same file in every run
    names = [f"Network number {n} of somewhere" for n in range(80_000)]
    step = 2**32 // (ranges + 1)
    starts = [n * step for n in range(ranges)]
    path = folder / "asn.csv"
    with path.open("w") as file:
        for start in starts:
            asn = chance.randrange(len(names))
            last = start + chance.randrange(step)
            file.write(f"{IPv4Address(start)},{IPv4Address(last)},{asn + 1},{names[asn]}\n")
    return path, starts


def main(ranges: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, starts = written(Path(folder), ranges)

        def split() -> int:
            with path.open() as file:
                return sum(len(line.split(",")) > 0 for line in file)

        parsed = rate(lambda: read("asn", path, source="bench").rows)
        floor = rate(split)
        print(
            f"import of {ranges:,} ranges      {ranges / parsed:8.2f} s   {floor / parsed:6.1f} x only splitting lines"
        )
        content = pack(read("asn", path, source="bench").table)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        loaded = rate(lambda: len(unpack(content)))
        table = unpack(content)
        assert isinstance(table, Places)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(f"load from {len(content) / 2**20:.1f} MiB as stored {ranges / loaded:8.3f} s   "
              f"{table.nbytes() / 2**20:.1f} MiB in memory (peak grew by {grown / 1024:.1f})")  # fmt: skip
    looked_up(table, starts)


def looked_up(table: Places, starts: list[int]) -> None:
    chance = random.Random(8)
    asked = [str(IPv4Address(chance.randrange(2**32))) for _ in range(ASKED)]

    def cold() -> int:
        known = Intel([table])
        for each in asked:
            known.of(each, 0.0)
        return len(asked)

    def listed() -> int:
        for each in asked:
            bisect_right(starts, int.from_bytes(inet_pton(AF_INET, each), "big"))
        return len(asked)

    known, few = Intel([table]), asked[:5_000] * 12
    held = {each: (-inf, inf, known.of(each, 0.0)) for each in few}

    def warm() -> int:
        for each in few:
            known.of(each, 0.0)
        return len(few)

    def plain() -> int:
        for each in few:
            held.get(each)
        return len(few)

    for name, own, bare in (
        ("new addresses", rate(cold), rate(listed)),
        ("addresses of lately", rate(warm), rate(plain)),
    ):
        print(f"{name:20} {own:12,.0f} look-ups/s of CPU   floor {bare:12,.0f}   ratio {own / bare:.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranges", type=int, default=400_000)
    main(parser.parse_args().ranges)
