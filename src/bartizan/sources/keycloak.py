"""Keycloak: user events and admin events, as JSON of the admin API or a listener, or as lines of the server's log.

Logins and exchanges of tokens are Graph signIns and events; a lockout by brute force detection is an alert.
Source: Keycloak, "Server Administration Guide", sections "Auditing user events", "Auditing admin events"; its
packages events (EventType, Errors); "Configuring logging", ECS format.
"""

import re
from collections.abc import Iterable, Iterator, Mapping

from bartizan.extend import Event, GraphObject, Record
from bartizan.model.alert import Alert
from bartizan.sources import syslog
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, content_id, objects_of
from bartizan.sources.shape import Paths, Shape
from bartizan.sources.sign_ins import Code, Kind, SignIn, Step, sign_in, why
from bartizan.sources.times import first_time

_MAX_LINE_CHARS = 8_192
_PAIR = re.compile(r'(\w{1,64})=(?:"((?:[^"\\]|\\.){0,2048})"|([^,]{0,2048}))(?=,|\s*$)')
_LINE_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?")
_EVENT = re.compile(r'\b(?:type|operationType)="?[A-Z][A-Z_]{2,}\b')
# Types that are a sign-in, without _ERROR. CODE_TO_TOKEN follows each LOGIN, so only its failure counts.
_LOGINS: Mapping[str, Kind] = {
    "LOGIN": "interactiveUser",
    "IDENTITY_PROVIDER_LOGIN": "interactiveUser",
    "IDENTITY_PROVIDER_POST_LOGIN": "interactiveUser",
    "CLIENT_LOGIN": "servicePrincipal",
    "REFRESH_TOKEN": "nonInteractiveUser",
    "TOKEN_EXCHANGE": "nonInteractiveUser",
    "IMPERSONATE": "nonInteractiveUser",
    "OAUTH2_DEVICE_CODE_TO_TOKEN": "nonInteractiveUser",
}
_ONLY_ERRORS: Mapping[str, Kind] = {"CODE_TO_TOKEN": "nonInteractiveUser", "PERMISSION_TOKEN": "nonInteractiveUser"}
_CODES: Mapping[str, int] = {
    "invalid_user_credentials": Code.WRONG_PASSWORD,
    "user_not_found": Code.UNKNOWN_USER,
    "username_missing": Code.UNKNOWN_USER,
    "user_disabled": Code.DISABLED,
    "user_temporarily_disabled": Code.LOCKED_OUT,
    "account_temporarily_disabled": Code.LOCKED_OUT,
    "invalid_client": Code.UNKNOWN_CLIENT,
    "client_not_found": Code.UNKNOWN_CLIENT,
    "client_disabled": Code.UNKNOWN_CLIENT,
    "unauthorized_client": Code.UNKNOWN_CLIENT,
    "invalid_client_credentials": Code.WRONG_CLIENT_SECRET,
    "invalid_code": Code.WRONG_GRANT,
    "invalid_token": Code.WRONG_GRANT,
    "code_not_found": Code.WRONG_GRANT,
    "expired_code": Code.GRANT_EXPIRED,
    "session_expired": Code.GRANT_EXPIRED,
    "user_session_not_found": Code.SESSION_INVALID,
    "consent_denied": Code.CONSENT_MISSING,
    "rejected_by_user": Code.CONSENT_MISSING,
    "not_allowed": Code.BLOCKED,
    "access_denied": Code.BLOCKED,
    "invalid_user_otp": Code.FACTOR_FAILED,
    "resolve_required_actions": Code.FACTOR_REQUIRED,
}
_LOCKOUTS = {
    "USER_DISABLED_BY_TEMPORARY_LOCKOUT": "User locked out for a time after failed logins",
    "USER_DISABLED_BY_PERMANENT_LOCKOUT": "User locked out after failed logins",
}


class Keycloak(Shape):
    name = "keycloak"
    vendor = "Keycloak"
    product = "Keycloak"
    marks = (
        "realmId+type+clientId realmId+operationType+resourceType realmName+type+clientId "
        "log.logger=org.keycloak* log.logger=org.keycloak*+message realmId+authDetails "
        "operationType+authDetails+resourcePath loggerName=org.keycloak* service.name=keycloak*"
    )
    pattern = re.compile(r"\[org\.keycloak\.|type=\"?[A-Z_]+\"?, realmId=|operationType=\"?\w+\"?, realmId=")
    sourcetypes = ("keycloak", "keycloak:*")
    table = "KeycloakEvents"
    also_events = True
    columns = {
        "EventId": "id uid",
        "EventType": "type operationType",
        "Outcome": "error",
        "RealmId": "realmId",
        "RealmName": "realmName",
        "ClientId": "clientId authDetails.clientId",
        "UserId": "userId authDetails.userId",
        "UserName": "details.username username authDetails.username",
        "SessionId": "sessionId details.session_id",
        "SourceIP": "ipAddress authDetails.ipAddress",
        "AuthMethod": "details.auth_method auth_method",
        "GrantType": "details.grant_type grant_type",
        "RedirectUri": "details.redirect_uri redirect_uri",
        "ResourceType": "resourceType",
        "ResourcePath": "resourcePath",
        "HostName": "host.hostname",
        "ProcessName": "process.name",
        "Message": "message",
    }
    alert = Paths(
        id="id uid",
        category="CredentialAccess",
        detector="type",
        vendor_category="type",
        first="time @timestamp timestamp",
        fold="userId username",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        found = objects_of(record, "events", "adminEvents")
        for fields in found:
            said = fields.text("message", "log", "event.original")
            known = (fields.text("type", "operationType") or "").isupper()
            yield fields if known else _spoken(said or "", fields)
        if not found and _EVENT.search(record.text[:_MAX_LINE_CHARS]):
            yield _spoken(record.text, Fields({}))

    def is_alert(self, fields: Fields) -> bool:
        return fields.text("type") in _LOCKOUTS

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        _people(fields, evidence)
        evidence.host(fields.text("host.hostname", "host.name"))
        evidence.process(None, path=fields.text("process.name"), pid=fields.integer("process.pid"))

    def finish(self, fields: Fields, alert: Alert) -> None:
        alert.title = _LOCKOUTS[fields.text("type") or ""]
        alert.severity = "high" if "PERMANENT" in (alert.detector_id or "") else "medium"

    def event(self, fields: Fields) -> Iterator[Event | GraphObject]:
        kind = fields.text("type") or ""
        plain = kind.removesuffix("_ERROR")
        failed = plain != kind or fields.has("error")
        who = _LOGINS.get(plain) or (_ONLY_ERRORS.get(plain) if failed else None)
        if who is not None:
            evidence = Evidence()
            _people(fields, evidence)
            yield from sign_in(_said(fields, who, failed=failed), evidence.observed)
        yield from super().event(fields)


def _spoken(text: str, around: Fields) -> Fields:
    """The pairs that a line says, beside what the log's envelope says; details are among them."""
    shown = text[:_MAX_LINE_CHARS]
    head = syslog.read(shown)
    pairs = {name: quoted or bare for name, quoted, bare in _PAIR.findall(shown)} if _EVENT.search(shown) else {}
    at = _LINE_TIME.match(head.message)
    # The server writes local time without its zone, a header in front of that says which instant it was.
    said = head.time or (at[0].replace(",", ".") if at is not None else None)
    line = {"timestamp": said} if said is not None else {}
    line |= {"host.name": head.host} if head.host is not None and not around else {}
    return Fields({"message": shown, **around.data, **line, **pairs})


def _people(fields: Fields, evidence: Evidence) -> None:
    name = fields.text("details.username", "username", "authDetails.username")
    evidence.user(name, object_id=fields.text("userId", "authDetails.userId"))
    evidence.user(fields.text("details.email", "email"))
    evidence.ip(fields.text("ipAddress", "authDetails.ipAddress"), ("source",))
    evidence.app(fields.text("clientId", "authDetails.clientId"))
    evidence.url(fields.text("details.redirect_uri", "redirect_uri"))


def _said(fields: Fields, who: Kind, *, failed: bool) -> SignIn:
    error, client = fields.text("error"), fields.text("clientId")
    code = (_CODES.get(error or "") or why(error, Code.FAILED)) if failed else Code.OK
    workload = who == "servicePrincipal"
    factor = fields.text("details.credential_type", "credential_type")
    name = fields.text("details.username", "username")
    return SignIn(
        provider="keycloak",
        id=fields.text("id", "uid") or content_id(fields.data),
        at=first_time(fields, "time", "@timestamp", "timestamp"),
        upn=None if workload else name,
        user_id=None if workload else fields.text("userId"),
        principal_id=fields.text("userId") or client if workload else None,
        principal_name=name or client if workload else None,
        kinds=[who],
        app=client,
        app_id=client,
        resource=fields.text("realmName", "realmId") or "Keycloak",
        address=fields.text("ipAddress"),
        code=code,
        reason=error,
        factors=(factor or "password") != "password",
        steps=[Step(factor, not failed)] if factor else [],
        protocol=fields.text("details.grant_type", "grant_type", "details.auth_method", "auth_method"),
        session_id=fields.text("sessionId", "details.code_id", "code_id"),
        policy="failure" if code == Code.BLOCKED else "notApplied",
    )
