"""Imported tables in the store: of the whole installation in the system's tenant, of one tenant in its own.

A table is a row of its tenant's index and its content in pieces, all of them values of the store. The pieces are
written first, then one transaction names them in the index in place of what the same source said before: a reader sees
the old table or the new one, on every process. Pieces of an import that died are removed by a later one.
"""

import asyncio
import hashlib
import uuid
from collections.abc import Sequence
from functools import partial
from math import inf
from pathlib import Path

import msgspec
from msgspec import Struct

from bartizan.auth import audit
from bartizan.auth.audit import OPERATOR, Target
from bartizan.errors import BadRequest, Conflict, NotFound
from bartizan.extend import collections
from bartizan.intel import formats
from bartizan.intel.formats import Read
from bartizan.intel.locations import Location
from bartizan.intel.tables import Table, pack, unpack
from bartizan.model.ids import stable_id
from bartizan.store import Collection, Store, TenantStore, Tx, draft

PIECE_BYTES = 2**20
MAX_TABLES = 200  # of one tenant
MAX_SOURCE_CHARACTERS = 100
DEAD_S = 3_600.0  # an import that has not ended after this has died
INDEX = "intel/index"
OF_TENANTS = (formats.LEAKED, formats.NAMED)  # never of the whole installation


class Kept(Struct, frozen=True, kw_only=True):
    """An imported table and where it came from."""

    kind: str
    source: str
    imported: float  # seconds since 1970
    rows: int
    bytes: int  # as it is stored
    sha256: str  # of the file
    expires: float | None = None  # seconds since 1970
    skipped: int = 0  # bad lines that were left out
    id: str = ""
    pieces: int = 0
    locations: tuple[str, ...] = ()  # ids of the named locations that it has made


class _Begun(Struct, frozen=True):
    id: str
    pieces: int
    at: float


class Index(Struct):
    tables: list[Kept] = []
    begun: list[_Begun] = []


def index_of(content: bytes | None) -> Index:
    return msgspec.json.decode(content, type=Index) if content else Index()


def _piece(id: str, number: int) -> str:
    return f"intel/{id}/{number}"


async def tables(store: TenantStore) -> list[Kept]:
    return index_of(await store.value(INDEX)).tables


async def load(store: TenantStore, kept: Kept) -> Table | None:
    """None where it has been replaced meanwhile. ValueError where another release packed it."""
    content = await packed(store, kept)
    return None if content is None else await asyncio.to_thread(unpack, content)


async def packed(store: TenantStore, kept: Kept) -> bytes | None:
    """The same as it is stored, for `unpack`."""
    pieces = []
    for number in range(kept.pieces):
        piece = await store.value(_piece(kept.id, number))
        if piece is None:
            return None
        pieces.append(piece)
    return b"".join(pieces)


async def bring(
    store: Store,
    tenant: str,
    kind: str,
    path: Path,
    *,
    source: str,
    now: float,
    expires: float | None = None,
    skip_bad: bool = False,
) -> tuple[Kept, Read]:
    """Imports a file in place of what the same source said of the kind. BadRequest where it cannot be read, Conflict
    where another import of it has overtaken this one: nothing changes then."""
    if not 0 < len(source) <= MAX_SOURCE_CHARACTERS or not source.isprintable():
        raise BadRequest(f"a source has a name of 1 to {MAX_SOURCE_CHARACTERS} printable characters")
    if expires is not None and kind == formats.NAMED:
        raise BadRequest("named locations do not expire: remove them, or import the source again")
    until = inf if expires is None else expires
    read = await asyncio.to_thread(partial(formats.read, kind, path, source=source, until=until, skip_bad=skip_bad))
    content = await asyncio.to_thread(pack, read.table) if kind != formats.NAMED else b""
    pieces = [content[at : at + PIECE_BYTES] for at in range(0, len(content), PIECE_BYTES)]
    kept = Kept(
        kind=kind,
        source=source,
        imported=now,
        rows=read.rows,
        bytes=len(content),
        sha256=await asyncio.to_thread(_digest, path),
        expires=expires,
        skipped=read.bad,
        id=uuid.uuid4().hex,
        pieces=len(pieces),
        locations=tuple(stable_id(tenant, "named location", source, each.name) for each in read.locations),
    )
    into = store.tenant(tenant)
    await into.write(partial(_begin, kept=kept), actor=OPERATOR.actor)
    for number, piece in enumerate(pieces):
        await into.write(
            partial(_put_piece, key=_piece(kept.id, number), content=piece), actor=OPERATOR.actor, bulk=True
        )
    await into.write(partial(_finish, kept=kept, locations=read.locations), actor=OPERATOR.actor)
    return kept, read


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _put_piece(tx: Tx, key: str, content: bytes) -> None:
    tx.set_value(key, content)


def _begin(tx: Tx, kept: Kept) -> None:
    """Says which pieces will come, and removes those of imports that died."""
    index = index_of(tx.value(INDEX))
    others = [each for each in index.tables if (each.kind, each.source) != (kept.kind, kept.source)]
    if len(others) >= MAX_TABLES:
        raise BadRequest(f"{MAX_TABLES} tables are there; remove one first: bartizan intel list")
    for each in index.begun:
        if each.at < kept.imported - DEAD_S:
            _drop(tx, each.id, each.pieces)
    living = [each for each in index.begun if each.at >= kept.imported - DEAD_S]
    index.begun = [*living, _Begun(kept.id, kept.pieces, kept.imported)]
    tx.set_value(INDEX, msgspec.json.encode(index))


def _finish(tx: Tx, kept: Kept, locations: Sequence[Location]) -> None:
    index = index_of(tx.value(INDEX))
    if all(each.id != kept.id for each in index.begun):
        raise Conflict("the import took too long, and another one has removed what it had brought; try again")
    index.begun = [each for each in index.begun if each.id != kept.id]
    before = [each for each in index.tables if (each.kind, each.source) == (kept.kind, kept.source)]
    index.tables = [*(each for each in index.tables if each not in before), kept]
    for old in before:
        _drop(tx, old.id, old.pieces)
        for id in set(old.locations) - set(kept.locations):
            tx.delete(_named_locations().name, id)
    for id, each in zip(kept.locations, locations, strict=True):
        _put_location(tx, id, each)
    tx.set_value(INDEX, msgspec.json.encode(index))
    _note(tx, "Import network intelligence", "Update" if before else "Add", kept)


def _put_location(tx: Tx, id: str, location: Location) -> None:
    """As an import leaves it; one that differs in nothing keeps its stamps."""
    into = _named_locations()
    said = location.graph()
    old = tx.get(into.name, id)
    known = msgspec.json.decode(old.inner(), type=dict) if old is not None else {}
    if known and all(known.get(name) == value for name, value in said.items()):
        return
    tx.put(
        draft(
            into,
            {**said, "id": id, "createdDateTime": known.get("createdDateTime") or tx.now, "modifiedDateTime": tx.now},
            id,
        )
    )


def _named_locations() -> Collection:
    """As the API declares it, who serves what an import makes."""
    return next(each for each in collections() if each.name == "namedLocations")


async def remove(store: Store, tenant: str, source: str, kind: str | None = None) -> list[Kept]:
    """What a source said, of one kind or of all. NotFound where it said nothing."""
    gone: list[Kept] = await store.tenant(tenant).write(
        partial(_remove, source=source, kind=kind), actor=OPERATOR.actor
    )
    return gone


def _remove(tx: Tx, source: str, kind: str | None) -> list[Kept]:
    index = index_of(tx.value(INDEX))
    gone = [each for each in index.tables if each.source == source and kind in (None, each.kind)]
    if not gone:
        raise NotFound(f"there is no table of {source}; see: bartizan intel list")
    for each in gone:
        _drop(tx, each.id, each.pieces)
        for id in each.locations:
            tx.delete(_named_locations().name, id)
        _note(tx, "Remove network intelligence", "Delete", each)
    index.tables = [each for each in index.tables if each not in gone]
    tx.set_value(INDEX, msgspec.json.encode(index))
    return gone


def _drop(tx: Tx, id: str, pieces: int) -> None:
    for number in range(pieces):
        tx.set_value(_piece(id, number), None)


def _note(tx: Tx, activity: str, operation: str, kept: Kept) -> None:
    audit.record(
        tx,
        actor=OPERATOR,
        activity=activity,
        category="Policy",
        operation=operation,
        targets=[Target("NetworkIntelligence", kept.id, f"{kept.kind}: {kept.source}")],
        details={"rows": str(kept.rows), "sha256": kept.sha256},
    )
