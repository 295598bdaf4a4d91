"""Which names are one person or one host, and when they are not."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bartizan.correlate.aliases import Aliases, Token, device, person
from bartizan.correlate.facts import LEASE_S, Names, facts_of

DAY = 86_400.0


def same(aliases: Aliases, one: list[Token], other: list[Token], at: float = 0.0) -> bool:
    return bool(set(aliases.resolve(one, at)) & set(aliases.resolve(other, at)))


def test_every_name_of_an_account_is_one_person() -> None:
    known = Aliases()
    known.learn(person(object_id="0-1", addresses=["ann@x.example", "a.lee@x.example"]), 0)
    known.learn(person(sid="S-1-5-21-1-2-3-1104", account="ann", domain="CORP"), 1)
    names = [
        person(object_id="0-1"),
        person(addresses=["ANN@x.example"]),
        person(addresses=["a.lee@x.example"]),
        person(sid="s-1-5-21-1-2-3-1104"),
        person(account="CORP\\Ann"),
        person(account="ann", domain="corp.x.example"),
        person(account="ann"),
        person(account="ann@x.example"),
    ]
    assert {known.resolve(each, 2)[0] for each in names} == {"oid:0-1"}
    assert known.shown("oid:0-1") == "ann@x.example"


def test_a_user_of_an_aws_account_is_the_only_person_of_that_name() -> None:
    """Also where the person has an account name in a directory already, and users in several accounts."""
    known = Aliases()
    known.learn(person(object_id="1", addresses=["ann@x.example"]), 0)
    known.learn(person(addresses=["ann@x.example"], account="ann", domain="CORP"), 0)
    of_aws = [
        person(object_id=f"AIDACKCEVSQ6C2{n}", account="ann", domain=account, product="Amazon GuardDuty")
        for n, account in enumerate(("111122223333", "444455556666", "777788889999"))
    ]
    assert [known.resolve(each, 1)[0] for each in of_aws] == ["oid:1", "oid:1", "oid:1"]
    assert known.resolve(person(account="ann", domain="444455556666"), 1)[0] == "oid:1"
    assert known.shown("oid:1") == "ann@x.example"
    assert known.resolve(person(account="ann", domain="OTHER"), 1) == ["sam:other\\ann"]
    ambiguous = Aliases()
    for id, domain in (("1", "x"), ("2", "y")):
        ambiguous.learn(person(object_id=id, addresses=[f"ann@{domain}.example"]), 0)
    alone = person(account="ann", domain="111122223333")
    assert ambiguous.resolve(alone, 1) == alone


def test_ids_of_several_providers_are_one_person() -> None:
    """By turns, in any order; a second id with the same provider is somebody else, who has the name from then on."""
    guid = "5f1c7a6e-0000-4000-8000-000000000001"
    told = [
        person(object_id=guid, addresses=["ann@x.example"], product="Microsoft Entra ID Protection"),
        person(object_id="00u1abc", addresses=["ann@x.example"], product="Okta"),
        person(object_id="W012A3CDE", addresses=["ann@x.example"], product="Slack"),
        person(object_id="DU1", addresses=["ann@x.example"], account="ann", domain="CORP", product="Duo"),
    ]
    for order in (told, told[::-1]):
        known = Aliases()
        for each in order * 2:
            known.learn(each, 0)
        assert len({known.resolve(each, 1)[0] for each in order}) == 1
        late = known.resolve(person(object_id="00u2", addresses=["ann@x.example"], product="Okta"), 2)
        assert late[0] == "uid.okta:00u2"
    assert known.resolve(person(object_id=guid.upper(), product="Tracebit"), 1)[0] == known.resolve(told[0], 1)[0]
    known = Aliases()
    known.learn(person(object_id="9f1", addresses=["kim@x.example"]), 0)
    assert known.resolve(person(object_id="9F1", product="Acme"), 1)[0] == "oid:9f1", "the directory has told it"


def test_two_of_one_name_are_two() -> None:
    known = Aliases()
    known.learn(person(object_id="1", addresses=["sam@x.example"]), 0)
    known.learn(person(object_id="2", addresses=["sam@y.example"]), 0)
    assert known.resolve(person(account="sam"), 1) == []
    assert not same(known, person(addresses=["sam@x.example"]), person(addresses=["sam@y.example"]))
    third = known.resolve(person(account="CORP\\sam"), 1)
    assert third == ["sam:corp\\sam"]


def test_a_bare_name_is_whoever_is_known_by_it_alone() -> None:
    known = Aliases()
    before = known.resolve(person(account="kim"), 0)
    known.learn(person(object_id="9", addresses=["kim@x.example"]), 1)
    after = known.resolve(person(account="kim"), 2)
    assert after[0] == "oid:9"
    assert set(before) <= set(after), "what was linked under the bare name is found still"


def test_a_name_that_was_given_to_another_means_who_had_it_then() -> None:
    known = Aliases()
    known.learn(person(object_id="old", addresses=["it@x.example"]), 1 * DAY)
    known.learn(person(object_id="new", addresses=["it@x.example"]), 100 * DAY)
    assert known.resolve(person(addresses=["it@x.example"]), 50 * DAY)[0] == "oid:old"
    assert known.resolve(person(addresses=["it@x.example"]), 150 * DAY)[0] == "oid:new"


def test_two_that_turn_out_to_be_one_keep_their_stories() -> None:
    known = Aliases()
    one = known.resolve(person(sid="S-1-5-21-1-2-3-1"), 0)
    two = known.resolve(person(object_id="5"), 0)
    whole = known.resolve(person(object_id="5", sid="S-1-5-21-1-2-3-1"), 1)
    assert {one[0], two[0]} <= set(whole)


@pytest.mark.parametrize("name", ["SYSTEM", "root", "NT AUTHORITY\\SYSTEM", "Administrator", "WEB01$", ""])
def test_accounts_that_every_system_has_are_nobody(name: str) -> None:
    assert person(account=name, sid="S-1-5-18") == []


def test_hosts_by_id_name_and_short_name() -> None:
    known = Aliases()
    known.learn(device(ids=["m1"], names=["web01.x.example", "WEB01"]), 0)
    assert same(known, device(names=["web01"]), device(ids=["M1"]))
    known.learn(device(ids=["m2"], names=["web01.y.example"]), 0)
    assert known.resolve(device(names=["web01"]), 1) == []
    assert device(names=["web01"], domain="y.example") == ["fqdn:web01.y.example"]
    assert device(names=["localhost"]) == []
    whole = known.resolve(device(ids=["m3"], names=["mail"]), 1)
    assert known.shown(whole[0]) == "mail", "an id is no name for people"


def test_a_leased_address_is_the_host_that_had_it_then() -> None:
    names = Names()
    names.held("10.0.0.5", "fqdn:a", 1 * DAY)
    names.held("10.0.0.5", "fqdn:b", 3 * DAY)
    assert names.holder("10.0.0.5", 1 * DAY + 60) == "fqdn:a"
    assert names.holder("10.0.0.5", 3 * DAY + 60) == "fqdn:b"
    assert names.holder("10.0.0.5", 2 * DAY) is None
    assert names.holder("10.0.0.6", 1 * DAY) is None
    names.held("10.0.0.5", "fqdn:c", 3 * DAY + LEASE_S / 2)
    assert names.holder("10.0.0.5", 3 * DAY + LEASE_S * 0.7) is None, "two may have had it"


token = st.one_of(
    st.builds(lambda n: f"oid:{n}", st.integers(0, 4)),
    st.builds(lambda n: f"sid:{n}", st.integers(0, 4)),
    st.builds(lambda n, d: f"addr:u{n}@{d}.example", st.integers(0, 3), st.sampled_from("xy")),
    st.builds(lambda n: f"sam:corp\\u{n}", st.integers(0, 3)),
    st.builds(lambda n: f"name:u{n}", st.integers(0, 3)),
)
told = st.lists(st.tuples(st.lists(token, min_size=1, max_size=4, unique=True), st.floats(0, 100)), max_size=25)


@settings(max_examples=300, deadline=None)
@given(told, st.lists(token, max_size=3))
def test_any_mix_of_names_resolves_and_survives_a_restart(
    records: list[tuple[list[Token], float]], ask: list[Token]
) -> None:
    known = Aliases()
    for tokens, at in records:
        known.resolve(tokens, at)
    again = Aliases()
    again.load(msgspec.msgpack.decode(msgspec.msgpack.encode(known.dump())))
    found = known.resolve(ask, 50)
    assert found == again.resolve(ask, 50)
    assert len(found) == len(set(found)) <= 8


KEYS = """@odata.type userAccount accountName userSid deviceDnsName ipAddress loggedOnUsers recipientEmailAddress
p1Sender emailAddress hostName ipInterfaces""".split()
json_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)
KINDS = [
    "userEvidence",
    "deviceEvidence",
    "ipEvidence",
    "analyzedMessageEvidence",
    "processEvidence",
    "mailboxEvidence",
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(KEYS), json_value, max_size=5), max_size=4), st.sampled_from(KINDS))
def test_any_evidence_gives_facts(evidence: list[dict[str, object]], kind: str) -> None:
    for item in evidence:
        item["@odata.type"] = f"#microsoft.graph.security.{kind}"
    facts = facts_of({"id": "a", "createdDateTime": "2026-11-20T10:00:00Z", "evidence": evidence}, Names())
    assert len(set(facts.nodes)) == len(facts.nodes)
    assert all(of and value for of, value in facts.nodes)
