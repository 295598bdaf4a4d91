"""Alerts one by one in, incidents out: a state machine without a store, a clock or a look ahead.

Each alert passes: the fold (a repeat joins its first) -> the guard (what fires all the time neither links nor opens)
-> the best link over entities that are rare in this tenant -> its incident, or a candidate of its own. A candidate
opens when the rarity of its distinct detectors passes a bar. When an incident has been quiet for minutes it is compared
with its neighbours, and joins one that already has all that it has. The cost of an alert depends on its own entities,
never on how many incidents there are.

Source: design of correlation in docs/explanation/correlation.md.
"""

import heapq
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from math import log2
from typing import TypeAlias

from bartizan.correlate.incident import (
    SOURCE_INCIDENT,
    Closed,
    Ended,
    Evidence,
    Facts,
    Folded,
    Handled,
    Incident,
    Judged,
    Link,
    Merged,
    Moved,
    Node,
    Opened,
    Pass,
    Placed,
    Ranked,
    Seen,
    Step,
    Take,
    Told,
)
from bartizan.correlate.memory import Fold, Memory, Repeats, remember
from bartizan.correlate.popularity import chance, observed, share
from bartizan.correlate.rules import (
    HOUR_S,
    MAX_DETECTORS,
    MAX_FOLDS,
    MAX_HEAT_HOURS,
    MAX_INCIDENT_DETECTORS,
    MAX_INCIDENT_NODES,
    MAX_KEYS,
    MAX_KNOWN,
    MAX_NODES,
    MAX_PLACES,
    MAX_WAITING,
    MIN_GAP_S,
    PERSONS,
    PRINCIPALS,
    PRIOR_DETECTOR_HOURS,
    PRIOR_HOURS,
    PRIOR_HOURS_ELSE,
    SHARED_KINDS,
    Rules,
)

_REASON = {  # of microsoft.graph.security.correlationReason, by the kind of entity that is shared
    "user": "sameActor",
    "mailbox": "sameTargetedAsset",
    "host": "sameTargetedAsset",
    "resource": "sameTargetedAsset",
    "address": "sameThreatSource",
}
_WORSE = {"unknown": 0, "informational": 1, "low": 2, "medium": 3, "high": 4}


class Engine:
    """Of one tenant. Alerts may come late or out of order: each is judged as of its own time, with what was learned."""

    def __init__(
        self, rules: Rules | None = None, *, named: Callable[[str], str] = str, memory: Memory | None = None
    ) -> None:
        """`named` makes an incident's key of its first alert's; `memory` is that of an engine before."""
        self.rules = rules or Rules()
        self.named = named
        self.memory = memory or Memory()
        self._due: list[tuple[float, int, Incident]] = []
        self._made = 0
        for incident in self.memory.unsettled():
            incident.due = 0.0
            self._schedule(incident)

    def tell(self, told: Told) -> list[Step]:
        match told:
            case Take(facts):
                return self.take(facts)
            case Pass(now):
                return self.advance(now)
            case Seen(node, at):
                self.memory.nodes.note(node, int(at // HOUR_S))
            case Moved():
                self._moved(told)
            case Handled():
                self._handled(told)
            case Closed(key):
                self.memory.folds.pop(self.memory.heads.pop(key, _NOTHING), None)
            case Judged():
                return self._judged(told)
        return []

    def take(self, facts: Facts) -> list[Step]:
        """What this alert changes. An alert that only repeats, or says nothing, opens nothing."""
        steps = self.advance(facts.at)
        nodes = _ordered(facts.nodes)
        fold = self._repeated(facts, nodes)
        if facts.group and (fold is None or fold.incident is None or fold.incident.root() is not self._group(facts)):
            self._leave(facts, self._group(facts), steps)
            fold = None
        if fold is not None:
            if fold.key != facts.key:
                steps.append(Folded(facts.key, fold.key, facts.at))
            if fold.incident is not None:
                self._repeat(facts, nodes, fold.incident.root(), steps)
            return steps
        story = self._story(facts, nodes, steps)
        self._forget_fold(self.memory.folds.pop((facts.detector, nodes), None))
        self.memory.folds[facts.detector, nodes] = Fold(facts.key, facts.at, facts.at, story)
        self.memory.heads[facts.key] = (facts.detector, nodes)
        if len(self.memory.folds) > MAX_FOLDS:
            self._forget_fold(self.memory.folds.popitem(last=False)[1])
        return steps

    @staticmethod
    def place_of(facts: Facts) -> Node:
        """The entity that an alert is counted by, beside its detector."""
        return next(iter(_ordered(facts.nodes)), ("", ""))

    def known(self, key: str) -> Incident | None:
        """An incident that was shown not long ago."""
        return self.memory.incidents.get(key)

    def due(self) -> float:
        """When `advance` has something to do next."""
        return self._due[0][0] if self._due else float("inf")

    def seen(self, node: Node, at: float) -> bool:
        """Whether `Seen` would say nothing new."""
        return self.memory.nodes.last(node) >= int(at // HOUR_S)

    def advance(self, now: float) -> list[Step]:
        """Time has passed; what was waiting for silence is done."""
        self.memory.now = max(self.memory.now, now)
        steps: list[Step] = []
        while self._due and self._due[0][0] <= self.memory.now:
            _, _, incident = heapq.heappop(self._due)
            self._look(incident, steps)
        return steps

    def company(self, incident: Incident) -> float:
        """Bits that trouble elsewhere in the tenant adds, around the hour when most of this incident came.

        Attacks touch several places within hours and unrelated oddities seldom do, so what else was rare at that time
        speaks for it. It saturates: half of the most is reached with six never-seen detectors.
        """
        peak = incident.peak_hour()
        if peak not in self.memory.heat:
            return incident.company
        others: dict[str, float] = {}
        for hour in (peak - 1, peak, peak + 1):
            for detector, bits in self.memory.heat.get(hour, _COLD).items():
                if detector not in incident.evidence and bits > others.get(detector, 0.0):
                    others[detector] = bits
        heat, most = sum(others.values()), self.rules.company_bits
        return most * heat / (heat + 2 * most) if heat else 0.0

    def _group(self, facts: Facts) -> Incident:
        """The incident into which its source has put an alert. It is never merged by us, whatever it looks like."""
        incident = self._foreign(facts.group, facts).root()
        incident.foreign, incident.held = False, True
        return incident

    def _leave(self, facts: Facts, group: Incident, steps: list[Step]) -> None:
        """Its source says only now where it belongs: it goes there from where we had put it, unless somebody arranged
        that; an incident of which nothing is left is that one."""
        head = self.memory.heads.get(facts.key)
        fold = None if head is None else self.memory.folds.get(head)
        before = None if fold is None or fold.incident is None else fold.incident.root()
        if before is None or before is group or before.held:
            return
        before.waiting = [each for each in before.waiting if each[0] != facts.key]
        before.folds -= 1
        if before.folds > 0:
            return
        shown = before.state == "open"
        self._take_nodes(group, before)
        before.state, before.into = "merged", group
        if shown:
            steps.append(Merged(before, group, ("grouped by its source",)))

    def _forget_fold(self, fold: "Fold | None") -> None:
        if fold is not None:
            self.memory.heads.pop(fold.key, None)

    def _repeat(self, facts: Facts, nodes: tuple[Node, ...], incident: Incident, steps: list[Step]) -> None:
        incident.last = max(incident.last, facts.at)
        for node in nodes:
            if node in incident.nodes:
                self._show(incident, node, facts)
        steps.append(Placed(facts.key, incident, None, incident.state != "candidate", repeat=True))
        self._wait(incident, facts.key, None, steps)

    def _wait(self, incident: Incident, key: str, link: Link | None, steps: list[Step]) -> None:
        """A candidate keeps its alerts until it opens: at the bar, or when it has too many to be nothing."""
        if incident.state != "candidate":
            return
        incident.waiting.append((key, link))
        if incident.bits >= self.rules.open_bits or len(incident.waiting) >= MAX_WAITING:
            incident.state = "open"
            steps.append(Opened(incident, tuple(incident.waiting)))
            incident.waiting.clear()
            self._keep(incident)
            for each in incident.evidence.values():
                self._tell(incident, each)

    def _keep(self, incident: Incident) -> None:
        self.memory.incidents[incident.key] = incident
        if len(self.memory.incidents) > MAX_KNOWN:
            self.memory.incidents.popitem(last=False)

    def _foreign(self, key: str, facts: Facts | None = None) -> Incident:
        """An incident by its key; one that is not known was made by somebody else."""
        incident = self.memory.incidents.get(key)
        if incident is None:
            at = self.memory.now if facts is None else facts.at
            incident = Incident(key, at, at, state="open", foreign=True, held=True)
            self._keep(incident)
        return incident

    @staticmethod
    def _show(incident: Incident, node: Node, facts: Facts) -> None:
        """The alert shows this entity; a later one is its latest."""
        if facts.at >= incident.nodes.get(node, facts.at):
            incident.nodes[node], incident.by[node] = facts.at, facts.key

    def _judged(self, judged: Judged) -> list[Step]:
        """Counts the verdict; where verdicts count already, incidents of the detector are ranked again."""
        verdicts = self.memory.verdicts
        verdicts.note(judged.detector, judged.kind, judged.before, judged.after)
        if not verdicts.enough:
            return []
        return [Ranked(each) for each in self.memory.stories.get(judged.detector, ()) if each.state == "open"]

    def _moved(self, moved: Moved) -> None:
        """What somebody arranged is left as it is: neither incident is merged by itself from now on, and repeats of
        the alert go where it is."""
        nodes = _ordered(moved.facts.nodes)
        if moved.source == moved.target:
            self._hold(self._foreign(moved.target, moved.facts).root(), moved.facts, nodes)
            return
        source = self.memory.incidents.get(moved.source)
        if source is not None:
            source.held = True
        target = self._foreign(moved.target, moved.facts) if moved.target else None
        if target is not None:
            target.held = True
            target.folds += 1
            self._hold(target, moved.facts, nodes)
        head = self.memory.heads.get(moved.facts.key)
        if head is not None:
            self.memory.folds[head].incident = target

    def _handled(self, handled: Handled) -> None:
        incident = self._foreign(handled.key)
        if handled.state == "merged":
            target = self._foreign(handled.into)
            if target.root() is not incident:
                incident.state, incident.into, target.held = "merged", target, True
                self._take_nodes(target, incident)
        elif incident.state != "merged":
            incident.state = handled.state

    def _repeated(self, facts: Facts, nodes: tuple[Node, ...]) -> "Fold | None":
        fold = self.memory.folds.get((facts.detector, nodes))
        if fold is None:
            return None
        gap, span = abs(facts.at - fold.last), abs(facts.at - fold.first)
        if gap > self.rules.fold_gap_s or span > self.rules.fold_cap_s:
            return None
        if fold.incident is not None and fold.incident.root().state == "resolved":
            return None
        fold.last = max(fold.last, facts.at)
        self.memory.folds.move_to_end((facts.detector, nodes))
        return fold

    def _story(self, facts: Facts, nodes: tuple[Node, ...], steps: list[Step]) -> Incident | None:
        """The incident that an alert joins or begins; None where the guard holds it back."""
        self.memory.folded += 1
        self.memory.since = min(self.memory.since, facts.at)
        hour, watched = int(facts.at // HOUR_S), observed((facts.at - self.memory.since) / HOUR_S)
        place = next(iter(nodes), ("", ""))
        seen = self.memory.detectors.hours(facts.detector, hour)
        popularity = share(seen, watched, PRIOR_DETECTOR_HOURS)
        here = share(self.memory.here.hours((facts.detector, place), hour), watched, PRIOR_DETECTOR_HOURS)
        self.memory.detectors.note(facts.detector, hour)
        self.memory.here.note((facts.detector, place), hour)
        common = popularity > self.rules.common_share and seen >= self.rules.common_hours
        if common and facts.severity != "high" and not facts.group:
            return None
        incident, link = self._linked(facts, nodes, hour, watched) if not facts.group else self._by_source(facts)
        for node in nodes:
            self.memory.nodes.note(node, hour)
        if incident is None or (incident.state == "resolved" and not facts.group):
            follows = "" if incident is None else incident.key
            incident, link = Incident(self.named(facts.key), facts.at, facts.at, follows=follows), None
        self._grow(incident, facts, nodes)
        if link is not None:
            incident.because(link.reasons)
        steps.append(Placed(facts.key, incident, link, incident.state != "candidate"))
        self._weigh(incident, facts, place, popularity, here)
        self._wait(incident, facts.key, link, steps)
        self._schedule(incident)
        return incident

    def _by_source(self, facts: Facts) -> tuple[Incident, Link]:
        """No figures of ours speak for this link: popularity 1 is worth no bits."""
        return self._group(facts), Link((SOURCE_INCIDENT, facts.group), 0, 1.0, 0.0, 0.0, 0.0, ())

    def _linked(
        self, facts: Facts, nodes: tuple[Node, ...], hour: int, watched: float
    ) -> tuple[Incident | None, Link | None]:
        """The strongest link that passes the bar, if any: of the latest incident of each entity, among those of this
        time, since what happened days ago may come after what happened today."""
        limit = self._limit()
        found: dict[int, tuple[Incident, list[_Way]]] = {}
        for node in nodes:
            for incident in reversed(self.memory.latest.get(node, ())):
                if incident.reaches(facts.at, self.rules):
                    break
            else:
                continue
            if not incident.grows(limit):
                continue
            popularity = share(self.memory.nodes.hours(node, hour), watched, PRIOR_HOURS.get(node[0], PRIOR_HOURS_ELSE))
            gap_s = abs(facts.at - incident.nodes.get(node, incident.last))
            found.setdefault(id(incident), (incident, []))[1].append((popularity, gap_s, node))
        best: tuple[float, int, Incident, Link] | None = None
        for incident, ways in found.values():
            link = self._link(incident, nodes, ways)
            if link.bits >= self.rules.link_bits and (best is None or (link.bits, len(ways)) > best[:2]):
                best = (link.bits, len(ways), incident, link)
        return (None, None) if best is None else (best[2], best[3])

    def _link(self, incident: Incident, nodes: tuple[Node, ...], ways: "list[_Way]") -> Link:
        """Over the entity that is least likely shared by chance. That two users or hosts are behind one address at
        one time says nothing, so that it counts there for how exclusive it is, not for how near in time.
        """
        alone = all(node[0] in SHARED_KINDS for _, _, node in ways) and _strangers(incident, nodes)
        least_s = HOUR_S if alone else MIN_GAP_S
        strangers = self.rules.stranger_bits if alone else 0.0
        bits, popularity, gap, node = max(
            (-log2(chance(popularity, max(gap_s, least_s) / HOUR_S)), popularity, max(gap_s, least_s) / HOUR_S, node)
            for popularity, gap_s, node in ways
        )
        by = incident.by.get(node, "")
        return Link(node, len(ways), popularity, gap, strangers, bits - strangers, _reasons(node), by)

    def _limit(self) -> int:
        """Folded alerts that one incident may hold by now."""
        relative = max(self.rules.largest_floor, int(self.rules.largest_share * self.memory.folded))
        return min(self.rules.largest, relative)

    def _grow(self, incident: Incident, facts: Facts, nodes: tuple[Node, ...]) -> None:
        incident.folds += 1
        incident.settled = False
        self._hold(incident, facts, nodes)

    def _hold(self, incident: Incident, facts: Facts, nodes: tuple[Node, ...]) -> None:
        """What an alert says is of the incident."""
        incident.first = min(incident.first, facts.at)
        incident.last = max(incident.last, facts.at)
        if _WORSE.get(facts.severity, 0) > _WORSE.get(incident.severity, 0):
            incident.severity = facts.severity
        for told, many in ((facts.tactics, incident.tactics), ((facts.product,), incident.products)):
            for each in told:
                if each and (each in many or len(many) < MAX_INCIDENT_DETECTORS):
                    many[each] = min(facts.at, many.get(each, facts.at))
        for node in nodes:
            if node in incident.nodes or len(incident.nodes) < MAX_INCIDENT_NODES:
                self._show(incident, node, facts)
                remember(self.memory.latest, node, incident, MAX_KEYS)

    def _weigh(self, incident: Incident, facts: Facts, place: Node, popularity: float, here: float) -> None:
        places = self.memory.places.setdefault(facts.detector, OrderedDict())
        places[place] = facts.at
        places.move_to_end(place)
        if len(places) > MAX_PLACES:
            places.popitem(last=False)
        if len(self.memory.places) > MAX_DETECTORS:
            self.memory.places.popitem(last=False)
        if facts.detector in incident.evidence or len(incident.evidence) >= MAX_INCIDENT_DETECTORS:
            return
        rarity, weight = (popularity * here) ** 0.5, self.rules.explained_weight
        by, explained = "", 0.0
        for other in incident.evidence:
            count, both = self.memory.habits.together(other, facts.detector)
            often = (both + weight * rarity) / (count + weight)
            if often > max(rarity, explained):
                by, explained = other, often
        bits = -log2(max(rarity, explained))
        each = Evidence(facts.detector, facts.title, facts.at, popularity, here, by, explained, bits, place[0])
        incident.evidence[facts.detector] = each
        if incident.state == "open":
            self._tell(incident, each)

    def _tell(self, incident: Incident, evidence: Evidence) -> None:
        """An incident has this detector: others are compared with it, and rank by its company."""
        remember(self.memory.stories, evidence.detector, incident, MAX_DETECTORS)
        heat = self.memory.heat.setdefault(int(evidence.at // HOUR_S), {})
        if evidence.detector in heat or len(heat) < MAX_DETECTORS:
            heat[evidence.detector] = max(evidence.bits, heat.get(evidence.detector, 0.0))
        if len(self.memory.heat) > MAX_HEAT_HOURS:
            del self.memory.heat[min(self.memory.heat)]

    def _look(self, incident: Incident, steps: list[Step]) -> None:
        """It was due: settle it after minutes of quiet, learn from it after hours; else look again later."""
        incident.due = 0.0
        quiet_s = self.memory.now - incident.last
        if not incident.settled and quiet_s >= self.rules.settle_s:
            incident.settled = True
            if incident.state == "open" and not incident.held:
                self._settle(incident, steps)
        if quiet_s < self.rules.learn_s:
            self._schedule(incident)
        elif not incident.learned:
            incident.learned = True
            self.memory.habits.learn(list(incident.evidence))
            if incident.state == "open":
                incident.company = self.company(incident)
                steps.append(Ended(incident))

    def _schedule(self, incident: Incident) -> None:
        if incident.due == 0.0:
            incident.due = incident.last + (self.rules.learn_s if incident.settled else self.rules.settle_s)
            self._made += 1
            heapq.heappush(self._due, (incident.due, self._made, incident))

    def _settle(self, incident: Incident, steps: list[Step]) -> None:
        """Joins a story that already has all that this one has: of the same entities, or of one sweep over hosts."""
        target = self._recurred(incident)
        if target is not None:
            self._take_nodes(target, incident)
            self._merge(incident, target, ("repeatedAlertOccurrence", "sameTargetedAsset"), steps)
            return
        target = self._swept(incident)
        if target is not None:  # it gets no nodes: the hosts that were touched may have stories of their own to come
            self._merge(incident, target, ("similarTTPsOrBehavior", "timeFrame"), steps)

    def _take_nodes(self, target: Incident, incident: Incident) -> None:
        for node, at in incident.nodes.items():
            if at >= target.nodes.get(node, at):
                target.nodes[node], target.by[node] = at, incident.by.get(node, "")
            remember(self.memory.latest, node, target, MAX_KEYS)

    def _merge(self, incident: Incident, target: Incident, reasons: tuple[str, ...], steps: list[Step]) -> None:
        target.folds += incident.folds
        for its, more in ((target.tactics, incident.tactics), (target.products, incident.products)):
            for each, at in more.items():
                its[each] = min(at, its.get(each, at))
        target.last = max(target.last, incident.last)
        if _WORSE.get(incident.severity, 0) > _WORSE.get(target.severity, 0):
            target.severity = incident.severity
        target.because(reasons)
        incident.state, incident.into = "merged", target
        steps.append(Merged(incident, target, reasons))

    def _recurred(self, incident: Incident) -> Incident | None:
        """The latest earlier incident of the same entities that has all its detectors."""
        rules, best = self.rules, None
        asked = incident.principals or set(incident.nodes)
        for node in sorted(asked)[:MAX_NODES]:
            for other in self.memory.latest.get(node, ()):
                if (
                    self._takes(other, incident)
                    and (other.first, other.key) < (incident.first, incident.key)
                    and incident.first - other.last <= rules.recur_s
                    and incident.last - other.first <= rules.age_s
                    and asked <= other.nodes.keys()
                    and (best is None or (other.last, other.key) > (best.last, best.key))
                ):
                    best = other
        return best

    def _swept(self, incident: Incident) -> Incident | None:
        """The strongest incident of a sweep of which this one is a part and no more."""
        rules, evidence = self.rules, incident.evidence
        if len(evidence) > rules.sweep_detectors or any(node[0] in PERSONS for node in incident.nodes):
            return None
        for detector in evidence:
            near = [at for at in self.memory.places[detector].values() if abs(at - incident.last) <= rules.settle_s]
            if len(near) < rules.sweep_places:
                return None
        best = incident
        for other in self.memory.stories.get(max(evidence, key=lambda each: evidence[each].bits), ()):
            if (
                self._takes(other, incident)
                and other.first - rules.settle_s <= incident.last
                and incident.first - rules.settle_s <= other.last
                and (other.bits, -other.first, other.key) > (best.bits, -best.first, best.key)
            ):
                best = other
        return None if best is incident else best

    def _takes(self, other: Incident, incident: Incident) -> bool:
        return (
            other is not incident
            and other.state == "open"
            and not other.held
            and other.folds + incident.folds <= self._limit()
            and incident.evidence.keys() <= other.evidence.keys()
        )


_COLD: Mapping[str, float] = {}
_NOTHING: Repeats = ("", ())  # no alert repeats this

_Way: TypeAlias = tuple[float, float, Node]  # an entity's popularity, seconds since the incident had it, the entity


def _ordered(nodes: Iterable[Node]) -> tuple[Node, ...]:
    """Each once, those that an attack is against before the others."""
    return tuple(sorted(set(nodes), key=lambda node: (node[0] not in PRINCIPALS, node))[:MAX_NODES])


def _strangers(incident: Incident, nodes: tuple[Node, ...]) -> bool:
    """Both sides name users or hosts, and none of them is the same."""
    ours, theirs = {node for node in nodes if node[0] in PRINCIPALS}, incident.principals
    return bool(ours and theirs) and not ours & theirs


def _reasons(node: Node) -> tuple[str, ...]:
    return (_REASON.get(node[0], "similarArtifacts"), "timeFrame")
