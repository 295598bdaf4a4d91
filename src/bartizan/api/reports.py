"""The two reports on registration for multifactor authentication: today's, and the one of 2019 that connectors read.

What nobody brings in and sign-ins or the other report tell, the stage of posture fills in; rows that are brought in
take the place of those.

Source: Microsoft Graph, resources userRegistrationDetails and credentialUserRegistrationDetails.
"""

from bartizan.extend import Can, resource

resource(
    "reports/authenticationMethods/userRegistrationDetails",
    "microsoft.graph.userRegistrationDetails",
    can=Can.READ | Can.CREATE,
    read="AuditLog.Read.All",
    create="Bartizan.Ingest.All",
    columns="isAdmin isMfaCapable isMfaRegistered userDisplayName",
    fold="userPrincipalName",
    order="userPrincipalName",
    required="id userPrincipalName",
)

resource(
    "reports/credentialUserRegistrationDetails",
    "microsoft.graph.credentialUserRegistrationDetails",
    can=Can.READ | Can.CREATE,
    read="Reports.Read.All AuditLog.Read.All",
    create="Bartizan.Ingest.All",
    columns="isMfaRegistered isRegistered isEnabled isCapable userDisplayName",
    fold="userPrincipalName",
    order="userPrincipalName",
    versions=("beta",),
    required="id userPrincipalName",
)
