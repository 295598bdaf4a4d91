"""Thinkst Canary: incidents of its decoys and tokens, as the console's webhook and syslog write them.

Source: Thinkst Canary documentation, "Webhook notifications", "Event log types".
"""

from typing import Any

from bartizan.model.alert import Alert
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, as_text
from bartizan.sources.shape import Paths, Shape

_MAX_TARGETS = 50
_HEALTH = ("disconnect", "reconnect", "settings changed", "device died", "console")  # of the decoys themselves


class ThinkstCanary(Shape):
    name = "thinkst_canary"
    vendor = "Thinkst"
    product = "Canary"
    marks = (
        "logtype+node_id+incident_id logtype+src_host+description IncidentHash+CanaryName "
        "CanaryName+IncidentKey flock_id+incident_id AlertType=canary*+Description AlertType+CanaryID "
        "AlertType=*incident+IncidentKey node_id+logtype logtype+dst_host+src_host manage_url+memo+channel"
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
        evidence.file(fields.text("FILENAME"), fields.text("FILENAME"))
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
