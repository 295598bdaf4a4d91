"""SentinelOne Singularity: threats and their status both ways, agents that are cut off, scanned, rid of files.

Threats are followed by `updatedAt` with `follow`'s rule; within a look the console's cursor leads from page to page.

Source: SentinelOne Management API 2.1, "Threats", "Agents", "Agent Actions", "Exclusions and Blocklist".
"""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from bartizan.connectors.follow import Followed, instant_of, moved, overwritten, spoken
from bartizan.connectors.oauth import Api, decoded, rows, segment
from bartizan.extend.connectors import (
    LOCAL,
    Away,
    Batch,
    Connector,
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

MAX_PAGES = 2_000  # of one look; the next one goes on
MAX_FOUND = 1_000  # threats of one file, notes of one threat
_SOURCE = "sentinelone"
_API = "/web/api/v2.1"
_THREATS = f"{_API}/threats"
_AGENTS = f"{_API}/agents"
_BLOCKLIST = f"{_API}/restrictions"

_STATUSES = {"new": "unresolved", "inProgress": "in_progress", "resolved": "resolved"}
_VERDICTS = {"truePositive": "true_positive", "falsePositive": "false_positive", "unknown": "undefined"}
_CHANGES = {  # action on an agent -> (of the API, network status in the end)
    "isolateDevice": ("disconnect", "disconnected"),
    "releaseDevice": ("connect", "connected"),
}
_MITIGATIONS = {"quarantineFile": "quarantine", "restoreFile": "un-quarantine"}

Os = Literal["windows", "windows_legacy", "macos", "linux"]


class SentinelOneSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    url: Annotated[str, Meta(description="of the console", pattern="^https?://", max_length=2_000)]
    token: Annotated[Secret, Meta(description="API token of a service user")]
    accounts: Annotated[tuple[str, ...], Meta(description="ids of accounts; empty: all that the token reaches")] = ()
    sites: Annotated[tuple[str, ...], Meta(description="ids of sites; empty: all that the token reaches")] = ()
    systems: Annotated[tuple[Os, ...], Meta(description="on which a blocked file is blocked", min_length=1)] = (
        "windows",
        "macos",
        "linux",
    )
    since_days: Annotated[float, Meta(description="how far back the first look goes", ge=0, le=3_650)] = 30.0
    late_s: Annotated[int, Meta(description="how late a threat may show", ge=0, le=86_400)] = 300
    page_rows: Annotated[int, Meta(description="threats of one page", ge=1, le=1_000)] = 200
    ca_file: Annotated[str, Meta(description="certificate authority of the console, as PEM", extra=LOCAL)] = ""
    verify: Annotated[bool, Meta(description="whether its certificate is checked")] = True


class _Pagination(Struct, rename="camel"):
    next_cursor: str | None = None
    total_items: int | None = None


class _Page(Struct):
    data: list[Raw]
    pagination: _Pagination = msgspec.field(default_factory=_Pagination)


class _Running(Struct, frozen=True, omit_defaults=True):
    """The handle of an order that runs."""

    action: str
    ids: tuple[str, ...]
    before: str = ""  # when the newest one had ended before this one


class SentinelOne(Connector):
    name: ClassVar[str] = "sentinelone"
    vendor: ClassVar[str] = "SentinelOne"
    product: ClassVar[str] = "Singularity"
    doc: ClassVar[str] = "Threats of SentinelOne, isolation and scans of its agents, quarantine and its blocklist."
    settings: ClassVar[type[Struct]] = SentinelOneSettings
    streams: ClassVar[Mapping[str, Stream]] = {"threats": Stream("Threats, each time that one changes.")}
    owns: ClassVar[tuple[tuple[str, str], ...]] = (("SentinelOne", "Singularity"),)
    pushes: ClassVar[Mapping[Any, frozenset[str]]] = {"alert": frozenset({"status", "classification", "comments"})}
    offers: ClassVar[Mapping[str, Offer]] = {
        "isolateDevice": Offer("device", "Disconnects the agent's device from the network.", undo="releaseDevice"),
        "releaseDevice": Offer("device", "Connects the device to the network again.", undo="isolateDevice"),
        "runAntivirusScan": Offer("device", "Scans the whole disk of the device."),
        "quarantineFile": Offer("file", "Quarantines the file in every threat that holds it.", undo="restoreFile"),
        "restoreFile": Offer("file", "Takes the file of threats out of quarantine.", undo="quarantineFile"),
        "blockFile": Offer("file", "Puts the file (SHA-1 or SHA-256) on the blocklist.", undo="unblockFile"),
        "unblockFile": Offer("file", "Takes the file off the blocklist.", undo="blockFile"),
    }
    reads: ClassVar[bool] = True

    def __init__(self, settings: Any, outside: Outside) -> None:
        super().__init__(settings, outside)
        self._api = Api(outside, settings.url, f"ApiToken {settings.token}")

    async def check(self) -> str:
        page, _ = await self._page(_THREATS, {"limit": "1"})
        return f"{self._api.address} has {page.pagination.total_items} threats"

    # ------------------------------------------------------------ pull

    async def pull(self, stream: str, cursor: str | None) -> AsyncIterator[Batch]:
        look = Followed(cursor, since_days=self.set.since_days, late_s=self.set.late_s)
        asked = {
            "updatedAt__gte": _shown(look.since),
            "sortBy": "updatedAt",
            "sortOrder": "asc",
            "limit": str(self.set.page_rows),
        }
        behind: str | None = None
        for _ in range(MAX_PAGES):
            page, reply = await self._page(_THREATS, asked | ({"cursor": behind} if behind else {}))
            records = []
            for raw in page.data:
                item = decoded(raw)
                threat = item.get("threatInfo") or item
                if look.fresh(item.get("id"), threat.get("updatedAt"), reply):
                    records.append(Pulled(_SOURCE, bytes(raw)))
            done = page.pagination.next_cursor is None
            if records or done:
                yield Batch(cursor=look.cursor(done=done), records=records)
            if done:
                return
            if page.pagination.next_cursor == behind:
                raise Away(f"{_THREATS}: a page goes on at itself")
            behind = page.pagination.next_cursor

    async def read(self, asked: Read) -> Sequence[Pulled]:
        params = {"sortBy": "createdAt", "sortOrder": "desc", "limit": str(min(asked.top, 1_000))}
        for name, value in (("ids", asked.id), ("createdAt__gte", asked.since), ("createdAt__lte", asked.until)):
            if value is not None:
                params[name] = value if name == "ids" else _shown(value)
        page, _ = await self._page(_THREATS, params)
        return [Pulled(_SOURCE, bytes(raw)) for raw in page.data]

    # ------------------------------------------------------------ write back

    async def push(self, change: Push) -> Pushed:
        if change.subject != "alert":
            raise Rejected(f"SentinelOne takes no changes of a {change.subject}")
        item = await self._one(_THREATS, change.id, "threat")
        there = item.get("threatInfo") or item
        foreign = moved(there.get("updatedAt"), change.known)
        before: dict[str, Any] = {}
        after: dict[str, Any] = {}
        left_out = [word for word in change.words if word not in self.pushes["alert"]]
        for word, field, path, members in (  # the verdict first: a console may want one before a threat is resolved
            ("classification", "analystVerdict", "analyst-verdict", _VERDICTS),
            ("status", "incidentStatus", "incident", _STATUSES),
        ):
            if word not in change.words:
                continue
            wanted = members.get(str(change.words[word] or "unknown"))
            if wanted is None:
                left_out.append(word)
                continue
            before[word], after[word] = spoken(members, there.get(field)), spoken(members, wanted)
            if there.get(field) != wanted:
                await self._changed(f"{_THREATS}/{path}", {"ids": [change.id]}, {field: wanted})
        await self._note(change)
        lost = overwritten(before, after) if foreign else {}
        who = await self._writer(change.id) if lost else None
        return Pushed(overwrote=lost or None, last_writer=who, left_out=tuple(left_out))

    async def _note(self, change: Push) -> None:
        """Comments that are not there yet, with the name of who wrote them: the console would show the token's."""
        given = change.words.get("comments") or ()
        if not given:
            return
        page, _ = await self._page(f"{_THREATS}/{segment(change.id)}/notes", {"limit": str(MAX_FOUND)})
        known = {decoded(raw).get("text") for raw in page.data}
        for each in given:
            author = each.get("createdByDisplayName")
            text = f"{author}: {each['comment']}" if author else str(each["comment"])
            if text not in known:
                await self._changed(f"{_THREATS}/notes", {"ids": [change.id]}, {"text": text})

    async def _writer(self, id: str) -> str | None:
        """The user whom the threat's timeline names last, where the token may read it."""
        path = f"{_THREATS}/{segment(id)}/timeline"
        params = {"limit": "100", "sortBy": "createdAt", "sortOrder": "desc"}
        reply = await self._api.ask("GET", path, params=params, allow=(400, 403, 404))
        if reply.status != 200:
            return None
        for raw in rows(reply, _Page, path).data:
            data = decoded(raw).get("data")
            who = data.get("username") or data.get("userName") if isinstance(data, dict) else None
            if isinstance(who, str) and who:
                return who
        return None

    # ------------------------------------------------------------ act

    async def act(self, order: Order) -> Done:
        match order.name:
            case "isolateDevice" | "releaseDevice":
                return await self._connect(order)
            case "runAntivirusScan":
                agent = await self._agent(order.target)
                await self._changed(f"{_AGENTS}/actions/initiate-scan", {"ids": [agent["id"]]}, {})
                return _running("runAntivirusScan", [agent["id"]], str(agent.get("scanFinishedAt") or ""))
            case "quarantineFile" | "restoreFile":
                return await self._mitigate(order)
            case "blockFile":
                return await self._block(order)
            case "unblockFile":
                ids = [str(each["id"]) for each in await self._blocked(order.target)]
                if ids:
                    body = {"data": {"type": "black_hash", "ids": ids}}
                    await self._api.ask("DELETE", _BLOCKLIST, json=body)
                return Done("completed", f"{len(ids)} entries of the blocklist deleted")
        raise Rejected(f"SentinelOne has no action {order.name}")

    async def follow(self, handle: str) -> Done:
        running = msgspec.json.decode(handle, type=_Running)
        if running.action in _MITIGATIONS:
            return await self._mitigated(running, handle)
        agent = await self._one(_AGENTS, running.ids[0], "agent")
        if running.action == "runAntivirusScan":
            return _scanned(agent, running, handle)
        wanted, status = _CHANGES[running.action][1], agent.get("networkStatus")
        if status == wanted:
            return Done("completed", f"{agent.get('computerName')} is {wanted}")
        return Done("running", f"{agent.get('computerName')} is {status}, not yet {wanted}", handle)

    async def _connect(self, order: Order) -> Done:
        action, wanted = _CHANGES[order.name]
        agent = await self._agent(order.target)
        if agent.get("networkStatus") == wanted:
            return Done("completed", f"{order.target} was {wanted} already")
        if agent.get("networkStatus") != f"{action}ing":
            await self._changed(f"{_AGENTS}/actions/{action}", {"ids": [agent["id"]]}, {})
        return _running(order.name, [agent["id"]])

    async def _agent(self, target: str) -> dict[str, Any]:
        """By id, UUID or computer name (with or without domain), where one agent has it."""
        if re.fullmatch(r"[0-9]{15,22}", target):
            return await self._one(_AGENTS, target, "agent")
        ways = [("uuid", target)] if re.fullmatch(r"[0-9a-fA-F-]{32,36}", target) else []
        ways += [("computerName", name) for name in dict.fromkeys((target, target.partition(".")[0]))]
        for name, value in ways:
            page, _ = await self._page(_AGENTS, {name: value, "isDecommissioned": "false", "limit": "10"})
            if len(page.data) > 1:
                ids = ", ".join(str(decoded(raw).get("id")) for raw in page.data)
                raise Rejected(f"several agents are called {value[:200]}: give the id, one of {ids}")
            if page.data:
                return decoded(page.data[0])
        raise Rejected(f"SentinelOne knows no agent {target[:200]}", status=404)

    async def _mitigate(self, order: Order) -> Done:
        field = {40: "sha1", 64: "sha256", 32: "md5"}.get(len(order.target), "")
        page, _ = await self._page(_THREATS, {"contentHash__contains": order.target, "limit": str(MAX_FOUND)})
        found = [item for raw in page.data if _has(item := decoded(raw), field, order.target)]
        if not found:
            raise Rejected(
                f"no threat holds the file {order.target}: SentinelOne quarantines files of threats", status=404
            )
        action = _MITIGATIONS[order.name]
        waiting = [item for item in found if _newest(item).get("state") != (action, "success")]
        if not waiting:
            return Done("completed", f"{action}: done in all {len(found)} threats already")
        ids = [str(item["id"]) for item in waiting]
        before = max(_newest(item).get("at", "") for item in waiting)
        await self._changed(f"{_THREATS}/mitigate/{action}", {"ids": ids}, None)
        return _running(order.name, ids, before)

    async def _mitigated(self, running: _Running, handle: str) -> Done:
        """By what each threat reports of the mitigation since the order."""
        page, _ = await self._page(_THREATS, {"ids": ",".join(running.ids), "limit": str(MAX_FOUND)})
        action = _MITIGATIONS[running.action]
        states = []
        for raw in page.data:
            newest = _newest(decoded(raw))
            said, status = newest.get("state", ("", ""))
            states.append(status if said == action and newest["at"] > running.before else "pending")
        failed = states.count("failed")
        if failed:
            return Done("failed", f"{action} failed for {failed} of {len(states)} threats")
        if not states or any(state != "success" for state in states):
            return Done("running", f"{action}: {states.count('success')} of {len(states)} threats", handle)
        return Done("completed", f"{action}: {len(states)} threats")

    async def _block(self, order: Order) -> Done:
        field = {40: "value", 64: "sha256Value"}.get(len(order.target))
        if field is None:
            raise Rejected("SentinelOne's blocklist knows files by SHA-1 and SHA-256, not by MD5")
        there = {each.get("osType") for each in await self._blocked(order.target)}
        for system in self.set.systems:
            if system not in there:
                entry = {
                    "type": "black_hash",
                    field: order.target,
                    "osType": system,
                    "source": "user",
                    "description": f"{order.reason or 'blocked'} ({order.by}; {order.key})"[:1_000],
                }
                await self._api.ask("POST", _BLOCKLIST, json={"filter": self._scope(), "data": entry})
        return Done("completed", f"{order.target} is on the blocklist for {', '.join(self.set.systems)}")

    async def _blocked(self, hash: str) -> list[dict[str, Any]]:
        """Entries of the file on the blocklist of our scope; by free text, since SHA-256 has a field of its own."""
        scope = {name: "true" if value is True else ",".join(value) for name, value in self._scope().items()}
        page, _ = await self._page(_BLOCKLIST, {"type": "black_hash", "query": hash, "limit": "1000", **scope})
        found = [decoded(raw) for raw in page.data]
        return [each for each in found if hash.lower() in (each.get("value"), each.get("sha256Value"))]

    def _scope(self) -> dict[str, Any]:
        """Where entries of the blocklist are made: sites, or accounts, or everywhere."""
        if self.set.sites:
            return {"siteIds": list(self.set.sites)}
        return {"accountIds": list(self.set.accounts)} if self.set.accounts else {"tenant": True}

    # ------------------------------------------------------------ asking

    async def _page(self, path: str, params: Mapping[str, str]) -> tuple[_Page, Reply]:
        within: dict[str, str] = {}
        if path in (_THREATS, _AGENTS):
            scopes = (("accountIds", self.set.accounts), ("siteIds", self.set.sites))
            within = {name: ",".join(ids) for name, ids in scopes if ids}
        reply = await self._api.ask("GET", path, params={**within, **params})
        return rows(reply, _Page, path), reply

    async def _one(self, path: str, id: str, what: str) -> dict[str, Any]:
        page, _ = await self._page(path, {"ids": id})
        if not page.data:
            raise Rejected(f"SentinelOne has no {what} {id[:200]}", status=404)
        return decoded(page.data[0])

    async def _changed(self, path: str, which: Mapping[str, Any], data: Mapping[str, Any] | None) -> None:
        """Rejected where it took hold of nothing."""
        body: dict[str, Any] = {"filter": which} | ({} if data is None else {"data": data})
        reply = await self._api.ask("POST", path, json=body)
        affected = ((reply.data or {}).get("data") or {}).get("affected") if isinstance(reply.data, dict) else None
        if affected == 0:
            raise Rejected(f"POST {path}: nothing was affected; the token may not reach it")


def _running(action: str, ids: Sequence[str], before: str = "") -> Done:
    handle = msgspec.json.encode(_Running(action, tuple(ids), before)).decode()
    return Done("running", f"{action} was taken", handle)


def _scanned(agent: Mapping[str, Any], running: _Running, handle: str) -> Done:
    status, ended = agent.get("scanStatus"), str(agent.get("scanFinishedAt") or "")
    if status == "finished" and ended != running.before:
        return Done("completed", f"the scan of {agent.get('computerName')} has finished")
    if status == "aborted" and str(agent.get("scanAbortedAt") or "") > running.before:
        return Done("failed", f"the scan of {agent.get('computerName')} was aborted")
    return Done("running", f"the scan of {agent.get('computerName')}: {status}", handle)


def _newest(item: Mapping[str, Any]) -> dict[str, Any]:
    """The newest report of a threat about quarantine: {"at", "state": (action, status)}; {} where there is none."""
    found = [
        {"at": instant_of(each.get("lastUpdate")), "state": (action, str(each.get("status")).lower())}
        for each in item.get("mitigationStatus") or ()
        if isinstance(each, dict)
        for action in _MITIGATIONS.values()
        if str(each.get("action")).replace("-", "") == action.replace("-", "")
    ]
    return max(found, key=lambda each: str(each["at"]), default={})


def _has(item: Mapping[str, Any], field: str, hash: str) -> bool:
    threat = item.get("threatInfo") or item
    return str(threat.get(field) or "").lower() == hash.lower()


def _shown(at: str) -> str:
    """With six digits, as the API's own instants; cut, so that `gte` includes it."""
    return at[:26] + "Z"
