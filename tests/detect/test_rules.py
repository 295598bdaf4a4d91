"""Rules as they run: once for each window, late data included, nothing twice; health, floods and failures."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from tests.api.conftest import NOW, A, on_both_engines
from tests.api.test_detection_rules import DEVICE, SET, acting, action_of, template
from tests.detect.conftest import Found, Head, Hunt, Recording, WrongQuery

from bartizan.correlate.stage import CorrelateStage
from bartizan.detect import stage as stages
from bartizan.detect.rule import ORDERS
from bartizan.detect.words import LOOKBACK
from bartizan.errors import BadRequest, TooManyRequests, Unavailable
from bartizan.model.times import instant
from bartizan.store.interface import Query

pytestmark = pytest.mark.anyio
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


@on_both_engines
async def test_what_a_rule_finds_becomes_an_alert(hunt: Hunt) -> None:
    """Both faces, one alert for each device, with the rows' times, evidence, techniques and values; last run told."""
    hunt.lake.add(NOW - 2 * HOUR, "a")
    hunt.lake.add(NOW - HOUR, "a")
    hunt.lake.add(NOW - HOUR, "b", user="bob@contoso.example")
    id = await hunt.make()
    assert await hunt.run() == 1
    first, second = sorted(await hunt.alerts(), key=lambda each: each["additionalData"]["matchedRows"], reverse=True)
    assert (first["title"], first["severity"], first["category"]) == (
        "Encoded PowerShell was run",
        "medium",
        "Execution",
    )
    assert (first["detectionSource"], first["serviceSource"]) == ("customDetection", "microsoft365Defender")
    assert first["detectorId"] == (await hunt.rule(id))["detectorId"]
    assert first["mitreTechniques"] == ["T1059.001"]
    assert (first["firstActivityDateTime"], first["lastActivityDateTime"]) == (
        instant(NOW - 2 * HOUR),
        instant(NOW - HOUR),
    )
    more = first["additionalData"]
    assert (more["ruleId"], more["matchedRows"], len(more["rows"])) == (id, 2, 2)
    assert more["rows"][0]["FileName"] == "evil.exe"
    device, *others = first["evidence"]
    assert (device["mdeDeviceId"], device["deviceDnsName"], device["hostName"]) == ("id-a", "a.contoso.example", "a")
    assert device["detailedRoles"] == ["impactedAsset"]
    kinds = {each["@odata.type"].rpartition(".")[2] for each in others}
    assert kinds == {"userEvidence", "fileEvidence"}
    legacy = await hunt.world.get(f"/v1.0/security/alerts/{second['id']}")
    assert legacy["userStates"][0]["userPrincipalName"] == "bob@contoso.example"
    assert legacy["vendorInformation"]["provider"] == "Custom Detection"
    told = await hunt.rule(id)
    assert told["lastRunDetails"] == {
        "lastRunDateTime": instant(NOW), "status": "completed", "errorCode": None, "failureReason": None,
    }  # fmt: skip
    assert told["schedule"]["nextRunDateTime"] == instant(NOW + HOUR)
    assert told["lastModifiedDateTime"] == instant(NOW)
    assert hunt.lake.asked == [(A, told["queryCondition"]["queryText"], NOW - 4 * HOUR, NOW)]


@on_both_engines
async def test_nothing_twice_and_nothing_late_is_lost(hunt: Hunt) -> None:
    """A row that several runs see raises once; what arrives late, within the look-back, raises then."""
    await hunt.make()
    hunt.lake.add(NOW + MINUTE, "a")
    hunt.lake.add(NOW + MINUTE, "late", arrived=NOW + 2 * HOUR + MINUTE)
    assert await hunt.run() == 1
    assert await hunt.alerts() == []
    assert await hunt.run() == 0, "not due"
    for hours in range(1, 7):
        assert await hunt.run(after=HOUR) == 1, hours
    assert sorted(each["evidence"][0]["mdeDeviceId"] for each in await hunt.alerts()) == ["id-a", "id-late"]


async def test_the_same_device_again(hunt: Hunt) -> None:
    """Another row of a device that was told already is another alert, of that row alone."""
    await hunt.make()
    hunt.lake.add(NOW - MINUTE, "a")
    await hunt.run()
    hunt.lake.add(NOW + MINUTE, "a")
    await hunt.run(after=HOUR)
    assert [each["additionalData"]["matchedRows"] for each in await hunt.alerts()] == [1, 1]


@on_both_engines
async def test_two_workers_and_a_crash(hunt: Hunt) -> None:
    """Two workers at once: one run counts, each row is one alert. One that dies before it writes has done nothing."""
    id = await hunt.make()
    hunt.lake.add(NOW - MINUTE, "a")
    first, second = hunt.stage(), hunt.stage()
    assert sorted(await asyncio.gather(first.run_rule(A, id), second.run_rule(A, id))) == [False, True]
    assert len(await hunt.alerts()) == 1
    hunt.lake.add(NOW + MINUTE, "b")
    hunt.now += HOUR
    waiting, asked = asyncio.Event(), asyncio.Event()

    async def meanwhile() -> None:
        asked.set()
        await waiting.wait()

    hunt.lake.meanwhile = meanwhile
    dying = asyncio.create_task(hunt.stage().run_rule(A, id))
    await asked.wait()
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    hunt.lake.meanwhile = None
    assert len(await hunt.alerts()) == 1
    assert await hunt.run() == 1
    assert len(await hunt.alerts()) == 2


async def test_a_rule_that_changes_while_it_runs(hunt: Hunt) -> None:
    """What was found by the former rule is not raised; the rule runs anew."""
    id = await hunt.make()
    hunt.lake.add(NOW - MINUTE, "a")

    async def meanwhile() -> None:
        hunt.lake.meanwhile = None
        hunt.world.graph.clock = lambda: NOW + MINUTE
        await hunt.world.patch(f"{SET}/{id}", {"detectionAction": {"alertTemplate": {"title": "Anew"}}})

    hunt.lake.meanwhile = meanwhile
    assert await hunt.run() == 0
    assert await hunt.alerts() == []
    assert await hunt.run() == 1
    assert [each["title"] for each in await hunt.alerts()] == ["Anew"]


async def test_after_an_absence(hunt: Hunt) -> None:
    """A server that was away looks back to where it was; the beat of the rule stays."""
    id = await hunt.make()
    await hunt.run()
    hunt.lake.add(NOW + HOUR, "a")
    assert await hunt.run(after=30 * HOUR + MINUTE) == 1
    assert len(await hunt.alerts()) == 1
    assert hunt.lake.asked[-1][2] == NOW - 3 * HOUR
    assert (await hunt.rule(id))["schedule"]["nextRunDateTime"] == instant(NOW + 31 * HOUR)


async def test_continuously(hunt: Hunt) -> None:
    """Each minute, since the last run with an overlap; what an overlap shows again raises nothing."""
    id = await hunt.make(schedule={"period": "0"})
    for minute in range(5):
        hunt.lake.add(NOW + minute * MINUTE, f"m{minute}")
        assert await hunt.run(after=MINUTE if minute else timedelta(0)) == 1
    assert len(await hunt.alerts()) == 5
    overlap = LOOKBACK["0"]
    assert hunt.lake.asked[-1][2:] == (NOW + 3 * MINUTE - overlap, NOW + 4 * MINUTE)
    assert (await hunt.rule(id))["schedule"]["nextRunDateTime"] == instant(NOW + 5 * MINUTE)


async def test_without_impacted_assets(hunt: Hunt) -> None:
    """What the rows name tells one alert from another."""
    await hunt.make(**{"detectionAction": acting(alertTemplate=template(impactedAssets=[]))["detectionAction"]})
    for user in ("ada@contoso.example", "bob@contoso.example"):
        hunt.lake.add(NOW - MINUTE, "a", user=user)
    await hunt.run()
    assert len(await hunt.alerts()) == 2


@pytest.mark.parametrize(
    ("kind", "rows"), [(None, [2, 1]), ("alertPerEvent", [1, 1, 1]), ("singleAlert", [3])], ids=str
)
async def test_how_rows_become_alerts(hunt: Hunt, kind: str | None, rows: list[int]) -> None:
    """By what they name, each alone, or all of a run together."""
    await hunt.make(**{"detectionAction": acting(alertTemplate=template(eventGroupingKind=kind))["detectionAction"]})
    for device, user in (("a", "ada@contoso.example"), ("a", "bob@contoso.example"), ("b", "ada@contoso.example")):
        hunt.lake.add(NOW - MINUTE, device, user=user)
    await hunt.run()
    found = await hunt.alerts()
    assert sorted((each["additionalData"]["matchedRows"] for each in found), reverse=True) == rows


async def test_how_far_it_looks_back_may_be_said(hunt: Hunt) -> None:
    id = await hunt.make(schedule={"frequency": "PT1H", "lookback": "PT90M"})
    await hunt.run()
    assert hunt.lake.asked[-1][2:] == (NOW - 90 * MINUTE, NOW)
    assert (await hunt.rule(id))["schedule"]["lookback"] == "PT90M"
    await hunt.run(after=HOUR)
    assert hunt.lake.asked[-1][2:] == (NOW - 30 * MINUTE, NOW + HOUR)


async def test_scope(hunt: Hunt) -> None:
    """Rows of other device groups are none of the rule's."""
    scope = {"scopeType": "deviceGroup", "scopeNames": ["Servers"]}
    await hunt.make(detectionAction=acting(organizationalScope=scope)["detectionAction"])
    hunt.lake.columns = ("Timestamp", "DeviceId", "MachineGroup")
    for device, group in (("a", "servers"), ("b", "Desks"), ("c", None)):
        hunt.lake.events.append((NOW, NOW, (instant(NOW), device, group)))
    await hunt.run()
    assert [each["evidence"][0]["mdeDeviceId"] for each in await hunt.alerts()] == ["a"]


async def test_they_correlate(hunt: Hunt) -> None:
    await hunt.make()
    hunt.lake.add(NOW - MINUTE, "a")
    await hunt.run()
    correlate = CorrelateStage(hunt.world.store)
    await correlate.register()
    await hunt.make(displayName="Second")
    hunt.lake.add(NOW - 2 * MINUTE, "a")
    await hunt.run()
    while await correlate.step():
        pass
    first, second = await hunt.alerts()
    assert first["incidentId"] is not None
    assert first["incidentId"] == second["incidentId"]


# ---------------------------------------------------------------- health


async def test_a_wrong_query_fails_at_once(hunt: Hunt) -> None:
    """The rule is disabled, an alert and the audit say why; enabled again it runs again."""
    id = await hunt.make()
    hunt.lake.fault = WrongQuery("'DeviceProcesEvents' is no table")
    assert await hunt.run() == 1
    told = await hunt.rule(id)
    assert (told["isEnabled"], told["status"], told["schedule"]["nextRunDateTime"]) == (False, "autoDisabled", None)
    assert told["lastRunDetails"]["status"] == "failed"
    assert told["lastRunDetails"]["errorCode"] == "queryExecutionFailed"
    assert told["lastRunDetails"]["failureReason"] == "bind: 'DeviceProcesEvents' is no table (line 1, column 7)"
    (alert,) = await hunt.alerts(disabled=True)
    assert alert["title"] == "Detection rule Encoded PowerShell was disabled"
    assert "no table" in alert["description"]
    entries = (await hunt.world.get("/v1.0/auditLogs/directoryAudits"))["value"]
    assert "Disable detectionRule" in [each["activityDisplayName"] for each in entries]
    assert await hunt.run(after=24 * HOUR) == 0
    hunt.lake.fault = None
    await hunt.world.patch(f"{SET}/{id}", {"isEnabled": True})
    assert await hunt.run() == 1
    assert (await hunt.rule(id))["lastRunDetails"]["status"] == "completed"


async def test_failures_in_a_row(hunt: Hunt) -> None:
    """A rule that fails again and again is disabled; one that recovers begins to count anew; what passes counts not."""
    id = await hunt.make()
    for fault in (*[WrongQuery("too much memory", "run")] * 4, None, TooManyRequests("later"), Unavailable("away")):
        hunt.lake.fault = fault
        await hunt.run(after=HOUR)
    told = await hunt.rule(id)
    assert told["isEnabled"] is True
    assert told["schedule"]["nextRunDateTime"] == instant(hunt.now + MINUTE)
    assert told["lastRunDetails"]["status"] == "failed"
    hunt.lake.fault = BadRequest("no")
    for _ in range(5):
        await hunt.run(after=HOUR)
    assert (await hunt.rule(id))["status"] == "autoDisabled"
    (alert,) = await hunt.alerts(disabled=True)
    assert "5 runs in a row have failed" in alert["description"]


async def test_a_flood(hunt: Hunt) -> None:
    """At most 150 alerts a run, the rest follow; a rule that goes on so is disabled."""
    id = await hunt.make()
    for number in range(320):
        hunt.lake.add(NOW - MINUTE, f"d{number}")
    for expected in (150, 300):
        await hunt.run(after=HOUR if expected > 150 else timedelta(0))
        assert len(await hunt.alerts()) == expected
        details = (await hunt.rule(id))["lastRunDetails"]
        assert (details["status"], details["errorCode"]) == ("partiallyFailed", "queryLimitsExceeded")
    await hunt.run(after=HOUR)
    assert len(await hunt.alerts()) == 320, "none is lost"
    assert (await hunt.rule(id))["isEnabled"] is True
    for hour in range(3):
        for number in range(151):
            hunt.lake.add(hunt.now + MINUTE, f"e{hour}-{number}")
        await hunt.run(after=HOUR)
    assert (await hunt.rule(id))["status"] == "autoDisabled"
    (alert,) = await hunt.alerts(disabled=True)
    assert "more than 150 alerts" in alert["description"]


async def test_too_many_rows_and_a_missing_column(hunt: Hunt) -> None:
    id = await hunt.make()
    hunt.lake.events = [(NOW, NOW, (instant(NOW), str(number), "", "", "")) for number in range(stages.MAX_ROWS + 1)]
    await hunt.run()
    details = (await hunt.rule(id))["lastRunDetails"]
    assert (details["status"], details["errorCode"]) == ("failed", "queryExceededResultSize")
    hunt.lake.columns, hunt.lake.events = ("Timestamp",), []
    await hunt.run(after=HOUR)
    told = await hunt.world.get(f"{SET}/{id}", prefer="include-unknown-enum-members")
    assert (told["lastRunDetails"]["errorCode"], told["isEnabled"]) == ("noImpactedEntity", False)


async def test_rows_that_are_not_as_they_should_be(hunt: Hunt) -> None:
    """A fault in one rule's rows is that rule's failure, and holds up no other rule."""
    bad, good = await hunt.make(), await hunt.make(displayName="Good", queryCondition={"queryText": "good"})
    lake = hunt.lake

    class Odd:
        async def table(self, tenant: str, query: str, now: Any, **span: Any) -> Found:
            found = await lake.table(tenant, query, now, **span)
            return found if query == "good" else Found([Head("DeviceId")], [[1, 2, 3]])

    hunt.lake = Odd()  # type: ignore[assignment]
    assert await hunt.run() == 2
    assert (await hunt.rule(bad))["lastRunDetails"]["errorCode"] == "alertCreationFailed"
    assert (await hunt.rule(good))["lastRunDetails"]["status"] == "completed"


# ---------------------------------------------------------------- actions


async def pending(hunt: Hunt) -> int:
    return len((await hunt.world.store.tenant(A).page(ORDERS.name, Query(top=100))).rows)


@on_both_engines
async def test_actions_are_ordered_once(hunt: Hunt) -> None:
    """In the name of who made the rule; what passes is tried again, and a repeat gives the same action."""
    await hunt.make()
    hunt.lake.add(NOW - MINUTE, "a")
    hunt.lake.add(NOW - MINUTE, "b")
    recording = Recording(hunt.dispatch, Unavailable("away"))
    await hunt.stage(recording).round(A)
    assert (len(recording.taken), await pending(hunt)) == (1, 1)
    hunt.now += MINUTE
    await hunt.stage(recording).round(A)
    assert await pending(hunt) == 0
    parameters = [each["parameters"] for each in recording.taken]
    assert sorted(each[0]["value"] for each in parameters) == ["id-a", "id-b"]
    assert all(each["name"] == "isolateDevice" for each in recording.taken)
    assert recording.callers == ["analyst@contoso.example"] * 2
    actions = (await hunt.world.get("/beta/security/securityActions"))["value"]
    assert len(actions) == 2
    told = [each["additionalData"]["securityActionIds"] for each in await hunt.alerts()]
    assert sorted(one for each in told for one in each) == sorted(each["id"] for each in actions)
    assert {each["status"] for each in actions} == {"Failed"}, "no connection offers it, and the action says so"


async def test_an_order_that_was_placed_before_a_crash(hunt: Hunt) -> None:
    """Ordered, and died before it was told: ordering again gives the same action."""
    await hunt.make()
    hunt.lake.add(NOW - MINUTE, "a")

    class Dying(Recording):
        async def create(self, ctx: Any, given: list[dict[str, Any]]) -> Any:
            await super().create(ctx, given)
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        await hunt.stage(Dying(hunt.dispatch)).round(A)
    await hunt.stage().round(A)
    assert await pending(hunt) == 0
    assert len((await hunt.world.get("/beta/security/securityActions"))["value"]) == 1


async def test_an_order_that_is_refused(hunt: Hunt) -> None:
    """The alert says why."""
    await hunt.make()
    hunt.lake.add(NOW - MINUTE, "a")
    await hunt.stage(Recording(hunt.dispatch, BadRequest("could be meant for several connections"))).round(A)
    (alert,) = await hunt.alerts()
    (why,) = alert["additionalData"]["securityActionErrors"]
    assert why == "isolateDevice: could be meant for several connections"
    assert await pending(hunt) == 0


async def test_targets_of_actions(hunt: Hunt) -> None:
    """Accounts by the best name that the row has, files by their longest hash, quarantine on the row's device."""
    actions = [
        action_of("disableUser", identifier="accountSid"),
        action_of("blockFile", identifier="sha1,sha256"),
        action_of("stopAndQuarantineFile", identifier="deviceId,sha1"),
        action_of("softDelete", identifier="networkMessageId,recipientEmailAddress"),
        action_of("isolateDevice", identifier="deviceId", isolationType="selective"),
    ]
    await hunt.make(detectionAction=acting(responseActions=actions)["detectionAction"])
    hunt.lake.columns = (
        *("Timestamp", "DeviceId", "AccountSid", "AccountUpn", "SHA1", "SHA256", "NetworkMessageId"),
        "RecipientEmailAddress",
    )
    hunt.lake.events = [
        (NOW, NOW, (instant(NOW), "d1", "S-1-5-21-7", "ada@contoso.example", "1" * 40, "2" * 64, "m1", "a@b.example"))
    ]
    recording = Recording(hunt.dispatch)
    await hunt.stage(recording).round(A)
    found = {
        each["name"]: [(one["name"], one["value"]) for one in each["parameters"]] for each in recording.taken
    }  # fmt: skip
    assert found == {
        "disableUser": [("userPrincipalName", "ada@contoso.example")],
        "blockFile": [("sha256", "2" * 64)],
        "quarantineFile": [("sha1", "1" * 40), ("deviceId", "d1")],
        "deleteMail": [("networkMessageId", "m1")],
        "isolateDevice": [("deviceId", "d1"), ("isolationType", "selective")],
    }


async def test_automated_actions(hunt: Hunt) -> None:
    """The same in the other shape, by columns of any name: not by those that are called as identifiers are."""
    actions = {
        "disableUsers": [{"accountSidColumn": "CallerSid"}],
        "blockFiles": [{"sha1Column": "Digest", "sha256Column": "Sum"}],
        "stopAndQuarantineFiles": [{"deviceIdColumn": "Machine", "sha1Column": "Digest"}],
        "softDeleteEmails": [{"networkMessageIdColumn": "Message", "recipientColumn": "To"}],
        "isolateDevices": [{"deviceIdColumn": "Machine", "isolationType": "selective"}],
    }
    body = acting(alertTemplate=template(impactedAssets=[]), responseActions=[], automatedActions=actions)
    id = await hunt.make(detectionAction=body["detectionAction"])
    kept = (await hunt.rule(id))["detectionAction"]
    assert kept["automatedActions"]["isolateDevices"][0]["deviceIdColumn"] == "Machine"
    assert kept["responseActions"] == []
    columns = {
        "Timestamp": instant(NOW), "DeviceId": "other", "SHA256": "3" * 64, "Machine": "d1", "CallerSid": "S-1-5-21-7",
        "CallerUpn": "ada@contoso.example", "Digest": "1" * 40, "Sum": "2" * 64, "Message": "m1", "To": "a@b.example",
    }  # fmt: skip
    hunt.lake.columns = tuple(columns)
    hunt.lake.events = [(NOW, NOW, tuple(columns.values()))]
    recording = Recording(hunt.dispatch)
    await hunt.stage(recording).round(A)
    found = {each["name"]: [(one["name"], one["value"]) for one in each["parameters"]] for each in recording.taken}
    assert found == {
        "disableUser": [("userPrincipalName", "ada@contoso.example")],
        "blockFile": [("sha256", "2" * 64)],
        "quarantineFile": [("sha1", "1" * 40), ("deviceId", "d1")],
        "deleteMail": [("networkMessageId", "m1")],
        "isolateDevice": [("deviceId", "d1"), ("isolationType", "selective")],
    }


async def test_a_deleted_rule_leaves_its_alerts(hunt: Hunt) -> None:
    id = await hunt.make(detectionAction=acting(alertTemplate=template(impactedAssets=[DEVICE]))["detectionAction"])
    hunt.lake.add(NOW - MINUTE, "a")
    await hunt.run()
    assert (await hunt.world.call("DELETE", f"{SET}/{id}")).status_code == 204
    assert await hunt.run(after=HOUR) == 0
    assert len(await hunt.alerts()) == 1
    assert await hunt.world.store.tenant(A).value(f"rules/seen/{id}") is None


async def test_mapped_entities_details_and_words(hunt: Hunt) -> None:
    """What a rule says its columns to be is the evidence, and tells alerts apart; details and titles hold values."""
    hunt.lake.columns = ("Timestamp", "Caller", "Machine", "From", "Digest", "Note")
    for number, (caller, note) in enumerate(
        (("CONTOSO\\ada", "a"), ("CONTOSO\\ada", "b"), ("bob@contoso.example", ""))
    ):
        row = (instant(NOW), caller, "pc7", f"198.51.100.{number}", "AB" * 16, note)
        hunt.lake.events.append((NOW, NOW, row))
    mapped = {
        "accounts": [{"nameColumn": "Caller"}],
        "hosts": [{"nameColumn": "Machine", "dnsDomainColumn": "Nothing"}],
        "ips": [{"addressColumn": "From"}],
        "files": [{"sha256Column": "Digest"}],
    }
    words = template(
        entityMappings=mapped, customDetails={"Notes": "Note", "Host": "Machine"}, impactedAssets=[],
        title="{{Caller}} on {{ Machine }}", description="Said: {{Note}}",
    )  # fmt: skip
    del words["entityMappings"]["hosts"][0]["dnsDomainColumn"]
    await hunt.make(**acting(alertTemplate=words, responseActions=[]))
    await hunt.run()
    by = {each["title"]: each for each in await hunt.alerts()}
    assert set(by) == {"CONTOSO\\ada on pc7", "bob@contoso.example on pc7"}
    first, second = by["CONTOSO\\ada on pc7"], by["bob@contoso.example on pc7"]
    assert (first["description"], second["description"]) == ("Said: a", "Said: -")
    beta = await hunt.world.get(f"/beta/security/alerts_v2/{first['id']}")
    details = {name: value for name, value in beta["customDetails"].items() if not name.startswith("@")}
    assert details == {"Notes": '["a","b"]', "Host": "pc7"}
    kinds = [each["@odata.type"].rpartition(".")[2] for each in first["evidence"]]
    assert sorted(kinds) == ["deviceEvidence", "fileEvidence", "ipEvidence", "ipEvidence", "userEvidence"]
    account = next(each["userAccount"] for each in first["evidence"] if "userAccount" in each)
    assert (account["domainName"], account["accountName"]) == ("CONTOSO", "ada")
    file = next(each["fileDetails"] for each in first["evidence"] if "fileDetails" in each)
    assert (file["md5"], file["sha256"]) == ("ab" * 16, None)
