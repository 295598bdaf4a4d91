"""The examples of the documents, run as a reader would run them."""

import json
import os
import re
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.wire.conftest import Running, free_port

DOCS = Path(__file__).parents[2] / "docs"
pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="the examples call curl")
LONGEST_S = 120


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(), flags=re.DOTALL)


class Reader:
    """Somebody at a shell, in a clone, with the lines pasted that `make demo` prints."""

    def __init__(self, server: Running, folder: Path) -> None:
        self.folder = folder
        command = folder / ".venv" / "bin" / "bartizan"
        command.parent.mkdir(parents=True)
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m bartizan "$@"\n')
        command.chmod(0o755)
        (folder / "demo-data").symlink_to(server.data)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("BARTIZAN_")},
            "PATH": f"{command.parent}:{os.environ['PATH']}",
            "GRAPH_ADDRESS": server.root,
            "AZURE_TENANT_ID": server.tenant,
            "AZURE_CLIENT_ID": server.client_id,
            "AZURE_CLIENT_SECRET": server.secret,
            "SSL_CERT_FILE": str(server.ca),
            "token": server.token(),
        }

    def run(self, script: str) -> str:
        """What it printed; it ends where a command fails."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=LONGEST_S,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture
def reader(server: Running, tmp_path: Path) -> Reader:
    return Reader(server, tmp_path)


def test_first_steps(reader: Reader) -> None:
    """A token, a list, a change through either face, own records; the first block starts the server."""
    start, ask, change, back, own = blocks("tutorials/first-steps.md", "sh")
    assert start.strip() == "make demo"
    assert '"severity": "high"' in reader.run(ask)
    told = reader.run(f"{change}\necho\n{back}")
    assert '"assignedTo":"you@northwall.example"' in told
    assert told.rstrip().endswith('"status":"resolved"}')
    shown, _, stored = reader.run(own).rpartition("\n{")
    assert '"table"' not in shown and '"legacy"' in shown
    assert json.loads("{" + stored)["accepted"] == 1


def test_bringing_records_in(reader: Reader, server: Running) -> None:
    (block,) = blocks("how-to/ingest.md", "sh")
    (reader.folder / "eve.json").write_text('{"event_type":"dns","timestamp":"2026-03-01T10:15:00.000000+0000"}\n')
    told = reader.run(block.replace("DIR", "demo-data").replace(":8443", f":{server.port}"))
    assert json.loads(told) == {"accepted": 1, "repeats": 0, "events": 1, "ids": []}


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """The page's own endpoint, on a free port."""
    (script,) = blocks("how-to/notifications.md", "python")
    port = str(free_port())
    command = [sys.executable, "-c", script.replace("9000", port) + "\n"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        yield port, process
        process.kill()


def test_receiving_notifications(
    reader: Reader, server: Running, endpoint: tuple[str, "subprocess.Popen[str]"]
) -> None:
    port, process = endpoint
    subscribe, operate = blocks("how-to/notifications.md", "sh")
    made = json.loads(reader.run(f"{_WAIT.format(port=port)}\n{subscribe.replace('9000', port)}"))
    assert made["clientState"] == "a secret of yours"
    with server.api() as api:
        (alert,) = api.get("/v1.0/security/alerts_v2?$filter=severity eq 'high'&$top=1").json()["value"]
        assert api.patch(f"/v1.0/security/alerts_v2/{alert['id']}", json={"assignedTo": f"me@{port}"}).is_success
        assert process.stdout is not None
        assert select.select([process.stdout], [], [], LONGEST_S)[0], "nothing came"
        (came, *_) = json.loads(process.stdout.readline())["value"]
        assert came["subscriptionId"] == made["id"]
        assert came["resourceData"]["id"] == alert["id"]
        assert made["id"] in reader.run(operate.replace("DIR", "demo-data"))
        assert api.delete(f"/v1.0/subscriptions/{made['id']}").status_code == 204


_WAIT = "until (exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null; do sleep 0.1; done"
