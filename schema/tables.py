"""Cuts the catalogue of event tables out of a file of facts about Microsoft's hunting tables.

    python schema/tables.py TABLES.json

writes `src/bartizan/lake/tables.json`: table -> column -> Kusto type, one table a line, sorted by name. Columns keep
their order, which is that of a query's result. The same input gives the same bytes.
"""

import json
import sys
from pathlib import Path

OUT = Path(__file__).resolve().parent.parent / "src" / "bartizan" / "lake" / "tables.json"
TYPES = frozenset({"bool", "datetime", "dynamic", "guid", "int", "long", "real", "string", "timespan"})


def text(tables: dict[str, dict[str, str]]) -> str:
    """SystemExit where a column has a type that the lake does not know."""
    for name, columns in tables.items():
        for column, kind in columns.items():
            if kind not in TYPES:
                raise SystemExit(f"{name}.{column} has type {kind!r}; known: {', '.join(sorted(TYPES))}")
    lines = [f"{json.dumps(name)}:{json.dumps(tables[name], separators=(',', ':'))}" for name in sorted(tables)]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main() -> None:
    facts = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    tables = {name: fact["columns"] for name, fact in facts["tables"].items()}
    OUT.write_text(text(tables), encoding="utf-8")
    sys.stderr.write(f"{len(tables)} tables, {sum(map(len, tables.values()))} columns\n")


if __name__ == "__main__":
    main()
