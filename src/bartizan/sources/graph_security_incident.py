"""Microsoft Graph: security incidents with their comments, and with their alerts where they were expanded.

Source: Microsoft Graph, `GET /security/incidents`, also with `$expand=alerts`.
"""

from collections.abc import Iterator

import msgspec

from bartizan.extend import Event, GraphObject, Record
from bartizan.model import security as graph
from bartizan.model.alert import Alert
from bartizan.sources.fields import Fields
from bartizan.sources.graph_types import lenient
from bartizan.sources.microsoft_defender_xdr import DefenderXdr

MAX_COMMENTS = 1_000  # of one incident


class GraphSecurityIncident(DefenderXdr):
    name = "graph_security_incident"
    product = "Microsoft Graph security incidents"
    marks = (
        "@odata.type=#microsoft.graph.security.incident+displayName+severity+status+createdDateTime "
        "@odata.type=#microsoft.graph.security.incident incidentWebUrl+displayName+status "
        "systemTags+customTags+displayName+severity"
    )
    sourcetypes = ("ms365:defender:incident", "microsoft:graph:incidents*", "graphsecurityincident:*")

    def one(self, record: Record, fields: Fields) -> Iterator[Alert | Event | GraphObject]:
        for item in super().one(record, fields):
            comments = _comments(fields) if isinstance(item, GraphObject) and item.collection == "incidents" else []
            if isinstance(item, GraphObject) and comments:
                item.body["comments"] = comments
            yield item


def _comments(fields: Fields) -> list[dict[str, str]]:
    found = (lenient(graph.AlertComment, item.data) for item in fields.objects("comments")[:MAX_COMMENTS])
    said = (msgspec.to_builtins(each) for each in found)
    return [{name: value for name, value in each.items() if value is not None} for each in said if each.get("comment")]
