"""The generated structs give the inner form."""

import inspect
from typing import Any

import msgspec
import pytest

from bartizan.model import graph, security
from bartizan.model.edm import edm

EVIDENCE = sorted(edm("beta").structured("microsoft.graph.security.alertEvidence").derived)


def python_name(name: str) -> str:
    short = name.removeprefix("microsoft.graph.").removeprefix("security.")
    return "".join(word[0].upper() + word[1:] for word in short.split("."))


@pytest.mark.parametrize("name", EVIDENCE)
def test_evidence_as_a_struct_goes_out_on_both_versions(name: str) -> None:
    """to_builtins leaves out what is unset and marks the type; render adds every documented key."""
    made = getattr(security, python_name(name))(roles=["attacked"], tags=["t"], verdict="malicious")
    inner = msgspec.to_builtins(security.Alert(title="t", evidence=[made]))
    kept = {"@odata.type": f"#{name}", "roles": ["attacked"], "tags": ["t"], "verdict": "malicious"}
    assert inner["evidence"] == [kept]
    for version in (edm("v1.0"), edm("beta")):
        wire = version.render("microsoft.graph.security.alert", inner)["evidence"][0]
        assert kept.items() <= wire.items()
        assert set(wire) - {"@odata.type"} == set(version.structured(name).properties)
        assert version.accept("microsoft.graph.security.alertEvidence", wire) == wire


def structs(module: Any) -> list[type[msgspec.Struct]]:
    found = [each for _, each in inspect.getmembers(module, inspect.isclass) if each.__module__ == module.__name__]
    return [each for each in found if issubclass(each, msgspec.Struct)]


@pytest.mark.parametrize(
    ("module", "space"),
    [(graph, "microsoft.graph."), (security, "microsoft.graph.security.")],
    ids=["graph", "security"],
)
def test_structs_have_the_schemas_properties(module: Any, space: str) -> None:
    """Each struct is a served type, and its fields are that type's properties of both versions together."""
    by_name: dict[str, set[str]] = {}
    for version in (edm("v1.0"), edm("beta")):
        for name in version.type_names():
            if name.startswith(space) and (
                space != "microsoft.graph." or not name.startswith("microsoft.graph.security.")
            ):
                by_name.setdefault(python_name(name), set()).update(version.structured(name).properties)
    made = structs(module)
    assert len(made) > 100
    for each in made:
        assert {field.encode_name for field in msgspec.structs.fields(each)} == by_name[each.__name__], each


def test_an_unset_struct_is_empty_but_for_its_mark() -> None:
    for each in [*structs(graph), *structs(security)]:
        assert set(msgspec.to_builtins(each())) <= {"@odata.type"}, each


def test_annotations_resolve() -> None:
    """msgspec can read the structs too: every annotation names something in its module."""
    for each in (security.Alert, security.Incident, graph.SignIn, graph.Alert, graph.User, graph.DirectoryAudit):
        assert isinstance(msgspec.convert({}, each, strict=True) if not each.__struct_config__.tag else each(), each)
        msgspec.json.schema(each)
