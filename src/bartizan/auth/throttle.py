"""Brute force made slow: wrong credentials counted in the store, so that the count holds across processes.

Three counts, each with a lock that doubles: account from one address, account from everywhere, address. Rows are
bounded: addresses and unknown names share a fixed number of buckets.
"""

import hashlib
import ipaddress
import math
from collections.abc import Callable
from datetime import timedelta

import msgspec
from msgspec import Struct

from bartizan.auth.aadsts import locked
from bartizan.auth.keys import SYSTEM
from bartizan.settings import Settings
from bartizan.store import Collection, Draft, Store, Tx

COUNTS = Collection("authThrottle", feed=False, keep=timedelta(days=1))

_BUCKETS = 1 << 16  # an innocent address shares one with a given attacker's with odds of 1 in 65,536
_NAME_BUCKETS = 1 << 12  # for names that no account has
_MAX_LOCK_S = 3600


class _Count(Struct, rename="camel"):
    fails: int = 0
    since: float = 0.0
    locks: int = 0
    until: float = 0.0  # locked before this time


class Throttle:
    """Ask `check` before credentials are looked at, tell `failed` or `succeeded` after."""

    def __init__(self, settings: Settings, store: Store, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._system = store.tenant(SYSTEM)
        self._clock = clock

    async def check(self, account: str, address: str, *, known: bool) -> None:
        """OAuthError 50053 (429, Retry-After) while one of the counts is locked, whatever the credentials are."""
        now = self._clock()
        until = 0.0
        for key, _ in self._keys(account, address, known=known):
            row = await self._system.get(COUNTS.name, key)
            if row is not None:
                until = max(until, msgspec.json.decode(row.doc, type=_Count).until)
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
        key = self._keys(account, address, known=True)[0][0]
        if await self._system.get(COUNTS.name, key) is not None:
            await self._system.write(lambda tx: tx.delete(COUNTS.name, key), actor="authority")

    def _count(self, tx: Tx, key: str, limit: int, now: float) -> bool:
        row = tx.get(COUNTS.name, key)
        count = _Count() if row is None else msgspec.json.decode(row.doc, type=_Count)
        if now - count.since > self._settings.login_window_s:
            # A lock is forgotten after the longest one, not with the window, or it would never double.
            keep = now - count.until < _MAX_LOCK_S
            count = _Count(since=now, locks=count.locks if keep else 0, until=count.until)
        count.fails += 1
        brings = count.fails >= limit
        if brings:
            lock_s = min(self._settings.login_lock_s * 2**count.locks, _MAX_LOCK_S)
            count = _Count(since=now, locks=min(count.locks + 1, 16), until=now + lock_s)
        tx.put(Draft(COUNTS.name, key, msgspec.json.encode(count)))
        return brings

    def _keys(self, account: str, address: str, *, known: bool) -> list[tuple[str, int]]:
        settings = self._settings
        place = _network(address)
        name = f"known:{account}" if known else f"name:{_bucket(account.lower(), _NAME_BUCKETS)}"
        return [
            (f"pair:{_bucket(f'{name} {place}', _BUCKETS)}", settings.login_attempts),
            (name, settings.login_attempts_account),
            (f"address:{_bucket(place, _BUCKETS)}", settings.login_attempts_address),
        ]


def _bucket(text: str, buckets: int) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "replace")).digest()[:8], "big") % buckets


def _network(address: str) -> str:
    """IPv6: the /64, which one host can walk through; an address in other form is taken as it is."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is None:
        return str(ipaddress.ip_network(f"{ip}/64", strict=False))
    return str(ip.ipv4_mapped or ip) if isinstance(ip, ipaddress.IPv6Address) else str(ip)
