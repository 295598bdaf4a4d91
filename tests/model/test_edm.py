"""What a name means, what goes out and what comes in: the rules of model/edm.py, one by one."""

from typing import Any

import pytest

from bartizan.errors import BadRequest
from bartizan.model.edm import Version, edm

ALERT = "microsoft.graph.security.alert"
LEGACY = "microsoft.graph.alert"
BOTH: list[Version] = ["v1.0", "beta"]


def refused(type_name: str, body: Any, version: Version = "beta") -> str:
    with pytest.raises(BadRequest) as caught:
        edm(version).accept(type_name, body)
    return caught.value.message


# ---------------------------------------------------------------- types


@pytest.mark.parametrize("version", BOTH)
def test_types_refer_only_to_types_that_are_served(version: Version) -> None:
    """Every property, navigation, base and operation names a primitive, an enum or a type of the same version."""
    types = edm(version)
    known = {*types.type_names(), *types.enum_names()}
    for name in types.type_names():
        kind = types.structured(name)
        wanted = [member.type for member in kind.members()] + ([kind.base] if kind.base else [])
        assert not [each for each in wanted if each not in known and not each.startswith("Edm.")], name


@pytest.mark.parametrize("version", BOTH)
def test_all_48_evidence_types_are_served(version: Version) -> None:
    """v1.0 and beta have the same 48 types of evidence, each a family member."""
    base = edm(version).structured("microsoft.graph.security.alertEvidence")
    assert len(base.derived) == 48
    assert all(edm(version).structured(name).family for name in base.derived)


def test_inherited_properties_come_first() -> None:
    kind = edm("beta").structured("microsoft.graph.user")
    assert list(kind.properties)[:2] == ["id", "deletedDateTime"]
    assert kind.base == "microsoft.graph.directoryObject"
    assert kind.open


def test_a_name_is_found_in_any_case() -> None:
    kind = edm("v1.0").structured(LEGACY)
    for text in ("createdDateTime", "CREATEDDATETIME", "createddatetime"):
        found = kind.find(text)
        assert found is not None
        assert found.name == "createdDateTime"
    assert kind.find("nothing") is None


def test_the_documents_words_are_read_as_the_metadatas() -> None:
    """Where documents and metadata disagree, both are read and the metadata's form is kept."""
    enum = edm("v1.0").enum("microsoft.graph.security.alertDetermination")
    assert enum is not None
    assert enum.find("compromisedUser") == "compromisedAccount"
    status = edm("beta").enum("microsoft.graph.alertStatus")
    assert status is not None
    assert status.find("New") == "newAlert"
    got = edm("v1.0").accept("microsoft.graph.security.alertComment", {"comment": "a", "createdBy": "b"})
    assert got == {"comment": "a", "createdByDisplayName": "b"}


def test_members_of_an_enum_are_found_in_any_case_and_flags_as_a_list() -> None:
    severity = edm("beta").enum("microsoft.graph.security.alertSeverity")
    reason = edm("beta").enum("microsoft.graph.security.correlationReason")
    assert severity is not None and reason is not None and reason.flags
    assert severity.find("HIGH") == "high"
    assert severity.find("high,low") is None
    assert reason.find("SameActor, sameCampaign,sameactor") == "sameActor,sameCampaign"
    assert reason.find("sameActor,other") is None


def test_members_after_unknown_future_value_are_late() -> None:
    detail = edm("v1.0").enum("microsoft.graph.riskDetail")
    assert detail is not None
    assert "m365DAdminDismissedDetection" in detail.late
    assert "adminDismissedAllRiskForUser" not in detail.late
    issuer = edm("v1.0").enum("microsoft.graph.tokenIssuerType")  # it spells the mark UnknownFutureValue
    assert issuer is not None
    assert issuer.late >= {"AzureADBackupAuth"}


@pytest.mark.parametrize(
    ("type_name", "prop", "collection"),
    [
        ("microsoft.graph.conditionalAccessConditionSet", "insiderRiskLevels", False),
        ("microsoft.graph.authenticationStrengthPolicy", "requirementsSatisfied", False),
        ("microsoft.graph.authenticationStrengthPolicy", "allowedCombinations", True),
    ],
)
def test_flags_are_one_list_of_words_unless_the_metadata_says_collection(
    type_name: str, prop: str, collection: bool
) -> None:
    """Both versions agree, though an SDK shows flags of beta as collections."""
    for version in BOTH:
        assert edm(version).structured(type_name).properties[prop].collection is collection


def test_versions_agree_on_what_is_a_collection() -> None:
    """One inner form serves both."""
    beta = edm("beta")
    for name in set(edm("v1.0").type_names()) & set(beta.type_names()):
        for prop in edm("v1.0").structured(name).properties.values():
            other = beta.structured(name).properties.get(prop.name)
            assert other is None or other.collection == prop.collection, (name, prop.name)


def test_unknown_names_are_none_or_key_error() -> None:
    assert edm("beta").enum("microsoft.graph.nothing") is None
    with pytest.raises(KeyError):
        edm("beta").structured("microsoft.graph.nothing")
    with pytest.raises(KeyError):
        edm("v1.0").render("microsoft.graph.tiIndicator", {})


def test_an_odata_type_is_found_in_any_form() -> None:
    for text in ("#microsoft.graph.user", "microsoft.graph.USER", "https://h/v1.0/$metadata#microsoft.graph.user"):
        assert edm("v1.0").type_name(text) == "microsoft.graph.user"
    assert edm("v1.0").type_name("#user") is None


def test_what_was_served_in_2018_to_2021_is_in_beta_again() -> None:
    """Properties and sets that today's metadata lacks; v1.0 gets only the sets that were called under it."""
    beta, v1 = edm("beta"), edm("v1.0")
    gone = {
        LEGACY: "activityGroupStates applicationStates malwareWasRunning riskScore type",
        "microsoft.graph.signIn": "isRisky riskLevel conditionalAccessPolicies riskEventTypes",
        "microsoft.graph.userSecurityState": "logonIpAddress",
        "microsoft.graph.fileSecurityState": "sha256 authenticodeHash256",
        "microsoft.graph.networkConnection": "uri",
        "microsoft.graph.malwareState": "aliases",
        "microsoft.graph.hostSecurityState": "isAzureAadJoined isAzureAadRegistered",
        "microsoft.graph.riskyUser": "isGuest",
    }
    for name, props in gone.items():
        assert set(props.split()) <= set(beta.structured(name).properties), name
        assert not set(props.split()) - {"riskEventTypes"} & set(v1.structured(name).properties), name
    for version in (beta, v1):
        assert len(version.structured("microsoft.graph.identityRiskEvent").derived) == 7
        assert {"assignedTo", "comment", "state", "tenantNote"} <= set(
            version.structured("microsoft.graph.secureScoreControlProfile").properties
        )


# ---------------------------------------------------------------- render


def test_every_documented_key_is_there() -> None:
    """Null where unset, [] for an empty collection, @odata.type first in families."""
    wire = edm("v1.0").render(ALERT, {"id": "1"})
    assert next(iter(wire)) == "@odata.type"
    assert wire["@odata.type"] == "#microsoft.graph.security.alert"
    assert wire["severity"] is None
    assert wire["evidence"] == [] and wire["categories"] == []
    assert set(wire) - {"@odata.type"} == set(edm("v1.0").structured(ALERT).properties)


def test_an_empty_collection_belongs_to_one_result() -> None:
    first = edm("v1.0").render(ALERT, {})
    first["evidence"].append("mine")
    assert edm("v1.0").render(ALERT, {})["evidence"] == []


def test_evidence_goes_out_as_what_it_is() -> None:
    device = {"@odata.type": "#microsoft.graph.security.deviceEvidence", "hostName": "h"}
    wire = edm("v1.0").render(ALERT, {"evidence": [device, {"verdict": "malicious"}]})
    assert wire["evidence"][0]["@odata.type"] == "#microsoft.graph.security.deviceEvidence"
    assert wire["evidence"][0]["loggedOnUsers"] == []
    assert wire["evidence"][1]["@odata.type"] == "#microsoft.graph.security.alertEvidence"


def test_evidence_of_a_type_that_nobody_knows_is_kept_as_it_came() -> None:
    unknown = {"@odata.type": "#microsoft.graph.security.quantumEvidence", "qubits": [1, {"a": None}]}
    assert edm("v1.0").render(ALERT, {"evidence": [unknown]})["evidence"] == [unknown]
    assert edm("v1.0").accept(ALERT, {"evidence": [unknown]})["evidence"] == [unknown]


def test_a_type_of_beta_goes_out_in_v1_as_the_nearest_that_it_has() -> None:
    manual = {"@odata.type": "#microsoft.graph.security.manualAlert", "title": "t", "isExcludedFromCorrelation": True}
    assert edm("beta").render(ALERT, manual)["@odata.type"] == "#microsoft.graph.security.manualAlert"
    wire = edm("v1.0").render(ALERT, manual)
    assert wire["@odata.type"] == "#microsoft.graph.security.alert"
    assert "isExcludedFromCorrelation" not in wire and wire["title"] == "t"


def test_v1_shows_nothing_that_only_beta_declares() -> None:
    """An open type keeps what neither version declares."""
    inner = {"riskScore": "9", "ownKey": 1, "title": "t"}
    wire = edm("v1.0").render(LEGACY, inner)
    assert "riskScore" not in wire
    assert wire["ownKey"] == 1
    assert edm("beta").render(LEGACY, inner)["riskScore"] == "9"
    assert "ownKey" not in edm("beta").render(ALERT, {"ownKey": 1})


def test_a_member_that_only_beta_has_is_unknown_future_value_in_v1() -> None:
    inner = {"riskDetail": "aiElevatedAccountRisk"}
    assert edm("v1.0").render("microsoft.graph.riskyUser", inner)["riskDetail"] == "unknownFutureValue"
    assert edm("beta").render("microsoft.graph.riskyUser", inner)["riskDetail"] == "aiElevatedAccountRisk"
    result = "microsoft.graph.whatIfAnalysisResult"
    flags = edm("v1.0").render(result, {"analysisReasons": "notSet,agentIdRisk,agentIdentities"})["analysisReasons"]
    assert flags == "notSet,unknownFutureValue"


def test_annotations_and_navigation_go_out_only_where_given() -> None:
    inner = {"@odata.etag": 'W/"1"', "alerts@odata.context": "c", "alerts": [{"id": "1"}]}
    wire = edm("v1.0").render("microsoft.graph.security.incident", inner)
    assert wire["@odata.etag"] == 'W/"1"' and wire["alerts@odata.context"] == "c"
    assert wire["alerts"][0]["comments"] == []
    assert "alerts" not in edm("v1.0").render("microsoft.graph.security.incident", {})


def test_a_mixed_set_of_directory_objects_keeps_its_marks() -> None:
    wire = edm("v1.0").render(
        "microsoft.graph.directoryObject", {"@odata.type": "#microsoft.graph.group", "displayName": "g"}
    )
    assert next(iter(wire)) == "@odata.type"
    assert wire["displayName"] == "g" and wire["groupTypes"] == []
    assert "@odata.type" not in edm("v1.0").render("microsoft.graph.group", {})


def test_an_input_property_is_not_shown_unless_set() -> None:
    control = "microsoft.graph.secureScoreControlProfile"
    assert "tenantNote" not in edm("v1.0").render(control, {"id": "mfa"})
    assert edm("v1.0").accept(control, {"TenantNote": "x"}, partial=True) == {"tenantNote": "x"}


# ---------------------------------------------------------------- accept


def test_names_members_and_instants_get_one_spelling() -> None:
    body = {
        "Severity": "HIGH",
        "createddatetime": "2026-11-23T05:50:30.5+01:00",
        "evidence": [{"@odata.type": "Microsoft.Graph.Security.DEVICEEVIDENCE", "ROLES": ["Attacked"]}],
        "@odata.context": "ignored",
        "evidence@odata.count": 1,
    }
    assert edm("v1.0").accept(ALERT, body, partial=True) == {
        "severity": "high",
        "createdDateTime": "2026-11-23T04:50:30.5000000Z",
        "evidence": [{"@odata.type": "#microsoft.graph.security.deviceEvidence", "roles": ["attacked"]}],
    }


def test_partial_returns_only_what_is_named() -> None:
    assert edm("v1.0").accept(ALERT, {"status": "resolved"}, partial=True) == {"status": "resolved"}
    whole = edm("v1.0").accept(ALERT, {"status": "resolved"})
    assert whole == {"@odata.type": "#microsoft.graph.security.alert", "status": "resolved"}


def test_an_explicit_null_stays() -> None:
    got = edm("v1.0").accept(ALERT, {"assignedTo": None, "categories": None, "severity": None}, partial=True)
    assert got == {"assignedTo": None, "categories": None, "severity": None}


def test_an_open_type_keeps_what_it_does_not_declare() -> None:
    """MISP writes indicatorRequestHash into an indicator and reads it back."""
    body = {"indicatorRequestHash": "h", "passiveOnly": "false", "own": {"a": [1, None]}}
    got = edm("beta").accept("microsoft.graph.tiIndicator", body)
    assert got == {"indicatorRequestHash": "h", "passiveOnly": False, "own": {"a": [1, None]}}


@pytest.mark.parametrize("version", BOTH)
def test_content_without_a_schema_is_kept_as_it_is(version: Version) -> None:
    """additionalData holds what the vendor said: names in its own case, marks of any type."""
    said = {"@odata.type": "#Contoso.Thing", "Severity": "HIGH", "severity": 9, "x@odata.y": [{"a": None}], "": {}}
    got = edm(version).accept(ALERT, {"additionalData": said}, partial=True)
    assert got == {"additionalData": said}
    assert edm(version).render(ALERT, got)["additionalData"] == said
    assert refused(ALERT, {"additionalData": [1]}, version).startswith("additionalData: expected an object")


def test_errors_name_the_path_and_what_would_be_right() -> None:
    device = {"@odata.type": "#microsoft.graph.security.deviceEvidence", "roles": ["attacked", "king"]}
    message = refused(ALERT, {"evidence": [{}, {}, device]})
    assert message.startswith("evidence[2].roles[1]: ") and "commandAndControl" in message and "king" in message
    assert "did you mean severity?" in refused(ALERT, {"sevrity": "high"})
    assert refused(ALERT, {"title": 5}).startswith("title: expected a string, not the number 5")
    assert refused(ALERT, {"evidence": {}}).startswith("evidence: expected an array")
    assert refused(ALERT, {"evidence": [None]}).startswith("evidence[0]: ")
    assert refused(ALERT, {"Severity": "low", "severity": "low"}).startswith("severity: given twice")
    assert refused(ALERT, []) == "the body must be a JSON object, not an array"
    assert "only in beta" in refused(LEGACY, {"riskScore": "1"}, "v1.0")
    assert refused("microsoft.graph.group", {"members@odata.bind": []}).startswith("members@odata.bind: ")


def test_a_type_that_does_not_derive_from_the_declared_one_is_refused() -> None:
    body = {"evidence": [{"@odata.type": "#microsoft.graph.user"}]}
    assert refused(ALERT, body).startswith("evidence[0].@odata.type: '#microsoft.graph.user' is not")
    assert refused(ALERT, {"@odata.type": 5}).startswith("@odata.type: ")


def test_an_entity_of_an_unknown_type_is_checked_as_the_declared_one() -> None:
    assert refused(ALERT, {"@odata.type": "#contoso.alert", "severity": 5}).startswith("severity: ")


def test_depth_is_bounded() -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = {"a": deep}
    assert "deeper than 32" in refused("microsoft.graph.tiIndicator", {"x": deep})
    assert "deeper than 32" in refused(ALERT, {"additionalData": deep})
    mail: Any = {}
    for _ in range(1000):
        mail = {"@odata.type": "#microsoft.graph.security.processEvidence", "parentProcessImageFile": mail}
    assert "deeper" in refused(ALERT, {"evidence": [{"@odata.type": "#unknown", "x": mail}]})


@pytest.mark.parametrize(
    ("edm_type", "good", "kept"),
    [
        ("Edm.String", "", ""),
        ("Edm.Boolean", "TRUE", True),
        ("Edm.Int32", 2147483647, 2147483647),
        ("Edm.Int32", 5.0, 5),
        ("Edm.Int64", "-9223372036854775808", -9223372036854775808),
        ("Edm.Byte", 255, 255),
        ("Edm.Double", 1, 1),
        ("Edm.Decimal", "12.50", "12.50"),
        ("Edm.DateTimeOffset", "2026-11-23T04:50Z", "2026-11-23T04:50:00.0000000Z"),
        ("Edm.Date", "2024-02-29", "2024-02-29"),
        ("Edm.TimeOfDay", "08:30", "08:30:00.0000000"),
        ("Edm.TimeOfDay", "08:30:15.123456789", "08:30:15.1234567"),
        ("Edm.Duration", "-p1dt2h30m0.5s", "-P1DT2H30M0.5S"),
        ("Edm.Duration", "PT0S", "PT0S"),
        ("Edm.Guid", "1F0C2B3A-0000-4000-8000-000000000000", "1f0c2b3a-0000-4000-8000-000000000000"),
        ("Edm.Binary", "_-8=", "_-8="),
        ("Edm.Binary", "aGk", "aGk"),
        ("microsoft.graph.security.alertSeverity", "Low", "low"),
    ],
)
def test_a_good_value_is_read(edm_type: str, good: Any, kept: Any) -> None:
    got = edm("beta").accept_value(edm_type, good)
    assert got == kept
    assert type(got) is type(kept)


@pytest.mark.parametrize(
    ("edm_type", "bad"),
    [
        ("Edm.String", 5),
        ("Edm.Boolean", 1),
        ("Edm.Boolean", "yes"),
        ("Edm.Int32", 2147483648),
        ("Edm.Int32", True),
        ("Edm.Int32", "5"),
        ("Edm.Int32", 5.5),
        ("Edm.Int64", "9223372036854775808"),
        ("Edm.Int64", float("nan")),
        ("Edm.Byte", -1),
        ("Edm.Double", float("inf")),
        ("Edm.Double", 10**400),
        ("Edm.Double", "1.5"),
        ("Edm.Decimal", "1e5"),
        ("Edm.DateTimeOffset", "2026-13-01T00:00:00Z"),
        ("Edm.DateTimeOffset", "0000-01-01T00:00:00Z"),
        ("Edm.DateTimeOffset", 1700000000),
        ("Edm.Date", "2026-02-29"),
        ("Edm.Date", "20260101"),
        ("Edm.TimeOfDay", "24:00:00"),
        ("Edm.TimeOfDay", "08:30:60"),
        ("Edm.Duration", "P"),
        ("Edm.Duration", "P1DT"),
        ("Edm.Duration", "1H"),
        ("Edm.Guid", "1f0c2b3a"),
        ("Edm.Guid", "{1f0c2b3a-0000-4000-8000-000000000000}"),
        ("Edm.Binary", "*"),
        ("Edm.Binary", "a"),
        ("microsoft.graph.security.alertSeverity", 3),
        ("microsoft.graph.security.alertSeverity", ""),
    ],
)
def test_a_bad_value_is_refused_by_name(edm_type: str, bad: Any) -> None:
    with pytest.raises(BadRequest) as caught:
        edm("beta").accept_value(edm_type, [bad], collection=True, path="parameter")
    assert caught.value.message.startswith("parameter[0]: ")


# ---------------------------------------------------------------- members that not every client knows


def test_late_members_are_found_and_masked_at_any_depth() -> None:
    """Without Prefer: include-unknown-enum-members a client sees unknownFutureValue."""
    version = edm("v1.0")
    detail = "microsoft.graph.riskyUser"
    wire = version.render(detail, {"riskDetail": "adminConfirmedAccountSafe"})
    assert version.evolvable(detail, wire)
    masked = version.mask(detail, wire)
    assert masked["riskDetail"] == "unknownFutureValue"
    assert wire["riskDetail"] == "adminConfirmedAccountSafe"
    assert not version.evolvable(detail, masked)
    assert version.mask(detail, masked) is masked

    incident = "microsoft.graph.security.incident"
    inner = {"status": "awaitingAction", "alerts": [{"serviceSource": "microsoftSentinel"}, {"serviceSource": None}]}
    assert version.evolvable(incident, inner)
    assert version.mask(incident, inner)["alerts"][0]["serviceSource"] == "unknownFutureValue"
    assert version.mask(incident, inner)["alerts"][1] is inner["alerts"][1]


def test_late_members_of_flags_are_masked_one_by_one() -> None:
    reasons = "microsoft.graph.whatIfAnalysisResult"
    enum = edm("beta").enum("microsoft.graph.whatIfAnalysisReasons")
    assert enum is not None and enum.flags
    late, early = sorted(enum.late), [member for member in enum.members if member not in enum.late]
    assert len(late) >= 2, "choose another enum of flags"
    masked = edm("beta").mask(reasons, {"analysisReasons": ",".join([early[1], *late])})
    assert masked == {"analysisReasons": f"{early[1]},unknownFutureValue"}


def test_late_members_in_derived_types_are_masked() -> None:
    version = edm("v1.0")
    late = [
        (name, prop.name, member, prop.collection)
        for name in version.structured("microsoft.graph.security.alertEvidence").derived
        for prop in version.structured(name).properties.values()
        if (enum := version.enum(prop.type)) is not None
        for member in sorted(enum.late)[:1]
    ]
    assert late, "no evidence type has an enum with late members: choose another family"
    for name, prop, member, collection in late:
        evidence = {"@odata.type": f"#{name}", prop: [member] if collection else member}
        masked = version.mask(ALERT, {"evidence": [evidence]})["evidence"][0][prop]
        assert masked == (["unknownFutureValue"] if collection else "unknownFutureValue"), (name, prop)
