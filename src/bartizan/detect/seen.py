"""Which rows a rule has found: what it has raised once it does not raise again, while a run can still see the row.

A row is known by all of its values. It is forgotten when it has not been in a result for as long as a run looks back.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any

import msgspec

from bartizan.store.interface import Tx

KEY_BYTES = 12  # of a hash: among 100,000 rows the chance that two are taken for one is 1e-19
MAX_SEEN = 100_000  # rows of one rule; 1.6 MB
_canonical = msgspec.json.Encoder(order="deterministic").encode


def row_key(row: Mapping[str, Any]) -> bytes:
    """The same for the same values, in whatever order the columns come."""
    return sha256(_canonical(row)).digest()[:KEY_BYTES]


class Seen:
    """Keys of rows -> when a run has last seen them, in whole seconds."""

    def __init__(self, kept: bytes | None = None) -> None:
        self.rows: dict[bytes, int] = {} if kept is None else msgspec.msgpack.decode(kept, type=dict[bytes, int])

    def fresh(self, keys: Iterable[bytes]) -> list[bytes]:
        return [key for key in dict.fromkeys(keys) if key not in self.rows]

    def see(self, keys: Sequence[bytes], now: datetime, since: datetime) -> None:
        """ValueError where more rows are known than are kept: then it could raise them twice."""
        at, floor = int(now.timestamp()), int(since.timestamp())
        self.rows = {key: last for key, last in self.rows.items() if last >= floor}
        self.rows.update(dict.fromkeys(keys, at))
        if len(self.rows) > MAX_SEEN:
            raise ValueError(f"the rule has found more than {MAX_SEEN} rows")

    def dump(self) -> bytes:
        return msgspec.msgpack.encode(self.rows)


def place(rule: str) -> str:
    return f"rules/seen/{rule}"


def known(tx: Tx, rule: str) -> Seen:
    return Seen(tx.value(place(rule)))


def forget(tx: Tx, rule: str) -> None:
    tx.set_value(place(rule), None)
