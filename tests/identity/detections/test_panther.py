"""Public rule tests of identity logs, through sources and engine: which rules of theirs something here covers.

They judge one record by what it is; the detections judge by history. So few meet: the table says which, and why not.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.identity.detections.scene import Told

import bartizan.sources  # noqa: F401 - fills SOURCES
from bartizan.extend import SOURCES, GraphObject, Record
from bartizan.identity.engine import State
from bartizan.identity.events import audit, sign_in
from bartizan.model.alert import Alert
from bartizan.sources.detect import detect

ALERT = "the source makes an alert of it, as the vendor says that something is wrong"
CHANGE = "a change of administration that the source makes an event of, not a directoryAudit"
# Rule -> what covers it, or why nothing does.
RULES = {
    "Auth0.Delete.TenantMember": CHANGE,
    "Azure.Audit.DeviceCodeBrokerClient": "a code for another device; it raises the score of who never types one",
    "Azure.Audit.LegacyAuth": "a protocol by itself is a matter of posture; from a new place it raises the score",
    "Duo.Admin.App.Integration.Secret.Key.Viewed": CHANGE,
    "Duo.Admin.Lockout": CHANGE,
    "Duo.Admin.Policy.Updated": CHANGE,
    "GSuite.CalendarMadePublic": "exposure of data, no identity",
    "GSuite.DeviceSuspiciousActivity": ALERT,
    "GSuite.Gmail.SpamEmail.AttachmentDownload": "mail, no identity",
    "GSuite.IsSuspiciousTag": "a mark of the vendor on an event without an alert of its own",
    "GSuite.UserSuspended": ALERT,
    "GSuite.Workspace.GmailSecuritySandboxDisabled": CHANGE,
    "Microsoft.Graph.Passthrough": ALERT,
    "Okta.APIKeyRevoked": CHANGE,
    "Okta.Global.MFA.Disabled": CHANGE,
    "Okta.Login.Without.Push.Marker": "needs the marker of a phishing-resistant extension",
    "Okta.User.MFA.Reset.All": CHANGE,
    "OneLogin.ActiveLoginActivity": "several sessions of one address at once, told by an event of the vendor",
    "OneLogin.PasswordChanged": CHANGE,
}
# Tests of rules that are covered by an alert: (right verdicts, of). A better figure is written here; a worse one fails.
RIGHT, OF = 6, 9


def _made(row: dict[str, Any]) -> tuple[bool, list[GraphObject]]:
    text = json.dumps(row["log"])
    record = Record(raw=text.encode(), text=text, data=row["log"])
    source = detect(record)
    assert source is not None, row["rule"]
    out = list(SOURCES[source].normalise(record))
    return any(isinstance(each, Alert) for each in out), [each for each in out if isinstance(each, GraphObject)]


@pytest.mark.shared
def test_coverage_of_public_rules(shared: Path) -> None:
    """Each rule is in the table; every record is taken; what need not fire finds nothing beyond unfamiliar features."""
    rows = [json.loads(line) for line in (shared / "identity/real/panther-rule-tests.jsonl").open()]
    assert {row["rule"] for row in rows} == set(RULES)
    verdicts: Counter[bool] = Counter()
    state = State(Told({}, [], "list"), {})
    for row in rows:
        alert, objects = _made(row)
        if RULES[row["rule"]] == ALERT:
            verdicts[alert == row["expected"]] += 1
        for each in objects:
            event = sign_in(each.body) if each.collection == "signIns" else audit(each.body)
            types = {found.type for result in state.step(event) for found in result.findings}
            assert row["expected"] or types <= {"unfamiliarFeatures"}, row["test"]
    assert (verdicts[True], verdicts.total()) == (RIGHT, OF)
