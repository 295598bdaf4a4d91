"""Every response body that the vendor's documents show goes in and comes out with its names and types."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bartizan.errors import BadRequest
from bartizan.model.edm import edm

pytestmark = pytest.mark.shared

# What the examples have and neither metadata nor our additions do: (part of the message, why it is refused rightly).
DOCUMENTS_ERR = {
    "conditions.times: no such property": "a condition that left preview",
    "has it only in beta": "v1.0 examples that show properties of beta",
    "authenticationContextClassReferences[0].details": "a slip: the property is detail",
    "riskType: no such property": "a slip: the property is riskEventType",
    "targetResource: no such property": "a slip: the property is targetResources",
    "conditionalAccessStatus, not 'applied'": "a word that the enum never had",
    "location: expected an object": "risk events showed a place as a string at first, as an object later",
    "tags: no such property of microsoft.graph.security.incident": "the name of a preview; now customTags",
}
LEAST_OBJECTS = 260
LEAST_RENDERED = 225


def objects(shared: Path) -> Iterator[tuple[dict[str, Any], str, dict[str, Any]]]:
    """(example, served type, one object)."""
    for line in (shared / "graph" / "examples.jsonl").read_text(encoding="utf-8").splitlines():
        example = json.loads(line)
        answer = example["response"] or {}
        body, name = answer.get("body"), edm(example["version"]).type_name(answer.get("type") or "")
        if name is None or not isinstance(body, dict):
            continue
        inside = body.get("value")
        found = inside if isinstance(inside, list) else [inside if isinstance(inside, dict) else body]
        yield from ((example, name, each) for each in found if isinstance(each, dict))


def differences(shown: Any, wire: Any, at: str) -> Iterator[str]:
    """Names and JSON types of the example that the rendered object lacks. A mark that says the declared type may go."""
    if isinstance(shown, dict) and isinstance(wire, dict):
        names = {name.casefold(): name for name in wire}
        for key, value in shown.items():
            if "@odata." in key:
                continue
            if key.casefold() in names:
                yield from differences(value, wire[names[key.casefold()]], f"{at}/{key}")
            elif f"{at}/{key}".rsplit("/", 2)[-2:] not in (["comments", "createdBy"], ["comments", "createdTime"]):
                yield f"{at}/{key} is gone"
    elif isinstance(shown, list) and isinstance(wire, list):
        if len(shown) != len(wire):
            yield f"{at}: {len(shown)} elements became {len(wire)}"
        for each, other in zip(shown, wire, strict=False):
            yield from differences(each, other, at)
    elif kind(shown) not in ("null", kind(wire)):
        yield f"{at}: {shown!r} became {wire!r}"


def kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "null" if value is None else type(value).__name__


def test_documented_responses_keep_their_names_and_types(shared: Path) -> None:
    """All but those with placeholders in place of values, and those that err in a way that is named above."""
    count: Counter[str] = Counter()
    wrong = []
    for example, name, shown in objects(shared):
        version = edm(example["version"])
        count["objects"] += 1
        try:
            inner = version.accept(name, shown)
        except BadRequest as error:
            why = next((why for part, why in DOCUMENTS_ERR.items() if part in error.message), None)
            if why is None and example.get("placeholders"):
                why = "placeholders in place of values"
            if why is None:
                wrong.append(f"{example['version']} {example['api']}: {error.message}")
            count[why or "wrong"] += 1
            continue
        count["rendered"] += 1
        wrong += differences(shown, version.render(name, inner), f"{example['version']} {example['api']}")
    assert not wrong, "\n".join(wrong)
    assert count["objects"] >= LEAST_OBJECTS and count["rendered"] >= LEAST_RENDERED, count
