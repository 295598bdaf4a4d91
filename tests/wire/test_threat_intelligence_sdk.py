"""Threat intelligence by Microsoft's Python SDKs: a host, its reputation and its records, by class."""

import pytest
from azure.identity.aio import ClientSecretCredential
from msgraph import GraphServiceClient
from msgraph.generated.models.o_data_errors.o_data_error import ODataError
from msgraph.generated.models.security.host import Host
from msgraph.generated.models.security.host_reputation_classification import HostReputationClassification
from msgraph.generated.models.security.hostname import Hostname
from msgraph.generated.models.security.ip_address import IpAddress
from msgraph.generated.models.security.passive_dns_record import PassiveDnsRecord
from msgraph_beta import GraphServiceClient as BetaClient
from tests.wire.conftest import SCOPE, Running

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("trust")]


async def test_a_host(graph: GraphServiceClient) -> None:
    """Told by the SDK's own class, read back with what its records lead to."""
    ti = graph.security.threat_intelligence
    made = await ti.hosts.post(Hostname(id="sdk.example.com", registrar="Registrar Inc."))
    assert isinstance(made, Hostname)
    record = PassiveDnsRecord(
        id="sdk-dns", record_type="A", parent_host=Host(id="SDK.example.com"), artifact=IpAddress(id="198.51.100.77")
    )
    assert await ti.passive_dns_records.post(record) is not None
    host = await ti.hosts.by_host_id("sdk.example.com").get()
    assert isinstance(host, Hostname) and host.registrar == "Registrar Inc."
    told = await ti.hosts.by_host_id("sdk.example.com").passive_dns.get()
    assert told is not None and told.value is not None
    assert isinstance(told.value[0].artifact, IpAddress) and told.value[0].artifact.id == "198.51.100.77"
    assert isinstance(await ti.hosts.by_host_id("198.51.100.77").get(), IpAddress)


async def test_a_reputation(graph: GraphServiceClient, server: Running) -> None:
    """Unknown for what nobody has seen, malicious for what an indicator in force names."""
    hosts = graph.security.threat_intelligence.hosts
    unknown = await hosts.by_host_id("nobody.example.com").reputation.get()
    assert unknown is not None and unknown.classification == HostReputationClassification.Unknown
    assert (unknown.score, unknown.rules) == (0, [])
    new = {
        "domainName": "sdk-c2.example.com",
        "threatType": "C2",
        "confidence": 90,
        "action": "alert",
        "description": "a server that commands",
        "expirationDateTime": "2100-01-01T00:00:00Z",
        "targetProduct": "Azure Sentinel",
        "tlpLevel": "white",
    }
    with server.api() as api:
        assert api.post("/beta/security/tiIndicators", json=new).status_code == 201
    found = await hosts.by_host_id("sdk-c2.example.com").reputation.get()
    assert found is not None and found.classification == HostReputationClassification.Malicious
    assert found.score == 80 and found.rules and found.rules[0].related_details_url
    with pytest.raises(ODataError) as caught:
        await hosts.by_host_id("nobody.example.com").get()
    assert caught.value.response_status_code == 404


async def test_beta(server: Running, credential: ClientSecretCredential) -> None:
    """The beta SDK reads the same."""
    client = BetaClient(credential, SCOPE)
    client.request_adapter.base_url = f"{server.root}/beta"
    found = await client.security.threat_intelligence.hosts.by_host_id("sdk.example.com").reputation.get()
    assert found is not None and found.score == 0
    articles = await client.security.threat_intelligence.articles.get()
    assert articles is not None and articles.value and articles.value[0].title
    await client.request_adapter._http_client.aclose()
