"""The parsers of what clients send: any input is read or refused, never worse; good input is read as it was meant."""

import base64
import json
from urllib.parse import quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bartizan.auth.aadsts import OAuthError
from bartizan.auth.clients import read_assertion
from bartizan.auth.flow import match_redirect, usable_redirect
from bartizan.auth.forms import parse_basic, parse_form, parse_scope, resource_key
from bartizan.auth.keys import b64
from bartizan.errors import BadRequest

PLAIN = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=30)


@given(st.dictionaries(PLAIN.map(str.lower).filter(lambda name: name and name == name.lower()), PLAIN, max_size=8))
def test_form_round_trip(fields: dict[str, str]) -> None:
    assert parse_form(urlencode(fields).encode()).values == fields


@given(st.binary(max_size=300))
def test_any_form(body: bytes) -> None:
    try:
        form = parse_form(body)
    except OAuthError as error:
        assert error.status == 400
    else:
        assert all("\0" not in v for v in form.values.values())


def test_unescaped_secret() -> None:
    """Both readings of a secret that a client forgot to escape."""
    assert parse_form(b"client_secret=a+b%2").secret_forms("client_secret") == ("a b%2", "a+b%2")
    assert parse_form(b"client_secret=a~b").secret_forms("client_secret") == ("a~b",)
    assert parse_form(b"a=1&a=1").get("a") == "1"


@given(PLAIN.filter(lambda t: ":" not in t), PLAIN)
def test_basic_round_trip(id: str, secret: str) -> None:
    """As RFC 7617 and as RFC 6749 (form encoding below base64) write it."""
    plain = "Basic " + base64.b64encode(f"{id}:{secret}".encode()).decode()
    assert (id, secret) in parse_basic(plain)
    encoded = "basic " + base64.b64encode(f"{quote_plus(id)}:{quote_plus(secret)}".encode()).decode()
    assert (id, secret) in parse_basic(encoded)


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda b: "Basic " + base64.b64encode(b).decode()))
def test_any_basic(header: str) -> None:
    try:
        found = parse_basic(header)
    except OAuthError as error:
        assert error.status == 400
    else:
        assert isinstance(found, tuple)


@given(
    st.text(max_size=100)
    | st.lists(st.sampled_from(["openid", "a", "https://x/a", "https://x/.default", ".default", "/", "//", "y/z"])).map(
        " ".join
    )
)
def test_any_scope(text: str) -> None:
    try:
        scope = parse_scope(text)
    except OAuthError as error:
        assert error.code == 70011
    else:
        assert not (scope.default and scope.names)


@pytest.mark.parametrize(
    ("text", "resource", "names", "default", "oidc"),
    [
        ("", None, (), False, ()),
        ("openid Profile offline_access", None, (), False, ("openid", "profile", "offline_access")),
        ("SecurityAlert.Read.All User.Read", None, ("SecurityAlert.Read.All", "User.Read"), False, ()),
        ("https://Graph.Host/User.Read openid", "https://graph.host", ("User.Read",), False, ("openid",)),
        ("https://g/.default offline_access", "https://g", (), True, ("offline_access",)),
        ("https://h:8443//.default", "https://h:8443", (), True, ()),
        (".default", None, (), True, ()),
    ],
)  # fmt: skip
def test_scopes(text: str, resource: str | None, names: tuple[str, ...], default: bool, oidc: tuple[str, ...]) -> None:
    scope = parse_scope(text)
    assert (scope.resource, scope.names, scope.default, scope.oidc) == (resource, names, default, oidc)


@pytest.mark.parametrize(
    "text", ["https://a/x https://b/y", ".default User.Read", "a<b", "https://x/", "/x y", "x" * 9000]
)
def test_scopes_that_are_none(text: str) -> None:
    with pytest.raises(OAuthError) as caught:
        parse_scope(text)
    assert caught.value.code == 70011


def test_resource_key() -> None:
    assert resource_key("HTTPS://Host:1/Path//") == "https://host:1/Path"


@given(st.text(max_size=200) | st.binary(max_size=120).map(lambda b: ".".join([b64(b)] * 3)))
def test_any_assertion(text: str) -> None:
    try:
        header, claims = read_assertion(text)
    except OAuthError as error:
        assert error.error == "invalid_client"
    else:
        assert isinstance(header, dict) and isinstance(claims, dict)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda s: (
            st.lists(s, max_size=3)
            | st.dictionaries(st.sampled_from(["iss", "sub", "alg", "crit", "b64"]), s, max_size=3)
        ),
        max_leaves=6,
    ),
    st.data(),
)
def test_odd_assertions(header: object, data: st.DataObject) -> None:
    claims = data.draw(
        st.dictionaries(st.sampled_from(["iss", "sub", "aud"]), st.none() | st.integers() | st.text(max_size=5))
    )
    text = ".".join(b64(json.dumps(part).encode()) for part in (header, claims)) + ".AA"
    try:
        _, found = read_assertion(text)
    except OAuthError as error:
        assert error.error == "invalid_client"
    else:
        assert all(isinstance(found.get(name, ""), str) for name in ("iss", "sub"))


REGISTERED = ["https://app.example.org/cb", "http://localhost/cb", "http://127.0.0.1:7/x?a=1", "myapp://auth"]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("https://app.example.org/cb", True),
        ("https://app.example.org/cb/", False),
        ("https://app.example.org/CB", False),
        ("https://app.example.org:443/cb", False),
        ("https://app.example.org/cb?x=1", False),
        ("https://app.example.org.evil/cb", False),
        ("https://app.example.org@evil/cb", False),
        ("http://localhost:1234/cb", True),
        ("http://localhost/cb", True),
        ("http://127.0.0.1:1234/cb", False),
        ("http://127.0.0.1:99/x?a=1", True),
        ("http://127.0.0.1:99/x?a=2", False),
        ("http://localhost:1@evil/cb", False),
        ("http://localhost:99999/cb", False),
        ("https://localhost:1234/cb", False),
        ("myapp://auth", True),
        ("myapp://auth/more", False),
        ("", False),
    ],
)
def test_redirects(asked: str, found: bool) -> None:
    assert match_redirect(asked, REGISTERED) == (asked if found else None)


@given(st.text(max_size=80))
def test_any_redirect(text: str) -> None:
    assert match_redirect(text, REGISTERED) in (None, text)


def test_single_redirect_is_the_default() -> None:
    assert match_redirect("", REGISTERED[:1]) == REGISTERED[0]


@pytest.mark.parametrize(
    "uri", ["https://a.b/c", "http://localhost:1/x", "http://[::1]/x", "msal0000://auth", "com.example.app:/cb"]
)
def test_usable_redirects(uri: str) -> None:
    assert usable_redirect(uri) == uri


@pytest.mark.parametrize(
    "uri",
    ["http://a.b/c", "javascript:alert(1)", "data:text/html,x", "https://a.b/c#d", "https://*.b/c", "https://u@a.b/",
     "/c",
     "", "https:///c", "https://a.b/ c", "https://a.b/\\c", "file:///etc", "https://a.b/" + "x" * 3000],
)  # fmt: skip
def test_unusable_redirects(uri: str) -> None:
    with pytest.raises(BadRequest):
        usable_redirect(uri)
