"""Falco: every output is an alert, as JSON (also what Falcosidekick forwards) or as a line of text.

Source: Falco documentation, "Outputs Formatting", "Supported Fields for Conditions and Outputs", "Style Guide of Falco
Rules" (tags).
"""

import re
from collections.abc import Iterator

from bartizan.extend import Event, GraphObject, Record, Source
from bartizan.model.alert import Alert
from bartizan.sources import attack, leftover, severity, syslog
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, content_id, lines_of, objects_of
from bartizan.sources.generic import guess_event, unread
from bartizan.sources.times import carried, first_time

_LINE = re.compile(
    r"(?:^|\s)(?:(?P<time>\d{4}-\d\d-\d\dT\S{8,30}|\d\d:\d\d:\d\d\.\d{3,9}):\s+)?"
    r"(?P<priority>Emergency|Alert|Critical|Error|Warning|Notice|Informational|Debug)\s+(?P<text>\S.{0,8000})",
    re.DOTALL,
)
_PAIR = re.compile(r"(?<![^\s(|])([A-Za-z][\w.%\[\]]{0,60})=")
_MAX_PAIRS = 100
# Short names in the text of Falco's own rules -> fields.
_SHORT = {
    "user": "user.name",
    "user_uid": "user.uid",
    "user_loginname": "user.loginname",
    "command": "proc.cmdline",
    "process": "proc.name",
    "proc_exepath": "proc.exepath",
    "parent": "proc.pname",
    "pcmdline": "proc.pcmdline",
    "file": "fd.name",
    "connection": "fd.name",
    "container_id": "container.id",
    "container_name": "container.name",
    "image": "container.image.repository",
    "container_image_repository": "container.image.repository",
    "container_image_tag": "container.image.tag",
    "k8s_ns": "k8s.ns.name",
    "k8s_ns_name": "k8s.ns.name",
    "k8s_pod_name": "k8s.pod.name",
    "evt_type": "evt.type",
}
# Fields of the plugin for Google Cloud -> what they name.
_OF_GOOGLE = (
    ("gcp.storage.bucket", "Bucket"),
    ("gcp.compute.instanceId", "Instance"),
    ("gcp.cloudfunctions.function", "Function"),
    ("gcp.cloudsql.databaseId", "Database"),
)
_CONNECTION = re.compile(r"(\S{2,45}):(\d{1,5})->(\S{2,45}):(\d{1,5})", re.ASCII)
_USED = frozenset("uuid time rule output priority hostname source tags output_fields".split())


def text_output(text: str) -> Fields | None:
    """A line of Falco's text output as the JSON that it would be (without the rule's name); None where it is none."""
    match = _LINE.search(text[:10_000])
    if match is None:
        return None
    said = match["text"].rstrip()
    marks = list(_PAIR.finditer(said))[:_MAX_PAIRS]
    values = {}
    for number, mark in enumerate(marks, 1):
        end = marks[number].start() if number < len(marks) else len(said)
        value = said[mark.end() : end].strip().rstrip(")").strip()
        values[_SHORT.get(mark[1], mark[1])] = value
    head = said[: marks[0].start()].rstrip(" (|") if marks else said
    time = match["time"] if match["time"] and "T" in match["time"] else None
    return Fields(
        {"rule": head[:200], "output": said, "priority": match["priority"], "time": time, "output_fields": values}
    )


def _spoken(text: str) -> Fields | None:
    """A line with what its header says."""
    line = text_output(text)
    header = syslog.read(text[:10_000])
    return line.also({"time": header.time, "hostname": header.host}) if line is not None else None


class Falco(Source):
    name = "falco"
    vendor = "Falco"
    product = "Falco"
    marks = "rule+output+output_fields rule+output+priority output_fields+priority+source"
    pattern = re.compile(
        r"\d\d:\d\d:\d\d\.\d{9}: (?:Emergency|Alert|Critical|Error|Warning|Notice|Informational|Debug) "
    )
    sourcetypes = ("falco", "falco:*", "sysdig:falco")

    def normalise(self, record: Record) -> Iterator[Alert | Event | GraphObject]:
        found = objects_of(record)
        if not any(fields.has("rule", "output") for fields in found):
            found = [line for text in lines_of(record) if (line := _spoken(text)) is not None] or found
        if not found:
            yield from unread(record, "FalcoEvents")
        for fields in found:
            if fields.has("rule", "output_fields") and fields.has("priority", "output"):
                yield leftover.proven(self._alert(record, fields), fields.data)
            else:
                yield guess_event(fields, "FalcoEvents")

    def _alert(self, record: Record, fields: Fields) -> Alert:
        seen = fields.object("output_fields")
        at = first_time(fields, "time") or first_time(seen, "evt.time", "evt.rawtime") or carried(record)
        evidence = Evidence(at)
        where = _entities(fields, seen, evidence)
        tags = fields.texts("tags")
        tactics = attack.tactics(*(tag for tag in tags if tag.lower().startswith("mitre_")))
        rule, output = fields.text("rule"), fields.text("output")
        return Alert(
            vendor=self.vendor,
            product=self.product,
            sub_provider=fields.text("source"),
            provider_alert_id=fields.text("uuid") or content_id(fields.data),
            title=rule or (output or "Falco alert")[:200],
            description=output,
            severity=severity.of_falco(fields.text("priority")),
            vendor_severity=fields.text("priority"),
            category=tactics[0] if tactics else "SuspiciousActivity",
            categories=tactics or ["SuspiciousActivity"],
            vendor_category=fields.text("source"),
            techniques=attack.techniques(record, fields.data),
            detector_id=rule,
            first_activity=at,
            last_activity=at,
            tags=[tag for tag in tags if not tag.lower().startswith("mitre_") and not attack.techniques_in(tag)],
            evidence=evidence.items,
            additional=fields.rest(_USED)
            | ({"output_fields": kept} if (kept := seen.rest()) else {})
            | evidence.unsaid,
            fingerprint=(rule or "", where, seen.text("proc.name", "process") or ""),
        )


def _entities(fields: Fields, seen: Fields, evidence: Evidence) -> str:
    """Collects; the answer is where it happened: pod, container or host."""
    host = seen.text("evt.hostname") or fields.text("hostname")
    evidence.host(host)
    pod = evidence.pod(
        seen.text("k8s.pod.name", "k8smeta.pod.name", "ka.target.pod.name"),
        seen.text("k8s.ns.name", "k8smeta.ns.name", "ka.target.namespace"),
        controller=seen.text("k8s.deployment.name", "k8smeta.deployment.name", "k8s.rs.name"),
        controller_kind="Deployment" if seen.has("k8s.deployment.name") else None,
    )
    box = seen.text("container.id")
    box = None if box == "host" else box
    image, tag = seen.text("container.image.repository", "container.image"), seen.text("container.image.tag")
    name = seen.text("container.name")
    evidence.container(
        box,
        None if name == "host" else name,
        f"{image}:{tag}" if image and tag and ":" not in image else image,
        privileged=seen.flag("container.privileged"),
        pod=pod,
    )
    user = evidence.user(
        seen.text("user.name", "user.loginname", "ka.user.name", "ct.user", "okta.actor.alternateid", "okta.actor.name")
        or seen.text("gcp.user", "github.user"),
        display=seen.text("okta.actor.name"),
    )
    path, parent = seen.text("proc.exepath"), seen.text("proc.pexepath")
    evidence.process(
        seen.text("proc.cmdline"),
        name=None if path else seen.text("proc.name"),  # of a shell of many names ("busybox") no part of the path
        path=path,
        pid=seen.integer("proc.pid"),
        hashes=[seen.text("proc.hash.sha256", "proc.exe_sha256")],
        user=user,
        parent_name=None if parent else seen.text("proc.pname"),
        parent_path=parent,
        parent_pid=seen.integer("proc.ppid"),
    )
    _network(seen, evidence)
    _cloud(seen, evidence)
    return seen.text("k8s.pod.name") or box or host or ""


def _network(seen: Fields, evidence: Evidence) -> None:
    """fd.name is a file's path, or "client:port->server:port" of a connection."""
    name = seen.text("fd.name")
    match = _CONNECTION.fullmatch(name or "")
    protocol = seen.text("fd.l4proto")
    if match is not None:
        evidence.flow(match[1], int(match[2]), match[3], int(match[4]), protocol)
    elif name is not None and name.startswith(("/", "C:\\")):
        evidence.file(None, name)
    client = seen.text("fd.cip"), seen.integer("fd.cport")
    server = seen.text("fd.sip"), seen.integer("fd.sport")
    if match is None and evidence.flow(*client, *server, protocol) is None:
        evidence.ip(client[0], ("source",))
        evidence.ip(server[0], ("destination",))
        near, far = (seen.text("fd.lip"), seen.integer("fd.lport")), (seen.text("fd.rip"), seen.integer("fd.rport"))
        if evidence.flow(*near, *far, protocol) is None:
            evidence.ip(far[0], ("destination",))
    evidence.domain(seen.text("fd.sip.name", "fd.rip.name", "fd.cip.name"))
    evidence.ip(seen.text("k8s.pod.ip", "container.ip"))
    for path in ("ct.srcip", "okta.client.ip", "gcp.callerIP", "github.remoteip"):
        evidence.ip(seen.text(path), ("source",))
    for text in seen.texts("ka.sourceips"):
        evidence.ip(text, ("source",))


def _cloud(seen: Fields, evidence: Evidence) -> None:
    account = seen.text("ct.user.accountid")
    evidence.amazon(seen.text("ct.user.arn"), account=account, kind="IAMIdentity")
    evidence.amazon(None, name=seen.text("ct.request.bucketname", "s3.bucket"), kind="S3Bucket", account=None)
    evidence.amazon(None, name=seen.text("lambda_name", "ct.request.functionname"), kind="Lambda")
    evidence.user(seen.text("okta.target.user.alternateid"), display=seen.text("okta.target.user.name"))
    repository = seen.text("github.repo")
    evidence.repository((repository or "").removeprefix("https://github.com/") or None, url=repository)
    project = seen.text("gcp.projectId")
    for path, kind in _OF_GOOGLE:
        evidence.google(None, name=seen.text(path), kind=kind, project=project)
    if seen.has("ka.req.pod.containers.image", "ka.req.pod.name"):
        asked = evidence.pod(seen.text("ka.resp.name", "ka.req.pod.name"), seen.text("ka.target.namespace"))
        for image in seen.texts("ka.req.pod.containers.image")[:20]:
            evidence.container(None, None, image, pod=asked)
    evidence.kubernetes(seen.text("ka.target.resource"), seen.text("ka.target.name"), seen.text("ka.target.namespace"))
    evidence.url(seen.text("ka.uri"))
