"""The program assembled in process, and as the group of processes that `serve` starts."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from bartizan.app.assembly import App, build, declared
from bartizan.lake.duck import Duck
from bartizan.lake.flush import Flusher
from bartizan.lake.manifest import Manifest
from bartizan.lake.readers import expected
from bartizan.settings import Settings

START_S = 30


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    async with build(Settings(data=str(tmp_path))).running() as made:
        yield made


def client(app: App, address: str = "127.0.0.1") -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, client=(address, 1)), base_url="https://localhost:8443")


@pytest.mark.anyio
async def test_what_stands_beside_the_api(app: App) -> None:
    """Health, metrics to this machine only, OpenAPI with its page, discovery; errors in Graph's envelope."""
    async with client(app) as http, client(app, "192.0.2.1") as stranger:
        assert (await http.get("/healthz")).text == "ready\n"
        assert (await http.get("/v1.0/users")).json()["error"]["code"] == "InvalidAuthenticationToken"
        metrics = (await http.get("/metrics")).text
        assert 'bartizan_requests_total{path="",status="401",verb="GET"} 1.0' in metrics
        assert 'bartizan_write_backs{state="waiting",tenant="' in metrics
        assert (await stranger.get("/metrics")).status_code == 404
        assert (await http.get("/openapi", follow_redirects=True)).headers["content-type"].startswith("text/html")
        assert (await http.get("/openapi/beta.json")).json()["openapi"] == "3.1.0"
        missing = await http.get("/openapi/nope")
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "ResourceNotFound")
        assert (await http.get("/nothing/at/all/here")).json()["error"]["message"]
        assert (await http.post("/healthz")).json()["error"]["code"] == "MethodNotAllowed"
        assert (await http.post("/ingest/wazuh", content=b"{}")).status_code == 401
        found = (await http.get("/common/v2.0/.well-known/openid-configuration")).json()
        assert found["jwks_uri"].startswith("https://localhost:8443/")


@pytest.mark.anyio
async def test_metrics_of_the_lake(app: App, tmp_path: Path) -> None:
    """What the buffer and the files hold, and how far each reader is, naming no tenant."""
    lake = app.lake
    assert lake is not None
    await expected(lake, ["indicators"])
    for tenant in ("tenant-one", "tenant-two"):
        await lake.append(tenant, [("DeviceEvents", {"DeviceName": "a"}), ("DeviceEvents", {"DeviceName": "b"})])
    async with client(app) as http:
        before = (await http.get("/metrics")).text.splitlines()
        manifest, duck = Manifest(lake, app.settings.lake_path), Duck(app.settings.lake_path, threads=1, memory_mb=256)
        assert await Flusher(lake, manifest, duck).step() == 2
        duck.close()
        after = (await http.get("/metrics")).text.splitlines()
    assert "bartizan_lake_buffer_rows 4.0" in before
    assert 'bartizan_lake_behind_tenants{reader="parquet"} 2.0' in before
    assert 'bartizan_lake_behind_rows{reader="parquet"} 0.0' in after
    assert 'bartizan_lake_behind_batches{reader="indicators"} 2.0' in after, "the buffer waits for it"
    assert 'bartizan_lake_rows{table="DeviceEvents"} 4.0' in after
    assert 'bartizan_lake_files{table="DeviceEvents"} 2.0' in after
    assert any(line.startswith('bartizan_lake_bytes{table="DeviceEvents"} ') for line in after)
    assert not any("tenant-one" in line for line in [*before, *after])


@pytest.mark.anyio
async def test_unauthenticated_requests_say_where_to_go(app: App) -> None:
    async with client(app) as http:
        answer = await http.get("/v1.0/users", headers={"authorization": "Bearer nonsense"})
    assert answer.status_code == 401
    assert "authorization_uri" in answer.headers["www-authenticate"]


def test_collections_have_one_name_each() -> None:
    names = [each.name for each in declared()]
    assert len(names) == len(set(names))


# ---------------------------------------------------------------- processes

GROUP = {"bartizan api", "bartizan work", "bartizan correl"}  # of a name the system keeps 15 bytes
RUN = "from bartizan.app import serve; from bartizan.settings import load; import sys; serve(load(sys.argv[1], port=0))"


def children(pid: int, role: str = "") -> list[int]:
    """Those that run, all or of one role."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return [each for each in found if alive(each) and named(each).endswith(role)]


def named(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except FileNotFoundError:
        return ""


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def wait_for(what: str, reached: "object") -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        if reached():  # type: ignore[operator]
            return
        time.sleep(0.05)
    raise AssertionError(f"not reached within {START_S} s: {what}")


@contextlib.contextmanager
def running(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", RUN, str(tmp_path / "data")], stdout=subprocess.PIPE, stderr=log, text=True
        )
    assert process.stdout is not None
    line = process.stdout.readline()
    try:
        assert line.startswith("Bartizan answers at https://localhost:"), (tmp_path / "log").read_text()
        yield process, line.split()[-1]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def group(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    with running(tmp_path) as of:
        yield of


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")
def test_the_group(group: tuple[subprocess.Popen[str], str]) -> None:
    """It answers when it says so, once; whoever dies is started again; SIGTERM ends the whole group in order."""
    process, root = group
    assert process.stdout is not None
    for role in ("work", "api"):
        assert httpx.get(f"{root}/healthz", verify=False).status_code == 200
        (first,) = children(process.pid, role)
        os.kill(first, signal.SIGKILL)
        wait_for(f"another {role}", lambda role=role, first=first: set(children(process.pid, role)) - {first})
    assert httpx.get(f"{root}/healthz", verify=False, timeout=START_S).status_code == 200
    left = children(process.pid)
    assert {named(each) for each in left} == GROUP
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 0
    assert not [pid for pid in left if alive(pid)]
    assert process.stdout.read() == ""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")
def test_those_who_share_the_evaluation_of_risk_are_of_the_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One process for each part of the principals but the first, which the worker has; each with a lease."""
    monkeypatch.setenv("BARTIZAN_IDENTITY_SHARDS", "3")
    with running(tmp_path) as (process, _), contextlib.closing(sqlite3.connect(tmp_path / "data" / "state.db")) as db:

        def named(table: str) -> set[str]:
            return {name for (name,) in db.execute(f"SELECT name FROM {table} WHERE name LIKE 'identity%'")}

        every = {"identity", "identity-1", "identity-2"}
        wait_for("three leases and places", lambda: named("leases") == named("cursors") == every)
        assert len(children(process.pid, "risk")) == 2
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")
def test_no_orphans(group: tuple[subprocess.Popen[str], str]) -> None:
    """A parent that is killed leaves nobody behind."""
    process, _ = group
    left = children(process.pid)
    assert {named(each) for each in left} == GROUP
    process.kill()
    wait_for("their end", lambda: not [pid for pid in left if alive(pid)])


def test_what_cannot_start_says_why(tmp_path: Path) -> None:
    """A database that is none: one line with the reason, no trace, and a status that a supervisor sees."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "state.db").write_text("notes of mine " * 1_000)
    ended = subprocess.run(
        [sys.executable, "-c", RUN, str(tmp_path / "data")], capture_output=True, text=True, timeout=START_S
    )
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert "cannot start: " in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_driver_that_is_missing_is_said(tmp_path: Path) -> None:
    run = f"import sys; sys.modules['psycopg'] = None; {RUN.replace('port=0', 'port=0, store=sys.argv[2]')}"
    asked = [sys.executable, "-c", run, str(tmp_path / "data"), "postgresql://nobody@127.0.0.1:1/none"]
    ended = subprocess.run(asked, capture_output=True, text=True, timeout=START_S)
    assert ended.returncode == 1
    assert "cannot start: " in ended.stderr and "bartizan[postgres]" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_session_of_its_own_gives_way_as_a_whole() -> None:
    """Niceness counts within a session alone where the system shares the processors among sessions first."""
    program = (
        "import os; from pathlib import Path; from bartizan.app import stand_back; stand_back(3); "
        "file = Path('/proc/self/autogroup'); print(os.nice(0), file.read_text() if file.exists() else 'nice 3')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, start_new_session=True)
    assert done.returncode == 0, done.stderr
    own, _, whole = done.stdout.strip().partition(" ")
    assert own == "3" and whole.endswith("nice 3")
