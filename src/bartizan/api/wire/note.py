"""What a request changed of a resource, as an entry of directoryAudits in the transaction that changes it."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from bartizan.extend import Context, Resource
from bartizan.respond import note as entry
from bartizan.store.interface import Tx

Operation = Literal["Add", "Update", "Delete", "Assign", "Unassign"]

_CATEGORIES = {
    "security": "Security",
    "identityprotection": "IdentityProtection",
    "identity": "Policy",
    "auditlogs": "SignIn",
}


def note(
    ctx: Context,
    tx: Tx,
    resource: Resource,
    ids: Sequence[str],
    *,
    operation: Operation = "Update",
    activity: str | None = None,
    changed: Mapping[str, tuple[Any, Any]] | None = None,
    reason: str | None = None,
) -> None:
    """Records that this request did `activity` ("Update alerts_v2" if not said) to the objects; call it in
    `work(tx)`, where they change.
    """
    entry.note(
        ctx,
        tx,
        ids,
        kind=resource.type.rpartition(".")[2],
        category=_CATEGORIES.get(resource.path.partition("/")[0].lower(), "Directory"),
        operation=operation,
        activity=activity,
        changed=changed,
        reason=reason,
    )
