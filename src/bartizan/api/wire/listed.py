"""The query options of a list that is in memory as a whole: what a function answers, what a property holds.

Source: OData 4.01 Part 1 (Protocol), sections 11.2.4.1, 11.2.5 and 11.5.4.1: system query options apply to collections
of complex values and to what a function returns.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from bartizan import odata
from bartizan.api.wire import query as queries
from bartizan.api.wire.body import Listed, Select
from bartizan.api.wire.request import Request
from bartizan.extend import Context
from bartizan.odata import QueryOptions

_OF_OBJECTS = ("filter", "orderby", "select")
_KEPT = (*_OF_OBJECTS, "search")  # of a link


def listed(ctx: Context, request: Request, type: str, items: Sequence[Any]) -> Listed:
    """InvalidQuery, or BadRequest for an option that has no meaning here."""
    options = queries.read(request.query) if request.query else QueryOptions()
    if options == QueryOptions():
        return Listed(items)
    plain = type.startswith("Edm.") or ctx.edm.enum(type) is not None
    queries.only(options, "top", "skip", "count", *(() if plain else _OF_OBJECTS))
    found = list(items)
    if options.filter:
        wanted = odata.compile_predicate(odata.bind(odata.parse_filter(options.filter), ctx.edm, type))
        found = [each for each in found if wanted(each)]
    if options.orderby:
        order = odata.bind_order(odata.parse_orderby(options.orderby), ctx.edm, type)
        found.sort(key=odata.sort_key(order))
    return sliced(request, options, found, queries.select_of(ctx, type, options.select))


def sliced(request: Request, options: QueryOptions, found: Sequence[Any], select: Select | None = None) -> Listed:
    """What $top and $skip leave, with the number of all and the link to the rest."""
    start = options.skip or 0
    end = len(found) if options.top is None else start + options.top
    link = _link(request, options, end) if start < end < len(found) else None
    return Listed(found[start:end], select, len(found) if options.count else None, link)


def _link(request: Request, options: QueryOptions, end: int) -> str:
    kept = [f"${name}={quote(getattr(options, name))}" for name in _KEPT if getattr(options, name)]
    counted = ["$count=true"] if options.count else []
    query = "&".join([*kept, *counted, f"$top={options.top}", f"$skip={end}"])
    return f"{request.base}{queries.link_path(request.path)}?{query}"
