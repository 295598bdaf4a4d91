"""An object of the directory by its id alone, whatever it is: what the addresses of references lead to.

Source: Microsoft Graph, resource directoryObject; directoryObject: getByIds.
"""

from collections.abc import Iterable
from typing import Any

from msgspec.structs import replace

from bartizan.api.directory import users
from bartizan.api.directory_objects import applications, devices, groups, roles, service_principals, units
from bartizan.api.wire import body as bodies
from bartizan.errors import BadRequest
from bartizan.extend import Answer, Can, Context, Resource, resource
from bartizan.extend.resources import OnGet
from bartizan.store.interface import Query, Stored

MAX_IDS = 1_000  # documented for getByIds

_TYPE = "microsoft.graph.directoryObject"
_SETS = (users, groups, devices, service_principals, roles, applications, units)

objects = resource(
    "directoryObjects",
    _TYPE,
    collection=users.collection,  # nothing is kept under this name: each object is in the set of its type
    can=Can.GET,
    read="Directory.Read.All Directory.ReadWrite.All",
    throttle="directory",
)


def _typed(row: Stored, of: Resource) -> Stored:
    """With its type, which its address does not say."""
    beta = None if row.beta is None else bodies.marked(row.beta, of.type)
    return replace(row, doc=bodies.marked(row.doc, of.type), beta=beta)


def of_any(sets: Iterable[Resource]) -> OnGet:
    """The object of an id, whichever of the sets it is in, with its type."""

    async def one(ctx: Context, id: str) -> Stored | None:
        for of in sets:
            row = await ctx.store.get(of.collection.name, id)
            if row is not None:
                return _typed(row, of)
        return None

    return one


objects.on_get(of_any(_SETS))


_GET_BY_IDS = {"ids": "Collection(Edm.String)!", "types": "Collection(Edm.String)"}


@objects.action("getByIds", on="set", parameters=_GET_BY_IDS, returns=f"Collection({_TYPE})", access=objects.read)
async def by_ids(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
    """What is known of these ids, in their order; of an id that nobody has, nothing."""
    ids = list(dict.fromkeys(given["ids"]))
    if not 0 < len(ids) <= MAX_IDS:
        raise BadRequest(f"ids: expected 1 to {MAX_IDS} ids; got {len(ids)}.")
    found: dict[str, Stored] = {}
    for of in _wanted(given["types"] or []):
        page = await ctx.store.page(of.collection.name, Query(top=len(ids), ids=tuple(ids), version=ctx.version))
        found.update((row.id, _typed(row, of)) for row in page.rows)
    return Answer(200, [found[each] for each in ids if each in found])


def _ids_of(of: Resource) -> None:
    @of.action("getByIds", on="set", parameters=_GET_BY_IDS, returns=f"Collection({_TYPE})", access=objects.read)
    async def ids_of(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
        return await by_ids(ctx, id, given)


for _each in (users, groups, devices, service_principals, applications):  # Graph has it behind every set of these
    _ids_of(_each)


def _wanted(types: list[str]) -> list[Resource]:
    """The sets of these types (`user`, `microsoft.graph.user`); all where none is named."""
    short = {of.type.rpartition(".")[2].lower(): of for of in _SETS}
    names = [name.rpartition(".")[2].lower() for name in types]
    unknown = [given for given, name in zip(types, names, strict=True) if name not in {*short, "directoryobject"}]
    if unknown:
        raise BadRequest(f"types: '{unknown[0][:60]}' is none that is kept here: {', '.join(short)}.")
    return list(_SETS) if not names or "directoryobject" in names else [short[name] for name in dict.fromkeys(names)]
