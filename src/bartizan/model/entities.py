"""What an alert names: the rows of the entity index, from evidence and from what a source adds.

Only values of the right kind come out: no host name stands as an address, nothing that a sensor writes for "nothing"
is an entity.

Source: RFC 1123 (host names), RFC 4291 and 5952 (addresses as text), MS-DTYP 2.4.2 (security identifiers).
"""

import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Any
from urllib.parse import urlsplit

from bartizan.model.alert import Observed

KINDS = frozenset({"host", "user", "address", "hash", "domain", "url", "mailbox", "process", "resource"})
MAX_ENTITIES = 1_000  # of one alert; the longest real one (victims of a worm) names some hundred
MAX_VALUE_CHARS = 1_024  # longer values stay in the document only
MAX_REMEMBERED = 8_192  # entities: those of a network come again and again, and reading one takes up to 10 us
MAX_REMEMBERED_CHARS = 128
MAX_DEPTH = 6  # of evidence inside evidence

_TYPE = "@odata.type"
_NAMESPACE = "#microsoft.graph.security."
_HASH = re.compile(r"[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{56}|[0-9a-f]{64}|[0-9a-f]{96}|[0-9a-f]{128}")
_LABEL = r"[^\W_](?:[\w-]{0,61}[^\W_])?|_[\w-]{1,61}|\*"
_DOMAIN = re.compile(rf"(?:(?:{_LABEL})\.)+(?:{_LABEL})")
_HOST = re.compile(r"[^\s/\\,;|\"'<>=(){}\[\]]{1,253}")
_NUMBER = re.compile(r"\{?[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\}?|[0-9]+")
_DIGITS_AND_DOTS = re.compile(r"[\d.]+")
_BRACKETED = re.compile(r"\[([0-9A-Fa-f:.%\w]+)\](?::\d{1,5})?")
_WITH_PORT = re.compile(r"(\d{1,3}(?:\.\d{1,3}){3})(?::\d{1,5}|/32)")
# What sensors write where they have nothing to say.
_NOTHING = frozenset(
    "- -- ? * {} [] n/a na nil none null (null) <null> undefined unknown <unknown> (unknown) redacted empty "
    "00000000-0000-0000-0000-000000000000 s-1-0-0".split()
) | {"not available", "not applicable"}


# RFC 1918, 6598, 3927, 4193, 4291 and loopback; not those of documents, which nobody has.
OWN_NETWORKS = (
    "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 169.254.0.0/16 127.0.0.0/8 fc00::/7 fe80::/10 ::1/128"
).split()


def address(text: str) -> str | None:
    """One IP address in its canonical form, without port, brackets or zone; the unspecified ones (0.0.0.0, ::) are
    none."""
    if not 2 <= len(text) <= 80 or not (text[0].isdigit() or text[0] == "[" or ":" in text):
        return None
    return _address(text)


@lru_cache(maxsize=MAX_REMEMBERED)
def _address(text: str) -> str | None:
    match = _WITH_PORT.fullmatch(text) or _BRACKETED.fullmatch(text)
    try:
        found = ip_address((match[1] if match else text).partition("%")[0])
    except ValueError:
        return None
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return None if found.is_unspecified else str(found)


def domain(text: str) -> str | None:
    """A name with a dot that is no address, in lower case."""
    name = text.rstrip(".").lower()
    if "." not in name or len(name) > 253 or not _DOMAIN.fullmatch(name) or _DIGITS_AND_DOTS.fullmatch(name):
        return None
    return name


def digest(text: str) -> str | None:
    """A hash by its length, in lower case; zeros alone say that none was taken."""
    value = text.lower()
    return value if _HASH.fullmatch(value) and value.strip("0") else None


def url_host(text: str) -> str | None:
    """The host of a URL, with or without scheme; None where there is none."""
    try:
        return urlsplit(text if "://" in text else f"//{text}").hostname
    except ValueError:
        return None


def url(text: str) -> str | None:
    """Something with a scheme, or a host with a path; a path alone names nothing."""
    if any(space in text for space in " \t\r\n") or not url_host(text):
        return None
    return text if "://" in text or "/" in text else None


def _host(text: str) -> str | None:
    """A host's name; 0.0.0.0 and :: are none, nor is anything else that is written as an address."""
    numeric = "." in text and _DIGITS_AND_DOTS.fullmatch(text)
    return text.rstrip(".") if _HOST.fullmatch(text) and not numeric and text != "::" else None


def numbered(text: str) -> bool:
    """A GUID or digits alone: by which a product counts its devices, and which is no device's name."""
    return _NUMBER.fullmatch(text) is not None


def _named(text: str) -> str | None:
    return text


def _mailbox(text: str) -> str | None:
    local, at, place = text.strip("<>").rpartition("@")
    return f"{local}@{place}" if at and local and place and " " not in text else None


_READ: Mapping[str, Callable[[str], str | None]] = {
    "host": _host,
    "user": _named,
    "address": address,
    "hash": digest,
    "domain": domain,
    "url": url,
    "mailbox": _mailbox,
    "process": _named,
    "resource": _named,
}


def read(observed: Observed) -> tuple[Observed, ...]:
    """The entity as it is kept, none where the value is no such thing. A host or domain that is an address becomes one,
    a host that has but a number a resource; a URL also gives its host."""
    return _remembered(observed) if len(observed.value) <= MAX_REMEMBERED_CHARS else tuple(_read(observed))


def _read(observed: Observed) -> Iterator[Observed]:
    value = observed.value.strip()
    if not value or len(value) > MAX_VALUE_CHARS or value.lower() in _NOTHING or "\0" in value:
        return
    kind = observed.kind
    if kind in ("host", "domain") and (found := address(value)) is not None:
        yield Observed("address", found, observed.role)
        return
    if kind == "host" and numbered(value):
        kind = "resource"
    how = _READ.get(kind)
    kept = how(value) if how is not None else None
    if kept is None:
        return
    yield Observed(kind, kept, observed.role)
    if kind == "url" and (name := url_host(kept)) is not None:
        yield from _read(Observed("domain", name, observed.role))


@lru_cache(maxsize=MAX_REMEMBERED)
def _remembered(observed: Observed) -> tuple[Observed, ...]:
    return tuple(_read(observed))


def distinct(found: Iterable[Observed]) -> list[Observed]:
    """Each entity once by kind, value (in any case) and role, in order of first mention, at most MAX_ENTITIES."""
    seen: dict[tuple[str, str, str], Observed] = {}
    for given in found:
        for entity in read(given):
            seen.setdefault((entity.kind, entity.value.lower(), entity.role), entity)
            if len(seen) >= MAX_ENTITIES:
                return list(seen.values())
    return list(seen.values())


def of_alert(evidence: Iterable[Mapping[str, Any]], beyond: Iterable[Observed] = ()) -> list[Observed]:
    """Every entity of an alert: from its evidence (inner form), then those that the source adds."""
    found: list[Observed] = []
    for item in evidence:
        _name(item, "", MAX_DEPTH, (), found)
    found.extend(beyond)
    return distinct(found)


def of_evidence(
    item: Mapping[str, Any], role: str = "", depth: int = MAX_DEPTH, without: Container[str] = ()
) -> list[Observed]:
    """What one evidence object and those inside it name, but for these kinds. `role` is that of the object around
    it."""
    found: list[Observed] = []
    _name(item, role, depth, without, found)
    return found


def _name(item: Mapping[str, Any], role: str, depth: int, without: Container[str], found: list[Observed]) -> None:
    roles = item.get("roles")
    role = str(roles[0]) if isinstance(roles, list) and roles else role
    for kind, head, tail, own in _NAMED.get(str(item.get(_TYPE) or "").removeprefix(_NAMESPACE), ()):
        value = item.get(head)
        if value is None or kind in without:
            continue
        rest = tail
        if type(value) is dict and len(tail) == 1:
            value, rest = value.get(tail[0]), ()
        if type(value) is str and not rest:  # most are so, and the general way takes ten times as long
            found.append(Observed(kind, value, own or role))
        elif value is not None:
            found.extend(Observed(kind, each, own or role) for each in _values(value, rest))
    if depth:
        for inside in item.values():
            if type(inside) is dict:
                if _is_evidence(inside):
                    _name(inside, role, depth - 1, without, found)
            elif type(inside) is list:
                for one in inside:
                    if isinstance(one, dict) and _is_evidence(one):
                        _name(one, role, depth - 1, without, found)


def _is_evidence(item: Mapping[str, Any]) -> bool:
    mark = item.get(_TYPE)
    return mark is not None and str(mark).startswith(_NAMESPACE)


def _values(item: Any, path: tuple[str, ...]) -> Sequence[str]:
    for at, name in enumerate(path):
        if isinstance(item, list):
            return [value for one in item for value in _values(one, path[at:])]
        item = item.get(name) if isinstance(item, dict) else None
        if item is None:
            return ()
    if isinstance(item, str):
        return (item,)
    if isinstance(item, list):
        return [value for one in item for value in _values(one, ())]
    return (str(item),) if isinstance(item, int) and not isinstance(item, bool) else ()


def _account(*before: str, role: str = "") -> list[tuple[str, tuple[str, ...], str]]:
    names = ("userPrincipalName", "accountName", "userSid", "azureAdUserId")
    return [("user", (*before, name), role) for name in names]


def _file(*before: str, role: str = "") -> list[tuple[str, tuple[str, ...], str]]:
    return [("hash", (*before, name), role) for name in ("sha256", "sha1", "md5")]


def _all(kind: str, *names: str) -> list[tuple[str, tuple[str, ...], str]]:
    return [(kind, tuple(name.split("/")), "") for name in names]


# Type of evidence -> (kind, path, role that goes before the object's own). Evidence inside evidence is walked besides.
_NAMES: Mapping[str, list[tuple[str, tuple[str, ...], str]]] = {
    "activeDirectoryDomainEvidence": _all("domain", "activeDirectoryDomainName"),
    "aiAgentEvidence": _all("resource", "agentId", "agentName"),
    "amazonResourceEvidence": _all("resource", "amazonResourceId", "resourceName"),
    "analyzedMessageEvidence": [
        ("mailbox", ("recipientEmailAddress",), "recipient"),
        ("mailbox", ("p1Sender", "emailAddress"), "sender"),
        ("mailbox", ("p2Sender", "emailAddress"), "sender"),
        ("address", ("senderIp",), "source"),
        ("url", ("urls",), ""),
    ],
    "azureResourceEvidence": _all("resource", "resourceId", "resourceName"),
    "blobContainerEvidence": _all("resource", "url", "name"),
    "blobEvidence": [*_all("resource", "url", "name"), ("hash", ("fileHashes", "value"), "")],
    "cloudApplicationEvidence": _all("resource", "displayName"),
    "cloudLogonSessionEvidence": _all("host", "deviceName"),
    "containerEvidence": _all("resource", "containerId", "name"),
    "containerImageEvidence": [("resource", ("imageId",), "image")],
    "containerRegistryEvidence": _all("resource", "registry"),
    "deviceEvidence": _all("host", "deviceDnsName", "hostName")
    + _all("address", "lastIpAddress", "ipInterfaces", "lastExternalIpAddress")
    + [("user", ("loggedOnUsers", "accountName"), "loggedOn")],
    "dnsEvidence": _all("domain", "domainName"),
    "fileEvidence": _file("fileDetails"),
    "fileHashEvidence": _all("hash", "value"),
    "gitHubOrganizationEvidence": _all("resource", "login", "orgId"),
    "gitHubRepoEvidence": _all("resource", "baseUrl", "repoId"),
    "gitHubUserEvidence": _all("user", "login", "email", "userId"),
    "googleCloudResourceEvidence": _all("resource", "fullResourceName", "resourceName"),
    "ioTDeviceEvidence": [*_all("host", "deviceName"), *_all("resource", "deviceId")],
    "ipEvidence": _all("address", "ipAddress"),
    "kubernetesClusterEvidence": _all("resource", "name"),
    "kubernetesControllerEvidence": _all("resource", "name"),
    "kubernetesPodEvidence": _all("resource", "name"),
    "kubernetesSecretEvidence": _all("resource", "name"),
    "kubernetesServiceAccountEvidence": _all("resource", "name"),
    "kubernetesServiceEvidence": _all("resource", "name"),
    "mailboxConfigurationEvidence": _all("mailbox", "mailboxPrimaryAddress", "upn"),
    "mailboxEvidence": _all("mailbox", "primaryAddress", "upn") + _account("userAccount"),
    "oauthApplicationEvidence": _all("resource", "displayName", "appId", "objectId"),
    "processEvidence": [
        ("process", ("imageFile", "fileName"), ""),
        ("process", ("imageFile", "filePath"), "image"),
        ("process", ("processCommandLine",), "commandLine"),
        ("process", ("parentProcessImageFile", "fileName"), "parent"),
        *_file("imageFile"),
        *_file("parentProcessImageFile", role="parent"),
        *_account("userAccount"),
    ],
    "sasTokenEvidence": _all("resource", "signatureHash"),
    "securityGroupEvidence": _all("resource", "displayName", "securityGroupId"),
    "servicePrincipalEvidence": _all("resource", "servicePrincipalName", "appId", "servicePrincipalObjectId"),
    "submissionMailEvidence": [
        ("mailbox", ("recipient",), "recipient"),
        ("mailbox", ("sender",), "sender"),
        ("mailbox", ("submitter",), "submitter"),
        ("address", ("senderIp",), "source"),
    ],
    "teamsMessageEvidence": [
        ("mailbox", ("recipients",), "recipient"),
        ("mailbox", ("senderFromAddress",), "sender"),
        ("address", ("senderIP",), "source"),
    ],
    "urlEvidence": _all("url", "url"),
    "userEvidence": _account("userAccount"),
}
# The same with the first step of the path apart.
_NAMED = {
    name: [(kind, head, tuple(tail), role) for kind, (head, *tail), role in found] for name, found in _NAMES.items()
}
