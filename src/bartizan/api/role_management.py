"""Directory roles in today's form: definitions and assignments, made from the stored directoryRoles and their members.

An assignment is one member of one role, over the whole directory; what is eligible for a role no source tells.

Source: Microsoft Graph, resources unifiedRoleDefinition, unifiedRoleAssignment and rbacApplication.
"""

from bartizan.api.directory_objects import roles
from bartizan.api.wire.find import MAX_RELATED, edges
from bartizan.api.wire.made import made, paged
from bartizan.errors import BadRequest
from bartizan.extend import Can, Context, collection, not_yet, resource, unserved
from bartizan.model.ids import stable_id
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
    """Every assignment."""
    navigation = roles.navigations["members"]
    found: dict[str, tuple[str, str]] = {}
    for role in await _roles(ctx):
        for _, member in await edges(ctx, role.id, navigation):
            found[stable_id("role assignment", role.id, member)] = (_template(role), member)
        if len(found) > MAX_RELATED:
            raise BadRequest(
                f"There are more than {MAX_RELATED} assignments of roles; ask for the members of one role."
            )
    return [_assignment(ctx, id, *found[id]) for id in found]


def _assignment(ctx: Context, id: str, definition: str, principal: str) -> Stored:
    said = {"principalId": principal, "roleDefinitionId": definition, "directoryScopeId": "/"}
    return made(ctx, assignments.type, assignments.collection.name, id, said)


@definitions.on_list
async def every_definition(ctx: Context, query: Query) -> Page:
    unique = {_template(role): role for role in await _roles(ctx)}
    return paged(query, (_definition(ctx, role) for role in unique.values()))


@definitions.on_get
async def one_definition(ctx: Context, id: str) -> Stored | None:
    return next((_definition(ctx, role) for role in await _roles(ctx) if _template(role).lower() == id.lower()), None)


@assignments.on_list
async def every_assignment(ctx: Context, query: Query) -> Page:
    return paged(query, await _assigned(ctx))


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
