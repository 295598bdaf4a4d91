"""What is said to be served, not yet or never, against the facts that were gathered about Graph's surface."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bartizan import api
from bartizan.api.documents.coverage import UNDOCUMENTED, Line, lines
from bartizan.api.wire.route import Router, Target
from bartizan.auth.caller import Access
from bartizan.errors import MethodNotAllowed, NotFound, NotServed
from bartizan.extend import RESOURCES

api.load()
ROUTER = Router(RESOURCES)
ALL = lines(ROUTER)


def test_every_operation_has_an_answer() -> None:
    """Served, or a reason that is a phrase; nothing unknown."""
    assert len(ALL) > 1_000
    for line in ALL:
        assert line.state in ("served", "not_yet", "never"), line
        assert line.state == "served" or len(line.why.split()) > 2, line


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("GET", "/security/alerts_v2"),
        ("PATCH", "/security/alerts/{}"),
        ("POST", "/security/incidents/mergeIncidents"),
        ("GET", "/security/secureScores"),
        ("GET", "/identityProtection/riskyUsers/{}/history/{}"),
        ("POST", "/auditLogs/signIns/dismiss"),
        ("GET", "/users/{}/transitiveMemberOf"),
        ("POST", "/users/{}/checkMemberGroups"),
        ("GET", "/reports/authenticationMethods/userRegistrationDetails"),
        ("DELETE", "/identity/conditionalAccess/namedLocations/{}"),
        ("POST", "/subscriptions/{}/reauthorize"),
    ],
)
def test_served(verb: str, path: str) -> None:
    found = [line for line in ALL if (line.verb, line.path) == (verb, path)]
    assert all(line.state == "served" for line in found), found


def test_no_operation_is_a_key() -> None:
    """What is known and not served is refused as what it is, never as an object that is not there."""
    taken = []
    for line in ALL:
        name = line.path.rpartition("/")[2]
        for path in (line.path, line.path.removesuffix(name) + f"microsoft.graph.{name}"):
            try:
                target = ROUTER.resolve(f"/{line.version}{path.replace('{}', 'key')}")
            except (MethodNotAllowed, NotFound, NotServed):
                continue
            if target.key is not None and not target.key.own and target.key.value.rpartition(".")[2] == name:
                taken.append(f"{line.version}{path}")
    assert not taken


@pytest.mark.parametrize("path", ["security/alerts_v2/microsoft.graph.no", "users/u/memberOf/microsoft.graph.no()"])
def test_a_namespace_is_no_key(path: str) -> None:
    with pytest.raises(NotFound, match=r"segment 'microsoft\.graph\.no"):
        ROUTER.resolve(f"/v1.0/{path}")


def _facts(shared: Path) -> dict[tuple[str, str, str], dict[str, list[str]]]:
    """(version, path with {} for keys, verb) -> documented permissions by scheme."""
    surface: dict[str, Any] = json.loads((shared / "graph" / "surface.json").read_text("utf-8"))
    found: dict[tuple[str, str, str], dict[str, list[str]]] = {}
    for version in ("v1.0", "beta"):
        for path, facts in surface[version]["paths"].items():
            shape = re.sub(r"\{[^}]*\}", "{}", path).lower()
            for verb, schemes in facts.get("permissions", {}).items():
                found[version, shape, verb] = schemes
    return found


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("v1.0/security/subjectRightsRequests/x/notes", MethodNotAllowed),
        ("beta/security/caseManagement/cases", MethodNotAllowed),
        ("v1.0/users/x/sendMail", MethodNotAllowed),
        ("v1.0/groups/x/photo/$value", MethodNotAllowed),
        ("v1.0/accessReviews", MethodNotAllowed),
        ("beta/administrativeUnits/x/scopedRoleMembers", NotServed),
        ("v1.0/users/x/sponsors/$count", NotServed),
        ("v1.0/domains/x/verificationDnsRecords", NotServed),
        ("beta/identity/riskPrevention/fraudProtectionProviders", NotServed),
        ("v1.0/auditLogs/signUps", NotFound),
        ("beta/auditLogs/signUps", NotServed),
    ],
)
def test_paths_of_the_sdks(path: str, problem: type[Exception]) -> None:
    """What the SDKs can ask for beyond the known surface says why it is not here, rather than that nobody knows it."""
    with pytest.raises(problem):
        ROUTER.resolve(f"/{path}")


@pytest.mark.shared
def test_undocumented_is_true(shared: Path) -> None:
    """What we call undocumented has no documented permission."""
    facts = _facts(shared)
    wrong = [
        f"{line.verb} {line.version}{line.path}"
        for line in ALL
        if line.why == UNDOCUMENTED and (line.version, line.path.lower(), line.verb) in facts
    ]
    assert not wrong


def _access(target: Target, line: Line) -> Access | None:
    if target.action is not None:
        return target.action.access
    if target.navigation is not None:
        return target.navigation.access if line.verb == "GET" else None
    resource = target.resource
    assert resource is not None
    by_verb = {"GET": resource.read, "PATCH": resource.write, "DELETE": resource.delete}
    return by_verb.get(line.verb)


def _served(facts: dict[tuple[str, str, str], dict[str, list[str]]]) -> Iterator[tuple[Line, Access, dict[str, Any]]]:
    for line in ALL:
        schemes = facts.get((line.version, line.path.lower(), line.verb))
        if line.state != "served" or schemes is None:
            continue
        access = _access(ROUTER.resolve(f"/{line.version}{line.path.replace('{}', 'key')}"), line)
        if access is not None:
            yield line, access, schemes


# Marked least privileged in the facts, and not so here:
EXCEPT = {
    "Group-NestingSupport.ReadWrite.All": "a preview of nested groups",
    "Application.Read.All": "of checkMemberGroups and its kin for applications; users and devices have their own",
    "User.Read": "of one's own object, which has a path of its own here: /me",
    "Application.ReadWrite.OwnedBy": "who owns which application is evidence here and grants nothing",
    **{
        f"UserAuthMethod-{kind}.Read": "of one's own methods, which is asked for by /me"
        for kind in "Email Passkey MicrosoftAuthApp Password Phone PlatformCred SoftwareOATH WindowsHello".split()
    },
    "Policy.Read.All": "beside the scope that writes, never instead of it",
}


@pytest.mark.shared
def test_least_privilege(shared: Path) -> None:
    """A client with the least privilege that is documented (marked *) is let in, as application and delegated."""
    wrong: list[str] = []
    tried = 0
    for line, access, schemes in _served(_facts(shared)):
        for scheme, ours in (("application", access.application), ("delegated", access.delegated)):
            least = {name.rstrip("*") for name in schemes.get(scheme, []) if name.endswith("*")} - set(EXCEPT)
            tried += len(least)
            if least and least.isdisjoint(ours):
                wrong.append(f"{line.verb} {line.version}{line.path} {scheme}: {sorted(least)}, here {list(ours)}")
    assert tried > 100
    assert not wrong, "\n".join(wrong)
