"""Syslog listeners: framing, addresses, whose messages, bounds; over real loopback sockets."""

import asyncio
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.ingest.conftest import PLAIN, TENANT, Lake

from bartizan.errors import Unavailable
from bartizan.ingest.listeners import Frames, Inbox, Listener, listener, listening
from bartizan.ingest.pipeline import Pipeline

LOOK_S = 0.01


def counted(message: bytes) -> bytes:
    return b"%d %s" % (len(message), message)


MESSAGES = st.lists(
    st.tuples(st.binary(min_size=1, max_size=40).map(lambda body: b"<13>" + body), st.booleans()), max_size=8
)


@given(messages=MESSAGES, cuts=st.lists(st.integers(1, 7), min_size=1, max_size=200))
def test_both_framings_in_any_pieces(messages: list[tuple[bytes, bool]], cuts: list[int]) -> None:
    """Octet counts and line ends may alternate, and however the bytes are cut, the messages are the same."""
    wanted, stream = [], b""
    for body, count in messages:
        plain = body if count else body.translate(None, b"\n\r\0")
        wanted.append(plain)
        stream += counted(plain) if count else plain + b"\n"
    frames, found = Frames(), []
    at = 0
    for size in cuts * (len(stream) + 1):
        if at >= len(stream):
            break
        found += list(frames.feed(stream[at : at + size]))
        at += size
    assert found == wanted
    assert frames.rest() == b""


@given(data=st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    """Nothing but ValueError is raised, and what is kept is bounded."""
    frames = Frames(limit=50)
    try:
        list(frames.feed(data))
    except ValueError:
        return
    assert len(frames.rest()) <= 60


def test_a_message_that_is_too_long_ends_the_connection() -> None:
    with pytest.raises(ValueError, match="most is 10"):
        list(Frames(limit=10).feed(b"500 <13>x"))
    with pytest.raises(ValueError, match="more than 10"):
        list(Frames(limit=10).feed(b"<13>" + b"x" * 20))


def test_addresses() -> None:
    found = listener("tls://0.0.0.0:6514?tenant=acme&source=okta&from=10.0.0.0/8+192.168.1.0/24")
    assert (found.protocol, found.host, found.port, found.source, found.tenant) == (
        "tls",
        "0.0.0.0",
        6514,
        "okta",
        "acme",
    )
    assert found.allows("10.9.9.9") and found.allows("::ffff:192.168.1.7") and not found.allows("172.16.0.1")
    assert listener("udp://[::1]:514").host == "::1" and listener("udp://[::1]:514").allows("::1")
    for bad in ("http://x:1", "tcp://x", "tcp://x:1/path", "udp://x:1?sauce=a", "udp://x:1?from=10.0.0.0/99"):
        with pytest.raises(ValueError):
            listener(bad)


def inbox_of(pipeline: Pipeline, **more: object) -> Inbox:
    return Inbox(pipeline, TENANT, PLAIN, "test", **more)  # type: ignore[arg-type]


async def until(lake: Lake, count: int) -> list[str]:
    for _ in range(1_000):
        if len(lake.rows) >= count:
            break
        await asyncio.sleep(LOOK_S)
    return [row["Message"] for _, _, row in lake.rows]


@pytest.mark.anyio
async def test_tcp(pipeline: Pipeline, lake: Lake) -> None:
    where = Listener("tcp", "127.0.0.1", 0)
    async with listening(where, inbox_of(pipeline)) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"<13>one\n" + counted(b"<13>two") + b"<13>three")
        writer.close()
        await writer.wait_closed()
        assert await until(lake, 3) == ["<13>one", "<13>two", "<13>three"]


@pytest.mark.anyio
async def test_udp(pipeline: Pipeline, lake: Lake) -> None:
    async with listening(Listener("udp", "127.0.0.1", 0), inbox_of(pipeline)) as port:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"<13>hello\n", ("127.0.0.1", port))
            sender.sendto(b"\n", ("127.0.0.1", port))
            assert await until(lake, 1) == ["<13>hello"]


@pytest.mark.anyio
async def test_strangers_are_not_heard(pipeline: Pipeline, lake: Lake) -> None:
    where = listener("tcp://127.0.0.1:0?from=10.0.0.0/8")
    async with listening(where, inbox_of(pipeline)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b""
        writer.close()
    assert not lake.rows


@pytest.mark.anyio
async def test_what_waits_is_written_before_the_end(pipeline: Pipeline, lake: Lake) -> None:
    inbox = inbox_of(pipeline)
    async with listening(Listener("udp", "127.0.0.1", 0), inbox):
        assert inbox.offer(b"last", "10.0.0.1")
    assert [row["Message"] for _, _, row in lake.rows] == ["last"]


@pytest.mark.anyio
async def test_beyond_the_bound_datagrams_are_counted_as_lost(pipeline: Pipeline) -> None:
    lost: list[int] = []
    inbox = inbox_of(pipeline, limit_bytes=10, lost=lost.append)
    assert inbox.offer(b"12345678", "h") and not inbox.offer(b"12345678", "h")
    assert lost == [1]


@pytest.mark.anyio
async def test_a_sender_waits_while_the_store_is_behind(pipeline: Pipeline, lake: Lake) -> None:
    """Over TCP nothing is dropped: `put` waits until there is room."""
    inbox = inbox_of(pipeline, limit_bytes=10)
    lake.down = Unavailable("not now")
    await inbox.put(b"123456", "h")
    waiting = asyncio.create_task(inbox.put(b"second", "h"))
    await asyncio.sleep(LOOK_S)
    assert not waiting.done()
    lake.down = None
    await inbox.write()
    await waiting
    await inbox.write()
    assert [row["Message"] for _, _, row in lake.rows] == ["123456", "second"]
