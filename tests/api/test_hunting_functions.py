"""Saved functions and views: checked when they are saved, and called in hunts."""

from typing import Any

import pytest
from tests.api.conftest import World, on_both_engines

from bartizan.api import hunting_functions as module

pytestmark = pytest.mark.anyio
SET = "/beta/security/huntingFunctions"


async def hunted(world: World, query: str, by: str = "admin") -> list[list[Any]]:
    answer = await world.post("/v1.0/security/runHuntingQuery", {"Query": query}, by=by)
    return [list(row.values()) for row in answer["results"]]


@on_both_engines
async def test_a_function_from_its_making_to_its_end(world: World) -> None:
    body = "let a = 2; // two\nx * a + strlen(y) // and so on"
    made = await world.post(SET, {"name": "Twice", "parameters": "(x: long, y: string = 'abc')", "body": body})
    assert made["isView"] is False and made["createdBy"] == "app-a"
    assert await hunted(world, "print Twice(1), Twice(2, 'z'), Twice(y='', x=5)") == [[5, 5, 10]]
    await world.post(SET, {"name": "Other", "body": "Twice(10)"})
    await world.post(
        SET, {"name": "Some", "parameters": "(T: (u: string), least: long)", "body": "T | where strlen(u) > least"}
    )
    await world.post(SET, {"name": "AnyOf", "parameters": "(T: (*))", "body": "T | where u != ''"})
    await world.post(SET, {"name": "Names", "isView": True, "body": "datatable(u: string)['a', 'bcd']"})
    assert await hunted(world, "Names | invoke Some(Other() - 22) | invoke AnyOf()") == [["bcd"]]
    assert await hunted(world, "union withsource=t Nam* | project t, u") == [["Names", "a"], ["Names", "bcd"]]
    changed = await world.patch(f"{SET}/Twice", {"body": "x", "description": "no longer"})
    assert changed["description"] == "no longer" and await hunted(world, "print Other()") == [[10]]
    shown = (await world.get("/beta/security/getHuntingSchema()"))["functions"]["savedFunctions"]
    (twice,) = (each for each in shown if each["name"] == "Twice")
    assert [(each["name"], each["cslType"], each["defaultValue"]) for each in twice["inputParameters"]] == [
        ("x", "long", None), ("y", "string", "abc"),
    ]  # fmt: skip
    assert (await world.call("DELETE", f"{SET}/Twice")).status_code == 204
    problem = await world.refused("POST", "/v1.0/security/runHuntingQuery", {"Query": "print 1,\n Other()"}, status=400)
    assert problem["message"].startswith("in the saved function Other(), line 1, column 1 of its body: there is no")
    assert "(line 2, column 2)" in problem["message"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"name": "no way"}, "name: expected letters"),
        ({"name": "strlen"}, "a function of the language"),
        ({"name": "print"}, "of the language"),
        ({"name": "datatable"}, "of the language"),
        ({"name": "COUNT"}, "a function of the language"),
        ({"name": "_GetWatchlist"}, "a function of the language"),
        ({"name": "SigninLogs"}, "there is a table SigninLogs"),
        ({"name": "AADSignInEventsBeta"}, "there is a table"),
        ({"body": " "}, "body: expected 1 to 32,768 characters"),
        ({"body": "x" * 32_769}, "body: expected 1 to 32,768 characters"),
        ({"parameters": "x: long"}, "parameters: expected such as"),
        ({"parameters": "(x: nothing)"}, "parameters: "),
        ({"body": "let a = 1;\n x +"}, "(line 3, column 1)"),
        ({"body": "let a = 1;\n  a + nope"}, "line 2, column 7 of its body: there is no column or variable 'nope'"),
        ({"body": "T(1"}, "body: "),
        ({"body": "1 };\nlet g = () { 2"}, "more than one function"),
        ({"parameters": "() { 1 };\nlet g = ()"}, "more than one function"),
        ({"body": "F()"}, "F() calls itself"),
        ({"body": "NoSuchTable | count"}, "line 1, column 1 of its body: there is no table 'NoSuchTable'"),
        ({"isView": True, "parameters": "(x: long)", "body": "SigninLogs"}, "a view has none"),
        ({"isView": True, "body": "SigninLogs | wher x"}, "body: "),
        ({"isView": True, "body": "F | count"}, "reads itself"),
        ({"description": "x" * 8_193}, "description"),
    ],
)
async def test_what_is_no_function(world: World, given: dict[str, Any], says: str) -> None:
    await world.refused("POST", SET, {"name": "F", "body": "1", **given}, status=400, says=says)
    assert (await world.get(SET))["value"] == []


async def test_a_circle_is_refused_when_it_closes(world: World) -> None:
    await world.post(SET, {"name": "A", "body": "1"})
    await world.post(SET, {"name": "B", "body": "A()"})
    await world.post(SET, {"name": "V", "isView": True, "body": "print x = B()"})
    for body in ("B()", "toscalar(V)"):
        await world.refused("PATCH", f"{SET}/A", {"body": body}, status=400, says="itself")
    assert (await world.get(f"{SET}/A"))["body"] == "1"


async def test_another_tenant_has_its_own(world: World) -> None:
    made = await world.post(SET, {"name": "F", "body": "1"})
    query = {"Query": "print F()"}
    await world.refused("POST", "/v1.0/security/runHuntingQuery", query, status=400, says="'F'", by="other")
    await world.post(SET, {"name": "F", "body": "2"}, by="other")
    assert await hunted(world, "print F()") == [[1]] and await hunted(world, "print F()", by="other") == [[2]]
    for method in ("GET", "DELETE"):
        await world.refused(method, f"{SET}/{made['id']}", status=404, by="other")


async def test_a_hunting_token_calls_and_does_not_write(world: World) -> None:
    await world.post(SET, {"name": "F", "body": "1"})
    assert await hunted(world, "print F()", by="reader") == [[1]]
    await world.refused("POST", SET, {"name": "G", "body": "1"}, status=403, by="reader")
    await world.refused("PATCH", f"{SET}/F", {"body": "2"}, status=403, by="reader")
    await world.refused("DELETE", f"{SET}/F", status=403, by="reader")


async def test_a_tenant_has_room_for_so_many(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FUNCTIONS", 1)
    await world.post(SET, {"name": "F", "body": "1"})
    await world.refused("POST", SET, {"name": "G", "body": "1"}, status=409, says="at most 1")
    await world.refused("POST", SET, {"name": "F", "body": "2"}, status=409)
    monkeypatch.setattr(module, "MAX_CHARS", 10)
    await world.refused("PATCH", f"{SET}/F", {"body": "1 + 1"}, status=409, says="at most 10 characters")


async def test_a_change_in_between_is_a_conflict(world: World) -> None:
    made = await world.post(SET, {"name": "F", "body": "1"})
    await world.patch(f"{SET}/F", {"body": "2"})
    await world.refused("PATCH", f"{SET}/F", {"body": "3"}, status=412, if_match=made["@odata.etag"])


@on_both_engines
async def test_an_answer_says_which_values_it_cannot_show(world: World) -> None:
    path = "/v1.0/security/runHuntingQuery"
    lossy = {"Query": "union (print s = 1), (print s = 2), (print s = 'x'), (print s = '3') | sort by s asc"}
    note = "s: the values of type string are shown where they can be read as long; name s_string in the query to see"
    for accept in ("application/json", "application/json;odata.metadata=none"):
        answer = (await world.call("POST", path, lossy, accept=accept)).json()
        assert answer["@bartizan.notes"] == [f"{note} all of them."]
        assert ("@odata.context" in answer) == (accept == "application/json")
        assert answer["schema"] == [{"name": "s", "type": "Int64"}]
        assert answer["results"] == [{"s": None}, {"s": 1}, {"s": 2}, {"s": 3}]
    whole = await world.post(path, {"Query": f"{lossy['Query'].split('|')[0]} | where s_string == 'x'"})
    assert "@bartizan.notes" not in whole and whole["results"] == [{"s_long": None, "s_string": "x"}]
    await world.post(SET, {"name": "Lossy", "body": lossy["Query"]})
    called = await world.post(path, {"Query": "Lossy | where s > 1"})
    assert len(called["@bartizan.notes"]) == 1 and called["results"] == [{"s": 2}, {"s": 3}]
