"""New Relic: issues of its alerting, as a workflow's webhook sends them.

Source: New Relic documentation, "Workflow notifications: webhook payload".
"""

from bartizan.model.alert import Severity
from bartizan.sources.entities import address
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
from bartizan.sources.shape import Paths, Shape

_WORDS: dict[str, Severity] = {"critical": "high", "high": "medium", "medium": "medium", "low": "low"}
_NO_NAMES = frozenset({"unknown", "other"})


class NewRelic(Shape):
    name = "newrelic"
    vendor = "New Relic"
    product = "Alerts"
    marks = (
        "alertConditionNames+issueUrl impactedEntities+state+priority "
        "condition_name+policy_name+current_state issueUrl+workflowName incident_url+condition_name "
        "account_id+condition_id+policy_name"
    )
    sourcetypes = ("newrelic", "newrelic:*", "newrelic_*")
    table = "NewRelicEvents"
    columns = {"Workflow": "workflowName", "Trigger": "trigger"}
    alert = Paths(
        id="id issueId incident_id",
        title="title annotations.title.0 condition_name",
        description="annotations.description details",
        severity="priority severity",
        words=_WORDS,
        vendor_category="alertPolicyNames policy_name",
        detector="alertConditionNames condition_name",
        first="createdAt activatedAt timestamp",
        last="updatedAt closedAt timestamp",
        created="createdAt",
        updated="updatedAt",
        status="state stateText current_state",
        statuses={"activated": "new", "closed": "resolved", "deactivated": "resolved"},
        url="issueUrl incident_url issuePageUrl",
        fold="impactedEntities",
    )

    def is_alert(self, fields: Fields) -> bool:
        return fields.has("title", "condition_name") and fields.has("state", "current_state", "trigger", "priority")

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        names = [*fields.texts("impactedEntities"), *fields.texts("entitiesData.names"), *fields.texts("targets.name")]
        for name in dict.fromkeys(names):
            if name.lower() in _NO_NAMES:
                continue
            if address(name) is not None:
                evidence.ip(name)
            elif " " in name:
                evidence.app(name)
            else:
                evidence.host(name)
        if not evidence.items:  # names nothing that is watched: the policy says what it is about
            evidence.app(fields.text("alertPolicyNames", "policy_name"))
