"""How an incident is shown: its place in the queue with the parts of it, its title, its reasons."""

from collections.abc import Iterable, Mapping
from typing import Any

from bartizan.correlate.incident import Incident
from bartizan.correlate.rules import SEVERITY_BITS

HALF_BITS = 30.0  # a priority of 50: five detectors that the tenant has never seen, or some less rare ones
PERSONS_NAMED = 2


def priority(incident: Incident, company: float) -> tuple[int, dict[str, Any]]:
    """(0 to 100, the parts): 100 * (1 - 2 ** (-bits / 30)), where bits are the sum of the parts' bits."""
    severity = SEVERITY_BITS.get(incident.severity, 0.0)
    detectors = [
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
    bits = incident.bits + company
    parts = {"detectors": detectors, "severity": severity, "company": company, "bits": bits}
    return score_of(bits), parts


def score_of(bits: float) -> int:
    return min(100, max(0, round(100 * (1 - 2 ** (-bits / HALF_BITS)))))


def reasons_of(links: Iterable[Mapping[str, Any]]) -> list[str]:
    return sorted({reason for link in links for reason in link["reasons"]})


def title_of(incident: Incident) -> str:
    """The rarest alert's title, how much more there was, and where."""
    evidence = sorted(incident.evidence.values(), key=lambda each: (-each.bits, each.at))
    what = evidence[0].title or evidence[0].detector
    more = len(evidence) - 1
    if more:
        what += f" and {more} other kind{'s' if more > 1 else ''} of alert"
    places = _places(incident)
    return f"{what} on {places}" if places else what


def _places(incident: Incident) -> str:
    for kind, plural in (("host", "hosts"), ("user", "users"), ("mailbox", "mailboxes"), ("address", "addresses")):
        names = [value for of, value in incident.nodes if of == kind]
        if names:
            return " and ".join(sorted(names)) if len(names) <= PERSONS_NAMED else f"{len(names)} {plural}"
    return ""
