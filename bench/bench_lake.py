"""The lake's buffer against the floor that SQLite gives without it, in one run: `python -m bench.bench_lake --rows N`.

Floor: raw transactions that insert the same bytes, one a commit, with the same durability. Beside it: what coercing and
packing cost alone, since they are most of the CPU of an append.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw

from bartizan.lake.buffer import Packed, open_lake, pack

ROUNDS = 3
LANES = 16  # callers at once
BATCH_ROWS = (1, 100, 5_000)
Rows = list[tuple[str, dict[str, Any]]]

_TABLES = """
CREATE TABLE batches (seq INTEGER PRIMARY KEY, tenant TEXT, name TEXT, count INTEGER, first TEXT, last TEXT,
    bytes INTEGER, data BLOB);
CREATE INDEX by_tenant ON batches (tenant, name, seq);
"""


def row(n: int) -> tuple[str, dict[str, Any]]:
    return (
        "DeviceProcessEvents",
        {
            "Timestamp": f"2026-11-23T{n // 3600 % 24:02}:{n // 60 % 60:02}:{n % 60:02}.{n * 7919 % 10**7:07}Z",
            "DeviceId": f"{n * 2_654_435_761 % 2**40:040x}",
            "DeviceName": f"pc{n % 5_000}.example.org",
            "ActionType": "ProcessCreated",
            "FileName": ("cmd.exe", "powershell.exe", "svchost.exe")[n % 3],
            "FolderPath": "C:\\Windows\\System32",
            "SHA256": f"{n * 40_503 % 2**60:064x}",
            "ProcessId": n % 65_536,
            "ProcessCommandLine": f"cmd.exe /c run --job {n} --host pc{n % 5_000}",
            "AccountName": f"user{n % 900}",
            "InitiatingProcessFileName": "explorer.exe",
            "InitiatingProcessId": n * 7 % 65_536,
            "AdditionalFields": '{"signed":true}',
            "Unknown": n,
        },
    )


def raw(folder: Path, packed: Sequence[Packed]) -> float:
    """Seconds for the same batches as single durable transactions on one connection."""
    connection = apsw.Connection(str(folder / "raw.db"))
    connection.execute("PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL").fetchall()
    connection.execute(_TABLES)
    start = time.perf_counter()
    for each in packed:
        connection.execute(
            "INSERT INTO batches (tenant, name, count, first, last, bytes, data) VALUES (?, ?, ?, ?, ?, ?, ?)",
            ("t", each.table, each.count, each.first, each.last, each.plain_bytes, each.data),
        )
    taken = time.perf_counter() - start
    connection.close()
    return taken


async def appends(target: str | Path, parts: Sequence[Rows], lanes: int) -> float:
    lake = open_lake(target)
    await lake.start()
    waiting = iter(parts)

    async def lane() -> None:
        for part in waiting:
            await lake.append("t", part)

    start = time.perf_counter()
    await asyncio.gather(*(lane() for _ in range(lanes)))
    taken = time.perf_counter() - start
    assert (await lake.sizes()).rows == sum(map(len, parts))
    await lake.erase("t")
    await lake.close()
    return taken


def measure(target: str, total: int, size: int) -> None:
    count = max(20, min(1_000, total // size))
    parts = [[row(part * size + n) for n in range(size)] for part in range(count)]
    times: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        start = time.perf_counter()
        packed = [one for part in parts for one in pack(part, None)]
        times.setdefault("coerce and pack alone", []).append(time.perf_counter() - start)
        with tempfile.TemporaryDirectory() as folder:
            times.setdefault("raw apsw, same bytes", []).append(raw(Path(folder), packed))
            for lanes in (1, LANES):
                where = target or Path(folder) / f"lake{lanes}"
                taken = asyncio.run(appends(where, parts, lanes))
                times.setdefault(f"lake, {lanes} callers", []).append(taken)
    best = {name: min(taken) for name, taken in times.items()}
    floor, made = best["raw apsw, same bytes"], best["coerce and pack alone"]
    bytes_of = sum(one.plain_bytes for one in packed)
    print(
        f"\n{count} batches of {size} rows, {bytes_of / count / size:.0f} bytes a row as JSON, "
        f"compressed to {sum(len(one.data) for one in packed) / bytes_of:.0%}"
    )
    for name, taken in best.items():
        spread = statistics.stdev(times[name]) / statistics.mean(times[name])
        beside = "" if not name.startswith("lake") else f", {taken / (floor + made):.2f} of making and raw insert"
        print(
            f"  {name:24} {count * size / taken:>10,.0f} rows/s {count / taken:>8,.0f} batches/s "
            f"{taken / floor:>6.2f} times raw{beside}  (spread {spread:.0%})"
        )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=100_000, help="rows of a measurement")
    arguments.add_argument("--store", default="", help="postgresql:// address; empty: SQLite")
    given = arguments.parse_args()
    for size in BATCH_ROWS:
        measure(given.store, given.rows, size)


if __name__ == "__main__":
    main()
