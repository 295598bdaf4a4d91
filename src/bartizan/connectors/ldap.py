"""A directory behind LDAP: Active Directory, or a server with inetOrgPerson and groupOfNames such as OpenLDAP.

The first look, and one a day, names everything; the others name what has changed since, by uSNChanged (which only the
same domain controller counts) or by modifyTimestamp. Where a group has changed, all groups are named again with their
members, at most every so often: LDAP says that a group has changed, not who has left it.

Source: RFC 4519 and RFC 2798 (attributes), RFC 4530 (entryUUID), draft-behera-ldap-password-policy
(pwdAccountLockedTime); Microsoft, "Active Directory schema", "Polling for changes using uSNChanged",
"UserAccountControl property flags"; Microsoft Graph, resources user, group and device (onPremises properties).
"""

import re
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Annotated, Any, ClassVar
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from bartizan.connectors.ldap_wire import Entry, Wire
from bartizan.extend import GraphObject
from bartizan.extend.connectors import (
    LOCAL,
    Batch,
    Connector,
    Denied,
    Done,
    Edge,
    Offer,
    Order,
    Outside,
    Rejected,
    Secret,
    Stream,
)
from bartizan.model.ids import stable_id
from bartizan.model.times import instant, to_datetime

MAX_ENTRIES = 1_000_000
MAX_SEEN = 1_000  # groups within SKEW; above it they are named again
SKEW = timedelta(minutes=5)  # that the server's clock may differ from ours; modifyTimestamp is the server's
PAGE_OBJECTS = 500  # groups of one batch
PAGE_EDGES = 10_000
_DISABLED = 0x2  # ADS_UF_ACCOUNTDISABLE
_SECURITY = 0x8000_0000  # ADS_GROUP_TYPE_SECURITY_ENABLED

# Roles of Entra that an administrators' group may stand for -> their template there.
_TEMPLATES = {
    "Global Administrator": "62e90394-69f5-4237-9190-012177145e10",
    "Security Administrator": "194ae4cb-b126-40b2-bd5b-6091b380977d",
    "User Administrator": "fe930be7-5e62-47db-91af-98c3a49a38b1",
    "Privileged Role Administrator": "e8611ab8-c189-46e8-94e1-60213ab1f814",
    "Helpdesk Administrator": "729827e3-9c14-49f7-bb1b-9608f156bbb8",
}


class LdapSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    url: Annotated[str, Meta(description="ldaps://HOST, or ldap://HOST with StartTLS", pattern=r"^ldaps?://[^/]+$")]
    user: Annotated[str, Meta(description="name to bind with: a DN, in Active Directory also a UPN")] = ""
    password: Annotated[Secret, Meta(description="of that name")] | None = None
    base_dn: Annotated[str, Meta(description="below which is read; empty: as the server says")] = ""
    users_filter: Annotated[str, Meta(description="instead of what the kind of server has", max_length=2_000)] = ""
    groups_filter: Annotated[str, Meta(description="instead of what the kind of server has", max_length=2_000)] = ""
    devices_filter: Annotated[str, Meta(description="instead of what the kind of server has", max_length=2_000)] = ""
    admin_roles: Annotated[
        dict[str, str], Meta(description="name of a group -> the role that its members hold", max_length=200)
    ] = {}
    write: Annotated[bool, Meta(description="whether accounts may be disabled and enabled (Active Directory)")] = False
    whole_every_h: Annotated[int, Meta(description="hours between two looks at everything", ge=1, le=168)] = 24
    groups_every_min: Annotated[int, Meta(description="least minutes between two looks at all groups", ge=0)] = 15
    page_rows: Annotated[int, Meta(description="entries of one page", ge=1, le=1_000)] = 500
    timeout_s: Annotated[int, Meta(description="for one answer", ge=1, le=300)] = 60
    plain: Annotated[bool, Meta(description="ldap:// without StartTLS: passwords can be read on the way")] = False
    ca_file: Annotated[str, Meta(description="certificate authority of the server, as PEM", extra=LOCAL)] = ""
    verify: Annotated[bool, Meta(description="whether its certificate is checked")] = True

    def __post_init__(self) -> None:
        if bool(self.user) != (self.password is not None):
            raise ValueError("user and password go together")


class _Kind(Struct, frozen=True, kw_only=True):
    """What one kind of server calls things."""

    id: str
    changed: str  # attribute by which changes are found
    users: str
    groups: str
    devices: str
    members: tuple[str, ...]  # attributes of a group with DNs
    names: tuple[str, ...] = ()  # ...and with account names
    account: str
    created: str


_ACTIVE_DIRECTORY = _Kind(
    id="objectGUID",
    changed="uSNChanged",
    users="(&(objectCategory=person)(objectClass=user))",
    groups="(objectCategory=group)",
    devices="(objectCategory=computer)",
    members=("member",),
    account="sAMAccountName",
    created="whenCreated",
)
_PLAIN = _Kind(
    id="entryUUID",
    changed="modifyTimestamp",
    users="(|(objectClass=inetOrgPerson)(objectClass=posixAccount))",
    groups="(|(objectClass=groupOfNames)(objectClass=groupOfUniqueNames)(objectClass=posixGroup))",
    devices="(objectClass=device)",
    members=("member", "uniqueMember"),
    names=("memberUid",),
    account="uid",
    created="createTimestamp",
)
# Property of a user -> attributes that hold it, the first that has a value.
_PERSON = {
    "displayName": ("displayName", "cn"),
    "givenName": ("givenName",),
    "surname": ("sn",),
    "mail": ("mail",),
    "jobTitle": ("title",),
    "department": ("department", "departmentNumber"),
    "companyName": ("company", "o"),
    "officeLocation": ("physicalDeliveryOfficeName", "roomNumber"),
    "mobilePhone": ("mobile",),
    "employeeId": ("employeeID", "employeeNumber"),
    "employeeType": ("employeeType",),
    "country": ("co", "c"),
    "city": ("l",),
    "state": ("st",),
    "streetAddress": ("streetAddress", "street"),
    "postalCode": ("postalCode",),
    "preferredLanguage": ("preferredLanguage",),
}
_USER = (
    *(name for names in _PERSON.values() for name in names), "userPrincipalName", "sAMAccountName", "uid", "objectGUID",
    "entryUUID", "objectSid", "userAccountControl", "primaryGroupID", "whenCreated", "createTimestamp", "pwdLastSet",
    "pwdChangedTime", "telephoneNumber", "manager", "pwdAccountLockedTime", "nsAccountLock", "uSNChanged",
    "modifyTimestamp",
)  # fmt: skip
_GROUP = (
    "cn", "displayName", "description", "mail", "sAMAccountName", "objectGUID", "entryUUID", "objectSid", "groupType",
    "whenCreated", "createTimestamp", "uSNChanged", "modifyTimestamp",
)  # fmt: skip
_DEVICE = (
    "cn", "displayName", "dNSHostName", "sAMAccountName", "objectGUID", "entryUUID", "objectSid", "userAccountControl",
    "operatingSystem", "operatingSystemVersion", "lastLogonTimestamp", "primaryGroupID", "whenCreated",
    "createTimestamp", "uSNChanged", "modifyTimestamp",
)  # fmt: skip


class _Cursor(Struct, frozen=True):
    server: str  # that counts `mark`
    mark: str
    whole_at: str
    groups_at: str
    groups_due: bool = False
    seen: tuple[str, ...] = ()  # groups that a search from `mark` on will find again, as they were


class Ldap(Connector):
    name: ClassVar[str] = "ldap"
    vendor: ClassVar[str] = "LDAP"
    product: ClassVar[str] = "Directory"
    doc: ClassVar[str] = "Users, groups and computers of Active Directory or another LDAP directory."
    settings: ClassVar[type[Struct]] = LdapSettings
    streams: ClassVar[Mapping[str, Stream]] = {
        "directory": Stream("Users, groups with their members, computers, and roles of administrators.", every_s=300)
    }
    offers: ClassVar[Mapping[str, Offer]] = {
        "disableUser": Offer("user", "Keeps an account of Active Directory from signing in.", undo="enableUser"),
        "enableUser": Offer("user", "Lets an account of Active Directory sign in again.", undo="disableUser"),
    }

    def __init__(self, settings: LdapSettings, outside: Outside) -> None:
        super().__init__(settings, outside)

    async def check(self) -> str:
        async with Wire(self.set) as wire:
            kind = _kind(wire)
            async for page in wire.pages(self.set.users_filter or kind.users, (kind.id,)):
                more = " or more" if len(page) >= self.set.page_rows else ""
                return f"{wire.base} has {len(page)}{more} users"
            raise Rejected(
                f"{self.set.url} shows no user below {wire.base}: may the account read, is the filter right?"
            )

    async def pull(self, stream: str, cursor: str | None) -> AsyncIterator[Batch]:
        known = msgspec.json.decode(cursor, type=_Cursor) if cursor else None
        async with Wire(self.set) as wire:
            look = _Look(self.set, wire, known, await _counted_by(wire))
            async for objects, edges in look.everything():
                yield Batch(cursor=cursor or "", objects=objects, edges=edges)
            following = msgspec.json.encode(look.cursor()).decode()
            if following != cursor:
                yield Batch(cursor=following, whole=look.whole)

    async def act(self, order: Order) -> Done:
        """Where the account is so already, nothing is done, and that is said."""
        if not self.set.write:
            raise Denied("this connection may not change accounts: set `write`")
        disable = order.name == "disableUser"
        word = "disabled" if disable else "enabled"
        async with Wire(self.set) as wire:
            if not wire.active_directory:
                raise Rejected(f"{self.set.url} is not Active Directory: it has no userAccountControl")
            found = await _account(wire, order.target)
            flags = found.number("userAccountControl")
            if flags is None:
                raise Denied(f"userAccountControl of {found.dn} cannot be read")
            wanted = flags | _DISABLED if disable else flags & ~_DISABLED
            if wanted == flags:
                return Done("completed", f"{found.dn} was {word} already")
            await wire.change(found.dn, "userAccountControl", str(flags), str(wanted))
            return Done("completed", f"{found.dn} is {word}")


def _kind(wire: Wire) -> _Kind:
    return _ACTIVE_DIRECTORY if wire.active_directory else _PLAIN


async def _counted_by(wire: Wire) -> str:
    """Who counts uSNChanged: a domain controller, and of one that was restored its new life."""
    service = wire.root.text("dsServiceName") or ""
    entry = await wire.one(service, "(objectClass=*)", ("invocationId",)) if service else None
    return f"{service} {entry.guid('invocationId') if entry is not None else ''}".strip()


async def _account(wire: Wire, target: str) -> Entry:
    """By UPN, account name, SID or object id; Rejected where that is none or several."""
    value = _escaped(target)
    clauses = [f"(userPrincipalName={value})", f"(sAMAccountName={_escaped(target.rpartition(chr(92))[2])})"]
    if target.upper().startswith("S-1-"):
        clauses.append(f"(objectSid={value})")
    guid = _guid_filter(target)
    if guid is not None:
        clauses.append(f"(objectGUID={guid})")
    search = f"(&{_ACTIVE_DIRECTORY.users}(|{''.join(clauses)}))"
    found = [each async for page in wire.pages(search, ("userAccountControl",)) for each in page]
    if len(found) != 1:
        raise Rejected(f"{len(found) or 'no'} accounts are called '{target[:100]}' below {wire.base}")
    return found[0]


def _escaped(text: str) -> str:
    """RFC 4515, section 3."""
    return "".join(f"\\{ord(c):02x}" if c in "*()\\\0" else c for c in text)


def _guid_filter(text: str) -> str | None:
    try:
        return "".join(f"\\{byte:02x}" for byte in UUID(text).bytes_le)
    except ValueError:
        return None


# ---------------------------------------------------------------- one look


class _Look:
    """What a look finds, and where the next one begins."""

    def __init__(self, settings: LdapSettings, wire: Wire, known: _Cursor | None, server: str) -> None:
        self._set = settings
        self._wire = wire
        self._kind = _kind(wire)
        self._now = datetime.now(UTC)
        self._server = server or settings.url
        usn = wire.root.text("highestCommittedUSN")
        self._whole = known is None or not self._goes_on(known, usn)
        self._known = known
        # Read before the search, so that what changes meanwhile is found again.
        self._mark = usn or f"{self._now - SKEW:%Y%m%d%H%M%S}Z"
        self._seen = () if known is None else known.seen
        self._all_groups = self._whole
        self._due = known is not None and known.groups_due
        self._ids: dict[str, tuple[str, str] | None] = {}  # key of a DN, or of "uid:" and name -> (set, id)
        self._by_rid: dict[int, str] = {}  # last part of a group's SID -> its id
        self._latest: set[str] = set()  # groups that changed after `mark`
        self._primary: list[tuple[int, str, str]] = []  # (rid of the group, set, id)
        self.whole: tuple[str, ...] = ()

    def _goes_on(self, known: _Cursor, usn: str | None) -> bool:
        """Whether the same server counts on, and it is not yet time for everything."""
        if (
            known.server != self._server
            or to_datetime(known.whole_at) + timedelta(hours=self._set.whole_every_h) < self._now
        ):
            return False
        return usn is None or int(known.mark or 0) <= int(usn)

    def cursor(self) -> _Cursor:
        now = instant(self._now)
        before = self._known
        return _Cursor(
            server=self._server,
            mark=self._mark,
            whole_at=now if self._whole or before is None else before.whole_at,
            groups_at=now if self._all_groups or before is None else before.groups_at,
            groups_due=self._due and not self._all_groups,
            seen=tuple(sorted(self._latest)) if len(self._latest) <= MAX_SEEN else (),
        )

    async def everything(self) -> AsyncIterator[tuple[list[GraphObject], list[Edge]]]:
        changed_groups = await self._changed_groups()
        self._due = self._due or bool(changed_groups)
        if self._due and not self._whole and self._known is not None:
            least = timedelta(minutes=self._set.groups_every_min)
            self._all_groups = to_datetime(self._known.groups_at) + least <= self._now
        if self._all_groups:
            async for _ in self._sweep():
                yield [], []  # a look at a large directory goes on
        async for page in self._users():
            yield page
        async for page in self._devices():
            yield page
        async for page in self._groups(changed_groups):
            yield page
        roles = ("directoryRoles",) if self._set.admin_roles else ()
        groups = ("groups", *roles) if self._all_groups else ()
        self.whole = ("users", "devices", *groups) if self._whole else groups

    # ------------------------------------------------------------ who is who

    async def _sweep(self) -> AsyncIterator[int]:
        """The ids of all that can be in a group; how many there are so far, page by page."""
        kind, count = self._kind, 0
        attributes = (kind.id, "objectSid", "primaryGroupID", kind.account)
        for collection in ("users", "devices", "groups"):
            async for page in self._wire.pages(self._filter(collection), attributes):
                count += len(page)
                if count > MAX_ENTRIES:
                    raise Rejected(f"{self._set.url} has more than {MAX_ENTRIES} entries: set base_dn or filters")
                for entry in page:
                    self._note(collection, entry)
                yield count

    def _note(self, collection: str, entry: Entry) -> None:
        id = self._id(entry)
        self._ids[_key(entry.dn)] = (collection, id)
        name = entry.text(self._kind.account)
        if collection == "users" and name:
            self._ids[_key(f"uid:{name}")] = (collection, id)
        sid = entry.sid("objectSid")
        if collection == "groups" and sid is not None:
            self._by_rid[int(sid.rpartition("-")[2])] = id
        rid = entry.number("primaryGroupID")
        if collection != "groups" and rid is not None:
            self._primary.append((rid, collection, id))

    def _id(self, entry: Entry) -> str:
        guid = entry.guid("objectGUID") if self._kind is _ACTIVE_DIRECTORY else entry.text("entryUUID")
        return (guid or stable_id("ldap", entry.dn.lower())).lower()

    async def _known_as(self, name: str) -> tuple[str, str] | None:
        """Whose DN (or "uid:" and name) that is; None of what is kept in no set, and of another server's."""
        key = _key(name)
        if key not in self._ids and not self._all_groups:
            self._ids[key] = await self._asked(name)
        return self._ids.get(key)

    async def _asked(self, name: str) -> tuple[str, str] | None:
        for collection in ("users", "devices", "groups"):
            if name.startswith("uid:"):
                search = f"(&{self._filter(collection)}({self._kind.account}={_escaped(name[4:])}))"
                async for page in self._wire.pages(search, (self._kind.id,)):
                    return collection, self._id(page[0])
            else:
                entry = await self._wire.one(name, self._filter(collection), (self._kind.id,))
                if entry is not None:
                    return collection, self._id(entry)
        return None

    # ------------------------------------------------------------ searching

    def _filter(self, collection: str) -> str:
        own: str = getattr(self._set, f"{collection}_filter")
        return own or str(getattr(self._kind, collection))

    def _changed(self, collection: str) -> str:
        """With what has changed since the last look, unless everything is looked at."""
        if self._whole or self._known is None or not self._known.mark:
            return self._filter(collection)
        mark = self._known.mark
        least = str(int(mark) + 1) if self._kind is _ACTIVE_DIRECTORY else mark
        return f"(&{self._filter(collection)}({self._kind.changed}>={least}))"

    async def _changed_groups(self) -> list[Entry]:
        """With their ids alone; their members are read when they are named."""
        attributes = (self._kind.id, "objectSid", "modifyTimestamp", "entryCSN")
        found = [each async for page in self._wire.pages(self._changed("groups"), attributes) for each in page]
        if self._kind is _ACTIVE_DIRECTORY:
            return found
        stamps = {_stamp(self._id(each), each): each for each in found}
        self._latest = {stamp for stamp, each in stamps.items() if (each.text("modifyTimestamp") or "") >= self._mark}
        return [each for stamp, each in stamps.items() if stamp not in self._seen]

    async def _users(self) -> AsyncIterator[tuple[list[GraphObject], list[Edge]]]:
        async for page in self._wire.pages(self._changed("users"), _USER):
            objects, edges = [], []
            for entry in page:
                body = _user(entry, self._id(entry), self._domain())
                objects.append(GraphObject("users", "microsoft.graph.user", body))
                manager = entry.text("manager")
                known = await self._known_as(manager) if manager else None
                if known is not None and known[0] == "users":
                    edges.append(Edge("manager", body["id"], *known))
            yield objects, edges

    async def _devices(self) -> AsyncIterator[tuple[list[GraphObject], list[Edge]]]:
        async for page in self._wire.pages(self._changed("devices"), _DEVICE):
            bodies = [_device(entry, self._id(entry)) for entry in page]
            yield [GraphObject("devices", "microsoft.graph.device", body) for body in bodies], []

    async def _groups(self, changed: Sequence[Entry]) -> AsyncIterator[tuple[list[GraphObject], list[Edge]]]:
        objects: list[GraphObject] = []
        edges: list[Edge] = []
        async for made in self._of_groups(changed):
            if isinstance(made, GraphObject):
                objects.append(made)
            else:
                edges.append(made)
            if len(objects) >= PAGE_OBJECTS or len(edges) >= PAGE_EDGES:
                yield objects, edges
                objects, edges = [], []
        if objects or edges:
            yield objects, edges

    async def _of_groups(self, changed: Sequence[Entry]) -> AsyncIterator[GraphObject | Edge]:
        attributes = (*_GROUP, *self._kind.members, *self._kind.names)
        if not self._all_groups:
            for each in changed:
                entry = await self._wire.one(each.dn, self._filter("groups"), attributes)
                if entry is not None:
                    async for made in self._group(entry):
                        yield made
            return
        async for page in self._wire.pages(self._filter("groups"), attributes):
            for entry in page:
                async for made in self._group(entry):
                    yield made
        for rid, collection, id in self._primary:  # which no group names as its members
            if rid in self._by_rid:
                yield Edge("members", self._by_rid[rid], collection, id)

    async def _group(self, entry: Entry) -> AsyncIterator[GraphObject | Edge]:
        """A group, its members, and the role that it stands for."""
        body = _group(entry, self._id(entry), self._domain())
        yield GraphObject("groups", "microsoft.graph.group", body)
        names = {name.lower() for name in (entry.dn, body["displayName"], entry.text("sAMAccountName") or "")}
        for name, role in self._set.admin_roles.items():
            if name.lower() in names:
                made = _role(role, self._set.url)
                yield made
                yield Edge("members", made.body["id"], "groups", body["id"])
        for attribute in (*self._kind.members, *self._kind.names):
            prefix = "uid:" if attribute in self._kind.names else ""
            for value in await self._wire.whole(entry, attribute):
                known = await self._known_as(prefix + value.decode("utf-8", "replace"))
                if known is not None:
                    yield Edge("members", body["id"], *known)

    def _domain(self) -> str:
        """ "dc=corp,dc=example" -> "corp.example"."""
        parts = (part.strip() for part in self._wire.base.split(","))
        return ".".join(part[3:] for part in parts if part.lower().startswith("dc="))


def _key(dn: str) -> str:
    """One spelling of a DN: case and spaces around separators do not matter."""
    return re.sub(r"\s*([,=+])\s*", r"\1", dn).lower()


def _stamp(id: str, entry: Entry) -> str:
    """Short, since cursors hold many: a group as it is. entryCSN tells two changes of one second apart."""
    parts = (id, entry.text("modifyTimestamp") or "", entry.text("entryCSN") or "")
    return sha256("\0".join(parts).encode()).hexdigest()[:16]


# ---------------------------------------------------------------- entries as Graph objects


def _some(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _user(entry: Entry, id: str, domain: str) -> dict[str, Any]:
    account = entry.text("sAMAccountName", "uid")
    upn = entry.text("userPrincipalName") or (f"{account}@{domain}" if account and domain else None)
    guid = entry.raw("objectGUID")
    return _some(
        id=id,
        userPrincipalName=upn or entry.text("mail") or entry.dn,
        accountEnabled=_enabled(entry),
        userType="Member",
        businessPhones=entry.texts("telephoneNumber") or None,
        createdDateTime=entry.time("whenCreated") or entry.time("createTimestamp"),
        lastPasswordChangeDateTime=entry.filetime("pwdLastSet") or entry.time("pwdChangedTime"),
        onPremisesDistinguishedName=entry.dn,
        onPremisesDomainName=domain or None,
        onPremisesImmutableId=b64encode(guid).decode() if guid else None,
        onPremisesSamAccountName=account,
        onPremisesSecurityIdentifier=entry.sid("objectSid"),
        onPremisesSyncEnabled=True,
        onPremisesUserPrincipalName=entry.text("userPrincipalName"),
        **{name: entry.text(*attributes) for name, attributes in _PERSON.items()},
    )


def _enabled(entry: Entry) -> bool:
    """Of Active Directory by userAccountControl; elsewhere by what keeps an account from binding."""
    flags = entry.number("userAccountControl")
    if flags is not None:
        return not flags & _DISABLED
    return entry.text("pwdAccountLockedTime") is None and (entry.text("nsAccountLock") or "").lower() != "true"


def _group(entry: Entry, id: str, domain: str) -> dict[str, Any]:
    kind, mail = entry.number("groupType"), entry.text("mail")
    return _some(
        id=id,
        displayName=entry.text("displayName", "cn", "sAMAccountName") or entry.dn,
        description=entry.text("description"),
        mail=mail,
        mailEnabled=mail is not None,
        securityEnabled=kind is None or bool(kind & _SECURITY),
        groupTypes=[],
        createdDateTime=entry.time("whenCreated") or entry.time("createTimestamp"),
        onPremisesDomainName=domain or None,
        onPremisesSamAccountName=entry.text("sAMAccountName", "cn"),
        onPremisesSecurityIdentifier=entry.sid("objectSid"),
        onPremisesSyncEnabled=True,
    )


def _device(entry: Entry, id: str) -> dict[str, Any]:
    host = entry.text("dNSHostName")
    return _some(
        id=id,
        deviceId=id,
        displayName=entry.text("cn", "displayName") or host or entry.dn,
        accountEnabled=_enabled(entry),
        operatingSystem=entry.text("operatingSystem"),
        operatingSystemVersion=entry.text("operatingSystemVersion"),
        approximateLastSignInDateTime=entry.filetime("lastLogonTimestamp"),
        hostnames=[host] if host else None,
        onPremisesSecurityIdentifier=entry.sid("objectSid"),
        onPremisesSyncEnabled=True,
        trustType="ServerAd" if entry.number("userAccountControl") is not None else None,
    )


def _role(name: str, url: str) -> GraphObject:
    id = stable_id("ldap", url, "role", name.lower())
    body = {"id": id, "displayName": name, "roleTemplateId": _TEMPLATES.get(name, id)}
    return GraphObject("directoryRoles", "microsoft.graph.directoryRole", body)
