"""Evidence of an alert as the entities of Sentinel's SecurityAlert. Pure.

Types and fields are those of the reference. What it lacks is named alike: network connections, and of accounts, hosts
and groups a few fields more.

Source: Microsoft Sentinel entity types reference; Microsoft Graph, alertEvidence (microsoft.graph.security) and what is
derived from it.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from bartizan.lake.rows import Inner, first, list_of, object_of

Entity: TypeAlias = dict[str, Any]
_Of: TypeAlias = str | Callable[[Inner], Any]  # a property, or how to find it
_UNSAID: tuple[Any, ...] = (None, "", [], {})


def entity(number: int, evidence: Any) -> Entity:
    """As Sentinel's alerts name it, as far as it names it; of other kinds what the evidence says."""
    if not isinstance(evidence, dict):
        return {"$id": str(number), "Type": "unknown", "Value": evidence}
    kind = kind_of(evidence)
    if kind not in _ENTITIES:
        return {"$id": str(number), "Type": kind, **evidence}
    return {"$id": str(number), "Type": _ENTITIES[kind][0], **_fields(kind, evidence)}


def kind_of(evidence: Inner) -> str:
    """Such as user, of #microsoft.graph.security.userEvidence."""
    return str(evidence.get("@odata.type") or "").rpartition(".")[2].removesuffix("Evidence") or "unknown"


def host_or_user(evidence: Any) -> str | None:
    """What people call the machine or the account; None of what is neither."""
    if not isinstance(evidence, dict):
        return None
    user = object_of(evidence, "userAccount")
    found = first(evidence, "hostName", "deviceDnsName")
    return found or (first(user, "userPrincipalName", "accountName") if kind_of(evidence) == "user" else None)


def _fields(kind: str, evidence: Inner) -> Entity:
    made: Entity = {}
    for field, of in _ENTITIES[kind][1].items():
        value = evidence.get(of) if isinstance(of, str) else of(evidence)
        if value not in _UNSAID:
            made[field] = value
    return made


def _typed(kind: str, evidence: Inner) -> Entity | None:
    """One that stands in another; None where nothing is said of it."""
    made = _fields(kind, evidence)
    return {"Type": _ENTITIES[kind][0], **made} if made else None


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
    of = object_of(evidence, "location")
    names = {"CountryName": "countryName", "State": "state", "City": "city"}
    names |= {"Latitude": "latitude", "Longitude": "longitude"}
    said = {"CountryCode": evidence.get("countryLetterCode"), **{name: of.get(path) for name, path in names.items()}}
    return {name: value for name, value in said.items() if value not in (None, "")}


def _hashes(file: Inner) -> list[Entity]:
    return [
        {"Type": "filehash", "Algorithm": name.upper(), "Value": file[name]}
        for name in ("md5", "sha1", "sha256")
        if file.get(name)
    ]


def _file(evidence: Inner) -> Inner:
    return object_of(evidence, "fileDetails") or object_of(evidence, "imageFile") or evidence


def _parent(evidence: Inner) -> Entity | None:
    names = {"processId": "parentProcessId", "imageFile": "parentProcessImageFile"}
    names["processCreationDateTime"] = "parentProcessCreationDateTime"
    said = {name: evidence[path] for name, path in names.items() if evidence.get(path) is not None}
    return _typed("process", said) if said else None


def _of_file(what: str | Callable[[Inner], Any]) -> Callable[[Inner], Any]:
    return lambda evidence: what(_file(evidence)) if callable(what) else _file(evidence).get(what)


def _of_account(what: str | Callable[[Inner], Any]) -> Callable[[Inner], Any]:
    def found(evidence: Inner) -> Any:
        account = object_of(evidence, "userAccount") or evidence
        return what(account) if callable(what) else account.get(what)

    return found


def _sender(evidence: Inner) -> Any:
    return object_of(evidence, "p2Sender").get("emailAddress") or object_of(evidence, "p1Sender").get("emailAddress")


_REGISTRY_KEY: Mapping[str, _Of] = {"Hive": "registryHive", "Key": "registryKey"}
_ENTITIES: Mapping[str, tuple[str, Mapping[str, _Of]]] = {  # by kind of evidence: Type, and fields
    "user": (
        "account",
        {
            "Name": _of_account("accountName"),
            "UPNSuffix": _of_account(_suffix),
            "NTDomain": _of_account("domainName"),
            "Sid": _of_account("userSid"),
            "AadUserId": _of_account("azureAdUserId"),
            "ObjectGuid": _of_account("activeDirectoryObjectGuid"),
            "UserPrincipalName": _of_account("userPrincipalName"),
            "DisplayName": _of_account("displayName"),
        },
    ),
    "device": (
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
    "ip": ("ip", {"Address": "ipAddress", "Location": _place}),
    "url": ("url", {"Url": "url"}),
    "file": (
        "file",
        {
            "Name": _of_file("fileName"),
            "Directory": _of_file("filePath"),
            "SizeInBytes": _of_file("fileSize"),
            "FileHashes": _of_file(_hashes),
        },
    ),
    "fileHash": ("filehash", {"Algorithm": _upper("algorithm"), "Value": "value"}),
    "process": (
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
    "dns": (
        "dns",
        {
            "DomainName": "domainName",
            "IpAddress": _each("ip", "ipAddresses"),
            "DnsServerIp": _inside("ip", "dnsServerIp"),
            "HostIpAddress": _inside("ip", "hostIpAddress"),
        },
    ),
    "malware": (
        "malware",
        {
            "Name": "name",
            "Category": "category",
            "Files": _each("file", "files"),
            "Processes": _each("process", "processes"),
        },
    ),
    "registryKey": ("registry-key", _REGISTRY_KEY),
    "registryValue": (
        "registry-value",
        {
            "Key": lambda evidence: _typed("registryKey", evidence),
            "Name": "registryValueName",
            "Value": "registryValue",
            "ValueType": "registryValueType",
        },
    ),
    "securityGroup": (
        "security-group",
        {
            "DistinguishedName": "distinguishedName",
            "SID": "sid",
            "ObjectGuid": _first("activeDirectoryObjectGuid", "securityGroupId"),
            "DisplayName": _first("displayName", "friendlyName"),
        },
    ),
    "mailbox": (
        "mailbox",
        {
            "MailboxPrimaryAddress": "primaryAddress",
            "DisplayName": "displayName",
            "Upn": "upn",
            "AadId": _of_account("azureAdUserId"),
        },
    ),
    "mailCluster": (
        "mail-cluster",
        {"NetworkMessageIds": "networkMessageIds", "Query": "query", "MailCount": "emailCount"},
    ),
    "analyzedMessage": (
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
    "submissionMail": (
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
    "azureResource": (
        "azure-resource",
        {"ResourceId": "resourceId", "ResourceType": "resourceType", "ResourceName": "resourceName"},
    ),
    "cloudApplication": (
        "cloud-application",
        {"AppId": "appId", "Name": "displayName", "InstanceName": "instanceName", "InstanceId": "instanceId"},
    ),
    "networkConnection": (
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
