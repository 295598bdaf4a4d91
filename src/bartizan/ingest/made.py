"""What a source makes of one record, ready for the store and the lake. Pure: no clock, no store.

A record that its source cannot read, or that the store could not keep as an alert, becomes a row of GenericEvents that
holds its text whole: never lost, never an error for the records beside it.
"""

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any, TypeAlias

import structlog
from msgspec import Struct
from msgspec.structs import replace

from bartizan.errors import BartizanError
from bartizan.extend import Event, GraphObject, Record, Said, Source
from bartizan.ingest import records
from bartizan.lake import tables
from bartizan.model import entities, faces, times
from bartizan.model.alert import Alert, Observed
from bartizan.store.alerts import Prepared, check_columns, legacy_draft, prepare, today_draft
from bartizan.store.draft import draft
from bartizan.store.interface import Collection, Draft, Entity
from bartizan.store.said import brought
from bartizan.store.sql import MAX_INDEXED_BYTES

Given: TypeAlias = tuple[bytes, Said | None]  # a raw record, and what the way by which it came says of it

GENERIC_TABLE = "GenericEvents"
MAX_ITEMS = 1_000  # alerts, events and objects of one record; a report with more findings is to be split
MAX_TABLE_CHARS = 200  # of a name that no table has
MAX_MESSAGE_CHARS = 32_768  # of the Message column; AdditionalFields.raw has it all

_UPDATED = ("lastUpdateDateTime", "lastUpdatedDateTime", "lastModifiedDateTime", "riskLastUpdatedDateTime")
_HOSTS = ("HostName", "Computer", "DeviceName", "DvcHostname")  # of the tables, whichever they have

_log = structlog.get_logger(__name__)


class Brought(Struct, frozen=True, kw_only=True):
    """A Graph object, ready to be stored if nobody has stored it before; otherwise as its next version."""

    draft: Draft
    item: GraphObject
    version: str | None  # when the provider made this version: as the object says, or the way by which it came


class Made(Struct, kw_only=True):
    """One record's alerts, event rows and Graph objects."""

    source: str  # that read it
    raw: bytes
    sha256: str
    alerts: list[Prepared] = []
    rows: list[tuple[str, dict[str, Any]]] = []
    objects: list[Brought] = []
    warning: str | None = None  # why the record was kept as a generic event


class Items(Struct, kw_only=True):
    """What a source gave for a record, by kind."""

    alerts: list[Alert] = []
    events: list[Event] = []
    objects: list[GraphObject] = []

    def observed(self) -> list[Observed]:
        """Entities of the events and objects; those of alerts come with their faces."""
        items: list[Event | GraphObject] = [*self.events, *self.objects]
        return [one for item in items for one in item.entities]


def normalised(source: Source, record: Record) -> Items:
    """Runs the source. What it raises is the caller's to describe."""
    found = Items()
    for number, item in enumerate(source.normalise(record)):
        if number >= MAX_ITEMS:
            raise ValueError(f"the record holds more than {MAX_ITEMS} alerts, events or objects")
        if isinstance(item, Alert):
            found.alerts.append(item)
        elif isinstance(item, Event):
            found.events.append(item)
        elif isinstance(item, GraphObject):
            found.objects.append(item)
        else:
            raise TypeError(f"{source.name} gave a {type(item).__name__}")
    if not (found.alerts or found.events or found.objects):
        raise ValueError(f"{source.name} made nothing of the record")
    return found


def make(
    source: Source, given: Sequence[Given], tenant: str, received: str, collections: Mapping[str, Collection]
) -> list[Made]:
    """Everything that raw records become, in their order; never raises for what they hold. What is said beside a
    record fills in what is missing.

    Each step is taken for all of them before the next one: a processor that does the same again has it in its caches,
    which saves a sixth of the time.
    """
    every = [_Making(source, raw, said, tenant, received, collections) for raw, said in given]
    for step in (_Making.read, _Making.state, _Making.today, _Making.legacy, _Making.finish):
        for one in every:
            one.take(step)
    return [one.result() for one in every]


class _Making:
    """A record on its way: steps, each of which may raise, and ends the way then."""

    def __init__(
        self,
        source: Source,
        raw: bytes,
        said: Said | None,
        tenant: str,
        received: str,
        collections: Mapping[str, Collection],
    ) -> None:
        record = records.record(raw)
        self._record = record if said is None else replace(record, said=said)
        self._digest = sha256(record.raw).hexdigest()
        self._source = source.chosen(self._record)
        self._tenant, self._received, self._collections = tenant, received, collections
        self._items = Items()
        self._states: list[faces.AlertState] = []
        self._today: list[Draft] = []
        self._legacy: list[Draft] = []
        self._made: Made | None = None
        self._why: str | None = None

    def take(self, step: Callable[["_Making"], None]) -> None:
        if self._why is not None:
            return
        try:
            step(self)
        except Exception as error:  # noqa: BLE001 - the edge of the stage: sources meet whatever the world writes
            self._why = described(error)
            _log.debug("ingest.record_kept_as_text", source=self._source.name, sha256=self._digest, error=self._why)

    def read(self) -> None:
        self._items = normalised(self._source, self._record)
        if self._record.said is not None:
            complete(self._items, self._record.said)

    def state(self) -> None:
        for alert in self._items.alerts:
            state = faces.provider_faces(alert, self._tenant, self._received, raw_sha256=self._digest)
            self._states.append(faces.unmarked(state))

    def today(self) -> None:
        self._today = [today_draft(state) for state in self._states]

    def legacy(self) -> None:
        self._legacy = [legacy_draft(state) for state in self._states]

    def finish(self) -> None:
        alerts = [
            Prepared(today, legacy, state.incident, self._record.raw, self._digest)
            for state, today, legacy in zip(self._states, self._today, self._legacy, strict=True)
        ]
        for each in alerts:
            check_columns(each, MAX_INDEXED_BYTES)
        self._made = Made(
            source=self._source.name,
            raw=self._record.raw,
            sha256=self._digest,
            alerts=alerts,
            rows=[placed(event) for event in self._items.events],
            objects=[_brought(item, self._collections, self._record.said) for item in self._items.objects],
        )

    def result(self) -> Made:
        if self._made is not None:
            return self._made
        return generic(self._record, self._digest, self._source.name, self._received, str(self._why))


def complete(items: Items, said: Said) -> None:
    """Time and host from the way by which a record came, where the record has none."""
    for alert in items.alerts:
        if alert.first_activity is None and alert.last_activity is None:
            alert.first_activity = alert.last_activity = said.at
    for event in items.events:
        columns = tables.table(event.table)
        if said.at is not None and columns is not None and not any(name in event.row for name in tables.TIMES):
            event.row.update({name: said.at for name in tables.TIMES if name in columns.columns})
        if said.host and columns is not None and not any(name in event.row for name in _HOSTS):
            event.row.update({name: said.host for name in _HOSTS if name in columns.columns})


def described(error: Exception) -> str:
    """The same words for the same fault."""
    text = error.message if isinstance(error, BartizanError) else str(error)
    return f"{type(error).__name__}: {text}"[:500]


def generic(record: Record, digest: str, source: str, received: str, why: str) -> Made:
    text = record.text.replace("\0", "\ufffd")
    row = {
        "Timestamp": received,
        "EventType": "unreadable",
        "Message": text[:MAX_MESSAGE_CHARS],
        "AdditionalFields": {
            "raw": text,
            "source": source,
            "rawSha256": digest,
            "error": why,
            "timeSource": "received",
        },
    }
    return Made(source=source, raw=record.raw, sha256=digest, rows=[(GENERIC_TABLE, row)], warning=why)


def prepared(alert: Alert, tenant: str, received: str, raw: bytes, digest: str) -> Prepared:
    state = faces.provider_faces(alert, tenant, received, raw_sha256=digest)
    made = prepare(state, raw=raw, raw_sha256=digest)
    check_columns(made, MAX_INDEXED_BYTES)
    return made


def placed(event: Event) -> tuple[str, dict[str, Any]]:
    """The row with its table; of a table that nobody declared (a record may name one) in GenericEvents. A row without a
    time gets one from the lake."""
    if tables.table(event.table) is not None or tables.table(GENERIC_TABLE) is None:
        return event.table, event.row
    return GENERIC_TABLE, {
        "EventType": event.table[:MAX_TABLE_CHARS],
        **_times(event.row),
        "AdditionalFields": event.row,
    }


def _times(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in tables.TIMES if name in row}


def object_draft(item: GraphObject, collections: Mapping[str, Collection], version: str | None = None) -> Draft:
    """KeyError for a set that nobody declares."""
    collection = collections.get(item.collection)
    if collection is None:
        raise KeyError(f"no collection '{item.collection}' is declared")
    body = brought(collection, item.body, version)
    return draft(collection, body, str(item.body["id"]), entities=named_in(item))


def named_in(item: GraphObject) -> list[Entity]:
    return [Entity(one.kind, one.value, one.role) for one in entities.distinct(item.entities)]


def _brought(item: GraphObject, collections: Mapping[str, Collection], said: Said | None) -> Brought:
    version = _version(item.body) or _instant(None if said is None else said.at)
    made = object_draft(item, collections, version)
    return Brought(draft=made, item=item, version=version)


def _version(body: Mapping[str, Any]) -> str | None:
    return next((at for name in _UPDATED if (at := _instant(body.get(name))) is not None), None)


def _instant(value: Any) -> str | None:
    try:
        return times.parse(value) if isinstance(value, str) else None
    except ValueError:
        return None


def known_key(made: Made) -> str:
    """Of the mark that a record with events leaves, so that its repeat is recognised."""
    return sha256(f"{made.source}\0{made.sha256}".encode()).hexdigest()[:32]


def all_observed(items: Items, states: Sequence[faces.AlertState]) -> list[Observed]:
    """The entities of a record, each once: of its alerts, then of events and objects."""
    return entities.distinct([*(one for state in states for one in state.entities), *items.observed()])
