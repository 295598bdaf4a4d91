"""What the engine remembers of a tenant, in the store: one small row for each principal, address, network, carrier,
user agent and cluster (carrier and family of programs), read when an event names it and written in the transaction of
the event.

Where several share a tenant by principal, a principal's row is of the one who scores it, under the same id whoever
that is; of all else each has rows of its own.

A tenant is never loaded as a whole: what has not been asked for lately leaves memory, and what nobody touches for
`KEEP` leaves the store with its retention. Rows are documents, so that erase, export and restore of a tenant hold for
them too.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import Struct

from bartizan.identity.engine import State, applications_of
from bartizan.identity.events import WRONG, Audit, SignIn, cluster_of, program_of
from bartizan.identity.levels import Day, Levels
from bartizan.identity.state import Address, Application, Browser, Burst, Cluster, Principal
from bartizan.identity.verdicts import Learned
from bartizan.identity.view import Account
from bartizan.identity.waiting import Step
from bartizan.intel import Intel
from bartizan.store.interface import Collection, Draft, Query, Stored, TenantStore

KEEP = timedelta(days=200)  # the engine forgets after 90 days; risk of a user ages for 180
FORMAT = "1"  # of the rows; begins their ids
MEMORY = Collection(name="identityMemory", order=(("id", False),), feed=False, keep=KEEP)
MOST_ROWS = 60_000  # of one kind and tenant in memory; beyond it all that is clean leaves
READ_ROWS = 500
MAX_NAME = 120  # characters of a name that stands in an id as it is

Key = tuple[str, str]  # kind, name


class Kind(Struct, frozen=True):
    """One kind of row: where the state has it, and which of them an event reads and changes."""

    member: str
    decode: Callable[[bytes], Any]
    encode: Callable[[Any], bytes]
    key: Callable[[str], Any] = str


_encode = msgspec.json.Encoder().encode


def _kind(member: str, type: Any, key: Callable[[str], Any] = str) -> Kind:
    return Kind(member, msgspec.json.Decoder(tuple[str, type]).decode, _encode, key=key)


# An account is the directory's word, the same for both states: it has one row.
KINDS: Mapping[str, Kind] = {
    "p": _kind("principals", Principal),
    "a": _kind("addresses", Address),
    "x": _kind("prefixes", Address),
    "b": _kind("bursts", Burst),
    "k": _kind("clusters", Cluster),
    "n": _kind("asns", dict[str, float], int),
    "w": _kind("browsers", Browser),
    "i": _kind("issuers", dict[str, float]),
    "o": _kind("applications", Application),
    "u": _kind("accounts", Account),
    "s": _kind("begun", dict[str, str]),
}
ELSEWHERE = "q"  # kind of a principal's row that is read for its sessions alone: somebody else writes it


class Whole(Struct):
    """What is of the tenant as a whole; the levels of each of these `days` have a row of their own."""

    countries: dict[str, float] = {}
    country_sum: float = 0.0
    hot: dict[str, float] = {}
    steps: int = 0
    days: list[int] = []
    learned: Learned | None = None
    tells: bool = False


decode_whole = msgspec.json.Decoder(Whole).decode
decode_day = msgspec.json.Decoder(Day).decode


def touched(event: Step) -> Iterator[tuple[Key, bool]]:
    """What an event reads, and whether it changes it."""
    if isinstance(event, SignIn):
        yield ("p", event.principal), True
        if event.address:
            yield ("a", event.address), True
        if event.prefix:
            yield ("x", event.prefix), True
        yield ("u", event.principal), False
        program = program_of(event)
        if program:
            yield ("b", program), event.code in WRONG
        if event.agent:
            yield ("w", event.agent), event.success and event.interactive
        if cluster := cluster_of(event):
            yield ("k", cluster), event.code in WRONG
        if event.issuer:
            yield ("i", event.issuer), event.success
        if event.workload:
            yield ("o", event.principal), False
            yield ("o", event.name.casefold()), False
        if event.asn:
            yield ("n", str(event.asn)), event.success
    elif isinstance(event, Audit):
        for name in applications_of(event):
            yield ("o", name), True
    if not isinstance(event, SignIn) and event.principal:
        yield ("p", event.principal), True
        yield ("u", event.principal), False


class Memory:
    """Of one tenant and one of its two states: `live` or `settled`."""

    def __init__(self, which: str, intel: Intel, *, learns: bool = True, shard: int = 0, shards: int = 1) -> None:
        self.which = which
        self.shard = shard
        self.accounts: dict[str, Account] = {}
        self.state = State(intel, self.accounts, shard, shards)
        if not learns:
            self.state.learned = None
        self.levels = Levels()
        self._loaded: set[Key] = set()
        self._dirty: set[Key] = set()

    # ------------------------------------------------------------ names of rows

    def _id(self, key: Key) -> str:
        return row_id(self.which, key, self.shard)

    @property
    def whole_id(self) -> str:
        return row_id(self.which, ("t", ""), self.shard)

    def day_id(self, day: int) -> str:
        return row_id(self.which, ("l", str(day)), self.shard)

    # ------------------------------------------------------------ in

    def wanted(self, events: Iterable[Step]) -> dict[str, Key]:
        """Ids of rows that these events need and that are not here."""
        return self._missing(key for event in events for key, _ in self._touched(event))

    def strangers(self, events: Iterable[Step]) -> dict[str, Key]:
        """The same, of principals to whose sign-ins these events may point back: their addresses are here now."""
        addresses = [self.state.addresses.get(event.address) for event in events if isinstance(event, SignIn)]
        strangers = (who for each in addresses if each is not None for _, who, _ in each.strangers)
        return self._missing(("p", who) for who in strangers if self.state.mine(who))

    def _touched(self, event: Step) -> Iterator[tuple[Key, bool]]:
        return touched(event) if self.state.mine(event.principal) else self._seen(event)

    def _seen(self, event: Step) -> Iterator[tuple[Key, bool]]:
        """Of somebody else's event."""
        for key, changes in touched(event):
            if key[0] != "p":
                yield key, changes
            elif isinstance(event, SignIn) and event.session:  # what began where is asked of others' sessions, too
                known = self.state.begun.get(event.principal, {})
                yield ("s", event.principal), event.success and event.keys[3] not in known
                yield (ELSEWHERE, event.principal), False

    def _missing(self, keys: Iterable[Key]) -> dict[str, Key]:
        return {self._id(key): key for key in keys if key not in self._loaded}

    def take(self, wanted: Mapping[str, Key], rows: Mapping[str, bytes]) -> None:
        for id, key in wanted.items():
            self._loaded.add(key)
            raw = rows.get(id)
            if raw is None:
                continue
            kind = KINDS["p" if key[0] == ELSEWHERE else key[0]]
            name, value = kind.decode(raw)
            if key[0] == "s":
                for session, began in value.items():
                    self.state.sessions.setdefault(session, began)
            if isinstance(value, Principal):  # where its sessions began is the tenant's knowledge
                for session, its in value.sessions.items():
                    self.state.sessions.setdefault(session, its.prefixes[0])
            if key[0] == ELSEWHERE:
                continue
            of = self.accounts if key[0] == "u" else getattr(self.state, kind.member)
            of[kind.key(name)] = value

    def begin(self, whole: Whole) -> None:
        """From here on the whole is this memory's, to change."""
        state = self.state
        state.countries, state.country_sum, state.hot = whole.countries, whole.country_sum, whole.hot
        state.steps, state.tells = whole.steps, whole.tells
        if state.learned is not None and whole.learned is not None:
            state.learned = whole.learned

    async def open(self, store: TenantStore) -> None:
        row = await store.get(MEMORY.name, self.whole_id)
        if row is not None:
            whole = decode_whole(row.doc)
            self.begin(whole)
            await self.remember(store, whole.days)

    async def remember(self, store: TenantStore, days: Iterable[int]) -> None:
        """The levels of these days."""
        ids = {self.day_id(day): day for day in days}
        for id, row in (await kept_rows(store, list(ids))).items():
            self.levels.take(ids[id], decode_day(row.doc))

    # ------------------------------------------------------------ out

    def changed(self, event: Step) -> None:
        """Before its step."""
        self._dirty.update(key for key, changes in self._touched(event) if changes)
        if isinstance(event, SignIn):
            self._dirty.update(self.state.cleared(event))

    def raised(self, principal: str) -> None:
        """A sign-in of his by another's event."""
        self._dirty.add(("p", principal))

    def whole(self) -> Whole:
        state, kept = self.state, self.levels.days()
        return Whole(state.countries, state.country_sum, state.hot, state.steps, kept, state.learned, state.tells)

    def drafts(self) -> list[Draft]:
        """All rows that have changed since the last call, and the whole."""
        made = []
        for key in self._dirty:
            kind = KINDS[key[0]]
            value = getattr(self.state, kind.member).get(kind.key(key[1]))
            if value is not None:
                made.append(row_of(self._id(key), (key[1], value)))
        days = self.levels.changed()
        made += [row_of(self.day_id(day), of) for day, of in days.items()]
        if self._dirty or days:
            made.append(row_of(self.whole_id, self.whole()))
        self._dirty.clear()
        return made

    def trim(self) -> None:
        """After a write, when all is clean."""
        state = self.state
        if len(self._loaded) <= MOST_ROWS:
            return
        for kind in KINDS.values():
            (self.accounts if kind.member == "accounts" else getattr(state, kind.member)).clear()
        self._loaded.clear()


def account_row(principal: str, account: Account, shard: int = 0) -> Draft:
    return row_of(row_id("-", ("u", principal), shard), (principal, account))


def row_id(which: str, key: Key, shard: int = 0) -> str:
    kind, name = key
    short = name if len(name) <= MAX_NAME and name.isprintable() else "#" + sha256(name.encode()).hexdigest()
    if kind in ("p", ELSEWHERE):
        return f"{FORMAT}/{which}/p/{short}"
    return f"{FORMAT}/{'-' if kind == 'u' else which}{shard or ''}/{kind}/{short}"


def row_of(id: str, doc: Any) -> Draft:
    return Draft(collection=MEMORY.name, id=id, doc=_encode(doc))


async def read_rows(store: TenantStore, asked: Iterable[tuple[Memory, Mapping[str, Key]]]) -> None:
    """Rows of several memories at once."""
    parts = list(asked)
    ids = list(dict.fromkeys(id for _, wanted in parts for id in wanted))
    rows = {id: row.doc for id, row in (await kept_rows(store, ids)).items()}
    for memory, wanted in parts:
        memory.take(wanted, rows)


async def kept_rows(store: TenantStore, ids: Sequence[str]) -> dict[str, Stored]:
    rows: dict[str, Stored] = {}
    for begin in range(0, len(ids), READ_ROWS):
        some = tuple(ids[begin : begin + READ_ROWS])
        page = await store.page(MEMORY.name, Query(top=len(some), ids=some))
        rows.update((row.id, row) for row in page.rows)
    return rows
