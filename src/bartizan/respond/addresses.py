"""Which addresses this program may be asked to connect to: the filter against request forgery.

Only global unicast is public. The lists are our own, since what a library calls "global" has changed between releases.

Source: IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890, RFC 8190), RFC 6052 (NAT64), RFC 5214 (ISATAP).
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Literal, TypeAlias

from msgspec import Struct

Address: TypeAlias = IPv4Address | IPv6Address
Kind: TypeAlias = Literal["public", "private", "never"]

_PRIVATE_4 = tuple(
    IPv4Network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "100.64.0.0/10")
)
_PRIVATE_6 = (IPv6Network("::1/128"), IPv6Network("fc00::/7"))
# Services of cloud hosts that hand out credentials to whoever reaches them; some have addresses that look ordinary.
_METADATA = frozenset(
    ip_address(text)
    for text in (
        "169.254.169.254",  # AWS, Azure, Google, OpenStack
        "168.63.129.16",  # Azure's wire server
        "100.100.100.200",  # Alibaba
        "192.0.0.192",  # Oracle
        "fd00:ec2::254",  # AWS
        "fd20:ce::254",  # Google
    )
)
_NEVER_4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "169.254.0.0/16",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
_UNICAST_6 = IPv6Network("2000::/3")
_NEVER_6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # Teredo, ORCHID, benchmarking and other protocol assignments
        "2001:db8::/32",
        "2002::/16",  # 6to4: an IPv4 address in disguise
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)


def kind(address: Address) -> Kind:
    """public: global unicast; private: loopback, private, shared networks; never: all else, metadata services too."""
    if isinstance(address, IPv6Address):
        address = IPv6Address(int(address))  # without a zone
    if address in _METADATA:
        return "never"
    if isinstance(address, IPv4Address):
        return _kind_4(address)
    if address.ipv4_mapped is not None:
        return kind(address.ipv4_mapped)
    if address in _NAT64:
        return "public" if kind(IPv4Address(int(address) & 0xFFFF_FFFF)) == "public" else "never"
    if any(address in network for network in _PRIVATE_6):
        return "private"
    if address not in _UNICAST_6 or any(address in network for network in _NEVER_6):
        return "never"
    if (int(address) >> 32) & 0xFFFF_FFFF in _ISATAP and kind(IPv4Address(int(address) & 0xFFFF_FFFF)) != "public":
        return "never"
    return "public"


def _kind_4(address: IPv4Address) -> Kind:
    if any(address in network for network in _PRIVATE_4):
        return "private"
    return "never" if any(address in network for network in _NEVER_4) else "public"


class Rules(Struct, frozen=True):
    """What is allowed beyond public addresses. `networks` are CIDR texts of further networks, reached by https only."""

    allow_private: bool = False  # for labs and tests: loopback and private addresses, also without TLS
    networks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.listed()

    def listed(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """ValueError where a text is no network."""
        return tuple(ip_network(text, strict=False) for text in self.networks)

    def allows(self, address: Address, *, encrypted: bool) -> bool:
        """Without TLS only private addresses, and only where they are allowed: what leaves the house is encrypted."""
        found = kind(address)
        if found == "public":
            return encrypted
        if found == "private" and self.allow_private:
            return True
        plain = _plain(address)
        if plain.is_multicast or plain.is_unspecified or plain in _METADATA:
            return False
        inside = any(plain.version == network.version and plain in network for network in self.listed())
        return inside and (encrypted or self.allow_private)


def _plain(address: Address) -> Address:
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or IPv6Address(int(address))
    return address
