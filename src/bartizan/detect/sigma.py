"""Rules of Sigma as detection rules: through pySigma and its Kusto back end, with author, licence and origin kept.

A rule's id derives from the id that it has in Sigma, so that bringing it again changes the same rule.

Source: Sigma, "Sigma rules specification" 2.0 (levels, tags, licence); pySigma-backend-kusto (tables by log source).
"""

from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from bartizan.detect.brought import Brought, Left, files, licence_of, said
from bartizan.detect.rule import KEPT, MAX_QUERY_CHARS, MAX_TECHNIQUES, MAX_TEXT_CHARS, MAX_TITLE_CHARS, checked
from bartizan.detect.words import category, technique
from bartizan.errors import BadRequest
from bartizan.lake.tables import Table, table
from bartizan.model.ids import stable_id

_SEVERITIES = {"informational": "informational", "low": "low", "medium": "medium", "high": "high", "critical": "high"}
# Product and service of a log source -> the table, where the back end does not know it by itself.
_TABLES: Mapping[tuple[str | None, str | None], str] = {
    ("azure", "signinlogs"): "SigninLogs",
    ("azure", "auditlogs"): "AuditLogs",
    ("azure", "activitylogs"): "AzureActivity",
    ("azure", "riskdetection"): "AADUserRiskEvents",
    ("m365", "audit"): "OfficeActivity",
    ("m365", "exchange"): "OfficeActivity",
    ("m365", "threat_management"): "CloudAppEvents",
}
_ASSETS = (  # column of the table, kind of asset, identifier
    ("DeviceId", "Device", "deviceId"),
    ("AccountObjectId", "User", "accountObjectId"),
    ("AccountUpn", "User", "accountUpn"),
    ("RecipientEmailAddress", "Mailbox", "recipientEmailAddress"),
)


def read(folder: Path, period: str) -> Iterator[Brought | Left]:
    """Every rule of the folder and those below, in order of their files. ImportError without the extra `sigma`."""
    convert = _Converter()
    licence = licence_of(folder)
    known: set[str] = set()
    for name, text in files(folder):
        for each in [text] if isinstance(text, Left) else convert.file(text, name, licence, period):
            if isinstance(each, Brought) and each.id in known:
                each = Left(name, each.rule["displayName"], "another rule here has the same id")
            elif isinstance(each, Brought):
                known.add(each.id)
            yield each


class _Converter:
    """pySigma, imported when it is needed: it is an extra, and takes a second."""

    def __init__(self) -> None:
        try:
            from sigma.backends.kusto import KustoBackend
            from sigma.collection import SigmaCollection
            from sigma.pipelines.azuremonitor import azure_monitor_pipeline
            from sigma.pipelines.microsoftxdr import microsoft_xdr_pipeline
        except ImportError as error:
            raise ImportError("rules of Sigma need pySigma: pip install 'bartizan[sigma]'") from error
        self._collection, self._backend = SigmaCollection, KustoBackend
        self._xdr, self._monitor = microsoft_xdr_pipeline, azure_monitor_pipeline

    def file(self, text: str, name: str, licence: str | None, period: str) -> Iterator[Brought | Left]:
        try:
            found = list(self._collection.from_yaml(text, collect_errors=True))
        except Exception as error:  # noqa: BLE001 - files hold whatever the world writes; the others are read
            yield Left(name, None, said(error))
            return
        if not found:
            yield Left(name, None, "no rule is in it")
        for rule in found:
            title = getattr(rule, "title", None) or None
            try:
                yield self._brought(rule, name, licence, period)
            except BadRequest as error:
                yield Left(name, title, error.message)
            except Exception as error:  # noqa: BLE001 - whatever pySigma says of one rule
                yield Left(name, title, said(error))

    def _brought(self, rule: Any, name: str, licence: str | None, period: str) -> Brought:
        if getattr(rule, "logsource", None) is None:
            raise BadRequest("a correlation of rules has no query of its own here")
        if rule.errors:
            raise BadRequest("; ".join(said(each) for each in rule.errors))
        query = self._query(rule)
        of = table(query.split(None, 1)[0])
        if of is None:
            raise BadRequest(f"its table {query.split(None, 1)[0][:100]} is not among the tables of this server")
        key = str(rule.id) if rule.id else f"{name}/{rule.title}"
        return Brought(stable_id("sigma", key), checked(_rule(rule, query, of, licence, period)))

    def _query(self, rule: Any) -> str:
        """By the tables of Defender XDR; by those of Log Analytics where XDR has none for the log source."""
        source = rule.logsource
        named = _TABLES.get((source.product, source.service))
        pipelines = [self._monitor(query_table=named)] if named else [self._xdr(), self._monitor()]
        first: Exception | None = None
        for pipeline in pipelines:
            try:
                queries = self._backend(processing_pipeline=pipeline).convert_rule(rule)
            except ValueError as error:  # what pySigma raises of rules and transformations
                first = first or error
                continue
            if len(queries) != 1:
                raise BadRequest(f"it becomes {len(queries)} queries; a rule has one")
            if len(queries[0]) > MAX_QUERY_CHARS:
                raise BadRequest(f"its query has {len(queries[0])} characters; the most is {MAX_QUERY_CHARS}")
            return str(queries[0])
        assert first is not None
        raise first


def _rule(rule: Any, query: str, of: Table, licence: str | None, period: str) -> dict[str, Any]:
    tags = [str(each) for each in rule.tags]
    words = [tag.partition(".")[2] for tag in tags if tag.lower().startswith("attack.")]
    techniques = list(dict.fromkeys(found for each in words if (found := technique(each))))[:MAX_TECHNIQUES]
    title = " ".join((rule.title or "").split())
    title = title if len(title) <= MAX_TITLE_CHARS else title[: MAX_TITLE_CHARS - 1] + "…"
    level = str(rule.level).lower() if rule.level is not None else "medium"
    kept = _kept(rule, tags, licence)
    assets = next(([_asset(kind, id)] for column, kind, id in _ASSETS if column in of.columns), [])
    return {
        "displayName": title,
        "description": _described(rule.description, kept),
        "isEnabled": False,
        "status": "disabled",
        "queryCondition": {"queryText": query},
        "schedule": {"period": period},
        "detectionAction": {
            "alertTemplate": {
                "title": title,
                "description": (rule.description or title)[:MAX_TEXT_CHARS],
                "severity": _SEVERITIES.get(level, "medium"),
                "category": next((found for each in words if (found := category(each))), "SuspiciousActivity"),
                "mitreTechniques": techniques,
                "recommendedActions": _recommended(rule.falsepositives),
                "impactedAssets": assets,
            },
            "responseActions": [],
        },
        KEPT: kept,
    }


def _asset(kind: str, identifier: str) -> dict[str, str]:
    return {"@odata.type": f"#microsoft.graph.security.impacted{kind}Asset", "identifier": identifier}


def _kept(rule: Any, tags: list[str], licence: str | None) -> dict[str, Any]:
    day = rule.modified or rule.date
    found = {
        "format": "sigma",
        "id": str(rule.id) if rule.id else None,
        "author": rule.author,
        "licence": rule.license or licence,
        "references": [str(each) for each in rule.references or []][:50],
        "status": None if rule.status is None else str(rule.status).lower(),
        "level": None if rule.level is None else str(rule.level).lower(),
        "date": day.isoformat() if isinstance(day, date) else None,
        "tags": tags[:MAX_TECHNIQUES],
    }
    return {name: value for name, value in found.items() if value}


def _described(text: str | None, kept: Mapping[str, Any]) -> str:
    """With what whoever reads the rule has to know of where it is from."""
    named = [f"Author: {kept['author']}"] if kept.get("author") else []
    named += [f"Licence: {kept['licence']}"] if kept.get("licence") else []
    named += [f"Sigma rule: {kept['id']}"] if kept.get("id") else []
    named += [f"Reference: {each}" for each in kept.get("references", [])]
    end = "\n".join(named)
    whole = (text or "").strip()[: max(0, MAX_TEXT_CHARS - len(end) - 2)]
    return f"{whole}\n\n{end}".strip()[:MAX_TEXT_CHARS]


def _recommended(known: Any) -> str | None:
    told = [str(each) for each in known or [] if str(each).strip().lower() not in ("", "unknown", "none")]
    return f"Known false positives: {'; '.join(told)}"[:MAX_TEXT_CHARS] if told else None
