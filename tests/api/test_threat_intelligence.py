"""Threat intelligence as it is told and read: articles, profiles, vulnerabilities, records of hosts, and hosts."""

from pathlib import Path
from typing import Any

import pytest
from tests.api.conftest import NOW, A, World, on_both_engines
from tests.api.test_correlated import alert, attack, correlated, device, ip
from tests.api.test_indicators import SET, indicator

from bartizan.intel.kept import bring

pytestmark = pytest.mark.anyio
TI = "/v1.0/security/threatIntelligence"
SEEN = {"firstSeenDateTime": "2025-04-18T10:31:12Z", "lastSeenDateTime": "2026-03-07T13:19:35Z"}
OF = "#microsoft.graph.security."
CERTIFICATE = {
    "id": "cert-1",
    "sha1": "fb96551505f1edb24dd3b36fcffdb765833b8118",
    "sslVersion": "3",
    "subject": {"commonName": "www.example.com", "alternateName": ["example.com"], "address": {"city": "Bonn"}},
}
RECORDS: dict[str, dict[str, Any]] = {
    "hostComponents": {"name": "nginx", "category": "Server", "version": "1.27", "host": {"id": "WWW.Example.com."}},
    "hostCookies": {"name": "sid", "domain": ".example.com", "host": {"id": "www.example.com"}},
    "hostPairs": {
        "linkKind": "redirect",
        "parentHost": {"id": "www.example.com"},
        "childHost": {"id": "cdn.example.net"},
    },
    "hostPorts": {
        "port": 443,
        "protocol": "tcp",
        "status": "open",
        "host": {"id": "www.example.com"},
        "services": [{"isRecent": True, "component": {"id": "c", "name": "https"}}],
        "mostRecentSslCertificate": {"id": "cert-1"},
    },
    "hostSslCertificates": {"host": {"id": "www.example.com"}, "sslCertificate": CERTIFICATE, "ports": [{"port": 443}]},
    "hostTrackers": {"kind": "GoogleAnalytics", "value": "UA-1", "host": {"id": "www.example.com"}},
    "passiveDnsRecords": {
        "recordType": "A",
        "collectedDateTime": "2026-03-07T13:59:34.735Z",
        "parentHost": {"id": "www.example.com"},
        "artifact": {"id": "198.51.100.7"},
    },
    "subdomains": {"host": {"@odata.type": f"{OF}hostname", "id": "a.www.example.com"}},
    "whoisRecords": {
        "host": {"id": "www.example.com"},
        "domainStatus": "ok",
        "registrar": {"name": "Registrar Inc."},
        "nameservers": [{"host": {"id": "ns1.example.org"}}],
    },
    "whoisHistoryRecords": {"host": {"id": "www.example.com"}, "domainStatus": "hold"},
}
BEHIND = {
    "components": "hostComponents",
    "cookies": "hostCookies",
    "hostPairs": "hostPairs",
    "childHostPairs": "hostPairs",
    "ports": "hostPorts",
    "sslCertificates": "hostSslCertificates",
    "trackers": "hostTrackers",
    "passiveDns": "passiveDnsRecords",
    "subdomains": "subdomains",
}


async def told(world: World, **more: Any) -> dict[str, dict[str, Any]]:
    """One record of each kind."""
    made = {}
    for name, body in RECORDS.items():
        seen = {"firstSeenDateTime": SEEN["firstSeenDateTime"]} if name == "subdomains" else SEEN
        made[name] = await world.post(f"{TI}/{name}", {"id": f"id-{name}", **seen, **body, **more})
    return made


@on_both_engines
async def test_records_of_a_host(world: World) -> None:
    """Each is read by its set, and behind its host, by whichever spelling; and leads back to the host."""
    made = await told(world)
    for name, of in BEHIND.items():
        for host in ("hosts/www.example.com", "hosts('WWW.example.com')"):
            page = await world.get(f"{TI}/{host}/{name}?$top=50&$count=true", by="reader")
            assert [each["id"] for each in page["value"]] == [made[of]["id"]], name
            assert page["@odata.count"] == 1
            assert await world.get(f"{TI}/{host}/{name}/$count") == 1
        one = await world.get(f"/beta/security/threatIntelligence/hosts/www.example.com/{name}/{made[of]['id']}")
        assert one["id"] == made[of]["id"]
        await world.refused("GET", f"{TI}/hosts/other.example.com/{name}/{made[of]['id']}", status=404)
        assert (await world.get(f"{TI}/hosts/other.example.com/{name}"))["value"] == []
        assert (await world.get(f"{TI}/hosts/www.example.com/{name}", by="other"))["value"] == []
    for name in RECORDS:
        (listed,) = (await world.get(f"{TI}/{name}"))["value"]
        read = await world.get(f"{TI}/{name}/id-{name}")
        assert {**listed, "@odata.context": ""} == {**read, "@odata.context": ""}
        for way in ("host", "parentHost"):
            if way in RECORDS[name]:
                back = await world.get(f"{TI}/{name}/id-{name}/{way}")
                assert (back["@odata.type"], back["id"]) == (f"{OF}hostname", read[way]["id"])


async def test_names_of_hosts_have_one_spelling(world: World) -> None:
    """In a record the host stands as its set has it, with its type."""
    made = await told(world)
    assert made["hostComponents"]["host"]["id"] == "www.example.com"
    assert made["hostComponents"]["@odata.type"] == f"{OF}hostComponent"
    record = made["passiveDnsRecords"]
    assert (record["artifact"]["@odata.type"], record["artifact"]["id"]) == (f"{OF}ipAddress", "198.51.100.7")
    (back,) = (await world.get(f"{TI}/hosts/198.51.100.7/passiveDnsReverse"))["value"]
    assert back["id"] == record["id"]
    assert (await world.get(f"{TI}/hosts/198.51.100.7/passiveDns"))["value"] == []
    (pair,) = (await world.get(f"{TI}/hosts/cdn.example.net/parentHostPairs"))["value"]
    assert pair["parentHost"]["id"] == "www.example.com"
    assert (await world.get(f"{TI}/hosts/cdn.example.net/childHostPairs"))["value"] == []
    address = await world.get(f"{TI}/passiveDnsRecords/{record['id']}/artifact")
    assert (address["@odata.type"], address["id"]) == (f"{OF}ipAddress", "198.51.100.7")
    assert made["whoisRecords"]["nameservers"][0]["host"]["id"] == "ns1.example.org"


async def test_certificates(world: World) -> None:
    """A record holds its certificate, as the service's answers do; it leads to the one of the set where that is told,
    and from there to the hosts that bear it."""
    made = await told(world)
    inside = made["hostSslCertificates"]["sslCertificate"]
    assert (inside["sha1"], inside["subject"]["alternateNames"]) == (CERTIFICATE["sha1"], ["example.com"])
    path = f"{TI}/hostSslCertificates/id-hostSslCertificates/sslCertificate"
    assert (await world.get(path))["sha1"] == CERTIFICATE["sha1"]
    await world.post(f"{TI}/sslCertificates", {**CERTIFICATE, "serialNumber": "7"})
    assert (await world.get(path))["serialNumber"] == "7"
    assert (await world.get(f"{TI}/hostPorts/id-hostPorts/mostRecentSslCertificate"))["serialNumber"] == "7"
    (bearer,) = (await world.get(f"{TI}/sslCertificates/cert-1/relatedHosts"))["value"]
    assert bearer["id"] == "www.example.com"
    assert (await world.get(f"{TI}/sslCertificates/cert-1/relatedHosts/www.example.com"))["id"] == "www.example.com"
    await world.refused("GET", f"{TI}/sslCertificates/cert-1/relatedHosts/x.example.com", status=404)
    await world.refused(
        "POST",
        f"{TI}/hostSslCertificates",
        {"host": {"id": "a.example"}, "sslCertificate": {}},
        status=400,
        says="the id of a certificate",
    )


async def test_whois(world: World) -> None:
    """The last record of a host, and what was before, asked in the ways of connectors."""
    await told(world)
    newer = {**RECORDS["whoisRecords"], "id": "newer", "lastSeenDateTime": "2026-10-01T00:00:00Z"}
    await world.post(f"{TI}/whoisRecords", newer)
    record = await world.get(f"{TI}/hosts/www.example.com/whois")
    assert (record["id"], record["registrar"]["name"]) == ("newer", "Registrar Inc.")
    for path in ("hosts/www.example.com/whois/history?$top=50&", "whoisRecords/newer/history?$top=50&"):
        (before,) = (await world.get(f"{TI}/{path}"))["value"]
        assert (before["id"], before["domainStatus"]) == ("id-whoisHistoryRecords", "hold")
    one = await world.get(f"{TI}/hosts/www.example.com/whois/history/id-whoisHistoryRecords")
    assert one["host"]["id"] == "www.example.com"
    await world.refused("GET", f"{TI}/hosts/www.example.com/whois/history/nope", status=404)
    await world.refused("GET", f"{TI}/hosts/other.example.com/whois", status=404)
    await world.refused("GET", f"{TI}/hosts/other.example.com/whois/history", status=404)


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("hostComponents", {"host": {"id": "no host"}}, "no host"),
        ("hostComponents", {"host": {"id": "localhost"}}, "two labels"),
        ("hostComponents", {"host": {}}, "with an id"),
        ("hostComponents", {"host": None}, "host"),
        ("hostComponents", {"host": {"@odata.type": f"{OF}ipAddress", "id": "a.example"}}, "is a hostname"),
        ("hostTrackers", {"host": {"id": "0.0.0.0"}}, "no host"),
        ("passiveDnsRecords", {"artifact": {"id": "a file"}}, "unclassifiedArtifact"),
        ("hostPorts", {"port": "x"}, "port"),
        ("hostPorts", {"nope": 1}, "nope"),
    ],
)
async def test_what_a_record_must_say(world: World, name: str, change: dict[str, Any], says: str) -> None:
    await world.refused("POST", f"{TI}/{name}", {**RECORDS[name], **change}, status=400, says=says)


async def test_told_twice(world: World) -> None:
    """The same again is 200 and changes nothing; other values are refused, or taken where the sender asks for it."""
    first = await told(world)
    again = await told(world)
    assert {name: each["@odata.etag"] for name, each in first.items()} == {
        name: each["@odata.etag"] for name, each in again.items()
    }
    other = {**RECORDS["hostComponents"], "id": "id-hostComponents", "version": "1.28"}
    await world.refused("POST", f"{TI}/hostComponents", other, status=409)
    taken = await world.post(f"{TI}/hostComponents", [other], prefer="resolution=merge-duplicates")
    assert taken["value"][0]["version"] == "1.28"


async def two_articles(world: World) -> None:
    await world.post(
        f"{TI}/articles",
        [
            {
                "id": id,
                "title": f"{id} abuses tools",
                "createdDateTime": f"2026-0{month}-03T18:20:22.677Z",
                "isFeatured": False,
                "summary": {"content": "What it does.", "format": "markdown"},
                "tags": ["OSINT", id],
            }
            for month, id in enumerate(("batloader", "emotet"), 1)
        ],
    )


@on_both_engines
async def test_articles(world: World) -> None:
    """As connectors ask: `$top` with an empty option behind it, a single term, one by id."""
    await two_articles(world)
    page = await world.get(f"{TI}/articles?$top=50&", by="reader")
    assert [each["id"] for each in page["value"]] == ["emotet", "batloader"]
    assert page["value"][0]["summary"] == {"content": "What it does.", "format": "markdown"}
    page = await world.get(f'{TI}/articles?$search="emotet"&$count=true&$skip=0')
    assert ([each["id"] for each in page["value"]], page["@odata.count"]) == (["emotet"], 1)
    (first,) = (await world.get(f"{TI}/articles?$orderby=createdDateTime&$top=1&$select=title"))["value"]
    assert first["title"].startswith("batloader")
    assert (await world.get(f"{TI}/articles/emotet"))["title"] == "emotet abuses tools"


@on_both_engines
async def test_indicators_of_articles(world: World) -> None:
    """Each with the id of its artifact, which may be no host."""
    await two_articles(world)
    artifacts: list[dict[str, Any]] = [
        {"id": "evil.example.com"},
        {"id": "198.51.100.9"},
        {"@odata.type": f"{OF}unclassifiedArtifact", "id": "x", "kind": "hash", "value": "44d88612"},
    ]
    new = [
        {"id": f"i-{n}", "articleId": "emotet", "source": "osint", "artifact": each} for n, each in enumerate(artifacts)
    ]
    await world.post(f"{TI}/articleIndicators", new)
    found = (await world.get(f"{TI}/articles/emotet/indicators?$top=50&"))["value"]
    assert [(each["artifact"]["id"], each["artifact"]["@odata.type"]) for each in found] == [
        ("evil.example.com", f"{OF}hostname"),
        ("198.51.100.9", f"{OF}ipAddress"),
        ("x", f"{OF}unclassifiedArtifact"),
    ]
    assert (await world.get(f"{TI}/articles/batloader/indicators"))["value"] == []
    assert (await world.get(f"{TI}/articles/emotet/indicators/i-1"))["source"] == "osint"
    assert (await world.get(f"{TI}/articleIndicators/i-2/artifact"))["value"] == "44d88612"
    assert (await world.get(f"{TI}/articleIndicators/i-0/artifact"))["id"] == "evil.example.com"
    await world.refused("GET", f"{TI}/articles/batloader/indicators/i-1", status=404)
    await world.refused("GET", f"{TI}/articles/nope/indicators", status=404)
    await world.refused("POST", f"{TI}/articleIndicators", {"artifact": artifacts[0]}, status=400, says="articleId")


async def test_profiles_and_their_indicators(world: World) -> None:
    await world.post(
        f"{TI}/intelProfiles",
        {
            "id": "actinium",
            "kind": "actor",
            "title": "Aqua Blizzard",
            "aliases": ["ACTINIUM"],
            "countriesOrRegionsOfOrigin": [{"code": "RU", "label": "Russia"}],
        },
    )
    new = {
        "id": "pi",
        "intelligenceProfileId": "actinium",
        "source": "public",
        "firstSeenDateTime": SEEN["firstSeenDateTime"],
        "artifact": {"id": "C2.example.com"},
    }
    await world.post(f"{TI}/intelligenceProfileIndicators", new)
    (profile,) = (await world.get(f"{TI}/intelProfiles?$top=50&"))["value"]
    assert (profile["id"], profile["aliases"]) == ("actinium", ["ACTINIUM"])
    (found,) = (await world.get(f"{TI}/intelProfiles/actinium/indicators?$top=50&"))["value"]
    assert found["artifact"]["id"] == "c2.example.com"
    for name in ("intelligenceProfileIndicators", "intelProfileIndicators"):
        assert (await world.get(f"{TI}/{name}/pi"))["source"] == "public"
    assert (await world.get(f"{TI}/hosts/c2.example.com"))["@odata.type"] == f"{OF}hostname"


async def test_vulnerabilities(world: World) -> None:
    """With their components inside, and the articles that write of them."""
    for id in ("a1", "a2"):
        await world.post(f"{TI}/articles", {"id": id, "title": id, "createdDateTime": "2026-01-01T00:00:00Z"})
    new = {
        "id": "CVE-2021-44228",
        "severity": "critical",
        "priorityScore": 100,
        "articleIds": ["a2"],
        "components": [{"id": "c1", "name": "Log4j"}, {"id": "c2", "name": "Cloud Connect"}],
        "cvss3Summary": {"score": 10, "severity": "critical"},
    }
    await world.post(f"{TI}/vulnerabilities", new)
    one = f"{TI}/vulnerabilities/CVE-2021-44228"
    assert (await world.get(one))["cvss3Summary"]["score"] == 10
    parts = await world.get(f"{one}/components?$filter=name eq 'Log4j'&$count=true")
    assert ([each["id"] for each in parts["value"]], parts["@odata.count"]) == (["c1"], 1)
    assert (await world.get(f"{one}/components/c2"))["name"] == "Cloud Connect"
    assert [each["id"] for each in (await world.get(f"{one}/articles"))["value"]] == ["a2"]
    assert (await world.get(f"{one}/articles/a2"))["title"] == "a2"
    await world.refused("GET", f"{one}/articles/a1", status=404)
    await world.refused("GET", f"{one}/components/c3", status=404)
    bad = {"id": "CVE-1", "components": [{"name": "x"}]}
    await world.refused("POST", f"{TI}/vulnerabilities", bad, status=400, says="an id and a name")


async def test_who_may(world: World) -> None:
    """Reading has its permission, telling the one of ingestion; nothing is changed or taken back."""
    await told(world)
    for path in ("articles", "hosts/www.example.com", "hosts/www.example.com/reputation", "hostPorts/id-hostPorts"):
        await world.refused("GET", f"{TI}/{path}", by=None, status=401)
        await world.refused("GET", f"{TI}/{path}", by="none", status=403, says="ThreatIntelligence.Read.All")
        await world.refused("GET", f"{TI}/{path}", by="guest", status=403)
    await world.refused("POST", f"{TI}/hostPorts", RECORDS["hostPorts"], by="reader", status=403)
    for verb in ("PATCH", "DELETE"):
        await world.refused(verb, f"{TI}/hostPorts/id-hostPorts", {"port": 1}, status=405, says="no such operation")
    await world.refused("GET", TI, status=405, says="a container")
    await world.refused("GET", f"{TI}/hosts/www.example.com", by="other", status=404)


# ---------------------------------------------------------------- hosts


async def test_a_host_as_it_was_told(world: World) -> None:
    """What the documentation's example shows, by segment and in parentheses; its type follows from its id."""
    new = {"id": "Contoso.com", "registrar": "MarkMonitor Inc.", "registrant": "Microsoft Corporation", **SEEN}
    made = await world.post(f"{TI}/hosts", new)
    assert (made["@odata.type"], made["id"]) == (f"{OF}hostname", "contoso.com")
    for path in (
        f"{TI}/hosts/contoso.com",
        f"{TI}/hosts('contoso.com')",
        f"{TI.replace('v1.0', 'beta')}/hosts/CONTOSO.com",
    ):
        host = await world.get(path, by="reader")
        assert (host["@odata.type"], host["registrar"]) == (f"{OF}hostname", "MarkMonitor Inc.")
        assert host["firstSeenDateTime"] == "2025-04-18T10:31:12.0000000Z"
    only = await world.get(f"{TI}/hosts/contoso.com?$select=registrar")
    assert (only["registrar"], "registrant" in only) == ("MarkMonitor Inc.", False)
    wrong = {"id": "contoso.com", "@odata.type": f"{OF}ipAddress"}
    await world.refused("POST", f"{TI}/hosts", wrong, status=400, says="is a hostname")


@pytest.mark.parametrize("id", ["localhost", "a b.example", "*.example.com", "10.0.0.300", "%2A", "a..example", "::"])
async def test_what_is_no_host(world: World, id: str) -> None:
    """400 that says what one is, for the host and for what stands behind it."""
    for behind in ("", "/reputation", "/subdomains", "/whois"):
        await world.refused("GET", f"{TI}/hosts/{id}{behind}", status=400)


async def test_nobody_has_seen_it(world: World) -> None:
    problem = await world.refused("GET", f"{TI}/hosts/new.example.com", status=404)
    assert problem["code"] == "ResourceNotFound"
    await world.refused("GET", f"{TI}/hosts/2001:db8::7", status=404)


async def test_a_host_that_alerts_name(world: World) -> None:
    """With the times of what named it; only for who may read that."""
    await attack(world, "alice", "10", ip("203.0.113.66"))
    dns = {"@odata.type": f"{OF}dnsEvidence", "domainName": "c2.evil.example"}
    await alert(world, "Beacon", "11:00", device("pc1.contoso.example"), dns)
    await alert(world, "Beacon again", "12:00", {**dns, "domainName": "www.evil.example"})
    await correlated(world.store)
    for name in ("c2.evil.example", "pc1.contoso.example"):
        host = await world.get(f"{TI}/hosts/{name}")
        assert (host["@odata.type"], host["firstSeenDateTime"]) == (f"{OF}hostname", "2026-11-20T11:00:00.0000000Z")
    address = await world.get(f"{TI}/hosts/203.0.113.66")
    assert address["@odata.type"] == f"{OF}ipAddress" and address["firstSeenDateTime"]
    below = await world.get(f"{TI}/hosts/evil.example/subdomains?$count=true")
    assert [each["id"] for each in below["value"]] == ["c2.evil.example", "www.evil.example"]
    assert below["@odata.count"] == 2
    assert below["value"][0]["firstSeenDateTime"] == "2026-11-20T11:00:00.0000000Z"
    assert below["value"][0]["host"]["id"] == "c2.evil.example"
    assert len(await world.every(f"{TI}/hosts/evil.example/subdomains?$top=1")) == 2
    one = await world.get(f"{TI}/hosts/evil.example/subdomains/www.evil.example")
    assert one["host"]["id"] == "www.evil.example"
    await world.refused("GET", f"{TI}/hosts/evil.example/subdomains/nope.evil.example", status=404)
    await world.refused("GET", f"{TI}/hosts/evil.example/subdomains?$skip=1", status=400, says="nextLink")
    names = [each["id"] for each in await world.every(f"{TI}/hosts?$top=2")]
    assert {"203.0.113.66", "c2.evil.example", "www.evil.example", "pc1.contoso.example"} <= set(names)
    assert names == sorted(names) and "alice" not in names
    (found,) = (await world.get(f"{TI}/hosts?$filter=id eq 'C2.evil.example'"))["value"]
    assert found["id"] == "c2.evil.example"
    assert await world.every(f"{TI}/hosts", by="other") == []


@on_both_engines
async def test_an_address_in_imported_tables(world: World, tmp_path: Path) -> None:
    """Its autonomous system, country and hosting company; what is told stands before it."""
    for kind, text in {
        "asn": "198.51.100.0/24,64500,Example Hosting\n",
        "country": "198.51.100.0/24,DE\n",
        "hosting": "AS64500\n",
    }.items():
        path = tmp_path / f"{kind}.csv"
        path.write_text(text)
        await bring(world.store, A, kind, path, source=kind, now=NOW.timestamp())
    host = await world.get(f"{TI}/hosts/198.51.100.9")
    assert host["autonomousSystem"] == {
        "name": "Example Hosting",
        "number": 64500,
        "organization": "Example Hosting",
        "value": "AS64500 - Example Hosting",
    }
    assert (host["countryOrRegion"], host["hostingProvider"], host["netblock"]) == ("DE", "Example Hosting", None)
    assert host["firstSeenDateTime"] is None
    new = {"id": "198.51.100.9", "netblock": "198.51.100.0/25", "hostingProvider": "A reseller"}
    await world.post(f"{TI}/hosts", new)
    host = await world.get(f"{TI}/hosts/198.51.100.9")
    assert (host["netblock"], host["hostingProvider"], host["countryOrRegion"]) == (
        "198.51.100.0/25",
        "A reseller",
        "DE",
    )
    await world.refused("GET", f"{TI}/hosts/198.51.100.9", by="other", status=404)


async def test_a_host_that_an_indicator_alone_names(world: World) -> None:
    """It is known while the indicator is in force, but stands in no list: each application sees its own indicators."""
    await world.post(SET, indicator(domainName="bad.example.com"))
    assert (await world.get(f"{TI}/hosts/bad.example.com", by="reader"))["firstSeenDateTime"] is None
    assert await world.every(f"{TI}/hosts") == []
