"""Upwind: detections of its cloud runtime sensor, API and posture findings.

Source: Upwind API, "Threat detections"; the schema that Panther publishes for it.
"""

from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
from bartizan.sources.shape import Paths, Shape

_MAX_STEPS = 100  # of one trigger
_IN_CLUSTER = frozenset("pod deployment daemonset statefulset replicaset job cronjob namespace service cluster".split())


class Upwind(Shape):
    name = "upwind"
    vendor = "Upwind"
    product = "Cloud Security"
    marks = (
        "mitre_attacks+triggers+resource first_seen_time+last_seen_time+resource+triggers "
        "first_seen_time+resource.cloud_account_id first_seen_time+last_seen_time+resource "
        "p_log_type=upwind.*"
    )
    sourcetypes = ("upwind", "upwind:*")
    table = "UpwindEvents"
    columns = {"CloudAccountId": "resource.cloud_account_id", "Region": "resource.region"}
    alert = Paths(
        id="id",
        title="title name",
        description="description",
        severity="severity",
        vendor_category="category type",
        tactics="mitre_attacks.tactic_name mitre_attacks.tactic_id",
        techniques="mitre_attacks.technique_name",
        detector="triggers.policy_id policy_id type",
        first="first_seen_time",
        last="last_seen_time",
        status="status",
        fold="resource.name resource.cloud_account_id",
    )

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        where = fields.object("resource")
        kind, name, account = where.text("type"), where.text("name"), where.text("cloud_account_id")
        cloud = (where.text("cloud_provider") or "").lower()
        if (kind or "").lower() in _IN_CLUSTER:
            evidence.kubernetes(kind, name, where.text("namespace"), where.text("cluster_name", "cluster_id"))
        elif cloud in ("gcp", "google"):
            evidence.google(None, name=name, kind=kind, project=account)
        elif cloud == "azure":
            evidence.azure(where.text("external_id"), name=name, kind=kind)
        else:
            evidence.amazon(where.text("external_id", "arn"), name=name, kind=kind, account=account)
        for trigger in fields.objects("triggers"):
            for step in trigger.objects("events")[:_MAX_STEPS]:
                _step(step, evidence)


def _step(step: Fields, evidence: Evidence) -> None:
    """What one event of a detection names: who began it, what ran, where it went."""
    data, who = step.object("data"), step.object("initiator")
    evidence.amazon(who.text("arn"), name=who.text("accessKeyId"), account=who.text("accountId"), kind="IAMIdentity")
    user = evidence.user(data.text("user_name", "username") or who.text("userName", "name"))
    evidence.process(
        data.text("command", "command_line", "process.command", "process.command_line"),
        name=data.text("process_name"),
        path=data.text("process_path", "process.path"),
        pid=data.integer("pid"),
        user=user,
        parent_name=data.text("parent_process_name"),
    )
    evidence.ip(data.text("source_ip", "src_ip"), ("source",))
    evidence.ip(data.text("destination_ip", "dst_ip", "ip", "ip_address"), ("destination",))
    evidence.domain(data.text("domain", "dns_name", "host_name"))
    evidence.url(data.text("url"))
    evidence.file(None, data.text("file_path"), [data.text("sha256", "file_hash")])
