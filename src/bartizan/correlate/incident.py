"""What the engine takes and makes: the facts of an alert, links, evidence, incidents."""

from math import log2
from typing import Any, Literal, TypeAlias

from msgspec import Struct, field

from bartizan.correlate.popularity import chance
from bartizan.correlate.rules import HOUR_S, PRINCIPALS, SEVERITY_BITS, Rules

Node: TypeAlias = tuple[str, str]  # kind and value of an entity, aliases resolved


class Facts(Struct, frozen=True):
    """Of one alert, all that is looked at."""

    key: str  # its id
    at: float  # seconds since 1970, UTC: when it happened
    detector: str  # the rule that fired, with its product
    nodes: tuple[Node, ...]
    title: str = ""
    severity: str = "unknown"  # as Graph has it
    tactics: tuple[str, ...] = ()  # of ATT&CK, as Graph spells them
    product: str = ""
    group: str = ""  # id of the incident that its source has put it into, by its source's own account


SOURCE_INCIDENT = "sourceIncident"  # kind of what a link names where the source itself has put the alert there


class Link(Struct, frozen=True):
    """Why an alert joined an incident; `bits` follows from the other figures."""

    node: Node  # the rarest entity that both have
    shared: int  # entities that both have
    popularity: float  # the entity's share of the tenant's hours, before this one
    gap_hours: float  # since the incident had it last
    strangers: float  # bits taken off, since users and hosts differ and only an address is shared
    bits: float
    reasons: tuple[str, ...]  # of microsoft.graph.security.correlationReason
    alert: str = ""  # the alert of the incident that had the entity last

    def figures(self) -> dict[str, Any]:
        """What the bits can be recomputed from, and they."""
        return {
            "entity": {"kind": self.node[0], "value": self.node[1]},
            "shared": self.shared,
            "popularity": self.popularity,
            "gapHours": self.gap_hours,
            "strangers": self.strangers,
            "bits": self.bits,
        }

    @property
    def by_source(self) -> bool:
        """Its source has put it there: nothing was computed."""
        return self.node[0] == SOURCE_INCIDENT

    def recomputed(self) -> float:
        if self.by_source:
            return 0.0
        return -log2(chance(self.popularity, self.gap_hours)) - self.strangers


class Evidence(Struct, frozen=True):
    """What one detector adds to an incident; `bits` follows from the other figures."""

    detector: str
    title: str
    at: float
    popularity: float  # the detector's share of the tenant's hours, before this one
    popularity_here: float  # and on this host or user
    explained_by: str  # a detector of the incident that it usually fires with, or ""
    explained: float  # and how often it does, 0 where there is none
    bits: float
    kind: str = ""  # of the entity that it fired on first

    def recomputed(self) -> float:
        return -log2(max((self.popularity * self.popularity_here) ** 0.5, self.explained))


class Incident(Struct, eq=False):
    """A story that grows. Below the bar of `Rules.open_bits` it is a candidate, which nobody sees."""

    key: str  # made of its first alert's
    first: float
    last: float
    nodes: dict[Node, float] = field(default_factory=dict)  # when each was last seen in it
    evidence: dict[str, Evidence] = field(default_factory=dict)  # by detector, in order of arrival
    severity: str = "unknown"
    tactics: dict[str, float] = field(default_factory=dict)  # when each was first seen in it
    products: dict[str, float] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)  # why alerts joined, and how many did
    folds: int = 0
    waiting: list[tuple[str, Link | None]] = field(default_factory=list)  # alerts of a candidate, and why they joined
    follows: str = ""  # key of a resolved incident that it would have joined
    state: Literal["candidate", "open", "resolved", "merged"] = "candidate"
    foreign: bool = False  # made by an analyst or a provider: what it says of itself is theirs
    held: bool = False  # an analyst has arranged it: it is not merged by itself
    due: float = 0.0  # when it is looked at next
    settled: bool = False  # since it last grew
    learned: bool = False
    company: float = 0.0  # as it was when it ended
    into: "Incident | None" = None  # whose alerts its are, where it was merged
    by: dict[Node, str] = field(default_factory=dict)  # the alert that showed each entity last

    @property
    def bits(self) -> float:
        return sum(each.bits for each in self.evidence.values()) + SEVERITY_BITS.get(self.severity, 0.0)

    @property
    def principals(self) -> set[Node]:
        return {node for node in self.nodes if node[0] in PRINCIPALS}

    def reaches(self, at: float, rules: Rules) -> bool:
        """Whether it is of about this time."""
        return at - self.last <= rules.idle_s and abs(at - self.first) <= rules.age_s

    def grows(self, limit: int) -> bool:
        """Whether one more alert of its time may join, were it not resolved."""
        return self.state != "merged" and self.folds < limit

    def because(self, reasons: tuple[str, ...]) -> None:
        for each in reasons:
            self.reasons[each] = self.reasons.get(each, 0) + 1

    def root(self) -> "Incident":
        """Itself, or what it was merged into."""
        here = self
        while here.into is not None:
            here = here.into
        return here

    def peak_hour(self) -> int:
        """The hour in which most of what speaks for it came; the last where nothing does."""
        by_hour: dict[int, float] = {}
        for each in self.evidence.values():
            hour = int(each.at // HOUR_S)
            by_hour[hour] = by_hour.get(hour, 0.0) + each.bits
        return max(by_hour, key=lambda hour: (by_hour[hour], -hour), default=int(self.last // HOUR_S))


# ---------------------------------------------------------------- what the engine is told, besides time


class Take(Struct, frozen=True, tag=True):
    """An alert has come."""

    facts: Facts


class Pass(Struct, frozen=True, tag=True):
    """Time has passed without one."""

    now: float


class Seen(Struct, frozen=True, tag=True):
    """An entity was in use, without an alert: a sign-in from an address."""

    node: Node
    at: float


class Moved(Struct, frozen=True, tag=True):
    """Somebody put an alert into an incident, or took it out (""); the same one twice: it says more than it did."""

    facts: Facts
    source: str
    target: str


class Handled(Struct, frozen=True, tag=True):
    """Somebody resolved, reopened or merged an incident."""

    key: str
    state: Literal["open", "resolved", "merged"]
    into: str = ""


class Closed(Struct, frozen=True, tag=True):
    """Somebody resolved an alert: a repeat of it from now on is news."""

    key: str


class Judged(Struct, frozen=True, tag=True):
    """Somebody classified an alert, or took that back (None)."""

    detector: str
    kind: str  # of its first entity; "" where it has none
    before: str | None
    after: str | None


Told: TypeAlias = Take | Pass | Seen | Moved | Handled | Closed | Judged

# ---------------------------------------------------------------- what the engine says


class Placed(Struct, frozen=True, eq=False):
    """This alert is in that incident now; without a link it is its first, or repeats one that is in it."""

    key: str
    incident: Incident
    link: Link | None
    shown: bool  # False: of a candidate; `Opened` tells of it if it comes to that
    repeat: bool = False


class Folded(Struct, frozen=True, eq=False):
    """This alert repeats another, the head of the fold."""

    key: str
    head: str
    at: float


class Opened(Struct, frozen=True, eq=False):
    """A candidate has enough to be shown, with the alerts that waited in it."""

    incident: Incident
    alerts: tuple[tuple[str, Link | None], ...]


class Ended(Struct, frozen=True, eq=False):
    """Nothing came for long; its rank is final unless it grows again."""

    incident: Incident


class Ranked(Struct, frozen=True, eq=False):
    """Its place in the queue may be another now."""

    incident: Incident


class Merged(Struct, frozen=True, eq=False):
    """The alerts of one incident are the other's now."""

    source: Incident
    target: Incident
    reasons: tuple[str, ...]


Step: TypeAlias = Placed | Folded | Opened | Ended | Ranked | Merged
