"""CyberArk: the vault's audit as LEEF or CEF, the audit of the identity platform as JSON, and what Privileged Threat
Analytics (PTA) detects as alerts.

Source: CyberArk, "Security Information and Event Management: audit records", "PTA syslog", "Audit service, audit logs".
"""

from collections.abc import Iterable, Iterator

from bartizan.extend import Event, GraphObject, Record
from bartizan.model.alert import Alert
from bartizan.sources import cef, common_security_log, leef, pairs
from bartizan.sources.entities import domain
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, objects_of
from bartizan.sources.severity import of_cef
from bartizan.sources.shape import Paths, Shape

_FIRST = "detectionDate deviceCustomDate1 start rt end syslogTime"


class CyberArk(Shape):
    name = "cyberark"
    vendor = "CyberArk"
    product = "Privileged Threat Analytics"
    table = "CyberArkEvents"
    columns = {
        "Action": "action Action",
        "AuditCode": "auditCode",
        "Component": "component",
        "ServiceName": "serviceName",
        "AccountName": "accountName targetAccount",
        "Safe": "safe",
        "SessionId": "sessionId",
        "TargetName": "target",
        "IdentityType": "identityType",
        "CloudProvider": "cloudProvider",
        "TenantId": "tenantId",
    }
    wrappers = ("data", "audits", "events")
    alert = Paths(
        id="EventID externalId",
        title="name",
        description="msg ExtraData",
        severity="deviceSeverity",
        score="deviceSeverity",
        scale=of_cef,
        category="CredentialAccess",
        detector="deviceEventClassId",
        first=_FIRST,
        version="deviceVersion",
        url="PTAlink PTALink",
        fold="suser duser src dst",
        detection_source="builtInMl",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        lines = [line.fields for line in cef.records(record)] or [line.fields for line in leef.records(record)]
        return lines or objects_of(record, *self.wrappers)

    def is_alert(self, fields: Fields) -> bool:
        return (fields.text("deviceProduct") or "").upper() in ("PTA", "PRIVILEGED THREAT ANALYTICS")

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        common_security_log.entities(fields, evidence)
        for key in ("usrName", "SourceUser", "TargetUser", "OSUser", "Issuer", "username", "targetAccount"):
            evidence.user(fields.text(key))
        who, name = fields.text("userId"), fields.text("username")
        evidence.user(name, object_id=who if who != name and "-" in (who or "") else None)
        evidence.user(fields.text("customData.user_name"), object_id=fields.text("customData.user_id"))
        for key in ("GatewayStation", "Station", "Address", "source", "sourceIp", "machineAddress"):
            evidence.ip(fields.text(key))
        for key, value in pairs.separated(fields.text("ExtraDetails") or "", ";"):
            if key in ("DstHost", "SrcHost"):
                evidence.ip(value)
                evidence.host(value)
            elif key in ("User", "username"):
                evidence.user(value)
            elif key == "address":
                evidence.domain(domain(value))
        evidence.file(None, fields.text("File"))
        evidence.observe("resource", fields.text("Safe", "safe"))
        evidence.observe("resource", fields.text("accountName"), "account")

    def finish(self, fields: Fields, alert: Alert) -> None:
        alert.product_version = fields.text("deviceVersion")

    def event(self, fields: Fields) -> Iterator[Event | GraphObject]:
        if fields.has("deviceVendor"):
            yield from common_security_log.told(fields, self.entities)
        else:
            yield from super().event(fields)
