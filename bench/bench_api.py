"""The API against floors of the same run: a bare ASGI application that executes the same SQL on the same file and
writes the same bytes, and the store alone making the same changes.

Server CPU a request (user and system time of the server's process over the requests that it answered) is what counts
for reads: it does not suffer from other work on the machine. Both run under uvicorn with uvloop and httptools, without
TLS. Changes are compared by rate, from equally many callers, in turn.

`python -m bench.bench_api [--rows N] [--seconds S]`
"""

import argparse
import asyncio
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import apsw
import structlog
from msgspec import Struct

from bartizan.app.assembly import declared
from bartizan.auth import audit
from bartizan.auth.turns import RECENT_S
from bartizan.demo.organisation import Organisation
from bartizan.model.workflow import Who
from bartizan.store import open_store, read
from bartizan.store.alerts import ALERTS_V2, change_alert
from bartizan.store.interface import Query, Tx
from bartizan.store.sql import SQLITE, Params, Table
from bench import TURNS

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
LANES = 16
WRITERS = 32
ROUNDS = 9  # own and floor in turn, so that a drift of the machine meets both; the median counts
VICTIM_S = 0.02  # between two requests of each lane of the tenant whose latency is measured
VICTIM_LANES = 4
FLOOD_LANES = 32
SETTLE_S = 3.0  # between two turns
COME_S = 0.3  # for which those ask who come while a flood runs alone
IDLE_S = 5.0

_BARE = """
import apsw, json, sys
told = json.load(sys.stdin)
db = apsw.Connection(told["file"], flags=apsw.SQLITE_OPEN_READONLY)
(page, page_values), (one, (tenant, _)) = told["page"], told["one"]
page_values = tuple(page_values)
HEAD, LINE = (told[name].encode() for name in ("page_head", "one_head"))
PAGE_HEADERS = [(name.encode(), value.encode()) for name, value in told["page_headers"]]
ONE_HEADERS = [(name.encode(), value.encode()) for name, value in told["one_headers"]]

async def app(scope, receive, send):
    if scope["type"] != "http":
        while True:
            event = await receive()
            await send({"type": event["type"] + ".complete"})
            if event["type"].endswith("shutdown"):
                return
    path = scope["path"]
    if path == "/v1.0/":
        body, headers = b"", []
    elif path.endswith("alerts_v2"):
        rows = db.execute(page, page_values).fetchall()
        body = b"".join((HEAD, b",".join([row[5] for row in rows[:100]]), b"]}"))
        headers = PAGE_HEADERS
    else:
        row = db.execute(one, (tenant, path.rpartition("/")[2])).fetchall()[0]
        body = LINE + row[5][1:]
        headers = [*ONE_HEADERS, (b"etag", b'W/"%016x"' % row[1])]
    headers = [*headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})

import uvicorn
uvicorn.run(app, port=told["port"], loop="uvloop", http="httptools", access_log=False, log_level="error",
            server_header=False, date_header=False)
"""


def records(rows: int) -> Iterator[dict[str, Any]]:
    """Alerts of several kilobytes, as CrowdStrike writes them."""
    people = Organisation().people
    for n in range(rows):
        who = people[n % len(people)]
        yield {
            "metadata": {"eventType": "EppDetectionSummaryEvent", "eventCreationTime": 1_750_000_000_000 + n * 1000},
            "event": {
                "CompositeId": f"bench:ind:{n}",
                "Name": f"Suspicious activity {n % 7}",
                "Description": "A process did what it does not do on other machines of this organisation.",
                "Severity": (10, 30, 50, 70, 90)[n % 5],
                "SeverityName": ("Informational", "Low", "Medium", "High", "Critical")[n % 5],
                "Tactic": "Execution",
                "Technique": "Command and Scripting Interpreter",
                "Hostname": who.machine.name,
                "AgentId": who.machine.id,
                "LocalIP": who.machine.address,
                "UserName": who.account,
                "FileName": "powershell.exe",
                "FilePath": "\\Device\\HarddiskVolume3\\Windows\\System32",
                "CommandLine": "powershell.exe -enc " + "A" * 200,
                "SHA256String": f"{n:064x}",
                "ProcessId": 4000 + n,
                "PatternId": 10000 + n % 50,
            },
        }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


@contextmanager
def running(command: list[str], port: int, told: str = "") -> Iterator[int]:
    """A server in a process of its own; `told` is its standard input."""
    pipe = subprocess.PIPE if told else subprocess.DEVNULL
    process = subprocess.Popen(command, stdin=pipe, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)
    if process.stdin is not None:
        process.stdin.write(told)
        process.stdin.close()
    try:
        wait_for(port)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def wait_for(port: int) -> None:
    """Until something answers, be it with an error: a port that only accepts is no server yet."""
    for _ in range(2_000):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=20) as probe:
                probe.sendall(b"GET /v1.0/ HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
                if probe.recv(1):
                    return
        except OSError:
            pass
        time.sleep(0.01)
    raise SystemExit("the server does not answer")


async def load(
    pid: int, seconds: float, ask: Callable[[int], Awaitable[None]], lanes: int, warm: int = 20
) -> tuple[float, float]:
    """(microseconds of server CPU a request, requests a second)."""
    done = 0
    for n in range(warm):
        await ask(n)
    until = time.monotonic() + seconds

    async def lane(number: int) -> None:
        nonlocal done
        n = number
        while time.monotonic() < until:
            await ask(n)
            done += 1
            n += lanes

    began, used = time.monotonic(), cpu_s(pid)
    await asyncio.gather(*(lane(number) for number in range(lanes)))
    return (cpu_s(pid) - used) / done * 1e6, done / (time.monotonic() - began)


def bartizan(*args: str, data: Path) -> Any:
    command = [sys.executable, "-m", "bartizan", *args, "--data", str(data)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def serve_command(data: Path, port: int) -> list[str]:
    return [sys.executable, "-m", "bartizan", "serve", "--data", str(data), "--port", str(port)]


@asynccontextmanager
async def signed_in(root: str, app: dict[str, Any]) -> Any:
    """A session with a token of the app in its tenant."""
    form = {"grant_type": "client_credentials", "client_id": app["clientId"], "client_secret": app["clientSecret"]}
    form["scope"] = "https://graph.microsoft.com/.default"
    async with (
        aiohttp.ClientSession() as plain,
        plain.post(f"{root}/{app['tenantId']}/oauth2/v2.0/token", data=form) as answer,
    ):
        assert answer.status == 200, await answer.text()
        token = (await answer.json())["access_token"]
    headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": "identity"}
    async with aiohttp.ClientSession(headers=headers) as session:
        yield session


async def fill(session: aiohttp.ClientSession, root: str, rows: int) -> None:
    every = list(records(rows))
    for start in range(0, rows, 1000):
        body = "\n".join(json.dumps(each) for each in every[start : start + 1000])
        async with session.post(f"{root}/ingest/crowdstrike_falcon", data=body) as answer:
            assert answer.status < 300, await answer.text()


async def correlated(db: apsw.Connection) -> None:
    """Waits until the incidents know every alert that is stored."""
    head = int(str(db.execute("SELECT seq FROM clock").get))
    while int(str(db.execute("SELECT seq FROM cursors WHERE name = 'correlate'").get)) < head:  # noqa: ASYNC110 - moved by another process
        await asyncio.sleep(0.02)


def verdict(what: str, ratio: float, bar: float, *, least: bool = False, told: str = "") -> None:
    """One line: the ratio, its bar, and whether it is met."""
    met = ratio >= bar if least else ratio <= bar
    print(
        f"{what}: {ratio:.2f} (bar {'>=' if least else '<='} {bar:g}) {'ok' if met else 'MISSED'}; {told}", flush=True
    )


# ---------------------------------------------------------------- reads against bare SQL


class _Recorder:
    """A connection that answers nothing and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[Any]]] = []

    def rows(self, sql: str, params: Params = ()) -> list[tuple[Any, ...]]:
        self.asked.append((SQLITE.native(sql), list(params)))
        return []


def own_sql(tenant: str) -> dict[str, tuple[str, list[Any]]]:
    """The statements that the store executes for a page of 100 and for one object."""
    of, recorder = read.read_set(Table(ALERTS_V2, SQLITE)), _Recorder()
    read.page(recorder, of, tenant, Query(100))  # type: ignore[arg-type]
    read.get(recorder, of, tenant, "id")  # type: ignore[arg-type]
    page, one = recorder.asked
    return {"page": page, "one": one}


async def fetched(session: aiohttp.ClientSession, url: str) -> tuple[bytes, list[tuple[str, str]]]:
    async with session.get(url) as answer:
        assert answer.status == 200
        return await answer.read(), [(name.decode(), value.decode()) for name, value in answer.raw_headers]


async def bare_told(session: aiohttp.ClientSession, root: str, data: Path, tenant: str, port: int) -> dict[str, Any]:
    """What the bare application needs to write the same bytes: statements, heads, headers."""
    page, page_headers = await fetched(session, f"{root}/v1.0/security/alerts_v2")
    first = json.loads(page)["value"][0]["id"]
    one, one_headers = await fetched(session, f"{root}/v1.0/security/alerts_v2/{first}")
    return {
        "file": str(data / "state.db"),
        "port": port,
        **own_sql(tenant),
        "page_head": page[: page.index(b'"value":[') + 9].decode(),
        "one_head": one[: one.index(b'"@odata.etag"')].decode(),
        "page_headers": [pair for pair in page_headers if pair[0].lower() != "content-length"],
        "one_headers": [pair for pair in one_headers if pair[0].lower() not in ("content-length", "etag")],
    }


def asker(session: aiohttp.ClientSession, urls: list[str]) -> Callable[[int], Awaitable[None]]:
    async def ask(n: int) -> None:
        async with session.get(urls[n % len(urls)]) as answer:
            await answer.read()
            assert answer.status == 200

    return ask


async def reads(session: aiohttp.ClientSession, root: str, pid: int, data: Path, tenant: str, seconds: float) -> None:
    port = free_port()
    told = await bare_told(session, root, data, tenant, port)
    bare_root = f"http://127.0.0.1:{port}"
    page = "/v1.0/security/alerts_v2"
    ids = [item["id"] for item in json.loads((await fetched(session, root + page))[0])["value"]]
    ones = [f"{page}/{id}" for id in ids]
    with running([sys.executable, "-c", _BARE], port, json.dumps(told)) as bare_pid:
        for path in (page, ones[0]):
            assert (await fetched(session, root + path))[0] == (await fetched(session, bare_root + path))[0]
        for what, paths, bar in (("page of 100", [page], 1.5), ("one alert", ones, 2.0)):
            ratios = []
            for _ in range(ROUNDS):
                own = await load(pid, seconds / ROUNDS, asker(session, [root + path for path in paths]), LANES)
                floor = await load(bare_pid, seconds / ROUNDS, asker(session, [bare_root + p for p in paths]), LANES)
                ratios.append((own[0] / floor[0], own, floor))
            ratio, own, floor = sorted(ratios)[len(ratios) // 2]
            used = f"{own[0]:.0f} us of server CPU against {floor[0]:.0f} bare"
            verdict(what, ratio, bar, told=f"{used}; {own[1]:.0f} against {floor[1]:.0f}/s")


# ---------------------------------------------------------------- changes against the store alone


def patch_of(n: int) -> dict[str, Any]:
    """Each one changes the alert."""
    return {"status": ("new", "inProgress")[n // 997 % 2], "assignedTo": f"analyst{n}@northwall.example"}


async def patch_rate(
    session: aiohttp.ClientSession, root: str, pid: int, ids: list[str], at: int, seconds: float
) -> Any:
    async def ask(n: int) -> None:
        url = f"{root}/v1.0/security/alerts_v2/{ids[n % len(ids)]}"
        async with session.patch(url, json=patch_of(at + n)) as answer:
            await answer.read()
            assert answer.status == 200

    return await load(pid, seconds, ask, WRITERS)


async def alone_rate(data: Path, tenant: str, ids: list[str], at: int, seconds: float) -> tuple[float, float]:
    """The same changes with their audit entries, by as many callers, in this process."""
    store = open_store(data, declared())
    await store.start()
    one = store.tenant(tenant)

    def change(tx: Tx, id: str, patch: dict[str, Any]) -> None:
        kept = change_alert(tx, id, patch, "v2", Who("bench"))
        modified = {name: (str(old), str(new)) for name, (old, new) in (kept.changed or {}).items()}
        target = audit.Target("alert", id, modified=modified)
        audit.record(tx, actor=audit.OPERATOR, activity="Update alert", category="Security", targets=[target])

    async def ask(n: int) -> None:
        await one.write(partial(change, id=ids[n % len(ids)], patch=patch_of(at + n)), actor="bench")

    try:
        return await load(os.getpid(), seconds, ask, WRITERS)
    finally:
        await store.close()


async def patches(session: aiohttp.ClientSession, root: str, pid: int, data: Path, tenant: str, seconds: float) -> None:
    page = json.loads((await fetched(session, f"{root}/v1.0/security/alerts_v2?$top=1000"))[0])
    ids = [item["id"] for item in page["value"]]
    ratios = []
    for turn in range(ROUNDS):
        own = await patch_rate(session, root, pid, ids, turn * 2_000_003, seconds / ROUNDS)
        alone = await alone_rate(data, tenant, ids, turn * 2_000_003 + 1_000_000, seconds / ROUNDS)
        ratios.append((own[1] / alone[1], own, alone))
    ratio, own, alone = sorted(ratios)[len(ratios) // 2]
    verdict(
        "durable PATCH against the store alone",
        ratio,
        0.5,
        least=True,
        told=f"{own[1]:.0f}/s at {own[0]:.0f} us of server CPU against {alone[1]:.0f}/s at {alone[0]:.0f} us, "
        f"{WRITERS} callers each",
    )


# ---------------------------------------------------------------- one tenant floods


class Others(Struct):
    """What those who are there all the time wait for, in ms, by turns (None: not measured)."""

    turn: int | None = None
    done: bool = False
    took: dict[tuple[int, str], list[float]] = {}

    async def ask(self, session: aiohttp.ClientSession, root: str, ids: Sequence[str]) -> None:
        """GET and PATCH by turns, at a steady pace, until `done`."""
        self.done = False

        async def lane(number: int) -> None:
            n = number
            while not self.done:
                method = ("GET", "PATCH")[n % 2]
                url = f"{root}/v1.0/security/alerts_v2/{ids[n % len(ids)]}"
                body = patch_of(time.monotonic_ns()) if method == "PATCH" else None
                turn, began = self.turn, time.perf_counter()
                async with session.request(method, url, json=body) as answer:
                    await answer.read()
                    assert answer.status == 200
                if turn is not None:
                    self.took.setdefault((turn, method), []).append((time.perf_counter() - began) * 1e3)
                n += 1
                await asyncio.sleep(VICTIM_S)

        await asyncio.gather(*(lane(number * 7) for number in range(VICTIM_LANES)))

    def p99(self, method: str, *turns: int) -> float:
        return statistics.quantiles([ms for turn in turns for ms in self.took[turn, method]], n=100)[98]


async def flood(root: str, app: dict[str, Any], seconds: float) -> None:
    """What a client without manners does: pages, and bulks of records, as fast as they are answered."""
    os.nice(19)  # its own work is not what the others should suffer from
    until = time.monotonic() + seconds
    done = 0
    async with signed_in(root, app) as session:

        async def lane(number: int) -> None:
            nonlocal done
            every = list(records(50))
            while time.monotonic() < until:
                if number % 8:
                    request = session.get(f"{root}/v1.0/security/alerts_v2?$top=100")
                else:
                    for each in every:
                        each["event"]["CompositeId"] = f"flood:{number}:{time.monotonic_ns()}:{id(each)}"
                    body = "\n".join(json.dumps(each) for each in every)
                    request = session.post(f"{root}/ingest/crowdstrike_falcon", data=body)
                async with request as answer:
                    await answer.read()
                    done += answer.status == 200

        await asyncio.gather(*(lane(number) for number in range(FLOOD_LANES)))
    print(f"  the flood was answered {done / seconds:.0f} times a second")


async def fairness(session: aiohttp.ClientSession, root: str, data: Path, ids: list[str], seconds: float) -> None:
    """By turns. The others are there all the time; then what they wait for who come while a flood runs alone."""
    bartizan("tenant", "add", "flooder", data=data)
    other = bartizan("app", "add", "flooder", "--all", "--tenant", "flooder", data=data)
    command = [sys.executable, "-m", "bench.bench_api", "--flood", root, "--seconds", str(seconds + 2 * SETTLE_S)]
    others = Others()
    asking = asyncio.create_task(others.ask(session, root, ids))
    for turn, loud in enumerate(TURNS):
        telling = None
        if loud:
            flooder = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE)
            telling = asyncio.create_task(flooder.communicate(json.dumps(other).encode()))
        await asyncio.sleep(SETTLE_S)
        others.turn = turn
        await asyncio.sleep(seconds)
        others.turn = None
        if telling is not None:
            await telling
    others.done = True
    await asking
    pairs = [sorted((first, first + 1), key=TURNS.__getitem__) for first in range(0, len(TURNS), 2)]
    for method in ("GET", "PATCH"):
        ratios = [others.p99(method, loud) / others.p99(method, quiet) for quiet, loud in pairs]
        quiet, flooded = (others.p99(method, *turns) for turns in zip(*pairs, strict=True))
        each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        told = f"p99 {quiet:.1f} ms alone, {flooded:.1f} ms while another tenant floods; turn by turn {each}"
        verdict(f"{method} while another tenant floods", statistics.median(ratios), 1.2, told=told)
    flooder = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE)
    telling = asyncio.create_task(flooder.communicate(json.dumps(other).encode()))
    await asyncio.sleep(SETTLE_S)
    await come(session, root, ids, seconds)
    await telling


async def come(session: aiohttp.ClientSession, root: str, ids: Sequence[str], seconds: float) -> None:
    """What they wait for who ask for COME_S while a flood runs, each time when nobody else has asked for a while."""
    others = Others(turn=0)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        asking = asyncio.create_task(others.ask(session, root, ids))
        await asyncio.sleep(COME_S)
        others.done = True
        await asking
        await asyncio.sleep(RECENT_S + COME_S)
    for method in ("GET", "PATCH"):
        median, p99 = statistics.median(others.took[0, method]), others.p99(method, 0)
        print(f"  who comes while it runs alone: {method} in the first {COME_S:g} s {median:.1f} ms, p99 {p99:.1f} ms")


# ---------------------------------------------------------------- start and idle


def group_of(pid: int) -> list[int]:
    """The process and all below it."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents.setdefault(int(stat.read_text().rpartition(")")[2].split()[1]), []).append(int(stat.parent.name))
        except (OSError, ValueError, IndexError):
            continue  # it has ended
    found = [pid]
    for each in found:
        found += parents.get(each, [])
    return found


def api_of(pid: int) -> int:
    """The process of the group that answers."""
    return next(each for each in group_of(pid) if Path(f"/proc/{each}/comm").read_text().strip() == "bartizan api")


def pss_mb(pid: int) -> float:
    total = 0
    for each in group_of(pid):
        lines = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
        total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def cold_start(folder: Path) -> None:
    """On a fresh folder: until the first answer, and what the idle group holds."""
    port, began = free_port(), time.monotonic()
    with running(serve_command(folder / "cold", port), port) as pid:
        seconds = time.monotonic() - began
        time.sleep(IDLE_S)
        memory, count = pss_mb(pid), len(group_of(pid))
    verdict("cold start, seconds", seconds, 2.0, told="a fresh folder, until the first answer")
    verdict("idle memory, MB", memory, 150.0, told=f"PSS of {count} processes after {IDLE_S:g} s")


# ---------------------------------------------------------------- all of it


async def measure(data: Path, rows: int, seconds: float) -> None:
    app = bartizan("app", "add", "bench", "--all", data=data)
    port = free_port()
    root = f"http://127.0.0.1:{port}"
    with running(serve_command(data, port), port) as group:
        pid = api_of(group)
        async with signed_in(root, app) as session:
            await fill(session, root, rows)
            db = apsw.Connection(str(data / "state.db"), flags=apsw.SQLITE_OPEN_READONLY)
            await correlated(db)
            db.close()
            await reads(session, root, pid, data, app["tenantId"], seconds)
            await patches(session, root, pid, data, app["tenantId"], seconds)
            page = json.loads((await fetched(session, f"{root}/v1.0/security/alerts_v2"))[0])
            await fairness(session, root, data, [item["id"] for item in page["value"]], seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--flood", help=argparse.SUPPRESS)  # the address that a process of its own floods
    asked = parser.parse_args()
    if asked.flood:
        asyncio.run(flood(asked.flood, json.load(sys.stdin), asked.seconds))
        return
    os.environ["BARTIZAN_TLS"] = "off"
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    with tempfile.TemporaryDirectory(prefix="bartizan-bench-") as folder:
        print(f"{time.strftime('%Y-%m-%d')} on {os.cpu_count()} cores, SQLite, {asked.rows} alerts")
        cold_start(Path(folder))
        asyncio.run(measure(Path(folder) / "data", asked.rows, asked.seconds))


if __name__ == "__main__":
    main()
