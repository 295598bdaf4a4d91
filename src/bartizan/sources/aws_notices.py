"""What AWS Config and AWS Health tell over EventBridge: rules that a resource does not keep, and risks to an account.

Neither gives a severity.
Source: AWS Config Developer Guide, "Monitoring AWS Config with Amazon EventBridge", "Example compliance change
notification"; AWS Health User Guide, "AWS Health events Amazon EventBridge schema".
"""

import re

from bartizan.model.alert import Alert, Severity
from bartizan.sources import amazon
from bartizan.sources.collector import Roles
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields

_MAX_AFFECTED = 50
_ENDED = frozenset({"COMPLIANT", "NOT_APPLICABLE"})  # of a resource that is gone Config says the latter
_RISK, _ABUSE = "AWS_RISK_", "AWS_ABUSE_"
# Words of codes by which a machine or a site of the account does harm, and so is in other hands most likely.
_HARM = frozenset(
    "DOS DDOS SCAN SCANNING PORTSCAN MALWARE BOTNET PHISH PHISHING INTRUSION BRUTE HACKING EXPLOIT IOC C2".split()
)
_KEY = re.compile(r"A(?:KIA|SIA)[A-Z0-9]{12,124}", re.ASCII)  # of a user, of a session
_USER = re.compile(r"(?:IAM_USER|user)/([^/]{1,128})", re.ASCII | re.IGNORECASE)


def reports(fields: Fields) -> bool:
    """Whether a notice is one of security: a breach of a rule, what ends one, a risk or an abuse."""
    return _of_rule(fields) or _of_risk(fields)


def _of_rule(fields: Fields) -> bool:
    """A first evaluation that finds nothing ends no breach."""
    now = (fields.text("newEvaluationResult.complianceType") or "").upper()
    if now == "NON_COMPLIANT":
        return True
    before = (fields.text("oldEvaluationResult.complianceType") or "").upper()
    return now in _ENDED and (before == "NON_COMPLIANT" or "oldEvaluationResult" not in fields.data)


def _code(fields: Fields) -> str:
    return (fields.text("eventTypeCode") or "").upper()


def _of_risk(fields: Fields) -> bool:
    """Of any category but planned changes: a compromise comes as an issue, or as a notification of the account."""
    kind = (fields.text("eventTypeCategory") or "issue").lower()
    return _code(fields).startswith((_RISK, _ABUSE)) and kind != "scheduledchange"


def entities(fields: Fields, evidence: Evidence) -> None:
    account = fields.text("awsAccountId", "affectedAccount", "account")
    roles: Roles = ("compromised",) if _of_risk(fields) and _severity(_code(fields)) == "high" else ("attacked",)
    if fields.has("configRuleName"):
        _thing(fields.text("resourceId"), fields.text("resourceType"), account, evidence)
    told = [one.text("entityValue", "entityArn") for one in fields.objects("affectedEntities")[:_MAX_AFFECTED]]
    for text in dict.fromkeys([*told, *(fields.texts("resources")[:_MAX_AFFECTED] if fields.has("eventArn") else ())]):
        _affected(text, account, roles, evidence)
    more = fields.object("eventMetadata")
    _key(more.text("publicKey", "accessKeyId"), account, evidence)
    evidence.user(amazon.said(more.text("userName")), domain=account, roles=("compromised",))
    evidence.url(more.text("exposedUrl"), ("source",))
    if not evidence.items:
        evidence.amazon(None, kind="Account", account=account)


def _thing(name: str | None, kind: str | None, account: str | None, evidence: Evidence) -> None:
    """The resource that a rule looked at, by the type that CloudFormation gives it."""
    if kind == "AWS::::Account":
        evidence.amazon(None, kind="Account", account=account or name)
        return
    amazon.resource(evidence, name, kind, account, ("attacked",))
    if kind == "AWS::EC2::Instance":
        evidence.host(name, roles=("attacked",))
    elif kind == "AWS::IAM::User":
        evidence.user(object_id=name, domain=account, roles=("attacked",))


def _affected(text: str | None, account: str | None, roles: Roles, evidence: Evidence) -> None:
    """An ARN, the id of a key, an instance, an account or an address; "UNKNOWN" names nothing."""
    if text is None or text.upper() in ("UNKNOWN", "AWS_ACCOUNT"):
        return
    if text == account or (text.isdecimal() and len(text) == 12):
        evidence.amazon(None, kind="Account", account=text)
        return
    if evidence.ip(text, roles) is not None:
        return
    found, key = amazon.arn(text), _KEY.search(text)
    if key is not None:
        _key(key[0], account, evidence)
    else:
        amazon.resource(evidence, text, account=account, roles=roles)
    if (who := _USER.search(found.resource if found else text)) is not None:
        evidence.user(who[1], domain=found.account if found and found.account else account, roles=roles)
    name = found.name if found else text
    if name.startswith("i-"):
        evidence.host(name, roles=roles)


def _key(text: str | None, account: str | None, evidence: Evidence) -> None:
    evidence.amazon(text, kind="AccessKey", account=account, roles=("compromised",))


def finish(fields: Fields, alert: Alert) -> None:
    if fields.has("configRuleName"):
        alert.product = "Config"
        alert.title = f"{fields.text('configRuleName')}: {fields.text('resourceId') or 'resource'} does not comply"
        alert.category, alert.severity = "Misconfiguration", "medium"
        alert.fingerprint = (alert.detector_id or alert.title, fields.text("resourceId") or "")
    else:
        code = _code(fields)
        risk = code.startswith(_RISK)
        alert.product = "Health"
        alert.title = (
            f"{'Risk' if risk else 'Abuse'}: {code[len(_RISK if risk else _ABUSE) :].replace('_', ' ').lower()}"
        )
        alert.category = "CredentialAccess" if risk and "CREDENTIAL" in code else "SuspiciousActivity"
        alert.severity = _severity(code)
        alert.description = fields.text("eventDescription.latestDescription")
    alert.categories = [alert.category]


def _severity(code: str) -> Severity:
    """What AWS itself holds for a compromise is high, what others complain of (copyright, mail) medium."""
    return "high" if code.startswith(_RISK) or not _HARM.isdisjoint(code.split("_")) else "medium"
