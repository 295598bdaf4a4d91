"""Where paths lead in an object, as far as its keys alone tell: worked out once for all that have the same keys.

Records of one source have few sets of keys, and a source asks each for what most of them lack.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

MAX_SETS = 256  # of keys that are remembered
MAX_KEYS = 128  # of a set that is remembered, with MAX_CHARS in all
MAX_CHARS = 4_096
MAX_WAYS = 1_024  # remembered of one set
MAX_DECLARED = 8_192  # texts of paths that are remembered: those that sources declare are some thousand


class Way(NamedTuple):
    """One place where a path may lead."""

    key: str  # of the value; with `tail` a path to an object
    tail: str | None = None  # what is asked of that object
    loosely: bool = False  # which may part its words otherwise


def one_word(key: str) -> str:
    """A key without what stands between its words: "src_ip", "src-ip" and "srcIp" are one. At its begin "_" says more
    than that.
    """
    return key[:1] + key[1:].replace("_", "").replace("-", "")


@lru_cache(maxsize=MAX_DECLARED)
def paths_of(declared: str) -> tuple[str, ...]:
    """The paths of a text, with spaces between them; the same objects each time, which are found the sooner."""
    return tuple(declared.split())


class Keys:
    """The keys of an object. Of keys that differ in case only, or in how their words are parted, the first counts."""

    __slots__ = (
        "_gathered",
        "_known",
        "_loose",
        "_loosely",
        "_strict",
        "folded",
        "has_steps",
        "known_leading",
        "known_ways",
        "size",
    )

    def __init__(self, keys: tuple[str, ...]) -> None:
        self._known = frozenset(keys)
        self.folded = {key.lower(): key for key in reversed(keys)}  # in lower case -> as it is
        text = "".join(self.folded)
        parted = "_" in text or "-" in text
        self._loose = {one_word(key): name for key, name in self.folded.items()} if parted else self.folded
        self.has_steps = "." in text  # whether a key is written as several steps ("agent.name")
        self.size = len(text)
        self._loosely: dict[tuple[str, ...], tuple[Way, ...]] = {}
        self._strict: dict[str, tuple[Way, ...]] = {}
        self.known_ways: dict[tuple[str, ...], tuple[Way, ...]] = {}  # what `ways` has found
        self.known_leading: dict[tuple[str, ...], tuple[str, ...]] = {}  # what `leading` has found
        self._gathered: dict[str, tuple[tuple[str, str], ...]] = {}

    def strict(self, path: str) -> tuple[Way, ...]:
        """As one key, spelt so, then in any case; then step by step."""
        found = self._strict.get(path)
        if found is None:
            head, _, tail = path.partition(".")
            exact = [Way(path)] if path in self._known else []
            other = self.folded.get(path.lower())
            exact += [Way(other)] if other is not None and other != path else []
            found = (*exact, Way(head, tail)) if tail and self._leads(head) else tuple(exact)
            if len(self._strict) < MAX_WAYS:
                self._strict[path] = found
        return found

    def ways(self, paths: tuple[str, ...]) -> tuple[Way, ...]:
        """Where any of the paths may lead, in their order; then by keys whose words are parted in another way."""
        found = self.known_ways.get(paths)
        if found is None:
            strict = (way for path in paths for way in self.strict(path))
            found = (*strict, *(way for path in paths for way in self._otherwise(path)))
            if len(self.known_ways) < MAX_WAYS:
                self.known_ways[paths] = found
        return found

    def leading(self, paths: tuple[str, ...]) -> tuple[str, ...]:
        """Those of the paths at which there may be something, be it of keys of several steps."""
        found = self.known_leading.get(paths)
        if found is None:
            found = tuple(
                path for path in paths if self._leads(path) or ("." in path and self._leads(path.partition(".")[0]))
            )
            if len(self.known_leading) < MAX_WAYS:
                self.known_leading[paths] = found
        return found

    def loosely(self, paths: tuple[str, ...]) -> tuple[Way, ...]:
        """By keys whose words are parted in another way than in the paths."""
        found = self._loosely.get(paths)
        if found is None:
            found = tuple(way for path in paths for way in self._otherwise(path))
            if len(self._loosely) < MAX_WAYS:
                self._loosely[paths] = found
        return found

    def _otherwise(self, path: str) -> Iterator[Way]:
        head, _, tail = path.partition(".")
        key = self._loose.get(one_word(path.lower()))
        if key is not None:
            yield Way(key)
        if tail and self._leads(head):
            yield Way(head, tail, loosely=True)

    def gathered(self, path: str) -> tuple[tuple[str, str], ...]:
        """The keys of several steps that go on from the path, and what stands behind it in each, in their order."""
        if not self.has_steps:
            return ()
        found = self._gathered.get(path)
        if found is None:
            begin = f"{path.lower()}."
            keys = [key for folded, key in reversed(self.folded.items()) if folded.startswith(begin)]
            found = tuple((key, key[len(begin) :]) for key in keys)
            if len(self._gathered) < MAX_WAYS:
                self._gathered[path] = found
        return found

    def _leads(self, head: str) -> bool:
        """Whether an object may stand at a first step."""
        folded = head.lower()
        return folded in self.folded or one_word(folded) in self._loose or bool(self.gathered(head))


_SETS: dict[tuple[str, ...], Keys] = {}


def keys_of(data: Mapping[str, object]) -> Keys:
    found = _SETS.get(names := tuple(data))
    if found is None:
        found = Keys(tuple(key for key in names if isinstance(key, str)))
        if len(names) <= MAX_KEYS and found.size <= MAX_CHARS:
            if len(_SETS) >= MAX_SETS:
                _SETS.clear()
            _SETS[names] = found
    return found
