"""How an incident is shown: its place in the queue with the parts of it, its title and what it says of itself."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from bartizan.correlate.incident import Incident, Node
from bartizan.correlate.rules import SEVERITY_BITS
from bartizan.correlate.verdicts import Verdicts, Weight

HALF_BITS = 30.0  # a priority of 50: five detectors that the tenant has never seen, or more that are less rare
NAMED_IN_TITLE = 2
NAMED_IN_SUMMARY = 10
TACTICS_IN_TITLE = 3
MAX_TITLE = 200

Shown = Callable[[Node], str]  # the name of an entity that people use

# Order of an attack, as ATT&CK Enterprise lists tactics.
TACTICS = (
    "Reconnaissance ResourceDevelopment InitialAccess Execution Persistence PrivilegeEscalation DefenseEvasion "
    "CredentialAccess Discovery LateralMovement Collection CommandAndControl Exfiltration Impact"
).split()
_PLURAL = {
    "user": "Users",
    "mailbox": "Mailboxes",
    "host": "Hosts",
    "resource": "Resources",
    "address": "Addresses",
    "sender": "Senders",
    "domain": "Domains",
    "url": "URLs",
    "hash": "Files",
}

_BARE: dict[str, Callable[[str], str]] = {  # the name without what it belongs to
    "user": lambda name: name.partition("@")[0].rpartition("\\")[2],
    "host": lambda name: name.partition(".")[0],
}


def plain(node: Node) -> str:
    return node[1]


def priority(incident: Incident, company: float, verdicts: Verdicts | None = None) -> tuple[int, dict[str, Any]]:
    """(0 to 100, the parts): 100 * (1 - 2 ** (-bits / 30)), where bits are the sum of the parts' bits, each detector's
    times its factor where verdicts have given it one.
    """
    weights = _weights(incident, verdicts)
    detectors = [
        {
            "detector": each.detector,
            "bits": each.bits,
            "popularity": each.popularity,
            "popularityHere": each.popularity_here,
            "explainedBy": each.explained_by or None,
            "explained": each.explained,
            **_said(weights.get(each.detector)),
        }
        for each in incident.evidence.values()
    ]
    bits = incident.bits + company + learned(incident, verdicts)
    parts = {
        "detectors": detectors,
        "severity": SEVERITY_BITS.get(incident.severity, 0.0),
        "company": company,
        "bits": bits,
    }
    return score_of(bits), parts if not weights or verdicts is None else {**parts, "classifications": verdicts.total}


def learned(incident: Incident, verdicts: Verdicts | None) -> float:
    """Bits that analysts' classifications add, or take off."""
    weights = _weights(incident, verdicts)
    return sum(each.bits * (weights[name].factor - 1) for name, each in incident.evidence.items()) if weights else 0.0


def _weights(incident: Incident, verdicts: Verdicts | None) -> dict[str, Weight]:
    """By detector; empty until there are enough verdicts."""
    if verdicts is None or not verdicts.enough:
        return {}
    return {name: verdicts.weight(name, each.kind) for name, each in incident.evidence.items()}


def _said(weight: Weight | None) -> dict[str, Any]:
    if weight is None:
        return {}
    return {"factor": weight.factor, "truePositives": weight.true, "notTruePositives": weight.other}


def score_of(bits: float) -> int:
    return min(100, max(0, round(100 * (1 - 2 ** (-bits / HALF_BITS)))))


def tactics_of(incident: Incident) -> list[str]:
    """In the order in which they were first seen; at one time, in that of an attack."""
    return sorted(incident.tactics, key=lambda each: (incident.tactics[each], TACTICS.index(each)))


def title_of(incident: Incident, shown: Shown = plain) -> str:
    """Where an attack shows several tactics: whom it is against, and how. Else the rarest alert's title and how much
    more there was.
    """
    tactics = [_words(each) for each in tactics_of(incident)]
    places = _places(_named(incident, shown))
    evidence = sorted(incident.evidence.values(), key=lambda each: (-each.bits, each.at))
    if len(tactics) > 1:
        how = ", ".join(tactics) if len(tactics) <= TACTICS_IN_TITLE else f"{tactics[0]} to {tactics[-1]}"
        return f"Attack on {places}: {how}"[:MAX_TITLE] if places else f"Attack: {how}"[:MAX_TITLE]
    what = (evidence[0].title or evidence[0].detector).rstrip(". ") if evidence else "Alerts"
    more = len(evidence) - 1
    if more > 0:
        what += f" and {more} other kind{'s' if more > 1 else ''} of alert"
    return (f"{what} on {places}" if places else what)[:MAX_TITLE]


@lru_cache(maxsize=256)
def _words(tactic: str) -> str:
    """InitialAccess -> initial access."""
    return "".join(f" {each.lower()}" if each.isupper() else each for each in tactic).strip()


Named = dict[str, list[str]]  # by kind, each thing of an incident once


def _named(incident: Incident, shown: Shown) -> Named:
    """A bare name beside a whole one that has it (rosa, rosa@example.org) is the same one's here."""
    found: dict[str, dict[str, None]] = {}
    for node in incident.nodes:
        found.setdefault(node[0], {})[shown(node)] = None
    return {kind: _whole(kind, list(names)) for kind, names in found.items()}


def _whole(kind: str, names: list[str]) -> list[str]:
    bare = _BARE.get(kind)
    within = {part.casefold() for each in names if (part := bare(each)) != each} if bare is not None else ()
    return [each for each in names if each.casefold() not in within] if within else names


def _places(named: Named) -> str:
    people, hosts = named.get("user"), named.get("host")
    if people and hosts:
        return f"{_several(people, 'users')} and {_several(hosts, 'hosts')}"
    for kind in ("host", "user", "resource", "address"):
        if names := named.get(kind):
            return _several(names, _PLURAL[kind].lower())
    return ""


def _several(names: list[str], plural: str) -> str:
    return " and ".join(sorted(names)) if len(names) <= NAMED_IN_TITLE else f"{len(names)} {plural}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def summary_of(
    incident: Incident, score: int, company: float, shown: Shown = plain, verdicts: Verdicts | None = None
) -> str:
    """What happened, to whom, and why it stands where it does in the queue; a sentence a line."""
    evidence = sorted(incident.evidence.values(), key=lambda each: (-each.bits, each.at))
    sources = f" from {' and '.join(incident.products)}" if incident.products else ""
    when = f"between {_minute(incident.first)} and {_minute(incident.last)} UTC"
    lines = [f"{_count(len(evidence), 'kind')} of alert, {_count(incident.folds, 'alert')}{sources}, {when}."]
    named = _named(incident, shown)
    for kind, plural in _PLURAL.items():
        if names := named.get(kind):
            more = f" and {len(names) - NAMED_IN_SUMMARY} more" if len(names) > NAMED_IN_SUMMARY else ""
            lines.append(f"{plural}: {', '.join(names[:NAMED_IN_SUMMARY])}{more}.")
    if incident.tactics:
        lines.append(f"Tactics in order: {', '.join(map(_words, tactics_of(incident)))}.")
    parts = [f"{sum(each.bits for each in evidence):.1f} bits of rarity"]
    if bits := SEVERITY_BITS.get(incident.severity, 0.0):
        parts.append(f"{bits:.1f} for severity {incident.severity}")
    if company > 0:
        parts.append(f"{company:.1f} for other trouble in the same hours")
    if bits := learned(incident, verdicts):
        parts.append(f"{bits:+.1f} from past classifications")
    lines.append(f"Priority {score}: {', '.join(parts)}.")
    if incident.reasons:
        lines.append(f"Linked by: {', '.join(sorted(incident.reasons))}.")
    if incident.follows:
        lines.append(f"Follows incident {incident.follows}, which was resolved.")
    return "\n".join(lines)


def _minute(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")
