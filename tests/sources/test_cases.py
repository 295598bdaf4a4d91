"""Payloads written for a case, in the vendor's form, and what is expected of each: a part of what must come out."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bartizan.extend import SOURCES, Event, GraphObject
from bartizan.model.alert import Alert

Normalise = Callable[[str, Any], list[Alert | Event | GraphObject]]
HERE = Path(__file__).parent
CASES = sorted(HERE.glob("*/*.json"))
KINDS: dict[str, type] = {"alerts": Alert, "events": Event, "objects": GraphObject}


def differences(expected: Any, actual: Any, path: str = "") -> Iterator[str]:
    """Where `actual` lacks what is expected: of objects the named keys; of lists of objects each one, in any place."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        for key, value in expected.items():
            yield from differences(value, actual.get(key), f"{path}.{key}")
    elif isinstance(expected, list) and isinstance(actual, list) and any(isinstance(item, dict) for item in expected):
        for item in expected:
            if all(any(differences(item, other)) for other in actual):
                yield f"{path}: none of {len(actual)} is like {item}"
    elif expected != actual:
        yield f"{path}: expected {expected!r}, got {actual!r}"


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_case(path: Path, normalise: Normalise) -> None:
    """A payload gives what its case expects: as many alerts, events and objects, each like the expected one."""
    case = json.loads(path.read_text(encoding="utf-8"))
    outs = normalise(path.parent.name, case["text"] if "text" in case else case["payload"])
    for word, kind in KINDS.items():
        found = [json.loads(msgspec.json.encode(out)) for out in outs if isinstance(out, kind)]
        wanted = case["expect"].get(word, [])
        assert len(found) == len(wanted), f"{case['why']} ({word}): {json.dumps(found)[:6000]}"
        for number, (expected, actual) in enumerate(zip(wanted, found, strict=True)):
            wrong = list(differences(expected, actual, f"{word}[{number}]"))
            assert not wrong, f"{case['why']}\n" + "\n".join(wrong) + f"\n{json.dumps(actual)[:6000]}"


def test_every_source_has_cases() -> None:
    """Each source has at least five cases, one of them odd."""
    for name in SOURCES.keys() - {"auto"}:
        cases = [path.stem for path in CASES if path.parent.name == name]
        assert len(cases) >= 5, f"{name} has {len(cases)} cases"
        assert any(case.startswith("odd") for case in cases), f"{name} has no odd case"
