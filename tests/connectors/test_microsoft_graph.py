"""The Microsoft Graph connector against a second Bartizan: what is there comes here, what is done here shows there."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from tests.auth.conftest import key_pair
from tests.connectors.second import Second, Sink, second

from bartizan.app.assembly import declared, fed
from bartizan.connectors.http import http_of
from bartizan.connectors.microsoft_graph import MicrosoftGraph
from bartizan.errors import BadRequest
from bartizan.extend import SOURCES
from bartizan.extend.connections import checked, secret_fields
from bartizan.extend.connectors import Batch, Order, Push, Read, Rejected
from bartizan.ingest.pipeline import Pipeline, Receipt
from bartizan.model import faces
from bartizan.model.workflow import Who
from bartizan.store import Query, Store, draft, open_store
from bartizan.store.alerts import ALERTS_V2, INCIDENTS, change_alert, state_of

pytestmark = pytest.mark.anyio
HERE = "11111111-1111-4111-8111-111111111111"
ANN = Who("app", "ann@contoso.example", "Ann")
ALERTS, INCIDENTS_THERE = "/v1.0/security/alerts_v2", "/v1.0/security/incidents"


@dataclass
class Both:
    """A store here, another server there, and the connection between them."""

    store: Store
    there: Second
    graph: MicrosoftGraph
    pipeline: Pipeline
    sink: Sink
    cursors: dict[str, str]

    async def look(self, stream: str) -> list[Batch]:
        """One look from where the last one ended."""
        found = []
        async for batch in self.graph.pull(stream, self.cursors.get(stream)):
            self.cursors[stream] = batch.cursor
            found.append(batch)
        return found

    async def pull(self, stream: str) -> Receipt:
        """One look whose records are stored here."""
        receipt = Receipt()
        for batch in await self.look(stream):
            for source in {record.source for record in batch.records}:
                of = [record for record in batch.records if record.source == source]
                raws, said = [record.raw for record in of], [record.said for record in of]
                receipt.add(await self.pipeline.take(HERE, SOURCES[source], raws, actor="connection:x", said=said))
        return receipt

    async def rows(self, collection: str) -> list[dict[str, Any]]:
        page = await self.store.tenant(HERE).page(collection, Query(top=100))
        return [json.loads(row.doc) for row in page.rows]

    async def alert(self, title: str) -> dict[str, Any]:
        (found,) = [row for row in await self.rows(ALERTS_V2.name) if row["title"] == title]
        return found


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[Both]:
    store = open_store(tmp_path / "here", declared())
    await store.start()
    sink = Sink()
    pipeline = Pipeline(store, sink, collections=fed(), clock=lambda: datetime.now(UTC))
    async with second(tmp_path / "there") as there:
        graph = connected(there.settings)
        yield Both(store, there, graph, pipeline, sink, {})
        await graph.outside.close()
    await store.close()


def connected(settings: dict[str, Any], **more: Any) -> MicrosoftGraph:
    given = checked(MicrosoftGraph, {**settings, **more})
    return MicrosoftGraph(given, http_of(given))


def given_alert(title: str, **more: Any) -> dict[str, Any]:
    device = {"@odata.type": "#microsoft.graph.security.deviceEvidence", "hostName": "pc1"}
    return {"title": title, "severity": "high", "evidence": [device], **more}


def objects(batches: list[Batch], collection: str) -> dict[str, dict[str, Any]]:
    return {one.body["id"]: one.body for batch in batches for one in batch.objects if one.collection == collection}


# ---------------------------------------------------------------- pull


async def test_alerts_arrive_once_and_again_when_they_change(both: Both) -> None:
    titles = [f"alert {number}" for number in range(7)]
    for title in titles:
        await both.there.post(ALERTS, given_alert(title))
    both.graph = connected(both.there.settings, page_rows=3)
    first = await both.pull("alerts")
    assert (first.accepted, first.repeats) == (7, 0)
    assert sorted(row["title"] for row in await both.rows(ALERTS_V2.name)) == titles
    assert (await both.alert("alert 3"))["evidence"][0]["hostName"] == "pc1"
    again = await both.pull("alerts")
    assert (again.accepted, again.repeats) == (0, 0)
    theirs = (await both.there.get(f"{ALERTS}?$filter=title eq 'alert 3'"))["value"][0]
    await both.there.patch(f"{ALERTS}/{theirs['id']}", {"status": "resolved", "classification": "truePositive"})
    changed = await both.pull("alerts")
    assert (changed.accepted, changed.repeats) == (1, 0)
    ours = await both.alert("alert 3")
    assert (ours["status"], ours["classification"]) == ("resolved", "truePositive")
    await both.graph.outside.close()


async def test_incidents_become_incidents_and_their_later_versions_arrive(both: Both) -> None:
    made = await both.there.post(INCIDENTS_THERE, {"displayName": "Intrusion", "severity": "high"})
    assert (await both.pull("incidents")).accepted == 1
    assert await both.rows(ALERTS_V2.name) == []  # its alerts are pulled by themselves
    (ours,) = await both.rows(INCIDENTS.name)
    assert (ours["id"], ours["displayName"], ours["status"]) == (made["id"], "Intrusion", "active")
    await both.there.patch(f"{INCIDENTS_THERE}/{made['id']}", {"status": "resolved", "assignedTo": "bob"})
    assert (await both.pull("incidents")).accepted == 1
    (ours,) = await both.rows(INCIDENTS.name)
    assert (ours["status"], ours["assignedTo"]) == ("resolved", "bob")
    assert (await both.pull("incidents")).accepted == 0


async def test_risk_and_sign_ins(both: Both) -> None:
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    await both.there.post(
        "/v1.0/identityProtection/riskDetections",
        {"riskEventType": "unlikelyTravel", "riskLevel": "high", "userPrincipalName": "ann@contoso.example"},
    )
    for number in range(3):
        sign_in = {"id": f"s{number}", "createdDateTime": at, "userPrincipalName": "ann@contoso.example"}
        await both.there.post("/v1.0/auditLogs/signIns", {**sign_in, "userId": "u1", "ipAddress": "192.0.2.7"})
    risk = await both.pull("riskDetections")
    assert (risk.accepted, risk.events) == (1, 1)
    (alert,) = await both.rows(ALERTS_V2.name)
    assert (alert["title"], alert["severity"]) == ("Atypical travel", "high")
    assert (await both.pull("signIns")).accepted == 3
    assert sorted(row["id"] for row in await both.rows("signIns")) == ["s0", "s1", "s2"]
    assert (await both.pull("signIns")).accepted == 0
    many = connected(both.there.settings, sign_ins=["servicePrincipal", "managedIdentity"])
    assert [len(batch.records) async for batch in many.pull("signIns", None)] == [0]
    await many.outside.close()


async def test_the_directory_comes_whole_and_then_by_its_changes(both: Both) -> None:
    there = both.there
    for name in ("ann", "bob", "cy"):
        upn = f"{name}@contoso.example"
        await there.post("/v1.0/users", {"id": f"u-{name}", "userPrincipalName": upn, "displayName": name})
    await there.post("/v1.0/groups", {"id": "g1", "displayName": "Admins"})
    for user in ("u-ann", "u-bob"):
        link = {"@odata.id": f"{there.root}/v1.0/directoryObjects/{user}"}
        await there.post("/v1.0/groups/g1/members/$ref", link)
    first = await both.look("users")
    assert sorted(objects(first, "users")) == ["u-ann", "u-bob", "u-cy"]
    assert objects(first, "users")["u-ann"]["userPrincipalName"] == "ann@contoso.example"
    assert first[-1].whole == ("users",)
    (groups,) = await both.look("groups")
    assert objects([groups], "groups")["g1"]["displayName"] == "Admins"
    assert sorted((one.relation, one.source, one.target_collection, one.target) for one in groups.edges) == [
        ("members", "g1", "users", "u-ann"),
        ("members", "g1", "users", "u-bob"),
    ]
    await there.app.store.tenant(there.tenant).write(lambda tx: tx.delete("users", "u-cy"), actor="test")
    assert (await there.http.delete("/v1.0/groups/g1/members/u-bob/$ref")).is_success
    (users,) = await both.look("users")
    assert (users.gone, users.objects, users.whole) == ([("users", "u-cy")], [], ())
    (groups,) = await both.look("groups")
    assert [(one.target_collection, one.target) for one in groups.cut] == [("users", "u-bob")]
    assert (groups.whole, groups.edges) == ((), [])
    assert [batch.objects for batch in await both.look("groups")] == [[]]


async def test_what_has_no_delta_is_read_whole_each_time(both: Both) -> None:
    there = both.there
    await there.post("/v1.0/users", {"id": "u-ann", "userPrincipalName": "ann@contoso.example", "displayName": "Ann"})
    role = {"id": "r1", "displayName": "Global Administrator", "roleTemplateId": "t1"}
    await there.post("/v1.0/directoryRoles", role)
    await there.post("/v1.0/directoryRoles/r1/members/$ref", {"@odata.id": f"{there.root}/v1.0/directoryObjects/u-ann"})
    registered = {"userPrincipalName": "ann@contoso.example", "isMfaRegistered": True}
    for number in range(3):
        path = "/v1.0/reports/authenticationMethods/userRegistrationDetails"
        await there.post(path, {**registered, "id": f"u-{number}", "userPrincipalName": f"p{number}@contoso.example"})
    (roles,) = await both.look("directoryRoles")
    assert objects([roles], "directoryRoles")["r1"]["displayName"] == "Global Administrator"
    assert [(one.source, one.target_collection, one.target) for one in roles.edges] == [("r1", "users", "u-ann")]
    assert roles.whole == ("directoryRoles",)
    both.graph = connected(there.settings, page_rows=2)
    found = await both.look("userRegistrationDetails")
    assert sorted(objects(found, "userRegistrationDetails")) == ["u-0", "u-1", "u-2"]
    assert [batch.whole for batch in found] == [(), ("userRegistrationDetails",)]
    await both.graph.outside.close()


async def test_what_is_pulled_from_the_directory_can_be_stored(both: Both) -> None:
    """Every object is in the inner form of its set."""
    await both.there.post(
        "/v1.0/users", {"id": "u-ann", "userPrincipalName": "ann@contoso.example", "displayName": "Ann"}
    )
    (batch,) = await both.look("users")
    made = [draft(fed()[one.collection], one.body, one.body["id"]) for one in batch.objects]
    await both.store.tenant(HERE).write(lambda tx: [tx.put(one) for one in made], actor="connection:x")
    (user,) = await both.rows("users")
    assert (user["userPrincipalName"], user["displayName"]) == ("ann@contoso.example", "Ann")


# ---------------------------------------------------------------- write back


async def pushed(both: Both, id: str, patch: dict[str, Any]) -> Push:
    """The change that a PATCH here makes, as it is written back."""
    kept = await both.store.tenant(HERE).write(lambda tx: change_alert(tx, id, patch, "v2", ANN), actor=str(ANN.user))
    row = await both.store.tenant(HERE).get(ALERTS_V2.name, id)
    assert row is not None and kept.changed
    state = state_of(row)
    now = faces.today(state)
    words = {name: now[name] for name in patch if name != "comments"}
    if "comments" in patch:
        words["comments"] = now["comments"][-1:]
    own = str(now["providerAlertId"])
    return Push(subject="alert", id=own, words=words, now=now, by="Ann", at="", key=f"k{row.seq}", known=state.version)


async def test_resolved_here_is_resolved_there_and_does_not_come_back(both: Both) -> None:
    made = await both.there.post(ALERTS, given_alert("one"))
    await both.pull("alerts")
    ours = await both.alert("one")
    change = await pushed(
        both,
        ours["id"],
        {
            "status": "resolved",
            "classification": "falsePositive",
            "determination": "notMalicious",
            "assignedTo": "ann@contoso.example",
            "comments": [{"comment": "a test"}],
        },
    )
    done = await both.graph.push(change)
    assert (done.overwrote, done.last_writer, done.left_out) == (None, None, ())
    theirs = await both.there.get(f"{ALERTS}/{made['id']}")
    assert [theirs[name] for name in ("status", "classification", "determination", "assignedTo")] == [
        "resolved",
        "falsePositive",
        "notMalicious",
        "ann@contoso.example",
    ]
    assert [each["comment"] for each in theirs["comments"]] == ["Ann: a test"]
    assert await both.graph.push(change) == done  # again, after a crash
    assert (await both.there.get(f"{ALERTS}/{made['id']}"))["comments"] == theirs["comments"]
    before = await both.alert("one")
    head = await both.store.head()
    await both.pull("alerts")
    after = await both.alert("one")
    words = ("status", "classification", "determination", "assignedTo", "comments")
    assert {name: after[name] for name in words} == {name: before[name] for name in words}
    told = await both.store.changes(head, limit=100, tenant=HERE, collections=(ALERTS_V2.name,))
    assert all(not change.changed or not set(words) & set(change.changed) for change in told)


async def test_what_somebody_changed_there_meanwhile_is_told(both: Both) -> None:
    made = await both.there.post(ALERTS, given_alert("one"))
    await both.pull("alerts")
    ours = await both.alert("one")
    await both.there.patch(f"{ALERTS}/{made['id']}", {"status": "inProgress"})
    done = await both.graph.push(await pushed(both, ours["id"], {"status": "resolved"}))
    assert done.overwrote == {"status": "inProgress"}
    assert done.last_writer == both.there.client
    assert (await both.there.get(f"{ALERTS}/{made['id']}"))["status"] == "resolved"


async def test_incidents_are_written_back(both: Both) -> None:
    made = await both.there.post(INCIDENTS_THERE, {"displayName": "Intrusion", "severity": "high"})
    await both.there.patch(f"{INCIDENTS_THERE}/{made['id']}", {"assignedTo": "bob"})
    words = {"status": "resolved", "assignedTo": None, "tags": ["seen"], "comments": [{"comment": "done"}], "x": 1}
    change = Push(
        subject="incident", id=made["id"], words=words, now={}, by="Ann", at="", key="k", known="2026-01-01T00:00:00Z"
    )
    done = await both.graph.push(change)
    assert done.overwrote == {"status": "active", "assignedTo": "bob", "tags": []}
    assert (done.last_writer, done.left_out) == (both.there.client, ("x",))
    theirs = await both.there.get(f"{INCIDENTS_THERE}/{made['id']}")
    assert (theirs["status"], theirs["assignedTo"], theirs["customTags"]) == ("resolved", None, ["seen"])
    assert theirs["comments"][0]["comment"] == "done"


async def test_decisions_on_users_are_written_back(both: Both) -> None:
    risky = "/v1.0/identityProtection/riskyUsers"
    await both.there.post(risky, {"id": "u1", "userPrincipalName": "ann@contoso.example", "riskState": "atRisk"})
    for state, known in (("confirmedCompromised", None), ("dismissed", "2026-01-01T00:00:00Z")):
        words = {"riskState": state, "riskDetail": "x"}
        change = Push(subject="riskyUser", id="u1", words=words, now={}, by="Ann", at="", key=state, known=known)
        done = await both.graph.push(change)
        assert (await both.there.get(f"{risky}/u1"))["riskState"] == state
    assert done.overwrote == {"riskState": "confirmedCompromised", "riskDetail": "adminConfirmedUserCompromised"}
    assert done.last_writer == both.there.client
    odd = Push(subject="riskyUser", id="u1", words={"riskState": "atRisk"}, now={}, by="Ann", at="", key="k")
    assert (await both.graph.push(odd)).left_out == ("riskState",)


# ---------------------------------------------------------------- act, ask


async def test_a_user_is_marked_as_compromised_by_its_name(both: Both) -> None:
    upn = "ann@contoso.example"
    await both.there.post("/v1.0/users", {"id": "u-ann", "userPrincipalName": upn, "displayName": "Ann"})
    order = Order(name="confirmCompromised", target=upn, parameters={}, by="Ann", reason=None, key="k")
    assert (await both.graph.act(order)).state == "completed"
    risky = await both.there.get("/v1.0/identityProtection/riskyUsers/u-ann")
    assert risky["riskState"] == "confirmedCompromised"
    with pytest.raises(Rejected, match="no action"):
        await both.graph.act(Order(name="fly", target=upn, parameters={}, by="Ann", reason=None, key="k"))


async def test_alerts_are_read_live(both: Both) -> None:
    ids = [(await both.there.post(ALERTS, given_alert(f"alert {number}")))["id"] for number in range(5)]
    newest = [json.loads(one.raw)["id"] for one in await both.graph.read(Read(top=2))]
    assert newest == [ids[4], ids[3]]
    (one,) = await both.graph.read(Read(id=ids[2]))
    assert json.loads(one.raw)["title"] == "alert 2"
    assert await both.graph.read(Read(id="nobody")) == []
    assert await both.graph.read(Read(until="2020-01-01T00:00:00.0000000Z")) == []
    assert await both.graph.check() == "127.0.0.1 answers and shows an alert"


async def test_a_certificate_proves_as_a_secret_does(tmp_path: Path) -> None:
    key, certificate = key_pair()
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    async with second(tmp_path, certificate=pem) as there:
        settings = {name: value for name, value in there.settings.items() if name != "client_secret"}
        graph = connected(settings, client_key=(private + pem).decode())
        assert "answers" in await graph.check()
        await graph.outside.close()


def test_secrets_are_sealed_and_one_proof_is_needed() -> None:
    assert secret_fields(MicrosoftGraph.settings) == {"client_secret", "client_key"}
    for given in ({}, {"client_secret": "a", "client_key": "b"}):
        with pytest.raises(BadRequest, match="either client_secret or client_key"):
            checked(MicrosoftGraph, {"tenant": "t", "client_id": "c", **given})
    with pytest.raises(BadRequest, match="address is an http or https address"):
        checked(MicrosoftGraph, {"tenant": "t", "client_id": "c", "client_secret": "s", "address": "ftp://x"})
