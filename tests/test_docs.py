"""The documents keep what they say: generated pages are up to date, links lead somewhere, commands exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from bartizan import reference
from bartizan.cli import bartizan

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
_LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")
_COMMAND = re.compile(r"\bbartizan ([a-z]+)(?: ([a-z][a-z-]*))?")


def test_reference_is_up_to_date(tmp_path: Path) -> None:
    """`make generate` would change nothing. In a process of its own: other tests declare things too."""
    subprocess.run([sys.executable, "-m", "bartizan.reference", str(tmp_path)], check=True, cwd=ROOT)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{name}.md" for name in reference.PAGES)
    for made in tmp_path.iterdir():
        written = (ROOT / "docs" / "reference" / made.name).read_text()
        assert written == made.read_text(), f"{made.name}: run `make generate`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page: Path) -> None:
    """Each link to a file of the project leads to one."""
    for target in _LINK.findall(page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands(page: Path) -> None:
    """Each `bartizan ...` in code is a command that answers --help."""
    code = re.findall(r"```sh\n(.*?)```|`([^`]+)`", page.read_text(), flags=re.DOTALL)
    for match in _COMMAND.finditer("\n".join(part for pair in code for part in pair)):
        words = [word for word in match.groups() if word]
        group = CliRunner().invoke(bartizan, [words[0], "--help"])
        assert group.exit_code == 0, f"{page.name}: bartizan {words[0]}"
        if len(words) > 1 and "COMMAND [ARGS]" in group.output:
            assert CliRunner().invoke(bartizan, [*words, "--help"]).exit_code == 0, f"{page.name}: {words}"


def test_architecture_is_short() -> None:
    """Under 200 lines, so that it is read."""
    assert len((ROOT / "ARCHITECTURE.md").read_text().splitlines()) < 200
