"""Google Security Command Center: findings, from notifications, the API or Event Threat Detection's log; each an alert.

Source: Google Cloud, "Finding" (v1 and v2), `MitreAttack.Technique` (v2), "Using Event Threat Detection", "Viewing
Event Threat Detection findings in Cloud Logging", "Mute findings".
"""

import re
from collections.abc import Iterable

from bartizan.extend import Record
from bartizan.model.alert import Alert
from bartizan.sources import attack
from bartizan.sources.evidence import Evidence, Place
from bartizan.sources.fields import Fields, inner_json, objects_of
from bartizan.sources.gcp_audit import pushed
from bartizan.sources.shape import Paths, Shape
from bartizan.sources.times import first_time

_MAX_PARTS = 50
_MAX_COMMAND = 8_192  # characters of the arguments of a process
_CLASSES = {
    "misconfiguration": "Misconfiguration",
    "vulnerability": "Vulnerability",
    "posture_violation": "Misconfiguration",
    "toxic_combination": "Misconfiguration",
    "sensitive_data_risk": "Misconfiguration",
    "observation": "SuspiciousActivity",
    "threat": "SuspiciousActivity",
    "scc_error": "Misconfiguration",
}
# Before the colon of a threat's category, where it is no tactic's name.
_PURPOSES = {
    "malware": "Malware",
    "c2": "CommandAndControl",
    "brute force": "CredentialAccess",
    "exfiltration": "Exfiltration",
    "cryptomining": "Impact",
    "added binary executed": "Execution",
    "reverse shell": "Execution",
    "malicious script executed": "Execution",
    "unexpected child shell": "Execution",
}
_MISCONFIGURED = re.compile(r"[A-Z0-9][A-Z0-9_]{3,120}")  # OPEN_FIREWALL: the scanners' way of naming, before classes
_INSTANCE = re.compile(r"/?(projects/[^/]{1,100}/zones/[^/]{1,100}/instances/([^/]{1,100}))")
# Names of ATT&CK's techniques that are Google's alone, with the ids that its schema says; the others are ATT&CK's own.
_GOOGLES = """
T1001.002 DATA_OBFUSCATION_STEGANOGRAPHY  T1003.007 OS_CREDENTIAL_DUMPING_PROC_FILESYSTEM
T1003.008 OS_CREDENTIAL_DUMPING_ETC_PASSWORD_AND_ETC_SHADOW  T1027 OBFUSCATED_FILES_OR_INFO
T1027.003 STEGANOGRAPHY  T1053.003 SCHEDULED_TASK_JOB_CRON  T1056.001 INPUT_CAPTURE_KEYLOGGING
T1070.002 INDICATOR_REMOVAL_CLEAR_LINUX_OR_MAC_SYSTEM_LOGS  T1070.003 INDICATOR_REMOVAL_CLEAR_COMMAND_HISTORY
T1070.004 INDICATOR_REMOVAL_FILE_DELETION  T1070.006 INDICATOR_REMOVAL_TIMESTOMP
T1070.008 INDICATOR_REMOVAL_CLEAR_MAILBOX_DATA  T1071.004 DNS  T1078.004 CLOUD_ACCOUNTS
T1087.001 ACCOUNT_DISCOVERY_LOCAL_ACCOUNT  T1134.001 TOKEN_IMPERSONATION_OR_THEFT  T1136.001 LOCAL_ACCOUNT
T1140 DEOBFUSCATE_DECODE_FILES_OR_INFO  T1548.001 ABUSE_ELEVATION_CONTROL_MECHANISM_SETUID_AND_SETGID
T1548.003 ABUSE_ELEVATION_CONTROL_MECHANISM_SUDO_AND_SUDO_CACHING  T1553 SUBVERT_TRUST_CONTROL
T1574.006 HIJACK_EXECUTION_FLOW_DYNAMIC_LINKER_HIJACKING  T1587.001 DEVELOP_CAPABILITIES_MALWARE
T1588.001 OBTAIN_CAPABILITIES_MALWARE  T1588.006 OBTAIN_CAPABILITIES_VULNERABILITIES
"""
_PAIRS = _GOOGLES.split()
_SUBJECTS = frozenset({"USER", "SERVICEACCOUNT"})  # kinds of who a role of Kubernetes is bound to, that are accounts
_BY_NAME = dict(zip(_PAIRS[1::2], _PAIRS[::2], strict=True))


class SecurityCommandCenter(Shape):
    name = "gcp_scc"
    vendor = "Google"
    product = "Security Command Center"
    marks = (
        "finding.category+finding.name notificationConfigName+finding finding.parent+finding.resourceName "
        "logName=*threatdetection*+jsonPayload findingClass+category+canonicalName "
        "parent+resourceName+category+eventTime finding.category Findings+FindingsResource"
    )
    sourcetypes = ("google:gcp:security:*", "google:gcp:scc:*", "gcp:scc*")
    table = "GCPSecurityEvents"
    wrappers = ("listFindingsResults", "findings", "entries", "_source")
    alert = Paths(
        id="finding.name finding.canonicalName insertId",
        title="finding.category jsonPayload.finding.category jsonPayload.detectionCategory.ruleName",
        description="finding.description finding.sourceProperties.Explanation"
        " finding.sourceProperties.properties.description",
        severity="finding.severity finding.sourceProperties.SeverityLevel finding.sourceProperties.detectionPriority"
        " jsonPayload.detectionPriority severity",
        vendor_category="finding.findingClass finding.category",
        detector="finding.moduleName finding.sourceProperties.detectionCategory.ruleName finding.category"
        " jsonPayload.detectionCategory.ruleName",
        first="finding.eventTime finding.createTime jsonPayload.eventTime timestamp receiveTimestamp",
        last="finding.eventTime timestamp receiveTimestamp",
        created="finding.createTime",
        status="finding.state",
        actions="finding.nextSteps finding.sourceProperties.Recommendation",
        sub_provider="finding.parentDisplayName finding.sourceDisplayName finding.sourceProperties.ScannerName",
        url="finding.externalUri",
        cves="finding.vulnerability.cve.id finding.sourceProperties.vulnerability.cve.id",
        fold="finding.resourceName finding.resource.name resource.name",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        for outer in objects_of(record, *self.wrappers):
            fields = pushed(outer)
            if fields.has("FindingsResource"):  # a row of Sentinel's table GoogleCloudSCC
                names = {"finding": fields.raw("Findings"), "resource": fields.raw("FindingsResource")}
                fields = Fields({name: inner_json(value) for name, value in names.items()})
            if fields.has("category") and fields.has("name", "parent", "resourceName") and not fields.has("finding"):
                fields = Fields({"finding": fields.data})
            yield fields

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        finding, log = fields.object("finding"), fields.object("jsonPayload")
        _resource(fields, finding, evidence)
        _access(finding.object("access"), evidence)
        for path in ("indicator.ipAddresses", "indicator.domains", "indicator.uris"):
            for text in finding.texts(path)[:_MAX_PARTS]:
                if evidence.ip(text, ("attacker",)) is None and evidence.url(text) is None:
                    evidence.domain(text)
        for item in finding.objects("connections")[:_MAX_PARTS]:
            _connection(item, evidence)
        for item in finding.objects("processes")[:_MAX_PARTS]:
            _process(item, evidence)
        for item in finding.objects("files")[:_MAX_PARTS]:
            evidence.file(None, item.text("path", "diskPath.relativePath"), [item.text("sha256")])
        for binding in finding.objects("iamBindings")[:_MAX_PARTS]:
            _, colon, name = (binding.text("member") or "").partition(":")
            evidence.user(name if colon else None)
        _kubernetes(finding.object("kubernetes"), evidence)
        _data(finding, evidence)
        for box in finding.objects("containers")[:_MAX_PARTS]:
            evidence.container(None, box.text("name"), box.text("imageId", "uri"))
        for told in (finding.object("sourceProperties.properties"), log.object("properties")):
            _told(told, evidence)
        for item in log.objects("affectedResources")[:_MAX_PARTS]:
            evidence.google(item.text("gcpResourceName"), roles=("attacked",))
        evidence.ip(log.text("sourceIp"), ("source",))

    def finish(self, fields: Fields, alert: Alert) -> None:
        finding = fields.object("finding")
        told = finding.object("mitreAttack")
        words = [*told.texts("primaryTactic"), *told.texts("additionalTactics")]
        purpose = alert.title.partition(":")[0]
        named_so = [*told.texts("primaryTechniques"), *told.texts("additionalTechniques")]
        ids = {_BY_NAME.get(word.upper()) or attack.technique(word) for word in named_so}
        alert.techniques = sorted({*alert.techniques, *filter(None, ids)})
        tactics = attack.tactics(*words) or attack.tactics(purpose)
        kind = (finding.text("findingClass") or "").lower()
        named = _PURPOSES.get(purpose.lower()) or _CLASSES.get(kind)
        if named is None and _MISCONFIGURED.fullmatch(alert.title):
            named = "Misconfiguration"
        alert.category = tactics[0] if tactics else named or "SuspiciousActivity"
        alert.categories = tactics or [alert.category]
        changes = (first_time(finding, "eventTime"), first_time(finding, "muteUpdateTime"))
        alert.source_updated = max((time for time in changes if time is not None), default=None)
        if (finding.text("mute") or "").upper() == "MUTED":
            alert.status = "resolved"
            alert.classification = "informationalExpectedActivity"


def _resource(fields: Fields, finding: Fields, evidence: Evidence) -> None:
    where = finding.object("resource") or fields.object("resource")
    if where.text("type", "resourceType") == "google.compute.Instance":
        evidence.host(where.text("displayName", "display_name"), roles=("attacked",))
    evidence.google(
        finding.text("resourceName") or where.text("name"),
        name=where.text("displayName", "display_name") or finding.text("assetDisplayName"),
        kind=where.text("type", "resourceType"),
        project=where.text("gcpMetadata.projectDisplayName", "projectDisplayName", "project_display_name")
        or where.text("labels.project_id")
        or finding.text("sourceProperties.ProjectId"),
        location=where.text("location"),
        roles=("attacked",),
    )


def _access(access: Fields, evidence: Evidence) -> None:
    place = Place(country=access.text("callerIpGeo.regionCode"))
    evidence.ip(access.text("callerIp"), ("source",), place)
    evidence.user(access.text("principalEmail") or access.text("userName"))
    for item in access.objects("serviceAccountDelegationInfo")[:_MAX_PARTS]:
        evidence.user(item.text("principalEmail"))
    evidence.observe("resource", access.text("serviceAccountKeyName"), "key")


def _connection(item: Fields, evidence: Evidence) -> None:
    start = item.text("sourceIp"), item.integer("sourcePort")
    end = item.text("destinationIp"), item.integer("destinationPort")
    if evidence.flow(*start, *end, item.text("protocol")) is None:
        evidence.ip(start[0], ("source",))
        evidence.ip(end[0], ("destination",))


def _process(item: Fields, evidence: Evidence) -> None:
    binary = item.object("binary")
    # The path is whole, and the name what the process calls itself.
    path, said = binary.text("path"), item.texts("args")
    evidence.process(
        " ".join(said)[:_MAX_COMMAND] or None,
        name=None if path else item.text("name"),
        path=path,
        pid=item.integer("pid"),
        hashes=[binary.text("sha256")],
        parent_pid=item.integer("parentPid"),
    )
    script = item.object("script")
    evidence.file(None, script.text("path"), [script.text("sha256")])


def _data(finding: Fields, evidence: Evidence) -> None:
    """What was read or taken, by whom and where to."""
    for item in finding.objects("exfiltration.sources")[:_MAX_PARTS]:
        evidence.google(item.text("name"), roles=("source",))
    for item in finding.objects("exfiltration.targets")[:_MAX_PARTS]:
        evidence.google(item.text("name"), roles=("destination",))
    evidence.user(finding.text("database.userName"))
    evidence.observe("resource", finding.text("database.displayName", "database.name"), "database")
    for text in finding.texts("dataAccessEvents.principalEmail")[:_MAX_PARTS]:
        evidence.user(text)
    evidence.url(finding.text("application.fullUri", "application.baseUri"))


def _kubernetes(cluster: Fields, evidence: Evidence) -> None:
    for item in cluster.objects("pods")[:_MAX_PARTS]:
        pod = evidence.pod(item.text("name"), item.text("ns"))
        for box in item.objects("containers")[:_MAX_PARTS]:
            evidence.container(None, box.text("name"), box.text("imageId", "uri"), pod=pod)
    for item in cluster.objects("objects")[:_MAX_PARTS]:
        evidence.kubernetes(item.text("kind"), item.text("name"), item.text("ns"))
    for binding in cluster.objects("bindings")[:_MAX_PARTS]:
        for item in binding.objects("subjects")[:_MAX_PARTS]:
            evidence.user(item.text("name") if (item.text("kind") or "").upper() in _SUBJECTS else None)


def _told(told: Fields, evidence: Evidence) -> None:
    """The properties of older findings of Event Threat Detection."""
    if not told:
        return
    match = _INSTANCE.match(told.text("instanceDetails", "instance_id") or "")
    if match is not None:
        evidence.google(match[1], name=match[2], kind="google.compute.Instance", roles=("attacked",))
        evidence.host(match[2])
    evidence.observe("resource", told.text("network.project", "project_id"), "project")
    for text in told.texts("loginAttempts.vmName", "attempts.vmName")[:_MAX_PARTS]:
        evidence.host(text, roles=("attacked",))
    for path in (
        "principalEmail",
        "principal_email",
        "externalMembers",
        "userName",
        "loginAttempts.userName",
        "sensitiveRoleGrant.principalEmail",
        "sensitiveRoleGrant.bindingDeltas.member",
    ):
        for text in told.texts(path)[:_MAX_PARTS]:
            evidence.user(text.rpartition(":")[2])
    for path in ("ipConnection.srcIp", "sourceIp", "callerIp", "attempts.sourceIp", "loginAttempts.sourceIp"):
        for text in told.texts(path)[:_MAX_PARTS]:
            evidence.ip(text, ("source",))
    for path in ("ipConnection.destIp", "indicator.ips", "ip"):
        for text in told.texts(path)[:_MAX_PARTS]:
            evidence.ip(text, ("destination",))
    for path in ("domains", "dnsContexts.queryName", "indicator.domains"):
        for text in told.texts(path)[:_MAX_PARTS]:
            evidence.domain(text)
