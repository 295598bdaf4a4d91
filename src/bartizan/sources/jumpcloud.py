"""JumpCloud: Directory Insights. Logins to the portals, applications, devices, RADIUS and LDAP are Graph signIns and
events; the rest are events.

Source: JumpCloud, "Directory Insights API", "View the Directory Insights Activity Log".
"""

from collections.abc import Iterator, Mapping

from bartizan.extend import Event, GraphObject
from bartizan.sources.evidence import Evidence, Place
from bartizan.sources.fields import Fields, content_id
from bartizan.sources.shape import Shape
from bartizan.sources.sign_ins import Code, SignIn, Step, sign_in, why
from bartizan.sources.times import first_time

# Types that are a sign-in -> what it was to.
_LOGINS: Mapping[str, str] = {
    "user_login_attempt": "JumpCloud User Portal",
    "admin_login_attempt": "JumpCloud Admin Portal",
    "sso_auth": "JumpCloud SSO",
    "radius_auth_attempt": "JumpCloud RADIUS",
    "radius_auth": "JumpCloud RADIUS",
    "ldap_bind": "JumpCloud LDAP",
    "login_attempt": "JumpCloud device",
    "saml_auth": "JumpCloud SSO",
    "oidc_auth": "JumpCloud SSO",
}


class JumpCloud(Shape):
    name = "jumpcloud"
    vendor = "JumpCloud"
    product = "Directory Insights"
    marks = (
        "initiated_by+event_type+service+success initiated_by+event_type+organization "
        "service+organization+client_ip+event_type initiated_by+success+service "
        "service+organization+event_type+timestamp service=systems+event_type+system"
    )
    sourcetypes = ("jumpcloud", "jumpcloud:*")
    table = "JumpCloudEvents"
    wrappers = ("results", "events")
    columns = {
        "EventId": "id",
        "EventType": "event_type",
        "Service": "service",
        "Outcome": "success",
        "UserName": "initiated_by.email initiated_by.username username",
        "UserId": "initiated_by.id",
        "ActorType": "initiated_by.type",
        "SourceIP": "client_ip src_ip",
        "HostName": "system.hostname system.displayName",
        "Application": "application.display_label application.name",
        "Target": "resource.username resource.name association.connection.to.name",
        "City": "geoip.city geoip.region_name",
        "Country": "geoip.country_code",
        "UserAgent": "useragent.name",
        "AuthMethod": "auth_method",
        "Mfa": "flag mfa",
        "Message": "error_message message",
    }

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        actor, resource = fields.object("initiated_by"), fields.object("resource")
        if (actor.text("type") or "user") in ("user", "admin"):
            evidence.user(actor.text("email", "username"), object_id=actor.text("id"))
            evidence.user(actor.text("username"))
        evidence.user(fields.text("username"))
        if (resource.text("type") or "") in ("user", "admin"):
            evidence.user(resource.text("username", "email"), object_id=resource.text("id"))
            evidence.user(resource.text("email") if resource.has("username") else None)
        for side in (fields.object("association.connection.from"), fields.object("association.connection.to")):
            _named(side, evidence)
        if (resource.text("type") or "") not in ("user", "admin"):
            _named(resource, evidence)
        evidence.ip(fields.text("client_ip", "src_ip"), ("source",), _place(fields))
        system = fields.object("system")
        evidence.host(system.text("hostname", "displayName"), os=system.text("os", "osFamily"))
        evidence.app(fields.text("application.display_label", "application.name"))
        if fields.text("service") == "systems" and fields.has("process_name"):
            evidence.process(None, name=fields.text("process_name"))

    def event(self, fields: Fields) -> Iterator[Event | GraphObject]:
        kind = (fields.text("event_type") or "").lower()
        if kind in _LOGINS:
            evidence = Evidence()
            self.entities(fields, evidence)
            yield from sign_in(_said(fields, _LOGINS[kind]), evidence.observed)
        yield from super().event(fields)


def _named(item: Fields, evidence: Evidence) -> None:
    """One end of an association, or a resource."""
    kind, name = item.text("type"), item.text("name", "displayName", "hostname")
    if kind == "user":
        evidence.user(name, object_id=item.text("object_id"))
    elif kind == "system":
        evidence.host(name)
    elif kind in ("user_group", "system_group"):
        evidence.group(name, group_id=item.text("object_id", "id"))
    elif kind == "application":
        evidence.app(name)


def _place(fields: Fields) -> Place:
    where = fields.object("geoip")
    return Place(
        country=where.text("country_code"),
        city=where.text("city"),
        state=where.text("region_name"),
        latitude=where.number("latitude"),
        longitude=where.number("longitude"),
    )


def _said(fields: Fields, resource: str) -> SignIn:
    actor, agent, system = fields.object("initiated_by"), fields.object("useragent"), fields.object("system")
    passed, reason = fields.flag("success") is True, fields.text("error_message")
    code = Code.OK if passed else why(reason)
    factor = fields.text("mfa_meta.type", "auth_meta.mfa_type")
    used = bool(fields.flag("mfa")) or factor is not None
    browser, version = agent.text("name"), agent.text("version")
    return SignIn(
        provider="jumpcloud",
        id=fields.text("id") or content_id(fields.data),
        at=first_time(fields, "timestamp"),
        upn=actor.text("email", "username") or fields.text("username"),
        user_id=actor.text("id"),
        app=fields.text("application.display_label", "application.name") or resource,
        app_id=fields.text("application.id"),
        resource=resource,
        address=fields.text("client_ip", "src_ip"),
        place=_place(fields),
        client=None if agent else fields.text("auth_type", "service"),
        browser=f"{browser} {version}" if browser and version else browser,
        os=agent.text("os_full", "os") or system.text("os", "osFamily"),
        device_id=system.text("id"),
        device=system.text("hostname", "displayName"),
        managed=True if system else None,
        code=code,
        reason=reason,
        factors=used,
        steps=[Step(factor, passed)] if factor else [],
        protocol=fields.text("auth_meta.protocol", "eap_type"),
        policy="failure" if code in (Code.BLOCKED, Code.NOT_ASSIGNED) else "notApplied",
    )
