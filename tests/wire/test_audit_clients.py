"""Clients that search the audit log, read requests for roles and what was deleted, and keep to OData's smaller print:
what each sends, letter by letter, and what it reads of the answer.

Source: the clients' own repositories and documentation, read in 2026: Microsoft-Extractor-Suite (Get-UALGraph), CIPP
(audit log searches), scripts of the audit log query API, Microsoft Graph PowerShell, the Microsoft 365 CLI, hamilton
(Terraform azuread 2), readers of Privileged Identity Management, Microsoft's SDK for Python.
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio
from msgraph import GraphServiceClient
from msgraph.generated.models.security.audit_log_query import AuditLogQuery
from msgraph.generated.models.security.audit_log_query_status import AuditLogQueryStatus
from msgraph.generated.models.security.audit_log_record_type import AuditLogRecordType
from tests.wire.conftest import Running, says_why
from tests.wire.test_client_rows import Row, check

_NOW = datetime.now(UTC)
_START, _END = (f"{_NOW + timedelta(days=days):%Y-%m-%dT%H:%M:%S}" for days in (-90, 1))
_QUERIES = "/security/auditLog/queries"
_ROLES = "roleManagement/directory"
_PIM = "identityGovernance/privilegedAccess/group"
_BARE = {"accept": "application/json;odata.metadata=none"}
_EVENTUAL = {"ConsistencyLevel": "eventual"}

EXTRACTOR = {
    "@odata.type": "#microsoft.graph.security.auditLogQuery",
    "displayName": "Test",
    "filterStartDateTime": f"{_START}Z",
    "filterEndDateTime": f"{_END}Z",
    "recordTypeFilters": [],
    "keywordFilter": "",
    "serviceFilter": "AzureActiveDirectory",
    "operationFilters": [],
    "userPrincipalNameFilters": [],
    "ipAddressFilters": [],
    "objectIdFilters": [],
    "administrativeUnitIdFilters": [],
    "status": "",
}
CIPP = {  # dates without a zone, here and below
    "displayName": "CIPP Audit Search V2 - 2026-11-29 12:00:00",
    "filterStartDateTime": _START,
    "filterEndDateTime": _END,
    "recordTypeFilters": [
        "exchangeAdmin",
        "azureActiveDirectory",
        "azureActiveDirectoryAccountLogon",
        "azureActiveDirectoryStsLogon",
    ],
}
SCRIPT = {
    "@odata.type": "#microsoft.graph.security.auditLogQuery",
    "displayName": "Audit Job",
    "filterStartDateTime": _START,
    "filterEndDateTime": _END,
    "recordTypeFilters": ["azureActiveDirectory"],
    "operationFilters": ["Add user", "add application"],
}


@pytest.mark.parametrize(
    ("version", "body", "top"),
    [("beta", EXTRACTOR, ""), ("beta", CIPP, "?$top=999"), ("v1.0", SCRIPT, "?$top=100&$count=true")],
    ids=["extractor-suite", "cipp", "script"],
)
def test_audit_search(api: httpx.Client, version: str, body: dict[str, Any], top: str) -> None:
    """Made, polled until it has succeeded, its records read to the end by nextLink, deleted."""
    made = api.post(f"/{version}{_QUERIES}", json=body)
    assert made.status_code == 201, made.text
    path = f"/{version}{_QUERIES}/{made.json()['id']}"
    assert api.get(path).json()["status"] == "succeeded"
    records: list[dict[str, Any]] = []
    link: str | None = f"{path}/records{top}"
    while link:
        page = api.get(link)
        assert page.status_code == 200, page.text
        records += page.json()["value"]
        link = page.json().get("@odata.nextLink")
    assert len({each["id"] for each in records}) == len(records) > 0
    assert [each["createdDateTime"] for each in records] == sorted(
        (each["createdDateTime"] for each in records), reverse=True
    )
    for each in records:
        assert {"id", "createdDateTime", "auditLogRecordType", "operation", "userType", "userId", "service"} <= set(
            each
        )
        assert {"CreationTime", "Id", "Operation", "RecordType", "UserId", "Workload"} <= set(each["auditData"]), each
        assert each["auditData"]["Operation"] == each["operation"] and each["service"] == "AzureActiveDirectory"
    assert api.request("DELETE", path, json={}).status_code == 204  # with a body, as CIPP sends it
    assert api.get(path).status_code == 404


ROWS = [
    Row("cipp-searches", f"/beta{_QUERIES}?$filter=startswith(displayName,'No such search')&$top=999", some=False),
    Row("unused-applications", "/beta/reports/servicePrincipalSignInActivities?$top=9", ["appId"]),
    Row("unused-credentials", "/beta/reports/appCredentialSignInActivities?$top=999", ["appId", "keyId"]),
    Row("grants-expanded", "/v1.0/servicePrincipals?$expand=oauth2PermissionGrants&$top=1", ["oauth2PermissionGrants"]),
    *(
        Row(
            f"roles-through-groups-{version}",
            f"/{version}/{_ROLES}/transitiveRoleAssignments?$count=true&$filter=principalId eq '<group>'",
            some=False,
            headers=_EVENTUAL,
        )
        for version in ("v1.0", "beta")
    ),
    *(
        Row(f"pim-{name}", f"/{version}/{_ROLES}/{name}?$filter={filter}&$expand={expand}", some=False)
        for version in ("v1.0", "beta")
        for name in ("roleAssignmentScheduleRequests", "roleEligibilityScheduleRequests")
        for filter, expand in (
            ("status eq 'PendingApproval'", "principal,roleDefinition"),
            ("principalId eq 'x' and createdDateTime ge 2024-01-01T00:00:00Z", "*"),
        )
    ),
    *(
        Row(f"pim-groups-{word}", f"/v1.0/{_PIM}/{word}ScheduleRequests?$filter=groupId eq 'x'", some=False)
        for word in ("assignment", "eligibility")
    ),
    *(
        Row(f"recycle-bin-{kind}", f"/v1.0/directory/deletedItems/microsoft.graph.{kind}?{options}", some=True)
        for kind in ("user", "group", "application", "servicePrincipal", "administrativeUnit", "device")
        for options in (
            "$select=id,displayName,deletedDateTime&$top=999",
            "$filter=deletedDateTime ge 2024-01-01T00:00:00Z&$orderby=deletedDateTime desc&$count=true",
        )
    ),
    Row(
        "recycle-bin-search",
        '/v1.0/directory/deletedItems/microsoft.graph.user?$search="displayName:ada"&$count=true',
        some=False,
        headers=_EVENTUAL,
    ),
    Row(
        "members-sorted",
        "/v1.0/groups/<group>/members?$orderby=displayName&$count=true&$top=5",
        ["id"],
        True,
        _EVENTUAL,
    ),
    Row("members-sorted-plainly", "/v1.0/groups/<group>/members?$orderby=displayName desc&$select=id", ["id"]),
    Row("cli-users", "/v1.0/users?$select=id,userPrincipalName&$top=100", ["id", "userPrincipalName"], True, _BARE),
    Row("cli-alerts", "/v1.0/security/alerts_v2?$top=5", ["id", "title", "evidence"], True, _BARE),
    Row("cli-incidents", "/v1.0/security/incidents?$expand=alerts&$top=2", ["id", "alerts"], True, _BARE),
]


@pytest.fixture(scope="module")
def group(api: httpx.Client) -> str:
    found = api.get("/v1.0/groups?$expand=members&$top=50").json()["value"]
    return str(next(each["id"] for each in found if each["members"]))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.client)
def test_list(api: httpx.Client, group: str, row: Row) -> None:
    check(api, Row(row.client, row.url.replace("<group>", group), row.keys, row.some, row.headers))


def test_bare_documents(api: httpx.Client) -> None:
    """The Microsoft 365 CLI shows every key that comes: none of OData's, at any depth, but the link to go on."""
    answer = api.get("/v1.0/security/incidents?$expand=alerts&$top=1", headers=_BARE)
    assert "odata.metadata=none" in answer.headers["content-type"]
    assert "@odata.nextLink" in answer.json() and answer.text.count("@odata.") == 1
    following = api.get(answer.json()["@odata.nextLink"], headers=_BARE)
    assert following.status_code == 200 and following.json()["value"], following.text


def test_comments_are_read_where_they_are_added(api: httpx.Client) -> None:
    """What a case-management connector that mirrors comments does, of alerts and of incidents."""
    for path in ("security/alerts_v2", "security/incidents"):
        id = api.get(f"/v1.0/{path}?$top=1&$select=id").json()["value"][0]["id"]
        body = {"@odata.type": "microsoft.graph.security.alertComment", "comment": "Seen by the night shift"}
        assert api.post(f"/v1.0/{path}/{id}/comments", json=body).status_code == 200
        for version in ("v1.0", "beta"):
            read = api.get(f"/{version}/{path}/{id}/comments")
            assert read.status_code == 200 and read.json()["value"][-1]["comment"] == body["comment"], read.text
            assert {"comment", "createdByDisplayName", "createdDateTime"} <= read.json()["value"][-1].keys()


@pytest.mark.parametrize(
    ("client", "method", "url", "status", "says"),
    [
        ("hamilton-deleted", "GET", "/v1.0/directory/deletedItems/no-such-object", 404, "does not exist"),
        ("restore", "POST", "/v1.0/directory/deletedItems/x/restore", 501, "directory"),
        ("purge", "DELETE", "/v1.0/directory/deletedItems/x", 501, "nothing performs it"),
        ("activation", "POST", f"/beta/{_ROLES}/roleAssignmentScheduleRequests", 400, "nothing carries out"),
        ("approval", "POST", f"/v1.0/{_PIM}/assignmentScheduleRequests/x/cancel", 501, "nothing carries out"),
        (
            "own-roles",
            "GET",
            f"/v1.0/{_ROLES}/roleEligibilityScheduleInstances/filterByCurrentUser(on='principal')",
            400,
            "delegated",
        ),
        ("audit-units", "POST", f"/beta{_QUERIES}", 400, "do not tell units"),
        ("threat-submission", "POST", "/beta/security/threatSubmission/emailThreats", 405, "its own service"),
        ("teams", "GET", "/v1.0/teams", 405, "detection and response"),
    ],
)
def test_what_is_refused_says_why(
    api: httpx.Client, client: str, method: str, url: str, status: int, says: str
) -> None:
    body = {"administrativeUnitIdFilters": ["x"]} if "auditLog" in url else {}
    says_why(api.request(method, url, json=None if method in ("GET", "DELETE") else body), client, status, says)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def graph(server: Running) -> AsyncIterator[GraphServiceClient]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(server.ca))
        patch.setenv("REQUESTS_CA_BUNDLE", str(server.ca))
        credential = server.credential()
        client = GraphServiceClient(credential, ["https://graph.microsoft.com/.default"])
        client.request_adapter.base_url = f"{server.root}/v1.0"
        yield client
        await client.request_adapter._http_client.aclose()  # the SDK leaves it open
        await credential.close()


@pytest.mark.asyncio(loop_scope="module")
async def test_sdk(graph: GraphServiceClient) -> None:
    """The snippets of the documentation: a query, its status, its records with their types."""
    asked = AuditLogQuery(
        odata_type="#microsoft.graph.security.auditLogQuery",
        display_name="From the SDK",
        filter_start_date_time=_NOW - timedelta(days=30),
        filter_end_date_time=_NOW + timedelta(days=1),
        record_type_filters=[AuditLogRecordType.AzureActiveDirectoryStsLogon],
        operation_filters=["UserLoggedIn"],
        status=AuditLogQueryStatus.NotStarted,
    )
    made: Any = await graph.security.audit_log.queries.post(asked)
    assert made.status is AuditLogQueryStatus.Succeeded
    one = graph.security.audit_log.queries.by_audit_log_query_id(made.id)
    records: Any = await one.records.get()
    assert records.value and records.value[0].audit_log_record_type is AuditLogRecordType.AzureActiveDirectoryStsLogon
    assert records.value[0].created_date_time is not None and records.value[0].user_principal_name
    assert records.value[0].audit_data.additional_data["Workload"] == "AzureActiveDirectory"
    again: Any = await one.records.by_audit_log_record_id(records.value[0].id).get()
    assert again.operation == "UserLoggedIn"
    every: Any = await graph.security.audit_log.queries.get()
    assert made.id in {each.id for each in every.value}
    await one.delete()
