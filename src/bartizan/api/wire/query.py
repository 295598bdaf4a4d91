"""Query options checked against a declaration and bound to the schema: what the handlers ask the store for.

Reading, binding and checking is done once for each set and query text; nearly all requests repeat one.
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from msgspec.structs import replace

from bartizan import odata
from bartizan.api.wire import derived
from bartizan.api.wire.body import Select
from bartizan.api.wire.request import Request
from bartizan.api.wire.route import Target
from bartizan.errors import BadRequest, InvalidQuery, UnsupportedQuery
from bartizan.extend import RESOURCES, Context, Navigation, Resource
from bartizan.model.edm import Edm, StructuredType, Version, edm
from bartizan.odata import Position, QueryOptions
from bartizan.odata.tree import All, And, Call, Compare, Expr, In, Literal, Not, Or, Order, Path
from bartizan.odata.tree import Any as AnyOf
from bartizan.store.interface import Query

CACHED = 512  # query texts of at most 16 KB each
MAX_LEVELS = 1_000  # of $levels, as in Graph
MAX_EACH = 1_000  # objects that $expand writes into one parent
FIRST = Query(top=1)
_LIVE = "live."  # what the token of a list with live alerts begins with


@dataclass(frozen=True, slots=True)
class Expanded:
    """One entry of $expand, bound."""

    navigation: Navigation
    select: Select | None
    filter: Expr | None
    order: tuple[Order, ...]
    top: int
    options: Mapping[str, str] = field(default_factory=dict)  # as they came
    levels: int = 1  # how often the navigation is followed: a manager, theirs, and so on
    cast: str | None = None  # only targets of this type
    count: bool = False  # how many there are, beside them
    filters: Mapping[str, Expr] | None = None  # by set, of a navigation by relation, whose targets may be of several


@dataclass(frozen=True, slots=True)
class Asked:
    """What a list is asked for."""

    query: Query
    select: Select | None
    expand: tuple[Expanded, ...]
    options: QueryOptions
    advanced: str = ""  # what of it needs ConsistencyLevel: eventual
    counting: bool = False  # ... and $count=true


read = lru_cache(CACHED)(odata.parse_options)


def asked(ctx: Context, request: Request, target: Target, resource: Resource) -> tuple[Asked, Position | None]:
    """The bound query, and where a $skiptoken says to go on. InvalidQuery, UnsupportedQuery."""
    options = read(request.query) if request.query else _NOTHING
    position: Position | None = None
    if options.deltatoken is not None:
        raise InvalidQuery("$deltatoken belongs to the delta query that gave it.")
    if options.skiptoken is not None:
        options, position = _continued(ctx, target, options)
    plan = _plan(resource, ctx.version, options)
    if plan.advanced:
        _check_advanced(ctx, plan)
    elif resource.advanced and plan.query.count and not _eventual(ctx, options):
        plan = dataclasses.replace(plan, query=replace(plan.query, count=False))  # as in Graph: nobody counts
    return plan, position


_NOTHING = QueryOptions()


def _continued(ctx: Context, target: Target, sent: QueryOptions) -> tuple[QueryOptions, Position]:
    """A token carries its whole query; what is sent beside it must be the same, but for the size of the page."""
    token, keys = sent.skiptoken or "", bound(ctx, target)
    if token.startswith(_LIVE):
        token, keys = token.removeprefix(_LIVE), [*keys, _LIVE]
    carried, position = odata.decode_token(ctx.token_key, keys, token)
    for name in ("filter", "orderby", "select", "expand", "search", "count"):
        value = getattr(sent, name)
        if value is not None and value != getattr(carried, name):
            raise InvalidQuery(f"${name} differs from the query that this $skiptoken continues; leave it out.")
    if sent.top is not None:
        carried = replace(carried, top=sent.top)
    return replace(carried, skip=None, skiptoken=None), position


def bound(ctx: Context, target: Target) -> list[str]:
    """What a token is good for: this tenant, version and path."""
    keys: list[str] = []
    here: Target | None = target
    while here is not None:
        if here.key is not None:
            keys.append((ctx.caller.user or "") if here.key.own else f"{here.key.name or ''}={here.key.value}")
        here = here.via
    return [ctx.caller.tenant, target.version, target.hidden, *keys]


def next_link(
    ctx: Context, request: Request, target: Target, plan: Asked, position: Position, *, live: bool = False
) -> str:
    """`live`: of a list that holds live alerts, whose order the store does not make total by itself."""
    options = replace(plan.options, skip=None, skiptoken=None)
    token = odata.encode_token(ctx.token_key, [*bound(ctx, target), *([_LIVE] if live else [])], options, position)
    return f"{request.base}{link_path(request.path)}?$skiptoken={_LIVE if live else ''}{token}"


def is_live(request: Request) -> bool:
    return f"skiptoken={_LIVE}" in request.query


def link_path(path: str) -> str:
    """The path as it came, fit for a link."""
    return "/" + "/".join(segment for segment in path.split("/") if segment).replace('"', "%22").replace(" ", "%20")


@lru_cache(CACHED)
def _plan(resource: Resource, version: Version, options: QueryOptions) -> Asked:
    of = edm(version)
    most = resource.max_top
    top = resource.default_top if options.top is None else options.top
    if top > most:
        raise too_large(resource.path, top, most, directory=resource.throttle == "directory")
    skip = options.skip or 0
    if resource.max_skip is not None and skip > resource.max_skip:
        raise InvalidQuery(
            f"$skip is {skip}; {resource.path} passes over at most {resource.max_skip}: follow nextLink."
        )
    filter, order = _filter(of, resource, options, derived.counted(resource)), _order(of, resource, options.orderby)
    query = Query(top=top, filter=filter, order=order, skip=skip, count=bool(options.count), version=version)
    advanced, counting = _advanced(filter, options) if resource.advanced else ("", False)
    select = _select(of, resource.type, options.select, resource.extra)
    expand = _expand(of, resource, version, options.expand)
    select = _with_inline(select, resource.inline, options.expand)
    if resource.advanced and not advanced and _deep(expand):
        advanced, counting = _LEVELS, True
    return Asked(query, select, expand, options, advanced, counting)


def too_large(path: str, top: int, most: int, *, directory: bool) -> BadRequest:
    """In the words of the service that Graph has behind the path: clients look for them and ask again with less.

    Source: Graph's answers as Microsoft365DSC, Steampipe's plugin for Entra and collectors of logs quote them.
    """
    if path.startswith("security/"):
        return InvalidQuery(
            f"The query specified in the URI is not valid. The limit of '{most}' for Top query has been exceeded. The "
            f"value from the incoming request is '{top}'."
        )
    text = f"Invalid page size specified: '{top}'. Must be between 1 and {most} inclusive."
    return UnsupportedQuery(text) if directory else InvalidQuery(text)


_LEVELS = "$levels in $expand"


def _deep(expand: tuple[Expanded, ...]) -> bool:
    return any("levels" in each.options for each in expand)


def _filter(of: Edm, resource: Resource, options: QueryOptions, counted: frozenset[str] = frozenset()) -> Expr | None:
    parts: list[Expr] = []
    if options.filter:
        tree, fold = odata.parse_filter(options.filter), folded(resource)
        parts.append(odata.bind(tree, of, resource.type, filterable=resource.filter, fold=fold, counted=counted))
    if options.search:
        if not resource.search:
            raise InvalidQuery(f"{resource.path} cannot be searched; use $filter.")
        parts.append(
            odata.bind_search(odata.parse_search(options.search), of, resource.type, searchable=resource.search)
        )
    return And(tuple(parts)) if len(parts) > 1 else parts[0] if parts else None


def _order(of: Edm, resource: Resource, text: str | None) -> tuple[Order, ...]:
    if not text:
        return ()
    keys = odata.parse_orderby(text)
    return odata.bind_order(keys, of, resource.type, sortable=resource.orderby, fold=folded(resource))


@lru_cache(512)
def folded(resource: Resource) -> frozenset[str]:
    """Paths whose comparisons ignore case."""
    return resource.any_case.union(column.path for column in resource.collection.columns if column.fold)


# ---------------------------------------------------------------- advanced queries of the directory


def _advanced(filter: Expr | None, options: QueryOptions) -> tuple[str, bool]:
    """What needs ConsistencyLevel: eventual, and whether $count=true must come with it."""
    if options.filter:
        hard = next(_hard(filter), "")
        if hard:
            return hard, True
        if options.orderby:
            return "$filter together with $orderby", True
    return ("$search", False) if options.search else ("", False)


def _hard(expr: Expr | None) -> Iterator[str]:
    match expr:
        case And(operands) | Or(operands):
            for each in operands:
                yield from _hard(each)
        case Not():
            yield "not"
        case Compare(op, left, right):
            if op == "ne":
                yield "ne"
            yield from _hard(left)
            yield from _hard(right)
        case Call("endswith"):
            yield "endsWith"
        case AnyOf(_, _, body) | All(_, _, body):
            yield from _hard(body)


def _check_advanced(ctx: Context, plan: Asked) -> None:
    _check_eventual(ctx, plan.options, plan.advanced, not plan.counting or plan.query.count)


def _eventual(ctx: Context, options: QueryOptions) -> bool:
    """By the header, or by the parameter of that name, for clients that set no headers."""
    return (ctx.header("consistencylevel") or options.consistency or "").lower() == "eventual"


def _check_eventual(ctx: Context, options: QueryOptions, what: str, counted: bool) -> None:
    if not _eventual(ctx, options):
        raise UnsupportedQuery(f"{what} needs the header ConsistencyLevel: eventual (and $count=true) here.")
    if not counted:
        raise UnsupportedQuery(f"{what} needs $count=true beside ConsistencyLevel: eventual here.")


# ---------------------------------------------------------------- $select, $expand


def selected(ctx: Context, resource: Resource, text: str | None) -> Select | None:
    """$select of a set, bound; None for all."""
    return _select(ctx.edm, resource.type, text, resource.extra)


def select_of(ctx: Context, type: str, text: str | None) -> Select | None:
    """$select of objects of a type, bound; None for all."""
    return _select(ctx.edm, type, text)


def expansions(ctx: Context, resource: Resource, text: str | None) -> tuple[Expanded, ...]:
    """$expand of a set, bound."""
    return _expand(ctx.edm, resource, ctx.version, text)


def _select(of: Edm, type: str, text: str | None, extra: bool = False) -> Select | None:
    """A tree of names as the schema spells them; None for all. With `extra` also names that the schema lacks."""
    if not text:
        return None
    names = odata.parse_select(text)
    if "*" in names:
        return None
    chosen: dict[str, Any] = {}
    for name in names:
        _choose(of, type, name, chosen, extra)
    return chosen


def _choose(of: Edm, type: str, name: str, chosen: dict[str, Any], extra: bool = False) -> None:
    """InvalidQuery for a name that no object of the type has.

    The metadata calls most directory types open for the sake of extensions, whose names have a `_`; taking any name
    there would answer a misspelt one with objects that lack it. What beta has is asked of v1.0 too: it selects nothing.
    """
    kind: StructuredType | None = of.structured(type)
    below = chosen
    steps = [step for step in name.split("/") if "." not in step]  # casts choose nothing
    for at, step in enumerate(steps):
        found = _member(of, kind, step) if kind is not None else None
        if found is None:
            if kind is not None and kind.open and (extra or at > 0 or "_" in step or _in_beta(kind.name, step)):
                below[step] = {}
                return
            raise InvalidQuery(_unknown(kind, type, name))
        if found.name in below and not below[found.name]:
            return  # all of it is chosen already
        below = below.setdefault(found.name, {})
        if at == len(steps) - 1:
            below.clear()
        kind = None if found.type.startswith("Edm.") or of.enum(found.type) is not None else of.structured(found.type)


def _in_beta(type: str, name: str) -> bool:
    try:
        return edm("beta").structured(type).find(name) is not None
    except KeyError:
        return False  # a type of v1.0 alone


def _nowhere(name: str, type: str) -> str:
    """In Graph's words, by which clients tell that they may ask again without the name."""
    return f"Parsing OData Select and Expand failed: Could not find a property named '{name[:100]}' on type '{type}'"


def _unknown(kind: StructuredType | None, type: str, name: str) -> str:
    text = _nowhere(name, type)
    if kind is None:
        return text + "."
    near = get_close_matches(name.rpartition("/")[2][:80], list(kind.properties), n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"{text}; {hint}it has: {', '.join(sorted(kind.properties))}."


def _member(of: Edm, kind: StructuredType, name: str) -> Any:
    found = kind.find(name)
    for each in kind.derived if found is None else ():
        found = found or of.structured(each).find(name)
    return found


def _expand(of: Edm, resource: Resource, version: Version, text: str | None) -> tuple[Expanded, ...]:
    if not text:
        return ()
    known = {n.name.lower(): n for n in resource.navigations.values() if n.expand and version in n.versions}
    inside = {name.lower() for name in resource.inline}
    made: dict[str, Expanded] = {}
    for entry in odata.parse_expand(text):
        name, _, cast = entry.name.lower().partition("/")
        if name == "*" and (known or inside):
            made |= {each: _expanded(of, known[each], {}) for each in known if each not in made}
        elif name in known and (not cast or (known[name].relation is not None and known[name].cast(cast) is not None)):
            made[name] = _expanded(of, known[name], entry.options, known[name].cast(cast))
        elif entry.name.lower() not in inside:
            names = ", ".join([*(n.name for n in known.values()), *resource.inline]) or "nothing"
            there = _member(of, of.structured(resource.type), name) is not None
            why = f"Cannot expand '{entry.name[:100]}'" if there else _nowhere(entry.name, resource.type)
            raise InvalidQuery(f"{why}; of {resource.path} can be expanded: {names}.")
        elif entry.options:
            raise InvalidQuery(f"$expand={entry.name} takes no options here: it comes whole.")
    return tuple(made.values())


def _with_inline(select: Select | None, inline: tuple[str, ...], text: str | None) -> Select | None:
    """What $select leaves, and the objects within the document that $expand names."""
    if select is None or not inline or not text:
        return select
    asked = {entry.name.lower() for entry in odata.parse_expand(text)}
    return {**select, **{name: {} for name in inline if name.lower() in asked or "*" in asked}}


def _expanded(of: Edm, navigation: Navigation, options: Mapping[str, str], cast: str | None = None) -> Expanded:
    allowed = ("select", "top", *(("filter", "orderby", "count") if navigation.many else ()))
    if navigation.recursive:
        allowed = (*allowed, "levels")
    if navigation.inline:
        allowed = (*allowed, "expand")
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        raise InvalidQuery(f"$expand={navigation.name} takes {', '.join(allowed)}; not {unknown[0][:40]}.")
    top = options.get("top", str(MAX_EACH))
    if not (top.isascii() and top.isdigit() and 0 < int(top[:10]) <= MAX_EACH):
        raise InvalidQuery(f"$top of $expand={navigation.name} takes 1 to {MAX_EACH}.")
    count = options.get("count", "false").lower()
    if count not in ("true", "false"):
        raise InvalidQuery(f"$count of $expand={navigation.name} takes true or false.")
    filter, filters = _limited(of, navigation, options.get("filter"), cast)
    order = options.get("orderby")
    further = options.get("expand")
    for entry in odata.parse_expand(further) if further else ():
        if entry.name.lower() not in {"*", *(name.lower() for name in navigation.inline)} or entry.options:
            raise InvalidQuery(f"$expand within $expand={navigation.name} takes {', '.join(navigation.inline)}.")
    return Expanded(
        navigation,
        _with_inline(_select(of, cast or navigation.type, options.get("select")), navigation.inline, further),
        filter,
        () if not order else _ordered(of, navigation, order, cast),
        int(top),
        options,
        _levels(navigation, options.get("levels", "1")),
        cast,
        count == "true",
        filters,
    )


def _limited(
    of: Edm, navigation: Navigation, text: str | None, cast: str | None
) -> tuple[Expr | None, Mapping[str, Expr] | None]:
    """The $filter of an $expand: of a navigation by column, or by the sets of one by relation."""
    if not text:
        return None, None
    if navigation.column is not None:
        return odata.bind(odata.parse_filter(text), of, navigation.type), None
    return None, of_each(of, navigation, QueryOptions(filter=text), cast)


def _ordered(of: Edm, navigation: Navigation, text: str, cast: str | None) -> tuple[Order, ...]:
    """Bound where the targets are of one set; as it was parsed where they are of several, see `mixed.ranked`."""
    keys = odata.parse_orderby(text)
    if navigation.column is None and cast is None and len(navigation.to) > 1:
        return keys
    return odata.bind_order(keys, of, cast or (navigation.to[0].type if navigation.to else None) or navigation.type)


def _levels(navigation: Navigation, text: str) -> int:
    if text.lower() == "max":
        return MAX_LEVELS
    if text.isascii() and text.isdigit() and 0 < int(text[:10]) <= MAX_LEVELS:
        return int(text)
    raise InvalidQuery(f"$levels of $expand={navigation.name} takes max, or 1 to {MAX_LEVELS}.")


# ---------------------------------------------------------------- what is no list


_ROWS = re.compile(r"(?:^|&)(?:\$|%24)(?:top|limit)=\d+(?=&|$)", re.IGNORECASE)


def asked_of_one(
    ctx: Context, request: Request, resource: Resource | None, type: str
) -> tuple[Select | None, tuple[Expanded, ...]]:
    """One object takes $select and $expand only; $count where Graph wants it, beside $levels. How many rows a list may
    have is passed over, as Graph does: Splunk SOAR asks so for a sign-in."""
    options = read(_ROWS.sub("", request.query))
    expand = () if resource is None else _expand(ctx.edm, resource, ctx.version, options.expand)
    deep = _deep(expand)
    only(options, "select", "expand", *(("count",) if deep else ()))
    if deep:
        _check_eventual(ctx, options, _LEVELS, True)  # SDKs have no $count for one object
    if options.expand and resource is None:
        raise InvalidQuery("$expand is not served here.")
    if resource is None:
        return _select(ctx.edm, type, options.select), expand
    select = _select(ctx.edm, type, options.select, resource.extra)
    return _with_inline(select, resource.inline, options.expand), expand


def counted(ctx: Context, request: Request, resource: Resource) -> Expr | None:
    """The condition of a /$count."""
    options = read(request.query) if request.query else _NOTHING
    only(options, "filter", "search")
    if resource.advanced and not _eventual(ctx, options):
        raise UnsupportedQuery("/$count needs the header ConsistencyLevel: eventual here.")
    return _plan(resource, ctx.version, options).query.filter


def ids_of(ctx: Context, resource: Resource, text: str) -> frozenset[str]:
    """The filter of a delta query: some objects by their ids, as Graph has it."""
    bound = odata.bind(odata.parse_filter(text), ctx.edm, resource.type)
    found: set[str] = set()
    for each in bound.operands if isinstance(bound, Or) else (bound,):
        match each:
            case Compare("eq", Path(("id",), None), Literal(value)):
                found.add(str(value))
            case In(Path(("id",), None), values):
                found.update(str(value.value) for value in values)
            case _:
                raise InvalidQuery(f"{resource.path}/delta is filtered by ids only: id eq 'x' or id eq 'y'.")
    return frozenset(found)


def asked_of_mixed(
    ctx: Context, request: Request, target: Target, navigation: Navigation
) -> tuple[Asked, Position | None]:
    """Of a list of several types. Its $filter is read by `of_each`, its $orderby by `mixed`."""
    options = read(request.query) if request.query else _NOTHING
    position: Position | None = None
    if options.skiptoken is not None:
        options, position = _continued(ctx, target, options)
    types = ", ".join(str(to.type) for to in navigation.to)
    for name in ("expand", "skip"):
        if getattr(options, name) is not None:
            raise InvalidQuery(f"${name} on {navigation.name} needs one type; add a segment with one of: {types}.")
    top = 100 if options.top is None else options.top
    if not 0 < top <= 999:
        raise too_large(navigation.name, top, 999, directory=True)
    select: dict[str, Any] | None = None
    if options.select and "*" not in odata.parse_select(options.select):
        select = {}
        for name in odata.parse_select(options.select):
            _choose_anywhere(ctx.edm, navigation, name, select)
    query = Query(top=top, count=bool(options.count), version=ctx.version)
    return Asked(query, select, (), options), position


def counted_of_mixed(request: Request) -> QueryOptions:
    """The options of a /$count of several types."""
    options = read(request.query) if request.query else _NOTHING
    only(options, "filter", "search")
    return options


def of_each(of: Edm, navigation: Navigation, options: QueryOptions, cast: str | None = None) -> dict[str, Expr] | None:
    """What $filter and $search mean for each set that a navigation leads to; None where neither is given. A set whose
    objects cannot have what is named has none that match; InvalidQuery where that is so of all."""
    if not options.filter and not options.search:
        return None
    found: dict[str, Expr] = {}
    problem: InvalidQuery | None = None
    for each in RESOURCES:
        if each.collection in navigation.to and each.type == each.collection.type and cast in (None, each.type):
            try:
                filter = _filter(of, each, options)
            except InvalidQuery as error:
                problem = problem or error
                continue
            assert filter is not None
            found.setdefault(each.collection.name, filter)
    if not found and problem is not None:
        raise problem
    return found


def _choose_anywhere(of: Edm, navigation: Navigation, name: str, chosen: dict[str, Any]) -> None:
    for to in navigation.to:
        if to.type is not None and _member(of, of.structured(to.type), name.partition("/")[0]) is not None:
            _choose(of, to.type, name, chosen)
            return
    raise InvalidQuery(f"{_nowhere(name, navigation.type)}, nor on what {navigation.name} leads to.")


def only(options: QueryOptions, *names: str) -> None:
    for name in QueryOptions.__struct_fields__:
        if name not in (*names, "consistency") and getattr(options, name) is not None:
            allowed = ", ".join("$" + each for each in names) or "no query option"
            raise BadRequest(f"${name} has no meaning here; allowed: {allowed}.")


def page_size(request: Request) -> int | None:
    """Of `Prefer: odata.maxpagesize`; None where it is not a positive number."""
    wanted = request.prefers.get("maxpagesize")
    if wanted is None or not (wanted.isascii() and wanted.isdigit() and len(wanted) <= 9):
        return None
    return int(wanted) or None
