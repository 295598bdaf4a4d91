"""A system that is connected by a description: the example of the documents, all ways of paging, what is refused."""

import json
import re
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from tests.connectors.double_server import pulled, serving

from bartizan.connectors.http import Http
from bartizan.connectors.http_json import HttpJson, HttpJsonSettings
from bartizan.connectors.template import Template, within
from bartizan.errors import BadRequest
from bartizan.extend.connections import checked, secret_fields
from bartizan.extend.connectors import Away, Batch, Denied, Push, Rejected

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "connect" / "http-json.md"
PAGE_ROWS = 3


class System:
    """Alerts behind an API; `how` it pages. It keeps what it was asked."""

    def __init__(self, how: str = "token") -> None:
        self.how = how
        self.alerts: list[dict[str, Any]] = []
        self.asked: list[tuple[str, str, dict[str, str], Any]] = []
        self.headers: list[dict[str, str]] = []
        self.fault: web.Response | None = None
        self.elsewhere = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.text() or "null")
        self.asked.append((request.method, request.raw_path.partition("?")[0], dict(request.query), body))
        self.headers.append(dict(request.headers))
        if self.fault is not None:
            fault, self.fault = self.fault, None
            return fault
        if request.headers.get("Authorization") != "Bearer s3cret":
            return web.json_response({"error": "who are you"}, status=401)
        if request.method != "GET":
            return web.json_response({}, status=200)
        return self._page(request)

    def _page(self, request: web.Request) -> web.Response:
        since = request.query.get("updated_after", "")
        found = [one for one in self.alerts if str(one.get("updated_at", "z")) >= since]
        begin = int(request.query.get("next") or request.query.get("offset") or 0)
        begin = int(request.query["page"]) * PAGE_ROWS if "page" in request.query else begin
        page, end = found[begin : begin + PAGE_ROWS], begin + PAGE_ROWS
        more = end < len(found)
        link = f"{self.elsewhere or '/api'}/v2/alerts?next={end}"
        if self.how == "lines":
            return web.Response(text="\n".join(json.dumps(one) for one in page), content_type="application/x-ndjson")
        data = {"items": page, "next": (link if self.how == "link" else str(end)) if more else None}
        headers = {"Link": f'</other>; rel="prev", <{link}>; rel="next"'} if more and self.how == "link_header" else {}
        return web.json_response({"data": data}, headers=headers)


def described(url: str, **records: Any) -> dict[str, Any]:
    asked = {"path": "/v2/alerts", "at": "data.items", "rows": PAGE_ROWS, "params": {"next": "{{token}}"}}
    return {
        "url": f"{url}/api",
        "auth": {"kind": "bearer", "token": "{{secret.token}}"},
        "records": {**asked, "pages": {"by": "token", "at": "data.next"}, **records},
    }


@asynccontextmanager
async def connected(system: System, description: Any = None, **records: Any) -> AsyncIterator[HttpJson]:
    async with serving(system.answer) as url:
        made = described(url, **records) if description is None else {**description, "url": f"{url}/api"}
        outside = Http()
        try:
            settings = checked(HttpJson, {"description": made, "secrets": {"token": "s3cret"}})
            yield HttpJson(settings, outside)
        finally:
            await outside.close()


def numbers(batches: list[Batch]) -> list[int]:
    return [json.loads(one.raw)["n"] for batch in batches for one in batch.records]


def alerts(count: int) -> list[dict[str, Any]]:
    return [{"n": n, "updated_at": f"2026-01-{n + 1:02}T00:00:00Z"} for n in range(count)]


def change(**words: Any) -> Push:
    now = {"classification": "falsePositive", "title": "t"}
    return Push(subject="alert", id="a/1 ?", words=words, now=now, by="ada", at="2026-02-03T10:00:00Z", key="k-1")


@pytest.mark.asyncio
async def test_the_example_of_the_documents() -> None:
    """The description in the documents pulls every record, goes on where it was, writes status and comments back."""
    example = re.search(r"```toml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert example is not None
    description = tomllib.loads(example[1])
    description["records"]["cursor"]["since_days"] = 0
    system = System()
    system.alerts = alerts(7)
    async with connected(system, description) as connector:
        first = await pulled(connector, "records")
        system.alerts.append({"n": 7, "updated_at": "2026-01-08T00:00:00Z"})
        second = await pulled(connector, "records", first[-1].cursor)
        done = await connector.push(
            change(status="resolved", comments=[{"comment": "one"}, {"comment": "two"}], tags=["x"])
        )
        await connector.push(change(status="inProgress"))
    assert numbers(first) == [0, 1, 2, 3, 4, 5, 6]
    assert [batch.cursor[:10] for batch in first] == ["2026-01-03", "2026-01-06", "2026-01-07"]
    assert numbers(second) == [6, 7]
    assert system.asked[0][2] == {"limit": "100"}
    assert system.asked[1][2] == {"limit": "100", "next": "3"}
    assert system.asked[3][2] == {"limit": "100", "updated_after": "2026-01-06T23:58:00Z"}
    writes = [(method, path, body) for method, path, _, body in system.asked if method != "GET"]
    assert writes == [
        ("POST", "/api/v2/alerts/a%2F1%20%3F/close", {"reason": "falsePositive", "by": "ada"}),
        ("POST", "/api/v2/alerts/a%2F1%20%3F/notes", {"text": "one", "author": "ada"}),
        ("POST", "/api/v2/alerts/a%2F1%20%3F/notes", {"text": "two", "author": "ada"}),
        ("PATCH", "/api/v2/alerts/a%2F1%20%3F", {"state": "inProgress"}),
    ]
    assert system.headers[-2]["Idempotency-Key"] == "k-1"
    assert done.left_out == ("tags",)


@pytest.mark.parametrize(
    ("how", "records"),
    [
        ("token", {}),
        ("link", {"pages": {"by": "link", "at": "data.next"}}),
        ("link_header", {"pages": {"by": "link_header"}}),
        ("offset", {"pages": {"by": "offset"}, "params": {"offset": "{{offset}}"}}),
        ("page", {"pages": {"by": "page"}, "params": {"page": "{{page}}"}}),
        ("lines", {"pages": {"by": "offset"}, "params": {"offset": "{{offset}}"}, "lines": True}),
    ],
)
@pytest.mark.parametrize("count", [0, 2, 3, 7])
@pytest.mark.asyncio
async def test_pages(how: str, records: dict[str, Any], count: int) -> None:
    """Each record comes once and as the bytes that it was, whatever way pages follow one another."""
    system = System(how)
    system.alerts = alerts(count)
    async with connected(system, **records) as connector:
        batches = await pulled(connector, "records")
    assert numbers(batches) == list(range(count))
    for batch in batches:
        for one in batch.records:
            assert one.raw == json.dumps(json.loads(one.raw)).encode()


@pytest.mark.asyncio
async def test_the_cursor_waits_for_all_pages() -> None:
    """Where the system does not give the oldest first, the cursor moves at the end of the look only."""
    system = System()
    system.alerts = list(reversed(alerts(5)))
    async with connected(system, cursor={"at": "updated_at", "since_days": 0}) as connector:
        batches = await pulled(connector, "records", "2026-01-02T00:00:00.0000000Z")
    assert [batch.cursor[:10] for batch in batches] == ["2026-01-02", "2026-01-02", "2026-01-05"]


@pytest.mark.parametrize(
    ("form", "value"),
    [("iso", "2026-01-02T03:03:05.000Z"), ("epoch_s", "1767322985"), ("epoch_ms", "1767322985000")],
)
@pytest.mark.asyncio
async def test_forms_of_a_time(form: str, value: str) -> None:
    """A time is asked for as the system has it; one that it gives as a number is read."""
    system = System()
    system.alerts = [{"n": 1, "updated_at": 1767409385000}]
    cursor = {"at": "updated_at", "form": form, "overlap_s": 60}
    async with connected(system, cursor=cursor, params={"since": "{{cursor}}"}, pages={}) as connector:
        batches = await pulled(connector, "records", "2026-01-02T03:04:05.0000000Z")
    assert system.asked[0][2] == {"since": value}
    assert batches[-1].cursor == "2026-01-03T03:03:05.0000000Z"


@pytest.mark.asyncio
async def test_numbers_as_cursor() -> None:
    """A rising number is as good as a time; without one in any record nothing would be followed, which is said."""
    system = System()
    system.alerts = alerts(3)
    cursor = {"at": "n", "type": "number"}
    async with connected(system, cursor=cursor, params={"after": "{{cursor}}"}, pages={}) as connector:
        batches = await pulled(connector, "records")
        assert batches[-1].cursor == "2"
        await pulled(connector, "records", "2")
        assert system.asked[-1][2] == {"after": "2"}
        system.alerts = [{"n": "seven"}]
        with pytest.raises(Rejected, match="no record of the page has a number at 'n'"):
            await pulled(connector, "records")


@pytest.mark.asyncio
async def test_pages_that_do_not_end() -> None:
    """Pages in a circle, more than are allowed, and a link to elsewhere are refused; the last with no request there."""
    system = System()
    system.alerts = alerts(9)
    system.how = "link"
    async with connected(system, max_pages=2, pages={"by": "link", "at": "data.next"}) as connector:
        with pytest.raises(Rejected, match="more than 2 pages"):
            await pulled(connector, "records")
        system.elsewhere = "http://127.0.0.2:1"
        count = len(system.asked)
        with pytest.raises(Rejected, match="leads elsewhere"):
            await pulled(connector, "records")
        assert len(system.asked) == count + 1
    async with connected(system, pages={"by": "token", "at": "data.items"}) as connector:
        with pytest.raises(Rejected, match="of the answer is no token"):
            await pulled(connector, "records")
    circle = System()
    circle.alerts = alerts(9)
    async with connected(circle, params={"n": "{{token}}"}) as connector:  # the system does not know this parameter
        with pytest.raises(Rejected, match="pages go in a circle"):
            await pulled(connector, "records")


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (web.json_response({}, status=429, headers={"Retry-After": "9"}), Away),
        (web.json_response({}, status=500), Away),
        (web.json_response({}, status=403), Denied),
        (web.json_response({}, status=422), Rejected),
        (web.json_response({"data": {}}), Rejected),
        (web.json_response({"data": {"items": {"a": 1}}}), Rejected),
        (web.Response(text="<html>"), Rejected),
    ],
)
@pytest.mark.asyncio
async def test_faults(fault: web.Response, error: type[Exception]) -> None:
    """What the system answers wrongly is said for what it is, and the secret is in no message."""
    system = System()
    system.fault = fault
    async with connected(system) as connector:
        with pytest.raises(error) as raised:
            await pulled(connector, "records")
    assert "s3cret" not in str(raised.value)


@pytest.mark.asyncio
async def test_check() -> None:
    """The check asks for the first page, or what the description says."""
    system = System()
    system.alerts = alerts(2)
    async with connected(system) as connector:
        assert (await connector.check()).endswith("gives 2 records on its first page")
    async with serving(system.answer) as url:
        description = {**described(url), "check": {"path": "/me"}}
        settings = checked(HttpJson, {"description": description, "secrets": {"token": "wrong"}})
        outside = Http()
        with pytest.raises(Denied, match="who are you"):
            await HttpJson(settings, outside).check()
        await outside.close()


@pytest.mark.asyncio
async def test_client_credentials() -> None:
    """A token is asked for with the client's secret, kept, and asked for anew once where it is refused."""
    system = System()
    system.alerts = alerts(4)
    forms: list[dict[str, Any]] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path != "/token":
            return await system.answer(request)
        forms.append(dict(await request.post()))
        return web.json_response({"access_token": "old" if len(forms) == 1 else "s3cret", "expires_in": 3_600})

    async with serving(answer) as url:
        auth = {"kind": "oauth2", "token_url": f"{url}/token", "client_id": "c", "client_secret": "{{secret.one}}"}
        made = {**described(url), "auth": {**auth, "scope": "alerts.read"}}
        outside = Http()
        connector = HttpJson(checked(HttpJson, {"description": made, "secrets": {"one": "hush"}}), outside)
        assert numbers(await pulled(connector, "records")) == [0, 1, 2, 3]
        await outside.close()
    wanted = {"grant_type": "client_credentials", "client_id": "c", "client_secret": "hush", "scope": "alerts.read"}
    assert forms == [wanted, wanted]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"params": {"since": "{{cusror}}"}}, "records.params: there is no {{cusror}} here; there are: cursor, rows"),
        ({"params": {"since": "{{cursor"}}, "between {{ and }} stands one name"),
        ({"params": {"since": "{{cursor.__class__}}"}}, "there is no {{cursor.__class__}} here"),
        ({"path": "/v2/{{secret.token}}"}, "records.path: there is no {{secret.token}} here"),
        ({"path": "v2"}, "$.description.records.path"),
        ({"headers": {"X-Key": "{{secret.other}}"}}, "records.headers: there is no {{secret.other}} here"),
        ({"headers": {"X Key": "1"}}, "$.description.records.headers"),
        ({"pages": {"by": "token"}}, "records.pages.at: say where the token stands"),
        ({"pages": {"by": "offset"}}, "pages go by offset, but no {{offset}} is asked for"),
        ({"method": "HEAD"}, "$.description.records.method"),
        ({"colour": "red"}, "unknown field `colour`"),
        ({"rows": 0}, "$.description.records.rows"),
    ],
)
def test_mistakes_are_refused(given: dict[str, Any], said: str) -> None:
    """A wrong description is refused when it is set, with the place of the mistake and no secret."""
    settings = {"description": described("https://sensor.example", **given), "secrets": {"token": "s3cret"}}
    with pytest.raises(BadRequest) as raised:
        checked(HttpJson, settings)
    assert said in raised.value.message
    assert "s3cret" not in raised.value.message


def test_push_is_checked() -> None:
    """So are the requests that write back, and words that no alert has."""
    made = described("https://sensor.example")
    for push, said in (
        ({"status": {"*": {"path": "/{{cursor}}"}}}, "push.status.*.path: there is no {{cursor}} here"),
        ({"colour": {"*": {"path": "/x"}}}, "Invalid enum value 'colour'"),
    ):
        with pytest.raises(BadRequest) as raised:
            checked(HttpJson, {"description": {**made, "push": push}, "secrets": {"token": "s"}})
        assert said in raised.value.message


def test_files(tmp_path: Path) -> None:
    """The description may be a TOML or JSON file; a mistake in it, or none there, is said with its name."""
    made = described("https://sensor.example")
    (tmp_path / "a.json").write_text(json.dumps(made))
    settings = checked(HttpJson, {"file": str(tmp_path / "a.json"), "secrets": {"token": "s"}})
    assert settings.described().records.path == "/v2/alerts"
    (tmp_path / "b.toml").write_text('url = "https://x.example"\nurl = 3\n')
    for given, said in (
        ({"file": str(tmp_path / "b.toml")}, "b.toml: Cannot overwrite a value (at line 2"),
        ({"file": str(tmp_path / "c.toml")}, "c.toml: No such file or directory"),
        ({"file": str(tmp_path / "a.json"), "description": made}, "either `description` or `file`"),
        ({}, "either `description` or `file`"),
        ({"file": str(tmp_path / "a.json")}, "auth: there is no {{secret.token}} here; there are: none"),
    ):
        with pytest.raises(BadRequest) as raised:
            checked(HttpJson, given)
        assert said in raised.value.message


def test_secrets_are_known() -> None:
    """The whole of `secrets` is sealed."""
    assert secret_fields(HttpJsonSettings) == {"secrets"}


def test_values_stay_where_they_are_put() -> None:
    """A value can leave neither its segment of an address nor its header, and is never read as a template itself."""
    assert Template("/a/{{id}}/b").in_path({"id": "x/../y?z#w"}) == "/a/x%2F..%2Fy%3Fz%23w/b"
    for odd in ("..", ".", ""):
        with pytest.raises(Rejected):
            Template("/a/{{id}}/b").in_path({"id": odd})
    with pytest.raises(Rejected):
        Template("{{id}}").in_header({"id": "x\r\nHost: y"})
    assert within({"a": "{{id}}", "b": ["{{n}}", "n={{n}}"], "c": "{{gone}}", "d": None}, {"id": "{{n}}", "n": 7}) == {
        "a": "{{n}}",
        "b": [7, "n=7"],
        "d": None,
    }
    with pytest.raises(ValueError, match="nested more than"):
        deep: Any = "x"
        for _ in range(30):
            deep = [deep]
        settings = {"description": described("https://s.example", json=deep), "secrets": {"token": "s"}}
        msgspec.convert(settings, HttpJsonSettings)


@pytest.mark.asyncio
async def test_several_streams_of_one_system() -> None:
    """Each has its own path, place of the records, cursor and source; each goes on where it was."""
    system = System()
    system.alerts = alerts(2)
    asked = {"path": "/v2/audit", "at": "data.items", "source": "okta", "every_s": 900}
    more = {"audit": {**asked, "params": {"updated_after": "{{cursor}}"}, "cursor": {"at": "n", "type": "number"}}}
    async with connected(system, {**described(""), "streams": more}) as connector:
        told = connector.streams_of(connector.set)
        assert {name: each.every_s for name, each in told.items()} == {"records": 60.0, "audit": 900.0}
        first, audit = await pulled(connector, "records"), await pulled(connector, "audit")
        await pulled(connector, "audit", audit[-1].cursor)
    assert ({one.source for batch in first for one in batch.records}, first[-1].cursor) == ({"auto"}, "")
    assert ({one.source for batch in audit for one in batch.records}, audit[-1].cursor) == ({"okta"}, "1")
    paths = [(path, query) for _, path, query, _ in system.asked]
    assert paths == [("/api/v2/alerts", {}), ("/api/v2/audit", {}), ("/api/v2/audit", {"updated_after": "1"})]
    for wrong, said in (({"records": asked}, "described by itself"), ({"x": {"path": "/{{who}}"}}, "streams.x.path")):
        with pytest.raises(BadRequest, match=said):
            checked(HttpJson, {"description": {**described("http://x"), "streams": wrong}, "secrets": {"token": "s"}})
