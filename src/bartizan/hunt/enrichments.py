"""Functions of advanced hunting that tell more of the rows: each is a text of the query language over the tenant's own
tables, and one entry of `ENRICHMENTS`.

They know what these tables hold and no more: what only Microsoft can know of a file, such as its global prevalence, is
null. They look into the time span of the query. A saved function of the same name stands in place of one.

Source: Microsoft Defender XDR, advanced hunting, "FileProfile()", "SeenBy()", "AssignedIPAddresses()",
"DeviceFromIP()"; Microsoft Defender for Endpoint, "Device discovery overview" (what SeenBy gives); .NET,
"NetworkInterfaceType".
"""

from collections.abc import Mapping

from msgspec import Struct


class Enrichment(Struct, frozen=True):
    """`columns`: parameters that name a column of the rows; a query says it with or without quotes. `least_most`:
    between what a number must be."""

    says: str
    text: str  # as `Catalogue.functions` has it
    columns: tuple[str, ...] = ()
    least_most: Mapping[str, tuple[int, int]] = {}


# Of each file that a row tells: the file that was acted on, and the one that acted.
_OF_FILES = "DeviceProcessEvents DeviceFileEvents DeviceImageLoadEvents DeviceEvents".split()
_OF_ACTORS = (*_OF_FILES, "DeviceNetworkEvents", "DeviceRegistryEvents", "DeviceLogonEvents")
_ACTOR = (
    "SHA1 = InitiatingProcessSHA1, SHA256 = InitiatingProcessSHA256, MD5 = InitiatingProcessMD5, "
    "FileSize = InitiatingProcessFileSize, Publisher = InitiatingProcessVersionInfoCompanyName, "
    "SoftwareName = InitiatingProcessVersionInfoProductName"
)
_FILE = {
    "DeviceProcessEvents": (
        "SHA1, SHA256, MD5, FileSize, Publisher = ProcessVersionInfoCompanyName, "
        "SoftwareName = ProcessVersionInfoProductName"
    ),
    "DeviceFileEvents": "SHA1, SHA256, MD5, FileSize",
    "DeviceImageLoadEvents": "SHA1, SHA256, MD5, FileSize, IsExecutable = true",
    "DeviceEvents": (
        "SHA1, SHA256, MD5, FileSize, "
        "ThreatName = iff(ActionType startswith 'AntivirusDetection', "
        "tostring(parse_json(AdditionalFields).ThreatName), '')"
    ),
}
_SEEN = ",\n        ".join(
    [f"({name} | project {_FILE[name]})" for name in _OF_FILES]
    + [f"({name} | project {_ACTOR})" for name in _OF_ACTORS]
)

_FILE_PROFILE = f"""(T: (*), x: string = "SHA1", y: long = 100) {{
    let rows = materialize(T | serialize ['$row'] = row_number()
        | extend ['$file'] = tolower(tostring(column_ifexists(x, "")))
        | extend ['$file'] = iff(['$row'] <= y and ['$file'] matches regex "^([0-9a-f]{{40}}|[0-9a-f]{{64}})$",
            ['$file'], ""));
    let files = materialize(rows | where isnotempty(['$file']) | distinct ['$file']);
    let seen = materialize(union isfuzzy=true
        (datatable(SHA1: string, SHA256: string, MD5: string, FileSize: long, Publisher: string, SoftwareName: string,
            IsExecutable: bool, ThreatName: string)[]),
        {_SEEN}
        | extend SHA1 = tolower(SHA1), SHA256 = tolower(SHA256)
        | where SHA1 in (files) or SHA256 in (files)
        | mv-expand ['$file'] = pack_array(SHA1, SHA256) to typeof(string)
        | where ['$file'] in (files)
        | summarize SHA1 = max(SHA1), SHA256 = max(SHA256), MD5 = max(tolower(MD5)), FileSize = max(FileSize),
            Publisher = max(Publisher), SoftwareName = max(SoftwareName), ThreatName = max(ThreatName),
            IsExecutable = iff(countif(IsExecutable) > 0, true, bool(null)) by ['$file']
        | extend FileSize = iff(FileSize < 2147483648, toint(FileSize), int(null)));
    let signed = union isfuzzy=true
        (datatable(SHA1: string, Timestamp: datetime, IsSigned: bool, Signer: string, Issuer: string,
            SignerHash: string, IsTrusted: bool, IsRootSignerMicrosoft: bool)[]),
        DeviceFileCertificateInfo
        | extend SHA1 = tolower(SHA1)
        | where SHA1 in (files) or SHA1 in ((seen | project SHA1))
        | summarize arg_max(Timestamp, IsSigned, Signer, Issuer, SignerHash, IsTrusted, IsRootSignerMicrosoft) by SHA1;
    let profiles = files
        | join kind=leftouter seen on ['$file']
        | extend ['$known'] = isnotempty(['$file1'])
        | extend SHA1 = iff(['$known'] or strlen(['$file']) != 40, SHA1, ['$file'])
        | join kind=leftouter signed on SHA1
        | where ['$known'] or isnotempty(SHA11)
        | project ['$file'], SHA1, SHA256, MD5, FileSize, Signer, Issuer, SignerHash, IsCertificateValid = IsTrusted,
            IsRootSignerMicrosoft, SignatureState = case(IsSigned and IsTrusted, "SignedValid",
                IsSigned, "SignedInvalid", isnull(IsSigned), "Unknown", "Unsigned"),
            IsExecutable, ThreatName, Publisher, SoftwareName;
    rows
    | join kind=leftouter (
        files
        | join kind=leftouter profiles on ['$file']
        | extend ['$known'] = isnotempty(['$file1'])
        | project ['$file'], SHA1, SHA256, MD5, FileSize, GlobalPrevalence = int(null),
            GlobalFirstSeen = datetime(null), GlobalLastSeen = datetime(null), Signer, Issuer, SignerHash,
            IsCertificateValid, IsRootSignerMicrosoft,
            SignatureState = iff(['$known'], SignatureState, "Unknown"), IsExecutable, ThreatName, Publisher,
            SoftwareName, ProfileAvailability = iff(['$known'], "Available", "Missing")
    ) on ['$file']
    | project-away ['$row'], ['$file'], ['$file1']
}}"""

# What each adapter of a device told last, a row for each of its addresses.
_ASSIGNED = """DeviceNetworkInfo
        | where isnull(y) or Timestamp <= y
        | summarize arg_max(Timestamp, DeviceName, IPAddresses, NetworkAdapterType, ConnectedNetworks)
            by DeviceId, NetworkAdapterName, MacAddress
        | mv-expand ['$address'] = parse_json(IPAddresses)
        | extend IPAddress = tostring(['$address'].IPAddress)
        | where isnotempty(IPAddress)"""
_PRIVATE = """(ipv4_is_private(IPAddress) or ipv4_is_in_range(IPAddress, "169.254.0.0/16")
            or ipv6_is_in_range(IPAddress, "fc00::/7") or ipv6_is_in_range(IPAddress, "fe80::/10"))"""

_ADAPTERS = (
    "{'Unknown': 1, 'Ethernet': 6, 'TokenRing': 9, 'Fddi': 15, 'BasicIsdn': 20, 'PrimaryIsdn': 21, 'Ppp': 23, "
    "'Loopback': 24, 'Ethernet3Megabit': 26, 'Slip': 28, 'Atm': 37, 'GenericModem': 48, 'FastEthernetT': 62, "
    "'Isdn': 63, 'FastEthernetFx': 69, 'Wireless80211': 71, 'AsymmetricDsl': 94, 'RateAdaptDsl': 95, "
    "'SymmetricDsl': 96, 'VeryHighSpeedDsl': 97, 'IPOverAtm': 114, 'GigabitEthernet': 117, 'Tunnel': 131, "
    "'MultiRateSymmetricDsl': 143, 'HighPerformanceSerialBus': 144, 'Wman': 237, 'Wwanpp': 243, 'Wwanpp2': 244}"
)

_ASSIGNED_IP_ADDRESSES = f"""(x: string, y: datetime = datetime(null)) {{
    let adapters = dynamic({_ADAPTERS});
    {_ASSIGNED}
        | where DeviceId =~ x or DeviceName =~ x
        | extend IPType = iff({_PRIVATE}, "Private", "Public"),
            NetworkAdapterType = coalesce(toint(adapters[NetworkAdapterType]), toint(NetworkAdapterType))
        | summarize arg_max(Timestamp, IPType, NetworkAdapterType, ConnectedNetworks) by IPAddress
        | project Timestamp, IPAddress, IPType, NetworkAdapterType, ConnectedNetworks
}}"""

_DEVICE_FROM_IP = f"""(T: (IP: string), y: datetime = datetime(null)) {{
    let wanted = T | distinct IP;
    {_ASSIGNED}
        | where IPAddress in (wanted)
        | where {_PRIVATE}
        | distinct IP = IPAddress, DeviceId
}}"""

_SEEN_BY = f"""(T: (*), x: string = "DeviceId") {{
    let rows = T | extend ['$device'] = tostring(column_ifexists(x, ""));
    let wanted = rows | where isnotempty(['$device']) | distinct ['$device'];
    let addresses = DeviceNetworkInfo
        | where DeviceId in (wanted)
        | mv-expand ['$address'] = parse_json(IPAddresses)
        | extend IPAddress = tostring(['$address'].IPAddress)
        | where isnotempty(IPAddress)
        | where {_PRIVATE}
        | distinct ['$device'] = DeviceId, IPAddress, ['$day'] = startofday(Timestamp);
    let seen = DeviceNetworkEvents
        | where RemoteIP in ((addresses | project IPAddress))
        | distinct DeviceId, IPAddress = RemoteIP, ['$day'] = startofday(Timestamp)
        | join kind=inner addresses on IPAddress, ['$day']
        | where DeviceId != ['$device']
        | distinct ['$device'], DeviceId
        | sort by DeviceId asc
        | summarize ['$seen'] = make_list(bag_pack("DeviceId", DeviceId)) by ['$device'];
    rows
    | join kind=leftouter seen on ['$device']
    | extend SeenBy = coalesce(['$seen'], dynamic([]))
    | project-away ['$device'], ['$device1'], ['$seen']
}}"""

ENRICHMENTS: Mapping[str, Enrichment] = {
    "FileProfile": Enrichment(
        "`invoke FileProfile(x, y)`: what the tenant's tables know of the file whose SHA-1 or SHA-256 is in column `x` "
        "(`SHA1`), for the first `y` rows (100; at most 1,000). Global prevalence and when a file was seen first and "
        "last in the world are null",
        _FILE_PROFILE,
        ("x",),
        {"y": (1, 1000)},
    ),
    "SeenBy": Enrichment(
        "`invoke SeenBy(x)`: adds `SeenBy`, an array of `{\"DeviceId\"}`: the devices whose network events name a "
        "private address that the device in column `x` (`DeviceId`) had on the same day (UTC)",
        _SEEN_BY,
        ("x",),
    ),
    "AssignedIPAddresses": Enrichment(
        "`AssignedIPAddresses(x, y)`: the addresses that the adapters of the device with the id or name `x` told last, "
        "before the instant `y` if it is told",
        _ASSIGNED_IP_ADDRESSES,
    ),
    "DeviceFromIP": Enrichment(
        "`invoke DeviceFromIP(y)`: the devices whose adapters told the private addresses in column `IP` last, before "
        "the instant `y` if it is told",
        _DEVICE_FROM_IP,
    ),
}  # fmt: skip
