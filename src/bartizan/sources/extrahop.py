"""ExtraHop Reveal(x): detections of its network sensor; investigations, which gather them, are events.

Source: ExtraHop REST API, "Detections", "Investigations".
"""

from collections.abc import Iterator

from bartizan.extend import Event, GraphObject
from bartizan.model import security as graph
from bartizan.model.alert import Alert
from bartizan.sources.entities import addresses
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, as_text
from bartizan.sources.generic import guess_event
from bartizan.sources.shape import Paths, Shape
from bartizan.sources.tables import columns
from bartizan.sources.times import first_time


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
    columns = {
        "ApplianceId": "appliance_id",
        "Categories": "list categories investigation_types",
        "EventType": "type",
        "Name": "text name title display_name",
        "Status": "status",
        "Assessment": "assessment resolution",
        "Assignee": "assignee",
        "Detections": "dynamic detections",
        "StartTime": "time start_time",
        "EndTime": "time end_time",
    }
    wrappers = ("detections", "investigations")
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

    def event(self, fields: Fields) -> Iterator[Event | GraphObject]:
        """An investigation tells who works on it; anything else is guessed."""
        if not fields.has("investigation_types", "last_interaction_by"):
            yield from super().event(fields)
            return
        evidence = Evidence()
        self.entities(fields, evidence)
        for path in ("assignee", "created_by", "last_interaction_by"):
            evidence.observe("user", fields.text(path))
        known = columns(fields, self.columns) | {"EventType": "investigation", "Message": fields.text("description")}
        at = first_time(fields, "update_time", "creation_time")
        yield guess_event(fields, self.table, evidence, known | {"Timestamp": at})

    def finish(self, fields: Fields, alert: Alert) -> None:
        if alert.description is not None:
            alert.description = alert.description.replace("\\.", ".").replace("\\_", "_")
        if fields.text("status") is None:
            alert.status = "new"
