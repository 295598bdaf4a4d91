"""What holds for every scalar function: whatever its arguments are, it gives a value of its type, never an error."""

import random
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest
from tests.hunt.calls import Given, said
from tests.hunt.duck import connection

from bartizan.hunt.duckdb.values import rows_as_json, shown
from bartizan.hunt.fault import KqlError
from bartizan.hunt.functions import Function, Take, choose, known, names, signature
from bartizan.hunt.tree import Scalar

VALUES: dict[Scalar, list[Any]] = {
    "bool": [True, False, None],
    "int": [0, 1, -1, 5, 2**31 - 1, -(2**31), None],
    "long": [0, 1, -3, 7, 64, 2**63 - 1, -(2**63), None],
    "real": [0.0, 1.5, -2.5, float("nan"), float("inf"), float("-inf"), 1e300, 5e-324, None],
    "decimal": ["0", "1.5", "-3.25", "99999999999999999999", None],
    "string": [
        "",
        "a",
        "abc,def",
        "é😀",
        "10.0.0.0/8",
        "fe80::85d:e82c:9446:7994/120",
        '{"a":1}',
        "[1,null]",
        "%zz%ff+&#65;",
        "2020-01-01",
        "1.02:03:04",
        "0x1f",
        "YWJj",
        "//8=",
        "a'b\"c\\",
        "1e400",
        "<a b='c'><d/></a>",
        "http://u:p@h:1/p?a=b&a=c#f",
    ],
    "datetime": [0, 3_155_378_975_999_999_990, 637_134_336_000_000_000, None],
    "timespan": [0, 1, -1, 36_000_000_000, 2**63 - 1, -(2**63), None],
    "guid": ["82b8be2d-dfa7-4bd1-8f63-24ad26d31449", None],
    "dynamic": [
        None,
        1,
        -2.5,
        "x",
        "",
        True,
        10**19,
        "2020-01-01",
        [],
        [1, 2, 3],
        [1, None, "a", 2.5, [1], {}],
        ["10.0.0.0/8", "a"],
        {},
        {"a": 1, "b": {"c": [1]}},
        {"a/b~": 2, "": 1},
    ],
}
CONSTANTS = [
    "",
    "a",
    "(b)c",
    "[0-9]+",
    "yyyy-MM-dd",
    "day",
    "windows",
    "$.a.b",
    "KB",
]  # regular expressions, parts, paths
OPERATORS = {"and", "or", "not", "in", "between", "has", "contains", "startswith", "endswith", "hasprefix", "hassuffix"}
ROUNDS = 3


def declared() -> Iterator[Function]:
    for name in names("scalar"):
        if name.isidentifier() and not name.startswith(("has_cs", "has_a")) and name not in (*OPERATORS, "assert"):
            yield from (each for each in known("scalar", name) if each.work is None)


def worked() -> Iterator[Function]:
    yield from (each for name in names("scalar") for each in known("scalar", name) if each.work is not None)


def arguments(takes: tuple[Take, ...], chance: random.Random) -> list[Given]:
    one: dict[str, Scalar] = {
        "T": chance.choice(["bool", "int", "long", "real", "decimal", "string", "datetime", "timespan", "guid"]),
        "N": chance.choice(["int", "long", "real", "decimal"]),
        "number": chance.choice(["int", "long", "real", "decimal"]),
    }
    made: list[Given] = []
    for take in takes:
        if take.optional and chance.random() < 0.5:
            break
        for _ in range(chance.randrange(3) if take.many else 1):
            type_ = chance.choice(list(VALUES)) if take.type == "any" else one.get(take.type, take.type)
            values = CONSTANTS if take.constant and type_ == "string" else VALUES[type_]  # type: ignore[index]
            made.append((type_, chance.choice(values)))  # type: ignore[arg-type]
    return made


@pytest.mark.parametrize("one", list(declared()), ids=lambda one: one.key)
def test_no_value_makes_it_fail(one: Function) -> None:
    """Nulls, empty texts, the ends of ranges: a text is never NULL, and DuckDB raises only what it is told to."""
    chance = random.Random(one.key)
    for _ in range(ROUNDS):
        given = tuple(arguments(one.takes, chance))
        if choose("scalar", one.name, [type_ for type_, _ in given]) is None:
            continue
        try:
            sql, type_ = said(one.name, given, columns=True)
        except KqlError:  # a constant that it refuses
            continue
        outer = sql.replace("SELECT r FROM", f"SELECT {shown('r', type_)}, r FROM", 1)
        try:
            row = connection().cursor().execute(outer).fetchall()[0]
        except duckdb.InvalidInputException as refused:  # a value that it refuses
            assert "not supported" in str(refused)
            continue
        assert type_ != "string" or row[1] is not None, f"{one.key} of {given} is NULL"
        rows_as_json([("r", type_)], [row[:1]])


KINDS: dict[str, type | tuple[type, ...]] = {
    "string": str, "long": int, "int": int, "real": float, "bool": bool, "dynamic": (str, list, dict, int, float),
}  # fmt: skip


@pytest.mark.parametrize("one", list(worked()), ids=lambda one: one.key)
def test_no_value_makes_a_worked_function_fail(one: Function) -> None:
    """It gives a value of its type, or none, or says that it does not support what it was given."""
    chance = random.Random(one.key)
    for _ in range(ROUNDS * 20):
        given = [value for _, value in arguments(one.takes, chance)]
        if one.work is None or any(each is None for each in given):
            continue
        try:
            found = one.work(*given)
        except KqlError:
            continue
        assert found is None or isinstance(found, KINDS[one.gives]), f"{one.key} of {given} is {found!r}"


def test_a_signature_reads_as_it_was_declared() -> None:
    for name in names("scalar"):
        for one in known("scalar", name):
            assert one.key == f"{one.name} {signature(one).partition('->')[0].strip()}"
