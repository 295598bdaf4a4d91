"""Files that queries name: only where a prefix allows it, however an address is written and wherever it leads."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from bartizan.errors import BadRequest, BartizanError, Forbidden
from bartizan.respond import files as module
from bartizan.respond.addresses import Rules
from bartizan.respond.files import Allowed, Files
from bartizan.respond.outbound import Policy

pytestmark = pytest.mark.anyio
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Site:
    """A server on loopback: what it was asked, and where it is."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: dict[str, Answer] = {}
        self.root = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.raw_path)
        assert "Authorization" not in request.headers and "Cookie" not in request.headers
        known = self.answers.get(request.path)
        return web.Response(text=request.raw_path) if known is None else await known(request)

    def leads(self, path: str, to: str) -> None:
        async def redirect(request: web.Request) -> web.StreamResponse:
            return web.Response(status=302, headers={"Location": to})

        self.answers[path] = redirect


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    made = Site()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)  # one answer takes longer than anybody waits
    await runner.setup()
    listener = web.TCPSite(runner, "127.0.0.1", 0)
    await listener.start()
    port = runner.addresses[0][1]
    made.root = f"http://127.0.0.1:{port}"
    yield made
    await runner.cleanup()


@contextlib.asynccontextmanager
async def reader(*prefixes: str, private: bool = True, most: int = 1_000, clock: Callable[[], float] | None = None,
                 lookup: Callable[[str, int], list[str]] | None = None) -> AsyncIterator[Files]:  # fmt: skip
    more: dict[str, Any] = {
        name: value for name, value in {"clock": clock, "lookup": lookup}.items() if value is not None
    }
    policy = Policy(Rules(allow_private=private), connect_s=2.0)
    made = Files(policy, Allowed(prefixes), most_bytes=most, limit_s=2.0, **more)
    try:
        yield made
    finally:
        await made.close()


async def test_what_a_prefix_allows_is_read(site: Site) -> None:
    async with reader(f"{site.root}/lists/", f"{site.root}/one.csv") as files:
        for path in ("/lists/a.csv", "/lists/deep/b%20c.csv?sig=1", "/one.csv", "/one.csv?x=/lists/"):
            assert (await files.get("t", site.root + path)).decode() == path


@pytest.mark.parametrize(
    "path",
    [
        "/", "/lists", "/listsX/a", "/Lists/a", "/one.csv/more", "/one.csvx", "/lists/../admin", "/lists/%2e%2e/admin",
        "/lists/.%2E/admin", "/lists/..;/admin", "/lists//../admin", "/lists/%2f..%2fadmin", "/lists/%5c..%5cadmin",
    ],
)  # fmt: skip
async def test_what_it_does_not_allow_is_not_asked(site: Site, path: str) -> None:
    async with reader(f"{site.root}/lists/", f"{site.root}/one.csv") as files:
        with pytest.raises(Forbidden, match="externaldata_allowed"):
            await files.get("t", site.root + path)
    assert site.asked == []


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "ftp://127.0.0.1/lists/", "http://user@127.0.0.1/lists/", "http://127.1/lists/a",
        "http://0x7f000001/lists/a", "http://127.0.0.1:1/lists/a#b", "http://[::ffff:7f00:1", "a.csv", "",
        "http://127.0.0.1:99999/lists/",
    ],
)  # fmt: skip
async def test_what_is_no_plain_address_is_refused(site: Site, url: str) -> None:
    async with reader("http://127.0.0.1/lists/") as files:
        with pytest.raises(BartizanError):
            await files.get("t", url)


async def test_another_host_port_or_scheme_is_another_place(site: Site) -> None:
    port = site.root.rpartition(":")[2]
    async with reader(f"{site.root}/lists/") as files:
        hosts = f"http://127.0.0.2:{port} https://127.0.0.1:{port} http://127.0.0.1:1 http://127.0.0.1.x:{port}"
        for root in hosts.split():
            with pytest.raises(BartizanError):
                await files.get("t", f"{root}/lists/a")
    assert site.asked == []


async def test_private_addresses_need_leave(site: Site) -> None:
    """Also where a name leads to one; a listed prefix does not open them."""
    async with reader(f"{site.root}/lists/", private=False) as files:
        with pytest.raises(BadRequest, match="https"):
            await files.get("t", f"{site.root}/lists/a")
    async with reader("https://10.0.0.1/", private=False) as files:
        with pytest.raises(BadRequest, match="allow_private_externaldata"):
            await files.get("t", "https://10.0.0.1/a")
    for address in ("127.0.0.1", "10.0.0.8", "169.254.169.254", "::1"):
        async with reader("https://lists.example/", private=False, lookup=lambda *_, at=address: [at]) as files:
            with pytest.raises(BadRequest, match="cannot be read"):
                await files.get("t", "https://lists.example/a")
    async with reader("http://metadata.example/", lookup=lambda *_: ["169.254.169.254"]) as files:
        with pytest.raises(BadRequest, match="cannot be read"):
            await files.get("t", "http://metadata.example/a")
    assert site.asked == []


async def test_a_redirect_is_checked_as_the_first_address(site: Site) -> None:
    site.leads("/lists/moved", "/lists/here")
    site.leads("/lists/away", "/secret")
    site.leads("/lists/far", "https://elsewhere.example/lists/here")
    site.leads("/lists/up", "../secret")
    site.leads("/lists/file", "file:///etc/passwd")
    site.leads("/lists/round", "/lists/round")
    async with reader(f"{site.root}/lists/") as files:
        assert await files.get("t", f"{site.root}/lists/moved") == b"/lists/here"
        for path in ("away", "far", "up", "file"):
            with pytest.raises(BartizanError, match=r"where it leads to|https"):
                await files.get("t", f"{site.root}/lists/{path}")
        site.asked.clear()
        with pytest.raises(BadRequest, match="more than 3 redirects"):
            await files.get("t", f"{site.root}/lists/round")
    assert site.asked == ["/lists/round"] * 4
    assert "/secret" not in site.asked


async def test_bounds(site: Site) -> None:
    async def large(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"x" * 1_001)

    async def endless(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await answer.write(b"x" * 100)
        return answer

    async def slow(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    async def packed(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"x", headers={"Content-Encoding": "gzip"})

    async def gone(request: web.Request) -> web.StreamResponse:
        return web.Response(status=404)

    site.answers.update({"/l": large, "/e": endless, "/s": slow, "/p": packed, "/g": gone})
    async with reader(f"{site.root}/") as files:
        for path, says in {"l": "more than 1,000 bytes", "e": "more than 1,000 bytes", "s": "no answer within",
                           "p": "encoded", "g": "answered 404"}.items():  # fmt: skip
            with pytest.raises(BartizanError, match=says):
                await files.get("t", f"{site.root}/{path}?sig=secret")


async def test_what_is_told_holds_no_query(site: Site) -> None:
    async with reader(f"{site.root}/lists/") as files:
        with pytest.raises(Forbidden) as caught:
            await files.get("t", f"{site.root}/x?sig=secret")
    assert "secret" not in caught.value.message


async def test_a_file_is_kept_for_a_moment_for_its_tenant(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    async with reader(f"{site.root}/", clock=lambda: now[0]) as files:
        for _ in range(2):
            await files.get("t", f"{site.root}/a")
        assert site.asked == ["/a"]
        await files.get("u", f"{site.root}/a")
        now[0] = module.KEPT_S + 1
        await files.get("t", f"{site.root}/a")
        assert site.asked == ["/a"] * 3
        monkeypatch.setattr(module, "MAX_KEPT_BYTES", 1_000)  # one
        site.asked.clear()
        for path in ("a", "bc", "bc", "a"):
            await files.get("t", f"{site.root}/{path}")
        assert site.asked == ["/bc", "/a"]


@pytest.mark.parametrize(
    "text", ["", "example.org/", "ftp://x/", "https://u@x/", "https://x/?a", "https://x/a/../b/", "https://x/%2e/"]
)
def test_what_is_no_prefix(text: str) -> None:
    with pytest.raises(ValueError, match="externaldata_allowed"):
        Allowed((text,))
