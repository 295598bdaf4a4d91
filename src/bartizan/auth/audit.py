"""Hash-chained directoryAudits: who did what, written in the transaction that does it, and checked afterwards.

Each entry carries in `additionalDetails` its number in the tenant's chain (`chain.n`), the hash of the entry before
(`chain.prev`) and its own (`chain.hash`): SHA-256 over the hash before, the number and the entry's canonical JSON.
Anybody can check those; `chain.mac`, an HMAC-SHA-256 over tenant, number and hash under a key of the installation
(derived from its master key, which is not in the database), only who has that key can make. The head of the chain is a
value of the tenant under the same key, so a tail that was cut off is missed too.

Entries without a good mac, from before there was a key or restored from another installation, count where an operator
has sealed the chain at or behind them (`seal`), which only the command line does.

Source: Schneier and Kelsey, "Secure audit logs to support computer forensics" (1999); RFC 2104 (HMAC); directoryAudit
in Microsoft Graph.
"""

import hashlib
import hmac
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from bartizan.auth.caller import Caller
from bartizan.errors import BadRequest, Conflict
from bartizan.store import ETAG, Collection, Column, Draft, Query, Stored, TenantStore, Tx
from bartizan.store.draft import column_values, found_entities

Result = Literal["success", "failure", "timeout"]

# The api declares the set and hands its own declaration over with `declare`, so that the columns agree.
AUDITS = "directoryAudits"
SIGN_IN = "Sign-in"  # the operation of whoever gets a token, a collector as well as a person
_DECLARED = Collection(
    AUDITS,
    type="microsoft.graph.directoryAudit",
    columns=(Column("activityDateTime", "instant"),),
    order=(("activityDateTime", True),),
)

_HEAD = "audit.head"
_SEAL = "audit.seal"  # up to where an operator vouches for entries that this installation's key did not sign
_START = "0" * 64
_SERVICE = "Bartizan"
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


_KEY: bytes | None = None


def sign_with(key: bytes | None) -> None:
    """Makes `key` (32 bytes) the one that entries of this process are signed with: it serves one installation. None:
    entries stay unsigned, and `verify` says so."""
    global _KEY
    _KEY = key


def _mac(key: bytes, what: str, tenant: str, n: int, digest: str) -> str:
    return hmac.digest(key, f"{what}|{tenant}|{n}|{digest}".encode(), "sha256").hex()


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


class _Head(Struct, omit_defaults=True):
    """Number and hash of an entry, and the mac over both: of the last one, or of the one that a seal is set at."""

    n: int
    hash: str
    mac: str = ""

    def good(self, key: bytes | None, what: str, tenant: str) -> bool:
        return key is not None and hmac.compare_digest(self.mac, _mac(key, what, tenant, self.n, self.hash))


def _signed(what: str, tenant: str, n: int, digest: str) -> _Head:
    return _Head(n, digest, "" if _KEY is None else _mac(_KEY, what, tenant, n, digest))


class _Modified(Struct, frozen=True, array_like=True):
    name: str | None
    old: str | None
    new: str | None


class _TargetFacts(Struct, frozen=True, array_like=True):
    type: str | None
    id: str | None
    name: str | None
    upn: str | None
    modified: list[_Modified]


class _Facts(Struct, frozen=True, array_like=True):
    """All that an entry says, in an order that stays: its JSON is what is hashed, and the faces are made from it."""

    id: str | None
    time: str | None
    activity: str | None
    category: str | None
    operation: str | None
    result: str | None
    reason: str | None
    correlation_id: str | None
    app: str | None
    app_name: str | None
    user: str | None
    upn: str | None
    name: str | None
    address: str | None
    targets: list[_TargetFacts]
    details: list[tuple[str | None, str | None]]


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
    if any(key.startswith("chain.") for key in details or ()):
        raise ValueError("details named chain.* are the chain's own")
    known = tx.value(_HEAD)
    head = msgspec.json.decode(known, type=_Head) if known else _Head(0, _START)
    n = head.n + 1
    facts = _Facts(
        id=f"Directory_{os.urandom(8).hex()}_{n}",
        time=tx.now,
        activity=_cut(activity),
        category=_cut(category),
        operation=_cut(operation),
        result=result,
        reason=_cut(reason),
        correlation_id=_cut(correlation_id),
        app=_cut(actor.app),
        app_name=_cut(actor.app_name),
        user=_cut(actor.user),
        upn=_cut(actor.upn),
        name=_cut(actor.name),
        address=_cut(address),
        targets=[_target(target) for target in targets],
        details=[(_cut(key), _cut(value)) for key, value in (details or {}).items()],
    )
    digest = _hash(head.hash, n, facts)
    tx.put(_draft(facts, n, head.hash, digest, "" if _KEY is None else _mac(_KEY, "entry", tx.tenant, n, digest)))
    tx.set_value(_HEAD, _encode(_signed("head", tx.tenant, n, digest)))
    return str(facts.id)


def _cut(text: str | None) -> str | None:
    """Text that can be stored on every engine; what is longer ends in a mark."""
    if text is None:
        return None
    if not text.isascii() or "\0" in text:
        text = text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
    return text if len(text) <= _MAX_TEXT_CHARS else text[: _MAX_TEXT_CHARS - 1] + "…"


def _target(target: Target) -> _TargetFacts:
    modified = [_Modified(_cut(name), _cut(old), _cut(new)) for name, (old, new) in target.modified.items()]
    return _TargetFacts(_cut(target.type), _cut(target.id), _cut(target.name), _cut(target.upn), modified)


# ---------------------------------------------------------------- the faces

_encode = msgspec.json.Encoder().encode


def _draft(facts: _Facts, n: int, before: str, digest: str, mac: str) -> Draft:
    """What `store.draft` would make, at a fifth of the cost: every change that anybody makes writes one of these."""
    details = [*facts.details, ("chain.n", str(n)), ("chain.prev", before), ("chain.hash", digest)]
    if mac:
        details.append(("chain.mac", mac))
    entry = _wire(facts, details)
    made = Draft(_DECLARED.name, str(facts.id), _encode(entry), _encode(_beta(entry)))
    made.columns = column_values(_DECLARED, entry)
    if _DECLARED.entities:
        made.entities = tuple(found_entities(_DECLARED, entry))
    return made


def _wire(facts: _Facts, details: Sequence[tuple[str | None, str | None]]) -> dict[str, Any]:
    """The v1.0 face: keys and their order as `edm.render` has them (a test compares)."""
    app = user = None
    if facts.app is not None or facts.app_name is not None:
        app = {
            "appId": facts.app,
            "displayName": facts.app_name,
            "servicePrincipalId": None,
            "servicePrincipalName": None,
        }
    if any(fact is not None for fact in (facts.user, facts.upn, facts.name, facts.address)):
        user = {
            "@odata.type": "#microsoft.graph.userIdentity",
            "displayName": facts.name,
            "id": facts.user,
            "ipAddress": facts.address,
            "userPrincipalName": facts.upn,
        }
    return {
        "@odata.etag": f'W/"{ETAG}"',
        "@odata.type": "#microsoft.graph.directoryAudit",
        "id": facts.id,
        "activityDateTime": facts.time,
        "activityDisplayName": facts.activity,
        "additionalDetails": [{"key": key, "value": value} for key, value in details],
        "category": facts.category,
        "correlationId": facts.correlation_id,
        "initiatedBy": {"app": app, "user": user},
        "loggedByService": _SERVICE,
        "operationType": facts.operation,
        "result": facts.result,
        "resultReason": facts.reason,
        "targetResources": [_target_wire(target) for target in facts.targets],
    }


def _target_wire(target: _TargetFacts) -> dict[str, Any]:
    return {
        "displayName": target.name,
        "groupType": None,
        "id": target.id,
        "modifiedProperties": [{"displayName": m.name, "newValue": m.new, "oldValue": m.old} for m in target.modified],
        "type": target.type,
        "userPrincipalName": target.upn,
    }


def _beta(entry: dict[str, Any]) -> dict[str, Any]:
    """The beta face of a v1.0 one."""
    who = entry["initiatedBy"]
    user = who["user"]
    if user is not None:
        home = {"homeTenantId": None, "homeTenantName": None}
        user = {**user, "@odata.type": "#microsoft.graph.auditUserIdentity", **home}
    face: dict[str, Any] = {}
    for key, value in entry.items():
        if key == "result":
            face["performedBy"] = None
        face[key] = value
    face["initiatedBy"] = {"app": who["app"], "linkableIdentifiers": None, "user": user}
    face["userAgent"] = None
    return face


def _facts(entry: Mapping[str, Any]) -> tuple[_Facts, dict[str, str]]:
    """Back from a face: the facts, and what the chain says. ValueError, TypeError, KeyError or AttributeError where
    it is none."""
    details = [(d.get("key"), d.get("value")) for d in entry["additionalDetails"]]
    chain = {key: value for key, value in details if str(key).startswith("chain.")}
    who = entry["initiatedBy"]
    app, user = who.get("app") or {}, who.get("user") or {}
    facts = _Facts(
        id=entry["id"],
        time=entry["activityDateTime"],
        activity=entry["activityDisplayName"],
        category=entry["category"],
        operation=entry["operationType"],
        result=entry["result"],
        reason=entry["resultReason"],
        correlation_id=entry["correlationId"],
        app=app.get("appId"),
        app_name=app.get("displayName"),
        user=user.get("id"),
        upn=user.get("userPrincipalName"),
        name=user.get("displayName"),
        address=user.get("ipAddress"),
        targets=[_target_facts(target) for target in entry["targetResources"]],
        details=[pair for pair in details if not str(pair[0]).startswith("chain.")],
    )
    return facts, chain


def _target_facts(target: Mapping[str, Any]) -> _TargetFacts:
    modified = [_Modified(m["displayName"], m["oldValue"], m["newValue"]) for m in target["modifiedProperties"]]
    return _TargetFacts(target["type"], target["id"], target["displayName"], target["userPrincipalName"], modified)


# ---------------------------------------------------------------- the chain


def _hash(before: str, n: int, facts: _Facts) -> str:
    return hashlib.sha256(b"%s|%d|%s" % (before.encode(), n, _encode(facts))).hexdigest()


def _bare(value: Any) -> Any:
    """The same without marks, nulls and empty collections, so that a later schema may add properties."""
    if isinstance(value, dict):
        bare = {key: _bare(item) for key, item in value.items() if item is not None and not key.startswith("@")}
        return {key: item for key, item in bare.items() if item not in ([], {})}
    if isinstance(value, list):
        return [_bare(item) for item in value]
    return value


class Problem(Struct, frozen=True):
    """`kind`: changed, missing, inserted, broken (does not follow the one before), moved, truncated, rewritten (another
    chain than an earlier report saw), forged (its mac is none of this installation's key), unsigned (it has none, and
    no seal covers it)."""

    kind: str
    n: int
    id: str | None
    text: str


class Report(Struct, frozen=True):
    """What `verify` found. `problems` holds the first hundred; `ok` counts all. `head` and `hash` are number and hash
    of the last entry: kept elsewhere, they show later that the chain is still the same. `sealed` is the number up to
    which entries count by an operator's seal and not by the key."""

    tenant: str
    entries: int
    head: int
    hash: str
    ok: bool
    problems: list[Problem]
    sealed: int = 0


class _Reports(Struct):
    tenants: list[Report]


def anchors(earlier: bytes) -> dict[str, tuple[int, str]]:
    """Tenant -> number and hash of the last entry, from what `audit verify` printed. BadRequest for anything else."""
    try:
        return {each.tenant: (each.head, each.hash) for each in msgspec.json.decode(earlier, type=_Reports).tenants}
    except msgspec.DecodeError as error:
        raise BadRequest(f"not what `audit verify` printed: {error}") from None


class _Check:
    """Takes the entries, newest first; memory grows by a bit for each and by those whose neighbour was not seen yet."""

    def __init__(self, tenant: str, limit: int, anchor: tuple[int, str], seal: _Head | None) -> None:
        self.tenant = tenant
        self.seal = seal or _Head(0, _START)
        self.entries = 0
        self.found = 0
        self.problems: list[Problem] = []
        self.limit = limit
        self.highest = 0
        self._time = "~"  # of the entry before; the newest comes first
        self._anchor = anchor
        self._seen = bytearray(limit // 8 + 1)
        self._unsigned: tuple[int, str] | None = None  # the first, which is met last
        self._unsigned_count = 0
        self._hashes: dict[int, str] = {0: _START}  # of n, until n + 1 came
        self._before: dict[int, tuple[str, str]] = {}  # what n names as its predecessor's, until n - 1 came

    def problem(self, kind: str, n: int, id: str | None, text: str) -> None:
        self.found += 1
        if len(self.problems) < _MAX_PROBLEMS:
            self.problems.append(Problem(kind, n, id, text))

    def take(self, row: Stored, other: Stored | None) -> None:
        """`row` holds the v1.0 face, `other` the beta one. An entry that another service wrote, and that was taken in
        as evidence, is no part of the chain."""
        try:
            entry = msgspec.json.decode(row.doc, type=dict[str, Any])
            if _foreign(entry):
                return None
            facts, chain = _facts(entry)
            beta = None if other is None or other.id != row.id else msgspec.json.decode(other.wire("beta"))
        except (ValueError, TypeError, KeyError, AttributeError):
            self.entries += 1
            return self.problem("changed", 0, row.id, "the content is no audit entry")
        self.entries += 1
        number, before, digest = (str(chain.get(f"chain.{name}", "")) for name in ("n", "prev", "hash"))
        if not re.fullmatch(r"[1-9][0-9]{0,15}", number) or facts.id != row.id:
            return self.problem("inserted", 0, row.id, "the entry is not part of the chain")
        n = int(number)
        if n > self.limit:
            return self.problem("inserted", n, row.id, f"the chain ends at {self.limit}")
        if self._seen[n // 8] >> (n % 8) & 1:
            return self.problem("inserted", n, row.id, "the number is there twice")
        self._seen[n // 8] |= 1 << (n % 8)
        self.highest = max(self.highest, n)
        whole = _wire(facts, [*facts.details, *chain.items()])
        if _hash(before, n, facts) != digest or _bare(whole) != _bare(entry):
            self.problem("changed", n, row.id, "the content does not have the hash that was recorded")
        elif _bare(beta) != _bare(entry):
            self.problem("changed", n, row.id, "the faces of the two versions differ")
        elif n == self._anchor[0] and digest != self._anchor[1]:
            self.problem("rewritten", n, row.id, "an earlier report saw another entry at this place")
        elif n == self.seal.n and digest != self.seal.hash:
            self.problem("rewritten", n, row.id, "the seal was set on another entry at this place")
        elif str(facts.time) > self._time:
            self.problem("moved", n, row.id, "it is listed before an entry that is later")
        self._sign(n, row.id, digest, chain.get("chain.mac"))
        self._time = str(facts.time)
        self._link(n, row.id, before, digest)
        return None

    def _sign(self, n: int, id: str, digest: str, mac: str | None) -> None:
        """Behind the seal every entry has the mac of this installation's key; up to it the chain alone holds them."""
        if n <= self.seal.n or _KEY is None:
            return
        if not mac:
            self._unsigned, self._unsigned_count = (n, id), self._unsigned_count + 1
        elif not hmac.compare_digest(mac.encode(), _mac(_KEY, "entry", self.tenant, n, digest).encode()):
            self.problem("forged", n, id, "its mac was not made with the key of this installation")

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
        if self._unsigned is not None:
            n, id = self._unsigned
            text = f"{self._unsigned_count} entries have no mac; `bartizan audit seal` takes those from before the key"
            self.problem("unsigned", n, id, text)
        if self.seal.n > head.n:
            self.problem("truncated", head.n + 1, None, f"a seal was set at {self.seal.n} entries")
        old = self._unsigned is not None and not head.mac  # from before the key, which is told of already
        if head.n > self.seal.n and _KEY is not None and not old and not head.good(_KEY, "head", self.tenant):
            self.problem("forged", head.n, None, "the head was not written with the key of this installation")
        if self._anchor[0] > head.n:
            self.problem("truncated", head.n + 1, None, f"an earlier report saw {self._anchor[0]} entries")
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


def _foreign(entry: Mapping[str, Any]) -> bool:
    """Neither this server's name nor a mark of its chain: both are what `record` always writes."""
    details = entry.get("additionalDetails") or []
    marked = any(str(detail.get("key")).startswith("chain.") for detail in details)
    return not marked and entry.get("loggedByService") not in (_SERVICE, None)


async def verify(store: TenantStore, anchor: tuple[int, str] | None = None) -> Report:
    """Reads a tenant's whole chain. Finds any entry that was changed, removed, inserted or put elsewhere, a tail that
    was cut, and a chain that was made anew without the key (`sign_with`); with number and hash of an entry that was
    seen before (`anchor`) also one that was put back as it had been earlier."""
    known = await store.value(_SEAL)
    seal = msgspec.json.decode(known, type=_Head) if known else None
    false = seal is not None and not seal.good(_KEY, "seal", store.tenant)
    report = await _verified(store, anchor, None if false else seal)
    if not false:
        return report
    problem = Problem("forged", 0, None, "the seal was not set with the key of this installation")
    return replace(report, ok=False, problems=[problem, *report.problems][:_MAX_PROBLEMS])


async def _verified(store: TenantStore, anchor: tuple[int, str] | None, seal: _Head | None) -> Report:
    head = await _head(store)
    limit = head.n + 100_000  # entries that are added meanwhile
    check = _Check(store.tenant, limit, anchor or (0, _START), seal)
    after: tuple[str | int | float | bool | None, ...] | None = None
    more = True
    while more:
        page = await store.page(_DECLARED.name, Query(top=_PAGE_ROWS, after=after))
        ids = tuple(row.id for row in page.rows)
        beta = await store.page(_DECLARED.name, Query(top=_PAGE_ROWS, ids=ids, version="beta")) if ids else page
        others = {row.id: row for row in beta.rows}
        for row in page.rows:
            check.take(row, others.get(row.id))
        after, more = page.last, page.more
    now = await _head(store)
    if check.highest > now.n:
        check.problem("inserted", check.highest, None, f"the head says that the chain ends at {now.n}")
    check.finish(head)
    return Report(store.tenant, check.entries, now.n, now.hash, not check.found, check.problems, check.seal.n)


async def seal(store: TenantStore, anchor: tuple[int, str] | None = None, *, actor: Actor = OPERATOR) -> Report:
    """Vouches for the chain as it is: its entries count from now on though they are unsigned or signed by another
    installation, and none of them can be changed unseen. The report is that of after. Conflict where the chain is
    broken otherwise, or no key is set."""
    if _KEY is None:
        raise Conflict("there is no key to seal with")
    head = await _head(store)
    before = await _verified(store, anchor, head)
    if not before.ok:
        raise Conflict(f"the chain of {store.tenant} is not whole: {before.problems[0].text}; it is not sealed")

    def work(tx: Tx) -> None:
        tx.set_value(_SEAL, _encode(_signed("seal", tx.tenant, head.n, head.hash)))
        record(
            tx,
            actor=actor,
            activity="Seal audit chain",
            category="AuditLogs",
            targets=[Target("Tenant", tx.tenant)],
            details={"sealed": f"{head.n} {head.hash}"},
        )

    await store.write(work, actor=actor.actor)
    return await verify(store, anchor)


async def _head(store: TenantStore) -> _Head:
    known = await store.value(_HEAD)
    return msgspec.json.decode(known, type=_Head) if known else _Head(0, _START)
