"""Growing files: appended lines once, through rotation both ways, restarts and crashes between store and checkpoint."""

from pathlib import Path

import pytest
from tests.ingest.conftest import PLAIN, TENANT, Lake

from bartizan.errors import Unavailable
from bartizan.ingest.pipeline import Pipeline
from bartizan.ingest.tail import Tail
from bartizan.store import Store

pytestmark = pytest.mark.anyio


class Follower:
    def __init__(self, store: Store, pipeline: Pipeline, lake: Lake, path: Path) -> None:
        self.path, self.lake, self.args = path, lake, (store, pipeline, TENANT, PLAIN, path)
        self.tail = Tail(*self.args)

    def append(self, text: str) -> None:
        with self.path.open("a") as file:
            file.write(text)

    async def stored(self) -> list[str]:
        for _ in range(5):
            await self.tail.step()
        return [row["Message"] for _, _, row in self.lake.rows]

    def again(self) -> None:
        self.tail.close()
        self.tail = Tail(*self.args)


@pytest.fixture
def follower(store: Store, pipeline: Pipeline, lake: Lake, tmp_path: Path) -> Follower:
    return Follower(store, pipeline, lake, tmp_path / "app.log")


async def test_lines_as_they_come(follower: Follower) -> None:
    """A file may appear later; a line without its end waits for it."""
    assert await follower.stored() == []
    follower.append("one\r\ntw")
    assert await follower.stored() == ["one"]
    follower.append("o\nthree\n")
    assert await follower.stored() == ["one", "two", "three"]


async def test_goes_on_where_it_was(follower: Follower) -> None:
    follower.append("one\n")
    await follower.stored()
    follower.again()
    follower.append("two\n")
    assert await follower.stored() == ["one", "two"]


async def test_renamed_and_made_anew(follower: Follower) -> None:
    """What the old file still got after its renaming is taken first."""
    follower.append("one\n")
    await follower.stored()
    old = follower.path.rename(follower.path.with_suffix(".1"))
    with old.open("a") as file:
        file.write("two\n")
    follower.append("three\n")
    assert await follower.stored() == ["one", "two", "three"]


async def test_cut_to_nothing(follower: Follower) -> None:
    follower.append("one\ntwo\n")
    await follower.stored()
    follower.path.write_text("a\n")
    assert await follower.stored() == ["one", "two", "a"]


async def test_another_file_while_it_was_away(follower: Follower) -> None:
    """The same path with other content begins at its start, even if it is longer than the old place."""
    follower.append("one\n")
    await follower.stored()
    follower.tail.close()
    follower.path.unlink()
    follower.append("another, longer line\nnext\n")
    follower.again()
    assert await follower.stored() == ["one", "another, longer line", "next"]


async def test_a_crash_before_the_checkpoint_stores_nothing_twice(follower: Follower, store: Store) -> None:
    follower.append("one\n")
    await follower.stored()
    key = follower.tail._key
    before = await store.tenant(TENANT).value(key)
    follower.append("two\n")
    await follower.stored()
    await store.tenant(TENANT).write(lambda tx: tx.set_value(key, before), actor="test")
    follower.again()
    assert await follower.stored() == ["one", "two"]


async def test_a_store_that_is_away_loses_no_line(follower: Follower) -> None:
    follower.append("one\n")
    follower.lake.down = Unavailable("not now")
    with pytest.raises(Unavailable):
        await follower.tail.step()
    follower.lake.down = None
    follower.again()
    assert await follower.stored() == ["one"]


async def test_only_what_is_new(follower: Follower) -> None:
    follower.append("old\n")
    follower.tail = Tail(*follower.args, from_start=False)
    assert await follower.stored() == []
    follower.append("new\n")
    assert await follower.stored() == ["new"]
