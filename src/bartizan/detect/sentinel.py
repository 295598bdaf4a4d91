"""Analytics rules of Microsoft Sentinel as detection rules: the YAML in which they are published, with its beat, span,
threshold, entities, details, titles, author and licence.

A rule's id derives from the one that it has there, so that bringing it again changes the same rule. What this server
would do otherwise than the rule says is refused.

Source: Microsoft Sentinel, "Scheduled analytics rules", "Entity types reference", "Surface custom event details in
alerts", "Customize alert details"; Azure-Sentinel repository, "Query style guide" (fields of the YAML).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from bartizan.detect.brought import Brought, Left, files, licence_of, said
from bartizan.detect.rule import KEPT, MAX_TECHNIQUES, MAX_TEXT_CHARS, MAX_TITLE_CHARS, checked
from bartizan.detect.scheduled import SCHEDULED, Scheduled
from bartizan.detect.words import CONTINUOUS, MAX_LOOKBACK, PERIODS, SEVERITIES, category, technique
from bartizan.errors import BadRequest
from bartizan.model.ids import stable_id

KINDS = ("Scheduled", "NRT")
LEAST_EVERY, MOST_BACK = timedelta(minutes=5), timedelta(days=14)
_SPAN = re.compile(r"(?:(\d{1,4})d)?(?:(\d{1,4})h)?(?:(\d{1,5})m)?", re.ASCII)
_ISO = re.compile(r"P(?:(\d{1,4})D)?(?:T(?:(\d{1,4})H)?(?:(\d{1,5})M)?)?", re.ASCII)
_SEVERITY = "alertSeverityColumnName"
_OVERRIDES = {"alertDisplayNameFormat": "title", "alertDescriptionFormat": "description"}
# Kind of an entity there -> kind here, and its identifiers -> columns here. What is not named has no place in Graph's.
_ENTITIES: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "account": (
        "accounts",
        {
            "fullname": "nameColumn",
            "name": "nameColumn",
            "upnsuffix": "upnSuffixColumn",
            "ntdomain": "ntDomainColumn",
            "dnsdomain": "dnsDomainColumn",
            "sid": "sidColumn",
            "aaduserid": "aadUserIdColumn",
        },
    ),
    "host": (
        "hosts",
        {
            "fullname": "nameColumn",
            "hostname": "nameColumn",
            "netbiosname": "netBiosNameColumn",
            "dnsdomain": "dnsDomainColumn",
            "ntdomain": "ntDomainColumn",
        },
    ),
    "ip": ("ips", {"address": "addressColumn"}),
    "url": ("urls", {"url": "addressColumn"}),
    "dns": ("dns", {"domainname": "domainNameColumn"}),
    "file": ("files", {"name": "nameColumn"}),
    "filehash": ("files", {"value": "sha256Column"}),  # its length says which
    "cloudapplication": ("cloudApplications", {"appid": "appIdColumn", "name": "nameColumn"}),
    "azureresource": ("azureResources", {"resourceid": "resourceIdColumn"}),
    "mailbox": ("mailboxes", {"mailboxprimaryaddress": "primaryAddressColumn"}),
    "mailmessage": (
        "mailMessages",
        {
            "networkmessageid": "networkMessageIdColumn",
            "recipient": "recipientColumn",
            "sender": "senderColumn",
            "p2sender": "senderColumn",
            "subject": "subjectColumn",
        },
    ),
    "mailcluster": ("mailClusters", {"query": "queryColumn", "source": "sourceColumn"}),
    "registrykey": ("registryValues", {"key": "keyColumn"}),
    "registryvalue": ("registryValues", {"name": "valueNameColumn"}),
    "securitygroup": (
        "securityGroups",
        {"distinguishedname": "distinguishedNameColumn", "sid": "sidColumn", "objectguid": "objectIdColumn"},
    ),
}

Given = Mapping[str, Any]


def read(folder: Path) -> Iterator[Brought | Left]:
    """Every rule of the folder and those below, in order of their files. ImportError without the extra `sigma`, which
    brings the reader of YAML."""
    try:
        import yaml
    except ImportError as error:
        raise ImportError("rules in YAML need a reader of it: pip install 'bartizan[sigma]'") from error
    licence = licence_of(folder)
    known: set[str] = set()
    for name, text in files(folder):
        if isinstance(text, Left):
            yield text
            continue
        try:
            every = list(yaml.safe_load_all(text))
        except yaml.YAMLError as error:
            yield Left(name, None, said(error))
            continue
        for given in every:
            title = str(given.get("name")) if isinstance(given, Mapping) and given.get("name") else None
            try:
                made = _brought(given, name, licence)
            except BadRequest as error:
                yield Left(name, title, error.message)
                continue
            yield made if made.id not in known else Left(name, title, "another rule here has the same id")
            known.add(made.id)


def _brought(given: Any, name: str, licence: str | None) -> Brought:
    if not isinstance(given, Mapping) or not given.get("query"):
        raise BadRequest("it has no query")
    kind = str(given.get("kind") or "Scheduled")
    if kind not in KINDS:
        raise BadRequest(f"kind is {kind[:40]}; a rule here is {' or '.join(KINDS)}")
    if kind == "NRT" and _object(given.get("alertDetailsOverride")).get(_SEVERITY):
        raise BadRequest(f"alertDetailsOverride.{_SEVERITY}: of scheduled rules alone")
    if kind == "Scheduled" and given.get("queryFrequency") is None:
        raise BadRequest("it says no queryFrequency: a query for hunting, and no rule")
    if (given.get("suppressionEnabled") or "") not in ("", False, "false"):
        raise BadRequest("suppressionEnabled: a rule here is not silent after an alert; rows that it knows raise none")
    key = str(given.get("id") or f"{name}/{given.get('name')}")
    return Brought(stable_id("sentinel", key), checked(_rule(given, kind, licence)))


def _rule(given: Given, kind: str, licence: str | None) -> dict[str, Any]:
    period, own = _schedule(given) if kind == "Scheduled" else (CONTINUOUS, None)
    title = " ".join(str(given.get("name") or "").split())[:MAX_TITLE_CHARS]
    words, not_mapped = _template(given, title)
    kept = _kept(given, licence, not_mapped)
    settings = _object(given.get("incidentConfiguration"))
    rule = {
        "displayName": title,
        "description": _described(given, kept),
        "isEnabled": False,
        "status": "disabled",
        "queryCondition": {"queryText": str(given["query"]).strip()},
        "schedule": {"period": period},
        "detectionAction": {
            "alertTemplate": words,
            "responseActions": [],
            "incidentConfiguration": {"isExcludedFromIncidentCorrelation": settings.get("createIncident") is False},
        },
        KEPT: kept,
    }
    return rule if own is None else {**rule, SCHEDULED: msgspec.to_builtins(own)}


# ---------------------------------------------------------------- when


def _schedule(given: Given) -> tuple[str, Scheduled]:
    """The longest period of Graph's that is no longer than the rule's own beat, and the rule's own."""
    beat, back = _span(given, "queryFrequency"), _span(given, "queryPeriod")
    if not LEAST_EVERY <= beat <= MOST_BACK or not beat <= back <= min(MOST_BACK, MAX_LOOKBACK):
        told = f"queryFrequency {given.get('queryFrequency')} and queryPeriod {given.get('queryPeriod')}"
        raise BadRequest(f"{told}: expected 5 minutes to 14 days, the period no shorter than the frequency")
    period = max((each for each in PERIODS if PERIODS[each] <= beat), key=lambda each: PERIODS[each])
    grouping = str(_object(given.get("eventGroupingSettings")).get("aggregationKind") or "SingleAlert")
    if grouping not in ("SingleAlert", "AlertPerResult"):
        raise BadRequest(
            f"eventGroupingSettings.aggregationKind is {grouping[:40]}; expected SingleAlert, AlertPerResult"
        )
    return period, Scheduled(
        period=period,
        every_s=round(beat.total_seconds()),
        back_s=round(back.total_seconds()),
        more_than=_threshold(given),
        each=grouping == "AlertPerResult",
        severity=_object(given.get("alertDetailsOverride")).get(_SEVERITY) or None,
    )


def _span(given: Given, name: str) -> timedelta:
    text = str(given.get(name) or "").strip()
    match = _SPAN.fullmatch(text.lower()) or _ISO.fullmatch(text.upper())
    if match is None or not any(match.groups()):
        raise BadRequest(f"{name} is '{text[:40]}'; expected such as 1h, 5m, 14d or PT1H")
    days, hours, minutes = (int(each or 0) for each in match.groups())
    return timedelta(days=days, hours=hours, minutes=minutes)


def _threshold(given: Given) -> int:
    """Of how many rows there have to be more. Others of Sentinel's operators speak of what is not there."""
    operator, count = str(given.get("triggerOperator") or "gt").lower(), given.get("triggerThreshold", 0)
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise BadRequest(f"triggerThreshold is {str(count)[:40]}; expected a number")
    if operator in ("gt", "greaterthan"):
        return count
    if operator in ("ne", "notequal") and count == 0:
        return 0
    raise BadRequest(f"triggerOperator {operator[:20]} {count}: a rule here raises what it finds; expected gt")


# ---------------------------------------------------------------- what its alerts say


def _template(given: Given, title: str) -> tuple[dict[str, Any], list[str]]:
    """The alert template, and what of its entities has no place in it."""
    severity = str(given.get("severity") or "").lower()
    if severity not in SEVERITIES:
        raise BadRequest(f"severity is '{severity[:40]}'; expected {', '.join(SEVERITIES)}")
    override = _object(given.get("alertDetailsOverride"))
    for name, value in override.items():
        if name not in (*_OVERRIDES, _SEVERITY) and value:
            raise BadRequest(f"alertDetailsOverride.{name[:40]}: columns say title, description and severity alone")
    description = str(given.get("description") or title).strip().strip("'\"").strip()
    shown = {"title": title, "description": description[:MAX_TEXT_CHARS]}
    shown |= {to: str(override[name]) for name, to in _OVERRIDES.items() if override.get(name)}
    tactics = [found for each in _list(given.get("tactics")) if (found := category(str(each)))]
    names = [*_list(given.get("relevantTechniques")), *_list(given.get("subTechniques"))]
    techniques = list(dict.fromkeys(found for each in names if (found := technique(str(each)))))[:MAX_TECHNIQUES]
    entities, not_mapped = _entities(given)
    details = {str(name): str(column) for name, column in _object(given.get("customDetails")).items()}
    return {
        **shown,
        "severity": severity,
        "category": tactics[0] if tactics else "SuspiciousActivity",
        "mitreTechniques": techniques,
        "tactics": [{"tactic": each, "techniques": []} for each in tactics[1:]],
        "impactedAssets": [],
        **({"entityMappings": entities} if entities else {}),
        **({"customDetails": details} if details else {}),
    }, not_mapped


def _entities(given: Given) -> tuple[dict[str, list[dict[str, str]]], list[str]]:
    found: dict[str, list[dict[str, str]]] = {}
    left: list[str] = []
    for each in _list(given.get("entityMappings")):
        kind = str(_object(each).get("entityType") or "")
        to, names = _ENTITIES.get(kind.lower(), ("", {}))
        columns: dict[str, str] = {}
        for field in _list(_object(each).get("fieldMappings")):
            identifier, column = (str(_object(field).get(name) or "") for name in ("identifier", "columnName"))
            own = names.get(identifier.lower())
            if own is None or columns.setdefault(own, column) != column:
                left.append(f"{kind}.{identifier} ({column})"[:200])
        if columns:
            found.setdefault(to, []).append(columns)
    return found, left


# ---------------------------------------------------------------- where it is from


def _kept(given: Given, licence: str | None, not_mapped: Sequence[str]) -> dict[str, Any]:
    about = _object(given.get("metadata"))
    by = about.get("author") or given.get("author")
    author = by.get("name") if isinstance(by, Mapping) else by
    found = {
        "format": "sentinel",
        "id": str(given.get("id") or "") or None,
        "version": str(given.get("version") or "") or None,
        "author": str(author)[:200] if author else None,
        "licence": str(given.get("license") or licence or "")[:200] or None,
        "tags": [str(each)[:200] for each in _list(given.get("tags"))][:MAX_TECHNIQUES],
        "notMapped": list(not_mapped)[:MAX_TECHNIQUES],
    }
    return {name: value for name, value in found.items() if value}


def _described(given: Given, kept: Mapping[str, Any]) -> str:
    named = [f"{word}: {kept[name]}" for word, name in (("Author", "author"), ("Licence", "licence")) if kept.get(name)]
    named += [f"Microsoft Sentinel rule: {kept['id']}"] if kept.get("id") else []
    named += [f"Entities that are not mapped here: {', '.join(kept['notMapped'])}"] if kept.get("notMapped") else []
    end = "\n".join(named)[: MAX_TEXT_CHARS // 2]
    whole = str(given.get("description") or "").strip().strip("'\"").strip()[: MAX_TEXT_CHARS - len(end) - 2]
    return f"{whole}\n\n{end}".strip()


def _object(value: Any) -> Given:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
