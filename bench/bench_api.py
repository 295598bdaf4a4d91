"""The API against a bare ASGI application that runs the same SQL on the same file and writes the same bytes.

Server CPU a request (user and system time of the server's process over the requests that it answered) is what counts:
it does not suffer from other work on the machine. Both run under uvicorn with uvloop and httptools, without TLS.

`python -m bench.bench_api [--rows N] [--seconds S]`
"""

import argparse
import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp

from bartizan.demo.organisation import Organisation

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
LANES = 16
WRITERS = 32

_BARE = """
import apsw, sys
path, tenant = sys.argv[1:3]
db = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
PAGE = ("SELECT CAST(doc AS BLOB) FROM c_alerts_v2 WHERE tenant = ? ORDER BY created DESC, id LIMIT 101", (tenant,))
ONE = "SELECT CAST(doc AS BLOB) FROM c_alerts_v2 WHERE tenant = ? AND id = ?"
HEAD = b'{"@odata.context":"http://localhost/v1.0/$metadata#security/alerts_v2","value":['
KIND = (b"content-type", b"application/json")

async def app(scope, receive, send):
    if scope["type"] != "http":
        while True:
            event = await receive()
            await send({"type": event["type"] + ".complete"})
            if event["type"].endswith("shutdown"):
                return
    path = scope["path"]
    if path.endswith("alerts_v2"):
        rows = db.execute(*PAGE).fetchall()
        body = HEAD + b",".join([row[0] for row in rows[:100]]) + b"]}"
    else:
        body = db.execute(ONE, (tenant, path.rpartition("/")[2])).fetchall()[0][0]
    await send({"type": "http.response.start", "status": 200,
                "headers": [KIND, (b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})

import uvicorn
uvicorn.run(app, port=int(sys.argv[3]), loop="uvloop", http="httptools", access_log=False, log_level="error")
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
def running(command: list[str], port: int) -> Iterator[int]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


async def load(pid: int, seconds: float, ask: Callable[[int], Awaitable[None]], lanes: int) -> tuple[float, float]:
    """(microseconds of server CPU a request, requests a second)."""
    done = 0
    for n in range(50):
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


async def fill(session: aiohttp.ClientSession, root: str, rows: int) -> float:
    began = time.monotonic()
    every = list(records(rows))
    for start in range(0, rows, 1000):
        body = "\n".join(json.dumps(each) for each in every[start : start + 1000])
        async with session.post(f"{root}/ingest/crowdstrike_falcon", data=body) as answer:
            assert answer.status < 300, await answer.text()
    return rows / (time.monotonic() - began)


def asker(session: aiohttp.ClientSession, urls: list[str]) -> Callable[[int], Awaitable[None]]:
    async def ask(n: int) -> None:
        async with session.get(urls[n % len(urls)]) as answer:
            await answer.read()
            assert answer.status == 200

    return ask


async def measure(data: Path, rows: int, seconds: float) -> None:
    app = bartizan("app", "add", "bench", "--all", data=data)
    port, bare_port = free_port(), free_port()
    serve = [sys.executable, "-m", "bartizan", "serve", "--data", str(data), "--port", str(port)]
    root, bare_root = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{bare_port}"
    os.environ["BARTIZAN_TLS"] = "off"
    with running(serve, port) as pid:
        async with aiohttp.ClientSession() as plain:
            form = {
                "grant_type": "client_credentials",
                "client_id": app["clientId"],
                "client_secret": app["clientSecret"],
            }
            form["scope"] = "https://graph.microsoft.com/.default"
            async with plain.post(f"{root}/{app['tenantId']}/oauth2/v2.0/token", data=form) as answer:
                token = (await answer.json())["access_token"]
        headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": "identity"}
        async with aiohttp.ClientSession(headers=headers) as session:
            rate = await fill(session, root, rows)
            print(f"ingest over HTTP: {rate:.0f} alerts/s, {rows} alerts of CrowdStrike")
            async with session.get(f"{root}/v1.0/security/alerts_v2?$top=100") as answer:
                page = await answer.json()
            ids = [item["id"] for item in page["value"]]
            bare = [sys.executable, "-c", _BARE, str(data / "state.db"), app["tenantId"], str(bare_port)]
            with running(bare, bare_port) as bare_pid:
                await compare(session, "page of 100", pid, bare_pid, [f"{root}/v1.0/security/alerts_v2"],
                              [f"{bare_root}/v1.0/security/alerts_v2"], seconds, 1.5)  # fmt: skip
                ones = [f"/v1.0/security/alerts_v2/{id}" for id in ids]
                await compare(session, "one alert", pid, bare_pid, [root + one for one in ones],
                              [bare_root + one for one in ones], seconds, 2.0)  # fmt: skip
            await patches(session, root, pid, ids, seconds)


async def compare(
    session: aiohttp.ClientSession,
    what: str,
    pid: int,
    bare_pid: int,
    urls: list[str],
    bare_urls: list[str],
    seconds: float,
    bar: float,
) -> None:
    """In turn, several times, so that a drift of the machine meets both."""
    ratios = []
    for _ in range(5):
        own, own_rate = await load(pid, seconds / 5, asker(session, urls), LANES)
        floor, floor_rate = await load(bare_pid, seconds / 5, asker(session, bare_urls), LANES)
        ratios.append((own / floor, own, floor, own_rate, floor_rate))
    ratio, own, floor, own_rate, floor_rate = sorted(ratios)[len(ratios) // 2]
    print(
        f"{what}: {own:.0f} us of server CPU against {floor:.0f} bare, ratio {ratio:.2f} (bar {bar}); "
        f"{own_rate:.0f} against {floor_rate:.0f} requests/s"
    )


async def patches(session: aiohttp.ClientSession, root: str, pid: int, ids: list[str], seconds: float) -> None:
    async def ask(n: int) -> None:
        body = {"status": ("new", "inProgress")[n // len(ids) % 2], "assignedTo": f"analyst{n}@northwall.example"}
        async with session.patch(f"{root}/v1.0/security/alerts_v2/{ids[n % len(ids)]}", json=body) as answer:
            await answer.read()
            assert answer.status == 200

    used, rate = await load(pid, seconds, ask, WRITERS)
    print(f"durable PATCH over HTTP: {rate:.0f}/s from {WRITERS} callers, {used:.0f} us of server CPU each")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(f"{time.strftime('%Y-%m-%d')} on {os.cpu_count()} cores, SQLite")
        asyncio.run(measure(Path(folder), asked.rows, asked.seconds))


if __name__ == "__main__":
    main()
