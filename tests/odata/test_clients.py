"""What real clients and Graph's own documentation write is read, bound and answered by both engines alike.

The texts are those of the clients named beside them; values are ours.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.odata.engines import Rows
from tests.odata.objects import ALERT, EVIDENCE, SCORE, USER

from bartizan.errors import InvalidQuery
from bartizan.model.edm import edm
from bartizan.odata import bind, bind_order, bind_search, parse_filter, parse_options, parse_orderby, parse_search

INCIDENT = "microsoft.graph.security.incident"
RISKY = "microsoft.graph.riskyUser"
DETECTION = "microsoft.graph.riskDetection"
SIGN_IN = "microsoft.graph.signIn"
AUDIT = "microsoft.graph.directoryAudit"
GROUP = "microsoft.graph.group"
INDICATOR = "microsoft.graph.tiIndicator"
ISSUE = "microsoft.graph.security.healthIssue"

CLIENTS = [
    # python-security-rest-sample
    (
        ALERT,
        "$filter=category eq 'x' and vendorInformation/provider eq 'x' and Status eq 'newAlert' and Severity eq 'high' "
        "and hostStates/any(a:a/fqdn eq 'x') and userStates/any(a:a/userPrincipalName eq 'x')&$top=5",
    ),
    (ALERT, "$filter=assignedTo eq 'x'"),
    (ALERT, "$filter=severity eq 'High'"),
    # msticpy: a raw + in the URL, double quotes
    (
        ALERT,
        "$filter=createdDateTime ge 2026-11-21T02:56:38.480823+00:00 and "
        "createdDateTime le 2026-11-22T02:56:38.480823+00:00",
    ),
    (ALERT, '$filter=userStates/any(d:tolower(d/userPrincipalName) eq tolower("x"))'),
    (ALERT, '$filter=hostStates/any(d:tolower(d/netBiosName) eq tolower("x") or tolower(d/fqdn) eq tolower("x"))'),
    (ALERT, '$filter=fileStates/any(d:tolower(d/fileHash/hashValue) eq tolower("x"))'),
    # XSOAR
    (
        ALERT,
        "$filter=createdDateTime ge 2026-11-21T02:56:38Z and createdDateTime le 2026-11-22T02:56:38Z and "
        "severity eq 'high'&$top=50&$skip=100",
    ),
    (
        RISKY,
        "$top=50&$orderby=riskLastUpdatedDateTime desc&$filter=riskState eq 'atRisk' and riskLevel eq 'high' and "
        "riskLastUpdatedDateTime le 2026-11-22T02:56:38.0000000Z",
    ),
    (
        DETECTION,
        "$filter=riskState eq 'atRisk' and detectedDateTime le 2026-11-22T02:56:38.0000000Z"
        "&$orderby=detectedDateTime desc",
    ),
    (RISKY, "$top=5&"),
    # Splunk SOAR, Elastic, Tenzir, OpenCTI
    (
        INCIDENT,
        "$expand=alerts&$filter=lastUpdateDateTime ge 2026-11-21T00:00:00Z&$orderby=lastUpdateDateTime&$skip=10",
    ),
    (
        EVIDENCE,
        "$top=100&$skip=0&$filter=lastUpdateDateTime ge 2026-11-21T00:00:00.000Z&$orderby=lastUpdateDateTime asc",
    ),
    (INCIDENT, "$expand=alerts&$filter=lastUpdateDateTime%20gt%202026-11-21T00:00:00%2B00:00"),
    (INDICATOR, "$filter=externalId eq 'x'"),
    # Wazuh
    (EVIDENCE, "$top=50&$filter=createdDateTime+ge+2026-11-21T00:00:00Z+and+createdDateTime+lt+2026-11-22T00:00:00Z"),
    (DETECTION, "$filter=activityDateTime+ge+2026-11-21T00:00:00Z+and+activityDateTime+lt+2026-11-22T00:00:00Z"),
    # Cortex
    (
        USER,
        "$filter=(userPrincipalName eq 'x') or (mail eq 'x') or (onPremisesSamAccountName eq 'x') or "
        "(employeeId eq 'x')&$select=id&$count=true",
    ),
    (SIGN_IN, "$filter=userId eq 'x' and createdDateTime ge 2026-11-21&$top=12"),
    # n8n, Shuffle, the demand curve's filters
    (SCORE, "$count=true&$top=1&$filter=currentScore ge 10.5"),
    (ALERT, "$filter=(severity eq 'high' or severity eq 'medium') and (status eq 'newAlert')"),
    (
        EVIDENCE,
        "$filter=severity eq 'high' and status ne 'resolved' and serviceSource eq 'microsoftDefenderForEndpoint'",
    ),
    (INDICATOR, "$filter=fileHashValue eq 'x' or domainName eq 'x' or emailSenderAddress eq 'x'"),
    # Graph's reference: what its pages say can be filtered
    (AUDIT, "$filter=startswith(activityDisplayName,'Add') and initiatedBy/user/userPrincipalName eq 'x'"),
    (AUDIT, "$filter=targetResources/any(t: startswith(t/displayName, 'x')) and loggedByService eq 'Core Directory'"),
    (ISSUE, "$filter=domainNames/any(s:endswith(s,'contoso.com')) and healthIssueType eq 'global'"),
    (SIGN_IN, "$filter=riskEventTypes_v2/any(t: t eq 'unfamiliarFeatures') and status/errorCode eq 0"),
    (GROUP, "$filter=NOT(groupTypes/any(s:s eq 'Unified')) and mailEnabled eq false&$count=true"),
    (USER, "$filter=identities/any(c:c/issuerAssignedId eq 'j@y.com' and c/issuer eq 'My B2C tenant')"),
    (USER, "$filter=assignedLicenses/any(u:u/skuId eq cbdc14ab-d96c-4c30-b9f4-6ada7cdc1d46)"),
    (USER, "$filter=assignedLicenses/$count eq 0 and endswith(mail,'a@contoso.com')&$orderby=userPrincipalName"),
    (USER, "filter=userType eq 'guest'"),
    (GROUP, "$filter=hasMembersWithLicenseErrors+eq+true&$select=id,displayName"),
    (ALERT, "$filter=vendorInformation/provider%20eq%20%27ASC%27"),
    (ALERT, "$filter=networkConnections/any(n: n/destinationPort eq '443' and n/protocol eq 'tcp')"),
]


def read(type_name: str, query: str) -> Any:
    """The bound filter of a query string, with its order and search read too."""
    options = parse_options(query)
    of = edm("beta")
    if options.orderby:
        bind_order(parse_orderby(options.orderby), of, type_name)
    if options.search:
        bind_search(parse_search(options.search), of, type_name, searchable=("displayName", "description"))
    return None if options.filter is None else bind(parse_filter(options.filter), of, type_name)


@pytest.mark.parametrize(("type_name", "query"), CLIENTS, ids=[query[:60] for _, query in CLIENTS])
def test_client_queries(type_name: str, query: str) -> None:
    """Every query that a client was seen to send is understood."""
    read(type_name, query)


ANSWERED = {
    "title": "A title's 5",
    "severity": "high",
    "status": "newAlert",
    "confidence": 50,
    "createdDateTime": "2026-11-21T02:56:38.4808230Z",
    "vendorInformation": {"provider": "ASC", "vendor": "Contoso"},
    "tags": ["blue", "Red"],
    "hostStates": [{"fqdn": "H1.contoso.com", "os": None}, {"fqdn": None, "isAzureAdJoined": True}],
    "userStates": [],
    "riskScore": "7",
}
# Each kind of expression once: as it is written, and whether it selects ANSWERED.
KINDS = [
    ("severity eq 'high'", True),
    ("severity ne microsoft.graph.alertSeverity'high'", False),
    ("severity in ('low', 'high')", True),
    ("severity in ()", False),
    ("confidence gt 49 and confidence lt 50.5", True),
    ("confidence ge 50 and confidence le 50", True),
    ("not (confidence eq 50)", False),
    ("confidence add 1 eq 51 and confidence sub 1 eq 49", True),
    ("confidence mul 2 eq 100 and confidence div 3 eq 16", True),
    ("confidence divby 4 eq 12.5 and confidence mod 7 eq 1", True),
    ("-confidence lt 0", True),
    ("confidence div 0 eq 1 or confidence mod 0 eq 1", False),
    ("riskScore eq '7'", True),
    ("assignedTo eq null", True),
    ("assignedTo ne 'x'", True),
    ("not (assignedTo eq 'x')", True),
    ("not (assignedTo gt 'x')", True),
    ("not contains(assignedTo, 'x')", False),
    ("title eq 'A title''s 5'", True),
    ("contains(title, 'title') and startswith(title,'A') and endswith(title,'5')", True),
    ("startswith(title,'a')", False),
    ("substringof('title', title) eq true", True),
    ("indexof(title, 't') eq 2 and length(title) eq 11", True),
    ("substring(title, 2) eq 'title''s 5' and substring(title, 2, 5) eq 'title'", True),
    ("tolower(title) eq 'a title''s 5' and toupper(title) eq 'A TITLE''S 5'", True),
    ("trim(concat(' ', title)) eq title", True),
    ("createdDateTime ge 2026-11-21 and createdDateTime lt 2026-11-22", True),
    ("createdDateTime eq '2026-11-21T03:56:38.480823+01:00'", True),
    ("year(createdDateTime) eq 2026 and month(createdDateTime) eq 11 and day(createdDateTime) eq 21", True),
    ("hour(createdDateTime) eq 2 and minute(createdDateTime) eq 56 and second(createdDateTime) eq 38", True),
    ("fractionalseconds(createdDateTime) eq 0.480823 and totaloffsetminutes(createdDateTime) eq 0", True),
    ("date(createdDateTime) eq 2026-11-21 and time(createdDateTime) gt 02:56:38.48", True),
    ("createdDateTime lt now() and createdDateTime gt mindatetime() and createdDateTime lt maxdatetime()", True),
    ("createdDateTime add duration'P1D' gt 2026-11-22T02:56:38Z", True),
    ("createdDateTime sub 2026-11-21T00:00:00Z lt duration'PT3H'", True),
    ("round(confidence divby 4) eq 13 and floor(confidence divby 4) eq 12 and ceiling(confidence divby 4) eq 13", True),
    ("vendorInformation/provider eq 'ASC'", True),
    ("vendorInformation ne null and activityGroupName eq null", True),
    ("hostStates/any()", True),
    ("userStates/any() or userStates/$count gt 0", False),
    ("hostStates/$count eq 2", True),
    ("hostStates/any(h: h/fqdn eq 'H1.contoso.com')", True),
    ("hostStates/any(h: h/fqdn eq 'h1.contoso.com' and h/isAzureAdJoined eq true)", False),
    ('hostStates/any(h: contains(tolower(h/fqdn), tolower("CONTOSO")))', True),
    ("hostStates/all(h: h/fqdn ne 'x') and userStates/all(u: u/accountName eq 'x')", True),
    ("hostStates/all(h: endswith(h/fqdn, 'com'))", False),
    ("tags/any(t: t eq 'blue') and not tags/any(t: t eq 'red')", True),
    ("tags/any(t: tags/any(u: t lt u))", True),
    ("hostStates/any(h: h/isAzureAdJoined)", True),
    ("$it/title ne null", True),
    ("isof('microsoft.graph.alert')", True),
    ("(contains(title,'x')) eq false", True),
    ("true and not false", True),
    ("null eq null", True),
]


@pytest.fixture(scope="module")
def one() -> Rows:
    return Rows(ALERT, [ANSWERED])


@pytest.mark.parametrize(("text", "selected"), KINDS, ids=[text for text, _ in KINDS])
def test_kinds_of_expressions(one: Rows, text: str, selected: bool) -> None:
    """Each kind of expression selects what the standard says, in memory and in SQLite."""
    asked = bind(parse_filter(text), edm("beta"), ALERT)
    assert [bool(one.memory(asked)), bool(one.by_sqlite(asked))] == [selected, selected]


def test_flags() -> None:
    """`has` finds a member in a list of them."""
    asked = bind(parse_filter("a_b has 'x'"), edm("beta"), USER)
    rows = Rows(USER, [{"a_b": "y,x"}, {"a_b": "xx,y"}, {}])
    assert [rows.memory(asked), rows.by_sqlite(asked)] == [["000"], ["000"]]


TYPES = {
    "alerts": ALERT,
    "users": USER,
    "groups": GROUP,
    "servicePrincipals": "microsoft.graph.servicePrincipal",
    "appRoleAssignments": "microsoft.graph.appRoleAssignment",
    "riskDetections": DETECTION,
    "servicePrincipalRiskDetections": "microsoft.graph.servicePrincipalRiskDetection",
    "incidents": INCIDENT,
    "secureScoreControlProfiles": "microsoft.graph.secureScoreControlProfile",
}


@pytest.mark.shared
def test_documented_queries(shared: Path) -> None:
    """The documentation's own requests are understood, whatever their options are."""
    seen = 0
    for line in (shared / "graph" / "examples.jsonl").read_text().splitlines():
        request = json.loads(line).get("request") or {}
        path, mark, query = request.get("path", "").partition("?")
        type_name = TYPES.get(path.rstrip("/").rpartition("/")[2])
        if mark and type_name is not None:
            read(type_name, query)
            seen += 1
    assert seen > 20


BROKEN = [
    'tolower(a") eq 1',
    "(userStates/any(d:tolower(d/userPrincipalName) eq tolower(\"x\")) and (severity eq 'high')",
]


@pytest.mark.parametrize("text", BROKEN)
def test_what_some_client_writes_wrong(text: str) -> None:
    """Brackets that do not balance, as one client ships them, are a 400."""
    with pytest.raises(InvalidQuery):
        parse_filter(text)
