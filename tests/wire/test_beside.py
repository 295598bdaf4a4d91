"""What hunts name beside tables, on a started server and at its command line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.wire.conftest import Running, run

PATH = "/v1.0/security/runHuntingQuery"


@pytest.fixture(scope="module")
def api(server: Running) -> Iterator[httpx.Client]:
    with server.api() as client:
        client.timeout = httpx.Timeout(100.0)
        yield client


def hunted(api: httpx.Client, query: str) -> list[dict[str, Any]]:
    answer = api.post(PATH, json={"Query": query})
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()["results"]
    return rows


def aliases(server: Running) -> set[str]:
    return {each["watchlistAlias"] for each in json.loads(server.command("watchlist", "list"))}


def test_a_watchlist_of_the_command_line(api: httpx.Client, server: Running, tmp_path: Path) -> None:
    before = aliases(server)
    file = tmp_path / "people.csv"
    file.write_text("exported\nUser,Tier\na@x,1\nb@x,2\n")
    made = json.loads(server.command("watchlist", "import", "people", str(file), "--skip-lines", "1"))
    assert (made["itemsSearchKey"], made["watchlistItemsCount"]) == ("User", 2)
    query = "_GetWatchlist('people') | project SearchKey, Tier | sort by Tier asc"
    rows = [{"SearchKey": "a@x", "Tier": "1"}, {"SearchKey": "b@x", "Tier": "2"}]
    assert hunted(api, query) == json.loads(server.command("hunt", query, "--json"))["results"] == rows
    file.write_text("User,Tier\na@x,1\nc@x,3\n")
    added = json.loads(server.command("watchlist", "import", "PEOPLE", str(file), "--add", "--name", "People"))
    assert (added["id"], added["displayName"], added["watchlistItemsCount"]) == (made["id"], "People", 3)
    assert json.loads(server.command("watchlist", "import", "people", str(file), "--key", "Tier"))["columns"]
    assert [row["SearchKey"] for row in hunted(api, query)] == ["1", "3"]
    assert aliases(server) - before == {"people"}
    server.command("watchlist", "remove", "People")
    assert aliases(server) == before
    assert api.post(PATH, json={"Query": query}).status_code == 400


def test_a_function_is_called_by_both(api: httpx.Client, server: Running) -> None:
    given = {"name": "Doubled", "parameters": "(x: long)", "body": "x * 2"}
    assert api.post("/beta/security/huntingFunctions", json=given).status_code == 201
    assert hunted(api, "print y = Doubled(4)") == [{"y": 8}]
    assert json.loads(server.command("hunt", "print y = Doubled(4)", "--json"))["results"] == [{"y": 8}]
    assert api.delete("/beta/security/huntingFunctions/Doubled").status_code == 204


def test_places_are_those_that_were_imported(api: httpx.Client, server: Running, tmp_path: Path) -> None:
    query = "print c = tostring(geo_info_from_ip_address('10.1.2.3').country)"
    file = tmp_path / "lands.csv"
    file.write_text("10.1.0.0/16,NZ\n")
    server.command("intel", "import", "country", str(file), "--source", "lands")
    assert (
        hunted(api, query) == json.loads(server.command("hunt", query, "--json"))["results"] == [{"c": "New Zealand"}]
    )
    server.command("intel", "remove", "lands")
    answer = api.post(PATH, json={"Query": query})
    assert answer.status_code == 400 and "bartizan intel import" in answer.json()["error"]["message"]


def test_empty_tables_have_the_columns(tmp_path: Path) -> None:
    """`--batch` needs neither files elsewhere nor tables of places."""
    queries = {
        "e": "externaldata(a: string, b: dynamic)['https://lists.example/x.csv'] | where a == 'q'",
        "g": "SigninLogs | extend g = geo_info_from_ip_address(IPAddress) | project g, c = tostring(g.country)",
    }
    (tmp_path / "in").write_text("".join(json.dumps({"id": id, "query": each}) + "\n" for id, each in queries.items()))
    run("hunt", "--batch", str(tmp_path / "in"), str(tmp_path / "out"), data=tmp_path)
    found = {each["id"]: each for each in map(json.loads, (tmp_path / "out").read_text().splitlines())}
    assert [(each["name"], each["type"]) for each in found["e"]["schema"]] == [("a", "string"), ("b", "dynamic")]
    assert [(each["name"], each["type"]) for each in found["g"]["schema"]] == [("g", "dynamic"), ("c", "string")]
    assert found["e"]["results"] == found["g"]["results"] == []
