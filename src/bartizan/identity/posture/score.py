"""The documents of posture: profiles of the controls, the score of a day, evidence, rows of reports. All pure.

Source: Microsoft Graph, resources secureScore, controlScore and secureScoreControlProfile; Microsoft Secure Score,
"Update your status" (what a control that is ignored or solved by a third party counts).
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from bartizan.identity.posture.control import Affected, Control, Tally
from bartizan.identity.posture.facts import User
from bartizan.model.times import instant
from bartizan.store.draft import DERIVED
from bartizan.store.interface import Collection, Column

VENDOR = {"vendor": "Bartizan", "provider": "Bartizan Identity Posture"}
PROVIDER = VENDOR["provider"]
NOT_ASSESSED = "notAssessed"
# What people say of a control, by PATCH; all else of a profile is the declaration's.
SAID = ("controlStateUpdates", "assignedTo", "comment", "state", "tenantNote")

EVIDENCE = Collection(
    "secureScoreEvidence",
    type="microsoft.graph.secureScoreControlEvidence",
    columns=(
        Column("controlName"),
        Column("kind"),
        Column("targetId"),
        Column("displayName", fold=True),
        Column("lastSeenDateTime", "instant"),
    ),
    order=(("displayName", False),),
    versions=("beta",),
    feed=False,
)

_SERVICES = {"exchange": "HasExchange", "sharepoint": "HasSharepoint"}  # service of assignedPlans -> enabledServices


class Counts(Struct):
    """Of a tenant's users, beside the controls."""

    users: int = 0
    licensed: int = 0
    active: int = 0
    services: set[str] = set()

    def add(self, user: User, doc: Mapping[str, Any], active: bool) -> None:
        self.users += 1
        self.licensed += bool(user.licensed)
        self.active += active
        for plan in doc.get("assignedPlans") or ():
            named = _SERVICES.get(str(plan.get("service")).lower())
            if named and plan.get("capabilityStatus") == "Enabled":
                self.services.add(named)


def state_of(profile: Mapping[str, Any]) -> str:
    """What people last said of a control: Default, Ignored, ThirdParty or Reviewed."""
    said = [str(each["state"]) for each in profile.get("controlStateUpdates") or () if each.get("state")]
    return said[-1] if said else "Default"


def points(control: Control, tally: Tally, state: str) -> float:
    """In proportion to those who meet it. Solved by a third party it has all its points; ignored none: the risk that
    is accepted is still there."""
    if state == "ThirdParty":
        return control.max_score
    return 0.0 if state == "Ignored" else round(control.max_score * tally.share, 2)


def counts(tally: Tally, state: str) -> bool:
    return tally.assessed or state == "ThirdParty"


def detail(control: Control, tally: Tally) -> str:
    known = tally.met + tally.affected
    unknown = f"; of {tally.unknown} more it is not known" if tally.unknown else ""
    if not tally.assessed:
        return "Not assessed: the facts that it needs were never brought in."
    if control.of == "tenant":
        return "Met." if not tally.affected else "Not met; see the evidence."
    things = "users" if control.of == "user" else "applications"
    return f"{tally.affected} of {known} {things} that it is about are affected{unknown}."


def profile(control: Control, rank: int, tally: Tally, tenant: str, before: Mapping[str, Any]) -> dict[str, Any]:
    """As declared and assessed, with what people said of it in `before`."""
    return {
        **{name: before[name] for name in SAID if before.get(name) not in (None, [])},
        "id": control.id,
        "azureTenantId": tenant,
        "title": control.title,
        "controlCategory": "Identity",
        "actionType": control.action,
        "actionUrl": None,
        "remediation": control.remediation,
        "remediationImpact": control.impact,
        "implementationCost": control.cost,
        "userImpact": control.user_impact,
        "threats": list(control.threats),
        "maxScore": control.max_score,
        "rank": rank,
        "tier": control.tier,
        "service": "Identity",
        "deprecated": False,
        "vendorInformation": VENDOR,
        "assessmentState": "assessed" if tally.assessed else NOT_ASSESSED,
        "assessmentDetail": detail(control, tally),
    }


def score_id(tenant: str, day: str) -> str:
    return f"{tenant}_{day}_{PROVIDER}"


def score(
    tenant: str, now: datetime, assessed: Sequence[tuple[Control, Tally, str]], users: Counts
) -> dict[str, Any] | None:
    """The score of the day, of (control, tally, state); None where nothing could be assessed. A control that was not
    assessed is in neither sum."""
    rows = [each for each in assessed if counts(each[1], each[2])]
    if not any(tally.assessed for _, tally, _ in rows):
        return None
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    controls = [_control_score(*each) for each in rows]
    return {
        "id": score_id(tenant, f"{day:%Y-%m-%d}"),
        "azureTenantId": tenant,
        "createdDateTime": instant(day),
        "currentScore": round(sum(each["score"] for each in controls), 2),
        "maxScore": round(sum(control.max_score for control, _, _ in rows), 2),
        "activeUserCount": users.active if users.active else None,
        "licensedUserCount": users.licensed if users.licensed else None,
        "enabledServices": sorted(users.services),
        "averageComparativeScores": [],
        "controlScores": controls,
        "vendorInformation": VENDOR,
    }


def _control_score(control: Control, tally: Tally, state: str) -> dict[str, Any]:
    """`count` of `total` meet it; both texts, as Graph shows them."""
    got = points(control, tally, state)
    return {
        "controlCategory": "Identity",
        "controlName": control.id,
        "description": detail(control, tally),
        "score": got,
        "maxScore": control.max_score,
        "scoreInPercentage": round(100 * got / control.max_score, 2),
        "count": str(tally.met),
        "total": str(tally.met + tally.affected),
        "implementationStatus": {"Ignored": "ignored", "ThirdParty": "thirdParty"}.get(state, "assessed"),
    }


def evidence_id(control: str, found: Affected) -> str:
    return hashlib.sha256("\0".join((control, found.kind, found.id)).encode()).hexdigest()[:32]


def evidence(control: str, found: Affected, seen: str, before: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "controlName": control,
        "kind": found.kind,
        "targetId": found.id,
        "displayName": found.name,
        "reason": found.reason,
        "firstSeenDateTime": before.get("firstSeenDateTime") or seen,
        "lastSeenDateTime": seen,
    }


# ---------------------------------------------------------------- reports

_TO_METHODS = {"appNotification": "microsoftAuthenticatorPush", "mobilePhone": "mobilePhone", "email": "email"}


def report_rows(
    user: User, doc: Mapping[str, Any], brought: Sequence[Mapping[str, Any] | None]
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The rows of the two registration reports that nobody brought in, as far as facts say them; None: none is made.

    A user of whom no registration is known has no row: a row would be read as "not registered".
    """
    if user.mfa is None:
        return None, None
    today, old = brought
    common = {"id": user.id, "userPrincipalName": user.name, "userDisplayName": doc.get("displayName"), DERIVED: True}
    first = None
    if today is None:
        methods = [_TO_METHODS[each] for each in (old or {}).get("authMethods") or () if each in _TO_METHODS]
        first = {
            **common,
            "isAdmin": user.admin,
            "isMfaRegistered": user.mfa,
            "isMfaCapable": user.mfa,
            "isSsprRegistered": (old or {}).get("isRegistered"),
            "isSsprEnabled": (old or {}).get("isEnabled"),
            "isSsprCapable": (old or {}).get("isCapable"),
            "methodsRegistered": methods,
            "userType": None if user.guest is None else "guest" if user.guest else "member",
        }
    second = None
    if old is None:
        told = set((today or {}).get("methodsRegistered") or ())
        second = {
            **common,
            "isMfaRegistered": user.mfa,
            "isRegistered": (today or {}).get("isSsprRegistered"),
            "isEnabled": (today or {}).get("isSsprEnabled"),
            "isCapable": (today or {}).get("isSsprCapable"),
            "authMethods": [name for name, method in _TO_METHODS.items() if method in told],
        }
    return first, second
