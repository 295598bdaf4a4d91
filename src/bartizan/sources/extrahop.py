"""ExtraHop Reveal(x): detections of its network sensor.

Source: ExtraHop REST API, "Detections".
"""

from bartizan.model import security as graph
from bartizan.model.alert import Alert
from bartizan.sources.entities import addresses
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, as_text
from bartizan.sources.shape import Paths, Shape


class ExtraHop(Shape):
    name = "extrahop"
    vendor = "ExtraHop"
    product = "Reveal(x)"
    marks = (
        "participants+risk_score+type appliance_id+risk_score+participants mitre_techniques+risk_score+title "
        "investigation_types+last_interaction_by"
    )
    sourcetypes = ("extrahop", "extrahop:*")
    table = "ExtraHopEvents"
    columns = {"ApplianceId": "appliance_id", "Categories": "list categories"}
    wrappers = ("detections",)
    alert = Paths(
        id="id",
        title="title display_name type",
        description="description",
        score="risk_score",
        vendor_category="categories type",
        tactics="mitre_tactics.name mitre_tactics.id mitre_tactics",
        techniques="mitre_techniques.name",
        detector="type",
        first="start_time",
        last="update_time end_time mod_time",
        created="start_time",
        updated="mod_time update_time",
        status="status",
        verdict="resolution",
        verdicts={"actiontaken": "truePositive", "noactiontaken": "informationalExpectedActivity"},
        assigned="assignee",
        url="url",
        tags="categories",
        fold="participants.object_value",
    )

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        for who in fields.objects("participants"):
            role: graph.EvidenceRole = "attacker" if who.text("role") == "offender" else "attacked"
            # Of a device the value is its MAC address.
            address = next(iter(addresses([who.text("object_value"), who.text("ipaddr")])), None)
            name = who.text("hostname")
            if who.flag("external"):
                evidence.domain(name)
            else:
                evidence.host(name, addresses=[address], roles=(role,))
            evidence.ip(address, (role,))
            evidence.user(who.text("username"), roles=(role,))
            if who.text("object_type") == "application":
                evidence.app(who.text("object_value"))

        for key, value in fields.object("properties").data.items():
            if key.endswith(("domain", "host", "hostname", "sni")):
                evidence.domain(as_text(value))

    def finish(self, fields: Fields, alert: Alert) -> None:
        if alert.description is not None:
            alert.description = alert.description.replace("\\.", ".").replace("\\_", "_")
        if fields.text("status") is None:
            alert.status = "new"
