"""Change notifications of a started server, as an application that subscribes over HTTPS sees them."""

import json
import queue
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from tests.api.conftest import NOW, bounds, kept_at, limits, world  # noqa: F401
from tests.api.conftest import World as Place
from tests.wire.conftest import Running

from bartizan.app.assembly import connections_of, parts_of
from bartizan.settings import Settings

ARRIVES_S = 20.0
HANDSHAKE_FAILED = (
    "Subscription validation request failed. Must respond with 200 OK to this request."  # clients compare
)


class Receiver:
    """A webhook on loopback, by path: `/refuse` does not answer handshakes, every other keeps what it is sent."""

    def __init__(self) -> None:
        self.came: dict[str, queue.Queue[dict[str, Any]]] = {}
        outer = self

        class Endpoint(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                parts = urlsplit(self.path)
                token = parse_qs(parts.query).get("validationToken", [None])[0]
                if token is None:
                    for each in json.loads(body)["value"]:
                        outer.of(parts.path).put(each)
                answer = (token or "").encode()
                self.send_response(404 if parts.path == "/refuse" else 200 if token else 202)
                self.send_header("content-type", "text/plain")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *args: object) -> None:
                """Silent."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
        self.root = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def of(self, path: str) -> "queue.Queue[dict[str, Any]]":
        return self.came.setdefault(path, queue.Queue())

    def next(self, path: str) -> dict[str, Any]:
        return self.of(path).get(timeout=ARRIVES_S)


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.http.shutdown()
    made.http.server_close()


@pytest.fixture
def api(server: Running) -> Iterator[httpx.Client]:
    with server.api() as client:
        yield client


def in_hours(hours: float) -> str:
    return (datetime.now(UTC) + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%S.0000000Z")


def asked(url: str, resource: str, **more: Any) -> dict[str, Any]:
    body = {"changeType": "updated", "notificationUrl": url, "resource": resource, "clientState": "a secret of mine"}
    return {**body, "expirationDateTime": in_hours(1), **more}


def subscribed(api: httpx.Client, url: str, resource: str, **more: Any) -> dict[str, Any]:
    answer = api.post("/v1.0/subscriptions", json=asked(url, resource, **more))
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def alert(api: httpx.Client, severity: str) -> str:
    vendor = {"vendor": "Contoso", "provider": "Contoso"}
    body = {"title": f"{severity}, {time.monotonic_ns()}", "severity": severity, "vendorInformation": vendor}
    answer = api.post("/v1.0/security/alerts", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def assign(api: httpx.Client, id: str) -> None:
    vendor = {"vendor": "Contoso", "provider": "Contoso"}
    body = {"assignedTo": f"someone{time.monotonic_ns()}@contoso.example", "vendorInformation": vendor}
    answer = api.patch(f"/v1.0/security/alerts/{id}", json=body)
    assert answer.status_code == 204, answer.text


def about(receiver: Receiver, path: str, *ids: str) -> dict[str, Any]:
    """The next notification that is about one of these; the sample organisation goes on meanwhile."""
    while (told := receiver.next(path))["resourceData"]["id"] not in ids:
        pass
    return told


def ours(receiver: Receiver, path: str, *ids: str) -> str:
    """Which alert it is about."""
    return str(about(receiver, path, *ids)["resourceData"]["id"])


def test_a_change_is_told(server: Running, api: httpx.Client, receiver: Receiver) -> None:
    """Handshake, 201; a PATCH is told with clientState, in the documented shape, and what it names can be read."""
    id = alert(api, "high")
    made = subscribed(api, f"{receiver.root}/told?key=value", "security/alerts")
    assert made["applicationId"] == server.client_id and made["resource"] == "security/alerts"
    assert api.get(f"/v1.0/subscriptions/{made['id']}").json()["id"] == made["id"]
    assert made["id"] in [each["id"] for each in api.get("/v1.0/subscriptions").json()["value"]]
    assign(api, id)
    came = about(receiver, "/told", id)
    data = came.pop("resourceData")
    assert came.pop("id") and came == {
        "subscriptionId": made["id"],
        "subscriptionExpirationDateTime": made["expirationDateTime"],
        "clientState": "a secret of mine",
        "changeType": "updated",
        "resource": came["resource"],
        "tenantId": server.tenant,
    }
    assert data["id"] == id and data["@odata.type"].lower() == "#microsoft.graph.alert", data
    assert data["@odata.id"].lower() == came["resource"].lower() and data["@odata.etag"], data
    read = api.get(f"/v1.0/{data['@odata.id']}")
    assert read.status_code == 200 and read.json()["id"] == id, read.text
    assert api.delete(f"/v1.0/subscriptions/{made['id']}").status_code == 204


def test_a_filter_is_asked_on_each_change(api: httpx.Client, receiver: Receiver) -> None:
    """Order is kept within a resource, so what the open subscription has seen, the filtered one has passed over."""
    low, high = alert(api, "low"), alert(api, "high")
    some = subscribed(api, f"{receiver.root}/some", "security/alerts?$filter=severity eq 'high'")
    every = subscribed(api, f"{receiver.root}/every", "/security/alerts")
    assign(api, low)
    assert ours(receiver, "/every", low, high) == low
    assign(api, high)
    while ours(receiver, "/every", low, high) != high:
        pass  # the incident of the other one, meanwhile
    assert ours(receiver, "/some", low, high) == high
    while not receiver.of("/some").empty():  # told of its incident, too
        assert receiver.next("/some")["resourceData"]["id"] != low
    for each in (some, every):
        assert api.delete(f"/v1.0/subscriptions/{each['id']}").status_code == 204


def test_life_of_a_subscription(api: httpx.Client, receiver: Receiver) -> None:
    """Renewed, reauthorized, deleted; after that nothing is told, and nobody else's is seen."""
    id = alert(api, "medium")
    made = subscribed(api, f"{receiver.root}/life", f"security/alerts/{id}")
    one = f"/v1.0/subscriptions/{made['id']}"
    later = in_hours(48)
    renewed = api.patch(one, json={"expirationDateTime": later})
    assert renewed.status_code == 200 and renewed.json()["expirationDateTime"] == later, renewed.text
    assert api.post(f"{one}/reauthorize").status_code == 204
    assert api.get(one).json()["expirationDateTime"] == later
    assert api.patch(one, json={"resource": "users"}).status_code == 400
    assert api.patch(one, json={"expirationDateTime": in_hours(24 * 40)}).status_code == 400
    assign(api, id)
    told = receiver.next("/life")
    while told["subscriptionExpirationDateTime"] == made["expirationDateTime"]:
        told = receiver.next("/life")  # told before it was renewed: of the incident that the alert is in
    assert told["subscriptionExpirationDateTime"] == later
    assert api.delete(one).status_code == 204
    for gone in (api.get(one), api.patch(one, json={"expirationDateTime": later}), api.delete(one)):
        assert gone.status_code == 404, gone.text
    other = subscribed(api, f"{receiver.root}/other", f"security/alerts/{id}")
    assign(api, id)
    assert receiver.next("/other")["subscriptionId"] == other["id"]
    while not receiver.of("/life").empty():  # told before it was deleted: of the incident that the alert is in
        receiver.next("/life")
    assign(api, id)
    assert receiver.next("/other")["subscriptionId"] == other["id"]
    assert receiver.of("/life").empty()
    assert api.delete(f"/v1.0/subscriptions/{other['id']}").status_code == 204


def test_both_faces_of_an_alert_are_told(api: httpx.Client, receiver: Receiver) -> None:
    """Our extension: a change through the old face is told to who watches the new one, also when it is created."""
    made = subscribed(api, f"{receiver.root}/faces", "security/alerts_v2", changeType="created,updated")
    id = alert(api, "low")
    came = [about(receiver, "/faces", id)]
    assign(api, id)
    came.append(about(receiver, "/faces", id))
    assert [each["changeType"] for each in came] == ["created", "updated"]
    assert api.delete(f"/v1.0/subscriptions/{made['id']}").status_code == 204


def test_a_refused_handshake(api: httpx.Client, receiver: Receiver) -> None:
    """In the words that clients look for; nothing is left behind."""
    known = api.get("/v1.0/subscriptions").json()["value"]
    for url in (f"{receiver.root}/refuse", "http://127.0.0.1:9/nobody"):
        answer = api.post("/v1.0/subscriptions", json=asked(url, "security/alerts"))
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["message"] == HANDSHAKE_FAILED
    assert api.get("/v1.0/subscriptions").json()["value"] == known


@pytest.mark.anyio
async def test_private_addresses_need_the_flag(world: Place, tmp_path: Path, receiver: Receiver) -> None:  # noqa: F811
    """Without --allow-private-notifications the server sends nothing into its own network."""
    settings = Settings(data=str(tmp_path))
    world.graph.parts = parts_of(settings, connections_of(settings, world.store))
    until = (NOW + timedelta(hours=1)).isoformat()
    hosts = "127.0.0.1 [::1] 10.0.0.1 192.168.1.1 169.254.169.254 [fd00::1] 2130706433 localhost 0.0.0.0".split()
    for url in [*(f"https://{host}/x" for host in hosts), f"{receiver.root}/told"]:
        body = asked(url, "security/alerts", expirationDateTime=until)
        await world.refused("POST", "/v1.0/subscriptions", body, status=400)
    assert await world.every("/v1.0/subscriptions") == []
