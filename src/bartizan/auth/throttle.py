"""Brute force made slow: wrong credentials counted in the store, so that the count holds across processes.

Three counts, each with a lock that doubles: account from one address, account from everywhere, address. Where an
account has proved itself from an address, only the first one bars it there: else anybody could keep an account out for
ever by guessing wrongly from many places. Rows are bounded: addresses and unknown names share a fixed number of
buckets.

Source: OWASP, "Slow down online guessing attacks with device cookies" (here the address stands for the cookie).
"""

import asyncio
import contextlib
import hashlib
import ipaddress
import math
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from bartizan.auth.aadsts import OAuthError, locked
from bartizan.auth.keys import SYSTEM
from bartizan.settings import Settings
from bartizan.store import Collection, Draft, Store, Tx

_PROVED_DAYS = 30
COUNTS = Collection("authThrottle", feed=False, keep=timedelta(days=_PROVED_DAYS))

_BUCKETS = 1 << 16  # an innocent address shares one with a given attacker's with odds of 1 in 65,536
_NAME_BUCKETS = 1 << 12  # for names that no account has
_MAX_LOCK_S = 3600
_PROVED_AGAIN_S = 6 * 3600  # a success is written down anew after this


class _Count(Struct, rename="camel"):
    fails: int = 0
    since: float = 0.0
    locks: int = 0
    until: float = 0.0  # locked before this time
    proved: float = 0.0  # when the account last succeeded from the address


class _Line:
    """Attempts of one account from one address that are under way in this process."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.waiting = 0


class Throttle:
    """Look at credentials inside `attempt`, and tell `succeeded` when they were right."""

    def __init__(self, settings: Settings, store: Store, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._system = store.tenant(SYSTEM)
        self._clock = clock
        self._lines: dict[str, _Line] = {}

    @contextlib.asynccontextmanager
    async def attempt(self, account: str, address: str, *, known: bool) -> AsyncIterator[None]:
        """One look at credentials. OAuthError 50053 while it is barred; an OAuthError inside is a wrong attempt.

        Those of one account from one address wait for one another, or a burst would get past the count.
        """
        pair = self._keys(account, address, known=known)[0][0]
        line = self._lines.setdefault(pair, _Line())
        line.waiting += 1
        try:
            async with line.lock:
                await self.check(account, address, known=known)
                try:
                    yield
                except OAuthError as error:
                    await self.failed(account, address, known=known)
                    error.alarm = known
                    raise
        finally:
            line.waiting -= 1
            if not line.waiting:
                del self._lines[pair]

    async def check(self, account: str, address: str, *, known: bool) -> None:
        """OAuthError 50053 (429, Retry-After) while one of the counts is locked, whatever the credentials are."""
        now = self._clock()
        until = 0.0
        for key, _ in self._keys(account, address, known=known):
            row = await self._system.get(COUNTS.name, key)
            count = _Count() if row is None else msgspec.json.decode(row.doc, type=_Count)
            until = max(until, count.until)
            if now - count.proved < _PROVED_DAYS * 86_400:
                break  # the pair comes first; the counts that strangers can drive up do not concern it
        if until > now:
            raise locked(math.ceil(until - now))

    async def failed(self, account: str, address: str, *, known: bool) -> bool:
        """Counts one wrong attempt; True if it brought a lock."""
        keys = self._keys(account, address, known=known)

        def work(tx: Tx) -> bool:
            now = self._clock()
            locks = [self._count(tx, key, limit, now) for key, limit in keys]  # each key is counted
            return any(locks)

        return await self._system.write(work, actor="authority")

    async def succeeded(self, account: str, address: str) -> None:
        """The account's count from this address starts anew. Those of the address and of the account at large stay,
        or one valid account would let an attacker try others for ever."""
        key, now = self._keys(account, address, known=True)[0][0], self._clock()
        row = await self._system.get(COUNTS.name, key)
        count = _Count() if row is None else msgspec.json.decode(row.doc, type=_Count)
        if count.fails or count.locks or now - count.proved > _PROVED_AGAIN_S:
            draft = Draft(COUNTS.name, key, msgspec.json.encode(_Count(proved=now)))
            await self._system.write(lambda tx: tx.put(draft), actor="authority")

    def _count(self, tx: Tx, key: str, limit: int, now: float) -> bool:
        row = tx.get(COUNTS.name, key)
        count = _Count() if row is None else msgspec.json.decode(row.doc, type=_Count)
        if now - count.since > self._settings.login_window_s:
            # A lock is forgotten after the longest one, not with the window, or it would never double.
            keep = now - count.until < _MAX_LOCK_S
            count = replace(count, fails=0, since=now, locks=count.locks if keep else 0)
        count.fails += 1
        brings = count.fails >= limit
        if brings:
            lock_s = min(self._settings.login_lock_s * 2**count.locks, _MAX_LOCK_S)
            count = replace(count, fails=0, since=now, locks=min(count.locks + 1, 16), until=now + lock_s)
        tx.put(Draft(COUNTS.name, key, msgspec.json.encode(count)))
        return brings

    def _keys(self, account: str, address: str, *, known: bool) -> list[tuple[str, int]]:
        settings = self._settings
        place = network(address)
        name = f"known:{account}" if known else f"name:{_bucket(account.lower(), _NAME_BUCKETS)}"
        return [
            (f"pair:{_bucket(f'{name} {place}', _BUCKETS)}", settings.login_attempts),
            (name, settings.login_attempts_account),
            (f"address:{_bucket(place, _BUCKETS)}", settings.login_attempts_address),
        ]


def _bucket(text: str, buckets: int) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "replace")).digest()[:8], "big") % buckets


def network(address: str) -> str:
    """IPv6: the /64, which one host can walk through; an address in other form is taken as it is."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is None:
        return str(ipaddress.ip_network(f"{ip}/64", strict=False))
    return str(ip.ipv4_mapped or ip) if isinstance(ip, ipaddress.IPv6Address) else str(ip)
