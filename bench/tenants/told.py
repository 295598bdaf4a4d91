"""What other records tell of the same sign-ins: less. Some leave parts out, some come through a provider's source.

Source: Okta System Log API, "LogEvent object"; Keycloak, "Auditing user events".
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import bartizan.sources  # noqa: F401 - fills SOURCES
from bartizan.extend import SOURCES, GraphObject, Record

Document = dict[str, Any]


def _without(*names: str) -> Callable[[Document], Document]:
    return lambda document: {name: value for name, value in document.items() if name not in names}


def _okta(of: Document) -> Document:
    code, where, device = of["status"]["errorCode"], of["location"], of["deviceDetail"]
    factor = of["authenticationRequirement"].startswith("multi")
    by_factor = code in (500121, 50074, 50076) or (factor and code == 0)
    result, reason = {
        0: ("SUCCESS", None), 50126: ("FAILURE", "INVALID_CREDENTIALS"), 50053: ("FAILURE", "LOCKED_OUT"),
        53003: ("DENY", None),
    }.get(code, ("FAILURE", "USER_REJECTED"))  # fmt: skip
    spot = where["geoCoordinates"]
    return {
        "uuid": of["id"],
        "published": of["createdDateTime"],
        "eventType": "user.authentication.auth_via_mfa" if by_factor else "user.session.start",
        "severity": "INFO",
        "actor": {"id": of["userId"], "type": "User", "alternateId": of["userPrincipalName"], "displayName": "One"},
        "client": {
            "ipAddress": of["ipAddress"],
            "device": "Computer",
            "userAgent": {"rawUserAgent": of["userAgent"], "os": device["operatingSystem"], "browser": ""},
            "geographicalContext": {
                "city": where["city"],
                "country": where["countryOrRegion"],
                "geolocation": {"lat": spot["latitude"], "lon": spot["longitude"]},
            },
        },
        "outcome": {"result": result, "reason": reason},
        "target": [{"type": "AppInstance", "displayName": of["appDisplayName"], "id": of["appDisplayName"]}],
        "authenticationContext": {"externalSessionId": of["sessionId"] or "unknown"},
        "securityContext": {"asNumber": of["autonomousSystemNumber"]},
    }


def _keycloak(of: Document) -> Document:
    code = of["status"]["errorCode"]
    error = {50126: "invalid_user_credentials", 50053: "user_temporarily_disabled", 53003: "not_allowed",
             500121: "invalid_user_otp"}.get(code, "resolve_required_actions" if code else None)  # fmt: skip
    kind = "LOGIN" if of["isInteractive"] else "REFRESH_TOKEN"
    return {
        "id": of["id"],
        "time": round(datetime.fromisoformat(of["createdDateTime"]).timestamp() * 1_000),
        "type": f"{kind}_ERROR" if error else kind,
        "realmId": "realm",
        "clientId": of["appDisplayName"],
        "userId": of["userId"],
        "sessionId": of["sessionId"] or None,
        "ipAddress": of["ipAddress"],
        "error": error,
        "details": {"username": of["userPrincipalName"]},
    }


def _through(source: str, shape: Callable[[Document], Document]) -> Callable[[Document], Document]:
    """The sign-in that the source makes of the provider's record. Service principals stay as they are."""
    normalise = SOURCES[source].normalise

    def told(document: Document) -> Document:
        if not document["userId"]:
            return document
        data = shape(document)
        text = json.dumps(data)
        (made,) = [
            each
            for each in normalise(Record(raw=text.encode(), text=text, data=data))
            if isinstance(each, GraphObject) and each.collection == "signIns"
        ]
        return {**made.body, "id": document["id"]}

    return told


PARTS: Mapping[str, Callable[[Document], Document]] = {
    "device": lambda document: {
        **document,
        "deviceDetail": {name: document["deviceDetail"].get(name) for name in ("operatingSystem", "browser")},
        "incomingTokenType": None,
    },
    "carrier": _without("autonomousSystemNumber"),
    "place": _without("location"),
    "agent": lambda document: {**document, "userAgent": "", "deviceDetail": {}},
    "session": _without("sessionId"),
    "client": _without("clientAppUsed"),
    "okta": _through("okta", _okta),
    "keycloak": _through("keycloak", _keycloak),
}


def through(path: Path, without: Sequence[str]) -> None:
    """Rewrites a file of sign-ins without these parts, or by way of these sources."""
    if not without:
        return
    with path.open() as lines:
        rows = [json.loads(line) for line in lines]
    for name in without:
        rows = [PARTS[name](each) for each in rows]
    with path.open("w") as out:
        out.writelines(json.dumps(each, separators=(",", ":"), default=str) + "\n" for each in rows)
