"""The rules of the house that can be checked: sizes, imports, generated files, a scope on every route."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bartizan import api
from bartizan.api.wire.limits import GRAPH
from bartizan.extend import RESOURCES, Access

ROOT = Path(__file__).resolve().parent.parent
MAX_LINES = 600
MAX_FUNCTION = 50
GENERATED = {"src/bartizan/model/graph.py", "src/bartizan/model/security.py"}
# path or path::function -> why it may be longer
EXCEPTIONS: dict[str, str] = {
    "src/bartizan/extend/resources.py::resource": "one keyword for each thing that a declaration can say",
}
api.load()


def python_files() -> Iterator[Path]:
    for folder in ("src", "tests", "schema", "bench"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "node_modules" not in path.parts and str(path.relative_to(ROOT)) not in GENERATED:
                yield path


def test_files_are_short() -> None:
    long = {
        name: length
        for path in python_files()
        if (length := len(path.read_text("utf-8").splitlines())) > MAX_LINES
        and (name := str(path.relative_to(ROOT))) not in EXCEPTIONS
    }
    assert not long, f"longer than {MAX_LINES} lines: {long}; split them by what they are about"


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_functions_are_short() -> None:
    long = {}
    for path in python_files():
        name = str(path.relative_to(ROOT))
        for node in functions(ast.parse(path.read_text("utf-8"))):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION and f"{name}::{node.name}" not in EXCEPTIONS:
                long[f"{name}::{node.name}"] = length
    assert not long, f"longer than {MAX_FUNCTION} lines: {long}"


def test_exceptions_are_needed() -> None:
    """An exception that nobody needs any more goes."""
    for each in EXCEPTIONS:
        path, _, function = each.partition("::")
        text = (ROOT / path).read_text("utf-8")
        if function:
            node = next(node for node in functions(ast.parse(text)) if node.name == function)
            assert (node.end_lineno or 0) - node.lineno + 1 > MAX_FUNCTION, each
        else:
            assert len(text.splitlines()) > MAX_LINES, each


def test_no_rooms_without_a_subject() -> None:
    banned = {"utils", "common", "core", "helpers", "services", "managers"}
    found = [str(path) for path in python_files() if banned & {path.stem, *path.parent.relative_to(ROOT).parts}]
    assert not found, f"name them after their noun: {found}"


def test_every_route_has_a_scope() -> None:
    """No verb, action or navigation is open to whoever has a token."""

    def asked(access: Access) -> bool:
        return bool(access.application or access.delegated)

    for resource in RESOURCES:
        needed = [resource.read, *(action.access for action in resource.actions.values())]
        needed += [navigation.access for navigation in resource.navigations.values()]
        needed += [navigation.link for navigation in resource.navigations.values() if navigation.link is not None]
        for flag, access in (("CREATE", resource.create), ("PATCH", resource.write), ("DELETE", resource.delete)):
            if flag in str(resource.can):
                needed.append(access)
        assert all(asked(access) for access in needed), resource.path


def test_areas_of_limits_are_known() -> None:
    """A rate limit that no preset knows would never bite."""
    assert {resource.throttle for resource in RESOURCES} <= set(GRAPH)


@pytest.mark.slow
def test_imports_run_downwards() -> None:
    """import-linter, by the contract in pyproject.toml."""
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
