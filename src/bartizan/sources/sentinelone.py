"""SentinelOne: threats (API 2.0 and 2.1), STAR alerts, unified alerts (Singularity, Identity).

Activities and Deep Visibility: `sentinelone_events`.
Source: SentinelOne Management API 2.1, "Threats", "Alerts"; Unified Alert Management GraphQL schema.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from bartizan.extend import Event, GraphObject, Record, Source
from bartizan.model import security as graph
from bartizan.model.alert import Alert, Severity
from bartizan.sources import attack, cef, leftover, severity
from bartizan.sources.entities import file_name, is_outside
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, content_id, objects_of
from bartizan.sources.generic import guess_event, unread
from bartizan.sources.sentinelone_events import activity, telemetry
from bartizan.sources.times import first_time

_CLASSES = {
    "ransomware": "Ransomware",
    "pua": "UnwantedSoftware",
    "pup": "UnwantedSoftware",
    "adware": "UnwantedSoftware",
    "exploit": "Exploit",
    "phishing": "Phishing",
    "enumeration": "Discovery",
    "interactive shell": "Execution",
    "remote shell": "CommandAndControl",
    "unknown": "SuspiciousActivity",
    "suspicious": "SuspiciousActivity",
    "misconfiguration": "Misconfiguration",
    "vulnerability": "Vulnerability",
}
_STATUS: dict[str, Literal["new", "inProgress", "resolved"]] = {
    "in_progress": "inProgress",
    "resolved": "resolved",
}
_VERDICTS = {
    "true_positive": "truePositive",
    "false_positive": "falsePositive",
    "false_positive_benign": "falsePositive",
    "false_positive_undefined": "falsePositive",
    "false_positive_user_error": "falsePositive",
    "true_positive_benign": "informationalExpectedActivity",
    "true_positive_benign_but_suspicious": "informationalExpectedActivity",
}
_CONFIDENCE: dict[str, tuple[Severity, graph.EvidenceVerdict]] = {
    "malicious": ("high", "malicious"),
    "suspicious": ("medium", "suspicious"),
    "n/a": ("unknown", "unknown"),
}
_MITIGATION: dict[str, graph.EvidenceRemediationStatus] = {
    "mitigated": "remediated",
    "not_mitigated": "active",
    "unmitigated": "active",
    "blocked": "blocked",
    "pending": "running",
    "pending_reboot": "running",
    "failed": "unremediated",
}
_ANTIVIRUS = frozenset(
    {"reputation", "pre_execution", "pre_execution_suspicious", "sentinelone_cloud", "data_files", "pup", "executables"}
)
_CEF_TIME = re.compile(r"#arcsightDate\((?:\w{3}, )?([\w ]{1,20}),? ([\d:.]{1,20} \w{1,5})\)", re.ASCII)
_USED = frozenset(
    """
    threatinfo agentdetectioninfo agentrealtimeinfo alertinfo ruleinfo containerinfo kubernetesinfo id name
    description rawdata asset
    """.split()
)


class SentinelOne(Source):
    name = "sentinelone"
    vendor = "SentinelOne"
    product = "Singularity"
    marks = (
        "activityType+primaryDescription event.category+event.type+endpoint.name+agent.uuid "
        "confidenceLevel+detectionSource+asset threatInfo+agentRealtimeInfo agentDetectionInfo+alertInfo "
        "agentRealtimeInfo+id activityType+accountId+primaryDescription activityType+siteId+agentId "
        "accountId+agentComputerName+siteId threatInfo.threatId "
        "attackSurfaces+detectionSource+confidenceLevel analystVerdict+detectionSource+asset "
        "ruleInfo+alertInfo agentUpdatedVersion+activityType sourceProcessInfo+alertInfo "
        "accountName+activityUuid agentId+threatName+siteId agentId+siteId+accountId+createdAt "
        "fileContentHash+agentId detectionSource.product+attackSurfaces meta.event.name+agent.uuid "
        "event.type+agent.uuid+site.id endpoint.name+event.type+src.process.cmdline "
        "dataSource.name=SentinelOne+event.type agentUuid+storyline+trueContext"
    )
    pattern = re.compile(r"CEF:\d\|SentinelOne\|")
    sourcetypes = ("sentinelone:*", "sentinelone", "sentinelone:channel:*")

    def normalise(self, record: Record) -> Iterator[Alert | Event | GraphObject]:
        found: Iterable[Fields] = [_of_cef(event) for event in cef.records(record)]
        if not found:
            found = objects_of(record, "data.alerts", "data") if _is_page(record.data) else objects_of(record)
        if not found:
            yield from unread(record, "SentinelOneEvents")
        for fields in found:
            if fields.has("activityType"):
                yield activity(fields)
            elif fields.has("threatInfo", "fileDisplayName") or (fields.has("threatName") and fields.has("agentId")):
                yield leftover.proven(self._threat(record, fields), fields.data)
            elif fields.has("alertInfo", "ruleInfo"):
                yield leftover.proven(self._star(record, fields), fields.data)
            elif fields.has("detectedAt") and fields.has("name", "detectionSource"):
                yield leftover.proven(self._unified(record, fields), fields.data)
            elif fields.has("event.type", "event.category", "src.process.name", "processName", "dataSource.name"):
                yield telemetry(fields)
            else:
                yield guess_event(fields, "SentinelOneEvents")

    def _threat(self, record: Record, fields: Fields) -> Alert:
        threat = fields.object("threatInfo") or fields
        first = first_time(threat, "identifiedAt", "createdDate", "createdAt")
        confidence = (threat.text("confidenceLevel") or "").lower()
        level, verdict = _CONFIDENCE.get(confidence, ("unknown", "unknown"))
        if not confidence:
            level = _old_level(threat)
        mitigation = _MITIGATION.get((threat.text("mitigationStatus") or "").lower(), "none")
        evidence = Evidence(first, remediation=mitigation)
        _agent(fields, evidence)
        _threat_entities(threat, evidence, verdict)
        _surroundings(fields, evidence)
        engines = threat.texts("engines", "detectionEngines") or [
            text for item in threat.objects("detectionEngines") if (text := item.text("key")) is not None
        ]
        resolved = threat.flag("resolved") or threat.flag("markedAsBenign")
        status = _STATUS.get(_word(threat, "incidentStatus"), "resolved" if resolved else "new")
        sha1, storyline = threat.text("sha1", "fileContentHash"), threat.text("storyline")
        own_id = threat.text("threatId", "id") or fields.text("id")
        return self._made(
            record,
            fields,
            provider_alert_id=own_id or content_id(fields.data),
            title=threat.text("threatName", "fileDisplayName") or "SentinelOne threat",
            description=_told(fields) or threat.text("description"),
            severity=level,
            vendor_severity=confidence or threat.text("cloudVerdict", "rank"),
            detector_id=",".join(sorted(engines)) or None,
            detection_source=_detection_source(engines, threat.text("initiatedBy")),
            first_activity=first,
            last_activity=first,
            source_created=first_time(threat, "createdAt", "createdDate"),
            source_updated=first_time(threat, "updatedAt"),
            status=status,
            classification=_classified(threat),
            threat_name=threat.text("threatName"),
            proof=evidence,
            fingerprint=(own_id,) if own_id else (storyline or "", sha1 or ""),
            vendor_category=threat.text("classification"),
            category_words=[threat.text("classification"), "malware"],
        )

    def _star(self, record: Record, fields: Fields) -> Alert:
        alert, rule = fields.object("alertInfo"), fields.object("ruleInfo")
        first = first_time(alert, "createdAt", "reportedAt")
        evidence = Evidence(first)
        _agent(fields, evidence)
        _star_entities(fields, evidence)
        _surroundings(fields, evidence)
        own_id = alert.text("alertId", "dvEventId") or content_id(fields.data)
        source = fields.object("sourceProcessInfo")
        return self._made(
            record,
            fields,
            provider_alert_id=own_id,
            title=rule.text("name") or "SentinelOne custom rule",
            description=rule.text("description"),
            severity=severity.of_word(rule.text("severity")),
            vendor_severity=rule.text("severity"),
            detector_id=rule.text("id"),
            detection_source="customDetection",
            first_activity=first,
            last_activity=first_time(alert, "reportedAt", "createdAt"),
            source_created=first,
            source_updated=first_time(alert, "updatedAt"),
            status=_STATUS.get(_word(alert, "incidentStatus"), "new"),
            classification=_classified(alert),
            proof=evidence,
            fingerprint=(rule.text("id") or own_id, source.text("storyline") or "", source.text("fileHashSha1") or ""),
            vendor_category=alert.text("indicatorCategory", "eventType"),
            category_words=[alert.text("indicatorCategory"), "suspicious"],
        )

    def _unified(self, record: Record, fields: Fields) -> Alert:
        first = first_time(fields, "firstSeenAt", "detectedAt", "createdAt")
        confidence = (fields.text("confidenceLevel") or "").lower()
        level, verdict = _CONFIDENCE.get(confidence, ("unknown", "unknown"))
        word = fields.text("severity")
        mitigation = _MITIGATION.get((fields.text("result") or "").lower(), "none")
        evidence = Evidence(first, remediation=mitigation)
        _unified_entities(fields, evidence, verdict)
        product = fields.text("detectionSource.product") or "Singularity"
        if not evidence.items:
            # Names no entity: who says so is all the context there is. It does not join the entity index.
            said = graph.CloudApplicationEvidence(
                instanceName=f"SentinelOne {product}", roles=["contextual"], createdDateTime=first
            )
            evidence.add(said, ("reporter", product))
        own_id = fields.text("id", "externalId") or content_id(fields.data)
        file = fields.object("process.file", "file")
        storyline, sha1 = fields.text("storylineId"), file.text("sha1")
        return self._made(
            record,
            fields,
            sub_provider=product,
            provider_alert_id=own_id,
            title=fields.text("name") or "SentinelOne alert",
            description=fields.text("description"),
            severity=severity.of_word(word) if severity.of_word(word) != "unknown" else level,
            vendor_severity=word or fields.text("confidenceLevel"),
            detector_id=fields.text("analytics.uid", "analytics.name", "detectionSource.engine", "name"),
            detection_source="customDetection" if product.upper() in ("STAR", "CUSTOM") else "unknown",
            first_activity=first,
            last_activity=first_time(fields, "lastSeenAt", "detectedAt") or first,
            source_created=first_time(fields, "createdAt", "detectedAt"),
            source_updated=first_time(fields, "updatedAt"),
            status=_STATUS.get((fields.text("status") or "").lower(), "new"),
            classification=_classified(fields),
            assigned_to=fields.text("assignee.email", "assignee.fullName", "assignee"),
            proof=evidence,
            fingerprint=(storyline, sha1.lower()) if storyline and sha1 else (own_id,),
            vendor_category=fields.text("classification"),
            category_words=[fields.text("classification"), "suspicious"],
        )

    def _made(
        self,
        record: Record,
        fields: Fields,
        *,
        proof: Evidence,
        category_words: list[str | None],
        sub_provider: str | None = None,
        **given: Any,
    ) -> Alert:
        """What the three kinds of alert share: category, techniques, what stays under the vendor's names."""
        spoken = [
            text
            for item in fields.objects("indicators")
            for tactic in item.objects("tactics")
            if (text := tactic.text("name"))
        ]
        for item in fields.objects("rawData.finding_info.attacks"):
            spoken += [text for tactic in item.objects("tactics", "tactic") if (text := tactic.text("name"))]
        tactics = attack.tactics(*spoken, *category_words)
        categories = tactics or [next(found for word in category_words if (found := _category(word)) is not None)]
        parts = {
            "threatInfo": fields.object("threatInfo").rest() or None,
            "alertInfo": fields.object("alertInfo").rest() or None,
            "ruleInfo": fields.object("ruleInfo").rest() or None,
            "asset": fields.object("asset").rest() or None,
            "siteName": fields.text("agentRealtimeInfo.siteName", "agentDetectionInfo.siteName", "siteName"),
            "groupName": fields.text("agentRealtimeInfo.groupName", "agentDetectionInfo.groupName"),
        }
        return Alert(
            vendor=self.vendor,
            product=self.product,
            sub_provider=sub_provider,
            product_version=fields.text(
                "agentRealtimeInfo.agentVersion", "agentDetectionInfo.version", "agentVersion", "asset.agentVersion"
            ),
            category=categories[0],
            categories=categories,
            techniques=attack.with_named(attack.techniques(record, fields.data), _technique_names(fields)),
            evidence=proof.items,
            additional=fields.rest(_USED)
            | {name: value for name, value in parts.items() if value is not None}
            | proof.unsaid,
            **given,
        )


def _is_page(data: Any) -> bool:
    """An API's page: {"data": [...], "pagination": ...}; an activity's `data` is an object of its own."""
    return isinstance(data, dict) and isinstance(data.get("data"), list)


def _category(word: str | None) -> str | None:
    folded = (word or "").strip().lower().replace("_", " ")
    if not folded:
        return None
    return _CLASSES.get(folded, "Malware")


def _old_level(threat: Fields) -> Severity:
    """API 2.0 has no level of confidence: the cloud's verdict, else the rank from 0 to 10."""
    if (threat.text("cloudVerdict") or "").lower() == "black":
        return "high"
    rank = threat.number("rank")
    return severity.of_hundred(rank * 10) if rank is not None else "unknown"


def _classified(fields: Fields) -> str | None:
    if fields.flag("markedAsBenign"):
        return "falsePositive"
    return _VERDICTS.get(_word(fields, "analystVerdict"))


def _word(fields: Fields, path: str) -> str:
    """A word of the API, which some of its answers write with spaces."""
    return (fields.text(path) or "").lower().replace(" ", "_")


def _detection_source(engines: list[str], initiated: str | None) -> str:
    words = {engine.lower().replace(" ", "_") for engine in engines}
    if initiated in ("user", "console_user", "dv_command", "star_manual", "agent_user") or "manual" in words:
        return "manual"
    if "user_blacklist" in words:
        return "customTi"
    return "antivirus" if words & _ANTIVIRUS else "unknown"


def _technique_names(fields: Fields) -> list[str]:
    tactics = [tactic for item in fields.objects("indicators") for tactic in item.objects("tactics")]
    names = [name for tactic in tactics for name in tactic.texts("techniques.name")]
    for item in fields.objects("rawData.finding_info.attacks"):
        names += attack.apart(item.text("technique.name"), item.text("sub_technique.name"))
    return names


def _told(fields: Fields) -> str | None:
    """The descriptions of the indicators, each once."""
    texts = dict.fromkeys(
        text for item in fields.objects("indicators") if (text := item.text("description")) is not None
    )
    return " ".join(list(texts)[:20]) or None


# ---------------------------------------------------------------- entities


def _agent(fields: Fields, evidence: Evidence) -> None:
    now, then = fields.object("agentRealtimeInfo"), fields.object("agentDetectionInfo")
    inner = [
        text for card in now.objects("networkInterfaces")[:30] for text in (*card.texts("inet"), *card.texts("inet6"))
    ]
    evidence.host(
        now.text("agentComputerName") or then.text("name") or fields.text("agentComputerName"),
        domain=now.text("agentDomain") or then.text("agentDomain") or fields.text("agentDomain"),
        addresses=[
            then.text("agentIpV4"),
            then.text("agentIpV6"),
            *inner,
            fields.text("agentIp"),
            fields.text("alertInfo.srcMachineIp"),
        ],
        external=then.text("externalIp"),
        os=now.text("agentOsType") or then.text("osFamily", "agentOsName") or fields.text("agentOsType"),
        version=now.text("agentOsRevision", "agentOsName") or then.text("osRevision", "agentOsRevision"),
        device_id=now.text("agentId") or then.text("uuid", "agentUuid") or fields.text("agentId"),
        roles=("attacked",),
    )
    last = then.text("agentLastLoggedInUserName")
    evidence.user(last, upn=then.text("agentLastLoggedInUpn", "agentLastLoggedInUserMail"), roles=("contextual",))


def _threat_entities(threat: Fields, evidence: Evidence, verdict: graph.EvidenceVerdict) -> None:
    user = evidence.user(threat.text("processUser", "rootProcessUpn", "username"))
    path, name = threat.text("filePath"), threat.text("fileDisplayName") or file_name(threat.text("filePath"))
    hashes = [threat.text("sha256", "fileSha256"), threat.text("sha1", "fileContentHash"), threat.text("md5")]
    publisher, size = threat.text("publisherName", "publisher"), threat.integer("fileSize")
    file = evidence.file(
        name or threat.text("threatName"), path, hashes, size=size, publisher=publisher, status="detected"
    )
    command = threat.text("maliciousProcessArguments")
    process = None
    if command is not None:
        origin = threat.text("originatorProcess")
        process = evidence.process(command, name=name, path=path, hashes=hashes, user=user, parent_name=origin)
    for item in (file, process):
        if item is not None:
            item.verdict = verdict


def _star_entities(fields: Fields, evidence: Evidence) -> None:
    alert, source, parent = (
        fields.object("alertInfo"),
        fields.object("sourceProcessInfo"),
        fields.object("sourceParentProcessInfo"),
    )
    user = evidence.user(source.text("user"))
    evidence.user(
        alert.text("loginsUserName"), domain=alert.text("loginAccountDomain"), sid=alert.text("loginAccountSid")
    )
    hashes = [source.text("fileHashSha256"), source.text("fileHashSha1"), source.text("fileHashMd5")]
    evidence.process(
        source.text("commandline"),
        name=source.text("name"),
        path=source.text("filePath"),
        pid=source.integer("pid"),
        hashes=hashes,
        started=first_time(source, "pidStarttime"),
        user=user,
        parent_name=parent.text("name"),
        parent_path=parent.text("filePath"),
        parent_pid=parent.integer("pid"),
        parent_hashes=[parent.text("fileHashSha256"), parent.text("fileHashSha1"), parent.text("fileHashMd5")],
        parent_started=first_time(parent, "pidStarttime"),
    )
    target = fields.object("targetProcessInfo")
    evidence.process(
        target.text("tgtProcCmdLine"),
        name=target.text("tgtProcName"),
        path=target.text("tgtProcImagePath"),
        pid=target.integer("tgtProcPid"),
        started=first_time(target, "tgtProcessStartTime"),
    )
    evidence.file(None, target.text("tgtFilePath"), [target.text("tgtFileHashSha256"), target.text("tgtFileHashSha1")])
    evidence.file(None, alert.text("modulePath"), [alert.text("moduleSha1")])
    ports = alert.integer("srcPort"), alert.integer("dstPort")
    if evidence.flow(alert.text("srcIp"), ports[0], alert.text("dstIp"), ports[1]) is None:
        evidence.ip(alert.text("srcIp"), ("source",))
        evidence.ip(alert.text("dstIp"), ("destination",))
    evidence.domain(alert.text("dnsRequest"), [alert.text("dnsResponse")])
    evidence.registry(alert.text("registryPath", "registryKeyPath"), None, alert.text("registryValue"))


def _surroundings(fields: Fields, evidence: Evidence) -> None:
    """Container and cluster."""
    box, cluster = fields.object("containerInfo"), fields.object("kubernetesInfo")
    pod = evidence.pod(
        cluster.text("pod"),
        cluster.text("namespace"),
        cluster=cluster.text("cluster"),
        controller=cluster.text("controllerName"),
        controller_kind=cluster.text("controllerKind"),
    )
    evidence.container(box.text("id"), box.text("name"), box.text("image"), pod=pod)
    evidence.host(cluster.text("node"))
    task = fields.object("ecsInfo")
    evidence.amazon(task.text("taskArn", "serviceArn"), name=task.text("serviceName"), kind=task.text("type"))


def _unified_entities(fields: Fields, evidence: Evidence, verdict: graph.EvidenceVerdict) -> None:
    for asset in [*fields.objects("asset"), *fields.objects("assets"), *fields.objects("rawData.resources")][:50]:
        _asset(asset, evidence)
    for item in [fields, *fields.objects("rawData.evidences")[:20]]:
        _proof(item, evidence, verdict)
    _then(fields.object("detectionTime"), evidence)
    for item in fields.objects("observables")[:50]:
        value = item.text("value")
        evidence.ip(value)
        evidence.url(value)


def _then(seen: Fields, evidence: Evidence) -> None:
    """How things stood when it was detected: who attacked whom, and where the asset ran."""
    attacker, target = seen.object("attacker"), seen.object("targetUser")
    evidence.ip(attacker.text("ip"), ("attacker",))
    far = attacker.text("host")
    if not is_outside(attacker.text("ip")) or evidence.domain(far, roles=("attacker",)) is None:
        evidence.host(far, roles=("attacker",))
    evidence.user(target.text("name"), domain=target.text("domain"), upn=target.text("emailAddress"))
    for each in seen.objects("assets")[:50]:
        for path in ("asset.ipV4", "asset.ipV6", "asset.consoleIpAddress"):
            evidence.ip(each.text(path))
        run = each.object("kubernetes")
        pod = evidence.pod(run.text("podName"), run.text("namespaceName"), cluster=run.text("clusterName"))
        evidence.container(run.text("containerId"), run.text("containerName"), run.text("containerImageName"), pod=pod)


def _asset(asset: Fields, evidence: Evidence) -> None:
    """What is under attack: a device, or an account of Singularity Identity."""
    kind = (asset.text("category", "type") or "").lower()
    if kind in ("user", "identity", "account"):
        evidence.user(asset.text("name"), domain=asset.text("domain"), roles=("attacked",))
        return
    os = asset.text("osType")
    evidence.host(
        asset.text("name"),
        domain=asset.text("domain"),
        addresses=[*asset.texts("ipV4", "ip", "ipAddress"), asset.text("lastReportedIp")],
        external=asset.text("externalIp"),
        os=None if (os or "").lower() == "unknown" else os,
        version=asset.text("osVersion", "version"),
        device_id=asset.text("agentUuid", "agentId"),
        roles=("attacked",),
    )
    evidence.user(asset.text("lastLoggedInUser"), roles=("contextual",))


def _proof(item: Fields, evidence: Evidence, verdict: graph.EvidenceVerdict) -> None:
    """The process, file, account and ends of a connection, in the alert itself or in its OCSF part."""
    process = item.object("process") or item.object("actor.process")
    file, parent = process.object("file"), process.object("parent_process", "parent")
    user = evidence.user(
        item.text("actor.user.name", "user.name") or process.text("username", "user.name"),
        domain=item.text("actor.user.domain"),
        upn=item.text("actor.user.email_addr"),
        sid=item.text("actor.user.uid"),
    )
    hashes = [file.text("sha256"), file.text("sha1"), file.text("md5")]
    found = evidence.process(
        process.text("cmdLine", "cmd_line"),
        name=process.text("name") or file_name(file.text("path")) or file.text("name"),
        path=file.text("path"),
        pid=process.integer("pid"),
        hashes=[*hashes, *(one.text("value") for one in file.objects("hashes"))],
        user=user,
        parent_name=process.text("parentName") or parent.text("name"),
    )
    if found is not None:
        found.verdict = verdict
    target = item.object("file")
    evidence.file(target.text("name"), target.text("path"), [target.text(kind) for kind in ("sha256", "sha1", "md5")])
    sides: tuple[tuple[str, graph.EvidenceRole], ...] = (("src_endpoint", "source"), ("dst_endpoint", "destination"))
    for side, role in sides:
        there = item.object(side)
        evidence.host(there.text("hostname", "name"), domain=there.text("domain"))
        evidence.ip(there.text("ip"), (role,))


def _of_cef(event: cef.Cef) -> Fields:
    """By the names of the API: a threat, where a file is one, or an activity of the management console."""
    said = event.fields
    at = said.text("rt", "start") or ""
    match = _CEF_TIME.fullmatch(at)
    at = f"{match[1]} {match[2]}" if match is not None else at
    names: dict[str, Any] = {"createdAt": at, "agentComputerName": said.raw("shost", "dhost", "dvchost")}
    if "threat" in event.name.lower() and said.has("fileHash", "filePath", "fileName"):
        names |= {
            "fileDisplayName": said.text("fname") or file_name(said.text("filePath")) or event.name,
            "description": event.name,
            "fileContentHash": said.raw("fileContentHash", "fileHash"),
            "agentIp": said.raw("src"),
            "username": said.raw("sourceUserName", "suser"),
            "threatClassification": said.raw("threatClassification", "cat"),
            "confidenceLevel": "suspicious" if "suspicious" in event.name.lower() else "malicious",
        }
    else:
        names |= {
            "activityType": said.raw("activityType", "eventID") or event.signature,
            "primaryDescription": said.raw("eventDesc", "msg") or event.name,
            "data": {"username": said.raw("suser"), "ipAddress": said.raw("src"), "computerName": said.raw("shost")},
        }
    whole = {name: value for name, value in said.data.items() if name != "activityType"}
    return Fields({**whole, **{name: value for name, value in names.items() if value not in (None, "")}})
