"""Run as a program: forks writers that a test kills. Reads names of runs from stdin, answers each with a pid.

A writer appends a line to the file of acknowledgements after an append has returned, never before.
"""

import asyncio
import os
import sys
import time
from pathlib import Path

import bartizan.lake.sqlite  # noqa: F401 - imported before the fork, so that a writer starts at once
from bartizan.lake.buffer import Lake, open_lake

LANES = 8  # appends under way at once
ROWS = 5  # of one append, in two tables
FOR_S = 20.0  # nobody may forget a writer


async def lane(lake: Lake, run: str, number: int, acks: int) -> None:
    end, n = time.monotonic() + FOR_S, 0
    while time.monotonic() < end:
        id = f"{run}-{number:02}-{n:05}"
        rows = [
            ("SigninLogs" if each % 2 else "DeviceEvents", {"UserId" if each % 2 else "DeviceId": id})
            for each in range(ROWS)
        ]
        once = f"{run}-{number}/{n + 1}"
        await lake.append(f"t{number}", rows, once=once)
        os.write(acks, f"{id}\n".encode())
        n += 1


async def write(target: str, run: str, acks: int) -> None:
    lake = open_lake(target)
    await lake.start()
    await asyncio.gather(*(lane(lake, run, number, acks) for number in range(LANES)))


def main(target: str, acks_file: str) -> None:
    acks = os.open(acks_file, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    Path(acks_file).touch()
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            os.close(0)
            os.dup2(2, 1)  # the answers' pipe is the parent's
            asyncio.run(write(target, line.strip(), acks))
            os._exit(0)
        print(pid, flush=True)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
