"""Sensors on domain controllers and the like, and what is wrong with them, as their product says it.

Source: Microsoft Graph, resources microsoft.graph.security.sensor and microsoft.graph.security.healthIssue.
"""

from bartizan.extend import Can, not_yet, resource

_NOBODY = not_yet("nothing performs it: the product that has the sensors does")

resource(
    "security/identities/healthIssues",
    "microsoft.graph.security.healthIssue",
    can=Can.READ | Can.CREATE | Can.PATCH,
    read="SecurityIdentitiesHealth.Read.All",
    write="SecurityIdentitiesHealth.ReadWrite.All",
    create="Bartizan.Ingest.All",
    columns="status healthIssueType severity createdDateTime lastModifiedDateTime displayName",
    order="createdDateTime desc",
    patch="status",
    required="displayName",
    unserved={"DELETE": _NOBODY},
)

resource(
    "security/identities/sensors",
    "microsoft.graph.security.sensor",
    can=Can.READ | Can.CREATE,
    read="SecurityIdentitiesSensors.Read.All SecurityIdentitiesHealth.Read.All",
    create="Bartizan.Ingest.All",
    columns="displayName domainName healthStatus sensorType createdDateTime",
    order="displayName",
    required="displayName",
    unserved={"PATCH": _NOBODY, "DELETE": _NOBODY},
)
