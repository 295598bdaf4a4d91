"""The hook of the page on sign-ins, against a started server; and the what-if by Microsoft's SDK."""

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from msgraph import GraphServiceClient
from msgraph.generated.identity.conditional_access.evaluate.evaluate_post_request_body import EvaluatePostRequestBody
from msgraph.generated.models.application_context import ApplicationContext
from msgraph.generated.models.risk_level import RiskLevel
from msgraph.generated.models.sign_in_conditions import SignInConditions
from msgraph.generated.models.user_sign_in import UserSignIn
from tests.wire.conftest import Running

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "ask-at-sign-in.md"
APP = str(uuid4())
ASK = """
import sys
step = on_authenticated({"preferred_username": "anybody@northwall.example"},
                        {"client_id": sys.argv[1], "ip": "203.0.113.9", "user_agent": "Mozilla/5.0"}, sys.argv[2:])
print(step)
"""


def policy(name: str, **conditions: Any) -> dict[str, Any]:
    base = {"users": {"includeUsers": ["All"]}, "applications": {"includeApplications": [APP]}}
    return {
        "displayName": name,
        "state": "enabled",
        "conditions": {**base, **conditions},
        "grantControls": {"operator": "OR", "builtInControls": ["mfa"]},
    }


def test_the_hook(server: Running) -> None:
    """Allow, MFA, allow again after it; block where nobody answers."""
    added = json.loads(server.command("app", "add", "hook", "--permission", "Bartizan.ConditionalAccess.Decide"))
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("BARTIZAN_")},
        "BARTIZAN_ADDRESS": server.root,
        "BARTIZAN_TENANT": server.tenant,
        "BARTIZAN_CLIENT_ID": added["clientId"],
        "BARTIZAN_CLIENT_SECRET": added["clientSecret"],
        "SSL_CERT_FILE": str(server.ca),
    }

    def hook(*done: str, **other: str) -> str:
        ran = subprocess.run(
            [sys.executable, "-c", code + ASK, APP, *done],
            env={**environment, **other},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.strip()

    assert hook() == "allow"
    with server.api() as api:
        made = api.post("/v1.0/identity/conditionalAccess/policies", json=policy("Hook"))
        assert made.status_code == 201, made.text
        until = time.monotonic() + 30
        while (step := hook()) == "allow" and time.monotonic() < until:
            pass
        assert step == "requireMultifactorAuthentication"
        assert hook("mfa") == "allow"
        assert hook(BARTIZAN_CLIENT_SECRET="wrong") == "block"
        assert hook(BARTIZAN_ADDRESS="https://localhost:9") == "block"
        api.delete(f"/v1.0/identity/conditionalAccess/policies/{made.json()['id']}")


def test_what_if_by_the_sdk(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """msgraph-sdk asks and reads the answer."""
    monkeypatch.setenv("SSL_CERT_FILE", str(server.ca))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.ca))
    with server.api() as api:
        bodies = [policy("SDK all"), policy("SDK risky", signInRiskLevels=["high"])]
        for body in bodies:
            assert api.post("/v1.0/identity/conditionalAccess/policies", json=body).status_code == 201
    time_out = time.monotonic() + 30
    while True:
        found = asyncio.run(_asked(server))
        if set(found) >= {"SDK all", "SDK risky"} or time.monotonic() > time_out:
            break
    assert found["SDK all"] == (True, ["NotSet"])
    assert found["SDK risky"] == (False, ["SignInRisk"])


async def _asked(server: Running) -> dict[str, tuple[bool, list[str]]]:
    credential = server.credential()
    client = GraphServiceClient(credential, ["https://graph.microsoft.com/.default"])
    client.request_adapter.base_url = f"{server.root}/v1.0"
    body = EvaluatePostRequestBody(
        sign_in_identity=UserSignIn(user_id=str(uuid4()), odata_type="#microsoft.graph.userSignIn"),
        sign_in_context=ApplicationContext(
            include_applications=[APP], odata_type="#microsoft.graph.applicationContext"
        ),
        sign_in_conditions=SignInConditions(sign_in_risk_level=RiskLevel.Low),
    )
    answer = await client.identity.conditional_access.evaluate.post(body)
    await client.request_adapter._http_client.aclose()  # the SDK leaves it open
    await credential.close()
    return {
        each.display_name: (each.policy_applies, [reason.name for reason in each.analysis_reasons])
        for each in answer.value
    }
