"""What inventories and auditors ask by Microsoft's Python SDKs, and which classes they get: Cartography, Prowler."""

import pytest
from azure.identity.aio import ClientSecretCredential
from kiota_abstractions.base_request_configuration import RequestConfiguration
from msgraph import GraphServiceClient
from msgraph.generated.groups.groups_request_builder import GroupsRequestBuilder
from msgraph.generated.models.group import Group
from msgraph.generated.models.o_data_errors.o_data_error import ODataError
from msgraph.generated.models.service_principal import ServicePrincipal
from msgraph.generated.models.user import User
from msgraph.generated.users.users_request_builder import UsersRequestBuilder
from msgraph_beta import GraphServiceClient as BetaClient
from tests.wire.conftest import SCOPE, Running

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("trust")]


async def test_inventory(graph: GraphServiceClient) -> None:
    """Cartography: the tenant, people with the id of their manager, groups with their members by class, applications
    and units, of which there may be none."""
    tenants = await graph.organization.get()
    assert tenants is not None and tenants.value and tenants.value[0].display_name
    asked = UsersRequestBuilder.UsersRequestBuilderGetQueryParameters(
        top=10, select=["id", "userPrincipalName", "assignedPlans"], expand=["manager($select=id)"]
    )
    page = await graph.users.get(RequestConfiguration(query_parameters=asked))
    people: list[User] = []
    while page is not None:
        people += page.value or []
        page = await graph.users.with_url(page.odata_next_link).get() if page.odata_next_link else None
    assert len({each.id for each in people}) == len(people) > 10
    assert {each.manager.id for each in people if each.manager is not None} & {each.id for each in people}
    wanted = GroupsRequestBuilder.GroupsRequestBuilderGetQueryParameters(
        top=999, select=["id", "displayName", "groupTypes"], expand=["members($select=id)"]
    )
    groups = await graph.groups.get(RequestConfiguration(query_parameters=wanted))
    assert groups is not None and groups.value
    members = [member for group in groups.value for member in group.members or []]
    assert any(isinstance(each, User) for each in members)
    assert all(isinstance(each, User | Group | ServicePrincipal) or each.odata_type for each in members)
    for kept in (await graph.applications.get(), await graph.directory.administrative_units.get()):
        assert kept is not None and kept.value == []


async def test_audit_of_the_configuration(graph: GraphServiceClient) -> None:
    """Prowler: policies, roles and those who hold them, what is registered; what is not kept is an error that says
    so, which it logs and goes on."""
    policies = await graph.identity.conditional_access.policies.get()
    assert policies is not None and policies.value and policies.value[0].conditions is not None
    held = await graph.role_management.directory.role_assignments.get()
    defined = await graph.role_management.directory.role_definitions.get()
    assert held is not None and held.value and defined is not None and defined.value
    assert {each.role_definition_id for each in held.value} <= {each.id for each in defined.value}
    domains = await graph.domains.get()
    assert domains is not None and domains.value and domains.value[0].is_default
    details = await graph.reports.authentication_methods.user_registration_details.get()
    assert details is not None and details.value and details.value[0].methods_registered is not None
    policy = await graph.policies.authorization_policy.get()
    assert policy is not None and policy.id == "authorizationPolicy" and policy.default_user_role_permissions
    with pytest.raises(ODataError) as refused:
        await graph.directory.attribute_sets.get()
    assert refused.value.response_status_code == 501
    assert refused.value.error is not None and refused.value.error.message


async def test_last_sign_ins(server: Running, credential: ClientSecretCredential, graph: GraphServiceClient) -> None:
    """Of people by $select, and of the sign-ins by kind: both SDKs read the same instants."""
    asked = UsersRequestBuilder.UsersRequestBuilderGetQueryParameters(
        select=["id", "userPrincipalName", "signInActivity"],
        filter="signInActivity/lastSignInDateTime ge 2020-01-01T00:00:00Z",
    )
    people = await graph.users.get(RequestConfiguration(query_parameters=asked))
    assert people is not None and people.value
    activity = people.value[0].sign_in_activity
    assert activity is not None and activity.last_sign_in_request_id is not None
    beta = BetaClient(credential, SCOPE)
    beta.request_adapter.base_url = f"{server.root}/beta"
    sign_in = await beta.audit_logs.sign_ins.by_sign_in_id(activity.last_sign_in_request_id).get()
    assert sign_in is not None and sign_in.created_date_time == activity.last_sign_in_date_time
    assert sign_in.sign_in_event_types == ["interactiveUser"]
    await beta.request_adapter._http_client.aclose()
