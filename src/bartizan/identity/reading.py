"""Changes of the feed as what the engine takes: events, people's words, facts of accounts, ends of risk."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import structlog
from msgspec import Struct

from bartizan.auth.audit import AUDITS
from bartizan.identity.engine import Feedback
from bartizan.identity.events import activity, seconds, sign_in
from bartizan.identity.intake import PASSWORDS, account_of, directory_audit, roles_of
from bartizan.identity.risk import decision_of
from bartizan.identity.shapes import OURS, SIGN_INS, USERS, WORKLOADS
from bartizan.identity.traffic import REQUESTS
from bartizan.identity.view import Account
from bartizan.identity.waiting import Step
from bartizan.store.draft import inner
from bartizan.store.interface import Change, Collection, Query, TenantStore

ACTOR = "identity"
EVENTS = (SIGN_INS, AUDITS, REQUESTS.name)  # sets whose new documents are events
BY_CHANGE = "password/"  # begins the ids of words that a changed password is

log = structlog.get_logger(__name__)


class Read(Struct):
    """What one part of the feed says."""

    newest: float = 0.0  # of the events until the one that is being read
    known: Mapping[str, Account] = {}
    events: list[Step] = []
    seqs: list[int] = []  # of the change that each event comes from
    bodies: dict[str, Mapping[str, Any]] = {}  # of sign-ins, by id
    accounts: dict[str, Account] = {}
    moved: list[tuple[bool, str, str]] = []  # workload, principal, type: detections that others brought
    unfinished: list[tuple[bool, str]] = []
    remediated: list[tuple[str, str, str]] = []  # user, action, address from which it was done
    roles: tuple[frozenset[str] | None, ...] = ()  # of the directory, once somebody has asked for them

    def says_nothing(self) -> bool:
        return not (self.events or self.accounts or self.moved or self.unfinished or self.remediated)


class Reading:
    """`sets` are the declared collections of Graph objects."""

    def __init__(self, sets: Mapping[str, Collection], on_premises: bool) -> None:
        self._sets, self._on_premises = sets, on_premises

    async def read(
        self, store: TenantStore, changes: Sequence[Change], newest: float, accounts: Mapping[str, Account]
    ) -> Read:
        """`newest` is the time of the newest event so far, `accounts` what is known of them."""
        read = Read(newest, accounts)
        bodies = await self._bodies(store, changes)
        for change in changes:
            body = bodies.get((change.collection, change.id))
            try:
                await self._of_change(store, change, body, read)
            except (ValueError, KeyError, TypeError) as error:
                # The record is stored and shown; only its risk is not evaluated.
                log.warning(
                    "identity.unreadable", tenant=store.tenant, set=change.collection, id=change.id, error=str(error)
                )
            new = read.events[len(read.seqs) :]
            read.seqs += [change.seq] * len(new)
            read.newest = max([read.newest, *(each.at for each in new if not isinstance(each, Feedback))])
        return read

    async def _bodies(self, store: TenantStore, changes: Sequence[Change]) -> dict[tuple[str, str], Mapping[str, Any]]:
        ids: dict[str, dict[str, None]] = {}
        for change in changes:
            if change.op != "deleted" and (change.op == "created" or change.collection not in EVENTS):
                ids.setdefault(change.collection, {})[change.id] = None
        found: dict[tuple[str, str], Mapping[str, Any]] = {}
        for collection, its in ids.items():
            page = await store.page(collection, Query(top=len(its), ids=tuple(its), version="beta"))
            for row in page.rows:
                found[collection, row.id] = msgspec.json.decode(row.wire("beta"))
        return found

    async def _of_change(self, store: TenantStore, change: Change, body: Mapping[str, Any] | None, read: Read) -> None:
        changed = change.changed or {}
        if change.collection == SIGN_INS:
            if change.op == "created" and body is not None:
                event = sign_in(body)
                read.events.append(event)
                read.bodies[event.id] = body
            elif change.op == "updated" and change.actor != ACTOR and "riskState" in changed:
                await self._word(store, change, read, changed)
        elif change.collection in (USERS.risky, WORKLOADS.risky):
            if (
                body is not None
                and body.get("isProcessing") is True
                and decision_of(body.get("riskDetail")) is not None
            ):
                read.unfinished.append((change.collection == WORKLOADS.risky, change.id))
            if change.actor != ACTOR and ("riskState" in changed or "riskDetail" in changed):
                self._word_on(change, read, changed, change.id, "")
        elif change.collection in (USERS.detections, WORKLOADS.detections):
            side = WORKLOADS if change.collection == WORKLOADS.detections else USERS
            new = change.op == "created" or "riskState" in changed or "riskLevel" in changed
            if body is not None and change.actor != ACTOR and body.get("source") != OURS and new and body.get(side.id):
                read.moved.append((side is WORKLOADS, str(body[side.id]), str(body.get("riskEventType"))))
        elif body is None:
            return
        elif change.collection == REQUESTS.name:
            if change.op == "created":
                read.events.append(activity({**body, "id": change.id}))
        elif change.collection == AUDITS:
            if change.op == "created":
                await self._of_audit(store, body, read)
        else:
            self._of_user(change, body, read, changed)
            await self._account(store, change.id, read)

    async def _word(
        self, store: TenantStore, change: Change, read: Read, changed: Mapping[str, tuple[Any, Any]]
    ) -> None:
        """What a person, or a provider, said of a sign-in."""
        row = await store.get(SIGN_INS, change.id)
        if row is not None:
            event = sign_in(msgspec.json.decode(row.wire("beta")))
            self._word_on(change, read, changed, event.principal, event.id)

    def _word_on(
        self,
        change: Change,
        read: Read,
        changed: Mapping[str, tuple[Any, Any]],
        principal: str,
        sign_in: str,
    ) -> None:
        action = decision_of(changed.get("riskDetail", (None, None))[1])
        if action is not None and action.trains:
            at = min(seconds(change.at), read.newest or seconds(change.at))
            id = f"{change.collection}/{change.id}/{change.at}"
            read.events.append(Feedback(id, at, principal, action.trains, sign_in))

    async def _of_audit(self, store: TenantStore, body: Mapping[str, Any], read: Read) -> None:
        event = directory_audit(body)
        if event is None:
            return
        read.events.append(event)
        await self._account(store, event.principal, read)  # who is an administrator now: roles are not in the feed
        name = PASSWORDS.get(event.activity.casefold())
        if name is None or not event.success:
            return
        for target in body.get("targetResources") or ():
            user = target.get("id")
            if not user or (target.get("type") or "User").casefold() != "user":
                continue
            if name != "temporaryPassword" and event.principal not in (user, ""):
                continue  # somebody else's doing
            read.remediated.append((str(user), name, event.address))
            read.events.append(Feedback(f"{BY_CHANGE}{event.id}/{user}", event.at, str(user), "remediated"))

    async def _account(self, store: TenantStore, id: str, read: Read) -> None:
        """What the directory says of a user now, where that is another than what is known here."""
        row = await store.get("users", id) if id and id not in read.accounts else None
        if row is None:
            return
        user = inner(row)
        if not read.roles:
            read.roles = (await roles_of(store, self._sets),)
        account = await account_of(store, read.roles[0], user)
        for name in dict.fromkeys((id, str(user.get("userPrincipalName") or "").casefold())):
            if name and read.known.get(name) != account:
                read.accounts[name] = account

    def _of_user(
        self, change: Change, body: Mapping[str, Any], read: Read, changed: Mapping[str, tuple[Any, Any]]
    ) -> None:
        """A password that was changed on premises, where that is set to end a risk."""
        synced = body.get("onPremisesSyncEnabled") is True
        if self._on_premises and synced and "lastPasswordChangeDateTime" in changed:
            before, after = changed["lastPasswordChangeDateTime"]
            if after and (not before or after > before):
                read.remediated.append((change.id, "onPremisesPasswordChange", ""))
                id = f"{BY_CHANGE}{change.id}/{after}"
                read.events.append(Feedback(id, seconds(str(after)), change.id, "remediated"))
