"""Which app speaks: client secret in the body or as Basic, or an assertion signed with the key of its certificate.

Source: RFC 6749, section 2.3; RFC 7521 and 7523; Microsoft identity platform, certificate credentials.
"""

import hashlib
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey
from msgspec import Struct

from bartizan.auth import aadsts
from bartizan.auth.accounts import Accounts, App, Certificate, same
from bartizan.auth.forms import Form, parse_basic
from bartizan.auth.grants import Grants
from bartizan.auth.keys import b64
from bartizan.auth.throttle import Throttle
from bartizan.errors import BadRequest
from bartizan.settings import Settings

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ALGORITHMS = ["RS256", "PS256"]
_MAX_ASSERTION_CHARS = 16 * 1024  # a header may hold a certificate chain
_MAX_ASSERTION_S = 3600  # they are remembered for longer than this


class Client(Struct, frozen=True):
    """An app, and whether it proved that it is the one."""

    app: App
    confidential: bool
    by_certificate: bool = False


class _Registry(jws.JWSRegistry):
    max_header_length = _MAX_ASSERTION_CHARS


class Clients:
    def __init__(
        self, settings: Settings, accounts: Accounts, grants: Grants, throttle: Throttle, clock: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._accounts = accounts
        self._grants = grants
        self._throttle = throttle
        self._clock = clock

    async def identify(self, form: Form, authorization: str, *, address: str, audiences: Iterable[str]) -> Client:
        """Wrong credentials count against the app and the address; none at all makes a public client."""
        basic = parse_basic(authorization) if authorization else ()
        assertion = form.get("client_assertion")
        ids = {i.lower() for i, _ in basic} or {form.get("client_id").lower() or _issuer_of(assertion)}
        if form.get("client_id") and form.get("client_id").lower() not in ids:
            raise aadsts.bad_request("client_id and the Authorization header name different clients.")
        id = form.get("client_id").lower() or min(ids)
        if not id:
            raise aadsts.missing("client_id")
        app = await self._accounts.get(App, id) if len(id) <= 100 else None
        async with self._throttle.attempt(id, address, known=app is not None):
            if app is None:
                unknown = aadsts.unknown_app(id, form.get("tenant") or "of this server")
                unknown.stranger = id
                raise unknown
            if app.disabled:
                raise aadsts.disabled_app(app.id)
            secrets = tuple(secret for _, secret in basic) + form.secret_forms("client_secret")
            client = await self._proved(app, secrets, assertion, form, address, audiences)
        if client.confidential:
            await self._throttle.succeeded(id, address)
        return client

    async def _proved(
        self, app: App, secrets: tuple[str, ...], assertion: str, form: Form, address: str, audiences: Iterable[str]
    ) -> Client:
        if assertion:
            if form.get("client_assertion_type") != ASSERTION_TYPE:
                raise aadsts.bad_assertion(f"client_assertion_type must be {ASSERTION_TYPE}.")
            await self._check_assertion(app, assertion, address, audiences)
            return Client(app, confidential=True, by_certificate=True)
        secrets = tuple(s for s in secrets if s)
        if not secrets:
            return Client(app, confidential=False)
        found = [known for known in app.secrets for secret in secrets if same(secret, known.hash)]
        if not found:
            raise aadsts.bad_secret(app.id)
        if all(known.expires <= self._clock() for known in found):
            raise aadsts.expired_secret(app.id)
        return Client(app, confidential=True)

    async def _check_assertion(self, app: App, assertion: str, address: str, audiences: Iterable[str]) -> None:
        header, claims = read_assertion(assertion)
        certificate = _named(app, header)
        if certificate is None:
            raise aadsts.bad_assertion("The certificate that x5t or x5t#S256 names is not registered for the app.")
        now = self._clock()
        if certificate.expires <= now:
            raise aadsts.bad_assertion("The certificate has expired.")
        key = RSAKey.import_key(certificate.pem)
        try:
            jws.deserialize_compact(
                assertion, key, registry=_Registry(algorithms=_ALGORITHMS, strict_check_header=False)
            )
        except (JoseError, ValueError) as error:
            raise aadsts.bad_assertion(f"The signature is not valid: {type(error).__name__}.") from None
        if claims.get("iss", "").lower() != app.id or claims.get("sub", "").lower() != app.id:
            raise aadsts.bad_assertion("iss and sub must both be the client id.", 700021)
        named = claims["aud"] if isinstance(claims.get("aud"), list) else [claims.get("aud")]
        allowed = {a.rstrip("/").lower() for a in audiences}
        if not any(isinstance(a, str) and a.rstrip("/").lower() in allowed for a in named):
            raise aadsts.bad_assertion("aud must be the address of the token endpoint.", 700023)
        self._check_times(claims, now)
        await self._check_reuse(assertion, claims, address)

    def _check_times(self, claims: dict[str, Any], now: float) -> None:
        skew = self._settings.clock_skew_s
        times = {name: claims.get(name) for name in ("exp", "nbf", "iat")}
        if (
            any(isinstance(v, bool) or not isinstance(v, int | float | None) for v in times.values())
            or times["exp"] is None
        ):
            raise aadsts.bad_assertion("exp is needed; exp, nbf and iat are numbers.")
        started = max(v for v in (times["nbf"], times["iat"], 0) if v is not None)
        if not now - skew < times["exp"] <= now + _MAX_ASSERTION_S + skew or started > now + skew:
            raise aadsts.expired_assertion()

    async def _check_reuse(self, assertion: str, claims: dict[str, Any], address: str) -> None:
        jti = claims.get("jti")
        name = jti if isinstance(jti, str) and jti else hashlib.sha256(assertion.encode()).hexdigest()
        place = address if self._settings.assertion_reuse == "same-address" else ""
        if not await self._grants.may_use(f"{claims['iss']} {name}", place):
            raise aadsts.bad_assertion("The assertion was used before (jti).", 700025)


def _issuer_of(assertion: str) -> str:
    """The client id that an assertion claims, "" where there is none."""
    if not assertion:
        return ""
    issuer = read_assertion(assertion)[1].get("iss")
    return issuer.lower() if isinstance(issuer, str) else ""


def read_assertion(assertion: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims, not checked yet; iss and sub are texts. OAuthError where it is no JWT."""
    if len(assertion) > _MAX_ASSERTION_CHARS or not assertion.isascii():
        raise aadsts.bad_assertion("It is not a JWT.")
    try:
        found = jws.extract_compact(assertion.encode(), registry=_Registry(strict_check_header=False))
        header = found.headers()
        claims = msgspec.json.decode(found.payload, type=dict[str, Any])
    except (JoseError, ValueError, TypeError, RecursionError):
        raise aadsts.bad_assertion("It is not a JWT.") from None
    if not isinstance(header, dict) or any(not isinstance(claims.get(name, ""), str) for name in ("iss", "sub")):
        raise aadsts.bad_assertion("It is not a JWT.")
    return dict(header), claims


def _named(app: App, header: dict[str, Any]) -> Certificate | None:
    """By x5t#S256, else x5t, else kid; base64url, base64 or hexadecimal, as libraries write them."""
    for name in ("x5t#S256", "x5t", "kid"):
        value = header.get(name)
        if isinstance(value, str) and value:
            print_ = _thumbprint(value)
            return next((c for c in app.certificates if print_ in (c.x5t, c.x5t_s256)), None)
    return None


def _thumbprint(text: str) -> str:
    if re.fullmatch(r"[0-9a-fA-F]{40}|[0-9a-fA-F]{64}", text):
        return b64(bytes.fromhex(text))
    return text.rstrip("=").translate(str.maketrans("+/", "-_"))


def read_certificate(pem: bytes, now: float) -> Certificate:
    """A certificate (PEM or DER) that an app will sign assertions with. BadRequest where it is none, not RSA, short,
    or expired."""
    try:
        certificate = (
            x509.load_pem_x509_certificate(pem) if b"-----BEGIN" in pem else x509.load_der_x509_certificate(pem)
        )
    except ValueError:
        raise BadRequest("not an X.509 certificate (PEM or DER)") from None
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < 2048:
        raise BadRequest("the certificate's key must be RSA of 2048 bits or more")
    expires = int(certificate.not_valid_after_utc.timestamp())
    if expires <= now:
        raise BadRequest(f"the certificate expired on {datetime.fromtimestamp(expires, UTC):%Y-%m-%d}")
    sha1 = certificate.fingerprint(hashes.SHA1())  # noqa: S303 - the thumbprint that x5t is defined by
    spki = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return Certificate(
        id=sha1.hex().upper(),
        x5t=b64(sha1),
        x5t_s256=b64(certificate.fingerprint(hashes.SHA256())),
        pem=spki.decode(),
        expires=expires,
    )
