"""From append to Parquet against DuckDB writing the same rows with nothing else, in one run:
`python -m bench.bench_parquet --rows N`.

Appends run in this process, the flush in another, as on a server. Floor: DuckDB alone, with the same threads, from the
same rows as a file of JSON lines to one file sorted by time. Beside it: how long a row takes from its append until a
query finds it while nothing else goes on.
"""

import argparse
import asyncio
import multiprocessing
import os
import statistics
import tempfile
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import duckdb

from bartizan.lake.buffer import open_lake, pack
from bartizan.lake.columns import SQL
from bartizan.lake.duck import Duck
from bartizan.lake.flush import Flusher
from bartizan.lake.manifest import Manifest
from bartizan.lake.storage import Storage, view
from bartizan.lake.tables import TABLES
from bench.bench_lake import Rows, row

THREADS = 2
LANES = 4  # callers at once
APPEND_ROWS = 5_000
LOOKS = 20
LOOK_S = 0.01


def flush(target: str, folder: str) -> None:
    """The process that makes files."""

    async def work() -> None:
        lake = open_lake(target)
        await lake.start()
        await Flusher(lake, Manifest(lake, Path(folder)), Duck(Path(folder), threads=THREADS)).run()

    asyncio.run(work())


def alone(folder: Path, parts: Sequence[Rows]) -> float:
    """Seconds of DuckDB for the same rows."""
    lines, made = folder / "rows.jsonl", folder / "rows.parquet"
    fields: set[str] = set()
    with lines.open("wb") as file:
        for part in parts:
            for one in pack(part, None):
                file.write(zlib.decompress(one.data))
                fields.update(one.fields.split(","))
    kinds = {**TABLES["DeviceProcessEvents"].kinds}
    columns = ", ".join(f"\"{name}\": '{SQL[kind]}'" for name, kind in kinds.items() if name in fields)
    source = f"read_json('{lines}', format = 'newline_delimited', columns = {{{columns}}})"
    db = duckdb.connect(config={"threads": THREADS})
    start = time.perf_counter()
    db.execute(f"COPY (FROM {source} ORDER BY Timestamp) TO '{made}' (FORMAT parquet, COMPRESSION zstd)")
    taken = time.perf_counter() - start
    db.close()
    return taken


def cpu_s(pid: int) -> float:
    """Processor seconds of another process (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def counted(storage: Storage) -> int:
    with duckdb.connect() as db:
        found = db.execute(f"SELECT count(*) FROM {storage.source('DeviceProcessEvents')}").fetchone()
    assert found is not None
    return int(found[0])


class Measured(NamedTuple):
    appended_s: float  # until all was appended
    found_s: float  # until all was found
    append_cpu_s: float
    flush_cpu_s: float
    seen_s: list[float]  # from the append of single rows until they were found
    bytes: int  # of files


async def measure(target: str, folder: Path, parts: Sequence[Rows], flusher: int) -> Measured:
    lake = open_lake(target)
    await lake.start()
    manifest = Manifest(lake, folder)
    waiting = iter(parts)
    last = 0

    async def lane() -> None:
        nonlocal last
        for part in waiting:
            last = max(last, await lake.append("t", part))

    used, used_there = time.process_time(), cpu_s(flusher)
    start = time.perf_counter()
    await asyncio.gather(*(lane() for _ in range(LANES)))
    appended, used = time.perf_counter() - start, time.process_time() - used
    while await manifest.position() < last:  # noqa: ASYNC110 - another process moves it
        await asyncio.sleep(LOOK_S)
    assert counted(await view(manifest, "t")) == sum(map(len, parts))
    found, used_there = time.perf_counter() - start, cpu_s(flusher) - used_there
    seen: list[float] = []
    for number in range(LOOKS):
        await asyncio.sleep(0.17)  # at different moments of the flush's rhythm
        begin = time.perf_counter()
        seq = await lake.append("t", [row(number)])
        while (await view(manifest, "t")).through < seq:  # noqa: ASYNC110 - as above
            await asyncio.sleep(LOOK_S)
        seen.append(time.perf_counter() - begin)
    size = sum(extent.bytes for extent in await manifest.extents("t"))
    await lake.erase("t")
    await manifest.sweep()
    await lake.close()
    return Measured(appended, found, used, used_there, seen, size)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=1_000_000, help="rows of the measurement")
    arguments.add_argument("--store", default="", help="postgresql:// address; empty: SQLite")
    given = arguments.parse_args()
    count = max(1, given.rows // APPEND_ROWS)
    parts = [[row(part * APPEND_ROWS + n) for n in range(APPEND_ROWS)] for part in range(count)]
    total = count * APPEND_ROWS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        floor = alone(folder, parts)
        target = given.store or str(folder / "data")
        process = multiprocessing.get_context("spawn").Process(target=flush, args=(target, str(folder / "lake")))
        process.start()
        try:
            time.sleep(2)  # until it looks
            done = asyncio.run(measure(target, folder / "lake", parts, process.pid or 0))
        finally:
            process.kill()
            process.join()
    print(
        f"\n{total:,} rows by {LANES} callers, {APPEND_ROWS} an append; {done.bytes / total:.0f} bytes a row in files"
    )
    for what, taken in (("DuckDB alone", floor), ("appended", done.appended_s), ("in Parquet, found", done.found_s)):
        print(f"  {what:22} {total / taken:>10,.0f} rows/s {taken / floor:>6.2f} times DuckDB alone")
    append_us, flush_us = (spent / total * 1e6 for spent in (done.append_cpu_s, done.flush_cpu_s))
    print(
        f"  processor time a row   {append_us:.1f} us append, {flush_us:.1f} us flush: "
        f"{2e6 / (append_us + flush_us):,.0f} rows/s of two processors that do nothing else"
    )
    print(
        f"  a row is found after   {statistics.median(done.seen_s):.2f} s (median), {max(done.seen_s):.2f} s at most; "
        f"the last of the bulk {done.found_s - done.appended_s:.2f} s after its append"
    )


if __name__ == "__main__":
    main()
