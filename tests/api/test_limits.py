"""Rate limits that the API processes of a group share."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bartizan.api.wire.limits import Limit, Limits, OwnBuckets, SharedBuckets
from bartizan.auth.caller import Caller
from bartizan.errors import TooManyRequests

CALLER = Caller("tenant", "app", "App")
OTHER = Caller("other", "app", "App")


def taken(limits: Limits, caller: Caller, tries: int) -> int:
    done = 0
    for _ in range(tries):
        try:
            limits.take("alert", caller)
        except TooManyRequests:
            continue
        done += 1
    return done


def test_processes_of_a_group_hold_one_limit(tmp_path: Path) -> None:
    """However many count, no more than the limit is let through; another tenant has its own."""
    rules = {"alert": Limit(10, 60)}
    each = [Limits(rules, lambda: 1.0, SharedBuckets(tmp_path / "limits")) for _ in range(4)]
    assert sum(taken(one, CALLER, 5) for one in each) == 10
    assert sum(taken(one, OTHER, 1) for one in each) == 4
    later = Limits(rules, lambda: 7.0, SharedBuckets(tmp_path / "limits"))
    assert taken(later, CALLER, 5) == 1, "a tenth of the window brings one more"


def test_a_limit_of_one_is_one(tmp_path: Path) -> None:
    """Such as that of identityProtection, which cannot be divided."""
    each = [Limits({"alert": Limit(1, 1)}, lambda: 1.0, SharedBuckets(tmp_path / "limits")) for _ in range(3)]
    assert [taken(one, CALLER, 1) for one in each] == [1, 0, 0]
    with pytest.raises(TooManyRequests) as caught:
        each[2].take("alert", CALLER)
    assert int(caught.value.headers["Retry-After"]) >= 1


_CHILD = """
import sys
from pathlib import Path
from bartizan.api.wire.limits import Limit, SharedBuckets
buckets = SharedBuckets(Path(sys.argv[1]))
print(sum(buckets.take(("a", "b", "c"), Limit(1000, 60), 5.0) >= 1 for _ in range(600)))
"""


def test_processes_that_count_at_once(tmp_path: Path) -> None:
    """None loses what another has taken."""
    run = [sys.executable, "-c", _CHILD, str(tmp_path / "limits")]
    children = [subprocess.Popen(run, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert sum(int(child.communicate()[0]) for child in children) == 1000


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 5)), max_size=60))
def test_both_kinds_agree(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, float]]) -> None:
    shared, own = SharedBuckets(tmp_path_factory.mktemp("limits") / "file"), OwnBuckets()
    now, limit = 0.5, Limit(3, 2)
    for name, passed in steps:
        now += passed
        key = (name, "app", "tenant")
        assert shared.take(key, limit, now) == own.take(key, limit, now)


def test_what_was_counted_before_the_machine_started_is_forgotten(tmp_path: Path) -> None:
    before = Limits({"alert": Limit(1, 60)}, lambda: 9e9, SharedBuckets(tmp_path / "limits"))
    assert taken(before, CALLER, 2) == 1
    after = Limits({"alert": Limit(1, 60)}, lambda: 3.0, SharedBuckets(tmp_path / "limits"))
    assert taken(after, CALLER, 2) == 1
