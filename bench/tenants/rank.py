"""How well a labelled stream was scored: recall within a budget of alerts, what was found of each attack, what was
mistaken for one, and whether levels keep within their budgets.

Counted are sign-ins after the warm-up whose first factor was right. A unit is one attack on one person. Where sign-ins
with the same score straddle a budget, each counts by its chance to be among the alerts.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from math import prod
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from bartizan.identity.events import DAY, VALID, seconds
from bartizan.identity.replay import Scored

# What may be named of an attack: any of these.
EXPECTED: Mapping[str, str] = {
    "passwordSpray": "passwordSpray maliciousIPAddress maliciousIPAddressValidCredentialsBlockedIP",
    "passwordSprayLowSlow": "passwordSpray",
    "bruteForce": "maliciousIPAddress passwordSpray suspiciousIPAddress unfamiliarFeatures",
    "credentialStuffing": "passwordSpray leakedCredentials unfamiliarFeatures maliciousIPAddress",
    "impossibleTravel": "unlikelyTravel mcasImpossibleTravel newCountry",
    "tokenReplay": "anomalousToken",
    "anonymousIp": "anonymizedIPAddress riskyIPAddress",
    "leakedCredentials": "leakedCredentials unfamiliarFeatures",
    "mfaFatigue": "userReportedSuspiciousActivity unfamiliarFeatures",
    "aitm": "attackerinTheMiddle anomalousToken unfamiliarFeatures mcasSuspiciousInboxManipulationRules",
    "maliciousIp": "maliciousIPAddress nationStateIP suspiciousIPAddress",
    "dormantTakeover": "unfamiliarFeatures newCountry",
    "newCountryVpn": "newCountry unfamiliarFeatures anonymizedIPAddress riskyIPAddress",
    "suspiciousApiTraffic": "suspiciousAPITraffic unfamiliarFeatures",
    "servicePrincipalTheft": "suspiciousSignins anomalousServicePrincipalActivity suspiciousAPITraffic",
    "serviceAccountTheft": "unfamiliarFeatures unlikelyTravel mcasImpossibleTravel newCountry anonymizedIPAddress",
    "sameIpManyUsers": "maliciousIPAddress unfamiliarFeatures suspiciousIPAddress investigationsThreatIntelligence",
}
PLAIN = "(plain)"


class Counted(Struct):
    """One sign-in that counts."""

    id: str
    score: float
    level: str
    attack: str  # "" of none
    unit: tuple[str, str, str]
    types: frozenset[str]
    tags: tuple[str, ...]


class Found(Struct):
    """Within one budget; sums are expectations."""

    alerts: float
    true: float
    units: dict[str, list[float]] = field(default_factory=dict)  # by attack: found, of, events found, of
    causes: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    named: int = 0  # of the true alerts that are more likely than not
    likely: int = 0


class Measured(Struct):
    users: int
    days: int
    counted: list[Counted]

    @property
    def attacks(self) -> int:
        return sum(bool(each.attack) for each in self.counted)

    def precision(self) -> float:
        """Average precision."""
        groups: dict[float, list[int]] = defaultdict(lambda: [0, 0])
        for each in self.counted:
            of = groups[each.score]
            of[0], of[1] = of[0] + 1, of[1] + bool(each.attack)
        total = seen = true = 0
        area = 0.0
        for score in sorted(groups, reverse=True):
            many, hits = groups[score]
            seen, true, total = seen + many, true + hits, total + hits
            area += hits * true / seen
        return area / max(1, total)

    def within(self, budget: float) -> Found:
        scores = sorted((each.score for each in self.counted), reverse=True)
        most = max(1, round(budget * len(scores)))
        bound = scores[most - 1]
        above = sum(each > bound for each in scores)
        share = (most - above) / max(1, scores.count(bound))
        found, missed = Found(0.0, 0.0), defaultdict[tuple[str, str, str], list[float]](list)
        for each in self.counted:
            chance = 1.0 if each.score > bound else share if each.score == bound else 0.0
            if each.attack:
                missed[each.unit].append(1 - chance)
            if not chance:
                continue
            found.alerts += chance
            if not each.attack:
                for tag in each.tags:
                    found.causes[tag] += chance
                continue
            found.true += chance
            if chance >= 0.5:
                found.likely += 1
                found.named += bool(each.types & set(EXPECTED[each.attack].split()))
        for (attack, _, _), chances in missed.items():
            of = found.units.setdefault(attack, [0.0, 0, 0.0, 0])
            of[0] += 1 - prod(chances)
            of[1] += 1
            of[2] += sum(1 - each for each in chances)
            of[3] += len(chances)
        return found

    def levels(self) -> dict[str, tuple[int, int]]:
        """Of each level: attacks, and others."""
        found = {level: [0, 0] for level in ("high", "medium", "low", "none")}
        for each in self.counted:
            found[each.level][not each.attack] += 1
        return {level: (true, false) for level, (true, false) in found.items()}


def measured(folder: Path, scores: Iterable[Scored]) -> Measured:
    meta = json.loads((folder / "meta.json").read_text())
    labels = {each["id"]: each for each in _rows(folder / "labels.jsonl") if each["attack"] != "background"}
    tags = {each["id"]: tuple(each["tags"]) for each in _rows(folder / "benign.jsonl")}
    scored = {each.id: each for each in scores}
    since, counted = seconds(meta["scoredFrom"]), []
    days, users = set[int](), set[str]()
    for each in _rows(folder / "signins.jsonl"):
        at, id = seconds(each["createdDateTime"]), each["id"]
        users.add(each.get("userId") or each.get("servicePrincipalId") or "")
        if at < since:
            continue
        days.add(int(at // DAY))
        if each["status"]["errorCode"] not in VALID:
            continue
        of, label = scored[id], labels.get(id)
        unit = (label["attack"], label["campaign"], label["userId"]) if label else ("", "", "")
        counted.append(Counted(id, of.score, of.level, unit[0], unit, frozenset(of.types), tags.get(id, (PLAIN,))))
    return Measured(len(users), len(days), counted)


def _rows(path: Path) -> Iterable[dict[str, Any]]:
    with path.open() as lines:
        for line in lines:
            yield json.loads(line)
