"""Okta: the System Log, the directory with who has which factors and roles, and what can be done to accounts.

The log is polled as Okta says: without `until`, ascending, from link to link. Okta then orders events by when it has
kept them, so that one which it keeps late, with an older time, comes all the same. Where a link holds no longer, the
look begins `late_s` before the newest time that came; what comes twice changes nothing.

The directory is listed whole, page by page; ids are Okta's own, the same that its log names.

Source: Okta API, "System Log" (polling requests), "Users", "User lifecycle", "User sessions", "User factors", "User
risk", "Groups", "Applications", "Role assignments", "Rate limits"; "Implement OAuth for Okta with a service app".
"""

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from bartizan.connectors.follow import ago, instant_of
from bartizan.connectors.oauth import Api, decoded, next_link, rows, segment, with_key
from bartizan.extend.connectors import (
    LOCAL,
    Away,
    Batch,
    Connector,
    ConnectorError,
    Done,
    Edge,
    Offer,
    Order,
    Outside,
    Pulled,
    Push,
    Pushed,
    Rejected,
    Reply,
    Secret,
    Stream,
)
from bartizan.extend.sources import GraphObject
from bartizan.model import times
from bartizan.model.ids import stable_id

MAX_PAGES = 5_000  # of one look; the next one goes on
MAX_LINK_CHARS = 4_000
EDGES = 2_000  # gathered for one batch
GATHER_S = 15.0  # after which what was gathered is given
_LOG = "/api/v1/logs"
_SCOPES = "okta.logs.read okta.users.read okta.groups.read okta.apps.read okta.roles.read"
_MAY_ACT = "okta.users.manage okta.sessions.manage"

_ENABLED = frozenset({"ACTIVE", "PROVISIONED", "PASSWORD_EXPIRED", "RECOVERY", "LOCKED_OUT"})
_RISKS = {"confirmedCompromised": "HIGH", "confirmedSafe": "LOW", "dismissed": "LOW"}
# Type of a factor -> Graph's method; Okta's own keep a name of their own.
_METHODS = {
    "token:software:totp": "softwareOneTimePasscode",
    "token:hotp": "hardwareOneTimePasscode",
    "token:hardware": "hardwareOneTimePasscode",
    "token": "hardwareOneTimePasscode",
    "sms": "mobilePhone",
    "call": "mobilePhone",
    "email": "email",
    "question": "securityQuestion",
    "webauthn": "fido2SecurityKey",
    "u2f": "fido2SecurityKey",
    "push": "oktaVerifyPush",
    "signed_nonce": "oktaFastPass",
}
_WEAK = frozenset({"email", "securityQuestion"})  # no second factor by themselves
_PASSWORDLESS = frozenset({"fido2SecurityKey", "oktaFastPass"})


class OktaSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    url: Annotated[str, Meta(description="of the organisation, without -admin", pattern="^https?://", max_length=2_000)]
    token: Annotated[Secret, Meta(description="API token (SSWS)")] | None = None
    client_id: Annotated[str, Meta(description="instead: client id of a service app", max_length=200)] = ""
    client_key: Annotated[Secret, Meta(description="private key of the service app, as JWK or PEM")] | None = None
    key_id: Annotated[str, Meta(description="kid of the key, where the key does not say", max_length=200)] = ""
    scopes: Annotated[str, Meta(description="that the service app asks for", max_length=2_000)] = (
        f"{_SCOPES} {_MAY_ACT}"
    )
    filter: Annotated[str, Meta(description="of Okta, that events must match", max_length=4_000)] = ""
    since_days: Annotated[float, Meta(description="how far back the log is read first", ge=0, le=90)] = 7.0
    late_s: Annotated[int, Meta(description="how far a look goes back that has lost its link", ge=0, le=86_400)] = 3_600
    page_rows: Annotated[int, Meta(description="events of one page", ge=1, le=1_000)] = 1_000
    reset_by: Annotated[
        Literal["email", "expire"],
        Meta(description="resetPassword: void at once, with a link by mail; or to be changed at the next sign-in"),
    ] = "email"
    ca_file: Annotated[str, Meta(description="certificate authority of a proxy, as PEM", extra=LOCAL)] = ""
    verify: Annotated[bool, Meta(description="whether certificates are checked")] = True

    def __post_init__(self) -> None:
        if (self.token is None) == (self.client_key is None):
            raise ValueError("give either token or client_key")
        if self.client_key is not None and not self.client_id:
            raise ValueError("client_key needs client_id")


class _LogPlace(Struct, omit_defaults=True):
    at: str  # newest time of an event that came
    link: str = ""


class _ListPlace(Struct, omit_defaults=True):
    """Within a listing: which of its parts, the page, the object of it that was done last, the page of the next one."""

    part: int = 0
    link: str = ""
    behind: str = ""
    within: str = ""


class _Assignees(Struct):
    value: list[Raw]


_Params = dict[str, str]
_LISTS: Mapping[str, tuple[str, tuple[_Params, ...]]] = {
    # Users without a status that is asked for are all but the deactivated.
    "users": ("/api/v1/users", ({"limit": "200"}, {"limit": "200", "filter": 'status eq "DEPROVISIONED"'})),
    "groups": ("/api/v1/groups", ({"limit": "50"},)),
    "servicePrincipals": ("/api/v1/apps", ({"limit": "200"},)),
    "userRegistrationDetails": ("/api/v1/users", ({"limit": "50"},)),
    "directoryRoles": ("/api/v1/iam/assignees/users", ({"limit": "100"},)),
}


class Okta(Connector):
    name: ClassVar[str] = "okta"
    vendor: ClassVar[str] = "Okta"
    product: ClassVar[str] = "Okta"
    doc: ClassVar[str] = "The System Log and the directory of Okta, its user risk, and actions on accounts."
    settings: ClassVar[type[Struct]] = OktaSettings
    streams: ClassVar[Mapping[str, Stream]] = {
        "logs": Stream("Events of the System Log: sign-ins, threats, changes."),
        "users": Stream("Users, deactivated ones too.", 900.0),
        "groups": Stream("Groups with their members.", 3_600.0),
        "servicePrincipals": Stream("Applications, as service principals.", 3_600.0),
        "directoryRoles": Stream("Administrator roles, with the users that hold them.", 3_600.0),
        "userRegistrationDetails": Stream("Which factors each user has enrolled; one question a user.", 21_600.0),
    }
    owns: ClassVar[tuple[tuple[str, str], ...]] = (("Okta", "Okta"),)
    pushes: ClassVar[Mapping[Any, frozenset[str]]] = {"riskyUser": frozenset({"riskState"})}
    offers: ClassVar[Mapping[str, Offer]] = {
        "disableUser": Offer("user", "Suspends the user.", undo="enableUser"),
        "enableUser": Offer("user", "Ends the suspension of the user.", undo="disableUser"),
        "revokeSignInSessions": Offer("user", "Ends the user's sessions and revokes the tokens of apps."),
        "resetPassword": Offer("user", "Makes the password void, or has it changed: by the setting reset_by."),
        "expirePassword": Offer("user", "Has the password changed at the next sign-in."),
    }

    def __init__(self, settings: Any, outside: Outside) -> None:
        super().__init__(settings, outside)
        address = settings.url.rstrip("/")
        if settings.client_key is None:
            self._api = Api(outside, address, f"SSWS {settings.token}")
            return
        token_url = f"{address}/oauth2/v1/token"
        asked = {"grant_type": "client_credentials", "scope": settings.scopes}
        proof = with_key(
            settings.client_id, settings.client_key, token_url, algorithm="RS256", kid=settings.key_id, **asked
        )
        self._api = Api(outside, address, proof, token_url=token_url)

    async def check(self) -> str:
        reply = await self._api.ask("GET", _LOG, params={"limit": 1})
        found = rows(reply, list[Raw], _LOG)
        return f"{self._api.address} answers and shows {'an event' if found else 'no event yet'}"

    # ------------------------------------------------------------ pull

    def pull(self, stream: str, cursor: str | None) -> AsyncIterator[Batch]:
        if stream == "logs":
            return self._log(cursor)
        return self._listed(stream, cursor)

    async def _log(self, cursor: str | None) -> AsyncIterator[Batch]:
        place = _read(cursor, _LogPlace)
        link = "" if place is None or not self._api.is_same(place.link) else place.link
        at = place.at if place is not None and instant_of(place.at) else ""
        begin = ago(at, self.set.late_s) if at else _days_ago(self.set.since_days)
        asked = {"since": begin[:23] + "Z", "sortOrder": "ASCENDING", "limit": str(self.set.page_rows)}
        asked |= {"filter": self.set.filter} if self.set.filter else {}
        for _ in range(MAX_PAGES):
            reply = await self._api.ask(
                "GET", link or _LOG, params=None if link else asked, allow=(400, 404, 410) if link else ()
            )
            if reply.status != 200:  # Okta does not know the place any more
                link = ""
                continue
            found = rows(reply, list[Raw], _LOG)
            at = max([at or begin, *(instant_of(decoded(raw).get("published")) for raw in found[-1:])])
            behind = self._next(reply)
            if found or behind != link:
                place = _LogPlace(at=at, link=behind)
                records = [Pulled("okta", bytes(raw)) for raw in found]
                yield Batch(cursor=_shown(place), records=records)
            if len(found) < self.set.page_rows or not behind:
                return
            link = behind

    async def _listed(self, stream: str, cursor: str | None) -> AsyncIterator[Batch]:
        """A round of one listing; it goes on in its midst where the last one stopped."""
        path, parts = _LISTS[stream]
        place = _read(cursor, _ListPlace) or _ListPlace()
        if place.part >= len(parts) or not all(self._api.is_same(each) for each in (place.link, place.within) if each):
            place = _ListPlace()
        for _ in range(MAX_PAGES):
            reply = await self._api.ask(
                "GET",
                place.link or path,
                params=None if place.link else parts[place.part],
                allow=(400, 404, 410) if place.link else (),
            )
            if reply.status != 200:  # Okta does not know the page any more
                place = _ListPlace()
                continue
            found = _listed_rows(stream, reply, path)
            link = self._next(reply)
            objects: list[GraphObject] = []
            if stream in _ONE_BY_ONE:
                async for batch in self._each(stream, found, place):
                    yield batch
            else:
                objects = [_MAKE[stream](item) for item in found]
            place = _ListPlace(place.part, link) if link else _ListPlace(place.part + 1)
            done = place.part >= len(parts)
            cursor = _shown(_ListPlace() if done else place)
            yield Batch(cursor=cursor, objects=objects, whole=(stream,) if done else ())
            if done:
                return

    async def _each(self, stream: str, found: list[dict[str, Any]], place: _ListPlace) -> AsyncIterator[Batch]:
        """Objects of a page that want questions of their own. What was gathered comes after a time, and where a
        question fails; the cursor stands behind it."""
        ids = [str(item["id"]) for item in found]
        begin = ids.index(place.behind) + 1 if place.behind in ids else 0
        within = place.within  # of the object that follows, if that is still the same
        if begin == len(ids) or f"/{segment(ids[begin])}/" not in within:
            within = ""
        gathered = _Gathered()
        for number in range(begin, len(found)):
            behind = ids[number - 1] if number else ""
            while True:
                try:
                    within = await self._asked(stream, found[number], within, gathered)
                except ConnectorError:
                    if gathered:
                        yield gathered.batch(_ListPlace(place.part, place.link, behind, within))
                    raise
                if not within:
                    behind = ids[number]
                if gathered.is_enough:
                    yield gathered.batch(_ListPlace(place.part, place.link, behind, within))
                    gathered = _Gathered()
                if not within:
                    break
        if gathered:
            yield gathered.batch(_ListPlace(place.part, place.link, ids[-1]))

    async def _asked(self, stream: str, item: Mapping[str, Any], within: str, into: "_Gathered") -> str:
        """Gathers what one object brings; the link where more of it is, "" where that was all."""
        id = str(item["id"])
        if stream == "userRegistrationDetails":
            into.put(_registration(item, await self._all(f"/api/v1/users/{segment(id)}/factors")))
            return ""
        if stream == "directoryRoles":
            for each in await self._all(f"/api/v1/users/{segment(id)}/roles"):
                if each.get("status", "ACTIVE") == "ACTIVE":
                    role = self._role(each)
                    into.put(role)
                    into.edges[Edge("members", str(role.body["id"]), "users", id)] = None
            return ""
        params = None if within else {"limit": "1000"}
        path = f"/api/v1/groups/{segment(id)}/users"
        reply = await self._api.ask("GET", within or path, params=params, allow=(404,))
        into.put(_group(item))
        if reply.status == 404:  # the group has gone meanwhile
            return ""
        for raw in rows(reply, list[Raw], path):
            into.edges[Edge("members", id, "users", str(decoded(raw)["id"]))] = None
        return self._next(reply)

    def _role(self, item: Mapping[str, Any]) -> GraphObject:
        """The same one for all who hold it; a custom role has an id of its own in Okta."""
        kind = str(item.get("role") or item.get("type"))
        id = stable_id("okta", self._api.address, "role", kind)
        body = {"id": id, "displayName": item.get("label") or kind, "roleTemplateId": id, "description": kind}
        return GraphObject("directoryRoles", "microsoft.graph.directoryRole", body)

    async def _all(self, path: str) -> list[dict[str, Any]]:
        """What belongs to one object, on a page; none where the object has gone meanwhile."""
        reply = await self._api.ask("GET", path, allow=(404,))
        return [] if reply.status == 404 else [decoded(raw) for raw in rows(reply, list[Raw], path)]

    def _next(self, reply: Reply) -> str:
        """The link onwards, "" where there is none."""
        link = next_link(reply) or ""
        if len(link) > MAX_LINK_CHARS:
            raise Rejected("a page of Okta goes on at a link that is too long")
        return self._api.same(link) if link else ""

    # ------------------------------------------------------------ write back

    async def push(self, change: Push) -> Pushed:
        """What was decided of a risky user, as the risk that Okta's Identity Threat Protection has of the user."""
        level = _RISKS.get(str(change.words.get("riskState")))
        left_out = tuple(word for word in change.words if word != "riskState" or level is None)
        if change.subject != "riskyUser":
            raise Rejected(f"Okta takes no changes of a {change.subject}")
        if level is None:
            return Pushed(left_out=left_out)
        path = f"/api/v1/users/{segment(change.id)}/risk"
        there = (await self._api.get(path)).get("riskLevel")
        if there != level:
            await self._api.ask("PUT", path, json={"riskLevel": level})
        return Pushed(left_out=left_out)

    # ------------------------------------------------------------ act

    async def act(self, order: Order) -> Done:
        if order.name not in self.offers:
            raise Rejected(f"Okta has no action {order.name}")
        reply = await self._api.ask("GET", f"/api/v1/users/{segment(order.target)}", allow=(404,))
        user = reply.data if isinstance(reply.data, dict) else {}
        if reply.status == 404 or not user.get("id"):
            raise Rejected(f"Okta knows no user {order.target[:200]}", status=404)
        path, status = f"/api/v1/users/{segment(str(user['id']))}", str(user.get("status"))
        match order.name:
            case "disableUser":
                if status in ("SUSPENDED", "DEPROVISIONED"):
                    return Done("completed", f"{order.target} was {status} already")
                await self._api.ask("POST", f"{path}/lifecycle/suspend", json={})
                return Done("completed", f"{order.target} is SUSPENDED")
            case "enableUser":
                if status in _ENABLED:
                    return Done("completed", f"{order.target} was {status} already")
                await self._api.ask("POST", f"{path}/lifecycle/unsuspend", json={})
                return Done("completed", f"{order.target} is no longer SUSPENDED")
            case "revokeSignInSessions":
                await self._api.ask("DELETE", f"{path}/sessions", params={"oauthTokens": "true"})
                return Done("completed", f"sessions and tokens of {order.target} have ended")
            case "resetPassword" if self.set.reset_by == "email":
                if status == "RECOVERY":
                    return Done("completed", f"the password of {order.target} was void already")
                await self._api.ask("POST", f"{path}/lifecycle/reset_password", params={"sendEmail": "true"}, json={})
                return Done("completed", f"the password of {order.target} is void; a link was mailed")
        if status == "PASSWORD_EXPIRED":
            return Done("completed", f"the password of {order.target} had to be changed already")
        await self._api.ask("POST", f"{path}/lifecycle/expire_password", json={})
        return Done("completed", f"{order.target} has to change the password at the next sign-in")


# ---------------------------------------------------------------- what came


class _Gathered:
    """Objects and edges for one batch, each once."""

    def __init__(self) -> None:
        self._objects: dict[str, GraphObject] = {}
        self._begun = time.monotonic()
        self.edges: dict[Edge, None] = {}

    def put(self, made: GraphObject) -> None:
        self._objects[str(made.body["id"])] = made

    def __bool__(self) -> bool:
        return bool(self._objects or self.edges)

    @property
    def is_enough(self) -> bool:
        return len(self.edges) >= EDGES or time.monotonic() - self._begun > GATHER_S

    def batch(self, place: _ListPlace) -> Batch:
        return Batch(cursor=_shown(place), objects=list(self._objects.values()), edges=list(self.edges))


def _read(cursor: str | None, kind: Any) -> Any:
    """None where there is none, or one that cannot be read: the look begins anew then."""
    with suppress(ValueError, TypeError):
        return None if cursor is None else msgspec.json.decode(cursor, type=kind)
    return None


def _shown(place: Struct) -> str:
    return msgspec.json.encode(place).decode()


def _days_ago(days: float) -> str:
    return times.instant(datetime.now(UTC) - timedelta(days=days))


def _listed_rows(stream: str, reply: Reply, path: str) -> list[dict[str, Any]]:
    raws = rows(reply, _Assignees, path).value if stream == "directoryRoles" else rows(reply, list[Raw], path)
    found = [decoded(raw) for raw in raws]
    if not all(isinstance(item.get("id"), str) and item["id"] for item in found):
        raise Away(f"{path}: an object without an id")
    return found


def _profile(item: Mapping[str, Any]) -> dict[str, Any]:
    found = item.get("profile")
    return found if isinstance(found, dict) else {}


def _display(profile: Mapping[str, Any]) -> str | None:
    parts = [str(profile[name]) for name in ("firstName", "lastName") if profile.get(name)]
    return profile.get("displayName") or " ".join(parts) or profile.get("login")


def _set(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if value not in (None, "")}


def _user(item: Mapping[str, Any]) -> GraphObject:
    profile = _profile(item)
    body = {
        "id": item["id"],
        "accountEnabled": item.get("status") in _ENABLED,
        "createdDateTime": instant_of(item.get("created")),
        "lastPasswordChangeDateTime": instant_of(item.get("passwordChanged")),
        "displayName": _display(profile),
        "givenName": profile.get("firstName"),
        "surname": profile.get("lastName"),
        "userPrincipalName": profile.get("login"),
        "mail": profile.get("email"),
        "mobilePhone": profile.get("mobilePhone"),
        "businessPhones": [profile["primaryPhone"]] if profile.get("primaryPhone") else [],
        "jobTitle": profile.get("title"),
        "department": profile.get("department"),
        "companyName": profile.get("organization"),
        "employeeId": profile.get("employeeNumber"),
        "city": profile.get("city"),
        "state": profile.get("state"),
        "country": profile.get("countryCode"),
        "userType": "Member",
        "oktaStatus": item.get("status"),
    }
    last = instant_of(item.get("lastLogin"))
    if last:
        body["signInActivity"] = {"lastSignInDateTime": last, "lastSuccessfulSignInDateTime": last}
    return GraphObject("users", "microsoft.graph.user", _texts(_set(body)))


def _group(item: Mapping[str, Any]) -> GraphObject:
    profile = _profile(item)
    body = {
        "id": item["id"],
        "displayName": profile.get("name") or item["id"],
        "description": profile.get("description"),
        "createdDateTime": instant_of(item.get("created")),
        "securityEnabled": True,
        "mailEnabled": False,
        "groupTypes": [],
        "onPremisesSamAccountName": profile.get("samAccountName"),
    }
    return GraphObject("groups", "microsoft.graph.group", _texts(_set(body)))


def _app(item: Mapping[str, Any]) -> GraphObject:
    """`appId` is the id by which the log names the application."""
    body = {
        "id": item["id"],
        "appId": item["id"],
        "displayName": item.get("label") or item.get("name") or item["id"],
        "appDisplayName": item.get("label") or item.get("name"),
        "accountEnabled": item.get("status") == "ACTIVE",
        "servicePrincipalType": "Application",
        "createdDateTime": instant_of(item.get("created")),
        "tags": [str(item[name]) for name in ("name", "signOnMode") if item.get(name)],
    }
    return GraphObject("servicePrincipals", "microsoft.graph.servicePrincipal", _texts(_set(body)))


def _registration(user: Mapping[str, Any], factors: list[dict[str, Any]]) -> GraphObject:
    active = [str(each.get("factorType")) for each in factors if each.get("status") == "ACTIVE"]
    methods = sorted({_METHODS.get(kind, kind) for kind in active})
    strong = any(method not in _WEAK for method in methods)
    body = {
        "id": str(user["id"]),
        "userPrincipalName": _profile(user).get("login"),
        "userDisplayName": _display(_profile(user)),
        "userType": "member",
        "methodsRegistered": methods,
        "isMfaRegistered": strong,
        "isMfaCapable": strong,
        "isPasswordlessCapable": any(method in _PASSWORDLESS for method in methods),
    }
    return GraphObject("userRegistrationDetails", "microsoft.graph.userRegistrationDetails", _texts(_set(body)))


def _texts(body: dict[str, Any]) -> dict[str, Any]:
    """Profiles may hold numbers where Graph has texts."""
    return {
        name: str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
        for name, value in body.items()
    }


_MAKE: Mapping[str, Callable[[Mapping[str, Any]], GraphObject]] = {"users": _user, "servicePrincipals": _app}
_ONE_BY_ONE = _LISTS.keys() - _MAKE.keys()  # each object of these wants questions of its own
