"""Hunting on a started server: by Microsoft's SDK, over plain HTTP, at the command line; and what it refuses."""

import asyncio
import json
import os
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from msgraph import GraphServiceClient
from msgraph.generated.models.o_data_errors.o_data_error import ODataError
from msgraph.generated.security.microsoft_graph_security_run_hunting_query import (
    run_hunting_query_post_request_body as hunting,
)
from tests.wire.conftest import Running

from bartizan.sources.tables import TABLES

SCOPE = ["https://graph.microsoft.com/.default"]
BODY = hunting.RunHuntingQueryPostRequestBody
PATH = "/v1.0/security/runHuntingQuery"
LIMIT_S = 90.0  # on a busy machine; on an idle one it takes two seconds


def hunted(api: httpx.Client, query: str, **more: str) -> dict[str, Any]:
    answer = api.post(PATH, json={"Query": query, **more})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def soon(api: httpx.Client, query: str, enough: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    """The rows, as soon as they are enough: events become searchable a little after they are stored."""
    end = time.monotonic() + LIMIT_S
    while True:
        rows: list[dict[str, Any]] = hunted(api, query)["results"]
        if enough(rows):
            return rows
        assert time.monotonic() < end, rows
        time.sleep(0.5)


@pytest.fixture(scope="module")
def api(server: Running) -> Iterator[httpx.Client]:
    with server.api() as client:
        client.timeout = httpx.Timeout(100.0)
        yield client


def test_sign_ins_of_the_sample_are_there(api: httpx.Client, server: Running) -> None:
    query = "SigninLogs | summarize n = count(), users = dcount(UserPrincipalName)"
    rows = soon(api, query, lambda rows: rows[0]["n"] > 0)
    stored = api.get("/v1.0/auditLogs/signIns?$top=1&$count=true", headers={"ConsistencyLevel": "eventual"})
    assert rows[0]["n"] <= stored.json()["@odata.count"] and rows[0]["users"] > 0
    said = json.loads(server.command("hunt", query, "--json"))
    assert said["results"][0]["n"] >= rows[0]["n"]


def test_records_of_a_source_are_searchable(api: httpx.Client, server: Running) -> None:
    lines = [
        json.dumps({"timestamp": "2026-11-23T04:50:30.123+0000", "event_type": "dns", "src_ip": f"10.9.8.{n}",
                    "dest_ip": "9.9.9.9", "flow_id": n, "dns": {"type": "query", "rrname": f"hunted{n}.example"}})
        for n in range(1, 6)
    ]  # fmt: skip
    answer = api.post("/ingest/suricata_eve", content="\n".join(lines))
    assert answer.status_code == 200, answer.text
    query = "search 'hunted3.example' | where $table != 'AuditLogs' | project $table"
    assert len(soon(api, query, lambda rows: len(rows) >= 1)) >= 1
    table = next(iter(TABLES))  # those that sources declare are known at the command line, too
    assert json.loads(server.command("hunt", f"{table} | take 0", "--json"))["results"] == []


def test_alerts_and_their_evidence_are_tables(api: httpx.Client) -> None:
    query = "AlertInfo | join kind=inner AlertEvidence on AlertId | summarize n = count() by Severity"
    assert soon(api, query, lambda rows: sum(row["n"] for row in rows) > 0)


def noted(more: dict[str, Any]) -> list[str]:
    """What the answer says of its values, where the SDK puts what it does not know."""
    notes: list[str] = more.get("@bartizan.notes", [])
    return notes


@pytest.mark.asyncio
async def test_microsoft_s_sdk_hunts(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(server.ca))
    credential = server.credential()
    async with credential:
        client = GraphServiceClient(credential, SCOPE)
        client.request_adapter.base_url = f"{server.root}/v1.0"
        builder = client.security.microsoft_graph_security_run_hunting_query
        answer = await builder.post(BODY(query="print a = 1, b = 'x', c = datetime(2020-01-01)"))
        assert answer is not None and answer.schema is not None and answer.results is not None
        assert [(each.name, each.type) for each in answer.schema] == [
            ("a", "Int64"), ("b", "String"), ("c", "DateTime"),
        ]  # fmt: skip
        assert answer.results[0].additional_data["a"] == 1 and not noted(answer.additional_data)
        united = await builder.post(BODY(query="union (print s = 1), (print s = 2), (print s = 'x')"))
        assert united is not None and united.results is not None and len(united.results) == 3
        assert "name s_string in the query" in noted(united.additional_data)[0]
        with pytest.raises(ODataError) as caught:
            await builder.post(BODY(query="print a = 1 | where nope > 1"))
        assert caught.value.error is not None and "line 1, column 21" in str(caught.value.error.message)
        await client.request_adapter._http_client.aclose()  # the SDK leaves it open


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"Query": "AuditLogs | wher x"}, "line 1, column 13"),
        ({"Query": "NoSuchTable | take 1"}, "NoSuchTable"),
        ({"Query": "database('other').AuditLogs | take 1"}, "database"),
        ({"Query": "print 1", "Timespan": "yesterday"}, "ISO 8601"),
        ({"Timespan": "P1D"}, "query"),
        ({"Query": 7}, "query"),
        ({"Query": "externaldata(a: string)['https://example.org/x.csv']"}, "externaldata"),
    ],
)
def test_what_is_refused(api: httpx.Client, body: dict[str, Any], words: str) -> None:
    answer = api.post(PATH, json=body)
    assert answer.status_code == 400, answer.text
    assert words.lower() in answer.json()["error"]["message"].lower()


def test_names_of_the_operation_and_keys_in_any_case(api: httpx.Client) -> None:
    for path in ("/beta/security/microsoft.graph.security.runHuntingQuery", "/v1.0/security/RunHuntingQuery"):
        answer = api.post(path, json={"query": "print x = 1"})
        assert answer.status_code == 200 and answer.json()["results"] == [{"x": 1}], answer.text
    called = api.get("/beta/security/microsoft.graph.security.getRunHuntingQuery(query='print x = 2')")
    assert called.status_code == 200 and called.json()["results"] == [{"x": 2}], called.text
    tables = api.get("/beta/security/getHuntingSchemaTables()").json()["value"]
    shown = {each["name"]: {column["name"] for column in each["columns"]} for each in tables}
    assert "UserPrincipalName" in shown["SigninLogs"] and "EntraIdDeviceId" in shown["EntraIdSignInEvents"]


def test_a_timespan_bounds_every_table(api: httpx.Client) -> None:
    every = soon(api, "SigninLogs | count", lambda rows: rows[0]["Count"] > 0)[0]["Count"]
    none = hunted(api, "SigninLogs | count", Timespan="2001-01-01/2001-01-02")["results"]
    assert none == [{"Count": 0}]
    assert hunted(api, "SigninLogs | count", Timespan="2001-01-01/P20000D")["results"][0]["Count"] >= every


def test_another_tenant_sees_its_own(api: httpx.Client, server: Running) -> None:
    soon(api, "SigninLogs | count", lambda rows: rows[0]["Count"] > 0)
    server.command("tenant", "add", "hunted.example")
    app = json.loads(server.command("app", "add", "other hunter", "--all", "--tenant", "hunted.example"))
    form = {
        "grant_type": "client_credentials", "client_id": app["clientId"], "client_secret": app["clientSecret"],
        "scope": "https://graph.microsoft.com/.default",
    }  # fmt: skip
    with server.http() as client:
        token = client.post(f"/{app['tenantId']}/oauth2/v2.0/token", data=form).json()["access_token"]
    with server.http(Authorization=f"Bearer {token}") as other:
        other.timeout = httpx.Timeout(100.0)
        assert hunted(other, "SigninLogs | count")["results"] == [{"Count": 0}]
        query = "union withsource=T * | where T != 'AuditLogs' | count"
        assert hunted(other, query)["results"] == [{"Count": 0}]


def test_who_may_not_hunt(server: Running) -> None:
    app = json.loads(server.command("app", "add", "no hunter", "--permission", "SecurityAlert.Read.All"))
    with server.http(Authorization=f"Bearer {server.token(app['clientId'], app['clientSecret'])}") as client:
        assert client.post(PATH, json={"Query": "print 1"}).status_code == 403
    with server.http() as client:
        assert client.post(PATH, json={"Query": "print 1"}).status_code == 401


def test_each_hunt_is_in_the_audit(api: httpx.Client) -> None:
    query = f"print told = '{os.urandom(6).hex()}'"
    hunted(api, query)
    entries = api.get("/v1.0/auditLogs/directoryAudits?$filter=activityDisplayName eq 'Run hunting query'&$top=50")
    assert query in json.dumps(entries.json()["value"]).replace('\\\\\\"', '"').replace('\\"', '"')


def test_a_client_that_leaves_ends_its_hunt(api: httpx.Client, server: Running) -> None:
    """Its process is gone, and the next hunt runs at once."""
    pairs = "range x from 1 to 100000 step 1 | extend k = 1"
    slow = f"{pairs} | join kind=inner ({pairs}) on k | where hash_sha256(strcat(x, x1)) startswith 'zz' | count"

    async def left() -> None:
        context = ssl.create_default_context(cafile=str(server.ca))
        async with httpx.AsyncClient(base_url=server.root, verify=context, headers=dict(api.headers)) as client:
            with pytest.raises(httpx.ReadTimeout):
                await client.post(PATH, json={"Query": slow}, timeout=1.5)

    for _ in range(3):
        asyncio.run(left())
    began = time.monotonic()
    assert hunted(api, "print 1")["results"] == [{"print_0": 1}]
    assert time.monotonic() - began < 30
