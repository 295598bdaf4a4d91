"""Cuts the served part of the Graph schema out of a file of facts about its whole security surface.

    python schema/cut.py SURFACE.json

writes `schema/v1.0.json` and `schema/beta.json`, one line per type, enum and operation, sorted. From then on those files are kept
by hand; cutting again is only for a newer surface. `additions.json` holds what the surface lacks and is never cut.

The cut is a closure. It starts at ROOTS and takes in base types, the types of properties and all derived types (except below
UNBOUNDED, of which only named ones are served). A navigation property is kept if its target is in the closure; it pulls nothing in.
An operation is kept if it is bound to a type of the closure and is not one of SKIPPED; its parameters and result are pulled in.

A property is written as its type: `Collection(T)` for a collection, `!` behind what is not nullable. A leading `~` of the surface
(a number whose width is a guess) is dropped.

Source: OData CSDL 4.01, sections 4 to 12.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

# Derived types of these are taken only where ROOTS names them.
UNBOUNDED = {
    "microsoft.graph.entity",
    "microsoft.graph.directoryObject",
    "microsoft.graph.policyBase",
    "microsoft.graph.security.auditData",  # 300 record formats; an open type keeps them as they came
}

# Bound to a served type, yet about something else: printers, workbooks, Purview.
SKIPPED = re.compile(r"synchronization|print|informationProtection|getTeams|protection[sS]cope|processContent")

# Regular expressions, matched against the whole name behind `microsoft.graph.`.
ROOTS = [
    # roots of the containment tree
    "security|auditLogRoot|identityProtectionRoot|identityContainer|conditionalAccessRoot|security[.]rulesRoot",
    "security[.](threatIntelligence|auditCoreRoot|collaborationRoot|identityContainer|settingsContainer)",
    "authenticationStrengthRoot|caPoliciesDeletableRoot|authentication",
    # alerts, incidents, posture, indicators, actions
    "alert|secureScore|secureScoreControlProfile|secureScoreControlStateUpdate|tiIndicator|securityAction|resultInfo",
    "(file|host|ip|user|domain|cloudAppSecurity|cloudApp)(Security)?Profile|providerTenantSetting",
    "security[.](alert|alertEvidence|incident|incidentTask|mergeResponse|detectionRule|entityDefinition)",
    "security[.](huntingQueryResults|huntingSchemaResult|huntingSchemaTable|alertTemplate|createAlert.*)",
    # identities, audit, e-mail, threat intelligence
    "security[.](healthIssue|sensor|sensorCandidate|sensorMigration|identityAccounts|invokeActionResult|migrateSensorsResult)",
    "security[.](sensorCandidateActivationConfiguration|autoAuditingConfiguration|deploymentAccessKeyType|sensorDeploymentPackage)",
    "security[.](auditLogQuery|auditLogRecord|analyzedEmail|action|identityProvider|remediationAction|remediationSeverity)",
    "security[.](article|articleIndicator|indicator|artifact|host|hostComponent|hostCookie|hostPair|hostPort|hostReputation)",
    "security[.](hostSslCertificate|hostTracker|intelligenceProfile|intelligenceProfileIndicator|passiveDnsRecord)",
    "security[.](sslCertificate|subdomain|vulnerability|vulnerabilityComponent|whoisRecord|whoisHistoryRecord|correlationReason)",
    # identity protection
    "riskDetection|riskyUser|riskyUserHistoryItem|servicePrincipalRiskDetection|agentRiskDetection",
    "riskyServicePrincipal|riskyServicePrincipalHistoryItem|riskyAgent.*",
    # sign-ins and audits
    "signIn|directoryAudit|provisioningObjectSummary|customSecurityAttributeAudit|auditActivityType",
    # directory
    "directoryObject|user|group|device|servicePrincipal|appRoleAssignment|oAuth2PermissionGrant|licenseDetails",
    "authenticationMethod|signInPreferences|strongAuthenticationRequirements|longRunningOperation|passwordResetResponse",
    # conditional access
    "conditionalAccessPolicy|conditionalAccessTemplate|namedLocation|authenticationContextClassReference|whatIfAnalysisResult",
    "authenticationStrengthPolicy|authenticationStrengthUsage|authenticationMethodModeDetail|updateAllowedCombinationsResult",
    "authenticationCombinationConfiguration|signInContext|signInIdentity|signInConditions",
    # change notifications
    "subscription|changeNotification|changeNotificationCollection|lifecycleEventType",
]


def full(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"microsoft\.graph\.({pattern})")


def inner(name: str) -> str:
    return name.removeprefix("~").removeprefix("Collection(").removesuffix(")")


def write(fact: dict[str, Any]) -> str:
    """A property, parameter or navigation as one word."""
    name = fact["type"].removeprefix("~")
    return (f"Collection({name})" if fact.get("collection") else name) + ("" if fact.get("nullable", True) else "!")


class Cut:
    """The closure over one version's facts."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self.facts = facts
        self.below: dict[str, list[str]] = {}
        for name, kind in facts["types"].items():
            if "base" in kind:
                self.below.setdefault(kind["base"], []).append(name)
        self.taken: set[str] = set()
        self.operations: list[dict[str, Any]] = []

    def run(self) -> "Cut":
        roots = [full(pattern) for pattern in ROOTS]
        for name in [*self.facts["types"], *self.facts["enums"]]:
            if any(root.fullmatch(name) for root in roots):
                self.take(name)
        for operation in self.facts["operations"]:
            if operation.get("bound") in self.taken and not SKIPPED.search(json.dumps(operation)):
                self.operations.append(operation)
                for fact in operation.get("params", {}).values():
                    self.take(inner(fact["type"]))
                self.take(inner(operation.get("returns", "Edm.String")))
        return self

    def take(self, name: str) -> None:
        if name in self.taken or name.startswith("Edm."):
            return
        if name in self.facts["enums"]:
            self.taken.add(name)
            return
        kind = self.facts["types"].get(name)
        if kind is None:
            print(f"not in the surface: {name}", file=sys.stderr)
            return
        self.taken.add(name)
        for wanted in [kind.get("base"), *(fact["type"] for fact in kind["props"].values())]:
            if wanted:
                self.take(inner(wanted))
        if name not in UNBOUNDED:
            for wanted in self.below.get(name, []):
                self.take(wanted)

    def type_lines(self) -> dict[str, dict[str, Any]]:
        lines: dict[str, dict[str, Any]] = {}
        for name in sorted(self.taken & set(self.facts["types"])):
            kind = self.facts["types"][name]
            line = {key: kind[key] for key in ("kind", "base", "abstract", "open") if kind.get(key)}
            known = {n: f for n, f in kind["props"].items() if inner(f["type"]).startswith("Edm.") or inner(f["type"]) in self.taken}
            line["props"] = {n: write(known[n]) for n in sorted(known)}
            targets = {n: f for n, f in kind.get("nav", {}).items() if inner(f["type"]) in self.taken}
            if targets:
                line["nav"] = {n: write(targets[n]) + (" contained" if targets[n].get("contained") else "") for n in sorted(targets)}
            lines[name] = line
        return lines

    def enum_lines(self) -> dict[str, dict[str, Any]]:
        lines: dict[str, dict[str, Any]] = {}
        for name in sorted(self.taken & set(self.facts["enums"])):
            fact = self.facts["enums"][name]
            lines[name] = {**({"flags": True} if fact.get("flags") else {}), "members": fact["members"]}
        return lines

    def operation_lines(self) -> list[dict[str, Any]]:
        lines = []
        for fact in self.operations:
            line = {key: fact[key] for key in ("name", "kind", "bound", "boundCollection", "returns") if fact.get(key)}
            if fact.get("params"):
                line["params"] = {name: write(param) for name, param in fact["params"].items()}
            lines.append(line)
        return sorted(lines, key=lambda line: (line["name"], line["bound"], line.get("boundCollection", False)))


def text(cut: Cut) -> str:
    """JSON with one line per thing, so that a change reads well in a diff."""

    def block(lines: dict[str, dict[str, Any]]) -> str:
        return ",\n".join(f"  {json.dumps(name)}: {json.dumps(line, ensure_ascii=False)}" for name, line in lines.items())

    operations = ",\n".join(f"  {json.dumps(line)}" for line in cut.operation_lines())
    return (
        f'{{\n "types": {{\n{block(cut.type_lines())}\n }},\n "enums": {{\n{block(cut.enum_lines())}\n }},\n'
        f' "operations": [\n{operations}\n ]\n}}\n'
    )


def main() -> None:
    surface = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    for version in ("v1.0", "beta"):
        cut = Cut(surface[version]).run()
        (HERE / f"{version}.json").write_text(text(cut), encoding="utf-8")
        print(f"{version}: {len(cut.taken)} types and enums, {len(cut.operations)} operations")


if __name__ == "__main__":
    main()
