"""The queue of what is to be written back: one document for each change, and how it moves on.

What has settled is kept for KEEP, and of one object the last MOST_SETTLED; the last one of each object for good.

A change that an analyst makes to something that another system owns becomes a document here, whose id derives from the
connection and the number of the change. Of one object the documents are tried strictly in their order: only the first
that is open has a time of its next try, the others wait behind it. `writeback` makes and tries them.

Source: Microsoft Graph has no such resource; the shape is this server's own (`security/writeBacks`).
"""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from bartizan.auth.accounts import equals
from bartizan.errors import BadRequest, NotFound
from bartizan.extend.connectors import Pushed, Subject
from bartizan.model.ids import stable_id
from bartizan.model.times import instant, to_datetime
from bartizan.odata.tree import And, Compare, Expr, In, Order, Path
from bartizan.odata.tree import Literal as Value
from bartizan.store.draft import draft, inner
from bartizan.store.interface import Collection, Column, Query, Store, Stored, Tx

State = Literal["waiting", "denied", "done", "conflict", "failed", "leftOut", "dropped"]
OPEN: tuple[State, ...] = ("waiting", "denied")
ARRIVED: tuple[State, ...] = ("done", "conflict")

KEEP = timedelta(days=90)
MOST_SETTLED = 100  # of one object over one connection: more than is looked back at
_SETTLED: tuple[State, ...] = ("done", "conflict", "failed", "leftOut", "dropped")
_PRUNE = 20  # that one transaction removes

WRITE_BACKS = Collection(
    "writeBacks",
    type="microsoft.graph.security.writeBack",
    columns=(
        Column("connection"),
        Column("subject", index=False),
        Column("subjectId"),
        Column("state"),
        Column("changeNumber", "int"),
        Column("changedDateTime", "instant"),
        Column("nextTryDateTime", "instant"),
    ),
    order=(("changeNumber", True),),
    versions=("beta",),
    feed=False,
    keep=KEEP,
    spare=("state", OPEN),
    spare_newest="subjectId",
)

_OWN = "@bartizan.writeBack"
_FAR = "9999-12-31T00:00:00.0000000Z"
_ERROR_CHARS = 1_000
_LOOK_BACK = 50  # earlier changes of an object that are asked what was written last
_MAX_LATER = 500  # later changes of an object that a repeated one must not undo
_UNSAID: tuple[Any, ...] = (None, "", [], "unknown", "none", "unknownFutureValue")  # different words for nothing


class Own(Struct, kw_only=True, omit_defaults=True):
    """What is not shown."""

    values: dict[str, Any]  # the words to push, by name
    base: dict[str, Any]  # what they were here before
    told: dict[str, Any]  # as the provider had them then
    known: str | None = None  # the version of the system's object that was known when they were changed
    since: str = ""  # tries are counted from here
    claim: str = ""  # who tries it


class WriteBack(Struct, kw_only=True, rename="camel"):
    """One change on its way to the system that owns the object."""

    id: str  # the key that the system is given
    connection: str
    subject: Subject
    subject_id: str
    source_id: str  # the system's own id
    change_number: int
    words: list[str]
    content: str  # JSON of the words that are sent
    changed_by: str
    changed_date_time: str
    state: State
    tries: int = 0
    last_error: str | None = None
    next_try_date_time: str | None = None  # None too where an earlier change of the object is open
    completed_date_time: str | None = None
    overwrote: str | None = None  # JSON of what somebody had said there meanwhile
    last_writer: str | None = None
    left_out: list[str] = []  # words that the system has no place for
    own: Own = msgspec.field(name=_OWN)

    @property
    def open(self) -> bool:
        return self.state in OPEN


def write_back(
    tenant: str,
    connection: str,
    subject: Subject,
    subject_id: str,
    source_id: str,
    *,
    number: int,
    at: str,
    by: str,
    values: Mapping[str, Any],
    base: Mapping[str, Any],
    told: Mapping[str, Any],
    known: str | None,
    takes: frozenset[str],
) -> WriteBack:
    """`takes` are the words that the connector can push; others are left out, and said to be."""
    sent = {word: value for word, value in values.items() if word in takes}
    return WriteBack(
        id=stable_id("writeBack", tenant, connection, str(number), at),  # numbers are given anew after a restore
        connection=connection,
        subject=subject,
        subject_id=subject_id,
        source_id=source_id,
        change_number=number,
        words=list(values),
        content=msgspec.json.encode(sent).decode(),
        changed_by=by,
        changed_date_time=at,
        state="waiting" if sent else "leftOut",
        completed_date_time=None if sent else at,
        left_out=[word for word in values if word not in takes],
        own=Own(values=sent, base=dict(base), told=dict(told), known=known),
    )


def read(row: Stored) -> WriteBack:
    """Of a row with its state (`get`, `find`)."""
    return msgspec.convert(inner(row), WriteBack)


def put(tx: Tx, made: WriteBack) -> None:
    tx.put(draft(WRITE_BACKS, msgspec.to_builtins(made), made.id))


# ---------------------------------------------------------------- what is asked of the queue


def in_states(states: Iterable[str]) -> Expr:
    return In(Path(("state",), kind="text"), tuple(Value(state, "text") for state in states))


def heads(connection: str | None = None, until: str = _FAR) -> Expr:
    """What may be tried until then: of each object the first that is open."""
    due = Compare("le", Path(("nextTryDateTime",), kind="instant"), Value(until, "instant"))
    return due if connection is None else And((equals(connection=connection), due))


def narrowed(*, state: str | None, connection: str | None) -> Expr | None:
    given = {name: value for name, value in (("state", state), ("connection", connection)) if value is not None}
    return equals(**given) if given else None


SOONEST = (Order(Path(("nextTryDateTime",), kind="instant")), Order(Path(("changeNumber",), kind="int")))
_FIRST = (Order(Path(("changeNumber",), kind="int")),)
_LAST = (Order(Path(("changeNumber",), kind="int"), descending=True),)


def _of_subject(tx: Tx, of: WriteBack, states: Iterable[str], order: tuple[Order, ...], limit: int) -> list[WriteBack]:
    wanted = And((equals(subjectId=of.subject_id, connection=of.connection), in_states(states)))
    return [read(row) for row in tx.find(WRITE_BACKS.name, wanted, limit=limit, order=order)]


def waiting_for(subject_id: str) -> Expr:
    """What is open of one object."""
    return And((equals(subjectId=subject_id), in_states(OPEN)))


def newer(tx: Tx, subject_id: str, told: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The words of a provider that are only what was written to it last, while a newer one of ours still waits: (what
    it says, the newest) by name."""
    wanted = And((equals(subjectId=subject_id), in_states((*OPEN, *ARRIVED))))
    found = [read(row) for row in tx.find(WRITE_BACKS.name, wanted, limit=_LOOK_BACK, order=_LAST)]
    made: dict[str, tuple[Any, Any]] = {}
    for word, value in told.items():
        ours = [(each.open, each.own.values[word]) for each in found if word in each.own.values]
        written = next((said for waits, said in ours if not waits), None)
        if ours and ours[0][0] and written is not None and _alike(written, value):
            made[word] = (value, ours[0][1])
    return made


# ---------------------------------------------------------------- its steps, each in a transaction


def enter(tx: Tx, made: WriteBack, now: str) -> bool:
    """Puts a change at the end of its object's line; False where it is there already."""
    if tx.get(WRITE_BACKS.name, made.id) is not None:
        return False
    made.own.since = now
    if made.open and not _of_subject(tx, made, OPEN, _FIRST, 1):
        made.next_try_date_time = now
    put(tx, made)
    if not made.open:
        _prune(tx, made)
    return True


def enter_each(tx: Tx, made: Iterable[WriteBack], now: str) -> None:
    for each in made:
        enter(tx, each, now)


def claim(tx: Tx, id: str, who: str, now: str, until: str) -> WriteBack | None:
    """Takes a change to try it: until then nobody else does. None where it is not its turn."""
    row = tx.get(WRITE_BACKS.name, id)
    found = None if row is None else read(row)
    if found is None or not found.open or found.next_try_date_time is None or found.next_try_date_time > now:
        return None
    found.own.claim = who
    found.next_try_date_time = until
    found.tries += 1
    put(tx, found)
    return found


def again(tx: Tx, tried: WriteBack, why: str, at: str, *, state: State = "waiting", counted: bool = True) -> None:
    """Later: what the system said (or did not) may pass."""
    known = _claimed(tx, tried)
    if known is not None:
        known.state, known.last_error, known.next_try_date_time = state, why[:_ERROR_CHARS], at
        known.tries -= not counted
        known.own.claim = ""
        put(tx, known)


def fail(tx: Tx, tried: WriteBack, why: str, now: str) -> None:
    """It will never arrive. What comes behind it goes on."""
    known = _claimed(tx, tried)
    if known is not None:
        known.last_error = why[:_ERROR_CHARS]
        _close(tx, known, "failed", now)


def arrive(tx: Tx, tried: WriteBack, said: Pushed, now: str) -> State | None:
    """It is there. It is a conflict where the system had a word that nobody knew here when the change was made, and
    that was not written by us. None where somebody else has it by now."""
    known = _claimed(tx, tried)
    if known is None:
        return None
    written: dict[str, Any] = {}
    for earlier in _of_subject(tx, known, ARRIVED, _LAST, _LOOK_BACK):
        written = {**earlier.own.values, **written}
    expected = [known.own.base, {**known.own.told, **written}, known.own.values]
    foreign = {
        word: value
        for word, value in (said.overwrote or {}).items()
        if not any(word in each and _alike(each[word], value) for each in expected)
    }
    if foreign:
        known.overwrote = msgspec.json.encode(foreign, enc_hook=str).decode()
        known.last_writer = said.last_writer
    known.left_out = list(dict.fromkeys([*known.left_out, *said.left_out]))
    known.last_error = None
    state: State = "conflict" if foreign else "done"
    _close(tx, known, state, now)
    return state


def _alike(one: Any, other: Any) -> bool:
    if one in _UNSAID and other in _UNSAID:
        return True
    if isinstance(one, list) and isinstance(other, list):
        return sorted(map(str, one)) == sorted(map(str, other))
    return bool(one == other) or (isinstance(one, str) and isinstance(other, str) and one.lower() == other.lower())


def _claimed(tx: Tx, tried: WriteBack) -> WriteBack | None:
    """As it is now; None where somebody else has taken, dropped or ended it meanwhile."""
    row = tx.get(WRITE_BACKS.name, tried.id)
    known = None if row is None else read(row)
    return known if known is not None and known.open and known.own.claim == tried.own.claim else None


def _close(tx: Tx, known: WriteBack, state: State, now: str) -> None:
    known.state, known.completed_date_time, known.next_try_date_time, known.own.claim = state, now, None, ""
    put(tx, known)
    _prune(tx, known)
    for behind in _of_subject(tx, known, OPEN, _FIRST, 1):
        if behind.next_try_date_time is None:
            behind.next_try_date_time = now
            put(tx, behind)


def _prune(tx: Tx, settled: WriteBack) -> None:
    """Removes the oldest of an object's that are too many; retention removes those that are too old."""
    kept = _of_subject(tx, settled, _SETTLED, _LAST, MOST_SETTLED + _PRUNE)
    for each in kept[MOST_SETTLED:]:
        tx.delete(WRITE_BACKS.name, each.id)


# ---------------------------------------------------------------- what an operator does


def repeat(tx: Tx, id: str, now: str) -> WriteBack:
    """Tries one at once that has failed or waits. What later changes of the object have said is not said again, since
    it would undo them; BadRequest where nothing is left of it."""
    known = _named(tx, id)
    if known.state not in (*OPEN, "failed"):
        raise BadRequest(f"write-back {id} is {known.state}; only one that waits, is denied or has failed is retried")
    if known.state == "failed":
        later = _of_subject(tx, known, (*OPEN, *ARRIVED), _LAST, _MAX_LATER)
        newer = {word for each in later if each.change_number > known.change_number for word in each.own.values}
        stale = [word for word in known.own.values if word in newer and word != "comments"]
        known.own.values = {word: value for word, value in known.own.values.items() if word not in stale}
        if not known.own.values:
            raise BadRequest(f"later changes have said all of write-back {id} anew: {', '.join(stale)}")
        known.content = msgspec.json.encode(known.own.values).decode()
        known.left_out = list(dict.fromkeys([*known.left_out, *stale]))
    first = next(iter(_of_subject(tx, known, OPEN, _FIRST, 1)), None)
    known.state, known.tries, known.completed_date_time = "waiting", 0, None
    known.own.since, known.own.claim = now, ""
    known.next_try_date_time = now if first is None or first.change_number >= known.change_number else None
    put(tx, known)
    if first is not None and first.change_number > known.change_number and first.next_try_date_time is not None:
        put(tx, replace(first, next_try_date_time=None, own=replace(first.own, claim="")))
    return known


def drop(tx: Tx, id: str, now: str) -> WriteBack:
    """It is not tried any more; what comes behind it goes on."""
    known = _named(tx, id)
    if known.state not in (*OPEN, "failed"):
        raise BadRequest(f"write-back {id} is {known.state}; only one that waits, is denied or has failed is dropped")
    _close(tx, known, "dropped", now)
    return known


def _named(tx: Tx, id: str) -> WriteBack:
    row = tx.get(WRITE_BACKS.name, id)
    if row is None:
        raise NotFound(f"there is no write-back '{id[:100]}'; see: bartizan writeback list")
    return read(row)


# ---------------------------------------------------------------- how it stands


class Standing(Struct, frozen=True):
    """Of one tenant."""

    waiting: int
    denied: int
    failed: int
    oldest_s: float  # age of the oldest change that is open; 0 where none is


async def standing(store: Store, tenant: str, now: str) -> Standing:
    here = store.tenant(tenant)
    waiting, denied, failed = [
        await here.count(WRITE_BACKS.name, in_states((state,))) for state in ("waiting", "denied", "failed")
    ]
    oldest = 0.0
    if waiting or denied:
        order = (Order(Path(("changedDateTime",), kind="instant")),)
        page = await here.page(WRITE_BACKS.name, Query(top=1, filter=in_states(OPEN), order=order, version="beta"))
        for row in page.rows:
            changed = to_datetime(msgspec.json.decode(row.wire("beta"))["changedDateTime"])
            oldest = max(0.0, (to_datetime(now) - changed).total_seconds())
    return Standing(waiting, denied, failed, oldest)


def metrics(queues: Mapping[str, Standing]) -> bytes:
    """In Prometheus' text form, by tenant."""
    made = CollectorRegistry()
    changes = Gauge("bartizan_write_backs", "Changes in the queue.", ("tenant", "state"), registry=made)
    oldest = Gauge(
        "bartizan_write_back_oldest_seconds", "Age of the oldest one that is open.", ("tenant",), registry=made
    )
    for tenant, found in queues.items():
        for state, count in (("waiting", found.waiting), ("denied", found.denied), ("failed", found.failed)):
            changes.labels(tenant, state).set(count)
        oldest.labels(tenant).set(found.oldest_s)
    return generate_latest(made)


def later(now: str, seconds: float) -> str:
    return instant(to_datetime(now) + timedelta(seconds=seconds))
