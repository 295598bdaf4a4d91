"""What an alert names: kinds, values and roles of the entity index."""

from ipaddress import ip_address
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bartizan.model import entities
from bartizan.model import security as graph
from bartizan.model.alert import Observed
from bartizan.model.entities import KINDS


def kept(kind: str, value: str) -> list[tuple[str, str]]:
    return [(one.kind, one.value) for one in entities.read(Observed(kind, value))]


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("address", "192.0.2.1", "192.0.2.1"),
        ("address", " 192.0.2.1:443", "192.0.2.1"),
        ("address", "192.0.2.1/32", "192.0.2.1"),
        ("address", "[2001:DB8::1]:443", "2001:db8::1"),
        ("address", "2001:0db8:0000::0001", "2001:db8::1"),
        ("address", "fe80::1%eth0", "fe80::1"),
        ("address", "::ffff:192.0.2.1", "192.0.2.1"),
        ("hash", "D41D8CD98F00B204E9800998ECF8427E", "d41d8cd98f00b204e9800998ecf8427e"),
        ("domain", "WWW.Example.COM.", "www.example.com"),
        ("domain", "_ldap._tcp.dc._msdcs.corp.example", "_ldap._tcp.dc._msdcs.corp.example"),
        ("domain", "bücher.example", "bücher.example"),
        ("host", "PC-1", "PC-1"),
        ("host", "pc1.corp.example.", "pc1.corp.example"),
        ("user", "CORP\\ann", "CORP\\ann"),
        ("mailbox", "<ann@example.org>", "ann@example.org"),
        ("resource", "arn:aws:s3:::bucket", "arn:aws:s3:::bucket"),
        ("process", "C:\\Windows\\cmd.exe", "C:\\Windows\\cmd.exe"),
    ],
)
def test_values_of_their_kind_are_kept_in_one_form(kind: str, text: str, value: str) -> None:
    assert kept(kind, text) == [(kind, value)]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("address", "pc1.example.org"),
        ("address", "0.0.0.0"),
        ("address", "::"),
        ("address", "192.0.2.0/24"),
        ("address", "192.0.2.256"),
        ("address", "1"),
        ("hash", "0" * 64),
        ("hash", "abc"),
        ("hash", "g" * 32),
        ("domain", "localhost"),
        ("domain", "no dots"),
        ("domain", "1.2.3"),
        ("url", "/only/a/path"),
        ("url", "word"),
        ("url", "http://[half"),
        ("host", "not a host"),
        ("host", "-"),
        ("user", ""),
        ("user", "  "),
        ("user", "N/A"),
        ("user", "(null)"),
        ("user", "S-1-0-0"),
        ("user", "00000000-0000-0000-0000-000000000000"),
        ("user", "x" * 1_025),
        ("mailbox", "ann"),
        ("file", "a.exe"),
        ("", "x"),
    ],
)
def test_what_is_no_such_thing_is_no_entity(kind: str, text: str) -> None:
    assert kept(kind, text) == []


def test_an_address_that_stands_as_host_or_domain_is_an_address() -> None:
    assert kept("host", "192.0.2.7") == kept("domain", "192.0.2.7") == [("address", "192.0.2.7")]


def test_a_number_that_stands_as_host_is_a_resource() -> None:
    """Products count their devices by GUIDs and numbers, which name no host; a name that holds digits does."""
    guid = "6D48997C-a2cb-11ee-8b0c-0242ac120002"
    assert kept("host", guid) == [("resource", guid)]
    assert kept("host", "5566") == [("resource", "5566")]
    assert kept("host", "5566a") == [("host", "5566a")]
    assert kept("host", "web-6d48997c") == [("host", "web-6d48997c")]


def test_a_device_of_a_plant_has_a_name_and_an_id() -> None:
    """The id is no host's name, whatever it looks like."""
    device = graph.IoTDeviceEvidence(deviceName="PLC-7", deviceId="dev-7f")
    assert named(device) == [("host", "PLC-7", ""), ("resource", "dev-7f", "")]


def test_a_url_also_gives_its_host() -> None:
    assert kept("url", "https://user@Evil.example:8443/x?y#z") == [
        ("url", "https://user@Evil.example:8443/x?y#z"),
        ("domain", "evil.example"),
    ]
    assert kept("url", "http://[2001:db8::1]/x") == [("url", "http://[2001:db8::1]/x"), ("address", "2001:db8::1")]
    assert kept("url", "evil.example/x") == [("url", "evil.example/x"), ("domain", "evil.example")]


def test_entities_are_distinct_by_kind_folded_value_and_role() -> None:
    given = [
        Observed("host", "PC1"),
        Observed("host", "pc1"),
        Observed("host", "pc1", "source"),
        Observed("user", "pc1"),
    ]
    assert entities.distinct(given) == [given[0], given[2], given[3]]


def test_their_number_is_bounded() -> None:
    many = (Observed("user", f"u{number}") for number in range(10_000))
    assert len(entities.distinct(many)) == entities.MAX_ENTITIES


def named(*evidence: graph.AlertEvidence) -> list[tuple[str, str, str]]:
    inner = [msgspec.to_builtins(one) for one in evidence]
    return [(one.kind, one.value, one.role) for one in entities.of_alert(inner)]


def test_a_connection_gives_both_ends_with_their_roles() -> None:
    flow = graph.NetworkConnectionEvidence(
        sourceAddress=graph.IpEvidence(ipAddress="10.0.0.1", roles=["source"]),
        destinationAddress=graph.IpEvidence(ipAddress="192.0.2.1", roles=["commandAndControl"]),
    )
    assert set(named(flow)) == {("address", "10.0.0.1", "source"), ("address", "192.0.2.1", "commandAndControl")}


def test_a_device_gives_names_and_addresses() -> None:
    device = graph.DeviceEvidence(
        deviceDnsName="pc1.corp.example",
        hostName="pc1",
        lastIpAddress="10.0.0.1",
        ipInterfaces=["10.0.0.1", "-", "fe80::1"],
        lastExternalIpAddress="192.0.2.1",
        loggedOnUsers=[graph.LoggedOnUser(accountName="ann")],
        roles=["compromised"],
    )
    assert named(device) == [
        ("host", "pc1.corp.example", "compromised"),
        ("host", "pc1", "compromised"),
        ("address", "10.0.0.1", "compromised"),
        ("address", "fe80::1", "compromised"),
        ("address", "192.0.2.1", "compromised"),
        ("user", "ann", "loggedOn"),
    ]


def test_a_process_gives_its_image_hashes_parent_and_account() -> None:
    process = graph.ProcessEvidence(
        imageFile=graph.FileDetails(fileName="a.exe", filePath="C:\\a.exe", sha256="A" * 64),
        parentProcessImageFile=graph.FileDetails(fileName="b.exe", md5="b" * 32),
        processCommandLine="a.exe /q",
        userAccount=graph.UserAccount(accountName="ann", userSid="S-1-5-21-1-2-3-1001"),
    )
    assert set(named(process)) == {
        ("process", "a.exe", ""),
        ("process", "C:\\a.exe", "image"),
        ("process", "a.exe /q", "commandLine"),
        ("process", "b.exe", "parent"),
        ("hash", "a" * 64, ""),
        ("hash", "b" * 32, "parent"),
        ("user", "ann", ""),
        ("user", "S-1-5-21-1-2-3-1001", ""),
    }


def test_a_message_gives_mailboxes_sender_address_and_links() -> None:
    mail = graph.AnalyzedMessageEvidence(
        recipientEmailAddress="ann@example.org",
        p2Sender=graph.EmailSender(emailAddress="eve@evil.example"),
        senderIp="192.0.2.9",
        urls=["https://evil.example/a"],
    )
    assert named(mail) == [
        ("mailbox", "ann@example.org", "recipient"),
        ("mailbox", "eve@evil.example", "sender"),
        ("address", "192.0.2.9", "source"),
        ("url", "https://evil.example/a", ""),
        ("domain", "evil.example", ""),
    ]


def test_evidence_inside_evidence_is_walked() -> None:
    image = graph.ContainerImageEvidence(imageId="img:1")
    container = graph.ContainerEvidence(containerId="c1", image=image)
    space = graph.KubernetesNamespaceEvidence(cluster=graph.KubernetesClusterEvidence(name="k1"))
    pod = graph.KubernetesPodEvidence(name="p1", namespace=space, containers=[container])
    assert {value for _, value, _ in named(pod)} == {"p1", "k1", "c1", "img:1"}


def test_each_type_of_evidence_that_names_something_has_its_paths() -> None:
    """Except those that hold other evidence only, and a registry key, which is no entity of the index."""
    without = {
        "cloudLogonRequestEvidence",
        "hostLogonSessionEvidence",
        "kubernetesNamespaceEvidence",
        "mailClusterEvidence",
        "malwareEvidence",
        "networkConnectionEvidence",
        "nicEvidence",
        "registryKeyEvidence",
        "registryValueEvidence",
    }
    types = {str(cls.__struct_config__.tag).rpartition(".")[2] for cls in graph.AlertEvidence.__subclasses__()}
    for name in types - without:
        cls = next(c for c in graph.AlertEvidence.__subclasses__() if str(c.__struct_config__.tag).endswith("." + name))
        assert _with_every_text(cls), name
        assert named(_with_every_text(cls)), name


def _with_every_text(cls: type[graph.AlertEvidence]) -> graph.AlertEvidence:
    """Every property set to a text that is of many kinds at once, or to an object that has it."""
    text = {"ipAddress": "192.0.2.1", "senderIp": "192.0.2.1", "url": "http://a.example/x", "value": "a" * 32}
    given: dict[str, Any] = {}
    for field in msgspec.structs.fields(cls):
        if field.type == str | None:
            given[field.name] = text.get(field.name, "a@b.example" if "ddress" in field.name else "a.example")
        elif field.type == graph.UserAccount | None:
            given[field.name] = graph.UserAccount(accountName="ann")
        elif field.type == graph.FileDetails | None:
            given[field.name] = graph.FileDetails(sha256="a" * 64, fileName="a.exe")
    return cls(**given)


@given(st.sampled_from(sorted(KINDS)), st.text(max_size=60))
def test_any_text_is_read_or_left_out(kind: str, text: str) -> None:
    for one in entities.read(Observed(kind, text)):
        assert one.kind in KINDS
        assert one.value.strip() == one.value != ""
        if one.kind == "address":
            assert str(ip_address(one.value)) == one.value
        if one.kind in ("host", "domain"):
            assert entities.address(one.value) is None
        assert next(iter(entities.read(one))) == one


NAMES = st.sampled_from(["@odata.type", "roles", "userAccount", "ipAddress", "url", "imageFile", "a"])
TYPES = st.sampled_from(["#microsoft.graph.security.ipEvidence", "#microsoft.graph.security.processEvidence"])
SHAPES = st.recursive(
    st.none() | st.text(max_size=5) | st.integers() | TYPES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(NAMES, SHAPES, max_size=5))
def test_evidence_of_any_shape_is_walked_without_error(value: dict[str, object]) -> None:
    for one in entities.of_alert([value]):
        assert one.kind in KINDS
