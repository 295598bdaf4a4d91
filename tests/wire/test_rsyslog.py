"""Debian's rsyslog sends to the started server, over TCP with both framings and over UDP, and every line is there."""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

RSYSLOG = shutil.which("rsyslogd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
LINES = 200

pytestmark = pytest.mark.skipif(RSYSLOG is None, reason="rsyslogd is not installed")

_CONFIG = """
module(load="imptcp")
global(workDirectory="{work}")
input(type="imptcp" address="127.0.0.1" port="{port}")
*.* action(type="omfwd" target="127.0.0.1" port="{tcp}" protocol="tcp" template="RSYSLOG_SyslogProtocol23Format"
           TCP_Framing="octet-counted" queue.type="LinkedList" action.resumeRetryCount="-1")
*.* action(type="omfwd" target="127.0.0.1" port="{plain}" protocol="tcp" template="RSYSLOG_TraditionalForwardFormat"
           queue.type="LinkedList" action.resumeRetryCount="-1")
*.* action(type="omfwd" target="127.0.0.1" port="{udp}" protocol="udp" template="RSYSLOG_ForwardFormat")
"""


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: list[str], **env: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, env=os.environ | env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=30)


async def answered(port: int) -> None:
    """Until something listens there."""
    for _ in range(600):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
            continue
        writer.close()
        return
    raise AssertionError(f"nothing listens on {port}")


def received(data: Path) -> dict[str, int]:
    """How many of the lines are in the lake, by how they came."""
    command = [sys.executable, "-m", "bartizan", "sources", "status", "--json", "--data", str(data)]
    out = subprocess.run(command, capture_output=True, check=True).stdout
    return {row["source"]: row["recordsAccepted"] for row in map(json.loads, out.splitlines())}


@pytest.mark.slow
@pytest.mark.anyio
async def test_every_line_arrives(tmp_path: Path) -> None:
    tcp, plain, udp, entry = free_port(), free_port(), free_port(socket.SOCK_DGRAM), free_port()
    data, work = tmp_path / "data", tmp_path / "rsyslog"
    work.mkdir()
    config = work / "rsyslog.conf"
    config.write_text(_CONFIG.format(work=work, port=entry, tcp=tcp, plain=plain, udp=udp))
    listeners = f"tcp://127.0.0.1:{tcp}?source=generic,tcp://127.0.0.1:{plain},udp://127.0.0.1:{udp}?source=falco"
    port = free_port()
    serve = [sys.executable, "-m", "bartizan", "serve", "--data", str(data), "--port", str(port)]
    sender = [str(RSYSLOG), "-n", "-f", str(config), "-i", str(work / "pid")]
    with running(serve, BARTIZAN_LISTENERS=listeners):
        await answered(port)
        await answered(plain)
        with running(sender):
            await answered(entry)
            _, writer = await asyncio.open_connection("127.0.0.1", entry)
            for number in range(LINES):
                writer.write(f"<13>Feb 25 14:09:07 web01 app[12]: line {number} of many\n".encode())
            writer.close()
            for _ in range(120):
                counts = await asyncio.to_thread(received, data)
                if counts.get("generic", 0) >= 2 * LINES and counts.get("falco", 0) >= LINES:
                    break
                await asyncio.sleep(0.5)
    assert counts["generic"] >= 2 * LINES, counts
    assert counts["falco"] >= LINES, counts
