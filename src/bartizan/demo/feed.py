"""Feeds the sample organisation to a server through its public interfaces only: the Graph API and `/ingest`."""

import asyncio
import itertools
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import msgspec
import structlog

from bartizan.demo import governance, intelligence, posture, profiles, story, telemetry
from bartizan.demo.organisation import Organisation

BATCH_ROWS = 500
BATCH_REQUESTS = 20  # of one $batch
HISTORY_DAYS = 7
STORIES = (timedelta(hours=21), timedelta(days=3, hours=9))  # before the last midnight: attacks of the past
STORY_EVERY = timedelta(minutes=30)
LIVE_PAUSE_MIN = (0.4, 0.8)  # between two ordinary items: often enough that who watches sees something
_log = structlog.get_logger(__name__)


class Refused(Exception):
    """The server answered with an error."""


class Server:
    """A client of one server, as one application by client credentials; renews its token."""

    def __init__(self, session: aiohttp.ClientSession, root: str, tenant: str, client_id: str, secret: str) -> None:
        self._session = session
        self._root = root.rstrip("/")
        self._tenant = tenant
        self._form = {
            "grant_type": "client_credentials",
            "client_id": client_id,
            "client_secret": secret,
            "scope": "https://graph.microsoft.com/.default",
        }
        self._token = ""
        self._until = datetime.min.replace(tzinfo=UTC)

    async def _authorization(self) -> dict[str, str]:
        if datetime.now(UTC) >= self._until:
            url = f"{self._root}/{self._tenant}/oauth2/v2.0/token"
            async with self._session.post(url, data=self._form) as answer:
                body = await answer.json()
                if answer.status != 200:
                    raise Refused(f"no token: {body.get('error_description', answer.status)}")
            self._token = body["access_token"]
            self._until = datetime.now(UTC) + timedelta(seconds=int(body["expires_in"]) - 300)
        return {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}

    async def send(
        self, method: str, path: str, body: Any = None, *, present: bool = False, renew: bool = False
    ) -> dict[str, Any]:
        """The answer's JSON. With `present`, an object that is there already (409) is no error; with `renew` it takes
        over what is sent."""
        content = None if body is None else msgspec.json.encode(body)
        prefer = {"Prefer": "resolution=merge-duplicates"} if renew else {}
        for _ in range(5):
            headers = {**await self._authorization(), **prefer}
            async with self._session.request(method, self._root + path, data=content, headers=headers) as answer:
                found = await answer.read()
                if answer.status in (429, 503):
                    await asyncio.sleep(float(answer.headers.get("Retry-After", "1")))
                    continue
                if answer.status >= 400 and not (present and answer.status == 409):
                    raise Refused(f"{method} {path}: {answer.status} {found[:500].decode(errors='replace')}")
                return msgspec.json.decode(found) if found and answer.status < 300 else {}
        raise Refused(f"{method} {path}: still busy after 5 tries")

    async def post_all(self, path: str, rows: list[dict[str, Any]], *, renew: bool = False) -> list[str]:
        """In batches; the ids that `/ingest` names."""
        ids: list[str] = []
        for start in range(0, len(rows), BATCH_ROWS):
            answer = await self.send("POST", path, rows[start : start + BATCH_ROWS], present=True, renew=renew)
            ids += answer.get("ids", [])
        return ids

    async def post_once(self, path: str, rows: list[dict[str, Any]]) -> None:
        """For sets whose objects get their ids from the server: nothing where the set has anything in it."""
        if not await self.holds(f"{path}?$top=1"):
            await self.post_all(path, rows)

    async def holds(self, path: str) -> bool:
        """Whether a list has anything in it."""
        return bool((await self.send("GET", path))["value"])

    async def link_all(self, links: Iterable[tuple[str, str]]) -> None:
        """(path of a $ref collection, path of what joins it), both below the version."""
        requests = [
            {
                "id": str(number),
                "method": "POST",
                "url": path,
                "headers": {"Content-Type": "application/json"},
                "body": {"@odata.id": f"https://graph.microsoft.com/v1.0/{target}"},
            }
            for number, (path, target) in enumerate(links)
        ]
        for start in range(0, len(requests), BATCH_REQUESTS):
            answer = await self.send("POST", "/v1.0/$batch", {"requests": requests[start : start + BATCH_REQUESTS]})
            for each in answer["responses"]:
                if each["status"] >= 400 and each["status"] != 409:
                    raise Refused(f"POST {requests[int(each['id'])]['url']}: {each['status']} {each.get('body')}")


def _grouped(items: Iterable[telemetry.Item]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for item in items:
        groups.setdefault(item.path, []).append(item.body)
    yield from groups.items()


async def fill(server: Server, org: Organisation, now: datetime, *, days: int = HISTORY_DAYS) -> None:
    """The organisation and its past: doing it twice changes nothing."""
    for path, rows in (
        *posture.directory(org),
        *posture.registrations(org),
        *posture.risks(org, now),
        *profiles.profiles(org, now),
        *profiles.entitlements(org, now),
        *governance.sets(org, now),
        *intelligence.intelligence(now),
    ):
        await server.post_all(path, rows)
    for path, said in governance.only():
        await server.send("POST", path, said, present=True)
    standing = (
        *posture.policies(),
        *posture.response(),
        *posture.rules(),
        *posture.hunting(),
        *posture.indicators(now),
        *posture.suppressions(now),
    )
    for path, rows in standing:
        await server.post_once(path, rows)
    for path, rows in posture.scores(org, now):
        for row in rows:  # one by one: a day that is there already shall not keep out today's
            await server.post_all(path, [row])
    await server.link_all(itertools.chain(posture.memberships(org), profiles.licensed(org)))
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    past = itertools.chain.from_iterable(
        telemetry.ordinary(org, midnight - timedelta(days=back), min(now, midnight - timedelta(days=back - 1)))
        for back in range(days, -1, -1)
    )
    for path, rows in _grouped(past):
        await server.post_all(path, rows)
    for number, ago in enumerate(STORIES):
        if ago < timedelta(days=max(days, 1)):
            for path, rows in _grouped(story.attack(org, midnight - ago, number)):
                await server.post_all(path, rows)


class Life:
    """From now on, as time passes: an ordinary stream, whose alerts somebody looks at, and now and then the attack."""

    def __init__(self, server: Server, org: Organisation) -> None:
        self._server = server
        self._org = org
        self._number = len(STORIES)
        self._open: list[str] = []  # alerts of the ordinary stream that nobody has looked at

    async def run(self) -> None:
        """Until cancelled."""
        now = datetime.now(UTC)
        stream = telemetry.ordinary(self._org, now, now + timedelta(days=365), pause_min=LIVE_PAUSE_MIN)
        item = next(stream)
        steps = self._story(now + timedelta(minutes=1))
        while True:
            now = datetime.now(UTC)
            while item.at <= now:
                await self._ordinary(item)
                item = next(stream)
            while steps and steps[0].at <= now:
                step = steps.pop(0)
                await self._server.post_all(step.path, [step.body], renew=step.path == posture.RISKY_USERS)
                if not steps:
                    _log.info("story finished")
                    steps = self._story(now + STORY_EVERY)
            await asyncio.sleep(1)

    def _story(self, begins: datetime) -> list[telemetry.Item]:
        self._number += 1
        return list(story.attack(self._org, begins, self._number))

    async def _ordinary(self, item: telemetry.Item) -> None:
        """A new alert; the one before it turns out to be nothing."""
        self._open += await self._server.post_all(item.path, [item.body])
        while len(self._open) > 1:
            known = {"status": "resolved", "classification": "informationalExpectedActivity"}
            await self._server.send("PATCH", f"/v1.0/security/alerts_v2/{self._open.pop(0)}", known)
