"""Microsoft's own Python SDKs against a started server: tokens by msal and azure-identity, objects by msgraph-sdk."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msal
import pytest
import pytest_asyncio
import requests
from kiota_abstractions.base_request_configuration import RequestConfiguration
from msgraph import GraphServiceClient
from msgraph.generated.directory_objects.get_by_ids.get_by_ids_post_request_body import GetByIdsPostRequestBody
from msgraph.generated.identity_protection.risky_users.confirm_compromised import (
    confirm_compromised_post_request_body as confirm,
)
from msgraph.generated.models.i_pv4_cidr_range import IPv4CidrRange
from msgraph.generated.models.ip_named_location import IpNamedLocation
from msgraph.generated.models.o_data_errors.o_data_error import ODataError
from msgraph.generated.models.security.alert import Alert
from msgraph.generated.models.security.alert_comment import AlertComment
from msgraph.generated.models.security.alert_severity import AlertSeverity
from msgraph.generated.models.security.alert_status import AlertStatus
from msgraph.generated.models.security.correlation_reason import CorrelationReason
from msgraph.generated.models.security.incident import Incident
from msgraph.generated.models.security.incident_status import IncidentStatus
from msgraph.generated.models.security.ip_evidence import IpEvidence
from msgraph.generated.security.alerts_v2.alerts_v2_request_builder import Alerts_v2RequestBuilder
from msgraph.generated.security.alerts_v2.microsoft_graph_security_move_alerts.move_alerts_post_request_body import (
    MoveAlertsPostRequestBody,
)
from msgraph.generated.security.incidents.incidents_request_builder import IncidentsRequestBuilder
from msgraph.generated.security.incidents.microsoft_graph_security_merge_incidents import (
    merge_incidents_post_request_body as merging,
)
from msgraph.generated.security.secure_scores.secure_scores_request_builder import SecureScoresRequestBuilder
from msgraph.generated.users.users_request_builder import UsersRequestBuilder
from msgraph_beta import GraphServiceClient as BetaClient
from msgraph_beta.generated.models.key_value_pair import KeyValuePair
from msgraph_beta.generated.models.operation_status import OperationStatus
from msgraph_beta.generated.models.security_action import SecurityAction
from msgraph_beta.generated.models.ti_action import TiAction
from msgraph_beta.generated.models.ti_indicator import TiIndicator
from msgraph_beta.generated.models.tlp_level import TlpLevel
from msgraph_beta.generated.security.ti_indicators.delete_ti_indicators import (
    delete_ti_indicators_post_request_body as deleting,
)
from msgraph_beta.generated.security.ti_indicators.submit_ti_indicators import (
    submit_ti_indicators_post_request_body as submitting,
)
from msgraph_core.tasks.page_iterator import PageIterator
from tests.wire.conftest import Running

SCOPE = ["https://graph.microsoft.com/.default"]
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module", autouse=True)
def trust(server: Running) -> Any:
    """The clients find the server's CA where their HTTP libraries look for one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(server.ca))
        patch.setenv("REQUESTS_CA_BUNDLE", str(server.ca))
        yield


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def graph(server: Running) -> AsyncIterator[GraphServiceClient]:
    credential = server.credential()
    client = GraphServiceClient(credential, SCOPE)
    client.request_adapter.base_url = f"{server.root}/v1.0"
    yield client
    await client.request_adapter._http_client.aclose()  # the SDK leaves it open
    await credential.close()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def beta(server: Running) -> AsyncIterator[BetaClient]:
    credential = server.credential()
    client = BetaClient(credential, SCOPE)
    client.request_adapter.base_url = f"{server.root}/beta"
    yield client
    await client.request_adapter._http_client.aclose()  # the SDK leaves it open
    await credential.close()


def _query(kind: Any, **parameters: Any) -> Any:
    return RequestConfiguration(query_parameters=kind(**parameters))


async def test_msal(server: Running) -> None:
    """msal gets a token by either way of naming the authority."""
    with requests.Session() as http:
        _msal(server, http)


def _msal(server: Running, http: requests.Session) -> None:
    for ways in (
        {"authority": f"{server.root}/{server.tenant}", "instance_discovery": False},
        {"oidc_authority": f"{server.root}/{server.tenant}/v2.0"},
    ):
        app = msal.ConfidentialClientApplication(
            server.client_id, client_credential=server.secret, http_client=http, **ways
        )
        answer = app.acquire_token_for_client(SCOPE)
        assert "access_token" in answer, answer
        assert isinstance(answer["expires_in"], int)
    wrong = msal.ConfidentialClientApplication(
        server.client_id,
        client_credential="wrong",
        http_client=http,
        authority=f"{server.root}/{server.tenant}",
        instance_discovery=False,
    )
    refused = wrong.acquire_token_for_client(SCOPE)
    assert refused["error"] == "invalid_client"
    assert "AADSTS7000215" in refused["error_description"]


async def test_alerts(graph: GraphServiceClient) -> None:
    """Alerts come with typed evidence, are filtered, paged, changed and commented."""
    parameters = _query(
        Alerts_v2RequestBuilder.Alerts_v2RequestBuilderGetQueryParameters,
        filter="severity eq 'high'",
        top=2,
        orderby=["createdDateTime desc"],
        count=True,
    )
    page = await graph.security.alerts_v2.get(parameters)
    assert page is not None and page.value and page.odata_count is not None
    assert all(alert.severity == AlertSeverity.High for alert in page.value)
    seen: list[Any] = []

    def take(item: Any) -> bool:
        seen.append(item)
        return True

    await PageIterator(page, graph.request_adapter).iterate(take)
    assert len(seen) == len({alert.id for alert in seen}) == page.odata_count
    evidence = [e for alert in seen for e in alert.evidence or []]
    assert any(isinstance(e, IpEvidence) and e.ip_address for e in evidence)
    alert_id = page.value[0].id or ""
    changed = await graph.security.alerts_v2.by_alert_id(alert_id).patch(Alert(status=AlertStatus.InProgress))
    assert changed is not None and changed.status == AlertStatus.InProgress
    comment = AlertComment(comment="seen by the SDK")
    await graph.security.alerts_v2.by_alert_id(alert_id).comments.post([comment])  # a bare array, as the SDK sends it
    again = await graph.security.alerts_v2.by_alert_id(alert_id).get()
    assert again is not None and again.comments and again.comments[-1].comment == "seen by the SDK"
    legacy = await graph.security.alerts.by_alert_id(alert_id).get()
    assert legacy is not None and legacy.comments and legacy.comments[-1] == "seen by the SDK"


async def test_incidents(graph: GraphServiceClient) -> None:
    """Incidents expand their alerts."""
    parameters = _query(IncidentsRequestBuilder.IncidentsRequestBuilderGetQueryParameters, expand=["alerts"], top=50)
    page = await graph.security.incidents.get(parameters)
    assert page is not None and page.value
    filled = [incident for incident in page.value if incident.alerts]  # one that was merged has none any more
    assert filled
    for incident in filled:
        assert all(alert.title and alert.incident_id == incident.id for alert in incident.alerts or [])


async def test_risky_users(graph: GraphServiceClient) -> None:
    """List, confirm, history."""
    page = await graph.identity_protection.risky_users.get()
    assert page is not None and page.value
    user_id = page.value[0].id or ""
    await graph.identity_protection.risky_users.confirm_compromised.post(
        confirm.ConfirmCompromisedPostRequestBody(user_ids=[user_id])
    )
    user = await graph.identity_protection.risky_users.by_risky_user_id(user_id).get()
    assert user is not None and str(user.risk_state).endswith("ConfirmedCompromised")
    history = await graph.identity_protection.risky_users.by_risky_user_id(user_id).history.get()
    assert history is not None and history.value


async def test_directory(graph: GraphServiceClient, server: Running) -> None:
    """Users by filter and by name, their groups, devices and the members of a group."""
    parameters = _query(
        UsersRequestBuilder.UsersRequestBuilderGetQueryParameters,
        filter="startswith(displayName,'Ada')",
        select=["id", "displayName", "userPrincipalName"],
    )
    page = await graph.users.get(parameters)
    assert page is not None and page.value
    upn = page.value[0].user_principal_name or ""
    user = await graph.users.by_user_id(upn).get()
    assert user is not None and user.id == page.value[0].id
    groups = await graph.users.by_user_id(upn).member_of.get()
    assert groups is not None and groups.value and type(groups.value[0]).__name__ in ("Group", "DirectoryRole")
    listed = await graph.groups.get()
    assert listed is not None and listed.value
    members = await graph.groups.by_group_id(listed.value[0].id or "").members.get()
    assert members is not None and members.value
    organization = await graph.organization.get()
    assert organization is not None and [each.id for each in organization.value or []] == [server.tenant]
    body = GetByIdsPostRequestBody(ids=[user.id or "", listed.value[0].id or ""], types=["user", "group"])
    objects = await graph.directory_objects.get_by_ids.post(body)
    assert objects is not None and {type(each).__name__ for each in objects.value or []} == {"User", "Group"}
    with pytest.raises(ODataError) as caught:
        await graph.users.by_user_id("nobody").get()
    assert caught.value.error is not None and caught.value.error.code == "Request_ResourceNotFound"


async def test_whole_objects_are_sent_back(graph: GraphServiceClient) -> None:
    """Read, change one property, write everything: what only the server writes is unchanged, and passes."""
    page = await graph.security.incidents.get()
    assert page is not None and page.value
    incident = page.value[0]
    incident.assigned_to = "whole@sample.example"
    changed = await graph.security.incidents.by_incident_id(incident.id or "").patch(incident)
    assert changed is not None and changed.assigned_to == "whole@sample.example"
    assert changed.display_name == incident.display_name
    incident.created_date_time = datetime(2001, 1, 1, tzinfo=UTC)
    with pytest.raises(ODataError) as caught:
        await graph.security.incidents.by_incident_id(incident.id or "").patch(incident)
    assert caught.value.response_status_code == 400 and "createdDateTime" in str(caught.value.error)


async def test_scores_sign_ins_audits(graph: GraphServiceClient) -> None:
    """Posture and logs."""
    scores = await graph.security.secure_scores.get()
    assert scores is not None and scores.value and scores.value[0].current_score
    sign_ins = await graph.audit_logs.sign_ins.get()
    assert sign_ins is not None and sign_ins.value and sign_ins.value[0].ip_address
    audits = await graph.audit_logs.directory_audits.get()
    assert audits is not None and audits.value and audits.value[0].activity_display_name


async def test_posture(graph: GraphServiceClient, server: Running) -> None:
    """The worker has assessed the sample organisation; the SDK reads the score, its controls, and who is affected."""
    wanted = SecureScoresRequestBuilder.SecureScoresRequestBuilderGetQueryParameters(
        filter="vendorInformation/provider eq 'Bartizan Identity Posture'", top=1
    )
    controls: dict[str, Any] = {}
    for _ in range(300):
        scores = await graph.security.secure_scores.get(RequestConfiguration(query_parameters=wanted))
        assert scores is not None
        if scores.value:
            controls = {each.control_name: each for each in scores.value[0].control_scores}
        if "BartizanAdminMFA" in controls:  # assessed again since roles and registrations came in
            break
        await asyncio.sleep(0.2)
    admins = controls["BartizanAdminMFA"]
    assert admins.control_category == "Identity" and admins.additional_data["total"] != "0"
    assert 0 < scores.value[0].current_score < scores.value[0].max_score
    profile = await graph.security.secure_score_control_profiles.by_secure_score_control_profile_id(
        "BartizanUserMFA"
    ).get()
    assert profile is not None and profile.max_score == 9 and profile.threats
    with server.api() as api:
        found = api.get("/beta/security/secureScoreControlProfiles/BartizanUserMFA/evidence?$top=2").json()["value"]
    assert found and all("not registered" in each["reason"] for each in found)


async def test_beta(beta: BetaClient) -> None:
    """The beta SDK reads indicators, actions and alerts."""
    indicators = await beta.security.ti_indicators.get()
    assert indicators is not None and indicators.value
    alerts = await beta.security.alerts_v2.get()
    assert alerts is not None and alerts.value


async def test_errors(graph: GraphServiceClient) -> None:
    """An error arrives as the SDK's own exception, with code and request id."""
    with pytest.raises(ODataError) as caught:
        await graph.security.alerts_v2.by_alert_id("none").get()
    assert caught.value.response_status_code == 404
    assert caught.value.error is not None and caught.value.error.code
    assert caught.value.error.inner_error is not None and caught.value.error.inner_error.request_id
    parameters = _query(Alerts_v2RequestBuilder.Alerts_v2RequestBuilderGetQueryParameters, filter="nothing eq 'x'")
    with pytest.raises(ODataError) as caught:
        await graph.security.alerts_v2.get(parameters)
    assert caught.value.response_status_code == 400


async def test_delta(graph: GraphServiceClient) -> None:
    """The SDK follows a delta query from its first page to its deltaLink, and that link later."""
    page = await graph.users.delta.get()
    users = 0
    while page is not None and page.odata_next_link:
        users += len(page.value or [])
        page = await graph.users.delta.with_url(page.odata_next_link).get()
    assert page is not None and page.odata_delta_link
    users += len(page.value or [])
    assert users == await _people(graph)
    later = await graph.users.delta.with_url(page.odata_delta_link).get()
    assert later is not None and later.value == [] and later.odata_delta_link


async def _people(graph: GraphServiceClient) -> int:
    count = RequestConfiguration[Any]()
    count.headers.add("ConsistencyLevel", "eventual")
    return await graph.users.count.get(count) or 0


async def test_incident_actions(graph: GraphServiceClient) -> None:
    """Alerts are moved, incidents merged and changed; the SDK reads each answer."""
    alerts = await graph.security.alerts_v2.get()
    assert alerts is not None and alerts.value
    ids = [alert.id or "" for alert in alerts.value[:2]]
    moved = [
        await graph.security.alerts_v2.microsoft_graph_security_move_alerts.post(
            MoveAlertsPostRequestBody(alert_ids=[id], new_correlation_reasons=[CorrelationReason.SameActor])
        )
        for id in ids
    ]
    targets = [each.target_incident_id or "" for each in moved if each is not None]
    merged = await graph.security.incidents.microsoft_graph_security_merge_incidents.post(
        merging.MergeIncidentsPostRequestBody(incident_ids=targets, incident_comment="the same")
    )
    assert merged is not None and merged.target_incident_id in targets
    survivor = merged.target_incident_id or ""
    incidents = graph.security.incidents
    changed = await incidents.by_incident_id(survivor).patch(Incident(status=IncidentStatus.Resolved))
    assert changed is not None and changed.status == IncidentStatus.Resolved
    (other,) = [id for id in targets if id != survivor]
    lost = await incidents.by_incident_id(other).get()
    assert lost is not None and lost.status == IncidentStatus.Redirected
    assert lost.redirect_incident_id == survivor


async def test_named_location(graph: GraphServiceClient) -> None:
    """A named location is made, read back as its own type, changed and removed."""
    locations = graph.identity.conditional_access.named_locations
    wanted = IpNamedLocation(
        display_name="SDK", is_trusted=True, ip_ranges=[IPv4CidrRange(cidr_address="192.0.2.0/24")]
    )
    made = await locations.post(wanted)
    assert isinstance(made, IpNamedLocation) and made.id
    assert made.ip_ranges and isinstance(made.ip_ranges[0], IPv4CidrRange)
    one = locations.by_named_location_id(made.id)
    await one.patch(IpNamedLocation(display_name="SDK 2"))
    read = await one.get()
    assert read is not None and read.display_name == "SDK 2"
    await one.delete()
    with pytest.raises(ODataError):
        await one.get()


async def test_beta_actions(beta: BetaClient) -> None:
    """An action that nobody performs has failed; an alert is created by a provider; indicators come in bulk."""
    action = await beta.security.security_actions.post(
        SecurityAction(name="BlockIp", parameters=[KeyValuePair(name="ip", value="203.0.113.9")])
    )
    assert action is not None and action.id and action.status == OperationStatus.Failed
    assert action.error_info is not None and action.error_info.code == 501
    await beta.security.security_actions.by_security_action_id(action.id).cancel_security_action.post()
    new = TiIndicator(
        action=TiAction.Alert,
        description="sdk",
        domain_name="sdk.example",
        expiration_date_time=datetime.now(UTC) + timedelta(days=1),
        target_product="Azure Sentinel",
        threat_type="WatchList",
        tlp_level=TlpLevel.Green,
    )
    done = await beta.security.ti_indicators.submit_ti_indicators.post(
        submitting.SubmitTiIndicatorsPostRequestBody(value=[new])
    )
    assert done is not None and done.value and done.value[0].id and done.value[0].threat_type == "WatchList"
    ids = [done.value[0].id]
    gone = await beta.security.ti_indicators.delete_ti_indicators.post(
        deleting.DeleteTiIndicatorsPostRequestBody(value=ids)
    )
    assert gone is not None and gone.value and gone.value[0].code == 0
    profiles = await beta.security.host_security_profiles.get()
    assert profiles is not None and profiles.value and profiles.value[0].fqdn
