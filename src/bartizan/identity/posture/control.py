"""How a control is declared, and how one subject after the other is tallied for it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

from msgspec import Struct

from bartizan.identity.posture.facts import Tenant

Of = Literal["user", "workload", "tenant"]
Limits = Mapping[str, int]


class Plain(Enum):
    """What a control says of a subject that is not affected."""

    MET = "met"
    UNKNOWN = "unknown"  # a fact is missing: the subject counts neither way
    APART = "apart"  # the control is not about it


class Affected(Struct, frozen=True):
    """One user, application or other object that keeps a control from being met, and why."""

    kind: str  # user, servicePrincipal, conditionalAccessPolicy, tenant
    id: str
    name: str
    reason: str


Verdict = Plain | str  # a text: it is affected, and that is why
Judge = Callable[[Any, Tenant, Limits], "Verdict | Sequence[Affected]"]


@dataclass(frozen=True, eq=False)
class Control:
    """A control as declared; texts go to its secureScoreControlProfile as they are."""

    id: str
    of: Of
    title: str
    max_score: float
    remediation: str
    impact: str  # what remedying does to users (remediationImpact)
    threats: tuple[str, ...]
    source: str
    judge: Judge
    cost: str = "low"  # implementationCost
    user_impact: str = "low"
    tier: str = "Core"
    action: str = "Config"  # actionType: Config, Review or Behavior
    limits: Limits = field(default_factory=dict)
    doc: str = ""


CONTROLS: dict[str, Control] = {}


def control(id: str, *, of: Of, **said: Any) -> Callable[[Judge], Judge]:
    """Declares a control. The function gets (subject, tenant, limits): a `User` or `Workload`, the facts that hold for
    the whole tenant, and the control's limits by name. It answers MET, UNKNOWN, APART, or the reason why the subject is
    affected; one `of` the tenant gets the tenant twice and answers MET, UNKNOWN, or those affected.
    """

    def declare(judge: Judge) -> Judge:
        if id in CONTROLS:
            raise ValueError(f"control {id} is declared twice")
        CONTROLS[id] = Control(id, of, judge=judge, doc=" ".join((judge.__doc__ or "").split()), **said)
        return judge

    return declare


def limits_of(changes: Sequence[str]) -> dict[str, dict[str, int]]:
    """The limits of all controls, with changes such as `BartizanStaleUsers.days=60`; ValueError says what is wrong."""
    found = {name: dict(each.limits) for name, each in CONTROLS.items()}
    for change in changes:
        place, _, number = change.partition("=")
        name, _, limit = place.strip().partition(".")
        if limit not in found.get(name, {}):
            known = ", ".join(f"{one}.{each}" for one, limits in found.items() for each in limits)
            raise ValueError(f"posture_limits: no limit '{place.strip()}'; there are {known}")
        if not number.strip().isdecimal():
            raise ValueError(f"posture_limits: {place.strip()} needs a whole number, not '{number.strip()}'")
        found[name][limit] = int(number)
    return found


class Tally(Struct):
    """Subjects of one control, counted."""

    met: int = 0
    affected: int = 0
    unknown: int = 0
    seen: int = 0  # subjects at all, those that the control is not about included

    def add(self, verdict: Verdict) -> None:
        self.seen += 1
        if isinstance(verdict, str):
            self.affected += 1
        elif verdict is Plain.MET:
            self.met += 1
        elif verdict is Plain.UNKNOWN:
            self.unknown += 1

    @property
    def assessed(self) -> bool:
        """Something is known; or there are subjects and the control is about none of them."""
        return self.met + self.affected > 0 or (self.seen > 0 and self.unknown == 0)

    @property
    def share(self) -> float:
        known = self.met + self.affected
        return self.met / known if known else 1.0
