"""The generated files are what schema/ says."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"schema_{name}", ROOT / "schema" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generating_again_changes_nothing() -> None:
    for name, text in script("generate").generated().items():
        assert (ROOT / "src/bartizan/model" / name).read_text(encoding="utf-8") == text, f"{name}: run make generate"


def test_every_addition_has_its_reason() -> None:
    additions = json.loads((ROOT / "schema/additions.json").read_text(encoding="utf-8"))
    for part, facts in additions.items():
        for fact in facts:
            assert fact["why"], (part, fact)


def test_an_addition_that_is_there_already_stops_the_generator() -> None:
    generate = script("generate")
    with pytest.raises(SystemExit, match="there already"):
        generate.add({"microsoft.graph.user": {}}, "microsoft.graph.user", {})


@pytest.mark.shared
def test_the_cut_holds_every_fact_of_the_surface(shared: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Cutting the surface again gives the committed files, so nothing of a served type was lost by hand."""
    cut = script("cut")
    monkeypatch.setattr(cut, "HERE", tmp_path)
    monkeypatch.setattr(sys, "argv", ["cut.py", str(shared / "graph" / "surface.json")])
    cut.main()
    for version in ("v1.0", "beta"):
        assert (tmp_path / f"{version}.json").read_text() == (ROOT / f"schema/{version}.json").read_text(), version
