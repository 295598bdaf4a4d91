"""Leases of processes that were killed: another takes them over at once where it can know, and else waits."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import absent
from tests.store.conftest import Opener

from bartizan.store import Store

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")]

HOLDER = (sys.executable, str(Path(__file__).with_name("lease_process.py")))
# Children of `unshare` take its place, or die with it.
CONTAINER = ("unshare", "--pid", "--mount-proc", "--fork", "--kill-child")
OTHER_BOOT = ("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"')


@contextlib.contextmanager
def holder(target: str, *within: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that holds the lease, and will for an hour."""
    if within and subprocess.run([*within, "true"], capture_output=True).returncode:
        absent("no namespaces of one's own")
    command = [*within, *HOLDER, target]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"held\n"
            yield process
        finally:
            process.kill()


def ended(pid: int) -> None:
    """Waits for its end, which nobody takes note of."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


async def taken(store: Store) -> bool:
    return await store.lease("work", store.owner(), seconds=60)


def replaced(path: Path) -> None:
    copy = path.with_suffix(".copy")
    shutil.copy(path, copy)
    copy.rename(path)


@pytest.fixture
def boot_of_another(tmp_path: Path) -> str:
    path = tmp_path / "boot_id"
    path.write_text("2a0c5f5c-3c52-4c6f-8d0e-0b7f1d3b9a11\n")
    return str(path)


async def test_nobody_waits_for_one_that_was_killed(opened: Opener, target: str) -> None:
    """As long as it lives, even stopped, it has the lease; a moment after its end another has it, and keeps it."""
    store, third = await opened(), await opened()
    with holder(target) as process:
        assert not await taken(store)
        process.send_signal(signal.SIGSTOP)
        assert not await taken(store)
        process.kill()
        ended(process.pid)
        assert await taken(store)
        assert not await taken(third)


async def test_one_that_was_killed_and_forgotten(opened: Opener, target: str) -> None:
    store = await opened()
    with holder(target) as process:
        process.kill()
        process.wait()
        assert await taken(store)


async def test_owners_of_one_process(opened: Opener) -> None:
    """They are told apart, also those of one store."""
    one, other = await opened(), await opened()
    assert await taken(one)
    assert not await taken(one) and not await taken(other)


async def test_a_killed_container(opened: Opener, target: str) -> None:
    """On SQLite its end is seen from everywhere. On PostgreSQL nobody can tell what a number means there."""
    store = await opened()
    with holder(target, *CONTAINER) as process:
        assert not await taken(store)
        process.kill()
        process.wait()
        process.communicate()  # the end of its output: all who had it have ended
        assert await taken(store) == (not target.startswith("postgresql"))


async def test_another_boot(opened: Opener, target: str, boot_of_another: str) -> None:
    """On PostgreSQL it may be another machine's; the file of SQLite shows that nobody holds the lock."""
    store = await opened()
    with holder(target, *OTHER_BOOT, boot_of_another) as process:
        assert not await taken(store)
        process.kill()
        process.wait()
        assert await taken(store) == (not target.startswith("postgresql"))


async def test_owners_of_an_earlier_version_are_waited_for(opened: Opener) -> None:
    """Their names do not say what they hold."""
    store = await opened()
    assert await store.lease("work", "host:1234:0a1b2c3d", seconds=60)
    assert not await taken(store)
    assert await store.lease("work", "host:1234:0a1b2c3d", seconds=-1)
    assert await taken(store)


@pytest.mark.parametrize("target", ["sqlite"], indirect=True)
async def test_a_closed_store_holds_no_lease(opened: Opener) -> None:
    one, other = await opened(), await opened()
    assert await taken(one)
    await one.close()
    assert await taken(other)


@pytest.mark.parametrize("target", ["sqlite"], indirect=True)
async def test_a_file_of_locks_that_was_replaced_tells_nothing(opened: Opener, target: str) -> None:
    """Whoever removes or copies it takes no lease away from one that lives."""
    store = await opened()
    with holder(target):
        replaced(Path(target) / "state.db-owners")
        assert not await taken(store)


@pytest.mark.parametrize("target", ["sqlite"], indirect=True)
async def test_where_no_lock_can_be_had_leases_run_out(opened: Opener, target: str) -> None:
    """A full disk, or a file system without locks, keeps nobody from his lease."""
    (Path(target) / "state.db-owners").mkdir(parents=True)
    one, other = await opened(), await opened()
    assert await taken(one)
    await one.close()
    assert not await taken(other)
