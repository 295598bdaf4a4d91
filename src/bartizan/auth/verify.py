"""Who asks: an Authorization header becomes a Caller, or 401 with the reason in Graph's words.

A token that was verified is remembered until it expires or until some right was withdrawn in any process. What a
caller may
do is read from accounts and consents each time that it is verified; the token can only narrow it.

Source: RFC 6750, RFC 8725; Microsoft identity platform, access tokens and claims challenges.
"""

import base64
import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from msgspec import Struct

from bartizan.auth.accounts import Accounts, App, SourceToken, Tenant, User, same
from bartizan.auth.caller import Access, Caller
from bartizan.auth.foreign import Foreign
from bartizan.auth.forms import resource_key
from bartizan.auth.grants import Grants
from bartizan.auth.keys import SigningKeys, unb64
from bartizan.errors import Forbidden, Unauthenticated
from bartizan.settings import Issuer, Settings

MAX_HEADER_CHARS = 16 * 1024

_EMPTY = "Access token is empty."
_MALFORMED = "CompactToken parsing failed with error code: 80049217"  # Graph's own words for what is no JWT
_EXPIRED = "Access token has expired or is not yet valid."
_SIGNATURE = "Access token validation failure. Invalid signature."
_AUDIENCE = "Access token validation failure. Invalid audience."
_ISSUER = "Access token validation failure. Invalid issuer."
_TENANT = "Access token validation failure. Invalid tenant."
_REVOKED = "Continuous access evaluation resulted in challenge: the token was revoked or its rights were withdrawn."
_JWT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")


class _Known(Struct):
    caller: Caller
    generation: int
    expires: float


class Verifier:
    def __init__(
        self,
        settings: Settings,
        accounts: Accounts,
        keys: SigningKeys,
        grants: Grants,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._accounts = accounts
        self._keys = keys
        self._grants = grants
        self._foreign = Foreign(settings, clock)
        self._clock = clock
        self._cache: OrderedDict[bytes, _Known] = OrderedDict()
        self._generation = -1
        self._ask_at = float("-inf")
        self._audiences = {resource_key(a) for a in (*settings.audiences, *settings.bases)}

    async def authenticate(self, authorization: str | None, *, host: str | None = None) -> Caller:
        """Unauthenticated (401) unless the header holds a valid token, with the word Bearer or without it."""
        try:
            return await self._caller(_token(authorization))
        except Unauthenticated as error:
            raise self._challenge(error.message, host) from None

    async def authenticate_source(
        self, authorization: str | None, source: str, access: Access, *, host: str | None = None
    ) -> Caller:
        """Who delivers records of `source`: a source token that names it, or any caller with `access`.

        The Caller of a source token has no permissions; its `app` is "source-token:" and the token's id.
        """
        try:
            token = _source_text(authorization)
            if token.startswith("bzs_"):
                return await self._source_caller(token, source)
            caller = await self._caller(token)
        except Unauthenticated as error:
            raise self._challenge(error.message, host) from None
        caller.require(access)
        return caller

    async def source_token(self, authorization: str | None) -> tuple[Caller, Sequence[str]]:
        """Of a source token alone, also as Splunk's senders write it: the caller and the sources that it names."""
        token = _source_text(authorization)
        if not token.startswith("bzs_"):
            raise Unauthenticated(_MALFORMED)
        found = await self._source_token(token)
        return self._deliverer(found, (await self._tenant(found.tenant)).id), found.sources

    def _challenge(self, message: str, host: str | None) -> Unauthenticated:
        quoted = message.replace('"', "'")
        base = self._settings.base(host)
        header = (
            f'Bearer realm="", authorization_uri="{base}/common/oauth2/authorize", '
            f'error="invalid_token", error_description="{quoted}"'
        )
        return Unauthenticated(message, headers={"WWW-Authenticate": header})

    async def generation(self) -> int:
        """How often rights have changed; asked of the store at most every `revocation_check_ms`."""
        now = time.monotonic()
        if now >= self._ask_at:
            found = await self._accounts.generation()
            if found != self._generation:
                await self._keys.load()
                self._generation = found
            self._ask_at = now + self._settings.revocation_check_ms / 1000
        return self._generation

    async def _caller(self, token: str) -> Caller:
        digest = hashlib.sha256(token.encode()).digest()
        # Most need not ask, and make no coroutine for it.
        generation = self._generation if time.monotonic() < self._ask_at else await self.generation()
        known = self._cache.get(digest)
        if known is not None and known.generation == generation:
            if known.expires <= self._clock():
                raise Unauthenticated(_EXPIRED)
            self._cache.move_to_end(digest)
            return known.caller
        caller, expires = await self._verify(token)
        self._cache[digest] = _Known(caller, generation, expires)
        self._cache.move_to_end(digest)
        while len(self._cache) > self._settings.token_cache_rows:
            self._cache.popitem(last=False)
        return caller

    async def _verify(self, token: str) -> tuple[Caller, float]:
        header, claims = _parse(token)
        issuer = self._foreign.issuer(claims.get("iss"))
        if issuer is not None:
            if not await self._foreign.signed(token, header, issuer):
                raise Unauthenticated(_SIGNATURE)
            expires = self._check_times(claims)
            return await self._foreign_caller(issuer, claims), expires
        await self._check_signature(token, header)
        expires = self._check_times(claims)
        if not _any_in(claims.get("aud"), self._audiences):
            raise Unauthenticated(_AUDIENCE)
        return await self._own_caller(claims), expires

    async def _check_signature(self, token: str, header: Mapping[str, Any]) -> None:
        """RS256 under one of our keys, and nothing else, whatever the header asks for."""
        kid = header.get("kid")
        if header.get("alg") != "RS256" or not isinstance(kid, str) or "crit" in header:
            raise Unauthenticated(_SIGNATURE)
        key = await self._keys.public(kid)
        if key is None:
            raise Unauthenticated(_SIGNATURE)
        signed, _, signature = token.rpartition(".")
        try:
            key.verify(unb64(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        except (InvalidSignature, ValueError):
            raise Unauthenticated(_SIGNATURE) from None

    def _check_times(self, claims: Mapping[str, Any]) -> float:
        now, skew = self._clock(), self._settings.clock_skew_s
        expires, start = _number(claims.get("exp")), _number(claims.get("nbf", 0))
        if expires is None or start is None:
            raise Unauthenticated(_EXPIRED)
        if expires <= now or start > now + skew:
            raise Unauthenticated(_EXPIRED)
        return expires

    # ------------------------------------------------------------ whose token it is

    async def _own_caller(self, claims: Mapping[str, Any]) -> Caller:
        tenant = await self._tenant(_text(claims, "tid"))
        issuers = {f"{base}/{tenant.id}/{part}" for base in self._settings.bases for part in ("", "v2.0")}
        if claims.get("iss") not in issuers:
            raise Unauthenticated(_ISSUER)
        app = await self._app(_text(claims, "appid"))
        user = await self._user(_text(claims, "oid"), tenant.id) if claims.get("idtyp") == "user" else None
        if claims.get("xms_gen") != epochs(tenant, app, user):
            raise Unauthenticated(_REVOKED)
        if user is not None:
            family = await self._grants.family(_text(claims, "sid"))
            if family is None or family.revoked:
                raise Unauthenticated(_REVOKED)
        named = claims.get("roles") if user is None else _text(claims, "scp").split()
        return await self._make(tenant, app, user, frozenset(named or ()))

    async def _foreign_caller(self, issuer: Issuer, claims: Mapping[str, Any]) -> Caller:
        if not _any_in(claims.get("aud"), {resource_key(a) for a in issuer.audiences}):
            raise Unauthenticated(_AUDIENCE)
        reference = issuer.tenants.get("*") or issuer.tenants.get(_text(claims, issuer.tenant_claim))
        found = await self._accounts.tenant(reference) if reference else None
        if found is None:
            raise Unauthenticated(_TENANT)
        tenant = await self._tenant(found.id)
        app = await self._app(_first(claims, issuer.app_claims))
        user = None
        if not _marked(claims, issuer.app_tokens):
            account = await self._accounts.user_by_upn(_first(claims, issuer.user_claims))
            if account is None:
                raise Unauthenticated(_REVOKED)
            user = await self._user(account.id, tenant.id)
        if issuer.consented:
            return await self._make(tenant, app, user, None)
        names: set[str] = set()
        for claim in issuer.permission_claims:
            value = claims.get(claim)
            names |= set(value.split() if isinstance(value, str) else [v for v in value or () if isinstance(v, str)])
        return await self._make(tenant, app, user, frozenset(names))

    async def _tenant(self, id: str) -> Tenant:
        tenant = await self._accounts.get(Tenant, id)
        if tenant is None or tenant.disabled:
            raise Unauthenticated(_TENANT)
        return tenant

    async def _app(self, id: str) -> App:
        app = await self._accounts.get(App, id.lower())
        if app is None or app.disabled:
            raise Unauthenticated(_REVOKED)
        return app

    async def _user(self, id: str, tenant: str) -> User:
        user = await self._accounts.get(User, id)
        if user is None or user.disabled or tenant not in user.roles:
            raise Unauthenticated(_REVOKED)
        return user

    async def _make(self, tenant: Tenant, app: App, user: User | None, named: frozenset[str] | None) -> Caller:
        """With those of the named permissions (None: all) that are consented now."""
        consented = await self._accounts.consented(tenant.id, app.id, user.id if user else "")
        if consented is None:
            raise Unauthenticated(_REVOKED)
        if user is not None:
            consented |= ALWAYS_SCOPES
        permissions = consented if named is None else consented & named
        if user is None:
            return Caller(tenant=tenant.id, app=app.id, app_name=app.name, permissions=permissions)
        return Caller(
            tenant=tenant.id,
            app=app.id,
            app_name=app.name,
            user=user.id,
            upn=user.upn,
            name=user.name,
            permissions=permissions,
            roles=frozenset(user.roles[tenant.id]),
        )

    async def _source_caller(self, text: str, source: str) -> Caller:
        token = await self._source_token(text)
        tenant = await self._tenant(token.tenant)
        if source not in token.sources and "*" not in token.sources:
            raise Forbidden(f"This token is not for the source {source}.")
        return self._deliverer(token, tenant.id)

    async def _source_token(self, text: str) -> SourceToken:
        parts = text.split("_", 2)
        token = await self._accounts.get(SourceToken, parts[1]) if len(parts) == 3 and parts[1].isalnum() else None
        if token is None or token.disabled or not same(text, token.hash):
            raise Unauthenticated(_SIGNATURE)
        if token.expires and token.expires <= self._clock():
            raise Unauthenticated(_EXPIRED)
        return token

    def _deliverer(self, token: SourceToken, tenant: str) -> Caller:
        return Caller(tenant=tenant, app=f"source-token:{token.id}", app_name=token.name or "source token")


# What every account may ask for about itself; no consent is needed.
ALWAYS_SCOPES = frozenset({"openid", "profile", "email", "offline_access"})


def epochs(tenant: Tenant, app: App, user: User | None) -> str:
    """Goes into tokens as xms_gen; raising any of them ends the tokens issued so far."""
    return f"{tenant.epoch}.{app.epoch}.{user.epoch if user else 0}"


def _token(authorization: str | None) -> str:
    text = (authorization or "").strip()
    if len(text) > MAX_HEADER_CHARS:
        raise Unauthenticated(f"The Authorization header is longer than {MAX_HEADER_CHARS} characters.")
    scheme, _, rest = text.partition(" ")
    if scheme.lower() == "bearer":
        text = rest.strip()
    if not text:
        raise Unauthenticated(_EMPTY)
    if not text.isascii() or " " in text:
        raise Unauthenticated(_MALFORMED)
    return text


def _source_text(authorization: str | None) -> str:
    """The token of a source also behind "Splunk" and as the password of Basic, which webhooks and senders can write."""
    scheme, _, rest = (authorization or "").strip().partition(" ")
    if scheme.lower() == "splunk":
        return _token(rest)
    if scheme.lower() == "basic" and len(rest) <= MAX_HEADER_CHARS:
        try:
            return _token(base64.b64decode(rest.strip(), validate=True).decode("ascii").partition(":")[2])
        except ValueError:
            raise Unauthenticated(_MALFORMED) from None
    return _token(authorization)


def _parse(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    if not _JWT.fullmatch(token):
        raise Unauthenticated(_MALFORMED)
    try:
        header, claims = (msgspec.json.decode(unb64(part), type=dict[str, Any]) for part in token.split(".")[:2])
    except (ValueError, RecursionError):
        raise Unauthenticated(_MALFORMED) from None
    return header, claims


def _number(value: object) -> float | None:
    return (
        float(value) if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12 else None
    )


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    return value if isinstance(value, str) and len(value) <= 8192 and "\0" not in value else ""


def _marked(claims: Mapping[str, Any], marks: Mapping[str, str]) -> bool:
    return any(fnmatchcase(_text(claims, name), pattern) for name, pattern in marks.items() if _text(claims, name))


def _first(claims: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return next((value for name in names if (value := _text(claims, name))), "")


def _any_in(value: object, allowed: set[str]) -> bool:
    values = value if isinstance(value, list) else [value]
    return any(isinstance(v, str) and resource_key(v) in allowed for v in values)
