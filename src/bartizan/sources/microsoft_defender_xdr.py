"""Microsoft Defender XDR: the streaming API's tables, incidents, Graph security alerts, audit rows of Microsoft 365.

AlertInfo and AlertEvidence rows are parts of one alert: each becomes an Alert with the same id, and the parts are
joined where alerts are stored, in whatever order they come. Rows of all tables are events under Microsoft's own names.
Source: Microsoft Defender XDR, "Streaming API", "Advanced hunting schema tables".
"""

import re
from collections.abc import Iterator
from typing import Any

from bartizan.extend import Event, GraphObject, Record, Source
from bartizan.model import security as graph
from bartizan.model.alert import Alert
from bartizan.sources import attack, severity
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, clean, content_id, inner_json, objects_of, whole
from bartizan.sources.generic import guess_event, unread
from bartizan.sources.graph_types import lenient
from bartizan.sources.microsoft_alerts import (
    PROVIDER,
    alert_native,
    alert_v1,
    alert_v2,
    detection_source,
    entity,
    folded,
    incident_alert,
    product_of,
)
from bartizan.sources.microsoft_entities import read_entities
from bartizan.sources.tables import event
from bartizan.sources.times import first_time, when
from bartizan.sources.unified_audit import audit, is_audit

_PREFIX = "advancedhunting-"
# Tables of advanced hunting as a workspace of Log Analytics exports their rows, with the name of the table in each.
_EXPORTED = re.compile(
    r"Alert(?:Info|Evidence)|Device\w{3,30}|(?:Email|Identity|CloudApp|UrlClick|AADSignIn)\w{0,30}(?:Events|Info)",
    re.ASCII,
)
_TABLE = re.compile(r"[A-Za-z]\w{0,62}", re.ASCII)  # the name comes from outside
MAX_COLUMNS = 400  # of one row; the widest table has some 90
_ROLES: dict[str, graph.EvidenceRole] = {
    "related": "contextual",
    "impacted": "compromised",
    "source": "source",
    "destination": "destination",
    "attacker": "attacker",
    "attacked": "attacked",
    "compromised": "compromised",
}
_INBOUND = ("Inbound", "Listening")


class DefenderXdr(Source):
    name = "microsoft_defender_xdr"
    vendor = "Microsoft"
    product = "Microsoft Defender XDR"
    marks = (
        "Type=Device*+TimeGenerated+DeviceId Type=AlertInfo+AlertId Type=AlertEvidence+AlertId "
        "Type=Email*+NetworkMessageId Type=Identity*Events+TimeGenerated Type=CloudAppEvents+TimeGenerated "
        "Type=UrlClickEvents+TimeGenerated "
        "category=AdvancedHunting-*+properties+time category=AdvancedHunting-* "
        "Tenant+category+properties+operationName+time+_TimeReceivedBySvc incidentId+incidentName+alerts "
        "incidentUri+alerts+incidentId serviceSource=*defender*+severity+title+createdDateTime "
        "productName=*defender*+title+createdDateTime "
        "serviceSource+createdDateTime+firstActivityDateTime+title alertWebUrl+evidence+title "
        "clientip+creationtime+externalaccess+organizationid+originatingserver "
        "AzureActiveDirectoryEventType+ActorContextId evidence.at_sign_odata_type+title+severity "
        "p_log_type=microsoft365defender* p_log_type=microsoft.defender*"
    )
    sourcetypes = ("ms365:defender:*", "microsoft:defender:*", "azure:eventhub:defender*")

    def normalise(self, record: Record) -> Iterator[Alert | Event | GraphObject]:
        found = objects_of(record, "records", "value")
        if not found:
            yield from unread(record, "DefenderEvents")
        for fields in found:
            yield from self.one(record, fields)

    def one(self, record: Record, fields: Fields) -> Iterator[Alert | Event | GraphObject]:
        """What one object becomes, by its form."""
        category = fields.text("category") or ""
        if category.lower().startswith(_PREFIX) and fields.object("properties"):
            table = category[len(_PREFIX) :]
            yield from _row(record, fields, table if _TABLE.fullmatch(table) else "DefenderEvents")
        elif _EXPORTED.fullmatch(fields.text("Type") or "") and fields.has("TimeGenerated"):
            yield from _row(record, Fields({"properties": fields.data}), fields.text("Type") or "DefenderEvents")
        elif _is_incident(fields):
            yield from _incident(record, fields)
        elif fields.has("vendorInformation") and fields.has("eventDateTime", "title"):
            yield alert_v1(record, fields)
        elif fields.has("machineId", "alertCreationTime") and fields.has("title", "threatName"):
            yield alert_native(record, fields)
        elif fields.has("title") and fields.has(
            "severity", "serviceSource", "providerAlertId", "firstActivityDateTime"
        ):
            yield alert_v2(record, fields)
        elif is_audit(fields):
            yield from audit(record, fields)
        else:
            yield guess_event(fields, "DefenderEvents")


def _is_incident(fields: Fields) -> bool:
    if fields.has("title", "alertId", "providerAlertId", "machineId", "serviceSource", "firstActivityDateTime"):
        return False
    return fields.has("incidentName", "incidentWebUrl", "incidentUri", "redirectIncidentId") or (
        fields.has("displayName") and fields.has("severity") and fields.has("status")
    )


def _incident(record: Record, fields: Fields) -> Iterator[Alert | GraphObject]:
    """Its alerts; itself as a Graph object where it has Graph's form; as an alert where it names none and none come
    beside it."""
    alerts = fields.objects("alerts")
    in_graph = fields.has("displayName", "incidentWebUrl") and not fields.has("incidentName")
    for item in alerts:
        yield alert_v2(record, item) if in_graph else alert_native(record, item, fields)
    own_id = fields.text("id")
    if in_graph and own_id is not None:
        body = graph_incident(fields)
        yield GraphObject("incidents", "microsoft.graph.security.incident", body | {"id": own_id})
    apart = in_graph and own_id is not None and record.said is not None and record.said.apart
    if not alerts and not apart:
        yield incident_alert(record, fields)


def graph_incident(fields: Fields) -> dict[str, Any]:
    """The incident's own properties in inner form; null where it says so, as of who it is no longer assigned to."""
    found = lenient(graph.Incident, {key: value for key, value in fields.data.items() if key != "alerts"})
    body = {name: getattr(found, name) for name in found.__struct_fields__}
    plain = (str, int, float, bool)
    return {
        name: value
        for name, value in body.items()
        if isinstance(value, plain)
        or (value is None and name in fields.data and fields.data[name] is None)
        or (isinstance(value, list) and value and all(isinstance(item, str) for item in value))
    }


# ---------------------------------------------------------------- the streaming API


def _row(record: Record, outer: Fields, table: str) -> Iterator[Alert | Event]:
    row = outer.object("properties")
    if table in ("AlertInfo", "AlertEvidence") and row.has("AlertId"):
        yield _part(record, outer, row, table)
    yield _table_event(outer, row, table)


def _part(record: Record, outer: Fields, row: Fields, table: str) -> Alert:
    """One row of an alert: AlertInfo says what it is, AlertEvidence adds one entity."""
    at = first_time(row, "Timestamp", "TimeGenerated") or first_time(outer, "time")
    evidence = Evidence(at)
    if table == "AlertEvidence":
        words = row.text("EvidenceDirection"), row.text("EvidenceRole")
        roles = [role for word in words if (role := _ROLES.get(folded(word))) is not None]
        more = inner_json(row.raw("AdditionalFields"))
        known = {key.lower() for key in row.data}
        extra = (
            {key: value for key, value in more.items() if key.lower() not in known} if isinstance(more, dict) else {}
        )
        entity(Fields({**extra, **row.data}), evidence, roles)
        _deeper(row, Fields(more), evidence)
        host = Fields(more).object("Host")
        evidence.host(host.text("HostName", "NetBiosName"), domain=host.text("NTDomain", "DnsDomain"))
    categories = [attack.tactic(word) or word for word in [*row.texts("Categories"), *row.texts("Category")]]
    categories = list(dict.fromkeys(categories))
    service, product = product_of(row.text("ServiceSource"))
    own_id = row.text("AlertId") or content_id(row.data)
    return Alert(
        vendor="Microsoft",
        product=product,
        provider=PROVIDER,
        provider_alert_id=own_id,
        title=row.text("Title") or "unknown",
        severity=severity.of_word(row.text("Severity")),
        vendor_severity=row.text("Severity"),
        category=categories[0] if categories else None,
        categories=categories,
        vendor_category=row.text("Category"),
        techniques=attack.techniques(record, row.data),
        detection_source=detection_source(row.text("DetectionSource")),
        service_source=service,
        first_activity=at,
        last_activity=at,
        source_created=at if table == "AlertInfo" else None,
        threat_family=row.text("ThreatFamily"),
        evidence=evidence.items,
        additional={}
        if table == "AlertEvidence"
        else row.rest(frozenset("alertid title severity timestamp category".split())),
        fingerprint=(own_id,),
    )


def _deeper(row: Fields, more: Fields, evidence: Evidence) -> None:
    """Of kinds that have no columns of their own the entity stands whole in AdditionalFields."""
    kind = row.text("EntityType")
    if folded(kind) in _WHOLE and more:
        read_entities([Fields({**more.data, "Type": kind})], evidence)


_WHOLE = frozenset(
    """
    mailcluster cloudlogonsession cloudlogonrequest securitygroup container containerimage blob azureresource
    kubernetespod kubernetescluster kubernetesnamespace kubernetesservice kubernetesserviceaccount kubernetessecret
    kubernetescontroller kubernetesdeployment iotdevice serviceprincipal
    """.split()
)


def _table_event(outer: Fields, row: Fields, table: str) -> Event:
    """A row as it came, without its empty columns; times in one form."""
    evidence = Evidence()
    _row_entities(row, evidence, table)
    columns: dict[str, Any] = {}
    for name, value in list(row.data.items())[:MAX_COLUMNS]:
        if value is None or value == "":
            continue
        timed = name.endswith("Time") or name == "Timestamp"
        columns[whole(name)] = (when(value) if timed else None) or clean(value)
    if len(row.data) > MAX_COLUMNS:
        columns["AdditionalFields"] = {"cutFields": list(row.data)[MAX_COLUMNS : MAX_COLUMNS * 2]}
    columns.setdefault("TenantId", outer.text("tenantId"))
    at = first_time(row, "Timestamp", "TimeGenerated") or first_time(outer, "time", "_TimeReceivedBySvc")
    return event(table, at, columns, evidence)


def _row_entities(row: Fields, evidence: Evidence, table: str) -> None:
    """By the names of the columns, which all tables share."""
    evidence.host(
        row.text("DeviceName"), os=row.text("OSPlatform"), device_id=row.text("DeviceId"), external=row.text("PublicIP")
    )
    for name in (
        "RemoteDeviceName",
        "DestinationDeviceName",
        "TargetDeviceName",
        "InitiatingProcessRemoteSessionDeviceName",
    ):
        evidence.host(row.text(name))
    user = None
    for side in (
        "Account",
        "InitiatingProcessAccount",
        "TargetAccount",
        "RequestAccount",
        "Recipient",
        "ProcessAccount",
    ):
        found = evidence.user(
            row.text(f"{side}Name"),
            domain=row.text(f"{side}Domain"),
            upn=row.text(f"{side}Upn"),
            sid=row.text(f"{side}Sid"),
            object_id=row.text(f"{side}ObjectId"),
        )
        user = user or found
    if not row.has("AccountName", "AccountUpn"):
        evidence.user(row.text("AccountId"))
        evidence.observe("user", row.text("AccountDisplayName"))
        evidence.user(row.text("RawEventData.UserId"))
    _row_processes(row, evidence, table, user)
    _row_network(row, evidence)
    for name in ("SenderFromAddress", "SenderMailFromAddress", "RecipientEmailAddress", "SenderEmailAddress"):
        evidence.mailbox(row.text(name))
    evidence.registry(row.text("RegistryKey"), row.text("RegistryValueName"), row.text("RegistryValueData"))
    evidence.app(row.text("Application") if table == "CloudAppEvents" else None)


def _row_processes(row: Fields, evidence: Evidence, table: str, user: graph.UserEvidence | None) -> None:
    starter = "InitiatingProcess"
    file = row.text("FileName"), row.text("FolderPath")
    hashes = [row.text("SHA256"), row.text("SHA1"), row.text("MD5")]
    if table == "DeviceProcessEvents" or row.has("ProcessCommandLine"):
        evidence.process(
            row.text("ProcessCommandLine"),
            name=file[0],
            path=file[1],
            pid=row.integer("ProcessId"),
            hashes=hashes,
            started=first_time(row, "ProcessCreationTime"),
            user=user,
            parent_name=row.text(f"{starter}FileName"),
        )
    else:
        evidence.file(*file, hashes, size=row.integer("FileSize"))
    evidence.process(
        row.text(f"{starter}CommandLine"),
        name=row.text(f"{starter}FileName"),
        path=row.text(f"{starter}FolderPath"),
        pid=row.integer(f"{starter}Id"),
        hashes=[row.text(f"{starter}{kind}") for kind in ("SHA256", "SHA1", "MD5")],
        parent_name=row.text(f"{starter}ParentFileName"),
    )


def _row_network(row: Fields, evidence: Evidence) -> None:
    here = row.text("LocalIP", "IPAddress"), row.integer("LocalPort", "Port")
    there = row.text("RemoteIP", "DestinationIPAddress"), row.integer("RemotePort", "DestinationPort")
    more = inner_json(row.raw("AdditionalFields"))
    inbound = (row.text("ActionType") or "").startswith(_INBOUND) or (
        Fields(more).text("direction") or ""
    ).lower() == "in"
    start, end = (there, here) if inbound else (here, there)
    if evidence.flow(*start, *end, row.text("Protocol")) is None:
        evidence.ip(start[0], ("source",))
        evidence.ip(end[0], ("destination",))
    for name in (
        "SenderIPv4",
        "SenderIPv6",
        "FileOriginIP",
        "RequestSourceIP",
        "InitiatingProcessRemoteSessionIP",
        "ProcessRemoteSessionIP",
    ):
        evidence.ip(row.text(name), ("source",))
    for name in ("RemoteUrl", "Url", "FileOriginUrl", "FileOriginReferrerUrl"):
        text = row.text(name)
        if evidence.url(text) is None:
            evidence.domain(text)
    for text in row.texts("UrlChain")[:20]:
        evidence.url(text)
    for name in ("UrlDomain", "QueryTarget"):
        evidence.domain(row.text(name))
