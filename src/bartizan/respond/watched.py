"""What a subscription watches: the text of its `resource`, read once, as a set, an object of it, or a filter.

Source: Microsoft Graph, subscription resource type and "Set up notifications for changes in resource data".
"""

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

from msgspec import Struct

from bartizan.auth.caller import Access
from bartizan.errors import BadRequest
from bartizan.extend import RESOURCES, Resource, scopes
from bartizan.model.edm import Version, edm
from bartizan.odata import bind, compile_predicate, parse_filter

MAX_CHARS = 4096  # of the resource; the longest filter of a real client has some hundred
ALERT_MINUTES = 43_200
DIRECTORY_MINUTES = 41_760

Predicate = Callable[[Mapping[str, Any]], bool]

_ENCODED = re.compile(r"%[0-9A-Fa-f]{2}")
_VERSION = re.compile(r"(v1\.0|beta)/", re.IGNORECASE)
_KEY_IN_BRACKETS = re.compile(r"\('((?:[^']|'')*)'\)(?:/(.*))?", re.DOTALL)
_MAX_KEY_CHARS = 256


class Watchable(Struct, frozen=True):
    """A set that may be subscribed to. `read` holds where no API has declared the set."""

    path: str
    type: str
    collection: str
    minutes: int  # longest life of a subscription
    read: Access
    relations: tuple[str, ...] = ()  # groups/{id}/members


_ALERTS = "SecurityEvents.Read.All SecurityEvents.ReadWrite.All"
_USERS = "User.Read.All User.ReadBasic.All Directory.Read.All User.ReadWrite.All Directory.ReadWrite.All"
_GROUPS = "GroupMember.Read.All Group.Read.All Directory.Read.All Group.ReadWrite.All Directory.ReadWrite.All"

WATCHABLE: tuple[Watchable, ...] = (
    Watchable("security/alerts", "microsoft.graph.alert", "alerts", ALERT_MINUTES, scopes(_ALERTS)),
    Watchable(
        "security/alerts_v2",
        "microsoft.graph.security.alert",
        "alerts_v2",
        ALERT_MINUTES,
        scopes("SecurityAlert.Read.All SecurityAlert.ReadWrite.All"),
    ),
    Watchable(
        "security/incidents",
        "microsoft.graph.security.incident",
        "incidents",
        ALERT_MINUTES,
        scopes("SecurityIncident.Read.All SecurityIncident.ReadWrite.All"),
    ),
    Watchable(
        "identityProtection/riskyUsers",
        "microsoft.graph.riskyUser",
        "riskyUsers",
        ALERT_MINUTES,
        scopes("IdentityRiskyUser.Read.All IdentityRiskyUser.ReadWrite.All"),
    ),
    Watchable(
        "identityProtection/riskDetections",
        "microsoft.graph.riskDetection",
        "riskDetections",
        ALERT_MINUTES,
        scopes("IdentityRiskEvent.Read.All IdentityRiskEvent.ReadWrite.All"),
    ),
    Watchable("users", "microsoft.graph.user", "users", DIRECTORY_MINUTES, scopes(_USERS)),
    Watchable("groups", "microsoft.graph.group", "groups", DIRECTORY_MINUTES, scopes(_GROUPS), ("members", "owners")),
)
_BY_PATH = {each.path.lower(): each for each in WATCHABLE}


class Watched(Struct, frozen=True):
    """One resource text, read. Neither `key` nor `filter`: the whole set."""

    set: Watchable
    key: str | None = None
    relation: str | None = None
    filter: str | None = None

    def predicate(self, version: Version) -> Predicate | None:
        """None where every object of the set is meant. InvalidQuery for a filter that cannot be used."""
        if self.filter is None:
            return None
        declared = _declared(self.set)
        folds = frozenset[str]()
        if declared is not None:
            folds = frozenset(column.path for column in declared.collection.columns if column.fold)
        return compile_predicate(bind(parse_filter(self.filter), edm(version), self.set.type, fold=folds))


def watched(text: str) -> Watched:
    """BadRequest says what can be subscribed to. Taken in any case, with or without leading slash and version,
    the query percent-encoded or not.
    """
    if len(text) > MAX_CHARS:
        raise BadRequest(f"resource has {len(text)} characters; the most is {MAX_CHARS}")
    path, mark, query = text.strip().partition("?")
    path = path.strip("/")
    if version := _VERSION.match(path):
        path = path[version.end() :].strip("/")
    found = _split(path)
    if found is None:
        raise BadRequest(f"cannot subscribe to '{text[:200]}'; resources: {listed()}")
    target, rest = found
    key, relation = _behind(target, rest, text)
    filter = _filter(query) if mark else None
    if filter is not None and key is not None:
        raise BadRequest(f"resource '{text[:200]}' names one object; $filter belongs to a set")
    return Watched(target, key, relation, filter)


def listed() -> str:
    """The resources, for an error."""
    names = [f"{w.path}, {w.path}?$filter=..., {w.path}/{{id}}" for w in WATCHABLE]
    return ", ".join([*names, *(f"{w.path}/{{id}}/{r}" for w in WATCHABLE for r in w.relations)])


def _split(path: str) -> tuple[Watchable, str] | None:
    """The set, and what stands behind it: `/{key}/...` or `('key')...`."""
    lower = path.lower()
    for name, target in _BY_PATH.items():
        if lower == name:
            return target, ""
        if lower.startswith((f"{name}/", f"{name}('")):
            return target, path[len(name) :]
    return None


def _behind(target: Watchable, rest: str, text: str) -> tuple[str | None, str | None]:
    """Key and relation of what stands behind the set."""
    if not rest.strip("/"):
        return None, None
    if match := _KEY_IN_BRACKETS.fullmatch(rest):
        key, after = match[1].replace("''", "'"), match[2] or ""
    else:
        key, _, after = rest.strip("/").partition("/")
    key, relation = unquote(key), after.lower() or None
    if relation is not None and relation not in target.relations:
        raise BadRequest(f"cannot subscribe to '{text[:200]}'; resources: {listed()}")
    if not key or len(key) > _MAX_KEY_CHARS or not key.isprintable():
        raise BadRequest(f"resource '{text[:200]}' names no usable id")
    return key, relation


def _filter(query: str) -> str | None:
    """The $filter of the query, decoded where it was encoded. A text with a raw space was not: no URL has one."""
    encoded = " " not in query and (_ENCODED.search(query) is not None or "+" in query)
    found: str | None = None
    for part in _parts(query):
        name, _, value = part.partition("=")
        if encoded:
            name, value = unquote(name), unquote(value.replace("+", " "))
        if name.strip().lower() not in ("$filter", "filter"):
            raise BadRequest(f"resource has the query option '{name.strip()[:50]}'; only $filter can be used")
        if found is not None:
            raise BadRequest("resource has two $filter options; join them with 'and'")
        found = value.strip()
        if not found:
            raise BadRequest("resource has an empty $filter")
    return found


def _parts(query: str) -> list[str]:
    """Split at `&`, but not inside a quoted string."""
    parts, start, quoted = [], 0, False
    for at, char in enumerate(query):
        if char == "'":
            quoted = not quoted
        elif char == "&" and not quoted:
            parts.append(query[start:at])
            start = at + 1
    parts.append(query[start:])
    return [part for part in parts if part.strip()]


def _declared(target: Watchable) -> Resource | None:
    return next((each for each in RESOURCES if each.path.lower() == target.path.lower()), None)


def required_access(resource: str) -> Access:
    """What a caller needs to read the resource, and so to subscribe to it: as the API declares it."""
    target = watched(resource).set
    declared = _declared(target)
    return target.read if declared is None else declared.read
