"""What the engine remembers: of each principal, of each address and its network, and of the tenant.

All of it is bounded, and follows from the events alone in their order. Counters decay with a half-life of 30 days; what
was last seen, and first, is kept beside them. Weights and caps: see `CAPS`.

Source: exponentially decayed counters as in Cormode, Korn and Tirthapura, "Exponentially decayed aggregates on data
streams" (2008).
"""

from collections.abc import Mapping
from math import exp, log

from msgspec import Struct, field

from bartizan.identity.events import DAY

HALF_LIFE_S = 30 * DAY
_RATE = log(2) / HALF_LIFE_S
MEMORY_S = 90 * DAY  # what was not seen for so long is forgotten
WINDOW_S = 7 * DAY  # of failures, of addresses under suspicion, of quarantine
# Values of one principal that are kept of each kind; the least used makes room.
CAPS: Mapping[str, int] = {
    "address": 16, "prefix": 12, "asn": 8, "country": 6, "city": 8, "kit": 6, "os": 4, "agent": 14, "app": 20,
    "client": 5, "device": 6, "credential": 4, "change": 12, "net": 3,
}  # fmt: skip
CHANGES = 24  # hours with changes of the directory that a principal remembers
PLACES, SESSIONS, FAILURES, DENIALS, HELD, RECENT = 6, 8, 6, 12, 4, 10
USERS = 24  # principals that an address remembers by name; more are "many"


class Seen(Struct, array_like=True, gc=False):
    """How much a value was used, decayed as of `last`."""

    weight: float
    last: int  # whole seconds
    first: int


class Place(Struct, array_like=True, gc=False):
    """Where a principal was accepted, of a device that does not tell by a carrier's gateway."""

    at: float
    latitude: float
    longitude: float
    address: str
    kit: str
    city: str
    country: str


class Session(Struct, array_like=True, gc=False):
    """Of one session id: where and with what it was used."""

    last: int
    prefixes: list[str]
    asns: list[int]
    kits: list[str]
    countries: list[str]


class Recent(Struct, array_like=True, gc=False):
    """A sign-in that was not plainly the principal's own, to which a later event may point back."""

    id: str
    at: float
    session: str
    address: str
    score: float
    strange: float  # of it, what the place says: above 0 it was new to the principal
    device: float  # what the device says
    types: list[str]  # of its findings
    verdict: str = ""  # what a person has said of it


class Held(Struct, array_like=True, gc=False):
    """A risky sign-in: not learned from until it is cleared, or a quiet week has passed."""

    at: float
    id: str
    session: str
    address: str
    values: list[tuple[str, str]]


class Principal(Struct, gc=False):
    """`seen` by kind and value; ids of sessions that are under suspicion, and addresses, with their score."""

    first: float = 0.0  # of accepted sign-ins
    last: float = 0.0
    count: int = 0
    seen: dict[str, dict[str, Seen]] = field(default_factory=dict)
    hours: list[int] = field(default_factory=lambda: [0] * 24)
    places: list[Place] = field(default_factory=list)
    sessions: dict[str, Session] = field(default_factory=dict)
    failures: dict[str, tuple[float, int]] = field(default_factory=dict)  # address -> last, how many within a day of it
    denials: list[float] = field(default_factory=list)
    hot: dict[str, tuple[float, float, str, str]] = field(
        default_factory=dict
    )  # "s"/"a" + id -> score, until, sign-in, type
    held: list[Held] = field(default_factory=list)
    recent: list[Recent] = field(default_factory=list)
    requests: list[int] = field(default_factory=list)  # of the last activity records, for their median
    changes: list[tuple[int, int]] = field(default_factory=list)  # of the directory: hour since 1970, how many
    risky: float = 0.0  # when a sign-in was last risky

    def known(self, kind: str, value: str, at: float) -> Seen | None:
        """None where it is not known, or was forgotten."""
        of = self.seen.get(kind)
        if of is None:
            return None
        found = of.get(value)
        return found if found is not None and at - found.last < MEMORY_S else None

    def change(self, activity: str, at: float) -> None:
        """Counts a change of the directory in the baseline of who made it."""
        self.learn("change", activity, at)
        hour = int(at // 3600)
        if self.changes and self.changes[-1][0] == hour:
            self.changes[-1] = hour, self.changes[-1][1] + 1
            return
        self.changes.append((hour, 1))
        if len(self.changes) > CHANGES:
            del self.changes[0]

    def learn(self, kind: str, value: str, at: float, weight: float = 1.0) -> None:
        of = self.seen.get(kind)
        if of is None:
            of = self.seen[kind] = {}
        found = of.get(value)
        if found is not None:
            found.weight = round(found.weight * exp(-_RATE * max(0.0, at - found.last)) + weight, 3)
            found.last = max(found.last, int(at))
            return
        if len(of) >= CAPS[kind]:
            del of[min(of, key=lambda each: (of[each].weight * exp(-_RATE * max(0.0, at - of[each].last)), each))]
        of[value] = Seen(weight, int(at), int(at))


class Address(Struct, gc=False):
    """What the tenant has seen of an address, or of a network: by itself, whoever asked."""

    first: float
    last: float = 0.0
    users: dict[str, float] = field(default_factory=dict)  # accepted there -> when last
    anchored: dict[str, float] = field(default_factory=dict)  # of them, with a registered device
    brought: dict[str, float] = field(default_factory=dict)  # of them, with a session that began elsewhere
    day: int = 0
    days: int = 0  # on which somebody was accepted
    failed: dict[str, float] = field(default_factory=dict)  # wrong credentials of -> when last
    strangers: list[tuple[str, str, float]] = field(
        default_factory=list
    )  # right credentials, no device: id, principal, at

    def others(self, principal: str) -> int:
        return len(self.users) - (principal in self.users)

    def shared(self, principal: str) -> bool:
        """A network that people of the tenant share for days: an office, a VPN, a gateway."""
        anchored = len(self.anchored) - (principal in self.anchored)
        return (anchored >= 2 and self.days >= 3) or (self.days >= 5 and self.others(principal) >= 3)

    def failing(self, principal: str, at: float) -> int:
        """Other principals whose credentials were wrong there within the window."""
        since = at - WINDOW_S
        return sum(last >= since for who, last in self.failed.items() if who != principal)

    def accept(self, principal: str, id: str, at: float, anchored: bool, brought: bool, interactive: bool) -> None:
        self.last = max(self.last, at)
        day = int(at // DAY)
        if day != self.day:
            self.day, self.days = day, self.days + 1
        keep(self.users, principal, at)
        self.failed.pop(principal, None)  # who comes in where he failed had mistyped
        if brought:
            keep(self.brought, principal, at)
        if anchored:
            keep(self.anchored, principal, at)
        elif interactive:
            self.validate(principal, id, at)

    def validate(self, principal: str, id: str, at: float) -> None:
        """The credentials were right, of somebody without a device that the tenant knows; a policy or a second factor
        may have stopped it."""
        if self.shared(principal):
            return
        self.strangers.append((id, principal, at))
        if len(self.strangers) > USERS:
            del self.strangers[0]

    def fail(self, principal: str, at: float) -> None:
        self.last = max(self.last, at)
        keep(self.failed, principal, at)


def keep(of: dict[str, float], key: str, at: float, cap: int = USERS) -> None:
    """Sets the time of a key; the oldest makes room."""
    if key not in of and len(of) >= cap:
        del of[min(of, key=lambda each: (of[each], each))]
    of[key] = at


def _averaged(usual: float, days: int, today: float) -> tuple[float, int]:
    """The mean of the first five days, then decayed: one that starts at nothing takes a week for what is usual."""
    return usual + max(0.2, 1 / (days + 1)) * (today - usual), days + 1


class Burst(Struct, gc=False):
    """Wrong credentials from strange addresses with one user agent: who, within a day."""

    users: dict[str, float] = field(default_factory=dict)
    usual: float = 0.0  # principals a day, decayed over days
    day: int = 0
    days: int = 0  # of which `usual` is made

    def add(self, principal: str, at: float) -> None:
        day = int(at // DAY)
        if day != self.day:
            recent = sum(at - last < 2 * DAY for last in self.users.values())
            self.usual, self.days = _averaged(self.usual, self.days, min(recent, 8))
            self.day = day
        keep(self.users, principal, at, 64)

    def failing(self, principal: str, at: float) -> int:
        """Others within a day."""
        return sum(at - last < DAY for who, last in self.users.items() if who != principal)

    def size(self, principal: str, at: float) -> float:
        """Others within a day, beyond twice what is usual."""
        return self.failing(principal, at) - 2 * self.usual


class Cluster(Struct, gc=False):
    """One carrier and one family of programs: who failed by them, and who is accepted by them."""

    last: float = 0.0
    failed: dict[str, float] = field(default_factory=dict)  # wrong credentials of -> when last
    accepted: dict[str, float] = field(default_factory=dict)  # some of them -> when, to the week

    def fail(self, principal: str, at: float) -> None:
        self.last = max(self.last, at)
        keep(self.failed, principal, at, 64)

    def failing(self, principal: str, at: float) -> int:
        """Others within the window."""
        return sum(at - last < WINDOW_S for who, last in self.failed.items() if who != principal)

    def others(self, principal: str) -> int:
        return len(self.accepted) - (principal in self.accepted)

    def learns(self, principal: str, at: float) -> bool:
        """Whether it is news that he is accepted. Names that it has stay for a month: who comes by a large carrier
        changes nothing."""
        if principal in self.failed:
            return True
        last = self.accepted.get(principal)
        if last is not None:
            return at - last >= WINDOW_S
        return len(self.accepted) < USERS or at - min(self.accepted.values()) >= HALF_LIFE_S

    def accept(self, principal: str, at: float) -> None:
        self.failed.pop(principal, None)
        keep(self.accepted, principal, at)


class Browser(Struct, gc=False):
    """One user agent without a registered device, at addresses that were new to the tenant: who, when, from where."""

    seen: dict[str, tuple[float, str]] = field(default_factory=dict)
    usual: float = 0.0  # countries a day, decayed over days
    day: int = 0
    days: int = 0  # of which `usual` is made

    def add(self, principal: str, country: str, at: float) -> None:
        day = int(at // DAY)
        if day != self.day:
            recent = {where for when, where in self.seen.values() if at - when < 2 * DAY}
            self.usual, self.days = _averaged(self.usual, self.days, min(len(recent), 8))
            self.day = day
        if principal not in self.seen and len(self.seen) >= USERS:
            del self.seen[min(self.seen, key=lambda each: (self.seen[each], each))]
        self.seen[principal] = at, country

    def others(self, principal: str) -> int:
        return len(self.seen) - (principal in self.seen)

    def elsewhere(self, principal: str, country: str, at: float, within_s: float) -> dict[str, str]:
        """Other principals in other countries within the time, with their country."""
        return {
            who: where
            for who, (when, where) in self.seen.items()
            if who != principal and where != country and abs(at - when) < within_s
        }


class Application(Struct, gc=False):
    """Of one application: who consented to it, and who gave it a credential."""

    first: float
    users: dict[str, float] = field(default_factory=dict)  # consented -> when
    approved: bool = False  # an administrator consented
    credential: float = 0.0  # when one was added last
    by: str = ""  # who added it
    audit: str = ""  # and the id of the record that says so
