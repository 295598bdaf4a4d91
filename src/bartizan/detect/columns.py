"""What the columns of a result name: the evidence of an alert, and when it happened.

Columns are known by their names, those of Defender XDR's advanced hunting and of Log Analytics alike; a column that is
not known stays in the alert's rows.

Source: Microsoft Defender XDR, "Understand the advanced hunting schema"; Azure Monitor Logs reference.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from bartizan.model import entities
from bartizan.model import security as graph
from bartizan.model.times import parse

MAX_EVIDENCE = 100  # of one alert
IMPACTED = "impactedAsset"  # a detailed role

_TIMES = ("Timestamp", "TimeGenerated", "CreatedDateTime", "StartTime", "StartTimeUtc", "EventTime")
_LAST_TIMES = ("EndTime", "EndTimeUtc", "LastSeen", "LastActivity")
_DEVICES: Sequence[tuple[str, str | None]] = (  # column of a name, column of the id that goes with it
    ("DeviceName", "DeviceId"),
    ("Computer", None),
    ("HostName", None),
    ("Dvc", None),
    ("DvcHostname", None),
    ("SrcDvcHostname", None),
    ("DstDvcHostname", None),
    ("SourceHostName", None),
    ("DestinationHostName", None),
    ("RemoteDeviceName", None),
    ("TargetDeviceName", "TargetDeviceId"),
    ("DestinationDeviceName", None),
    ("WorkstationName", None),
)
_ACCOUNTS = (
    "Account InitiatingProcessAccount TargetAccount RequestAccount LastModifyingAccount ProcessAccount "
    "InitiatingAccount Recipient FileOwner"
).split()
_SUFFIXES = {"Upn": "userPrincipalName", "ObjectId": "azureAdUserId", "Sid": "userSid", "Name": "accountName",
             "Domain": "domainName", "DisplayName": "displayName"}  # fmt: skip
_USERS: Sequence[tuple[str, Mapping[str, str]]] = (  # further ways to name one: column that there must be, the others
    ("UserPrincipalName", {"UserId": "azureAdUserId", "UserDisplayName": "displayName"}),
    ("TargetUserName", {"TargetUserSid": "userSid", "TargetDomainName": "domainName"}),
    ("SubjectUserName", {"SubjectUserSid": "userSid", "SubjectDomainName": "domainName"}),
    ("SourceUserName", {"SourceUserID": "azureAdUserId"}),
    ("DestinationUserName", {"DestinationUserID": "azureAdUserId"}),
    ("UserName", {}),
    ("User", {}),
    ("Account", {}),
    ("Caller", {}),
)
_ADDRESSES: Mapping[str, graph.EvidenceRole | None] = {
    "RemoteIP": None,
    "IPAddress": None,
    "ClientIP": "source",
    "ClientIPAddress": "source",
    "CallerIpAddress": "source",
    "SourceIP": "source",
    "SourceIp": "source",
    "SrcIpAddr": "source",
    "SenderIPv4": "source",
    "SenderIPv6": "source",
    "RequestSourceIP": "source",
    "InitiatingProcessRemoteSessionIP": "source",
    "FileOriginIP": "source",
    "DestinationIP": "destination",
    "DestinationIPAddress": "destination",
    "DstIpAddr": "destination",
}
_URLS = ("RemoteUrl", "Url", "FileOriginUrl", "RequestURL", "UrlOriginal", "DestinationUrl")
_DOMAINS = ("DnsQuery", "QueryName", "Domain", "DomainName", "DestinationHost")
_APPLICATIONS = ("Application", "AppDisplayName", "ResourceDisplayName")

Row = Mapping[str, Any]


class _Cells:
    """A row by column names in any case; empty texts are none."""

    def __init__(self, row: Row) -> None:
        self._values = {name.lower(): value for name, value in reversed(list(row.items()))}

    def text(self, name: str) -> str | None:
        value = self._values.get(name.lower())
        if value is None or isinstance(value, dict | list | bool):
            return None
        found = str(value).strip()
        return found or None

    def number(self, name: str) -> int | None:
        value = self._values.get(name.lower())
        return int(value) if isinstance(value, int) and not isinstance(value, bool) else None


def instants(rows: Sequence[Row]) -> tuple[str, str] | None:
    """The first and the last moment that rows name, as wire texts."""
    first = [at for row in rows for name in _TIMES if (at := _instant(_Cells(row).text(name))) is not None]
    last = [at for row in rows for name in _LAST_TIMES if (at := _instant(_Cells(row).text(name))) is not None]
    every = [*first, *last]
    return (min(every), max(every)) if every else None


def _instant(text: str | None) -> str | None:
    try:
        return None if text is None else parse(text)
    except ValueError:
        return None


def evidence_of(
    rows: Sequence[Row],
    assets: Sequence[tuple[str, str]],
    mapped: Callable[[Row], Iterable[graph.AlertEvidence]] | None = None,
) -> tuple[list[graph.AlertEvidence], int]:
    """What rows name, each once, impacted assets first; and how much more there is than an alert holds. Where it is
    said what is `mapped`, no column is known by its name."""
    found: dict[bytes, graph.AlertEvidence] = {}
    named = [_impacted(assets)] if mapped is not None else [_impacted(assets), *_PARTS]
    parts = [*map(_of_cells, named), *([mapped] if mapped is not None else [])]
    for part in parts:
        for row in rows:
            for item in part(row):
                found.setdefault(_same(item), item)
    items = list(found.values())
    return items[:MAX_EVIDENCE], max(0, len(items) - MAX_EVIDENCE)


def _of_cells(
    part: Callable[[_Cells], Iterator[graph.AlertEvidence]],
) -> Callable[[Row], Iterable[graph.AlertEvidence]]:
    return lambda row: part(_Cells(row))


def _same(item: graph.AlertEvidence) -> bytes:
    return msgspec.json.encode(msgspec.structs.replace(item, roles=[], detailedRoles=[])).lower()


def _impacted(assets: Sequence[tuple[str, str]]) -> Callable[[_Cells], Iterator[graph.AlertEvidence]]:
    def of(cells: _Cells) -> Iterator[graph.AlertEvidence]:
        for kind, name in assets:
            item = _ASSETS[kind](cells, name) if kind in _ASSETS and cells.text(name) is not None else None
            if item is not None:
                item.detailedRoles = [IMPACTED]
                yield item

    return of


def _asset_device(cells: _Cells, name: str) -> graph.AlertEvidence | None:
    pair = next((each for each in _DEVICES if name.lower() in (each[0].lower(), (each[1] or "").lower())), (name, None))
    return _device(cells, *pair)


def _asset_user(cells: _Cells, name: str) -> graph.AlertEvidence | None:
    if name.lower().startswith("serviceprincipal"):
        return next(_service_principals(cells), None)
    for suffix in sorted(_SUFFIXES, key=len, reverse=True):
        if name.lower().endswith(suffix.lower()):
            return _account(cells, name[: -len(suffix)])
    return _user(graph.UserAccount(azureAdUserId=cells.text(name)))  # accountId


def _asset_mailbox(cells: _Cells, name: str) -> graph.AlertEvidence | None:
    value = cells.text(name)
    if value is None or "@" not in value:  # a display name alone is no mailbox
        return None
    return graph.MailboxEvidence(primaryAddress=value, upn=value if name.lower().endswith("upn") else None)


_ASSETS: Mapping[str, Callable[[_Cells, str], graph.AlertEvidence | None]] = {
    "device": _asset_device,
    "user": _asset_user,
    "mailbox": _asset_mailbox,
}


def _device(cells: _Cells, name: str, id: str | None) -> graph.AlertEvidence | None:
    host = cells.text(name)
    known = None if id is None else cells.text(id)
    if host is None and known is None:
        return None
    own = name == "DeviceName"
    return graph.DeviceEvidence(
        deviceDnsName=host if host and "." in host else None,
        hostName=host.partition(".")[0] if host else None,
        mdeDeviceId=known,
        osPlatform=cells.text("OSPlatform") if own else None,
        azureAdDeviceId=cells.text("AadDeviceId") if own else None,
        rbacGroupName=cells.text("MachineGroup") if own else None,
    )


def _devices(cells: _Cells) -> Iterator[graph.AlertEvidence]:
    for name, id in _DEVICES:
        if (found := _device(cells, name, id)) is not None:
            yield found


def _account(cells: _Cells, stem: str) -> graph.AlertEvidence | None:
    return _user(_account_of({to: cells.text(stem + suffix) for suffix, to in _SUFFIXES.items()}))


def _account_of(said: Mapping[str, str | None]) -> graph.UserAccount:
    return msgspec.convert({name: value for name, value in said.items() if value is not None}, graph.UserAccount)


def _user(account: graph.UserAccount) -> graph.AlertEvidence | None:
    """None where nothing says which account it is. DOMAIN\\name and name@domain are taken apart."""
    name = account.accountName
    if name is not None and "\\" in name:
        account.domainName, _, account.accountName = name.rpartition("\\")
    elif name is not None and "@" in name and account.userPrincipalName is None:
        account.userPrincipalName, account.accountName = name, name.partition("@")[0]
    elif name is None and account.userPrincipalName is not None:
        account.accountName = account.userPrincipalName.partition("@")[0] or None
    known = (account.userPrincipalName, account.azureAdUserId, account.userSid, account.accountName)
    return graph.UserEvidence(userAccount=account) if any(known) else None


def _users(cells: _Cells) -> Iterator[graph.AlertEvidence]:
    for stem in _ACCOUNTS:
        if (found := _account(cells, stem)) is not None:
            yield found
    for name, others in _USERS:
        value = cells.text(name)
        if value is None:
            continue
        to = "userPrincipalName" if name == "UserPrincipalName" else "accountName"
        made = {**{own: cells.text(column) for column, own in others.items()}, to: value}
        if (found := _user(_account_of(made))) is not None:
            yield found


def _service_principals(cells: _Cells) -> Iterator[graph.AlertEvidence]:
    id, name = cells.text("ServicePrincipalId"), cells.text("ServicePrincipalName")
    if id or name:
        app = cells.text("AppId") or cells.text("ApplicationId")
        yield graph.ServicePrincipalEvidence(servicePrincipalObjectId=id, servicePrincipalName=name, appId=app)


def _mails(cells: _Cells) -> Iterator[graph.AlertEvidence]:
    id, recipient = cells.text("NetworkMessageId"), cells.text("RecipientEmailAddress")
    sender = cells.text("SenderFromAddress")
    if id is not None:
        envelope = cells.text("SenderMailFromAddress")
        yield graph.AnalyzedMessageEvidence(
            networkMessageId=id,
            internetMessageId=cells.text("InternetMessageId"),
            recipientEmailAddress=recipient,
            subject=cells.text("Subject"),
            senderIp=cells.text("SenderIPv4") or cells.text("SenderIPv6"),
            p1Sender=graph.EmailSender(emailAddress=envelope) if envelope else None,
            p2Sender=graph.EmailSender(emailAddress=sender, displayName=cells.text("SenderDisplayName"))
            if sender
            else None,
        )
    if recipient is not None:
        yield graph.MailboxEvidence(primaryAddress=recipient)


def _addresses(cells: _Cells) -> Iterator[graph.AlertEvidence]:
    for name, role in _ADDRESSES.items():
        value = cells.text(name)
        address = None if value is None else entities.address(value)
        if address is not None:
            yield graph.IpEvidence(ipAddress=address, roles=[role] if role else [])


def _file(cells: _Cells, before: str = "", path: str = "FolderPath") -> graph.FileDetails | None:
    names = {"fileName": "FileName", "filePath": path, "sha1": "SHA1", "sha256": "SHA256", "md5": "MD5"}
    found = {to: cells.text(before + name) for to, name in names.items()}
    if not any(found.values()):
        return None
    return graph.FileDetails(**found, fileSize=cells.number(f"{before}FileSize"))


def _processes_and_files(cells: _Cells) -> Iterator[graph.AlertEvidence]:
    """The row's own file is a process where it has a command line."""
    device = cells.text("DeviceId")
    own, command = _file(cells), cells.text("ProcessCommandLine") or cells.text("CommandLine")
    image = cells.text("NewProcessName") or cells.text("Process")
    if own is None and image is not None:
        own = graph.FileDetails(fileName=image.replace("/", "\\").rpartition("\\")[2], filePath=image)
    if command is not None or cells.number("ProcessId") is not None:
        yield graph.ProcessEvidence(
            imageFile=own,
            processCommandLine=command,
            processId=cells.number("ProcessId"),
            processCreationDateTime=_instant(cells.text("ProcessCreationTime")),
            mdeDeviceId=device,
        )
    elif own is not None:
        yield graph.FileEvidence(fileDetails=own, mdeDeviceId=device)
    acting = _file(cells, "InitiatingProcess")
    if acting is not None:
        parent = cells.text("InitiatingProcessParentFileName")
        yield graph.ProcessEvidence(
            imageFile=acting,
            processCommandLine=cells.text("InitiatingProcessCommandLine"),
            processId=cells.number("InitiatingProcessId"),
            processCreationDateTime=_instant(cells.text("InitiatingProcessCreationTime")),
            parentProcessId=cells.number("InitiatingProcessParentId"),
            parentProcessImageFile=graph.FileDetails(fileName=parent) if parent else None,
            mdeDeviceId=device,
        )


def _hashes(cells: _Cells) -> Iterator[graph.AlertEvidence]:
    value = cells.text("FileHash")
    if value is not None and entities.digest(value) is not None:
        yield graph.FileHashEvidence(value=value)


def _places(cells: _Cells) -> Iterator[graph.AlertEvidence]:
    """Addresses of the web; a host alone is a name."""
    for name in (*_URLS, *_DOMAINS):
        value = cells.text(name)
        if value is None:
            continue
        if name in _URLS and entities.url(value) is not None:
            yield graph.UrlEvidence(url=value)
        elif (host := entities.domain(value)) is not None:
            yield graph.DnsEvidence(domainName=host)


def _others(cells: _Cells) -> Iterator[graph.AlertEvidence]:
    key = cells.text("RegistryKey")
    if key is not None:
        hive, _, rest = key.partition("\\")
        yield graph.RegistryValueEvidence(
            registryHive=hive,
            registryKey=rest or key,
            registryValueName=cells.text("RegistryValueName"),
            registryValue=cells.text("RegistryValueData"),
            registryValueType=cells.text("RegistryValueType"),
            mdeDeviceId=cells.text("DeviceId"),
        )
    for name in _APPLICATIONS:
        if (value := cells.text(name)) is not None:
            yield graph.CloudApplicationEvidence(displayName=value)
    resource = cells.text("ResourceId") or cells.text("_ResourceId")
    if resource is not None and resource.lower().startswith("/subscriptions/"):
        yield graph.AzureResourceEvidence(resourceId=resource, resourceName=resource.rpartition("/")[2])


_PARTS: Sequence[Callable[[_Cells], Iterator[graph.AlertEvidence]]] = (
    _devices,
    _users,
    _service_principals,
    _mails,
    _addresses,
    _processes_and_files,
    _hashes,
    _places,
    _others,
)
