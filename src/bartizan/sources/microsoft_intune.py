"""Microsoft Intune: audit, operational, compliance and device logs, all of them rows of tables.

Source: Microsoft Intune, "Send log data to storage, Event Hubs, or Log Analytics"; Microsoft Graph, resource
auditEvent of deviceManagement; Azure Monitor reference, tables IntuneAuditLogs and IntuneDevices.
"""

import json
from collections.abc import Iterator

from bartizan.extend import Event, GraphObject
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
from bartizan.sources.shape import Shape
from bartizan.sources.tables import columns as read_columns
from bartizan.sources.tables import event
from bartizan.sources.times import first_time

_AUDIT = {
    "OperationName": "operationName activity displayName",
    "Category": "category",
    "ResultType": "resultType activityResult",
    "ResultDescription": "resultDescription",
    "CorrelationId": "correlationId",
    "Identity": "identity actor.userPrincipalName",
}
_DEVICE = {
    name: f"properties.{name} {name}"
    for name in """
    DeviceId DeviceName UPN LastContact OSVersion OS CompliantState Ownership ManagedBy Model SerialNumber Manufacturer
    CreatedDate DeviceState UserEmail UserName IMEI PhoneNumber DeviceRegistrationState ReferenceId ManagedDeviceName
    CategoryName JoinType WifiMacAddress PrimaryUser BatchId IntuneAccountId AADTenantId SkuFamily JailBroken
    """.split()
}

_MAX_TARGETS = 50


class MicrosoftIntune(Shape):
    name = "microsoft_intune"
    vendor = "Microsoft"
    product = "Microsoft Intune"
    marks = (
        "activityDateTime+activityResult+actor+activity activityDateTime+activityResult+actor+componentName "
        "activityDateTime+activityType+activityResult+actor "
        "category=AuditLogs+operationName+properties.Actor.Application "
        "category=AuditLogs+operationName+properties.ActivityDate "
        "category=OperationalLogs+operationName+properties category=DeviceComplianceOrg+properties "
        "category=Devices+properties+operationName "
        "category=AuditLogs+properties.ActivityType+properties.Actor "
        "category=AuditLogs+operationName+resultType+tenantId+identity+properties.Actor "
        "activityOperationType+componentName+actor properties.IntuneAccountId+category"
    )
    sourcetypes = ("ms:intune:*", "azure:intune:*", "microsoft:intune:*")
    table = "IntuneOperationalLogs"
    wrappers = ("records", "value")
    columns = {
        "EventType": "operationName",
        "Category": "category",
        "Outcome": "resultType properties.Result",
        "Message": "properties.AlertDisplayName properties.Description properties.FailureReason",
        "HostName": "properties.DeviceHostName properties.DeviceName",
        "UserName": "properties.UPN properties.UserName",
        "DeviceId": "properties.IntuneDeviceId properties.DeviceId",
        "OperatingSystem": "properties.DeviceOperatingSystem properties.Os properties.OS",
        "AlertType": "properties.AlertType",
        "TenantId": "tenantId properties.AADTenantId",
    }

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        said = fields.object("properties") or fields
        actor = said.object("Actor")
        evidence.user(
            said.text("UPN", "UserEmail") or actor.text("UPN", "userPrincipalName"),
            object_id=said.text("IntuneUserId") or actor.text("ObjectId", "userId"),
            display=said.text("UserDisplayName"),
        )
        evidence.user(said.text("UserName"), domain=said.text("UPNSuffix"))
        evidence.user(fields.text("identity") if "@" in (fields.text("identity") or "") else None)
        evidence.service_principal(actor.text("ApplicationName", "applicationDisplayName"))
        evidence.ip(actor.text("ipAddress"), ("source",))
        evidence.observe("resource", said.text("IntuneAccountId"))
        if (fields.text("operationName") or "").lower().endswith(" manageddevice"):  # wiped, retired, locked
            for name in said.texts("TargetDisplayNames")[:_MAX_TARGETS]:
                evidence.host(name)
        for item in fields.objects("resources")[:_MAX_TARGETS]:
            if (item.text("auditResourceType", "type") or "").lower().endswith("manageddevice"):
                evidence.host(item.text("displayName"))
        host = said.text("DeviceHostName", "DeviceNetBiosName", "ManagedDeviceName", "DeviceName")
        evidence.host(
            host,
            domain=said.text("DeviceDnsDomain"),
            os=said.text("DeviceOperatingSystem", "Os"),
            version=said.text("OSVersion"),
            directory_id=said.text("AADDeviceId", "ReferenceId"),
        )

    def event(self, fields: Fields) -> Iterator[Event | GraphObject]:
        category = (fields.text("category") or "").lower()
        audit = category == "auditlogs" or (fields.has("activityDateTime") and fields.has("actor"))
        if not audit and category != "devices":
            yield from super().event(fields)
            return
        evidence = Evidence()
        self.entities(fields, evidence)
        at = first_time(fields, "time", "activityDateTime", "properties.ActivityDate")
        row = read_columns(fields, _AUDIT if audit else _DEVICE)
        if audit:
            kept = fields.object("properties").rest() or fields.rest()
            row["Properties"] = json.dumps(kept, separators=(",", ":"))
        yield event("IntuneAuditLogs" if audit else "IntuneDevices", at, row, evidence, {} if audit else fields.rest())
