"""Ids derive from their input."""

import uuid

from hypothesis import given
from hypothesis import strategies as st

from bartizan.model.ids import stable_id

Parts = st.lists(st.text(alphabet=st.characters(codec=None)), max_size=4)


@given(Parts, Parts)
def test_the_same_parts_and_only_they_give_the_same_id(first: list[str], second: list[str]) -> None:
    assert (stable_id(*first) == stable_id(*second)) == (first == second)


def test_parts_are_not_run_together() -> None:
    assert len({stable_id("ab", "c"), stable_id("a", "bc"), stable_id("abc"), stable_id("abc", ""), stable_id()}) == 5


def test_an_id_is_a_guid_and_never_changes() -> None:
    """Stored ids were made by this function: another answer would make every object anew."""
    assert stable_id("tenant", "alert", "1") == "36b659db-d379-8e31-9a33-7ccd5f897189"
    assert uuid.UUID(stable_id("x")).version == 8
