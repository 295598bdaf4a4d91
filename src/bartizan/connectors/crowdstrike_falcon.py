"""CrowdStrike Falcon: alerts and their status both ways, containment of hosts, custom indicators.

Alerts are followed by `updated_timestamp` with `follow`'s rule. Ids and details are two questions: behind each page the
ids are asked for anew from the time that it reached, since offsets would pass over what moves up meanwhile; only within
one instant the offset goes on.

Falcon's custom indicators prevent the run of files alone: for domains and addresses it permits `detect`, so these are
offered as what they are (watchDomain, watchAddress), not as blocks.

Source: CrowdStrike API, collections Alerts (queries v2, entities v2 and v3), Hosts, IOC (indicators v1), OAuth2; the
custom_ioc resource of CrowdStrike's Terraform provider for what indicators may do.
"""

import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from msgspec import Meta, Raw, Struct

from bartizan.connectors.follow import Followed, moved, overwritten, spoken
from bartizan.connectors.oauth import Api, an_object, decoded, rows, with_secret
from bartizan.extend.connectors import (
    LOCAL,
    Away,
    Batch,
    Connector,
    Denied,
    Done,
    Offer,
    Order,
    Outside,
    Pulled,
    Push,
    Pushed,
    Read,
    Rejected,
    Reply,
    Secret,
    Stream,
)

CLOUDS = {
    "us-1": "https://api.crowdstrike.com",
    "us-2": "https://api.us-2.crowdstrike.com",
    "eu-1": "https://api.eu-1.crowdstrike.com",
    "us-gov-1": "https://api.laggar.gcw.crowdstrike.com",
    "us-gov-2": "https://api.us-gov-2.crowdstrike.mil",
}
MAX_OFFSET = 10_000  # offset and limit together
MAX_PAGES = 2_000  # of one look; the next one goes on
_SOURCE = "crowdstrike_falcon"
_ALERTS = "/alerts/queries/alerts/v2"
_DETAILS = "/alerts/entities/alerts/v2"
_UPDATES = "/alerts/entities/alerts/v3"
_HOSTS = "/devices/entities/devices/v2"
_INDICATORS = "/iocs/entities/indicators/v1"

_STATUSES = {"new": "new", "inProgress": "in_progress", "resolved": "closed"}
_RESOLUTIONS = {
    "truePositive": "true_positive",
    "falsePositive": "false_positive",
    "informationalExpectedActivity": "ignored",
}
_CONTAINMENTS = {  # action -> (Falcon's, status in the end)
    "isolateDevice": ("contain", "contained"),
    "releaseDevice": ("lift_containment", "normal"),
}
_ENTRIES = {  # action -> (whether it makes an indicator, what that does)
    "blockFile": (True, "prevent"),
    "unblockFile": (False, "prevent"),
    "watchDomain": (True, "detect"),
    "unwatchDomain": (False, "detect"),
    "watchAddress": (True, "detect"),
    "unwatchAddress": (False, "detect"),
}


class FalconSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    client_id: Annotated[str, Meta(description="of an API client", min_length=1, max_length=200)]
    client_secret: Annotated[Secret, Meta(description="of the API client")]
    cloud: Annotated[
        Literal["us-1", "us-2", "eu-1", "us-gov-1", "us-gov-2"], Meta(description="where the customer is")
    ] = "us-1"
    address: Annotated[str, Meta(description="instead of a cloud", pattern="^(https?://|$)", max_length=2_000)] = ""
    filter: Annotated[str, Meta(description="FQL that alerts must match beside", max_length=4_000)] = ""
    since_days: Annotated[float, Meta(description="how far back the first look goes", ge=0, le=3_650)] = 30.0
    late_s: Annotated[int, Meta(description="how late an alert may show", ge=0, le=86_400)] = 300
    page_rows: Annotated[int, Meta(description="alerts of one page", ge=1, le=1_000)] = 500
    platforms: Annotated[tuple[str, ...], Meta(description="for which indicators hold", min_length=1)] = (
        "windows",
        "mac",
        "linux",
    )
    ca_file: Annotated[str, Meta(description="certificate authority of a proxy, as PEM", extra=LOCAL)] = ""
    verify: Annotated[bool, Meta(description="whether certificates are checked")] = True


class _Resources(Struct):
    resources: list[Raw] | None = None
    errors: list[Any] | None = None


class _Ids(Struct):
    resources: list[str] | None = None
    errors: list[Any] | None = None


class CrowdStrikeFalcon(Connector):
    name: ClassVar[str] = "crowdstrike_falcon"
    vendor: ClassVar[str] = "CrowdStrike"
    product: ClassVar[str] = "Falcon"
    doc: ClassVar[str] = "Alerts of CrowdStrike Falcon, containment of its hosts, and its custom indicators."
    settings: ClassVar[type[Struct]] = FalconSettings
    streams: ClassVar[Mapping[str, Stream]] = {"alerts": Stream("Alerts, each time that one changes.")}
    owns: ClassVar[tuple[tuple[str, str], ...]] = (("CrowdStrike", "Falcon"),)
    pushes: ClassVar[Mapping[Any, frozenset[str]]] = {
        "alert": frozenset({"status", "classification", "assignedTo", "comments", "tags"})
    }
    offers: ClassVar[Mapping[str, Offer]] = {
        "isolateDevice": Offer("device", "Contains the host: it reaches Falcon alone.", undo="releaseDevice"),
        "releaseDevice": Offer("device", "Lifts the containment of the host.", undo="isolateDevice"),
        "blockFile": Offer("file", "Prevents a file (SHA-256 or MD5) on every host.", undo="unblockFile"),
        "unblockFile": Offer("file", "Deletes the indicator that prevents the file.", undo="blockFile"),
        "watchDomain": Offer("domain", "Detects the use of a domain; Falcon cannot block it.", undo="unwatchDomain"),
        "unwatchDomain": Offer("domain", "Deletes the indicator that detects the domain.", undo="watchDomain"),
        "watchAddress": Offer(
            "address", "Detects the use of an address; Falcon cannot block it.", undo="unwatchAddress"
        ),
        "unwatchAddress": Offer("address", "Deletes the indicator that detects the address.", undo="watchAddress"),
    }
    reads: ClassVar[bool] = True

    def __init__(self, settings: Any, outside: Outside) -> None:
        super().__init__(settings, outside)
        address = (settings.address or CLOUDS[settings.cloud]).rstrip("/")
        proof = with_secret(settings.client_id, settings.client_secret)
        self._api = Api(outside, address, proof, token_url=f"{address}/oauth2/token")

    async def check(self) -> str:
        reply = await self._api.ask("GET", _ALERTS, params={"limit": "1", **self._filter()})
        meta = an_object(_sound(reply, _ALERTS), _ALERTS).get("meta") or {}
        return f"{self._api.address} has {(meta.get('pagination') or {}).get('total', 'some')} alerts"

    # ------------------------------------------------------------ pull

    async def pull(self, stream: str, cursor: str | None) -> AsyncIterator[Batch]:
        look = Followed(cursor, since_days=self.set.since_days, late_s=self.set.late_s)
        since, offset, limit = look.since, 0, self.set.page_rows
        for _ in range(MAX_PAGES):
            ids, reply = await self._ids(f"updated_timestamp:>='{since}'", "updated_timestamp|asc", offset, limit)
            # By the clock of the first answer: what changes between ids and details moves nothing.
            records = [
                Pulled(_SOURCE, bytes(raw))
                for raw, item in await self._alerts(ids)
                if look.fresh(item.get("composite_id"), item.get("updated_timestamp"), reply)
            ]
            done = len(ids) < limit
            if records or done:
                yield Batch(cursor=look.cursor(done=done), records=records)
            if done:
                return
            since, offset = (look.last, 0) if look.last > since else (since, offset + limit)
            if offset + limit > MAX_OFFSET:
                raise Rejected(f"more than {MAX_OFFSET} alerts changed at {since}: set a filter")

    async def _ids(self, wanted: str, sort: str, offset: int, limit: int) -> tuple[list[str], Reply]:
        params = {"sort": sort, "limit": str(limit), "offset": str(offset), **self._filter(wanted)}
        reply = _sound(await self._api.ask("GET", _ALERTS, params=params), _ALERTS)
        return rows(reply, _Ids, _ALERTS).resources or [], reply

    async def _alerts(self, ids: Sequence[str]) -> list[tuple[Raw, dict[str, Any]]]:
        """In the order of `ids`; what is gone by now is left out."""
        if not ids:
            return []
        reply = await self._api.ask("POST", _DETAILS, json={"composite_ids": list(ids)})
        found = rows(reply, _Resources, _DETAILS)
        if found.errors and any(_code(error) != 404 for error in found.errors):
            raise Away(f"{_DETAILS}: not all alerts were given ({_said(found.errors)})")
        items = {item.get("composite_id"): (raw, item) for raw in found.resources or [] for item in [decoded(raw)]}
        return [items[id] for id in ids if id in items]

    def _filter(self, wanted: str = "") -> dict[str, str]:
        parts = [part for part in (wanted, self.set.filter and f"({self.set.filter})") if part]
        return {"filter": "+".join(parts)} if parts else {}

    async def read(self, asked: Read) -> Sequence[Pulled]:
        if asked.id is not None:
            return [Pulled(_SOURCE, bytes(raw)) for raw, _ in await self._alerts([asked.id])]
        bounds = [
            f"created_timestamp:{sign}'{at}'"
            for sign, at in ((">=", asked.since), ("<=", asked.until))
            if at is not None
        ]
        ids, _ = await self._ids("+".join(bounds), "created_timestamp|desc", 0, min(asked.top, 1_000))
        return [Pulled(_SOURCE, bytes(raw)) for raw, _ in await self._alerts(ids)]

    # ------------------------------------------------------------ write back

    async def push(self, change: Push) -> Pushed:
        if change.subject != "alert":
            raise Rejected(f"Falcon takes no changes of a {change.subject}")
        found = await self._alerts([change.id])
        if not found:
            raise Rejected(f"Falcon has no alert {change.id[:200]}", status=404)
        there = found[0][1]
        foreign = moved(there.get("updated_timestamp"), change.known)
        steps, before, after, left_out = _steps(change, there, foreign)
        if steps:
            body = {
                "composite_ids": [change.id],
                "action_parameters": [{"name": name, "value": value} for name, value in steps],
            }
            _sound(await self._api.ask("PATCH", _UPDATES, json=body), _UPDATES)
        lost = overwritten(before, after) if foreign else {}
        return Pushed(overwrote=lost or None, left_out=left_out)

    # ------------------------------------------------------------ act

    async def act(self, order: Order) -> Done:
        if order.name in _CONTAINMENTS:
            return await self._contain(order)
        if order.name in _ENTRIES:
            return await self._indicator(order, *_ENTRIES[order.name])
        raise Rejected(f"Falcon has no action {order.name}")

    async def follow(self, handle: str) -> Done:
        device, _, wanted = handle.partition("/")
        status = (await self._host(device)).get("status")
        if status == wanted:
            return Done("completed", f"{device} is {wanted}")
        return Done("running", f"{device} is {status}, not yet {wanted}", handle)

    async def _contain(self, order: Order) -> Done:
        action, wanted = _CONTAINMENTS[order.name]
        device = await self._device(order.target)
        handle = f"{device['device_id']}/{wanted}"
        status = str(device.get("status") or "normal").lower()
        if status == wanted:
            return Done("completed", f"{order.target} was {wanted} already")
        if status != ("containment_pending" if wanted == "contained" else "lift_containment_pending"):
            path = "/devices/entities/devices-actions/v2"
            body = {"ids": [device["device_id"]]}
            _sound(await self._api.ask("POST", path, params={"action_name": action}, json=body), path)
        return Done("running", f"{action} was taken for {order.target}", handle)

    async def _device(self, target: str) -> dict[str, Any]:
        """By its agent's id, or by its host name (with or without domain) where one host has it."""
        if re.fullmatch(r"[0-9a-fA-F]{32}", target):
            return await self._host(target.lower())
        path = "/devices/queries/devices/v1"
        for name in dict.fromkeys((target, target.partition(".")[0])):
            params = {"filter": f"hostname:'{_fql(name)}'", "limit": "10"}
            ids = rows(_sound(await self._api.ask("GET", path, params=params), path), _Ids, path).resources or []
            if len(ids) > 1:
                raise Rejected(f"several hosts are called {name}: give the device id, one of {', '.join(ids)}")
            if ids:
                return await self._host(ids[0])
        raise Rejected(f"Falcon knows no host {target[:200]}", status=404)

    async def _host(self, id: str) -> dict[str, Any]:
        reply = await self._api.ask("POST", _HOSTS, json={"ids": [id]}, allow=(404,))
        found = rows(reply, _Resources, _HOSTS).resources or []
        if not found:
            raise Rejected(f"Falcon knows no host {id}", status=404)
        return {"device_id": id, **decoded(found[0])}

    async def _indicator(self, order: Order, make: bool, action: str) -> Done:
        kind = _kind(order.target)
        ours = {each.get("id"): each for each in await self._indicators(kind, order.target)}
        if not make:
            ids = [str(id) for id, each in ours.items() if each.get("action") in (action, "prevent_no_ui")]
            if not ids:
                return Done("completed", f"no indicator to {action} {order.target} was there")
            comment = f"{order.by} ({order.key})"
            params = [*(("ids", id) for id in ids), ("comment", comment)]
            _sound(await self._api.ask("DELETE", _INDICATORS, params=params), _INDICATORS)
            return Done("completed", f"{len(ids)} indicators of {order.target} deleted")
        if any(each.get("action") == action and each.get("applied_globally") for each in ours.values()):
            return Done("completed", f"an indicator to {action} {order.target} was there already")
        other = next((each for each in ours.values() if each.get("applied_globally")), None)
        if other is not None:  # Falcon keeps one of a type and value
            raise Rejected(f"Falcon has an indicator of {order.target} to {other.get('action')}: decide there first")
        made = {
            "type": kind,
            "value": order.target,
            "action": action,
            "severity": "high",
            "platforms": list(self.set.platforms),
            "applied_globally": True,
            "source": "Bartizan",
            "description": (order.reason or f"ordered by {order.by}")[:1_000],
        }
        body = {"comment": f"{order.by} ({order.key})", "indicators": [made]}
        _sound(await self._api.ask("POST", _INDICATORS, json=body), _INDICATORS)
        return Done("completed", f"{order.target}: {action}")

    async def _indicators(self, kind: str, value: str) -> list[dict[str, Any]]:
        path = "/iocs/combined/indicator/v1"
        params = {"filter": f"type:'{kind}'+value:'{_fql(value)}'", "limit": "100"}
        found = rows(_sound(await self._api.ask("GET", path, params=params), path), _Resources, path)
        return [decoded(raw) for raw in found.resources or []]


# ---------------------------------------------------------------- words


def _steps(
    change: Push, there: Mapping[str, Any], foreign: bool
) -> tuple[list[tuple[str, str]], dict[str, Any], dict[str, Any], tuple[str, ...]]:
    """What is to be asked of Falcon, the words there before and after, and what has no place."""
    steps: list[tuple[str, str]] = []
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    left_out: list[str] = []
    tags = [str(tag) for tag in there.get("tags") or ()]
    for word, value in change.words.items():
        if word == "status" and value in _STATUSES:
            now, wanted = str(there.get("status")), _STATUSES[value]
            wanted = "reopened" if wanted == "new" and now in ("closed", "reopened") else wanted
            before[word], after[word] = "new" if now == "reopened" else spoken(_STATUSES, now), value
            steps += [("update_status", wanted)] if now != wanted else []
        elif word == "classification" and (value in _RESOLUTIONS or value in (None, "unknown")):
            wanted_tag = _RESOLUTIONS.get(str(value))
            resolved = [tag for tag in tags if tag in _RESOLUTIONS.values()]
            before[word] = spoken(_RESOLUTIONS, next(iter(resolved), None))
            after[word] = value if wanted_tag is not None else None
            steps += [("remove_tag", tag) for tag in resolved if tag != wanted_tag]
            steps += [("add_tag", wanted_tag)] if wanted_tag is not None and wanted_tag not in tags else []
        elif word == "assignedTo":
            before[word] = there.get("assigned_to_uid") or there.get("assigned_to_name")
            after[word] = before[word] if _is_assigned(there, value) else value
            steps += [] if _is_assigned(there, value) else [_assign(value)]
        elif word == "comments":
            steps += _comments(value or (), there)
        elif word == "tags":
            steps += _tagged([str(tag) for tag in value or ()], tags, foreign)
        else:
            left_out.append(word)
    return steps, before, after, tuple(left_out)


def _is_assigned(there: Mapping[str, Any], to: Any) -> bool:
    names = {str(there.get(name) or "").lower() for name in ("assigned_to_uid", "assigned_to_uuid", "assigned_to_name")}
    return str(to).lower() in names if to else names == {""}


def _assign(to: Any) -> tuple[str, str]:
    if not to:
        return "unassign", ""
    try:
        return "assign_to_uuid", str(UUID(str(to)))
    except ValueError:
        return ("assign_to_user_id" if "@" in str(to) else "assign_to_name"), str(to)


def _comments(given: Sequence[Any], there: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Those that are not there yet, with the name of who wrote them: Falcon would show the API client's."""
    known = {each.get("value") for each in there.get("comments") or () if isinstance(each, dict)}
    for each in given:
        author = each.get("createdByDisplayName")
        text = f"{author}: {each['comment']}" if author else str(each["comment"])
        if text not in known:
            yield "append_comment", text


def _tagged(wanted: Sequence[str], there: Sequence[str], foreign: bool) -> Iterator[tuple[str, str]]:
    """Falcon's own (numbers) and resolutions stay; what somebody may have added since is not taken away."""
    own = {tag for tag in there if tag.isdecimal() or tag in _RESOLUTIONS.values()}
    yield from (("add_tag", tag) for tag in wanted if tag not in there)
    if not foreign:
        yield from (("remove_tag", tag) for tag in there if tag not in wanted and tag not in own)


def _kind(value: str) -> str:
    if re.fullmatch(r"[0-9a-f]{64}", value, re.IGNORECASE):
        return "sha256"
    if re.fullmatch(r"[0-9a-f]{32}", value, re.IGNORECASE):
        return "md5"
    if re.fullmatch(r"[0-9a-f]{40}", value, re.IGNORECASE):
        raise Rejected("Falcon's indicators know files by SHA-256 and MD5, not by SHA-1")
    if re.fullmatch(r"[0-9.]+", value):
        return "ipv4"
    return "ipv6" if ":" in value else "domain"


def _fql(value: str) -> str:
    """Between quotes of a filter."""
    if "'" in value or "\\" in value or not value.isprintable():
        raise Rejected(f"{value[:100]!r} cannot be asked for")
    return value


def _sound(reply: Reply, path: str) -> Reply:
    """Falcon reports failures beside 200 as well."""
    errors = reply.data.get("errors") if isinstance(reply.data, dict) else None
    if errors:
        code = next((_code(error) for error in errors), 0)
        said = f"{path}: {_said(errors)}"
        if code in (401, 403):
            raise Denied(said, status=code)
        raise (Away if code == 429 or code >= 500 else Rejected)(said, status=code or None)
    return reply


def _code(error: Any) -> int:
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, int) else 0


def _said(errors: Sequence[Any]) -> str:
    return "; ".join(str(each.get("message") if isinstance(each, dict) else each)[:200] for each in errors[:3])
