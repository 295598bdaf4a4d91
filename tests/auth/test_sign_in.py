"""Authorization codes, sign-in and consent pages, refresh, logout: as browsers and clients see them."""

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from msgspec.structs import replace
from tests.auth.conftest import LOOPBACK, PASSWORD, REDIRECT, World, answer_of, claims_of, form_of, make_world

from bartizan.auth import audit
from bartizan.auth.accounts import App, Tenant, User
from bartizan.auth.grants import challenge_of
from bartizan.errors import Unauthenticated
from bartizan.store import Query

pytestmark = pytest.mark.anyio
VERIFIER = "v" * 43


async def _redeem(world: World, code: str, **form: str) -> httpx.Response:
    fields = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT, "client_secret": world.secret}
    return await world.token(**(fields | form))


def _code(answer: httpx.Response) -> int:
    return int(answer.json()["error_codes"][0])


async def test_confidential_client(world: World) -> None:
    """The state comes back letter by letter, the grant remembers its scopes, the answer lists their short names."""
    page = await world.authorize(nonce="n-1")
    answer = answer_of(await world.sign_in(page))
    assert answer["state"] == "a b&c"
    body = (await _redeem(world, answer["code"], client_info="1")).json()
    assert body["scope"].split() == ["SecurityAlert.Read.All", "openid", "profile"]
    identity, access = claims_of(body["id_token"]), claims_of(body["access_token"])
    assert (identity["aud"], identity["nonce"]) == (world.app.id, "n-1")
    assert identity["preferred_username"] == "ann@default.internal" and identity["name"] == "Ann"
    assert identity["oid"] == access["oid"] == world.users["ann@default.internal"].id
    assert identity["sub"] != identity["oid"] and body["client_info"] and body["refresh_token"]
    caller = await world.authority.verifier.authenticate(body["access_token"])
    assert caller.upn == "ann@default.internal" and caller.roles == {"SecurityReader"}
    assert {"SecurityAlert.Read.All"} <= caller.permissions


async def test_session_saves_the_second_sign_in(world: World) -> None:
    await world.code()
    again = await world.authorize()
    assert "code" in answer_of(again)
    assert (await world.authorize(prompt="login")).status_code == 200
    assert (await world.authorize(login_hint="root@default.internal")).status_code == 200
    world.clock.skip(100)
    assert (await world.authorize(max_age="10")).status_code == 200
    cookies = [c for c in world.http.cookies.jar if c.name.startswith("__Host-")]
    assert len(cookies) == 2 and all(c.secure and c.path == "/" for c in cookies)


async def test_public_client_needs_pkce(world: World) -> None:
    bare = await world.code()
    assert _code(await _redeem(world, bare, client_secret="")) == 7000218
    plain = await world.code(code_challenge=VERIFIER, code_challenge_method="plain")
    assert _code(await _redeem(world, plain, client_secret="", code_verifier=VERIFIER)) == 9002325
    query = {"code_challenge": challenge_of(VERIFIER), "code_challenge_method": "S256"}
    good = await world.code(**query)
    assert _code(await _redeem(world, good, client_secret="", code_verifier="w" * 43)) == 501481
    assert _code(await _redeem(world, good, client_secret="")) == 501481
    body = (await _redeem(world, good, client_secret="", code_verifier=VERIFIER)).json()
    assert claims_of(body["access_token"])["azpacr"] == "0"
    # The family was begun without a secret and goes on without one.
    fresh = await world.token(grant_type="refresh_token", refresh_token=body["refresh_token"])
    assert fresh.status_code == 200


async def test_confidential_family_stays_confidential(world: World) -> None:
    tokens = await world.user_tokens()
    answer = await world.token(grant_type="refresh_token", refresh_token=tokens["refresh_token"])
    assert _code(answer) == 7000218


async def test_confidential_app_refuses_public_use(world: World) -> None:
    app, _ = await world.add_app("closed", redirect_uris=[REDIRECT], public=False, delegated=["SecurityAlert.Read.All"])
    query = {"code_challenge": challenge_of(VERIFIER), "code_challenge_method": "S256", "client_id": app.id}
    code = await world.code(**query)
    form = {"client_id": app.id, "client_secret": "", "code_verifier": VERIFIER}
    assert _code(await _redeem(world, code, **form)) == 7000218


async def test_bad_codes(world: World) -> None:
    assert _code(await _redeem(world, "0.nonsense")) == 70000
    code = await world.code()
    assert _code(await _redeem(world, code, redirect_uri=LOOPBACK)) == 500112
    other, secret = await world.add_app("other")
    assert _code(await _redeem(world, code, client_id=other.id, client_secret=secret)) == 70000
    assert _code(await _redeem(world, code, code_verifier=VERIFIER)) == 501481
    late = await world.code()
    world.clock.skip(301)
    assert _code(await _redeem(world, late)) == 70008


async def test_code_used_twice_ends_its_tokens(world: World) -> None:
    code = await world.code()
    first = (await _redeem(world, code)).json()
    assert await world.authority.verifier.authenticate(first["access_token"])
    assert _code(await _redeem(world, code)) == 54005
    answer = await world.token(
        grant_type="refresh_token", refresh_token=first["refresh_token"], client_secret=world.secret
    )
    assert _code(answer) == 50173
    with pytest.raises(Exception, match="revoked"):
        await world.authority.verifier.authenticate(first["access_token"])


async def test_refresh_rotates_and_reuse_ends_the_family(world: World) -> None:
    one = await world.user_tokens()

    async def refresh(token: str, **form: str) -> httpx.Response:
        return await world.token(grant_type="refresh_token", refresh_token=token, client_secret=world.secret, **form)

    two = (await refresh(one["refresh_token"])).json()
    assert two["refresh_token"] != one["refresh_token"]
    narrowed = (await refresh(two["refresh_token"], scope="SecurityEvents.Read.All openid")).json()
    assert narrowed["scope"].split()[0] == "SecurityEvents.Read.All"
    assert await world.authority.verifier.authenticate(narrowed["access_token"])
    reuse = await refresh(one["refresh_token"])
    assert (_code(reuse), reuse.json()["error"]) == (50173, "invalid_grant")
    assert _code(await refresh(narrowed["refresh_token"])) == 50173
    with pytest.raises(Exception, match="revoked"):
        await world.authority.verifier.authenticate(narrowed["access_token"])
    for garbage in ("x", "1.a.b", "1..", "a.b.c.d"):
        assert _code(await refresh(garbage)) == 70000


async def test_a_refresh_that_is_refused_keeps_the_token(world: World) -> None:
    """A scope that nobody consented to is an answer, not the end of the session."""
    tokens = await world.user_tokens()
    ask = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"], "client_secret": world.secret}
    assert _code(await world.token(**ask, scope="SecurityEvents.ReadWrite.All")) == 65001
    other = await world.authority.accounts.add_tenant("Other", "other.internal", actor=audit.OPERATOR)
    assert _code(await world.token(**ask, tenant=other.id)) == 70000
    assert (await world.token(**ask)).status_code == 200


@pytest.mark.parametrize("kind", [App, Tenant, User])
async def test_what_is_revoked_gets_no_new_tokens(world: World, kind: type[App | Tenant | User]) -> None:
    """Refresh tokens and codes of before end with the access tokens; a new sign-in works."""
    tokens, code = await world.user_tokens(), await world.code()
    id = {App: world.app.id, Tenant: world.tenant.id, User: world.users["ann@default.internal"].id}[kind]
    await world.authority.accounts.update(
        kind, id, lambda doc: replace(doc, epoch=doc.epoch + 1), actor=audit.OPERATOR, activity="Revoke tokens"
    )
    with pytest.raises(Exception, match="revoked"):
        await world.authority.verifier.authenticate(tokens["access_token"])
    for form in (
        {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]},
        {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT},
    ):
        assert _code(await world.token(**form, client_secret=world.secret)) == 50173
    assert (await world.user_tokens())["refresh_token"]


async def test_sign_ins_of_apps_and_accounts_are_audited(world: World) -> None:
    """Once each; a refresh is none. What an unproved client makes up is not written down, a stolen token is, once."""
    before = await _entries(world)
    await world.app_token()
    tokens = await world.user_tokens()
    assert await _entries(world) == [
        *before, ("Issue token", "success", None), ("Sign in", "success", "ann@default.internal"),
        ("Issue token", "success", "ann@default.internal"),
    ]  # fmt: skip
    before = await _entries(world)
    for _ in range(3):
        assert _code(await world.token(grant_type="refresh_token", refresh_token="1.a.b")) == 70000
        assert _code(await world.token(grant_type="authorization_code", code="x", redirect_uri=REDIRECT)) == 70000
        assert _code(await world.token()) == 900144
    ask = {"grant_type": "refresh_token", "client_secret": world.secret}
    await world.token(**ask, refresh_token=tokens["refresh_token"])
    assert await _entries(world) == before
    public = await _public_tokens(world)
    before = await _entries(world)
    stale = {"grant_type": "refresh_token", "refresh_token": public["refresh_token"]}
    assert (await world.token(**stale)).status_code == 200
    for _ in range(3):
        assert _code(await world.token(**stale)) == 50173
    assert await _entries(world) == [*before, ("Issue token", "failure", None)]


async def _entries(world: World) -> list[tuple[str, str, str | None]]:
    """Activity, result and account of each entry of the tenant, oldest first."""
    rows = (await world.authority.store.tenant(world.tenant.id).page("directoryAudits", Query(top=500))).rows
    found = [msgspec.json.decode(row.doc) for row in reversed(rows)]
    users = [(f["initiatedBy"]["user"] or {}).get("userPrincipalName") for f in found]
    return [(f["activityDisplayName"], f["result"], user) for f, user in zip(found, users, strict=True)]


async def _public_tokens(world: World) -> dict[str, Any]:
    code = await world.code(code_challenge=challenge_of(VERIFIER), code_challenge_method="S256")
    answer = await _redeem(world, code, code_verifier=VERIFIER, client_secret="")
    return dict(answer.json())


async def test_refresh_expires(world: World) -> None:
    tokens = await world.user_tokens()
    world.clock.skip(90 * 86_400 + 1)
    answer = await world.token(
        grant_type="refresh_token", refresh_token=tokens["refresh_token"], client_secret=world.secret
    )
    assert _code(answer) in (70008, 7000222)  # the app's secret has expired by then, too


async def test_no_offline_access_no_refresh_token(world: World) -> None:
    tokens = await world.user_tokens(scope="openid SecurityAlert.Read.All")
    assert "refresh_token" not in tokens and "id_token" in tokens


async def test_v1_sign_in(world: World) -> None:
    """resource= means all that was consented; numbers are text."""
    query = {"version": "", "resource": "https://graph.microsoft.com", "scope": ""}
    code = await world.code(**query)
    answer = await world.token(
        "", grant_type="authorization_code", code=code, redirect_uri=REDIRECT, client_secret=world.secret,
        resource="https://graph.microsoft.com",
    )  # fmt: skip
    body = answer.json()
    assert body["expires_in"] == "3600" and body["refresh_token"] and body["id_token"]
    assert set(claims_of(body["access_token"])["scp"].split()) >= {"SecurityAlert.Read.All", "SecurityEvents.Read.All"}


async def test_errors_that_are_shown_and_errors_that_go_back(world: World) -> None:
    """A client or redirect URI that is not known is never redirected to."""
    for query, code in (
        ({"redirect_uri": "https://app.example.org/callback/"}, "AADSTS50011"),
        ({"redirect_uri": "https://evil.example/"}, "AADSTS50011"),
        ({"redirect_uri": "http://localhost:9999/other"}, "AADSTS50011"),
        ({"client_id": "22222222-2222-2222-2222-222222222222"}, "AADSTS700016"),
        ({"client_id": ""}, "AADSTS900144"),
    ):
        page = await world.authorize(**query)
        assert page.status_code == 400 and code in page.text and "location" not in page.headers
    for query, error in (
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"scope": "https://elsewhere.example/.default"}, "invalid_resource"),
        ({"scope": "Nothing.Read"}, "invalid_client"),
        ({"prompt": "none"}, "login_required"),
        ({"response_mode": "telepathy"}, "invalid_request"),
        ({"code_challenge": "short", "code_challenge_method": "S256"}, "invalid_request"),
        ({"tenant": "nowhere"}, "invalid_tenant"),
    ):
        found = answer_of(await world.authorize(**query))
        assert (found["error"], found["state"]) == (error, "a b&c")
        assert found["error_description"].startswith("AADSTS")


async def test_loopback_port_is_free(world: World) -> None:
    code = await world.code(redirect_uri="http://localhost:61234/login/authorized")
    assert code
    assert (await world.authorize(redirect_uri="https://app.example.org:444/callback")).status_code == 400


async def test_response_modes(world: World) -> None:
    page = await world.authorize(response_mode="form_post")
    posted = await world.sign_in(page)
    action, fields = form_of(posted.text)
    assert action == REDIRECT and fields["state"] == "a b&c" and fields["code"]
    assert "form-action 'self' https://app.example.org" in posted.headers["content-security-policy"]
    hybrid = await world.authorize(response_type="id_token code", nonce="n-2", response_mode="fragment")
    fields = answer_of(hybrid)
    identity = claims_of(fields["id_token"])
    assert "#" in hybrid.headers["location"] and identity["nonce"] == "n-2" and identity["c_hash"]
    refused = answer_of(await world.authorize(response_type="id_token"))
    assert refused["error"] == "invalid_request"


async def test_wrong_passwords_look_alike(world: World) -> None:
    page = await world.authorize()
    texts = []
    for upn in ("ann@default.internal", "nobody@default.internal", ""):
        answer = await world.submit(page, username=upn, password="wrong password")
        assert answer.status_code == 400 and 'role="alert"' in answer.text and "set-cookie" in answer.headers
        assert "__Host-bartizan-session" not in answer.headers["set-cookie"]
        texts.append(answer.text[answer.text.index("AADSTS") :].split("<")[0])
    assert len(set(texts)) == 1 and texts[0].startswith("AADSTS50126")


async def test_disabled_and_foreign_accounts(world: World) -> None:
    await world.add_user("off@default.internal", "SecurityReader", disabled=True)
    other = await world.authority.accounts.add_tenant("Other", "other.internal", actor=audit.OPERATOR)
    await world.add_user("far@other.internal", "SecurityAdministrator", tenant=other.id)
    page = await world.authorize()
    assert "AADSTS50057" in (await world.sign_in(page, "off@default.internal")).text
    assert "AADSTS50020" in (await world.sign_in(page, "far@other.internal")).text
    assert "AADSTS50126" in (await world.sign_in(page, "off@default.internal", "wrong password")).text


async def test_forms_are_bound_to_the_browser(world: World) -> None:
    """A form without the browser's cookie, from another site, changed or too old does nothing."""
    page = await world.authorize()
    action, hidden = form_of(page.text)
    fields = {**hidden, "username": "ann@default.internal", "password": PASSWORD}
    sealed = hidden["flow"]
    kept = world.http.cookies
    world.http.cookies = httpx.Cookies()
    assert "another browser" in (await world.http.post(action, data=fields)).text
    world.http.cookies = kept
    for headers in ({"sec-fetch-site": "cross-site"}, {"origin": "https://evil.example"}):
        assert "another site" in (await world.http.post(action, data=fields, headers=headers)).text
    for flow in ("", "AAAA", sealed[:-2] + ("AA" if sealed[-2:] != "AA" else "BB"), "ä"):
        assert (await world.http.post(action, data=fields | {"flow": flow})).status_code == 400
    world.clock.skip(1801)
    assert "too old" in (await world.http.post(action, data=fields)).text


async def test_consent_by_an_administrator(world: World) -> None:
    """A reader is sent to an administrator; the administrator's consent for everyone lets the reader in."""
    query = {"scope": "openid SecurityEvents.ReadWrite.All"}
    refused = await world.sign_in(await world.authorize(**query))
    assert refused.status_code == 403 and "AADSTS90094" in refused.text
    assert answer_of(await world.authorize(**query, prompt="none"))["error"] == "invalid_grant"
    await world.http.get(f"/{world.tenant.id}/oauth2/v2.0/logout")
    page = await world.sign_in(await world.authorize(**query), "root@default.internal")
    assert "SecurityEvents.ReadWrite.All" in page.text and 'name="everyone"' in page.text
    denied = answer_of(await world.submit(page, decision="deny"))
    assert (denied["error"], denied["state"]) == ("access_denied", "a b&c")
    assert "code" in answer_of(await world.submit(page, decision="accept", everyone="1"))
    await world.http.get(f"/{world.tenant.id}/oauth2/v2.0/logout")
    tokens = await world.user_tokens(**query)
    assert claims_of(tokens["access_token"])["scp"].split()[0] == "SecurityEvents.ReadWrite.All"


async def test_own_consent(world: World) -> None:
    """User.Read is the account's own affair, and counts for it alone."""
    page = await world.sign_in(await world.authorize(scope="openid User.Read"))
    code = answer_of(await world.submit(page, decision="accept", everyone="1"))["code"]
    body = (await _redeem(world, code)).json()
    assert claims_of(body["access_token"])["scp"].split()[0] == "User.Read"
    await world.http.get(f"/{world.tenant.id}/oauth2/v2.0/logout")
    other = await world.sign_in(await world.authorize(scope="openid User.Read"), "root@default.internal")
    assert other.status_code == 200 and "User.Read" in other.text


@pytest.mark.parametrize("path", ["other.internal/v2.0", "organizations", "common"])
async def test_admin_consent(world: World, path: str) -> None:
    """Makes an app known in a tenant, whether the path names it or it is the administrator's."""
    other = await world.authority.accounts.add_tenant("Other", "other.internal", actor=audit.OPERATOR)
    await world.add_user("boss@other.internal", "SecurityAdministrator", tenant=other.id)
    await world.add_user("joe@other.internal", "SecurityReader", tenant=other.id)
    query = {"client_id": world.app.id, "redirect_uri": REDIRECT, "state": "s"}
    address = f"/{path}/adminconsent"
    page = await world.http.get(address, params=query)
    assert answer_of(await world.sign_in(page, "joe@other.internal"))["error"] == "consent_required"
    await world.http.get("/common/oauth2/v2.0/logout")
    page = await world.sign_in(await world.http.get(address, params=query), "boss@other.internal")
    assert "SecurityAlert.Read.All (by itself)" in page.text
    done = answer_of(await world.submit(page, decision="accept"))
    assert (done["admin_consent"], done["tenant"], done["state"]) == ("True", other.id, "s")
    assert await world.authority.accounts.consented(other.id, world.app.id) == frozenset({"SecurityAlert.Read.All"})


async def test_logout(world: World) -> None:
    await world.code()
    gone = await world.http.get(
        "/common/oauth2/v2.0/logout",
        params={"post_logout_redirect_uri": REDIRECT, "client_id": world.app.id, "state": "z"},
    )
    assert gone.headers["location"] == f"{REDIRECT}?state=z"
    assert (await world.authorize()).status_code == 200
    for target in ("https://evil.example/", "javascript:alert(1)"):
        page = await world.http.get("/common/oauth2/v2.0/logout", params={"post_logout_redirect_uri": target})
        assert page.status_code == 200 and "location" not in page.headers


async def test_revoked_account_loses_session_and_tokens(world: World) -> None:
    tokens = await world.user_tokens()
    user = world.users["ann@default.internal"]
    await world.authority.accounts.update(
        User, user.id, lambda u: replace(u, epoch=u.epoch + 1), actor=audit.OPERATOR, activity="Revoke tokens"
    )
    assert (await world.authorize()).status_code == 200
    answer = await world.token(
        grant_type="refresh_token", refresh_token=tokens["refresh_token"], client_secret=world.secret
    )
    assert _code(answer) == 50173
    with pytest.raises(Exception, match="revoked"):
        await world.authority.verifier.authenticate(tokens["access_token"])


async def test_userinfo(world: World) -> None:
    tokens = await world.user_tokens()
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert (await world.http.get("/oidc/userinfo", headers=headers)).json()[
        "preferred_username"
    ] == "ann@default.internal"
    assert (await world.http.get("/oidc/userinfo")).status_code == 401
    token = await world.app_token()
    assert (await world.http.get("/oidc/userinfo", headers={"Authorization": token})).status_code == 403


@pytest.mark.postgres
async def test_the_same_on_postgresql(postgres_dsn: str, tmp_path: Path) -> None:
    """Sign-in, rotation and reuse detection do not depend on the engine."""
    world = await make_world(tmp_path, store=postgres_dsn)
    one = await world.user_tokens()
    form = {"grant_type": "refresh_token", "client_secret": world.secret}
    two = (await world.token(**form, refresh_token=one["refresh_token"])).json()
    assert await world.authority.verifier.authenticate(two["access_token"])
    assert _code(await world.token(**form, refresh_token=one["refresh_token"])) == 50173
    with pytest.raises(Unauthenticated, match="revoked"):
        await world.authority.verifier.authenticate(two["access_token"])
    for _ in range(10):
        await world.token(grant_type="client_credentials", scope="a/.default", client_secret="guess")
    assert (await world.token(**form, refresh_token="x")).status_code == 429
    await world.http.aclose()
    await world.authority.store.close()


class _Page(HTMLParser):
    """What a screen reader and a browser's guard would look at."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def of(self, tag: str) -> list[dict[str, Any]]:
        return [attrs for name, attrs in self.tags if name == tag]


async def test_pages_are_accessible_and_guarded(world: World) -> None:
    """Every page: language, title, heading, labels, one autofocus, no script; never cached, framed or fed from
    elsewhere."""
    login = await world.authorize()
    wrong = await world.submit(login, username="<b>x@y.z", password="no such password")
    consent = await world.sign_in(await world.authorize(scope="openid User.Read"))
    device = await world.http.get("/devicelogin")
    shown = await world.http.get(f"/{world.tenant.id}/oauth2/v2.0/authorize", params={"client_id": "<script>"})
    for page in (login, wrong, consent, device, shown):
        found = _Page(page.text)
        assert (
            found.of("html")[0]["lang"] == "en" and found.of("title") and len(found.of("h1")) == 1 and found.of("main")
        )
        assert not found.of("script") and "<script>" not in page.text and "<b>x" not in page.text
        labels = {label["for"] for label in found.of("label")}
        visible = [i for i in found.of("input") if i["type"] != "hidden"]
        assert all(i["id"] in labels for i in visible)
        assert sum("autofocus" in attrs for _, attrs in found.tags) <= 1
        assert not any(name.startswith("on") or name == "style" for _, attrs in found.tags for name in attrs)
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
        assert page.headers["cache-control"] == "no-store" and page.headers["x-frame-options"] == "DENY"
    assert _Page(wrong.text).of("p")[0]["role"] == "alert" and "<title>Error:" in wrong.text
    names = {i.get("autocomplete") for i in _Page(login.text).of("input")}
    assert {"username", "current-password"} <= names
