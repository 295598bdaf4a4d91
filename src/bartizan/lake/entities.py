"""Evidence of an alert as the entities of Sentinel's SecurityAlert. Pure.

Types and fields are those of the reference. What it lacks is named alike: network connections, and of accounts, hosts
and groups a few fields more.

Source: Microsoft Sentinel entity types reference; Microsoft Graph, alertEvidence (microsoft.graph.security) and what is
derived from it.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from bartizan.lake.rows import Inner, first, list_of, object_of

Entity: TypeAlias = dict[str, Any]
_Of: TypeAlias = str | Callable[[Inner], Any]  # a property, or how to find it
_UNSAID: tuple[Any, ...] = (None, "", [], {})


class _Shape(NamedTuple):
    """How a kind of evidence becomes an entity."""

    type: str
    fields: Mapping[str, _Of]
    inside: Callable[[Inner], Inner] | None = None  # where the properties of the fields stand, if not in the evidence


def entity(number: int, evidence: Any) -> Entity:
    """As Sentinel's alerts name it, as far as it names it; of other kinds what the evidence says."""
    if not isinstance(evidence, dict):
        return {"$id": str(number), "Type": "unknown", "Value": evidence}
    kind = kind_of(evidence)
    shape = _ENTITIES.get(kind)
    if shape is None:
        return {"$id": str(number), "Type": kind, **evidence}
    return {"$id": str(number), "Type": shape.type, **_fields(shape, evidence)}


def kind_of(evidence: Inner) -> str:
    """Such as user, of #microsoft.graph.security.userEvidence."""
    type = evidence.get("@odata.type")
    known = _KINDS.get(type) if isinstance(type, str) else None
    return known or str(type or "").rpartition(".")[2].removesuffix("Evidence") or "unknown"


def host_or_user(evidence: Any) -> str | None:
    """What people call the machine or the account; None of what is neither."""
    if not isinstance(evidence, dict):
        return None
    found: str | None = evidence.get("hostName") or evidence.get("deviceDnsName")
    if not found and kind_of(evidence) == "user":
        found = first(object_of(evidence, "userAccount"), "userPrincipalName", "accountName")
    return found or None


def _fields(shape: _Shape, evidence: Inner) -> Entity:
    said = evidence if shape.inside is None else shape.inside(evidence)
    made: Entity = {}
    for field, of in shape.fields.items():
        value = said.get(of) if isinstance(of, str) else of(said)
        if value or value not in _UNSAID:
            made[field] = value
    return made


def _typed(kind: str, evidence: Inner) -> Entity | None:
    """One that stands in another; None where nothing is said of it."""
    if not evidence:
        return None
    shape = _ENTITIES[kind]
    made = _fields(shape, evidence)
    return {"Type": shape.type, **made} if made else None


def _first(*names: str) -> Callable[[Inner], Any]:
    return lambda evidence: first(evidence, *names)


def _inside(kind: str, name: str) -> Callable[[Inner], Entity | None]:
    """An entity that stands in a property."""
    return lambda evidence: _typed(kind, object_of(evidence, name))


def _each(kind: str, name: str) -> Callable[[Inner], list[Entity]]:
    return lambda evidence: [
        found for each in list_of(evidence.get(name)) if isinstance(each, dict) and (found := _typed(kind, each))
    ]


def _text(name: str) -> Callable[[Inner], str | None]:
    return lambda evidence: None if evidence.get(name) is None else str(evidence[name])


def _upper(name: str) -> Callable[[Inner], str | None]:
    return lambda evidence: str(evidence.get(name) or "").upper() or None


def _interfaces(device: Inner) -> list[Entity]:
    named = [device.get("lastIpAddress"), *list_of(device.get("ipInterfaces"))]
    return [{"Type": "ip", "Address": each} for each in dict.fromkeys(named) if isinstance(each, str) and each]


def _suffix(account: Inner) -> str | None:
    return str(account.get("userPrincipalName") or "").partition("@")[2] or None


def _place(evidence: Inner) -> dict[str, Any]:
    said = {"CountryCode": evidence.get("countryLetterCode")}
    if of := object_of(evidence, "location"):
        said |= {name: of.get(path) for name, path in _PLACE.items()}
    return {name: value for name, value in said.items() if value not in (None, "")}


def _hashes(file: Inner) -> list[Entity]:
    return [
        {"Type": "filehash", "Algorithm": name.upper(), "Value": file[name]}
        for name in ("md5", "sha1", "sha256")
        if file.get(name)
    ]


def _account(evidence: Inner) -> Inner:
    return object_of(evidence, "userAccount") or evidence


def _file(evidence: Inner) -> Inner:
    return object_of(evidence, "fileDetails") or object_of(evidence, "imageFile") or evidence


def _parent(evidence: Inner) -> Entity | None:
    return _typed("process", {name: evidence[path] for name, path in _PARENT.items() if evidence.get(path) is not None})


def _sender(evidence: Inner) -> Any:
    return object_of(evidence, "p2Sender").get("emailAddress") or object_of(evidence, "p1Sender").get("emailAddress")


_PLACE = {
    "CountryName": "countryName",
    "State": "state",
    "City": "city",
    "Latitude": "latitude",
    "Longitude": "longitude",
}
_PARENT = {
    "processId": "parentProcessId",
    "imageFile": "parentProcessImageFile",
    "processCreationDateTime": "parentProcessCreationDateTime",
}
_REGISTRY_KEY: Mapping[str, _Of] = {"Hive": "registryHive", "Key": "registryKey"}
_ENTITIES: Mapping[str, _Shape] = {  # by kind of evidence
    "user": _Shape(
        "account",
        {
            "Name": "accountName",
            "UPNSuffix": _suffix,
            "NTDomain": "domainName",
            "Sid": "userSid",
            "AadUserId": "azureAdUserId",
            "ObjectGuid": "activeDirectoryObjectGuid",
            "UserPrincipalName": "userPrincipalName",
            "DisplayName": "displayName",
        },
        _account,
    ),
    "device": _Shape(
        "host",
        {
            "HostName": host_or_user,
            "DnsDomain": "dnsDomain",
            "NTDomain": "ntDomain",
            "MdatpDeviceId": "mdeDeviceId",
            "AadDeviceId": "azureAdDeviceId",
            "AzureID": "resourceId",
            "OSFamily": "osPlatform",
            "OSVersion": "version",
            "IpInterfaces": _interfaces,
        },
    ),
    "ip": _Shape("ip", {"Address": "ipAddress", "Location": _place}),
    "url": _Shape("url", {"Url": "url"}),
    "file": _Shape(
        "file",
        {
            "Name": "fileName",
            "Directory": "filePath",
            "SizeInBytes": "fileSize",
            "FileHashes": _hashes,
        },
        _file,
    ),
    "fileHash": _Shape("filehash", {"Algorithm": _upper("algorithm"), "Value": "value"}),
    "process": _Shape(
        "process",
        {
            "ProcessId": _text("processId"),
            "CommandLine": "processCommandLine",
            "CreationTimeUtc": "processCreationDateTime",
            "ImageFile": _inside("file", "imageFile"),
            "Account": _inside("user", "userAccount"),
            "ParentProcess": _parent,
        },
    ),
    "dns": _Shape(
        "dns",
        {
            "DomainName": "domainName",
            "IpAddress": _each("ip", "ipAddresses"),
            "DnsServerIp": _inside("ip", "dnsServerIp"),
            "HostIpAddress": _inside("ip", "hostIpAddress"),
        },
    ),
    "malware": _Shape(
        "malware",
        {
            "Name": "name",
            "Category": "category",
            "Files": _each("file", "files"),
            "Processes": _each("process", "processes"),
        },
    ),
    "registryKey": _Shape("registry-key", _REGISTRY_KEY),
    "registryValue": _Shape(
        "registry-value",
        {
            "Key": lambda evidence: _typed("registryKey", evidence),
            "Name": "registryValueName",
            "Value": "registryValue",
            "ValueType": "registryValueType",
        },
    ),
    "securityGroup": _Shape(
        "security-group",
        {
            "DistinguishedName": "distinguishedName",
            "SID": "sid",
            "ObjectGuid": _first("activeDirectoryObjectGuid", "securityGroupId"),
            "DisplayName": _first("displayName", "friendlyName"),
        },
    ),
    "mailbox": _Shape(
        "mailbox",
        {
            "MailboxPrimaryAddress": "primaryAddress",
            "DisplayName": "displayName",
            "Upn": "upn",
            "AadId": lambda evidence: _account(evidence).get("azureAdUserId"),
        },
    ),
    "mailCluster": _Shape(
        "mail-cluster",
        {"NetworkMessageIds": "networkMessageIds", "Query": "query", "MailCount": "emailCount"},
    ),
    "analyzedMessage": _Shape(
        "mail-message",
        {
            "Recipient": "recipientEmailAddress",
            "Sender": _sender,
            "SenderIP": "senderIp",
            "Subject": "subject",
            "ReceivedDate": "receivedDateTime",
            "NetworkMessageId": "networkMessageId",
            "InternetMessageId": "internetMessageId",
            "Urls": "urls",
            "Threats": "threats",
            "AntispamDirection": "antiSpamDirection",
            "DeliveryAction": "deliveryAction",
            "DeliveryLocation": "deliveryLocation",
        },
    ),
    "submissionMail": _Shape(
        "SubmissionMail",
        {
            "SubmissionId": "submissionId",
            "SubmissionDate": "submissionDateTime",
            "Submitter": "submitter",
            "NetworkMessageId": "networkMessageId",
            "Recipient": "recipient",
            "Sender": "sender",
            "SenderIp": "senderIp",
            "Subject": "subject",
            "ReportType": "reportType",
        },
    ),
    "azureResource": _Shape(
        "azure-resource",
        {"ResourceId": "resourceId", "ResourceType": "resourceType", "ResourceName": "resourceName"},
    ),
    "cloudApplication": _Shape(
        "cloud-application",
        {"AppId": "appId", "Name": "displayName", "InstanceName": "instanceName", "InstanceId": "instanceId"},
    ),
    "networkConnection": _Shape(
        "network-connection",
        {
            "SourceAddress": _inside("ip", "sourceAddress"),
            "SourcePort": "sourcePort",
            "DestinationAddress": _inside("ip", "destinationAddress"),
            "DestinationPort": "destinationPort",
            "Protocol": "protocol",
        },
    ),
}
_KINDS = {f"#microsoft.graph.security.{kind}Evidence": kind for kind in _ENTITIES}  # by type, of most evidence
