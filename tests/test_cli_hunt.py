"""`bartizan hunt` in a folder of its own: what goes to standard output, and what beside it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bartizan.cli import bartizan

LOSSY = "union (print s = 1), (print s = 2), (print s = 'x')"
NOTE = "note: s: the values of type string are shown where they can be read as long; name s_string in the query"


def run(data: Path, *arguments: str) -> Result:
    result = CliRunner().invoke(bartizan, [*arguments, "--data", str(data)], prog_name="bartizan")
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture
def data(tmp_path: Path) -> Path:
    run(tmp_path, "tenant", "add", "hunted.example")
    return tmp_path


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_notes_go_to_standard_error(data: Path, form: tuple[str, ...]) -> None:
    result = run(data, "hunt", LOSSY, *form)
    assert NOTE in result.stderr and "note:" not in result.stdout
    if form:
        assert len(json.loads(result.stdout)["results"]) == 3
    assert "note" not in run(data, "hunt", f"{LOSSY} | where s_string == 'x'", *form).stderr
