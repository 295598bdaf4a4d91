"""Both versions rendered from one inner object, what they show alike only once."""

import json
from typing import Any

from hypothesis import given, settings
from tests.model.test_edm_properties import objects

from bartizan.model.edm import Edm, edm
from bartizan.model.render import Done

FEW = settings(max_examples=400, deadline=None)
ALERT = "microsoft.graph.security.alert"


@FEW
@given(objects(["beta"]))
def test_sharing_between_versions_changes_no_byte(made: tuple[Edm, str, dict[str, Any]]) -> None:
    """In either order, order of properties included; where the results are one object both mask it alike."""
    _, name, inner = made
    versions = [version for version in (edm("v1.0"), edm("beta")) if name in version.type_names()]
    for ordered in (versions, versions[::-1]):
        done: Done = {}
        shared = [version.render(name, inner, done) for version in ordered]
        assert [json.dumps(wire) for wire in shared] == [json.dumps(v.render(name, inner)) for v in ordered]
        if shared[0] is shared[-1]:
            assert len({version.evolvable(name, inner) for version in ordered}) == 1


def test_an_alert_that_both_versions_show_alike_is_rendered_once() -> None:
    done: Done = {}
    inner = {"id": "1", "evidence": [{"@odata.type": "#microsoft.graph.security.ipEvidence", "ipAddress": "192.0.2.1"}]}
    assert edm("v1.0").render(ALERT, inner, done) is edm("beta").render(ALERT, inner, done)


def test_one_object_in_two_places_is_rendered_as_each_place_declares() -> None:
    """A dict that stands for two types is not taken for one."""
    place = {"displayName": "x", "id": "1"}
    inner = {"id": "1", "initiatedBy": {"user": place, "app": place}}
    for version in ("v1.0", "beta"):
        wire = edm(version).render("microsoft.graph.directoryAudit", inner, {})
        assert "servicePrincipalId" in wire["initiatedBy"]["app"]
        assert "userPrincipalName" in wire["initiatedBy"]["user"]
