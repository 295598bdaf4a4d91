"""What is kept and shown of a risk: the engine's words on a sign-in, and the documents that follow from them.

Source: Microsoft Graph, resources signIn, riskDetection, servicePrincipalRiskDetection; additionalInfo as Microsoft
Entra writes it.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct

from bartizan.extend.detections import Finding
from bartizan.identity.alerts import TYPES
from bartizan.identity.risk import ACTIONS, LEVELS, RANK, Level, decided
from bartizan.model.times import instant

MARK = "@bartizan.risk"  # of a sign-in's inner form: what the engine said of it, at once and in the end
OURS = "Bartizan"  # source of our detections
MAX_VALUE = 1_000  # characters of one value of additionalInfo
SIGN_INS = "signIns"


class Side(Struct, frozen=True):
    """Names of the sets for users, and for workloads."""

    detections: str
    risky: str
    history: str
    of: str  # directory set
    id: str  # property of a detection that holds the principal's id
    name: str
    activity: str
    detection_id: str  # first part of the ids of ours


USERS = Side("riskDetections", "riskyUsers", "riskyUserHistory", "users", "userId", "userDisplayName", "user",
             "riskDetection")  # fmt: skip
WORKLOADS = Side(
    "servicePrincipalRiskDetections", "riskyServicePrincipals", "riskyServicePrincipalHistory", "servicePrincipals",
    "servicePrincipalId", "servicePrincipalDisplayName", "servicePrincipal", "servicePrincipalRiskDetection",
)  # fmt: skip


class Said(Struct):
    """Of one sign-in by one state of the engine."""

    score: float
    level: Level
    findings: list[Finding] = []
    parts: dict[str, float] = {}

    def telling(self) -> bool:
        return self.level != "none" or any(each.proven for each in self.findings)


class Mark(Struct):
    """`raised` is the time of the last event that raised it before it was settled. `sent` is what the sign-in said
    where it was answered at once, until the engine has taken it."""

    live: Said | None = None
    settled: Said | None = None
    raised: float = 0.0
    sent: dict[str, Any] = {}

    def effective(self, settled_to: float) -> Said | None:
        """What holds: the settled word, once all that raised it is settled too; until then the higher."""
        if self.settled is None or self.live is None:
            return self.settled or self.live
        if self.raised <= settled_to:
            return self.settled
        return max(self.settled, self.live, key=lambda said: said.score)


class Told(Struct):
    """What a step of the engine says of one sign-in."""

    settled: bool
    raised: bool
    at: float  # of the event that said it
    said: Said


def mark_of(body: Mapping[str, Any]) -> Mark:
    given = body.get(MARK)
    return Mark() if given is None else msgspec.convert(given, Mark)


def add(mark: Mark, told: Told) -> None:
    before = mark.settled if told.settled else mark.live
    said = told.said
    if told.raised and before is not None:
        said = Said(said.score, said.level, [*before.findings, *said.findings], before.parts)
    if told.settled:
        mark.settled = said
    else:
        mark.live = said
        if told.raised:
            mark.raised = max(mark.raised, told.at)


def answered(body: Mapping[str, Any], said: Said | None) -> dict[str, Any]:
    """A new sign-in with its risk, as it is answered and stored before the engine has taken it; `hidden` where that
    could not be said in time."""
    if said is None:
        unsaid = all(body.get(name) in (None, "none") for name in ("riskState", "riskDetail", "riskLevelDuringSignIn"))
        return {**body, "riskLevelDuringSignIn": "hidden", "riskDetail": "hidden"} if unsaid else dict(body)
    changes = during(body, said)
    if not decided(body) and not untold(body, said):
        changes |= aggregated(body, said)
    changes = {name: value for name, value in changes.items() if body.get(name) != value}
    if not said.telling():
        return {**body, **changes}
    mark = Mark(live=said, sent={name: body.get(name) for name in changes})
    return {**body, **changes, MARK: msgspec.to_builtins(mark)}


def as_sent(body: Mapping[str, Any]) -> dict[str, Any]:
    """Before it was answered; what somebody has decided since stays."""
    sent = mark_of(body).sent
    if not sent or decided(body):
        return dict(body)
    return {name: value for name, value in {**body, **sent}.items() if name != MARK}


def side_of(sign_in: Mapping[str, Any]) -> tuple[Side, str]:
    """Whose sign-in it is, and the principal's id."""
    if not sign_in.get("userId") and not sign_in.get("userPrincipalName") and sign_in.get("servicePrincipalId"):
        return WORKLOADS, str(sign_in["servicePrincipalId"])
    return USERS, str(sign_in.get("userId") or str(sign_in.get("userPrincipalName") or "").casefold())


def during(before: Mapping[str, Any], said: Said) -> dict[str, Any]:
    """What is answered at once; a provider's own level stays."""
    if before.get("riskLevelDuringSignIn") not in (None, "none", "hidden"):
        return {}
    return {"riskLevelDuringSignIn": said.level}


def untold(before: Mapping[str, Any], said: Said) -> bool:
    """Nothing said before, nothing now."""
    return said.level == "none" and before.get("riskState") in (None, "none") and before.get("riskDetail") != "hidden"


def aggregated(before: Mapping[str, Any], said: Said) -> dict[str, Any]:
    types = list(types_of(said.findings)) if said.telling() else []
    given = [each for each in before.get("riskEventTypes_v2") or () if each not in _ours(before)]
    every = list(dict.fromkeys([*given, *types]))
    level = said.level
    if given and RANK.get(str(before.get("riskLevelAggregated")), 0) > RANK[level]:
        level = LEVELS[RANK[str(before["riskLevelAggregated"])]]  # a provider said more
    if level != "none":
        risk = {"riskLevelAggregated": level, "riskState": "atRisk", "riskDetail": "none"}
    elif before.get("riskState") == "atRisk":
        action = ACTIONS["withdrawn"]
        risk = {"riskLevelAggregated": "none", "riskState": str(action.sign_in), "riskDetail": action.detail}
    else:
        risk = {} if before.get("riskDetail") != "hidden" else {"riskDetail": "none"}
    old = [each for each in every if each in OLD]
    return {**risk, "riskEventTypes_v2": every, "riskEventTypes": old}


# riskEventTypes has the members that the enumeration of old knows.
OLD = frozenset(
    """
    unlikelyTravel anonymizedIPAddress maliciousIPAddress unfamiliarFeatures malwareInfectedIPAddress
    suspiciousIPAddress leakedCredentials investigationsThreatIntelligence generic adminConfirmedUserCompromised
    mcasImpossibleTravel
    mcasSuspiciousInboxManipulationRules investigationsThreatIntelligenceSigninLinked
    maliciousIPAddressValidCredentialsBlockedIP
    """.split()
)


def _ours(before: Mapping[str, Any]) -> set[str]:
    mark = mark_of(before)
    return {each.type for said in (mark.live, mark.settled) if said is not None for each in said.findings}


def types_of(findings: Iterable[Finding]) -> dict[str, Finding]:
    """Findings of one type are one: their log-odds add up, the later's reasons are added."""
    found: dict[str, Finding] = {}
    for each in findings:
        known = found.get(each.type)
        if known is None:
            found[each.type] = each
        else:
            found[each.type] = Finding(
                each.type,
                known.log_odds + each.log_odds,
                {**known.reasons, **each.reasons},
                timing=known.timing,
                proven=known.proven or each.proven,
                parts={**known.parts, **each.parts},
            )
    return found


def at_most(level: Level, most: Level) -> Level:
    return LEVELS[min(max(1, RANK[level]), RANK[most])] if most != "none" else "low"


def facts_of(side: Side, sign_in: Mapping[str, Any], principal: str) -> dict[str, Any]:
    facts = {
        "requestId": sign_in["id"],
        "correlationId": sign_in.get("correlationId"),
        "tokenIssuerType": sign_in.get("tokenIssuerType") or "AzureAD",
        "ipAddress": sign_in.get("ipAddress") or None,
        "location": sign_in.get("location"),
        side.id: principal,
    }
    if side is USERS:
        return facts | {name: sign_in.get(name) for name in ("userDisplayName", "userPrincipalName")}
    key = sign_in.get("servicePrincipalCredentialKeyId")
    return facts | {
        "servicePrincipalDisplayName": sign_in.get("servicePrincipalName"),
        "appId": sign_in.get("appId"),
        "keyIds": [key] if key else [],
    }


def finding_of(sign_in: Mapping[str, Any], kind: str, found: Finding, said: Said, level: Level) -> dict[str, Any]:
    techniques = TYPES.get(kind, ("", "", ()))[2]
    body = {
        "riskEventType": kind,
        "riskLevel": level,
        "riskState": "atRisk",
        "riskDetail": "none",
        "source": OURS,
        "detectionTimingType": found.timing,
        "activity": "signin",
        "activityDateTime": sign_in.get("createdDateTime"),
        "mitreTechniqueId": ",".join(techniques) or None,
        "additionalInfo": _info(sign_in, found, said),
    }
    if side_of(sign_in)[0] is USERS:
        body["riskType"] = kind if kind in OLD else None
    return body


_DEVICE = ("operatingSystem", "browser", "displayName")


def _info(sign_in: Mapping[str, Any], found: Finding, said: Said) -> str:
    """Key and Value as Entra has them; what is ours comes behind."""
    device = sign_in.get("deviceDetail") or {}
    parts = found.parts or said.parts
    reasons = [
        f"Unfamiliar{name[0].upper()}{name[1:]}" for name, odds in parts.items() if odds > 0 and name != "learned"
    ]
    pairs: dict[str, Any] = {
        "userAgent": sign_in.get("userAgent"),
        "deviceInformation": ";".join(str(device[name]) for name in _DEVICE if device.get(name)) or None,
        "riskReasons": [*reasons, found.type] if reasons else [found.type],
        "mitreTechniques": ",".join(TYPES.get(found.type, ("", "", ()))[2]) or None,
        **found.reasons,
        "contributions": [
            *({"name": name, "logOdds": odds} for name, odds in said.parts.items()),
            *({"name": each.type, "logOdds": round(each.log_odds, 3)} for each in said.findings if not each.parts),
        ],
        "cappedBy": [name for name, odds in parts.items() if odds < 0],
        "logOdds": round(said.score, 3),
    }
    return pairs_of(pairs)


_TIMES = ("previousSigninDateTime", "foundDateTime", "since", "lastSignIn")


def pairs_of(said: Mapping[str, Any]) -> str:
    pairs = []
    for key, value in said.items():
        if value is None or value == [] or value == "":
            continue
        if key in _TIMES and isinstance(value, int | float):
            value = instant(datetime.fromtimestamp(value, UTC)) if value > 0 else None
        if isinstance(value, str) and len(value) > MAX_VALUE:
            value = value[: MAX_VALUE - 1] + "…"
        pairs.append({"Key": key, "Value": value})
    return msgspec.json.encode(pairs).decode()
