"""Files at addresses that queries name: read where an operator allows it, kept for a moment.

What is allowed is a list of prefixes, compared part by part after the address was checked as any other that this
program is told to go to; where a redirect leads is checked in the same way.

Source: OWASP Server-Side Request Forgery Prevention Cheat Sheet; RFC 3986 (sections 3 and 6).
"""

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

import structlog
from yarl import URL

from bartizan.errors import BadRequest, Forbidden, Timeout
from bartizan.respond.outbound import Lookup, Outbound, Policy, _system_lookup, check_url, without_query

NAME = "externaldata"
MAX_REDIRECTS = 3
AT_ONCE = 8  # of one process
KEPT_S = 60.0
MAX_KEPT_BYTES = 64 * 2**20
ENTRY_BYTES = 500  # of an entry beside address and content
_REDIRECTS = (301, 302, 303, 307, 308)
# What one server reads as another path than it looks: an encoded dot, slash or backslash, a parameter of a segment.
_AMBIGUOUS = re.compile(r"%2e|%2f|%5c|;|\\|//", re.IGNORECASE)

_log = structlog.get_logger(__name__)


class Allowed:
    """Prefixes of addresses, such as https://example.org/lists/. One that ends with a slash stands for all beneath it,
    another for that file alone. ValueError for what is none."""

    def __init__(self, prefixes: Sequence[str]) -> None:
        self._prefixes = [_prefix(each) for each in prefixes]

    def __bool__(self) -> bool:
        return bool(self._prefixes)

    def __contains__(self, url: object) -> bool:
        return isinstance(url, URL) and any(_within(url, each) for each in self._prefixes)


def _prefix(text: str) -> URL:
    problem = f"`externaldata_allowed` has {text[:200]!r}; expected such as https://example.org/lists/"
    try:
        url = URL(text, encoded=True)
    except ValueError:
        raise ValueError(problem) from None
    if (
        url.scheme not in ("https", "http")
        or not url.raw_host
        or "@" in url.raw_authority
        or "?" in text
        or "#" in text
    ):
        raise ValueError(problem)
    if not url.raw_path.startswith("/") or _dotted(url.raw_path):
        raise ValueError(problem)
    return url


def _dotted(path: str) -> bool:
    return bool(_AMBIGUOUS.search(path)) or any(each in (".", "..") for each in path.split("/"))


def _within(url: URL, prefix: URL) -> bool:
    same = (url.scheme, (url.raw_host or "").lower(), url.port) == (
        prefix.scheme,
        (prefix.raw_host or "").lower(),
        prefix.port,
    )
    if not same or _dotted(url.raw_path):
        return False
    return (
        url.raw_path.startswith(prefix.raw_path) if prefix.raw_path.endswith("/") else url.raw_path == prefix.raw_path
    )


class Files:
    """Of one event loop; `close` it at the end."""

    def __init__(
        self,
        policy: Policy,
        allowed: Allowed,
        *,
        most_bytes: int,
        limit_s: float,
        lookup: Lookup = _system_lookup,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.allowed = allowed
        self._outbound = Outbound(policy, lookup)
        self._open = False
        self._most_bytes = most_bytes
        self._limit_s = limit_s
        self._clock = clock
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._kept: OrderedDict[tuple[str, str], tuple[float, bytes]] = OrderedDict()
        self._kept_bytes = 0

    @property
    def any(self) -> bool:
        """Whether some address is allowed."""
        return bool(self.allowed)

    async def get(self, tenant: str, url: str) -> bytes:
        """The file, for this tenant alone. Forbidden: no prefix allows it, or where it leads; BadRequest: it cannot be
        had; Timeout."""
        known = self._remembered(tenant, url)
        if known is not None:
            return known
        async with self._turns:
            if not self._open:
                await self._outbound.__aenter__()
                self._open = True
            content = await self._got(tenant, url)
        self._remember(tenant, url, content)
        return content

    async def close(self) -> None:
        if self._open:
            self._open = False
            await self._outbound.__aexit__(None, None, None)

    async def _got(self, tenant: str, url: str) -> bytes:
        end = self._clock() + self._limit_s
        target = url
        for _ in range(MAX_REDIRECTS + 1):
            at = check_url(target, self._outbound.policy.rules, NAME)
            shown = without_query(target)
            if at not in self.allowed:
                what = "" if target == url else ", where it leads to,"
                raise Forbidden(
                    f"{shown}{what} may not be read: no prefix of the setting externaldata_allowed allows it"
                )
            left = end - self._clock()
            if left <= 0:
                raise Timeout(f"{without_query(url)} was not read within {self._limit_s:g} s")
            reply = await self._outbound.get(target, limit_s=left, most_bytes=self._most_bytes, name=NAME)
            _log.info("externaldata.read", tenant=tenant, url=shown, status=reply.status, bytes=len(reply.body))
            if reply.status in _REDIRECTS and reply.location:
                target = _led(at, reply.location)
                continue
            if reply.status == 200 and not reply.error:
                return reply.body
            raise BadRequest(f"{shown} cannot be read: {reply.error or f'it answered {reply.status}'}")
        raise BadRequest(f"{without_query(url)} cannot be read: more than {MAX_REDIRECTS} redirects")

    def _remembered(self, tenant: str, url: str) -> bytes | None:
        known = self._kept.get((tenant, url))
        if known is None:
            return None
        if self._clock() < known[0]:
            return known[1]
        self._forget((tenant, url))
        return None

    def _remember(self, tenant: str, url: str, content: bytes) -> None:
        self._forget((tenant, url))
        self._kept[tenant, url] = (self._clock() + KEPT_S, content)
        self._kept_bytes += _size(url, content)
        while self._kept_bytes > MAX_KEPT_BYTES:
            self._forget(next(iter(self._kept)))

    def _forget(self, key: tuple[str, str]) -> None:
        gone = self._kept.pop(key, None)
        if gone is not None:
            self._kept_bytes -= _size(key[1], gone[1])


def _size(url: str, content: bytes) -> int:
    """About what it takes, an empty file too."""
    return ENTRY_BYTES + len(url) + len(content)


def _led(at: URL, location: str) -> str:
    """BadRequest where a redirect leads to what is no address."""
    try:
        return str(at.join(URL(location, encoded=True)))
    except ValueError:
        raise BadRequest(f"{without_query(str(at))} leads to what is no address") from None
