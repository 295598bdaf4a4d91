"""The authority: decides on grants and makes the tokens, in the shape that MSAL and its kin expect.

Source: Microsoft identity platform (token endpoint, access tokens, id tokens); RFC 6749; OpenID Connect Core 1.0.
"""

import hashlib
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import msgspec
import structlog
from msgspec import Struct
from msgspec.structs import replace

from bartizan.auth import aadsts, accounts, audit, grants, throttle
from bartizan.auth.accounts import Accounts, App, Tenant, User
from bartizan.auth.clients import Client, Clients
from bartizan.auth.forms import Form, Scope, parse_scope, resource_key
from bartizan.auth.grants import Grant, Grants, Redeemed
from bartizan.auth.keys import SYSTEM, SigningKeys, Vault, b64
from bartizan.auth.passwords import Passwords
from bartizan.auth.proof import Attempt, by_password
from bartizan.auth.strangers import Kind, Strangers
from bartizan.auth.throttle import Throttle, network
from bartizan.auth.verify import ALWAYS_SCOPES, Verifier, epochs
from bartizan.errors import StorageFull, Unavailable
from bartizan.model.ids import stable_id
from bartizan.settings import Settings
from bartizan.store import Collection, Store

_log = structlog.get_logger(__name__)

COLLECTIONS: tuple[Collection, ...] = (*accounts.COLLECTIONS, *grants.COLLECTIONS, throttle.COUNTS)

ANY_TENANT = ("common", "organizations")
_SERVED = "auth.served"  # value of the system's: the address at which the server was started last
GRAPH = "https://graph.microsoft.com"
# Scopes that an account may consent to for itself; all others need a SecurityAdministrator.
SELF_SCOPES = frozenset({"User.Read"})

Permissions = Callable[
    [], tuple[frozenset[str], frozenset[str]]
]  # application, delegated: those that resources declare


class Ask(Struct, frozen=True):
    """A request to the token endpoint."""

    tenant: str  # as the path has it
    form: Form
    authorization: str
    address: str  # of the client
    base: str  # scheme and host for issuer and audience
    version: str  # "v1" or "v2"
    correlation_id: str | None = None


class Authority:
    def __init__(
        self,
        settings: Settings,
        store: Store,
        *,
        permissions: Permissions | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.store = store
        self.clock = clock
        self.vault = Vault.open(settings)
        audit.sign_with(self.vault.derive("audit"))
        self.accounts = Accounts(store, clock)
        self.keys = SigningKeys(settings, store, self.vault, clock)
        self.grants = Grants(settings, store, clock)
        self.throttle = Throttle(settings, store, clock)
        self.passwords = Passwords()
        self.clients = Clients(settings, self.accounts, self.grants, self.throttle, clock)
        self.verifier = Verifier(settings, self.accounts, self.keys, self.grants, clock)
        self.strangers = Strangers(self._stranger, clock)
        self._permissions = permissions

    async def start(self) -> None:
        """Makes the first tenant and the first signing key where there are none. Safe in several processes at once."""
        await self.accounts.first_tenant()
        await self.keys.upkeep()

    async def prepare(self) -> None:
        """What is done once before a server's processes start: all of `start`, the keys proved to open (ValueError),
        and the address noted for the commands."""
        await self.start()
        await self.keys.check()
        root = self.settings.root.encode()
        system = self.store.tenant(SYSTEM)
        if await system.value(_SERVED) != root:
            await system.write(lambda tx: tx.set_value(_SERVED, root), actor="start")

    async def root(self) -> str:
        """The public address: by setting, else where the server answered last, else where it would."""
        known = None if self.settings.address else await self.store.tenant(SYSTEM).value(_SERVED)
        return known.decode() if known else self.settings.root

    # ------------------------------------------------------------ tenants, scopes

    async def tenant(self, reference: str) -> Tenant | None:
        """None for common and organizations; OAuthError where there is no such tenant."""
        if reference.lower() in ANY_TENANT:
            return None
        tenant = await self.accounts.tenant(reference) if len(reference) <= 256 else None
        if tenant is None or tenant.disabled:
            raise aadsts.unknown_tenant(reference)
        return tenant

    async def tenant_of(self, reference: str, user: User, app: App, *, unknown: bool = False) -> Tenant:
        """The tenant that is named. For common and organizations the account's home, else the first of its tenants in
        which the app is known; with `unknown` it need not be."""
        named = await self.tenant(reference)
        if named is not None:
            return named
        for id in user.roles:
            tenant = await self.accounts.get(Tenant, id)
            known = unknown or await self.accounts.consented(id, app.id, user.id) is not None
            if tenant is not None and not tenant.disabled and known:
                return tenant
        raise aadsts.unknown_app(app.id, user.upn)

    def audience(self, resource: str | None) -> str:
        """The `aud` for a resource that a client names: Graph's address or the own one. None is Graph."""
        if resource is None:
            return GRAPH
        key = resource_key(resource)
        known = {resource_key(r): r for r in (*self.settings.bases, *self.settings.audiences)}
        if key not in known:
            raise aadsts.unknown_resource(resource)
        return known[key].rstrip("/")

    def wanted(self, ask_scope: str, resource: str, app: App) -> tuple[str, Scope]:
        """Audience and scopes of a sign-in; v1 names a resource and means everything that was consented."""
        scope = parse_scope(ask_scope)
        if not scope.names and not scope.default and (resource or not scope.oidc):
            scope = replace(scope, default=True, resource=resource or None)
        audience = self.audience(scope.resource)
        if scope.default:
            return audience, replace(scope, names=tuple(app.delegated))
        known = {name.lower(): name for name in (*self._delegated(), *SELF_SCOPES, *app.delegated)}
        unknown = [name for name in scope.names if name.lower() not in known]
        if unknown and self._permissions is not None:
            raise aadsts.unknown_scope(unknown[0])
        return audience, replace(scope, names=tuple(known.get(name.lower(), name) for name in scope.names))

    def _delegated(self) -> frozenset[str]:
        return self._permissions()[1] if self._permissions is not None else frozenset()

    async def missing_scopes(self, scope: Scope, tenant: str, app: App, user: str) -> frozenset[str]:
        """Those that are still to be consented. For .default nothing is missing as soon as something was consented."""
        consented = await self.accounts.consented(tenant, app.id, user)
        if consented is None:
            raise aadsts.unknown_app(app.id, tenant)
        if scope.default and consented:
            return frozenset()
        return frozenset(scope.names) - consented - ALWAYS_SCOPES

    async def granted(self, scope: Scope, tenant: str, app: App, user: str) -> tuple[str, ...]:
        """The scopes that go into the token, all of them consented."""
        consented = await self.accounts.consented(tenant, app.id, user) or frozenset()
        return tuple(sorted(consented if scope.default else consented & frozenset(scope.names)))

    # ------------------------------------------------------------ the token endpoint

    async def token(self, ask: Ask) -> dict[str, Any]:
        """The body of the answer. OAuthError says what was wrong; failures of known apps are audited."""
        tenant = await self.tenant(ask.tenant)
        kind = ask.form.get("grant_type")
        if not kind:
            raise aadsts.missing("grant_type")
        answer = {
            "client_credentials": self._client_credentials,
            "authorization_code": self._authorization_code,
            "refresh_token": self._refresh_token,
            "device_code": self._device_code,
            "urn:ietf:params:oauth:grant-type:device_code": self._device_code,
            "password": self._password,
        }.get(kind)
        if answer is None or (kind == "password" and not self.settings.password_grant):
            raise aadsts.unsupported_grant(kind)
        client: Client | None = None
        try:
            client = await self.clients.identify(
                ask.form, ask.authorization, address=ask.address, audiences=self._endpoints(ask, tenant)
            )
            return await answer(ask, tenant, client)
        except aadsts.OAuthError as error:
            proved = client is not None and client.confidential
            if error.stranger:
                await self.stranger(tenant, "client", error.stranger, ask.address)
            if error.alarm or (proved and error.error not in ("authorization_pending", "slow_down")):
                await self._audit_failure(ask, tenant, error)
            raise

    def _endpoints(self, ask: Ask, tenant: Tenant | None) -> set[str]:
        """What an assertion may name as its audience."""
        names = {ask.tenant, *((tenant.id, tenant.domain, tenant.name) if tenant else ())}
        parts = ("", "/v2.0", "/oauth2/token", "/oauth2/v2.0/token")
        return {f"{base}/{name}{part}" for base in self.settings.bases for name in names for part in parts}

    async def _audit_failure(self, ask: Ask, tenant: Tenant | None, error: aadsts.OAuthError) -> None:
        app = await self.accounts.get(App, ask.form.get("client_id").lower()) if ask.form.get("client_id") else None
        if app is not None and tenant is not None:
            actor = audit.Actor(app=app.id, app_name=app.name)
            await self._audit_token(ask, tenant, app, actor, result="failure", reason=error.text())

    async def _audit_token(self, ask: Ask, tenant: Tenant, app: App, actor: audit.Actor, **entry: Any) -> None:
        try:
            await self.audit(
                tenant.id,
                actor,
                "Issue token",
                targets=[audit.Target("Application", app.id, app.name)],
                address=ask.address,
                correlation_id=ask.correlation_id,
                details={"grant_type": ask.form.get("grant_type")},
                **entry,
            )
        except (StorageFull, Unavailable) as error:  # who answers an incident can read on a full disk; the log says it
            said = {"tenant": tenant.id, "app": app.id, "user": actor.user, "result": entry.get("result", "success")}
            _log.error("sign-in not audited", **said, correlation_id=ask.correlation_id, reason=error.message)

    async def stranger(self, tenant: Tenant | None, kind: Kind, name: str, address: str) -> None:
        """An attempt under a name that nobody has; of no tenant in particular it stands in the system's chain."""
        domains = frozenset(each.domain.lower() for each in await self.accounts.every(Tenant))
        await self.strangers.tried(SYSTEM if tenant is None else tenant.id, kind, name, network(address), domains)

    async def _stranger(self, tenant: str, activity: str, fields: dict[str, Any]) -> None:
        await self.audit(tenant, audit.Actor(), activity, **fields)

    async def audit(self, tenant: str, actor: audit.Actor, activity: str, **entry: Any) -> None:
        entry = {"category": "Authentication", "operation": audit.SIGN_IN, **entry}
        await self.store.tenant(tenant).write(
            lambda tx: audit.record(tx, actor=actor, activity=activity, **entry), actor=actor.actor
        )

    async def _client_credentials(self, ask: Ask, tenant: Tenant | None, client: Client) -> dict[str, Any]:
        if not client.confidential:
            raise aadsts.no_credentials()
        if tenant is None:
            tenants = await self.accounts.app_tenants(client.app.id)
            if len(tenants) != 1:
                raise aadsts.no_tenant()
            tenant = await self.tenant(tenants[0])
            assert tenant is not None
        text, resource = ask.form.get("scope"), ask.form.get("resource")
        if not text and not resource:
            raise aadsts.missing("scope" if ask.version == "v2" else "resource")
        if text:
            scope = parse_scope(text)
            if not scope.default:
                raise aadsts.not_default_scope(text)
            resource = scope.resource or resource
        audience = self.audience(resource or None)
        permissions = await self.accounts.consented(tenant.id, client.app.id)
        if permissions is None:
            raise aadsts.unknown_app(client.app.id, tenant.id)
        principal = stable_id("servicePrincipal", tenant.id, client.app.id)
        claims = self._claims(ask, tenant, client.app, None, audience) | {
            "azpacr": "2" if client.by_certificate else "1",
            "idtyp": "app",
            "oid": principal,
            "sub": principal,
            "roles": sorted(permissions),
        }
        await self._audit_token(ask, tenant, client.app, audit.Actor(app=client.app.id, app_name=client.app.name))
        return self._answer(ask, await self.keys.sign(claims), audience)

    async def _authorization_code(self, ask: Ask, tenant: Tenant | None, client: Client) -> dict[str, Any]:
        self._may_be_public(client)
        code = ask.form.get("code")
        if not code:
            raise aadsts.missing("code")
        redeemed = await self.grants.redeem_code(
            code,
            app=client.app.id,
            redirect_uri=ask.form.get("redirect_uri"),
            verifier=ask.form.get("code_verifier") or None,
            confidential=client.confidential,
        )
        return await self._first_tokens(ask, tenant, client, redeemed)

    async def _refresh_token(self, ask: Ask, tenant: Tenant | None, client: Client) -> dict[str, Any]:
        self._may_be_public(client)
        token = ask.form.get("refresh_token")
        if not token:
            raise aadsts.missing("refresh_token")
        grant = await self.grants.held(token, app=client.app.id)
        if grant is not None:
            # What cannot be answered is refused first: else the client would keep a token that was rotated away.
            await self._usable(ask, tenant, client, grant)
        redeemed = await self.grants.rotate(token, app=client.app.id, confidential=client.confidential)
        return await self._user_tokens(ask, tenant, client, redeemed)

    async def _device_code(self, ask: Ask, tenant: Tenant | None, client: Client) -> dict[str, Any]:
        self._may_be_public(client)
        code = ask.form.get("device_code") or ask.form.get("code")  # v1 calls it code
        if not code:
            raise aadsts.missing("device_code")
        redeemed = await self.grants.redeem_device(
            code, app=client.app.id, tenant=tenant.id if tenant else None, confidential=client.confidential
        )
        return await self._first_tokens(ask, tenant, client, redeemed)

    async def _password(self, ask: Ask, tenant: Tenant | None, client: Client) -> dict[str, Any]:
        """RFC 6749, section 4.3. Nobody is asked for consent: it must have been given before."""
        self._may_be_public(client)
        username, password = ask.form.get("username"), ask.form.values.get("password", "")
        if not username or not password:
            raise aadsts.missing("password" if username else "username")
        app = client.app
        resource, scope = self.wanted(ask.form.get("scope"), ask.form.get("resource"), app)
        user = await by_password(self, Attempt(ask.tenant, app.id, username, ask.address), password)
        tenant = await self.tenant_of(ask.tenant, user, app)
        if await self.missing_scopes(scope, tenant.id, app, user.id):
            raise aadsts.consent_required(app.name)
        grant = Grant(
            tenant=tenant.id,
            app=app.id,
            user=user.id,
            resource=resource,
            scopes=await self.granted(scope, tenant.id, app, user.id),
            oidc=("openid", "profile", "offline_access") if ask.version == "v1" else scope.oidc,
            auth_time=int(self.clock()),
            epochs=epochs(tenant, app, user),
        )
        return await self._first_tokens(ask, tenant, client, await self.grants.begin(grant, client.confidential))

    def _may_be_public(self, client: Client) -> None:
        if not client.confidential and not client.app.public:
            raise aadsts.no_credentials()

    # ------------------------------------------------------------ tokens

    async def _first_tokens(
        self, ask: Ask, tenant: Tenant | None, client: Client, redeemed: Redeemed
    ) -> dict[str, Any]:
        """Of a sign-in, which is audited; a refresh is none."""
        answer = await self._user_tokens(ask, tenant, client, redeemed)
        where, user = await self.tenant(redeemed.grant.tenant), await self.accounts.get(User, redeemed.grant.user)
        if where is not None and user is not None:
            app = client.app
            actor = audit.Actor(app=app.id, app_name=app.name, user=user.id, upn=user.upn, name=user.name)
            await self._audit_token(ask, where, app, actor)
        return answer

    async def _usable(
        self, ask: Ask, tenant: Tenant | None, client: Client, grant: Grant
    ) -> tuple[Tenant, User, Grant]:
        """Whose grant it is, and what this request takes of it; OAuthError where that is nothing any more."""
        if tenant is not None and tenant.id != grant.tenant:
            raise aadsts.bad_grant()
        tenant = await self.tenant(grant.tenant)
        assert tenant is not None
        user = await self.account(grant.user, tenant.id)
        if grant.epochs != epochs(tenant, client.app, user):
            raise aadsts.revoked_grant()
        return tenant, user, await self._narrowed(ask, grant, client.app, user)

    async def _user_tokens(self, ask: Ask, asked: Tenant | None, client: Client, redeemed: Redeemed) -> dict[str, Any]:
        tenant, user, grant = await self._usable(ask, asked, client, redeemed.grant)
        claims = self._user_claims(ask, tenant, client, user, grant, redeemed.family)
        answer = self._answer(ask, await self.keys.sign(claims), grant.resource)
        answer["scope"] = " ".join((*grant.scopes, *(s for s in grant.oidc if s != "offline_access")))
        if redeemed.refresh:
            answer["refresh_token"] = redeemed.refresh
        if "openid" in grant.oidc or ask.version == "v1":
            answer["id_token"] = await self.id_token(ask.base, ask.version, tenant, client.app, user, grant)
        if ask.form.get("client_info") == "1":
            answer["client_info"] = self.client_info(user, tenant)
        return answer

    async def account(self, user: str, tenant: str) -> User:
        """The account, if it may sign in to the tenant."""
        known = await self.accounts.get(User, user)
        if known is None:
            raise aadsts.bad_grant()
        if known.disabled:
            raise aadsts.disabled_user()
        if tenant not in known.roles:
            raise aadsts.not_in_tenant(known.upn, tenant)
        return known

    async def _narrowed(self, ask: Ask, grant: Grant, app: App, user: User) -> Grant:
        """The grant with the scopes and the resource that this request asks for, as far as they are consented now."""
        text, resource = ask.form.get("scope"), ask.form.get("resource")
        if text or resource:
            audience, scope = self.wanted(text, resource, app)
            named = bool(scope.names) or scope.default
            if await self.missing_scopes(scope, grant.tenant, app, user.id):
                raise aadsts.consent_required(app.name)
            if named:
                scopes = await self.granted(scope, grant.tenant, app, user.id)
                return replace(grant, scopes=scopes, resource=audience)
        consented = await self.accounts.consented(grant.tenant, app.id, user.id)
        if consented is None:
            raise aadsts.consent_required(app.name)
        return replace(grant, scopes=tuple(s for s in grant.scopes if s in consented))

    def issuer(self, base: str, version: str, tenant: Tenant) -> str:
        return f"{base}/{tenant.id}/v2.0" if version == "v2" else f"{base}/{tenant.id}/"

    def _claims(self, ask: Ask, tenant: Tenant, app: App, user: User | None, audience: str) -> dict[str, Any]:
        now = int(self.clock())
        return {
            "aud": audience,
            "iss": self.issuer(ask.base, ask.version, tenant),
            "iat": now,
            "nbf": now,
            "exp": now + self.settings.access_token_s,
            "appid": app.id,
            "azp": app.id,
            "app_displayname": app.name,
            "tid": tenant.id,
            "uti": b64(uuid4().bytes),
            "ver": "2.0" if ask.version == "v2" else "1.0",
            "xms_gen": epochs(tenant, app, user),
        }

    def _user_claims(
        self, ask: Ask, tenant: Tenant, client: Client, user: User, grant: Grant, family: str
    ) -> dict[str, Any]:
        return self._claims(ask, tenant, client.app, user, grant.resource) | {
            "azpacr": ("2" if client.by_certificate else "1") if client.confidential else "0",
            "idtyp": "user",
            "name": user.name,
            "oid": user.id,
            "preferred_username": user.upn,
            "upn": user.upn,
            "scp": " ".join((*grant.scopes, *(s for s in grant.oidc if s != "offline_access"))),
            "sid": family,
            "sub": subject(user, client.app),
            "auth_time": grant.auth_time,
            "amr": ["pwd"],
        }

    async def id_token(
        self, base: str, version: str, tenant: Tenant, app: App, user: User, grant: Grant, *, code: str | None = None
    ) -> str:
        """Who signed in, for the app; with `c_hash` where it comes beside a code (OpenID Connect Core, 3.3.2.11)."""
        now = int(self.clock())
        claims: dict[str, Any] = {
            "aud": app.id,
            "iss": self.issuer(base, version, tenant),
            "iat": now,
            "nbf": now,
            "exp": now + self.settings.access_token_s,
            "auth_time": grant.auth_time,
            "oid": user.id,
            "sub": subject(user, app),
            "tid": tenant.id,
            "name": user.name,
            "preferred_username": user.upn,
            "uti": b64(uuid4().bytes),
            "ver": "2.0" if version == "v2" else "1.0",
        }
        if version == "v1":
            claims |= {"upn": user.upn, "unique_name": user.upn}
        if "email" in grant.oidc:
            claims["email"] = user.upn
        if grant.nonce:
            claims["nonce"] = grant.nonce
        if code is not None:
            claims["c_hash"] = b64(hashlib.sha256(code.encode()).digest()[:16])
        return await self.keys.sign(claims)

    def client_info(self, user: User, tenant: Tenant) -> str:
        return b64(msgspec.json.encode({"uid": user.id, "utid": tenant.id}))

    def _answer(self, ask: Ask, access_token: str, audience: str) -> dict[str, Any]:
        life_s, now = self.settings.access_token_s, int(self.clock())
        if ask.version == "v2":
            times: dict[str, Any] = {"expires_in": life_s, "ext_expires_in": life_s}
        else:
            times = {
                "expires_in": str(life_s),
                "ext_expires_in": str(life_s),
                "expires_on": str(now + life_s),
                "not_before": str(now),
                "resource": audience,
            }
        return {"token_type": "Bearer", **times, "access_token": access_token}


def subject(user: User, app: App) -> str:
    """Differs from app to app, as OpenID Connect's pairwise identifiers."""
    return b64(hashlib.sha256(f"{user.id} {app.id}".encode()).digest())
