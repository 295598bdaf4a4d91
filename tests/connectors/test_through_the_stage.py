"""Connectors as an operator has them: set up as connections, pulled by the stage, and read from the store."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from tests.connectors import active_directory
from tests.connectors.double_server import serving
from tests.connectors.test_csv_directory import written
from tests.connectors.test_elastic import Engine, alert
from tests.connectors.test_ldap import company

from bartizan import connectors
from bartizan.app.assembly import declared, fed
from bartizan.auth import audit
from bartizan.auth.accounts import Accounts
from bartizan.auth.keys import Vault
from bartizan.connectors.http import http_of
from bartizan.extend import relations
from bartizan.extend.connections import CONNECTION_STREAMS, Connection, Connections
from bartizan.ingest.directory import Directory
from bartizan.ingest.pipeline import Pipeline
from bartizan.ingest.pull import PullStage, Times
from bartizan.store import Store, open_store
from bartizan.store.alerts import ALERTS_V2
from bartizan.store.interface import Query

WITHIN_S = 20.0
FAST = Times(look=0.05, least=0.05, first=0.05, most=0.1, slow=0.05, slowest=0.1)


class NoLake:
    async def append(self, tenant: str, rows: Any, *, once: str | None = None) -> None:
        pass

    async def forget(self, tenant: str, stage: str) -> None:
        pass


class Site:
    """A tenant, its store, and the stage."""

    def __init__(self, store: Store, tenant: str) -> None:
        self.of = store.tenant(tenant)
        self.tenant = tenant
        self.now = datetime(2026, 3, 2, tzinfo=UTC)
        self.connections = Connections(store, Vault(b"k" * 32), http_of)
        self._store = store

    async def connect(self, id: str, connector: str, stream: str, **settings: Any) -> None:
        made = Connection(id=id, connector=connector, streams=(stream,))
        await self.connections.set(self.tenant, made, settings, actor="test", new=True)

    async def look(self, id: str, stream: str) -> dict[str, Any]:
        """One look at everything that is due; how the stream stands after it."""
        self.now += timedelta(hours=1)
        pipeline = Pipeline(self._store, NoLake(), collections=fed(), clock=lambda: self.now)
        directory = Directory(self._store, fed(), relations())
        stage = PullStage(self._store, self.connections, pipeline, directory, clock=lambda: self.now, times=FAST)
        before = await self._state(id, stream)
        task = asyncio.create_task(stage.run())
        try:
            async with asyncio.timeout(WITHIN_S):
                while _looked(state := await self._state(id, stream)) == _looked(before):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return state

    async def _state(self, id: str, stream: str) -> dict[str, Any]:
        row = await self.of.get(CONNECTION_STREAMS.name, f"{id}:{stream}")
        return {} if row is None else json.loads(row.wire("beta"))

    async def rows(self, collection: str) -> list[dict[str, Any]]:
        return [json.loads(row.wire("beta")) for row in (await self.of.page(collection, Query(top=100))).rows]

    async def members(self, group: str) -> set[tuple[str, str]]:
        return set(await self.of.related("members", group, limit=100))


def _looked(state: dict[str, Any]) -> tuple[Any, Any]:
    """When a look ended last, well or not."""
    return state.get("lastSuccessDateTime"), state.get("lastErrorDateTime")


@asynccontextmanager
async def a_site(folder: Path) -> AsyncIterator[Site]:
    connectors.load()
    store = open_store(folder / "data", declared())
    await store.start()
    try:
        tenant = await Accounts(store).add_tenant("one", "one.example", actor=audit.OPERATOR)
        yield Site(store, tenant.id)
    finally:
        await store.close()


@pytest.mark.asyncio
async def test_a_folder_of_files(tmp_path: Path) -> None:
    """The directory is there after a look; after a change what the files no longer name is gone; with a bad row nothing
    is taken for gone, and the state of the stream names file and line."""
    folder = tmp_path / "files"
    folder.mkdir()
    users = "userPrincipalName,manager\nada@corp.example,\nbob@corp.example,ada@corp.example\n"
    written(folder, users=users, groups="displayName\nAdmins\n",
            memberships="group,member\nAdmins,ada@corp.example\nAdmins,bob@corp.example\n",
            devices="displayName,owner\nlaptop-1,bob@corp.example\n",
            mfa="userPrincipalName,isMfaRegistered\nada@corp.example,yes\n",
            roles="role,member\nGlobal Administrator,Admins\n")  # fmt: skip
    async with a_site(tmp_path) as site:
        await site.connect("files", "csv_directory", "directory", folder=str(folder))
        await site.look("files", "directory")
        found = {one["userPrincipalName"]: one["id"] for one in await site.rows("users")}
        assert found.keys() == {"ada@corp.example", "bob@corp.example"}
        (group,) = [one["id"] for one in await site.rows("groups")]
        assert await site.members(group) == {("users", id) for id in found.values()}
        (role,) = await site.rows("directoryRoles")
        assert await site.members(role["id"]) == {("groups", group)}
        assert await site.of.related("manager", found["bob@corp.example"], limit=9) == [
            ("users", found["ada@corp.example"])
        ]
        (device,) = await site.rows("devices")
        assert await site.of.related("registeredOwners", device["id"], limit=9) == [
            ("users", found["bob@corp.example"])
        ]
        (registered,) = await site.rows("userRegistrationDetails")
        assert (registered["id"], registered["isMfaRegistered"]) == (found["ada@corp.example"], True)
        written(folder, users="userPrincipalName,accountEnabled\nada@corp.example,maybe\n",
                memberships="group,member\nAdmins,ada@corp.example\n")  # fmt: skip
        state = await site.look("files", "directory")
        assert "users.csv line 2: accountEnabled is true or false; not 'maybe'" in json.dumps(state)
        assert len(await site.rows("users")) == 2
        written(folder, users="userPrincipalName\nada@corp.example\n", devices="displayName\nlaptop-1\n")
        await site.look("files", "directory")
        assert [one["userPrincipalName"] for one in await site.rows("users")] == ["ada@corp.example"]
        assert await site.members(group) == {("users", found["ada@corp.example"])}


@pytest.mark.asyncio
async def test_a_domain(tmp_path: Path) -> None:
    """A domain is there after a look; who leaves a group has left it after the next."""
    directory = company()
    async with a_site(tmp_path) as site:
        with active_directory.serving(directory) as url:
            await site.connect(
                "ad", "ldap", "directory", url=url, plain=True, user="r", password="pw", groups_every_min=0
            )
            await site.look("ad", "directory")
            assert len(await site.rows("users")) == 7
            staff = str(UUID(int=60))
            assert len(await site.members(staff)) == 8
            base = active_directory.BASE
            directory.put("Staff", "group", 60, member=[f"CN=user1,{base}", f"CN=PC1,{base}"])
            await site.look("ad", "directory")
            assert await site.members(staff) == {("users", str(UUID(int=1))), ("devices", str(UUID(int=50)))}
            assert len(await site.members(str(UUID(int=513)))) == 7, "those whose primary group it is stay"


@pytest.mark.asyncio
async def test_alerts_of_a_siem(tmp_path: Path) -> None:
    """Alerts come once, however often a look finds them again, and a status of Kibana's with them."""
    engine = Engine()
    engine.documents = [alert(), alert(**{"kibana.alert.uuid": "u-2", "kibana.alert.workflow_status": "acknowledged"})]
    async with a_site(tmp_path) as site, serving(engine.answer) as url:
        await site.connect("siem", "elastic_security", "alerts", url=url, api_key="a2V5")
        for _ in range(2):
            await site.look("siem", "alerts")
            found = {one["providerAlertId"]: one["status"] for one in await site.rows(ALERTS_V2.name)}
            assert found == {"u-1": "new", "u-2": "inProgress"}
