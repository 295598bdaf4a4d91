"""What a new release does to the database of an older one: its tables, and the bytes that the older one rendered."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path as Files
from typing import Any

import pytest
from click.testing import CliRunner
from msgspec.structs import replace
from tests.store.conftest import COLLECTIONS, NOTES, Opener, alert, note, putting

from bartizan.cli import bartizan
from bartizan.errors import Unavailable
from bartizan.model import faces
from bartizan.model.alert import Alert, Observed
from bartizan.model.faces import provider_faces
from bartizan.odata.tree import Compare, Literal, Path
from bartizan.store import RENDER, Query, Release, Store, Stored, draft, open_store
from bartizan.store.alerts import ALERTS, ALERTS_V2, INCIDENTS, prepare, store_alert
from bartizan.store.backfill import BATCH
from bartizan.store.sql import Db, Dialect, migrations

pytestmark = pytest.mark.anyio

NEXT = Release(render=RENDER + 1)
BOTH = (ALERTS_V2, ALERTS)


async def doctor(store: Store, table: str, old: str, new: str, columns: str = "doc beta") -> None:
    """Puts other bytes into the database, as an older program would have rendered them."""
    sets = ", ".join(f"{name} = replace({name}, '{old}', '{new}')" for name in columns.split())

    def work(db: Db, _: Any) -> int:
        return db.run(f'UPDATE "c_{table}" SET {sets}')

    assert await store.write(work) > 0  # type: ignore[attr-defined]


async def kept(store: Store, collection: str, ids: Sequence[str]) -> list[Stored | None]:
    return [await store.tenant("t").get(collection, id) for id in ids]


async def feed(store: Store) -> list[int]:
    return [change.seq for change in await store.changes(0, limit=10_000)]


# ---------------------------------------------------------------- rendering


async def test_a_new_rendering_reaches_every_document(opened: Opener) -> None:
    """Documents come up as the new release renders them; number, stamps, ETag and feed stay as they were."""
    store = await opened()
    ids = [f"a{i:03}" for i in range(BATCH + 30)]
    await store.tenant("t").write(putting(*(alert(id, tenantId="r1") for id in ids), note("n")), actor="me")
    await store.tenant("u").write(putting(alert("other")), actor="me")
    before, told, head = await kept(store, "alerts", ids), await feed(store), await store.head()
    await doctor(store, "alerts", '"classification":null,', "")
    await doctor(store, "notes", "{", "{ ", "doc")
    as_it_was = await kept(store, "notes", ["n"])
    assert await kept(store, "alerts", ids) != before
    await store.close()
    same = await opened()
    assert await kept(same, "alerts", ids) != before  # this release does not touch what it finds
    await same.close()
    new = await opened(release=NEXT)
    assert await kept(new, "alerts", ids) == before
    other = await new.tenant("u").get("alerts", "other")
    assert other is not None and b'"classification":null' in other.doc
    assert await kept(new, "notes", ["n"]) == as_it_was  # plain JSON is not rendered
    assert await feed(new) == told and await new.head() == head
    [put] = await new.tenant("t").write(putting(alert("a003"), if_match=before[3].etag), actor="me")  # type: ignore[union-attr]
    assert put is not None and put.seq > head


async def test_what_needs_no_rendering_is_not_written(opened: Opener) -> None:
    """Rendering gives back its own bytes: where the release renders alike, no row is written."""
    store = await opened()
    await store.tenant("t").write(putting(*(alert(f"a{i}", tenantId="r") for i in range(20))), actor="me")

    def refuse(db: Db, _: Any) -> None:
        if store.dialect.name == "sqlite":  # type: ignore[attr-defined]
            db.run("CREATE TRIGGER refuse BEFORE UPDATE ON c_alerts BEGIN SELECT raise(ABORT, 'written'); END")
        else:
            db.run(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
                "$x$ BEGIN RAISE EXCEPTION 'written'; END $x$"
            )
            db.run("CREATE TRIGGER refuse BEFORE UPDATE ON c_alerts FOR EACH ROW EXECUTE FUNCTION refuse()")

    await store.write(refuse)  # type: ignore[attr-defined]
    await store.close()
    await opened(release=NEXT)


async def test_both_faces_are_rendered_from_their_one_state(opened: Opener) -> None:
    """A legacy face, whose state is kept beside today's, is made from it, with its columns and entities."""
    store = await opened(BOTH)
    found = Alert(vendor="Ex", product="Sensor", provider_alert_id="1", title="A \u00e4 thing", severity="high")
    state = provider_faces(found, "t", "2026-01-02T03:04:05.0000000Z")
    state.entities = [Observed("host", "pc1.example.org", "src")]
    state.legacy["hostStates"] = [{"fqdn": "pc1.example.org"}]
    await store.tenant("t").write(lambda tx: store_alert(tx, prepare(state)), actor="me")
    before = [await kept(store, each.name, [state.id]) for each in BOTH]
    assert before[0][0] is not None and before[1][0] is not None and before[1][0].state == b""

    def spoil(db: Db, _: Any) -> None:
        for table in ("c_alerts_v2", "c_alerts"):
            db.run(f"""UPDATE {table} SET doc = '{{"id":"x"}}', beta = NULL, x_severity = 'low', entities = NULL""")
        db.run("DELETE FROM entities WHERE collection = 'alerts'")

    await store.write(spoil)  # type: ignore[attr-defined]
    await store.close()
    new = await opened(BOTH, release=NEXT)
    assert [await kept(new, each.name, [state.id]) for each in BOTH] == before
    high = Compare("eq", Path(("severity",), kind="enum"), Literal("high", "enum"))
    assert await new.tenant("t").count("alerts", high) == await new.tenant("t").count("alerts_v2", high) == 1
    assert len(await new.tenant("t").entity("host", "pc1.example.org", collection="alerts")) == 1
    again = await new.tenant("t").get("alerts_v2", state.id)
    assert again is not None and faces.decode(again.state) == faces.decode(before[0][0].state)


async def test_incidents_are_known_by_their_detectors(opened: Opener) -> None:
    """What correlation noted in an incident before the entity index had it, is found after the upgrade."""
    old = replace(INCIDENTS, entities={})
    store = await opened((old,))
    own = {"priority": {"detectors": [{"detector": "Acme/Rule 1"}, {"detector": "acme/2"}]}}
    body = {"displayName": "an incident", "severity": "high", "@bartizan.correlation": own}
    await store.tenant("t").write(lambda tx: tx.put(draft(old, body, "i")), actor="me")
    assert await store.tenant("t").entity("detector", "acme/rule 1") == []
    await store.close()
    new = await opened((INCIDENTS,))
    assert [row[1] for row in await new.tenant("t").entity("detector", "acme/rule 1")] == ["i"]
    assert await new.tenant("t").values("detector", collections=("incidents",)) == ["acme/2", "acme/rule 1"]


class Stop(Exception):
    """Ends a start in the middle."""


async def test_an_interrupted_rendering_goes_on(opened: Opener, target: str) -> None:
    """One that dies between two batches is taken up by the next start, which finds what was written meanwhile right."""
    store = await opened()
    ids = [f"a{i:04}" for i in range(3 * BATCH)]
    await store.tenant("t").write(putting(*(alert(id) for id in ids)), actor="me")
    before = await kept(store, "alerts", ids)
    await doctor(store, "alerts", '"classification":null,', "")
    cut = open_store(target, COLLECTIONS, release=NEXT)
    prepare_in = cut._open_pen  # type: ignore[attr-defined]

    class Dying:
        """A pen that breaks at its third commit: the declaration and one batch are durable by then."""

        def __init__(self, pen: Any) -> None:
            self._pen, self._locks = pen, 0

        def lock(self) -> None:
            self._locks += 1
            if self._locks == 3:
                raise Stop
            self._pen.lock()

        def explain(self, error: BaseException) -> tuple[None, bool]:
            return None, False

        def __getattr__(self, name: str) -> Any:
            return getattr(self._pen, name)

    cut._open_pen = lambda: Dying(prepare_in())  # type: ignore[attr-defined]
    with pytest.raises(Stop):
        await cut.start()
    half = await kept(store, "alerts", ids)
    assert half != before and half[0] == before[0] and half[-1] != before[-1]
    rest = [alert(ids[0], title="new"), alert("late"), alert(ids[-1], title="new")]  # by the older program, meanwhile
    await store.tenant("t").write(putting(*rest), actor="me")
    await doctor(store, "alerts", '"classification":null,', "")
    late = await kept(store, "alerts", [ids[0], "late", ids[-1]])
    new = await opened(release=NEXT)
    whole = await kept(new, "alerts", ids)
    assert whole[1 + BATCH : -1] == before[1 + BATCH : -1]
    for old, now in zip(late, await kept(new, "alerts", [ids[0], "late", ids[-1]]), strict=True):
        assert old is not None and now is not None and now.seq == old.seq and now.updated == old.updated
        assert b'"classification":null' in now.doc


async def test_writers_get_their_turn_meanwhile(opened: Opener) -> None:
    """While a start renders, another process writes; what it writes stays."""
    store = await opened()
    ids = [f"a{i:04}" for i in range(6 * BATCH)]
    await store.tenant("t").write(putting(*(alert(id) for id in ids)), actor="me")
    await doctor(store, "alerts", '"classification":null,', "")
    starting = asyncio.ensure_future(opened(release=NEXT))
    rounds = 0
    while not starting.done():
        await store.tenant("t").write(putting(alert(ids[-1 - rounds % 50], title=f"round {rounds}")), actor="me")
        rounds += 1
    new = await starting
    assert rounds >= 3
    last = await new.tenant("t").get("alerts", ids[-1 - (rounds - 1) % 50])
    assert last is not None and f'"title":"round {rounds - 1}"'.encode() in last.doc
    page = await new.tenant("t").page("alerts", Query(2_000))
    assert len(page.rows) == len(ids) and all(b'"classification":null' in row.doc for row in page.rows)


async def test_going_back_and_forth(opened: Opener) -> None:
    """An older release serves what it finds and notes that it writes, so that the newer renders all once more."""
    new = await opened(release=NEXT)
    await new.tenant("t").write(putting(alert("a")), actor="me")
    await new.close()
    old = await opened()
    await old.tenant("t").write(putting(alert("b")), actor="me")
    right = await kept(old, "alerts", ["a", "b"])
    await doctor(old, "alerts", '"classification":null,', "")
    await old.close()
    again = await opened(release=NEXT)
    assert await kept(again, "alerts", ["a", "b"]) == right


async def test_a_program_with_fewer_sets_renders_its_own(opened: Opener) -> None:
    """A command that knows some sets does not pass for a rendering of the others."""
    store = await opened()
    await store.tenant("t").write(putting(alert("a")), actor="me")
    right = await kept(store, "alerts", ["a"])
    await doctor(store, "alerts", '"classification":null,', "")
    await store.close()
    few = await opened((NOTES,), release=NEXT)
    await few.close()
    new = await opened(release=NEXT)
    assert await kept(new, "alerts", ["a"]) == right


async def test_one_unreadable_document_stops_nothing(opened: Opener) -> None:
    """It stays as it is; the others are rendered and the store starts."""
    store = await opened()
    await store.tenant("t").write(putting(alert("a"), alert("b"), alert("c")), actor="me")
    before = await kept(store, "alerts", ["a", "c"])
    await doctor(store, "alerts", '"classification":null,', "")

    def break_one(db: Db, _: Any) -> None:
        db.run("UPDATE c_alerts SET doc = 'no json', beta = NULL, state = NULL WHERE id = 'b'")

    await store.write(break_one)  # type: ignore[attr-defined]
    await store.close()
    new = await opened(release=NEXT)
    assert await kept(new, "alerts", ["a", "c"]) == before
    broken = await new.tenant("t").get("alerts", "b")
    assert broken is not None and broken.doc == b"no json"


@pytest.mark.shared
@pytest.mark.parametrize("source", ["crowdstrike_falcon", "microsoft_defender_xdr", "wazuh"])
async def test_real_records_are_rendered_alike_again(shared: Files, tmp_path: Files, source: str) -> None:
    """What was made of a vendor's records, spoilt and rendered anew, is the same byte for byte."""
    files = [str(file) for file in sorted((shared / "alerts" / source).glob("*.jsonl"))]
    args = ["ingest", source, *files, "--field", "raw", "--data", str(tmp_path)]
    done = await asyncio.to_thread(lambda: CliRunner().invoke(bartizan, args, prog_name="bartizan"))
    assert done.exit_code == 0, done.output
    tenant = json.loads(await asyncio.to_thread(tenants, tmp_path))[0]["tenantId"]

    async def documents(store: Store) -> list[Stored | None]:
        pages = [(await store.tenant(tenant).page(name, Query(1_000))).rows for name in ("alerts", "alerts_v2")]
        return [await store.tenant(tenant).get(row.collection, row.id) for page in pages for row in page]

    store = open_store(tmp_path, BOTH)
    await store.start()
    right = await documents(store)
    assert len(right) >= 8
    for table in ("alerts", "alerts_v2"):
        await doctor(store, table, '"createdDateTime"', '"made"')
    assert await documents(store) != right
    await store.close()
    new = open_store(tmp_path, BOTH, release=NEXT)
    await new.start()
    assert await documents(new) == right
    await new.close()


def tenants(data: Files) -> str:
    return CliRunner().invoke(bartizan, ["tenant", "list", "--data", str(data)], prog_name="bartizan").stdout


# ---------------------------------------------------------------- numbered migrations


def second(dialect: Dialect) -> list[list[str]]:
    """This program's schema and one more."""
    return [
        *migrations(dialect),
        [
            f"ALTER TABLE relations ADD COLUMN note {dialect.text}",
            f"CREATE TABLE extra (tenant {dialect.text} NOT NULL, n {dialect.whole} NOT NULL)",
            "INSERT INTO extra (tenant, n) SELECT tenant, count(*) FROM relations GROUP BY tenant",
        ],
    ]


async def test_a_migration_keeps_what_is_there(opened: Opener, target: str) -> None:
    """A database of this schema goes to the next with all its data; this program then refuses it and leaves it be."""
    old = await opened()
    tenant = old.tenant("t")
    await tenant.write(putting(alert("a", tenantId="r1"), note("n")), actor="me")
    await tenant.write(lambda tx: tx.relate("members", "g", "notes", "n"), actor="me")
    await tenant.write(lambda tx: tx.set_value("k", b"v"), actor="me")
    await tenant.write(lambda tx: tx.attach("notes", "n", "raw", b"\0raw"), actor="me")
    await old.advance("stage", 2)
    documents, told = await kept(old, "alerts", ["a"]), await feed(old)
    await old.close()
    for _ in range(2):  # the second start finds it done
        new = await opened(release=Release(migrations=second))
        tenant = new.tenant("t")
        assert await kept(new, "alerts", ["a"]) == documents and await feed(new) == told
        assert await tenant.related("members", "g", limit=5) == [("notes", "n")]
        assert await tenant.attachment("notes", "n", "raw") == b"\0raw" and await tenant.value("k") == b"v"
        assert await new.cursor("stage") == 2 and len(await tenant.entity("resource", "r1")) == 1
        assert await new.read(lambda db: db.rows("SELECT tenant, n FROM extra")) == [("t", 1)]  # type: ignore[attr-defined]
        await tenant.write(lambda tx: tx.relate("members", "g", "alerts", "a"), actor="me")
        await tenant.write(lambda tx: tx.unrelate("members", "g", "alerts", "a"), actor="me")
        await new.close()
    with pytest.raises(Unavailable, match=r"newer Bartizan \(schema 2; this one knows 1\)"):
        await open_store(target, COLLECTIONS).start()
    back = await opened(release=Release(migrations=second))
    assert await kept(back, "alerts", ["a"]) == documents


async def test_a_migration_that_fails_leaves_the_old_schema(opened: Opener) -> None:
    """All of it or nothing: the old program starts again on what it had."""
    old = await opened()
    await old.tenant("t").write(putting(note("n")), actor="me")
    await old.close()

    def broken(dialect: Dialect) -> list[list[str]]:
        return [*second(dialect), ["CREATE TABLE extra (n)"]]

    with pytest.raises(Exception, match=r"extra|syntax"):
        await opened(release=Release(migrations=broken))
    back = await opened()
    assert (await kept(back, "notes", ["n"]))[0] is not None
    new = await opened(release=Release(migrations=second))
    assert await new.read(lambda db: db.rows("SELECT * FROM extra")) == []  # type: ignore[attr-defined]


async def test_several_processes_migrate_once(opened: Opener) -> None:
    """Of those that start together one migrates and renders, the others find it done."""
    old = await opened()
    await old.tenant("t").write(putting(*(alert(f"a{i}") for i in range(300))), actor="me")
    right = await kept(old, "alerts", ["a7"])
    await doctor(old, "alerts", '"classification":null,', "")
    await old.close()
    release = Release(migrations=second, render=RENDER + 1)
    stores = await asyncio.gather(*(opened(release=release) for _ in range(3)))
    for store in stores:
        assert await kept(store, "alerts", ["a7"]) == right
