"""Cases of detections: YAML in short form made events, put through the engine.

A file holds `detection` (its function's name), `says` (keys of the reasons by which its findings are told from others
of the same type), perhaps `history`, `intel` and `accounts` of all cases, and `cases`. The form is explained in
docs/how-to/add-a-detection.md.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from bartizan.extend.detections import DETECTIONS, Finding
from bartizan.identity.engine import BASE_TYPE, WORKLOAD_TYPE, Result, State
from bartizan.identity.events import Event, activity, audit, sign_in
from bartizan.identity.view import Account
from bartizan.intel.networks import Intel, Network
from bartizan.intel.tables import Kind, Leak

CASES = Path(__file__).parents[1] / "cases"
WORDS: dict[str, Any] = yaml.load((CASES / "words.yaml").read_text(), yaml.CSafeLoader)
TODAY = datetime(2026, 3, 2, tzinfo=UTC)
TYPES = {each.name: set(each.types) for each in DETECTIONS} | {
    "unfamiliar_features": {BASE_TYPE},
    "suspicious_sign_ins": {WORKLOAD_TYPE},
}  # the behavioural part of the score has cases, too
KINDS = ("fires", "just-not", "missing", "look-alike")
_AT = re.compile(r"(?:([+-]\d+)d ?)?(?:(\d\d):(\d\d)(?::(\d\d))?)?")
_EVERY = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_KEYS = frozenset(
    """at who from with id workload address asn country city lat lon device managed os browser agent app resource client
    protocol session code interactive multifactor token issuer credential audit target target_id target_details failed
    requests kinds denied repeat every""".split()
)  # fmt: skip


class Told(Intel):
    """What a case says of addresses ("10.1.0.10: [MALICIOUS since -1d 00:00]", "asn:64503: [MOBILE]"), and of leaked
    credentials."""

    def __init__(self, kinds: dict[str, list[str]], leaks: list[dict[str, Any]], listed_by: str) -> None:
        self._told, self._leaked, self._listed_by = kinds, leaks, listed_by

    def of(self, address: str, at: float) -> Network:
        kinds = self._kinds(address, at)
        return Network(kinds=kinds, sources=(self._listed_by,) if kinds else ())

    def asn_kinds(self, asn: int, at: float | None = None) -> Kind:
        return self._kinds(f"asn:{asn}", at or 0.0)

    def leaked(self, principal: str, at: float) -> Leak | None:
        for each in self._leaked:
            if each["of"] == principal and (found := when(each["found"]).timestamp()) <= at:
                return Leak(found, each.get("matches"), "feed")
        return None

    def _kinds(self, key: str, at: float) -> Kind:
        kinds = Kind(0)
        for said in self._told.get(key, ()):
            name, _, since = said.partition(" since ")
            if not since or at >= when(since).timestamp():
                kinds |= Kind[name]
        return kinds


def when(text: str) -> datetime:
    """ "-3d 09:00": three days before the case's day. ValueError."""
    match = _AT.fullmatch(text)
    if match is None or not text:
        raise ValueError(f"no time of a case: {text!r}; right would be '-3d 09:00'")
    day, hour, minute, second = (int(each or 0) for each in match.groups())
    return TODAY + timedelta(days=day, hours=hour, minutes=minute, seconds=second)


def expand(short: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """One short form with `repeat` as many, `{i}` in its texts filled in."""
    if "usual" in short:  # so many days of routine, from home with a laptop if nothing else is said
        days = short["usual"]
        rest = {key: value for key, value in short.items() if key != "usual"}
        session = f"{rest.get('who', 'ada')} {rest.get('from', 'home')} {rest.get('with', 'laptop')} {{i}}"
        start = {"at": f"-{days}d 09:00", "repeat": days, "every": "1d", "session": session}
        yield from expand({**start, **rest})
        return
    if unknown := short.keys() - _KEYS:
        raise ValueError(f"no member of a case's event: {', '.join(sorted(unknown))}")
    every = str(short.get("every", "1m"))
    step = timedelta(seconds=int(every[:-1]) * _EVERY[every[-1]])
    for i in range(short.get("repeat", 1)):
        full = {"who": "ada", "from": "home", "with": "laptop", **short}
        full["who"] = str(full["who"]).format(i=i)
        full = {**WORDS["places"].get(full["from"], {}), **WORDS["kits"].get(full["with"], {}), **full}
        said = {"i": i, "who": full["who"]}
        full = {key: value.format(**said) if isinstance(value, str) else value for key, value in full.items()}
        yield {**full, "at": (when(full["at"]) + step * i).isoformat()}


def event(full: dict[str, Any], number: int) -> Event:
    """Through the form that Graph gives it."""
    id, who = full.get("id", f"e{number}"), full["who"]
    if "audit" in full:
        target = {"displayName": full.get("target", ""), "id": full.get("target_id")}
        changed = [{"displayName": name, "newValue": text} for name, text in full.get("target_details", {}).items()]
        user = {"id": who, "userPrincipalName": f"{who}@contoso.example", "ipAddress": full["address"]}
        return audit(
            {
                "id": id,
                "activityDateTime": full["at"],
                "activityDisplayName": full["audit"],
                "initiatedBy": {"user": user},
                "targetResources": [{**target, "modifiedProperties": changed}],
                "result": "failure" if full.get("failed") else "success",
            }
        )
    if "requests" in full:
        return activity(
            {
                "id": id,
                "timeGenerated": full["at"],
                "principalId": who,
                "ipAddress": full["address"],
                "requests": full["requests"],
                "resourceKinds": full.get("kinds", ["users"]),
                "denied403": full.get("denied", 0),
            }
        )
    return sign_in(_sign_in(full, id))


def _sign_in(full: dict[str, Any], id: str) -> dict[str, Any]:
    who = full["who"]
    named = (
        {"servicePrincipalId": who, "servicePrincipalName": f"app {who}"}
        if full.get("workload")
        else {"userId": who, "userPrincipalName": f"{who}@contoso.example"}
    )
    coordinates = {"latitude": full.get("lat"), "longitude": full.get("lon")}
    device = {"deviceId": full.get("device"), "operatingSystem": full.get("os"), "browser": full.get("browser")}
    return {
        **named,
        "id": id,
        "createdDateTime": full["at"],
        "ipAddress": full["address"],
        "autonomousSystemNumber": full.get("asn"),
        "location": {"countryOrRegion": full["country"], "city": full.get("city"), "geoCoordinates": coordinates}
        if full.get("country")
        else None,
        "deviceDetail": {**device, "isManaged": full.get("managed")},
        "userAgent": full.get("agent"),
        "appDisplayName": full.get("app", "Portal"),
        "resourceDisplayName": full.get("resource", "Graph"),
        "clientAppUsed": full.get("client", "Browser"),
        "authenticationProtocol": full.get("protocol"),
        "sessionId": full.get("session"),
        "status": {"errorCode": full.get("code", 0)},
        "isInteractive": full.get("interactive", True),
        "authenticationRequirement": "multiFactorAuthentication" if full.get("multifactor") else None,
        "incomingTokenType": full.get("token"),
        "tokenIssuerName": full.get("issuer"),
        "tokenIssuerType": "ADFederationServices" if full.get("issuer") else None,
        "servicePrincipalCredentialKeyId": full.get("credential"),
    }


def run(file: dict[str, Any], case: dict[str, Any]) -> tuple[list[Result], list[Result]]:
    """What followed from the last event, and from all."""
    short = [*([] if case.get("alone") else file.get("history", [])), *case.get("history", [])]
    earlier = sorted((full for each in short for full in expand(each)), key=lambda full: str(full["at"]))
    last = list(expand({"at": "09:00", **case["event"]}))
    assert len(last) == 1, "the event itself is one"
    assert not earlier or earlier[-1]["at"] <= last[0]["at"], "history comes before the event"
    accounts = {
        who: Account(
            created=when(said["created"]).timestamp() if "created" in said else 0.0,
            last=when(said["last"]).timestamp() if "last" in said else 0.0,
            administrator=said.get("administrator", False),
        )
        for who, said in {**file.get("accounts", {}), **case.get("accounts", {})}.items()
    }
    kinds = {**WORDS["networks"], **file.get("intel", {}), **case.get("intel", {})}
    leaks = case.get("leaks", file.get("leaks", []))
    state = State(Told(kinds, leaks, case.get("listed_by", "list")), accounts)
    results: list[Result] = []
    now: list[Result] = []
    for number, full in enumerate([*earlier, *last]):
        now = state.step(event(full, number))
        results += now
    return now, results


def findings_of(file: dict[str, Any], now: list[Result]) -> list[Finding]:
    """Those of the file's detection, of the event first, then of earlier sign-ins that it raised."""
    own = [found for result in sorted(now, key=lambda each: each.kind == "raised") for found in result.findings]
    types, says = TYPES[file["detection"]], file["says"]
    return [each for each in own if each.type in types and all(key in each.reasons for key in says)]
