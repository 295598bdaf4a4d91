"""Microsoft Graph: security incidents, with their alerts where they were expanded.

Source: Microsoft Graph, `GET /security/incidents`, also with `$expand=alerts`.
"""

from bartizan.sources.microsoft_defender_xdr import DefenderXdr


class GraphSecurityIncident(DefenderXdr):
    name = "graph_security_incident"
    product = "Microsoft Graph security incidents"
    marks = (
        "@odata.type=#microsoft.graph.security.incident+displayName+severity+status+createdDateTime "
        "@odata.type=#microsoft.graph.security.incident incidentWebUrl+displayName+status "
        "systemTags+customTags+displayName+severity"
    )
    sourcetypes = ("ms365:defender:incident", "microsoft:graph:incidents*", "graphsecurityincident:*")
