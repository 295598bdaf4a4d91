"""Evidence as legacy states, and states as evidence."""

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.model.test_edm_properties import inner_objects

from bartizan.model import evidence, from_legacy, legacy
from bartizan.model import security as graph
from bartizan.model.edm import Version, edm


def states(*items: graph.AlertEvidence, **extras: Any) -> dict[str, list[dict[str, Any]]]:
    return legacy.states([msgspec.to_builtins(item) for item in items], extras)


def test_a_device_is_a_hostState() -> None:
    device = graph.DeviceEvidence(
        deviceDnsName="pc1.corp.example",
        osPlatform="Windows11",
        version="22H2",
        ipInterfaces=["fe80::1", "10.0.0.1"],
        lastIpAddress="10.0.0.1",
        lastExternalIpAddress="8.8.8.8",
        riskScore="high",
    )
    assert states(device) == {
        "hostStates": [
            {
                "fqdn": "pc1.corp.example",
                "netBiosName": "pc1",
                "os": "Windows11 22H2",
                "privateIpAddress": "10.0.0.1",
                "publicIpAddress": "8.8.8.8",
                "riskScore": "high",
            }
        ]
    }


def test_a_public_address_of_a_device_is_no_private_one() -> None:
    assert states(graph.DeviceEvidence(hostName="h", lastIpAddress="8.8.8.8"))["hostStates"] == [
        {"netBiosName": "h", "publicIpAddress": "8.8.8.8"}
    ]


def test_an_account_is_a_userState_and_a_process_names_it_too() -> None:
    account = graph.UserAccount(userPrincipalName="ann@corp.example", userSid="S-1-5-21-1", azureAdUserId="7")
    user = graph.UserEvidence(userAccount=account)
    process = graph.ProcessEvidence(
        processId=2**40, processCommandLine="x", userAccount=graph.UserAccount(accountName="ANN")
    )
    made = states(user, process)
    assert made["userStates"] == [
        {
            "aadUserId": "7",
            "accountName": "ann",
            "onPremisesSecurityIdentifier": "S-1-5-21-1",
            "userPrincipalName": "ann@corp.example",
        }
    ]
    assert made["processes"] == [{"accountName": "ANN", "commandLine": "x"}]


def test_one_connection_shows_its_name_on_the_net() -> None:
    flow = graph.NetworkConnectionEvidence(
        sourceAddress=graph.IpEvidence(ipAddress="10.0.0.1", roles=["source"]),
        sourcePort=50_000,
        destinationAddress=graph.IpEvidence(
            ipAddress="192.0.2.1", location=graph.GeoLocation(city="Bern", countryName="Switzerland")
        ),
        destinationPort=443,
        protocol="tcp",
        remediationStatus="blocked",
    )
    lone = graph.IpEvidence(ipAddress="192.0.2.1")
    link = graph.UrlEvidence(url="https://evil.example/x")
    name = graph.DnsEvidence(domainName="Evil.example")
    assert states(flow, lone, link, name)["networkConnections"] == [
        {
            "sourceAddress": "10.0.0.1",
            "sourcePort": "50000",
            "destinationAddress": "192.0.2.1",
            "destinationLocation": "Bern, Switzerland",
            "destinationPort": "443",
            "protocol": "tcp",
            "status": "blocked",
            "destinationUrl": "https://evil.example/x",
            "destinationDomain": "evil.example",
        }
    ]


def test_addresses_and_names_that_stand_alone_are_connections_of_their_own() -> None:
    made = states(
        graph.IpEvidence(ipAddress="192.0.2.1", roles=["attacker"]),
        graph.IpEvidence(ipAddress="192.0.2.2", roles=["commandAndControl"]),
        graph.UrlEvidence(url="https://a.example/"),
        graph.DnsEvidence(domainName="b.example", ipAddresses=[graph.IpEvidence(ipAddress="192.0.2.3")]),
    )
    assert made == {
        "networkConnections": [
            {"sourceAddress": "192.0.2.1"},
            {"destinationAddress": "192.0.2.2"},
            {"destinationUrl": "https://a.example/", "destinationDomain": "a.example"},
            {"destinationDomain": "b.example", "destinationAddress": "192.0.2.3"},
        ]
    }


def test_each_hash_of_a_file_is_a_fileState_and_an_image_is_a_file() -> None:
    details = graph.FileDetails(fileName="a.exe", filePath="C:\\a.exe", sha256="a" * 64, md5="b" * 32)
    made = states(graph.ProcessEvidence(imageFile=details), graph.FileEvidence(fileDetails=details))
    about = {"name": "a.exe", "path": "C:\\a.exe"}
    assert made["fileStates"] == [
        {**about, "fileHash": {"hashType": "sha256", "hashValue": "a" * 64}},
        {**about, "fileHash": {"hashType": "md5", "hashValue": "b" * 32}},
    ]
    assert made["processes"] == [{**about, "fileHash": {"hashType": "sha256", "hashValue": "a" * 64}}]


def test_a_registry_value_finds_its_hive() -> None:
    value = graph.RegistryValueEvidence(
        registryHive="HKEY_LOCAL_MACHINE",
        registryKey="SOFTWARE\\Run",
        registryValueName="x",
        registryValueType="REG_EXPAND_SZ",
        roles=["created"],
    )
    assert states(value)["registryKeyStates"] == [
        {
            "hive": "localMachineSoftware",
            "key": "SOFTWARE\\Run",
            "valueName": "x",
            "valueType": "expandSz",
            "operation": "create",
        }
    ]


def test_a_message_gives_its_state_and_both_accounts() -> None:
    mail = graph.AnalyzedMessageEvidence(
        networkMessageId="n1",
        subject="Hi",
        senderIp="192.0.2.9",
        recipientEmailAddress="ann@example.org",
        p1Sender=graph.EmailSender(emailAddress="ann@example.org"),
        deliveryAction="Delivered",
    )
    made = states(mail)
    assert made["messageSecurityStates"] == [
        {"connectingIP": "192.0.2.9", "deliveryAction": "Delivered", "messageSubject": "Hi", "networkMessageId": "n1"}
    ]
    assert [(one["userPrincipalName"], one["emailRole"]) for one in made["userStates"]] == [
        ("ann@example.org", "sender"),
        ("ann@example.org", "recipient"),
    ]


def test_cloud_and_kubernetes_are_securityResources_and_apps_are_cloudAppStates() -> None:
    space = graph.KubernetesNamespaceEvidence(name="ns", cluster=graph.KubernetesClusterEvidence(name="k1"))
    made = states(
        graph.AmazonResourceEvidence(amazonResourceId="arn:aws:s3:::b", roles=["attacked"]),
        graph.KubernetesPodEvidence(name="pod", namespace=space),
        graph.ContainerEvidence(containerId="c1", image=graph.ContainerImageEvidence(imageId="img")),
        graph.CloudApplicationEvidence(displayName="Drive"),
        graph.GitHubRepoEvidence(baseUrl="https://github.com/o/r"),
    )
    assert made["cloudAppStates"] == [{"destinationServiceName": "Drive"}]
    assert made["securityResources"] == [
        {"resource": "arn:aws:s3:::b", "resourceType": "attacked"},
        {"resource": "k1/ns/pod", "resourceType": "related"},
        {"resource": "c1", "resourceType": "related"},
        {"resource": "img", "resourceType": "related"},
        {"resource": "https://github.com/o/r", "resourceType": "related"},
    ]


def test_a_sign_in_of_one_account_from_one_address_says_so() -> None:
    made = states(
        graph.UserEvidence(userAccount=graph.UserAccount(userPrincipalName="ann@example.org")),
        graph.IpEvidence(ipAddress="192.0.2.1", roles=["source"], countryLetterCode="CH"),
        graph.CloudLogonRequestEvidence(requestId="r1"),
    )
    (user,) = made["userStates"]
    assert (user["logonIp"], user["logonLocation"]) == ("192.0.2.1", "CH")


def test_a_sources_own_states_complete_the_rendered_ones() -> None:
    flow = graph.NetworkConnectionEvidence(
        sourceAddress=graph.IpEvidence(ipAddress="10.0.0.1"), destinationAddress=graph.IpEvidence(ipAddress="192.0.2.1")
    )
    user = graph.UserEvidence(userAccount=graph.UserAccount(accountName="ann"))
    made = states(
        flow,
        user,
        networkConnections=[{"direction": "inbound", "status": "blocked"}],
        userStates=[{"accountName": "ANN", "logonType": "network"}, {"accountName": "bob"}],
        malwareStates=[{"name": "Emotet", "wasRunning": True}],
    )
    assert made["networkConnections"] == [
        {"sourceAddress": "10.0.0.1", "destinationAddress": "192.0.2.1", "direction": "inbound", "status": "blocked"}
    ]
    assert made["userStates"] == [{"accountName": "ANN", "logonType": "network"}, {"accountName": "bob"}]
    assert made["malwareStates"] == [{"name": "Emotet", "wasRunning": True}]


def test_states_become_the_evidence_that_they_came_from() -> None:
    given: dict[str, Any] = {
        "hostStates": [{"fqdn": "pc1.corp.example", "netBiosName": "pc1", "privateIpAddress": "10.0.0.1", "os": "X"}],
        "userStates": [
            {"userPrincipalName": "ann@example.org", "accountName": "ann", "logonIp": "192.0.2.8"},
            {"userPrincipalName": "bob@example.org", "emailRole": "recipient"},
        ],
        "networkConnections": [
            {
                "sourceAddress": "10.0.0.1",
                "sourcePort": "5000",
                "destinationAddress": "192.0.2.1",
                "destinationPort": "x",
                "protocol": "udp",
                "destinationUrl": "https://evil.example/x",
            },
            {"destinationAddress": "not an address", "destinationDomain": "c2.example"},
        ],
        "fileStates": [{"name": "a", "path": "/a", "fileHash": {"hashType": "sha1", "hashValue": "a" * 40}}],
        "registryKeyStates": [{"hive": "localMachineSystem", "key": "SYSTEM\\x", "valueName": "v"}],
        "malwareStates": [{"name": "Emotet"}],
        "securityResources": [{"resource": "arn:aws:ec2:r:123:i/1", "resourceType": "attacked"}, {"resource": "thing"}],
    }
    made = evidence.distinct(from_legacy.evidence(given))
    kinds = [one["@odata.type"].rpartition(".")[2].removesuffix("Evidence") for one in made]
    assert kinds == (
        "device user ip mailbox networkConnection ip ip url dns file registryValue malware amazonResource".split()
    )
    back = legacy.states(made)
    assert back["hostStates"] == given["hostStates"]
    assert back["fileStates"] == given["fileStates"]
    assert back["networkConnections"][0]["sourcePort"] == "5000"
    assert {one["userPrincipalName"] for one in back["userStates"]} == {"ann@example.org", "bob@example.org"}


@settings(max_examples=100, deadline=None)
@given(inner_objects(edm("beta"), "microsoft.graph.alert"))
def test_any_legacy_alert_has_evidence_that_the_contract_accepts(body: dict[str, Any]) -> None:
    for item in evidence.complete(evidence.distinct(from_legacy.evidence(body)), "2026-11-23T00:00:00.0000000Z"):
        edm("beta").accept("microsoft.graph.security.alertEvidence", item)


@settings(max_examples=150, deadline=None)
@given(st.lists(inner_objects(edm("beta"), "microsoft.graph.security.alertEvidence"), max_size=4))
def test_any_evidence_has_states_that_the_contract_accepts(items: list[dict[str, Any]]) -> None:
    made = legacy.states(evidence.distinct(items))
    versions: list[Version] = ["v1.0", "beta"]
    for version in versions:
        edm(version).accept("microsoft.graph.alert", {"title": "x", **made})
