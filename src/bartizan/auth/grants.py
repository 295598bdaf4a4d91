"""What was granted and can be turned into tokens: authorization codes, device codes, refresh token families, browser
sessions.

Each is kept under the SHA-256 of the text that the client holds. Each step is one write, so that it happens once
however many processes serve.

Source: RFC 6749, RFC 7636 (PKCE), RFC 8628 (device code); RFC 9700, section 4.14 (rotation, reuse detection).
"""

import contextlib
import hashlib
import hmac
import secrets
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Literal, TypeVar

import msgspec
from msgspec import Struct

from bartizan.auth import aadsts
from bartizan.auth.aadsts import OAuthError
from bartizan.auth.accounts import digest, raise_generation
from bartizan.auth.keys import SYSTEM, b64
from bartizan.errors import Conflict
from bartizan.settings import Settings
from bartizan.store import Collection, Column, Draft, Store, Tx

CODES = Collection("authCodes", feed=False, keep=timedelta(days=1))
DEVICES = Collection("authDevices", columns=(Column("userCode", unique=True),), feed=False, keep=timedelta(days=1))
FAMILIES = Collection("authFamilies", feed=False, keep=timedelta(days=400))
SESSIONS = Collection("authSessions", feed=False, keep=timedelta(days=31))
ASSERTIONS = Collection("authAssertions", feed=False, keep=timedelta(days=1))
COLLECTIONS = (CODES, DEVICES, FAMILIES, SESSIONS, ASSERTIONS)

# Letters that are not mistaken for one another and spell no words; 20 ** 8 codes, RFC 8628, section 6.1.
_USER_CODE_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
_USER_CODE_CHARS = 8
_SLACK_S = 1.0  # a device that asks at the interval may arrive this much early
_SLOWER_S = 5  # RFC 8628, section 3.5
_MAX_INTERVAL_S = 120

T = TypeVar("T")


class Grant(Struct, frozen=True, rename="camel"):
    """What a user lets an app do: the material of access, refresh and id tokens."""

    tenant: str
    app: str
    user: str
    resource: str
    scopes: tuple[str, ...]  # short names of the resource's scopes
    oidc: tuple[str, ...] = ()  # of openid, profile, email, offline_access
    nonce: str | None = None
    auth_time: int = 0
    epochs: str = ""  # of tenant, app and account when it was granted; see `verify.epochs`


class _Code(Struct, rename="camel"):
    grant: Grant
    redirect_uri: str
    challenge: str
    method: str
    expires: int
    used: bool = False
    family: str = ""


class Device(Struct, rename="camel"):
    """A device's question. `user_code` is what its user types in."""

    user_code: str
    grant: Grant  # its user is empty until somebody approves; its tenant while the device named none
    expires: int
    interval: int
    state: Literal["pending", "approved", "declined", "redeemed"] = "pending"
    asked: float = 0.0


class Family(Struct, rename="camel"):
    """A chain of refresh tokens of which only the last is good."""

    id: str
    grant: Grant
    confidential: bool  # the client proved who it is, and must each time
    current: str
    expires: int
    previous: str = ""
    rotated: float = 0.0
    revoked: bool = False


class Redeemed(Struct, frozen=True):
    """What a code turned into. `refresh` is empty unless offline_access was granted."""

    grant: Grant
    family: str
    refresh: str


class Session(Struct, rename="camel"):
    """Somebody signed in, in a browser."""

    user: str
    epoch: int
    auth_time: int
    expires: int


class Grants:
    def __init__(self, settings: Settings, store: Store, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._system = store.tenant(SYSTEM)
        self._clock = clock

    async def _write(self, work: Callable[[Tx], T | OAuthError]) -> T:
        """Runs `work`; an error that it returns is raised after what it wrote is kept."""
        result = await self._system.write(work, actor="authority")
        if isinstance(result, OAuthError):
            raise result
        return result

    # ------------------------------------------------------------ authorization codes

    async def add_code(self, grant: Grant, redirect_uri: str, challenge: str, method: str) -> str:
        code = f"0.{secrets.token_urlsafe(48)}"
        doc = _Code(grant, redirect_uri, challenge, method, int(self._clock()) + self._settings.code_s)
        await self._write(lambda tx: _put(tx, CODES, digest(code), doc))
        return code

    async def redeem_code(
        self, code: str, *, app: str, redirect_uri: str | None, verifier: str | None, confidential: bool
    ) -> Redeemed:
        """A code that comes twice was stolen from somebody: the tokens that came of it end."""

        def work(tx: Tx) -> Redeemed | OAuthError:
            row = tx.get(CODES.name, digest(code))
            known = None if row is None else msgspec.json.decode(row.doc, type=_Code)
            if known is None or known.grant.app != app:
                return aadsts.bad_grant()
            if known.used:
                return aadsts.used_code(alarm=_revoke(tx, known.family))
            if known.expires <= self._clock():
                return aadsts.expired_code()
            if redirect_uri != known.redirect_uri:
                return aadsts.redirect_differs()
            if not _proves(known.challenge, known.method, verifier):
                return aadsts.bad_verifier()
            if not confidential and known.method != "S256":
                return aadsts.pkce_needed() if known.challenge else aadsts.no_credentials()
            known.used = True
            redeemed = self._family(tx, known.grant, confidential)
            known.family = redeemed.family
            _put(tx, CODES, digest(code), known)
            return redeemed

        return await self._write(work)

    # ------------------------------------------------------------ refresh tokens

    async def begin(self, grant: Grant, confidential: bool) -> Redeemed:
        """A family for a grant that came without a code."""
        return await self._write(lambda tx: self._family(tx, grant, confidential))

    def _family(self, tx: Tx, grant: Grant, confidential: bool) -> Redeemed:
        """There is a family also where there is no refresh token: through it the access tokens can be ended."""
        name, secret = secrets.token_urlsafe(16), secrets.token_urlsafe(32)
        family = digest(name)
        expires = int(self._clock()) + self._settings.refresh_token_s
        _put(tx, FAMILIES, family, Family(family, grant, confidential, digest(secret), expires))
        return Redeemed(grant, family, f"1.{name}.{secret}" if "offline_access" in grant.oidc else "")

    async def held(self, token: str, *, app: str) -> Grant | None:
        """The grant behind a refresh token that is good; None for any other, of which `rotate` says what is wrong."""
        parts = token.split(".")
        family = await self.family(digest(parts[1])) if len(parts) == 3 else None
        if family is None or family.revoked or family.grant.app != app:
            return None
        return family.grant if hmac.compare_digest(family.current, digest(parts[2])) else None

    async def rotate(self, token: str, *, app: str, confidential: bool) -> Redeemed:
        """The next refresh token. One that was rotated away came back: one of two holders is a thief, so the family
        ends."""
        parts = token.split(".")
        if len(parts) != 3 or parts[0] != "1":
            raise aadsts.bad_grant()
        id, hash, fresh = digest(parts[1]), digest(parts[2]), secrets.token_urlsafe(32)

        def work(tx: Tx) -> Redeemed | OAuthError:
            row = tx.get(FAMILIES.name, id)
            family = None if row is None else msgspec.json.decode(row.doc, type=Family)
            if family is None or family.grant.app != app:
                return aadsts.bad_grant()
            now = self._clock()
            if family.revoked:
                return aadsts.revoked_grant()
            if family.confidential and not confidential:
                return aadsts.no_credentials()
            if not hmac.compare_digest(family.current, hash):
                late = now - family.rotated > self._settings.refresh_grace_s or self._settings.refresh_grace_s == 0
                if late or not hmac.compare_digest(family.previous, hash):
                    return aadsts.revoked_grant(alarm=_revoke(tx, id))
            if family.expires <= now:
                return aadsts.expired_code()
            family.previous, family.current, family.rotated = family.current, digest(fresh), now
            family.expires = int(now) + self._settings.refresh_token_s
            _put(tx, FAMILIES, id, family)
            return Redeemed(family.grant, id, f"1.{parts[1]}.{fresh}")

        return await self._write(work)

    async def family(self, id: str) -> Family | None:
        row = await self._system.get(FAMILIES.name, id)
        return None if row is None else msgspec.json.decode(row.doc, type=Family)

    # ------------------------------------------------------------ device codes

    async def add_device(self, grant: Grant) -> tuple[str, Device]:
        """The device's secret code and what its user is shown."""
        code = secrets.token_urlsafe(48)
        expires = int(self._clock()) + self._settings.device_code_s
        while True:
            user_code = "".join(secrets.choice(_USER_CODE_LETTERS) for _ in range(_USER_CODE_CHARS))
            device = Device(user_code, grant, expires, self._settings.device_interval_s)
            with contextlib.suppress(Conflict):  # the same user code is alive: once in a while among 25,600,000,000
                await self._write(partial(_put, collection=DEVICES, id=digest(code), doc=device, userCode=user_code))
                return code, device

    async def device(self, user_code: str) -> Device | None:
        """What a user was asked to approve, if it still waits. Case, spaces and dashes do not matter."""
        typed = "".join(c for c in user_code.upper() if c.isalnum())
        row = await self._system.lookup(DEVICES.name, "userCode", typed)
        device = None if row is None else msgspec.json.decode(row.doc, type=Device)
        if device is None or device.state != "pending" or device.expires <= self._clock():
            return None
        return device

    async def answer_device(self, user_code: str, grant: Grant | None) -> bool:
        """Approves with the grant of the one who signed in, or declines with None. False if it no longer waits."""
        row = await self._system.lookup(DEVICES.name, "userCode", user_code)
        if row is None:
            return False
        id = row.id

        def work(tx: Tx) -> bool:
            found = tx.get(DEVICES.name, id)
            device = None if found is None else msgspec.json.decode(found.doc, type=Device)
            if device is None or device.state != "pending" or device.expires <= self._clock():
                return False
            device.state = "declined" if grant is None else "approved"
            device.grant = grant or device.grant
            _put(tx, DEVICES, id, device, userCode=device.user_code)
            return True

        return await self._write(work)

    async def redeem_device(self, code: str, *, app: str, tenant: str | None, confidential: bool) -> Redeemed:
        """The tokens' material once it is approved; until then OAuthErrors that say how it stands."""
        id = digest(code)

        def work(tx: Tx) -> Redeemed | OAuthError:
            row = tx.get(DEVICES.name, id)
            device = None if row is None else msgspec.json.decode(row.doc, type=Device)
            if device is None or device.grant.app != app or device.state == "redeemed":
                return aadsts.device_unknown()
            if device.state == "declined":
                return aadsts.device_declined()
            now = self._clock()
            if device.expires <= now:
                return aadsts.device_expired()
            error: OAuthError | None = None
            if now - device.asked < device.interval - _SLACK_S:
                device.interval = min(device.interval + _SLOWER_S, _MAX_INTERVAL_S)
                error = aadsts.device_slow_down()
            elif device.state == "pending":
                error = aadsts.device_pending()
            elif tenant is not None and device.grant.tenant != tenant:
                error = aadsts.device_unknown()
            else:
                device.state = "redeemed"
            device.asked = now
            _put(tx, DEVICES, id, device, userCode=device.user_code)
            return error or self._family(tx, device.grant, confidential)

        return await self._write(work)

    # ------------------------------------------------------------ sessions, assertions

    async def add_session(self, user: str, epoch: int) -> str:
        id = secrets.token_urlsafe(32)
        now = int(self._clock())
        await self._write(
            lambda tx: _put(tx, SESSIONS, digest(id), Session(user, epoch, now, now + self._settings.session_s))
        )
        return id

    async def session(self, id: str | None) -> Session | None:
        row = await self._system.get(SESSIONS.name, digest(id)) if id else None
        session = None if row is None else msgspec.json.decode(row.doc, type=Session)
        return session if session is not None and session.expires > self._clock() else None

    async def end_session(self, id: str) -> None:
        await self._write(lambda tx: tx.delete(SESSIONS.name, digest(id)))

    async def may_use(self, assertion: str, place: str) -> bool:
        """False if the assertion came before, unless it came from the same (non-empty) place.

        The caller refuses those that live longer than the day for which they are remembered.
        """
        doc = msgspec.json.encode({"place": place})

        def work(tx: Tx) -> bool:
            known = tx.get(ASSERTIONS.name, digest(assertion))
            if known is not None:
                return bool(place) and known.doc == doc
            tx.put(Draft(ASSERTIONS.name, digest(assertion), doc))
            return True

        return await self._write(work)


def _put(tx: Tx, collection: Collection, id: str, doc: Struct, **columns: str) -> None:
    tx.put(Draft(collection.name, id, msgspec.json.encode(doc), columns=columns))


def _revoke(tx: Tx, family: str) -> bool:
    """Also ends the access tokens that came of the family, which carry its id. False if that was done before."""
    row = tx.get(FAMILIES.name, family) if family else None
    known = None if row is None else msgspec.json.decode(row.doc, type=Family)
    if known is None or known.revoked:
        return False
    known.revoked = True
    _put(tx, FAMILIES, family, known)
    raise_generation(tx)
    return True


def challenge_of(verifier: str) -> str:
    return b64(hashlib.sha256(verifier.encode("ascii", "replace")).digest())


def _proves(challenge: str, method: str, verifier: str | None) -> bool:
    """RFC 7636, section 4.6. A verifier for a code that had no challenge is a sign of a swapped code: refused."""
    if not challenge:
        return not verifier
    if not verifier or not 43 <= len(verifier) <= 128:
        return False
    derived = challenge_of(verifier) if method == "S256" else verifier
    return hmac.compare_digest(challenge.encode("utf-8", "replace"), derived.encode("utf-8", "replace"))
