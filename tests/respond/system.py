"""A system that carries out actions, over HTTP, and two connectors for it. It misbehaves by the name of the target.

`away-N` is not there N times, `denied` and `rejected` answer so, `slow-N` runs until it has been asked N times, `never`
runs for ever, `stubborn` too and cannot be cancelled, `lost` does it and gives no answer the first time.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from typing import Annotated, Any, ClassVar

from aiohttp import web
from msgspec import Meta, Struct

from bartizan.extend.connectors import Connector, Done, Offer, Order, Outside, Rejected, Secret


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    url: Annotated[str, Meta(description="Where the system is.")]
    token: Annotated[Secret, Meta(description="What it knows us by.")]


class _Acts(Connector):
    vendor = "Northwall"
    settings = Settings

    def __init__(self, settings: Settings, outside: Outside) -> None:
        super().__init__(settings, outside)
        self._headers = {"Authorization": f"Bearer {settings.token}"}

    async def _ask(self, method: str, path: str, json: Any = None) -> Done:
        answer = await self.outside.ask(method, f"{self.set.url}{path}", headers=self._headers, json=json)
        return Done(answer.data["state"], answer.data.get("detail", ""), answer.data.get("handle"))

    async def act(self, order: Order) -> Done:
        if order.target == "broken":
            raise ValueError(f"a fault of the connector, which knows the {self._headers}")
        sent = {"name": order.name, "target": order.target, "key": order.key, "parameters": dict(order.parameters)}
        return await self._ask("POST", "/act", sent)

    async def follow(self, handle: str) -> Done:
        return await self._ask("GET", f"/runs/{handle}")

    async def cancel(self, handle: str) -> Done:
        if handle.startswith("stubborn"):
            raise Rejected("it cannot be cancelled")
        return await self._ask("DELETE", f"/runs/{handle}")


class Wall(_Acts):
    name = "test-wall"
    product = "Wall"
    doc = "A firewall of the tests."
    offers: ClassVar = {
        "blockAddress": Offer("address", "Blocks it.", parameters={"hours": "Edm.Int32", "log": "Edm.Boolean"}),
        "unblockAddress": Offer("address", "Lets it pass."),
        "blockUrl": Offer("url", "Blocks it.", parameters={"zone": "Edm.String!"}),
    }


class People(_Acts):
    name = "test-people"
    product = "People"
    doc = "A directory and its devices, of the tests."
    offers: ClassVar = {
        "disableUser": Offer("user", "Suspends it.", undo="enableUser"),
        "enableUser": Offer("user", "Lets it in."),
        "revokeSignInSessions": Offer("user", "Ends its sessions."),
        "isolateDevice": Offer("device", "Cuts it off."),
        "releaseDevice": Offer("device", "Puts it back."),
        "askNicely": Offer("user", "The connector's own."),
    }


class System:
    """`keys` has the targets that were acted on by key: a key that is known changes nothing."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[dict[str, Any]] = []  # every POST
        self.done: dict[str, str] = {}  # key -> target
        self.tokens: set[str | None] = set()
        self.at_once = self.most_at_once = 0
        self.delay_s = 0.0
        self._tries: Counter[str] = Counter()
        self._looks: Counter[str] = Counter()
        self._cancelled: set[str] = set()

    async def act(self, request: web.Request) -> web.Response:
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        try:
            await asyncio.sleep(self.delay_s)
            return await self._act(request)
        finally:
            self.at_once -= 1

    async def _act(self, request: web.Request) -> web.Response:
        self.tokens.add(request.headers.get("Authorization"))
        order = await request.json()
        self.asked.append(order)
        target, key = str(order["target"]).partition("@")[0], order["key"]
        self._tries[key] += 1
        kind, _, number = target.partition("-")
        if kind == "away" and self._tries[key] <= int(number):
            return web.json_response({"message": "tea time"}, status=503)
        if kind in ("denied", "rejected"):
            return web.json_response({"message": f"{kind} it is"}, status=403 if kind == "denied" else 422)
        self.done[key] = order["target"]
        if kind == "lost" and self._tries[key] == 1:
            return web.Response(status=504)
        if kind in ("slow", "never", "stubborn"):
            return web.json_response({"state": "running", "handle": f"{target}:{len(self.asked)}"})
        return web.json_response({"state": "completed", "detail": "as you wish"})

    async def look(self, request: web.Request) -> web.Response:
        handle = request.match_info["handle"]
        kind, _, number = handle.partition(":")[0].partition("-")
        self._looks[handle] += 1
        if handle in self._cancelled:
            return web.json_response({"state": "failed", "detail": "cancelled there"})
        if kind == "slow" and self._looks[handle] >= int(number):
            return web.json_response({"state": "completed", "detail": "took a while"})
        return web.json_response({"state": "running", "handle": handle})

    async def cancel(self, request: web.Request) -> web.Response:
        self._cancelled.add(request.match_info["handle"])
        return web.json_response({"state": "failed", "detail": "cancelled there"})


@contextlib.asynccontextmanager
async def system() -> AsyncIterator[System]:
    made = System()
    app = web.Application()
    app.router.add_post("/act", made.act)
    app.router.add_get("/runs/{handle}", made.look)
    app.router.add_delete("/runs/{handle}", made.cancel)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()
