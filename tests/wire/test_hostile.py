"""What no honest client sends: every answer is a precise refusal in Graph's envelope, or what a sane reading gives;
never a 5xx, a traceback, or a server that is gone."""

import json
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from tests.wire.conftest import Running

_ALERTS = "/v1.0/security/alerts_v2"
_DISMISS = "/v1.0/identityProtection/riskyUsers/dismiss"
_JSON = ("Content-Type: application/json",)
_SURROGATE = b'{"userIds":["\\ud800"]}'


@dataclass(frozen=True)
class Case:
    """A request, letter by letter; the status, the error's code, and what its text says."""

    name: str
    target: str
    status: int
    code: str | None = "BadRequest"
    says: str = ""
    method: str = "GET"
    head: tuple[str, ...] = ()
    body: bytes | None = None
    sized: bool = True  # with the body's Content-Length


def _filter(text: str) -> str:
    return f"{_ALERTS}?$filter={text}"


def _post(name: str, body: bytes, status: int, code: str | None = "BadRequest", **more: Any) -> Case:
    return Case(name, more.pop("target", _DISMISS), status, code, method="POST", body=body, **{"head": _JSON, **more})


CASES = [
    # $filter
    Case("brackets", _filter("(" * 3000 + "severity%20eq%20'high'" + ")" * 3000), 400),
    Case("not-not", _filter("not%20" * 2000 + "true"), 400),
    Case("or-or", _filter("+or+".join(["severity+eq+'high'"] * 400)), 400),
    Case("any-any", _filter("evidence/any(e:" * 30 + "true" + ")" * 30), 400),
    Case("long-list", _filter("title%20in%20(" + ",".join(["'a'"] * 2000) + ")"), 400),
    Case("long-string", _filter("title%20eq%20'" + "a" * 9000 + "'"), 400),
    Case("nul", _filter("severity%20eq%20'%00'"), 400),
    Case("no-utf8", _filter("title%20eq%20'%ff%fe'"), 400, says="UTF-8"),
    Case("surrogate", _filter("title%20eq%20'%ED%A0%80'"), 400, says="UTF-8"),
    Case("astral", _filter("title%20eq%20'%F0%9F%98%80'"), 200, None),
    Case("half-escape", _filter("%2"), 400),
    Case("no-escape", _filter("%zz"), 400),
    Case("open-quote", _filter("'"), 400),
    Case("year-99999", _filter("createdDateTime%20ge%2099999-01-01T00:00:00Z"), 400),
    Case("year-0", _filter("createdDateTime%20ge%200000-00-00T00:00:00Z"), 400),
    Case("month-13", _filter("createdDateTime%20ge%202020-13-45"), 400),
    Case("huge-number", _filter("length(title)%20eq%2099999999999999999999999999"), 200, None),
    Case("infinite-number", _filter("length(title)%20eq%201e999"), 400),
    Case("division-by-zero", _filter("1%20div%200%20eq%201"), 200, None),
    Case("contains-null", _filter("contains(title,null)"), 200, None),
    Case("twice", _filter("title%20eq%20'a'&$filter=title%20eq%20'b'"), 400, "invalidQueryOption", says="$filter"),
    Case("twice-cased", _filter("title%20eq%20'a'&%24FILTER=title%20eq%20'b'"), 400, "invalidQueryOption"),
    # other options
    Case("top-negative", f"{_ALERTS}?$top=-1", 400, says="$top"),
    Case("top-huge", f"{_ALERTS}?$top=99999999999999", 400, says="$top"),
    Case("top-digits", f"{_ALERTS}?$top=%D9%A1%D9%A2", 400, says="$top"),
    Case("skip-huge", f"{_ALERTS}?$skip=99999999999999999999999", 400, says="$skip"),
    Case("orderby-many", f"{_ALERTS}?$orderby=" + ",".join(["title"] * 500), 400, says="$orderby"),
    Case("orderby-complex", f"{_ALERTS}?$orderby=evidence", 400, says="evidence"),
    Case("select-deep", f"{_ALERTS}?$select=evidence/" + "a/" * 500, 400, says="$select"),
    Case("expand-deep", "/v1.0/security/incidents?$expand=alerts(" + "$expand=alerts(" * 40, 400),
    Case("token-of-no-one", f"{_ALERTS}?$skiptoken=abc", 400, says="$skiptoken"),
    Case("token-long", f"{_ALERTS}?$skiptoken=" + "A" * 7000, 400, says="$skiptoken"),
    Case("token-nul", f"{_ALERTS}?$skiptoken=%00", 400, says="$skiptoken"),
    Case("delta-token-of-no-one", "/v1.0/users/delta?$deltatoken=abc", 400),
    Case("count-word", f"{_ALERTS}?$count=maybe", 400, "invalidQueryOption", says="$count"),
    Case("apply", f"{_ALERTS}?$apply=groupby((severity))", 400, "invalidQueryOption", says="$apply"),
    Case("names-of-nothing", f"{_ALERTS}?&&&&=&=1&$top=1", 200, None),
    # paths
    Case("id-long", f"{_ALERTS}/" + "x" * 3000, 404, "ResourceNotFound"),
    Case("id-too-long", f"{_ALERTS}/" + "x" * 9000, 400, "invalidPath"),
    Case("id-nul", f"{_ALERTS}/%00", 404, "ResourceNotFound"),
    Case("id-no-utf8", f"{_ALERTS}/%ff", 400, "invalidPath", says="UTF-8"),
    Case("id-dots", f"{_ALERTS}/..%2f..%2fetc%2fpasswd", 404, "ResourceNotFound"),
    Case("key-open", "/v1.0/users(')", 400, "invalidPath"),
    Case("key-of-names", "/v1.0/users(a=b=c)", 400, "invalidPath"),
    Case("many-segments", "/v1.0/" + "/".join(["a"] * 100), 400, "invalidPath"),
    # headers
    Case("accept-of-nothing", f"{_ALERTS}?$top=1", 406, "NotAcceptable", head=("Accept: image/png",)),
    Case("prefer-long", f"{_ALERTS}?$top=1", 200, None, head=("Prefer: " + "a," * 5000,)),
    Case("consistency-bytes", "/v1.0/users?$top=1", 200, None, head=("ConsistencyLevel: \xff",)),
    Case("bearer-bytes", f"{_ALERTS}?$top=1", 401, "InvalidAuthenticationToken", head=("Authorization: Bearer \xff",)),
    Case("bearer-twice", f"{_ALERTS}?$top=1", 401, "InvalidAuthenticationToken", head=("Authorization: Bearer a b",)),
    Case("bearer-empty", f"{_ALERTS}?$top=1", 401, "InvalidAuthenticationToken", head=("Authorization: Bearer ",)),
    # bodies
    _post("empty", b"", 400),
    _post("cut", b"{", 400, says="JSON"),
    _post("list", b"[]", 400),
    _post("null", b"null", 400),
    _post("numbers-for-ids", b'{"userIds":[1]}', 400, says="userIds"),
    _post("object-for-ids", b'{"userIds":{"a":1}}', 400, says="userIds"),
    _post("surrogate-body", _SURROGATE, 400),
    _post("no-utf8-body", b"\xff\xfe", 400),
    _post("utf16-body", '{"userIds":["x"]}'.encode("utf-16"), 400),
    _post("byte-order-mark", b'\xef\xbb\xbf{"userIds":["x"]}', 404, "ResourceNotFound"),
    _post("deep", b'{"a":' * 2000 + b"1" + b"}" * 2000, 400),
    _post("nan", b'{"userIds":NaN}', 400, says="JSON"),
    _post("infinity", b'{"userIds":1e9999}', 400),
    _post("xml", b"<a/>", 415, "UnsupportedMediaType", head=("Content-Type: text/xml",)),
    _post("brotli", b"x", 415, "UnsupportedMediaType", head=(*_JSON, "Content-Encoding: br")),
    _post("no-gzip", b"x", 400, head=(*_JSON, "Content-Encoding: gzip")),
    _post("utf16-said", b"{}", 400, head=("Content-Type: application/json; charset=utf-16",)),
    _post(
        "chunked",
        b'5\r\n{"use\r\nc\r\nrIds":["x"]}\r\n0\r\n\r\n',
        404,
        "ResourceNotFound",
        head=(*_JSON, "Transfer-Encoding: chunked"),
        sized=False,
    ),
    _post(
        "said-to-be-huge",
        b"{}",
        413,
        "RequestEntityTooLarge",
        head=(*_JSON, "Content-Length: 99999999999"),
        sized=False,
    ),
    _post("list-of-user", b"[]", 400, target="/v1.0/users"),
    _post("surrogate-name", b'{"userPrincipalName":"\\ud800@x"}', 400, target="/v1.0/users"),
    _post("id-of-300", b'{"id":"' + b"x" * 300 + b'","userPrincipalName":"q@x"}', 400, target="/v1.0/users"),
    _post("number-for-time", b'{"createdDateTime":12345}', 400, target="/v1.0/auditLogs/signIns"),
    _post(
        "number-too-large",
        b'{"createdDateTime":"2026-11-29T00:00:00Z","status":{"errorCode":99999999999999999999}}',
        400,
        target="/v1.0/auditLogs/signIns",
        says="errorCode",
    ),
    _post("object-for-title", b'{"title":{"a":1}}', 400, target=_ALERTS, says="title"),
    _post("number-for-query", b'{"query":5}', 400, target="/v1.0/security/runHuntingQuery", says="query"),
    _post("query-of-brackets", b'{"query":"' + b"(" * 5000 + b'"}', 400, target="/v1.0/security/runHuntingQuery"),
    _post(
        "timespan-of-ages",
        b'{"query":"AlertInfo","timespan":"P99999999999Y"}',
        400,
        target="/v1.0/security/runHuntingQuery",
    ),
    _post("batch-of-nothing", b'{"requests":[null]}', 400, target="/v1.0/$batch"),
]

# what the HTTP layer refuses itself, before there is a request to answer
UNREAD = {
    "latin-1-target": b"GET /v1.0/users?a=\xe9 HTTP/1.1\r\nHost: x\r\n\r\n",
    "verb": b"FOO /v1.0/users HTTP/1.1\r\nHost: x\r\n\r\n",
    "control-in-header": b"GET /v1.0/users HTTP/1.1\r\nHost: x\r\nclient-request-id: \x01\r\n\r\n",
    "two-lengths": b"POST /v1.0/users HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "negative-length": b"POST /v1.0/users HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n{}",
    "length-and-chunks": b"POST /v1.0/users HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunk-of-letters": b"POST /v1.0/users HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
}


@pytest.fixture(scope="module")
def token(server: Running) -> str:
    return server.token()


@pytest.fixture(scope="module", autouse=True)
def unharmed(server: Running) -> Iterator[None]:
    """After all of it: the server answers, and has told its log of nothing unexpected."""
    yield
    with server.api() as api:
        assert api.get(f"{_ALERTS}?$top=1").status_code == 200
    assert "Traceback" not in (server.data / "server.log").read_text(errors="replace")


def _exchange(server: Running, data: bytes) -> tuple[int, dict[str, str], bytes]:
    trust = ssl.create_default_context(cafile=str(server.ca))
    with (
        socket.create_connection(("localhost", server.port), timeout=30) as plain,
        trust.wrap_socket(plain, server_hostname="localhost") as sock,
    ):
        sock.sendall(data)
        parts = iter(lambda: sock.recv(65536), b"")
        head, _, body = b"".join(parts).partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = dict(line.lower().split(": ", 1) for line in lines)
    return int(first.split()[1]), fields, body


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_refused_precisely(server: Running, token: str, case: Case) -> None:
    head = [f"{case.method} {case.target} HTTP/1.1", f"Host: localhost:{server.port}", "Connection: close", *case.head]
    if not any(line.startswith("Authorization") for line in case.head):
        head.append(f"Authorization: Bearer {token}")
    if case.body is not None and case.sized:
        head.append(f"Content-Length: {len(case.body)}")
    status, fields, body = _exchange(server, "\r\n".join([*head, "", ""]).encode("latin-1") + (case.body or b""))
    told = body[:2000].decode(errors="replace")
    assert status == case.status, told
    assert fields["request-id"] and fields["content-type"].startswith("application/json")
    if case.code is None:
        assert isinstance(json.loads(body)["value"], list)
        return
    error = json.loads(body)["error"]
    assert error["code"] == case.code, told
    assert error["message"] and case.says.casefold() in error["message"].casefold(), told
    assert error["innerError"]["request-id"] == fields["request-id"] and "Traceback" not in told
    assert len(body) < 2_000  # what was sent is not sent back at length


@pytest.mark.parametrize("data", UNREAD.values(), ids=UNREAD)
def test_what_is_no_http_is_refused_as_such(server: Running, data: bytes) -> None:
    status, _, _ = _exchange(server, data)
    assert status == 400


def test_requests_of_a_batch_fail_alone(server: Running) -> None:
    ends = ["/users/%ff", "/$batch", "nothing", f"/users?$filter={'(' * 2000}", "/users?$top=1"]
    requests = [{"id": str(n), "method": "GET", "url": url} for n, url in enumerate(ends)]
    with server.api() as api:
        answer = api.post("/v1.0/$batch", json={"requests": requests})
        assert answer.status_code == 200, answer.text
        got = {each["id"]: each["status"] for each in answer.json()["responses"]}
        odd = [{"id": "1", "method": "GET", "url": "/users", "headers": {"a\r\nb": "c"}}]
        split: httpx.Response = api.post("/v1.0/$batch", json={"requests": odd})
    assert got == {"0": 400, "1": 400, "2": 404, "3": 400, "4": 200}
    assert split.status_code in {200, 400} and "a\r\nb" not in str(split.headers)
