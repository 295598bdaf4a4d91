"""AWS CloudTrail: every record is a row of AWSCloudTrail, a console sign-in also a signIn, an Insights event an alert.

Source: AWS CloudTrail User Guide, "CloudTrail record contents", "userIdentity element", "AWS Management Console sign-in
events", "Insights events"; AWS IAM Identity Center User Guide, "CloudTrail use cases"; Azure Monitor reference,
"AWSCloudTrail".
"""

import re
from collections.abc import Iterable, Iterator

from bartizan.extend import Event, GraphObject, Record
from bartizan.model.alert import Alert
from bartizan.sources import amazon
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import MAX_ITEMS, Fields, content_id, inner_json, joined, objects_of
from bartizan.sources.generic import guess_event
from bartizan.sources.shape import Paths, Shape
from bartizan.sources.sign_ins import Code, SignIn, Step, sign_in
from bartizan.sources.tables import row_event, unmade
from bartizan.sources.times import first_time

_TABLE = "AWSCloudTrail"
_COLUMNS = {
    "AwsEventId": "eventID",
    "EventVersion": "eventVersion",
    "EventSource": "eventSource",
    "EventTypeName": "eventType",
    "EventName": "eventName",
    "UserIdentityType": "userIdentity.type",
    "UserIdentityPrincipalid": "userIdentity.principalId",
    "UserIdentityArn": "userIdentity.arn",
    "UserIdentityAccountId": "userIdentity.accountId",
    "UserIdentityInvokedBy": "userIdentity.invokedBy",
    "UserIdentityAccessKeyId": "userIdentity.accessKeyId",
    "UserIdentityUserName": "userIdentity.userName",
    "UserIdentityUserId": "userIdentity.onBehalfOf.userId",
    "UserIdentityStoreArn": "userIdentity.onBehalfOf.identityStoreArn",
    "SessionMfaAuthenticated": "flag userIdentity.sessionContext.attributes.mfaAuthenticated",
    "SessionCreationDate": "time userIdentity.sessionContext.attributes.creationDate",
    "SessionIssuerType": "userIdentity.sessionContext.sessionIssuer.type",
    "SessionIssuerPrincipalId": "userIdentity.sessionContext.sessionIssuer.principalId",
    "SessionIssuerArn": "userIdentity.sessionContext.sessionIssuer.arn",
    "SessionIssuerAccountId": "userIdentity.sessionContext.sessionIssuer.accountId",
    "SessionIssuerUserName": "userIdentity.sessionContext.sessionIssuer.userName",
    "EC2RoleDelivery": "userIdentity.sessionContext.ec2RoleDelivery",
    "AWSRegion": "awsRegion",
    "SourceIpAddress": "sourceIPAddress",
    "UserAgent": "userAgent",
    "ErrorCode": "errorCode",
    "ErrorMessage": "errorMessage",
    "RequestParameters": "json requestParameters",
    "ResponseElements": "json responseElements",
    "AdditionalEventData": "json additionalEventData",
    "AwsRequestId": "requestID",
    "Resources": "json resources",
    "APIVersion": "apiVersion",
    "ReadOnly": "flag readOnly",
    "RecipientAccountId": "recipientAccountId",
    "ServiceEventDetails": "json serviceEventDetails",
    "SharedEventId": "sharedEventID",
    "VpcEndpointId": "vpcEndpointId",
    "ManagementEvent": "flag managementEvent",
    "Category": "eventCategory",
    "TlsVersion": "tlsDetails.tlsVersion",
    "CipherSuite": "tlsDetails.cipherSuite",
    "ClientProvidedHostHeader": "tlsDetails.clientProvidedHostHeader",
    "CidrIp": "requestParameters.cidrIp requestParameters.cIDRIP",
}
# Parameter of a request or answer -> the type of what it names.
_NAMES = {
    "bucketName": "S3Bucket",
    "instanceId": "Instance",
    "functionName": "Lambda",
    "roleName": "IAMRole",
    "groupId": "SecurityGroup",
    "groupName": "SecurityGroup",
    "dBInstanceIdentifier": "RDSDBInstance",
    "dBSnapshotIdentifier": "RDSDBSnapshot",
    "snapshotId": "EBSSnapshot",
    "volumeId": "EBSVolume",
    "imageId": "EC2Image",
    "secretId": "Secret",
    "keyId": "KmsKey",
    "trailName": "Trail",
    "detectorId": "GuardDutyDetector",
    "repositoryName": "EcrRepository",
    "clusterName": "Cluster",
    "tableName": "DynamoDBTable",
    "userPoolId": "UserPool",
}
_ARN_PARAMETERS = ("roleArn", "name", "policyArn", "resourceArn", "topicArn", "stackName", "trailARN", "functionArn")
_INSTANCE = re.compile(r"i-[0-9a-zA-Z]{8,40}")
_AGENT = re.compile(r"\[?(.*?)\]?")  # IAM Identity Center writes the agent in brackets
_SIGN_INS = frozenset({"ConsoleLogin", "UserAuthentication"})
_ERRORS = {
    "no username found in supplied account": Code.UNKNOWN_USER,
    "failed authentication": Code.WRONG_PASSWORD,
    "mfa": Code.FACTOR_FAILED,
}


class CloudTrail(Shape):
    name = "aws_cloudtrail"
    vendor = "AWS"
    product = "CloudTrail"
    marks = (
        "eventVersion+userIdentity+eventSource+eventName eventSource=*.amazonaws.com+eventName "
        "eventSource+eventName+awsRegion detail.eventSource+detail.eventName "
        "eventName+userIdentity+sourceIPAddress AwsEventId+EventName digestStartTime+awsAccountId "
        "insightDetails+eventID "
        "detail.insightDetails p_log_type=aws.cloudtrail*"
    )
    sourcetypes = ("aws:cloudtrail", "aws:cloudtrail:*")
    alert = Paths(
        id="sharedEventID eventID",
        title="insightDetails.insightType",
        vendor_category="insightDetails.insightType",
        detector="insightDetails.insightType",
        first="insightDetails.insightContext.start eventTime",
        last="eventTime",
        fold="insightDetails.eventName recipientAccountId awsRegion",
        detection_source="builtInMl",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        for fields in objects_of(record, "Records", "detail", "_source"):
            logged = fields.each("logEvents")  # a subscription of CloudWatch Logs
            inner = (Fields(inner_json(item.raw("message"))) for item in logged)
            yield from (item for item in inner if item) if logged else (_of_row(fields),)

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        amazon.identity(fields.object("userIdentity"), evidence)
        address = fields.text("sourceIPAddress")
        evidence.ip(address, ("source",))  # also "AWS Internal", or the name of a service of AWS
        account = fields.text("recipientAccountId", "userIdentity.accountId")
        for item in fields.objects("resources")[:MAX_ITEMS]:
            amazon.resource(evidence, item.text("ARN", "arn"), item.text("type"), item.text("accountId") or account)
        for part in (fields.object("requestParameters"), fields.object("responseElements")):
            _parameters(part, evidence, account)
        for item in fields.objects("insightDetails.insightContext.attributions")[:10]:
            if (item.text("attribute") or "") == "userIdentityArn":
                for one in item.objects("insight")[:20]:
                    amazon.resource(evidence, one.text("value"), "IAMIdentity")
        if fields.has("insightDetails"):
            evidence.amazon(None, kind="Account", account=amazon.said(account))

    def finish(self, fields: Fields, alert: Alert) -> None:
        seen = fields.object("insightDetails")
        call = joined(seen.text("eventSource"), seen.text("eventName")) or seen.text("eventName") or "API calls"
        of_errors = "error" in (seen.text("insightType") or "").lower()
        alert.title = f"Unusual rate of {'errors' if of_errors else 'calls'}: {call}"
        alert.severity = "low"  # AWS says none; that calls came more often than usual proves nothing yet

    def event(self, fields: Fields) -> Iterator[Event | GraphObject]:
        if not fields.has("eventName", "eventSource", "eventType"):
            yield guess_event(fields, self.table)
            return
        evidence = Evidence()
        self.entities(fields, evidence)
        at = first_time(fields, "eventTime", "p_event_time")
        if fields.text("eventName") in _SIGN_INS:
            yield from sign_in(_sign_in(fields, at), evidence.observed)
        yield row_event(_TABLE, at, fields, _COLUMNS, evidence)


def _of_row(fields: Fields) -> Fields:
    """A row of Sentinel's table AWSCloudTrail as the record that it was made of; any other object as it is."""
    if not fields.has("AwsEventId") or fields.has("eventID"):
        return fields
    return Fields({"eventTime": fields.raw("TimeGenerated"), **unmade(fields, _COLUMNS)})


def _parameters(part: Fields, evidence: Evidence, account: str | None) -> None:
    """What a call names by the parameters that many services share."""
    for key, kind in _NAMES.items():
        evidence.observe("resource", amazon.said(part.text(key)), kind)
    for key in _ARN_PARAMETERS:
        text = part.text(key)
        if amazon.arn(text) is not None:
            amazon.resource(evidence, text, account=account)
    for name in ("userName", "newUserName"):
        evidence.user(amazon.said(part.text(name)), domain=account)
    bucket, key_name = amazon.said(part.text("bucketName")), part.text("key")
    if bucket and key_name:
        evidence.observe("resource", amazon.said(key_name), "S3Object")
    for text in (part.text("instanceId"), *part.texts("instancesSet.items.instanceId")):
        evidence.host(text if text and _INSTANCE.fullmatch(text) else None)
    for new in part.objects("instancesSet.items")[:50]:
        evidence.ip(new.text("privateIpAddress"))
        evidence.ip(new.text("ipAddress"))
    evidence.observe("resource", amazon.said(part.text("accessKey.accessKeyId", "accessKeyId")), "AccessKey")


def _sign_in(fields: Fields, at: str | None) -> SignIn:
    who, more = fields.object("userIdentity"), fields.object("additionalEventData")
    answer = (
        fields.text("responseElements.ConsoleLogin", "serviceEventDetails.UserAuthentication", "errorMessage") or ""
    )
    reason, failed = fields.text("errorMessage"), answer.lower() != "success"
    user = amazon.identity(who, Evidence())
    account = user.userAccount if user is not None else None
    name = account.userPrincipalName or account.accountName if account is not None else None
    factors = (more.text("MFAUsed") or "").lower() == "yes"
    agent = _AGENT.fullmatch(fields.text("userAgent") or "")
    return SignIn(
        provider="aws_cloudtrail",
        id=fields.text("eventID") or content_id(fields.data),
        at=at,
        upn=name,
        user_id=amazon.said(who.text("principalId", "userId")) or amazon.said(who.text("arn")) or name or "unknown",
        display=amazon.said(who.text("userName")) or name,
        app="AWS Management Console" if fields.text("eventName") == "ConsoleLogin" else "AWS IAM Identity Center",
        app_id=more.text("LoginTo", "samlProviderArn"),
        resource=fields.text("recipientAccountId"),
        address=fields.text("sourceIPAddress"),
        user_agent=agent[1] if agent is not None and agent[1] else None,
        code=_code(reason) if failed else Code.OK,
        reason=reason or (answer if failed and answer else None),
        factors=factors,
        steps=[Step(more.text("CredentialType") or "", not failed)] if more.has("CredentialType") else [],
        correlation_id=more.text("AuthWorkflowID"),
    )


def _code(reason: str | None) -> Code:
    words = (reason or "").lower()
    return next((code for part, code in _ERRORS.items() if part in words), Code.FAILED)
