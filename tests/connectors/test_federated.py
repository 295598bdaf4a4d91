"""One Bartizan reads another live: its alerts are in the list, also in its filter, and in nobody's store."""

from pathlib import Path

import pytest
from tests.connectors.second import second

from bartizan.auth import audit
from bartizan.auth.accounts import PROVIDERS
from bartizan.extend.connections import Connection

pytestmark = pytest.mark.anyio
ALERTS = "/v1.0/security/alerts_v2"


async def test_another_server_is_read_live(tmp_path: Path) -> None:
    async with second(tmp_path / "here") as here:
        async with second(tmp_path / "there") as there:
            await here.app.connections.set(
                here.tenant,
                Connection(id="branch", connector="microsoft_graph", federate=True),
                there.settings,
                actor="operator",
                new=True,
            )
            await here.post(ALERTS, {"title": "ours", "severity": "low"})
            theirs = await there.post(ALERTS, {"title": "theirs", "severity": "high"})
            refused = await here.http.get(ALERTS)
            assert (refused.status_code, [row["title"] for row in refused.json()["value"]]) == (206, ["ours"])
            assert refused.headers["warning"].startswith('199 - "Microsoft/Microsoft Graph/403/')
            accounts = here.app.authority.accounts
            await accounts.grant(here.tenant, here.client, PROVIDERS, ["branch"], actor=audit.OPERATOR)
            page = await here.get(ALERTS)
            assert sorted(row["title"] for row in page["value"]) == ["ours", "theirs"]
            (found,) = (await here.get(f"{ALERTS}?$filter=severity eq 'high'"))["value"]
            assert (found["providerAlertId"], found["title"]) == (theirs["id"], "theirs")
            for key in (theirs["id"], found["id"]):
                assert (await here.get(f"{ALERTS}/{key}"))["id"] == found["id"]
            await there.patch(f"{ALERTS}/{theirs['id']}", {"status": "resolved"})
            assert (await here.get(f"{ALERTS}/{found['id']}"))["status"] == "resolved"
            assert await here.app.store.tenant(here.tenant).count("alerts_v2") == 1
        gone = await here.http.get(ALERTS)
        assert (gone.status_code, [row["title"] for row in gone.json()["value"]]) == (206, ["ours"])
        assert gone.headers["warning"].startswith('199 - "Microsoft/Microsoft Graph/503/')
