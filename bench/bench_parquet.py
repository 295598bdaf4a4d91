"""From append to Parquet against DuckDB writing the same rows with nothing else, in one run:
`python -m bench.bench_parquet --rows N`.

Appends run in this process, the flush in another, as on a server. Floor: DuckDB alone, with the same threads, from the
same rows as a file of JSON lines to one file sorted by time. Beside it: how long a row takes from its append until a
query finds it while nothing else goes on.
"""

import argparse
import asyncio
import multiprocessing
import statistics
import tempfile
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

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


def counted(storage: Storage) -> int:
    with duckdb.connect() as db:
        found = db.execute(f"SELECT count(*) FROM {storage.source('DeviceProcessEvents')}").fetchone()
    assert found is not None
    return int(found[0])


async def measure(target: str, folder: Path, parts: Sequence[Rows]) -> tuple[float, float, list[float], int]:
    """Seconds until all is appended, and until all is found; seconds of single rows; bytes of files."""
    lake = open_lake(target)
    await lake.start()
    manifest = Manifest(lake, folder)
    waiting = iter(parts)
    last = 0

    async def lane() -> None:
        nonlocal last
        for part in waiting:
            last = max(last, await lake.append("t", part))

    start = time.perf_counter()
    await asyncio.gather(*(lane() for _ in range(LANES)))
    appended = time.perf_counter() - start
    while await manifest.position() < last:  # noqa: ASYNC110 - another process moves it
        await asyncio.sleep(LOOK_S)
    assert counted(await view(manifest, "t")) == sum(map(len, parts))
    found = time.perf_counter() - start
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
    return appended, found, seen, size


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
            appended, found, seen, size = asyncio.run(measure(target, folder / "lake", parts))
        finally:
            process.kill()
            process.join()
    print(f"\n{total:,} rows by {LANES} callers, {APPEND_ROWS} an append; {size / total:.0f} bytes a row in files")
    print(f"  DuckDB alone           {total / floor:>10,.0f} rows/s")
    print(f"  appended               {total / appended:>10,.0f} rows/s {appended / floor:>6.2f} times DuckDB alone")
    print(f"  in Parquet, found      {total / found:>10,.0f} rows/s {found / floor:>6.2f} times DuckDB alone")
    print(
        f"  a row is found after   {statistics.median(seen):.2f} s (median), {max(seen):.2f} s at most, "
        f"{found - appended:.2f} s after the bulk"
    )


if __name__ == "__main__":
    main()
