"""Lenient reading of a vendor's JSON: keys in any case, dotted paths, JSON inside strings; wrong types count as absent.

Nothing here raises on odd input, and everything is bounded, since records come from outside.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, KeysView, Mapping
from hashlib import sha256
from typing import Any, TypeVar

import msgspec

from bartizan.extend import Record
from bartizan.sources import envelopes
from bartizan.sources.keys import Keys, Way, keys_of

MAX_INNER_JSON_CHARS = 262_144  # of JSON in a string; longer ones stay text
MAX_ITEMS = 500  # of one list that are read
MAX_NODES = 20_000  # that a walk over a record visits
REST_DEPTH = 8
REST_NODES = 600  # of the part that stays under the vendor's names
REST_TEXT_CHARS = 4_096
_LONGEST_NUMBER_CHARS = 40
_MAX_HEADER_CHARS = 1_024  # of a line, before the JSON that it ends with
_INT64 = 2**63
_T = TypeVar("_T")

# What vendors write where they have nothing to say.
_NOTHING = frozenset({"", "-", "n/a", "null", "none", "(null)", "<na>", "nan", "not available"})
_LONGEST_NOTHING_CHARS = max(map(len, _NOTHING))
# Stamped on the way here, not by the vendor: no part of a record's identity.
_RECEIPT = (
    "_TimeReceivedBySvc",
    "p_parse_time",
    "p_row_id",
    "p_source_id",
    "p_source_label",
    "p_source_file",
    "@version",
)
# Under which collectors (agents, pipelines, indexers) put the line that they read.
_TEXT_KEYS = ("message", "_raw", "raw", "rawEvent", "event.original", "log", "msg", "line", "event")


def whole(text: str) -> str:
    """Without halves of surrogate pairs, which JSON can write and UTF-8 cannot."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def clean(value: Any, depth: int = REST_DEPTH) -> Any:
    """A JSON value as it came, with whole text only; what lies deeper is left out."""
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, dict):
        return {whole(str(key)): clean(item, depth - 1) for key, item in value.items()} if depth else None
    if isinstance(value, list):
        return [clean(item, depth - 1) for item in value] if depth else None
    return value


def as_text(value: Any) -> str | None:
    """Text, or a number as text; of a list its first such element. None where a vendor writes "-" or "N/A"."""
    if isinstance(value, str):
        value = value.strip()
        if not value.isascii():
            value = whole(value)
        return None if len(value) <= _LONGEST_NOTHING_CHARS and value.lower() in _NOTHING else value
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return str(value) if abs(value) < _INT64 * 2 else None
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return str(int(value)) if value.is_integer() and abs(value) < _INT64 else repr(value)
    if isinstance(value, list):
        return next(
            (text for item in value[:MAX_ITEMS] if not isinstance(item, list) and (text := as_text(item))), None
        )
    return None


def _as_it_is(value: Any) -> Any:
    return value


def single(value: Any) -> Any:
    """The value of a list of one: search engines give every field as a list."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def as_number(value: Any) -> float | None:
    value = single(value)
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and 0 < len(value) <= _LONGEST_NUMBER_CHARS:
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, int | float) and abs(value) < _INT64 * 2:  # NaN fails this comparison
        return float(value)
    return None


def as_integer(value: Any) -> int | None:
    """A whole number within 64 bits; also of digits, of "5.000000" and of "0x1a4" in text."""
    value = single(value)
    if isinstance(value, str) and 0 < len(value) <= _LONGEST_NUMBER_CHARS:
        text = value.strip()
        try:
            value = int(text, 16) if text[:2].lower() == "0x" else int(text)
        except ValueError:
            value = as_number(text)
    if isinstance(value, float):
        value = int(value) if math.isfinite(value) and value.is_integer() else None
    if isinstance(value, int) and not isinstance(value, bool) and -_INT64 <= value < _INT64:
        return value
    return None


def inner_json(value: Any) -> Any:
    """JSON that stands in a string, read once; anything else as it is."""
    if isinstance(value, str) and value[:1] in "{[" and 1 < len(value) <= MAX_INNER_JSON_CHARS:
        try:
            return msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return value
    return value


_NO_WAYS: dict[tuple[str, ...], tuple[Way, ...]] = {}  # nothing is ever put into it


class Fields:
    """One JSON object of a record. A path such as "agent.name" is tried as one key first, then step by step.

    A key is found in any case, and where no path asked for is there, however its words are parted ("srcIp", "src_ip").
    Of keys that differ in that only, the one spelt as asked wins. Keys of several steps ("agent.name") are found as an
    object as well. `beside` holds what can be read too but is said in `data` under another name (a long name of a short
    key), and so is no part of what stays.
    """

    __slots__ = ("_beside", "_inner", "_known_ways", "_of", "data")

    def __init__(self, data: Any, beside: dict[str, Any] | None = None) -> None:
        self.data: Mapping[str, Any] = data if isinstance(data, dict) else {}
        self._beside: Fields | None = Fields(beside) if beside else None
        self._of: Keys | None = None
        self._known_ways = _NO_WAYS  # of `_of`, where nothing stands beside
        self._inner: dict[str, Fields] | None = None  # path -> the object there

    def __bool__(self) -> bool:
        return bool(self.data)

    def also(self, names: dict[str, Any]) -> "Fields":
        """The same, which can be read under further names as well."""
        return Fields(self.data, {**(self._beside.data if self._beside is not None else {}), **names})

    def without(self, *names: str) -> "Fields":
        """The same, but for what is under these names."""
        beside = self._beside.data if self._beside is not None else {}
        kept = {name: value for name, value in self.data.items() if name not in names}
        return Fields(kept, {name: value for name, value in beside.items() if name not in names})

    def put(self, **said: Any) -> None:
        """Says something under names that stand for nothing yet, or for something else."""
        self.data = {**self.data, **said}
        self._of = self._inner = None
        self._known_ways = _NO_WAYS

    def _keys(self) -> Keys:
        if self._of is None:
            self._of = keys_of(self.data)
            if self._beside is None:
                self._known_ways = self._of.known_ways
        return self._of

    def in_lower_case(self) -> KeysView[str]:
        """Its keys, each once."""
        return self._keys().folded.keys()

    def leading(self, paths: tuple[str, ...]) -> tuple[str, ...]:
        """Those of the paths at which there may be something, as far as the keys tell."""
        if self._beside is not None and self.data:
            return paths
        keys = self._of or self._keys()
        found = keys.known_leading.get(paths)
        return keys.leading(paths) if found is None else found

    def _first(self, paths: tuple[str, ...], read: Callable[[Any], _T | None]) -> _T | None:
        """What `read` makes of the first value of which it makes anything: at the paths, in their order, then at keys
        whose words are parted in another way."""
        ways = self._known_ways.get(paths)
        if ways is None:
            if self._beside is not None and self.data:
                return self._first_with_beside(self._beside, paths, read)
            ways = self._keys().ways(paths)
        return self._first_of(ways, read) if ways else None

    def _first_of(self, ways: Iterable[Way], read: Callable[[Any], _T | None]) -> _T | None:
        for key, tail, loosely in ways:
            if tail is None:
                value = self.data[key]
            else:
                inside = self._inside(key)
                value = inside.raw(tail) if loosely else inside._at(tail)
            if value is not None and (found := read(value)) is not None:
                return found
        return None

    def _first_with_beside(
        self, beside: "Fields", paths: tuple[str, ...], read: Callable[[Any], _T | None]
    ) -> _T | None:
        if not beside.leading(paths) and not self._keys().ways(paths):
            return None
        for path in paths:
            value = self._at(path)
            if value is not None and (found := read(value)) is not None:
                return found
        return self._first_of(self._keys().loosely(paths), read)

    def _at(self, path: str) -> Any:
        """What is at a path whose words are parted as in it."""
        if not self.data:
            return None
        value = self.data.get(path)
        if value is None:
            ways = self._keys().strict(path)
            value = self._first_of(ways, _as_it_is) if ways else None
        return self._beside._at(path) if value is None and self._beside is not None else value

    def raw(self, *paths: str) -> Any:
        """The first value that is there."""
        return self._first(paths, _as_it_is)

    def has(self, *paths: str) -> bool:
        if self._first(paths, _as_it_is) is not None:
            return True
        return self._keys().has_steps and any(self._inside(path).data for path in self.leading(paths))

    def text(self, *paths: str) -> str | None:
        if self._known_ways.get(paths) == ():  # most are asked for what is not there
            return None
        return self._first(paths, as_text)

    def number(self, *paths: str) -> float | None:
        return self._first(paths, as_number)

    def integer(self, *paths: str) -> int | None:
        return self._first(paths, as_integer)

    def flag(self, *paths: str) -> bool | None:
        for path in self.leading(paths):
            value = single(self.raw(path))
            if isinstance(value, bool):
                return value
            if isinstance(value, str) and value.lower() in ("true", "false", "yes", "no"):
                return value.lower() in ("true", "yes")
        return None

    def object(self, *paths: str) -> "Fields":
        """An object (the first of a list of them), also one in a string of JSON; an empty one where there is none."""
        for path in self.leading(paths):
            found = self._inside(path)
            if found.data:
                return found
        return _NO_FIELDS

    def _inside(self, path: str) -> "Fields":
        if self._inner is None:
            self._inner = {}
        found = self._inner.get(path)
        if found is None:
            value = self._at(path)
            value = inner_json(self._gathered(path) if value is None else value)
            if isinstance(value, list):
                value = next((item for item in value[:MAX_ITEMS] if isinstance(item, dict)), None)
            found = self._inner[path] = Fields(value) if isinstance(value, dict) else _NO_FIELDS
        return found

    def _gathered(self, path: str) -> Any:
        """The object whose members are keys of several steps: {"agent.name": "a", "agent.id": 1} at "agent"; else what
        is there under other spellings.
        """
        if members := self._keys().gathered(path):
            return {behind: self.data[key] for key, behind in members}
        return self._first_of(self._keys().loosely((path,)), _as_it_is)

    def objects(self, *paths: str) -> list["Fields"]:
        """The objects of a list (at most MAX_ITEMS), or one object alone; also written as JSON in a string."""
        for path in self.leading(paths):
            value = inner_json(self.raw(path))
            if value is None:
                value = self.object(path).data or None  # of keys of several steps
            if value is None:
                continue
            items = value[:MAX_ITEMS] if isinstance(value, list) else [value]
            found = [Fields(item) for item in map(inner_json, items) if isinstance(item, dict)]
            if found:
                return found
        return []

    def each(self, path: str) -> list["Fields"]:
        """The objects of a list, all of them: of an envelope, whose members are records of their own."""
        value = inner_json(self._at(path))
        return [Fields(item) for item in value if isinstance(item, dict)] if isinstance(value, list) else []

    def texts(self, *paths: str) -> list[str]:
        """The texts of a list (also one in a string), or one text alone; each once, in order.

        A path leads through lists of objects: "attacks.tactic" gives the tactic of each.
        """
        for path in self.leading(paths):
            items = self._each(path)
            if not items:
                continue
            found = [text for item in items if not isinstance(item, list) and (text := as_text(item)) is not None]
            if found:
                return list(dict.fromkeys(found))
        return []

    def _each(self, path: str) -> list[Any]:
        """The values at a path, of every object where it leads through lists; at most MAX_ITEMS."""
        head, dot, tail = path.partition(".")
        within = inner_json(self.raw(head)) if dot else None
        if isinstance(within, list | dict):
            found = [item for inside in self.objects(head) for item in inside._each(tail)]
            if found:
                return found[:MAX_ITEMS]
        value = inner_json(self.raw(path))
        if value is None:
            return []
        return value[:MAX_ITEMS] if isinstance(value, list) else [value]

    def rest(self, used: frozenset[str] = frozenset()) -> dict[str, Any]:
        """What stays under the vendor's names: the keys not in `used` (lower case), without empty values, cut to size.

        What was cut is named in `cutFields`; the raw record holds it whole.
        """
        budget = [REST_NODES]
        cut: list[str] = []
        kept: dict[str, Any] = {}
        for key, value in self.data.items():
            if isinstance(key, str) and key.lower() not in used and not key.startswith(("@", "p_")):
                small = _cut(value, REST_DEPTH, budget, cut, key)
                if small is not None:
                    kept[whole(key)] = small
        if cut:
            kept["cutFields"] = [whole(key) for key in dict.fromkeys(cut)][:MAX_ITEMS]
        return kept


_NO_FIELDS = Fields(None)


def _cut(value: Any, depth: int, budget: list[int], cut: list[str], name: str) -> Any:
    """A copy without empty parts, within the budget of nodes; where something was left out, `cut` gets the name."""
    budget[0] -= 1
    if budget[0] < 0 or depth < 0:
        cut.append(name)
        return None
    if isinstance(value, str):
        if len(value) > REST_TEXT_CHARS:
            cut.append(name)
            value = value[:REST_TEXT_CHARS]
        return (value if value.isascii() else whole(value)) or None
    if isinstance(value, dict):
        parts = {
            whole(key): small
            for key, item in value.items()
            if isinstance(key, str)
            and budget[0] > 0
            and (small := _cut(item, depth - 1, budget, cut, name)) is not None
        }
        if budget[0] <= 0:
            cut.append(name)
        return parts or None
    if isinstance(value, list):
        if len(value) > MAX_ITEMS:
            cut.append(name)
        items = [_cut(item, depth - 1, budget, cut, name) for item in value[:MAX_ITEMS] if budget[0] > 0]
        return [item for item in items if item is not None] or None
    if isinstance(value, bool):
        return value
    return value if as_number(value) is not None else None


def strings(value: Any) -> Iterator[str]:
    """Every text of a record, keys included, breadth first; stops after MAX_NODES."""
    level = [value]
    left = MAX_NODES
    while level and left > 0:
        deeper: list[Any] = []
        for item in level[:left]:
            if isinstance(item, str):
                yield item
            elif isinstance(item, dict):
                deeper.extend(item)
                deeper.extend(item.values())
            elif isinstance(item, list):
                deeper.extend(item)
        left -= len(level)
        level = deeper


# Keys under which collectors put the record that they took, and those that they add beside it. An object that has no
# others is a wrapping.
_TAKEN = ("_raw", "@raw", "raw", "rawEvent", "event.original", "original", "message", "log", "event", "_source")
_TAKEN_KEYS = frozenset(_TAKEN)
_STAMPS = frozenset(
    """
    @timestamp @version @metadata _time _indextime _index _id _type _score timestamp time date ts agent ecs input fields
    fileset service host hostname source sourcetype sourcehost source_type index path port type tag tags stream
    splunk_server kubernetes docker facility severity priority appname app-name programname procid msgid pid offset
    topic partition key loggroup logstream ingestiontime ident event_original observer data_stream elastic_agent
    """.split()
)
# Keys of lists in answers of APIs and in batches, and those that stand beside such a list.
_PAGE = (
    "value",
    "records",
    "data",
    "items",
    "results",
    "events",
    "alerts",
    "logs",
    "resources",
    "entries",
    "logEvents",
)
_PAGING = frozenset(
    """
    @odata.context @odata.count @odata.nextlink nextlink next nextpage nextpagetoken next_page nextcursor next_cursor
    cursor previous prev first last links count total totalcount total_count totalitems totalresults size page pages
    pagesize per_page limit offset pagination paging meta metadata errors has_more hasmore more success ok took
    timed_out status code message kind etag result_count resultcount
    """.split()
)
_MAX_WRAPPINGS = 3
_TAIL = re.compile(r"(?<=\})(?:\s|\x00|#01[25]|\\[rn]|[;,'\"])+$")  # a line's end as relays write it
_MAX_TAIL_CHARS = 16
# What Splunk sends of each result of a search: a webhook of an alert, the export of a search as JSON.
_SEARCHED = frozenset(
    "preview offset lastrow result sid search_name app owner results_link search_uri server_host".split()
)


def _searched(data: Any) -> Any:
    """The result that Splunk sends; what is no such wrapping as it is."""
    inner = data.get("result") if isinstance(data, dict) else None
    return inner if isinstance(inner, dict) and data.keys() <= _SEARCHED else data


def _of_splunk(keys: KeysView[str]) -> bool:
    """A result of a search: the line as it came, with the fields that Splunk took out of it."""
    return "_raw" in keys and not keys.isdisjoint(("_indextime", "_cd", "splunk_server", "sourcetype"))


def _within(data: dict[str, Any]) -> Any:
    """What a wrapping holds: an object, a list of them, or a line of text; None where the object is none."""
    held = envelopes.inside(data)
    if held is not None:
        return read_held(held)
    fields = Fields(data)
    keys = fields.in_lower_case()
    for name in () if keys.isdisjoint(_PAGE) else _PAGE:
        if name in keys and keys - {name} <= _PAGING:
            inner = fields.raw(name)
            if isinstance(inner, list) and inner and all(isinstance(item, dict) for item in inner):
                return inner
    taken = keys & _TAKEN_KEYS
    if (inner := _searched(data)) is not data:
        return inner
    if not taken or not (keys - taken <= _STAMPS or _of_splunk(keys)):
        return None
    for name in _TAKEN:
        value = single(fields.raw(name))
        inner = inner_json(value)
        if isinstance(inner, str | dict) and inner and (isinstance(value, str) or len(keys) > 1):
            return inner  # an object that stands alone is a record of its own form: {"Event": {...}}
    return None


def read_held(held: Any) -> Any:
    """What an envelope holds, texts of JSON read; of a list its objects where all are such, else its lines of text."""
    if not isinstance(held, list):
        inner = inner_json(held)
        return inner if isinstance(inner, dict | list) else held
    found = [read_held(one) for one in held]
    objects = [one if isinstance(one, dict) else _behind_header(one) for one in found if isinstance(one, str | dict)]
    if objects and all(isinstance(one, dict) for one in objects):
        return objects
    return [one for one in found if isinstance(one, str)] or None


def opened(record: Record) -> Record:
    """The record; of a line that ends in a JSON object, behind a header such as that of Syslog, with it as its data."""
    data = _behind_header(record.text) if record.data is None else None
    return record if data is None else msgspec.structs.replace(record, data=data)


def _behind_header(text: str) -> Any:
    """The JSON object that ends a line, behind a header such as that of Syslog."""
    begin = text.find("{", 0, _MAX_HEADER_CHARS)
    inner = object_in(text[begin:]) if begin > 0 else None
    return inner if isinstance(inner, dict) else None


def object_in(text: str) -> Any:
    """The JSON that a text begins with, where nothing follows but what relays leave at the end of a line."""
    text = text.strip()
    if text[-1:] != "}" and (tail := _TAIL.search(text, max(len(text) - _MAX_TAIL_CHARS, 0))) is not None:
        text = text[: tail.start()]
    return inner_json(text)


def _innermost(data: Any) -> Any:
    """What is in wrappings, and in those within them: a line of text, an object, or a list of objects."""
    for _ in range(_MAX_WRAPPINGS):
        within = _within(data) if isinstance(data, dict) else None
        if within is None:
            break
        data = within
    return data


def objects_of(record: Record, *wrappers: str, taken: bool = True) -> list[Fields]:
    """The objects of a record: itself, those of a list, or those under a wrapper key ("Records", "resources", ...).

    They are found too in what a collector or an answer of an API puts around them, unless `taken` is false.
    A line of text holds none.
    """
    data = record.data
    if data is None:
        data = _behind_header(record.text)
    for _ in range(_MAX_WRAPPINGS):
        if not isinstance(data, dict):
            break
        fields = Fields(data)
        for name in wrappers:
            inner = fields.raw(name)
            if isinstance(inner, list) and inner and all(isinstance(item, dict) for item in inner):
                if not (taken and envelopes.inside(data) is not None):
                    return [Fields(item) for item in inner]
            elif isinstance(inner, dict):
                return [Fields(inner)]
        within = _within(data) if taken else None
        within = _behind_header(within) if isinstance(within, str) else within
        if within is None or (isinstance(within, list) and all(isinstance(one, str) for one in within)):
            return [fields]
        data = within
    if isinstance(data, list):
        return [Fields(item) for item in data if isinstance(item, dict)]
    return [Fields(data)] if isinstance(data, dict) else []


def lines_of(record: Record) -> list[str]:
    """The text of a record that is no JSON, also in what a collector puts around it; nothing where it is an object."""
    return [_whole_line(text) for text in _held(record) if isinstance(text, str)]


def texts_of(record: Record, *keys: str) -> list[str]:
    """The text of a record, or where a collector wrapped it in JSON the text under a key of each object."""
    found = (one if isinstance(one, str) else Fields(one).text(*keys, *_TEXT_KEYS) for one in _held(record))
    return [_whole_line(text) for text in found if text is not None]


def _held(record: Record) -> list[Any]:
    """The line of a record, or what is in the wrappings of its object, or of each of a list."""
    if not isinstance(record.data, dict | list):
        return [record.text]
    data = _innermost(record.data)
    return [_innermost(item) for item in data[: envelopes.MAX_HELD]] if isinstance(data, list) else [data]


def _whole_line(text: str) -> str:
    """Without the end of the line where a relay wrote it as text."""
    text = text.rstrip("\x00\r\n ")
    return text[:-4].rstrip() if text.endswith(("#015", "#012")) else text


def content_id(data: Any) -> str:
    """An id for a record that has none: the hash of its canonical JSON without what was stamped on receipt."""
    if isinstance(data, dict):
        data = {key: value for key, value in data.items() if key not in _RECEIPT}
    try:
        canonical = json.dumps(data, sort_keys=True, separators=(",", ":"), default=str)
    except (TypeError, ValueError, RecursionError):
        canonical = repr(type(data)) + ":".join(strings(data))
    return sha256(canonical.encode()).hexdigest()


def joined(*parts: str | None) -> str | None:
    """The parts that are there with ":" between, None if one is missing: an id made of fields."""
    return None if any(part is None for part in parts) else ":".join(str(part) for part in parts)
