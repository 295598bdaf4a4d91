"""AWS: against moto's server where moto has the operation, and against a double that checks signatures, filters, sorts,
pages and fails as AWS does."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.session import Session
from moto.server import ThreadedMotoServer
from tests.connectors.double_server import pulled, serving
from tests.connectors.second import Sink
from tests.respond.ticketing import TENANT

import bartizan.sources  # noqa: F401 - registers them
from bartizan.connectors.aws import GUARD_ROWS, HUB_ROWS, MAX_NOTE_CHARS, Aws, AwsSettings
from bartizan.connectors.http import Http
from bartizan.extend import SOURCES, Record
from bartizan.extend.connections import secret_fields
from bartizan.extend.connectors import Away, Batch, Denied, Push, Rejected
from bartizan.ingest.pipeline import MARKS, Pipeline
from bartizan.model.alert import Alert
from bartizan.model.times import instant
from bartizan.store import Query, open_store
from bartizan.store.alerts import ANALYST, COLLECTIONS

KEY, SECRET, REGION = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG", "eu-central-1"
KEYS = {"access_key_id": KEY, "secret_access_key": SECRET}
PRODUCT = f"arn:aws:securityhub:{REGION}::product/aws/guardduty"
DETECTOR = "d" * 32
NOW = datetime.now(UTC)
EVERY = (*COLLECTIONS, MARKS)


def ago(minutes: float) -> str:
    return f"{instant(NOW - timedelta(minutes=minutes))[:23]}Z"


def hub_finding(number: int, **more: Any) -> dict[str, Any]:
    return {
        "SchemaVersion": "2018-10-08",
        "Id": f"arn:aws:guardduty:{REGION}:1:finding/{number}",
        "ProductArn": PRODUCT,
        "GeneratorId": "g",
        "AwsAccountId": "111122223333",
        "Types": ["TTPs/Discovery"],
        "CreatedAt": ago(100),
        "UpdatedAt": ago(50 - number / 1_000),
        "Severity": {"Label": "HIGH"},
        "Title": f"Finding {number}",
        "Description": "d",
        "Resources": [{"Type": "AwsAccount", "Id": "AWS::::Account:111122223333"}],
        "Workflow": {"Status": "NEW"},
        **more,
    }


def guard_finding(number: int) -> dict[str, Any]:
    return {
        "schemaVersion": "2.0",
        "accountId": "111122223333",
        "region": REGION,
        "id": f"{number:032x}",
        "type": "Recon:EC2/PortProbeUnprotectedPort",
        "title": f"Finding {number}",
        "severity": 5,
        "createdAt": ago(100),
        "updatedAt": ago(50 - number / 1_000),
        "resource": {"resourceType": "Instance"},
        "service": {"serviceName": "guardduty", "detectorId": DETECTOR, "archived": False},
    }


class Cloud:
    """Security Hub, GuardDuty and STS of one account."""

    def __init__(self) -> None:
        self.hub: list[dict[str, Any]] = []
        self.guard: list[dict[str, Any]] = []
        self.keys = {KEY: SECRET}
        self.asked: list[tuple[str, str, Any]] = []
        self.fault: web.Response | None = None
        self.feedback: list[Any] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        wrong = self._signature(request, text)
        if wrong is not None:
            return wrong
        if self.fault is not None:
            fault, self.fault = self.fault, None
            return fault
        if "Action=AssumeRole" in text:
            return self._role(text)
        body = json.loads(text or "null")
        self.asked.append((request.method, request.path, body))
        match (request.method, *request.path.strip("/").split("/")):
            case ("POST", "findings"):
                return self._hub_page(body)
            case ("PATCH", "findings", "batchupdate"):
                return self._update(body)
            case ("GET", "detector"):
                return web.json_response({"detectorIds": [DETECTOR]} if not self._token(request) else {})
            case ("POST", "detector", _, "findings"):
                return self._list(body)
            case ("POST", "detector", _, "findings", "get"):
                found = [one for one in self.guard if one["id"] in body["findingIds"]]
                found.sort(key=lambda one: str(one["updatedAt"]) if "sortCriteria" in body else "")
                return web.json_response({"findings": found})
            case ("POST", "detector", _, "findings", "archive" | "unarchive" as verb):
                for one in self.guard:
                    if one["id"] in body["findingIds"]:
                        one["service"]["archived"] = verb == "archive"
                return web.json_response({})
            case ("POST", "detector", _, "findings", "feedback"):
                self.feedback.append(body)
                return web.json_response({})
        return web.json_response({"message": "no such operation"}, status=404)

    def _token(self, request: web.Request) -> str:
        return request.query.get("nextToken", "")

    def _signature(self, request: web.Request, text: str) -> web.Response | None:
        """What AWS checks: the request as it came gives the signature that it names."""
        given = request.headers["Authorization"]
        key, _, region, service = given.partition("Credential=")[2].partition(",")[0].split("/")[:4]
        if key not in self.keys:
            error = {"message": "The security token included in the request is invalid."}
            return web.json_response(error, status=403, headers={"x-amzn-ErrorType": "UnrecognizedClientException"})
        signed = given.partition("SignedHeaders=")[2].partition(",")[0].split(";")
        again = AWSRequest(
            request.method,
            str(request.url),
            data=text.encode(),
            headers={name: request.headers[name] for name in signed if name != "host"},
        )
        again.context["timestamp"] = request.headers["X-Amz-Date"]
        signer = SigV4Auth(Credentials(key, self.keys[key]), service, region)
        made = signer.signature(signer.string_to_sign(again, signer.canonical_request(again)), again)
        if not given.endswith(made):
            shown = f"The signature does not match.\n\nThe Canonical String was\n{request.headers}"
            error = {"message": shown, "__type": "SignatureDoesNotMatch"}
            return web.json_response(error, status=403)
        return None

    def _role(self, text: str) -> web.Response:
        if "ExternalId=ext" not in text:
            error = (
                "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>not you</Message></Error>"
            )
            return web.Response(text=error, status=403, content_type="text/xml")
        self.keys = {"ASIAROLE": "role-secret"}
        ends = instant(datetime.now(UTC) + timedelta(hours=1))[:19]
        return web.Response(
            text="<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASIAROLE</AccessKeyId>"
            "<SecretAccessKey>role-secret</SecretAccessKey><SessionToken>t/+=</SessionToken>"
            f"<Expiration>{ends}Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>",
            content_type="text/xml",
        )

    def _hub_page(self, body: dict[str, Any]) -> web.Response:
        found = [one for one in self.hub if _fits(one, body.get("Filters", {}))]
        if body.get("SortCriteria"):
            found.sort(key=lambda one: str(one["UpdatedAt"]), reverse=body["SortCriteria"][0]["SortOrder"] == "desc")
        begin = int(body.get("NextToken") or 0)
        end = begin + min(body["MaxResults"], HUB_ROWS)
        more = {"NextToken": str(end)} if end < len(found) else {}
        return web.json_response({"Findings": found[begin:end], **more})

    def _update(self, body: dict[str, Any]) -> web.Response:
        done, not_done = [], []
        for each in body["FindingIdentifiers"]:
            found = [one for one in self.hub if one["Id"] == each["Id"] and one["ProductArn"] == each["ProductArn"]]
            if not found or found[0].get("busy"):
                code = "ConcurrentUpdateError" if found else "FindingNotFound"
                not_done.append({"FindingIdentifier": each, "ErrorCode": code, "ErrorMessage": "no"})
                continue
            done.append(each)
            found[0].update({name: body[name] for name in ("Workflow", "VerificationState", "Note") if name in body})
        return web.json_response({"ProcessedFindings": done, "UnprocessedFindings": not_done})

    def _list(self, body: dict[str, Any]) -> web.Response:
        since = body["findingCriteria"]["criterion"]["updatedAt"]["greaterThanOrEqual"]
        found = [one for one in self.guard if datetime.fromisoformat(one["updatedAt"]).timestamp() * 1_000 >= since]
        found.sort(key=lambda one: str(one["updatedAt"]))
        begin = int(body.get("nextToken") or 0)
        end = begin + min(body["maxResults"], GUARD_ROWS)
        token = str(end) if end < len(found) else ""
        return web.json_response({"findingIds": [one["id"] for one in found[begin:end]], "nextToken": token})


def _fits(one: dict[str, Any], filters: dict[str, Any]) -> bool:
    for name, wanted in filters.items():
        value = one["Severity"]["Label"] if name == "SeverityLabel" else one[name]
        if not any(
            each["Start"] <= value <= each["End"] if "Start" in each else each["Value"] == value for each in wanted
        ):
            return False
    return True


@asynccontextmanager
async def connected(cloud: Cloud, **given: Any) -> AsyncIterator[Aws]:
    async with serving(cloud.answer) as url:
        outside = Http()
        try:
            settings = msgspec.convert({"regions": [REGION], **KEYS, "endpoint_url": url, **given}, AwsSettings)
            yield Aws(settings, outside)
        finally:
            await outside.close()


def titles(batches: list[Batch]) -> list[str]:
    data = [json.loads(one.raw) for batch in batches for one in batch.records]
    return [one.get("Title") or one["title"] for one in data]


def change(id: str, now: dict[str, Any] | None = None, **words: Any) -> Push:
    at = "2026-02-03T10:00:00.0000000Z"
    return Push(subject="alert", id=id, words=words, now=now or {}, by="ada", at=at, key="k", known=instant(NOW))


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.mark.asyncio
async def test_moto(moto: str) -> None:
    """Findings that were put into moto's Security Hub are read from it page by page, and become alerts; its GuardDuty
    is found with its detector."""
    given = {"region_name": REGION, "endpoint_url": moto, "aws_access_key_id": KEY, "aws_secret_access_key": SECRET}
    hub = Session().create_client("securityhub", **given)
    hub.enable_security_hub()
    for begin in (0, 80):
        hub.batch_import_findings(Findings=[hub_finding(number) for number in range(begin, begin + 80)])
    Session().create_client("guardduty", **given).create_detector(Enable=True)
    outside = Http()
    connector = Aws(msgspec.convert({"regions": [REGION], "endpoint_url": moto, **KEYS}, AwsSettings), outside)
    assert await connector.check() == f"reads Security Hub in {REGION}, GuardDuty in {REGION}"
    batches = await pulled(connector, "securityhub")
    await outside.close()
    assert titles(batches) == [f"Finding {number}" for number in range(160)]
    assert [len(batch.records) for batch in batches] == [100, 60]
    for one in batches[0].records[:3]:
        record = Record(raw=one.raw, text=one.raw.decode(), data=json.loads(one.raw))
        (made,) = SOURCES[one.source].normalise(record)
        assert isinstance(made, Alert)
        assert made.provider_alert_id.startswith(f"{PRODUCT}:arn:aws:guardduty:")


@pytest.mark.parametrize(("stream", "rows"), [("securityhub", HUB_ROWS), ("guardduty", GUARD_ROWS)])
@pytest.mark.asyncio
async def test_pages_and_cursor(stream: str, rows: int) -> None:
    """Every finding once, oldest update first; the next look begins a little before the last update that was read."""
    cloud = Cloud()
    make = hub_finding if stream == "securityhub" else guard_finding
    behind: list[dict[str, Any]] = cloud.hub if stream == "securityhub" else cloud.guard
    behind += [make(number) for number in reversed(range(rows + 7))]
    async with connected(cloud, overlap_s=60) as connector:
        first = await pulled(connector, stream)
        behind.append({**make(900), "UpdatedAt": ago(1), "updatedAt": ago(1)})
        second = await pulled(connector, stream, first[-1].cursor)
        third = await pulled(connector, stream, second[-1].cursor)
    assert titles(first) == [f"Finding {number}" for number in range(rows + 7)]
    assert [len(batch.records) for batch in first] == [rows, 7]
    assert list(json.loads(first[0].cursor)) == [REGION]
    assert first[0].cursor < first[1].cursor < second[-1].cursor
    assert "Finding 900" in titles(second)
    assert titles(third) == ["Finding 900"]


@pytest.mark.parametrize(
    "said",
    [
        {"Workflow": {"Status": "RESOLVED"}},
        {"Note": {"Text": "seen", "UpdatedBy": "eve", "UpdatedAt": ago(1)}},
        {"UserDefinedFields": {"owner": "eve"}},
        {"VerificationState": "FALSE_POSITIVE"},
    ],
)
@pytest.mark.asyncio
async def test_what_people_change_comes_with_the_next_look(said: dict[str, Any]) -> None:
    """Though AWS leaves UpdatedAt as it was; once, and nothing else with it. It can be turned off."""
    cloud = Cloud()
    cloud.hub = [hub_finding(number) for number in range(HUB_ROWS + 20)]
    async with connected(cloud, overlap_s=0) as connector, connected(cloud, overlap_s=0, changes_days=0) as without:
        first = await pulled(connector, "securityhub")
        cursor = first[-1].cursor
        newest = f"Finding {HUB_ROWS + 19}"  # which every look reads again
        assert titles(await pulled(connector, "securityhub", cursor)) == [newest]
        cloud.hub[3].update(said)
        changed = await pulled(connector, "securityhub", cursor)
        assert titles(changed) == [newest, "Finding 3"] and {batch.cursor for batch in changed} == {cursor}
        assert titles(await pulled(connector, "securityhub", cursor)) == [newest]
        assert titles(await pulled(without, "securityhub", cursor)) == [newest]


@pytest.mark.asyncio
async def test_what_people_change_shows_on_the_alert(tmp_path: Path) -> None:
    """With the time of update that it had; what was written from here comes back as the same, and is nobody's
    change, so that it does not go out again."""
    cloud = Cloud()
    cloud.hub = [hub_finding(number) for number in range(3)]
    store = open_store(tmp_path, EVERY)
    await store.start()
    pipeline = Pipeline(store, Sink())

    async def look(connector: Aws, cursor: str | None) -> str:
        batches = await pulled(connector, "securityhub", cursor)
        for one in (each for batch in batches for each in batch.records):
            await pipeline.take(TENANT, SOURCES[one.source], [one.raw], actor="connection:aws")
        return batches[-1].cursor

    async def status(number: int) -> str:
        found = (await store.tenant(TENANT).page("alerts_v2", Query(top=9, version="beta"))).rows
        alerts = [json.loads(row.wire("beta")) for row in found]
        return str(next(each["status"] for each in alerts if each["title"] == f"Finding {number}"))

    async with connected(cloud) as connector:
        cursor = await look(connector, None)
        cloud.hub[0]["Workflow"] = {"Status": "RESOLVED"}
        cursor = await look(connector, cursor)
        assert [await status(number) for number in range(3)] == ["resolved", "new", "new"]
        cloud.hub[0]["Workflow"] = {"Status": "NEW"}
        await connector.push(change(f"{PRODUCT}:{cloud.hub[1]['Id']}", status="resolved"))
        await look(connector, cursor)
        assert [await status(number) for number in range(3)] == ["new", "resolved", "new"]
    changes = await store.changes(0, limit=100, collections=["alerts_v2"])
    assert len(changes) == 6 and not any(ANALYST in (each.changed or {}) for each in changes)
    await store.close()


@pytest.mark.asyncio
async def test_regions() -> None:
    """Each region has its own place in the cursor; one that fails leaves those before it where they are."""
    cloud = Cloud()
    cloud.hub = [hub_finding(1), hub_finding(2, Severity={"Label": "LOW"}), hub_finding(3, UpdatedAt="when?")]
    async with connected(cloud, regions=[REGION, "us-east-1"], severities=["HIGH"]) as connector:
        batches = []
        with pytest.raises(Away):
            async for batch in connector.pull("securityhub", None):
                batches.append(batch)
                cloud.fault = web.json_response({}, status=503)
        assert json.loads(batches[-1].cursor).keys() == {REGION}
        rest = await pulled(connector, "securityhub", batches[-1].cursor)
        assert json.loads(rest[-1].cursor).keys() == {REGION, "us-east-1"}
    assert titles(batches) == ["Finding 1"]


@pytest.mark.parametrize(
    ("fault", "error", "said"),
    [
        (web.json_response({"Message": "Slow", "__type": "ThrottlingException"}, status=400), Away, "Slow"),
        (web.json_response({"Code": "LimitExceededException"}, status=429), Away, "LimitExceeded"),
        (web.json_response({}, status=500), Away, "500"),
        (
            web.json_response(
                {"Message": "not subscribed"}, status=401, headers={"x-amzn-ErrorType": "InvalidAccessException:x"}
            ),
            Denied,
            "not subscribed",
        ),
        (web.json_response({"__type": "com.amazon#ExpiredTokenException"}, status=400), Denied, "ExpiredToken"),
        (web.json_response({"Message": "Invalid filter"}, status=400), Rejected, "Invalid filter"),
        (web.Response(text="[]"), Rejected, "not what AWS documents"),
    ],
)  # fmt: skip
@pytest.mark.asyncio
async def test_faults(fault: web.Response, error: type[Exception], said: str) -> None:
    """What AWS answers is sorted out by its code, and no message has the secret."""
    cloud = Cloud()
    cloud.fault = fault
    async with connected(cloud) as connector:
        with pytest.raises(error, match=said) as raised:
            await pulled(connector, "securityhub")
    assert SECRET not in str(raised.value)


@pytest.mark.asyncio
async def test_credentials() -> None:
    """A key that AWS does not know is Denied; a role is taken on once and its key signs what follows; without the
    external id that it asks for it is not."""
    cloud = Cloud()
    async with connected(cloud, access_key_id="AKIDOTHER") as connector:
        with pytest.raises(Denied, match="security token"):
            await connector.check()
    async with connected(cloud, secret_access_key="other", session_token="held-back") as connector:
        with pytest.raises(Denied, match=r"SignatureDoesNotMatch The signature does not match\.$") as raised:
            await pulled(connector, "guardduty")
        assert "held-back" not in raised.value.message
    role = {"role_arn": "arn:aws:iam::111122223333:role/reader"}
    async with connected(cloud, **role) as connector:
        with pytest.raises(Denied, match="AccessDenied not you"):
            await pulled(connector, "guardduty")
    cloud.hub = [hub_finding(1)]
    async with connected(cloud, **role, external_id="ext") as connector:
        await pulled(connector, "securityhub")
        assert titles(await pulled(connector, "securityhub")) == ["Finding 1"]
    with pytest.raises(msgspec.ValidationError, match="go together"):
        msgspec.convert({"regions": [REGION], "access_key_id": KEY}, AwsSettings)
    assert secret_fields(AwsSettings) == {"secret_access_key", "session_token"}


@pytest.mark.asyncio
async def test_the_servers_own_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is asked for, what the environment of the server has signs the requests; keys beside it are refused."""
    cloud = Cloud()
    cloud.hub = [hub_finding(1)]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    none = {"access_key_id": "", "secret_access_key": None}
    async with connected(cloud, **none, own_identity=True) as connector:
        assert titles(await pulled(connector, "securityhub")) == ["Finding 1"]
    for given in ({"regions": [REGION]}, {"regions": [REGION], "own_identity": True, **KEYS}):
        with pytest.raises(msgspec.ValidationError, match="say who asks"):
            msgspec.convert(given, AwsSettings)


@pytest.mark.parametrize(
    ("words", "workflow", "verdict"),
    [
        ({"status": "inProgress"}, "NOTIFIED", None),
        ({"status": "resolved"}, "RESOLVED", None),
        ({"status": "resolved", "classification": "truePositive"}, "RESOLVED", "TRUE_POSITIVE"),
        ({"status": "resolved", "classification": "falsePositive"}, "SUPPRESSED", "FALSE_POSITIVE"),
        ({"classification": "informationalExpectedActivity"}, "NEW", "BENIGN_POSITIVE"),
        ({"classification": None}, "NEW", "UNKNOWN"),
    ],
)
@pytest.mark.asyncio
async def test_write_to_security_hub(words: dict[str, Any], workflow: str, verdict: str | None) -> None:
    """Status and verdict arrive in Security Hub's own words; what it has no place for is told."""
    cloud = Cloud()
    cloud.hub = [hub_finding(1), hub_finding(2)]
    async with connected(cloud) as connector:
        done = await connector.push(change(f"{PRODUCT}:{cloud.hub[1]['Id']}", **words, assignedTo="ada"))
    assert cloud.hub[1]["Workflow"]["Status"] == workflow
    assert cloud.hub[1].get("VerificationState") == verdict
    assert cloud.hub[0] == hub_finding(1)
    assert done.left_out == ("assignedTo",)


@pytest.mark.asyncio
async def test_notes_and_what_was_there() -> None:
    """New comments become the note; a later note by somebody else is told, with what it stood beside."""
    cloud = Cloud()
    note = {"Text": "mine", "UpdatedBy": "eve", "UpdatedAt": instant(NOW + timedelta(minutes=5))}
    cloud.hub = [hub_finding(1, Note=note)]
    id = f"{PRODUCT}:{cloud.hub[0]['Id']}"
    async with connected(cloud) as connector:
        done = await connector.push(change(id, comments=[{"comment": "a"}, {"comment": "b" * 600}], status="new"))
        assert done.overwrote == {"comments": "mine", "status": "NEW"}
        assert done.last_writer == "eve"
        assert cloud.hub[0]["Note"]["UpdatedBy"] == "ada"
        assert len(cloud.hub[0]["Note"]["Text"]) == MAX_NOTE_CHARS
        assert cloud.hub[0]["Note"]["Text"].startswith("a\nbbb")
        assert cloud.hub[0]["Note"]["Text"].endswith(" [...]")
        cloud.hub[0]["busy"] = True
        with pytest.raises(Away, match="ConcurrentUpdateError"):
            await connector.push(change(id, status="resolved"))
        cloud.hub = []
        with pytest.raises(Rejected, match="has no finding"):
            await connector.push(change(id, status="resolved"))


@pytest.mark.asyncio
async def test_write_to_guardduty() -> None:
    """Resolved is archived, everything else is not; a verdict becomes feedback, with comments beside it."""
    cloud = Cloud()
    cloud.guard = [guard_finding(1), guard_finding(2)]
    id = cloud.guard[1]["id"]
    async with connected(cloud) as connector:
        done = await connector.push(change(id, status="resolved", classification="falsePositive"))
        assert (cloud.guard[0]["service"]["archived"], cloud.guard[1]["service"]["archived"]) == (False, True)
        assert cloud.feedback == [{"findingIds": [id], "feedback": "NOT_USEFUL"}]
        assert done.left_out == ()
        await connector.push(change(id, status="inProgress"))
        assert cloud.guard[1]["service"]["archived"] is False
        done = await connector.push(change(id, comments=[{"comment": "seen"}]))
        assert done.left_out == ("comments",)
        await connector.push(change(id, {"classification": "truePositive"}, comments=[{"comment": "seen"}]))
        assert cloud.feedback[-1] == {"findingIds": [id], "feedback": "USEFUL", "comments": "seen"}
        with pytest.raises(Rejected, match="GuardDuty has no finding"):
            await connector.push(change("f" * 32, status="resolved"))
    assert sum(path == "/detector" for _, path, _ in cloud.asked) == 1


def test_without_botocore() -> None:
    """The connector is there without botocore, and says how to install it."""
    code = """
import asyncio, sys
sys.modules["botocore"] = None
from bartizan import connectors
connectors.load()
from bartizan.extend.connections import checked
from bartizan.extend.connectors import CONNECTORS, Denied
from bartizan.connectors.http import Http
kind = CONNECTORS["aws"]
settings = checked(kind, {"regions": ["eu-central-1"], "access_key_id": "a", "secret_access_key": "b"})
try:
    asyncio.run(kind(settings, Http()).check())
except Denied as error:
    print(error.message)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'bartizan[aws]'" in done.stdout
