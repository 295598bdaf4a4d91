"""Properties that are not stored with their object but follow from other sets, and change with every event there: of a
user, when they last signed in. They are reckoned when $select or $filter names them, or a path does. A relationship
whose number $filter compares (`owners/$count eq 0`) is reckoned so too, and not shown.

What a filter says of them is checked on each object that the rest of the filter finds, some at a time: a page may be
shorter than asked for and lead on all the same.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec
from msgspec.structs import astuple, replace

from bartizan.api.wire.body import Select
from bartizan.api.wire.find import both, edges, fetched, rows_page
from bartizan.auth.caller import Access
from bartizan.errors import InvalidQuery
from bartizan.extend import Context, Resource
from bartizan.odata import compile_predicate
from bartizan.odata.tree import And, Expr, Path
from bartizan.store.interface import Page, Query, Stored

MAX_TRIED = 2_000  # objects that are reckoned for one page, where a filter leaves out most
MAX_COUNTED = 10_000  # objects that are reckoned to count what matches
_STEP = 100  # objects that are reckoned at once, at least

Body: TypeAlias = dict[str, Any]
Reckon: TypeAlias = Callable[[Context, Sequence[Body]], Awaitable[list[Any]]]  # objects -> their values, in order

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.encode


@dataclass(frozen=True)
class Derived:
    name: str  # of the property
    access: Access  # what reading it needs beside reading the object
    reckon: Reckon
    counted: bool = False  # a relationship, of which only the number is asked


_BY_SET: dict[str, Derived] = {}  # collection -> its derived property


def derive(of: Resource, name: str, access: Access, *, counted: bool = False) -> Callable[[Reckon], Reckon]:
    """Declares how a property of a set is reckoned. The code is given what is stored, the property included."""

    def declare(code: Reckon) -> Reckon:
        assert of.collection.name not in _BY_SET, "a set has one derived property"
        _BY_SET[of.collection.name] = Derived(name, access, code, counted)
        return code

    return declare


def counted(of: Resource) -> frozenset[str]:
    """Relationships of a set whose number a filter may compare."""
    derived = _BY_SET.get(of.collection.name)
    return frozenset({derived.name}) if derived is not None and derived.counted else frozenset()


def count_in_filters(of: Resource, name: str) -> None:
    """Lets $filter compare how many objects a relation leads to: Graph has `owners/$count` so."""
    navigation = of.navigations[name.lower()]

    @derive(of, navigation.name, navigation.access, counted=True)
    async def related(ctx: Context, bodies: Sequence[Body]) -> list[Any]:
        found: list[list[str]] = []
        for body in bodies:
            ids = [id for _, id in await edges(ctx, str(body["id"]), navigation)]
            found.append([row.id for row in await fetched(ctx, navigation, ids)])
        return found


async def shown(ctx: Context, rows: Sequence[Stored], names: Iterable[str] | None) -> list[Stored]:
    """The rows, with the derived property in those that have one where `names` has it (None: nobody asked for it)."""
    result = list(rows)
    wanted = frozenset(names or ())
    for collection in {row.collection for row in result} & _BY_SET.keys():
        derived = _BY_SET[collection]
        if derived.name in wanted and not derived.counted:
            places = [at for at, row in enumerate(result) if row.collection == collection]
            told = await _told(ctx, derived, [result[at] for at in places])
            for at, row in zip(places, told, strict=True):
                result[at] = row
    return result


async def _told(ctx: Context, derived: Derived, rows: Sequence[Stored]) -> list[Stored]:
    ctx.caller.require(derived.access)
    bodies = [_decode(row.wire(ctx.version)) for row in rows]
    values = await derived.reckon(ctx, bodies)
    return [
        replace(row, doc=_encode({**body, derived.name: value}), beta=None)
        for row, body, value in zip(rows, bodies, values, strict=True)
    ]


async def page(ctx: Context, resource: Resource, query: Query, select: Select | None) -> Page:
    """What a list reads, with the derived property where it is asked for."""
    derived = _BY_SET.get(resource.collection.name)
    if derived is None:
        return await rows_page(ctx, resource, query)
    if any(derived.name == key.path.names[0] for key in query.order):
        raise InvalidQuery(f"{resource.path} cannot be sorted by {derived.name}: it is reckoned when it is asked for.")
    stored, reckoned = _parted(query.filter, derived.name)
    if reckoned is None:
        found = await rows_page(ctx, resource, query)
        return replace(found, rows=await shown(ctx, found.rows, select))
    sieve = _Sieve(ctx, resource, derived, replace(query, filter=stored, skip=0, count=False), reckoned)
    found = await sieve.page(query.skip, query.top) if query.top else Page([], False)
    return replace(found, count=await sieve.count() if query.count else None)


async def count(ctx: Context, resource: Resource, query: Query) -> int | None:
    """How many match a filter that names the derived property; None where it does not."""
    derived = _BY_SET.get(resource.collection.name)
    stored, reckoned = (None, None) if derived is None else _parted(query.filter, derived.name)
    if derived is None or reckoned is None:
        return None
    return await _Sieve(ctx, resource, derived, replace(query, filter=stored, count=False), reckoned).count()


class _Sieve:
    """The objects of a query whose derived property is as a filter wants it."""

    def __init__(self, ctx: Context, resource: Resource, derived: Derived, query: Query, wanted: Expr) -> None:
        self._ctx, self._resource, self._derived, self._query = ctx, resource, derived, query
        self._matches = compile_predicate(wanted)

    async def page(self, skip: int, top: int) -> Page:
        rows: list[Stored] = []
        query, tried, passed = self._query, 0, 0
        while True:
            step = max(_STEP, top - len(rows))
            read = await rows_page(self._ctx, self._resource, replace(query, top=step))
            told = await _told(self._ctx, self._derived, read.rows)
            for at, (row, whole) in enumerate(zip(read.rows, told, strict=True), 1):
                if not self._matches(_decode(whole.doc)):
                    continue
                if passed < skip:
                    passed += 1
                    continue
                rows.append(row if self._derived.counted else whole)
                if len(rows) == top:
                    last = await self._place(query, at)
                    return Page(rows, read.more or at < len(read.rows), last)
            tried += len(read.rows)
            if not read.more or tried >= MAX_TRIED:
                return Page(rows, read.more, read.last)
            query = replace(query, after=read.last)

    async def _place(self, query: Query, at: int) -> tuple[Any, ...] | None:
        """Where the `at`th row of a query stands."""
        return (await rows_page(self._ctx, self._resource, replace(query, top=at))).last

    async def count(self) -> int:
        query, tried, found = replace(self._query, after=None, order=()), 0, 0
        while True:
            read = await rows_page(self._ctx, self._resource, replace(query, top=_STEP * 5))
            told = await _told(self._ctx, self._derived, read.rows)
            found += sum(1 for row in told if self._matches(_decode(row.doc)))
            tried += len(read.rows)
            if not read.more:
                return found
            if tried >= MAX_COUNTED:
                raise InvalidQuery(
                    f"{self._derived.name} is reckoned object by object, and more than {MAX_COUNTED} are not counted: "
                    "leave out $count."
                )
            query = replace(query, after=read.last)


def _parted(filter: Expr | None, name: str) -> tuple[Expr | None, Expr | None]:
    """What of a filter the store answers, and what names the property; both hold together."""
    if filter is None:
        return None, None
    terms = list(_terms(filter))
    return (
        both(*(each for each in terms if not mentions(each, name))),
        both(*(each for each in terms if mentions(each, name))),
    )


def _terms(expr: Expr) -> Iterator[Expr]:
    if isinstance(expr, And):
        for each in expr.operands:
            yield from _terms(each)
    else:
        yield expr


def mentions(node: object, *names: str) -> bool:
    """Whether a bound tree reads one of these properties of the object itself."""
    if isinstance(node, Path):
        return node.variable is None and bool(node.names) and node.names[0] in names
    if isinstance(node, tuple):
        return any(mentions(each, *names) for each in node)
    return isinstance(node, msgspec.Struct) and mentions(astuple(node), *names)
