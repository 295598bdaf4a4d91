"""Paths, bins and texts of numbers: small rules that answers of the engine and its documentation show."""

from functools import cache
from typing import Any

import pytest
from tests.hunt.harness import Harness

from bartizan.hunt.fault import KqlError


@cache
def harness() -> Harness:
    return Harness({})


def rows(query: str) -> list[list[Any]]:
    return harness().run(query)[1]


def test_a_number_is_told_by_the_greatest_of_its_shortest_texts() -> None:
    """As the engine does it: 0.1 + 0.2 as an answer of the emulator has it, the rest as its examples print places."""
    told = rows("print a = tostring(0.1 + 0.2), tostring(-73.99910622331991), tostring(48.769567764921334), "
                "tostring(1e-7), tostring(1.0 / 3), tostring(2.1016783119165723), tostring(0.1), "
                "tostring(1e300 / 3)")  # fmt: skip
    assert told == [["0.30000000000000007", "-73.99910622331992", "48.769567764921337", "1e-07", "0.3333333333333333",
                     "2.1016783119165725", "0.1", "3.3333333333333335e+299"]]  # fmt: skip


def test_a_path_may_lack_its_first_dot() -> None:
    assert rows("""print extract_json("$b", '{"b": "c"}'), extract_json("b", '{"b": "c"}')""") == [["c", "c"]]


def test_bins_that_are_set() -> None:
    every_minute = ("range t from datetime(2017-01-01 00:05) to datetime(2017-01-01 02:00) step 1m "
                    "| summarize count() by bin_auto(t) | sort by t asc")  # fmt: skip
    told = "set query_bin_auto_size=1h; "
    at = "set query_bin_auto_at=datetime(2017-01-01 00:05); "
    assert rows(told + at + every_minute) == [["2017-01-01T00:05:00Z", 60], ["2017-01-01T01:05:00Z", 56]]
    assert [each[1] for each in rows(told + every_minute)] == [55, 60, 1]
    assert rows("set query_bin_auto_size=5; print x = bin_auto(12), y = bin_auto(7.5)") == [[10, 5.0]]
    with pytest.raises(KqlError, match="query_bin_auto_size"):
        rows("print bin_auto(12)")
