"""Directory roles in today's form: definitions, who holds them, who may activate them, and for how long.

Definitions and assignments are made from the stored directoryRoles and their members, and from what is told beside
these: definitions (with their permissions, and custom ones), and the schedules of Privileged Identity Management. Who
is eligible, and until when, a directory says; until it does nobody is known to be.

Source: Microsoft Graph, resources unifiedRoleDefinition, unifiedRoleAssignment, unifiedRoleAssignmentSchedule,
unifiedRoleEligibilitySchedule, their instances, and rbacApplication.
"""

from typing import Any

from bartizan.api.directory import users
from bartizan.api.directory_objects import applications, groups, roles, service_principals, units
from bartizan.api.organization import organization, told_tenant
from bartizan.api.wire.find import MAX_RELATED, by_key, edges, every_row
from bartizan.api.wire.made import made, paged
from bartizan.api.wire.route import Key
from bartizan.errors import BadRequest, NotServed
from bartizan.extend import Answer, Can, Context, Resource, collection, not_yet, resource, unserved
from bartizan.model.ids import stable_id
from bartizan.model.times import instant
from bartizan.odata.tree import In, Literal, Path
from bartizan.store.draft import inner
from bartizan.store.interface import Page, Query, Stored

MAX_ROLES = 1_000  # Entra has some 130, and at most 100 of one's own

_INGEST = "Bartizan.Ingest.All"
_ALL = "Directory.Read.All Directory.ReadWrite.All"
_READ = f"RoleManagement.Read.Directory RoleManagement.Read.All {_ALL}"
_PATH = "roleManagement/directory"
_TOLD = not_yet("nothing performs it: connect a directory that does, this server only records what it is told")
_UNWRITABLE = {"PATCH": _TOLD, "DELETE": _TOLD}

definitions = resource(
    f"{_PATH}/roleDefinitions",
    "microsoft.graph.unifiedRoleDefinition",
    collection=collection("roleDefinitions", "microsoft.graph.unifiedRoleDefinition"),
    can=Can.READ | Can.CREATE,
    read=_READ,
    create=_INGEST,
    required="id displayName",
    inline="inheritsPermissionsFrom",
    throttle="directory",
    unserved=_UNWRITABLE,
)

assignments = resource(
    f"{_PATH}/roleAssignments",
    "microsoft.graph.unifiedRoleAssignment",
    collection=collection("roleAssignments", "microsoft.graph.unifiedRoleAssignment"),
    can=Can.READ,
    read=_READ,
    throttle="directory",
)

templates = resource(
    "directoryRoleTemplates",
    "microsoft.graph.directoryRoleTemplate",
    collection=collection("directoryRoleTemplates", "microsoft.graph.directoryRoleTemplate"),
    can=Can.READ,
    read=f"RoleManagement.Read.Directory {_ALL}",
    throttle="directory",
)


def _schedules(path: str, type: str, read: str, columns: str) -> Resource:
    """A set of Privileged Identity Management, as it is told."""
    last = path.rpartition("/")[2]
    times = "startDateTime endDateTime" if last.endswith("Instances") else "createdDateTime"
    name = last if last.startswith("role") else f"group{last[0].upper()}{last[1:]}"
    return resource(
        path,
        f"microsoft.graph.{type}",
        collection=collection(name, f"microsoft.graph.{type}", columns=f"principalId {columns} {times}"),
        can=Can.READ | Can.CREATE,
        read=read,
        create=_INGEST,
        required=f"principalId {columns.split()[0]}",
        throttle="directory",
        unserved=_UNWRITABLE,
    )


# As Graph has it: not by what lets somebody read the rest of the directory.
_SCHEDULES = "RoleManagement.Read.Directory RoleManagement.ReadWrite.Directory RoleManagement.Read.All"
READ_ASSIGNED, READ_ELIGIBLE = (
    f"Role{word}Schedule.Read.Directory Role{word}Schedule.ReadWrite.Directory {_SCHEDULES}"
    for word in ("Assignment", "Eligibility")
)


def read_in_groups(word: str) -> str:
    """Permissions for schedules and requests in groups: `assignment` or `eligibility`."""
    of = f"Privileged{word[0].upper()}{word[1:]}Schedule"
    return f"{of}.Read.AzureADGroup {of}.ReadWrite.AzureADGroup"


_COLUMNS = "roleDefinitionId directoryScopeId memberType"
eligible = [
    _schedules(f"{_PATH}/roleEligibilitySchedules", "unifiedRoleEligibilitySchedule", READ_ELIGIBLE, _COLUMNS),
    _schedules(
        f"{_PATH}/roleEligibilityScheduleInstances", "unifiedRoleEligibilityScheduleInstance", READ_ELIGIBLE, _COLUMNS
    ),
]
active = _schedules(
    f"{_PATH}/roleAssignmentSchedules",
    "unifiedRoleAssignmentSchedule",
    READ_ASSIGNED,
    f"{_COLUMNS} assignmentType",
)
instances = _schedules(
    f"{_PATH}/roleAssignmentScheduleInstances",
    "unifiedRoleAssignmentScheduleInstance",
    READ_ASSIGNED,
    f"{_COLUMNS} assignmentType",
)
in_groups = [
    _schedules(
        f"identityGovernance/privilegedAccess/group/{word}Schedule{'Instances' if ending else 's'}",
        f"privilegedAccessGroup{word[0].upper()}{word[1:]}Schedule{ending}",
        read_in_groups(word),
        "groupId accessId memberType" + (" assignmentType" if word == "assignment" else ""),
    )
    for word in ("assignment", "eligibility")
    for ending in ("", "Instance")
]


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


async def _defined(ctx: Context) -> dict[str, Stored]:
    """Every definition by its id in lower case: those that are told, and else what the directory role says."""
    found = {_template(role).lower(): _definition(ctx, role) for role in await _roles(ctx)}
    return found | {row.id.lower(): row for row in await every_row(ctx, definitions, MAX_RELATED)}


_Held = tuple[str, str, str]  # principal, definition, scope


async def _members(ctx: Context) -> dict[str, _Held]:
    """Members of directory roles, by the id of the assignment."""
    navigation = roles.navigations["members"]
    found: dict[str, _Held] = {}
    for role in await _roles(ctx):
        for _, member in await edges(ctx, role.id, navigation):
            found[stable_id("role assignment", role.id, member)] = (member, _template(role), "/")
        if len(found) > MAX_RELATED:
            raise BadRequest(
                f"There are more than {MAX_RELATED} assignments of roles; ask for the members of one role."
            )
    return found


def _held(said: dict[str, Any]) -> _Held:
    return str(said["principalId"]), str(said["roleDefinitionId"]), str(said.get("directoryScopeId") or "/")


async def every_assigned(ctx: Context) -> list[Stored]:
    """Every assignment, each once: members of roles, and who holds one by an instance that has not ended."""
    found = await _members(ctx)
    known = set(found.values())
    now = instant(ctx.clock())
    for row in await every_row(ctx, instances, MAX_RELATED):
        said = inner(row)
        ends = said.get("endDateTime")
        if _held(said) not in known and (ends is None or ends > now):
            known.add(_held(said))
            found[str(said.get("roleAssignmentOriginId") or row.id)] = _held(said)
    return [_assignment(ctx, id, held) for id, held in found.items()]


def _assignment(ctx: Context, id: str, held: _Held) -> Stored:
    said = {"principalId": held[0], "roleDefinitionId": held[1], "directoryScopeId": held[2]}
    return made(ctx, assignments.type, assignments.collection.name, id, said)


@definitions.on_list
async def every_definition(ctx: Context, query: Query) -> Page:
    return paged(query, (await _defined(ctx)).values())


@definitions.on_get
async def one_definition(ctx: Context, id: str) -> Stored | None:
    return (await _defined(ctx)).get(id.lower())


async def some_definitions(ctx: Context, ids: list[str]) -> dict[str, Stored]:
    """By these ids as they are spelt: schedules and definitions may differ in case."""
    known = await _defined(ctx) if ids else {}
    return {id: known[id.lower()] for id in ids if id.lower() in known}


_UNITS = "/administrativeUnits/"


async def some_scopes(ctx: Context, ids: list[str]) -> dict[str, Stored]:
    """What a role is held over: `/` the tenant, `/administrativeUnits/x` a unit, `/x` an application or its service
    principal."""
    found: dict[str, Stored] = {}
    for id in ids:
        if id == "/":
            found[id] = await told_tenant(ctx)
            continue
        last = id.rpartition("/")[2]
        for of in (units,) if id.startswith(_UNITS) else (applications, service_principals):
            row = await ctx.store.get(of.collection.name, last)
            if row is not None:
                found[id] = row
                break
    return found


@assignments.on_list
async def every_assignment(ctx: Context, query: Query) -> Page:
    return paged(query, await every_assigned(ctx))


@assignments.on_get
async def one_assignment(ctx: Context, id: str) -> Stored | None:
    return next((row for row in await every_assigned(ctx) if row.id.lower() == id.lower()), None)


async def _told_and_held(ctx: Context, of: Resource) -> list[Stored]:
    """What is told of a set of active roles, and members of roles of whom nothing is told: since when, until when and
    whether they activated it is not known of those."""
    rows = await every_row(ctx, of, MAX_RELATED)
    known = {_held(inner(row)) for row in rows}
    for id, held in (await _members(ctx)).items():
        if held not in known:
            said: dict[str, Any] = {"principalId": held[0], "roleDefinitionId": held[1], "directoryScopeId": held[2]}
            if of is instances:
                said |= {"roleAssignmentOriginId": id, "roleAssignmentScheduleId": id}
            rows.append(made(ctx, of.type, of.collection.name, id, {**said, "memberType": "Direct"}))
    return rows


def _declare_held(of: Resource) -> None:
    @of.on_list
    async def every(ctx: Context, query: Query) -> Page:
        return paged(query, await _told_and_held(ctx, of))

    @of.on_get
    async def one(ctx: Context, id: str) -> Stored | None:
        return next((row for row in await _told_and_held(ctx, of) if row.id.lower() == id.lower()), None)


for _of in (active, instances):
    _declare_held(_of)


@templates.on_list
async def every_template(ctx: Context, query: Query) -> Page:
    return paged(query, (await _templates(ctx)).values())


@templates.on_get
async def one_template(ctx: Context, id: str) -> Stored | None:
    return (await _templates(ctx)).get(id.lower())


async def _templates(ctx: Context) -> dict[str, Stored]:
    """Of the roles that are known; Entra has more."""
    found: dict[str, Stored] = {}
    for role in await _roles(ctx):
        said = inner(role)
        id = said.get("roleTemplateId")
        if id is not None:
            shown = {"displayName": said.get("displayName"), "description": said.get("description")}
            found[id.lower()] = made(ctx, templates.type, templates.collection.name, id, shown)
    return found


_PRINCIPALS = (users, groups, service_principals)
_SCOPES = (organization, units, applications, service_principals)
_OBJECT = "microsoft.graph.directoryObject"


def of_role(of: Resource) -> None:
    """What leads from who holds a role to the objects that are named."""
    of.navigation("principal", *_PRINCIPALS, type=_OBJECT, key="principalId", expand=True)
    of.navigation("roleDefinition", definitions, key="roleDefinitionId", fetch=some_definitions, expand=True)
    of.navigation("directoryScope", *_SCOPES, type=_OBJECT, key="directoryScopeId", fetch=some_scopes, expand=True)


def of_group(of: Resource) -> None:
    """The same of who is in a group for a time."""
    of.navigation("principal", *_PRINCIPALS, type=_OBJECT, key="principalId", expand=True)
    of.navigation("group", groups, key="groupId", expand=True)


for _of in (assignments, active, instances, *eligible):
    of_role(_of)
for _of in in_groups:
    of_group(_of)

_POLICIES = f"RoleManagementPolicy.Read.Directory RoleManagement.Read.Directory RoleManagement.Read.All {_ALL}"
policies = resource(
    "policies/roleManagementPolicies",
    "microsoft.graph.unifiedRoleManagementPolicy",
    can=Can.READ | Can.CREATE,
    read=f"{_POLICIES} RoleManagementPolicy.Read.AzureADGroup",
    create=_INGEST,
    columns="scopeId scopeType displayName",
    required="scopeId scopeType",
    inline="rules effectiveRules",
    throttle="directory",
    unserved=_UNWRITABLE,
)
of_roles = resource(
    "policies/roleManagementPolicyAssignments",
    "microsoft.graph.unifiedRoleManagementPolicyAssignment",
    can=Can.READ | Can.CREATE,
    read=f"{_POLICIES} RoleManagementPolicy.Read.AzureADGroup",
    create=_INGEST,
    columns="scopeId scopeType roleDefinitionId policyId",
    required="scopeId scopeType policyId",
    throttle="directory",
    unserved=_UNWRITABLE,
)
of_roles.navigation("policy", policies, key="policyId", expand=True)


async def _mine(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
    """Those of the signed-in user: of the account, and of the user of the directory that has its name."""
    on = given["on"].lower()
    if on in ("approver", "createdby"):
        raise NotServed(f"Not served yet: filterByCurrentUser(on='{on}'): of a request it is told for whom it is.")
    if on != "principal":
        raise BadRequest(f"filterByCurrentUser has no '{on[:40]}'; it takes on='principal'.")
    if ctx.caller.user is None:
        raise BadRequest("filterByCurrentUser is only valid with delegated authentication flow.")
    known = await by_key(ctx, users, Key("me", own=True))
    ids = dict.fromkeys((ctx.caller.user, *([] if known is None else [known.id])))
    return Answer(value=In(Path(("principalId",), kind="text"), tuple(Literal(each, "text") for each in ids)))


def of_caller(of: Resource) -> None:
    """filterByCurrentUser, by which people see what they may activate and have asked for."""
    returns = f"Collection({of.type})"
    of.action(
        "filterByCurrentUser", on="set", parameters={"on": "Edm.String!"}, returns=returns, function=True, mine=True
    )(_mine)


for _of in (active, instances, *eligible, *in_groups):
    of_caller(_of)
unserved(f"{assignments.path}/**", _TOLD, verbs="POST PATCH DELETE")
unserved("roleManagement/**", not_yet("of role management the roles of the directory and who holds them are told"))
unserved(
    "identityGovernance/privilegedAccess/**",
    not_yet("of groups under Privileged Identity Management the schedules are told"),
)
