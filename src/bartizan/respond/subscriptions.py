"""Subscriptions: who may watch what, for how long, and where the notifications go.

`Subscriptions` has the hooks that the resource `subscriptions` of the API is declared with. Nothing is stored before
the endpoints have answered the handshake. A subscription's place in the change feed starts at its own creation.

Source: Microsoft Graph, subscription resource type; "Receive change notifications through webhooks".
"""

import asyncio
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import structlog
from msgspec import Struct

from bartizan.auth.accounts import equals
from bartizan.auth.caller import Caller
from bartizan.errors import BadRequest, Forbidden, NotFound
from bartizan.extend import Answer, Context
from bartizan.model.edm import Version
from bartizan.model.times import instant, parse, to_datetime
from bartizan.odata.tree import And, Compare, Expr, Literal, Path
from bartizan.respond.note import note
from bartizan.respond.outbound import Outbound, Policy, check_url, without_query
from bartizan.respond.watched import Watched, required_access, watched
from bartizan.store import Collection, Column, Stored, Tx, draft, inner

log = structlog.get_logger(__name__)
_note = partial(note, kind="subscription", category="Directory")

SUBSCRIPTIONS = Collection(
    "subscriptions",
    "microsoft.graph.subscription",
    columns=(
        Column("applicationId"),
        Column("creatorId"),
        Column("expirationDateTime", "instant"),
        Column("resource", index=False),
    ),
    order=(("expirationDateTime", False),),
)
DEAD_LETTERS = Collection(
    "notificationDeadLetters",
    columns=(Column("subscriptionId"), Column("applicationId"), Column("lastLostDateTime", "instant")),
    order=(("lastLostDateTime", True),),
    feed=False,
    keep=timedelta(days=30),
)
LIFECYCLE = Collection(
    "notificationLifecycle",
    columns=(Column("at", "instant"),),
    order=(("at", False),),
    feed=False,
    keep=timedelta(days=7),
)
COLLECTIONS = (SUBSCRIPTIONS, DEAD_LETTERS, LIFECYCLE)

MAX_CLIENT_STATE = 128
MAX_AT_ONCE = 20  # subscriptions of one bulk POST: each needs its handshake
SKEW = timedelta(minutes=1)  # by which a client's clock may be ahead
HANDSHAKE_S = 10.0
CHANGE_TYPES = ("created", "updated", "deleted")
TLS_VERSIONS = ("v1_0", "v1_1", "v1_2", "v1_3")
OWN = "bartizan"  # key of what the inner form holds beside Graph's properties

HANDSHAKE_FAILED = "Subscription validation request failed. Must respond with 200 OK to this request."
_GIVEN = (
    "changeType notificationUrl lifecycleNotificationUrl resource expirationDateTime clientState "
    "latestSupportedTlsVersion"
).split()
_RICH = "includeResourceData encryptionCertificate encryptionCertificateId".split()
_PUSH = "vapidPublicKey webPushEncryptionP256dhPublicKey webPushEncryptionSecret".split()


class Quota(Struct, frozen=True):
    """How many subscriptions there may be at once; beyond is 403."""

    app: int = 100  # of one application in one tenant
    tenant: int = 1000


def validate_create(
    given: Mapping[str, Any], caller: Caller, now: datetime, *, policy: Policy, version: Version = "v1.0"
) -> dict[str, Any]:
    """The inner form of a new subscription, without id. BadRequest, Forbidden; asks nobody."""
    missing = [n for n in ("changeType", "notificationUrl", "resource", "expirationDateTime") if not given.get(n)]
    if missing:
        raise BadRequest(f"missing: {', '.join(missing)}")
    resource = str(given["resource"])
    what = watched(resource)
    caller.require(required_access(resource))
    what.predicate(version)
    _refuse_unserved(given)
    for name in ("notificationUrl", "lifecycleNotificationUrl"):
        if given.get(name) is not None:
            _check_endpoint(str(given[name]), policy, name)
    state = given.get("clientState")
    if state is not None and len(str(state)) > MAX_CLIENT_STATE:
        raise BadRequest(f"clientState has {len(str(state))} characters; the most is {MAX_CLIENT_STATE}")
    tls = given.get("latestSupportedTlsVersion") or "v1_2"
    if tls not in TLS_VERSIONS:
        raise BadRequest(f"latestSupportedTlsVersion is '{str(tls)[:20]}'; expected one of {', '.join(TLS_VERSIONS)}")
    made = {name: given[name] for name in _GIVEN if given.get(name) is not None}
    return {
        **made,
        "changeType": _change_types(str(given["changeType"]), what),
        "expirationDateTime": _expiration(given["expirationDateTime"], what, now),
        "applicationId": caller.app,
        "creatorId": caller.user or caller.app,
        "includeResourceData": False,
        "latestSupportedTlsVersion": tls,
        "notificationContentType": "application/json",
        OWN: {"version": version, "user": caller.user},
    }


def _refuse_unserved(given: Mapping[str, Any]) -> None:
    certificate = given.get("encryptionCertificate") and given.get("encryptionCertificateId")
    if given.get("includeResourceData"):
        if not certificate:
            raise BadRequest("includeResourceData needs encryptionCertificate and encryptionCertificateId")
        raise BadRequest("includeResourceData is not served here: subscribe without it and read the object by its id")
    if named := [name for name in _RICH[1:] if given.get(name)]:
        raise BadRequest(f"{', '.join(named)} belongs to includeResourceData, which is not served here")
    if named := [name for name in _PUSH if given.get(name)]:
        raise BadRequest(f"{', '.join(named)} belongs to web push, which is not served here; use a webhook")
    if given.get("notificationQueryOptions"):
        raise BadRequest("notificationQueryOptions is not served here; put the $filter into resource")
    kind = given.get("notificationContentType")
    if kind and str(kind).lower() != "application/json":
        raise BadRequest("notificationContentType can only be application/json")


def _check_endpoint(text: str, policy: Policy, name: str) -> None:
    if text.lower().startswith(("eventhub:", "eventgrid:")):
        raise BadRequest(f"{name} must be an https URL; Event Hubs and Event Grid are not served here")
    check_url(text, policy.rules, name)


def _change_types(text: str, what: Watched) -> str:
    names = [part.strip().lower() for part in text.split(",")]
    if unknown := [name for name in names if name not in CHANGE_TYPES]:
        raise BadRequest(f"changeType has '{unknown[0][:30]}'; expected a list of {', '.join(CHANGE_TYPES)}")
    if what.relation is not None and "updated" not in names:
        raise BadRequest(f"changeType of {what.set.path}/{{id}}/{what.relation} must have 'updated'")
    return ",".join(name for name in CHANGE_TYPES if name in names)


def _expiration(value: Any, what: Watched, now: datetime) -> str:
    try:
        text = parse(str(value))
        until = to_datetime(text)
    except ValueError as problem:
        raise BadRequest(f"expirationDateTime: {problem}") from None
    if until <= now:
        raise BadRequest(f"expirationDateTime must be in the future; it is {instant(now)}")
    if until > now + timedelta(minutes=what.set.minutes) + SKEW:
        raise BadRequest(f"Subscription expiration can only be {what.set.minutes} minutes in the future.")
    return text


class Subscriptions:
    """The hooks of the API's resource. An application sees its own subscriptions only; a signed-in user those of
    its own.
    """

    def __init__(self, policy: Policy, quota: Quota | None = None) -> None:
        self.policy = policy
        self.quota = quota or Quota()

    def rows(self, ctx: Context) -> Expr:
        """What this caller sees: its own, not expired."""
        mine = [equals(applicationId=ctx.caller.app)]
        if ctx.caller.user is not None:
            mine.append(equals(creatorId=ctx.caller.user))
        return And((*mine, _live(instant(ctx.clock()))))

    async def create(self, ctx: Context, given: list[dict[str, Any]]) -> list[Stored]:
        """BadRequest where a body or a handshake fails, Forbidden beyond the quota; then nothing is stored."""
        if len(given) > MAX_AT_ONCE:
            raise BadRequest(f"POST takes up to {MAX_AT_ONCE} subscriptions; got {len(given)}")
        made = [
            validate_create(each, ctx.caller, ctx.clock(), policy=self.policy, version=ctx.version) for each in given
        ]
        await self._resolve_names(ctx, made)
        live, own = _live(instant(ctx.clock())), equals(applicationId=ctx.caller.app)
        taken = [await ctx.store.count(SUBSCRIPTIONS.name, which) for which in (live, And((live, own)))]
        self._refuse_beyond(taken[0], taken[1], len(made))  # before anybody is asked for a handshake
        await self._shake_hands(made)
        drafts = [draft(SUBSCRIPTIONS, each, str(uuid4())) for each in made]

        def work(tx: Tx) -> list[Stored]:
            self._check_quota(tx, ctx.caller, len(drafts))
            _note(ctx, tx, [each.id for each in drafts], operation="Add")
            return [stored for each in drafts if (stored := tx.put(each)) is not None]

        return await ctx.store.write(work, actor=ctx.caller.actor)

    async def _resolve_names(self, ctx: Context, made: list[dict[str, Any]]) -> None:
        """users/{name} is the user who has that name today: the subscription follows the object, not the name."""
        for each in made:
            what = watched(each["resource"])
            if what.set.path == "users" and what.key is not None and "@" in what.key:
                found = await ctx.store.lookup("users", "userPrincipalName", what.key)
                if found is None:
                    raise NotFound(f"Resource '{what.key[:100]}' does not exist.")
                each[OWN]["key"] = found.id

    def _check_quota(self, tx: Tx, caller: Caller, more: int) -> None:
        rows = tx.find(SUBSCRIPTIONS.name, _live(tx.now), limit=self.quota.tenant + 1)
        own = sum(inner(row)["applicationId"] == caller.app for row in rows)
        self._refuse_beyond(len(rows), own, more)

    def _refuse_beyond(self, tenant: int, app: int, more: int) -> None:
        if tenant + more > self.quota.tenant:
            raise Forbidden(f"Subscription limit reached: the tenant can have {self.quota.tenant} subscriptions.")
        if app + more > self.quota.app:
            raise Forbidden(f"Subscription limit reached: an application can have {self.quota.app} subscriptions.")

    async def _shake_hands(self, made: list[dict[str, Any]]) -> None:
        urls = dict.fromkeys(
            str(each[name])
            for each in made
            for name in ("notificationUrl", "lifecycleNotificationUrl")
            if each.get(name)
        )
        async with Outbound(self.policy) as outbound:
            await asyncio.gather(*(shake_hands(outbound, url) for url in urls))

    async def renew(self, ctx: Context, id: str, given: dict[str, Any], if_match: str | None) -> Stored:
        """A later (or earlier) end, which reauthorizes too. All else about a subscription is for life."""

        def work(tx: Tx) -> Stored:
            before = inner(self._own(ctx, tx, id))
            what = watched(before["resource"])
            ctx.caller.require(required_access(before["resource"]))
            if other := [n for n, v in given.items() if n not in ("expirationDateTime", "id") and v != before.get(n)]:
                raise BadRequest(
                    f"a subscription's {', '.join(sorted(other))} cannot be changed; only expirationDateTime"
                )
            until = before["expirationDateTime"]
            if given.get("expirationDateTime"):
                until = _expiration(given["expirationDateTime"], what, ctx.clock())
            elif not given or "expirationDateTime" in given:
                raise BadRequest("missing: expirationDateTime")
            return self._touch(ctx, tx, before, {"expirationDateTime": until}, "Update subscription", if_match)

        return await ctx.store.write(work, actor=ctx.caller.actor)

    async def reauthorize(self, ctx: Context, id: str | None, given: Any) -> Answer:
        """Says that the caller, who may read the resource today, wants it to go on. The end stays."""

        def work(tx: Tx) -> None:
            before = inner(self._own(ctx, tx, id or ""))
            ctx.caller.require(required_access(before["resource"]))
            self._touch(ctx, tx, before, {}, "Reauthorize subscription", None)

        await ctx.store.write(work, actor=ctx.caller.actor)
        return Answer(204)

    async def remove(self, ctx: Context, id: str, if_match: str | None) -> bool:
        def work(tx: Tx) -> bool:
            self._own(ctx, tx, id)
            _note(ctx, tx, [id], operation="Delete")
            return tx.delete(SUBSCRIPTIONS.name, id, if_match=if_match)

        return await ctx.store.write(work, actor=ctx.caller.actor)

    def _own(self, ctx: Context, tx: Tx, id: str) -> Stored:
        stored = tx.get(SUBSCRIPTIONS.name, id)
        if stored is not None:
            body = inner(stored)
            mine = body["applicationId"] == ctx.caller.app and ctx.caller.user in (None, body["creatorId"])
            if mine and body["expirationDateTime"] > instant(ctx.clock()):
                return stored
        raise NotFound(f"Resource '{id[:100]}' does not exist or it has expired.")

    def _touch(
        self, ctx: Context, tx: Tx, before: dict[str, Any], change: dict[str, Any], activity: str, if_match: str | None
    ) -> Stored:
        after = {**before, **change, OWN: {**before[OWN], "reauthorized": tx.now}}
        changed = {name: (before.get(name), value) for name, value in change.items() if before.get(name) != value}
        _note(ctx, tx, [before["id"]], activity=activity)
        stored = tx.put(draft(SUBSCRIPTIONS, after, before["id"]), if_match=if_match, changed=changed)
        assert stored is not None  # only with unless_exists
        return stored


async def shake_hands(outbound: Outbound, url: str) -> None:
    """BadRequest unless the endpoint echoes a token that it cannot know. Why it failed is logged, not told: the
    answer would tell what stands behind names that only this host resolves.

    The content type is not looked at: receivers in the field answer text/html.
    """
    token = (
        f"Validation: Testing client application reachability for subscription Request-Id: {secrets.token_urlsafe(24)}"
    )
    joined = f"{url}{'&' if '?' in url else '?'}validationToken={quote(token, safe='')}"
    reply = await outbound.post(
        joined, b"", content_type="text/plain; charset=utf-8", limit_s=HANDSHAKE_S, want_body=True
    )
    if reply.status != 200 or reply.body.strip() != token.encode():
        why = reply.error or f"status {reply.status}, body {reply.body[:100]!r}"
        log.warning("subscription handshake failed", endpoint=without_query(url), why=why)
        raise BadRequest(HANDSHAKE_FAILED, code="InvalidRequest")


def _live(now: str) -> Expr:
    return Compare("gt", Path(("expirationDateTime",), kind="instant"), Literal(now, "instant"))
