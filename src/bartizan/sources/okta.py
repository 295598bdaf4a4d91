"""Okta: the System Log. Every record is an event, a sign-in also a Graph signIn, and what Okta calls a threat an alert.

Source: Okta System Log API, "LogEvent object", "Event types"; Okta ThreatInsight; Okta Identity Threat Protection.
"""

import re
from collections.abc import Iterator
from typing import Any

from bartizan.extend import Event, GraphObject, Record, Source
from bartizan.model import security as graph
from bartizan.model.alert import Alert, Severity
from bartizan.model.countries import country_code
from bartizan.sources import attack, severity
from bartizan.sources.evidence import Evidence, Place
from bartizan.sources.fields import Fields, content_id, objects_of
from bartizan.sources.generic import guess_event, unread
from bartizan.sources.sign_ins import Code, Risk, SignIn, Step, sign_in
from bartizan.sources.tables import columns as read_columns
from bartizan.sources.tables import event
from bartizan.sources.times import first_time

# Types that are detections of Okta's own -> (category, technique).
_THREATS: dict[str, tuple[str, str | None]] = {
    "security.threat.detected": ("CredentialAccess", "T1110"),
    "security.attack.start": ("CredentialAccess", "T1110"),
    "security.breached_credential.detected": ("CredentialAccess", "T1078"),
    "security.events.provider.receive_event": ("SuspiciousActivity", None),
    "user.account.report_suspicious_activity_by_enduser": ("InitialAccess", "T1078"),
    "user.risk.detect": ("InitialAccess", "T1078"),
    "user.risk.change": ("InitialAccess", "T1078"),
    "policy.entity_risk.action": ("InitialAccess", "T1078"),
    "policy.auth_reevaluate.fail": ("InitialAccess", "T1078"),
    "policy.continuous_access.action": ("InitialAccess", "T1078"),
    "app.oauth2.as.token.detect_reuse": ("CredentialAccess", "T1528"),
    "app.oauth2.token.detect_reuse": ("CredentialAccess", "T1528"),
}
_FEEDBACK = {"true_positive": "truePositive", "false_positive": "falsePositive"}
_PHISHING = ("InitialAccess", "T1566")  # FastPass declined: the reason says so
_NO_SIGN_IN = frozenset({"user.authentication.slo", "user.authentication.universal_logout"})
_RISK_LEVEL = re.compile(r"(?<![a-z])level\W{1,6}(LOW|MEDIUM|HIGH)", re.IGNORECASE)
_RISK_WORDS: dict[str, Risk] = {
    "low": "none",
    "medium": "medium",
    "high": "high",
}  # low is what Okta calls every usual sign-in
_ERRORS = {
    "INVALID_CREDENTIALS": Code.WRONG_PASSWORD,
    "INVALID_LOGIN": Code.WRONG_PASSWORD,
    "VERIFICATION_ERROR": Code.WRONG_PASSWORD,
    "AUTHENTICATION_FAILED": Code.WRONG_PASSWORD,
    "UNKNOWN_USER": Code.UNKNOWN_USER,
    "LOCKED_OUT": Code.LOCKED_OUT,
    "USER_LOCKED_OUT": Code.LOCKED_OUT,
    "PASSWORD_EXPIRED": Code.PASSWORD_EXPIRED,
    "USER_SUSPENDED": Code.DISABLED,
    "DEACTIVATED": Code.DISABLED,
    "INACTIVE": Code.DISABLED,
    "MFA_ENROLL_REQUIRED": Code.FACTOR_NOT_ENROLLED,
    "USER_REJECTED": Code.FACTOR_FAILED,
    "FASTPASS DECLINED PHISHING ATTEMPT": Code.FACTOR_FAILED,
}
_REJECTED = frozenset({"FAILURE", "DENY", "REJECT"})
_USED = frozenset(
    """
    eventtype displaymessage severity published uuid version legacyeventtype client securitycontext
    authenticationcontext
    """.split()
)


class Okta(Source):
    name = "okta"
    vendor = "Okta"
    product = "Okta"
    marks = (
        "eventType+actor+published legacyEventType+uuid actor.alternateId+outcome+eventType "
        "debugContext+securityContext+actor eventType+published+severity "
        "actor.alternateId+client.userAgent+published p_log_type=okta.* outcome.result+actor.alternateId "
        "actor.alternateId+client+eventType data.events.eventType+eventType+source "
        "authenticationContext+securityContext actor.alternateId+published+severity"
    )
    sourcetypes = ("oktaim2:*", "okta:im2:*", "okta:*", "okta")

    def normalise(self, record: Record) -> Iterator[Alert | Event | GraphObject]:
        found = [_unwrapped(fields) for fields in objects_of(record, "data.events", "events", "detail")]
        if not found:
            yield from unread(record, "OktaSystemLog")
        for row in found:
            kind = row.text("eventType")
            if kind is None:
                yield guess_event(row, "OktaSystemLog")
                continue
            threat = _threat(kind, row)
            if threat is not None:
                yield self._alert(record, row, kind, threat)
            elif kind == "analytics.feedback.provide" and (judged := self._judged(row)) is not None:
                yield judged
            if _is_sign_in(kind):
                yield from _sign_in(row, kind)
            yield _event(row, kind)

    def _judged(self, row: Fields) -> Alert | None:
        """What an administrator says of a detection that came before: the alert with the id of that, its verdict."""
        about = row.object("debugContext.debugData")
        named, verdict = about.text("EventUuid"), _FEEDBACK.get((about.text("Label") or "").lower())
        if named is None or verdict is None:
            return None
        return Alert(
            vendor=self.vendor,
            product=self.product,
            provider_alert_id=named,
            title="unknown",  # what is there already stays
            severity="unknown",
            status="resolved",
            classification=verdict,
            source_updated=first_time(row, "published", "p_event_time"),
            additional={"feedbackBy": row.text("actor.alternateId")},
        )

    def _alert(self, record: Record, row: Fields, kind: str, threat: tuple[str, str | None]) -> Alert:
        at = first_time(row, "published", "p_event_time")
        denied = (row.text("outcome.result") or "").upper() in ("DENY", "FAILURE", "REJECT")
        evidence = Evidence(at, remediation="blocked" if denied else "none")
        _entities(row, evidence)
        category, technique = threat
        found = attack.techniques(record, row.data)
        level, word = _severity(row, kind)
        session = row.object("authenticationContext")
        agent = row.object("client.userAgent")
        evidence.session(
            session.text("externalSessionId"),
            browser=_word(agent.text("browser")),
            os=_word(agent.text("os")),
            device=row.text("device.name"),
            user_agent=agent.text("rawUserAgent"),
        )
        return Alert(
            vendor=self.vendor,
            product=self.product,
            provider_alert_id=row.text("uuid") or content_id(row.data),
            title=row.text("displayMessage") or kind,
            description=row.text("outcome.reason", "debugContext.debugData.threatDetections"),
            severity=level,
            vendor_severity=word,
            category=category,
            categories=[category],
            vendor_category=kind,
            techniques=found or ([technique] if technique else []),
            detector_id=kind,
            first_activity=at,
            last_activity=at,
            evidence=evidence.items,
            additional=row.rest(frozenset({"displaymessage", "published", "uuid"})) | evidence.unsaid,
            fingerprint=(kind, row.text("actor.id") or "", row.text("client.ipAddress") or ""),
        )


def _unwrapped(fields: Fields) -> Fields:
    """The LogEvent inside an EventBridge envelope or an index hit."""
    for path in ("detail", "_source", "event.original", "okta"):
        inner = fields.object(path)
        if inner.has("eventType") and inner.has("published", "uuid"):
            return inner
    return fields


def _word(text: str | None) -> str | None:
    return None if (text or "").lower() == "unknown" else text


def _threat(kind: str, row: Fields) -> tuple[str, str | None] | None:
    found = _THREATS.get(kind)
    if kind == "user.risk.change" and _risk(row) == "none":
        return None  # the risk went down
    if found is None and "phishing" in (row.text("outcome.reason") or "").lower():
        return _PHISHING
    return found


def _risk(row: Fields) -> Risk | None:
    """none, medium or high, where a record tells the level."""
    data = row.object("debugContext.debugData")
    for path in ("risk", "riskLevel", "logOnlySecurityData"):
        text = data.text(path) or data.text(f"{path}.level")
        match = _RISK_LEVEL.search(text or "") or _RISK_LEVEL.search(f"level:{text or ''}")
        if match is not None:
            return _RISK_WORDS[match[1].lower()]
        if (inner := data.text(f"{path}.level", f"{path}.risk.level")) is not None:
            return _RISK_WORDS.get(inner.lower())
    return None


def _severity(row: Fields, kind: str) -> tuple[Severity, str | None]:
    """By the record's own word; of events about risk by the level of the risk, since they are all INFO."""
    word = row.text("severity")
    risk = _risk(row)
    if kind.startswith(("user.risk.", "policy.entity_risk.")) and risk in ("medium", "high"):
        return severity.of_word(risk), risk
    return severity.of_okta(word), word


def _is_sign_in(kind: str) -> bool:
    return kind == "user.session.start" or (kind.startswith("user.authentication.") and kind not in _NO_SIGN_IN)


def _place(row: Fields) -> Place:
    where = row.object("client.geographicalContext") or row.object("request.ipChain").object("geographicalContext")
    return Place(
        country=where.text("country"),
        city=where.text("city"),
        state=where.text("state"),
        latitude=where.number("geolocation.lat"),
        longitude=where.number("geolocation.lon"),
    )


def _address(row: Fields) -> str | None:
    return row.text("client.ipAddress") or row.object("request.ipChain").text("ip")


# ---------------------------------------------------------------- entities


def _entities(row: Fields, evidence: Evidence) -> graph.UserEvidence | None:
    actor, place, address = row.object("actor"), _place(row), _address(row)
    user = None
    if (actor.text("type") or "") == "IP address":
        evidence.ip(actor.text("displayName"), ("attacker",))
    elif _is_person(actor):
        user = evidence.user(
            _word(actor.text("alternateId")), object_id=actor.text("id"), display=actor.text("displayName")
        )
    else:
        evidence.observe("resource", actor.text("displayName"), "actor")
    for target in row.objects("target")[:100]:
        if (target.text("type") or "") in ("User", "AppUser", "NewUser"):
            evidence.user(
                _word(target.text("alternateId")),
                object_id=target.text("id") if target.text("type") != "AppUser" else None,
                display=target.text("displayName"),
            )
        elif target.text("type") in ("AppInstance", "App", "AppGroup"):
            evidence.app(target.text("displayName"))
    evidence.ip(address, ("source",), place)
    for hop in row.objects("request.ipChain")[:20]:
        evidence.ip(hop.text("ip"), ("source",))
    device = row.object("device")
    evidence.host(
        device.text("name"), os=device.text("platform", "os_platform"), version=device.text("osVersion", "os_version")
    )
    evidence.ip(row.text("debugContext.debugData.suspiciousActivityEventIp"), ("suspicious",))  # what a user reported
    evidence.observe("domain", row.text("securityContext.domain"))
    return user


def _is_person(actor: Fields) -> bool:
    return (actor.text("type") or "User") in ("User", "AppUser", "SystemPrincipal") or "@" in (
        actor.text("alternateId") or ""
    )


# ---------------------------------------------------------------- sign-ins, events


def _sign_in(row: Fields, kind: str) -> Iterator[GraphObject]:
    evidence = Evidence()
    _entities(row, evidence)
    actor, client, device = row.object("actor"), row.object("client"), row.object("device")
    app = next((target for target in row.objects("target") if target.text("type") == "AppInstance"), Fields(None))
    by_factor, code = kind.endswith("auth_via_mfa"), _code(row, kind)
    factor = row.text("debugContext.debugData.factor")
    said = SignIn(
        provider="okta",
        id=row.text("uuid") or content_id(row.data),
        at=first_time(row, "published"),
        upn=_word(actor.text("alternateId")),
        user_id=_word(actor.text("id")),
        display=_word(actor.text("displayName")),
        app=app.text("displayName") or "Okta",
        app_id=app.text("id"),
        resource="Okta",
        address=_address(row),
        place=_place(row),
        asn=row.integer("securityContext.asNumber"),
        client=_word(client.text("device")),
        user_agent=client.text("userAgent.rawUserAgent"),
        browser=_word(client.text("userAgent.browser")),
        os=_word(client.text("userAgent.os")) or device.text("platform", "os_platform"),
        device_id=device.text("id"),
        device=device.text("name"),
        managed=device.flag("managed"),
        code=code,
        reason=row.text("outcome.reason") or (row.text("outcome.result") if code else None),
        factors=by_factor,
        steps=[Step(factor, code == Code.OK)] if by_factor and factor else [],
        policy="failure" if row.text("outcome.result") == "DENY" else "notApplied",
        risk=_risk(row) or "none",
        correlation_id=_word(row.text("authenticationContext.rootSessionId", "transaction.id")),
        session_id=_word(row.text("authenticationContext.externalSessionId")),
    )
    yield from sign_in(said, evidence.observed)


def _code(row: Fields, kind: str) -> int:
    result, reason = (row.text("outcome.result") or "").upper(), row.text("outcome.reason")
    if result not in _REJECTED:
        return Code.OK
    if (code := _ERRORS.get((reason or "").upper())) is not None:
        return code
    return Code.BLOCKED if result == "DENY" else Code.FACTOR_FAILED if kind.endswith("auth_via_mfa") else Code.FAILED


def _event(row: Fields, kind: str) -> Event:
    evidence = Evidence()
    _entities(row, evidence)
    actor, place, security = row.object("actor"), _place(row), row.object("securityContext")
    columns: dict[str, Any] = {
        "EventId": row.text("uuid"),
        "EventType": kind,
        "LegacyEventType": row.text("legacyEventType"),
        "Message": row.text("displayMessage"),
        "Severity": row.text("severity"),
        "Outcome": row.text("outcome.result"),
        "Reason": row.text("outcome.reason"),
        "HostName": row.text("device.name"),
        "UserName": _word(actor.text("alternateId")),
        "ActorId": actor.text("id"),
        "ActorType": actor.text("type"),
        "ActorDisplayName": actor.text("displayName"),
        "TargetNames": [text for item in row.objects("target")[:100] if (text := item.text("displayName"))] or None,
        "SourceIP": _address(row),
        "DomainName": security.text("domain"),
        "City": place.city,
        "State": place.state,
        "Country": country_code(place.country) or place.country,
        "Latitude": place.latitude,
        "Longitude": place.longitude,
        **read_columns(security, {"AsNumber": "int asNumber"}),
        "IsProxy": security.flag("isProxy"),
        "UserAgent": row.text("client.userAgent.rawUserAgent"),
        "SessionId": _word(row.text("authenticationContext.externalSessionId")),
        "TransactionId": row.text("transaction.id"),
        "Risk": _risk(row),
    }
    return event("OktaSystemLog", first_time(row, "published", "p_event_time"), columns, evidence, row.rest(_USED))
