"""Microsoft Graph: security alerts of both faces, as another Graph gives or exports them.

Source: Microsoft Graph, `GET /security/alerts_v2` and `GET /security/alerts`.
"""

from bartizan.sources.microsoft_defender_xdr import DefenderXdr


class GraphSecurityAlertV2(DefenderXdr):
    name = "graph_security_alert_v2"
    product = "Microsoft Graph security alerts"
