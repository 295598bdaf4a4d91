"""Requests generated from the OpenAPI documents: no internal error, and what is answered is what is documented."""

from typing import Any
from urllib.parse import quote, urlencode

import anyio.from_thread
import anyio.to_thread
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from jsonschema_rs import Draft202012Validator
from schemathesis.core import NotSet
from schemathesis.core.result import Ok
from tests.api.conftest import World

from bartizan import api
from bartizan.api.documents.openapi import document
from bartizan.api.wire.route import Router
from bartizan.extend import RESOURCES
from bartizan.model.edm import Version

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
api.load()
VERSIONS: tuple[Version, ...] = ("v1.0", "beta")
EXAMPLES = 4  # of each operation


def operations(version: Version) -> list[Any]:
    schema = schemathesis.openapi.from_dict(document(Router(RESOURCES), version))
    return [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]


@pytest.mark.parametrize("version", VERSIONS)
async def test_generated_requests(world: World, version: Version) -> None:
    """Whatever the documents allow is answered with a documented status, and a success matches its schema."""
    components = document(Router(RESOURCES), version)["components"]
    for operation in operations(version):
        await _try(world, version, operation, components)


async def _try(world: World, version: Version, operation: Any, components: Any) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def test(case: Any) -> None:  # hypothesis calls it in a thread; the world lives on the loop
        anyio.from_thread.run(_send, world, version, case, components)

    await anyio.to_thread.run_sync(test)


async def _send(world: World, version: Version, case: Any, components: Any) -> None:
    path = case.path
    for name, value in (case.path_parameters or {}).items():
        path = path.replace(f"{{{name}}}", quote(str(value), safe=""))
    query = {name: str(value).lower() for name, value in (case.query or {}).items()}
    sends = case.method.upper() in ("POST", "PATCH") and not isinstance(case.body, NotSet)
    target = f"/{version}{path}" + (f"?{urlencode(query)}" if query else "")
    answer = await world.call(case.method, target, case.body if sends else None, consistencylevel="eventual")
    assert answer.status_code < 500, f"{case.method} {target}\n{case.body}\n{answer.text}"
    if answer.status_code in (200, 201) and answer.headers["content-type"].startswith("application/json"):
        declared = case.operation.definition.raw["responses"][str(answer.status_code)]
        schema = declared["content"]["application/json"]["schema"]
        errors = Draft202012Validator({**schema, "components": components}).iter_errors(answer.json())
        said = [error.message for error in errors]
        assert not said, f"{case.method} {target}\n{said[:3]}\n{answer.text[:2000]}"
