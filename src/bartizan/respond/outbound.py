"""The one HTTP client that goes where others tell it to: checked addresses, no redirects, bounds on everything.

An address is checked three times: as written, as resolved, and where the socket is made, so that nothing that happens
between (a name that changes its answer, a notation that one parser reads and another does not) leads elsewhere.

Source: OWASP Server-Side Request Forgery Prevention Cheat Sheet; design of change notifications in ARCHITECTURE.md.
"""

import asyncio
import errno
import re
import socket
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from msgspec import Struct
from yarl import URL

from bartizan.errors import BadRequest
from bartizan.respond.addresses import Address, Rules

MAX_URL_CHARS = 2048
MAX_BODY_BYTES = 64 * 1024  # of an answer; the longest that anyone needs is an echoed token
MAX_RETRY_AFTER_S = 3600
DRAIN_S = 1.0  # for a body that nobody needs, so that the connection can be used again
_RESOLVER_THREADS = 64  # a name server that does not answer holds a thread for seconds
_URL_CHARS = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_\-]{0,61}[A-Za-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")
_DOTTED = re.compile(r"(0|[1-9][0-9]{0,2})(\.(0|[1-9][0-9]{0,2})){3}")

_SETTINGS = {"externaldata": "allow_private_externaldata"}  # which one allows private addresses, by what is asked for

Lookup = Callable[[str, int], list[str]]  # (host, port) -> addresses; runs in a thread


class Policy(Struct, frozen=True):
    """Where notifications may go, and the bounds of one exchange. Times in seconds."""

    rules: Rules = Rules()
    ca_file: str = ""  # PEM of further authorities that endpoints may be certified by
    connect_s: float = 5.0  # name, connection and TLS
    total_s: float = 10.0  # the whole exchange
    connections: int = 512
    connections_host: int = 32


class Reply(Struct, frozen=True):
    """How an exchange ended. `status` is None where no answer came; `error` then says why, for logs only."""

    status: int | None
    body: bytes = b""
    seconds: float = 0.0
    error: str = ""
    retry_after_s: float | None = None
    location: str = ""  # of a redirect, as it was said

    @property
    def ok(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def check_url(text: str, rules: Rules, name: str = "notificationUrl") -> URL:
    """The URL as it will be requested. BadRequest says what is wrong with it, and calls it `name`; names of hosts are
    not resolved here."""
    if not text or len(text) > MAX_URL_CHARS:
        raise BadRequest(f"{name} has {len(text)} characters; expected 1 to {MAX_URL_CHARS}")
    if not _URL_CHARS.fullmatch(text):
        raise BadRequest(f"{name} holds characters that a URL cannot have; percent-encode them (a host name: punycode)")
    try:
        url = URL(text, encoded=True)
        host, port = url.raw_host, url.port
    except ValueError as error:
        raise BadRequest(f"{name} is not a URL: {error}") from None
    schemes = ("https", "http") if rules.allow_private else ("https",)
    if url.scheme not in schemes:
        raise BadRequest(f"{name} must be an https URL")
    if url.raw_user is not None or url.raw_password is not None or "@" in url.raw_authority:
        raise BadRequest(f"{name} must not hold a user name or password")
    if "#" in text:
        raise BadRequest(f"{name} must not hold a fragment")
    if port is None or not 0 < port < 65536:
        raise BadRequest(f"{name} has an invalid port")
    _check_host(host or "", url.scheme == "https", rules, name)
    return url


def _check_host(host: str, encrypted: bool, rules: Rules, name: str) -> None:
    if ":" in host:
        literal = _address(host)
        if literal is None:
            raise BadRequest(f"{name} has an invalid IPv6 address")
        return _check_literal(literal, encrypted, rules, name)
    labels = host.rstrip(".").split(".")
    if _NUMBER.fullmatch(
        labels[-1]
    ):  # some parser takes it for an IPv4 address: only the plain notation is unambiguous
        literal = _address(host) if _DOTTED.fullmatch(host) else None
        if literal is None:
            raise BadRequest(f"{name} has an invalid IPv4 address; write four decimal numbers")
        return _check_literal(literal, encrypted, rules, name)
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise BadRequest(f"{name} has an invalid host name")
    if labels[-1].lower() in ("localhost", "localdomain") and not rules.allow_private:
        raise BadRequest(_refused(name))
    return None


def _check_literal(address: Address, encrypted: bool, rules: Rules, name: str) -> None:
    if not rules.allows(address, encrypted=encrypted):
        raise BadRequest(_refused(name) if encrypted else f"{name} must be an https URL")


def _refused(name: str) -> str:
    setting = _SETTINGS.get(name, "allow_private_notifications")
    return f"{name} must lead to a public address (a lab can allow others, see the setting {setting})"


def _address(text: str) -> Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def without_query(url: str) -> str:
    """What of an endpoint may be shown and logged: its query may hold a secret."""
    return url.partition("?")[0]


class Refused(OSError):
    """A name or address that may not be connected to."""

    def __init__(self, what: str) -> None:
        super().__init__(errno.EACCES, f"{what} is not an address that may be connected to")


def _system_lookup(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class _Resolver(AbstractResolver):
    """Names to the addresses among theirs that are allowed; Refused where there is none."""

    def __init__(
        self, lookup: Lookup, threads: ThreadPoolExecutor, rules: Rules, encrypted: bool, limit_s: float
    ) -> None:
        self._lookup = lookup
        self._threads = threads
        self._rules = rules
        self._encrypted = encrypted
        self._limit_s = limit_s

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        call = loop.run_in_executor(self._threads, self._lookup, host, port)
        found = [ip_address(text) for text in await asyncio.wait_for(call, self._limit_s)]
        good = [address for address in found if self._rules.allows(address, encrypted=self._encrypted)]
        if not good:
            raise Refused(host)
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in good
        ]

    async def close(self) -> None:
        pass


@lru_cache(maxsize=8)
def _tls(ca_file: str) -> ssl.SSLContext:
    """Certificates and names are checked; nothing below TLS 1.2, whatever a subscription says that it supports."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file:
        context.load_verify_locations(cafile=ca_file)
    return context


class Outbound:
    """Use it as an async context manager, within one event loop. `lookup` stands in for the system's resolver."""

    def __init__(self, policy: Policy, lookup: Lookup = _system_lookup) -> None:
        self.policy = policy
        self._lookup = lookup
        self._sessions: dict[bool, aiohttp.ClientSession] = {}
        self._threads: ThreadPoolExecutor | None = None

    async def __aenter__(self) -> Self:
        self._threads = ThreadPoolExecutor(_RESOLVER_THREADS, thread_name_prefix="resolve")
        return self

    async def __aexit__(self, *_: object) -> None:
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None

    def _session(self, encrypted: bool) -> aiohttp.ClientSession:
        if self._threads is None:
            raise RuntimeError("use Outbound as an async context manager")
        known = self._sessions.get(encrypted)
        if known is not None:
            return known
        policy, rules = self.policy, self.policy.rules

        def gate(info: Any) -> socket.socket:
            """The last check, on the very address that the socket will connect to."""
            if not rules.allows(ip_address(str(info[4][0])), encrypted=encrypted):
                raise Refused(str(info[4][0]))
            return socket.socket(info[0], info[1], info[2])

        connector = aiohttp.TCPConnector(
            resolver=_Resolver(self._lookup, self._threads, rules, encrypted, policy.connect_s),
            ssl=_tls(policy.ca_file) if encrypted else False,
            limit=policy.connections,
            limit_per_host=policy.connections_host,
            socket_factory=gate,
        )
        self._sessions[encrypted] = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                total=policy.total_s, connect=policy.connect_s, sock_connect=policy.connect_s
            ),
            auto_decompress=False,
            trust_env=False,
            headers={"User-Agent": "Bartizan", "Accept-Encoding": "identity"},
        )
        return self._sessions[encrypted]

    async def get(self, url: str, *, limit_s: float, most_bytes: int, name: str = "url") -> Reply:
        """One GET, never followed elsewhere: a redirect is told by its `location`. BadRequest where the URL may not be
        asked; all other ends are a Reply, one with an `error` where the body did not come whole."""
        target = check_url(url, self.policy.rules, name)
        started = time.monotonic()
        try:
            async with asyncio.timeout(limit_s):
                answer = await self._session(target.scheme == "https").get(
                    target, allow_redirects=False, timeout=aiohttp.ClientTimeout(total=limit_s)
                )
                async with answer:
                    location = answer.headers.get("Location", "")
                    if answer.status != 200:
                        answer.close()
                        return Reply(answer.status, b"", time.monotonic() - started, location=location)
                    if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
                        answer.close()
                        return Reply(None, error="the body is encoded although that was not asked for")
                    body = await _whole(answer, most_bytes)
                    if body is None:
                        answer.close()
                        return Reply(None, error=f"the body has more than {most_bytes:,} bytes")
        except TimeoutError:
            return Reply(None, b"", time.monotonic() - started, f"no answer within {limit_s:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as problem:
            return Reply(None, b"", time.monotonic() - started, f"{type(problem).__name__}: {problem}"[:500])
        return Reply(200, body, time.monotonic() - started)

    async def post(
        self, url: str, body: bytes, *, content_type: str, limit_s: float | None = None, want_body: bool = False
    ) -> Reply:
        """One POST, never followed elsewhere. BadRequest where the URL may not be asked; all other ends are a Reply.

        An answer counts once its status has come, whatever becomes of its body.
        """
        target = check_url(url, self.policy.rules)
        started = time.monotonic()
        limit = self.policy.total_s if limit_s is None else limit_s
        try:
            async with asyncio.timeout(limit):
                answer = await self._session(target.scheme == "https").post(
                    target, data=body, headers={"Content-Type": content_type}, allow_redirects=False
                )
        except TimeoutError:
            return Reply(None, b"", time.monotonic() - started, f"no answer within {limit:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as problem:  # ValueError: what aiohttp cannot read
            return Reply(None, b"", time.monotonic() - started, f"{type(problem).__name__}: {problem}"[:500])
        seconds = time.monotonic() - started
        async with answer:
            text = await _read(answer, max(limit - seconds, 0) if want_body else DRAIN_S)
        return Reply(answer.status, text, seconds, "", _retry_after(answer))


async def _whole(answer: aiohttp.ClientResponse, most_bytes: int) -> bytes | None:
    """All of the body; None: it is larger, and the rest stays where it is."""
    parts: list[bytes] = []
    size = 0
    async for part in answer.content.iter_chunked(2**16):
        size += len(part)
        if size > most_bytes:
            return None
        parts.append(part)
    return b"".join(parts)


async def _read(answer: aiohttp.ClientResponse, limit_s: float) -> bytes:
    """The body as far as it comes in time and up to MAX_BODY_BYTES; a connection with more to say is closed."""
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(limit_s):
            while size <= MAX_BODY_BYTES:
                part = await answer.content.read(MAX_BODY_BYTES + 1 - size)
                if not part:
                    return b"".join(parts)
                parts.append(part)
                size += len(part)
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError):
        pass  # what has come so far is the answer
    answer.close()
    return b"".join(parts)[:MAX_BODY_BYTES]


def _retry_after(answer: aiohttp.ClientResponse) -> float | None:
    """Seconds; a date, which nobody sends with a webhook, counts as absent."""
    text = answer.headers.get("Retry-After", "")
    return float(min(int(text), MAX_RETRY_AFTER_S)) if re.fullmatch(r"[0-9]{1,9}", text) else None
