"""A detection rule: what is stored of it, and what it has to say to be accepted.

Beside what Graph shows the state holds how its runs went (`Runs`), under a key of this server's own.

Source: Microsoft Graph beta, resources detectionRule, ruleSchedule, queryCondition, detectionAction, runDetails.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import msgspec
from msgspec import Struct

from bartizan.detect import mappings, responses
from bartizan.detect.scheduled import SCHEDULED, every, frequency, scheduled_of, span_of
from bartizan.detect.words import (
    ALERT_PER_EVENT,
    CATEGORIES,
    CONTINUOUS,
    LOOKBACK,
    MAX_LOOKBACK,
    PERIODS,
    SEVERITIES,
    SINGLE_ALERT,
    category,
    column_of,
    technique,
)
from bartizan.errors import BadRequest
from bartizan.extend.resources import collection
from bartizan.store.interface import Collection, Column

RULES = collection(
    "detectionRules",
    "microsoft.graph.security.detectionRule",
    columns=(
        "displayName createdBy createdDateTime isEnabled lastModifiedBy lastModifiedDateTime "
        "lastRunDetails/status lastRunDetails/lastRunDateTime schedule/nextRunDateTime"
    ),
    order="createdDateTime desc",
    created="createdDateTime",
)
ORDERS = Collection(  # response actions that have not been ordered yet
    "ruleOrders", columns=(Column("due", "instant"), Column("rule")), order=(("due", False),), feed=False
)
COLLECTIONS = (RULES, ORDERS)

RUNS = "@bartizan.runs"
BY = "@bartizan.by"  # of who made or changed it last: in whose name its actions are ordered
KEPT = "@bartizan.kept"  # beside what Graph has: author, licence and origin of a rule that was brought

MAX_RULES = 5_000  # of a tenant; Sigma's public collection has some 3,000
MAX_QUERY_CHARS = 32_768
MAX_TITLE_CHARS = 256
MAX_TEXT_CHARS = 8_192
MAX_ITEMS = 20  # impacted assets, response actions
MAX_TECHNIQUES = 100
GROUP_COLUMN = "MachineGroup"  # what an organizational scope is checked by

_TYPE = "@odata.type"
_ASSET_TYPES = [f"#microsoft.graph.security.impacted{kind}Asset" for kind in ("Device", "Mailbox", "User")]


class By(Struct, frozen=True):
    """Who is answerable for the actions of a rule."""

    app: str
    app_name: str
    user: str | None = None
    upn: str | None = None
    name: str | None = None


class Runs(Struct, kw_only=True):
    """How the runs of a rule went."""

    number: int = 0  # that have ended; the next one is written only where this still holds
    until: str | None = None  # end of what the last good one looked at
    failures: int = 0  # in a row
    floods: int = 0  # in a row


Columns = Callable[[str, str], Awaitable[Sequence[str]]]


class QueryCheck:
    """Lent to the API: the columns that a tenant's query gives. BadRequest for a query that is wrong."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns


def runs_of(rule: Mapping[str, Any]) -> Runs:
    return msgspec.convert(rule.get(RUNS) or {}, Runs)


def query_of(rule: Mapping[str, Any]) -> str:
    return str((rule.get("queryCondition") or {}).get("queryText") or "")


def template_of(rule: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = (rule.get("detectionAction") or {}).get("alertTemplate") or {}
    return found


def assets_of(rule: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(device, mailbox or user; identifier) of each impacted asset."""
    found = []
    for each in template_of(rule).get("impactedAssets") or []:
        kind = str(each.get(_TYPE) or "").rpartition(".")[2].removeprefix("impacted").removesuffix("Asset").lower()
        found.append((kind, str(each.get("identifier") or "")))
    return found


def actions_of(rule: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Those of both shapes, as response actions."""
    action = rule.get("detectionAction") or {}
    return [*(action.get("responseActions") or []), *responses.automated(action.get("automatedActions"))]


def groups_of(rule: Mapping[str, Any]) -> list[str]:
    """Names of the device groups that a rule is for; none: for all devices."""
    scope = (rule.get("detectionAction") or {}).get("organizationalScope") or {}
    return [*(scope.get("scopeNames") or []), *(scope.get("deviceGroups") or [])]


# ---------------------------------------------------------------- checks


def checked(rule: Mapping[str, Any]) -> dict[str, Any]:
    """The rule in the spelling that is kept. BadRequest that says what is missing or wrong."""
    made = dict(rule)
    _text(rule.get("displayName"), "displayName", MAX_TITLE_CHARS, needed=True)
    _text(rule.get("description"), "description", MAX_TEXT_CHARS)
    query = query_of(rule)
    if not query.strip():
        raise BadRequest("queryCondition.queryText: a rule has a query.")
    if len(query) > MAX_QUERY_CHARS:
        raise BadRequest(f"queryCondition.queryText has {len(query)} characters; the most is {MAX_QUERY_CHARS}.")
    made["schedule"] = _schedule(rule.get("schedule") or {})
    if (own := scheduled_of(made)) is not None:
        made["schedule"]["frequency"] = frequency(timedelta(seconds=own.every_s))
    else:
        made.pop(SCHEDULED, None)
    _check_lookback(made)
    action = dict(rule.get("detectionAction") or {})
    action["alertTemplate"] = _template(action.get("alertTemplate") or {})
    given = action.get("responseActions") or []
    _few(given, "detectionAction.responseActions", MAX_ITEMS)
    for at, each in enumerate(given):
        responses.check_action(each, f"detectionAction.responseActions[{at}]")
    more = responses.automated(action.get("automatedActions"))
    _few(more, "detectionAction.automatedActions", MAX_ITEMS)
    for each in more:
        responses.check_action(each, "detectionAction.automatedActions")
    scope = action.get("organizationalScope") or {}
    if scope and scope.get("scopeType") not in (None, "deviceGroup"):
        raise BadRequest("detectionAction.organizationalScope.scopeType: expected deviceGroup.")
    made["detectionAction"] = action
    if scope and not groups_of(made):
        raise BadRequest("detectionAction.organizationalScope: names no device group; null stands for all devices.")
    return made


def _schedule(given: Mapping[str, Any]) -> dict[str, Any]:
    period = given.get("period")
    if period is None and given.get("frequency") is not None:
        period = _FREQUENCIES.get(str(given["frequency"]).upper())
        if period is None:
            raise BadRequest(f"schedule.frequency is '{given['frequency']}'; expected {', '.join(_FREQUENCIES)}.")
    period = str(period or "").upper()
    if period not in PERIODS:
        raise BadRequest(f"schedule.period is '{period[:20]}'; expected {', '.join(PERIODS)} (0: continuously).")
    return {**given, "period": period, "frequency": _PERIODS_AS_DURATION[period]}


def _check_lookback(rule: Mapping[str, Any]) -> None:
    """From one run to the next at least: what lies between would be seen by none."""
    said = rule["schedule"].get("lookback")
    if said is None:
        return
    if rule["schedule"]["period"] == CONTINUOUS:
        raise BadRequest("schedule.lookback: a rule that runs continuously has none.")
    if not every(rule) <= span_of(said) <= MAX_LOOKBACK:
        beat = rule["schedule"]["frequency"]
        raise BadRequest(
            f"schedule.lookback is '{said}'; expected {beat}, as the rule's frequency is, to P{MAX_LOOKBACK.days}D."
        )


_PERIODS_AS_DURATION = {"0": "PT0S", "1H": "PT1H", "3H": "PT3H", "12H": "PT12H", "24H": "PT24H"}
_FREQUENCIES = {duration: period for period, duration in _PERIODS_AS_DURATION.items()} | {"P1D": "24H"}


def _template(given: Mapping[str, Any]) -> dict[str, Any]:
    where = "detectionAction.alertTemplate"
    made = dict(given)
    _text(given.get("title"), f"{where}.title", MAX_TITLE_CHARS, needed=True)
    _text(given.get("description"), f"{where}.description", MAX_TEXT_CHARS, needed=True)
    _text(given.get("recommendedActions"), f"{where}.recommendedActions", MAX_TEXT_CHARS)
    if given.get("severity") not in SEVERITIES:
        raise BadRequest(f"{where}.severity is '{given.get('severity')}'; expected {', '.join(SEVERITIES)}.")
    made["category"] = category(str(given.get("category") or ""))
    if made["category"] is None:
        raise BadRequest(f"{where}.category is '{given.get('category')}'; expected {', '.join(CATEGORIES)}.")
    if given.get("eventGroupingKind") not in (None, ALERT_PER_EVENT, SINGLE_ALERT):
        raise BadRequest(f"{where}.eventGroupingKind: expected {ALERT_PER_EVENT} or {SINGLE_ALERT}.")
    mappings.check(given, where)
    made["mitreTechniques"] = _techniques(given.get("mitreTechniques") or [], f"{where}.mitreTechniques")
    for tactic in given.get("tactics") or []:
        if category(str(tactic.get("tactic") or "")) is None:
            raise BadRequest(f"{where}.tactics: '{tactic.get('tactic')}' is none.")
        _techniques(_named_in(tactic), f"{where}.tactics")
    assets = given.get("impactedAssets") or []
    _few(assets, f"{where}.impactedAssets", MAX_ITEMS)
    for at, each in enumerate(assets):
        if each.get(_TYPE) not in _ASSET_TYPES or each.get("identifier") in (None, "unknownFutureValue"):
            raise BadRequest(
                f"{where}.impactedAssets[{at}]: expected @odata.type (impactedDeviceAsset, impactedMailboxAsset or "
                "impactedUserAsset) and identifier."
            )
    return made


def _techniques(given: Sequence[Any], where: str) -> list[str]:
    _few(given, where, MAX_TECHNIQUES)
    found = []
    for each in given:
        known = technique(str(each))
        if known is None:
            raise BadRequest(f"{where}: '{str(each)[:40]}' is no technique; expected such as T1059.001.")
        found.append(known)
    return list(dict.fromkeys(found))


def _named_in(tactic: Mapping[str, Any]) -> list[str]:
    each = tactic.get("techniques") or []
    return [str(name) for one in each for name in (one.get("technique"), *(one.get("subTechniques") or [])) if name]


def tactics_of(template: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Categories and techniques: those said alone, then those of `tactics`."""
    tactics = template.get("tactics") or []
    categories = [category(str(each.get("tactic"))) for each in tactics]
    names = [technique(each) for one in tactics for each in _named_in(one)]
    found = [template.get("category"), *categories]
    return (
        list(dict.fromkeys(each for each in found if each)),
        list(dict.fromkeys([*(template.get("mitreTechniques") or []), *(each for each in names if each)])),
    )


def check_columns(rule: Mapping[str, Any], columns: Sequence[str]) -> None:
    """BadRequest where the result lacks a column by which assets, targets or the scope are named."""
    needed = [(name, "impactedAssets") for _, name in assets_of(rule)]
    needed += [(name, "responseActions") for name in responses.wanted_columns(actions_of(rule))]
    needed += mappings.wanted_columns(template_of(rule))
    if (own := scheduled_of(rule)) is not None and own.severity is not None:
        needed.append((own.severity, "alertSeverityColumnName"))
    if groups_of(rule):
        needed.append((GROUP_COLUMN, "organizationalScope"))
    for name, of in needed:
        if column_of(name, columns) is None:
            wanted = name[:1].upper() + name[1:]
            have = ", ".join(columns[:50])
            raise BadRequest(f"{of}: the query's result has no column {wanted}; it has: {have}.", code="noColumn")


def _text(value: Any, where: str, most: int, *, needed: bool = False) -> None:
    if needed and not str(value or "").strip():
        raise BadRequest(f"{where}: a rule says it.")
    if value is not None and len(str(value)) > most:
        raise BadRequest(f"{where} has {len(str(value))} characters; the most is {most}.")


def _few(items: Sequence[Any], where: str, most: int) -> None:
    if len(items) > most:
        raise BadRequest(f"{where}: at most {most}; got {len(items)}.")


assert LOOKBACK.keys() == PERIODS.keys()
