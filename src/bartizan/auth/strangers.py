"""Sign-ins under names that nobody has: audited so that a spray of guesses shows, and nobody can flood the audit.

The first attempt from an address is an entry at once; further ones from there, or under the same name from elsewhere,
are counted and told in one entry when WINDOW_S have passed. A tenant gets at most MOST_ENTRIES an hour from one
process; what lies beyond is counted into the next entry. Counts that a process holds when it is killed are lost.

What was typed into the field of the name may be a password. It is written down only where it is an address under the
domain of a tenant that is served here, or a client id in the form of a GUID; else the entry says that it was withheld.

Source: NIST SP 800-92, "Guide to Computer Security Log Management" (aggregation of events); OWASP, "Logging Cheat
Sheet" (data to exclude).
"""

import asyncio
import re
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeAlias

import structlog
from msgspec import Struct

from bartizan.errors import BartizanError

WINDOW_S = 600.0
MOST_ENTRIES = 120  # an hour, of one tenant
MOST_WINDOWS = 2_000  # addresses and names that are counted at once; those beyond share one
MOST_NAMES = 20  # that one entry tells
_HOUR_S = 3_600.0
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LOCAL = re.compile(r"[a-z0-9][a-z0-9._+-]{0,63}")

Kind: TypeAlias = Literal["user", "client"]
Write = Callable[[str, str, dict[str, Any]], Awaitable[None]]  # (tenant, activity, fields of the entry)

_ACTIVITY = {"user": "Sign in", "client": "Issue token"}
_REASON = {"user": "The user name is not known.", "client": "The client id is not known."}

_log = structlog.get_logger(__name__)


class _Window(Struct):
    """What was counted since its first attempt, which was told."""

    tenant: str
    kind: Kind
    address: str | None  # None: of several
    attempts: int = 0
    withheld: int = 0
    names: dict[str, None] = {}


def shown(name: str, kind: Kind, domains: frozenset[str]) -> str | None:
    """The name, where it cannot be a secret that was typed into the wrong field."""
    low = name.strip().lower()
    if kind == "client":
        return low if _GUID.fullmatch(low) else None
    local, at, domain = low.partition("@")
    return low if at and domain in domains and _LOCAL.fullmatch(local) else None


class Strangers:
    """`write` makes an entry of the tenant's audit; `clock` in seconds."""

    def __init__(self, write: Write, clock: Callable[[], float], *, window_s: float = WINDOW_S) -> None:
        self._write = write
        self._clock = clock
        self._window_s = window_s
        self._windows: OrderedDict[tuple[str, ...], _Window] = OrderedDict()
        self._written: dict[str, deque[float]] = {}  # tenant -> when entries were made
        self._unwritten: dict[str, int] = {}  # tenant -> attempts beyond the limit
        self._tasks: set[asyncio.Task[None]] = set()

    async def tried(self, tenant: str, kind: Kind, name: str, address: str, domains: frozenset[str]) -> None:
        """One attempt under a name that is not known. Never fails: what cannot be written is logged."""
        told = shown(name, kind, domains)
        places: list[tuple[str, ...]] = [(tenant, kind, "address", address)]
        if told is not None:
            places.append((tenant, kind, "name", told))
        if len(self._windows) >= MOST_WINDOWS:
            places = [(tenant, kind, "others")]
        for place in places:
            window = self._windows.get(place)
            if window is not None:
                return self._count(window, told, address)
        for place in places:
            self._open(place, _Window(tenant, kind, address, names={}))
        await self._tell(_Window(tenant, kind, address, 1, int(told is None), {} if told is None else {told: None}))

    def _count(self, window: _Window, told: str | None, address: str) -> None:
        window.attempts += 1
        window.withheld += told is None
        if told is not None and len(window.names) < MOST_NAMES:
            window.names[told] = None
        if address != window.address:
            window.address = None

    def _open(self, place: tuple[str, ...], window: _Window) -> None:
        self._windows[place] = window
        asyncio.get_running_loop().call_later(self._window_s, self._close, place)

    def _close(self, place: tuple[str, ...]) -> None:
        window = self._windows.pop(place)
        if window.attempts:
            task = asyncio.get_running_loop().create_task(self._tell(window))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _tell(self, window: _Window) -> None:
        now, tenant = self._clock(), window.tenant
        written = self._written.setdefault(tenant, deque())
        while written and now - written[0] >= _HOUR_S:
            written.popleft()
        if len(written) >= MOST_ENTRIES:
            self._unwritten[tenant] = self._unwritten.get(tenant, 0) + window.attempts
            return
        written.append(now)
        details = {"attempts": str(window.attempts)}
        if window.names:
            details["names"] = " ".join(window.names)
        if window.withheld:
            details["namesWithheld"] = str(window.withheld)
        if beyond := self._unwritten.pop(tenant, 0):
            details["attemptsNotListed"] = str(beyond)
        fields = {
            "result": "failure", "reason": _REASON[window.kind], "address": window.address, "details": details,
        }  # fmt: skip
        try:
            await self._write(tenant, _ACTIVITY[window.kind], fields)
        except BartizanError as error:
            _log.error("attempts not audited", tenant=tenant, attempts=window.attempts, reason=error.message)
