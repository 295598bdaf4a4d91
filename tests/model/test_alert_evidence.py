"""Evidence: one object per distinct entity, later records joined to earlier ones."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bartizan.model import evidence

NS = "#microsoft.graph.security."


def item(kind: str, **values: Any) -> dict[str, Any]:
    return {"@odata.type": f"{NS}{kind}Evidence", **values}


def ip(text: str, *roles: str, **more: Any) -> dict[str, Any]:
    return item("ip", ipAddress=text, roles=list(roles), **more)


def user(**account: Any) -> dict[str, Any]:
    return item("user", userAccount=account)


def test_an_entity_that_is_named_twice_is_one_object_with_both_roles() -> None:
    assert evidence.distinct([ip("192.0.2.1", "source"), ip("192.0.2.2"), ip("192.0.2.1", "attacker")]) == [
        ip("192.0.2.1", "source", "attacker"),
        ip("192.0.2.2"),
    ]


def test_what_the_first_mention_lacks_is_filled_in() -> None:
    found = evidence.distinct(
        [item("device", hostName="PC1"), item("device", hostName="pc1", mdeDeviceId="7", osPlatform="X")]
    )
    assert found == [item("device", hostName="PC1", mdeDeviceId="7", osPlatform="X")]


def test_objects_that_contradict_each_other_stay_apart() -> None:
    two = [item("device", hostName="pc1", mdeDeviceId="7"), item("device", hostName="pc1", mdeDeviceId="8")]
    assert evidence.distinct(two) == two
    accounts = [user(accountName="ann", domainName="A"), user(accountName="ann", domainName="B")]
    assert evidence.distinct(accounts) == accounts
    files = [item("file", fileDetails={"sha256": "a" * 64, "filePath": path}) for path in ("/a", "/b")]
    assert evidence.distinct(files) == files


def test_what_is_said_of_an_object_does_not_make_it_another_one() -> None:
    one = item("process", processId=7, processCommandLine="x", verdict="suspicious")
    other = item("process", processId=7, processCommandLine="x", tags=["t"], createdDateTime="2026")
    assert evidence.distinct([one, other]) == [{**one, "tags": ["t"], "createdDateTime": "2026"}]


def test_a_later_record_replaces_what_it_says_and_keeps_what_it_does_not_name() -> None:
    old = [ip("192.0.2.1", verdict="unknown", remediationStatus="active", createdDateTime="1"), ip("192.0.2.2")]
    new = [ip("192.0.2.1", verdict="malicious", remediationStatus="none", createdDateTime="2"), ip("192.0.2.3")]
    assert evidence.merged(old, new) == [
        ip("192.0.2.1", verdict="malicious", remediationStatus="active", createdDateTime="1"),
        ip("192.0.2.2"),
        ip("192.0.2.3"),
    ]


def test_what_the_schema_requires_is_filled_in_at_every_depth() -> None:
    given = [item("networkConnection", sourceAddress=ip("192.0.2.1"), verdict="malicious")]
    required = {"verdict": "unknown", "remediationStatus": "none", "createdDateTime": "T"}
    assert evidence.complete(given, "T") == [
        {**given[0], **required, "verdict": "malicious", "sourceAddress": {**ip("192.0.2.1"), **required}}
    ]
    assert "verdict" not in given[0]["sourceAddress"]


VALUES = st.sampled_from(["a", "b", None])
ITEMS = st.lists(
    st.builds(lambda a, b: item("device", hostName=a, mdeDeviceId=b), VALUES, VALUES)
    | st.builds(lambda a, b: user(accountName=a, userSid=b), VALUES, VALUES)
    | st.builds(lambda a, r: ip(a or "", *r), VALUES, st.lists(st.sampled_from(["source", "attacker"]), max_size=2))
    | st.builds(lambda a: item("registryKey", registryKey=a), VALUES),
    max_size=6,
)


@settings(max_examples=150)
@given(ITEMS, ITEMS)
def test_folding_is_stable_and_joining_a_record_again_changes_nothing(
    one: list[dict[str, Any]], two: list[dict[str, Any]]
) -> None:
    folded = evidence.distinct(one)
    assert evidence.distinct(folded) == folded
    joined = evidence.merged(folded, two)
    assert evidence.merged(joined, two) == joined
    assert evidence.merged(joined, folded) == joined


def test_an_object_that_names_two_makes_them_one() -> None:
    """At the first's place, with what each said; what contradicts it stays by itself."""
    by_name, by_id = item("device", hostName="a", tags=["x"]), item("device", mdeDeviceId="1", tags=["y"])
    other, both = item("device", hostName="a", mdeDeviceId="2"), item("device", hostName="a", mdeDeviceId="1")
    whole = {**both, "tags": ["x", "y"]}
    assert evidence.distinct([by_name, ip("192.0.2.1"), by_id, both]) == [whole, ip("192.0.2.1")]
    assert evidence.merged([by_name, by_id], [both]) == [whole]
    assert evidence.merged([other, by_id], [both]) == [other, {**both, "tags": ["y"]}]
