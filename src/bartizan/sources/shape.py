"""A source said in paths: what most vendors need, whose alerts are one JSON object or one line each.

A subclass names, for each property of an alert, the paths at which its records hold it, and adds in code only what
paths cannot say: which entities a record names, and corrections of the alert made.

    class Example(Shape):
        name, vendor, product = "example", "Example Inc.", "Sensor"
        table = "ExampleEvents"  # of what is no alert; declared with `columns` beside the common ones
        columns = {"SiteName": "site.name", "Bytes": "long net.bytes"}
        alert = Paths(id="id", title="name", severity="sev", first="start", last="end", detector="rule.id")

        def entities(self, fields: Fields, evidence: Evidence) -> None:
            evidence.host(fields.text("host"))
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import ClassVar, Literal

from msgspec import Struct

from bartizan.extend import Event, GraphObject, Record, Source
from bartizan.model.alert import Alert, Severity
from bartizan.sources import attack, cef, leef, leftover
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, content_id, lines_of, objects_of
from bartizan.sources.generic import guess_event, unread
from bartizan.sources.keys import paths_of
from bartizan.sources.severity import of_hundred, of_word
from bartizan.sources.tables import TABLES, came, declare_table
from bartizan.sources.tables import columns as read_columns
from bartizan.sources.times import carried, first_time

Status = Literal["new", "inProgress", "resolved"]

# What vendors call the states of their alerts; a source adds its own words in `Paths.statuses`.
_STATUSES: Mapping[str, Status] = {
    **dict.fromkeys(("new", "open", "opened", "active", "firing", "unresolved", "reopened", "created"), "new"),
    **dict.fromkeys(
        ("inprogress", "investigating", "underinvestigation", "acknowledged", "assigned", "triaged", "pending"),
        "inProgress",
    ),
    **dict.fromkeys(
        ("resolved", "closed", "dismissed", "fixed", "archived", "done", "completed", "inactive", "cleared"),
        "resolved",
    ),
}
_VERDICTS: Mapping[str, str] = {
    "truepositive": "truePositive",
    "confirmed": "truePositive",
    "falsepositive": "falsePositive",
    "benignpositive": "informationalExpectedActivity",
    "benign": "informationalExpectedActivity",
    "expected": "informationalExpectedActivity",
}


def _folded(word: str) -> str:
    return "".join(letter for letter in word.lower() if letter.isalnum())


class Paths(Struct, frozen=True, kw_only=True):
    """Where an alert's properties stand: paths of `Fields`, tried in turn, with spaces between them."""

    id: str = ""  # the vendor's own id; "site+number" joins two; without one the hash of the content
    title: str = ""
    description: str = ""
    severity: str = ""  # a word...
    words: Mapping[str, Severity] = {}  # ...of the vendor's own, in lower case, where `of_word` has it not
    score: str = ""  # ...or a number, where no word is known
    scale: Callable[[float | None], Severity] = of_hundred
    category: str = "SuspiciousActivity"  # where neither a tactic nor `categories` says more
    vendor_category: str = ""
    categories: Mapping[str, str] = {}  # the vendor's category in lower case -> ours
    tactics: str = ""  # names or ids of ATT&CK tactics
    techniques: str = ""  # names of ATT&CK techniques; ids are found wherever they stand
    detector: str = ""
    first: str = ""
    last: str = ""  # without one it is `first`
    created: str = ""
    updated: str = ""
    status: str = ""
    statuses: Mapping[str, Status] = {}  # the vendor's words, letters and digits of them, in lower case
    verdict: str = ""
    verdicts: Mapping[str, str] = {}
    assigned: str = ""
    actions: str = ""  # recommended ones
    sub_provider: str = ""
    version: str = ""
    threat: str = ""
    family: str = ""
    actor: str = ""
    url: str = ""
    confidence: str = ""  # 0 to 100
    tags: str = ""
    cves: str = ""
    fold: str = ""  # what a repeat shares beside the detector: host, user, addresses
    detection_source: str = "unknown"


class Shape(Source):
    """A source whose alerts are said by `alert`; without it, all its records are events."""

    table: ClassVar[str] = "GenericEvents"
    columns: ClassVar[Mapping[str, str]] = {}  # of the table, beyond the common ones: name -> how to read, paths
    wrappers: ClassVar[tuple[str, ...]] = ()  # keys of lists in which an answer of the vendor's API holds its records
    alert: ClassVar[Paths | None] = None
    also_events: ClassVar[bool] = False  # of a log in which some records are alerts: these are events as well
    _used: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._used = _used(cls.alert or Paths())
        if cls.table not in TABLES or cls.columns:
            declare_table(cls.table, cls.columns)

    # ------------------------------------------------------------ what a subclass may say in code

    def read(self, record: Record) -> Iterable[Fields]:
        """The objects of a record; none where it is no record of this format."""
        pages = [key for key in self.wrappers if isinstance(Fields(record.data).raw(key), list)]
        found = objects_of(record, *pages)
        if pages or len(found) != 1 or found[0].data is record.data:
            return found
        held = (found[0].each(key) for key in self.wrappers)  # a page of the API in what carried it
        return next((items for items in held if items), found)

    def is_alert(self, fields: Fields) -> bool:
        return self.alert is not None and fields.has(*paths_of(self.alert.title))

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        """Hands over what the object names."""

    def finish(self, fields: Fields, alert: Alert) -> None:
        """Corrects what paths said."""

    def event(self, fields: Fields) -> Iterator[Event | GraphObject]:
        """What an object that is no alert becomes."""
        evidence: Evidence | None = None
        if type(self).entities is not Shape.entities:
            evidence = Evidence()
            self.entities(fields, evidence)
        yield guess_event(fields, self.table, evidence, read_columns(fields, self.columns))

    # ------------------------------------------------------------ the rest follows

    def normalise(self, record: Record) -> Iterator[Alert | Event | GraphObject]:
        found = False
        for fields in self.read(record):
            found = True
            if self.is_alert(fields):
                yield self.made(record, fields)
                if not self.also_events:
                    continue
            elif fields.data is record.data and _carries(record):
                yield from unread(record, self.table)
                continue
            yield from (came(one, record) for one in self.event(fields))
        if not found:
            yield from unread(record, self.table)

    def made(self, record: Record, fields: Fields) -> Alert:
        """The alert that `alert` says, with its entities, after `finish`."""
        at = self.alert or Paths()
        first = first_time(fields, *paths_of(at.first))
        last = first_time(fields, *paths_of(at.last)) or first
        evidence = Evidence(first)
        self.entities(fields, evidence)
        level, word = _severity(fields, at)
        tactics = attack.tactics(*fields.texts(*paths_of(at.tactics)))
        category = fields.text(*paths_of(at.vendor_category))
        ours = tactics[0] if tactics else _category(category, at)
        detector = fields.text(*paths_of(at.detector))
        techniques = attack.techniques(record, fields.data)
        if at.techniques:
            techniques = attack.with_named(techniques, fields.texts(*paths_of(at.techniques)))
        alert = Alert(
            vendor=self.vendor,
            product=self.product,
            provider_alert_id=_id(fields, at.id),
            title=fields.text(*paths_of(at.title)) or f"{self.product} alert",
            severity=level,
            vendor_severity=word,
            category=ours,
            categories=tactics or [ours],
            vendor_category=category,
            techniques=techniques,
            detector_id=detector,
            detection_source=at.detection_source,
            first_activity=first or last,
            last_activity=last,
            source_created=first_time(fields, *paths_of(at.created)),
            source_updated=first_time(fields, *paths_of(at.updated)),
            tags=fields.texts(*paths_of(at.tags)),
            vulnerabilities=fields.texts(*paths_of(at.cves)),
            evidence=evidence.items,
            entities=list(evidence.observed),
            additional=fields.rest(self._used) | evidence.unsaid,
        )
        _say(fields, at, alert)
        alert.fingerprint = _fingerprint(fields, at, alert)
        self.finish(fields, alert)
        _complete(record, fields, alert)
        return leftover.proven(alert, fields.data)


_CATEGORIES: Mapping[str, str] = {
    name.lower(): name
    for name in (
        "Malware",
        "SuspiciousActivity",
        "UnwantedSoftware",
        "Ransomware",
        "Phishing",
        "Exploit",
        "Misconfiguration",
        "Vulnerability",
    )
}


def _carries(record: Record) -> bool:
    """Whether a collector put lines of CEF or LEEF into JSON, which the source does not read as such."""
    return any(cef.read(text) or leef.read(text) for text in lines_of(record))


def _category(word: str | None, at: Paths) -> str:
    """Ours for the vendor's word: as the source says, by a tactic's name, or where it is one of our own words."""
    if word is None:
        return at.category
    return at.categories.get(word.lower()) or attack.tactic(word) or _CATEGORIES.get(_folded(word)) or at.category


# Where vendors put what the paths of a source did not find.
_TIMES = (
    "eventTime event_time timestamp @timestamp time detectedAt detected_at createdAt created_at created rt "
    "TimeGenerated"
).split()
_LEVELS = (
    "severity severityName severityLevel severityLabel riskLevel threatLevel criticality priority risk level".split()
)


def _complete(record: Record, fields: Fields, alert: Alert) -> None:
    """What the source left open, from the keys that are common: a record of another version than it knows."""
    if alert.severity == "unknown":
        words = [word for path in _LEVELS if of_word(word := fields.text(path)) != "unknown"]
        if words:
            alert.severity, alert.vendor_severity = of_word(words[0]), alert.vendor_severity or words[0]
    if alert.first_activity is None and alert.last_activity is None:
        alert.first_activity = alert.last_activity = first_time(fields, *_TIMES) or carried(record)


def _say(fields: Fields, at: Paths, alert: Alert) -> None:
    """The properties that are a text at a path, and the provider's state."""
    alert.description = fields.text(*paths_of(at.description))
    alert.assigned_to = fields.text(*paths_of(at.assigned))
    alert.recommended_actions = fields.text(*paths_of(at.actions))
    alert.sub_provider = fields.text(*paths_of(at.sub_provider))
    alert.product_version = fields.text(*paths_of(at.version))
    alert.threat_name = fields.text(*paths_of(at.threat))
    alert.threat_family = fields.text(*paths_of(at.family))
    alert.actor = fields.text(*paths_of(at.actor))
    alert.url = fields.text(*paths_of(at.url))
    confidence = fields.number(*paths_of(at.confidence))
    alert.confidence = round(confidence) if confidence is not None and 0 <= confidence <= 100 else None
    state = _folded(fields.text(*paths_of(at.status)) or "")
    alert.status = at.statuses.get(state) or _STATUSES.get(state, "new")
    verdict = _folded(fields.text(*paths_of(at.verdict)) or "")
    alert.classification = at.verdicts.get(verdict) or _VERDICTS.get(verdict)


def _id(fields: Fields, paths: str) -> str:
    for path in paths_of(paths):
        parts = [fields.text(part) for part in path.split("+")]
        if all(parts):
            return ":".join(part for part in parts if part)
    return content_id(fields.data)


def _severity(fields: Fields, at: Paths) -> tuple[Severity, str | None]:
    """Our word and the vendor's own."""
    word = fields.text(*paths_of(at.severity))
    if word is not None:
        known = at.words.get(word.lower()) or of_word(word)
        if known != "unknown" or not at.score:
            return known, word
    score = fields.number(*paths_of(at.score))
    return (at.scale(score), fields.text(*paths_of(at.score))) if score is not None else ("unknown", word)


def _fingerprint(fields: Fields, at: Paths, alert: Alert) -> tuple[str, ...]:
    """Empty where nothing says what a repeat would share: then only the same id is one."""
    parts = [fields.text(path) or "" for path in paths_of(at.fold)]
    return (alert.detector_id or alert.title, *parts) if any(parts) else ()


_HEADER = frozenset({"devicevendor", "deviceproduct", "deviceversion", "deviceseverity"})  # of CEF and LEEF
_NOT_PATHS = frozenset("words scale categories techniques statuses verdicts category detection_source fold".split())


def _used(at: Paths) -> frozenset[str]:
    """Top-level keys that stand elsewhere in the alert and so need no second place."""
    texts: list[str] = [getattr(at, name) for name in at.__struct_fields__ if name not in _NOT_PATHS]
    return _HEADER | frozenset(
        path.lower() for text in texts for each in text.split() for path in each.split("+") if "." not in path
    )
