"""AWS Security Hub and GuardDuty: findings of the regions that are set, and what analysts decide written back.

Requests are signed by botocore and sent over the connection's own client. Findings are taken as the bytes that AWS
sends: botocore's clients would leave out what their model does not know.

Source: AWS Security Hub API Reference, GetFindings and BatchUpdateFindings; Amazon GuardDuty API Reference,
ListDetectors, ListFindings, GetFindings, ArchiveFindings, UnarchiveFindings and UpdateFindingsFeedback; AWS STS API
Reference, AssumeRole; AWS General Reference, "Signature Version 4".
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from typing import Annotated, Any, ClassVar, Literal, TypeVar
from urllib.parse import quote, urlencode

import msgspec
import structlog
from msgspec import Meta, Raw, Struct

from bartizan.extend.connectors import (
    LOCAL,
    Away,
    Batch,
    Connector,
    Denied,
    Outside,
    Pulled,
    Push,
    Pushed,
    Rejected,
    Reply,
    Secret,
    Stream,
)
from bartizan.model.times import instant, parse, to_datetime

MAX_REGIONS = 40
HUB_ROWS = 100  # the most that GetFindings gives at once
GUARD_ROWS = 50
MAX_LOOKED = 20_000  # findings of a region that one look compares: 200 requests, of which AWS takes three a second
MAX_NOTE_CHARS = 512  # of Security Hub's Note.Text
_ROLE_S = 3_600
_RENEW = timedelta(minutes=5)  # before a role's credentials end

_PASSING = re.compile(
    r"Throttl|TooManyRequests|LimitExceeded|RequestLimit|InternalException|InternalServer|Unavailable"
)
_PRODUCT = re.compile(r"(arn:[\w-]+:securityhub:([\w-]*):\d*:product/[^:]+):(.+)", re.DOTALL)
_STATUSES = {"new": "NEW", "inProgress": "NOTIFIED", "resolved": "RESOLVED"}
_VERDICTS = {
    "unknown": "UNKNOWN",
    "truePositive": "TRUE_POSITIVE",
    "falsePositive": "FALSE_POSITIVE",
    "informationalExpectedActivity": "BENIGN_POSITIVE",
}
_FEEDBACK = {"truePositive": "USEFUL", "falsePositive": "NOT_USEFUL"}
# Resolved with one of these needs no work and is not to come back: a resolved finding becomes new when it recurs.
_NO_WORK = frozenset({"falsePositive", "informationalExpectedActivity"})

_log = structlog.get_logger(__name__)

T = TypeVar("T")
Region = Annotated[str, Meta(pattern="^[a-z]{2}(-[a-z]+)+-[0-9]$")]
Severity = Literal["INFORMATIONAL", "LOW", "MEDIUM", "HIGH", "CRITICAL"]


class AwsSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    regions: Annotated[
        tuple[Region, ...], Meta(description="whose findings are read", min_length=1, max_length=MAX_REGIONS)
    ]
    access_key_id: Annotated[str, Meta(description="of a user, or of temporary credentials", max_length=128)] = ""
    secret_access_key: Annotated[Secret, Meta(description="of the access key")] | None = None
    session_token: Annotated[Secret, Meta(description="of temporary credentials")] | None = None
    own_identity: Annotated[
        bool, Meta(description="instead: the identity of the server, as AWS's tools find it", extra=LOCAL)
    ] = False
    role_arn: Annotated[str, Meta(description="role that is taken on", pattern="^(arn:|$)", max_length=2_048)] = ""
    external_id: Annotated[str, Meta(description="that the role asks for", max_length=1_224)] = ""
    severities: Annotated[tuple[Severity, ...], Meta(description="of Security Hub; all where empty")] = ()
    since_days: Annotated[int, Meta(description="how far back the first look goes", ge=1, le=90)] = 7
    changes_days: Annotated[
        int, Meta(description="how old findings are compared for what people changed; 0: none", ge=0, le=90)
    ] = 7
    overlap_s: Annotated[int, Meta(description="how late a finding may appear", ge=0, le=86_400)] = 900
    endpoint_url: Annotated[str, Meta(description="instead of AWS's own, for labs", pattern="^(https?://|$)")] = ""
    ca_file: Annotated[str, Meta(description="certificate authority of such an endpoint, as PEM", extra=LOCAL)] = ""
    verify: Annotated[bool, Meta(description="whether its certificate is checked")] = True

    def __post_init__(self) -> None:
        if bool(self.access_key_id) != (self.secret_access_key is not None):
            raise ValueError("access_key_id and secret_access_key go together")
        if bool(self.access_key_id) == self.own_identity:
            raise ValueError("say who asks: either access_key_id and secret_access_key, or own_identity")


class _HubPage(Struct):
    findings: list[Raw] = msgspec.field(name="Findings", default_factory=list)
    token: str | None = msgspec.field(name="NextToken", default=None)


class _Updated(Struct):
    """When a finding was last changed by its provider, in the spelling of either service."""

    hub: Any = msgspec.field(name="UpdatedAt", default=None)
    guard: Any = msgspec.field(name="updatedAt", default=None)


class Aws(Connector):
    name: ClassVar[str] = "aws"
    vendor: ClassVar[str] = "AWS"
    product: ClassVar[str] = "Security Hub and GuardDuty"
    doc: ClassVar[str] = "Findings of AWS Security Hub and GuardDuty, with status, verdict and notes both ways."
    settings: ClassVar[type[Struct]] = AwsSettings
    streams: ClassVar[Mapping[str, Stream]] = {
        "securityhub": Stream("Findings of Security Hub, by their last update.", every_s=120),
        "guardduty": Stream("Findings of GuardDuty, by their last update.", every_s=120),
    }
    owns: ClassVar[tuple[tuple[str, str], ...]] = (("AWS", "Security Hub"), ("AWS", "GuardDuty"))
    pushes: ClassVar[Mapping[Any, frozenset[str]]] = {"alert": frozenset({"status", "classification", "comments"})}

    def __init__(self, settings: AwsSettings, outside: Outside) -> None:
        super().__init__(settings, outside)
        self._signer = _Signer(settings, outside)
        self._handling: dict[str, dict[str, str]] = {}  # region -> finding -> mark of what people have said of it
        self._detectors: dict[str, list[str]] = {}  # region -> ids

    async def check(self) -> str:
        """What the credentials may read, region by region. Denied where that is nothing."""
        found, refused = [], []
        for region in self.set.regions:
            asked: dict[str, Callable[[], Awaitable[Any]]] = {
                "Security Hub": partial(self._hub_page, region, {"MaxResults": 1}),
                "GuardDuty": partial(self._detectors_of, region),
            }
            for service, ask in asked.items():
                try:
                    await ask()
                    found.append(f"{service} in {region}")
                except (Denied, Rejected) as error:
                    refused.append(error.message)
        if not found:
            raise Denied("; ".join(refused)[:2_000])
        return f"reads {', '.join(found)}" + (f"; not: {'; '.join(refused)}"[:2_000] if refused else "")

    async def pull(self, stream: str, cursor: str | None) -> AsyncIterator[Batch]:
        """The cursor is the last update that was read, by region; each region goes on by itself."""
        at: dict[str, str] = msgspec.json.decode(cursor, type=dict[str, str]) if cursor else {}
        pages = self._hub if stream == "securityhub" else self._guard
        source = "aws_securityhub" if stream == "securityhub" else "aws_guardduty"
        for region in self.set.regions:
            known = at.get(region)
            since = (
                to_datetime(known) - timedelta(seconds=self.set.overlap_s)
                if known is not None
                else datetime.now(UTC) - timedelta(days=self.set.since_days)
            )
            before, seen = self._handling.get(region, {}), dict[str, str]()  # what people have said: then, and now
            async for findings in pages(region, since):
                at[region] = max([at.get(region, ""), *map(_updated, findings)])
                if not at[region]:
                    del at[region]
                told = map(bytes, findings) if stream == "guardduty" else _told(findings, before, seen)
                records = [Pulled(source, each) for each in told]
                yield Batch(cursor=msgspec.json.encode(at, order="sorted").decode(), records=records)
            if stream == "guardduty":
                continue
            if known is not None and self.set.changes_days:
                async for changed in self._changed(region, before, seen):
                    records = [Pulled(source, each) for each in changed]
                    yield Batch(cursor=msgspec.json.encode(at, order="sorted").decode(), records=records)
            self._handling[region] = seen

    async def _changed(
        self, region: str, before: Mapping[str, str], seen: dict[str, str]
    ) -> AsyncIterator[list[bytes]]:
        """Findings that people have changed since the last look, beside those that this one has `seen`. UpdatedAt does
        not move for that, and no filter asks for it: all of some days are looked at again, newest first, and compared
        with what they were. What this process has not looked at yet comes once more, which changes nothing where it
        is known."""
        looked = 0
        async for findings in self._hub(region, datetime.now(UTC) - timedelta(days=self.set.changes_days), "desc"):
            marks = dict(map(_handling, findings))
            other = [
                each
                for each, (id, mark) in zip(findings, map(_handling, findings), strict=True)
                if seen.get(id, before.get(id)) != mark
            ]
            if other:
                yield _told(other, before, seen)
            seen |= marks
            looked += len(findings)
            if looked >= MAX_LOOKED:
                _log.warning("aws.changes_not_all_looked_at", region=region, looked=looked)
                return

    async def push(self, change: Push) -> Pushed:
        split = _PRODUCT.fullmatch(change.id)
        if split is not None:
            return await self._push_hub(change, split[1], split[2], split[3])
        return await self._push_guard(change)

    # ------------------------------------------------------------ Security Hub

    async def _hub(self, region: str, since: datetime, order: str = "asc") -> AsyncIterator[list[Raw]]:
        filters: dict[str, Any] = {"UpdatedAt": [{"Start": _ms(since), "End": _ms(datetime.now(UTC))}]}
        if self.set.severities:
            filters["SeverityLabel"] = [{"Value": each, "Comparison": "EQUALS"} for each in self.set.severities]
        body: dict[str, Any] = {
            "Filters": filters,
            "SortCriteria": [{"Field": "UpdatedAt", "SortOrder": order}],
            "MaxResults": HUB_ROWS,
        }
        while True:
            page = await self._hub_page(region, body)
            if page.findings:
                yield page.findings
            if not page.token or page.token == body.get("NextToken"):
                return
            body["NextToken"] = page.token

    async def _hub_page(self, region: str, body: Mapping[str, Any]) -> _HubPage:
        reply = await self._signer.ask("securityhub", region, "POST", "/findings", body)
        return _read(reply, _HubPage)

    async def _push_hub(self, change: Push, product: str, home: str, id: str) -> Pushed:
        region = home if home in self.set.regions else self.set.regions[0]  # that one sees what it aggregates
        there = await self._hub_there(region, product, id)
        body: dict[str, Any] = {"FindingIdentifiers": [{"Id": id, "ProductArn": product}]}
        left_out: list[str] = []
        for word, value in change.words.items():
            if word == "status" and value in _STATUSES:
                verdict = change.words.get("classification", change.now.get("classification"))
                settled = value == "resolved" and verdict in _NO_WORK
                body["Workflow"] = {"Status": "SUPPRESSED" if settled else _STATUSES[value]}
            elif word == "classification" and (value or "unknown") in _VERDICTS:
                body["VerificationState"] = _VERDICTS[value or "unknown"]
            elif word == "comments" and value:
                body["Note"] = {"Text": _note(value), "UpdatedBy": change.by[:MAX_NOTE_CHARS]}
            elif word != "comments":
                left_out.append(word)
        if len(body) > 1:
            reply = await self._signer.ask("securityhub", region, "PATCH", "/findings/batchupdate", body)
            _processed(reply, id)
        return _overwritten(change, there, tuple(left_out))

    async def _hub_there(self, region: str, product: str, id: str) -> dict[str, Any]:
        filters = {
            name: [{"Value": value, "Comparison": "EQUALS"}] for name, value in (("Id", id), ("ProductArn", product))
        }
        page = await self._hub_page(region, {"Filters": filters, "MaxResults": 1})
        if not page.findings:
            raise Rejected(f"Security Hub in {region} has no finding {id[:200]}", status=404)
        there: dict[str, Any] = msgspec.json.decode(page.findings[0])
        return there

    # ------------------------------------------------------------ GuardDuty

    async def _guard(self, region: str, since: datetime) -> AsyncIterator[list[Raw]]:
        by_update = {"attributeName": "updatedAt", "orderBy": "ASC"}
        for detector in await self._detectors_of(region):
            body: dict[str, Any] = {
                "findingCriteria": {"criterion": {"updatedAt": {"greaterThanOrEqual": int(since.timestamp() * 1_000)}}},
                "sortCriteria": by_update,
                "maxResults": GUARD_ROWS,
            }
            while True:
                listed = await self._guarded(region, detector, "findings", body)
                if listed.get("findingIds"):
                    yield await self._findings(region, detector, listed["findingIds"], by_update)
                token = listed.get("nextToken")
                if not token or token == body.get("nextToken"):
                    break
                body["nextToken"] = token

    async def _findings(
        self, region: str, detector: str, ids: Sequence[str], order: Mapping[str, str] | None = None
    ) -> list[Raw]:
        body = {"findingIds": ids, **({"sortCriteria": order} if order is not None else {})}
        path = f"/detector/{quote(detector, safe='')}/findings/get"
        reply = await self._signer.ask("guardduty", region, "POST", path, body)
        return _read(reply, dict[str, list[Raw]]).get("findings", [])

    async def _guarded(self, region: str, detector: str, what: str, body: Mapping[str, Any]) -> dict[str, Any]:
        path = f"/detector/{quote(detector, safe='')}/{what}"
        return _read(await self._signer.ask("guardduty", region, "POST", path, body), dict[str, Any])

    async def _detectors_of(self, region: str) -> list[str]:
        """A region has one detector, or none."""
        query: dict[str, str] = {}
        found: list[str] = []
        while True:
            reply = await self._signer.ask("guardduty", region, "GET", "/detector", None, query)
            data = _read(reply, dict[str, Any])
            found += [str(each) for each in data.get("detectorIds") or ()]
            token = data.get("nextToken")
            if not token or token == query.get("nextToken"):
                return found
            query = {"nextToken": str(token)}

    async def _push_guard(self, change: Push) -> Pushed:
        region, detector = await self._where(change.id)
        ids = {"findingIds": [change.id]}
        left_out = []
        notes = _note(change.words.get("comments") or ())
        feedback = _FEEDBACK.get(str(change.words.get("classification", change.now.get("classification"))))
        for word, value in change.words.items():
            if word == "status" and value in _STATUSES:
                await self._guarded(
                    region, detector, f"findings/{'archive' if value == 'resolved' else 'unarchive'}", ids
                )
            elif word not in ("classification", "comments") or feedback is None:
                left_out.append(word)  # feedback is useful or not useful, and a comment goes with it alone
        if feedback is not None and ("classification" in change.words or notes):
            body = {**ids, "feedback": feedback, **({"comments": notes} if notes else {})}
            await self._guarded(region, detector, "findings/feedback", body)
        return Pushed(left_out=tuple(left_out))

    async def _where(self, id: str) -> tuple[str, str]:
        """The region and detector that has a finding."""
        for region in self.set.regions:
            if region not in self._detectors:
                self._detectors[region] = await self._detectors_of(region)
            for detector in self._detectors[region]:
                if await self._findings(region, detector, [id]):
                    return region, detector
        raise Rejected(f"GuardDuty has no finding {id[:100]} in {', '.join(self.set.regions)}", status=404)


class _Handling(Struct):
    """What BatchUpdateFindings lets people say of a finding."""

    id: Any = msgspec.field(name="Id", default=None)
    product: Any = msgspec.field(name="ProductArn", default=None)
    workflow: Any = msgspec.field(name="Workflow", default=None)
    verdict: Any = msgspec.field(name="VerificationState", default=None)
    note: Any = msgspec.field(name="Note", default=None)
    own: Any = msgspec.field(name="UserDefinedFields", default=None)
    severity: Any = msgspec.field(name="Severity", default=None)
    confidence: Any = msgspec.field(name="Confidence", default=None)
    criticality: Any = msgspec.field(name="Criticality", default=None)
    types: Any = msgspec.field(name="Types", default=None)
    related: Any = msgspec.field(name="RelatedFindings", default=None)


def _handling(finding: Raw) -> tuple[str, str]:
    """Mark of a finding, and of what people have said of it."""
    try:
        said = msgspec.json.decode(finding, type=_Handling)
    except msgspec.DecodeError:
        return _mark(bytes(finding)), ""
    words = msgspec.json.encode([*msgspec.structs.astuple(said)], order="sorted")
    return _mark(f"{said.product}\0{said.id}".encode()), _mark(words)


def _told(findings: Sequence[Raw], before: Mapping[str, str], seen: dict[str, str]) -> list[bytes]:
    """Each as it came, and notes what people have said of it. One that was seen to change says by a member,
    ReadAt, when: back in a former state it would be taken for a repeat of that otherwise."""
    at, told = _ms(datetime.now(UTC)).encode(), []
    for each in findings:
        id, mark = _handling(each)
        seen[id] = mark
        is_changed = before.get(id, mark) != mark
        told.append(b'%s,"ReadAt":"%s"}' % (bytes(each).rstrip()[:-1], at) if is_changed else bytes(each))
    return told


def _mark(content: bytes) -> str:
    return sha256(content).hexdigest()[:16]


def _updated(finding: Raw) -> str:
    """As wire instant; empty where it has none that can be read."""
    try:
        at = msgspec.json.decode(finding, type=_Updated)
        return parse(at.hub or at.guard)
    except (msgspec.DecodeError, ValueError, TypeError, AttributeError):
        return ""


def _ms(at: datetime) -> str:
    return f"{instant(at)[:23]}Z"


def _note(comments: Sequence[Any]) -> str:
    """The comments as one text; one that is too long ends visibly."""
    texts = [str(each.get("comment") if isinstance(each, dict) else each) for each in comments]
    whole = "\n".join(texts)
    return whole if len(whole) <= MAX_NOTE_CHARS else whole[: MAX_NOTE_CHARS - 6] + " [...]"


def _processed(reply: Reply, id: str) -> None:
    """BatchUpdateFindings answers 200 also for what it did not do."""
    for each in _read(reply, dict[str, Any]).get("UnprocessedFindings") or ():
        text = f"Security Hub did not change {id[:200]}: {each.get('ErrorCode')} {each.get('ErrorMessage')}"[:500]
        if each.get("ErrorCode") in ("ConcurrentUpdateError", "InternalFailure"):
            raise Away(text)
        raise Rejected(text)


def _overwritten(change: Push, there: Mapping[str, Any], left_out: tuple[str, ...]) -> Pushed:
    """Security Hub does not move UpdatedAt for what customers change: a later note shows that somebody was there."""
    note = there.get("Note") or {}
    try:
        later = change.known is not None and parse(str(note.get("UpdatedAt"))) > parse(change.known)
    except ValueError:
        later = False
    if not later or note.get("UpdatedBy") == change.by:
        return Pushed(left_out=left_out)
    words = {
        "status": (there.get("Workflow") or {}).get("Status"),
        "classification": there.get("VerificationState"),
        "comments": note.get("Text"),
    }
    overwrote = {word: words[word] for word in change.words if words.get(word) is not None}
    return Pushed(overwrote=overwrote or None, last_writer=note.get("UpdatedBy"), left_out=left_out)


def _read(reply: Reply, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(reply.body or b"{}", type=kind)
    except msgspec.DecodeError:
        raise Rejected("the answer is not what AWS documents") from None


# ---------------------------------------------------------------- signed requests


class _Signer:
    """Requests in the name of an access key, of the server's own identity, or of a role that either takes on."""

    def __init__(self, settings: AwsSettings, outside: Outside) -> None:
        self._set = settings
        self._outside = outside
        self._session: Any = None
        self._role: tuple[Any, datetime] | None = None  # credentials and when they are to be renewed

    async def ask(
        self,
        service: str,
        region: str,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        query: Mapping[str, str] | None = None,
    ) -> Reply:
        data = b"" if body is None else msgspec.json.encode(body)
        credentials = await self._credentials(region)
        url = await self._endpoint(service, region) + path
        if query:
            url += f"?{urlencode(query, quote_via=quote)}"
        return await self._send(credentials, service, region, method, url, data, "application/json")

    async def _send(
        self, credentials: Any, service: str, region: str, method: str, url: str, data: bytes, kind: str
    ) -> Reply:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        request = AWSRequest(method=method, url=url, data=data, headers={"Content-Type": kind})
        SigV4Auth(credentials, service, region).add_auth(request)
        reply = await self._outside.ask(
            method, url, headers=dict(request.headers.items()), data=data, allow=(400, 401, 403, 404, 409, 429)
        )
        if reply.status >= 400:
            raise _refused(reply, f"{service} in {region}")
        return reply

    async def _credentials(self, region: str) -> Any:
        if not self._set.role_arn:
            return await self._own()
        if self._role is None or self._role[1] <= datetime.now(UTC):
            self._role = await self._assumed(region)
        return self._role[0]

    async def _own(self) -> Any:
        """The key of the settings, or what botocore finds: environment, files, the instance's own role."""
        session = await self._botocore()
        from botocore.credentials import Credentials

        if self._set.access_key_id:
            return Credentials(self._set.access_key_id, self._set.secret_access_key, self._set.session_token)
        found = await asyncio.to_thread(session.get_credentials)
        if found is None:
            raise Denied("the server has no identity that AWS's tools would find")
        return await asyncio.to_thread(found.get_frozen_credentials)

    async def _assumed(self, region: str) -> tuple[Any, datetime]:
        own = await self._own()
        from botocore.credentials import Credentials

        form = {
            "Action": "AssumeRole",
            "Version": "2011-06-15",
            "RoleArn": self._set.role_arn,
            "RoleSessionName": "bartizan",
            "DurationSeconds": str(_ROLE_S),
            **({"ExternalId": self._set.external_id} if self._set.external_id else {}),
        }
        kind = "application/x-www-form-urlencoded"
        url = await self._endpoint("sts", region) + "/"
        reply = await self._send(own, "sts", region, "POST", url, urlencode(form).encode(), kind)
        text = reply.body.decode("utf-8", "replace")
        part = {
            name: match[1]
            for name in ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")
            if (match := re.search(rf"<{name}>([^<]+)</{name}>", text)) is not None
        }
        if len(part) < 4:
            raise Rejected("the answer of STS has no credentials")
        ends = to_datetime(parse(part["Expiration"])) - _RENEW
        return Credentials(part["AccessKeyId"], part["SecretAccessKey"], part["SessionToken"]), ends

    async def _endpoint(self, service: str, region: str) -> str:
        if self._set.endpoint_url:
            return str(self._set.endpoint_url).rstrip("/")
        session = await self._botocore()
        resolver = await asyncio.to_thread(session.get_component, "endpoint_resolver")
        found = await asyncio.to_thread(resolver.construct_endpoint, service, region)
        if found is None:
            raise Rejected(f"AWS has no {service} in the region {region}")
        return f"https://{found['hostname']}"

    async def _botocore(self) -> Any:
        if self._session is None:
            try:
                from botocore.session import Session
            except ImportError:
                raise Denied("requests to AWS need botocore: install it with pip install 'bartizan[aws]'") from None
            self._session = await asyncio.to_thread(Session)
        return self._session


def _refused(reply: Reply, said: str) -> Away | Denied | Rejected:
    """AWS says in words what a status alone does not: throttling comes with 400 too."""
    data = reply.data if isinstance(reply.data, dict) else {}
    xml = re.search(
        r"<Code>([^<]{1,100})</Code>\s*<Message>([^<]{0,300})", reply.body[:10_000].decode("utf-8", "replace")
    )
    code = reply.headers.get("x-amzn-errortype") or data.get("__type") or data.get("Code") or (xml[1] if xml else "")
    code = str(code).partition(":")[0].rpartition("#")[2]
    words = data.get("message") or data.get("Message") or (xml[2] if xml else "")
    first = str(words).strip().partition("\n")[0]  # a wrong signature is followed by all that was signed
    text = f"{said}: {reply.status} {code} {first}".rstrip()[:500]
    if reply.status == 429 or _PASSING.search(code):
        return Away(text, status=reply.status)
    if reply.status in (401, 403) or re.search(r"AccessDenied|InvalidAccess|Unrecognized|ExpiredToken|Signature", code):
        return Denied(text, status=reply.status)
    return Rejected(text, status=reply.status)
