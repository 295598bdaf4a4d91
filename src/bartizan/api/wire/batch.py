"""`$batch`: up to 20 requests in one, run in process with the caller's token, in the order that `dependsOn` asks for.

Source: "Combine multiple requests in one HTTP call using JSON batching" (Microsoft Graph); OData JSON Format 4.01,
section 19.
"""

import asyncio
import base64
import binascii
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import msgspec

from bartizan.api.wire.request import Request, Response, encode, encoded, error
from bartizan.api.wire.route import Target
from bartizan.errors import BadRequest, FailedDependency, TooLarge

if TYPE_CHECKING:
    from bartizan.api.wire.graph import Graph

MAX_REQUESTS = 20  # Graph's own bound
MAX_BYTES = 64 * 1024 * 1024  # of all answers together; what comes after is refused one by one
_METHODS = ("GET", "POST", "PATCH", "PUT", "DELETE")
_NAMES = ("id", "method", "url", "headers", "body", "dependsOn")


class _Part(msgspec.Struct):
    id: str
    request: Request
    after: list[str]


async def run(graph: "Graph", target: Target, request: Request) -> Response:
    """BadRequest where the batch itself is malformed; whatever happens inside has a status of its own."""
    parts = _read(request, target.version)
    _check_order(parts)
    done: dict[str, asyncio.Task[Response]] = {}
    size = 0

    async def one(part: _Part) -> Response:
        nonlocal size
        for id in part.after:
            answer = await done[id]
            if answer.status >= 400:
                why = FailedDependency(f"Request '{id}', on which this one depends, failed with {answer.status}.")
                return error(part.request, why, graph.clock())
        if size > MAX_BYTES:
            return error(
                part.request, TooLarge(f"The answers of this batch have more than {MAX_BYTES} bytes."), graph.clock()
            )
        answer = await graph.answer(part.request, inside=True)
        size += len(answer.body)
        return answer

    async with asyncio.TaskGroup() as group:
        for part in parts:  # a task first runs at the next await, when all are there
            done[part.id] = group.create_task(one(part))
    answers = [_answer(part, done[part.id].result()) for part in parts]
    return Response(200, encode({"responses": answers}))


def _answer(part: _Part, response: Response) -> dict[str, Any]:
    headers = {name.decode().title(): value.decode("latin-1") for name, value in response.headers}
    headers |= {"OData-Version": "4.0", "request-id": part.request.id}
    answer: dict[str, Any] = {"id": part.id, "status": response.status, "headers": headers}
    if response.body:
        headers["Content-Type"] = response.kind.decode()
        answer["body"] = encoded(response)
    return answer


def _read(outer: Request, version: str) -> list[_Part]:
    body = _any_case(outer.json(), ("requests",))
    requests = body.get("requests") if isinstance(body, dict) else None
    if not isinstance(requests, list):
        raise BadRequest('Invalid batch payload: expected {"requests": [...]}.')
    if not 0 < len(requests) <= MAX_REQUESTS:
        raise BadRequest(
            f"A batch holds 1 to {MAX_REQUESTS} requests; got {len(requests)}.", code="MaximumValueExceeded"
        )
    parts = [_part(outer, version, each) for each in requests]
    ids = [part.id.lower() for part in parts]
    if len(set(ids)) < len(ids):
        raise BadRequest("Invalid batch payload: request ids are not unique.")
    return parts


def _any_case(given: Any, names: tuple[str, ...]) -> Any:
    """An object whose known names are spelt as documented: scripts write `Url`, as they do in any body."""
    if not isinstance(given, dict):
        return given
    known = {name.lower(): name for name in names}
    read = {known.get(name.lower(), name): value for name, value in given.items()}
    if len(read) < len(given):
        raise BadRequest("Invalid batch payload: an object has a property twice, in different spellings.")
    return read


def _part(outer: Request, version: str, item: Any) -> _Part:
    item = _any_case(item, _NAMES)
    id = _id(item.get("id")) if isinstance(item, dict) else None
    if id is None or not all(isinstance(item.get(key), str) for key in ("method", "url")):
        raise BadRequest("Invalid batch payload: each request needs id, method and url as text.")
    method = item["method"].upper()
    if not id or method not in _METHODS:
        raise BadRequest(
            f"Invalid batch payload: request '{id[:50]}' has no id, or a method other than {', '.join(_METHODS)}."
        )
    headers = {} if item.get("headers") is None else item["headers"]
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        raise BadRequest(f"Invalid batch payload: headers of request '{id[:50]}' are not an object of texts.")
    sent = {
        name.lower().encode("latin-1", "replace"): value.encode("latin-1", "replace") for name, value in headers.items()
    }
    sent.pop(b"authorization", None)  # the caller is that of the batch
    path, query = _path(item["url"], version)
    request = Request(
        method,
        path,
        query,
        sent,
        _body(item, sent, id),
        base=outer.base,
        id=str(uuid4()),
        client_id=outer.client_id,
        ip=outer.ip,
        caller=outer.caller,
    )
    named = [] if item.get("dependsOn") is None else item["dependsOn"]
    after = [_id(each) for each in named] if isinstance(named, list) else [None]
    if None in after:
        raise BadRequest(f"Invalid batch payload: dependsOn of request '{id[:50]}' is not a list of ids.")
    return _Part(id, request, list(dict.fromkeys(each for each in after if each is not None)))


def _id(value: Any) -> str | None:
    """Documented as a text; scripts count with numbers, and are answered with the text of theirs."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else None


def _path(url: str, version: str) -> tuple[str, str]:
    path, _, query = url.partition("#")[0].partition("?")
    path = path.lstrip("/")
    if not path or "://" in path:
        raise BadRequest(f"Invalid batch payload: '{url[:100]}' is not a relative address.")
    if path.partition("/")[0].lower() not in ("v1.0", "beta"):
        path = f"{version}/{path}"
    return "/" + path, query


def _body(item: dict[str, Any], headers: dict[bytes, bytes], id: str) -> bytes:
    body = item.get("body")
    if body is None:
        return b""
    kind = headers.get(b"content-type", b"application/json").lower()
    if isinstance(body, str) and kind.startswith(b"text/"):
        return body.encode()
    if isinstance(body, str) and b"json" not in kind:
        try:
            return base64.b64decode(body, validate=True)
        except binascii.Error:
            raise BadRequest(
                f"Invalid batch payload: the body of request '{id[:50]}' is neither JSON nor base64."
            ) from None
    return encode(body)


def _check_order(parts: list[_Part]) -> None:
    """BadRequest where dependsOn names nobody or goes in a circle."""
    known = {part.id: part for part in parts}
    for part in parts:
        for id in part.after:
            if id not in known:
                raise BadRequest(
                    f"Invalid batch payload: request '{part.id}' depends on '{id[:50]}', which is not there."
                )
    settled: set[str] = set()
    while len(settled) < len(parts):
        ready = [part.id for part in parts if part.id not in settled and settled.issuperset(part.after)]
        if not ready:
            raise BadRequest("Invalid batch payload: dependsOn goes in a circle.")
        settled.update(ready)
