"""Objects of several sets side by side: those that match, and in the order of properties that they may or may not have.

Source: OData 4.01 Part 1, section 11.2.6.2 ($orderby); Microsoft Graph, advanced queries on directory objects.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from bartizan import odata
from bartizan.api.wire import query as queries
from bartizan.api.wire.find import fetched
from bartizan.api.wire.rank import Ranking, Value, reader
from bartizan.errors import InvalidQuery
from bartizan.extend import Context, Navigation
from bartizan.odata.tree import Expr, Order
from bartizan.store.interface import Collection

_AT_ONCE = 1_000  # objects that are read for their values
_MATCHED = 1_000  # related objects that one query of the store filters

_Read = Callable[[dict[str, Any]], Value]

_decode = msgspec.json.Decoder(dict[str, Any]).decode


async def matching(ctx: Context, wanted: Mapping[str, Expr] | None, ids: Sequence[str]) -> list[str]:
    """Those of the related objects that the condition of their set lets through, ordered; None lets all through."""
    if wanted is None:
        return sorted(ids)
    found: list[str] = []
    for name, filter in wanted.items():
        query = replace(queries.FIRST, top=_MATCHED, filter=filter, version=ctx.version)
        for at in range(0, len(ids), _MATCHED):
            page = await ctx.store.page(name, replace(query, ids=tuple(ids[at : at + _MATCHED])))
            found += [row.id for row in page.rows]
    return sorted(found)


async def ranked(ctx: Context, navigation: Navigation, keys: Sequence[Order], ids: Sequence[str]) -> Ranking:
    """The targets of a navigation by the keys of an $orderby. A property that a type does not have is null in its
    objects; InvalidQuery where none of the types has it."""
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
