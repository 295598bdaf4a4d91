"""Client assertions: signed with the key of a registered certificate, for this server, once from elsewhere."""

import time
from typing import Any
from uuid import uuid4

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from joserfc.jws import JWSRegistry
from msgspec.structs import replace
from tests.auth.conftest import World, claims_of, key_pair, make_world

from bartizan.auth import audit
from bartizan.auth.accounts import App
from bartizan.auth.clients import ASSERTION_TYPE, read_certificate
from bartizan.auth.keys import b64
from bartizan.errors import BadRequest

pytestmark = pytest.mark.anyio
KEY, CERTIFICATE = key_pair()
PRIVATE = RSAKey.import_key(
    KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
)
PEM = CERTIFICATE.public_bytes(serialization.Encoding.PEM)
SHA1, SHA256 = CERTIFICATE.fingerprint(hashes.SHA1()), CERTIFICATE.fingerprint(hashes.SHA256())
FORM = {
    "grant_type": "client_credentials",
    "scope": "https://graph.microsoft.com/.default",
    "client_assertion_type": ASSERTION_TYPE,
}


async def _register(world: World) -> None:
    known = read_certificate(PEM, 0)
    await world.authority.accounts.update(
        App, world.app.id, lambda app: replace(app, certificates=[known]), actor=audit.OPERATOR, activity="Update"
    )


def _assertion(world: World, header: dict[str, Any] | None = None, key: Any = PRIVATE, **claims: Any) -> str:
    now = time.time() + world.clock.ahead
    body = {
        "aud": f"https://localhost:8443/{world.tenant.id}/oauth2/v2.0/token",
        "iss": world.app.id,
        "sub": world.app.id,
        "exp": now + 600,
        "jti": str(uuid4()),
        **claims,
    }
    full = {"alg": "RS256", "typ": "JWT", "x5t": b64(SHA1)} | (header or {})
    full = {k: v for k, v in full.items() if v is not None}
    algorithms = ["RS256", "PS256", "HS256", "RS512", "none"]
    registry = JWSRegistry(algorithms=algorithms, strict_check_header=False)
    return jwt.encode(full, {k: v for k, v in body.items() if v is not None}, key, registry=registry)


async def _ask(world: World, assertion: str, **form: str) -> httpx.Response:
    return await world.token(**FORM, **form, client_assertion=assertion)


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"x5t": b64(SHA1) + "="},
        {"x5t": SHA1.hex()},
        {"x5t": None, "x5t#S256": b64(SHA256)},
        {"x5t": None, "kid": SHA1.hex().upper()},
        {"alg": "PS256", "x5t": None, "x5t#S256": b64(SHA256)},
    ],
)
async def test_ways_to_name_the_certificate(world: World, header: dict[str, Any]) -> None:
    await _register(world)
    answer = await _ask(world, _assertion(world, header))
    assert answer.status_code == 200, answer.text
    assert claims_of(answer.json()["access_token"])["azpacr"] == "2"


async def test_client_id_may_be_left_out(world: World) -> None:
    await _register(world)
    assert (await _ask(world, _assertion(world), client_id="")).status_code == 200


@pytest.mark.parametrize(
    "part",
    ["/{t}/oauth2/token", "/{t}/v2.0", "/{t}", "/{t}/", "/default.internal/oauth2/v2.0/token"],
)
async def test_audiences(world: World, part: str) -> None:
    await _register(world)
    audience = "https://localhost:8443" + part.format(t=world.tenant.id)
    assert (await _ask(world, _assertion(world, aud=audience))).status_code == 200
    assert (await _ask(world, _assertion(world, aud=["x", audience]))).status_code == 200


async def test_refusals(tmp_path: Any) -> None:
    world = await make_world(tmp_path, login_attempts=1000)
    await _register(world)
    other, _ = key_pair()
    stranger = RSAKey.import_key(
        other.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    now = time.time()
    secret = OctKey.import_key(CERTIFICATE.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)[:64].hex())  # fmt: skip
    cases: list[tuple[str, int]] = [
        (_assertion(world, key=stranger), 700027),
        (_assertion(world, {"x5t": b64(b"x" * 20)}), 700027),
        (_assertion(world, {"x5t": None}), 700027),
        (_assertion(world, {"alg": "RS512"}), 700027),
        (_assertion(world, {"alg": "HS256"}, key=secret), 700027),
        (_assertion(world)[:-8] + "AAAAAAAA", 700027),
        (_assertion(world, iss="other"), 700021),
        (_assertion(world, sub=None), 700021),
        (_assertion(world, aud="https://login.microsoftonline.com/x/oauth2/v2.0/token"), 700023),
        (_assertion(world, aud=None), 700023),
        (_assertion(world, exp=now - 100), 700024),
        (_assertion(world, exp=now + 90_000), 700024),
        (_assertion(world, nbf=now + 500), 700024),
        (_assertion(world, exp=None), 700027),
        (_assertion(world, exp="soon"), 700027),
        ("nonsense", 700027),
    ]
    for assertion, code in cases:
        answer = await _ask(world, assertion)
        assert (answer.status_code, answer.json()["error_codes"]) == (401, [code]), answer.text
    answer = await world.token(**{**FORM, "client_assertion_type": "x"}, client_assertion=_assertion(world))
    assert answer.json()["error_codes"] == [700027]
    world.clock.skip(10 * 86_400)
    assert "certificate has expired" in (await _ask(world, _assertion(world))).text
    await world.http.aclose()
    await world.authority.store.close()


async def test_replay(world: World) -> None:
    """MSAL sends one assertion several times; from another address that is theft."""
    await _register(world)
    assertion = _assertion(world)
    assert (await _ask(world, assertion)).status_code == 200
    assert (await _ask(world, assertion)).status_code == 200
    grants = world.authority.grants
    assert await grants.may_use("a 1", "192.0.2.1")
    assert not await grants.may_use("a 1", "192.0.2.2")
    assert await grants.may_use("a 1", "192.0.2.1")


async def test_replay_never(tmp_path: Any) -> None:
    world = await make_world(tmp_path, assertion_reuse="never")
    await _register(world)
    for assertion in (_assertion(world), _assertion(world, jti=None)):
        assert (await _ask(world, assertion)).status_code == 200
        assert (await _ask(world, assertion)).json()["error_codes"] == [700025]
    await world.http.aclose()
    await world.authority.store.close()


async def test_certificates_that_cannot_be_registered() -> None:
    for bad in (b"", b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----", b"\x30\x00"):
        with pytest.raises(BadRequest, match=r"X\.509"):
            read_certificate(bad, 0)
    with pytest.raises(BadRequest, match="expired"):
        read_certificate(PEM, time.time() + 10**9)
    name = x509.Name([])
    curve = ec.generate_private_key(ec.SECP256R1())
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(curve.public_key()).serial_number(1)
        .not_valid_before(CERTIFICATE.not_valid_before_utc).not_valid_after(CERTIFICATE.not_valid_after_utc)
        .sign(curve, hashes.SHA256())
    )  # fmt: skip
    with pytest.raises(BadRequest, match="RSA"):
        read_certificate(made.public_bytes(serialization.Encoding.DER), 0)
