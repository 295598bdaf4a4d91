"""What a stream consists of: sign-ins, audits and counts of requests as documents, with labels and tags beside them."""

from datetime import UTC, datetime
from random import Random
from typing import Any
from uuid import UUID

from msgspec import Struct, field

from bench.tenants.kits import Kit
from bench.tenants.world import Spot

DAY, HOUR = 86_400.0, 3_600.0
START = datetime(2026, 9, 7, tzinfo=UTC).timestamp()  # a Monday


def instant(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Label(Struct):
    attack: str
    campaign: str
    stage: str
    sophistication: str


class Stream(Struct):
    chance: Random
    signins: list[dict[str, Any]] = field(default_factory=list)
    audits: list[dict[str, Any]] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    labels: list[dict[str, Any]] = field(default_factory=list)
    benign: list[dict[str, Any]] = field(default_factory=list)
    leaks: list[dict[str, Any]] = field(default_factory=list)

    def id(self) -> str:
        return str(UUID(int=self.chance.getrandbits(128), version=4))

    def label(self, id: str, user: str, label: Label, *, valid: bool) -> None:
        self.labels.append(
            {
                "id": id,
                "userId": user,
                "credentialValid": valid,
                "attack": label.attack,
                "campaign": label.campaign,
                "stage": label.stage,
                "sophistication": label.sophistication,
            }
        )

    def audit(self, at: float, user: str, name: str, address: str, activity: str, target: str) -> str:
        id = self.id()
        by = {"user": {"id": user, "userPrincipalName": name, "ipAddress": address}}
        self.audits.append(
            {
                "id": id,
                "activityDateTime": instant(at),
                "activityDisplayName": activity,
                "initiatedBy": by,
                "targetResources": [{"displayName": target}],
                "result": "success",
            }
        )
        return id

    def count(self, at: float, principal: str, address: str, requests: int, kinds: list[str], denied: int = 0) -> str:
        id = self.id()
        self.requests.append(
            {
                "id": id,
                "timeGenerated": instant(at - at % HOUR + HOUR),
                "principalId": principal,
                "appId": "",
                "ipAddress": address,
                "requests": requests,
                "distinctResourceKinds": len(kinds),
                "resourceKinds": kinds,
                "denied403": denied,
            }
        )
        return id


class Try(Struct):
    """One sign-in, as it is written."""

    at: float
    spot: Spot
    kit: Kit | None
    app: str
    interactive: bool = True
    code: int = 0
    session: str = ""
    native: bool = False
    agent: str = ""  # "" is that of the kit
    client: str = ""
    token: str = ""
    multifactor: bool = False
    tags: tuple[str, ...] = ()
    label: Label | None = None


WHY = {0: "Other.", 50126: "Error validating credentials due to invalid username or password."}


def signed_in(stream: Stream, user: str, name: str, it: Try) -> str:
    """Writes the record of a person's sign-in and gives its id."""
    id, week, kit = stream.id(), int((it.at - START) // (7 * DAY)), it.kit
    agent = it.agent or ("" if kit is None else kit.native(stream.chance, week) if it.native else kit.agent(week))
    token = it.token or ("none" if it.interactive else "primaryRefreshToken" if kit and kit.id else "refreshToken")
    city = it.spot.seen
    stream.signins.append(
        {
            "id": id,
            "createdDateTime": instant(it.at),
            "userId": user,
            "userPrincipalName": name,
            "appDisplayName": it.app,
            "resourceDisplayName": it.app,
            "ipAddress": it.spot.address,
            "clientAppUsed": it.client or ("Mobile Apps and Desktop clients" if it.native else "Browser"),
            "userAgent": agent,
            "isInteractive": it.interactive,
            "deviceDetail": {
                "deviceId": kit.id if kit and it.code != 50126 else "",
                "operatingSystem": kit.system if kit else "",
                "browser": kit.said(week) if kit and not it.native else "",
                "isCompliant": bool(kit and kit.managed),
                "isManaged": bool(kit and kit.managed),
            },
            "location": {
                "city": city.name,
                "countryOrRegion": city.country,
                "geoCoordinates": {"latitude": city.latitude, "longitude": city.longitude},
            },
            "status": {"errorCode": it.code, "failureReason": WHY.get(it.code, "Other.")},
            "authenticationRequirement": "multiFactorAuthentication"
            if it.multifactor
            else "singleFactorAuthentication",
            "autonomousSystemNumber": it.spot.asn,
            "sessionId": it.session,
            "incomingTokenType": token,
            "signInEventTypes": ["interactiveUser" if it.interactive else "nonInteractiveUser"],
        }
    )
    if it.label is not None:
        stream.label(id, user, it.label, valid=it.code != 50126)
    elif it.tags:
        stream.benign.append({"id": id, "tags": list(it.tags)})
    return id


def ran(stream: Stream, app: "Program", at: float, spot: Spot, *, tags: tuple[str, ...] = (), **other: Any) -> str:
    """A sign-in of a service principal."""
    id = stream.id()
    city = spot.seen
    stream.signins.append(
        {
            "id": id,
            "createdDateTime": instant(at),
            "userId": "",
            "userPrincipalName": "",
            "appDisplayName": other.get("resource", app.resource),
            "resourceDisplayName": other.get("resource", app.resource),
            "ipAddress": spot.address,
            "clientAppUsed": "",
            "userAgent": other.get("agent", app.agent),
            "isInteractive": False,
            "deviceDetail": {},
            "location": {
                "city": city.name,
                "countryOrRegion": city.country,
                "geoCoordinates": {"latitude": city.latitude, "longitude": city.longitude},
            },
            "status": {"errorCode": 0},
            "authenticationRequirement": "singleFactorAuthentication",
            "autonomousSystemNumber": spot.asn,
            "sessionId": "",
            "incomingTokenType": "none",
            "signInEventTypes": ["servicePrincipal"],
            "servicePrincipalId": app.id,
            "servicePrincipalName": app.name,
            "servicePrincipalCredentialKeyId": other.get("key", app.key),
        }
    )
    label: Label | None = other.get("label")
    if label is not None:
        stream.label(id, app.id, label, valid=True)
    elif tags:
        stream.benign.append({"id": id, "tags": list(tags)})
    return id


class Program(Struct):
    """A workload; `wanders` is one whose runners have another address each time."""

    id: str
    name: str
    resource: str
    agent: str
    key: str
    places: list[Spot]
    every_s: float
    wanders: bool = False


class Service(Struct):
    """An account of a user that a script uses."""

    id: str
    name: str
    app: str
    agent: str
