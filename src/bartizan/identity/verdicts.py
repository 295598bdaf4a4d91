"""What a tenant's own verdicts say of kinds of evidence: a bounded correction of the score, off until there are enough.

A logistic regression with the engine's score as its offset: of each kind of evidence (the type of a finding, a strange
place, a strange device) one weight, moved by each verdict towards what the person said. Only confirmations train: safe
and compromised. A dismissal says nothing of what is true.

What holds whatever is learned: the correction of one sign-in stays within `MOST`; of what a piece of evidence adds at
least half stays, so that more evidence never makes a sign-in less risky; a verdict of safe never raises what resembles
it, one of compromised never lowers it; a proven fact is never lowered.

Source: Robbins and Monro, "A stochastic approximation method" (1951), for the falling steps.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import exp

from msgspec import Struct, field

from bartizan.extend.detections import Finding
from bartizan.identity.state import Principal
from bartizan.identity.view import View

LEAST = 20  # verdicts of the tenant before any counts
LEAST_OF = 5  # with this kind of evidence before its weight counts
MOST = 1.5  # log-odds of the whole correction
MOST_OF = 1.0  # of one weight
KEPT = 0.5  # of what a piece of evidence adds, this share stays at least
STEP = 0.4  # of the first verdict on a kind; it falls with their number
EVEN = 5.0  # log-odds of a score at which an attack is as likely as not
MOST_KINDS = 64
TEACHING = ("safe", "compromised")  # verdicts


class Weight(Struct, array_like=True):
    value: float = 0.0
    safe: int = 0
    compromised: int = 0

    @property
    def verdicts(self) -> int:
        return self.safe + self.compromised


class Learned(Struct):
    """Of one tenant."""

    verdicts: int = 0
    of: dict[str, Weight] = field(default_factory=dict)

    @property
    def on(self) -> bool:
        return self.verdicts >= LEAST

    def train(self, kinds: Iterable[str], score: float, compromised: bool) -> None:
        """One verdict on a sign-in that had this evidence and this score."""
        self.verdicts += 1
        known = [each for each in dict.fromkeys(kinds) if each in self.of or len(self.of) < MOST_KINDS]
        weights = [self.of.setdefault(each, Weight()) for each in known]
        expected = 1 / (1 + exp(EVEN - score - sum(each.value for each in weights)))
        wrong = (1.0 if compromised else 0.0) - expected
        for each in weights:
            step = STEP / (1 + each.verdicts) ** 0.5
            each.value = round(max(-MOST_OF, min(MOST_OF, each.value + step * wrong)), 6)
            each.safe, each.compromised = each.safe + (not compromised), each.compromised + compromised

    def correction(self, evidence: Mapping[str, float], proven: bool) -> tuple[float, dict[str, float]]:
        """What it adds to the score of a sign-in with this evidence (kind -> log-odds that it adds, above 0), and the
        part of each kind."""
        parts: dict[str, float] = {}
        if not self.on:
            return 0.0, parts
        for kind, odds in evidence.items():
            weight = self.of.get(kind)
            if weight is None or weight.verdicts < LEAST_OF:
                continue
            value = max(weight.value, -(1 - KEPT) * odds)
            if value:
                parts[kind] = round(value, 3)
        total = max(-MOST, min(MOST, sum(parts.values())))
        if proven and total < 0:
            return 0.0, {}
        return total, parts

    def said(self, kind: str, value: float) -> dict[str, float | int]:
        """For additionalInfo."""
        of = self.of[kind]
        return {"logOdds": value, "confirmedSafe": of.safe, "confirmedCompromised": of.compromised}


# Parts of the behavioural sum that count as evidence of their own -> where a remembered sign-in has them.
_PARTS = {"place": "strange", "device": "device"}


Lesson = tuple[list[str], float, bool]  # what `train` is given


def hear(learned: Learned, verdict: str, sign_in: str, principal: Principal, risky: float) -> list[Lesson]:
    """A person's word on a sign-in, or with "" on each of the principal's that scored `risky` or more; the same word on
    the same sign-in once. What was taught."""
    taught: list[Lesson] = []
    if verdict not in TEACHING:
        return taught
    for each in principal.recent:
        if (each.id == sign_in if sign_in else each.score >= risky) and each.verdict != verdict:
            each.verdict = verdict
            strange = [name for name, where in _PARTS.items() if getattr(each, where) > 0]
            taught.append(([*each.types, *strange], each.score, verdict == "compromised"))
            learned.train(*taught[-1])
    return taught


def correct(learned: Learned, view: View, findings: Sequence[Finding]) -> float:
    """What the tenant's verdicts add to the score of a sign-in; its findings say so."""
    evidence = {each.type: each.log_odds for each in findings if each.log_odds > 0 and not each.parts}
    evidence |= {name: getattr(view, name) for name in _PARTS if getattr(view, name) > 0}
    total, parts = learned.correction(evidence, any(each.proven for each in findings))
    for each in findings:
        kinds = _PARTS if each.parts else (each.type,)
        said = {kind: learned.said(kind, parts[kind]) for kind in kinds if kind in parts}
        if said:
            each.reasons = {**each.reasons, "learned": said}
    return total
