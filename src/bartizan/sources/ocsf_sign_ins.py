"""OCSF's class Authentication as Graph signIns: logons at an identity provider or a service, not those of a machine.

Source: Open Cybersecurity Schema Framework 1.0 to 1.6, class Authentication (3002), object auth_factor.
"""

from bartizan.model.entities import url_host
from bartizan.sources.evidence import Place
from bartizan.sources.fields import Fields, content_id
from bartizan.sources.sign_ins import Code, SignIn, Step, why
from bartizan.sources.times import first_time

_AUTHENTICATION = 3002
_LOGON = 1
_FAILURE = 2
# Types of logons that an operating system tells apart: to a share, by a service, to unlock the screen, ...
_OF_MACHINES = frozenset({3, 4, 5, 7, 8, 9, 10, 11, 12, 13})


def is_sign_in(fields: Fields) -> bool:
    """Whether the record tells of a logon to something else than a machine."""
    if fields.integer("class_uid") != _AUTHENTICATION:
        return False
    if fields.integer("activity_id") != _LOGON and (fields.text("activity_name") or "").lower() != "logon":
        return False
    product = (fields.text("metadata.product.name") or "").lower()
    of_machine = fields.has("logon_process") or fields.integer("logon_type_id") in _OF_MACHINES or "windows" in product
    return not of_machine and bool(_user(fields))


def place(end: Fields) -> Place:
    """Where an endpoint is."""
    where = end.object("location")
    pair = where.raw("coordinates")  # longitude, latitude
    east, north = pair if isinstance(pair, list) and len(pair) == 2 else (None, None)
    point = Fields({"lat": north, "long": east})
    return Place(
        country=where.text("country"),
        city=where.text("city"),
        state=where.text("region"),
        latitude=where.number("lat") if where.has("lat") else point.number("lat"),
        longitude=where.number("long") if where.has("long") else point.number("long"),
    )


def said(fields: Fields) -> SignIn:
    """What a record that `is_sign_in` takes says; the id is the record's own, which of most is the provider's."""
    user, end, device = _user(fields), fields.object("src_endpoint"), fields.object("device")
    name, mail = user.text("name"), user.text("email_addr")
    failed = fields.integer("status_id") == _FAILURE or (fields.text("status") or "").lower() in ("failure", "failed")
    reason = fields.text("status_detail", "status_code") if failed else None
    factors = fields.objects("auth_factors")
    steps = [Step(word, not failed) for one in factors if (word := one.text("factor_type", "provider")) is not None]
    product = fields.text("metadata.product.vendor_name", "metadata.product.name") or "OCSF"
    return SignIn(
        provider=f"ocsf {product}",
        id=fields.text("metadata.uid", "metadata.original_event_uid") or content_id(fields.data),
        at=first_time(fields, "time", "time_dt", "metadata.original_time"),
        upn=next((text for text in (name, mail) if text and "@" in text), name),
        user_id=user.text("uid"),
        display=user.text("full_name") or name,
        app=_service(fields) or fields.text("metadata.product.name"),
        resource=fields.text("metadata.product.name"),
        address=end.text("ip") or device.text("ip"),
        place=place(end),
        asn=end.integer("autonomous_system.number"),
        user_agent=fields.text("http_request.user_agent"),
        os=device.text("os.name") or end.text("os.name"),
        device_id=device.text("uid"),
        device=device.text("hostname", "name"),
        managed=device.flag("is_managed"),
        compliant=device.flag("is_compliant"),
        code=why(reason, Code.FAILED) if failed else Code.OK,
        reason=reason or (fields.text("message") if failed else None),
        factors=fields.flag("is_mfa") is True or len(factors) > 1,
        steps=steps,
        protocol=fields.text("auth_protocol"),
        correlation_id=fields.text("metadata.correlation_uid"),
        session_id=fields.text("session.uid", "actor.session.uid"),
    )


def _service(fields: Fields) -> str | None:
    """To what; some mappings put the page of the logon there, of which the host is kept, a path alone names nothing."""
    for path in ("service.name", "dst_endpoint.svc_name", "dst_endpoint.hostname"):
        name = fields.text(path)
        if name is not None and not name.startswith("/"):
            return url_host(name) if "://" in name else name
    return None


def _user(fields: Fields) -> Fields:
    """Who logs on: `user`, which some mappings leave to the actor or fill with an id alone."""
    target, actor = fields.object("user"), fields.object("actor.user")
    return target if target.has("name", "email_addr") or not actor.has("name", "email_addr") else actor
