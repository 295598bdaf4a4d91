"""Auth0: the tenant log. Sign-ins and exchanges of tokens are Graph signIns and events; what attack protection found is
an alert.

Source: Auth0 Management API, `GET /api/v2/logs`; "Log Event Type Codes"; "Attack Protection Log Events".
"""

from collections.abc import Iterable, Iterator, Mapping

from bartizan.extend import Event, GraphObject, Record
from bartizan.model.alert import Alert, Severity
from bartizan.sources.evidence import Evidence, Place
from bartizan.sources.fields import Fields, content_id, objects_of
from bartizan.sources.shape import Paths, Shape
from bartizan.sources.sign_ins import Code, Kind, SignIn, Step, sign_in
from bartizan.sources.times import first_time

# Types of events that are findings of attack protection -> (title, severity, tactic).
_FOUND: Mapping[str, tuple[str, Severity, str]] = {
    "limit_wc": ("Account blocked after too many failed logins", "medium", "CredentialAccess"),
    "limit_sul": ("User blocked for too many logins", "medium", "CredentialAccess"),
    "limit_mu": ("Address blocked for failed logins of many users", "high", "CredentialAccess"),
    "limit_ui": ("Too many calls to userinfo", "low", "Discovery"),
    "limit_delegation": ("Too many delegation requests", "low", "CredentialAccess"),
    "pwd_leak": ("Login with a leaked password", "high", "CredentialAccess"),
    "signup_pwd_leak": ("Sign-up with a leaked password", "medium", "CredentialAccess"),
    "reset_pwd_leak": ("Password changed to a leaked one", "medium", "CredentialAccess"),
    "gd_otp_rate_limit_exceed": ("Too many one-time codes tried", "medium", "CredentialAccess"),
    "gd_recovery_rate_limit_exceed": ("Too many recovery codes tried", "medium", "CredentialAccess"),
    "gd_webauthn_rate_limit_exceed": ("Too many tries of a security key", "medium", "CredentialAccess"),
}
_REUSED = "reused refresh token"  # of ferrt, which is also what an expired one gives
# Types that are a sign-in, or an exchange of one grant for a token.
_LOGINS: Mapping[str, tuple[int, Kind]] = {
    "s": (Code.OK, "interactiveUser"),
    "scoa": (Code.OK, "interactiveUser"),
    "ssa": (Code.OK, "nonInteractiveUser"),
    "seacft": (Code.OK, "nonInteractiveUser"),
    "sepft": (Code.OK, "nonInteractiveUser"),
    "sercft": (Code.OK, "nonInteractiveUser"),
    "sertft": (Code.OK, "nonInteractiveUser"),
    "sede": (Code.OK, "nonInteractiveUser"),
    "seoobft": (Code.OK, "nonInteractiveUser"),
    "seotpft": (Code.OK, "nonInteractiveUser"),
    "sepotpft": (Code.OK, "nonInteractiveUser"),
    "sens": (Code.OK, "nonInteractiveUser"),
    "secte": (Code.OK, "nonInteractiveUser"),
    "seccft": (Code.OK, "servicePrincipal"),
    "f": (Code.FAILED, "interactiveUser"),
    "fu": (Code.UNKNOWN_USER, "interactiveUser"),
    "fp": (Code.WRONG_PASSWORD, "interactiveUser"),
    "fc": (Code.FAILED, "interactiveUser"),
    "fco": (Code.BLOCKED, "interactiveUser"),
    "fcoa": (Code.FAILED, "interactiveUser"),
    "fsa": (Code.FAILED, "nonInteractiveUser"),
    "feacft": (Code.WRONG_GRANT, "nonInteractiveUser"),
    "fepft": (Code.WRONG_PASSWORD, "nonInteractiveUser"),
    "fercft": (Code.FACTOR_FAILED, "nonInteractiveUser"),
    "fertft": (Code.GRANT_EXPIRED, "nonInteractiveUser"),
    "ferrt": (Code.GRANT_EXPIRED, "nonInteractiveUser"),
    "fede": (Code.WRONG_GRANT, "nonInteractiveUser"),
    "feoobft": (Code.FACTOR_FAILED, "nonInteractiveUser"),
    "feotpft": (Code.FACTOR_FAILED, "nonInteractiveUser"),
    "fepotpft": (Code.FACTOR_FAILED, "nonInteractiveUser"),
    "fens": (Code.FAILED, "nonInteractiveUser"),
    "fecte": (Code.WRONG_GRANT, "nonInteractiveUser"),
    "feccft": (Code.WRONG_CLIENT_SECRET, "servicePrincipal"),
    "gd_auth_succeed": (Code.OK, "interactiveUser"),
    "gd_auth_failed": (Code.FACTOR_FAILED, "interactiveUser"),
    "gd_auth_rejected": (Code.FACTOR_FAILED, "interactiveUser"),
    "limit_wc": (Code.LOCKED_OUT, "interactiveUser"),
    "limit_sul": (Code.LOCKED_OUT, "interactiveUser"),
    "pwd_leak": (Code.BLOCKED_FOR_RISK, "interactiveUser"),
}
_FACTOR = ("gd_", "feoob", "seoob", "feotp", "seotp", "fercft", "sercft")


class Auth0(Shape):
    name = "auth0"
    vendor = "Okta"
    product = "Auth0"
    marks = (
        "log_id+data data.client_id+data.type+data.date data.log_id+data.type "
        "log_id+type+date+client_id+tenant_name log_id+type+date"
    )
    sourcetypes = ("auth0", "auth0:*", "auth0_tenant_logs")
    table = "Auth0Events"
    also_events = True
    columns = {
        "EventId": "log_id _id",
        "EventType": "type",
        "Message": "description",
        "UserName": "user_name details.request.auth.user.email user_email",
        "UserId": "user_id",
        "ClientId": "client_id",
        "ClientName": "client_name",
        "Connection": "connection",
        "Audience": "audience",
        "Scope": "scope",
        "SourceIP": "ip client_ip",
        "UserAgent": "user_agent",
        "Country": "location_info.country_code location_info.country_name",
        "City": "location_info.city_name",
        "RequestPath": "details.request.path",
        "RequestMethod": "details.request.method",
    }
    alert = Paths(id="log_id _id", first="date", detector="type", vendor_category="type", fold="user_id ip")

    def read(self, record: Record) -> Iterable[Fields]:
        for fields in objects_of(record, "logs", "Records"):
            inner = fields.object("data") or fields.object("detail.data") or fields.object("detail")
            yield inner if inner.has("type", "log_id") else fields

    def is_alert(self, fields: Fields) -> bool:
        return _found(fields) is not None

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        who, body = fields.object("details.request.auth.user"), fields.object("details.request.body")
        name, own_id = fields.text("user_name", "user_email"), fields.text("user_id")
        evidence.user(name, object_id=own_id)
        evidence.user(who.text("email"), object_id=who.text("user_id"), display=who.text("name"))
        for text in (
            body.text("email", "invitee.email", "user.email"),
            fields.text("details.to"),
            *body.texts("owners")[:20],
        ):
            evidence.user(text if "@" in (text or "") else None)
        evidence.ip(_address(fields), ("source",), _place(fields))
        evidence.ip(fields.text("details.request.ip"), ("source",))
        evidence.app(fields.text("client_name"))
        evidence.domain(fields.text("hostname"))

    def finish(self, fields: Fields, alert: Alert) -> None:
        found = _found(fields)
        if found is not None:
            alert.title, alert.severity, alert.category = found
            alert.categories = [found[2]]
        alert.description = fields.text("description")

    def event(self, fields: Fields) -> Iterator[Event | GraphObject]:
        if fields.text("type") in _LOGINS:
            evidence = Evidence()
            self.entities(fields, evidence)
            yield from sign_in(_said(fields), evidence.observed)
        yield from super().event(fields)


def _found(fields: Fields) -> tuple[str, Severity, str] | None:
    if _REUSED in (fields.text("description") or "").lower():
        return "Refresh token used again", "high", "CredentialAccess"
    return _FOUND.get(fields.text("type") or "")


def _address(fields: Fields) -> str | None:
    return fields.text("ip", "client_ip")


def _place(fields: Fields) -> Place:
    where = fields.object("location_info")
    return Place(
        country=where.text("country_code", "country_name"),
        city=where.text("city_name"),
        latitude=where.number("latitude"),
        longitude=where.number("longitude"),
    )


def _said(fields: Fields) -> SignIn:
    kind = fields.text("type") or ""
    code, who = _LOGINS[kind]
    by_factor = kind.startswith(_FACTOR)
    workload = who == "servicePrincipal"
    return SignIn(
        provider="auth0",
        id=fields.text("log_id", "_id") or content_id(fields.data),
        at=first_time(fields, "date"),
        upn=fields.text("user_name", "user_email", "details.request.auth.user.email"),
        user_id=fields.text("user_id"),
        principal_id=fields.text("client_id") if workload else None,
        principal_name=fields.text("client_name") if workload else None,
        kinds=[who],
        app=fields.text("client_name"),
        app_id=fields.text("client_id"),
        resource=fields.text("audience") or "Auth0",
        address=_address(fields),
        place=_place(fields),
        user_agent=fields.text("user_agent"),
        code=code,
        reason=fields.text("description", "details.error.message"),
        factors=by_factor or bool(fields.flag("details.stats.mfa")),
        steps=[Step(fields.text("details.authenticator", "strategy") or "otp", code == Code.OK)] if by_factor else [],
        protocol=fields.text("details.actions.protocol", "details.prompts.flow"),
        session_id=fields.text("session_id", "details.session_id"),
        policy="failure" if code in (Code.BLOCKED, Code.BLOCKED_FOR_RISK) else "notApplied",
    )
