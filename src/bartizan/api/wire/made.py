"""Sets whose objects nobody stores: they are made when they are asked for, one by one."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from hashlib import sha256
from typing import Any, TypeAlias, TypeVar

import msgspec

from bartizan.api.wire.rank import Ranking, Value, reader
from bartizan.errors import InvalidQuery
from bartizan.extend import Context
from bartizan.odata import compile_predicate
from bartizan.odata.tree import And, Call, Compare, Expr, In, Literal, Path
from bartizan.odata.tree import Any as AnyOf
from bartizan.store.interface import Page, Query, Stored

MAX_TRIED = 40  # objects that are made for one page, where a filter leaves out most

T = TypeVar("T")
Names: TypeAlias = Callable[[str], AsyncIterator[tuple[str, T]]]  # behind a place: further places, what stands there
Build: TypeAlias = Callable[[T], Awaitable[Stored | None]]


def made(ctx: Context, type: str, collection: str, id: str, inner: Mapping[str, Any]) -> Stored:
    """An object that is made when it is asked for, as the store would hold it. Its ETag follows from what it says."""
    body = ctx.edm.render(type, {**inner, "id": id})
    told = msgspec.json.encode(body)
    seq = int.from_bytes(sha256(told).digest()[:8])
    doc = msgspec.json.encode({"@odata.etag": f'W/"{seq:016x}"', "id": id, **body})
    return Stored(collection, id, seq, "", "", doc, None, b"", ctx.edm.evolvable(type, inner))


async def no_list(ctx: Context, parent: Stored, query: Query) -> Page:
    """Of a path to one object."""
    return Page([], False)


def paged(query: Query, rows: Iterable[Stored]) -> Page:
    """A page of a set that is small enough to be made whole: sorted, and by id, the filter checked on each."""
    matches = None if query.filter is None else compile_predicate(query.filter)
    reads = [reader(key.path) for key in query.order]
    found: dict[str, Stored] = {}
    values: dict[str, list[Value]] = {}
    for row in rows:
        item = msgspec.json.decode(row.doc) if matches is not None or reads else {}
        if matches is None or matches(item):
            found[row.id] = row
            values[row.id] = [read(item) for read in reads]
    ranking = Ranking(query.order, values)
    behind = ranking.ids[ranking.behind(query.after) + query.skip :]
    part = behind[: query.top]
    last = ranking.place(part[-1]) if part else None
    return Page([found[id] for id in part], len(behind) > len(part), last, len(found) if query.count else None)


def narrowed(filter: Expr | None, paths: Iterable[str]) -> tuple[list[str] | None, str]:
    """What a filter says of one of these properties: the only values (None: any), and how the value begins."""
    wanted, beginning = set(paths), ""
    for part in filter.operands if isinstance(filter, And) else (filter,):
        match part:
            case Compare("eq", Path() as path, Literal(str() as value)) if "/".join(path.names) in wanted:
                return [value.lower()], ""
            case In(Path() as path, values) if "/".join(path.names) in wanted:
                return [str(each.value).lower() for each in values], ""
            case AnyOf(path, _, Compare("eq", inside, Literal(str() as value))) if (
                isinstance(inside, Path) and "/".join((*path.names, *inside.names)) in wanted
            ):
                return [value.lower()], ""
            case Call("startswith", (Path() as path, Literal(str() as value))) if "/".join(path.names) in wanted:
                beginning = value.lower()
    return None, beginning


async def listed(query: Query, what: str, names: Names[T], build: Build[T]) -> Page:
    """A page of objects that are made one by one, the filter checked on each. A page may be shorter than asked for and
    lead on all the same. InvalidQuery where there are too many to be counted."""
    if query.skip or query.order:
        raise InvalidQuery(f"{what} come in order of their names, page by page: follow @odata.nextLink instead.")
    matches = None if query.filter is None else compile_predicate(query.filter)

    async def page(after: str, top: int) -> Page:
        rows: list[Stored] = []
        last, tried = "", 0
        async for value, node in names(after):
            if len(rows) >= top or tried >= MAX_TRIED:
                return Page(rows, True, (last,))
            row = await build(node)
            last, tried = value, tried + 1
            if row is not None and (matches is None or matches(msgspec.json.decode(row.doc))):
                rows.append(row)
        return Page(rows, False, (last,) if last else None)

    count: int | None = None
    if query.count:
        whole = await page("", MAX_TRIED)
        if whole.more:
            raise InvalidQuery(
                f"{what} are made as they are asked for, and more than {MAX_TRIED} are not counted: leave out $count."
            )
        count = len(whole.rows)
    if query.top == 0:  # only the count is asked for
        return Page([], False, None, count)
    found = await page(str(query.after[0]) if query.after else "", query.top)
    return Page(found.rows, found.more, found.last, count)
