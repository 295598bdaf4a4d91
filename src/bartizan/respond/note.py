"""What a request changed, as an entry of directoryAudits in the transaction that changes it."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from bartizan.auth import audit
from bartizan.extend import Context
from bartizan.store.interface import Tx

MAX_TARGETS = 100  # named in one entry; their number stands beside them


def note(
    ctx: Context,
    tx: Tx,
    ids: Sequence[str],
    *,
    kind: str,
    category: str,
    operation: str = "Update",
    activity: str | None = None,
    changed: Mapping[str, tuple[Any, Any]] | None = None,
    reason: str | None = None,
) -> None:
    """`kind` is what the ids name ("subscription"); `activity` is "Update subscription" where nothing else is said."""
    modified = {name: (_json(old), _json(new)) for name, (old, new) in (changed or {}).items()}
    audit.record(
        tx,
        actor=ctx.caller,
        activity=activity or f"{operation} {kind}",
        category=category,
        operation=operation,
        reason=reason,
        targets=[audit.Target(kind, id, modified=modified) for id in ids[:MAX_TARGETS]],
        correlation_id=ctx.request_id,
        address=ctx.ip,
        details={"objects": str(len(ids))} if len(ids) > MAX_TARGETS else None,
    )


def _json(value: Any) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()
