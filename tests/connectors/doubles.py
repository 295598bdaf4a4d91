"""What the doubles of products share: faults before they work, tokens that end, and a look at what was pulled."""

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs

from aiohttp import web

import bartizan.sources  # noqa: F401 - registers them
from bartizan.extend import SOURCES, Record
from bartizan.extend.connectors import Batch
from bartizan.model.alert import Alert


class Double:
    """A subclass answers in `served`. `faults` are given in turn to what is asked beside tokens."""

    token_path = ""

    def __init__(self) -> None:
        self.faults: list[web.StreamResponse] = []
        self.asked: list[tuple[str, str, Any]] = []
        self.tokens: list[dict[str, str]] = []  # forms with which they were asked for
        self.valid: set[str] = set()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path == self.token_path:
            return self.token({name: value[0] for name, value in parse_qs(await request.text()).items()})
        text = await request.text()
        self.asked.append((request.method, request.path, json.loads(text) if text else None))
        if not self.knows(request.headers.get("Authorization", "")):
            return self.refused()
        if self.faults:
            return self.faults.pop(0)
        return self.served(request, self.asked[-1][2])

    def token(self, form: dict[str, str]) -> web.StreamResponse:
        self.tokens.append(form)
        token = f"token-{len(self.tokens)}"
        self.valid = {f"Bearer {token}"}
        return web.json_response({"access_token": token, "expires_in": 1799, "token_type": "bearer"}, status=201)

    def knows(self, authorization: str) -> bool:
        return authorization in self.valid

    def refused(self) -> web.StreamResponse:
        return web.json_response({"errors": [{"code": 401, "message": "access denied"}]}, status=401)

    def served(self, request: web.Request, body: Any) -> web.StreamResponse:
        raise NotImplementedError

    def bodies(self, method: str, path: str) -> list[Any]:
        return [body for how, where, body in self.asked if (how, where) == (method, path)]


def raws(batches: Sequence[Batch]) -> list[dict[str, Any]]:
    return [json.loads(one.raw) for batch in batches for one in batch.records]


def alerts(batches: Sequence[Batch]) -> list[Alert]:
    """What the source makes of the pulled records."""
    made: list[Alert] = []
    for batch in batches:
        for one in batch.records:
            source = SOURCES[one.source]
            found = source.normalise(Record(one.raw, one.raw.decode(), json.loads(one.raw), one.said))
            made += [item for item in found if isinstance(item, Alert)]
    return made
