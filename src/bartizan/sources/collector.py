"""Where a record's evidence is collected: one object per distinct entity, in the order of first mention."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

from msgspec import Struct

from bartizan.model import security as graph
from bartizan.model.alert import Observed
from bartizan.model.entities import MAX_ENTITIES, MAX_VALUE_CHARS

MAX_EVIDENCE = 200  # objects of one record

Roles: TypeAlias = Sequence[graph.EvidenceRole]
_E = TypeVar("_E", bound=graph.AlertEvidence)


class Collector:
    """Collects. `items` go to `Alert.evidence`, `observed` to `Event.entities`."""

    def __init__(
        self,
        at: str | None = None,
        verdict: graph.EvidenceVerdict = "unknown",
        remediation: graph.EvidenceRemediationStatus = "none",
    ) -> None:
        self._given: dict[str, Any] = {"createdDateTime": at, "verdict": verdict, "remediationStatus": remediation}
        self._items: list[graph.AlertEvidence] = []
        self._by_key: dict[tuple[str, ...], graph.AlertEvidence] = {}
        self._observed: dict[tuple[str, str, str], None] = {}  # kind, value, role
        self.omitted = 0  # objects beyond MAX_EVIDENCE

    @property
    def items(self) -> list[graph.AlertEvidence]:
        return list(self._items)

    @property
    def observed(self) -> tuple[Observed, ...]:
        return tuple(Observed(kind, value, role) for kind, value, role in self._observed)

    @property
    def unsaid(self) -> dict[str, Any]:
        """For additionalData: how many objects were beyond the bound."""
        return {"evidenceOmitted": self.omitted} if self.omitted else {}

    def observe(self, kind: str, value: str | None, role: str = "") -> None:
        """An entry of the index alone."""
        if value and len(value) <= MAX_VALUE_CHARS and len(self._observed) < MAX_ENTITIES:
            self._observed[kind, value, role] = None

    def join(self, *keys: tuple[str, ...], agree: Callable[[graph.AlertEvidence, graph.AlertEvidence], bool]) -> None:
        """Makes one of the objects under these keys, which what comes next says to be of one thing, where they agree:
        the MD5 and the SHA-256 of one file may have been told apart."""
        found = list({id(item): item for key in keys if (item := self._by_key.get(key)) is not None}.values())
        for other in found[1:]:
            if agree(found[0], other):
                _fill(found[0], other)
                self._items = [item for item in self._items if item is not other]
                self._by_key = {key: found[0] if item is other else item for key, item in self._by_key.items()}

    def add(self, item: _E, *keys: tuple[str, ...]) -> _E:
        """The object of one of the keys with what is new filled in, or the item itself, kept under all keys."""
        for key in keys:
            old = self._by_key.get(key)
            if type(old) is type(item):
                _fill(old, item)
                self._keep(old, keys)
                return old
        if len(self._items) >= MAX_EVIDENCE:
            self.omitted += 1
            return item
        self._items.append(item)
        self._keep(item, keys)
        return item

    def _keep(self, item: graph.AlertEvidence, keys: tuple[tuple[str, ...], ...]) -> None:
        for key in keys:
            self._by_key.setdefault(key, item)


def _fill(old: Any, new: Any) -> None:
    """Sets what `old` lacks; roles and other lists grow by what is new."""
    for name in old.__struct_fields__:
        before, after = getattr(old, name), getattr(new, name)
        if isinstance(before, list) and isinstance(after, list):
            setattr(old, name, before + [item for item in after if item not in before])
        elif before is None:
            setattr(old, name, after)
        elif isinstance(before, Struct) and type(before) is type(after):
            _fill(before, after)
