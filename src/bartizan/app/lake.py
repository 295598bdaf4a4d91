"""The process that makes Parquet of the buffer's events: the flush and the upkeep of files, each under a lease, each
with a DuckDB of its own that is bounded and sees nothing but the lake's folder.

Source: design of processes in ARCHITECTURE.md.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable

from bartizan.app.work import NICENESS, at_work, kept, owner_here
from bartizan.lake import Lake
from bartizan.lake.compact import Upkeep
from bartizan.lake.duck import Duck
from bartizan.lake.flush import Flusher
from bartizan.lake.manifest import Manifest
from bartizan.settings import Settings


def run(settings: Settings) -> None:
    import uvloop

    os.nice(NICENESS)
    uvloop.run(_main(settings))


async def _main(settings: Settings) -> None:
    async with at_work(settings) as (store, lake, stop):
        owner = owner_here()
        stages = {"lake": lambda: _flush(settings, lake), "lake-upkeep": lambda: _upkeep(settings, lake)}
        tasks = [asyncio.create_task(kept(store, name, owner, stage), name=name) for name, stage in stages.items()]
        await stop.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _flush(settings: Settings, lake: Lake) -> None:
    duck = Duck(settings.lake_path, threads=settings.lake_threads, memory_mb=settings.lake_memory_mb // 2)
    await _with(duck, Flusher(lake, Manifest(lake, settings.lake_path), duck).run)


async def _upkeep(settings: Settings, lake: Lake) -> None:
    """With one thread: the flush comes first."""
    duck = Duck(settings.lake_path, threads=1, memory_mb=settings.lake_memory_mb // 2)
    kept_for = Upkeep(
        Manifest(lake, settings.lake_path), duck, default_days=settings.lake_days, days=settings.table_days
    )
    await _with(duck, kept_for.run)


async def _with(duck: Duck, stage: Callable[[], Awaitable[None]]) -> None:
    try:
        await stage()
    finally:
        duck.interrupt()  # what a thread still works on is nobody's
        duck.close()
