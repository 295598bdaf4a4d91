"""Who holds which directory role, through however many groups: the assignments of a principal and of the groups that it
is in, each as it is assigned.

Source: Microsoft Graph, rbacApplication: List transitiveRoleAssignments (principalId has to be named in $filter).
"""

from msgspec.structs import replace

from bartizan.api.directory import users
from bartizan.api.directory_objects import groups, service_principals
from bartizan.api.role_management import assignments, every_assigned, of_role, one_assignment
from bartizan.api.wire.derived import mentions
from bartizan.api.wire.find import both, edges
from bartizan.api.wire.made import paged
from bartizan.errors import InvalidQuery
from bartizan.extend import Can, Context, resource
from bartizan.odata.tree import And, Compare, Expr, In, Literal, Path
from bartizan.store.draft import inner
from bartizan.store.interface import Page, Query

transitive = resource(
    "roleManagement/directory/transitiveRoleAssignments",
    assignments.type,
    collection=assignments.collection,  # nothing is kept under this name
    can=Can.READ,
    read=assignments.read,
    throttle="directory",
)
of_role(transitive)
transitive.on_get(one_assignment)


@transitive.on_list
async def every(ctx: Context, query: Query) -> Page:
    principals, rest = _named(query.filter)
    holders = {each.lower() for each in principals}
    for principal in principals:
        for of in (users, groups, service_principals):
            found = await edges(ctx, principal, of.navigations["transitivememberof"])
            holders.update(id.lower() for _, id in found)
    rows = [row for row in await every_assigned(ctx) if str(inner(row)["principalId"]).lower() in holders]
    return paged(replace(query, filter=rest), rows)


def _named(filter: Expr | None) -> tuple[list[str], Expr | None]:
    """The principals that a filter names, and what else it says."""
    parts = filter.operands if isinstance(filter, And) else () if filter is None else (filter,)
    match [part for part in parts if mentions(part, "principalId")]:
        case [Compare("eq", Path(("principalId",)), Literal(str() as value))]:
            principals = [value]
        case [In(Path(("principalId",)), values)]:
            principals = [str(each.value) for each in values]
        case _:
            raise InvalidQuery("Name whose roles are meant: $filter=principalId eq 'id', with `and` before more.")
    return principals, both(*(part for part in parts if not mentions(part, "principalId")))
