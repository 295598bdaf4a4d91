"""States of a legacy alert as evidence of today's alert: the way back of `model.legacy`, for alerts that clients send.

Source: the resource types hostSecurityState, userSecurityState, networkConnection, ... of Microsoft Graph.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bartizan.model.entities import address

Item = dict[str, Any]
_HASH_NAMES = {"sha256": "sha256", "sha1": "sha1", "md5": "md5", "authenticodeHash256": "sha256Ac"}
_HIVES = {
    "currentConfig": "HKEY_CURRENT_CONFIG",
    "currentUser": "HKEY_CURRENT_USER",
    "localMachineSam": "HKEY_LOCAL_MACHINE",
    "localMachineSecurity": "HKEY_LOCAL_MACHINE",
    "localMachineSoftware": "HKEY_LOCAL_MACHINE",
    "localMachineSystem": "HKEY_LOCAL_MACHINE",
    "usersDefault": "HKEY_USERS",
}


def evidence(body: Mapping[str, Any]) -> list[Item]:
    """Of the states of a legacy alert (inner form), in the order of the properties below."""
    made: list[Item] = []
    for name, make in _MAKERS.items():
        for state in body.get(name) or []:
            if isinstance(state, dict):
                made.extend(item for item in make(state) if len(item) > 1)
    return made


def _item(kind: str, /, **values: Any) -> Item:
    kept = {key: value for key, value in values.items() if value is not None and value != {} and value != []}
    return {"@odata.type": f"#microsoft.graph.security.{kind}", **kept}


def _some(**values: Any) -> Item:
    return {key: value for key, value in values.items() if value is not None}


def _host(state: Item) -> Iterator[Item]:
    fqdn, label = state.get("fqdn"), state.get("netBiosName")
    inner, outer = state.get("privateIpAddress"), state.get("publicIpAddress")
    dns = fqdn if isinstance(fqdn, str) else None
    yield _item(
        "deviceEvidence",
        hostName=label or (dns.partition(".")[0] if dns else None),
        deviceDnsName=dns,
        osPlatform=state.get("os"),
        lastIpAddress=inner,
        ipInterfaces=[inner] if inner else None,
        lastExternalIpAddress=outer,
    )


def _user(state: Item) -> Iterator[Item]:
    account = _some(
        accountName=state.get("accountName"),
        domainName=state.get("domainName"),
        userPrincipalName=state.get("userPrincipalName"),
        userSid=state.get("onPremisesSecurityIdentifier"),
        azureAdUserId=state.get("aadUserId"),
    )
    if state.get("emailRole") == "recipient":
        upn = state.get("userPrincipalName")
        yield _item("mailboxEvidence", primaryAddress=upn, upn=upn, userAccount=account)
    else:
        yield _item("userEvidence", userAccount=account)
    for text in dict.fromkeys((state.get("logonIp"), state.get("logonIpAddress"))):
        yield from _address(text, "source")
    if state.get("logonId"):
        who = _item("userEvidence", userAccount=account) if account else None
        yield _item(
            "cloudLogonSessionEvidence",
            sessionId=state["logonId"],
            startUtcDateTime=state.get("logonDateTime"),
            account=who,
        )


def _address(text: Any, role: str) -> Iterator[Item]:
    if isinstance(text, str) and address(text) is not None:
        yield _item("ipEvidence", ipAddress=text, roles=[role])


def _connection(state: Item) -> Iterator[Item]:
    start = next(_address(state.get("sourceAddress"), "source"), None)
    end = next(_address(state.get("destinationAddress"), "destination"), None)
    if start is not None and end is not None:
        protocol = state.get("protocol")
        yield _item(
            "networkConnectionEvidence",
            sourceAddress=start,
            sourcePort=_port(state.get("sourcePort")),
            destinationAddress=end,
            destinationPort=_port(state.get("destinationPort")),
            protocol=protocol if protocol in ("tcp", "udp") else None,
            remediationStatus="blocked" if state.get("status") == "blocked" else None,
        )
    yield from (one for one in (start, end) if one is not None)
    yield from _address(state.get("natSourceAddress"), "source")
    yield from _address(state.get("natDestinationAddress"), "destination")
    link = state.get("destinationUrl") or state.get("uri")
    if link:
        yield _item("urlEvidence", url=link)
    if state.get("destinationDomain"):
        yield _item("dnsEvidence", domainName=state["destinationDomain"])


def _port(text: Any) -> int | None:
    plain = str(text or "").strip()
    return int(plain) if plain.isascii() and plain.isdigit() and len(plain) <= 5 and int(plain) <= 65_535 else None


def _details(state: Item) -> Item:
    found = state.get("fileHash")
    hashed = found if isinstance(found, dict) else {}
    kind = _HASH_NAMES.get(str(hashed.get("hashType")))
    details = _some(fileName=state.get("name"), filePath=state.get("path"))
    if state.get("sha256"):
        details["sha256"] = state["sha256"]
    if state.get("authenticodeHash256"):
        details["sha256Ac"] = state["authenticodeHash256"]
    if kind and hashed.get("hashValue"):
        details[kind] = hashed["hashValue"]
    return details


def _file(state: Item) -> Iterator[Item]:
    details = _details(state)
    found = state.get("fileHash")
    hashed = found if isinstance(found, dict) else {}
    if details:
        yield _item("fileEvidence", fileDetails=details)
    if hashed.get("hashValue") and hashed.get("hashType") not in _HASH_NAMES:
        yield _item("fileHashEvidence", algorithm="unknown", value=hashed["hashValue"])


def _process(state: Item) -> Iterator[Item]:
    yield _item(
        "processEvidence",
        processId=state.get("processId"),
        processCommandLine=state.get("commandLine"),
        processCreationDateTime=state.get("createdDateTime"),
        imageFile=_details(state),
        parentProcessId=state.get("parentProcessId"),
        parentProcessCreationDateTime=state.get("parentProcessCreatedDateTime"),
        parentProcessImageFile=_some(fileName=state.get("parentProcessName")),
        userAccount=_some(accountName=state.get("accountName")),
    )


def _registry(state: Item) -> Iterator[Item]:
    where = {"registryHive": _HIVES.get(str(state.get("hive"))), "registryKey": state.get("key")}
    if state.get("valueName") is None and state.get("valueData") is None:
        yield _item("registryKeyEvidence", **where)
    else:
        yield _item(
            "registryValueEvidence",
            **where,
            registryValueName=state.get("valueName"),
            registryValue=state.get("valueData"),
            registryValueType=state.get("valueType"),
        )


def _message(state: Item) -> Iterator[Item]:
    yield _item(
        "analyzedMessageEvidence",
        networkMessageId=state.get("networkMessageId"),
        internetMessageId=state.get("internetMessageId"),
        subject=state.get("messageSubject"),
        senderIp=state.get("connectingIP"),
        deliveryAction=state.get("deliveryAction"),
        deliveryLocation=state.get("deliveryLocation"),
        antiSpamDirection=state.get("directionality"),
        receivedDateTime=state.get("messageReceivedDateTime"),
    )


def _malware(state: Item) -> Iterator[Item]:
    yield _item("malwareEvidence", name=state.get("name") or state.get("family"), category=state.get("category"))


def _app(state: Item) -> Iterator[Item]:
    yield _item("cloudApplicationEvidence", displayName=state.get("destinationServiceName"))
    yield from _address(state.get("destinationServiceIp"), "destination")


def _click(state: Item) -> Iterator[Item]:
    if state.get("uriDomain"):
        yield _item("dnsEvidence", domainName=state["uriDomain"])


def _resource(state: Item) -> Iterator[Item]:
    """By the form of its id; another one has no type of evidence that would be true and stays in the legacy face."""
    text = str(state.get("resource") or "")
    roles = ["attacked"] if state.get("resourceType") == "attacked" else ["contextual"]
    low = text.lower()
    if low.startswith("arn:"):
        parts = text.split(":")
        account = parts[4] if len(parts) > 5 and parts[4] else None
        yield _item("amazonResourceEvidence", amazonResourceId=text, amazonAccountId=account, roles=roles)
    elif low.startswith("/subscriptions/"):
        yield _item("azureResourceEvidence", resourceId=text, resourceName=text.rpartition("/")[2], roles=roles)
    elif low.startswith("//") and ".googleapis.com/" in low:
        yield _item(
            "googleCloudResourceEvidence", fullResourceName=text, resourceName=text.rpartition("/")[2], roles=roles
        )


_MAKERS: Mapping[str, Callable[[Item], Iterator[Item]]] = {
    "hostStates": _host,
    "userStates": _user,
    "networkConnections": _connection,
    "processes": _process,
    "fileStates": _file,
    "registryKeyStates": _registry,
    "malwareStates": _malware,
    "messageSecurityStates": _message,
    "uriClickSecurityStates": _click,
    "cloudAppStates": _app,
    "securityResources": _resource,
}
