"""What a request changed, as an entry of directoryAudits in the transaction that changes it."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from bartizan.api.wire.request import encode
from bartizan.auth import audit
from bartizan.extend import Context, Resource
from bartizan.store.interface import Tx

Operation = Literal["Add", "Update", "Delete", "Assign", "Unassign"]
MAX_TARGETS = 100  # named in one entry; their number stands beside them

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
    short = resource.type.rpartition(".")[2]
    modified = {name: (_text(old), _text(new)) for name, (old, new) in (changed or {}).items()}
    audit.record(
        tx,
        actor=ctx.caller,
        activity=activity or f"{operation} {short}",
        category=_CATEGORIES.get(resource.path.partition("/")[0].lower(), "Directory"),
        operation=operation,
        reason=reason,
        targets=[audit.Target(short, id, modified=modified) for id in ids[:MAX_TARGETS]],
        correlation_id=ctx.request_id,
        address=ctx.ip,
        details={"objects": str(len(ids))} if len(ids) > MAX_TARGETS else None,
    )


def _text(value: Any) -> str | None:
    return None if value is None else encode(value).decode()
