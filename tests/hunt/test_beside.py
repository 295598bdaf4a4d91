"""What a hunt is lent by whoever asked for it: of its own tenant, within bounds, and nothing else."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.hunt.beside import watchlist

from bartizan.app.assembly import declared
from bartizan.app.hunt import COMMAND
from bartizan.auth.keys import SYSTEM
from bartizan.errors import BadRequest, NotFound
from bartizan.hunt import hunters as module
from bartizan.hunt.beside import Beside
from bartizan.hunt.fault import KqlError
from bartizan.hunt.hunters import Hunt, Hunters, Limits
from bartizan.hunt.line import Bounds, Known, Want
from bartizan.intel import kept
from bartizan.intel.tables import Places, unpack
from bartizan.lake.storage import Storage
from bartizan.store import Store, open_store

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 11, 23, 5, tzinfo=UTC)
KNOWN = Known(watchlists=("Vips",), external=True)
READ = "externaldata(a: string)"
Asked = Callable[[str, str], Awaitable[list[object]]]


class Lender:
    """Remembers what was wanted. An address is answered with itself; one that ends with `slow` never."""

    def __init__(self) -> None:
        self.wanted: list[tuple[str, str, str]] = []
        self.left: list[str] = []
        self.begun = asyncio.Event()

    async def __call__(self, tenant: str, want: Want) -> bytes:
        self.wanted.append((tenant, want.kind, want.name))
        if want.name.endswith("refused"):
            raise BadRequest("this address is not allowed")
        if want.name.endswith("slow"):
            self.begun.set()
            try:
                await asyncio.sleep(600)
            finally:
                self.left.append(want.name)
        return watchlist(("User",), [tenant]) if want.kind == "watchlist" else want.name.encode()


@pytest.fixture
def lender() -> Lender:
    return Lender()


@pytest.fixture
async def hunters(lender: Lender) -> AsyncIterator[Hunters]:
    made = Hunters(COMMAND, Limits(Bounds(seconds=20.0, rows=1_000, bytes=100_000), memory_mb=256), lender)
    yield made
    await made.close()


@pytest.fixture
def asked(hunters: Hunters, tmp_path: Path) -> Asked:
    async def made(query: str, tenant: str = "a") -> list[object]:
        files = Storage(tenant, tmp_path / tenant, tmp_path, 0, 0.0, {})
        found = await hunters.run(Hunt(tenant=tenant, query=query, now=NOW, files=files, known=KNOWN))
        return [list(row.values()) for row in json.loads(found)["results"]]

    return made


async def test_a_process_is_lent_what_is_its_tenant_s(asked: Asked, lender: Lender) -> None:
    query = f"_GetWatchlist('Vips') | project User | union ({READ}['x/y.csv'] | project User = a)"
    for tenant in ("a", "b"):
        assert sorted(map(str, await asked(query, tenant))) == [f"['{tenant}']", "['x/y.csv']"]
    assert sorted(set(lender.wanted)) == [
        ("a", "external", "x/y.csv"), ("a", "watchlist", "Vips"), ("b", "external", "x/y.csv"),
        ("b", "watchlist", "Vips"),
    ]  # fmt: skip


async def test_what_is_not_given_has_its_place_and_ends_no_process(
    asked: Asked, hunters: Hunters, lender: Lender
) -> None:
    with pytest.raises(KqlError, match="this address is not allowed") as caught:
        await asked(f"print 1;\n{READ}['x', 'refused']".replace("print 1;\n", "let b = 1;\n"), "a")
    assert (caught.value.line, caught.value.column, caught.value.phase) == (2, 30, "plan")
    (process,) = hunters._idle
    assert await asked(f"{READ}['again']", "a") == [["again"]]
    assert hunters._idle == [process]


async def test_a_hunt_is_lent_so_much(asked: Asked, lender: Lender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WANTS", 3)
    assert len(await asked(f"{READ}['1', '2', '3']", "a")) == 3
    with pytest.raises(KqlError, match="at most 3 watchlists and addresses"):
        await asked(f"{READ}['1', '2', '3', '4']", "a")
    assert len(lender.wanted) == 6


async def test_who_leaves_ends_what_is_being_fetched(asked: Asked, hunters: Hunters, lender: Lender) -> None:
    await asked("print 1", "a")
    (process,) = hunters._idle
    task = asyncio.ensure_future(asked(f"{READ}['slow']", "a"))
    await lender.begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert lender.left == ["slow"]
    assert process._process is not None and process._process.poll() is not None
    assert await asked("print 2", "a") == [[2]]


# ---------------------------------------------------------------- of a store


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    made = open_store(tmp_path / "store", declared())
    await made.start()
    yield made
    await made.close()


async def test_tables_of_places_are_those_of_all_and_of_the_tenant(store: Store, tmp_path: Path) -> None:
    """The tenant's own first; what has expired does not count, nor what says no place."""
    file = tmp_path / "file.csv"
    file.write_text("10.0.0.0/8,DE\n")
    asns = tmp_path / "asns.csv"
    asns.write_text("10.0.0.0/8,64500,Example\n")
    times = {"t": 10.0, "u": 10.0, SYSTEM: 20.0}
    for tenant, at in times.items():
        await kept.bring(store, tenant, "country", file, source="now", now=at)
        await kept.bring(store, tenant, "country", file, source="past", now=at, expires=NOW.timestamp())
        await kept.bring(store, tenant, "asn", asns, source="asns", now=at)
    beside = Beside(store)
    known = {tenant: (await beside.known(tenant, NOW)).places for tenant in ("t", "u", "v")}
    assert [len(known[tenant]) for tenant in ("t", "u", "v")] == [2, 2, 1]
    assert known["t"][1] == known["u"][1] == known["v"][0] and known["t"][0] != known["u"][0]
    assert isinstance(unpack(await beside.lend("t", Want("places", known["t"][0]))), Places)
    with pytest.raises(NotFound):
        await beside.lend("u", Want("places", known["t"][0]))


async def test_nothing_is_read_elsewhere_unless_somebody_can(store: Store) -> None:
    beside = Beside(store)
    assert not (await beside.known("t", NOW)).external
    with pytest.raises(BadRequest, match="not allowed"):
        await beside.lend("t", Want("external", "https://lists.example/a"))
    with pytest.raises(NotFound, match="no watchlist 'Vips'"):
        await beside.lend("t", Want("watchlist", "Vips"))
