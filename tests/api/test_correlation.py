"""Why alerts are where correlation put them, what analysts arrange, repeats and their heads, verdicts:
through the API, with the stage run by hand between the requests.
"""

import json
from math import isclose, log2
from typing import Any

import pytest
from tests.api.conftest import A, Around, World
from tests.api.test_correlated import DAY, alert, attack, correlated, device, incident_of, together, user

from bartizan.correlate.facts import seconds
from bartizan.correlate.stage import CorrelateStage
from bartizan.correlate.verdicts import LEAST
from bartizan.correlate.write import LINKS
from bartizan.model import faces
from bartizan.store.alerts import ALERTS_V2, FOLLOW_CHUNK, state_of
from bartizan.store.draft import draft
from bartizan.store.interface import Tx

pytestmark = pytest.mark.anyio
V2 = "/beta/security/alerts_v2"
INCIDENTS = "/beta/security/incidents"


async def marks(world: World, id: str) -> dict[str, Any]:
    return (await world.get(f"{V2}/{id}"))["additionalData"] or {}


async def links(world: World, id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await world.get(f"{V2}/{id}/correlationLinks"))["value"]
    return found


# ---------------------------------------------------------------- why


async def test_a_client_recomputes_the_weight_of_each_link(world: World) -> None:
    ids = await attack(world)
    await correlated(world.store)
    key = await incident_of(world, ids[0])
    assert await links(world, ids[0]) == []
    for at, each in enumerate(ids[1:], 1):
        (link,) = await links(world, each)
        assert link["alertId"] == each and link["incidentId"] == key
        assert link["otherAlertId"] in ids[:at]
        chance = 1 - (1 - link["popularity"]) ** link["gapHours"]
        assert isclose(link["bits"], -log2(chance) - link["strangerBits"], rel_tol=1e-9)
        assert link["bits"] >= 4 and link["sharedEntities"] >= 1
        assert set(link["correlationReason"].split(",")) <= {"sameActor", "sameTargetedAsset", "timeFrame"}
        assert set(link["entity"]) == {"kind", "value"}
    assert (await links(world, ids[1]))[0]["otherAlertId"] == ids[0]  # the mailbox was the user's name before
    edges = (await world.get(f"{INCIDENTS}/{key}/correlationLinks"))["value"]
    assert {each["alertId"] for each in edges} == set(ids[1:])


async def test_a_client_recomputes_the_priority(world: World) -> None:
    ids = await attack(world)
    await correlated(world.store)
    key = await incident_of(world, ids[0])
    parts = await world.get(f"{INCIDENTS}/{key}/priorityParts")
    bits = parts["severityBits"] + parts["companyBits"] + sum(d["bits"] * d["factor"] for d in parts["detectors"])
    assert isclose(bits, parts["bits"])
    score = round(100 * (1 - 2 ** (-bits / parts["halfBits"])))
    assert score == parts["priorityScore"] == (await world.get(f"{INCIDENTS}/{key}"))["priorityScore"]
    for each in parts["detectors"]:
        rarity = (each["popularity"] * each["popularityHere"]) ** 0.5
        assert isclose(each["bits"], -log2(max(rarity, each["explained"])))
        assert (each["factor"], each["truePositives"]) == (1.0, 0)
    assert {"kind": "user", "value": "alice@contoso.example"} in parts["entities"]
    mine = (await world.post("/v1.0/security/incidents", {"displayName": "By hand", "severity": "low"}))["id"]
    await world.refused("GET", f"{INCIDENTS}/{mine}/priorityParts", status=404, says="not made by correlation")


async def test_the_parts_are_beta_and_need_the_scope_of_reading(world: World) -> None:
    (id, *_) = await attack(world)
    await correlated(world.store)
    await world.refused("GET", f"/v1.0/security/alerts_v2/{id}/correlationLinks", status=404)
    await world.refused("GET", f"{V2}/{id}/correlationLinks", status=403, by="guest")
    await world.get(f"{V2}/{id}/correlationLinks", by="reader")
    await world.refused("POST", f"{V2}/{id}/detach", {}, status=403, by="reader")
    await world.refused("GET", f"{V2}/{id}/correlationLinks", status=404, by="other")


async def test_links_that_an_earlier_program_kept_apart_are_shown(world: World) -> None:
    """Until somebody moves or detaches the alert."""
    ids = await attack(world)
    await correlated(world.store)
    key, old = await incident_of(world, ids[0]), {"incidentId": "earlier", "createdBy": "bartizan correlate"}

    def kept(tx: Tx) -> None:
        for each in (ids[0], ids[1]):
            tx.put(draft(LINKS, {"id": each, **old}, each))

    await world.store.tenant(A).write(kept, actor="earlier")
    (link,) = await links(world, ids[0])
    assert (link["alertId"], link["incidentId"], link["bits"]) == (ids[0], "earlier", None)
    assert (await links(world, ids[1]))[0]["incidentId"] == key
    edges = (await world.get(f"{INCIDENTS}/{key}/correlationLinks"))["value"]
    assert {each["alertId"] for each in edges} == set(ids)
    await world.post(f"{V2}/{ids[0]}/detach", {})
    assert await links(world, ids[0]) == []


# ---------------------------------------------------------------- what analysts arrange


async def test_a_split_stays_after_a_restart_and_when_more_comes(world: World) -> None:
    ids = await attack(world)
    await correlated(world.store)
    key = await incident_of(world, ids[0])
    body = {"alertIds": ids[:2], "displayName": "Travelling", "comment": "not the same"}
    new = (await world.post(f"{INCIDENTS}/{key}/split", body))["targetIncidentId"]
    assert (await world.post(f"{INCIDENTS}/{key}/split", body))["targetIncidentId"] == new
    assert (await world.get(f"{INCIDENTS}/{new}"))["displayName"] == "Travelling"
    stage = await correlated(world.store)  # a new engine each time: as after a restart
    for number in range(3):
        await alert(world, f"More {number}", f"10:5{number}", user(userPrincipalName="alice@contoso.example"))
        await correlated(world.store)
    await correlated(world.store, stage := CorrelateStage(world.store))
    await stage.silence(seconds(f"{DAY}T22:00:00Z"))
    assert [await incident_of(world, each) for each in ids] == [new, new, key, key, key]
    (link,) = await links(world, ids[1])
    assert (link["incidentId"], link["bits"], link["createdBy"]) == (new, None, "app-a")
    assert "not the same" in str((await world.get(f"{V2}/{ids[0]}"))["comments"])


async def test_a_split_takes_only_alerts_of_the_incident(world: World) -> None:
    ids = await attack(world)
    stranger = await alert(world, "Elsewhere", "10:00", device("other.example"))
    await correlated(world.store)
    key = await incident_of(world, ids[0])
    body = {"alertIds": [ids[0], stranger]}
    await world.refused("POST", f"{INCIDENTS}/{key}/split", body, status=400, says="is not in incident")
    await world.refused("POST", f"{INCIDENTS}/{key}/split", {"alertIds": ["none"]}, status=404)
    assert await incident_of(world, ids[0]) == key


async def test_a_detached_alert_is_left_alone(world: World) -> None:
    """It belongs to no incident, nor do its repeats, whatever comes later; the others stay."""
    ids = await attack(world)
    await correlated(world.store)
    key = await incident_of(world, ids[0])
    assert await world.post(f"{V2}/{ids[3]}/detach", {"comment": "patch day"}) is None
    await world.post(f"{V2}/{ids[3]}/detach", {})
    assert (await marks(world, ids[3]))["isExcludedFromCorrelation"] is True
    await correlated(world.store)
    repeat = await alert(world, "New service alice", "10:27", device("lap-alice.contoso.example"),
                         category="Persistence")  # fmt: skip
    more = await alert(world, "More", "10:50", device("lap-alice.contoso.example"))
    await correlated(world.store, stage := CorrelateStage(world.store))
    await stage.silence(seconds(f"{DAY}T22:00:00Z"))
    assert await incident_of(world, ids[3]) is None and await incident_of(world, repeat) is None
    assert await incident_of(world, more) == key
    assert await links(world, ids[3]) == []


async def test_an_alert_detached_before_its_incident_opens_stays_out(world: World) -> None:
    """It waits in a candidate; when more alerts lift that, they come alone."""
    weak = {"severity": "informational"}
    for hour in range(8):
        await alert(world, "Weak", f"0{hour}:00", device(f"h{hour}.example"), **weak)
    first = await alert(world, "Weak", "09:00", device("h9.example"), **weak)
    stage = await correlated(world.store)
    assert await incident_of(world, first) is None
    await world.post(f"{V2}/{first}/detach", {})
    second = await alert(world, "Strong", "09:02", device("h9.example"), severity="high")
    await correlated(world.store, stage)
    assert await incident_of(world, second) is not None
    assert await incident_of(world, first) is None


async def test_merged_by_hand_and_split_again(world: World) -> None:
    one, two = await attack(world, "alice"), await attack(world, "robert")
    await correlated(world.store)
    keys = [await incident_of(world, one[0]), await incident_of(world, two[0])]
    body = {"incidentIds": keys, "incidentComment": "one actor", "mergeReasons": "sameActor"}
    target = (await world.post(f"{INCIDENTS}/mergeIncidents", body))["targetIncidentId"]
    (other,) = (each for each in keys if each != target)
    redirected = await world.get(f"{INCIDENTS}/{other}")
    assert (redirected["status"], redirected["redirectIncidentId"]) == ("redirected", target)
    await correlated(world.store)
    assert await together(world, [*one, *two])
    new = (await world.post(f"{INCIDENTS}/{target}/split", {"alertIds": two}))["targetIncidentId"]
    await correlated(world.store, stage := CorrelateStage(world.store))
    await stage.silence(seconds(f"{DAY}T22:00:00Z"))
    assert {await incident_of(world, each) for each in two} == {new}
    assert {await incident_of(world, each) for each in one} == {target}
    await world.post(f"{INCIDENTS}/mergeIncidents", {**body, "incidentIds": [target, new]})
    third = (await world.post(f"{INCIDENTS}/{target}/split", {"alertIds": two}))["targetIncidentId"]
    assert (await world.get(f"{INCIDENTS}/{third}"))["status"] == "active" and third not in (new, target)
    assert {await incident_of(world, each) for each in two} == {third}


async def test_an_analyst_who_is_quicker_than_a_merge_is_not_overruled(world: World) -> None:
    """The engine has decided to merge the later incident into the earlier one when somebody arranges it."""

    async def story(clock: str) -> list[str]:
        return [
            await alert(world, f"s{n}", clock, device("web.c.example"), providerAlertId=f"{clock}{n}") for n in "123"
        ]

    first = await story("10:00")
    extra = await alert(world, "Else", "10:01", device("other.example"))
    await correlated(world.store)
    again = await story("16:00")
    await correlated(world.store)
    old, new = await incident_of(world, first[0]), await incident_of(world, again[0])
    assert old != new

    async def move() -> None:
        await world.post(f"{V2}/moveAlerts", {"alertIds": [extra], "incidentId": new})

    async def write(real: Any, *args: Any, **how: Any) -> Any:
        await move()
        return await real(*args, **how)

    late = CorrelateStage(Around(world.store, write=write))
    later = await alert(world, "Later", "16:20", device("third.example"))
    await correlated(world.store, late)
    await correlated(world.store)
    assert await incident_of(world, later) is not None
    assert {await incident_of(world, each) for each in [extra, *again]} == {new}
    assert {await incident_of(world, each) for each in first} == {old}
    assert (await world.get(f"{INCIDENTS}/{new}"))["status"] == "active"
    more = await alert(world, "More", "16:25", device("web.c.example"))
    await correlated(world.store, stage := CorrelateStage(world.store))
    await stage.silence(seconds(f"{DAY}T22:00:00Z"))
    assert await incident_of(world, more) in (old, new)
    assert {await incident_of(world, each) for each in [extra, *again]} == {new}


async def test_what_follows_a_resolved_incident_names_it(world: World) -> None:
    evidence = user(userPrincipalName="a@c.example")
    first = await alert(world, "x", "10:00", evidence)
    await correlated(world.store)
    old = await incident_of(world, first)
    await world.patch(f"/v1.0/security/incidents/{old}", {"status": "resolved"})
    second = await alert(world, "y", "10:05", evidence)
    await correlated(world.store)
    parts = await world.get(f"{INCIDENTS}/{await incident_of(world, second)}/priorityParts")
    assert parts["followsIncidentId"] == old == await incident_of(world, first)


# ---------------------------------------------------------------- repeats


async def folded(world: World, count: int, title: str = "Beacon") -> tuple[str, list[str]]:
    """A head, and so many repeats within five minutes."""
    ids = [
        await alert(
            world, title, f"{DAY}T11:{n // 60:02}:{n % 60:02}Z", device("h1.example"), providerAlertId=f"{title}{n}"
        )
        for n in range(count + 1)
    ]
    return ids[0], ids[1:]


async def test_a_head_shows_its_repeats_and_they_can_be_left_out(world: World) -> None:
    head, repeats = await folded(world, 3)
    await correlated(world.store)
    told = await marks(world, head)
    assert told["foldedAlertCount"] == 3
    assert told["foldedFirstActivityDateTime"] == f"{DAY}T11:00:01.0000000Z"
    assert told["foldedLastActivityDateTime"] == f"{DAY}T11:00:03.0000000Z"
    assert await together(world, [head, *repeats])
    members = await world.get(f"{V2}/{head}/foldedAlerts?$count=true&$orderby=lastActivityDateTime")
    assert [each["id"] for each in members["value"]] == repeats and members["@odata.count"] == 3
    heads = await world.get(f"{V2}?$filter=additionalData/foldedIntoAlertId eq null")
    assert [each["id"] for each in heads["value"]] == [head]
    only = await world.get(f"/v1.0/security/alerts_v2?$filter=additionalData/foldedIntoAlertId eq '{head}'")
    assert {each["id"] for each in only["value"]} == set(repeats)
    (more,) = (await folded(world, 0))[0:1]
    assert more == head  # the same record once more


async def test_marks_are_put_in_as_if_the_alert_were_rendered_anew(world: World) -> None:
    head, repeats = await folded(world, 2)
    await correlated(world.store)
    await world.post(f"{V2}/{repeats[0]}/detach", {})
    stamps = {"@odata.etag", "createdDateTime", "lastUpdateDateTime"}
    for each in (head, *repeats):
        row = await world.store.tenant(A).get(ALERTS_V2.name, each)
        assert row is not None
        state = state_of(row)
        made = draft(ALERTS_V2, faces.today(state), each, state=faces.encode(state))
        shown, anew = (json.loads(text) for text in (row.doc, made.doc))
        assert list(shown) == list(anew) and row.beta == made.beta
        assert {name: shown[name] for name in shown if name not in stamps} == {
            name: anew[name] for name in anew if name not in stamps
        }


async def test_repeats_of_what_makes_no_incident_are_shown_too(world: World) -> None:
    weak = {"severity": "informational"}
    for hour in range(9):
        await alert(world, "Weak", f"0{hour}:00", device(f"h{hour}.example"), **weak)
    first = await alert(world, "Weak", "09:30", device("h9.example"), **weak)
    second = await alert(world, "Weak", "09:31", device("h9.example"), **weak)
    await correlated(world.store)
    assert await incident_of(world, first) is None
    assert (await marks(world, second))["foldedIntoAlertId"] == first
    assert (await marks(world, first))["foldedAlertCount"] == 1


@pytest.mark.parametrize("face", ["v2", "legacy"])
async def test_resolving_a_head_resolves_its_repeats_with_it(world: World, face: str) -> None:
    """In the same transaction, and they are open again with it."""
    head, repeats = await folded(world, 2)
    await correlated(world.store)
    if face == "v2":
        body: dict[str, Any] = {"status": "resolved", "classification": "falsePositive"}
        await world.patch(f"/v1.0/security/alerts_v2/{head}", body)
    else:
        vendor = {"vendor": "Acme", "provider": "Acme EDR"}
        body = {"status": "resolved", "feedback": "falsePositive", "vendorInformation": vendor}
        await world.patch(f"/v1.0/security/alerts/{head}", body)
    for each in repeats:
        found = await world.get(f"{V2}/{each}")
        assert (found["status"], found["classification"]) == ("resolved", "falsePositive")
        assert (await world.get(f"/v1.0/security/alerts/{each}"))["feedback"] == "falsePositive"
    await world.patch(f"/v1.0/security/alerts_v2/{head}", {"status": "new"})
    assert {(await world.get(f"{V2}/{each}"))["status"] for each in repeats} == {"new"}


async def test_a_head_with_many_repeats_is_followed_by_the_stage(world: World) -> None:
    head, repeats = await folded(world, FOLLOW_CHUNK + 5)
    stage = await correlated(world.store)
    assert (await world.get(f"{INCIDENTS}/{await incident_of(world, head)}/correlationLinks"))["value"] == []
    await world.patch(f"/v1.0/security/alerts_v2/{head}", {"status": "resolved"})
    done = "/v1.0/security/alerts_v2/$count?$filter=status eq 'resolved'"
    assert await count(world, done) == 1 + FOLLOW_CHUNK
    await correlated(world.store, stage)
    assert await count(world, done) == 1 + len(repeats)


async def count(world: World, path: str) -> int:
    return int((await world.call("GET", path)).text)


async def test_many_heads_at_once_are_followed_in_the_end(world: World) -> None:
    """updateAlerts of the legacy face: what one write cannot do for all of them, the stage does."""
    folds = [await folded(world, 4, f"Beacon {n}") for n in range(20)]
    stage = await correlated(world.store)
    vendor = {"vendor": "Acme", "provider": "Acme EDR"}
    value = [{"id": head, "status": "resolved", "vendorInformation": vendor} for head, _ in folds]
    await world.post("/beta/security/alerts/updateAlerts", {"value": value})
    done = "/v1.0/security/alerts_v2/$count?$filter=status eq 'resolved'"
    assert 20 <= await count(world, done) < 100
    await correlated(world.store, stage)
    assert await count(world, done) == 100


async def test_a_repeat_of_a_resolved_alert_is_news(world: World) -> None:
    """Whether the stage has heard of it or not."""
    head, _ = await folded(world, 1)
    stage = await correlated(world.store)
    await world.patch(f"/v1.0/security/alerts_v2/{head}", {"status": "resolved"})
    again = await alert(world, "Beacon", f"{DAY}T11:00:40Z", device("h1.example"), providerAlertId="again")
    await correlated(world.store, stage)
    assert "foldedIntoAlertId" not in await marks(world, again)
    third = await alert(world, "Beacon", f"{DAY}T11:00:50Z", device("h1.example"), providerAlertId="third")
    await correlated(world.store, stage)
    assert (await marks(world, third))["foldedIntoAlertId"] == again
    assert (await world.get(f"{V2}/{third}"))["status"] == "new"


async def test_repeats_go_where_their_head_is_moved(world: World) -> None:
    head, repeats = await folded(world, 2)
    await correlated(world.store)
    mine = (await world.post("/v1.0/security/incidents", {"displayName": "By hand", "severity": "low"}))["id"]
    await world.post(f"{V2}/moveAlerts", {"alertIds": [head], "incidentId": mine})
    assert {await incident_of(world, each) for each in [head, *repeats]} == {mine}


@pytest.mark.parametrize("how", ["moveAlerts", "detach"])
async def test_a_repeat_that_is_put_elsewhere_stands_for_itself(world: World, how: str) -> None:
    head, (one, other) = await folded(world, 2)
    await correlated(world.store)
    for each, left in ((one, 1), (other, None)):
        if how == "detach":
            await world.post(f"{V2}/{each}/detach", {})
        else:
            await world.post(f"{V2}/moveAlerts", {"alertIds": [each]})
        assert "foldedIntoAlertId" not in await marks(world, each)
        assert (await marks(world, head)).get("foldedAlertCount") == left
    assert len({await incident_of(world, each) for each in (head, one, other)}) == (2 if how == "detach" else 3)
    heads = await world.every(f"{V2}?$filter=additionalData/foldedIntoAlertId eq null")
    assert {each["id"] for each in heads} == {head, one, other}


async def test_nobody_can_say_what_the_server_says(world: World) -> None:
    said = {"foldedIntoAlertId": "x", "suppressionId": "y", "mine": 1}
    id = await alert(world, "Liar", "10:00", device("h.example"), additionalData=said)
    assert "mine" in await marks(world, id)
    assert not {"foldedIntoAlertId", "suppressionId"} & set(await marks(world, id))


# ---------------------------------------------------------------- learning


async def classified(world: World, stage: CorrelateStage, count: int, detector: str, verdict: str, at: int) -> None:
    for n in range(count):
        when = f"2026-11-{10 + at}T{n // 60 % 24:02}:{n % 60:02}:00Z"
        id = await alert(world, detector, when, device(f"{detector}{n}.example"), severity="low")
        await world.patch(f"/v1.0/security/alerts_v2/{id}", {"classification": verdict})
    await correlated(world.store, stage)


async def test_classifications_count_from_the_two_hundredth_on(world: World) -> None:
    """Below, parts and scores are what they were; from then on a bounded factor, shown with its counts."""
    stage = await correlated(world.store)
    await classified(world, stage, 100, "good", "truePositive", 0)
    await classified(world, stage, LEAST - 101, "bad", "falsePositive", 1)
    evidence = user(userPrincipalName="alice@contoso.example")
    good, bad = [await alert(world, each, "10:00", evidence) for each in ("good", "bad")]
    await correlated(world.store, stage)
    assert await together(world, [good, bad])
    key = await incident_of(world, good)
    before = await world.get(f"{INCIDENTS}/{key}/priorityParts")
    assert before["classifications"] == 0 and {each["factor"] for each in before["detectors"]} == {1.0}
    assert isclose(before["bits"], before["severityBits"] + before["companyBits"]
                   + sum(each["bits"] for each in before["detectors"]))  # fmt: skip
    await classified(world, stage, 1, "bad", "informationalExpectedActivity", 2)
    stage = await correlated(world.store)  # as after a restart
    await world.patch(f"/v1.0/security/alerts_v2/{good}", {"classification": "truePositive"})
    await correlated(world.store, stage)
    after = await world.get(f"{INCIDENTS}/{key}/priorityParts")
    its = {each["detector"]: each for each in after["detectors"]}
    assert after["classifications"] == LEAST + 1
    assert its["Acme EDR/good"]["truePositives"] == 101 and its["Acme EDR/bad"]["notTruePositives"] == 100
    assert 1 < its["Acme EDR/good"]["factor"] <= 2 and 0.5 <= its["Acme EDR/bad"]["factor"] < 1
    bits = after["severityBits"] + after["companyBits"] + sum(d["bits"] * d["factor"] for d in after["detectors"])
    assert isclose(bits, after["bits"])
    assert [each["bits"] for each in after["detectors"]] == [each["bits"] for each in before["detectors"]]
    await world.patch(f"{INCIDENTS}/{key}", {"classification": "truePositive"})
    await correlated(world.store, stage)
    detectors = (await world.get(f"{INCIDENTS}/{key}/priorityParts"))["detectors"]
    assert [each["truePositives"] for each in detectors] == [102, 1]  # an incident's verdict is one on each of them
    hidden = await alert(world, "bad", "12:00", user(userPrincipalName="bob@contoso.example"), severity="high")
    await correlated(world.store, stage)
    assert await incident_of(world, hidden) is not None  # it ranks lower, and is there
