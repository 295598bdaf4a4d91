"""The started server is killed while clients write, and stopped while they read: what it acknowledged is there."""

import json
import os
import random
import signal
import socket
import sqlite3
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.wire.conftest import Running, free_port, run, start, stop, wait_ready

pytestmark = pytest.mark.slow

ALERTS = "/v1.0/security/alerts_v2"
CLIENTS = 8
KILLS, ACKNOWLEDGED = 50, 20_000  # of API processes on PostgreSQL; `tests/store` has as many on SQLite without the API
FEWER = 10, 2_000
BATCH = 20  # the most of a $batch: each of its answers acknowledges a write
# The part of the kills that takes the whole group, which then works on both cores for seconds until it serves again.
# On SQLite only these kill what serves; on PostgreSQL most of the kills do.
WHOLE, WHOLE_OF_FEWER = 0.15, 0.3
LIMIT_S = 1_800.0  # far above what it takes: only a test that stands still is ended
PATIENCE_S = 120.0
STOP_S = 5.0  # for SIGTERM with nothing under way; far below the grace that running requests have


@dataclass
class Place:
    """A server that can be killed and started again on the same data."""

    data: Path
    extra: tuple[str, ...]
    port: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes] | None" = None
    server: Running | None = None

    def up(self) -> Running:
        self.process = start(self.data, self.port, *self.extra)
        wait_ready(self.process, self.data, self.port)
        if self.server is None:
            store = self.extra[:2] if "--store" in self.extra else ()
            app = json.loads(run("app", "add", "writers", "--all", *store, data=self.data))
            ca = self.data / "ca.pem"
            ca.write_text(run("ca", "export", *store, data=self.data))
            root = f"https://localhost:{self.port}"
            self.server = Running(root, self.port, self.data, ca, app["tenantId"], app["clientId"], app["clientSecret"])
        return self.server

    def kill_one(self, chance: random.Random) -> bool:
        """A process of the API or the one that works on the feed; the group starts it again. False: none is there."""
        assert self.process is not None
        found = children(self.process.pid)
        if not found:
            return False
        with suppress(ProcessLookupError):
            os.kill(chance.choice(found), signal.SIGKILL)
        return True

    def kill(self) -> None:
        """Every process at once, so that none of them can tidy up."""
        assert self.process is not None
        for pid in (self.process.pid, *children(self.process.pid)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(timeout=10)


def children(pid: int) -> list[int]:
    found = []
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            with suppress(OSError):
                fields = (each / "stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == pid:
                    found.append(int(each.name))
    return found


def named(pid: int) -> str:
    """As `ps` shows it: its first 15 bytes."""
    return (Path("/proc") / str(pid) / "comm").read_text().strip()


@contextmanager
def placed(data: Path, *extra: str) -> Iterator[Place]:
    place = Place(data, extra)
    try:
        yield place
    finally:
        if place.process is not None and place.process.poll() is None:
            place.kill()


Asked = tuple[str | None, str]


class Writer(threading.Thread):
    """POSTs alerts and counts up in their assignedTo by PATCH, some alone and most in a $batch; remembers what was
    asked for and what was acknowledged. While the server is away it tries again.
    """

    def __init__(self, server: Running, number: int, until: threading.Event) -> None:
        super().__init__(daemon=True)
        self.server, self.number, self.until = server, number, until
        self.token = server.token()
        self.posted: dict[str, str] = {}  # id -> title
        self.asked: dict[str, int] = {}
        self.told: dict[str, int] = {}
        self.made = 0
        self.acknowledged = 0
        self.odd: list[str] = []

    def run(self) -> None:
        chance = random.Random(self.number)
        client = self.connected()
        while not self.until.is_set():
            wanted = self.wanted(chance, BATCH if chance.random() < 0.7 else 1)
            try:
                if len(wanted) == 1:
                    self.alone(client, *wanted[0])
                else:
                    self.batch(client, wanted)
            except httpx.TransportError:
                client.close()
                client = self.connected()
                time.sleep(0.05)
        client.close()

    def connected(self) -> httpx.Client:
        """Patient: a change that is given up may still be made, and after the next one."""
        client = self.server.http(Authorization=f"Bearer {self.token}")
        client.timeout = PATIENCE_S
        return client

    def wanted(self, chance: random.Random, count: int) -> list[Asked]:
        """An id to change, each once, or None for a new alert; and the value."""
        known = [*self.posted]
        changed = chance.sample(known, min(len(known), sum(chance.random() < 0.7 for _ in range(count))))
        found: list[Asked] = []
        for id in changed:
            self.asked[id] = self.asked.get(id, 0) + 1
            found.append((id, str(self.asked[id])))
        for _ in range(count - len(found)):
            self.made += 1
            found.append((None, f"{self.number} {self.made}"))
        return found

    def alone(self, client: httpx.Client, id: str | None, value: str) -> None:
        method, path, body = request(id, value)
        answer = client.request(method, path, json=body)
        self.answered(id, value, answer.status_code, answer.json())

    def batch(self, client: httpx.Client, wanted: list[Asked]) -> None:
        requests = []
        for number, (id, value) in enumerate(wanted):
            method, path, body = request(id, value)
            head = {"Content-Type": "application/json"}
            url = path.removeprefix("/v1.0")
            requests.append({"id": str(number), "method": method, "url": url, "headers": head, "body": body})
        answer = client.post("/v1.0/$batch", json={"requests": requests})
        if answer.status_code != 200:
            self.odd.append(f"{answer.status_code} {answer.text[:300]}")
            return
        for each in answer.json()["responses"]:
            self.answered(*wanted[int(each["id"])], each["status"], each["body"])

    def answered(self, id: str | None, value: str, status: int, body: dict[str, Any]) -> None:
        if status != (201 if id is None else 200):
            self.odd.append(f"{status} {body}"[:300])
            return
        self.acknowledged += 1
        if id is None:
            self.posted[body["id"]] = value
        else:
            self.told[id] = int(value)


def request(id: str | None, value: str) -> tuple[str, str, dict[str, Any]]:
    if id is None:
        return "POST", ALERTS, {"title": value, "severity": "low"}
    return "PATCH", f"{ALERTS}/{id}", {"assignedTo": value}


def every(api: httpx.Client, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    link: str | None = path
    while link is not None:
        page = api.get(link).json()
        found += page["value"]
        link = page.get("@odata.nextLink")
    return found


def check(server: Running, writers: list[Writer], *store: str) -> None:
    """All that was acknowledged is there, both faces agree, and every change stands in an audit chain that holds."""
    with server.api() as api:
        today = {each["id"]: each for each in every(api, f"{ALERTS}?$top=1000&$select=id,title,assignedTo")}
        old = {each["id"]: each for each in every(api, "/v1.0/security/alerts?$top=500&$select=id,title,assignedTo")}
        audits = every(api, "/v1.0/auditLogs/directoryAudits?$top=1000&$select=id,operationType,targetResources")
    assert {id: (each["title"], each["assignedTo"]) for id, each in today.items()} == {
        id: (each["title"], each["assignedTo"]) for id, each in old.items()
    }
    changes: dict[str, set[str]] = {}
    made: set[str] = set()
    for audit in audits:
        for target in audit["targetResources"]:
            if audit["operationType"] == "Add":
                made.add(target["id"])
            for each in target["modifiedProperties"]:
                if each["displayName"] == "assignedTo":
                    changes.setdefault(target["id"], set()).add(json.loads(each["newValue"]))
    assert today.keys() <= made
    for writer in writers:
        assert not writer.odd, writer.odd[:3]
        for id, title in writer.posted.items():
            assert today[id]["title"] == title
        for id, asked in writer.asked.items():
            now = int(today[id]["assignedTo"] or 0)
            assert writer.told.get(id, 0) <= now <= asked, (id, writer.told.get(id), now, asked)
            assert not now or str(now) in changes[id], id
    verified = json.loads(run("audit", "verify", *store, data=server.data))
    assert verified["ok"] is True, verified


def acknowledged(writers: list[Writer]) -> int:
    return sum(writer.acknowledged for writer in writers)


def killed(data: Path, least_kills: int, least: int, share: float, *extra: str) -> None:
    """Kills until there have been enough kills and enough was acknowledged: the whole group, or one process of it.

    The next kill comes after so many writes, not so much time: a slow machine is as hard a test.
    """
    chance, kills, whole = random.Random(5), 0, 0
    with placed(data, *extra) as place:
        server = place.up()
        until = threading.Event()
        writers = [Writer(server, number, until) for number in range(CLIENTS)]
        for writer in writers:
            writer.start()
        end = time.monotonic() + LIMIT_S
        while (kills < least_kills or acknowledged(writers) < least) and time.monotonic() < end:
            next_kill = acknowledged(writers) + chance.randint(0, 2 * least // least_kills)
            while acknowledged(writers) < next_kill and time.monotonic() < end:
                time.sleep(0.01)
            if chance.random() < share or not place.kill_one(chance):
                place.kill()
                place.up()
                whole += 1
            kills += 1
        until.set()
        for writer in writers:
            writer.join(timeout=60)
            assert not writer.is_alive()
        total = acknowledged(writers)
        print(f"{kills} kills ({whole} of the whole group), {total} acknowledged writes")
        assert kills >= least_kills and total >= least, (kills, total)
        check(server, writers, *(extra[:2] if "--store" in extra else ()))
        assert place.process is not None
        stop(place.process)


def test_killed_on_sqlite(tmp_path: Path) -> None:
    """SIGKILL at any moment: nothing acknowledged is lost, nothing is half there."""
    killed(tmp_path, *FEWER, WHOLE_OF_FEWER)


@pytest.mark.postgres
def test_killed_on_postgresql(tmp_path: Path, postgres_dsn: str) -> None:
    """The same of three API processes over PostgreSQL: 50 kills and 20,000 acknowledged writes."""
    killed(tmp_path, KILLS, ACKNOWLEDGED, WHOLE, "--store", postgres_dsn, "--processes", "3")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return ("--store", request.getfixturevalue("postgres_dsn")) if request.param == "postgres" else ()


def renewed(data: Path, *store: str) -> None:
    """Every lease, for an hour: whoever waits for its end is not seen to go on by this test."""
    asked = "UPDATE leases SET until = until + 3600"
    if store:
        import psycopg

        with psycopg.connect(store[-1]) as there:
            assert there.execute(asked).rowcount
    else:
        with closing(sqlite3.connect(data / "state.db")) as here, here:
            assert here.execute(asked).rowcount


def incident(api: httpx.Client, title: str) -> str:
    """Of a new alert, once correlation has come to it."""
    id = api.post(ALERTS, json={"title": title, "severity": "high"}).json()["id"]
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        found = api.get(f"{ALERTS}/{id}").json()["incidentId"]
        if found is not None:
            return str(found)
        time.sleep(0.05)
    raise AssertionError(f"no incident of '{title}' within {PATIENCE_S:.0f} s")


def test_nobody_waits_for_the_leases_of_the_dead(tmp_path: Path, store: tuple[str, ...]) -> None:
    """After SIGKILL of the whole group, and of one process of it, stages go on while its leases have not run out."""
    with placed(tmp_path, *store) as place:
        server = place.up()
        with server.api() as api:
            assert incident(api, "before")
        place.kill()
        renewed(tmp_path, *store)
        place.up()
        with server.api() as api:
            assert incident(api, "after the end of all")
            assert place.process is not None
            (stage,) = [pid for pid in children(place.process.pid) if named(pid) == "bartizan correl"]
            os.kill(stage, signal.SIGKILL)
            renewed(tmp_path, *store)
            assert incident(api, "after the end of one")
        stop(place.process)


def test_sigterm_lets_requests_end(tmp_path: Path) -> None:
    """What has begun is answered, idle connections do not hold the server up, no process is left, and it starts again
    on the same port.
    """
    with placed(tmp_path) as place:
        server = place.up()
        assert place.process is not None
        group = [place.process.pid, *children(place.process.pid)]
        assert len(group) >= 2
        body = json.dumps({"title": "in two halves"}).encode()
        head = (
            f"POST {ALERTS} HTTP/1.1\r\nhost: localhost:{place.port}\r\nauthorization: Bearer {server.token()}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        context = ssl.create_default_context(cafile=str(server.ca))
        with server.api() as idle:
            assert idle.get(ALERTS).json()["value"] == []
            raw = socket.create_connection(("localhost", place.port), timeout=20)
            with context.wrap_socket(raw, server_hostname="localhost") as late:
                late.sendall(head.encode() + body[:5])
                time.sleep(0.3)
                place.process.send_signal(signal.SIGTERM)
                time.sleep(0.7)
                late.sendall(body[5:])
                answer = late.recv(65_536)
            assert answer.startswith(b"HTTP/1.1 201"), answer[:500]
            assert place.process.wait(timeout=STOP_S) == 0
        assert not [pid for pid in group if Path(f"/proc/{pid}").exists()]
        assert "Traceback" not in (tmp_path / "server.log").read_text(errors="replace")
        place.up()
        with server.api() as api:
            assert [each["title"] for each in api.get(ALERTS).json()["value"]] == ["in two halves"]
        stop(place.process)
