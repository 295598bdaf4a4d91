"""AWS: findings of Inspector, Macie, IAM Access Analyzer, Config and Health in their own forms, each an alert.

They come over EventBridge, one in each event, or as pages of the services' APIs; Security Hub tells them in its format.
Source: Amazon Inspector User Guide, "EventBridge schema for Amazon Inspector events"; Amazon Inspector API reference,
"Finding"; Amazon Macie User Guide, "EventBridge event schema for Macie findings"; IAM User Guide, "Monitoring IAM
Access Analyzer with EventBridge"; Access Analyzer API reference, "FindingSummaryV2"; of Config and Health those in
`aws_notices`.
"""

from collections.abc import Iterable

from bartizan.extend import Record
from bartizan.model.alert import Alert, Severity
from bartizan.sources import amazon, aws_notices
from bartizan.sources.evidence import Evidence, Place
from bartizan.sources.fields import Fields, objects_of
from bartizan.sources.shape import Paths, Shape

_MAX_RESOURCES = 50
_KINDS = {
    "PACKAGE_VULNERABILITY": "Vulnerability",
    "CODE_VULNERABILITY": "Vulnerability",
    "NETWORK_REACHABILITY": "Misconfiguration",
}
_UNTRIAGED: Severity = "informational"  # a flaw that has no score yet


class AwsFindings(Shape):
    name = "aws_findings"
    vendor = "AWS"
    product = "Inspector"
    marks = (
        "source=aws.inspector2+detail.findingArn source=aws.macie+detail.resourcesAffected "
        "source=aws.access-analyzer+detail.resourceType findingArn+inspectorScore "
        "findingArn+packageVulnerabilityDetails "
        "findingArn+networkReachabilityDetails findingArn+awsAccountId+type resourcesAffected+classificationDetails "
        "resourcesAffected+policyDetails resourceType+analyzedAt+isPublic resourceOwnerAccount+analyzedAt+resourceType "
        "source=aws.config source=aws.health messageType=ComplianceChangeNotification+configRuleName "
        "eventArn+eventTypeCode+eventTypeCategory arn+eventTypeCode+eventTypeCategory"
    )
    sourcetypes = (
        "aws:inspector",
        "aws:inspector:*",
        "aws:macie",
        "aws:macie:*",
        "aws:accessanalyzer:*",
        "aws:config:*",
        "aws:health",
        "aws:health:*",
    )
    table = "SecurityHubEvents"
    alert = Paths(
        id="findingArn configRuleARN+resourceType+resourceId affectedAccount+eventArn account+eventArn eventArn"
        " account+arn arn id",
        title="title findingType type",
        description="description newEvaluationResult.annotation",
        severity="severity.description severity",
        words={"untriaged": _UNTRIAGED},
        vendor_category="type findingType",
        detector="packageVulnerabilityDetails.vulnerabilityId codeVulnerabilityDetails.ruleId type findingType "
        "configRuleName eventTypeCode",
        first="firstObservedAt createdAt startTime newEvaluationResult.resultRecordedTime notificationCreationTime "
        "time",
        last="lastObservedAt updatedAt lastUpdatedTime",
        created="firstObservedAt createdAt notificationCreationTime time",
        updated="updatedAt analyzedAt lastUpdatedTime newEvaluationResult.resultRecordedTime",
        status="status statusCode newEvaluationResult.complianceType",
        statuses={"suppressed": "resolved", "compliant": "resolved", "notapplicable": "resolved"},
        actions="remediation.recommendation.text",
        cves="packageVulnerabilityDetails.vulnerabilityId",
        url="packageVulnerabilityDetails.sourceUrl",
        fold="resources.id resource resourcesAffected.s3Bucket.arn",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        """What EventBridge carries, with what it says of the account and the time beside it."""
        for fields in objects_of(record, "findings", "Records", "_source"):
            detail = fields.object("detail")
            told = {name: fields.raw(name) for name in ("account", "time", "resources")}
            yield detail.also({name: value for name, value in told.items() if value}) if detail else fields

    def is_alert(self, fields: Fields) -> bool:
        if aws_notices.reports(fields):
            return True
        return fields.has("findingArn", "resourcesAffected") or (
            fields.has("resourceType") and fields.has("analyzedAt")
        )

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        if fields.has("configRuleName", "eventTypeCode"):
            aws_notices.entities(fields, evidence)
            return
        account = fields.text("awsAccountId", "accountId", "resourceOwnerAccount")
        for one in fields.objects("resources")[:_MAX_RESOURCES]:
            _machine(one, evidence, account)
        affected = fields.object("resourcesAffected")
        bucket = affected.object("s3Bucket")
        evidence.amazon(
            bucket.text("arn"), name=bucket.text("name"), kind="S3Bucket", account=account, roles=("attacked",)
        )
        thing = affected.object("s3Object")
        evidence.amazon(
            f"{thing.text('bucketArn')}/{thing.text('key')}" if thing.has("bucketArn") and thing.has("key") else None,
            name=thing.text("key"),
            kind="S3Object",
            account=account,
        )
        actor = fields.object("policyDetails.actor")
        amazon.identity(actor.object("userIdentity.iamUser", "userIdentity.assumedRole", "userIdentity.root"), evidence)
        where = actor.object("ipAddressDetails")
        place = Place(country=where.text("ipCountry.name"), city=where.text("ipCity.name"))
        evidence.ip(where.text("ipAddressV4"), ("source",), place)
        path = fields.text("resource")
        amazon.resource(evidence, path, fields.text("resourceType"), account, ("attacked",))
        for who in fields.object("principal").data.values():
            text = who if isinstance(who, str) and who != "*" else None
            amazon.resource(evidence, text, "Principal")
        if not evidence.items:
            evidence.amazon(None, kind="Account", account=account)

    def finish(self, fields: Fields, alert: Alert) -> None:
        if fields.has("configRuleName", "eventTypeCode"):
            aws_notices.finish(fields, alert)
            return
        kind = (fields.text("type") or "").upper()
        if fields.has("findingArn"):
            alert.category = _KINDS.get(kind, "Vulnerability")
        elif fields.has("resourcesAffected"):
            alert.product = "Macie"
            alert.category = "Misconfiguration"  # of a policy, or of where sensitive data lies
            alert.status = "resolved" if fields.flag("archived") is True else "new"
        else:
            alert.product = "IAM Access Analyzer"
            alert.category = "Misconfiguration"
            public = fields.flag("isPublic") is True
            what = (fields.text("resource") or "resource").rpartition(":")[2]
            alert.title = f"{'Public' if public else 'External'} access: {what}"
            alert.severity = "high" if public else "medium"  # it gives none: anyone's access, or another account's
            alert.detector_id = fields.text("findingType", "resourceType")
            alert.fingerprint = (alert.title, alert.provider_alert_id)
            if fields.flag("isDeleted") is True:
                alert.status = "resolved"
        alert.categories = [alert.category]
        if (alert.recommended_actions or "").lower() == "none provided":
            alert.recommended_actions = None


def _machine(one: Fields, evidence: Evidence, account: str | None) -> None:
    """A resource of Inspector: an instance, an image or a function."""
    kind, name = one.text("type"), one.text("id")
    amazon.resource(evidence, name, kind, account, ("attacked",))
    instance = one.object("details.awsEc2Instance")
    if instance:
        inside = [*instance.texts("ipV4Addresses"), *instance.texts("ipV6Addresses")]
        found = amazon.arn(name)
        evidence.host(
            found.name if found else name, addresses=inside, os=instance.text("platform"), roles=("attacked",)
        )
        amazon.resource(evidence, instance.text("iamInstanceProfileArn"), "IAMInstanceProfile")
    image = one.object("details.awsEcrContainerImage")
    repository, tags = image.text("repositoryName"), image.texts("imageTags")
    evidence.image(f"{repository}:{tags[0]}" if repository and tags else repository, image.text("registry"))
