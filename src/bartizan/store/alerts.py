"""Alerts in the store: two documents of one alert, put together, and the incidents that they belong to.

The state of an alert (`model.faces`) stands beside its document in `alerts_v2`; the legacy document is rendered from
it. What is rendered outside the writer is a `Prepared`; inside it only an alert that is there already is rendered
again. An incident's lastUpdateDateTime moves when one of its alerts changes.
"""

from collections.abc import Container, Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from bartizan.errors import BadRequest, NotFound, PreconditionFailed
from bartizan.model import faces, workflow
from bartizan.model.faces import FOLDED, FOLDED_INTO, SUPPRESSION, AlertState
from bartizan.model.stamps import CREATED, UPDATED
from bartizan.model.workflow import MAX_COMMENTS, Who
from bartizan.odata import tree
from bartizan.odata.tree import And, Compare, Expr, Kind, Path
from bartizan.store.draft import draft, inner, spliced
from bartizan.store.interface import Ahead, Collection, Column, Draft, Entity, Joined, Stored, Tx

Face = Literal["v2", "legacy"]
Changes = dict[str, tuple[Any, Any]]
Link = dict[str, Any] | None  # why an alert is in its incident

_KINDS: Mapping[str, Kind] = {
    "createdDateTime": "instant",
    "lastUpdateDateTime": "instant",
    "lastModifiedDateTime": "instant",
    "eventDateTime": "instant",
    "firstActivityDateTime": "instant",
    "lastActivityDateTime": "instant",
    "severity": "enum",
    "status": "enum",
    "serviceSource": "enum",
    "detectionSource": "enum",
    "classification": "enum",
    "determination": "enum",
    "feedback": "enum",
    "priorityScore": "int",
}


def _columns(indexed: str, plain: str = "") -> tuple[Column, ...]:
    """`plain` ones save decoding; they hold text of any length, which an index could not."""
    columns = [Column(path, _KINDS.get(path, "text")) for path in indexed.split()]
    return (*columns, *(Column(path, _KINDS.get(path, "text"), index=False) for path in plain.split()))


_NEWEST = (("createdDateTime", True),)

ALERTS_V2 = Collection(
    name="alerts_v2",
    type=faces.TODAY,
    columns=_columns(
        "createdDateTime lastUpdateDateTime severity status serviceSource classification determination assignedTo "
        f"incidentId detectionSource category additionalData/{FOLDED_INTO} additionalData/{SUPPRESSION}",
        "title productName providerAlertId detectorId firstActivityDateTime lastActivityDateTime",
    ),
    order=_NEWEST,
    created="createdDateTime",
    updated="lastUpdateDateTime",
)
ALERTS = Collection(
    name="alerts",
    type=faces.LEGACY,
    columns=_columns(
        "createdDateTime eventDateTime lastModifiedDateTime severity status feedback category assignedTo "
        "vendorInformation/provider vendorInformation/vendor",
        "title",
    ),
    order=_NEWEST,
    entities={
        "hostStates/fqdn": "host",
        "hostStates/netBiosName": "host",
        "hostStates/privateIpAddress": "address",
        "hostStates/publicIpAddress": "address",
        "userStates/userPrincipalName": "user",
        "userStates/accountName": "user",
        "userStates/aadUserId": "user",
        "userStates/onPremisesSecurityIdentifier": "user",
        "userStates/logonIp": "address",
        "fileStates/fileHash/hashValue": "hash",
        "processes/fileHash/hashValue": "hash",
        "processes/name": "process",
        "networkConnections/sourceAddress": "address",
        "networkConnections/destinationAddress": "address",
        "networkConnections/destinationDomain": "domain",
        "networkConnections/destinationUrl": "url",
        "cloudAppStates/destinationServiceName": "resource",
        "securityResources/resource": "resource",
    },
    created="createdDateTime",
    updated="lastModifiedDateTime",
    # So that correlation, which puts each alert into its incident, puts one face of it again and not both.
    joined=Joined("incidentIds", ALERTS_V2.name, "incidentId"),
)
INCIDENTS = Collection(
    name="incidents",
    type="microsoft.graph.security.incident",
    columns=_columns(
        "createdDateTime lastUpdateDateTime severity status assignedTo classification determination redirectIncidentId",
        "displayName priorityScore",
    ),
    order=_NEWEST,
    entities={f"{faces.CORRELATION}/priority/detectors/detector": "detector"},  # what similar incidents are found by
    created="createdDateTime",
    updated="lastUpdateDateTime",
)
COLLECTIONS = (ALERTS_V2, ALERTS, INCIDENTS)

# In the feed, beside what an analyst changed in today's face or an incident: (the source's version that was known then,
# who changed it). What a provider's record or the server changes has no such mark.
ANALYST = "@analyst"

CORRELATE = "correlate"  # the stage that puts each new alert into its incident, by its place in the feed
RESOLVING = "alerts/resolving"  # incidents whose alerts are not all resolved yet
RESOLVE_CHUNK = 50  # alerts that one transaction resolves: the writer's lock stays short
_UNDECIDED = (None, "unknown")

_STAMPS = {"createdDateTime": CREATED, "lastUpdateDateTime": UPDATED}
ARRANGED = "@bartizan.arranged"  # of an incident's inner form: somebody has moved alerts into it or out of it
_FOLDED_TIMES = (faces.FOLDED_FIRST, faces.FOLDED_LAST)
_MORE = "additionalData"
_NO_MARKS: Mapping[str, Any] = {}
RAW = "raw"  # attachment of the record that made the alert; those of later records are raw:<first digits of the hash>
_RAW_DIGITS = 16
FOLLOWING = "alerts/following"
FOLLOW_CHUNK = 50  # repeats that follow their head in one transaction: the writer's lock stays short


class Follow(Struct, frozen=True):
    """The repeats of an alert are to be what it became by somebody."""

    head: str
    who: Who


class Prepared(Struct, frozen=True):
    """An alert ready to be stored, if nobody has stored it before."""

    v2: Draft
    legacy: Draft
    incident: str | None = None
    raw: bytes | None = None
    raw_sha256: str | None = None

    @property
    def id(self) -> str:
        return self.v2.id

    def state(self) -> AlertState:
        """Read from what is to be stored: few need it, and all that is made goes from process to process."""
        return faces.decode(self.v2.state)


class Kept(Struct, frozen=True):
    """An alert in the store. `changed` is None where it is new, empty where nothing changed."""

    v2: Stored
    legacy: Stored
    changed: Changes | None
    changed_legacy: Changes | None = None
    repeat: bool = False  # the record was known
    incident: str | None = None  # that it belongs to

    def face(self, which: Face) -> Stored:
        return self.v2 if which == "v2" else self.legacy


def prepare(state: AlertState, *, raw: bytes | None = None, raw_sha256: str | None = None) -> Prepared:
    """Renders both faces: call it before the write. BadRequest where the alert cannot be stored."""
    state = faces.unmarked(state)
    return Prepared(today_draft(state), legacy_draft(state), state.incident, raw, raw_sha256)


def legacy_draft(state: AlertState) -> Draft:
    return draft(ALERTS, faces.of_old(state, linked=False), state.id, state=None)


def today_draft(state: AlertState) -> Draft:
    named = [Entity(one.kind, one.value, one.role) for one in state.entities]
    return draft(ALERTS_V2, faces.today(state), state.id, state=faces.encode(state, _STAMPS), entities=named)


def state_of(stored: Stored) -> AlertState:
    """The state beside a document of alerts_v2 that was got with it."""
    return faces.decode(stored.state)


def store_alert(tx: Tx, prepared: Prepared, *, touch: bool = True) -> Kept:
    """A record of a provider: a new alert, the next version of one that is there, or a repeat that changes nothing.

    With `touch` false the caller touches the incidents of what changed itself (`store_alerts`).
    """
    id = prepared.id
    stored = tx.get(ALERTS_V2.name, id)
    if stored is None:
        incident = prepared.incident
        v2, legacy = _put(tx, prepared.v2, None), _put_old(tx, prepared.legacy, None, incident)
        kept = Kept(v2, legacy, None, incident=incident)
        _attach(tx, prepared, RAW)
        if touch and incident is not None:
            touch_incident(tx, incident)
        return kept
    before = state_of(stored)
    after = faces.revise(before, prepared.state(), tx.now)
    if after is before:
        return Kept(stored, _legacy(tx, id), {}, {}, repeat=True)
    _attach(tx, prepared, f"{RAW}:{(prepared.raw_sha256 or after.seen[-1])[:_RAW_DIGITS]}")
    return _replace(tx, before, after, touch=touch)


def store_alerts(tx: Tx, prepared: Sequence[Prepared]) -> list[Kept]:
    """Several at once; an incident of many of them is touched once."""
    for each in (ALERTS_V2, ALERTS):
        tx.expect(each.name, [one.id for one in prepared])
    kept = [store_alert(tx, one, touch=False) for one in prepared]
    for incident in {one.incident: None for one in kept if not one.repeat and one.incident is not None}:
        touch_incident(tx, incident)
    return kept


def change_alert(
    tx: Tx,
    id: str,
    patch: Mapping[str, Any],
    face: Face,
    who: Who,
    *,
    if_match: str | None = None,
    touch: bool = True,
    repeats: int = FOLLOW_CHUNK,
) -> Kept:
    """What an analyst changes through one face (inner form of the named properties) shows in both. NotFound,
    BadRequest; PreconditionFailed where `if_match` names another version of that face. What changes nothing is not
    put again. Whoever resolves or reopens an alert does it to what is folded into it: to so many `repeats` in this
    write, to the others in the next ones.
    """
    stored = tx.get(ALERTS_V2.name, id)
    if stored is None:
        raise NotFound(f"there is no alert '{id}'")
    if if_match is not None:
        _check(stored if face == "v2" else _legacy(tx, id), if_match)
    before = state_of(stored)
    apply = faces.apply_v2 if face == "v2" else faces.apply_legacy
    after = apply(before, patch, who, tx.now)
    if after is before:
        return Kept(stored, _legacy(tx, id), {}, {})
    kept = _replace(tx, before, after, touch=touch, by=who)
    if "resolved" in (kept.changed or {}).get("status", ()) and FOLDED in faces.marks(after):
        follow_head(tx, Follow(id, who), limit=repeats)
    return kept


def say_again(tx: Tx, id: str, words: Mapping[str, tuple[Any, Any]]) -> None:
    """Where an older word of ours came back from a source and is shown instead of a newer one, (older, newer) by name,
    the newer one is shown again. It is nobody's change, and not in the alert's history."""
    stored = tx.get(ALERTS_V2.name, id)
    if stored is None:
        return
    before = state_of(stored)
    patch = {name: newer for name, (older, newer) in words.items() if getattr(before.now, name) == older}
    now = workflow.changed_today(before.now, patch, Who("bartizan"), tx.now, [])
    if now != before.now:
        _replace(tx, before, replace(before, now=now))


def follow_head(tx: Tx, follow: Follow, *, limit: int = FOLLOW_CHUNK) -> None:
    """Gives the repeats that are folded into an alert its status and verdict, some at a time; what remains is in
    `following`, for a stage to go on with."""
    stored = tx.get(ALERTS_V2.name, follow.head)
    rest = [each for each in following(tx.value(FOLLOWING)) if each.head != follow.head]
    if stored is not None:
        now = state_of(stored).now
        patch = {"status": now.status, "classification": now.classification, "determination": now.determination}
        members = members_of(tx, follow.head, limit=limit, unlike=now.status) if limit else []
        for member in members:
            change_alert(tx, member, patch, "v2", follow.who)
        if len(members) == limit:
            rest.append(follow)
    tx.set_value(FOLLOWING, msgspec.json.encode(rest) if rest else None)


def following(kept: bytes | None) -> list[Follow]:
    """Heads whose repeats have not all followed yet, as kept under FOLLOWING."""
    return msgspec.json.decode(kept, type=list[Follow]) if kept else []


def move_alert(tx: Tx, id: str, incident: str | None, link: Link = None) -> Kept:
    """Somebody puts it into another incident, or none; `link` says why. Both incidents are touched, and are arranged by
    hand now."""
    stored = tx.get(ALERTS_V2.name, id)
    if stored is None:
        raise NotFound(f"there is no alert '{id}'")
    before = state_of(stored)
    after = faces.move(before, incident, link)
    if after is before:
        return Kept(stored, _legacy(tx, id), {}, {})
    for each in (before.incident, incident):
        if each is not None:
            touch_incident(tx, each, arranged=True)
    return _replace(tx, before, after, touch=False)


class Placing(Struct, frozen=True):
    """An alert on its way into an incident, made ready of what was read: today's face, which the other one is read
    with."""

    before: Stored
    incident: str
    marks: Mapping[str, Any]
    link: Link
    v2: Draft
    changed: Changes


def place_alert(
    tx: Tx,
    id: str,
    incident: str,
    *,
    instead_of: str | None = None,
    marks: Mapping[str, Any] = _NO_MARKS,
    link: Link = None,
    ready: Placing | None = None,
) -> bool:
    """Into an incident by the server itself, where the alert is still in `instead_of` (None: in no incident); False
    where somebody has put it elsewhere, or keeps it out of incidents, or it is gone. The incidents are not touched: the
    caller puts them. `ready` counts where it was made of what is still so. The legacy face is read with the incident,
    and is no other version for that.
    """
    stored = tx.get(ALERTS_V2.name, id)
    if stored is None:
        return False
    if (
        ready is None
        or instead_of is not None
        or ready.before is not stored
        or (ready.incident, ready.marks, ready.link) != (incident, marks, link)
    ):
        place = faces.place(stored.state)
        if place.incident != instead_of or (instead_of is None and _kept_out(place)):
            return False
        ready = _placing(place, stored, incident, marks, link)
    if ready is None:
        before = state_of(stored)
        after = faces.move(before, incident, link or before.link)
        _replace(tx, before, faces.mark(after, **marks), touch=False)
    else:
        _put(tx, ready.v2, ready.changed)
        if instead_of is not None:
            _renew(tx, id, incident)
    return True


def placing(v2: Ahead, incident: str, marks: Mapping[str, Any] = _NO_MARKS, link: Link = None) -> Placing | None:
    """What `place_alert` of an alert in no incident will put, before the write; None where it is to look itself."""
    if v2.stored is None:
        return None
    place = faces.place(v2.stored.state)
    if place.incident is not None or _kept_out(place):
        return None
    return _placing(place, v2.stored, incident, marks, link)


def _kept_out(place: faces.Place) -> bool:
    return (place.marks or {}).get(faces.EXCLUDED) is True


def _placing(place: faces.Place, stored: Stored, incident: str, marks: Mapping[str, Any], link: Link) -> Placing | None:
    """What tells the incident, and the marks, since this is done to every alert; None where the legacy face has
    incidents of the provider's own."""
    if place.own.legacy.incidentIds:
        return None
    changed: Changes = {"incidentId": (place.incident, incident)}
    before = place.marks or {}
    if marks and (after := faces.remarked(before, marks)) != before:
        changed[_MORE] = place.marks, after or None
    v2 = spliced(ALERTS_V2, stored, _new(changed) | ({} if link is None else {faces.LINK: link}))
    return None if v2 is None else Placing(stored, incident, marks, link, v2, changed)


def _new(changed: Changes) -> dict[str, Any]:
    return {name: after for name, (_, after) in changed.items()}


def _marked(before: AlertState, after: AlertState) -> Changes:
    """What marks change of today's face."""
    if after.v2 is before.v2:
        return {}
    return {_MORE: (before.v2.get(_MORE), after.v2.get(_MORE))}


class Resolve(Struct, frozen=True):
    """The open alerts of an incident are to be resolved, as somebody has resolved it."""

    incident: str
    who: Who


def resolve_members(tx: Tx, resolve: Resolve) -> list[str]:
    """Resolves open alerts of a resolved incident, some at a time; which. What remains is in `resolving`, for a stage
    to go on with; where the incident is open again, nothing does.

    An alert that has no verdict of its own takes the incident's, and the resolving comment becomes one of its comments.
    """
    rest = [each for each in resolving(tx.value(RESOLVING)) if each.incident != resolve.incident]
    stored = tx.get(INCIDENTS.name, resolve.incident)
    of = {} if stored is None else inner(stored)
    rows: list[Stored] = []
    if of.get("status") == "resolved":
        rows = tx.find(ALERTS_V2.name, _open_in(resolve.incident), limit=RESOLVE_CHUNK)
        for row in rows:
            change_alert(tx, row.id, _resolution(of, state_of(row)), "v2", resolve.who, touch=False, repeats=0)
        if rows:
            touch_incident(tx, resolve.incident)
        if len(rows) == RESOLVE_CHUNK:
            rest.append(resolve)
    tx.set_value(RESOLVING, msgspec.json.encode(rest) if rest else None)
    return [row.id for row in rows]


def resolving(kept: bytes | None) -> list[Resolve]:
    """Incidents whose alerts are not all resolved yet, as kept under RESOLVING."""
    return msgspec.json.decode(kept, type=list[Resolve]) if kept else []


def _open_in(incident: str) -> Expr:
    here = Compare("eq", Path(("incidentId",), kind="text"), tree.Literal(incident, "text"))
    return And((here, Compare("ne", Path(("status",), kind="enum"), tree.Literal("resolved", "enum"))))


def _resolution(incident: Mapping[str, Any], alert: AlertState) -> dict[str, Any]:
    patch: dict[str, Any] = {"status": "resolved"}
    if alert.now.classification in _UNDECIDED and incident.get("classification") not in _UNDECIDED:
        patch["classification"] = incident["classification"]
        if incident.get("determination") not in _UNDECIDED:
            patch["determination"] = incident["determination"]
    if incident.get("resolvingComment") and len(alert.now.comments) < MAX_COMMENTS:
        patch["comments"] = {"comment": incident["resolvingComment"]}
    return patch


def mark_alert(tx: Tx, id: str, **marks: Any) -> bool:
    """What the server says of an alert (`faces.MARKS`, `faces.EXCLUDED`); None takes a mark away. Today's face alone
    shows it."""
    stored = tx.get(ALERTS_V2.name, id)
    if stored is None:
        return False
    before = state_of(stored)
    after = faces.mark(before, **marks)
    if after is not before:
        changed = _marked(before, after)
        _put(tx, spliced(ALERTS_V2, stored, _new(changed)) or today_draft(after), changed)
    return after is not before


def fold_alerts(tx: Tx, head: str, count: int, first: str, last: str) -> bool:
    """Tells a head of so many more repeats. False where it is gone, or resolved: then they stand for themselves."""
    stored = tx.get(ALERTS_V2.name, head)
    if stored is None:
        return False
    state = state_of(stored)
    if state.now.status == "resolved":
        return False
    known = faces.marks(state)
    told = {
        FOLDED: known.get(FOLDED, 0) + count,
        faces.FOLDED_FIRST: min(known.get(faces.FOLDED_FIRST, first), first),
        faces.FOLDED_LAST: max(known.get(faces.FOLDED_LAST, last), last),
    }
    return mark_alert(tx, head, **told)


def unfold_alert(tx: Tx, id: str, *, unless: Container[str]) -> None:
    """A repeat that somebody puts elsewhere than its head (`unless` that comes along) stands for itself from then
    on."""
    stored = tx.get(ALERTS_V2.name, id)
    head = None if stored is None else faces.marks(state_of(stored)).get(FOLDED_INTO)
    if head is None or head in unless:
        return
    mark_alert(tx, id, **{FOLDED_INTO: None})
    of = tx.get(ALERTS_V2.name, head)
    left = 0 if of is None else faces.marks(state_of(of)).get(FOLDED, 0) - 1
    mark_alert(tx, head, **({FOLDED: left} if left > 0 else dict.fromkeys((FOLDED, *_FOLDED_TIMES))))


def suppress_alert(tx: Tx, id: str, suppression: str | None) -> bool:
    """Marks an alert as hidden by a suppression, or (None) as seen again. False where that changes nothing, or it is
    in an incident: somebody is at work on it."""
    stored = tx.get(ALERTS_V2.name, id)
    if stored is None:
        return False
    before = state_of(stored)
    if suppression is not None and before.incident is not None:
        return False
    marked = faces.mark(before, **{SUPPRESSION: suppression})
    after = faces.tag(marked, faces.SUPPRESSED, on=suppression is not None)
    if after is not before:
        _replace(tx, before, after, touch=False)
    return after is not before


def members_of(tx: Tx, head: str, *, limit: int, unlike: str | None = None) -> list[str]:
    """Alerts that are folded into this one; with `unlike` those of another status."""
    path = ("additionalData", FOLDED_INTO)
    wanted: Expr = Compare("eq", Path(path, kind="text"), tree.Literal(head, "text"))
    if unlike is not None:
        wanted = And((wanted, Compare("ne", Path(("status",), kind="enum"), tree.Literal(unlike, "text"))))
    return [row.id for row in tx.find(ALERTS_V2.name, wanted, limit=limit)]


def touch_incident(tx: Tx, id: str, *, arranged: bool = False) -> Stored | None:
    """Moves its lastUpdateDateTime; None where there is no such incident. One that somebody has `arranged` is not
    merged with another by the server."""
    stored = tx.get(INCIDENTS.name, id)
    if stored is None:
        return None
    values = {ARRANGED: True} if arranged else {}
    made = spliced(INCIDENTS, stored, values) or draft(INCIDENTS, {**inner(stored), **values}, id)
    return tx.put(made, changed={})


def _replace(tx: Tx, before: AlertState, after: AlertState, *, touch: bool = True, by: Who | None = None) -> Kept:
    v2, legacy = today_draft(after), legacy_draft(after)
    changed = _differences(faces.today(before), faces.today(after))
    changed_legacy = _differences(faces.of_old(before), faces.of_old(after))
    changed_legacy.pop("historyStates", None)  # it grows with every change, and the feed tells the same
    told = changed if by is None else {**changed, ANALYST: (before.version, by.shown)}
    today, old = _put(tx, v2, told), _put_old(tx, legacy, changed_legacy, after.incident)
    kept = Kept(today, old, changed, changed_legacy, incident=after.incident)
    if touch and after.incident is not None:
        touch_incident(tx, after.incident)
    return kept


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Changes:
    names: Sequence[str] = [*before, *(name for name in after if name not in before)]
    return {
        name: (before.get(name), after.get(name)) for name in names if _said(before.get(name)) != _said(after.get(name))
    }


def _said(value: Any) -> Any:
    return None if value == [] else value


def _put(tx: Tx, made: Draft, changed: Changes | None) -> Stored:
    stored = tx.put(made, changed=changed)
    assert stored is not None  # only with unless_exists
    return stored


def _put_old(tx: Tx, made: Draft, changed: Changes | None, incident: str | None) -> Stored:
    """The legacy document after today's, as it is read: with the incident."""
    put = _put(tx, made, changed)
    return put if incident is None else _legacy(tx, made.id)


def _renew(tx: Tx, id: str, incident: str) -> None:
    """Puts a legacy document anew that names another incident itself, as those did that earlier programs put."""
    old, today = _legacy(tx, id), tx.get(ALERTS_V2.name, id)
    if today is not None and msgspec.json.encode(incident) not in old.doc:
        made = draft(ALERTS, faces.of_old(state_of(today), linked=False), id, state=None)
        _put(tx, made, {"incidentIds": (inner(old).get("incidentIds"), [incident])})


def _legacy(tx: Tx, id: str) -> Stored:
    stored = tx.get(ALERTS.name, id)
    if stored is None:
        raise NotFound(f"there is no legacy document of alert '{id}'")
    return stored


def _attach(tx: Tx, prepared: Prepared, name: str) -> None:
    if prepared.raw is not None:
        tx.attach(ALERTS_V2.name, prepared.id, name, prepared.raw)


def _check(stored: Stored, if_match: str) -> None:
    wanted = {tag.strip().removeprefix("W/") for tag in if_match.split(",")}
    if "*" not in wanted and stored.etag.removeprefix("W/") not in wanted:
        raise PreconditionFailed(f"alert '{stored.id}' has the version {stored.etag}, which If-Match does not name")


def check_columns(prepared: Prepared, limit_bytes: int) -> None:
    """BadRequest where an indexed text is longer than an index takes, so that one record cannot undo a whole write."""
    for made, collection in ((prepared.v2, ALERTS_V2), (prepared.legacy, ALERTS)):
        for column in collection.columns:
            value = made.columns.get(column.path)
            if not column.index or not isinstance(value, str) or len(value) * 4 <= limit_bytes:
                continue  # a character has at most four bytes
            if len(value.encode(errors="replace")) > limit_bytes:
                raise BadRequest(f"'{column.path}' is longer than {limit_bytes} bytes")
