"""The chain of directoryAudits: written with what it records, and no tampering goes unseen."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bartizan.auth import audit
from bartizan.auth.audit import Actor, Target
from bartizan.auth.caller import Caller
from bartizan.errors import Conflict
from bartizan.store import ETAG, Query, Store, Tx, draft, open_store

pytestmark = pytest.mark.anyio
TENANT = "0c0c0c0c-0000-0000-0000-000000000000"
WHO = Caller(tenant=TENANT, app="app-1", app_name="App", user="user-1", upn="ann@x.y", name="Ann")


@pytest.fixture
async def store(target: str) -> AsyncIterator[Store]:
    made = open_store(target, [audit.declared()])
    await made.start()
    yield made
    await made.close()


def entry(tx: Tx, n: int = 0, **fields: Any) -> str:
    known: dict[str, Any] = {
        "actor": WHO,
        "activity": f"Update alert {n}",
        "category": "Security",
        "targets": [
            Target("Alert", f"a-{n}", modified={"status": ('"new"', '"resolved"'), "assignedTo": (None, "null")})
        ],
        "correlation_id": "c-1",
        "address": "192.0.2.1",
        "details": {"face": "legacy"},
    }
    return audit.record(tx, **(known | fields))


async def fill(store: Store, count: int) -> list[str]:
    def work(tx: Tx) -> list[str]:
        return [entry(tx, n) for n in range(count)]

    made = []
    for _ in range(2):  # in two transactions
        made += await store.tenant(TENANT).write(work, actor="ann@x.y")
    return made


async def test_an_entry(store: Store) -> None:
    """It is a whole directoryAudit on both versions."""
    (id, _) = await fill(store, 1)
    row = await store.tenant(TENANT).get("directoryAudits", id)
    assert row is not None
    for version in ("v1.0", "beta"):
        doc = msgspec.json.decode(row.wire(version))
        assert doc["activityDisplayName"] == "Update alert 0" and doc["result"] == "success"
        assert doc["initiatedBy"]["user"]["userPrincipalName"] == "ann@x.y"
        assert doc["initiatedBy"]["user"]["ipAddress"] == "192.0.2.1"
        assert doc["initiatedBy"]["app"]["appId"] == "app-1"
        assert doc["targetResources"][0]["modifiedProperties"][0] == {
            "displayName": "status", "oldValue": '"new"', "newValue": '"resolved"',
        }  # fmt: skip
        assert [d["key"] for d in doc["additionalDetails"]] == ["face", "chain.n", "chain.prev", "chain.hash"]


async def test_entries_of_others_are_no_part_of_the_chain(store: Store) -> None:
    """An audit of another service stands beside the chain; one that claims to be of this server is found."""
    await fill(store, 2)

    async def take_in(id: str, service: str, detail: str) -> None:
        body = {
            "activityDateTime": "2026-01-01T00:00:00.0000000Z",
            "loggedByService": service,
            "additionalDetails": [{"key": detail, "value": "1"}],
        }
        made = draft(audit.declared(), body, id)
        await store.tenant(TENANT).write(lambda tx: tx.put(made), actor="t")

    await take_in("Directory_x", "Core Directory", "UserType")
    report = await audit.verify(store.tenant(TENANT))
    assert (report.ok, report.entries, report.head) == (True, 4, 4)
    await take_in("Directory_y", "Bartizan", "UserType")
    await take_in("Directory_z", "Core Directory", "chain.n")
    report = await audit.verify(store.tenant(TENANT))
    assert not report.ok and {each.id for each in report.problems} == {"Directory_y", "Directory_z"}


async def test_faces_are_those_of_the_schema(store: Store) -> None:
    """What is written by hand for speed is, byte for byte, what the store's renderer makes."""

    def work(tx: Tx) -> list[str]:
        bare = audit.record(tx, actor=Actor(app="a"), activity="x", category="y")
        return [entry(tx), entry(tx, actor=Actor(upn="u@v", app="a")), bare]

    for id in await store.tenant(TENANT).write(work, actor="x"):
        row = await store.tenant(TENANT).get("directoryAudits", id)
        assert row is not None and row.beta is not None
        inner = msgspec.json.decode(row.doc)
        (inner["initiatedBy"]["user"] or {}).pop("@odata.type", None)
        made = draft(audit.declared(), inner, id)
        stamp, number = b'W/\\"' + ETAG.encode(), b'W/\\"' + f"{row.seq:016x}".encode()
        assert made.doc.replace(stamp, number) == row.doc
        assert made.beta is not None and made.beta.replace(stamp, number) == row.beta


async def test_whole_chain(store: Store) -> None:
    await fill(store, 700)
    report = await audit.verify(store.tenant(TENANT))
    assert (report.ok, report.entries, report.head, report.problems) == (True, 1400, 1400, [])
    empty = await audit.verify(store.tenant("other"))
    assert empty.ok and empty.entries == 0


async def test_what_is_undone_leaves_no_entry(store: Store) -> None:
    def work(tx: Tx) -> None:
        entry(tx)
        raise Conflict("no")

    with pytest.raises(Conflict):
        await store.tenant(TENANT).write(work, actor="x")
    await fill(store, 1)
    assert (await audit.verify(store.tenant(TENANT))).head == 2


async def test_many_writers(store: Store) -> None:
    """Entries of writers that race form one chain, also while it is read."""

    async def one(n: int) -> None:
        await store.tenant(TENANT).write(lambda tx: entry(tx, n), actor="x")

    writers = asyncio.gather(*(one(n) for n in range(40)))
    report = await audit.verify(store.tenant(TENANT))
    await writers
    assert report.ok, report.problems
    assert (await audit.verify(store.tenant(TENANT))).entries == 40


ODD = st.text(max_size=40) | st.none() | st.sampled_from(["\ud800", "a\0b", "é" * 2000, "#x", "@y", ""])


@given(text=ODD, key=st.text(max_size=10).filter(lambda k: not k.startswith("chain.")), user=ODD)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_survives(
    tmp_path_factory: pytest.TempPathFactory, text: str | None, key: str, user: str | None
) -> None:
    """Whatever outsiders put into names, the entry is stored and its hash holds."""

    async def main() -> None:
        made = open_store(tmp_path_factory.mktemp("odd"), [audit.declared()])
        await made.start()

        def work(tx: Tx) -> str:
            return audit.record(
                tx, actor=Actor(app="x", upn=user, name=text), activity="Sign in", category="Authentication",
                reason=text, targets=[Target("User", text, text, text, {key: (text, text)})], details={key: text or ""},
            )  # fmt: skip

        await made.tenant(TENANT).write(work, actor="x")
        report = await audit.verify(made.tenant(TENANT))
        await made.close()
        assert report.ok, report.problems

    asyncio.run(main())


TABLE = "c_directoryAudits"


def swap(old: str, new: str, *faces: str) -> str:
    """SQL that changes the fifth entry's text, in both faces if none is named."""
    named = ", ".join(f"{face} = replace({face}, '{old}', '{new}')" for face in faces or ("doc", "beta"))
    return f"UPDATE {TABLE} SET {named} WHERE id = :fifth"


COLUMNS = "seq, created, updated, evolvable, x_activityDateTime, doc, beta, state, entities"
HEAD = 'UPDATE tenant_values SET value = CAST(\'{"n":3,"hash":"x"}\' AS BLOB) WHERE key = \'audit.head\''
FIRST = f"FROM {TABLE} WHERE id = :first"
TAMPERINGS: dict[str, tuple[str, str]] = {
    "changed text": ("changed", swap("ann@x.y", "bob@x.y")),
    "changed in v1.0 only": ("changed", swap("ann@x.y", "bob@x.y", "doc")),
    "changed in beta only": ("changed", swap("ann@x.y", "bob@x.y", "beta")),
    "changed time": ("changed", swap('"activityDateTime":"2', '"activityDateTime":"1')),
    "something added": ("changed", swap('"groupType":null', '"groupType":"unified"')),
    "no longer JSON": ("changed", f"UPDATE {TABLE} SET doc = 'x', beta = 'x' WHERE id = :fifth"),
    "removed": ("missing", f"DELETE FROM {TABLE} WHERE id = :fifth"),
    "first removed": ("missing", f"DELETE FROM {TABLE} WHERE id = :first"),
    "tail cut": ("truncated", f"DELETE FROM {TABLE} WHERE id = :last"),
    "all removed": ("truncated", f"DELETE FROM {TABLE}"),
    "head removed": ("inserted", "DELETE FROM tenant_values WHERE key = 'audit.head'"),
    "head set back": ("inserted", HEAD),
    "entry copied": (
        "inserted",
        f"INSERT INTO {TABLE} (tenant, id, {COLUMNS}) SELECT tenant, 'copy', {COLUMNS} {FIRST}",
    ),
    "entry without chain": ("inserted", swap('chain.n"', 'chain.x"')),
    "listed elsewhere": ("moved", f"UPDATE {TABLE} SET x_activityDateTime = '2999' WHERE id = :first"),
    "contents swapped": (
        "inserted",
        f"UPDATE {TABLE} SET doc = (SELECT doc {FIRST}), beta = (SELECT beta {FIRST}) WHERE id = :fifth",
    ),
}


@pytest.mark.parametrize("what", TAMPERINGS)
async def test_tampering(tmp_path: Path, what: str) -> None:
    """Someone with the database file in hand."""
    store = open_store(tmp_path, [audit.declared()])
    await store.start()
    ids = await fill(store, 5)
    await store.close()
    kind, sql = TAMPERINGS[what]
    with sqlite3.connect(tmp_path / "state.db") as database:
        done = database.execute(
            sql, {k: v for k, v in {"first": ids[0], "fifth": ids[4], "last": ids[-1]}.items() if f":{k}" in sql}
        )
        assert done.rowcount > 0
    database.close()
    store = open_store(tmp_path, [audit.declared()])
    await store.start()
    report = await audit.verify(store.tenant(TENANT))
    await store.close()
    assert not report.ok and kind in {p.kind for p in report.problems}, report


async def test_recomputed_entry_breaks_the_chain(tmp_path: Path) -> None:
    """An entry that was changed and hashed anew no longer fits the one after it."""
    store = open_store(tmp_path, [audit.declared()])
    await store.start()
    ids = await fill(store, 5)

    def forge(tx: Tx) -> None:
        old = tx.get("directoryAudits", ids[4])
        head = tx.value("audit.head")
        assert old is not None
        chain = {d["key"]: d["value"] for d in msgspec.json.decode(old.doc)["additionalDetails"]}
        tx.set_value("audit.head", msgspec.json.encode({"n": int(chain["chain.n"]) - 1, "hash": chain["chain.prev"]}))
        tx.delete("directoryAudits", ids[4])
        entry(tx, 99)
        tx.set_value("audit.head", head)

    await store.tenant(TENANT).write(forge, actor="x")
    report = await audit.verify(store.tenant(TENANT))
    await store.close()
    assert "broken" in {p.kind for p in report.problems}


KEY, OTHER_KEY = b"k" * 32, b"o" * 32


@pytest.fixture
def signing() -> Iterator[None]:
    audit.sign_with(KEY)
    yield
    audit.sign_with(None)


@pytest.fixture(autouse=True)
def unsigned() -> Iterator[None]:
    """Whatever other tests left: none signs but where it says so."""
    audit.sign_with(None)
    yield
    audit.sign_with(None)


def kinds(report: audit.Report) -> set[str]:
    return {problem.kind for problem in report.problems}


async def made_anew(store: Store, key: bytes | None) -> None:
    """Somebody without the key replaces all entries by a chain that is whole in itself."""

    def work(tx: Tx) -> None:
        for row in tx.find("directoryAudits", None, limit=100):
            tx.delete("directoryAudits", row.id)
        tx.set_value("audit.head", None)
        for n in range(10):
            entry(tx, n, activity="Nothing to see")

    audit.sign_with(key)
    await store.tenant(TENANT).write(work, actor="x")
    audit.sign_with(KEY)


@pytest.mark.parametrize(("key", "kind"), [(None, "unsigned"), (OTHER_KEY, "forged")])
async def test_a_chain_made_anew_without_the_key_is_found(
    store: Store, signing: None, key: bytes | None, kind: str
) -> None:
    await fill(store, 5)
    assert (await audit.verify(store.tenant(TENANT))).ok
    await made_anew(store, key)
    report = await audit.verify(store.tenant(TENANT))
    assert not report.ok and kind in kinds(report)
    audit.sign_with(None)
    assert (await audit.verify(store.tenant(TENANT))).ok, "in itself the chain is whole"


async def test_a_tail_cut_together_with_its_head_is_found(store: Store, signing: None) -> None:
    """Number and hash of an entry stand in it, for all to read; the head's mac does not."""
    ids = await fill(store, 5)

    def cut(tx: Tx) -> None:
        row = tx.get("directoryAudits", ids[8])
        assert row is not None
        chain = {d["key"]: d["value"] for d in msgspec.json.decode(row.doc)["additionalDetails"]}
        forged = {"n": 9, "hash": chain["chain.hash"], "mac": chain["chain.mac"]}
        tx.set_value("audit.head", msgspec.json.encode(forged))
        tx.delete("directoryAudits", ids[9])

    await store.tenant(TENANT).write(cut, actor="x")
    report = await audit.verify(store.tenant(TENANT))
    assert not report.ok and kinds(report) == {"forged"}


async def test_a_chain_of_another_tenant_is_none(store: Store, signing: None) -> None:
    await fill(store, 2)

    def copied(tx: Tx, rows: list[Any], head: bytes) -> None:
        for row in rows:
            tx.put(draft(audit.declared(), msgspec.json.decode(row.doc), row.id))
        tx.set_value("audit.head", head)

    rows = (await store.tenant(TENANT).page("directoryAudits", Query(top=10))).rows
    head = await store.tenant(TENANT).value("audit.head")
    assert head is not None
    await store.tenant("other").write(lambda tx: copied(tx, list(rows), head), actor="x")
    report = await audit.verify(store.tenant("other"))
    assert not report.ok and kinds(report) == {"forged"}


async def test_entries_from_before_the_key_are_sealed(store: Store) -> None:
    """They stay verifiable, an operator vouches for them once, and none can be changed behind the seal."""
    ids = await fill(store, 3)
    audit.sign_with(KEY)
    report = await audit.verify(store.tenant(TENANT))
    assert kinds(report) == {"unsigned"} and "6 entries" in report.problems[0].text
    await store.tenant(TENANT).write(lambda tx: entry(tx, 99), actor="x")
    assert kinds(await audit.verify(store.tenant(TENANT))) == {"unsigned"}, "what comes after is signed, and follows"
    report = await audit.seal(store.tenant(TENANT))
    assert (report.ok, report.entries, report.sealed) == (True, 8, 7)
    await made_anew(store, None)
    report = await audit.verify(store.tenant(TENANT))
    assert "rewritten" in kinds(report) and ids
    await store.tenant(TENANT).write(lambda tx: tx.set_value("audit.seal", b'{"n":10,"hash":"x"}'), actor="x")
    assert "forged" in kinds(await audit.verify(store.tenant(TENANT)))


async def test_a_broken_chain_is_not_sealed(store: Store) -> None:
    ids = await fill(store, 3)
    await store.tenant(TENANT).write(lambda tx: tx.delete("directoryAudits", ids[2]), actor="x")
    audit.sign_with(KEY)
    with pytest.raises(Conflict, match="not whole"):
        await audit.seal(store.tenant(TENANT))
    assert not (await audit.verify(store.tenant(TENANT))).ok


async def test_details_cannot_pose_as_the_chain(store: Store) -> None:
    with pytest.raises(ValueError, match="the chain's own"):
        await store.tenant(TENANT).write(lambda tx: entry(tx, details={"chain.n": "1"}), actor="x")


async def test_order_of_the_list(store: Store) -> None:
    """Newest first, as clients read it."""
    ids = await fill(store, 1)
    page = await store.tenant(TENANT).page("directoryAudits", Query(top=10))
    assert [row.id for row in page.rows] == list(reversed(ids))
