"""What the engine reads of a sign-in, of a directory audit and of a principal's activity: flat, typed, interned.

Shapes: microsoft.graph.signIn, microsoft.graph.directoryAudit; activity records are hourly counts of requests by
principal, as MicrosoftGraphActivityLogs summed up.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import ip_address
from sys import intern
from typing import Any
from zlib import crc32

import msgspec
from msgspec import Struct

from bartizan.model import entities

DAY = 86_400.0
DETAILS = 4_000  # characters of what an audit says of changed properties

# Codes of Entra with which the first factor was right (reference error codes of the sign-in log): the password was
# expired, a second factor was asked for, failed or was denied, a policy blocked, "stay signed in" was shown.
VALID = frozenset(
    {
        0, 50005, 50055, 50072, 50074, 50076, 50079, 50097, 50105, 50129, 50131, 50140, 50158, 50203, 53000, 53001,
        53002, 53003, 53004, 53010, 53011, 65001, 500121, 530002, 530003, 530021, 530032, 530035,
    }
)  # fmt: skip
WRONG = frozenset({50126, 50056, 50034, 50053, 50057, 50064, 120021, 1000502})  # wrong or unknown, locked for that
UNSAID = "-"  # for a user agent
DENIED = frozenset({500121})  # the second factor was denied, or not answered
LEGACY = frozenset(
    {
        "Authenticated SMTP",
        "AutoDiscover",
        "Autodiscover",
        "Exchange ActiveSync",
        "Exchange Online PowerShell",
        "Exchange Online Powershell",
        "Exchange Web Services",
        "IMAP4",
        "IMAP",
        "MAPI Over HTTP",
        "MAPI over HTTP",
        "Offline Address Book",
        "Other clients",
        "Outlook Anywhere (RPC over HTTP)",
        "Outlook Service",
        "POP3",
        "POP",
        "Reporting Web Services",
        "SMTP",
        "Universal Outlook",
    }
)  # fmt: skip - clientAppUsed: protocols without modern authentication
_NO_FACTOR = LEGACY - {"Exchange ActiveSync"}
# authenticationProtocol: a password handed to a program (RFC 6749, 4.3), a code that was typed in for another device
# (RFC 8628), by which phishers get a session without a password.
_HANDED_OVER = frozenset({"ropc", "deviceCode"})
# A program that people do not sign in with; ROPC is a password handed over by a program.
_SCRIPT = re.compile(
    r"python|curl/|wget|go-http|okhttp-?bot|java/|axios|node-fetch|undici|powershell/|libwww|ruby|scrapy|headless|"
    r"phantomjs|ropc|fasthttp|aiohttp|httpx",
    re.I,
)


_REMARK, _VERSION = re.compile(r"\([^)]*\)"), re.compile(r"/.*|[\d.]+$")


class SignIn(Struct, gc=False):
    """One sign-in. Times are seconds since 1970; "" and 0 stand for what is not known."""

    id: str
    at: float
    principal: str  # of the user, else of the service principal
    workload: bool
    name: str  # user principal name, or the service principal's name
    code: int
    valid: bool  # the first factor was right
    success: bool
    address: str
    prefix: str  # /24 of IPv4, /48 of IPv6
    asn: int
    country: str
    city: str
    latitude: float | None
    longitude: float | None
    device: str  # id of a registered device
    managed: bool
    os: str  # family
    browser: str  # family
    agent: str
    script: bool
    client: str
    legacy: bool
    app: str
    resource: str
    interactive: bool
    session: str
    token: str  # incomingTokenType
    multifactor: bool
    credential: str  # key id of a workload's credential
    keys: tuple[str, str, str, str]  # short ones of agent, app, device and session: what is remembered
    issuer: str = ""  # of the token that was accepted in place of a password: a federated identity provider


class Audit(Struct, gc=False):
    id: str
    at: float
    principal: str  # who did it
    workload: bool
    name: str
    address: str
    activity: str
    targets: tuple[str, ...]
    success: bool
    target_ids: tuple[str, ...] = ()
    details: str = ""  # "name=new value" of what was changed, cut at DETAILS characters


class Activity(Struct, gc=False):
    id: str
    at: float
    principal: str
    app: str
    address: str
    requests: int
    kinds: int
    names: tuple[str, ...]
    denied: int
    workload: bool = False


Event = SignIn | Audit | Activity


class _Status(Struct):
    errorCode: int | None = None


class _Coordinates(Struct):
    latitude: float | None = None
    longitude: float | None = None


class _Location(Struct):
    city: str | None = None
    countryOrRegion: str | None = None
    geoCoordinates: _Coordinates | None = None


class _Device(Struct):
    deviceId: str | None = None
    operatingSystem: str | None = None
    browser: str | None = None
    isCompliant: bool | None = None
    isManaged: bool | None = None


class RawSignIn(Struct):
    """The members of a signIn document that count."""

    id: str
    createdDateTime: str
    userId: str | None = None
    userPrincipalName: str | None = None
    servicePrincipalId: str | None = None
    servicePrincipalName: str | None = None
    appId: str | None = None
    appDisplayName: str | None = None
    resourceId: str | None = None
    resourceDisplayName: str | None = None
    ipAddress: str | None = None
    autonomousSystemNumber: int | None = None
    clientAppUsed: str | None = None
    authenticationProtocol: str | None = None
    userAgent: str | None = None
    isInteractive: bool | None = None
    sessionId: str | None = None
    incomingTokenType: str | list[str] | None = None
    tokenIssuerName: str | None = None
    tokenIssuerType: str | None = None
    authenticationRequirement: str | None = None
    servicePrincipalCredentialKeyId: str | None = None
    signInEventTypes: list[str] | None = None
    status: _Status | None = None
    location: _Location | None = None
    deviceDetail: _Device | None = None


decode_sign_in = msgspec.json.Decoder(RawSignIn, strict=False).decode


def seconds(text: str) -> float:
    """RFC 3339 as seconds since 1970; UTC where it says no zone. ValueError."""
    at = datetime.fromisoformat(text)
    return (at.replace(tzinfo=UTC) if at.tzinfo is None else at).timestamp()


@lru_cache(65_536)
def address_of(text: str) -> str:
    """One spelling of an address; what is none stays as it is."""
    return intern(entities.address(text.strip()) or text)


@lru_cache(65_536)
def prefix_of(address: str) -> str:
    """The network that one household or office has: /24, or /48."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return ""
    if parsed.version == 4:
        return intern(address.rpartition(".")[0])
    return intern(":".join(parsed.exploded.split(":")[:3]))


_OS = (  # the first that fits: Android says Linux too, iPhones say Mac OS X; kiosks and axios are no iOS
    (re.compile(r"windows phone", re.I), "Windows Phone"),
    (re.compile(r"windows", re.I), "Windows"),
    (re.compile(r"iphone|ipad|\bios", re.I), "iOS"),
    (re.compile(r"android", re.I), "Android"),
    (re.compile(r"\bmac(?!hine)|os x", re.I), "macOS"),
    (re.compile(r"\bcros\b|chrome ?os", re.I), "ChromeOS"),
    (re.compile(r"linux|ubuntu|fedora", re.I), "Linux"),
)
_BROWSERS = (
    ("edge", "Edge"), ("edg/", "Edge"), ("opr/", "Opera"), ("opera", "Opera"), ("samsung", "Samsung"),
    ("firefox", "Firefox"), ("fxios", "Firefox"), ("chrome", "Chrome"), ("crios", "Chrome"), ("chromium", "Chrome"),
    ("safari", "Safari"), ("msie", "IE"), ("trident", "IE"), ("ie ", "IE"),
)  # fmt: skip


@lru_cache(16_384)
def os_of(said: str, agent: str) -> str:
    """The family: what the record says, else what the user agent says; "" where neither does."""
    return next((name for text in (said, agent) for mark, name in _OS if mark.search(text)), "")


@lru_cache(16_384)
def browser_of(said: str, agent: str) -> str:
    return _family(said, _BROWSERS) or (_family(agent, _BROWSERS) if agent.startswith("Mozilla") else "")


def _family(text: str, table: Sequence[tuple[str, str]]) -> str:
    lower = text.lower()
    return next((name for part, name in table if part in lower), "")


@lru_cache(65_536)
def short(text: str) -> str:
    """A name of eight characters: state is kept for millions of principals. Collisions within one of them are rare."""
    return f"{crc32(text.encode('utf-8', 'surrogatepass')):08x}" if text else ""


@lru_cache(16_384)
def product_of(agent: str) -> str:
    """The products that a program names, without versions and remarks: a workload's change with each build."""
    return " ".join(_VERSION.sub("", each) for each in _REMARK.sub(" ", agent).casefold().split())


@lru_cache(16_384)
def script(agent: str) -> bool:
    return bool(_SCRIPT.search(agent))


def of_raw(raw: RawSignIn) -> SignIn:
    """ValueError where the time cannot be read, or nobody signed in."""
    principal, workload, name = _who(raw)
    location, device = raw.location or _NOWHERE, raw.deviceDetail or _NO_DEVICE
    code = (raw.status.errorCode if raw.status else 0) or 0
    address, agent, client = address_of(raw.ipAddress or ""), raw.userAgent or "", raw.clientAppUsed or ""
    app, device_id, session = raw.appDisplayName or raw.appId or "", device.deviceId or "", raw.sessionId or ""
    place = location.geoCoordinates or _UNKNOWN
    known = _on_earth(place)
    token = raw.incomingTokenType or ""
    handed = raw.authenticationProtocol in _HANDED_OVER
    if handed:
        client = raw.authenticationProtocol or ""
    interactive = raw.isInteractive
    if interactive is None:
        interactive = "nonInteractiveUser" not in (raw.signInEventTypes or ())
    return SignIn(
        id=raw.id,
        at=seconds(raw.createdDateTime),
        principal=intern(principal),
        workload=workload,
        name=intern(name),
        code=code,
        valid=code in VALID,
        success=code in (0, 50140),
        address=address,
        prefix=prefix_of(address),
        asn=raw.autonomousSystemNumber or 0,
        country=_country(location.countryOrRegion or ""),
        city=intern(location.city or ""),
        latitude=place.latitude if known else None,
        longitude=place.longitude if known else None,
        device=device_id,
        managed=bool(device.isManaged or device.isCompliant),
        os=os_of(device.operatingSystem or "", agent),
        browser=browser_of(device.browser or "", agent),
        agent=intern(agent),
        script=script(agent),
        client=intern(client),
        legacy=handed or client in _NO_FACTOR,
        app=intern(app),
        resource=intern(raw.resourceDisplayName or raw.resourceId or ""),
        interactive=interactive,
        session=session,
        token=intern(token if isinstance(token, str) else ",".join(token)),
        multifactor=raw.authenticationRequirement == "multiFactorAuthentication",
        credential=raw.servicePrincipalCredentialKeyId or "",
        keys=(short(agent), short(app), short(device_id), short(session)),
        issuer=intern(raw.tokenIssuerName or "") if raw.tokenIssuerType != "AzureAD" else "",
    )


_PROGRAMS = frozenset({"servicePrincipal", "managedIdentity"})  # signInEventTypes
_NOWHERE, _NO_DEVICE, _UNKNOWN = _Location(), _Device(), _Coordinates()


def _who(raw: RawSignIn) -> tuple[str, bool, str]:
    """The principal's id, whether it is a workload, and its name."""
    program = not _PROGRAMS.isdisjoint(raw.signInEventTypes or ()) or not (raw.userId or raw.userPrincipalName)
    if program and raw.servicePrincipalId:
        return raw.servicePrincipalId, True, raw.servicePrincipalName or ""
    name = raw.userPrincipalName or ""
    principal = raw.userId or name.casefold()
    if not principal:
        raise ValueError("a sign-in of nobody: neither userId, userPrincipalName nor servicePrincipalId")
    return principal, False, name


@lru_cache(1_024)
def _country(said: str) -> str:
    """Codes in capitals, names as they are."""
    return intern(said.upper() if len(said) == 2 else said)


def _on_earth(of: _Coordinates) -> bool:
    """Of one that says where; nought and nought is what some write who do not know."""
    if of.latitude is None or of.longitude is None or not (of.latitude or of.longitude):
        return False
    return abs(of.latitude) <= 90 and abs(of.longitude) <= 180


def program_of(event: SignIn) -> str:
    """What tells bursts of wrong credentials apart; people's whose record does not say are together."""
    return event.agent or ("" if event.workload else UNSAID)


def cluster_of(event: SignIn) -> str:
    """Carrier and family of the program; "" where the record says neither, and of workloads."""
    if event.workload:
        return ""
    network = str(event.asn) if event.asn else event.prefix
    program = f"{event.os}/{event.browser}" if event.browser else event.agent.partition("/")[0].casefold()
    return f"{network} {program}" if network and program else ""


def sign_in(body: Mapping[str, Any]) -> SignIn:
    """Of a signIn as a mapping; a number may be written as text. ValueError where a member has another type, or as
    `of_raw`."""
    return of_raw(msgspec.convert(body, RawSignIn, strict=False))


def audit(body: Mapping[str, Any]) -> Audit:
    """Of a directoryAudit. ValueError where it has no time."""
    by = body.get("initiatedBy") or {}
    user, app = by.get("user") or {}, by.get("app") or {}
    resources = [each for each in body.get("targetResources") or () if isinstance(each, Mapping)]
    targets = [
        str(each.get("displayName") or each.get("userPrincipalName") or each.get("id") or "") for each in resources
    ]
    changed = [each for one in resources for each in one.get("modifiedProperties") or () if isinstance(each, Mapping)]
    details = "; ".join(f"{each.get('displayName') or ''}={each.get('newValue') or ''}" for each in changed[:64])
    by_app = not user.get("id") and app.get("servicePrincipalId")
    return Audit(
        id=str(body["id"]),
        at=seconds(str(body["activityDateTime"])),
        principal=str(user.get("id") or by_app or str(user.get("userPrincipalName") or "").casefold()),
        workload=bool(by_app),
        name=str(user.get("userPrincipalName") or app.get("displayName") or ""),
        address=address_of(str(user.get("ipAddress") or "")),
        activity=str(body.get("activityDisplayName") or ""),
        targets=tuple(targets),
        success=body.get("result") in (None, "success"),
        target_ids=tuple(str(each["id"]) for each in resources if each.get("id")),
        details=details[:DETAILS],
    )


def activity(body: Mapping[str, Any]) -> Activity:
    """Of a count of requests: principalId, timeGenerated, requests, resourceKinds, denied403. ValueError."""
    names = tuple(str(each) for each in body.get("resourceKinds") or ())
    return Activity(
        id=str(body["id"]),
        at=seconds(str(body["timeGenerated"])),
        principal=str(body["principalId"]),
        app=str(body.get("appId") or ""),
        address=address_of(str(body.get("ipAddress") or "")),
        requests=int(body.get("requests") or 0),
        kinds=int(body.get("distinctResourceKinds") or len(names)),
        names=names,
        denied=int(body.get("denied403") or 0),
        workload=body.get("isWorkload") is True,
    )
