"""Microsoft's own Python SDK reads what governs a tenant: its models find their types and values in our answers."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from kiota_abstractions.base_request_configuration import RequestConfiguration
from msgraph import GraphServiceClient
from msgraph.generated.models.allow_invites_from import AllowInvitesFrom
from msgraph.generated.models.authentication_method_state import AuthenticationMethodState
from msgraph.generated.models.compliance_state import ComplianceState
from msgraph.generated.models.fido2_authentication_method_configuration import Fido2AuthenticationMethodConfiguration
from msgraph.generated.models.unified_role_management_policy_enablement_rule import (
    UnifiedRoleManagementPolicyEnablementRule,
)
from msgraph.generated.models.user import User
from msgraph.generated.policies.role_management_policies.role_management_policies_request_builder import (
    RoleManagementPoliciesRequestBuilder as Policies,
)
from msgraph.generated.role_management.directory.role_eligibility_schedule_instances import (
    role_eligibility_schedule_instances_request_builder as eligible,
)
from tests.wire.conftest import Running

SCOPE = ["https://graph.microsoft.com/.default"]
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def graph(server: Running) -> AsyncIterator[GraphServiceClient]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(server.ca))
        patch.setenv("REQUESTS_CA_BUNDLE", str(server.ca))
        credential = server.credential()
        client = GraphServiceClient(credential, SCOPE)
        client.request_adapter.base_url = f"{server.root}/v1.0"
        yield client
        await client.request_adapter._http_client.aclose()  # the SDK leaves it open
        await credential.close()


async def test_policies(graph: GraphServiceClient) -> None:
    policy = await graph.policies.authorization_policy.get()
    assert policy is not None and policy.allow_invites_from is AllowInvitesFrom.AdminsAndGuestInviters
    assert policy.default_user_role_permissions is not None
    assert policy.default_user_role_permissions.allowed_to_create_tenants is False
    defaults = await graph.policies.identity_security_defaults_enforcement_policy.get()
    assert defaults is not None and defaults.is_enabled is False
    methods = await graph.policies.authentication_methods_policy.get()
    assert methods is not None and methods.authentication_method_configurations
    configurations = graph.policies.authentication_methods_policy.authentication_method_configurations
    one = await configurations.by_authentication_method_configuration_id("Fido2").get()
    assert isinstance(one, Fido2AuthenticationMethodConfiguration)
    assert one.state is AuthenticationMethodState.Enabled and one.include_targets[0].id == "all_users"
    partners = await graph.policies.cross_tenant_access_policy.partners.get()
    assert partners.value[0].tenant_id and partners.value[0].inbound_trust.is_mfa_accepted is True
    strengths = await graph.policies.authentication_strength_policies.get()
    assert strengths.value[0].allowed_combinations


async def test_roles(graph: GraphServiceClient) -> None:
    """The principal of whatever type, the definition, and the rules of a role."""
    asked: Any = eligible.RoleEligibilityScheduleInstancesRequestBuilder
    query = asked.RoleEligibilityScheduleInstancesRequestBuilderGetQueryParameters(
        expand=["principal", "roleDefinition"]
    )
    found = await graph.role_management.directory.role_eligibility_schedule_instances.get(
        RequestConfiguration(query_parameters=query)
    )
    (instance,) = found.value
    assert isinstance(instance.principal, User) and instance.principal.user_principal_name
    assert instance.role_definition.display_name == "Global Administrator" and instance.start_date_time is not None
    rules = Policies.RoleManagementPoliciesRequestBuilderGetQueryParameters(
        filter="scopeId eq '/' and scopeType eq 'DirectoryRole'", expand=["rules"]
    )
    policies = await graph.policies.role_management_policies.get(RequestConfiguration(query_parameters=rules))
    kinds = [rule for rule in policies.value[0].rules if isinstance(rule, UnifiedRoleManagementPolicyEnablementRule)]
    assert kinds[0].enabled_rules == ["Justification"]


async def test_devices_and_sums(graph: GraphServiceClient) -> None:
    devices = await graph.device_management.managed_devices.get()
    assert {each.compliance_state for each in devices.value} <= {
        ComplianceState.Compliant,
        ComplianceState.Noncompliant,
    }
    assert devices.value[0].last_sync_date_time is not None
    root = graph.reports.authentication_methods
    sums = await root.users_registered_by_feature.get()
    assert sums.total_user_count > 0 and len(sums.user_registration_feature_counts) == 5
    issues = await graph.security.identities.health_issues.get()
    assert issues.value[0].sensor_d_n_s_names
