"""What the server says about itself: service document, metadata, OpenAPI, coverage."""

from typing import Any
from xml.etree import ElementTree

import pytest
from jsonschema_rs import Draft202012Validator
from tests.api.conftest import World

from bartizan import api
from bartizan.api.documents.coverage import Line, lines, page
from bartizan.api.documents.openapi import document
from bartizan.api.documents.page import HTML
from bartizan.api.wire.route import Router
from bartizan.extend import RESOURCES
from bartizan.model.edm import Version

api.load()
VERSIONS: tuple[Version, ...] = ("v1.0", "beta")


@pytest.fixture(scope="module")
def router() -> Router:
    return Router(RESOURCES)


@pytest.mark.anyio
async def test_metadata_needs_no_token(world: World) -> None:
    answer = await world.call("GET", "/beta/$metadata", by=None)
    assert answer.headers["content-type"].startswith("application/xml")
    names = {
        each.get("Name") for each in ElementTree.fromstring(answer.content).iter() if each.tag.endswith("EntitySet")
    }
    assert {"users", "riskyUsers"} <= names
    await world.refused("GET", "/v1.0/$metadata", status=406, accept="application/json")
    await world.refused("POST", "/v1.0/$metadata", {}, status=405)
    service = await world.get("/v1.0")
    assert {"name": "me", "kind": "Singleton", "url": "me"} in service["value"]


@pytest.mark.parametrize("version", VERSIONS)
def test_openapi_holds_together(router: Router, version: Version) -> None:
    """Every reference leads somewhere, every schema is one, operation ids are unique, each operation names its
    scopes.
    """
    made = document(router, version)
    for each in references(made):
        at: Any = made
        for name in each.removeprefix("#/").split("/"):
            at = at[name]
    for name in made["components"]["schemas"]:
        Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": made["components"]})
    operations = [item for path in made["paths"].values() for verb, item in path.items() if verb != "parameters"]
    ids = [each["operationId"] for each in operations]
    assert len(ids) == len(set(ids)) > 50
    assert all(each["description"].startswith("One of: ") and "." in each["description"] for each in operations)


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [each for item in value.values() for each in references(item)]
    return [each for item in value for each in references(item)] if isinstance(value, list) else []


@pytest.mark.anyio
@pytest.mark.parametrize("version", VERSIONS)
async def test_answers_match_openapi(world: World, router: Router, version: Version) -> None:
    """An alert with evidence and an incident with comments validate against the document's own schemas."""
    made = document(router, version)
    evidence = [{"@odata.type": "#microsoft.graph.security.userEvidence", "userAccount": {"accountName": "ada"}}]
    await world.post("/v1.0/security/alerts_v2", {"id": "a", "title": "t", "evidence": evidence})
    await world.post("/v1.0/security/incidents", {"id": "i", "displayName": "t"})
    for path, name in {
        "security/alerts_v2/a": "microsoft.graph.security.alert",
        "security/alerts/a": "microsoft.graph.alert",
        "security/incidents/i": "microsoft.graph.security.incident",
    }.items():
        body = await world.get(f"/{version}/{path}")
        schema = {"$ref": f"#/components/schemas/{name}", "components": made["components"]}
        Draft202012Validator(schema).validate(body)


def test_page_needs_nobody_else() -> None:
    """The page loads nothing from elsewhere."""
    assert "http://" not in HTML and "https://" not in HTML and "<script src" not in HTML


def test_coverage_knows_every_path(router: Router) -> None:
    """Each known path and verb is served, not yet or never, and what is not says why."""
    unknown = [line for line in lines(router) if line.state == "unknown"]
    assert not unknown, "\n".join(f"{line.version} {line.verb} {line.path}" for line in unknown[:40])
    assert all(line.why for line in lines(router) if line.state != "served")


def test_coverage_says_what_the_router_does(router: Router) -> None:
    found = {(line.version, line.path, line.verb): line.state for line in lines(router)}
    assert found["v1.0", "/security/alerts_v2/{}", "PATCH"] == "served"
    assert found["v1.0", "/security/alerts_v2/{}", "DELETE"] == "never"
    assert found["beta", "/users/{}", "DELETE"] == "not_yet"
    assert found["beta", "/users/{}/revokeSignInSessions", "POST"] == "served"
    assert "| `/security/incidents/mergeIncidents` | POST | served | served |  |" in page(router)
    assert Line("v1.0", "/x", "GET", "served").why == ""
