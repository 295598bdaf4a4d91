"""Plugins over who was there when: the examples of their pages, and the same by dimensions."""

from functools import cache
from typing import Any

import pytest
from tests.hunt.harness import Harness

from bartizan.hunt.fault import KqlError


@cache
def harness() -> Harness:
    return Harness({"T": {"who": "string", "when": "datetime"}})


def rows(query: str) -> list[list[Any]]:
    return harness().run(query)[1]


def table(entries: str, days: str) -> str:
    """Of `name day` each."""
    cells = ", ".join(f"'{each.split()[0]}', datetime({days}{each.split()[1]})" for each in entries.split(","))
    return f"datatable(who:string, ['when it was']:datetime)[{cells}]"


VISITS = table("A 01,D 01,J 01,B 01,C 02,T 02,J 02,H 03,T 03,T 03,J 03,B 03,S 03,S 04", "2017-08-")
PEOPLE = table("Bob 01,David 01,David 01,John 01,Bob 01,Ananda 02,Atul 02,John 02,Ananda 03,Atul 03,Atul 03,John 03,"
               "Bob 03,Betsy 04,Bob 05", "2017-08-")  # fmt: skip
FANS = table("B 06-29,B 06-30,A 07-02,B 07-04,B 07-08,A 07-10,A 07-14,A 07-17,A 07-20,B 07-24", "2018-")


def day(number: int, month: str = "2017-08") -> str:
    return f"{month}-{number:02}T00:00:00Z"


def test_counts_of_each_window() -> None:
    query = "evaluate activity_counts_metrics(who, ['when it was'], datetime(2017-08-01), datetime(2017-08-04), 1d"
    wanted = [[day(1), 4, 4, 4, 4], [day(2), 3, 3, 2, 6], [day(3), 6, 5, 2, 8], [day(4), 1, 1, 0, 8]]
    assert rows(f"{VISITS} | {query})") == wanted
    columns, found = harness().run(f"{VISITS} | extend site = iff(who in ('A', 'B'), 'x', 'y') | {query}, site)")
    assert [name for name, _ in columns] == [
        "when it was",
        "site",
        "count",
        "dcount",
        "new_dcount",
        "aggregated_dcount",
    ]
    assert [each[2:] for each in found if each[1] == "x"] == [[2, 2, 2, 2], [1, 1, 0, 2]]
    assert [each[2:] for each in found if each[1] == "y"] == [[2, 2, 2, 2], [3, 3, 2, 4], [5, 4, 2, 6], [1, 1, 0, 6]]


def test_counts_of_a_window_that_slides() -> None:
    query = "evaluate sliding_window_counts(who, ['when it was'], datetime(2017-08-01), datetime(2017-08-07), 3d, 1d)"
    wanted = [[day(1), 5, 3], [day(2), 8, 5], [day(3), 13, 5], [day(4), 9, 5], [day(5), 7, 5], [day(6), 2, 2],
              [day(7), 1, 1]]  # fmt: skip
    assert rows(f"{PEOPLE} | {query}") == wanted


def test_who_was_there_often_enough() -> None:
    query = (
        "evaluate active_users_count(who, ['when it was'], datetime(2018-07-01), datetime(2018-07-31), 8d, 1d, 3, 7d)"
    )
    assert rows(f"{FANS} | {query}") == [[day(1, "2018-07"), 1], [day(15, "2018-07"), 1]]


USERS = table("0 01,2 01,3 01,4 01,0 02,1 02,3 02,4 02,5 02,0 03,2 03,4 03,5 03,0 04,1 04,2 04,3 04,0 05,1 05,2 05,"
              "3 05,4 05,4 05", "2019-11-")  # fmt: skip
SPAN = "datetime(2019-11-01), datetime(2019-11-07) - 1tick, 1d"


def test_what_becomes_of_those_who_are_new() -> None:
    """The example of the page, and one window of it."""
    columns, found = harness().run(f"{USERS} | evaluate new_activity_metrics(who, ['when it was'], {SPAN})")
    assert [name for name, _ in columns] == [
        "from_when it was", "to_when it was", "dcount_new_values", "dcount_retained_values", "dcount_churn_values",
        "retention_rate", "churn_rate",
    ]  # fmt: skip
    first = [(1, 4, 4, 0, 1.0), (2, 2, 3, 1, 0.75), (3, 1, 3, 1, 0.75), (4, 1, 3, 1, 0.75), (5, 1, 4, 0, 1.0),
             (6, 0, 0, 4, 0.0)]  # fmt: skip
    second = [(2, 2, 2, 0, 1.0), (3, 0, 1, 1, 0.5), (4, 0, 1, 1, 0.5), (5, 0, 1, 1, 0.5), (6, 0, 0, 2, 0.0)]
    wanted = [
        [day(start, "2019-11"), day(to, "2019-11"), new, kept, lost, rate, 1 - rate]
        for start, rows_ in ((1, first), (2, second))
        for to, new, kept, lost, rate in rows_
    ]
    assert found == wanted
    query = f"{USERS} | extend site = 'x' | evaluate new_activity_metrics(who, ['when it was'], {SPAN}"
    assert rows(f"{query}, datetime(2019-11-02))") == wanted[6:]
    assert [each[:2] + each[3:] for each in rows(f"{query}, datetime(2019-11-02), site)")] == wanted[6:]
    assert [each[2] for each in rows(f"{query}, site)")] == ["x"] * 11


def test_who_came_again_from_one_window_to_the_next() -> None:
    query = f"evaluate activity_metrics(who, ['when it was'], {SPAN}"
    columns, found = harness().run(f"{USERS} | {query})")
    assert [name for name, _ in columns] == [
        "when it was", "dcount_values", "dcount_newvalues", "retention_rate", "churn_rate"
    ]  # fmt: skip
    assert [each[1:] for each in found] == [
        [4, 4, "NaN", "NaN"], [5, 2, 0.75, 0.25], [4, 1, 0.6, 0.4], [4, 2, 0.5, 0.5], [5, 1, 1.0, 0.0]
    ]  # fmt: skip
    by = rows(f"{USERS} | extend odd = toint(who) % 2 | {query}, odd)")
    assert [[each[0][8:10], *each[1:4]] for each in by if each[1] == 1] == [
        ["01", 1, 1, 1], ["02", 1, 3, 2], ["03", 1, 1, 0], ["04", 1, 2, 2], ["05", 1, 2, 0]
    ]  # fmt: skip


def test_who_is_there_of_those_who_were_of_late() -> None:
    query = "evaluate activity_engagement(who, ['when it was'], datetime(2019-11-02), datetime(2019-11-06), 1d, 2d"
    assert [each[1:] for each in rows(f"{USERS} | {query})")] == [
        [5, 6, 5 / 6], [4, 6, 4 / 6], [4, 6, 4 / 6], [5, 5, 1.0]
    ]  # fmt: skip
    by = rows(f"{USERS} | extend odd = toint(who) % 2 | {query}, odd)")
    assert [each[1:] for each in by if each[1] == 0] == [
        [0, 2, 3, 2 / 3],
        [0, 3, 3, 1.0],
        [0, 2, 3, 2 / 3],
        [0, 3, 3, 1.0],
    ]


def test_of_no_rows_and_of_wrong_arguments() -> None:
    counts = "T | evaluate activity_counts_metrics({}, datetime(2017-08-01), datetime(2017-08-04), 1d)"
    assert rows(counts.format("who, when")) == []
    with pytest.raises(KqlError, match="name of a column"):
        rows(counts.format("who, nothing"))
    with pytest.raises(KqlError, match="takes who, when, start"):
        rows("T | evaluate activity_counts_metrics(who, when, 1d)")
    with pytest.raises(KqlError, match=r"activity_counts_metrics\(\): "):
        rows(counts.format("who, who"))


DAYS = ("range idx from 0 to 24*10-1 step 1 | project Timestamp = datetime(2018-01-01) + 1h*idx, val=idx+1 "
        "| extend EvenOrOdd = iff(val % 2 == 0, 'Even', 'Odd') "
        "| evaluate rolling_percentile(val, 50, Timestamp, 1d, 3")  # fmt: skip


def test_percentiles_of_a_window_that_rolls() -> None:
    columns, found = harness().run(f"{DAYS})")
    assert [name for name, _ in columns] == ["Timestamp", "rolling_3_percentile_val_50"]
    assert [each[1] for each in found] == [12, 24, 36, 60, 84, 108, 132, 156, 180, 204]
    by = rows(f"{DAYS}, EvenOrOdd)")
    assert [each[2] for each in by if each[1] == "Odd"] == [11, 23, 35, 59, 83, 107, 131, 155, 179, 203]
    with pytest.raises(KqlError, match="a window has"):
        rows(f"{DAYS.removesuffix('3')} 0)")


def test_how_many_sketches_have_in_common() -> None:
    sketches = ", ".join(f"s{each} = hll(iif(x % {each} == 0, x, 0))" for each in (2, 3, 5))
    query = f"range x from 1 to 100 step 1 | summarize {sketches} | evaluate dcount_intersect(s2, s3, s5)"
    assert rows(query) == [[51, 17, 4]]
