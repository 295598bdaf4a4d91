"""The six sets of security profiles, from the graph and from what providers said, and the providers' switches."""

from typing import Any

import pytest
from tests.api.conftest import A, World, on_both_engines
from tests.api.test_correlated import alert, attack, correlated, device, ip, user

pytestmark = pytest.mark.anyio
EICAR = "275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f"
PROFILES: dict[str, dict[str, Any]] = {
    "fileSecurityProfiles": {
        "fileType": "exe",
        "riskScore": "90",
        "hashes": [{"hashType": "sha256", "hashValue": EICAR}],
        "malwareStates": [{"name": "EICAR"}],
    },
    "hostSecurityProfiles": {"fqdn": "pc.contoso.example", "os": "Windows", "logonUsers": [{"accountName": "ada"}]},
    "ipSecurityProfiles": {"address": "203.0.113.9", "riskScore": "10", "tags": ["tor"]},
    "userSecurityProfiles": {"userPrincipalName": "ada@contoso.example", "accounts": [{"displayName": "ada"}]},
    "domainSecurityProfiles": {"name": "contoso.example", "domainCategories": [{"name": "x"}]},
    "cloudAppSecurityProfiles": {"name": "mail", "permissionsRequired": "administrator"},
}
SETTINGS = "/beta/security/providerTenantSettings"
SECURITY = "#microsoft.graph.security."


def file(name: str, sha256: str, **more: Any) -> dict[str, Any]:
    return {"@odata.type": f"{SECURITY}fileEvidence", "fileDetails": {"fileName": name, "sha256": sha256, **more}}


def app(name: str) -> dict[str, Any]:
    return {"@odata.type": f"{SECURITY}cloudApplicationEvidence", "displayName": name}


async def test_each_set(world: World) -> None:
    """What a provider brings is listed, read by id and filtered; v1.0 does not have the sets."""
    for name, body in PROFILES.items():
        made = await world.post(f"/beta/security/{name}", body)
        key, value = next((key, value) for key, value in body.items() if isinstance(value, str))
        (found,) = (await world.get(f"/beta/security/{name}?$filter={key} eq '{value}'"))["value"]
        assert (found["id"], found[key], found["azureTenantId"]) == (made["id"], value, A)
        read = await world.get(f"/beta/security/{name}/{made['id']}", by="reader")
        unlike = {"@odata.context": "", "@odata.etag": ""}
        assert {**read, **unlike} == {**made, **unlike}
        await world.refused("POST", f"/beta/security/{name}", {"nope": 1}, status=400, says="nope")
        await world.refused("POST", f"/beta/security/{name}", {"tags": ["x"]}, status=400, says="is said by")
        await world.refused("GET", f"/v1.0/security/{name}", status=404)
        await world.refused("PATCH", f"/beta/security/{name}/{made['id']}", {key: value}, status=405)
        assert (await world.get(f"/beta/security/{name}?$count=true&$top=1"))["@odata.count"] == 1
        assert await world.get(f"/beta/security/{name}/$count") == 1
        await world.refused("GET", f"/beta/security/{name}?$orderby=riskScore", status=400, says="nextLink")
        await world.refused("GET", f"/beta/security/{name}?$filter=nope eq 'x'", status=400, says="nope")
        await world.refused("GET", f"/beta/security/{name}/nobody", status=404)
        assert (await world.get(f"/beta/security/{name}", by="other"))["value"] == []


async def test_profiles_of_what_alerts_name(world: World) -> None:
    """Nobody has sent a profile: the six sets know what alerts have named, and how bad it was."""
    await attack(world, "alice", "10", ip("203.0.113.66"))
    await alert(
        world,
        "Malware",
        "11:00",
        device("lap-alice.contoso.example", osPlatform="Windows11", lastIpAddress="10.1.2.3"),
        file("evil.EXE", EICAR, md5="44d88612fea8a8f36de82e1278abb02f", fileSize=68),
        app("Mail App"),
        {"@odata.type": f"{SECURITY}dnsEvidence", "domainName": "c2.example.net"},
        severity="high",
    )
    await correlated(world.store)
    security = "/beta/security"
    (host,) = (await world.get(f"{security}/hostSecurityProfiles?$filter=fqdn eq 'LAP-alice.contoso.example'"))["value"]
    assert (host["id"], host["netBiosName"], host["os"]) == ("host:lap-alice.contoso.example", "lap-alice", "Windows11")
    assert (host["firstSeenDateTime"], host["lastSeenDateTime"]) == (
        "2026-11-20T10:20:00.0000000Z",
        "2026-11-20T11:00:00.0000000Z",
    )
    assert host["logonUsers"][0]["accountName"] == "alice@contoso.example"
    assert host["networkInterfaces"][0]["ipV4Address"] == "10.1.2.3"
    assert host["vendorInformation"]["vendor"] == "Bartizan" and int(host["riskScore"]) > 80
    (person,) = (await world.get(f"{security}/userSecurityProfiles"))["value"]
    assert person["userPrincipalName"] == "alice@contoso.example"
    assert "contoso\\alice" in [each["signinName"] for each in person["accounts"]]
    assert await world.get(f"{security}/userSecurityProfiles/user%3Aalice") == await world.get(
        f"{security}/userSecurityProfiles/user%3Aalice@contoso.example"
    )
    address = await world.get(f"{security}/ipSecurityProfiles/address%3A203.0.113.66")
    assert (address["countHits"], address["countHosts"]) == (4, 1)
    found = await world.get(f"{security}/fileSecurityProfiles?$filter=hashes/any(h: h/hashValue eq '{EICAR}')")
    (malware,) = found["value"]
    assert (malware["names"], malware["extensions"], malware["size"]) == (["evil.EXE"], ["exe"], 68)
    assert [each["hashType"] for each in malware["hashes"]] == ["sha256", "md5"]
    assert (await world.get(f"{security}/domainSecurityProfiles"))["value"][0]["countInOrg"] == 1
    (mail,) = (await world.get(f"{security}/cloudAppSecurityProfiles"))["value"]
    assert mail["name"] == "mail app"
    every = await world.every(f"{security}/fileSecurityProfiles?$top=1")
    assert sorted(len(each["id"]) for each in every) == [len("hash:") + 32, len("hash:") + 64]


async def test_statements_are_merged_and_kept_apart(world: World) -> None:
    """Each provider speaks for itself: none wipes another, and the graph has what it saw beside them."""
    await alert(world, "Odd", "10:00", device("pc.contoso.example"), user(userPrincipalName="ada@contoso.example"))
    await correlated(world.store)
    path, said = "/beta/security/hostSecurityProfiles", {"fqdn": "PC.contoso.example", "netBiosName": "pc"}
    one = {"vendor": "Acme", "provider": "Inventory"}
    first = await world.post(path, {**said, "vendorInformation": one, "os": "Linux", "tags": ["a", "b"]})
    assert first["id"] == "host:pc.contoso.example#Acme/Inventory"
    seen = {"firstSeenDateTime": "2020-01-01T00:00:00Z", "lastSeenDateTime": "2020-01-02T00:00:00Z"}
    other = {"vendor": "Scan", "provider": "Scan"}
    await world.post(path, {**said, **seen, "vendorInformation": other, "riskScore": "77", "tags": ["b", "c"]})
    for id in ("host:pc.contoso.example", first["id"], "host:PC.contoso.example"):
        found = await world.get(f"{path}/{id.replace('#', '%23').replace('/', '%2F')}")
        assert found["id"] == "host:pc.contoso.example"
        assert (found["os"], found["riskScore"], sorted(found["tags"])) == ("Linux", "77", ["a", "b", "c"])
        assert found["firstSeenDateTime"] == "2020-01-01T00:00:00.0000000Z"
        assert found["lastSeenDateTime"] == "2026-11-20T10:00:00.0000000Z"
        assert [each["accountName"] for each in found["logonUsers"]] == ["ada@contoso.example"]
        assert found["vendorInformation"]["vendor"] == "Scan"
    renewed = {**said, "vendorInformation": one, "os": "BSD"}
    await world.post(path, renewed, prefer="resolution=merge-duplicates")
    (found,) = (await world.get(path))["value"]
    assert found["os"] == "BSD" and found["riskScore"] == "77"
    assert (await world.get(f"{path}?$filter=os eq 'Linux'"))["value"] == []


@on_both_engines
async def test_pages_go_on(world: World) -> None:
    """Each profile once, over short pages too, where a filter leaves most of them out."""
    for start in range(0, 50, 10):
        evidence = [device(f"pc{at:02}.contoso.example") for at in range(start, start + 10)]
        await alert(world, "Many", f"10:{start:02}", *evidence)
    await correlated(world.store)
    path = "/beta/security/hostSecurityProfiles"
    names = [each["fqdn"] for each in await world.every(f"{path}?$top=7")]
    assert names == [f"pc{at:02}.contoso.example" for at in range(50)]
    last = await world.every(f"{path}?$filter=endswith(fqdn,'9.contoso.example')&$top=2")
    assert [each["fqdn"][:4] for each in last] == ["pc09", "pc19", "pc29", "pc39", "pc49"]
    some = await world.every(f"{path}?$filter=fqdn in ('pc03.contoso.example','PC01.contoso.example','x')&$top=1")
    assert [each["fqdn"][:4] for each in some] == ["pc01", "pc03"]
    assert len(await world.every("/beta/security/entities?$filter=kind eq 'host' and startswith(value,'pc1')")) == 10
    await world.refused("GET", f"{path}?$count=true", status=400, says="not counted")
    assert await world.get(f"{path}/$count?$filter=fqdn in ('pc03.contoso.example','x')") == 1
    await world.refused("GET", f"{path}?$top=21", status=400, says="The limit of '20' for Top query has been exceeded")


async def test_switches(world: World) -> None:
    """PATCH switches a provider on and off; saying so again changes nothing."""
    made = await world.post(SETTINGS, {"provider": "ASC", "vendor": "Microsoft"})
    assert made["enabled"] is True
    path = f"{SETTINGS}/{made['id']}"
    off = await world.patch(path, {"enabled": False}, prefer="return=representation")
    assert (off["enabled"], off["provider"]) == (False, "ASC")
    assert await world.patch(path, {"enabled": False}, prefer="return=representation") == off
    await world.refused("PATCH", path, {"provider": "x"}, status=400, says="enabled")
