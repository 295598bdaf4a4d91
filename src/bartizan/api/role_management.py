"""Directory roles in today's form: definitions and assignments, made from the stored directoryRoles and their members.

An assignment is one member of one role, over the whole directory; what is eligible for a role no source tells.

Source: Microsoft Graph, resources unifiedRoleDefinition, unifiedRoleAssignment and rbacApplication.
"""

from collections.abc import Iterable, Iterator

import msgspec

from bartizan.api.directory_objects import roles
from bartizan.api.wire.find import MAX_RELATED, edges
from bartizan.api.wire.made import made
from bartizan.errors import BadRequest, InvalidQuery
from bartizan.extend import Can, Context, collection, not_yet, resource, unserved
from bartizan.model.ids import stable_id
from bartizan.odata import compile_predicate
from bartizan.store.draft import inner
from bartizan.store.interface import Page, Query, Stored

MAX_ROLES = 1_000  # Entra has some 130, and at most 100 of one's own

_READ = "RoleManagement.Read.Directory RoleManagement.Read.All Directory.Read.All Directory.ReadWrite.All"

definitions = resource(
    "roleManagement/directory/roleDefinitions",
    "microsoft.graph.unifiedRoleDefinition",
    collection=collection("roleDefinitions", "microsoft.graph.unifiedRoleDefinition"),
    can=Can.READ,
    read=_READ,
    orderby="",
    throttle="directory",
)

assignments = resource(
    "roleManagement/directory/roleAssignments",
    "microsoft.graph.unifiedRoleAssignment",
    collection=collection("roleAssignments", "microsoft.graph.unifiedRoleAssignment"),
    can=Can.READ,
    read=_READ,
    orderby="",
    throttle="directory",
)


async def _roles(ctx: Context) -> list[Stored]:
    page = await ctx.store.page(roles.collection.name, Query(top=MAX_ROLES, version=ctx.version))
    if page.more:
        raise BadRequest(f"There are more than {MAX_ROLES} directory roles; ask for directoryRoles page by page.")
    return page.rows


def _template(role: Stored) -> str:
    return str(inner(role).get("roleTemplateId") or role.id)


def _definition(ctx: Context, role: Stored) -> Stored:
    said = inner(role)
    return made(
        ctx,
        definitions.type,
        definitions.collection.name,
        _template(role),
        {
            "displayName": said.get("displayName"),
            "description": said.get("description"),
            "templateId": said.get("roleTemplateId"),
            "isBuiltIn": said.get("roleTemplateId") is not None,
            "isEnabled": True,
        },
    )


async def _assigned(ctx: Context) -> list[Stored]:
    """Every assignment, ordered by id."""
    navigation = roles.navigations["members"]
    found: dict[str, tuple[str, str]] = {}
    for role in await _roles(ctx):
        for _, member in await edges(ctx, role.id, navigation):
            found[stable_id("role assignment", role.id, member)] = (_template(role), member)
        if len(found) > MAX_RELATED:
            raise BadRequest(
                f"There are more than {MAX_RELATED} assignments of roles; ask for the members of one role."
            )
    return [_assignment(ctx, id, *found[id]) for id in sorted(found)]


def _assignment(ctx: Context, id: str, definition: str, principal: str) -> Stored:
    said = {"principalId": principal, "roleDefinitionId": definition, "directoryScopeId": "/"}
    return made(ctx, assignments.type, assignments.collection.name, id, said)


def _page(rows: Iterable[Stored], query: Query) -> Page:
    """A page of all rows there are, which come ordered by id."""
    if query.order:
        raise InvalidQuery("These come in order of their ids; leave out $orderby.")
    matches = None if query.filter is None else compile_predicate(query.filter)
    kept = [row for row in rows if matches is None or matches(msgspec.json.decode(row.doc))]
    start = query.skip
    if query.after is not None:
        start = next((at for at, row in enumerate(kept) if row.id > str(query.after[0])), len(kept))
    part = kept[start : start + query.top]
    last = (part[-1].id,) if part else None
    return Page(part, start + query.top < len(kept), last, len(kept) if query.count else None)


@definitions.on_list
async def every_definition(ctx: Context, query: Query) -> Page:
    return _page(_unique(_definition(ctx, role) for role in await _roles(ctx)), query)


def _unique(rows: Iterable[Stored]) -> Iterator[Stored]:
    yield from sorted({row.id: row for row in rows}.values(), key=lambda row: row.id)


@definitions.on_get
async def one_definition(ctx: Context, id: str) -> Stored | None:
    return next((_definition(ctx, role) for role in await _roles(ctx) if _template(role) == id.lower()), None)


@assignments.on_list
async def every_assignment(ctx: Context, query: Query) -> Page:
    return _page(await _assigned(ctx), query)


@assignments.on_get
async def one_assignment(ctx: Context, id: str) -> Stored | None:
    return next((row for row in await _assigned(ctx) if row.id == id.lower()), None)


_ELIGIBLE = not_yet("who may activate a role, and when, no source tells; roleAssignments are the roles that are held")
for _name in ("Eligibility", "Assignment"):
    for _kind in ("Schedules", "ScheduleInstances", "ScheduleRequests"):
        unserved(f"roleManagement/directory/role{_name}{_kind}/**", _ELIGIBLE)
_GRANTS = not_yet("nothing performs it: connect a directory that does, this server only records what it is told")
for _of in (definitions, assignments):
    unserved(f"{_of.path}/**", _GRANTS, verbs="POST PATCH DELETE")
unserved("roleManagement/**", not_yet("of role management the roles of the directory and who holds them are told"))
