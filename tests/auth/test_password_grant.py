"""Sign-in by a password that an application hands over: off unless the operator allows it."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace
from tests.auth.conftest import PASSWORD, World, claims_of, make_world

from bartizan.auth import audit
from bartizan.auth.accounts import EVERYONE, User
from bartizan.store import Query

pytestmark = pytest.mark.anyio
ANN = {"grant_type": "password", "username": "ann@default.internal", "password": PASSWORD}
SCOPE = {"scope": "openid offline_access SecurityAlert.Read.All"}


@pytest.fixture
async def open_world(tmp_path: Path) -> AsyncIterator[World]:
    made = await make_world(tmp_path, password_grant=True)
    await _consent(made)
    yield made
    await made.http.aclose()
    await made.authority.store.close()


async def _consent(world: World) -> None:
    names = ["SecurityAlert.Read.All"]
    await world.authority.accounts.grant(world.tenant.id, world.app.id, EVERYONE, names, actor=audit.OPERATOR)


async def test_off_by_default(world: World) -> None:
    """The error names the setting, and the password is not even looked at."""
    await _consent(world)
    answer = await world.token(**ANN, **SCOPE, client_secret=world.secret)
    assert (answer.status_code, answer.json()["error"]) == (400, "unsupported_grant_type")
    assert "password_grant" in answer.json()["error_description"]
    assert PASSWORD not in answer.text
    document = (await world.http.get(f"/{world.tenant.id}/v2.0/.well-known/openid-configuration")).json()
    assert "password" not in document["grant_types_supported"]


@pytest.mark.parametrize("tenant", ["", "organizations", "default.internal"])
async def test_tokens_of_the_account(open_world: World, tenant: str) -> None:
    """With a secret or, for public clients, without; the scopes are those that were consented, the roles its own."""
    for secret in (open_world.secret, ""):
        answer = await open_world.token(**ANN, **SCOPE, client_secret=secret, tenant=tenant or open_world.tenant.id)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert body.keys() >= {"access_token", "refresh_token", "id_token", "scope"}
        claims = claims_of(body["access_token"])
        assert (claims["upn"], claims["scp"]) == ("ann@default.internal", "SecurityAlert.Read.All openid")
        caller = await open_world.authority.verifier.authenticate(f"Bearer {body['access_token']}")
        assert caller.user == open_world.users["ann@default.internal"].id
        again = await open_world.token(
            grant_type="refresh_token", refresh_token=body["refresh_token"], client_secret=secret
        )
        assert again.status_code == 200, again.text
    document = (await open_world.http.get(f"/{open_world.tenant.id}/v2.0/.well-known/openid-configuration")).json()
    assert "password" in document["grant_types_supported"]


async def test_first_version(open_world: World) -> None:
    """A resource in place of scopes, as scripts from before 2018 send it."""
    answer = await open_world.token(
        "", **ANN, resource="https://graph.microsoft.com", client_secret=open_world.secret, scope="openid"
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["resource"] == "https://graph.microsoft.com"
    assert claims_of(answer.json()["access_token"])["ver"] == "1.0"


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"password": "wrong"}, 50126),
        ({"username": "nobody@default.internal"}, 50126),
        ({"username": ""}, 900144),
        ({"password": ""}, 900144),
        ({"scope": "SecurityEvents.ReadWrite.All"}, 65001),
        ({"scope": "Nothing.At.All"}, 650053),
        ({"client_secret": "wrong"}, 7000215),
        ({"tenant": "common", "username": "elsewhere@default.internal"}, 50126),
    ],
)
async def test_refusals(open_world: World, form: dict[str, str], code: int) -> None:
    """As on the page: a wrong name looks like a wrong password; no answer repeats the password."""
    fields = {**ANN, **SCOPE, "client_secret": open_world.secret, **form}
    answer = await open_world.token(**fields)
    assert answer.status_code in (400, 401), answer.text
    assert answer.json()["error_codes"] == [code], answer.text
    assert PASSWORD not in answer.text and "wrong" not in answer.text


async def test_who_may_not_sign_in(open_world: World) -> None:
    """A disabled account has no tokens, nor has one without a role in the tenant."""
    ann = open_world.users["ann@default.internal"]
    await open_world.authority.accounts.update(
        User, ann.id, lambda user: replace(user, disabled=True), actor=audit.OPERATOR, activity="Disable user"
    )
    answer = await open_world.token(**ANN, **SCOPE, client_secret=open_world.secret)
    assert answer.json()["error_codes"] == [50057]


async def test_guesses_are_throttled(open_world: World) -> None:
    """Wrong passwords are counted with those of the page, and then the right one waits too."""
    answers = [
        await open_world.token(**{**ANN, "password": f"guess {n}"}, **SCOPE, client_secret=open_world.secret)
        for n in range(30)
    ]
    assert answers[0].json()["error_codes"] == [50126]
    assert 50053 in [answer.json()["error_codes"][0] for answer in answers]
    last = await open_world.token(**ANN, **SCOPE, client_secret=open_world.secret)
    assert last.json()["error_codes"] == [50053], last.text


async def test_it_is_audited(open_world: World) -> None:
    """The sign-in of the person and the token of the application; of a failure why, and never the password."""
    await open_world.token(**ANN, **SCOPE, client_secret=open_world.secret)
    await open_world.token(**{**ANN, "password": "not it"}, **SCOPE, client_secret="")
    page = await open_world.authority.store.tenant(open_world.tenant.id).page("directoryAudits", Query(top=50))
    text = b"".join(row.doc + row.state for row in page.rows)
    assert b"not it" not in text and PASSWORD.encode() not in text
    found = [msgspec.json.decode(row.doc) for row in reversed(page.rows)]
    assert [(each["activityDisplayName"], each["result"]) for each in found][-4:] == [
        ("Sign in", "success"),
        ("Issue token", "success"),
        ("Sign in", "failure"),
        ("Issue token", "failure"),
    ]


async def test_the_realm_says_nothing_of_accounts(world: World) -> None:
    """MSAL asks it first; known and unknown names are answered alike."""
    answers = [
        (await world.http.get(f"/common/userrealm/{name}@default.internal?api-version=1.0")).json()
        for name in ("ann", "nobody")
    ]
    assert answers[0] == answers[1]
    assert (answers[0]["account_type"], answers[0]["domain_name"]) == ("Managed", "default.internal")
