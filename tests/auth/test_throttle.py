"""Brute force is slowed on the form and at the token endpoint, across processes, without locking everybody out."""

import asyncio
from pathlib import Path

import msgspec
import pytest
from tests.auth.conftest import PASSWORD, World, make_world

from bartizan.auth import throttle
from bartizan.auth.aadsts import OAuthError
from bartizan.auth.throttle import Throttle
from bartizan.store import Query

pytestmark = pytest.mark.anyio
CREDENTIALS = {"grant_type": "client_credentials", "scope": "https://graph.microsoft.com/.default"}


async def test_token_endpoint(world: World) -> None:
    """After ten wrong secrets the right one is refused, too, until the lock ends; the next lock lasts twice as long."""
    for _ in range(10):
        assert (await world.token(**CREDENTIALS, client_secret="guess")).status_code == 401
    locked = await world.token(**CREDENTIALS, client_secret=world.secret)
    assert (locked.status_code, locked.json()["error_codes"]) == (429, [50053])
    assert 0 < int(locked.headers["retry-after"]) <= 60
    world.clock.skip(61)
    assert (await world.token(**CREDENTIALS, client_secret=world.secret)).status_code == 200
    waits = []
    for _ in range(3):
        for _ in range(10):
            await world.token(**CREDENTIALS, client_secret="guess")
        waits.append(int((await world.token(**CREDENTIALS, client_secret="guess")).headers["retry-after"]))
        world.clock.skip(waits[-1] + 1)
    assert waits == [60, 120, 240]


async def test_form(world: World) -> None:
    page = await world.authorize()
    for _ in range(10):
        assert (await world.submit(page, username="ann@default.internal", password="guess")).status_code == 400
    locked = await world.sign_in(page)
    assert locked.status_code == 429 and "AADSTS50053" in locked.text and int(locked.headers["retry-after"]) > 0
    assert (await world.sign_in(page, "root@default.internal")).status_code == 303
    world.clock.skip(61)
    assert (await world.sign_in(page)).status_code == 303


async def test_names_that_nobody_has_are_locked_alike(world: World) -> None:
    page = await world.authorize()
    seen = [(await world.submit(page, username="no@body", password="guess")).status_code for _ in range(12)]
    assert seen == [400] * 10 + [429] * 2


async def test_success_starts_the_count_anew(world: World) -> None:
    page = await world.authorize()
    for _ in range(3):
        for _ in range(9):
            await world.submit(page, username="ann@default.internal", password="guess")
        assert (await world.sign_in(page)).status_code == 303


async def test_counts_hold_across_processes(world: World) -> None:
    authority = world.authority
    second = Throttle(authority.settings, authority.store, world.clock)
    for n in range(10):
        await (authority.throttle, second)[n % 2].failed("a", "192.0.2.1", known=True)
    for one in (authority.throttle, second):
        with pytest.raises(OAuthError):
            await one.check("a", "192.0.2.1", known=True)
        await one.check("a", "192.0.2.2", known=True)
        await one.check("b", "192.0.2.1", known=True)


async def test_many_addresses_lock_the_account_and_one_address_locks_itself(tmp_path: Path) -> None:
    world = await make_world(tmp_path, login_attempts_account=20, login_attempts_address=20)
    one = world.authority.throttle
    for n in range(20):
        await one.failed("a", f"192.0.2.{n}", known=True)
    with pytest.raises(OAuthError):
        await one.check("a", "198.51.100.1", known=True)
    for n in range(20):
        await one.failed(f"u{n}", f"2001:db8::{n:x}", known=True)
    with pytest.raises(OAuthError):
        await one.check("other", "2001:db8::ffff", known=True)
    await one.check("other", "2001:db8:0:1::1", known=True)
    world.clock.skip(3700)
    await one.check("a", "198.51.100.1", known=True)
    await world.http.aclose()
    await world.authority.store.close()


async def test_strangers_cannot_keep_out_who_proved_himself(world: World) -> None:
    """An account that is locked everywhere still works from where it worked before, with the limit of that place."""
    one = world.authority.throttle
    await one.succeeded("a", "198.51.100.1")
    for n in range(100):
        await one.failed("a", f"192.0.2.{n}", known=True)
    for n in range(100):
        await one.failed(f"u{n}", "198.51.100.1", known=True)
    await one.check("a", "198.51.100.1", known=True)
    for account, address in (("a", "198.51.100.2"), ("b", "198.51.100.1")):
        with pytest.raises(OAuthError):
            await one.check(account, address, known=True)
    for _ in range(10):
        await one.failed("a", "198.51.100.1", known=True)
    with pytest.raises(OAuthError):
        await one.check("a", "198.51.100.1", known=True)
    world.clock.skip(61)
    await one.check("a", "198.51.100.1", known=True)


async def test_a_burst_gets_no_more_guesses(world: World) -> None:
    guesses = [world.token(**CREDENTIALS, client_secret=f"guess {n}") for n in range(40)]
    found = [answer.status_code for answer in await asyncio.gather(*guesses)]
    assert found.count(401) == 10 and found.count(429) == 30


async def test_rows_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever names and addresses an attacker makes up, they share a fixed number of rows."""
    monkeypatch.setattr(throttle, "_BUCKETS", 8)
    monkeypatch.setattr(throttle, "_NAME_BUCKETS", 4)
    for n in range(60):
        await world.authority.throttle.failed(f"name{n}", f"10.0.0.{n}", known=False)
    assert 3 <= await world.authority.accounts.system.count("authThrottle") <= 8 + 8 + 4


async def test_failures_of_accounts_are_audited(world: World) -> None:
    await world.sign_in(await world.authorize(), password="wrong password")
    await world.token(**CREDENTIALS, client_secret="guess")
    await world.sign_in(await world.authorize())
    rows = (await world.authority.store.tenant(world.tenant.id).page("directoryAudits", Query(top=3))).rows
    found = [msgspec.json.decode(row.doc) for row in rows]
    assert [(f["activityDisplayName"], f["result"]) for f in found] == [
        ("Sign in", "success"), ("Issue token", "failure"), ("Sign in", "failure"),
    ]  # fmt: skip
    assert found[1]["resultReason"].startswith("AADSTS7000215")
    assert found[0]["initiatedBy"]["user"]["ipAddress"] == "192.0.2.7"
    assert PASSWORD not in str(found) and "guess" not in str(found) and world.secret not in str(found)


async def test_nothing_secret_is_kept_or_shown(world: World, tmp_path: Path) -> None:
    """Neither secrets, passwords nor tokens stand in the database as they are."""
    tokens = await world.user_tokens()
    kept = [world.secret, PASSWORD, tokens["refresh_token"].split(".")[2], tokens["access_token"], "BEGIN PRIVATE KEY"]
    assert not [k for k in kept if k.encode() in _content(tmp_path)]


def _content(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.glob("state.db*"))
