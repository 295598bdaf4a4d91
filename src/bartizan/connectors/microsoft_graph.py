"""Microsoft Graph: alerts, incidents, risk, sign-ins, directory of a tenant of Microsoft's or of another Bartizan.

What changes there is pulled by the time of its last change, the directory by delta queries. What an analyst does here
is written back to alerts, incidents and risky users; accounts are disabled and sessions ended there.

Source: Microsoft Graph REST API v1.0, "Use delta query", "Paging", "Throttling guidance", resources alert (alerts_v2),
incident, riskDetection, riskyUser, signIn, user, group; Microsoft identity platform, "OAuth 2.0 client credentials".
"""

from collections.abc import AsyncIterator, Mapping
from hashlib import sha256
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct
from yarl import URL

from bartizan.connectors.follow import instant_of
from bartizan.connectors.microsoft_graph_wire import Wire, at_of, body_of
from bartizan.connectors.oauth import segment
from bartizan.extend.connectors import (
    LOCAL,
    Away,
    Batch,
    Connector,
    Done,
    Edge,
    Offer,
    Order,
    Outside,
    Pulled,
    Push,
    Pushed,
    Read,
    Rejected,
    Secret,
    Stream,
)
from bartizan.extend.sources import GraphObject, Said
from bartizan.model.times import to_datetime

MAX_PAGES = 2_000  # of one look; the next one goes on from its cursor
MAX_SEEN = 2_500  # marks in a cursor of 64 KB; a record whose mark is lost comes again, which changes nothing
MAX_READ = 1_000  # alerts of one federated read
SIGN_INS_LATE_S = 3_600  # sign-ins appear in the log up to an hour late
TRIES = 4  # of a PATCH that somebody else's changes keep overtaking

SignIns = Literal["interactiveUser", "nonInteractiveUser", "servicePrincipal", "managedIdentity"]


class GraphSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which tenant, and the application that reads it."""

    tenant: Annotated[str, Meta(description="Id or domain of the tenant there.", min_length=1)]
    client_id: Annotated[str, Meta(description="Client id of the application there.", min_length=1)]
    client_secret: Annotated[Secret, Meta(description="Secret of the application.")] | None = None
    client_key: (
        Annotated[Secret, Meta(description="Instead of a secret: private key (RSA) and certificate, as PEM.")] | None
    ) = None
    address: Annotated[str, Meta(description="Address of Microsoft Graph, or of another Bartizan.")] = (
        "https://graph.microsoft.com"
    )
    authority: Annotated[str, Meta(description="Address of its token authority.")] = "https://login.microsoftonline.com"
    scope: Annotated[str, Meta(description="Scope of the token; national clouds have one of their own.")] = (
        "https://graph.microsoft.com/.default"
    )
    since_days: Annotated[float, Meta(description="How many days back the first look reaches.", ge=0, le=3650)] = 30.0
    page_rows: Annotated[int, Meta(description="Rows of one page, where the set allows as many.", ge=1, le=999)] = 200
    late_s: Annotated[
        int, Meta(description="Seconds that each look reaches back, for changes that show late.", ge=0, le=86_400)
    ] = 120
    sign_ins: Annotated[
        tuple[SignIns, ...], Meta(description="Which sign-ins are pulled; other than interactive ones from beta.")
    ] = ("interactiveUser",)
    ca_file: Annotated[str, Meta(description="Further authorities that are trusted (PEM).", extra=LOCAL)] = ""
    verify: Annotated[bool, Meta(description="Whether certificates are checked.")] = True

    def __post_init__(self) -> None:
        if (self.client_secret is None) == (self.client_key is None):
            raise ValueError("give either client_secret or client_key")
        for name in ("address", "authority"):
            if not getattr(self, name).startswith(("https://", "http://")):
                raise ValueError(f"{name} is an http or https address")


class _Feed(Struct, frozen=True):
    """A set that is followed by a time of its objects."""

    path: str
    time: str
    source: str
    most: int  # rows of a page
    late_s: int = 0  # at least


class _Set(Struct, frozen=True):
    """A set of the directory."""

    type: str
    select: str
    links: Mapping[str, str] = {}  # navigation that comes along -> relation of the store


_FEEDS = {
    "alerts": _Feed("/v1.0/security/alerts_v2", "lastUpdateDateTime", "graph_security_alert_v2", 2_000),
    "incidents": _Feed("/v1.0/security/incidents", "lastUpdateDateTime", "graph_security_incident", 50),
    "riskDetections": _Feed(
        "/v1.0/identityProtection/riskDetections", "lastUpdatedDateTime", "entra_id_protection", 500
    ),
    "signIns": _Feed("/v1.0/auditLogs/signIns", "createdDateTime", "entra_id_logs", 1_000, SIGN_INS_LATE_S),
}
_SETS = {
    "users": _Set(
        "microsoft.graph.user",
        "id accountEnabled companyName createdDateTime department displayName employeeId givenName jobTitle mail "
        "mobilePhone officeLocation onPremisesDistinguishedName onPremisesSamAccountName "
        "onPremisesSecurityIdentifier onPremisesSyncEnabled surname userPrincipalName userType manager",
        {"manager": "manager"},
    ),
    "groups": _Set(
        "microsoft.graph.group",
        "id createdDateTime description displayName groupTypes isAssignableToRole mail mailEnabled mailNickname "
        "securityEnabled visibility members owners",
        {"members": "members", "owners": "owners"},
    ),
    "devices": _Set(
        "microsoft.graph.device",
        "id accountEnabled approximateLastSignInDateTime deviceId displayName isCompliant isManaged "
        "operatingSystem operatingSystemVersion trustType",
    ),
    "servicePrincipals": _Set(
        "microsoft.graph.servicePrincipal",
        "id accountEnabled appDisplayName appId appOwnerOrganizationId displayName servicePrincipalType tags",
    ),
}
_ROLES = "directoryRoles"
_REGISTRATIONS = "userRegistrationDetails"
_TYPES = {
    **{name: of.type for name, of in _SETS.items()},
    _ROLES: "microsoft.graph.directoryRole",
    _REGISTRATIONS: "microsoft.graph.userRegistrationDetails",
}
_KINDS = {"user": "users", "group": "groups", "device": "devices", "servicePrincipal": "servicePrincipals"}
_RESYNC = ("resyncRequired", "syncStateNotFound", "syncStateInvalid")

_OURS = {"customTags": "tags"}  # Graph's word -> ours
_WORDS = ("status", "classification", "determination", "assignedTo")
_DECISIONS = {"confirmedCompromised": "confirmCompromised", "confirmedSafe": "confirmSafe", "dismissed": "dismiss"}


class _Place(Struct, kw_only=True, omit_defaults=True):
    """How far a feed has been read: the newest time, and what was given within the time that is looked at again."""

    at: str
    seen: dict[str, int] = {}  # mark of a version -> how many seconds before `at` it was made


class _Delta(Struct, kw_only=True, omit_defaults=True):
    """The link that goes on, and how many rounds that name everything are to end yet, this one among them.

    After a place that the system has forgotten there are two: what had been named since the last round ended, and is
    gone without a word, is missed by the second.
    """

    link: str
    rounds: int = 0


class MicrosoftGraph(Connector):
    name = "microsoft_graph"
    vendor = "Microsoft"
    product = "Microsoft Graph"
    doc = "Alerts, incidents, risk, sign-ins and the directory of a Microsoft tenant or of another Bartizan."
    settings = GraphSettings
    streams = {
        "alerts": Stream("Security alerts (alerts_v2), each time that one changes.", 60.0),
        "incidents": Stream("Security incidents, each time that one changes.", 60.0),
        "riskDetections": Stream("Risk detections of Microsoft Entra ID Protection.", 120.0),
        "signIns": Stream("Sign-ins.", 120.0),
        "users": Stream("Users, with their managers.", 300.0),
        "groups": Stream("Groups, with members and owners.", 300.0),
        "devices": Stream("Devices.", 600.0),
        "servicePrincipals": Stream("Service principals.", 600.0),
        _ROLES: Stream("Directory roles, with their members.", 900.0),
        _REGISTRATIONS: Stream("Who has registered for multifactor authentication.", 3_600.0),
    }
    owns = (
        ("Microsoft", "Microsoft Defender XDR"),
        ("Microsoft", "Microsoft Defender for Endpoint"),
        ("Microsoft", "Microsoft Defender for Identity"),
        ("Microsoft", "Microsoft Defender for Cloud Apps"),
        ("Microsoft", "Microsoft Defender for Office 365"),
        ("Microsoft", "Microsoft Graph security alerts"),
    )
    pushes = {
        "alert": frozenset({*_WORDS, "comments"}),
        "incident": frozenset({*_WORDS, "comments", "tags"}),
        "riskyUser": frozenset({"riskState", "riskDetail"}),
    }
    offers = {
        "revokeSignInSessions": Offer("user", "Ends the sessions of a user: all refresh tokens become invalid."),
        "disableUser": Offer("user", "Keeps a user from signing in.", undo="enableUser"),
        "enableUser": Offer("user", "Lets a user sign in again.", undo="disableUser"),
        "confirmCompromised": Offer("user", "Marks a user as compromised: the risk becomes high.", undo="dismissRisk"),
        "dismissRisk": Offer("user", "Takes the risk from a user."),
    }
    reads = True
    set: GraphSettings

    def __init__(self, settings: Any, outside: Outside) -> None:
        super().__init__(settings, outside)
        self._wire = Wire(
            outside,
            address=settings.address,
            token_url=f"{settings.authority.rstrip('/')}/{segment(settings.tenant)}/oauth2/v2.0/token",
            client_id=settings.client_id,
            secret=settings.client_secret,
            key=settings.client_key,
            scope=settings.scope,
        )

    async def check(self) -> str:
        found = await self._wire.get("/v1.0/security/alerts_v2", {"$top": "1"})
        shown = len(found.get("value") or ())
        return f"{URL(self.set.address).host} answers and shows {'an alert' if shown else 'no alert yet'}"

    # ------------------------------------------------------------ pull

    def pull(self, stream: str, cursor: str | None) -> AsyncIterator[Batch]:
        if stream in _FEEDS:
            return self._followed(_FEEDS[stream], cursor)
        if stream in _SETS:
            return self._directory(stream, _SETS[stream], cursor)
        return self._roles() if stream == _ROLES else self._registrations()

    async def _followed(self, feed: _Feed, cursor: str | None) -> AsyncIterator[Batch]:
        """By time, oldest first. Behind each page the set is asked anew from the time that it reached: offsets in a
        nextLink would pass over what moves up meanwhile. Only within one instant, or where the set does not keep the
        order (or refuses to), the links are followed; without order the cursor moves at the end alone. It never runs
        ahead of the system's clock, whatever time an object claims.
        """
        late_s = max(self.set.late_s, feed.late_s)
        known = _read(cursor, _Place)
        fresh = known is None or not instant_of(known.at)
        place: _Place = _Place(at=at_of(days=self.set.since_days)) if fresh else known
        newest = place.at
        seen = {mark: at_of(newest, seconds=before_s) for mark, before_s in place.seen.items()}
        since = newest if fresh else at_of(newest, seconds=late_s)
        url, last, ordered = self._since(feed, since), "", True
        for _ in range(MAX_PAGES):
            page = await self._wire.page(url, allow=(400,))
            if page.code is not None:
                if "$orderby" not in url:
                    raise Rejected(f"GET {feed.path}: 400 {page.code} {page.told}".rstrip(), status=400)
                url, ordered = self._since(feed, since, order=False), False
                continue
            said = Said(at=page.at, apart=True)
            records: list[Pulled] = []
            reached, now = since, page.at
            for raw in page.rows:
                mark, at = _version(raw, feed.time)
                ordered = ordered and (not at or at >= last)
                last = reached = max(at, last, reached)
                newest = max(newest, min(at, now))
                if mark not in seen:
                    seen[mark] = at or newest
                    records.append(Pulled(feed.source, raw, said))
            done = page.next is None
            if ordered or done:
                place = _Place(at=newest, seen=_kept(seen, newest, late_s))
            if ordered:
                horizon = at_of(newest, seconds=late_s + 1)
                seen = {mark: at for mark, at in seen.items() if at >= horizon}
            if records or done:
                yield Batch(cursor=msgspec.json.encode(place).decode(), records=records)
            if page.next is None:
                return
            if ordered and reached > since:
                url = self._since(feed, since := reached)
            else:
                url = self._wire.same(page.next, url)
        if not ordered:
            raise Rejected(f"{feed.path}: more than {MAX_PAGES} pages in no order; set since_days or page_rows")

    def _since(self, feed: _Feed, since: str, *, order: bool = True) -> str:
        path, wanted = feed.path, f"{feed.time} ge {since}"
        if feed is _FEEDS["signIns"] and self.set.sign_ins != ("interactiveUser",):
            path = path.replace("/v1.0/", "/beta/")
            kinds = " or ".join(f"t eq '{kind}'" for kind in self.set.sign_ins)
            wanted += f" and signInEventTypes/any(t:{kinds})"
        top = str(min(self.set.page_rows, feed.most))
        by = {"$orderby": f"{feed.time} asc"} if order else {}
        return self._wire.url(path, {"$filter": wanted, **by, "$top": top})

    async def _directory(self, name: str, of: _Set, cursor: str | None) -> AsyncIterator[Batch]:
        """A round of a delta query: from its beginning, or what changed since; from the beginning again where the
        system no longer knows the place."""
        begin = self._wire.url(f"/v1.0/{name}/delta", {"$select": ",".join(of.select.split())})
        place = _read(cursor, _Delta)
        if place is None or not self._wire.is_same(place.link):
            place = _Delta(link=begin, rounds=1)
        for _ in range(MAX_PAGES):
            page = await self._wire.page(place.link, allow=(400, 404, 410))
            if page.code is not None:
                if place.link == begin or not (page.status == 410 or page.code in _RESYNC):
                    raise Rejected(f"{name}/delta: {page.status} {page.code} {page.told}".rstrip(), status=page.status)
                place = _Delta(link=begin, rounds=1 if place.rounds else 2)
                continue
            link = page.next or page.delta
            if link is None:
                raise Away(f"{name}/delta: a page without a link to go on")
            last, rounds = page.next is None, place.rounds
            place = _Delta(link=self._wire.same(link, "" if last else place.link), rounds=rounds)
            if last and rounds:
                place = _Delta(link=place.link if rounds == 1 else begin, rounds=rounds - 1)
            yield _batch(name, of, page.rows, place, whole=bool(last and rounds))
            if last and rounds < 2:
                return

    async def _roles(self) -> AsyncIterator[Batch]:
        """All of them, each time: Graph tells of no changes here."""
        objects: list[GraphObject] = []
        edges: list[Edge] = []
        async for page in self._wire.pages(f"/v1.0/{_ROLES}", {}):
            for raw in page.rows:
                item = _object(raw)
                objects.append(_made(_ROLES, item))
                members = f"/v1.0/{_ROLES}/{segment(item['id'])}/members"
                async for more in self._wire.pages(members, {"$select": "id"}):
                    for member in map(_object, more.rows):
                        edges += _edges("members", item["id"], member)
        yield Batch(cursor=at_of(), objects=objects, edges=edges, whole=(_ROLES,))

    async def _registrations(self) -> AsyncIterator[Batch]:
        path = f"/v1.0/reports/authenticationMethods/{_REGISTRATIONS}"
        async for page in self._wire.pages(path, {"$top": str(self.set.page_rows)}):
            rows = [_made(_REGISTRATIONS, _object(raw)) for raw in page.rows]
            yield Batch(cursor=at_of(), objects=rows, whole=() if page.next else (_REGISTRATIONS,))

    # ------------------------------------------------------------ write back

    async def push(self, change: Push) -> Pushed:
        if change.subject == "riskyUser":
            return await self._decide(change)
        if change.subject not in ("alert", "incident"):
            raise Rejected(f"Microsoft Graph takes no changes of a {change.subject}")
        path = f"/v1.0/security/{'alerts_v2' if change.subject == 'alert' else 'incidents'}/{segment(change.id)}"
        wanted, left_out = _wanted(change)
        for _ in range(TRIES):
            there = await self._wire.get(path)
            body = {word: value for word, value in wanted.items() if _word(there, word) != value}
            match = {"If-Match": there["@odata.etag"]} if isinstance(there.get("@odata.etag"), str) else {}
            if not body or await self._wire.patch(path, body, headers=match):
                break
        else:
            raise Away(f"PATCH {path}: somebody else changes it all the time", status=412)
        await self._comment(path, there, change)
        moved = _moved(there, change.known, "lastUpdateDateTime")
        overwrote = {_OURS.get(word, word): there.get(word) for word in body} if moved else {}
        who = await self._writer(change, there) if overwrote else None
        return Pushed(overwrote=overwrote or None, last_writer=who, left_out=left_out)

    async def _comment(self, path: str, there: Mapping[str, Any], change: Push) -> None:
        """Those that are not there yet, with the name of who wrote them: Graph would show the application's."""
        known = {each.get("comment") for each in there.get("comments") or () if isinstance(each, dict)}
        for each in change.words.get("comments") or ():
            author = each.get("createdByDisplayName")
            text = f"{author}: {each['comment']}" if author else str(each["comment"])
            if text not in known:
                sent = {"@odata.type": "microsoft.graph.security.alertComment", "comment": text}
                await self._wire.post(f"{path}/comments", sent)

    async def _writer(self, change: Push, there: Mapping[str, Any]) -> str | None:
        """Who changed it last: an incident says so, of an alert the history of its legacy face, where there is one."""
        if change.subject == "incident":
            name = there.get("lastModifiedBy")
            return name if isinstance(name, str) else None
        old = await self._wire.get(f"/v1.0/security/alerts/{segment(change.id)}", maybe=True)
        states = [each for each in old.get("historyStates") or () if isinstance(each, dict)]
        who = (states[-1].get("user") or states[-1].get("appId")) if states else None
        return who if isinstance(who, str) else None

    async def _decide(self, change: Push) -> Pushed:
        state = change.words.get("riskState")
        if state not in _DECISIONS:
            return Pushed(left_out=tuple(change.words))
        path = f"/v1.0/identityProtection/riskyUsers/{segment(change.id)}"
        there = await self._wire.get(path, maybe=True)
        if there.get("riskState") == state:
            return Pushed()
        await self._wire.post(f"/v1.0/identityProtection/riskyUsers/{_DECISIONS[state]}", {"userIds": [change.id]})
        if not there or not _moved(there, change.known, "riskLastUpdatedDateTime"):
            return Pushed()
        past = await self._wire.get(f"{path}/history", {"$top": "20"}, maybe=True)
        steps = [each for each in past.get("value") or () if isinstance(each, dict)]
        at = there.get("riskLastUpdatedDateTime")
        who = next((each.get("initiatedBy") for each in steps if each.get("riskLastUpdatedDateTime") == at), None)
        overwrote = {word: there.get(word) for word in ("riskState", "riskDetail")}
        return Pushed(overwrote=overwrote, last_writer=who if isinstance(who, str) else None)

    # ------------------------------------------------------------ act

    async def act(self, order: Order) -> Done:
        path = f"/v1.0/users/{segment(order.target)}"
        if order.name == "revokeSignInSessions":
            found = await self._wire.post(f"{path}/revokeSignInSessions", {})
            if found.get("value") is False:
                return Done("failed", f"the sessions of {order.target} were not ended")
            return Done("completed", f"sessions of {order.target} ended")
        if order.name in ("disableUser", "enableUser"):
            enabled = order.name == "enableUser"
            await self._wire.patch(path, {"accountEnabled": enabled})
            return Done("completed", f"{order.target} is {'enabled' if enabled else 'disabled'}")
        verb = {"confirmCompromised": "confirmCompromised", "dismissRisk": "dismiss"}.get(order.name)
        if verb is None:
            raise Rejected(f"Microsoft Graph has no action {order.name}")
        user = order.target
        if "@" in user:
            user = str((await self._wire.get(path, {"$select": "id"})).get("id") or "")
        await self._wire.post(f"/v1.0/identityProtection/riskyUsers/{verb}", {"userIds": [user]})
        return Done("completed", f"risk of {order.target}: {verb}")

    # ------------------------------------------------------------ ask live

    async def read(self, asked: Read) -> list[Pulled]:
        path, source = _FEEDS["alerts"].path, _FEEDS["alerts"].source
        if asked.id is not None:
            page = await self._wire.page(
                self._wire.url(f"{path}/{segment(asked.id)}", {}), allow=(400, 404), single=True
            )
            return [Pulled(source, raw) for raw in page.rows]
        top = min(asked.top, MAX_READ)
        terms = [f"createdDateTime {op} {at}" for op, at in (("ge", asked.since), ("le", asked.until)) if at]
        query = {"$orderby": "createdDateTime desc", "$top": str(top)}
        if terms:
            query["$filter"] = " and ".join(terms)
        found: list[Pulled] = []
        async for page in self._wire.pages(path, query):
            found += [Pulled(source, raw) for raw in page.rows]
            if len(found) >= top:
                break
        return found[:top]


# ---------------------------------------------------------------- what came


def _read(cursor: str | None, kind: Any) -> Any:
    """None where there is none, or one that is not read any more: the look begins anew then."""
    try:
        return None if cursor is None else msgspec.json.decode(cursor, type=kind)
    except (ValueError, TypeError):
        return None


def _version(raw: bytes, time: str) -> tuple[str, str]:
    """What tells one version of an object from others, and its time in wire form ("" where it has none)."""
    try:
        item = msgspec.json.decode(raw)
    except ValueError:
        item = None
    at = instant_of(item.get(time)) if isinstance(item, dict) else ""
    own = item.get("id") if isinstance(item, dict) else None
    return _mark(f"{own}\0{at}".encode() if isinstance(own, str) and at else raw), at


def _mark(content: bytes) -> str:
    return sha256(content).hexdigest()[:12]


def _kept(seen: Mapping[str, str], newest: str, late_s: int) -> dict[str, int]:
    """The marks that a later look may meet again, at most the newest MAX_SEEN."""
    end = to_datetime(newest)
    ages = ((mark, int((end - to_datetime(at)).total_seconds())) for mark, at in seen.items())
    young = sorted((each for each in ages if each[1] <= late_s), key=lambda each: each[1])
    return dict(young[:MAX_SEEN])


def _object(raw: bytes) -> dict[str, Any]:
    """Away where it is none: nothing of the page is taken, and it is asked for again."""
    try:
        item = msgspec.json.decode(raw)
    except ValueError:
        item = None
    if not isinstance(item, dict) or not isinstance(item.get("id"), str) or not item["id"]:
        raise Away("an object of the directory without an id")
    return item


def _made(name: str, item: Mapping[str, Any]) -> GraphObject:
    return GraphObject(name, _TYPES[name], body_of(_TYPES[name], item))


def _batch(name: str, of: _Set, rows: list[bytes], place: _Delta, *, whole: bool) -> Batch:
    objects: list[GraphObject] = []
    gone: list[tuple[str, str]] = []
    edges: list[Edge] = []
    cut: list[Edge] = []
    for item in map(_object, rows):
        if "@removed" in item:
            gone.append((name, item["id"]))
            continue
        objects.append(_made(name, item))
        for navigation, relation in of.links.items():
            for other in item.get(f"{navigation}@delta") or ():
                if isinstance(other, dict):
                    found = _edges(relation, item["id"], other)
                    cut.extend(found) if "@removed" in other else edges.extend(found)
    return Batch(
        cursor=msgspec.json.encode(place).decode(),
        objects=objects,
        gone=gone,
        edges=edges,
        cut=cut,
        whole=(name,) if whole else (),
    )


def _edges(relation: str, source: str, other: Mapping[str, Any]) -> list[Edge]:
    """To the set of the other's type; where only its removal is told, without its type, from each set. What is kept in
    no set here (a contact) has none."""
    id, kind = other.get("id"), str(other.get("@odata.type") or "").rpartition(".")[2]
    if not isinstance(id, str) or not id:
        return []
    if "@removed" in other and kind not in _KINDS:
        return [Edge(relation, source, name, id) for name in _KINDS.values()]
    name = _KINDS.get(kind, "users" if relation == "manager" else None)
    return [] if name is None else [Edge(relation, source, name, id)]


# ---------------------------------------------------------------- what goes there


def _wanted(change: Push) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The PATCH in Graph's words, and what it has no place for."""
    wanted: dict[str, Any] = {}
    left_out: list[str] = []
    for word, value in change.words.items():
        if word in ("classification", "determination"):
            wanted[word] = value or "unknown"
        elif word == "assignedTo" or (word == "status" and value not in (None, "redirected")):
            wanted[word] = value
        elif word == "tags" and change.subject == "incident":
            wanted["customTags"] = list(value or ())
        elif word != "comments":
            left_out.append(word)
    return wanted, tuple(left_out)


def _word(there: Mapping[str, Any], word: str) -> Any:
    value = there.get(word)
    if word in ("classification", "determination"):
        return value or "unknown"
    return value or [] if word == "customTags" else value


def _moved(there: Mapping[str, Any], known: str | None, time: str) -> bool:
    """Whether it has changed since the version that was known here; where none was, it may have."""
    return known is None or instant_of(there.get(time)) != instant_of(known)
