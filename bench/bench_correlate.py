"""Correlation: a recorded stream through `replay`, and what a flow of alerts does to analysts who change them.

`python -m bench.bench_correlate [--rate 500] [--seconds 10] [--stream FILE.csv.gz ...]`

The floor of the replay is reading the same rows. Without `--stream` it makes a stream of its own.
"""

import argparse
import asyncio
import csv
import gzip
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import aiohttp

from bench.bench_api import bartizan, fetched, free_port, patch_of, records, running, serve_command, signed_in

ROWS = 176_323  # as many as the labelled streams of two real networks hold
TARGET_S = 30.0
LANES = 4  # analysts
PAUSE_S = 0.05
BODIES_S = 10  # bodies a second that bring the flow


def made_stream(folder: Path) -> Path:
    """Detectors on hosts of one network: most of the rows repeat, few detectors are rare."""
    draw, file = random.Random(3), folder / "stream.csv.gz"
    with gzip.open(file, "wt", newline="") as out:
        lines = csv.writer(out)
        lines.writerow(["time", "name", "ip", "host", "short", "time_label", "event_label"])
        at = 1_640_995_200.0
        for _ in range(ROWS):
            at += draw.expovariate(1.0)
            host = draw.randrange(60)
            number = min(int(draw.paretovariate(0.7)), 150)
            lines.writerow(
                [f"{at:.3f}", f"Detector {number}", f"10.0.0.{host}", f"host{host}", f"D-{number}", "-", "-"]
            )
    return file


def replayed(files: list[Path], folder: Path) -> None:
    rows, reading, seconds = 0, 0.0, 0.0
    for number, file in enumerate(files):
        began = time.perf_counter()
        with gzip.open(file, "rt", newline="") as lines:
            rows += sum(1 for _ in csv.reader(lines)) - 1
        reading += time.perf_counter() - began
        out = folder / f"incidents{number}.jsonl"
        command = [sys.executable, "-m", "bartizan", "correlate", "replay", str(file), "--out", str(out)]
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds += time.perf_counter() - began
    met = "met" if seconds <= TARGET_S else "MISSED"
    print(
        f"replay of {rows:,} alerts in {len(files)} stream(s): {seconds:.1f} s (target {TARGET_S:g} s, {met}), "
        f"{rows / seconds:,.0f}/s, {seconds / reading:.1f} times reading them",
        flush=True,
    )


async def flow(session: aiohttp.ClientSession, root: str, rate: int, until: float) -> int:
    """`rate` alerts a second in bodies, at their times whatever the server does; returns how many were stored."""
    count, sent, stored = rate // BODIES_S, 0, 0
    pending: set[asyncio.Task[int]] = set()

    async def send(number: int) -> int:
        every = list(records(count))
        for n, each in enumerate(every):
            each["event"]["CompositeId"] = f"flow:{number}:{n}"
        body = "\n".join(json.dumps(each) for each in every)
        async with session.post(f"{root}/ingest/crowdstrike_falcon", data=body) as answer:
            return int((await answer.json())["accepted"]) if answer.status == 200 else 0

    began = time.monotonic()
    while time.monotonic() < until:
        pending.add(asyncio.create_task(send(sent)))
        sent += 1
        await asyncio.sleep(max(0.0, began + sent / BODIES_S - time.monotonic()))
    stored = sum(await asyncio.gather(*pending))
    return stored


async def patched(session: aiohttp.ClientSession, root: str, ids: list[str], seconds: float) -> list[float]:
    took: list[float] = []
    until = time.monotonic() + seconds

    async def analyst(number: int) -> None:
        n = number
        while time.monotonic() < until:
            began = time.perf_counter()
            url = f"{root}/v1.0/security/alerts_v2/{ids[n % len(ids)]}"
            async with session.patch(url, json=patch_of(time.monotonic_ns())) as answer:
                await answer.read()
                assert answer.status == 200
            took.append((time.perf_counter() - began) * 1e3)
            n += LANES
            await asyncio.sleep(PAUSE_S)

    await asyncio.gather(*(analyst(number) for number in range(LANES)))
    return took


async def analysts(data: Path, rate: int, seconds: float) -> None:
    app = bartizan("app", "add", "bench", "--all", data=data)
    port = free_port()
    root = f"http://127.0.0.1:{port}"
    with running(serve_command(data, port), port):
        async with signed_in(root, app) as session:
            await flow(session, root, 100, time.monotonic() + 2)
            page = json.loads((await fetched(session, f"{root}/v1.0/security/alerts_v2?$top=100"))[0])
            ids = [each["id"] for each in page["value"]]
            quiet = await patched(session, root, ids, seconds)
            flowing = asyncio.create_task(flow(session, root, rate, time.monotonic() + seconds + 1))
            await asyncio.sleep(1)
            loaded = await patched(session, root, ids, seconds)
            stored = await flowing
    for name, took in (("no", quiet), (f"{stored / (seconds + 1):.0f}", loaded)):
        p50, p99 = statistics.median(took), statistics.quantiles(took, n=100)[98]
        print(f"PATCH while {name} alerts a second come in: p50 {p50:.1f} ms, p99 {p99:.1f} ms", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=500, help="alerts a second")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--stream", type=Path, nargs="*", default=[])
    asked = parser.parse_args()
    os.environ["BARTIZAN_TLS"] = "off"
    with tempfile.TemporaryDirectory(prefix="bartizan-bench-") as folder:
        print(f"{time.strftime('%Y-%m-%d')} on {os.cpu_count()} cores, SQLite")
        replayed(asked.stream or [made_stream(Path(folder))], Path(folder))
        asyncio.run(analysts(Path(folder) / "data", asked.rate, asked.seconds))


if __name__ == "__main__":
    main()
