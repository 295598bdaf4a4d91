"""Risk of agents that act by themselves, as a directory tells it; this server scores none.

Source: Microsoft Graph (beta), resources riskyAgent and agentRiskDetection.
"""

from bartizan.extend import Can, not_yet, resource, unserved

_TOLD = not_yet("this server scores no agents; decide where their risk is reckoned")

agents = resource(
    "identityProtection/riskyAgents",
    "microsoft.graph.riskyAgent",
    can=Can.READ | Can.CREATE,
    read="IdentityRiskyAgent.Read.All IdentityRiskyAgent.ReadWrite.All",
    create="Bartizan.Ingest.All",
    columns="riskLevel riskState riskDetail agentDisplayName identityType",
    order="riskLastModifiedDateTime desc",
    versions=("beta",),
    max_top=500,
    required="id",
    throttle="identityProtection",
    unserved={"PATCH": _TOLD, "DELETE": _TOLD},
)

resource(
    "identityProtection/agentRiskDetections",
    "microsoft.graph.agentRiskDetection",
    can=Can.READ | Can.CREATE,
    read="IdentityRiskEvent.Read.All",
    create="Bartizan.Ingest.All",
    columns="activityDateTime riskEventType riskLevel riskState riskDetail agentId identityId",
    order="detectedDateTime desc",
    versions=("beta",),
    max_top=500,
    required="riskEventType agentId",
    throttle="identityProtection",
    unserved={"PATCH": _TOLD, "DELETE": _TOLD},
)

for _action in ("confirmCompromised", "confirmSafe", "dismiss"):
    unserved(f"{agents.path}/{_action}", _TOLD, versions=("beta",))
