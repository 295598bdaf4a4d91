"""Who may subscribe, to what, for how long, and how endpoints prove that they want it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.respond.conftest import APP, LAB, OTHER, TENANT, USERS, Receiver, body, caller, context, put, soon, subscribe

from bartizan.auth import audit
from bartizan.auth.accounts import COLLECTIONS as ACCOUNTS
from bartizan.auth.accounts import Accounts, App
from bartizan.errors import BadRequest, Forbidden, NotFound, PreconditionFailed
from bartizan.model.times import instant
from bartizan.respond.outbound import Policy
from bartizan.respond.standing import Standing
from bartizan.respond.subscriptions import HANDSHAKE_FAILED, SUBSCRIPTIONS, Quota, Subscriptions, validate_create
from bartizan.store import Query, Store, inner, open_store

pytestmark = pytest.mark.anyio
HOOK = "https://hook.example.com/x"
NOW = datetime(2026, 11, 23, tzinfo=UTC)


def check(policy: Policy = LAB, **changes: Any) -> dict[str, Any]:
    given = body(HOOK, expirationDateTime="2026-11-24T00:00:00Z") | changes
    return validate_create({k: v for k, v in given.items() if v is not ...}, caller(), NOW, policy=policy)


def test_what_is_kept() -> None:
    made = check(changeType=" Updated , created,updated", expirationDateTime="2026-11-24T01:00:00+01:00")
    assert made["changeType"] == "created,updated"
    assert made["expirationDateTime"] == "2026-11-24T00:00:00.0000000Z"
    assert made["applicationId"] == made["creatorId"] == APP and made["latestSupportedTlsVersion"] == "v1_2"
    assert made["resource"] == "security/alerts"


def test_longest_lives() -> None:
    """43,200 minutes for alerts, 41,760 for the directory."""
    for resource, minutes in (("security/alerts", 43_200), ("users", 41_760)):
        check(resource=resource, expirationDateTime=instant(NOW + timedelta(minutes=minutes)))
        with pytest.raises(BadRequest, match=f"only be {minutes} minutes"):
            check(resource=resource, expirationDateTime=instant(NOW + timedelta(minutes=minutes + 2)))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"changeType": ...}, "missing: changeType"),
        ({"notificationUrl": "", "resource": None}, "missing: notificationUrl, resource"),
        ({"expirationDateTime": ...}, "missing: expirationDateTime"),
        ({"changeType": "created,read"}, "changeType has 'read'; expected a list of created, updated, deleted"),
        ({"changeType": "created,"}, "changeType has ''"),
        ({"resource": "groups/g/members", "changeType": "created"}, "must have 'updated'"),
        ({"resource": "me/messages"}, "cannot subscribe to 'me/messages'; resources: security/alerts"),
        ({"resource": "security/alerts?$filter=nope eq 1"}, "nope"),
        ({"expirationDateTime": "tomorrow"}, "expirationDateTime: not a date"),
        ({"expirationDateTime": "2026-11-23T00:00:00Z"}, "must be in the future"),
        ({"expirationDateTime": "2020-11-23T00:00:00Z"}, "must be in the future"),
        ({"clientState": "x" * 129}, "clientState has 129 characters; the most is 128"),
        ({"notificationUrl": "http://8.8.8.8/x"}, "notificationUrl must be an https URL"),
        ({"notificationUrl": "EventHub:https://x.vault.azure.net/"}, "Event Hubs"),
        ({"lifecycleNotificationUrl": "ftp://x"}, "lifecycleNotificationUrl must be an https URL"),
        ({"includeResourceData": True}, "includeResourceData needs encryptionCertificate"),
        (
            {"includeResourceData": True, "encryptionCertificate": "x", "encryptionCertificateId": "y"},
            "not served here",
        ),
        ({"encryptionCertificate": "x"}, "belongs to includeResourceData"),
        ({"latestSupportedTlsVersion": "v9"}, "expected one of v1_0, v1_1, v1_2, v1_3"),
        ({"notificationQueryOptions": "$select=id"}, "notificationQueryOptions"),
        ({"vapidPublicKey": "x"}, "web push"),
    ],
)
def test_refused(changes: dict[str, Any], why: str) -> None:
    """Each refusal is a 400 that says what was wrong and what would be right."""
    with pytest.raises(BadRequest) as problem:
        check(**changes)
    assert why in problem.value.message


def test_loopback_is_for_labs() -> None:
    check(notificationUrl="http://localhost:5000/listen")
    for url in ("http://localhost:5000/listen", "https://127.0.0.1/x", "https://[::1]/x", "https://10.0.0.7/x"):
        with pytest.raises(BadRequest):
            check(Policy(), notificationUrl=url)
        with pytest.raises(BadRequest):
            check(Policy(), lifecycleNotificationUrl=url)


def test_who_may_not_read_may_not_subscribe() -> None:
    for who in (
        caller(permissions=frozenset({"SecurityAlert.Read.All"})),
        caller(user="u", permissions=frozenset({"SecurityEvents.Read.All"}), roles=frozenset()),
    ):
        with pytest.raises(Forbidden):
            validate_create(body(HOOK), who, NOW, policy=LAB)


async def test_handshake(store: Store, receiver: Receiver) -> None:
    """Both endpoints are asked, with a token that needs decoding; then the subscription is stored and audited."""
    made = await subscribe(store, f"{receiver.root}/a?k=v", lifecycleNotificationUrl=f"{receiver.root}/b")
    assert sorted(request.path for request in receiver.asked) == ["/a", "/b"]
    for request in receiver.asked:
        assert request.method == "POST" and request.content_type == "text/plain"
        assert "%3A" in request.raw_path and ": " in request.query["validationToken"]
    assert {request.query.get("k") for request in receiver.asked} == {"v", None}
    assert await store.tenant(TENANT).get(SUBSCRIPTIONS.name, made["id"])
    page = await store.tenant(TENANT).page(audit.declared().name, Query(10))
    assert [inner(row)["activityDisplayName"] for row in page.rows] == ["Add subscription"]


@pytest.mark.parametrize("status", [500, 404, 301, 201, 204])
async def test_handshake_fails(store: Store, receiver: Receiver, status: int) -> None:
    """Anything but 200 with the token fails the create, in the words that clients look for; nothing is stored."""
    for url, life in (("/bad", "/good"), ("/good", "/bad")):
        receiver.status["/bad"] = status
        with pytest.raises(BadRequest) as problem:
            await subscribe(store, f"{receiver.root}{url}", lifecycleNotificationUrl=f"{receiver.root}{life}")
        assert problem.value.message == HANDSHAKE_FAILED and problem.value.code == "InvalidRequest"
    assert not (await store.tenant(TENANT).page(SUBSCRIPTIONS.name, Query(10))).rows


async def test_unreachable(store: Store) -> None:
    """Neither are names that do not resolve, closed ports or refused addresses told apart."""
    hooks = Subscriptions(LAB)
    for url in ("http://127.0.0.1:1/x", "http://does-not-exist.invalid/x"):
        with pytest.raises(BadRequest, match="Must respond with 200 OK"):
            await hooks.create(context(store), [body(url)])


async def test_quota(store: Store, receiver: Receiver) -> None:
    """Beyond the quota is 403, before anybody is asked for a handshake; expired ones do not count."""
    hooks = Subscriptions(LAB, Quota(app=2, tenant=3))
    one = body(f"{receiver.root}/hook")
    await hooks.create(context(store), [one])
    await hooks.create(context(store), [one])
    asked = len(receiver.asked)
    with pytest.raises(Forbidden, match="application can have 2"):
        await hooks.create(context(store), [one])
    other = caller(app="other")
    await hooks.create(context(store, other), [one])
    with pytest.raises(Forbidden, match="tenant can have 3"):
        await hooks.create(context(store, caller(app="third")), [one])
    assert len(receiver.asked) == asked + 1
    later = context(store, clock=lambda: datetime.now(UTC) + timedelta(hours=7))
    fresh = body(f"{receiver.root}/hook", expirationDateTime=soon(hours=9))
    with pytest.raises(Forbidden):  # the writer's clock, not the caller's, has the last word
        await hooks.create(later, [fresh])
    await hooks.create(context(store, caller(OTHER)), [one])


async def test_renew(store: Store, receiver: Receiver) -> None:
    """Only the end can be changed; what is sent along unchanged does no harm."""
    made = await subscribe(store, f"{receiver.root}/hook")
    hooks, ctx = Subscriptions(LAB), context(store)
    until = soon(hours=48)
    same = {"resource": made["resource"], "notificationUrl": made["notificationUrl"]}
    stored = await hooks.renew(ctx, made["id"], {"expirationDateTime": until, **same}, None)
    assert inner(stored)["expirationDateTime"] == until
    with pytest.raises(BadRequest, match="43200 minutes"):
        await hooks.renew(ctx, made["id"], {"expirationDateTime": soon(days=31)}, None)
    with pytest.raises(BadRequest, match="lifecycleNotificationUrl cannot be changed"):
        await hooks.renew(ctx, made["id"], {"lifecycleNotificationUrl": "https://x.example.com/"}, None)
    with pytest.raises(BadRequest, match="missing: expirationDateTime"):
        await hooks.renew(ctx, made["id"], {}, None)
    with pytest.raises(PreconditionFailed):
        await hooks.renew(ctx, made["id"], {"expirationDateTime": until}, 'W/"0000000000000001"')
    with pytest.raises(Forbidden):
        await hooks.renew(
            context(store, caller(permissions=frozenset())), made["id"], {"expirationDateTime": until}, None
        )
    assert (await hooks.reauthorize(ctx, made["id"], None)).status == 204
    again = await store.tenant(TENANT).get(SUBSCRIPTIONS.name, made["id"])
    assert again is not None and inner(again)["expirationDateTime"] == until


async def test_an_application_sees_its_own(store: Store, receiver: Receiver) -> None:
    """Others' subscriptions, expired ones and those of another tenant are not there."""
    hooks = Subscriptions(LAB)
    made = await subscribe(store, f"{receiver.root}/hook")
    strangers = [caller(app="other"), caller(OTHER), caller(user="u", roles=frozenset({"SecurityReader"}))]
    late = context(store, clock=lambda: datetime.now(UTC) + timedelta(hours=7))
    for ctx in [*(context(store, who) for who in strangers), late]:
        page = await ctx.store.page(SUBSCRIPTIONS.name, Query(10, filter=hooks.rows(ctx)))
        assert not page.rows
        for call in (
            hooks.renew(ctx, made["id"], {"expirationDateTime": soon()}, None),
            hooks.remove(ctx, made["id"], None),
            hooks.reauthorize(ctx, made["id"], None),
        ):
            with pytest.raises(NotFound):
                await call
    ctx = context(store)
    page = await ctx.store.page(SUBSCRIPTIONS.name, Query(10, filter=hooks.rows(ctx)))
    assert [row.id for row in page.rows] == [made["id"]]
    assert b"bartizan" not in page.rows[0].doc.lower() and b"bartizan" not in (page.rows[0].beta or b"").lower()
    assert await hooks.remove(ctx, made["id"], None)
    with pytest.raises(NotFound):
        await hooks.remove(ctx, made["id"], None)


async def test_a_user_of_that_name_must_be_there(store: Store, receiver: Receiver) -> None:
    with pytest.raises(NotFound):
        await subscribe(store, f"{receiver.root}/hook", "users/nobody@example.org")
    assert not receiver.asked
    await put(store, USERS, "u1", {"userPrincipalName": "Ann@example.org"})
    await subscribe(store, f"{receiver.root}/hook", "users/ANN@example.org")


async def test_standing(tmp_path: Any) -> None:
    """Whoever made a subscription is asked of the accounts: unknown, disabled, without consent is no."""
    store = open_store(tmp_path, (*ACCOUNTS, audit.declared()))
    await store.start()
    accounts = Accounts(store)
    first = await accounts.first_tenant()
    standing = Standing(accounts)
    app = App(id=APP, name="app", application=["SecurityEvents.Read.All"])
    assert await standing.tenants() == [first.id]
    assert not await standing.may_read(first.id, APP, None, "security/alerts")
    await accounts.add_app(app, actor=audit.OPERATOR, tenant=first.id)
    await accounts.grant(first.id, APP, "", ["SecurityEvents.Read.All"], actor=audit.OPERATOR)
    assert await standing.may_read(first.id, APP, None, "security/alerts?$filter=status eq 'newAlert'")
    assert not await standing.may_read(first.id, APP, None, "users")
    assert not await standing.may_read(first.id, APP, "somebody", "security/alerts")
    assert not await standing.may_read("other", APP, None, "security/alerts")
    await store.close()
