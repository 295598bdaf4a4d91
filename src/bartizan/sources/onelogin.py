"""OneLogin: the event log. Logins are Graph signIns and events, the rest events.

An event's type is a number; the API's list of event types gives its name, some senders write it beside.
Source: OneLogin API, "Events", "Event Types"; OneLogin, "Event Webhooks".
"""

from collections.abc import Iterator, Mapping

from bartizan.extend import Event, GraphObject
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, content_id
from bartizan.sources.shape import Shape
from bartizan.sources.sign_ins import Code, Risk, SignIn, Step, sign_in, why
from bartizan.sources.times import first_time

_TO_ONELOGIN, _FAILED, _TO_APP = 5, 6, 8
_BY_NAME: Mapping[str, int] = {
    "USER_LOGGED_INTO_ONELOGIN": _TO_ONELOGIN,
    "USER_FAILED_ONELOGIN_LOGIN": _FAILED,
    "USER_LOGGED_INTO_APP": _TO_APP,
}
_MEDIUM, _HIGH = 40, 70  # of the risk score, 0 to 100; a lower one is that of a usual login


class OneLogin(Shape):
    name = "onelogin"
    vendor = "One Identity"
    product = "OneLogin"
    marks = (
        "event_type_name+user_name+ipaddr event_timestamp+event_type_name event_type_id+actor_user_name "
        "event_type_id+account_id event_type_id+user_name+user_id event_type_id+ipaddr "
        "event_type_id+created_at"
    )
    sourcetypes = ("onelogin", "onelogin:*")
    table = "OneLoginEvents"
    wrappers = ("data", "events")
    columns = {
        "EventId": "uuid id create._id",
        "EventTypeId": "int event_type_id",
        "EventType": "event_type_name event_type_id",
        "UserName": "user_name login_name",
        "UserId": "user_id",
        "ActorName": "actor_user_name actor_system",
        "ActorId": "actor_user_id",
        "SourceIP": "ipaddr",
        "Application": "app_name",
        "Role": "role_name",
        "Group": "group_name",
        "Privilege": "privilege_name",
        "Policy": "policy_name",
        "AuthDevice": "otp_device_name",
        "RiskScore": "int risk_score",
        "RiskReasons": "risk_reasons",
        "Message": "custom_message notes error_description",
    }

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        evidence.user(fields.text("login_name", "user_name"), object_id=fields.text("user_id"))
        evidence.user(fields.text("user_name"))
        actor = fields.text("actor_user_id")
        if actor != fields.text("user_id"):
            evidence.user(fields.text("actor_user_name"), object_id=actor)
        evidence.ip(fields.text("ipaddr"), ("source",))
        evidence.ip(fields.text("proxy_ip"))
        evidence.app(fields.text("app_name"))
        evidence.group(fields.text("group_name"))

    def event(self, fields: Fields) -> Iterator[Event | GraphObject]:
        kind = fields.integer("event_type_id") or _BY_NAME.get(fields.text("event_type_name", "event_type") or "")
        if kind in _BY_NAME.values():
            evidence = Evidence()
            self.entities(fields, evidence)
            yield from sign_in(_said(fields, failed=kind == _FAILED), evidence.observed)
        yield from super().event(fields.also({"timestamp": fields.raw("event_timestamp", "created_at")}))


def _said(fields: Fields, *, failed: bool) -> SignIn:
    reason, score = fields.text("error_description", "custom_message", "notes"), fields.number("risk_score") or 0
    code = why(reason) if failed else Code.OK
    device = fields.text("otp_device_name")
    risk: Risk = "high" if score >= _HIGH else "medium" if score >= _MEDIUM else "none"
    return SignIn(
        provider="onelogin",
        id=fields.text("uuid", "id", "create._id") or content_id(fields.data),
        at=first_time(fields, "event_timestamp", "created_at"),
        upn=fields.text("login_name", "user_name"),
        user_id=fields.text("user_id"),
        display=fields.text("user_name"),
        app=fields.text("app_name") or "OneLogin",
        app_id=fields.text("app_id"),
        resource="OneLogin",
        address=fields.text("ipaddr"),
        user_agent=fields.text("user_agent"),
        code=code,
        reason=reason,
        factors=device is not None,
        steps=[Step(device, not failed)] if device else [],
        policy="failure" if code == Code.BLOCKED else "notApplied",
        policies=fields.texts("policy_name") if code == Code.BLOCKED else (),
        risk=risk,
    )
