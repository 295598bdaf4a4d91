"""HTTP to one system: bounded, with TLS that is checked, and with errors that say what to do.

Addresses are those that an operator has set, private ones too. Redirects are not followed: a system that moves is a
setting to change, and credentials never go elsewhere.

Source: RFC 9110, sections 10.2.3 (Retry-After) and 15.
"""

import asyncio
import json as jsonlib
import re
import ssl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

from bartizan.extend.connections import secret_fields
from bartizan.extend.connectors import Away, ConnectorError, Denied, Outside, Rejected, Reply

MAX_REPLY_BYTES = 64 * 1024 * 1024
MAX_RETRY_AFTER_S = 3_600.0
CONNECT_S = 10.0
CONNECTIONS = 8
_TOLD_CHARS = 300  # of what a system says about an error
_LEAST_SECRET = 4  # characters: what is shorter is in every message by chance
_HIDDEN = "***"


class Http(Outside):
    """`ca_file` is trusted beside the system's authorities; without `verify` nobody is checked (labs). `secrets` are
    taken out of every message: systems repeat what they were sent, and some addresses are secret."""

    def __init__(self, *, ca_file: str = "", verify: bool = True, secrets: Iterable[str] = ()) -> None:
        self._ca_file = ca_file
        self._verify = verify
        self._secrets = sorted({form for each in secrets for form in _forms(each)}, key=len, reverse=True)
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def ask(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str | int] | Sequence[tuple[str, str]] | None = None,
        json: Any = None,
        data: bytes | None = None,
        form: Mapping[str, str] | None = None,
        allow: tuple[int, ...] = (),
        timeout_s: float = 30.0,
    ) -> Reply:
        try:
            target = _target(url)
            said = f"{method} {target.origin()}{target.path}"
            sent = _checked(headers or {}, said)
            if json is not None:
                data = msgspec.json.encode(json)
                sent.setdefault("Content-Type", "application/json")
            options: Any = {"headers": sent, "params": params, "data": data if form is None else form}
            reply = await self._exchanged(method, target, options, said, timeout_s)
            return _sorted_out(reply, said, allow)
        except ConnectorError as error:
            error.message = self._clean(error.message)
            error.args = (error.message,)
            raise

    async def _exchanged(self, method: str, target: URL, options: Any, said: str, timeout_s: float) -> Reply:
        """Whatever the system answers; Away, Denied or Rejected where there is no answer."""
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._open().request(method, target, allow_redirects=False, **options)
                async with answer:
                    body = await _body(answer, said)
        except TimeoutError:
            raise Away(f"{said}: no answer within {timeout_s:g} s", status=504) from None
        except aiohttp.ClientConnectorCertificateError as error:
            raise Denied(f"{said}: its certificate is not trusted ({error.certificate_error})"[:500]) from None
        except aiohttp.ClientConnectorError as error:
            reason = error.os_error.strerror or str(error.os_error) or type(error.os_error).__name__
            raise Away(f"{said}: not reached ({reason})"[:500]) from None
        except aiohttp.ClientConnectionError as error:
            raise Away(f"{said}: the connection broke ({type(error).__name__})"[:500]) from None
        except aiohttp.ClientPayloadError:
            raise Away(f"{said}: the answer broke off") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:  # what aiohttp cannot read
            raise Away(f"{said}: the answer is not HTTP ({type(error).__name__})") from None
        return Reply(answer.status, _joined(answer.headers), body, _data(answer, body))

    async def close(self) -> None:
        """Who asks after that, or is waiting for an answer, gets Away."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _clean(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        return text

    def _open(self) -> aiohttp.ClientSession:
        if self._closed:
            raise Away("the connection was closed here, since it has changed")
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._tls(), limit=CONNECTIONS),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_S, sock_connect=CONNECT_S),
                trust_env=False,
                headers={"User-Agent": "Bartizan"},
            )
        return self._session

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self._ca_file:
            try:
                context.load_verify_locations(cafile=self._ca_file)
            except OSError as error:
                reason = error.strerror or "it holds no certificate"
                raise Denied(f"ca_file {self._ca_file} cannot be read: {reason}") from None
        if not self._verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def http_of(settings: Any) -> Http:
    """By the settings `ca_file` and `verify` of a connector that has them, and by those that are secret."""
    return Http(
        ca_file=getattr(settings, "ca_file", "") or "",
        verify=getattr(settings, "verify", True),
        secrets=_secrets_of(settings),
    )


def _secrets_of(settings: Any) -> list[str]:
    hidden = secret_fields(type(settings))
    values = [value for name, value in msgspec.to_builtins(settings).items() if name in hidden]
    return list(_texts(values))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)


def _forms(secret: str) -> Iterator[str]:
    """As it is, and as addresses and JSON spell it."""
    if len(secret) >= _LEAST_SECRET:
        yield secret
        yield quote(secret)
        yield quote(secret, safe="")
        yield msgspec.json.encode(secret).decode()[1:-1]


def _checked(headers: Mapping[str, str], said: str) -> dict[str, str]:
    for name, value in headers.items():
        if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", f"{name}{value}") or not f"{name}{value}".isascii():
            raise Rejected(f"{said}: the header {name} holds a line break or a character that is not ASCII")
    return dict(headers)


def _target(url: str) -> URL:
    try:
        target = URL(url, encoded="%" in url)
    except ValueError:
        raise Rejected("the address is not a URL") from None
    if target.scheme not in ("http", "https") or not target.host:
        raise Rejected("the address is not an http or https URL")
    return target


async def _body(answer: aiohttp.ClientResponse, said: str) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in answer.content.iter_chunked(262_144):
        size += len(part)
        if size > MAX_REPLY_BYTES:
            answer.close()
            raise Rejected(f"{said}: the answer has more than {MAX_REPLY_BYTES} bytes")
        parts.append(part)
    return b"".join(parts)


def _joined(headers: Mapping[str, str]) -> dict[str, str]:
    """A header that came several times (Link) is one, with commas between (RFC 9110, section 5.3)."""
    found: dict[str, str] = {}
    for name, value in headers.items():
        before = found.get(name.lower())
        found[name.lower()] = value if before is None else f"{before}, {value}"
    return found


def _data(answer: aiohttp.ClientResponse, body: bytes) -> Any:
    if "json" not in answer.content_type or not body:
        return None
    for decode in (msgspec.json.decode, jsonlib.loads):  # the second takes NaN and the like, which some systems send
        try:
            return decode(body)
        except (ValueError, RecursionError):
            continue
    return None


def _sorted_out(reply: Reply, said: str, allow: tuple[int, ...]) -> Reply:
    status = reply.status
    if 200 <= status < 300 or status in allow:
        return reply
    text = f"{said}: {status} {told(reply)}".rstrip()
    if 300 <= status < 400:
        raise Rejected(f"{text}{_moved(reply)}", status=status)
    if status in (408, 425, 429) or (status >= 500 and status not in (501, 505)):
        raise Away(text, status=status, retry_after_s=_retry_after(reply.headers.get("retry-after", "")))
    if status in (401, 403):
        raise Denied(text, status=status)
    raise Rejected(text, status=status)


def _moved(reply: Reply) -> str:
    """Where to, without what may be secret there."""
    try:
        there = URL(reply.headers.get("location", ""))
        return f"; it sends on to {there.origin()}{there.path}: set that address" if there.host else ""
    except ValueError:
        return ""


def told(reply: Reply) -> str:
    """What the system says of an error, in one line."""
    data = reply.data
    for name in ("error", "errors", "errorSummary", "message", "detail", "reason"):
        if isinstance(data, dict) and data.get(name):
            found = data[name]
            found = found[0] if isinstance(found, list) else found
            if isinstance(found, dict):
                found = found.get("message") or found.get("reason") or found.get("code") or found.get("title")
            return re.sub(r"\s+", " ", str(found))[:_TOLD_CHARS]
    return ""


def _retry_after(text: str) -> float | None:
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
        return min(float(text), MAX_RETRY_AFTER_S)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, IndexError, TypeError):
        return None
    if at.tzinfo is None:  # "-0000"
        at = at.replace(tzinfo=UTC)
    return min(max((at - datetime.now(UTC)).total_seconds(), 0.0), MAX_RETRY_AFTER_S)
