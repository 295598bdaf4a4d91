"""The text of a subscription's resource: what it names, in every spelling that clients use."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bartizan import api
from bartizan.errors import BadRequest, InvalidQuery
from bartizan.extend import RESOURCES
from bartizan.respond.watched import WATCHABLE, required_access, watched

PLAIN = "vendorInformation/provider eq 'ASC' and Status eq 'newAlert'"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("security/alerts", ("security/alerts", None, None, None)),
        ("/security/alerts/", ("security/alerts", None, None, None)),
        ("v1.0/Security/ALERTS", ("security/alerts", None, None, None)),
        ("/beta/security/alerts_v2", ("security/alerts_v2", None, None, None)),
        ("security/alerts/{id}".replace("{id}", "AbC-1"), ("security/alerts", "AbC-1", None, None)),
        ("security/alerts('Ab''C')", ("security/alerts", "Ab'C", None, None)),
        ("security/incidents/29", ("security/incidents", "29", None, None)),
        ("users/ann%40example.org", ("users", "ann@example.org", None, None)),
        ("/users", ("users", None, None, None)),
        ("groups/g1/Members", ("groups", "g1", "members", None)),
        ("groups('g1')/owners", ("groups", "g1", "owners", None)),
        (f"security/alerts?$filter={PLAIN}", ("security/alerts", None, None, PLAIN)),
        (f"security/alerts/?$filter={PLAIN}", ("security/alerts", None, None, PLAIN)),
        (
            "security/alerts?%24filter=vendorInformation%2Fprovider%20eq%20%27ASC%27%20and%20Status%20eq%20%27newAlert%27",
            ("security/alerts", None, None, PLAIN),
        ),
        (
            "security/alerts?$filter=vendorInformation/provider+eq+'ASC'+and+Status+eq+'newAlert'",
            ("security/alerts", None, None, PLAIN),
        ),
        ("security/alerts?$filter=title eq '50%25 + 1'", ("security/alerts", None, None, "title eq '50%25 + 1'")),
        ("security/alerts?$FILTER=title eq 'a&b'", ("security/alerts", None, None, "title eq 'a&b'")),
        (
            "identityprotection/riskyusers?$filter=riskLevel eq 'high'",
            ("identityProtection/riskyUsers", None, None, "riskLevel eq 'high'"),
        ),
        ("identityProtection/riskDetections", ("identityProtection/riskDetections", None, None, None)),
    ],
)
def test_spellings(text: str, expected: tuple[str, str | None, str | None, str | None]) -> None:
    found = watched(text)
    assert (found.set.path, found.key, found.relation, found.filter) == expected
    found.predicate("v1.0")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "me/messages",
        "security",
        "security/alerts_v3",
        "securityalerts",
        "security/alerts/a/comments",
        "users/u/members",
        "security/alerts?",
        "users/",
        "security/alerts?$top=5",
        "security/alerts?$filter=",
        "security/alerts?$filter=a eq 1&$filter=b eq 2",
        "security/alerts/a1?$filter=status eq 'newAlert'",
        "security/alerts('')",
        "security/alerts/" + "x" * 300,
        "x" * 5000,
    ],
)
def test_refused(text: str) -> None:
    """What cannot be watched is a BadRequest that says what can; a set with a stray slash or mark still is one."""
    if text in ("security/alerts?", "users/"):
        assert watched(text).filter is None
        return
    with pytest.raises(BadRequest) as problem:
        watched(text)
    assert "resource" in problem.value.message


@pytest.mark.parametrize("filter", ["nonsense eq 1", "status eq", "status eq 'newAlert' and", "(((", "severity gt 5 x"])
def test_bad_filters(filter: str) -> None:
    with pytest.raises(InvalidQuery):
        watched(f"security/alerts?$filter={filter}").predicate("v1.0")


def test_predicates() -> None:
    """A filter is asked of the wire form, names in any case."""
    wanted = watched("security/alerts?$filter=Severity eq 'High' and hostStates/any(h:h/fqdn eq 'a.b')").predicate(
        "v1.0"
    )
    assert wanted is not None
    assert wanted({"severity": "high", "hostStates": [{"fqdn": "a.b"}]})
    assert not wanted({"severity": "high", "hostStates": []})
    assert not wanted({"severity": "low", "hostStates": [{"fqdn": "a.b"}]})


def test_access() -> None:
    """Who may read may subscribe."""
    for each in WATCHABLE:
        access = required_access(f"/{each.path}/some-id")
        assert access.application and access.delegated and access.role == "SecurityReader"
    assert "SecurityEvents.Read.All" in required_access("security/alerts?$filter=status eq 'newAlert'").application


@given(
    st.text(max_size=80),
    st.sampled_from(["", "security/alerts?$filter=", "security/alerts/", "users('", "groups/", "/v1.0/"]),
)
def test_any_text(text: str, before: str) -> None:
    """Any text is a resource or a BadRequest."""
    try:
        found = watched(before + text)
        found.predicate("v1.0")
    except BadRequest:
        return
    assert found.set in WATCHABLE and (found.key is None or found.filter is None)


def test_agrees_with_the_api() -> None:
    """Each set is declared by the API under that path, with that collection and type, readable by the same scopes."""
    api.load()
    declared = {each.path: each for each in RESOURCES}
    for each in WATCHABLE:
        resource = declared[each.path]
        assert (resource.collection.name, resource.type) == (each.collection, each.type)
        assert set(each.read.application) & set(resource.read.application)
        assert required_access(each.path) == resource.read
