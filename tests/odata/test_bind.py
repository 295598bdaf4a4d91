"""Names and constants get their meaning from the schema; what has none is a 400 that says what has."""

import pytest
from tests.odata.objects import ALERT, EVIDENCE, SCORE, USER

from bartizan.errors import InvalidQuery
from bartizan.model.edm import edm
from bartizan.odata import bind, bind_order, bind_search, parse_filter, parse_orderby, parse_search
from bartizan.odata.tree import Any, Arithmetic, Compare, Expr, In, Literal, Not, Or, Path, Search

RISKY = "microsoft.graph.riskyUser"
LOCATION = "microsoft.graph.namedLocation"
INCIDENT = "microsoft.graph.security.incident"
TITLE = Path(("title",), None, "Edm.String", "text")
SEVERITY = Path(("severity",), None, "microsoft.graph.alertSeverity", "enum")
CREATED = Path(("createdDateTime",), None, "Edm.DateTimeOffset", "instant")


def bound(text: str, type_name: str = ALERT, **more: frozenset[str]) -> Expr:
    return bind(parse_filter(text), edm("v1.0"), type_name, **more)


def refusal(text: str, type_name: str = ALERT, **more: frozenset[str]) -> str:
    with pytest.raises(InvalidQuery) as refused:
        bound(text, type_name, **more)
    assert refused.value.message.startswith("Invalid filter clause: ")
    return refused.value.message


def test_names_in_any_case() -> None:
    """Properties and enum members get the spelling of the schema, whatever a client writes."""
    assert bound("Severity eq 'HIGH'") == Compare("eq", SEVERITY, Literal("high", "enum"))
    assert bound("SEVERITY in ('Low',\"mEdium\")") == In(SEVERITY, (Literal("low", "enum"), Literal("medium", "enum")))
    provider = Path(("vendorInformation", "provider"), None, "Edm.String", "text")
    assert bound("VendorInformation/PROVIDER eq 'x'") == Compare("eq", provider, Literal("x", "text"))


@pytest.mark.parametrize(
    "literal", ["'high'", "microsoft.graph.alertSeverity'high'", '"High"', "graph.alertSeverity'HIGH'"]
)
def test_enum_literals(literal: str) -> None:
    """A member is written with or without its type."""
    assert bound(f"severity eq {literal}") == Compare("eq", SEVERITY, Literal("high", "enum"))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2026-11-21", "2026-11-21T00:00:00.0000000Z"),
        ("'2026-11-21'", "2026-11-21T00:00:00.0000000Z"),
        ("2026-11-21T02:56Z", "2026-11-21T02:56:00.0000000Z"),
        ("2026-11-21t02:56:38z", "2026-11-21T02:56:38.0000000Z"),
        ("2026-11-21T02:56:38.480823 00:00", "2026-11-21T02:56:38.4808230Z"),
        ("2026-11-21T02:56:38.480823+00:00", "2026-11-21T02:56:38.4808230Z"),
        ("2026-11-21T02:56:38 02:00", "2026-11-21T00:56:38.0000000Z"),
        ("2026-11-21T02:56:38-0530", "2026-11-21T08:26:38.0000000Z"),
        ("'2026-11-21T02:56:38.1Z'", "2026-11-21T02:56:38.1000000Z"),
        ("2026-11-21T02:56:38.123456789012345678Z", "2026-11-21T02:56:38.1234567Z"),
        ("datetime'2026-11-21T02:56:38'", "2026-11-21T02:56:38.0000000Z"),
        ("DateTimeOffset'2026-11-21T02:56:38Z'", "2026-11-21T02:56:38.0000000Z"),
        ("2026-11-21T02:56:38", "2026-11-21T02:56:38.0000000Z"),
    ],
)
def test_instants(written: str, meant: str) -> None:
    """Every form of a date and time that clients send is the same instant in the wire's width."""
    assert bound(f"createdDateTime ge {written}") == Compare("ge", CREATED, Literal(meant, "instant"))


def test_constants_take_the_kind_of_the_property() -> None:
    """GUIDs in lower case for GUIDs and as they stand for texts; the literal may stand on either side."""
    license = "assignedLicenses/any(a: a/skuId eq {})"
    any_of = bound(license.format("CBDC14AB-d96c-4c30-b9f4-6ada7cdc1d46"), USER)
    assert any_of == bound(license.format("'cbdc14ab-d96c-4c30-b9f4-6ada7cdc1d46'"), USER)
    assert isinstance(any_of, Any)
    resource = Path(("resourceId",), None, "Edm.String", "text")
    guid = "8E881353-1735-45af-af21-ee1344582a4d"
    wanted = Compare("eq", resource, Literal(guid, "text"))
    assert bound(f"resourceId eq {guid}", "microsoft.graph.signIn") == wanted
    assert bound("'x' eq title") == Compare("eq", TITLE, Literal("x", "text"))
    assert bound("2026-11-21 lt createdDateTime") == bound("createdDateTime gt 2026-11-21")


def test_members_are_ordered_by_their_numbers() -> None:
    """`severity ge 'medium'` means medium and what the schema numbers above it."""
    assert bound("severity ge 'medium'") == In(SEVERITY, (Literal("medium", "enum"), Literal("high", "enum")))
    assert bound("'medium' gt severity") == bound("severity lt 'medium'")
    assert "unknownFutureValue" not in str(bound("severity ge 'low'"))


def test_constants_are_computed_once() -> None:
    """What does not depend on the object is a constant in the tree; now() is not."""
    assert bound("title eq tolower('ABC')") == bound("title eq 'abc'")
    assert bound("confidence eq 2 mul 3 add 1") == bound("confidence eq 7")
    assert bound("title eq concat('a', null)") == bound("title eq null")
    later = bound("createdDateTime ge now() sub duration'P1D'")
    assert isinstance(later, Compare)
    assert isinstance(later.right, Arithmetic)
    assert later.right.right == Literal(864_000_000_000, "duration")


def test_case_is_ignored_where_the_set_says_so() -> None:
    """The path, also that of a lambda's element, carries it."""
    made = bound("assignedTo eq 'X' and tags/any(t: t eq 'Y')", fold=frozenset(("assignedTo", "tags")))
    assert str(made).count("fold=True") == 2


FAMILY = [
    ("evidence/any(e: e/deviceDnsName eq 'x')", EVIDENCE),
    ("evidence/any(e: e/ipAddress eq '1.2.3.4')", EVIDENCE),
    ("evidence/any(e: e/ipAddress/ipAddress eq '1.2.3.4')", EVIDENCE),
    ("evidence/any(e: e/microsoft.graph.security.userEvidence/userAccount/accountName eq 'x')", EVIDENCE),
    ("evidence/any(e: isof(e, 'microsoft.graph.security.ipEvidence'))", EVIDENCE),
    ("evidence/any(e: e/graph.security.ipEvidence/ipAddress eq '1.2.3.4')", EVIDENCE),
    ("evidence/microsoft.graph.security.ipEvidence/any(e: e/ipAddress eq '1.2.3.4')", EVIDENCE),
    ("evidence/microsoft.graph.security.ipEvidence/any()", EVIDENCE),
    ("isof('microsoft.graph.ipNamedLocation') and isTrusted eq true", LOCATION),
    ("microsoft.graph.countryNamedLocation/countriesAndRegions/any(c: c eq 'AT')", LOCATION),
    ("microsoft.graph.directoryObject/id eq 'x'", USER),
]


@pytest.mark.parametrize(("text", "type_name"), FAMILY)
def test_families(text: str, type_name: str) -> None:
    """Properties that only derived types have are found, with a cast and without."""
    bound(text, type_name)


def test_casts_ask_for_the_type() -> None:
    """A cast selects objects of its type only; one that the schema makes certain asks for nothing."""
    made = str(bound("evidence/any(e: e/microsoft.graph.security.ipEvidence/verdict ne 'malicious')", EVIDENCE))
    assert "#microsoft.graph.security.ipEvidence" in made
    assert bound("isof('microsoft.graph.user')", USER) == Literal(True, "bool")
    assert bound("microsoft.graph.user/displayName eq 'x'", USER) == bound("displayName eq 'x'", USER)


def test_extensions() -> None:
    """An extension of an open type is a property without a schema; it takes the kind of what it is compared with."""
    assert bound("adatumisv_courses/id eq '123'", "microsoft.graph.group") == Compare(
        "eq", Path(("adatumisv_courses", "id"), None, None, "text"), Literal("123", "text")
    )


REFUSED = [
    ("nonsense eq 1", ALERT, "Could not find a property named 'nonsense' on type 'microsoft.graph.alert'; it has: "),
    ("severity eq 'huge'", ALERT, "'huge' is no member of microsoft.graph.alertSeverity; members: "),
    ("severity eq 5", ALERT, "no member of"),
    ("employeeId eq 5", USER, "cannot compare 'employeeId' (String) with 5 (int); write it in quotes: '5'"),
    ("confidence eq '5'", ALERT, "write it without quotes"),
    ("confidence eq true", ALERT, "cannot compare"),
    ("accountEnabled eq 'true'", USER, "write it without quotes"),
    ("accountEnabled gt false", USER, "has no order"),
    ("createdDateTime ge 'yesterday'", ALERT, "not a date and time: 'yesterday'"),
    ("createdDateTime ge 2026-13-01T00:00:00Z", ALERT, "'2026-13-01T00:00:00Z': month must be in 1..12"),
    ("createdDateTime ge 2026-11-01T00:00:00+25:00", ALERT, "no zone is +25:00 from UTC"),
    ("createdDateTime ge 2026-11-01T00:00:00-01:60", ALERT, "no zone is -01:60 from UTC"),
    ("createdDateTime ge 2026-02-30", ALERT, "day"),
    ("createdDateTime ge 5", ALERT, "cannot compare"),
    ("title ge 2026-11-21", ALERT, "write its value in quotes: '2026-11-21'"),
    ("title", ALERT, "is not a condition"),
    ("title add 1 eq 2", ALERT, "is not a number"),
    ("length(confidence) eq 2", ALERT, "length takes enum or guid or text, not 'confidence' (Int32)"),
    ("contains(title, 5)", ALERT, "contains takes"),
    ("vendorInformation eq 'x'", ALERT, "not a single value"),
    ("hostStates eq 'x'", ALERT, "'hostStates' is a collection: use hostStates/any(x: ...)"),
    ("hostStates/fqdn eq 'x'", ALERT, "'hostStates' is a collection: use hostStates/any(x: x/fqdn ...)"),
    ("title/any()", ALERT, "'title' is not a collection"),
    ("title/x eq 1", ALERT, "'title' (Edm.String) has no property 'x'"),
    ("alerts/any(a: a/title eq 'x')", INCIDENT, "'alerts' is a relationship, not a property"),
    ("manager/displayName eq 'x'", USER, "'manager' is a relationship"),
    ("title has 5", ALERT, "has takes an enum property"),
    ("severity has null", ALERT, "has takes an enum property"),
    ("isof('microsoft.graph.nothing')", ALERT, "there is no type 'microsoft.graph.nothing'"),
    ("isof('nothing')", ALERT, "isof knows no type 'nothing'"),
    ("isof('microsoft.graph.user')", ALERT, "microsoft.graph.user is not a kind of microsoft.graph.alert"),
    (
        "evidence/any(e: isof('microsoft.graph.security.ipEvidence'))",
        EVIDENCE,
        "of the element it is isof(e,'microsoft.graph.security.ipEvidence')",
    ),
    ("evidence/any(e: isof(e, 'microsoft.graph.user'))", EVIDENCE, "is not a kind of"),
    ("evidence/any(e: e/microsoft.graph.security.noEvidence/x eq 1)", EVIDENCE, "there is no type"),
    ("evidence/microsoft.graph.user/any(e: e/mail eq 'x')", EVIDENCE, "is not a kind of"),
    ("microsoft.graph.user/title eq 'x'", ALERT, "microsoft.graph.user is not a kind of microsoft.graph.alert"),
    ("$it eq 'x'", ALERT, "$it, the object itself"),
    ("assignedLicenses/any(a: a/skuId eq 'x')", USER, "'x' is not a guid"),
    ("id eq guid'x'", USER, "'x' is not a guid"),
    ("createdDateTime gt datetime'x'", ALERT, "not a date and time"),
    ("ext_a eq ext_b", USER, "not a single value of a known type"),
]


@pytest.mark.parametrize(("text", "type_name", "wanted"), REFUSED)
def test_refused(text: str, type_name: str, wanted: str) -> None:
    """What cannot be meant is refused with what was wrong and what would be right."""
    assert wanted in refusal(text, type_name)


def test_lambdas_from_the_object_multiply() -> None:
    """Some lambdas inside one another may start from the object, not many: their work multiplies."""
    text = "1 eq 1"
    for name in ("x", "y"):
        text = f"averageComparativeScores/any({name}: {text})"
    bound(text, SCORE)
    assert "start from the object" in refusal(f"averageComparativeScores/any(z: {text})", SCORE)


def test_a_wide_filter_is_refused() -> None:
    """The number of parts has a bound."""
    assert "more than 1000 parts" in refusal(" or ".join(["a_b eq 1"] * 600), USER)


def test_filterable() -> None:
    """Only listed properties may be used; a listed path opens what lies below it, and the error names the list."""
    some = frozenset(("severity", "vendorInformation/provider", "hostStates", "userStates/userPrincipalName"))
    for text in (
        "severity eq 'high'",
        "VENDORINFORMATION/provider eq 'x'",
        "hostStates/any(h: h/fqdn eq 'x')",
        "userStates/any(u: u/userPrincipalName eq 'x')",
        "userStates/any()",
    ):
        bound(text, filterable=some)
    names = "filterable: hostStates, severity, userStates/userPrincipalName, vendorInformation/provider."
    assert refusal("title eq 'x'", filterable=some).endswith(f"cannot filter by 'title'; {names}")
    assert "cannot filter by 'vendorInformation/vendor'" in refusal("vendorInformation/vendor eq 'x'", filterable=some)
    assert "cannot filter by 'userStates/logonIp'" in refusal("userStates/any(u: u/logonIp eq 'x')", filterable=some)
    assert refusal("nonsense eq 'x'", filterable=some).endswith(names)


def test_versions() -> None:
    """A version's own properties are there in that version only."""
    beta = bind(parse_filter("isTrusted eq true"), edm("beta"), LOCATION)
    assert beta == bound("isTrusted eq true", LOCATION)
    with pytest.raises(InvalidQuery):
        bind(parse_filter("templateId eq 'x'"), edm("beta"), "microsoft.graph.conditionalAccessPolicy")
    bound("templateId eq 'x'", "microsoft.graph.conditionalAccessPolicy")


def test_order() -> None:
    """Sort keys are single values of the type, of those that the set allows."""
    (key,) = bind_order(parse_orderby("RISKLASTUPDATEDDATETIME desc"), edm("v1.0"), RISKY)
    assert (key.path.names, key.path.kind, key.descending) == (("riskLastUpdatedDateTime",), "instant", True)
    for text, wanted in (
        ("hostStates", "a collection"),
        ("vendorInformation", "not a single value"),
        ("nope", "Could not find a property named 'nope'"),
        ("title", "cannot sort by 'title'; sortable: severity."),
    ):
        allowed = frozenset(("severity",)) if text == "title" else None
        with pytest.raises(InvalidQuery) as refused:
            bind_order(parse_orderby(text), edm("v1.0"), ALERT, sortable=allowed)
        assert refused.value.message.startswith("Invalid $orderby: ")
        assert wanted in refused.value.message
    with pytest.raises(InvalidQuery, match="no declared type"):
        bind_order(parse_orderby("ext_a"), edm("v1.0"), USER)


def test_search() -> None:
    """A term without a property looks into each searchable one; others are refused."""

    def searched(text: str) -> Expr:
        return bind_search(parse_search(text), edm("v1.0"), USER, searchable=("displayName", "mail"))

    name, mail = (Path((each,), None, "Edm.String", "text") for each in ("displayName", "mail"))
    assert searched('"DisplayName:Wa"') == Search(name, "wa")
    assert searched("x") == Or((Search(name, "x"), Search(mail, "x")))
    assert searched('NOT "mail:x"') == Not(Search(mail, "x"))
    with pytest.raises(
        InvalidQuery, match=r"^Invalid \$search: cannot search by 'jobTitle'; searchable: displayName, mail"
    ):
        searched('"jobTitle:x"')
