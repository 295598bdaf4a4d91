"""Which tokens open the door, and every kind that does not."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp import web
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.auth.conftest import World, claims_of, make_world

from bartizan.auth import audit
from bartizan.auth.accounts import App, Tenant, User
from bartizan.auth.caller import Access
from bartizan.auth.keys import b64, unb64
from bartizan.auth.verify import Verifier
from bartizan.errors import Forbidden, Unauthenticated, Unavailable
from bartizan.settings import Issuer, Settings

pytestmark = pytest.mark.anyio
EXPIRED = "Access token has expired or is not yet valid."


async def _refused(world: World, header: str | None, text: str) -> Unauthenticated:
    with pytest.raises(Unauthenticated) as caught:
        await world.authority.verifier.authenticate(header, host="localhost:8443")
    assert text in caught.value.message
    assert (caught.value.status, caught.value.code) == (401, "InvalidAuthenticationToken")
    challenge = caught.value.headers["WWW-Authenticate"]
    assert challenge.startswith("Bearer ") and "authorization_uri=" in challenge
    return caught.value


def _encode(part: dict[str, Any]) -> str:
    return b64(json.dumps(part).encode())


async def _forged(world: World, **changes: Any) -> str:
    """A token with other claims, signed by our own key: what only a fault of ours could issue."""
    claims = claims_of(await world.app_token()) | changes
    return await world.authority.keys.sign({k: v for k, v in claims.items() if v is not None})


async def test_with_and_without_the_word_bearer(world: World) -> None:
    token = await world.app_token()
    for header in (f"Bearer {token}", f"bearer  {token} ", token, f" BEARER {token}"):
        assert (await world.authority.verifier.authenticate(header)).app == world.app.id


async def test_no_token(world: World) -> None:
    for header in (None, "", "Bearer", "Bearer ", "   "):
        await _refused(world, header, "Access token is empty.")
    for header in (
        "x",
        "Bearer a.b",
        "Bearer a.b.c.d",
        "Basic YTpi",
        "Bearer a b",
        "Bearer ä.b.c",
        "a.b.c",
        "..",
        "e30.W10.x",
    ):
        await _refused(world, header, "CompactToken parsing failed")
    await _refused(world, "Bearer " + "a" * 20_000, "longer than")


async def test_unsigned_and_confused_algorithms(world: World) -> None:
    """alg none, HMAC under the public key, another kid, a key in the header: none of it counts."""
    token = await world.app_token()
    claims = token.split(".")[1]
    kid = json.loads(unb64(token.split(".")[0]))["kid"]
    for name in ("none", "None", "NONE", ""):
        await _refused(world, f"{_encode({'alg': name, 'kid': kid})}.{claims}.", "Invalid signature")
    public = await world.authority.keys.public(kid)
    assert public is not None
    for encoding in (serialization.Encoding.PEM, serialization.Encoding.DER):
        secret = public.public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)
        signed = f"{_encode({'alg': 'HS256', 'kid': kid, 'typ': 'JWT'})}.{claims}"
        mac = b64(hmac.new(secret, signed.encode(), hashlib.sha256).digest())
        await _refused(world, f"{signed}.{mac}", "Invalid signature")
    own = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    numbers = own.public_key().public_numbers()
    jwk = {"kty": "RSA", "n": b64(numbers.n.to_bytes(256, "big")), "e": "AQAB"}
    for header in (
        {"alg": "RS256", "kid": kid},
        {"alg": "RS256", "kid": "other"},
        {"alg": "RS256", "kid": kid, "jwk": jwk},
        {"alg": "RS256", "jku": "https://evil.example/keys"},
        {"alg": "RS256", "kid": kid, "crit": ["exp"], "exp": 1},
        {"alg": "RS256", "kid": ["x"]},
    ):
        signed = f"{_encode(header)}.{claims}"
        mark = own.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        await _refused(world, f"{signed}.{b64(mark)}", "Invalid signature")
    await _refused(world, token[:-6] + "AAAAAA", "Invalid signature")


async def test_wrong_claims(world: World) -> None:
    for changes, text in (
        ({"aud": "https://elsewhere.example"}, "Invalid audience"),
        ({"aud": None}, "Invalid audience"),
        ({"aud": world.app.id}, "Invalid audience"),
        ({"iss": "https://evil.example/x/v2.0"}, "Invalid issuer"),
        ({"iss": None}, "Invalid issuer"),
        ({"tid": "11111111-1111-1111-1111-111111111111"}, "Invalid tenant"),
        ({"tid": None}, "Invalid tenant"),
        ({"exp": 1}, EXPIRED),
        ({"exp": None}, EXPIRED),
        ({"exp": "tomorrow"}, EXPIRED),
        ({"exp": True}, EXPIRED),
        ({"nbf": 99_999_999_999}, EXPIRED),
        ({"appid": "22222222-2222-2222-2222-222222222222"}, "revoked"),
        ({"xms_gen": "0.7.0"}, "revoked"),
        ({"xms_gen": None}, "revoked"),
        ({"idtyp": "user", "oid": "nobody"}, "revoked"),
    ):
        await _refused(world, await _forged(world, **changes), text)
    assert await world.authority.verifier.authenticate(await _forged(world))


async def test_another_tenants_issuer(world: World) -> None:
    """tid and iss must name the same tenant."""
    other = await world.authority.accounts.add_tenant("Other", "other.internal", actor=audit.OPERATOR)
    await _refused(world, await _forged(world, tid=other.id), "Invalid issuer")


async def test_id_token_is_no_access_token(world: World) -> None:
    tokens = await world.user_tokens()
    await _refused(world, tokens["id_token"], "Invalid audience")
    await _refused(world, tokens["refresh_token"], "CompactToken parsing failed")


async def test_expiry_also_counts_for_remembered_tokens(world: World) -> None:
    token = await world.app_token()
    assert await world.authority.verifier.authenticate(token)
    world.clock.skip(3599)
    assert await world.authority.verifier.authenticate(token)
    world.clock.skip(2)
    await _refused(world, token, EXPIRED)


async def test_withdrawn_rights_count_at_once_in_every_process(world: World) -> None:
    """Consents, roles, accounts and apps are read anew as soon as any of them changed anywhere."""
    authority, accounts = world.authority, world.authority.accounts
    second = Verifier(authority.settings, accounts, authority.keys, authority.grants, world.clock)
    app_token, tokens = await world.app_token(), await world.user_tokens()
    user = world.users["ann@default.internal"]
    for verifier in (authority.verifier, second):
        assert (await verifier.authenticate(app_token)).permissions == {"SecurityAlert.Read.All"}
        assert (await verifier.authenticate(tokens["access_token"])).roles == {"SecurityReader"}
    await accounts.grant(
        world.tenant.id, world.app.id, "", ["SecurityAlert.Read.All"], actor=audit.OPERATOR, how="withdraw"
    )
    await accounts.update(
        User, user.id, lambda u: replace(u, roles={world.tenant.id: []}), actor=audit.OPERATOR, activity="Change roles"
    )
    for verifier in (authority.verifier, second):
        assert (await verifier.authenticate(app_token)).permissions == set()
        caller = await verifier.authenticate(tokens["access_token"])
        assert caller.roles == set()
        with pytest.raises(Forbidden):
            caller.require(Access(("x",), ("SecurityAlert.Read.All",)))
    await accounts.update(User, user.id, lambda u: replace(u, disabled=True), actor=audit.OPERATOR, activity="Disable")
    await _refused(world, tokens["access_token"], "revoked")
    await accounts.remove(App, world.app.id, actor=audit.OPERATOR)
    for verifier in (authority.verifier, second):
        with pytest.raises(Unauthenticated):
            await verifier.authenticate(app_token)


async def test_a_token_never_gives_more_than_it_says(world: World) -> None:
    """A consent that came after the token does not widen it."""
    token = await world.app_token()
    await world.authority.accounts.grant(
        world.tenant.id, world.app.id, "", ["SecurityEvents.Read.All"], actor=audit.OPERATOR
    )
    assert (await world.authority.verifier.authenticate(token)).permissions == {"SecurityAlert.Read.All"}


async def test_removed_tenant(world: World) -> None:
    token = await world.app_token()
    await world.authority.accounts.remove(Tenant, world.tenant.id, actor=audit.OPERATOR)
    await _refused(world, token, "Invalid tenant")


async def test_source_tokens(world: World) -> None:
    """Bound to one tenant and to named sources; good for nothing else."""
    accounts, verifier = world.authority.accounts, world.authority.verifier
    made, text = await accounts.add_source_token(world.tenant.id, ["okta"], "collector", 1, actor=audit.OPERATOR)
    access = Access(("SecurityAlert.ReadWrite.All",), ())
    caller = await verifier.authenticate_source(f"Bearer {text}", "okta", access)
    assert (caller.tenant, caller.app, caller.permissions) == (world.tenant.id, f"source-token:{made.id}", frozenset())
    with pytest.raises(Forbidden, match="not for the source falco"):
        await verifier.authenticate_source(text, "falco", access)
    await _refused(world, text, "CompactToken parsing failed")
    for bad in (text[:-1] + "!", "bzs_x_y", "bzs_", f"bzs_{made.id}_wrong"):
        with pytest.raises(Unauthenticated):
            await verifier.authenticate_source(bad, "okta", access)
    with pytest.raises(Forbidden):
        await verifier.authenticate_source(await world.app_token(), "okta", access)
    await accounts.grant(world.tenant.id, world.app.id, "", access.application, actor=audit.OPERATOR)
    assert (await verifier.authenticate_source(await world.app_token(), "okta", access)).app == world.app.id
    world.clock.skip(86_401)
    with pytest.raises(Unauthenticated, match="expired"):
        await verifier.authenticate_source(text, "okta", access)
    assert text not in str(await accounts.get(type(made), made.id))


@given(st.text(max_size=200) | st.binary(max_size=150).map(lambda b: base64.b64encode(b).decode()))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_header_is_refused_cleanly(text: str) -> None:
    async def main() -> None:
        with pytest.raises(Unauthenticated):
            await _FUZZED.authenticate(text)

    asyncio.run(main())


class _Nothing:
    """Stands for accounts and keys of a server that knows nobody."""

    async def generation(self) -> int:
        return 1

    async def load(self) -> None: ...

    async def public(self, kid: str) -> None:
        return None


_FUZZED = Verifier(Settings(), cast("Any", _Nothing()), cast("Any", _Nothing()), cast("Any", _Nothing()))


# ---------------------------------------------------------------- foreign issuers


class Elsewhere:
    """A foreign issuer with an RSA and an EC key."""

    name = "https://idp.example.org/realms/one"

    def __init__(self, folder: Path) -> None:
        self.rsa = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.ec = ec.generate_private_key(ec.SECP256R1())
        r, e = self.rsa.public_key().public_numbers(), self.ec.public_key().public_numbers()
        keys = [
            {"kty": "RSA", "kid": "r", "use": "sig", "n": b64(r.n.to_bytes(256, "big")), "e": "AQAB"},
            {
                "kty": "EC",
                "kid": "e",
                "crv": "P-256",
                "x": b64(e.x.to_bytes(32, "big")),
                "y": b64(e.y.to_bytes(32, "big")),
            },
            {"kty": "oct", "kid": "s", "k": b64(b"symmetric secret in a public set")},
        ]
        self.file = folder / "jwks.json"
        self.file.write_text(json.dumps({"keys": keys}))

    def token(self, kid: str = "r", algorithm: str = "RS256", **claims: Any) -> str:
        now = int(time.time())
        body = {"iss": self.name, "aud": "bartizan", "exp": now + 600, "tid": "theirs", **claims}
        signed = (
            f"{_encode({'alg': algorithm, 'kid': kid})}.{_encode({k: v for k, v in body.items() if v is not None})}"
        )
        if algorithm == "ES256":
            pair = decode_dss_signature(self.ec.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
            mark = b"".join(n.to_bytes(32, "big") for n in pair)
        elif algorithm == "HS256":
            mark = hmac.new(b"symmetric secret in a public set", signed.encode(), hashlib.sha256).digest()
        else:
            mark = self.rsa.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{b64(mark)}"


async def test_foreign_issuer(tmp_path: Path) -> None:
    """It says who asks; tenant, permissions and roles come from here. A foreign tid chooses only among the named
    ones."""
    them = Elsewhere(tmp_path)
    issuer = Issuer(them.name, ("bartizan",), {"theirs": "default"}, jwks_file=str(them.file))
    world = await make_world(tmp_path, issuers=(issuer,))
    other = await world.authority.accounts.add_tenant("Other", "other.internal", actor=audit.OPERATOR)
    app, ann = {"azp": world.app.id}, {"preferred_username": "ANN@default.internal"}
    caller = await world.authority.verifier.authenticate(
        them.token(
            **app, **ann, scope="SecurityAlert.Read.All Directory.ReadWrite.All", roles=["SecurityAdministrator"]
        )
    )
    assert (caller.tenant, caller.upn) == (world.tenant.id, "ann@default.internal")
    assert caller.permissions == {"SecurityAlert.Read.All"} and caller.roles == {"SecurityReader"}
    alone = await world.authority.verifier.authenticate(
        them.token("e", "ES256", **app, idtyp="app", roles=["SecurityAlert.Read.All", "SecurityAlert.ReadWrite.All"])
    )
    assert alone.user is None and alone.permissions == {"SecurityAlert.Read.All"}
    good = {**app, **ann}
    for token, text in (
        (them.token(**good, tid=other.id), "Invalid tenant"),
        (them.token(**good, tid="other.internal"), "Invalid tenant"),
        (them.token(**good, tid=world.tenant.id), "Invalid tenant"),
        (them.token(**good, tid=None), "Invalid tenant"),
        (them.token(**good, aud="https://graph.microsoft.com"), "Invalid audience"),
        (them.token(**good, exp=5), EXPIRED),
        (them.token(**good, nbf=99_999_999_999), EXPIRED),
        (them.token(**good, iss=them.name + "/"), "Invalid signature"),
        (them.token("s", "HS256", **good), "Invalid signature"),
        (them.token("e", "RS256", **good), "Invalid signature"),
        (them.token("unknown", **good), "Invalid signature"),
        (them.token(**good)[:-4] + "AAAA", "Invalid signature"),
        (them.token(**app), "revoked"),  # a user's token without an account is not an app's
        (them.token(**app, preferred_username="stranger@x.y"), "revoked"),
        (them.token(**ann), "revoked"),
        (them.token(azp="unknown", **ann), "revoked"),
    ):
        await _refused(world, token, text)
    # Our own issuer's name in a token of theirs is no way in either.
    await _refused(world, them.token(**good, iss=f"https://localhost:8443/{world.tenant.id}/v2.0"), "Invalid signature")
    await world.http.aclose()
    await world.authority.store.close()


async def test_foreign_issuer_of_one_tenant(tmp_path: Path) -> None:
    """With `*` every token goes to the one tenant, whatever tid it has; `consented` takes the permissions from here."""
    them = Elsewhere(tmp_path)
    issuer = Issuer(
        them.name, ("bartizan",), {"*": "default"}, jwks_file=str(them.file), consented=True,
        app_tokens={"preferred_username": "service-account-*"},
    )  # fmt: skip
    world = await make_world(tmp_path, issuers=(issuer,))
    token = them.token(azp=world.app.id, preferred_username="service-account-x", tid="anything")
    caller = await world.authority.verifier.authenticate(token)
    assert caller.tenant == world.tenant.id and caller.permissions == {"SecurityAlert.Read.All"}
    await world.http.aclose()
    await world.authority.store.close()


class Idp:
    """A foreign issuer's web server, in whatever state a test wants it."""

    def __init__(self, them: Elsewhere) -> None:
        self.them = them
        self.asked: list[str] = []
        self.name = ""
        self.status = 200
        self.padding = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        if self.status == 302:
            raise web.HTTPFound("/elsewhere")
        if request.path.endswith("openid-configuration"):
            found = {"issuer": self.name, "jwks_uri": f"{self.name}/keys", "x": "x" * self.padding}
            return web.json_response(found, status=self.status)
        return web.Response(body=self.them.file.read_bytes(), status=self.status, content_type="application/json")


async def test_keys_of_a_foreign_issuer_are_fetched(tmp_path: Path) -> None:
    """By discovery, once; a wrong name, a redirect, an error or a flood of bytes is 503, never a token taken."""
    them = Elsewhere(tmp_path)
    idp = Idp(them)
    app = web.Application()
    app.router.add_get("/{rest:.*}", idp.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    idp.name = f"http://127.0.0.1:{runner.addresses[0][1]}"
    them.name = idp.name
    issuer = Issuer(idp.name, ("bartizan",), {"theirs": "default"})
    world = await make_world(tmp_path, issuers=(issuer,))
    token = them.token(azp=world.app.id, idtyp="app", roles="SecurityAlert.Read.All")
    for fault in ({"status": 500}, {"status": 302}, {"padding": 2_000_000}, {"name": "https://other.example"}):
        kept = {name: getattr(idp, name) for name in fault}
        for name, value in fault.items():
            setattr(idp, name, value)
        with pytest.raises(Unavailable):
            await world.authority.verifier.authenticate(token)
        for name, value in kept.items():
            setattr(idp, name, value)
        idp.asked.clear()
        with pytest.raises(Unavailable):  # nobody asks again so soon
            await world.authority.verifier.authenticate(token)
        assert not idp.asked
        world.clock.skip(16)
    for _ in range(3):
        assert (await world.authority.verifier.authenticate(token)).permissions == {"SecurityAlert.Read.All"}
        await _refused(world, them.token("unknown", azp=world.app.id), "Invalid signature")
    assert idp.asked == ["/.well-known/openid-configuration", "/keys"]
    idp.status = 500
    world.clock.skip(3601)
    late = them.token(azp=world.app.id, idtyp="app", roles="SecurityAlert.Read.All", exp=int(world.clock()) + 600)
    assert await world.authority.verifier.authenticate(late)  # by the keys that are known
    with pytest.raises(Unavailable):
        await world.authority.verifier.authenticate(them.token("unknown", azp=world.app.id))
    await runner.cleanup()
    await world.http.aclose()
    await world.authority.store.close()
