"""Microsoft Defender for Endpoint, by its own API: alerts and their status both ways, machines, indicators.

Alerts are followed by `lastUpdateTime` with `follow`'s rule. The API orders nothing, and its offsets would pass over
what changes meanwhile: a look walks windows of time that each fit on one page, halved where one does not, and the
cursor moves with each window that has been read whole.

Source: Microsoft Defender for Endpoint API, "List alerts", "Update alert", "Isolate machine", "Machine action resource
type", "Submit or update indicator", "OData queries"; Microsoft identity platform, "OAuth 2.0 client credentials".
"""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar

from msgspec import Meta, Raw, Struct

from bartizan.connectors.follow import Followed, instant_of, moved, overwritten, spoken
from bartizan.connectors.http import answered
from bartizan.connectors.oauth import Api, an_object, decoded, rows, segment, with_key, with_secret
from bartizan.extend.connectors import (
    LOCAL,
    Away,
    Batch,
    Connector,
    Done,
    Offer,
    Order,
    Outside,
    Pulled,
    Push,
    Pushed,
    Read,
    Rejected,
    Reply,
    Secret,
    Stream,
    Target,
)
from bartizan.model import times

MAX_WINDOWS = 5_000  # of one look; the next one goes on
MAX_PAGES = 100  # of a window that cannot be halved
MAX_READ = 1_000  # alerts of one federated read
KEPT = timedelta(days=180)  # for which the API keeps alerts
_SHORTEST = timedelta(seconds=1)
_SOURCE = "microsoft_defender_endpoint"

_STATUSES = {"new": "New", "inProgress": "InProgress", "resolved": "Resolved"}
_CLASSIFICATIONS = {
    "truePositive": "TruePositive",
    "falsePositive": "FalsePositive",
    "informationalExpectedActivity": "InformationalExpectedActivity",
    "unknown": "Unknown",
}
_DETERMINATIONS = {
    "multiStagedAttack": "MultiStagedAttack",
    "maliciousUserActivity": "MaliciousUserActivity",
    "compromisedAccount": "CompromisedUser",
    "malware": "Malware",
    "phishing": "Phishing",
    "unwantedSoftware": "UnwantedSoftware",
    "securityTesting": "SecurityTesting",
    "lineOfBusinessApplication": "LineOfBusinessApplication",
    "confirmedActivity": "ConfirmedActivity",
    "notMalicious": "NotMalicious",
    "notEnoughDataToValidate": "InsufficientData",
    "other": "Other",
    "unknown": "NotAvailable",
}
_WORDS: Mapping[str, Mapping[str, str]] = {
    "status": _STATUSES,
    "classification": _CLASSIFICATIONS,
    "determination": _DETERMINATIONS,
}


class _MachineAction(Struct, frozen=True):
    path: str  # behind /api/machines/{id}
    type: str  # of the machine action that it makes
    more: Mapping[str, str] = {}  # of the body beside the comment


_MACHINE_ACTIONS = {
    "isolateDevice": _MachineAction("isolate", "Isolate", {"IsolationType": "Full"}),
    "releaseDevice": _MachineAction("unisolate", "Unisolate"),
    "runAntivirusScan": _MachineAction("runAntiVirusScan", "RunAntiVirusScan", {"ScanType": "Quick"}),
    "restrictAppExecution": _MachineAction("restrictCodeExecution", "RestrictCodeExecution"),
    "removeAppRestriction": _MachineAction("unrestrictCodeExecution", "UnrestrictCodeExecution"),
    "collectInvestigationPackage": _MachineAction("collectInvestigationPackage", "CollectInvestigationPackage"),
    "quarantineFile": _MachineAction("StopAndQuarantineFile", "StopAndQuarantineFile"),
}
_CHOICES = {  # parameter -> members of the API
    "isolationType": ("IsolationType", ("Full", "Selective", "UnManagedDevice")),
    "scanType": ("ScanType", ("Quick", "Full")),
}
_BLOCKS: Mapping[str, Target] = {
    "blockFile": "file",
    "blockAddress": "address",
    "blockDomain": "domain",
    "blockUrl": "url",
}
_UNBLOCKS = {f"un{name}": kind for name, kind in _BLOCKS.items()}
_FILES = {32: "FileMd5", 40: "FileSha1", 64: "FileSha256"}
_OTHERS = {"address": "IpAddress", "domain": "DomainName", "url": "Url"}


class DefenderSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    tenant: Annotated[str, Meta(description="id or domain of the tenant", min_length=1, max_length=200)]
    client_id: Annotated[str, Meta(description="of the application", min_length=1, max_length=200)]
    client_secret: Annotated[Secret, Meta(description="of the application")] | None = None
    client_key: Annotated[Secret, Meta(description="instead: private key (RSA) and certificate, as PEM")] | None = None
    address: Annotated[str, Meta(description="of the API, one near you", pattern="^https?://", max_length=2_000)] = (
        "https://api.securitycenter.microsoft.com"
    )
    authority: Annotated[str, Meta(description="that gives tokens", pattern="^https?://", max_length=2_000)] = (
        "https://login.microsoftonline.com"
    )
    resource: Annotated[str, Meta(description="for which tokens are", min_length=1, max_length=2_000)] = (
        "https://api.securitycenter.microsoft.com"
    )
    since_days: Annotated[float, Meta(description="how far back the first look goes", ge=0, le=180)] = 30.0
    late_s: Annotated[int, Meta(description="how late an alert may show", ge=0, le=86_400)] = 600
    page_rows: Annotated[int, Meta(description="alerts of one page", ge=1, le=10_000)] = 1_000
    ca_file: Annotated[str, Meta(description="certificate authority of a proxy, as PEM", extra=LOCAL)] = ""
    verify: Annotated[bool, Meta(description="whether certificates are checked")] = True

    def __post_init__(self) -> None:
        if (self.client_secret is None) == (self.client_key is None):
            raise ValueError("give either client_secret or client_key")


class _Page(Struct):
    value: list[Raw]


class MicrosoftDefenderEndpoint(Connector):
    name: ClassVar[str] = "microsoft_defender_endpoint"
    vendor: ClassVar[str] = "Microsoft"
    product: ClassVar[str] = "Microsoft Defender for Endpoint"
    doc: ClassVar[str] = "Alerts of Microsoft Defender for Endpoint, actions on its machines, and its indicators."
    settings: ClassVar[type[Struct]] = DefenderSettings
    streams: ClassVar[Mapping[str, Stream]] = {"alerts": Stream("Alerts, each time that one changes.")}
    owns: ClassVar[tuple[tuple[str, str], ...]] = (("Microsoft", "Microsoft Defender for Endpoint"),)
    pushes: ClassVar[Mapping[Any, frozenset[str]]] = {"alert": frozenset({*_WORDS, "assignedTo", "comments"})}
    offers: ClassVar[Mapping[str, Offer]] = {
        "isolateDevice": Offer(
            "device", "Isolates the machine.", undo="releaseDevice", parameters={"isolationType": "Edm.String"}
        ),
        "releaseDevice": Offer("device", "Ends the isolation of the machine.", undo="isolateDevice"),
        "runAntivirusScan": Offer(
            "device", "Scans the machine with Microsoft Defender Antivirus.", parameters={"scanType": "Edm.String"}
        ),
        "restrictAppExecution": Offer("device", "Runs only what Microsoft has signed.", undo="removeAppRestriction"),
        "removeAppRestriction": Offer("device", "Runs every program again.", undo="restrictAppExecution"),
        "collectInvestigationPackage": Offer("device", "Collects an investigation package from the machine."),
        "quarantineFile": Offer(
            "file", "Stops a file (SHA-1) on one machine and deletes it.", parameters={"deviceId": "Edm.String!"}
        ),
        **{
            name: Offer(kind, f"An indicator blocks the {kind} on every machine.", undo=f"un{name}")
            for name, kind in _BLOCKS.items()
        },
        **{
            name: Offer(kind, f"Deletes the indicator that blocks the {kind}.", undo=name[2:])
            for name, kind in _UNBLOCKS.items()
        },
    }
    reads: ClassVar[bool] = True

    def __init__(self, settings: Any, outside: Outside) -> None:
        super().__init__(settings, outside)
        token_url = f"{settings.authority.rstrip('/')}/{segment(settings.tenant)}/oauth2/v2.0/token"
        asked = {"grant_type": "client_credentials", "scope": f"{settings.resource.rstrip('/')}/.default"}
        if settings.client_key is None:
            proof = with_secret(settings.client_id, settings.client_secret, **asked)
        else:
            proof = with_key(
                settings.client_id, settings.client_key, token_url, algorithm="PS256", certified=True, **asked
            )
        self._api = Api(outside, settings.address, proof, token_url=token_url)

    async def check(self) -> str:
        page, _ = await self._page("/api/alerts", {"$top": "1"})
        return f"{self._api.address} answers and shows {'an alert' if page.value else 'no alert yet'}"

    # ------------------------------------------------------------ pull

    async def pull(self, stream: str, cursor: str | None) -> AsyncIterator[Batch]:
        look = Followed(cursor, since_days=self.set.since_days, late_s=self.set.late_s)
        since = look.since
        width: timedelta | None = None  # up to now
        for _ in range(MAX_WINDOWS):
            until = None if width is None else _plus(since, width)
            page, reply = await self._window(since, until)
            now = times.instant(answered(reply.headers))
            width = width or max(times.to_datetime(now) - times.to_datetime(since), _SHORTEST)
            full = len(page) >= self.set.page_rows
            if full and width > _SHORTEST:
                width = max(width / 2, _SHORTEST)
                yield Batch(cursor=look.cursor(done=True))  # nothing new yet, and still there
                continue
            if full:
                page += await self._rest(since, until)
            records = []
            for raw in page:
                item = decoded(raw)
                if look.fresh(item.get("id"), item.get("lastUpdateTime"), reply):
                    records.append(Pulled(_SOURCE, bytes(raw)))
            yield Batch(cursor=look.cursor(done=True), records=records)
            if until is None or until > now:
                return
            since, width = until, width * 2

    async def _window(self, since: str, until: str | None, skip: int = 0) -> tuple[list[Raw], Reply]:
        """Without an end it goes up to now."""
        wanted = f"lastUpdateTime ge {since}" + (f" and lastUpdateTime lt {until}" if until else "")
        params = {"$filter": wanted, "$expand": "evidence", "$top": str(self.set.page_rows)}
        page, reply = await self._page("/api/alerts", params | ({"$skip": str(skip)} if skip else {}))
        return page.value, reply

    async def _rest(self, since: str, until: str | None) -> list[Raw]:
        """Of more alerts within one second than a page holds."""
        found: list[Raw] = []
        for number in range(1, MAX_PAGES):
            page, _ = await self._window(since, until, number * self.set.page_rows)
            found += page
            if len(page) < self.set.page_rows:
                return found
        raise Rejected(f"more than {MAX_PAGES} pages of alerts changed within one second: set page_rows higher")

    async def read(self, asked: Read) -> Sequence[Pulled]:
        if asked.id is not None:
            path = f"/api/alerts/{segment(asked.id)}"
            reply = await self._api.ask("GET", path, params={"$expand": "evidence"}, allow=(404,))
            return [Pulled(_SOURCE, reply.body.strip())] if reply.status == 200 else []
        return [Pulled(_SOURCE, bytes(raw)) for raw in await self._newest(asked)]

    async def _newest(self, asked: Read) -> list[Raw]:
        """By windows of the time at which alerts were made, back from the end: the API orders nothing."""
        top, width = min(asked.top, MAX_READ), timedelta(days=1)
        until = asked.until or times.instant(datetime.now(UTC) + _SHORTEST)
        begin = max(asked.since or "", times.instant(times.to_datetime(until) - KEPT))
        sign, found = "le", list[Raw]()
        for _ in range(MAX_WINDOWS):
            if len(found) >= top or until <= begin:
                break
            since = max(begin, _plus(until, -width))
            wanted = f"alertCreationTime ge {since} and alertCreationTime {sign} {until}"
            params = {"$filter": wanted, "$expand": "evidence", "$top": str(self.set.page_rows)}
            page, _ = await self._page("/api/alerts", params)
            if len(page.value) >= self.set.page_rows and width > _SHORTEST:
                width = max(width / 2, _SHORTEST)
                continue
            found += sorted(page.value, key=lambda raw: instant_of(decoded(raw).get("alertCreationTime")), reverse=True)
            until, sign, width = since, "lt", width * 2
        return found[:top]

    # ------------------------------------------------------------ write back

    async def push(self, change: Push) -> Pushed:
        if change.subject != "alert":
            raise Rejected(f"Defender for Endpoint takes no changes of a {change.subject}")
        path = f"/api/alerts/{segment(change.id)}"
        there = await self._api.get(path)
        foreign = moved(there.get("lastUpdateTime"), change.known)
        wanted: dict[str, Any] = {}
        left_out: list[str] = []
        for word, value in change.words.items():
            member = _WORDS[word].get(str(value or "unknown")) if word in _WORDS else None
            if member is not None:
                wanted[word] = member
            elif word == "assignedTo":
                wanted[word] = value or ""
            elif word != "comments":
                left_out.append(word)
        body = {word: value for word, value in wanted.items() if not _same(there.get(word), value)}
        comments = _new_comments(change, there)
        for number in range(max(len(comments), 1)):
            part = (body if number == 0 else {}) | ({"comment": comments[number]} if comments else {})
            if part:
                await self._api.ask("PATCH", path, json=part)
        before = {word: spoken(_WORDS.get(word, {}), there.get(word)) for word in body}
        lost = overwritten(before, change.words) if foreign else {}
        return Pushed(
            overwrote=lost or None, last_writer=_last_writer(there) if lost else None, left_out=tuple(left_out)
        )

    # ------------------------------------------------------------ act

    async def act(self, order: Order) -> Done:
        if order.name in _MACHINE_ACTIONS:
            return await self._on_machine(order, _MACHINE_ACTIONS[order.name])
        if order.name in _BLOCKS:
            return await self._block(order, _indicator_type(_BLOCKS[order.name], order.target))
        if order.name in _UNBLOCKS:
            return await self._unblock(order, _indicator_type(_UNBLOCKS[order.name], order.target))
        raise Rejected(f"Defender for Endpoint has no action {order.name}")

    async def follow(self, handle: str) -> Done:
        return _stands(await self._api.get(f"/api/machineactions/{segment(handle)}"))

    async def cancel(self, handle: str) -> Done:
        path = f"/api/machineactions/{segment(handle)}/cancel"
        reply = await self._api.ask("POST", path, json={"Comment": "cancelled by who had ordered it"})
        return _stands({"id": handle, **an_object(reply, path)})

    async def _on_machine(self, order: Order, action: _MachineAction) -> Done:
        quarantines = order.name == "quarantineFile"
        if quarantines and len(order.target) != 40:
            raise Rejected("Defender for Endpoint stops files by SHA-1")
        machine = await self._machine(str(order.parameters["deviceId"]) if quarantines else order.target)
        known = await self._ordered(machine, action, order.key)
        if known is not None:
            return _stands(known)
        body: dict[str, Any] = {**action.more, "Comment": _comment(order)} | (
            {"Sha1": order.target} if quarantines else {}
        )
        for name, (of, members) in _CHOICES.items():
            if of in action.more and order.parameters.get(name) is not None:
                given = str(order.parameters[name]).lower()
                body[of] = next((each for each in members if each.lower() == given), None)
                if body[of] is None:
                    raise Rejected(f"{name} is one of {', '.join(members)}")
        path = f"/api/machines/{machine}/{action.path}"
        return _stands(an_object(await self._api.ask("POST", path, json=body), path))

    async def _ordered(self, machine: str, action: _MachineAction, key: str) -> dict[str, Any] | None:
        """The machine action that this order made before, by its key in the comment."""
        wanted = f"machineId eq '{machine}' and type eq '{action.type}'"
        page, _ = await self._page("/api/machineactions", {"$filter": wanted, "$top": "100"})
        found = (decoded(raw) for raw in page.value)
        return next((each for each in found if key in str(each.get("requestorComment") or "")), None)

    async def _machine(self, target: str) -> str:
        """Id of a machine, by itself or by the DNS name (whole or its first part) that one active machine has."""
        if re.fullmatch(r"[0-9a-fA-F]{40}", target):
            return target.lower()
        name = target.lower()
        if not re.fullmatch(r"[a-z0-9._-]{1,255}", name):
            raise Rejected(f"{target[:100]!r} is no name of a machine")
        ways = [f"computerDnsName eq '{name}'", f"startswith(computerDnsName,'{name}.')"]
        for wanted in ways if "." not in name else ways[:1]:
            page, _ = await self._page("/api/machines", {"$filter": wanted, "$top": "10"})
            found = [decoded(raw) for raw in page.value]
            active = [each for each in found if each.get("healthStatus") == "Active"] or found
            if len(active) > 1:
                ids = ", ".join(str(each.get("id")) for each in active)
                raise Rejected(f"several machines are called {name}: give the id, one of {ids}")
            if active:
                return str(active[0]["id"])
        raise Rejected(f"Defender for Endpoint knows no machine {target[:200]}", status=404)

    async def _block(self, order: Order, kind: str) -> Done:
        action = "BlockAndRemediate" if kind.startswith("File") else "Block"
        for each in await self._indicators(kind, order.target):
            if str(each.get("action")).startswith("Block"):
                return Done("completed", f"{order.target} was blocked already")
            # The API keeps one indicator of a value and would replace it.
            raise Rejected(f"an indicator of {order.target} says {each.get('action')}: decide in Defender first")
        body = {
            "indicatorValue": order.target,
            "indicatorType": kind,
            "action": action,
            "severity": "High",
            "title": f"Blocked by {order.by}"[:200],
            "description": _comment(order),
            "generateAlert": True,
        }
        await self._api.ask("POST", "/api/indicators", json=body)
        return Done("completed", f"{order.target}: {action}")

    async def _unblock(self, order: Order, kind: str) -> Done:
        blocking = [
            str(each["id"])
            for each in await self._indicators(kind, order.target)
            if str(each.get("action")).startswith("Block")
        ]
        for id in blocking:
            await self._api.ask("DELETE", f"/api/indicators/{segment(id)}", allow=(404,))
        return Done("completed", f"{len(blocking)} indicators of {order.target} deleted")

    async def _indicators(self, kind: str, value: str) -> list[dict[str, Any]]:
        quoted = value.replace("'", "''")
        wanted = f"indicatorValue eq '{quoted}' and indicatorType eq '{kind}'"
        page, _ = await self._page("/api/indicators", {"$filter": wanted, "$top": "100"})
        return [decoded(raw) for raw in page.value]

    async def _page(self, path: str, params: Mapping[str, str]) -> tuple[_Page, Reply]:
        reply = await self._api.ask("GET", path, params=params or None)
        return rows(reply, _Page, path), reply


# ---------------------------------------------------------------- words


def _plus(at: str, width: timedelta) -> str:
    return times.instant(times.to_datetime(at) + width)


def _same(there: Any, wanted: Any) -> bool:
    """Unset is what the API shows as null, Unknown or NotAvailable."""
    unset = ("", "unknown", "notavailable", "none")
    left, right = str(there or "").lower(), str(wanted or "").lower()
    return left == right or (left in unset and right in unset)


def _new_comments(change: Push, there: Mapping[str, Any]) -> list[str]:
    """Those that are not there yet, with the name of who wrote them: the API would show the application's."""
    known = {each.get("comment") for each in there.get("comments") or () if isinstance(each, dict)}
    texts = []
    for each in change.words.get("comments") or ():
        author = each.get("createdByDisplayName")
        texts.append(f"{author}: {each['comment']}" if author else str(each["comment"]))
    return [text for text in dict.fromkeys(texts) if text not in known]


def _last_writer(there: Mapping[str, Any]) -> str | None:
    """The API names who wrote comments, and no other hand."""
    comments = [each for each in there.get("comments") or () if isinstance(each, dict)]
    newest = max(comments, key=lambda each: instant_of(each.get("createdTime")), default={})
    who = newest.get("createdBy")
    return who if isinstance(who, str) and who else None


def _comment(order: Order) -> str:
    return f"{order.reason or order.name} ({order.by}; {order.key})"[:1_000]


def _indicator_type(kind: str, value: str) -> str:
    if kind != "file":
        return _OTHERS[kind]
    found = _FILES.get(len(value))
    if found is None:
        raise Rejected("a file is named by MD5, SHA-1 or SHA-256")
    return found


def _stands(action: Mapping[str, Any]) -> Done:
    """A machine action as an order."""
    status, id = str(action.get("status")), action.get("id")
    said = f"{action.get('type') or 'machine action'} {id}: {status}"
    if status in ("Pending", "InProgress"):
        if not isinstance(id, str):
            raise Away("a machine action without an id")
        return Done("running", said, id)
    return Done("completed" if status == "Succeeded" else "failed", said)
