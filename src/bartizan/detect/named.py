"""What the columns of a table name: addresses, domains, URLs, hashes and mailboxes, by which indicators know an event.

A column is read by the words of its name, in Microsoft's tables and those of sources alike, so that a table that is
declared tomorrow is matched too; a value that is no such thing names nothing. One's own side of an event (LocalIP,
ComputerIP) and names of domains of accounts say nothing of whom it was with.

Source: Microsoft Defender XDR, "Understand the advanced hunting schema" and "Naming conventions"; Azure Monitor Logs
reference; Microsoft Sentinel, ASIM schemas (names of columns).
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Struct

from bartizan.lake.rows import DOCUMENTED
from bartizan.lake.tables import Table
from bartizan.model import entities
from bartizan.model.alert import Observed

MAX_OF_VALUE = 100  # things that one value of several names
Entity = tuple[str, str, str]  # kind, value, role

_WORDS = re.compile(r"IPs(?![a-z])|IPv[46]|[A-Z]+\d*(?![a-z])|[A-Z]?[a-z]+\d*")
_FIELD = re.compile(r"_[sdgbt]$")  # Log Analytics adds the type to the names of custom columns
_SEVERAL = re.compile(r"[\s,;|\"'\[\]]+")

_ADDRESS = frozenset({"ip", "ips", "ipv4", "ipv6"})
_PLACE = frozenset({"address", "addresses", "addr", "addrs"})
_ENDS = frozenset({"source", "src", "destination", "dst", "dest", "client", "remote", "translated", "peer", "custom"})
_OWN = frozenset({"local", "private", "public", "computer", "host", "device", "collector", "nas", "vm", "s"})
_SOURCE = frozenset({"source", "src", "client", "caller", "actor", "request", "c"})
_DESTINATION = frozenset({"destination", "dst", "dest", "target", "server"})
_SENDER = frozenset({"sender", "from", "p1", "p2"})
_RECIPIENT = frozenset({"recipient", "recipients", "to"})
_HASH = frozenset({"sha1", "sha256", "sha512", "md5", "hash", "hashes"})
_NO_HASH = frozenset({"query", "key", "authentication", "policy", "certificate", "ca"})
_URL = frozenset({"url", "urls", "uri", "uris"})
_NO_URL = frozenset({"incident", "alert", "help", "portal", "workspace", "crl"})
_DOMAIN = frozenset({"domain", "domains", "fqdn"})
_NO_DOMAIN = frozenset("account user nt subject machine fault update mixed logon outbound device template".split())
_ASKED = frozenset({("dns", "query"), ("query", "name"), ("query", "target")})


class Column(Struct, frozen=True):
    """A column that names something. `several`: its value may be a list, as JSON or as text."""

    name: str
    kind: str  # address, domain, url, hash, mailbox
    role: str  # source, destination, sender, recipient; "": it does not say
    several: bool


def columns_of(table: Table) -> Sequence[Column]:
    """In the table's order. None of tables that show documents of the store: those are matched as they are stored."""
    return () if table.name in DOCUMENTED else _columns(table.name, tuple(table.columns.items()))


@lru_cache(maxsize=1_024)
def _columns(table: str, columns: tuple[tuple[str, str], ...]) -> Sequence[Column]:
    return tuple(
        found for name, kind in columns if kind in ("string", "dynamic") and (found := _column(table, name, kind))
    )


def _column(table: str, name: str, kind: str) -> Column | None:
    words = [word.lower() for word in _WORDS.findall(_FIELD.sub("", name))]
    several = kind == "dynamic"
    while len(words) > 1 and words[-1] in ("list", "value", "values", "chain"):
        several = True
        del words[-1]
    if not words:
        return None
    last = words[-1] if words[-1] in _HASH or words[-1] in _ADDRESS else words[-1].rstrip("0123456789")
    words[-1] = last
    several = several or last in ("ips", "addresses", "addrs", "urls", "uris", "domains", "hashes")
    means = _means(table, words)
    return None if means is None else Column(name, *means, several)


def _means(table: str, words: Sequence[str]) -> tuple[str, str] | None:
    """Kind and role."""
    last, said = words[-1], set(words)
    if last in _PLACE and said & (_SENDER | _RECIPIENT | {"email", "mail"}) and not said & _ADDRESS:
        return "mailbox", _role(said)
    if last in _ADDRESS or (last in _PLACE and len(words) > 1 and words[-2] in _ADDRESS | _ENDS):
        before = words[: -2 if last in _PLACE and words[-2] in _ADDRESS else -1]
        if before and before[-1] in _OWN:
            return None
        if before:
            return "address", _role(said)
        if last in ("ips", "addresses", "addrs"):  # of a machine its own; those that a name server answers
            return ("address", "") if table.lower().startswith("dns") else None
        return "address", "source"  # IPAddress alone: from where somebody comes
    if last in _HASH:
        return None if said & _NO_HASH else ("hash", "")
    if last in _URL:
        return None if said & _NO_URL else ("url", "")
    if last in _DOMAIN or tuple(words[-2:]) == ("domain", "name"):
        web = bool(said & _URL)
        return None if said & _NO_DOMAIN or ("target" in said and not web) else ("domain", _role(said))
    if tuple(words[-2:]) in _ASKED or (words == ["name"] and table.lower().startswith("dns")):
        return "domain", ""  # what was asked of a name server
    host = last == "host" or tuple(words[-2:]) == ("host", "name") or last == "hostname"
    return ("domain", "destination") if host and said & (_DESTINATION | {"cs"}) else None


def _role(said: set[str]) -> str:
    for role, words in (
        ("sender", _SENDER),
        ("recipient", _RECIPIENT),
        ("destination", _DESTINATION),
        ("source", _SOURCE),
    ):
        if said & words:
            return role
    return ""


def named(column: Column, value: Any) -> list[Entity]:
    """The entities that a column's value names, in lower case, each once."""
    found: dict[Entity, None] = {}
    for text in _texts(value) if column.several else (value,):
        if isinstance(text, str) and text:
            for each in _read(column.kind, text, column.role):
                found.setdefault(each)
    return list(found)


def _texts(value: Any, depth: int = 4) -> Iterator[str]:
    """Of a list, what it holds; of a text that lists several, each and the whole."""
    if isinstance(value, str):
        yield value
        yield from [part for part in _SEVERAL.split(value, MAX_OF_VALUE) if part != value][:MAX_OF_VALUE]
    elif depth and isinstance(value, list | Mapping):
        inside: Iterable[Any] = value.values() if isinstance(value, Mapping) else value
        for _, each in zip(range(MAX_OF_VALUE), inside, strict=False):
            yield from _texts(each, depth - 1)


@lru_cache(maxsize=16_384)
def _read(kind: str, text: str, role: str) -> Sequence[Entity]:
    """In the spelling of the entity index. What stands as a URL may be a host alone."""
    read = entities.read(Observed(kind, text, role))
    if kind == "url" and not read:
        read = entities.read(Observed("domain", text, role))
    return tuple((each.kind, each.value.lower(), each.role) for each in read)


def decoder_of(columns: Sequence[Column]) -> msgspec.json.Decoder[Any]:
    """Reads rows as JSON as far as these columns, the first as `c0`: what is not asked for is passed over."""
    fields = [(f"c{number}", Any, None) for number in range(len(columns))]
    to = {f"c{number}": each.name for number, each in enumerate(columns)}
    return msgspec.json.Decoder(msgspec.defstruct("Row", fields, rename=to, gc=False))
