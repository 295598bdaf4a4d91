"""CSV: a line as cells, by the columns that a vendor documents, or by a line of names above.

Source: RFC 4180, and what firewalls write in its place (cells that are quoted only where they must be).
"""

import csv
import io
from collections.abc import Sequence
from typing import Any

MAX_CELLS = 1_000
MAX_ROWS = 10_000
MAX_CHARS = 1_048_576
OTHERS = "moreCells"  # those beyond the columns that are known

_DELIMITERS = (",", ";", "\t", "|")


def cells(line: str, delimiter: str = ",") -> list[str]:
    """Of the first row of a text, without the spaces around them; a quoted cell may hold line breaks."""
    rows = _rows(line, delimiter, 1)
    return rows[0] if rows else []


def by_columns(line: str, columns: Sequence[str], delimiter: str = ",") -> dict[str, Any]:
    """The cells under their columns' names; a column named "" is passed over, cells beyond them are in OTHERS."""
    return _named(cells(line, delimiter), columns)


def table(text: str) -> list[dict[str, Any]]:
    """The rows below a line of names. The delimiter is what divides that line into most."""
    first = text.lstrip("\ufeff\r\n").partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first.count)
    names, *rows = _rows(text.lstrip("\ufeff\r\n"), delimiter, MAX_ROWS + 1) or [[]]
    return [_named(row, names) for row in rows]


def _named(row: list[str], columns: Sequence[str]) -> dict[str, Any]:
    data: dict[str, Any] = {name: cell for name, cell in zip(columns, row, strict=False) if name}
    if len(row) > len(columns):
        data[OTHERS] = row[len(columns) :]
    return data


def _rows(text: str, delimiter: str, most: int) -> list[list[str]]:
    """At most so many rows that are not empty. Rows whose quotes do not close are divided without regard to quotes."""
    text = text[:MAX_CHARS].replace("\0", "")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    found: list[list[str]] = []
    try:
        for row in reader:
            if row:
                found.append([cell.strip() for cell in row[:MAX_CELLS]])
            if len(found) == most:
                break
    except csv.Error:  # a cell beyond the module's own limit
        return _plain_rows(text, delimiter, most)
    swallowed = bool(found) and delimiter in found[-1][-1] and text.count('"') % 2 == 1
    return _plain_rows(text, delimiter, most) if swallowed else found


def _plain_rows(text: str, delimiter: str, most: int) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.strip()]
    return [[cell.strip().strip('"') for cell in line.split(delimiter)[:MAX_CELLS]] for line in lines[:most]]
