"""One event of a Google Workspace activity report, wherever it comes from: the Reports API, or Cloud Logging.

What it names, the signIn that it is, and the alert where Google itself says that something is wrong.
Source: Google Admin SDK, Reports API, "Activity reports" (login, saml, mobile, chrome, rules, gmail); Google Cloud,
"Google Workspace audit logs"; BigQuery schema of Gmail logs.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import Struct

from bartizan.extend import GraphObject, Record
from bartizan.model.alert import Alert, Severity
from bartizan.sources import attack, common_security_log, google_mail
from bartizan.sources.entities import addresses
from bartizan.sources.evidence import Evidence, Place
from bartizan.sources.fields import MAX_ITEMS, Fields, as_integer, content_id
from bartizan.sources.severity import of_word
from bartizan.sources.sign_ins import Code, SignIn, Step, sign_in

_MAX_DEPTH = 6  # of parameters inside parameters
_PLAIN = ("value", "intValue", "boolValue", "multiValue", "multiIntValue", "multiStrValue", "multiBoolValue")


class Verdict(Struct, frozen=True):
    """What Google says of it."""

    title: str
    severity: Severity
    category: str
    closed: bool = False
    word: str | None = None  # its own severity
    source: str = "unknown"  # detectionSource
    id: str | None = None  # of what was judged, where several records tell of it
    blocked: bool = False


class Activity(Struct, frozen=True):
    """An event with what the report says around it."""

    app: str
    name: str
    kind: str
    actor: Fields
    address: str | None
    at: str | None
    id: str | None
    parameters: Fields
    place: Place = Place()
    asn: int | None = None

    @property
    def email(self) -> str | None:
        return self.actor.text("email") or self.parameters.text("affected_email_address", "USER_EMAIL")


_WARNINGS = {
    "suspicious_login": Verdict("Suspicious sign-in", "medium", "InitialAccess"),
    "suspicious_login_less_secure_app": Verdict("Suspicious sign-in of a less secure app", "medium", "InitialAccess"),
    "suspicious_programmatic_login": Verdict("Suspicious sign-in by a program", "medium", "InitialAccess"),
    "user_signed_out_due_to_suspicious_session_cookie": Verdict(
        "Suspicious session cookie: user signed out", "medium", "CredentialAccess"
    ),
    "account_disabled_password_leak": Verdict("Account disabled: password leaked", "high", "CredentialAccess"),
    "account_disabled_hijacked": Verdict("Account disabled: hijacked", "high", "InitialAccess"),
    "account_disabled_generic": Verdict("Account disabled by Google", "low", "SuspiciousActivity"),
    "account_disabled_spamming": Verdict("Account disabled: sent spam", "medium", "SuspiciousActivity"),
    "account_disabled_spamming_through_relay": Verdict(
        "Account disabled: sent spam through a relay", "medium", "SuspiciousActivity"
    ),
    "gov_attack_warning": Verdict("Attack by a government suspected", "high", "InitialAccess"),
    "risky_sensitive_action_allowed": Verdict("Risky action allowed", "medium", "SuspiciousActivity"),
    "risky_sensitive_action_blocked": Verdict("Risky action blocked", "low", "SuspiciousActivity"),
    "suspicious_activity_event": Verdict("Suspicious activity on a mobile device", "medium", "SuspiciousActivity"),
    "malware_transfer": Verdict("Malware transferred by a browser", "high", "Malware"),
    "unsafe_site_visit": Verdict("Unsafe site visited", "medium", "SuspiciousActivity"),
    "password_breach": Verdict("Password found in a breach", "medium", "CredentialAccess"),
}
_COMPROMISED = "device_compromised_event"
# message_info.attachment.malware_family
_MALWARE: dict[int, tuple[str, Severity]] = {
    1: ("Known malware", "high"),
    2: ("Virus or worm", "high"),
    3: ("Possible malware", "medium"),
    4: ("Unwanted program", "low"),
    5: ("Other malware", "medium"),
}
_FAILURES = {
    "login_failure_invalid_password": Code.WRONG_PASSWORD,
    "login_failure_account_disabled": Code.DISABLED,
    "login_failure_invalid_second_factor": Code.FACTOR_FAILED,
    "login_failure_access_code_disallowed": Code.FACTOR_FAILED,
    "failure_app_not_enabled_for_user": Code.NOT_ASSIGNED,
    "failure_app_not_configured_for_user": Code.NOT_ASSIGNED,
    "failure_unknown_user": Code.UNKNOWN_USER,
}
_ONE_FACTOR = frozenset({"password", "none", "other", "login_location"})
_USERS = (
    "affected_email_address", "USER_EMAIL", "target_user", "resource_owner_email", "organizer_email", "owner",
    "DEVICE_USER", "PROFILE_USER_NAME", "TRIGGER_USER", "user_email",
)  # fmt: skip
_MAILBOXES = ("email_forwarding_destination_address", "resource_recipients", "organizer_calendar_id", "GROUP_EMAIL")
_RESOURCES = {
    "doc_id": "document",
    "resource_id": "document",
    "app_name": "application",
    "APPLICATION_NAME": "application",
}


def parameters(given: Any, depth: int = _MAX_DEPTH) -> dict[str, Any]:
    """Name -> value of a list of parameters; an object is one already."""
    if isinstance(given, dict):
        return given
    found: dict[str, Any] = {}
    for item in given[:MAX_ITEMS] if isinstance(given, list) else ():
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            continue
        value = next((item[key] for key in _PLAIN if item.get(key) is not None), None)
        inner, many = item.get("messageValue"), item.get("multiMessageValue")
        if isinstance(inner, dict) and depth:
            value = parameters(inner.get("parameter"), depth - 1)
        elif isinstance(many, list) and depth:
            value = [parameters(one.get("parameter"), depth - 1) for one in many[:MAX_ITEMS] if isinstance(one, dict)]
        if value is not None:
            found[item["name"]] = value
    return found


def activities(
    events: Iterable[Fields],
    *,
    app: str,
    actor: Fields,
    address: str | None,
    at: str | None,
    id: str | None,
    network: Fields,
) -> Iterator[Activity]:
    """Those of one report record, which share all but what happened."""
    for event in events:
        given = event.raw("parameters", "parameter")
        yield Activity(
            app=app,
            name=event.text("name", "eventName") or "unknown",
            kind=event.text("type", "eventType") or "",
            actor=actor,
            address=address,
            at=at,
            id=id,
            parameters=Fields(parameters(given)),
            place=Place(country=network.text("regionCode")),
            asn=as_integer(network.text("ipAsn")),
        )


def name_entities(item: Activity, evidence: Evidence) -> None:
    actor, more = item.actor, item.parameters
    _user(actor.text("email"), evidence, object_id=actor.text("profileId"))
    for path in _USERS:
        for text in more.texts(path):
            if path != "owner" or "@" in text:
                _user(text, evidence)
    evidence.ip(item.address, ("source",), item.place)
    evidence.ip(more.text("actor_ip_address"), ("source",))  # of whom a rule watched
    for path in _MAILBOXES:
        for text in more.texts(path):
            evidence.mailbox(text)
    for path, role in _RESOURCES.items():
        evidence.observe("resource", more.text(path), role)
    evidence.oauth_app(more.text("app_name"), app_id=more.text("client_id"))
    device = more.text("DEVICE_NAME") or more.text("SERIAL_NUMBER")
    evidence.host(device, device_id=more.text("DEVICE_ID"), os=more.text("DEVICE_PLATFORM", "OS_VERSION"))
    evidence.domain(more.text("target_domain"))
    evidence.url(more.text("URL"))
    evidence.url(more.text("TAB_URL"))
    evidence.file(more.text("CONTENT_NAME"), hashes=[more.text("CONTENT_HASH")])
    evidence.file(hashes=[more.text("APK_SHA256_HASH")])
    for text in addresses([more.text("LOCAL_IP"), more.text("REMOTE_IP")]):
        evidence.ip(text)
    _mail(more.object("message_info"), evidence)


def _user(text: str | None, evidence: Evidence, object_id: str | None = None) -> None:
    """Also indexed by the part before the @, as an alert's account is."""
    made = evidence.user(text, object_id=object_id)
    if made is not None and made.userAccount is not None:
        evidence.observe("user", made.userAccount.accountName)


def _mail(mail: Fields, evidence: Evidence) -> None:
    if not mail:
        return
    envelope, header = mail.text("source.address"), mail.text("source.from_header_address")
    sender_ip = mail.text("connection_info.client_ip")
    for to in mail.objects("destination")[: google_mail.MAX_PARTS] or [Fields(None)]:
        evidence.message(
            internet_id=mail.text("rfc2822_message_id"),
            sender=header,
            envelope_sender=envelope,
            recipient=to.text("address"),
            sender_ip=sender_ip,
            subject=mail.text("subject"),
        )
    for item in mail.objects("attachment")[: google_mail.MAX_PARTS]:
        evidence.file(item.text("file_name"), hashes=[item.text("sha256")])
    used = mail.object("post_delivery_info.interaction")
    evidence.url(used.text("link_url"))
    evidence.file(used.text("attachment.file_name"), hashes=[used.text("attachment.sha256")])
    for text in mail.texts("link_domain")[: google_mail.MAX_PARTS]:
        evidence.domain(text)


# ---------------------------------------------------------------- verdicts


def verdict(item: Activity) -> Verdict | None:
    """What Google, or a rule of the customer's in it, says is wrong."""
    name, more = item.name.lower(), item.parameters
    if (known := _WARNINGS.get(name)) is not None:
        return known
    if name == _COMPROMISED:
        sound = (more.text("DEVICE_COMPROMISED_STATE") or "").upper() == "NOT_COMPROMISED"
        return Verdict("Mobile device compromised", "high", "SuspiciousActivity", closed=sound)
    word = more.text("severity")
    if item.app == "rules" and more.has("rule_name") and (word is not None or more.flag("has_alert")):
        title = f"Rule matched: {more.text('rule_name')}"
        level = of_word(word) if word is not None else "medium"
        return Verdict(title, level, "SuspiciousActivity", word=word, source="customDetection")
    if (harm := more.text("PHA_CATEGORY")) is not None:
        return Verdict(f"Harmful application: {harm.lower().replace('_', ' ')}", "high", "Malware", source="antivirus")
    for attachment in more.objects("message_info.attachment"):
        family = _MALWARE.get(attachment.integer("malware_family") or 0)
        if family is not None:
            title = f"{family[0]} in a mail: {attachment.text('file_name') or 'attachment'}"
            return Verdict(title, family[1], "Malware", source="antivirus")
    if (mail := google_mail.judged(more)) is not None:
        return Verdict(mail.title, mail.severity, mail.category, id=mail.id, blocked=not mail.late)
    return None


def alert(record: Record, item: Activity, said: Verdict, *, vendor: str, product: str) -> Alert:
    evidence = Evidence(item.at)
    name_entities(item, evidence)
    device = item.parameters.text("DEVICE_ID") if item.name.lower() == _COMPROMISED else None
    own = f"{item.id}:{item.name}" if item.id else content_id([item.name, item.at, item.email, item.parameters.data])
    made = Alert(
        vendor=vendor,
        product=product,
        provider="Google Workspace",
        sub_provider=item.app,
        provider_alert_id=said.id or (f"{item.name}:{device}" if device else own),
        title=said.title,
        severity=said.severity,
        vendor_severity=said.word,
        category=said.category,
        categories=[said.category],
        vendor_category=item.kind or item.name,
        techniques=attack.techniques(record, item.parameters.data),
        detector_id=item.parameters.text("rule_resource_name") or item.name,
        detection_source=said.source,
        first_activity=item.at,
        last_activity=item.at,
        status="resolved" if said.closed else "new",
        evidence=evidence.items,
        entities=list(evidence.observed),
        additional={"event": item.name, "parameters": item.parameters.rest()} | evidence.unsaid,
        fingerprint=(
            item.parameters.text("rule_resource_name") or item.name,
            said.id or item.email or "",
            item.parameters.text("resource_id", "DEVICE_ID") or item.address or "",
        ),
    )
    common_security_log.acted(made, "blocked" if said.blocked else None)
    return made


# ---------------------------------------------------------------- sign-ins


def signed_in(item: Activity, provider: str) -> Iterator[GraphObject]:
    """The signIn of a login or SAML event; of others nothing."""
    if item.app not in ("login", "saml") or item.name not in ("login_success", "login_failure"):
        return
    more, failed = item.parameters, item.name == "login_failure"
    methods = more.texts("login_challenge_method")
    reason = more.text("login_failure_type", "failure_type")
    evidence = Evidence()
    name_entities(item, evidence)
    said = SignIn(
        provider=provider,
        id=item.id or content_id([item.name, item.at, item.email, more.data]),
        at=item.at,
        upn=item.email,
        user_id=item.actor.text("profileId") or item.email or "unknown",
        app=more.text("application_name") or "Google Workspace",
        resource="Google Workspace",
        address=item.address,
        place=item.place,
        asn=item.asn,
        client="Browser",
        user_agent=more.text("user_agent"),
        code=_FAILURES.get((reason or "").lower(), Code.FAILED) if failed else Code.OK,
        reason=reason,
        factors=more.flag("is_second_factor") is True or any(word.lower() not in _ONE_FACTOR for word in methods),
        steps=[Step(word, not failed) for word in methods],
        protocol="saml20" if item.app == "saml" or more.text("login_type") == "saml" else None,
        risk="medium" if more.flag("is_suspicious") is True else "none",
    )
    yield from sign_in(said, evidence.observed)
