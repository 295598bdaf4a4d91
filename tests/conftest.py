"""What every test may ask for: the shared records, a PostgreSQL server. Absent ones skip; in CI a skip is a failure."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from tests.databases import Databases, lay

# How long an example takes is the machine's affair: no test asserts a time.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

IN_CI = os.environ.get("CI") == "true"
SHARED = Path(os.environ.get("BARTIZAN_SHARED", Path(__file__).resolve().parents[2] / "shared"))
DSN = os.environ.get("BARTIZAN_TEST_DSN", "postgresql://postgres@127.0.0.1:5432/test")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: whichever worker has one of them last works on alone."""
    slow = {item.path for item in items if item.get_closest_marker("slow") is not None}
    items.sort(key=lambda item: item.path not in slow)


def absent(what: str) -> None:
    if IN_CI:
        pytest.fail(f"{what}; in CI it must be there")
    pytest.skip(what)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real records and the wire's facts, beside the checkout (or BARTIZAN_SHARED)."""
    if not (SHARED / "graph" / "surface.json").is_file():
        absent(f"no shared records at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def postgres_server() -> str:
    """A DSN of a server that answers (BARTIZAN_TEST_DSN)."""
    try:
        import psycopg

        psycopg.connect(DSN, connect_timeout=3).close()
    except Exception as error:
        absent(f"no PostgreSQL at {DSN.rsplit('@')[-1]}: {error}")
    return DSN


@pytest.fixture(scope="session")
def databases(postgres_server: str) -> Iterator[Databases]:
    """Of this run on the server."""
    made = Databases(postgres_server)
    yield made
    made.close()


@pytest.fixture
def postgres_dsn(databases: Databases) -> Iterator[str]:
    """An empty database of its own for one test, dropped afterwards."""
    with databases.empty() as dsn:
        yield dsn


@pytest.fixture
def declared_dsn(databases: Databases) -> Iterator[str]:
    """The same with all tables that the program declares."""
    with databases.declared() as dsn:
        yield dsn


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the store or the lake of this test is: each test that asks for it runs on both engines."""
    if request.param == "postgres":
        dsn: str = request.getfixturevalue("postgres_dsn")
        return dsn
    return str(tmp_path / "data")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def declared_target(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """As `target`, with all tables that the program declares."""
    if request.param == "postgres":
        dsn: str = request.getfixturevalue("declared_dsn")
        return dsn
    return str(lay(tmp_path / "data"))


@dataclass(frozen=True)
class Disk:
    path: Path

    def remount(self, how: str) -> bool:
        """Such as "size=64m" or "ro"; False where the system does not let us."""
        return not subprocess.run(["mount", "-o", f"remount,{how}", str(self.path)], capture_output=True).returncode


@contextlib.contextmanager
def small_disk(path: Path, size: str) -> Iterator[Disk]:
    """A file system of its own, such as of "6m"; only the root of a machine can make one."""
    path.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)], capture_output=True)
    if made.returncode:
        absent(f"no file system of its own: {made.stderr.decode().strip()}")
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


@contextlib.contextmanager
def immutable(folder: Path) -> Iterator[None]:
    """Its databases cannot be written, not even by those who hold them open; only root can do that."""
    files = [str(file) for pattern in ("*.db", "*.db-wal") for file in folder.glob(pattern)]
    made = subprocess.run(["chattr", "+i", *files], capture_output=True)
    try:
        if made.returncode:
            absent(f"the files cannot be made immutable: {made.stderr.decode().strip()}")
        yield
    finally:
        subprocess.run(["chattr", "-i", *files], capture_output=True)
