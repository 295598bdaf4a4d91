"""Which groups (and roles) an object is in, through any number of groups: asked as a list, or checked for some ids.

Source: Microsoft Graph, directoryObject: getMemberGroups, getMemberObjects, checkMemberGroups, checkMemberObjects.
"""

from typing import Any

from bartizan.api.directory import users
from bartizan.api.directory_objects import devices, groups, service_principals
from bartizan.api.wire.find import edges, fetched
from bartizan.errors import BadRequest
from bartizan.extend import Answer, Context, Resource
from bartizan.store.draft import inner
from bartizan.store.interface import Stored

MAX_CHECKED = 20  # documented for checkMemberGroups and checkMemberObjects
_IDS = "Collection(Edm.String)"


async def _containers(ctx: Context, of: Resource, id: str) -> list[Stored]:
    """The groups and roles that the object is in, directly or through groups; ordered by id."""
    navigation = of.navigations["transitivememberof"]
    ids = sorted({each for _, each in await edges(ctx, id, navigation)})
    return await fetched(ctx, navigation, ids)


def _groups(rows: list[Stored], *, secure: bool = False) -> list[str]:
    found = [row for row in rows if row.collection == groups.collection.name]
    return [row.id for row in found if not secure or inner(row).get("securityEnabled")]


def _declare(of: Resource) -> None:
    access = of.navigations["memberof"].access

    @of.action("getMemberGroups", parameters={"securityEnabledOnly": "Edm.Boolean"}, returns=_IDS, access=access)
    async def member_groups(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
        assert id is not None
        return Answer(200, _groups(await _containers(ctx, of, id), secure=bool(given["securityEnabledOnly"])))

    @of.action("getMemberObjects", parameters={"securityEnabledOnly": "Edm.Boolean"}, returns=_IDS, access=access)
    async def member_objects(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
        assert id is not None
        rows = await _containers(ctx, of, id)
        secure = bool(given["securityEnabledOnly"])
        return Answer(200, _groups(rows, secure=True) if secure else [row.id for row in rows])

    @of.action("checkMemberGroups", parameters={"groupIds": f"{_IDS}!"}, returns=_IDS, access=access)
    async def check_groups(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
        assert id is not None
        asked = _asked(given["groupIds"], "groupIds")
        inside = set(_groups(await _containers(ctx, of, id)))
        return Answer(200, [each for each in asked if each in inside])

    @of.action("checkMemberObjects", parameters={"ids": f"{_IDS}!"}, returns=_IDS, access=access)
    async def check_objects(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
        assert id is not None
        asked = _asked(given["ids"], "ids")
        inside = {row.id for row in await _containers(ctx, of, id)}
        return Answer(200, [each for each in asked if each in inside])


def _asked(ids: list[str], name: str) -> list[str]:
    if not 0 < len(ids) <= MAX_CHECKED:
        raise BadRequest(f"{name}: expected 1 to {MAX_CHECKED} ids; got {len(ids)}.")
    return ids


for each in (users, groups, devices, service_principals):
    _declare(each)
