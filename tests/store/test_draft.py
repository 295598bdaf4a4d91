"""An inner object made ready: wire per version, what the state must keep, columns, entities."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.store.conftest import ALERTS

from bartizan.errors import BadRequest
from bartizan.model.edm import edm
from bartizan.store import CREATED, ETAG, UPDATED, Collection, Column, Draft, Entity, Stored, draft, inner
from bartizan.store.alerts import INCIDENTS
from bartizan.store.draft import MAX_ENTITIES, column_values, covers, spliced

ALERT = "microsoft.graph.security.alert"
LEGACY = Collection(
    "legacy",
    "microsoft.graph.alert",
    columns=(Column("vendorInformation/provider"), Column("confidence", "int"), Column("title", fold=True)),
    entities={"hostStates/fqdn": "host", "userStates/userPrincipalName": "user", "tags": "resource"},
    created="createdDateTime",
)


def kept(made: Draft) -> Stored:
    """As if it had been stored."""
    return Stored(made.collection, made.id, 1, CREATED, UPDATED, made.doc, made.beta, made.state, made.evolvable)


INCIDENT = {
    "displayName": st.text(max_size=8),
    "severity": st.sampled_from(["low", "medium", "high"]),
    "summary": st.text(max_size=8),
    "priorityScore": st.integers(0, 100),
    "@bartizan.correlation": st.dictionaries(st.sampled_from(["said", "tactics"]), st.text(max_size=4)),
    "@bartizan.arranged": st.just(True),
}


@given(st.fixed_dictionaries({}, optional=INCIDENT), st.fixed_dictionaries({}, optional=INCIDENT))
def test_spliced_is_what_draft_makes(before: dict[str, Any], values: dict[str, Any]) -> None:
    """Of both versions, what no version shows, and the columns of what is new; or it says that it takes a draft."""
    stored = kept(draft(INCIDENTS, before, "i1"))
    whole = draft(INCIDENTS, {**inner(stored), **values}, "i1")
    made = spliced(INCIDENTS, stored, values)
    if made is None:
        assert "\\u0000" in json.dumps(values) or (not stored.state and any(name.startswith("@") for name in values))
        return
    assert json.loads(made.doc) == json.loads(whole.doc)
    assert json.loads(made.beta or made.doc) == json.loads(whole.beta or whole.doc)
    assert covers(inner(kept(made)), inner(kept(whole)))
    assert made.columns.items() <= whole.columns.items() and made.evolvable == whole.evolvable
    assert {name.partition("/")[0] for name in made.columns} >= values.keys() & {"severity", "displayName"}


def test_spliced_leaves_to_draft_what_cannot_be_stored_as_it_is() -> None:
    stored = kept(draft(INCIDENTS, {"displayName": "a"}, "i1"))
    assert spliced(INCIDENTS, stored, {"displayName": "b"}) is not None
    assert spliced(INCIDENTS, stored, {"displayName": "a\0b"}) is None
    assert spliced(INCIDENTS, stored, {"displayName": "\ud800"}) is None


def test_the_wire_of_both_versions() -> None:
    """ETag and id come first, stamps are marked, every property is there, and beta is kept only where it differs."""
    made = draft(ALERTS, {"title": "t", "createdDateTime": "never"}, "a1")
    body = json.loads(made.doc)
    assert list(body)[:3] == ["@odata.etag", "@odata.type", "id"]
    assert body["@odata.etag"] == f'W/"{ETAG}"' and body["id"] == "a1"
    assert (body["createdDateTime"], body["lastUpdateDateTime"]) == (CREATED, UPDATED)
    assert body.keys() >= set(edm("v1.0").structured(ALERT).properties)
    beta = json.loads(made.beta or made.doc)
    assert beta.keys() >= set(edm("beta").structured(ALERT).properties)
    assert (made.beta is None) == (made.doc == json.dumps(beta, separators=(",", ":")).encode())


def test_one_version_alone() -> None:
    """A set that only beta has keeps beta's wire as its document."""
    only = Collection("only", ALERT, versions=("beta",))
    made = draft(only, {"title": "t"}, "a1")
    assert made.beta is None and json.loads(made.doc)["title"] == "t"
    assert json.loads(made.doc).keys() >= set(edm("beta").structured(ALERT).properties)


def test_plain_documents() -> None:
    """Without a type the document is the object itself, stamped where the collection says so."""
    plain = Collection("plain", created="made", columns=(Column("a/b", "int"),))
    made = draft(plain, {"a": {"b": 3}, "@odata.etag": "old"}, "p1")
    assert json.loads(made.doc) == {"a": {"b": 3}, "made": CREATED} and (made.beta, made.state) == (None, b"")
    assert made.columns == {"a/b": 3} and inner(kept(made)) == {"a": {"b": 3}, "made": CREATED}


def test_state_is_kept_only_where_the_wire_lacks_something() -> None:
    """What beta's wire gives back is not stored twice; what it does not give back is kept whole."""
    assert draft(LEGACY, {"title": "t", "hostStates": [{"fqdn": "x"}]}, "a").state == b""
    odd = {"title": "t", "hostStates": [{"fqdn": "x", "notOfTheSchema": 1}]}
    made = draft(LEGACY, odd, "a")
    assert made.state and inner(kept(made))["hostStates"] == odd["hostStates"]
    assert b"notOfTheSchema" not in made.doc
    given_state = draft(LEGACY, {"title": "t"}, "a", state=b'{"mine":1}')
    assert given_state.state == b'{"mine":1}'


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=5), inside, max_size=3),
    max_leaves=12,
)


def bare(value: Any) -> Any:
    """Without what is unset, and as it is stored."""
    if isinstance(value, dict):
        return {bare(k): bare(v) for k, v in value.items() if v is not None and v != []}
    if isinstance(value, list):
        return [bare(item) for item in value]
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "title": st.text(max_size=20),
            "severity": st.sampled_from(["low", "high"]),
            "tags": st.lists(st.text(max_size=5), max_size=3),
            "hostStates": st.lists(st.fixed_dictionaries({}, optional={"fqdn": st.text(max_size=9)}), max_size=3),
            "vendorInformation": st.dictionaries(st.text(min_size=1, max_size=5), json_values, max_size=3),
        },
    )
)
def test_nothing_is_lost(body: dict[str, Any]) -> None:
    """What goes in as inner object comes back from wire or state, but for what is unset and for NUL."""
    made = draft(LEGACY, body, "a1")
    back = inner(kept(made))
    for key, value in body.items():
        assert (bare(back.get(key)) or None) == (bare(value) or None)
    again = draft(LEGACY, back, "a1")
    assert (again.doc, again.beta) == (made.doc, made.beta)


@given(json_values, json_values)
def test_covers_tells_differences(one: Any, other: Any) -> None:
    """Equal values cover each other; a value covers what differs only in unset properties, and nothing else."""
    assert covers(one, msgspec.json.decode(msgspec.json.encode(one)))
    if covers({"x": one}, {"x": other}):
        assert json.dumps(bare({"x": one}), sort_keys=True) == json.dumps(bare({"x": other}), sort_keys=True)


def test_columns_are_what_filters_compare() -> None:
    """Only values of the column's kind, folded where it says so; numbers keep their kind."""
    kinds = (
        Column("n", "int"),
        Column("r", "real"),
        Column("b", "bool"),
        Column("s"),
        Column("f", fold=True),
        Column("d/x", "instant"),
    )
    of = Collection("c", columns=kinds)
    good = {"n": 5, "r": 2, "b": False, "s": "Aa", "f": "Aa", "d": {"x": "2026-01-01T00:00:00.0000000Z"}}
    assert column_values(of, good) == {
        "n": 5,
        "r": 2.0,
        "b": False,
        "s": "Aa",
        "f": "aa",
        "d/x": "2026-01-01T00:00:00.0000000Z",
    }
    odd = {"n": True, "r": "2", "b": 1, "s": 5, "f": ["x"], "d": "x"}
    assert set(column_values(of, odd).values()) == {None}
    assert column_values(of, {"n": 5.0})["n"] == 5 and column_values(of, {"n": 5.5})["n"] is None
    with pytest.raises(BadRequest, match="64 bits"):
        draft(of, {"n": 2**63}, "x")
    assert draft(of, {"n": 1}, "x", columns={"s": "given"}).columns["s"] == "given"


def test_entities_are_found() -> None:
    """By the declared paths through lists, folded, each once, beside those that are given."""
    body = {
        "hostStates": [{"fqdn": "A.x"}, {"fqdn": "a.X "}, {"fqdn": None}, {}],
        "userStates": [{"userPrincipalName": "u@x"}],
        "tags": ["t1", "", "t2"],
    }
    made = draft(LEGACY, body, "a", entities=(Entity("host", "b.x", "source"), Entity("host", "A.X")))
    assert set(made.entities) == {
        Entity("host", "a.x"),
        Entity("host", "b.x", "source"),
        Entity("user", "u@x"),
        Entity("resource", "t1"),
        Entity("resource", "t2"),
    }


def test_too_many_entities() -> None:
    """Above the bound the document is refused, never cut."""
    fine = draft(LEGACY, {"tags": [f"t{i}" for i in range(MAX_ENTITIES)]}, "a")
    assert len(fine.entities) == MAX_ENTITIES
    with pytest.raises(BadRequest, match="entities"):
        draft(LEGACY, {"tags": [f"t{i}" for i in range(MAX_ENTITIES + 1)]}, "a")


def test_what_no_store_can_hold() -> None:
    """Half a surrogate pair and bottomless nesting are refused."""
    with pytest.raises(BadRequest, match="surrogate"):
        draft(LEGACY, {"title": "\ud800"}, "a")
    deep: Any = "x"
    for _ in range(5_000):
        deep = {"x": deep}
    with pytest.raises(BadRequest, match="deep"):
        draft(Collection("plain"), {"a": deep}, "a")


def test_evolvable_members_are_noticed() -> None:
    """A member after unknownFutureValue marks the document, so that a reader who does not know it can be spared it."""
    late = {
        (name, prop.name): member
        for name in (ALERT,)
        for prop in edm("v1.0").structured(name).properties.values()
        if (enum := edm("v1.0").enum(prop.type)) is not None and not prop.collection
        for member in sorted(enum.late)[:1]
    }
    assert late
    for (_, name), member in late.items():
        assert draft(ALERTS, {name: member}, "a").evolvable
    assert not draft(ALERTS, {"severity": "low"}, "a").evolvable
