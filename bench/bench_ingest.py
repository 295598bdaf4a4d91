"""Records over HTTP until they are durable, for several sources, against raw inserts of the same rows.

The floor takes the rows that the server wrote (documents, entity index, feed, raw records), and inserts them by
executemany into a new file with the same tables and indexes, as many to a transaction.

`python -m bench.bench_ingest [--rows N] [--callers N] [--processes N]`
"""

import argparse
import asyncio
import json
import os
import random
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import aiohttp
import apsw

from bartizan.demo.organisation import Organisation
from bartizan.demo.telemetry import ordinary
from bartizan.ingest.pipeline import WRITE_RECORDS
from bench.bench_api import bartizan, correlated, cpu_s, free_port, group_of, records, running, serve_command, signed_in

BODY_RECORDS = 600  # of one request
WARM_S = 3.0  # for the process that reads bulks to be there
TARGET = 1_500  # alerts a second on two idle cores
TABLES = ("c_alerts_v2", "c_alerts", "entities", "changes", "attachments")
API = "bartizan api"
TELEMETRY = ("suricata_eve", "wazuh", "falco")


def telemetry(source: str, rows: int) -> list[dict[str, Any]]:
    """Alerts of the sample organisation in the vendor's form, of as many days as it takes, none twice."""
    made: list[dict[str, Any]] = []
    org, day = Organisation(), datetime(2026, 1, 1, tzinfo=UTC)
    kinds = [item for item in islice(_items(org, day), 20_000) if item.path == f"/ingest/{source}"]
    draw = random.Random(source)
    for n in range(rows):
        body = dict(kinds[n % len(kinds)].body)
        at = day + timedelta(seconds=n)
        for name, value in (
            ("flow_id", draw.getrandbits(48)),
            ("id", f"{at.timestamp():.6f}"),
            ("uuid", f"{n:032x}"),
            ("timestamp", at.isoformat()),
            ("time", at.isoformat()),
        ):
            if name in body:
                body[name] = value
        made.append(body)
    return made


def _items(org: Organisation, day: datetime) -> Iterator[Any]:
    return ordinary(org, day, day + timedelta(days=120))


def bodies_of(every: list[dict[str, Any]]) -> list[str]:
    starts = range(0, len(every), BODY_RECORDS)
    return ["\n".join(json.dumps(each) for each in every[start : start + BODY_RECORDS]) for start in starts]


async def sent(
    session: aiohttp.ClientSession, root: str, source: str, bodies: list[str], callers: int
) -> dict[str, int]:
    """What the server says of all of them, which are used up, in order, as a collector sends them."""
    said = {"accepted": 0, "repeats": 0, "ids": 0}

    async def caller() -> None:
        while bodies:
            async with session.post(f"{root}/ingest/{source}", data=bodies.pop(0)) as answer:
                assert answer.status == 200, await answer.text()
                receipt = await answer.json()
            said["accepted"] += receipt["accepted"]
            said["repeats"] += receipt["repeats"]
            said["ids"] += len(receipt["ids"])

    await asyncio.gather(*(caller() for _ in range(callers)))
    return said


def rows_since(db: apsw.Connection, seq: int) -> dict[str, list[tuple[Any, ...]]]:
    """What was written after a change number, by table, in the order of writing."""
    ids = "SELECT id FROM c_alerts_v2 WHERE seq > ?"
    where = {
        "c_alerts_v2": "seq > ? ORDER BY seq",
        "c_alerts": "seq > ? ORDER BY seq",
        "changes": "seq > ? ORDER BY seq",
        "entities": f"id IN ({ids}) ORDER BY created",
        "attachments": f"id IN ({ids}) ORDER BY rowid",
    }
    return {name: db.execute(f"SELECT * FROM {name} WHERE {where[name]}", (seq,)).fetchall() for name in TABLES}


def raw_insert(folder: Path, db: apsw.Connection, rows: dict[str, list[tuple[Any, ...]]]) -> tuple[float, float]:
    """(seconds, seconds of CPU) for the rows in a new file."""
    made = apsw.Connection(str(folder / f"raw{time.monotonic_ns()}.db"))
    made.execute("PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
    made.wal_autocheckpoint(2_000)
    marks = ", ".join("?" for _ in TABLES)
    schema = f"SELECT sql FROM sqlite_schema WHERE tbl_name IN ({marks}) AND sql IS NOT NULL ORDER BY type DESC"
    for (statement,) in db.execute(schema, TABLES).fetchall():
        made.execute(str(statement))
    alerts = len(rows["c_alerts_v2"])
    began, used = time.perf_counter(), time.process_time()
    steps = max(1, -(-alerts // WRITE_RECORDS))
    for step in range(steps):
        made.execute("BEGIN IMMEDIATE")
        for name, every in rows.items():
            part = every[len(every) * step // steps : len(every) * (step + 1) // steps]
            if part:
                made.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' for _ in part[0])})", part)
        made.execute("COMMIT")
    took = time.perf_counter() - began, time.process_time() - used
    made.close()
    return took


def cpu_by_name(pid: int) -> dict[str, float]:
    """Seconds of CPU of the group, by what its processes are called."""
    found: dict[str, float] = {}
    for each in group_of(pid):
        name = Path(f"/proc/{each}/comm").read_text().strip()
        found[name] = found.get(name, 0.0) + cpu_s(each)
    return found


def told(cpu: dict[str, float]) -> str:
    parts = ", ".join(f"{name} {used:.0f}" for name, used in sorted(cpu.items(), key=lambda item: -item[1]) if used > 1)
    return f"{sum(cpu.values()):.0f} ({parts})"


async def measure(folder: Path, rows: int, callers: int, processes: int) -> None:
    data = folder / "data"
    app = bartizan("app", "add", "bench", "--all", data=data)
    port = free_port()
    root = f"http://127.0.0.1:{port}"
    os.environ["BARTIZAN_PROCESSES"] = str(processes)
    with running(serve_command(data, port), port) as pid:
        async with signed_in(root, app) as session:
            await sent(session, root, "crowdstrike_falcon", bodies_of(list(records(100))), 1)
            await asyncio.sleep(WARM_S)
            db = apsw.Connection(str(data / "state.db"), flags=apsw.SQLITE_OPEN_READONLY)
            for source in ("crowdstrike_falcon", *TELEMETRY):
                every = list(records(rows + 100))[100:] if source == "crowdstrike_falcon" else telemetry(source, rows)
                bodies = bodies_of(every)
                seq = int(str(db.execute("SELECT seq FROM clock").get))
                used = cpu_by_name(pid)
                began, mine = time.perf_counter(), time.process_time()
                said = await sent(session, root, source, bodies, callers)
                answered = time.perf_counter() - began
                await correlated(db)
                seconds = time.perf_counter() - began
                mine = time.process_time() - mine
                alerts = said["ids"]
                cpu = {name: (each - used.get(name, 0.0)) / alerts * 1e6 for name, each in cpu_by_name(pid).items()}
                assert said["accepted"] == rows, said
                raw = raw_insert(folder, db, rows_since(db, seq))
                raw_us, mine_us = raw[1] / alerts * 1e6, mine / alerts * 1e6
                print(
                    f"{source}: {alerts / answered:,.0f} alerts/s answered, {alerts / seconds:,.0f}/s in incidents "
                    f"(target {TARGET:,}); us of CPU an alert: {told(cpu)}, of the callers {mine_us:.0f}; raw insert "
                    f"{alerts / raw[0]:,.0f}/s, {raw_us:.0f} us: {raw[0] / seconds:.2f} of its rate, "
                    f"{cpu[API] / raw_us:.1f} times its CPU",
                    flush=True,
                )
            db.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=12_000, help="records of each source: some ten seconds of work")
    parser.add_argument("--callers", type=int, default=4)
    parser.add_argument("--processes", type=int, default=1, help="API processes of the server")
    asked = parser.parse_args()
    os.environ["BARTIZAN_TLS"] = "off"
    with tempfile.TemporaryDirectory(prefix="bartizan-bench-") as folder:
        print(f"{time.strftime('%Y-%m-%d')} on {os.cpu_count()} cores, SQLite, {asked.callers} callers")
        asyncio.run(measure(Path(folder), asked.rows, asked.callers, asked.processes))


if __name__ == "__main__":
    main()
