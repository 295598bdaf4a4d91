"""The store against the floor that the same engine gives without it, in one run.

`python -m bench.bench_store --rows N [--store DSN]`, on its own or as a part of `make bench`.
Floors: raw inserts of the same rows, the same page as hand-written SQL, the same changes in raw transactions.
Pages are measured without learned orders; those that are learned where they are asked for repeatedly, then once more.
"""

import argparse
import asyncio
import hashlib
import shutil
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import msgspec

from bartizan.errors import Timeout
from bartizan.odata.tree import And, Compare, Expr, Literal, Order
from bartizan.odata.tree import Any as AnyOf
from bartizan.odata.tree import Path as Property
from bartizan.store import CREATED, ETAG, UPDATED, Collection, Column, Draft, Entity, Query, Store, Tx, open_store

ALERTS = Collection(
    "alerts",
    columns=(
        Column("createdDateTime", "instant"),
        Column("lastModifiedDateTime", "instant"),
        Column("severity", "enum"),
        Column("status", "enum"),
        Column("category"),
        Column("assignedTo"),
        Column("feedback", "enum"),
        Column("title", index=False),
    ),
    order=(("createdDateTime", True),),
    entities={"hostStates/fqdn": "host"},
    created="createdDateTime",
    updated="lastModifiedDateTime",
)
SHARED, RARE, MIDDLE = "gateway.example.org", "patient-zero.example.org", "middle.example.org"
SHARE = 0.9  # of all alerts name the shared host
RARE_EVERY = 100_000
MIDDLE_EVERY = 200  # alerts that name a host of middling frequency
CATEGORIES = sorted(f"category {n}" for n in range(40))
FILLING = "An alert's description, its evidence and its remediation steps take about three kilobytes. " * 30
BATCH = 500


def chance(n: int, salt: int, choices: int) -> int:
    """The same for the same row in every run, and independent of its other columns."""
    return int.from_bytes(hashlib.blake2b(f"{n}/{salt}".encode(), digest_size=4).digest()) % choices


def alert(n: int) -> Draft:
    hosts = [f"pc{n % 5_000}.example.org"]
    if n % 10 < SHARE * 10:
        hosts.append(SHARED)
    if n % RARE_EVERY == 5:
        hosts.append(RARE)
    if n % MIDDLE_EVERY == 7:
        hosts.append(MIDDLE)
    body = {
        "@odata.etag": f'W/"{ETAG}"',
        "id": f"alert-{n:08}",
        "createdDateTime": CREATED,
        "lastModifiedDateTime": UPDATED,
        "severity": ("low", "medium", "high", "informational")[chance(n, 1, 4)],
        "status": "resolved" if chance(n, 2, 20) else "newAlert",
        "category": f"category {chance(n, 3, 40)}",
        "feedback": feedback(f"category {chance(n, 3, 40)}"),
        "assignedTo": f"analyst{chance(n, 4, 30)}@example.org" if chance(n, 5, 3) else None,
        "title": f"Suspicious thing {n % 900} on {hosts[0]}",
        "hostStates": [{"fqdn": host, "privateIpAddress": f"10.0.{n % 250}.{n % 199}"} for host in hosts],
        "description": FILLING,
    }
    columns: dict[str, Any] = {column.path: body[column.path] for column in ALERTS.columns}
    return Draft(
        "alerts",
        str(body["id"]),
        msgspec.json.encode(body),
        columns=columns,
        entities=tuple(Entity("host", host) for host in hosts),
    )


def feedback(category: str) -> str:
    """It goes with the category, so that what has it stands last in the order of categories."""
    place = CATEGORIES.index(category)
    return "truePositive" if place == 39 else "benignPositive" if place >= 30 else "falsePositive"


def eq(name: str, value: str) -> Expr:
    return Compare("eq", Property((name,), kind="enum"), Literal(value, "enum"))


def on_host(name: str) -> Expr:
    return AnyOf(
        Property(("hostStates",)), "h", Compare("eq", Property(("fqdn",), "h", fold=True), Literal(name, "text"))
    )


PAGES: dict[str, Query] = {
    "newest 100": Query(100),
    "severity eq high": Query(100, eq("severity", "high")),
    "severity and status": Query(100, And((eq("severity", "high"), eq("status", "newAlert")))),
    "orderby category": Query(100, order=(Order(Property(("category",))),)),
    "severity, lastModified desc": Query(
        100, eq("severity", "high"), (Order(Property(("lastModifiedDateTime",)), True),)
    ),
    "lambda rare": Query(100, on_host(RARE)),
    "lambda middling": Query(100, on_host(MIDDLE)),
    "lambda shared by 90%": Query(100, on_host(SHARED)),
    "lambda shared, severity, by category": Query(
        100, And((on_host(SHARED), eq("severity", "high"))), (Order(Property(("category",))),)
    ),
    "shared, of the last category, by it": Query(
        100, And((on_host(SHARED), eq("feedback", "truePositive"))), (Order(Property(("category",))),)
    ),
    "shared, of the last quarter, by it": Query(
        100, And((on_host(SHARED), eq("feedback", "benignPositive"))), (Order(Property(("category",))),)
    ),
    "lambda of nobody": Query(100, on_host("nobody.example.org")),
}
LEARNED = ("shared, of the last category, by it", "shared, of the last quarter, by it")  # by ("feedback", "category")


async def timed(what: Callable[[], Awaitable[Any]], seconds: float = 0.5, least: int = 5) -> tuple[float, float]:
    """Median wall and mean CPU time in ms."""
    await what()
    times: list[float] = []
    end, cpu = time.perf_counter() + seconds, time.process_time()
    while time.perf_counter() < end or len(times) < least:
        begun = time.perf_counter()
        await what()
        times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1e3, (time.process_time() - cpu) / len(times) * 1e3


async def load(store: Store, rows: int, tenant_id: str = "t1") -> float:
    """Rows a second."""
    tenant, spent = store.tenant(tenant_id), 0.0
    for first in range(0, rows, BATCH):
        drafts = [alert(n) for n in range(first, min(first + BATCH, rows))]
        begun = time.perf_counter()
        await tenant.write(partial(put, drafts), actor="bench")
        spent += time.perf_counter() - begun
    return rows / spent


def put(drafts: list[Draft], tx: Tx) -> None:
    for one in drafts:
        tx.put(one)


RAW_TABLES = (
    "CREATE TABLE a (tenant, id, seq, created, updated, severity, status, category, assigned, title, doc)",
    "CREATE UNIQUE INDEX a0 ON a (tenant, id)",
    "CREATE INDEX a1 ON a (tenant, created DESC, id)",
    *(
        f"CREATE INDEX a_{name} ON a (tenant, {name}, created DESC, id)"
        for name in ("updated", "severity", "status", "category", "assigned")
    ),
    "CREATE TABLE e (tenant, collection, kind, value, created, id, role, "
    "PRIMARY KEY (tenant, collection, kind, value, created DESC, id, role)) WITHOUT ROWID",
    "CREATE TABLE f (seq INTEGER PRIMARY KEY, tenant, collection, id, op, at, actor, changed)",
    "CREATE INDEX f1 ON f (collection, seq)",
)


def raw_insert(folder: Path, rows: int) -> float:
    """The same rows into the same tables by plain executemany: what the disk and SQLite cost."""
    connection = apsw.Connection(str(folder / "raw.db"))
    connection.execute("PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
    for statement in RAW_TABLES:
        connection.execute(statement)
    spent = 0.0
    for first in range(0, rows, BATCH):
        drafts = [alert(n) for n in range(first, min(first + BATCH, rows))]
        begun = time.perf_counter()
        docs, entities, changes = [], [], []
        for n, one in enumerate(drafts, first + 1):
            at = f"2026-11-23T04:50:30.{n:07}Z"
            c = one.columns
            docs.append(
                (
                    "t1",
                    one.id,
                    n,
                    at,
                    at,
                    c["severity"],
                    c["status"],
                    c["category"],
                    c["assignedTo"],
                    c["title"],
                    one.doc,
                )
            )
            entities += [("t1", "alerts", "host", entity.value, at, one.id, "") for entity in one.entities]
            changes.append((n, "t1", "alerts", one.id, "created", at, "bench", None))
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(f"INSERT INTO a VALUES ({', '.join('?' * 10)}, CAST(? AS TEXT))", docs)
        connection.executemany("INSERT INTO e VALUES (?, ?, ?, ?, ?, ?, ?)", entities)
        connection.executemany("INSERT INTO f VALUES (?, ?, ?, ?, ?, ?, ?, ?)", changes)
        connection.execute("COMMIT")
        spent += time.perf_counter() - begun
    connection.close()
    return rows / spent


async def patch_rate(
    store: Store, callers: int, rows: int, seconds: float = 3.0, *, tenant_id: str = "t1", sorted_by: bool = False
) -> float:
    """Durable changes a second by that many callers, each reading and replacing one document; `sorted_by`: with
    another category."""
    tenant, done = store.tenant(tenant_id), 0
    end = time.perf_counter() + seconds

    async def caller(number: int) -> None:
        nonlocal done
        n = number
        while time.perf_counter() < end:
            n = (n + 7_919) % rows
            one = alert(n)
            if sorted_by:
                one.columns = {**one.columns, "category": CATEGORIES[done % 40]}

            def change(tx: Tx, one: Draft = one) -> None:
                tx.get("alerts", one.id)
                tx.put(one, changed={"status": ("newAlert", "resolved")})

            await tenant.write(change, actor="bench")
            done += 1

    await asyncio.gather(*(caller(number * 101) for number in range(callers)))
    return done / seconds


def raw_patch_rate(file: Path, rows: int, group: int, seconds: float = 3.0) -> float:
    """The same as bare statements, `group` to a transaction, on the store's own file."""
    connection = apsw.Connection(str(file))
    connection.execute("PRAGMA synchronous = FULL")
    seq = time.time_ns()  # far above the store's own
    done, n, end = 0, 5, time.perf_counter() + seconds
    while time.perf_counter() < end:
        connection.execute("BEGIN IMMEDIATE")
        for _ in range(group):
            n, seq = (n + 7_919) % rows, seq + 1
            one = alert(n)
            connection.execute("SELECT * FROM c_alerts WHERE tenant = 't1' AND id = ?", (one.id,)).fetchall()
            connection.execute(
                "UPDATE c_alerts SET seq = ?, updated = ?, x_lastModifiedDateTime = ?, doc = CAST(? AS TEXT) "
                "WHERE tenant = 't1' AND id = ?",
                (seq, f"2027-{seq}", f"2027-{seq}", one.doc, one.id),
            )
            connection.execute(
                "INSERT INTO changes VALUES (?, 't1', 'alerts', ?, 'updated', '2027', 'b', NULL)", (seq, one.id)
            )
        connection.execute("COMMIT")
        done += group
    connection.close()
    return done / seconds


def raw_page(file: Path) -> Callable[[], Awaitable[Any]]:
    """Hand-written SQL for the newest 100 of one severity."""
    connection = apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)
    sql = (
        "SELECT id, CAST(doc AS BLOB) FROM c_alerts WHERE tenant = 't1' AND x_severity = 'high' "
        "ORDER BY x_createdDateTime DESC, id LIMIT 101"
    )

    async def page() -> Any:
        return connection.execute(sql).fetchall()

    return page


async def pages(store: Store, names: Iterable[str], tenant_id: str = "t1") -> dict[str, tuple[float, float]]:
    tenant = store.tenant(tenant_id)
    return {name: await timed(partial(tenant.page, "alerts", PAGES[name])) for name in names}


async def learned(target: str | None, rows: int, few: int, folder: Path, plain: tuple[float, float]) -> None:
    """The same orders at both sizes when they are learned: what is learned at the one size is not set against what is
    not at the other. `plain` are the rates of loading and of changes without any."""
    big = open_store(target or folder / "big", (ALERTS,))
    await big.start()
    begun = time.perf_counter()
    await big.learn("alerts", "feedback", "category")
    print(f"an order of {rows} rows learned in {time.perf_counter() - begun:.1f} s", flush=True)
    many = await pages(big, LEARNED)
    await big.close()
    small = open_store(target or folder / "small", (ALERTS,))
    await small.start()
    await small.learn("alerts", "feedback", "category")
    await small.erase("t2")
    rate = await load(small, few, "t2")
    print(f"load of {few} rows: {rate:,.0f}/s with a learned order, {plain[0]:,.0f}/s without")
    found = await pages(small, LEARNED, "t2")
    rate = await patch_rate(small, 64, few, tenant_id="t2", sorted_by=True)
    print(f"PATCH by 64 of what it sorts by: {rate:,.0f}/s with a learned order, {plain[1]:,.0f}/s without")
    for name, (one, _) in found.items():
        ms = many[name][0]
        print(f"{name + ', learned':40} {few}: {one:8.3f} ms   {rows}: {ms:8.3f} ms   x{ms / one:.1f}", flush=True)
    await small.erase("t2")
    await small.close()


async def floors(store: Store, file: Path, rows: int, rate: float, page: tuple[float, float]) -> None:
    """What bare SQLite does in the same minute."""
    raw = raw_insert(file.parent, rows)
    print(f"raw insert of {rows} rows: {raw:,.0f}/s; the store gives {rate / raw:.2f} of it")
    bare = await timed(raw_page(file))
    print(f"page of 100, ms: bare {bare[0]:.3f} (CPU {bare[1]:.3f}), store {page[0]:.3f} (CPU {page[1]:.3f})")
    for callers in (1, 8, 64):
        rate = await patch_rate(store, callers, rows)
        alone, together = (raw_patch_rate(file, rows, size) for size in (1, callers))
        print(
            f"PATCH by {callers}: {rate:,.0f}/s; bare {alone:,.0f}/s one a commit, {together:,.0f}/s {callers} a commit"
        )


async def run(target: str | None, rows: int, folder: Path) -> None:
    """`folder` may hold the large store of an earlier run."""
    few = min(rows, 10_000)
    shutil.rmtree(folder / "small", ignore_errors=True)
    small = open_store(target or folder / "small", (ALERTS,), learns=False)
    await small.start()
    await small.erase("t1")
    rate = await load(small, few)
    print(f"load of {few} rows: {rate:,.0f}/s")
    at_few = await pages(small, PAGES)
    if target is None:
        await floors(small, folder / "small" / "state.db", few, rate, at_few["severity eq high"])
    changes = await patch_rate(small, 64, few, sorted_by=True)
    await small.erase("t1")
    await small.close()
    big = open_store(target or folder / "big", (ALERTS,), learns=False)
    await big.start()
    tenant = big.tenant("t1")
    if await tenant.count("alerts") != rows:
        await big.erase("t1")
        print(f"load of {rows} rows: {await load(big, rows):,.0f}/s", flush=True)
    for name, query in PAGES.items():
        one = at_few[name][0]
        try:
            many = (await timed(partial(tenant.page, "alerts", query)))[0]
        except Timeout as refused:
            print(f"{name:40} {few}: {one:8.3f} ms   {rows}: refused: {refused.message}", flush=True)
            continue
        print(f"{name:40} {few}: {one:8.3f} ms   {rows}: {many:8.3f} ms   x{many / one:.1f}", flush=True)
    for name, filter in (("all", None), ("high", eq("severity", "high")), ("middling host", on_host(MIDDLE))):
        wall, _ = await timed(partial(tenant.count, "alerts", filter), 0.1, 1)
        print(f"count of {name}: {wall:.1f} ms")
    await big.close()
    await learned(target, rows, few, folder, (rate, changes))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=200_000)
    options.add_argument(
        "--store", help="a PostgreSQL DSN of an empty database; without it SQLite in a temporary folder"
    )
    options.add_argument("--keep", type=Path, help="a folder for the SQLite files, used again by the next run")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="bartizan-bench-") as folder:
        asyncio.run(run(chosen.store, chosen.rows, chosen.keep or Path(folder)))


if __name__ == "__main__":
    main()
