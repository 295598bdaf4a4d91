"""Feeds the sample organisation to a server through its public interfaces only: the Graph API and `/ingest`."""

import asyncio
import itertools
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import msgspec
import structlog

from bartizan.demo import posture, story, telemetry
from bartizan.demo.organisation import Organisation, sample_id

BATCH_ROWS = 500
HISTORY_DAYS = 7
STORY_EVERY = timedelta(minutes=45)
_log = structlog.get_logger(__name__)
_STORY_TITLE = "Password spray followed by credential theft and exfiltration"


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

    async def send(self, method: str, path: str, body: Any, *, present: bool = False) -> dict[str, Any]:
        """The answer's JSON. With `present`, an object that is there already (409) is no error."""
        for _ in range(5):
            async with self._session.request(
                method, self._root + path, data=msgspec.json.encode(body), headers=await self._authorization()
            ) as answer:
                content = await answer.read()
                if answer.status in (429, 503):
                    await asyncio.sleep(float(answer.headers.get("Retry-After", "1")))
                    continue
                if answer.status >= 400 and not (present and answer.status == 409):
                    raise Refused(f"{method} {path}: {answer.status} {content[:500].decode(errors='replace')}")
                return msgspec.json.decode(content) if content and answer.status < 300 else {}
        raise Refused(f"{method} {path}: still busy after 5 tries")

    async def post_all(self, path: str, rows: list[dict[str, Any]]) -> list[str]:
        """In batches; the ids that `/ingest` names."""
        ids: list[str] = []
        for start in range(0, len(rows), BATCH_ROWS):
            answer = await self.send("POST", path, rows[start : start + BATCH_ROWS], present=True)
            ids += answer.get("ids", [])
        return ids


def _grouped(items: Iterable[telemetry.Item]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for item in items:
        groups.setdefault(item.path, []).append(item.body)
    yield from groups.items()


async def _send_story(server: Server, items: Iterable[telemetry.Item], at: datetime) -> None:
    ids: list[str] = []
    for path, rows in _grouped(items):
        ids += await server.post_all(path, rows)
    await _incident(server, ids, at)


async def _incident(server: Server, alert_ids: list[str], at: datetime) -> None:
    """Ties the alerts of a story together, as the products' own correlation would."""
    incident_id = sample_id("incident", telemetry.stamp(at))
    body = {
        "id": incident_id,
        "displayName": _STORY_TITLE,
        "severity": "high",
        "status": "active",
        "description": "One account was guessed, used from far away, and its machine gave up credentials.",
    }
    await server.send("POST", "/v1.0/security/incidents", body, present=True)
    await server.send(
        "POST",
        "/v1.0/security/alerts_v2/microsoft.graph.security.moveAlerts",
        {
            "alertIds": alert_ids,
            "incidentId": incident_id,
            "alertComment": "Same account and machine within minutes.",
            "newCorrelationReasons": "sameActor,temporalProximity",
        },
    )


async def fill(server: Server, org: Organisation, now: datetime, *, days: int = HISTORY_DAYS) -> None:
    """The organisation and its past: doing it twice changes nothing."""
    for batches in (
        posture.directory(org),
        posture.registrations(org),
        posture.policies(),
        posture.scores(org, now),
        posture.risks(org, now),
        posture.profiles(org, now),
    ):
        for path, rows in batches:
            await server.post_all(path, rows)
    for path, target in posture.memberships(org):
        await server.send("POST", path, {"@odata.id": f"https://graph.microsoft.com/v1.0/{target}"}, present=True)
    await server.send(
        "POST", "/beta/security/tiIndicators/submitTiIndicators", {"value": posture.indicators(now)}, present=True
    )
    await server.send("POST", "/beta/security/securityActions", posture.containment(), present=True)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    past = itertools.chain.from_iterable(
        telemetry.ordinary(org, midnight - timedelta(days=back), min(now, midnight - timedelta(days=back - 1)))
        for back in range(days, -1, -1)
    )
    for path, rows in _grouped(past):
        await server.post_all(path, rows)
    began = midnight - timedelta(days=1) + timedelta(hours=3)
    await _send_story(server, story.attack(org, began), began)


async def live(server: Server, org: Organisation) -> None:
    """From now on, as time passes: an ordinary stream and, every so often, the attack step by step. Until cancelled."""
    number = 1
    now = datetime.now(UTC)
    stream = telemetry.ordinary(org, now, now + timedelta(days=365))
    next_item = next(stream)
    steps = list(story.attack(org, now + timedelta(minutes=1), number))
    alert_ids: list[str] = []
    while True:
        now = datetime.now(UTC)
        while next_item.at <= now:
            await server.post_all(next_item.path, [next_item.body])
            next_item = next(stream)
        while steps and steps[0].at <= now:
            step = steps.pop(0)
            alert_ids += await server.post_all(step.path, [step.body])
            if not steps:
                await _incident(server, alert_ids, step.at)
                _log.info("story finished", alerts=len(alert_ids))
                number += 1
                alert_ids = []
                steps = list(story.attack(org, now + STORY_EVERY, number))
        await asyncio.sleep(1)
