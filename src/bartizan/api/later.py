"""Known operations that have no area yet, each with its reason; the coverage page shows them."""

from collections.abc import Iterable

from bartizan.extend import BOTH, Unserved, never, not_yet, unserved
from bartizan.model.edm import Version

_DIRECTORY = not_yet("comes with directory connectors; this server records what it is told")
_BETA: tuple[Version, ...] = ("beta",)


def _all(paths: Iterable[str], why: Unserved, versions: tuple[Version, ...] = BOTH) -> None:
    for path in paths:
        unserved(path, why, versions=versions)


_all(("auditLogs", "identityProtection", "security", "identity"), never("a container; ask for what it contains"))
_all(
    (
        "auditLogs/auditActivityTypes/**",
        "auditLogs/customSecurityAttributeAudits/**",
        "auditLogs/directoryProvisioning/**",
    ),
    not_yet("only this server's own audit and ingested sign-ins are kept"),
    _BETA,
)
_all(
    ("auditLogs/signInEventsAppSummary/{}/application/logo",),
    never("pictures are no part of a security graph"),
    _BETA,
)
_all(("identity/conditionalAccess/authenticationStrengths/**",), not_yet("only policies and locations are kept"), _BETA)
_all(
    [
        f"identity/conditionalAccess/{strengths}/policies/findByMethodMode"
        for strengths in ("authenticationStrength", "authenticationStrengths")
    ],
    not_yet("strengths are kept as they are told; ask for the set with $filter"),
    _BETA,
)
_all(
    [f"servicePrincipals/{{}}/{name}" for name in ("addKey", "addPassword", "removeKey", "removePassword")],
    never("credentials of applications are made by an operator at the command line"),
)
_all(("security/auditLog",), never("a container; ask for auditLog/queries"))
_all(("security/collaboration/**",), not_yet("analysed mails come with a mail connector"))
_all(
    (
        "security/identities/**",
        "security/identities/sensors/getDeploymentAccessKey",
        "security/identities/sensors/getDeploymentPackageUri",
        "security/identities/sensors/regenerateDeploymentAccessKey",
    ),
    not_yet("of sensors their list and the issues of their health are kept, as they are told"),
)
_all(("security/threatIntelligence",), never("a container; ask for what it contains"))
_all(("security/threatSubmission/**",), never("Microsoft's analysts are asked at its own service"), _BETA)
_all(
    ("security/informationProtection/**", "security/dataSecurityAndGovernance/**"),
    never("labels, policies and threat assessment are services of Microsoft's cloud"),
)
_all(
    ("security/triggers/**", "security/triggerTypes/**", "security/partner/**", "security/zones/**"),
    never("not a part of detection and response"),
)
_all(("security/rules",), never("a container; ask for rules/detectionRules"))
_all(("security/incidentTasks/**", "security/securityCopilot/**"), not_yet("comes with playbooks"))
_all(
    [
        f"security/{name}/**"
        for name in "cases caseManagement dataDiscovery attackSimulation labels subjectRightsRequests".split()
    ],
    never("not a part of detection and response"),
)
_all(
    ("informationProtection/**", "users/{}/informationProtection/**", "users/{}/security/**"),
    never("labels, policies and threat assessment are services of Microsoft's cloud"),
)
_all(("users/{}/activities/**",), never("the activity feed of Windows is no part of a security graph"))
_all(("users/{}/devices/**",), never("an early form of registeredDevices and ownedDevices; ask for those"), _BETA)
_all(
    (
        "users/{}/createdObjects/**",
        "users/{}/serviceProvisioningErrors/**",
        "users/{}/licenseDetails/getTeamsLicensingDetails",
        "servicePrincipals/{}/createdObjects/**",
        "servicePrincipals/{}/synchronization/**",
    ),
    _DIRECTORY,
)

_all(
    (
        "contacts/**",
        "devices/{}/extensions/**",
        "directory/**",
        "contracts/**",
        "domains/{}/federationConfiguration/**",
        "identity/identityProviders/**",
        "organization/{}/branding/**",
        "tenantRelationships/**",
    ),
    _DIRECTORY,
)
_all(("policies/**",), not_yet("of policies those that security clients read are kept, as they are told"))
_all(("deviceManagement/**",), not_yet("of device inventory the managed devices are kept, as they are told"))
_all(("reports/**",), not_yet("of reports those on registration for multifactor authentication are kept"))
_all(
    ("networkAccess/**", "identity/b2xUserFlows/**", "identity/authenticationEventsFlows/**"),
    not_yet("of how a directory is set up its policies are kept, as they are told"),
)
_all(
    ("privilegedAccess/**", "identityProtection/policy/**"),
    never("an early form that Graph has retired; roleManagement and identityGovernance/privilegedAccess have today's"),
    _BETA,
)
_all(
    [
        f"{name}/**"
        for name in """
        accessReviews admin agentRegistry agreements agreementAcceptances appCatalogs applicationTemplates chats
        communications compliance connections deviceAppManagement drives education employeeExperience external
        financials identityGovernance invitations onPremisesPublishingProfiles places planner print privacy
        schemaExtensions search shares sites solutions storage teams teamwork
        """.split()
    ],
    never("not a part of detection and response"),
)
_MAIL = """
calendar calendars calendarGroups calendarView chats contacts contactFolders drive drives events
inferenceClassification insights joinedTeams mailFolders messages onenote onlineMeetings outlook people planner presence
profile settings teamwork todo
""".split()
for one in ("users/{}", "me"):
    _all(
        [f"{one}/{name}/**" for name in _MAIL],
        never("mail, calendars, chats and files are no part of a security graph"),
    )
    _all(
        [
            f"{one}/{name}/**"
            for name in ("agreementAcceptances", "approvals", "cloudPCs", "extensions", "scopedRoleMemberOf")
        ],
        _DIRECTORY,
    )
_all(
    [
        f"groups/{{}}/{name}/**"
        for name in "calendar conversations drive drives events onenote planner sites team threads".split()
    ],
    never("mail, calendars, chats and files are no part of a security graph"),
)
_all(
    [
        *(f"groups/{{}}/{name}/**" for name in ("permissionGrants", "settings", "groupLifecyclePolicies")),
        *(
            f"servicePrincipals/{{}}/{name}/**"
            for name in """
            claimsMappingPolicies delegatedPermissionClassifications federatedIdentityCredentials
            homeRealmDiscoveryPolicies tokenIssuancePolicies tokenLifetimePolicies
            """.split()
        ),
        "groupLifecyclePolicies/**",
        "groupSettingTemplates/**",
        "permissionGrants/**",
        "identityProviders/**",
        "identity/apiConnectors/**",
        "identity/userFlowAttributes/**",
        "identity/customAuthenticationExtensions/**",
        "organization/{}/certificateBasedAuthConfiguration/**",
    ],
    _DIRECTORY,
)
_all(
    [
        *(f"users/{{}}/{name}/**" for name in "sponsors sponsorOf transitiveReports onPremisesSyncBehavior".split()),
        *(f"groups/{{}}/{name}/**" for name in "extensions membersWithLicenseErrors onPremisesSyncBehavior".split()),
        *(f"devices/{{}}/{name}/**" for name in "commands deviceTemplate usageRights".split()),
        *(
            f"servicePrincipals/{{}}/{name}/**"
            for name in """
            appManagementPolicies endpoints licenseDetails lifecycle remoteDesktopSecurityConfiguration
            """.split()
        ),
        *(
            f"domains/{{}}/{name}/**"
            for name in "domainNameReferences rootDomain serviceConfigurationRecords verificationDnsRecords".split()
        ),
        "administrativeUnits/**",
        "directoryRoles/{}/scopedMembers/**",
        "identity/authenticationEventListeners/**",
        "identity/b2cUserFlows/**",
        "identity/continuousAccessEvaluationPolicy",
        "identity/riskPrevention/**",
        "identity/verifiedId/**",
        "organization/{}/extensions/**",
        "organization/{}/settings/**",
    ],
    _DIRECTORY,
)
_all(("auditLogs/signUps/**",), not_yet("only this server's own audit and ingested sign-ins are kept"), _BETA)
_all(
    [
        *(f"users/{{}}/{name}" for name in "findMeetingTimes getMailTips sendMail".split()),
        *(f"groups/{{}}/{name}/**" for name in "acceptedSenders calendarView photo photos rejectedSenders".split()),
    ],
    never("mail, calendars, pictures and files are no part of a security graph"),
)
