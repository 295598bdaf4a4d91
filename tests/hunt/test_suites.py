"""The hunting suites: public queries, and queries with Kusto's own results. What passed once must go on passing.

`ratchet.json` holds the ids that pass. After work that makes more of them pass, `python -m tests.hunt.test_suites`
writes it anew (from the repository's folder, with `src` on the path).
"""

import json
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.conftest import SHARED
from tests.hunt.harness import Harness

from bartizan.hunt.fault import KqlError

RATCHET = Path(__file__).with_name("ratchet.json")
SUITES = ("docs", "emulator", "hunting")
MOST_MISSING = 10  # shown in a failure

pytestmark = [pytest.mark.slow, pytest.mark.shared]


def harness(folder: Path) -> Harness:
    tables = json.loads((folder / "tables.json").read_text("utf-8"))["tables"]
    return Harness({name: each["columns"] for name, each in tables.items()})


def scorer(folder: Path) -> Any:
    spec = spec_from_file_location("hunting_score", folder / "score.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def passing(folder: Path, suite: str) -> Iterator[str]:
    """The ids of a suite that pass: rows as they should be; columns as they should be; refused as no query."""
    runs, score = harness(folder), scorer(folder)
    for line in (folder / f"{suite}-examples.jsonl").read_text("utf-8").splitlines():
        example = json.loads(line)
        kind = example.get("class", suite)
        if kind == "parse":
            continue
        try:
            columns, rows = runs.run(example["query"])
        except KqlError as fault:
            if kind == "reject" and fault.phase == "parse" and fault.line:
                yield example["id"]
            continue
        except duckdb.Error:
            continue
        if kind == "run" and [name for name, _ in columns] == [name for name, _ in example["columns"]]:
            yield example["id"]
        if kind in ("docs", "emulator") and score.check_docs(example, columns, rows)[0]:
            yield example["id"]


@pytest.mark.parametrize("suite", SUITES)
def test_what_passed_goes_on_passing(shared: Path, suite: str) -> None:
    wanted = set(json.loads(RATCHET.read_text("utf-8"))[suite])
    missing = sorted(wanted - set(passing(shared / "hunting", suite)))
    assert not missing, f"{len(missing)} of {len(wanted)} fail now: {missing[:MOST_MISSING]}"


def write() -> None:
    found = {suite: sorted(passing(SHARED / "hunting", suite)) for suite in SUITES}
    RATCHET.write_text(json.dumps(found, indent=0) + "\n", "utf-8")
    print({suite: len(each) for suite, each in found.items()})


if __name__ == "__main__":
    write()
