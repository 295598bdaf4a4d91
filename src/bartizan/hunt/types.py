"""Kusto's scalar types, and which of them a value of two becomes.

How a value is held inside (and what an emitter's engine must keep): strings are never null (an absent one is ''),
datetime is an instant of microseconds, timespan a whole number of ticks of 100 ns, dynamic is JSON. All other types
have a null.

Source: Kusto Query Language, "Scalar data types", "Null values".
"""

from typing import get_args

from bartizan.hunt.tree import Scalar

SCALARS: tuple[Scalar, ...] = get_args(Scalar)
NUMBERS: tuple[Scalar, ...] = ("int", "long", "real", "decimal")  # each widens into those behind it
ALIASES: dict[str, Scalar] = {
    **{each: each for each in SCALARS},
    "boolean": "bool",
    "date": "datetime",
    "double": "real",
    "float": "real",
    "uniqueid": "guid",
    "uuid": "guid",
    "time": "timespan",
    "int32": "int",
    "int64": "long",
    "object": "dynamic",
}


def widest(one: Scalar, other: Scalar) -> Scalar | None:
    """The type that both numbers become; the type of equals; None where there is none."""
    if one == other:
        return one
    if one in NUMBERS and other in NUMBERS:
        return max(one, other, key=NUMBERS.index)
    return None
