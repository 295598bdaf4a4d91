"""The snippet of the README, run as a reader would run it."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.wire.conftest import Running

README = Path(__file__).parents[2] / "README.md"


def test_readme_snippet(server: Running) -> None:
    """It prints incidents and risky users of the server that its environment names."""
    (snippet,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("BARTIZAN_")},
        "GRAPH_ADDRESS": server.root,
        "AZURE_TENANT_ID": server.tenant,
        "AZURE_CLIENT_ID": server.client_id,
        "AZURE_CLIENT_SECRET": server.secret,
        "SSL_CERT_FILE": str(server.ca),
    }
    done = subprocess.run(
        [sys.executable, "-c", snippet], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "@northwall.example" in done.stdout
    assert "Attack on" in done.stdout
