"""HTTP to a system: what goes wrong is told apart, bounded, and tells no secret."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Annotated, Any

import pytest
from aiohttp import web
from msgspec import Meta, Struct

from bartizan.auth.tls import ca_pem, server_context
from bartizan.connectors import http
from bartizan.connectors.http import Http, http_of
from bartizan.extend.connectors import Away, ConnectorError, Denied, Rejected, Secret
from bartizan.settings import Settings

pytestmark = pytest.mark.anyio
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
TOKEN = 'tok/en "1234'


@asynccontextmanager
async def serving(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    try:
        port = runner.addresses[0][1]
        yield f"http://127.0.0.1:{port}" if tls is None else f"https://localhost:{port}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def speaking(*said: bytes, hold: bool = False) -> AsyncIterator[str]:
    """A server that says this, whatever is asked."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for part in said:
            writer.write(part)
        await writer.drain()
        if hold:
            await reader.read()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def outside(**options: Any) -> AsyncIterator[Http]:
    made = Http(**options)
    try:
        yield made
    finally:
        await made.close()


async def fault(client: Http, url: str, **options: Any) -> ConnectorError:
    with pytest.raises(ConnectorError) as caught:
        await client.ask("GET", url, **options)
    return caught.value


async def test_what_is_sent_and_what_comes_back() -> None:
    async def answer(request: web.Request) -> web.Response:
        headers = [("Link", "<a>; rel=self"), ("Link", "<b>; rel=next")]
        seen = {
            "body": (await request.read()).decode(),
            "query": dict(request.query),
            "kind": request.headers.get("Content-Type"),
            "cookie": request.headers.get("Cookie"),
        }
        made = web.json_response(seen)
        for name, value in headers:
            made.headers.add(name, value)
        made.set_cookie("session", "x")
        return made

    async with serving(answer) as at, outside() as client:
        reply = await client.ask("POST", f"{at}/a%20b?x=1", json={"k": 1}, params={"y": 2})
        assert reply.data["body"] == '{"k":1}' and reply.data["query"] == {"x": "1", "y": "2"}
        assert reply.headers["link"] == "<a>; rel=self, <b>; rel=next"
        form = await client.ask("POST", at, form={"grant_type": "x y"})
        assert form.data["body"] == "grant_type=x+y" and form.data["kind"].endswith("form-urlencoded")
        assert form.data["cookie"] is None, "one answer's cookies are not the next question's"


KINDS: dict[type[ConnectorError], tuple[int, ...]] = {
    Rejected: (400, 404, 409, 501),
    Denied: (401, 403),
    Away: (408, 425, 429, 500, 503, 507, 522),
}


@pytest.mark.parametrize(("status", "kind"), [(status, kind) for kind in KINDS for status in KINDS[kind]])
async def test_statuses(status: int, kind: type[ConnectorError]) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"error": {"message": "what\n it says"}}, status=status)

    async with serving(answer) as at, outside() as client:
        found = await fault(client, f"{at}/x?key=query-secret")
        assert (type(found), found.status) == (kind, status)
        assert found.message == f"GET {at}/x: {status} what it says"
        reply = await client.ask("GET", at, allow=(status,))
        assert reply.status == status


async def test_redirects_are_not_followed() -> None:
    async def answer(request: web.Request) -> web.Response:
        assert request.path == "/here"
        raise web.HTTPFound(location="https://elsewhere.example/there?code=query-secret")

    async with serving(answer) as at, outside() as client:
        found = await fault(client, f"{at}/here", headers={"Authorization": "Bearer x"})
    assert type(found) is Rejected
    assert found.message.endswith("it sends on to https://elsewhere.example/there: set that address")


async def test_retry_after() -> None:
    asked = {
        "120": 120.0,
        "1.5": 1.5,
        "999999": http.MAX_RETRY_AFTER_S,
        "soon": None,
        "-3": None,
        "": None,
        format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True): 0.0,
        format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True): http.MAX_RETRY_AFTER_S,
    }
    said = iter(asked)

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": next(said)})

    async with serving(answer) as at, outside() as client:
        for text, seconds in asked.items():
            found = await fault(client, at)
            assert isinstance(found, Away) and found.retry_after_s == seconds, text


async def test_bounds_of_size_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what is unpacked, not of what is sent; and of the whole answer, not of each piece."""
    monkeypatch.setattr(http, "MAX_REPLY_BYTES", 100_000)

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/bomb":
            made = web.Response(body=b"0" * 10_000_000)
            made.enable_compression()
            return made
        stream = web.StreamResponse()
        await stream.prepare(request)
        while True:
            await stream.write(b"drop")
            await asyncio.sleep(0.02)

    async with serving(answer) as at, outside() as client:
        found = await fault(client, f"{at}/bomb")
        assert type(found) is Rejected and "more than 100000 bytes" in found.message
        found = await fault(client, f"{at}/drops", timeout_s=0.2)
        assert type(found) is Away and "no answer within 0.2 s" in found.message


async def test_what_is_not_http() -> None:
    for said in (
        [b"SSH-2.0-OpenSSH_9.6\r\n\r\n"],
        [b"\x16\x03\x01\x00\x00"],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"],
        [b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope"],
        [b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 100_000 + b"\r\n\r\n"],
        [],
    ):
        async with speaking(*said) as at, outside() as client:
            found = await fault(client, at, timeout_s=5)
            assert type(found) is Away, (said, found)
    async with speaking(hold=True) as at, outside() as client:
        assert "no answer within" in (await fault(client, at, timeout_s=0.1)).message


async def test_who_is_not_there() -> None:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    async with outside() as client:
        found = await fault(client, f"http://127.0.0.1:{port}/x")
        assert type(found) is Away and "not reached" in found.message
        for url in ("", "ftp://x.example", "x.example/path", "http://", "http://[::1", "https:///x"):
            assert type(await fault(client, url)) is Rejected, url


async def test_json_that_is_none() -> None:
    texts = iter([b"", b"{", b'{"x": NaN}', b"[" * 100_000, b'"ok"'])

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=next(texts), content_type="application/json")

    async with serving(answer) as at, outside() as client:
        found = [(await client.ask("GET", at)).data for _ in range(5)]
    assert found[:2] == [None, None] and str(found[2]["x"]) == "nan" and found[3:] == [None, "ok"]


async def test_certificates(tmp_path: Path) -> None:
    """Those of an own authority are trusted where it is named; nobody is trusted for being on the network."""
    settings = Settings(data=str(tmp_path))
    context = await asyncio.to_thread(server_context, settings)
    authority = tmp_path / "authority.pem"
    authority.write_bytes(ca_pem(settings))

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"fine": True})

    async with serving(answer, context) as at:
        async with outside() as client:
            found = await fault(client, at)
            assert type(found) is Denied and "certificate is not trusted" in found.message
        async with outside(ca_file=str(authority)) as client:
            assert (await client.ask("GET", at)).data == {"fine": True}
            found = await fault(client, at.replace("localhost", "127.0.0.2"))
            assert isinstance(found, Denied | Away), "of another name"
        async with outside(verify=False) as client:
            assert (await client.ask("GET", at.replace("localhost", "127.0.0.1"))).data == {"fine": True}
        async with outside(ca_file=str(tmp_path / "none.pem")) as client:
            assert "none.pem cannot be read" in (await fault(client, at)).message
    async with serving(answer) as plain, outside() as client:
        found = await fault(client, plain.replace("http:", "https:"))
        assert type(found) is Away, "it does not speak TLS"


class Hooks(Struct, frozen=True, forbid_unknown_fields=True):
    hook: Annotated[Secret | None, Meta(description="its path is a secret")] = None
    keys: Annotated[dict[str, Secret], Meta(description="several")] = {}


async def test_secrets_are_in_no_message() -> None:
    """Though the address holds one and the system repeats what it was sent."""

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"message": f"bad key {request.headers['X-Key']} {TOKEN}"}, status=401)

    async with serving(answer) as at:
        client = http_of(Hooks(hook=f"{at}/services/T0/secret-path", keys={"one": TOKEN, "two": "abcd1234"}))
        found = await fault(client, f"{at}/services/T0/secret-path", headers={"X-Key": "abcd1234"})
        assert found.message == str(found) == "GET ***: 401 bad key *** ***"
        found = await fault(client, f"{at}/x", headers={"X-Key": "abcd1234\r\nX-Other: 1"})
        assert type(found) is Rejected and "X-Key" in found.message and "abcd1234" not in found.message
        found = await fault(client, at.replace("http://", "http://user:abcd1234@"), headers={"X-Key": "k"})
        assert "abcd1234" not in found.message and "user" not in found.message
        await client.close()


async def test_closed_while_it_is_asked() -> None:
    """A connection that changes: who is waiting for an answer gets Away, and so does who comes later."""
    asked = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        asked.set()
        await asyncio.sleep(60)
        return web.Response()

    async with serving(answer) as at:
        client = Http()
        waiting = asyncio.create_task(fault(client, at))
        await asked.wait()
        await client.close()
        assert type(await waiting) is Away
        assert type(await fault(client, at)) is Away
