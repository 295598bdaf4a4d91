"""$metadata is well formed and refers to nothing that it does not hold."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

from bartizan.model.csdl import EntityContainer, EntitySet, Singleton, metadata_xml
from bartizan.model.edm import Operation, Version, edm

EDM = "{http://docs.oasis-open.org/odata/ns/edm}"
IDENTIFIER = re.compile(r"[^\W\d]\w{0,127}")


def container(version: Version) -> EntityContainer:
    return EntityContainer(
        sets=[EntitySet("users", "microsoft.graph.user"), EntitySet("groups", "microsoft.graph.group")],
        singletons=[Singleton("security", "microsoft.graph.security")],
        operations=edm(version).operations(),
    )


def schemas(version: Version) -> dict[str, ElementTree.Element]:
    root = ElementTree.fromstring(metadata_xml(version, container(version)))
    return {each.attrib["Namespace"]: each for each in root.iter(f"{EDM}Schema")}


@pytest.mark.parametrize("version", ["v1.0", "beta"])
def test_every_type_that_is_referred_to_exists(version: Version) -> None:
    spaces = schemas(version)
    declared = {
        f"{space}.{each.attrib['Name']}"
        for space, schema in spaces.items()
        for tag in ("EntityType", "ComplexType", "EnumType")
        for each in schema.findall(f"{EDM}{tag}")
    }
    assert declared == {*edm(version).type_names(), *edm(version).enum_names()}
    for schema in spaces.values():
        for element in schema.iter():
            for name in ("Type", "BaseType", "EntityType"):
                word = element.attrib.get(name, "Edm.String").removeprefix("Collection(").removesuffix(")")
                assert word in declared or word.startswith("Edm."), (element.tag, element.attrib)


@pytest.mark.parametrize("version", ["v1.0", "beta"])
def test_names_are_identifiers_and_declared_once(version: Version) -> None:
    for schema in schemas(version).values():
        for kind in schema:
            names = [each.attrib["Name"] for each in kind if "Name" in each.attrib]
            assert len(names) == len(set(names)), kind.attrib
            assert all(IDENTIFIER.fullmatch(name) for name in [*names, kind.attrib["Name"]]), kind.attrib
            if kind.tag == f"{EDM}EnumType":
                values = {each.attrib.get("Value") for each in kind}
                assert None not in values or values == {None}, kind.attrib
                assert None not in values or kind.attrib.get("IsFlags") is None, kind.attrib


def test_facts_of_the_schema_are_written() -> None:
    graph, security = schemas("v1.0")["microsoft.graph"], schemas("v1.0")["microsoft.graph.security"]

    def one(schema: ElementTree.Element, path: str) -> dict[str, str]:
        found = schema.find(path)
        assert found is not None, path
        return dict(found.attrib)

    entity = f"{EDM}EntityType[@Name='entity']"
    assert one(graph, entity)["Abstract"] == "true"
    assert one(graph, f"{entity}/{EDM}Key/{EDM}PropertyRef") == {"Name": "id"}
    assert one(graph, f"{entity}/{EDM}Property[@Name='id']") == {
        "Name": "id",
        "Type": "Edm.String",
        "Nullable": "false",
    }
    assert one(graph, f"{EDM}EntityType[@Name='alert']")["OpenType"] == "true"
    assert one(graph, f"{EDM}EntityContainer/{EDM}Singleton") == {
        "Name": "security",
        "Type": "microsoft.graph.security",
    }
    alert = f"{EDM}EntityType[@Name='alert']"
    assert one(security, alert)["BaseType"] == "microsoft.graph.entity"
    assert one(security, f"{alert}/{EDM}Property[@Name='evidence']") == {
        "Name": "evidence",
        "Type": "Collection(microsoft.graph.security.alertEvidence)",
    }
    incident = f"{EDM}EntityType[@Name='incident']/{EDM}NavigationProperty[@Name='alerts']"
    assert one(security, incident)["Type"] == "Collection(microsoft.graph.security.alert)"
    reason = f"{EDM}EnumType[@Name='correlationReason']"
    assert one(security, reason)["IsFlags"] == "true"
    merge = f"{EDM}Action[@Name='mergeIncidents']"
    assert one(security, f"{merge}/{EDM}Parameter[@Name='bindingParameter']") == {
        "Name": "bindingParameter",
        "Type": "Collection(microsoft.graph.security.incident)",
        "Nullable": "false",
    }
    assert one(security, f"{merge}/{EDM}ReturnType") == {"Type": "microsoft.graph.security.mergeResponse"}


def test_a_flag_whose_value_is_unknown_gets_a_bit_of_its_own() -> None:
    """CSDL wants a value for every member of an enum of flags."""
    enum = schemas("beta")["microsoft.graph"].find(f"{EDM}EnumType[@Name='whatIfAnalysisReasons']")
    assert enum is not None
    values = [int(each.attrib["Value"]) for each in enum]
    assert len(values) == len(set(values))


def test_the_same_input_gives_the_same_bytes() -> None:
    assert metadata_xml("beta", container("beta")) == metadata_xml("beta", container("beta"))


def test_a_container_that_names_an_unserved_type_is_refused() -> None:
    with pytest.raises(ValueError, match=r"not served in v1\.0"):
        metadata_xml("v1.0", EntityContainer(sets=[EntitySet("tiIndicators", "microsoft.graph.tiIndicator")]))
    with pytest.raises(ValueError, match="not served"):
        lost = Operation("microsoft.graph.x", "action", "microsoft.graph.nothing")
        metadata_xml("v1.0", EntityContainer(operations=[lost]))
