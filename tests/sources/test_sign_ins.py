"""What every identity provider's sign-in shares, and the lines of Keycloak, which are a language of their own."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bartizan.extend import SOURCES, Event, Record
from bartizan.model.edm import edm
from bartizan.sources.sign_ins import Code, SignIn, Step, sign_in, why

AT = "2026-01-01T00:00:00.0000000Z"
GUID = "5F0A1C1E-0000-4000-8000-00000000000A"


def body(**said: Any) -> dict[str, Any]:
    (made,) = sign_in(SignIn(**{"provider": "acme", "id": "7", "at": AT, **said}), ())
    return edm("beta").accept(made.type, made.body)


def test_an_id_is_of_its_provider() -> None:
    """A GUID stays; a number that two providers use gives two ids, the same one each time."""
    assert body(id=GUID)["id"] == GUID.lower()
    assert body()["id"] == body()["id"] != body(provider="other")["id"]


def test_without_a_time_there_is_none() -> None:
    assert not list(sign_in(SignIn(provider="acme", id="7", at=None), ()))


def test_a_workload_is_no_member() -> None:
    """A service principal's sign-in has no type of user."""
    made = body(principal_id="p", principal_name="robot", kinds=["servicePrincipal"])
    assert "userType" not in made and made["isInteractive"] is False


def test_words_of_graph() -> None:
    """Factors, protocols and addresses come out in Graph's words; what is none is left out."""
    made = body(steps=[Step("duo_push", True), Step("Smoke signal")], protocol="openid-connect", address="1.2.3.4:99")
    assert [step["authenticationMethod"] for step in made["authenticationDetails"]] == [
        "Mobile app notification",
        "Smoke signal",
    ]
    assert (made["authenticationProtocol"], made["ipAddress"]) == ("oAuth2", "1.2.3.4")
    made = body(protocol="pigeon", address="somewhere", asn=2**40)
    assert not {"authenticationProtocol", "ipAddress", "autonomousSystemNumber"} & set(made)


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("Account is locked", Code.LOCKED_OUT),
        ("the clock was unlocked", Code.WRONG_PASSWORD),
        ("User suspended", Code.DISABLED),
        ("your password has expired", Code.PASSWORD_EXPIRED),
        ("No such user", Code.UNKNOWN_USER),
        ("TOTP mismatch", Code.FACTOR_FAILED),
        ("blocked by policy", Code.BLOCKED),
        (None, Code.WRONG_PASSWORD),
    ],
)
def test_reasons(reason: str | None, code: int) -> None:
    assert why(reason) == code


PLAIN = st.text(st.characters(codec="utf-8", exclude_characters='"\\', exclude_categories=["C", "Z"]), min_size=1)


@settings(max_examples=80, deadline=None)
@given(name=PLAIN, client=PLAIN, noise=st.text(st.characters(codec="utf-8", exclude_characters="="), max_size=60))
def test_lines_of_keycloak(name: str, client: str, noise: str) -> None:
    """What stands in quotes is read back, whatever stands before it."""
    text = f'{noise} [org.keycloak.events] type="LOGIN", clientId="{client}", userId="u, 1", username="{name}"'
    outs = list(SOURCES["keycloak"].normalise(Record(raw=text.encode("utf-8", "replace"), text=text, data=None)))
    rows = [out.row for out in outs if isinstance(out, Event)]
    assert rows[0]["EventType"] == "LOGIN"
    assert rows[0]["UserId"] == "u, 1"
    nothing = ("-", "n/a", "null", "none", "(null)", "<na>", "nan")
    assert name.lower() in nothing or rows[0]["UserName"] == name.strip()
