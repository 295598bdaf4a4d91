"""What an indicator is recognised by: its observables in the one spelling in which things name them.

Marks stand in the entity index beside the indicator, so that a look-up among a million takes one step of an index.

Source: Microsoft Graph beta, resource tiIndicator; RFC 3986 section 6 (when two addresses of the web are the same).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Any
from urllib.parse import urlsplit

from bartizan.model import entities

INDICATORS = "tiIndicators"
OWNER = "@bartizan.owner"  # client id of who submitted it; kept in the state, never sent, and no client can set it
MARKS = "@bartizan.marks"

KINDS = ("address", "network", "domain", "url", "hash", "mailbox", "sender")
ENTITIES: Mapping[str, str] = {f"{MARKS}/{kind}": kind for kind in KINDS}  # of the collection

SOURCES = "networkIPv4 networkIPv6 networkSourceIPv4 networkSourceIPv6".split()
ADDRESSES = [*SOURCES, "networkDestinationIPv4", "networkDestinationIPv6", "emailSourceIpAddress"]
SOURCE_BLOCKS = ("networkCidrBlock", "networkSourceCidrBlock")
BLOCKS = (*SOURCE_BLOCKS, "networkDestinationCidrBlock")
_DESTINATIONS = [name for name in (*ADDRESSES, *BLOCKS) if "Destination" in name]
_EITHER = ["networkIPv4", "networkIPv6", "networkCidrBlock"]
_ENDS: Mapping[str, Sequence[str]] = {
    "source": [*SOURCES, *SOURCE_BLOCKS],
    "destination": [*_EITHER, *_DESTINATIONS],
    "sender": [*SOURCES, *SOURCE_BLOCKS, "emailSourceIpAddress"],
}
MAX_PARENTS = 5  # of a domain that are looked up

Network = IPv4Network | IPv6Network
Pair = tuple[str, str]  # kind and value


def url_key(text: str) -> str:
    """The same for what is the same address of the web: without scheme, port of the scheme, fragment and last slash."""
    whole = text.strip().lower()
    try:
        parts = urlsplit(whole if "://" in whole else f"//{whole}")
        host, port = parts.hostname, parts.port
    except ValueError:
        return whole
    default = {"http": 80, "https": 443, "ftp": 21}.get(parts.scheme)
    place = host or ""
    if port is not None and port != default:
        place = f"{place}:{port}"
    rest = parts.path.rstrip("/") + (f"?{parts.query}" if parts.query else "")
    return f"{place}{rest}" if place else whole


def network(text: str) -> Network | None:
    try:
        return ip_network(text.strip(), strict=False)
    except ValueError:
        return None


def prefix_of(block: Network) -> str:
    """What the text of every address in a block begins with."""
    if block.version == 4:
        whole = block.prefixlen // 8
        parts = str(block.network_address).split(".")[:whole]
        return ".".join(parts) + ("." if 0 < whole < 4 else "")
    first = block.network_address.exploded.split(":")[0].lstrip("0")
    return f"{first}:" if block.prefixlen >= 16 and first else ""


def marks_of(indicator: Mapping[str, Any]) -> dict[str, list[str]]:
    """By kind; nothing of observables that nothing here names (user agents, mutexes, ports)."""
    found: dict[str, dict[str, None]] = {kind: {} for kind in KINDS}
    for kind, value in _marks(indicator):
        if len(value) <= entities.MAX_VALUE_CHARS:
            found[kind].setdefault(value)
    return {kind: list(values) for kind, values in found.items() if values}


def _marks(indicator: Mapping[str, Any]) -> Iterator[Pair]:
    def text(name: str) -> str:
        return str(indicator.get(name) or "").strip()

    for name in ADDRESSES:
        if (address := entities.address(text(name))) is not None:
            yield "address", address
    for name in BLOCKS:
        if text(name) and (block := network(text(name))) is not None:
            yield "network", str(block)
    if (domain := entities.domain(text("domainName"))) is not None:
        yield "domain", domain
    if text("url"):
        yield "url", url_key(text("url"))
    if (digest := entities.digest(text("fileHashValue"))) is not None:
        yield "hash", digest
    for name in ("emailSenderAddress", "emailRecipient"):
        if "@" in text(name):
            yield "mailbox", text(name).lower()
    if (domain := entities.domain(text("emailSourceDomain"))) is not None:
        yield "sender", domain


def asked_of(entity: tuple[str, str, str]) -> list[Pair]:
    """The marks by which an indicator would know an entity (kind, value, role) of something that was seen."""
    kind, value, role = entity
    if kind in ("address", "hash"):
        return [(kind, value)]
    if kind == "domain":
        labels = value.rstrip(".").split(".")
        parents = [".".join(labels[at:]) for at in range(len(labels) - 1)]
        return [("domain", each) for each in dict.fromkeys([value, *parents[: MAX_PARENTS + 1]])]
    if kind == "url":
        return [("url", url_key(value))]
    if kind == "mailbox":
        own: list[Pair] = [("mailbox", value)]
        return [*own, ("sender", value.rpartition("@")[2])] if role == "sender" else own
    return []


def spellings(pair: Pair) -> list[Pair]:
    """The entities under which something that bears a mark may stand in the index, for the look back."""
    kind, value = pair
    if kind == "url":
        return [("url", f"{scheme}{value}{end}") for scheme in ("", "http://", "https://") for end in ("", "/")]
    if kind in ("address", "domain", "hash", "mailbox"):
        return [pair]
    return []


def _number(address: str) -> int | None:
    """Of an IPv4 address in its canonical form; a tenth of the time that `ipaddress` takes."""
    try:
        first, second, third, fourth = address.split(".")
        return int(first) << 24 | int(second) << 16 | int(third) << 8 | int(fourth)
    except ValueError:
        return None


def _number6(address: str) -> int | None:
    try:
        return int(IPv6Address(address))
    except ValueError:
        return None


class Networks:
    """Blocks of addresses, by length: as many look-ups for an address as there are lengths."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._by: dict[tuple[int, int], dict[int, str]] = {}
        self._heads: set[str] = set()  # "a.b" of all that blocks of IPv4 hold, 65,536 at most
        for text in texts:
            block = network(text)
            if block is not None:
                at = int(block.network_address) >> (block.max_prefixlen - block.prefixlen)
                self._by.setdefault((block.version, block.prefixlen), {})[at] = text
                if block.version == 4:
                    first = int(block.network_address) >> 16
                    heads = range(first, first + (1 << max(0, 16 - block.prefixlen)))
                    self._heads.update(f"{each >> 8}.{each & 255}" for each in heads)

    def near(self, addresses: Iterable[str]) -> list[str]:
        """Of IPv4 addresses in their canonical form those that a block may hold; most are told apart so."""
        heads = self._heads
        return [each for each in addresses if each.rsplit(".", 2)[0] in heads] if heads else []

    def holding(self, address: str) -> list[Pair]:
        if not self._by:
            return []
        version = 6 if ":" in address else 4
        number = _number(address) if version == 4 else _number6(address)
        bits = 32 if version == 4 else 128
        return [
            ("network", text)
            for (of, length), blocks in self._by.items()
            if number is not None and of == version and (text := blocks.get(number >> (bits - length))) is not None
        ]


_PRIVATE = Networks(entities.OWN_NETWORKS)


def speaks_of(indicator: Mapping[str, Any], pair: Pair, end: str) -> bool:
    """Whether it speaks of an address, or a block of them, that was at this end: source, destination, sender (of mail);
    any other word stands for either."""
    kind, value = pair
    wanted = _ENDS.get(end)
    if wanted is None:
        return True
    if kind == "network":
        return any(str(network(str(indicator.get(name) or "")) or "") == value for name in wanted if name in BLOCKS)
    return any(entities.address(str(indicator.get(name) or "")) == value for name in wanted if name in ADDRESSES)


def of_interest(found: Sequence[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """The entities from outside: what an allowance has to speak of. Private addresses are one's own."""
    return [each for each in found if each[0] in ("address", "domain", "url", "hash") and not _private(*each[:2])]


def _private(kind: str, value: str) -> bool:
    return kind == "address" and bool(_PRIVATE.holding(value))
