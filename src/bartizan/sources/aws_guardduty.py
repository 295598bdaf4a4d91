"""AWS GuardDuty: findings in the spelling of EventBridge and S3 exports (camelCase) and of the API (PascalCase).

Every finding is an alert; the stream's other records are events.
Source: Amazon GuardDuty User Guide, "Finding types", "Finding details", "Severity levels", "EventBridge events".
"""

import re
from collections.abc import Iterator
from typing import Any

from bartizan.extend import Event, GraphObject, Record, Source
from bartizan.model import security as graph
from bartizan.model.alert import Alert
from bartizan.sources import amazon, attack, leftover, severity
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, content_id, inner_json, objects_of
from bartizan.sources.generic import guess_event, unread
from bartizan.sources.times import first_time

# The purpose before the colon of a finding's type -> category.
_PURPOSES = {
    "backdoor": "Malware",
    "cryptocurrency": "Malware",
    "trojan": "Malware",
    "recon": "Reconnaissance",
    "unauthorizedaccess": "InitialAccess",
    "pentest": "Discovery",
    "behavior": "SuspiciousActivity",
    "stealth": "DefenseEvasion",
    "policy": "Misconfiguration",
    "object": "Malware",
    "attacksequence": "SuspiciousActivity",
}
_CRITICAL = 9.0
_USED = frozenset(
    """
    id title description type severity accountid region resource service createdat updatedat schemaversion partition
    arn
    """.split()
)
_SEQUENCE_USER = re.compile(r"\bfor (?:IAMUser|AssumedRole|Root|FederatedUser)/([\w+=,.@-]{1,128})")
_SEQUENCE_ADDRESS = re.compile(r"Exit Node: ((?:[\d.]+(?:, )?){1,50})")
_RESOURCES = {
    # key of `resource` -> (type, names of its ARN or id, names of its name)
    "instanceDetails": ("Instance", ("instanceId",), ()),
    "s3BucketDetails": ("S3Bucket", ("arn",), ("name",)),
    "eksClusterDetails": ("EKSCluster", ("arn",), ("name",)),
    "ecsClusterDetails": ("ECSCluster", ("arn",), ("name",)),
    "rdsDbInstanceDetails": ("RDSDBInstance", ("dbInstanceArn", "dbInstanceIdentifier"), ("dbInstanceIdentifier",)),
    "rdsLimitlessDbDetails": (
        "RDSLimitlessDB",
        ("dbShardGroupArn", "dbShardGroupIdentifier"),
        ("dbShardGroupIdentifier",),
    ),
    "lambdaDetails": ("Lambda", ("functionArn",), ("functionName",)),
    "ebsSnapshotDetails": ("EBSSnapshot", ("snapshotArn",), ()),
    "ec2ImageDetails": ("EC2Image", ("imageArn",), ()),
    "recoveryPointDetails": ("RecoveryPoint", ("recoveryPointArn",), ()),
}


class GuardDuty(Source):
    name = "aws_guardduty"
    vendor = "AWS"
    product = "GuardDuty"
    marks = (
        "accountId+region+type+severity+service+resource schemaVersion+accountId+service+severity+type+arn "
        "service.detectorId+type+resource detail.service.detectorId+detail.type+source=aws.guardduty "
        "service.serviceName=guardduty source=aws.guardduty ActivityType+ServiceDetails+ResourceDetails "
        "type=AWSGuardDuty"
    )
    sourcetypes = ("aws:guardduty", "aws:cloudwatch:guardduty")

    def normalise(self, record: Record) -> Iterator[Alert | Event | GraphObject]:
        found = objects_of(record, "Findings", "Records", "detail", "_source")
        if not found:
            yield from unread(record, "GuardDutyEvents")
        for fields in found:
            inner = fields.object("detail")
            finding = inner if inner.has("type", "service") else _of_row(fields)
            if finding.has("type") and finding.has("service", "resource", "severity"):
                yield leftover.proven(self._alert(record, finding), finding.data)
            else:
                yield _event(finding)

    def _alert(self, record: Record, finding: Fields) -> Alert:
        service, score = finding.object("service"), finding.number("severity")
        first = first_time(service, "eventFirstSeen") or first_time(finding, "createdAt", "updatedAt")
        last = first_time(service, "eventLastSeen") or first_time(finding, "updatedAt") or first
        evidence = Evidence(first)
        _resources(finding, evidence)
        _actions(finding, evidence)
        _malware(finding, evidence)
        _sequence(finding, evidence)
        kind = finding.text("type") or "unknown"
        purpose = kind.partition(":")[0]
        words = [
            text for item in service.objects("detection.sequence.sequenceIndicators") for text in item.texts("values")
        ]
        tactics = attack.tactics(purpose, *words) or attack.tactics(*_told(finding, "tactics"))
        category = tactics[0] if tactics else _PURPOSES.get(purpose.lower(), "SuspiciousActivity")
        own_id = finding.text("id") or content_id(finding.data)
        archived = service.flag("archived") is True
        return Alert(
            vendor=self.vendor,
            product=self.product,
            sub_provider=service.text("featureName"),
            provider_alert_id=own_id,
            title=finding.text("title") or kind,
            description=finding.text("description"),
            severity=severity.of_guardduty(score),
            vendor_severity=finding.text("severity"),
            tags=[severity.CRITICAL_TAG] if score is not None and score >= _CRITICAL else [],
            category=category,
            categories=tactics or [category],
            vendor_category=kind,
            techniques=attack.techniques(record, finding.data),
            detector_id=kind,
            detection_source=_detection_source(kind, service),
            first_activity=first,
            last_activity=last,
            source_created=first_time(finding, "createdAt"),
            source_updated=first_time(finding, "updatedAt"),
            status="resolved" if archived else "new",
            threat_name=next(iter(_threat_names(finding)), None),
            evidence=evidence.items,
            additional=_additional(finding, service) | evidence.unsaid,
            fingerprint=(own_id,),
        )


def _of_row(fields: Fields) -> Fields:
    """A row of Sentinel's table AWSGuardDuty by the names of a finding; any other object as it is."""
    if not fields.has("ActivityType"):
        return fields
    names = {
        "ActivityType": "type",
        "ResourceDetails": "resource",
        "ServiceDetails": "service",
        "TimeCreated": "createdAt",
    }
    own = {names.get(key, key): value for key, value in fields.data.items() if key.lower() != "type"}
    return Fields({key: inner_json(value) if key in ("resource", "service") else value for key, value in own.items()})


def _told(finding: Fields, what: str) -> list[str]:
    """Of an attack sequence's text: "5 MITRE ATT&CK tactics observed: Exfiltration, Impact, ..."."""
    match = re.search(rf"MITRE ATT&CK {what} observed: ([^\n]{{1,500}})", finding.text("description") or "")
    return [part.strip() for part in match[1].split(",")] if match else []


def _detection_source(kind: str, service: Fields) -> str:
    if service.has("ebsVolumeScanDetails", "malwareScanDetails"):
        return "antivirus"
    return (
        "builtInMl"
        if "Anomalous" in kind or service.has("additionalInfo.anomalies", "detection.anomaly")
        else "unknown"
    )


def _threat_names(finding: Fields) -> list[str]:
    scan = finding.object("service.ebsVolumeScanDetails.scanDetections")
    names = [text for item in scan.objects("threatDetectedByName.threatNames") for text in item.texts("name")]
    names += [text for item in finding.objects("service.malwareScanDetails.threats") for text in item.texts("name")]
    return list(dict.fromkeys(names))


def _resources(finding: Fields, evidence: Evidence) -> None:
    account, resource = finding.text("accountId"), finding.object("resource")
    for key, (kind, ids, names) in _RESOURCES.items():
        for item in resource.objects(key)[:20]:
            name = item.text(*names) if names else None
            evidence.amazon(item.text(*ids), name=name, kind=kind, account=account, roles=("attacked",))
    _instance(resource.object("instanceDetails"), evidence)
    _access_key(resource.object("accessKeyDetails"), evidence, account)
    _kubernetes(resource, evidence)
    for box in [*resource.objects("containerDetails"), *resource.objects("ecsClusterDetails.taskDetails.containers")][
        :20
    ]:
        evidence.container(box.text("id"), box.text("name"), box.text("image"))
    evidence.amazon(resource.text("ecsClusterDetails.taskDetails.arn"), kind="ECSTask", account=account)
    role, database = resource.object("lambdaDetails"), resource.object("rdsDbUserDetails")
    for attempt in finding.objects("service.action.rdsLoginAttemptAction.LoginAttributes")[:20]:
        evidence.user(attempt.text("user"))
    evidence.amazon(role.text("role"), kind="IAMRole", account=account)
    evidence.user(database.text("user"))
    if not evidence.items and account is not None:
        evidence.amazon(None, kind="Account", account=account)


def _instance(instance: Fields, evidence: Evidence) -> None:
    cards = instance.objects("networkInterfaces")[:20]
    inner = [text for card in cards for text in (card.text("privateIpAddress"), *card.texts("ipv6Addresses"))]
    card = cards[0] if cards else Fields(None)
    evidence.host(
        instance.text("instanceId"),
        addresses=inner,
        external=card.text("publicIp"),
        os=instance.text("platform"),
        roles=("attacked",),
    )
    evidence.amazon(instance.text("iamInstanceProfile.arn"), kind="IAMInstanceProfile")


def _access_key(key: Fields, evidence: Evidence, account: str | None) -> None:
    if not key:
        return
    evidence.user(key.text("userName"), object_id=key.text("principalId"), domain=account, roles=("compromised",))
    evidence.amazon(key.text("accessKeyId"), kind="AccessKey", account=account)


def _kubernetes(resource: Fields, evidence: Evidence) -> None:
    details = resource.object("kubernetesDetails")
    who, load = details.object("kubernetesUserDetails"), details.object("kubernetesWorkloadDetails")
    cluster = resource.text("eksClusterDetails.name")
    evidence.cluster(cluster)
    evidence.user(who.text("username"), object_id=who.text("uid"))
    kind, pod = load.text("type") or "pod", None
    if kind.lower() in ("pod", "pods"):
        pod = evidence.pod(
            load.text("name"), load.text("namespace"), cluster=cluster, service_account=load.text("serviceAccountName")
        )
    else:
        evidence.kubernetes(kind, load.text("name"), load.text("namespace"), cluster)
    for box in load.objects("containers")[:20]:
        privileged = box.flag("securityContext.privileged")
        evidence.container(box.text("id"), box.text("name"), box.text("image"), privileged=privileged, pod=pod)


def _actions(finding: Fields, evidence: Evidence) -> None:
    attacker = (finding.text("service.resourceRole") or "TARGET").upper() == "TARGET"
    amazon.actions(finding.object("service.action"), evidence, attacker=attacker)
    runtime = finding.object("service.runtimeDetails")
    amazon.process(runtime.object("process"), evidence)
    context = runtime.object("context")
    for path in ("modifyingProcess", "targetProcess"):
        amazon.process(context.object(path), evidence)
    evidence.process(context.text("commandLineExample"))
    evidence.file(None, context.text("threatFilePath"))
    evidence.file(None, context.text("moduleFilePath"), [context.text("moduleSha256")])
    evidence.file(None, context.text("scriptPath", "libraryPath", "socketPath"))


def _malware(finding: Fields, evidence: Evidence) -> None:
    scan = finding.object("service.ebsVolumeScanDetails.scanDetections")
    for threat in scan.objects("threatDetectedByName.threatNames")[:50]:
        malware = evidence.malware(threat.text("name"), threat.text("severity"))
        for item in threat.objects("filePaths")[:50]:
            _infected(item.text("fileName"), item.text("filePath"), item.text("hash"), malware, evidence)
    for threat in finding.objects("service.malwareScanDetails.threats")[:50]:
        malware = evidence.malware(threat.text("name"))
        for item in threat.objects("itemPaths")[:50]:
            _infected(None, item.text("nestedItemPath"), item.text("hash"), malware, evidence)
    for item in finding.objects("resource.s3BucketDetails"):
        for thing in item.objects("s3ObjectDetails")[:50]:
            evidence.amazon(thing.text("objectArn"), name=thing.text("key"), kind="S3Object")
            evidence.file(None, thing.text("key"), [thing.text("hash")])


def _infected(
    name: str | None, path: str | None, digest: str | None, malware: graph.MalwareEvidence | None, evidence: Evidence
) -> None:
    file = evidence.file(name, path, [digest], status="detected")
    if file is not None:
        file.verdict = "malicious"
        if malware is not None and file not in malware.files:
            malware.files.append(file)


def _sequence(finding: Fields, evidence: Evidence) -> None:
    """An attack sequence: actors, endpoints, resources; older ones name them in the text only."""
    account = finding.text("accountId")
    amazon.sequence(finding.object("service.detection.sequence"), evidence, account)
    text = finding.text("description") or ""
    if (finding.text("type") or "").startswith("AttackSequence:"):
        for match in list(_SEQUENCE_USER.finditer(text))[:5]:
            evidence.user(match[1], domain=account)
        if (found := _SEQUENCE_ADDRESS.search(text)) is not None:
            for part in found[1].split(","):
                evidence.ip(part.strip(" ."), ("attacker",))


def _additional(finding: Fields, service: Fields) -> dict[str, Any]:
    parts: dict[str, Any] = {
        "type": finding.text("type"),
        "arn": finding.text("arn"),
        "accountId": finding.text("accountId"),
        "region": finding.text("region"),
        "count": service.integer("count"),
        "service": service.rest() or None,
        "resource": finding.object("resource").rest() or None,
    }
    return finding.rest(_USED) | {name: value for name, value in parts.items() if value is not None}


def _event(fields: Fields) -> Event:
    made = guess_event(fields, "GuardDutyEvents")
    extra = {"AccountId": fields.text("accountId", "account"), "Region": fields.text("region")}
    row = made.row | {name: value for name, value in extra.items() if value is not None}
    return Event(table=made.table, row=row, entities=made.entities)
