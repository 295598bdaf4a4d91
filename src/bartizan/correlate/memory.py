"""What the engine knows of a tenant: what it has learned, and the stories of late; as bytes, and back."""

import zlib
from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from bartizan.correlate.incident import Incident, Node
from bartizan.correlate.popularity import Habits, Popularity
from bartizan.correlate.rules import MAX_DETECTORS, MAX_KEYS, MAX_STORIES
from bartizan.correlate.verdicts import Verdicts

KEEP_S = 7 * 86_400.0  # of quiet, after which an incident is not written down any more; its document stays
MAX_BYTES = 256 * 2**20  # inflated; what is larger was not written by `dump`
_LEVEL = 3  # of zlib: a third of the size at a tenth of the time of the highest

Repeats: TypeAlias = tuple[str, tuple[Node, ...]]  # detector and entities: what makes two alerts the same

_encode = msgspec.msgpack.Encoder().encode


class Fold(Struct):
    """Repeats of one alert: same detector, same entities, no longer silence between them."""

    key: str  # of the first
    first: float
    last: float
    incident: Incident | None  # None where the guard held the first back


class Memory:
    """Every table is bounded by `rules`."""

    def __init__(self) -> None:
        self.now = float("-inf")  # the latest time that an alert told
        self.since = float("inf")
        self.folded = 0
        self.folds: OrderedDict[Repeats, Fold] = OrderedDict()
        self.heads: dict[str, Repeats] = {}  # first alert of a fold -> the fold
        self.incidents: OrderedDict[str, Incident] = OrderedDict()  # by key, those that are shown
        self.detectors = Popularity(MAX_DETECTORS)
        self.here = Popularity(MAX_KEYS)  # (detector, host or user)
        self.nodes = Popularity(MAX_KEYS)
        self.habits = Habits(MAX_DETECTORS)
        self.verdicts = Verdicts(MAX_DETECTORS)
        self.latest: OrderedDict[Node, deque[Incident]] = OrderedDict()  # of an entity, newest last
        self.stories: OrderedDict[str, deque[Incident]] = OrderedDict()  # of a detector, newest last
        self.places: OrderedDict[str, OrderedDict[Node, float]] = OrderedDict()  # where a detector fired last
        self.heat: OrderedDict[int, dict[str, float]] = OrderedDict()  # hour -> bits of the detectors of incidents

    def unsettled(self) -> list[Incident]:
        """Those of which silence will still make something, in the order in which it will."""
        many = {id(each): each for its in (*self.latest.values(), *self.stories.values()) for each in its}
        return sorted((each for each in many.values() if not each.learned), key=lambda each: (each.last, each.key))

    def dump(self) -> bytes:
        numbers = _Numbers(self.now - KEEP_S)
        kept = _Kept(
            now=self.now,
            since=self.since,
            folded=self.folded,
            incidents=[],
            into=[],
            folds=[
                (*key, fold.key, fold.first, fold.last, numbers.of(fold.incident)) for key, fold in self.folds.items()
            ],
            detectors=self.detectors.dump(),
            here=self.here.dump(),
            nodes=self.nodes.dump(),
            habits=self.habits.dump(),
            latest=[(node, its) for node, many in self.latest.items() if (its := numbers.all(many))],
            stories=[(detector, its) for detector, many in self.stories.items() if (its := numbers.all(many))],
            places=[(detector, list(its.items())) for detector, its in self.places.items()],
            heat=list(self.heat.items()),
            known=numbers.all(self.incidents.values()),
            verdicts=self.verdicts.dump(),
        )
        for incident in numbers.incidents:  # which grows meanwhile: what was merged into a merged one
            kept.into.append(numbers.of(incident.into))
        kept.incidents = [msgspec.structs.replace(each, into=None) for each in numbers.incidents]
        return zlib.compress(_encode(kept), _LEVEL)

    @classmethod
    def load(cls, content: bytes) -> "Memory":
        """ValueError where the bytes are something else."""
        try:
            kept = msgspec.msgpack.decode(zlib.decompressobj().decompress(content, MAX_BYTES), type=_Kept)
        except (zlib.error, msgspec.DecodeError) as error:
            raise ValueError(f"not what a correlation engine remembers: {error}") from None
        many, memory = kept.incidents, cls()
        for incident, into in zip(many, kept.into, strict=True):
            incident.into = many[into] if into >= 0 else None
        memory.now, memory.since, memory.folded = kept.now, kept.since, kept.folded
        for detector, nodes, key, first, last, number in kept.folds:
            memory.folds[detector, nodes] = Fold(key, first, last, many[number] if number >= 0 else None)
            memory.heads[key] = (detector, nodes)
        memory.detectors.load(kept.detectors)
        memory.here.load(kept.here)
        memory.nodes.load(kept.nodes)
        memory.habits.load(kept.habits)
        memory.verdicts.load(kept.verdicts)
        memory.latest.update((node, _deque(its, many)) for node, its in kept.latest)
        memory.stories.update((detector, _deque(its, many)) for detector, its in kept.stories)
        memory.places.update((detector, OrderedDict(its)) for detector, its in kept.places)
        memory.heat.update(kept.heat)
        memory.incidents.update((many[number].key, many[number]) for number in kept.known)
        return memory


class _Kept(Struct):
    """Incidents are written once, without `into`; all else names them by number, -1 for none."""

    now: float
    since: float
    folded: int
    incidents: list[Incident]
    into: list[int]
    folds: list[tuple[str, tuple[Node, ...], str, float, float, int]]
    detectors: list[Any]
    here: list[Any]
    nodes: list[Any]
    habits: dict[str, tuple[float, dict[str, float]]]
    latest: list[tuple[Node, list[int]]]
    stories: list[tuple[str, list[int]]]
    places: list[tuple[str, list[tuple[Node, float]]]]
    heat: list[tuple[int, dict[str, float]]]
    known: list[int]
    verdicts: list[tuple[str, str, int, int]] = []


class _Numbers:
    def __init__(self, after: float) -> None:
        self._after = after
        self._of: dict[int, int] = {}
        self.incidents: list[Incident] = []

    def of(self, incident: Incident | None) -> int:
        """-1 where there is none, or it is too old."""
        if incident is None or incident.last < self._after:
            return -1
        number = self._of.setdefault(id(incident), len(self.incidents))
        if number == len(self.incidents):
            self.incidents.append(incident)
        return number

    def all(self, many: Iterable[Incident]) -> list[int]:
        return [number for each in many if (number := self.of(each)) >= 0]


def _deque(numbers: Iterable[int], many: list[Incident]) -> deque[Incident]:
    return deque((many[number] for number in numbers), maxlen=MAX_STORIES)


def remember(table: "OrderedDict[Any, deque[Incident]]", key: Node | str, incident: Incident, keys: int) -> None:
    """As the newest; a table's oldest key goes when there are too many."""
    known = table.get(key)
    if known is None:
        if len(table) >= keys:
            table.popitem(last=False)
        table[key] = deque((incident,), maxlen=MAX_STORIES)
        return
    table.move_to_end(key)
    if known[-1] is not incident:
        if incident in known:
            known.remove(incident)
        known.append(incident)
