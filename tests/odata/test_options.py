"""Query strings as they come, and the token that carries a query on."""

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bartizan.errors import InvalidQuery
from bartizan.odata import Position, QueryOptions, decode_token, encode_token, parse_options

KEY = b"k" * 32
BOUND = ("tenant", "v1.0", "security/alerts_v2")

READ = [
    ("", QueryOptions()),
    ("&", QueryOptions()),
    ("$top=5&", QueryOptions(top=5)),
    ("&&$top=5", QueryOptions(top=5)),
    ("$TOP=5&$SkipToken=x&$OrderBy=a", QueryOptions(top=5, skiptoken="x", orderby="a")),
    ("top=5&skip=3&filter=a", QueryOptions(top=5, skip=3, filter="a")),
    ("%24top=5", QueryOptions(top=5)),
    ("$filter=a+eq+%271%2B1%27", QueryOptions(filter="a eq '1+1'")),
    ("$filter=a%20eq%20'%C3%A9'", QueryOptions(filter="a eq 'é'")),
    ("$filter=a eq 'é'", QueryOptions(filter="a eq 'é'")),
    ("$filter=a eq 'x=y'", QueryOptions(filter="a eq 'x=y'")),
    ("$filter=", QueryOptions()),
    ("$count=TRUE", QueryOptions(count=True)),
    ("$count=false&$format=json", QueryOptions(count=False)),
    ("$format=application/json;odata.metadata=minimal", QueryOptions()),
    ("custom=1&@p=2&validationToken=x&api-version=3", QueryOptions()),
    ("$select=id,%20name&$expand=a($top=1)", QueryOptions(select="id, name", expand="a($top=1)")),
    ("$search=%22a:b%22", QueryOptions(search='"a:b"')),
    ("$orderbydisplayName&$top=1", QueryOptions(top=1)),
]


@pytest.mark.parametrize(("raw", "wanted"), READ, ids=[raw for raw, _ in READ])
def test_read(raw: str, wanted: QueryOptions) -> None:
    """Names in any case, with or without $, encoded or not; what is not ours is left alone."""
    assert parse_options(raw) == wanted


REFUSED = [
    ("$top=1&$top=1", "$top is given twice"),
    ("$top=1&top=1", "$top is given twice"),
    ("$foo=1", "Unknown query option '$foo'; known: $filter, $orderby"),
    ("$apply=x", "known: $filter"),
    ("$top", "$top has no value"),
    ("$top=-1", "it takes a whole number"),
    ("$top=1.5", "it takes a whole number"),
    ("$top=x", "it takes a whole number"),
    ("$top=", "it takes a whole number"),
    ("$top=٣", "it takes a whole number"),
    ("$skip=99999999999", "it takes a whole number"),
    ("$count=1", "it takes true or false"),
    ("$format=xml", "only json"),
    ("$filter=%ff", "not UTF-8"),
    ("$filter=\ud800", "not UTF-8"),
    ("$filter=" + "a" * 17_000, "the most is 16384"),
]


@pytest.mark.parametrize(("raw", "wanted"), REFUSED, ids=[wanted + str(n) for n, (_, wanted) in enumerate(REFUSED)])
def test_refused(raw: str, wanted: str) -> None:
    """What cannot be an option is a 400 that says so."""
    with pytest.raises(InvalidQuery) as refused:
        parse_options(raw)
    assert wanted in refused.value.message


texts = st.none() | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
numbers = st.none() | st.integers(0, 2**31 - 1)
queries = st.builds(
    QueryOptions,
    filter=texts,
    orderby=texts,
    select=texts,
    expand=texts,
    search=texts,
    top=numbers,
    count=st.none() | st.booleans(),
)
positions: st.SearchStrategy[Position] = st.lists(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    ),
    min_size=1,
    max_size=4,
).map(tuple)


@settings(deadline=None)
@given(options=queries, position=positions)
def test_a_token_carries_the_whole_query(options: QueryOptions, position: Position) -> None:
    """Query and position come back as they were, types included, from a text that fits a URL as it is."""
    token = encode_token(KEY, BOUND, options, position)
    assert token.replace("-", "").replace("_", "").isalnum()
    found, at = decode_token(KEY, BOUND, token)
    assert (found, at) == (options, position)
    assert [type(value) for value in at] == [type(value) for value in position]


@settings(max_examples=200, deadline=None)
@given(options=queries, position=positions, at=st.integers(0, 10_000), char=st.sampled_from("AZaz09-_+/=. é\0"))
def test_a_changed_token_is_refused(options: QueryOptions, position: Position, at: int, char: str) -> None:
    """Any other text is no token, whichever character was changed, and also one that is longer or shorter."""
    token = encode_token(KEY, BOUND, options, position)
    at %= len(token)
    for changed in (token[:at] + char + token[at + 1 :], token[:at] + token[at + 1 :], token[:at] + char + token[at:]):
        if changed != token:
            with pytest.raises(InvalidQuery):
                decode_token(KEY, BOUND, changed)


@pytest.mark.parametrize(
    ("key", "bound"),
    [
        (b"x" * 32, BOUND),
        (KEY, ("other", *BOUND[1:])),
        (KEY, ("tenant", "beta", BOUND[2])),
        (KEY, (*BOUND[:2], "security/incidents")),
        (KEY, ("tenantv1.0", "", BOUND[2])),
        (KEY, BOUND[:2]),
    ],
)
def test_a_token_is_bound(key: bytes, bound: tuple[str, ...]) -> None:
    """It is good for its tenant, version and path alone, under its key."""
    token = encode_token(KEY, BOUND, QueryOptions(filter="a eq 1"), ("x",))
    with pytest.raises(InvalidQuery, match="not valid for this request"):
        decode_token(key, bound, token)


@settings(deadline=None)
@given(text=st.text(max_size=80) | st.binary(max_size=60).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_other_texts_are_no_tokens(text: str) -> None:
    """Whatever is sent as $skiptoken, the only refusal is a 400."""
    with pytest.raises(InvalidQuery):
        decode_token(KEY, BOUND, text)


def test_a_token_is_bounded() -> None:
    """A sort value that no URL could carry is refused when the link is made, not when it is followed."""
    with pytest.raises(InvalidQuery, match="too long"):
        encode_token(KEY, BOUND, QueryOptions(), ("x" * 30_000,))
    token = encode_token(KEY, BOUND, QueryOptions(filter="x" * 8_000), ("y" * 300,))
    assert decode_token(KEY, BOUND, token)[1] == ("y" * 300,)
