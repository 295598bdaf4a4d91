"""HTTP to one system: bounded, with TLS that is checked, and with errors that say what to do.

Addresses are those that an operator has set, private ones too. Redirects are not followed: a system that moves is a
setting to change, and credentials never go elsewhere.

Source: RFC 9110, sections 10.2.3 (Retry-After) and 15.
"""

import asyncio
import json as jsonlib
import re
import ssl
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import msgspec
from yarl import URL

from bartizan.extend.connectors import Away, Denied, Outside, Rejected, Reply

MAX_REPLY_BYTES = 64 * 1024 * 1024
MAX_RETRY_AFTER_S = 3_600.0
CONNECT_S = 10.0
CONNECTIONS = 8
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_TOLD_CHARS = 300  # of what a system says about an error
_TOLD_OF = ("message", "reason", "detail", "title", "code")  # of an object that describes an error
_RESETS = ("x-rate-limit-reset", "x-ratelimit-retryafter")  # Okta, CrowdStrike: s since 1970, by the system's clock


class Http(Outside):
    """`ca_file` is trusted beside the system's authorities; without `verify` nobody is checked (labs)."""

    def __init__(self, *, ca_file: str = "", verify: bool = True) -> None:
        self._ca_file = ca_file
        self._verify = verify
        self._session: aiohttp.ClientSession | None = None

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
        target = _target(url)
        said = f"{method} {target.origin()}{target.path}"
        sent = dict(headers or {})
        if json is not None:
            data = msgspec.json.encode(json)
            sent.setdefault("Content-Type", "application/json")
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._open().request(
                    method, target, headers=sent, params=params, data=form if form is not None else data,
                    allow_redirects=False,
                )  # fmt: skip
                async with answer:
                    body = await _body(answer, said)
        except TimeoutError:
            raise Away(f"{said}: no answer within {timeout_s:g} s", status=504) from None
        except aiohttp.ClientConnectorCertificateError as error:
            raise Denied(f"{said}: its certificate is not trusted ({error.certificate_error})"[:500]) from None
        except (aiohttp.ClientError, OSError) as error:
            raise Away(f"{said}: {type(error).__name__}"[:500]) from None
        except ValueError:  # what aiohttp cannot read
            raise Away(f"{said}: the answer is not HTTP") from None
        return _sorted_out(Reply(answer.status, _lower(answer.headers), body, _data(answer, body)), said, allow)

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
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
            context.load_verify_locations(cafile=self._ca_file)
        if not self._verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def http_of(settings: Any) -> Http:
    """By the settings `ca_file` and `verify` of a connector that has them."""
    return Http(ca_file=getattr(settings, "ca_file", ""), verify=getattr(settings, "verify", True))


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


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _data(answer: aiohttp.ClientResponse, body: bytes) -> Any:
    if "json" not in answer.content_type or not body:
        return None
    try:
        return msgspec.json.decode(body)
    except ValueError:
        try:
            return jsonlib.loads(body)  # NaN and the like, which some systems send
        except (ValueError, RecursionError):
            return None


def _sorted_out(reply: Reply, said: str, allow: tuple[int, ...]) -> Reply:
    status = reply.status
    if 200 <= status < 300 or status in allow:
        return reply
    text = f"{said}: {status} {told(reply)}".rstrip()
    if status in _PASSING:
        raise Away(text, status=status, retry_after_s=_wait(reply.headers))
    if status in (401, 403):
        raise Denied(text, status=status)
    raise Rejected(text, status=status)


def told(reply: Reply) -> str:
    """What the system says of an error, in one line."""
    data = reply.data
    for name in ("error", "errors", "errorSummary", "message", "detail", "reason"):
        if isinstance(data, dict) and data.get(name):
            found = data[name]
            found = found[0] if isinstance(found, list) else found
            if isinstance(found, dict):
                found = next((found[part] for part in _TOLD_OF if found.get(part)), None)
            return re.sub(r"\s+", " ", str(found))[:_TOLD_CHARS]
    return ""


def _wait(headers: Mapping[str, str]) -> float | None:
    """Seconds, by Retry-After or by the instant that a vendor names in a header of its own."""
    wait_s = _retry_after(headers.get("retry-after", ""))
    for name in _RESETS:
        if wait_s is None and re.fullmatch(r"[0-9]{9,11}", headers.get(name, "")):
            wait_s = min(max(int(headers[name]) - answered(headers).timestamp(), 1.0), MAX_RETRY_AFTER_S)
    return wait_s


def answered(headers: Mapping[str, str]) -> datetime:
    """When a reply was made, by the system's clock (to the second, cut); by ours where it does not say."""
    try:
        return parsedate_to_datetime(headers.get("date", "")).astimezone(UTC)
    except (ValueError, IndexError, TypeError):
        return datetime.now(UTC)


def _retry_after(text: str) -> float | None:
    if re.fullmatch(r"[0-9]{1,9}", text):
        return min(float(text), MAX_RETRY_AFTER_S)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, IndexError, TypeError):
        return None
    return min(max((at.astimezone(UTC) - datetime.now(UTC)).total_seconds(), 0.0), MAX_RETRY_AFTER_S)
