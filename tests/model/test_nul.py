"""NUL in JSON: found wherever a value has it, and taken out of names and values."""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from bartizan.model.nul import has_nul, without_nul

TEXTS = st.text(alphabet=st.sampled_from('a0u"\\/\0\x01\ufffd\n é'), max_size=12)
VALUES = st.recursive(
    st.none() | st.integers(0, 9) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=12,
)


def texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for name, item in value.items() for text in (name, *texts(item))]
    return [text for item in value for text in texts(item)] if isinstance(value, list) else []


@given(VALUES)
def test_it_is_found_where_there_is_one(value: Any) -> None:
    content = msgspec.json.encode(value)
    assert has_nul(content) == (b"\\u0000" in content)
    assert has_nul(content) or not any("\0" in text for text in texts(value))


@given(VALUES)
def test_it_is_taken_out_and_nothing_else(value: Any) -> None:
    kept = without_nul(value)
    assert not any("\0" in text for text in texts(kept))
    if not any("\0" in text for text in texts(value)):
        assert kept == value


def test_names_too() -> None:
    assert without_nul({"a\0": ["\0b", {"c": "d\0"}]}) == {"a\ufffd": ["\ufffdb", {"c": "d\ufffd"}]}
