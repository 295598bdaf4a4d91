"""HarfangLab EDR: alerts and threats of its engines; telemetry of processes, network, files and Windows' own log.

Source: HarfangLab EDR, "Syslog and Kafka output: log formats".
"""

from bartizan.model.alert import Alert
from bartizan.sources import attack, windows_event
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
from bartizan.sources.shape import Paths, Shape
from bartizan.sources.windows_log import WindowsEvent

_KINDS = {"hurukaiav": "Malware", "hlai": "Malware", "yara": "Malware", "ransom": "Ransomware"}


class HarfangLab(Shape):
    name = "harfanglab"
    vendor = "HarfangLab"
    product = "EDR"
    marks = (
        "@event_create_date+agent agent.agentid+event_data agent.agentid+rule_name agent.agentid "
        "log_type=alert+agent log_type=threat+agents impacted_users+agents+rules "
        "log_name+source_name+event_id+computer_name+event_data "
        "rule_name+alert_type+agent top_rules+top_agents agents.security_event_count "
        "@event_create_date+alert_type+alert_subtype "
        "alert_type+alert_subtype+confidence_int rule_level+agent+alert_time alert_unique_id+rule_name "
        "process_unique_id+groups+tenant"
    )
    sourcetypes = ("harfanglab", "harfanglab:*")
    table = "HarfangLabEvents"
    columns = {
        "Timestamp": "time @event_create_date event_date timestamp utc_time @timestamp detection_date",
        "LogType": "log_type",
        "AgentId": "agent.agentid",
        "RuleName": "rule_name",
        "SourceIP": "saddr source_address",
        "SourcePort": "int sport source_port",
        "DestinationIP": "daddr target_address",
        "DestinationPort": "int dport target_port",
        "DomainName": "requested_name query_name",
        "UserName": "username target_username source_username user.name",
        "ProcessName": "image_name process_image_path process_imagename process_name",
        "ProcessCommandLine": "commandline process_commandline",
    }
    alert = Paths(
        id="alert_unique_id id",
        title="rule_name rules.rule_name top_rules.rule_name msg",
        description="msg rules.rule_msg",
        severity="level",
        vendor_category="alert_type rules.rule_type top_rules.rule_type",
        categories=_KINDS,
        detector="rule_id rules.rule_id top_rules.rule_name",
        first="detection_date first_seen alert_time @event_create_date",
        last="alert_time last_seen detection_date",
        created="alert_time creation_date ingestion_date",
        updated="last_update ingestion_date",
        status="status",
        statuses={"probablefalsepositive": "resolved", "falsepositive": "resolved"},
        verdict="status",
        tags="tags",
        fold="agent.agentid process.hashes.sha256",
    )

    def is_alert(self, fields: Fields) -> bool:
        threat = fields.has("top_rules") and fields.has("top_agents")  # of the API's list of threats
        return threat or fields.text("log_type") in ("alert", "threat") or fields.has("alert_type", "alert_unique_id")

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        for agent in [fields.object("agent"), *fields.objects("agents"), *fields.objects("top_agents")]:
            evidence.host(
                agent.text("hostname", "agent_hostname"),
                domain=agent.text("domainname"),
                addresses=[agent.text("ipaddress")],
                os=agent.text("osproducttype", "agent_ostype"),
                version=agent.text("osversion"),
                device_id=agent.text("agentid", "agent_id"),
            )
            evidence.ip(agent.text("ipaddress"))
        for one in [*fields.objects("impacted_users"), *fields.objects("top_impacted_users")]:
            evidence.user(one.text("user_name"), sid=one.text("user_sid"))
        process = fields.object("process")
        _process(process, evidence)
        if not process:
            _process(fields, evidence)
        for path in ("details_library", "av_detection_details", "detection", "details_file", "binary_infos", "file"):
            found = fields.object(path)
            hashes = [found.text(f"{where}.{kind}") for where in ("hashes", "file_hashes") for kind in _HASHES]
            place = found.text("image_loaded", "path", "file_path", "target_filename")
            evidence.file(None, place if place != "ANONYMIZED" else None, hashes)
        evidence.malware(fields.text("av_detection_details.signature_name"))
        _logged(fields, evidence)
        if fields.has("imagepath"):  # a driver that was loaded
            evidence.file(
                fields.text("imagename"), fields.text("imagepath"), [fields.text(f"hashes.{k}") for k in _HASHES]
            )
        evidence.file(None, fields.text("event_path"))
        for user in ("username", "source_username", "target_username", "user_name"):
            evidence.user(fields.text(user))
        network = fields.object("details_network") or fields
        source, target = network.text("saddr", "source_address"), network.text("daddr", "address", "target_address")
        ports = network.integer("sport"), network.integer("dport")
        evidence.flow(source, ports[0], target, ports[1])
        evidence.ip(source, ("source",))
        evidence.ip(target, ("destination",))
        for each in (fields.object("details_dns_resolution"), fields):
            evidence.domain(each.text("requested_name", "query_name"))
            for text in each.texts("ip_addresses", "ipaddresses"):
                evidence.ip(text)
        evidence.url(fields.text("url", "details_url_request.url"))
        registry = fields.object("details_registry") or fields
        evidence.registry(registry.text("target_object"), None, registry.text("details"))

    def finish(self, fields: Fields, alert: Alert) -> None:
        cells = fields.texts("mitre_cells")
        found = attack.tactics(*(cell.partition("__")[0] for cell in cells), *fields.texts("tags", "mitre_tactics"))
        names = [name for cell in cells for name in attack.techniques_in(cell.partition("__")[2].upper())]
        alert.techniques = attack.with_named(sorted({*alert.techniques, *names}), fields.texts("technique"))
        if found:
            alert.category, alert.categories = found[0], found


_HASHES = ("sha256", "sha1", "md5")


def _logged(fields: Fields, evidence: Evidence) -> None:
    """Of an entry of Windows' event log that the agent sends on."""
    data = fields.object("event_data", "eventlog.event_data")
    if data:
        entry = WindowsEvent(
            channel=fields.text("log_name", "eventlog.log_name"),
            provider=fields.text("source_name", "eventlog.source_name"),
            event_id=fields.integer("event_id", "eventlog.event_id"),
            computer=None,
            time=None,
            record_id=None,
            level=None,
            message=None,
            sid=None,
            process_id=None,
            data=data,
            raw=Fields(None),
        )
        windows_event.entities(entry, evidence)


def _process(one: Fields, evidence: Evidence) -> None:
    user = evidence.user(one.text("username", "user"), sid=one.text("usersid"))
    evidence.process(
        one.text("commandline", "process_commandline"),
        name=one.text("process_name"),
        path=one.text("image_name", "current_image_path", "process_image_path", "process_imagename"),
        pid=one.integer("pid"),
        hashes=[one.text(f"hashes.{kind}") for kind in _HASHES],
        user=user,
        parent_path=one.text("parent_image"),
        parent_pid=one.integer("ppid"),
    )
