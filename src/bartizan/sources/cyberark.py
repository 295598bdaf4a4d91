"""CyberArk: audits of the vault (LEEF, CEF, JSON) and of the identity platform (JSON), alerts of PTA, its analytics,
and of Endpoint Privilege Manager.

Source: CyberArk, "Security Information and Event Management: audit records", "PTA syslog", "Audit service, audit logs";
PTA REST API, "Security events"; Endpoint Privilege Manager REST API, "Events", and its syslog.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from bartizan.extend import Event, GraphObject, Record
from bartizan.model import security as graph
from bartizan.model.alert import Alert
from bartizan.sources import cef, common_security_log, leef, pairs
from bartizan.sources.entities import domain
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, objects_of
from bartizan.sources.severity import of_cef, of_hundred
from bartizan.sources.shape import Paths, Shape
from bartizan.sources.times import first_time

_MAX_AUDITS = 50  # of one event of PTA
_SIDES: tuple[tuple[str, graph.EvidenceRole], ...] = (("source", "source"), ("target", "destination"))
_ATTACKS = frozenset({"attackattempt", "ransomware", "threatdetection", "threatprotection", "suspiciousactivity"})
_SHOWN = ("displayName", "lastEventDisplayName")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
_FIRST = "detectionDate deviceCustomDate1 start rt end syslogTime"


class CyberArk(Shape):
    name = "cyberark"
    vendor = "CyberArk"
    product = "Privileged Threat Analytics"
    marks = (
        "auditCode+action+username auditCode+applicationCode+auditType syslog.audit_record+format "
        "type+score+audits.sensorType audit_code+application_code threatProtectionAction+policyName "
        "threatProtectionAction+computerName fileQualifier+eventType+computerName "
        "fileQualifier+aggregatedBy+lastEventDate Administrator+SetName+LoggedFrom"
    )
    pattern = re.compile(r"(?:CEF|LEEF):\s?[\d.]{1,3}\|Cyber-?Ark\|")
    sourcetypes = ("cyberark:*",)
    table = "CyberArkEvents"
    columns = {
        "Action": "action Action",
        "AuditCode": "auditCode MessageID",
        "Component": "component Product",
        "ServiceName": "serviceName",
        "AccountName": "accountName targetAccount",
        "Safe": "safe",
        "SessionId": "sessionId",
        "TargetName": "target",
        "IdentityType": "identityType",
        "CloudProvider": "cloudProvider",
        "TenantId": "tenantId",
        "Timestamp": "time timestamp lastEventDate firstEventDate arrivalTime EventTime LoggedAt",
        "HostName": "computerName lastEventComputerName",
        "UserName": "username userName lastEventUserName Administrator",
        "SourceIP": "LoggedFrom",
        "ProcessName": "filePath",
        "ProcessCommandLine": "processCommandLine arguments",
    }
    wrappers = ("data", "events")
    alert = Paths(
        id="EventID externalId",
        title="suspicionType name",
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
        if lines:
            return lines
        found: list[Fields] = []
        for fields in map(_audit, objects_of(record, *self.wrappers)):
            found += ([] if _is_suspicion(fields) else [_audit(one) for one in fields.each("audits")]) or [fields]
        return found

    def is_alert(self, fields: Fields) -> bool:
        if _is_suspicion(fields) or _is_threat(fields):
            return True
        if (fields.text("deviceProduct") or "").upper() in ("EPM", "ENDPOINT PRIVILEGE MANAGER"):
            return "attack" in (fields.text("deviceEventClassId") or "").lower()
        return (fields.text("deviceProduct") or "").upper() in ("PTA", "PRIVILEGED THREAT ANALYTICS")

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        common_security_log.entities(fields, evidence)
        for key in (
            "lastEventUserName",
            "Administrator",
            "runAsUsername",
            "usrName",
            "SourceUser",
            "TargetUser",
            "OSUser",
            "Issuer",
            "username",
            "targetAccount",
        ):
            evidence.user(fields.text(key))
        who, name = fields.text("userId"), fields.text("username")
        evidence.user(name, object_id=who if who != name and "-" in (who or "") else None)
        evidence.user(fields.text("customData.user_name"), object_id=fields.text("customData.user_id"))
        for key in ("GatewayStation", "Station", "Address", "source", "sourceIp", "machineAddress"):
            evidence.ip(fields.text(key))
        evidence.host(domain(fields.text("Address")))  # of the machine whose account it is
        for key, value in pairs.separated(fields.text("ExtraDetails") or "", ";"):
            if key in ("DstHost", "SrcHost"):
                evidence.ip(value)
                evidence.host(value)
            elif key in ("User", "username"):
                evidence.user(value)
            elif key == "address":
                evidence.domain(domain(value))
        evidence.ip(fields.text("LoggedFrom"), ("source",))
        evidence.host(fields.text("Hostname", "computerName", "lastEventComputerName"))
        evidence.user(fields.text("userName"))
        digest = (fields.text("hash") or "").rpartition("##")[2]  # "SHA1##8F21..." where events are summed up
        name = fields.text("fileName", "lastEventFileName")
        evidence.file(name, fields.text("filePath", "fileLocation"), [digest])
        command = fields.text("processCommandLine", "arguments")
        evidence.process(command, path=fields.text("filePath") if command is not None else None)
        evidence.file(None, fields.text("accessTargetName"))  # what it touched
        for one in fields.objects("audits")[:_MAX_AUDITS] if _is_suspicion(fields) else ():
            _seen(one, evidence)
        evidence.file(None, fields.text("File"))
        evidence.user(fields.text("account.UserName"))
        for text in fields.texts("account.Address"):
            evidence.ip(text)
            evidence.host(text if domain(text) else None)
        evidence.observe("resource", fields.text("Safe", "safe"))
        evidence.observe("resource", fields.text("accountName"), "account")

    def finish(self, fields: Fields, alert: Alert) -> None:
        alert.product_version = fields.text("deviceVersion")
        if (fields.text("deviceProduct") or "").upper().startswith(("EPM", "ENDPOINT")):
            alert.product = "Endpoint Privilege Manager"
        if _is_suspicion(fields):
            words = _HUMP.sub(" ", fields.text("type") or "")
            alert.title, alert.detector_id = words[:1] + words[1:].lower() or alert.title, fields.text("type")
            alert.provider_alert_id = fields.text("id") or alert.provider_alert_id
            alert.severity, alert.vendor_severity = of_hundred(fields.number("score")), fields.text("score")
            alert.first_activity = first_time(fields, "createTime")
            alert.last_activity = first_time(fields, "lastUpdateTime", "createTime")
            alert.status = "resolved" if (fields.text("mStatus") or "").upper() in ("CLOSED", "HANDLED") else "new"
        elif _is_threat(fields):
            alert.product = "Endpoint Privilege Manager"
            if (fields.text("eventType") or "").lower() == "ransomware":
                alert.category, alert.categories = "Ransomware", ["Ransomware"]
            alert.title = fields.text("policyName", "threatName", *_SHOWN) or "Threat detected"
            if _attack(fields) and not fields.has("policyName", "threatName"):
                alert.title = f"{fields.text('eventType')}: {alert.title}"
            alert.severity, alert.detector_id = "high", alert.title  # EPM gives none; what it tells is an attack
            alert.first_activity = first_time(fields, "firstEventDate", "arrivalTime")
            alert.last_activity = first_time(fields, "lastEventDate", "firstEventDate")
            act = fields.text("threatProtectionAction", "threatDetectionAction") or ""
            common_security_log.acted(alert, act)

    def event(self, fields: Fields) -> Iterator[Event | GraphObject]:
        if fields.has("deviceVendor"):
            yield from common_security_log.told(fields, self.entities)
        else:
            yield from super().event(fields)


def _seen(one: Fields, evidence: Evidence) -> None:
    evidence.user(one.text("vaultUser"), roles=("source",))
    evidence.user(one.text("account.accountAsStr", "account.userName"), roles=("destination",))
    for side, role in _SIDES:
        where = one.object(side)
        address = where.text("mResolvedAddress.mAddress", "mOriginalAddress")
        name = where.text("mResolvedAddress.mFqdn", "mResolvedAddress.mHostName")
        evidence.host(name, addresses=[address])
        evidence.ip(address, (role,))


def _is_suspicion(fields: Fields) -> bool:
    """Of PTA's REST API: an event, with the audits that it is made of."""
    return fields.has("score") and fields.has("audits") and fields.has("type")


def _is_threat(fields: Fields) -> bool:
    """Of Endpoint Privilege Manager: an attack. Of a program that merely ran, all actions stand for none."""
    done = (fields.text("threatProtectionAction", "threatDetectionAction") or "all").lower()
    return done != "all" or (fields.has("threatProtectionAction") and _attack(fields))


def _attack(fields: Fields) -> bool:
    return (fields.text("eventType") or "").lower() in _ATTACKS


def _audit(fields: Fields) -> Fields:
    """An entry; of the vault's own JSON the record inside, whose properties of the account stand as a list of pairs."""
    inside = fields.object("syslog.audit_record")
    if not inside:
        return fields
    pairs_of = {pair.text("Name"): pair.raw("Value") for pair in inside.objects("CAProperties.CAProperty")}
    names: dict[str, Any] = {"account.Address": pairs_of.get("Address"), "account.UserName": pairs_of.get("UserName")}
    return Fields({**inside.data, "timestamp": inside.raw("IsoTimestamp", "Timestamp")}).also(names)
