"""Tracebit: alerts of canary resources and credentials in clouds and on endpoints.

Source: Tracebit documentation, "Alert logs" (webhook and SIEM export).
"""

from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
from bartizan.sources.shape import Paths, Shape


class Tracebit(Shape):
    name = "tracebit"
    vendor = "Tracebit"
    product = "Canaries"
    marks = (
        "discriminator.type=tracebit_alert_log tracebit_portal_url canary_credential+principal "
        "discriminator.subtype+principal+event"
    )
    sourcetypes = ("tracebit", "tracebit:*")
    table = "TracebitEvents"
    columns = {"Operation": "event.operation", "Provider": "provider"}
    alert = Paths(
        id="alert_id+id alert_id id",
        title="message discriminator.subtype",
        description="description event.operation",
        severity="severity",
        category="CredentialAccess",
        vendor_category="discriminator.subtype",
        categories={"canary_resource_accessed": "Discovery"},
        detector="discriminator.subtype",
        first="timestamp",
        url="tracebit_portal_url",
        fold="principal.id event.request.ip",
        detection_source="unknown",
    )

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        who = fields.object("principal")
        amazon = who.object("aws")
        arn = amazon.text("arn")
        evidence.amazon(arn, account=amazon.text("account_id"), kind=amazon.text("type") or "IAMIdentity")
        if arn is not None and ":user/" in arn:
            evidence.user(arn.rpartition("/")[2])
        evidence.user(
            who.text("azure.user_principal_name", "okta.email", "google.email", "email"),
            object_id=who.text("azure.object_id"),
        )
        evidence.ip(fields.text("event.request.ip"), ("attacker",))
        canary = fields.object("canary_credential")
        evidence.amazon(None, name=canary.text("aws.access_key_id"), kind="AccessKey")
        user, at, host = (canary.text("name") or "").partition("@")
        if at:  # the endpoint on which it was planted: "user@host"
            evidence.user(user)
            evidence.host(host)
        for each in [*fields.objects("event.resources"), *fields.objects("canary_resource")]:
            evidence.amazon(each.text("arn", "aws.arn"), name=each.text("name", "id"), kind=each.text("type"))
