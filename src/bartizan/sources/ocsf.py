"""OCSF, the Open Cybersecurity Schema Framework: findings are alerts, all other classes events, logons also signIns.

Products write OCSF that the schema would refuse; it is read as it comes.
Source: Open Cybersecurity Schema Framework 1.0 to 1.6: classes from 2001 on (findings), objects, observable types.
"""

from collections.abc import Iterator

from bartizan.extend import Event, GraphObject
from bartizan.model import security as graph
from bartizan.model.alert import Alert, Severity
from bartizan.sources import attack, ocsf_sign_ins
from bartizan.sources.entities import domain, is_outside
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
from bartizan.sources.ocsf_sign_ins import place
from bartizan.sources.shape import Paths, Shape, Status
from bartizan.sources.sign_ins import sign_in

_LEVELS: dict[int, Severity] = {1: "informational", 2: "low", 3: "medium", 4: "high", 5: "high", 6: "high"}
_STATUSES: dict[str, Status] = {"suppressed": "resolved", "pass": "resolved", "fail": "new", "passed": "resolved"}
_STATUS_IDS: dict[int, Status] = {1: "new", 2: "inProgress", 3: "resolved", 4: "resolved", 5: "resolved"}
_INCIDENT = 2005
_ON_HOLD = 3  # state of an incident; of a finding it is "suppressed"
_VERDICT_IDS = {
    1: "falsePositive",
    2: "truePositive",
    5: "informationalExpectedActivity",
    6: "informationalExpectedActivity",  # a test
    8: "truePositive",  # a security risk
}
_CLASSES = {2002: "Vulnerability", 2003: "Misconfiguration"}
_FINDINGS = 2  # thousands of a class: its category
_IN_NAMES = (
    ("credential", "CredentialAccess"),
    ("malware", "Malware"),
    ("phish", "Phishing"),
    ("vulnerab", "Vulnerability"),
    ("software and configuration checks", "Misconfiguration"),
)
_MAX = 100  # objects of one list
# Observable types -> what they are. Source: OCSF, observable.type_id.
_HOST, _ADDRESS, _USER, _MAIL, _URL, _FILE, _HASH, _PROCESS, _RESOURCE = 1, 2, 4, 5, 6, 7, 8, 9, 10


class Ocsf(Shape):
    name = "ocsf"
    vendor = "OCSF"
    product = "Event"
    marks = (
        "class_uid+category_uid+metadata class_uid+metadata+time class_uid+type_uid+severity_id class_uid+activity_id "
        "class_uid+class_name+metadata"
    )
    sourcetypes = ("ocsf", "ocsf:*", "aws:asl", "aws:securitylake*")
    table = "OcsfEvents"
    columns = {
        "ClassUid": "int class_uid",
        "ClassName": "class_name",
        "Activity": "activity_name",
        "EventType": "type_name",
        "ProductName": "metadata.product.name",
        "VendorName": "metadata.product.vendor_name",
        "Outcome": "status",
    }
    wrappers = ("events", "records")
    alert = Paths(
        id="finding_info.uid finding.uid metadata.uid",
        title="finding_info.title finding.title message finding_info_list.title finding_info.desc type_name class_name",
        description="finding_info.desc finding.desc desc message",
        severity="severity",
        vendor_category="finding_info.types finding.types class_name",
        tactics=(
            "finding_info.attacks.tactics.name finding_info.attacks.tactic.name attacks.tactics.name "
            "attacks.tactic.name finding_info.attacks.tactics.uid finding_info.attacks.tactic.uid "
            "finding_info_list.attacks.tactics.name finding_info_list.attacks.tactic.name "
            "finding_info_list.attacks.tactic.uid"
        ),
        detector="finding_info.analytic.uid finding_info.analytic.name metadata.event_code rule.uid",
        first=(
            "finding_info.first_seen_time finding_info.first_seen_time_dt finding.first_seen_time time time_dt "
            "finding_info.created_time finding_info.created_time_dt finding.created_time"
        ),
        last="finding_info.last_seen_time finding_info.last_seen_time_dt finding.last_seen_time time time_dt",
        created="finding_info.created_time finding_info.created_time_dt finding.created_time",
        updated="finding_info.modified_time finding_info.modified_time_dt finding.modified_time time",
        status="status status_code",
        statuses=_STATUSES,
        verdict="verdict",
        assigned="assignee.name assignee.email_addr",
        actions="remediation.desc finding.remediation.desc",
        url="finding_info.src_url finding.src_url",
        confidence="confidence_score confidence",
        threat="malware.name",
        cves="vulnerabilities.cve.uid",
        version="metadata.product.version",
        sub_provider="metadata.product.feature.name",
        fold="resources.uid device.uid device.hostname src_endpoint.ip",
    )

    def is_alert(self, fields: Fields) -> bool:
        return (fields.integer("class_uid") or 0) // 1_000 == _FINDINGS or fields.has("finding_info", "finding")

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        for one in [fields, *fields.objects("evidences")[:_MAX]]:
            _seen(one, evidence)
        cloud = fields.object("cloud")
        for path in ("resources", "resource", "affected_resources"):
            for one in fields.objects(path)[:_MAX]:
                _resource(one, cloud, evidence)
        for one in fields.objects("observables")[:_MAX]:
            _observable(one, evidence)
        for one in fields.objects("malware")[:_MAX]:
            evidence.malware(one.text("name"), one.text("classifications"))
            for file in one.objects("files"):
                _file(file, evidence)
        if not evidence.items:
            account = cloud.text("account.uid", "account_uid")
            evidence.amazon(None, name=account, account=account, kind="Account")

    def event(self, fields: Fields) -> Iterator[Event | GraphObject]:
        if ocsf_sign_ins.is_sign_in(fields):
            evidence = Evidence()
            self.entities(fields, evidence)
            yield from sign_in(ocsf_sign_ins.said(fields), evidence.observed)
        yield from super().event(fields)

    def finish(self, fields: Fields, alert: Alert) -> None:
        attacks = fields.objects("finding_info.attacks", "attacks", "finding_info_list.attacks")
        apart = [attack.apart(each.text("technique.name"), each.text("sub_technique.name")) for each in attacks]
        alert.techniques = attack.with_named(alert.techniques, [name for names in apart for name in names])
        product = fields.object("metadata.product")
        alert.vendor = product.text("vendor_name") or self.vendor
        alert.product = product.text("name") or self.product
        level = _LEVELS.get(fields.integer("severity_id") or 0)
        alert.severity = level or alert.severity
        number = fields.integer("class_uid") or 0
        state = fields.integer("status_id") or 0
        on_hold = number == _INCIDENT and state == _ON_HOLD
        alert.status = "inProgress" if on_hold else _STATUS_IDS.get(state, alert.status)
        alert.classification = alert.classification or _VERDICT_IDS.get(fields.integer("verdict_id") or 0)
        if not attack.tactics(*fields.texts("finding_info.attacks.tactics.name", "attacks.tactics.name")):
            words = " ".join(fields.texts("finding_info.types") + fields.texts("finding.types")).lower()
            named = attack.tactics(*(part for word in words.split("/") for part in (word, word.partition(":")[0])))
            found = next((ours for word, ours in _IN_NAMES if word in words), None)
            alert.category = (named[0] if named else None) or _CLASSES.get(number) or found or alert.category
            alert.categories = [alert.category] if alert.category else []


def _seen(one: Fields, evidence: Evidence) -> None:
    """The objects that an event or a piece of evidence holds under the schema's names."""
    actor = one.object("actor")
    user = None
    for who in (actor.object("user"), one.object("user"), one.object("src_user"), one.object("entity")):
        user = _user(who, evidence) or user
    _device(one.object("device"), evidence)
    for path in ("actor.process", "process", "parent_process", "module"):
        _process(one.object(path), evidence, user)
    for path in ("file", "file_result", "module.file", "email.files"):
        for file in one.objects(path):
            _file(file, evidence)
    source, target = one.object("src_endpoint"), one.object("dst_endpoint")
    evidence.flow(
        source.text("ip"),
        source.integer("port"),
        target.text("ip"),
        target.integer("port"),
        one.text("connection_info.protocol_name", "connection_info.protocol_num"),
        places=(place(source), place(target)),
    )
    _endpoint(source, "source", evidence)
    _endpoint(target, "destination", evidence)
    _endpoint(one.object("proxy"), "source", evidence)
    url = one.object("url", "http_request.url")
    evidence.url(url.text("url_string", "text") or one.text("url", "http_request.url"))
    evidence.domain(url.text("hostname", "domain"))
    evidence.domain(one.text("query.hostname", "tls.sni"))
    for answer in one.objects("answers")[:_MAX]:
        evidence.ip(answer.text("rdata"))
    mail = one.object("email")
    if mail:
        for recipient in mail.texts("to")[:_MAX] or [""]:
            address = recipient.rpartition("<")[2].rstrip(">") or None
            evidence.message(
                None,
                internet_id=mail.text("message_uid"),
                sender=mail.text("from"),
                envelope_sender=mail.text("smtp_from"),
                recipient=address,
                subject=mail.text("subject"),
            )
            evidence.mailbox(address)
    for container in (one.object("container"), actor.object("process.container")):
        evidence.container(container.text("uid"), container.text("name"), container.text("image.name"))
    evidence.registry(
        one.text("reg_key.path", "reg_value.path"), one.text("reg_value.name"), one.text("reg_value.data")
    )
    evidence.session(actor.text("session.uid"), user)


def _endpoint(end: Fields, role: graph.EvidenceRole, evidence: Evidence) -> None:
    address = end.text("ip")
    evidence.ip(address, (role,), place(end))
    name = end.text("hostname", "name")
    if is_outside(address) and domain(name) is not None:
        evidence.domain(name, roles=(role,))
    else:
        evidence.host(name, addresses=[address])
    evidence.domain(end.text("domain"))


def _user(who: Fields, evidence: Evidence) -> graph.UserEvidence | None:
    if not who:
        return None
    arn = who.text("uid")
    if arn is not None and arn.startswith("arn:"):
        evidence.amazon(arn, kind="IAMIdentity", account=who.text("account.uid"))
        evidence.observe("user", arn)
        arn = None
    mail = who.text("email_addr")
    sid = arn if arn is not None and arn.upper().startswith("S-1-") else None
    name = who.text("name")
    user = evidence.user(name or mail or (arn if sid is None else None), domain=who.text("domain"), sid=sid)
    if mail is not None and mail != name:
        evidence.user(mail, display=who.text("full_name"))
    evidence.observe("user", arn)
    return user


def _device(device: Fields, evidence: Evidence) -> None:
    own = device.text("ip")
    evidence.host(
        device.text("hostname", "name"),
        domain=device.text("domain"),
        addresses=[own, *device.texts("network_interfaces.ip")],
        os=device.text("os.name"),
        version=device.text("os.version"),
        device_id=device.text("uid"),
    )
    evidence.ip(own)


def _process(one: Fields, evidence: Evidence, user: graph.UserEvidence | None) -> None:
    file, parent = one.object("file"), one.object("parent_process")
    evidence.process(
        one.text("cmd_line"),
        name=one.text("name") or file.text("name"),
        path=file.text("path"),
        pid=one.integer("pid"),
        hashes=_hashes(file),
        user=_user(one.object("user"), evidence) or user,
        parent_name=parent.text("name") or parent.text("file.name"),
        parent_path=parent.text("file.path"),
        parent_pid=parent.integer("pid"),
    )


def _hashes(file: Fields) -> list[str | None]:
    return [item.text("value") for item in [*file.objects("hashes"), *file.objects("fingerprints")]]


def _file(file: Fields, evidence: Evidence) -> None:
    evidence.file(file.text("name"), file.text("path"), _hashes(file), size=file.integer("size"))


def _resource(one: Fields, cloud: Fields, evidence: Evidence) -> None:
    uid, name, kind = one.text("uid"), one.text("name"), one.text("type")
    account = cloud.text("account.uid", "account_uid")
    where = (one.text("cloud_partition") or cloud.text("provider") or "").lower()
    if where in ("gcp", "google"):
        evidence.google(uid, name=name, kind=kind, project=account)
    elif where in ("azure", "m365") or (uid or "").startswith("/subscriptions/"):
        evidence.azure(uid, name=name, kind=kind)
    elif where == "kubernetes":
        evidence.kubernetes(kind, name, one.text("namespace"))
    else:
        evidence.amazon(uid, name=name, kind=kind, account=account)
    _user(one.object("owner"), evidence)


def _observable(one: Fields, evidence: Evidence) -> None:
    kind, value = one.integer("type_id") or 0, one.text("value")
    name = (one.text("name") or "").lower()
    if kind == _ADDRESS:
        evidence.ip(value)
    elif kind == _HOST:
        (evidence.domain if "query" in name or "url" in name else evidence.host)(value)
    elif kind == _USER:
        evidence.user(value)
    elif kind == _MAIL:
        evidence.mailbox(value)
    elif kind == _URL:
        evidence.url(value)
    elif kind == _HASH:
        evidence.file(hashes=[value])
    elif kind == _FILE:
        evidence.file(value)
    elif kind == _PROCESS:
        evidence.process(name=value)
    elif kind == _RESOURCE:
        evidence.observe("resource", value)
