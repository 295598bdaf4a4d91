"""Microsoft Graph: security incidents, with their alerts where they were expanded.

Source: Microsoft Graph, `GET /security/incidents`, also with `$expand=alerts`.
"""

from bartizan.sources.microsoft_defender_xdr import DefenderXdr


class GraphSecurityIncident(DefenderXdr):
    name = "graph_security_incident"
    product = "Microsoft Graph security incidents"
