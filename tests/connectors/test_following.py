"""What the connectors of products share: tokens, links, waiting, and following by time."""

import asyncio
from collections.abc import Mapping

import pytest
from aiohttp import web
from tests.connectors.double_server import serving

from bartizan.connectors.follow import MAX_SEEN, Followed, moved, overwritten, spoken
from bartizan.connectors.http import Http
from bartizan.connectors.oauth import Api, next_link, with_secret
from bartizan.extend.connectors import Away, Denied, Rejected, Reply

NOON = {"date": "Sun, 01 Mar 2026 12:00:00 GMT"}
MAX_CURSOR_CHARS = 65_536  # of the stage that pulls


def reply(headers: Mapping[str, str] = NOON) -> Reply:
    return Reply(200, headers, b"", None)


def look(cursor: str | None = None, late_s: int = 300) -> Followed:
    return Followed(cursor, since_days=3_650, late_s=late_s)


def test_versions() -> None:
    """A version comes once, over looks; an older one that shows late comes too."""
    first = look()
    assert first.fresh("a", "2026-03-01T10:00:00Z", reply())
    assert not first.fresh("a", "2026-03-01T10:00:00Z", reply())
    second = look(first.cursor(done=True))
    assert second.since == "2026-03-01T09:55:00.0000000Z"
    assert not second.fresh("a", "2026-03-01T10:00:00Z", reply())
    assert second.fresh("late", "2026-03-01T09:56:00Z", reply())
    assert second.fresh("a", "2026-03-01T10:01:00Z", reply())
    third = look(second.cursor(done=True))
    assert not third.fresh("late", "2026-03-01T09:56:00Z", reply())
    assert look("no cursor").since < "2026"


def test_times_ahead() -> None:
    """A time that the system has not reached moves nothing: neither a clock that is wrong nor a change under way."""
    first = look(late_s=0)
    assert first.fresh("a", "2026-03-01T10:00:00Z", reply())
    assert first.fresh("b", "2999-01-01T00:00:00Z", reply())
    assert first.fresh("c", "2026-03-01T11:59:59Z", reply())
    second = look(first.cursor(done=True), late_s=0)
    assert second.since == "2026-03-01T10:00:00.0000000Z"
    assert not second.fresh("b", "2999-01-01T00:00:00Z", reply())


def test_without_order() -> None:
    """Pages that do not keep the order move the cursor when all of them have been read."""
    first = look(late_s=0)
    first.fresh("a", "2026-03-01T10:00:00Z", reply())
    kept = first.cursor(done=False)
    assert look(kept, late_s=0).since == "2026-03-01T10:00:00.0000000Z"
    first.fresh("c", "2026-03-01T11:00:00Z", reply())
    first.fresh("b", "2026-03-01T10:30:00Z", reply())
    assert first.cursor(done=False) == kept
    assert look(first.cursor(done=True), late_s=0).since == "2026-03-01T11:00:00.0000000Z"


def test_cursor_is_bounded() -> None:
    """However many versions there are within the time that is looked at again."""
    first = look()
    for number in range(3 * MAX_SEEN):
        first.fresh(f"alert-{number}", f"2026-03-01T10:00:00.{number:07}Z", reply())
    cursor = first.cursor(done=True)
    assert len(cursor) < MAX_CURSOR_CHARS
    second = look(cursor)
    assert not second.fresh(f"alert-{3 * MAX_SEEN - 1}", f"2026-03-01T10:00:00.{3 * MAX_SEEN - 1:07}Z", reply())
    assert second.fresh("alert-0", "2026-03-01T10:00:00.0000000Z", reply())


def test_conflicts() -> None:
    """Somebody else has changed an object where its time is later than the one that we had seen."""
    assert moved("2026-03-01T10:00:00.1Z", "2026-03-01T10:00:00.0000000Z")
    assert not moved("2026-03-01T10:00:00Z", "2026-03-01T10:00:00.0000000Z")
    assert not moved("2026-03-01T10:00:00Z", None)
    assert not moved(None, "2026-03-01T10:00:00.0000000Z")
    members = {"new": "unresolved", "unknown": "undefined"}
    assert [spoken(members, each) for each in ("Unresolved", "suspicious", "undefined", "", None)] == [
        "new",
        "suspicious",
        None,
        None,
        None,
    ]
    assert overwritten({"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 9}) == {"b": 2}


@pytest.mark.parametrize(
    ("text", "link"),
    [
        ('<https://a.example/x?after=1,2>; rel="next"', "https://a.example/x?after=1,2"),
        ('<https://a.example/x>; rel="self", <https://a.example/y>; rel="next"', "https://a.example/y"),
        ("<https://a.example/y>;rel=next", "https://a.example/y"),
        ('<https://a.example/x>; rel="self"', None),
        ("", None),
    ],
)
def test_links(text: str, link: str | None) -> None:
    """The next page of the header Link."""
    assert next_link(reply({"link": text})) == link


@pytest.mark.asyncio
async def test_no_answer() -> None:
    """A system that does not answer is Away, whether asked for a token or for more."""
    hangs = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        await hangs.wait()
        return web.Response()

    async with serving(answer) as url:
        outside = Http()
        try:
            with pytest.raises(Away) as late:
                await Api(outside, url, "Bearer x").ask("GET", "/slow", timeout_s=0.05)
            assert late.value.status == 504
        finally:
            hangs.set()
            await outside.close()


@pytest.mark.asyncio
async def test_tokens() -> None:
    """One token serves many questions at once; refusals say why without the secret; an endless 401 ends."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        if request.path == "/token":
            form = await request.post()
            if form["client_secret"] == "wr0ng":
                said = {"error": "invalid_client", "error_description": "the secret 'wr0ng' is not known\nTrace 1"}
                return web.json_response(said, status=401)
            return web.json_response({"access_token": "t"} if form["client_secret"] == "yes" else {})
        return web.json_response({}, status=200 if request.path == "/good" else 401)

    async with serving(answer) as url:
        outside = Http()
        try:
            api = Api(outside, url, with_secret("c", "yes"), token_url=f"{url}/token")
            await asyncio.gather(*(api.ask("GET", "/good") for _ in range(5)))
            assert asked.count("/token") == 1
            with pytest.raises(Denied):
                await api.ask("GET", "/bad")
            assert asked.count("/bad") == 2
            with pytest.raises(Rejected, match="another address"):
                await api.ask("GET", "https://elsewhere.example/good")
            api = Api(outside, url, with_secret("c", "wr0ng"), token_url=f"{url}/token")
            with pytest.raises(Denied, match=r"invalid_client: the secret '\*\*\*' is not known$"):
                await api.ask("GET", "/good")
            api = Api(outside, url, with_secret("c", "odd"), token_url=f"{url}/token")
            with pytest.raises(Away, match="holds no token"):
                await api.ask("GET", "/good")
        finally:
            await outside.close()
