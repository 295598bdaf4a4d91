"""The riskEventTypes that no detection of ours names, each with the reason or with who names it.

Source: Microsoft Entra ID Protection, "What are risk detections?", "Securing workload identities", "Risky agents".
"""

BY_OTHERS = {
    "adminConfirmedUserCompromised": "an administrator's confirmation of a user or a sign-in names it",
    "adminConfirmedServicePrincipalCompromised": "an administrator's confirmation of a service principal names it",
    "investigationsThreatIntelligence": "the engine names it where an address resembles a confirmed attack",
}
NEVER = {
    "attemptedPrtAccess": "needs a sensor on the device; an imported alert of one says it",
    "suspiciousSendingPatterns": "needs the flow of mail; an imported alert of a mail gateway says it",
    "maliciousApplication": "needs the analysis of applications by their platform; see suspiciousApplication",
    "generic": "what a tenant without a licence sees in place of another type; nothing is hidden here",
    "threatIntelligenceAccount": "agents: a register of agent identities is not served",
    "unfamiliarResourceAccess": "agents: a register of agent identities is not served",
    "signInSpike": "agents: a register of agent identities is not served",
    "failedAccessAttempt": "agents: a register of agent identities is not served",
    "riskyUserSignIn": "agents: a register of agent identities is not served",
    "adminConfirmedAgentCompromised": "agents: a register of agent identities is not served",
}
