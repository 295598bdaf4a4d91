"""AWS WAF: web requests that a web ACL looked at; those in which it found an attack are alerts.

Requests that are blocked for whence they come or how often, or by rules of the operator's own, are events.
Source: AWS WAF Developer Guide, "Log fields for protection pack (web ACL) traffic", "AWS Managed Rules rule groups
list"; Microsoft Sentinel, table AWSWAF.
"""

import re

from bartizan.model.alert import Alert
from bartizan.sources import amazon
from bartizan.sources.evidence import Evidence, Place
from bartizan.sources.fields import Fields
from bartizan.sources.shape import Paths, Shape

_MAX_GROUPS = 100
# What a match condition calls an attack -> what it is.
_ATTACKS = {"XSS": "Cross-site scripting", "SQL_INJECTION": "SQL injection", "SQLI": "SQL injection"}
# Managed groups that look for attacks; the others look for bots, bad reputations, anonymous addresses, logins.
_GROUPS = (
    "AWSManagedRulesCommonRuleSet",
    "AWSManagedRulesKnownBadInputsRuleSet",
    "AWSManagedRulesSQLiRuleSet",
    "AWSManagedRulesAdminProtectionRuleSet",
    "AWSManagedRulesLinuxRuleSet",
    "AWSManagedRulesUnixRuleSet",
    "AWSManagedRulesWindowsRuleSet",
    "AWSManagedRulesPHPRuleSet",
    "AWSManagedRulesWordPressRuleSet",
)
# What their rules call a request, where a rule of the operator's own acts on that.
_LABEL = re.compile(
    r"awswaf:managed:aws:(?:core-rule-set|known-bad-inputs|sql-database|admin-protection|linux-os|posix-os|windows-os"
    r"|php-app|wordpress-app):([\w-]{1,128})",
    re.ASCII,
)
_STOPPED = frozenset({"BLOCK", "CAPTCHA", "CHALLENGE"})


class Waf(Shape):
    name = "aws_waf"
    vendor = "AWS"
    product = "WAF"
    marks = (
        "webaclId+httpRequest+action webaclId+httpRequest.clientIp+terminatingRuleId "
        "httpRequest.clientIp+action+ruleGroupList"
    )
    sourcetypes = ("aws:waf", "aws:waf:*")
    table = "AWSWAF"
    wrappers = ("Records", "detail", "_source")
    columns = {
        "Action": "action",
        "HttpRequest": "dynamic httpRequest",
        "HttpSourceId": "httpSourceId",
        "HttpSourceName": "httpSourceName",
        "Ja3Fingerprint": "ja3Fingerprint",
        "Ja4Fingerprint": "ja4Fingerprint",
        "Labels": "dynamic labels",
        "NonTerminatingMatchingRules": "dynamic nonTerminatingMatchingRules",
        "RateBasedRuleList": "dynamic rateBasedRuleList",
        "RuleGroupList": "dynamic ruleGroupList",
        "RequestBodySize": "long requestBodySize",
        "RequestHeadersInserted": "dynamic requestHeadersInserted",
        "ResponseCodeSent": "int responseCodeSent",
        "TerminatingRuleId": "terminatingRuleId",
        "TerminatingRuleMatchDetails": "dynamic terminatingRuleMatchDetails",
        "TerminatingRuleType": "terminatingRuleType",
        "WebAclId": "webaclId",
        "SourceIP": "httpRequest.clientIp",
        "Country": "httpRequest.country",
        "HttpMethod": "httpRequest.httpMethod",
        "EventId": "httpRequest.requestId",
    }
    alert = Paths(
        id="httpRequest.requestId+terminatingRuleId httpRequest.requestId",
        title="terminatingRuleId",
        category="Exploit",
        vendor_category="terminatingRuleType",
        detector="terminatingRuleId",
        first="timestamp",
        fold="httpRequest.clientIp webaclId",
    )

    def is_alert(self, fields: Fields) -> bool:
        return fields.has("httpRequest") and fields.has("webaclId", "action") and attack_of(fields) is not None

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        request = fields.object("httpRequest")
        evidence.ip(request.text("clientIp"), ("source",), Place(country=request.text("country")))
        host = request.text("host") or _header(request, "host")
        path = request.text("uri") or ""
        if host and path.startswith("/"):
            scheme, asked = request.text("scheme") or "https", (request.text("args") or "").lstrip("?")
            evidence.url(f"{scheme}://{host}{path}{'?' if asked else ''}{asked}")
        evidence.domain(host)
        amazon.resource(evidence, fields.text("webaclId"), "WebAcl")
        evidence.observe("resource", fields.text("httpSourceId"), fields.text("httpSourceName") or "")

    def finish(self, fields: Fields, alert: Alert) -> None:
        stopped = (fields.text("action") or "").upper() in _STOPPED
        alert.title = f"{attack_of(fields)} {'blocked' if stopped else 'let through'}"
        alert.severity = "low" if stopped else "medium"
        for item in alert.evidence:
            item.remediationStatus = "blocked" if stopped else "none"


def attack_of(fields: Fields) -> str | None:
    """What attack the firewall says that it found: by a match condition, or by the managed group that ended the
    request."""
    groups = fields.objects("ruleGroupList")[:_MAX_GROUPS]
    rules = [
        *fields.objects("nonTerminatingMatchingRules")[:_MAX_GROUPS],
        *(group.object("terminatingRule") for group in groups),
        *(rule for group in groups for rule in group.objects("nonTerminatingMatchingRules")[:_MAX_GROUPS]),
    ]
    kinds = fields.texts("terminatingRuleMatchDetails.conditionType")
    kinds += [kind for rule in rules for kind in rule.texts("ruleMatchDetails.conditionType")]
    for kind in kinds:
        if (found := _ATTACKS.get(kind.upper())) is not None:
            return found
    if (fields.text("action") or "").upper() not in _STOPPED:
        return None
    for group in groups:
        names = (group.text("ruleGroupId") or "").split("#")  # AWS, the group's, that of its version
        rule = group.text("terminatingRule.ruleId")
        if rule and any(name.startswith(_GROUPS) for name in names):
            return f"Request matching {rule}"
    ended = (fields.text("terminatingRuleId") or "").removeprefix("AWS-")
    if ended.startswith(_GROUPS):
        return f"Request matching {ended}"
    labels = (_LABEL.fullmatch(name) for name in fields.texts("labels.name"))
    return next((f"Request matching {label[1]}" for label in labels if label is not None), None)


def _header(request: Fields, name: str) -> str | None:
    for item in request.objects("headers"):
        if (item.text("name") or "").lower() == name:
            return item.text("value")
    return None
