"""Azure: the activity log and resource logs, as rows of Microsoft's tables; alerts that it reports are alerts.

An event of category Security is an alert of Defender for Cloud, one of category Alert of Azure Monitor. Records come
from a diagnostic setting, from the REST API, or as rows of Log Analytics.
Source: Azure Monitor, "Azure activity log event schema", "Common and service-specific schemas for resource logs";
Azure Monitor reference, tables AzureActivity, AzureDiagnostics and StorageBlobLogs.
"""

from collections.abc import Iterable, Iterator

from bartizan.extend import SOURCES, Event, GraphObject, Record
from bartizan.model.alert import Alert
from bartizan.sources import azure_alerts, azure_network
from bartizan.sources.entities import addresses_in
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
from bartizan.sources.generic import guess_event
from bartizan.sources.shape import Paths, Shape
from bartizan.sources.tables import row_event
from bartizan.sources.times import first_time

_UPN = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn"
_NAME = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name"
_OBJECT = "http://schemas.microsoft.com/identity/claims/objectidentifier"
_TIMES = ("eventTimestamp", "time", "TimeGenerated", "p_event_time", "timeStamp")
_IDENTITY = {
    "ResourceId": "resourceId ResourceId _ResourceId flowLogResourceID",
    "CorrelationId": "correlationId",
}
_ACTIVITY = _IDENTITY | {
    "OperationName": "operationName.localizedValue OperationName operationName",
    "OperationNameValue": "operationName.value OperationNameValue operationName",
    "Level": "level",
    "ActivityStatus": "status.localizedValue ActivityStatus",
    "ActivityStatusValue": "status.value ActivityStatusValue resultType",
    "ActivitySubstatus": "subStatus.localizedValue ActivitySubstatus",
    "ActivitySubstatusValue": "subStatus.value ActivitySubstatusValue resultSignature",
    "ResourceGroup": "resourceGroupName ResourceGroup",
    "SubscriptionId": "subscriptionId",
    "Caller": "caller",
    "CallerIpAddress": "callerIpAddress httpRequest.clientIpAddress",
    "Category": "category.localizedValue Category",
    "CategoryValue": "category.value CategoryValue category",
    "HTTPRequest": "json httpRequest",
    "Properties": "json properties",
    "Authorization": "json authorization identity.authorization",
    "Claims": "json claims identity.claims",
    "EventSubmissionTimestamp": "time submissionTimestamp",
    "EventDataId": "eventDataId",
    "OperationId": "operationId",
    "ResourceProvider": "resourceProviderName.localizedValue ResourceProvider",
    "ResourceProviderValue": "resourceProviderName.value ResourceProviderValue",
    "TenantId": "tenantId",
}
_STORAGE = {
    "AccountName": "properties.accountName AccountName",
    "Location": "location",
    "Protocol": "protocol",
    "OperationName": "operationName",
    "OperationVersion": "operationVersion",
    "SchemaVersion": "schemaVersion",
    "Category": "category",
    "AuthenticationType": "identity.type AuthenticationType",
    "AuthenticationHash": "identity.tokenHash AuthenticationHash",
    "RequesterObjectId": "identity.requester.objectId RequesterObjectId",
    "RequesterTenantId": "identity.requester.tenantId RequesterTenantId",
    "RequesterAppId": "identity.requester.appId RequesterAppId",
    "RequesterAudience": "identity.requester.audience RequesterAudience",
    "RequesterTokenIssuer": "identity.requester.tokenIssuer RequesterTokenIssuer",
    "RequesterUpn": "identity.requester.upn RequesterUpn",
    "AuthorizationDetails": "dynamic identity.authorization AuthorizationDetails",
    "StatusCode": "statusCode",
    "StatusText": "statusText",
    "DurationMs": "real durationMs",
    "ServerLatencyMs": "real properties.serverLatencyMs ServerLatencyMs",
    "Uri": "uri",
    "CallerIpAddress": "callerIpAddress",
    "CorrelationId": "correlationId",
    "UserAgentHeader": "properties.userAgentHeader UserAgentHeader",
    "ReferrerHeader": "properties.referrerHeader ReferrerHeader",
    "ClientRequestId": "properties.clientRequestId ClientRequestId",
    "Etag": "properties.etag Etag",
    "ServiceType": "properties.serviceType ServiceType",
    "ObjectKey": "properties.objectKey ObjectKey",
    "RequestBodySize": "long properties.requestBodySize RequestBodySize",
    "ResponseBodySize": "long properties.responseBodySize ResponseBodySize",
    "RequestMd5": "properties.requestMd5 RequestMd5",
    "ResponseMd5": "properties.responseMd5 ResponseMd5",
    "LastModifiedTime": "time properties.lastModifiedTime LastModifiedTime",
    "ConditionsUsed": "properties.conditionsUsed ConditionsUsed",
    "TlsVersion": "properties.tlsVersion TlsVersion",
    "SasExpiryStatus": "properties.sasExpiryStatus SasExpiryStatus",
    "MetricResponseType": "properties.metricResponseType MetricResponseType",
}
_DIAGNOSTICS = _IDENTITY | {
    "OperationName": "operationName",
    "OperationVersion": "operationVersion",
    "Category": "category",
    "ResultType": "resultType",
    "ResultSignature": "resultSignature",
    "ResultDescription": "resultDescription",
    "DurationMs": "long durationMs",
    "CallerIPAddress": "callerIpAddress",
    "Level": "level",
    "properties_s": "json properties",
}
_ACTIVITIES = frozenset(
    "administrative policy security alert servicehealth resourcehealth autoscale recommendation".split()
)
_OWN_IDS = ("properties.SystemAlertId", "eventDataId", "correlationId")
_MONITOR = "Azure Monitor"
MAX_ATTACKERS = 100  # of one alert


class AzureActivity(Shape):
    name = "azure_activity"
    vendor = "Microsoft"
    product = "Microsoft Defender for Cloud"
    marks = (
        "eventTimestamp+operationName.value eventTimestamp+submissionTimestamp+operationName "
        "resourceId+operationName+time+category resourceId+operationName+time "
        "resourceId=/subscriptions/*+operationName+time "
        "authorization.action+operationName.value+eventTimestamp "
        "schemaId=azureMonitorCommonAlertSchema+data.context.activityLog eventDataId+operationName "
        "ResourceProviderValue+OperationNameValue+CategoryValue "
        "OperationNameValue+CategoryValue type=AzureActivity type=Microsoft.Security/Locations/alerts "
        "properties.alertDisplayName+properties.alertType resourceId=/subscriptions/*+category+time "
        "flowLogResourceID+flowRecords+category resourceId=/subscriptions/*+operationName+timeStamp "
        "type=AZFWIdpsSignature+SourceIp type=AZFWThreatIntel+SourceIp type=AGWFirewallLogs+ClientIp "
        "type=AzureDiagnostics+ResourceId+Category type=Microsoft.Security/assessments+properties.status "
        "type=SecurityRecommendation+AssessedResourceId"
    )
    sourcetypes = (
        "azure:monitor:activity", "azure:monitor:resource", "mscs:azure:audit", "mscs:resource:*", "azure:activity*",
    )  # fmt: skip
    table = "AzureEvents"
    wrappers = ("records", "value", "Records", "_source")
    alert = Paths(
        id="resourceId properties.SystemAlertId eventDataId correlationId",
        title="eventName.value properties.alertDisplayName properties.RuleName properties.eventName operationName.value"
        " operationName",
        description="description properties.description properties.RuleDescription resultDescription",
        severity="properties.Severity properties.severity properties.eventProperties.severity",
        vendor_category="category.value category CategoryValue",
        tactics="properties.intent properties.tactics properties.eventProperties.intent",
        detector="properties.alertType eventName.value properties.RuleUri operationName.value operationName",
        first="properties.StartTimeUtc eventTimestamp time",
        last="properties.EndTimeUtc eventTimestamp time",
        created="submissionTimestamp",
        status="status.value resultType properties.status",
        fold="resourceId properties.compromisedEntity properties.eventProperties.compromisedEntity",
    )

    def normalise(self, record: Record) -> Iterator[Alert | Event | GraphObject]:
        """The common schema of Azure Monitor's alerts is read with those of other monitoring."""
        common = isinstance(record.data, dict) and bool(Fields(record.data).object("data.essentials"))
        for out in SOURCES["monitoring_misc"].normalise(record) if common else super().normalise(record):
            if common and isinstance(out, Alert):
                out.vendor, out.product = self.vendor, _MONITOR
            yield out

    def read(self, record: Record) -> Iterable[Fields]:
        return [azure_alerts.as_logged(fields) for fields in super().read(record)]

    def is_alert(self, fields: Fields) -> bool:
        if azure_alerts.reader(fields) is not None:
            return True
        return _category(fields) in ("security", "alert") and fields.has(*_TIMES)

    def made(self, record: Record, fields: Fields) -> Alert:
        special = azure_alerts.reader(fields)
        return super().made(record, fields) if special is None else special[0].made(record, special[1])

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        _caller(fields, evidence)
        evidence.ip(fields.text("callerIpAddress", "httpRequest.clientIpAddress"), ("source",))
        path = fields.text("resourceId", "_ResourceId", "targetResourceID")
        evidence.azure(path, kind=fields.text("resourceType.value"), roles=("attacked",))
        more = fields.object("properties")
        azure_network.entities(fields, evidence)
        if _category(fields).startswith("sqlsecurityaudit"):
            evidence.user(more.text("server_principal_name", "session_server_principal_name"))
        object_key = more.text("objectKey")
        evidence.observe("resource", object_key, "blob")
        if _category(fields) == "security":
            _threat(Fields({**more.object("eventProperties").data, **more.data}), evidence)

    def finish(self, fields: Fields, alert: Alert) -> None:
        if _category(fields) == "alert":  # a rule of the operator's on metrics or logs
            alert.product = _MONITOR
            alert.detection_source = "customDetection"
            if alert.severity == "unknown":
                alert.severity = "informational"
        if "/dismiss/" in _operation(fields).lower():
            alert.status = "resolved"
        if "/alerts/" not in alert.provider_alert_id.lower() and (own := fields.text(*_OWN_IDS)) is not None:
            alert.provider_alert_id = own  # the path is of the resource that the alert is about
        if alert.provider_alert_id.startswith("/"):  # the path of the alert, in capitals where it is exported
            alert.provider_alert_id = alert.provider_alert_id.lower()

    def event(self, fields: Fields) -> Iterator[Event | GraphObject]:
        if not fields.has("operationName", "OperationNameValue") and not (
            fields.has("category") and fields.has("resourceId", "flowLogResourceID")
        ):
            yield guess_event(fields, self.table)
            return
        evidence = Evidence()
        self.entities(fields, evidence)
        at, path = first_time(fields, *_TIMES), fields.text("resourceId", "_ResourceId", "flowLogResourceID") or ""
        if _is_storage(fields):
            table = "StorageFileLogs" if "/fileservices/" in path.lower() else "StorageBlobLogs"
            yield row_event(table, at, fields, _STORAGE, evidence)
        elif _category(fields) in _ACTIVITIES:
            yield _of_resource(row_event("AzureActivity", at, fields, _ACTIVITY, evidence), path)
        else:
            yield _of_resource(row_event("AzureDiagnostics", at, fields, _DIAGNOSTICS, evidence), path)


def _of_resource(made: Event, path: str) -> Event:
    """With what the path of the resource says, where the record says it nowhere else."""
    parts = path.split("/")
    names = {parts[at].lower(): parts[at + 1] for at in range(1, len(parts) - 1, 2) if parts[at]}
    said = {
        "SubscriptionId": names.get("subscriptions"),
        "ResourceGroup": names.get("resourcegroups"),
        "ResourceProvider": names.get("providers"),
        "Resource": parts[-1] or None,
    }
    made.row.update({name: text for name, text in said.items() if text and name not in made.row})
    return made


def _operation(fields: Fields) -> str:
    return fields.text("operationName.value", "OperationNameValue", "operationName") or ""


def _category(fields: Fields) -> str:
    return (fields.text("category.value", "CategoryValue", "category") or "").lower().replace(" ", "")


def _is_storage(fields: Fields) -> bool:
    kind = (fields.text("properties.serviceType", "ServiceType") or "blob").lower()
    named = _category(fields).startswith("storage") or fields.has("properties.objectKey")
    return named and kind in ("blob", "file")


def _caller(fields: Fields, evidence: Evidence) -> None:
    """A person by name or object id; else an application."""
    claims = fields.object("identity.claims", "identity.claim", "claims", "Claims")
    requester, by = fields.object("identity.requester"), fields.object("identity.authorization.evidence")
    caller, name = fields.text("caller"), claims.text("name")
    upn = claims.text(_UPN, "upn", "unique_name", _NAME) or requester.text("upn")
    upn = upn or next((text for text in (caller, name) if text and "@" in text), None)
    object_id = claims.text(_OBJECT, "oid") or requester.text("objectId") or by.text("principalId")
    app = claims.text("appid") or requester.text("appId")
    if upn is not None or (by.text("principalType") or claims.text("idtyp") or "").lower() == "user":
        evidence.user(upn, object_id=object_id, display=name)
        evidence.observe("resource", app, "application")
    else:
        evidence.service_principal(name, app_id=app, object_id=object_id or caller)
    evidence.ip(claims.text("ipaddr"), ("source",))


def _threat(more: Fields, evidence: Evidence) -> None:
    """What an alert of Defender for Cloud names in its properties."""
    hurt = more.text("compromisedEntity", "hostName", "machineName")
    if (hurt or "").startswith("/"):
        evidence.azure(hurt, roles=("attacked",))
    else:
        evidence.host(hurt)
    user = evidence.user(more.text("userName"), domain=more.text("domainName"), sid=more.text("UserSID"))
    parent = more.text("parentProcess")
    evidence.process(
        more.text("commandLine"),
        path=more.text("processName", "process"),
        pid=more.integer("processId"),
        user=user,
        parent_path=None if parent == "unknown" else parent,
        parent_pid=more.integer("parentProcess id", "parentProcessId"),
    )
    for name in ("attackerIp", "attackerIP", "sourceIp", "clientIpAddress"):
        evidence.ip(more.text(name), ("attacker",))
    for text in more.texts("attackers")[:MAX_ATTACKERS]:  # "IP Address: 192.0.2.7"
        for found in addresses_in(text):
            evidence.ip(found, ("attacker",))
    evidence.file(more.text("fileName"), more.text("filePath"), [more.text("fileSha256", "fileHash")])
    evidence.domain(more.text("domain"))
