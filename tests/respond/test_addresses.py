"""The filter against request forgery: addresses in any notation, what a name resolves to, what changes in between."""

import ipaddress
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bartizan.errors import BadRequest
from bartizan.respond.addresses import Address, Rules, kind
from bartizan.respond.outbound import check_url

PUBLIC = Rules()
LAB = Rules(allow_private=True)

NEVER = """
0.0.0.0 0.1.2.3 169.254.169.254 169.254.1.1 168.63.129.16 100.100.100.200 192.0.0.192 192.0.2.1 198.18.0.1 198.51.100.7
203.0.113.9 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 :: fe80::1 fe80::1%eth0 fec0::1 ff02::1 ::127.0.0.1
::8.8.8.8 2001::1
2001:0:5ef5:79fd:380c:1d57:a601:24fa 2001:db8::1 2002:7f00:1:: 2002:808:808::1 3fff::1 5f00::1 64:ff9b::7f00:1
64:ff9b::10.0.0.1 64:ff9b:1::8.8.8.8 ::ffff:169.254.169.254 fd00:ec2::254 fd20:ce::254 100::1 2a00::5efe:10.0.0.1
""".split()
PRIVATE = """
10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.1.1 127.0.0.1 127.255.255.254 100.64.0.1 100.127.255.255 ::1
fc00::1 fd12:3456::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1
""".split()
GLOBAL = """
8.8.8.8 1.1.1.1 9.255.255.255 11.0.0.0 172.15.0.1 172.32.0.1 192.167.1.1 100.63.255.255 100.128.0.0 126.1.1.1 128.0.0.1
2606:4700:4700::1111 2a00:1450:4001::1 64:ff9b::8.8.8.8 ::ffff:8.8.8.8 2a00::5efe:8.8.8.8
""".split()


@pytest.mark.parametrize("text", NEVER)
def test_never(text: str) -> None:
    """Reserved, link-local, multicast and metadata addresses are refused, in labs too, unless a network is listed."""
    assert kind(ip_address(text)) == "never"
    for rules in (PUBLIC, LAB):
        assert not rules.allows(ip_address(text), encrypted=True)
        assert not rules.allows(ip_address(text), encrypted=False)


@pytest.mark.parametrize("text", PRIVATE)
def test_private(text: str) -> None:
    """Private addresses are for labs."""
    assert kind(ip_address(text)) == "private"
    assert not PUBLIC.allows(ip_address(text), encrypted=True)
    assert LAB.allows(ip_address(text), encrypted=True) and LAB.allows(ip_address(text), encrypted=False)


@pytest.mark.parametrize("text", GLOBAL)
def test_public(text: str) -> None:
    """Public addresses are reached by https only, in labs too."""
    assert kind(ip_address(text)) == "public"
    for rules in (PUBLIC, LAB):
        assert rules.allows(ip_address(text), encrypted=True) and not rules.allows(ip_address(text), encrypted=False)


def test_listed_networks() -> None:
    """A listed network is reached by https; metadata and multicast are not listed by a wide net."""
    rules = Rules(networks=("10.1.0.0/16", "fd12::/16", "169.254.0.0/16", "0.0.0.0/0"))
    assert rules.allows(ip_address("10.1.2.3"), encrypted=True)
    assert rules.allows(ip_address("::ffff:10.1.2.3"), encrypted=True)
    assert rules.allows(ip_address("fd12::1"), encrypted=True)
    assert not rules.allows(ip_address("10.1.2.3"), encrypted=False)
    for text in ("169.254.169.254", "224.0.0.1", "0.0.0.0", "fd13::1"):
        assert not rules.allows(ip_address(text), encrypted=True)
    with pytest.raises(ValueError):
        Rules(networks=("10.1.0.0/33",))


@given(st.integers(0, 2**32 - 1).map(IPv4Address))
def test_ipv4_agrees_with_the_registry(address: IPv4Address) -> None:
    """Whatever Python's own registry calls private or reserved is never public here, however it is wrapped."""
    special = not address.is_global or address.is_multicast or address.is_reserved
    wrapped: list[Address] = [address, IPv6Address(f"::ffff:{address}"), IPv6Address(f"64:ff9b::{address}")]
    if special:
        assert all(kind(each) != "public" for each in wrapped)
    assert kind(IPv6Address((0x2002 << 112) | (int(address) << 80))) == "never"
    assert kind(IPv6Address(int(address))) in ("never", "private")


@given(st.one_of(st.integers(0, 2**128 - 1), st.integers(2 << 124, 3 << 124)).map(IPv6Address))
def test_ipv6_agrees_with_the_registry(address: IPv6Address) -> None:
    if (
        kind(address) == "public"
        and address.ipv4_mapped is None
        and address not in ipaddress.ip_network("64:ff9b::/96")
    ):
        assert address.is_global and not address.is_multicast and address in ipaddress.ip_network("2000::/3")


def notations(address: IPv4Address) -> list[str]:
    """How parsers in the field can be made to read an IPv4 address."""
    value, (a, b, c, d) = int(address), address.packed
    return [
        str(address),
        str(value),
        hex(value),
        f"0{value:o}",
        f"{a}.{value & 0xFFFFFF}",
        f"{a}.{b}.{value & 0xFFFF}",
        f"0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}",
        f"0{a:o}.0{b:o}.0{c:o}.0{d:o}",
        f"{a}.{b}.{c}.{d}.",
        f"0{a}.{b}.{c}.{d}",
        f"[::ffff:{address}]",
        f"[::{address}]",
        f"[64:ff9b::{address}]",
        f"[0:0:0:0:0:ffff:{address}]",
        f"{a}.{b}.{c}.0x{d:x}",
        f"%{ord('1'):x}27.0.0.1",
        "①②⑦.0.0.1",
        "127。0。0。1",
        f"user@{address}",
        f"a:b@{address}",
        f"8.8.8.8@{address}",
        f"8.8.8.8\\@{address}",
        f"{address}#@8.8.8.8",
        f"8.8.8.8 .{address}",
        f"{address}%00.example.com",
        f"[{address}]",
    ]


@given(st.sampled_from([ip_address(t) for t in (*NEVER, *PRIVATE) if ":" not in t]), st.data())
def test_no_notation_slips_through(address: IPv4Address, data: st.DataObject) -> None:
    """No notation of a refused address is accepted as a literal, by any part of a URL."""
    host = data.draw(st.sampled_from(notations(address)))
    port = data.draw(st.sampled_from(["", ":443", ":8080", ":0", ":99999", ":x"]))
    for scheme in ("https", "http", "HTTPS", "ftp", "file", "gopher"):
        try:
            url = check_url(f"{scheme}://{host}{port}/hook", PUBLIC)
        except BadRequest:
            continue
        literal = ip_address(url.raw_host or "")  # what is accepted here is a literal, and it is public
        assert kind(literal) == "public"


@given(st.text(max_size=60))
def test_any_text(text: str) -> None:
    """Any text is a checked https URL or a BadRequest."""
    for candidate in (text, f"https://{text}", f"https://{text}/x", f"https://example.com/{text}"):
        try:
            url = check_url(candidate, PUBLIC)
        except BadRequest as problem:
            assert problem.message.startswith("notificationUrl")
            continue
        assert url.scheme == "https" and url.raw_host and url.raw_user is None and str(url).isascii()


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "has 0 characters"),
        ("x" * 3000, "has 3000 characters"),
        ("example.com/hook", "https"),
        ("http://example.com/hook", "https"),
        ("https:///hook", "host"),
        ("https://exa mple.com", "percent-encode"),
        ("https://exämple.com", "percent-encode"),
        ("https://example.com/\r\nX: y", "percent-encode"),
        ("https://u:p@example.com/", "password"),
        ("https://example.com/#x", "fragment"),
        ("https://localhost/", "public address"),
        ("https://a.localhost./", "public address"),
        ("https://127.0.0.1/", "public address"),
        ("https://[::1]/", "public address"),
        ("https://2130706433/", "four decimal"),
        ("https://0x7f.1/", "four decimal"),
        ("https://[::1/", "not a URL"),
        ("https://-bad-.com/", "host name"),
        ("https://" + "a" * 64 + ".com/", "host name"),
    ],
)
def test_messages(url: str, why: str) -> None:
    """Each refusal says what is wrong, and names the property."""
    with pytest.raises(BadRequest) as problem:
        check_url(url, PUBLIC, "lifecycleNotificationUrl")
    assert problem.value.message.startswith("lifecycleNotificationUrl") and why in problem.value.message


def test_labs() -> None:
    """In a lab the sample's own address works, by http; a public one still needs https."""
    for good in (
        "http://localhost:5000/listen",
        "http://127.0.0.1:1/",
        "https://[::1]:8443/x?y=%2F",
        "https://example.com",
    ):
        assert str(check_url(good, LAB)) == good
    for bad in ("http://8.8.8.8/", "http://169.254.169.254/latest", "https://0.0.0.0/", "http://[::]/"):
        with pytest.raises(BadRequest):
            check_url(bad, LAB)


def test_lookup_flags_exist() -> None:
    """The system's resolver reads odd notations, which is why its answers are checked too."""
    assert socket.getaddrinfo("127.1", 80)[0][4][0] == "127.0.0.1"
