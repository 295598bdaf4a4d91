"""What holds of any stream: nothing raises, evidence never lowers a score, strangers change nothing."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.identity.detections.scene import Told, event, expand

from bartizan.identity.engine import Result, State, shard_of
from bartizan.identity.events import Event, SignIn, activity, audit, sign_in
from bartizan.intel.networks import Intel
from bartizan.intel.tables import Kind

_TEXT = st.text(max_size=40) | st.sampled_from(
    ["\ud800", "", "10.1.0.10", "2001:db8::1", "::ffff:10.1.0.1", "a" * 5000]
)
_NUMBER = st.integers(-(2**63), 2**64) | st.sampled_from([0, 64500, 50126, 500121])
_FLOAT = st.floats(allow_nan=True, allow_infinity=True) | st.integers(-(10**30), 10**30).map(float)
_TIME = st.sampled_from(
    ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.9999999Z", "2026-03-02T09:00:00+14:00", "1969-12-31T23:59:59.999999Z"]
) | st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat)


def _maybe(of: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | of


SIGN_IN = st.fixed_dictionaries(
    {"id": _TEXT, "createdDateTime": _TIME, "userId": _TEXT.filter(bool)},
    optional={
        "userPrincipalName": _maybe(_TEXT),
        "servicePrincipalId": _maybe(_TEXT),
        "ipAddress": _maybe(_TEXT),
        "autonomousSystemNumber": _maybe(_NUMBER),
        "appDisplayName": _maybe(_TEXT),
        "clientAppUsed": _maybe(_TEXT),
        "authenticationProtocol": _maybe(_TEXT | st.sampled_from(["ropc", "deviceCode", "none"])),
        "userAgent": _maybe(_TEXT),
        "isInteractive": _maybe(st.booleans()),
        "sessionId": _maybe(_TEXT),
        "incomingTokenType": _maybe(_TEXT | st.lists(_TEXT, max_size=3)),
        "tokenIssuerName": _maybe(_TEXT),
        "status": _maybe(st.builds(dict, errorCode=st.sampled_from([0, 50126, 53003, 500121]) | _NUMBER)),
        "location": _maybe(
            st.fixed_dictionaries(
                {},
                optional={
                    "city": _maybe(_TEXT),
                    "countryOrRegion": _maybe(_TEXT),
                    "geoCoordinates": _maybe(st.builds(dict, latitude=_maybe(_FLOAT), longitude=_maybe(_FLOAT))),
                },
            )
        ),
        "deviceDetail": _maybe(
            st.builds(dict, deviceId=_maybe(_TEXT), operatingSystem=_maybe(_TEXT), browser=_maybe(_TEXT))
        ),
    },
)


@given(st.lists(SIGN_IN, max_size=12), st.booleans())
def test_any_sign_in_is_taken(bodies: list[dict[str, Any]], one_person: bool) -> None:
    """Missing fields, lone surrogates, huge numbers, times at both ends: a score, or a ValueError of the parser."""
    state = State(Told({}, [], "list"), {})
    for body in bodies:
        try:
            read = sign_in({**body, "userId": "ada"} if one_person else body)
        except ValueError:
            continue
        assert shard_of(read.principal, 4) < 4
        results = state.step(read)
        assert results[0].id == read.id
        assert all(abs(each.score) < 1_000 for each in results)


# A short form of cases, of few values, so that histories meet.
SHORT = st.fixed_dictionaries(
    {
        "minute": st.integers(0, 30 * 24 * 60),
        "from": st.sampled_from(["home", "office", "cafe", "mobile", "abroad", "nearby", "hosted", "hidden"]),
        "with": st.sampled_from(["laptop", "phone", "foreign", "registered", "script"]),
        "code": st.sampled_from([0, 0, 0, 50126, 53003, 500121]),
        "session": st.sampled_from([None, "s1", "s2"]),
        "multifactor": st.booleans(),
    }
)
STREAM = st.lists(SHORT, min_size=1, max_size=40)


def _events(stream: list[dict[str, Any]], **more: Any) -> list[Event]:
    start = datetime(2026, 3, 2, tzinfo=UTC)
    made = []
    for number, each in enumerate(sorted(stream, key=lambda one: int(one["minute"]))):
        (full,) = expand({"at": "00:00", **{key: value for key, value in each.items() if key != "minute"}, **more})
        at = (start + timedelta(minutes=each["minute"])).isoformat()
        made.append(event({**full, "id": f"{full['who']}{number:03}", "at": at}, number))
    return made


def _run(state: State, events: list[Event]) -> list[Result]:
    return [result for each in events for result in state.step(each)]


@given(STREAM, st.sampled_from([Kind.MALICIOUS, Kind.NATION_STATE, Kind.TOR]))
def test_more_evidence_never_lowers_a_score(stream: list[dict[str, Any]], kind: Kind) -> None:
    """The last sign-in of any stream, of an address that a list names from then on: at least as risky."""
    events = _events(stream)
    last = events[-1]
    assert isinstance(last, SignIn)
    assume(last.valid)
    since = datetime.fromtimestamp(last.at, UTC) - timedelta(seconds=1)
    day = (since - datetime(2026, 3, 2, tzinfo=UTC)).days
    told = f"{kind.name} since {day:+d}d {since:%H:%M:%S}"
    without, listed = State(Told({}, [], "list"), {}), State(Told({last.address: [told]}, [], "list"), {})
    earlier = [each for each in events[:-1] if each.at < last.at - 1]
    _run(without, earlier)
    _run(listed, earlier)
    before, after = without.step(last)[0], listed.step(last)[0]
    assert after.score >= before.score


@given(STREAM, STREAM)
def test_strangers_change_nothing(own: list[dict[str, Any]], others: list[dict[str, Any]]) -> None:
    """People at other addresses, of other carriers, with other programs: the scores of ada stay as they are, but for
    how usual her countries are in the tenant."""
    mine = _events(own)
    other = {"address": "10.99.0.1", "asn": 65000, "country": None, "agent": "other", "session": "theirs"}
    theirs = _events([{**each, **other} for each in others], who="bob")
    alone = _run(State(_nothing(), {}), mine)
    both = _run(State(_nothing(), {}), sorted([*mine, *theirs], key=lambda each: (each.at, each.id)))
    assert [(each.id, each.score) for each in both if each.principal == "ada"] == [
        (each.id, each.score) for each in alone
    ]


@given(STREAM)
def test_the_same_stream_ends_the_same(stream: list[dict[str, Any]]) -> None:
    """A state follows from its events."""
    one, two = State(_nothing(), {}), State(_nothing(), {})
    assert _run(one, _events(stream)) == _run(two, _events(stream))
    assert msgspec.msgpack.encode(one.principals) == msgspec.msgpack.encode(two.principals)


@given(STREAM, st.integers(2, 4))
def test_workers_find_what_one_finds(stream: list[dict[str, Any]], shards: int) -> None:
    """Each worker sees all and scores its own: together they say what one alone says."""
    events = [*_events(stream), *_events(stream, who="bob")]
    events.sort(key=lambda each: (each.at, each.id))
    alone = _run(State(_nothing(), {}), events)
    parts = [_run(State(_nothing(), {}, shard, shards), events) for shard in range(shards)]
    together = [result for part in parts for result in part]
    key = lambda each: (each.id, each.kind, each.raised)  # noqa: E731
    assert sorted(together, key=key) == sorted(alone, key=key)


@given(st.dictionaries(_TEXT, _TEXT), _TEXT, _TIME, st.integers(0, 10**9))
def test_any_audit_and_activity_is_taken(more: dict[str, str], text: str, at: str, count: int) -> None:
    """Whatever a record holds beside its id and time."""
    state = State(_nothing(), {})
    change = audit(
        {
            "id": text,
            "activityDateTime": at,
            "activityDisplayName": text,
            "initiatedBy": {"user": {"id": "ada", **more}},
            "targetResources": [more, {"modifiedProperties": [more]}],
        }
    )
    assert state.step(change)[0].kind == "audit"
    asked = activity({**more, "id": text, "timeGenerated": at, "principalId": "ada", "requests": count})
    assert state.step(asked)[0].kind == "activity"


def _nothing() -> Intel:
    return Told({}, [], "list")
