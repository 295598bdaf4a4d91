"""A stream of sign-ins through a started server, judged with Microsoft's own SDK: list, filter, history, and what
people decide."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, TypeVar

import pytest
import pytest_asyncio
from kiota_abstractions.base_request_configuration import RequestConfiguration
from msgraph import GraphServiceClient
from msgraph.generated.audit_logs.sign_ins.confirm_safe import confirm_safe_post_request_body as sign_in_safe
from msgraph.generated.audit_logs.sign_ins.sign_ins_request_builder import SignInsRequestBuilder
from msgraph.generated.identity_protection.risk_detections.risk_detections_request_builder import (
    RiskDetectionsRequestBuilder,
)
from msgraph.generated.identity_protection.risky_users.confirm_compromised import (
    confirm_compromised_post_request_body as compromised,
)
from msgraph.generated.identity_protection.risky_users.confirm_safe import confirm_safe_post_request_body as user_safe
from msgraph.generated.identity_protection.risky_users.dismiss import dismiss_post_request_body as dismissed
from msgraph.generated.identity_protection.risky_users.risky_users_request_builder import RiskyUsersRequestBuilder
from msgraph.generated.models.risk_detail import RiskDetail
from msgraph.generated.models.risk_level import RiskLevel
from msgraph.generated.models.risk_state import RiskState
from msgraph.generated.models.risky_user import RiskyUser
from msgraph.generated.models.sign_in import SignIn
from tests.identity.streams import DAY, MAC, START, instant, quiet, sign_in, spray
from tests.wire.conftest import Running, free_port, run, start, stop, wait_ready

from bartizan.identity.events import seconds

SCOPE = ["https://graph.microsoft.com/.default"]
pytestmark = pytest.mark.asyncio(loop_scope="module")
PATIENCE_S = 90.0
PEOPLE, DAYS = 8, 14
AWAY: dict[str, Any] = {"asn": 65551, "country": "BR", "city": "Recife", "place": (-8.05, -34.9), "agent": MAC}
T = TypeVar("T")


def moved(document: dict[str, Any]) -> dict[str, Any]:
    """To the days before today: low risk ages."""
    days = time.time() // DAY - START // DAY - DAYS - 1
    return {**document, "createdDateTime": instant(seconds(document["createdDateTime"]) + days * DAY)}


def stream() -> list[dict[str, Any]]:
    """Two quiet weeks; a spray that finds the password of u1; strange sign-ins of u2, u3 and u4."""
    strange = [
        sign_in(f"away-{n}", START + (13.2 + n / 10) * DAY, f"u{n}", address=f"203.0.{n}.9", session=f"x{n}", **AWAY)
        for n in (2, 3, 4)
    ]
    made = [*quiet(PEOPLE, DAYS), *spray(PEOPLE, 13.1), *strange]
    return [moved(each) for each in sorted(made, key=lambda each: str(each["createdDateTime"]))]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server of its own, with this stream alone."""
    data, port = tmp_path_factory.mktemp("identity"), free_port()
    process = start(data, port)
    try:
        wait_ready(process, data, port)
        app = json.loads(run("app", "add", "analyst", "--all", data=data))
        ca = data / "wire-ca.pem"
        ca.write_text(run("ca", "export", data=data))
        running = Running(
            f"https://localhost:{port}", port, data, ca, app["tenantId"], app["clientId"], app["clientSecret"]
        )
        with running.api() as api:
            answer = api.post("/beta/auditLogs/signIns", json=stream())
            assert answer.status_code == 201, answer.text
        yield running
    finally:
        stop(process)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def graph(place: Running) -> AsyncIterator[GraphServiceClient]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(place.ca))
        credential = place.credential()
        client = GraphServiceClient(credential, SCOPE)
        client.request_adapter.base_url = f"{place.root}/v1.0"
        yield client
        await client.request_adapter._http_client.aclose()  # the SDK leaves it open
        await credential.close()


async def until(ask: Callable[[], Awaitable[T]], holds: Callable[[T], bool]) -> T:
    """What is asked again and again, once it is as expected: the worker takes its time."""
    end = time.monotonic() + PATIENCE_S
    while not holds(found := await ask()):
        assert time.monotonic() < end, found
        await asyncio.sleep(0.2)
    return found


def filtered(kind: Any, filter: str, **more: Any) -> Any:
    return RequestConfiguration(query_parameters=kind(filter=filter, **more))


async def risky(graph: GraphServiceClient, filter: str) -> list[RiskyUser]:
    asked = filtered(RiskyUsersRequestBuilder.RiskyUsersRequestBuilderGetQueryParameters, filter)
    page = await graph.identity_protection.risky_users.get(asked)
    assert page is not None
    return page.value or []


async def user(graph: GraphServiceClient, id: str) -> RiskyUser:
    asked: Any = RequestConfiguration()
    asked.headers.add("Prefer", "include-unknown-enum-members")  # riskDetail has members that came later
    found = await graph.identity_protection.risky_users.by_risky_user_id(id).get(asked)
    assert found is not None
    return found


async def one(graph: GraphServiceClient, id: str) -> SignIn:
    found = await graph.audit_logs.sign_ins.by_sign_in_id(id).get()
    assert found is not None
    return found


async def test_risk_is_listed_and_filtered(graph: GraphServiceClient) -> None:
    found = await until(lambda: risky(graph, "riskState eq 'atRisk'"), lambda users: len(users) == 4)
    assert {each.id for each in found} == {"u1", "u2", "u3", "u4"}
    high = await risky(graph, "riskLevel eq 'high' and id eq 'u1'")
    assert [each.user_principal_name for each in high] == ["u1@northwall.example"]
    asked = filtered(
        SignInsRequestBuilder.SignInsRequestBuilderGetQueryParameters,
        "riskState eq 'atRisk' and userId eq 'u1'",
        orderby=["createdDateTime asc"],
    )
    page = await until(lambda: graph.audit_logs.sign_ins.get(asked), lambda page: len(page.value or []) == 5)
    assert page is not None and page.value
    assert page.value[0].id == "a-right"
    assert {each.risk_level_aggregated for each in page.value} == {RiskLevel.High}
    assert "passwordSpray" in (page.value[0].risk_event_types_v2 or [])
    asked = filtered(
        RiskDetectionsRequestBuilder.RiskDetectionsRequestBuilderGetQueryParameters,
        "riskEventType eq 'passwordSpray' and requestId eq 'a-right'",
    )
    detections = await graph.identity_protection.risk_detections.get(asked)
    assert detections is not None and detections.value
    (detection,) = detections.value
    told = {pair["Key"]: pair["Value"] for pair in json.loads(detection.additional_info or "[]")}
    assert told["principalsWithWrongCredentials"] == 6
    assert {each["name"] for each in told["contributions"]} >= {"place", "device", "passwordSpray"}


async def test_a_compromise_is_confirmed(graph: GraphServiceClient) -> None:
    await until(lambda: risky(graph, "id eq 'u1'"), bool)
    await graph.identity_protection.risky_users.confirm_compromised.post(
        compromised.ConfirmCompromisedPostRequestBody(user_ids=["u1"])
    )
    found = await user(graph, "u1")
    assert (found.risk_state, found.risk_level) == (RiskState.ConfirmedCompromised, RiskLevel.High)
    assert found.risk_detail == RiskDetail.AdminConfirmedUserCompromised
    history = await graph.identity_protection.risky_users.by_risky_user_id("u1").history.get()
    assert history is not None and history.value
    states = [each.risk_state for each in history.value]
    assert RiskState.AtRisk in states and RiskState.ConfirmedCompromised in states
    assert {each.user_id for each in history.value} == {"u1"}
    asked = filtered(
        RiskDetectionsRequestBuilder.RiskDetectionsRequestBuilderGetQueryParameters,
        "riskEventType eq 'adminConfirmedUserCompromised' and userId eq 'u1'",
    )
    added = await graph.identity_protection.risk_detections.get(asked)
    assert added is not None and len(added.value or []) == 1


async def test_a_risk_is_dismissed(graph: GraphServiceClient) -> None:
    await until(lambda: risky(graph, "id eq 'u2' and riskState eq 'atRisk'"), bool)
    await graph.identity_protection.risky_users.dismiss.post(dismissed.DismissPostRequestBody(user_ids=["u2"]))
    found = await until(lambda: user(graph, "u2"), lambda user: not user.is_processing)
    assert (found.risk_state, found.risk_level) == (RiskState.Dismissed, RiskLevel.None_)
    assert found.risk_detail == RiskDetail.AdminDismissedAllRiskForUser
    assert (await one(graph, "away-2")).risk_state == RiskState.Dismissed


async def test_a_user_and_a_sign_in_are_confirmed_safe(graph: GraphServiceClient) -> None:
    await until(lambda: risky(graph, "id in ('u3', 'u4') and riskState eq 'atRisk'"), lambda users: len(users) == 2)
    await graph.identity_protection.risky_users.confirm_safe.post(user_safe.ConfirmSafePostRequestBody(user_ids=["u3"]))
    found = await until(lambda: user(graph, "u3"), lambda user: not user.is_processing)
    assert (found.risk_state, found.risk_level) == (RiskState.ConfirmedSafe, RiskLevel.None_)
    assert found.risk_detail == RiskDetail.AdminConfirmedAccountSafe
    assert (await one(graph, "away-3")).risk_state == RiskState.ConfirmedSafe
    await graph.audit_logs.sign_ins.confirm_safe.post(sign_in_safe.ConfirmSafePostRequestBody(request_ids=["away-4"]))
    before = await one(graph, "away-4")
    assert (before.risk_state, before.risk_level_aggregated) == (RiskState.ConfirmedSafe, RiskLevel.None_)
    assert before.risk_detail == RiskDetail.AdminConfirmedSigninSafe
    assert (await user(graph, "u4")).risk_state == RiskState.None_


async def test_a_sign_in_is_answered_with_its_risk(graph: GraphServiceClient, place: Running) -> None:
    """At once, and as the user's a moment later."""
    again = moved(sign_in("again", START + 14.6 * DAY, "u5", address="203.0.113.66", session="y", **AWAY))
    with place.api() as api:
        answer = api.post("/beta/auditLogs/signIns", json=again).json()
    assert answer["riskLevelDuringSignIn"] == "high"
    assert "passwordSpray" in answer["riskEventTypes_v2"]
    found = await until(lambda: risky(graph, "id eq 'u5'"), bool)
    assert found[0].risk_level == RiskLevel.High
