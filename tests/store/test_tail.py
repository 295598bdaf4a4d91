"""The newest changes in memory say what the database says."""

from hypothesis import given
from hypothesis import strategies as st

from bartizan.store.interface import Change
from bartizan.store.tail import Tail

SETS = ("alerts", "incidents", "users")
ROOM = 8

Step = tuple[list[tuple[str, int]], int, int, list[str]]  # (changes that are new, how far back, limit, sets)
NEW = st.lists(st.tuples(st.sampled_from(SETS), st.integers(1, 3)), max_size=6)
STEPS = st.lists(st.tuples(NEW, st.integers(0, 12), st.integers(1, 5), st.lists(st.sampled_from(SETS), min_size=1)))


def change(seq: int, collection: str) -> Change:
    return Change(seq, "t", collection, str(seq), "updated", "2026-01-01T00:00:00Z", "test")


@given(STEPS, st.integers(0, 40))
def test_it_says_what_is_stored(steps: list[Step], set_back: int) -> None:
    """Whoever asks, in whatever order, also after the store was set back to an earlier state."""
    tail, stored, top, asked = Tail(ROOM), list[Change](), 0, 0

    def between(after: int, upto: int) -> list[Change]:
        nonlocal asked
        asked += 1
        return [each for each in stored if after < each.seq <= upto]

    for number, (new, back, limit, sets) in enumerate(steps):
        if number == set_back:
            top //= 2
            stored = [each for each in stored if each.seq <= top]
            new = []  # it is seen as soon as somebody reads
        for collection, gap in new:  # numbers are given to what no feed tells, too
            top += gap
            stored.append(change(top, collection))
        after, before = max(0, top - back), asked
        found = tail.read(after, top, limit, sets, between)
        assert asked - before <= 1
        assert found in (None, [each for each in stored if each.seq > after and each.collection in sets][:limit])
        assert tail.read(top, top, limit, sets, between) == []


def test_what_is_known_is_not_asked_for_again() -> None:
    stored = [change(seq, SETS[seq % 3]) for seq in range(1, 6)]
    asked: list[tuple[int, int]] = []

    def between(after: int, upto: int) -> list[Change]:
        asked.append((after, upto))
        return [each for each in stored if after < each.seq <= upto]

    tail = Tail(ROOM)
    assert tail.read(0, 4, 10, SETS, between) == stored[:4]
    assert tail.read(2, 4, 10, SETS, between) == stored[2:4]
    assert tail.read(2, 5, 10, [SETS[2]], between) == [stored[4]]
    assert asked == [(0, 4), (4, 5)]


def test_more_that_is_new_than_there_is_room() -> None:
    """It begins anew with the newest, and leaves who stands further back to the database."""
    stored = [change(seq, SETS[0]) for seq in range(1, 101)]
    tail = Tail(ROOM)
    assert tail.read(0, 100, 10, SETS, lambda after, upto: stored[after:upto]) is None
    assert tail.read(95, 100, 10, SETS, lambda after, upto: stored[after:upto]) == stored[95:]
