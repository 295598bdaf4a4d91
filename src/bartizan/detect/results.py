"""From the rows that a rule has found to its alerts: one for each group of impacted assets.

Pure: no clock, no store. An alert's id derives from the rule, its group and its rows, so the same rows make the same
alert.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
from msgspec import Struct

from bartizan.detect import mappings, responses
from bartizan.detect.columns import evidence_of, instants
from bartizan.detect.rule import (
    GROUP_COLUMN,
    MAX_TEXT_CHARS,
    MAX_TITLE_CHARS,
    actions_of,
    assets_of,
    groups_of,
    tactics_of,
    template_of,
)
from bartizan.detect.scheduled import scheduled_of
from bartizan.detect.seen import row_key
from bartizan.detect.words import ALERT_PER_EVENT, SEVERITIES, SINGLE_ALERT, column_of
from bartizan.model import faces
from bartizan.model.alert import Alert
from bartizan.model.ids import stable_id

VENDOR = "Bartizan"
PRODUCT = "Custom Detection"
MAX_ALERTS = 150  # of one run
MAX_ROWS_SHOWN = 20  # in additionalData
MAX_VALUE_CHARS = 1_000
MAX_COLUMNS_SHOWN = 60
# Of a rule that names no impacted assets: what its rows name first tells one alert from another.
_OTHERWISE = (
    ("DeviceId", "DeviceName", "Computer", "HostName", "Dvc"),
    ("AccountObjectId", "AccountUpn", "UserPrincipalName", "AccountSid", "AccountName", "Account", "UserId"),
    ("RecipientEmailAddress",),
)

Row = Mapping[str, Any]


class Group(Struct):
    """Rows of one alert, each once."""

    name: tuple[str, ...]  # values of its impacted assets
    keys: list[bytes]
    rows: list[Row]


class Raised(Struct, frozen=True):
    """An alert, and the actions that are to be ordered because of it."""

    alert: Alert
    requests: list[dict[str, Any]]


def in_scope(rule: Mapping[str, Any], rows: Sequence[Row]) -> list[Row]:
    """Those of the device groups that the rule is for."""
    names = {each.lower() for each in groups_of(rule)}
    if not names:
        return list(rows)
    found = []
    for row in rows:
        column = column_of(GROUP_COLUMN, row)
        if column is not None and str(row[column] or "").lower() in names:
            found.append(row)
    return found


def grouped(rule: Mapping[str, Any], rows: Sequence[Row], keys: Sequence[bytes]) -> list[Group]:
    """In order of first mention: what names the same assets, unless the rule says how rows become alerts."""
    found: dict[tuple[str, ...], Group] = {}
    assets = [name for _, name in assets_of(rule)] or mappings.about(template_of(rule))
    own, kind = scheduled_of(rule), template_of(rule).get("eventGroupingKind")
    each_alone = kind == ALERT_PER_EVENT or (kind is None and own is not None and own.each)
    for row, key in zip(rows, keys, strict=True):
        name = () if kind == SINGLE_ALERT else tuple(_value(row, each) for each in assets) if assets else _named(row)
        if each_alone:
            name = (*name, key.hex())
        group = found.setdefault(name, Group(name, [], []))
        group.keys.append(key)
        group.rows.append(row)
    return list(found.values())


def keys_of(rows: Sequence[Row]) -> dict[bytes, Row]:
    """Each row once."""
    return {row_key(row): row for row in rows}


def _value(row: Row, name: str) -> str:
    column = column_of(name, row)
    return "" if column is None or row[column] is None else str(row[column]).strip().lower()


def _named(row: Row) -> tuple[str, ...]:
    return tuple(next((found for each in names if (found := _value(row, each))), "") for names in _OTHERWISE)


def raised(rule: Mapping[str, Any], group: Group, now: str) -> Raised:
    """`now` stands where the rows have no time."""
    template, first = template_of(rule), group.rows[0]
    id, detector = str(rule["id"]), str(rule.get("detectorId") or rule["id"])
    key = stable_id("ruleAlert", id, *group.name, *(each.hex() for each in sorted(group.keys)))
    times = instants(group.rows)
    said = mappings.mappings_of(template)
    evidence, left_out = evidence_of(group.rows, assets_of(rule), partial(mappings.mapped, template) if said else None)
    categories, techniques = tactics_of(template)
    alert = Alert(
        vendor=VENDOR,
        product=PRODUCT,
        provider_alert_id=key,
        title=mappings.filled_in(str(template["title"]), first)[:MAX_TITLE_CHARS],
        description=mappings.filled_in(str(template.get("description") or ""), first)[:MAX_TEXT_CHARS] or None,
        severity=_severity(rule, first) or template["severity"],
        category=template.get("category"),
        categories=categories,
        techniques=techniques,
        detector_id=detector,
        detection_source="customDetection",
        service_source="microsoft365Defender",
        first_activity=times[0] if times else now,
        last_activity=times[1] if times else now,
        source_created=now,
        source_updated=now,
        recommended_actions=template.get("recommendedActions"),
        evidence=evidence,
        custom_details=mappings.details(template, group.rows),
        additional=_additional(rule, group, left_out),
        fingerprint=(detector, *group.name),
    )
    reason = f"Detection rule {rule.get('displayName')}: {alert.title}"[:1_000]
    return Raised(alert, responses.requests(actions_of(rule), group.rows, reason))


def _severity(rule: Mapping[str, Any], row: Row) -> Any:
    """What the rule's own column says; None where it says no severity."""
    own = scheduled_of(rule)
    said = "" if own is None or own.severity is None else _value(row, own.severity)
    return said if said in SEVERITIES else None


def _additional(rule: Mapping[str, Any], group: Group, left_out: int) -> dict[str, Any]:
    some = [shown(row) for row in group.rows[:MAX_ROWS_SHOWN]]
    more = {"ruleId": rule["id"], "ruleName": rule.get("displayName"), "matchedRows": len(group.rows), "rows": some}
    if len(group.rows) > len(some):
        more["rowsLeftOut"] = len(group.rows) - len(some)
    if left_out:
        more["evidenceLeftOut"] = left_out
    configured = (rule.get("detectionAction") or {}).get("incidentConfiguration") or {}
    if configured.get("isExcludedFromIncidentCorrelation"):
        more[faces.EXCLUDED] = True
    return more


def shown(row: Row) -> dict[str, Any]:
    """What has a value, texts cut; how many columns do not show is said."""
    said = {name: value for name, value in row.items() if value not in (None, "", [], {})}
    made = {name: _cut(value) for name, value in list(said.items())[:MAX_COLUMNS_SHOWN]}
    return {**made, "columnsLeftOut": len(said) - len(made)} if len(said) > len(made) else made


def _cut(value: Any) -> Any:
    if isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= MAX_VALUE_CHARS else text[: MAX_VALUE_CHARS - 1] + "…"


# ---------------------------------------------------------------- about a rule itself


def disabled(rule: Mapping[str, Any], number: int, why: str, now: str) -> Alert:
    """Told when the server has disabled a rule."""
    name = rule.get("displayName")
    return Alert(
        vendor=VENDOR,
        product=PRODUCT,
        provider_alert_id=f"disabled:{rule['id']}:{number}",
        title=f"Detection rule {name} was disabled",
        description=f"The rule {name} finds nothing any more: {why}",
        severity="medium",
        category="SuspiciousActivity",
        categories=["SuspiciousActivity"],
        detector_id="detection-rule-disabled",
        first_activity=now,
        last_activity=now,
        source_updated=now,
        recommended_actions="Correct the rule and enable it again.",
        additional={"ruleId": rule["id"], "ruleName": name},
        fingerprint=("detection-rule-disabled", str(rule["id"])),
    )
