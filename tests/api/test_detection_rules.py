"""Detection rules over the API: what is accepted, what is refused and why, merging, stamps, audit."""

from typing import Any

import pytest
from tests.api.conftest import NOW, World, on_both_engines

from bartizan.detect.rule import QueryCheck
from bartizan.errors import BadRequest
from bartizan.model.times import instant

pytestmark = pytest.mark.anyio
SET = "/beta/security/rules/detectionRules"
DEVICE = {"@odata.type": "#microsoft.graph.security.impactedDeviceAsset", "identifier": "deviceId"}
ISOLATE = {
    "@odata.type": "#microsoft.graph.security.isolateDeviceResponseAction",
    "isolationType": "full",
    "identifier": "deviceId",
}


def rule(**more: Any) -> dict[str, Any]:
    return {
        "displayName": "Encoded PowerShell",
        "isEnabled": True,
        "queryCondition": {"queryText": "DeviceProcessEvents | where ProcessCommandLine has '-enc'"},
        "schedule": {"period": "1H"},
        "detectionAction": {"alertTemplate": template(), "organizationalScope": None, "responseActions": [ISOLATE]},
        **more,
    }


def template(**more: Any) -> dict[str, Any]:
    return {
        "title": "Encoded PowerShell was run",
        "description": "A command line that hides what it does.",
        "severity": "medium",
        "category": "Execution",
        "recommendedActions": None,
        "mitreTechniques": ["T1059.001"],
        "impactedAssets": [DEVICE],
        **more,
    }


def acting(**more: Any) -> dict[str, Any]:
    return rule(detectionAction={**rule()["detectionAction"], **more})


async def test_a_rule_may_bring_its_id(world: World) -> None:
    """As those who keep rules as code send it: PATCH finds it under that id, a second POST is told that it is there."""
    made = await world.post(SET, rule(id="encoded-powershell", isEnabled=False, status="disabled"))
    assert (made["id"], made["isEnabled"]) == ("encoded-powershell", False)
    assert (await world.patch(f"{SET}/encoded-powershell", {"status": "enabled"}))["isEnabled"] is True
    problem = await world.refused("POST", SET, rule(id="encoded-powershell"), status=409, says="encoded-powershell")
    assert problem["code"] == "nameAlreadyExists"
    twice = [rule(id="twin"), rule(id="twin")]
    await world.refused("POST", SET, twice, status=409, says="twin")
    assert [each["id"] for each in (await world.get(SET))["value"]] == ["encoded-powershell"]


@on_both_engines
async def test_the_life_of_a_rule(world: World) -> None:
    """201 with stamps, read, listed, filtered; PATCH merges and gives 200 with the rule; DELETE 204."""
    answer = await world.call("POST", SET, rule(createdBy="mallory", lastRunDetails={"status": "failed"}), by="analyst")
    assert answer.status_code == 201, answer.text
    made = answer.json()
    now = instant(NOW)
    assert answer.headers["location"].endswith(f"/security/rules/detectionRules/{made['id']}")
    assert (made["createdBy"], made["lastModifiedBy"]) == ("analyst@contoso.example",) * 2
    assert (made["lastModifiedDateTime"], made["queryCondition"]["lastModifiedDateTime"]) == (now, now)
    assert (made["schedule"]["period"], made["schedule"]["nextRunDateTime"]) == ("1H", now)
    assert (made["isEnabled"], made["status"]) == (True, "enabled")
    assert made["detectorId"] and made["detectorId"] != made["id"]
    assert set(made["lastRunDetails"]) == {"lastRunDateTime", "status", "errorCode", "failureReason"}
    assert not any(made["lastRunDetails"].values())
    action = made["detectionAction"]
    assert action["alertTemplate"]["impactedAssets"] == [DEVICE]
    assert action["responseActions"] == [ISOLATE]
    assert "bartizan" not in answer.text
    path = f"{SET}/{made['id']}"
    changed = await world.patch(path, {
        "schedule": {"period": "24H"}, "detectionAction": {"alertTemplate": {"title": "Different alert title"}},
    })  # fmt: skip
    assert (changed["schedule"]["period"], changed["schedule"]["frequency"]) == ("24H", "PT24H")
    assert changed["detectionAction"]["alertTemplate"] == {**action["alertTemplate"], "title": "Different alert title"}
    assert changed["detectionAction"]["responseActions"] == [ISOLATE]
    assert (changed["createdBy"], changed["lastModifiedBy"]) == ("analyst@contoso.example", "app-a")
    assert changed["queryCondition"] == made["queryCondition"]
    assert [each["id"] for each in (await world.get(f"{SET}?$filter=isEnabled eq true"))["value"]] == [made["id"]]
    assert (await world.get(f"{SET}?$filter=contains(displayName,'nothing')&$count=true"))["@odata.count"] == 0
    assert (await world.get(path, by="reader"))["displayName"] == "Encoded PowerShell"
    assert (await world.get(SET, by="other"))["value"] == []
    assert (await world.call("DELETE", path)).status_code == 204
    await world.refused("GET", path, status=404)


async def test_null_takes_away(world: World) -> None:
    """An explicit null deletes recommendedActions and impactedAssets; what is not named stays."""
    made = await world.post(SET, acting(alertTemplate=template(recommendedActions="Look."), responseActions=[]))
    path = f"{SET}/{made['id']}"
    body = {"detectionAction": {"alertTemplate": {"recommendedActions": None, "impactedAssets": None}}}
    after = (await world.patch(path, body))["detectionAction"]["alertTemplate"]
    assert (after["recommendedActions"], after["impactedAssets"]) == (None, [])
    assert (after["title"], after["mitreTechniques"]) == ("Encoded PowerShell was run", ["T1059.001"])
    await world.refused("PATCH", path, {"queryCondition": {"queryText": None}}, status=400, says="has a query")
    await world.refused("PATCH", path, {"detectorId": "x"}, status=400, says="Cannot change detectorId")


def action_of(name: str, **more: Any) -> dict[str, Any]:
    return {"@odata.type": f"#microsoft.graph.security.{name}ResponseAction", **more}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (rule(displayName=" "), "displayName"),
        (rule(queryCondition={"queryText": "  "}), "queryText"),
        (rule(queryCondition={"queryText": "x" * 32_769}), "the most is 32768"),
        (rule(schedule={"period": "2H"}), "expected 0, 1H, 3H, 12H, 24H"),
        (rule(schedule={"period": None, "frequency": "PT2H"}), "frequency"),
        (rule(status="autoDisabled"), "server alone"),
        (rule(status="disabled"), "contradict"),
        (acting(alertTemplate=template(severity="unknown")), "expected informational, low, medium, high"),
        (acting(alertTemplate=template(category="Weather")), "category is 'Weather'"),
        (acting(alertTemplate=template(title=None)), "title"),
        (acting(alertTemplate=template(mitreTechniques=["1059"])), "no technique"),
        (acting(alertTemplate=template(impactedAssets=[{"identifier": "deviceId"}])), "no such property"),
        (acting(alertTemplate=template(impactedAssets=[{}])), "impactedDeviceAsset"),
        (acting(alertTemplate=template(impactedAssets=[{**DEVICE, "@odata.type": "#x.impactedHatAsset"}])), "expected"),
        (acting(alertTemplate=template(impactedAssets=[DEVICE] * 21)), "at most 20"),
        (acting(organizationalScope={"scopeType": "deviceGroup", "scopeNames": []}), "names no device group"),
        (acting(responseActions=[{}]), "without @odata.type"),
        (acting(responseActions=[action_of("launch", identifier="deviceId")]), "no rule can order it"),
        (acting(responseActions=[action_of("hardDelete", identifier="networkMessageId")]), "hardDelete"),
        (acting(responseActions=[action_of("markUserAsCompromised", identifier="accountObjectId")]), "riskyUsers"),
        (acting(responseActions=[action_of("blockFile", identifier="sha1", deviceGroupNames=["a"])]), "all devices"),
        (acting(responseActions=[action_of("blockFile")]), "identifier"),
        (acting(automatedActions={"isolateDevices": [{}]}), "automatedActions.identifier"),
        (acting(automatedActions={"markUsersAsCompromised": [{"accountObjectIdColumn": "A"}]}), "riskyUsers"),
        (acting(automatedActions={"hardDeleteEmails": [{"networkMessageIdColumn": "A"}]}), "hardDelete"),
        (acting(automatedActions={"blockFiles": [{"sha1Column": "A", "deviceGroupNames": ["g"]}]}), "all devices"),
        (acting(automatedActions={"isolateDevices": [{"deviceIdColumn": "D"}] * 21}), "automatedActions: at most 20"),
        (acting(alertTemplate=template(customDetails={str(n): "A" for n in range(21)})), "customDetails: at most 20"),
        (acting(alertTemplate=template(entityMappings={"ips": [{"scopeColumn": "A"}]})), "ips.scopeColumn"),
        (acting(alertTemplate=template(entityMappings={"hosts": [{}]})), "hosts: an entity names a column"),
        (acting(alertTemplate=template(title="{{A}} {{B}} {{C}} {{D}}")), "title names 4 columns"),
    ],
)  # fmt: skip
async def test_refused(world: World, body: dict[str, Any], says: str) -> None:
    """400 that says what is wrong and what would be right; nothing is stored."""
    await world.refused("POST", SET, body, status=400, says=says)
    assert (await world.get(SET))["value"] == []


async def test_what_may_be_said_otherwise(world: World) -> None:
    """Words in any case; frequency for period, status for isEnabled; a category as people write it."""
    template_ = template(category="defense evasion", mitreTechniques=["t1027", "T1027"], severity="HIGH")
    more = {"schedule": {"frequency": "PT3H"}, "isEnabled": None, "status": "disabled"}
    made = await world.post(SET, {**acting(alertTemplate=template_), **more})
    of = made["detectionAction"]["alertTemplate"]
    assert (of["category"], of["mitreTechniques"], of["severity"]) == ("DefenseEvasion", ["T1027"], "high")
    assert (made["schedule"]["period"], made["schedule"]["nextRunDateTime"]) == ("3H", None)
    assert (made["isEnabled"], made["status"]) == (False, "disabled")
    after = await world.patch(f"{SET}/{made['id']}", {"isEnabled": True})
    assert (after["status"], after["schedule"]["nextRunDateTime"]) == ("enabled", instant(NOW))


async def test_the_query_is_checked_where_hunting_runs(world: World) -> None:
    """A wrong query, and a column that the rule names and the result lacks, are refused at write."""
    asked: list[tuple[str, str]] = []

    async def columns(tenant: str, query: str) -> list[str]:
        asked.append((tenant, query))
        if "wrong" in query:
            raise BadRequest("parse: expected a table; got 'wrong'")
        return ["Timestamp", "DeviceName", "AccountUpn"]

    world.graph.parts = {**world.graph.parts, QueryCheck: QueryCheck(columns)}
    await world.refused("POST", SET, rule(queryCondition={"queryText": "wrong"}), status=400, says="expected a table")
    await world.refused("POST", SET, rule(), status=400, says="no column DeviceId; it has: Timestamp, DeviceName")
    fitting = template(impactedAssets=[{**DEVICE, "identifier": "deviceName"}])
    body = acting(alertTemplate=fitting, responseActions=[])
    made = await world.post(SET, body)
    count = len(asked)
    path = f"{SET}/{made['id']}"
    await world.refused(
        "PATCH", path, {"detectionAction": {"alertTemplate": {"impactedAssets": [DEVICE]}}}, status=400, says="DeviceId"
    )
    await world.patch(path, {"isEnabled": True})
    assert len(asked) == count + 1, "what changes nothing is not checked"
    scope = {"scopeType": "deviceGroup", "scopeNames": ["Servers"]}
    await world.refused(
        "PATCH", path, {"detectionAction": {"organizationalScope": scope}}, status=400, says="MachineGroup"
    )


async def test_columns_of_entities_and_words(world: World) -> None:
    """Mapped entities, details and the columns of a title are kept as they are given, and have to be there."""

    async def columns(tenant: str, query: str) -> list[str]:
        return ["Timestamp", "DeviceId", "Caller"]

    world.graph.parts = {**world.graph.parts, QueryCheck: QueryCheck(columns)}
    mapped = {"accounts": [{"upnColumn": "Caller"}], "hosts": [{"deviceIdColumn": "DeviceId"}]}
    words = template(
        entityMappings=mapped, customDetails={"Who": "Caller"}, title="{{Caller}} did it", impactedAssets=[]
    )
    made = await world.post(SET, acting(alertTemplate=words, responseActions=[]))
    of = (await world.get(f"{SET}/{made['id']}"))["detectionAction"]["alertTemplate"]
    assert of["customDetails"]["Who"] == "Caller" and of["title"] == "{{Caller}} did it"
    assert (of["entityMappings"]["accounts"][0]["upnColumn"], of["impactedAssets"]) == ("Caller", [])
    path = f"{SET}/{made['id']}"
    for name, wrong in (
        ("customDetails", {"customDetails": {"Who": "Nobody"}}),
        ("entityMappings.ips", {"entityMappings": {"ips": [{"addressColumn": "Nobody"}]}}),
        ("title", {"title": "{{Nobody}}"}),
    ):
        body: dict[str, Any] = {"detectionAction": {"alertTemplate": wrong}}
        await world.refused("PATCH", path, body, status=400, says=f"{name}: the query's result has no column Nobody")
    body = {"detectionAction": {"automatedActions": {"disableUsers": [{"accountSidColumn": "Nobody"}]}}}
    await world.refused(
        "PATCH", path, body, status=400, says="responseActions: the query's result has no column Nobody"
    )


async def test_who_may(world: World) -> None:
    made = await world.post(SET, rule())
    await world.refused("GET", SET, status=403, says="CustomDetection.Read.All", by="none")
    await world.refused("POST", SET, rule(), status=403, by="reader")
    await world.refused("PATCH", f"{SET}/{made['id']}", {"isEnabled": False}, status=403, by="reader")
    await world.refused("GET", "/v1.0/security/rules/detectionRules", status=403, by="none")
    await world.refused("POST", "/v1.0/security/rules/detectionRules", rule(), status=403, by="reader")


async def test_each_write_is_in_the_audit(world: World) -> None:
    made = await world.post(SET, rule(), by="analyst")
    await world.patch(f"{SET}/{made['id']}", {"isEnabled": False}, by="analyst")
    await world.call("DELETE", f"{SET}/{made['id']}")
    entries = (await world.get("/v1.0/auditLogs/directoryAudits?$orderby=activityDateTime"))["value"]
    mine = [each for each in entries if each["targetResources"][0]["id"] == made["id"]]
    names = ["Add detectionRule", "Update detectionRule", "Delete detectionRule"]
    assert sorted(each["activityDisplayName"] for each in mine) == sorted(names)
    update = next(each for each in mine if each["activityDisplayName"] == "Update detectionRule")
    assert "isEnabled" in [each["displayName"] for each in update["targetResources"][0]["modifiedProperties"]]


async def test_conditional_change(world: World) -> None:
    """If-Match of an older version is 412."""
    made = await world.post(SET, rule())
    path = f"{SET}/{made['id']}"
    await world.patch(path, {"displayName": "Other"}, if_match=made["@odata.etag"])
    await world.refused("PATCH", path, {"displayName": "Third"}, status=412, if_match=made["@odata.etag"])
    await world.refused("DELETE", path, status=412, if_match=made["@odata.etag"])


async def test_tactics_alone(world: World) -> None:
    """As v1.0 has them: the first is the category, also after a change; a category that was said stays."""

    def tactics(*names: str) -> list[dict[str, Any]]:
        return [{"tactic": each, "techniques": [{"technique": "T1078"}]} for each in names]

    template = {"title": "T", "description": "D", "severity": "low"}
    body = {**rule(id="by-tactics"), "schedule": {"frequency": "PT3H"}, "status": "enabled"}
    body["detectionAction"] = {"alertTemplate": {**template, "tactics": tactics("Initial Access", "Execution")}}
    v1 = SET.replace("/beta/", "/v1.0/")
    made = await world.post(v1, body)
    assert made["detectionAction"]["alertTemplate"]["category"] == "InitialAccess"
    for names, said, expected in (
        (["Persistence"], {}, "Persistence"),
        (["Impact"], {"category": "Malware"}, "Malware"),
        (["Discovery"], {}, "Malware"),
    ):
        change = {"detectionAction": {"alertTemplate": {"tactics": tactics(*names), **said}}}
        after = await world.patch(f"{v1}/by-tactics", change)
        assert after["detectionAction"]["alertTemplate"]["category"] == expected
        assert after["detectionAction"]["alertTemplate"]["tactics"][0]["tactic"] == names[0]
    body["detectionAction"]["alertTemplate"].pop("tactics")
    await world.refused("POST", v1, {**body, "id": "none"}, status=400, says="category")


async def test_frequency_alone(world: World) -> None:
    """Changes the beat, also where the old period is sent back with it; what is sent back whole changes nothing."""
    path = f"{SET}/{(await world.post(SET, rule()))['id']}"
    for given, expected in (
        ({"frequency": "PT12H"}, "12H"),
        ({"frequency": "PT0S", "period": "12H"}, "0"),
        ({"frequency": "PT0S", "period": "3H"}, "3H"),
        ({"frequency": "P1D"}, "24H"),
        ({"frequency": "PT24H", "period": "24H", "nextRunDateTime": None}, "24H"),
    ):
        assert (await world.patch(path, {"schedule": given}))["schedule"]["period"] == expected, given
    await world.refused("PATCH", path, {"schedule": {"frequency": "PT2H"}}, status=400, says="PT2H")


async def test_lookback_and_grouping(world: World) -> None:
    """As beta documents them: at least the frequency, none for a rule that runs continuously; kept and shown."""
    grouped = acting(alertTemplate=template(eventGroupingKind="singleAlert"))
    made = await world.post(SET, {**grouped, "schedule": {"frequency": "PT3H", "lookback": "P2D"}})
    assert (made["schedule"]["period"], made["schedule"]["lookback"]) == ("3H", "P2D")
    assert made["detectionAction"]["alertTemplate"]["eventGroupingKind"] == "singleAlert"
    path = f"{SET}/{made['id']}"
    assert (await world.patch(path, {"schedule": {"lookback": "PT3H"}}))["schedule"]["lookback"] == "PT3H"
    for schedule, says in (
        ({"lookback": "PT2H59M"}, "expected PT3H, as the rule's frequency is, to P30D"),
        ({"lookback": "P31D"}, "to P30D"),
        ({"lookback": "-PT4H"}, "to P30D"),
        ({"lookback": "three hours"}, "lookback"),
        ({"frequency": "PT24H"}, "expected PT24H"),
        ({"frequency": "PT0S"}, "continuously has none"),
    ):
        await world.refused("PATCH", path, {"schedule": schedule}, status=400, says=says)
    assert (await world.patch(path, {"schedule": {"lookback": None}}))["schedule"]["lookback"] is None
    for kind in ("unknownFutureValue", "perHost"):
        body = acting(alertTemplate=template(eventGroupingKind=kind))
        await world.refused("POST", SET, body, status=400, says="eventGroupingKind")
