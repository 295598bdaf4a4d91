"""What is said over the socket between whoever hunts (`hunters`) and the process that does it (`child`), as JSON."""

from datetime import datetime
from typing import Literal

import msgspec
from msgspec import Struct

from bartizan.hunt.fault import Phase

Form = Literal["graph", "rows"]


class Bounds(Struct, frozen=True):
    """Of one query."""

    seconds: float = 90.0
    rows: int = 100_000
    bytes: int = 50 * 2**20  # of the rows as JSON


class Open(Struct, frozen=True):
    """What a process may do, for all its life."""

    folder: str  # of the tenant's files
    tables: dict[str, dict[str, str]]  # of events, and their columns
    memory_mb: int
    threads: int


class Known(Struct, frozen=True, kw_only=True):
    """What a tenant's queries may name beside its tables. Content is asked for (`Want`) by whoever needs it."""

    functions: dict[str, str] = {}  # as `Catalogue.functions`
    views: dict[str, str] = {}
    watchlists: tuple[str, ...] = ()  # their aliases
    places: tuple[str, ...] = ()  # ids of imported tables that say where addresses are, the first in rank first
    external: bool = False  # whether addresses may be asked of at all


class Want(Struct, frozen=True):
    """What a hunt asks back of whoever asked for it: the content of a watchlist (its alias), a table of places (its
    id), or what stands at an address."""

    kind: Literal["watchlist", "places", "external"]
    name: str


class Lent(Struct, frozen=True):
    """The answer to a `Want`; where `fault` is empty the content follows as a frame of its own."""

    fault: str = ""


class Ask(Struct, frozen=True, kw_only=True):
    """One hunt. `files` is what the tables hold now, a `lake.storage.Storage`."""

    query: str
    files: msgspec.Raw
    now: datetime
    bounds: Bounds
    since: datetime | None = None
    until: datetime | None = None
    form: Form = "graph"
    known: Known = Known()


class Said(Struct, frozen=True):
    """How a hunt went; where `fault` is empty the answer's body follows as a frame of its own. With a `want` it goes on
    once that is answered."""

    fault: str = ""
    phase: Phase = "run"
    line: int = 0
    column: int = 0
    want: Want | None = None
