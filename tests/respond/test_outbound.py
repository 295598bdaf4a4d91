"""The outbound client: only checked addresses, no redirects, bounds on time and size, TLS verified."""

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.respond.conftest import LAB, Receiver

from bartizan.errors import BadRequest
from bartizan.respond.addresses import Address, Rules
from bartizan.respond.outbound import MAX_BODY_BYTES, Outbound, Policy

pytestmark = pytest.mark.anyio
JSON = "application/json"


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Workers run on uvloop; the gate has to hold there too."""
    return "asyncio", {"use_uvloop": request.param}


async def test_posts(receiver: Receiver) -> None:
    async with Outbound(LAB) as outbound:
        reply = await outbound.post(f"{receiver.root}/a%2Fb?c=d%20e&f", b'{"value":[]}', content_type=JSON)
    assert reply.ok and reply.status == 202 and reply.error == ""
    (request,) = receiver.asked
    assert request.raw_path == "/a%2Fb?c=d%20e&f" and request.headers["Content-Type"] == JSON
    assert "Cookie" not in request.headers and request.headers["Accept-Encoding"] == "identity"


async def test_no_redirects(receiver: Receiver) -> None:
    """A redirect is an answer that is not 2xx; nobody follows it."""
    for status in (301, 302, 303, 307, 308):
        receiver.status["/hook"] = status
        async with Outbound(LAB) as outbound:
            reply = await outbound.post(f"{receiver.root}/hook", b"", content_type=JSON)
        assert reply.status == status and not reply.ok
    assert all(request.path == "/hook" for request in receiver.asked)


async def test_names_that_resolve_to_refused_addresses(receiver: Receiver) -> None:
    """A name is asked for, and no socket is made, where none of its addresses is allowed."""
    asked: list[tuple[str, int]] = []

    def lookup(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fe80::1%lo", "::ffff:127.0.0.1"]

    port = receiver.root.rpartition(":")[2]
    async with Outbound(Policy(), lookup) as outbound:
        for name in ("innocent.example.com", "localtest.me"):
            reply = await outbound.post(f"https://{name}:{port}/x", b"", content_type=JSON)
            assert reply.status is None and "may be connected to" in reply.error
    assert [host for host, _ in asked] == ["innocent.example.com", "localtest.me"] and not receiver.asked


async def test_plain_http_stays_in_the_lab(receiver: Receiver) -> None:
    """In a lab http goes to private addresses only: a name that resolves elsewhere is refused."""
    async with Outbound(LAB, lambda host, port: ["93.184.216.34"]) as outbound:
        reply = await outbound.post("http://example.com/", b"", content_type=JSON)
    assert reply.status is None and "may be connected to" in reply.error


async def test_rebinding(receiver: Receiver) -> None:
    """A name that answers well once and badly afterwards leads nowhere else: each answer is checked, and of several
    addresses only the allowed ones are connected to."""
    port = receiver.root.rpartition(":")[2]
    ends = []
    for answer in (["127.0.0.1"], ["169.254.169.254"], ["169.254.169.254", "127.0.0.1", "0.0.0.0"]):
        async with Outbound(LAB, lambda host, port, answer=answer: answer) as outbound:  # type: ignore[misc]
            reply = await outbound.post(f"http://rebound.example.com:{port}/", b'{"value":[]}', content_type=JSON)
            ends.append(reply.status)
    assert ends == [202, None, 202] and len(receiver.asked) == 2


class Blind(Rules, frozen=True):
    """Rules that let pass what is asked first, as a resolver that is fooled would."""

    calls: tuple[list[str], ...] = ([],)

    def allows(self, address: Address, *, encrypted: bool) -> bool:
        self.calls[0].append(str(address))
        return len(self.calls[0]) == 1 or super().allows(address, encrypted=encrypted)


async def test_the_gate_holds_whatever_the_resolver_says(receiver: Receiver) -> None:
    """Even with the resolver fooled, no socket is made for a refused address."""
    port = receiver.root.rpartition(":")[2]
    calls: list[str] = []
    async with Outbound(Policy(Blind(calls=(calls,))), lambda host, port: ["127.0.0.1"]) as outbound:
        reply = await outbound.post(f"https://sneaky.example.com:{port}/", b"", content_type=JSON)
    assert reply.status is None and calls == ["127.0.0.1", "127.0.0.1"] and not receiver.asked


async def test_a_resolver_that_hangs() -> None:
    """A name server that does not answer is given up in time."""
    answered = threading.Event()

    def lookup(host: str, port: int) -> list[str]:
        answered.wait(60)  # in a thread, as a name server that does not answer
        return ["8.8.8.8"]

    async with Outbound(Policy(connect_s=0.1, total_s=0.3), lookup) as outbound:
        reply = await outbound.post("https://example.com/", b"", content_type=JSON)
        assert reply.status is None
        answered.set()


async def test_bounds_of_an_answer(receiver: Receiver) -> None:
    """A body that never ends is cut by size, one that drips by time; the status counts all the same."""

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                writer.write(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
                await writer.drain()
        except ConnectionError:
            writer.close()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\n\r\nx")
        await writer.drain()
        await reader.read()
        writer.close()

    async def headers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n" + b"X-Y: " + b"z" * 100_000 + b"\r\n\r\n")
        await writer.drain()
        writer.close()

    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def post(handler: object, **how: object) -> tuple[int | None, int, str]:
        server = await asyncio.start_server(handler, "127.0.0.1", 0)  # type: ignore[arg-type]
        async with server:
            port = server.sockets[0].getsockname()[1]
            async with Outbound(LAB) as outbound:
                reply = await outbound.post(f"http://127.0.0.1:{port}/", b"", content_type=JSON, limit_s=0.4, **how)  # type: ignore[arg-type]
        return reply.status, len(reply.body), reply.error

    assert await post(flood, want_body=True) == (200, MAX_BODY_BYTES, "")
    assert await post(drip) == (202, 1, "")
    status, _, error = await post(headers)
    assert status is None and error
    assert await post(silence) == (None, 0, "no answer within 0.4 s")


async def test_retry_after(receiver: Receiver) -> None:
    async def handle(request: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": request.query["after"]})

    app = web.Application()
    app.router.add_post("/", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    root = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with Outbound(LAB) as outbound:
        found = [
            (await outbound.post(f"{root}/?after={a}", b"", content_type=JSON)).retry_after_s
            for a in ("7", "1e9", "99999")
        ]
    await runner.cleanup()
    assert found == [7.0, None, 3600.0]


def _certificate(name: str) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(serialization.Encoding.PEM), private


@pytest.fixture
async def encrypted(tmp_path: Path) -> AsyncIterator[tuple[str, Path]]:
    """An https endpoint of hook.example.org on loopback; its port, and the file of its authority."""
    certificate, key = _certificate("hook.example.org")
    (tmp_path / "ca.pem").write_bytes(certificate)
    (tmp_path / "key.pem").write_bytes(key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "ca.pem", tmp_path / "key.pem")

    async def handle(request: web.Request) -> web.Response:
        return web.Response(status=202)

    app = web.Application()
    app.router.add_post("/", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    yield str(runner.addresses[0][1]), tmp_path / "ca.pem"
    await runner.cleanup()


async def test_tls(encrypted: tuple[str, Path]) -> None:
    """Certificates are checked against the system's authorities and those of the setting; names too."""
    port, ca = encrypted
    rules = Rules(allow_private=True)

    def lookup(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    async with Outbound(Policy(rules), lookup) as outbound:
        reply = await outbound.post(f"https://hook.example.org:{port}/", b"", content_type=JSON)
        assert reply.status is None and "ertificate" in reply.error
    async with Outbound(Policy(rules, ca_file=str(ca)), lookup) as outbound:
        assert (await outbound.post(f"https://hook.example.org:{port}/", b"", content_type=JSON)).ok
        other = await outbound.post(f"https://other.example.org:{port}/", b"", content_type=JSON)
        assert other.status is None and "ertificate" in other.error


async def test_bad_urls_raise() -> None:
    async with Outbound(Policy()) as outbound:
        with pytest.raises(BadRequest):
            await outbound.post("https://127.0.0.1/", b"", content_type=JSON)
