"""What is sent: change notifications and lifecycle notifications in Graph's shape.

Source: Microsoft Graph, changeNotification and changeNotificationCollection resource types; "Reduce missing
subscriptions and change notifications" (lifecycle).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec import Struct

from bartizan.model.edm import Version
from bartizan.model.ids import stable_id
from bartizan.model.times import to_datetime
from bartizan.respond.subscriptions import OWN
from bartizan.respond.watched import Predicate, Watched, watched
from bartizan.store import Stored, inner
from bartizan.store.interface import Op

LifecycleEvent = Literal["reauthorizationRequired", "subscriptionRemoved", "missed"]

_encode = msgspec.json.Encoder().encode


class Event(Struct, frozen=True):
    """One change of a watched object, shared by the queues of all who are told of it."""

    seq: int
    at: str
    op: Op
    id: str


class Subscription(Struct, frozen=True):
    """A stored subscription, read for delivery."""

    tenant: str
    id: str
    app: str
    user: str | None
    resource: str
    what: Watched
    key: str | None  # the object, where it is only one
    predicate: Predicate | None
    version: Version
    changes: frozenset[str]
    url: str
    lifecycle_url: str | None
    client_state: str | None
    expires: str
    created: str
    touched: str  # when it was created, renewed or reauthorized
    seq: int

    @property
    def expires_at(self) -> datetime:
        return to_datetime(self.expires)


def subscription(tenant: str, stored: Stored) -> Subscription:
    """BadRequest where its resource can no longer be read (an upgrade has taken a property away)."""
    body = inner(stored)
    own: dict[str, Any] = body.get(OWN) or {}
    what = watched(body["resource"])
    version: Version = "beta" if own.get("version") == "beta" else "v1.0"
    return Subscription(
        tenant=tenant,
        id=stored.id,
        app=body["applicationId"],
        user=own.get("user"),
        resource=body["resource"],
        what=what,
        key=own.get("key") or what.key,
        predicate=what.predicate(version),
        version=version,
        changes=frozenset(body["changeType"].split(",")),
        url=body["notificationUrl"],
        lifecycle_url=body.get("lifecycleNotificationUrl"),
        client_state=body.get("clientState"),
        expires=body["expirationDateTime"],
        created=stored.created,
        touched=stored.updated,
        seq=stored.seq,
    )


def notification(of: Subscription, event: Event) -> dict[str, Any]:
    """Its id is the same at every attempt, so that a receiver can tell a repeat."""
    path = f"{of.what.set.path}/{event.id}"
    data = {"@odata.type": f"#{of.what.set.type}", "@odata.id": path}
    if event.op != "deleted":
        data["@odata.etag"] = f'W/"{event.seq:016x}"'
    data["id"] = event.id
    return {
        "id": stable_id("notification", of.id, str(event.seq)),
        "subscriptionId": of.id,
        "subscriptionExpirationDateTime": of.expires,
        "clientState": of.client_state,
        "changeType": event.op,
        "resource": path,
        "tenantId": of.tenant,
        "resourceData": data,
    }


def lifecycle(of: Subscription, event: LifecycleEvent, cause: str) -> dict[str, Any]:
    """`cause` tells two events of one kind apart, and one event from its repeat."""
    return {
        "id": stable_id("lifecycle", of.id, event, cause),
        "subscriptionId": of.id,
        "subscriptionExpirationDateTime": of.expires,
        "clientState": of.client_state,
        "tenantId": of.tenant,
        "lifecycleEvent": event,
    }


def collection(notifications: Sequence[dict[str, Any]]) -> bytes:
    return _encode({"value": notifications})
