"""Conditions: iff, case, coalesce, max_of, min_of, and what is null, empty or no finite number.

Source: Kusto Query Language, "Scalar functions": iff(), case(), coalesce(), max_of(), isempty(), isnull(), isnan() ...
"""

from collections.abc import Callable, Sequence
from functools import partial

from bartizan.hunt.duckdb.literal import once
from bartizan.hunt.functions import function
from bartizan.hunt.plan import Apply


def _case(args: Sequence[str], _: Apply) -> str:
    pairs = zip(args[:-1:2], args[1:-1:2], strict=True)
    said = " ".join(f"WHEN {condition} THEN {value}" for condition, value in pairs)
    return f"(CASE {said} ELSE {args[-1]} END)"


def _coalesce(args: Sequence[str], apply: Apply) -> str:
    if apply.type == "string":  # never null: the first that is not empty
        empty = [f"nullif({each}, '')" for each in args[:-1]]
        return f"coalesce({', '.join([*empty, args[-1]])}, '')"
    return f"coalesce({', '.join(args)})"


def _extreme(name: str, args: Sequence[str], apply: Apply) -> str:
    """Nulls do not count; NaN, where there is one, is both."""
    if len(args) == 1:
        return args[0]
    text = f"{name}({', '.join(args)})"
    if apply.type == "real" and name == "least":
        nan = " OR ".join(f"coalesce(isnan({each}), FALSE)" for each in args)
        return f"(CASE WHEN {nan} THEN 'nan'::DOUBLE ELSE {text} END)"
    return text


for _name in ("iff", "iif"):
    function(_name, "bool T T -> T", duckdb="(CASE WHEN {0} THEN {1} ELSE {2} END)")
function("case", "(bool T)* T -> T", duckdb=_case)
function("coalesce", "T T* -> T", duckdb=_coalesce)
function("max_of", "T T* -> T", duckdb=partial(_extreme, "greatest"))
function("min_of", "T T* -> T", duckdb=partial(_extreme, "least"))


def _empty(args: Sequence[str], apply: Apply) -> str:
    match apply.args[0].type:
        case "string":
            return f"({args[0]} = '')"
        case "dynamic":
            return f"""coalesce({args[0]}::VARCHAR IN ('', '""'), TRUE)"""
    return f"({args[0]} IS NULL)"


def _filled(args: Sequence[str], apply: Apply) -> str:
    match apply.args[0].type:
        case "string":
            return f"({args[0]} <> '')"
        case "dynamic":
            return f"""coalesce({args[0]}::VARCHAR NOT IN ('', '""'), FALSE)"""
    return f"({args[0]} IS NOT NULL)"


def _null(args: Sequence[str], apply: Apply) -> str:
    return "FALSE" if apply.args[0].type == "string" else f"({args[0]} IS NULL)"


def _present(args: Sequence[str], apply: Apply) -> str:
    return "TRUE" if apply.args[0].type == "string" else f"({args[0]} IS NOT NULL)"


function("isempty", "any -> bool", duckdb=_empty)
function("isnotempty", "any -> bool", duckdb=_filled)
function("notempty", "any -> bool", duckdb=_filled)
function("isnull", "any -> bool", duckdb=_null)
function("isnotnull", "any -> bool", duckdb=_present)
function("notnull", "any -> bool", duckdb=_present)
function("isnan", "real -> bool", duckdb="isnan({0})")
function("isinf", "real -> bool", duckdb="isinf({0})")
function("isfinite", "real -> bool", duckdb="isfinite({0})")


def _assert(args: Sequence[str], _: Apply) -> str:
    return f"(CASE WHEN {args[0]} THEN TRUE ELSE error({args[1]})::BOOLEAN END)"


# The one function that is there to make a query fail.
function("assert", "bool string! -> bool", duckdb=_assert)


def _around(args: Sequence[str], apply: Apply) -> str:
    """Whole numbers in a type in which the bounds have room; decimals too where they have none in their own."""

    def within(wide: str) -> Callable[..., str]:
        return lambda x, at, by: f"({x} BETWEEN {at}::{wide} - {by} AND {at}::{wide} + {by})"

    if apply.args[0].type != "decimal":
        return once(args, within("DOUBLE" if apply.args[0].type == "real" else "HUGEINT"))
    return once(args, lambda x, at, by: f"CASE WHEN abs({at}::DOUBLE) + abs({by}::DOUBLE) < 1e20 "
                                        f"THEN {within('DECIMAL(38,18)')(x, at, by)} "
                                        f"ELSE {within('DOUBLE')(x, at, by)} END")  # fmt: skip


function("around", "N N N -> bool", duckdb=_around)
function(
    "around",
    "timespan timespan timespan -> bool",
    duckdb="({0}::HUGEINT BETWEEN {1}::HUGEINT - {2} AND {1}::HUGEINT + {2})",
)
function(
    "around",
    "datetime datetime timespan -> bool",
    duckdb="(abs(epoch_us({0})::HUGEINT - epoch_us({1})) * 10 <= {2})",
)
