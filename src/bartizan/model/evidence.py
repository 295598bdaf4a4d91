"""Evidence of an alert in inner form: one object per distinct entity, in order of first mention, with what the schema
requires.

Source: microsoft.graph.security.alertEvidence; verdict, remediationStatus and createdDateTime may not be null there.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from bartizan.model.security import AlertEvidence

MAX_EVIDENCE = 1_000  # objects of one alert; a client that sends more is told so

Item = dict[str, Any]
_TYPE = "@odata.type"
_NAMESPACE = "#microsoft.graph.security."
# What says something of an entity and not which one it is.
_ABOUT = frozenset(
    {"createdDateTime", "verdict", "remediationStatus", "remediationStatusDetails", "roles", "detailedRoles", "tags"}
)
_WEAK: Mapping[str, Any] = {"verdict": "unknown", "remediationStatus": "none"}
_encode = msgspec.json.Encoder(order="deterministic").encode

# Type -> alternative keys, strongest first: objects that share one and contradict each other in none are one entity.
_KEYS: Mapping[str, tuple[str, ...]] = {
    "deviceEvidence": ("mdeDeviceId", "azureAdDeviceId", "deviceDnsName", "hostName"),
    "fileEvidence": (
        "fileDetails/sha256",
        "fileDetails/sha1",
        "fileDetails/md5",
        "fileDetails/filePath",
        "fileDetails/fileName",
    ),
    "ipEvidence": ("ipAddress",),
    "mailboxEvidence": ("primaryAddress", "upn"),
    "malwareEvidence": ("name",),
    "urlEvidence": ("url",),
    "userEvidence": (
        "userAccount/azureAdUserId",
        "userAccount/userSid",
        "userAccount/userPrincipalName",
        "userAccount/accountName",
    ),
}
# What must not differ either, though it is no key by itself.
_PARTS: Mapping[str, tuple[str, ...]] = {"userEvidence": ("userAccount/domainName",)}
_TELLING = {kind: (*paths, *_PARTS.get(kind, ())) for kind, paths in _KEYS.items()}
_STEPS = {path: path.partition("/")[::2] for paths in _TELLING.values() for path in paths}


def inner(items: Iterable[AlertEvidence]) -> list[Item]:
    """The structs as JSON values, unset properties left out."""
    found: list[Item] = msgspec.to_builtins(list(items))
    return found


def complete(items: Iterable[Item], at: str | None) -> list[Item]:
    """With what the schema requires where a source left it out, nested evidence too. `at`: when it was added to the
    alert."""
    return [_completed(item, at) for item in items]


def _completed(item: Item, at: str | None) -> Item:
    """The same object where it is complete, as most are."""
    more: Item = {}
    mark = item.get(_TYPE)
    if mark is not None and str(mark).startswith(_NAMESPACE):
        if not item.get("createdDateTime"):
            more["createdDateTime"] = at
        if not item.get("verdict"):
            more["verdict"] = "unknown"
        if not item.get("remediationStatus"):
            more["remediationStatus"] = "none"
    for name, value in item.items():
        kind = type(value)
        if kind is dict:
            whole = _completed(value, at)
            if whole is not value:
                more[name] = whole
        elif kind is list and value and isinstance(value[0], dict):
            more[name] = [_completed(one, at) if isinstance(one, dict) else one for one in value]
    return {**item, **more} if more else item


def distinct(items: Iterable[Item]) -> list[Item]:
    """Objects of one entity become one: the first one, with what it lacks filled in and all roles."""
    return _fold([], items, newer=False)


def merged(old: Sequence[Item], new: Iterable[Item]) -> list[Item]:
    """A later record's evidence joined to an earlier one's: its word replaces, and what it does not name stays."""
    return _fold(old, new, newer=True)


def _fold(old: Sequence[Item], new: Iterable[Item], *, newer: bool) -> list[Item]:
    new = list(new)
    kinds = [_kind(item) for item in (*old, *new)]
    if not old and len(set(kinds)) == len(kinds):
        return new  # each is of another kind
    folded, times = _Folded(), Counter(kinds)
    for item in old:
        folded.put(len(folded.kept), item, _keys(item))
    for item in new:
        if times[_kind(item)] == 1:  # nothing can be one with it
            folded.put(len(folded.kept), item, ())
        else:
            folded.join(item, newer=newer)
    return folded.items()


class _Folded:
    """Objects in order of first mention, found by their keys."""

    def __init__(self) -> None:
        self.kept: list[Item] = []
        self._gone: set[int] = set()  # became a part of one before
        self._places: dict[tuple[str, ...], list[int]] = {}

    def items(self) -> list[Item]:
        return [item for index, item in enumerate(self.kept) if index not in self._gone]

    def put(self, index: int, item: Item, keys: Iterable[tuple[str, ...]]) -> None:
        self.kept[index : index + 1] = [item]
        for key in keys:
            places = self._places.setdefault(key, [])
            if index not in places:
                places.append(index)

    def join(self, item: Item, *, newer: bool) -> None:
        keys = _keys(item)
        same = self._alike(item, keys, ())
        if same is None:
            self.put(len(self.kept), item, keys)
            return
        if all(same in self._places.get(key, ()) for key in keys):
            self.kept[same] = _filled(self.kept[same], item, newer=newer)
            return
        first, *others = self._bridged(same, item)
        whole = self.kept[first]
        for index in others:
            whole = _filled(whole, self.kept[index], newer=False)
        self._gone.update(others)
        whole = _filled(whole, item, newer=newer)
        self.put(first, whole, _keys(whole))

    def _bridged(self, same: int, item: Item) -> list[int]:
        """Where an object has a key that the one like it lacked, others may have it: all of them are one entity."""
        group = [same]
        whole = _filled(self.kept[same], item, newer=False)
        while (other := self._alike(whole, _keys(whole), group)) is not None:
            group.append(other)
            whole = _filled(whole, self.kept[other], newer=False)
        return sorted(group)

    def _alike(self, item: Item, keys: Iterable[tuple[str, ...]], but: Sequence[int]) -> int | None:
        for key in keys:
            for index in self._places.get(key, ()):
                if index not in but and index not in self._gone and not _contradict(self.kept[index], item):
                    return index
        return None


def _kind(item: Mapping[str, Any]) -> str:
    return str(item.get(_TYPE) or "").removeprefix(_NAMESPACE)


def _at(item: Mapping[str, Any], path: str) -> str | None:
    head, tail = _STEPS[path]
    value = item.get(head)
    if tail:
        value = value.get(tail) if isinstance(value, dict) else None
    return value.lower() if isinstance(value, str) and value else None


def _keys(item: Item) -> list[tuple[str, ...]]:
    kind = _kind(item)
    paths = _KEYS.get(kind)
    if paths is not None:
        found = [(kind, path, value) for path in paths if (value := _at(item, path)) is not None]
        if found:
            return list(found)
    return [(kind, _encode(_naming(item)).decode())]


def _naming(value: Any) -> Any:
    """The value without what only says something of it, at any depth."""
    if isinstance(value, dict):
        return {name: _naming(one) for name, one in value.items() if name not in _ABOUT and one is not None}
    return [_naming(one) for one in value] if isinstance(value, list) else value


def _contradict(one: Item, other: Item) -> bool:
    for path in _TELLING.get(_kind(one), ()):
        left, right = _at(one, path), _at(other, path)
        if left is not None and right is not None and left != right:
            return True
    return False


def _filled(old: Item, new: Item, *, newer: bool) -> Item:
    """Lists grow by what is new. Else the old value stays, or the new one replaces it, where both say something."""
    made = dict(old)
    for name, value in new.items():
        before = made.get(name)
        if value is None or value == before:
            continue
        if isinstance(before, dict) and isinstance(value, dict):
            made[name] = _filled(before, value, newer=newer)
        elif isinstance(before, list) and isinstance(value, list):
            made[name] = before + [one for one in value if one not in before]
        elif before is None or before == _WEAK.get(name) or (newer and _says(name, value)):
            made[name] = value
    return made


def _says(name: str, value: Any) -> bool:
    return name != "createdDateTime" and value != _WEAK.get(name)
