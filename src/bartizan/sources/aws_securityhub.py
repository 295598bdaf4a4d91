"""AWS Security Hub: findings of AWS's services and of partners in the AWS Security Finding Format, each an alert.

Source: AWS Security Hub User Guide, "AWS Security Finding Format (ASFF) syntax", "Types taxonomy for ASFF",
"EventBridge event formats", "Setting the workflow status of findings".
"""

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from bartizan.extend import SOURCES, Event, GraphObject, Record
from bartizan.model.alert import Alert
from bartizan.sources import amazon, attack
from bartizan.sources.collector import Roles
from bartizan.sources.evidence import Evidence, Place
from bartizan.sources.fields import Fields, inner_json, objects_of
from bartizan.sources.severity import of_asff
from bartizan.sources.shape import Paths, Shape

_MAX_PARTS = 50
# First two parts of a type -> category; where neither is a tactic's name.
_CATEGORIES = {
    "software and configuration checks/vulnerabilities": "Vulnerability",
    "software and configuration checks": "Misconfiguration",
    "industry and regulatory standards": "Misconfiguration",
    "effects/data exposure": "Exfiltration",
    "effects/data exfiltration": "Exfiltration",
    "effects/data destruction": "Impact",
    "effects/denial of service": "Impact",
    "effects/resource consumption": "Impact",
    "sensitive data identifications": "Misconfiguration",
}
_REMOTE = "aws/guardduty/service/action"  # before the parts of GuardDuty's action in ProductFields, joined with "/"
_HASHES = frozenset({"HASH_MD5", "HASH_SHA1", "HASH_SHA256"})


class SecurityHub(Shape):
    name = "aws_securityhub"
    vendor = "AWS"
    product = "Security Hub"
    marks = (
        "ProductArn+AwsAccountId+GeneratorId+SchemaVersion source=aws.securityhub+detail.findings "
        "source=aws.securityhub Findings.ProductArn AwsSecurityFindingId+AwsSecurityFindingTitle"
    )
    sourcetypes = ("aws:securityhub", "aws:securityhub:*")
    table = "SecurityHubEvents"
    columns = {"AccountId": "AwsAccountId account", "Region": "Region"}
    wrappers = ("Findings", "Records", "detail", "_source")
    alert = Paths(
        id="ProductArn+Id Id",
        title="Title",
        description="Description",
        severity="Severity.Label FindingProviderFields.Severity.Label",
        score="Severity.Normalized Severity.Product",
        scale=of_asff,
        vendor_category="Types FindingProviderFields.Types",
        detector="GeneratorId",
        first="FirstObservedAt CreatedAt",
        last="LastObservedAt UpdatedAt",
        created="CreatedAt",
        updated="UpdatedAt",
        status="Workflow.Status WorkflowState",
        statuses={"notified": "inProgress", "deferred": "inProgress", "suppressed": "resolved"},
        verdict="VerificationState",
        actions="Remediation.Recommendation.Text",
        sub_provider="ProductName ProductFields.aws/securityhub/ProductName",
        threat="Malware.Name Threats.Name",
        url="SourceUrl",
        confidence="Confidence",
        cves="Vulnerabilities.Id",
        fold="Resources.Id AwsAccountId Region",
    )

    def normalise(self, record: Record) -> Iterator[Alert | Event | GraphObject]:
        """In the second version of the service findings have the form of OCSF."""
        read = list(self.read(record))
        if any(fields.has("findingArn", "resourcesAffected", "analyzedAt") for fields in read):
            yield from SOURCES["aws_findings"].normalise(record)  # of a service, in the service's own form
            return
        found = [fields.data for fields in read if fields.has("class_uid", "finding_info")]
        if found:
            yield from SOURCES["ocsf"].normalise(replace(record, data=found))
        else:
            yield from super().normalise(record)

    def read(self, record: Record) -> Iterable[Fields]:
        for fields in objects_of(record, *self.wrappers):
            found = fields.each("findings") or fields.each("detail.findings")
            yield from found or [_of_row(fields)]

    def is_alert(self, fields: Fields) -> bool:
        return fields.has("Title") and fields.has("Severity", "GeneratorId", "ProductArn")

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        account = fields.text("AwsAccountId")
        for item in fields.objects("Resources")[:_MAX_PARTS]:
            _resource(item, evidence, account)
        _action(fields, evidence)
        _network(fields.object("Network"), evidence)
        amazon.process(fields.object("Process"), evidence)
        amazon.sequence(fields.object("Detection.Sequence"), evidence, account)
        for item in fields.objects("Malware")[:_MAX_PARTS]:
            evidence.malware(item.text("Name"), item.text("Type"))
            evidence.file(None, item.text("Path"))
        for item in fields.objects("Threats")[:_MAX_PARTS]:
            evidence.malware(item.text("Name"))
            for file in item.objects("FilePaths")[:_MAX_PARTS]:
                evidence.file(file.text("FileName"), file.text("FilePath"), [file.text("Hash")])
        for item in fields.objects("ThreatIntelIndicators")[:_MAX_PARTS]:
            _indicator(item, evidence)
        if not evidence.items:
            evidence.amazon(None, kind="Account", account=account)

    def finish(self, fields: Fields, alert: Alert) -> None:
        words = [part for text in fields.texts("Types", "FindingProviderFields.Types") for part in text.split("/")]
        tactics = attack.tactics(*words, *(word.partition(":")[0] for word in words))
        alert.category = tactics[0] if tactics else _category(alert.vendor_category)
        alert.categories = tactics or [alert.category]
        archived = (fields.text("RecordState") or "").upper() == "ARCHIVED"
        if archived or (fields.text("Compliance.Status") or "").upper() == "PASSED":
            alert.status = "resolved"
        if (fields.text("Workflow.Status") or "").upper() == "SUPPRESSED" and alert.classification is None:
            alert.classification = "informationalExpectedActivity"


def _of_row(fields: Fields) -> Fields:
    """A row of Sentinel's table AWSSecurityHubFindings by the names of the format; any other object as it is."""
    if not fields.has("AwsSecurityFindingId"):
        return fields
    return Fields({key.removeprefix("AwsSecurityFinding"): inner_json(value) for key, value in fields.data.items()})


def _category(kind: str | None) -> str:
    """By the longest beginning of the type that is known."""
    parts = (kind or "").lower().split("/")
    for end in (2, 1):
        found = _CATEGORIES.get("/".join(parts[:end]))
        if found is not None:
            return found
    return "SuspiciousActivity"


def _resource(item: Fields, evidence: Evidence, account: str | None) -> None:
    kind, name, more = item.text("Type") or "Other", item.text("Id"), item.object("Details")
    actor = (item.text("ResourceRole") or "").lower() == "actor"
    roles: Roles = ("attacker",) if actor else ("attacked",)
    if kind == "AwsAccount":
        evidence.amazon(None, kind="Account", account=(name or "").rpartition(":")[2] or account)
        return
    amazon.resource(evidence, name, kind, account, roles)
    key = more.object("AwsIamAccessKey")
    if key:
        owner = amazon.said(key.text("PrincipalName", "UserName", "SessionContext.SessionIssuer.UserName"))
        evidence.user(owner, object_id=amazon.said(key.text("PrincipalId")), domain=account, roles=roles)
        evidence.observe("resource", amazon.said(key.text("AccessKeyId")), "AccessKey")
    user = more.object("AwsIamUser", "AwsIamRole")
    evidence.user(
        amazon.said(user.text("UserName", "RoleName")),
        object_id=user.text("UserId", "RoleId"),
        domain=account,
        roles=roles,
    )
    machine = more.object("AwsEc2Instance")
    if kind == "AwsEc2Instance":
        found = amazon.arn(name)
        inside = [*machine.texts("IpV4Addresses"), *machine.texts("IpV6Addresses")]
        evidence.host(found.name if found else name, addresses=inside, os=machine.text("Platform"), roles=roles)
    _container(more, evidence)


def _container(more: Fields, evidence: Evidence) -> None:
    pulled = more.object("AwsEcrContainerImage")
    if pulled:
        name = pulled.text("RepositoryName")
        tags = pulled.texts("ImageTags")
        evidence.image(f"{name}:{tags[0]}" if name and tags else name, pulled.text("RegistryId"))
    box = more.object("Container")
    evidence.container(None, box.text("Name"), box.text("ImageName", "ImageId"))
    for name in ("AwsEksCluster", "AwsEcsCluster"):
        evidence.cluster(more.object(name).text("Name", "ClusterName"))


def _action(fields: Fields, evidence: Evidence) -> None:
    """As ASFF has it, and as older findings of GuardDuty have it in ProductFields."""
    amazon.actions(fields.object("Action"), evidence, attacker=True)
    product = fields.object("ProductFields")
    for kind in ("awsApiCallAction", "kubernetesApiCallAction", "networkConnectionAction", "portProbeAction"):
        for middle in ("", "/portProbeDetails:0"):
            remote = f"{_REMOTE}/{kind}{middle}/remoteIpDetails"
            evidence.ip(
                product.text(f"{remote}/ipAddressV4"),
                ("source",),
                Place(
                    country=product.text(f"{remote}/country/countryName"),
                    city=product.text(f"{remote}/city/cityName"),
                    latitude=product.number(f"{remote}/geoLocation/lat"),
                    longitude=product.number(f"{remote}/geoLocation/lon"),
                ),
            )
        amazon.resource(evidence, product.text(f"{_REMOTE}/{kind}/affectedResources/AWS::S3::Bucket"), "S3Bucket")
    evidence.domain(product.text(f"{_REMOTE}/dnsRequestAction/domain"))


def _network(net: Fields, evidence: Evidence) -> None:
    start = net.text("SourceIpV4", "SourceIpV6"), net.integer("SourcePort")
    end = net.text("DestinationIpV4", "DestinationIpV6"), net.integer("DestinationPort")
    if evidence.flow(*start, *end, net.text("Protocol")) is None:
        evidence.ip(start[0], ("source",))
        evidence.ip(end[0], ("destination",))
    evidence.domain(net.text("SourceDomain"))
    evidence.domain(net.text("DestinationDomain"))


def _indicator(item: Fields, evidence: Evidence) -> None:
    kind, value = (item.text("Type") or "").upper(), item.text("Value")
    if kind in ("IPV4_ADDRESS", "IPV6_ADDRESS"):
        evidence.ip(value, ("attacker",))
    elif kind == "DOMAIN":
        evidence.domain(value)
    elif kind == "URL":
        evidence.url(value)
    elif kind in _HASHES:
        evidence.file(hashes=[value])
    elif kind == "EMAIL_ADDRESS":
        evidence.mailbox(value)
    elif kind == "PROCESS":
        evidence.process(name=value)
