"""What controls see: one user, one application, and what holds for the whole tenant; made from Graph objects, purely.

A fact that nobody told is None, never False or zero. Times are aware instants in UTC, durations whole days.

Source: Microsoft Graph, resources user, signIn, userRegistrationDetails, servicePrincipal, conditionalAccessPolicy.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct

from bartizan.model.times import parse, to_datetime

Doc = Mapping[str, Any]

GLOBAL_ADMINISTRATOR = "62e90394-69f5-4237-9190-012177145e10"  # its roleTemplateId; Microsoft Entra built-in roles
SYNC_ROLE = "d29b2b05-8046-44ba-8758-1e26182fcf32"  # Directory Synchronization Accounts
# Directory roles that change nothing; every other one makes an administrator. Source: Microsoft Entra built-in roles.
HARMLESS = frozenset(
    {
        SYNC_ROLE,
        "88d8e3e3-8f55-4a1e-953a-9b9898b8876b",  # Directory Readers
        "95e79109-95c0-4d8e-aee3-d01accf2d47b",  # Guest Inviter
        "790c1fb9-7f7d-4f88-86a1-ef1f95c05c1b",  # Message Center Reader
        "4a5d8f65-41da-4de4-8968-e035b65339cf",  # Reports Reader
        "75934031-6c7e-415a-99d7-48dbd49e875e",  # Usage Summary Reports Reader
        "a0b1b346-4d3e-4e8b-98f8-753987be4970",  # User
        "10dae51f-b6af-4016-8d66-8c2a99b929b3",  # Guest User
        "2af84b1e-32c8-42b7-82bc-daa82404023b",  # Restricted Guest User
    }
)


class Role(Struct, frozen=True):
    template: str  # roleTemplateId; the role's own id where the directory has none
    name: str

    @property
    def privileged(self) -> bool:
        return self.template not in HARMLESS


class Access(Struct, frozen=True):
    """A successful sign-in."""

    at: datetime
    device: str | None = None
    place: str | None = None  # city and country
    strong: bool = False  # multifactor authentication was asked for and given


class User(Struct, frozen=True):
    id: str
    name: str  # userPrincipalName
    enabled: bool | None = None
    guest: bool | None = None
    created: datetime | None = None
    synchronised: bool | None = None
    mailbox: bool | None = None  # licensed, with an address for mail
    licensed: bool | None = None
    roles: tuple[Role, ...] | None = None
    told_admin: bool | None = None  # a registration report says so
    mfa: bool | None = None  # registered for multifactor authentication
    last: datetime | None = None  # successful sign-in
    recent: tuple[Access, ...] = ()  # the last ones, newest first
    legacy: tuple[tuple[str, datetime], ...] = ()  # legacy clients that signed in, and when last

    @property
    def admin(self) -> bool | None:
        """Holds a directory role that can change something; None where neither roles nor a report say."""
        if self.roles is not None:
            return any(role.privileged for role in self.roles) or bool(self.told_admin)
        return self.told_admin

    @property
    def syncs(self) -> bool:
        """The account of a directory synchronisation, which no person uses."""
        return any(role.template == SYNC_ROLE for role in self.roles or ())

    def holds(self) -> str:
        names = sorted(role.name for role in self.roles or () if role.privileged)
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        return shown or "administrator by the registration report"


class Credential(Struct, frozen=True):
    kind: str  # secret or certificate
    id: str
    start: datetime | None
    end: datetime | None


class Workload(Struct, frozen=True):
    id: str
    name: str
    app_id: str | None = None
    enabled: bool | None = None
    type: str | None = None  # Application, ManagedIdentity, Legacy, ...
    foreign: bool = False  # of Microsoft itself: its vendor keeps it
    permissions: tuple[str, ...] | None = None  # application permissions by name; None: assignments were never told
    credentials: tuple[Credential, ...] = ()
    since: datetime | None = None  # the oldest thing known of it
    last: datetime | None = None  # sign-in of it or into it


class Policy(Struct, frozen=True):
    """A conditional access policy."""

    id: str
    name: str
    state: str
    sign_in_risk: frozenset[str] = frozenset()
    user_risk: frozenset[str] = frozenset()
    clients: frozenset[str] = frozenset()
    controls: frozenset[str] = frozenset()
    everyone: bool = False  # all users, applications, places and platforms; excluded users aside


class Tenant(Struct, frozen=True):
    now: datetime
    seen_since: datetime | None = None  # the oldest sign-in that is stored
    fresh_sign_ins: bool = False  # there are some of the last 30 days
    reports_activity: bool = False  # its directory tells of the last sign-in of most users
    legacy_read: bool = True  # every sign-in by legacy clients was read
    workloads_since: bool = False  # sign-ins of applications were stored 90 days ago
    policies: tuple[Policy, ...] | None = None
    global_admins: tuple[tuple[str, str], ...] | None = None  # enabled ones: (id, name)

    def age(self, at: datetime) -> int:
        return (self.now - at) // timedelta(days=1)


def at(value: object) -> datetime | None:
    return to_datetime(parse(str(value))) if value else None


def _latest(*instants: datetime | None) -> datetime | None:
    return max((each for each in instants if each is not None), default=None)


def access(sign_in: Doc) -> Access | None:
    """A sign-in that succeeded."""
    when = at(sign_in.get("createdDateTime"))
    if when is None or (sign_in.get("status") or {}).get("errorCode") != 0:
        return None
    device, location = sign_in.get("deviceDetail") or {}, sign_in.get("location") or {}
    place = ", ".join(part for part in (location.get("city"), location.get("countryOrRegion")) if part)
    strong = sign_in.get("authenticationRequirement") == "multiFactorAuthentication"
    named = device.get("deviceId") or device.get("displayName")
    return Access(when, named or None, place if location.get("city") else None, strong)


def activity(user: Doc) -> datetime | None:
    """The last sign-in by the directory's own account: the last successful one where it tells them apart."""
    told = user.get("signInActivity") or {}
    success = at(told.get("lastSuccessfulSignInDateTime"))
    return success or _latest(at(told.get("lastSignInDateTime")), at(told.get("lastNonInteractiveSignInDateTime")))


def registered(reports: Iterable[Doc | None], recent: Sequence[Access]) -> bool | None:
    """What a report says; else a sign-in that multifactor authentication was given for proves it. Nothing disproves."""
    for report in reports:
        said = (report or {}).get("isMfaRegistered")
        if isinstance(said, bool):
            return said
    return True if any(each.strong for each in recent) else None


def user_facts(
    doc: Doc,
    *,
    reports: Sequence[Doc | None] = (),
    sign_ins: Iterable[Doc] = (),
    roles: Iterable[Role] | None = None,
    legacy: Mapping[str, datetime] | None = None,
) -> User:
    """`reports` are the rows of the registration reports that were brought in, today's first."""
    recent = tuple(sorted(filter(None, map(access, sign_ins)), key=lambda each: each.at, reverse=True))
    admins = [said for each in reports if isinstance(said := (each or {}).get("isAdmin"), bool)]
    licences, kind = doc.get("assignedLicenses"), doc.get("userType")
    return User(
        id=str(doc["id"]),
        name=str(doc.get("userPrincipalName") or doc.get("displayName") or doc["id"]),
        enabled=doc.get("accountEnabled"),
        guest=None if kind is None else str(kind).lower() == "guest",
        created=at(doc.get("createdDateTime")),
        synchronised=doc.get("onPremisesSyncEnabled"),
        mailbox=bool(doc.get("mail")) if licences else None,
        licensed=True if licences else None,
        roles=None if roles is None else tuple(roles),
        told_admin=admins[0] if admins else None,
        mfa=registered(reports, recent),
        last=_latest(activity(doc), recent[0].at if recent else None),
        recent=recent,
        legacy=tuple(sorted((legacy or {}).items())),
    )


def credentials(doc: Doc) -> tuple[Credential, ...]:
    found = []
    for name, kind in (("passwordCredentials", "secret"), ("keyCredentials", "certificate")):
        for each in doc.get(name) or ():
            if each.get("usage") == "Sign":  # signs tokens for others; the other half of the pair is listed too
                continue
            told = str(each.get("displayName") or each.get("keyId") or "without a name")
            found.append(Credential(kind, told, at(each.get("startDateTime")), at(each.get("endDateTime"))))
    return tuple(found)


MICROSOFT = "f8cdef31-a31e-4b4a-93e4-5f571e91255a"  # appOwnerOrganizationId of Microsoft's own applications


def workload_facts(
    doc: Doc, *, granted: Iterable[tuple[str, str | None]] | None = None, last: datetime | None = None
) -> Workload:
    """`granted`: names of application permissions and when each was given; None where none were ever told."""
    given = None if granted is None else tuple(granted)
    keys = credentials(doc)
    known = [when for _, told in given or () if (when := at(told)) is not None]
    known += [each.start for each in keys if each.start is not None]
    return Workload(
        id=str(doc["id"]),
        name=str(doc.get("displayName") or doc.get("appDisplayName") or doc["id"]),
        app_id=doc.get("appId"),
        enabled=doc.get("accountEnabled"),
        type=doc.get("servicePrincipalType"),
        foreign=str(doc.get("appOwnerOrganizationId") or "").lower() == MICROSOFT,
        permissions=None if given is None else tuple(sorted({name for name, _ in given})),
        credentials=keys,
        since=min(known, default=None),
        last=last,
    )


def policy_facts(doc: Doc) -> Policy:
    conditions, grant = doc.get("conditions") or {}, doc.get("grantControls") or {}
    users, apps = conditions.get("users") or {}, conditions.get("applications") or {}
    controls = {*(grant.get("builtInControls") or ())}
    if grant.get("authenticationStrength"):
        controls.add("mfa")
    return Policy(
        id=str(doc["id"]),
        name=str(doc.get("displayName") or doc["id"]),
        state=str(doc.get("state")),
        sign_in_risk=frozenset(conditions.get("signInRiskLevels") or ()),
        user_risk=frozenset(conditions.get("userRiskLevels") or ()),
        clients=frozenset(conditions.get("clientAppTypes") or ()),
        controls=frozenset(controls),
        everyone="All" in (users.get("includeUsers") or ())
        and "All" in (apps.get("includeApplications") or ())
        and not any(_narrows(conditions.get(name)) for name in ("locations", "platforms", "devices")),
    )


def _narrows(condition: Doc | None) -> bool:
    """Whether a condition leaves some sign-ins out; empty lists and the word All do not."""
    return any(value and value not in (["All"], ["all"]) for value in (condition or {}).values())
