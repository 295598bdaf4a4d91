"""Duo: authentication, administrator, telephony and activity logs, and what Trust Monitor surfaces.

An authentication is a Graph signIn and an event. A push that its user reported as fraud, one that Duo calls anomalous,
and what Trust Monitor surfaces are alerts.
Source: Duo Admin API, "Authentication Logs" (v1 and v2), "Administrator Logs", "Activity Logs", "Telephony Logs",
"Trust Monitor".
"""

import re
from collections.abc import Iterable, Iterator, Mapping

from bartizan.extend import Event, GraphObject, Record
from bartizan.model.alert import Alert
from bartizan.sources import common_security_log
from bartizan.sources.evidence import Evidence, Place
from bartizan.sources.fields import Fields, content_id, objects_of
from bartizan.sources.shape import Paths, Shape
from bartizan.sources.sign_ins import Code, SignIn, Step, sign_in
from bartizan.sources.times import first_time

# Reasons of a refusal; what is not here is a factor that failed.
_CODES: Mapping[str, int] = {
    "locked_out": Code.LOCKED_OUT,
    "frequent_attempts": Code.LOCKED_OUT,
    "user_disabled": Code.DISABLED,
    "deny_unenrolled_user": Code.FACTOR_NOT_ENROLLED,
    "invalid_device": Code.WRONG_DEVICE,
    "rooted_device": Code.WRONG_DEVICE,
    "no_disk_encryption": Code.WRONG_DEVICE,
    "no_screen_lock": Code.WRONG_DEVICE,
    "out_of_date": Code.WRONG_DEVICE,
    "endpoint_is_not_trusted": Code.WRONG_DEVICE,
    "endpoint_is_not_in_management_system": Code.WRONG_DEVICE,
    "could_not_determine_if_endpoint_was_trusted": Code.WRONG_DEVICE,
    "no_duo_certificate_present": Code.WRONG_DEVICE,
    "platform_restricted": Code.BLOCKED,
    "version_restricted": Code.BLOCKED,
    "software_restricted": Code.BLOCKED,
    "location_restricted": Code.BLOCKED,
    "factor_restricted": Code.BLOCKED,
    "denied_by_policy": Code.BLOCKED,
    "denied_network": Code.BLOCKED,
    "anonymous_ip": Code.BLOCKED,
    "user_not_in_permitted_group": Code.NOT_ASSIGNED,
    "error": Code.FAILED,
}
# Names of the JSON -> where DuoLogSync and other tools that write CEF say the same.
_CEF = {
    "txid": "txid,externalId",
    "event_type": "deviceEventClassId",
    "user.name": "duser,suser,usrName",
    "result": "outcome,result,act",
    "reason": "reason",
    "factor": "factor,Factor,authentication_factor",
    "application.name": "integration,application,Application,sproc,app",
    "access_device.ip": "src,ip",
    "timestamp": "rt,devTime,start,syslogTime",
}
_BY_POLICY = frozenset({Code.BLOCKED, Code.WRONG_DEVICE, Code.NOT_ASSIGNED})
_WITHOUT_FACTOR = frozenset(
    """
    bypass_user trusted_network trusted_location remembered_device allowed_by_policy allow_unenrolled_user
    allow_unenrolled_user_on_trusted_network
    """.split()
)
_FRAUD, _ANOMALOUS, _SURFACED = "user_marked_fraud", "anomalous_push", "trust_monitor"
_TITLES = {
    _FRAUD: "Push reported as fraud by its user",
    _ANOMALOUS: "Anomalous push denied",
    _SURFACED: "Authentication surfaced by Trust Monitor",
}
# Of what else Trust Monitor surfaces, by its type.
_SURFACED_TITLES = {
    "bypass_status": "Bypass status surfaced by Trust Monitor",
    "device_registration": "Registration of a device surfaced by Trust Monitor",
}


class Duo(Shape):
    name = "duo"
    vendor = "Cisco"
    product = "Duo"
    marks = (
        "action=admin_*+username action+username+timestamp+description+object "
        "event_type=authentication+txid+factor access_device+factor+result "
        "access_device+application+event_type eventtype=authentication+txid+result "
        "eventtype=telephony*+phone+ts telephony_id+phone+type isotimestamp+username+action "
        "isotimestamp+eventtype isotimestamp+factor+ip action+description+isotimestamp surfaced_auth+sekey "
        "surfaced_timestamp+explanations surfaced_timestamp+sekey event_type=authentication+auth_device "
        "action.name+actor+akey p_log_type=duo.* context+credits+phone adminaction+isotimestamp activity_id+akey "
        "txid+auth_device+user response.authlogs"
    )
    pattern = re.compile(common_security_log.BEGINS + r"(?:Cisco\|Duo|Duo Security\|)", re.IGNORECASE)
    sourcetypes = ("cisco:duo:*", "duo:*", "duo")
    table = "DuoEvents"
    also_events = True
    wrappers = ("authlogs", "response", "events", "items")
    columns = {
        "Timestamp": "time timestamp isotimestamp surfaced_timestamp ts",
        "EventId": "txid activity_id telephony_id sekey",
        "EventType": "action.name action event_type eventtype context",
        "Outcome": "result outcome.result",
        "Reason": "reason",
        "Factor": "factor",
        "UserName": "user.name username actor.name email",
        "UserId": "user.key actor.key",
        "SourceIP": "access_device.ip.address access_device.ip ip",
        "Application": "application.name integration",
        "Target": "target.name object",
        "AuthDevice": "auth_device.name device",
        "City": "access_device.location.city location.city",
        "Country": "access_device.location.country location.country",
        "Message": "description action.details",
    }
    alert = Paths(
        id="sekey txid",
        category="CredentialAccess",
        first="timestamp isotimestamp surfaced_timestamp ts",
        updated="state_updated_timestamp",
        status="state",
        statuses={"processed": "resolved"},
        url="triage_event_uri",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        if lines := common_security_log.lines(record, _CEF):
            yield from lines
            return
        for fields in objects_of(record, *self.wrappers):
            yield from fields.each("authlogs") or fields.each("items") or fields.each("events") or [fields]

    def is_alert(self, fields: Fields) -> bool:
        return _verdict(fields) is not None

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        auth = fields.object("surfaced_auth") or fields
        said, device = _details(auth), auth.object("access_device")
        evidence.user(said.text("email"))
        evidence.user(_upn(auth), object_id=auth.text("user.key", "actor.key"))
        for path in ("username", "user.name", "actor.name"):
            evidence.user(auth.text(path))
        for path in ("enabled_for", "enabled_by"):
            evidence.user(fields.text(f"{path}.name"), object_id=fields.text(f"{path}.key"))
        if (auth.text("action") or "").startswith("user_") and "@" in (auth.text("object") or ""):
            evidence.user(auth.text("object"))
        evidence.ip(_address(auth) or said.text("ip_address"), ("source",), _place(auth))
        evidence.host(device.text("hostname"), os=device.text("os"), version=device.text("os_version"))
        evidence.app(auth.text("application.name", "integration"))

    def finish(self, fields: Fields, alert: Alert) -> None:
        verdict = _verdict(fields) or _SURFACED
        auth = fields.object("surfaced_auth") or fields
        alert.title, alert.detector_id, alert.vendor_category = _TITLES[verdict], verdict, verdict
        if verdict == _SURFACED:
            alert.title = _SURFACED_TITLES.get(fields.text("type") or "", alert.title)
        alert.severity = "high" if verdict == _FRAUD or fields.flag("priority_event") else "medium"
        alert.vendor_severity = "fraud" if verdict == _FRAUD else None
        alert.description = (
            "; ".join(fields.texts("explanations.summary")) or auth.text("reason") or _details(auth).text("error")
        )
        user = auth.text("user.key", "user.name", "username")
        alert.fingerprint = (verdict, user or "", _address(auth) or "")
        if fields.flag("triaged_as_interesting"):
            alert.classification = "truePositive"

    def event(self, fields: Fields) -> Iterator[Event | GraphObject]:
        auth = fields.object("surfaced_auth") or fields
        if _is_authentication(auth):
            evidence = Evidence()
            self.entities(auth, evidence)
            yield from sign_in(_said(auth), evidence.observed)
        if fields.has("deviceVendor"):
            yield from common_security_log.told(fields, self.entities)
        else:
            yield from super().event(fields)


def _verdict(fields: Fields) -> str | None:
    """What Duo or the user says that it is; None where nobody says anything."""
    if fields.has("sekey", "surfaced_timestamp"):
        return _SURFACED
    result, reason = (fields.text("result") or "").lower(), (fields.text("reason") or "").lower()
    if result == "fraud" or reason == _FRAUD:
        return _FRAUD
    if "fraud" in (_details(fields).text("error") or "").lower():  # an administrator's own push
        return _FRAUD
    return _ANOMALOUS if reason == _ANOMALOUS else None


def _details(fields: Fields) -> Fields:
    """What an administrator's action was about: JSON in a string."""
    return fields.object("description", "action.details")


def _is_authentication(fields: Fields) -> bool:
    if (fields.text("event_type") or "authentication").lower() != "authentication":
        return False
    return fields.has("result") and fields.has("factor", "txid", "integration") and fields.has("user", "username")


def _upn(fields: Fields) -> str | None:
    named = [text for path in ("email", "user.name", "username") if (text := fields.text(path)) and "@" in text]
    return named[0] if named else fields.text("user.name", "username")


def _address(fields: Fields) -> str | None:
    return fields.text("access_device.ip.address", "access_device.ip", "ip")


def _place(fields: Fields) -> Place:
    where = fields.object("access_device.location") or fields.object("location")
    return Place(country=where.text("country"), city=where.text("city"), state=where.text("state"))


def _said(fields: Fields) -> SignIn:
    device, reason = fields.object("access_device"), (fields.text("reason") or "").lower().replace(" ", "_")
    passed = (fields.text("result") or "").lower() in ("success", "allow")
    code = Code.OK if passed else _CODES.get(reason, Code.FACTOR_FAILED)
    factor, version = fields.text("factor"), device.text("browser_version")
    browser = device.text("browser")
    return SignIn(
        provider="duo",
        id=fields.text("txid") or content_id(fields.data),
        at=first_time(fields, "timestamp", "isotimestamp"),
        upn=_upn(fields),
        user_id=fields.text("user.key"),
        app=fields.text("application.name", "integration"),
        app_id=fields.text("application.key"),
        resource="Duo",
        address=_address(fields),
        place=_place(fields),
        browser=f"{browser} {version}" if browser and version else browser,
        os=" ".join(filter(None, (device.text("os"), device.text("os_version")))) or None,
        device_id=device.text("epkey"),
        device=device.text("hostname"),
        managed={"trusted": True, "not_trusted": False}.get(
            (fields.text("trusted_endpoint_status") or "").lower().replace(" ", "_")
        ),
        code=code,
        reason=fields.text("reason") or fields.text("result"),
        factors=reason not in _WITHOUT_FACTOR,
        steps=[Step(factor, passed, fields.text("reason"))] if factor else [],
        policy="failure" if code in _BY_POLICY else "notApplied",
    )
