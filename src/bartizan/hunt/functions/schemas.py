"""What dynamic values are made of: the paths to their leaves, and the schema that admits several of them.

Source: Kusto Query Language, "treepath()", "buildschema() (aggregation function)".
"""

from collections.abc import Iterator, Sequence
from typing import Any

from bartizan.hunt.functions import SCHEMA_OF, worked

INDEXER = "`indexer`"  # stands for the items of an array


def _paths(value: Any, before: str) -> Iterator[str]:
    """An array's items together are one, `[0]`."""
    if isinstance(value, dict):
        for name, each in value.items():
            path = f"{before}['{name}']"
            yield path
            yield from _paths(each, path)
    elif isinstance(value, list):
        if value:
            yield f"{before}[0]"
        for each in value:
            if isinstance(each, dict | list):
                yield from _paths(each, f"{before}[0]")


def _treepath(value: Any) -> list[str]:
    return list(dict.fromkeys(_paths(value, "")))


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    return "long" if isinstance(value, int) else "double" if isinstance(value, float) else "string"


def _schema(values: Sequence[Any]) -> Any:
    """The types in the order in which they come; all containers are one. None: there is nothing."""
    found: dict[str, Any] = {}
    held: dict[str, list[Any]] = {}
    for each in values:
        if isinstance(each, dict | list):
            found.setdefault(INDEXER, None)
            for name, inner in [(INDEXER, item) for item in each] if isinstance(each, list) else each.items():
                held.setdefault(name, []).append(inner)
        elif each is not None:
            found.setdefault(_kind(each))
    container = {name: told for name, inner in held.items() if (told := _schema(inner)) is not None}
    told = [container if kind == INDEXER else kind for kind in found]
    return None if not told else told[0] if len(told) == 1 else told


def _of_values(values: Any) -> Any:
    return _schema(values) if isinstance(values, list) else None


worked("treepath", "dynamic -> dynamic", _treepath)
worked(SCHEMA_OF, "dynamic -> dynamic", _of_values)
