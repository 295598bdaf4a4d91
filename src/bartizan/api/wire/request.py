"""A request and its answer inside the API, without a web framework: the unit that HTTP and `$batch` share."""

import base64
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from email.utils import format_datetime
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from bartizan.auth.caller import Caller
from bartizan.errors import BadRequest, BartizanError, NotAcceptable, UnsupportedMediaType

MAX_MESSAGE = 3_000  # characters of an error
JSON = b"application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"
TEXT = b"text/plain;charset=utf-8"
MAX_QUERY_FIELDS = 64
MAX_DEPTH = 64  # of JSON bodies; Graph's own types nest 8 deep

_NEVER = re.compile(r"q=0(\.0{0,3})?")  # a weight that refuses the kind

Header = tuple[bytes, bytes]

_decode = msgspec.json.Decoder().decode
encode = msgspec.json.Encoder().encode


class Request:
    """What came in. `headers` are by name in lower case; of a repeated one the last counts."""

    __slots__ = (
        "base",
        "body",
        "caller",
        "client_id",
        "gone",
        "headers",
        "id",
        "ip",
        "method",
        "path",
        "prefers",
        "query",
    )

    def __init__(
        self,
        method: str,
        path: str,
        query: str,
        headers: Mapping[bytes, bytes],
        body: bytes,
        *,
        base: str,
        id: str,
        client_id: str,
        ip: str | None,
        caller: Caller | None = None,
    ) -> None:
        self.method = method
        self.path = path  # raw, percent-encoded
        self.query = query  # raw
        self.headers = headers
        self.body = body
        self.base = base  # https://host:port that links carry
        self.id = id  # request-id
        self.client_id = client_id  # client-request-id
        self.ip = ip
        self.caller = caller
        self.gone: Callable[[], Awaitable[None]] | None = None  # returns when the client has closed its connection
        self.prefers = _prefers(headers.get(b"prefer"))

    def json(self) -> Any:
        """The body. BadRequest if it is none, UnsupportedMediaType if it says that it is something else."""
        kind = self.headers.get(b"content-type")
        if kind is not None and not _is_json(kind):
            raise UnsupportedMediaType(
                f"Content-Type {kind[:60].decode('latin-1')!r} is not read here; send application/json."
            )
        if not self.body:
            raise BadRequest("The request has no body; expected JSON.")
        return decode(self.body)

    def accepts(self, *, text: bool) -> None:
        """NotAcceptable where the client takes neither JSON nor, if that is the answer, plain text."""
        header = self.headers.get(b"accept")
        if header is not None and not _takes(header, text):
            kinds = "text/plain or application/json" if text else "application/json"
            raise NotAcceptable(f"The answer is {kinds}, which Accept {header[:60].decode('latin-1')!r} does not take.")

    @property
    def bare(self) -> bool:
        """Whether it asks for documents without what OData says of them, and for no other form of them by name."""
        header = self.headers.get(b"accept")
        return header is not None and _wants_none(header)

    def aliases(self) -> dict[str, str]:
        """`@name=value` of the query, names in lower case."""
        try:
            pairs = parse_qsl(self.query, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS)
        except ValueError:
            raise BadRequest(f"The query has more than {MAX_QUERY_FIELDS} fields.") from None
        return {name[1:].lower(): value for name, value in pairs if name.startswith("@")}


def without_metadata(response: "Response") -> None:
    """A document with no word of OData's own but the links and the count.

    Source: OData JSON Format 4.01, section 3.1.3 (metadata=none).
    """
    if response.kind != JSON or not response.body:
        return
    response.body = encode(_bared(_decode(response.body)))
    response.kind = JSON.replace(b"metadata=minimal", b"metadata=none")


_METADATA = re.compile(rb"\bmetadata=(\w+)", re.IGNORECASE)
_STAYS = ("@odata.nextLink", "@odata.deltaLink", "@odata.count")


def _bared(value: Any) -> Any:
    if isinstance(value, list):
        return [_bared(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {name: _bared(each) for name, each in value.items() if not name.startswith("@odata.") or name in _STAYS}


class Response:
    """What goes out."""

    __slots__ = ("body", "headers", "kind", "status", "target")

    def __init__(
        self, status: int, body: bytes = b"", *, kind: bytes = JSON, headers: list[Header] | None = None
    ) -> None:
        self.status = status
        self.body = body
        self.kind = kind
        self.headers = headers if headers is not None else []
        self.target = ""  # the path with {} for keys, for metrics and the log


@lru_cache(256)
def _wants_none(header: bytes) -> bool:
    return {each.lower() for each in _METADATA.findall(header)} == {b"none"}


@lru_cache(256)
def _takes(header: bytes, text: bool) -> bool:
    """RFC 9110, section 12.5.1. An empty header takes anything, and so does the `*` that old clients send."""
    wanted = {"*/*", "*", "application/*", "application/json", "text/json", *(("text/*", "text/plain") if text else ())}
    ranges = [each.split(";") for each in header.decode("latin-1").lower().split(",") if each.strip()]
    return not ranges or any(
        name.strip() in wanted and not any(_NEVER.fullmatch(more.strip()) for more in parameters)
        for name, *parameters in ranges
    )


def _is_json(kind: bytes) -> bool:
    name = kind.partition(b";")[0].strip().lower()
    return name in (b"application/json", b"text/json", b"") or name.endswith(b"+json")


def decode(body: bytes) -> Any:
    """JSON within MAX_DEPTH whose objects name nothing twice; BadRequest otherwise. UTF-8, with or without a byte order
    mark.

    Source: RFC 8259, section 4 (names should be unique); OData's readers refuse a property that comes twice.
    """
    if body.startswith(b"\xef\xbb\xbf"):
        body = body[3:]
    try:
        value = _decode(body)
    except UnicodeDecodeError:
        raise BadRequest("Unable to read JSON request payload. It is not UTF-8.") from None
    except RecursionError:
        raise BadRequest(f"Unable to read JSON request payload. It nests deeper than {MAX_DEPTH} levels.") from None
    except msgspec.DecodeError as error:
        raise BadRequest(f"Unable to read JSON request payload. {error}.") from None
    if _names(value) < len(_NAME.findall(body)):  # or a text has what looks like one
        json.loads(body, object_pairs_hook=_once, parse_int=str, parse_float=str)
    return value


_NAME = re.compile(rb'"\s*:')


def _names(value: Any) -> int:
    """How many names its objects have. BadRequest below MAX_DEPTH."""
    names = 0
    level = [value]
    for _ in range(MAX_DEPTH):
        names += sum(len(each) for each in level if isinstance(each, dict))
        level = [
            item
            for each in level
            if isinstance(each, dict | list)
            for item in (each.values() if isinstance(each, dict) else each)
            if isinstance(item, dict | list)
        ]
        if not level:
            return names
    raise BadRequest(f"Unable to read JSON request payload. It nests deeper than {MAX_DEPTH} levels.")


def _once(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise BadRequest(f"Unable to read JSON request payload. An object has the property '{name[:100]}' twice.")
        seen.add(name)


def _prefers(header: bytes | None) -> Mapping[str, str]:
    """`return=representation, odata.maxpagesize=5` as a dict, names in lower case, `odata.` cut off."""
    if header is None:
        return {}
    found: dict[str, str] = {}
    for item in header.decode("latin-1").split(","):
        name, _, value = item.partition(";")[0].partition("=")
        found.setdefault(name.strip().lower().removeprefix("odata."), value.strip().strip('"'))
    return found


class Clock:
    """The `Date` header, made once a second."""

    __slots__ = ("_second", "_text", "now")

    def __init__(self, now: Any) -> None:
        self.now = now
        self._second = -1
        self._text = b""

    def date(self) -> bytes:
        at: datetime = self.now()
        second = int(at.timestamp())
        if second != self._second:
            self._second = second
            self._text = format_datetime(at, usegmt=True).encode()
        return self._text


def error(request: Request, problem: BartizanError, at: datetime) -> Response:
    """The one place where an error becomes a body.

    Source: "Microsoft Graph error responses and resource types"; `innerError` is spelt as the SDKs read it.
    """
    body = {
        "error": {
            "code": problem.code,
            "message": _bounded(problem.message),
            "innerError": {
                "date": at.strftime("%Y-%m-%dT%H:%M:%S"),
                "request-id": request.id,
                "client-request-id": request.client_id,
            },
        }
    }
    headers = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in problem.headers.items()]
    return Response(problem.status, encode(body), headers=headers)


def _bounded(message: str) -> str:
    """What was sent does not come back at length: a name of a megabyte is told by how it begins and ends."""
    if len(message) <= MAX_MESSAGE:
        return message
    left = len(message) - MAX_MESSAGE
    return f"{message[: MAX_MESSAGE - 500]} [{left} characters left out] {message[-500:]}"


def encoded(response: Response) -> Any:
    """The body of an answer as a `$batch` carries it: JSON, a text as a string, anything else in base64."""
    if not response.body:
        return None
    if response.kind.startswith(b"application/json"):
        return msgspec.Raw(response.body)
    if response.kind.startswith(b"text/"):
        return response.body.decode()
    return base64.b64encode(response.body).decode()
