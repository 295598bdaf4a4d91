"""Requests for directory roles and for membership of groups, under Privileged Identity Management: who asked for what,
why, and what became of it.

They are records: a directory tells them, with their id and status, when they have been decided. Nothing here grants a
role, so a request that somebody makes to get one is not taken: 400, and not a 201 that nothing follows.

Source: Microsoft Graph, resources unifiedRoleAssignmentScheduleRequest, unifiedRoleEligibilityScheduleRequest,
privilegedAccessGroupAssignmentScheduleRequest and privilegedAccessGroupEligibilityScheduleRequest.
"""

from typing import Any

from bartizan.api.role_management import (
    READ_ASSIGNED,
    READ_ELIGIBLE,
    active,
    eligible,
    in_groups,
    of_caller,
    of_group,
    of_role,
    read_in_groups,
)
from bartizan.errors import BadRequest
from bartizan.extend import Can, Context, Resource, collection, never, not_yet, resource, unserved

_INGEST = "Bartizan.Ingest.All"
_NOBODY = not_yet("nothing carries out a request for a role or a group; told ones are kept")


def _requests(path: str, type: str, read: str, columns: str) -> Resource:
    last = path.rpartition("/")[2]
    name = last if last.startswith("role") else f"group{last[0].upper()}{last[1:]}"
    made = resource(
        path,
        f"microsoft.graph.{type}",
        collection=collection(
            name,
            f"microsoft.graph.{type}",
            columns=f"principalId {columns} action status targetScheduleId createdDateTime completedDateTime",
        ),
        can=Can.READ | Can.CREATE,
        read=read,
        create=_INGEST,
        throttle="directory",
        unserved={"PATCH": never("a request stays as it was made"), "DELETE": never("a request stays as it was made")},
    )

    @made.prepare
    def told(ctx: Context, given: dict[str, Any]) -> dict[str, Any]:
        if not given.get("id") or not given.get("status"):
            raise BadRequest(f"{_NOBODY.why}, with the id and the status that a directory gave them.")
        # Not `required=` of the set: who asks for a role is told first that nobody grants it.
        missing = [name for name in ("action", "principalId", columns.split()[0]) if not given.get(name)]
        if missing:
            raise BadRequest(f"{path} needs {', '.join(missing)}.")
        return given

    of_caller(made)
    unserved(f"{path}/{{}}/cancel", _NOBODY)
    return made


_PATH = "roleManagement/directory"
_COLUMNS = "roleDefinitionId directoryScopeId"
_ASSIGNED = _requests(
    f"{_PATH}/roleAssignmentScheduleRequests",
    "unifiedRoleAssignmentScheduleRequest",
    READ_ASSIGNED,
    _COLUMNS,
)
_ELIGIBLE = _requests(
    f"{_PATH}/roleEligibilityScheduleRequests",
    "unifiedRoleEligibilityScheduleRequest",
    READ_ELIGIBLE,
    _COLUMNS,
)
for _of, _schedule in ((_ASSIGNED, active), (_ELIGIBLE, eligible[0])):
    of_role(_of)
    _of.navigation("targetSchedule", _schedule, key="targetScheduleId", expand=True)
for _word in ("assignment", "eligibility"):
    _of = _requests(
        f"identityGovernance/privilegedAccess/group/{_word}ScheduleRequests",
        f"privilegedAccessGroup{_word[0].upper()}{_word[1:]}ScheduleRequest",
        read_in_groups(_word),
        "groupId accessId",
    )
    of_group(_of)
    _target = next(each for each in in_groups if each.path.endswith("/eligibilitySchedules"))
    _of.navigation("targetSchedule", _target, key="targetScheduleId", expand=True)
