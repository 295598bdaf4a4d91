"""Hash-chained directoryAudits: who did what, written in the transaction that does it, and checked afterwards.

Each entry carries in `additionalDetails` its number in the tenant's chain (`chain.n`), the hash of the entry before
(`chain.prev`) and its own (`chain.hash`): SHA-256 over the hash before, the number and the entry's canonical JSON.
The head of the
chain is a value of the tenant, so a tail that was cut off is missed too.

Source: Schneier and Kelsey, "Secure audit logs to support computer forensics" (1999); directoryAudit in Microsoft
Graph.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal
from uuid import uuid4

import msgspec
from msgspec import Struct

from bartizan.auth.caller import Caller
from bartizan.store import Collection, Column, Query, Stored, TenantStore, Tx
from bartizan.store.draft import draft

Result = Literal["success", "failure", "timeout"]

# The api declares the set and hands its own declaration over with `declare`, so that the columns agree.
_DECLARED = Collection(
    "directoryAudits",
    type="microsoft.graph.directoryAudit",
    columns=(Column("activityDateTime", "instant"),),
    order=(("activityDateTime", True),),
)

_HEAD = "audit.head"
_START = "0" * 64
_MAX_TEXT_CHARS = 1024  # of one value that comes from outside
_MAX_PROBLEMS = 100
_PAGE_ROWS = 500


def declare(collection: Collection) -> None:
    """Makes `collection` the set that `record` writes to; called once, where directoryAudits is declared as a
    resource."""
    global _DECLARED
    _DECLARED = collection


def declared() -> Collection:
    return _DECLARED


class Actor(Struct, frozen=True):
    """Who did it, where there is no Caller: an operator at the command line, somebody at the sign-in page."""

    app: str | None = None
    app_name: str | None = None
    user: str | None = None
    upn: str | None = None
    name: str | None = None

    @property
    def actor(self) -> str:
        return self.upn or self.app or "unknown"


OPERATOR = Actor(app_name="bartizan command line", app="operator")


class Target(Struct, frozen=True):
    """What it was done to; `modified` is property -> (old, new), each as JSON text or None."""

    type: str  # "User", "Application", "Alert", "Tenant", ...
    id: str | None = None
    name: str | None = None
    upn: str | None = None
    modified: Mapping[str, tuple[str | None, str | None]] = {}


class _Head(Struct):
    n: int
    hash: str


def record(
    tx: Tx,
    *,
    actor: Caller | Actor,
    activity: str,
    category: str,
    operation: str = "Update",
    result: Result = "success",
    reason: str | None = None,
    targets: Iterable[Target] = (),
    correlation_id: str | None = None,
    address: str | None = None,
    details: Mapping[str, str] | None = None,
) -> str:
    """Adds an entry to the chain of the transaction's tenant; its id. `operation` is Add, Update, Delete, Assign,
    ..."""
    known = tx.value(_HEAD)
    head = msgspec.json.decode(known, type=_Head) if known else _Head(0, _START)
    n = head.n + 1
    id = f"Directory_{uuid4()}_{n}"
    extra: list[dict[str, Any]] = [{"key": key, "value": _cut(value)} for key, value in (details or {}).items()]
    if any(key.startswith("chain.") for key in details or ()):
        raise ValueError("details named chain.* are the chain's own")
    entry: dict[str, Any] = {
        "id": id,
        "activityDateTime": tx.now,
        "activityDisplayName": activity,
        "category": category,
        "correlationId": correlation_id,
        "initiatedBy": _initiator(actor, address),
        "loggedByService": "Bartizan",
        "operationType": operation,
        "result": result,
        "resultReason": _cut(reason),
        "targetResources": [_target(target) for target in targets],
        "additionalDetails": extra,
    }
    digest = _hash(head.hash, n, entry)
    extra += [
        {"key": "chain.n", "value": str(n)},
        {"key": "chain.prev", "value": head.hash},
        {"key": "chain.hash", "value": digest},
    ]
    tx.put(draft(_DECLARED, entry, id))
    tx.set_value(_HEAD, msgspec.json.encode(_Head(n, digest)))
    return id


def _cut(text: str | None) -> str | None:
    """Text that can be stored on every engine; what is longer ends in a mark."""
    if text is None:
        return None
    text = text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
    return text if len(text) <= _MAX_TEXT_CHARS else text[: _MAX_TEXT_CHARS - 1] + "…"


def _initiator(actor: Caller | Actor, address: str | None) -> dict[str, Any]:
    app: dict[str, Any] = {"appId": _cut(actor.app), "displayName": _cut(actor.app_name)}
    if actor.user is None and actor.upn is None:
        return {"app": app, "user": {"ipAddress": address} if address else None}
    user = {
        "id": actor.user,
        "userPrincipalName": _cut(actor.upn),
        "displayName": _cut(actor.name),
        "ipAddress": address,
    }
    return {"app": app if actor.app else None, "user": user}


def _target(target: Target) -> dict[str, Any]:
    return {
        "id": _cut(target.id),
        "displayName": _cut(target.name),
        "type": target.type,
        "userPrincipalName": _cut(target.upn),
        "modifiedProperties": [
            {"displayName": name, "oldValue": _cut(old), "newValue": _cut(new)}
            for name, (old, new) in target.modified.items()
        ],
    }


# ---------------------------------------------------------------- the chain

_encode_sorted = msgspec.json.Encoder(order="deterministic").encode


def _hash(before: str, n: int, entry: Mapping[str, Any]) -> str:
    content = _encode_sorted(_bare({key: value for key, value in entry.items() if key != "additionalDetails"}))
    extra = _encode_sorted(
        _bare([d for d in entry.get("additionalDetails") or () if not str(d.get("key")).startswith("chain.")])
    )
    return hashlib.sha256(b"%s|%d|%s|%s" % (before.encode(), n, content, extra)).hexdigest()


def _bare(value: Any) -> Any:
    """The same without what rendering adds: marks, nulls, empty collections and objects."""
    if isinstance(value, dict):
        bare = {key: _bare(item) for key, item in value.items() if item is not None and not key.startswith("@")}
        return {key: item for key, item in bare.items() if item not in ([], {})}
    if isinstance(value, list):
        return [_bare(item) for item in value]
    return value


class Problem(Struct, frozen=True):
    """`kind`: changed, missing, inserted, duplicate, broken (does not follow the one before), moved, truncated."""

    kind: str
    n: int
    id: str | None
    text: str


class Report(Struct, frozen=True):
    """What `verify` found. `problems` holds the first hundred; `ok` counts all."""

    tenant: str
    entries: int
    head: int
    ok: bool
    problems: list[Problem]


class _Check:
    """Takes the entries, newest first; memory grows by a bit for each and by those whose neighbour was not seen yet."""

    def __init__(self, limit: int) -> None:
        self.entries = 0
        self.found = 0
        self.problems: list[Problem] = []
        self.limit = limit
        self.highest = 0
        self._time = "~"  # of the entry before; the newest comes first
        self._seen = bytearray(limit // 8 + 1)
        self._hashes: dict[int, str] = {0: _START}  # of n, until n + 1 came
        self._before: dict[int, tuple[str, str]] = {}  # what n names as its predecessor's, until n - 1 came

    def problem(self, kind: str, n: int, id: str | None, text: str) -> None:
        self.found += 1
        if len(self.problems) < _MAX_PROBLEMS:
            self.problems.append(Problem(kind, n, id, text))

    def take(self, row: Stored) -> None:
        self.entries += 1
        try:
            entry = msgspec.json.decode(row.wire("beta"), type=dict[str, Any])
            other = entry if row.beta is None else msgspec.json.decode(row.doc, type=dict[str, Any])
        except msgspec.DecodeError:
            return self.problem("changed", 0, row.id, "the content is not JSON")
        chain = {d.get("key"): str(d.get("value")) for d in entry.get("additionalDetails") or () if isinstance(d, dict)}
        number, before, digest = chain.get("chain.n", ""), chain.get("chain.prev", ""), chain.get("chain.hash", "")
        if not re.fullmatch(r"[1-9][0-9]{0,15}", number):
            return self.problem("inserted", 0, row.id, "the entry is not part of the chain")
        n = int(number)
        if n > self.limit:
            return self.problem("inserted", n, row.id, f"the chain ends at {self.limit}")
        if self._seen[n // 8] >> (n % 8) & 1:
            return self.problem("duplicate", n, row.id, "the number is there twice")
        self._seen[n // 8] |= 1 << (n % 8)
        self.highest = max(self.highest, n)
        if entry.get("id") != row.id or _hash(before, n, entry) != digest:
            self.problem("changed", n, row.id, "the content does not have the hash that was recorded")
        elif other is not entry and _bare(other) != _bare(entry):
            self.problem("changed", n, row.id, "the faces of the two versions differ")
        elif str(entry.get("activityDateTime")) > self._time:
            self.problem("moved", n, row.id, "it is listed before an entry that is later")
        self._time = str(entry.get("activityDateTime"))
        self._link(n, row.id, before, digest)
        return None

    def _link(self, n: int, id: str, before: str, digest: str) -> None:
        if (own := self._hashes.pop(n - 1, None)) is not None:
            self._compare(n, id, before, own)
        else:
            self._before[n] = (before, id)
        if (follower := self._before.pop(n + 1, None)) is not None:
            self._compare(n + 1, follower[1], follower[0], digest)
        else:
            self._hashes[n] = digest

    def _compare(self, n: int, id: str, named: str, own: str) -> None:
        if named != own:
            self.problem("broken", n, id, "the entry does not follow the one before it")

    def finish(self, head: _Head) -> None:
        missing = [n for n in range(1, head.n + 1) if not self._seen[n // 8] >> (n % 8) & 1]
        cut = 0
        while missing and missing[-1] == head.n - cut:
            missing.pop()
            cut += 1
        for n in missing[:_MAX_PROBLEMS]:
            self.problem("missing", n, None, "the entry was removed")
        self.found += max(0, len(missing) - _MAX_PROBLEMS)
        if cut:
            self.problem("truncated", head.n - cut + 1, None, f"the last {cut} entries were removed")
        elif head.n and self._hashes.get(head.n, head.hash) != head.hash:
            self.problem("truncated", head.n, None, "the last entry is not the one that the head names")


async def verify(store: TenantStore) -> Report:
    """Reads a tenant's whole chain. Finds any entry that was changed, removed, inserted or put elsewhere, and a tail
    that was cut."""
    head = await _head(store)
    check = _Check(head.n + 100_000)  # entries that are added meanwhile
    after: tuple[str | int | float | bool | None, ...] | None = None
    more = True
    while more:
        page = await store.page(_DECLARED.name, Query(top=_PAGE_ROWS, after=after, version="beta"))
        for row in page.rows:
            check.take(row)
        after, more = page.last, page.more
    now = await _head(store)
    if check.highest > now.n:
        check.problem("inserted", check.highest, None, f"the head says that the chain ends at {now.n}")
    check.finish(head)
    return Report(store.tenant, check.entries, now.n, not check.found, check.problems)


async def _head(store: TenantStore) -> _Head:
    known = await store.value(_HEAD)
    return msgspec.json.decode(known, type=_Head) if known else _Head(0, _START)
