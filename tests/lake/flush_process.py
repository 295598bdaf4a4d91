"""Run as a program: forks processes that append and flush, which a test kills. Reads names of runs from stdin, answers
each with a pid.

A line goes to the file of acknowledgements after an append has returned, never before.
"""

import asyncio
import os
import sys
import time
from pathlib import Path

import bartizan.lake.sqlite  # noqa: F401 - imported before the fork, so that a process starts at once
from bartizan.lake import compact, flush
from bartizan.lake.buffer import Lake, open_lake
from bartizan.lake.duck import Duck
from bartizan.lake.manifest import Manifest

LANES = 3  # appends under way at once
TENANTS = 2
ROWS = 3  # of one append, in two tables
FOR_S = 20.0  # nobody may forget a process


async def lane(lake: Lake, run: str, number: int, acks: int) -> None:
    end, n = time.monotonic() + FOR_S, 0
    while time.monotonic() < end:
        id = f"{run}-{number}-{n:05}"
        day = f"2026-11-{n % 2 + 1:02}T00:00:00Z"
        rows = [
            ("SigninLogs", {"UserId": id, "TimeGenerated": day}) if each % 2 else ("DeviceEvents", {"DeviceId": id})
            for each in range(ROWS)
        ]
        await lake.append(f"t{number % TENANTS}", rows, once=f"{run}-{number}/{n + 1}")
        os.write(acks, f"{id}\n".encode())
        n += 1
        await asyncio.sleep(0.002)


async def upkeep(manifest: Manifest, duck: Duck) -> None:
    kept = compact.Upkeep(manifest, duck, default_days=0, days={})
    await kept.run()


async def work(target: str, folder: str, run: str, acks: int) -> None:
    lake = open_lake(target)
    await lake.start()
    manifest = Manifest(lake, Path(folder), grace_s=0)
    ducks = [Duck(manifest.folder, threads=1, memory_mb=128) for _ in range(2)]
    await asyncio.gather(
        flush.Flusher(lake, manifest, ducks[0], pause_s=0.01).run(),
        upkeep(manifest, ducks[1]),
        *(lane(lake, run, number, acks) for number in range(LANES)),
    )


def main(target: str, folder: str, acks_file: str) -> None:
    acks = os.open(acks_file, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            os.close(0)
            os.dup2(2, 1)  # the answers' pipe is the parent's
            asyncio.run(asyncio.wait_for(work(target, folder, line.strip(), acks), FOR_S))
            os._exit(0)
        print(pid, flush=True)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
