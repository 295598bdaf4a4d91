"""Objects of several sets side by side, in the order of properties that they may or may not have.

Source: OData 4.01 Part 1, section 11.2.6.2 ($orderby); Microsoft Graph, advanced queries on directory objects.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from bartizan import odata
from bartizan.api.wire.find import fetched
from bartizan.api.wire.rank import Ranking, Value, reader
from bartizan.errors import InvalidQuery
from bartizan.extend import Context, Navigation
from bartizan.odata.tree import Order
from bartizan.store.interface import Collection

_AT_ONCE = 1_000  # objects that are read for their values

_Read = Callable[[dict[str, Any]], Value]

_decode = msgspec.json.Decoder(dict[str, Any]).decode


async def ranked(ctx: Context, navigation: Navigation, text: str, ids: Sequence[str]) -> Ranking:
    """The targets of a navigation by $orderby. A property that a type does not have is null in its objects;
    InvalidQuery where none of the types has it."""
    keys = odata.parse_orderby(text)
    reads = [_of_each(ctx, navigation, key) for key in keys]
    values: dict[str, list[Value]] = {}
    for at in range(0, len(ids), _AT_ONCE):
        for row in await fetched(ctx, navigation, list(ids[at : at + _AT_ONCE])):
            item = _decode(row.wire(ctx.version))
            values[row.id] = [each[row.collection](item) for each in reads]
    return Ranking(keys, values)


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
        found[to.name] = reader(bound.path)
    if not kinds and problem is not None:
        raise problem
    if len(kinds) > 1:
        raise InvalidQuery(f"Invalid $orderby: what {navigation.name} leads to has values of different kinds there.")
    return found


def _folded(collection: Collection) -> frozenset[str]:
    return frozenset(column.path for column in collection.columns if column.fold)
