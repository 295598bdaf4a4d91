"""Evidence of today's alert as the states of the legacy alert: hostStates, userStates, networkConnections and the
others.

One object per distinct entity, in order of first mention. A file with several hashes gives one state per hash, since
a state has room for one; a file that a process runs is a file, too.

Source: the resource types hostSecurityState, userSecurityState, networkConnection, ... of Microsoft Graph.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

from bartizan.model.entities import MAX_REMEMBERED, url_host
from bartizan.model.registry import hive, value_type

Item = dict[str, Any]
State = tuple[str, Item]  # property of the legacy alert, one object of it

STATES = (
    "cloudAppStates",
    "fileStates",
    "hostStates",
    "malwareStates",
    "messageSecurityStates",
    "networkConnections",
    "processes",
    "registryKeyStates",
    "securityResources",
    "uriClickSecurityStates",
    "userStates",
    "vulnerabilityStates",
)
_TYPE = "@odata.type"
_NAMESPACE = "#microsoft.graph.security."
_ATTACKED = frozenset({"attacked", "compromised"})
_TOWARDS = frozenset({"destination", "commandAndControl", "attacked"})
_HASHES = ("sha256", "sha1", "md5")  # strongest first: a process has room for one

# Which properties of a state say which entity it is: an extra state of a source joins the rendered one that agrees in
# these.
_NAMING: Mapping[str, tuple[str, ...]] = {
    "cloudAppStates": ("destinationServiceName", "destinationServiceIp"),
    "fileStates": ("path", "name", "fileHash"),
    "hostStates": ("fqdn", "netBiosName", "privateIpAddress", "publicIpAddress"),
    "malwareStates": ("name", "family"),
    "messageSecurityStates": ("networkMessageId", "internetMessageId"),
    "networkConnections": (
        "sourceAddress",
        "sourcePort",
        "destinationAddress",
        "destinationPort",
        "destinationUrl",
        "destinationDomain",
    ),
    "processes": ("processId", "path", "name", "commandLine"),
    "registryKeyStates": ("hive", "key", "valueName"),
    "securityResources": ("resource",),
    "uriClickSecurityStates": ("id", "uriDomain"),
    "userStates": ("aadUserId", "onPremisesSecurityIdentifier", "userPrincipalName", "accountName", "domainName"),
    "vulnerabilityStates": ("cve",),
}
_APART = ("emailRole", "logonId")  # one account, twice: as sender and recipient, in two sessions
_TELLING = {name: (*naming, *_APART) for name, naming in _NAMING.items()}


def states(evidence: Sequence[Item], extras: Mapping[str, Any] | None = None) -> dict[str, list[Item]]:
    """Every collection of states that has something in it. `extras` are a source's own objects: one that agrees with a
    rendered one in what names the entity (or names none) completes it, another is added."""
    found: dict[str, list[Item]] = {}
    kinds = [_kind(item) for item in evidence]
    for kind, item in zip(kinds, evidence, strict=True):
        for name, state in _made(kind, item):
            _add(found.setdefault(name, []), name, state)
    _connect(found, kinds, evidence)
    _logon(found, kinds, evidence)
    for name in STATES:
        given = extras.get(name) if extras else None
        if isinstance(given, list) and given:
            _join(found.setdefault(name, []), name, [one for one in given if isinstance(one, dict)])
    return {name: found[name] for name in STATES if found.get(name)}


def _add(into: list[Item], name: str, state: Item) -> None:
    """Unless an object that says the same or more is there; one that says less becomes this one."""
    for index, old in enumerate(into):
        shared = [key for key in _TELLING[name] if old.get(key) is not None and state.get(key) is not None]
        if any(not _same(old[key], state[key]) for key in shared):
            continue
        joins = name in ("hostStates", "userStates") and any(key not in _APART for key in shared)
        if joins or _covers(old, state) or _covers(state, old):
            into[index] = {**state, **old}
            return
    into.append(state)


def _covers(more: Item, less: Item) -> bool:
    return all(_same(more.get(key), value) for key, value in less.items())


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, str) and isinstance(other, str):
        return one == other or one.lower() == other.lower()
    return bool(one == other)


def _join(into: list[Item], name: str, extras: list[Item]) -> None:
    names, taken = _NAMING[name], set[int]()
    for extra in extras:
        said = [key for key in names if extra.get(key) is not None]
        fits = (
            index
            for index, state in enumerate(into)
            if index not in taken
            and all(state.get(key) is None or _same(state[key], extra[key]) for key in said)
            and (not said or any(state.get(key) is not None for key in said))
        )
        index = next(fits, len(into))
        if index == len(into):
            into.append({})
        into[index] = {**into[index], **{key: value for key, value in extra.items() if value is not None}}
        taken.add(index)


def joined(name: str, old: Sequence[Item], new: Sequence[Item]) -> list[Item]:
    """States of an earlier and a later record of one alert: what agrees in what names the entity is one, the later word
    replaces the earlier one."""
    made = [dict(one) for one in old]
    for state in new:
        said = [key for key in _TELLING[name] if state.get(key) is not None]
        for index, before in enumerate(made):
            shared = [key for key in said if before.get(key) is not None]
            if any(key not in _APART for key in shared) and all(_same(before[key], state[key]) for key in shared):
                made[index] = {**before, **{key: value for key, value in state.items() if value is not None}}
                break
        else:
            made.append(dict(state))
    return made


def _made(kind: str, item: Item) -> list[State]:
    found: list[State] = []
    make = _MAKERS.get(kind)
    if make is not None:
        for name, state in make(item):
            kept = {key: value for key, value in state.items() if value is not None}
            if kept:
                found.append((name, kept))
    return found


def _roles(item: Mapping[str, Any]) -> frozenset[str]:
    roles = item.get("roles")
    return frozenset(roles) if isinstance(roles, list) else frozenset()


def _inside(item: Mapping[str, Any], name: str) -> Item:
    value = item.get(name)
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


# ---------------------------------------------------------------- hosts and users


def _device(item: Item) -> Iterator[State]:
    dns, name = item.get("deviceDnsName"), item.get("hostName")
    label = name or (dns.partition(".")[0] if isinstance(dns, str) else None)
    addresses = [item.get("lastIpAddress"), *(item.get("ipInterfaces") or [])]
    inner = next((text for text in addresses if text and not _public(text)), None)
    outer = item.get("lastExternalIpAddress") or next((text for text in addresses if text and _public(text)), None)
    state = {
        "fqdn": dns,
        "netBiosName": label,
        "os": " ".join(str(part) for part in (item.get("osPlatform"), item.get("version")) if part) or None,
        "privateIpAddress": inner,
        "publicIpAddress": outer,
        "riskScore": item.get("riskScore"),
    }
    if dns or label or inner or outer:
        yield "hostStates", state


def _public(text: Any) -> bool:
    return _is_public(str(text))


@lru_cache(maxsize=MAX_REMEMBERED)
def _is_public(text: str) -> bool:
    try:
        return ip_address(text).is_global
    except ValueError:
        return False


def _iot(item: Item) -> Iterator[State]:
    text = _inside(item, "ipAddress").get("ipAddress")
    yield (
        "hostStates",
        {
            "netBiosName": item.get("deviceName") or item.get("deviceId"),
            "os": item.get("operatingSystem"),
            "publicIpAddress" if _public(text) else "privateIpAddress": text,
        },
    )


def _account(account: Item, **more: Any) -> Iterator[State]:
    upn, name = account.get("userPrincipalName"), account.get("accountName")
    if upn is None and isinstance(name, str) and "@" in name:
        upn = name
    state = {
        "aadUserId": account.get("azureAdUserId"),
        "accountName": name if name != upn else upn.partition("@")[0] if isinstance(upn, str) else None,
        "domainName": account.get("domainName"),
        "onPremisesSecurityIdentifier": account.get("userSid"),
        "userPrincipalName": upn,
    }
    if state["accountName"] is None and isinstance(upn, str):
        state["accountName"] = upn.partition("@")[0]
    known = {key: value for key, value in state.items() if value is not None}
    if known:
        yield "userStates", known | more


def _user(item: Item) -> Iterator[State]:
    yield from _account(_inside(item, "userAccount"))


def _mailbox(item: Item) -> Iterator[State]:
    account = _inside(item, "userAccount")
    upn = account.get("userPrincipalName") or item.get("upn") or item.get("primaryAddress")
    yield from _account({**account, "userPrincipalName": upn}, emailRole="recipient")


def _session(item: Item) -> Iterator[State]:
    account = _inside(_inside(item, "account"), "userAccount")
    yield from _account(account, logonId=item.get("sessionId"), logonDateTime=item.get("startUtcDateTime"))
    yield from _device(_inside(item, "host"))


# ---------------------------------------------------------------- network


def _place(item: Item) -> str | None:
    """The place of an address as one text: city, state, country."""
    where = _inside(item, "location")
    parts = (where.get("city"), where.get("state"), where.get("countryName") or item.get("countryLetterCode"))
    return ", ".join(str(part) for part in parts if part) or None


def _connection(item: Item) -> Iterator[State]:
    start, end = _inside(item, "sourceAddress"), _inside(item, "destinationAddress")
    yield (
        "networkConnections",
        {
            "sourceAddress": start.get("ipAddress"),
            "sourceLocation": _place(start),
            "sourcePort": _text(item.get("sourcePort")),
            "destinationAddress": end.get("ipAddress"),
            "destinationLocation": _place(end),
            "destinationPort": _text(item.get("destinationPort")),
            "protocol": item.get("protocol"),
            "status": "blocked" if item.get("remediationStatus") in ("blocked", "prevented") else None,
        },
    )


def _connect(found: dict[str, list[Item]], kinds: Sequence[str], evidence: Sequence[Item]) -> None:
    """Addresses, domains and URLs that stand alone: each is a connection of its own, of which no more is known. Only
    where there is one connection and one such name they are shown together, as what they most likely are."""
    flows = found.setdefault("networkConnections", [])
    one_flow = len(flows) == 1
    for kind, item in zip(kinds, evidence, strict=True):
        if kind == "ipEvidence" and item.get("ipAddress"):
            _lone_address(flows, item)
    named = [(kind, item) for kind, item in zip(kinds, evidence, strict=True) if kind in _NAMING_PLACES]
    names = _unpaired([state for kind, item in named for state in _destinations(kind, item)])
    for state in names:
        if one_flow and len(names) == 1 and _agrees(flows[0], state):
            flows[0] = {**state, **flows[0]}
        else:
            _add(flows, "networkConnections", state)


def _kind(item: Item) -> str:
    return str(item.get(_TYPE) or "").removeprefix(_NAMESPACE)


def _logon(found: dict[str, list[Item]], kinds: Sequence[str], evidence: Sequence[Item]) -> None:
    """In a record of a sign-in with one account and one source, that is where the account came from."""
    if "cloudLogonSessionEvidence" not in kinds and "cloudLogonRequestEvidence" not in kinds:
        return
    users = found.get("userStates") or []
    sources = [
        item for kind, item in zip(kinds, evidence, strict=True) if kind == "ipEvidence" and not _roles(item) & _TOWARDS
    ]
    if len(users) == len(sources) == 1:
        place = _place(sources[0])
        known = {"logonIp": sources[0].get("ipAddress"), **({"logonLocation": place} if place else {})}
        users[0] = {**known, **users[0]}


def _agrees(one: Item, other: Item) -> bool:
    return all(_same(one[key], value) for key, value in other.items() if key in one)


def _lone_address(flows: list[Item], item: Item) -> None:
    text = item["ipAddress"]
    if any(text in (flow.get("sourceAddress"), flow.get("destinationAddress")) for flow in flows):
        return
    side = "destination" if _roles(item) & _TOWARDS else "source"
    place = _place(item)
    flows.append({f"{side}Address": text, **({f"{side}Location": place} if place else {})})


_NAMING_PLACES = frozenset({"dnsEvidence", "urlEvidence", "analyzedMessageEvidence"})


def _destinations(kind: str, item: Item) -> Iterator[Item]:
    if kind == "dnsEvidence" and item.get("domainName"):
        answers = [one["ipAddress"] for one in item.get("ipAddresses") or [] if one.get("ipAddress")]
        for text in answers or (None,):
            more = {"destinationAddress": text} if text else {}
            yield {"destinationDomain": item["domainName"], **more}
    urls = [item.get("url")] if kind == "urlEvidence" else item.get("urls") or []
    for text in urls if kind != "dnsEvidence" else ():
        if isinstance(text, str):
            host = url_host(text)
            yield {"destinationUrl": text, **({"destinationDomain": host} if host else {})}


def _unpaired(states: list[Item]) -> list[Item]:
    """Without domains that say no more than a URL does."""
    hosts = {
        str(state["destinationDomain"]).lower()
        for state in states
        if "destinationUrl" in state and "destinationDomain" in state
    }
    return [
        state
        for state in states
        if "destinationUrl" in state
        or "destinationAddress" in state
        or str(state["destinationDomain"]).lower() not in hosts
    ]


# ---------------------------------------------------------------- files, processes, registry, malware


def _hashes(details: Item) -> list[Item]:
    return [{"hashType": kind, "hashValue": details[kind]} for kind in _HASHES if details.get(kind)]


def _files(details: Item) -> Iterator[State]:
    about = {"name": details.get("fileName"), "path": details.get("filePath")}
    for found in _hashes(details):
        yield "fileStates", {**about, "fileHash": found}
    if details.get("sha256Ac"):
        yield "fileStates", {**about, "fileHash": {"hashType": "authenticodeHash256", "hashValue": details["sha256Ac"]}}


def _file(item: Item) -> Iterator[State]:
    details = _inside(item, "fileDetails")
    made = list(_files(details))
    yield from made
    if not made:
        yield "fileStates", {"name": details.get("fileName"), "path": details.get("filePath")}


def _file_hash(item: Item) -> Iterator[State]:
    kind = {"sha256ac": "authenticodeHash256"}.get(str(item.get("algorithm")), item.get("algorithm"))
    if item.get("value"):
        yield "fileStates", {"fileHash": {"hashType": kind or "unknown", "hashValue": item["value"]}}


def _process(item: Item) -> Iterator[State]:
    image, parent = _inside(item, "imageFile"), _inside(item, "parentProcessImageFile")
    account = _inside(item, "userAccount")
    first = next(iter(_hashes(image)), None)
    yield (
        "processes",
        {
            "accountName": account.get("accountName") or account.get("userPrincipalName"),
            "commandLine": item.get("processCommandLine"),
            "createdDateTime": item.get("processCreationDateTime"),
            "fileHash": first,
            "name": image.get("fileName"),
            "path": image.get("filePath"),
            "processId": _int32(item.get("processId")),
            "parentProcessId": _int32(item.get("parentProcessId")),
            "parentProcessName": parent.get("fileName"),
            "parentProcessCreatedDateTime": item.get("parentProcessCreationDateTime"),
        },
    )
    yield from _files(image)
    yield from _files(parent)
    yield from _account(account)


def _int32(value: Any) -> int | None:
    """Process numbers of some sensors need 64 bits; the legacy property has 32, and a cut number would be another
    process."""
    return value if isinstance(value, int) and -(2**31) <= value < 2**31 else None


def _registry(item: Item) -> Iterator[State]:
    roles = _roles(item)
    yield (
        "registryKeyStates",
        {
            "hive": hive(item.get("registryHive"), item.get("registryKey")),
            "key": item.get("registryKey"),
            "valueName": item.get("registryValueName"),
            "valueData": item.get("registryValue"),
            "valueType": value_type(item.get("registryValueType")),
            "operation": "create" if "created" in roles else "modify" if "edited" in roles else None,
        },
    )


def _malware(item: Item) -> Iterator[State]:
    yield "malwareStates", {"name": item.get("name"), "category": item.get("category")}
    for file in item.get("files") or []:
        yield from _made(_kind(file), file)
    for process in item.get("processes") or []:
        yield from _made(_kind(process), process)


# ---------------------------------------------------------------- mail


def _message(item: Item) -> Iterator[State]:
    yield (
        "messageSecurityStates",
        {
            "connectingIP": item.get("senderIp"),
            "deliveryAction": item.get("deliveryAction"),
            "deliveryLocation": item.get("deliveryLocation"),
            "directionality": item.get("antiSpamDirection"),
            "internetMessageId": item.get("internetMessageId"),
            "messageReceivedDateTime": item.get("receivedDateTime"),
            "messageSubject": item.get("subject"),
            "networkMessageId": item.get("networkMessageId"),
        },
    )
    sender = _inside(item, "p2Sender").get("emailAddress") or _inside(item, "p1Sender").get("emailAddress")
    yield from _account({"userPrincipalName": sender}, emailRole="sender")
    yield from _account({"userPrincipalName": item.get("recipientEmailAddress")}, emailRole="recipient")


def _submission(item: Item) -> Iterator[State]:
    yield (
        "messageSecurityStates",
        {
            "connectingIP": item.get("senderIp"),
            "messageSubject": item.get("subject"),
            "networkMessageId": item.get("networkMessageId"),
        },
    )
    yield from _account({"userPrincipalName": item.get("sender")}, emailRole="sender")
    yield from _account({"userPrincipalName": item.get("recipient")}, emailRole="recipient")


def _teams(item: Item) -> Iterator[State]:
    yield (
        "messageSecurityStates",
        {
            "connectingIP": item.get("senderIP"),
            "deliveryAction": item.get("deliveryAction"),
            "deliveryLocation": item.get("deliveryLocation"),
            "directionality": item.get("messageDirection"),
            "messageReceivedDateTime": item.get("receivedDateTime"),
            "messageSubject": item.get("subject"),
            "networkMessageId": item.get("messageId"),
        },
    )
    yield from _account({"userPrincipalName": item.get("senderFromAddress")}, emailRole="sender")
    for text in item.get("recipients") or []:
        yield from _account({"userPrincipalName": text}, emailRole="recipient")


# ---------------------------------------------------------------- cloud, code, containers


def _app(name: str) -> Callable[[Item], Iterator[State]]:
    def make(item: Item) -> Iterator[State]:
        text = item.get(name) or item.get("appId")
        yield "cloudAppStates", {"destinationServiceName": _text(text)}

    return make


def _resource(*names: str) -> Callable[[Item], Iterator[State]]:
    def make(item: Item) -> Iterator[State]:
        text = next((item[name] for name in names if item.get(name)), None)
        if text is not None:
            yield "securityResources", _security_resource(str(text), item)

    return make


def _security_resource(text: str, item: Item) -> Item:
    return {"resource": text, "resourceType": "attacked" if _roles(item) & _ATTACKED else "related"}


def _namespaced(item: Item) -> Iterator[State]:
    """cluster/namespace/name, as far as they are known."""
    space = _inside(item, "namespace") or _inside(item, "cluster")
    outer = _inside(space, "cluster").get("name")
    parts = [part for part in (outer, space.get("name"), item.get("name")) if part]
    if item.get("name"):
        yield "securityResources", _security_resource("/".join(str(part) for part in parts), item)


def _pod(item: Item) -> Iterator[State]:
    yield from _namespaced(item)
    for inside in item.get("containers") or []:
        yield from _container(inside)


def _container(item: Item) -> Iterator[State]:
    if item.get("containerId") or item.get("name"):
        yield "securityResources", _security_resource(str(item.get("containerId") or item["name"]), item)
    image = _inside(item, "image")
    if image.get("imageId"):
        yield "securityResources", _security_resource(str(image["imageId"]), image)


_MAKERS: Mapping[str, Callable[[Item], Iterable[State]]] = {
    "activeDirectoryDomainEvidence": _resource("activeDirectoryDomainName"),
    "aiAgentEvidence": _resource("agentName", "agentId"),
    "amazonResourceEvidence": _resource("amazonResourceId", "resourceName", "amazonAccountId"),
    "analyzedMessageEvidence": _message,
    "azureResourceEvidence": _resource("resourceId", "resourceName"),
    "blobContainerEvidence": _resource("url", "name"),
    "blobEvidence": _resource("url", "name"),
    "cloudApplicationEvidence": _app("displayName"),
    "cloudLogonSessionEvidence": _session,
    "containerEvidence": _container,
    "containerImageEvidence": _resource("imageId"),
    "containerRegistryEvidence": _resource("registry"),
    "deviceEvidence": _device,
    "fileEvidence": _file,
    "fileHashEvidence": _file_hash,
    "gitHubOrganizationEvidence": _resource("webUrl", "login", "orgId"),
    "gitHubRepoEvidence": _resource("baseUrl", "login", "repoId"),
    "gitHubUserEvidence": _resource("webUrl", "login", "userId"),
    "googleCloudResourceEvidence": _resource("fullResourceName", "resourceName"),
    "hostLogonSessionEvidence": _session,
    "ioTDeviceEvidence": _iot,
    "kubernetesClusterEvidence": _namespaced,
    "kubernetesControllerEvidence": _namespaced,
    "kubernetesNamespaceEvidence": _namespaced,
    "kubernetesPodEvidence": _pod,
    "kubernetesSecretEvidence": _namespaced,
    "kubernetesServiceAccountEvidence": _namespaced,
    "kubernetesServiceEvidence": _namespaced,
    "mailboxConfigurationEvidence": _mailbox,
    "mailboxEvidence": _mailbox,
    "malwareEvidence": _malware,
    "networkConnectionEvidence": _connection,
    "oauthApplicationEvidence": _app("displayName"),
    "processEvidence": _process,
    "registryKeyEvidence": _registry,
    "registryValueEvidence": _registry,
    "sasTokenEvidence": _resource("signatureHash"),
    "securityGroupEvidence": _resource("displayName", "securityGroupId"),
    "servicePrincipalEvidence": _app("servicePrincipalName"),
    "submissionMailEvidence": _submission,
    "teamsMessageEvidence": _teams,
    "userEvidence": _user,
}
