"""Tenants, apps, users and consents: what operators made, and the only thing that authorisation reads.

All of it lives in the store's tenant "system"; ingested users, roles and assignments are evidence and are never
looked at here.
Every change raises the generation, by which all processes learn that what they remember of tokens may be out of date.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Iterable
from typing import Literal, TypeVar
from uuid import UUID, uuid4

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from bartizan.auth import audit
from bartizan.auth.audit import Actor, Target
from bartizan.auth.caller import Caller, Role
from bartizan.auth.keys import KEYS, SYSTEM
from bartizan.errors import BadRequest, Conflict, NotFound
from bartizan.odata.tree import And, Compare, Expr, Path
from bartizan.odata.tree import Literal as Value
from bartizan.store import Collection, Column, Draft, Query, Store, Tx

T = TypeVar("T")
D = TypeVar("D", bound="Document")

TENANTS = Collection(
    "authTenants",
    columns=(Column("domain", fold=True, unique=True), Column("name", fold=True, unique=True)),
    feed=False,
)
APPS = Collection("authApps", columns=(Column("name", fold=True),), feed=False)
USERS = Collection("authUsers", columns=(Column("upn", fold=True, unique=True),), feed=False)
CONSENTS = Collection("authConsents", columns=(Column("tenant"), Column("app"), Column("user")), feed=False)
SOURCE_TOKENS = Collection("authSourceTokens", columns=(Column("tenant"),), feed=False)

GENERATION = "auth.generation"
PROVIDERS = "@providers"  # in Consent.user: its permissions are connections that may be asked live for the app
EVERYONE = "*"  # in Consent.user: every account of the tenant
MAX_ROWS = 100_000  # of one listing
_SECRET_DAYS = 730  # as long as Entra's portal offers
_GUID_SHAPE = 36


class Document(Struct, kw_only=True, rename="camel"):
    """What all of them share. `epoch` goes up when every token issued so far shall end."""

    id: str
    created: int = 0  # seconds since 1970
    disabled: bool = False
    epoch: int = 0


class Tenant(Document, kw_only=True, rename="camel"):
    name: str
    domain: str
    first: bool = False


class AppSecret(Struct, frozen=True, rename="camel"):
    id: str
    hash: str  # SHA-256, hex: the secret has 256 random bits, so nothing slower is needed
    hint: str  # its first three characters, to tell secrets apart
    created: int
    expires: int


class Certificate(Struct, frozen=True, rename="camel"):
    id: str
    x5t: str  # base64url of SHA-1 over the DER
    x5t_s256: str
    pem: str
    expires: int


class App(Document, kw_only=True, rename="camel"):
    """`application` and `delegated` are what it asks for; what it may do stands in Consent."""

    name: str
    redirect_uris: list[str] = []
    secrets: list[AppSecret] = []
    certificates: list[Certificate] = []
    public: bool = True  # may sign users in without a secret (PKCE, device code)
    application: list[str] = []
    delegated: list[str] = []


class User(Document, kw_only=True, rename="camel"):
    upn: str
    name: str
    password: str = ""  # argon2id; empty: cannot sign in here
    roles: dict[str, list[Role]] = {}  # tenant id -> roles there; the first tenant is home

    @property
    def home(self) -> str:
        return next(iter(self.roles), "")


class Consent(Document, kw_only=True, rename="camel"):
    """What an app may do in a tenant: by itself (`user` empty), for one account, or for every account (`*`); and which
    connections may be asked live for it."""

    tenant: str
    app: str
    user: str = ""
    permissions: list[str] = []


class SourceToken(Document, kw_only=True, rename="camel"):
    """May deliver records of named sources into one tenant, and nothing else."""

    tenant: str
    sources: list[str]
    hash: str
    expires: int = 0
    name: str = ""


_COLLECTION: dict[type[Document], Collection] = {
    Tenant: TENANTS,
    App: APPS,
    User: USERS,
    Consent: CONSENTS,
    SourceToken: SOURCE_TOKENS,
}
COLLECTIONS: tuple[Collection, ...] = (*_COLLECTION.values(), KEYS)


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def same(secret: str, hash: str) -> bool:
    return hmac.compare_digest(digest(secret), hash)


def drafted(doc: Document) -> Draft:
    """The document as the store takes it, its declared columns filled in."""
    collection = _COLLECTION[type(doc)]
    columns = {}
    for column in collection.columns:
        value = getattr(doc, column.path)
        columns[column.path] = value.lower() if column.fold else value
    return Draft(collection.name, doc.id, msgspec.json.encode(doc), columns=columns)


def fetch(tx: Tx, kind: type[D], id: str) -> D | None:
    row = tx.get(_COLLECTION[kind].name, id)
    return None if row is None else msgspec.json.decode(row.doc, type=kind)


def raise_generation(tx: Tx) -> None:
    """Every process checks tokens anew afterwards."""
    tx.set_value(GENERATION, b"%d" % (int(tx.value(GENERATION) or b"0") + 1))


def equals(**columns: str) -> Expr:
    parts: list[Expr] = [
        Compare("eq", Path((name,), kind="text"), Value(value, "text")) for name, value in columns.items()
    ]
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def consent_id(tenant: str, app: str, user: str) -> str:
    return f"{tenant}:{app}:{user}"


def _is_guid(text: str) -> bool:
    try:
        return len(text) == _GUID_SHAPE and bool(UUID(text))
    except ValueError:
        return False


class Accounts:
    """Reads and changes of the above. Each change is audited in the system's chain in its own transaction, then in
    the tenant's."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self.store = store
        self.system = store.tenant(SYSTEM)
        self.clock = clock

    # ------------------------------------------------------------ reading

    async def generation(self) -> int:
        return int(await self.system.value(GENERATION) or b"0")

    async def get(self, kind: type[D], id: str) -> D | None:
        row = await self.system.get(_COLLECTION[kind].name, id)
        return None if row is None else msgspec.json.decode(row.doc, type=kind)

    async def every(self, kind: type[D], filter: Expr | None = None) -> list[D]:
        """All of a kind, oldest first; BadRequest where there are more than MAX_ROWS."""
        rows: list[D] = []
        query = Query(top=1000, filter=filter)
        while True:
            page = await self.system.page(_COLLECTION[kind].name, query)
            rows += [msgspec.json.decode(row.doc, type=kind) for row in page.rows]
            if not page.more:
                return sorted(rows, key=lambda doc: (doc.created, doc.id))
            if len(rows) >= MAX_ROWS:
                raise BadRequest(f"there are more than {MAX_ROWS}; ask for one tenant's")
            query = replace(query, after=page.last)

    async def tenant(self, reference: str) -> Tenant | None:
        """By id, domain or name, in any case; also one that is disabled."""
        reference = reference.strip().lower()
        if _is_guid(reference):
            return await self.get(Tenant, reference)
        for column in ("domain", "name"):
            row = await self.system.lookup(TENANTS.name, column, reference)
            if row is not None:
                return msgspec.json.decode(row.doc, type=Tenant)
        return None

    async def chosen(self, reference: str | None) -> Tenant:
        """The one that is named; the first one where none is. NotFound."""
        found = await self.first_tenant() if reference is None else await self.tenant(reference)
        if found is None:
            raise NotFound(f"there is no tenant {reference}; see: bartizan tenant list")
        return found

    async def first_tenant(self) -> Tenant:
        """The one that is there from the start; it is made here where there is none yet."""
        tenants = await self.every(Tenant)
        for tenant in tenants:
            if tenant.first:
                return tenant
        made = Tenant(id=str(uuid4()), created=int(self.clock()), name="default", domain="default.internal", first=True)

        def work(tx: Tx) -> Tenant:
            for row in tx.find(TENANTS.name, None, limit=1000):
                known = msgspec.json.decode(row.doc, type=Tenant)
                if known.first:
                    return known  # another process was faster
            tx.put(drafted(made))
            return made

        return await self.system.write(work, actor="start")

    async def user_by_upn(self, upn: str) -> User | None:
        row = await self.system.lookup(USERS.name, "upn", upn.strip().lower())
        return None if row is None else msgspec.json.decode(row.doc, type=User)

    async def consented(self, tenant: str, app: str, user: str = "") -> frozenset[str] | None:
        """Application permissions (no `user`), or the delegated scopes for an account. None: the app is not known in
        the tenant."""
        own = await self.get(Consent, consent_id(tenant, app, ""))
        if not user:
            return None if own is None else frozenset(own.permissions)
        shared = await self.get(Consent, consent_id(tenant, app, EVERYONE))
        single = await self.get(Consent, consent_id(tenant, app, user))
        found = [c for c in (shared, single) if c is not None]
        if not found and own is None:
            return None
        return frozenset(p for c in found for p in c.permissions)

    async def providers(self, tenant: str, app: str) -> frozenset[str]:
        """Connections of the tenant that may be asked live for an app."""
        found = await self.get(Consent, consent_id(tenant, app, PROVIDERS))
        return frozenset() if found is None else frozenset(found.permissions)

    async def app_tenants(self, app: str) -> list[str]:
        """Ids of the tenants in which an app is known."""
        return sorted({c.tenant for c in await self.every(Consent, equals(app=app))})

    # ------------------------------------------------------------ changing

    async def change(
        self,
        work: Callable[[Tx], T],
        *,
        actor: Actor | Caller,
        activity: str,
        category: str,
        operation: str,
        targets: Iterable[Target],
        tenants: Iterable[str] = (),
        address: str | None = None,
    ) -> T:
        """Does `work` in the system's tenant with the audit entry and the new generation, then tells the tenants
        concerned."""
        targets = tuple(targets)

        def enter(tx: Tx) -> None:
            audit.record(
                tx,
                actor=actor,
                activity=activity,
                category=category,
                operation=operation,
                targets=targets,
                address=address,
            )

        def step(tx: Tx) -> T:
            result = work(tx)
            raise_generation(tx)
            enter(tx)
            return result

        result = await self.system.write(step, actor=actor.actor)
        for tenant in dict.fromkeys(tenants):
            await self.store.tenant(tenant).write(enter, actor=actor.actor)
        return result

    async def add_tenant(self, name: str, domain: str, *, id: str | None = None, actor: Actor | Caller) -> Tenant:
        """Conflict where id, name or domain is taken; BadRequest for a name that the token endpoints give a meaning
        of their own."""
        reserved = {"common", "organizations", "consumers", SYSTEM}
        for value in (name, domain):
            if not value or value.lower() in reserved or _is_guid(value) or any(c in value for c in "/?#%\\ \t\n"):
                raise BadRequest(
                    f"a tenant cannot be called {value!r}: no spaces, slashes or GUIDs, and not {sorted(reserved)}"
                )
        tenant = Tenant(id=_new_id(id), created=int(self.clock()), name=name, domain=domain.lower())
        put = _creator(tenant)
        target = Target("Tenant", tenant.id, tenant.name)
        await self.change(
            put,
            actor=actor,
            activity="Add tenant",
            category="DirectoryManagement",
            operation="Add",
            targets=[target],
            tenants=[tenant.id],
        )
        return tenant

    async def add_app(self, app: App, *, actor: Actor | Caller, tenant: str) -> App:
        """With the consents that it starts with: its `application` and, for every account, its `delegated`
        permissions."""
        consents = [_consent(tenant, app.id, "", app.application), _consent(tenant, app.id, EVERYONE, app.delegated)]

        def work(tx: Tx) -> None:
            _creator(app)(tx)
            for consent in consents:
                if consent.permissions or not consent.user:
                    tx.put(drafted(consent))

        modified = {"permissions": (None, _json(sorted({*app.application, *app.delegated})))}
        await self.change(
            work,
            actor=actor,
            activity="Add application",
            category="ApplicationManagement",
            operation="Add",
            targets=[Target("Application", app.id, app.name, modified=modified)],
            tenants=[tenant],
        )
        return app

    async def add_user(self, user: User, *, actor: Actor | Caller) -> User:
        modified = {"roles": (None, _json(user.roles))}
        await self.change(
            _creator(user),
            actor=actor,
            activity="Add user",
            category="UserManagement",
            operation="Add",
            targets=[Target("User", user.id, user.name, user.upn, modified)],
            tenants=user.roles,
        )
        return user

    async def add_source_token(
        self, tenant: str, sources: Iterable[str], name: str, days: int, *, actor: Actor | Caller
    ) -> tuple[SourceToken, str]:
        """The token and its text, which is not kept."""
        id = secrets.token_hex(8)
        text = f"bzs_{id}_{new_secret()}"
        now = int(self.clock())
        token = SourceToken(
            id=id,
            tenant=tenant,
            sources=sorted(set(sources)),
            hash=digest(text),
            created=now,
            expires=now + days * 86_400 if days else 0,
            name=name,
        )
        await self.change(
            _creator(token),
            actor=actor,
            activity="Add source token",
            category="ApplicationManagement",
            operation="Add",
            targets=[Target("SourceToken", id, name, modified={"sources": (None, _json(token.sources))})],
            tenants=[tenant],
        )
        return token, text

    async def update(
        self,
        kind: type[D],
        id: str,
        step: Callable[[D], D],
        *,
        actor: Actor | Caller,
        activity: str,
        tenants: Iterable[str] = (),
        address: str | None = None,
    ) -> D:
        """`step` makes the new document from the one that is there, inside the writer. NotFound where there is none."""

        def work(tx: Tx) -> D:
            found = fetch(tx, kind, id)
            if found is None:
                raise NotFound(f"there is no {kind.__name__.lower()} {id}")
            made = step(found)
            tx.put(drafted(made))
            return made

        category = {User: "UserManagement", Tenant: "DirectoryManagement"}.get(kind, "ApplicationManagement")
        return await self.change(
            work,
            actor=actor,
            activity=activity,
            category=category,
            operation="Update",
            targets=[Target(kind.__name__, id)],
            tenants=tenants,
            address=address,
        )

    async def grant(
        self,
        tenant: str,
        app: str,
        user: str,
        permissions: Iterable[str],
        *,
        actor: Actor | Caller,
        how: Literal["add", "withdraw", "replace"] = "add",
        address: str | None = None,
    ) -> Consent:
        """Adds permissions to a consent, withdraws them, or leaves no others; doing it twice changes nothing more."""
        wanted = set(permissions)

        def work(tx: Tx) -> Consent:
            known = fetch(tx, Consent, consent_id(tenant, app, user))
            before = set(known.permissions) if known else set()
            after = {"add": before | wanted, "withdraw": before - wanted, "replace": wanted}[how]
            consent = _consent(tenant, app, user, after)
            if user and fetch(tx, Consent, consent_id(tenant, app, "")) is None:
                tx.put(drafted(_consent(tenant, app, "", ())))
            tx.put(drafted(consent))
            return consent

        listed = _json(sorted(wanted))
        modified = {"permissions": (listed, None) if how == "withdraw" else (None, listed)}
        activity, operation = {
            "add": ("Consent to application", "Assign"),
            "withdraw": ("Remove consent", "Unassign"),
            "replace": ("Replace consent", "Update"),
        }[how]
        return await self.change(
            work,
            actor=actor,
            activity=activity,
            category="ApplicationManagement",
            operation=operation,
            targets=[Target("Application", app, modified=modified)],
            tenants=[tenant],
            address=address,
        )

    async def remove(
        self, kind: type[Document], id: str, *, actor: Actor | Caller, tenants: Iterable[str] = ()
    ) -> None:
        """With the consents that name it. NotFound where there is none."""

        def work(tx: Tx) -> None:
            if not tx.delete(_COLLECTION[kind].name, id):
                raise NotFound(f"there is no {kind.__name__.lower()} {id}")
            column = {App: "app", User: "user", Tenant: "tenant"}.get(kind)
            if column is not None:
                for row in tx.find(CONSENTS.name, equals(**{column: id}), limit=MAX_ROWS):
                    tx.delete(CONSENTS.name, row.id)
            if kind is Tenant:
                _leave_tenant(tx, id)

        category = {User: "UserManagement", Tenant: "DirectoryManagement"}.get(kind, "ApplicationManagement")
        await self.change(
            work,
            actor=actor,
            activity=f"Delete {kind.__name__.lower()}",
            category=category,
            operation="Delete",
            targets=[Target(kind.__name__, id)],
            tenants=tenants,
        )

    async def remove_strays(self, *, actor: Actor | Caller) -> tuple[int, int]:
        """Removes accounts and apps that no tenant knows any more; how many of each."""
        users = [user for user in await self.every(User) if not user.roles]
        known = {consent.app for consent in await self.every(Consent)}
        apps = [app for app in await self.every(App) if app.id not in known]
        for user in users:
            await self.remove(User, user.id, actor=actor)
        for app in apps:
            await self.remove(App, app.id, actor=actor)
        return len(users), len(apps)


def _leave_tenant(tx: Tx, tenant: str) -> None:
    """No account keeps roles, no token its way into a tenant that is gone."""
    for row in tx.find(USERS.name, None, limit=MAX_ROWS):
        user = msgspec.json.decode(row.doc, type=User)
        if tenant in user.roles:
            tx.put(drafted(replace(user, roles={t: r for t, r in user.roles.items() if t != tenant})))
    for row in tx.find(SOURCE_TOKENS.name, equals(tenant=tenant), limit=MAX_ROWS):
        tx.delete(SOURCE_TOKENS.name, row.id)


def _creator(doc: Document) -> Callable[[Tx], None]:
    def put(tx: Tx) -> None:
        if tx.put(drafted(doc), unless_exists=True) is None:
            raise Conflict(f"there is already a {type(doc).__name__.lower()} {doc.id}")

    return put


def _consent(tenant: str, app: str, user: str, permissions: Iterable[str]) -> Consent:
    return Consent(
        id=consent_id(tenant, app, user), tenant=tenant, app=app, user=user, permissions=sorted(set(permissions))
    )


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _new_id(id: str | None) -> str:
    if id is None:
        return str(uuid4())
    if not _is_guid(id):
        raise BadRequest(f"{id!r} is not a GUID such as {uuid4()}")
    return id.lower()


def new_id(id: str | None = None) -> str:
    """A random GUID, or `id` in lower case; BadRequest where that is none."""
    return _new_id(id)


def new_secret() -> str:
    """256 random bits in characters that survive an unescaped form, a header and a shell."""
    while (text := secrets.token_urlsafe(32)).startswith("-"):  # would look like an option to a command
        pass
    return text


def new_app_secret(now: float, *, text: str | None = None, days: int = _SECRET_DAYS) -> tuple[AppSecret, str]:
    text = text or new_secret()
    return AppSecret(str(uuid4()), digest(text), text[:3], int(now), int(now) + days * 86_400), text
