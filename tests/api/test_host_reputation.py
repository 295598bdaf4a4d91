"""The reputation of a host, rule by rule."""

from pathlib import Path
from typing import Any

import pytest
from tests.api.conftest import BASE, NOW, A, World
from tests.api.test_correlated import alert, device, ip
from tests.api.test_indicators import SET, indicator

from bartizan.api.threat_intelligence_reputation import MALICIOUS, RULES, SUSPICIOUS, Finding, score
from bartizan.intel.kept import bring

pytestmark = pytest.mark.anyio
TI = "/v1.0/security/threatIntelligence"
BAD, ADDRESS = "c2.evil.example", "203.0.113.66"


PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "threat-intelligence.md"


def test_the_table_of_rules_is_documented() -> None:
    """Each with its severity, its chance and what an analyst looks at."""
    page = PAGE.read_text()
    for rule in RULES.values():
        assert f"| {rule.name} | {rule.severity} | {rule.chance:.2f} | {rule.checked} |" in page, rule


async def said(world: World, host: str = BAD, **more: Any) -> tuple[str, int, list[str]]:
    """Classification, score and the names of the rules."""
    found = await world.get(f"{TI}/hosts/{host}/reputation", **more)
    return found["classification"], found["score"], [each["name"] for each in found["rules"]]


def dns(name: str = BAD) -> dict[str, Any]:
    return {"@odata.type": "#microsoft.graph.security.dnsEvidence", "domainName": name}


async def test_unknown(world: World) -> None:
    """Also of a host that nobody has seen there is an answer, as by key in parentheses."""
    for host in (f"hosts/{BAD}", f"hosts('{BAD}')", "hosts/2001:db8::7"):
        found = await world.get(f"{TI}/{host}/reputation", by="reader")
        assert (found["classification"], found["score"], found["rules"]) == ("unknown", 0, [])
        assert len(found["id"]) == 36
    only = await world.get(f"{TI}/hosts/{BAD}/reputation?$select=score")
    assert (only["score"], "classification" in only) == (0, False)


async def test_neutral(world: World) -> None:
    """Seen, and nothing speaks against it."""
    await world.post(f"{TI}/hosts", {"id": BAD})
    assert await said(world) == ("neutral", 0, [])


@pytest.mark.parametrize(
    ("change", "rule", "named", "score"),
    [
        ({"threatType": "C2", "confidence": 90}, "sure", "malicious", 80),
        ({"threatType": "Malware", "confidence": 60}, "plain", "suspicious", 60),
        ({"threatType": "Phishing"}, "plain", "suspicious", 60),
        ({"threatType": "Phishing", "confidence": 30}, "doubtful", "neutral", 30),
        ({"threatType": "Botnet", "confidence": 90, "domainName": "evil.example"}, "around", "suspicious", 45),
        ({"threatType": "MaliciousUrl", "url": f"https://{BAD}/x", "domainName": None}, "around", "suspicious", 45),
        ({"threatType": "MaliciousUrl", "url": f"http://{BAD}:8080/x", "domainName": None}, "around", "suspicious", 45),
        ({"threatType": "WatchList", "confidence": 90}, "watched", "neutral", 20),
        ({"threatType": "C2", "confidence": 90, "emailSourceDomain": BAD, "domainName": None}, "sure", "malicious", 80),
    ],
)
async def test_an_indicator(world: World, change: dict[str, Any], rule: str, named: str, score: int) -> None:
    """By its confidence and threatType, and by whether it names the host or what is around it."""
    made = await world.post(SET, indicator(**{"domainName": BAD, **change}))
    assert await said(world, by="reader") == (named, score, [RULES[rule].name])
    (shown,) = (await world.get(f"{TI}/hosts/{BAD}/reputation"))["rules"]
    assert shown["severity"] == RULES[rule].severity
    assert "until 2026-12-31" in shown["description"]
    assert shown["relatedDetailsUrl"] == f"{BASE}/beta/security/tiIndicators/{made['id']}"
    assert await said(world, by="other") == ("unknown", 0, [])


@pytest.mark.parametrize(
    "change",
    [
        {"expirationDateTime": "2026-11-20T00:00:00Z"},
        {"isActive": False},
        {"confidence": 10},
        {"passiveOnly": True},
        {"knownFalsePositives": "High"},
        {"domainName": "other.example"},
        {"domainName": "below.c2.evil.example"},
        {"domainName": None, "url": "http://c2.evil.example.org/x"},
    ],
)
async def test_an_indicator_that_does_not_count(world: World, change: dict[str, Any]) -> None:
    await world.post(SET, indicator(**{"domainName": BAD, "threatType": "C2", "confidence": 90, **change}))
    _, score, rules = await said(world)
    assert (score, rules) == (0, [])


async def test_indicators_of_an_address(world: World) -> None:
    """Itself, and a block around it."""
    await world.post(SET, indicator(domainName=None, networkIPv4=ADDRESS, threatType="C2", confidence=80))
    await world.post(SET, indicator(domainName=None, networkCidrBlock="203.0.113.0/26", threatType="C2"))
    await world.post(SET, indicator(domainName=None, networkCidrBlock="203.0.113.64/26", threatType="C2"))
    await world.post(SET, indicator(domainName=None, networkIPv6="2001:db8::7", threatType="C2", confidence=80))
    assert await said(world, ADDRESS) == ("malicious", 89, [RULES["sure"].name, RULES["around"].name])
    assert await said(world, "2001:DB8:0::7") == ("malicious", 80, [RULES["sure"].name])


async def test_articles_and_profiles(world: World) -> None:
    """Whom an indicator of theirs names, with a link to what is written of it."""
    await world.post(f"{TI}/articles", {"id": "a/1", "title": "Loaders", "createdDateTime": "2026-01-01T00:00:00Z"})
    for n in range(2):  # one article counts once
        await world.post(f"{TI}/articleIndicators", {"id": f"i{n}", "articleId": "a/1", "artifact": {"id": BAD}})
    assert await said(world) == ("suspicious", 60, [RULES["written"].name])
    (shown,) = (await world.get(f"{TI}/hosts/{BAD}/reputation"))["rules"]
    assert (shown["description"], shown["severity"]) == ("Loaders", "medium")
    link = shown["relatedDetailsUrl"].removeprefix(BASE)
    assert (await world.get(link))["title"] == "Loaders"
    new = {"intelligenceProfileId": "actinium", "artifact": {"id": BAD}}
    await world.post(f"{TI}/intelligenceProfileIndicators", new)
    assert await said(world) == ("malicious", 90, [RULES["profiled"].name, RULES["written"].name])
    assert await said(world, by="other") == ("unknown", 0, [])


async def test_what_an_indicator_allows(world: World) -> None:
    """No other indicator counts then, nor a list."""
    await world.post(SET, indicator(domainName=BAD, threatType="C2", confidence=90))
    await world.post(SET, indicator(domainName=BAD, action="allow"))
    assert await said(world) == ("neutral", 0, [RULES["allowed"].name])


@pytest.mark.parametrize(
    ("kind", "rule", "named", "score"),
    [
        ("malicious", "listed", "malicious", 80),
        ("nation-state", "nation", "malicious", 90),
        ("tor", "tor", "neutral", 30),
        ("proxy", "proxy", "neutral", 25),
        ("vpn", "vpn", "neutral", 10),
        ("hosting", None, "neutral", 0),
    ],
)
async def test_an_imported_list(
    world: World, tmp_path: Path, kind: str, rule: str | None, named: str, score: int
) -> None:
    path = tmp_path / "list.txt"
    path.write_text("203.0.113.64/27\n")
    await bring(world.store, A, kind, path, source="ours", now=NOW.timestamp())
    assert await said(world, ADDRESS) == (named, score, [] if rule is None else [RULES[rule].name])
    found = await world.get(f"{TI}/hosts/{ADDRESS}/reputation")
    assert all(f"{kind}: ours" in each["description"] for each in found["rules"])
    assert await said(world, ADDRESS, by="other") == ("unknown", 0, [])


@pytest.mark.parametrize(
    ("more", "rule", "named", "score"),
    [
        ({"severity": "high"}, "high", "neutral", 25),
        ({"severity": "medium"}, "medium", "neutral", 10),
        ({"severity": "low"}, "low", "neutral", 4),
        ({"severity": "informational"}, None, "neutral", 0),
        ({"severity": "low", "classification": "truePositive"}, "named", "suspicious", 42),
        ({"severity": "high", "classification": "falsePositive"}, None, "neutral", 0),
        ({"severity": "high", "classification": "informationalExpectedActivity"}, None, "neutral", 0),
    ],
)
async def test_an_alert(world: World, more: dict[str, Any], rule: str | None, named: str, score: int) -> None:
    """By its severity while nobody has classified it, then by what an analyst says."""
    id = await alert(world, "Beacon", "11:00", dns(), device("pc1.contoso.example"), severity=more["severity"])
    if "classification" in more:
        await world.patch(f"/v1.0/security/alerts_v2/{id}", {"classification": more["classification"]})
    assert await said(world) == (named, score, [] if rule is None else [RULES[rule].name])
    for each in (await world.get(f"{TI}/hosts/{BAD}/reputation"))["rules"]:
        assert each["description"] == "Beacon (2026-11-20)"
        assert each["relatedDetailsUrl"] == f"{BASE}/beta/security/alerts_v2/{id}"
    assert await said(world, "pc1.contoso.example") == ("neutral", 0, [])


async def test_whom_an_alert_befell(world: World) -> None:
    """An address that is attacked, one of a private network, and one of long ago say nothing."""
    bad = {**ip(ADDRESS), "roles": ["attacked"]}
    await alert(world, "Scan", "11:00", bad, ip("10.1.2.3"), {**ip("203.0.113.67"), "roles": ["attacker"]})
    await alert(world, "Old", "2026-06-01T00:00:00Z", ip("203.0.113.68"))
    assert await said(world, ADDRESS) == ("neutral", 0, [])
    assert await said(world, "10.1.2.3") == ("neutral", 0, [])
    assert await said(world, "203.0.113.67") == ("neutral", 10, [RULES["medium"].name])
    assert await said(world, "203.0.113.68") == ("neutral", 0, [])


async def test_an_attacker_in_a_confirmed_alert(world: World) -> None:
    """Where its evidence says so; one that is only named there is suspicious, however often."""
    for n in range(10, 14):
        bad = {**dns(), "roles": ["commandAndControl"]}
        id = await alert(world, f"Beacon {n}", f"{n}:00", *([bad] if n == 10 else []), dns("cdn.example.net"))
        await world.patch(f"/v1.0/security/alerts_v2/{id}", {"classification": "truePositive"})
    assert await said(world) == ("malicious", 75, [RULES["confirmed"].name])
    assert await said(world, "cdn.example.net") == ("suspicious", 66, [RULES["named"].name] * 4)


async def test_many_alerts(world: World) -> None:
    """Only the first few of a kind add to the score, and few are shown."""
    for n in range(10, 18):
        await alert(world, f"Beacon {n}", f"{n}:00", dns(), severity="high")
    assert await said(world) == ("suspicious", 58, [RULES["high"].name] * 5)


def test_open_alerts_alone() -> None:
    """However many, of whatever severity, they do not make a host malicious."""
    found = [Finding(rule, "") for rule in ("high", "medium", "low") for _ in range(9)]
    assert SUSPICIOUS <= score(found) < MALICIOUS


async def test_an_address_that_people_use(world: World) -> None:
    """Sign-ins with success on a week of days halve what open alerts say."""
    await world.post(
        "/v1.0/auditLogs/signIns",
        [
            {
                "id": f"s-{day}",
                "createdDateTime": f"2026-11-{day}T08:00:00Z",
                "userPrincipalName": "ada@contoso.example",
                "userId": "ada",
                "ipAddress": ADDRESS,
                "status": {"errorCode": 0},
            }
            for day in range(10, 17)
        ],
    )
    await alert(world, "Spray", "11:00", ip(ADDRESS), severity="high")
    assert await said(world, ADDRESS) == ("neutral", 12, [RULES["high"].name, RULES["usual"].name])


async def test_for_whom_alerts_do_not_count(world: World) -> None:
    """Who may not read alerts is told nothing by them."""
    await alert(world, "Beacon", "11:00", dns(), severity="high")
    world.known["enricher"] = type(world.known["admin"])(
        A, "app-e", "Enricher", permissions=frozenset({"ThreatIntelligence.Read.All"})
    )
    assert await said(world, by="enricher") == ("unknown", 0, [])
    assert (await said(world))[1] == 25
