"""Where paths lead: what is remembered of an object's keys says the same as looking at each key."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bartizan.sources import keys
from bartizan.sources.fields import Fields
from bartizan.sources.keys import keys_of, one_word

WORDS = st.sampled_from("a b A srcIp src_ip src-ip SRC_IP a.b a.b.c a.srcIp _id ID".split())
OBJECTS = st.recursive(
    st.one_of(st.none(), st.integers(0, 3), st.sampled_from(["x", "-", ""])),
    lambda inner: st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=12,
)


def naive(data: Any, path: str) -> list[Any]:
    """Every value that a path may stand for, however it is spelt."""
    if not isinstance(data, dict):
        return []
    same = one_word(path.lower())
    found = [value for key, value in data.items() if one_word(key.lower()) == same]
    for key, value in data.items():
        head, _, tail = path.partition(".")
        if tail and one_word(key.lower()) == one_word(head.lower()):
            found += naive(value, tail)
    begin = path.partition(".")[0].lower() + "."
    gathered = {key[len(begin) :]: value for key, value in data.items() if key.lower().startswith(begin)}
    if gathered and "." in path:
        found += naive(gathered, path.partition(".")[2])
    return [value for value in found if value is not None]


@given(data=st.dictionaries(WORDS, OBJECTS, max_size=6), path=WORDS)
def test_a_value_is_found_where_there_is_one_and_is_one_of_those_meant(data: dict[str, Any], path: str) -> None:
    value, meant = Fields(data).raw(path), naive(data, path)
    if value is None:
        assert path not in data or data[path] is None
    elif "." not in path:
        assert value in meant
    if data.get(path) is not None:
        assert value == data[path]  # spelt as asked, it wins


@given(data=st.dictionaries(WORDS, OBJECTS, max_size=6), paths=st.lists(WORDS, min_size=1, max_size=3))
def test_another_object_of_the_same_keys_is_read_alike(data: dict[str, Any], paths: list[str]) -> None:
    """What one of them taught does not show in the other."""
    first = Fields(data).raw(*paths)
    blank = dict.fromkeys(data)
    assert Fields(blank).raw(*paths) is None
    assert Fields(dict(data)).raw(*paths) == first


@given(data=st.dictionaries(WORDS, OBJECTS, max_size=6), path=WORDS, other=WORDS)
def test_nothing_is_where_the_keys_lead_nowhere(data: dict[str, Any], path: str, other: str) -> None:
    fields = Fields(data)
    if path not in fields.leading((path, other)):
        assert not naive(data, path)
        assert not (fields.has(path) or fields.object(path) or fields.objects(path) or fields.texts(path))


def test_the_first_of_those_spelt_otherwise_counts() -> None:
    assert Fields({"SrcIp": 1, "SRCIP": 2}).raw("srcip") == 1
    assert Fields({"src-ip": 1, "src_ip": 2}).raw("srcIp") == 1
    assert Fields({"srcip": None, "SrcIp": 2}).raw("SrcIp") == 2


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "_SETS", {})
    for number in range(3 * keys.MAX_SETS):
        assert Fields({f"k{number}": 1, "b": 2}).text(f"K{number}") == "1"
    assert len(keys._SETS) <= keys.MAX_SETS
    wide: dict[str, object] = dict.fromkeys((f"k{number}" for number in range(keys.MAX_KEYS + 1)), 1)
    long: dict[str, object] = {"k" * (keys.MAX_CHARS + 1): 1}
    assert keys_of(wide) is not keys_of(wide)
    assert keys_of(long) is not keys_of(long)
    one = keys_of({"a": 1})
    assert one is keys_of({"a": 2})
    for number in range(2 * keys.MAX_WAYS):
        one.ways((f"p{number}",))
        one.leading((f"p{number}",))
        one.loosely((f"p{number}",))
    remembered: list[dict[Any, Any]] = [one.known_ways, one.known_leading, one._strict, one._loosely]
    assert max(len(known) for known in remembered) <= keys.MAX_WAYS
