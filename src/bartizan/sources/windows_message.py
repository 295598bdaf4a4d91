"""What the message of a Windows event says under its labels, by the names that its EventData has for the same.

Agents that pass on the rendered message alone (Snare, Splunk's forwarder), and relays that make one line of it, leave
nothing else to read. A label means another name by the section in which it stands: the account name under "Subject" is
SubjectUserName.
Source: Windows, "Security auditing" (messages of events 1102, 4624 to 5157, 7045); Sysmon (messages say EventData's own
names); Microsoft Defender Antivirus, "Event IDs and error codes".
"""

import re
from collections.abc import Mapping

MAX_MESSAGE_CHARS = 32_768
MAX_LABELS = 200

# Section -> whose the account in it is.
_SECTIONS: Mapping[str, str] = {
    "Subject": "Subject",
    "Creator Subject": "Subject",
    "New Logon": "Target",
    "Account For Which Logon Failed": "Target",
    "Account Whose Credentials Were Used": "Target",
    "Account That Was Locked Out": "Target",
    "Target Account": "Target",
    "Target Subject": "Target",
    "New Account": "Target",
    "Account Information": "Target",
    "User": "Target",
    "Group": "Target",
    "New Group": "Target",
    "Deleted Group": "Target",
    "Member": "Member",
    **dict.fromkeys(
        (
            "Logon Information", "Process Information", "Network Information", "Failure Information", "Object",
            "Detailed Authentication Information", "Service Information", "Additional Information", "Share Information",
            "Access Request Information", "Task Information", "Application Information", "Filter Information",
            "Target Server", "Attributes", "Changed Attributes", "Certificate Information", "Operation",
        ),
        "",
    ),
}  # fmt: skip
_ACCOUNT: Mapping[str, Mapping[str, str]] = {
    whose: {
        "Account Name": f"{whose}UserName" if whose != "Member" else "MemberName",
        "Account Domain": f"{whose}DomainName",
        "Supplied Realm Name": f"{whose}DomainName",
        "Security ID": f"{whose}UserSid" if whose != "Member" else "MemberSid",
        "User ID": f"{whose}UserSid",
        "Logon ID": f"{whose}LogonId",
        "Group Name": f"{whose}UserName",
        "Group Domain": f"{whose}DomainName",
    }
    for whose in ("Subject", "Target", "Member")
}
_AUDIT: Mapping[str, str] = {
    "Logon Type": "LogonType", "Workstation Name": "WorkstationName", "Source Network Address": "IpAddress",
    "Client Address": "IpAddress", "Network Address": "IpAddress", "Source Address": "SourceAddress",
    "Destination Address": "DestAddress", "Source Port": "IpPort", "Client Port": "IpPort", "Process ID": "ProcessId",
    "Destination Port": "DestPort", "Protocol": "Protocol", "Application Name": "Application",
    "Process Name": "ProcessName", "New Process ID": "NewProcessId", "New Process Name": "NewProcessName",
    "Creator Process ID": "ProcessId", "Creator Process Name": "ParentProcessName",
    "Process Command Line": "CommandLine", "Caller Process ID": "ProcessId", "Caller Process Name": "CallerProcessName",
    "Caller Computer Name": "Caller Computer Name", "Failure Reason": "FailureReason", "Status": "Status",
    "Sub Status": "SubStatus", "Failure Code": "Status", "Result Code": "Status", "Error Code": "Status",
    "Logon Process": "LogonProcessName", "Authentication Package": "AuthenticationPackageName",
    "Package Name (NTLM only)": "LmPackageName", "Key Length": "KeyLength", "Logon GUID": "LogonGuid",
    "Object Server": "ObjectServer", "Object Type": "ObjectType", "Object Name": "ObjectName", "Handle ID": "HandleId",
    "Accesses": "AccessList", "Access Mask": "AccessMask", "Share Name": "ShareName", "Share Path": "ShareLocalPath",
    "Relative Target Name": "RelativeTargetName", "Service Name": "ServiceName", "Service ID": "ServiceSid",
    "Service File Name": "ServiceFileName", "Service Type": "ServiceType", "Service Start Type": "ServiceStartType",
    "Service Account": "ServiceAccount", "Task Name": "TaskName", "Task Content": "TaskContent",
    "Ticket Options": "TicketOptions", "Ticket Encryption Type": "TicketEncryptionType", "Key": "ObjectName",
    "Pre-Authentication Type": "PreAuthType", "Logon Account": "TargetUserName", "Source Workstation": "Workstation",
    "Target Server Name": "TargetServerName", "Token Elevation Type": "TokenElevationType",
    "Mandatory Label": "MandatoryLabel", "Elevated Token": "ElevatedToken", "Virtual Account": "VirtualAccount",
    "Impersonation Level": "ImpersonationLevel", "Restricted Admin Mode": "RestrictedAdminMode",
    "Linked Logon ID": "TargetLinkedLogonId", "Network Account Name": "TargetOutboundUserName",
    "Network Account Domain": "TargetOutboundDomainName", "Transited Services": "TransmittedServices",
    "Privileges": "PrivilegeList", "Old Value": "OldValue", "New Value": "NewValue", "User Name": "UserName",
    "SAM Account Name": "SamAccountName", "Display Name": "DisplayName", "Domain": "UserDomain",
}  # fmt: skip
_SYSMON: Mapping[str, str] = {
    name: name
    for name in (
        "RuleName UtcTime ProcessGuid ProcessId Image FileVersion Description Product Company OriginalFileName "
        "CommandLine CurrentDirectory User LogonGuid LogonId TerminalSessionId IntegrityLevel Hashes ParentProcessGuid "
        "ParentProcessId ParentImage ParentCommandLine ParentUser Protocol Initiated SourceIsIpv6 SourceIp "
        "SourceHostname SourcePort SourcePortName DestinationIsIpv6 DestinationIp DestinationHostname DestinationPort "
        "DestinationPortName TargetFilename CreationUtcTime PreviousCreationUtcTime EventType TargetObject Details "
        "NewName QueryName QueryStatus QueryResults SourceProcessGUID SourceProcessId SourceThreadId SourceImage "
        "TargetProcessGUID TargetProcessId TargetImage GrantedAccess CallTrace SourceUser TargetUser ImageLoaded "
        "Signed Signature SignatureStatus PipeName StartAddress StartModule StartFunction NewThreadId Device Hash "
        "Contents Operation Consumer Filter Name Query Destination Type Archived IsExecutable State Version "
        "SchemaVersion"
    ).split()
}
_DEFENDER: Mapping[str, str] = {
    "Name": "Threat Name", "ID": "Threat ID", "Severity": "Severity Name", "Category": "Category Name", "Path": "Path",
    "Detection Origin": "Origin Name", "Detection Type": "Type Name", "Detection Source": "Source Name",
    "User": "Detection User", "Process Name": "Process Name", "Action": "Action Name", "Action Status": "Action Status",
    "Error Code": "Error Code", "Error description": "Error Description", "Engine Version": "Engine Version",
    "Signature Version": "Security intelligence Version",
    "Security intelligence Version": "Security intelligence Version",
}  # fmt: skip


def _pattern(*names: str) -> re.Pattern[str]:
    words = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.compile(rf"(?:^|(?<=\s))({words})\s?:(?=\s|$)", re.MULTILINE)


_KINDS: tuple[tuple[str, Mapping[str, str], re.Pattern[str]], ...] = (
    ("sysmon", _SYSMON, _pattern(*_SYSMON)),
    ("defender", _DEFENDER, _pattern(*_DEFENDER)),
    ("", _AUDIT, _pattern(*_AUDIT, *_ACCOUNT["Target"], *_SECTIONS)),
)
# Where a value ends that no label follows: the explanations that stand under a message.
_END = re.compile(r"[\r\n\t]|\s{3,}|\s+(?:This event is|The subject fields|Token Elevation Type indicates|Pre-auth)")


def said(message: str | None, provider: str | None) -> dict[str, str]:
    """Name of EventData -> value; the first of each that says something."""
    text = (message or "")[:MAX_MESSAGE_CHARS]
    if ":" not in text:
        return {}
    about = (provider or "").lower()
    names, pattern = next((names, pattern) for word, names, pattern in _KINDS if word in about)
    marks = [mark for mark, _ in zip(pattern.finditer(text), range(MAX_LABELS), strict=False)]
    found: dict[str, str] = {}
    whose = ""
    for number, mark in enumerate(marks):
        end = marks[number + 1].start() if number + 1 < len(marks) else len(text)
        value = _END.split(text[mark.end() : end].strip(), maxsplit=1)[0].strip()
        label = mark[1]
        if names is _AUDIT and label in _SECTIONS and not value:
            whose = _SECTIONS[label]
            continue
        name = _ACCOUNT.get(whose, {}).get(label) or names.get(label)
        if name is not None and value not in ("", "-", "N/A"):
            found.setdefault(name, value)
    return found
