"""The examples of the page on investigations, run as a reader would run them."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

from tests.wire.conftest import Running

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "investigate.md"


def test_the_examples(server: Running) -> None:
    """Each question has an answer, and those about the sample's attacker know him."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    script = "set -euo pipefail\n" + "\n".join(blocks).replace("\nask ", "\necho; ask ")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("BARTIZAN_")},
        "GRAPH_ADDRESS": server.root,
        "SSL_CERT_FILE": str(server.ca),
        "token": server.token(),
    }
    done = subprocess.run(
        ["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    answers: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines() if line]
    asked = re.findall(r"^ask ", "\n".join(blocks), flags=re.MULTILINE)
    assert len(answers) == len(asked) == 11
    graph, incident, similar, address, hosts, profiles, reputation, near, radius, path, timeline = answers
    assert graph["nodes"] and graph["edges"] and incident["alerts"] and "comparedCount" in similar
    assert address["userCount"] > 1 and address["signInCount"] > 1 and address["incidentIds"]
    assert hosts["value"] and profiles["value"] and len(near["nodes"]) > 2
    assert reputation["score"] > 0 and reputation["rules"]
    assert {each["kind"] for each in radius["touched"]} >= {"user"}
    assert path["isFound"] and path["length"] > 1 and timeline["entries"]
