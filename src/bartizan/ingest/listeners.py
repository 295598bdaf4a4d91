"""Syslog over UDP, TCP and TLS: each message is a record of the listener's source, for the listener's tenant.

A listener is an address such as `tcp://0.0.0.0:5514?tenant=acme&source=fortinet_fortigate`. Syslog has no answers: what
has arrived is stored within a moment, a sender over TCP is made to wait while the store is behind, and datagrams beyond
the bound are counted as lost, which raises an alert (`ingest.health`).

Source: RFC 5426 (UDP), RFC 6587 (TCP, octet counting and non-transparent framing), RFC 5425 (TLS); RFC 3164.
"""

import asyncio
import contextlib
import ipaddress
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlsplit

import structlog
from msgspec import Struct

from bartizan.errors import BartizanError
from bartizan.extend import Said, Source
from bartizan.ingest.pipeline import Pipeline
from bartizan.model.times import instant

ACTOR = "listener"
MAX_MESSAGE_BYTES = 256 * 1024
MAX_COUNT_DIGITS = 7  # of an octet count
QUEUE_BYTES = 32 * 2**20  # of messages that wait for the store, for each listener
BATCH = 1_000  # messages of one write
LINGER_S = 0.1  # for further messages before a write
MAX_CONNECTIONS = 1_000
IDLE_S = 3_600.0  # a connection that says nothing for so long is closed
PAUSES_S = (0.5, 1.0, 2.0, 5.0, 10.0)  # between tries while the store does not take what waits
_PROTOCOLS = ("udp", "tcp", "tls")
_READ_BYTES = 65_536

_log = structlog.get_logger(__name__)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Listener(Struct, frozen=True):
    """One address to listen on, and whose messages those are."""

    protocol: str
    host: str
    port: int
    source: str = "auto"
    tenant: str | None = None  # name, domain or id; None: the first one
    networks: tuple[Network, ...] = ()  # who may send; empty: all

    @property
    def label(self) -> str:
        return f"{self.protocol}://{self.host}:{self.port}"

    def allows(self, address: str) -> bool:
        if not self.networks:
            return True
        try:
            peer = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(peer, "ipv4_mapped", None)
        return any((mapped or peer) in network for network in self.networks)


def listener(text: str) -> Listener:
    """ValueError says what is wrong with the address."""
    parts = urlsplit(text)
    if parts.scheme not in _PROTOCOLS or not parts.hostname or parts.port is None or parts.path.strip("/"):
        raise ValueError(f"{text!r} is no listener; expected such as tcp://0.0.0.0:5514?tenant=acme&source=auto")
    asked = dict(parse_qsl(parts.query))
    if unknown := set(asked) - {"tenant", "source", "from"}:
        raise ValueError(f"{text!r}: unknown {', '.join(sorted(unknown))}; known: tenant, source, from")
    try:
        networks = tuple(ipaddress.ip_network(each) for each in asked.get("from", "").replace("+", " ").split())
    except ValueError as error:
        raise ValueError(f"{text!r}: from: {error}") from None
    return Listener(
        parts.scheme, parts.hostname, parts.port, asked.get("source", "auto"), asked.get("tenant"), networks
    )


class Frames:
    """Bytes of a connection in, whole messages out. ValueError where the sender does not keep to either framing."""

    def __init__(self, limit: int = MAX_MESSAGE_BYTES) -> None:
        self._rest = b""
        self._limit = limit

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._rest += data
        while self._rest:
            self._rest = self._rest.lstrip(b"\r\n\0")
            message = self._counted() if self._rest[:1].isdigit() else self._ended()
            if message is None:
                return
            if message:
                yield message

    def _counted(self) -> bytes | None:
        """ "LEN SP MSG"; a line that only begins with a digit (a bare timestamp) is no count."""
        digits, space, _ = self._rest[: MAX_COUNT_DIGITS + 1].partition(b" ")
        if not digits.isdigit() or (not space and len(self._rest) > MAX_COUNT_DIGITS):
            return self._ended()
        if not space:
            return None
        begin, count = len(digits) + 1, int(digits)
        first = self._rest[begin : begin + 1]
        if first and first != b"<":
            return self._ended()
        if count > self._limit:
            raise ValueError(f"a message of {count} bytes; the most is {self._limit}")
        if len(self._rest) < begin + count:
            return None
        message, self._rest = self._rest[begin : begin + count], self._rest[begin + count :]
        return message

    def _ended(self) -> bytes | None:
        """Up to a line feed or NUL."""
        found = [at for at in (self._rest.find(b"\n"), self._rest.find(b"\0")) if at >= 0]
        if not found:
            if len(self._rest) > self._limit:
                raise ValueError(f"a message of more than {self._limit} bytes")
            return None
        end = min(found)
        if end > self._limit:
            raise ValueError(f"a message of {end} bytes; the most is {self._limit}")
        message, self._rest = self._rest[:end], self._rest[end + 1 :]
        return message.rstrip(b"\r")

    def rest(self) -> bytes:
        """What the sender left without an end when it closed the connection."""
        rest, self._rest = self._rest.strip(b"\r\n\0"), b""
        return rest


class Inbox:
    """Messages that wait for the store, bounded in bytes; one task writes them."""

    def __init__(
        self,
        pipeline: Pipeline,
        tenant: str,
        source: Source,
        label: str,
        *,
        lost: Callable[[int], None] = lambda count: None,
        limit_bytes: int = QUEUE_BYTES,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._pipeline = pipeline
        self._tenant = tenant
        self._source = source
        self._label = label
        self._lost = lost
        self._limit_bytes = limit_bytes
        self._clock = clock
        self._waiting: deque[tuple[bytes, Said]] = deque()
        self._bytes = 0
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    def offer(self, message: bytes, peer: str) -> bool:
        """False where there is no room: the message is lost, and counted."""
        if self._bytes + len(message) > self._limit_bytes:
            self._lost(1)
            return False
        self._push(message, peer)
        return True

    async def put(self, message: bytes, peer: str) -> None:
        """Waits for room."""
        while self._bytes > self._limit_bytes // 2:
            self._room.clear()
            await self._room.wait()
        self._push(message, peer)

    def _push(self, message: bytes, peer: str) -> None:
        self._waiting.append((message, Said(at=instant(self._clock()), host=peer, origin=self._label)))
        self._bytes += len(message)
        self._arrived.set()

    @property
    def empty(self) -> bool:
        return not self._waiting

    async def run(self) -> None:
        """Writes until cancelled; what the store does not take is tried again."""
        while True:
            if self.empty:
                self._arrived.clear()
                await self._arrived.wait()
                await asyncio.sleep(LINGER_S)
            await self.write()

    async def write(self) -> None:
        """One batch. Taken out of the queue only when it is durable."""
        batch = [self._waiting[at] for at in range(min(BATCH, len(self._waiting)))]
        for pause_s in (*PAUSES_S, None):
            try:
                raws, said = [raw for raw, _ in batch], [one for _, one in batch]
                await self._pipeline.take(self._tenant, self._source, raws, actor=ACTOR, said=said)
                break
            except BartizanError as error:
                _log.warning("listener.waits", listener=self._label, waiting=len(self._waiting), error=error.message)
                if pause_s is None:
                    return
                await asyncio.sleep(pause_s)
        for raw, _ in batch:
            self._waiting.popleft()
            self._bytes -= len(raw)
        self._room.set()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, where: Listener, inbox: Inbox) -> None:
        self._where = where
        self._inbox = inbox

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        message = data.strip(b"\r\n\0 ")
        if message and self._where.allows(addr[0]):
            self._inbox.offer(message, addr[0])


class Streams:
    """The connections of one TCP or TLS listener."""

    def __init__(self, where: Listener, inbox: Inbox) -> None:
        self._where = where
        self._inbox = inbox
        self._open = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = str((writer.get_extra_info("peername") or ("",))[0])
        if not self._where.allows(peer) or self._open >= MAX_CONNECTIONS:
            _log.warning("listener.refused", listener=self._where.label, peer=peer, open=self._open)
            writer.close()
            return
        self._open += 1
        try:
            await self._read(reader, peer)
        except (ValueError, TimeoutError) as error:
            _log.warning("listener.closed", listener=self._where.label, peer=peer, error=str(error) or "idle")
        except (ConnectionError, ssl.SSLError):
            pass  # the sender has gone; what it had sent is in the inbox
        finally:
            self._open -= 1
            writer.close()

    async def _read(self, reader: asyncio.StreamReader, peer: str) -> None:
        frames = Frames()
        try:
            while True:
                async with asyncio.timeout(IDLE_S):
                    data = await reader.read(_READ_BYTES)
                if not data:
                    return
                for message in frames.feed(data):
                    await self._inbox.put(message, peer)
        finally:
            if rest := frames.rest():
                await self._inbox.put(rest, peer)


@contextlib.asynccontextmanager
async def listening(where: Listener, inbox: Inbox, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Listens while the context lasts, then writes what waits; gives the port. OSError where it cannot listen."""
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(inbox.run(), name=f"inbox {where.label}")
    try:
        if where.protocol == "udp":
            transport, _ = await loop.create_datagram_endpoint(
                lambda: _Datagrams(where, inbox), local_addr=(where.host, where.port)
            )
            try:
                yield int(transport.get_extra_info("sockname")[1])
            finally:
                transport.close()
        else:
            streams = Streams(where, inbox)
            context = tls if where.protocol == "tls" else None
            server = await asyncio.start_server(streams.serve, where.host, where.port, ssl=context)
            try:
                yield int(server.sockets[0].getsockname()[1])
            finally:
                server.close()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        while not inbox.empty:
            before = len(inbox._waiting)
            await inbox.write()
            if len(inbox._waiting) == before:
                _log.error("listener.lost", listener=where.label, messages=before)
                break
