"""Thinkst Canary: incidents of its decoys and tokens, as the console's webhook, API and syslog write them; OpenCanary.

Source: Thinkst Canary documentation, "Webhook notifications", "Incidents" of the API, "Event log types"; OpenCanary,
`logger.py` (its types of log).
"""

from collections.abc import Iterable
from typing import Any

from bartizan.extend import Record
from bartizan.model.alert import Alert
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, as_text
from bartizan.sources.shape import Paths, Shape

_MAX_TARGETS = 50
# What OpenCanary calls its types of log by number.
_TYPES = {
    2000: "FTP login attempt",
    3000: "HTTP request",
    3001: "HTTP login attempt",
    4000: "SSH connection",
    4001: "SSH connection",
    4002: "SSH login attempt",
    5000: "Shared file opened",
    5001: "Port scan",
    5002: "Operating system scan",
    5003: "NULL scan",
    5004: "XMAS scan",
    5005: "FIN scan",
    6001: "Telnet login attempt",
    7001: "HTTP proxy login attempt",
    8001: "MySQL login attempt",
    9001: "MSSQL login attempt",
    9002: "MSSQL login attempt",
    10001: "TFTP request",
    11001: "NTP monlist request",
    12001: "VNC login attempt",
    13001: "SNMP request",
    14001: "RDP login attempt",
    15001: "SIP request",
    16001: "Git repository cloned",
    17001: "Redis command",
    18001: "TCP connection",
}
_FIRST_OF_DECOYS = 2_000  # types below it tell of OpenCanary itself
_HEALTH = ("disconnect", "reconnect", "settings changed", "device died", "console")  # of the decoys themselves


class ThinkstCanary(Shape):
    name = "thinkst_canary"
    vendor = "Thinkst"
    product = "Canary"
    marks = (
        "logtype+node_id+incident_id logtype+src_host+description IncidentHash+CanaryName "
        "CanaryName+IncidentKey flock_id+incident_id AlertType=canary*+Description AlertType+CanaryID "
        "description.src_host+hash_id description.logtype+summary "
        "incidents.description.logtype+incidents.hash_id AlertType=*incident+IncidentKey node_id+logtype "
        "logtype+dst_host+src_host manage_url+memo+channel"
    )
    sourcetypes = ("canary:*", "thinkst:*", "canarytools:*")
    table = "CanaryEvents"
    columns = {"LogType": "logtype", "FlockName": "flock_name", "CanaryName": "name CanaryName"}
    wrappers = ("alerts", "incidents")
    alert = Paths(
        id="IncidentHash incident_id+timestamp+description IncidentKey incident_id",
        title="description Description memo",
        description="Intro Reminder memo",
        vendor_category="AlertType logtype",
        detector="Description description logtype",
        first="timestamp timestamp_std Timestamp created created_std time",
        created="created created_std",
        url="IncidentLink manage_url",
        fold="SourceIP src_host node_id CanaryID",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        """The API holds what happened in `description`, OpenCanary in `logdata`."""
        for one in super().read(record):
            inner, said = one.object("description"), one.object("logdata")
            number = one.integer("logtype") or 0
            if inner:
                names = {"incident_id": one.raw("id"), "IncidentHash": one.raw("hash_id")}
                yield Fields({**one.data, "description": one.raw("summary"), **inner.data, **names})
            elif one.has("logdata") and number >= _FIRST_OF_DECOYS and not one.has("description"):
                title = _TYPES.get(number) or f"Decoy touched ({number})"
                yield one.also({**said.data, "description": title, "timestamp": one.raw("utc_time", "local_time")})
            else:
                yield one

    def is_alert(self, fields: Fields) -> bool:
        """Also what a token of canarytokens.org says."""
        said = fields.has("description") and fields.has("incident_id", "IncidentKey", "logtype", "AlertType")
        return said or (fields.has("manage_url") and fields.has("memo"))

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        more = _details(fields)
        decoy = fields.text("CanaryName", "name")
        own = fields.text("CanaryIP", "dst_host", "ip_address")
        evidence.host(decoy, addresses=[own], device_id=fields.text("CanaryID", "node_id"), roles=("attacked",))
        source = fields.text("SourceIP", "src_host", "Source IP", "additional_data.src_ip")
        port = fields.integer("src_port", "SourcePort")
        there = fields.integer("dst_port", "CanaryPort") or more.integer("Dst Port")
        evidence.flow(source, port, own, there, roles=("attacker", "attacked"))
        evidence.ip(source, ("attacker",))
        evidence.ip(own, ("attacked",))
        for each in (more.text("Targets") or "").split(",")[:_MAX_TARGETS]:
            evidence.ip(each.strip(), ("attacked",))
        evidence.host(fields.text("src_host_reverse", "ReverseDNS"), addresses=[source], roles=("attacker",))
        evidence.user(
            fields.text("USERNAME", "Username", "USER") or more.text("Username", "User", "Account"),
            domain=fields.text("DOMAINNAME"),
        )
        evidence.host(fields.text("WORKSTATION", "LOCALNAME", "REMOTENAME"), roles=("attacker",))
        evidence.url(fields.text("URL", "FULLURL"))
        evidence.domain(fields.text("HOST", "HOSTNAME", "SNAME"))
        opened = fields.text("FILENAME") or more.text("Filename", "File Name")
        evidence.file(opened, opened)
        evidence.amazon(None, name=more.text("Access Key ID", "AWS Access Key"), kind="AccessKey")

    def finish(self, fields: Fields, alert: Alert) -> None:
        """Nobody has business with a decoy: what touches one is an attack, whatever it looks like."""
        health = any(word in alert.title.lower() for word in _HEALTH)
        alert.severity = "low" if health else "high"
        alert.category = "SuspiciousActivity" if health else "Discovery"
        alert.categories = [alert.category]
        alert.additional.pop("PASSWORD", None)  # somebody's own, typed at the wrong door
        if fields.flag("acknowledged", "Acknowledged") is True:
            alert.status = "inProgress"


def _details(fields: Fields) -> Fields:
    """AdditionalDetails, a list of pairs, as an object."""
    pairs: Any = fields.raw("AdditionalDetails", "AdditionalInfo")
    named: dict[str, Any] = {}
    for pair in pairs if isinstance(pairs, list) else ():
        if isinstance(pair, list) and len(pair) == 2 and (name := as_text(pair[0])) is not None:
            named[name] = pair[1]
    return Fields(named)
