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
    detectors: list[dict[str, Any]] = [
        {
            "detector": each.detector,
            "bits": each.bits,
            "popularity": each.popularity,
            "popularityHere": each.popularity_here,
            "explainedBy": each.explained_by or None,
            "explained": each.explained,
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
    weights = _weights(incident, verdicts)
    if weights and verdicts is not None:
        parts["classifications"] = verdicts.total
        for one in detectors:
            one |= _said(weights[one["detector"]])
    return score_of(bits), parts


def learned(incident: Incident, verdicts: Verdicts | None) -> float:
    """Bits that analysts' classifications add, or take off."""
    weights = _weights(incident, verdicts)
    return sum(each.bits * (weights[name].factor - 1) for name, each in incident.evidence.items()) if weights else 0.0


def _weights(incident: Incident, verdicts: Verdicts | None) -> dict[str, Weight]:
    """By detector; empty until there are enough verdicts."""
    if verdicts is None or not verdicts.enough:
        return {}
    return {name: verdicts.weight(name, each.kind) for name, each in incident.evidence.items()}


def _said(weight: Weight) -> dict[str, Any]:
    return {"factor": weight.factor, "truePositives": weight.true, "notTruePositives": weight.other}


def score_of(bits: float) -> int:
    return min(100, max(0, round(100 * (1 - 2 ** (-bits / HALF_BITS)))))


def tactics_of(incident: Incident) -> list[str]:
    """In the order in which they were first seen; at one time, in that of an attack."""
    return sorted(incident.tactics, key=lambda each: (incident.tactics[each], TACTICS.index(each)))


class Telling:
    """What an incident says of itself. What several of its sentences need is worked out once."""

    def __init__(self, incident: Incident, shown: Shown = plain) -> None:
        self._incident = incident
        # by the names that people use, each once; what is neither a person nor a host has but one name
        self.entities: list[Node] = list(
            dict.fromkeys((node[0], shown(node)) if node[0] in _BARE else node for node in incident.nodes)
        )
        self.tactics = tactics_of(incident)
        self._named = _named(self.entities)
        self._evidence = sorted(incident.evidence.values(), key=lambda each: (-each.bits, each.at))  # the rarest first

    def title(self) -> str:
        """Where an attack shows several tactics: whom it is against, and how. Else the rarest alert's title and how
        much more there was.
        """
        tactics, evidence = [_words(each) for each in self.tactics], self._evidence
        places = _places(self._named)
        if len(tactics) > 1:
            how = ", ".join(tactics) if len(tactics) <= TACTICS_IN_TITLE else f"{tactics[0]} to {tactics[-1]}"
            return f"Attack on {places}: {how}"[:MAX_TITLE] if places else f"Attack: {how}"[:MAX_TITLE]
        what = (evidence[0].title or evidence[0].detector).rstrip(". ") if evidence else "Alerts"
        more = len(evidence) - 1
        if more > 0:
            what += f" and {more} other kind{'s' if more > 1 else ''} of alert"
        return (f"{what} on {places}" if places else what)[:MAX_TITLE]

    def summary(self, score: int, company: float, verdicts: Verdicts | None = None) -> str:
        """What happened, to whom, and why it stands where it does in the queue; a sentence a line."""
        incident, evidence = self._incident, self._evidence
        sources = f" from {' and '.join(incident.products)}" if incident.products else ""
        when = f"between {_minute(incident.first)} and {_minute(incident.last)} UTC"
        lines = [f"{_count(len(evidence), 'kind')} of alert, {_count(incident.folds, 'alert')}{sources}, {when}."]
        for kind, plural in _PLURAL.items():
            if names := self._named.get(kind):
                more = f" and {len(names) - NAMED_IN_SUMMARY} more" if len(names) > NAMED_IN_SUMMARY else ""
                lines.append(f"{plural}: {', '.join(names[:NAMED_IN_SUMMARY])}{more}.")
        if self.tactics:
            lines.append(f"Tactics in order: {', '.join(map(_words, self.tactics))}.")
        parts = [f"{sum([each.bits for each in evidence]):.1f} bits of rarity"]
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


@lru_cache(maxsize=256)
def _words(tactic: str) -> str:
    """InitialAccess -> initial access."""
    return "".join(f" {each.lower()}" if each.isupper() else each for each in tactic).strip()


Named = dict[str, list[str]]  # by kind, each thing of an incident once


def _named(entities: list[Node]) -> Named:
    """A bare name beside a whole one that has it (rosa, rosa@example.org) is the same one's here."""
    found: Named = {}
    for kind, name in entities:
        found.setdefault(kind, []).append(name)
    for kind, bare in _BARE.items():
        names = found.get(kind, ())
        within = {part.casefold() for each in names if (part := bare(each)) != each}
        if within:
            found[kind] = [each for each in names if each.casefold() not in within]
    return found


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


@lru_cache(maxsize=256)  # an incident that grows is told again and again
def _minute(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")
