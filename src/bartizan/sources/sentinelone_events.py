"""SentinelOne's telemetry as rows: the console's activities, and Deep Visibility (Cloud Funnel).

Activities are the log of what was done, also with threats and alerts that have records of their own: they are events.
Source: SentinelOne Management API 2.1, "Activities"; "Cloud Funnel 2.0 event schema"; "Deep Visibility" query fields.
"""

from bartizan.extend import Event
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
from bartizan.sources.tables import columns, event
from bartizan.sources.times import first_time

_TABLES = {
    "process": ("DeviceProcessEvents", "ProcessCreated"),
    "ip": ("DeviceNetworkEvents", "ConnectionSuccess"),
    "tcp": ("DeviceNetworkEvents", "ConnectionSuccess"),
    "url": ("DeviceNetworkEvents", "HttpConnectionInspected"),
    "dns": ("DnsEvents", "DnsRequest"),
    "file": ("DeviceFileEvents", "FileModified"),
    "registry": ("DeviceRegistryEvents", "RegistryValueSet"),
    "logins": ("DeviceLogonEvents", "LogonAttempted"),
    "login": ("DeviceLogonEvents", "LogonAttempted"),
    "module": ("DeviceImageLoadEvents", "ImageLoaded"),
}


def activity(fields: Fields) -> Event:
    """The console's log: who did what; STAR alerts in it name their facts in lower case."""
    evidence, data = Evidence(), fields.object("data")
    host = data.text("computerName", "computer_name", "origagentname", "agentComputerName")
    user = data.text("username", "lastLoggedInUserName", "byUser", "realUser")
    evidence.host(
        host,
        addresses=[data.text("agentipv4"), data.text("ipAddress") if data.has("computerName") else None],
        external=data.text("externalIp", "externalip"),
        os=data.text("osType", "origagentosfamily"),
        device_id=fields.text("agentId"),
    )
    evidence.user(user, object_id=fields.text("userId"))
    address = data.text("ipAddress", "srcip", "sourceIp")
    evidence.ip(address, ("source",))
    evidence.ip(data.text("reportedRemoteHost", "dstip"), ("destination",))
    owner = evidence.user(data.text("sourceprocessusername"))
    evidence.process(
        data.text("sourceprocesscommandline"),
        name=data.text("sourceprocessname", "processName"),
        path=data.text("sourceprocessfilepath"),
        pid=data.integer("sourceprocesspid", "processId"),
        hashes=[data.text("sourceprocesssha256"), data.text("sourceprocesssha1"), data.text("sourceprocessmd5")],
        user=owner,
        parent_name=data.text("sourceparentprocessname"),
    )
    target = [data.text("tgtfilehashsha256"), data.text("tgtfilehashsha1")]
    evidence.file(None, data.text("tgtfilepath"), target)
    hashes = [data.text("fileContentHash", "sha1"), data.text("fileSha256", "sha256"), fields.text("hash")]
    evidence.file(data.text("fileDisplayName"), data.text("filePath"), hashes)
    evidence.domain(data.text("dnsrequest"))
    row = {
        "EventId": fields.text("id"),
        "EventType": fields.text("activityType"),
        "Message": fields.text("primaryDescription"),
        "Severity": data.text("severity"),
        "Outcome": data.text("status", "globalStatus", "action"),
        "HostName": host,
        "UserName": user,
        "SourceIP": address,
        "DestinationIP": data.text("reportedRemoteHost", "dstip"),
        "ProcessName": data.text("sourceprocessname", "processName"),
        "ProcessCommandLine": data.text("sourceprocesscommandline"),
        "FileName": data.text("fileDisplayName"),
        "SHA256": data.text("fileSha256", "sha256"),
        "AgentId": fields.text("agentId"),
        "SiteName": data.text("siteName") or fields.text("siteName"),
        "ThreatId": fields.text("threatId"),
    }
    return event("SentinelOneEvents", first_time(fields, "createdAt", "updatedAt"), row, evidence, fields.rest())


_STARTER = {
    "DeviceId": "agent.uuid agentUuid",
    "DeviceName": "endpoint.name agentName agent.name",
    "ActionType": "event.type eventType",
    "InitiatingProcessFileName": "src.process.name processName",
    "InitiatingProcessCommandLine": "src.process.cmdline processCmd",
    "InitiatingProcessFolderPath": "src.process.image.path processImagePath",
    "InitiatingProcessId": "int src.process.pid pid",
    "InitiatingProcessAccountName": "src.process.user processUserName user",
}
_COLUMNS = {
    "DeviceProcessEvents": {
        "FileName": "tgt.process.name tgtProcName src.process.name processName",
        "ProcessCommandLine": "tgt.process.cmdline tgtProcCmdLine src.process.cmdline processCmd",
        "ProcessId": "int tgt.process.pid tgtProcPid src.process.pid pid",
        "FolderPath": "tgt.process.image.path src.process.image.path processImagePath",
        "SHA256": "tgt.process.image.sha256 src.process.image.sha256",
        "SHA1": "tgt.process.image.sha1 src.process.image.sha1",
    },
    "DeviceNetworkEvents": {
        "LocalIP": "src.ip.address srcIp",
        "LocalPort": "int src.port.number srcPort",
        "RemoteIP": "dst.ip.address dstIp",
        "RemotePort": "int dst.port.number dstPort",
        "RemoteUrl": "url.address networkUrl",
    },
    "DeviceFileEvents": {
        "FileName": "name tgt.file.path fileFullName",
        "FolderPath": "tgt.file.path fileFullName",
        "SHA256": "tgt.file.sha256 fileSha256",
        "SHA1": "tgt.file.sha1 fileSha1",
    },
    "DeviceRegistryEvents": {
        "RegistryKey": "registry.keyPath registryKeyPath registryPath",
        "RegistryValueData": "registry.value registryValue",
    },
    "DeviceLogonEvents": {
        "AccountName": "event.login.userName loginsUserName",
        "AccountDomain": "event.login.accountDomain loginAccountDomain",
        "LogonType": "event.login.type loginType",
        "RemoteIP": "src.endpoint.ip.address src.ip.address srcIp",
    },
    "DeviceImageLoadEvents": {"FolderPath": "module.path modulePath", "SHA1": "module.sha1 moduleSha1"},
    "DnsEvents": {
        "Computer": "endpoint.name agentName",
        "Name": "event.dns.request dnsRequest",
        "IPAddresses": "event.dns.response dnsResponse",
    },
    "SentinelOneEvents": {
        "EventType": "event.type eventType",
        "HostName": "endpoint.name agentName agent.name",
        "UserName": "src.process.user processUserName user",
        "ProcessName": "src.process.name processName",
        "ProcessCommandLine": "src.process.cmdline processCmd",
        "SourceIP": "src.ip.address srcIp",
        "DestinationIP": "dst.ip.address dstIp",
    },
}


def telemetry(fields: Fields) -> Event:
    """Deep Visibility, under its older names and under those of Cloud Funnel 2."""
    evidence = Evidence()
    _seen(fields, evidence)
    kind = (fields.text("event.category", "objectType", "event.type", "eventType") or "").lower()
    table, action = _TABLES.get(kind, ("SentinelOneEvents", kind))
    row = columns(fields, _COLUMNS[table])
    if table not in ("DnsEvents", "SentinelOneEvents"):
        row = {"ActionType": action} | {name: value for name, value in columns(fields, _STARTER).items() if value} | row
    at = first_time(fields, "event.time", "timestamp", "createdAt", "eventTime")
    return event(table, at, row, evidence, fields.rest())


def _seen(fields: Fields, evidence: Evidence) -> None:
    evidence.host(
        fields.text("endpoint.name", "agentName", "agent.name"),
        addresses=[fields.text("agentIp")],
        os=fields.text("endpoint.os", "agentOs"),
        device_id=fields.text("agent.uuid", "agentUuid"),
    )
    owner = evidence.user(fields.text("src.process.user", "processUserName", "user"))
    evidence.user(
        fields.text("event.login.userName", "loginsUserName"),
        domain=fields.text("event.login.accountDomain", "loginAccountDomain"),
    )
    kinds = ("sha256", "sha1", "md5")
    evidence.process(
        fields.text("src.process.cmdline", "processCmd"),
        name=fields.text("src.process.name", "processName"),
        path=fields.text("src.process.image.path", "processImagePath"),
        pid=fields.integer("src.process.pid", "pid"),
        hashes=[fields.text(f"src.process.image.{kind}", f"processImage{kind}Hash") for kind in kinds],
        user=owner,
        parent_name=fields.text("src.process.parent.name", "parentProcessName"),
    )
    evidence.process(
        fields.text("tgt.process.cmdline", "tgtProcCmdLine"),
        name=fields.text("tgt.process.name", "tgtProcName"),
        path=fields.text("tgt.process.image.path"),
        pid=fields.integer("tgt.process.pid", "tgtProcPid"),
        hashes=[fields.text(f"tgt.process.image.{kind}") for kind in kinds],
    )
    source, target = fields.text("src.ip.address", "srcIp"), fields.text("dst.ip.address", "dstIp")
    ports = fields.integer("src.port.number", "srcPort"), fields.integer("dst.port.number", "dstPort")
    if evidence.flow(source, ports[0], target, ports[1]) is None:
        evidence.ip(source, ("source",))
        evidence.ip(target, ("destination",))
    evidence.domain(fields.text("event.dns.request", "dnsRequest"))
    evidence.url(fields.text("url.address", "networkUrl"))
    file = fields.text("tgt.file.path", "fileFullName")
    evidence.file(None, file, [fields.text(f"tgt.file.{kind}", f"file{kind}") for kind in kinds])
