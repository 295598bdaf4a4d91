"""Events from the buffer into files: a stage of the worker that starts a process with DuckDB in it when there is
something to do, and the life of that process, which ends when nothing has come for a while.

A server that sees no events so needs no memory for them.

Source: design of processes in ARCHITECTURE.md.
"""

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Awaitable, Callable

import structlog

from bartizan.app.handover import handover
from bartizan.lake import Lake
from bartizan.lake.manifest import Manifest
from bartizan.settings import Settings
from bartizan.store.follow import PASSING

LOOK_S = 0.25  # between two looks at the buffer while no process runs
IDLE_S = 60.0  # without anything to do, after which the process ends
UPKEEP_S = 3_600.0  # at least so often it looks whether files are to be put together or have had their time
STOP_S = 10.0
PAUSE_S = 5.0  # before what failed is tried again

_log = structlog.get_logger(__name__)


async def files(settings: Settings, lake: Lake) -> None:
    """The stage. One at a time, under a lease."""
    manifest = Manifest(lake, settings.lake_path)
    looked = time.monotonic()
    while True:
        due = time.monotonic() - looked >= UPKEEP_S
        if due or await lake.head() > await manifest.position():
            looked = time.monotonic()
            status = await _process(settings)
            if status:
                _log.error("process.ended", role="lake", status=status, restart_s=PAUSE_S)
                await asyncio.sleep(PAUSE_S)
        await asyncio.sleep(LOOK_S)


async def _process(settings: Settings) -> int:
    """Runs it to its end; cancelled, ends it."""
    command = (sys.executable, "-m", "bartizan.app", "lake")
    process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.PIPE, start_new_session=True)
    assert process.stdin is not None
    try:
        process.stdin.write(handover(settings))
        with contextlib.suppress(ConnectionError):  # it ended already; its status says so
            await process.stdin.drain()
        return await process.wait()
    except asyncio.CancelledError:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_S)
        except TimeoutError:
            process.kill()
            await process.wait()
        raise


# ---------------------------------------------------------------- in the process


def run(settings: Settings) -> None:
    import uvloop

    uvloop.run(_main(settings))


async def _main(settings: Settings) -> None:
    from bartizan.app.assembly import lake_of

    task = asyncio.current_task()
    assert task is not None
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, task.cancel)
    lake = lake_of(settings)
    with contextlib.suppress(asyncio.CancelledError):  # told to stop, which may come while the lake is still opening
        try:
            await _patiently("open", lake.start)
            await _worked(settings, lake)
        finally:
            await lake.close()


async def _patiently(stage: str, run: Callable[[], Awaitable[None]]) -> None:
    """Again and again, as long as what ends it may pass: a full disk, files that cannot be written for a while."""
    from duckdb import IOException

    while True:
        try:
            return await run()
        except (*PASSING, OSError, IOException) as error:
            _log.warning("stage.waits", stage=f"lake {stage}", error=str(error))
            await asyncio.sleep(PAUSE_S)


async def _worked(settings: Settings, lake: Lake) -> None:
    """The flush, and beside it, with one thread, the upkeep of files: each has a DuckDB of its own."""
    from bartizan.lake.compact import Upkeep
    from bartizan.lake.duck import Duck
    from bartizan.lake.flush import Flusher

    manifest = Manifest(lake, settings.lake_path)
    memory_mb = settings.lake_memory_mb // 2
    first = Duck(settings.lake_path, threads=settings.lake_threads, memory_mb=memory_mb)
    second = Duck(settings.lake_path, threads=1, memory_mb=memory_mb)
    upkeep = Upkeep(manifest, second, default_days=settings.lake_days, days=settings.table_days)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_patiently("flush", lambda: Flusher(lake, manifest, first).run(IDLE_S)))
            group.create_task(_patiently("upkeep", lambda: upkeep.run(IDLE_S)))
    finally:
        for each in (first, second):
            await asyncio.to_thread(each.close)  # what a thread still works on is nobody's
