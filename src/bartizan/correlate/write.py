"""What the engine decided, as documents: incidents, their alerts, and why each alert is in its incident.

Source: microsoft.graph.security.incident, microsoft.graph.security.correlationReason.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec import Struct, field

from bartizan.correlate.engine import Engine
from bartizan.correlate.facts import Names, instant_of
from bartizan.correlate.incident import Folded, Incident, Link, Merged, Node, Opened, Placed, Step
from bartizan.correlate.rank import Shown, Telling, priority
from bartizan.correlate.suppress import SUPPRESSIONS
from bartizan.model import faces
from bartizan.model.stamps import UPDATED
from bartizan.odata.tree import Compare, Literal, Path
from bartizan.store.alerts import (
    ALERTS_V2,
    ARRANGED,
    FOLLOWING,
    INCIDENTS,
    Changes,
    Placing,
    fold_alerts,
    follow_head,
    following,
    mark_alert,
    place_alert,
    placing,
    state_of,
    suppress_alert,
)
from bartizan.store.draft import draft, inner, spliced
from bartizan.store.interface import Ahead, Collection, Draft, Stored, TenantStore, Tx
from bartizan.store.said import brought

ACTOR = "bartizan correlate"
SOURCE = "source"  # as who made a link: the alert's source put it there
_BEFORE = "0001-01-01T00:00:00.0000000Z"  # version of an incident of a source of which no record has come yet
CHUNK = 50  # alerts that one transaction moves after a merge
LINKS = Collection(name="correlationLinks", feed=False)  # by alert, where earlier programs kept what `faces.LINK` says
PENDING = "correlate/pending"  # merges whose alerts have not all moved yet: (source, target)
AHEAD = 600  # documents of a set that are read before the write; a batch has more only where many waited for one
_UNREAD = object()
_encode = msgspec.json.Encoder().encode
_OURS = ("displayName", "severity", "summary")  # which a person may say otherwise


class _Detector(Struct):
    detector: Any = None


class _Priority(Struct):
    detectors: list[_Detector] = []


class _Known(Struct):
    """Of what correlation has kept with an incident."""

    said: dict[str, Any] | None = None
    priority: _Priority | None = None  # by its detectors similar incidents are found: entities of INCIDENTS


class _Before(Struct):
    """Of an incident in the store what correlation writes: most of it is not looked at."""

    displayName: Any = None
    severity: Any = None
    summary: Any = None
    priorityScore: Any = None
    correlation: msgspec.Raw = field(name=faces.CORRELATION, default=msgspec.Raw(b"null"))


_before = msgspec.json.Decoder(_Before).decode
_known = msgspec.json.Decoder(_Known | None).decode


class Batch:
    """The steps of one batch, made ready; `read`, then `write`, which may run more than once."""

    def __init__(
        self,
        tenant: str,
        engine: Engine,
        names: Names,
        steps: Sequence[Step],
        hidden: Sequence[tuple[str, str]] = (),
    ) -> None:
        """`hidden` are alerts and the suppressions that match them."""
        self._tenant = tenant
        self._hidden = list(hidden)
        self._folds: dict[str, list[Folded]] = {}
        for step in steps:
            if isinstance(step, Folded):
                self._folds.setdefault(step.head, []).append(step)
        self._merges = [(each.source, each.target.root(), each.reasons) for each in steps if isinstance(each, Merged)]
        self._alerts: list[tuple[str, str, Link | None]] = []
        touched: dict[str, Incident] = {}
        self._by_source = {
            step.incident.key for step in steps if isinstance(step, Placed) and step.link and step.link.by_source
        }
        for step in steps:
            if isinstance(step, Folded):
                continue
            incident = step.target.root() if isinstance(step, Merged) else step.incident.root()
            if isinstance(step, Opened):
                self._alerts += [(key, incident.key, link) for key, link in step.alerts]
            elif isinstance(step, Placed) and step.shown:
                self._alerts.append((step.key, incident.key, step.link))
            if incident.state not in ("candidate", "merged"):
                touched[incident.key] = incident
        for source, _, _ in self._merges:  # opened and merged in one batch: it is written, then redirected
            touched[source.key] = source
        self._ahead: dict[str, dict[str, Ahead]] = {}
        self._placing: dict[str, Placing | None] = {}
        self._incidents: dict[str, tuple[Stored | None, tuple[Draft, Changes | None] | None]] = {}
        self._touched = touched
        self._engine, self._shown = engine, _shown_by(names)
        self._bodies: dict[str, dict[str, Any] | None] = {}  # of those touched; None: it is not ours

    async def read(self, store: TenantStore, known: Mapping[str, Ahead] = MappingProxyType({})) -> None:
        """What the write puts is rendered here, of what is stored now, so that it holds the lock for less; what has
        changed until then is read and rendered again. `known` are alerts that were read a moment ago."""
        alerts = [alert for alert, _, _ in self._alerts][:AHEAD]
        told = dict.fromkeys([*alerts, *self._folds, *(each.key for its in self._folds.values() for each in its)])
        asked = {
            ALERTS_V2.name: [each for each in told if each not in known][:AHEAD],
            INCIDENTS.name: list(self._touched)[:AHEAD],
        }
        self._ahead = {name: await store.ahead(name, ids) for name, ids in asked.items()}
        self._ahead[ALERTS_V2.name].update((each, known[each]) for each in told if each in known)
        today = self._ahead[ALERTS_V2.name]
        marks = {each.key: {faces.FOLDED_INTO: head} for head, its in self._folds.items() for each in its}
        grown = self._grown()
        self._placing = {
            alert: placing(today[alert], incident, marks.get(alert, {}), _link(incident, link))
            for alert, incident, link in self._alerts
            if alert in today and (link is None or not link.by_source)
        }
        found = self._ahead[INCIDENTS.name]
        for key, incident in self._touched.items():
            body = self._bodies[key] = None if incident.foreign else _body(incident, self._engine, self._shown)
            if key in found:
                before = found[key].stored
                self._incidents[key] = before, self._incident(key, before, body, key in grown)

    def _grown(self) -> set[str]:
        return {incident for _, incident, _ in self._alerts}

    def write(self, tx: Tx) -> None:
        for name, ahead in self._ahead.items():
            tx.recall(name, ahead)
        grown = self._grown()
        for key, body in self._bodies.items():
            self._put(tx, key, body, key in grown)
        marks = self._fold(tx)
        for alert, incident, link in self._alerts:
            before = _placed_here(tx, alert, incident) if link is not None and link.by_source else None
            ready = self._placing.get(alert)
            its, why = marks.get(alert, {}), _link(incident, link)
            if place_alert(tx, alert, incident, instead_of=before, marks=its, link=why, ready=ready):
                marks.pop(alert, None)
        for alert, its in marks.items():
            mark_alert(tx, alert, **its)
        self._hide(tx)
        pending: list[tuple[str, str]] = []
        for source, target, reasons in self._merges:
            if not self._redirect(tx, source.key, target.key, reasons):
                continue
            if _move(tx, source.key, target.key) == CHUNK:
                pending.append((source.key, target.key))
        if pending:
            tx.set_value(PENDING, _encode([*_pending(tx.value(PENDING)), *pending]))

    def _fold(self, tx: Tx) -> dict[str, dict[str, Any]]:
        """Tells each head of its new repeats; the marks of these."""
        marks: dict[str, dict[str, Any]] = {}
        for head, its in self._folds.items():
            first, last = (instant_of(pick(each.at for each in its)) for pick in (min, max))
            if fold_alerts(tx, head, len(its), first, last):
                marks.update((each.key, {faces.FOLDED_INTO: head}) for each in its)
        return marks

    def _hide(self, tx: Tx) -> None:
        counts: dict[str, int] = {}
        for alert, suppression in self._hidden:
            if suppress_alert(tx, alert, suppression):
                counts[suppression] = counts.get(suppression, 0) + 1
        for suppression, count in counts.items():
            row = tx.get(SUPPRESSIONS.name, suppression)
            if row is not None:  # else it was deleted a moment ago
                body = inner(row)
                told = {"suppressedAlerts": body.get("suppressedAlerts", 0) + count, "lastSuppressedDateTime": tx.now}
                tx.put(draft(SUPPRESSIONS, {**body, **told}, suppression), changed={})

    def _put(self, tx: Tx, key: str, body: Mapping[str, Any] | None, grown: bool) -> None:
        row = tx.get(INCIDENTS.name, key)
        before, ready = self._incidents.get(key, (_UNREAD, None))
        if before is not row:
            ready = self._incident(key, row, body, grown)
        if ready is not None:
            tx.put(ready[0], changed=ready[1])

    def _incident(
        self, key: str, row: Stored | None, body: Mapping[str, Any] | None, grown: bool
    ) -> tuple[Draft, Changes | None] | None:
        """New, or with what is new of it. What a person changed stays; of an incident that is not ours only the time
        of its last change moves."""
        if row is None:
            if body is None:
                return None
            stamped = {"status": "active", "classification": "unknown", "determination": "unknown"}
            whole = {**stamped, **body, "tenantId": self._tenant}
            return draft(INCIDENTS, brought(INCIDENTS, whole, _BEFORE) if key in self._by_source else whole, key), None
        body = body or {}
        changed, new, alike = _news(_before(row.inner()), body) if body else ({}, {}, True)
        if not new and not grown:
            return None
        made = spliced(INCIDENTS, row, new) if alike else None
        return made or draft(INCIDENTS, {**inner(row), **{name: body[name] for name in new}}, key), changed

    def _redirect(self, tx: Tx, source: str, target: str, reasons: tuple[str, ...]) -> bool:
        """False where somebody was quicker and has arranged or resolved one of them: the engine will hear of it."""
        row, into = tx.get(INCIDENTS.name, source), tx.get(INCIDENTS.name, target)
        if row is None or into is None:
            return False
        before = inner(row)
        if any(one.get(ARRANGED) or one.get("status") == "resolved" for one in (before, inner(into))):
            return False
        if before.get("redirectIncidentId"):
            return False
        text = f"Merged into incident {target}. Reasons: {','.join(reasons)}"
        comment = {"comment": text, "createdByDisplayName": "Bartizan", "createdDateTime": tx.now}
        also = {"status": "redirected", "redirectIncidentId": target}
        after = {**before, **also, "comments": [*(before.get("comments") or []), comment]}
        tx.put(draft(INCIDENTS, after, source), changed={name: (before.get(name), also[name]) for name in also})
        return True


def _news(before: "_Before", body: Mapping[str, Any]) -> tuple[Changes, dict[str, Any], bool]:
    """What is another now: as the feed tells it, and all of it; and whether similar incidents are found by the same as
    before. What a person has said otherwise than correlation did stays."""
    known = _known(before.correlation) or _Known()
    said = known.said or {}
    changed: Changes = {}
    for name in (*_OURS, "priorityScore"):
        old, value = getattr(before, name), body[name]
        if old != value and (name not in _OURS or old == said.get(name)):
            changed[name] = old, value
    new = {name: value for name, (_, value) in changed.items()}
    correlation = _encode(body[faces.CORRELATION])
    if correlation != bytes(before.correlation):
        new[faces.CORRELATION] = msgspec.Raw(correlation)
    detectors = () if known.priority is None else known.priority.detectors
    found = {each["detector"] for each in body[faces.CORRELATION]["priority"]["detectors"]}
    return changed, new, found == {each.detector for each in detectors}


def _placed_here(tx: Tx, alert: str, incident: str) -> str | None:
    """Where correlation has put an alert that its source wants elsewhere; None where it is nowhere yet, where somebody
    has arranged where it is, and where it is right."""
    stored = tx.get(ALERTS_V2.name, alert)
    before = None if stored is None else state_of(stored).incident
    row = None if before is None or before == incident else tx.get(INCIDENTS.name, before)
    return None if row is None or inner(row).get(ARRANGED) else before


async def follow(store: TenantStore) -> None:
    """The alerts of merged incidents, and the repeats of resolved alerts, that were too many for one transaction."""
    while heads := following(await store.value(FOLLOWING)):
        await store.write(partial(follow_head, follow=heads[0]), actor=ACTOR)
    while pending := _pending(await store.value(PENDING)):
        source, target = pending[0]

        def work(tx: Tx, source: str = source, target: str = target) -> None:
            if _move(tx, source, target) < CHUNK:
                rest = [each for each in _pending(tx.value(PENDING)) if each != (source, target)]
                tx.set_value(PENDING, _encode(rest) if rest else None)

        await store.write(work, actor=ACTOR)


def _pending(kept: bytes | None) -> list[tuple[str, str]]:
    return msgspec.json.decode(kept, type=list[tuple[str, str]]) if kept else []


def _move(tx: Tx, source: str, target: str) -> int:
    of_source = Compare("eq", Path(("incidentId",), kind="text"), Literal(source, "text"))
    rows = tx.find(ALERTS_V2.name, of_source, limit=CHUNK)
    for row in rows:
        place_alert(tx, row.id, target, instead_of=source)
    return len(rows)


def _shown_by(names: Names) -> Shown:
    """The names that people use, as they are now: each is asked for several times in a batch."""
    of: dict[Node, str] = {}

    def shown(node: Node) -> str:
        found = of.get(node)
        if found is None:
            found = of[node] = (names.people if node[0] == "user" else names.hosts).shown(node[1])
        return found

    return shown


def _body(incident: Incident, engine: Engine, shown: Shown) -> dict[str, Any]:
    company = engine.company(incident)
    verdicts = engine.memory.verdicts
    score, parts = priority(incident, company, verdicts)
    telling = Telling(incident, shown)
    said = {
        "displayName": telling.title(),
        "severity": incident.severity,
        "summary": telling.summary(score, company, verdicts),
    }
    return {
        **said,
        "priorityScore": score,
        faces.CORRELATION: {
            "said": said,
            "priority": parts,
            "entities": [{"kind": kind, "value": value} for kind, value in telling.entities],
            "tactics": telling.tactics,
            "reasons": sorted(incident.reasons),
            "firstActivityDateTime": instant_of(incident.first),
            "lastActivityDateTime": instant_of(incident.last),
            "follows": incident.follows or None,
        },
    }


def _link(incident: str, link: Link | None) -> dict[str, Any] | None:
    """Of the time at which it is stored. The first alert of an incident has none."""
    if link is None:
        return None
    return {
        "otherAlertId": link.alert or None,
        "incidentId": incident,
        "correlationReason": ",".join(link.reasons) or None,
        **link.figures(),
        "createdBy": SOURCE if link.by_source else ACTOR,
        "createdDateTime": UPDATED,
    }
