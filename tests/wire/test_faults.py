"""What the world does to a started server: a full disk, files that turn read-only, a database that ends connections."""

import json
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest
from tests.conftest import immutable, small_disk
from tests.wire.conftest import Running, stop
from tests.wire.test_survival import ALERTS, Place, every, placed

pytestmark = pytest.mark.slow

DISK = "24m"
MORE = "64m"
LARGE = "x" * 20_000
CLIENTS = 4
CUTS = 60  # times that the database ends connections


def post(api: httpx.Client, title: str, **more: str) -> httpx.Response:
    return api.post(ALERTS, json={"title": title, "severity": "low", **more})


def titles(api: httpx.Client) -> list[str]:
    return sorted(each["title"] for each in every(api, f"{ALERTS}?$top=1000&$select=id,title"))


def ended(place: Place, server: Running) -> None:
    assert place.process is not None
    stop(place.process)
    assert "Traceback" not in (server.data / "server.log").read_text(errors="replace")
    assert json.loads(server.command("audit", "verify"))["ok"] is True


def test_a_full_disk(tmp_path: Path) -> None:
    """507 for whatever writes, alone or in bulk, while reads and tokens go on; writes again once there is space."""
    with small_disk(tmp_path / "disk", DISK) as disk, placed(disk.path) as place:
        server = place.up()
        with server.api() as api:
            stored: list[str] = []
            while (answer := post(api, str(len(stored)), description=LARGE)).status_code == 201:
                stored.append(str(len(stored)))
            assert (answer.status_code, answer.json()["error"]["code"]) == (507, "InsufficientStorage"), answer.text
            assert len(stored) > 10
            id = api.get(f"{ALERTS}?$top=1").json()["value"][0]["id"]
            patched = (api.patch(f"{ALERTS}/{id}", json={"assignedTo": str(number)}) for number in range(2_000))
            assert 507 in (answer.status_code for answer in patched)  # small ones find room for a while
            bulk = [{"title": "bulk", "severity": "low", "description": LARGE}] * 3
            assert api.post(ALERTS, json=bulk).status_code == 507
            head = {"Content-Type": "application/json"}
            one = {"id": "1", "method": "POST", "url": "/security/alerts_v2", "headers": head, "body": bulk[0]}
            batch = api.post("/v1.0/$batch", json={"requests": [one]})
            assert [each["status"] for each in batch.json()["responses"]] == [507]
            assert titles(api) == sorted(stored) and server.token()
            assert disk.remount(f"size={MORE}")
            assert post(api, "after").status_code == 201
            assert titles(api) == sorted([*stored, "after"])
        ended(place, server)


def test_files_that_turn_read_only(tmp_path: Path) -> None:
    """503 with Retry-After for what writes, while reads go on; writes again when they can be written."""
    with placed(tmp_path) as place:
        server = place.up()
        with server.api() as api:
            id = post(api, "before").json()["id"]
            with immutable(tmp_path):
                for answer in (post(api, "never"), api.patch(f"{ALERTS}/{id}", json={"assignedTo": "me"})):
                    assert answer.status_code == 503 and int(answer.headers["retry-after"]) > 0, answer.text
                assert titles(api) == ["before"] and api.get(f"{ALERTS}/{id}").json()["assignedTo"] is None
            assert post(api, "after").status_code == 201
            assert titles(api) == ["after", "before"]
        ended(place, server)


def end_connections(dsn: str) -> int:
    """Again and again, in turn those that commit, that are within a write, at work, and all; returns how many."""
    import psycopg

    count = 0
    moments = ("query like 'COMMIT%'", "state = 'idle in transaction'", "state = 'active'", "true")
    with psycopg.connect(dsn, autocommit=True) as admin:
        for number in range(CUTS):
            row = admin.execute(
                "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database() "
                f"and pid <> pg_backend_pid() and {moments[number % len(moments)]}".encode()
            ).fetchone()
            count += row[0] if row else 0
            time.sleep(0.05)
    return count


@pytest.mark.postgres
def test_a_database_that_ends_connections(tmp_path: Path, postgres_dsn: str) -> None:
    """In the middle of writes and commits: what is acknowledged is there once, what is not may be tried again."""
    with placed(tmp_path, "--store", postgres_dsn, "--processes", "2") as place:
        server = place.up()
        until = threading.Event()
        told: list[str] = []
        seen: Counter[int] = Counter()

        def write(number: int, client: httpx.Client) -> None:
            with client as api:
                for count in iter(lambda: len(told), None):
                    if until.is_set():
                        return
                    title = f"{number} {count} {time.monotonic_ns()}"
                    try:
                        answer = post(api, title)
                    except httpx.TransportError:  # not acknowledged: it may be there or not
                        continue
                    seen[answer.status_code] += 1
                    if answer.status_code == 201:
                        told.append(title)

        clients = [server.api() for _ in range(CLIENTS)]  # with their tokens, before anything is cut
        writers = [threading.Thread(target=write, args=each, daemon=True) for each in enumerate(clients)]
        for writer in writers:
            writer.start()
        cut = end_connections(postgres_dsn)
        enough = time.monotonic() + 60
        before = len(told)
        while len(told) < before + 20 and time.monotonic() < enough:
            time.sleep(0.05)
        until.set()
        for writer in writers:
            writer.join(timeout=60)
        assert cut >= CUTS // 2 and len(told) >= before + 20 and seen.keys() <= {201, 503}, (cut, seen)
        with server.api() as api:
            there = Counter(titles(api))
        assert set(there.values()) == {1} and there.keys() >= set(told)
        assert place.process is not None
        stop(place.process)
        verified = json.loads(server.command("audit", "verify", "--store", postgres_dsn))
        assert verified["ok"] is True
