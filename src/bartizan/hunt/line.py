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


class Ask(Struct, frozen=True, kw_only=True):
    """One hunt. `files` is what the tables hold now, a `lake.storage.Storage`."""

    query: str
    files: msgspec.Raw
    now: datetime
    bounds: Bounds
    since: datetime | None = None
    until: datetime | None = None
    form: Form = "graph"


class Said(Struct, frozen=True):
    """How a hunt went; where `fault` is empty the answer's body follows as a frame of its own."""

    fault: str = ""
    phase: Phase = "run"
    line: int = 0
    column: int = 0
