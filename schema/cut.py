"""Cuts the served part of the Graph schema out of a file of facts about its whole security surface.

    python schema/cut.py SURFACE.json

writes `schema/v1.0.json` and `schema/beta.json`, one line per type, enum and operation, sorted. Cut again when ROOTS or
the surface change. What the surface lacks or should say otherwise goes into `additions.json`, which is kept by hand.

The cut is a closure. It starts at ROOTS and takes in base types, the types of properties and all derived types (except
below UNBOUNDED, of which only named ones are served). A navigation property is kept if its target is in the closure; it
pulls nothing in. An operation is kept if it is bound to a type of the closure and is not one of SKIPPED; its parameters
and result are pulled in. Properties and operations with a type that the surface lacks are left out; stderr names it.

The surface's beta facts come from an SDK, which shows an enum of flags as a collection; on the wire it is one comma
list. They are made single, unless v1.0's metadata has collections of that enum.

A property is written as its type: `Collection(T)` for a collection, `!` behind what is not nullable. A leading `~` of
the surface (a number whose width is a guess) is dropped.

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
    "authenticationStrengthRoot|caPoliciesDeletableRoot|authentication|informationProtection|threatAssessmentRe(quest|sult)",
    # alerts, incidents, posture, indicators, actions
    "alert|secureScore|secureScoreControlProfile|secureScoreControlStateUpdate|tiIndicator|securityAction|resultInfo",
    "(file|host|ip|user|domain|cloudAppSecurity|cloudApp)(Security)?Profile|providerTenantSetting",
    "security[.](alert|alertEvidence|incident|incidentTask|mergeResponse|detectionRule|entityDefinition)",
    "security[.](huntingQueryResults|huntingSchemaResult|huntingSchemaTable|alertTemplate|createAlert.*)",
    # identities, audit, e-mail, threat intelligence
    "security[.](healthIssue|sensor|networkAdapter|sensorCandidate|sensorMigration|identityAccounts|invokeActionResult|migrateSensorsResult)",
    "security[.](sensorCandidateActivationConfiguration|autoAuditingConfiguration|deploymentAccessKeyType|sensorDeploymentPackage)",
    "security[.](auditLogQuery|auditLogRecord|analyzedEmail|action|identityProvider|remediationAction|remediationSeverity)",
    "security[.](article|articleIndicator|indicator|artifact|host|hostComponent|hostCookie|hostPair|hostPort|hostReputation)",
    "security[.](hostSslCertificate|hostTracker|intelligenceProfile|intelligenceProfileIndicator|passiveDnsRecord)",
    "security[.](sslCertificate|subdomain|vulnerability|vulnerabilityComponent|whoisRecord|whoisHistoryRecord|correlationReason)",
    # identity protection
    "riskDetection|riskyUser|riskyUserHistoryItem|servicePrincipalRiskDetection|agentRiskDetection",
    "riskyServicePrincipal|riskyServicePrincipalHistoryItem|riskyAgent.*",
    # sign-ins and audits
    "summarizedSignIn|signInEventsActivity|signInEventsAppActivity",
    "signIn|directoryAudit|provisioningObjectSummary|customSecurityAttributeAudit|auditActivityType",
    # directory
    "directoryObject|user|group|device|servicePrincipal|appRoleAssignment|oAuth2PermissionGrant|licenseDetails",
    "authenticationMethod|qrPin|qrCode|signInPreferences|strongAuthenticationRequirements|longRunningOperation|passwordResetResponse",
    # conditional access
    "conditionalAccessPolicy|conditionalAccessTemplate|namedLocation|authenticationContextClassReference|whatIfAnalysisResult",
    "authenticationStrengthPolicy|authenticationStrengthUsage|authenticationMethodModeDetail|updateAllowedCombinationsResult",
    "authenticationCombinationConfiguration|signInContext|signInIdentity|signInConditions",
    # change notifications
    "subscription|changeNotification|changeNotificationCollection|lifecycleEventType",
]


def single_flags(facts: dict[str, Any], trusted: dict[str, Any]) -> None:
    many = {f["type"] for kind in trusted["types"].values() for f in kind["props"].values() if f.get("collection")}
    flags = {name for name, enum in facts["enums"].items() if enum.get("flags")} - many
    for kind in facts["types"].values():
        for fact in kind["props"].values():
            if fact["type"] in flags:
                fact.pop("collection", None)


def full(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"microsoft\.graph\.({pattern})")


# A namespace that we do not publish is folded into the one above it, as the surface does with the type itself.
FOLDED = re.compile(r"microsoft\.graph\.(?!security\.)[a-zA-Z]+\.")


def inner(name: str) -> str:
    name = name.removeprefix("~").removeprefix("Collection(").removesuffix(")")
    return FOLDED.sub("microsoft.graph.", name)


def write(fact: dict[str, Any]) -> str:
    """A property, parameter or navigation as one word."""
    name = inner(fact["type"])
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
                facts = [*operation.get("params", {}).values(), {"type": operation.get("returns", "Edm.String")}]
                for fact in facts:
                    self.take(inner(fact["type"]))
                if all(self.has(fact) for fact in facts):
                    self.operations.append(operation)
        return self

    def take(self, name: str) -> None:
        if name in self.taken or name.startswith("Edm."):
            return
        if name in self.facts["enums"]:
            self.taken.add(name)
            return
        kind = self.facts["types"].get(name)
        if kind is None:
            sys.stderr.write(f"not in the surface: {name}\n")
            return
        self.taken.add(name)
        for wanted in [kind.get("base"), *(fact["type"] for fact in kind["props"].values())]:
            if wanted:
                self.take(inner(wanted))
        if name not in UNBOUNDED:
            for wanted in self.below.get(name, []):
                self.take(wanted)

    def has(self, fact: dict[str, Any]) -> bool:
        name = inner(fact["type"])
        return name.startswith("Edm.") or name in self.taken

    def type_lines(self) -> dict[str, dict[str, Any]]:
        lines: dict[str, dict[str, Any]] = {}
        for name in sorted(self.taken & set(self.facts["types"])):
            kind = self.facts["types"][name]
            line = {key: kind[key] for key in ("kind", "base", "abstract", "open") if kind.get(key)}
            line["props"] = {n: write(fact) for n, fact in sorted(kind["props"].items()) if self.has(fact)}
            targets = [(n, fact) for n, fact in sorted(kind.get("nav", {}).items()) if self.has(fact)]
            if targets:
                line["nav"] = {n: write(fact) + (" contained" if fact.get("contained") else "") for n, fact in targets}
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
        return ",\n".join(f"  {json.dumps(name)}: {json.dumps(lines[name], ensure_ascii=False)}" for name in lines)

    operations = ",\n".join(f"  {json.dumps(line)}" for line in cut.operation_lines())
    return (
        f'{{\n "types": {{\n{block(cut.type_lines())}\n }},\n "enums": {{\n{block(cut.enum_lines())}\n }},\n'
        f' "operations": [\n{operations}\n ]\n}}\n'
    )


def main() -> None:
    surface = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    for version in ("v1.0", "beta"):
        if version == "beta":
            single_flags(surface["beta"], surface["v1.0"])
        cut = Cut(surface[version]).run()
        (HERE / f"{version}.json").write_text(text(cut), encoding="utf-8")
        sys.stderr.write(f"{version}: {len(cut.taken)} types and enums, {len(cut.operations)} operations\n")


if __name__ == "__main__":
    main()
