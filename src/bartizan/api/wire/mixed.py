"""Objects of several sets side by side, in the order of properties that they may or may not have.

Source: OData 4.01 Part 1, section 11.2.6.2 ($orderby); Microsoft Graph, advanced queries on directory objects.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from bartizan import odata
from bartizan.api.wire.find import fetched
from bartizan.errors import InvalidQuery
from bartizan.extend import Context, Navigation
from bartizan.odata import Position
from bartizan.odata.tree import Order, Path
from bartizan.store.interface import Collection

_AT_ONCE = 1_000  # objects that are read for their values

_Value = tuple[bool, Any]  # whether there is one, and which
_Read = Callable[[dict[str, Any]], _Value]

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Ranked:
    """Ids of the targets of a navigation, sorted by $orderby and then by id. A property that a type does not have is
    null in its objects; InvalidQuery where none of the types has it."""

    def __init__(self, ctx: Context, navigation: Navigation, text: str) -> None:
        self._ctx, self._navigation = ctx, navigation
        self._keys = odata.parse_orderby(text)
        self._reads = [_of_each(ctx, navigation, key) for key in self._keys]
        self.ids: list[str] = []
        self._values: dict[str, list[_Value]] = {}

    async def rank(self, ids: Sequence[str]) -> None:
        for at in range(0, len(ids), _AT_ONCE):
            for row in await fetched(self._ctx, self._navigation, list(ids[at : at + _AT_ONCE])):
                item = _decode(row.wire(self._ctx.version))
                self._values[row.id] = [reads[row.collection](item) for reads in self._reads]
        self.ids = sorted(self._values)
        for number in reversed(range(len(self._keys))):  # by the last key first: sorting keeps what is equal in order
            self.ids.sort(key=lambda id: self._values[id][number], reverse=self._keys[number].descending)

    def place(self, id: str) -> Position:
        return (*(value if there else None for there, value in self._values[id]), id)

    def behind(self, place: Position) -> int:
        """Where the ids behind a place begin."""
        *said, last = place
        values = [(value is not None, 0 if value is None else value) for value in said]
        return next((at for at, id in enumerate(self.ids) if self._is_behind(id, values, str(last))), len(self.ids))

    def _is_behind(self, id: str, values: list[_Value], last: str) -> bool:
        for key, mine, theirs in zip(self._keys, self._values[id], values, strict=True):
            if mine != theirs:
                return (mine > theirs) is not key.descending
        return id > last


def _of_each(ctx: Context, navigation: Navigation, key: Order) -> dict[str, _Read]:
    """How one key is read in objects of each set."""
    found: dict[str, _Read] = {}
    kinds: set[str | None] = set()
    problem: InvalidQuery | None = None
    for to in navigation.to:
        try:
            (bound,) = odata.bind_order((key,), ctx.edm, to.type or "", fold=_folded(to))
        except InvalidQuery as error:
            problem = problem or error
            found[to.name] = lambda item: (False, 0)
            continue
        kinds.add(bound.path.kind)
        found[to.name] = _reader(bound.path)
    if not kinds and problem is not None:
        raise problem
    if len(kinds) > 1:
        raise InvalidQuery(f"Invalid $orderby: what {navigation.name} leads to has values of different kinds there.")
    return found


def _reader(path: Path) -> _Read:
    read = odata.sort_key((Order(path),))
    return lambda item: read(item)[0]  # a key of one part


def _folded(collection: Collection) -> frozenset[str]:
    return frozenset(column.path for column in collection.columns if column.fold)
