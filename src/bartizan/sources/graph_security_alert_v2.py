"""Microsoft Graph: security alerts of both faces, as another Graph gives or exports them.

Source: Microsoft Graph, `GET /security/alerts_v2` and `GET /security/alerts`.
"""

from bartizan.sources.microsoft_defender_xdr import DefenderXdr


class GraphSecurityAlertV2(DefenderXdr):
    name = "graph_security_alert_v2"
    product = "Microsoft Graph security alerts"
    marks = (
        "@odata.type=#microsoft.graph.security.alert+serviceSource+severity+title+status "
        "@odata.type=#microsoft.graph.security.alert+evidence+severity+title+createdDateTime+status "
        "vendorInformation.provider+vendorInformation.vendor+severity+eventDateTime "
        "@odata.type=#microsoft.graph.security.alert "
        "serviceSource+detectionSource+providerAlertId+incidentId "
        "vendorInformation+azureTenantId+eventDateTime+title vendorInformation.provider+hostStates "
        "@odata.type=#microsoft.graph.alert @odata.type=#microsoft.graph.security.alert+evidence"
    )
    sourcetypes = ("graphsecurityalert:*", "microsoft:graph:alerts*", "ms365:graph:*")
