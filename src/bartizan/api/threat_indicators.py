"""Threat indicators that clients submit: kept with every property they send, seen only by the application that did.

Source: Microsoft Graph beta, resource tiIndicator.
"""

from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import Any
from uuid import uuid4

from msgspec.structs import replace

from bartizan.api.wire.note import note
from bartizan.api.wire.request import encode
from bartizan.detect.marks import ENTITIES, MARKS, OWNER, marks_of
from bartizan.errors import BadRequest, BartizanError, NotFound
from bartizan.extend import Answer, Can, Context, collection, resource
from bartizan.model.times import instant
from bartizan.odata.tree import And, Compare, Expr, Literal, Path
from bartizan.store.draft import OWN, draft, inner
from bartizan.store.interface import Column, Tx

MOST_IN_A_CALL = 100  # documented for submit, update and delete
DESCRIPTION_CHARACTERS = 1_000  # documented as 100, which the documentation's own example exceeds by one
_MOST_OF_ONE = 1_000  # indicators that share one externalId, deleted in one transaction
_ENDPOINT_PRODUCTS = ("microsoft defender atp", "windows defender atp", "microsoft defender for endpoint")
_THREATS = "Botnet C2 CryptoMining Darknet DDoS MaliciousUrl Malware Phishing Proxy PUA WatchList".split()
_ENDPOINT_OBSERVABLES = "domainName url networkDestinationIPv4 networkDestinationIPv6 fileHashValue".split()
_ADDRESSES = (
    "networkIPv4 networkIPv6 networkDestinationIPv4 networkDestinationIPv6 networkSourceIPv4 networkSourceIPv6 "
    "emailSourceIpAddress"
).split()
_RANGES = "networkCidrBlock networkDestinationCidrBlock networkSourceCidrBlock".split()
_OBSERVABLES = [
    *_ADDRESSES,
    *_RANGES,
    *(
        "domainName url userAgent emailRecipient emailSenderAddress emailSenderName emailSourceDomain emailSubject "
        "emailXMailer fileHashValue fileMutexName fileName filePath networkDestinationAsn networkDestinationPort "
        "networkPort networkSourceAsn networkSourcePort networkProtocol fileCompileDateTime filePacker fileSize "
        "fileType"
    ).split(),
]
EDITABLE = (
    "action activityGroupNames additionalInformation confidence description diamondModel expirationDateTime externalId "
    "isActive killChain knownFalsePositives lastReportedDateTime malwareFamilyNames passiveOnly severity tags tlpLevel"
)


def check(inner: dict[str, Any]) -> None:
    """BadRequest that says what an indicator lacks or has wrong."""
    product = inner.get("targetProduct")
    endpoint = str(product).lower() in _ENDPOINT_PRODUCTS
    # documented as needing an action; the documentation's example of submitTiIndicators has none, and is answered null
    more = ("action",) if endpoint else ("description", "threatType", "tlpLevel")
    missing = [name for name in ("expirationDateTime", "targetProduct", *more) if not inner.get(name)]
    if missing:
        raise BadRequest(f"an indicator needs {', '.join(missing)}")
    observables = _ENDPOINT_OBSERVABLES if endpoint else _OBSERVABLES
    if not any(inner.get(name) not in (None, "") for name in observables):
        raise BadRequest(f"an indicator needs at least one observable, such as {', '.join(observables[:6])}")
    threat = inner.get("threatType")
    if threat and threat not in _THREATS:
        raise BadRequest(f"threatType {threat!r} is none of {', '.join(_THREATS)}")
    if len(inner.get("description") or "") > DESCRIPTION_CHARACTERS:
        raise BadRequest(f"description has more than {DESCRIPTION_CHARACTERS} characters")
    for name, lowest, highest in (("confidence", 0, 100), ("severity", 0, 5)):
        value = inner.get(name)
        if value is not None and not lowest <= value <= highest:
            raise BadRequest(f"{name} is {value}; it goes from {lowest} to {highest}")
    _check_network(inner)
    if inner.get("fileHashValue") and not inner.get("fileHashType"):
        raise BadRequest("fileHashValue needs fileHashType")


def _check_network(inner: dict[str, Any]) -> None:
    for names, read in ((_ADDRESSES, ip_address), (_RANGES, lambda text: ip_network(text, strict=False))):
        for name in names:
            value = inner.get(name)
            try:
                if value:
                    read(value)
            except ValueError as error:
                raise BadRequest(f"{name}: {error}") from None


def complete(ctx: Context, inner: dict[str, Any]) -> dict[str, Any]:
    """The indicator as it is stored: spelling of threatType, defaults, stamps."""
    threat = {name.lower(): name for name in _THREATS}.get(str(inner.get("threatType")).lower())
    made = {
        "isActive": True,
        "passiveOnly": False,
        "severity": 3,
        **{name: value for name, value in inner.items() if value is not None},
        **({"threatType": threat} if threat else {}),
        "azureTenantId": ctx.caller.tenant,
        "ingestedDateTime": instant(ctx.clock()),
    }
    check(made)
    return made


# ---------------------------------------------------------------- the set

_SCOPES = "ThreatIndicators.ReadWrite.OwnedBy"

_indicators = collection(
    "tiIndicators",
    "microsoft.graph.tiIndicator",
    columns=(
        "action threatType expirationDateTime isActive externalId targetProduct tlpLevel domainName url fileHashValue "
        "networkIPv4 networkDestinationIPv4 emailSenderAddress severity confidence"
    ),
    order="ingestedDateTime desc",
    entities={
        "domainName": "domain",
        "url": "url",
        "fileHashValue": "hash",
        "emailSenderAddress": "mailbox",
        **dict.fromkeys(_ADDRESSES, "address"),
        **ENTITIES,
    },
    versions=("beta",),
)


def _own(ctx: Context) -> Expr:
    return Compare("eq", Path((OWNER,), kind="text"), Literal(ctx.caller.app, "text"))


indicators = resource(
    "security/tiIndicators",
    "microsoft.graph.tiIndicator",
    collection=replace(_indicators, columns=(*_indicators.columns, Column(OWNER))),
    can=Can.READ | Can.CREATE | Can.PATCH | Can.DELETE,
    read=_SCOPES,
    write=_SCOPES,
    create=_SCOPES,
    extra=True,
    patch=f"{EDITABLE} targetProduct",
    patch_status=204,
    rows=_own,
    versions=("beta",),
    throttle="tiIndicator",
)


@indicators.prepare
def new_indicator(ctx: Context, inner: dict[str, Any]) -> dict[str, Any]:
    """Its id is ours: a client's could belong to another's indicator."""
    made = complete(ctx, inner)
    return {**made, "id": str(uuid4()), OWNER: ctx.caller.app, MARKS: marks_of(made)}


@indicators.merge
def change_indicator(ctx: Context, before: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    after = {**before, **{name: value for name, value in given.items() if not name.startswith(OWN)}}
    check(after)
    return after


# ---------------------------------------------------------------- many at once

_SOME = {"value": "Collection(microsoft.graph.tiIndicator)!"}
_TEXTS = {"value": "Collection(Edm.String)!"}


def _bounded(items: list[Any]) -> list[Any]:
    if not 0 < len(items) <= MOST_IN_A_CALL:
        raise BadRequest(f"value: expected 1 to {MOST_IN_A_CALL} items; got {len(items)}.")
    return items


def _failed(problem: BartizanError, item: Any) -> bytes:
    """A resultInfo, with the item's own marks so that the sender knows which it was."""
    result = {"code": problem.status, "message": problem.message, "subcode": 0, "Error": problem.message}
    known = {"id": item} if isinstance(item, str) else {key: item.get(key) for key in ("id", "externalId")}
    return encode({**{key: value for key, value in known.items() if value}, **result})


async def _each(ctx: Context, items: list[Any], step: Callable[[Tx, Any], list[str]], activity: str) -> Answer:
    """Every item for itself, in one transaction: 200, or 206 with a resultInfo for each that could not be done."""

    def work(tx: Tx) -> tuple[list[bytes], bool]:
        bodies: list[bytes] = []
        done: list[str] = []
        whole = True
        for item in items:
            try:
                ids = step(tx, item)
            except BartizanError as problem:
                whole = False
                bodies.append(_failed(problem, item))
                continue
            done += ids
            rows = [row for row in (tx.get(indicators.collection.name, id) for id in ids) if row is not None]
            bodies += [row.wire("beta") for row in rows] or [encode({"code": 0, "message": "success", "subcode": 0})]
        if done:
            note(ctx, tx, indicators, done, activity=activity)
        return bodies, whole

    bodies, whole = await ctx.store.write(work, actor=ctx.caller.actor)
    return Answer(200 if whole else 206, bodies)


def _mine(ctx: Context, tx: Tx, id: str) -> dict[str, Any]:
    row = tx.get(indicators.collection.name, id)
    known = inner(row) if row is not None else {}
    if known.get(OWNER) != ctx.caller.app:
        raise NotFound(f"There is no indicator '{id[:100]}'.")
    return known


@indicators.action("submitTiIndicators", on="set", parameters=_SOME, returns="Collection(microsoft.graph.tiIndicator)")
async def submit(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
    def step(tx: Tx, item: dict[str, Any]) -> list[str]:
        made = new_indicator(ctx, item)
        tx.put(draft(indicators.collection, made, made["id"]))
        return [made["id"]]

    return await _each(ctx, _bounded(given["value"]), step, "Submit indicators")


@indicators.action("updateTiIndicators", on="set", parameters=_SOME, returns="Collection(microsoft.graph.tiIndicator)")
async def update(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
    allowed = indicators.patch | {"id"}

    def step(tx: Tx, item: dict[str, Any]) -> list[str]:
        missing = [name for name in ("id", "expirationDateTime", "targetProduct") if not item.get(name)]
        if missing:
            raise BadRequest(f"an update needs {', '.join(missing)}")
        before = _mine(ctx, tx, item["id"])
        fixed = sorted(key for key in item if key not in allowed and not key.startswith("@"))
        if fixed:
            raise BadRequest(f"cannot change {', '.join(fixed)}", code="propertyNotUpdateable")
        after = change_indicator(ctx, before, {key: value for key, value in item.items() if key != "id"})
        changed = {key: (before.get(key), value) for key, value in after.items() if before.get(key) != value}
        if changed:
            tx.put(draft(indicators.collection, after, item["id"]), changed=changed)
        return [item["id"]]

    return await _each(ctx, _bounded(given["value"]), step, "Update indicators")


@indicators.action("deleteTiIndicators", on="set", parameters=_TEXTS, returns="Collection(microsoft.graph.resultInfo)")
async def delete(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
    def step(tx: Tx, item: str) -> list[str]:
        _mine(ctx, tx, item)
        tx.delete(indicators.collection.name, item)
        return [item]

    return await _each(ctx, _bounded(given["value"]), step, "Delete indicators")


@indicators.action(
    "deleteTiIndicatorsByExternalId", on="set", parameters=_TEXTS, returns="Collection(microsoft.graph.resultInfo)"
)
async def delete_by_external_id(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
    def step(tx: Tx, item: str) -> list[str]:
        of = Compare("eq", Path(("externalId",), kind="text"), Literal(item, "text"))
        found = tx.find("tiIndicators", And((_own(ctx), of)), limit=_MOST_OF_ONE + 1)
        if not found:
            raise NotFound(f"There is no indicator with externalId '{item[:100]}'.")
        if len(found) > _MOST_OF_ONE:
            raise BadRequest(f"More than {_MOST_OF_ONE} indicators have the externalId; delete them by id.")
        for row in found:
            tx.delete("tiIndicators", row.id)
        return [row.id for row in found]

    return await _each(ctx, _bounded(given["value"]), step, "Delete indicators")
