"""Why some documented examples are not answered as documented. A cause that goes away must leave this list."""

_ITEM = "microsoft.graph."
_LOCATED = "anonymousIp impossibleTravel leakedCredentials located malware suspiciousIp".split()
KNOWN: dict[str, list[str]] = {
    "the page's answer does not fit the query of its own request": [
        "not given back: /users?$filter=endswith(mail,'a@contoso.com')&$orderby=userPrincipalName&$count=true",
        "not given back: /users?$filter=startswith(displayName,'Eric')&$select=displayName,signInActivity",
        'not given back: /users?$search="displayName:wa" OR "displayName:ad"&$orderbydisplayName&$count=true',
        *(
            f"lacks {_ITEM}user/{name}"
            for name in "mail mailNickname otherMails proxyAddresses userPrincipalName".split()
        ),
        *(f"lacks {_ITEM}group/membershipRule{name}" for name in ("", "ProcessingState", "ProcessingStatus")),
        f"lacks {_ITEM}group/id",
    ],
    "nobody changes accounts here but over a connected directory": [
        "501 instead of None: Not served yet: PATCH of department of users: nothing performs it: connect a directory "
        "that does, this server only records what it is told."
    ],
    "how a user signs in is known from the reports on registration alone, which the examples do not fill": [
        f"404 instead of 200: The authentication methods of '{user}' are not known: no report on registration names "
        "them."
        for user in ("anirban@contoso.com", "sandeep@contoso.com", "071cc716-8147-4397-a5ba-b2105951cc0b")
    ],
    "nobody is signed in as a user of this directory": [
        "404 instead of 204: Resource 'me' does not exist or one of its queried reference-property objects are not "
        "present."
    ],
    "the page has the names of types where values belong": [
        "400 instead of 201: filterStartDateTime: not a date and time: 'String (timestamp)'"
    ],
    "records of an audit search are found in what is kept, and cannot be put there": [
        "not given back: /security/auditLog/queries/{auditLogQueryId}/records?"
    ],
    "mail is not kept here, so it cannot be watched": [
        "400 instead of 201: cannot subscribe to 'me/mailFolders('Inbox')"
    ],
    "the page forgets the header; its twin of v1.0 has it": [
        "400 instead of 200: not needs the header ConsistencyLevel: eventual (and $count=true) here."
    ],
    "we keep users whole, so that skills can be selected": ["200 instead of 501: "],
    "properties of beta, or of neither metadata, on pages of v1.0 or of former years": [
        *(f"lacks {_ITEM}group/{name}" for name in "createdByAppId creationOptions writebackConfiguration".split()),
        f"lacks {_ITEM}servicePrincipal/api",
        f"lacks {_ITEM}servicePrincipal/publisherName",
        f"lacks {_ITEM}riskyUserHistoryItem/isGuest",
        f"lacks {_ITEM}conditionalAccessPolicy/conditions/times",
        f"lacks {_ITEM}conditionalAccessPolicy/conditions/applications/includeProtectionLevels",
        "refused identityProtection/riskDetections: riskType: microsoft.graph.riskDetection has it only in beta",
        "refused subscriptions: notificationContentType: microsoft.graph.subscription has it only in beta",
        "refused security/incidents: tags: no such property of microsoft.graph.security.incident",
    ],
    "slips of the page: names, words and types that no metadata ever had": [
        f"lacks {_ITEM}security.incident/comments/createdBy",
        f"lacks {_ITEM}security.incident/comments/createdTime",
        f"{_ITEM}riskyUser/isGuest is boolean, documented as string",
        f"{_ITEM}riskyUser/isDeleted is boolean, documented as string",
        "refused auditLogs/directoryAudits: targetResource: no such property of microsoft.graph.directoryAudit",
        "refused auditLogs/signIns: authenticationContextClassReferences[0].details: no such property of "
        "microsoft.graph.authenticationContext",
        "refused auditLogs/signIns: incomingTokenType: expected a comma list of members of "
        "microsoft.graph.incomingTokenType",
        "refused auditLogs/signIns: conditionalAccessStatus: expected a member of "
        "microsoft.graph.conditionalAccessStatus",
        "refused identityProtection/servicePrincipalRiskDetections: lastUpdatedDateTime: not a date and time: "
        "'2021-10-26T16:28:17.8202975Z)'",
    ],
    "risk events of 2016: riskType became riskEventType, and the place, a string at first, an object": [
        *(
            f"refused {of}RiskEvents: riskType: no such property of {_ITEM}{kind}RiskEvent"
            for of, kind in [
                *((kind, kind) for kind in _LOCATED if kind != "located"),
                ("located", "suspiciousIp"),
                ("identity", "malware"),
                ("identity", "unfamiliarLocation"),
            ]
        ),
        *(
            f"refused {of}RiskEvents: location: expected an object of {_ITEM}signInLocation"
            for of in "identity impossibleTravel located malware suspiciousIp".split()
        ),
        f"refused impossibleTravelRiskEvents: previousLocation: expected an object of {_ITEM}signInLocation",
    ],
    "the server stamps it: a policy that was just made has not been modified": [
        f"{_ITEM}conditionalAccessPolicy/modifiedDateTime is null, documented as string"
    ],
}
